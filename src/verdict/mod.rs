//! What SPF, DKIM and DMARC say about who sent a mail: facts in, a verdict out.
//!
//! Pure: `dns` looks the facts up. A verdict decides what a sender may move (series, versions, trailers), never whether a
//! mail is taken: DNS trouble is "unknown".

mod results;

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use results::trusted_results;

use crate::mail::{Flaw, Message};

/// How well a sender is authenticated; the order is that of trust.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// Nobody looked: an import, or a mail of before.
    #[default]
    Unchecked,
    /// Looked at, and nothing speaks for it.
    None,
    /// DNS gave no answer.
    Unknown,
    /// Something passed, but not for the domain in From, or without covering what counts.
    Unaligned,
    /// The domain in From speaks for it.
    Aligned,
}

impl Level {
    /// What copies of a mail, and mails of one name, are chosen by: 1 if the domain in From speaks for it, else 0. All else
    /// can be had by anybody, and must not displace what was there.
    pub fn rank(self) -> i64 {
        i64::from(self == Level::Aligned)
    }
}

/// What became of one check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It holds.
    Pass,
    /// It does not.
    Fail,
    /// DNS gave no answer.
    Unknown,
}

/// One DKIM signature (RFC 6376) as it was checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signature {
    /// `d=`, lower case.
    pub domain: String,
    /// `s=`
    pub selector: String,
    /// What the check gave.
    pub outcome: Outcome,
    /// Why it does not hold, or empty.
    pub detail: String,
    /// Names in `h=`, lower case.
    #[serde(skip)]
    pub fields: Vec<String>,
    /// `l=` leaves a part of the body unsigned.
    #[serde(skip)]
    pub partial: bool,
    /// By DMARC's rule the domain is that of From: so it speaks for the author if the check gave [`Outcome::Pass`], and would if it
    /// gave no answer. Never set if it failed.
    #[serde(default)]
    pub aligned: bool,
    /// The hash of `b=`: the same signature again is the same.
    #[serde(skip)]
    pub proof: String,
}

impl Signature {
    /// Whether it speaks for the mail, which was judged just now.
    fn speaks(&self, message: &Message) -> bool {
        let sound = self.aligned && self.outcome == Outcome::Pass && !self.partial;
        sound && covers(message, &self.fields)
    }
}

/// SPF (RFC 7208) of the envelope sender.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spf {
    /// The domain that was asked.
    pub domain: String,
    /// What the check gave; neutral and soft answers count as failed.
    pub outcome: Outcome,
    /// By DMARC's rule the domain is that of From.
    #[serde(default)]
    pub aligned: bool,
}

/// What was found out about a mail.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// Its DKIM signatures, as many as are looked at.
    pub signatures: Vec<Signature>,
    /// Only where the client's address is known.
    pub spf: Option<Spf>,
    /// `p=` of the DMARC record that holds for From, if there is one.
    pub policy: Option<String>,
    /// The mail server in front says that DMARC passed for the domain in From.
    pub vouched: bool,
}

/// What is kept of a mail's authentication; stored as JSON.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// The one word that authority goes by.
    pub level: Level,
    /// What gave the level: `DKIM`, `SPF`, `the mail server in front`, or empty.
    pub by: String,
    /// The domain that speaks for it, or empty.
    pub domain: String,
    /// All signatures.
    #[serde(default)]
    pub signatures: Vec<Signature>,
    /// SPF.
    #[serde(default)]
    pub spf: Option<Spf>,
    /// DMARC's policy.
    #[serde(default)]
    pub policy: Option<String>,
    /// Set if a signature alone gives the level: whoever has the mail can send it again, so it counts once.
    #[serde(default)]
    pub proof: String,
    /// Of the signatures that speak for it those that [`Verdict::proof`] is not of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub further: Vec<String>,
    /// Names in lower case of those of [`FREE`] that stand in the mail and that such a signature covers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signed: Vec<String>,
}

/// Fields that a mail may be obeyed by, and that a signature may leave free all the same: who sends a signed mail again writes
/// there what he likes.
pub const FREE: [&str; 5] = [
    "to",
    "cc",
    "x-patchwork-state",
    "x-patchwork-delegate",
    "x-sourcehut-patchset-update",
];

/// What grouping needs of a verdict.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// How well the sender is authenticated.
    pub level: Level,
    /// What [`Verdict::proofs`] gives.
    pub proofs: Vec<String>,
    /// It came from the domain's own server: nobody else can have sent it again.
    pub direct: bool,
}

impl From<&Verdict> for Standing {
    fn from(verdict: &Verdict) -> Standing {
        Standing {
            level: verdict.level,
            proofs: verdict.proofs().map(str::to_owned).collect(),
            direct: verdict.level == Level::Aligned && verdict.is_direct(),
        }
    }
}

/// Fields that a signature must cover to speak for a mail, if they stand in it: with one of them free, a stranger could
/// send the mail again under another name, title or place. 5,472 of 5,491 aligned signatures of a kernel list cover the
/// threading fields; Message-ID and Content-Type many leave free (hence [`Verdict::proof`]).
const COVERED: [&str; 5] = ["from", "subject", "date", "in-reply-to", "references"];

/// Judges a mail by the facts about it.
pub fn judge(message: &Message, facts: Facts) -> Verdict {
    let from = from_domain(message);
    let speaks = |domain: &str, aligned: bool| {
        from.as_deref()
            .is_some_and(|from| aligned || is_same_or_above(domain, from))
    };
    let mut verdict = Verdict {
        level: Level::None,
        policy: facts.policy,
        ..Verdict::default()
    };
    let mut raise = |level, by: &str, domain: &str, proof: &str| {
        if level > verdict.level {
            verdict.level = level;
            (verdict.by, verdict.domain) = (by.to_owned(), domain.to_owned());
            verdict.proof = proof.to_owned();
        }
    };
    if facts.vouched && from.is_some() {
        let domain = from.as_deref().unwrap_or_default();
        raise(Level::Aligned, "the mail server in front", domain, "");
    }
    let mut spf = facts.spf;
    if let Some(spf) = &mut spf {
        spf.aligned = spf.outcome == Outcome::Pass && speaks(&spf.domain, spf.aligned);
        raise(level(spf.outcome, spf.aligned), "SPF", &spf.domain, "");
    }
    let mut signatures = facts.signatures;
    for one in &mut signatures {
        let passed = one.outcome == Outcome::Pass;
        one.aligned = one.outcome != Outcome::Fail && speaks(&one.domain, one.aligned);
        let whole = !one.partial && covers(message, &one.fields);
        if passed && !whole {
            one.detail = "it leaves parts of the mail unsigned".to_owned();
        }
        let reached = level(one.outcome, one.aligned && whole);
        raise(reached, "DKIM", &one.domain, &one.proof);
    }
    verdict.signatures = signatures;
    verdict.spf = spf;
    if verdict.level != Level::Aligned {
        verdict.proof = String::new();
    }
    let speaking = verdict.signatures.iter().filter(|s| s.speaks(message));
    let proofs = speaking.map(|s| s.proof.clone());
    verdict.further = proofs
        .filter(|p| !p.is_empty() && *p != verdict.proof)
        .collect();
    let there = FREE
        .iter()
        .filter(|name| message.header(name).is_some() && verdict.signs(message, name));
    verdict.signed = there.map(|name| (*name).to_owned()).collect();
    verdict
}

fn level(outcome: Outcome, speaks: bool) -> Level {
    match outcome {
        Outcome::Pass if speaks => Level::Aligned,
        Outcome::Pass => Level::Unaligned,
        Outcome::Unknown => Level::Unknown,
        Outcome::Fail => Level::None,
    }
}

/// The domain of the one author; `None` if there is no author or more than one, as nobody speaks for such a mail.
pub fn from_domain(message: &Message) -> Option<String> {
    let odd = [Flaw::ManyFrom, Flaw::NoFrom];
    if message.from.len() != 1 || odd.iter().any(|flaw| message.flaws.contains(flaw)) {
        return None;
    }
    let address = &message.from.first()?.address;
    let (_, domain) = address.rsplit_once('@')?;
    (!domain.is_empty()).then(|| domain.trim_end_matches('.').to_lowercase())
}

/// Whoever holds `domain` holds all names below it, so it speaks for `from` without a DMARC record; a single label does not.
fn is_same_or_above(domain: &str, from: &str) -> bool {
    let above = from
        .strip_suffix(domain)
        .is_some_and(|rest| rest.ends_with('.'));
    domain == from || (above && domain.contains('.'))
}

/// Whether each field that counts is signed as often as it stands in the mail (RFC 6376 section 5.4.2: from the last up).
fn covers(message: &Message, signed: &[String]) -> bool {
    COVERED.iter().all(|name| covers_all(message, signed, name))
}

fn covers_all(message: &Message, signed: &[String], name: &str) -> bool {
    let there = message
        .headers
        .iter()
        .filter(|(n, _)| n.eq_ignore_ascii_case(name));
    there.count() <= signed.iter().filter(|s| *s == name).count()
}

impl Verdict {
    /// Whether a signature of the author's domain covers what counts of a mail, and all its fields of that name (lower case) too.
    ///
    /// Only for a mail that was judged just now: what is stored has no names of fields.
    pub fn signs(&self, message: &Message, name: &str) -> bool {
        let mut speaking = self.signatures.iter().filter(|s| s.speaks(message));
        speaking.any(|s| covers_all(message, &s.fields, name))
    }

    /// Whether nobody but who speaks for the mail can have written its fields of that name, one of [`FREE`]: it came from the
    /// domain's own server, or they are signed. What a server in front vouches for was perhaps sent on by somebody else, unless
    /// SPF speaks for it as well.
    pub fn holds(&self, name: &str) -> bool {
        let signed = self.signed.iter().any(|signed| signed == name);
        self.level == Level::Aligned && (self.is_direct() || signed)
    }

    /// Whether it could be better by an answer that DNS owed: another look is worth it. SPF is asked once, as the client is gone after that.
    pub fn is_owed(&self) -> bool {
        let owed = |s: &Signature| s.outcome == Outcome::Unknown;
        self.level != Level::Aligned && self.signatures.iter().any(owed)
    }

    /// Whether it came from a server of the domain in From.
    fn is_direct(&self) -> bool {
        self.spf.as_ref().is_some_and(|spf| spf.aligned)
    }

    /// What the same mail has again, whatever is changed of it that is not signed: to be obeyed once.
    pub fn proofs(&self) -> impl Iterator<Item = &str> {
        let own = Some(&self.proof).filter(|proof| !proof.is_empty());
        own.into_iter().chain(&self.further).map(String::as_str)
    }

    /// Reads what is stored; what is empty or of another version is as if nobody had looked.
    pub fn from_stored(text: &str) -> Verdict {
        serde_json::from_str(text).unwrap_or_default()
    }

    /// As stored.
    pub fn to_stored(&self) -> String {
        serde_json::to_string(self).expect("plain values are written as JSON")
    }

    /// In plain words for a page: `authenticated: DKIM example.org`.
    pub fn words(&self) -> String {
        match self.level {
            Level::Aligned => format!("authenticated: {} {}", self.by, self.domain),
            Level::Unaligned => format!(
                "not authenticated: {} passes for {} only",
                self.by, self.domain
            ),
            Level::Unknown => "not authenticated: DNS gave no answer".to_owned(),
            Level::None => "not authenticated".to_owned(),
            Level::Unchecked => String::new(),
        }
    }
}
