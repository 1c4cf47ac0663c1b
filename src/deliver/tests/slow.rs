//! What takes long, and what it holds up: nobody else.

use tokio::sync::Notify;

use super::trouble::posted_to_two_domains;
use super::*;
use crate::store::delivery_tests::take_back;

/// Others are answered at once: what takes a quarter of a second is slow.
fn all_is_quick(destinations: &Mutex<Destinations>) {
    for _ in 0..100 {
        let soon = Duration::from_millis(1);
        lock(destinations).record_answer("else.org", soon, schedule::steady());
    }
}

/// It answers the first mails at once, and begins to hang while all connections have mail for it.
#[tokio::test]
async fn a_quick_destination_that_begins_to_hang_holds_up_nobody_else() {
    let (_folder, store, _) = posted_to_two_domains(600).await;
    let quick = AtomicUsize::new(0);
    let sink = Sink::start(move |_, at| match at {
        At::Dot(to) if to.ends_with("@bad.org") => {
            (quick.fetch_add(1, Ordering::SeqCst) >= 20).then_some(Act::Hang)
        }
        _ => None,
    })
    .await;
    let stop = CancellationToken::new();
    let route = Route::Relay(sink.address.clone().into(), 4);
    let running = tokio::spawn(run(store.clone(), settings(route), stop.clone()));
    let good = |to: &String| to.ends_with("@good.org");
    until(async || sink.served().iter().filter(|to| good(to)).count() == 600).await;
    stop.cancel();
    running.await.expect("an end");
}

#[tokio::test]
async fn an_answer_that_never_comes_while_others_are_answered_is_the_destinations_trouble() {
    let (_folder, store, _) = posted_to_two_domains(1).await;
    let sink = Sink::start(|_, at| match at {
        At::Dot(to) if to.ends_with("@bad.org") => Some(Act::Hang),
        _ => None,
    })
    .await;
    for others in [true, false] {
        let route = Route::Relay(sink.address.clone().into(), 4);
        let mut sender = sender(&store, route, &CancellationToken::new());
        sender.waits.dot = Duration::from_secs(2);
        let destinations = Arc::clone(&sender.place.destinations);
        all_is_quick(&destinations);
        let meanwhile = Arc::clone(&destinations);
        let answers = tokio::spawn(async move {
            let mut tick = tokio::time::interval(Duration::from_millis(50));
            loop {
                tick.tick().await;
                if others {
                    all_is_quick(&meanwhile);
                }
            }
        });
        let batch = send_claimed(&mut sender, claim(&store).await).await;
        answers.abort();
        record_once(&store, batch.outcomes.clone())
            .await
            .expect("recorded");
        assert_eq!(batch.trouble.is_none(), others, "{:?}", batch.trouble);
        let paused = lock(&destinations).closed(schedule::steady());
        assert_eq!(paused.contains(&"bad.org".to_owned()), others, "{paused:?}");
        make_due(&store).await;
    }
}

#[tokio::test]
async fn a_next_hop_that_greets_late_makes_no_destination_a_slow_one() {
    let (_folder, store, _) = posted(1, MAIL).await;
    let gate = Arc::new(Notify::new());
    let closed = Arc::clone(&gate);
    let sink =
        Sink::start(move |_, at| (*at == At::Greeting).then(|| Act::After(Arc::clone(&closed))))
            .await;
    let route = Route::Relay(sink.address.clone().into(), 4);
    let mut sender = sender(&store, route, &CancellationToken::new());
    let destinations = Arc::clone(&sender.place.destinations);
    all_is_quick(&destinations);
    let patience = lock(&destinations).patience();
    tokio::spawn(async move {
        tokio::time::sleep(patience * 3).await;
        gate.notify_one();
    });
    let batch = send_claimed(&mut sender, claim(&store).await).await;
    assert_eq!(show(&batch), ["m1 sent"]);
    let mut all = lock(&destinations);
    assert_eq!(all.enter("y.org", 1, schedule::steady()), Ok(()));
    assert_eq!(all.enter("y.org", 2, schedule::steady()), Ok(()));
}

/// What is not sent at all is looked at first: it takes no place at its destination, and waits for none.
#[tokio::test]
async fn a_copy_that_nobody_wants_does_not_wait_for_its_destination() {
    let (_folder, store, _) = posted(2, MAIL).await;
    set_nomail(&store, "m1@y.org").await;
    let sink = Sink::start(|_, _| None).await;
    let route = Route::Relay(sink.address.clone().into(), 4);
    let mut sender = sender(&store, route, &CancellationToken::new());
    let other = lock(&sender.place.destinations).enter("y.org", 1, schedule::steady());
    assert_eq!(other, Ok(()));
    let batch = send_claimed(&mut sender, claim(&store).await).await;
    assert_eq!(show(&batch), ["m1 unwanted", "m2 untried: "]);
}

/// The relay takes its time with the first copy; what is not begun by then is stopped.
#[tokio::test]
async fn copies_that_are_claimed_and_not_begun_are_stopped_when_the_mail_is_taken_back() {
    let (_folder, store, _) = posted(3, MAIL).await;
    let gate = Arc::new(Notify::new());
    let closed = Arc::clone(&gate);
    let sink = Sink::start(move |_, at| match at {
        At::Dot(to) if to.contains("m1@") => Some(Act::After(Arc::clone(&closed))),
        _ => None,
    })
    .await;
    let route = Route::Relay(sink.address.clone().into(), 1);
    let claimed = claim(&store).await;
    let mut sender = sender(&store, route, &CancellationToken::new());
    let sending = tokio::spawn(async move { show(&send_claimed(&mut sender, claimed).await) });
    until(async || !sink.commands().is_empty()).await;
    take_back(&store).await;
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    gate.notify_one();
    let gone = "gave up: the posting is gone";
    let expected = [
        "m1 sent".to_owned(),
        format!("m2 {gone}"),
        format!("m3 {gone}"),
    ];
    assert_eq!(sending.await.expect("an end"), expected);
    assert_eq!(sink.served(), ["m1@y.org"]);
}
