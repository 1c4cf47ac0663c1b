//! Values ↔ SQL: the only module that speaks to a database. One file a noun.
//!
//! One text of SQL serves SQLite and PostgreSQL through `sqlx::Any`. Statements are written with `?` where their
//! length varies and with `$1` where it is fixed. All writes go through one task ([`writer`]): it gathers
//! what is queued into one commit and answers only when that commit is flushed.

mod accept;
mod access;
mod acks;
mod act;
mod application;
mod backup;
mod bounce;
mod branch;
mod connect;
mod copy;
mod correction;
mod delivery;
mod dependency;
mod echo;
mod event;
mod file;
mod fresh;
mod hold;
pub mod index;
pub mod job;
mod landed;
mod landing;
mod letter;
mod limited;
mod list;
mod mail;
mod me;
mod membership;
mod moment;
mod news;
mod notice;
mod oldest;
pub mod pages;
pub mod patch_pages;
mod person;
mod place;
mod pulse;
mod purge;
pub mod queue;
mod recall;
mod regroup;
mod rehearsal;
pub mod remark;
mod report;
mod scrub;
pub mod search;
mod series;
mod sight;
mod sign_in;
mod sql;
mod standing;
mod steer;
mod stored;
pub mod summary;
mod tally;
mod tend;
mod tip;
mod traces;
mod verify;
mod writer;

use std::path::PathBuf;
use std::sync::Arc;

use sqlx::AnyPool;

pub use accept::{Accepted, NewReceipt, Prepared};
pub use access::{AccessChange, AccessRow, Asking, BanRow};
pub use acks::{AckedPatch, AckedSeries};
pub use act::{Act, Acted, Asked, By, NewConfirmation, Once, Place, Tell};
pub use application::{NewApplication, Published, SeriesToApply, Tried};
pub use bounce::{BounceRow, GivenUp, NewBounce};
pub use connect::{DAMAGED, Location, Served, is_served};
pub use copy::{Copy, choose_copy};
pub use correction::{NewCorrection, StoredCorrection, VersionAnchor};
pub(crate) use delivery::CLAIM_SECS;
#[cfg(test)]
pub(crate) use delivery::tests as delivery_tests;
pub use delivery::{Delivery, Outcome, PostingToSend, Spared, Turn};
pub use dependency::{AppliedCommit, Needing};
pub use echo::{Echo, KEPT};
pub use event::EventRow;
pub use file::NewMail;
pub use hold::{Also, Fate, HeldRow, NewHeld};
pub use landed::{ACCEPTED, BranchOf, LandedAs, Pending};
pub use landing::SeriesToLand;
pub use letter::{CopyOnRequest, Letter, NewLetter, mark_of};
pub use list::{ListChange, ListRow, MemberRow, NewList, NewRepo, RepoRow};
pub(crate) use mail::Packer;
pub use mail::Receipt;
pub use me::{MembershipRow, OwnHeld, OwnMail, OwnNote, OwnNotice};
pub use oldest::signed;

pub use news::{LandedWhen, Noted};
pub use notice::{CappedLetter, Owed};
pub use pulse::Pulse;
pub use recall::{Aftermath, PostedMail, RecallWish, Recalled, Removal, Traces};
pub use rehearsal::{NewRehearsal, Rehearsal, Room};
pub use report::{ToReport, Told};
pub use series::{Closure, Done, KnownMail, NewPatchset, NewSeries, Recorded, Reread, ToReread};
pub use sight::{Eyes, ListLine, Shown};
pub use sign_in::{NewSignIn, SessionRow, SignInRow};
pub use sql::Dialect;
pub(crate) use sql::{Bind, marks};
pub use standing::{Due, StandingRow, state_word};
pub use steer::{WishedFor, Wishing};
pub use summary::state_name;
pub use tend::{ListNumbers, MemberFilter, MemberStanding};
pub use tip::{NewTip, TipRow};
pub use verify::{Unanswered, UnansweredCopy};
pub use writer::Tx;

use crate::types::Timestamp;

/// What can go wrong with the store; split by whether trying again helps.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database is busy, full or away: the same call may succeed later.
    #[error("the database does not take the request now")]
    Temporary(#[source] sqlx::Error),
    /// What was computed rests on data that has changed since: compute again.
    #[error("the archive changed while this was computed")]
    Stale,
    /// Too many reads of a costly kind run just now: the same call may succeed in some seconds.
    #[error("too many searches run just now")]
    Crowded,
    /// A read of a costly kind was broken off: ask for less.
    #[error("the search takes too long")]
    TooLong,
    /// A wish that cannot be met as put; the text is for the person who wished it.
    #[error("{0}")]
    Refused(String),
    /// The database does not open, or holds what cannot be read.
    #[error("{0}")]
    Unusable(String),
    /// A newer patchpost wrote the database: its tables have that version.
    #[error(
        "the database was written by a newer patchpost (its tables have version {0}); install that version"
    )]
    Newer(i64),
    /// The database's file is not as it was written; the text says what mends it.
    #[error("{0}")]
    Damaged(String),
}

impl StoreError {
    /// Whether the reason is outside of what was asked for, and passes: a full disk, a restart, a lock, others' writes. What the
    /// database says of the values themselves does not pass.
    pub fn passes(&self) -> bool {
        match self {
            StoreError::Stale | StoreError::Crowded | StoreError::TooLong => true,
            StoreError::Refused(_)
            | StoreError::Unusable(_)
            | StoreError::Newer(_)
            | StoreError::Damaged(_) => false,
            StoreError::Temporary(sqlx::Error::Database(error)) => {
                let code = error.code().unwrap_or_default();
                match code.parse::<u32>() {
                    // PostgreSQL has five characters: connection, rollback, resources, locks, operator, system.
                    _ if code.len() == 5 => {
                        ["08", "40", "53", "55", "57", "58"].contains(&&code[..2])
                    }
                    // SQLite has numbers, the kind in the low byte: busy, locked, no memory, read-only, input or output,
                    // full, cannot be opened.
                    Ok(number) => [5, 6, 7, 8, 10, 13, 14].contains(&(number & 0xff)),
                    Err(_) => false,
                }
            }
            StoreError::Temporary(_) => true,
        }
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        StoreError::Temporary(error)
    }
}

/// What is stored, for reading. Nothing can be written with it: pages get no more than this.
///
/// Mail and jobs read on connections of their own, pages on others ([`Store::for_pages`]), and what a stranger can make
/// costly on a few more, so that no number of readers keeps mail out.
#[derive(Clone)]
pub struct Reader {
    pub(crate) reader: AnyPool,
    limited: Arc<limited::Limited>,
    pub(crate) dialect: Dialect,
    data: Arc<PathBuf>,
    dictionaries: Arc<mail::Dictionaries>,
}

/// The one store: readers and one writer task on a SQLite file or a PostgreSQL database. It reads as a [`Reader`] does.
#[derive(Clone)]
pub struct Store {
    read: Reader,
    pages: AnyPool,
    writer: writer::Writer,
    /// The file that processes on one SQLite folder take turns by.
    lock: Option<Arc<std::fs::File>>,
    /// Rung when jobs were added here.
    pub jobs: Arc<job::Bells>,
    /// Woken when deliveries may be due.
    pub deliveries: Arc<tokio::sync::Notify>,
}

impl std::ops::Deref for Store {
    type Target = Reader;

    fn deref(&self) -> &Reader {
        &self.read
    }
}

impl Reader {
    /// Whether the database answers a read now.
    pub async fn check(&self) -> Result<(), StoreError> {
        let _row: Option<(i64,)> = self
            .fetch_one("select version from realm where id = $1", vec![1.into()])
            .await?;
        Ok(())
    }

    /// The folder that holds the database file, repositories and copies to send.
    pub fn data(&self) -> &std::path::Path {
        &self.data
    }

    /// Which database this is.
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Rows of a read, by a statement with `?` or `$n` in order of `binds`.
    pub(crate) async fn fetch<T>(
        &self,
        text: impl Into<sql::Text>,
        binds: Vec<Bind>,
    ) -> Result<Vec<T>, StoreError>
    where
        T: for<'r> sqlx::FromRow<'r, sqlx::any::AnyRow> + Send + Unpin,
    {
        let mut connection = self.reader.acquire().await?;
        sql::fetch(&mut connection, self.dialect, text.into(), binds).await
    }

    /// The first row of a read, if there is one.
    pub(crate) async fn fetch_one<T>(
        &self,
        text: impl Into<sql::Text>,
        binds: Vec<Bind>,
    ) -> Result<Option<T>, StoreError>
    where
        T: for<'r> sqlx::FromRow<'r, sqlx::any::AnyRow> + Send + Unpin,
    {
        Ok(self.fetch(text, binds).await?.into_iter().next())
    }

    /// A named value of the site, or `None`.
    pub async fn find_meta(&self, key: &str) -> Result<Option<String>, StoreError> {
        let row: Option<(String,)> = self
            .fetch_one("select value from meta where key = $1", vec![key.into()])
            .await?;
        Ok(row.map(|r| r.0))
    }
}

impl Store {
    /// What pages read with, on connections of their own: all that readers ask for waits for other readers only.
    pub fn for_pages(&self) -> Reader {
        Reader {
            reader: self.pages.clone(),
            ..self.read.clone()
        }
    }

    /// A write that panics: for tests of what is left of the writer then.
    #[doc(hidden)]
    pub async fn break_off(&self) -> Result<(), StoreError> {
        self.write(|_| Box::pin(async { panic!("a step broke off, as a test wished") }))
            .await
    }

    /// Runs `work` in a transaction of the writer task and returns when its commit is flushed.
    ///
    /// An error rolls back what `work` did and nothing else. The work goes on if the caller is dropped.
    pub async fn write<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'t> FnOnce(&'t mut Tx) -> futures_box::BoxFuture<'t, Result<T, StoreError>>
            + Send
            + 'static,
    {
        self.writer.run(work).await
    }

    /// Sets a named value of the site if it has none yet; returns the one that counts.
    pub async fn insert_meta(
        &self,
        key: &'static str,
        value: String,
    ) -> Result<String, StoreError> {
        let text = "insert into meta (key, value) values ($1, $2) on conflict (key) do nothing";
        self.write(move |tx| {
            Box::pin(async move { tx.execute(text, vec![key.into(), value.into()]).await })
        })
        .await?;
        self.find_meta(key)
            .await?
            .ok_or_else(|| StoreError::Unusable(format!("the value {key} vanished")))
    }
}

impl Reader {
    /// The time that leases count by: the database's where several machines may share it, else this machine's.
    pub async fn time(&self) -> Result<Timestamp, StoreError> {
        if self.dialect == Dialect::Sqlite {
            return Ok(now());
        }
        let text = "select cast(extract(epoch from clock_timestamp()) * 1000000 as bigint)";
        let row: Option<(i64,)> = self.fetch_one(text, vec![]).await?;
        Ok(row.map_or_else(now, |r| Timestamp(r.0)))
    }
}

/// The boxed future that [`Store::write`] takes.
pub mod futures_box {
    /// A future on the heap that may be sent to the writer task.
    pub type BoxFuture<'t, T> = std::pin::Pin<Box<dyn Future<Output = T> + Send + 't>>;
}

/// The present moment: read once at the edge, then passed on as a value.
pub fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    // A clock before 1970 counts as 1970; arrival order then rests on numbers.
    Timestamp(since.map_or(0, |d| i64::try_from(d.as_micros()).unwrap_or(i64::MAX)))
}
