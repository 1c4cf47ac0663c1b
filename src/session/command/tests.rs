use super::*;
use proptest::prelude::*;

#[track_caller]
fn check(line: &str, expected: &str) {
    let got = match parse(line.as_bytes()) {
        Command::Mail { sender, size } => {
            let sender = sender.map_or("null".to_owned(), |s| s.to_string());
            format!("mail {sender} {size:?}")
        }
        Command::Rcpt(address) => format!("rcpt {address}"),
        other => format!("{other:?}"),
    };
    assert_eq!(got, expected, "line: {line:?}");
}

#[test]
fn verbs_in_any_case_and_trailing_blanks() {
    check("quit", "Quit");
    check("QuIt   ", "Quit");
    check("noop with words", "Noop");
    check("ehlo mx.example.com", r#"Ehlo("mx.example.com")"#);
    check("", "Unknown");
    check(" QUIT", "Unknown");
}

#[test]
fn what_takes_no_argument_gets_none() {
    for verb in ["DATA", "RSET", "QUIT", "STARTTLS"] {
        check(
            &format!("{verb} x"),
            r#"Malformed("the command takes no argument")"#,
        );
    }
    check("EHLO", r#"Malformed("EHLO takes your host name")"#);
    check(
        "EHLO two words",
        r#"Malformed("EHLO takes your host name")"#,
    );
}

#[test]
fn senders() {
    check("MAIL FROM:<a@b.example>", "mail a@b.example None");
    check(
        "MAIL FROM: <a@b.example> size=7",
        "mail a@b.example Some(7)",
    );
    check("MAIL FROM:<>", "mail null None");
    check("mail from:<> BODY=8bitmime SIZE=0", "mail null Some(0)");
    check(r#"MAIL FROM:<"a>b"@c.example>"#, "BadAddress(Sender)");
    check("MAIL FROM:<a@@>", "BadAddress(Sender)");
    check("MAIL FROM:<a>", "BadAddress(Sender)");
    let write = r#"Malformed("write MAIL FROM:<address>")"#;
    for line in [
        "MAIL",
        "MAIL FROM",
        "MAIL FROM:a@b.example",
        "MAIL FROM:<a@b",
        "MAIL TO:<a@b>",
    ] {
        check(line, write);
    }
    check("MAIL FROM:<\u{e4}@b.example>", "NotAscii");
}

#[test]
fn sizes_that_are_no_sizes() {
    for size in ["", "x", "-1", "+1", "1.5", "99999999999999999999"] {
        check(&format!("MAIL FROM:<> SIZE={size}"), "BadSize");
    }
    check(
        "MAIL FROM:<> SIZE=18446744073709551615",
        "mail null Some(18446744073709551615)",
    );
}

#[test]
fn parameters_that_are_not_offered() {
    check("MAIL FROM:<> SMTPUTF8", r#"Parameter("SMTPUTF8")"#);
    check("MAIL FROM:<> BODY=BINARYMIME", r#"Parameter("BODY")"#);
    check("MAIL FROM:<> AUTH=<>", r#"Parameter("AUTH")"#);
    check(
        "RCPT TO:<a@b.example> NOTIFY=NEVER",
        r#"Parameter("NOTIFY")"#,
    );
}

#[test]
fn recipients() {
    check("RCPT TO:<dev@example.org>", "rcpt dev@example.org");
    check(
        "RCPT TO:<@relay.example,@two.example:dev@Example.org>",
        "rcpt dev@example.org",
    );
    check("RCPT TO:<Postmaster>", "Postmaster");
    check("RCPT TO:<>", "BadAddress(Recipient)");
    check("RCPT TO:<@relay.example>", "BadAddress(Recipient)");
    check("RCPT TO:<dev@example.org.>", "BadAddress(Recipient)");
    // No relay: these are whole addresses of the domain behind the last @, and nothing is routed by their local part.
    check("RCPT TO:<a%b@c.example>", "rcpt a%b@c.example");
    check(r#"RCPT TO:<"a@b"@c.example>"#, r#"rcpt "a@b"@c.example"#);
    check("RCPT TO:<b!a@c.example>", "rcpt b!a@c.example");
}

#[test]
fn what_is_not_done_here() {
    for verb in ["EXPN dev", "TURN", "ETRN x", "AUTH PLAIN x"] {
        check(verb, "NotDone");
    }
    check("BDAT 4294967295 LAST", "Chunk");
    check("GET / HTTP/1.1", "Http");
}

proptest! {
    #[test]
    fn any_bytes_are_parsed(line in proptest::collection::vec(any::<u8>(), 0..200)) {
        parse(&line);
    }

    #[test]
    fn anything_behind_a_verb_is_parsed(verb in "(MAIL FROM:|RCPT TO:|EHLO |)", rest in "[<>@:\" \\\\a\u{e4}=,.]{0,20}") {
        parse(format!("{verb}{rest}").as_bytes());
    }

    #[test]
    fn a_bare_line_end_never_makes_a_command(before in "[ -~]{0,20}", end in "[\r\n\0]", after in "[ -~]{0,20}") {
        let line = format!("{before}{end}{after}");
        prop_assert!(matches!(parse(line.as_bytes()), Command::Malformed(_)));
    }
}
