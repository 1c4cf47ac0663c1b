//! Which commit of a branch holds given blobs at given paths: an index over its first-parent line, so that the answer costs a
//! few look-ups however long the history is.
//!
//! Built once per branch from tree differences, extended when the branch moves forward, and bounded: commits and changes beyond
//! the limits are left out at the old end.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;

use gix::ObjectId;
use gix::object::tree::diff::Change;

use super::GitError;

/// Commits of the first-parent line that are looked through.
const MAX_COMMITS: usize = 20_000;
/// Changes of paths that are kept: 32 bytes each.
const MAX_CHANGES: usize = 1_500_000;

/// A path's blob changed in a commit. Ids are cut to 8 bytes: what is found is checked against the commit itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Changed {
    path: u64,
    /// The commit's place on the line; newer ones are higher.
    place: i64,
    before: u64,
    after: u64,
}

/// The newest part of a branch's first-parent line.
#[derive(Debug)]
pub(super) struct History {
    /// Commits, oldest first; the first one is at place `first`.
    commits: Vec<ObjectId>,
    first: i64,
    /// By path, then place.
    changes: Vec<Changed>,
}

/// A path and the beginning of the id that its blob should have.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    path: u64,
    id: u64,
    mask: u64,
}

impl Wanted {
    /// Takes the path and the abbreviated id of an `index` line; `None` if that is no hexadecimal number.
    pub(super) fn new(path: &str, id: &str) -> Option<Wanted> {
        let digits = id.get(..id.len().min(16)).filter(|d| !d.is_empty())?;
        let shift = 64 - 4 * digits.len() as u32;
        let id = u64::from_str_radix(digits, 16).ok()? << shift;
        Some(Wanted {
            path: key(path.as_bytes()),
            id,
            mask: u64::MAX << shift,
        })
    }

    fn fits(&self, id: u64) -> bool {
        id & self.mask == self.id
    }
}

fn key(path: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    path.hash(&mut hasher);
    hasher.finish()
}

fn short(id: &gix::oid) -> u64 {
    let bytes = id.as_bytes().first_chunk::<8>();
    bytes.map_or(0, |b| u64::from_be_bytes(*b))
}

impl History {
    /// Reads the line that ends in `tip`; what `known` has of it is not read again.
    pub(super) fn read(
        repo: &gix::Repository,
        tip: ObjectId,
        known: Option<&History>,
    ) -> Result<History, GitError> {
        let broken = |error: &dyn std::fmt::Display| {
            GitError::Refused(format!(
                "the history of {} cannot be read: {error}",
                place_of(repo)
            ))
        };
        let last_known = known.and_then(|k| k.commits.last().copied());
        let mut line = Vec::new();
        let mut changes = Vec::new();
        let mut next = Some(tip);
        let mut joined = false;
        while let Some(id) = next {
            if Some(id) == last_known {
                joined = true;
                break;
            }
            if line.len() == MAX_COMMITS || changes.len() > MAX_CHANGES {
                break;
            }
            // The clone may be shallow: its line ends where the objects do.
            let Ok(commit) = repo.find_commit(id) else {
                break;
            };
            let tree = commit.tree().map_err(|e| broken(&e))?;
            next = commit.parent_ids().next().map(gix::Id::detach);
            let parent = next.and_then(|p| repo.find_commit(p).ok());
            let before = match parent {
                Some(parent) => parent.tree().map_err(|e| broken(&e))?,
                None => repo.empty_tree(),
            };
            let place = -(line.len() as i64);
            differences(&before, &tree, place, &mut changes).map_err(|e| broken(&e))?;
            line.push(id);
        }
        line.reverse();
        let mut history = History {
            first: 1 - line.len() as i64,
            commits: line,
            changes,
        };
        if let Some(known) = known.filter(|_| joined) {
            history.put_behind(known);
        }
        history.cut();
        history.changes.sort_unstable();
        Ok(history)
    }

    /// Appends this newer piece to an older one.
    fn put_behind(&mut self, known: &History) {
        let moved = known.first + known.commits.len() as i64 - self.first;
        self.changes.iter_mut().for_each(|c| c.place += moved);
        self.changes.extend(&known.changes);
        self.commits.splice(0..0, known.commits.iter().copied());
        self.first = known.first;
    }

    fn cut(&mut self) {
        let surplus = self.commits.len().saturating_sub(MAX_COMMITS);
        self.commits.drain(..surplus);
        self.first += surplus as i64;
        let first = self.first;
        self.changes.retain(|c| c.place >= first);
    }

    /// The branch's commit that this is the history of.
    pub(super) fn tip(&self) -> Option<ObjectId> {
        self.commits.last().copied()
    }

    /// The newest commit where all of these fit. With each comes its id at the tip, which counts if it never changed on the line.
    pub(super) fn newest(&self, wanted: &[(Wanted, Option<ObjectId>)]) -> Option<ObjectId> {
        let mut place = self.first + self.commits.len() as i64 - 1;
        // Every path lowers the place to where it fits; who lowers it makes all others look again.
        loop {
            let start = place;
            for (wanted, at_tip) in wanted {
                place = self.last_fit(wanted, *at_tip, place)?;
            }
            if place == start {
                break;
            }
        }
        let at = usize::try_from(place - self.first).ok()?;
        self.commits.get(at).copied()
    }

    /// The last place, not after `place`, where the path has the id.
    fn last_fit(&self, wanted: &Wanted, at_tip: Option<ObjectId>, place: i64) -> Option<i64> {
        let begin = self.changes.partition_point(|c| c.path < wanted.path);
        let end = self.changes.partition_point(|c| c.path <= wanted.path);
        let changes = &self.changes[begin..end];
        if changes.is_empty() {
            let id = at_tip.map_or(0, |id| short(&id));
            return wanted.fits(id).then_some(place);
        }
        let mut upto = place;
        for change in changes.iter().rev() {
            if change.place <= upto {
                if wanted.fits(change.after) {
                    return Some(upto);
                }
                upto = change.place - 1;
            }
        }
        // Before its first change the path was as that change found it.
        let before = wanted.fits(changes[0].before) && upto >= self.first;
        before.then_some(upto)
    }
}

fn place_of(repo: &gix::Repository) -> String {
    repo.git_dir().display().to_string()
}

fn differences(
    before: &gix::Tree<'_>,
    after: &gix::Tree<'_>,
    place: i64,
    changes: &mut Vec<Changed>,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let mut platform = before.changes()?;
    platform.options(|options| {
        options.track_path().track_rewrites(None);
    });
    platform.for_each_to_obtain_tree(after, |change| {
        let (location, before, after) = match change {
            Change::Addition {
                location,
                entry_mode,
                id,
                ..
            } if !entry_mode.is_tree() => (location, 0, short(&id)),
            Change::Deletion {
                location,
                entry_mode,
                id,
                ..
            } if !entry_mode.is_tree() => (location, short(&id), 0),
            Change::Modification {
                location,
                entry_mode,
                previous_id,
                id,
                ..
            } if !entry_mode.is_tree() => (location, short(&previous_id), short(&id)),
            _ => return Ok(std::ops::ControlFlow::Continue(())),
        };
        changes.push(Changed {
            path: key(location),
            place,
            before,
            after,
        });
        Ok(std::ops::ControlFlow::Continue(()))
    })?;
    Ok(())
}

/// Opens a repository without any settings but its own.
pub(super) fn open(dir: &Path) -> Result<gix::Repository, GitError> {
    let options = gix::open::Options::isolated();
    let mut repo = gix::open_opts(dir, options).map_err(|error| {
        GitError::Refused(format!("{} cannot be opened: {error}", dir.display()))
    })?;
    // Neighbouring commits share most of their trees.
    repo.object_cache_size(8 << 20);
    Ok(repo)
}

/// Histories by clone and branch; the least used goes when there are too many.
#[derive(Debug, Default)]
pub(super) struct Histories {
    known: HashMap<(String, String), (u64, std::sync::Arc<History>)>,
    uses: u64,
}

/// Histories that are kept: at most 48 MB each.
const MAX_HISTORIES: usize = 4;

impl Histories {
    pub(super) fn find(&mut self, name: &str, branch: &str) -> Option<std::sync::Arc<History>> {
        self.uses += 1;
        let found = self.known.get_mut(&(name.to_owned(), branch.to_owned()))?;
        found.0 = self.uses;
        Some(std::sync::Arc::clone(&found.1))
    }

    pub(super) fn insert(&mut self, name: &str, branch: &str, history: std::sync::Arc<History>) {
        self.uses += 1;
        self.known
            .insert((name.to_owned(), branch.to_owned()), (self.uses, history));
        if self.known.len() > MAX_HISTORIES
            && let Some(oldest) = self
                .known
                .iter()
                .min_by_key(|(_, (used, _))| *used)
                .map(|(k, _)| k.clone())
        {
            self.known.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u8) -> ObjectId {
        ObjectId::from_bytes_or_panic(&[n; 20])
    }

    fn blob(n: u8) -> u64 {
        if n == 0 { 0 } else { short(&id(n)) }
    }

    /// Commits 1 to 5; of each change: path, commit, blob before and after (0: not there).
    fn history(changes: &[(&str, i64, u8, u8)]) -> History {
        let mut changes: Vec<Changed> = changes
            .iter()
            .map(|(path, place, before, after)| Changed {
                path: key(path.as_bytes()),
                place: *place,
                before: blob(*before),
                after: blob(*after),
            })
            .collect();
        changes.sort_unstable();
        History {
            commits: (1..=5).map(id).collect(),
            first: 1,
            changes,
        }
    }

    #[track_caller]
    fn check(history: &History, wanted: &[(&str, &str)], expected: Option<u8>) {
        let wanted: Vec<_> = wanted
            .iter()
            .map(|(path, blob)| (Wanted::new(path, blob).expect("an id"), Some(id(0xee))))
            .collect();
        assert_eq!(history.newest(&wanted), expected.map(id));
    }

    #[test]
    fn the_newest_commit_that_has_all_blobs_is_found() {
        let history = history(&[
            ("a", 2, 0xaa, 0xab),
            ("a", 4, 0xab, 0xac),
            ("b", 3, 0, 0xba),
            ("c", 5, 0xca, 0),
        ]);
        check(&history, &[("a", "acac")], Some(5));
        check(&history, &[("a", "abab")], Some(3));
        check(&history, &[("a", "aaaa")], Some(1));
        check(&history, &[("a", "dddd")], None);
        check(&history, &[("a", "abab"), ("b", "baba")], Some(3));
        check(&history, &[("a", "abab"), ("b", "0000")], Some(2));
        check(&history, &[("a", "acac"), ("c", "caca")], Some(4));
        check(&history, &[("a", "aaaa"), ("b", "baba")], None);
        check(&history, &[("same", "eeee")], Some(5));
        check(
            &history,
            &[("same", "eeee"), ("c", "caca"), ("a", "ab")],
            Some(3),
        );
    }

    #[test]
    fn ids_that_are_none_are_refused() {
        assert!(Wanted::new("a", "").is_none());
        assert!(Wanted::new("a", "xyz").is_none());
        assert!(Wanted::new("a", "é").is_none());
        assert!(Wanted::new("a", &"0".repeat(40)).is_some());
    }
}
