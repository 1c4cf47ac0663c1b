use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::client::{Client, Mail, Waits};
use super::*;
use crate::store::delivery_tests::{
    damage, fan_out_all, make_due, open, second_list, seed, set_nomail, tally,
};
use crate::types::ListId;

const MAIL: &[u8] = b"From: a@b.c\nSubject: [PATCH] x\n\n.\n..x\n---\n+caf\n";
const BODY: &[u8] = b"\r\n\r\n.\r\n..x\r\n---\r\n+caf\r\n";

mod letters;
mod login;
mod parting;
mod refused;
mod senders;
mod sink;
mod slow;
mod trouble;

use sink::{Act, At, Sink};

fn settings(route: Route) -> Settings {
    Settings {
        route,
        hostname: "here.example".to_owned(),
        base_url: "https://x.org".into(),
        feedback_id: "".into(),
        token_key: b"key".to_vec().into(),
        keys: Arc::new(keys::Keyring::new(std::path::Path::new("/nowhere"))),
    }
}

/// A store with one posting to `members`, whose copies are made.
async fn posted(members: usize, mail: &[u8]) -> (tempfile::TempDir, Store, ListId) {
    let (folder, store) = open().await;
    let list = seed(&store, members, mail, crate::store::now()).await;
    fan_out_all(&store, list, 1).await;
    (folder, store, list)
}

/// A claim's copies with what became of each.
struct Batch {
    outcomes: Vec<(Owed, Outcome)>,
    trouble: Option<String>,
    refused: Option<String>,
}

fn sender(store: &Store, route: Route, stop: &CancellationToken) -> Sender {
    let place = Place {
        number: 0,
        destinations: Arc::new(Mutex::new(Destinations::new(4))),
    };
    Sender::new(store.clone(), settings(route), stop.clone(), place)
}

async fn claim(store: &Store) -> Vec<Owed> {
    let now = crate::store::now();
    let letters = store.claim_letters(1_000, &[], now).await;
    let letters = letters.expect("a claim").into_iter().map(Owed::Letter);
    let copies = store.claim_deliveries(1_000, &Turn::default(), now).await;
    let copies = copies.expect("a claim").into_iter().map(Owed::Copy);
    letters.chain(copies).collect()
}

async fn send_claimed(sender: &mut Sender, claimed: Vec<Owed>) -> Batch {
    let (queue, mut outcomes) = mpsc::channel(claimed.len() + 1);
    let summary = sender.send(claimed, Outcomes::new(queue)).await;
    let mut batch = Batch {
        outcomes: vec![],
        trouble: summary.trouble,
        refused: summary.refused,
    };
    outcomes.recv_many(&mut batch.outcomes, 1_000).await;
    let count = |o: &str| show(&batch).iter().filter(|s| s.contains(o)).count() as u64;
    let counted = (count(" sent"), count(" later: "), count(" gave up: "));
    assert_eq!((summary.sent, summary.delayed, summary.given_up), counted);
    batch
}

/// Sends one claim and records it.
async fn send(store: &Store, route: Route, stop: &CancellationToken) -> Batch {
    let mut sender = sender(store, route, stop);
    let batch = send_claimed(&mut sender, claim(store).await).await;
    sender.close().await;
    let recorded = record_once(store, batch.outcomes.clone()).await;
    recorded.expect("recorded");
    batch
}

async fn send_to(store: &Store, sink: &Sink) -> Batch {
    let route = Route::Relay(sink.address.clone().into(), 1);
    send(store, route, &CancellationToken::new()).await
}

/// Outcomes as `m1@y.org sent`, times left out.
fn show(batch: &Batch) -> Vec<String> {
    let show = |(owed, outcome): &(Owed, Outcome)| {
        let outcome = match outcome {
            Outcome::Sent => "sent".to_owned(),
            Outcome::Later(_, why) => format!("later: {why}"),
            Outcome::Untried(why) => format!("untried: {why}"),
            Outcome::Waits(_, why) => format!("waits: {why}"),
            Outcome::GaveUp(why) => format!("gave up: {why}"),
            Outcome::Unwanted => "unwanted".to_owned(),
        };
        format!("{} {outcome}", owed.recipient().replace("@y.org", ""))
    };
    batch.outcomes.iter().map(show).collect()
}

/// Waits for a fact.
async fn until(mut fact: impl AsyncFnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    while !fact().await {
        assert!(tokio::time::Instant::now() < deadline, "it never came true");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn every_member_gets_the_bytes_that_arrived_over_few_connections() {
    let (_folder, store, _) = posted(250, MAIL).await;
    let sink = Sink::start(|_, _| None).await;
    let batch = send_to(&store, &sink).await;
    assert!(batch.trouble.is_none());
    assert_eq!(sink.connections(), 3);
    assert_eq!(
        tally(&store, 1).await,
        "made 250 sent 250 failed 0 owed 0 given up 0"
    );
    let mails = sink.mails();
    let mut paths: Vec<&String> = mails.iter().map(|(from, ..)| from).collect();
    paths.sort();
    paths.dedup();
    assert_eq!(paths.len(), 250, "return paths are not one each");
    for (at, (_, to, mail)) in mails.iter().enumerate() {
        assert_eq!(*to, format!("m{}@y.org", at + 1));
        let text = String::from_utf8_lossy(mail);
        assert!(
            text.starts_with("List-Unsubscribe: <https://x.org/u/")
                && text.contains("\r\nList-Id: Development <dev.x.org>\r\n"),
            "{text}"
        );
        assert!(
            text.contains("X-Mailing-List: dev@x.org\r\nFrom: a@b.c\r\nSubject: [PATCH] x\r\n\r\n")
        );
        let plain = text.replace("\r\n..", "\r\n.");
        assert!(plain.as_bytes().ends_with(BODY), "{plain}");
    }
    let first = &sink.commands()[0];
    assert!(
        first.starts_with("MAIL FROM:<dev+b-") && first.contains("> SIZE="),
        "{first}"
    );
    assert!(!first.contains("8BITMIME"));
}

#[tokio::test]
async fn a_server_without_extensions_is_spoken_to_plainly() {
    let (_folder, store, _) = posted(3, MAIL).await;
    let sink = Sink::start(|_, at| match at {
        At::Hello => Some(Act::Say("250 old")),
        At::Rcpt(to) if to.contains("m2@") => Some(Act::Say("550 5.1.1 no m2")),
        _ => None,
    })
    .await;
    let batch = send_to(&store, &sink).await;
    assert_eq!(
        show(&batch),
        ["m1 sent", "m2 gave up: 550 5.1.1 no m2", "m3 sent"]
    );
    let commands = sink.commands();
    assert!(
        commands[0].ends_with('>') && commands[2] == "RSET",
        "{commands:?}"
    );
}

#[tokio::test]
async fn only_the_refused_recipient_waits_or_is_given_up() {
    let (_folder, store, _) = posted(5, MAIL).await;
    let sink = Sink::start(|_, at| match at {
        At::Rcpt(to) if to.contains("m2@") => Some(Act::Say("450 4.2.1 greylisted")),
        At::Rcpt(to) if to.contains("m3@") => Some(Act::Say("550-5.1.1 who\r\n550 5.1.1 is that?")),
        At::Dot(to) if to.contains("m4@") => Some(Act::Say("451 4.7.1 try again")),
        _ => None,
    })
    .await;
    let before = crate::store::now();
    let batch = send_to(&store, &sink).await;
    assert_eq!(
        show(&batch),
        [
            "m1 sent",
            "m2 later: 450 4.2.1 greylisted",
            "m3 gave up: 550 5.1.1 who 5.1.1 is that?",
            "m4 later: 451 4.7.1 try again",
            "m5 sent"
        ]
    );
    assert!(batch.trouble.is_none());
    let Outcome::Later(at, _) = &batch.outcomes[1].1 else {
        panic!("not put off");
    };
    assert!(*at >= before.plus_secs(300) && *at <= crate::store::now().plus_secs(330));
    assert_eq!(sink.connections(), 1);
    assert_eq!(
        tally(&store, 1).await,
        "made 5 sent 2 failed 1 owed 2 given up 1"
    );
}

#[tokio::test]
async fn a_server_that_wants_the_mail_after_a_refusal_gets_an_empty_one() {
    let (_folder, store, _) = posted(2, MAIL).await;
    let sink = Sink::start(|_, at| match at {
        At::Rcpt(to) if to.contains("m1@") => Some(Act::Say("550 no")),
        At::Data => Some(Act::Say("354 whatever")),
        At::Dot(to) if to.contains("m1@") => Some(Act::Say("554 no valid recipients")),
        _ => None,
    })
    .await;
    let batch = send_to(&store, &sink).await;
    assert_eq!(show(&batch), ["m1 gave up: 550 no", "m2 sent"]);
    assert_eq!(sink.connections(), 1);
}

#[tokio::test]
async fn a_connection_lost_after_the_dot_is_not_counted_as_sent() {
    let (_folder, store, _) = posted(3, MAIL).await;
    let sink = Sink::start(|number, at| match at {
        At::Dot(to) if to.contains("m2@") && number == 1 => Some(Act::Close),
        _ => None,
    })
    .await;
    let batch = send_to(&store, &sink).await;
    let shown = show(&batch);
    assert_eq!(shown[0], "m1 sent");
    assert!(shown[1].starts_with("m2 later: ") && shown[1].ends_with("it closed the connection"));
    assert!(shown[2].starts_with("m3 untried: "), "{shown:?}");
    assert!(batch.trouble.is_some());
    // At once again, it would be a second copy; the others need not wait for it.
    assert_eq!(show(&send_to(&store, &sink).await), ["m3 sent"]);
    assert_eq!(
        tally(&store, 1).await,
        "made 3 sent 2 failed 0 owed 1 given up 0"
    );
}

#[tokio::test]
async fn no_copy_is_lost_when_the_server_is_away() {
    let (_folder, store, _) = posted(3, MAIL).await;
    let greeting =
        Sink::start(|_, at| (*at == At::Greeting).then_some(Act::Say("554 go away"))).await;
    let login = Sink::start(|_, at| match at {
        At::Mail(_) => Some(Act::Say("530 5.7.0 log in first")),
        _ => None,
    })
    .await;
    let gibberish =
        Sink::start(|_, at| (*at == At::Greeting).then_some(Act::Say("SSH-2.0-x"))).await;
    let closed = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let nobody = closed.local_addr().expect("an address").to_string();
    drop(closed);
    for relay in [&greeting.address, &gibberish.address, &nobody] {
        let batch = send(
            &store,
            Route::Relay(relay.clone().into(), 1),
            &CancellationToken::new(),
        )
        .await;
        assert!(batch.trouble.is_some());
        assert!(
            show(&batch).iter().all(|s| s.contains(" untried: ")),
            "{:?}",
            show(&batch)
        );
    }
    let batch = send_to(&store, &login).await;
    assert!(batch.trouble.expect("trouble").contains("log in first"));
    assert_eq!(
        tally(&store, 1).await,
        "made 3 sent 0 failed 0 owed 3 given up 0"
    );
}

#[tokio::test]
async fn a_connection_that_ends_between_two_mails_is_opened_anew() {
    let (_folder, store, _) = posted(4, MAIL).await;
    let sink = Sink::start(|number, at| match at {
        At::Mail(_) if number == 1 => None,
        At::Rcpt(to) if to.contains("m3@") && number == 1 => Some(Act::Close),
        _ => None,
    })
    .await;
    let batch = send_to(&store, &sink).await;
    assert_eq!(show(&batch), ["m1 sent", "m2 sent", "m3 sent", "m4 sent"]);
    assert_eq!(sink.connections(), 2);
}

#[tokio::test]
async fn what_the_server_cannot_take_is_given_up_and_not_changed() {
    let plain =
        |_: usize, at: &At| (*at == At::Hello).then_some(Act::Say("250-x\r\n250 PIPELINING"));
    let (_folder, store, _) = posted(1, b"Subject: s\n\ncaf\xe9\n").await;
    let batch = send_to(&store, &Sink::start(plain).await).await;
    assert!(
        show(&batch)[0].contains("gave up: the mail holds 8-bit text"),
        "{:?}",
        show(&batch)
    );

    let (_folder, store, _) = posted(1, b"Subject: s\n\ncaf\xe9\n").await;
    let sink = Sink::start(|_, _| None).await;
    assert_eq!(show(&send_to(&store, &sink).await), ["m1 sent"]);
    assert!(sink.commands()[0].ends_with(" BODY=8BITMIME"));
    assert!(sink.mails()[0].2.ends_with(b"caf\xe9\r\n"));

    let large = format!("Subject: s\n\n{}", "x\n".repeat(60_000));
    let (_folder, store, _) = posted(1, large.as_bytes()).await;
    let batch = send_to(&store, &Sink::start(|_, _| None).await).await;
    assert!(
        show(&batch)[0].contains("takes at most 100000"),
        "{:?}",
        show(&batch)
    );

    let (_folder, store, _) = posted(1, b"Subject: s\n\na\rb\n").await;
    let sink = Sink::start(|_, _| None).await;
    assert!(show(&send_to(&store, &sink).await)[0].contains("gave up: the mail holds bare CR"));
    assert_eq!(sink.connections(), 0);
}

#[tokio::test]
async fn a_large_mail_arrives_whole() {
    let line = format!("{}\n.\n", "x".repeat(997));
    let mail = format!("Subject: s\n\n{}", line.repeat(500));
    let (_folder, store, _) = posted(2, mail.as_bytes()).await;
    let sink =
        Sink::start(|_, at| (*at == At::Hello).then_some(Act::Say("250-x\r\n250 PIPELINING")))
            .await;
    assert_eq!(show(&send_to(&store, &sink).await), ["m1 sent", "m2 sent"]);
    let expected = mail.replace("\n.", "\n..").replace('\n', "\r\n");
    assert!(sink.mails()[1].2.ends_with(expected.as_bytes()));
}

#[tokio::test]
async fn nothing_goes_to_who_left_or_from_a_posting_that_is_gone() {
    let (_folder, store, list) = posted(2, MAIL).await;
    let sink = Sink::start(|_, _| None).await;
    set_nomail(&store, "m1@y.org").await;
    assert_eq!(
        show(&send_to(&store, &sink).await),
        ["m1 unwanted", "m2 sent"]
    );
    assert_eq!(
        tally(&store, 1).await,
        "made 2 sent 1 failed 0 owed 0 given up 0"
    );
    let ghost = |owed: Owed| match owed {
        Owed::Copy(mut copy) => {
            (copy.number, copy.list) = (99, list);
            Owed::Copy(copy)
        }
        letter => letter,
    };
    let (_folder, other, _) = posted(1, MAIL).await;
    let claimed = claim(&other).await;
    let route = Route::Relay(sink.address.clone().into(), 1);
    let mut sender = sender(&other, route, &CancellationToken::new());
    let batch = send_claimed(&mut sender, claimed.into_iter().map(ghost).collect()).await;
    assert_eq!(show(&batch), ["m1 gave up: the posting is gone"]);
}

#[tokio::test]
async fn a_damaged_mail_waits_and_holds_up_nobody() {
    let (_folder, store, _) = posted(2, MAIL).await;
    damage(&store).await;
    let sink = Sink::start(|_, _| None).await;
    let batch = send_to(&store, &sink).await;
    assert!(batch.trouble.is_none());
    let shown = show(&batch);
    assert!(
        shown[0].starts_with("m1 later: ") && shown[0].contains("damaged"),
        "{shown:?}"
    );
    assert!(shown[1].starts_with("m2 later: "), "{shown:?}");
}

#[tokio::test]
async fn a_stop_leaves_what_was_not_begun_as_it_was() {
    let (_folder, store, _) = posted(3, MAIL).await;
    let stop = CancellationToken::new();
    let hang = stop.clone();
    let sink = Sink::start(move |_, at| match at {
        At::Dot(to) if to.contains("m2@") => {
            hang.cancel();
            Some(Act::Hang)
        }
        _ => None,
    })
    .await;
    let route = Route::Relay(sink.address.clone().into(), 1);
    let began = std::time::Instant::now();
    let batch = send(&store, route, &stop).await;
    assert!(
        began.elapsed() < Duration::from_secs(9),
        "the stop took too long"
    );
    let shown = show(&batch);
    assert_eq!(shown[0], "m1 sent");
    assert!(shown[1].starts_with("m2 later: ") && shown[1].ends_with("patchpost was stopped"));
    assert!(shown[2].starts_with("m3 untried: "));
}

#[tokio::test]
async fn the_loop_sends_what_comes_and_what_is_due_again() {
    let (_folder, store) = open().await;
    let list = seed(&store, 450, MAIL, crate::store::now()).await;
    let busy = Arc::new(AtomicUsize::new(1));
    let refusals = Arc::clone(&busy);
    let sink = Sink::start(move |_, at| match at {
        At::Rcpt(to) if to.contains("<m7@") && refusals.load(Ordering::SeqCst) > 0 => {
            Some(Act::Say("450 4.2.1 greylisted"))
        }
        _ => None,
    })
    .await;
    let stop = CancellationToken::new();
    let route = Route::Relay(sink.address.clone().into(), 3);
    let running = tokio::spawn(run(store.clone(), settings(route), stop.clone()));
    fan_out_all(&store, list, 1).await;
    until(async || tally(&store, 1).await == "made 450 sent 449 failed 0 owed 1 given up 0").await;
    busy.store(0, Ordering::SeqCst);
    make_due(&store).await;
    until(async || tally(&store, 1).await == "made 450 sent 450 failed 0 owed 0 given up 0").await;
    stop.cancel();
    running.await.expect("an end");
    let mut served = BTreeMap::new();
    for to in sink.served() {
        *served.entry(to).or_insert(0) += 1;
    }
    assert_eq!(served.len(), 450);
    assert!(
        served.values().all(|count| *count == 1),
        "somebody got it twice"
    );
}

#[tokio::test]
async fn copies_go_into_a_directory_when_nothing_may_leave() {
    let (folder, store, _) = posted(3, MAIL).await;
    let outbox = folder.path().join("outbox");
    let stop = CancellationToken::new();
    let route = Route::Directory(outbox.clone());
    let running = tokio::spawn(run(store.clone(), settings(route), stop.clone()));
    until(async || tally(&store, 1).await == "made 3 sent 3 failed 0 owed 0 given up 0").await;
    stop.cancel();
    running.await.expect("an end");
    let mail = std::fs::read(outbox.join("dev-1-3.eml")).expect("a copy");
    assert!(mail.starts_with(b"List-Unsubscribe: <https://x.org/u/") && mail.ends_with(BODY));
    let envelope = std::fs::read_to_string(outbox.join("dev-1-3.json")).expect("its envelope");
    assert!(envelope.contains("\"recipient\":\"m3@y.org\"") && envelope.contains("\"dev+b-"));
    assert_eq!(std::fs::read_dir(&outbox).expect("a folder").count(), 6);
}

#[tokio::test]
async fn a_directory_that_cannot_be_written_keeps_all_copies_due() {
    let (folder, store, _) = posted(2, MAIL).await;
    let file = folder.path().join("file");
    std::fs::write(&file, b"").expect("written");
    let batch = send(&store, Route::Directory(file), &CancellationToken::new()).await;
    assert!(
        batch
            .trouble
            .expect("trouble")
            .starts_with("cannot write to ")
    );
    assert_eq!(
        tally(&store, 1).await,
        "made 2 sent 0 failed 0 owed 2 given up 0"
    );
}

const SMALL: Mail<'_> = Mail {
    sender: "a@b",
    recipient: "c@d",
    parts: [b"", b"A: b\r\n", b"\r\nx\r\n"],
    size: 11,
    eight_bit: false,
};

const SHORT: Waits = Waits {
    connect: Duration::from_secs(20),
    command: Duration::from_millis(300),
    data: Duration::from_millis(300),
    block: Duration::from_millis(300),
    dot: Duration::from_millis(300),
};

#[tokio::test]
async fn a_server_that_never_answers_does_not_hold_us_for_ever() {
    for silent in [At::Mail(String::new()), At::Data, At::Dot(String::new())] {
        let at_dot = matches!(silent, At::Dot(_));
        let sink = Sink::start(move |_, at| {
            (std::mem::discriminant(at) == std::mem::discriminant(&silent)).then_some(Act::Hang)
        })
        .await;
        let mut client = Client::connect(&sink.address.clone().into(), "here.example", SHORT)
            .await
            .expect("connected");
        let done = tokio::time::timeout(Duration::from_secs(20), client.send(&SMALL)).await;
        assert!(done.expect("in time").is_err());
        assert!(!at_dot || client.is_in_doubt());
    }
}

#[tokio::test]
async fn a_server_that_stops_reading_does_not_hold_us_for_ever() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let relay = listener.local_addr().expect("an address").to_string();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a client");
        stream.write_all(b"220 x\r\n").await.expect("written");
        let mut line = [0; 100];
        assert!(stream.read(&mut line).await.expect("a hello") > 0);
        stream
            .write_all(b"250 x\r\n250 a\r\n250 b\r\n354 go\r\n")
            .await
            .expect("written");
        stream
    });
    let mut client = Client::connect(&relay.into(), "here.example", SHORT)
        .await
        .expect("connected");
    let _open = server.await.expect("a stream");
    let large = vec![b'x'; 64 << 20];
    let mail = Mail {
        parts: [b"", b"A: b\r\n", &large],
        ..SMALL
    };
    let done = tokio::time::timeout(Duration::from_secs(20), client.send(&mail)).await;
    assert!(done.expect("in time").is_err());
    assert!(client.is_in_doubt());
}

#[tokio::test]
async fn endless_replies_are_cut_off() {
    for flood in [b"220-x\r\n".repeat(10_000), b"2".repeat(1 << 20)] {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let relay = listener
            .local_addr()
            .expect("an address")
            .to_string()
            .into();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a client");
            // The client hangs up in the middle.
            stream.write_all(&flood).await.unwrap_or_default();
            std::future::pending::<()>().await;
        });
        let connected = tokio::time::timeout(
            Duration::from_secs(20),
            Client::connect(&relay, "h", Waits::USUAL),
        );
        assert!(connected.await.expect("in time").is_err());
    }
}
