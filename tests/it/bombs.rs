//! Mails made to take time or memory: each is answered within a deadline that only a cost beyond linear misses, is
//! archived to the byte, has its pages, and the server goes on with little memory.

use std::fmt::Write;

use patchpost::view::url;

use super::harness::{Smtp, TestServer, size};

/// Bytes of one bomb: below half the limit of a mail, as each LF becomes two bytes on the wire.
fn bytes() -> usize {
    [1_000_000, 2_000_000, 5_000_000][size() - 1]
}

/// Repeats a piece up to the size of a bomb.
fn fill(piece: &str) -> String {
    piece.repeat(bytes() / piece.len())
}

/// The same with a running number for each `#`.
fn count(piece: &str) -> String {
    let mut text = String::with_capacity(bytes() + piece.len());
    let mut n = 0;
    while text.len() < bytes() {
        text.push_str(&piece.replace('#', &n.to_string()));
        n += 1;
    }
    text
}

fn part_bombs() -> Vec<(&'static str, String)> {
    let mixed = "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=";
    let mut nested = String::new();
    let mut depth = 0;
    while nested.len() < bytes() {
        write!(
            nested,
            "Content-Type: multipart/mixed; boundary=b{depth}\n\n--b{depth}\n"
        )
        .unwrap();
        depth += 1;
    }
    let long = "b".repeat(bytes() / 3);
    vec![
        ("nested-multiparts", nested),
        ("nested-mails", fill("Content-Type: message/rfc822\n\n")),
        (
            "nested-mails-encoded",
            fill("Content-Type: message/rfc822\nContent-Transfer-Encoding: quoted-printable\n\n"),
        ),
        (
            "one-boundary-for-all",
            fill("Content-Type: multipart/mixed; boundary=b\n\n--b\n"),
        ),
        ("many-parts", format!("{mixed}b\n\n{}", fill("--b\n\nx\n"))),
        (
            "many-html-parts",
            format!(
                "{mixed}b\n\n--b\n\ntext\n{}",
                fill("--b\nContent-Type: text/html\n\n<p>x\n")
            ),
        ),
        (
            "many-files",
            format!(
                "{mixed}b\n\n{}",
                count("--b\nContent-Type: text/x-patch; name=#.patch\n\nx\n")
            ),
        ),
        (
            "long-boundary",
            format!("{mixed}{long}\n\n--{long}\n\nx\n--{long}--\n"),
        ),
        (
            "almost-boundaries",
            format!(
                "{mixed}{}\n\n{}",
                "-".repeat(60),
                fill(&format!("{}\n", "-".repeat(61)))
            ),
        ),
        (
            "many-parameters",
            format!("Content-Type: text/plain{}\n\nx\n", count("; a*#=x")),
        ),
    ]
}

fn field_bombs() -> Vec<(&'static str, String)> {
    let with = |field: String| format!("{field}\n\ntext\n");
    vec![
        ("many-fields", with(count("X-#: y\n").trim_end().to_owned())),
        ("long-field", with(format!("X-Long: {}", fill("word ")))),
        ("folded-field", with(format!("X-Long: {}x", fill("y\n ")))),
        ("long-subject", with(format!("Subject: {}", fill("word ")))),
        ("brackets", with(format!("Subject: {}", fill("[PATCH")))),
        (
            "tags",
            with(format!("Subject: {}", fill("[PATCH v2 1/2] "))),
        ),
        ("answers", with(format!("Subject: {}", fill("Re: ")))),
        (
            "encoded-words",
            with(format!("Subject: {}", fill("=?utf-8?q?=5B?= "))),
        ),
        (
            "broken-words",
            with(format!("Subject: {}", fill("=?utf-8?b?"))),
        ),
        (
            "many-recipients",
            with(format!("To: {}x@y.z", count("a <#@b.c>, "))),
        ),
        ("groups", with(format!("Cc: {}", fill("a:b@c.d;, ")))),
        ("comments", with(format!("From: {}a@b.c", fill("(")))),
        ("quotes", with(format!("From: {} <a@b.c>", fill("\"\\")))),
        (
            "many-froms",
            with(count("From: a#@b.c\n").trim_end().to_owned()),
        ),
        (
            "references",
            with(format!("References: {}", count("<#@x> "))),
        ),
        (
            "open-references",
            with(format!("References: {}", fill("<"))),
        ),
        (
            "many-ids",
            with(count("Message-ID: <#@x>\n").trim_end().to_owned()),
        ),
        (
            "signatures",
            with(fill("DKIM-Signature: h=from:to:cc\n").trim_end().to_owned()),
        ),
        (
            "one-signature",
            with(format!("DKIM-Signature: h={}", fill("from:"))),
        ),
        ("dates", with(format!("Date: {}", fill("1 ")))),
        ("no-colon", fill("x")),
    ]
}

fn text_bombs() -> Vec<(&'static str, String)> {
    let text = |kind: &str, encoding: &str, body: String| {
        format!(
            "MIME-Version: 1.0\nContent-Type: {kind}\nContent-Transfer-Encoding: {encoding}\n\n{body}\n"
        )
    };
    let plain = |body: String| format!("Subject: x\n\n{body}\n");
    vec![
        (
            "base64-of-padding",
            text("text/plain", "base64", fill("=\n")),
        ),
        (
            "base64-without-end",
            text("text/plain", "base64", fill("QUJD")),
        ),
        (
            "quoted-equals",
            text("text/plain", "quoted-printable", fill("=3D")),
        ),
        (
            "quoted-soft-ends",
            text("text/plain", "quoted-printable", fill("=\n")),
        ),
        (
            "utf-7",
            text("text/plain; charset=utf-7", "7bit", fill("+AGE-")),
        ),
        (
            "iso-2022",
            text(
                "text/plain; charset=iso-2022-jp",
                "7bit",
                fill("\u{1b}$B\u{1b}(B"),
            ),
        ),
        (
            "wrong-utf-16",
            text("text/plain; charset=utf-16", "7bit", fill("x")),
        ),
        ("quotes", plain(fill("> "))),
        (
            "deep-quotes",
            plain(fill(&format!("{}\n", ">".repeat(500)))),
        ),
        ("signatures", plain(fill("-- \n"))),
        ("rulers", plain(fill("---\n"))),
        ("one-line", plain(fill("x"))),
        ("blank-lines", plain(fill("\n"))),
        ("blanks", plain(fill(" "))),
        ("links", plain(fill("https://a.b/c "))),
        ("half-links", plain(fill("http:"))),
        ("brackets", plain(fill("<"))),
        ("ids", plain(count("<#@x>\n"))),
        ("trailers", plain(count("Signed-off-by: A <#@b.c>\n"))),
        (
            "from-lines",
            plain(fill("From x Mon Jan  1 00:00:00 2024\n")),
        ),
        ("bidi", plain(fill("\u{202e}\u{2066}"))),
        ("combining", plain(format!("a{}", fill("\u{301}")))),
        ("words", plain(count("w# "))),
    ]
}

fn diff_bombs() -> Vec<(&'static str, String)> {
    let patch = |diff: String| format!("Subject: [PATCH] x\n\ntext\n---\n{diff}-- \n2.40\n");
    let head = "diff --git a/f b/f\n--- a/f\n+++ b/f\n";
    let half = bytes() / 2;
    vec![
        (
            "many-hunks",
            patch(format!("{head}{}", count("@@ -# +# @@\n-a\n+b\n"))),
        ),
        (
            "many-changed-files",
            patch(count(
                "diff --git a/f# b/f#\n--- a/f#\n+++ b/f#\n@@ -1 +1 @@\n-a\n+b\n",
            )),
        ),
        ("many-git-lines", patch(fill("diff --git a/f b/f\n"))),
        (
            "one-long-line",
            patch(format!(
                "{head}@@ -1 +1 @@\n-{}\n+{}\n",
                "a".repeat(half),
                "b".repeat(half)
            )),
        ),
        (
            "pairs-of-lines",
            patch(format!(
                "{head}@@ -1,9999999 +1,9999999 @@\n{}",
                fill("-a b c\n+a d c\n")
            )),
        ),
        (
            "all-removed",
            patch(format!("{head}@@ -1,9999999 +0,0 @@\n{}", fill("-a\n"))),
        ),
        (
            "huge-counts",
            patch(format!(
                "{head}{}",
                fill("@@ -1,99999999999999999999 +1,4294967295 @@\n x\n")
            )),
        ),
        (
            "binary",
            patch(format!(
                "diff --git a/f b/f\nindex 1..2 100644\nGIT binary patch\nliteral 4294967295\n{}\n",
                fill("zcmeAS@N?(olHy`uVBq!ia0vp^\n")
            )),
        ),
        ("diffstat", patch(count(" f# | 2 +-\n"))),
        (
            "many-renames",
            patch(count(
                "diff --git a/#a b/#b\nsimilarity index 100%\nrename from #a\nrename to #b\n",
            )),
        ),
    ]
}

fn peak_megabytes(server: &TestServer) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status
        .lines()
        .find_map(|l| l.strip_prefix("VmHWM:"))
        .unwrap();
    line.trim()
        .trim_end_matches(" kB")
        .trim()
        .parse::<u64>()
        .unwrap()
        / 1024
}

/// Sends all; what went wrong.
#[track_caller]
fn detonate(bombs: Vec<(&'static str, String)>) {
    let server = TestServer::start();
    server.cli(&["list", "create", "dev", "--address", "dev@x.org"]);
    // What is large is held; here it is to be looked at.
    server.cli(&["policy", "set", "dev", "--max-size", "100000000"]);
    let mut wrong = Vec::new();
    for (n, (name, mail)) in bombs.iter().enumerate() {
        let mail = format!("Message-ID: <{n}@bombs>\n{mail}");
        let mut smtp = Smtp::connect(&server.addresses["smtp"]);
        // A reply must come within the client's deadline.
        let (reply, wire) = smtp.send("a@b.c", &["dev@x.org"], mail.as_bytes());
        if !reply.starts_with("250") {
            wrong.push(format!("{name}: {reply}"));
            continue;
        }
        server.drain();
        let id = patchpost::mail::parse(&wire).message_id;
        let path = format!("/dev/{}/", url::message_id(&id));
        for ending in ["", "T/", "raw", "t.mbox.gz", "t.atom"] {
            let answer = server.get(&format!("{path}{ending}"));
            if answer.status != 200 {
                wrong.push(format!("{name}: {path}{ending}: {}", answer.status));
            }
        }
        if server.get(&format!("{path}eml")).body != wire {
            wrong.push(format!("{name}: other bytes"));
        }
        println!("{name}: peak {} MB", peak_megabytes(&server));
    }
    let postings = server.json(&["list", "show", "dev"])["postings"].as_u64();
    assert_eq!(wrong, Vec::<String>::new());
    assert_eq!(postings, Some(bombs.len() as u64));
    assert_eq!(server.get("/dev/").status, 200);
    assert_eq!(server.get("/dev/patches/?state=any").status, 200);
}

#[test]
fn mails_with_monstrous_parts_are_archived() {
    detonate(part_bombs());
}

#[test]
fn mails_with_monstrous_fields_are_archived() {
    detonate(field_bombs());
}

#[test]
fn mails_with_monstrous_texts_are_archived() {
    detonate(text_bombs());
}

#[test]
fn mails_with_monstrous_diffs_are_archived() {
    detonate(diff_bombs());
}
