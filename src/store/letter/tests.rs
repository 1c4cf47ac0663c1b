use super::*;
use crate::store::Location;

const START: Timestamp = Timestamp::from_secs(1_800_000_000);

async fn owing(count: usize) -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::open(folder.path(), &Location::File).await;
    let store = store.expect("a store");
    let letter = |n: usize| NewLetter {
        list: None,
        purpose: "confirmation",
        recipient: format!("m{n}@y.org"),
        return_path: String::new(),
        data: format!("Subject: {n}\n\nb\n").into_bytes(),
        about: Vec::new(),
    };
    let letters = (1..=count).map(letter).collect();
    store.insert_letters(letters, START).await.expect("owed");
    (folder, store)
}

async fn claim_at(store: &Store, secs: i64) -> Vec<Letter> {
    let claimed = store.claim_letters(10, &[], START.plus_secs(secs)).await;
    claimed.expect("a claim")
}

/// Rows as `recipient state attempts seconds-from-start problem`.
async fn rows(store: &Store) -> Vec<String> {
    let text = "select recipient, state, attempts, run_at, problem from letter order by id";
    let rows: Vec<(String, i64, i64, i64, String)> =
        store.fetch(text, vec![]).await.expect("a read");
    let show = |(to, state, attempts, at, problem): (String, i64, i64, i64, String)| {
        let secs = Timestamp(at).secs() - START.secs();
        format!("{to} {state} {attempts} {secs} {problem}")
    };
    rows.into_iter().map(show).collect()
}

#[tokio::test]
async fn each_outcome_of_a_letter_leaves_what_it_should() {
    let (_folder, store) = owing(4).await;
    let claimed = claim_at(&store, 0).await;
    assert_eq!(&*claimed[1].data, b"Subject: 2\n\nb\n");
    assert!(claim_at(&store, 0).await.is_empty(), "claimed twice");
    let outcomes = [
        Outcome::Sent,
        Outcome::Later(START.plus_secs(300), "450 busy".to_owned()),
        Outcome::GaveUp("550 who".to_owned()),
        Outcome::Untried("no relay".to_owned()),
    ];
    let outcomes: Vec<_> = claimed.into_iter().zip(outcomes).collect();
    for _ in 0..2 {
        let recorded = store.record_letters(outcomes.clone()).await;
        recorded.expect("recorded");
    }
    let left = [
        "m2@y.org 0 1 300 450 busy",
        "m3@y.org 2 1 0 550 who",
        "m4@y.org 0 0 0 no relay",
    ];
    assert_eq!(rows(&store).await, left);
    assert_eq!(store.count_letters().await.expect("a read"), (2, 1));
    let due = claim_at(&store, 300).await;
    let due: Vec<_> = due.iter().map(|l| (&*l.recipient, l.attempts)).collect();
    assert_eq!(due, [("m2@y.org", 2), ("m4@y.org", 1)]);
}

#[tokio::test]
async fn a_given_up_letter_is_judged_once() {
    let (_folder, store) = owing(2).await;
    let claimed = claim_at(&store, 0).await.into_iter();
    let given_up = claimed.map(|l| (l, Outcome::GaveUp("550 who".to_owned())));
    let recorded = store.record_letters(given_up.collect()).await;
    recorded.expect("recorded");
    let load = || store.load_given_up_letters("confirmation", 1);
    for id in [1, 2] {
        let found = load().await.expect("a read");
        assert_eq!(found[0].0, LetterId(id));
        let judged = store.record_judged_letters(vec![found[0].0]).await;
        judged.expect("recorded");
    }
    assert!(load().await.expect("a read").is_empty());
}

#[tokio::test]
async fn a_letter_of_a_sender_that_died_is_due_again_and_fenced() {
    let (_folder, store) = owing(1).await;
    let slow = claim_at(&store, 0).await;
    assert!(claim_at(&store, CLAIM_SECS - 1).await.is_empty());
    let next = claim_at(&store, CLAIM_SECS).await;
    assert_eq!(next[0].attempts, 2);
    let late = Outcome::GaveUp("too late".to_owned());
    let recorded = store.record_letters(vec![(slow[0].clone(), late)]).await;
    recorded.expect("recorded");
    assert_eq!(rows(&store).await, ["m1@y.org 1 2 0 "]);
    let sent = vec![(slow[0].clone(), Outcome::Sent)];
    store.record_letters(sent).await.expect("recorded");
    assert!(rows(&store).await.is_empty());
}

#[tokio::test]
async fn a_record_of_a_letter_that_is_repeated_late_changes_nothing_of_a_claim_with_the_same_number()
 {
    let (_folder, store) = owing(1).await;
    let untried = |letters: Vec<Letter>| {
        let untried = |l| (l, Outcome::Untried("no relay".to_owned()));
        letters.into_iter().map(untried).collect::<Vec<_>>()
    };
    let first = untried(claim_at(&store, 0).await);
    store.record_letters(first.clone()).await.expect("recorded");
    assert_eq!(claim_at(&store, 1).await[0].attempts, 1);
    store.record_letters(first).await.expect("recorded");
    assert_eq!(rows(&store).await, ["m1@y.org 1 1 0 no relay"]);
}

#[tokio::test]
async fn a_claim_of_letters_that_cannot_be_read_is_soon_due_again() {
    let (_folder, store) = owing(1).await;
    let set = |text: &'static str| {
        store.write(move |tx| Box::pin(async move { tx.execute(text, vec![]).await }))
    };
    set("update letter set made = 'x'").await.expect("set");
    let claimed = store.claim_letters(10, &[], START).await;
    assert!(claimed.is_err());
    assert_eq!(rows(&store).await, ["m1@y.org 0 0 60 "]);
    set("update letter set made = 0").await.expect("set");
    assert_eq!(claim_at(&store, 60).await[0].attempts, 1);
}
