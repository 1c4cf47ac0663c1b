//! Text → [`Query`]: tokens, then precedence (NOT, AND, OR), then dates and ids are taken out of the top.

use super::date::parse_range;
use super::mark::is_id;
use super::{Field, Query, QueryError, Range, Words};
use crate::types::{MessageId, Timestamp};

/// Longest query, in bytes: b4 asks for some hundred patch-ids at once.
const MAX_LENGTH: usize = 8_192;
/// Most parts in all, ids of patches and blobs among them.
const MAX_TERMS: usize = 200;
/// Most words and phrases: each of them may stand in every mail.
const MAX_WORDS: usize = 40;
/// Most of them that are beginnings, each of which stands for all words that begin so, and their shortest length in bytes.
const MAX_BEGINNINGS: usize = 5;
const MIN_BEGINNING: usize = 3;
/// Deepest nesting of parentheses.
const MAX_DEPTH: u32 = 12;

/// Reads a query. An empty one is an error: what was meant is the list itself.
pub fn parse(text: &str, now: Timestamp) -> Result<Query, QueryError> {
    if text.len() > MAX_LENGTH {
        return Err(QueryError("the search is too long".to_owned()));
    }
    let mut parser = Parser {
        rest: text,
        terms: 0,
        words: 0,
        beginnings: 0,
        unknown: Vec::new(),
        now,
    };
    let node = parser.or(0, Field::Any)?;
    if !parser.rest.trim_start().is_empty() {
        return Err(QueryError(
            "a closing parenthesis has no opening one".to_owned(),
        ));
    }
    let mut query = Query::default();
    let node =
        node.ok_or_else(|| QueryError("a search needs a word: letters or digits".to_owned()))?;
    query.words = settle(node, &mut query)?;
    if query == Query::default() {
        return Err(QueryError(
            "a search needs a word: letters or digits".to_owned(),
        ));
    }
    query.unknown = parser.unknown;
    Ok(query)
}

enum Node {
    Text {
        field: Field,
        text: String,
        prefix: bool,
    },
    Sent(Range),
    Arrived(Range),
    Id(MessageId),
    And(Vec<Node>),
    Or(Vec<Node>),
    Not(Box<Node>),
}

struct Parser<'a> {
    rest: &'a str,
    terms: usize,
    words: usize,
    beginnings: usize,
    unknown: Vec<String>,
    now: Timestamp,
}

impl<'a> Parser<'a> {
    fn or(&mut self, depth: u32, field: Field) -> Result<Option<Node>, QueryError> {
        if depth > MAX_DEPTH {
            return Err(QueryError("the search has too many parentheses".to_owned()));
        }
        let mut all: Vec<Node> = self.and(depth, field)?.into_iter().collect();
        while self.word("OR") {
            all.extend(self.and(depth, field)?);
        }
        Ok(match all.len() {
            0 => None,
            1 => all.pop(),
            _ => Some(Node::Or(all)),
        })
    }

    fn and(&mut self, depth: u32, field: Field) -> Result<Option<Node>, QueryError> {
        let mut all = Vec::new();
        loop {
            while self.word("AND") {}
            let negated = self.word("NOT") || self.sign('-');
            self.sign('+');
            let start = self.rest.trim_start();
            if start.is_empty() || start.starts_with(')') || starts_with_word(start, "OR") {
                break;
            }
            let Some(node) = self.primary(depth, field)? else {
                continue;
            };
            all.push(if negated {
                Node::Not(Box::new(node))
            } else {
                node
            });
        }
        Ok(match all.len() {
            0 => None,
            1 => all.pop(),
            _ => Some(Node::And(all)),
        })
    }

    fn primary(&mut self, depth: u32, field: Field) -> Result<Option<Node>, QueryError> {
        self.terms += 1;
        if self.terms > MAX_TERMS {
            return Err(QueryError(format!(
                "a search takes up to {MAX_TERMS} words"
            )));
        }
        self.rest = self.rest.trim_start();
        if let Some(rest) = self.rest.strip_prefix('(') {
            self.rest = rest;
            let node = self.or(depth + 1, field)?;
            self.rest = self.rest.trim_start();
            self.rest = self
                .rest
                .strip_prefix(')')
                .ok_or_else(|| QueryError("a parenthesis is not closed".to_owned()))?;
            return Ok(node);
        }
        let named = self.rest.split_once(':').filter(|(name, _)| {
            (1..=10).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_lowercase())
        });
        let Some((name, value)) = named else {
            return self.text(field);
        };
        let place = match name {
            "s" => Field::Subject,
            "f" => Field::Sender,
            "b" | "nq" | "q" | "dfa" | "dfb" | "dfhh" | "dfctx" => Field::Body,
            "bs" => Field::SubjectBody,
            "dfn" | "n" => Field::Files,
            "t" => Field::To,
            "c" => Field::Cc,
            "tc" => Field::Recipients,
            "a" | "tcf" => Field::People,
            "l" | "lid" => Field::List,
            "dfpre" | "dfpost" | "dfblob" | "patchid" => {
                self.rest = value;
                return object(name, self.value()).map(Some);
            }
            "d" | "dt" | "rt" => {
                self.rest = value;
                let range = parse_range(self.value(), self.now)?;
                return Ok(Some(if name == "rt" {
                    Node::Arrived(range)
                } else {
                    Node::Sent(range)
                }));
            }
            "m" | "mid" => {
                self.rest = value;
                return Ok(MessageId::parse(self.value()).map(Node::Id));
            }
            "z" | "dfid" | "references" | "thread" | "forpatch" => {
                return Err(QueryError(format!(
                    "{name}: cannot be searched for here yet"
                )));
            }
            // A word with a colon in it, such as `selinux:` in a subject.
            _ => {
                self.note_unknown(name, value);
                return self.text(field);
            }
        };
        self.rest = value;
        if value.starts_with('(') {
            return self.primary(depth, place);
        }
        self.text(place)
    }

    /// Notes a word that may be meant as a prefix: something stands right behind its colon, and it is no URL.
    fn note_unknown(&mut self, name: &str, value: &str) {
        let meant = value.starts_with(|c: char| !c.is_whitespace() && c != '/' && c != ')');
        if meant && !self.unknown.iter().any(|n| n == name) {
            self.unknown.push(name.to_owned());
        }
    }

    /// A word or phrase; `None` if there is no letter or digit in it.
    fn text(&mut self, field: Field) -> Result<Option<Node>, QueryError> {
        let text = self.value();
        let prefix = text.ends_with('*');
        let text = text.to_owned();
        if !text.contains(char::is_alphanumeric) {
            return Ok(None);
        }
        self.words += 1;
        self.beginnings += usize::from(prefix);
        if self.words > MAX_WORDS || self.beginnings > MAX_BEGINNINGS {
            return Err(QueryError(format!(
                "a search takes up to {MAX_WORDS} words, {MAX_BEGINNINGS} of them with a *"
            )));
        }
        let mut pieces = text.rsplit(|c: char| !c.is_alphanumeric());
        let begun = pieces.find(|piece| !piece.is_empty());
        if prefix && begun.is_some_and(|word| word.len() < MIN_BEGINNING) {
            return Err(QueryError(format!(
                "{text} stands for too many words: a beginning has {MIN_BEGINNING} letters or more"
            )));
        }
        Ok(Some(Node::Text {
            field,
            text,
            prefix,
        }))
    }

    /// Takes what stands in quotes, or up to a blank or parenthesis.
    fn value(&mut self) -> &'a str {
        let (value, rest) = match self.rest.strip_prefix('"') {
            Some(inner) => inner.split_once('"').unwrap_or((inner, "")),
            None => {
                let end = self
                    .rest
                    .find(|c: char| c.is_whitespace() || matches!(c, '(' | ')'));
                self.rest.split_at(end.unwrap_or(self.rest.len()))
            }
        };
        self.rest = rest;
        value
    }

    fn word(&mut self, word: &str) -> bool {
        let start = self.rest.trim_start();
        let found = starts_with_word(start, word);
        if found {
            self.rest = &start[word.len()..];
        }
        found
    }

    fn sign(&mut self, sign: char) -> bool {
        let start = self.rest.trim_start();
        // A lone sign or a dash within a word is none.
        let found = start
            .strip_prefix(sign)
            .filter(|r| r.starts_with(|c: char| c.is_alphanumeric() || matches!(c, '"' | '(')));
        if let Some(rest) = found {
            self.rest = rest;
        }
        found.is_some()
    }
}

/// A patch, or a blob, by its id or the beginning of one: mails name blobs by beginnings of different lengths, so that a longer id than theirs
/// finds them too.
fn object(name: &str, id: &str) -> Result<Node, QueryError> {
    let field = match name {
        "dfpre" => Field::Before,
        "dfpost" => Field::After,
        "patchid" => Field::Patch,
        _ => Field::Blob,
    };
    let id = id.trim_end_matches('*').to_ascii_lowercase();
    if !is_id(&id) {
        return Err(QueryError(format!(
            "{name}: takes an id in hexadecimal, 7 digits of it or more"
        )));
    }
    let text = |length: usize| Node::Text {
        field,
        text: id[..length].to_owned(),
        prefix: length == id.len(),
    };
    // Patch ids stand in no mail: they are indexed whole.
    if field == Field::Patch {
        return Ok(text(id.len()));
    }
    Ok(Node::Or((7..=id.len()).map(text).collect()))
}

fn starts_with_word(text: &str, word: &str) -> bool {
    text.strip_prefix(word).is_some_and(|r| {
        r.is_empty() || r.starts_with(|c: char| c.is_whitespace() || matches!(c, '(' | ')' | '"'))
    })
}

/// Takes dates and ids out of the top, where they narrow the whole search; what is left are words.
fn settle(node: Node, query: &mut Query) -> Result<Option<Words>, QueryError> {
    match node {
        Node::Sent(range) => query.sent.narrow(range),
        Node::Arrived(range) => query.arrived.narrow(range),
        Node::Id(id) => query.id = Some(id),
        Node::And(all) => {
            let (mut yes, mut no) = (Vec::new(), Vec::new());
            // Parentheses around a part of a conjunction change nothing; the parser limits their depth.
            for part in all {
                match part {
                    Node::Not(node) => no.push(words(*node)?),
                    other => yes.extend(settle(other, query)?),
                }
            }
            return match (yes.len(), no.is_empty()) {
                (0, true) => Ok(None),
                (0, false) => Err(only_not()),
                (_, true) => Ok(Some(Words::And(yes))),
                (_, false) => Ok(Some(Words::Not(
                    Box::new(Words::And(yes)),
                    Box::new(Words::Or(no)),
                ))),
            };
        }
        other => return words(other).map(Some),
    }
    Ok(None)
}

fn only_not() -> QueryError {
    QueryError("a search needs a word that is wanted, not only unwanted ones".to_owned())
}

fn words(node: Node) -> Result<Words, QueryError> {
    match node {
        Node::Text {
            field,
            text,
            prefix,
        } => Ok(Words::Text {
            field,
            text,
            prefix,
        }),
        Node::Or(all) => Ok(Words::Or(
            all.into_iter().map(words).collect::<Result<_, _>>()?,
        )),
        Node::Not(_) => Err(only_not()),
        Node::And(all) => {
            let (mut yes, mut no) = (Vec::new(), Vec::new());
            for part in all {
                match part {
                    Node::Not(node) => no.push(words(*node)?),
                    other => yes.push(words(other)?),
                }
            }
            match (yes.is_empty(), no.is_empty()) {
                (true, _) => Err(only_not()),
                (false, true) => Ok(Words::And(yes)),
                (false, false) => Ok(Words::Not(
                    Box::new(Words::And(yes)),
                    Box::new(Words::Or(no)),
                )),
            }
        }
        Node::Sent(_) | Node::Arrived(_) | Node::Id(_) => Err(QueryError(
            "dates and m: narrow the whole search: write them outside of OR and NOT".to_owned(),
        )),
    }
}
