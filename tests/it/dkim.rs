//! What an author signed is what every member gets: body bytes unchanged, and the signature still verifies.
//! Signed and verified by dkimpy, which shares no code with us; the key is handed over, no DNS is asked.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::harness::{Copy, Database, Sink, TestServer, change, crlf, git, on_both, project};
use super::tools::{self, from_text, to_text};

on_both! {
    a_signed_series_of_git_send_email_reaches_every_member_unchanged,
    signatures_over_every_shape_of_mail_verify_on_every_copy,
    signed_fields_of_a_list_stay_and_unsigned_ones_are_replaced,
    fields_that_the_author_signed_as_absent_are_not_added,
}

pub const LIST: &str = "dev@lists.example.org";
pub const MEMBERS: [&str; 4] = [
    "ben@example.com",
    "chen@example.net",
    "dora@list.example.net",
    "ana@example.org",
];
const USUAL: [&str; 11] = [
    "from",
    "to",
    "cc",
    "subject",
    "date",
    "message-id",
    "mime-version",
    "content-type",
    "content-transfer-encoding",
    "in-reply-to",
    "references",
];

/// A key pair of the author's domain; its selector is `s`.
pub struct Key {
    file: String,
    /// What DNS says of it.
    pub record: String,
}

impl Key {
    pub fn make(folder: &Path) -> Key {
        let file = folder.join("key.pem").display().to_string();
        let mut openssl = Command::new("openssl");
        tools::run(openssl.args(["genrsa", "-traditional", "-out", &file, "2048"]));
        let mut openssl = Command::new("openssl");
        let text = tools::run(openssl.args(["rsa", "-in", &file, "-pubout"]));
        let base64: String = text.lines().filter(|l| !l.starts_with('-')).collect();
        Key {
            file,
            record: format!("v=DKIM1; k=rsa; p={base64}"),
        }
    }

    pub fn sign(&self, wishes: &[Value]) -> Vec<Vec<u8>> {
        let signed = tools::python("dkim.py", &["sign", &self.file], &json!(wishes));
        let signed = signed.as_array().unwrap().iter();
        signed.map(|m| from_text(m.as_str().unwrap())).collect()
    }

    /// For each mail "pass" or why not.
    pub fn verify(&self, mails: &[Vec<u8>]) -> Vec<String> {
        let mails: Vec<String> = mails.iter().map(|m| to_text(m)).collect();
        let verdicts = tools::python("dkim.py", &["verify", &self.record], &json!(mails));
        let verdicts = verdicts.as_array().unwrap().iter();
        verdicts.map(|v| v.as_str().unwrap().to_owned()).collect()
    }
}

/// A mail to be signed over the usual fields and `extra`.
pub fn wish(mail: &[u8], canonicalization: &str, extra: &[&str]) -> Value {
    let fields: Vec<&str> = USUAL.iter().chain(extra).copied().collect();
    json!({ "mail": to_text(mail), "canonicalization": canonicalization, "fields": fields })
}

pub fn start(database: Database, sink: &Sink) -> TestServer {
    let server = TestServer::start_on_with(
        database,
        &[
            ("PATCHPOST_DELIVERY_TRANSPORT", "smtp"),
            ("PATCHPOST_DELIVERY_RELAY", &sink.address),
        ],
    );
    let description = "--description=Development, \"really\"";
    server.cli(&["list", "create", "dev", "--address", LIST, description]);
    let mut add = vec!["member", "add", "dev"];
    add.extend(MEMBERS);
    server.cli(&add);
    server
}

pub fn message_id(mail: &[u8]) -> String {
    let line = mail
        .split(|b| *b == b'\n')
        .find(|l| l.to_ascii_lowercase().starts_with(b"message-id:"));
    let line = String::from_utf8_lossy(line.expect("it has a Message-ID"));
    line.split_once(':').unwrap().1.trim().to_owned()
}

fn body(mail: &[u8]) -> &[u8] {
    let at = mail.windows(4).position(|w| w == b"\r\n\r\n");
    &mail[at.expect("a header and a body")..]
}

/// All copies of what was sent, by Message-ID; one for each member.
#[track_caller]
pub fn copies(server: &TestServer, sink: &Sink, sent: &[Vec<u8>]) -> BTreeMap<String, Vec<Copy>> {
    let wanted = sent.len() * MEMBERS.len();
    let all = server.wait_for("all copies", || {
        Some(sink.posted()).filter(|copies| copies.len() >= wanted)
    });
    let mut by_id: BTreeMap<String, Vec<Copy>> = BTreeMap::new();
    for copy in all {
        by_id.entry(message_id(&copy.bytes)).or_default().push(copy);
    }
    for (id, copies) in &by_id {
        let mut to: Vec<&str> = copies
            .iter()
            .flat_map(|c| &c.recipients)
            .map(|r| &**r)
            .collect();
        to.sort_unstable();
        let mut members = MEMBERS;
        members.sort_unstable();
        assert_eq!(to, members, "{id}: one copy for each member");
    }
    assert_eq!(by_id.len(), sent.len());
    by_id
}

/// The real `git send-email` hands a series to the author's mail server, which signs it and passes it on.
fn a_signed_series_of_git_send_email_reaches_every_member_unchanged(database: Database) {
    let sink = Sink::start();
    let server = start(database, &sink);
    let key = Key::make(server.dir.path());
    let work = project(server.dir.path());
    git(&work, &["checkout", "-q", "-b", "topic"]);
    for n in [3, 20, 35] {
        let (from, to) = (format!("line {n}\n"), format!("\tline {n} — naïve  \n"));
        change(
            &work,
            "src/a.c",
            &from,
            &to,
            &format!("Spell {n}\n\nFrom here on, dots:\n.\n..\n"),
        );
    }
    let of_author = Sink::start();
    let (host, port) = of_author.address.rsplit_once(':').unwrap();
    let arguments = [
        "send-email",
        "--from=Ana Lima <ana@example.org>",
        &format!("--to={LIST}"),
        &format!("--smtp-server={host}"),
        &format!("--smtp-server-port={port}"),
        "--smtp-encryption=none",
        "--confirm=never",
        "--suppress-cc=all",
        "--quiet",
        "--cover-letter",
        "--force",
        "-3",
    ];
    git(&work, &arguments);
    let mails = of_author.all();
    assert_eq!(mails.len(), 4, "a cover and three patches");
    let by_turns = ["relaxed", "simple"].into_iter().cycle();
    let wishes: Vec<Value> = mails
        .iter()
        .zip(by_turns)
        .map(|(mail, canonicalization)| wish(&mail.bytes, canonicalization, &["x-mailer"]))
        .collect();
    let sent = key.sign(&wishes);
    for mail in &sent {
        assert!(server.send(&[LIST], mail).starts_with("250"));
    }
    every_copy_is_what_was_sent(&server, &sink, &key, &sent, Fields::All);
    server.drain();
    let series = server.json(&["series", "ls"]);
    assert_eq!(
        (&series[0]["total"], &series[0]["complete"]),
        (&json!(3), &json!(true))
    );
}

/// Whether a copy keeps all fields of what was sent.
#[derive(PartialEq)]
enum Fields {
    All,
    /// Those of another list, unsigned, are replaced by ours.
    Some,
}

#[track_caller]
fn every_copy_is_what_was_sent(
    server: &TestServer,
    sink: &Sink,
    key: &Key,
    sent: &[Vec<u8>],
    fields: Fields,
) {
    let before = key.verify(sent);
    assert!(
        before.iter().all(|v| v == "pass"),
        "signed well: {before:?}"
    );
    let by_id = copies(server, sink, sent);
    for mail in sent {
        let id = message_id(mail);
        let copies: Vec<Vec<u8>> = by_id[&id].iter().map(|c| c.bytes.clone()).collect();
        for copy in &copies {
            let shown = String::from_utf8_lossy(copy);
            assert!(
                shown.starts_with("List-Unsubscribe: "),
                "{id}: our fields are on top:\n{shown}"
            );
            assert!(body(copy) == body(mail), "{id}: the body changed:\n{shown}");
            let whole = copy.ends_with(mail);
            assert!(
                whole || fields == Fields::Some,
                "{id}: a field changed:\n{shown}"
            );
        }
        let verdicts = key.verify(&copies);
        assert!(
            verdicts.iter().all(|v| v == "pass"),
            "{id}: {verdicts:?}\n{}",
            String::from_utf8_lossy(&copies[0])
        );
    }
}

pub const PATCH: &str = "Make it so\n\nFrom now on.\nFrom the start of a line\n\nSigned-off-by: Ana <ana@example.org>\n---\n f.c | 2 +-\n\n\
    diff --git a/f.c b/f.c\n--- a/f.c\n+++ b/f.c\n@@ -1,2 +1,2 @@\n-int  a;\t\n+int  b;   \n context  \n-- \n2.43.0\n\n";

const PLAIN: &str = "MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n";

/// A mail with header fields of its own, each ended by LF.
pub fn mail(name: &str, fields: &str, body: &str) -> Vec<u8> {
    let subject = if fields.contains("Subject:") {
        ""
    } else {
        "Subject: [PATCH] f: make it so\n"
    };
    let head = format!(
        "From: Ana Lima <ana@example.org>\nTo: {LIST}\n{subject}Date: Mon, 24 Nov 2025 00:00:00 +0000\nMessage-ID: <{name}@example.org>\n"
    );
    crlf(format!("{head}{fields}\n{body}").as_bytes())
}

fn base64(text: &str) -> String {
    let lines = data_encoding::BASE64.encode(text.as_bytes());
    let lines: Vec<String> = lines
        .as_bytes()
        .chunks(76)
        .map(|l| String::from_utf8_lossy(l).into_owned())
        .collect();
    lines.join("\n") + "\n"
}

/// Shapes of mail whose bytes a list server is tempted to touch.
pub fn shapes() -> Vec<(&'static str, Vec<u8>)> {
    let umlauts = PATCH.replace("Make it so", "Zażółć gęślą jaźń — 日本語");
    let eight_bit = format!("{PLAIN}Content-Transfer-Encoding: 8bit\n");
    let encoded = format!("{PLAIN}Content-Transfer-Encoding: base64\n");
    let quoted = format!("{PLAIN}Content-Transfer-Encoding: quoted-printable\n");
    let people: Vec<String> = (0..40)
        .map(|n| format!("\"Person {n}, Dr.\" <p{n}@example.org>"))
        .collect();
    let long_cc = format!("Cc: {}\n", people.join(",\n "));
    let mixed = "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=\"b 1\"\n";
    let parts = format!(
        "preamble\n\n--b 1\nContent-Type: text/plain\n\nSee the patch.\n--b 1\nContent-Type: text/x-patch; name=\"1.patch\"\n\
        Content-Disposition: attachment\n\n{PATCH}\n--b 1--\nepilogue\n\n"
    );
    let pgp = "MIME-Version: 1.0\nContent-Type: multipart/signed; micalg=\"pgp-sha512\";\n\tprotocol=\"application/pgp-signature\"; boundary=s1\n";
    let signed = format!(
        "--s1\nContent-Type: text/plain; charset=us-ascii\n\n{PATCH}\n--s1\nContent-Type: application/pgp-signature; name=signature.asc\n\n\
        -----BEGIN PGP SIGNATURE-----\nabc\n-----END PGP SIGNATURE-----\n\n--s1--\n"
    );
    let flowed =
        "MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8; format=flowed; delsp=yes\n";
    vec![
        ("plain", mail("plain", "", PATCH)),
        ("eight-bit", mail("eight-bit", &eight_bit, &umlauts)),
        (
            "eight-bit-unlabelled",
            mail("eight-bit-unlabelled", "", &umlauts),
        ),
        (
            "quoted-printable",
            mail(
                "quoted-printable",
                &quoted,
                "Za=C5=BC=C3=B3=C5=82=C4=87 =\n=3D20=20\n\n---\ndiff --git a/f b/f\n--- a/f\n+++ b/f\n@@ -1 +1 @@\n-a\n+b=09\n",
            ),
        ),
        ("base64", mail("base64", &encoded, &base64(&umlauts))),
        (
            "crlf-in-the-diff",
            mail(
                "crlf-in-the-diff",
                &encoded,
                &base64(&PATCH.replace("int  b;   \n", "int  b;\r\n")),
            ),
        ),
        (
            "raw-subject",
            mail(
                "raw-subject",
                &format!("Subject: [PATCH] żółć in raw UTF-8\n{eight_bit}"),
                &umlauts,
            ),
        ),
        (
            "folded-subject",
            mail(
                "folded-subject",
                "Subject: =?UTF-8?q?=5BPATCH=5D=20z=C5=BC=C3=B3=C5=82?=\n =?UTF-8?q?=20folded=20subject=20that=20goes=20on?=\n",
                PATCH,
            ),
        ),
        (
            "odd-blanks",
            mail(
                "odd-blanks",
                "Subject:   [PATCH]  two  blanks \nX-Odd:    two   blanks  \nX-TAB:\tvalue\n",
                PATCH,
            ),
        ),
        ("long-cc", mail("long-cc", &long_cc, PATCH)),
        (
            "member-in-cc",
            mail(
                "member-in-cc",
                "Cc: Ben <ben@example.com>, \"O'Neill, Pat\" <pat@example.org>\n",
                PATCH,
            ),
        ),
        (
            "long-line",
            mail(
                "long-line",
                &eight_bit,
                &format!("{PATCH}+{}\n", "x".repeat(980)),
            ),
        ),
        (
            "very-long-line",
            mail(
                "very-long-line",
                &eight_bit,
                &format!("{PATCH}+{}\n", "é".repeat(50_000)),
            ),
        ),
        (
            "long-field",
            mail(
                "long-field",
                &format!("X-Long: {}\n", "word ".repeat(300)),
                PATCH,
            ),
        ),
        ("multipart", mail("multipart", mixed, &parts)),
        ("pgp-signed", mail("pgp-signed", pgp, &signed)),
        ("flowed", mail("flowed", flowed, "long \nflowed \ntext\n")),
        (
            "trailing-blank-lines",
            mail("trailing-blank-lines", "", &format!("{PATCH}\n\n\n\n")),
        ),
        (
            "trailing-blanks",
            mail("trailing-blanks", "", &format!("{PATCH} \n\t\n")),
        ),
        ("only-blank-lines", mail("only-blank-lines", "", "\n\n\n")),
        ("no-body", mail("no-body", "", "")),
        (
            "leading-dots",
            mail("leading-dots", "", &format!(".\n..\n.foo\n...\n{PATCH}.\n")),
        ),
        (
            "leading-blank-lines",
            mail("leading-blank-lines", "", &format!("\n\n{PATCH}")),
        ),
        (
            "from-lines",
            mail(
                "from-lines",
                "",
                &format!("From x\n>From y\n>>From z\n{PATCH}"),
            ),
        ),
        (
            "reply-to-and-sender",
            mail(
                "reply-to-and-sender",
                "Sender: Bot <bot@example.org>\nReply-To: Ana <ana@example.org>\n",
                PATCH,
            ),
        ),
        (
            "signature-of-another",
            mail(
                "signature-of-another",
                "DKIM-Signature: v=1; a=rsa-sha256; d=other.example; s=x; h=from:list-id;\n bh=MTIz; b=MTIz\nReceived: from a by b; Mon, 24 Nov 2025 00:00:00 +0000\n",
                PATCH,
            ),
        ),
    ]
}

/// Signs each shape in both ways and sends it.
pub fn send_in_both_ways(
    server: &TestServer,
    key: &Key,
    shapes: &[(&str, Vec<u8>)],
    extra: &[&str],
) -> Vec<Vec<u8>> {
    let mut wishes = Vec::new();
    for (name, mail) in shapes {
        for way in ["relaxed", "simple"] {
            let text = to_text(mail).replace(&format!("<{name}@"), &format!("<{name}.{way}@"));
            wishes.push(wish(&from_text(&text), way, extra));
        }
    }
    let sent = key.sign(&wishes);
    for mail in &sent {
        let reply = server.send(&[LIST], mail);
        assert!(reply.starts_with("250"), "{}: {reply}", message_id(mail));
    }
    sent
}

fn signatures_over_every_shape_of_mail_verify_on_every_copy(database: Database) {
    let sink = Sink::start();
    let server = start(database, &sink);
    let key = Key::make(server.dir.path());
    let shapes = shapes();
    let sent = send_in_both_ways(&server, &key, &shapes, &[]);
    assert_eq!(sent.len(), 2 * shapes.len());
    every_copy_is_what_was_sent(&server, &sink, &key, &sent, Fields::All);
    // The verifier can say no: one more blank at the end of a line, and one letter of a field.
    let copy = &sink.all()[0].bytes;
    for (from, to) in [("Make it so\r\n", "Make it s0\r\n"), ("f: make", "f: fake")] {
        let changed = from_text(&to_text(copy).replace(from, to));
        assert!(changed != *copy && key.verify(&[changed])[0] != "pass");
    }
}

fn signed_fields_of_a_list_stay_and_unsigned_ones_are_replaced(database: Database) {
    let sink = Sink::start();
    let server = start(database, &sink);
    let key = Key::make(server.dir.path());
    let fields = "List-Id: Other <other.lists.example.net>\nList-Unsubscribe: <mailto:leave@lists.example.net>\nList-Post: NO\n\
        Precedence: bulk\nX-Mailing-List: other@lists.example.net\n";
    let names = [
        "list-id",
        "list-unsubscribe",
        "list-post",
        "precedence",
        "x-mailing-list",
    ];
    let signed = [("signed-fields", mail("signed-fields", fields, PATCH))];
    let sent = send_in_both_ways(&server, &key, &signed, &names);
    every_copy_is_what_was_sent(&server, &sink, &key, &sent, Fields::All);

    let unsigned = [(
        "unsigned-fields",
        mail(
            "unsigned-fields",
            &format!("{fields}Bcc: hidden@example.org\n"),
            PATCH,
        ),
    )];
    sink.mails.lock().unwrap().clear();
    let sent = send_in_both_ways(&server, &key, &unsigned, &[]);
    every_copy_is_what_was_sent(&server, &sink, &key, &sent, Fields::Some);
    for copy in sink.all() {
        let text = to_text(&copy.bytes).to_lowercase();
        assert!(
            !text.contains("lists.example.net") && !text.contains("\nbcc:"),
            "{text}"
        );
        assert_eq!(text.matches("\r\nprecedence: list\r\n").count(), 1);
    }
}

/// Some mail servers sign fields that are not there, so that nobody adds them (Exim does so by default). What a list
/// can leave out of its own fields then, it leaves out.
fn fields_that_the_author_signed_as_absent_are_not_added(database: Database) {
    let sink = Sink::start();
    let server = start(database, &sink);
    let key = Key::make(server.dir.path());
    let shapes = [
        ("absent", mail("absent", "", PATCH)),
        ("doubled", mail("doubled", "Precedence: first\n", PATCH)),
    ];
    let names = [
        "list-post",
        "list-help",
        "list-archive",
        "precedence",
        "precedence",
        "sender",
    ];
    let sent = send_in_both_ways(&server, &key, &shapes, &names);
    every_copy_is_what_was_sent(&server, &sink, &key, &sent, Fields::All);
    let text = to_text(&sink.all()[0].bytes);
    assert!(
        text.contains("List-Unsubscribe: ") && !text.contains("List-Post: "),
        "{text}"
    );
}
