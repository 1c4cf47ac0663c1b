//! The pages of those who look after a list, and of the operator; and everybody else before their doors.

mod invite;

use super::harness::{Copy, Database, Sink, TestServer, on_both};
use super::visitor::{Seen, Visitor, to};

on_both! {
    a_moderator_decides_about_held_mail,
    nobody_else_gets_in,
    a_moderator_sets_the_list_and_its_members,
    the_operator_steers_the_queue,
}

const MIA: &str = "mia@example.net";
const OPERATOR: &str = "op@example.net";

fn start(database: Database, sink: &Sink) -> TestServer {
    let relay = to(sink);
    let environment = [
        relay[0],
        relay[1],
        ("PATCHPOST_LISTS_MODERATION", "strangers"),
        ("PATCHPOST_SITE_OPERATOR", OPERATOR),
    ];
    let server = TestServer::start_on_with(database, &environment);
    for (name, more) in [("dev", None), ("rookery", Some("--private"))] {
        let address = format!("{name}@lists.example.org");
        let mut create = vec!["list", "create", name, "--address", &address];
        create.extend(more);
        server.cli(&create);
    }
    server.cli(&["member", "add", "dev", "ana@example.org", "ben@example.com"]);
    let right = format!("{MIA}=reply,post,moderate");
    server.cli(&["policy", "set", "dev", "--person", &right]);
    let right = "zoe@example.net=browse,reply,post,moderate";
    server.cli(&["policy", "set", "rookery", "--person", right]);
    server
}

#[track_caller]
fn send(server: &TestServer, list: &str, id: &str, subject: &str, body: &str) {
    let parent = match subject.starts_with("[PATCH 1/2]") {
        true => "In-Reply-To: <0@x>\nReferences: <0@x>\n",
        false => "",
    };
    let mail = format!(
        "From: Eve <eve@example.net>\nMessage-ID: <{id}>\nSubject: {subject}\n{parent}\n{body}\n"
    );
    let to = format!("{list}@lists.example.org");
    let mut smtp = super::harness::Smtp::connect(&server.addresses["smtp"]);
    let (reply, _) = smtp.send("eve@example.net", &[&to], mail.as_bytes());
    assert!(reply.starts_with("250"), "{reply}");
}

/// Numbers of what is held, with subjects.
#[track_caller]
fn held(server: &TestServer, list: &str) -> Vec<(String, String)> {
    let all = server.json(&["held", "ls", list]);
    let row = |h: &serde_json::Value| {
        (
            h["id"].to_string(),
            h["subject"].as_str().unwrap().to_owned(),
        )
    };
    all.as_array().unwrap().iter().map(row).collect()
}

const DIFF: &str = "Text.\n---\ndiff --git a/f b/f\n--- a/f\n+++ b/f\n@@ -1 +1 @@\n-a\n+b";
const HOSTILE: &str = "</pre><script>alert(1)</script> <img src=x onerror=alert(1)> \u{202e}x";

fn place(seen: &Seen) -> String {
    assert_eq!(seen.status, 303, "{}", seen.body);
    seen.header("location").unwrap()
}

fn a_moderator_decides_about_held_mail(database: Database) {
    let sink = Sink::start();
    let server = start(database, &sink);
    send(&server, "dev", "0@x", "[PATCH 0/2] a series", "The cover.");
    send(&server, "dev", "1@x", "[PATCH 1/2] the first", DIFF);
    send(&server, "dev", "2@x", "<b>words</b>", HOSTILE);
    send(&server, "dev", "3@x", "buy", "spam");
    let attached = "x\nMIME-Version: 1.0\nContent-Type: text/x-patch; name=0001-a.patch\nContent-Disposition: attachment; filename=0001-a.patch\n\
         Content-Transfer-Encoding: base64";
    let file = data_encoding::BASE64_MIME.encode(format!("{DIFF}\n").as_bytes());
    send(&server, "dev", "4@x", attached, &file);
    let ids = held(&server, "dev");
    assert_eq!(ids.len(), 5);
    let mia = Visitor::new(&server);
    mia.sign_in(&sink, MIA);
    let page = mia.get("/me/").body;
    assert!(page.contains("5 mails held"), "{page}");
    // The notice leads there, by way of the door.
    let way = format!("/sign-in?to=/dev/settings/held/{}/", ids[0].0);
    server.wait_for("the notice", || {
        let has = |c: &Copy| String::from_utf8_lossy(&c.bytes).contains(&way);
        sink.all().into_iter().find(has)
    });
    assert_eq!(
        place(&mia.get(&way)),
        format!("/dev/settings/held/{}/", ids[0].0)
    );
    // What goes over TLS only is not told of by a page without it.
    server.cli(&["policy", "set", "dev", "--tls-only", "on"]);
    for page in [&way[12..], "/dev/settings/held/"] {
        let page = mia.get(page).body;
        assert!(page.contains("shown over TLS only"), "{page}");
        assert!(
            !page.contains("eve@") && !page.contains("nothing proves"),
            "{page}"
        );
    }
    server.cli(&["policy", "set", "dev", "--tls-only", "off"]);
    let stranger = Visitor::new(&server).get(&way);
    assert!(stranger.status == 200 && stranger.body.contains("Your e-mail address"));
    let page = mia.get("/dev/settings/held/").body;
    assert!(
        page.contains("2 mails of a series") && page.contains("nothing proves"),
        "{page}"
    );
    let of = |n: usize| format!("/dev/settings/held/{}/", ids[n].0);
    let shown = mia.get(&of(1)).body;
    assert!(
        shown.contains("Accept all 2 of the series") && shown.contains("class=\"rowset\""),
        "{shown}"
    );
    // What a web mailer attached is read where it is decided on, and by the command.
    let shown = mia.get(&of(4)).body;
    assert!(
        shown.contains("0001-a.patch") && shown.contains("class=\"rowset\""),
        "{shown}"
    );
    let shown = server.cli(&["held", "show", &ids[4].0]);
    assert!(shown.contains("\n@@ -1 +1 @@\n-a\n+b"), "{shown}");
    // A stranger's signs are text.
    let shown = mia.get(&of(2));
    assert!(
        !shown.body.contains("<script>alert") && !shown.body.contains("<img src=x"),
        "{}",
        shown.body
    );
    assert!(shown.body.contains("alert(1)") && !shown.body.contains('\u{202e}'));
    assert_eq!(
        shown.header("cache-control").as_deref(),
        Some("no-store, private")
    );
    let raw = mia.get(&format!("{}raw", of(2)));
    assert_eq!(
        raw.header("content-type").as_deref(),
        Some("text/plain; charset=utf-8")
    );
    assert!(
        raw.header("content-security-policy")
            .unwrap()
            .starts_with("sandbox")
    );
    assert_eq!(
        raw.header("x-content-type-options").as_deref(),
        Some("nosniff")
    );
    assert!(raw.body.contains("Message-ID: <2@x>"));

    let accepted = mia.press(&of(1), &[("do", "accept"), ("person", "yes")]);
    assert_eq!(place(&accepted), "/dev/settings/held/?done=accepted%202");
    assert!(
        mia.get("/dev/settings/held/?done=accepted%202")
            .body
            .contains("Accepted: 2 mails")
    );
    server.wait_for("the series to be filed", || {
        (server.json(&["list", "show", "dev"])["postings"] == 2).then_some(())
    });
    let people = server.json(&["policy", "show", "dev"])["people"].to_string();
    assert!(people.contains("eve@example.net"), "{people}");
    let again = mia.press(&of(1), &[("do", "discard")]);
    assert_eq!(place(&again), "/dev/settings/held/?done=before");
    assert_eq!(mia.get(&of(1)).status, 404);

    let empty = mia.press(&of(2), &[("do", "reject"), ("words", " \r\n ")]);
    assert!(
        empty.body.contains("Say in 1 to 2000 characters"),
        "{}",
        empty.body
    );
    let long = "x".repeat(2_001);
    assert_eq!(
        mia.press(&of(2), &[("do", "reject"), ("words", &long)])
            .status,
        200
    );
    assert_eq!(held(&server, "dev").len(), 3);
    let rejected = mia.press(
        &of(2),
        &[("do", "reject"), ("words", "Not here.\r\nAsk the users.")],
    );
    assert_eq!(place(&rejected), "/dev/settings/held/?done=rejected%201");
    let none = mia.press("/dev/settings/held/", &[("do", "discard")]);
    assert_eq!(place(&none), "/dev/settings/held/?done=none");
    let discarded = mia.press(
        "/dev/settings/held/",
        &[("do", "discard"), ("id", &ids[3].0), ("id", &ids[4].0)],
    );
    assert_eq!(place(&discarded), "/dev/settings/held/?done=discarded%202");
    assert!(held(&server, "dev").is_empty());
    let noted = server.cli(&["events", "dev"]);
    for word in ["accepted", "rejected", "discarded", "Ask the users."] {
        assert!(noted.contains(word), "{word}: {noted}");
    }
    let decided = noted.lines().filter(|l| l.contains(&format!("{MIA}  ")));
    assert_eq!(decided.count(), 5, "{noted}");
    let page = mia.get("/dev/settings/").body;
    assert!(
        page.contains("2 accepted, 2 discarded, 1 rejected"),
        "{page}"
    );
}

fn nobody_else_gets_in(database: Database) {
    let sink = Sink::start();
    let server = start(database, &sink);
    send(
        &server,
        "rookery",
        "canary@x",
        "canary words",
        "canary text",
    );
    let (id, _) = held(&server, "rookery").remove(0);
    let pages = [
        "",
        "members/",
        "held/",
        &format!("held/{id}/"),
        &format!("held/{id}/raw"),
    ];
    let (nobody, ben, mia, zoe, op) = (
        Visitor::new(&server),
        Visitor::new(&server),
        Visitor::new(&server),
        Visitor::new(&server),
        Visitor::new(&server),
    );
    ben.sign_in(&sink, "ben@example.com");
    mia.sign_in(&sink, MIA);
    zoe.sign_in(&sink, "zoe@example.net");
    op.sign_in(&sink, OPERATOR);
    for page in pages {
        let (dev, rookery, none) = (
            format!("/dev/settings/{page}"),
            format!("/rookery/settings/{page}"),
            format!("/nothing/settings/{page}"),
        );
        let asked = nobody.get(&dev);
        assert_eq!(asked.status, 303, "{page}");
        assert!(place(&asked).starts_with("/sign-in?to=%2Fdev%2Fsettings%2F"));
        assert_eq!(ben.get(&dev).status, 403, "{page}");
        assert_eq!(ben.press(&dev, &[("do", "discard")]).status, 403);
        // A list that is not public is not there: not for strangers, nor for members and moderators of others.
        for visitor in [&nobody, &ben, &mia] {
            let same = |path: &str, post: bool| {
                let seen = match post {
                    true => visitor.post(path, &[("do", "discard"), ("id", &id)]),
                    false => visitor.get(path),
                };
                let without_echo =
                    |text: &str| text.replace("rookery", "X").replace("nothing", "X");
                let head: Vec<&str> = seen
                    .head
                    .lines()
                    .filter(|l| !l.starts_with("Date"))
                    .collect();
                (
                    seen.status,
                    without_echo(&head.join("\n")),
                    without_echo(&seen.body),
                )
            };
            assert_eq!(same(&rookery, false), same(&none, false), "{page}");
            assert_eq!(same(&rookery, true), same(&none, true), "{page}");
            assert!(!visitor.get("/me/").body.contains("rookery"));
        }
        assert_eq!(zoe.get(&rookery).status, 200, "{page}");
        assert_eq!(op.get(&rookery).status, 200, "{page}");
        assert_eq!(zoe.get(&dev).status, 403, "{page}");
    }
    // The number of another list's mail opens nothing.
    let crossed = format!("/dev/settings/held/{id}/");
    assert_eq!(mia.get(&crossed).status, 404);
    assert_eq!(mia.get(&format!("{crossed}raw")).status, 404);
    for (path, fields) in [
        (crossed.as_str(), vec![("do", "accept")]),
        ("/dev/settings/held/", vec![("do", "accept"), ("id", &id)]),
        ("/dev/settings/held/", vec![("do", "discard"), ("id", &id)]),
    ] {
        mia.press(path, &fields);
    }
    assert_eq!(held(&server, "rookery").len(), 1);
    assert!(!mia.get("/dev/settings/held/").body.contains("canary"));
    // Without what guards the form, or with another's.
    let path = format!("/rookery/settings/held/{id}/");
    assert_eq!(zoe.post(&path, &[("do", "discard")]).status, 403);
    assert_eq!(
        zoe.post(&path, &[("do", "discard"), ("guard", &mia.guard())])
            .status,
        403
    );
    assert_eq!(held(&server, "rookery").len(), 1);
    // The postmaster's list is no list to look after; the queue is the operator's alone.
    send(&server, "rookery", "second@x", "more", "x");
    assert_eq!(op.get("/postmaster/settings/").status, 404);
    assert_eq!(mia.get("/-/queue").status, 404);
    assert_eq!(mia.press("/-/queue", &[("do", "drop")]).status, 404);
    assert_eq!(nobody.get("/-/queue").status, 303);
    // A right that is taken back ends at once.
    server.cli(&["policy", "set", "rookery", "--person", "zoe@example.net="]);
    assert_eq!(zoe.get("/rookery/settings/").status, 404);
    assert_eq!(zoe.press(&path, &[("do", "discard")]).status, 404);
    assert_eq!(held(&server, "rookery").len(), 2);
    let log = server.log();
    assert!(!log.contains("canary"), "{log}");
}

fn a_moderator_sets_the_list_and_its_members(database: Database) {
    let sink = Sink::start();
    let server = start(database, &sink);
    let (mia, op) = (Visitor::new(&server), Visitor::new(&server));
    mia.sign_in(&sink, MIA);
    op.sign_in(&sink, OPERATOR);
    let policy = || server.json(&["policy", "show", "dev"]);
    let before = policy();
    let page = mia.get("/dev/settings/").body;
    assert!(page.contains("2 members; 2 get copies"), "{page}");
    assert!(
        page.contains("patchpost policy set dev --anybody"),
        "{page}"
    );
    for wrong in [
        ("hold-days", "0"),
        ("delay", "soon"),
        ("max-size", "-1"),
        ("description", "one\ntwo"),
    ] {
        let seen = mia.press("/dev/settings/", &[("emergency", "on"), wrong]);
        assert!(seen.body.contains("Nothing was changed"), "{wrong:?}");
    }
    assert_eq!(policy(), before);
    let set = [
        ("emergency", "on"),
        ("hold-days", "20"),
        ("description", "Development of <tool>"),
        ("proof", "from"),
        ("anybody", "moderate"),
    ];
    assert_eq!(
        place(&mia.press("/dev/settings/", &set)),
        "/dev/settings/?done=saved"
    );
    let after = policy();
    assert_eq!(
        (&after["emergency"], &after["hold_days"]),
        (&true.into(), &20.into())
    );
    // A form that lay open while somebody else changed something undoes nothing.
    let stale = page.split("name=\"version\" value=\"").nth(1).unwrap();
    let stale = stale.split('"').next().unwrap();
    let seen = mia.press(
        "/dev/settings/",
        &[("version", stale), ("emergency", "off")],
    );
    assert!(
        seen.body.contains("somebody changed these settings"),
        "{}",
        seen.body
    );
    assert_eq!(policy(), after);
    // What decides about rights is set on the server only.
    for key in ["proof", "anybody", "max_size", "delay_seconds", "people"] {
        assert_eq!(after[key], before[key], "{key}");
    }
    assert!(
        server
            .page("/dev/")
            .contains("Development of &#60;tool&#62;")
    );
    mia.press(
        "/dev/settings/",
        // As a browser sends it: with all other fields as they stand.
        &[
            ("moderation", "none"),
            ("description", "x"),
            ("strangers-per-hour", "20"),
            ("delay", "60"),
        ],
    );
    let after = policy();
    assert_eq!(
        (&after["moderation"], &after["delay_seconds"]),
        (&"none".into(), &0.into())
    );
    assert_eq!(after["strangers_per_hour"], 0);

    let member = |address: &str| {
        let all = server.json(&["member", "ls", "dev"]);
        let found = all
            .as_array()
            .unwrap()
            .iter()
            .find(|m| m["address"] == address);
        found.map(|m| m["mail"] == true)
    };
    let ana = "ana@example.org";
    let press = |who: &Visitor<'_>, what: &str, address: &str| {
        let fields = [("do", what), ("address", address)];
        place(&who.press("/dev/settings/members/", &fields))
    };
    assert_eq!(
        press(&mia, "pause", ana),
        "/dev/settings/members/?done=paused"
    );
    assert_eq!(member(ana), Some(false));
    let listed = mia
        .get("/dev/settings/members/?words=ANA&standing=paused")
        .body;
    assert!(
        listed.contains(ana) && listed.contains("1 member"),
        "{listed}"
    );
    for words in ["%25", "_", "!", "nobody"] {
        let listed = mia
            .get(&format!("/dev/settings/members/?words={words}"))
            .body;
        assert!(listed.contains("No member fits"), "{words}");
    }
    press(&mia, "resume", ana);
    assert_eq!(member(ana), Some(true));
    assert_eq!(
        press(&mia, "remove", ana),
        "/dev/settings/members/?done=removed"
    );
    assert_eq!(member(ana), None);
    assert_eq!(
        press(&mia, "remove", ana),
        "/dev/settings/members/?done=nothing"
    );
    // Who adds people without asking them is the operator alone, and never a list to itself.
    assert_eq!(
        press(&mia, "add", "new@example.org"),
        "/dev/settings/members/?done=nothing"
    );
    assert_eq!(member("new@example.org"), None);
    assert_eq!(
        press(&op, "add", "new@example.org, two@example.org"),
        "/dev/settings/members/?done=added"
    );
    assert_eq!(member("two@example.org"), Some(true));
    for wrong in ["dev@lists.example.org", "no address", ""] {
        let fields = [("do", "add"), ("address", wrong)];
        let seen = op.press("/dev/settings/members/", &fields);
        assert!(seen.body.contains("Nobody was added"), "{wrong}");
    }
    let noted = server.cli(&["events", "dev"]);
    for word in [
        "emergency false to true, hold-days 14 to 20",
        "ana@example.org was removed",
        "two@example.org was added by the operator",
    ] {
        assert!(noted.contains(word), "{word}: {noted}");
    }
}

fn the_operator_steers_the_queue(database: Database) {
    let sink = Sink::start();
    let server = start(database, &sink);
    server.cli(&["policy", "set", "dev", "--moderation", "none"]);
    sink.refuse("@example.com", "450 4.2.0 come again");
    send(&server, "dev", "1@x", "hello", "words");
    let queue = || server.json(&["queue", "ls"]).as_array().unwrap().clone();
    server.wait_for("a copy to be refused", || {
        let all = queue();
        let refused = all
            .iter()
            .any(|m| m["problem"].as_str().unwrap().contains("come again"));
        (all.len() == 1 && refused).then_some(())
    });
    let op = Visitor::new(&server);
    op.sign_in(&sink, OPERATOR);
    let page = op.get("/-/queue").body;
    for word in ["1 mail owed", "example.com", "come again", "Try now"] {
        assert!(page.contains(word), "{word}: {page}");
    }
    let page = op.get("/-/queue?to=example.com").body;
    assert!(page.contains("ben@example.com"), "{page}");
    let id = queue()[0]["id"].as_str().unwrap().to_owned();
    let of = |state: &'static str| [("to", "example.com"), ("list", "dev"), ("state", state)];
    let press = |what: &'static str, fields: &[(&str, &str)]| {
        let mut all = vec![("do", what)];
        all.extend(fields);
        op.press("/-/queue", &all)
    };
    assert_eq!(place(&press("hold", &of("due"))), "/-/queue?done=hold%201");
    assert_eq!(queue()[0]["state"], "held");
    assert!(
        op.get("/-/queue?done=hold%201")
            .body
            .contains("1 mail: held back.")
    );
    // Nothing is dropped before it was said once more.
    let asked = press("drop", &of("held"));
    assert!(
        asked.status == 200 && asked.body.contains("cannot be undone"),
        "{}",
        asked.body
    );
    assert_eq!(queue().len(), 1);
    for fields in [
        vec![],
        vec![("id", "x1")],
        vec![("to", "example.com"), ("state", "all")],
    ] {
        assert_eq!(press("retry", &fields).status, 400, "{fields:?}");
    }
    sink.take("@example.com");
    assert_eq!(
        place(&press("retry", &[("id", &id)])),
        "/-/queue?done=retry%201"
    );
    server.wait_for("the copy", || queue().is_empty().then_some(()));
    assert!(op.get("/-/queue").body.contains("Nothing is owed"));
    sink.refuse("@example.com", "450 4.2.0 come again");
    send(&server, "dev", "2@x", "again", "words");
    server.wait_for("another to be refused", || {
        let all = queue();
        let due = all
            .iter()
            .any(|m| m["state"] == "due" && m["attempts"] == 1);
        due.then_some(())
    });
    let sure = [
        ("to", "example.com"),
        ("list", "dev"),
        ("state", "due"),
        ("sure", "yes"),
    ];
    assert_eq!(place(&press("drop", &sure)), "/-/queue?done=drop%201");
    assert!(queue().is_empty());
    let noted = server.cli(&["events", "dev"]);
    assert!(noted.contains("by op@example.net"), "{noted}");
}
