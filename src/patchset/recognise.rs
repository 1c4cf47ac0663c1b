//! What a mail is by itself: patch, cover letter, comment, pull request or plain mail.

use serde::{Deserialize, Serialize};

use super::scan::{self, Found};
use super::tag::{Tag, normalise_title, parse_tag};
use crate::mail::{Message, Part};
use crate::types::MessageId;

/// What a mail is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Carries a diff and is no reply.
    Patch,
    /// Number 0 of a series, whatever its body holds.
    Cover,
    /// Answers something.
    Comment,
    /// `git request-pull`.
    PullRequest,
    /// Anything else.
    Plain,
}

impl Kind {
    /// As stored: `patch`, `cover`, `comment`, `pull-request`, `plain`.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Patch => "patch",
            Kind::Cover => "cover",
            Kind::Comment => "comment",
            Kind::PullRequest => "pull-request",
            Kind::Plain => "plain",
        }
    }
}

/// Where a Message-ID made by a tool says a mail stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stem {
    /// What the mails of one sending share.
    pub stem: String,
    /// b4 writes the version into it.
    pub version: Option<u32>,
}

/// What one mail says of itself; stored as JSON and thought about together with others.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Recognised {
    /// What it is.
    pub kind: Kind,
    /// Its subject, read.
    pub tag: Tag,
    /// Title as versions are compared by.
    pub normal_title: String,
    /// Lower-case address of who sent it; of the author where a list rewrote From.
    pub submitter: String,
    /// Name of who sent it.
    pub submitter_name: String,
    /// `base-commit:`
    pub base_commit: Option<String>,
    /// `change-id:`
    pub change_id: Option<String>,
    /// `Supersedes:`
    pub supersedes: Vec<MessageId>,
    /// `Based-on:` and `Depends-on:`
    pub depends_on: Vec<MessageId>,
    /// Paths that the diff changes, at most 1,000.
    pub files: Vec<String>,
    /// Pre-image blobs of the diff: (path, abbreviated id), at most 1,000.
    pub blobs: Vec<(String, String)>,
    /// Added and removed lines.
    pub stat: (u32, u32),
    /// What its Message-ID tells.
    pub stem: Option<Stem>,
}

/// Looks at one mail by itself.
pub fn recognise(message: &Message) -> Recognised {
    let tag = parse_tag(&message.subject);
    let (submitter, submitter_name) = submitter(message);
    let patch = patch_text(message);
    let found = patch.map(scan::scan).unwrap_or_default();
    let ignored = message
        .header("X-Patchwork-Hint")
        .is_some_and(|v| v.eq_ignore_ascii_case("ignore"));
    let kind = if ignored {
        Kind::Plain
    } else {
        decide(message, &tag, patch.is_some())
    };
    let Found { files, blobs, stat } = if kind == Kind::Patch {
        found
    } else {
        Found::default()
    };
    let trailers = scan::trailers(&message.text);
    let ids = |names: &[&str]| {
        let values = trailers
            .iter()
            .filter(|(n, _)| names.iter().any(|w| n.eq_ignore_ascii_case(w)));
        values.filter_map(|(_, v)| id_of(v)).take(20).collect()
    };
    let one = |name: &str| {
        trailers
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, v)| v.to_string())
    };
    Recognised {
        kind,
        normal_title: normalise_title(&tag.title),
        submitter,
        submitter_name,
        base_commit: one("base-commit")
            .filter(|v| v.len() >= 7 && v.len() <= 64 && v.bytes().all(|b| b.is_ascii_hexdigit())),
        change_id: one("change-id").filter(|v| v.len() <= 200 && !v.contains(' ')),
        supersedes: ids(&["Supersedes"]),
        depends_on: ids(&["Based-on", "Depends-on"]),
        files,
        blobs,
        stat,
        stem: stem(message.message_id.as_str()),
        tag,
    }
}

/// The text that carries the diff: the plain text, else the first part that is a patch by type or name.
pub fn patch_text(message: &Message) -> Option<&str> {
    if scan::has_diff(&message.text) {
        return Some(&message.text);
    }
    let is_patch = |p: &&Part| {
        let typed = matches!(
            p.content_type.as_str(),
            "text/x-patch" | "text/x-diff" | "application/x-patch" | "application/x-diff"
        );
        let named = p
            .filename
            .as_deref()
            .is_some_and(|n| n.ends_with(".patch") || n.ends_with(".diff"));
        typed || named || p.content_type == "text/plain"
    };
    message
        .parts
        .iter()
        .filter(is_patch)
        .filter_map(part_text)
        .find(|t| scan::has_diff(t))
}

fn part_text(part: &Part) -> Option<&str> {
    part.text
        .as_deref()
        .or_else(|| std::str::from_utf8(&part.bytes).ok())
}

fn decide(message: &Message, tag: &Tag, diff: bool) -> Kind {
    let answers = tag.reply
        || (!tag.tagged && !message.parents.is_empty() && scan::is_quoting(&message.text));
    if answers {
        return Kind::Comment;
    }
    if tag.number == Some(0) {
        return Kind::Cover;
    }
    if scan::is_pull_request(&message.text) {
        return Kind::PullRequest;
    }
    // A reply that lost its `Re:` quotes the patch that it answers.
    if diff && (message.parents.is_empty() || !scan::quotes_first(&message.text)) {
        return Kind::Patch;
    }
    if message.parents.is_empty() {
        Kind::Plain
    } else {
        Kind::Comment
    }
}

/// Who sent it. Where a list rewrote From ("Ana via dev"), the author stands in X-Original-From, Reply-To or Cc.
fn submitter(message: &Message) -> (String, String) {
    let author = message.author();
    let name = author.name.trim().trim_matches(['"', '\'']);
    let Some((own, _)) = name.split_once(" via ") else {
        return (author.address.to_lowercase(), name.to_owned());
    };
    let own = own.trim().trim_matches(['"', '\'']);
    if let Some(original) = message.header("X-Original-From") {
        let (name, rest) = original.split_once('<').unwrap_or(("", original));
        let address = rest.trim_end_matches('>').trim();
        if address.contains('@') {
            return (
                address.to_lowercase(),
                name.trim().trim_matches('"').to_owned(),
            );
        }
    }
    let reply_to = message.header("Reply-To").unwrap_or_default();
    for candidate in reply_to.split(',') {
        let (name, rest) = candidate.split_once('<').unwrap_or(("", candidate));
        let address = rest.trim().trim_end_matches('>').trim();
        let differs = address.contains('@') && !address.eq_ignore_ascii_case(&author.address);
        if differs && (name.trim().is_empty() || name.trim().trim_matches('"') == own) {
            return (address.to_lowercase(), own.to_owned());
        }
    }
    match message
        .cc
        .iter()
        .find(|m| m.name == own && !m.address.eq_ignore_ascii_case(&author.address))
    {
        Some(found) => (found.address.to_lowercase(), own.to_owned()),
        None => (author.address.to_lowercase(), name.to_owned()),
    }
}

/// A Message-ID, or the one at the end of an archive's URL.
fn id_of(value: &str) -> Option<MessageId> {
    let value = value.split_whitespace().next()?;
    if !value.contains("://") {
        return MessageId::parse(value).filter(|id| id.as_str().contains('@'));
    }
    let last = value
        .trim_end_matches('/')
        .rsplit('/')
        .find(|piece| piece.contains('@') || piece.contains("%40"))?;
    MessageId::parse(&last.replace("%40", "@"))
}

/// git: `20240315173105.636749-2-ana@example.org`; b4: `20240315-slug-v2-3-0123456789ab@example.org`.
fn stem(id: &str) -> Option<Stem> {
    let digits = |t: &str| !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit());
    let mut pieces = id.splitn(3, '-');
    let (first, second, rest) = (pieces.next()?, pieces.next()?, pieces.next()?);
    if let Some((date, process)) = first.split_once('.')
        && date.len() == 14
        && digits(date)
        && digits(process)
        && digits(second)
    {
        return Some(Stem {
            stem: first.to_owned(),
            version: None,
        });
    }
    if first.len() != 8 || !digits(first) {
        return None;
    }
    let local = id.split('@').next()?;
    let (head, hash) = local.rsplit_once('-')?;
    let (head, number) = head.rsplit_once('-')?;
    let (slug, version) = head.rsplit_once("-v")?;
    if hash.len() < 8
        || !hash.bytes().all(|b| b.is_ascii_hexdigit())
        || !digits(number)
        || !digits(version)
        || rest.is_empty()
    {
        return None;
    }
    Some(Stem {
        stem: slug.to_owned(),
        version: version.parse().ok(),
    })
}
