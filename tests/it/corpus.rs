//! Real, odd and hostile mail over SMTP: nothing is lost, nothing is changed, nothing falls over, and what is made of
//! it is sound: pages are HTML 5, feeds XML, mboxes whole, and every mail is found by a word of it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io::Read;

use patchpost::mail::{Flaw, Message, header, parse};
use patchpost::view::url;
use serde_json::{Value, json};

use super::harness::{Database, Smtp, TestServer, corpus_for, git, on_both, size};
use super::real_mail::{feed, plain_git};
use super::tools::{self, to_text};

on_both! {
    torture_mails_are_archived_byte_for_byte_or_refused_for_a_reason,
}

/// Files that have no text part; all other expectations follow from their bytes.
const HTML_ONLY: &str = include_str!("../../fixtures/torture/html-only.txt");

/// The reply to each file, from its bytes on the wire.
fn expected(name: &str, wire: &[u8]) -> &'static str {
    let bare = wire.windows(2).any(|w| w[0] == b'\r' && w[1] != b'\n');
    match () {
        () if bare || wire.contains(&0) => "550 5.5.2",
        () if parse(wire).headers.is_empty() => "550 5.6.0",
        () if HTML_ONLY.lines().any(|l| l == name) => "550 5.6.1",
        () => "250 2.0.0",
    }
}

/// A mail that was taken.
struct Taken {
    name: String,
    wire: Vec<u8>,
    message: Message,
}

impl Taken {
    fn path(&self) -> String {
        format!("/dev/{}/", url::message_id(&self.message.message_id))
    }
}

/// The files of the corpus: all of them, or a spread that is the same at each run.
fn files(database: Database) -> Option<Vec<(String, Vec<u8>)>> {
    let folder = corpus_for("torture mails; fixtures stand in")?.join("torture");
    let manifest = std::fs::read_to_string(folder.join("MANIFEST.tsv")).unwrap();
    let names: Vec<&str> = manifest
        .lines()
        .skip(1)
        .map(|l| l.split('\t').next().unwrap())
        .collect();
    assert_eq!(names.len(), 1421);
    let missing = HTML_ONLY.lines().find(|l| !names.contains(l));
    assert_eq!(missing, None, "the table names files that are there");
    let step = match (size(), database) {
        (1, Database::Sqlite) => 7,
        (1, Database::Postgres) => 14,
        _ => 1,
    };
    let read = |name: &&str| {
        (
            (*name).to_owned(),
            std::fs::read(folder.join(name)).unwrap(),
        )
    };
    Some(names.iter().step_by(step).map(read).collect())
}

/// What stands in for the corpus where it is not: shapes that its mails have.
fn own_files() -> Vec<(String, Vec<u8>)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures");
    let mut files = Vec::new();
    for part in ["demo", "deliver"] {
        let mut folders = vec![std::path::Path::new(folder).join(part)];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap().flatten() {
                let path = entry.path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|e| e == "eml") {
                    files.push((path.display().to_string(), std::fs::read(&path).unwrap()));
                }
            }
        }
    }
    let made: [(&str, &[u8]); 4] = [
        ("bare-cr", b"Subject: x\n\na\rb\n"),
        ("nul", b"Subject: x\n\na\0b\n"),
        ("empty", b""),
        ("controls", b"Subject: \x01\x0b\xff\nMessage-ID: <a/b%\"<c@d>\n\nwords \x02 ]]> \xed\xa0\x80 </pre>\n"),
    ];
    files.extend(made.map(|(name, bytes)| (name.to_owned(), bytes.to_vec())));
    files
}

fn send_all(server: &TestServer, files: Vec<(String, Vec<u8>)>) -> Vec<Taken> {
    let mut smtp = Smtp::connect(&server.addresses["smtp"]);
    let mut taken = Vec::new();
    let mut counts = BTreeMap::<&str, usize>::new();
    let mut wrong = Vec::new();
    for (name, bytes) in files {
        let (reply, wire) = smtp.send("a@b.c", &["dev@x.org"], &bytes);
        let expected = expected(&name, &wire);
        *counts.entry(expected).or_default() += 1;
        if !reply.starts_with(expected) {
            wrong.push(format!("{name}: expected {expected}, got {reply}"));
        }
        if reply.starts_with("250") {
            let message = parse(&wire);
            taken.push(Taken {
                name,
                wire,
                message,
            });
        }
    }
    println!("replies: {counts:?}");
    assert_eq!(wrong, Vec::<String>::new());
    taken
}

fn torture_mails_are_archived_byte_for_byte_or_refused_for_a_reason(database: Database) {
    let files = files(database).unwrap_or_else(|| {
        println!("the corpus is not here; the fixtures of other tests stand in");
        own_files()
    });
    let server = TestServer::start_on(database);
    server.cli(&["list", "create", "dev", "--address", "dev@x.org"]);
    // Some are larger than what a list holds for a person to look at.
    server.cli(&["policy", "set", "dev", "--max-size", "100000000"]);
    let taken = send_all(&server, files);
    server.drain();
    let distinct: HashSet<_> = taken.iter().map(|t| t.message.identity).collect();
    let postings = server.json(&["list", "show", "dev"])["postings"].as_u64();
    assert_eq!(
        postings,
        Some(distinct.len() as u64),
        "one posting for each mail"
    );
    assert_eq!(server.json(&["jobs"]), json!([]), "no work is left undone");
    let mut wrong = bytes(&server, &taken);
    wrong.extend(pages(&server, &taken));
    wrong.extend(feeds(&server, &taken));
    wrong.extend(mboxes(&server, &taken));
    wrong.extend(search(&server, &taken));
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

/// The mails that share a Message-ID, by their path.
fn by_path(taken: &[Taken]) -> BTreeMap<String, Vec<&Taken>> {
    let mut all = BTreeMap::<String, Vec<&Taken>>::new();
    for one in taken {
        all.entry(one.path()).or_default().push(one);
    }
    all
}

/// The stored bytes are those that were sent. Where several mails have one Message-ID, they are those of one of them.
fn bytes(server: &TestServer, taken: &[Taken]) -> Vec<String> {
    let mut wrong = Vec::new();
    for (path, sent) in by_path(taken) {
        let stored = server.get(&format!("{path}eml"));
        let same = sent.iter().any(|t| t.wire == stored.body);
        if stored.status != 200 || !same {
            wrong.push(format!(
                "{}: {path}eml: {} and other bytes",
                sent[0].name, stored.status
            ));
        }
    }
    wrong.extend(exported(server, taken));
    wrong
}

/// Each mail stands byte by byte in an exported epoch, also those that share a name with the one that is served.
fn exported(server: &TestServer, taken: &[Taken]) -> Vec<String> {
    let epoch = server.dir.path().join("all.git");
    let path = epoch.display().to_string();
    server.cli(&["export", "dev", &path, "--format", "public-inbox"]);
    let all = ["cat-file", "--batch-all-objects", "--batch-check"];
    let objects = git(&epoch, &all);
    let ids: HashSet<&str> = objects
        .lines()
        .filter_map(|l| l.split(' ').next())
        .collect();
    let folder = server.dir.path().join("sent");
    std::fs::create_dir(&folder).unwrap();
    let mut paths = String::new();
    for (n, mail) in taken.iter().enumerate() {
        let file = folder.join(n.to_string());
        // An epoch needs a name in the mail: one without gets it on top.
        let name = match mail.message.flaws.contains(&Flaw::NoMessageId) {
            true => format!("Message-ID: <{}>\n", mail.message.message_id),
            false => String::new(),
        };
        let bytes = [name.as_bytes(), &header::to_lf(&mail.wire).0].concat();
        std::fs::write(&file, bytes).unwrap();
        paths.push_str(&format!("{}\n", file.display()));
    }
    let mut hash = plain_git(&epoch);
    hash.args(["hash-object", "--no-filters", "--stdin-paths"]);
    let (fine, out, said) = feed(&mut hash, paths.as_bytes());
    assert!(fine, "{said}");
    let out = String::from_utf8(out).unwrap();
    assert_eq!(out.lines().count(), taken.len());
    let there = out.lines().zip(taken).filter(|(id, _)| !ids.contains(id));
    // What is the same mail by another way has one of its copies exported.
    let names = there.filter(|(_, mail)| {
        let same = |t: &&Taken| t.message.identity == mail.message.identity;
        taken.iter().filter(same).count() == 1
    });
    names
        .map(|(_, mail)| format!("{}: other bytes in the epoch", mail.name))
        .collect()
}

/// Gets all paths and has a script judge the answers by the batch.
fn judged(server: &TestServer, script: &str, paths: &[String]) -> Vec<Value> {
    let mut answers = Vec::new();
    for some in paths.chunks(200) {
        let texts: Vec<String> = some.iter().map(|p| text(server, p)).collect();
        let judged = tools::python(script, &[], &json!(texts));
        answers.extend(judged.as_array().unwrap().iter().cloned());
    }
    assert_eq!(answers.len(), paths.len());
    answers
}

/// A page's bytes, unpacked, as the scripts take them.
fn text(server: &TestServer, path: &str) -> String {
    let answer = server.get(path);
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    let mut body = answer.body;
    if path.ends_with(".gz") {
        let mut plain = Vec::new();
        flate2::read::MultiGzDecoder::new(&body[..])
            .read_to_end(&mut plain)
            .unwrap();
        body = plain;
    }
    to_text(&body)
}

/// Every page of a mail and of a thread is well-formed HTML 5.
fn pages(server: &TestServer, taken: &[Taken]) -> Vec<String> {
    let mut paths: Vec<String> = by_path(taken).into_keys().collect();
    paths.extend(
        threads(server, taken)
            .into_values()
            .map(|path| format!("{path}T/")),
    );
    paths.extend(["/", "/dev/", "/dev/patches/"].map(str::to_owned));
    let judged = judged(server, "pages.py", &paths);
    let wrong = paths
        .iter()
        .zip(judged)
        .filter(|(_, wrong)| !wrong.is_null());
    wrong
        .map(|(path, wrong)| format!("{path}: {wrong}"))
        .collect()
}

/// One mail's path for each thread: those with the same mails are one.
fn threads(server: &TestServer, taken: &[Taken]) -> HashMap<Vec<String>, String> {
    let mut threads = HashMap::new();
    for path in by_path(taken).into_keys() {
        threads.entry(mails(server, &path)).or_insert(path);
    }
    threads
}

/// The paths of the mails on the page of a thread, one for each mail.
fn mails(server: &TestServer, path: &str) -> Vec<String> {
    let page = server.page(&format!("{path}T/"));
    let posts: Vec<&str> = page.split("<article class=\"post\"").skip(1).collect();
    let bytes = |post: &&str| {
        let links = post.split("href=\"").skip(1);
        let mut links = links.map(|l| l.split('"').next().unwrap_or_default());
        let link = links.find_map(|l| l.strip_prefix("/dev/")?.strip_suffix("/eml"));
        link.expect("each mail has a link to its bytes").to_owned()
    };
    posts.iter().map(bytes).collect()
}

/// Feeds are XML and say of each mail of a thread what a feed reader needs.
fn feeds(server: &TestServer, taken: &[Taken]) -> Vec<String> {
    let threads = threads(server, taken);
    let mut paths: Vec<String> = threads
        .values()
        .map(|path| format!("{path}t.atom"))
        .collect();
    paths.push("/dev/new.atom".to_owned());
    let judged = judged(server, "feeds.py", &paths);
    let mut counts: Vec<Option<usize>> = threads.keys().map(|t| Some(t.len())).collect();
    counts.push(None);
    let mut wrong = Vec::new();
    for ((path, feed), count) in paths.iter().zip(judged).zip(counts) {
        let entries = feed["entries"].as_array().map_or(0, Vec::len);
        if !feed["error"].is_null() || entries == 0 || count.is_some_and(|c| c != entries) {
            wrong.push(format!(
                "{path}: {}, {entries} entries, {count:?} mails",
                feed["error"]
            ));
        }
    }
    wrong
}

/// Python's mailbox reads as many mails as there are, from each thread and from the whole list.
fn mboxes(server: &TestServer, taken: &[Taken]) -> Vec<String> {
    let threads = threads(server, taken);
    let paths: Vec<String> = threads
        .values()
        .map(|path| format!("{path}t.mbox.gz"))
        .collect();
    let judged = judged(server, "mboxes.py", &paths);
    let mut wrong = Vec::new();
    for ((path, ids), mails) in paths.iter().zip(judged).zip(threads.keys()) {
        let count = ids.as_array().unwrap().len();
        // It carries one mail for each Message-ID: b4 takes the first anyway.
        let ids: HashSet<&String> = mails.iter().collect();
        if count != ids.len() {
            wrong.push(format!("{path}: {count} of {} mails", ids.len()));
        }
    }
    let file = server.dir.path().join("all.mbox");
    server.cli(&[
        "export",
        "dev",
        &file.display().to_string(),
        "--format",
        "mbox",
    ]);
    let all = to_text(&std::fs::read(&file).unwrap());
    let count = tools::python("mboxes.py", &[], &json!([all]))[0]
        .as_array()
        .unwrap()
        .len();
    // Here all are, also those that share a Message-ID: an archive that is moved loses nothing.
    let distinct: HashSet<_> = taken.iter().map(|t| &t.message.identity).collect();
    if count != distinct.len() {
        wrong.push(format!(
            "the exported mbox: {count} of {} mails",
            distinct.len()
        ));
    }
    wrong
}

/// Words that a search cuts out of a text as we do here.
fn words(message: &Message) -> BTreeSet<String> {
    let text = format!("{} {}", message.subject, message.text);
    // A mail beyond this is not searched to its end.
    let text: String = text.chars().take(20_000).collect();
    let words = text.split(|c: char| !c.is_alphanumeric());
    let plain =
        |w: &&str| (4..20).contains(&w.len()) && w.bytes().all(|b| b.is_ascii_alphanumeric());
    words.filter(plain).map(str::to_ascii_lowercase).collect()
}

/// Each mail is found by the rarest of its words.
fn search(server: &TestServer, taken: &[Taken]) -> Vec<String> {
    let all: Vec<BTreeSet<String>> = taken.iter().map(|t| words(&t.message)).collect();
    let mut counts = HashMap::<&String, usize>::new();
    all.iter()
        .flatten()
        .for_each(|word| *counts.entry(word).or_default() += 1);
    let (mut wrong, mut looked_for) = (Vec::new(), 0);
    let mut seen = HashSet::new();
    for (one, words) in taken.iter().zip(&all) {
        // Of two copies of one mail the first is the one that is read.
        if !seen.insert(one.message.identity) {
            continue;
        }
        let Some(word) = words
            .iter()
            .min_by_key(|w| counts[w])
            .filter(|w| counts[w] <= 20)
        else {
            continue;
        };
        looked_for += 1;
        let page = server.page(&format!("/dev/?q={word}"));
        if !page.contains(&format!("href=\"{}\"", one.path())) {
            wrong.push(format!(
                "{}: {} is not found by {word}",
                one.name,
                one.path()
            ));
        }
    }
    println!(
        "{looked_for} of {} mails have a word that few have",
        taken.len()
    );
    assert!(looked_for * 3 > taken.len() * 2, "most mails have one");
    wrong
}
