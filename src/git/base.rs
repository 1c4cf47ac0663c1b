//! On which commit a series is applied.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError};

use gix::ObjectId;

use super::history::{self, History, Wanted};
use super::{GitError, Repos};
use crate::patchset::depend::{NAMED_COMMIT, UNKNOWN_COMMIT};

/// A commit and why it was chosen, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base {
    /// Full id.
    pub commit: String,
    /// `the base-commit that the series names`, `the tip of main, where the index blobs match` …
    pub why: String,
}

/// Paths that count: a series that touches more is told by these.
const MAX_PATHS: usize = 200;

impl Repos {
    /// The commit to apply on: the one named, else the newest of the branch whose files are those the diffs were made from.
    ///
    /// `blobs` are (path, abbreviated pre-image id) of the series' diffs, first change of each path only. `None` if the branch
    /// has no commit yet.
    pub fn find_base(
        &self,
        name: &str,
        branch: &str,
        named: Option<&str>,
        blobs: &[(String, String)],
    ) -> Result<Option<Base>, GitError> {
        let Some(tip) = self.tip(name, branch)? else {
            return Ok(None);
        };
        let because = |commit: String, why: String| Ok(Some(Base { commit, why }));
        let unknown = match named {
            None => String::new(),
            Some(named) => match self.find_commit(name, named)? {
                Some(commit) => {
                    return because(commit, NAMED_COMMIT.to_owned());
                }
                None => format!(" ({UNKNOWN_COMMIT})"),
            },
        };
        let wanted: BTreeMap<&str, &str> = blobs
            .iter()
            .take(MAX_PATHS)
            .map(|(p, b)| (p.as_str(), b.as_str()))
            .collect();
        if wanted.is_empty() {
            return because(tip, format!("the tip of {branch}{unknown}"));
        }
        let repo = history::open(&self.clone_dir(name))?;
        let at_tip = blobs_at(&repo, &tip, wanted.keys().copied())?;
        if fits(&at_tip, &wanted) {
            return because(
                tip,
                format!("the tip of {branch}, where the index blobs match{unknown}"),
            );
        }
        if let Some(commit) = self.search(&repo, name, branch, &tip, &at_tip, &wanted)? {
            return because(
                commit,
                format!("the newest commit of {branch} where the index blobs match{unknown}"),
            );
        }
        because(
            tip,
            format!("the tip of {branch}, as no commit has these index blobs{unknown}"),
        )
    }

    /// The newest commit of the branch where the blobs are; what the index says is checked in the commit itself.
    fn search(
        &self,
        repo: &gix::Repository,
        name: &str,
        branch: &str,
        tip: &str,
        at_tip: &HashMap<String, ObjectId>,
        wanted: &BTreeMap<&str, &str>,
    ) -> Result<Option<String>, GitError> {
        let pairs: Option<Vec<_>> = wanted
            .iter()
            .map(|(path, id)| Some((Wanted::new(path, id)?, at_tip.get(*path).copied())))
            .collect();
        let Some(pairs) = pairs else {
            return Ok(None);
        };
        let history = self.history(repo, name, branch, tip)?;
        let Some(commit) = history.newest(&pairs) else {
            return Ok(None);
        };
        let commit = commit.to_string();
        let there = blobs_at(repo, &commit, wanted.keys().copied())?;
        Ok(fits(&there, wanted).then_some(commit))
    }

    /// The branch's history, read or brought up to its tip if needed.
    fn history(
        &self,
        repo: &gix::Repository,
        name: &str,
        branch: &str,
        tip: &str,
    ) -> Result<Arc<History>, GitError> {
        let tip: ObjectId = tip
            .parse()
            .map_err(|_| GitError::Refused(format!("{tip} is no commit id")))?;
        // A map of finished values is sound whatever the thread that panicked was doing.
        let known = self
            .histories
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .find(name, branch);
        if let Some(known) = known.as_ref().filter(|k| k.tip() == Some(tip)) {
            return Ok(Arc::clone(known));
        }
        let history = Arc::new(History::read(repo, tip, known.as_deref())?);
        let mut histories = self
            .histories
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        histories.insert(name, branch, Arc::clone(&history));
        Ok(history)
    }

    /// Whether some commit of the branch has these files as the diffs were made from them, at least one; `blobs` as in
    /// [`Repos::find_base`].
    pub fn has_blobs(
        &self,
        name: &str,
        branch: &str,
        blobs: &[(String, String)],
    ) -> Result<bool, GitError> {
        let wanted: BTreeMap<&str, &str> = blobs
            .iter()
            .take(MAX_PATHS)
            .map(|(p, b)| (p.as_str(), b.as_str()))
            .collect();
        let Some(tip) = self.tip(name, branch)?.filter(|_| !wanted.is_empty()) else {
            return Ok(false);
        };
        let repo = history::open(&self.clone_dir(name))?;
        let at_tip = blobs_at(&repo, &tip, wanted.keys().copied())?;
        if fits(&at_tip, &wanted) {
            return Ok(true);
        }
        let found = self.search(&repo, name, branch, &tip, &at_tip, &wanted)?;
        Ok(found.is_some())
    }

    /// How many of these files would stand in a folder, below the uppermost, that the branch has.
    pub fn count_folders(
        &self,
        name: &str,
        branch: &str,
        files: &[String],
    ) -> Result<usize, GitError> {
        let Some(tip) = self.tip(name, branch)? else {
            return Ok(0);
        };
        let repo = history::open(&self.clone_dir(name))?;
        let folders = files.iter().take(MAX_PATHS);
        let folders = folders.filter_map(|f| f.rsplit_once('/').map(|(folder, _)| folder));
        count_trees(&repo, &tip, folders)
    }

    /// How many of these paths the branch has: what tells for which repository a series is.
    pub fn count_paths(
        &self,
        name: &str,
        branch: &str,
        paths: &[String],
    ) -> Result<usize, GitError> {
        let Some(tip) = self.tip(name, branch)? else {
            return Ok(0);
        };
        let repo = history::open(&self.clone_dir(name))?;
        Ok(blobs_at(
            &repo,
            &tip,
            paths.iter().take(MAX_PATHS).map(String::as_str),
        )?
        .len())
    }
}

fn fits(have: &HashMap<String, ObjectId>, wanted: &BTreeMap<&str, &str>) -> bool {
    let mut wanted = wanted.iter();
    wanted.all(|(path, id)| {
        have.get(*path)
            .is_some_and(|h| h.to_string().starts_with(id))
    })
}

/// How many of these paths are folders in a commit.
fn count_trees<'a>(
    repo: &gix::Repository,
    commit: &str,
    paths: impl Iterator<Item = &'a str>,
) -> Result<usize, GitError> {
    let broken = |error: &dyn std::fmt::Display| {
        GitError::Refused(format!("commit {commit} cannot be read: {error}"))
    };
    let id: ObjectId = commit.parse().map_err(|_| broken(&"it is no commit id"))?;
    let tree = repo.find_commit(id).map_err(|e| broken(&e))?;
    let tree = tree.tree().map_err(|e| broken(&e))?;
    let mut count = 0;
    for path in paths.filter(|p| !p.is_empty()) {
        let entry = tree.lookup_entry(path.split('/')).map_err(|e| broken(&e))?;
        count += usize::from(entry.is_some_and(|e| e.mode().is_tree()));
    }
    Ok(count)
}

/// Blob ids of paths in a commit; those that are not there are left out.
fn blobs_at<'a>(
    repo: &gix::Repository,
    commit: &str,
    paths: impl Iterator<Item = &'a str>,
) -> Result<HashMap<String, ObjectId>, GitError> {
    let broken = |error: &dyn std::fmt::Display| {
        GitError::Refused(format!("commit {commit} cannot be read: {error}"))
    };
    let id: ObjectId = commit.parse().map_err(|_| broken(&"it is no commit id"))?;
    let tree = repo.find_commit(id).map_err(|e| broken(&e))?;
    let tree = tree.tree().map_err(|e| broken(&e))?;
    let mut found = HashMap::new();
    for path in paths.filter(|p| !p.is_empty()) {
        let entry = tree.lookup_entry(path.split('/')).map_err(|e| broken(&e))?;
        if let Some(entry) = entry.filter(|e| !e.mode().is_tree()) {
            found.insert(path.to_owned(), entry.object_id());
        }
    }
    Ok(found)
}
