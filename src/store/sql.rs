//! The few words of SQL plumbing that both databases share: binds, placeholders, multi-row inserts.

use sqlx::any::{AnyArguments, AnyRow};
use sqlx::query::Query;
use sqlx::{Any, AnyConnection, AssertSqlSafe, Executor, Row};

use super::StoreError;

/// Which database speaks. Only functions in this module and `match`es inside one query look at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// A file in the data folder.
    Sqlite,
    /// A server, by URL.
    Postgres,
}

/// A value to bind: the vocabulary that both databases and `sqlx::Any` share.
#[derive(Debug, Clone)]
pub enum Bind {
    /// `bigint not null`
    Int(i64),
    /// `bigint`
    MaybeInt(Option<i64>),
    /// `text not null`; NUL becomes U+FFFD, as PostgreSQL refuses it.
    Text(String),
    /// `text`
    MaybeText(Option<String>),
    /// `blob not null`
    Blob(Vec<u8>),
}

impl From<i64> for Bind {
    fn from(value: i64) -> Self {
        Bind::Int(value)
    }
}

impl From<Option<i64>> for Bind {
    fn from(value: Option<i64>) -> Self {
        Bind::MaybeInt(value)
    }
}

impl From<bool> for Bind {
    fn from(value: bool) -> Self {
        Bind::Int(i64::from(value))
    }
}

impl From<&str> for Bind {
    fn from(value: &str) -> Self {
        Bind::Text(clean(value.to_owned()))
    }
}

impl From<&String> for Bind {
    fn from(value: &String) -> Self {
        Bind::from(value.as_str())
    }
}

impl From<String> for Bind {
    fn from(value: String) -> Self {
        Bind::Text(clean(value))
    }
}

impl From<Option<String>> for Bind {
    fn from(value: Option<String>) -> Self {
        Bind::MaybeText(value.map(clean))
    }
}

impl From<Vec<u8>> for Bind {
    fn from(value: Vec<u8>) -> Self {
        Bind::Blob(value)
    }
}

impl From<[u8; 32]> for Bind {
    fn from(value: [u8; 32]) -> Self {
        Bind::Blob(value.to_vec())
    }
}

fn clean(text: String) -> String {
    if text.contains('\0') {
        text.replace('\0', "\u{fffd}")
    } else {
        text
    }
}

/// A statement: fixed text, or text made for this call (of our own parts only, never of input).
pub enum Text {
    /// Prepared once and kept.
    Fixed(&'static str),
    /// Its length varies with the rows: not kept.
    Made(String),
}

impl From<&'static str> for Text {
    fn from(text: &'static str) -> Self {
        Text::Fixed(text)
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Text::Made(text)
    }
}

/// `?, ?, ?`: as many placeholders as wanted. Turned into `$n` for PostgreSQL when run.
pub fn marks(count: usize) -> String {
    let mut text = "?,".repeat(count);
    text.pop();
    text
}

/// SQLite takes `?`: numbered placeholders cost quadratic time there. PostgreSQL knows `$n` only.
fn for_dialect(dialect: Dialect, text: String) -> String {
    if dialect == Dialect::Sqlite || !text.contains('?') {
        return text;
    }
    let mut out = String::with_capacity(text.len() + 64);
    for (i, piece) in text.split('?').enumerate() {
        if i > 0 {
            out.push('$');
            out.push_str(&i.to_string());
        }
        out.push_str(piece);
    }
    out
}

fn query(dialect: Dialect, text: Text, binds: Vec<Bind>) -> Query<'static, Any, AnyArguments> {
    let (query, keep) = match text {
        Text::Fixed(text) if dialect == Dialect::Sqlite || !text.contains('?') => {
            (sqlx::query(text), true)
        }
        Text::Fixed(text) => (
            sqlx::query(AssertSqlSafe(for_dialect(dialect, text.to_owned()))),
            true,
        ),
        Text::Made(text) => (
            sqlx::query(AssertSqlSafe(for_dialect(dialect, text))),
            false,
        ),
    };
    let mut query = query.persistent(keep);
    for bind in binds {
        query = match bind {
            Bind::Int(v) => query.bind(v),
            Bind::MaybeInt(v) => query.bind(v),
            Bind::Text(v) => query.bind(v),
            Bind::MaybeText(v) => query.bind(v),
            Bind::Blob(v) => query.bind(v),
        };
    }
    query
}

/// Runs a read or a `returning` statement.
pub async fn fetch<T>(
    connection: &mut AnyConnection,
    dialect: Dialect,
    text: Text,
    binds: Vec<Bind>,
) -> Result<Vec<T>, StoreError>
where
    T: for<'r> sqlx::FromRow<'r, AnyRow> + Send + Unpin,
{
    let rows = connection.fetch_all(query(dialect, text, binds)).await?;
    rows.iter()
        .map(|row| T::from_row(row).map_err(StoreError::from))
        .collect()
}

/// Runs a statement; returns how many rows it touched.
pub async fn execute(
    connection: &mut AnyConnection,
    dialect: Dialect,
    text: Text,
    binds: Vec<Bind>,
) -> Result<u64, StoreError> {
    Ok(connection
        .execute(query(dialect, text, binds))
        .await?
        .rows_affected())
}

/// Rows per statement of a multi-row insert: 30 columns stay far below SQLite's 32,766 binds.
const CHUNK: usize = 200;

/// `insert into <head> values (…), (…) <tail>` in chunks; returns the first column of what `tail` returns, if it does.
pub async fn insert(
    connection: &mut AnyConnection,
    dialect: Dialect,
    head: &str,
    rows: Vec<Vec<Bind>>,
    tail: &str,
) -> Result<Vec<AnyRow>, StoreError> {
    let mut out = Vec::new();
    let mut rows = rows.into_iter().peekable();
    while rows.peek().is_some() {
        let chunk: Vec<Vec<Bind>> = rows.by_ref().take(CHUNK).collect();
        let (chunk_len, width) = (chunk.len(), chunk[0].len());
        let group = format!("({})", marks(width));
        let groups = vec![group; chunk_len].join(",");
        let text = format!("insert into {head} values {groups} {tail}");
        let binds = chunk.into_iter().flatten().collect();
        // One row and a full chunk are shapes that come again; others would only fill the cache.
        let keep = matches!(chunk_len, 1 | CHUNK);
        let statement = query(dialect, Text::Made(text), binds).persistent(keep);
        if tail.contains("returning") {
            out.extend(connection.fetch_all(statement).await?);
        } else {
            connection.execute(statement).await?;
        }
    }
    Ok(out)
}

/// The id in a row's first column.
pub fn id(row: &AnyRow) -> Result<i64, StoreError> {
    Ok(row.try_get::<i64, _>(0)?)
}
