//! public-inbox epochs: reading their mails commit by commit, and writing one through `git fast-import`.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Stdio};

use super::{GitError, run};
use crate::types::Timestamp;

/// Commits asked for at once: git works while the mails before are read. Their names must fit into a pipe, so that
/// neither side waits for the other for ever.
const AHEAD: usize = 128;

/// What one commit of an epoch does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Adds this mail.
    Add(Vec<u8>),
    /// Takes this mail back.
    Remove(Vec<u8>),
    /// Neither.
    Other,
}

/// An epoch opened for reading: commits from the oldest.
pub struct Epoch {
    repo: PathBuf,
    commits: Vec<(String, i64)>,
    next: usize,
    /// Commits whose mail git was asked for; those from `next` on are still to be read.
    asked: usize,
    child: std::process::Child,
    input: ChildStdin,
    output: BufReader<std::process::ChildStdout>,
    temporary: Option<PathBuf>,
}

impl Epoch {
    /// Opens a bare repository, or a bundle, which is cloned to `scratch` first. `after` is the last commit already read.
    pub fn open(path: &Path, scratch: &Path, after: Option<&str>) -> Result<Epoch, GitError> {
        let failed = |source| GitError::Start {
            repo: path.to_owned(),
            source,
        };
        let full = path.canonicalize().map_err(failed)?;
        let (repo, temporary) = if full.is_file() {
            let dir = scratch.join(format!("epoch-{}", std::process::id()));
            let (from, to) = (
                full.to_string_lossy().into_owned(),
                dir.to_string_lossy().into_owned(),
            );
            run::run(
                scratch,
                &["clone", "--quiet", "--bare", "--", &from, &to],
                None,
            )?;
            (dir.clone(), Some(dir))
        } else {
            (full, None)
        };
        let log = run::run(
            &repo,
            &["log", "--reverse", "--format=%H %ct", "HEAD"],
            None,
        )?;
        let read = |line: &str| {
            let (commit, time) = line.split_once(' ')?;
            Some((commit.to_owned(), time.parse().ok()?))
        };
        let mut commits: Vec<(String, i64)> = String::from_utf8_lossy(&log)
            .lines()
            .filter_map(read)
            .collect();
        if let Some(at) = after.and_then(|a| commits.iter().position(|(c, _)| c == a)) {
            commits.drain(..=at);
        }
        let mut command = run::git(&repo);
        let mut child = command
            .args(["cat-file", "--batch"])
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(failed)?;
        let input = child.stdin.take().expect("its input is a pipe");
        let output = BufReader::with_capacity(
            256 << 10,
            child.stdout.take().expect("its output is a pipe"),
        );
        Ok(Epoch {
            repo,
            commits,
            next: 0,
            asked: 0,
            child,
            input,
            output,
            temporary,
        })
    }

    /// How many commits are to come.
    pub fn remaining(&self) -> usize {
        self.commits.len() - self.next
    }

    /// The next commit: its id, its time and what it does.
    pub fn next_change(&mut self) -> Result<Option<(String, Timestamp, Change)>, GitError> {
        let Some((commit, time)) = self.commits.get(self.next).cloned() else {
            return Ok(None);
        };
        if self.asked == self.next {
            let end = self.commits.len().min(self.next + AHEAD);
            let names: String = self.commits[self.next..end]
                .iter()
                .map(|(commit, _)| format!("{commit}:m\n{commit}:d\n"))
                .collect();
            let asked = self.input.write_all(names.as_bytes());
            asked.map_err(|e| self.failed(e))?;
            self.asked = end;
        }
        self.next += 1;
        let (added, removed) = (self.blob()?, self.blob()?);
        let change = match (added, removed) {
            (Some(bytes), _) => Change::Add(bytes),
            (None, Some(bytes)) => Change::Remove(bytes),
            (None, None) => Change::Other,
        };
        Ok(Some((commit, Timestamp::from_secs(time), change)))
    }

    fn failed(&self, source: std::io::Error) -> GitError {
        GitError::Start {
            repo: self.repo.clone(),
            source,
        }
    }

    /// Reads the next answer: a blob, or nothing where there is none of that name.
    fn blob(&mut self) -> Result<Option<Vec<u8>>, GitError> {
        let repo = &self.repo;
        let failed = |source| GitError::Start {
            repo: repo.clone(),
            source,
        };
        let mut head = String::new();
        self.output.read_line(&mut head).map_err(failed)?;
        let mut words = head.split_whitespace();
        let (Some(_), Some(kind), Some(size)) = (words.next(), words.next(), words.next()) else {
            return Ok(None);
        };
        let size: u64 = size.parse().unwrap_or(0);
        let mut bytes = Vec::new();
        (&mut self.output)
            .take(size)
            .read_to_end(&mut bytes)
            .map_err(failed)?;
        let mut end = [0u8; 1];
        self.output.read_exact(&mut end).map_err(failed)?;
        Ok((kind == "blob").then_some(bytes))
    }
}

impl Drop for Epoch {
    fn drop(&mut self) {
        // Only reading: nothing is lost by ending it.
        let _ended = self.child.kill().and_then(|()| self.child.wait());
        if let Some(dir) = &self.temporary {
            let _left = std::fs::remove_dir_all(dir);
        }
    }
}

/// Makes a bare repository at `dir` out of a `git fast-import` stream that `write` produces.
pub fn write_epoch(
    dir: &Path,
    write: impl FnOnce(&mut dyn Write) -> std::io::Result<()>,
) -> Result<(), GitError> {
    let failed = |source| GitError::Start {
        repo: dir.to_owned(),
        source,
    };
    std::fs::create_dir_all(dir).map_err(failed)?;
    run::run(
        dir,
        &["init", "--quiet", "--bare", "-b", "master", "."],
        None,
    )?;
    let mut command = run::git(dir);
    let mut child = command
        .args(["fast-import", "--quiet", "--done"])
        .stdin(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let mut input = std::io::BufWriter::new(child.stdin.take().expect("its input is a pipe"));
    let written = write(&mut input).and_then(|()| input.flush());
    drop(input);
    let output = child.wait_with_output().map_err(failed)?;
    run::check(output, &["fast-import"], dir)?;
    written.map_err(failed)
}
