//! Copies that a real server refuses, days that pass by a clock that the test moves, and what follows for the member.

use patchpost::pipeline::{Ctx, Repos};
use patchpost::store::{Letter, Location, Outcome, Store, now};
use patchpost::types::Timestamp;

use super::harness::{Database, Sink, Smtp, TestServer, on_both, request};

on_both! {
    five_days_of_bounces_then_probe_disabling_warnings_and_enabling,
    a_policy_storm_of_a_thousand_members_harms_nobody,
}

const DAY: i64 = 86_400;

/// A server that sends to a sink, and what moves the clock beside it.
struct Story {
    sink: Sink,
    server: TestServer,
    ctx: Ctx,
    runtime: tokio::runtime::Runtime,
}

fn story(database: Database) -> Story {
    let sink = Sink::start();
    let environment = [
        ("PATCHPOST_DELIVERY_TRANSPORT", "smtp"),
        ("PATCHPOST_DELIVERY_RELAY", sink.address.as_str()),
        ("PATCHPOST_SITE_OPERATOR", "olga@ops.example"),
    ];
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
            let to: Vec<_> = all
                .into_iter()
                .filter(|c| c.recipients == [address])
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
        s.sink.refuse("@example.com", refusal);
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
            (&"fine".into(), Some(0.0)),
            "{shown}"
        );
        assert_eq!(
            shown["bounces"].as_array().unwrap().len(),
            4,
            "all can be read"
        );
    }
    // The operator hears of the first storm; the others go on from it, or are told when they are new.
    let told = s.letter("olga@ops.example", 1);
    let text = String::from_utf8(told.bytes).unwrap();
    assert!(
        text.contains("1000 members at example.com") && text.contains("5.7.1"),
        "{text}"
    );
    s.check(start.plus_secs(60 * DAY));
    let count = s.server.json(&["list", "show", "dev"])["members"].clone();
    assert_eq!(count, 1_000);
}
