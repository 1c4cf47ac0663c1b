//! Held mail: what nobody sees of it, and what moderators do with it.

mod by_mail;
mod not_taken;
mod own_held;
mod recall;

use super::harness::{Database, TestServer, change, on_both, project, send_email};
use super::identity::{LIST, Site, mail};

on_both! {
    a_strangers_mail_is_seen_when_it_was_accepted,
    a_series_is_accepted_as_a_whole,
    what_was_refused_stays_refused,
}

const EVE: &str = "Eve <eve@example.org>";

fn server(database: Database) -> TestServer {
    let strangers = [("PATCHPOST_LISTS_MODERATION", "strangers")];
    let server = TestServer::start_on_with(database, &strangers);
    server.cli(&["list", "create", "dev", "--address", LIST]);
    server.cli(&["member", "add", "dev", "ben@example.net"]);
    server
}

/// Sends a mail that must be taken.
#[track_caller]
fn send(server: &TestServer, mail: &str) {
    let reply = server.send(&[LIST], mail.as_bytes());
    assert!(reply.starts_with("250"), "{reply}");
}

#[track_caller]
fn held(server: &TestServer) -> Vec<serde_json::Value> {
    let all = server.json(&["held", "ls", "dev"]);
    all.as_array().unwrap().clone()
}

/// Waits until nothing is to be filed or sent; word to the moderators may be owed.
#[track_caller]
fn settle(server: &TestServer) {
    server.wait_for("mail to be filed", || {
        let jobs = server.json(&["jobs"]);
        let jobs = jobs.as_array().unwrap();
        jobs.iter().all(|j| j["kind"] == "hold").then_some(())
    });
}

/// Nothing public has a word of it.
#[track_caller]
fn nowhere(server: &TestServer, word: &str, id: &str) {
    settle(server);
    for path in [
        "/",
        "/dev/",
        "/all/",
        "/dev/new.atom",
        "/dev/patches/",
        "/dev/patches/new.atom",
        "/dev/?q=canary",
        "/dev/?q=canary&x=m",
        "/all/?q=canary",
        "/manifest.js.gz",
    ] {
        let answer = server.get(path);
        assert!(!answer.text().contains(word), "{path}");
    }
    for path in [
        format!("/dev/{id}/"),
        format!("/dev/{id}/raw"),
        format!("/dev/{id}/t.mbox.gz"),
        format!("/all/{id}/"),
    ] {
        assert_eq!(server.get(&path).status, 404, "{path}");
    }
    let file = server
        .dir
        .path()
        .join(format!("out-{}", id.replace('@', "-")));
    server.cli(&[
        "export",
        "dev",
        &file.display().to_string(),
        "--format",
        "mbox",
    ]);
    assert!(!std::fs::read_to_string(&file).unwrap().contains(word));
}

#[track_caller]
fn outbox(server: &TestServer) -> Vec<String> {
    let folder = server.data().join("outbox");
    let files = std::fs::read_dir(folder).into_iter().flatten();
    // What is being written has another name, and would count twice.
    let whole = files.map(|f| f.unwrap().path());
    let whole = whole.filter(|path| path.extension().is_some_and(|e| e == "eml"));
    let texts = whole.filter_map(|path| std::fs::read_to_string(path).ok());
    texts.collect()
}

fn a_strangers_mail_is_seen_when_it_was_accepted(database: Database) {
    let server = server(database);
    send(&server, &mail("first@x", EVE, "canary", "canary text\n"));
    let all = held(&server);
    assert_eq!(all.len(), 1);
    assert_eq!(
        all[0]["reason"],
        "nothing proves that it is from eve@example.org"
    );
    let id = all[0]["id"].to_string();
    nowhere(&server, "canary text", "first@x");
    let shown = server.cli(&["held", "show", &id]);
    assert!(shown.contains("canary text"), "{shown}");
    assert_eq!(
        server.cli(&["held", "accept", &id]),
        "accepted: canary from eve@example.org\n"
    );
    settle(&server);
    assert!(server.page("/dev/first@x/").contains("canary text"));
    server.wait_for("the copy", || {
        outbox(&server)
            .iter()
            .any(|m| m.contains("canary text"))
            .then_some(())
    });
    assert!(held(&server).is_empty());
    let said = server.cli_fails(&["held", "accept", &id]);
    assert!(said.contains(&format!("no mail {id} is held")), "{said}");
    // Once a thread is there, the same mail again is the same mail.
    send(&server, &mail("first@x", EVE, "canary", "canary text\n"));
    settle(&server);
    assert!(held(&server).is_empty());
    let shown = server.json(&["list", "show", "dev"]);
    assert_eq!(shown["postings"], 1);
    let noted = server.cli(&["events", "dev"]);
    assert!(
        noted.contains("accepted") && noted.contains("by the operator"),
        "{noted}"
    );
}

fn a_series_is_accepted_as_a_whole(database: Database) {
    let server = server(database);
    let work = project(server.dir.path());
    let source = work.display().to_string();
    server.cli(&["repo", "add", "tool", "--path", &source, "--branch", "main"]);
    server.cli(&["list", "set", "dev", "--repo", "tool"]);
    change(
        &work,
        "src/a.c",
        "line 3\n",
        "line three\n",
        "Three in letters",
    );
    change(
        &work,
        "src/a.c",
        "line 9\n",
        "line nine\n",
        "Nine in letters",
    );
    send_email(
        &server,
        &work,
        LIST,
        &[
            "--cover-letter",
            "--cover-from-description=subject",
            "--subject-prefix=PATCH",
            "-2",
            "--force",
        ],
    );
    // Another mail of the same address is another matter.
    send(
        &server,
        &mail(
            "other@x",
            "Ana Lima <ana@example.org>",
            "[PATCH 1/3] other",
            "text\n",
        ),
    );
    let all = held(&server);
    assert_eq!(all.len(), 4, "{all:?}");
    let second = all
        .iter()
        .find(|h| h["subject"].as_str().unwrap().contains("2/2"));
    let done = server.cli(&["held", "accept", &second.unwrap()["id"].to_string()]);
    assert_eq!(done.lines().count(), 3, "{done}");
    server.wait_for("the series to be applied", || {
        let series = server.json(&["series", "ls", "dev"]);
        (series[0]["applies"] == true).then_some(())
    });
    let left = held(&server);
    assert_eq!(left.len(), 1);
    assert_eq!(left[0]["message_id"], "other@x");
}

fn what_was_refused_stays_refused(database: Database) {
    let server = server(database);
    let one = mail("one@x", EVE, "canary one", "canary text\n");
    let two = mail("two@x", EVE, "canary two", "canary text\n");
    send(&server, &one);
    send(&server, &two);
    let all = held(&server);
    let ids: Vec<String> = all.iter().map(|h| h["id"].to_string()).collect();
    let said = server.cli(&["held", "reject", &ids[0], "--words", "Not for here."]);
    assert_eq!(said, "rejected: canary one from eve@example.org\n");
    let said = server.cli(&["held", "discard", &ids[1]]);
    let words = "discarded: 1 mail of dev; its text is deleted at once and cannot be got back, also by the same mail sent again; `patchpost events dev";
    assert!(said.starts_with(words), "{said}");
    // A resend, by whatever way, changes nothing.
    send(&server, &one);
    send(&server, &two);
    let mbox = server.dir.path().join("old.mbox");
    std::fs::write(&mbox, format!("From x Mon Jan  1 00:00:00 2024\n{one}\n")).unwrap();
    server.cli(&["import", "dev", &mbox.display().to_string()]);
    nowhere(&server, "canary text", "one@x");
    nowhere(&server, "canary text", "two@x");
    assert!(held(&server).is_empty());
    let events = server.json(&["events", "dev"]);
    let kinds: Vec<&str> = events
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["kind"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["discarded", "rejected", "members"]);
    // The list is as empty as it looks.
    server.cli(&["list", "rm", "dev"]);
}

#[test]
fn a_person_who_was_accepted_is_known_from_then_on() {
    let site = Site::start(&[("PATCHPOST_LISTS_MODERATION", "strangers")]);
    let server = &site.server;
    send(
        server,
        &String::from_utf8(site.sign(&mail("one@x", EVE, "one", "text\n")))
            .unwrap()
            .replace("\r\n", "\n"),
    );
    let id = held(server)[0]["id"].to_string();
    server.cli(&["held", "accept", &id, "--person"]);
    let shown = server.json(&["policy", "show", "dev"]);
    assert_eq!(shown["people"][0]["rights"], "browse,reply,post");
    settle(server);
    assert!(
        server
            .send(&[LIST], &site.sign(&mail("two@x", EVE, "two", "text\n")))
            .starts_with("250")
    );
    settle(server);
    assert_eq!(server.get("/dev/two@x/").status, 200);
    // Whoever writes her address is a stranger all the same.
    send(server, &mail("three@x", EVE, "three", "text\n"));
    assert_eq!(held(server)[0]["message_id"], "three@x");
}

#[test]
fn who_is_authenticated_and_answers_is_not_held_but_goes_out_late() {
    let site = Site::start(&[("PATCHPOST_LISTS_MODERATION", "strangers")]);
    let server = &site.server;
    server.cli(&[
        "policy",
        "set",
        "dev",
        "--person",
        "ana@example.org=reply,post",
    ]);
    server.cli(&["member", "add", "dev", "ben@example.net"]);
    let ana = "Ana <ana@example.org>";
    assert!(
        server
            .send(&[LIST], &site.sign(&mail("root@x", ana, "root", "text\n")))
            .starts_with("250")
    );
    settle(server);
    // A thread that is not here is no thread.
    let elsewhere = mail("else@x", EVE, "Re: x", "text\n")
        .replace("\nDate:", "\nIn-Reply-To: <nowhere@x>\nDate:");
    assert!(
        server
            .send(&[LIST], &site.sign(&elsewhere))
            .starts_with("250")
    );
    assert_eq!(held(server)[0]["message_id"], "else@x");
    let answer = mail("answer@x", EVE, "Re: root", "I agree\n")
        .replace("\nDate:", "\nIn-Reply-To: <root@x>\nDate:");
    assert!(server.send(&[LIST], &site.sign(&answer)).starts_with("250"));
    assert_eq!(held(server).len(), 1);
    server.wait_for("the answer's page", || {
        (server.get("/dev/answer@x/").status == 200).then_some(())
    });
    let jobs = server.json(&["jobs"]);
    let late = jobs
        .as_array()
        .unwrap()
        .iter()
        .find(|j| j["kind"] == "fan-out");
    assert_eq!(late.expect("its copies wait")["state"], "waiting");
}

#[test]
fn nothing_shows_that_a_mail_is_held_on_a_security_list() {
    let server = server(Database::Sqlite);
    let core = "core@lists.example.org";
    server.cli(&[
        "list",
        "create",
        "core",
        "--style",
        "security",
        "--address",
        core,
    ]);
    server.cli(&["policy", "set", "core", "--moderation", "all"]);
    let text = mail("hole@x", EVE, "the hidden hole", "canary hidden text\n");
    assert!(server.send(&[core], text.as_bytes()).starts_with("250"));
    settle(&server);
    assert_eq!(
        server
            .json(&["held", "ls", "core"])
            .as_array()
            .unwrap()
            .len(),
        1
    );
    nowhere(&server, "hidden", "hole@x");
    for path in ["/core/", "/core/new.atom", "/core/hole@x/"] {
        assert_eq!(server.get(path).status, 404, "{path}");
    }
    let log = server.log();
    assert!(
        !log.contains("hidden") && !log.contains("hole@x") && !log.contains("eve@example.org"),
        "{log}"
    );
}
