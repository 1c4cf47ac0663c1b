//! Mail of a sender that the next hop refuses waits, and holds up nobody else.

use super::*;
use crate::list::bounce;

/// A sink that refuses mail of some senders' domains with these words, and a sender to it.
async fn refusing(
    store: &Store,
    domains: &'static [&'static str],
    said: &'static str,
) -> (Sink, Sender) {
    let sink = Sink::start(move |_, at| match at {
        At::Mail(from) if domains.iter().any(|d| from.contains(d)) => Some(Act::Say(said)),
        _ => None,
    })
    .await;
    let route = Route::Relay(sink.address.clone().into(), 1);
    let sender = sender(store, route, &CancellationToken::new());
    (sink, sender)
}

/// Sends a claim of one list, or of letters, and records it; outcomes as their first words.
async fn round(store: &Store, sender: &mut Sender) -> (Vec<String>, Option<String>) {
    let batch = send_claimed(sender, claim(store).await).await;
    let shown = show(&batch).into_iter().map(|s| {
        let (start, _) = s.split_once(": ").unwrap_or((&s, ""));
        start.to_owned()
    });
    let shown = shown.collect();
    record_once(store, batch.outcomes).await.expect("recorded");
    (shown, batch.trouble)
}

#[tokio::test]
async fn mail_that_is_too_much_for_now_waits_without_a_try_each_and_blames_nobody() {
    for said in [
        "450 4.7.1 Error: too much mail from 192.0.2.1",
        "452 4.3.1 Insufficient system storage",
    ] {
        let (_folder, store, _) = posted(6, MAIL).await;
        let (sink, mut sender) = refusing(&store, &["@x.org>"], said).await;
        let before = crate::store::now();
        let batch = send_claimed(&mut sender, claim(&store).await).await;
        assert_eq!(batch.trouble, None);
        for (at, (_, outcome)) in batch.outcomes.iter().enumerate() {
            let (due, why) = match outcome {
                Outcome::Later(due, why) if at < 3 => (due, why),
                Outcome::Waits(due, why) if at >= 3 => (due, why),
                other => panic!("{at}: {other:?}"),
            };
            assert!(*due >= before.plus_secs(60), "{due:?}");
            assert!(why.starts_with("the next hop ") && why.ends_with(said));
            let given_up = format!("given up after five days: {why}");
            assert_eq!(bounce::read_answer(&given_up), None);
        }
        assert!(sink.mails().is_empty());
        let tries = sink.commands();
        assert_eq!(tries.iter().filter(|c| c.starts_with("MAIL")).count(), 3);
    }
}

#[tokio::test]
async fn a_list_whose_sender_is_refused_holds_up_no_other_list() {
    let (_folder, store, _) = posted(5, MAIL).await;
    second_list(&store, 2).await;
    let said = "553 5.7.1 not owned by user";
    let (_sink, mut sender) = refusing(&store, &["@x.org>"], said).await;
    let expected = ["m1 later", "m2 later", "m3 later", "m4 waits", "m5 waits"];
    let (shown, trouble) = round(&store, &mut sender).await;
    assert_eq!((shown, trouble), (expected.map(str::to_owned).into(), None));
    let (shown, trouble) = round(&store, &mut sender).await;
    assert_eq!(shown, ["s1 sent", "s2 sent"]);
    assert_eq!(trouble, None);
    // While it waits it is not even tried.
    make_due(&store).await;
    let (shown, _) = round(&store, &mut sender).await;
    assert!(shown.iter().all(|s| s.ends_with(" waits")), "{shown:?}");
    assert_eq!(shown.len(), 5);
}

#[tokio::test]
async fn a_second_sender_that_is_refused_alike_waits_as_well() {
    let (_folder, store, _) = posted(4, MAIL).await;
    second_list(&store, 2).await;
    let (_sink, mut sender) = refusing(&store, &["@"], "550 5.7.1 nothing from you").await;
    assert_eq!(round(&store, &mut sender).await.1, None);
    let (shown, trouble) = round(&store, &mut sender).await;
    assert_eq!(shown, ["s1 later", "s2 waits"]);
    assert_eq!(trouble, None);
}

#[tokio::test]
async fn whatever_letters_meet_copies_go_out_whose_own_sender_is_not_refused() {
    let (_folder, store, _) = posted(4, MAIL).await;
    let (_sink, mut sender) = refusing(&store, &["<>", "@x.org>"], "550 5.7.1 no").await;
    assert_eq!(round(&store, &mut sender).await.1, None);
    // The letter is tried first, while the list's copies wait.
    letters::owe(&store, "ana@y.org", b"Subject: s\n\nb\n").await;
    second_list(&store, 2).await;
    let (shown, trouble) = round(&store, &mut sender).await;
    assert_eq!(shown, ["ana later", "s1 sent", "s2 sent"]);
    assert_eq!(trouble, None);
}

#[tokio::test]
async fn what_waited_for_its_sender_is_given_up_when_its_days_are_over_and_it_was_tried() {
    let (_folder, store) = open().await;
    let week_ago = crate::store::now().plus_secs(-7 * 86_400);
    let list = seed(&store, 5, MAIL, week_ago).await;
    fan_out_all(&store, list, 1).await;
    let (_sink, mut sender) = refusing(&store, &["@x.org>"], "550 5.7.1 no").await;
    round(&store, &mut sender).await;
    make_due(&store).await;
    let (shown, _) = round(&store, &mut sender).await;
    let expected = [
        "m1 gave up",
        "m2 gave up",
        "m3 gave up",
        "m4 waits",
        "m5 waits",
    ];
    assert_eq!(shown, expected);
}

#[test]
fn what_the_next_hop_was_never_asked_says_nothing_of_its_destination() {
    let letter = crate::store::Letter {
        id: crate::types::LetterId(1),
        list: None,
        recipient: "ana@y.org".to_owned(),
        return_path: String::new(),
        data: Arc::from(&b""[..]),
        copy: None,
        attempts: 1,
        until: crate::store::now(),
        made: crate::store::now(),
        refused: false,
        lapses: None,
    };
    let owed = Owed::Letter(letter);
    let all = Mutex::new(Destinations::new(4));
    lock(&all).record_slowness("y.org", 1, schedule::steady());
    let patience = lock(&all).patience();
    for _ in 0..100 {
        let unfit = client::Answer::Unfit("too large".to_owned());
        let (weighed, freed) = weigh::weigh(&all, (&owed, ""), unfit, Duration::ZERO);
        let given_up = Outcome::GaveUp("too large".to_owned());
        assert_eq!(weighed, weigh::Weighed::Unasked(given_up));
        assert!(!freed);
    }
    assert_eq!(lock(&all).patience(), patience);
    assert_eq!(lock(&all).closed(schedule::steady()), ["y.org"]);
}

#[tokio::test]
async fn a_claim_of_which_nothing_was_sent_does_not_show_that_the_next_hop_is_well() {
    let (_folder, store) = open().await;
    let shared = Shared {
        store,
        settings: settings(Route::Directory("outbox".into())),
        stop: CancellationToken::new(),
        throttle: Mutex::new(Throttle::new(4)),
        destinations: Arc::new(Mutex::new(Destinations::new(4))),
        served: Mutex::new(None),
        retried: Mutex::new(crate::store::now()),
        looked: Mutex::new(schedule::steady()),
    };
    let a_while_ago = schedule::steady().plus_secs(-20);
    assert_eq!(shared.throttle().record_trouble(a_while_ago, "away"), 15);
    shared.judge(&Summary::default());
    let now = schedule::steady();
    assert_eq!(shared.throttle().allowed(now), 1);
    assert_eq!(shared.throttle().record_trouble(now, "away"), 30);
}
