//! The whole road: `git send-email` → archive, thread, series, commits, copies. On both databases.

use std::path::Path;

use super::harness::{
    Database, Sink, Smtp, TestServer, change, crlf, git, on_both, project, send_email,
};

on_both! {
    a_series_goes_the_whole_road,
    a_conflict_names_patch_file_and_hunk_and_leaves_no_ref,
    a_series_for_another_project_is_no_conflict,
    the_order_of_arrival_does_not_matter,
    one_mail_to_two_lists_is_one_message_with_two_postings,
}

const LIST: &str = "dev@lists.example.org";

fn with_list(server: &TestServer, work: &Path) {
    server.cli(&[
        "repo",
        "add",
        "tool",
        "--path",
        &work.display().to_string(),
        "--branch",
        "main",
    ]);
    server.cli(&[
        "list",
        "create",
        "dev",
        "--address",
        LIST,
        "--description",
        "Development",
        "--repo",
        "tool",
    ]);
}

fn series(server: &TestServer) -> Vec<serde_json::Value> {
    server.json(&["series", "ls"]).as_array().unwrap().clone()
}

/// The series of that version, once applying was tried.
#[track_caller]
fn applied(server: &TestServer, version: &str, outcome: Option<bool>) -> serde_json::Value {
    server.wait_for(&format!("v{version} to be tried"), || {
        series(server)
            .into_iter()
            .find(|s| s["version"] == version && s["applies"] == serde_json::json!(outcome))
    })
}

fn two_patches(work: &Path) {
    git(work, &["checkout", "-q", "-b", "topic"]);
    change(
        work,
        "src/a.c",
        "line 3\n",
        "line three\n",
        "Spell three\n\nThe number is short.\n\nSigned-off-by: Ana Lima <ana@example.org>",
    );
    change(
        work,
        "src/a.c",
        "line 30\n",
        "line thirty — naïve\n",
        "Spell thirty",
    );
    std::fs::write(work.join("new file.txt"), "no newline").unwrap();
    git(work, &["add", "."]);
    git(
        work,
        &["commit", "-q", "-m", "Add a file with a blank in its name"],
    );
}

fn a_series_goes_the_whole_road(database: Database) {
    let sink = Sink::start();
    let relay = sink.address.clone();
    let environment = [
        ("PATCHPOST_DELIVERY_TRANSPORT", "smtp"),
        ("PATCHPOST_DELIVERY_RELAY", relay.as_str()),
    ];
    let server = TestServer::start_on_with(database, &environment);
    let work = project(server.dir.path());
    with_list(&server, &work);
    server.cli(&[
        "member",
        "add",
        "dev",
        "ben@example.com",
        "chen@example.net",
    ]);
    two_patches(&work);
    let options = ["--cover-letter", "--force", "--8bit-encoding=UTF-8", "-3"];
    send_email(&server, &work, LIST, &options);
    let v1 = applied(&server, "1", Some(true));
    assert_eq!(
        (&v1["total"], &v1["complete"]),
        (&serde_json::json!(3), &serde_json::json!(true))
    );
    assert!(v1["cover"].is_string());

    // What is fetched equals what was sent, but for who committed when.
    let fetch = format!("{}/tool.patches.git", server.base());
    git(
        &work,
        &[
            "fetch",
            "-q",
            "--no-tags",
            &fetch,
            v1["ref"].as_str().unwrap(),
        ],
    );
    // `git send-email` dates each mail anew: the sender's own commits are compared without dates, those of real `git am` with.
    let format = "--format=%T %an %ae %B";
    assert_eq!(
        git(&work, &["log", format, "main..FETCH_HEAD"]),
        git(&work, &["log", format, "main..topic"])
    );

    let mbox = server.dir.path().join("series.mbox");
    std::fs::write(&mbox, server.cli(&["series", "mbox", "1"])).unwrap();
    git(&work, &["checkout", "-q", "-b", "am", "main"]);
    git(&work, &["am", "-q", "-3", &mbox.display().to_string()]);
    let format = "--format=%T %an %ae %ad %B";
    assert_eq!(
        git(&work, &["log", format, "main..FETCH_HEAD"]),
        git(&work, &["log", format, "main..am"])
    );

    // Every member has every mail, with our fields on top and the sent bytes below.
    let copies = server.wait_for("all copies", || Some(sink.all()).filter(|c| c.len() == 8));
    for number in 1..=3 {
        let sent = git(
            &work,
            &[
                "format-patch",
                "--stdout",
                "-1",
                &format!("topic~{}", 3 - number),
            ],
        );
        let diff = crlf(
            sent[sent.find("diff --git").unwrap()..]
                .split("\n-- \n")
                .next()
                .unwrap()
                .as_bytes(),
        );
        let having = copies
            .iter()
            .filter(|c| c.bytes.windows(diff.len()).any(|w| w == diff))
            .count();
        assert_eq!(having, 2, "patch {number} reached both members unchanged");
    }
    for copy in &copies {
        let text = String::from_utf8_lossy(&copy.bytes).into_owned();
        assert!(
            text.starts_with("List-Unsubscribe: <http://")
                && text.contains("\r\nList-Id: Development <dev.lists.example.org>\r\n"),
            "{text}"
        );
        assert!(
            copy.sender.starts_with("dev+b-")
                && copy.sender.len() <= 64 + "@lists.example.org".len()
        );
    }
    let pages = server.page("/dev/patches/1/");
    for words in ["3/3", "applies", "Spell three", "git fetch --no-tags"] {
        assert!(pages.contains(words), "the page says {words}");
    }
    assert_eq!(
        why(&server, "v1"),
        "One thread: the same sender, version and count. No version is said: it is the first."
    );
    next_version(&server, &work, v1["cover"].as_str().unwrap());
    for repo in ["tool.git", "tool.patches.git"] {
        git(
            &server.data().join("repos").join(repo),
            &["fsck", "--strict"],
        );
    }
}

/// Why these mails are this version, as its page says it.
fn why(server: &TestServer, label: &str) -> String {
    let page = server.page(&format!("/dev/patches/1/{label}/"));
    let open = "<details class=\"why\"><summary>Why these mails, why this base</summary><p>";
    let rest = page.split(open).nth(1).unwrap_or_else(|| panic!("{page}"));
    let (reason, base) = rest.split_once("</p><p>").unwrap();
    assert!(base.starts_with("Tried on "), "{base}");
    reason.to_owned()
}

/// v2 in reply to v1's cover is a series of its own and replaces v1.
fn next_version(server: &TestServer, work: &Path, cover: &str) {
    git(work, &["checkout", "-q", "-b", "topic2", "main"]);
    change(work, "src/a.c", "line 3\n", "line drei\n", "Spell three");
    send_email(
        server,
        work,
        LIST,
        &["-v2", &format!("--in-reply-to=<{cover}>"), "-1"],
    );
    let v2 = applied(server, "2", Some(true));
    let all = series(server);
    assert_eq!(v2["patchset"], all[0]["patchset"], "one patchset");
    assert_eq!(all[0]["state"], "superseded");
    assert_eq!(all.len(), 2);
    assert!(server.page("/dev/patches/1/").contains("v2"));
    assert_eq!(
        why(server, "v2"),
        "A patch by itself. Its mails say v2. The same change as v1: it was sent in reply to it."
    );
    assert!(
        server.cli(&["reclassify"]).contains("nothing changes"),
        "incremental = full"
    );
}

fn a_conflict_names_patch_file_and_hunk_and_leaves_no_ref(database: Database) {
    let server = TestServer::start_on(database);
    let work = project(server.dir.path());
    with_list(&server, &work);
    git(&work, &["checkout", "-q", "-b", "topic"]);
    change(&work, "README", "A project", "Our project", "Say whose");
    change(
        &work,
        "src/a.c",
        "line 20\n",
        "line twenty\n",
        "Spell twenty",
    );
    git(&work, &["checkout", "-q", "main"]);
    change(&work, "src/a.c", "line 20\n", "line XX\n", "Roman");
    server.cli(&["repo", "fetch", "tool"]);
    git(&work, &["checkout", "-q", "topic"]);
    send_email(&server, &work, LIST, &["--no-base", "main..topic"]);
    // The blobs are those of an older commit, on which it applies: the base is found there.
    applied(&server, "1", Some(true));
    // A base that nobody has, and text that nobody has: a conflict.
    let patch = git(&work, &["format-patch", "--stdout", "-1"]);
    let broken = patch
        .replace(" line 19\n", " line nineteen\n")
        .replace("index ", "index 1")
        .replace("Spell twenty", "Spell it again");
    assert!(
        server
            .send(&[LIST], broken.split_once('\n').unwrap().1.as_bytes())
            .starts_with("250")
    );
    let conflict = applied(&server, "1", Some(false));
    let number = conflict["patchset"].to_string();
    let page = server.page(&format!("/dev/patches/{number}/"));
    assert!(
        page.contains("Patch 1 does not fit in src/a.c, hunk 1"),
        "{page}"
    );
    let refs = git(
        &server.data().join("repos/tool.patches.git"),
        &["for-each-ref", &format!("refs/patches/{number}")],
    );
    assert_eq!(refs, "");
    for repo in ["tool.git", "tool.patches.git"] {
        let repo = server.data().join("repos").join(repo);
        git(&repo, &["fsck", "--strict"]);
    }
}

fn a_series_for_another_project_is_no_conflict(database: Database) {
    let server = TestServer::start_on(database);
    let work = project(server.dir.path());
    with_list(&server, &work);
    let mail = "From: Ana <ana@example.org>\nMessage-ID: <x@example.org>\nSubject: [PATCH] other\n\n---\n\
        diff --git a/other/b.c b/other/b.c\nindex 1234567..2345678 100644\n--- a/other/b.c\n+++ b/other/b.c\n@@ -1 +1 @@\n-a\n+b\n";
    assert!(server.send(&[LIST], mail.as_bytes()).starts_with("250"));
    server.wait_for("the page to say so", || {
        let page = server.get("/dev/patches/1/").text();
        page.contains("Not for a repository here").then_some(())
    });
    assert_eq!(series(&server)[0]["applies"], serde_json::Value::Null);
}

/// All 24 processing orders of a series with cover give the same series and patches.
fn the_order_of_arrival_does_not_matter(database: Database) {
    let mail = |n: usize| {
        let parent = if n == 0 {
            String::new()
        } else {
            "In-Reply-To: <0@x>\nReferences: <0@x>\n".to_owned()
        };
        let diff = "---\ndiff --git a/f b/f\n--- a/f\n+++ b/f\n@@ -1 +1 @@\n-a\n+b\n";
        format!(
            "From: Ana <ana@example.org>\nMessage-ID: <{n}@x>\n{parent}Subject: [PATCH {n}/3] p{n}\n\n{}",
            if n == 0 { "cover\n" } else { diff }
        )
    };
    let mut orders = vec![];
    for a in 0..4usize {
        for b in 0..4 {
            for c in 0..4 {
                let d = 6usize.wrapping_sub(a + b + c);
                if a != b && b != c && a != c && d < 4 && ![a, b, c].contains(&d) {
                    orders.push([a, b, c, d]);
                }
            }
        }
    }
    assert_eq!(orders.len(), 24);
    let server = TestServer::start_on(database);
    for (at, _) in orders.iter().enumerate() {
        server.cli(&[
            "list",
            "create",
            &format!("l{at}"),
            "--address",
            &format!("l{at}@x.org"),
            "--private",
        ]);
    }
    for (at, order) in orders.iter().enumerate() {
        let mut smtp = Smtp::connect(&server.addresses["smtp"]);
        for n in order {
            let (reply, _) = smtp.send(
                "ana@example.org",
                &[&format!("l{at}@x.org")],
                mail(*n).as_bytes(),
            );
            assert!(reply.starts_with("250"), "{reply}");
            if at % 3 == 0 {
                server.drain();
            }
        }
    }
    server.drain();
    for (at, order) in orders.iter().enumerate() {
        let all = server.json(&["series", "ls", &format!("l{at}")]);
        let all = all.as_array().unwrap();
        assert_eq!(all.len(), 1, "order {order:?}");
        let one = &all[0];
        assert_eq!(
            (one["cover"].as_str(), one["complete"].as_bool()),
            (Some("0@x"), Some(true)),
            "order {order:?}"
        );
        let ids: Vec<&str> = one["patches"]
            .as_array()
            .unwrap()
            .iter()
            .map(|p| p["message_id"].as_str().unwrap())
            .collect();
        assert_eq!(ids, ["1@x", "2@x", "3@x"], "order {order:?}");
        let show = server.json(&["list", "show", &format!("l{at}")]);
        assert_eq!(show["threads"], 1, "order {order:?}");
    }
}

fn one_mail_to_two_lists_is_one_message_with_two_postings(database: Database) {
    let server = TestServer::start_on(database);
    for name in ["one", "two"] {
        server.cli(&[
            "list",
            "create",
            name,
            "--address",
            &format!("{name}@x.org"),
        ]);
    }
    let mail = b"From: a@b.c\nMessage-ID: <m@x>\nSubject: [PATCH] p\n\n---\ndiff --git a/f b/f\n--- a/f\n+++ b/f\n@@ -1 +1 @@\n-a\n+b\n";
    assert!(
        server
            .send(&["one@x.org", "two@x.org"], mail)
            .starts_with("250")
    );
    assert!(
        server.send(&["one@x.org"], mail).starts_with("250"),
        "a resend is answered 250 again"
    );
    server.drain();
    for name in ["one", "two"] {
        let show = server.json(&["list", "show", name]);
        assert_eq!(
            (&show["postings"], &show["patchsets"]),
            (&1.into(), &1.into()),
            "{name}"
        );
    }
    assert_eq!(series(&server).len(), 1);
}

/// What came before its list had a repository finds its place once it has one.
#[test]
fn a_list_that_gets_its_repository_late_tries_what_it_has() {
    let server = TestServer::start();
    let work = project(server.dir.path());
    server.cli(&["list", "create", "dev", "--address", LIST]);
    two_patches(&work);
    send_email(&server, &work, LIST, &["-2"]);
    server.drain();
    let before = applied(&server, "1", None);
    assert_eq!(before["detail"], "the list has no repository");
    let path = work.display().to_string();
    server.cli(&["repo", "add", "tool", "--path", &path, "--branch", "main"]);
    server.cli(&["list", "set", "dev", "--repo", "tool"]);
    applied(&server, "1", Some(true));
}
