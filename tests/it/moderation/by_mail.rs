//! Moderators answer to notices; nobody else does.

use super::super::identity::{LIST, Site, mail};
use super::{EVE, held, outbox, settle};

const BEN: &str = "Ben <ben@example.org>";

/// A list with strangers held, and Ben as its moderator.
fn site() -> Site {
    let site = Site::start(&[("PATCHPOST_LISTS_MODERATION", "strangers")]);
    let ben = "ben@example.org=reply,post,moderate";
    site.server.cli(&["policy", "set", "dev", "--person", ben]);
    site
}

#[track_caller]
fn post(site: &Site, mail: &[u8]) {
    let reply = site.server.send(&[LIST], mail);
    assert!(reply.starts_with("250"), "{reply}");
}

/// Where the notice about a held mail is answered to.
#[track_caller]
fn answer_to(site: &Site, word: &str) -> String {
    let notice = site.server.wait_for("the notice", || {
        let all = outbox(&site.server);
        all.into_iter()
            .find(|m| m.contains("To: ben@") && m.contains(word))
    });
    let line = notice.lines().find_map(|l| l.strip_prefix("Reply-To: "));
    line.expect("it can be answered").trim().to_owned()
}

/// An answer as Ben's mail program would write it.
fn answer(id: &str, from: &str, to: &str, words: &str) -> String {
    mail(
        id,
        from,
        "Re: Held",
        &format!("{words}\n\nOn Monday, dev list wrote:\n> discard\n"),
    )
    .replace(&format!("To: {LIST}"), &format!("To: {to}"))
}

#[track_caller]
fn send_answer(site: &Site, to: &str, mail: &[u8]) {
    let reply = site.server.send(&[to], mail);
    assert!(reply.starts_with("250"), "{reply}");
}

fn events(site: &Site) -> String {
    site.server.cli(&["events", "dev"])
}

#[test]
fn a_moderator_accepts_by_mail_and_only_once() {
    let site = site();
    post(
        &site,
        mail("one@x", EVE, "a question", "How does it work?\n").as_bytes(),
    );
    let to = answer_to(&site, "> How does it work?");
    let accept = site.sign(&answer("a1@x", BEN, &to, "accept"));
    send_answer(&site, &to, &accept);
    settle(&site.server);
    assert_eq!(site.server.get("/dev/one@x/").status, 200);
    assert!(events(&site).contains("ben@example.org"));
    site.server.wait_for("word to the moderator", || {
        let all = outbox(&site.server);
        all.iter()
            .any(|m| m.contains("It goes through now") && m.contains("a question"))
            .then_some(())
    });
    // The same answer again, and the opposite by the same address.
    send_answer(&site, &to, &accept);
    send_answer(&site, &to, &site.sign(&answer("a2@x", BEN, &to, "discard")));
    settle(&site.server);
    assert_eq!(site.server.get("/dev/one@x/").status, 200);
    assert_eq!(site.server.json(&["list", "show", "dev"])["postings"], 1);
    // Answers to notices are never archived.
    assert_eq!(site.server.get("/dev/a1@x/").status, 404);
}

#[test]
fn a_person_is_accepted_by_mail() {
    let site = site();
    post(
        &site,
        &site.sign(&mail("one@x", EVE, "first", "text one\n")),
    );
    let to = answer_to(&site, "text one");
    send_answer(
        &site,
        &to,
        &site.sign(&answer("a1@x", BEN, &to, "Accept person")),
    );
    settle(&site.server);
    let shown = site.server.cli(&["policy", "show", "dev"]);
    assert!(
        shown.contains("eve@example.org=browse,reply,post"),
        "{shown}"
    );
}

#[test]
fn words_of_a_rejection_reach_authenticated_authors_only() {
    let site = site();
    post(
        &site,
        &site.sign(&mail("one@x", EVE, "signed", "text one\n")),
    );
    post(
        &site,
        mail("two@x", "Mal <mal@example.net>", "unsigned", "text two\n").as_bytes(),
    );
    for word in ["text one", "text two"] {
        let to = answer_to(&site, word);
        let reject = answer(
            "a@x",
            BEN,
            &to,
            "reject: Please ask on the users list.\nIt is for that.",
        );
        send_answer(&site, &to, &site.sign(&reject));
    }
    let letter = site.server.wait_for("the letter", || {
        let all = outbox(&site.server);
        all.into_iter().find(|m| m.contains("To: eve@"))
    });
    for words in [
        "Please ask on the users list.",
        "It is for that.",
        "In-Reply-To: <one@x>",
        "Auto-Submitted: auto-replied",
    ] {
        assert!(letter.contains(words), "{letter}");
    }
    assert!(held(&site.server).is_empty());
    site.server.wait_for("both answers to be told", || {
        let told = outbox(&site.server);
        let told = told.iter().filter(|m| m.contains("It is rejected."));
        (told.count() == 2).then_some(())
    });
    assert!(!outbox(&site.server).iter().any(|m| m.contains("To: mal@")));
}

/// Whatever does not count leaves the mail held and is noted.
#[track_caller]
fn does_nothing(site: &Site, to: &str, mail: &[u8], why: &str) {
    send_answer(site, to, mail);
    settle(&site.server);
    assert_eq!(held(&site.server).len(), 1, "{why}");
    assert_eq!(site.server.get("/dev/one@x/").status, 404, "{why}");
    assert!(events(site).contains(why), "{why}: {}", events(site));
}

#[test]
fn nobody_but_the_moderator_decides() {
    let site = site();
    site.server.cli(&[
        "policy",
        "set",
        "dev",
        "--person",
        "eve@example.org=reply,post",
    ]);
    let mal = "Mal <mal@example.net>";
    post(&site, mail("one@x", mal, "spam", "text one\n").as_bytes());
    let to = answer_to(&site, "text one");
    let forged = answer("f1@x", BEN, &to, "accept");
    does_nothing(&site, &to, forged.as_bytes(), "nothing proves who sent it");
    let other = site.sign(&answer("f2@x", EVE, &to, "accept"));
    does_nothing(&site, &to, &other, "the address was made for somebody else");
    // A signed "accept" of his to somebody else is sent on to the address.
    let elsewhere = site.sign(&answer("f3@x", BEN, "eve@example.org", "accept"));
    does_nothing(
        &site,
        &to,
        &elsewhere,
        "it does not name the address in To or Cc",
    );
    let machine = answer("f4@x", BEN, &to, "accept")
        .replace("\nDate:", "\nAuto-Submitted: auto-replied\nDate:");
    does_nothing(&site, &to, &site.sign(&machine), "a machine wrote it");
    let changed = String::from_utf8(site.sign(&answer("f5@x", BEN, &to, "discard"))).unwrap();
    let changed = changed.replacen("discard", "accept!", 1);
    does_nothing(&site, &to, changed.as_bytes(), "nothing proves who sent it");
    site.server.cli(&[
        "policy",
        "set",
        "dev",
        "--person",
        "ben@example.org=reply,post",
    ]);
    does_nothing(
        &site,
        &to,
        &site.sign(&answer("f6@x", BEN, &to, "accept")),
        "its sender is no moderator",
    );
}

#[test]
fn guessed_addresses_are_nobodys() {
    let site = site();
    post(&site, mail("one@x", EVE, "s", "text one\n").as_bytes());
    let to = answer_to(&site, "text one");
    let (local, domain) = to.split_once('@').unwrap();
    for last in ["a", "b", "7"] {
        let guess = format!("{}{last}@{domain}", &local[..local.len() - 1]);
        if guess == to {
            continue;
        }
        let reply = site
            .server
            .send(&[&guess], &site.sign(&answer("g@x", BEN, &guess, "accept")));
        assert!(reply.starts_with("550 5.1.1"), "{guess}: {reply}");
    }
    // An answer without a known word changes nothing, and is told.
    send_answer(
        &site,
        &to,
        &site.sign(&answer("h@x", BEN, &to, "looks fine to me")),
    );
    site.server.wait_for("word to the moderator", || {
        let all = outbox(&site.server);
        all.iter()
            .any(|m| m.contains("Nothing was done, and the mail is held still"))
            .then_some(())
    });
    assert_eq!(held(&site.server).len(), 1);
}

#[test]
fn a_series_is_discarded_as_the_notice_named_it() {
    let site = site();
    for (id, subject) in [("0@x", "[PATCH 0/2] canary"), ("1@x", "[PATCH 1/2] one")] {
        let body = "Words.\n---\ndiff --git a/f b/f\n--- a/f\n+++ b/f\n@@ -1 +1 @@\n-a\n+b\n";
        let text = mail(id, EVE, subject, body);
        let text = match id {
            "0@x" => text,
            _ => text.replace("\nDate:", "\nIn-Reply-To: <0@x>\nReferences: <0@x>\nDate:"),
        };
        post(&site, &site.sign(&text));
    }
    let to = answer_to(&site, "It is one of 2 mails of a series");
    send_answer(&site, &to, &site.sign(&answer("a@x", BEN, &to, "discard")));
    settle(&site.server);
    assert_eq!(held(&site.server).len(), 0);
    site.server.wait_for("word of both", || {
        let all = outbox(&site.server);
        let told = |m: &String| m.contains("It is discarded") && m.contains("PATCH 1/2");
        all.iter().any(told).then_some(())
    });
}

#[test]
fn of_what_goes_over_tls_only_the_answer_names_no_mail() {
    let site = site();
    let set = ["policy", "set", "dev", "--tls-only", "on"];
    site.server.cli(&set);
    post(&site, &site.sign(&mail("one@x", EVE, "canary", "text\n")));
    let to = answer_to(&site, "waits for somebody");
    send_answer(&site, &to, &site.sign(&answer("a@x", BEN, &to, "discard")));
    site.server.wait_for("word of it", || {
        let all = outbox(&site.server);
        let told = |m: &String| m.contains("with the held mails of its series.");
        all.iter().any(told).then_some(())
    });
    let all = outbox(&site.server);
    let told = |m: &String| m.contains("To: ben@") && m.contains("canary");
    assert!(!all.iter().any(told), "{all:?}");
}

/// What was answered for one time that a mail was held decides nothing when it is held again.
#[test]
fn an_answer_is_for_one_time_that_a_mail_is_held() {
    let site = site();
    post(&site, mail("one@x", EVE, "s", "text one\n").as_bytes());
    let to = answer_to(&site, "text one");
    send_answer(&site, &to, &site.sign(&answer("a1@x", BEN, &to, "accept")));
    settle(&site.server);
    site.server.cli(&["recall", "one@x"]);
    let late = site.sign(&answer("a2@x", BEN, &to, "accept"));
    does_nothing(&site, &to, &late, "or before the mail was taken back");
}

#[test]
fn an_address_put_on_a_signed_mail_decides_nothing() {
    let site = site();
    post(&site, mail("one@x", EVE, "s", "text one\n").as_bytes());
    let to = answer_to(&site, "text one");
    let other = answer("a1@x", BEN, "kim@example.org", "accept");
    let other = other.replace("To: kim@example.org\n", "");
    let other = site.sign_only(&other, &["from", "subject", "date"]);
    let forged = [format!("To: {to}\r\n").as_bytes(), &other].concat();
    does_nothing(&site, &to, &forged, "or nobody signed that it does");
}

#[test]
fn who_is_faster_with_a_forged_copy_keeps_nobody_out() {
    let site = site();
    let ana = "ana@example.org=reply,post";
    site.server.cli(&["policy", "set", "dev", "--person", ana]);
    for (id, discarded) in [("one@x", false), ("two@x", true)] {
        let text = mail(id, "Ana <ana@example.org>", "news", "text\n");
        post(&site, text.as_bytes());
        let all = held(&site.server);
        assert_eq!(all.len(), 1, "nobody signed it");
        if discarded {
            let number = all[0]["id"].to_string();
            site.server.cli(&["held", "discard", &number]);
            // The same forged copy again stays out.
            post(&site, text.as_bytes());
            assert!(held(&site.server).is_empty());
        }
        post(&site, &site.sign(&text));
        settle(&site.server);
        assert_eq!(site.server.get(&format!("/dev/{id}/")).status, 200);
        assert!(held(&site.server).is_empty(), "the true one is there");
    }
}
