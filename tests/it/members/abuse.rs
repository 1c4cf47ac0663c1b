//! What strangers try: floods, foreign words in our mail, mail that bounces between machines, old signatures, kills.

use super::super::dkim::{Key, wish};
use super::super::harness::{Copy, Database, Sink, Smtp, TestServer, on_both, report, size};
use super::super::identity::sign;
use super::{LIST, field, letter, members, start};

on_both! {
    ten_thousand_requests_for_one_address_give_three_mails,
    nothing_of_a_stranger_stands_in_our_mail,
    what_was_answered_250_is_done_once_whatever_is_killed,
}

/// Five lists, one mailbox in many spellings.
fn ten_thousand_requests_for_one_address_give_three_mails(database: Database) {
    let sink = Sink::start();
    let server = start(database, &sink);
    let mut to = Vec::new();
    for n in 0..5 {
        let address = format!("list{n}@lists.example.org");
        server.cli(&["list", "create", &format!("list{n}"), "--address", &address]);
        to.push(address.replace('@', "+subscribe@"));
    }
    let to: Vec<&str> = to.iter().map(String::as_str).collect();
    let mails = [200, 2_000, 2_000][size() - 1];
    let mut smtp = Smtp::connect(&server.addresses["smtp"]);
    for n in 0..mails {
        let victim = format!("v.ictim+{n}@gmail.com");
        let mail = format!("From: {victim}\nMessage-ID: <{n}@flood>\n\nx\n");
        let (reply, _) = smtp.send(&victim, &to, mail.as_bytes());
        assert!(reply.starts_with("250"), "{reply}");
    }
    // What comes after it has come through.
    swaks_and_wait(&server, &sink);
    let victims: Vec<Copy> = sink
        .all()
        .into_iter()
        .filter(|c| c.recipients[0].contains("gmail"))
        .collect();
    assert_eq!(victims.len(), 3, "of {} requests", mails * 5);
    let mut lists: Vec<String> = victims
        .iter()
        .map(|c| field(&String::from_utf8_lossy(&c.bytes), "List-Id").unwrap())
        .collect();
    lists.sort();
    lists.dedup();
    assert_eq!(lists.len(), 3, "one a list: {lists:?}");
    report(&format!(
        "{} subscribe requests for one address: 3 mails",
        mails * 5
    ));
}

fn swaks_and_wait(server: &TestServer, sink: &Sink) {
    super::swaks(
        server,
        "last@example.org",
        "dev+subscribe@lists.example.org",
        "x",
    );
    letter(server, sink, "last@example.org", 1);
}

fn nothing_of_a_stranger_stands_in_our_mail(database: Database) {
    let sink = Sink::start();
    let server = start(database, &sink);
    let mut smtp = Smtp::connect(&server.addresses["smtp"]);
    let hostile = "From: =?utf-8?q?BUY-NOW=0D=0ABcc:_eve@example.org=0D=0A=0D=0A?= <ana@example.org>\n\
        Subject: =?utf-8?q?BUY-NOW=0D=0ABcc:_eve@example.org?= BUY-NOW\n\
        Message-ID: <BUY-NOW\"\u{7f}@x y>\nReferences: <BUY-NOW> <\u{e9}BUY-NOW@x>\nReply-To: eve@example.org\n\
        X-Loop: BUY-NOW\n\nBUY-NOW http://eve.example.org/\n";
    let (reply, _) = smtp.send(
        "ana@example.org",
        &["dev+subscribe@lists.example.org"],
        hostile.as_bytes(),
    );
    assert!(reply.starts_with("250"), "{reply}");
    let asked = letter(&server, &sink, "ana@example.org", 1);
    assert!(!asked.contains("BUY") && !asked.contains("eve"), "{asked}");
    let names: Vec<&str> = asked
        .split("\r\n\r\n")
        .next()
        .unwrap()
        .lines()
        .filter_map(|l| l.split_once(": "))
        .map(|f| f.0)
        .collect();
    assert!(
        !names.iter().any(|n| ["Bcc", "Cc"].contains(n)),
        "{names:?}"
    );
    assert_eq!(field(&asked, "To").as_deref(), Some("ana@example.org"));
    // An address that would be a second field, or a second recipient.
    for odd in [
        "<a,b@example.org>",
        "\"a b\"@example.org",
        "a(b)@example.org",
        "\"a\\nBcc: b\"@example.org",
    ] {
        let mail = format!("From: {odd}\nMessage-ID: <odd{}@x>\n\nx\n", odd.len());
        let (reply, _) = smtp.send(
            "ana@example.org",
            &["dev+subscribe@lists.example.org"],
            mail.as_bytes(),
        );
        assert!(reply.starts_with("550"), "{odd}: {reply}");
    }
    swaks_and_wait(&server, &sink);
    assert_eq!(sink.all().len(), 2);
}

/// A server whose zone knows the keys of example.org, and that strict.example wants unsigned mail refused.
pub(super) fn start_with_keys(sink: &Sink) -> (TestServer, Key, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let key = Key::make(folder.path());
    let zone = folder.path().join("zone");
    let text = format!(
        "s._domainkey.example.org TXT {}\n_dmarc.strict.example TXT v=DMARC1; p=reject\n",
        key.record
    );
    std::fs::write(&zone, text).unwrap();
    let server = TestServer::start_with(&[
        ("PATCHPOST_DNS_ZONE", &zone.display().to_string()),
        ("PATCHPOST_DELIVERY_TRANSPORT", "smtp"),
        ("PATCHPOST_DELIVERY_RELAY", &sink.address),
    ]);
    server.cli(&["list", "create", "dev", "--address", LIST]);
    (server, key, folder)
}

pub(super) fn now() -> String {
    patchpost::store::now().rfc5322()
}

/// Machines' mail, forged mail, and mail in anothers' name: nobody is written to.
#[test]
fn nobody_is_written_to_because_of_a_forged_or_automatic_mail() {
    let sink = Sink::start();
    let (server, key, _folder) = start_with_keys(&sink);
    server.cli(&[
        "list",
        "create",
        "other",
        "--address",
        "other@lists.example.org",
    ]);
    server.cli(&["member", "add", "dev", "victim@example.org"]);
    let mut n = 0;
    let mut check = |protocol: &str, sender: &str, head: &str, expected: &str| {
        for word in ["subscribe", "unsubscribe", "nomail", "help"] {
            n += 1;
            let mail = format!("{head}\nMessage-ID: <{n}@r>\n\nx\n");
            let mut smtp = Smtp::connect(&server.addresses[protocol]);
            if protocol == "lmtp" {
                smtp.say("LHLO client.example");
            }
            let to = format!("dev+{word}@lists.example.org");
            let (reply, _) = smtp.send(sender, &[&to], mail.as_bytes());
            assert!(reply.starts_with(expected), "{head} to {word}: {reply}");
        }
    };
    let victim = "From: victim@example.org";
    check("smtp", "", victim, "550 5.7.1");
    check(
        "smtp",
        "victim@example.org",
        &format!("{victim}\nAuto-Submitted: auto-replied"),
        "250",
    );
    check(
        "smtp",
        "victim@example.org",
        &format!("{victim}\nPrecedence: bulk"),
        "250",
    );
    check(
        "smtp",
        "victim@example.org",
        &format!("{victim}\nList-Id: <x.y>"),
        "250",
    );
    check(
        "smtp",
        "mailer-daemon@example.org",
        "From: mailer-daemon@example.org",
        "250",
    );
    check(
        "smtp",
        "other@lists.example.org",
        "From: other@lists.example.org",
        "250",
    );
    check("smtp", "eve@example.net", victim, "550 5.7.1");
    check("lmtp", "eve@example.net", victim, "250");
    // Signed by somebody else, and the author's domain wants such mail refused (DMARC).
    for (protocol, expected) in [("smtp", "550 5.7.26"), ("lmtp", "250")] {
        let to = "dev+subscribe@lists.example.org";
        let mail = format!(
            "From: eve@strict.example\nTo: {to}\nDate: {}\nSubject: s\nMessage-ID: <{protocol}@d>\n\nx\n",
            now()
        );
        let mail = sign(&key, &[wish(mail.as_bytes(), "relaxed", &[])]).remove(0);
        let mut smtp = Smtp::connect(&server.addresses[protocol]);
        if protocol == "lmtp" {
            smtp.say("LHLO client.example");
        }
        let (reply, _) = smtp.send("eve@strict.example", &[to], &mail);
        assert!(reply.starts_with(expected), "{protocol}: {reply}");
    }
    swaks_and_wait(&server, &sink);
    assert_eq!(sink.all().len(), 1, "only who asked for himself");
    assert_eq!(members(&server), ["victim@example.org"]);
    let mail = &server.json(&["member", "ls", "dev"])[0]["mail"];
    assert_eq!(mail, true);
}

/// What the member's own domain signed for this address is done at once; the same signature elsewhere is worth nothing.
#[test]
fn a_signed_command_is_done_at_once_and_a_replayed_mail_is_not() {
    let sink = Sink::start();
    let (server, key, _folder) = start_with_keys(&sink);
    server.cli(&["member", "add", "dev", "ana@example.org"]);
    let mail_of = || server.json(&["member", "ls", "dev"])[0]["mail"].clone();
    let signed = |to: &str, id: &str, date: &str| {
        let mail = format!(
            "From: Ana <ana@example.org>\nTo: {to}\nSubject: s\nDate: {date}\nMessage-ID: <{id}@example.org>\n\nplease\n"
        );
        sign(&key, &[wish(mail.as_bytes(), "relaxed", &[])]).remove(0)
    };
    let send = |to: &str, mail: &[u8]| {
        let mut smtp = Smtp::connect(&server.addresses["smtp"]);
        let (reply, _) = smtp.send("ana@example.org", &[to], mail);
        assert!(reply.starts_with("250"), "{to}: {reply}");
    };
    let to = |word: &str| format!("dev+{word}@lists.example.org");
    send(&to("nomail"), &signed(&to("nomail"), "1", &now()));
    assert_eq!(mail_of(), false);
    let told = letter(&server, &sink, "ana@example.org", 1);
    assert!(told.contains("gets no more copies"), "{told}");
    assert_eq!(
        field(&told, "In-Reply-To").as_deref(),
        Some("<1@example.org>")
    );
    send(&to("mail"), &signed(&to("mail"), "2", &now()));
    assert_eq!(mail_of(), true);
    letter(&server, &sink, "ana@example.org", 2);

    // A post that she signed, sent again to a command: she is asked, nothing is done.
    let post = signed(LIST, "3", &now());
    send(&to("unsubscribe"), &post);
    let asked = letter(&server, &sink, "ana@example.org", 3);
    assert!(
        field(&asked, "Subject").unwrap().contains("leave the list"),
        "{asked}"
    );
    assert_eq!(members(&server).len(), 1);
    // An old command of hers, kept by somebody.
    let old = patchpost::store::now().plus_secs(-10 * 86_400).rfc5322();
    send(&to("unsubscribe"), &signed(&to("unsubscribe"), "4", &old));
    assert_eq!(members(&server).len(), 1);
    // A signed one with an address put on top of what was signed.
    let more = [
        format!("To: {}\r\n", to("unsubscribe")).as_bytes(),
        &signed(LIST, "5", &now()),
    ]
    .concat();
    send(&to("unsubscribe"), &more);
    assert_eq!(members(&server).len(), 1);

    send(&to("help"), &signed(&to("help"), "6", &now()));
    let help = letter(&server, &sink, "ana@example.org", 4);
    assert!(help.contains("dev+nomail@lists.example.org"), "{help}");
    let leave = signed(&to("unsubscribe"), "7", &now());
    send(&to("unsubscribe"), &leave);
    assert!(members(&server).is_empty());
    // The same mail again does nothing again.
    server.cli(&["member", "add", "dev", "ana@example.org"]);
    send(&to("unsubscribe"), &leave);
    assert_eq!(members(&server).len(), 1);
}

/// On PostgreSQL other processes may be at work: what the killed one had claimed is sent when the claim runs out, here at once.
fn let_claims_run_out(server: &TestServer) {
    let url = server.variable("PATCHPOST_DATABASE_URL");
    if url.is_empty() {
        return;
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        sqlx::any::install_default_drivers();
        let options = sqlx::any::AnyPoolOptions::new().max_connections(1);
        let pool = options.connect(&url).await.unwrap();
        sqlx::query("update letter set claimed_until = 0 where state = 1")
            .execute(&pool)
            .await
            .unwrap();
    });
}

/// Each command is sent and the server killed as soon as it has answered.
fn what_was_answered_250_is_done_once_whatever_is_killed(database: Database) {
    let sink = Sink::start();
    let mut server = start(database, &sink);
    let subscribe = b"From: ana@example.org\nMessage-ID: <k1@x>\n\nx\n";
    let send = |server: &TestServer, to: &str, mail: &[u8]| {
        let reply = server.send(&[to], mail);
        assert!(reply.starts_with("250"), "{to}: {reply}");
    };
    send(&server, "dev+subscribe@lists.example.org", subscribe);
    server.kill();
    let_claims_run_out(&server);
    server.launch();
    let asked = letter(&server, &sink, "ana@example.org", 1);
    let reply_to = field(&asked, "Reply-To").unwrap();
    // A mail server that did not hear the answer sends it again.
    send(&server, "dev+subscribe@lists.example.org", subscribe);
    let confirm = b"From: ana@example.org\nMessage-ID: <k2@x>\n\nx\n";
    send(&server, &reply_to, confirm);
    server.kill();
    let_claims_run_out(&server);
    server.launch();
    assert_eq!(members(&server), ["ana@example.org"]);
    let known = |copy: &Copy| String::from_utf8_lossy(&copy.bytes).contains("Welcome");
    server.wait_for("the welcome", || sink.all().iter().any(known).then_some(()));
    server.cli(&["member", "rm", "dev", "ana@example.org"]);
    send(&server, &reply_to, confirm);
    assert!(members(&server).is_empty(), "once is once");
    swaks_and_wait(&server, &sink);
    let mut ids: Vec<String> = sink
        .all()
        .iter()
        .map(|c| field(&String::from_utf8_lossy(&c.bytes), "Message-ID").unwrap())
        .collect();
    ids.sort();
    // A letter may be sent twice if the kill came while it was on its way; it is the same letter.
    ids.dedup();
    assert_eq!(ids.len(), 3, "asked, welcomed, and the last one");
}
