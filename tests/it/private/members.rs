//! Members of a list that is not public read it on the web, and nobody else does: neither by their browser's leave, nor by what a
//! cache kept of their visit, nor a moment after they were removed.

use super::super::harness::{Answer, Database, Sink, TestServer, on_both, request};
use super::super::visitor::{Visitor, letters, link, to, wait};
use super::{CANARIES, ask_as, send_canaries, site, tells_nothing, walk, without_echo};

on_both! {
    members_read_it_and_nobody_else,
    who_may_read_is_asked_at_each_request,
}

const EVE: &str = "eve@example.org";
const ROBIN: &str = "robin@example.org";

/// A browser that is signed in; what its cookie holds.
fn sign_in(server: &TestServer, sink: &Sink, address: &str) -> String {
    let visitor = Visitor::new(server);
    visitor.sign_in(sink, address);
    visitor.cookie("session").expect("a session")
}

/// Kept by no cache, known by no tag, found by no search engine.
#[track_caller]
fn is_kept_nowhere(path: &str, head: &str) {
    let head = head.to_lowercase();
    assert!(
        head.contains("cache-control: no-store, private"),
        "{path}: {head}"
    );
    assert!(head.contains("x-robots-tag: noindex"), "{path}: {head}");
    for field in ["\netag:", "\nlast-modified:", "\ncontent-encoding:"] {
        assert!(!head.contains(field), "{path}: {head}");
    }
}

fn members_read_it_and_nobody_else(database: Database) {
    let sink = Sink::start();
    let server = site(database, &to(&sink), &["--private"]);
    server.cli(&["member", "add", "dev", EVE, ROBIN]);
    server.cli(&["member", "add", "rookery", ROBIN]);
    let eve = sign_in(&server, &sink, EVE);
    let robin = sign_in(&server, &sink, ROBIN);
    let before = ["", &eve].map(|cookie| walk(&server, cookie));
    send_canaries(&server);

    // First the member, so that whatever is kept of these pages is kept.
    let seen = walk(&server, &robin);
    for ((path, was), (_, text)) in before[1].iter().zip(&seen) {
        let led = text.starts_with("302 ") && text.contains("/rookery/");
        let own = led || path.starts_with("/rookery") || path == "/" || path == "/me/";
        let told = without_echo(path, text);
        match told != without_echo(path, was) {
            true if own => is_kept_nowhere(path, text.split("\n\n").next().unwrap_or(text)),
            changed => assert!(!changed, "{path} shows a canary:\n{text}"),
        }
    }
    reads(&server, &robin);
    for (before, cookie) in before.iter().zip(["", &eve]) {
        tells_nothing(before, &walk(&server, cookie));
    }
    // A moment after a member was removed.
    server.cli(&["member", "rm", "rookery", ROBIN]);
    for ((path, was), (_, is)) in before[1].iter().zip(&walk(&server, &robin)) {
        let told = without_echo(path, is);
        // Everybody's own page is their own.
        if path != "/me/" {
            assert_eq!(told, without_echo(path, was), "{path}");
        }
        let told = told.to_lowercase();
        for word in CANARIES.iter().filter(|word| !path.contains(**word)) {
            assert!(!told.contains(word), "{path} tells of {word}:\n{told}");
        }
    }
    let log = server.log().to_lowercase();
    for word in ["canary", "sparrow", "finch"] {
        assert!(!log.contains(word), "the log tells of {word}:\n{log}");
    }
}

/// What a member finds.
fn reads(server: &TestServer, cookie: &str) {
    let number = server.json(&["series", "ls", "rookery"])[0]["patchset"].to_string();
    let mark = "private: only members see this";
    let page = |path: &str, words: &str| {
        let answer = ask_as(server, cookie, path);
        let text = answer.text();
        assert_eq!(answer.status, 200, "{path}: {text}");
        assert!(text.contains(words), "{path}: no {words}:\n{text}");
        is_kept_nowhere(path, &answer.head);
        text
    };
    for (path, words) in [
        ("/", "<a class=\"title\" href=\"/rookery/\">"),
        ("/rookery/", "canary words"),
        ("/rookery/patches/", "canary"),
        (&format!("/rookery/patches/{number}/"), "finch"),
        (&format!("/rookery/patches/{number}/v1/"), "finch"),
        (
            &format!("/rookery/patches/{number}/v1..v2"),
            "What changed from",
        ),
        ("/rookery/c1@canary.example/", "finch"),
        ("/rookery/c1@canary.example/T/", "finch"),
        ("/rookery/m@canary.example/T/", "A canary."),
        ("/rookery/?q=finch", "Found: finch"),
        ("/rookery/_/text/help/", "Help for rookery"),
    ] {
        let text = page(path, words);
        assert!(text.contains(mark), "{path}: {text}");
        for tool in [
            "new.atom",
            "t.atom",
            "b4 -c",
            "curl ",
            "git fetch",
            "/join/",
            "/me/copy/",
            "sends the mail to you",
        ] {
            assert!(!text.contains(tool), "{path} offers {tool}: {text}");
        }
    }
    assert!(page("/me/", "href=\"/rookery/\"").contains("not public"));
    for (path, words) in [
        (format!("/rookery/patches/{number}/v1/mbox"), "finch"),
        ("/rookery/c1@canary.example/raw".to_owned(), "finch"),
        ("/rookery/c1@canary.example/eml".to_owned(), "finch"),
        ("/rookery/m@canary.example/t.atom".to_owned(), "A canary."),
        ("/rookery/new.atom".to_owned(), "A canary."),
    ] {
        page(&path, words);
    }
    for path in [
        "/rookery/c1@canary.example/t.mbox.gz",
        "/rookery/?q=finch&x=m",
    ] {
        let answer = ask_as(server, cookie, path);
        assert_eq!(answer.status, 200, "{path}");
        is_kept_nowhere(path, &answer.head);
    }
    // Mails name each other by this; to others it is no name.
    let led = ask_as(server, cookie, "/r/m@canary.example/");
    assert_eq!(led.status, 302);
    assert!(
        led.head.contains("/rookery/m@canary.example/"),
        "{}",
        led.head
    );
    // Neither by what a browser says that it has, nor for a page that is not there.
    let gone = ask_as(server, cookie, "/rookery/patches/999/");
    assert_eq!(gone.status, 404);
    assert!(gone.text().contains(mark), "{}", gone.text());
    is_kept_nowhere("/rookery/patches/999/", &gone.head);
    let text = format!(
        "GET /rookery/ HTTP/1.1\r\nHost: x\r\nCookie: session={cookie}\r\nIf-None-Match: *\r\nConnection: close\r\n\r\n"
    );
    assert_eq!(request(&server.addresses["http"], &text).status, 200);
    // Nobody joins it by a form, and clones are none of it.
    for path in [
        "/rookery/join/",
        "/rookery.git/info/refs?service=git-upload-pack",
        "/rookery/settings/",
    ] {
        assert_eq!(ask_as(server, cookie, path).status, 404, "{path}");
    }
}

fn who_may_read_is_asked_at_each_request(database: Database) {
    let sink = Sink::start();
    let server = site(database, &to(&sink), &["--private"]);
    server.cli(&["member", "add", "dev", EVE]);
    let eve = sign_in(&server, &sink, EVE);
    let refused = server
        .command()
        .args(["policy", "set", "dev", "--web", "off"])
        .output()
        .expect("it runs");
    let words = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(words.contains("dev is public"), "{words}");
    let status = || ask_as(&server, &eve, "/rookery/").status;
    let set = |what: &[&str]| {
        let mut arguments = vec!["policy", "set", "rookery"];
        arguments.extend(what);
        server.cli(&arguments);
    };
    assert_eq!(status(), 404);
    // A right of one's own, without a subscription.
    for right in ["browse", "moderate"] {
        set(&["--person", &format!("{EVE}={right}")]);
        assert_eq!(status(), 200, "{right}");
    }
    assert!(
        ask_as(&server, &eve, "/rookery/settings/")
            .text()
            .contains("private: only members see this")
    );
    set(&["--person", &format!("{EVE}=reply,post")]);
    assert_eq!(status(), 404);
    // As a member with a right of her own, without one, and from a linked address.
    server.cli(&["member", "add", "rookery", EVE]);
    assert_eq!(status(), 404, "her own right replaces that of members");
    set(&["--person", &format!("{EVE}=")]);
    assert_eq!(status(), 200);
    server.cli(&["member", "rm", "rookery", EVE]);
    server.cli(&["member", "add", "rookery", ROBIN]);
    assert_eq!(status(), 404);
    server.cli(&["member", "link", EVE, ROBIN]);
    assert_eq!(status(), 200);
    for (off, on) in [
        (["--subscribers", "reply,post"], ["--subscribers", "browse"]),
        // Nothing on the web at all.
        (["--web", "off"], ["--web", "on"]),
    ] {
        set(&off);
        assert_eq!(status(), 404, "{off:?}");
        set(&on);
        assert_eq!(status(), 200, "{on:?}");
    }
    let visitor = Visitor::new(&server);
    let header = format!("Cookie: session={eve}");
    let guard = visitor.ask("/me/", &["-H", &header]).hidden("guard");
    let out = ["-H", &header, "-d", &format!("guard={guard}&do=sign-out")];
    assert_eq!(visitor.ask("/me/", &out).status, 303);
    assert_eq!(status(), 404, "signed out");
}

/// A list whose copies go over TLS only has pages over TLS only, and shows mails that are encrypted as they are.
#[test]
fn a_security_list_is_read_over_tls_only() {
    let sink = Sink::start();
    for (base, expected) in [
        ("http://lists.example.org", 404),
        ("https://lists.example.org", 200),
    ] {
        let relay = to(&sink);
        let server =
            TestServer::start_with(&[relay[0], relay[1], ("PATCHPOST_HTTP_BASE_URL", base)]);
        let list = "closed@lists.example.org";
        let create = [
            "list",
            "create",
            "closed",
            "--style",
            "security",
            "--address",
            list,
        ];
        server.cli(&create);
        server.cli(&["member", "add", "closed", ROBIN]);
        let mail = "From: Ana <ana@example.org>\nMessage-ID: <e@x>\nSubject: report\nMIME-Version: 1.0\n\
             Content-Type: multipart/encrypted; protocol=\"application/pgp-encrypted\"; boundary=b\n\n\
             --b\nContent-Type: application/pgp-encrypted\n\nVersion: 1\n\n\
             --b\nContent-Type: application/octet-stream; name=\"encrypted.asc\"\n\n-----BEGIN PGP MESSAGE-----\n\nhQ\n-----END PGP MESSAGE-----\n\n--b--\n";
        assert!(server.send(&[list], mail.as_bytes()).starts_with("250"));
        server.drain();
        let visitor = Visitor::new(&server);
        let before = letters(&sink, ROBIN).len();
        visitor.ask_to_sign_in(ROBIN);
        let letter = wait(&server, &sink, ROBIN, before);
        let signed = visitor.post(&link(&letter), &[]);
        let cookie = signed.header("set-cookie").expect("a session");
        let cookie = cookie.split(';').next().unwrap_or_default().to_owned();
        let ask = |path: &str| -> Answer {
            let text = format!(
                "GET {path} HTTP/1.1\r\nHost: x\r\nCookie: {cookie}\r\nConnection: close\r\n\r\n"
            );
            request(&server.addresses["http"], &text)
        };
        assert_eq!(ask("/me/").status, 200);
        assert_eq!(ask("/closed/").status, 404, "its owner says so first");
        server.cli(&["policy", "set", "closed", "--web", "on"]);
        assert_eq!(ask("/closed/").status, expected, "{base}");
        assert_eq!(
            ask("/me/").text().contains("href=\"/closed/\""),
            expected == 200,
            "{base}"
        );
        let page = ask("/closed/e@x/");
        assert_eq!(page.status, expected, "{base}");
        if expected == 200 {
            assert!(page.text().contains("encrypted.asc"), "{}", page.text());
            let part = ask("/closed/e@x/2-encrypted.asc");
            assert!(part.text().contains("BEGIN PGP"), "{}", part.text());
            is_kept_nowhere("attachment", &part.head);
            let policy = part.head.to_lowercase();
            assert!(policy.contains("default-src 'none'; sandbox"), "{policy}");
        }
    }
}
