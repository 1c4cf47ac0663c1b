use super::*;

const SENDER: &str = "dev+echo-t@x.org";

fn sent() -> Vec<u8> {
    render(&Probe {
        list: "dev@x.org",
        to: SENDER,
        token: "abc234",
        now: Timestamp::from_secs(1_700_000_000),
    })
}

/// What is said when the probe comes as `change` makes it, beside all that came through.
#[track_caller]
fn check(change: impl Fn(String) -> String, expected: &[(&str, &str)]) {
    let sent = sent();
    let text = String::from_utf8(sent.clone()).expect("text");
    let came = change(text).into_bytes();
    let seen = compare(
        Carried {
            sender: SENDER,
            bytes: &sent,
        },
        Carried {
            sender: SENDER,
            bytes: &came,
        },
    );
    let bad: Vec<(&str, &str)> = seen
        .iter()
        .filter_map(|s| s.found.as_ref().err().map(|why| (s.what, why.as_str())))
        .collect();
    assert_eq!(bad, expected);
}

const BROKEN: [(&str, &str); 2] = [
    ("an author's signature, relaxed", "is broken"),
    ("an author's signature, simple", "is broken"),
];

#[test]
fn a_relay_that_only_adds_traces_changes_nothing() {
    check(|text| text, &[]);
    check(
        |text| {
            format!(
                "Return-Path: <x@y>\r\nReceived: from a\r\n\tby b; date\r\nX-Spam: no\r\n{text}"
            )
        },
        &[],
    );
}

#[test]
fn the_probe_holds_what_relays_touch_and_is_known_by_its_token() {
    let sent = sent();
    let text = String::from_utf8(sent).expect("text");
    assert!(text.lines().any(|line| line.len() > 998));
    assert!(text.contains("\r\n.\r\n..\r\n") && text.contains("+int  b;   \r\n"));
    assert!(!text.replace("\r\n", "").contains(['\r', '\n']));
    let parsed = crate::mail::parse(text.replace("\r\n", "\n").as_bytes());
    assert_eq!(token_of(&parsed.subject), Some("abc234"));
    assert_eq!(token_of("Fwd: echo-abc (was: x)"), Some("abc"));
    assert_eq!(token_of("echo-"), None);
    assert_eq!(token_of("hello"), None);
}

#[test]
fn replaced_fields_are_named_with_what_they_became() {
    let replaced = |text: String| {
        let (head, rest) = text.split_once("Message-ID: ").expect("an id");
        let (_, rest) = rest.split_once("\r\n").expect("a line");
        format!("{head}Message-ID: <new@relay>\r\n{rest}")
    };
    let id = "was <echo-abc234@x.org> and is <new@relay>";
    check(replaced, &[&[("Message-ID", id)][..], &BROKEN].concat());
    let date = |text: String| text.replace("Date: Tue, 14 Nov 2023", "Date: Wed, 15 Nov 2023");
    let was = "was Tue, 14 Nov 2023 22:13:20 +0000 and is Wed, 15 Nov 2023 22:13:20 +0000";
    check(date, &[&[("Date", was)][..], &BROKEN].concat());
    let from =
        |text: String| text.replace("From: \"An author, perhaps\" <dev@x.org>", "From: me@relay");
    let was = "was \"An author, perhaps\" <dev@x.org> and is me@relay";
    check(from, &[&[("From", was)][..], &BROKEN].concat());
}

#[test]
fn folded_taken_and_added_fields_are_told_apart() {
    check(
        |text| {
            text.replace(
                "Cc: Ana  Lima  <dev@x.org>,\r\n\t",
                "Cc: Ana Lima <dev@x.org>, ",
            )
        },
        &[("other fields", "cc was folded or spaced anew"), BROKEN[1]],
    );
    check(
        |text| text.replace("List-Unsubscribe: <mailto:dev+unsubscribe@x.org>\r\n", ""),
        &[("other fields", "list-unsubscribe was taken away")],
    );
    check(
        |text| format!("Sender: me@relay\r\nReply-To: me@relay\r\n{text}"),
        &[("added fields", "reply-to, sender")],
    );
}

#[test]
fn bodies_are_told_apart_by_what_was_done_to_them() {
    let body =
        |why: &'static str,
         broken: &[(&'static str, &'static str)]|
         -> Vec<(&'static str, &'static str)> { [&[("body", why)][..], broken].concat() };
    check(
        |text| text.replace("+int  b;   \r\n", "+int  b;\r\n"),
        &body(
            "blanks or empty lines at the ends were changed",
            &BROKEN[1..],
        ),
    );
    check(
        |text| {
            text.replace(
                &"x".repeat(1_500),
                &format!("{}\r\n {}", "x".repeat(900), "x".repeat(600)),
            )
        },
        &body("lines were folded anew", &BROKEN),
    );
    check(
        |text| text.replace("\r\nFrom the", "\r\n>From the"),
        &body(
            "line 3 was \"From the start of a line, Zażółć gęślą jaźń, https://example\" and is \">From the start of a line, Zażółć gęślą jaźń, https://exampl\"",
            &BROKEN,
        ),
    );
    check(
        |text| format!("{text}Sent by relay\r\n"),
        &body("text was added at its end: Sent by relay", &BROKEN),
    );
    check(
        |text| text[..text.len() - 17].to_owned(),
        &body("its end was cut off", &BROKEN),
    );
}

#[test]
fn a_body_that_was_encoded_anew_is_the_same_text_and_no_longer_signed() {
    let encoded = |text: String| {
        let (head, body) = text.split_once("\r\n\r\n").expect("a body");
        let head = head.replace("Transfer-Encoding: 8bit", "Transfer-Encoding: base64");
        let base64 = data_encoding::BASE64.encode(body.as_bytes());
        let lines: Vec<&str> = base64
            .as_bytes()
            .chunks(76)
            .map(|l| std::str::from_utf8(l).expect("ASCII"))
            .collect();
        format!("{head}\r\n\r\n{}\r\n", lines.join("\r\n"))
    };
    let fields = "content-transfer-encoding was 8bit and is base64";
    let expected = [
        &[
            ("other fields", fields),
            ("body", "it was turned into base64"),
        ][..],
        &BROKEN,
    ];
    check(encoded, &expected.concat());
}

#[test]
fn a_return_path_of_the_relays_own_is_noticed() {
    let sent = sent();
    let carried = |sender| Carried {
        sender,
        bytes: &sent,
    };
    for (came, shown) in [("bounce@relay", "bounce@relay"), ("", "the null sender")] {
        let seen = compare(carried(SENDER), carried(came));
        assert_eq!(
            seen[0].found,
            Err(format!("it was {SENDER} and is {shown}"))
        );
        assert!(seen[1..].iter().all(|s| s.found.is_ok()));
    }
}
