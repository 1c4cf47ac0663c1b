//! Commands in the manner of older list programs, addresses that take no mail, one's own posts, and what a domain asks for by LMTP.

use std::collections::BTreeSet;

use super::harness::{Database, Smtp, TestServer, on_both, request};
use super::identity::{LIST, Site, mail};

on_both! {
    an_old_habit_works_at_the_address_for_requests,
    an_address_that_takes_no_mail_does_not_join,
}

const ANA: &str = "Ana Lima <ana@example.org>";
const NOBODY: &str = "x@nomail.example";

fn letters(server: &TestServer, to: &str, words: &str) -> Vec<String> {
    let folder = server.data().join("outbox");
    let files = std::fs::read_dir(folder).into_iter().flatten();
    let texts = files.filter_map(|f| std::fs::read_to_string(f.unwrap().path()).ok());
    let ours = |t: &String| {
        t.contains("Auto-Submitted:") && t.contains(&format!("To: {to}")) && t.contains(words)
    };
    texts.filter(ours).collect()
}

#[track_caller]
fn wait_for_letter(server: &TestServer, to: &str, words: &str) -> String {
    server.wait_for(words, || letters(server, to, words).pop())
}

fn members(server: &TestServer) -> usize {
    server
        .json(&["member", "ls", "dev"])
        .as_array()
        .unwrap()
        .len()
}

/// A mail of today to another address of the list.
fn today(id: &str, subject: &str, to: &str) -> String {
    let now = patchpost::store::now().rfc5322();
    let text = mail(id, ANA, subject, "unsubscribe\n").replace(LIST, to);
    text.replace("Mon, 01 Jan 2024 10:00:00 +0000", &now)
}

fn an_old_habit_works_at_the_address_for_requests(database: Database) {
    let site = Site::start_on(database, &[]);
    let server = &site.server;
    let to = "dev-request@lists.example.org";
    let ask = |id: &str, subject: &str, to: &str| {
        let reply = server.send(&[to], &site.sign(&today(id, subject, to)));
        assert!(reply.starts_with("250"), "{reply}");
    };
    ask("h@x", "what is this?", to);
    wait_for_letter(server, "ana@", "Subject: Help for dev@lists.example.org");
    ask("s@x", "subscribe", to);
    let asked = wait_for_letter(server, "ana@", "Please confirm: join");
    let reply_to = asked
        .lines()
        .find_map(|l| l.strip_prefix("Reply-To: "))
        .unwrap()
        .trim();
    ask("c@x", "Re: Please confirm", reply_to);
    assert_eq!(members(server), 1);
    ask("n@x", "Nomail", "dev+request@lists.example.org");
    assert_eq!(server.json(&["member", "ls", "dev"])[0]["mail"], false);
    let settings = || {
        let member = &server.json(&["member", "ls", "dev"])[0];
        (member["nodupes"].clone(), member["own"].clone())
    };
    assert_eq!(settings(), (serde_json::Value::Null, true.into()));
    for (word, nodupes, own) in [
        ("nodupes", true, true),
        ("noown", true, false),
        ("dupes", false, false),
        ("own", false, true),
    ] {
        let to = format!("dev+{word}@lists.example.org");
        ask(&format!("{word}@x"), "set", &to);
        assert_eq!(settings(), (nodupes.into(), own.into()), "{word}");
    }
    wait_for_letter(server, "ana@", "gets copies of its own mail to");
    ask("again@x", "own", to);
    wait_for_letter(server, "ana@", "It is so already");
    let noted = server.cli(&["events", "dev"]);
    assert_eq!(noted.matches("wants own posts").count(), 1, "{noted}");
    // The word counts in the subject alone, and only what is signed is done at once.
    ask("o@x", "help", to);
    assert_eq!(members(server), 1);
    let forged = today("f@x", "unsubscribe", to).replace(ANA, "Ana <ana@example.net>");
    let reply = server.send(&[to], forged.as_bytes());
    assert!(reply.starts_with("550"), "{reply}");
    assert_eq!(members(server), 1);
    ask("u@x", "unsubscribe dev", to);
    assert_eq!(members(server), 0);
    wait_for_letter(server, "ana@", "left the list");
}

fn an_address_that_takes_no_mail_does_not_join(database: Database) {
    let site = Site::start_on(database, &[]);
    let server = &site.server;
    let to = "dev+subscribe@lists.example.org";
    let text = |who: &str| format!("From: {who}\nTo: {to}\nMessage-ID: <{who}>\n\nx\n");
    let mut smtp = Smtp::connect(&server.addresses["smtp"]);
    let (reply, _) = smtp.send(NOBODY, &[to], text(NOBODY).as_bytes());
    assert!(reply.starts_with("550 5.1.10"), "{reply}");
    // A domain without any record may take mail still.
    let (reply, _) = smtp.send("y@other.example", &[to], text("y@other.example").as_bytes());
    assert!(reply.starts_with("250"), "{reply}");
    let page = server.page("/dev/join/");
    let form = page.split("name=\"form\" value=\"").nth(1).unwrap();
    let form = form.split('"').next().unwrap();
    let post = |address: &str| {
        let body = format!("form={form}&address={}", address.replace('@', "%40"));
        let head = "POST /dev/join/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/x-www-form-urlencoded";
        let text = format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        request(&server.addresses["http"], &text).text()
    };
    let said = post(NOBODY);
    assert!(
        said.contains("nomail.example says that it takes no mail"),
        "{said}"
    );
    assert!(post("z@other.example").contains("is on its way"));
    wait_for_letter(server, "y@other.example", "join the list");
    wait_for_letter(server, "z@other.example", "join the list");
    assert!(letters(server, NOBODY, "").is_empty());
}

/// To whom copies of a mail went.
fn copies(server: &TestServer, word: &str) -> BTreeSet<String> {
    let folder = server.data().join("outbox");
    let files = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .map(|f| f.unwrap().path());
    let mails = files.filter(|p| p.extension().is_some_and(|e| e == "eml"));
    let ours = mails.filter(|p| {
        std::fs::read_to_string(p)
            .unwrap_or_default()
            .contains(word)
    });
    let to = |p: std::path::PathBuf| {
        let text = std::fs::read_to_string(p.with_extension("json")).unwrap();
        let envelope: serde_json::Value = serde_json::from_str(&text).unwrap();
        envelope["recipient"].as_str().unwrap().to_owned()
    };
    ours.map(to).collect()
}

#[test]
fn who_wants_no_copy_of_his_own_posts_gets_none_where_he_is_known_to_have_written() {
    let site = Site::start(&[]);
    let server = &site.server;
    server.cli(&["member", "add", "dev", "ana@example.org", "ben@example.com"]);
    let both = BTreeSet::from(["ana@example.org", "ben@example.com"].map(str::to_owned));
    let post = |id: &str, mail: &[u8], count: usize| {
        assert!(server.send(&[LIST], mail).starts_with("250"));
        server.wait_for("the copies", || {
            (copies(server, id).len() >= count).then_some(())
        });
        server.drain();
        copies(server, id)
    };
    let text = |id: &str| mail(id, ANA, id, "text\n");
    assert_eq!(post("first@x", &site.sign(&text("first@x")), 2), both);
    server.cli(&["member", "set", "dev", "ana@example.org", "--own", "off"]);
    let others = BTreeSet::from(["ben@example.com".to_owned()]);
    assert_eq!(post("second@x", &site.sign(&text("second@x")), 1), others);
    // In her name is not hers: she hears of it.
    assert_eq!(post("third@x", text("third@x").as_bytes(), 2), both);
}

#[test]
fn a_domains_policy_counts_for_unsigned_mail_by_lmtp_where_the_server_in_front_is_believed() {
    for (believed, held) in [("mx.example.org", 1), ("", 0)] {
        let site = Site::start(&[
            ("PATCHPOST_AUTH_TRUSTED_AUTHSERV_ID", believed),
            ("PATCHPOST_LISTS_MODERATION", "strangers"),
        ]);
        site.server
            .cli(&["policy", "set", "dev", "--proof", "from"]);
        // Somebody whom the list knows by name only.
        site.server.cli(&[
            "policy",
            "set",
            "dev",
            "--person",
            "ana@example.org=browse,reply,post",
        ]);
        let mut lmtp = Smtp::connect(&site.server.addresses["lmtp"]);
        assert!(lmtp.say("LHLO mx.example.org").starts_with("250"));
        let text = mail("l1@x", ANA, "hello", "text\n");
        let (reply, _) = lmtp.send("ana@example.org", &[LIST], text.as_bytes());
        assert!(reply.starts_with("250"), "{reply}");
        site.server.drain();
        let all = site.server.json(&["held", "ls", "dev"]);
        assert_eq!(all.as_array().unwrap().len(), held, "{all}");
        if held > 0 {
            let why = all[0]["reason"].as_str().unwrap();
            assert!(why.starts_with("its domain asks for p=reject"), "{why}");
        }
    }
}

#[test]
fn who_mistypes_a_word_hears_which_there_are() {
    let site = Site::start(&[]);
    let server = &site.server;
    let said = |to: &str| {
        let mut smtp = Smtp::connect(&server.addresses["smtp"]);
        let text = format!("From: y@other.example\nMessage-ID: <{to}>\n\nx\n");
        smtp.send("y@other.example", &[to], text.as_bytes()).0
    };
    for word in ["+jion", "-help", "-check"] {
        let said = said(&format!("dev{word}@lists.example.org"));
        let expected = format!("has no address {word}; there are +subscribe");
        assert!(said.contains("5.1.1") && said.contains(&expected), "{said}");
    }
    let said_all = said("dev+jion@lists.example.org");
    for word in ["+dupes", "+own,"] {
        assert!(said_all.contains(word), "{word}: {said_all}");
    }
    let nobody = said("no-help@lists.example.org");
    assert!(nobody.contains("There is no such list here"), "{nobody}");
    assert!(said("dev+join@lists.example.org").starts_with("250"));
    let asked = wait_for_letter(server, "y@other.example", "join the list");
    // Whoever has joined may pause on the same day.
    let reply_to = asked.lines().find_map(|l| l.strip_prefix("Reply-To: "));
    assert!(said(reply_to.unwrap().trim()).starts_with("250"));
    assert_eq!(members(server), 1);
    for word in ["nomail", "nodupes", "leave"] {
        assert!(said(&format!("dev+{word}@lists.example.org")).starts_with("250"));
        let what = match word {
            "leave" => "leave the list",
            "nodupes" => "get no copy of mail to",
            _ => "get no more copies",
        };
        let asked = wait_for_letter(server, "y@other.example", what);
        let reply_to = asked.lines().find_map(|l| l.strip_prefix("Reply-To: "));
        assert!(said(reply_to.unwrap().trim()).starts_with("250"));
    }
    assert_eq!(members(server), 0);
}

#[test]
fn a_member_who_joins_again_hears_that_he_is_one() {
    let site = Site::start(&[]);
    let server = &site.server;
    server.cli(&["member", "add", "dev", "ana@example.org"]);
    let to = "dev+subscribe@lists.example.org";
    let mail = today("again@x", "join", to);
    let reply = server.send(&[to], &site.sign(&mail));
    assert!(reply.starts_with("250"), "{reply}");
    wait_for_letter(server, "ana@example.org", "gets copies already");
    // Nobody is told for whom an unsigned mail asks.
    server.send(&[to], mail.replace("again@x", "other@x").as_bytes());
    assert_eq!(letters(server, "ana@example.org", "already").len(), 1);
}
