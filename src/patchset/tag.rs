//! Subjects: reply prefixes, bracketed tags, version, number and title.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A version such as `v3` or `v5.1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Version {
    /// The number before the dot, 1 to 999.
    pub major: u32,
    /// The number behind the dot, 0 if none.
    pub minor: u32,
}

impl Version {
    /// What a series is that says nothing.
    pub const FIRST: Version = Version { major: 1, minor: 0 };
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.minor {
            0 => write!(f, "{}", self.major),
            minor => write!(f, "{}.{minor}", self.major),
        }
    }
}

/// What a subject says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tag {
    /// `Re:` in any language: never a patch, whatever it holds.
    pub reply: bool,
    /// `Fwd:` in any language.
    pub forward: bool,
    /// Says that it is a patch: `[PATCH …]`, `[RFC v2 1/3]`, `[net,v2,1/2]`.
    pub tagged: bool,
    /// `v2`, if said.
    pub version: Option<Version>,
    /// The `2` of `2/5`, if said.
    pub number: Option<u32>,
    /// The `5` of `2/5`, if said.
    pub total: Option<u32>,
    /// Words of the brackets that mean nothing here: a repository's or a list's name.
    pub prefixes: Vec<String>,
    /// RFC
    pub rfc: bool,
    /// RESEND or REPOST
    pub resend: bool,
    /// WIP
    pub wip: bool,
    /// The rest.
    pub title: String,
}

/// Reply prefixes that mail clients write (English, German, Scandinavian, Dutch, Polish, Italian, French/Spanish/
/// Portuguese, Turkish, Hungarian, Chinese, Japanese). Forward prefixes are not replies.
const REPLIES: [&str; 18] = [
    "re", "aw", "sv", "vs", "antw", "antwort", "odp", "rif", "r", "res", "ref", "ynt", "vá",
    "回复", "答复", "回覆", "答覆", "返信",
];
const FORWARDS: [&str; 9] = ["fwd", "fw", "wg", "tr", "rv", "vb", "enc", "转发", "轉寄"];

/// Larger numbers are slips or jokes: no marker, no version.
const MAX_TOTAL: u32 = 1_000;
const MAX_VERSION: u32 = 999;
/// Bracketed groups that are read, and the bytes of one.
const MAX_GROUPS: usize = 10;
const MAX_GROUP: usize = 200;

/// Reads a decoded subject. Any text gives a tag.
pub fn parse_tag(subject: &str) -> Tag {
    let mut tag = Tag::default();
    let mut rest = subject.trim();
    let mut groups = 0;
    loop {
        // Behind a patch's own tag stands its title, and `ref: fix the leak` is a title.
        let title_follows = tag.tagged || tag.number.is_some();
        let answer = (!title_follows).then(|| reply_word(rest, groups > 0));
        if let Some((reply, after)) = answer.flatten() {
            tag.reply |= reply;
            tag.forward |= !reply;
            rest = after.trim_start();
        } else if let Some((group, after)) = bracket(rest).filter(|_| groups < MAX_GROUPS) {
            read_group(group, &mut tag);
            groups += 1;
            rest = after.trim_start();
        } else {
            break;
        }
    }
    // `[RFC 1/3]`, `[foo v2 2/5]`: a number or RFC makes a tag of the brackets.
    tag.tagged |= tag.number.is_some() || tag.rfc;
    if tag.version.is_none() {
        tag.version = parenthesised_version(rest);
    }
    // Some write `[Patch 2/2]: title`.
    let rest = if groups > 0 {
        rest.trim_start_matches(':')
    } else {
        rest
    };
    tag.title = rest.split_whitespace().collect::<Vec<_>>().join(" ");
    tag
}

/// `Re:`, `AW:`, `Fwd:` at the start: whether it is a reply, and what follows.
/// Behind a list's `[name]` only `Re:` counts, as there `tr: fix an option` may be a title.
fn reply_word(rest: &str, behind_group: bool) -> Option<(bool, &str)> {
    let colon = rest.find([':', '：'])?;
    // `Re[2]:` and `Re (3):` count replies.
    let word = rest[..colon]
        .split(['[', '('])
        .next()
        .unwrap_or_default()
        .trim();
    if word.is_empty() || word.len() > 12 {
        return None;
    }
    let lower = word.to_lowercase();
    let after = rest[colon..].trim_start_matches([':', '：']);
    let reply = REPLIES.contains(&lower.as_str());
    if behind_group && lower != "re" && !after.trim_start().starts_with('[') {
        return None;
    }
    (reply || FORWARDS.contains(&lower.as_str())).then_some((reply, after))
}

fn bracket(rest: &str) -> Option<(&str, &str)> {
    let inner = rest.strip_prefix('[')?;
    let end = inner.find(']')?;
    (end <= MAX_GROUP).then(|| (&inner[..end], &inner[end + 1..]))
}

fn read_group(group: &str, tag: &mut Tag) {
    let words: Vec<&str> = group
        .split(|c: char| c == ',' || c == ';' || c.is_whitespace())
        .filter(|w| !w.is_empty())
        .collect();
    let mut at = 0;
    while at < words.len() {
        // Mercurial: `[PATCH 1 of 3]`.
        if let [number, of, total, ..] = words[at..]
            && of.eq_ignore_ascii_case("of")
            && let Some((number, total)) = marker(&format!("{number}/{total}"))
        {
            set_marker(tag, number, total);
            at += 3;
            continue;
        }
        read_word(words[at], tag);
        at += 1;
    }
}

/// One word of a tag: keywords, version and number may be run together (`PATCHv2`, `v2PATCH12/15`, `RFC/PATCH`).
fn read_word(word: &str, tag: &mut Tag) {
    let lower = word.to_ascii_lowercase();
    let mut said = tag.clone();
    match read_known(&lower, &mut said) {
        Some("") => *tag = said,
        // `PATCH-foo` names a repository beside the keyword; `patchwork` and `wipe` are words of their own.
        Some(left) if left.starts_with(SEPARATORS) => {
            *tag = said;
            let name = word[word.len() - left.len()..].trim_matches(SEPARATORS);
            tag.prefixes
                .extend((!name.is_empty()).then(|| name.to_owned()));
        }
        _ => match word
            .rsplit_once('-')
            .map(|(head, tail)| (head, marker(tail)))
        {
            // `foo-1/2`: a word glued to the number.
            Some((head, Some((number, total)))) if !head.is_empty() => {
                set_marker(tag, number, total);
                tag.prefixes.push(head.to_owned());
            }
            _ => tag.prefixes.push(word.to_owned()),
        },
    }
}

const SEPARATORS: [char; 5] = ['-', '_', ':', '/', '.'];

/// Eats what it knows from the front of a lower-case word; what is left, or `None` if it knew nothing.
fn read_known<'a>(word: &'a str, tag: &mut Tag) -> Option<&'a str> {
    let mut rest = word;
    let mut known = false;
    loop {
        let next = if known {
            rest.trim_start_matches(SEPARATORS)
        } else {
            rest
        };
        if let Some(after) = keyword(next, tag) {
            rest = after;
        } else if let Some((version, after)) = version(next) {
            if let Some(version) = version {
                set_version(tag, version);
            }
            rest = after;
        } else if let Some((number, total)) = marker(next) {
            set_marker(tag, number, total);
            rest = "";
        } else {
            return known.then_some(if next.is_empty() { next } else { rest });
        }
        known = true;
        if rest.is_empty() {
            return Some(rest);
        }
    }
}

fn keyword<'a>(word: &'a str, tag: &mut Tag) -> Option<&'a str> {
    let eat = |words: &[&str]| words.iter().find_map(|w| word.strip_prefix(w));
    if let Some(after) = eat(&["patches", "patch"]) {
        tag.tagged = true;
        Some(after)
    } else if let Some(after) = eat(&["rfc"]) {
        tag.rfc = true;
        Some(after)
    } else if let Some(after) = eat(&["resent", "resend", "repost"]) {
        tag.resend = true;
        Some(after)
    } else if let Some(after) = eat(&["wip"]) {
        tag.wip = true;
        Some(after)
    } else {
        None
    }
}

/// The first version counts; but beside `v2`, `v5.10` is the name of a branch.
fn set_version(tag: &mut Tag, version: Version) {
    match tag.version {
        Some(old) if old.minor > 0 && version.minor == 0 => {
            tag.prefixes.push(format!("v{old}"));
            tag.version = Some(version);
        }
        Some(_) if version.minor > 0 => tag.prefixes.push(format!("v{version}")),
        Some(_) => {}
        None => tag.version = Some(version),
    }
}

fn set_marker(tag: &mut Tag, number: u32, total: u32) {
    if tag.number.is_none() {
        (tag.number, tag.total) = (Some(number), Some(total));
    }
}

/// `2/5` as a whole word; totals of 0 and above the bound are none.
fn marker(word: &str) -> Option<(u32, u32)> {
    let (number, total) = word.split_once('/')?;
    let digits = |t: &str| !t.is_empty() && t.len() <= 6 && t.bytes().all(|b| b.is_ascii_digit());
    if !digits(number) || !digits(total) {
        return None;
    }
    let (number, total) = (number.parse().ok()?, total.parse().ok()?);
    ((1..=MAX_TOTAL).contains(&total) && number <= MAX_TOTAL).then_some((number, total))
}

/// `v2`, `v5.1` at the start of a word; `None` inside means it was a version that is out of bounds.
fn version(word: &str) -> Option<(Option<Version>, &str)> {
    let (major, mut after) = digits(word.strip_prefix('v')?)?;
    let mut minor = Some(0);
    if let Some((digits, rest)) = after.strip_prefix('.').and_then(digits) {
        (minor, after) = (digits.parse().ok(), rest);
    }
    // `v6.1.12` and `v5.10.y` are releases and branches.
    let bare = after.is_empty() || !after.starts_with('.');
    let major = major.parse().ok().filter(|m| (1..=MAX_VERSION).contains(m));
    match (major, minor.filter(|m| *m <= MAX_VERSION)) {
        _ if !bare => None,
        (Some(major), Some(minor)) => Some((Some(Version { major, minor }), after)),
        _ => Some((None, after)),
    }
}

/// Splits leading digits off; `None` if there are none.
fn digits(text: &str) -> Option<(&str, &str)> {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

/// `(v2)` anywhere in the title.
fn parenthesised_version(title: &str) -> Option<Version> {
    let lower = title.to_ascii_lowercase();
    lower.split('(').skip(1).find_map(|piece| {
        let (version, after) = version(piece)?;
        version.filter(|_| after.starts_with(')'))
    })
}

/// A title as versions are compared by: lower case, blanks folded, no dots at the end, no `(v2)`.
pub fn normalise_title(title: &str) -> String {
    let lower = title.to_lowercase();
    let words = lower
        .split_whitespace()
        .filter(|w| !(w.starts_with("(v") && w.ends_with(')')));
    words
        .collect::<Vec<_>>()
        .join(" ")
        .trim_end_matches(['.', ' '])
        .to_owned()
}
