//! Starts the real binary on port 0 in a folder of its own and speaks to it as clients do.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

pub use super::wire::{Copy, Sink, Smtp, crlf};

/// How long a fact is waited for. Generous: it says "never", not "slow".
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Which database a story runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Database {
    Sqlite,
    Postgres,
}

/// Makes two tests of each story: one a database.
macro_rules! on_both {
    ($($story:ident),* $(,)?) => {
        mod on_sqlite {
            $(#[test] fn $story() { super::$story(crate::harness::Database::Sqlite) })*
        }
        mod on_postgresql {
            $(#[test] fn $story() { super::$story(crate::harness::Database::Postgres) })*
        }
    };
}
pub(crate) use on_both;

pub struct TestServer {
    pub dir: tempfile::TempDir,
    child: Option<Child>,
    pub addresses: HashMap<String, String>,
    environment: Vec<(String, String)>,
    options: &'static [&'static str],
}

impl TestServer {
    pub fn start() -> TestServer {
        TestServer::start_with(&[])
    }

    /// On SQLite in its folder, or on a new PostgreSQL database.
    pub fn start_on(database: Database) -> TestServer {
        TestServer::start_on_with(database, &[])
    }

    pub fn start_on_with(database: Database, environment: &[(&str, &str)]) -> TestServer {
        TestServer::start_on_as(database, &[], environment)
    }

    pub fn start_on_as(
        database: Database,
        options: &'static [&'static str],
        environment: &[(&str, &str)],
    ) -> TestServer {
        let url = match database {
            Database::Sqlite => String::new(),
            Database::Postgres => super::postgres::new_database(),
        };
        let mut all = environment.to_vec();
        all.push(("PATCHPOST_DATABASE_URL", &url));
        TestServer::start_as(options, &all)
    }

    pub fn start_with(environment: &[(&str, &str)]) -> TestServer {
        TestServer::start_as(&[], environment)
    }

    /// Starts `serve` with options.
    pub fn start_as(options: &'static [&'static str], environment: &[(&str, &str)]) -> TestServer {
        let dir = tempfile::tempdir().unwrap();
        let own = |(k, v): &(&str, &str)| ((*k).to_owned(), (*v).to_owned());
        let environment = environment.iter().map(own).collect();
        let mut server = TestServer {
            dir,
            child: None,
            addresses: HashMap::new(),
            environment,
            options,
        };
        server.launch();
        server
    }

    /// What a variable is set to for the server, or empty.
    pub fn variable(&self, name: &str) -> String {
        let found = self.environment.iter().find(|(n, _)| n == name);
        found.map_or_else(String::new, |(_, value)| value.clone())
    }

    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    pub fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_patchpost"));
        // The settings of whoever runs the tests are not the test's.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("PATCHPOST_") {
                command.env_remove(name);
            }
        }
        command
            .env("PATCHPOST_DATA", self.data())
            .current_dir(self.dir.path());
        command.env("PATCHPOST_DNS_ZONE", "/dev/null");
        // Most stories are of people whom a list knows; those of strangers say so.
        command.env("PATCHPOST_LISTS_MODERATION", "none");
        command.envs(self.environment.iter().cloned());
        command
    }

    pub fn launch(&mut self) {
        let ready = self.dir.path().join("ready.json");
        let _absent = std::fs::remove_file(&ready);
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.dir.path().join("log"))
            .unwrap();
        let mut command = self.command();
        for name in ["SMTP", "LMTP", "HTTP", "OPS"] {
            let fixed = self.addresses.get(&name.to_lowercase()).cloned();
            command.env(
                format!("PATCHPOST_{name}_LISTEN"),
                fixed.unwrap_or_else(|| "127.0.0.1:0".to_owned()),
            );
        }
        command
            .args(["serve", "--ready-file"])
            .arg(&ready)
            .args(self.options)
            .stderr(log)
            .stdout(std::fs::File::create(self.dir.path().join("printed")).unwrap());
        self.child = Some(command.spawn().unwrap());
        let text = self.wait_for("the server to be ready", || {
            std::fs::read_to_string(&ready).ok()
        });
        self.addresses = serde_json::from_str(&text).unwrap();
    }

    /// kill -9
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// SIGTERM, and it must end in time.
    pub fn terminate(&mut self) {
        let mut child = self.child.take().expect("it runs");
        Command::new("kill")
            .arg(child.id().to_string())
            .status()
            .unwrap();
        let started = Instant::now();
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                assert!(status.success(), "a stop is no failure: {status}");
                return;
            }
            assert!(
                started.elapsed() < Duration::from_secs(20),
                "it did not stop"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    /// What the server wrote to its standard output.
    pub fn printed(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("printed")).unwrap()
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    #[track_caller]
    pub fn wait_for<T>(&self, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        let started = Instant::now();
        while started.elapsed() < DEADLINE {
            if let Some(found) = look() {
                return found;
            }
            std::thread::sleep(Duration::from_millis(30));
        }
        let log = self.log();
        let tail: Vec<&str> = log.lines().rev().take(30).collect();
        panic!(
            "waited for {what} in vain; the server's log ends with:\n{}",
            tail.into_iter().rev().collect::<Vec<_>>().join("\n")
        );
    }

    /// Begins a command on the server's folder.
    pub fn begin(&self, arguments: &[&str]) -> Child {
        let mut command = self.command();
        command.args(arguments);
        command.stdout(std::process::Stdio::null());
        command.stderr(std::process::Stdio::null());
        command.spawn().unwrap()
    }

    /// Runs a command on the server's folder; it must succeed.
    #[track_caller]
    pub fn cli(&self, arguments: &[&str]) -> String {
        let out = self.command().args(arguments).output().unwrap();
        assert!(
            out.status.success(),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&out.stderr)
        );
        String::from_utf8(out.stdout).unwrap()
    }

    /// Runs a command that must fail; what it said.
    #[track_caller]
    pub fn cli_fails(&self, arguments: &[&str]) -> String {
        let out = self.command().args(arguments).output().unwrap();
        assert!(
            !out.status.success(),
            "{arguments:?} succeeded: {}",
            String::from_utf8_lossy(&out.stdout)
        );
        String::from_utf8(out.stderr).unwrap()
    }

    #[track_caller]
    pub fn json(&self, arguments: &[&str]) -> serde_json::Value {
        let arguments: Vec<&str> = arguments.iter().copied().chain(["--json"]).collect();
        serde_json::from_str(&self.cli(&arguments)).unwrap()
    }

    pub fn base(&self) -> String {
        format!("http://{}", self.addresses["http"])
    }

    #[track_caller]
    pub fn get(&self, path: &str) -> Answer {
        request(
            &self.addresses["http"],
            &format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
        )
    }

    #[track_caller]
    pub fn page(&self, path: &str) -> String {
        let answer = self.get(path);
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer.text()
    }

    /// A number of `/metrics`; what never happened is not there.
    pub fn metric(&self, name: &str) -> i64 {
        let page = request(
            &self.addresses["ops"],
            "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        );
        let text = page.text();
        let mut lines = text.lines();
        let found = lines.find_map(|l| l.strip_prefix(name)?.strip_prefix(' '));
        found.map_or(0, |number| number.trim().parse().unwrap())
    }

    /// Sends one mail by SMTP; the final reply.
    #[track_caller]
    pub fn send(&self, recipients: &[&str], mail: &[u8]) -> String {
        let mut smtp = Smtp::connect(&self.addresses["smtp"]);
        let (replies, _) = smtp.send("ana@example.org", recipients, mail);
        replies
    }

    /// Waits until no work is owed, as long as some of it gets done.
    #[track_caller]
    pub fn drain(&self) {
        let mut owed = self.owed();
        while !owed.is_empty() {
            owed = self.wait_for("all work to be done", || {
                Some(self.owed()).filter(|now| *now != owed)
            });
        }
    }

    /// The work that is owed, by its numbers.
    fn owed(&self) -> Vec<i64> {
        let jobs = self.json(&["jobs"]);
        // What an author is told of an incomplete series is told in a quarter of an hour; DNS is asked again in five minutes.
        let soon = patchpost::store::now().plus_secs(60).rfc3339();
        let later = |j: &&serde_json::Value| {
            let kinds = ["report", "verify"];
            kinds.contains(&j["kind"].as_str().unwrap())
                && j["run_at"].as_str() > Some(soon.as_str())
        };
        let due = jobs.as_array().unwrap().iter().filter(|j| !later(j));
        due.map(|j| j["id"].as_i64().unwrap()).collect()
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _gone = child.kill();
            let _reaped = child.wait();
        }
    }
}

pub struct Answer {
    pub status: u16,
    /// As sent: names keep their case.
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn header(&self, name: &str) -> Option<String> {
        self.head
            .lines()
            .find_map(|l| l.strip_prefix(&format!("{name}: ")).map(str::to_owned))
    }
}

pub fn request(address: &str, text: &str) -> Answer {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(text.as_bytes()).unwrap();
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap();
    let at = all
        .windows(4)
        .position(|w| w == b"\r\n\r\n")
        .expect("a header");
    let head = String::from_utf8(all[..at].to_vec()).unwrap();
    let mut body = all[at + 4..].to_vec();
    if head.to_lowercase().contains("transfer-encoding: chunked") {
        body = unchunk(&body);
    }
    Answer {
        status: head[9..12].parse().unwrap(),
        head,
        body,
    }
}

fn unchunk(mut rest: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    while let Some(at) = rest.windows(2).position(|w| w == b"\r\n") {
        let size =
            usize::from_str_radix(std::str::from_utf8(&rest[..at]).unwrap().trim(), 16).unwrap();
        if size == 0 {
            break;
        }
        out.extend_from_slice(&rest[at + 2..at + 2 + size]);
        rest = &rest[at + 4 + size..];
    }
    out
}

/// Runs git in a folder as a contributor would; what it printed.
#[track_caller]
pub fn git(dir: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new("git");
    command
        .current_dir(dir)
        .args([
            "-c",
            "user.name=Ana Lima",
            "-c",
            "user.email=ana@example.org",
        ])
        .args(arguments);
    command
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("HOME", dir);
    let out = command.output().unwrap();
    assert!(
        out.status.success(),
        "git {arguments:?}: {}{}",
        String::from_utf8_lossy(&out.stdout),
        String::from_utf8_lossy(&out.stderr)
    );
    String::from_utf8_lossy(&out.stdout).trim().to_owned()
}

/// A project with some history: a folder with a work tree on branch `main`.
pub fn project(dir: &Path) -> PathBuf {
    let work = dir.join("project");
    std::fs::create_dir_all(work.join("src")).unwrap();
    git(&work, &["init", "-q", "-b", "main", "."]);
    let lines: Vec<String> = (1..=40).map(|n| format!("line {n}")).collect();
    std::fs::write(work.join("src/a.c"), lines.join("\n") + "\n").unwrap();
    std::fs::write(work.join("README"), "A project\n").unwrap();
    git(&work, &["add", "."]);
    git(&work, &["commit", "-q", "-m", "Begin"]);
    work
}

/// Changes one line of a file and commits it.
pub fn change(work: &Path, file: &str, from: &str, to: &str, message: &str) {
    let path = work.join(file);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{file} holds {from}");
    std::fs::write(&path, text.replacen(from, to, 1)).unwrap();
    git(work, &["commit", "-q", "-am", message]);
}

/// The real `git send-email`.
#[track_caller]
pub fn send_email(server: &TestServer, work: &Path, list: &str, arguments: &[&str]) {
    let (host, port) = server.addresses["smtp"].rsplit_once(':').unwrap();
    let (to, host, port) = (
        format!("--to={list}"),
        format!("--smtp-server={host}"),
        format!("--smtp-server-port={port}"),
    );
    let mut all = vec![
        "send-email",
        "--from=Ana Lima <ana@example.org>",
        "--confirm=never",
        "--suppress-cc=all",
        "--quiet",
    ];
    all.extend(["--smtp-encryption=none", "--no-validate", &to, &host, &port]);
    all.extend(arguments);
    git(work, &all);
}

/// Where the corpus of real mail is, if it is there.
pub fn corpus() -> Option<PathBuf> {
    let given = std::env::var_os("PATCHPOST_CORPUS").map(PathBuf::from);
    let path =
        given.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus"));
    path.is_dir().then_some(path)
}

/// The corpus for a test that cannot do without it: where it is not, the figures of the run say that the test was not run.
pub fn corpus_for(what: &str) -> Option<PathBuf> {
    let found = corpus();
    if found.is_none() {
        report(&format!("NOT RUN: no corpus: {what}"));
    }
    found
}

/// Says a figure of a run: at once, also where the test passes and its output is kept back, and at the end of `make test`.
pub fn report(line: &str) {
    let mut out = std::io::stderr();
    writeln!(out, "{line}").unwrap();
    if let Some(path) = std::env::var_os("PATCHPOST_TEST_SCORES") {
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.create(true).append(true).open(path).unwrap();
        // In one piece: other tests write there, too.
        file.write_all(format!("{line}\n").as_bytes()).unwrap();
    }
}

/// A port of 127.0.0.1 that nobody listens on: below those that the system gives to who asks for any, and given once.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = u16::try_from(std::process::id() % 10_000).unwrap();
    loop {
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = 20_000 + (first + next) % 12_000;
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// How much to do: 1 small, 2 middle, 3 full.
pub fn size() -> usize {
    match std::env::var("PATCHPOST_TEST_SIZE").as_deref() {
        Ok("full") => 3,
        Ok("middle") => 2,
        _ => 1,
    }
}
