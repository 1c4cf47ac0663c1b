//! The small words that all modules share: ids, addresses, names, time, jobs, events.
//!
//! Pure, and imports nothing of this crate.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A moment: microseconds since 1970-01-01 00:00 UTC. Negative before that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// The moment that many whole seconds after 1970; saturates instead of overflowing.
    pub const fn from_secs(secs: i64) -> Self {
        Timestamp(secs.saturating_mul(1_000_000))
    }

    /// Whole seconds since 1970, rounded down.
    pub const fn secs(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// This moment moved by `secs` seconds (which may be negative).
    pub const fn plus_secs(self, secs: i64) -> Self {
        Timestamp(self.0.saturating_add(secs.saturating_mul(1_000_000)))
    }

    fn calendar(self) -> chrono::DateTime<chrono::Utc> {
        // A moment beyond chrono's calendar (some 262,000 years) is shown as its last day.
        chrono::DateTime::from_timestamp(self.secs(), 0)
            .unwrap_or(chrono::DateTime::<chrono::Utc>::MAX_UTC)
    }

    /// `2026-03-19T14:05:09Z` (RFC 3339), for `<time>`, feeds and JSON.
    pub fn rfc3339(self) -> String {
        self.calendar().format("%Y-%m-%dT%H:%M:%SZ").to_string()
    }

    /// `2026-03-19 14:05 UTC`, for people.
    pub fn human(self) -> String {
        self.calendar().format("%Y-%m-%d %H:%M UTC").to_string()
    }

    /// `Thu, 19 Mar 2026 14:05:09 +0000` (RFC 5322 section 3.3), for mail headers.
    pub fn rfc5322(self) -> String {
        self.calendar()
            .format("%a, %d %b %Y %H:%M:%S +0000")
            .to_string()
    }

    /// `Thu, 19 Mar 2026 14:05:09 GMT` (RFC 9110 section 5.6.7), for HTTP headers.
    pub fn http_date(self) -> String {
        self.calendar()
            .format("%a, %d %b %Y %H:%M:%S GMT")
            .to_string()
    }
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub i64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )*};
}

ids! {
    /// What may know of each other: [`RealmId::PUBLIC`], or one list that is not public.
    RealmId,
    /// A mailing list.
    ListId,
    /// A mail accepted for one list, filed or not.
    ReceiptId,
    /// A stored message of one realm (a row; its RFC 5322 name is [`MessageId`]).
    MailId,
    /// A thread of one realm.
    ThreadId,
    /// All versions of one change.
    PatchsetId,
    /// One version of a patchset.
    SeriesId,
    /// A git repository known here.
    RepoId,
    /// A subscription of one address to one list.
    MemberId,
    /// One recipient's copy of one posting.
    DeliveryId,
    /// A mail of our own to one address.
    LetterId,
    /// A row of owed work.
    JobId,
}

impl RealmId {
    /// The realm that all public lists share.
    pub const PUBLIC: RealmId = RealmId(1);
}

/// SHA-256 of a mail's stored bytes: the name of a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlobHash(pub [u8; 32]);

/// What makes two copies the same mail, whatever way they came (see `mail::identity`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity(pub [u8; 32]);

/// A Message-ID without its angle brackets (RFC 5322 section 3.6.4), as tolerant as real mail needs.
///
/// 1 to 244 bytes of printable text without blanks: the cut is public-inbox's, so that URLs agree.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MessageId(String);

/// What stands around an id, not in it.
const BRACKETS: [char; 2] = ['<', '>'];

impl MessageId {
    /// Longest id that is kept, in bytes.
    pub const MAX: usize = 244;

    /// Reads an id with or without `<>`; white space and control characters are dropped, and angle brackets at both
    /// ends, however many; the rest is cut at [`Self::MAX`] bytes. `None` when nothing is left.
    ///
    /// An id that was read is read again as itself: rows and URLs name the same mail.
    pub fn parse(text: &str) -> Option<Self> {
        let plain = |c: &char| !c.is_control() && !c.is_whitespace();
        let all: String = text.chars().filter(plain).collect();
        let bare = all.trim_start_matches(BRACKETS);
        let cut = &bare[..bare.floor_char_boundary(Self::MAX)];
        let id = cut.trim_end_matches(BRACKETS);
        (!id.is_empty()).then(|| MessageId(id.to_owned()))
    }

    /// The id without angle brackets.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a name or an address is refused; the text says which rule it breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NameError(pub String);

/// An e-mail address `local@domain`; the domain is kept in lower case, the local part as written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    local: String,
    domain: String,
}

impl Address {
    /// The part before the last `@`.
    pub fn local(&self) -> &str {
        &self.local
    }

    /// The part after the last `@`, in lower case.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The whole address in lower case: what addresses are compared and stored by.
    pub fn key(&self) -> String {
        format!("{}@{}", self.local.to_lowercase(), self.domain)
    }
}

impl Address {
    /// Reads an address that mail comes from: as [`Address::from_str`], but the local part may be longer than 64
    /// octets. Return paths that carry a member's address (VERP, SRS) are, and refusing them loses real mail.
    pub fn parse_sender(text: &str) -> Result<Self, NameError> {
        Self::parse(text, 254)
    }

    fn parse(text: &str, max_local: usize) -> Result<Self, NameError> {
        let bad = |why: &str| {
            Err(NameError(format!(
                "{text:?} is not an e-mail address: {why}"
            )))
        };
        let inner = text
            .strip_prefix('<')
            .and_then(|t| t.strip_suffix('>'))
            .unwrap_or(text);
        let Some((local, domain)) = inner.rsplit_once('@') else {
            return bad("no @");
        };
        if local.is_empty() || local.len() > max_local {
            return bad("the part before the @ has 1 to 64 characters");
        }
        if domain.is_empty() || inner.len() > 254 {
            return bad("too long, or no domain");
        }
        if inner
            .chars()
            .any(|c| c.is_control() || c.is_whitespace() || matches!(c, '<' | '>' | ',' | ';'))
        {
            return bad("it holds a blank, a control character or one of < > , ;");
        }
        let plain = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_');
        let literal = domain.starts_with('[') && domain.ends_with(']');
        if !literal
            && (!domain.chars().all(plain)
                || domain.starts_with('.')
                || domain.ends_with('.')
                || domain.contains(".."))
        {
            return bad("the domain is malformed");
        }
        Ok(Address {
            local: local.to_owned(),
            domain: domain.to_lowercase(),
        })
    }
}

impl FromStr for Address {
    type Err = NameError;

    /// Reads `local@domain`, with or without `<>`. No display name, no source route, no blanks, no
    /// control characters; local part 1 to 64 octets, whole 3 to 254 (RFC 5321 section 4.5.3.1).
    fn from_str(text: &str) -> Result<Self, NameError> {
        let address = Self::parse(text, 64)?;
        let quoted = address.local.starts_with('"') && address.local.ends_with('"');
        match address.local.contains('@') && !quoted {
            true => Err(NameError(format!(
                "{text:?} is not an e-mail address: it has two @"
            ))),
            false => Ok(address),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.local, self.domain)
    }
}

/// Words that a list may not be called, because URLs use them (fixed for ever).
pub const RESERVED_NAMES: [&str; 13] = [
    "api", "all", "me", "r", "u", "s", "help", "project", "series", "patch", "health", "static",
    "sign-in",
];

/// A list's name in URLs and commands: 1 to 20 of `a-z 0-9 . _ -`, beginning with a letter or digit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListName(String);

impl ListName {
    /// The name as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ListName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if RESERVED_NAMES.contains(&text) {
            return Err(NameError(format!(
                "a list cannot be named {text:?}: the web site uses that word"
            )));
        }
        if text == "postmaster" {
            return Err(NameError(
                "the list \"postmaster\" is made when the first mail for the operator comes"
                    .to_owned(),
            ));
        }
        check_name(text, 20)
            .map_err(|why| NameError(format!("{text:?} is not a list name: {why}")))?;
        if text.ends_with(".git")
            || text.ends_with(".css")
            || text.ends_with(".js")
            || text.ends_with(".gz")
        {
            return Err(NameError(format!(
                "a list cannot be named {text:?}: the ending means a file on the web site"
            )));
        }
        Ok(ListName(text.to_owned()))
    }
}

impl fmt::Display for ListName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A repository's name in URLs: 1 to 64 of `a-z A-Z 0-9 . _ -`; neither `.git` nor `.patches` at its end.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RepoName(String);

impl RepoName {
    /// The name as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RepoName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        check_name(&text.to_lowercase(), 64)
            .map_err(|why| NameError(format!("{text:?} is not a repository name: {why}")))?;
        if text.ends_with(".git")
            || text.ends_with(".patches")
            || text.contains("..")
            || text.contains(".private-")
        {
            return Err(NameError(format!(
                "{text:?} is not a repository name: leave .git and .patches away"
            )));
        }
        Ok(RepoName(text.to_owned()))
    }
}

impl fmt::Display for RepoName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn check_name(text: &str, max: usize) -> Result<(), String> {
    if text.is_empty() || text.len() > max {
        return Err(format!("it has 1 to {max} characters"));
    }
    if !text
        .bytes()
        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-'))
    {
        return Err("it is made of a-z, 0-9, dot, underscore and hyphen".to_owned());
    }
    if !text.as_bytes()[0].is_ascii_alphanumeric() {
        return Err("it begins with a letter or digit".to_owned());
    }
    Ok(())
}

/// Work that is owed; unique by its kind and key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Job {
    /// File a receipt: thread it, recognise it, assemble series.
    File(ReceiptId),
    /// Apply a series in its repository's companion.
    Apply(SeriesId),
    /// Make deliveries for a posting of a list: (list, posting number).
    FanOut(ListId, i64),
    /// Fetch a repository from its source, then look again at what is open on it.
    Fetch(RepoId),
    /// Train the dictionary with which a realm's mail is stored.
    Learn(RealmId),
    /// Put the packs and refs of a repository and its companions in order, and archive its old series.
    Upkeep(RepoId),
    /// Try applied series of a repository at the present tip.
    Recheck(RepoId),
    /// Take the refs of recalled mails out of a realm's companions, and group anew what was beside them.
    Aftermath(RealmId),
    /// Answer what a mail wishes for the series that it answers.
    Steer(MailId),
    /// Tell the moderators of a list what is held, and drop what was held too long.
    Hold(ListId),
    /// Answer the mails that were sent to try a list out.
    Rehearse(ListId),
    /// Tell the author of a series what became of it, if that is wanted.
    Report(SeriesId),
    /// Tell the author of a series that its state was set or that patches landed, if that is wanted.
    News(SeriesId),
    /// Count bounces that waited, and take the steps about addresses that are due.
    Bounces,
    /// Ask once more who speaks for a mail about which DNS gave no answer.
    Verify(ReceiptId),
}

impl Job {
    /// The kind as stored: `file`, `apply`, `fan-out`, `fetch`, `learn`, `upkeep`, `recheck`, `steer`, `hold`, `rehearse`, `report`, `aftermath`, `bounces`, `verify`.
    pub fn kind(self) -> &'static str {
        match self {
            Job::File(_) => "file",
            Job::Apply(_) => "apply",
            Job::FanOut(..) => "fan-out",
            Job::Fetch(_) => "fetch",
            Job::Learn(_) => "learn",
            Job::Upkeep(_) => "upkeep",
            Job::Recheck(_) => "recheck",
            Job::Steer(_) => "steer",
            Job::Hold(_) => "hold",
            Job::Rehearse(_) => "rehearse",
            Job::Report(_) => "report",
            Job::News(_) => "news",
            Job::Aftermath(_) => "aftermath",
            Job::Bounces => "bounces",
            Job::Verify(_) => "verify",
        }
    }

    /// The key as stored: the ids in decimal, joined by `/`.
    pub fn key(self) -> String {
        match self {
            Job::File(id) | Job::Verify(id) => id.to_string(),
            Job::Apply(id) | Job::Report(id) | Job::News(id) => id.to_string(),
            Job::FanOut(list, number) => format!("{list}/{number}"),
            Job::Fetch(id) => id.to_string(),
            Job::Learn(realm) => realm.0.to_string(),
            Job::Upkeep(id) => id.to_string(),
            Job::Recheck(id) => id.to_string(),
            Job::Steer(id) => id.to_string(),
            Job::Hold(list) | Job::Rehearse(list) => list.to_string(),
            Job::Aftermath(realm) => realm.0.to_string(),
            Job::Bounces => "0".to_owned(),
        }
    }

    /// Reads a stored kind and key back; `None` when another version of patchpost wrote it.
    pub fn from_row(kind: &str, key: &str) -> Option<Job> {
        let number = |text: &str| text.parse::<i64>().ok();
        match kind {
            "file" => Some(Job::File(ReceiptId(number(key)?))),
            "apply" => Some(Job::Apply(SeriesId(number(key)?))),
            "fan-out" => {
                let (list, posting) = key.split_once('/')?;
                Some(Job::FanOut(ListId(number(list)?), number(posting)?))
            }
            "fetch" => Some(Job::Fetch(RepoId(number(key)?))),
            "learn" => Some(Job::Learn(RealmId(number(key)?))),
            "upkeep" => Some(Job::Upkeep(RepoId(number(key)?))),
            "recheck" => Some(Job::Recheck(RepoId(number(key)?))),
            "steer" => Some(Job::Steer(MailId(number(key)?))),
            "hold" => Some(Job::Hold(ListId(number(key)?))),
            "rehearse" => Some(Job::Rehearse(ListId(number(key)?))),
            "report" => Some(Job::Report(SeriesId(number(key)?))),
            "news" => Some(Job::News(SeriesId(number(key)?))),
            "aftermath" => Some(Job::Aftermath(RealmId(number(key)?))),
            "bounces" => Some(Job::Bounces),
            "verify" => Some(Job::Verify(ReceiptId(number(key)?))),
            _ => None,
        }
    }
}
