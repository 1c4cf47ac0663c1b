//! Signing in by mail, and what strangers try: guessing, replaying, foreign forms, listening at doors.

use super::harness::{Database, Sink, TestServer, on_both, request};
use super::visitor::{Visitor, code, letters, link, to, wait};

on_both! {
    one_comes_back_to_the_page_that_was_asked_for,
    one_signs_in_by_link_or_code_and_out_again,
    nobody_learns_who_is_known,
    a_network_behind_a_proxy_is_counted_by_what_the_proxy_says_last,
    codes_are_not_guessed_and_links_work_once,
    a_form_of_another_site_or_person_does_nothing,
}

const ANA: &str = "ana@example.org";

fn start(database: Database, sink: &Sink) -> TestServer {
    let server = TestServer::start_on_with(database, &to(sink));
    server.cli(&[
        "list",
        "create",
        "dev",
        "--address",
        "dev@lists.example.org",
    ]);
    server.cli(&["member", "add", "dev", ANA, "ben@example.com"]);
    server
}

fn one_signs_in_by_link_or_code_and_out_again(database: Database) {
    let sink = Sink::start();
    let server = start(database, &sink);
    let (desk, phone) = (Visitor::new(&server), Visitor::new(&server));
    let asked = desk.get("/me/");
    assert_eq!(asked.status, 303);
    assert_eq!(
        asked.header("location").as_deref(),
        Some("/sign-in?to=%2Fme%2F")
    );
    let page = desk.ask_to_sign_in(" Ana@Example.org ");
    assert!(page.body.contains("Look into your mail"), "{}", page.body);
    let mail = wait(&server, &sink, ANA, 0);
    assert!(mail.contains("Auto-Submitted: auto-generated"), "{mail}");

    // A program that looks for bad links opens it, and again.
    let path = link(&mail);
    for arguments in [&[][..], &["-I"], &["-A", "scanner"]] {
        let seen = phone.ask(&path, arguments);
        assert_eq!(seen.status, 200);
        assert!(seen.header("set-cookie").is_none(), "{}", seen.head);
        assert_eq!(
            seen.header("cache-control").as_deref(),
            Some("no-store, private")
        );
        assert_eq!(seen.header("x-robots-tag").as_deref(), Some("noindex"));
    }
    assert_eq!(phone.get("/me/").status, 303, "looking signs nobody in");
    let seen = phone.post(&path, &[]);
    assert_eq!(seen.status, 303, "{}", seen.body);
    let flags = seen.header("set-cookie").unwrap();
    assert!(flags.starts_with("session="), "{flags}");
    for flag in ["HttpOnly", "SameSite=Lax", "Path=/", "Max-Age=5184000"] {
        assert!(flags.contains(flag), "{flags}");
    }
    let page = phone.get("/me/");
    assert!(
        page.body.contains("Signed in as ana@example.org"),
        "{}",
        page.body
    );
    assert_eq!(
        page.header("cache-control").as_deref(),
        Some("no-store, private")
    );
    assert!(page.header("etag").is_none());
    // Packed, its length would tell of the secrets in it.
    let packed = phone.ask("/me/", &["--compressed"]);
    assert!(packed.header("content-encoding").is_none());
    let packed = phone.ask("/dev/", &["--compressed"]);
    assert!(packed.header("content-encoding").is_some());

    // The browser at the desk by its code.
    desk.sign_in(&sink, ANA);
    assert!(desk.get("/me/").body.contains("2 browsers are signed in"));
    let (was, out) = (
        desk.cookie("session").unwrap(),
        desk.press("/me/", &[("do", "sign-out")]),
    );
    assert_eq!(out.status, 303);
    assert!(desk.cookie("session").is_none());
    assert_eq!(desk.get("/me/").status, 303);
    let stolen = format!("session={was}");
    assert_eq!(
        desk.ask("/me/", &["-H", &format!("Cookie: {stolen}")])
            .status,
        303
    );
    assert_eq!(phone.get("/me/").status, 200, "only here");
    desk.sign_in(&sink, ANA);
    assert_eq!(
        desk.press("/me/", &[("do", "sign-out-everywhere")]).status,
        303
    );
    assert_eq!(phone.get("/me/").status, 303);
    if database == Database::Sqlite {
        phone.sign_in(&sink, ANA);
        let secret = phone.cookie("session").unwrap();
        for file in ["patchpost.db", "patchpost.db-wal"] {
            let bytes = std::fs::read(server.data().join(file)).unwrap();
            let found = memchr_find(&bytes, secret.as_bytes());
            assert!(!found, "{file} holds what the cookie holds");
        }
    }
}

fn memchr_find(bytes: &[u8], word: &[u8]) -> bool {
    bytes.windows(word.len()).any(|w| w == word)
}

fn one_comes_back_to_the_page_that_was_asked_for(database: Database) {
    let sink = Sink::start();
    let server = start(database, &sink);
    server.cli(&["list", "create", "rookery", "--private"]);
    server.cli(&["member", "add", "rookery", ANA]);
    // Whatever is not found says where to sign in, also if there is nothing.
    let ask = |visitor: &Visitor<'_>, to: &str, n: usize| {
        let escaped = to.replace('/', "%2F").replace('\\', "%5C");
        let form = visitor.get(&format!("/sign-in?to={escaped}"));
        let form = form.hidden("form");
        let asked = visitor.post("/sign-in", &[("form", &form), ("address", ANA), ("to", to)]);
        (asked, wait(&server, &sink, ANA, n))
    };
    let phone = Visitor::new(&server);
    for path in ["/rookery/", "/nobody/"] {
        let seen = phone.get(path);
        let way = format!("href=\"/sign-in?to={}\"", path.replace('/', "%2F"));
        assert_eq!(seen.status, 404);
        assert!(seen.body.contains(&way), "{path}: {}", seen.body);
    }
    // By the link, in the browser that asked.
    let (_, mail) = ask(&phone, "/rookery/", 0);
    assert!(
        !mail.contains("rookery"),
        "whoever asks writes nothing into it: {mail}"
    );
    let seen = phone.post(&link(&mail), &[]);
    assert_eq!(seen.header("location").as_deref(), Some("/rookery/"));
    assert_eq!(phone.get("/rookery/").status, 200);
    assert!(
        seen.head.contains("back=; Path=/; Max-Age=0"),
        "{}",
        seen.head
    );
    // By the code.
    let desk = Visitor::new(&server);
    let (asked, mail) = ask(&desk, "/rookery/patches/", 1);
    let back = asked.hidden("to");
    let seen = desk.post("/sign-in/code", &[("code", &code(&mail)), ("to", &back)]);
    assert_eq!(
        seen.header("location").as_deref(),
        Some("/rookery/patches/")
    );
    // Never to another site, whoever says so: the address, the form or the cookie.
    for (n, evil) in [
        "//evil.example/",
        "/\\evil.example/",
        "https://evil.example/",
    ]
    .iter()
    .enumerate()
    {
        let visitor = Visitor::new(&server);
        let (asked, mail) = ask(&visitor, evil, 2 + n);
        assert_eq!(asked.hidden("to"), "/me/", "{evil}");
        let cookie = format!("Cookie: back={evil}");
        let seen = visitor.ask(&link(&mail), &["-X", "POST", "-H", &cookie]);
        assert_eq!(seen.header("location").as_deref(), Some("/me/"), "{evil}");
    }
    for evil in [
        "//evil.example/",
        "/%5Cevil.example/",
        "https://evil.example/",
    ] {
        let evil = evil.replace('/', "%2F");
        let seen = desk.get(&format!("/sign-in?to={evil}"));
        assert_eq!(seen.header("location").as_deref(), Some("/me/"), "{evil}");
    }
}

fn nobody_learns_who_is_known(database: Database) {
    let sink = Sink::start();
    let server = start(database, &sink);
    server.cli(&["list", "create", "rookery", "--private"]);
    server.cli(&["member", "add", "rookery", "canary@example.org"]);
    // What goes to an archive is published.
    server.cli(&["member", "add", "dev", "lore@example.org"]);
    let archive = [
        "member",
        "set",
        "dev",
        "lore@example.org",
        "--kind",
        "archive",
    ];
    server.cli(&archive);
    let page = |address: &str| {
        let seen = Visitor::new(&server).ask_to_sign_in(address);
        let varies = |l: &&str| {
            let lower = l.to_lowercase();
            !["set-cookie:", "date:", "content-length:"]
                .iter()
                .any(|n| lower.starts_with(n))
        };
        let head: Vec<&str> = seen.head.lines().filter(varies).collect();
        assert!(seen.head.contains("asking="), "{}", seen.head);
        (head.join("\n"), seen.body.replace(address, "X"))
    };
    let known = page(ANA);
    for other in [
        "nobody@example.org",
        "canary@example.org",
        "lore@example.org",
        "dev@lists.example.org",
        "rookery@localhost",
    ] {
        assert_eq!(page(other), known, "{other}");
    }
    // Above the limit of one mailbox, known or not.
    for _ in 0..12 {
        assert_eq!(page("ana+x@example.org"), known);
        assert_eq!(page("nobody@example.org"), known);
    }
    for odd in [
        "",
        "ana",
        "ana@example.org\r\nBcc: eve@example.net",
        "\"a b\"@example.org",
        "<script>@example.org",
        "ana@example.org, eve@example.net",
    ] {
        let seen = Visitor::new(&server).ask_to_sign_in(odd);
        assert!(
            seen.body.contains("no e-mail address") && !seen.body.contains("<script>@"),
            "{odd}"
        );
        assert!(!seen.head.contains("asking="), "{}", seen.head);
    }
    wait(&server, &sink, ANA, 0);
    wait(&server, &sink, "canary@example.org", 0);
    server.drain();
    assert_eq!(sink.all().len(), 2, "only those who are known");
    // A page that lies open too long, or of another site.
    let seen = Visitor::new(&server).post("/sign-in", &[("address", ANA), ("form", "x")]);
    assert!(seen.body.contains("Press the button again"));
    // People with rights are known as well; whom a mail only names as its author is not.
    let post = "From: Eve <eve@example.net>\nMessage-ID: <1@x>\nSubject: s\n\nx\n";
    assert!(
        server
            .send(&["dev@lists.example.org"], post.as_bytes())
            .starts_with("250")
    );
    server.drain();
    server.cli(&[
        "policy",
        "set",
        "dev",
        "--person",
        "mia@example.net=moderate",
    ]);
    page("eve@example.net");
    Visitor::new(&server).sign_in(&sink, "mia@example.net");
    let to_eve = sink
        .all()
        .iter()
        .filter(|c| c.recipients == ["eve@example.net"])
        .count();
    assert_eq!(to_eve, 0);
}

fn codes_are_not_guessed_and_links_work_once(database: Database) {
    let sink = Sink::start();
    let server = start(database, &sink);
    let wrong = |right: &str| format!("{:06}", (right.parse::<u32>().unwrap() + 1) % 1_000_000);
    let signed = |v: &Visitor<'_>, code: &str| v.post("/sign-in/code", &[("code", code)]);
    // Another browser's code is none.
    let (ana, eve) = (Visitor::new(&server), Visitor::new(&server));
    ana.ask_to_sign_in(ANA);
    let mail = wait(&server, &sink, ANA, 0);
    let seen = signed(&eve, &code(&mail));
    assert!(
        seen.body.contains("This code is not right"),
        "{}",
        seen.body
    );
    assert!(eve.cookie("session").is_none());
    // Five guesses, and the right one comes too late; the link still works, once.
    for _ in 0..5 {
        assert_eq!(signed(&ana, &wrong(&code(&mail))).status, 200);
    }
    assert_eq!(signed(&ana, &code(&mail)).status, 200);
    assert_eq!(eve.post(&link(&mail), &[]).status, 303);
    assert_eq!(eve.post(&link(&mail), &[]).status, 404);
    let used = ana.get(&link(&mail));
    assert_eq!(used.status, 404);
    assert!(used.body.contains("This link was used"), "{}", used.body);
    assert_eq!(signed(&ana, &code(&mail)).status, 200);
    // With three mails' guesses spent, codes are off for this address today, and links are not.
    for n in 1..3 {
        let guesser = Visitor::new(&server);
        guesser.ask_to_sign_in(ANA);
        let mail = wait(&server, &sink, ANA, n);
        for _ in 0..5 {
            signed(&guesser, &wrong(&code(&mail)));
        }
    }
    ana.ask_to_sign_in(ANA);
    let mail = wait(&server, &sink, ANA, 3);
    assert_eq!(signed(&ana, &code(&mail)).status, 200);
    assert_eq!(ana.post(&link(&mail), &[]).status, 303);
    // Others are not harmed; a code works once, and blanks in it do not count.
    let ben = Visitor::new(&server);
    ben.ask_to_sign_in("ben@example.com");
    let mail = wait(&server, &sink, "ben@example.com", 0);
    let spaced = format!("{} {}", &code(&mail)[..3], &code(&mail)[3..]);
    assert_eq!(signed(&ben, &spaced).status, 303);
    assert_eq!(eve.post(&link(&mail), &[]).status, 404, "used by the code");
    // Made up links.
    let whole = "This link is not whole";
    for (path, words) in [
        (
            format!("/sign-in/{}", "a".repeat(32)),
            "This link is not known",
        ),
        ("/sign-in/x".to_owned(), whole),
        (format!("{}a", link(&mail)), whole),
        ("/sign-in/..%2f".to_owned(), whole),
        // Those of other mails say the same.
        ("/u/abc".to_owned(), whole),
        (format!("/u/{}", "a".repeat(32)), whole),
        ("/-/confirm/abc".to_owned(), whole),
        (format!("/-/confirm/{}", "a".repeat(32)), whole),
    ] {
        for seen in [eve.get(&path), eve.post(&path, &[])] {
            assert_eq!(seen.status, 404, "{path}");
            assert!(seen.body.contains(words), "{path}: {}", seen.body);
        }
    }
    // What a browser brought before it signed in is worth nothing after.
    let fixed = "session=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    let mia = Visitor::new(&server);
    mia.ask_to_sign_in("ben@example.com");
    let mail = wait(&server, &sink, "ben@example.com", 1);
    let seen = mia.ask(
        &link(&mail),
        &["-X", "POST", "-H", &format!("Cookie: {fixed}")],
    );
    assert_eq!(seen.status, 303);
    let new = mia.cookie("session").unwrap();
    assert!(new.len() == 32 && !fixed.contains(&new));
    let with = |cookie: &str| {
        let text = format!(
            "GET /me/ HTTP/1.1\r\nHost: x\r\nCookie: {cookie}\r\nConnection: close\r\n\r\n"
        );
        request(&server.addresses["http"], &text).status
    };
    assert_eq!(with(fixed), 303);
    assert_eq!(with(&format!("session={new}")), 200);
    // Signing in again ends what the browser had.
    mia.sign_in(&sink, "ben@example.com");
    assert_eq!(with(&format!("session={new}")), 303);
}

fn a_form_of_another_site_or_person_does_nothing(database: Database) {
    let sink = Sink::start();
    let server = start(database, &sink);
    let (ana, ben) = (Visitor::new(&server), Visitor::new(&server));
    ana.sign_in(&sink, ANA);
    ben.sign_in(&sink, "ben@example.com");
    let (own, foreign) = (ana.guard(), ben.guard());
    assert_ne!(own, foreign);
    let leave = [("do", "leave"), ("list", "dev"), ("address", ANA)];
    let members = || server.json(&["list", "show", "dev"])["members"].as_u64();
    let with = |guard: &str, more: &[&str]| {
        let mut fields = vec![format!("guard={guard}")];
        fields.extend(leave.iter().map(|(n, v)| format!("{n}={v}")));
        let mut arguments: Vec<&str> = more.to_vec();
        for field in &fields {
            arguments.extend(["--data-urlencode", field.as_str()]);
        }
        ana.ask("/me/", &arguments).status
    };
    assert_eq!(with(&foreign, &[]), 403);
    assert_eq!(with("", &[]), 403);
    for header in [
        "Origin: https://evil.example",
        "Origin: null",
        "Sec-Fetch-Site: cross-site",
        "Sec-Fetch-Site: same-site",
        "Sec-Fetch-Site: none",
    ] {
        assert_eq!(with(&own, &["-H", header]), 403, "{header}");
    }
    assert_eq!(members(), Some(2));
    // Nobody is signed in by a foreign form, as somebody else.
    let form = Visitor::new(&server);
    form.ask_to_sign_in("ben@example.com");
    let mail = wait(&server, &sink, "ben@example.com", 1);
    let evil = ["-X", "POST", "-H", "Sec-Fetch-Site: cross-site"];
    assert_eq!(ana.ask(&link(&mail), &evil).status, 403);
    let field = ["-H", "Origin: https://evil.example", "-d", "address=x"];
    assert_eq!(ana.ask("/sign-in", &field).status, 403);
    assert!(
        ana.get("/me/")
            .body
            .contains("Signed in as ana@example.org")
    );
    // Nor does it change by being looked at, or by another's address.
    ana.get(&format!("/me/?do=leave&list=dev&guard={own}"));
    ana.press(
        "/me/",
        &[
            ("do", "leave"),
            ("list", "dev"),
            ("address", "ben@example.com"),
        ],
    );
    assert_eq!(members(), Some(2));
    let origin = format!("Origin: {}", server.base());
    let same = ["-H", origin.as_str(), "-H", "Sec-Fetch-Site: same-origin"];
    assert_eq!(with(&own, &same), 303);
    assert_eq!(members(), Some(1));

    // Public pages are the same for everybody, signed in or not, and are cached as before.
    let public = |v: &Visitor<'_>| {
        let seen = v.get("/dev/");
        assert!(seen.header("set-cookie").is_none());
        (
            seen.header("etag").expect("a tag"),
            seen.header("cache-control"),
            seen.body,
        )
    };
    let stranger = Visitor::new(&server);
    assert_eq!(public(&ben), public(&stranger));
    assert_eq!(public(&stranger).1.as_deref(), Some("no-cache"));
}

#[test]
fn with_tls_the_cookies_are_of_this_host_alone() {
    let sink = Sink::start();
    let base = ("PATCHPOST_HTTP_BASE_URL", "https://lists.example.org");
    let relay = to(&sink);
    let server = TestServer::start_with(&[relay[0], relay[1], base]);
    server.cli(&["list", "create", "dev", "--address", "dev@x.org"]);
    server.cli(&["member", "add", "dev", ANA]);
    let ana = Visitor::new(&server);
    let seen = ana.ask_to_sign_in(ANA);
    let asking = seen.header("set-cookie").unwrap();
    assert!(
        asking.starts_with("__Host-asking=") && asking.ends_with("SameSite=Strict; Secure"),
        "{asking}"
    );
    let mail = wait(&server, &sink, ANA, 0);
    assert!(
        mail.contains("https://lists.example.org/sign-in/"),
        "{mail}"
    );
    assert_eq!(letters(&sink, ANA).len(), 1);
    let origin = ["-X", "POST", "-H", "Origin: https://lists.example.org"];
    let seen = ana.ask(&link(&mail), &origin);
    let session = seen.header("set-cookie").unwrap();
    assert!(
        session.starts_with("__Host-session=") && session.ends_with("SameSite=Lax; Secure"),
        "{session}"
    );
    assert!(
        session.contains("; Path=/;") && !session.contains("Domain"),
        "{session}"
    );
}

fn a_network_behind_a_proxy_is_counted_by_what_the_proxy_says_last(database: Database) {
    let sink = Sink::start();
    let server = start(database, &sink);
    let visitor = Visitor::new(&server);
    // What stands before the last address is what the client says of itself.
    let ask = |n: usize, from: &str| {
        let header = format!("X-Forwarded-For: 203.0.113.{n}, {from}");
        let form = visitor.ask("/sign-in", &["-H", &header]).hidden("form");
        let fields = [
            format!("address=nobody{n}@example.org"),
            format!("form={form}"),
        ];
        let post = [
            "-H",
            &header,
            "--data-urlencode",
            &fields[0],
            "--data-urlencode",
            &fields[1],
        ];
        visitor.ask("/sign-in", &post).status
    };
    for n in 0..20 {
        assert_eq!(ask(n, "192.0.2.9"), 200, "{n}");
    }
    assert_eq!(ask(20, "192.0.2.9"), 429);
    assert_eq!(ask(21, "198.51.100.7"), 200);
}
