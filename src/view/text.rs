//! A mail's text as blocks: prose, quotes that fold, diffs, signature. Everything is data; nothing is markup.
//!
//! Pure, one pass over the lines.

use std::collections::BTreeMap;

use super::diff::{self, FileDiff};
use super::remark::Remark;
use super::url;
use crate::types::MessageId;

/// A run of text, maybe a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// As written.
    pub text: String,
    /// `http`, `https`, or a page of ours.
    pub href: Option<String>,
}

/// Lines quoted equally deep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quoted {
    /// 1 to 4: deeper ones look alike.
    pub level: u8,
    /// The lines, `>` included.
    pub spans: Vec<Span>,
}

/// Lines that belong together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Block {
    /// Text of the author.
    Prose(Vec<Span>),
    /// Quoted text.
    Quote {
        /// How many lines are folded away; 0: none.
        hidden: usize,
        /// What is folded away.
        folded: Vec<Quoted>,
        /// What is shown: the end, which the answer below is about.
        shown: Vec<Quoted>,
    },
    /// Changes to files.
    Diff(Vec<FileDiff>),
    /// Behind `-- `.
    Signature(Vec<Span>),
    /// Remarks on the line above.
    Remarks(Vec<Remark>),
}

impl Block {
    /// The remarks in it, from top to bottom.
    pub fn remarks(&self) -> Vec<&Remark> {
        match self {
            Block::Remarks(all) => all.iter().collect(),
            Block::Diff(files) => files.iter().flat_map(FileDiff::all_remarks).collect(),
            Block::Prose(_) | Block::Quote { .. } | Block::Signature(_) => Vec::new(),
        }
    }
}

/// More quoted lines than this fold …
const FOLD: usize = 6;
/// … but for these last ones.
const TAIL: usize = 3;
/// More lines than this are not laid out; the mail can be had raw.
pub const MAX_LINES: usize = 50_000;

/// Cuts a text into blocks.
pub fn blocks(text: &str) -> Vec<Block> {
    blocks_with(text, BTreeMap::new())
}

/// Cuts a text into blocks, with remarks below the lines (from 0) that they are about.
pub fn blocks_with(text: &str, mut remarks: BTreeMap<usize, Vec<Remark>>) -> Vec<Block> {
    let lines: Vec<&str> = text.lines().take(MAX_LINES).collect();
    let mut out: Vec<Block> = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        let end = if diff::starts(&lines[at..]) {
            let (mut file, used) = diff::parse_file(&lines[at..]);
            file.take_remarks(at, at + used, &mut remarks);
            match out.last_mut() {
                Some(Block::Diff(files)) => files.push(file),
                _ => out.push(Block::Diff(vec![file])),
            }
            at + used
        } else {
            let (block, end) = plain_block(&lines, at, &remarks);
            out.push(block);
            end
        };
        let here: Vec<usize> = remarks.range(..end).map(|(line, _)| *line).collect();
        let here = here.iter().filter_map(|line| remarks.remove(line));
        let here: Vec<Remark> = here.flatten().collect();
        if !here.is_empty() {
            out.push(Block::Remarks(here));
        }
        at = end;
    }
    let rest: Vec<Remark> = remarks.into_values().flatten().collect();
    if !rest.is_empty() {
        out.push(Block::Remarks(rest));
    }
    out
}

/// The block that begins at a line outside of diffs, and the line behind it.
fn plain_block(
    lines: &[&str],
    at: usize,
    remarks: &BTreeMap<usize, Vec<Remark>>,
) -> (Block, usize) {
    let rest = &lines[at..];
    if rest[0] == "-- " || (rest[0] == "--" && rest.len() < 12) {
        // A patch below the line is no signature.
        let end = (1..rest.len())
            .find(|n| diff::starts(&rest[*n..]))
            .unwrap_or(rest.len());
        return (Block::Signature(joined(&rest[..end])), at + end);
    }
    let quoted = rest[0].starts_with('>');
    let stops = |n: &usize| {
        let line = lines[*n];
        line.starts_with('>') != quoted
            || line == "-- "
            || remarks.contains_key(&(n - 1))
            || diff::starts(&lines[*n..])
    };
    let end = (at + 1..lines.len()).find(stops).unwrap_or(lines.len());
    let run = &lines[at..end];
    let block = match quoted {
        true => quote(run),
        false => Block::Prose(joined(run)),
    };
    (block, end)
}

/// A text of several lines, web addresses and Message-IDs as links.
pub fn link_text(text: &str) -> Vec<Span> {
    joined(&text.lines().collect::<Vec<_>>())
}

fn quote(lines: &[&str]) -> Block {
    let hidden = if lines.len() > FOLD {
        lines.len() - TAIL
    } else {
        0
    };
    Block::Quote {
        hidden,
        folded: levels(&lines[..hidden]),
        shown: levels(&lines[hidden..]),
    }
}

fn levels(lines: &[&str]) -> Vec<Quoted> {
    let mut out = Vec::new();
    for run in lines.chunk_by(|a, b| level(a) == level(b)) {
        out.push(Quoted {
            level: level(run[0]),
            spans: joined(run),
        });
    }
    out
}

fn level(line: &str) -> u8 {
    let marks = line.chars().take_while(|c| matches!(c, '>' | ' '));
    let count = marks.filter(|c| *c == '>').take(4).count();
    u8::try_from(count).unwrap_or(4)
}

/// The lines with their ends, web addresses and Message-IDs as links.
fn joined(lines: &[&str]) -> Vec<Span> {
    let mut out: Vec<Span> = Vec::new();
    for line in lines {
        spans(&visible(line), &mut out);
        push_text("\n", &mut out);
    }
    out
}

fn push_text(text: &str, out: &mut Vec<Span>) {
    match out.last_mut() {
        Some(Span {
            text: last,
            href: None,
        }) => last.push_str(text),
        _ => out.push(Span {
            text: text.to_owned(),
            href: None,
        }),
    }
}

fn push_link(text: &str, href: String, out: &mut Vec<Span>) {
    out.push(Span {
        text: text.to_owned(),
        href: Some(href),
    });
}

/// Header-like lines in which `<…>` is a Message-ID rather than an address.
const ID_LINES: [&str; 8] = [
    "message-id:",
    "in-reply-to:",
    "references:",
    "supersedes:",
    "based-on:",
    "depends-on:",
    "replaces:",
    "original-message-id:",
];

fn spans(line: &str, out: &mut Vec<Span>) {
    let bare = line.trim_start_matches(['>', ' ']);
    let names_ids = bare
        .find(':')
        .is_some_and(|at| ID_LINES.contains(&bare[..=at].to_ascii_lowercase().as_str()));
    let mut rest = line;
    while let Some(at) = rest.find(|c| c == 'h' || (c == '<' && names_ids)) {
        let (before, candidate) = rest.split_at(at);
        push_text(before, out);
        if let Some(web) = web_address(candidate) {
            push_link(web, web.to_owned(), out);
            rest = &candidate[web.len()..];
        } else if let Some(id) = candidate
            .strip_prefix('<')
            .and_then(|c| c.split_once('>'))
            .map(|c| c.0)
            && let Some(name) = MessageId::parse(id)
        {
            push_text("<", out);
            push_link(id, format!("/r/{}/", url::message_id(&name)), out);
            rest = &candidate[1 + id.len()..];
        } else {
            push_text(&candidate[..1], out);
            rest = &candidate[1..];
        }
    }
    push_text(rest, out);
}

/// The `http` or `https` address that the text begins with, without the punctuation of the sentence around it.
fn web_address(text: &str) -> Option<&str> {
    let host = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"))?;
    let end = text
        .find(|c: char| c.is_whitespace() || matches!(c, '<' | '>' | '"' | '`' | '\u{fffd}'))
        .unwrap_or(text.len());
    let mut found = text[..end].trim_end_matches(['.', ',', ';', ':', '!', '?', '\'', '*']);
    for (open, close) in [('(', ')'), ('[', ']')] {
        // A closing bracket belongs to the address only if it was opened in it.
        if found.ends_with(close) && found.matches(open).count() < found.matches(close).count() {
            found = found[..found.len() - 1].trim_end_matches(['.', ',', ';', ':', '!', '?']);
        }
    }
    let named = host
        .chars()
        .next()
        .is_some_and(|c| c.is_alphanumeric() || c == '[');
    (named && found.len() > "https://".len()).then_some(found)
}

/// The text with control characters shown: nobody may turn a line around or hide a part of it.
pub fn visible(line: &str) -> String {
    let hidden = |c: char| {
        matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}')
            || (c.is_control() && c != '\t')
    };
    if !line.contains(hidden) {
        return line.to_owned();
    }
    line.chars()
        .map(|c| if hidden(c) { '\u{fffd}' } else { c })
        .collect()
}

/// A subject as tag and title: `Re: [PATCH v3 1/5]` quiet, the rest loud. Either may be empty.
pub fn split_subject(subject: &str) -> (String, String) {
    let subject = visible(subject);
    let re = |s: &str| s.get(..3).is_some_and(|re| re.eq_ignore_ascii_case("re:"));
    let mut end = 0;
    while re(&subject[end..]) {
        end = subject.len() - subject[end + 3..].trim_start().len();
    }
    while let Some(rest) = subject[end..].strip_prefix('[') {
        let Some(close) = rest.find(']').filter(|c| *c <= 60) else {
            break;
        };
        let after = &rest[close + 1..];
        end = subject.len() - after.trim_start().len();
    }
    let title = subject[end..].to_owned();
    if title.is_empty() {
        return (String::new(), subject);
    }
    (subject[..end].trim_end().to_owned(), title)
}

/// A piece of text, marked where it is one of the words that were searched for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// As written, on one line.
    pub text: String,
    /// It is one of the words.
    pub marked: bool,
}

/// Text before the first word in a snippet, in characters.
const LEAD: usize = 60;
/// Length of a snippet, in characters.
const LENGTH: usize = 200;
/// Lines of a mail that a snippet is looked for in.
const LOOKED_AT: usize = 4_000;

/// What shows why a mail was found: text around the first of the words (given in lower case), rather the author's own than quoted
/// text, else its beginning.
pub fn snippet(text: &str, words: &[String]) -> Vec<Piece> {
    let lines = || {
        let lines = text.lines().map(str::trim).take(LOOKED_AT);
        lines.filter(|l| !l.is_empty())
    };
    let holds = |line: &&str| {
        let line = line.to_lowercase();
        words.iter().any(|w| line.contains(w.as_str()))
    };
    let own = |line: &&str| !line.starts_with('>');
    let found = lines().filter(own).position(|l| holds(&l));
    let (quoted, at) = match found {
        Some(at) => (false, at),
        None => match lines().position(|l| holds(&l)) {
            Some(at) => (true, at),
            None => (false, 0),
        },
    };
    let chosen = lines().filter(|l| quoted || own(l)).skip(at).take(4);
    let joined = visible(&chosen.collect::<Vec<_>>().join(" "));
    cut(&joined, words)
}

/// At most [`LENGTH`] characters around the first word, cut into pieces.
fn cut(line: &str, words: &[String]) -> Vec<Piece> {
    let chars: Vec<char> = line.chars().take(4_000).collect();
    let first = next_word(&chars, 0, words).map_or(0, |(at, _)| at);
    let mut at = first.saturating_sub(LEAD);
    // Not in the middle of a word, if a blank is near.
    if at > 0
        && let Some(blank) = chars[at..first].iter().position(|c| *c == ' ')
    {
        at += blank + 1;
    }
    let end = chars.len().min(at + LENGTH);
    let mut out = Vec::new();
    let mut push = |text: String, marked| {
        if !text.is_empty() {
            out.push(Piece { text, marked });
        }
    };
    let mut plain = if at > 0 {
        "…".to_owned()
    } else {
        String::new()
    };
    while at < end {
        let (start, length) = next_word(&chars[..end], at, words).unwrap_or((end, 0));
        plain.extend(&chars[at..start]);
        at = start + length;
        if length > 0 {
            push(std::mem::take(&mut plain), false);
            push(chars[start..at].iter().collect(), true);
        }
    }
    if end < chars.len() || line.chars().nth(chars.len()).is_some() {
        plain.push('…');
    }
    push(plain, false);
    out
}

/// Where the next of the words begins, at or behind `from`, and how long it is.
fn next_word(chars: &[char], from: usize, words: &[String]) -> Option<(usize, usize)> {
    // Letters whose lower case is longer than they are do not match: nothing worse happens.
    let lower = |c: &char| c.to_lowercase().next().unwrap_or(*c);
    let fits = |at: usize, word: &str| {
        let length = word.chars().count();
        let here = chars.get(at..at + length)?;
        (length > 0 && here.iter().map(lower).eq(word.chars())).then_some(length)
    };
    (from..chars.len()).find_map(|at| {
        let longest = words.iter().filter_map(|w| fits(at, w)).max();
        longest.map(|length| (at, length))
    })
}

/// Two letters and one of eight colours that tell voices apart; the colour depends on the address alone.
pub fn tile(name: &str, address: &str) -> (String, u8) {
    let source = if name.trim().is_empty() {
        address
    } else {
        name
    };
    let letters: String = source
        .split(|c: char| !c.is_alphanumeric())
        .filter_map(|w| w.chars().next())
        .take(2)
        .flat_map(char::to_uppercase)
        .take(2)
        .collect();
    let sum = address.to_lowercase().bytes().fold(17u32, |sum, b| {
        sum.wrapping_mul(31).wrapping_add(u32::from(b))
    });
    let letters = if letters.is_empty() {
        "?".to_owned()
    } else {
        letters
    };
    (letters, (sum % 8) as u8)
}

#[cfg(test)]
mod tests;
