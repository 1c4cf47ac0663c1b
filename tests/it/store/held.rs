//! The end of held mail that nobody lets through.

use patchpost::list::settings::{Moderation, Policy};
use patchpost::store::{Fate, ListChange, ListRow, RecallWish};

use super::bytes::mentions;
use super::site::{Database, Site, mail, play};
use crate::harness::on_both;

on_both! {
    what_nobody_decides_on_is_dropped_after_its_days,
    a_purged_held_mail_leaves_no_bytes,
    a_purged_held_mail_leaves_no_words,
    a_purged_held_mail_leaves_no_name_in_earlier_notes,
}

const CANARY: &str = "kanarienvogelgesang";

fn what_nobody_decides_on_is_dropped_after_its_days(database: Database) {
    play(database, expiry);
}

fn a_purged_held_mail_leaves_no_bytes(database: Database) {
    play(database, purge);
}

fn a_purged_held_mail_leaves_no_words(database: Database) {
    play(database, purge_words);
}

fn a_purged_held_mail_leaves_no_name_in_earlier_notes(database: Database) {
    play(database, purge_notes);
}

/// A list that holds everything.
async fn holding(site: &Site) -> ListRow {
    let list = site.list("dev", "public").await;
    let change = ListChange {
        policy: Some(Policy::open().moderated(Moderation::All)),
        ..ListChange::default()
    };
    site.ctx.change_list(list.id, change).await.unwrap();
    site.ctx.store.find_list("dev").await.unwrap().unwrap()
}

async fn expiry(site: Site) {
    let list = holding(&site).await;
    let text = mail("h@x", "canary", "", "text");
    site.send(&["dev"], &text).await;
    let count = async || site.ctx.load_held(Some(list.id)).await.unwrap().len();
    assert_eq!(count().await, 1);
    let now = patchpost::store::now();
    let after = async |days: i64| {
        let then = now.plus_secs(days * 86_400);
        site.ctx.expire_held(&list, then).await.unwrap()
    };
    assert_eq!(after(13).await, 0, "a list gives fourteen days");
    assert_eq!(count().await, 1);
    assert_eq!(after(15).await, 1);
    assert_eq!(count().await, 0);
    assert_eq!(after(16).await, 0, "once");
    assert_eq!(site.rows("select count(*) from blob").await, [["0"]]);
    let noted = site.rows("select kind from event order by id").await;
    assert_eq!(noted, [["expired"]]);
    // A resend does not bring it back.
    site.post(&["dev"], &text).await;
    assert_eq!(count().await, 0);
    assert_eq!(site.rows("select count(*) from posting").await, [["0"]]);
}

async fn purge(site: Site) {
    let list = holding(&site).await;
    let text = mail("h@x", "a subject", "", &format!("{CANARY} sings"));
    site.send(&["dev"], &text).await;
    let held = site.ctx.load_held(Some(list.id)).await.unwrap();
    let now = patchpost::store::now();
    let gone = site.ctx.refuse_held(held, Fate::Discard, "ben", now).await;
    assert_eq!(gone.unwrap().len(), 1);
    site.ctx.scrub(list.realm).await.unwrap();
    assert_eq!(mentions(&site, CANARY).await, Vec::<String>::new());
    site.post(&["dev"], &text).await;
    assert_eq!(site.rows("select count(*) from posting").await, [["0"]]);
}

async fn purge_words(site: Site) {
    let list = holding(&site).await;
    super::holding::give(&site, &list, "ben@example.net").await;
    for id in [&format!("{CANARY}@x"), "other@x"] {
        let text = mail(id, &format!("on {id}"), "", &format!("{id} sings"));
        site.send(&["dev"], &text.replace("ana@", &format!("{id}.")))
            .await;
    }
    let now = patchpost::store::now();
    super::holding::tend(&site, list.id, now).await;
    let letters = "select count(*) from letter";
    assert_eq!(site.rows(letters).await, [["2"]]);
    let mut held = site.ctx.load_held(Some(list.id)).await.unwrap();
    held.truncate(1);
    let gone = site.ctx.refuse_held(held, Fate::Purge, "ben", now).await;
    assert_eq!(gone.unwrap().len(), 1);
    assert_eq!(site.rows(letters).await, [["1"]], "the other's stays");
    // The command was killed here.
    assert_eq!(site.ctx.store.load_scrubs().await.unwrap(), [list.realm]);
    site.ctx.scrub(list.realm).await.unwrap();
    assert_eq!(site.ctx.store.load_scrubs().await.unwrap(), []);
    assert_eq!(mentions(&site, CANARY).await, Vec::<String>::new());
    let noted = site.rows("select kind, actor from event").await;
    assert_eq!(noted, [["discarded", "ben"]]);
}

async fn purge_notes(site: Site) {
    let list = site.list("dev", "public").await;
    let store = &site.ctx.store;
    let text = mail(&format!("{CANARY}@x"), "s", "", "text");
    site.post(&["dev"], &text).await;
    let posted = site.mails(&list, &format!("{CANARY}@x")).await[0];
    let now = patchpost::store::now();
    // It is held from here on, and its name stands in the note on that.
    let recalled = site.ctx.recall(posted, RecallWish::default(), now).await;
    recalled.unwrap().unwrap();
    for (kind, detail) in [
        ("dropped", format!("no header: {CANARY}@x")),
        ("refused", format!("too large: {CANARY}@x")),
        ("dropped", "no header: other@x".to_owned()),
    ] {
        let done = store.insert_event(&list, kind, String::new(), detail, now);
        done.await.unwrap();
    }
    for address in ["ana@example.org", "ben@example.org"] {
        site.change(&format!(
            "insert into rehearsal (list, address, identity, arrived, verdict, said, data) \
             select list, '{address}', identity, 1, '', '', hash from receipt"
        ))
        .await;
    }
    let held = site.ctx.load_held(Some(list.id)).await.unwrap();
    let gone = site.ctx.refuse_held(held, Fate::Purge, "ben", now).await;
    assert_eq!(gone.unwrap().len(), 1);
    let notes = site.rows("select detail from event order by id").await;
    assert_eq!(notes, [["no header: other@x"], ["a mail, for ever"]]);
    assert_eq!(site.rows("select count(*) from rehearsal").await, [["0"]]);
}
