//! Authors hear that their mail is held; forged mail tells nobody anything.

use super::super::harness::{Database, on_both};
use super::super::identity::{LIST, Site, mail};
use super::{EVE, held, outbox, settle};

on_both!(an_author_hears_once_a_day_that_his_mail_is_held_and_nobody_else_does);

/// A mail that was written just now.
pub fn fresh(id: &str, from: &str, subject: &str) -> String {
    let now = patchpost::store::now().rfc5322();
    mail(id, from, subject, "text\n").replace("Mon, 01 Jan 2024 10:00:00 +0000", &now)
}

#[track_caller]
fn post(site: &Site, mail: &[u8]) {
    let reply = site.server.send(&[LIST], mail);
    assert!(reply.starts_with("250"), "{reply}");
}

fn told(site: &Site) -> Vec<String> {
    let mut all = outbox(&site.server);
    all.retain(|m| m.contains("Subject: Held for a moderator"));
    all
}

#[track_caller]
fn wait(site: &Site, to: &str) -> String {
    site.server.wait_for("word to the author", || {
        let to = format!("To: {to}");
        told(site).into_iter().find(|m| m.contains(&to))
    })
}

fn an_author_hears_once_a_day_that_his_mail_is_held_and_nobody_else_does(database: Database) {
    let site = Site::start_on(database, &[("PATCHPOST_LISTS_MODERATION", "strangers")]);
    // From the decisions of before he learns how long it takes.
    for n in 0..5 {
        let id = format!("before{n}@x");
        post(
            &site,
            mail(&id, "Mal <mal@example.net>", "s", "text\n").as_bytes(),
        );
        let number = held(&site.server)[0]["id"].to_string();
        site.server.cli(&["held", "accept", &number]);
    }
    settle(&site.server);

    let rule = "Subject *lottery* hold";
    site.server.cli(&["policy", "set", "dev", "--rule", rule]);
    // Nobody vouches for it; it was sent to others, or long ago; a machine wrote it; a rule holds it.
    post(&site, fresh("forged@x", EVE, "news").as_bytes());
    let elsewhere = fresh("elsewhere@x", EVE, "news").replace(LIST, "users@example.net");
    post(&site, &site.sign(&elsewhere));
    post(&site, &site.sign(&mail("old@x", EVE, "news", "text\n")));
    let machine = fresh("machine@x", EVE, "news");
    let machine = machine.replace("\nDate:", "\nAuto-Submitted: auto-generated\nDate:");
    post(&site, &site.sign(&machine));
    post(&site, &site.sign(&fresh("lottery@x", EVE, "a lottery")));
    site.server
        .cli(&["policy", "set", "dev", "--tell-held", "off"]);
    post(&site, &site.sign(&fresh("off@x", EVE, "news")));
    site.server
        .cli(&["policy", "set", "dev", "--tell-held", "on"]);

    let one = site.sign(&fresh("one@x", EVE, "a question"));
    post(&site, &one);
    let letter = wait(&site, "eve@example.org");
    for words in [
        "Subject: Held for a moderator: your mail to dev@lists.example.org",
        "In-Reply-To: <one@x>",
        "Auto-Submitted: auto-replied",
        "Subject:  a question",
        "None of your mails was let through there yet.",
        "dev+subscribe@lists.example.org",
        "were decided within an hour.",
    ] {
        assert!(letter.contains(words), "{words}: {letter}");
    }
    // The same again, and another one of that day.
    post(&site, &one);
    post(&site, &site.sign(&fresh("two@x", EVE, "more")));
    post(
        &site,
        &site.sign(&fresh("three@x", "Kim <kim@example.org>", "hi")),
    );
    wait(&site, "kim@example.org");
    assert_eq!(told(&site).len(), 2, "{:?}", told(&site));
    // Rights of one's own hold for a member as well: joining would change nothing.
    let silenced = [
        "policy",
        "set",
        "dev",
        "--outsiders",
        "hold",
        "--person",
        "sue@example.org=reply",
    ];
    site.server.cli(&silenced);
    let from = "Sue <sue@example.org>";
    post(&site, &site.sign(&fresh("four@x", from, "hi")));
    let letter = wait(&site, "sue@example.org");
    assert!(letter.contains("Not everybody writes"), "{letter}");
    assert!(!letter.contains("subscribe@"), "{letter}");
}
