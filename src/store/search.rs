//! Word search, newest arrival first, the same on both databases.

use super::pages::Scope;
use super::{Bind, Dialect, Store, StoreError, index};
use crate::query::{Field, Query, Words};
use crate::types::MailId;

impl Store {
    /// Mails that fit, the last arrived first, with an [`index::position`] below `before`, in one thread if that is given; at
    /// most `limit`.
    ///
    /// [`StoreError::Crowded`] and [`StoreError::TooLong`] say what a reader can do about it.
    pub async fn search(
        &self,
        scope: Scope,
        query: &Query,
        thread: Option<i64>,
        before: i64,
        limit: i64,
    ) -> Result<Vec<MailId>, StoreError> {
        let words = match &query.words {
            None => None,
            Some(words) => match expression(self.dialect, words) {
                Some(words) => Some(words),
                // Words without a letter or digit stand nowhere.
                None => return Ok(Vec::new()),
            },
        };
        // A name is looked up by its index; the sum keeps a database from walking all mails in this order instead.
        let position = match &query.id {
            Some(_) => &format!("({} + 0)", index::POSITION),
            None => index::POSITION,
        };
        let mut text = "select m.id from mail m".to_owned();
        let mut binds: Vec<Bind> = Vec::new();
        let found = match (self.dialect, &words) {
            (_, None) => String::new(),
            (Dialect::Sqlite, _) => format!(" join search s on s.rowid = {position}"),
            (Dialect::Postgres, _) => format!(" join search s on s.position = {position}"),
        };
        text.push_str(&found);
        text.push_str(&format!(" where {position} < ? and m.state = 0"));
        binds.push(before.into());
        if let Some(words) = words {
            text.push_str(match self.dialect {
                Dialect::Sqlite => " and s.rowid < ? and search match ?",
                Dialect::Postgres => " and s.position < ? and s.tokens @@ (?)::tsquery",
            });
            binds.extend([before.into(), words.into()]);
        }
        let (condition, bind) = scope.condition();
        text.push_str(&format!(
            " and exists (select 1 from posting p where p.mail = m.id and {condition})"
        ));
        binds.extend(bind);
        if let Some(thread) = thread {
            text.push_str(" and m.node in (select id from node where thread = ?)");
            binds.push(thread.into());
        }
        if let Some(id) = &query.id {
            let (realm, list) = match scope {
                Scope::List(list) => ("(select realm from list where id = ?)", Some(list.0.into())),
                Scope::Public => ("1", None),
            };
            text.push_str(&format!(
                " and m.id in (select x.id from node y join mail x on x.node = y.id where y.realm = {realm} and y.message_id = ? \
                 union select mail from alias where realm = {realm} and message_id = ?)"
            ));
            for _ in 0..2 {
                binds.extend(list.clone().into_iter().chain([id.as_str().into()]));
            }
        }
        for (column, range) in [
            ("coalesce(m.date, m.arrived)", query.sent),
            ("m.arrived", query.arrived),
        ] {
            for (sign, end) in [(">=", range.from), ("<", range.until)] {
                if let Some(end) = end {
                    text.push_str(&format!(" and {column} {sign} ?"));
                    binds.push(end.0.into());
                }
            }
        }
        // Ordered by the index's own row: SQLite walks it backwards and stops at the limit.
        let order = match (self.dialect, found.as_str()) {
            (_, "") => position,
            (Dialect::Sqlite, _) => "s.rowid",
            (Dialect::Postgres, _) => "s.position",
        };
        text.push_str(&format!(" order by {order} desc limit ?"));
        binds.push(limit.into());
        let rows: Vec<(i64,)> = self.fetch_limited(text, binds).await?;
        Ok(rows.into_iter().map(|r| MailId(r.0)).collect())
    }
}

/// The words in the database's own language, made of tokens only: letters and digits. `None` if there are none.
fn expression(dialect: Dialect, words: &Words) -> Option<String> {
    let all = |parts: &[Words], with: &str| {
        let parts: Vec<String> = parts
            .iter()
            .filter_map(|w| expression(dialect, w))
            .collect();
        (!parts.is_empty()).then(|| format!("({})", parts.join(with)))
    };
    let sqlite = dialect == Dialect::Sqlite;
    match words {
        Words::Text {
            field,
            text,
            prefix,
        } => {
            let tokens = index::tokens(text);
            if tokens.is_empty() {
                return None;
            }
            let phrase = |field: Field, tokens: &[String]| match dialect {
                Dialect::Sqlite => fts5(field, tokens, *prefix),
                Dialect::Postgres => tsquery(field, tokens, *prefix),
            };
            let marks = field.marks().iter();
            let mut places: Vec<String> = marks
                .map(|mark| phrase(Field::Any, &index::marked(*mark, &tokens)))
                .collect();
            match field {
                Field::People => places.push(phrase(Field::Sender, &tokens)),
                _ if places.is_empty() => places.push(phrase(*field, &tokens)),
                _ => {}
            }
            match places.len() {
                1 => places.pop(),
                _ => Some(format!(
                    "({})",
                    places.join(if sqlite { " OR " } else { " | " })
                )),
            }
        }
        Words::And(parts) => all(parts, if sqlite { " AND " } else { " & " }),
        Words::Or(parts) => all(parts, if sqlite { " OR " } else { " | " }),
        Words::Not(yes, no) => {
            let yes = expression(dialect, yes)?;
            Some(match expression(dialect, no) {
                None => yes,
                Some(no) if sqlite => format!("({yes} NOT {no})"),
                Some(no) => format!("({yes} & !{no})"),
            })
        }
    }
}

fn fts5(field: Field, tokens: &[String], prefix: bool) -> String {
    let columns = match field {
        Field::Subject => "{subject} : ",
        Field::Sender => "{sender} : ",
        Field::Body => "{body} : ",
        Field::SubjectBody => "{subject body} : ",
        Field::Files => "{files} : ",
        // Marked words are found wherever they stand.
        _ => "",
    };
    let star = if prefix { " *" } else { "" };
    format!("({columns}\"{}\"{star})", tokens.join(" "))
}

fn tsquery(field: Field, tokens: &[String], prefix: bool) -> String {
    let weights = match field {
        Field::Subject => "A",
        Field::Sender => "B",
        Field::Files => "C",
        Field::Body => "D",
        Field::SubjectBody => "AD",
        _ => "",
    };
    let last = tokens.len().saturating_sub(1);
    let lexeme = |(at, token): (usize, &String)| {
        let star = if prefix && at == last { "*" } else { "" };
        match (star, weights) {
            ("", "") => format!("'{token}'"),
            _ => format!("'{token}':{star}{weights}"),
        }
    };
    let lexemes: Vec<String> = tokens.iter().enumerate().map(lexeme).collect();
    format!("({})", lexemes.join(" <-> "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Timestamp;

    #[track_caller]
    fn check(text: &str, sqlite: &str, postgres: &str) {
        let words = crate::query::parse(text, Timestamp(0))
            .expect("a query")
            .words;
        let words = words.expect("words");
        assert_eq!(expression(Dialect::Sqlite, &words).as_deref(), Some(sqlite));
        assert_eq!(
            expression(Dialect::Postgres, &words).as_deref(),
            Some(postgres)
        );
    }

    #[test]
    fn words_become_tokens_and_never_syntax() {
        check("Leak", "(\"leak\")", "('leak')");
        check(
            "s:core.cpp* -x",
            "((({subject} : \"core cpp\" *)) NOT ((\"x\")))",
            "((('core':A <-> 'cpp':*A)) & !(('x')))",
        );
        check(
            "t:ana tc:\"b c\"",
            "((\"t:ana\") AND ((\"t:b t:c\") OR (\"c:b c:c\")))",
            "(('t:ana') & (('t:b' <-> 't:c') | ('c:b' <-> 'c:c')))",
        );
        check(
            "a:ana",
            "((\"t:ana\") OR (\"c:ana\") OR ({sender} : \"ana\"))",
            "(('t:ana') | ('c:ana') | ('ana':B))",
        );
        check(
            "dfpost:4F2A91c0",
            "((\"n:4f2a91c\") OR (\"n:4f2a91c0\" *))",
            "(('n:4f2a91c') | ('n:4f2a91c0':*))",
        );
        check(
            "'; drop OR bs:\"a' & !b\"",
            "((\"drop\") OR ({subject body} : \"a b\"))",
            "(('drop') | ('a':AD <-> 'b':AD))",
        );
    }
}
