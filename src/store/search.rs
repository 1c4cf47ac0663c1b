//! Word search, newest arrival first, the same on both databases.

use super::pages::Scope;
use super::{Bind, Dialect, Reader, StoreError, index};
use crate::query::{Field, Query, Words};
use crate::types::MailId;

impl Reader {
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
        let Some((text, binds)) = statement(self.dialect, scope, query, thread, before, limit)
        else {
            return Ok(Vec::new());
        };
        let rows: Vec<(i64,)> = self.fetch_limited(text, binds).await?;
        Ok(rows.into_iter().map(|r| MailId(r.0)).collect())
    }

    /// The last arrived. No reader's words decide what this costs: it is read as all pages are.
    pub(super) async fn newest_of_all(
        &self,
        scope: Scope,
        limit: i64,
    ) -> Result<Vec<MailId>, StoreError> {
        let all = Query::default();
        let Some((text, binds)) = statement(self.dialect, scope, &all, None, i64::MAX, limit)
        else {
            return Ok(Vec::new());
        };
        let rows: Vec<(i64,)> = self.fetch(text, binds).await?;
        Ok(rows.into_iter().map(|r| MailId(r.0)).collect())
    }
}

/// The tables of a search, and its order.
///
/// SQLite walks the words' index backwards and stops at the limit; each hit's mail is then found by `mail_position`. The
/// sign before `s.rowid` is what makes that possible: it takes the column's type away, which an index on an expression
/// does not have. Without it each search first makes an index of all mails.
fn tables(dialect: Dialect, words: bool, named: bool) -> (String, String) {
    let position = index::POSITION;
    // A name is looked up by its index; the sum keeps the database from walking all mails in this order instead.
    let unordered = format!("({position} + 0)");
    match (dialect, words, named) {
        (_, false, false) => ("mail m".to_owned(), position.to_owned()),
        (_, false, true) => ("mail m".to_owned(), unordered),
        (Dialect::Sqlite, true, false) => {
            let join = format!("search s cross join mail m on {position} = +s.rowid");
            (join, "s.rowid".to_owned())
        }
        (Dialect::Sqlite, true, true) => {
            let join = format!("mail m cross join search s on s.rowid = {position}");
            (join, "s.rowid".to_owned())
        }
        (Dialect::Postgres, true, _) => {
            let join = format!("mail m join search s on s.position = {position}");
            (join, "s.position".to_owned())
        }
    }
}

/// The statement of a search; `None` if its words are nowhere, as they hold no letter or digit.
fn statement(
    dialect: Dialect,
    scope: Scope,
    query: &Query,
    thread: Option<i64>,
    before: i64,
    limit: i64,
) -> Option<(String, Vec<Bind>)> {
    let words = match &query.words {
        None => None,
        Some(words) => Some(expression(dialect, words)?),
    };
    let (from, order) = tables(dialect, words.is_some(), query.id.is_some());
    let mut text = format!("select m.id from {from} where m.state = 0 and {order} < ?");
    let mut binds: Vec<Bind> = vec![before.into()];
    if let Some(words) = words {
        text.push_str(match dialect {
            Dialect::Sqlite => " and search match ?",
            Dialect::Postgres => " and s.tokens @@ (?)::tsquery",
        });
        binds.push(words.into());
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
    text.push_str(&format!(" order by {order} desc limit ?"));
    binds.push(limit.into());
    Some((text, binds))
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
    use crate::store::Store;
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

    /// What SQLite does for a search, a line a step.
    async fn plan(store: &Store, text: &str) -> String {
        let query = crate::query::parse(text, Timestamp(0)).expect("a query");
        let made = statement(Dialect::Sqlite, Scope::Public, &query, None, i64::MAX, 50);
        let (text, binds) = made.expect("a statement");
        let text = format!("explain query plan {text}");
        let rows: Vec<(i64, i64, i64, String)> =
            store.fetch_limited(text, binds).await.expect("a plan");
        let lines: Vec<String> = rows.into_iter().map(|r| r.3).collect();
        lines.join("\n")
    }

    #[tokio::test]
    async fn sqlite_reads_no_more_mails_than_it_finds() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(folder.path(), &crate::store::Location::File).await;
        let store = store.expect("a store");
        for (text, wanted) in [
            ("leak", "SEARCH m USING INDEX mail_position (<expr>=?)"),
            (
                "leak rt:20260101..",
                "SEARCH m USING INDEX mail_position (<expr>=?)",
            ),
            ("m:a@b", "SEARCH m USING INTEGER PRIMARY KEY"),
            ("leak m:a@b", "SEARCH m USING INTEGER PRIMARY KEY"),
        ] {
            let plan = plan(&store, text).await;
            assert!(plan.contains(wanted), "{text}:\n{plan}");
            assert!(!plan.contains("AUTOMATIC"), "{text}:\n{plan}");
            let walks = plan.lines().any(|l| l.starts_with("SCAN m"));
            assert!(!walks, "{text}:\n{plan}");
        }
    }
}
