//! Pages as readers, feed readers, b4 and browsers get them.

use super::harness::{Database, TestServer, on_both, request};
use super::tools::tool;

on_both! {
    hostile_mails_are_shown_and_run_nowhere,
    words_are_found_newest_first_and_phrases_stay_together,
    what_is_private_shows_nowhere,
    a_mail_leads_to_those_beside_it_and_a_talk_tells_of_its_series,
}

const IDS: [&str; 7] = [
    "a/b%c d@x",
    "x/raw@y",
    "t.atom@z/t.atom",
    "../..@x",
    "\"onclick=alert(1)@x",
    "<script>alert(1)</script>@x",
    "q?a=b&c#d@x",
];

#[test]
fn paragraphs_that_a_mail_program_cut_are_whole_on_the_page() {
    let server = TestServer::start();
    server.cli(&["list", "create", "dev", "--address", "dev@x.org"]);
    let flowed = "Content-Type: text/plain; charset=utf-8; Format=Flowed";
    let signed = format!(
        "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\n{flowed}; DelSp=yes\n\nThe par \nagraph <goes>  \non.\n--b--\n"
    );
    for (id, rest) in [
        (
            "one",
            format!("{flowed}\n\nIt goes \non and \non.\n> So \n> it does.\n  kept\n"),
        ),
        ("plain", "\nIt goes \non.\n".to_owned()),
        ("two", signed),
    ] {
        let mail = format!("From: Ana <ana@x.org>\nMessage-ID: <{id}@x>\nSubject: {id}\n{rest}");
        let reply = server.send(&["dev@x.org"], mail.as_bytes());
        assert!(reply.starts_with("250"), "{reply}");
    }
    server.drain();
    for (id, words) in [
        (
            "one",
            ["It goes on and on.\n", "&#62; So it does.\n", "> kept\n"].as_slice(),
        ),
        ("plain", &["It goes \non.\n"]),
        ("two", &["The paragraph &#60;goes&#62; on.\n"]),
    ] {
        for ending in ["", "T/"] {
            let page = server.page(&format!("/dev/{id}@x/{ending}"));
            for words in words {
                assert!(page.contains(words), "{id}: no {words:?}: {page}");
            }
        }
    }
    // The bytes are what came.
    assert!(
        server
            .page("/dev/one@x/raw")
            .contains("It goes \non and \non.\n")
    );
}

fn archive(database: Database) -> TestServer {
    let server = TestServer::start_on(database);
    server.cli(&["list", "create", "dev", "--address", "dev@x.org"]);
    for (n, id) in IDS.iter().enumerate() {
        let subject = "=?utf-8?q?<script>alert(1)</script>_=E2=80=AE_x?=";
        let mail = format!(
            "From: \"<b>Ana</b>\" <ana@x.org>\nMessage-ID: <{id}>\nSubject: {subject} {n}\n\n</pre><script>alert(1)</script> ]]> caf\u{e9}\u{1} w{n}\n"
        );
        assert!(
            server
                .send(&["dev@x.org"], mail.as_bytes())
                .starts_with("250"),
            "{id}"
        );
    }
    server.drain();
    server
}

fn hostile_mails_are_shown_and_run_nowhere(database: Database) {
    let server = archive(database);
    let home = server.page("/dev/");
    assert!(!home.contains("<script>alert"), "{home}");
    let links: Vec<String> = home
        .split("class=\"title\" href=\"")
        .skip(1)
        .map(|l| l.split('"').next().unwrap().to_owned())
        .collect();
    assert_eq!(links.len(), IDS.len());
    for link in links {
        for ending in ["", "T/"] {
            let page = server.page(&format!("{link}{ending}"));
            assert!(
                !page.contains("<script>alert") && !page.contains("<b>Ana"),
                "{link}"
            );
            assert!(!page.contains('\u{202e}'), "nothing turns a line around");
        }
        for ending in ["raw", "eml", "t.mbox.gz", "t.atom"] {
            assert_eq!(
                server.get(&format!("{link}{ending}")).status,
                200,
                "{link}{ending}"
            );
        }
    }
    assert_eq!(server.get("/dev/nobody@x/").status, 404);
    assert_eq!(server.get("/nolist/").status, 404);
}

#[test]
fn answers_carry_what_caches_and_browsers_need() {
    let server = archive(Database::Sqlite);
    let answer = server.get("/dev/");
    let tag = answer.header("Etag").expect("a tag, in title case");
    assert!(
        answer
            .header("Content-Security-Policy")
            .unwrap()
            .contains("default-src 'none'")
    );
    assert_eq!(
        answer.header("X-Content-Type-Options").as_deref(),
        Some("nosniff")
    );
    let http = &server.addresses["http"];
    let again = request(
        http,
        &format!(
            "GET /dev/ HTTP/1.1\r\nHost: x\r\nIf-None-Match: {tag}\r\nConnection: close\r\n\r\n"
        ),
    );
    assert_eq!((again.status, again.body.len()), (304, 0));
    let head = request(
        http,
        "HEAD /dev/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    );
    assert_eq!((head.status, head.body.len()), (200, 0));
    let put = request(
        http,
        "PUT /dev/ HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    );
    assert_eq!(put.status, 405);
    let packed = request(
        http,
        "GET /dev/ HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\nConnection: close\r\n\r\n",
    );
    assert_eq!(packed.header("Content-Encoding").as_deref(), Some("gzip"));
    let mbox = request(
        http,
        "GET /dev/x%2Fraw@y/t.mbox.gz HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\nConnection: close\r\n\r\n",
    );
    assert_eq!(
        (
            mbox.header("Content-Type").as_deref(),
            mbox.header("Content-Encoding")
        ),
        (Some("application/gzip"), None)
    );
    assert_eq!(&mbox.body[..2], b"\x1f\x8b");
    assert_eq!(
        request(
            &server.addresses["ops"],
            "GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
        .status,
        200
    );
}

fn words_are_found_newest_first_and_phrases_stay_together(database: Database) {
    let server = archive(database);
    let page = server.page("/dev/?q=alert+w3");
    assert!(
        page.contains("row-main") && page.matches("row-main").count() == 1,
        "{page}"
    );
    assert!(
        server
            .page("/dev/?q=%22alert+1+script%22")
            .matches("row-main")
            .count()
            >= 1
    );
    assert!(
        server
            .page("/dev/?q=nothinglikethis")
            .contains("No mail holds all of these words")
    );
    assert_eq!(server.get("/dev/?q=%22%27%3B--").status, 400);
}

fn what_is_private_shows_nowhere(database: Database) {
    let server = archive(database);
    server.cli(&[
        "list",
        "create",
        "secret",
        "--address",
        "secret@x.org",
        "--private",
    ]);
    let mail = b"From: a@b.c\nMessage-ID: <canary@x>\nSubject: canary\n\ncanary\n";
    assert!(server.send(&["secret@x.org"], mail).starts_with("250"));
    server.drain();
    for path in [
        "/secret/",
        "/secret/canary@x/",
        "/secret/new.atom",
        "/canary@x/",
        "/all/canary@x/",
        "/dev/canary@x/",
    ] {
        let answer = server.get(path);
        assert_eq!(answer.status, 404, "{path}");
    }
    for path in ["/", "/dev/", "/dev/?q=canary", "/dev/new.atom"] {
        let body = server
            .get(path)
            .text()
            .replace("q=canary", "")
            .replace("value=\"canary\"", "")
            .replace("Found: canary", "");
        assert!(
            !body.contains("canary") && !body.contains("secret"),
            "{path}"
        );
    }
}

#[test]
fn b4_finds_a_series_and_makes_an_mbox_of_it() {
    let server = TestServer::start();
    server.cli(&["list", "create", "dev", "--address", "dev@x.org"]);
    for n in 1..=2 {
        let parent = if n == 1 {
            ""
        } else {
            "In-Reply-To: <p1@x.org>\nReferences: <p1@x.org>\n"
        };
        let mail = format!(
            "From: Ana Lima <ana@x.org>\nMessage-ID: <p{n}@x.org>\n{parent}Subject: [PATCH {n}/2] p{n}\nDate: Mon, 01 Jan 2024 10:00:0{n} +0000\n\n\
             Text.\n\nSigned-off-by: Ana Lima <ana@x.org>\n---\n f | 2 +-\n 1 file changed, 1 insertion(+), 1 deletion(-)\n\n\
             diff --git a/f b/f\nindex 1111111..2222222 100644\n--- a/f\n+++ b/f\n@@ -1 +1 @@\n-a{n}\n+b{n}\n-- \n2.40\n"
        );
        assert!(
            server
                .send(&["dev@x.org"], mail.as_bytes())
                .starts_with("250")
        );
    }
    server.drain();
    let mask = format!("b4.midmask={}/dev/%s", server.base());
    let out = tool("b4")
        .args(["-c", &mask, "--no-interactive", "am", "-o", "-", "p1@x.org"])
        .current_dir(server.dir.path())
        .env("HOME", server.dir.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    assert_eq!(
        text.matches("\ndiff --git").count(),
        2,
        "{text}{}",
        String::from_utf8_lossy(&out.stderr)
    );
}

fn a_mail_leads_to_those_beside_it_and_a_talk_tells_of_its_series(database: Database) {
    let server = TestServer::start_on(database);
    server.cli(&["list", "create", "dev", "--address", "dev@x.org"]);
    let post = |id: &str, parent: &str, subject: &str, text: &str| {
        let parent = match parent {
            "" => String::new(),
            parent => format!("In-Reply-To: <{parent}>\n"),
        };
        let mail =
            format!("From: ana@x.org\nMessage-ID: <{id}>\n{parent}Subject: {subject}\n\n{text}");
        assert!(
            server
                .send(&["dev@x.org"], mail.as_bytes())
                .starts_with("250")
        );
        server.drain();
    };
    let diff = "x\n---\ndiff --git a/f b/f\n--- a/f\n+++ b/f\n@@ -1 +1 @@\n-a\n+b\n";
    post("alone@x", "", "Alone", "x\n");
    post("q@x", "", "A question", "x\n");
    post("a@x", "q@x", "Re: A question", "y\n");
    post("late@x", "q@x", "Re: A question", "z\n");
    post("p@x", "a@x", "[PATCH] Mend it", diff);
    let page = |id: &str| server.page(&format!("/dev/{id}/"));
    let way = |id: &str, words: &str| {
        let page = page(id);
        let end = page.find(&format!(">{words}</a>"))?;
        let start = page[..end].rfind("href=\"")? + 6;
        let href = page[start..end].split('"').next()?;
        Some(href.to_owned())
    };
    let to = |id: &str| Some(format!("/dev/{id}/"));
    // As the thread is read: what answers a mail stands below it.
    assert!(page("q@x").contains("mail 1 of 4") && page("p@x").contains("mail 3 of 4"));
    assert_eq!(
        (way("q@x", "what it answers"), way("q@x", "previous")),
        (None, None)
    );
    assert_eq!(way("q@x", "next"), to("a@x"));
    assert_eq!(way("late@x", "what it answers"), to("q@x"));
    assert_eq!(way("late@x", "previous"), to("p@x"));
    assert_eq!(way("late@x", "next"), None);
    let alone = page("alone@x");
    assert!(
        alone.contains("1 mail ·") && !alone.contains(">next<"),
        "{alone}"
    );
    let home = server.page("/dev/");
    let row = |title: &str| home.split("<li>").find(|r| r.contains(title)).unwrap();
    assert!(row("A question").contains(">v1</span>"), "{home}");
    assert!(row("A question").contains("href=\"/dev/q@x/T/\""), "{home}");
    assert!(!row("Alone").contains("pill"), "{home}");
}
