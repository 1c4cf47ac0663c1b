//! Pages of who is signed in, in a real browser: signing in by the buttons, then every page wide and narrow, light and dark.

use std::fmt::Write;

use super::super::harness::{Sink, TestServer};
use super::super::tools;
use super::super::visitor::{self, link, to};
use super::super::webdriver::Browser;
use super::{TOO_WIDE, findings};

const OPERATOR: &str = "op@example.net";

/// Lists, members of all kinds, held mail of all kinds, and mail that is owed.
fn site(sink: &Sink) -> TestServer {
    let relay = to(sink);
    let server = TestServer::start_with(&[
        relay[0],
        relay[1],
        ("PATCHPOST_LISTS_MODERATION", "strangers"),
        ("PATCHPOST_SITE_OPERATOR", OPERATOR),
    ]);
    for (name, about) in [
        ("dev", "Development of tool, and whatever belongs to it"),
        ("users", "Questions"),
        ("announce", ""),
    ] {
        let address = format!("{name}@lists.example.org");
        server.cli(&[
            "list",
            "create",
            name,
            "--address",
            &address,
            "--description",
            about,
        ]);
    }
    server.cli(&[
        "list",
        "create",
        "inner",
        "--private",
        "--moderation",
        "none",
    ]);
    let long = format!(
        "{}@{}.example.org",
        "a.very.long.name".repeat(3),
        "sub".repeat(15)
    );
    server.cli(&[
        "member",
        "add",
        "dev",
        OPERATOR,
        "ana@example.org",
        "ben@example.com",
        &long,
    ]);
    server.cli(&["member", "add", "inner", OPERATOR, "ana@example.org"]);
    server.cli(&["member", "set", "dev", "ana@example.org", "--mail", "off"]);
    server.cli(&["member", "link", OPERATOR, &long]);
    server.cli(&[
        "policy",
        "set",
        "dev",
        "--person",
        "mia@example.net=reply,post,moderate",
        "--person",
        &format!("{long}=browse"),
        "--ban",
        "spam.example",
        "--rule",
        "Subject *lottery* discard",
    ]);
    sink.refuse("@example.com", "450 4.2.0 the mailbox is full, come again later, and do not forget a very-long-word-without-any-blank-in-it-at-all-to-break");
    let send = |mail: &str| {
        let reply = server.send(&["dev@lists.example.org"], mail.as_bytes());
        assert!(reply.starts_with("250"), "{reply}");
    };
    let diff =
        "Text.\n---\n f | 2 +-\n\ndiff --git a/f b/f\n--- a/f\n+++ b/f\n@@ -1 +1 @@\n-a\n+b\n";
    for (n, subject) in [
        "[PATCH 0/2] Bound the recursion",
        "[PATCH 1/2] Count depth",
        "[PATCH 2/2] Refuse depth",
    ]
    .iter()
    .enumerate()
    {
        let parent = if n > 0 {
            "In-Reply-To: <s0@x>\nReferences: <s0@x>\n"
        } else {
            ""
        };
        send(&format!(
            "From: Eve Adams <eve@example.net>\nMessage-ID: <s{n}@x>\nSubject: {subject}\n{parent}\n{diff}"
        ));
    }
    let word = "very_long_name_without_a_blank".repeat(12);
    send(&format!(
        "From: \"שרה לוי\" <sara@example.net>\nMessage-ID: <h@x>\nSubject: <b>{word}</b> \u{202e}\n\n{word}\n> quoted\n<script>alert(1)</script>\n"
    ));
    let inner = format!(
        "From: Ana <ana@example.org>\nMessage-ID: <in@x>\nSubject: [PATCH] Bound the recursion of the parser\n\n{diff}"
    );
    let reply = server.send(&["inner@localhost"], inner.as_bytes());
    assert!(reply.starts_with("250"), "{reply}");
    // One that is let through, so that a copy is owed.
    send("From: Ana <ana@example.org>\nMessage-ID: <ok@x>\nSubject: hello\n\nwords\n");
    let all = server.json(&["held", "ls", "dev"]);
    let ok = all
        .as_array()
        .unwrap()
        .iter()
        .find(|h| h["message_id"] == "ok@x");
    server.cli(&["held", "accept", &ok.unwrap()["id"].to_string()]);
    server.wait_for("a copy to be refused", || {
        let all = server.json(&["queue", "ls"]).to_string();
        all.contains("come again").then_some(())
    });
    server
}

#[test]
fn pages_of_who_is_signed_in_are_sound() {
    let axe = tools::folder().join("node/node_modules/axe-core/axe.min.js");
    let axe = std::fs::read_to_string(axe).expect("`tests/install` installs it");
    let sink = Sink::start();
    let server = site(&sink);
    let browser = Browser::start();
    browser.look(1440, false);
    let base = server.base();
    browser.open(&format!("{base}/-/queue"));
    let fill = format!("document.querySelector('[name=address]').value = '{OPERATOR}'");
    browser.run(&fill);
    browser.click(".filters button");
    let mail = visitor::wait(&server, &sink, OPERATOR, 0);
    let asked = server.wait_for("the code's form", || {
        let html = browser.run("return document.body.innerHTML");
        html.as_str()
            .filter(|h| h.contains("one-time-code"))
            .map(str::to_owned)
    });
    assert!(asked.contains("value=\"/-/queue\""), "{asked}");
    let mut wrong = String::new();
    check(&browser, &axe, "/sign-in, asked", &mut wrong);
    let path = link(&mail);
    sweep(&browser, &server, &axe, &["/sign-in", &path], &mut wrong);
    browser.open(&format!("{base}{path}"));
    browser.click(".filters button");
    server.wait_for("to be signed in", || {
        let at = browser.run("return location.pathname");
        (at == "/-/queue").then_some(())
    });
    browser.open(&format!("{base}/me/"));
    // A form of the page does what it says, in a browser that says where forms come from.
    browser.click("button[name=do][value=save]");
    server.wait_for("the form to be taken", || {
        let at = browser.run("return location.search");
        (at == "?done=saved").then_some(())
    });
    let all = server.json(&["held", "ls", "dev"]);
    let held = |at: usize| format!("/dev/settings/held/{}/", all[at]["id"]);
    let (series, hostile) = (held(1), held(3));
    let inner = server.json(&["series", "ls", "inner"])[0]["patchset"].clone();
    let inner = format!("/inner/patches/{inner}/");
    let pages = [
        "/me/",
        "/me/erase",
        "/dev/settings/",
        "/dev/settings/members/",
        "/dev/settings/held/",
        &series,
        &hostile,
        "/users/settings/held/",
        "/inner/settings/",
        "/",
        "/inner/",
        "/inner/?q=hello",
        "/inner/in@x/T/",
        "/inner/in@x/",
        "/inner/patches/?state=any",
        &inner,
        "/-/queue",
        "/-/queue?to=example.com",
    ];
    sweep(&browser, &server, &axe, &pages, &mut wrong);
    assert!(wrong.is_empty(), "{wrong}");
}

fn sweep(browser: &Browser, server: &TestServer, axe: &str, pages: &[&str], wrong: &mut String) {
    for page in pages {
        for (width, dark) in [(360, false), (360, true), (1440, false), (1440, true)] {
            browser.look(width, dark);
            browser.open(&format!("{}{page}", server.base()));
            browser.run("document.querySelectorAll('details').forEach(d => d.open = true)");
            let theme = if dark { "dark" } else { "light" };
            browser.shoot(&format!("{page} {width} {theme}"));
            check(
                browser,
                axe,
                &format!("{page} at {width} px, {theme}"),
                wrong,
            );
        }
    }
}

fn check(browser: &Browser, axe: &str, place: &str, wrong: &mut String) {
    let wide = browser.run(TOO_WIDE);
    if wide != "" {
        writeln!(wrong, "{place} scrolls sideways: {wide}").unwrap();
    }
    for line in browser.console() {
        writeln!(wrong, "{place}, console: {line}").unwrap();
    }
    let found = findings(browser, axe);
    if !found.is_empty() {
        writeln!(wrong, "{place}:\n{found}").unwrap();
    }
}
