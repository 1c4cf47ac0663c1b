//! The commits that came into a branch when it moved.

use std::collections::HashMap;

use super::{GitError, Repos, run};
use crate::diff::patch_id::{PatchId, patch_id};
use crate::patchset::Arrival;

/// Commits of one move that are looked at, the newest.
const MAX_ARRIVALS: &str = "--max-count=5000";
/// Commits whose diffs are read at a time.
const BATCH: usize = 100;

impl Repos {
    /// The commits that are in `new` and not in `old`, oldest first, without merges; also after the branch was rewritten.
    pub fn arrivals(&self, name: &str, old: &str, new: &str) -> Result<Vec<Arrival>, GitError> {
        let dir = self.clone_dir(name);
        let not_old = format!("^{old}");
        let arguments = [
            "log",
            "--no-merges",
            "--reverse",
            "-z",
            "--format=%H%n%B",
            MAX_ARRIVALS,
            new,
            &not_old,
            "--",
        ];
        let out = run::run(&dir, &arguments, None)?;
        let mut arrivals: Vec<Arrival> = out
            .split(|b| *b == 0)
            .filter_map(|record| {
                let text = String::from_utf8_lossy(record);
                let (commit, message) = text.split_once('\n')?;
                Some(Arrival {
                    commit: commit.to_owned(),
                    message: message.to_owned(),
                    patch_id: None,
                })
            })
            .collect();
        for batch in arrivals.chunks_mut(BATCH) {
            let ids = self.patch_ids(name, batch)?;
            for arrival in batch {
                arrival.patch_id = ids.get(&arrival.commit).copied();
            }
        }
        Ok(arrivals)
    }

    fn patch_ids(
        &self,
        name: &str,
        commits: &[Arrival],
    ) -> Result<HashMap<String, PatchId>, GitError> {
        let input: String = commits.iter().map(|c| format!("{}\n", c.commit)).collect();
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
        let out = run::run(&self.clone_dir(name), &arguments, Some(input.as_bytes()))?;
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
            if let Some(commit) =
                id.and_then(|id| commits.iter().find(|c| c.commit.as_bytes() == id))
            {
                keep(from, at);
                from = Some((&commit.commit, at + line.len()));
            }
            at += line.len();
        }
        keep(from, out.len());
        Ok(ids)
    }
}
