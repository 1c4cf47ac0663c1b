//! A maintainer lands a series by one command: shown first, pushed as a fast-forward, recorded; or refused in words.

use std::path::PathBuf;
use std::process::Command;

use patchpost::git::{Prepared, Pushed, Repos, Source};
use serde_json::Value;

use super::harness::{Database, TestServer, change, git, on_both, project, send_email};

on_both! {
    a_series_lands_with_its_trailers_and_who_did_it,
    a_repository_of_our_own_takes_the_commits_too,
}

pub const KIM: &str = "Kim Maintainer <kim@example.net>";
/// Who commits, and when: with a fixed date the commits that are shown are those that are pushed.
pub const COMMITTER: [(&str, &str); 6] = [
    ("GIT_COMMITTER_NAME", "Kim Maintainer"),
    ("GIT_COMMITTER_EMAIL", "kim@example.net"),
    ("GIT_COMMITTER_DATE", "1790000000 +0200"),
    ("GIT_CONFIG_GLOBAL", "/dev/null"),
    ("GIT_CONFIG_NOSYSTEM", "1"),
    ("USER", "kim"),
];

/// A server, the project's bare repository that it follows, and a contributor's clone of that.
pub struct Story {
    pub server: TestServer,
    upstream: PathBuf,
    pub mine: PathBuf,
}

impl Story {
    pub fn begin(database: Database) -> Story {
        let server = TestServer::start_on_with(database, &COMMITTER);
        let dir = server.dir.path().to_owned();
        project(&dir);
        let story = Story {
            upstream: dir.join("upstream.git"),
            mine: dir.join("mine"),
            server,
        };
        git(&dir, &["clone", "-q", "--bare", "project", "upstream.git"]);
        git(&dir, &["clone", "-q", "upstream.git", "mine"]);
        let source = story.upstream.display().to_string();
        story
            .server
            .cli(&["repo", "add", "tool", "--path", &source]);
        story.list("tool");
        story
    }

    fn list(&self, repo: &str) {
        let create = ["list", "create", "dev", "--address", "dev@x.org"];
        let mut all = create.to_vec();
        all.extend(["--repo", repo]);
        self.server.cli(&all);
    }

    /// Two patches to one file, on their way.
    pub fn send_two(&self) {
        let to = "line five\n";
        change(&self.mine, "src/a.c", "line 5\n", to, "Change five");
        let to = "line thirty\n";
        let message = "Change thirty\n\nWith words.\n\nSigned-off-by: Ana Lima <ana@example.org>";
        change(&self.mine, "src/a.c", "line 30\n", to, message);
        send_email(&self.server, &self.mine, "dev@x.org", &["-2"]);
        self.server.drain();
    }

    fn answer(&self, from: &str, patch: usize, trailer: &str) {
        let to = self.series()["patches"][patch]["message_id"].clone();
        let to = to.as_str().unwrap();
        let id = format!("{}-{patch}", from.len());
        let mail = format!(
            "From: {from}\nTo: dev@x.org\nSubject: Re: it\nMessage-ID: <{id}@r.example>\nIn-Reply-To: <{to}>\n\n{trailer}\n"
        );
        let reply = self.server.send(&["dev@x.org"], mail.as_bytes());
        assert!(reply.starts_with("250"), "{reply}");
        self.server.drain();
    }

    fn series(&self) -> Value {
        self.server.json(&["series", "ls"])[0].clone()
    }

    /// Commits of the project's branch.
    fn tip(&self) -> String {
        git(&self.upstream, &["rev-parse", "main"])
    }

    /// Somebody else's commit in the project.
    fn move_on(&self, from: &str, to: &str) {
        let other = self.server.dir.path().join("other");
        if !other.exists() {
            let dir = self.server.dir.path();
            git(dir, &["clone", "-q", "upstream.git", "other"]);
        }
        git(&other, &["pull", "-q"]);
        change(&other, "src/a.c", from, to, "Somebody else's");
        git(&other, &["push", "-q", "origin", "main"]);
    }

    /// A hook of the project's repository.
    fn hook(&self, text: &str) {
        self.hook_named("pre-receive", text);
    }

    fn hook_named(&self, name: &str, text: &str) {
        use std::os::unix::fs::PermissionsExt;
        let path = self.upstream.join("hooks").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// What our clone holds: every object, and every folder that landings make.
    fn objects(&self, clone: &str) -> (String, usize) {
        let clone = self.server.data().join("repos").join(clone);
        let all = ["cat-file", "--batch-all-objects", "--batch-check"];
        let apart = std::fs::read_dir(clone.join("objects")).unwrap();
        let apart = apart.filter(|e| {
            let name = e.as_ref().unwrap().file_name();
            name.to_string_lossy().starts_with("tmp_")
        });
        (git(&clone, &all), apart.count())
    }

    /// Runs a landing that must be refused, and leave everything as it was.
    #[track_caller]
    pub fn refused(&self, arguments: &[&str]) -> String {
        let (objects, tip) = (self.objects("tool.git"), self.tip());
        let said = self.server.cli_fails(arguments);
        assert_eq!(self.objects("tool.git"), objects, "the clone is as it was");
        assert_eq!(self.tip(), tip, "the project is as it was");
        assert!(self.series()["patches"][0]["landed"].is_null());
        said
    }
}

fn unix_now() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    i64::try_from(now.unwrap().as_secs()).unwrap()
}

/// `2026-11-26T07:20:00Z` by GNU date.
fn unix_seconds(stamp: &str) -> i64 {
    let out = Command::new("date")
        .args(["-u", "+%s", "-d", stamp])
        .output()
        .unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    text.trim().parse().unwrap_or_else(|_| panic!("{stamp}"))
}

/// The commit that real `git am` makes of what `series mbox` prints.
pub fn by_git_am(story: &Story) -> String {
    let mbox = story.server.cli(&["series", "mbox", "1", "--signoff", KIM]);
    let dir = story.server.dir.path();
    git(dir, &["clone", "-q", "upstream.git", "am"]);
    std::fs::write(dir.join("it.mbox"), mbox).unwrap();
    let mut am = Command::new("git");
    am.current_dir(dir.join("am"))
        .args(["am", "-q", "../it.mbox"]);
    let out = am.envs(COMMITTER).output().unwrap();
    assert!(out.status.success(), "{out:?}");
    git(&dir.join("am"), &["rev-parse", "HEAD"])
}

fn a_series_lands_with_its_trailers_and_who_did_it(database: Database) {
    let story = Story::begin(database);
    story.send_two();
    story.answer(
        "Ben Ode <ben@example.com>",
        0,
        "Reviewed-by: Ben Ode <ben@example.com>",
    );
    story.answer(
        "Eve <eve@example.com>",
        1,
        "Acked-by: Linus <torvalds@example.com>",
    );
    let expected = by_git_am(&story);
    let (tip, objects) = (story.tip(), story.objects("tool.git"));
    let wish = ["series", "apply", "1", "--signoff", KIM];

    // First only said.
    let text = story.server.cli(&[&wish[..], &["--dry-run"]].concat());
    for part in [
        format!("old tip    {tip}"),
        format!("new tip    {expected}"),
        format!("committer  {KIM}"),
        "Change five\n  author     Ana Lima <ana@example.org>\n  folded in  Reviewed-by: Ben Ode <ben@example.com> (by ben@example.com in <"
            .to_owned(),
        "left out   Acked-by: Linus <torvalds@example.com> (by eve@example.com in <".to_owned(),
        format!("2/2 {expected} Change thirty\n"),
        format!("signed     Signed-off-by: {KIM}\n"),
        " src/a.c | 4 ++--\n 1 file changed, 2 insertions(+), 2 deletions(-)\n".to_owned(),
        "dry run: nothing was pushed".to_owned(),
    ] {
        assert!(text.contains(&part), "{part:?} in {text}");
    }
    assert_eq!(story.tip(), tip);
    assert_eq!(story.objects("tool.git"), objects);
    assert_eq!(story.series()["state"], "new");

    // Then done: what was said.
    let began = unix_now();
    let landed = story.server.json(&wish);
    assert_eq!(landed["pushed"], true);
    assert_eq!(
        (&landed["old"], &landed["new"]),
        (&tip.into(), &expected.as_str().into())
    );
    assert_eq!(story.tip(), expected);
    let first = git(&story.upstream, &["log", "-1", "--format=%B", "main~1"]);
    let trailers =
        format!("Change five\n\nReviewed-by: Ben Ode <ben@example.com>\nSigned-off-by: {KIM}");
    assert_eq!(first, trailers);
    assert_eq!(git(&story.upstream, &["rev-list", "--count", "main"]), "3");
    let clone = story.server.data().join("repos/tool.git");
    assert_eq!(git(&clone, &["rev-parse", "main"]), expected);
    git(&clone, &["fsck", "--strict"]);
    assert_eq!(story.objects("tool.git").1, 0);

    // And recorded: which commits, by whom.
    story.server.drain();
    let one = story.series();
    assert_eq!(one["state"], "accepted");
    assert_eq!(one["patches"][1]["landed"], expected.as_str());
    let page = story.server.page("/dev/patches/1/");
    assert!(page.contains("Landed: 2 of 2 patches: 1 as "), "{page}");
    let who = "kim, as Kim Maintainer &#60;kim@example.net&#62;";
    assert!(page.contains(who), "{page}");
    // And when: between the moments before and after, as the page's machine-readable time says.
    let line = page.split("<li>").find(|l| l.contains(who)).unwrap();
    let stamp = line
        .split("datetime=\"")
        .nth(1)
        .and_then(|t| t.split('"').next());
    let stamp = stamp.unwrap_or_else(|| panic!("{line}"));
    let at = unix_seconds(stamp);
    assert!(
        (began..=unix_now()).contains(&at),
        "{stamp}: {began} to {}",
        unix_now()
    );
    let again = story.server.cli_fails(&wish);
    assert!(again.contains("in main of tool already"), "{again}");
}

fn a_repository_of_our_own_takes_the_commits_too(database: Database) {
    let server = TestServer::start_on_with(database, &COMMITTER);
    let dir = server.dir.path().to_owned();
    let mine = project(&dir);
    server.cli(&["repo", "add", "own", "--init"]);
    let clone = server.data().join("repos/own.git");
    git(&mine, &["push", "-q", &clone.display().to_string(), "main"]);
    server.cli(&["repo", "fetch", "own"]);
    let story = Story {
        upstream: clone.clone(),
        mine,
        server,
    };
    story.list("own");
    story.send_two();
    story.server.cli(&["series", "state", "1", "under-review"]);
    let objects = story.objects("own.git");
    let dry = story.server.json(&["series", "apply", "1", "--dry-run"]);
    assert_eq!(story.objects("own.git"), objects);
    story.server.cli(&["series", "apply", "1"]);
    assert_eq!(story.tip(), dry["new"].as_str().unwrap());
    git(&clone, &["fsck", "--strict"]);
    let one = story.series();
    assert_eq!(
        one["state"], "accepted",
        "a person's word against a person's"
    );
    assert_eq!(one["patches"][1]["landed"], story.tip().as_str());
}

#[test]
fn a_patch_that_does_not_fit_is_named_with_file_and_hunk() {
    let story = Story::begin(Database::Sqlite);
    story.send_two();
    story.move_on("line 30\n", "line XXX\n");
    story.server.cli(&["repo", "fetch", "tool"]);
    story.server.drain();
    for wish in [
        &["series", "apply", "1"][..],
        &["series", "apply", "1", "--dry-run"],
    ] {
        let said = story.refused(wish);
        let place = "patch 2 does not apply to main of tool: src/a.c hunk 1: ";
        assert!(said.contains(place), "{said}");
    }
}

#[test]
fn a_patch_that_is_in_the_branch_already_is_said_and_left_out() {
    let story = Story::begin(Database::Sqlite);
    story.send_two();
    // The same change, and another one beside it: no commit that the mail could be known by.
    story.move_on("line 5\n", "line five\n");
    story.move_on("line 20\n", "line twenty\n");
    let other = story.server.dir.path().join("other");
    git(&other, &["reset", "-q", "--soft", "HEAD~2"]);
    git(&other, &["commit", "-q", "-m", "Both at once"]);
    git(&other, &["push", "-q", "-f", "origin", "main"]);
    let text = story.server.cli(&["series", "apply", "1"]);
    assert!(
        text.contains("1/2 is in the branch already\n2/2 "),
        "{text}"
    );
    assert_eq!(git(&story.upstream, &["rev-list", "--count", "main"]), "3");
    let one = story.series();
    assert!(one["patches"][0]["landed"].is_null());
    assert_eq!(one["patches"][1]["landed"], story.tip().as_str());
    assert_eq!(one["state"], "accepted", "a maintainer says so");
}

#[test]
fn who_has_no_right_to_push_is_told_so() {
    let story = Story::begin(Database::Sqlite);
    story.send_two();
    story.hook("echo 'no entry for you' >&2; exit 1");
    let said = story.refused(&["series", "apply", "1"]);
    assert!(
        said.contains("does not take the push; nothing was changed"),
        "{said}"
    );
    assert!(
        said.contains("pre-receive hook declined") && said.contains("no entry for you"),
        "{said}"
    );
    // A source that is only served for reading: our own pages.
    let url = format!("{}/tool.git", story.server.base());
    story
        .server
        .cli(&["repo", "add", "mirror", "--clone", &url]);
    story
        .server
        .cli(&["list", "set", "dev", "--repo", "tool", "--repo", "mirror"]);
    let said = story.refused(&["series", "apply", "1", "--repo", "mirror"]);
    assert!(said.contains("does not take the push"), "{said}");
}

/// The source goes away between the push and the fetch: what was pushed is recorded all the same.
#[test]
fn a_fetch_that_fails_after_the_push_takes_nothing_back() {
    let story = Story::begin(Database::Sqlite);
    story.send_two();
    story
        .server
        .cli(&["series", "state", "1", "changes-requested"]);
    let away = story.server.dir.path().join("away.git");
    let (from, to) = (story.upstream.display(), away.display());
    story.hook_named("post-receive", &format!("mv {from} {to}"));
    let said = story.server.cli_fails(&["series", "apply", "1"]);
    let words = "pushed, and recorded, but not fetched yet; `patchpost repo fetch tool` does that";
    assert!(said.contains(words), "{said}");
    let one = story.series();
    assert_eq!(one["state"], "accepted");
    assert!(!one["patches"][0]["landed"].is_null(), "{one}");
    std::fs::rename(away, &story.upstream).unwrap();
    story.server.cli(&["repo", "fetch", "tool"]);
    assert_eq!(story.series()["state"], "accepted");
}

#[test]
fn a_tip_that_moved_meanwhile_is_never_overwritten() {
    let story = Story::begin(Database::Sqlite);
    story.send_two();
    // The branch moves while the push is on its way, behind the back of git's own comparison.
    story.move_on("line 1\n", "line one\n");
    let newer = story.tip();
    git(
        &story.upstream,
        &["update-ref", "refs/heads/main", "main~1"],
    );
    story.hook(&format!(
        "env -i PATH=\"$PATH\" git update-ref refs/heads/main {newer}"
    ));
    let said = story.server.cli_fails(&["series", "apply", "1"]);
    assert!(
        said.contains("main of tool is at") && said.contains("nothing was pushed"),
        "{said}"
    );
    assert_eq!(story.tip(), newer);
    assert!(story.series()["patches"][0]["landed"].is_null());
}

/// Forward, or back: who rewrote the branch does not get back what was dropped.
#[test]
fn the_branch_moves_from_the_tip_that_was_applied_on_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let work = project(dir.path());
    change(&work, "README", "A project", "The project", "Second");
    git(&work, &["checkout", "-q", "-b", "topic"]);
    change(&work, "src/a.c", "line 5\n", "line five\n", "Change five");
    let mail = git(&work, &["format-patch", "-1", "--stdout"]) + "\n";
    git(
        dir.path(),
        &[
            "clone",
            "-q",
            "--bare",
            "-b",
            "main",
            "project",
            "upstream.git",
        ],
    );
    let upstream = dir.path().join("upstream.git");
    let repos = Repos::new(&dir.path().join("data"));
    let source = Source::Path(upstream.clone());
    repos.create("tool", &source, None).unwrap();
    let mails = [mail.split_once('\n').unwrap().1.as_bytes().to_vec()];
    let committer = dir.path().join("data/repos/tool.git");
    git(&committer, &["config", "user.name", "Kim"]);
    git(&committer, &["config", "user.email", "kim@example.net"]);
    let prepare = || match repos.prepare_landing("tool", "main", &mails).unwrap() {
        Prepared::Ready(landing) => landing,
        other => panic!("{other:?}"),
    };
    for elsewhere in ["main~1", "topic"] {
        let landing = prepare();
        let before = git(&upstream, &["rev-parse", "main"]);
        git(&upstream, &["update-ref", "refs/heads/main", elsewhere]);
        let now = git(&upstream, &["rev-parse", "main"]);
        assert_eq!(landing.push().unwrap(), Pushed::Moved);
        assert_eq!(git(&upstream, &["rev-parse", "main"]), now);
        git(&upstream, &["update-ref", "refs/heads/main", &before]);
    }
    let landing = prepare();
    assert_eq!(landing.push().unwrap(), Pushed::Done);
    assert_eq!(git(&upstream, &["rev-parse", "main"]), landing.new);
}

#[test]
fn what_is_incomplete_rejected_or_replaced_does_not_land() {
    let story = Story::begin(Database::Sqlite);
    story.send_two();
    let fails = |arguments: &[&str], part: &str| {
        let said = story.refused(&[&["series", "apply"], arguments].concat());
        assert!(said.contains(part), "{part:?} in {said}");
    };
    fails(&["7"], "there is no patchset 7");
    fails(
        &["1", "--version", "4"],
        "there is no version 4 of patchset 1",
    );
    fails(&["1", "--branch", "stable"], "tool has no branch stable");
    fails(&["1", "--signoff", "Kim"], "--signoff wants");
    story.server.cli(&["series", "state", "1", "rejected"]);
    fails(&["1"], "v1 was rejected");
    story.server.cli(&["series", "state", "1", "superseded"]);
    fails(&["1"], "v1 is superseded; say with --version");
    story.server.cli(&["series", "state", "1", "auto"]);
    // A second version of which one patch is lost.
    git(
        &story.mine,
        &["format-patch", "-q", "-2", "-v2", "-o", "v2"],
    );
    let first = "v2/v2-0001-Change-five.patch";
    send_email(&story.server, &story.mine, "dev@x.org", &[first]);
    story.server.drain();
    fails(&["1"], "v2 is incomplete: 1 of 2 patches are here");
    let text = story
        .server
        .cli(&["series", "apply", "1", "--version", "v1", "--dry-run"]);
    assert!(text.contains("v2 is newer"), "{text}");
}

/// An older version, on a branch that is not the main one, which stays where it is.
#[test]
fn a_version_that_is_named_lands_on_the_branch_that_is_named() {
    let story = Story::begin(Database::Sqlite);
    story.send_two();
    git(&story.upstream, &["branch", "stable", "main"]);
    story.move_on("line 20\n", "line twenty\n");
    story.server.cli(&["repo", "fetch", "tool"]);
    change(
        &story.mine,
        "src/a.c",
        "line thirty\n",
        "line XXX\n",
        "Roman",
    );
    git(&story.mine, &["reset", "-q", "--soft", "HEAD~2"]);
    git(&story.mine, &["commit", "-q", "-m", "Change thirty"]);
    git(
        &story.mine,
        &["format-patch", "-q", "-2", "-v2", "-o", "v2"],
    );
    send_email(&story.server, &story.mine, "dev@x.org", &["v2"]);
    story.server.drain();
    let (main, stable) = (story.tip(), git(&story.upstream, &["rev-parse", "stable"]));
    let wish = [
        "series",
        "apply",
        "1",
        "--version",
        "1",
        "--branch",
        "stable",
    ];
    let shown = story.server.json(&[&wish[..], &["--dry-run"]].concat());
    assert_eq!(git(&story.upstream, &["rev-parse", "stable"]), stable);
    let text = story.server.cli(&wish);
    for part in [
        format!("patchset 1 v1 on stable of tool\n  old tip    {stable}\n"),
        "note       v2 is newer".to_owned(),
        "pushed: stable of tool is at ".to_owned(),
    ] {
        assert!(text.contains(&part), "{part:?} in {text}");
    }
    assert_eq!(story.tip(), main, "main is as it was");
    let landed = git(&story.upstream, &["rev-parse", "stable"]);
    assert_eq!(shown["new"], landed.as_str(), "what was shown");
    let log = ["log", "--format=%s", "stable"];
    assert_eq!(
        git(&story.upstream, &log),
        "Change thirty\nChange five\nBegin"
    );
    let there = git(&story.upstream, &["show", "stable:src/a.c"]);
    assert!(there.contains("line thirty\n") && !there.contains("line XXX"));
    story.server.drain();
    let all = story.server.json(&["series", "show", "1"]);
    let (first, second) = (&all[0], &all[1]);
    assert_eq!(
        (&first["version"], &second["version"]),
        (&"1".into(), &"2".into())
    );
    assert!(second["patches"][0]["landed"].is_null(), "{second}");
    assert_eq!(first["patches"][1]["landed"], landed.as_str(), "{first}");
    assert_eq!(first["state"], "accepted");
    let page = story.server.page("/dev/patches/1/v1/");
    assert!(page.contains("Landed: 2 of 2 patches"), "{page}");
}

#[test]
fn of_a_mail_with_two_patches_the_plan_says_that_one_is_left_out() {
    let story = Story::begin(Database::Sqlite);
    let part = |from: &str, to: &str, title: &str| {
        change(&story.mine, "src/a.c", from, to, title);
        let patch = git(&story.mine, &["format-patch", "-1", "--stdout"]);
        let kind = "text/x-patch\nContent-Disposition: attachment; filename=a.patch";
        format!("--b\nContent-Type: {kind}\n\n{patch}\n")
    };
    let five = part("line 5\n", "line five\n", "Change five");
    let thirty = part("line 30\n", "line thirty\n", "Change thirty");
    let note = "another part of the mail holds a diff, too: it is no part of the commit";
    for (n, parts) in [(1, [&five, ""]), (2, [&five, thirty.as_str()])] {
        let mail = format!(
            "From: Ana Lima <ana@example.org>\nTo: dev@x.org\nMessage-ID: <{n}@x>\nSubject: [PATCH] Number {n}\nMIME-Version: 1.0\n\
             Content-Type: multipart/mixed; boundary=b\n\n{}--b--\n",
            parts.concat()
        );
        let reply = story.server.send(&["dev@x.org"], mail.as_bytes());
        assert!(reply.starts_with("250"), "{reply}");
        story.server.drain();
        let wish = ["series", "apply", &n.to_string(), "--dry-run"];
        let text = story.server.cli(&wish);
        assert_eq!(text.contains(note), n == 2, "{text}");
        assert!(text.contains(" 1 insertion(+), 1 deletion(-)"), "{text}");
        let plan = story.server.json(&wish);
        assert_eq!(plan["patches"][0]["hidden_diff"], n == 2, "{plan:#}");
    }
}

#[test]
fn without_an_identity_nothing_lands() {
    let server = TestServer::start_with(&[
        ("GIT_CONFIG_GLOBAL", "/dev/null"),
        ("GIT_CONFIG_NOSYSTEM", "1"),
        ("GIT_COMMITTER_NAME", ""),
        ("HOME", "/nonexistent"),
    ]);
    let dir = server.dir.path().to_owned();
    let mine = project(&dir);
    git(&dir, &["clone", "-q", "--bare", "project", "upstream.git"]);
    let upstream = dir.join("upstream.git");
    let path = upstream.display().to_string();
    server.cli(&["repo", "add", "tool", "--path", &path]);
    let story = Story {
        server,
        upstream,
        mine,
    };
    story.list("tool");
    story.send_two();
    let said = story.refused(&["series", "apply", "1"]);
    assert!(said.contains("git does not know who commits"), "{said}");
}
