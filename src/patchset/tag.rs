//! Subjects: reply prefixes, bracketed tags, version, number and title.

use serde::{Deserialize, Serialize};

/// A version such as `v3` or `v5.1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Version {
    /// The number before the dot, 1 to 999.
    pub major: u32,
    /// The number behind the dot, 0 if none.
    pub minor: u32,
}

/// What a subject says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tag {
    /// `Re:` in any language: never a patch, whatever it holds.
    pub reply: bool,
    /// `Fwd:` in any language.
    pub forward: bool,
    /// Says that it is a patch: `[PATCH …]`, `[RFC v2 1/3]`, `PATCH v9: …`.
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
/// Portuguese, Turkish, Finnish, Hungarian, Chinese, Japanese-style with count). Forward prefixes are not replies.
const REPLIES: [&str; 18] = [
    "re", "aw", "sv", "vs", "antw", "antwort", "odp", "rif", "r", "res", "ref", "ynt", "vá",
    "回复", "答复", "回覆", "答覆", "返信",
];
const FORWARDS: [&str; 9] = ["fwd", "fw", "wg", "tr", "rv", "vb", "enc", "转发", "轉寄"];

/// Larger numbers are slips or jokes: no marker, no version.
const MAX_TOTAL: u32 = 1_000;
const MAX_VERSION: u32 = 999;

/// Reads a decoded subject. Any text gives a tag.
pub fn parse_tag(subject: &str) -> Tag {
    let mut tag = Tag::default();
    let mut rest = subject.trim();
    let mut groups = 0;
    loop {
        if let Some(after) = strip_prefix_word(rest, &mut tag) {
            rest = after.trim_start();
        } else if let Some((group, after)) = bracket(rest).filter(|_| groups < 10) {
            read_group(group, &mut tag);
            groups += 1;
            rest = after.trim_start();
        } else {
            break;
        }
    }
    if !tag.tagged {
        rest = unbracketed(rest, &mut tag);
    }
    // `[RFC 1/3]`, `[foo v2 2/5]`: a marker or a version makes a tag of the brackets.
    tag.tagged |= tag.number.is_some() || (groups > 0 && tag.rfc);
    if tag.version.is_none() {
        tag.version = parenthesised_version(rest);
    }
    tag.title = rest.split_whitespace().collect::<Vec<_>>().join(" ");
    tag
}

fn strip_prefix_word<'a>(rest: &'a str, tag: &mut Tag) -> Option<&'a str> {
    let colon = rest.find([':', '：'])?;
    let word = &rest[..colon];
    // `Re[2]:` and `Re (3):` count replies.
    let word = word.split(['[', '(']).next().unwrap_or(word).trim();
    if word.len() > 12 {
        return None;
    }
    let lower = word.to_lowercase();
    let after = rest[colon..].trim_start_matches([':', '：']);
    if REPLIES.contains(&lower.as_str()) {
        tag.reply = true;
        return Some(after);
    }
    if FORWARDS.contains(&lower.as_str()) {
        tag.forward = true;
        return Some(after);
    }
    None
}

fn bracket(rest: &str) -> Option<(&str, &str)> {
    let inner = rest.strip_prefix('[')?;
    let end = inner.find(']')?;
    (end <= 200).then(|| (&inner[..end], &inner[end + 1..]))
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

fn read_word(word: &str, tag: &mut Tag) {
    let lower = word.to_lowercase();
    let mut rest = lower.as_str();
    let mut known = false;
    // Words run together: `PATCHv2`, `RFCPATCH`, `v2PATCH12/15`, `PATCH-v3`.
    loop {
        let trimmed = if known {
            rest.trim_start_matches(['-', '_', ':'])
        } else {
            rest
        };
        if let Some(after) = trimmed
            .strip_prefix("patches")
            .or_else(|| trimmed.strip_prefix("patch"))
        {
            tag.tagged = true;
            rest = after;
        } else if let Some(after) = trimmed.strip_prefix("rfc") {
            tag.rfc = true;
            rest = after;
        } else if let Some(after) = trimmed
            .strip_prefix("resend")
            .or_else(|| trimmed.strip_prefix("repost"))
        {
            tag.resend = true;
            rest = after;
        } else if let Some(after) = trimmed.strip_prefix("wip") {
            tag.wip = true;
            rest = after;
        } else if let Some((version, after)) = version(trimmed) {
            tag.version = tag.version.or(version);
            rest = after;
        } else if let Some((number, total)) = marker(trimmed) {
            set_marker(tag, number, total);
            rest = "";
        } else {
            rest = trimmed;
            break;
        }
        known = true;
        if rest.is_empty() {
            break;
        }
    }
    if rest.is_empty() {
        return;
    }
    // `foo-1/2`: a word glued to the marker.
    if let Some((head, tail)) = rest.rsplit_once('-')
        && let Some((number, total)) = marker(tail)
        && !head.is_empty()
    {
        set_marker(tag, number, total);
        tag.prefixes
            .push(word[..word.len() - tail.len() - 1].to_owned());
        return;
    }
    if !known || rest.chars().any(char::is_alphanumeric) {
        tag.prefixes.push(word.to_owned());
    }
}

fn set_marker(tag: &mut Tag, number: u32, total: u32) {
    if tag.number.is_none() {
        (tag.number, tag.total) = (Some(number), Some(total));
    }
}

/// `2/5` as a whole word; 0/0 and totals of 0 are none.
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
    let rest = word.strip_prefix('v')?;
    let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    if digits == 0 {
        return None;
    }
    let (major, mut after) = rest.split_at(digits);
    let mut minor = 0;
    if let Some(tail) = after.strip_prefix('.') {
        let digits = tail.len() - tail.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        if digits > 0 {
            // More digits than a number has are out of bounds like any other large number.
            minor = tail[..digits].parse().unwrap_or(u32::MAX);
            after = &tail[digits..];
        }
    }
    // `v2ray` is a word, `v2PATCH` and `v2-1/3` are not.
    let ends = after.is_empty()
        || after.starts_with(['-', ':', '_', 'p', 'r'])
        || after.starts_with(|c: char| c.is_ascii_digit());
    if !ends {
        return None;
    }
    let major = major.parse().ok().filter(|m| (1..=MAX_VERSION).contains(m));
    let version = major
        .filter(|_| minor <= MAX_VERSION)
        .map(|major| Version { major, minor });
    Some((version, after))
}

/// `PATCH v9: title` and `PATCH 2/3: title`, typed by hand without brackets.
fn unbracketed<'a>(rest: &'a str, tag: &mut Tag) -> &'a str {
    let Some((head, title)) = rest.split_once(':') else {
        return rest;
    };
    let mut words = head.split_whitespace();
    if !words.next().is_some_and(|w| w == "PATCH" || w == "Patch") || head.len() > 30 {
        return rest;
    }
    let mut probe = Tag::default();
    read_group(head, &mut probe);
    if !probe.prefixes.is_empty() {
        return rest;
    }
    tag.tagged = true;
    (tag.version, tag.number, tag.total) =
        (tag.version.or(probe.version), probe.number, probe.total);
    title.trim_start()
}

/// `(v2)` anywhere in the title.
fn parenthesised_version(title: &str) -> Option<Version> {
    let lower = title.to_lowercase();
    lower.match_indices("(v").find_map(|(at, _)| {
        let (version, after) =
            version(&lower[at + 1..lower.len().min(lower[at..].find(')')? + at)])?;
        after.is_empty().then_some(version)?
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
