//! What the person who runs a site does and sees: notes on mail, lists and repositories that go, archives that were replaced.

use patchpost::pipeline::{Ctx, NewMail, Repos};
use patchpost::session::Protocol;
use patchpost::store::{Location, Store, now};
use patchpost::types::{Job, RepoId};

use super::harness::{Database, Sink, Smtp, TestServer, change, git, on_both, project, send_email};
use super::real_mail::{feed, plain_git};

on_both! {
    what_became_of_mail_that_was_not_archived_can_be_read,
    a_list_with_mail_that_is_owed_is_not_deleted_by_the_way,
    small_packs_are_joined_by_a_job_and_every_ref_can_be_fetched,
}

/// Opens the store of a server that does not run.
async fn open(server: &TestServer) -> Store {
    let location = match server.variable("PATCHPOST_DATABASE_URL").as_str() {
        "" => Location::File,
        url => Location::Url(url.to_owned()),
    };
    Store::open(&server.data(), &location).await.unwrap()
}

fn small_packs_are_joined_by_a_job_and_every_ref_can_be_fetched(database: Database) {
    let mut server = TestServer::start_on(database);
    let dir = server.dir.path().to_owned();
    let work = project(&dir);
    server.cli(&["repo", "add", "tool", "--path", work.to_str().unwrap()]);
    let create = ["list", "create", "dev", "--address", "dev@x.org"];
    server.cli(&[&create[..], &["--repo", "tool"]].concat());
    git(&dir, &["clone", "-q", "project", "mine"]);
    let mine = dir.join("mine");
    for n in [5, 20] {
        git(&mine, &["reset", "-q", "--hard", "origin/main"]);
        let (from, to) = (format!("line {n}\n"), format!("line {n}, changed\n"));
        change(&mine, "src/a.c", &from, &to, &format!("Change {n}"));
        send_email(&server, &mine, "dev@x.org", &["-1"]);
        server.drain();
    }
    let companion = server.data().join("repos/tool.patches.git");
    // A hundred series are a pack each; these hold a blob each.
    for n in 0..100 {
        let blob = format!("blob\ndata <<end\n{n}\nend\n");
        let mut import = plain_git(&companion);
        import.args(["-c", "fastimport.unpackLimit=0", "fast-import", "--quiet"]);
        let (fine, _, said) = feed(&mut import, blob.as_bytes());
        assert!(fine, "{said}");
    }
    let packs = || {
        let all = std::fs::read_dir(companion.join("objects/pack")).unwrap();
        let all = all.map(|e| e.unwrap().path());
        all.filter(|p| p.extension().is_some_and(|e| e == "pack"))
            .count()
    };
    let objects = || {
        let all = ["cat-file", "--batch-all-objects", "--batch-check"];
        git(&companion, &all)
    };
    let before = objects();
    assert_eq!(packs(), 102);
    server.terminate();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let store = open(&server).await;
        let repo = RepoId(store.load_repos().await.unwrap()[0].id);
        let job = vec![(Job::Upkeep(repo), 6)];
        store.insert_jobs(job, now()).await.unwrap();
    });
    server.launch();
    server.drain();
    // As much as the largest pack weighs may be left for the next time.
    assert!(packs() <= 20, "{} packs are left", packs());
    assert_eq!(objects(), before);
    git(&companion, &["fsck", "--strict"]);
    let url = format!("{}/tool.patches.git", server.base());
    for (number, line) in [(1, 5), (2, 20)] {
        let name = format!("refs/patches/{number}/v1");
        let fresh = dir.join(format!("fresh{number}"));
        git(&dir, &["clone", "-q", "project", fresh.to_str().unwrap()]);
        git(&fresh, &["fetch", "-q", "--no-tags", &url, &name]);
        let title = git(&fresh, &["log", "-1", "--format=%s", "FETCH_HEAD"]);
        assert_eq!(title, format!("Change {line}"));
        git(&fresh, &["fsck", "--strict"]);
    }
}

fn what_became_of_mail_that_was_not_archived_can_be_read(database: Database) {
    let sink = Sink::start();
    let server = TestServer::start_on_with(
        database,
        &[
            ("PATCHPOST_DELIVERY_TRANSPORT", "smtp"),
            ("PATCHPOST_DELIVERY_RELAY", &sink.address),
        ],
    );
    server.cli(&["list", "create", "dev", "--address", "dev@x.org"]);
    server.cli(&["list", "create", "users", "--address", "users@x.org"]);
    assert!(server.cli(&["events"]).contains("nothing was noted"));
    server.cli(&["member", "add", "dev", "ben@example.com"]);
    let mail = b"From: Ana <ana@example.org>\nSubject: s\nMessage-ID: <m1@x>\n\ntext\n";
    // One list takes it, the other address does not: the sender hears that it was taken.
    let reply = server.send(&["dev@x.org", "users+confirm-abc@x.org"], mail);
    assert!(reply.starts_with("250"), "{reply}");
    let copy = server.wait_for("the member's copy", || sink.all().into_iter().next());
    let mut smtp = Smtp::connect(&server.addresses["smtp"]);
    let bounce = b"Subject: Undelivered\nMessage-ID: <dsn@far>\n\nNo such user.\n";
    let (reply, _) = smtp.send("", &[&copy.sender], bounce);
    assert!(reply.starts_with("250"), "{reply}");
    let events = server.json(&["events"]);
    let events: Vec<String> = events
        .as_array()
        .unwrap()
        .iter()
        .map(|e| {
            ["list", "kind", "actor", "detail"]
                .map(|k| e[k].as_str().unwrap())
                .join(" | ")
        })
        .collect();
    assert_eq!(
        events,
        [
            "dev | bounce | ben@example.com | gone gone, the copy of posting 1: No such user.",
            "users | refused | ana@example.org | 550 5.1.1 This address is not valid, or not any more: m1@x",
            "dev | members | the operator | ben@example.com was added",
        ]
    );
    let said = server.cli(&["events", "users"]);
    assert!(
        said.contains("refused") && !said.contains("bounce"),
        "{said}"
    );
    server.cli(&["list", "rm", "users"]);
    assert_eq!(server.json(&["events"]).as_array().unwrap().len(), 2);
}

fn a_list_with_mail_that_is_owed_is_not_deleted_by_the_way(database: Database) {
    let mut server = TestServer::start_on(database);
    server.cli(&["list", "create", "dev", "--address", "dev@x.org"]);
    server.terminate();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let data = server.data();
        let store = open(&server).await;
        let ctx = Ctx::open(store, Repos::new(&data), String::new(), 0);
        let new = NewMail {
            bytes: b"Subject: owed\r\nMessage-ID: <owed@x>\r\n\r\ntext\r\n".to_vec(),
            sender: Some("ana@example.org".parse().unwrap()),
            recipients: vec!["dev@x.org".parse().unwrap()],
            protocol: Protocol::Smtp,
            ip: None,
            helo: String::new(),
        };
        assert_eq!(ctx.await.unwrap().screen(new).await, [Ok(())]);
    });
    let said = server.cli_fails(&["list", "rm", "dev"]);
    assert!(said.contains("list dev owes a place to 1 mail"), "{said}");
    server.launch();
    server.drain();
    assert!(server.page("/dev/owed@x/").contains("owed"));
    let said = server.cli_fails(&["list", "rm", "dev"]);
    assert!(said.contains("an archive of 1 mail;"), "{said}");
    assert_eq!(
        server.json(&["list", "show", "dev"])["address"],
        "dev@x.org"
    );
}

#[test]
fn an_mbox_that_was_replaced_is_read_from_its_start() {
    let mbox = |from: usize, to: usize, name: &str| -> String {
        let one = |n: usize| {
            format!(
                "From mboxrd@z Thu Jan  1 00:00:00 1970\nFrom: a@b.c\nMessage-ID: <{n}.{name}@x>\nSubject: {name} {n}\n\nbody\n\n"
            )
        };
        (from..to).map(one).collect()
    };
    let server = TestServer::start();
    server.cli(&["list", "create", "dev", "--address", "dev@x.org"]);
    let path = server.dir.path().join("current.mbox");
    let import = || server.cli(&["import", "dev", path.to_str().unwrap()]);
    std::fs::write(&path, mbox(0, 1_050, "old")).unwrap();
    assert!(import().starts_with("1050 mails read: 1050 new"));
    // More at its end: only that is read, and a little before it.
    std::fs::write(&path, mbox(0, 1_060, "old")).unwrap();
    let said = import();
    assert!(
        said.contains(" 10 new") && !said.starts_with("1060 "),
        "{said}"
    );
    // A rotated file of that name, longer than the old one.
    std::fs::write(&path, mbox(0, 1_200, "another")).unwrap();
    let said = import();
    assert!(said.starts_with("1200 mails read: 1200 new"), "{said}");
    assert_eq!(server.json(&["list", "show", "dev"])["postings"], 2_260);
}

#[test]
fn a_repository_whose_making_was_killed_can_be_made_and_an_unused_one_can_go() {
    let server = TestServer::start();
    let work = project(server.dir.path());
    let add = ["repo", "add", "tool", "--path", work.to_str().unwrap()];
    let folder = server.data().join("repos");
    std::fs::create_dir_all(folder.join("tool.git")).unwrap();
    let said = server.cli_fails(&add);
    assert!(
        said.contains("exists already"),
        "not ours to clear away: {said}"
    );
    std::fs::write(folder.join("tool.git/half"), "made").unwrap();
    std::fs::write(folder.join("tool.adding"), "being made\n").unwrap();
    server.cli(&add);
    assert!(!folder.join("tool.git/half").exists() && !folder.join("tool.adding").exists());
    server.cli(&[
        "list",
        "create",
        "dev",
        "--address",
        "dev@x.org",
        "--repo",
        "tool",
    ]);
    let said = server.cli_fails(&["repo", "rm", "tool"]);
    assert!(said.contains("list dev uses repository tool"), "{said}");
    server.cli(&["list", "rm", "dev"]);
    server.cli(&["repo", "rm", "tool"]);
    assert!(!folder.join("tool.git").exists() && !folder.join("tool.patches.git").exists());
    server.cli(&add);
}

#[test]
fn the_queue_can_be_asked_for_every_state_and_says_which_there_are() {
    let server = TestServer::start();
    server.cli(&["list", "create", "dev", "--address", "dev@x.org"]);
    for state in ["rfc", "not-applicable", "awaiting-upstream", "deferred"] {
        let page = server.page(&format!("/dev/patches/?state={state}"));
        assert!(
            page.contains(&format!("value=\"{state}\" selected")),
            "{page}"
        );
    }
    let answer = server.get("/dev/patches/?state=nonsense");
    assert_eq!(answer.status, 400);
    assert!(
        answer
            .text()
            .contains("There is no state nonsense; there are: open, any")
    );
}
