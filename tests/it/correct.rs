//! `patchpost series …`: what a person says about groups and states, by command.

use super::harness::{Database, TestServer, on_both};

on_both! {
    what_a_person_says_by_command_holds,
    one_patch_has_a_state_of_its_own,
    the_parts_of_a_split_series_are_whole,
    a_purged_list_leaves_no_ref,
    a_corrected_series_gets_one_more_ref,
    the_head_follows_what_a_person_says,
}

fn patch(id: &str, subject: &str, parent: Option<&str>) -> String {
    let answer = parent.map(|p| format!("In-Reply-To: <{p}>\nReferences: <{p}>\n"));
    format!(
        "From: Ana <ana@example.org>\nMessage-ID: <{id}>\nSubject: {subject}\n{}\n---\ndiff --git a/new b/new\nnew file mode 100644\n\
         index 0000000..{}\n--- /dev/null\n+++ b/new\n@@ -0,0 +1 @@\n+secretcanary\n",
        answer.unwrap_or_default(),
        "0d2b3a1"
    )
}

fn server_with(database: Database, mails: &[(&str, &str, Option<&str>)]) -> TestServer {
    let server = TestServer::start_on(database);
    server.cli(&["list", "create", "dev", "--address", "dev@x.org"]);
    for (id, subject, parent) in mails {
        let mail = patch(id, subject, *parent);
        assert!(
            server
                .send(&["dev@x.org"], mail.as_bytes())
                .starts_with("250")
        );
        server.drain();
    }
    server
}

/// A server with a list whose project is a repository.
fn with_project(database: Database) -> TestServer {
    let server = TestServer::start_on(database);
    let work = super::harness::project(server.dir.path());
    let path = work.display().to_string();
    server.cli(&["repo", "add", "tool", "--path", &path, "--branch", "main"]);
    server.cli(&[
        "list",
        "create",
        "dev",
        "--address",
        "dev@x.org",
        "--repo",
        "tool",
    ]);
    server
}

/// `patchset v-version state: mails`, in order.
fn shown(server: &TestServer) -> Vec<String> {
    let all = server.json(&["series", "ls"]);
    let line = |s: &serde_json::Value| {
        let names = s["patches"].as_array().unwrap().iter();
        let names: Vec<&str> = names.map(|p| p["message_id"].as_str().unwrap()).collect();
        let (version, state) = (s["version"].as_str().unwrap(), s["state"].as_str().unwrap());
        format!("{} v{version} {state}: {}", s["patchset"], names.join(" "))
    };
    let mut lines: Vec<String> = all.as_array().unwrap().iter().map(line).collect();
    lines.sort();
    lines
}

fn what_a_person_says_by_command_holds(database: Database) {
    let server = server_with(
        database,
        &[
            ("a@x", "[PATCH] one", None),
            ("b@x", "[PATCH v2] two", None),
            ("c@x", "[PATCH v2] else", Some("a@x")),
        ],
    );
    assert_eq!(
        shown(&server),
        ["1 v1 superseded: a@x", "1 v2 new: c@x", "2 v2 new: b@x"]
    );
    assert!(server.cli(&["series", "cut", "c@x"]).contains("patchset"));
    assert_eq!(
        shown(&server),
        ["1 v1 new: a@x", "2 v2 new: b@x", "3 v2 new: c@x"]
    );
    server.cli(&["series", "merge", "1", "<b@x>"]);
    server.cli(&["series", "version", "c@x", "4"]);
    server.cli(&["series", "state", "3", "changes-requested"]);
    server.cli(&["series", "state", "a@x", "rejected", "--list", "dev"]);
    let expected = [
        "1 v1 rejected: a@x",
        "1 v2 new: b@x",
        "3 v4 changes requested: c@x",
    ];
    assert_eq!(shown(&server), expected);
    for wish in [
        &["reclassify", "--dry-run"][..],
        &["reclassify"],
        &["reclassify", "dev"],
    ] {
        assert!(server.cli(wish).contains("nothing changes"));
    }
    assert_eq!(shown(&server), expected);
    let page = server.page("/dev/patches/3/");
    assert!(
        page.contains("changes requested") && page.contains("v4"),
        "{page}"
    );
    server.cli(&["series", "split", "b@x"]);
    assert_eq!(shown(&server)[1], "3 v4 changes requested: c@x");
    assert_eq!(
        shown(&server)[2],
        "4 v2 new: b@x",
        "no number is used again"
    );
    let old = server.get("/dev/patches/2/");
    assert_eq!(old.status, 301);
    assert_eq!(
        old.header("Location").as_deref(),
        Some("/dev/patches/1/"),
        "2 leads to what it became"
    );
    for (wish, words) in [
        (
            &["series", "state", "99", "accepted"][..],
            "there is no patchset 99",
        ),
        (
            &["series", "move", "a@x", "--to", "none@x"],
            "there is no mail none@x here",
        ),
        (
            &["series", "version", "a@x", "x"],
            "is no version; write 3, or 5.1",
        ),
        (&["series", "cut", "a@x"], "answers no mail that is here"),
        (&["series", "state", "1", "finished"], "possible values"),
        (
            &["series", "state", "1", "new", "--list", "nope"],
            "there is no list nope",
        ),
    ] {
        let said = server.cli_fails(wish);
        assert!(said.contains(words), "{wish:?}: {said}");
    }
}

fn one_patch_has_a_state_of_its_own(database: Database) {
    let server = server_with(
        database,
        &[
            ("1@x", "[PATCH 1/2] one", None),
            ("2@x", "[PATCH 2/2] two", Some("1@x")),
            ("1b@x", "[PATCH v2 1/2] one", Some("1@x")),
            ("2b@x", "[PATCH v2 2/2] two", Some("1b@x")),
            ("talk@x", "Re: [PATCH 1/2] one", Some("1@x")),
        ],
    );
    // Of each version its own state and those of its patches.
    let states = || {
        let all = server.json(&["series", "show", "1"]);
        let line = |s: &serde_json::Value| {
            let patches = s["patches"].as_array().unwrap().iter();
            let own = patches.map(|p| format!("{}/{}", p["state"], p["own_state"]));
            format!("{} {}", s["state"], own.collect::<Vec<_>>().join(" "))
        };
        let lines = all.as_array().unwrap().iter().map(line);
        lines.collect::<Vec<_>>().join(", ").replace('"', "")
    };
    let apart = "patch otherwise</span>";
    let before = "superseded superseded/false superseded/false, new new/false new/false";
    assert_eq!(states(), before);
    assert!(!server.page("/dev/patches/").contains(apart));
    server.cli(&["series", "state", "1", "rejected", "--patch", "2"]);
    let newest = "superseded superseded/false superseded/false, new new/false rejected/true";
    assert_eq!(states(), newest);
    let said = server.cli(&["series", "show", "1"]);
    assert!(said.contains("new (patch 2: rejected)"), "{said}");
    let queue = server.page("/dev/patches/");
    assert!(queue.contains(&format!("1 {apart}")), "{queue}");
    let page = server.page("/dev/patches/1/");
    let line = page
        .lines()
        .find(|l| l.contains("class=\"patches\""))
        .unwrap();
    let second = line.split("<li>").nth(2).unwrap();
    assert!(second.contains("rejected</span>"), "{line}");
    assert!(
        !line.split("<li>").nth(1).unwrap().contains("rejected"),
        "{line}"
    );
    let actor = std::env::var("USER").unwrap_or_else(|_| "operator".to_owned());
    let noted = format!("<bdi>v2, patch 2: rejected</bdi> (<bdi>{actor}</bdi>)");
    assert!(page.contains(&noted), "{page}");

    // Another version is named by its label, or by any of its mails.
    server.cli(&[
        "series",
        "state",
        "1",
        "deferred",
        "--patch",
        "1",
        "--version",
        "v1",
    ]);
    server.cli(&["series", "state", "2@x", "accepted", "--patch", "2"]);
    server.cli(&["series", "state", "1", "rfc", "--version", "1"]);
    let both = "rfc deferred/true accepted/true, new new/false rejected/true";
    assert_eq!(states(), both);
    assert!(server.cli(&["reclassify"]).contains("nothing changes"));
    assert_eq!(states(), both);
    server.cli(&["series", "state", "1", "auto", "--patch", "2"]);
    server.cli(&["series", "state", "1", "auto", "--version", "1"]);
    for number in ["1", "2"] {
        server.cli(&["series", "state", "1@x", "auto", "--patch", number]);
    }
    assert_eq!(states(), before);
    let page = server.page("/dev/patches/1/");
    let words = "v2, patch 2: its state is that of the series";
    assert!(page.contains(words) && !page.contains(apart), "{page}");
    for (wish, words) in [
        (
            &["--patch", "3"][..],
            "v2 has no patch 3 here; it has: 1, 2",
        ),
        (
            &["--patch", "1", "--version", "7"],
            "no version 7 of patchset 1",
        ),
        (&["--patch", "one"], "invalid value"),
    ] {
        let said = server.cli_fails(&[&["series", "state", "1", "new"], wish].concat());
        assert!(said.contains(words), "{wish:?}: {said}");
    }
    let said = server.cli_fails(&["series", "state", "talk@x", "new", "--patch", "1"]);
    assert!(said.contains("no patch or cover letter"), "{said}");
    let said = server.cli_fails(&["series", "state", "1@x", "new", "--version", "1"]);
    assert!(said.contains("names a version by itself"), "{said}");
}

fn the_parts_of_a_split_series_are_whole(database: Database) {
    let server = with_project(database);
    for (n, parent) in [(1, None), (2, Some("1@x")), (3, Some("1@x"))] {
        let mail = patch(&format!("{n}@x"), &format!("[PATCH {n}/3] p{n}"), parent);
        let mail = mail.replace("/new", &format!("/file{n}"));
        let reply = server.send(&["dev@x.org"], mail.as_bytes());
        assert!(reply.starts_with("250"), "{reply}");
    }
    server.drain();
    server.cli(&["series", "split", "2@x", "3@x"]);
    server.drain();
    let told = || {
        let all = server.json(&["series", "ls"]);
        let line = |s: &serde_json::Value| {
            let count = s["patches"].as_array().unwrap().len();
            let of = format!("{count} of {} {}", s["total"], s["complete"]);
            format!("{} {of} {}", s["patchset"], s["applies"])
        };
        let mut lines: Vec<String> = all.as_array().unwrap().iter().map(line).collect();
        lines.sort();
        lines
    };
    // Its number stays with the greater part.
    let expected = ["1 2 of 2 true true", "2 1 of 1 true true"];
    assert_eq!(told(), expected);
    for number in [1, 2] {
        let page = server.page(&format!("/dev/patches/{number}/"));
        let waits = ["not here yet", "did not arrive yet", "incomplete"];
        assert!(!waits.iter().any(|words| page.contains(words)), "{page}");
    }
    assert!(server.cli(&["series", "mbox", "1"]).contains("+++ b/file3"));
    assert!(server.cli(&["reclassify"]).contains("nothing changes"));
    server.drain();
    assert_eq!(told(), expected);
}

fn a_purged_list_leaves_no_ref(database: Database) {
    let server = with_project(database);
    let mail = patch("a@x", "[PATCH] one", None);
    assert!(
        server
            .send(&["dev@x.org"], mail.as_bytes())
            .starts_with("250")
    );
    let series = server.wait_for("the ref", || {
        let all = server.json(&["series", "ls"]);
        all[0]["ref"].is_string().then(|| all[0].clone())
    });
    let companion = server.data().join("repos/tool.patches.git");
    let name = series["ref"].as_str().unwrap();
    let commit = super::harness::git(&companion, &["rev-parse", name]);
    server.cli(&["list", "rm", "dev", "--purge"]);
    assert_eq!(
        super::harness::git(&companion, &["for-each-ref", "refs/patches"]),
        ""
    );
    let left = super::harness::git(
        &companion,
        &[
            "cat-file",
            "--batch-all-objects",
            "--batch-check=%(objectname)",
        ],
    );
    assert!(!left.contains(&commit), "{left}");
    super::harness::git(&companion, &["fsck", "--strict"]);
    assert_eq!(server.get("/dev/").status, 404);
    assert_eq!(server.get("/dev/patches/1/").status, 404);
}

/// A person says after the fact which patches a version has: what was published stays, what is right now is published too.
fn a_corrected_series_gets_one_more_ref(database: Database) {
    let server = with_project(database);
    let send = |mail: String| {
        let reply = server.send(&["dev@x.org"], mail.as_bytes());
        assert!(reply.starts_with("250"), "{reply}");
        server.drain();
    };
    send(patch("a@x", "[PATCH 1/2] one", None).replace("new", "first"));
    send(patch("b@x", "[PATCH 2/2] two", Some("a@x")).replace("new", "second"));
    let ref_of = |name: &str| {
        server.wait_for(name, || {
            let all = server.json(&["series", "ls"]);
            let all = all.as_array().unwrap();
            let found = all.iter().any(|s| s["ref"] == name);
            found.then_some(())
        });
    };
    ref_of("refs/patches/1/v1");
    let companion = server.data().join("repos/tool.patches.git");
    let before = super::harness::git(&companion, &["rev-parse", "refs/patches/1/v1"]);
    send(patch("c@x", "[PATCH v2 2/2] two", None).replace("new", "third"));
    server.cli(&["series", "split", "b@x"]);
    // What stays is all that it is to have, until more is said.
    ref_of("refs/patches/1/v1+2");
    server.cli(&["series", "move", "c@x", "--to", "a@x"]);
    ref_of("refs/patches/1/v1+3");
    let now = super::harness::git(&companion, &["rev-parse", "refs/patches/1/v1"]);
    assert_eq!(now, before, "a ref that was published never moves");
    let tree = super::harness::git(
        &companion,
        &["ls-tree", "--name-only", "refs/patches/1/v1+3"],
    );
    assert!(tree.contains("third") && !tree.contains("second"), "{tree}");
    let jobs = server.json(&["jobs"]);
    assert_eq!(
        jobs.as_array().unwrap().len(),
        0,
        "nothing is parked: {jobs}"
    );
}

fn the_head_follows_what_a_person_says(database: Database) {
    let server = with_project(database);
    let mails = [
        patch("a@x", "[PATCH] one", None).replace("new", "first"),
        patch("b@x", "[PATCH v2] one", Some("a@x")).replace("new", "second"),
    ];
    for mail in &mails {
        assert!(
            server
                .send(&["dev@x.org"], mail.as_bytes())
                .starts_with("250")
        );
        server.drain();
    }
    let companion = server.data().join("repos/tool.patches.git");
    let heads = |wanted: &str| {
        server.wait_for("the heads", || {
            let format = "--format=%(refname) %(contents:subject)";
            let refs = super::harness::git(&companion, &["for-each-ref", format, "refs/patches"]);
            let heads: Vec<String> = refs
                .lines()
                .filter(|l| l.contains("/head "))
                .map(|l| {
                    let name = l.split(' ').next().unwrap();
                    let tree = super::harness::git(&companion, &["ls-tree", "--name-only", name]);
                    let last = if tree.contains("second") {
                        "second"
                    } else {
                        "first"
                    };
                    format!("{name} {last}")
                })
                .collect();
            (heads.join(", ") == wanted).then_some(())
        });
    };
    heads("refs/patches/1/head second");
    server.cli(&["series", "split", "b@x"]);
    heads("refs/patches/1/head first, refs/patches/2/head second");
}
