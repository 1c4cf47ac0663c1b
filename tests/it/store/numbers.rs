//! A patchset keeps its number, and a series its row and refs, when its mails are grouped anew.

use super::site::{Database, Site, answers, mail, patch, play};
use crate::harness::on_both;

on_both! {
    a_cover_letter_that_only_came_by_takes_no_number_along,
    a_linked_address_sends_the_next_version,
}

fn a_cover_letter_that_only_came_by_takes_no_number_along(database: Database) {
    play(database, story);
}

async fn series(site: &Site) -> Vec<Vec<String>> {
    site.rows(
        "select s.patchset, s.id, m.message_id, s.received from series s join mail m on m.id = s.anchor order by s.patchset",
    )
    .await
}

async fn story(site: Site) {
    site.list("dev", "public").await;
    site.post(&["dev"], &patch("k1@x", "[PATCH 1/2] kiwi", ""))
        .await;
    site.post(&["dev"], &patch("k2@x", "[PATCH 2/2] more kiwi", ""))
        .await;
    // By time alone it is theirs, until its own patches come.
    let lime = mail("l0@x", "[PATCH 0/2] lime", "", "Text.");
    site.post(&["dev"], &lime).await;
    assert_eq!(series(&site).await, [["1", "1", "l0@x", "2"]]);
    for (id, subject) in [
        ("l1@x", "[PATCH 1/2] one lime"),
        ("l2@x", "[PATCH 2/2] limes"),
    ] {
        site.post(&["dev"], &patch(id, subject, &answers("l0@x")))
            .await;
    }
    let expected = [["1", "1", "k1@x", "2"], ["2", "2", "l0@x", "2"]];
    assert_eq!(series(&site).await, expected);
}

fn a_linked_address_sends_the_next_version(database: Database) {
    play(database, linked);
}

async fn linked(site: Site) {
    site.list("dev", "public").await;
    let now = patchpost::store::now();
    let addresses = ["ana@example.org", "ana@work.example"].map(str::to_owned);
    site.ctx.store.link_addresses(addresses, now).await.unwrap();
    for (who, number) in [("work.example", "1"), ("other.example", "2")] {
        let own = |id: &str| format!("{id}.{number}@x");
        let first = patch(&own("v1"), "[PATCH] one", "");
        site.post(&["dev"], &first).await;
        let more = answers(&own("v1"));
        let second = patch(&own("v2"), "[PATCH v2] one again", &more);
        let second = second.replace("ana@example.org", &format!("ana@{who}"));
        site.post(&["dev"], &second).await;
    }
    let rows = site
        .rows("select patchset, label from series order by patchset, position")
        .await;
    assert_eq!(rows, [["1", "1"], ["1", "2"], ["2", "1"], ["3", "2"]]);
}
