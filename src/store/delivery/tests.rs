use super::*;
use crate::store::job::Held;
use crate::store::queue::{Choice, Steer};
use crate::store::{Location, NewList};
use crate::types::JobId;

/// A store in a folder that lives as long as the guard.
pub(crate) async fn open() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::open(folder.path(), &Location::File).await;
    (folder, store.expect("a store"))
}

const START: Timestamp = Timestamp::from_secs(1_800_000_000);

/// At `start`, makes the list `dev` with members `m1@y.org` … and its posting 1 of these bytes, for which no copy is made yet.
pub(crate) async fn seed(store: &Store, members: usize, bytes: &[u8], start: Timestamp) -> ListId {
    let list = NewList {
        name: "dev".to_owned(),
        address: "dev@x.org".to_owned(),
        description: "Development".to_owned(),
        style: "patch".to_owned(),
        visibility: "public".to_owned(),
        repos: vec![],
        policy: crate::list::settings::Policy::open(),
    };
    let list = store.insert_list(list, start).await.expect("a list");
    let addresses = (1..=members).map(|n| format!("m{n}@y.org")).collect();
    store
        .insert_members(list, addresses, start)
        .await
        .expect("members");
    let realm = crate::types::RealmId::PUBLIC;
    let packer = store.packer(realm).await.expect("a packer");
    let frames = packer.pack(std::iter::once(bytes)).expect("compressed");
    let (dictionary, frame) = frames.into_iter().next().expect("one frame");
    let size = i64::try_from(bytes.len()).expect("a size");
    let sql = [
        (
            "insert into blob (realm, hash, size, crlf, dictionary, data) values (1, $1, $2, 1, $3, $4)",
            vec![[7; 32].into(), size.into(), dictionary.into(), frame.into()],
        ),
        (
            "insert into thread (id, realm, version) values (1, 1, 0)",
            vec![],
        ),
        (
            "insert into node (id, realm, message_id, thread) values (1, 1, 'm@y', 1)",
            vec![],
        ),
        (
            "insert into mail (id, realm, identity, hash, node, message_id, subject, author, address, arrived, size, flaws, kind, \
             recognised, verdict, level, state) values (1, 1, $1, $1, 1, 'm@y', 's', '', 'a@b', $2, $3, '', '', '', '', 0, 0)",
            vec![[7; 32].into(), start.0.into(), size.into()],
        ),
    ];
    for (text, binds) in sql {
        change(store, text, binds).await;
    }
    post(store, list, 1, start).await;
    list
}

/// Posts mail 1 to the list under a number.
async fn post(store: &Store, list: ListId, number: i64, start: Timestamp) {
    if number == 1 {
        let text =
            "insert into posting (list, number, mail, node, arrived) values ($1, 1, 1, 1, $2)";
        change(store, text, vec![list.0.into(), start.0.into()]).await;
    }
    let text = "insert into fan_out (list, number, cursor, made, sent, failed, started) values ($1, $2, 0, 0, 0, 0, $3)";
    change(
        store,
        text,
        vec![list.0.into(), number.into(), start.0.into()],
    )
    .await;
}

async fn change(store: &Store, text: &'static str, binds: Vec<Bind>) {
    store
        .write(move |tx| Box::pin(async move { tx.execute(text, binds).await }))
        .await
        .expect(text);
}

/// Makes all copies that are owed due at once.
pub(crate) async fn make_due(store: &Store) {
    let text = "update delivery set run_at = 0 where state = 0";
    change(store, text, vec![]).await;
    store.deliveries.notify_one();
}

/// Gives all lists a policy.
pub(crate) async fn set_policy(store: &Store, policy: &crate::list::settings::Policy) {
    let text = "update list set policy = $1";
    change(store, text, vec![policy.to_stored().into()]).await;
}

/// Makes all stored bytes unreadable.
pub(crate) async fn damage(store: &Store) {
    let text = "update blob set data = $1";
    change(store, text, vec![vec![1u8, 2, 3].into()]).await;
}

/// Takes all mail back.
pub(crate) async fn take_back(store: &Store) {
    change(store, "update mail set state = 1", vec![]).await;
}

/// Stops copies to one address.
pub(crate) async fn set_nomail(store: &Store, address: &str) {
    let text = "update member set mail = 0 where address = $1";
    change(store, text, vec![address.into()]).await;
}

/// Makes all copies of a posting; returns how many steps it took.
pub(crate) async fn fan_out_all(store: &Store, list: ListId, number: i64) -> usize {
    let mut steps = 1;
    while !store
        .fan_out(
            list,
            number,
            Arc::default(),
            Held {
                id: JobId(0),
                lease: 0,
            },
            Timestamp(0),
        )
        .await
        .expect("a step")
    {
        steps += 1;
    }
    steps
}

/// What the fan-out of a posting says: `made 3 sent 2 failed 1 owed 0 given up 1`.
pub(crate) async fn tally(store: &Store, number: i64) -> String {
    let text = "select made, sent, failed from fan_out where number = $1";
    let row: Option<(i64, i64, i64)> = store
        .fetch_one(text, vec![number.into()])
        .await
        .expect("a read");
    let (made, sent, failed) = row.expect("a fan-out");
    let (owed, given_up) = store.count_deliveries().await.expect("a read");
    format!("made {made} sent {sent} failed {failed} owed {owed} given up {given_up}")
}

/// Rows as `address state attempts seconds-from-start problem`.
async fn rows(store: &Store) -> Vec<String> {
    let text = "select address, state, attempts, run_at, problem from delivery order by id";
    let rows: Vec<(String, i64, i64, i64, String)> =
        store.fetch(text, vec![]).await.expect("a read");
    let show = |(address, state, attempts, at, problem): (String, i64, i64, i64, String)| {
        let secs = if at == 0 {
            0
        } else {
            Timestamp(at).secs() - START.secs()
        };
        format!("{address} {state} {attempts} {secs} {problem}")
    };
    rows.into_iter().map(show).collect()
}

async fn claim_at(store: &Store, limit: i64, secs: i64) -> Vec<Delivery> {
    let claimed = store
        .claim_deliveries(limit, &Turn::default(), START.plus_secs(secs))
        .await;
    claimed.expect("a claim")
}

async fn record(store: &Store, outcomes: Vec<(Delivery, Outcome)>) {
    store.record_deliveries(outcomes).await.expect("a record");
}

#[tokio::test]
async fn every_member_gets_one_copy_however_often_the_job_runs() {
    let (_folder, store) = open().await;
    let list = seed(&store, 1_203, b"Subject: s\n\nb\n", START).await;
    assert_eq!(fan_out_all(&store, list, 1).await, 3);
    assert_eq!(fan_out_all(&store, list, 1).await, 1);
    assert_eq!(
        tally(&store, 1).await,
        "made 1203 sent 0 failed 0 owed 1203 given up 0"
    );
}

#[tokio::test]
async fn a_fan_out_that_was_broken_off_goes_on_where_it_was() {
    let (_folder, store) = open().await;
    let list = seed(&store, 700, b"Subject: s\n\nb\n", START).await;
    let done = store
        .fan_out(
            list,
            1,
            Arc::default(),
            Held {
                id: JobId(0),
                lease: 0,
            },
            START,
        )
        .await;
    assert!(!done.expect("a step"));
    // Who subscribes now has a higher id and gets a copy, too; who was served is not served again.
    let new = vec!["m1@y.org".to_owned(), "new@y.org".to_owned()];
    store
        .insert_members(list, new, START)
        .await
        .expect("a member");
    assert_eq!(fan_out_all(&store, list, 1).await, 1);
    assert_eq!(
        tally(&store, 1).await,
        "made 701 sent 0 failed 0 owed 701 given up 0"
    );
}

#[tokio::test]
async fn a_list_without_members_owes_nothing() {
    let (_folder, store) = open().await;
    let list = seed(&store, 0, b"Subject: s\n\nb\n", START).await;
    assert_eq!(fan_out_all(&store, list, 1).await, 1);
    assert!(claim_at(&store, 10, 0).await.is_empty());
}

#[tokio::test]
async fn no_copy_is_claimed_twice() {
    let (_folder, store) = open().await;
    let list = seed(&store, 25, b"Subject: s\n\nb\n", START).await;
    fan_out_all(&store, list, 1).await;
    let mut ids = std::collections::BTreeSet::new();
    let claims = futures_join([
        store.claim_deliveries(10, &Turn::default(), START),
        store.claim_deliveries(10, &Turn::default(), START),
        store.claim_deliveries(10, &Turn::default(), START),
    ])
    .await;
    for delivery in claims {
        assert_eq!(delivery.attempts, 1);
        assert!(ids.insert(delivery.id), "{delivery:?} twice");
    }
    assert_eq!(ids.len(), 25);
    assert!(claim_at(&store, 10, 0).await.is_empty());
}

async fn futures_join(
    claims: [impl Future<Output = Result<Vec<Delivery>, StoreError>>; 3],
) -> Vec<Delivery> {
    let [a, b, c] = claims;
    let (a, b, c) = tokio::join!(a, b, c);
    [a, b, c]
        .into_iter()
        .flat_map(|c| c.expect("a claim"))
        .collect()
}

#[tokio::test]
async fn a_sender_that_died_leaves_copies_that_are_due_when_the_lease_runs_out() {
    let (folder, store) = open().await;
    let list = seed(&store, 2, b"Subject: s\n\nb\n", START).await;
    fan_out_all(&store, list, 1).await;
    assert_eq!(claim_at(&store, 10, 0).await.len(), 2);
    drop(store);
    let store = Store::open(folder.path(), &Location::File)
        .await
        .expect("a store");
    assert!(claim_at(&store, 10, CLAIM_SECS - 1).await.is_empty());
    let again = claim_at(&store, 10, CLAIM_SECS).await;
    assert_eq!(again.iter().map(|d| d.attempts).collect::<Vec<_>>(), [2, 2]);
    assert!(claim_at(&store, 10, CLAIM_SECS).await.is_empty());
}

#[tokio::test]
async fn each_outcome_leaves_what_it_should() {
    let (_folder, store) = open().await;
    let list = seed(&store, 5, b"Subject: s\n\nb\n", START).await;
    fan_out_all(&store, list, 1).await;
    let claimed = claim_at(&store, 10, 60).await;
    let later = Outcome::Later(START.plus_secs(360), "450 busy".to_owned());
    let outcomes = [
        Outcome::Sent,
        later,
        Outcome::GaveUp("550 who\0?".to_owned()),
        Outcome::Untried("no relay".to_owned()),
        Outcome::Unwanted,
    ];
    record(&store, claimed.into_iter().zip(outcomes).collect()).await;
    assert_eq!(
        rows(&store).await,
        [
            "m2@y.org 0 1 360 450 busy",
            "m3@y.org 2 1 0 550 who\u{fffd}?",
            "m4@y.org 0 0 0 no relay"
        ]
    );
    assert_eq!(
        tally(&store, 1).await,
        "made 5 sent 1 failed 1 owed 2 given up 1"
    );
    let due = claim_at(&store, 10, 60).await;
    assert_eq!(
        due.iter().map(|d| d.address.as_str()).collect::<Vec<_>>(),
        ["m4@y.org"]
    );
    let due = claim_at(&store, 10, 360).await;
    assert_eq!(
        due.iter()
            .map(|d| (d.address.as_str(), d.attempts))
            .collect::<Vec<_>>(),
        [("m2@y.org", 2)]
    );
}

#[tokio::test]
async fn what_waits_for_the_operator_is_not_tried_before_its_time() {
    let (_folder, store) = open().await;
    let list = seed(&store, 1, b"Subject: s\n\nb\n", START).await;
    fan_out_all(&store, list, 1).await;
    let claimed = claim_at(&store, 10, 60).await.remove(0);
    let waits = Outcome::Waits(START.plus_secs(360), "no key".to_owned());
    record(&store, vec![(claimed, waits)]).await;
    assert_eq!(rows(&store).await, ["m1@y.org 0 0 360 no key"]);
    assert!(claim_at(&store, 10, 359).await.is_empty());
}

#[tokio::test]
async fn what_an_operator_lets_go_has_five_days_from_then_on() {
    let (_folder, store) = open().await;
    let list = seed(&store, 2, b"Subject: s\n\nb\n", START).await;
    fan_out_all(&store, list, 1).await;
    let later = START.plus_secs(20 * 86_400);
    for (steer, at) in [(Steer::Hold, START), (Steer::Retry, later)] {
        let choice = Choice {
            ids: Some((vec![1], vec![])),
            ..Choice::default()
        };
        let done = store.steer_queue(choice, steer, String::new(), at).await;
        assert_eq!(done.expect("steered"), 1);
    }
    let claimed = store.claim_deliveries(10, &Turn::default(), later).await;
    let claimed = claimed.expect("a claim").into_iter();
    let started: Vec<Timestamp> = claimed.map(|d| d.started).collect();
    assert_eq!(started, [later, START]);
    // Neither is it told of as mail that waits for long.
    let sent = "delete from delivery where id = 2";
    change(&store, sent, vec![]).await;
    let oldest = store.oldest_owed(later).await.expect("a read");
    assert_eq!(oldest, Some(later));
    assert_eq!(
        store.total_queue().await.expect("a read").oldest,
        Some(later)
    );
}

#[tokio::test]
async fn given_up_copies_are_forgotten_once_they_are_judged_and_old() {
    let (_folder, store) = open().await;
    let list = seed(&store, 2, b"Subject: s\n\nb\n", START).await;
    fan_out_all(&store, list, 1).await;
    let claimed = claim_at(&store, 10, 60).await.into_iter();
    let given_up = claimed.map(|d| (d, Outcome::GaveUp("550".to_owned())));
    record(&store, given_up.collect()).await;
    let lately = store.given_up_since(Timestamp(0)).await.expect("a read");
    assert_eq!((lately.count, lately.made, &*lately.problem), (2, 2, "550"));
    let mut judged = store.load_given_up(1).await.expect("a read");
    let judged = vec![(judged.remove(0), None)];
    store.record_judged(judged).await.expect("recorded");
    store
        .delete_given_up(Timestamp(0))
        .await
        .expect("too young");
    assert_eq!(rows(&store).await.len(), 2);
    store.delete_given_up(START).await.expect("deleted");
    assert_eq!(rows(&store).await, ["m2@y.org 2 1 0 550"]);
}

#[tokio::test]
async fn large_records_take_few_statements_and_lose_nothing() {
    let (_folder, store) = open().await;
    let list = seed(&store, 950, b"Subject: s\n\nb\n", START).await;
    fan_out_all(&store, list, 1).await;
    let claimed = claim_at(&store, 1_000, 0).await;
    assert_eq!(claimed.len(), 950);
    let outcome = |(at, delivery): (usize, Delivery)| match at % 2 {
        0 => (delivery, Outcome::Sent),
        _ => {
            let problem = format!("450 for {}", delivery.address);
            (delivery, Outcome::Later(START.plus_secs(300), problem))
        }
    };
    record(
        &store,
        claimed.into_iter().enumerate().map(outcome).collect(),
    )
    .await;
    assert_eq!(
        tally(&store, 1).await,
        "made 950 sent 475 failed 0 owed 475 given up 0"
    );
    let rows = rows(&store).await;
    assert_eq!(rows[0], "m2@y.org 0 1 300 450 for m2@y.org");
    assert_eq!(rows[474], "m950@y.org 0 1 300 450 for m950@y.org");
}

#[tokio::test]
async fn a_repeated_record_counts_once() {
    let (_folder, store) = open().await;
    let list = seed(&store, 2, b"Subject: s\n\nb\n", START).await;
    fan_out_all(&store, list, 1).await;
    let claimed = claim_at(&store, 10, 0).await;
    let outcomes = [Outcome::Sent, Outcome::GaveUp("550".to_owned())];
    let outcomes: Vec<_> = claimed.into_iter().zip(outcomes).collect();
    record(&store, outcomes.clone()).await;
    record(&store, outcomes).await;
    assert_eq!(
        tally(&store, 1).await,
        "made 2 sent 1 failed 1 owed 0 given up 1"
    );
}

#[tokio::test]
async fn who_comes_back_after_the_lease_changes_nothing_of_the_next_claim() {
    let (_folder, store) = open().await;
    let list = seed(&store, 2, b"Subject: s\n\nb\n", START).await;
    fan_out_all(&store, list, 1).await;
    let slow = claim_at(&store, 10, 0).await;
    let next = claim_at(&store, 10, CLAIM_SECS).await;
    assert_eq!(next.len(), 2);
    let late = [
        Outcome::GaveUp("too late".to_owned()),
        Outcome::Untried("too late".to_owned()),
    ];
    record(&store, slow.into_iter().zip(late).collect()).await;
    assert_eq!(rows(&store).await, ["m1@y.org 1 2 0 ", "m2@y.org 1 2 0 "]);
    let sent = next.into_iter().map(|d| (d, Outcome::Sent)).collect();
    record(&store, sent).await;
    assert_eq!(
        tally(&store, 1).await,
        "made 2 sent 2 failed 0 owed 0 given up 0"
    );
}

#[tokio::test]
async fn a_record_that_is_repeated_late_changes_nothing_of_a_claim_with_the_same_number() {
    let (_folder, store) = open().await;
    let list = seed(&store, 2, b"Subject: s\n\nb\n", START).await;
    fan_out_all(&store, list, 1).await;
    let untried = |claimed: Vec<Delivery>| {
        let untried = |d| (d, Outcome::Untried("no relay".to_owned()));
        claimed.into_iter().map(untried).collect::<Vec<_>>()
    };
    let first = untried(claim_at(&store, 10, 0).await);
    record(&store, first.clone()).await;
    let next = claim_at(&store, 10, 1).await;
    assert_eq!(next[0].attempts, first[0].0.attempts);
    record(&store, first).await;
    let claimed = ["m1@y.org 1 1 0 no relay", "m2@y.org 1 1 0 no relay"];
    assert_eq!(rows(&store).await, claimed);
    record(&store, untried(next)).await;
    assert_eq!(rows(&store).await[0], "m1@y.org 0 0 0 no relay");
}

#[tokio::test]
async fn copies_and_letters_are_recorded_together_or_not_at_all() {
    let (_folder, store) = open().await;
    let list = seed(&store, 1, b"Subject: s\n\nb\n", START).await;
    fan_out_all(&store, list, 1).await;
    let letter = crate::store::NewLetter {
        list: None,
        purpose: "confirmation",
        recipient: "ana@y.org".to_owned(),
        return_path: String::new(),
        data: b"Subject: s\n\nb\n".to_vec(),
        about: Vec::new(),
    };
    let owed = store.insert_letters(vec![letter], START).await;
    owed.expect("owed");
    let later = || Outcome::Later(START.plus_secs(300), "450 busy".to_owned());
    let letters = store.claim_letters(10, &[], START).await.expect("a claim");
    let letters: Vec<_> = letters.into_iter().map(|l| (l, later())).collect();
    let copies = claim_at(&store, 10, 0).await;
    let copies: Vec<_> = copies.into_iter().map(|d| (d, later())).collect();
    change(&store, "alter table letter rename to away", vec![]).await;
    let recorded = store.record_outcomes(copies.clone(), letters.clone()).await;
    assert!(recorded.is_err());
    assert_eq!(rows(&store).await, ["m1@y.org 1 1 0 "]);
    change(&store, "alter table away rename to letter", vec![]).await;
    let recorded = store.record_outcomes(copies, letters).await;
    recorded.expect("recorded");
    assert_eq!(rows(&store).await, ["m1@y.org 0 1 300 450 busy"]);
}

#[tokio::test]
async fn a_claim_that_cannot_be_read_is_soon_due_again_and_others_have_their_turn() {
    let (_folder, store) = open().await;
    let list = seed(&store, 1, b"Subject: s\n\nb\n", START).await;
    fan_out_all(&store, list, 1).await;
    change(&store, "update fan_out set started = 'x'", vec![]).await;
    let claim = |secs| {
        let now = START.plus_secs(secs);
        let (store, turn) = (store.clone(), Turn::default());
        async move { store.claim_deliveries(10, &turn, now).await }
    };
    assert!(claim(0).await.is_err());
    assert_eq!(rows(&store).await, ["m1@y.org 0 0 60 "]);
    change(&store, "update fan_out set started = 0", vec![]).await;
    assert_eq!(claim(59).await.expect("a claim"), []);
    let claimed = claim(60).await.expect("a claim");
    assert_eq!(claimed[0].attempts, 1);
}

#[tokio::test]
async fn who_left_is_not_written_to_any_more() {
    let (_folder, store) = open().await;
    let list = seed(&store, 3, b"Subject: s\n\nb\n", START).await;
    fan_out_all(&store, list, 1).await;
    store
        .delete_members(list, vec!["m3@y.org".to_owned()])
        .await
        .expect("gone");
    // The row number of who left may be given to the next one.
    store
        .insert_members(list, vec!["new@y.org".to_owned()], START)
        .await
        .expect("a member");
    set_nomail(&store, "m1@y.org").await;
    let claimed = claim_at(&store, 10, 0).await;
    let wanted: Vec<_> = claimed
        .iter()
        .map(|d| (d.address.as_str(), d.wanted))
        .collect();
    assert_eq!(
        wanted,
        [("m1@y.org", false), ("m2@y.org", true), ("m3@y.org", false)]
    );
}

#[tokio::test]
async fn copies_of_one_posting_stand_side_by_side() {
    let (_folder, store) = open().await;
    let list = seed(&store, 3, b"Subject: s\n\nb\n", START).await;
    post(&store, list, 2, START).await;
    fan_out_all(&store, list, 2).await;
    fan_out_all(&store, list, 1).await;
    let numbers: Vec<i64> = claim_at(&store, 10, 0)
        .await
        .iter()
        .map(|d| d.number)
        .collect();
    assert_eq!(numbers, [1, 1, 1, 2, 2, 2]);
}

#[tokio::test]
async fn a_posting_that_was_taken_back_is_not_sent() {
    let (_folder, store) = open().await;
    let list = seed(&store, 1, b"Subject: s\n\nb\n", START).await;
    let found = store.load_posting_to_send(list, 1).await.expect("a read");
    assert_eq!(found.expect("a posting").bytes, b"Subject: s\n\nb\n");
    take_back(&store).await;
    let found = store.load_posting_to_send(list, 1).await.expect("a read");
    assert!(found.is_none());
}

/// Makes a second list with copies of the same mail to `s1@y.org` ….
pub(crate) async fn second_list(store: &Store, members: usize) -> ListId {
    let list = NewList {
        name: "small".to_owned(),
        address: "small@z.org".to_owned(),
        description: String::new(),
        style: "patch".to_owned(),
        visibility: "public".to_owned(),
        repos: vec![],
        policy: crate::list::settings::Policy::open(),
    };
    let list = store.insert_list(list, START).await.expect("a list");
    let addresses = (1..=members).map(|n| format!("s{n}@y.org")).collect();
    let added = store.insert_members(list, addresses, START).await;
    added.expect("members");
    post(store, list, 1, START).await;
    fan_out_all(store, list, 1).await;
    list
}
