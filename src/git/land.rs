//! A series as commits on the tip of a branch, and the push that brings them to the project.
//!
//! What is made stands in a folder of its own, as git's receive-pack keeps what comes in apart: a landing that is refused, or
//! only rehearsed, leaves nothing in the clone. The push moves the branch from the very tip that was applied on, or not at all.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use gix::ObjectId;
use gix::objs::Kind;

use super::apply::parse_id;
use super::objects::Objects;
use super::series::{Failure, Fallback, apply_mails};
use super::{Committer, Conflict, GitError, Repos, pack, run};

/// A series that fits on a branch, ready to be pushed; dropping it takes its objects away.
#[derive(Debug)]
pub struct Landing {
    /// The branch's commit.
    pub old: String,
    /// The commit it will have.
    pub new: String,
    /// One a patch in order; `None`: its change is in the branch already.
    pub commits: Vec<Option<MadeCommit>>,
    /// What `git diff --stat` says of both.
    pub stat: String,
    /// `Name <address>`
    pub committer: String,
    clone: PathBuf,
    branch: String,
    apart: Apart,
}

/// A commit as it will be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MadeCommit {
    /// Its id.
    pub id: String,
    /// First line of its message.
    pub title: String,
    /// `Name <address>`
    pub author: String,
}

/// Whether a series can land.
#[derive(Debug)]
pub enum Prepared {
    /// It fits.
    Ready(Landing),
    /// A patch does not fit.
    Conflict(Conflict),
    /// A mail is no patch that could be used.
    Bad {
        /// Which, from 1.
        patch: usize,
        /// Why.
        reason: String,
    },
}

/// What the project's repository answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pushed {
    /// The branch has the new tip.
    Done,
    /// The branch had another tip; nothing changed.
    Moved,
    /// It takes no push from us; git's words.
    Refused(String),
}

impl Repos {
    /// Applies mails on the present tip of a branch of the clone; nothing is published.
    ///
    /// The committer is the one that git takes by the environment and the configuration of whoever runs the program.
    pub fn prepare_landing(
        &self,
        name: &str,
        branch: &str,
        mails: &[Vec<u8>],
    ) -> Result<Prepared, GitError> {
        let clone = self.clone_dir(name);
        let Some(old) = self.tip(name, branch)? else {
            let text = format!("{name} has no branch {branch} with a commit on it");
            return Err(GitError::Refused(text));
        };
        let base = parse_id(&old)?;
        let committer = committer(&clone)?;
        let mut objects = Objects::open(&clone)?;
        let done = apply_mails(&mut objects, base, mails, &committer, Fallback::ThreeWay)?;
        let done = match done {
            Ok(done) => done,
            Err(Failure::Conflict(conflict)) => return Ok(Prepared::Conflict(conflict)),
            Err(Failure::Bad { patch, reason }) => return Ok(Prepared::Bad { patch, reason }),
        };
        let apart = Apart::make(&clone)?;
        pack::write(&objects, &apart.0)?;
        let mut before = base;
        let new = done.commits.last().copied().unwrap_or(base);
        let stat = stat(&clone, &apart, &old, &new.to_string())?;
        let mut commits = Vec::with_capacity(done.commits.len());
        for id in done.commits {
            commits.push(match id == before {
                true => None,
                false => Some(made(&objects, &id)?),
            });
            before = id;
        }
        Ok(Prepared::Ready(Landing {
            old,
            new: before.to_string(),
            commits,
            stat,
            committer: format!("{} <{}>", committer.name, committer.email),
            clone,
            branch: branch.to_owned(),
            apart,
        }))
    }
}

impl Landing {
    /// Pushes to the project's repository: its source, or our clone if that is the project's repository itself.
    ///
    /// As whoever runs the program, with their keys and credential helpers. An error is our side's trouble.
    pub fn push(&self) -> Result<Pushed, GitError> {
        let name = format!("refs/heads/{}", self.branch);
        // Moves the branch only if it is where it was when the series was applied; what is pushed descends from that, so that
        // nothing is ever forced. One ref alone is atomic.
        let lease = format!("--force-with-lease={name}:{}", self.old);
        let refspec = format!("{}:{name}", self.new);
        let mut command = run::own_git(&self.clone);
        command.env("GIT_OBJECT_DIRECTORY", self.apart.objects());
        command.args(["push", "--porcelain", "--no-verify", "--no-follow-tags"]);
        command.args(["--recurse-submodules=no", &lease]);
        match self.source()? {
            // By URL: to a remote's name, git would move the clone's own branch before the clone has the objects.
            Some(url) => command.args(["--", &url, &refspec]),
            None => {
                let receive = "--receive-pack=git -c core.fsync=all receive-pack";
                command.arg(receive).arg("--").arg(&self.clone).arg(refspec)
            }
        };
        Ok(outcome(&run::output(&mut command, &self.clone, None)?))
    }

    /// Where the clone's source takes pushes.
    fn source(&self) -> Result<Option<String>, GitError> {
        for key in ["remote.origin.pushurl", "remote.origin.url"] {
            let mut command = run::git(&self.clone);
            let out = run::output(command.args(["config", "--get", key]), &self.clone, None)?;
            if out.status.success() {
                return Ok(Some(run::line(&out.stdout)));
            }
        }
        Ok(None)
    }
}

/// Reads what `git push --porcelain` said (git-push(1), "OUTPUT").
fn outcome(out: &Output) -> Pushed {
    if out.status.success() {
        return Pushed::Done;
    }
    let said = String::from_utf8_lossy(&out.stdout);
    let line = said.lines().find_map(|l| l.strip_prefix("!\t"));
    let reason = line.and_then(|l| l.split_once('\t')).map_or("", |l| l.1);
    let stderr = String::from_utf8_lossy(&out.stderr);
    // The last two are what a server says whose branch moved between its greeting and our push.
    let moved = [
        "stale info",
        "fetch first",
        "non-fast-forward",
        "incorrect old value",
        "but expected",
    ];
    if moved
        .iter()
        .any(|w| reason.contains(w) || stderr.contains(w))
    {
        return Pushed::Moved;
    }
    let words = stderr
        .lines()
        .filter(|l| !l.starts_with("error: failed to push"));
    let words = run::message(words.collect::<Vec<_>>().join("\n").as_bytes());
    let text = [reason, words.as_str()]
        .iter()
        .filter(|t| !t.is_empty())
        .copied()
        .collect::<Vec<_>>()
        .join("; ");
    Pushed::Refused(text.replace(|c: char| c.is_control(), " "))
}

fn committer(clone: &Path) -> Result<Committer, GitError> {
    run::committer(clone).map_err(|error| match error {
        GitError::Failed { message, .. } => GitError::Refused(format!(
            "git does not know who commits; set user.name and user.email, or GIT_COMMITTER_NAME and GIT_COMMITTER_EMAIL ({message})"
        )),
        other => other,
    })
}

/// What is changed between two commits, of which the later stands in a folder of its own.
fn stat(clone: &Path, apart: &Apart, old: &str, new: &str) -> Result<String, GitError> {
    let mut command = run::git(clone);
    command.env("GIT_OBJECT_DIRECTORY", apart.objects());
    command.args(["diff", "--no-ext-diff", "--no-textconv", "--no-color"]);
    command.args(["--stat=80", "--end-of-options", old, new]);
    let out = run::output(&mut command, clone, None)?;
    match out.status.success() {
        true => Ok(String::from_utf8_lossy(&out.stdout).into_owned()),
        false => Err(GitError::Failed {
            command: "diff --stat".to_owned(),
            repo: clone.to_owned(),
            message: run::message(&out.stderr),
        }),
    }
}

fn made(objects: &Objects, id: &ObjectId) -> Result<MadeCommit, GitError> {
    let data = objects.load(id, Kind::Commit)?;
    let text = String::from_utf8_lossy(&data);
    let (head, message) = text.split_once("\n\n").unwrap_or((&text, ""));
    let author = head.lines().find_map(|l| l.strip_prefix("author "));
    // Behind the address come date and zone.
    let author = author.and_then(|a| a.rfind('>').map(|end| &a[..=end]));
    Ok(MadeCommit {
        id: id.to_string(),
        title: message.lines().next().unwrap_or_default().to_owned(),
        author: author.unwrap_or_default().to_owned(),
    })
}

/// A folder for objects that borrows those of a repository; it goes when it is dropped.
#[derive(Debug)]
struct Apart(PathBuf);

impl Apart {
    /// What a killed process leaves there goes with upkeep, by its name.
    fn make(clone: &Path) -> Result<Apart, GitError> {
        let mut random = [0u8; 8];
        // Without random numbers the process id alone keeps names apart.
        let _name_only = getrandom::fill(&mut random);
        let random = data_encoding::HEXLOWER.encode(&random);
        let name = format!("tmp_landing_{}_{random}", std::process::id());
        let apart = Apart(clone.join("objects").join(name));
        let info = apart.objects().join("info");
        let own = format!("{}\n", clone.join("objects").display());
        let made = fs::create_dir_all(&info).and_then(|()| fs::write(info.join("alternates"), own));
        made.map_err(|source| GitError::Start {
            repo: clone.to_owned(),
            source,
        })?;
        Ok(apart)
    }

    fn objects(&self) -> PathBuf {
        self.0.join("objects")
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        // If it stays, upkeep takes it away a day later.
        let _left = fs::remove_dir_all(&self.0);
    }
}
