//! What came into the project: found by content or by name, patch by patch, also after the branch was rewritten.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::harness::{Database, TestServer, change, git, on_both, project, send_email};

on_both! {
    a_series_that_was_applied_is_accepted_with_its_commits,
    a_patch_that_was_changed_is_known_by_its_link_and_title,
    after_the_branch_was_rewritten_the_new_commits_are_named,
    every_branch_that_is_followed_is_looked_at,
    what_a_rewritten_branch_dropped_is_open_again,
    a_state_that_a_person_set_stays_whatever_lands,
    a_state_that_a_person_set_for_a_patch_stays_whatever_lands,
    a_series_that_comes_after_its_commits_is_known_too,
    a_series_of_which_one_commit_was_made_landed_as_that,
    one_commit_of_changed_patches_is_known_by_what_it_names,
    a_series_that_comes_after_the_one_commit_of_it_is_known_too,
}

const BOTH: [&str; 2] = [
    "../mine/out/0001-Change-five.patch",
    "../mine/out/0002-Change-thirty.patch",
];

/// A server with a list and a project, and a contributor's clone of it with a series of two patches.
fn written(database: Database) -> (TestServer, PathBuf) {
    let server = TestServer::start_on(database);
    let dir = server.dir.path();
    let work = project(dir);
    server.cli(&["repo", "add", "tool", "--path", &work.display().to_string()]);
    let create = ["list", "create", "dev", "--address", "dev@x.org"];
    server.cli(&[&create[..], &["--repo", "tool"]].concat());
    let mine = dir.join("mine");
    git(dir, &["clone", "-q", "project", "mine"]);
    let to = "line five\n";
    change(&mine, "src/a.c", "line 5\n", to, "Change five");
    let to = "line thirty\n";
    change(&mine, "src/a.c", "line 30\n", to, "Change thirty");
    git(&mine, &["format-patch", "-q", "-2", "-o", "out"]);
    (server, work)
}

fn send(server: &TestServer) {
    let mine = server.dir.path().join("mine");
    send_email(server, &mine, "dev@x.org", &BOTH);
    server.drain();
}

/// The same, sent.
fn sent(database: Database) -> (TestServer, PathBuf) {
    let (server, work) = written(database);
    send(&server);
    (server, work)
}

fn series(server: &TestServer) -> serde_json::Value {
    server.json(&["series", "ls"])[0].clone()
}

fn fetch(server: &TestServer) {
    server.cli(&["repo", "fetch", "tool"]);
    server.drain();
}

/// Commits of the branch, newest first.
fn log(work: &Path, count: usize) -> Vec<String> {
    let out = git(work, &["log", "--format=%H", &format!("-{count}")]);
    out.lines().map(str::to_owned).collect()
}

fn a_series_that_was_applied_is_accepted_with_its_commits(database: Database) {
    let (server, work) = sent(database);
    // The project went on: the commits have other parents and places than the mails said.
    change(
        &work,
        "src/a.c",
        "line 1\n",
        "line 0\nline 1\n",
        "Something else",
    );
    git(&work, &["am", "-q", BOTH[0]]);
    fetch(&server);
    let one = series(&server);
    assert_eq!(one["state"], "new", "{one}");
    assert_eq!(one["patches"][0]["landed"], log(&work, 1)[0].as_str());
    assert!(one["patches"][1]["landed"].is_null());
    let path = format!("/dev/patches/{}/", one["patchset"]);
    assert!(server.page(&path).contains("Landed: 1 of 2 patches: 1 as "));
    git(&work, &["am", "-q", BOTH[1]]);
    fetch(&server);
    let one = series(&server);
    let commits = log(&work, 2);
    assert_eq!(one["state"], "accepted");
    assert_eq!(
        (&one["patches"][0]["landed"], &one["patches"][1]["landed"]),
        (&commits[1].as_str().into(), &commits[0].as_str().into())
    );
    let page = server.page(&path);
    assert!(
        page.contains("Landed: 2 of 2 patches") && page.contains("accepted"),
        "{page}"
    );
    let open = server.page("/dev/patches/");
    assert!(
        !open.contains("Change five"),
        "what landed is not open any more"
    );
}

fn a_patch_that_was_changed_is_known_by_its_link_and_title(database: Database) {
    let (server, work) = sent(database);
    let ids: Vec<String> = (0..2)
        .map(|n| {
            series(&server)["patches"][n]["message_id"]
                .as_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    let message = format!("Change five\n\nLink: https://lore.example.org/r/{}", ids[0]);
    change(&work, "src/a.c", "line 5\n", "line V\n", &message);
    // The right link under another title is somebody's reference, not the patch.
    let message = format!(
        "Another change\n\nLink: https://lore.example.org/r/{}",
        ids[1]
    );
    change(&work, "src/a.c", "line 30\n", "line XXX\n", &message);
    fetch(&server);
    let one = series(&server);
    assert_eq!(one["patches"][0]["landed"], log(&work, 2)[1].as_str());
    assert!(one["patches"][1]["landed"].is_null(), "{one}");
    assert_eq!(one["state"], "new");
}

fn after_the_branch_was_rewritten_the_new_commits_are_named(database: Database) {
    let (server, work) = sent(database);
    git(&work, &["am", "-q", BOTH[0], BOTH[1]]);
    fetch(&server);
    let before = log(&work, 2);
    assert_eq!(series(&server)["patches"][1]["landed"], before[0].as_str());
    git(&work, &["reset", "-q", "--hard", "HEAD~2"]);
    change(
        &work,
        "README",
        "A project",
        "The project",
        "First something else",
    );
    git(&work, &["am", "-q", BOTH[0], BOTH[1]]);
    fetch(&server);
    let after = log(&work, 2);
    let one = series(&server);
    assert_ne!(before, after);
    assert_eq!(
        (&one["patches"][0]["landed"], &one["patches"][1]["landed"]),
        (&after[1].as_str().into(), &after[0].as_str().into())
    );
    assert_eq!(one["state"], "accepted");
    // A second look at the same branch changes nothing.
    fetch(&server);
    assert_eq!(series(&server), one);
}

/// The commits that a patch landed as: `branch commit`, the main branch's first.
fn landed_in(server: &TestServer, patch: usize) -> Vec<String> {
    let all = series(server)["patches"][patch]["landed_in"].clone();
    let line = |l: &serde_json::Value| {
        let (branch, commit) = (l["branch"].as_str().unwrap(), l["commit"].as_str().unwrap());
        assert_eq!(l["repo"], "tool");
        format!("{branch} {commit}")
    };
    all.as_array().unwrap().iter().map(line).collect()
}

fn every_branch_that_is_followed_is_looked_at(database: Database) {
    let (server, work) = sent(database);
    git(&work, &["branch", "stable/1"]);
    git(&work, &["branch", "wip"]);
    for branch in ["wip", "stable/1"] {
        git(&work, &["checkout", "-q", branch]);
        change(&work, "README", "A project", branch, "Its own");
        git(&work, &["am", "-q", BOTH[0], BOTH[1]]);
    }
    fetch(&server);
    assert!(landed_in(&server, 0).is_empty(), "only main is followed");
    server.cli_fails(&["repo", "set", "tool", "--follow", "a b"]);
    server.cli(&["repo", "set", "tool", "--follow", "stable/*"]);
    let shown = server.json(&["repo", "ls"])[0].clone();
    assert_eq!(
        (&shown["branch"], &shown["follow"][0]),
        (&"main".into(), &"stable/*".into())
    );
    server.drain();
    let on_stable = log(&work, 2);
    assert_eq!(
        landed_in(&server, 1),
        [format!("stable/1 {}", on_stable[0])]
    );
    assert_eq!(series(&server)["state"], "accepted");
    // A branch that is new has nothing that others had before.
    git(&work, &["branch", "stable/2"]);
    git(&work, &["checkout", "-q", "main"]);
    git(&work, &["am", "-q", BOTH[1]]);
    fetch(&server);
    let on_main = log(&work, 1);
    assert_eq!(
        landed_in(&server, 0),
        [format!("stable/1 {}", on_stable[1])]
    );
    let both = [
        format!("main {}", on_main[0]),
        format!("stable/1 {}", on_stable[0]),
    ];
    assert_eq!(landed_in(&server, 1), both);
    assert_eq!(series(&server)["patches"][1]["landed"], on_main[0].as_str());
    let page = server.page("/dev/patches/1/");
    let words = format!(
        "2 as {} in main of tool; 1 as {}, 2 as {} in stable/1 of tool.",
        &on_main[0][..12],
        &on_stable[1][..12],
        &on_stable[0][..12]
    );
    assert!(page.contains(&words), "{words} in {page}");
    server.cli(&["repo", "set", "tool", "--no-follow"]);
    server.drain();
    assert_eq!(landed_in(&server, 1), both, "what is known stays known");
}

fn what_a_rewritten_branch_dropped_is_open_again(database: Database) {
    let (server, work) = sent(database);
    git(&work, &["am", "-q", BOTH[0], BOTH[1]]);
    fetch(&server);
    assert_eq!(series(&server)["state"], "accepted");
    // The first stays under another id, with a message of the maintainer's; the second goes.
    git(&work, &["reset", "-q", "--hard", "HEAD~2"]);
    change(
        &work,
        "README",
        "A project",
        "The project",
        "First something else",
    );
    git(&work, &["am", "-q", BOTH[0]]);
    git(&work, &["commit", "-q", "--amend", "-m", "five: change it"]);
    fetch(&server);
    let one = series(&server);
    assert_eq!(one["state"], "new", "{one}");
    assert_eq!(
        landed_in(&server, 0),
        [format!("main {}", log(&work, 1)[0])]
    );
    assert!(one["patches"][1]["landed"].is_null(), "{one}");
    let page = server.page("/dev/patches/1/");
    assert!(page.contains("Landed: 1 of 2 patches: 1 as "), "{page}");
    assert!(
        page.contains("Dropped: v1: patch 2 left main of tool"),
        "{page}"
    );
    let open = server.page("/dev/patches/");
    assert!(open.contains("Change five"), "it is open again");
    // It comes back.
    git(&work, &["am", "-q", BOTH[1]]);
    fetch(&server);
    assert_eq!(series(&server)["state"], "accepted");
    // And a branch that is reset to long ago drops all.
    git(&work, &["reset", "-q", "--hard", "HEAD~3"]);
    fetch(&server);
    assert_eq!(series(&server)["state"], "new");
    assert!(landed_in(&server, 0).is_empty() && landed_in(&server, 1).is_empty());
}

fn a_state_that_a_person_set_stays_whatever_lands(database: Database) {
    let (server, work) = sent(database);
    server.cli(&["series", "state", "1", "under-review"]);
    git(&work, &["am", "-q", BOTH[0], BOTH[1]]);
    fetch(&server);
    assert_eq!(landed_in(&server, 1).len(), 1);
    assert_eq!(series(&server)["state"], "under review");
    server.cli(&["series", "state", "1", "auto"]);
    assert_eq!(series(&server)["state"], "accepted", "as the rules say");
    server.cli(&["series", "state", "1", "accepted"]);
    git(&work, &["reset", "-q", "--hard", "HEAD~2"]);
    fetch(&server);
    assert!(landed_in(&server, 1).is_empty());
    assert_eq!(series(&server)["state"], "accepted");
    server.cli(&["series", "state", "1", "auto"]);
    assert_eq!(series(&server)["state"], "new");
}

fn a_state_that_a_person_set_for_a_patch_stays_whatever_lands(database: Database) {
    let (server, work) = sent(database);
    let states = || {
        let one = series(&server);
        let state = |n: usize| one["patches"][n]["state"].as_str().unwrap().to_owned();
        [state(0), state(1)]
    };
    server.cli(&["series", "state", "1", "rejected", "--patch", "2"]);
    git(&work, &["am", "-q", BOTH[0], BOTH[1]]);
    fetch(&server);
    assert_eq!(states(), ["accepted", "rejected"]);
    server.cli(&["series", "state", "1", "accepted", "--patch", "2"]);
    git(&work, &["reset", "-q", "--hard", "HEAD~2"]);
    fetch(&server);
    assert_eq!(states(), ["new", "accepted"]);
    git(&work, &["am", "-q", BOTH[0], BOTH[1]]);
    fetch(&server);
    server.cli(&["series", "state", "1", "deferred", "--patch", "1"]);
    server.cli(&["series", "state", "1", "auto", "--patch", "1"]);
    assert_eq!(states(), ["accepted", "accepted"], "it landed");
}

fn a_series_that_comes_after_its_commits_is_known_too(database: Database) {
    let (server, work) = written(database);
    git(&work, &["am", "-q", BOTH[0], BOTH[1]]);
    fetch(&server);
    send(&server);
    let one = series(&server);
    assert_eq!(one["state"], "accepted", "{one}");
    assert_eq!(
        landed_in(&server, 0),
        [format!("main {}", log(&work, 2)[1])]
    );
    assert_eq!(
        landed_in(&server, 1),
        [format!("main {}", log(&work, 2)[0])]
    );
    let page = server.page("/dev/patches/1/");
    assert!(page.contains("Landed: v1: patch 1 as "), "{page}");
}

/// What a maintainer makes of the two patches by `git merge --squash`, with a message of his own.
fn squash(work: &Path) {
    git(work, &["checkout", "-q", "-b", "topic"]);
    git(work, &["am", "-q", BOTH[0], BOTH[1]]);
    git(work, &["checkout", "-q", "main"]);
    change(work, "README", "A project", "The project", "Something else");
    git(work, &["merge", "-q", "--squash", "topic"]);
    git(work, &["commit", "-q", "-m", "Change some lines"]);
}

#[track_caller]
fn check_squashed(server: &TestServer, work: &Path) {
    let one = series(server);
    let commit = log(work, 1).remove(0);
    assert_eq!(one["state"], "accepted", "{one:#}");
    for patch in 0..2 {
        assert_eq!(landed_in(server, patch), [format!("main {commit}")]);
    }
    let page = server.page("/dev/patches/1/");
    let short = &commit[..12];
    let words = format!("Landed: 2 of 2 patches: 1 as {short}, 2 as {short} in main of tool.");
    assert!(page.contains(&words), "{words} in {page}");
}

fn a_series_of_which_one_commit_was_made_landed_as_that(database: Database) {
    let (server, work) = sent(database);
    squash(&work);
    fetch(&server);
    check_squashed(&server, &work);
    // Again under another id.
    git(&work, &["commit", "-q", "--amend", "-m", "Change lines"]);
    fetch(&server);
    check_squashed(&server, &work);
    git(&work, &["reset", "-q", "--hard", "HEAD~1"]);
    fetch(&server);
    assert_eq!(series(&server)["state"], "new");
    assert!(landed_in(&server, 0).is_empty() && landed_in(&server, 1).is_empty());
    // One of them alone is not the series.
    git(&work, &["am", "-q", BOTH[1]]);
    fetch(&server);
    assert_eq!(series(&server)["state"], "new");
    assert!(landed_in(&server, 0).is_empty());
    assert_eq!(
        landed_in(&server, 1),
        [format!("main {}", log(&work, 1)[0])]
    );
}

fn one_commit_of_changed_patches_is_known_by_what_it_names(database: Database) {
    let (server, work) = sent(database);
    let link = |n: usize| {
        let id = series(&server)["patches"][n]["message_id"].clone();
        format!("Link: https://lore.example.org/r/{}", id.as_str().unwrap())
    };
    // As `git rebase -i` leaves the messages of what it squashes.
    let message = format!("Change five\n\n{}\n\nChange thirty\n\n{}", link(0), link(1));
    change(&work, "src/a.c", "line 5\n", "line V\n", &message);
    fetch(&server);
    check_squashed(&server, &work);
}

fn a_series_that_comes_after_the_one_commit_of_it_is_known_too(database: Database) {
    let (server, work) = written(database);
    squash(&work);
    fetch(&server);
    send(&server);
    check_squashed(&server, &work);
}

#[test]
fn what_was_reverted_long_ago_and_is_sent_again_has_not_landed() {
    let (server, work) = written(Database::Sqlite);
    let mut am = Command::new("git");
    am.current_dir(&work).args([
        "-c",
        "user.name=Kim",
        "-c",
        "user.email=kim@example.net",
        "am",
        "-q",
    ]);
    am.args(BOTH)
        .env("GIT_COMMITTER_DATE", "2020-01-01T00:00:00Z");
    assert!(am.status().unwrap().success());
    git(&work, &["revert", "--no-edit", "HEAD", "HEAD~1"]);
    fetch(&server);
    send(&server);
    let one = series(&server);
    assert_eq!(
        (&one["state"], &one["applies"]),
        (&"new".into(), &true.into()),
        "{one}"
    );
    assert!(landed_in(&server, 0).is_empty() && landed_in(&server, 1).is_empty());
}
