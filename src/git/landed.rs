//! The commits that came into branches: when they moved, of late, and those that left.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use super::{GitError, Repos, run};
use crate::diff::patch_id::{PatchId, patch_id};
use crate::patchset::{Arrival, Landings};

/// Commits of one move that are looked at, the newest.
const MAX_ARRIVALS: usize = 5_000;
/// Commits of a branch, the newest, among which a series that comes late is looked for.
const RECENT: usize = 1_000;
/// Commits whose diffs are read at a time.
const BATCH: usize = 100;

/// The newest commits of branches, read once and brought up to date when a branch moves: by repository and branch.
pub(super) type RecentCommits = Arc<Mutex<HashMap<(String, String), Recent>>>;

#[derive(Debug, Clone)]
pub(super) struct Recent {
    tip: String,
    landings: Arc<Landings>,
}

impl Repos {
    /// The commits that are in `new` and in none of `old`, oldest first, without merges; also after the branch was rewritten.
    pub fn arrivals(
        &self,
        name: &str,
        old: &[String],
        new: &str,
    ) -> Result<Vec<Arrival>, GitError> {
        self.commits(name, old, new, MAX_ARRIVALS)
    }

    /// The commits that were in `old` and are not in `new`: none, unless the branch was rewritten.
    pub fn departures(&self, name: &str, old: &str, new: &str) -> Result<Vec<String>, GitError> {
        let range = format!("{new}..{old}");
        let arguments = ["rev-list", "--no-merges", &range, "--"];
        let out = run::run(&self.clone_dir(name), &arguments, None)?;
        let out = String::from_utf8_lossy(&out);
        Ok(out.lines().map(str::to_owned).collect())
    }

    /// By whom these commits were committed: the addresses as they stand there, by commit.
    pub fn committers(
        &self,
        name: &str,
        commits: &[String],
    ) -> Result<HashMap<String, String>, GitError> {
        let mut all = HashMap::new();
        for chunk in commits.chunks(BATCH) {
            let mut arguments = vec!["show", "-s", "--format=%H %ce"];
            arguments.extend(chunk.iter().map(String::as_str));
            arguments.push("--");
            let out = run::run(&self.clone_dir(name), &arguments, None)?;
            let out = String::from_utf8_lossy(&out);
            let lines = out.lines().filter_map(|line| line.split_once(' '));
            all.extend(lines.map(|(c, who)| (c.to_owned(), who.to_owned())));
        }
        Ok(all)
    }

    /// The newest commits of a branch that ends in `tip`, without those that are in `main`, if that is another branch.
    ///
    /// Costs a look into a table, but for the first time and after the branch moved.
    pub fn recent(
        &self,
        name: &str,
        branch: &str,
        tip: &str,
        main: Option<&str>,
    ) -> Result<Arc<Landings>, GitError> {
        let key = (name.to_owned(), branch.to_owned());
        let lock = || self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let known = lock().get(&key).cloned();
        let main: Vec<String> = main.map(str::to_owned).into_iter().collect();
        let landings = match known {
            Some(known) if known.tip == tip => return Ok(known.landings),
            Some(known)
                if known.landings.len() < 4 * RECENT
                    && self.departures(name, &known.tip, tip)?.is_empty() =>
            {
                let mut landings = Landings::clone(&known.landings);
                let not = [main, vec![known.tip]].concat();
                let new = self.commits(name, &not, tip, RECENT)?;
                new.iter().for_each(|c| landings.add(c));
                landings
            }
            _ => Landings::new(&self.commits(name, &main, tip, RECENT)?),
        };
        let landings = Arc::new(landings);
        let recent = Recent {
            tip: tip.to_owned(),
            landings: Arc::clone(&landings),
        };
        lock().insert(key, recent);
        Ok(landings)
    }

    /// The newest commits in `tip` and in none of `not`, oldest first, without merges.
    fn commits(
        &self,
        name: &str,
        not: &[String],
        tip: &str,
        most: usize,
    ) -> Result<Vec<Arrival>, GitError> {
        let count = format!("--max-count={most}");
        let log = [
            "log",
            "--no-merges",
            "--reverse",
            "-z",
            "--format=%H%n%ct%n%B",
        ];
        let mut arguments: Vec<String> = log.iter().map(|a| (*a).to_owned()).collect();
        arguments.extend([count, tip.to_owned()]);
        arguments.extend(not.iter().map(|n| format!("^{n}")));
        arguments.push("--".to_owned());
        let out = run::run(&self.clone_dir(name), &arguments, None)?;
        let read = |record: &[u8]| {
            let text = String::from_utf8_lossy(record);
            let (commit, rest) = text.split_once('\n')?;
            let (committed, message) = rest.split_once('\n')?;
            Some(Arrival {
                commit: commit.to_owned(),
                committed: committed.parse().ok()?,
                message: message.to_owned(),
                patch_id: None,
            })
        };
        let mut arrivals: Vec<Arrival> = out.split(|b| *b == 0).filter_map(read).collect();
        for batch in arrivals.chunks_mut(BATCH) {
            let commits: Vec<(&str, &str)> = batch.iter().map(|c| (&*c.commit, "")).collect();
            let ids = patch_ids(&self.clone_dir(name), &commits)?;
            for arrival in batch {
                arrival.patch_id = ids.get(&arrival.commit).copied();
            }
        }
        Ok(arrivals)
    }

    /// What lies between the ends of series that were applied, by their last commits. With `private`, in the companion of that
    /// realm.
    pub fn changes(
        &self,
        name: &str,
        private: Option<i64>,
        series: &[Ends],
    ) -> Result<HashMap<String, PatchId>, GitError> {
        let dir = match private {
            None => self.companion_dir(name),
            Some(realm) => self.private_dir(name, realm),
        };
        let mut all = HashMap::new();
        for batch in series.chunks(BATCH) {
            let commits: Vec<(&str, &str)> = batch
                .iter()
                .map(|(base, head)| (&**head, &**base))
                .collect();
            all.extend(patch_ids(&dir, &commits)?);
        }
        Ok(all)
    }
}

/// The commit on which a series was applied, and its last.
pub type Ends = (String, String);

/// What commits change, each against the one beside it, or, if that is empty, against its own parent.
fn patch_ids(dir: &Path, commits: &[(&str, &str)]) -> Result<HashMap<String, PatchId>, GitError> {
    let line =
        |(commit, parent): &(&str, &str)| format!("{commit} {parent}").trim_end().to_owned() + "\n";
    let input: String = commits.iter().map(line).collect();
    // Binary files as a mail has them: `git patch-id` counts their full blob ids.
    let arguments = [
        "diff-tree",
        "--stdin",
        "--root",
        "-p",
        "-M",
        "--full-index",
        "--binary",
    ];
    let out = run::run(dir, &arguments, Some(input.as_bytes()))?;
    let mut ids = HashMap::new();
    let mut from = None;
    let mut at = 0;
    let mut keep = |from: Option<(&str, usize)>, end: usize| {
        if let Some((commit, start)) = from
            && let Some(id) = patch_id(&out[start..end])
        {
            ids.insert(commit.to_owned(), id);
        }
    };
    for line in out.split_inclusive(|b| *b == b'\n') {
        // Each patch stands below its commit's id; commits without a diff may be left out.
        let id = line.strip_suffix(b"\n").filter(|l| l.len() == 40);
        if let Some((commit, _)) = id.and_then(|id| commits.iter().find(|c| c.0.as_bytes() == id)) {
            keep(from, at);
            from = Some((*commit, at + line.len()));
        }
        at += line.len();
    }
    keep(from, out.len());
    Ok(ids)
}
