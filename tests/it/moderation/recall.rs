//! What was posted and should not have been: taken back in one step, copies and all; and a wave of spam.

use super::super::harness::{
    Database, Smtp, TestServer, change, git, on_both, project, report, send_email, size,
};
use super::super::identity::{LIST, mail};
use super::{EVE, held, nowhere, outbox, send, server, settle};

on_both! {
    a_recall_stops_copies_and_hides_the_mail,
    a_recalled_patch_leaves_no_ref_and_no_series,
}

/// Nobody is held, but first posts go out late.
fn open(database: Database) -> TestServer {
    let server = server(database);
    server.cli(&["policy", "set", "dev", "--moderation", "none"]);
    server.cli(&["policy", "set", "dev", "--delay", "600"]);
    server
}

/// Waits for a mail's page.
#[track_caller]
fn posted(server: &TestServer, id: &str) {
    server.wait_for("the mail's page", || {
        (server.get(&format!("/dev/{id}/")).status == 200).then_some(())
    });
}

fn a_recall_stops_copies_and_hides_the_mail(database: Database) {
    let server = open(database);
    let members: Vec<String> = (0..40).map(|n| format!("m{n}@example.net")).collect();
    let all: Vec<&str> = ["member", "add", "dev"]
        .into_iter()
        .chain(members.iter().map(String::as_str))
        .collect();
    server.cli(&all);
    send(&server, &mail("bad@x", EVE, "canary", "canary text\n"));
    send(
        &server,
        &mail("answer@x", "Ben <ben@example.net>", "Re: canary", "No.\n")
            .replace("\nDate:", "\nIn-Reply-To: <bad@x>\nDate:"),
    );
    posted(&server, "bad@x");
    posted(&server, "answer@x");
    let said = server.cli(&["recall", "<bad@x>", "--ban", "--why", "spam"]);
    assert!(
        said.contains("copies: 41 stopped, 0 under way, 0 sent before"),
        "{said}"
    );
    assert!(said.contains("banned: eve@example.org"), "{said}");
    nowhere_but_held(&server);
    // The answer stays, under a name that nobody knows.
    assert!(server.page("/dev/answer@x/").contains("No."));
    let reply = server.send(&[LIST], mail("more@x", EVE, "more", "text\n").as_bytes());
    assert!(reply.starts_with("550 5.7.1"), "{reply}");
    let noted = server.cli(&["events", "dev"]);
    assert!(
        noted.contains("recalled") && noted.contains("spam"),
        "{noted}"
    );
    assert!(!outbox(&server).iter().any(|m| m.contains("canary text")));
    // It was a mistake: it is let through again, with a number of its own, and stands where it stood.
    let id = held(&server)[0]["id"].to_string();
    server.cli(&["held", "accept", &id]);
    posted(&server, "bad@x");
    server.wait_for("the copies", || {
        let all = outbox(&server);
        (all.iter().filter(|m| m.contains("canary text")).count() == 41).then_some(())
    });
    assert!(server.page("/dev/bad@x/T/").contains("No."));
    let said = server.cli_fails(&["recall", "nobody@x"]);
    assert!(said.contains("no mail nobody@x is posted"), "{said}");
}

#[track_caller]
fn nowhere_but_held(server: &TestServer) {
    server.wait_for("the answer alone", || {
        let jobs = server.json(&["jobs"]);
        let jobs = jobs.as_array().unwrap();
        jobs.iter()
            .all(|j| j["kind"] == "hold" || j["kind"] == "fan-out")
            .then_some(())
    });
    for path in [
        "/",
        "/dev/",
        "/all/",
        "/dev/new.atom",
        "/dev/?q=text",
        "/dev/?q=text&x=m",
        "/dev/answer@x/T/",
        "/dev/answer@x/t.mbox.gz",
    ] {
        assert!(!server.get(path).text().contains("canary text"), "{path}");
    }
    for path in ["/dev/bad@x/", "/dev/bad@x/raw", "/all/bad@x/"] {
        assert_eq!(server.get(path).status, 404, "{path}");
    }
    assert_eq!(held(server)[0]["reason"], "recalled: spam");
}

fn a_recalled_patch_leaves_no_ref_and_no_series(database: Database) {
    let server = open(database);
    let work = project(server.dir.path());
    let source = work.display().to_string();
    server.cli(&["repo", "add", "tool", "--path", &source, "--branch", "main"]);
    server.cli(&["list", "set", "dev", "--repo", "tool"]);
    change(&work, "src/a.c", "line 3\n", "line canary\n", "Sing");
    send_email(&server, &work, LIST, &["-1", "--force"]);
    server.wait_for("the series to be applied", || {
        (server.json(&["series", "ls", "dev"])[0]["applies"] == true).then_some(())
    });
    let url = format!("{}/tool.patches.git", server.base());
    let refs = || git(server.dir.path(), &["ls-remote", &url]);
    assert!(refs().contains("refs/patches/1/v1"));
    let series = server.json(&["series", "ls", "dev"]);
    let id = series[0]["patches"][0]["message_id"].as_str().unwrap();
    let id = id.to_owned();
    server.cli(&["recall", &id]);
    assert!(!refs().contains("refs/patches/"), "{}", refs());
    assert_eq!(
        server
            .json(&["series", "ls", "dev"])
            .as_array()
            .unwrap()
            .len(),
        0
    );
    assert_eq!(server.get("/dev/patches/1/").status, 404);
    nowhere(&server, "line canary", &id);
    settle(&server);
}

#[test]
fn a_wave_of_spam_reaches_nobody_and_is_cleared_in_one_step() {
    let (mails, members) = [(150, 50), (1_000, 300), (5_000, 1_000)][size() - 1];
    let server = server(Database::Sqlite);
    let addresses: Vec<String> = (0..members).map(|n| format!("m{n}@example.net")).collect();
    for chunk in addresses.chunks(200) {
        let all: Vec<&str> = ["member", "add", "dev"]
            .into_iter()
            .chain(chunk.iter().map(String::as_str))
            .collect();
        server.cli(&all);
    }
    server.cli(&[
        "policy",
        "set",
        "dev",
        "--person",
        "ben@example.net=reply,post,moderate",
    ]);
    let mut smtp = Smtp::connect(&server.addresses["smtp"]);
    for n in 0..mails {
        let text = mail(
            &format!("{n}@spam"),
            &format!("S {n} <s{n}@spam{}.example>", n % 9),
            &format!("Offer {n}"),
            "Buy now\n",
        );
        let (reply, _) = smtp.send(&format!("s{n}@spam.example"), &[LIST], text.as_bytes());
        assert!(reply.starts_with("250"), "{reply}");
    }
    assert_eq!(held(&server).len(), mails);
    // The moderator hears of the wave, and is not drowned in it.
    let told = server.wait_for("word of the wave", || {
        let all = outbox(&server);
        let told: Vec<String> = all.into_iter().filter(|m| m.contains("To: ben@")).collect();
        told.iter()
            .any(|m| m.contains("further mails to"))
            .then_some(told)
    });
    // At most a hundred notices a day about one mail or series, and four that count the others.
    let waves = told
        .iter()
        .filter(|m| m.contains("further mails to"))
        .count();
    assert!(waves <= 4, "{waves} notices about waves");
    assert!(told.len() - waves <= 100, "{} notices", told.len());
    let steps = [["held", "discard", "--list", "dev", "--all"]];
    for step in &steps {
        server.cli(step);
    }
    assert!(held(&server).is_empty());
    settle(&server);
    let sent = outbox(&server)
        .iter()
        .filter(|m| {
            m.contains("To: ".to_owned().as_str())
                && m.contains("List-Post")
                && m.contains("Buy now")
        })
        .count();
    report(&format!(
        "{mails} spam mails to {members} members: copies sent {sent}, steps to clean {}",
        steps.len()
    ));
    assert_eq!(sent, 0);
    assert_eq!(server.json(&["list", "show", "dev"])["postings"], 0);
}
