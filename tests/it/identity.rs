//! Who sent a mail: signatures made by dkimpy, DNS out of a fixed zone, what pages say of it.

use std::net::UdpSocket;
use std::sync::Arc;
use std::time::Duration;

use patchpost::dns::{Client, Dns, Source};
use patchpost::verdict::{self, Level, Outcome};
use serde_json::{Value, json};

use super::dkim::{Key, wish};
use super::harness::{Database, Smtp, TestServer};

pub const LIST: &str = "dev@lists.example.org";

/// A server with a list, and keys for `example.org` and `example.net` in its zone; `broken.example` gives no answer.
pub struct Site {
    pub server: TestServer,
    pub key: Key,
    _folder: tempfile::TempDir,
}

impl Site {
    pub fn start(environment: &[(&str, &str)]) -> Site {
        Site::start_on(Database::Sqlite, environment)
    }

    pub fn start_on(database: Database, environment: &[(&str, &str)]) -> Site {
        let folder = tempfile::tempdir().unwrap();
        let key = Key::make(folder.path());
        let zone = folder.path().join("zone");
        std::fs::write(&zone, zone_of(&key)).unwrap();
        let zone = zone.display().to_string();
        let mut all = vec![("PATCHPOST_DNS_ZONE", zone.as_str())];
        all.extend(environment);
        let server = TestServer::start_on_with(database, &all);
        server.cli(&["list", "create", "dev", "--address", LIST]);
        Site {
            server,
            key,
            _folder: folder,
        }
    }

    /// The mail as its domain would send it.
    pub fn sign(&self, mail: &str) -> Vec<u8> {
        sign(&self.key, &[wish(mail.as_bytes(), "relaxed", &[])]).remove(0)
    }

    /// The same, with these fields signed and no others.
    pub fn sign_only(&self, mail: &str, fields: &[&str]) -> Vec<u8> {
        let mut wish = wish(mail.as_bytes(), "relaxed", &[]);
        wish["fields"] = json!(fields);
        sign(&self.key, &[wish]).remove(0)
    }

    #[track_caller]
    pub fn send(&self, mail: &[u8]) {
        let reply = self.server.send(&[LIST], mail);
        assert!(reply.starts_with("250"), "{reply}");
        self.server.drain();
    }

    /// What a mail's page says of its sender.
    #[track_caller]
    pub fn said(&self, id: &str) -> String {
        let page = self.server.page(&format!("/dev/{id}/"));
        let found = page.split("class=\"quiet verdict\">").nth(1);
        found
            .and_then(|rest| rest.split('<').next())
            .unwrap_or_default()
            .to_owned()
    }
}

/// What `doctor` says, whatever it finds.
fn doctor(server: &TestServer) -> String {
    let out = server.command().arg("doctor").output().unwrap();
    String::from_utf8(out.stdout).unwrap()
}

/// dkimpy signs what goes over the wire: CRLF.
pub fn sign(key: &Key, wishes: &[Value]) -> Vec<Vec<u8>> {
    let wire = |wish: &Value| {
        let mut wish = wish.clone();
        wish["mail"] = json!(wish["mail"].as_str().unwrap().replace('\n', "\r\n"));
        wish
    };
    let wishes: Vec<Value> = wishes.iter().map(wire).collect();
    key.sign(&wishes)
}

fn zone_of(key: &Key) -> String {
    let record = &key.record;
    format!(
        "# for tests\n\
         s._domainkey.example.org TXT {record}\n\
         s._domainkey.example.net TXT {record}\n\
         s._domainkey.mail.example.org TXT {record}\n\
         s._domainkey.broken.example FAIL\n\
         _dmarc.example.org TXT v=DMARC1; p=reject\n\
         example.org TXT v=spf1 ip4:192.0.2.0/24 -all\n\
         broken.example FAIL\n\
         nomail.example MX 0 .\n"
    )
}

pub fn mail(id: &str, from: &str, subject: &str, body: &str) -> String {
    format!(
        "From: {from}\nTo: {LIST}\nSubject: {subject}\nDate: Mon, 01 Jan 2024 10:00:00 +0000\nMessage-ID: <{id}>\n\n{body}"
    )
}

const ANA: &str = "Ana Lima <ana@example.org>";

#[test]
fn pages_say_who_is_authenticated() {
    let site = Site::start(&[]);
    let plain = mail("plain@x", ANA, "plain", "text\n");
    site.send(plain.as_bytes());
    assert_eq!(site.said("plain@x"), "not authenticated");
    site.send(&site.sign(&mail("signed@x", ANA, "signed", "text\n")));
    assert_eq!(site.said("signed@x"), "authenticated: DKIM example.org");
    let changed = site.sign(&mail("changed@x", ANA, "changed", "text\n"));
    let changed = String::from_utf8(changed).unwrap().replace("text", "next");
    site.send(changed.as_bytes());
    assert_eq!(site.said("changed@x"), "not authenticated");
    let stranger = mail("stranger@x", "Ana <ana@elsewhere.example>", "s", "text\n");
    site.send(&site.sign(&stranger));
    assert_eq!(
        site.said("stranger@x"),
        "not authenticated: DKIM passes for example.org only"
    );
    let mut broken = wish(
        mail("broken@x", "b@broken.example", "b", "text\n").as_bytes(),
        "relaxed",
        &[],
    );
    broken["domain"] = json!("broken.example");
    site.send(&sign(&site.key, &[broken])[0]);
    assert_eq!(
        site.said("broken@x"),
        "not authenticated: DNS gave no answer"
    );
    // DMARC's rule: the organisation's other names are as good, as its record does not say otherwise.
    let mut sub = wish(
        mail("sub@x", ANA, "sub", "text\n").as_bytes(),
        "relaxed",
        &[],
    );
    sub["domain"] = json!("mail.example.org");
    site.send(&sign(&site.key, &[sub])[0]);
    assert_eq!(site.said("sub@x"), "authenticated: DKIM mail.example.org");
    // A second signature that does not hold does no harm.
    let twice = site.sign(&mail("twice@x", ANA, "twice", "text\n"));
    let junk =
        b"DKIM-Signature: v=1; a=rsa-sha256; d=example.org; s=other; h=from; bh=AAAA; b=AAAA\r\n";
    site.send(&[junk.as_slice(), &twice].concat());
    assert_eq!(site.said("twice@x"), "authenticated: DKIM example.org");
}

#[test]
fn bodies_that_end_in_blank_lines_verify_in_both_canonical_forms() {
    let site = Site::start(&[]);
    let bodies = [
        "text\n",
        "text\n-- \n2.47.3\n\n",
        "text\n-- \n",
        "text\n \n",
        "text\n\n \n\t\n\n",
        " \n",
    ];
    let forms = ["relaxed", "simple"];
    let mut wishes = Vec::new();
    for form in forms {
        for (n, body) in bodies.iter().enumerate() {
            let mail = mail(&format!("{form}{n}@x"), ANA, "blank", body);
            wishes.push(wish(mail.as_bytes(), form, &[]));
        }
    }
    for signed in sign(&site.key, &wishes) {
        let reply = site.server.send(&[LIST], &signed);
        assert!(reply.starts_with("250"), "{reply}");
    }
    site.server.drain();
    for form in forms {
        for n in 0..bodies.len() {
            let id = format!("{form}{n}@x");
            assert_eq!(site.said(&id), "authenticated: DKIM example.org", "{id}");
        }
    }
}

#[test]
fn a_silent_dns_server_is_no_reason_to_refuse() {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let site = Site::start(&[
        ("PATCHPOST_DNS_ZONE", ""),
        ("PATCHPOST_DNS_SERVERS", &address),
        ("PATCHPOST_DNS_TIMEOUT", "1"),
    ]);
    site.send(&site.sign(&mail("a@x", ANA, "a", "text\n")));
    assert_eq!(site.said("a@x"), "not authenticated: DNS gave no answer");
    let told = doctor(&site.server);
    assert!(told.contains("BAD  dns: "), "{told}");
    let fine = Site::start(&[]);
    let told = doctor(&fine.server);
    assert!(
        told.contains("ok   dns: answers out of the zone file"),
        "{told}"
    );
}

#[test]
fn the_word_of_the_server_in_front_counts_by_lmtp_alone() {
    let site = Site::start(&[("PATCHPOST_AUTH_TRUSTED_AUTHSERV_ID", "mx.example.org")]);
    let results = "Authentication-Results: mx.example.org; dmarc=pass header.from=example.org\n";
    let by_lmtp = |id: &str, results: &str| {
        let text = format!("{results}{}", mail(id, ANA, id, "text\n"));
        let mut lmtp = Smtp::connect(&site.server.addresses["lmtp"]);
        assert!(lmtp.say("LHLO mx.example.org").starts_with("250"));
        let (reply, _) = lmtp.send("ana@example.org", &[LIST], text.as_bytes());
        assert!(reply.starts_with("250"), "{reply}");
        site.server.drain();
        site.said(id)
    };
    assert_eq!(
        by_lmtp("l1@x", results),
        "authenticated: the mail server in front example.org"
    );
    assert_eq!(
        by_lmtp("l2@x", &results.replace("mx.", "other.")),
        "not authenticated"
    );
    assert_eq!(by_lmtp("l3@x", ""), "not authenticated");
    let smtp = format!("{results}{}", mail("s@x", ANA, "s", "text\n"));
    site.send(smtp.as_bytes());
    assert_eq!(site.said("s@x"), "not authenticated");
}

fn the_best_copy_is_served(database: Option<String>) {
    let url = database.unwrap_or_default();
    let site = Site::start(&[("PATCHPOST_DATABASE_URL", &url)]);
    let text = |id: &str| mail(id, ANA, "two ways", "text\n");
    // The same mail by two ways, of which one broke the signature; both orders.
    for (id, sound_first) in [("first@x", true), ("second@x", false)] {
        let sound = site.sign(&text(id));
        let bare = format!("X-Relay: other\r\n{}", text(id));
        let (one, two) = match sound_first {
            true => (sound.clone(), bare.into_bytes()),
            false => (bare.into_bytes(), sound.clone()),
        };
        site.send(&one);
        site.send(&two);
        assert_eq!(site.said(id), "authenticated: DKIM example.org", "{id}");
        let served = site.server.get(&format!("/dev/{id}/eml"));
        assert_eq!(served.status, 200);
        assert_eq!(served.text(), String::from_utf8(sound).unwrap(), "{id}");
        let found = site.server.page("/dev/?q=two+ways");
        assert!(found.contains(id), "still found: {found}");
    }
    let list = site.server.json(&["list", "show", "dev"]);
    assert_eq!(list["postings"], json!(2), "a copy is no posting");
}

#[test]
fn the_best_authenticated_copy_is_served_on_sqlite() {
    the_best_copy_is_served(None);
}

#[test]
fn the_best_authenticated_copy_is_served_on_postgresql() {
    the_best_copy_is_served(Some(super::postgres::new_database()));
}

#[test]
fn spf_is_asked_where_the_client_is_known() {
    let folder = tempfile::tempdir().unwrap();
    let zone = folder.path().join("zone");
    let records = "example.org TXT v=spf1 ip4:192.0.2.0/24 -all\nbroken.example FAIL\n";
    std::fs::write(&zone, records).unwrap();
    let dns = Dns::open(&Source::Zone(zone), Duration::from_secs(5));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _entered = runtime.enter();
    let dns = dns.unwrap();
    let check = |ip: &str, sender: &str, from: &str, expected: &str| {
        let text = mail("a@x", from, "a", "text\n").replace('\n', "\r\n");
        let client = Client {
            ip: ip.parse().unwrap(),
            helo: "client.example".to_owned(),
            sender: sender.to_owned(),
            hostname: "here.example".to_owned(),
        };
        let bytes = Arc::new(text.clone().into_bytes());
        let facts = runtime.block_on(dns.facts(bytes, Some(client)));
        let message = patchpost::mail::parse(text.as_bytes());
        let verdict = verdict::judge(&message, facts);
        assert_eq!(verdict.words(), expected, "{ip} {sender} {from}");
        verdict
    };
    let sound = check(
        "192.0.2.7",
        "ana@example.org",
        ANA,
        "authenticated: SPF example.org",
    );
    assert_eq!(sound.level, Level::Aligned);
    let eve = "Eve <eve@evil.example>";
    check(
        "192.0.2.7",
        "ana@example.org",
        eve,
        "not authenticated: SPF passes for example.org only",
    );
    let failed = check("198.51.100.1", "ana@example.org", ANA, "not authenticated");
    assert_eq!(failed.spf.unwrap().outcome, Outcome::Fail);
    check(
        "192.0.2.7",
        "b@broken.example",
        "b@broken.example",
        "not authenticated: DNS gave no answer",
    );
    check(
        "192.0.2.7",
        "c@nowhere.example",
        "c@nowhere.example",
        "not authenticated",
    );
    // This machine and its own network are nobody's outside.
    let inside = check("127.0.0.1", "ana@example.org", ANA, "not authenticated");
    assert_eq!(inside.spf, None);
}
