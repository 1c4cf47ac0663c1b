//! Copies of one mail that say different things of it in their headers: what is recognised is of the bytes that are served,
//! whichever list each came to and in whatever order they were filed.

use patchpost::pipeline::Import;
use patchpost::store::ListRow;
use patchpost::types::{RealmId, Timestamp};

use super::receipt;
use super::site::{Database, START, Site, patch, play};
use crate::harness::on_both;

on_both! {
    of_two_lists_copies_the_earliest_is_served_as_it_says,
    a_copy_that_is_known_becomes_the_one_that_counts,
    an_archive_with_two_copies_serves_the_earliest_as_it_says,
}

fn of_two_lists_copies_the_earliest_is_served_as_it_says(database: Database) {
    play(database, two_lists);
}

fn a_copy_that_is_known_becomes_the_one_that_counts(database: Database) {
    play(database, known);
}

fn an_archive_with_two_copies_serves_the_earliest_as_it_says(database: Database) {
    play(database, archive);
}

/// A field by which a mail is no patch.
const HINT: &str = "X-Patchwork-Hint: ignore\n";

/// A copy of one and the same mail, with further fields.
fn copy(id: &str, more: &str) -> String {
    patch(id, "[PATCH] p", more)
}

async fn take(site: &Site, list: &ListRow, text: &str, at: Timestamp) {
    let one = site.prepare(RealmId::PUBLIC, text).await;
    let receipts = vec![receipt(list.id, at)];
    site.ctx.store.accept(one, receipts).await.unwrap();
}

/// Asserts that there is one mail of that name, with these bytes, and that it was read from them.
async fn served(site: &Site, list: &ListRow, id: &str, text: &str, why: &str) {
    let mails = site.mails(list, id).await;
    assert_eq!(mails.len(), 1, "{why}");
    let (bytes, _) = site.ctx.store.load_bytes(mails[0]).await.unwrap().unwrap();
    assert_eq!(String::from_utf8(bytes).unwrap(), text, "{why}");
    let kind = if text.contains(HINT) {
        "plain"
    } else {
        "patch"
    };
    let rows = format!("select kind, size from mail where message_id = '{id}'");
    let expected = [kind.to_owned(), text.len().to_string()];
    assert_eq!(site.rows(&rows).await, [expected], "{why}");
}

async fn two_lists(site: Site) {
    let lists = [
        site.list("one", "public").await,
        site.list("two", "public").await,
    ];
    for (n, (first, second)) in [(HINT, ""), ("", HINT)].into_iter().enumerate() {
        // Whether each is filed before the next comes, and which one comes first.
        for (at_once, late_first) in [(true, true), (true, false), (false, true), (false, false)] {
            let id = format!("{n}-{at_once}-{late_first}@x");
            let early = (0, copy(&id, first), START);
            let late = (1, copy(&id, second), START.plus_secs(9));
            let mut order = [&early, &late];
            if late_first {
                order.reverse();
            }
            for (list, text, at) in order {
                take(&site, &lists[*list], text, *at).await;
                if !at_once {
                    site.drain().await;
                }
            }
            site.drain().await;
            for list in &lists {
                served(&site, list, &id, &early.1, &id).await;
            }
        }
    }
}

/// Of copies that came at the same moment the one with the lowest hash is served.
async fn known(site: Site) {
    let list = site.list("dev", "public").await;
    let other = copy("m@x", HINT);
    let lowest = site.prepare(RealmId::PUBLIC, &other).await.hash;
    let mut lower = None;
    for n in 0.. {
        let text = copy("m@x", &format!("X-Number: {n}\n"));
        if site.prepare(RealmId::PUBLIC, &text).await.hash < lowest {
            lower = Some(text);
            break;
        }
    }
    take(&site, &list, &other, START).await;
    site.drain().await;
    served(&site, &list, "m@x", &other, "alone").await;
    let lower = lower.unwrap();
    take(&site, &list, &lower, START).await;
    site.drain().await;
    served(&site, &list, "m@x", &lower, "beside another").await;
    let patchsets = site.ctx.store.load_summaries(None, 9).await.unwrap();
    assert_eq!(patchsets.len(), 1, "it is a patch now");
    assert_eq!(site.ctx.store.count_jobs().await.unwrap().1, 0);
}

/// Takes mails of an archive in as the command does: read once, stored, and filed as they were read.
async fn import(site: &Site, list: &ListRow, mails: Vec<(String, Timestamp)>) {
    let mut import = Import::new(&site.ctx, list.clone());
    for (mail, arrived) in mails {
        import.add(mail.into_bytes(), Some(arrived)).await.unwrap();
    }
    import.finish().await.unwrap();
    site.drain().await;
}

async fn archive(site: Site) {
    let list = site.list("dev", "public").await;
    let copies = [copy("m@x", HINT), copy("m@x", "")];
    let mails = [
        (copies[0].clone(), START.plus_secs(9)),
        (copies[1].clone(), START),
    ];
    import(&site, &list, mails.to_vec()).await;
    served(&site, &list, "m@x", &copies[1], "imported").await;
    // A copy in another list's archive that is neither earlier nor better changes nothing.
    let other = site.list("other", "public").await;
    let late = vec![(copies[0].clone(), START.plus_secs(99))];
    import(&site, &other, late).await;
    for list in [&list, &other] {
        served(&site, list, "m@x", &copies[1], "imported twice").await;
    }
}
