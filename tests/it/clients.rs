//! Clients that others wrote: swaks, Python's smtplib, curl, a feed reader, lynx.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use super::harness::TestServer;
use super::tools::{self, to_text};

const LIST: &str = "dev@lists.example.org";

fn with_list(environment: &[(&str, &str)]) -> TestServer {
    let server = TestServer::start_with(environment);
    server.cli(&["list", "create", "dev", "--address", LIST]);
    server
}

fn eml(server: &TestServer, id: &str) -> Vec<u8> {
    server.wait_for(&format!("{id} to be filed"), || {
        let answer = server.get(&format!("/dev/{id}/eml"));
        (answer.status == 200).then_some(answer.body)
    })
}

fn swaks(address: &str, file: &Path) -> Command {
    let mut swaks = Command::new("swaks");
    swaks.args([
        "--server",
        address,
        "--to",
        LIST,
        "--from",
        "ana@example.org",
        "--data",
    ]);
    swaks
        .arg(format!("@{}", file.display()))
        .args(["--helo", "client.example"]);
    swaks
}

/// A mail as a file; its text, with CRLF.
fn mail(server: &TestServer, id: &str) -> (PathBuf, Vec<u8>) {
    let text = format!(
        "From: Ana <ana@example.org>\nTo: {LIST}\nSubject: by {id}\nMessage-ID: <{id}>\nDate: Mon, 24 Nov 2025 00:00:00 +0000\n\n.\n..\nzażółć\n.end\n"
    );
    let file = server.dir.path().join(id);
    // swaks ends the last line itself.
    std::fs::write(&file, text.trim_end()).unwrap();
    (file, text.replace('\n', "\r\n").into_bytes())
}

#[test]
fn swaks_delivers_by_smtp_and_lmtp() {
    let server = with_list(&[]);
    for (protocol, id) in [("smtp", "smtp@swaks"), ("lmtp", "lmtp@swaks")] {
        let (file, sent) = mail(&server, id);
        let mut swaks = swaks(&server.addresses[protocol], &file);
        let said = tools::run(swaks.args([
            "--protocol",
            if protocol == "smtp" { "ESMTP" } else { "LMTP" },
        ]));
        assert!(said.contains("250 2.0.0"), "{said}");
        assert_eq!(to_text(&eml(&server, id)), to_text(&sent), "{id}");
    }
    // A list that is not here: swaks says so by its status (24: no recipient was taken).
    let (file, _) = mail(&server, "nobody@swaks");
    let mut nobody = swaks(&server.addresses["smtp"], &file);
    let out = tools::output(nobody.args(["--to", "nobody@lists.example.org"]));
    assert_eq!(
        out.status.code(),
        Some(24),
        "{}",
        tools::shown(&nobody, &out)
    );
    assert!(String::from_utf8_lossy(&out.stdout).contains("550 5.1.1"));
}

#[test]
fn swaks_delivers_over_tls_and_checks_the_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (cert, key) = (
        folder.path().join("cert.pem"),
        folder.path().join("key.pem"),
    );
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let (cert, key) = (cert.display().to_string(), key.display().to_string());
    let server = with_list(&[
        ("PATCHPOST_SMTP_TLS_CERT", &cert),
        ("PATCHPOST_SMTP_TLS_KEY", &key),
    ]);
    let address = server.addresses["smtp"].replace("127.0.0.1", "localhost");
    let (file, sent) = mail(&server, "tls@swaks");
    let mut trusting = swaks(&address, &file);
    let said = tools::run(trusting.args(["-4", "--tls", "--tls-verify", "--tls-ca-path", &cert]));
    assert!(
        said.contains("TLS started with cipher TLSv1.3") && said.contains("250 2.0.0"),
        "{said}"
    );
    assert_eq!(to_text(&eml(&server, "tls@swaks")), to_text(&sent));
    // A certificate that nobody vouches for: no mail goes over that connection.
    let (file, _) = mail(&server, "untrusted@swaks");
    let mut doubting = swaks(&address, &file);
    let out = tools::output(doubting.args(["-4", "--tls", "--tls-verify"]));
    assert_eq!(
        out.status.code(),
        Some(29),
        "{}",
        tools::shown(&doubting, &out)
    );
    assert_eq!(server.get("/dev/untrusted@swaks/").status, 404);
    tls_is_new_enough(&address);
}

/// TLS 1.2 and 1.3 are spoken, nothing older (RFC 8996).
fn tls_is_new_enough(address: &str) {
    for (version, spoken) in [("-tls1_1", false), ("-tls1_2", true), ("-tls1_3", true)] {
        let mut openssl = Command::new("openssl");
        openssl.args([
            "s_client",
            "-starttls",
            "smtp",
            "-connect",
            address,
            version,
        ]);
        // Debian's own settings forbid the old versions; here it is the server that has to.
        openssl
            .args(["-cipher", "ALL:@SECLEVEL=0"])
            .stdin(std::process::Stdio::null());
        let out = tools::output(&mut openssl);
        let said = tools::shown(&openssl, &out);
        let agreed = said.contains("New, TLSv1.") && !said.contains("Cipher is (NONE)");
        assert_eq!(agreed, spoken, "{said}");
    }
}

#[test]
fn smtplib_hears_over_lmtp_what_became_of_each_recipient() {
    let server = with_list(&[]);
    let (host, port) = server.addresses["lmtp"].rsplit_once(':').unwrap();
    let (_, sent) = mail(&server, "each@smtplib");
    let users = "users@lists.example.org";
    server.cli(&["list", "create", "users", "--address", users]);
    let nobody = "nobody@lists.example.org";
    let deliveries = json!([
        { "sender": "ana@example.org", "to": [LIST, nobody, users, LIST], "mail": to_text(&sent) },
        { "sender": "", "to": [users, LIST], "mail": "Subject: nul\r\n\r\n\0\r\n" },
        { "sender": "ana@example.org", "to": [users], "mail": "Message-ID: <after@smtplib>\r\n\r\nAll is well after that.\r\n" },
    ]);
    let answers = tools::python("lmtp.py", &[host, port], &deliveries);
    let answers: Vec<String> = answers
        .as_array()
        .unwrap()
        .iter()
        .map(|all| {
            let all = all.as_array().unwrap().iter();
            let words = all.map(|a| {
                format!(
                    "{} {} {}",
                    a[0].as_str().unwrap(),
                    a[1],
                    &a[2].as_str().unwrap()[..5]
                )
            });
            words.collect::<Vec<_>>().join(", ")
        })
        .collect();
    assert_eq!(
        answers,
        [
            format!("{LIST} 250 2.0.0, {nobody} 550 5.1.1, {users} 250 2.0.0, {LIST} 250 2.0.0"),
            format!("{users} 250 2.0.0, {LIST} 250 2.0.0"),
            format!("{users} 250 2.0.0"),
        ]
    );
    // What is no mail was noted for each list and bothered nobody.
    let events = server.json(&["events"]);
    let kinds: Vec<_> = events
        .as_array()
        .unwrap()
        .iter()
        .map(|e| &e["kind"])
        .collect();
    assert_eq!(kinds, ["dropped", "dropped"], "{events}");
    let said = server.cli(&["events", "users"]);
    assert!(
        said.contains("NUL byte: ") && !said.contains("dev"),
        "{said}"
    );
    assert_eq!(to_text(&eml(&server, "each@smtplib")), to_text(&sent));
    server.drain();
    for (list, postings) in [("dev", 1), ("users", 2)] {
        assert_eq!(
            server.json(&["list", "show", list])["postings"],
            postings,
            "{list}"
        );
    }
}

/// A list with a thread of three mails.
fn with_thread() -> TestServer {
    let server = with_list(&[]);
    for n in 0..3 {
        let parent = if n == 0 {
            ""
        } else {
            "In-Reply-To: <0@thread>\n"
        };
        let text = "From the start, a line that mboxes quote.\nMore words.\n".repeat(40);
        let mail = format!(
            "From: Ana <ana@example.org>\nSubject: thread {n}\nMessage-ID: <{n}@thread>\n{parent}\n{text}\n"
        );
        assert!(server.send(&[LIST], mail.as_bytes()).starts_with("250"));
    }
    server.drain();
    server
}

fn curl(server: &TestServer, path: &str, arguments: &[&str]) -> (String, Vec<u8>) {
    let file = server.dir.path().join("answer");
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--dump-header", "-", "--output"])
        .arg(&file);
    let head = tools::run(curl.args(arguments).arg(format!("{}{path}", server.base())));
    let body = if head.contains(" 304 ") {
        Vec::new()
    } else {
        std::fs::read(&file).unwrap()
    };
    (head, body)
}

const PLACES: [&str; 10] = [
    "/",
    "/dev/",
    "/dev/?q=words",
    "/dev/0@thread/",
    "/dev/0@thread/T/",
    "/dev/0@thread/raw",
    "/dev/0@thread/eml",
    "/dev/patches/",
    "/dev/new.atom",
    "/-/style.css",
];

#[test]
fn curl_gets_every_page_packed_or_not_and_only_once() {
    let server = with_thread();
    let tags = server.dir.path().join("tags").display().to_string();
    for place in PLACES {
        let (head, plain) = curl(&server, place, &["--etag-save", &tags]);
        assert!(
            head.contains(" 200 ") && !head.contains("Content-Encoding"),
            "{place}: {head}"
        );
        assert!(plain.len() > 100, "{place}");
        for coding in ["gzip", "zstd"] {
            let accept = format!("Accept-Encoding: {coding}");
            let (head, body) = curl(&server, place, &["--compressed", "--header", &accept]);
            // Small answers may come as they are.
            let packed = head.contains(&format!("Content-Encoding: {coding}"));
            assert!(packed || plain.len() < 1000, "{place}: {head}");
            assert!(
                body == plain,
                "{place} by {coding}: the same after unpacking"
            );
        }
        // Mboxes are made while they are sent: what they will be is not known before.
        if !place.ends_with("/raw") {
            let (head, _) = curl(&server, place, &["--etag-compare", &tags]);
            assert!(head.contains(" 304 "), "{place} is not sent again: {head}");
        }
    }
    // What changes is sent again.
    let (_, before) = curl(&server, "/dev/", &["--etag-save", &tags]);
    let mail = b"From: b@c.d\nSubject: news\nMessage-ID: <news@thread>\n\nnews\n";
    assert!(server.send(&[LIST], mail).starts_with("250"));
    server.drain();
    let (head, after) = curl(&server, "/dev/", &["--etag-compare", &tags]);
    assert!(head.contains(" 200 ") && before != after, "{head}");
}

#[test]
fn curl_asks_by_date_whether_a_feed_is_newer() {
    let server = with_thread();
    for place in ["/dev/new.atom", "/dev/0@thread/t.atom"] {
        let (head, _) = curl(&server, place, &[]);
        let date = head.lines().find_map(|l| l.strip_prefix("Last-Modified: "));
        let date = date.unwrap_or_else(|| panic!("{place} has a date: {head}"));
        let (head, _) = curl(&server, place, &["--time-cond", date]);
        assert!(head.contains(" 304 "), "{place}: {head}");
        let (head, _) = curl(&server, place, &["--time-cond", "2001-01-01"]);
        assert!(head.contains(" 200 "), "{place}: {head}");
    }
}

#[test]
fn mboxes_hold_every_mail_once_and_unpack_to_what_was_sent() {
    let server = with_thread();
    let (head, packed) = curl(&server, "/dev/0@thread/t.mbox.gz", &["--compressed"]);
    assert!(
        head.contains("Content-Type: application/gzip") && !head.contains("Content-Encoding"),
        "{head}"
    );
    let mut text = Vec::new();
    flate2::read::MultiGzDecoder::new(&packed[..])
        .read_to_end(&mut text)
        .unwrap();
    let (_, found) = curl(&server, "/dev/?q=words&x=m", &["--data", ""]);
    let mut results = Vec::new();
    flate2::read::MultiGzDecoder::new(&found[..])
        .read_to_end(&mut results)
        .unwrap();
    let (_, raw) = curl(&server, "/dev/1@thread/raw", &[]);
    let boxes = [text, results, raw];
    let boxes: Vec<String> = boxes.iter().map(|b| to_text(b)).collect();
    let ids = tools::python("mboxes.py", &[], &json!(boxes));
    assert_eq!(ids[0], json!(["<0@thread>", "<1@thread>", "<2@thread>"]));
    let mut sorted: Vec<&str> = ids[1]
        .as_array()
        .unwrap()
        .iter()
        .map(|i| i.as_str().unwrap())
        .collect();
    sorted.sort_unstable();
    assert_eq!(sorted, ["<0@thread>", "<1@thread>", "<2@thread>"]);
    assert_eq!(ids[2], json!(["<1@thread>"]));
    assert!(boxes[2].contains("\n>From the start"), "{}", boxes[2]);
}

#[test]
fn feeds_are_read_by_a_feed_reader_and_pages_by_lynx() {
    let server = with_thread();
    let places = ["/dev/new.atom", "/dev/0@thread/t.atom"];
    let feeds: Vec<String> = places
        .iter()
        .map(|p| to_text(&server.get(p).body))
        .collect();
    let read = tools::python("feeds.py", &[], &json!(feeds));
    for (feed, place) in read.as_array().unwrap().iter().zip(places) {
        assert_eq!(
            (&feed["error"], &feed["version"]),
            (&json!(null), &json!("atom10")),
            "{place}"
        );
        let entries = feed["entries"].as_array().unwrap();
        let mut titles: Vec<&str> = entries
            .iter()
            .map(|e| e["title"].as_str().unwrap())
            .collect();
        titles.sort_unstable();
        assert_eq!(titles, ["thread 0", "thread 1", "thread 2"], "{place}");
        for entry in entries {
            let path = entry["link"]
                .as_str()
                .unwrap()
                .strip_prefix(&server.base())
                .unwrap();
            assert_eq!(
                (server.get(path).status, &entry["updated"]),
                (200, &json!(true)),
                "{path}"
            );
        }
    }
    let page = format!("{}/dev/0@thread/T/", server.base());
    let text = tools::run(Command::new("lynx").args(["-dump", "-width=200", &page]));
    for words in ["thread 0", "Ana", "More words."] {
        assert!(text.contains(words), "lynx shows {words}: {text}");
    }
}
