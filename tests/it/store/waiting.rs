//! How long what is owed has been waiting, and named moments.

use patchpost::store::NewLetter;
use patchpost::types::Timestamp;

use super::site::{Database, START, Site, mail, play};
use crate::harness::on_both;

on_both! {
    the_oldest_mail_that_is_owed_is_known,
    a_moment_is_noted_over_the_one_before,
}

fn the_oldest_mail_that_is_owed_is_known(database: Database) {
    play(database, oldest);
}

fn a_moment_is_noted_over_the_one_before(database: Database) {
    play(database, moments);
}

async fn oldest(site: Site) {
    let store = &site.ctx.store;
    let ever = Timestamp(i64::MAX);
    assert_eq!(store.oldest_owed(ever).await.unwrap(), None);
    let letter = NewLetter {
        list: None,
        purpose: "test",
        recipient: "ana@example.org".to_owned(),
        return_path: String::new(),
        data: b"Subject: x\n\nx\n".to_vec(),
        about: Vec::new(),
    };
    let made = Timestamp(4_000_000_000_000_000);
    store.insert_letters(vec![letter], made).await.unwrap();
    // What is due only now does not wait yet.
    assert_eq!(store.oldest_owed(made).await.unwrap(), None);
    assert_eq!(store.oldest_owed(ever).await.unwrap(), Some(made));

    site.list("dev", "public").await;
    for id in ["a@x", "b@x"] {
        site.post(&["dev"], &mail(id, "s", "", "b")).await;
    }
    let owe = "insert into delivery (list, number, member, address, state, attempts, run_at, claimed_until, problem) \
               select list, number, 1, 'ben@example.org', 0, 0, arrived, 0, '' from posting";
    site.change(owe).await;
    assert_eq!(store.count_deliveries().await.unwrap().0, 2);
    let rows = site.rows("select min(arrived) from posting").await;
    let arrived = Timestamp(rows[0][0].parse().unwrap());
    assert!(arrived < made, "the copies have waited longer");
    assert_eq!(store.oldest_owed(ever).await.unwrap(), Some(arrived));
    // A mail that comes in while nothing waits long is no trouble, one that was tried is.
    assert_eq!(store.oldest_owed(Timestamp(0)).await.unwrap(), None);
    site.change("update delivery set attempts = 1").await;
    assert_eq!(
        store.oldest_owed(Timestamp(0)).await.unwrap(),
        Some(arrived)
    );
    site.change("update delivery set state = 2").await;
    assert_eq!(
        store.oldest_owed(ever).await.unwrap(),
        Some(made),
        "given up is not owed"
    );
}

async fn moments(site: Site) {
    let store = &site.ctx.store;
    assert_eq!(store.find_moment("last-backup").await.unwrap(), None);
    for at in [START, START.plus_secs(60)] {
        site.ctx.note_backup(at).await.unwrap();
        assert_eq!(store.find_moment("last-backup").await.unwrap(), Some(at));
    }
    let made = store.first_list_made().await.unwrap();
    assert_eq!(made, None);
    site.list("dev", "public").await;
    assert!(store.first_list_made().await.unwrap().is_some());
}
