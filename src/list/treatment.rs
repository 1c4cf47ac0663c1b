//! How the copies of a posting differ from what arrived, as data: decided once per posting, stored, and so simple that it can be undone.
//!
//! Pure. A mail whose author's domain speaks for it by DKIM goes on as it is. Where only SPF spoke, which no copy can pass, and the
//! domain asks receivers to refuse such mail, From is rewritten or the copies are held, as the list has it.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::dkim;
use super::header::{self, CopyHead, Optional};
use super::munge;
use crate::mail;
use crate::verdict::{Level, Outcome, Verdict};

/// What receivers make of an unchanged copy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Class {
    /// A DKIM signature of the author's domain verifies.
    A,
    /// None does, and the domain asks for nothing.
    #[default]
    B,
    /// None does, the domain asks for quarantine or refusal, and SPF spoke for the author.
    C,
    /// The same, and nothing spoke for the author.
    D,
}

/// What a list does with classes C and D.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Unaligned {
    /// From becomes the list's address; the author stands in the name, in Reply-To and, for `git am`, in the body.
    #[default]
    Munge,
    /// Nothing: some receivers will refuse the copies.
    Pass,
    /// Copies wait for an operator.
    Hold,
}

impl Unaligned {
    /// As stored; anything else is the default.
    pub fn from_stored(text: &str) -> Unaligned {
        match text {
            "pass" => Unaligned::Pass,
            "hold" => Unaligned::Hold,
            _ => Unaligned::Munge,
        }
    }
}

/// What is done to a posting's copies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Treatment {
    /// What receivers make of an unchanged copy.
    pub class: Class,
    /// Of our fields only those go on top that no reader can do without: the author signed that the others are not there.
    #[serde(default)]
    pub bare: bool,
    /// From is rewritten.
    #[serde(default)]
    pub munged: bool,
    /// Copies wait for an operator.
    #[serde(default)]
    pub held: bool,
    /// The author's signature verified when the mail came, and does not outlive even the bare fields.
    #[serde(default)]
    pub broken: bool,
}

impl Treatment {
    /// As stored.
    pub fn to_stored(self) -> String {
        serde_json::to_string(&self).expect("flags are JSON")
    }

    /// Reads what was stored; anything else is a copy without changes.
    pub fn from_stored(text: &str) -> Treatment {
        serde_json::from_str(text).unwrap_or_default()
    }

    /// The mail (LF line ends) as it goes on below our header block.
    pub fn apply<'m>(self, mail: &'m [u8], list: &str, address: &str) -> Cow<'m, [u8]> {
        if !self.munged {
            return Cow::Borrowed(mail);
        }
        let parsed = mail::parse(mail);
        let author = parsed.from.first();
        let author = author.map_or(("", ""), |from| (from.name.as_str(), from.address.as_str()));
        Cow::Owned(munge::munge(mail, list, address, author))
    }

    /// What of our header block goes on top.
    pub fn optional(self) -> Optional {
        match self.bare {
            true => Optional::LeftOut,
            false => Optional::Added,
        }
    }
}

/// The class of a mail by what was found out about it when it came (`lists.md` calls it so, after DMARC, RFC 9989).
pub fn classify(verdict: &Verdict) -> Class {
    let signatures = verdict.signatures.iter();
    // An answer that DNS owes still may be a good one: such a mail is not rewritten.
    let signed = signatures.filter(|s| s.aligned && s.outcome != Outcome::Fail);
    if signed.count() > 0 {
        return Class::A;
    }
    let strict = matches!(verdict.policy.as_deref(), Some("quarantine" | "reject"));
    let spf = verdict.spf.as_ref().is_some_and(|spf| spf.aligned);
    match (strict, spf || verdict.level == Level::Aligned) {
        (false, _) => Class::B,
        (true, true) => Class::C,
        (true, false) => Class::D,
    }
}

/// Decides how copies are made of stored bytes; `None` of a verdict is that of a mail that nobody looked at.
pub fn decide(
    stored: &[u8],
    verdict: &Verdict,
    head: &CopyHead<'_>,
    unaligned: Unaligned,
) -> Treatment {
    let mut treatment = Treatment {
        class: classify(verdict),
        ..Treatment::default()
    };
    let (stored, _) = mail::header::to_lf(stored);
    if treatment.class == Class::A {
        let kept = |optional| survives(&stored, verdict, head, optional);
        if kept(Optional::Added) {
            return treatment;
        }
        if kept(Optional::LeftOut) {
            treatment.bare = true;
            return treatment;
        }
        treatment.broken = true;
        let strict = matches!(verdict.policy.as_deref(), Some("quarantine" | "reject"));
        treatment.class = if strict { Class::C } else { Class::B };
    }
    if matches!(treatment.class, Class::C | Class::D) {
        match unaligned {
            Unaligned::Munge => treatment.munged = munge::can_munge(&stored),
            Unaligned::Hold => treatment.held = true,
            Unaligned::Pass => {}
        }
    }
    treatment
}

/// Fields of ours that stand on each copy; their values are each copy's own.
const OWN: &[u8] = b"DKIM-Signature: x\r\nList-Unsubscribe: x\r\nList-Unsubscribe-Post: x\r\n";

/// Whether a signature that speaks for the author covers the same of the copy as of what arrived.
fn survives(stored: &[u8], verdict: &Verdict, head: &CopyHead<'_>, optional: Optional) -> bool {
    let body = header::body_of_copy(stored);
    let block = header::render(head, &body, optional);
    let after = [OWN, &block, &mail::header::to_crlf(&body)].concat();
    let before = mail::header::to_crlf(stored);
    let speaks = |field: &mail::header::RawField<'_>| {
        let value = field.unfolded();
        let value = String::from_utf8_lossy(&value).to_lowercase();
        let tag = |name: &str| {
            let tags = value.split(';').filter_map(|t| t.split_once('='));
            let mut found = tags.filter(|(n, _)| n.trim() == name);
            found.next().map(|(_, v)| v.trim().to_owned())
        };
        let (domain, selector) = (tag("d"), tag("s"));
        verdict.signatures.iter().any(|s| {
            s.aligned
                && s.outcome != Outcome::Fail
                && Some(&s.domain) == domain.as_ref()
                && Some(&s.selector) == selector.as_ref()
        })
    };
    let fields = mail::header::fields(mail::header::split(&before).0);
    let mut signatures = fields.filter(|f| f.is("DKIM-Signature") && speaks(f));
    signatures.any(|field| dkim::survives(field.whole, &before, &after))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::{Signature, Spf};

    fn signature(aligned: bool, outcome: Outcome) -> Signature {
        Signature {
            domain: "y.org".to_owned(),
            selector: "s".to_owned(),
            outcome,
            detail: String::new(),
            fields: vec![],
            partial: false,
            aligned,
            proof: String::new(),
        }
    }

    fn verdict(signatures: Vec<Signature>, spf: Option<bool>, policy: &str) -> Verdict {
        Verdict {
            signatures,
            spf: spf.map(|aligned| Spf {
                domain: "y.org".to_owned(),
                outcome: Outcome::Pass,
                aligned,
            }),
            policy: (!policy.is_empty()).then(|| policy.to_owned()),
            ..Verdict::default()
        }
    }

    #[test]
    fn classes_go_by_signature_policy_and_spf() {
        let good = || vec![signature(true, Outcome::Pass)];
        let others = || vec![signature(false, Outcome::Pass)];
        let owed = || vec![signature(true, Outcome::Unknown)];
        for (signatures, spf, policy, expected) in [
            (good(), None, "reject", Class::A),
            (good(), None, "", Class::A),
            (owed(), None, "reject", Class::A),
            (others(), Some(true), "", Class::B),
            (others(), Some(true), "none", Class::B),
            (vec![], None, "", Class::B),
            (others(), Some(true), "reject", Class::C),
            (vec![], Some(true), "quarantine", Class::C),
            (vec![], Some(false), "reject", Class::D),
            (
                vec![signature(true, Outcome::Fail)],
                None,
                "reject",
                Class::D,
            ),
        ] {
            let verdict = verdict(signatures, spf, policy);
            assert_eq!(classify(&verdict), expected, "{verdict:?}");
        }
    }

    const HEAD: CopyHead<'_> = CopyHead {
        address: "dev@x.org",
        description: "Development",
        page: "https://x.org/dev/",
        permalink: "https://x.org/dev/m/",
    };

    #[track_caller]
    fn check(names: &str, policy: &str, unaligned: Unaligned, expected: &str) {
        let mail = format!(
            "DKIM-Signature: v=1; d=y.org; s=s; c=relaxed/relaxed;\n\th={names}; bh=x; b=y\nFrom: a@y.org\nSubject: s\n\nbody\n"
        );
        let verdict = verdict(vec![signature(true, Outcome::Pass)], None, policy);
        let made = decide(mail.as_bytes(), &verdict, &HEAD, unaligned);
        assert_eq!(made.to_stored(), expected, "{names} {policy}");
        assert_eq!(Treatment::from_stored(&made.to_stored()), made);
    }

    #[test]
    fn what_the_author_signed_as_absent_decides_how_much_goes_on_top() {
        let plain = r#"{"class":"A","bare":false,"munged":false,"held":false,"broken":false}"#;
        check("from:subject", "reject", Unaligned::Munge, plain);
        // Such fields are left out one by one.
        check(
            "from:precedence:list-post",
            "reject",
            Unaligned::Munge,
            plain,
        );
        let munged = r#"{"class":"C","bare":false,"munged":true,"held":false,"broken":true}"#;
        check("from:list-id", "reject", Unaligned::Munge, munged);
        let broken = r#"{"class":"B","bare":false,"munged":false,"held":false,"broken":true}"#;
        check("from:list-id", "none", Unaligned::Munge, broken);
        let held = r#"{"class":"C","bare":false,"munged":false,"held":true,"broken":true}"#;
        check("from:list-unsubscribe", "reject", Unaligned::Hold, held);
        let passed = r#"{"class":"C","bare":false,"munged":false,"held":false,"broken":true}"#;
        check("from:list-unsubscribe", "reject", Unaligned::Pass, passed);
    }
}
