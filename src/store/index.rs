//! The full-text index: one tokenizer for both databases, so that both find the same.
//!
//! SQLite gets the tokens joined by blanks in FTS5 columns; PostgreSQL gets a `tsvector` literal with weights A subject,
//! B sender, C files, D body and a gap between the fields, so that phrases do not cross them.

use super::sql::Bind;
use super::{Dialect, StoreError, Tx};
use crate::query::Mark;
use crate::types::{MailId, Timestamp};

/// Text per field that is indexed, in bytes: PostgreSQL refuses a tsvector over 1 MiB.
const FIELD: usize = 200 << 10;
/// Longer tokens are base64 and the like: nobody searches for them.
const TOKEN: usize = 200;
/// PostgreSQL keeps positions up to this one.
const LAST_POSITION: usize = 16_383;

/// Rows of mails per second of arrival in [`position`].
const SPAN: i64 = 1 << 29;
/// [`position`] as both databases compute it of a mail `m`; there is an index on it.
pub(super) const POSITION: &str = "(m.arrived / 1000000 * 536870912 + m.id)";

/// A mail's place in the order of search: by arrival to the second, then by row.
///
/// Distinct for 500 million mails. FTS5 can walk its rows backwards, but not by another table's column: with this as its
/// row, the newest hits of a common word cost nothing.
pub fn position(arrived: Timestamp, mail: MailId) -> i64 {
    (arrived.0 / 1_000_000)
        .saturating_mul(SPAN)
        .saturating_add(mail.0)
}

/// The place after all mails that arrived in a second (since 1970) or earlier.
pub fn place_after(second: i64) -> i64 {
    second.saturating_add(1).saturating_mul(SPAN)
}

/// What is indexed of one mail: tokens, joined by blanks.
#[derive(Debug, Clone)]
pub struct Entry {
    subject: String,
    sender: String,
    body: String,
    files: String,
}

impl Entry {
    /// Cuts the fields of a mail into tokens.
    pub fn new(subject: &str, author: &str, address: &str, text: &str, files: &[String]) -> Entry {
        Entry {
            subject: joined(subject),
            sender: joined(&format!("{author} {address}")),
            body: joined(text),
            files: joined(&files.join(" ")),
        }
    }

    /// Adds what is found by a prefix alone, beside the names of files.
    pub fn with_marks(mut self, marks: &[(Mark, String)]) -> Entry {
        for (mark, text) in marks {
            for word in marked(*mark, &tokens(text)) {
                self.files.push(' ');
                self.files.push_str(&word);
            }
        }
        self
    }

    fn tsvector(&self) -> String {
        let mut out = String::new();
        let mut position = 1;
        for (field, weight) in [
            (&self.subject, 'A'),
            (&self.sender, 'B'),
            (&self.files, 'C'),
            (&self.body, 'D'),
        ] {
            for token in field.split(' ').filter(|t| !t.is_empty()) {
                let at = position.min(LAST_POSITION);
                out.push_str(&format!("'{token}':{at}{weight} "));
                position += 1;
                if out.len() > 900_000 {
                    return out;
                }
            }
            position += 2;
        }
        out
    }
}

/// The tokens of a text: runs of letters and digits in lower case. The same for what is stored and what is asked.
pub fn tokens(text: &str) -> Vec<String> {
    words(text).map(str::to_lowercase).collect()
}

/// The tokens in one text, a blank between two.
fn joined(text: &str) -> String {
    let mut out = String::with_capacity(text.len().min(FIELD));
    for word in words(text) {
        if !out.is_empty() {
            out.push(' ');
        }
        let start = out.len();
        if word.is_ascii() {
            out.push_str(word);
            out[start..].make_ascii_lowercase();
        } else {
            out.push_str(&word.to_lowercase());
        }
    }
    out
}

/// Runs of letters and digits, those too long left out. Looks at bytes where it can: it reads every mail whole.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let text = &text[..text.floor_char_boundary(FIELD)];
    let bytes = text.as_bytes();
    let mut at = 0;
    // The character at a place: its length, and whether it belongs to a word.
    let look = move |at: usize| match bytes[at] {
        byte if byte.is_ascii() => (1, byte.is_ascii_alphanumeric()),
        _ => text[at..]
            .chars()
            .next()
            .map_or((1, false), |c| (c.len_utf8(), c.is_alphanumeric())),
    };
    std::iter::from_fn(move || {
        while at < bytes.len() {
            let start = at;
            let (mut length, inside) = look(at);
            at += length;
            if !inside {
                continue;
            }
            let mut more = true;
            while more && at < bytes.len() {
                (length, more) = look(at);
                at += if more { length } else { 0 };
            }
            if at - start <= TOKEN {
                return Some(&text[start..at]);
            }
        }
        None
    })
}

/// Tokens with their mark, as they are stored and asked for.
pub fn marked(mark: Mark, tokens: &[String]) -> Vec<String> {
    let letter = mark.letter();
    tokens.iter().map(|t| format!("{letter}:{t}")).collect()
}

/// Adds entries of new mails by their positions.
pub(super) async fn insert(tx: &mut Tx, entries: Vec<(i64, Entry)>) -> Result<(), StoreError> {
    if tx.dialect == Dialect::Sqlite {
        let row = |(position, e): (i64, Entry)| {
            vec![
                position.into(),
                e.subject.into(),
                e.sender.into(),
                e.body.into(),
                e.files.into(),
            ]
        };
        let rows = entries.into_iter().map(row).collect();
        tx.insert("search (rowid, subject, sender, body, files)", rows, "")
            .await?;
        return Ok(());
    }
    for chunk in entries.chunks(200) {
        let groups = vec!["(?, (?)::tsvector)"; chunk.len()].join(",");
        let text =
            format!("insert into search (position, tokens) values {groups} on conflict do nothing");
        let binds = chunk
            .iter()
            .flat_map(|(position, e)| [Bind::from(*position), Bind::from(e.tsvector())])
            .collect();
        tx.execute(text, binds).await?;
    }
    Ok(())
}

/// Removes the entries at these positions.
pub(super) async fn remove(tx: &mut Tx, positions: &[i64]) -> Result<(), StoreError> {
    let column = match tx.dialect {
        Dialect::Sqlite => "rowid",
        Dialect::Postgres => "position",
    };
    let text = format!(
        "delete from search where {column} in ({})",
        super::marks(positions.len())
    );
    let binds = positions.iter().map(|p| Bind::from(*p)).collect();
    tx.execute(text, binds).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_runs_of_letters_and_digits_in_lower_case() {
        assert_eq!(
            tokens("Fix kernel/sched/core.c: CVE-2024-1234 naïve"),
            [
                "fix", "kernel", "sched", "core", "c", "cve", "2024", "1234", "naïve"
            ]
        );
    }

    #[test]
    fn what_is_stored_is_what_is_asked_for() {
        for text in [
            "",
            " -- ",
            "a",
            "Ünï-cödé ſ İx",
            "x\u{300}y 9¾ 中文。字",
            &"z".repeat(201),
        ] {
            assert_eq!(joined(text), tokens(text).join(" "), "{text}");
        }
        assert_eq!(joined(&"z".repeat(201)), "");
    }

    #[test]
    fn marked_words_stand_beside_the_text_and_are_no_part_of_it() {
        let marks = [(Mark::To, "Ana ana@x".to_owned())];
        let entry = Entry::new("s", "", "", "ana", &["f".to_owned()]).with_marks(&marks);
        assert_eq!(
            entry.tsvector(),
            "'s':1A 'f':6C 't:ana':7C 't:ana':8C 't:x':9C 'ana':12D "
        );
    }

    #[test]
    fn a_phrase_cannot_cross_two_fields() {
        let entry = Entry::new("one", "two", "", "three", &[]);
        assert_eq!(entry.tsvector(), "'one':1A 'two':4B 'three':9D ");
    }
}
