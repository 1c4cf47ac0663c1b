//! Two versions that were sent by `git send-email`, compared by command and on a page.

use std::path::Path;

use super::pairing;
use crate::harness::{TestServer, change, git, project, send_email};

/// The text is that of real `git range-diff` over the commits that are fetched from here.
#[track_caller]
fn as_git_says(server: &TestServer, work: &Path, number: &str, text: &str) {
    let url = format!("{}/tool.patches.git", server.base());
    let fetched = |v: &str| format!("+refs/patches/{number}/{v}:refs/fetched/{v}");
    git(
        work,
        &[
            "fetch",
            "-q",
            "--no-tags",
            &url,
            &fetched("v1"),
            &fetched("v2"),
        ],
    );
    let range = |v: &str| format!("refs/fetched/{v}~2..refs/fetched/{v}");
    let digits = text.split_whitespace().nth(1).unwrap().len();
    let abbrev = format!("core.abbrev={digits}");
    let arguments = ["-c", &abbrev, "range-diff", "--no-color"];
    let own = git(
        work,
        &[&arguments[..], &[&range("v1"), &range("v2")]].concat(),
    );
    assert_eq!(text.trim(), own);
}

/// Two versions sent with `git send-email`: command and page say which patch changed, and how.
#[test]
fn two_versions_are_compared_by_command_and_on_a_page() {
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
    change(&work, "src/a.c", "line 5\n", "line five\n", "Change five");
    change(
        &work,
        "src/a.c",
        "line 30\n",
        "line thirty\n",
        "Change thirty",
    );
    git(
        &work,
        &["format-patch", "-q", "-2", "-o", "out", "--thread=shallow"],
    );
    send_email(
        &server,
        &work,
        "dev@x.org",
        &["out/0001-Change-five.patch", "out/0002-Change-thirty.patch"],
    );
    server.drain();
    let all = server.json(&["series", "ls"]);
    let patchset = all[0]["patchset"].as_i64().unwrap();
    let first = all[0]["patches"][0]["message_id"]
        .as_str()
        .unwrap()
        .to_owned();
    std::fs::remove_dir_all(work.join("out")).unwrap();
    let text = std::fs::read_to_string(work.join("src/a.c")).unwrap();
    std::fs::write(
        work.join("src/a.c"),
        text.replace("line thirty\n", "line 30 & more\n"),
    )
    .unwrap();
    git(
        &work,
        &["commit", "-q", "-a", "--amend", "-m", "Change thirty"],
    );
    git(&work, &["format-patch", "-q", "-2", "-v2", "-o", "out"]);
    let reply = format!("--in-reply-to=<{first}>");
    send_email(
        &server,
        &work,
        "dev@x.org",
        &[
            &reply,
            "out/v2-0001-Change-five.patch",
            "out/v2-0002-Change-thirty.patch",
        ],
    );
    server.drain();
    let number = patchset.to_string();
    let text = server.cli(&["series", "range-diff", &number, "v1", "v2"]);
    let heads: Vec<&str> = text.lines().filter(|l| !l.starts_with("    ")).collect();
    assert_eq!(pairing(&text), ["1: 1:", "2: 2:"], "{text}");
    assert!(
        heads[0].contains(" = ") && heads[1].contains(" ! "),
        "{text}"
    );
    assert!(
        text.contains("\n    -+line thirty\n    ++line 30 & more\n"),
        "{text}"
    );
    as_git_says(&server, &work, &number, &text);
    let json = server.json(&["series", "range-diff", &number, "1", "2"]);
    assert_eq!(
        (&json[0]["fate"], &json[1]["fate"]),
        (&"same".into(), &"changed".into())
    );
    let page = server.page(&format!("/dev/patches/{patchset}/v1..v2"));
    assert!(page.contains("1 patch changed, 1 same"), "{page}");
    assert!(page.contains("++line 30 &#38; more\n"), "{page}");
    assert!(
        server
            .page(&format!("/dev/patches/{patchset}/"))
            .contains("v1..v2\">Changes v1 → v2</a>")
    );
    assert_eq!(
        server
            .get(&format!("/dev/patches/{patchset}/v1..v7"))
            .status,
        404
    );
    let said = server.cli_fails(&["series", "range-diff", &number, "1", "7"]);
    assert!(said.contains("has no v7, only v1, v2"), "{said}");
    let said = server.cli_fails(&["series", "range-diff", "99", "1", "7"]);
    assert!(said.contains("there is no patchset 99"), "{said}");
}
