//! Repositories in order: packs and loose refs stay few, and what killed processes left behind goes.
//!
//! Nothing here takes an object away: packs are joined as they are, whether or not a ref names what is in them.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::{GitError, Repos, run};

/// From so many packs on, one index over all of them: looking something up then costs the same as in one pack.
const INDEX_AT: usize = 50;
/// From so many on, the small ones are joined.
const JOIN_AT: usize = 100;
/// From so many loose refs on, they are packed into one file.
const LOOSE_REFS: usize = 500;
/// A file of an unfinished pack that is so old belongs to nobody any more.
const LEFT_BEHIND: Duration = Duration::from_hours(24);
/// Joining shares the machine with mail that comes in.
const MODEST: [&str; 4] = ["-c", "pack.threads=1", "-c", "pack.windowMemory=64m"];

/// A command of upkeep takes no longer: what it did not do is done another time.
const LIMIT: run::Limit = run::Limit {
    time: Duration::from_hours(1),
    what: "upkeep",
    late: "it was not put in order",
    mend: "; it is tried again",
};

/// What upkeep did to a folder; for the log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tidied {
    /// Packs before and after, if they were joined.
    pub joined: Option<(usize, usize)>,
    /// Loose refs that were packed.
    pub refs: usize,
    /// Left-over files that were removed.
    pub removed: usize,
}

/// A companion's lock, freed when dropped.
pub(super) struct Hold(
    #[expect(dead_code, reason = "the lock is free when the file is closed")] File,
);

/// Held from reading objects to setting refs: nothing is taken away meanwhile.
pub(super) fn share(repo: &Path) -> Result<Hold, GitError> {
    hold(repo, File::lock_shared)
}

/// Held while objects are taken away: nobody is about to name one of them.
pub(super) fn alone(repo: &Path) -> Result<Hold, GitError> {
    hold(repo, File::lock)
}

fn hold(repo: &Path, lock: impl Fn(&File) -> io::Result<()>) -> Result<Hold, GitError> {
    let open = || {
        let mut options = OpenOptions::new();
        let path = repo.join("patchpost.lock");
        let file = options
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        lock(&file)?;
        Ok(Hold(file))
    };
    open().map_err(|source| failed(repo, source))
}

fn failed(repo: &Path, source: io::Error) -> GitError {
    let repo = repo.to_owned();
    GitError::Start { repo, source }
}

impl Repos {
    /// Puts the clone of a repository and its companions in order. Safe at any time, beside fetches and applying.
    pub fn tidy(&self, name: &str) -> Result<Vec<(PathBuf, Tidied)>, GitError> {
        let companion = format!("{name}.patches.git");
        let private = format!("{name}.private-");
        let mut folders = vec![self.clone_dir(name)];
        folders.extend(self.companions(|n| n == companion || n.starts_with(&private))?);
        let mut done = Vec::new();
        for folder in folders {
            // Joining packs and taking objects away must not meet.
            let _held = share(&folder)?;
            let tidied = tidy(&folder)?;
            if tidied != Tidied::default() {
                done.push((folder, tidied));
            }
        }
        Ok(done)
    }
}

fn tidy(repo: &Path) -> Result<Tidied, GitError> {
    let mut tidied = Tidied {
        removed: remove_left_behind(repo, SystemTime::now()).map_err(|e| failed(repo, e))?,
        ..Tidied::default()
    };
    let packs = pack_sizes(repo).map_err(|e| failed(repo, e))?;
    if packs.len() >= INDEX_AT {
        bounded(repo, &["multi-pack-index", "write"])?;
    }
    if packs.len() >= JOIN_AT {
        // All packs but those that are as large as the rest together: each object is copied a few times only, however many
        // packs come.
        let largest = packs.iter().max().copied().unwrap_or(0);
        let rest = packs.iter().sum::<u64>() - largest;
        let size = format!("--batch-size={}", rest.max(1));
        let mut join = MODEST.to_vec();
        join.extend(["multi-pack-index", "repack", "--no-progress", &size]);
        bounded(repo, &join)?;
        bounded(repo, &["multi-pack-index", "expire", "--no-progress"])?;
        let after = pack_sizes(repo).map_err(|e| failed(repo, e))?;
        tidied.joined = Some((packs.len(), after.len()));
    }
    let loose = count_files(&repo.join("refs")).map_err(|e| failed(repo, e))?;
    if loose >= LOOSE_REFS {
        bounded(repo, &["pack-refs", "--all"])?;
        tidied.refs = loose;
    }
    Ok(tidied)
}

fn bounded(repo: &Path, arguments: &[&str]) -> Result<Vec<u8>, GitError> {
    run::within(run::git(repo).args(arguments), repo, LIMIT)
}

fn pack_sizes(repo: &Path) -> io::Result<Vec<u64>> {
    let mut sizes = Vec::new();
    for entry in entries(&repo.join("objects/pack"))? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "pack") {
            sizes.push(size(&path)?);
        }
    }
    Ok(sizes)
}

/// A pack that another process has joined with others just now has no size any more.
fn size(path: &Path) -> io::Result<u64> {
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        found => Ok(found?.len()),
    }
}

fn entries(folder: &Path) -> io::Result<Vec<io::Result<fs::DirEntry>>> {
    match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        found => Ok(found?.collect()),
    }
}

fn count_files(folder: &Path) -> io::Result<usize> {
    let mut count = 0;
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in entries(&folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            } else {
                count += 1;
            }
        }
    }
    Ok(count)
}

/// Unfinished packs and quarantines (`tmp_…`) of processes that were killed.
fn remove_left_behind(repo: &Path, now: SystemTime) -> io::Result<usize> {
    let mut removed = 0;
    for folder in [repo.join("objects"), repo.join("objects/pack")] {
        for entry in entries(&folder)? {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if !name.starts_with("tmp_") && !name.starts_with(".tmp-") {
                continue;
            }
            let Ok(data) = entry.metadata() else {
                // Its owner has finished it or taken it away meanwhile.
                continue;
            };
            let age = now.duration_since(data.modified()?).unwrap_or_default();
            if age < LEFT_BEHIND {
                continue;
            }
            let gone = if data.is_dir() {
                fs::remove_dir_all(entry.path())
            } else {
                fs::remove_file(entry.path())
            };
            removed += usize::from(gone.is_ok());
        }
    }
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn git(repo: &Path, arguments: &[&str], input: Option<&[u8]>) -> String {
        run::line(&run::run(repo, arguments, input).expect("git does it"))
    }

    #[test]
    fn many_packs_become_few_and_every_object_stays() {
        let dir = tempfile::tempdir().expect("a folder");
        let repo = dir.path();
        git(repo, &["init", "--quiet", "--bare", "."], None);
        let mut blobs = Vec::new();
        for i in 0..JOIN_AT {
            let text = format!("content {i}\n").repeat(1 + i % 7);
            let id = git(
                repo,
                &["hash-object", "-w", "--stdin"],
                Some(text.as_bytes()),
            );
            let pack = ["pack-objects", "-q", "objects/pack/pack"];
            git(repo, &pack, Some(format!("{id}\n").as_bytes()));
            git(repo, &["prune-packed", "-q"], None);
            blobs.push(id);
        }
        let tidied = tidy(repo).expect("it is tidied");
        let (before, after) = tidied.joined.expect("packs were joined");
        assert!(before >= JOIN_AT && after <= 3, "{before} → {after}");
        for id in &blobs {
            assert_eq!(git(repo, &["cat-file", "-t", id], None), "blob");
        }
        git(repo, &["fsck", "--strict"], None);
        assert_eq!(
            tidy(repo).expect("it is tidied"),
            Tidied::default(),
            "nothing is left to do"
        );
    }

    #[test]
    fn many_loose_refs_become_one_file() {
        let dir = tempfile::tempdir().expect("a folder");
        let repo = dir.path();
        git(repo, &["init", "--quiet", "--bare", "."], None);
        let id = git(repo, &["hash-object", "-w", "--stdin"], Some(b"x\n"));
        let order = |i| format!("create refs/patches/{i}/v1 {id}\n");
        let orders: String = (0..LOOSE_REFS).map(order).collect();
        git(repo, &["update-ref", "--stdin"], Some(orders.as_bytes()));
        assert_eq!(tidy(repo).expect("it is tidied").refs, LOOSE_REFS);
        assert_eq!(count_files(&repo.join("refs")).expect("done"), 0);
        let count = git(repo, &["for-each-ref", "--format=x"], None);
        assert_eq!(count.lines().count(), LOOSE_REFS);
    }

    #[test]
    fn only_old_leavings_go() {
        let dir = tempfile::tempdir().expect("a folder");
        let packs = dir.path().join("objects/pack");
        fs::create_dir_all(&packs).expect("done");
        fs::write(packs.join("tmp_pack_x"), "half").expect("done");
        fs::write(packs.join("pack-1.pack"), "whole").expect("done");
        fs::create_dir_all(dir.path().join("objects/tmp_objdir-in")).expect("done");
        let now = SystemTime::now();
        assert_eq!(remove_left_behind(dir.path(), now).expect("done"), 0);
        let later = now + 2 * LEFT_BEHIND;
        assert_eq!(remove_left_behind(dir.path(), later).expect("done"), 2);
        assert!(packs.join("pack-1.pack").exists());
    }
}
