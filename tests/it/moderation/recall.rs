//! What was posted and should not have been: taken back in one step, copies and all; and a wave of spam.

use patchpost::store::{Location, RecallWish, Removal, Store};
use patchpost::types::MessageId;

use super::super::harness::{
    Database, Smtp, TestServer, change, git, on_both, project, report, send_email, size,
};
use super::super::identity::{LIST, mail};
use super::{EVE, held, nowhere, outbox, send, server, settle};

on_both! {
    a_recall_stops_copies_and_hides_the_mail,
    a_recalled_patch_leaves_no_ref_and_no_series,
    who_had_a_copy_gets_none_again,
    a_removal_that_broke_off_is_finished_by_the_same_command,
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
        noted.contains("recalled")
            && noted.contains("spam; copies stopped 41, under way 0, sent 0: bad@x"),
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

fn who_had_a_copy_gets_none_again(database: Database) {
    let server = server(database);
    server.cli(&["policy", "set", "dev", "--moderation", "none"]);
    server.cli(&["member", "add", "dev", "kim@example.net"]);
    send(&server, &mail("one@x", EVE, "canary", "canary text\n"));
    let copies = || {
        let all = outbox(&server).into_iter();
        all.filter(|m| m.contains("canary text")).count()
    };
    server.wait_for("two copies", || (copies() == 2).then_some(()));
    settle(&server);
    server.cli(&["recall", "one@x"]);
    // Who joins meanwhile is told by the mail that goes out then.
    server.cli(&["member", "add", "dev", "new@example.net"]);
    let id = held(&server)[0]["id"].to_string();
    server.cli(&["held", "accept", &id]);
    posted(&server, "one@x");
    server.wait_for("the third copy", || (copies() == 3).then_some(()));
    settle(&server);
    assert_eq!(copies(), 3, "nobody has two");
}

/// The rows are gone, and the command was killed before the files were written anew.
fn a_removal_that_broke_off_is_finished_by_the_same_command(database: Database) {
    let server = open(database);
    send(&server, &mail("one@x", EVE, "canary", "canary text\n"));
    posted(&server, "one@x");
    let url = server.variable("PATCHPOST_DATABASE_URL");
    let location = match url.as_str() {
        "" => Location::File,
        url => Location::Url(url.to_owned()),
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let store = Store::open(&server.data(), &location).await.unwrap();
        let list = store.find_list("dev").await.unwrap().unwrap();
        let id = MessageId::parse("one@x").unwrap();
        let mail = store.find_mails(&list, &id).await.unwrap()[0].mail;
        let wish = RecallWish {
            how: Removal::Purge,
            ..RecallWish::default()
        };
        let now = store.time().await.unwrap();
        store.recall(mail, wish, now).await.unwrap().unwrap();
    });
    let doctor = || {
        let out = server.command().arg("doctor").output().unwrap();
        String::from_utf8(out.stdout).unwrap()
    };
    assert!(doctor().contains("BAD  purged mail"), "{}", doctor());
    let said = server.cli(&["remove", "one@x", "--purge"]);
    assert!(said.contains("gone from the database's files"), "{said}");
    assert!(doctor().contains("ok   purged mail"), "{}", doctor());
    let said = server.cli_fails(&["remove", "one@x", "--purge"]);
    assert!(said.contains("no mail one@x is posted"), "{said}");
}

#[test]
fn what_a_recall_could_not_clear_is_an_error() {
    let server = open(Database::Sqlite);
    send(&server, &mail("one@x", EVE, "canary", "canary text\n"));
    posted(&server, "one@x");
    // Refs of another realm could not be deleted, five times.
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        sqlx::any::install_default_drivers();
        let url = format!("sqlite://{}/patchpost.db", server.data().display());
        let options = sqlx::any::AnyPoolOptions::new().max_connections(1);
        let pool = options.connect(&url).await.unwrap();
        let parked = "insert into job (kind, key, priority, run_at, attempts, leased_until, lease, again, state, problem) \
             values ('aftermath', '999', 0, 0, 5, 0, 0, 0, 1, 'the disk is read-only')";
        sqlx::query(parked).execute(&pool).await.unwrap();
    });
    let said = server.cli_fails(&["recall", "one@x"]);
    assert!(said.contains("the disk is read-only"), "{said}");
    assert!(said.contains("patchpost jobs --retry"), "{said}");
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
        .filter(|m| m.contains("further mails to") || m.contains("1 further mail to"))
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
