//! Whose fault a refusal is, and that nothing is lost for what is not the member's.

use std::collections::HashMap;

use super::*;
use crate::list::bounce;
use crate::list::settings::Policy;
use crate::store::delivery_tests::set_policy;

const QUOTA: &str = "550 5.4.5 Daily user sending quota exceeded";

/// A store with one posting to `m@d1.org` ….
async fn posted_to_domains(count: usize) -> (tempfile::TempDir, Store, ListId) {
    let (folder, store) = open().await;
    let now = crate::store::now();
    let list = seed(&store, 0, MAIL, now).await;
    let members = (1..=count).map(|n| format!("m@d{n}.org")).collect();
    let added = store.insert_members(list, members, now).await;
    added.expect("members");
    fan_out_all(&store, list, 1).await;
    (folder, store, list)
}

/// What was put off counts against nobody, however long it lasts.
fn blames_nobody(batch: &Batch) {
    for (_, outcome) in &batch.outcomes {
        if let Outcome::Later(_, why) = outcome {
            let given_up = format!("given up after five days: {why}");
            assert_eq!(bounce::read_answer(&given_up), None, "{why}");
        }
    }
}

#[tokio::test]
async fn a_quota_of_the_next_hop_loses_no_copy_and_blames_no_member() {
    for place in [At::Mail(String::new()), At::Rcpt(String::new()), At::Data] {
        let (_folder, store, _) = posted(5, MAIL).await;
        let place = std::mem::discriminant(&place);
        let sink = Sink::start(move |_, at| {
            (std::mem::discriminant(at) == place).then_some(Act::Say(QUOTA))
        })
        .await;
        let batch = send_to(&store, &sink).await;
        assert_eq!(batch.trouble, None);
        let shown = show(&batch);
        let tried = |s: &String| s.contains(" later: the next hop ") && s.ends_with(QUOTA);
        assert!(shown[..3].iter().all(tried), "{shown:?}");
        let kept = |s: &String| s.contains(" waits: the next hop ") && s.ends_with(QUOTA);
        assert!(shown[3..].iter().all(kept), "{shown:?}");
        blames_nobody(&batch);
        let kept = "made 5 sent 0 failed 0 owed 5 given up 0";
        assert_eq!(tally(&store, 1).await, kept);
    }
}

#[tokio::test]
async fn a_next_hop_that_relays_for_nobody_loses_no_copy() {
    let (_folder, store, _) = posted_to_domains(9).await;
    let said = "554 5.7.1 Relay access denied";
    let sink = Sink::start(move |_, at| matches!(at, At::Rcpt(_)).then_some(Act::Say(said))).await;
    let batch = send_to(&store, &sink).await;
    assert!(batch.trouble.as_ref().expect("trouble").contains(said));
    let untried = |s: &String| s.contains(" untried: ");
    assert!(show(&batch)[3..].iter().all(untried));
    blames_nobody(&batch);
    let kept = "made 9 sent 0 failed 0 owed 9 given up 0";
    assert_eq!(tally(&store, 1).await, kept);
}

/// It takes the mail of its own domain: that shows nothing of the others'.
#[tokio::test]
async fn a_next_hop_that_relays_to_its_own_domain_only_loses_no_copy_of_the_others() {
    for said in [
        "554 5.7.1 Relay access denied",
        "550 relay not permitted",
        "553 5.7.1 Sender address rejected: not owned by user ana",
    ] {
        let (_folder, store, _) = posted_to_domains(9).await;
        let sink = Sink::start(move |_, at| match at {
            At::Rcpt(to) if !to.contains("@d2.org") && !to.contains("@d5.org") => {
                Some(Act::Say(said))
            }
            _ => None,
        })
        .await;
        let route = Route::Relay(sink.address.clone().into(), 1);
        let mut sender = sender(&store, route, &CancellationToken::new());
        for _ in 0..3 {
            let batch = send_claimed(&mut sender, claim(&store).await).await;
            let lost = |s: &String| s.contains(" gave up: ");
            assert!(!show(&batch).iter().any(lost), "{:?}", show(&batch));
            blames_nobody(&batch);
            record_once(&store, batch.outcomes).await.expect("recorded");
            make_due(&store).await;
        }
        let kept = "made 9 sent 2 failed 0 owed 7 given up 0";
        assert_eq!(tally(&store, 1).await, kept);
    }
}

/// With one or two domains it is never the third that is refused.
#[tokio::test]
async fn a_list_whose_members_are_all_at_one_domain_loses_no_copy_to_a_next_hop_that_relays_nothing()
 {
    let (_folder, store, _) = posted(2, MAIL).await;
    let said = "550 relay not permitted";
    let sink = Sink::start(move |_, at| matches!(at, At::Rcpt(_)).then_some(Act::Say(said))).await;
    for _ in 0..3 {
        let batch = send_to(&store, &sink).await;
        // The log has its words from the first try on.
        let told = batch.trouble.as_ref().or(batch.refused.as_ref());
        assert!(told.is_some_and(|words| words.ends_with(said)), "{told:?}");
        let later = |s: &String| s.contains(" later: the next hop ") && s.ends_with(said);
        assert!(show(&batch).iter().all(later), "{:?}", show(&batch));
        blames_nobody(&batch);
        make_due(&store).await;
    }
}

#[tokio::test]
async fn a_copy_that_was_put_off_before_is_asked_about_once_more_all_the_same() {
    let (_folder, store, _) = posted(1, MAIL).await;
    let tries = AtomicUsize::new(0);
    let sink = Sink::start(move |_, at| match at {
        At::Rcpt(_) => Some(match tries.fetch_add(1, Ordering::SeqCst) {
            0 => Act::Say("450 4.2.1 greylisted"),
            _ => Act::Say("550 5.7.1 not from you"),
        }),
        _ => None,
    })
    .await;
    for expected in [
        "m1 later: 450 4.2.1 greylisted",
        "m1 later: 550 5.7.1 not from you",
        "m1 gave up: 550 5.7.1 not from you",
    ] {
        assert_eq!(show(&send_to(&store, &sink).await), [expected]);
        make_due(&store).await;
    }
}

#[tokio::test]
async fn a_mail_that_is_too_large_for_the_next_hop_is_given_up_and_nobody_blamed() {
    let (_folder, store, _) = posted(1, MAIL).await;
    let said = "552 sorry, that message size exceeds my databytes limit (#5.3.4)";
    let sink = Sink::start(move |_, at| matches!(at, At::Dot(_)).then_some(Act::Say(said))).await;
    let batch = send_to(&store, &sink).await;
    let Outcome::GaveUp(why) = &batch.outcomes[0].1 else {
        panic!("not given up: {:?}", show(&batch));
    };
    assert_eq!(*why, format!("the next hop refuses it: {said}"));
    assert_eq!(bounce::read_answer(why), None);
}

#[tokio::test]
async fn a_refusal_is_the_recipients_once_others_are_welcome() {
    let (_folder, store, _) = posted(3, MAIL).await;
    let sink = Sink::start(|_, at| match at {
        At::Rcpt(to) if !to.contains("m3@") => Some(Act::Say("550 5.7.1 not from you")),
        _ => None,
    })
    .await;
    let expected = [
        "m1 gave up: 550 5.7.1 not from you",
        "m2 gave up: 550 5.7.1 not from you",
        "m3 sent",
    ];
    let batch = send_to(&store, &sink).await;
    assert_eq!(show(&batch), expected);
    // Where nothing shows it, it is asked about once more.
    let (_folder, store, _) = posted(1, MAIL).await;
    let later = ["m1 later: 550 5.7.1 not from you"];
    assert_eq!(show(&send_to(&store, &sink).await), later);
    make_due(&store).await;
    assert_eq!(show(&send_to(&store, &sink).await), expected[..1]);
}

#[tokio::test]
async fn a_limit_of_mails_a_connection_is_met_by_a_new_connection() {
    let (_folder, store, _) = posted(5, MAIL).await;
    let taken = Mutex::new(HashMap::<usize, usize>::new());
    let sink = Sink::start(move |number, at| {
        let At::Mail(_) = at else { return None };
        let mut taken = lock(&taken);
        let count = taken.entry(number).or_default();
        *count += 1;
        (*count > 2).then_some(Act::Say("421 4.7.0 enough of you"))
    })
    .await;
    let batch = send_to(&store, &sink).await;
    assert_eq!(batch.trouble, None);
    let all = ["m1 sent", "m2 sent", "m3 sent", "m4 sent", "m5 sent"];
    assert_eq!(show(&batch), all);
    assert_eq!(sink.connections(), 3);
}

#[tokio::test]
async fn mail_that_cannot_be_signed_waits_and_holds_up_nobody_else() {
    let (folder, store, _) = posted(2, MAIL).await;
    letters::owe(&store, "ana@y.org", b"Subject: Welcome\n\nhello\n").await;
    let keys = folder.path().join("dkim/x.org");
    std::fs::create_dir_all(&keys).expect("made");
    std::fs::write(keys.join("p20270115.pem"), "x").expect("written");
    let sink = Sink::start(|_, _| None).await;
    let mut settings = settings(Route::Relay(sink.address.clone().into(), 1));
    settings.keys = Arc::new(keys::Keyring::new(folder.path()));
    let place = Place {
        number: 0,
        destinations: Arc::new(Mutex::new(Destinations::new(1))),
    };
    let mut sender = Sender::new(store.clone(), settings, CancellationToken::new(), place);
    let batch = send_claimed(&mut sender, claim(&store).await).await;
    let shown = show(&batch);
    assert_eq!(shown[0], "ana sent");
    let waits = |s: &String| s.contains(" waits: it cannot be signed for x.org: ");
    assert!(
        shown.len() == 3 && shown[1..].iter().all(waits),
        "{shown:?}"
    );
    record_once(&store, batch.outcomes).await.expect("recorded");
    // Not at once again, or letters of one domain would keep all others from their turn.
    assert!(claim(&store).await.is_empty());
    let kept = "made 2 sent 0 failed 0 owed 2 given up 0";
    assert_eq!(tally(&store, 1).await, kept);
}

#[tokio::test]
async fn copies_for_tls_only_wait_for_the_operator_and_are_never_given_up() {
    let (_folder, store) = open().await;
    let month_ago = crate::store::now().plus_secs(-30 * 86_400);
    let list = seed(&store, 1, MAIL, month_ago).await;
    let policy = Policy {
        tls_only: true,
        ..Policy::open()
    };
    set_policy(&store, &policy).await;
    fan_out_all(&store, list, 1).await;
    for _ in 0..3 {
        let route = Route::Relay("192.0.2.1:25".to_owned().into(), 1);
        let batch = send(&store, route, &CancellationToken::new()).await;
        assert!(show(&batch)[0].starts_with("m1 waits: the list's copies go over TLS only"));
        make_due(&store).await;
    }
    let sink = Sink::start(|_, _| None).await;
    assert_eq!(show(&send_to(&store, &sink).await), ["m1 sent"]);
}

#[tokio::test]
async fn a_copy_that_waited_for_a_next_hop_that_was_away_is_tried_before_it_is_given_up() {
    let (_folder, store) = open().await;
    let week_ago = crate::store::now().plus_secs(-7 * 86_400);
    let list = seed(&store, 1, MAIL, week_ago).await;
    fan_out_all(&store, list, 1).await;
    let away = Sink::start(|_, at| (*at == At::Greeting).then_some(Act::Say("554 no"))).await;
    for _ in 0..2 {
        let shown = show(&send_to(&store, &away).await);
        assert!(shown[0].starts_with("m1 untried: "), "{shown:?}");
    }
    let busy = Sink::start(|_, at| match at {
        At::Rcpt(_) => Some(Act::Say("450 greylisted")),
        _ => None,
    })
    .await;
    let later = ["m1 later: 450 greylisted"];
    assert_eq!(show(&send_to(&store, &busy).await), later);
    make_due(&store).await;
    let gave_up = ["m1 gave up: given up after five days: 450 greylisted"];
    assert_eq!(show(&send_to(&store, &busy).await), gave_up);
}

#[tokio::test]
async fn a_look_at_the_next_hop_names_a_sender_and_sends_nothing() {
    let hello = |at: &At| (*at == At::Hello).then_some(Act::Say("250 old"));
    let sender = "postmaster@x.org";
    let sink = Sink::start(move |_, at| hello(at)).await;
    let relay = sink.address.clone().into();
    let looked = greet(&relay, "here.example", sender).await;
    assert_eq!(looked, Ok(()));
    let expected = ["MAIL FROM:<postmaster@x.org>", "RSET"];
    assert_eq!(sink.commands()[..2], expected);
    let strict = Sink::start(move |_, at| match at {
        At::Mail(_) => Some(Act::Say("550 5.7.1 not yours")),
        at => hello(at),
    })
    .await;
    let relay = strict.address.clone().into();
    let refused = greet(&relay, "here.example", sender).await;
    let words = "it takes no mail from postmaster@x.org: 550 5.7.1 not yours";
    assert_eq!(refused, Err(words.to_owned()));
}

#[tokio::test]
async fn mail_of_a_domain_whose_keys_are_gone_waits_and_is_not_sent_unsigned() {
    let (folder, store, _) = posted(1, MAIL).await;
    let sink = Sink::start(|_, _| None).await;
    let route = || Route::Relay(sink.address.clone().into(), 1);
    let domain = {
        let list = store.load_lists().await.expect("lists").remove(0);
        list.address
            .rsplit_once('@')
            .expect("a domain")
            .1
            .to_owned()
    };
    let keys = folder.path().join("dkim").join(&domain);
    let send_anew = async || {
        let mut sender = sender(&store, route(), &CancellationToken::new());
        sender.settings.keys = Arc::new(keys::Keyring::new(folder.path()));
        send_claimed(&mut sender, claim(&store).await).await
    };
    let again = async || {
        make_due(&store).await;
        store.free_claims().await.expect("freed");
        send_anew().await
    };
    // It never had keys.
    assert!(show(&send_anew().await)[0].ends_with(" sent"));
    keys::make(folder.path(), &domain, crate::store::now()).expect("made");
    assert!(show(&again().await)[0].ends_with(" sent"));
    let away = folder.path().join("away");
    std::fs::rename(&keys, &away).expect("moved");
    let shown = show(&again().await);
    assert!(
        shown[0].contains(" waits: the keys that signed"),
        "{shown:?}"
    );
    // The last key was dropped: unsigned as it was wanted.
    std::fs::create_dir(&keys).expect("made");
    assert!(show(&again().await)[0].ends_with(" sent"));
}
