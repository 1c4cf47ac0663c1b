//! What a mail is by itself: patch, cover letter, comment, pull request or plain mail.

use std::collections::HashSet;

use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};

use super::alone;
use super::answer::own_words;
use super::page::Page;
use super::scan::{self, Found};
use super::sending::{self, Stem};
use super::submitter::submitter;
use super::tag::{Tag, Version, normalise_title, parse_tag};
use super::trailer::{Trailer, parse_trailers};
use crate::mail::{Flaw, Message, Part};
use crate::types::MessageId;
use crate::verdict::Level;

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
    /// Whether it is one of the mails that make series: a pull request is a series of one without a diff.
    pub fn is_tracked(self) -> bool {
        matches!(self, Kind::Patch | Kind::Cover | Kind::PullRequest)
    }

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

/// Which text of a mail carries its diff.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// The text that a reader sees.
    Text,
    /// The leaf of that index in [`Message::parts`].
    Part(usize),
}

/// What `git request-pull` asks to be pulled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PullRequest {
    /// The repository.
    pub url: String,
    /// Branch or tag; empty if none is named.
    pub reference: String,
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
    /// The submitter is not who From says: nothing that speaks for From's domain speaks for him.
    #[serde(default)]
    pub rewritten: bool,
    /// `base-commit:`
    pub base_commit: Option<String>,
    /// `prerequisite-patch-id:`, at most 100.
    #[serde(default)]
    pub prerequisites: Vec<String>,
    /// `change-id:`
    pub change_id: Option<String>,
    /// `Supersedes:`
    pub supersedes: Vec<MessageId>,
    /// `Based-on:` and `Depends-on:`
    pub depends_on: Vec<MessageId>,
    /// The same where they name pages of patchsets, of whatever site.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub depends_on_pages: Vec<String>,
    /// Trailers of its message, or, of a comment, those that stand unquoted in it.
    #[serde(default)]
    pub trailers: Vec<Trailer>,
    /// Where its diff is, if it carries one (a comment may, too).
    #[serde(default)]
    pub diff: Option<Place>,
    /// What it asks to be pulled, if it is a pull request.
    #[serde(default)]
    pub pull: Option<PullRequest>,
    /// Paths that the diff changes, at most 1,000.
    pub files: Vec<String>,
    /// Pre-image blobs of the diff: (path, abbreviated id), at most 1,000.
    pub blobs: Vec<(String, String)>,
    /// Added and removed lines.
    pub stat: (u32, u32),
    /// What its Message-ID tells.
    pub stem: Option<Stem>,
}

impl Recognised {
    /// How well the submitter is authenticated, given how well From is.
    pub fn level(&self, from: Level) -> Level {
        match from {
            Level::Aligned if self.rewritten => Level::None,
            level => level,
        }
    }
}

/// Looks at one mail by itself.
pub fn recognise(message: &Message) -> Recognised {
    let diff = place(message);
    let who = submitter(message);
    let pull = pull_request(&message.text);
    let (tag, kind) = read_subject(message, diff, pull.is_some());
    let patch = diff.and_then(|place| text_at(message, place));
    let Found { files, blobs, stat } = match patch {
        Some(text) if kind == Kind::Patch => scan::scan(text),
        _ => Found::default(),
    };
    // A patch as attachment has its message there, too.
    let said = patch
        .filter(|_| kind == Kind::Patch)
        .unwrap_or(&message.text);
    let one = |name: &str| {
        scan::fields(said, &[name], 1)
            .first()
            .map(|v| v.to_string())
    };
    let ids = |names: &[&str]| {
        let mut ids: Vec<MessageId> = Vec::new();
        for id in scan::fields(said, names, 20).into_iter().filter_map(id_of) {
            if id != message.message_id && !ids.contains(&id) {
                ids.push(id);
            }
        }
        ids
    };
    let prerequisites = scan::fields(said, &["prerequisite-patch-id"], 100);
    Recognised {
        kind,
        normal_title: normalise_title(&tag.title),
        submitter: who.address,
        submitter_name: who.name,
        rewritten: who.rewritten,
        base_commit: one("base-commit").filter(|v| is_hex(v, 7)),
        prerequisites: prerequisites
            .into_iter()
            .filter(|v| is_hex(v, 40))
            .map(str::to_owned)
            .collect(),
        change_id: one("change-id").filter(|v| v.len() <= 200 && !v.contains(' ')),
        supersedes: ids(&["supersedes", "obsoletes"]),
        depends_on: ids(&BUILT_ON),
        depends_on_pages: pages(said),
        trailers: match kind {
            // What it quotes was said by somebody else.
            Kind::Comment | Kind::Plain => parse_trailers(own_words(said, &message.subject)),
            _ => parse_trailers(said),
        },
        diff,
        pull: pull.filter(|_| kind == Kind::PullRequest),
        files,
        blobs,
        stat,
        stem: sending::stem(message.message_id.as_str()),
        tag,
    }
}

/// The subject that counts, and what the mail is by it: its own, or that of an attached file of git-format-patch(1) where its own
/// says less. That is so if it has no tag, or if it answers, as web mailers do, and the file is a newer version than what it answers.
fn read_subject(message: &Message, diff: Option<Place>, pull: bool) -> (Tag, Kind) {
    let own = parse_tag(&message.subject);
    let kind = decide(message, &own, diff.is_some(), pull);
    let file = diff.and_then(|place| tag_of_file(message, place));
    let file = file.filter(|_| own.reply || !own.tagged);
    let version = |tag: &Tag| tag.version.unwrap_or(Version::FIRST);
    match file {
        Some(file) if version(&file) > version(&own) => {
            let kind = match decide(message, &file, diff.is_some(), pull) {
                Kind::Comment => Kind::Patch,
                kind => kind,
            };
            (file, kind)
        }
        Some(file) if kind != Kind::Comment => {
            let kind = decide(message, &file, diff.is_some(), pull);
            (file, kind)
        }
        _ => (own, kind),
    }
}

fn tag_of_file(message: &Message, place: Place) -> Option<Tag> {
    let Place::Part(at) = place else {
        return None;
    };
    let tag = parse_tag(&alone::subject_of_file(message.parts.get(at)?)?);
    (tag.tagged && !tag.reply).then_some(tag)
}

/// Which blobs a series was made from: path and abbreviated id before, of the first change of each path.
///
/// Later changes of a path build on the series itself, and so do changes of files that it makes.
pub fn first_blobs(series: &[Recognised]) -> Vec<(String, String)> {
    let mut seen: HashSet<&str> = HashSet::new();
    let mut blobs = Vec::new();
    for patch in series {
        for (path, blob) in &patch.blobs {
            if seen.insert(path) {
                blobs.push((path.clone(), blob.clone()));
            }
        }
        seen.extend(patch.files.iter().map(String::as_str));
    }
    blobs
}

/// The text that carries the diff: the plain text, else the first part that is a patch by type or name.
pub fn patch_text(message: &Message) -> Option<&str> {
    place(message).and_then(|place| text_at(message, place))
}

/// The attached part that carries the diff; `None` where the text does, or nothing.
pub fn attached_patch(message: &Message) -> Option<&str> {
    let found = place(message).filter(|place| *place != Place::Text)?;
    text_at(message, found)
}

pub(super) fn place(message: &Message) -> Option<Place> {
    // Text made out of HTML has lost what makes a diff apply.
    if !message.flaws.contains(&Flaw::HtmlOnly) && scan::has_diff(&message.text) {
        return Some(Place::Text);
    }
    let found = message
        .parts
        .iter()
        .position(|p| is_patch(p) && part_text(p).is_some_and(scan::has_diff));
    found.map(Place::Part)
}

fn text_at(message: &Message, place: Place) -> Option<&str> {
    match place {
        Place::Text => Some(&message.text),
        Place::Part(at) => message.parts.get(at).and_then(part_text),
    }
}

fn is_patch(part: &Part) -> bool {
    let typed = matches!(
        part.content_type.as_str(),
        "text/plain"
            | "text/x-patch"
            | "text/x-diff"
            | "application/x-patch"
            | "application/x-diff"
    );
    let named = part.filename.as_deref().is_some_and(|name| {
        let name = name.to_ascii_lowercase();
        name.ends_with(".patch")
            || name.ends_with(".diff")
            || (name.ends_with(".txt") && is_of_git(part))
    });
    typed || named
}

/// Web mailers call the file of git-format-patch(1) what they like; what begins as git begins it is one.
fn is_of_git(part: &Part) -> bool {
    let kind = part.content_type.as_str();
    let is_text = kind == "application/octet-stream" || kind.starts_with("text/");
    is_text && alone::subject_of_file(part).is_some()
}

pub(super) fn part_text(part: &Part) -> Option<&str> {
    let text = part.text.as_deref();
    // Bytes that are no UTF-8 carry no diff that could be placed.
    text.or_else(|| std::str::from_utf8(&part.bytes).ok())
}

fn decide(message: &Message, tag: &Tag, diff: bool, pull: bool) -> Kind {
    let hint = message.header("X-Patchwork-Hint").unwrap_or_default();
    if hint.trim().eq_ignore_ascii_case("ignore") {
        return Kind::Plain;
    }
    let answers = !message.parents.is_empty();
    if tag.reply || (answers && !tag.tagged && scan::is_quoting(&message.text)) {
        return Kind::Comment;
    }
    // A reply that lost its `Re:` quotes what it answers; a diff in it is a suggestion.
    // A cover letter may quote, too, but has its diffstat; so may the message of a patch, which `---` parts from its diff.
    let text = &message.text;
    let own = (tag.number == Some(0) && scan::has_diffstat(text))
        || (tag.tagged && diff && scan::is_formatted(text));
    if answers && !own && scan::quotes_first(&message.text) {
        return Kind::Comment;
    }
    if tag.number == Some(0) {
        Kind::Cover
    } else if pull {
        Kind::PullRequest
    } else if diff {
        Kind::Patch
    } else if answers {
        Kind::Comment
    } else {
        Kind::Plain
    }
}

/// What stands in a `git request-pull`: "The following changes since commit …", then "are available in the git
/// repository at:" (older git: "are available in the git repository at:" on the first line), then URL and name.
fn pull_request(text: &str) -> Option<PullRequest> {
    let start = text.find("The following changes since commit")?;
    // What follows is short; a book behind the sentence is not read.
    let rest: String = text[start..].chars().take(4_000).collect();
    let folded = rest.split_whitespace().collect::<Vec<_>>().join(" ");
    let at = find_ignoring_case(&folded, "in the git repository at")?;
    let mut words = folded[at..].split(' ').skip(5);
    let url = words
        .by_ref()
        .find(|w| w.contains("://") || w.contains('@'))?;
    let name = words.next().filter(|w| {
        // "for you to fetch changes up to", or the shortlog: no name was given.
        *w != "for" && !w.ends_with(':') && w.len() <= 200
    });
    Some(PullRequest {
        url: url.to_owned(),
        reference: name.unwrap_or_default().to_owned(),
    })
}

fn find_ignoring_case(text: &str, needle: &str) -> Option<usize> {
    text.to_ascii_lowercase().find(needle)
}

fn is_hex(value: &str, least: usize) -> bool {
    (least..=64).contains(&value.len()) && value.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Fields that name what a series is built on.
const BUILT_ON: [&str; 2] = ["based-on", "depends-on"];

/// Pages of patchsets that are named as what a series is built on, each once.
fn pages(said: &str) -> Vec<String> {
    let mut pages: Vec<String> = Vec::new();
    let values = scan::fields(said, &BUILT_ON, 20).into_iter();
    let words = values.filter_map(|v| v.split_whitespace().next());
    for page in words.filter_map(Page::parse) {
        let page = page.to_string();
        if !pages.contains(&page) {
            pages.push(page);
        }
    }
    pages
}

/// A Message-ID, or the last one in the path of an archive's URL.
fn id_of(value: &str) -> Option<MessageId> {
    let value = value.split_whitespace().next()?;
    let Some((_, rest)) = value.split_once("://") else {
        return MessageId::parse(value).filter(|id| id.as_str().contains('@'));
    };
    // Neither the host nor a place in the page names a mail.
    let (_, path) = rest.split(['?', '#', '>']).next()?.split_once('/')?;
    let pieces = path
        .rsplit('/')
        .map(|p| percent_decode_str(p).decode_utf8_lossy());
    let mut ids = pieces.filter(|piece| piece.contains('@'));
    MessageId::parse(&ids.next()?)
}
