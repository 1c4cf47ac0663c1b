//! A destination in trouble, the next hop in trouble, and what becomes of everybody else.

use super::*;

/// A store with one posting to `x1@bad.org` …, then `x1@good.org` …, by turns.
pub(super) async fn posted_to_two_domains(each: usize) -> (tempfile::TempDir, Store, ListId) {
    let (folder, store) = open().await;
    let now = crate::store::now();
    let list = seed(&store, 0, MAIL, now).await;
    let both = |n: usize| [format!("x{n}@bad.org"), format!("x{n}@good.org")];
    let members = (1..=each).flat_map(both).collect();
    store
        .insert_members(list, members, now)
        .await
        .expect("members");
    fan_out_all(&store, list, 1).await;
    (folder, store, list)
}

#[tokio::test]
async fn a_destination_that_sends_us_away_is_left_alone_and_the_others_are_served() {
    let (_folder, store, _) = posted_to_two_domains(3).await;
    let sink = Sink::start(|_, at| match at {
        At::Rcpt(to) if to.contains("@bad.org") => Some(Act::Say("421 4.7.28 too many")),
        _ => None,
    })
    .await;
    let batch = send_to(&store, &sink).await;
    assert!(batch.trouble.is_none(), "{:?}", batch.trouble);
    let shown = show(&batch);
    let of =
        |domain: &str| -> Vec<&String> { shown.iter().filter(|s| s.contains(domain)).collect() };
    assert!(
        of("good.org").iter().all(|s| s.ends_with(" sent")),
        "{shown:?}"
    );
    let bad = of("bad.org");
    assert!(
        bad[0].contains(" later: ") && bad[0].ends_with("421 4.7.28 too many"),
        "{bad:?}"
    );
    // What was not begun is due as before.
    assert!(bad[1..].iter().all(|s| s.contains(" untried: ")), "{bad:?}");
    assert_eq!(sink.connections(), 2);
    let now = crate::store::now();
    let due = store.claim_deliveries(10, &Turn::default(), now).await;
    assert_eq!(due.expect("a claim").len(), 2);
}

#[tokio::test]
async fn a_next_hop_that_sends_everybody_away_is_itself_left_alone() {
    let (_folder, store) = open().await;
    let now = crate::store::now();
    let list = seed(&store, 0, MAIL, now).await;
    let members = (1..=9).map(|n| format!("m@d{n}.org")).collect();
    let added = store.insert_members(list, members, now).await;
    added.expect("members");
    fan_out_all(&store, list, 1).await;
    let sink =
        Sink::start(|_, at| matches!(at, At::Rcpt(_)).then_some(Act::Say("421 no <m@d.org>")))
            .await;
    let batch = send_to(&store, &sink).await;
    let trouble = batch.trouble.as_ref().expect("trouble");
    assert!(
        trouble.contains("421 no") && !trouble.contains('@'),
        "{trouble}"
    );
    assert_eq!(sink.connections(), 3);
    let shown = show(&batch);
    assert!(
        shown[3..].iter().all(|s| s.contains(" untried: ")),
        "{shown:?}"
    );
}

#[tokio::test]
async fn a_next_hop_that_shuts_down_is_no_fault_of_the_recipient() {
    let (_folder, store, _) = posted(3, MAIL).await;
    let down = "421 4.3.2 shutting down";
    let sink = Sink::start(move |_, at| matches!(at, At::Rcpt(_)).then_some(Act::Say(down))).await;
    let batch = send_to(&store, &sink).await;
    assert!(batch.trouble.expect("trouble").contains(down));
    assert_eq!(sink.connections(), 1);
}

/// The loop as it runs: one domain never answers, the other gets all of its mail meanwhile.
#[tokio::test]
async fn a_destination_that_hangs_holds_up_nobody_else() {
    let (_folder, store, _) = posted_to_two_domains(300).await;
    let sink = Sink::start(|_, at| match at {
        At::Dot(to) if to.ends_with("@bad.org") => Some(Act::Hang),
        _ => None,
    })
    .await;
    let stop = CancellationToken::new();
    let route = Route::Relay(sink.address.clone().into(), 4);
    let running = tokio::spawn(run(store.clone(), settings(route), stop.clone()));
    until(async || sink.mails().len() == 300).await;
    assert!(sink.served().iter().all(|to| to.ends_with("@good.org")));
    stop.cancel();
    running.await.expect("an end");
    // A copy that hangs for each connection at most was ever begun.
    let begun = sink.commands();
    let begun = begun.iter().filter(|c| c.starts_with("MAIL"));
    assert!(begun.count() <= 304);
}

/// The next hop asks for ten minutes of nothing; somebody mends it and wants a try now.
#[tokio::test]
async fn a_pause_ends_when_the_operator_wants_a_try() {
    let (_folder, store, _) = posted(3, MAIL).await;
    let sink = Sink::start(|connection, at| match (connection, at) {
        (1, At::Greeting) => Some(Act::Say("421 4.7.28 too many")),
        _ => None,
    })
    .await;
    let stop = CancellationToken::new();
    let route = Route::Relay(sink.address.clone().into(), 1);
    let running = tokio::spawn(run(store.clone(), settings(route), stop.clone()));
    until(async || sink.connections() > 0).await;
    until(async || {
        let now = crate::store::now().0.to_string();
        let wished = store.record_meta(RETRIED.to_owned(), now).await;
        wished.expect("a wish");
        sink.mails().len() == 3
    })
    .await;
    stop.cancel();
    running.await.expect("an end");
}

#[tokio::test]
async fn a_small_list_does_not_wait_for_all_copies_of_a_large_one() {
    let (_folder, store, large) = posted(50, MAIL).await;
    let small = second_list(&store, 2).await;
    let mut turn = Turn::default();
    let mut order = Vec::new();
    loop {
        let claimed = store.claim_deliveries(20, &turn, crate::store::now()).await;
        let claimed = claimed.expect("a claim");
        let Some(first) = claimed.first() else { break };
        assert!(claimed.iter().all(|d| d.list == first.list));
        turn.after = Some(first.list);
        order.push((first.list, claimed.len()));
    }
    let expected = [(large, 20), (small, 2), (large, 20), (large, 10)];
    assert_eq!(order, expected);
}

#[test]
fn only_the_way_to_another_machine_is_open() {
    let open = |relay: &str| Route::Relay(relay.to_owned().into(), 1).is_open();
    assert!(!open("127.0.0.1:25") && !open("[::1]:25") && !open("localhost:587"));
    assert!(open("192.0.2.1:25") && open("[2001:db8::1]:25") && open("mail.example.org:25"));
    assert!(!Route::Directory("outbox".into()).is_open());
}
