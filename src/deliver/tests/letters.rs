//! Letters go the way of copies.

use super::*;
use crate::store::NewLetter;

pub(super) async fn owe(store: &Store, recipient: &str, data: &[u8]) {
    let letter = NewLetter {
        list: None,
        purpose: "confirmation",
        recipient: recipient.to_owned(),
        return_path: String::new(),
        data: data.to_vec(),
        about: Vec::new(),
    };
    let now = crate::store::now();
    let owed = store.insert_letters(vec![letter], now).await;
    owed.expect("owed");
}

#[tokio::test]
async fn a_letter_goes_out_as_it_was_written_from_the_null_sender() {
    let (_folder, store) = open().await;
    owe(&store, "ana@y.org", b"Subject: Welcome\n\n.\nhello\n").await;
    let sink = Sink::start(|_, _| None).await;
    assert_eq!(show(&send_to(&store, &sink).await), ["ana sent"]);
    let (from, to, mail) = sink.mails().remove(0);
    assert_eq!((&*from, &*to), ("", "ana@y.org"));
    assert_eq!(
        String::from_utf8_lossy(&mail),
        "Subject: Welcome\r\n\r\n..\r\nhello\r\n"
    );
    assert_eq!(store.count_letters().await.expect("a read"), (0, 0));
}

#[tokio::test]
async fn letters_wait_are_given_up_and_survive_a_server_that_is_away_as_copies_do() {
    let (_folder, store) = open().await;
    for name in ["a", "b", "c"] {
        owe(&store, &format!("{name}@y.org"), b"Subject: s\n\nb\n").await;
    }
    owe(&store, "d@y.org", b"Subject: s\n\nb\rb\n").await;
    let away = Sink::start(|_, at| (*at == At::Greeting).then_some(Act::Say("554 no"))).await;
    let batch = send_to(&store, &away).await;
    assert!(batch.trouble.is_some());
    assert_eq!(store.count_letters().await.expect("a read"), (4, 0));
    let sink = Sink::start(|_, at| match at {
        At::Rcpt(to) if to.contains("a@") => Some(Act::Say("450 4.2.1 greylisted")),
        At::Rcpt(to) if to.contains("b@") => Some(Act::Say("550 5.1.1 who?")),
        _ => None,
    })
    .await;
    let shown = show(&send_to(&store, &sink).await);
    assert_eq!(
        shown[..2],
        ["a later: 450 4.2.1 greylisted", "b gave up: 550 5.1.1 who?"]
    );
    assert_eq!(shown[2], "c sent");
    assert!(shown[3].starts_with("d gave up: the mail holds bare CR"));
    assert_eq!(store.count_letters().await.expect("a read"), (1, 2));
}

#[tokio::test]
async fn the_loop_sends_letters_beside_copies_and_into_a_directory_when_nothing_may_leave() {
    let (folder, store, _) = posted(2, MAIL).await;
    let outbox = folder.path().join("outbox");
    let stop = CancellationToken::new();
    let route = Route::Directory(outbox.clone());
    let running = tokio::spawn(run(store.clone(), settings(route), stop.clone()));
    owe(&store, "ana@y.org", b"Subject: Welcome\n\nhello\n").await;
    until(async || store.count_letters().await.expect("a read") == (0, 0)).await;
    until(async || tally(&store, 1).await == "made 2 sent 2 failed 0 owed 0 given up 0").await;
    stop.cancel();
    running.await.expect("an end");
    let mail = std::fs::read(outbox.join("letter-1.eml")).expect("a letter");
    assert_eq!(mail, b"Subject: Welcome\r\n\r\nhello\r\n");
    let envelope = std::fs::read_to_string(outbox.join("letter-1.json")).expect("its envelope");
    assert!(envelope.contains("\"sender\":\"\""), "{envelope}");
}
