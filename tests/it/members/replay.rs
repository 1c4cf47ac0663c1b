//! Mail that a member signed once, sent again by others; and what answers tell strangers.

use serde_json::json;

use super::super::dkim::{Key, wish};
use super::super::harness::{Copy, Database, Sink, Smtp, TestServer, on_both};
use super::super::identity::sign;
use super::abuse::{now, start_with_keys};
use super::{field, letter, members, start};

on_both! {
    a_second_confirmation_says_that_it_was_confirmed_before,
    nobody_learns_who_is_in_a_list_that_is_not_public,
}

/// A mail of Ana's as many providers sign it: its own name they leave free.
fn signed(key: &Key, to: &str, id: &str) -> Vec<u8> {
    let mail = format!(
        "From: Ana <ana@example.org>\nTo: {to}\nSubject: s\nDate: {}\nMessage-ID: <{id}@example.org>\n\nplease, {id}\n",
        now()
    );
    let mut wish = wish(mail.as_bytes(), "relaxed", &[]);
    wish["fields"] = json!(["from", "to", "subject", "date"]);
    sign(key, &[wish]).remove(0)
}

fn renamed(mail: &[u8], from: &str, to: &str) -> Vec<u8> {
    let text = String::from_utf8(mail.to_vec()).unwrap();
    assert!(text.contains(&format!("<{from}@example.org>")));
    let (from, to) = (format!("<{from}@"), format!("<{to}@"));
    text.replace(&from, &to).into_bytes()
}

#[track_caller]
fn send(server: &TestServer, to: &str, mail: &[u8]) -> String {
    let mut smtp = Smtp::connect(&server.addresses["smtp"]);
    smtp.send("ana@example.org", &[to], mail).0
}

#[test]
fn a_signed_command_is_obeyed_once_whatever_its_name() {
    let sink = Sink::start();
    let (server, key, _folder) = start_with_keys(&sink);
    server.cli(&["member", "add", "dev", "ana@example.org"]);
    let leave = "dev+unsubscribe@lists.example.org";
    let mail = signed(&key, leave, "1");
    assert!(send(&server, leave, &mail).starts_with("250"));
    assert!(members(&server).is_empty());
    server.cli(&["member", "add", "dev", "ana@example.org"]);
    for id in ["2", "3"] {
        let again = renamed(&mail, "1", id);
        assert!(send(&server, leave, &again).starts_with("250"));
    }
    assert_eq!(members(&server), ["ana@example.org"]);
    // Another mail of hers is another word.
    assert!(send(&server, leave, &signed(&key, leave, "4")).starts_with("250"));
    assert!(members(&server).is_empty(), "it is signed anew");
}

#[test]
fn who_is_no_member_hears_of_what_others_send_in_his_name_once_a_day() {
    let sink = Sink::start();
    let (server, key, _folder) = start_with_keys(&sink);
    let leave = "dev+unsubscribe@lists.example.org";
    for id in ["1", "2", "3"] {
        let post = signed(&key, &format!("{id}@elsewhere.example"), id);
        assert!(send(&server, leave, &post).starts_with("250"));
    }
    let told = letter(&server, &sink, "ana@example.org", 1);
    assert!(told.contains("is no member of the list"), "{told}");
    // What was asked after it has come.
    let ask = "dev+subscribe@lists.example.org";
    super::swaks(&server, "last@example.org", ask, "x");
    letter(&server, &sink, "last@example.org", 1);
    let to_her = |c: &&Copy| c.recipients == ["ana@example.org"];
    assert_eq!(sink.all().iter().filter(to_her).count(), 1);
}

fn nobody_learns_who_is_in_a_list_that_is_not_public(database: Database) {
    let sink = Sink::start();
    let server = start(database, &sink);
    let address = "core@lists.example.org";
    server.cli(&["list", "create", "core", "--private", "--address", address]);
    server.cli(&["member", "add", "core", "in@example.net"]);
    let mut smtp = Smtp::connect(&server.addresses["smtp"]);
    let rights = "reader@example.net=browse";
    server.cli(&["policy", "set", "core", "--person", rights]);
    let mut ask = |who: &str, word: &str, hops: usize| {
        let hops = "Received: by x\n".repeat(hops);
        let mail = format!("{hops}From: {who}\nMessage-ID: <{word}-{who}>\n\nx\n");
        let to = format!("core+{word}@lists.example.org");
        smtp.send(who, &[&to], mail.as_bytes()).0
    };
    for word in ["help", "unsubscribe", "nomail", "mail", "subscribe"] {
        // As it comes, and as if it had gone round.
        for hops in [0, 51] {
            let outside = ask("out@example.net", word, hops);
            for inside in ["in@example.net", "reader@example.net"] {
                assert_eq!(ask(inside, word, hops), outside, "{word}, {hops} hops");
            }
        }
    }
}

fn a_second_confirmation_says_that_it_was_confirmed_before(database: Database) {
    let sink = Sink::start();
    let server = start(database, &sink);
    server.cli(&["member", "add", "dev", "ana@example.org"]);
    let ask = "dev+unsubscribe@lists.example.org";
    super::swaks(&server, "ana@example.org", ask, "x");
    let asked = letter(&server, &sink, "ana@example.org", 1);
    let reply_to = field(&asked, "Reply-To").unwrap();
    for subject in ["yes", "yes again"] {
        super::swaks(&server, "ana@example.org", &reply_to, subject);
    }
    let told = letter(&server, &sink, "ana@example.org", 3);
    assert!(told.contains("has confirmed this before"), "{told}");
    assert!(!told.contains("is a member of"), "{told}");
    assert!(members(&server).is_empty());
}
