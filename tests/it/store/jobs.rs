//! Owed work and writes whose callers went away.

use std::task::{Context, Poll, Waker};

use patchpost::types::{Job, RealmId, SeriesId};

use super::receipt;
use super::site::{Database, START, Site, mail, play};
use crate::harness::size;

const JOB: Job = Job::Apply(SeriesId(7));

pub async fn a_job_is_owed_once_and_once_more_if_wanted_while_it_runs(site: Site) {
    let store = &site.ctx.store;
    for _ in 0..3 {
        store.insert_jobs(vec![(JOB, 1)], START).await.unwrap();
    }
    let claims = store.claim_jobs("apply", 9, START).await.unwrap();
    assert_eq!(claims.len(), 1);
    assert!(
        store
            .claim_jobs("apply", 9, START)
            .await
            .unwrap()
            .is_empty()
    );
    store.insert_jobs(vec![(JOB, 1)], START).await.unwrap();
    store.finish_jobs(vec![claims[0].held()]).await.unwrap();
    let again = store.claim_jobs("apply", 9, START).await.unwrap();
    assert_eq!(again.len(), 1, "wanted while it ran: runs again");
    store.finish_jobs(vec![again[0].held()]).await.unwrap();
    assert_eq!(store.count_jobs().await.unwrap(), (0, 0));
    store.insert_jobs(vec![(JOB, 5)], START).await.unwrap();
    let urgent = Job::Apply(SeriesId(8));
    store.insert_jobs(vec![(urgent, 0)], START).await.unwrap();
    let first = store.claim_jobs("apply", 1, START).await.unwrap();
    assert_eq!(first[0].job, urgent, "the most urgent first");
}

pub async fn a_claim_lasts_as_long_as_it_gives_signs_of_life(site: Site) {
    let store = &site.ctx.store;
    let other = site.another().await.store;
    store.insert_jobs(vec![(JOB, 1)], START).await.unwrap();
    let claims = store.claim_jobs("apply", 9, START).await.unwrap();
    let later = START.plus_secs(20);
    store.extend_leases(&claims, later).await.unwrap();
    let soon = START.plus_secs(45);
    assert!(other.claim_jobs("apply", 9, soon).await.unwrap().is_empty());
    let late = START.plus_secs(300);
    let theirs = other.claim_jobs("apply", 9, late).await.unwrap();
    assert_eq!(theirs.len(), 1, "the lease ran out");
    // The first one wakes up: it changes nothing of the other's claim.
    let fail = store.fail_job(claims[0], "slow".to_owned(), late).await;
    fail.unwrap();
    store
        .extend_leases(&claims, late.plus_secs(9_999))
        .await
        .unwrap();
    let again = late.plus_secs(20);
    assert!(
        store
            .claim_jobs("apply", 9, again)
            .await
            .unwrap()
            .is_empty()
    );
    let again = late.plus_secs(600);
    assert_eq!(store.claim_jobs("apply", 9, again).await.unwrap().len(), 1);
}

pub async fn a_job_that_waits_for_trouble_to_pass_is_never_parked(site: Site) {
    let store = &site.ctx.store;
    store.insert_jobs(vec![(JOB, 1)], START).await.unwrap();
    for n in 0..20 {
        let claims = store.claim_jobs("apply", 9, START).await.unwrap();
        assert_eq!(claims[0].attempts, 1, "the tries before do not count");
        let why = format!("disk full {n}");
        store.defer_job(claims[0], why, START).await.unwrap();
    }
    let shown = store.load_jobs(9, START).await.unwrap();
    assert_eq!(
        (shown[0].state, shown[0].problem.as_str()),
        ("waiting", "disk full 19")
    );
}

/// Whoever comes back after the lease ran out strikes off nothing of the work that was wanted meanwhile.
pub async fn a_late_finish_strikes_off_nothing(site: Site) {
    let store = &site.ctx.store;
    store.insert_jobs(vec![(JOB, 1)], START).await.unwrap();
    let mine = store.claim_jobs("apply", 9, START).await.unwrap();
    store.insert_jobs(vec![(JOB, 1)], START).await.unwrap();
    let late = START.plus_secs(300);
    let theirs = store.claim_jobs("apply", 9, late).await.unwrap();
    assert_eq!(theirs.len(), 1);
    store.finish_jobs(vec![mine[0].held()]).await.unwrap();
    assert_eq!(store.count_jobs().await.unwrap(), (1, 0));
    store.finish_jobs(vec![theirs[0].held()]).await.unwrap();
    assert_eq!(store.count_jobs().await.unwrap(), (0, 0));
}

pub async fn a_job_that_fails_five_times_is_parked_until_it_is_wanted_again(site: Site) {
    let store = &site.ctx.store;
    store.insert_jobs(vec![(JOB, 1)], START).await.unwrap();
    for n in 1..=5 {
        let claims = store.claim_jobs("apply", 9, START).await.unwrap();
        assert_eq!(claims[0].attempts, n);
        let why = format!("no {n}");
        store.fail_job(claims[0], why, START).await.unwrap();
    }
    let far = START.plus_secs(1_000_000);
    assert!(store.claim_jobs("apply", 9, far).await.unwrap().is_empty());
    assert_eq!(store.count_jobs().await.unwrap(), (1, 1));
    let shown = store.load_jobs(9, far).await.unwrap();
    assert_eq!(
        (shown[0].state, shown[0].problem.as_str()),
        ("parked", "no 5")
    );
    store.insert_jobs(vec![(JOB, 1)], START).await.unwrap();
    assert_eq!(store.claim_jobs("apply", 9, START).await.unwrap().len(), 1);
}

/// sqlx 0.9.0 gives a connection with an open transaction back when `begin` is dropped half-way, and later writes on it
/// are acknowledged and lost.
pub async fn what_was_acknowledged_is_there_whoever_was_dropped(site: Site) {
    let list = site.list("dev", "public").await;
    let store = &site.ctx.store;
    let rounds = [300, 600, 3_000][size() - 1];
    let mut waker = Context::from_waker(Waker::noop());
    for n in 0..rounds {
        let text = mail(&format!("dropped{n}@x"), "s", "", "b");
        let one = site.prepare(RealmId::PUBLIC, &text).await;
        let mut write = Box::pin(store.accept(one, vec![receipt(list.id, START)]));
        let mut read = Box::pin(store.load_lists());
        for _ in 0..n % 60 {
            if let (Poll::Ready(_), _) | (_, Poll::Ready(_)) = (
                write.as_mut().poll(&mut waker),
                read.as_mut().poll(&mut waker),
            ) {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop((write, read));
        let key = Job::Apply(SeriesId(n as i64));
        store.insert_jobs(vec![(key, 1)], START).await.unwrap();
    }
    let owed = site
        .rows("select count(*) from job where kind = 'apply'")
        .await;
    assert_eq!(owed, [[rounds.to_string()]], "each was acknowledged");
    // A mail whose sender went away is there wholly or not at all.
    let whole = "select (select count(*) from receipt), (select count(*) from copy), (select count(*) from blob), \
        (select count(*) from job where kind = 'file')";
    let counts = site.rows(whole).await.remove(0);
    assert!(counts.iter().all(|c| *c == counts[0]), "{counts:?}");
    site.drain().await;
    let postings = store.count_list(list.id).await.unwrap().0;
    assert_eq!(postings.to_string(), counts[0]);
}

/// A warning for each connection that is given back would fill the server's log.
#[test]
fn postgresql_logs_no_transaction_that_is_not_there() {
    play(Database::Postgres, async |site: Site| {
        let store = &site.ctx.store;
        for n in 0..20 {
            let key = Job::Apply(SeriesId(n));
            store.insert_jobs(vec![(key, 1)], START).await.unwrap();
            assert_eq!(store.count_jobs().await.unwrap().0, n + 1);
        }
        let url = site.url();
        let pool = sqlx::any::AnyPoolOptions::new()
            .connect(&url)
            .await
            .unwrap();
        let failed = sqlx::query("select 1 / 0").execute(&pool).await;
        assert!(failed.is_err());
        let log = crate::postgres::log_of(&url);
        assert!(log.contains("division by zero"), "the log is read: {log}");
        assert!(!log.contains("no transaction in progress"), "{log}");
    });
}
