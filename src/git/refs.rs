//! Refs that are set together or not at all, on disk when that is done.

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::Duration;

use gix::ObjectId;
use gix::lock::acquire::Fail;
use gix::refs::file::Store;
use gix::refs::store::WriteReflog;
use gix::refs::transaction::{Change, LogChange, PreviousValue, RefEdit};
use gix::refs::{FullName, Target};

use super::GitError;

/// Another process holds a ref's lock for as long as it writes one small file.
const PATIENCE: Duration = Duration::from_secs(10);

/// A ref that is to point to a commit.
#[derive(Debug, Clone)]
pub(super) struct Wish<'a> {
    pub name: &'a str,
    pub to: ObjectId,
    pub from: From,
}

/// What a ref may point to before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum From {
    /// Anything.
    Anything,
    /// Nothing, this commit, or already the new one.
    Only(Option<ObjectId>),
}

/// Sets refs of the repository whose git folder is `repo`: all of them, or none if one may not move.
pub(super) fn set(repo: &Path, wishes: &[Wish<'_>]) -> Result<(), GitError> {
    if wishes.is_empty() {
        return Ok(());
    }
    let failed = |message: String| failed(repo, message);
    let store = store(repo);
    let edits = edits(repo, &store, wishes)?;
    let patience = Fail::AfterDurationWithBackoff(PATIENCE);
    let prepared = store.transaction().prepare(edits, patience, patience);
    let prepared = prepared.map_err(|e| failed(e.to_string()))?;
    prepared.commit(None).map_err(|e| failed(e.to_string()))?;
    for wish in wishes {
        flush(repo, wish.name).map_err(|source| GitError::Start {
            repo: repo.to_owned(),
            source,
        })?;
    }
    Ok(())
}

/// Whether [`set`] would set them, as far as that can be seen; changes nothing.
pub(super) fn check(repo: &Path, wishes: &[Wish<'_>]) -> Result<(), GitError> {
    edits(repo, &store(repo), wishes).map(drop)
}

fn store(repo: &Path) -> Store {
    let mut store = Store::at(repo.to_owned(), gix::hash::Kind::Sha1);
    store.write_reflog = WriteReflog::Disable;
    store
}

fn failed(repo: &Path, message: String) -> GitError {
    GitError::Failed {
        command: "update-ref".to_owned(),
        repo: repo.to_owned(),
        message,
    }
}

fn edits(repo: &Path, store: &Store, wishes: &[Wish<'_>]) -> Result<Vec<RefEdit>, GitError> {
    let failed = |message: String| failed(repo, message);
    let mut edits = Vec::new();
    for wish in wishes {
        let name = FullName::try_from(wish.name);
        let name =
            name.map_err(|e| GitError::Refused(format!("{} is no name of a ref: {e}", wish.name)))?;
        let found = store
            .try_find(wish.name)
            .map_err(|e| failed(e.to_string()))?;
        let now = found.map(|r| r.target);
        let new = Target::Object(wish.to);
        if let (From::Only(from), Some(now)) = (wish.from, &now)
            && *now != new
            && from.map(Target::Object).as_ref() != Some(now)
        {
            return Err(GitError::Published(wish.name.to_owned()));
        }
        if holds_files(&repo.join(wish.name)) {
            // Found now, before anything moves: it would fail after the refs before it were set.
            let name = wish.name;
            return Err(failed(format!(
                "refs stand below {name}: delete them, as one ref cannot lie in another"
            )));
        }
        let expected = match now {
            Some(now) => PreviousValue::MustExistAndMatch(now),
            None => PreviousValue::MustNotExist,
        };
        edits.push(RefEdit {
            change: Change::Update {
                log: LogChange::default(),
                expected,
                new,
            },
            name,
            deref: false,
        });
    }
    Ok(edits)
}

/// Whether there is a folder with any file in it; empty ones give way to a ref.
fn holds_files(path: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(path) else {
        return false;
    };
    entries.flatten().any(|entry| {
        let is_folder = entry.file_type().is_ok_and(|t| t.is_dir());
        !is_folder || holds_files(&entry.path())
    })
}

/// Flushes a ref's file and the folders that it is in.
fn flush(repo: &Path, name: &str) -> io::Result<()> {
    let path = repo.join(name);
    for path in path.ancestors().take_while(|p| *p != repo) {
        match File::open(path) {
            Ok(file) => file.sync_all()?,
            // Somebody packed the refs just now, and flushed them.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
