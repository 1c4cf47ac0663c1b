//! What an author signed outlives the whole way: a real Postfix in front, patchpost, and a real Postfix behind.
//! Checked on what arrives there, by dkimpy and by a DMARC implementation of others.

mod stories;

use std::net::TcpStream;

use serde_json::Value;

use super::dkim::{self, Key, LIST, MEMBERS, PATCH, wish};
use super::harness::{Copy, Sink, Smtp, TestServer, free_port, report, size};
use super::postfix::{Postfix, printed};
use super::signing::{Dice, POLICY, all_verify, records, variation};

const MIME: &str = "MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n";

/// Fields that [`variation`] makes, beyond the usual ones; where they are not in a mail, they are signed as absent.
const ODD: [&str; 8] = [
    "x-odd",
    "x-tab",
    "x-empty",
    "x-case",
    "x-folded",
    "user-agent",
    "reply-to",
    "sender",
];

/// The fifteen shapes of mail by which list servers were measured: of Mailman's default list none survived.
fn fifteen() -> Vec<(&'static str, Vec<u8>)> {
    let eight = format!("{MIME}Content-Transfer-Encoding: 8bit\n");
    let base64 = format!("{MIME}Content-Transfer-Encoding: base64\n");
    let quoted = format!("{MIME}Content-Transfer-Encoding: quoted-printable\n");
    let umlauts = PATCH.replace("Make it so", "Zażółć gęślą jaźń — 日本語");
    let encode = |text: &str| {
        let text = data_encoding::BASE64.encode(text.as_bytes());
        let lines = text.as_bytes().chunks(76).map(String::from_utf8_lossy);
        lines.map(|line| format!("{line}\n")).collect::<String>()
    };
    let people: Vec<String> = (0..30)
        .map(|n| format!("\"Person {n}, Dr.\" <p{n}@example.org>"))
        .collect();
    let long_cc = format!("Cc: {}\n", people.join(",\n "));
    let mixed = "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=\"b1\"\n";
    let parts = format!(
        "preamble\n\n--b1\nContent-Type: text/plain\n\nhi\n--b1\nContent-Type: text/x-patch; name=\"0001.patch\"\n\
         Content-Disposition: attachment\n\n{PATCH}\n--b1--\nepilogue\n"
    );
    let pgp = "MIME-Version: 1.0\nContent-Type: multipart/signed; micalg=\"pgp-sha512\";\n\
               \tprotocol=\"application/pgp-signature\"; boundary=\"s1\"\n";
    let signed = format!(
        "--s1\nContent-Type: text/plain; charset=us-ascii\nContent-Disposition: inline\n\n{PATCH}\n--s1\n\
         Content-Type: application/pgp-signature; name=\"signature.asc\"\n\n-----BEGIN PGP SIGNATURE-----\nabc\n-----END PGP SIGNATURE-----\n\n--s1--\n"
    );
    let folded = "Subject: =?UTF-8?q?=5BPATCH=5D=20z=C5=BC=C3=B3=C5=82?=\n =?UTF-8?q?=20folded=20long=20subject=20line=20that=20goes=20on?=\n";
    let raw = format!("Subject: [PATCH] żółć raw utf8 subject\n{eight}");
    let from_line = PATCH.replace("Make it so", "From the start of a line\nFrom x");
    let crlf_inside = encode(&PATCH.replace("int", "\r\nint"));
    let long_line = format!("{PATCH}+{}\n", "x".repeat(950));
    let odd = "Subject: [PATCH]  two  spaces\nX-Odd:    two   spaces  \n";
    let flowed =
        "MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8; format=flowed; delsp=yes\n";
    let member = "Cc: Some Body <ben@example.com>, other@example.org\n";
    let soft = "Za=C5=BC=C3=B3=C5=82=C4=87 g=C4=99=C5=9Bl=C4=85 =\nja=C5=BA=C5=84 =20\n---\ndiff --git a/f b/f\n--- a/f\n+++ b/f\n@@ -1 +1 @@\n-a\n+b=09\n";
    let all: [(&str, &str, &str); 15] = [
        ("plain7", "", PATCH),
        ("mime8bit", &eight, &umlauts),
        ("qp", &quoted, soft),
        ("b64", &base64, &encode(&umlauts)),
        ("rawsubj8", &raw, &umlauts),
        ("encsubj", folded, PATCH),
        ("ccmember", member, PATCH),
        ("longcc", &long_cc, PATCH),
        ("fromline", "", &from_line),
        ("crlf-in-diff", &base64, &crlf_inside),
        ("multipart", mixed, &parts),
        ("pgpsigned", pgp, &signed),
        ("format-flowed", flowed, "long \nflowed \ntext\n"),
        ("longline", &eight, &long_line),
        ("oddspace", odd, PATCH),
    ];
    all.iter()
        .map(|(name, fields, body)| (*name, dkim::mail(name, fields, body)))
        .collect()
}

/// patchpost between two Postfixes that `print postfix` has set up, and what they end in.
struct Road {
    front: Postfix,
    _behind: Postfix,
    server: TestServer,
    sink: Sink,
    key: Key,
    _folder: tempfile::TempDir,
}

impl Road {
    /// Everybody knows the author's key, and that his domain wants unsigned mail refused.
    fn build() -> Road {
        Road::build_with(&[])
    }

    fn build_with(more: &[(&str, &str)]) -> Road {
        // The strictest destination: it does not say that it takes eight bits.
        let sink = Sink::start_without_8bit();
        let folder = tempfile::tempdir().unwrap();
        let key = Key::make(folder.path());
        let zone = folder.path().join("zone");
        let records = format!(
            "s._domainkey.example.org TXT {}\n_dmarc.example.org TXT {POLICY}\n",
            key.record
        );
        std::fs::write(&zone, records).unwrap();
        let behind_port = free_port();
        let relay = format!("127.0.0.1:{behind_port}");
        let mut environment = vec![
            ("PATCHPOST_DELIVERY_TRANSPORT", "smtp"),
            ("PATCHPOST_DELIVERY_RELAY", &relay),
            ("PATCHPOST_DNS_ZONE", zone.to_str().unwrap()),
            ("PATCHPOST_SITE_HOSTNAME", "mx.example.org"),
            ("PATCHPOST_SITE_DOMAIN", "lists.example.org"),
        ];
        environment.extend(more);
        let server = TestServer::start_with(&environment);
        server.cli(&["list", "create", "dev", "--address", LIST]);
        server.cli(&[&["member", "add", "dev"][..], &MEMBERS].concat());
        server.cli(&["dkim", "rotate", "lists.example.org"]);
        let settings = printed(&server);
        let behind = Postfix::start(behind_port, &settings, &sink);
        let front_port = free_port();
        let front = Postfix::start(front_port, &settings, &sink);
        for postfix in [&front, &behind] {
            server.wait_for("Postfix to listen", || {
                TcpStream::connect(&postfix.address).ok()
            });
        }
        Road {
            front,
            _behind: behind,
            server,
            sink,
            key,
            _folder: folder,
        }
    }

    /// Every member's copy of each signed mail: the bytes are those that were sent, all signatures hold, DMARC passes for the author.
    #[track_caller]
    fn send(&self, wishes: &[Value]) -> usize {
        self.sink.mails.lock().unwrap().clear();
        let sent = self.key.sign(wishes);
        let mut smtp = Smtp::connect(&self.front.address);
        for mail in &sent {
            let (reply, _) = smtp.send("ana@example.org", &[LIST], mail);
            assert!(reply.starts_with("250"), "{reply}");
        }
        let by_id = dkim::copies(&self.server, &self.sink, &sent);
        for mail in &sent {
            for copy in &by_id[&dkim::message_id(mail)] {
                let shown = String::from_utf8_lossy(&copy.bytes);
                assert!(copy.bytes.ends_with(mail), "it was changed:\n{shown}");
            }
        }
        let copies: Vec<Copy> = by_id.into_values().flatten().collect();
        all_verify(&records(&self.server, &self.key), &copies);
        copies.len()
    }

    /// The metrics say of each mail whether its signature outlived us; one that says that there is no `List-Unsubscribe` does not.
    #[track_caller]
    fn counts(&self, sent: i64) {
        let seen = || {
            let names = ["signatures_checked", "signatures_broken", "postings_munged"];
            names.map(|name| self.server.metric(&format!("patchpost_{name}")))
        };
        assert_eq!(seen(), [sent, 0, 0]);
        let broken = dkim::mail("broken", "", PATCH);
        let broken = self
            .key
            .sign(&[wish(&broken, "relaxed", &["list-unsubscribe"])]);
        let mut smtp = Smtp::connect(&self.front.address);
        let (reply, _) = smtp.send("ana@example.org", &[LIST], &broken[0]);
        assert!(reply.starts_with("250"), "{reply}");
        self.server.wait_for("the broken one to be counted", || {
            (seen() == [sent + 1, 1, 1]).then_some(())
        });
    }
}

#[test]
fn the_fifteen_mails_and_signed_variations_reach_every_member_through_postfix_on_both_sides() {
    let count = [40, 150, 300][size() - 1];
    let seed = 20_261_127;
    println!("{count} variations, seed {seed}");
    let road = Road::build();
    let forms = ["relaxed", "simple"];
    let fifteen = fifteen();
    let wishes: Vec<Value> = forms
        .iter()
        .flat_map(|form| fifteen.iter().map(move |(name, mail)| (form, name, mail)))
        .map(|(form, name, mail)| {
            let text = super::tools::to_text(mail);
            let own = text.replace(&format!("<{name}@"), &format!("<{name}.{form}@"));
            wish(&super::tools::from_text(&own), form, &ODD)
        })
        .collect();
    assert_eq!(wishes.len(), 30);
    let known = road.send(&wishes);
    let mut dice = Dice(seed);
    let wishes: Vec<Value> = (0..count)
        .map(|n| wish(&variation(&mut dice, n), forms[n % 2], &ODD))
        .collect();
    let varied = road.send(&wishes);
    road.counts(30 + count as i64);
    report(&format!(
        "Postfix in front and behind: {known} copies of 15 mails signed in two forms and {varied} of {count} variations, all signatures hold"
    ));
}
