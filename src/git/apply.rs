//! A series of mails → commits in a companion repository: all of it or nothing.
//!
//! Each patch goes through `git mailinfo` and `git apply --cached` on an index of its own, first plainly, then three-way; there is
//! no work tree. New objects are made in a folder of their own and reach the companion as one pack, then the ref is set.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::{Base, GitError, Repos, run};
use crate::types::Timestamp;

/// A series to be applied.
#[derive(Debug, Clone)]
pub struct Request {
    /// The repository's name.
    pub repo: String,
    /// Its realm's companion: `None` for the public one.
    pub private_realm: Option<i64>,
    /// `refs/patches/12/v2`
    pub ref_name: String,
    /// Where to begin.
    pub base: Base,
    /// The mails' stored bytes, in order.
    pub mails: Vec<Vec<u8>>,
    /// Committer's name and address.
    pub committer: (String, String),
    /// Committer's date: the arrival of the last patch, so that a second run makes the same commits.
    pub date: Timestamp,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// All patches are commits, and the ref points to the last.
    Applied {
        /// One id a patch.
        commits: Vec<String>,
    },
    /// A patch does not fit; nothing was made.
    Conflict(Conflict),
    /// A mail is no patch that git could use.
    Bad {
        /// Which, from 1.
        patch: usize,
        /// Why.
        reason: String,
    },
}

/// Where a series stops to fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// Which patch, from 1.
    pub patch: usize,
    /// The file.
    pub file: String,
    /// The hunk within the file's part of the patch, from 1; 0 if the whole file is in the way.
    pub hunk: i64,
    /// In words.
    pub detail: String,
}

/// What `git mailinfo` makes of a mail.
struct Letter {
    name: String,
    email: String,
    date: String,
    message: String,
    patch: PathBuf,
}

/// A folder of scratch files that goes away with its owner.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        // What stays is found and removed at the next start.
        let _left = std::fs::remove_dir_all(&self.0);
    }
}

struct Work<'a> {
    request: &'a Request,
    companion: PathBuf,
    clone: PathBuf,
    scratch: Scratch,
}

impl Repos {
    /// Applies a series and publishes its ref. Repeating it is harmless: the same commits come out.
    pub fn apply(&self, request: &Request) -> Result<Outcome, GitError> {
        let companion = match request.private_realm {
            None => self.companion_dir(&request.repo),
            Some(realm) => self.private_dir(&request.repo, realm),
        };
        self.make_companion(&request.repo, &companion)?;
        let mut random = [0u8; 8];
        // Without random numbers the process id alone keeps folders apart.
        let _name_only = getrandom::fill(&mut random);
        let name = format!(
            "apply-{}-{}",
            std::process::id(),
            data_encoding::HEXLOWER.encode(&random)
        );
        let scratch = Scratch(companion.join(name));
        let failed = |source| GitError::Start {
            repo: companion.clone(),
            source,
        };
        std::fs::create_dir_all(scratch.0.join("objects")).map_err(failed)?;
        let clone = self.clone_dir(&request.repo);
        let work = Work {
            request,
            companion,
            clone,
            scratch,
        };
        work.run()
    }

    /// The commit a companion's ref points to.
    pub fn find_patch_ref(
        &self,
        repo: &str,
        realm: Option<i64>,
        name: &str,
    ) -> Result<Option<String>, GitError> {
        let dir = realm.map_or_else(
            || self.companion_dir(repo),
            |realm| self.private_dir(repo, realm),
        );
        if !dir.exists() {
            return Ok(None);
        }
        let out = run::output(
            run::git(&dir).args(["rev-parse", "--verify", "--quiet", name]),
            &dir,
            None,
        )?;
        Ok(out.status.success().then(|| run::line(&out.stdout)))
    }

    /// Lets `refs/patches/<patchset>/head` point to a series' commit.
    pub fn set_head(
        &self,
        repo: &str,
        realm: Option<i64>,
        name: &str,
        commit: &str,
    ) -> Result<(), GitError> {
        let dir = realm.map_or_else(
            || self.companion_dir(repo),
            |realm| self.private_dir(repo, realm),
        );
        run::run(&dir, &["update-ref", name, commit], None).map(drop)
    }
}

impl Work<'_> {
    fn run(&self) -> Result<Outcome, GitError> {
        self.git(&["read-tree", &self.request.base.commit], None)?;
        let mut parent = self.request.base.commit.clone();
        let mut commits = Vec::new();
        for (at, mail) in self.request.mails.iter().enumerate() {
            let patch = at + 1;
            let letter = match self.letter(patch, mail)? {
                Ok(letter) => letter,
                Err(reason) => return Ok(Outcome::Bad { patch, reason }),
            };
            if let Err(outcome) = self.place(patch, &letter)? {
                return Ok(outcome);
            }
            match self.commit(&parent, &letter)? {
                Ok(commit) => {
                    parent.clone_from(&commit);
                    commits.push(commit);
                }
                Err(reason) => return Ok(Outcome::Bad { patch, reason }),
            }
        }
        self.publish(&parent)?;
        Ok(Outcome::Applied { commits })
    }

    /// A `git` that reads companion and clone, and writes objects and index into the scratch folder only.
    fn command(&self) -> Command {
        let mut command = run::git(&self.companion);
        let borrowed =
            std::env::join_paths([self.companion.join("objects"), self.clone.join("objects")]);
        command
            .env("GIT_DIR", &self.companion)
            .env("GIT_INDEX_FILE", self.scratch.0.join("index"))
            .env("GIT_OBJECT_DIRECTORY", self.scratch.0.join("objects"))
            .env(
                "GIT_ALTERNATE_OBJECT_DIRECTORIES",
                borrowed.unwrap_or_default(),
            )
            .env("GIT_COMMITTER_NAME", &self.request.committer.0)
            .env("GIT_COMMITTER_EMAIL", &self.request.committer.1)
            .env(
                "GIT_COMMITTER_DATE",
                format!("@{} +0000", self.request.date.secs()),
            );
        command
    }

    fn try_git(&self, arguments: &[&str], input: Option<&[u8]>) -> Result<Output, GitError> {
        run::output(self.command().args(arguments), &self.companion, input)
    }

    fn git(&self, arguments: &[&str], input: Option<&[u8]>) -> Result<Vec<u8>, GitError> {
        run::check(self.try_git(arguments, input)?, arguments, &self.companion)
    }

    /// Author, date, message and patch out of a mail; the inner error says in words what it lacks.
    fn letter(&self, number: usize, mail: &[u8]) -> Result<Result<Letter, String>, GitError> {
        let file = |kind: &str| self.scratch.0.join(format!("{number}.{kind}"));
        let (message, patch) = (file("message"), file("patch"));
        let arguments = [
            "mailinfo".into(),
            message.clone().into_os_string(),
            patch.clone().into_os_string(),
        ];
        let out = run::output(self.command().args(arguments), &self.companion, Some(mail))?;
        if !out.status.success() {
            return Ok(Err(format!(
                "git mailinfo cannot read the mail: {}",
                run::message(&out.stderr)
            )));
        }
        let info = String::from_utf8_lossy(&out.stdout).into_owned();
        let field = |name: &str| {
            let line = info.lines().find_map(|l| l.strip_prefix(name));
            line.map(|l| l.trim().to_owned()).unwrap_or_default()
        };
        let read = |path: &Path| {
            std::fs::read(path).map_err(|source| GitError::Start {
                repo: path.to_owned(),
                source,
            })
        };
        let body = String::from_utf8_lossy(&read(&message)?).into_owned();
        if read(&patch)?.is_empty() {
            return Ok(Err("the mail holds no patch".to_owned()));
        }
        let message = stripspace(&format!("{}\n\n{body}", field("Subject: ")));
        Ok(Ok(Letter {
            name: field("Author: "),
            email: field("Email: "),
            date: field("Date: "),
            message,
            patch,
        }))
    }

    /// Puts the patch into the index: plainly, else three-way by the blobs that it names.
    fn place(&self, number: usize, letter: &Letter) -> Result<Result<(), Outcome>, GitError> {
        let patch = letter.patch.to_string_lossy().into_owned();
        let plain = self.try_git(&["apply", "--cached", "--", &patch], None)?;
        if plain.status.success() {
            return Ok(Ok(()));
        }
        // A failed three-way leaves conflict entries behind: the index before it is kept.
        let (index, saved) = (
            self.scratch.0.join("index"),
            self.scratch.0.join("index.saved"),
        );
        let copied = |from: &Path, to: &Path| {
            std::fs::copy(from, to)
                .map(drop)
                .map_err(|source| GitError::Start {
                    repo: self.companion.clone(),
                    source,
                })
        };
        copied(&index, &saved)?;
        let merged = self.try_git(&["apply", "--cached", "--3way", "--", &patch], None)?;
        if merged.status.success() {
            return Ok(Ok(()));
        }
        copied(&saved, &index)?;
        let text = std::fs::read(&letter.patch).map_err(|source| GitError::Start {
            repo: letter.patch.clone(),
            source,
        })?;
        Ok(Err(explain(
            number,
            &String::from_utf8_lossy(&plain.stderr),
            &String::from_utf8_lossy(&text),
        )))
    }

    fn commit(&self, parent: &str, letter: &Letter) -> Result<Result<String, String>, GitError> {
        let tree = run::line(&self.git(&["write-tree"], None)?);
        let mut command = self.command();
        command
            .env("GIT_AUTHOR_NAME", &letter.name)
            .env("GIT_AUTHOR_EMAIL", &letter.email);
        let date = if letter.date.is_empty() {
            format!("@{} +0000", self.request.date.secs())
        } else {
            letter.date.clone()
        };
        command
            .env("GIT_AUTHOR_DATE", date)
            .args(["commit-tree", &tree, "-p", parent]);
        let out = run::output(
            &mut command,
            &self.companion,
            Some(letter.message.as_bytes()),
        )?;
        if !out.status.success() {
            return Ok(Err(format!(
                "git cannot make a commit of it: {}",
                run::message(&out.stderr)
            )));
        }
        Ok(Ok(run::line(&out.stdout)))
    }

    /// The new objects as one flushed pack of the companion, then the ref, which never moves once it is there.
    fn publish(&self, head: &str) -> Result<(), GitError> {
        let wanted = format!("{head}\n^{}\n", self.request.base.commit);
        let pack = self
            .companion
            .join("objects/pack/pack")
            .to_string_lossy()
            .into_owned();
        let arguments = [
            "pack-objects",
            "--quiet",
            "--revs",
            "--delta-base-offset",
            &pack,
        ];
        self.git(&arguments, Some(wanted.as_bytes()))?;
        let old = run::output(
            run::git(&self.companion).args([
                "rev-parse",
                "--verify",
                "--quiet",
                &self.request.ref_name,
            ]),
            &self.companion,
            None,
        )?;
        if old.status.success() && run::line(&old.stdout) != head {
            return Err(GitError::Refused(format!(
                "{} is published already and never moves",
                self.request.ref_name
            )));
        }
        run::run(
            &self.companion,
            &["update-ref", &self.request.ref_name, head],
            None,
        )
        .map(drop)
    }
}

/// As `git am` cleans a message: no blanks at line ends, no blank lines at both ends or in a row.
fn stripspace(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut blank = false;
    for line in text.lines().map(str::trim_end) {
        if line.is_empty() {
            blank = !out.is_empty();
            continue;
        }
        if blank {
            out.push('\n');
            blank = false;
        }
        out.push_str(line);
        out.push('\n');
    }
    out
}

/// Reads what `git apply` complained of: `error: patch failed: FILE:LINE`, or `error: FILE: reason`.
fn explain(patch: usize, stderr: &str, text: &str) -> Outcome {
    let errors: Vec<&str> = stderr
        .lines()
        .filter_map(|l| l.strip_prefix("error: "))
        .collect();
    if let Some((file, line)) = errors
        .iter()
        .find_map(|e| e.strip_prefix("patch failed: ")?.rsplit_once(':'))
    {
        let line: u64 = line.parse().unwrap_or(0);
        let hunk = hunk_at(text, file, line);
        let detail = format!("hunk {hunk}, made for line {line} of {file}, finds other text there");
        return Outcome::Conflict(Conflict {
            patch,
            file: file.to_owned(),
            hunk,
            detail,
        });
    }
    if let Some((file, reason)) = errors
        .iter()
        .find_map(|e| e.split_once(": "))
        .filter(|(f, _)| !f.contains(' '))
    {
        let (file, detail) = (file.to_owned(), format!("{file}: {reason}"));
        return Outcome::Conflict(Conflict {
            patch,
            file,
            hunk: 0,
            detail,
        });
    }
    let reason = errors
        .first()
        .map_or_else(|| run::message(stderr.as_bytes()), |e| (*e).to_owned());
    Outcome::Bad { patch, reason }
}

/// Which hunk of a file's part of a patch begins at an old line.
fn hunk_at(text: &str, file: &str, line: u64) -> i64 {
    let mut count = 0;
    let mut inside = false;
    for row in text.lines() {
        if let Some(path) = row
            .strip_prefix("+++ ")
            .or_else(|| row.strip_prefix("--- "))
        {
            let path = path.split('\t').next().unwrap_or(path);
            let bare = path.split_once('/').map_or(path, |(_, rest)| rest);
            if path != "/dev/null" {
                inside = bare == file || path == file;
            }
            if row.starts_with("--- ") {
                count = 0;
            }
        } else if let Some(rest) = row.strip_prefix("@@ -").filter(|_| inside) {
            count += 1;
            let start = rest
                .split([',', ' '])
                .next()
                .and_then(|n| n.parse::<u64>().ok());
            if start == Some(line) {
                return count;
            }
        }
    }
    count.min(1)
}
