//! Starting `git` so that nothing outside the repository and our arguments has a say.

use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

use super::{Committer, GitError};
use crate::types::Timestamp;

/// Environment of every `git` we start: no system or user configuration, no prompts, no locale.
const ENVIRONMENT: [(&str, &str); 9] = [
    ("GIT_CONFIG_NOSYSTEM", "1"),
    ("GIT_CONFIG_GLOBAL", "/dev/null"),
    ("GIT_TERMINAL_PROMPT", "0"),
    ("GIT_ASKPASS", "true"),
    ("GIT_NO_REPLACE_OBJECTS", "1"),
    ("GIT_ADVICE", "0"),
    ("HOME", "/nonexistent"),
    ("LC_ALL", "C"),
    (
        "GIT_SSH_COMMAND",
        "ssh -oBatchMode=yes -oConnectTimeout=60 -oServerAliveInterval=20",
    ),
];

/// Settings of every `git` we start. Hooks are off, and names that mean `.git` elsewhere are refused.
const SETTINGS: [&str; 9] = [
    "core.hooksPath=/dev/null",
    "core.protectHFS=true",
    "core.protectNTFS=true",
    "gc.auto=0",
    "maintenance.auto=false",
    "core.fsync=all",
    "core.fsyncMethod=batch",
    "safe.directory=*",
    "protocol.ext.allow=never",
];

/// For commands that speak with a source: one that says nothing for a minute is given up. git's server says something
/// every five seconds while it thinks.
pub(super) const SILENCE: [&str; 4] = ["-c", "http.lowSpeedLimit=1", "-c", "http.lowSpeedTime=60"];

/// So long a program that was told to end may take for it.
const GRACE: Duration = Duration::from_secs(5);

/// The arguments that come before a sub-command.
pub(super) fn settings() -> impl Iterator<Item = &'static str> {
    SETTINGS.iter().flat_map(|s| ["-c", *s])
}

/// The environment of every `git` we start: a few names and PATH.
pub(super) fn environment() -> impl Iterator<Item = (&'static str, std::ffi::OsString)> {
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
    let own = ENVIRONMENT
        .iter()
        .map(|(k, v)| (*k, std::ffi::OsString::from(v)));
    // Key agents and proxies are for fetching from the project's source.
    let passed = ["SSH_AUTH_SOCK", "https_proxy", "http_proxy", "no_proxy"];
    own.chain([("PATH", path)]).chain(
        passed
            .into_iter()
            .filter_map(|k| std::env::var_os(k).map(|v| (k, v))),
    )
}

/// A `git` command in a repository.
pub(super) fn git(repo: &Path) -> Command {
    let mut command = Command::new("git");
    command
        .env_clear()
        .envs(environment())
        .current_dir(repo)
        .args(settings());
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// What would make git look elsewhere than where it is told (`git rev-parse --local-env-vars`, but for configuration).
const LOCAL: [&str; 12] = [
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_DIR",
    "GIT_GRAFT_FILE",
    "GIT_IMPLICIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_NAMESPACE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
    "GIT_REPLACE_REF_BASE",
    "GIT_SHALLOW_FILE",
    "GIT_WORK_TREE",
];

/// A `git` command in a repository as whoever runs the program would give it: with their configuration, keys and credential
/// helpers, but without hooks of the clone, and without questions.
pub(super) fn own_git(repo: &Path) -> Command {
    let mut command = Command::new("git");
    for name in LOCAL {
        command.env_remove(name);
    }
    command
        .current_dir(repo)
        .env("GIT_DIR", repo)
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("LC_ALL", "C")
        .args(settings())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Runs a command; what it printed, whatever its exit status.
pub(super) fn output(
    command: &mut Command,
    repo: &Path,
    input: Option<&[u8]>,
) -> Result<Output, GitError> {
    let failed = |source| GitError::Start {
        repo: repo.to_owned(),
        source,
    };
    let Some(input) = input else {
        return command.output().map_err(failed);
    };
    let mut child = command.stdin(Stdio::piped()).spawn().map_err(failed)?;
    let mut pipe = child.stdin.take().expect("its input is a pipe");
    std::thread::scope(|scope| {
        // A thread of its own: a program that prints before it has read all would wait for us for ever.
        let writer = scope.spawn(move || pipe.write_all(input));
        let output = child.wait_with_output().map_err(failed);
        // A program that stops reading early says why in its exit status.
        let _told_by_status = writer.join();
        output
    })
}

/// How long a command may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limit {
    /// That long.
    pub time: Duration,
    /// What it does, as errors call it.
    pub what: &'static str,
    /// What is said when it takes longer, before the seconds.
    pub late: &'static str,
    /// And behind them.
    pub mend: &'static str,
}

/// Runs a command with all processes that it starts, and ends them when their time is over.
///
/// Like [`output`] with success wanted: a command that was ended is [`GitError::Failed`] and says so.
pub(super) fn within(
    command: &mut Command,
    repo: &Path,
    limit: Limit,
) -> Result<Vec<u8>, GitError> {
    // A group of its own: what speaks is a child of git's, and must not live on.
    let child = command.process_group(0).spawn();
    let child = child.map_err(|source| GitError::Start {
        repo: repo.to_owned(),
        source,
    })?;
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let stop = |signal| {
        // It may have ended this moment.
        group
            .map(|group| kill_process_group(group, signal))
            .is_some()
    };
    let (done, ended) = mpsc::channel();
    let (out, late) = std::thread::scope(|scope| {
        let waiting = scope.spawn(move || {
            let out = child.wait_with_output();
            // Whoever measured the time may have ceased to.
            let _late = done.send(());
            out
        });
        let late = ended.recv_timeout(limit.time).is_err();
        // Politely at first: git takes its lock files away then.
        if late && stop(Signal::TERM) && ended.recv_timeout(GRACE).is_err() {
            stop(Signal::KILL);
        }
        (waiting.join(), late)
    });
    let failed = |message| GitError::Failed {
        command: limit.what.to_owned(),
        repo: repo.to_owned(),
        message,
    };
    if late {
        let seconds = limit.time.as_secs();
        let text = format!("{} within {seconds} seconds{}", limit.late, limit.mend);
        return Err(failed(text));
    }
    let out = out.map_err(|_| failed("waiting for it failed".to_owned()))?;
    let out = out.map_err(|source| GitError::Start {
        repo: repo.to_owned(),
        source,
    })?;
    check(out, &[limit.what], repo)
}

/// Runs `git` and wants success; returns what it printed.
pub(super) fn run<S: AsRef<OsStr>>(
    repo: &Path,
    arguments: &[S],
    input: Option<&[u8]>,
) -> Result<Vec<u8>, GitError> {
    let mut command = git(repo);
    let output = output(command.args(arguments), repo, input)?;
    check(output, arguments, repo)
}

/// Wants success of a command that was run.
pub(super) fn check<S: AsRef<OsStr>>(
    output: Output,
    arguments: &[S],
    repo: &Path,
) -> Result<Vec<u8>, GitError> {
    if output.status.success() {
        return Ok(output.stdout);
    }
    let command = arguments
        .first()
        .map(|a| a.as_ref().to_string_lossy().into_owned())
        .unwrap_or_default();
    Err(GitError::Failed {
        command,
        repo: repo.to_owned(),
        message: message(&output.stderr),
    })
}

/// The first lines that a program wrote about its trouble.
pub(super) fn message(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let lines: Vec<&str> = text
        .lines()
        .filter(|l| !l.trim().is_empty())
        .take(4)
        .collect();
    let mut text = lines.join("; ");
    text.truncate(text.floor_char_boundary(500));
    text
}

/// One line of output as text.
pub(super) fn line(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}

/// Who would commit in a repository, by the environment and the configuration of whoever runs the program, and the present moment.
pub(super) fn committer(repo: &Path) -> Result<Committer, GitError> {
    let mut command = Command::new("git");
    command
        .current_dir(repo)
        .args(["var", "GIT_COMMITTER_IDENT"])
        .stdin(Stdio::null());
    let out = output(&mut command, repo, None)?;
    if !out.status.success() {
        let text = "git does not know who commits; set user.name and user.email with `git config --global`, \
                    or GIT_COMMITTER_NAME and GIT_COMMITTER_EMAIL";
        return Err(GitError::Refused(text.to_owned()));
    }
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let read = || {
        let (name, rest) = text.trim_end().split_once(" <")?;
        let (email, when) = rest.rsplit_once("> ")?;
        let (seconds, zone) = when.split_once(' ')?;
        let number: i32 = zone.parse().ok()?;
        Some(Committer {
            name: name.to_owned(),
            email: email.to_owned(),
            date: Timestamp::from_secs(seconds.parse().ok()?),
            zone: number / 100 * 60 + number % 100,
            with_author_date: false,
        })
    };
    read().ok_or_else(|| {
        GitError::Refused(format!(
            "git says who commits in a way that is not understood: {text}"
        ))
    })
}

/// The installed git's version, such as `2.47.3`.
pub fn version() -> Result<String, GitError> {
    let out = run(Path::new("/"), &["version"], None)?;
    Ok(line(&out).trim_start_matches("git version ").to_owned())
}
