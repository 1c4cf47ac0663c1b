use super::*;

#[test]
fn codes_are_found_and_addresses_are_none() {
    let codes = |text: &str| {
        let all: Vec<String> = judge::codes(text).map(|c| c.to_string()).collect();
        all.join(" ")
    };
    assert_eq!(codes("550 5.1.1 no"), "5.1.1");
    assert_eq!(codes("550-5.7.26 no (#5.4.4)"), "5.7.26 5.4.4");
    assert_eq!(codes("host 5.1.1.9 v4.6.1 4.16.55.1 x5.1.1 Exim 4.92"), "");
}

#[test]
fn reply_codes_are_found_where_servers_write_them() {
    let replies = |text: &str| judge::replies(text).collect::<Vec<u16>>();
    assert_eq!(replies("550 no"), [550]);
    assert_eq!(replies("550-no 550 no (421) 452,"), [550, 550, 421, 452]);
    assert!(replies("x550 1550 550x 192.0.2.450 SIZE=550").is_empty());
}

#[track_caller]
fn check(answer: &str, expected: &str) {
    let got = match read_answer(answer) {
        Some(report) => format!("{} {}", report.class.word(), report.code),
        None => "ours".to_owned(),
    };
    assert_eq!(got, expected, "{answer}");
}

#[test]
fn answers_of_the_next_hop_are_judged_by_code_then_by_words() {
    check("550 5.1.1 No such user", "gone 5.1.1");
    check("550 No such user", "gone 550");
    check("550 5.1.10 Null MX", "gone 5.1.10");
    check("550 5.2.1 Mailbox disabled", "gone 5.2.1");
    check(
        "550 5.2.1 He gets mail at a rate that prevents more",
        "policy 5.2.1",
    );
    check("552 5.2.2 Mailbox full", "full 5.2.2");
    check("552 5.2.3 Too long for him", "failed 5.2.3");
    check("550 5.3.4 Too long", "failed 5.3.4");
    check("550 5.4.1 Access denied", "failed 5.4.1");
    check("550 Access denied", "policy 550");
    check("550 5.6.0 Odd content", "policy 5.6.0");
    check("550 5.7.1 User unknown", "policy 5.7.1");
    check("554 5.7.9 DMARC", "policy 5.7.9");
    check("553 5.1.8 Your domain is not known", "policy 5.1.8");
    check("550 5.1.1 Blocked using a blocklist", "policy 5.1.1");
    check("550 See https://www.spamhaus.org/query", "policy 550");
    check("550 spam-filter.example.org: no such user", "gone 550");
    check("554 No", "failed 554");
    check(
        "550 5.4.5 Daily user sending quota exceeded",
        "policy 5.4.5",
    );
    check("550 Daily sending limit", "policy 550");
    check(
        "given up after five days: 450 4.2.2 Mailbox full",
        "full 4.2.2",
    );
    check("given up after five days: 450 4.2.1 Busy", "expired 4.2.1");
    check("given up after five days: 451 Busy", "expired 451");
    check("given up after five days: 450 User unknown", "expired 450");
    check(
        "given up after five days: 450 4.7.1 Too fast",
        "policy 4.7.1",
    );
    check(
        "given up after five days: the next hop 127.0.0.1:25 cannot be used",
        "ours",
    );
    check("the posting is gone", "ours");
    check("", "ours");
    check("55", "ours");
}

/// Each folder of `fixtures/bounce`, with LF and with CRLF.
#[test]
fn own_bounces_are_read_as_their_folders_say() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/bounce");
    let mut names: Vec<_> = std::fs::read_dir(folder)
        .expect("the fixtures are there")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    names.sort();
    assert!(names.len() >= 25);
    for name in names {
        let read = |file: &str| std::fs::read(name.join(file)).expect("a fixture is whole");
        let expected = String::from_utf8(read("expected.txt")).expect("text");
        let lf = read("mail.eml");
        let crlf = crate::mail::header::to_crlf(&lf);
        for bytes in [lf, crlf] {
            let got = parse(&bytes);
            let or_none = |field: &Option<String>| field.clone().unwrap_or("none".to_owned());
            let line = format!(
                "{} {} | {} | {} | {}",
                got.class.word(),
                got.code,
                got.text,
                or_none(&got.recipient),
                or_none(&got.original)
            );
            assert_eq!(line, expected.trim_end(), "{}", name.display());
        }
    }
}

#[test]
fn every_class_has_a_word_of_its_own() {
    for (class, word) in CLASSES {
        assert_eq!(Class::parse(word), Some(class));
        assert_eq!(class.word(), word);
    }
    assert_eq!(Class::parse("hard"), None);
}

#[test]
fn hostile_reports_are_read_in_part() {
    let many = "Final-Recipient: rfc822; a@b.c\nAction: failed\nStatus: 5.1.1\n\n".repeat(20_000);
    let long = format!(
        "Status: 5.1.1\nAction: failed\nDiagnostic-Code: smtp; {}",
        "5.".repeat(500_000)
    );
    let folded = format!(
        "Action: failed\nDiagnostic-Code: smtp; 550{}",
        "\n x".repeat(200_000)
    );
    let lines = "550 5.1.1 no\n\n".repeat(100_000);
    for body in [many, long, folded, lines] {
        let mail = format!(
            "From: mailer-daemon@x.org\nContent-Type: multipart/report; boundary=b\n\n--b\nContent-Type: message/delivery-status\n\n{body}\n--b--\n"
        );
        let got = parse(mail.as_bytes());
        assert!(got.class.is_failure(), "{got:?}");
        assert!(got.text.chars().count() <= 400);
    }
    let nested = "Content-Type: message/rfc822\n\n".repeat(900);
    assert_eq!(parse(nested.as_bytes()).class, Class::Other);
}

proptest::proptest! {
    /// Whatever comes: an answer, one clean line.
    #[test]
    fn any_bytes_give_one_clean_line(
        head in "(From: mailer-daemon@x\n)?(Subject: [ -~]{0,30}\n)?(Content-Type: (multipart/report|message/delivery-status|text/plain); boundary=b\n)?\n(--b\nContent-Type: message/delivery-status\n\n)?",
        body in "((Action|Status|Diagnostic-Code|Final-Recipient): ?)?(\\PC|[\r\n\t\u{7}\u{1b}\u{202e}]|[245]\\.[0-9]\\.[0-9]|[45][0-9][0-9] ){0,200}",
        noise in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200),
    ) {
        let mut bytes = (head + &body).into_bytes();
        bytes.extend(noise);
        let got = parse(&bytes);
        for text in [Some(&got.text), got.recipient.as_ref(), got.original.as_ref(), Some(&got.code)].into_iter().flatten() {
            proptest::prop_assert!(text.chars().count() <= 400);
            proptest::prop_assert!(!text.chars().any(|c| c.is_control() || c == '\u{202e}'), "{text:?}");
        }
        read_answer(&String::from_utf8_lossy(&bytes));
    }
}

#[test]
fn a_complaint_counts_by_who_sends_it() {
    let check = |member: &str, from: &str, level: Level, expected: bool| {
        let mail = format!("From: {from}\nSubject: s\n\nx\n");
        let verdict = Verdict {
            level,
            ..Verdict::default()
        };
        let message = mail::parse(mail.as_bytes());
        let got = may_complain(member, &message, &verdict);
        assert_eq!(got, expected, "{member} by {from}");
    };
    let sure = Level::Aligned;
    check("ben@y.org", "ben@y.org", sure, true);
    check("ben@y.org", "Feedback <abuse@Y.org>", sure, true);
    check("ben@y.org", "x@arf.mail.y.org", sure, true);
    check("ben@mail.y.org", "postmaster@y.org", sure, true);
    // Another user there, another domain, one that only looks alike, and nobody who is sure.
    check("ben@y.org", "eve@y.org", sure, false);
    check("ben@mail.y.org", "eve@y.org", sure, false);
    check("ben@y.org", "abuse@z.org", sure, false);
    check("ben@y.org", "abuse@evily.org", sure, false);
    check("ben@y.org", "abuse@org", sure, false);
    check("ben@y.org", "ben@y.org, eve@z.org", sure, false);
    for level in [
        Level::Unchecked,
        Level::None,
        Level::Unknown,
        Level::Unaligned,
    ] {
        check("ben@y.org", "ben@y.org", level, false);
    }
}
