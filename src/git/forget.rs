//! Taking series out of companions for ever, objects and all.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use super::{GitError, Repos, run, upkeep};

/// Refs deleted in one transaction.
const AT_ONCE: usize = 1000;

impl Repos {
    /// Deletes the refs of these series (patchset, version label) from all public companions, `head` too where it points to
    /// one of them, and the objects that nothing else names.
    pub fn forget_series(&self, series: &[(i64, String)]) -> Result<(), GitError> {
        if series.is_empty() {
            return Ok(());
        }
        for repo in self.companions(|name| name.ends_with(".patches.git"))? {
            let _alone = upkeep::alone(&repo)?;
            let mut orders = String::new();
            let format = "--format=%(refname) %(objectname)";
            let refs = run::run(&repo, &["for-each-ref", format, "refs/patches"], None)?;
            let refs = String::from_utf8_lossy(&refs);
            let mut gone = HashMap::new();
            let wanted: HashSet<String> = series
                .iter()
                .map(|(patchset, label)| format!("refs/patches/{patchset}/v{label}"))
                .collect();
            let all = || refs.lines().filter_map(|line| line.split_once(' '));
            let bare = |name: &str| name.split_once('+').map_or(name, |n| n.0).to_owned();
            for (name, commit) in all().filter(|(name, _)| wanted.contains(&bare(name))) {
                orders.push_str(&format!("delete {name}\n"));
                let patchset = name.rsplit_once('/').map_or("", |(folder, _)| folder);
                gone.insert(format!("{patchset}/head"), commit);
            }
            for (name, _) in all().filter(|(name, commit)| gone.get(*name) == Some(commit)) {
                orders.push_str(&format!("delete {name}\n"));
            }
            let lines: Vec<&str> = orders.lines().collect();
            for chunk in lines.chunks(AT_ONCE) {
                let input = chunk.join("\n") + "\n";
                run::run(&repo, &["update-ref", "--stdin"], Some(input.as_bytes()))?;
            }
            if !lines.is_empty() {
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
