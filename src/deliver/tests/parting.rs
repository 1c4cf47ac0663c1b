//! A next hop that ends the connection behind its answer: the answer counts.

use super::*;

#[tokio::test]
async fn a_refusal_counts_though_the_connection_ends_behind_it() {
    let ends = [
        ("250-x\r\n250 PIPELINING", At::Data, Act::Close),
        (
            "250-x\r\n250 PIPELINING",
            At::Data,
            Act::Say("421 4.7.0 too many errors"),
        ),
        ("250-x\r\n250 PIPELINING", At::Reset, Act::Close),
        ("250 x", At::Reset, Act::Close),
        ("250 x", At::Reset, Act::Say("421 4.4.2 bye")),
    ];
    for (offers, place, end) in ends {
        let (_folder, store, _) = posted(3, MAIL).await;
        let refused = AtomicUsize::new(0);
        let sink = Sink::start(move |_, at| match at {
            At::Hello => Some(Act::Say(offers)),
            At::Rcpt(to) if to.contains("m2@") => {
                refused.fetch_add(1, Ordering::SeqCst);
                Some(Act::Say("550 5.1.1 who?"))
            }
            at if *at == place && refused.load(Ordering::SeqCst) == 1 => {
                refused.fetch_add(1, Ordering::SeqCst);
                Some(match end {
                    Act::Say(text) => Act::Say(text),
                    _ => Act::Close,
                })
            }
            _ => None,
        })
        .await;
        let batch = send_to(&store, &sink).await;
        assert_eq!(batch.trouble, None);
        let expected = ["m1 sent", "m2 gave up: 550 5.1.1 who?", "m3 sent"];
        assert_eq!(show(&batch), expected);
        assert_eq!(sink.connections(), 2);
    }
}
