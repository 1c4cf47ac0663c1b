//! What was purged is found nowhere: on no page, in no feed, mbox, object or export, and as no byte of the data folder, compressed or not.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::super::am::snapshot;
use super::super::harness::{Sink, TestServer, change, git, project, send_email};
use super::super::tools;
use super::super::visitor::to;

const CANARY: &str = "kanarienvogel";
const OPEN: &str = "dev@lists.example.org";
const CLOSED: &str = "closed@lists.example.org";

/// A public list and one that is not, on one repository, a member, and another's mail and patch on each.
struct Site {
    server: TestServer,
    sink: Sink,
}

impl Site {
    fn start() -> Site {
        let sink = Sink::start();
        let server = TestServer::start_with(&to(&sink));
        let dir = server.dir.path();
        let work = project(dir);
        server.cli(&["repo", "add", "tool", "--path", &work.display().to_string()]);
        for (name, address, kind) in [("dev", OPEN, None), ("closed", CLOSED, Some("--private"))] {
            let mut create = vec![
                "list",
                "create",
                name,
                "--address",
                address,
                "--repo",
                "tool",
            ];
            create.extend(kind);
            server.cli(&create);
            server.cli(&["member", "add", name, "ben@example.com"]);
        }
        git(dir, &["clone", "-q", "project", "mine"]);
        let site = Site { server, sink };
        for list in [OPEN, CLOSED] {
            site.patch(list, "line 35\n", "line thirty-five\n", "Spell it");
        }
        site
    }

    /// Sends a patch and waits until it was applied; its Message-ID.
    fn patch(&self, list: &str, from: &str, to: &str, title: &str) -> String {
        let mine = self.server.dir.path().join("mine");
        git(&mine, &["reset", "-q", "--hard", "origin/main"]);
        change(&mine, "src/a.c", from, to, title);
        send_email(&self.server, &mine, list, &["-1"]);
        self.server.drain();
        let name = list.split('@').next().unwrap();
        let all = self.server.json(&["series", "ls", name]);
        let fits = |s: &&Value| s["title"].as_str().is_some_and(|t| t.contains(title));
        let found = all.as_array().unwrap().iter().find(fits);
        let found = found.unwrap_or_else(|| panic!("{title}: {all}"));
        assert_eq!(found["applies"], true, "{found}");
        found["patches"][0]["message_id"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    /// What a visitor gets, unpacked.
    fn seen(&self, path: &str) -> String {
        let answer = self.server.get(path);
        if !path.ends_with(".gz") || answer.status != 200 {
            return answer.text();
        }
        let file = self.server.dir.path().join("got.gz");
        std::fs::write(&file, answer.body).unwrap();
        tools::run(Command::new("gzip").arg("-dc").arg(file))
    }

    /// The compressed mails of the database, as they lie in its file.
    fn frames(&self) -> Vec<String> {
        sqlx::any::install_default_drivers();
        let url = format!("sqlite://{}/patchpost.db", self.server.data().display());
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let rows: Vec<(String,)> = runtime.block_on(async {
            let pool = sqlx::AnyPool::connect(&url).await.unwrap();
            let rows = sqlx::query_as("select hex(data) from blob").fetch_all(&pool);
            let rows = rows.await.unwrap();
            pool.close().await;
            rows
        });
        rows.into_iter().map(|r| r.0).collect()
    }

    /// Where these bytes lie: files of the data folder, and objects of the repositories there.
    fn places(&self, wanted: &[u8]) -> Vec<String> {
        let data = self.server.data();
        let mut found = Vec::new();
        for (path, _) in snapshot(&data) {
            let bytes = std::fs::read(&path).unwrap_or_default();
            if memchr::memmem::find(&bytes, wanted).is_some() {
                found.push(path.display().to_string());
            }
        }
        for repo in std::fs::read_dir(data.join("repos")).unwrap().flatten() {
            if memchr::memmem::find(&objects(&repo.path()), wanted).is_some() {
                found.push(format!("objects of {}", repo.path().display()));
            }
        }
        found
    }

    /// A new export of a list as an epoch, with all that ever was in it.
    fn epoch(&self, list: &str, name: &str) -> String {
        let path = self.server.dir.path().join(name).display().to_string();
        let export = ["export", list, &path, "--format", "public-inbox"];
        self.server.cli(&export);
        git(Path::new(&path), &["log", "-p", "--all"])
    }
}

/// All objects of a repository, unpacked.
fn objects(repo: &Path) -> Vec<u8> {
    let mut git = Command::new("git");
    git.current_dir(repo);
    git.args(["cat-file", "--batch-all-objects", "--batch"]);
    let out = tools::output(&mut git);
    assert!(out.status.success(), "{}", tools::shown(&git, &out));
    out.stdout
}

/// Whether git gets an object by its name from a companion.
fn can_fetch(site: &Site, commit: &str) -> bool {
    let (dir, url) = (site.server.dir.path(), site.server.base());
    let into = dir.join(format!(
        "fetched-{}",
        std::fs::read_dir(dir).unwrap().count()
    ));
    git(dir, &["init", "-q", "--bare", &into.display().to_string()]);
    let url = format!("{url}/tool.patches.git");
    let mut fetch = Command::new("git");
    fetch.current_dir(into).args(["fetch", "-q", &url, commit]);
    tools::output(&mut fetch).status.success()
}

#[test]
fn a_purged_patch_is_found_nowhere() {
    let site = Site::start();
    let before = site.frames();
    let sings = format!("{CANARY} sings");
    let id = site.patch(OPEN, "line 5\n", &format!("{CANARY} 5\n"), &sings);
    let answer = format!(
        "From: Ben <ben@example.com>\nMessage-ID: <answer@x>\nIn-Reply-To: <{id}>\nSubject: Re: it\n\nNo.\n"
    );
    assert!(
        site.server
            .send(&[OPEN], answer.as_bytes())
            .starts_with("250")
    );
    site.server.drain();
    site.server.wait_for("both copies", || {
        (site.sink.posted().len() >= 4 && site.server.metric("patchpost_copies_owed") == 0)
            .then_some(())
    });
    let series = site.server.json(&["series", "ls", "dev"]);
    let fits = |s: &&Value| s["title"].as_str().is_some_and(|t| t.contains(CANARY));
    let series = series
        .as_array()
        .unwrap()
        .iter()
        .find(fits)
        .unwrap()
        .clone();
    let number = &series["patchset"];
    let companion = site.server.data().join("repos/tool.patches.git");
    let name = series["ref"].as_str().unwrap();
    let commit = git(&companion, &["rev-parse", name]);
    let pages = [
        "/dev/".to_owned(),
        "/dev/new.atom".to_owned(),
        "/all/new.atom".to_owned(),
        "/dev/patches/".to_owned(),
        format!("/dev/patches/{number}/"),
        format!("/dev/patches/{number}/v1/"),
        format!("/dev/patches/{number}/mbox"),
        format!("/dev/patches/{number}/mbox.gz"),
        format!("/dev/{id}/"),
        format!("/dev/{id}/raw"),
        format!("/dev/{id}/t.mbox.gz"),
        "/dev/answer@x/T/".to_owned(),
        "/dev/answer@x/t.mbox.gz".to_owned(),
        "/dev/answer@x/t.atom".to_owned(),
        "/dev/?q=sings".to_owned(),
    ];
    for page in &pages {
        let seen = site.seen(page);
        assert!(seen.contains(CANARY), "before: {page}: {seen}");
    }
    let mut frames = site.frames();
    frames.retain(|f| !before.contains(f));
    // A piece of each compressed mail, from its middle; the answer's own stays.
    let pieces = frames.iter().map(|f| {
        let bytes = data_encoding::HEXUPPER.decode(f.as_bytes()).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle - 12..middle + 12].to_vec()
    });
    let mut pieces: Vec<Vec<u8>> = pieces.collect();
    assert_eq!(pieces.len(), 2);
    pieces.retain(|p| !site.places(p).is_empty());
    assert_eq!(pieces.len(), 2, "what is looked for can be found");
    assert!(site.places(CANARY.as_bytes()).len() >= 2);
    assert!(site.epoch("dev", "epoch-before").contains(CANARY));
    assert!(can_fetch(&site, &commit));

    site.server.cli(&["remove", &id, "--purge"]);
    site.server.drain();
    for page in &pages {
        let seen = site.seen(page);
        assert!(!seen.contains(CANARY), "after: {page}: {seen}");
    }
    assert_eq!(site.places(CANARY.as_bytes()), Vec::<String>::new());
    let left = pieces.iter().filter(|p| !site.places(p).is_empty());
    assert_eq!(
        left.count(),
        1,
        "of the compressed mails the answer's alone"
    );
    assert!(!site.epoch("dev", "epoch-after").contains(CANARY));
    assert!(!can_fetch(&site, &commit));
    let mut look = Command::new("git");
    look.current_dir(&companion)
        .args(["cat-file", "-e", &commit]);
    assert!(!tools::output(&mut look).status.success(), "{commit}");
    assert!(site.server.page("/dev/answer@x/").contains("No."));
    let others = site.server.json(&["series", "ls", "dev"]);
    assert_eq!(
        (others.as_array().unwrap().len(), &others[0]["applies"]),
        (1, &true.into())
    );
}

#[test]
fn a_recalled_patch_of_a_private_list_leaves_no_ref_and_no_series_and_purged_no_byte() {
    let site = Site::start();
    let server = &site.server;
    let sings = format!("{CANARY} sings");
    let id = site.patch(CLOSED, "line 5\n", &format!("{CANARY} 5\n"), &sings);
    let refs = || {
        let repos = std::fs::read_dir(server.data().join("repos"))
            .unwrap()
            .flatten();
        let lines = repos.map(|r| git(&r.path(), &["for-each-ref", "refs/patches"]));
        lines.collect::<Vec<_>>().join("\n")
    };
    let before = refs().lines().filter(|l| l.ends_with("/v1")).count();
    assert_eq!(before, 3, "{}", refs());
    server.cli(&["recall", &id]);
    server.drain();
    let left = refs();
    assert_eq!(
        left.lines().filter(|l| l.ends_with("/v1")).count(),
        2,
        "{left}"
    );
    let all = server.json(&["series", "ls", "closed"]);
    assert_eq!(
        (all.as_array().unwrap().len(), &all[0]["applies"]),
        (1, &true.into()),
        "{all}"
    );
    for repo in std::fs::read_dir(server.data().join("repos"))
        .unwrap()
        .flatten()
    {
        let objects = objects(&repo.path());
        let found = memchr::memmem::find(&objects, CANARY.as_bytes());
        assert!(found.is_none(), "{}", repo.path().display());
    }
    let held = server.json(&["held", "ls", "closed"]);
    assert_eq!(held[0]["reason"], "recalled: by the operator", "{held}");
    server.cli(&["held", "discard", &held[0]["id"].to_string(), "--purge"]);
    assert_eq!(site.places(CANARY.as_bytes()), Vec::<String>::new());
    assert!(!server.log().contains(CANARY), "{}", server.log());
}
