//! The store's promises, as stories that all run on SQLite and on PostgreSQL.

/// One table: every story is a test on each database.
macro_rules! stories {
    ($($story:ident,)*) => {
        mod on_sqlite {
            use super::*;
            $(#[test] fn $story() { play(Database::Sqlite, super::$story) })*
        }
        mod on_postgresql {
            use super::*;
            $(#[test] fn $story() { play(Database::Postgres, super::$story) })*
        }
    };
}

mod bounces;
mod bytes;
mod copies;
mod correct;
mod forged;
mod held;
mod holding;
mod jobs;
mod notices;
mod numbers;
mod order;
mod rehearsal;
mod schema;
mod search;
mod sight;
mod sign_in;
mod site;
mod upkeep;
mod waiting;

use std::collections::{BTreeMap, BTreeSet};

use patchpost::pipeline::Reclassify;
use patchpost::query;
use patchpost::store::pages::Scope;
use patchpost::store::{Accepted, Done, NewReceipt, StoreError};
use patchpost::types::{ListId, MessageId, RealmId, Timestamp};
use patchpost::worker;
use search::search_finds_the_same_on_both;
use site::{Database, START, Site, answers, mail, patch, play};
use upkeep::{
    a_series_that_waited_for_a_day_is_tried_without_what_it_names,
    old_series_are_put_away_and_come_back_when_they_are_open_again,
};

use bytes::{
    a_dictionary_is_trained_and_bytes_stay_exact, a_purged_list_leaves_no_bytes,
    a_purged_mail_leaves_no_bytes_and_does_not_come_back,
    a_purged_public_list_leaves_the_others_whole, a_redacted_mail_leaves_its_place,
};
use correct::{
    a_cut_answer_starts_a_series_of_its_own, a_move_takes_a_patch_to_another_series,
    a_state_of_one_patch_is_its_own, a_state_set_by_a_person_wins, a_version_can_be_set,
    ids_are_stable_over_merge_and_split, reclassify_says_what_changes_and_a_dry_run_says_the_same,
};
use jobs::{
    a_claim_lasts_as_long_as_it_gives_signs_of_life,
    a_job_is_owed_once_and_once_more_if_wanted_while_it_runs,
    a_job_that_fails_five_times_is_parked_until_it_is_wanted_again,
    a_job_that_waits_for_trouble_to_pass_is_never_parked, a_late_finish_strikes_off_nothing,
    what_was_acknowledged_is_there_whoever_was_dropped,
};
use order::{
    all_orders_of_a_series_give_the_same, any_order_of_any_mails_gives_what_reclassify_gives,
};
use schema::{
    a_database_of_the_first_version_is_upgraded, a_newer_schema_is_refused,
    migrations_run_once_under_a_lock,
};

stories! {
    one_bad_mail_in_a_commit_fails_alone,
    the_same_mail_again_changes_nothing,
    a_copy_by_another_way_is_an_alternate_and_the_earliest_is_served,
    another_mail_of_the_same_name_is_a_second_message,
    realms_know_nothing_of_each_other,
    numbers_of_public_patchsets_tell_of_no_others,
    odd_names_are_filed_as_any,
    a_step_that_breaks_off_leaves_the_others_their_writer,
    a_late_ancestor_and_a_join_make_one_thread,
    numbers_grow_and_are_never_used_again,
    a_job_is_owed_once_and_once_more_if_wanted_while_it_runs,
    a_claim_lasts_as_long_as_it_gives_signs_of_life,
    a_job_that_fails_five_times_is_parked_until_it_is_wanted_again,
    a_job_that_waits_for_trouble_to_pass_is_never_parked,
    a_late_finish_strikes_off_nothing,
    what_rests_on_an_older_archive_is_not_written,
    two_processes_file_every_mail_once,
    search_finds_the_same_on_both,
    what_was_acknowledged_is_there_whoever_was_dropped,
    a_purged_list_leaves_no_bytes,
    a_purged_mail_leaves_no_bytes_and_does_not_come_back, a_redacted_mail_leaves_its_place,
    a_purged_public_list_leaves_the_others_whole,
    a_dictionary_is_trained_and_bytes_stay_exact,
    ids_are_stable_over_merge_and_split,
    a_move_takes_a_patch_to_another_series,
    a_cut_answer_starts_a_series_of_its_own,
    a_version_can_be_set,
    a_state_set_by_a_person_wins,
    a_state_of_one_patch_is_its_own,
    reclassify_says_what_changes_and_a_dry_run_says_the_same,
    all_orders_of_a_series_give_the_same,
    any_order_of_any_mails_gives_what_reclassify_gives,
    old_series_are_put_away_and_come_back_when_they_are_open_again,
    a_series_that_waited_for_a_day_is_tried_without_what_it_names,
    migrations_run_once_under_a_lock,
    a_newer_schema_is_refused,
    a_database_of_the_first_version_is_upgraded,
}

fn receipt(list: ListId, arrived: Timestamp) -> NewReceipt {
    NewReceipt {
        stranger: false,
        send_at: Timestamp(0),
        held: None,
        list,
        realm: RealmId::PUBLIC,
        sender: "ana@example.org".to_owned(),
        arrived,
        source: "smtp",
    }
}

pub async fn one_bad_mail_in_a_commit_fails_alone(site: Site) {
    let list = site.list("dev", "public").await;
    let mut waiting = tokio::task::JoinSet::new();
    for n in 0..20 {
        let text = mail(&format!("{n}@x"), "s", "", "b");
        let one = site.prepare(RealmId::PUBLIC, &text).await;
        let store = site.ctx.store.clone();
        // A list that is not there breaks the foreign key.
        let list = if n == 7 { ListId(999_999) } else { list.id };
        waiting.spawn(async move { (n, store.accept(one, vec![receipt(list, START)]).await) });
    }
    for (n, answer) in waiting.join_all().await {
        match n {
            7 => assert!(
                matches!(answer, Err(StoreError::Temporary(_))),
                "{answer:?}"
            ),
            _ => assert!(matches!(answer.unwrap()[..], [Accepted::New(_)])),
        }
    }
    site.drain().await;
    assert_eq!(site.ctx.store.count_list(list.id).await.unwrap().0, 19);
    let left = site.rows("select count(*) from blob").await;
    assert_eq!(left, [["19"]], "nothing of the bad one is stored");
}

pub async fn the_same_mail_again_changes_nothing(site: Site) {
    let list = site.list("dev", "public").await;
    let text = patch("p@x", "[PATCH] p", "");
    site.post(&["dev"], &text).await;
    let before = site.ctx.store.find_list_version(&list).await.unwrap();
    for _ in 0..3 {
        site.post(&["dev"], &text).await;
    }
    assert_eq!(
        site.ctx.store.find_list_version(&list).await.unwrap(),
        before
    );
    assert_eq!(
        site.ctx.store.count_list(list.id).await.unwrap(),
        (1, 1, 1, 0)
    );
    assert_eq!(site.rows("select count(*) from copy").await, [["1"]]);
    assert_eq!(site.ctx.store.count_jobs().await.unwrap().1, 0);
}

pub async fn a_copy_by_another_way_is_an_alternate_and_the_earliest_is_served(site: Site) {
    let list = site.list("dev", "public").await;
    let by =
        |host: &str| format!("Received: from {host} by x.org; Tue, 14 Nov 2023 22:13:20 +0000\n");
    let copy = |host: &str| by(host) + &mail("m@x", "s", "", "b");
    let (late, early) = (copy("late.example"), copy("early.example"));
    let take = async |text: &str, at: i64| {
        let one = site.prepare(RealmId::PUBLIC, text).await;
        let receipts = vec![receipt(list.id, START.plus_secs(at))];
        site.ctx.store.accept(one, receipts).await.unwrap()[0]
    };
    assert!(matches!(take(&late, 9).await, Accepted::New(_)));
    site.drain().await;
    let before = site.ctx.store.find_list_version(&list).await.unwrap();
    assert_eq!(take(&early, 5).await, Accepted::Known);
    site.drain().await;
    let mails = site.mails(&list, "m@x").await;
    assert_eq!(mails.len(), 1, "one message");
    let served = site.ctx.store.load_bytes(mails[0]).await.unwrap().unwrap();
    assert_eq!(String::from_utf8(served.0).unwrap(), early);
    assert_eq!(site.rows("select count(*) from blob").await, [["2"]]);
    let after = site.ctx.store.find_list_version(&list).await.unwrap();
    assert_ne!(before, after, "its pages are made anew");
}

pub async fn another_mail_of_the_same_name_is_a_second_message(site: Site) {
    let list = site.list("dev", "public").await;
    site.post(&["dev"], &mail("m@x", "s", "", "the first"))
        .await;
    site.post(&["dev"], &mail("m@x", "s", "", "another")).await;
    assert_eq!(site.mails(&list, "m@x").await.len(), 2);
    assert_eq!(site.ctx.store.count_list(list.id).await.unwrap().0, 2);
    let id = MessageId::parse("m@x").unwrap();
    let rows = site.ctx.store.find_mails(&list, &id).await.unwrap();
    assert!(rows[0].text.contains("the first"), "the first comes first");
}

pub async fn numbers_of_public_patchsets_tell_of_no_others(site: Site) {
    site.list("open", "public").await;
    site.list("closed", "private").await;
    for (n, list) in [(1, "open"), (2, "closed"), (3, "closed"), (4, "open")] {
        let text = patch(&format!("{n}@x"), &format!("[PATCH] of {n}"), "");
        site.post(&[list], &text).await;
    }
    let open = site
        .rows("select id from patchset where realm = 1 order by id")
        .await;
    assert_eq!(open, [["1"], ["2"]]);
    let closed = site
        .rows("select id from patchset where realm <> 1 order by id")
        .await;
    assert_eq!(closed.len(), 2);
    assert!(closed.iter().all(|row| row[0].len() > 9), "{closed:?}");
}

/// Angle brackets, blanks and control characters in names, of a mail's own and of its parents.
pub async fn odd_names_are_filed_as_any(site: Site) {
    let list = site.list("dev", "public").await;
    let long = "<".repeat(300) + &"a".repeat(300) + "@x>>>";
    let odd = [
        "<<<evil@e.org>",
        "a@b>>",
        "<\u{1}<c@d>",
        "<>",
        "<<>>",
        "<a<b>c@x>",
        "<e f@\tx>",
        &long,
        "<\u{fffd}@x>",
        ">",
    ];
    for (n, name) in odd.iter().enumerate() {
        let own = format!("From: Ana <ana@x>\nMessage-ID: {name}\nSubject: own {n}\n\nx\n");
        let parent = format!(
            "From: Ana <ana@x>\nMessage-ID: <p{n}@x>\nIn-Reply-To: {name}\nReferences: {name} {name}\nSubject: answer {n}\n\nx\n"
        );
        let alias = format!(
            "From: Ana <ana@x>\nX-Microsoft-Original-Message-ID: {name}\nSubject: alias {n}\n\nx\n"
        );
        for text in [own, parent, alias] {
            site.post(&["dev"], &text).await;
        }
    }
    let (postings, ..) = site.ctx.store.count_list(list.id).await.unwrap();
    assert_eq!(postings, 3 * odd.len() as i64);
    assert_eq!(site.ctx.store.count_jobs().await.unwrap(), (0, 0));
    let names = site.rows("select message_id from node").await;
    for name in names {
        let again = MessageId::parse(&name[0]).unwrap();
        assert_eq!(again.as_str(), name[0], "a row is read as it was written");
    }
}

pub async fn a_step_that_breaks_off_leaves_the_others_their_writer(site: Site) {
    let store = &site.ctx.store;
    let list = site.list("dev", "public").await;
    // The panic hook's words are part of this test's output.
    let broken = store.break_off().await;
    let said = broken.unwrap_err().to_string();
    assert!(said.contains("broke off"), "{said}");
    site.post(&["dev"], &mail("a@x", "after", "", "b")).await;
    assert_eq!(site.mails(&list, "a@x").await.len(), 1);
    store.check().await.unwrap();
}

pub async fn realms_know_nothing_of_each_other(site: Site) {
    let open = site.list("open", "public").await;
    let other = site.list("other", "public").await;
    let closed = site.list("closed", "private").await;
    assert_eq!(
        (open.realm, other.realm),
        (RealmId::PUBLIC, RealmId::PUBLIC)
    );
    let text = patch("p@x", "[PATCH] shared words", "");
    site.post(&["open", "other", "closed"], &text).await;
    let answer = mail(
        "r@x",
        "Re: [PATCH] shared words",
        &answers("p@x"),
        "secretword",
    );
    site.post(&["closed"], &answer).await;
    let (mine, theirs) = (
        site.mails(&open, "p@x").await,
        site.mails(&closed, "p@x").await,
    );
    assert_eq!(
        mine,
        site.mails(&other, "p@x").await,
        "one message, two postings"
    );
    assert_ne!(mine, theirs, "another message in a realm of its own");
    let all = site.ctx.store.load_summaries(None, 100).await.unwrap();
    let patchsets: BTreeSet<i64> = all.iter().map(|s| s.patchset).collect();
    assert_eq!(
        patchsets.len(),
        2,
        "one for all public lists, one for the other"
    );
    let comments =
        async |list| site.ctx.store.load_summaries(Some(list), 9).await.unwrap()[0].comments;
    assert_eq!((comments(open.id).await, comments(closed.id).await), (0, 1));
    let words = query::parse("secretword", START).unwrap();
    let find = async |scope| {
        let found = site
            .ctx
            .store
            .search(scope, &words, None, i64::MAX, 9)
            .await;
        found.unwrap().len()
    };
    assert_eq!(find(Scope::Public).await, 0);
    assert_eq!(find(Scope::List(open.id)).await, 0);
    assert_eq!(find(Scope::List(closed.id)).await, 1);
    let closure = site
        .ctx
        .store
        .load_closure(open.realm, &mine)
        .await
        .unwrap();
    assert_eq!(
        closure.mails.len(),
        1,
        "what is thought about stays in the realm"
    );
    let id = MessageId::parse("r@x").unwrap();
    assert_eq!(site.ctx.store.find_public_list_of(&id).await.unwrap(), None);
}

pub async fn a_late_ancestor_and_a_join_make_one_thread(site: Site) {
    let list = site.list("dev", "public").await;
    let threads = async || site.ctx.store.count_list(list.id).await.unwrap().1;
    let first = async || {
        let rows = site
            .ctx
            .store
            .load_threads(list.id, i64::MAX, 9)
            .await
            .unwrap();
        rows.into_iter()
            .map(|r| (r.postings, r.message_id))
            .collect::<Vec<_>>()
    };
    site.post(&["dev"], &mail("b@x", "Re: s", &answers("a@x"), "b"))
        .await;
    assert_eq!(first().await, [(1, "b@x".to_owned())], "under a ghost");
    site.post(&["dev"], &mail("a@x", "s", "", "a")).await;
    assert_eq!(
        first().await,
        [(2, "a@x".to_owned())],
        "the late ancestor fills it"
    );
    site.post(&["dev"], &mail("d@x", "Re: t", &answers("c@x"), "d"))
        .await;
    assert_eq!(threads().await, 2);
    let both = "In-Reply-To: <b@x>\nReferences: <c@x> <b@x>\n";
    site.post(&["dev"], &mail("e@x", "Re: s", both, "e")).await;
    assert_eq!(
        threads().await,
        1,
        "a mail that names two threads joins them"
    );
    assert_eq!(first().await, [(4, "a@x".to_owned())]);
    let nodes = site.rows("select distinct thread from node").await;
    let alias = site.rows("select old, thread from thread_alias").await;
    assert_eq!((nodes.len(), alias.len()), (1, 1));
    assert_eq!(alias[0][1], nodes[0][0], "the old thread leads to the one");
    assert_eq!(site.rows("select count(*) from node").await, [["5"]]);
}

pub async fn numbers_grow_and_are_never_used_again(site: Site) {
    let list = site.list("dev", "public").await;
    let numbers = async || {
        let all = site.ctx.store.load_postings(list.id, 0, 99).await.unwrap();
        all.into_iter().map(|p| p.0).collect::<Vec<i64>>()
    };
    for n in 1..=3 {
        site.post(&["dev"], &mail(&format!("{n}@x"), "s", "", "b"))
            .await;
    }
    assert_eq!(numbers().await, [1, 2, 3]);
    site.change("delete from posting where number = 3").await;
    site.post(&["dev"], &mail("4@x", "s", "", "b")).await;
    assert_eq!(numbers().await, [1, 2, 4], "a hole stays a hole");
    let other = site.list("other", "public").await;
    site.post(&["other"], &mail("4@x", "s", "", "b")).await;
    let first = site.ctx.store.load_postings(other.id, 0, 9).await.unwrap();
    assert_eq!(first[0].0, 1, "every list counts for itself");
}

pub async fn what_rests_on_an_older_archive_is_not_written(site: Site) {
    let list = site.list("dev", "public").await;
    let other = site.another().await;
    site.post(&["dev"], &patch("p@x", "[PATCH 1/2] p", ""))
        .await;
    let seeds = site.mails(&list, "p@x").await;
    let closure = site
        .ctx
        .store
        .load_closure(list.realm, &seeds)
        .await
        .unwrap();
    // Another process files a mail meanwhile.
    site.send(&["dev"], &patch("q@x", "[PATCH 2/2] q", &answers("p@x")))
        .await;
    worker::drain(&other, &["file"]).await.unwrap();
    let stale = site
        .ctx
        .store
        .record_patchsets(
            list.realm,
            closure.version,
            seeds.clone(),
            vec![],
            Done::default(),
        )
        .await;
    assert!(matches!(stale, Err(StoreError::Stale)), "{stale:?}");
    site.ctx
        .regroup(list.realm, &seeds, Done::default())
        .await
        .unwrap();
    let all = site.ctx.store.load_summaries(None, 9).await.unwrap();
    assert_eq!(
        (all.len(), all[0].patches.len(), all[0].complete),
        (1, 2, true)
    );
}

pub async fn two_processes_file_every_mail_once(site: Site) {
    let list = site.list("dev", "public").await;
    let other = site.another().await;
    let count = 120;
    for n in 0..count {
        let more = match n % 4 {
            0 => String::new(),
            _ => answers(&format!("{}@x", n - n % 4)),
        };
        let subject = format!("[PATCH {}/3] set {}", n % 4, n / 4);
        site.send(&["dev"], &patch(&format!("{n}@x"), &subject, &more))
            .await;
    }
    let (one, two) = tokio::join!(
        worker::drain(&site.ctx, &["file"]),
        worker::drain(&other, &["file"])
    );
    one.unwrap();
    two.unwrap();
    let (postings, threads, patchsets, _) = site.ctx.store.count_list(list.id).await.unwrap();
    assert_eq!(
        (postings, threads, patchsets),
        (count, count / 4, count / 4)
    );
    let all = site.ctx.store.load_summaries(None, 999).await.unwrap();
    assert!(all.iter().all(|s| s.complete && s.patches.len() == 3));
    assert_eq!(
        site.rows("select count(*) from job where kind = 'file'")
            .await,
        [["0"]]
    );
}

/// All that grouping made, in words without ids: patchsets by their anchors, each with its series.
async fn groups(site: &Site) -> BTreeMap<String, Vec<String>> {
    let anchors = "select p.id, m.message_id from patchset p join mail m on m.id = p.anchor where p.versions > 0";
    let anchors: BTreeMap<String, String> = site
        .rows(anchors)
        .await
        .into_iter()
        .map(|r| (r[0].clone(), r[1].clone()))
        .collect();
    let further = further(site).await;
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for s in site
        .ctx
        .store
        .load_summaries(None, 1_000_000)
        .await
        .unwrap()
    {
        let patches: Vec<String> = s
            .patches
            .iter()
            .map(|p| format!("{}:{}", p.number, p.message_id))
            .collect();
        let line = format!(
            "v{} {}/{} {} cover={} comments={} {:?} by {}: {} ({}) {:?}",
            s.version,
            patches.join(","),
            s.total,
            if s.complete { "complete" } else { "open" },
            s.cover.as_deref().unwrap_or("-"),
            s.comments,
            s.title,
            s.submitter,
            s.state,
            s.reason,
            further.get(&(s.patchset.to_string(), s.version.clone()))
        );
        let anchor = anchors[&s.patchset.to_string()].clone();
        all.entry(anchor).or_default().push(line);
    }
    all
}

/// What else is stored of versions, by patchset and label: their place, what supersedes them, which mail's series each claims to
/// belong to, which patches were taken over, and what answers what.
async fn further(site: &Site) -> BTreeMap<(String, String), Vec<String>> {
    let mut all: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    for text in [
        "select s.patchset, s.label, 'at', s.position, 'superseded', s.superseded from series s",
        "select s.patchset, s.label, 'claims', m.message_id from series s join mail m on m.id = s.claims",
        "select s.patchset, s.label, 'own', p.number, 'taken over', p.taken_over from patch p join series s on s.id = p.series \
         order by p.number",
        "select s.patchset, s.label, c.message_id, 'answers', t.message_id from comment a join series s on s.id = a.series \
         join mail c on c.id = a.mail join mail t on t.id = a.target order by c.message_id, t.message_id",
    ] {
        for row in site.rows(text).await {
            let of = (row[0].clone(), row[1].clone());
            all.entry(of).or_default().push(row[2..].join(" "));
        }
    }
    all
}

/// Groups all anew; what changed by it, in words.
async fn reclassify(site: &Site, realm: RealmId, how: Reclassify) -> Vec<String> {
    let mut lines = Vec::new();
    let said = |line| lines.push(line);
    let done = site.ctx.reclassify(realm, how, |_| {}, said).await;
    done.unwrap();
    lines
}
