//! SPF by the client's address: of who comes by SMTP, and of the client that a trusted mail server in front names by XFORWARD.

use std::net::TcpStream;

use super::harness::{Sink, Smtp, TestServer, crlf, free_port};
use super::identity::{LIST, mail};
use super::postfix::{Postfix, printed};

/// `example.org` sends from 192.0.2.0/24, `helo.example` from the host that HELO names.
const ZONE: &str = "example.org TXT v=spf1 ip4:192.0.2.0/24 ip6:2001:db8::/32 -all\n\
     helo.example TXT v=spf1 a:%{h} -all\n\
     mx.helo.example A 198.51.100.7\n\
     broken.example FAIL\n";

struct Site {
    server: TestServer,
    _folder: tempfile::TempDir,
}

impl Site {
    fn start(environment: &[(&str, &str)]) -> Site {
        let folder = tempfile::tempdir().unwrap();
        let zone = folder.path().join("zone");
        std::fs::write(&zone, ZONE).unwrap();
        let zone = zone.display().to_string();
        let mut all = vec![("PATCHPOST_DNS_ZONE", zone.as_str())];
        all.extend(environment);
        let server = TestServer::start_with(&all);
        server.cli(&["list", "create", "dev", "--address", LIST]);
        Site {
            server,
            _folder: folder,
        }
    }

    /// What a mail's page says of its sender, once it is there.
    #[track_caller]
    fn said(&self, id: &str) -> String {
        let page = self.server.wait_for("the mail's page", || {
            let answer = self.server.get(&format!("/dev/{id}/"));
            (answer.status == 200).then(|| answer.text())
        });
        let found = page.split("class=\"quiet verdict\">").nth(1);
        let found = found.and_then(|rest| rest.split('<').next());
        found.unwrap_or_default().to_owned()
    }
}

/// A mail of ana, or of whom `from` names.
fn of(id: &str, from: &str) -> Vec<u8> {
    let text = mail(id, &format!("Ana Lima <{from}>"), id, "text\n");
    crlf(text.as_bytes())
}

/// What is said before MAIL, the envelope sender, the one in From, and what is then said of the mail.
const TOLD: [(&str, &str, &str, &str); 8] = [
    (
        "ADDR=192.0.2.7 HELO=mx.example.org",
        "ana@example.org",
        "ana@example.org",
        "authenticated: SPF example.org",
    ),
    (
        "ADDR=IPV6:2001:db8::7 HELO=x",
        "ana@example.org",
        "ana@example.org",
        "authenticated: SPF example.org",
    ),
    // From elsewhere, from nobody knows where, from our own network.
    (
        "ADDR=198.51.100.7 HELO=mx.example.org",
        "ana@example.org",
        "ana@example.org",
        "not authenticated",
    ),
    (
        "ADDR=[UNAVAILABLE] HELO=mx.example.org",
        "ana@example.org",
        "ana@example.org",
        "not authenticated",
    ),
    (
        "ADDR=192.168.0.7 HELO=mx.example.org",
        "ana@example.org",
        "ana@example.org",
        "not authenticated",
    ),
    // The envelope speaks for its own domain only.
    (
        "ADDR=192.0.2.7 HELO=mx.example.org",
        "ana@example.org",
        "eve@elsewhere.example",
        "not authenticated: SPF passes for example.org only",
    ),
    // The name in HELO reaches SPF, too.
    (
        "ADDR=198.51.100.7 HELO=mx.helo.example",
        "ana@helo.example",
        "ana@helo.example",
        "authenticated: SPF helo.example",
    ),
    (
        "ADDR=198.51.100.7 HELO=mx.other.example",
        "ana@helo.example",
        "ana@helo.example",
        "not authenticated",
    ),
];

#[test]
fn spf_goes_by_the_client_that_a_trusted_server_names() {
    let site = Site::start(&[("PATCHPOST_AUTH_XFORWARD_FROM", "192.0.2.1, 127.0.0.1")]);
    let mut smtp = Smtp::connect(&site.server.addresses["smtp"]);
    for (n, (told, sender, from, expected)) in TOLD.iter().enumerate() {
        let reply = smtp.say(&format!("XFORWARD {told}"));
        assert!(reply.starts_with("250"), "{reply}");
        let id = format!("told{n}@x");
        let (reply, _) = smtp.send(sender, &[LIST], &of(&id, from));
        assert!(reply.starts_with("250"), "{reply}");
        assert_eq!(site.said(&id), *expected, "{told} {sender} {from}");
    }
    // What was said held for one mail: this one comes from this machine, of which SPF says nothing.
    let (reply, _) = smtp.send("ana@example.org", &[LIST], &of("next@x", "ana@example.org"));
    assert!(reply.starts_with("250"), "{reply}");
    assert_eq!(site.said("next@x"), "not authenticated");
    // DNS that gives no answer is no word against it, and none for it.
    smtp.say("XFORWARD ADDR=192.0.2.7");
    let (reply, _) = smtp.send(
        "b@broken.example",
        &[LIST],
        &of("broken@x", "b@broken.example"),
    );
    assert!(reply.starts_with("250"), "{reply}");
    assert_eq!(
        site.said("broken@x"),
        "not authenticated: DNS gave no answer"
    );
}

#[test]
fn nobody_else_is_asked_who_his_client_is() {
    let site = Site::start(&[("PATCHPOST_AUTH_XFORWARD_FROM", "192.0.2.1, unix")]);
    let mut smtp = Smtp::connect(&site.server.addresses["smtp"]);
    let reply = smtp.say("XFORWARD ADDR=192.0.2.7 HELO=mx.example.org");
    assert!(reply.starts_with("500 5.5.2"), "{reply}");
    let (reply, _) = smtp.send("ana@example.org", &[LIST], &of("own@x", "ana@example.org"));
    assert!(reply.starts_with("250"), "{reply}");
    assert_eq!(site.said("own@x"), "not authenticated");
    let wrong = "mx.example.org";
    let out = site
        .server
        .command()
        .env("PATCHPOST_AUTH_XFORWARD_FROM", wrong)
        .arg("config")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(
        said.contains("auth.xforward_from") && said.contains("IP addresses such as 127.0.0.1"),
        "{said}"
    );
}

/// Postfix itself is told by XCLIENT that its client is elsewhere, as no test comes from there.
#[test]
fn a_real_postfix_in_front_hands_its_clients_address_on() {
    let sink = Sink::start();
    let site = Site::start(&[
        ("PATCHPOST_AUTH_XFORWARD_FROM", "127.0.0.1"),
        ("PATCHPOST_SITE_HOSTNAME", "mx.example.org"),
        ("PATCHPOST_SITE_DOMAIN", "lists.example.org"),
    ]);
    let settings = printed(&site.server) + "smtpd_authorized_xclient_hosts = 127.0.0.1\n";
    assert!(
        settings.contains("\nlmtp_send_xforward_command = yes\n"),
        "{settings}"
    );
    let postfix = Postfix::start(free_port(), &settings, &sink);
    site.server.wait_for("Postfix to listen", || {
        TcpStream::connect(&postfix.address).ok()
    });
    let cases = [
        ("known", "192.0.2.7", "authenticated: SPF example.org"),
        ("stranger", "198.51.100.7", "not authenticated"),
        ("again", "192.0.2.8", "authenticated: SPF example.org"),
    ];
    for (id, ip, expected) in cases {
        let mut smtp = Smtp::connect(&postfix.address);
        let reply = smtp.say(&format!("XCLIENT ADDR={ip} NAME=[UNAVAILABLE]"));
        assert!(reply.starts_with("220"), "{reply}");
        smtp.say("EHLO mx.example.org");
        let id = format!("{id}@x");
        let (reply, _) = smtp.send("ana@example.org", &[LIST], &of(&id, "ana@example.org"));
        assert!(reply.starts_with("250"), "{reply}");
        assert_eq!(site.said(&id), expected, "{ip}");
    }
}
