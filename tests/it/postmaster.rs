//! Mail for the people who run the site, and from senders with long return paths.

use super::harness::{Database, Sink, Smtp, TestServer, on_both};
use super::identity::{Site, mail};

on_both! {
    mail_for_the_postmaster_reaches_the_operator,
    mail_to_the_people_who_run_a_list_reaches_the_operator_whole,
}

/// RFC 5321 section 4.5.1: with and without a domain, bounces too.
fn mail_for_the_postmaster_reaches_the_operator(database: Database) {
    let sink = Sink::start();
    let server = TestServer::start_on_with(
        database,
        &[
            ("PATCHPOST_DELIVERY_TRANSPORT", "smtp"),
            ("PATCHPOST_DELIVERY_RELAY", &sink.address),
            ("PATCHPOST_SITE_HOSTNAME", "mx.x.org"),
            ("PATCHPOST_SITE_OPERATOR", "Olga@example.org"),
        ],
    );
    server.cli(&["list", "create", "dev", "--address", "dev@lists.x.org"]);
    let mut smtp = Smtp::connect(&server.addresses["smtp"]);
    for (n, recipient) in [
        "postmaster",
        "Postmaster@lists.x.org",
        "postmaster@MX.x.org",
        "abuse@lists.x.org",
        "root@lists.x.org",
    ]
    .iter()
    .enumerate()
    {
        let mail = format!(
            "From: a@b.c\nMessage-ID: <{n}@x>\nContent-Type: text/html\n\n<p>trouble {n}\n"
        );
        let sender = if n == 0 { "" } else { "a@b.c" };
        let (reply, _) = smtp.send(sender, &[recipient], mail.as_bytes());
        assert!(reply.starts_with("250"), "{recipient}: {reply}");
    }
    let (reply, _) = smtp.send("a@b.c", &["postmaster@elsewhere.org"], b"x: y\n\nz\n");
    assert!(reply.starts_with("550 5.1.1"), "no relay: {reply}");
    server.wait_for("the operator's copies", || {
        (sink.all().len() == 5).then_some(())
    });
    server.drain();
    assert!(
        sink.all()
            .iter()
            .all(|c| c.bytes.windows(7).any(|w| w == b"trouble"))
    );
    let members = server.json(&["member", "ls", "postmaster"]);
    assert_eq!(members[0]["address"], "olga@example.org");
    assert_eq!(
        server.get("/postmaster/").status,
        404,
        "nothing of it is public"
    );
}

fn mail_to_the_people_who_run_a_list_reaches_the_operator_whole(database: Database) {
    let server = TestServer::start_on(database);
    server.cli(&["list", "create", "dev", "--address", "dev@x.org"]);
    let recipients = ["dev+owner@x.org", "dev-owner@x.org", "dev-bounces@x.org"];
    for (n, recipient) in recipients.iter().enumerate() {
        let mail = format!("From: a@b.c\nMessage-ID: <{n}@x>\n\nplease {n}\n");
        let reply = server.send(&[recipient], mail.as_bytes());
        assert!(reply.starts_with("250"), "{recipient}: {reply}");
    }
    let reply = server.send(&["dev+b-aaaaaaaaaaaaaaaa@x.org"], b"From: a@b.c\n\nx\n");
    assert!(reply.starts_with("550 5.1.1"), "no token of ours: {reply}");
    server.drain();
    let path = server.dir.path().join("asked.mbox").display().to_string();
    server.cli(&["export", "postmaster", &path, "--format", "mbox"]);
    let text = std::fs::read_to_string(path).unwrap();
    for n in 0..recipients.len() {
        assert!(text.contains(&format!("please {n}\n")), "{n}: {text}");
    }
    assert_eq!(server.json(&["list", "show", "dev"])["postings"], 0);
}

/// VERP and SRS return paths carry a whole address in their local part.
#[test]
fn a_sender_may_be_longer_than_a_member() {
    let server = TestServer::start();
    server.cli(&["list", "create", "dev", "--address", "dev@x.org"]);
    let local = format!("SRS0=HHH=TT=example.org={}", "a".repeat(80));
    let mut smtp = Smtp::connect(&server.addresses["smtp"]);
    let mail = b"From: a@b.c\nMessage-ID: <1@x>\n\nx\n";
    let (reply, _) = smtp.send(&format!("{local}@relay.example"), &["dev@x.org"], mail);
    assert!(reply.starts_with("250"), "{reply}");
    let far = format!("{}@relay.example", "a".repeat(250));
    assert!(
        smtp.say(&format!("MAIL FROM:<{far}>"))
            .starts_with("501 5.1.7")
    );
    let said = server.cli_fails(&["member", "add", "dev", &format!("{local}@relay.example")]);
    assert!(said.contains("1 to 64 characters"), "{said}");
}

/// Moderators get what is written to the people who run their list, once nobody can have written it in another's name.
#[test]
fn signed_mail_to_the_people_who_run_a_list_reaches_its_moderators() {
    let site = Site::start(&[]);
    let server = &site.server;
    let ben = "ben@example.org=reply,post,moderate";
    server.cli(&["policy", "set", "dev", "--person", ben]);
    let to = "dev+owner@lists.example.org";
    let asks = |id: &str, text: &str| {
        mail(id, "Ana <ana@example.org>", "Please", text)
            .replace(
                "Mon, 01 Jan 2024 10:00:00 +0000",
                &patchpost::store::now().rfc5322(),
            )
            .replace("dev@lists.example.org", to)
    };
    let copies = |word: &str| {
        let files = std::fs::read_dir(server.data().join("outbox"));
        let files = files.into_iter().flatten();
        let texts = files.filter_map(|f| std::fs::read_to_string(f.unwrap().path()).ok());
        let all: Vec<String> = texts.filter(|t| t.contains(word)).collect();
        all
    };
    let forged = asks("forged@x", "in her name\n");
    assert!(server.send(&[to], forged.as_bytes()).starts_with("250"));
    let signed = site.sign(&asks("signed@x", "a word of hers\n"));
    assert!(server.send(&[to], &signed).starts_with("250"));
    let copy = server.wait_for("the moderator's mail", || copies("a word of hers").pop());
    let signed = String::from_utf8(signed).unwrap().replace("\r\n", "\n");
    assert!(
        copy.replace("\r\n", "\n").contains(signed.trim_end()),
        "{copy}"
    );
    // A moderator's address that leads back here makes no circle.
    let back = server.send(&[to], copy.as_bytes());
    assert!(!back.starts_with("250"), "{back}");
    assert_eq!(copies("a word of hers").len(), 1);
    assert_eq!(copies("in her name").len(), 0);
}
