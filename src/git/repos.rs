//! Clones and companions on disk: making, fetching, reading tips.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::history::Histories;
use super::landed::RecentCommits;
use super::{GitError, run};

/// So long a fetch may take where nobody says otherwise.
const FETCH_LIMIT: Duration = Duration::from_secs(600);

/// Where a repository comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A repository on this machine.
    Path(PathBuf),
    /// A URL: https, http, git, ssh or file.
    Url(String),
    /// New and empty, here.
    New,
}

/// What a fetch found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// The branch's commit, if the branch exists.
    pub tip: Option<String>,
    /// Whether it differs from before.
    pub moved: bool,
    /// Whether any branch or tag differs from before: commits that series name may have come with it.
    pub news: bool,
}

/// The folder of repositories: `<name>.git` is our clone, `<name>.patches.git` its companion.
#[derive(Debug, Clone)]
pub struct Repos {
    folder: Arc<PathBuf>,
    fetch_limit: Duration,
    pub(super) histories: Arc<Mutex<Histories>>,
    pub(super) recent: RecentCommits,
}

impl Repos {
    /// The repositories under a data folder.
    pub fn new(data: &Path) -> Repos {
        Repos {
            folder: Arc::new(data.join("repos")),
            fetch_limit: FETCH_LIMIT,
            histories: Arc::default(),
            recent: RecentCommits::default(),
        }
    }

    /// The same, where a fetch may take that long.
    pub fn fetching_within(mut self, limit: Duration) -> Repos {
        self.fetch_limit = limit;
        self
    }

    /// Where all of them are.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Our clone of a repository.
    pub fn clone_dir(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.git"))
    }

    /// The public companion.
    pub fn companion_dir(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.patches.git"))
    }

    /// The companion of one list that is not public; never served.
    pub fn private_dir(&self, name: &str, realm: i64) -> PathBuf {
        self.folder.join(format!("{name}.private-{realm}.git"))
    }

    /// Makes the clone and its companion; returns the branch and its commit, if there is one.
    pub fn create(
        &self,
        name: &str,
        source: &Source,
        branch: Option<&str>,
    ) -> Result<(String, Option<String>), GitError> {
        std::fs::create_dir_all(&*self.folder).map_err(|source| GitError::Start {
            repo: self.folder.to_path_buf(),
            source,
        })?;
        let dir = self.clone_dir(name);
        if dir.exists() {
            return Err(GitError::Refused(format!(
                "{} exists already",
                dir.display()
            )));
        }
        let made = self.fill(&dir, source, branch).and_then(|branch| {
            self.make_companion(name, &self.companion_dir(name))?;
            Ok(branch)
        });
        if made.is_err() && dir.exists() {
            // What was half made here would stand in the way of the next try.
            let _left = std::fs::remove_dir_all(&dir);
        }
        let branch = made?;
        let tip = self.tip(name, &branch)?;
        self.follow(name, &branch, tip.as_deref())?;
        Ok((branch, tip))
    }

    /// Begins to make a repository: what an earlier try left that was killed before the repository was known goes away.
    ///
    /// Refused while another command makes it.
    pub fn begin(&self, name: &str) -> Result<Adding, GitError> {
        let path = self.folder.join(format!("{name}.adding"));
        let failed = |source| GitError::Start {
            repo: path.clone(),
            source,
        };
        std::fs::create_dir_all(&*self.folder).map_err(failed)?;
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path);
        let mut lock = lock.map_err(failed)?;
        let inode = |m: std::fs::Metadata| m.ino();
        let ours = lock.try_lock().is_ok()
            // Another process may have finished and removed it this moment.
            && std::fs::metadata(&path).map(inode).ok() == lock.metadata().map(inode).ok();
        if !ours {
            return Err(GitError::Refused(format!(
                "another command is making repository {name}"
            )));
        }
        if lock.metadata().map_err(failed)?.len() > 0 {
            self.remove(name)?;
        }
        lock.write_all(b"being made\n").map_err(failed)?;
        Ok(Adding { path, _lock: lock })
    }

    /// Removes a clone and its companion from the disk, as far as they are there.
    pub fn remove(&self, name: &str) -> Result<(), GitError> {
        for dir in [self.companion_dir(name), self.clone_dir(name)] {
            match std::fs::remove_dir_all(&dir) {
                Ok(()) => {}
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(source) => return Err(GitError::Start { repo: dir, source }),
            }
        }
        Ok(())
    }

    fn fill(&self, dir: &Path, source: &Source, branch: Option<&str>) -> Result<String, GitError> {
        let target = dir.to_string_lossy().into_owned();
        let from = match source {
            Source::New => {
                let branch = branch.unwrap_or("main");
                check_branch(branch)?;
                run::run(
                    &self.folder,
                    &["init", "--quiet", "--bare", "-b", branch, &target],
                    None,
                )?;
                self.settle(dir)?;
                return Ok(branch.to_owned());
            }
            Source::Path(path) => {
                let full = path.canonicalize();
                let full = full.map_err(|e| {
                    GitError::Refused(format!("there is no repository at {}: {e}", path.display()))
                })?;
                full.to_string_lossy().into_owned()
            }
            Source::Url(url) => {
                let known = ["https://", "http://", "git://", "ssh://", "file://"]
                    .iter()
                    .any(|p| url.starts_with(p));
                if !known {
                    return Err(GitError::Refused(format!(
                        "{url:?} is no URL: begin with https://, http://, git://, ssh:// or file://"
                    )));
                }
                url.clone()
            }
        };
        let clone = ["clone", "--quiet", "--bare", "--no-hardlinks", "--", &from];
        let clone: Vec<&str> = clone.into_iter().chain([target.as_str()]).collect();
        let mut command = run::git(&self.folder);
        let out = run::output(command.args(run::SILENCE).args(&clone), &self.folder, None)?;
        run::check(out, &clone, &self.folder)?;
        self.settle(dir)?;
        let branch = match branch {
            Some(branch) => branch.to_owned(),
            None => {
                let mut command = run::git(dir);
                let head =
                    run::output(command.args(["symbolic-ref", "--short", "HEAD"]), dir, None)?;
                if !head.status.success() {
                    let text =
                        "the source's HEAD names no branch; say which one to follow with --branch";
                    return Err(GitError::Refused(text.to_owned()));
                }
                run::line(&head.stdout)
            }
        };
        check_branch(&branch)?;
        check_there(dir, &branch)?;
        Ok(branch)
    }

    /// Settings that every repository here has: nothing is ever pruned, nobody pushes.
    fn settle(&self, dir: &Path) -> Result<(), GitError> {
        for (key, value) in [
            ("gc.auto", "0"),
            ("gc.pruneExpire", "never"),
            ("maintenance.auto", "false"),
            ("receive.denyAll", "true"),
            ("http.receivepack", "false"),
            ("remote.origin.fetch", "+refs/heads/*:refs/heads/*"),
        ] {
            run::run(dir, &["config", key, value], None)?;
        }
        Ok(())
    }

    /// Makes a companion that borrows the clone's objects, if it is not there yet.
    pub(super) fn make_companion(&self, name: &str, dir: &Path) -> Result<(), GitError> {
        if dir.join("objects/info/alternates").exists() {
            return Ok(());
        }
        let target = dir.to_string_lossy().into_owned();
        run::run(&self.folder, &["init", "--quiet", "--bare", &target], None)?;
        self.settle(dir)?;
        // Relative, so that the data folder can be moved.
        let alternates = format!("../../{name}.git/objects\n");
        let failed = |source| GitError::Start {
            repo: dir.to_owned(),
            source,
        };
        std::fs::create_dir_all(dir.join("objects/info")).map_err(failed)?;
        std::fs::write(dir.join("objects/info/alternates"), alternates).map_err(failed)
    }

    /// The companion's own branch is the project's, so that a plain clone of it carries no stranger's commit.
    fn follow(&self, name: &str, branch: &str, tip: Option<&str>) -> Result<(), GitError> {
        let dir = self.companion_dir(name);
        let full = format!("refs/heads/{branch}");
        run::run(&dir, &["symbolic-ref", "HEAD", &full], None)?;
        if let Some(tip) = tip {
            run::run(&dir, &["update-ref", &full, tip], None)?;
        }
        Ok(())
    }

    /// Fetches the clone from its source.
    pub fn fetch(&self, name: &str, branch: &str) -> Result<Fetched, GitError> {
        let dir = self.clone_dir(name);
        let before = self.tip(name, branch)?;
        let refs = || {
            run::run(
                &dir,
                &["for-each-ref", "--format=%(refname) %(objectname)"],
                None,
            )
        };
        let refs_before = refs()?;
        let remote = run::output(
            run::git(&dir).args(["config", "remote.origin.url"]),
            &dir,
            None,
        )?;
        if remote.status.success() {
            let mut command = run::git(&dir);
            command.args(run::SILENCE).args([
                "fetch",
                "--quiet",
                "--no-auto-maintenance",
                "--no-prune",
                "origin",
            ]);
            let limit = run::Limit {
                time: self.fetch_limit,
                what: "fetch",
                late: "the source did not give all",
                mend: " (repos.fetch_seconds)",
            };
            run::within(&mut command, &dir, limit)?;
        }
        let tip = self.tip(name, branch)?;
        self.follow(name, branch, tip.as_deref())?;
        Ok(Fetched {
            moved: tip != before,
            news: refs()? != refs_before,
            tip,
        })
    }

    /// The commit a branch of the clone points to.
    pub fn tip(&self, name: &str, branch: &str) -> Result<Option<String>, GitError> {
        self.find_commit(name, &format!("refs/heads/{branch}"))
    }

    /// The full id of a commit of the clone, by id or ref; `None` if it is not there.
    pub fn find_commit(&self, name: &str, revision: &str) -> Result<Option<String>, GitError> {
        let dir = self.clone_dir(name);
        let wanted = format!("{revision}^{{commit}}");
        let mut command = run::git(&dir);
        let out = run::output(
            command.args([
                "rev-parse",
                "--verify",
                "--quiet",
                "--end-of-options",
                &wanted,
            ]),
            &dir,
            None,
        )?;
        Ok(out.status.success().then(|| run::line(&out.stdout)))
    }
}

/// A repository that is being made, and is not known yet: a file beside it, which another process finds locked while this
/// one is at work, and free when it was killed.
#[must_use]
pub struct Adding {
    path: PathBuf,
    _lock: File,
}

impl Adding {
    /// The repository is known, or nothing of it is there: nothing is to be cleared away any more.
    pub fn finish(self) {
        // Left behind it would cost the next `repo add` of that name its folder, which is free then.
        let _gone = std::fs::remove_file(&self.path);
    }
}

/// Refuses a branch that a clone has not, if it has any: in an empty one it may come yet.
fn check_there(dir: &Path, branch: &str) -> Result<(), GitError> {
    let names = ["for-each-ref", "--format=%(refname:lstrip=2)", "refs/heads"];
    let names = run::run(dir, &names, None)?;
    let names = String::from_utf8_lossy(&names);
    let names: Vec<&str> = names.lines().collect();
    if names.is_empty() || names.contains(&branch) {
        return Ok(());
    }
    let more = if names.len() > 10 { " and more" } else { "" };
    let some = names[..names.len().min(10)].join(", ");
    Err(GitError::Refused(format!(
        "the source has no branch {branch}; it has {some}{more}"
    )))
}

/// A branch name as git takes it, and without anything that options or refspecs could be made of.
pub(super) fn check_branch(branch: &str) -> Result<(), GitError> {
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '/' | '+');
    let fine = !branch.is_empty()
        && branch.len() <= 200
        && branch.chars().all(plain)
        && !branch.starts_with(['-', '/', '.'])
        && !branch.ends_with(['/', '.'])
        && !branch.contains("..")
        && !branch.contains("//");
    if fine {
        Ok(())
    } else {
        Err(GitError::Refused(format!(
            "{branch:?} is not a branch name"
        )))
    }
}
