//! Word search, newest first, the same on both databases.

use super::{Bind, Dialect, Store, StoreError, index};
use crate::types::{ListId, MailId};

/// Words that all must stand in a mail; those of one inner list stand behind each other.
pub type Phrases = Vec<Vec<String>>;

/// Cuts a search into words and "phrases in quotes"; at most 16 words.
pub fn phrases(text: &str) -> Phrases {
    let mut out = Phrases::new();
    for (at, piece) in text.split('"').enumerate() {
        if at % 2 == 1 {
            out.push(index::tokens(piece));
        } else {
            out.extend(piece.split_whitespace().map(index::tokens));
        }
    }
    out.retain(|p| !p.is_empty());
    out.truncate(16);
    out
}

impl Store {
    /// Mails of a list that hold all phrases, newest first, with a row below `before`; at most `limit`.
    pub async fn search(
        &self,
        list: ListId,
        phrases: &Phrases,
        before: i64,
        limit: i64,
    ) -> Result<Vec<MailId>, StoreError> {
        if phrases.is_empty() {
            return Ok(Vec::new());
        }
        let text = match self.dialect {
            Dialect::Sqlite => {
                "select s.rowid from search s join posting p on p.mail = s.rowid \
                 where search match ? and p.list = ? and s.rowid < ? order by s.rowid desc limit ?"
            }
            Dialect::Postgres => {
                "select s.mail from search s join posting p on p.mail = s.mail \
                 where s.tokens @@ (?)::tsquery and p.list = ? and s.mail < ? order by s.mail desc limit ?"
            }
        };
        let words = match self.dialect {
            Dialect::Sqlite => phrases
                .iter()
                .map(|p| format!("\"{}\"", p.join(" ")))
                .collect::<Vec<_>>()
                .join(" AND "),
            Dialect::Postgres => phrases
                .iter()
                .map(|p| format!("('{}')", p.join("' <-> '")))
                .collect::<Vec<_>>()
                .join(" & "),
        };
        let binds: Vec<Bind> = vec![words.into(), list.0.into(), before.into(), limit.into()];
        let rows: Vec<(i64,)> = self.fetch(text, binds).await?;
        Ok(rows.into_iter().map(|r| MailId(r.0)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn searches_are_words_and_phrases_and_nothing_else() {
        let show = |text: &str| {
            phrases(text)
                .iter()
                .map(|p| p.join("+"))
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(
            show("Memory \"leak in core.c\" NOT x*"),
            "memory leak+in+core+c not x"
        );
        assert_eq!(show("'; drop table \" OR"), "drop table or");
        assert_eq!(show("kernel/sched"), "kernel+sched");
        assert_eq!(show("  \"\" * "), "");
    }
}
