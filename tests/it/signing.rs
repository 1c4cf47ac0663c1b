//! Our signatures beside the author's, on every member's copy; and what becomes of mail that nothing but SPF speaks for.
//! Checked by dkimpy, by a DMARC implementation of others, and by the real `git am`.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::dkim::{self, Key, LIST, MEMBERS, PATCH};
use super::harness::{Copy, Database, Sink, TestServer, change, crlf, git, on_both, project, size};
use super::tools::{self, from_text, to_text};

on_both! {
    every_copy_carries_our_signatures_and_the_authors_still_verifies,
    a_letter_and_a_copy_are_signed_by_old_and_new_keys_while_one_replaces_the_other,
}

pub const POLICY: &str = "v=DMARC1; p=reject; adkim=s";

/// All keys of the site, and the author's, as DNS would give them.
pub fn records(server: &TestServer, key: &Key) -> Value {
    let mut records = json!({ "s._domainkey.example.org": key.record });
    for record in server.json(&["dkim", "show"]).as_array().unwrap() {
        let strings = record["strings"].as_array().unwrap().iter();
        let text: Vec<&str> = strings.map(|s| s.as_str().unwrap()).collect();
        assert!(text.iter().all(|s| s.len() <= 255));
        let zone = record["zone"].as_str().unwrap();
        assert!(
            text.iter().all(|s| zone.contains(&format!("\"{s}\""))),
            "{zone}"
        );
        records[record["name"].as_str().unwrap()] = text.concat().into();
    }
    records
}

/// What dkimpy and DMARC say of each copy.
#[track_caller]
fn judged(records: &Value, copies: &[Copy]) -> Vec<(Vec<String>, String)> {
    let mails: Vec<String> = copies.iter().map(|c| to_text(&c.bytes)).collect();
    let wish = json!({ "records": records, "policy": POLICY, "mails": mails });
    let answers = tools::python("signed.py", &[], &wish);
    let one = |answer: &Value| {
        let said = answer["signatures"].as_array().unwrap().iter();
        let said = said.map(|s| s.as_str().unwrap().to_owned()).collect();
        (said, answer["dmarc"].as_str().unwrap().to_owned())
    };
    answers.as_array().unwrap().iter().map(one).collect()
}

/// Every copy: ours by RSA and Ed25519, the author's, all good; and DMARC passes for the author.
#[track_caller]
pub fn all_verify(records: &Value, copies: &[Copy]) {
    for ((said, dmarc), copy) in judged(records, copies).iter().zip(copies) {
        let text = String::from_utf8_lossy(&copy.bytes);
        let ours = |algorithm: &str| {
            let good = |s: &&String| {
                s.starts_with("d=lists.example.org ") && s.ends_with(&format!("a={algorithm} pass"))
            };
            said.iter().filter(good).count()
        };
        assert_eq!(
            (ours("rsa-sha256"), ours("ed25519-sha256")),
            (1, 1),
            "{said:?}\n{text}"
        );
        let author = said
            .iter()
            .any(|s| s == "d=example.org s=s a=rsa-sha256 pass");
        assert!(author, "{said:?}\n{text}");
        assert_eq!(dmarc, "pass", "{text}");
    }
}

fn every_copy_carries_our_signatures_and_the_authors_still_verifies(database: Database) {
    let sink = Sink::start();
    let server = dkim::start(database, &sink);
    let key = Key::make(server.dir.path());
    server.cli(&["dkim", "rotate", "lists.example.org"]);
    let shapes = dkim::shapes();
    let sent = dkim::send_in_both_ways(&server, &key, &shapes, &[]);
    let by_id = dkim::copies(&server, &sink, &sent);
    let records = records(&server, &key);
    let copies: Vec<Copy> = by_id.into_values().flatten().collect();
    assert_eq!(copies.len(), sent.len() * MEMBERS.len());
    all_verify(&records, &copies);
    for copy in &copies {
        let (head, rest) = to_text(&copy.bytes)
            .split_once("\r\nList-Id:")
            .map(|(a, b)| (a.to_owned(), b.to_owned()))
            .unwrap();
        assert!(head.starts_with("DKIM-Signature: ") && !rest.is_empty());
        assert!(
            sent.iter().any(|mail| copy.bytes.ends_with(mail)),
            "a byte changed"
        );
    }
    // The verifier can say no.
    let mut changed = copies[0].clone();
    changed.bytes = from_text(&to_text(&changed.bytes).replacen("List-Id:", "List-Id: x", 1));
    let (said, _) = judged(&records, &[changed]).remove(0);
    assert!(said[0].ends_with("fail"), "{said:?}");
}

/// A number generator that gives the same for one seed.
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, sides: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % sides
    }

    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.roll(of.len())]
    }
}

/// A mail of parts that list servers are tempted to touch.
pub fn variation(dice: &mut Dice, n: usize) -> Vec<u8> {
    let mut fields = String::new();
    for _ in 0..dice.roll(5) {
        fields += dice.pick(&[
            "Cc: Ben <ben@example.com>,\n\t\"O'Neill, Pat\" <pat@example.org>\n",
            "X-Odd:    two   blanks  \n",
            "X-TAB:\tvalue\t\n",
            "X-Empty:\n",
            "x-CaSe: MiXeD\n",
            "References: <a@example.org>\n <b@example.org>\n",
            "In-Reply-To: <a@example.org>\n",
            "Reply-To: Ana <ana@example.org>\n",
            "Received: from a by b; Mon, 24 Nov 2025 00:00:00 +0000\n",
            "User-Agent: mutt\n",
            "X-Folded: one\n  two\n\t three\n",
            "Sender: Bot <bot@example.org>\n",
        ]);
    }
    if dice.roll(3) == 0 {
        fields += "MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n";
    }
    let mut body = String::new();
    for _ in 0..dice.roll(25) {
        body += dice.pick(&[
            "plain text\n",
            "trailing blanks   \n",
            "\ttabs\tin between\t\n",
            "\n",
            "\n\n\n",
            " \n",
            ".\n",
            "..dots\n",
            "From here\n",
            ">From there\n",
            "Zażółć gęślą jaźń — 日本語\n",
            "-- \n2.43.0\n",
            "+int  b;   \n",
            "--boundary--\n",
            "=3D=20\n",
            PATCH,
        ]);
    }
    dkim::mail(&format!("v{n}"), &fields, &body)
}

#[test]
fn seeded_variations_verify_on_every_copy() {
    let count = [100, 300, 1_000][size() - 1];
    let seed = 20_261_126;
    println!("{count} variations, seed {seed}");
    let mut dice = Dice(seed);
    let sink = Sink::start();
    let server = dkim::start(Database::Sqlite, &sink);
    let key = Key::make(server.dir.path());
    server.cli(&["dkim", "rotate", "lists.example.org"]);
    let wishes: Vec<Value> = (0..count)
        .map(|n| dkim::wish(&variation(&mut dice, n), ["relaxed", "simple"][n % 2], &[]))
        .collect();
    let sent = key.sign(&wishes);
    for mail in &sent {
        let reply = server.send(&[LIST], mail);
        assert!(reply.starts_with("250"), "{reply}");
    }
    let by_id = dkim::copies(&server, &sink, &sent);
    let copies: Vec<Copy> = by_id.into_values().flatten().collect();
    all_verify(&records(&server, &key), &copies);
}

fn a_letter_and_a_copy_are_signed_by_old_and_new_keys_while_one_replaces_the_other(
    database: Database,
) {
    let sink = Sink::start();
    let server = dkim::start(database, &sink);
    let key = Key::make(server.dir.path());
    let rotate = ["dkim", "rotate", "lists.example.org"];
    let first = server.json(&rotate)[0]["selector"]
        .as_str()
        .unwrap()
        .to_owned();
    let second = server.json(&rotate)[0]["selector"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_ne!(first, second);
    let shapes = [("plain", dkim::mail("plain", "", PATCH))];
    let sent = dkim::send_in_both_ways(&server, &key, &shapes, &[]);
    let by_id = dkim::copies(&server, &sink, &sent);
    let copies: Vec<Copy> = by_id.into_values().flatten().collect();
    let all = records(&server, &key);
    for (said, _) in judged(&all, &copies) {
        let good = |s: &str| {
            said.iter()
                .any(|one| one == &format!("d=lists.example.org s={s} pass"))
        };
        assert!(good(&format!("{first} a=rsa-sha256")), "{said:?}");
        assert!(good(&format!("{second} a=rsa-sha256")), "{said:?}");
        assert!(good(&format!("{second}-ed a=ed25519-sha256")), "{said:?}");
    }
    // The old one alone is still enough where the record of the new one is not known.
    let mut known = all.clone();
    known[format!("{second}._domainkey.lists.example.org")] = "".into();
    let (said, _) = judged(&known, &copies[..1]).remove(0);
    assert!(
        said.iter()
            .any(|s| s.contains(&format!("s={first} ")) && s.ends_with("pass"))
    );
    let refused = server.cli_fails(&["dkim", "drop", "lists.example.org", &first]);
    assert!(refused.contains("is 7 days old"), "{refused}");
    server.cli(&["dkim", "drop", "lists.example.org", &first, "--now"]);
    assert_eq!(server.json(&["dkim", "show"]).as_array().unwrap().len(), 2);
}

/// A list that gets mail without signature of `ana@example.org`, whose domain wants such mail refused.
fn without_signature(sink: &Sink) -> (tempfile::TempDir, TestServer) {
    let folder = tempfile::tempdir().unwrap();
    let zone = folder.path().join("zone");
    std::fs::write(&zone, "_dmarc.example.org TXT v=DMARC1; p=reject\n").unwrap();
    let zone = zone.display().to_string();
    let server = TestServer::start_with(&[
        ("PATCHPOST_DELIVERY_TRANSPORT", "smtp"),
        ("PATCHPOST_DELIVERY_RELAY", &sink.address),
        ("PATCHPOST_DNS_ZONE", &zone),
    ]);
    server.cli(&["list", "create", "dev", "--address", LIST]);
    server.cli(&["member", "add", "dev", "ben@example.com"]);
    (folder, server)
}

fn post(server: &TestServer, mail: &[u8]) {
    let reply = server.send(&[LIST], &crlf(mail));
    assert!(reply.starts_with("250"), "{reply}");
}

#[track_caller]
fn copy(server: &TestServer, sink: &Sink, count: usize) -> Vec<u8> {
    let all = server.wait_for("a copy", || {
        Some(sink.posted()).filter(|all| all.len() >= count)
    });
    all.last().unwrap().bytes.clone()
}

/// What `git am` makes of a mail on top of `base`: tree, author and message.
fn am(work: &Path, base: &str, mail: &[u8]) -> String {
    git(work, &["checkout", "-q", "--detach", base]);
    let file = work.join("../mail.eml");
    std::fs::write(&file, mail).unwrap();
    git(work, &["am", "-q", &file.display().to_string()]);
    git(work, &["log", "-1", "--format=%T%n%an <%ae> %ad%n%B"])
}

/// The body of a mail in another transfer encoding.
fn encoded(folder: &Path, mail: &str, encoding: &str) -> String {
    let (head, body) = mail.split_once("\n\n").unwrap();
    let head: Vec<&str> = head
        .lines()
        .filter(|l| {
            !l.starts_with("Content-Transfer")
                && !l.starts_with("Content-Type")
                && !l.starts_with("MIME")
        })
        .collect();
    let body = match encoding {
        "base64" => {
            let base64 = data_encoding::BASE64.encode(body.as_bytes());
            let lines = base64.as_bytes().chunks(76).map(String::from_utf8_lossy);
            lines.collect::<Vec<_>>().join("\n") + "\n"
        }
        "quoted-printable" => {
            let script = "import quopri,sys; sys.stdout.buffer.write(quopri.encodestring(sys.stdin.buffer.read()))";
            let file = folder.join("body");
            std::fs::write(&file, body).unwrap();
            let mut python = Command::new("python3");
            tools::run(
                python
                    .args(["-c", script])
                    .stdin(std::fs::File::open(&file).unwrap()),
            )
        }
        _ => body.to_owned(),
    };
    format!(
        "{}\nMIME-Version: 1.0\nContent-Type: text/plain; charset=UTF-8\nContent-Transfer-Encoding: {encoding}\n\n{body}",
        head.join("\n")
    )
}

#[test]
fn git_am_of_a_copy_under_the_lists_name_is_git_am_of_the_original() {
    let sink = Sink::start();
    let (folder, server) = without_signature(&sink);
    let work = project(server.dir.path());
    let base = git(&work, &["rev-parse", "HEAD"]);
    change(
        &work,
        "src/a.c",
        "line 3\n",
        "line three — naïve\n",
        "Spell 3\n\nWith umlauts: ä.\n\nSigned-off-by: Ana <ana@example.org>\n",
    );
    let format = [
        "-c",
        "user.name=Ána Limá",
        "format-patch",
        "-1",
        "--stdout",
        "--from=Ána Limá <ana@example.org>",
    ];
    let original = git(&work, &format) + "\n";
    let original = original.split_once('\n').unwrap().1.to_owned();
    for (n, encoding) in ["8bit", "quoted-printable", "base64"]
        .into_iter()
        .enumerate()
    {
        let mail = encoded(folder.path(), &original, encoding);
        let mail = format!("Message-ID: <{n}.munged@example.org>\nTo: {LIST}\n{mail}");
        post(&server, mail.as_bytes());
        let copy = copy(&server, &sink, n + 1);
        let text = to_text(&copy);
        assert!(
            text.contains("\r\nFrom: =?utf-8?b?") && text.contains(&format!("<{LIST}>")),
            "{text}"
        );
        assert!(
            text.contains("\r\nReply-To: ") && text.contains("\r\nX-Original-From: "),
            "{text}"
        );
        assert_eq!(
            am(&work, &base, &copy),
            am(&work, &base, mail.as_bytes()),
            "{encoding}: {text}"
        );
        // The archive keeps what came.
        let raw = server.get(&format!("/dev/{n}.munged@example.org/eml"));
        assert!(to_text(&raw.body).contains("<ana@example.org>"));
        assert!(!to_text(&raw.body).contains("X-Original-From"));
    }
}

#[test]
fn a_list_may_pass_such_mail_or_hold_its_copies_and_signed_mail_is_never_rewritten() {
    let sink = Sink::start();
    let (_folder, server) = without_signature(&sink);
    let plain = |id: &str| dkim::mail(id, "", PATCH);
    let signed = dkim::shapes()
        .into_iter()
        .find(|(name, _)| *name == "pgp-signed");
    post(&server, &signed.unwrap().1);
    assert!(to_text(&copy(&server, &sink, 1)).contains("\r\nFrom: Ana Lima <ana@example.org>\r\n"));
    server.cli(&["list", "set", "dev", "--dmarc-unaligned", "pass"]);
    post(&server, &plain("passed"));
    assert!(to_text(&copy(&server, &sink, 2)).ends_with(&to_text(&plain("passed"))));
    server.cli(&["list", "set", "dev", "--dmarc-unaligned", "hold"]);
    post(&server, &plain("held"));
    let held = || {
        Some(server.json(&["queue", "ls", "--state", "held"])).filter(|rows| rows[0].is_object())
    };
    let rows = server.wait_for("a held copy", held);
    assert_eq!(
        (&rows[0]["to"], &rows[0]["list"]),
        (&json!("ben@example.com"), &json!("dev"))
    );
    assert_eq!(sink.all().len(), 2);
    server.cli(&["queue", "retry", rows[0]["id"].as_str().unwrap()]);
    assert!(to_text(&copy(&server, &sink, 3)).ends_with(&to_text(&plain("held"))));
}

#[test]
fn a_signed_mail_is_not_rewritten_because_dns_gave_no_answer() {
    let sink = Sink::start();
    let (folder, mut server) = without_signature(&sink);
    let key = Key::make(server.dir.path());
    let zone = |said: &str| {
        let policy = "_dmarc.example.org TXT v=DMARC1; p=reject";
        let text = format!("s._domainkey.example.org {said}\n{policy}\n");
        std::fs::write(folder.path().join("zone"), text).unwrap();
    };
    server.terminate();
    zone("FAIL");
    server.launch();
    let wish = |name: &str| dkim::wish(&dkim::mail(name, "", PATCH), "relaxed", &[]);
    let sent = key.sign(&[wish("owed"), wish("good"), wish("forged")]);
    post(&server, &sent[0]);
    let unchanged = "\r\nFrom: Ana Lima <ana@example.org>\r\n";
    assert!(to_text(&copy(&server, &sink, 1)).contains(unchanged));
    // It moves nothing all the same.
    let page = server.page("/dev/owed@example.org/");
    assert!(
        page.contains("not authenticated: DNS gave no answer"),
        "{page}"
    );
    // What DNS says by the time that the copies are made counts: a forger gains nothing by making it slow.
    server.cli(&["policy", "set", "dev", "--emergency", "on"]);
    post(&server, &sent[1]);
    let forged = to_text(&sent[2]).replace("Make it so", "Make it not so");
    assert_ne!(forged, to_text(&sent[2]));
    post(&server, &from_text(&forged));
    server.terminate();
    zone(&format!("TXT {}", key.record));
    server.launch();
    let held = server.json(&["held", "ls", "dev"]);
    let mut ids: Vec<String> = held
        .as_array()
        .unwrap()
        .iter()
        .map(|h| h["id"].to_string())
        .collect();
    ids.sort();
    assert_eq!(ids.len(), 2);
    server.cli(&["held", "accept", &ids[0]]);
    assert!(to_text(&copy(&server, &sink, 2)).contains(unchanged));
    server.cli(&["held", "accept", &ids[1]]);
    let rewritten = to_text(&copy(&server, &sink, 3));
    assert!(
        rewritten.contains(&format!("\r\nFrom: Ana Lima via dev <{LIST}>")),
        "{rewritten}"
    );
}
