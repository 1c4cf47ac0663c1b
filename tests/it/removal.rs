//! Authors ask by mail that their own mail is removed; nobody asks in their name.

mod purge;

use super::harness::{Database, TestServer, on_both};
use super::identity::{LIST, Site, mail};

on_both! {
    an_author_takes_his_mail_back_once,
}

const ANA: &str = "Ana Lima <ana@example.org>";
const EVE: &str = "Eve <eve@example.org>";
const REMOVE: &str = "dev+remove@lists.example.org";

/// A list with a mail of Ana's, and Ben as its moderator.
fn site(database: Database, setting: &str) -> Site {
    let site = Site::start_on(database, &[]);
    let ben = "ben@example.org=reply,post,moderate";
    let set = [
        "policy",
        "set",
        "dev",
        "--person",
        ben,
        "--own-removal",
        setting,
    ];
    site.server.cli(&set);
    site.send(&site.sign(&mail("one@x", ANA, "canary", "canary text\n")));
    site
}

/// A mail of today that answers another, to this address.
fn wish(id: &str, from: &str, to: &str, answers: &str) -> String {
    let now = patchpost::store::now().rfc5322();
    mail(id, from, "Re: canary", "Please.\n")
        .replace("Mon, 01 Jan 2024 10:00:00 +0000", &now)
        .replace(LIST, to)
        .replacen("From:", &format!("In-Reply-To: <{answers}>\nFrom:"), 1)
}

#[track_caller]
fn ask(site: &Site, mail: &[u8], code: &str) {
    let reply = site.server.send(&[REMOVE], mail);
    assert!(reply.starts_with(code), "{reply}");
    site.server.drain();
}

/// Automatic mail to an address that has these words.
fn letters(server: &TestServer, to: &str, words: &str) -> usize {
    let folder = server.data().join("outbox");
    let files = std::fs::read_dir(folder).into_iter().flatten();
    let texts = files.filter_map(|f| std::fs::read_to_string(f.unwrap().path()).ok());
    let flat = |t: String| t.split_whitespace().collect::<Vec<_>>().join(" ");
    let ours = |t: &String| {
        t.contains("Auto-Submitted:") && t.contains(&format!("To: {to}")) && t.contains(words)
    };
    texts.map(flat).filter(ours).count()
}

#[track_caller]
fn wait_for_letter(site: &Site, to: &str, words: &str) {
    site.server.wait_for(words, || {
        (letters(&site.server, to, words) > 0).then_some(())
    });
}

fn status(site: &Site) -> u16 {
    site.server.get("/dev/one@x/").status
}

fn an_author_takes_his_mail_back_once(database: Database) {
    let site = site(database, "hide");
    let server = &site.server;
    // A stranger, well authenticated, and people in her name.
    ask(
        &site,
        &site.sign(&wish("e1@x", EVE, REMOVE, "one@x")),
        "250",
    );
    wait_for_letter(
        &site,
        "eve@example.org",
        "put dev+remove@lists.example.org into To",
    );
    ask(
        &site,
        wish("f1@x", ANA, REMOVE, "one@x").as_bytes(),
        "550 5.7",
    );
    let changed = String::from_utf8(site.sign(&wish("f2@x", ANA, REMOVE, "two@x"))).unwrap();
    ask(
        &site,
        changed.replace("<two@x>", "<one@x>").as_bytes(),
        "550 5.7",
    );
    let machine = format!(
        "Auto-Submitted: auto-replied\n{}",
        wish("f3@x", ANA, REMOVE, "one@x")
    );
    ask(&site, &site.sign(&machine), "250");
    // What she signed for somebody else, or long ago, is sent here by others.
    ask(
        &site,
        &site.sign(&wish("f4@x", ANA, "eve@example.org", "one@x")),
        "250",
    );
    let old = wish("f5@x", ANA, REMOVE, "one@x")
        .replace(&patchpost::store::now().rfc5322()[..16], "Mon, 01 Jan 2024");
    ask(&site, &site.sign(&old), "250");
    assert_eq!(status(&site), 200);
    wait_for_letter(
        &site,
        "ana@example.org",
        "it has to name that address in To or Cc",
    );

    let mine = site.sign(&wish("a1@x", ANA, REMOVE, "one@x"));
    ask(&site, &mine, "250");
    assert_eq!(status(&site), 404);
    assert!(!server.page("/dev/?q=canary").contains("canary text"));
    wait_for_letter(&site, "ana@example.org", "Your mail is taken back");
    let noted = server.cli(&["events", "dev"]);
    assert!(
        noted.contains("recalled") && noted.contains("as its author wishes"),
        "{noted}"
    );
    // A moderator puts it back; the same wish again is the same wish.
    let held = server.json(&["held", "ls", "dev"]);
    server.cli(&["held", "accept", &held[0]["id"].to_string()]);
    server.drain();
    ask(&site, &mine, "250");
    assert_eq!(status(&site), 200);
    assert_eq!(
        letters(server, "ana@example.org", "Your mail is taken back"),
        1
    );
    // Where another list has the mail, too, that one is asked.
    let other = "other@lists.example.org";
    server.cli(&["list", "create", "other", "--address", other]);
    let both = site.sign(&mail("both@x", ANA, "both", "text\n"));
    assert!(server.send(&[LIST, other], &both).starts_with("250"));
    server.drain();
    ask(
        &site,
        &site.sign(&wish("a2@x", ANA, REMOVE, "both@x")),
        "250",
    );
    wait_for_letter(&site, "ana@example.org", "were asked to remove your mail");
    assert_eq!(server.get("/dev/both@x/").status, 200);
}

#[test]
fn moderators_are_asked_or_nobody_is() {
    let site = site(Database::Sqlite, "ask");
    ask(
        &site,
        &site.sign(&wish("a1@x", ANA, REMOVE, "one@x")),
        "250",
    );
    wait_for_letter(&site, "ana@example.org", "were asked to remove your mail");
    wait_for_letter(
        &site,
        "ben@example.org",
        "patchpost recall 'one@x' --list dev",
    );
    wait_for_letter(&site, "ben@example.org", "Subject: canary");
    assert_eq!(status(&site), 200);
    // Asked again, moderators are told nothing new.
    ask(
        &site,
        &site.sign(&wish("a3@x", ANA, REMOVE, "one@x")),
        "250",
    );
    wait_for_letter(&site, "ana@example.org", "was wished for before");
    assert_eq!(
        letters(&site.server, "ben@example.org", "An author wishes"),
        1
    );
    site.server
        .cli(&["policy", "set", "dev", "--own-removal", "off"]);
    ask(
        &site,
        &site.sign(&wish("a2@x", ANA, REMOVE, "one@x")),
        "250",
    );
    wait_for_letter(
        &site,
        "ana@example.org",
        "leaves that to the people who run it",
    );
    assert_eq!(
        letters(&site.server, "ben@example.org", "An author wishes"),
        1
    );
    assert_eq!(status(&site), 200);
}

#[test]
fn what_goes_over_tls_only_stands_in_no_notice() {
    let site = site(Database::Sqlite, "ask");
    let set = ["policy", "set", "dev", "--tls-only", "on"];
    site.server.cli(&set);
    let asks = site.sign(&wish("a1@x", ANA, REMOVE, "one@x"));
    ask(&site, &asks, "250");
    wait_for_letter(&site, "ben@example.org", "patchpost events dev");
    for word in ["one@x", "ana@example.org", "canary"] {
        assert_eq!(letters(&site.server, "ben@example.org", word), 0, "{word}");
    }
    let noted = site.server.cli(&["events", "dev"]);
    let known = ["removal wished", "ana@example.org", "one@x"];
    assert!(known.iter().all(|word| noted.contains(word)), "{noted}");
}

#[test]
fn where_nobody_can_be_asked_the_author_is_told_so() {
    let site = Site::start(&[]);
    site.send(&site.sign(&mail("one@x", ANA, "canary", "canary text\n")));
    ask(
        &site,
        &site.sign(&wish("a1@x", ANA, REMOVE, "one@x")),
        "250",
    );
    wait_for_letter(&site, "ana@example.org", "no moderator could be told");
    assert_eq!(
        letters(&site.server, "ana@example.org", "were asked to remove"),
        0
    );
}

#[test]
fn an_author_may_answer_the_mail_that_he_kept() {
    let site = site(Database::Sqlite, "hide");
    let mine = mail("two@x", ANA, "kept", "text\n");
    let mine = format!("X-Microsoft-Original-Message-ID: <sent@x>\n{mine}");
    site.send(&site.sign(&mine));
    let asks = site.sign(&wish("a1@x", ANA, REMOVE, "sent@x"));
    ask(&site, &asks, "250");
    assert_eq!(site.server.get("/dev/two@x/").status, 404);
    assert_eq!(status(&site), 200);
}

#[test]
fn a_purge_takes_along_what_was_said_of_a_mail() {
    // No letter leaves.
    let nowhere = [
        ("PATCHPOST_DELIVERY_TRANSPORT", "smtp"),
        ("PATCHPOST_DELIVERY_RELAY", "127.0.0.1:1"),
    ];
    let site = Site::start(&nowhere);
    let ben = "ben@example.org=reply,post,moderate";
    site.server.cli(&["policy", "set", "dev", "--person", ben]);
    let check = "dev+check@lists.example.org";
    let now = patchpost::store::now().rfc5322();
    let text = mail("one@x", ANA, "canary", "text\n")
        .replace(LIST, &format!("{LIST}, {check}"))
        .replace("Mon, 01 Jan 2024 10:00:00 +0000", &now);
    let text = site.sign(&text);
    assert!(site.server.send(&[check], &text).starts_with("250"));
    site.server.drain();
    site.send(&text);
    let asks = site.sign(&wish("a1@x", ANA, REMOVE, "one@x"));
    ask(&site, &asks, "250");
    let noted = site.server.cli(&["events", "dev"]);
    assert!(noted.contains("removal wished"), "{noted}");
    site.server.cli(&["remove", "one@x", "--purge"]);
    let noted = site.server.cli(&["events", "dev"]);
    assert!(!noted.contains("removal wished"), "{noted}");
    let file = std::fs::read(site.server.data().join("patchpost.db")).unwrap();
    for word in ["canary", "one@x>"] {
        assert!(
            memchr::memmem::find(&file, word.as_bytes()).is_none(),
            "{word}"
        );
    }
}
