//! Who may write to a list: settings by command, and what `explain` says of a mail.

use super::harness::TestServer;
use super::identity::{Site, mail};

const ANA: &str = "Ana Lima <ana@example.org>";

fn held_site() -> Site {
    Site::start(&[("PATCHPOST_LISTS_MODERATION", "strangers")])
}

#[track_caller]
fn explain(site: &Site, mail: &[u8], options: &[&str]) -> String {
    let file = site.server.dir.path().join("explained.eml");
    std::fs::write(&file, mail).unwrap();
    let file = file.display().to_string();
    let all: Vec<&str> = ["policy", "explain", "dev", &file]
        .into_iter()
        .chain(options.iter().copied())
        .collect();
    site.server.cli(&all)
}

#[test]
fn explain_says_each_step_and_does_nothing() {
    let site = held_site();
    let plain = mail("one@x", ANA, "hello", "text\n");
    let said = explain(&site, plain.as_bytes(), &[]);
    for words in [
        "loop       it did not go through this list before",
        "rules      there are no rules",
        "rights     ana@example.org, not authenticated, begins a thread; has browse,reply,post",
        "hold: nothing proves that it is from ana@example.org",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    let signed = site.sign(&plain);
    let said = explain(&site, &signed, &[]);
    assert!(
        said.ends_with("hold: the first mail of ana@example.org here\n"),
        "{said}"
    );
    // SPF speaks for what comes from the domain's own network.
    let said = explain(&site, plain.as_bytes(), &["--from-ip", "192.0.2.7"]);
    assert!(
        said.contains("the first mail of ana@example.org here"),
        "{said}"
    );
    let said = explain(&site, plain.as_bytes(), &["--sender", ""]);
    assert!(
        said.contains("refuse: 550 5.7.1 A list does not take bounces"),
        "{said}"
    );
    let said = explain(&site, plain.as_bytes(), &["--sender", "", "--lmtp"]);
    assert!(
        said.contains("drop with a note: bounce to the list"),
        "{said}"
    );
    assert_eq!(site.server.cli(&["held", "ls"]), "nothing is held\n");
    assert_eq!(site.server.cli(&["events"]), "nothing was noted\n");
}

/// A mail server in front tells whose client brought a mail, where it is believed.
#[test]
fn explain_takes_the_client_of_the_mail_server_in_front() {
    let forwarded = ["--lmtp", "--from-ip", "192.0.2.7"];
    let site = Site::start(&[
        ("PATCHPOST_LISTS_MODERATION", "strangers"),
        ("PATCHPOST_AUTH_XFORWARD_FROM", "127.0.0.1"),
    ]);
    let plain = mail("one@x", ANA, "hello", "text\n");
    let said = explain(&site, plain.as_bytes(), &["--lmtp"]);
    assert!(
        said.contains("nothing proves that it is from ana@example.org"),
        "{said}"
    );
    let said = explain(&site, plain.as_bytes(), &forwarded);
    assert!(
        said.contains("the first mail of ana@example.org here"),
        "{said}"
    );
    let mut untold = site.server.command();
    untold.env("PATCHPOST_AUTH_XFORWARD_FROM", "");
    let file = site.server.dir.path().join("explained.eml");
    untold
        .args(["policy", "explain", "dev"])
        .arg(file)
        .args(forwarded);
    let out = untold.output().unwrap();
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(
        !out.status.success() && said.contains("auth.xforward_from is empty"),
        "{said}"
    );
}

#[test]
fn explain_foretells_what_happens() {
    let site = held_site();
    site.server
        .cli(&["policy", "set", "dev", "--rule", "Subject *lottery* reject"]);
    let lottery = mail("lottery@x", ANA, "The LOTTERY is yours", "text\n");
    let said = explain(&site, lottery.as_bytes(), &[]);
    let told = said
        .lines()
        .last()
        .unwrap()
        .strip_prefix("refuse: ")
        .unwrap();
    let reply = site
        .server
        .send(&[super::identity::LIST], lottery.as_bytes());
    assert_eq!(reply.trim_end(), told);
    site.server.cli(&["policy", "set", "dev", "--no-rules"]);
    let reply = site
        .server
        .send(&[super::identity::LIST], lottery.as_bytes());
    assert!(reply.starts_with("250"), "{reply}");
}

#[test]
fn settings_are_shown_as_they_were_set() {
    let server = TestServer::start();
    server.cli(&["list", "create", "dev", "--moderation", "strangers"]);
    server.cli(&[
        "policy",
        "set",
        "dev",
        "--person",
        "Ana@Example.org=reply,post,moderate",
        "--ban",
        "@Spam.example",
        "--max-size",
        "2097152",
        "--refuse-type",
        "application/x-ms*",
        "--rule",
        "X-Loop * discard",
        "--hold-days",
        "7",
    ]);
    let shown = server.json(&["policy", "show", "dev"]);
    assert_eq!(shown["people"][0]["address"], "ana@example.org");
    assert_eq!(shown["people"][0]["rights"], "reply,post,moderate");
    assert_eq!(shown["bans"][0]["name"], "spam.example");
    assert_eq!(shown["rules"][0], "X-Loop * discard");
    assert_eq!(
        (&shown["max_size"], &shown["hold_days"]),
        (&2_097_152.into(), &7.into())
    );
    assert_eq!(shown["moderation"], "strangers");
    server.cli(&[
        "policy",
        "set",
        "dev",
        "--person",
        "ana@example.org=",
        "--unban",
        "spam.example",
        "--refuse-type",
        "",
    ]);
    let shown = server.cli(&["policy", "show", "dev"]);
    assert!(
        !shown.contains("ana@") && !shown.contains("spam.example") && !shown.contains("x-ms"),
        "{shown}"
    );
}

#[test]
fn wishes_that_make_no_sense_are_refused_with_words() {
    let server = TestServer::start();
    server.cli(&["list", "create", "dev"]);
    server.cli(&["list", "create", "core", "--private"]);
    let check = |arguments: &[&str], words: &str| {
        let all: Vec<&str> = ["policy", "set"].iter().chain(arguments).copied().collect();
        let said = server.cli_fails(&all);
        assert!(said.contains(words), "{arguments:?}: {said}");
    };
    check(&["dev"], "say what to change");
    check(&["dev", "--anybody", "post,fly"], "\"fly\" is no right");
    check(&["dev", "--anybody", "reply,post"], "list dev is public");
    check(
        &["core", "--anybody", "browse,reply,post"],
        "list core is not public",
    );
    check(
        &["dev", "--subscribers", "browse,moderate"],
        "moderators are named one by one",
    );
    check(
        &["dev", "--rule", "From *@example.org accept"],
        "anybody can write From",
    );
    check(
        &["dev", "--max-size", "12"],
        "--max-size is a number from 1024",
    );
    check(&["dev", "--person", "ana"], "is not ADDRESS=RIGHTS");
    let said = server.cli_fails(&["list", "set", "dev", "--style", "security"]);
    assert!(said.contains("list dev is public"), "{said}");
}

#[test]
fn who_lost_the_right_hears_so_and_others_are_heard() {
    let site = held_site();
    let list = super::identity::LIST;
    site.server.cli(&[
        "policy",
        "set",
        "dev",
        "--person",
        "ana@example.org=browse",
        "--ban",
        "example.net",
    ]);
    let reply = site
        .server
        .send(&[list], &site.sign(&mail("one@x", ANA, "s", "text\n")));
    assert!(
        reply.starts_with("550 5.7.1 This list takes mail of some people only")
            || reply.starts_with("550 5.7.1 Only some"),
        "{reply}"
    );
    let reply = site.server.send(
        &[list],
        mail("two@x", "B <b@mail.example.net>", "s", "text\n").as_bytes(),
    );
    assert!(
        reply.starts_with("550 5.7.1 This list takes no mail from this sender"),
        "{reply}"
    );
    site.server.cli(&[
        "policy",
        "set",
        "dev",
        "--person",
        "ana@example.org=reply,post",
    ]);
    site.send(&site.sign(&mail("three@x", ANA, "s", "text\n")));
    assert!(
        site.server
            .page("/dev/three@x/")
            .contains("authenticated: DKIM example.org")
    );
}

#[test]
fn only_named_people_write_to_an_announcement_list() {
    let site = held_site();
    let news = "news@lists.example.org";
    site.server.cli(&[
        "list",
        "create",
        "news",
        "--style",
        "announce",
        "--address",
        news,
    ]);
    site.server.cli(&[
        "policy",
        "set",
        "news",
        "--person",
        "ana@example.org=browse,reply,post",
    ]);
    let signed = site.sign(&mail("one@x", ANA, "Version 2", "text\n"));
    assert!(site.server.send(&[news], &signed).starts_with("250"));
    let forged = mail("two@x", ANA, "Version 3", "text\n");
    let reply = site.server.send(&[news], forged.as_bytes());
    assert!(reply.starts_with("550 5.7.1"), "{reply}");
    assert!(reply.contains("DKIM"), "it says how to mend that: {reply}");
    site.server.drain();
    assert_eq!(site.server.get("/news/one@x/").status, 200);
}

/// Answers as rspamd does, to `count` requests: what holds the word in its text is spam. Returns its address and what it was asked.
fn rspamd(word: &'static str, count: usize) -> (String, std::thread::JoinHandle<Vec<String>>) {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let answers = move || {
        let mut asked = Vec::new();
        for _ in 0..count {
            let (mut stream, _) = listener.accept().unwrap();
            let mut text = String::new();
            let mut buffer = [0; 4096];
            // The request says how long it is.
            loop {
                let read = stream.read(&mut buffer).unwrap();
                text.push_str(&String::from_utf8_lossy(&buffer[..read]));
                let body = text.split_once("\r\n\r\n").map(|(head, body)| {
                    let length = head
                        .lines()
                        .find_map(|l| l.strip_prefix("Content-Length: "));
                    body.len() >= length.unwrap().parse::<usize>().unwrap()
                });
                if body == Some(true) || read == 0 {
                    break;
                }
            }
            let (score, action) = if text.contains(word) {
                (17.5, "reject")
            } else {
                (0.5, "no action")
            };
            let json =
                format!("{{\"score\":{score},\"required_score\":15.0,\"action\":\"{action}\"}}");
            write!(
                stream,
                "HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n{json}",
                json.len()
            )
            .unwrap();
            asked.push(text);
        }
        asked
    };
    (address, std::thread::spawn(answers))
}

#[test]
fn what_rspamd_calls_spam_is_held_whoever_sent_it() {
    let (address, asked) = rspamd("winner", 2);
    let site = Site::start(&[("PATCHPOST_SPAM_RSPAMD", &address)]);
    site.send(&site.sign(&mail("ham@x", ANA, "s", "text\n")));
    assert_eq!(site.server.get("/dev/ham@x/").status, 200);
    let spam = site.sign(&mail("spam@x", ANA, "s", "you are the winner\n"));
    assert!(
        site.server
            .send(&[super::identity::LIST], &spam)
            .starts_with("250")
    );
    let held = site.server.json(&["held", "ls"]);
    assert_eq!(held[0]["reason"], "rspamd gives it 17.5 of 15.0: reject");
    let asked = asked.join().unwrap();
    for words in [
        "POST /checkv2 HTTP/1.0",
        "From: ana@example.org",
        "Rcpt: dev@lists.example.org",
        "IP: 127.0.0.1",
    ] {
        assert!(asked[0].contains(words), "{words}: {}", asked[0]);
    }
    assert!(
        asked[0].ends_with("\r\n\r\ntext\r\n"),
        "the mail as it came: {}",
        asked[0]
    );
}

#[test]
fn every_spelling_of_a_list_goes_past_the_filter() {
    let (address, asked) = rspamd("winner", 1);
    let site = Site::start(&[("PATCHPOST_SPAM_RSPAMD", &address)]);
    let spam = site.sign(&mail("spam@x", ANA, "s", "you are the winner\n"));
    let reply = site.server.send(&["dev+post@lists.example.org"], &spam);
    assert!(reply.starts_with("250"), "{reply}");
    let held = site.server.json(&["held", "ls"]);
    assert_eq!(held[0]["reason"], "rspamd gives it 17.5 of 15.0: reject");
    assert_eq!(asked.join().unwrap().len(), 1);
}

#[test]
fn a_filter_in_trouble_keeps_no_mail_out() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let settings = [
        ("PATCHPOST_SPAM_RSPAMD", address.as_str()),
        ("PATCHPOST_SPAM_TIMEOUT", "1"),
    ];
    let site = Site::start(&settings);
    site.send(mail("one@x", ANA, "s", "text\n").as_bytes());
    assert_eq!(site.server.get("/dev/one@x/").status, 200);
    drop(silent);
    site.send(mail("two@x", ANA, "s", "text\n").as_bytes());
    assert_eq!(site.server.get("/dev/two@x/").status, 200);
    assert!(site.server.log().contains("rspamd was asked in vain"));
}

#[test]
fn the_mark_of_the_server_in_front_counts_by_lmtp_alone() {
    let site = Site::start(&[("PATCHPOST_SPAM_HEADER", "X-Spam")]);
    let marked = |id: &str| mail(id, ANA, "s", "text\n").replace("\nDate:", "\nX-Spam: Yes\nDate:");
    site.send(marked("smtp@x").as_bytes());
    assert_eq!(site.server.get("/dev/smtp@x/").status, 200);
    let mut lmtp = super::harness::Smtp::connect(&site.server.addresses["lmtp"]);
    assert!(lmtp.say("LHLO mx.example.org").starts_with("250"));
    let (reply, _) = lmtp.send(
        "ana@example.org",
        &[super::identity::LIST],
        marked("lmtp@x").as_bytes(),
    );
    assert!(reply.starts_with("250"), "{reply}");
    let held = site.server.json(&["held", "ls"]);
    assert_eq!(
        held[0]["reason"],
        "the mail server in front says X-Spam: Yes"
    );
}
