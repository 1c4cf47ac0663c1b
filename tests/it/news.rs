//! Authors who chose it hear when others set the state of their patches, and when these land; nobody else does.

use std::path::Path;

use super::harness::{Database, Sink, change, git, on_both};
use super::identity::{LIST, Site, mail};
use super::rehearsal::{has, named, patches_to, signed, site};
use super::visitor::{Visitor, to};

on_both! {
    who_chose_it_hears_of_states_and_of_what_landed_once,
}

const ANA: &str = "ana@example.org";

/// Posts a series, and waits until all of it was done.
fn post(site: &Site, work: &Path, run: &str, arguments: &[&str]) -> Vec<String> {
    let mails = super::report::post(site, work, run, arguments);
    site.server.drain();
    mails
}

/// Ana, signed in, has this setting for states and landings; other mail about her patches is off.
fn choose(ana: &Visitor, states: &str) {
    let off = [("do", "reports"), ("arrived", "never"), ("conflict", "no")];
    let fields = [&off[..], &[("states", states)]].concat();
    assert_eq!(ana.press("/me/", &fields).status, 303);
}

/// Letters of this kind that went to Ana, in the order in which they came.
fn letters(sink: &Sink) -> Vec<String> {
    let all = sink.all().into_iter();
    let to_ana = all.filter(|c| c.recipients == [ANA]);
    let texts = to_ana.map(|c| String::from_utf8_lossy(&c.bytes).into_owned());
    texts
        .filter(|t| t.contains("there is news of your patches"))
        .collect()
}

/// The last of so many letters, once no look at news is owed any more.
#[track_caller]
fn letter(site: &Site, sink: &Sink, count: usize) -> String {
    settle(site);
    let all = site.server.wait_for("the letter", || {
        Some(letters(sink)).filter(|all| all.len() >= count)
    });
    assert_eq!(all.len(), count, "{all:#?}");
    all[count - 1].clone()
}

#[track_caller]
fn settle(site: &Site) {
    site.server.drain();
    site.server.wait_for("the looks that are owed", || {
        let jobs = site.server.json(&["jobs"]);
        let news = |j: &serde_json::Value| j["kind"] == "news";
        (!jobs.as_array().unwrap().iter().any(news)).then_some(())
    });
    site.server.drain();
}

/// Kim takes the commits of the topic into the project.
fn land(site: &Site, work: &Path, commits: &[&str]) -> Vec<String> {
    git(work, &["checkout", "-q", "main"]);
    let kim = ["-c", "user.name=Kim", "-c", "user.email=kim@example.org"];
    git(work, &[&kim[..], &["cherry-pick"], commits].concat());
    let log = git(work, &["log", "--format=%H", "--reverse", "-2"]);
    git(work, &["checkout", "-q", "topic"]);
    site.server.cli(&["repo", "fetch", "tool"]);
    log.lines().map(|l| l[..12].to_owned()).collect()
}

fn who_chose_it_hears_of_states_and_of_what_landed_once(database: Database) {
    let sink = Sink::start();
    let (site, work) = site(database, &to(&sink));
    let set = |state: &str| site.server.cli(&["series", "state", "1", state]);
    site.server.cli(&["member", "add", "dev", ANA]);
    site.server
        .cli(&["member", "set", "dev", ANA, "--mail", "off"]);
    let ana = Visitor::new(&site.server);
    ana.sign_in(&sink, ANA);
    let page = ana.get("/me/").body;
    assert!(
        page.contains(
            "<option value=\"no\" selected>say nothing</option><option value=\"yes\">tell me"
        ),
        "it is off: {page}"
    );
    choose(&ana, "no");
    change(&work, "src/a.c", "line 3\n", "line three\n", "Three");
    change(&work, "src/a.c", "line 9\n", "line nine\n", "Nine");
    let mails = post(&site, &work, "one", &["-2"]);
    set("under-review");
    settle(&site);
    assert_eq!(letters(&sink), Vec::<String>::new(), "nobody asked for it");

    choose(&ana, "yes");
    assert!(
        ana.get("/me/")
            .body
            .contains("value=\"yes\" selected>tell me")
    );
    let taken = ana.get("/me/export.json").body;
    assert!(taken.contains("\"states\": true"), "{taken}");
    // What comes together is told together; the last word counts.
    set("deferred");
    set("changes-requested");
    let said = letter(&site, &sink, 1);
    let id = mails[0]
        .lines()
        .find_map(|l| l.strip_prefix("Message-ID: "))
        .unwrap();
    has(
        &said,
        &[
            "From: dev list <dev+owner@lists.example.org>",
            "Subject: Your patches at dev@lists.example.org: changes requested",
            "Auto-Submitted: auto-generated",
            &format!("In-Reply-To: {id}"),
            "\"Three\", v1 of 2 patches",
            "Its state was set to \"changes requested\".",
            "/dev/patches/1/",
            "/me/",
        ],
    );
    assert!(!said.contains("deferred"), "{said}");
    let noted = site.server.cli(&["events", "dev"]);
    assert!(noted.contains("told news"), "{noted}");

    // It has that state already.
    set("changes-requested");
    settle(&site);
    assert_eq!(letters(&sink).len(), 1);

    // Both patches in one fetch are one letter.
    set("auto");
    let said = letter(&site, &sink, 2);
    has(
        &said,
        &["Its state is no longer set by hand: it is \"new\"."],
    );
    let commits = land(&site, &work, &["topic~1", "topic"]);
    let said = letter(&site, &sink, 3);
    has(
        &said,
        &[
            "Subject: Your patches at dev@lists.example.org: landed",
            &format!(
                "All of it is in main of tool now: patch 1 as {}, patch 2 as {}.",
                commits[0], commits[1]
            ),
        ],
    );
    // A person's word for what everybody sees, and whatever is thought about again, is no news.
    set("accepted");
    site.server.cli(&["repo", "fetch", "tool"]);
    site.server.cli(&["reclassify", "dev"]);
    settle(&site);
    assert_eq!(letters(&sink).len(), 3);
    choose(&ana, "no");
    set("rejected");
    settle(&site);
    assert_eq!(letters(&sink).len(), 3);
}

#[test]
fn what_one_does_oneself_is_no_news() {
    let sink = Sink::start();
    let (site, work) = site(Database::Sqlite, &to(&sink));
    change(&work, "src/a.c", "line 3\n", "line three\n", "Three");
    let mails = post(&site, &work, "one", &["-1"]);
    let ana = Visitor::new(&site.server);
    ana.sign_in(&sink, ANA);
    choose(&ana, "yes");
    let id = mails[0]
        .lines()
        .find_map(|l| l.strip_prefix("Message-ID: "))
        .unwrap();
    let own = mail(
        "own@x",
        "Ana Lima <ana@example.org>",
        "Re: Three",
        "/state changes-requested\n",
    );
    let own = own.replace(
        "Mon, 01 Jan 2024 10:00:00 +0000",
        &patchpost::store::now().rfc5322(),
    );
    let own = format!("In-Reply-To: {id}\nReferences: {id}\n{own}");
    site.send(&site.sign(&own));
    settle(&site);
    let state = || site.server.json(&["series", "show", "1"])[0]["state"].clone();
    assert_eq!(state(), "changes requested");
    // She pushes her own commit.
    git(&work, &["checkout", "-q", "main"]);
    change(&work, "README", "A project\n", "The project\n", "Other");
    git(&work, &["cherry-pick", "topic"]);
    site.server.cli(&["repo", "fetch", "tool"]);
    settle(&site);
    let page = site.server.page("/dev/patches/1/");
    assert!(page.contains("Landed: "), "{page}");
    assert_eq!(letters(&sink), Vec::<String>::new());
}

#[test]
fn nobody_unknown_or_outside_hears_of_anything() {
    let sink = Sink::start();
    let (site, work) = site(Database::Sqlite, &to(&sink));
    let ana = Visitor::new(&site.server);
    change(&work, "src/a.c", "line 3\n", "line three\n", "Three");
    let forged = patches_to(LIST, &work, &["-1"]).remove(0);
    let reply = site
        .server
        .send(&[LIST], named(&forged, "forged").as_bytes());
    assert!(reply.starts_with("250"), "{reply}");
    // The same in a list that she has left since, and that is not public.
    let secret = "secret@lists.example.org";
    let create = ["list", "create", "secret", "--address", secret, "--private"];
    site.server.cli(&create);
    site.server.cli(&["member", "add", "secret", ANA]);
    let inside = named(&forged, "inside").replace(LIST, secret);
    for mail in signed(&site, &[inside]) {
        let reply = site.server.send(&[secret], &mail);
        assert!(reply.starts_with("250"), "{reply}");
    }
    site.server.drain();
    ana.sign_in(&sink, ANA);
    choose(&ana, "yes");
    let all = site.server.json(&["series", "ls"]);
    let numbers = all
        .as_array()
        .unwrap()
        .iter()
        .map(|s| s["patchset"].as_i64());
    let secret = numbers.max().flatten().unwrap().to_string();
    site.server.cli(&["series", "state", "1", "accepted"]);
    site.server.cli(&["member", "rm", "secret", ANA]);
    site.server.cli(&["series", "state", &secret, "accepted"]);
    settle(&site);
    assert_eq!(letters(&sink), Vec::<String>::new());
    site.server.cli(&["member", "add", "secret", ANA]);
    site.server.cli(&["series", "state", &secret, "rejected"]);
    let said = letter(&site, &sink, 1);
    has(
        &said,
        &[
            "there is news of your patches at secret@lists.example.org:",
            "rejected",
        ],
    );
    assert!(!said.contains("/secret/"), "{said}");
}
