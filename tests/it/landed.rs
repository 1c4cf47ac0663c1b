//! What came into the project: found by content or by name, patch by patch, also after the branch was rewritten.

use super::harness::{TestServer, change, git, project, send_email};

use std::path::{Path, PathBuf};

/// A server with a list and a project, and a contributor's clone of it with two commits, sent as a series.
fn sent() -> (TestServer, PathBuf) {
    let server = TestServer::start();
    let work = project(server.dir.path());
    server.cli(&["repo", "add", "tool", "--path", &work.display().to_string()]);
    server.cli(&[
        "list",
        "create",
        "dev",
        "--address",
        "dev@x.org",
        "--repo",
        "tool",
    ]);
    let mine = server.dir.path().join("mine");
    git(
        server.dir.path(),
        &[
            "clone",
            "-q",
            &work.display().to_string(),
            &mine.display().to_string(),
        ],
    );
    change(&mine, "src/a.c", "line 5\n", "line five\n", "Change five");
    change(
        &mine,
        "src/a.c",
        "line 30\n",
        "line thirty\n",
        "Change thirty",
    );
    git(&mine, &["format-patch", "-q", "-2", "-o", "out"]);
    send_email(
        &server,
        &mine,
        "dev@x.org",
        &["out/0001-Change-five.patch", "out/0002-Change-thirty.patch"],
    );
    server.drain();
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

#[test]
fn a_series_that_was_applied_is_accepted_with_its_commits() {
    let (server, work) = sent();
    // The project went on: the commits have other parents and places than the mails said.
    change(
        &work,
        "src/a.c",
        "line 1\n",
        "line 0\nline 1\n",
        "Something else",
    );
    git(&work, &["am", "-q", "../mine/out/0001-Change-five.patch"]);
    fetch(&server);
    let one = series(&server);
    assert_eq!(one["state"], "new", "{one}");
    assert_eq!(one["patches"][0]["landed"], log(&work, 1)[0].as_str());
    assert!(one["patches"][1]["landed"].is_null());
    let path = format!("/dev/patches/{}/", one["patchset"]);
    assert!(server.page(&path).contains("Landed: 1 of 2 patches: 1 as "));
    git(&work, &["am", "-q", "../mine/out/0002-Change-thirty.patch"]);
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

#[test]
fn a_patch_that_was_changed_is_known_by_its_link_and_title() {
    let (server, work) = sent();
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

#[test]
fn after_the_branch_was_rewritten_the_new_commits_are_named() {
    let (server, work) = sent();
    let both = [
        "../mine/out/0001-Change-five.patch",
        "../mine/out/0002-Change-thirty.patch",
    ];
    git(&work, &["am", "-q", both[0], both[1]]);
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
    git(&work, &["am", "-q", both[0], both[1]]);
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
