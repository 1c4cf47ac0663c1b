//! A list's policy as data: who may do what, and when a person looks first. Pure.

use serde::{Deserialize, Serialize};

use super::rules::{self, Rule};

/// What somebody may do at a list: SourceHut's four bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Bits(pub i64);

/// The bits by their words, in the order in which they are shown.
const WORDS: [(&str, Bits); 4] = [
    ("browse", Bits::BROWSE),
    ("reply", Bits::REPLY),
    ("post", Bits::POST),
    ("moderate", Bits::MODERATE),
];

impl Bits {
    /// Nothing.
    pub const NONE: Bits = Bits(0);
    /// Reads the archive and may subscribe.
    pub const BROWSE: Bits = Bits(1);
    /// Answers mails that the list has.
    pub const REPLY: Bits = Bits(2);
    /// Begins threads.
    pub const POST: Bits = Bits(4);
    /// Decides on held mail, sets states; nothing that he sends is held.
    pub const MODERATE: Bits = Bits(8);
    /// Reads, answers and begins threads.
    pub const WRITE: Bits = Bits(7);

    /// Whether all of `other` is in it.
    pub fn has(self, other: Bits) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both's.
    pub fn and(self, other: Bits) -> Bits {
        Bits(self.0 & other.0)
    }

    /// Reads `browse,reply,post,moderate` or `none`.
    pub fn parse(text: &str) -> Result<Bits, String> {
        if text == "none" {
            return Ok(Bits::NONE);
        }
        let mut bits = 0;
        for word in text.split(',').map(str::trim) {
            let known = WORDS.iter().find(|(name, _)| *name == word);
            let Some((_, bit)) = known else {
                return Err(format!(
                    "{word:?} is no right; there are browse, reply, post, moderate (commas between them), and none"
                ));
            };
            bits |= bit.0;
        }
        Ok(Bits(bits))
    }
}

impl std::fmt::Display for Bits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let words = WORDS.iter().filter(|(_, bit)| self.has(*bit));
        let words: Vec<&str> = words.map(|(word, _)| *word).collect();
        match words.is_empty() {
            true => f.write_str("none"),
            false => f.write_str(&words.join(",")),
        }
    }
}

/// Whose mail a person looks at first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Moderation {
    /// Nobody's.
    None,
    /// That of people whom the list does not know, unless they are authenticated and answer a mail that it has.
    #[default]
    Strangers,
    /// Everybody's but the moderators'.
    All,
}

impl Moderation {
    /// As written in commands and settings.
    pub fn as_str(self) -> &'static str {
        match self {
            Moderation::None => "none",
            Moderation::Strangers => "strangers",
            Moderation::All => "all",
        }
    }
}

/// By what a person is known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Proof {
    /// The domain in From speaks for the mail (DKIM, SPF, or the mail server in front).
    #[default]
    Authenticated,
    /// From alone: whoever writes an address passes for its owner. For closed networks without DKIM.
    From,
}

impl Proof {
    /// As written in commands.
    pub fn as_str(self) -> &'static str {
        match self {
            Proof::Authenticated => "authenticated",
            Proof::From => "from",
        }
    }
}

/// What becomes of a mail whose sender lacks the right to send it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outsiders {
    /// Refused with words in the dialogue.
    #[default]
    Reject,
    /// Held.
    Hold,
}

impl Outsiders {
    /// As written in commands.
    pub fn as_str(self) -> &'static str {
        match self {
            Outsiders::Reject => "reject",
            Outsiders::Hold => "hold",
        }
    }
}

/// What becomes of an author's wish, by mail, that a mail of his is removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OwnRemoval {
    /// He is told to write to the people who run the list.
    Off,
    /// The moderators are asked.
    #[default]
    Ask,
    /// It is taken back at once.
    Hide,
}

impl OwnRemoval {
    /// As written in commands.
    pub fn as_str(self) -> &'static str {
        match self {
            OwnRemoval::Off => "off",
            OwnRemoval::Ask => "ask",
            OwnRemoval::Hide => "hide",
        }
    }
}

/// The policy of one list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Policy {
    /// What everybody may do.
    pub anybody: Bits,
    /// What subscribers may do.
    pub subscribers: Bits,
    /// Whoever is subscribed to any list of the realm counts as a subscriber here.
    pub any_list: bool,
    /// Whose mail is held.
    pub moderation: Moderation,
    /// By what people are known.
    pub proof: Proof,
    /// What becomes of mail without the right to it.
    pub outsiders: Outsiders,
    /// Everything is held until somebody turns it off.
    pub emergency: bool,
    /// Mails larger than this many bytes are held.
    pub max_size: i64,
    /// Mails of which only HTML can be read are taken.
    pub html: bool,
    /// Globs of content types that are refused wherever they stand in a mail.
    pub refused_types: Vec<String>,
    /// Header rules, the first that matches counts.
    pub rules: Vec<Rule>,
    /// Mails of strangers in an hour; what comes beyond is held. 0: no limit.
    pub strangers_per_hour: i64,
    /// First posts go out so many seconds late at least, and at most twice as late. 0: at once.
    pub delay: i64,
    /// Held mail is dropped after so many days.
    pub hold_days: i64,
    /// Copies go over TLS only.
    pub tls_only: bool,
    /// Who may read a list that is not public reads it on the pages, too. What is stored without a word on it is of a time when
    /// nobody did.
    #[serde(default = "no")]
    pub web: bool,
    /// What becomes of authors' wishes that their mail is removed.
    pub own_removal: OwnRemoval,
}

fn no() -> bool {
    false
}

/// Held above: a patch series of generated files may be larger, and a person should see that.
const MIB: i64 = 1 << 20;

impl Default for Policy {
    fn default() -> Policy {
        Policy {
            anybody: Bits::WRITE,
            subscribers: Bits::WRITE,
            any_list: false,
            moderation: Moderation::Strangers,
            proof: Proof::Authenticated,
            outsiders: Outsiders::Reject,
            emergency: false,
            max_size: MIB,
            html: false,
            refused_types: Vec::new(),
            rules: Vec::new(),
            strangers_per_hour: 20,
            delay: 60,
            hold_days: 14,
            tls_only: false,
            web: true,
            own_removal: OwnRemoval::Ask,
        }
    }
}

impl Policy {
    /// What a list of that style starts with.
    pub fn of_style(style: &str) -> Policy {
        let open = Policy::default();
        match style {
            "announce" => Policy {
                anybody: Bits::BROWSE,
                subscribers: Bits::BROWSE,
                ..open
            },
            // Who reports a hole is a stranger, writes HTML or encrypts, and must not wait.
            "security" => Policy {
                anybody: Bits(Bits::REPLY.0 | Bits::POST.0),
                moderation: Moderation::None,
                html: true,
                max_size: 10 * MIB,
                strangers_per_hour: 60,
                delay: 0,
                tls_only: true,
                // The mail with which one signs in may go without TLS: the owner says so first.
                web: false,
                ..open
            },
            _ => open,
        }
    }

    /// A list that everybody writes to and nobody watches.
    pub fn open() -> Policy {
        Policy::default().moderated(Moderation::None)
    }

    /// The same with another moderation. With `none` strangers are as good as everybody: they are neither counted nor delayed.
    pub fn moderated(self, moderation: Moderation) -> Policy {
        let of_strangers = |value| {
            if moderation == Moderation::None {
                0
            } else {
                value
            }
        };
        Policy {
            moderation,
            strangers_per_hour: of_strangers(self.strangers_per_hour),
            delay: of_strangers(self.delay),
            ..self
        }
    }

    /// The same for a list that becomes one of another style: the style's rights, form and TLS; what was set about held mail stays.
    pub fn restyled(self, style: &str) -> Policy {
        let fresh = Policy::of_style(style);
        Policy {
            anybody: fresh.anybody,
            subscribers: fresh.subscribers,
            html: fresh.html,
            tls_only: fresh.tls_only,
            // Nothing is opened by the way.
            web: self.web && fresh.web,
            ..self
        }
    }

    /// What is wrong with the numbers and patterns, if anything is.
    pub fn check(&self) -> Result<(), String> {
        let within =
            |name: &str, value: i64, low: i64, high: i64| match (low..=high).contains(&value) {
                true => Ok(()),
                false => Err(format!("{name} is a number from {low} to {high}")),
            };
        within("--max-size", self.max_size, 1_024, 200 * MIB)?;
        within(
            "--strangers-per-hour",
            self.strangers_per_hour,
            0,
            1_000_000,
        )?;
        within("--delay", self.delay, 0, 3_600)?;
        within("--hold-days", self.hold_days, 1, 365)?;
        if self.rules.len() > 100 || self.refused_types.len() > 100 {
            return Err("a list has at most 100 rules".to_owned());
        }
        self.refused_types
            .iter()
            .try_for_each(|pattern| rules::check_pattern(pattern))
    }

    /// Reads what is stored; a list without a policy of its own has its style's.
    pub fn from_stored(text: &str, style: &str) -> Policy {
        serde_json::from_str(text).unwrap_or_else(|_| Policy::of_style(style))
    }

    /// As stored.
    pub fn to_stored(&self) -> String {
        serde_json::to_string(self).expect("plain values are written as JSON")
    }
}

/// The names under which an address or its domain may be banned: itself, its domain, and the domains above that.
pub fn ban_keys(address: &str) -> Vec<String> {
    let lower = address.to_lowercase();
    let Some((_, domain)) = lower.rsplit_once('@') else {
        return Vec::new();
    };
    let mut keys = vec![lower.clone()];
    let mut rest = domain.trim_end_matches('.');
    // Ten labels are more than any domain that mail comes from has.
    for _ in 0..10 {
        keys.push(rest.to_owned());
        match rest.split_once('.') {
            Some((_, above)) if above.contains('.') => rest = above,
            _ => break,
        }
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let got = Bits::parse(text).map_or_else(|e| e, |bits| bits.to_string());
        assert!(got.contains(expected), "{text}: {got}");
    }

    #[test]
    fn rights_are_written_and_read() {
        check("post,reply", "reply,post");
        check("none", "none");
        check("browse, moderate", "browse,moderate");
        check("all", "\"all\" is no right");
        check("", "no right");
    }

    #[test]
    fn a_policy_comes_back_and_an_older_one_has_the_new_defaults() {
        let mut policy = Policy::of_style("security");
        policy
            .rules
            .push(Rule::parse("Subject *x* hold").expect("a rule"));
        assert_eq!(Policy::from_stored(&policy.to_stored(), "patch"), policy);
        let old = Policy::from_stored("{\"emergency\":true}", "patch");
        assert!(old.emergency && old.max_size == MIB && old.anybody == Bits::WRITE);
        assert!(!old.web, "nobody was told that members read it there");
        assert_eq!(
            Policy::from_stored("", "announce"),
            Policy::of_style("announce")
        );
    }

    #[test]
    fn a_ban_holds_for_the_domain_and_what_is_below_it() {
        let keys = ban_keys("Spam@Mail.Bad.example");
        assert_eq!(
            keys,
            ["spam@mail.bad.example", "mail.bad.example", "bad.example"]
        );
        // A top-level domain is nobody's.
        assert_eq!(ban_keys("a@localhost"), ["a@localhost", "localhost"]);
        assert!(ban_keys("nobody").is_empty());
    }
}
