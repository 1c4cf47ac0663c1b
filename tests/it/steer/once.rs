//! States by mail for moderators whose mail nothing signs: a link that works once, to the address that has the right.

use super::super::harness::{Smtp, request};
use super::super::identity::{LIST, Site, mail};
use super::{answer, letters, settle, site, states, wait_for_letter};

const BEN: &str = "ben@plain.example";

/// The usual site; Ben and Dan moderate from a domain without DKIM and DMARC.
fn unsigned_site() -> Site {
    let site = site();
    for who in [BEN, "dan@plain.example"] {
        let person = format!("{who}=reply,post,moderate");
        site.server
            .cli(&["policy", "set", "dev", "--person", &person]);
    }
    site
}

/// A reply to the second version, as it comes from a mail server that signs nothing.
#[track_caller]
fn wish(site: &Site, id: &str, from: &str, sender: &str, text: &str) {
    let mail = answer(&mail(id, from, "Re: [PATCH v2] first", text), "p2@x");
    send(site, sender, LIST, &mail, "250");
}

#[track_caller]
fn send(site: &Site, sender: &str, to: &str, mail: &str, code: &str) {
    let mut smtp = Smtp::connect(&site.server.addresses["smtp"]);
    let (reply, _) = smtp.send(sender, &[to], mail.as_bytes());
    assert!(reply.starts_with(code), "{reply}");
    settle(&site.server);
}

/// A field of the letter that asks.
#[track_caller]
fn asked(site: &Site, to: &str, start: &str) -> String {
    wait_for_letter(site, to, "Please confirm: change the state");
    let all = letters(site, to);
    let line = all
        .iter()
        .flat_map(|l| l.lines())
        .find(|l| l.trim().starts_with(start));
    line.unwrap().trim().strip_prefix(start).unwrap().to_owned()
}

#[test]
fn a_reply_to_the_question_counts_once() {
    let site = unsigned_site();
    wish(&site, "r1@x", BEN, BEN, "Good.\n/state accepted\n");
    assert_eq!(states(&site), "v1 superseded, v2 new");
    let to = asked(&site, BEN, "Reply-To: ");
    wait_for_letter(&site, BEN, "give patchset 1 v2 of dev the state accepted");
    // A guess is nobody's.
    let (local, domain) = to.split_once('@').unwrap();
    let last = if local.ends_with('a') { "b" } else { "a" };
    let guess = format!("{}{last}@{domain}", &local[..local.len() - 1]);
    let yes = |id: &str, to: &str| mail(id, BEN, "Re: confirm", "yes\n").replace(LIST, to);
    send(&site, BEN, &guess, &yes("g@x", &guess), "550 5.1.1");
    assert_eq!(states(&site), "v1 superseded, v2 new");
    send(&site, BEN, &to, &yes("y1@x", &to), "250");
    assert_eq!(states(&site), "v1 superseded, v2 accepted");
    wait_for_letter(&site, BEN, "Its state is: accepted.");
    let page = site.server.page("/dev/patches/1/");
    assert!(page.contains(BEN), "{page}");
    // The same again, and another mail to the same address, do nothing any more.
    site.server.cli(&["series", "state", "1", "deferred"]);
    send(&site, BEN, &to, &yes("y1@x", &to), "250");
    send(&site, BEN, &to, &yes("y2@x", &to), "250");
    assert_eq!(states(&site), "v1 superseded, v2 deferred");
    // It holds through a reading anew.
    site.server.cli(&["reclassify", "dev"]);
    assert_eq!(states(&site), "v1 superseded, v2 deferred");
}

#[test]
fn the_page_asks_first_and_the_right_counts_when_it_is_used() {
    let site = unsigned_site();
    wish(&site, "r1@x", BEN, BEN, "/state rejected\n");
    let link = asked(&site, BEN, "http");
    let path = format!("/{}", link.splitn(4, '/').nth(3).unwrap());
    let page = site.server.page(&path);
    assert!(
        page.contains("give patchset 1 v2 of dev the state rejected"),
        "{page}"
    );
    assert_eq!(states(&site), "v1 superseded, v2 new");
    let post = |path: &str| {
        let text = format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
        request(&site.server.addresses["http"], &text)
    };
    assert_eq!(post(&path).status, 200);
    assert_eq!(states(&site), "v1 superseded, v2 rejected");
    // Who lost the right meanwhile has it no more.
    let dan = "dan@plain.example";
    wish(&site, "r2@x", dan, dan, "/state accepted\n");
    let link = asked(&site, dan, "http");
    let path = format!("/{}", link.splitn(4, '/').nth(3).unwrap());
    site.server.cli(&[
        "policy",
        "set",
        "dev",
        "--person",
        "dan@plain.example=reply",
    ]);
    assert_eq!(post(&path).status, 200);
    assert_eq!(states(&site), "v1 superseded, v2 rejected");
    wait_for_letter(&site, dan, "only moderators of the list");
}

#[test]
fn nobody_else_is_asked() {
    let site = unsigned_site();
    let kim = "kim@plain.example";
    // Without the right; in his name from elsewhere; by a machine; with words of one's own; in a domain that signs.
    wish(&site, "k1@x", kim, kim, "/state accepted\n");
    wish(&site, "k2@x", BEN, kim, "/state accepted\n");
    let machine = answer(
        &mail("k3@x", BEN, "Re: [PATCH v2] first", "/state accepted\n"),
        "p2@x",
    );
    send(
        &site,
        BEN,
        LIST,
        &format!("Auto-Submitted: auto-replied\n{machine}"),
        "250",
    );
    wish(&site, "k4@x", BEN, BEN, "/delegate buy-now@evil.example\n");
    wish(&site, "k5@x", BEN, BEN, "/state fine\n");
    wish(
        &site,
        "k6@x",
        "ben@example.org",
        "ben@example.org",
        "/state accepted\n",
    );
    site.server.drain();
    for to in [kim, BEN, "ben@example.org"] {
        assert!(letters(&site, to).is_empty(), "{to}");
    }
    assert_eq!(states(&site), "v1 superseded, v2 new");
    // One question a day is enough.
    for n in 0..3 {
        wish(&site, &format!("b{n}@x"), BEN, BEN, "/state accepted\n");
    }
    site.server.drain();
    assert_eq!(letters(&site, BEN).len(), 1);
}

#[test]
fn the_list_that_has_the_series_asks() {
    let site = site();
    // Made first, named first, and without the series.
    let users = "a-users@lists.example.org";
    let create = ["list", "create", "a-users", "--address", users];
    site.server.cli(&create);
    let cat = "cat@plain.example";
    let person = format!("{cat}=reply,post,moderate");
    site.server
        .cli(&["policy", "set", "dev", "--person", &person]);
    let mail = answer(
        &mail("r1@x", cat, "Re: [PATCH v2] first", "/state rejected\n"),
        "p2@x",
    );
    let mail = mail.replace(&format!("To: {LIST}"), &format!("To: {users}, {LIST}"));
    let mut smtp = Smtp::connect(&site.server.addresses["smtp"]);
    let (reply, _) = smtp.send(cat, &[users, LIST], mail.as_bytes());
    assert!(reply.starts_with("250"), "{reply}");
    settle(&site.server);
    let link = asked(&site, cat, "http");
    let path = format!("/{}", link.splitn(4, '/').nth(3).unwrap());
    assert!(site.server.page(&path).contains("patchset 1 v2 of dev"));
    let text = format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    );
    assert_eq!(request(&site.server.addresses["http"], &text).status, 200);
    assert_eq!(states(&site), "v1 superseded, v2 rejected");
}

#[test]
fn who_is_known_and_whose_field_nothing_signs_is_asked() {
    let site = site();
    let mail = super::reply("r1@x", super::BEN, "p2@x", "/state rejected\n");
    let signed = ["from", "subject", "date", "in-reply-to", "references"];
    let mail = String::from_utf8(site.sign_only(&mail, &signed)).unwrap();
    send(&site, "ben@example.org", LIST, &mail, "250");
    assert_eq!(states(&site), "v1 superseded, v2 new");
    let to = asked(&site, "ben@example.org", "Reply-To: ");
    let yes = super::mail("y1@x", super::BEN, "Re: confirm", "yes\n").replace(LIST, &to);
    send(&site, "ben@example.org", &to, &yes, "250");
    assert_eq!(states(&site), "v1 superseded, v2 rejected");
}

#[test]
fn the_page_says_if_the_mail_that_it_is_about_is_gone() {
    let site = unsigned_site();
    wish(&site, "r1@x", BEN, BEN, "/state rejected\n");
    let link = asked(&site, BEN, "http");
    let path = format!("/{}", link.splitn(4, '/').nth(3).unwrap());
    site.server.cli(&["recall", "r1@x"]);
    let text = format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    );
    let said = request(&site.server.addresses["http"], &text).text();
    assert!(
        said.contains("is not here any more: nothing was done"),
        "{said}"
    );
}
