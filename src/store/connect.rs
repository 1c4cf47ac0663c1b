//! Opening a store: pools with their settings, migrations under a lock.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sqlx::any::AnyPoolOptions;
use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::{AnyPool, AssertSqlSafe, Connection, Executor, SqlSafeStr};

use super::limited::Limited;
use super::writer::Writer;
use super::{Dialect, Reader, Store, StoreError};

/// Where the database is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// `patchpost.db` in the data folder.
    File,
    /// A PostgreSQL URL: `postgres://user@host/database`.
    Url(String),
}

/// What mends a damaged file.
pub const DAMAGED: &str = "stop the server, keep the folder as it is, and fill another one from the last backup: \
     `patchpost restore BACKUP --data NEW-FOLDER`";

/// Stands in `write.lock` from when the file beside it was first opened: where that is gone, it was lost.
const MARK: &str =
    "patchpost.db was made beside this file. Where it is missing, it is lost: restore a backup.\n";

/// So long one waits for a connection.
const PATIENCE: Duration = Duration::from_secs(10);
/// So long PostgreSQL may take for a statement of a page; SQLite's are bounded by what they read.
const PAGE_TIME: Duration = Duration::from_secs(15);

/// Settings of every SQLite connection; each is a measured choice (DESIGN 5): FULL, as NORMAL and the
/// rollback journal lose acknowledged mail at power cut.
const SQLITE: &str = "pragma journal_mode = wal; pragma synchronous = full; pragma busy_timeout = 5000; \
     pragma foreign_keys = 1; pragma journal_size_limit = 67108864; pragma temp_store = memory; pragma mmap_size = 0;";

impl Store {
    /// Opens the store, creating or upgrading its tables. `data` must exist.
    ///
    /// Refuses a database that a newer patchpost has written, and to begin one where one was lost.
    pub async fn open(data: &Path, location: &Location) -> Result<Store, StoreError> {
        sqlx::any::install_default_drivers();
        let (dialect, url, lock) = match location {
            Location::File => {
                if let Some(lost) = find_loss(data) {
                    return Err(StoreError::Damaged(lost));
                }
                let lock = open_lock(&data.join("write.lock"))?;
                (
                    Dialect::Sqlite,
                    sqlite_url(&data.join("patchpost.db")),
                    Some(Arc::new(lock)),
                )
            }
            Location::Url(url) => (Dialect::Postgres, url.clone(), None),
        };
        if dialect == Dialect::Sqlite {
            check_form(&url, &data.join("patchpost.db")).await?;
        }
        let writer = pool(
            dialect,
            &url,
            1,
            "pragma cache_size = -65536; pragma wal_autocheckpoint = 1000;",
        )
        .await?;
        migrate(&writer, dialect, lock.clone()).await?;
        if let Some(lock) = &lock {
            leave_mark(lock);
        }
        let readers = if dialect == Dialect::Sqlite { 4 } else { 8 };
        let reader = pool(
            dialect,
            &url,
            readers,
            "pragma cache_size = -8192; pragma query_only = 1;",
        )
        .await?;
        let pages = options(
            dialect,
            readers,
            "pragma cache_size = -16384; pragma query_only = 1;",
            Some(PAGE_TIME),
        );
        let pages = pages.connect_lazy(&url).map_err(cannot_open)?;
        let read = Reader {
            reader,
            limited: Arc::new(Limited::open(dialect, &url)?),
            dialect,
            data: Arc::new(data.to_owned()),
            dictionaries: Arc::default(),
        };
        Ok(Store {
            read,
            pages,
            writer: Writer::start(writer, dialect, lock.clone()),
            lock,
            jobs: Arc::default(),
            deliveries: Arc::default(),
        })
    }

    /// Writes a SQLite file anew without its free pages and empties its log; `false` if a reader kept the log in use.
    pub(super) async fn vacuum(&self) -> Result<bool, StoreError> {
        let url = sqlite_url(&self.data.join("patchpost.db"));
        let pool = pool(Dialect::Sqlite, &url, 1, "").await?;
        if let Some(lock) = &self.lock {
            super::writer::take(lock).await;
        }
        let done = async {
            pool.execute(sqlx::raw_sql("vacuum")).await?;
            let row: (i64, i64, i64) = sqlx::query_as("pragma wal_checkpoint(truncate)")
                .fetch_one(&pool)
                .await?;
            Ok(row.0 == 0)
        }
        .await;
        if let Some(lock) = &self.lock
            && let Err(error) = lock.unlock()
        {
            tracing::error!(%error, "could not release the write lock file");
        }
        pool.close().await;
        done
    }

    /// Whether a folder holds a SQLite database of ours, or did: [`Store::open`] says that it is lost.
    pub fn is_file_in(data: &Path) -> bool {
        data.join("patchpost.db").is_file() || find_loss(data).is_some()
    }

    /// Takes the folder for one `serve`; the lock is freed when the file is dropped or the process ends.
    pub fn lock_for_serving(data: &Path) -> Result<File, StoreError> {
        let path = data.join("serve.lock");
        let file = open_lock(&path)?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(_) => Err(StoreError::Refused(format!(
                "another `patchpost serve` runs on {}; stop it first, or choose another folder with --data",
                data.display()
            ))),
        }
    }
}

/// What a folder tells of its server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Served {
    /// One runs on it.
    Now,
    /// One did.
    Before,
    /// None ever did.
    Never,
    /// Who asks may not look.
    Hidden,
}

/// Whether a `serve` runs on the folder. Makes no file: who only looks may be another user than the server's.
pub fn is_served(data: &Path) -> Served {
    match File::open(data.join("serve.lock")) {
        Ok(file) => match file.try_lock() {
            Err(std::fs::TryLockError::WouldBlock) => Served::Now,
            _ => Served::Before,
        },
        Err(error) if error.kind() == ErrorKind::NotFound => Served::Never,
        Err(_) => Served::Hidden,
    }
}

/// What tells that the database of a folder is lost, and what mends it: there is none, or a file of 0 bytes, where one was.
fn find_loss(data: &Path) -> Option<String> {
    // The signs first: whoever makes a database leaves them after it.
    let marked = std::fs::metadata(data.join("write.lock")).is_ok_and(|file| file.len() > 0);
    let mut repos = std::fs::read_dir(data.join("repos")).into_iter().flatten();
    if !marked && repos.next().is_none() {
        return None;
    }
    let path = data.join("patchpost.db");
    let what = match std::fs::metadata(&path) {
        Ok(file) if file.len() == 0 => "is empty",
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => "is gone",
        _ => return None,
    };
    Some(format!(
        "{} {what}, and this folder had a database: its lists and mails were in it; {DAMAGED}. A new site begins in an empty folder only",
        path.display()
    ))
}

/// Without the mark a loss may go unseen, which is no reason not to run.
fn leave_mark(lock: &File) {
    let marked = match lock.metadata() {
        Ok(file) if file.len() > 0 => Ok(()),
        Ok(_) => {
            let mut file = lock;
            file.write_all(MARK.as_bytes())
        }
        Err(error) => Err(error),
    };
    if let Err(error) = marked {
        tracing::warn!("cannot write into write.lock: {error}");
    }
}

fn open_lock(path: &Path) -> Result<File, StoreError> {
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path);
    file.map_err(|e| {
        let mend = lock_mend(path, e.kind());
        StoreError::Unusable(format!("cannot open {}: {e}{mend}", path.display()))
    })
}

/// What to do about a lock file that does not open.
fn lock_mend(path: &Path, kind: ErrorKind) -> String {
    let owner = |path: &Path| std::fs::metadata(path).map(|meta| meta.uid()).ok();
    let folder = path.parent().unwrap_or(path);
    match kind {
        ErrorKind::PermissionDenied if path.exists() && owner(path) != owner(folder) => {
            format!(
                "; it belongs to another user than its folder does, as when root ran the server: as root: chown --reference='{}' '{}'",
                folder.display(),
                path.display()
            )
        }
        ErrorKind::PermissionDenied => {
            "; it has to belong to the user that runs the server, as the folder does".to_owned()
        }
        ErrorKind::ReadOnlyFilesystem => {
            "; commands that only read take their turn by it, too: the folder has to be writable"
                .to_owned()
        }
        _ => String::new(),
    }
}

pub(super) fn sqlite_url(path: &Path) -> String {
    // Percent-encoding: the path may hold blanks, `?` or `#`.
    let path = path.to_string_lossy();
    let path = percent_encoding::utf8_percent_encode(&path, PATH);
    format!("sqlite://{path}?mode=rwc")
}

const PATH: &percent_encoding::AsciiSet = &percent_encoding::NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b'.')
    .remove(b'-')
    .remove(b'_');

async fn pool(
    dialect: Dialect,
    url: &str,
    size: u32,
    own: &'static str,
) -> Result<AnyPool, StoreError> {
    let options = options(dialect, size, own, None).min_connections(1);
    options.connect(url).await.map_err(cannot_open)
}

/// Says at once that a file is no database, which a pool would try for as long as it has patience.
async fn check_form(url: &str, path: &Path) -> Result<(), StoreError> {
    let looked = async {
        let mut connection = sqlx::AnyConnection::connect(url).await?;
        let mut looked = connection.execute(sqlx::raw_sql(SQLITE)).await;
        if looked.is_ok() {
            // Pages that hardly ever change, and so stand in the file and not in its log.
            let text = "select count(*) from sqlite_schema";
            looked = connection.execute(sqlx::raw_sql(text)).await;
        }
        connection.close().await?;
        looked
    };
    match looked.await {
        Err(error) if is_damage(&error) => Err(StoreError::Damaged(format!(
            "{} is damaged, or no database at all: {error}; {DAMAGED}",
            path.display()
        ))),
        // Whatever passes, as a lock, is for the pools to wait for.
        _ => Ok(()),
    }
}

/// Whether the file is as it should be on the disk. What connections have read already would not tell; one of its own does. The file
/// is never opened but by SQLite: closing it would free the locks of the whole process.
pub(super) async fn check_file(store: &Reader) -> Result<(), StoreError> {
    if store.dialect() == Dialect::Postgres {
        return Ok(());
    }
    match find_loss(store.data()) {
        Some(lost) => Err(StoreError::Damaged(lost)),
        None => {
            let path = store.data().join("patchpost.db");
            check_form(&sqlite_url(&path), &path).await
        }
    }
}

/// What SQLite says of a file whose bytes are not as it wrote them (SQLITE_CORRUPT, SQLITE_NOTADB).
fn is_damage(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|e| e.code());
    let number = code.and_then(|code| code.parse::<u32>().ok());
    number.is_some_and(|n| [11, 26].contains(&(n & 0xff)))
}

fn cannot_open(error: sqlx::Error) -> StoreError {
    StoreError::Unusable(format!("cannot open the database: {error}"))
}

/// Connections with our settings, and on SQLite with their `own`; on PostgreSQL a statement may take `time`.
fn options(
    dialect: Dialect,
    size: u32,
    own: &'static str,
    time: Option<Duration>,
) -> AnyPoolOptions {
    match dialect {
        // A file does not go away: asking before each use would double what a small read costs.
        Dialect::Sqlite => {
            let options = AnyPoolOptions::new()
                .max_connections(size)
                .acquire_timeout(PATIENCE);
            options
                .test_before_acquire(false)
                .after_connect(move |connection, _| {
                    Box::pin(async move {
                        connection.execute(sqlx::raw_sql(SQLITE)).await?;
                        connection.execute(sqlx::raw_sql(own)).await?;
                        Ok(())
                    })
                })
        }
        Dialect::Postgres => postgres_options(size, time),
    }
}

/// Connections to a server, whose statements may take `time`.
pub(super) fn postgres_options(size: u32, time: Option<Duration>) -> AnyPoolOptions {
    let options = AnyPoolOptions::new()
        .max_connections(size)
        .acquire_timeout(PATIENCE)
        // sqlx 0.9.0 may give back a connection with an open transaction after a dropped `begin`, and
        // later writes on it would be acknowledged and lost: roll back whatever is open on release. The server's log has a
        // warning for each rollback of nothing, so there is always something; where `begin` is an error, as what is open has failed,
        // the connection is closed.
        .after_release(|connection, _| {
            Box::pin(async move {
                connection.execute(sqlx::raw_sql("begin; rollback")).await?;
                Ok(true)
            })
        });
    let Some(time) = time else { return options };
    options.after_connect(move |connection, _| {
        Box::pin(async move {
            let text = format!("set statement_timeout = {}", time.as_millis());
            connection
                .execute(sqlx::raw_sql(AssertSqlSafe(text)))
                .await?;
            Ok(())
        })
    })
}

/// A migration's text for SQLite and for PostgreSQL.
macro_rules! texts {
    ($file:literal) => {
        (
            include_str!(concat!("../../migrations/sqlite/", $file)),
            include_str!(concat!("../../migrations/postgres/", $file)),
        )
    };
}

/// Version, name, texts. What was published once is never edited.
const MIGRATIONS: [(i64, &str, (&str, &str)); 18] = [
    (1, "base", texts!("0001_base.sql")),
    (2, "bases", texts!("0002_bases.sql")),
    (3, "landing", texts!("0003_landing.sql")),
    (4, "ranks", texts!("0004_ranks.sql")),
    (5, "ops", texts!("0005_ops.sql")),
    (6, "letters", texts!("0006_letters.sql")),
    (7, "people", texts!("0007_people.sql")),
    (8, "sending", texts!("0008_sending.sql")),
    (9, "bounces", texts!("0009_bounces.sql")),
    (10, "policy", texts!("0010_policy.sql")),
    (11, "sign_in", texts!("0011_sign_in.sql")),
    (12, "echo", texts!("0012_echo.sql")),
    (13, "rehearsal", texts!("0013_rehearsal.sql")),
    (14, "holding", texts!("0014_holding.sql")),
    (15, "trouble", texts!("0015_trouble.sql")),
    (16, "reports", texts!("0016_reports.sql")),
    (17, "patch_state", texts!("0017_patch_state.sql")),
    (18, "receipt_indexes", texts!("0018_receipt_indexes.sql")),
];

fn migrations(dialect: Dialect) -> Migrator {
    let all = MIGRATIONS.into_iter().map(|(version, name, texts)| {
        let text = match dialect {
            Dialect::Sqlite => texts.0,
            Dialect::Postgres => texts.1,
        };
        Migration::new(
            version,
            name.into(),
            MigrationType::Simple,
            text.into_sql_str(),
            false,
        )
    });
    Migrator::with_migrations(all.collect())
}

async fn migrate(
    pool: &AnyPool,
    dialect: Dialect,
    lock: Option<Arc<File>>,
) -> Result<(), StoreError> {
    if let Some(lock) = lock.clone() {
        let taken = tokio::task::spawn_blocking(move || lock.lock()).await;
        if !matches!(taken, Ok(Ok(()))) {
            return Err(StoreError::Unusable(
                "cannot take the write lock file".to_owned(),
            ));
        }
    }
    let result = migrations(dialect).run(pool).await;
    if let Some(lock) = lock {
        lock.unlock().map_err(|e| {
            StoreError::Unusable(format!("cannot release the write lock file: {e}"))
        })?;
    }
    result.map_err(|error| match error {
        MigrateError::VersionMissing(version) => StoreError::Newer(version),
        MigrateError::Execute(error) if is_damage(&error) => {
            StoreError::Damaged(format!("the database is damaged: {error}; {DAMAGED}"))
        }
        other => StoreError::Unusable(format!("cannot upgrade the database: {other}")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_lost_database_is_no_new_site() {
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path();
        assert!(!Store::is_file_in(data));
        // A start that broke off before there was a database is none that lost it.
        std::fs::write(data.join("serve.lock"), "").expect("written");
        std::fs::write(data.join("write.lock"), "").expect("written");
        std::fs::write(data.join("patchpost.db"), "").expect("written");
        std::fs::create_dir_all(data.join("dkim/lists.example.org")).expect("made");
        std::fs::create_dir(data.join("repos")).expect("made");
        let open = async || Store::open(data, &Location::File).await;
        drop(open().await.expect("a first start"));
        drop(open().await.expect("another"));
        let refused = async |what: &str| {
            assert!(Store::is_file_in(data));
            let Err(StoreError::Damaged(text)) = open().await else {
                panic!("it was opened");
            };
            assert!(
                text.contains(&format!("patchpost.db {what}, and")),
                "{text}"
            );
            assert!(text.contains("`patchpost restore BACKUP"), "{text}");
        };
        for name in ["patchpost.db", "patchpost.db-wal", "patchpost.db-shm"] {
            let _absent = std::fs::remove_file(data.join(name));
        }
        refused("is gone").await;
        assert!(!data.join("patchpost.db").exists(), "refusing makes none");
        std::fs::write(data.join("patchpost.db"), "").expect("written");
        refused("is empty").await;
        // Repositories, as epochs of mail are, tell it too.
        std::fs::remove_file(data.join("write.lock")).expect("removed");
        std::fs::create_dir(data.join("repos/dev.0.git")).expect("made");
        refused("is empty").await;
        std::fs::remove_dir(data.join("repos/dev.0.git")).expect("removed");
        open().await.expect("what was left is away");
    }

    #[test]
    fn a_lock_that_does_not_open_is_told_with_what_mends_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("serve.lock");
        std::fs::write(&path, "").expect("written");
        let denied = ErrorKind::PermissionDenied;
        assert!(lock_mend(&path, denied).contains("the user that runs the server"));
        assert!(lock_mend(&path, ErrorKind::ReadOnlyFilesystem).contains("has to be writable"));
        // Root alone may give it away.
        if std::os::unix::fs::chown(&path, Some(1), None).is_ok() {
            assert!(lock_mend(&path, denied).contains("as root: chown --reference='/"));
        }
    }

    #[test]
    fn whoever_looks_whether_a_server_runs_leaves_no_file() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(is_served(folder.path()), Served::Never);
        assert!(
            std::fs::read_dir(folder.path())
                .expect("it")
                .next()
                .is_none()
        );
        let held = Store::lock_for_serving(folder.path()).expect("the folder");
        assert_eq!(is_served(folder.path()), Served::Now);
        drop(held);
        assert_eq!(is_served(folder.path()), Served::Before);
        Store::lock_for_serving(folder.path()).expect("looking keeps nobody out");
    }
}
