//! Reads that cost what a stranger wishes, such as a search: on a few connections of their own, and with an end in time.
//!
//! Whoever waits for them waits for others of their kind only: mail, jobs and all other pages go on beside them.

use std::str::FromStr;
use std::time::{Duration, Instant};

use sqlx::any::AnyRow;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions, SqliteRow};
use sqlx::{AnyPool, AssertSqlSafe, FromRow, Sqlite, SqlitePool};

use super::sql::{self, Text};
use super::{Bind, Dialect, Reader, StoreError, connect};

/// As many run at once; more would only share the same disk and processors.
const AT_ONCE: u32 = 2;
/// So long a further one waits for its turn.
const PATIENCE: Duration = Duration::from_secs(2);
/// So long one may run.
const TIME: Duration = Duration::from_secs(5);
/// Steps of SQLite's machine between two looks at the clock: full-text search does much in one step.
const STEPS: i32 = 200;

const SQLITE: &str = "pragma busy_timeout = 5000; pragma cache_size = -8192; pragma query_only = 1; \
     pragma temp_store = memory; pragma mmap_size = 0;";

/// The connections of limited reads. SQLite's are typed: `sqlx::Any` cannot break off a statement.
pub(super) enum Limited {
    Sqlite(SqlitePool),
    Postgres(AnyPool),
}

impl Limited {
    /// Connects at the first read.
    pub(super) fn open(dialect: Dialect, url: &str) -> Result<Limited, StoreError> {
        let unusable = |e: sqlx::Error| StoreError::Unusable(format!("no database there: {e}"));
        if dialect == Dialect::Postgres {
            let options = connect::postgres_options(AT_ONCE, Some(TIME)).acquire_timeout(PATIENCE);
            return Ok(Limited::Postgres(
                options.connect_lazy(url).map_err(unusable)?,
            ));
        }
        let options = SqlitePoolOptions::new()
            .max_connections(AT_ONCE)
            .acquire_timeout(PATIENCE)
            .test_before_acquire(false)
            .after_connect(|connection, _| {
                Box::pin(async move {
                    sqlx::Executor::execute(connection, sqlx::raw_sql(SQLITE)).await?;
                    Ok(())
                })
            });
        let place = SqliteConnectOptions::from_str(url).map_err(unusable)?;
        Ok(Limited::Sqlite(options.connect_lazy_with(place)))
    }
}

impl Reader {
    /// Rows of a read whose cost a stranger decides. [`StoreError::Crowded`] if too many of them run,
    /// [`StoreError::TooLong`] if it was broken off.
    pub(super) async fn fetch_limited<T>(
        &self,
        text: String,
        binds: Vec<Bind>,
    ) -> Result<Vec<T>, StoreError>
    where
        T: for<'r> FromRow<'r, AnyRow> + for<'r> FromRow<'r, SqliteRow> + Send + Unpin,
    {
        match &*self.limited {
            Limited::Postgres(pool) => {
                let mut connection = pool.acquire().await.map_err(reason)?;
                let rows = sql::fetch(&mut connection, self.dialect, Text::Made(text), binds).await;
                rows.map_err(|error| match error {
                    StoreError::Temporary(error) => reason(error),
                    other => other,
                })
            }
            Limited::Sqlite(pool) => fetch_from_file(pool, text, binds).await.map_err(reason),
        }
    }
}

async fn fetch_from_file<T>(
    pool: &SqlitePool,
    text: String,
    binds: Vec<Bind>,
) -> Result<Vec<T>, sqlx::Error>
where
    T: for<'r> FromRow<'r, SqliteRow> + Send + Unpin,
{
    let mut connection = pool.acquire().await?;
    let end = Instant::now() + TIME;
    // It also ends the statement of a reader who went away; the next read sets a new one.
    connection
        .lock_handle()
        .await?
        .set_progress_handler(STEPS, move || Instant::now() < end);
    let mut query = sqlx::query_as::<Sqlite, T>(AssertSqlSafe(text)).persistent(false);
    for bind in binds {
        query = match bind {
            Bind::Int(v) => query.bind(v),
            Bind::MaybeInt(v) => query.bind(v),
            Bind::Text(v) => query.bind(v),
            Bind::MaybeText(v) => query.bind(v),
            Bind::Blob(v) => query.bind(v),
        };
    }
    query.fetch_all(&mut *connection).await
}

/// What a read failed with: SQLite says "interrupted" (9), PostgreSQL "query canceled" (57014).
fn reason(error: sqlx::Error) -> StoreError {
    let code = error.as_database_error().and_then(|e| e.code());
    match (&error, code.as_deref()) {
        (sqlx::Error::PoolTimedOut, _) => StoreError::Crowded,
        (_, Some("9" | "57014")) => StoreError::TooLong,
        _ => StoreError::Temporary(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::delivery_tests::{open, seed};
    use crate::store::pages::Scope;
    use crate::store::patch_pages::PatchFilter;
    use crate::types::Timestamp;

    #[tokio::test]
    async fn pages_without_words_of_readers_do_not_wait_for_searches() {
        let (_folder, store) = open().await;
        let list = seed(&store, 0, b"Subject: s\n\nb\n", Timestamp(0)).await;
        let Limited::Sqlite(pool) = &*store.limited else {
            unreachable!("it is a file");
        };
        let mut searches = Vec::new();
        for _ in 0..AT_ONCE {
            searches.push(pool.acquire().await.expect("a connection"));
        }
        store.load_newest(Scope::Public, 25).await.expect("read");
        let filter = |submitter: &str, words: &str| PatchFilter {
            states: vec![1],
            submitter: submitter.to_owned(),
            outcome: "applied".to_owned(),
            words: words.to_owned(),
        };
        let before = (i64::MAX, 0);
        let load = async |filter| store.load_patchsets(list, &filter, before, 50).await;
        load(filter("", " ")).await.expect("read");
        for filter in [filter("ana", ""), filter("", "leak")] {
            let crowded = load(filter).await;
            assert!(matches!(crowded, Err(StoreError::Crowded)), "{crowded:?}");
        }
        drop(searches);
        load(filter("ana", "leak")).await.expect("read");
    }
}
