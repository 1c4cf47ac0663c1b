//! On which commit a series is applied.

use std::collections::{BTreeMap, HashMap};

use super::{GitError, Repos, run};

/// A commit and why it was chosen, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base {
    /// Full id.
    pub commit: String,
    /// `base-commit`, `tip of main, where the index blobs match` …
    pub why: String,
}

/// Commits of the first-parent line that are looked through.
const HISTORY: &str = "--max-count=20000";
/// Paths that count: a series that touches more is told by these.
const MAX_PATHS: usize = 200;

impl Repos {
    /// The commit to apply on: the one named, else the newest of the branch whose files are those the diffs were made from.
    ///
    /// `blobs` are (path, abbreviated pre-image id) of the series' diffs, first change of each path only.
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
        if let Some(commit) = named
            .map(|n| self.find_commit(name, n))
            .transpose()?
            .flatten()
        {
            return Ok(Some(Base {
                commit,
                why: "the base-commit that the series names".to_owned(),
            }));
        }
        let wanted: BTreeMap<&str, &str> = blobs
            .iter()
            .take(MAX_PATHS)
            .map(|(p, b)| (p.as_str(), b.as_str()))
            .collect();
        let at_tip = self.blobs_at(name, &tip, wanted.keys().copied())?;
        let matches = |have: &HashMap<String, String>| {
            wanted
                .iter()
                .all(|(p, b)| have.get(*p).is_some_and(|h| h.starts_with(b)))
        };
        if wanted.is_empty() {
            return Ok(Some(Base {
                commit: tip,
                why: format!("the tip of {branch}"),
            }));
        }
        if matches(&at_tip) {
            return Ok(Some(Base {
                commit: tip,
                why: format!("the tip of {branch}, where the index blobs match"),
            }));
        }
        if let Some(commit) = self.search_history(name, &tip, at_tip, &wanted)? {
            return Ok(Some(Base {
                commit,
                why: format!("the newest commit of {branch} where the index blobs match"),
            }));
        }
        Ok(Some(Base {
            commit: tip,
            why: format!("the tip of {branch}, as no commit has these index blobs"),
        }))
    }

    /// Walks the first-parent line backwards over the commits that touch the paths, undoing each.
    fn search_history(
        &self,
        name: &str,
        tip: &str,
        mut have: HashMap<String, String>,
        wanted: &BTreeMap<&str, &str>,
    ) -> Result<Option<String>, GitError> {
        let dir = self.clone_dir(name);
        let mut arguments = vec![
            "--literal-pathspecs",
            "log",
            "--first-parent",
            "-m",
            "--raw",
            "--no-abbrev",
            "--no-renames",
            "-z",
        ];
        arguments.extend([HISTORY, "--format=%x00%H %P", tip, "--"]);
        arguments.extend(wanted.keys());
        let out = run::run(&dir, &arguments, None)?;
        let mut parent = String::new();
        let mut fields = out.split(|b| *b == 0).peekable();
        let fits = |have: &HashMap<String, String>| {
            wanted
                .iter()
                .all(|(p, b)| have.get(*p).is_some_and(|h| h.starts_with(b)))
        };
        while let Some(field) = fields.next() {
            let text = String::from_utf8_lossy(field);
            let text = text.trim_start_matches('\n');
            if let Some(raw) = text.strip_prefix(':') {
                let Some(path) = fields.next() else { break };
                let old = raw.split(' ').nth(2).unwrap_or_default();
                let path = String::from_utf8_lossy(path).into_owned();
                if old.bytes().all(|b| b == b'0') {
                    have.remove(&path)
                } else {
                    have.insert(path, old.to_owned())
                };
                continue;
            }
            if text.is_empty() {
                continue;
            }
            // A new commit begins: what was undone so far is the state of the one before.
            if !parent.is_empty() && fits(&have) {
                return Ok(Some(parent));
            }
            parent = text.split(' ').nth(1).unwrap_or_default().to_owned();
        }
        Ok((!parent.is_empty() && fits(&have)).then_some(parent))
    }

    /// Blob ids of paths in a commit.
    fn blobs_at<'a>(
        &self,
        name: &str,
        commit: &str,
        paths: impl Iterator<Item = &'a str>,
    ) -> Result<HashMap<String, String>, GitError> {
        let dir = self.clone_dir(name);
        let mut arguments = vec!["--literal-pathspecs", "ls-tree", "-r", "-z", commit, "--"];
        let paths: Vec<&str> = paths.filter(|p| !p.is_empty()).collect();
        if paths.is_empty() {
            return Ok(HashMap::new());
        }
        arguments.extend(paths);
        let out = run::output(run::git(&dir).args(&arguments), &dir, None)?;
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        let entry = |line: &str| {
            let (head, path) = line.split_once('\t')?;
            Some((path.to_owned(), head.split(' ').nth(2)?.to_owned()))
        };
        Ok(text.split('\0').filter_map(entry).collect())
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
        Ok(self
            .blobs_at(name, &tip, paths.iter().take(MAX_PATHS).map(String::as_str))?
            .len())
    }
}
