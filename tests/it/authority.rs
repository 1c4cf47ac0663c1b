//! Forgeries beside a signed series: queue, head, state and mbox stay as they are, and each is shown as a claim.

use serde_json::Value;

use super::harness::{git, project, request};
use super::identity::{LIST, Site, mail};

pub const ANA: &str = "Ana Lima <ana@example.org>";
const EVE: &str = "Eve <eve@example.net>";

/// A patch on the project's file, whose hunk changes one line.
pub fn patch(id: &str, from: &str, subject: &str, parent: &str, line: usize) -> String {
    let around = |n: usize| format!(" line {n}\n");
    let before: String = (line - 3..line).map(around).collect();
    let after: String = (line + 1..=line + 3).map(around).collect();
    let start = line - 3;
    let body = format!(
        "Text.\n\nSigned-off-by: {from}\n---\n src/a.c | 2 +-\n 1 file changed, 1 insertion(+), 1 deletion(-)\n\n\
         diff --git a/src/a.c b/src/a.c\n--- a/src/a.c\n+++ b/src/a.c\n@@ -{start},7 +{start},7 @@\n\
         {before}-line {line}\n+line {line} of {id}\n{after}-- \n2.40\n"
    );
    answer(&mail(id, from, subject, &body), parent)
}

fn answer(mail: &str, parent: &str) -> String {
    match parent {
        "" => mail.to_owned(),
        parent => format!("In-Reply-To: <{parent}>\nReferences: <{parent}>\n{mail}"),
    }
}

/// Two signed versions of two patches, the second applied.
pub fn story(environment: &[(&str, &str)]) -> Site {
    let site = Site::start(environment);
    let work = project(site.server.dir.path());
    site.server
        .cli(&["repo", "add", "tool", "--path", &work.display().to_string()]);
    site.server.cli(&["list", "set", "dev", "--repo", "tool"]);
    let parts = [
        patch("p1@x", ANA, "[PATCH 1/2] first", "", 5),
        patch("q1@x", ANA, "[PATCH 2/2] second", "p1@x", 15),
        patch("p2@x", ANA, "[PATCH v2 1/2] first", "p1@x", 5),
        patch("q2@x", ANA, "[PATCH v2 2/2] second", "p2@x", 15),
    ];
    for part in &parts {
        let reply = site.server.send(&[LIST], &site.sign(part));
        assert!(reply.starts_with("250"), "{reply}");
    }
    site.server.drain();
    site
}

/// All that a forgery must not change, as one text.
fn facts(site: &Site) -> String {
    facts_with(site, "q2@x")
}

/// The same, with a mail's own page.
fn facts_with(site: &Site, mail: &str) -> String {
    let server = &site.server;
    let versions: Vec<Value> =
        serde_json::from_value(server.json(&["series", "show", "1"])).unwrap();
    let refs = git(
        server.dir.path(),
        &[
            "ls-remote",
            &format!("{}/tool.patches.git", server.base()),
            "refs/patches/1/*",
        ],
    );
    let all: Vec<Value> = serde_json::from_value(server.json(&["series", "ls", "dev"])).unwrap();
    let queue = all.iter().filter(|s| s["patchset"] == 1);
    let queue: Vec<String> = queue
        .map(|s| format!("{} {}", s["version"], s["state"]))
        .collect();
    let comments = |v: &Value| {
        let mut v = v.clone();
        v.as_object_mut().unwrap().remove("comments");
        // What is only claimed is listed as such.
        for patch in v["patches"].as_array_mut().unwrap() {
            let trailers = patch["trailers"].as_array_mut().unwrap();
            trailers.retain(|t| t["matches"] == true);
        }
        v.to_string()
    };
    [
        versions.iter().map(comments).collect::<Vec<_>>().join("\n"),
        refs,
        queue.join("\n"),
        server.page("/dev/patches/1/mbox"),
        server.cli(&["series", "mbox", "1"]),
        server.page(&format!("/dev/{mail}/raw")),
    ]
    .join("\n")
}

#[track_caller]
fn said_on_the_series(site: &Site) -> String {
    site.server.page("/dev/patches/1/")
}

fn forgeries(environment: &[(&str, &str)]) {
    let site = story(environment);
    let before = facts(&site);
    assert!(before.contains("refs/patches/1/v2"), "{before}");
    assert!(said_on_the_series(&site).contains("(authenticated: DKIM example.org)"));
    let claim = |n: usize| {
        said_on_the_series(&site)
            .matches("Claims to belong here")
            .count()
            == n
    };

    // A newer version in the sender's name.
    let forged = patch("f9@x", ANA, "[PATCH v9] first", "p2@x", 25);
    site.send(forged.as_bytes());
    assert_eq!(facts(&site), before, "forged v9");
    assert!(claim(1) && said_on_the_series(&site).contains("claims to be v9"));
    // Its own page says what it is.
    let queue = site.server.page("/dev/patches/");
    assert!(queue.contains("claims to be v9"), "{queue}");

    // `Supersedes:`, from a stranger who is well authenticated under her own name, and from a forged From.
    for (id, from) in [("s1@x", EVE), ("s2@x", ANA)] {
        let text = patch(id, from, &format!("[PATCH] other {id}"), "", 25);
        let text = text.replace("Text.\n", "Text.\n\nSupersedes: <p2@x>\n");
        site.send(text.as_bytes());
        assert_eq!(facts(&site), before, "forged Supersedes by {from}");
    }
    assert!(claim(3));

    // A partial reroll of the second patch.
    let forged = patch("r@x", ANA, "[PATCH v3 2/2] second", "q2@x", 25);
    site.send(forged.as_bytes());
    assert_eq!(facts(&site), before, "forged partial reroll");
    assert!(claim(4) && said_on_the_series(&site).contains("claims to be v3"));

    // A third patch for a series of two, and one in the place of the first.
    let forged = patch("m@x", ANA, "[PATCH v2 1/2] first", "p1@x", 25);
    site.send(forged.as_bytes());
    assert_eq!(facts(&site), before, "a number that is taken");

    // A trailer in somebody's name: it is no part of the mbox, and the page says that nobody speaks for it.
    let reviewed = "On that day, Ana Lima wrote:\n> Text.\n\nReviewed-by: Ben <ben@example.org>\n";
    let trailer = mail(
        "t@x",
        "Ben <ben@example.org>",
        "Re: [PATCH v2 2/2] second",
        reviewed,
    );
    site.send(answer(&trailer, "q2@x").as_bytes());
    assert_eq!(facts(&site), before, "forged trailer");
    assert_eq!(site.said("t@x"), "not authenticated");
    let shown = site.server.json(&["series", "show", "1"]).to_string();
    assert!(shown.contains("\"matches\":false"), "a claim: {shown}");
    let why =
        "sent by <bdi>ben@example.org</bdi>: the mail is not authenticated as well as the patch";
    assert!(said_on_the_series(&site).contains(why));
    well_authenticated_under_another_address(&site, &before);
}

/// Kim's own mails, signed by her domain, that say in text that they are Ana's or Ben's.
fn well_authenticated_under_another_address(site: &Site, before: &str) {
    let send = |mail: &str| site.send(&site.sign(mail));
    // As a list writes that has put its own address into From.
    for (id, subject, parent) in [
        ("v9@x", "[PATCH v9] first", "p2@x"),
        ("v3@x", "[PATCH v3 2/2] second", "q2@x"),
    ] {
        let posing = patch(
            id,
            "Ana Lima via dev <kim@example.org>",
            subject,
            parent,
            25,
        );
        send(&format!("X-Original-From: {ANA}\n{posing}"));
        assert_eq!(site.said(id), "authenticated: DKIM example.org");
        assert_eq!(
            facts(site),
            before,
            "{subject} by whom only a field calls Ana"
        );
    }
    let queue = site.server.json(&["series", "ls", "dev"]);
    let posing = queue.as_array().unwrap().iter().find(|s| {
        let patches = s["patches"].as_array().unwrap();
        patches.iter().any(|p| p["message_id"] == "v9@x")
    });
    let page = site
        .server
        .page(&format!("/dev/patches/{}/", posing.unwrap()["patchset"]));
    let top = page.split("</p>").next().unwrap();
    assert!(
        top.contains("named by a field only") && top.contains("ana@example.org"),
        "{top}"
    );
    assert!(!top.contains("(authenticated"), "{top}");
    let words = "Reviewed-by: Ben Ode <ben@example.org>\n";
    let subject = "Re: [PATCH v2 2/2] second";
    let posing = mail("w1@x", "Ben Ode via dev <kim@example.org>", subject, words);
    let posing = format!("Reply-To: Ben Ode <ben@example.org>\n{posing}");
    send(&answer(&posing, "q2@x"));
    assert_eq!(
        facts(site),
        before,
        "a trailer by whom only a field calls Ben"
    );
    let posing = mail("w2@x", "Ben Ode <kim@example.org>", subject, words);
    send(&answer(&posing, "q2@x"));
    assert_eq!(
        facts(site),
        before,
        "a trailer by whom only the name calls Ben"
    );
    let words = "Reviewed-by: Ben Ode <ben@example.org> (maintainer)\nTested-by: Ben Ode <ben@example.org>.\n\
                 Acked-by: Ben Ode\nSigned-off-by: Ben Ode https://example.org/ben@example.org\n";
    send(&answer(
        &mail("w3@x", "Kim <kim@example.org>", subject, words),
        "q2@x",
    ));
    assert_eq!(facts(site), before, "trailers that call Ben otherwise");
    // A lower version, sent later, that says it takes the place of the newest.
    let older = patch("l1@x", ANA, "[PATCH] other", "q2@x", 25);
    site.send(
        older
            .replace("Text.\n", "Text.\n\nSupersedes: <p2@x>\n")
            .as_bytes(),
    );
    assert_eq!(facts(site), before, "a forged lower version");
}

#[test]
fn forgeries_change_nothing_and_are_shown_as_claims_on_sqlite() {
    forgeries(&[]);
}

#[test]
fn forgeries_change_nothing_and_are_shown_as_claims_on_postgresql() {
    let url = super::postgres::new_database();
    forgeries(&[("PATCHPOST_DATABASE_URL", &url)]);
}

/// A commit holds what the page shows of a mail, whatever else stands in it.
#[test]
fn nothing_that_is_not_shown_becomes_a_commit() {
    let site = Site::start(&[]);
    let work = project(site.server.dir.path());
    site.server
        .cli(&["repo", "add", "tool", "--path", &work.display().to_string()]);
    site.server.cli(&["list", "set", "dev", "--repo", "tool"]);
    let diff = |line: usize| {
        let text = patch("x", ANA, "x", "", line);
        text[text.find("Text.").unwrap()..].to_owned()
    };
    let part = |kind: &str, body: &str| format!("--b\nContent-Type: {kind}\n\n{body}\n");
    let html = part("text/html", &diff(25));
    let plain = part("text/plain", &diff(5));
    let file = "text/x-patch\nContent-Disposition: attachment; filename=a.patch";
    let two = part(file, &diff(5)) + &part(file, &diff(25));
    let whole = part("text/html", "<p>Text.</p>");
    // Text that looks like a diff and is none.
    let odd = "---\n--- a/z\n+++ b/z\n@@ -4294967296 +1 @@\n-x\n+y\n";
    let looks = part("text/plain", odd) + &part(file, &diff(5));
    let bare = "text/x-patch\nContent-Disposition: attachment";
    let unnamed = part("text/plain", "") + &part(bare, &diff(5));
    for (n, kind, body, hidden) in [
        (1, "alternative", format!("{plain}{html}"), true),
        (2, "mixed", two, true),
        (3, "alternative", format!("{plain}{whole}"), false),
        (4, "mixed", looks, false),
        (5, "MIXED", unnamed, false),
    ] {
        let subject = format!("[PATCH] number {n}");
        let text = mail(&format!("h{n}@x"), ANA, &subject, &format!("{body}--b--\n"));
        site.send(
            match n {
                5 => {
                    format!("MIME-Version: 1.0\nContent-Type: MULTIPART/{kind}; BOUNDARY=b\n{text}")
                }
                _ => {
                    format!("MIME-Version: 1.0\nContent-Type: multipart/{kind}; boundary=b\n{text}")
                }
            }
            .as_bytes(),
        );
        let page = site.server.page(&format!("/dev/patches/{n}/"));
        let caution = "Another part of this mail holds a diff, too.";
        assert_eq!(page.contains(caution), hidden, "{n}: {page}");
        assert!(!page.contains("+line 25<mark> of x"), "{n}: {page}");
        assert!(page.contains("+line 5<mark> of x"), "{n}: {page}");
        let from = format!("{}/tool.patches.git", site.server.base());
        let name = format!("refs/patches/{n}/v1");
        git(&work, &["fetch", "-q", "--no-tags", &from, &name]);
        let made = git(&work, &["show", "FETCH_HEAD:src/a.c"]);
        assert!(
            made.contains("line 5 of x") && !made.contains("line 25 of"),
            "{n}"
        );
        let message = git(&work, &["log", "-1", "--format=%B", "FETCH_HEAD"]);
        let expected = format!("number {n}\n\nText.\n\nSigned-off-by: {ANA}");
        assert_eq!(message.trim(), expected);
        let mbox = site.server.page(&format!("/dev/patches/{n}/mbox"));
        assert!(!mbox.contains("line 25 of"), "{n}: {mbox}");
    }
}

#[test]
fn a_replayed_mail_changes_nothing() {
    let site = Site::start(&[]);
    let work = project(site.server.dir.path());
    site.server
        .cli(&["repo", "add", "tool", "--path", &work.display().to_string()]);
    site.server.cli(&["list", "set", "dev", "--repo", "tool"]);
    // Some senders leave Message-ID unsigned: whoever has such a mail can send it again as another.
    let text = patch("one@x", ANA, "[PATCH v2] first", "", 5);
    let wish = serde_json::json!({
        "mail": text, "canonicalization": "relaxed",
        "fields": ["from", "to", "subject", "date", "in-reply-to", "references"],
    });
    let signed = super::identity::sign(&site.key, &[wish]).remove(0);
    site.send(&signed);
    let other = patch("p2@x", ANA, "[PATCH v3] first", "one@x", 15);
    site.send(&site.sign(&other));
    // Queue, head and other refs, states and mbox, with what folded trailers make of it.
    let before = facts_with(&site, "p2@x");
    for part in [
        "/1/head",
        "/1/v2",
        "/1/v3",
        "\"2\" \"superseded\"",
        "\"3\" \"new\"",
    ] {
        assert!(before.contains(part), "{part} in {before}");
    }
    let postings = |n: i64| site.server.json(&["list", "show", "dev"])["postings"] == n;
    assert!(postings(2) && before.contains("superseded"), "{before}");

    site.send(&signed);
    assert!(postings(2), "the same mail again is no posting");
    assert_eq!(facts_with(&site, "p2@x"), before);
    let again = String::from_utf8(signed)
        .unwrap()
        .replace("<one@x>", "<two@x>");
    site.send(again.as_bytes());
    assert!(postings(3));
    assert_eq!(facts_with(&site, "p2@x"), before);
    assert_eq!(
        site.said("two@x"),
        "authenticated: DKIM example.org",
        "the signature holds"
    );
    let all = site.server.json(&["series", "ls", "dev"]);
    let all = all.as_array().unwrap();
    assert_eq!(all.len(), 3, "it stands by itself: {all:?}");
    // And is shown as what it is: by its own page, the queue, and the page of what it says to be.
    let replayed = all.iter().find(|s| s["patchset"] != 1).unwrap();
    assert_eq!(replayed["patches"][0]["message_id"], "two@x");
    let own = format!("/dev/patches/{}/", replayed["patchset"]);
    let own = site.server.page(&own);
    assert!(own.contains("without authority, of"), "{own}");
    assert!(own.contains("href=\"/dev/patches/1/\">first"), "{own}");
    assert!(
        site.server
            .page("/dev/patches/")
            .contains("claims to be v2")
    );
    let claimed = said_on_the_series(&site);
    assert!(
        claimed.contains("Claims to belong here, without authority"),
        "{claimed}"
    );
    assert!(claimed.contains("claims to be v2"), "{claimed}");
}

/// A first version has no older one that its copy could want to follow: it is known by the signature, or by being the same patch.
#[test]
fn a_replayed_first_version_is_a_claim() {
    let site = Site::start(&[]);
    let sign = |text: &str| {
        let wish = serde_json::json!({
            "mail": text, "canonicalization": "relaxed", "fields": ["from", "to", "subject", "date"],
        });
        let signed = super::identity::sign(&site.key, &[wish]).remove(0);
        String::from_utf8(signed).unwrap()
    };
    // Patchset, what it claims, and its mail.
    let shown = || {
        let all = site.server.json(&["series", "ls", "dev"]);
        let line = |s: &Value| {
            let mail = s["patches"][0]["message_id"].as_str().unwrap();
            format!("{} {} {mail}", s["patchset"], s["claims"])
        };
        let mut lines: Vec<String> = all.as_array().unwrap().iter().map(line).collect();
        lines.sort();
        lines
    };
    let first = patch("one@x", ANA, "[PATCH] first", "", 5);
    let signed = sign(&first);
    site.send(signed.as_bytes());
    site.send(signed.replace("<one@x>", "<two@x>").as_bytes());
    site.send(first.replace("<one@x>", "<bare@x>").as_bytes());
    assert_eq!(shown(), ["1 null one@x", "2 1 two@x", "3 1 bare@x"]);
    let page = site.server.page("/dev/patches/2/");
    assert!(
        page.contains("claims to be v1, without authority, of"),
        "{page}"
    );
    assert!(page.contains("It is a copy of what v1 of another patchset holds"));
    let page = said_on_the_series(&site);
    assert_eq!(page.matches("Claims to belong here").count(), 2, "{page}");
    // Who was faster has the place: nothing tells the two apart. Either way one stands and the other is a claim.
    let signed = sign(&patch("true@x", ANA, "[PATCH] other", "", 15));
    site.send(signed.replace("<true@x>", "<fast@x>").as_bytes());
    site.send(signed.as_bytes());
    assert_eq!(shown()[3..], ["4 null fast@x", "5 4 true@x"]);
    assert!(site.server.cli(&["reclassify"]).contains("nothing changes"));
}

#[test]
fn a_squatted_message_id_is_that_of_the_authenticated_mail() {
    for early in [true, false] {
        let site = Site::start(&[]);
        let work = project(site.server.dir.path());
        site.server
            .cli(&["repo", "add", "tool", "--path", &work.display().to_string()]);
        site.server.cli(&["list", "set", "dev", "--repo", "tool"]);
        let squat = patch("p1@x", ANA, "[PATCH] other", "elsewhere@x", 25);
        if early {
            site.send(squat.as_bytes());
        }
        let parts = [
            patch("p1@x", ANA, "[PATCH 1/2] first", "", 5),
            patch("q1@x", ANA, "[PATCH 2/2] second", "p1@x", 15),
        ];
        parts.iter().for_each(|part| site.send(&site.sign(part)));
        if !early {
            // Queue, head and other refs, state and mboxes are as before.
            let before = facts_with(&site, "p1@x");
            for part in ["/1/head", "/1/v1", "\"1\" \"new\"", "line 5 of p1@x"] {
                assert!(before.contains(part), "{part} in {before}");
            }
            site.send(squat.as_bytes());
            assert_eq!(facts_with(&site, "p1@x"), before);
        }
        let series = site.server.json(&["series", "ls", "dev"]);
        let series: Vec<&Value> = series.as_array().unwrap().iter().collect();
        let two = series.iter().find(|s| s["total"] == 2).unwrap();
        assert_eq!(
            (&two["complete"], &two["state"]),
            (&true.into(), &"new".into()),
            "early: {early}"
        );
        let number = two["patchset"].to_string();
        let companion = format!("{}/tool.patches.git", site.server.base());
        let head = format!("refs/patches/{number}/head");
        let head = git(&work, &["ls-remote", &companion, &head]);
        assert!(head.contains("/head"), "early: {early}: {head}");
        let true_mail = "line 5 of p1@x";
        for path in [
            "/dev/p1@x/raw".to_owned(),
            format!("/dev/patches/{number}/mbox"),
            "/dev/p1@x/eml".to_owned(),
        ] {
            let text = site.server.page(&path);
            assert!(
                text.contains(true_mail) && !text.contains("line 25 of"),
                "early: {early}: {path}"
            );
        }
        let thread = request(
            &site.server.addresses["http"],
            "GET /dev/p1@x/t.mbox.gz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        );
        let mut thread_text = String::new();
        let mut unpack = flate2::read::GzDecoder::new(thread.body.as_slice());
        std::io::Read::read_to_string(&mut unpack, &mut thread_text).unwrap();
        assert_eq!(
            thread_text.matches("Message-ID: <p1@x>").count(),
            1,
            "early: {early}"
        );
        assert!(thread_text.contains(true_mail));
        let file = site
            .server
            .dir
            .path()
            .join("all.mbox")
            .display()
            .to_string();
        site.server
            .cli(&["export", "dev", &file, "--format", "mbox"]);
        let exported = std::fs::read_to_string(file).unwrap();
        // An export holds every mail, that one first: tools take the first of a name.
        let (first, second) = (exported.find(true_mail), exported.find("line 25 of"));
        assert!(first.is_some() && second.is_some(), "early: {early}");
        assert!(first < second, "early: {early}");
        let page = site.server.page("/dev/p1@x/");
        assert!(
            page.contains("Different mails carry this Message-ID"),
            "{page}"
        );
    }
}

/// Mail of an imported archive is not authenticated; who sends another under its name afterwards, however well
/// authenticated for an address of his own, takes its place nowhere.
#[test]
fn a_taken_message_id_stays_with_its_first_author() {
    let site = Site::start(&[]);
    let old = patch("old@x", "Lin <lin@example.com>", "[PATCH] first", "", 5);
    let ben = "Ben Ode <ben@example.org>";
    let review = mail(
        "r@x",
        ben,
        "Re: [PATCH] first",
        &format!("Reviewed-by: {ben}\n"),
    );
    let path = site.server.dir.path().join("old.mbox");
    let separator = "From mboxrd@z Thu Jan  1 00:00:00 1970\n";
    let review = answer(&review, "old@x");
    std::fs::write(&path, format!("{separator}{old}\n{separator}{review}")).unwrap();
    let path = path.display().to_string();
    site.server.cli(&["import", "dev", &path]);
    site.server.drain();
    let series = || site.server.json(&["series", "show", "1"]).to_string();
    let mbox = || site.server.page("/dev/patches/1/mbox");
    let before = (series(), mbox());
    assert!(
        before.1.contains(&format!("Reviewed-by: {ben}")),
        "{before:?}"
    );
    let (true_mail, other) = ("line 5 of old@x", "line 15 of old@x");
    let unsigned = patch("old@x", "Lin <lin@example.com>", "[PATCH] other", "", 15);
    site.send(unsigned.as_bytes());
    site.send(&site.sign(&patch("old@x", EVE, "[PATCH] other", "", 15)));
    // A further name of a mail never counts where a mail has it as its own.
    let alias = patch("alias@x", EVE, "[PATCH] other", "", 15);
    site.send(&site.sign(&format!(
        "X-Microsoft-Original-Message-ID: <old@x>\n{alias}"
    )));
    for path in ["/dev/old@x/raw", "/dev/old@x/eml"] {
        let text = site.server.page(path);
        assert!(text.contains(true_mail) && !text.contains(other), "{path}");
    }
    assert_eq!((series(), mbox()), before, "its answers stay its own");
    let thread = request(
        &site.server.addresses["http"],
        "GET /dev/old@x/t.mbox.gz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    );
    let mut text = String::new();
    let mut unpack = flate2::read::GzDecoder::new(thread.body.as_slice());
    std::io::Read::read_to_string(&mut unpack, &mut text).unwrap();
    assert!(text.contains(true_mail));
    let named = text.lines().filter(|l| *l == "Message-ID: <old@x>");
    assert_eq!(named.count(), 1);
}

/// Old mail is imported unchecked, a forged copy of it among it; once its bytes come signed, they are what is served.
#[test]
fn a_copy_that_comes_signed_after_it_was_imported_is_the_one_that_counts() {
    let site = Site::start(&[]);
    let signed = site.sign(&mail("m@x", ANA, "a word", "text\n"));
    let plain = String::from_utf8(signed.clone())
        .unwrap()
        .replace("\r\n", "\n");
    let forged =
        format!("Received: by old.example; Thu, 1 Jan 2015 00:00:00 +0000\nX-Odd: forged\n{plain}");
    for (at, text) in [forged, plain].into_iter().enumerate() {
        let path = site.server.dir.path().join(format!("{at}.mbox"));
        let separator = "From mboxrd@z Thu Jan  1 00:00:00 1970\n";
        std::fs::write(&path, format!("{separator}{text}\n")).unwrap();
        let path = path.display().to_string();
        site.server.cli(&["import", "dev", &path]);
    }
    site.server.drain();
    let eml = || site.server.page("/dev/m@x/eml");
    assert!(eml().contains("X-Odd: forged"), "the earliest of equals");
    site.send(&signed);
    site.server.drain();
    assert!(!eml().contains("X-Odd: forged"), "{}", eml());
    let page = site.server.page("/dev/m@x/");
    assert!(page.contains("authenticated: DKIM example.org"), "{page}");
}
