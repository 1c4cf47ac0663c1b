//! `patchpost doctor --probe`: a mail goes out by the relay and comes back; what the relay did to it is said.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use super::harness::{Sink, Smtp, TestServer, free_port};
use super::postfix::{Postfix, printed};
use super::tools::{from_text, to_text};

const LIST: &str = "dev@lists.example.org";

/// A server with a list, whose relay will be there; the list's domain has a key.
fn start(relay: &str) -> TestServer {
    let server = TestServer::start_with(&[
        ("PATCHPOST_DELIVERY_TRANSPORT", "smtp"),
        ("PATCHPOST_DELIVERY_RELAY", relay),
        ("PATCHPOST_SITE_HOSTNAME", "mx.example.org"),
        ("PATCHPOST_SITE_DOMAIN", "lists.example.org"),
    ]);
    server.cli(&["list", "create", "dev", "--address", LIST]);
    server.cli(&["member", "add", "dev", "ben@example.com"]);
    server.cli(&["dkim", "rotate", "lists.example.org"]);
    server
}

/// What `doctor --probe` found, by what it looked at, whether it was content, and what it said meanwhile.
fn probe(
    server: &TestServer,
    to: &str,
    wait: &str,
) -> (Vec<(String, String, String)>, bool, String) {
    let mut command = server.command();
    command.args(["doctor", "--probe", to, "--wait", wait, "--json"]);
    let out = command.output().unwrap();
    let told = String::from_utf8_lossy(&out.stderr).into_owned();
    let found: Value =
        serde_json::from_slice(&out.stdout).unwrap_or_else(|e| panic!("{e}: {told}"));
    let text = |one: &Value, key: &str| one[key].as_str().unwrap().to_owned();
    let found = found.as_array().unwrap().iter();
    let found = found.map(|f| (text(f, "what"), text(f, "state"), text(f, "detail")));
    (found.collect(), out.status.success(), told)
}

/// The names of what is bad.
fn bad(found: &[(String, String, String)]) -> Vec<&str> {
    let bad = found.iter().filter(|f| f.1 == "bad");
    bad.map(|f| f.0.as_str()).collect()
}

#[test]
fn a_real_postfix_that_print_postfix_has_set_up_changes_nothing() {
    let sink = Sink::start();
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], free_port()));
    let server = start(&address.to_string());
    let settings = printed(&server);
    let postfix = Postfix::start(address.port(), &settings, &sink);
    server.wait_for("Postfix to listen", || {
        TcpStream::connect(&postfix.address).ok()
    });
    let (found, content, told) = probe(&server, LIST, "60");
    assert!(content, "{found:?}\n{told}");
    let fine: Vec<&str> = found.iter().map(|f| f.0.as_str()).collect();
    for what in [
        "probe",
        "return path",
        "Message-ID",
        "Date",
        "From",
        "body",
        "an author's signature, relaxed",
        "an author's signature, simple",
        "our signature",
    ] {
        assert!(fine.contains(&what), "{what}: {found:?}");
    }
    assert!(
        told.contains("took a probe for dev+echo-")
            && told.contains("waiting for it to come back: 0 s of 60 s"),
        "{told}"
    );
    // It is no posting, and nobody got a copy.
    server.drain();
    assert!(sink.all().is_empty());
    assert_eq!(server.json(&["list", "show", "dev"])["postings"], 0);
    assert!(!server.page("/dev/").contains("echo-"));
}

/// A Postfix with its defaults, that folds long lines and is no more than most relays are.
#[test]
fn a_postfix_as_it_comes_is_named_for_what_it_does() {
    let sink = Sink::start_without_8bit();
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], free_port()));
    let server = start(&address.to_string());
    // All goes by SMTP to the next server, which here is ours again.
    let smtp = &server.addresses["smtp"];
    let (host, port) = smtp.rsplit_once(':').unwrap();
    let defaults =
        format!("default_transport = smtp:[{host}]:{port}\nrelayhost =\nmydestination =\n");
    let postfix = Postfix::start(address.port(), &defaults, &sink);
    server.wait_for("Postfix to listen", || {
        TcpStream::connect(&postfix.address).ok()
    });
    let (found, content, told) = probe(&server, LIST, "60");
    assert!(!content, "{found:?}\n{told}");
    let body = found.iter().find(|f| f.0 == "body");
    let body = body.unwrap_or_else(|| panic!("{found:?}\n{told}"));
    assert_eq!(
        (body.1.as_str(), body.2.as_str()),
        ("bad", "lines were folded anew")
    );
    assert_eq!(
        bad(&found),
        [
            "body",
            "an author's signature, relaxed",
            "an author's signature, simple",
            "our signature"
        ]
    );
}

/// A relay that hands each mail on to the server's own listener as `change` makes it, with that envelope sender.
fn relay(
    change: fn(String) -> String,
    sender: Option<&'static str>,
) -> (String, Arc<Mutex<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let target = Arc::new(Mutex::new(String::new()));
    let to = Arc::clone(&target);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let to = to.lock().unwrap().clone();
            // A client that breaks off ends this conversation only.
            drop(pass_on(stream, &to, change, sender));
        }
    });
    (address, target)
}

fn pass_on(
    stream: TcpStream,
    to: &str,
    change: fn(String) -> String,
    own: Option<&str>,
) -> std::io::Result<()> {
    let mut out = stream.try_clone()?;
    let mut input = BufReader::new(stream);
    out.write_all(b"220 relay\r\n")?;
    let (mut sender, mut recipient) = (String::new(), String::new());
    loop {
        let mut line = String::new();
        if input.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let path = line.split(['<', '>']).nth(1).unwrap_or_default().to_owned();
        match line.split([' ', '\r']).next().unwrap_or_default() {
            "EHLO" => out.write_all(b"250-relay\r\n250 8BITMIME\r\n")?,
            "MAIL" => {
                sender = path;
                out.write_all(b"250 ok\r\n")?;
            }
            "RCPT" => {
                recipient = path;
                out.write_all(b"250 ok\r\n")?;
            }
            "DATA" => {
                out.write_all(b"354 go\r\n")?;
                let mut mail = Vec::new();
                loop {
                    let mut line = Vec::new();
                    input.read_until(b'\n', &mut line)?;
                    if line == b".\r\n" {
                        break;
                    }
                    mail.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
                }
                let changed = from_text(&change(to_text(&mail)));
                // Where nobody listens the mail is lost, as happens.
                if !to.is_empty() {
                    let (reply, _) =
                        Smtp::connect(to).send(own.unwrap_or(&sender), &[&recipient], &changed);
                    assert!(reply.starts_with("250"), "{reply}");
                }
                out.write_all(b"250 ok\r\n")?;
            }
            _ => out.write_all(b"250 ok\r\n")?,
        }
    }
}

/// The server behind such a relay.
fn behind(change: fn(String) -> String, sender: Option<&'static str>) -> TestServer {
    let (address, target) = relay(change, sender);
    let server = start(&address);
    *target.lock().unwrap() = server.addresses["smtp"].clone();
    server
}

#[test]
fn a_relay_that_mangles_is_told_on_with_what_does_not_hold_behind_it() {
    let mangle = |text: String| {
        let (head, rest) = text.split_once("\r\nMessage-ID: ").unwrap();
        let (_, rest) = rest.split_once("\r\n").unwrap();
        let date = head.find("\r\nDate: ").unwrap();
        let head = format!("{}\r\nDate: Thu, 01 Jan 2026 00:00:00 +0000", &head[..date]);
        format!(
            "Sender: login@relay.example\r\n{head}\r\nMessage-ID: <new@relay.example>\r\n{rest}Sent with love\r\n"
        )
    };
    let server = behind(mangle, Some("bounces@relay.example"));
    let (found, content, _) = probe(&server, LIST, "60");
    assert!(!content);
    assert_eq!(
        bad(&found),
        [
            "return path",
            "Message-ID",
            "Date",
            "added fields",
            "body",
            "an author's signature, relaxed",
            "an author's signature, simple",
            "our signature",
        ]
    );
    let detail = |what: &str| found.iter().find(|f| f.0 == what).unwrap().2.clone();
    assert!(detail("Message-ID").ends_with(" and is <new@relay.example>"));
    assert_eq!(detail("added fields"), "sender");
    assert_eq!(detail("body"), "text was added at its end: Sent with love");
    assert!(detail("return path").ends_with(" and is bounces@relay.example"));
    // For people: each with the promise that is void.
    let out = server
        .command()
        .args(["doctor", "--probe", LIST])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let words =
        "     > void: replies name an id that the archive has never seen: threads fall apart\n";
    assert!(text.contains(words), "{text}");
}

#[test]
fn a_forwarder_elsewhere_may_bring_the_probe_back_by_its_subject() {
    // What was for an address elsewhere comes for the list's own address for probes.
    let (address, target) = relay(|text| text, None);
    let server = start(&address);
    *target.lock().unwrap() = forward(&server);
    let (found, content, told) = probe(&server, "ana@elsewhere.example", "60");
    assert!(content, "{found:?}");
    assert!(
        told.contains("took a probe for ana@elsewhere.example"),
        "{told}"
    );
}

/// Takes a mail for anybody and sends it on to the list's address for probes; where it listens.
fn forward(server: &TestServer) -> String {
    let sink = Sink::start();
    let (address, smtp) = (sink.address.clone(), server.addresses["smtp"].clone());
    std::thread::spawn(move || {
        loop {
            let mail = sink.mails.lock().unwrap().pop();
            if let Some(mail) = mail {
                let echo = "dev+echo@lists.example.org";
                let (reply, _) = Smtp::connect(&smtp).send(&mail.sender, &[echo], &mail.bytes);
                assert!(reply.starts_with("250"), "{reply}");
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    });
    address
}

#[test]
fn what_does_not_come_back_and_what_is_refused_is_said() {
    let (address, _nowhere) = relay(|text| text, None);
    let server = start(&address);
    let (found, content, _) = probe(&server, LIST, "1");
    assert!(!content);
    assert_eq!(found[0].2, "it did not come back within 1 s");
    let sink = Sink::start();
    let refusing = start(&sink.address);
    sink.refuse("@lists.example.org", "550 5.7.1 no relaying for you");
    let (found, content, _) = probe(&refusing, LIST, "5");
    assert!(!content);
    assert!(
        found[0]
            .2
            .contains("does not take the probe: 550 5.7.1 no relaying for you"),
        "{found:?}"
    );
    // Nor does anybody's mail pass for a probe.
    for to in [
        "dev+echo-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa@lists.example.org",
        "dev+echo@lists.example.org",
    ] {
        let mail = b"From: a@b.c\r\nSubject: echo-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\nMessage-ID: <forged@x>\r\n\r\nx\r\n";
        let reply = server.send(&[to], mail);
        assert!(reply.starts_with("550 5.1.1"), "{to}: {reply}");
    }
}
