//! The search language → a typed query. The words are those of public-inbox, as far as what is indexed answers them.
//!
//! Pure; the present moment is an argument. `a b` both, `a OR b`, `NOT a` or `-a`, `( )`, `"a phrase"`, `begin*`,
//! `prefix:word`, `d:20260101..20260131`. Depth and length are limited: every query is a stranger's.

mod date;
mod mark;
mod parse;
#[cfg(test)]
mod tests;

pub use mark::{Mark, marks};
pub use parse::parse;

use crate::types::{MessageId, Timestamp};

/// Where a word must stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// Anywhere.
    Any,
    /// Subject.
    Subject,
    /// Author's name and address.
    Sender,
    /// Text, quoted text and diffs.
    Body,
    /// Subject or text.
    SubjectBody,
    /// Names of files that a patch changes.
    Files,
    /// To.
    To,
    /// Cc.
    Cc,
    /// To or Cc.
    Recipients,
    /// To, Cc or author.
    People,
    /// List-Id.
    List,
    /// A blob before a change.
    Before,
    /// A blob after a change.
    After,
    /// A blob before or after a change.
    Blob,
    /// A change by its patch id.
    Patch,
}

impl Field {
    /// The marks of its words; empty for what is indexed as text.
    pub fn marks(self) -> &'static [Mark] {
        match self {
            Field::To => &[Mark::To],
            Field::Cc => &[Mark::Cc],
            Field::Recipients | Field::People => &[Mark::To, Mark::Cc],
            Field::List => &[Mark::List],
            Field::Before => &[Mark::Before],
            Field::After => &[Mark::After],
            Field::Blob => &[Mark::Before, Mark::After],
            Field::Patch => &[Mark::Patch],
            _ => &[],
        }
    }
}

/// Which mails hold the words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Words {
    /// These words behind each other; with `prefix` the last one is a beginning.
    Text {
        /// Where.
        field: Field,
        /// As written; cut into tokens like what is indexed.
        text: String,
        /// `begin*`
        prefix: bool,
    },
    /// All of them.
    And(Vec<Words>),
    /// One of them.
    Or(Vec<Words>),
    /// The first, but not the second.
    Not(Box<Words>, Box<Words>),
}

/// From (included) and until (excluded); `None` is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Range {
    /// The first moment.
    pub from: Option<Timestamp>,
    /// The first moment behind it.
    pub until: Option<Timestamp>,
}

impl Range {
    fn narrow(&mut self, other: Range) {
        self.from = self.from.max(other.from);
        self.until = match (self.until, other.until) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
    }
}

/// What is searched for; all parts must fit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Query {
    /// Words, if any were given.
    pub words: Option<Words>,
    /// `d:` and `dt:`, the Date field.
    pub sent: Range,
    /// `rt:`, arrival.
    pub arrived: Range,
    /// `m:`, the mail of that name.
    pub id: Option<MessageId>,
    /// What looks like prefixes and is none: words like any.
    pub unknown: Vec<String>,
}

impl Query {
    /// The words to show in what was found, in lower case; not those that must be absent.
    pub fn shown_words(&self) -> Vec<String> {
        let mut out = Vec::new();
        let mut todo: Vec<&Words> = self.words.iter().collect();
        while let Some(words) = todo.pop() {
            match words {
                // The author is shown anyway, recipients never.
                Words::Text {
                    field: Field::Sender,
                    ..
                } => {}
                Words::Text { field, text, .. } if field.marks().is_empty() => {
                    out.push(text.trim_end_matches('*').to_lowercase());
                }
                Words::Text { .. } => {}
                Words::And(all) | Words::Or(all) => todo.extend(all),
                Words::Not(yes, _) => todo.push(yes),
            }
        }
        out
    }
}

/// Why a query cannot be answered, as a sentence for who wrote it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct QueryError(pub String);

/// Prefixes and what they find, for the help page.
pub const PREFIXES: [(&str, &str); 15] = [
    ("s:leak", "in the subject"),
    ("f:ana", "in the author's name or address"),
    (
        "t:ana",
        "in To; c: in Cc, tc: in either, a: in To, Cc or author",
    ),
    ("l:dev.example.org", "in List-Id"),
    ("b:\"use after free\"", "in the text, quotes and diffs"),
    ("bs:leak", "in subject or text"),
    ("dfn:core.c", "in names of changed files"),
    (
        "dfpost:4f2a91c",
        "changes that made this blob; dfpre: that changed it, dfblob: both",
    ),
    (
        "patchid:4f2a91c…",
        "the same change, by git patch-id --stable",
    ),
    (
        "nq:\"change-id: x\"",
        "in the text; q:, dfa:, dfb:, dfhh: and dfctx: look there too",
    ),
    (
        "d:20260101..20260131",
        "sent in that time; d:2.weeks.ago.. works too",
    ),
    ("dt:20260101120000..", "the same to the second"),
    (
        "rt:1767225600..",
        "arrived in that time, also in seconds since 1970",
    ),
    ("m:id@example.org", "the mail with that Message-ID"),
    (
        "s:(leak OR free) -core",
        "parentheses behind a prefix, and a word that must be absent",
    ),
];
