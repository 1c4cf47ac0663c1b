//! A server with a list and a project, and what stories about bases do with them.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::harness::{Database, TestServer, change, git, project};

pub const LIST: &str = "dev@x.org";

/// A server with a list and a project, and a contributor's clone of it.
pub struct Site {
    pub server: TestServer,
    /// The project itself.
    pub work: PathBuf,
    /// The contributor's clone.
    pub mine: PathBuf,
}

impl Site {
    pub fn new(database: Database) -> Site {
        let server = TestServer::start_on(database);
        let work = project(server.dir.path());
        server.cli(&["repo", "add", "tool", "--path", &path(&work)]);
        server.cli(&["list", "create", "dev", "--address", LIST, "--repo", "tool"]);
        let mine = server.dir.path().join("mine");
        git(
            server.dir.path(),
            &["clone", "-q", &path(&work), &path(&mine)],
        );
        Site { server, work, mine }
    }

    /// Commits a change of one line on top of what the contributor has; its mail.
    pub fn patch(&self, from: &str, to: &str, title: &str) -> String {
        let (from, to) = (format!("{from}\n"), format!("{to}\n"));
        change(&self.mine, "src/a.c", &from, &to, title);
        let text = git(&self.mine, &["format-patch", "-1", "--stdout"]);
        text.split_once('\n').unwrap().1.to_owned() + "\n"
    }

    /// Goes back to what the project has.
    pub fn back(&self) {
        git(&self.mine, &["reset", "-q", "--hard", "origin/main"]);
    }

    #[track_caller]
    pub fn send(&self, mail: &str) {
        let reply = self.server.send(&[LIST], mail.as_bytes());
        assert!(reply.starts_with("250"), "{reply}");
        self.server.drain();
    }

    /// The version of that title and label.
    #[track_caller]
    pub fn series(&self, title: &str, label: &str) -> Value {
        let all = self.server.json(&["series", "ls"]);
        let mut found = all.as_array().unwrap().iter();
        let one = found.find(|s| s["title"] == title && s["version"] == label);
        one.unwrap_or_else(|| panic!("{title} v{label}: {all:#}"))
            .clone()
    }

    /// The page of a series' patchset.
    pub fn page(&self, series: &Value) -> String {
        let path = format!(
            "/dev/patches/{}/v{}/",
            series["patchset"],
            text(&series["version"])
        );
        self.server.page(&path)
    }

    /// The commits of a series' ref in the companion, newest first.
    pub fn commits(&self, series: &Value) -> Vec<String> {
        let name = series["ref"]
            .as_str()
            .unwrap_or_else(|| panic!("no ref: {series:#}"));
        let companion = self.server.data().join("repos/tool.patches.git");
        let out = git(&companion, &["log", "--format=%H", name]);
        out.lines().map(str::to_owned).collect()
    }

    /// Asserts that a series stands on the last commit of another.
    #[track_caller]
    pub fn assert_on(&self, series: &Value, below: &Value) {
        let (own, below) = (self.commits(series), self.commits(below));
        assert_eq!(own[1..], below[..], "{series:#}");
        assert_eq!(series["base"], below[0].as_str());
    }

    pub fn tip(&self) -> String {
        git(&self.work, &["rev-parse", "main"])
    }

    pub fn fetch(&self) {
        self.server.cli(&["repo", "fetch", "tool"]);
        self.server.drain();
    }
}

pub fn path(path: &Path) -> String {
    path.display().to_string()
}

pub fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

/// A mail with a Message-ID, further header fields and, before its diff, trailers.
pub fn named(id: &str, mail: &str, trailers: &str) -> String {
    let mail = mail.replacen("\n---\n", &format!("\n{trailers}---\n"), 1);
    format!("Message-ID: <{id}>\nTo: {LIST}\n{mail}")
}

#[track_caller]
pub fn assert_says(page: &str, words: &str) {
    let escaped = words.replace('<', "&#60;").replace('>', "&#62;");
    let lines: Vec<&str> = page
        .lines()
        .filter(|l| l.contains("class=\"note") || l.contains("class=\"facts"))
        .collect();
    assert!(page.contains(&escaped), "{words}: {lines:#?}");
}
