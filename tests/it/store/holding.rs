//! Mail that is held and taken back: nothing slips out beside it, nothing is dropped early, nothing stays of what is purged.

use patchpost::list::settings::{Bits, Moderation};
use patchpost::pipeline::{Filing, NewMail};
use patchpost::session::Protocol;
use patchpost::store::job::Held;
use patchpost::store::{
    AccessChange, Done, ListChange, ListRow, NewApplication, RecallWish, Removal, Tried,
};
use patchpost::types::{Job, ListId, MailId, ReceiptId, SeriesId, Timestamp};

use super::site::{Database, START, Site, mail, play};
use crate::harness::on_both;

on_both! {
    a_mail_taken_back_late_is_held_for_all_its_days,
    a_mail_taken_back_goes_out_by_no_other_list,
    work_that_was_claimed_before_brings_nothing_back,
    a_purge_leaves_nothing_in_holds_and_letters,
    what_was_purged_in_one_realm_comes_to_another,
    notes_of_others_stay_when_a_mail_is_purged,
    nobody_is_said_to_know_who_was_not_told,
    who_has_to_decide_is_reminded_once_a_day,
    a_wave_is_decided_in_steps,
    old_notes_and_letters_of_strangers_end,
    a_purged_list_takes_along_what_another_refused,
    a_notice_of_a_long_series_has_an_end,
    what_was_redacted_is_not_recalled,
    who_joined_later_waits_for_no_old_mail,
    what_is_applied_while_it_is_taken_back_goes_once_more,
}

const DAY: i64 = 86_400;
const CANARY: &str = "kanarienvogelgesang";

fn a_mail_taken_back_late_is_held_for_all_its_days(database: Database) {
    play(database, late);
}
fn a_mail_taken_back_goes_out_by_no_other_list(database: Database) {
    play(database, cross_posted);
}
fn work_that_was_claimed_before_brings_nothing_back(database: Database) {
    play(database, claimed);
}
fn a_purge_leaves_nothing_in_holds_and_letters(database: Database) {
    play(database, purged);
}
fn what_was_purged_in_one_realm_comes_to_another(database: Database) {
    play(database, realms);
}
fn notes_of_others_stay_when_a_mail_is_purged(database: Database) {
    play(database, notes);
}
fn nobody_is_said_to_know_who_was_not_told(database: Database) {
    play(database, untold);
}
fn who_has_to_decide_is_reminded_once_a_day(database: Database) {
    play(database, reminded);
}
fn a_wave_is_decided_in_steps(database: Database) {
    play(database, wave);
}
fn old_notes_and_letters_of_strangers_end(database: Database) {
    play(database, aged);
}

fn a_purged_list_takes_along_what_another_refused(database: Database) {
    play(database, refused_elsewhere);
}
fn a_notice_of_a_long_series_has_an_end(database: Database) {
    play(database, long_series);
}

fn what_was_redacted_is_not_recalled(database: Database) {
    play(database, redacted);
}
fn who_joined_later_waits_for_no_old_mail(database: Database) {
    play(database, joined_later);
}
fn what_is_applied_while_it_is_taken_back_goes_once_more(database: Database) {
    play(database, overtaken);
}

/// A list that holds everybody's mail.
async fn holding(site: &Site, name: &str) -> ListRow {
    let mut list = site.list(name, "public").await;
    list.policy.moderation = Moderation::All;
    let change = ListChange {
        policy: Some(list.policy.clone()),
        ..ListChange::default()
    };
    site.ctx.store.update_list(list.id, change).await.unwrap();
    list
}

async fn recall(site: &Site, list: &ListRow, id: &str, how: Removal, now: Timestamp) {
    let mail = site.mails(list, id).await[0];
    let wish = RecallWish {
        how,
        why: "asked for".to_owned(),
        ..RecallWish::default()
    };
    site.ctx.recall(mail, wish, now).await.unwrap().unwrap();
}

async fn held(site: &Site, list: &ListRow) -> usize {
    let held = site.ctx.load_held(Some(list.id)).await.unwrap();
    held.len()
}

async fn postings(site: &Site, list: &ListRow) -> i64 {
    site.ctx.store.count_list(list.id).await.unwrap().0
}

async fn late(site: Site) {
    let dev = site.list("dev", "public").await;
    site.post(&["dev"], &mail("old@x", "old", "", "text")).await;
    let days = |n: i64| patchpost::store::now().plus_secs(n * DAY);
    recall(&site, &dev, "old@x", Removal::Recall, days(100)).await;
    // The hourly look, an hour later.
    let gone = site.ctx.expire_held(&dev, days(100).plus_secs(3_600)).await;
    assert_eq!(gone.unwrap(), 0);
    assert_eq!(held(&site, &dev).await, 1);
    let gone = site.ctx.expire_held(&dev, days(113)).await;
    assert_eq!(gone.unwrap(), 0);
    let gone = site.ctx.expire_held(&dev, days(115)).await;
    assert_eq!(gone.unwrap(), 1);
}

/// Claims one list's filing alone.
async fn claim(site: &Site, receipt: ReceiptId) -> Filing {
    let now = site.ctx.store.time().await.unwrap();
    let wanted = vec![Job::File(receipt)];
    let claims = site.ctx.store.claim_these(wanted, now).await.unwrap();
    Filing {
        job: claims[0].held(),
        receipt,
    }
}

async fn receipt(site: &Site, list: &ListRow) -> ReceiptId {
    let text = format!("select id from receipt where list = {}", list.id);
    ReceiptId(site.rows(&text).await[0][0].parse().unwrap())
}

async fn cross_posted(site: Site) {
    let dev = site.list("dev", "public").await;
    let users = site.list("users", "public").await;
    site.send(&["dev", "users"], &mail("spam@x", "spam", "", "text"))
        .await;
    let first = claim(&site, receipt(&site, &dev).await).await;
    site.ctx.file(&[first], false).await.unwrap();
    let now = patchpost::store::now();
    recall(&site, &dev, "spam@x", Removal::Recall, now).await;
    site.drain().await;
    assert_eq!(postings(&site, &dev).await, 0);
    assert_eq!(postings(&site, &users).await, 0, "it was on its way there");
    assert_eq!(held(&site, &dev).await, 1);
    assert_eq!(held(&site, &users).await, 1);
    // Each list decides for itself.
    let mails = site.ctx.load_held(Some(users.id)).await.unwrap();
    site.ctx.accept_held(mails, false, "", now).await.unwrap();
    site.drain().await;
    assert_eq!(postings(&site, &users).await, 1);
    let mails = site.ctx.load_held(Some(dev.id)).await.unwrap();
    let fate = patchpost::store::Fate::Discard;
    site.ctx.refuse_held(mails, fate, "", now).await.unwrap();
    let mail = site.mails(&users, "spam@x").await[0];
    let bytes = site.ctx.store.load_bytes(mail).await.unwrap();
    assert!(bytes.is_some(), "what is posted keeps its bytes");
}

async fn claimed(site: Site) {
    let dev = site.list("dev", "public").await;
    let now = patchpost::store::now();
    site.post(&["dev"], &mail("a@x", "s", "", "text")).await;
    let id = receipt(&site, &dev).await;
    // Killed between the two commits of filing: the mail stands there, and its receipt is owed.
    site.change("update receipt set state = 0, mail = null")
        .await;
    let job = vec![(Job::File(id), 0)];
    site.ctx.store.insert_jobs(job, now).await.unwrap();
    recall(&site, &dev, "a@x", Removal::Recall, now).await;
    site.drain().await;
    assert_eq!(
        (postings(&site, &dev).await, held(&site, &dev).await),
        (0, 1)
    );
    let mails = site.ctx.load_held(Some(dev.id)).await.unwrap();
    site.ctx.accept_held(mails, false, "", now).await.unwrap();
    site.drain().await;
    assert_eq!(postings(&site, &dev).await, 1);
    // A worker that had begun for a better copy goes on after the mail was taken back.
    let job = vec![(Job::File(id), 0)];
    site.ctx.store.insert_jobs(job, now).await.unwrap();
    let begun = claim(&site, id).await;
    recall(&site, &dev, "a@x", Removal::Recall, now).await;
    site.ctx.file(&[begun], false).await.unwrap();
    site.drain().await;
    assert_eq!(
        (postings(&site, &dev).await, held(&site, &dev).await),
        (0, 1)
    );
    // One that had filed it and was about to say so.
    let done = Done {
        receipts: vec![(id, MailId(1))],
        ..Done::default()
    };
    let ctx = &site.ctx;
    ctx.regroup(dev.realm, &[MailId(1)], done).await.unwrap();
    let state = "select state from receipt";
    assert_eq!(site.rows(state).await, [["3"]]);
}

pub async fn tend(site: &Site, list: ListId, now: Timestamp) {
    let job = Held {
        id: patchpost::types::JobId(0),
        lease: 0,
    };
    site.ctx.tend_held(list, job, now).await.unwrap();
}

pub async fn give(site: &Site, list: &ListRow, address: &str) {
    let change = AccessChange {
        people: vec![(address.to_owned(), Some(Bits::MODERATE))],
        ..AccessChange::default()
    };
    let store = &site.ctx.store;
    let done = store.update_access(list.id, change, String::new(), START);
    done.await.unwrap();
}

async fn purged(site: Site) {
    let dev = site.list("dev", "public").await;
    let users = holding(&site, "users").await;
    give(&site, &users, "ben@example.net").await;
    let id = format!("{CANARY}@x");
    let text = mail(&id, CANARY, "", CANARY);
    site.post(&["dev", "users"], &text).await;
    tend(&site, users.id, patchpost::store::now()).await;
    assert_eq!(
        site.rows("select count(*) from letter").await,
        [["1"]],
        "the moderator's notice has its words"
    );
    recall(&site, &dev, &id, Removal::Purge, START).await;
    assert_eq!(held(&site, &users).await, 0, "nobody decides about it now");
    for table in ["letter", "held"] {
        let count = format!("select count(*) from {table}");
        assert_eq!(site.rows(&count).await, [["0"]], "{table}");
    }
    // The command was killed here: that is owed until it is done.
    assert_eq!(site.ctx.store.load_scrubs().await.unwrap(), [dev.realm]);
    patchpost::worker::drain(&site.ctx, &["aftermath"])
        .await
        .unwrap();
    site.ctx.scrub(dev.realm).await.unwrap();
    assert_eq!(site.ctx.store.load_scrubs().await.unwrap(), []);
    assert_eq!(
        super::bytes::mentions(&site, CANARY).await,
        Vec::<String>::new()
    );
}

fn mail_to_postmaster(text: &str) -> NewMail {
    NewMail {
        bytes: text.replace('\n', "\r\n").into_bytes(),
        sender: Some("ana@example.org".parse().unwrap()),
        recipients: vec!["postmaster@x.org".parse().unwrap()],
        protocol: Protocol::Smtp,
        ip: None,
        helo: "client.example".to_owned(),
    }
}

async fn realms(site: Site) {
    let dev = site.list("dev", "public").await;
    let own = site.list("own", "private").await;
    let text = mail("a@x", "s", "", "text");
    site.post(&["dev"], &text).await;
    recall(&site, &dev, "a@x", Removal::Purge, START).await;
    site.post(&["own"], &text).await;
    assert_eq!(postings(&site, &own).await, 1, "that is another archive");
    let again = site.mails(&own, "a@x").await[0];
    let everywhere = RecallWish {
        how: Removal::Purge,
        everywhere: true,
        ..RecallWish::default()
    };
    site.ctx.recall(again, everywhere, START).await.unwrap();
    let third = site.list("third", "private").await;
    site.import(&third, &[(text.clone(), START)]).await;
    site.drain().await;
    assert_eq!(postings(&site, &third).await, 0);
    // The postmaster takes everything but that.
    let other = mail_to_postmaster(&mail("b@x", "s", "", "text"));
    assert!(site.ctx.screen(other).await[0].is_ok());
    let answers = site.ctx.screen(mail_to_postmaster(&text)).await;
    assert!(answers[0].is_err(), "{answers:?}");
}

async fn notes(site: Site) {
    let dev = site.list("dev", "public").await;
    let store = &site.ctx.store;
    // Whose mail is removed chose its name.
    site.post(&["dev"], &mail("ana@x", "s", "", "text")).await;
    let details = [
        "joana@x: a mail of somebody else",
        "no header: joana@x",
        "no header: ana@x",
    ];
    for detail in details {
        store
            .insert_event(&dev, "dropped", String::new(), detail.to_owned(), START)
            .await
            .unwrap();
    }
    let said = "old@x, from ana@x; held as the first mail of ana@x here".to_owned();
    store
        .insert_event(&dev, "accepted", String::new(), said, START)
        .await
        .unwrap();
    recall(&site, &dev, "ana@x", Removal::Purge, START).await;
    let left = store.load_events(Some(dev.id), 99).await.unwrap();
    let mut left: Vec<&str> = left.iter().map(|e| e.detail.as_str()).collect();
    left.sort_unstable();
    assert_eq!(left.len(), 4, "{left:?}");
    assert!(!left.contains(&"no header: ana@x"), "{left:?}");
}

async fn untold(site: Site) {
    let dev = holding(&site, "dev").await;
    let now = patchpost::store::now();
    site.post(&["dev"], &mail("a@x", "first", "", "text")).await;
    let told = async || site.ctx.store.load_untold(dev.id).await.unwrap().is_empty();
    // There is nobody, neither a moderator nor an operator.
    tend(&site, dev.id, now).await;
    assert!(!told().await, "nobody heard of it");
    // The only moderator is a list here.
    give(&site, &dev, "dev@x.org").await;
    tend(&site, dev.id, now).await;
    assert!(!told().await);
    // One who has had all notices of a day.
    give(&site, &dev, "ben@example.net").await;
    for _ in 0..100 {
        site.change(&format!(
            "insert into notice (cap, address, list, source, made) values ('moderation', 'ben@example.net', {}, '', {})",
            dev.id, now.0
        ))
        .await;
    }
    tend(&site, dev.id, now).await;
    assert!(!told().await, "his letter was one too many");
    tend(&site, dev.id, now.plus_secs(DAY + 60)).await;
    assert!(told().await, "he hears of it the next day");
    let letters = "select count(*) from letter where purpose = 'held mail'";
    assert_eq!(site.rows(letters).await, [["1"]]);
}

async fn reminded(site: Site) {
    let dev = holding(&site, "dev").await;
    give(&site, &dev, "ben@example.net").await;
    let now = patchpost::store::now();
    site.post(&["dev"], &mail("a@x", "first", "", "text")).await;
    let count = async || {
        let text = "select count(*) from letter where purpose = 'held mail reminder'";
        site.rows(text).await[0][0].clone()
    };
    tend(&site, dev.id, now.plus_secs(60)).await;
    assert_eq!(count().await, "0", "it is news still");
    for hours in [25, 26, 30] {
        tend(&site, dev.id, now.plus_secs(hours * 3_600)).await;
    }
    assert_eq!(count().await, "1", "once a day");
    tend(&site, dev.id, now.plus_secs(12 * DAY)).await;
    assert_eq!(count().await, "2");
    let data = match site.database {
        Database::Sqlite => "cast(data as text)",
        Database::Postgres => "convert_from(data, 'UTF8')",
    };
    let text = format!("select count(*) from letter where {data} like '%dropped soon%'");
    assert_eq!(site.rows(&text).await, [["1"]], "the end is near");
    assert_eq!(held(&site, &dev).await, 1);
}

async fn wave(site: Site) {
    let dev = holding(&site, "dev").await;
    let now = patchpost::store::now();
    for n in 0..600 {
        let text = mail(&format!("{n}@x"), &format!("[PATCH {n}/600] s"), "", "text");
        site.send(&["dev"], &text).await;
    }
    let all = site.ctx.load_held(Some(dev.id)).await.unwrap();
    assert_eq!(all.len(), 600);
    let whole = site.ctx.with_series(all.clone()).await.unwrap();
    assert_eq!(whole, all, "each once, in order");
    let fate = patchpost::store::Fate::Discard;
    let done = site.ctx.refuse_held(all, fate, "", now).await.unwrap();
    assert_eq!(done.len(), 600);
    assert_eq!(held(&site, &dev).await, 0);
    let notes = "select count(*) from event where kind = 'discarded'";
    assert_eq!(site.rows(notes).await, [["600"]]);
}

async fn aged(site: Site) {
    let dev = site.list("dev", "public").await;
    let now = patchpost::store::now();
    for (kind, days) in [
        ("dropped", 400),
        ("dropped", 1),
        ("refused", 400),
        ("accepted", 400),
    ] {
        let at = now.plus_secs(-days * DAY);
        site.ctx
            .store
            .insert_event(&dev, kind, String::new(), "x".to_owned(), at)
            .await
            .unwrap();
    }
    for (days, state) in [(400, 2), (1, 2), (400, 0)] {
        let at = now.plus_secs(-days * DAY).0;
        site.change(&format!(
            "insert into letter (list, purpose, recipient, return_path, data, made, state, attempts, run_at, claimed_until, problem) \
             select {}, 'help', 'a@b.c', '', data, {at}, {state}, 1, {at}, 0, '' from dictionary where id = 0",
            dev.id
        ))
        .await;
    }
    for (who, days) in [("old@x", 400), ("new@x", 1)] {
        let at = now.plus_secs(-days * DAY).0;
        site.change(&format!(
            "insert into complaint (address, happened) values ('{who}', {at})"
        ))
        .await;
    }
    site.ctx.check_bounces(now).await.unwrap();
    let complaints = "select address from complaint";
    assert_eq!(site.rows(complaints).await, [["new@x"]]);
    let kinds = "select kind from event order by kind";
    assert_eq!(site.rows(kinds).await, [["accepted"], ["dropped"]]);
    let letters = "select count(*) from letter";
    assert_eq!(site.rows(letters).await, [["2"]]);
}

async fn refused_elsewhere(site: Site) {
    let dev = site.list("dev", "public").await;
    let users = holding(&site, "users").await;
    let text = mail("refused@x", CANARY, "", CANARY);
    site.post(&["dev", "users"], &text).await;
    site.post(&["dev", "users"], &mail("held@x", "s", "", "text"))
        .await;
    let now = patchpost::store::now();
    let mut all = site.ctx.load_held(Some(users.id)).await.unwrap();
    let waits = all.split_off(1);
    let fate = patchpost::store::Fate::Discard;
    let done = site.ctx.refuse_held(all, fate, "", now).await.unwrap();
    assert_eq!(done[0].message_id, "refused@x");
    assert_eq!(postings(&site, &dev).await, 2);
    site.ctx.purge_list(&dev).await.unwrap();
    assert_eq!(
        super::bytes::mentions(&site, CANARY).await,
        Vec::<String>::new()
    );
    let mails = "select count(*) from mail";
    assert_eq!(site.rows(mails).await, [["0"]], "none without a posting");
    // What the other list holds still comes when it is let through.
    let done = site.ctx.accept_held(waits, false, "", now).await.unwrap();
    assert_eq!(done.len(), 1);
    site.drain().await;
    assert_eq!(site.mails(&users, "held@x").await.len(), 1);
    // What was refused is known still.
    site.post(&["users"], &text).await;
    assert_eq!(held(&site, &users).await, 0);
}

async fn long_series(site: Site) {
    let dev = holding(&site, "dev").await;
    give(&site, &dev, "ben@example.net").await;
    for n in 1..=60 {
        let more = super::site::answers("0@x");
        let subject = format!("[PATCH {n}/60] s");
        let text = super::site::patch(&format!("{n}@x"), &subject, &more);
        site.send(&["dev"], &text).await;
    }
    tend(&site, dev.id, patchpost::store::now()).await;
    let data = match site.database {
        Database::Sqlite => "cast(data as text)",
        Database::Postgres => "convert_from(data, 'UTF8')",
    };
    let text = format!(
        "select count(*) from letter where {data} like '%one of 60 mails%' and {data} like '%and 10 more%' \
         and {data} not like '%PATCH 51/60%'"
    );
    assert_eq!(site.rows(&text).await, [["1"]]);
}

async fn redacted(site: Site) {
    let dev = site.list("dev", "public").await;
    site.post(&["dev"], &mail("a@x", "s", "", "text")).await;
    recall(&site, &dev, "a@x", Removal::Redact, START).await;
    let mail = site.mails(&dev, "a@x").await[0];
    let done = site.ctx.recall(mail, RecallWish::default(), START).await;
    assert_eq!(done.unwrap(), None, "there is nothing to hold");
    assert_eq!(site.mails(&dev, "a@x").await, [mail], "its place stays");
    recall(&site, &dev, "a@x", Removal::Purge, START).await;
    assert_eq!(site.mails(&dev, "a@x").await, []);
}

async fn joined_later(site: Site) {
    let dev = site.list("dev", "public").await;
    let join = async |name: &str| {
        let who = vec![format!("{name}@example.net")];
        let store = &site.ctx.store;
        store.insert_members(dev.id, who, START).await.unwrap();
    };
    join("ben").await;
    let mut stopped = Vec::new();
    for (id, finished) in [("a@x", false), ("b@x", true)] {
        site.post(&["dev"], &mail(id, "s", "", "text")).await;
        if finished {
            site.change("update fan_out set finished = 1, cursor = (select max(id) from member)")
                .await;
            join("eve").await;
        }
        let mail = site.mails(&dev, id).await[0];
        let wish = RecallWish::default();
        let done = site.ctx.recall(mail, wish, START).await.unwrap();
        stopped.push(done.unwrap().stopped);
    }
    assert_eq!(stopped, [1, 0]);
}

async fn overtaken(site: Site) {
    let dev = site.list("dev", "public").await;
    let text = super::site::patch("p@x", "[PATCH] one", "");
    site.post(&["dev"], &text).await;
    let series = site.rows("select id from series").await[0][0].clone();
    let series = SeriesId(series.parse().unwrap());
    let store = &site.ctx.store;
    let work = store.load_series_to_apply(series).await.unwrap().unwrap();
    recall(&site, &dev, "p@x", Removal::Recall, START).await;
    patchpost::worker::drain(&site.ctx, &["aftermath"])
        .await
        .unwrap();
    let nothing = store.load_aftermath(dev.realm).await.unwrap();
    assert_eq!(nothing.versions, []);
    // Its ref was set meanwhile.
    let application = NewApplication::on(1, "c0", "why");
    let commits = vec!["c1".to_owned()];
    let tried = Tried {
        application: application.applied("r".to_owned(), "c1".to_owned(), commits),
        patch_ids: Vec::new(),
        tip: None,
    };
    let job = Held {
        id: patchpost::types::JobId(0),
        lease: 0,
    };
    store.record_application(&work, tried, job).await.unwrap();
    let left = store.load_aftermath(dev.realm).await.unwrap();
    assert_eq!(left.versions, [(work.patchset.0, work.label.clone())]);
    let owed = "select count(*) from job where kind = 'aftermath'";
    assert_eq!(site.rows(owed).await, [["1"]]);
}
