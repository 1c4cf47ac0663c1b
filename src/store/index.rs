//! The full-text index: one tokenizer for both databases, so that both find the same.
//!
//! SQLite gets the tokens joined by blanks in FTS5 columns; PostgreSQL gets a `tsvector` literal with weights A subject,
//! B sender, C files, D body and a gap between the fields, so that phrases do not cross them.

use super::sql::Bind;
use super::{Dialect, StoreError, Tx};
use crate::types::MailId;

/// Text per field that is indexed, in bytes: PostgreSQL refuses a tsvector over 1 MiB.
const FIELD: usize = 200 << 10;
/// Longer tokens are base64 and the like: nobody searches for them.
const TOKEN: usize = 200;
/// PostgreSQL keeps positions up to this one.
const LAST_POSITION: usize = 16_383;

/// What is indexed of one mail, as tokens.
pub struct Entry {
    subject: Vec<String>,
    sender: Vec<String>,
    body: Vec<String>,
    files: Vec<String>,
}

impl Entry {
    /// Cuts the fields of a mail into tokens.
    pub fn new(subject: &str, author: &str, address: &str, text: &str, files: &[String]) -> Entry {
        let mut sender = tokens(author);
        sender.extend(tokens(address));
        Entry {
            subject: tokens(subject),
            sender,
            body: tokens(text),
            files: tokens(&files.join(" ")),
        }
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
            for token in field {
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
    let text = &text[..text.floor_char_boundary(FIELD)];
    let words = text
        .split(|c: char| !c.is_alphanumeric())
        .filter(|w| !w.is_empty() && w.len() <= TOKEN);
    words.map(str::to_lowercase).collect()
}

/// Adds entries of new mails.
pub(super) async fn insert(tx: &mut Tx, entries: Vec<(MailId, Entry)>) -> Result<(), StoreError> {
    if tx.dialect == Dialect::Sqlite {
        let row = |(mail, e): (MailId, Entry)| {
            let column = |field: Vec<String>| Bind::from(field.join(" "));
            vec![
                mail.0.into(),
                column(e.subject),
                column(e.sender),
                column(e.body),
                column(e.files),
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
            format!("insert into search (mail, tokens) values {groups} on conflict do nothing");
        let binds = chunk
            .iter()
            .flat_map(|(mail, e)| [Bind::from(mail.0), Bind::from(e.tsvector())])
            .collect();
        tx.execute(text, binds).await?;
    }
    Ok(())
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
    fn a_phrase_cannot_cross_two_fields() {
        let entry = Entry::new("one", "two", "", "three", &[]);
        assert_eq!(entry.tsvector(), "'one':1A 'two':4B 'three':9D ");
    }
}
