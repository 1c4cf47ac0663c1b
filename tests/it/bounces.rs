//! Copies that a real server refuses, days that pass by a clock that the test moves, and what follows for the member.

use patchpost::pipeline::{Ctx, Repos};
use patchpost::store::{Letter, Location, Outcome, Store, now};
use patchpost::types::Timestamp;

use super::dkim::{Key, wish};
use super::harness::{Database, Sink, Smtp, TestServer, on_both, request};

on_both! {
    five_days_of_bounces_then_probe_disabling_warnings_and_enabling,
    a_policy_storm_of_a_thousand_members_harms_nobody,
}

const DAY: i64 = 86_400;
const USUAL: [(&str, &str); 1] = [("PATCHPOST_SITE_OPERATOR", "olga@ops.example")];

/// A server that sends to a sink, and what moves the clock beside it.
struct Story {
    sink: Sink,
    server: TestServer,
    ctx: Ctx,
    runtime: tokio::runtime::Runtime,
}

fn story(database: Database) -> Story {
    story_with(database, &USUAL)
}

fn story_with(database: Database, more: &[(&str, &str)]) -> Story {
    let sink = Sink::start();
    let mut environment = vec![
        ("PATCHPOST_DELIVERY_TRANSPORT", "smtp"),
        ("PATCHPOST_DELIVERY_RELAY", sink.address.as_str()),
    ];
    environment.extend(more);
    let server = TestServer::start_on_with(database, &environment);
    server.cli(&["list", "create", "dev", "--address", "dev@x.org"]);
    let location = match server.variable("PATCHPOST_DATABASE_URL").as_str() {
        "" => Location::File,
        url => Location::Url(url.to_owned()),
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let ctx = runtime.block_on(async {
        let data = server.data();
        let store = Store::open(&data, &location).await.unwrap();
        let base = "https://x.org".to_owned();
        let mut ctx = Ctx::open(store, Repos::new(&data), base, 0).await.unwrap();
        ctx.operator = Some("olga@ops.example".parse().unwrap());
        ctx
    });
    Story {
        sink,
        server,
        ctx,
        runtime,
    }
}

impl Story {
    fn check(&self, at: Timestamp) {
        self.runtime.block_on(self.ctx.check_bounces(at)).unwrap();
    }

    fn post(&self, id: usize) {
        let mail =
            format!("From: Ana <ana@example.org>\nMessage-ID: <{id}@x>\nSubject: s{id}\n\ntext\n");
        let reply = self.server.send(&["dev@x.org"], mail.as_bytes());
        assert!(reply.starts_with("250"), "{reply}");
    }

    fn wait_given_up(&self, count: i64) {
        let store = &self.ctx.store;
        self.server.wait_for("copies to be given up", || {
            let counts = self.runtime.block_on(store.count_deliveries()).unwrap();
            (counts == (0, count)).then_some(())
        });
    }

    /// Takes what is owed by then off the queue; the server itself sends letters when their time has come.
    fn take_letters(&self, at: Timestamp) -> Vec<Letter> {
        let store = &self.ctx.store;
        self.runtime.block_on(async {
            let claimed = store.claim_letters(10, &[], at).await.unwrap();
            let sent = claimed.iter().map(|l| (l.clone(), Outcome::Sent));
            store.record_letters(sent.collect()).await.unwrap();
            claimed
        })
    }

    fn show(&self, address: &str) -> serde_json::Value {
        self.server.json(&["member", "show", "dev", address])
    }

    /// The newest mail to an address, once there are so many.
    fn letter(&self, address: &str, count: usize) -> super::harness::Copy {
        self.server.wait_for("a letter", || {
            let all = self.sink.all();
            // What the machine itself lacks, as room on its disk, is told to the same address.
            let own = |c: &super::harness::Copy| {
                String::from_utf8_lossy(&c.bytes).contains("Subject: Trouble at")
            };
            let to: Vec<_> = all
                .into_iter()
                .filter(|c| c.recipients == [address] && !own(c))
                .collect();
            (to.len() == count).then(|| to.last().cloned()).flatten()
        })
    }
}

fn five_days_of_bounces_then_probe_disabling_warnings_and_enabling(database: Database) {
    let s = story(database);
    let (ben, cleo) = ("ben@example.com", "cleo@example.com");
    s.server.cli(&["member", "add", "dev", ben, cleo]);
    s.sink.refuse(ben, "550 5.3.0 This host is broken");
    // Five days, a posting each, refused while it is sent: a point a day.
    let today = now();
    for number in 1..=5usize {
        s.post(number);
        s.wait_given_up(number as i64);
        if number == 5 {
            // What is sent to him now is taken, so that it can come back later.
            s.sink.take(ben);
        }
        let at = today.plus_secs((number as i64 - 6) * DAY);
        s.check(at);
        s.check(at.plus_secs(3_700));
        let shown = s.show(ben);
        assert_eq!(shown["score"].as_f64(), Some(number as f64), "{shown}");
        assert_eq!(shown["days"].as_i64(), Some(number as i64), "{shown}");
        assert_eq!(shown["state"], if number < 5 { "fine" } else { "probed" });
        assert_eq!(shown["bounces"][0]["text"], "550 5.3.0 This host is broken");
    }
    let probe = s.letter(ben, 1);
    assert!(probe.sender.starts_with("dev+probe-"), "{}", probe.sender);
    let text = String::from_utf8(probe.bytes).unwrap();
    assert!(
        text.contains("List-Id: <dev.x.org>") && !text.contains("List-Unsubscribe"),
        "{text}"
    );
    // It comes back.
    let report = "From: mailer-daemon@example.com\nSubject: Undelivered Mail\nMessage-ID: <dsn@far>\n\n\
         This could not be delivered:\n550 5.1.1 No such user ben\n";
    let mut smtp = Smtp::connect(&s.server.addresses["smtp"]);
    let (reply, _) = smtp.send("", &[&probe.sender], report.as_bytes());
    assert!(reply.starts_with("250"), "{reply}");
    let shown = s.show(ben);
    assert_eq!(shown["state"], "disabled", "{shown}");
    let listed = s.server.cli(&["member", "ls", "dev"]);
    assert!(
        listed
            .lines()
            .any(|l| l.contains(ben) && l.contains("disabled")),
        "{listed}"
    );
    // Copies go to the others only.
    let copies = |to: &str| s.sink.all().iter().filter(|c| c.recipients == [to]).count();
    s.post(6);
    s.server
        .wait_for("a copy for cleo", || (copies(cleo) == 6).then_some(()));
    // Told at once, after a week, and after two.
    let disabled = now();
    let mut link = String::new();
    for day in [0, 7, 14] {
        // The days before each warning bring none.
        let at = disabled.plus_secs(day * DAY + 3_600);
        s.check(at.plus_secs(-7_200));
        assert_eq!(s.take_letters(at).len(), 0);
        s.check(at);
        let [warning] = &s.take_letters(at)[..] else {
            panic!("one warning on day {day}");
        };
        assert_eq!((&*warning.recipient, &*warning.return_path), (ben, ""));
        let text = String::from_utf8(warning.data.to_vec()).unwrap();
        let line = text.lines().find(|l| l.contains("https://x.org/-/enable/"));
        link = line.expect("the page with the button").trim().to_owned();
    }
    assert_eq!(copies(ben), 1, "the probe");
    let events = s.server.cli(&["events", "dev"]);
    for word in ["probe", "disabled", "warning"] {
        assert!(events.contains(word), "{word}: {events}");
    }
    let path = link.strip_prefix("https://x.org").unwrap();
    enable(&s, path, ben);
    let shown = s.show(ben);
    assert_eq!(
        (&shown["state"], shown["score"].as_f64()),
        (&"fine".into(), Some(0.0))
    );
    s.post(7);
    s.letter(ben, 2);
    // Nothing of the old story is left to remove him.
    s.check(disabled.plus_secs(40 * DAY));
    assert_eq!(s.show(ben)["member"], true);
}

/// Presses the button: looking at the page changes nothing.
fn enable(s: &Story, path: &str, address: &str) {
    for _ in 0..2 {
        let page = s.server.page(path);
        assert!(page.contains("<button") && page.contains(address), "{page}");
        assert_eq!(s.show(address)["state"], "disabled");
    }
    let post = |path: &str| {
        let head = "Host: x\r\nConnection: close\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 0";
        request(
            &s.server.addresses["http"],
            &format!("POST {path} HTTP/1.1\r\n{head}\r\n\r\n"),
        )
    };
    let mut forged = path.to_owned();
    let last = if forged.ends_with('a') { "b" } else { "a" };
    forged.replace_range(forged.len() - 1.., last);
    assert_eq!(post(&forged).status, 404);
    assert_eq!(s.show(address)["state"], "disabled");
    let answer = post(path);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(answer.text().contains("copies again"), "{}", answer.text());
}

fn a_policy_storm_of_a_thousand_members_harms_nobody(database: Database) {
    let s = story(database);
    let members: Vec<String> = (0..1_000).map(|n| format!("m{n}@example.com")).collect();
    let mut add = vec!["member", "add", "dev"];
    add.extend(members.iter().map(String::as_str));
    s.server.cli(&add);
    let (start, mut failed) = (now(), 0);
    // A refusal for who we are, and one that lies about the members: days in a row.
    let refusals = [
        "550 5.7.1 You are on our blocklist",
        "550 5.1.1 No such user",
        "550 5.1.1 No such user",
        "550 5.1.1 No such user",
    ];
    for (number, refusal) in refusals.into_iter().enumerate() {
        match refusal.contains("5.7.1") {
            // Named before the mail, it may be the next hop's own, and is asked about again.
            true => s.sink.refuse_mail("@example.com", refusal),
            false => s.sink.refuse("@example.com", refusal),
        }
        s.post(number);
        failed += 1_000;
        s.wait_given_up(failed);
        let at = start.plus_secs((number as i64 - 8) * DAY);
        s.check(at);
        s.check(at.plus_secs(3_700));
    }
    let disabled = s.runtime.block_on(s.ctx.store.count_disabled()).unwrap();
    assert_eq!(disabled, 0);
    for member in ["m0@example.com", "m999@example.com"] {
        let shown = s.show(member);
        assert_eq!(
            (&shown["state"], shown["score"].as_f64()),
            // On its fourth day a storm explains no mailbox that is gone any more.
            (&"fine".into(), Some(2.0)),
            "{shown}"
        );
        assert_eq!(
            shown["bounces"].as_array().unwrap().len(),
            4,
            "all can be read"
        );
    }
    // The operator hears of the storm, and once more when it lasts.
    s.letter("olga@ops.example", 2);
    let all = s.sink.all();
    let told = all.iter().filter(|c| c.recipients == ["olga@ops.example"]);
    let told = told.filter(|c| String::from_utf8_lossy(&c.bytes).contains("Many copies"));
    for (copy, code) in told.zip(["5.7.1", "5.1.1"]) {
        let text = String::from_utf8_lossy(&copy.bytes);
        assert!(
            text.contains("1000 members at example.com") && text.contains(code),
            "{text}"
        );
    }
    s.check(start.plus_secs(60 * DAY));
    let count = s.server.json(&["list", "show", "dev"])["members"].clone();
    assert_eq!(count, 1_000);
}

/// Whoever reads a copy whole knows the token in it: the readers of a mirror, for one.
#[test]
fn a_complaint_takes_off_only_who_is_vouched_for() {
    let folder = tempfile::tempdir().unwrap();
    let key = Key::make(folder.path());
    let zone = folder.path().join("zone");
    let record = format!("s._domainkey.example.org TXT {}\n", key.record);
    std::fs::write(&zone, record).unwrap();
    let zone = [("PATCHPOST_DNS_ZONE", zone.to_str().unwrap())];
    let s = story_with(Database::Sqlite, &zone);
    let members = ["ben@example.org", "cleo@example.org", "mirror@example.org"];
    let add: Vec<&str> = ["member", "add", "dev"]
        .into_iter()
        .chain(members)
        .collect();
    s.server.cli(&add);
    s.server
        .cli(&["member", "set", "dev", members[2], "--kind", "archive"]);
    s.post(1);
    let paths: Vec<String> = members.iter().map(|m| s.letter(m, 1).sender).collect();
    let report = |from: &str, path: &str| {
        format!(
            "From: {from}\nTo: postmaster@x.org\nDate: Mon, 24 Nov 2025 00:00:00 +0000\nMessage-ID: <{path}>\nSubject: FW\n\
             MIME-Version: 1.0\nContent-Type: multipart/report; boundary=b\n\n--b\nContent-Type: message/feedback-report\n\n\
             Feedback-Type: abuse\nOriginal-Mail-From: <{path}>\n\n--b--\n"
        )
    };
    let complain = |from: &str, path: &str, signed: bool| {
        let mail = super::harness::crlf(report(from, path).as_bytes());
        let mail = match signed {
            true => key.sign(&[wish(&mail, "relaxed", &[])]).remove(0),
            false => mail,
        };
        let reply = s.server.send(&["postmaster@x.org"], &mail);
        assert!(reply.starts_with("250"), "{reply}");
    };
    let list = s.runtime.block_on(s.ctx.store.find_list("dev"));
    let list = list.unwrap().unwrap().id;
    let gets = |who: &str| {
        let found = s.ctx.store.find_member_by_address(list, who);
        s.runtime.block_on(found).unwrap().map(|m| m.mail)
    };
    complain("abuse@example.org", &paths[0], true);
    complain("abuse@example.org", &paths[1], false);
    complain("abuse@example.org", &paths[2], true);
    assert_eq!(gets(members[0]), None);
    assert_eq!(gets(members[1]), Some(false));
    assert_eq!(gets(members[2]), Some(true));
    // Who was only paused is told, and goes on by a mail.
    let told = String::from_utf8(s.letter(members[1], 2).bytes).unwrap();
    assert!(told.contains("dev+mail@x.org"), "{told}");
}
