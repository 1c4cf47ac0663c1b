//! Copies of a list that go over TLS only: nothing of them is ever in the clear, whatever the relay is and does.

use std::net::TcpStream;
use std::path::Path;

use super::harness::{Sink, TestServer, crlf, free_port};
use super::postfix::{Postfix, printed};
use super::tools::to_text;

const CLOSED: &str = "closed@lists.example.org";
const OPEN: &str = "open@lists.example.org";
const CANARY: &str = "canary-7f3a";

/// Two lists with a member each: one of style `security`, one whose copies may go as they can.
fn start(environment: &[(&str, &str)]) -> TestServer {
    let mut all = vec![
        ("PATCHPOST_DELIVERY_TRANSPORT", "smtp"),
        ("PATCHPOST_SITE_HOSTNAME", "mx.example.org"),
        ("PATCHPOST_SITE_DOMAIN", "lists.example.org"),
    ];
    all.extend(environment);
    let server = TestServer::start_with(&all);
    for (name, address, style) in [("closed", CLOSED, "security"), ("open", OPEN, "discuss")] {
        let create = [
            "list",
            "create",
            name,
            "--address",
            address,
            "--style",
            style,
        ];
        server.cli(&create);
        server.cli(&["member", "add", name, "ben@example.com"]);
    }
    server
}

/// Posts to the closed list first, so that what is to come of it has had its turn when the other's copy is there.
fn post(server: &TestServer) {
    for (n, list) in [CLOSED, OPEN].iter().enumerate() {
        let text = match n {
            0 => CANARY,
            _ => "anybody may read this",
        };
        let mail = format!(
            "From: Ana <ana@example.org>\nTo: {list}\nSubject: {text}\nMessage-ID: <{n}@x>\n\n{text}\n"
        );
        let reply = server.send(&[list], &crlf(mail.as_bytes()));
        assert!(reply.starts_with("250"), "{reply}");
        server.drain();
    }
}

/// What the queue says of the closed list's copy, once it was looked at.
#[track_caller]
fn waits(server: &TestServer) -> String {
    let row = server.wait_for("the copy to be looked at", || {
        let rows = server.json(&["queue", "ls", "--list", "closed"]);
        let row = rows.get(0)?.clone();
        (!row["problem"].as_str()?.is_empty()).then_some(row)
    });
    row["problem"].as_str().unwrap().to_owned()
}

#[track_caller]
fn is_clean(sink: &Sink) {
    for mail in sink.all() {
        let text = to_text(&mail.bytes);
        assert!(
            !text.contains(CANARY) && !mail.sender.starts_with("closed"),
            "{text}"
        );
    }
}

#[test]
fn to_a_relay_elsewhere_without_tls_nothing_goes() {
    let sink = Sink::start();
    // An address that is not known as this machine's own, and leads to it.
    let (_, port) = sink.address.rsplit_once(':').unwrap();
    let server = start(&[("PATCHPOST_DELIVERY_RELAY", &format!("0.0.0.0:{port}"))]);
    post(&server);
    server.wait_for("the open list's copy", || sink.all().pop());
    let why = waits(&server);
    assert!(why.contains("go over TLS only"), "{why}");
    is_clean(&sink);
    let doctor = server.command().arg("doctor").output().unwrap();
    let doctor = String::from_utf8_lossy(&doctor.stdout).into_owned();
    assert!(
        doctor.contains("BAD  tls only: copies of closed wait"),
        "{doctor}"
    );
    // Tried again by hand it still waits.
    server.cli(&["queue", "retry", "--list", "closed"]);
    waits(&server);
    is_clean(&sink);
}

#[test]
fn a_relay_that_loses_its_starttls_gets_nothing() {
    let sink = Sink::start();
    let (_, port) = sink.address.rsplit_once(':').unwrap();
    let server = start(&[
        ("PATCHPOST_DELIVERY_RELAY", &format!("localhost:{port}")),
        ("PATCHPOST_DELIVERY_RELAY_TLS", "starttls"),
    ]);
    post(&server);
    let why = waits(&server);
    assert!(why.contains("does not offer STARTTLS"), "{why}");
    assert!(sink.all().is_empty());
}

/// A certificate for `localhost`, and the file by which it is trusted.
fn certificate(folder: &Path) -> (String, String) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (cert, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    (cert.display().to_string(), key.display().to_string())
}

/// A real Postfix as the relay: to it by TLS, and from it, with what `print postfix` says, to nobody who has none.
#[test]
fn postfix_takes_such_copies_by_tls_and_keeps_them_from_servers_that_have_none() {
    let sink = Sink::start();
    let folder = tempfile::tempdir().unwrap();
    let (cert, key) = certificate(folder.path());
    let port = free_port();
    let server = start(&[
        ("PATCHPOST_DELIVERY_RELAY", &format!("localhost:{port}")),
        ("PATCHPOST_DELIVERY_RELAY_TLS", "starttls"),
        ("PATCHPOST_DELIVERY_RELAY_CA", &cert),
    ]);
    let settings = printed(&server);
    let once = settings.lines().find(|l| l.contains("postconf -M"));
    let once = once
        .expect("a line to give once")
        .trim_start_matches(['#', ' '])
        .to_owned();
    let tls = format!(
        "smtpd_tls_cert_file = {cert}\nsmtpd_tls_key_file = {key}\nsmtpd_tls_security_level = encrypt\nsmtpd_tls_received_header = yes\n"
    );
    let postfix = Postfix::start(port, &(settings + &tls), &sink);
    postfix.obey(&once);
    server.wait_for("Postfix to listen", || {
        TcpStream::connect(&postfix.address).ok()
    });
    post(&server);
    let open = server.wait_for("the open list's copy", || sink.all().pop());
    let text = to_text(&open.bytes);
    assert!(
        text.starts_with("Received: ") && text.contains("using TLSv1."),
        "{text}"
    );
    // The other is with Postfix, which says why it goes no further.
    server.wait_for("Postfix to say so", || {
        postfix
            .log()
            .contains("TLS is required, but was not offered")
            .then_some(())
    });
    let rows = server.json(&["queue", "ls", "--list", "closed"]);
    assert_eq!(rows.as_array().unwrap().len(), 0, "{rows}");
    postfix.flush();
    std::thread::sleep(std::time::Duration::from_millis(500));
    is_clean(&sink);
}
