//! Taking series out of companions for ever, objects and all.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::{GitError, Repos, run, upkeep};

/// Refs deleted in one transaction.
const AT_ONCE: usize = 1000;

impl Repos {
    /// Deletes the refs of these patchsets from all public companions but those of the versions in `kept` (patchset, label), `head` too
    /// where it points to none of these, and the objects that nothing else names.
    pub fn forget_patchsets(
        &self,
        patchsets: &[i64],
        kept: &[(i64, String)],
    ) -> Result<(), GitError> {
        if patchsets.is_empty() {
            return Ok(());
        }
        let kept = kept.iter();
        let kept: HashSet<String> = kept
            .map(|(p, l)| format!("refs/patches/{p}/v{l}"))
            .collect();
        for repo in self.companions(|name| name.ends_with(".patches.git"))? {
            let _alone = upkeep::alone(&repo)?;
            let orders = orders(&repo, patchsets, &kept)?;
            for chunk in orders.chunks(AT_ONCE) {
                let input = chunk.concat();
                run::run(&repo, &["update-ref", "--stdin"], Some(input.as_bytes()))?;
            }
            if !orders.is_empty() {
                // All that is reachable goes into one new pack; the old ones go, and what stood in them alone.
                run::run(&repo, &["repack", "-a", "-d", "-l", "-q"], None)?;
                run::run(&repo, &["prune", "--expire=now"], None)?;
            }
        }
        Ok(())
    }

    /// Deletes the companions of a realm that is gone.
    pub fn remove_private(&self, realm: i64) -> Result<(), GitError> {
        let end = format!(".private-{realm}.git");
        for repo in self.companions(|name| name.ends_with(&end))? {
            let removed = std::fs::remove_dir_all(&repo);
            removed.map_err(|source| GitError::Start { repo, source })?;
        }
        Ok(())
    }

    /// Folders of companions by name.
    pub(super) fn companions(
        &self,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<Vec<PathBuf>, GitError> {
        let folder = self.folder();
        let failed = |source| GitError::Start {
            repo: folder.to_owned(),
            source,
        };
        let entries = match std::fs::read_dir(folder) {
            // No repository was ever made.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(failed)?,
        };
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry.map_err(failed)?;
            if wanted(&entry.file_name().to_string_lossy()) {
                found.push(entry.path());
            }
        }
        found.sort();
        Ok(found)
    }
}

/// Orders for `git update-ref --stdin` that delete what is not kept.
fn orders(repo: &Path, patchsets: &[i64], kept: &HashSet<String>) -> Result<Vec<String>, GitError> {
    let mut orders = Vec::new();
    for chunk in patchsets.chunks(AT_ONCE) {
        let mut wish = vec![
            "for-each-ref".to_owned(),
            "--format=%(refname) %(objectname)".to_owned(),
        ];
        wish.extend(chunk.iter().map(|id| format!("refs/patches/{id}/")));
        let refs = run::run(repo, &wish, None)?;
        let refs = String::from_utf8_lossy(&refs);
        let all: Vec<(&str, &str)> = refs.lines().filter_map(|l| l.split_once(' ')).collect();
        // A version that was corrected has several: `v1`, `v1+2`.
        let is_kept = |name: &str| kept.contains(name.split_once('+').map_or(name, |n| n.0));
        let folder = |name: &str| name.rsplit_once('/').map_or("", |n| n.0).to_owned();
        let commits: HashSet<(String, &str)> = all
            .iter()
            .filter(|(name, _)| is_kept(name))
            .map(|(name, commit)| (folder(name), *commit))
            .collect();
        for (name, commit) in &all {
            let head = name.ends_with("/head") && commits.contains(&(folder(name), *commit));
            if !head && !is_kept(name) {
                orders.push(format!("delete {name}\n"));
            }
        }
    }
    Ok(orders)
}
