use super::*;

#[track_caller]
fn check_body(body: &str, expected: &str) {
    let made = relaxed_body(body.as_bytes());
    assert_eq!(String::from_utf8_lossy(&made), expected, "{body:?}");
}

/// RFC 6376 section 3.4.5, and what mail-auth 0.13 gets wrong: blank lines of blanks at the end.
#[test]
fn a_body_is_relaxed_as_the_rfc_has_it() {
    check_body(" C \r\nD \t E\r\n\r\n\r\n", " C\r\nD E\r\n");
    check_body("", "");
    check_body("\r\n\r\n", "");
    check_body(" \r\n\t\r\n", "");
    check_body("a\r\n \r\n\t \r\n", "a\r\n");
    check_body("a\r\n \r\n\r\nb", "a\r\n\r\n\r\nb\r\n");
    check_body("-- \r\n2.43.0\r\n\r\n", "--\r\n2.43.0\r\n");
    check_body("\r\n\r\na", "\r\n\r\na\r\n");
    check_body("a\u{a0}b\r\n", "a\u{a0}b\r\n");
}

#[test]
fn a_simple_body_ends_once() {
    assert_eq!(simple_body(b""), b"\r\n");
    assert_eq!(simple_body(b"a\r\n\r\n\r\n"), b"a\r\n");
    assert_eq!(simple_body(b"a \r\n \r\n"), b"a \r\n \r\n");
}

#[track_caller]
fn check_field(field: &str, expected: &str) {
    let made = header::fields(field.as_bytes()).next().expect("a field");
    let made = relaxed_field(&made);
    assert_eq!(String::from_utf8_lossy(&made), expected, "{field:?}");
}

#[test]
fn a_field_is_relaxed_as_the_rfc_has_it() {
    check_field("A: X\r\n", "a:X\r\n");
    check_field("B : Y\t\r\n\tZ  \r\n", "b:Y Z\r\n");
    check_field("Subject:\r\n x\r\n", "subject:x\r\n");
    check_field("Subject:\r\n", "subject:\r\n");
}

const HEAD: &[u8] = b"List-Id: <dev.x.org>\r\n";
const MAIL: &[u8] =
    b"To: b@x\r\nTo: c@x\r\nFrom: a@y.org\r\nX-Other: 1\r\nSubject: s\r\n\r\nbody\r\n";

fn unsigned(own: &[u8]) -> Unsigned {
    let draft = Draft::new(HEAD, MAIL);
    let now = Timestamp::from_secs(7);
    draft.unsigned("x.org", "s1", Algorithm::Rsa, own, now)
}

#[test]
fn what_is_signed_is_named_and_from_once_more() {
    let own = b"List-Unsubscribe: <https://x/u/1>\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n";
    let unsigned = unsigned(own);
    let field = unsigned.clone().with(&[7; 256]);
    let plain = field.replace("\r\n\t ", "").replace("\r\n\t", " ");
    let names = "h=from:subject:to:to:list-id:list-unsubscribe:list-unsubscribe-post:from;";
    assert!(plain.contains(names), "{plain}");
    assert!(plain.starts_with(
        "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=x.org; s=s1; t=7; bh="
    ));
    assert!(!plain.contains(" l=") && field.ends_with("\r\n"));
    assert!(field.lines().all(|line| line.len() <= 90), "{field}");
    let octets = String::from_utf8_lossy(&unsigned.octets).into_owned();
    assert!(
        octets.starts_with("from:a@y.org\r\nsubject:s\r\nto:c@x\r\nto:b@x\r\nlist-id:<dev.x.org>\r\nlist-unsubscribe:"),
        "{octets}"
    );
    assert!(octets.ends_with("; b="), "{octets}");
}

#[test]
fn each_copy_is_signed_for_itself() {
    let (one, two) = (
        unsigned(b"List-Unsubscribe: <1>\r\n"),
        unsigned(b"List-Unsubscribe: <2>\r\n"),
    );
    assert_ne!(one.octets, two.octets);
    let changed = Draft::new(HEAD, &[MAIL, b"more\r\n"].concat());
    let changed = changed.unsigned("x.org", "s1", Algorithm::Rsa, b"", Timestamp::from_secs(7));
    assert_ne!(changed.octets, unsigned(b"").octets);
}

#[test]
fn records_come_in_strings_that_dns_can_hold() {
    let strings = record(Algorithm::Rsa, &[9; 294]);
    assert_eq!(strings.len(), 2);
    assert!(strings.iter().all(|s| s.len() <= 255));
    assert!(strings[0].starts_with("v=DKIM1; k=rsa; p=CQkJ"));
    assert_eq!(record(Algorithm::Ed25519, &[9; 32]).len(), 1);
}

/// A signature over these fields, and whether it outlives what is put on top.
#[track_caller]
fn check_survival(how: &str, names: &str, top: &str, rest: &str, expected: bool) {
    let signature = format!(
        "DKIM-Signature: v=1; a=rsa-sha256; c={how}; d=y.org; s=s;\r\n\th={names}; bh=x; b=y\r\n"
    );
    let mail = "From: a@y.org\r\nSubject: s\r\n\r\nbody \r\n\r\n";
    let before = format!("{signature}{mail}");
    let after = format!("{top}{signature}{}", mail.replace("body ", rest));
    assert_eq!(
        survives(signature.as_bytes(), before.as_bytes(), after.as_bytes()),
        expected,
        "{how} {names} {top:?} {rest:?}"
    );
}

#[test]
fn a_signature_survives_what_it_does_not_cover() {
    check_survival(
        "relaxed/relaxed",
        "from:subject",
        "List-Id: x\r\n",
        "body ",
        true,
    );
    check_survival(
        "simple/simple",
        "from:subject",
        "List-Id: x\r\n",
        "body ",
        true,
    );
    check_survival("simple", "from:subject", "", "body ", true);
    check_survival("relaxed/relaxed", "from:subject", "", "body", true);
    check_survival("relaxed/simple", "from:subject", "", "body", false);
    check_survival("relaxed/relaxed", "from:subject", "", "tail", false);
    check_survival(
        "relaxed/relaxed",
        "from:subject:list-id",
        "List-Id: x\r\n",
        "body ",
        false,
    );
    check_survival(
        "relaxed/relaxed",
        "from:from",
        "From: e@z\r\n",
        "body ",
        false,
    );
    check_survival("relaxed/relaxed", "from", "From: e@z\r\n", "body ", true);
}

#[test]
fn a_signature_that_is_gone_or_unreadable_does_not_survive() {
    let signed = b"DKIM-Signature: v=1; h=from; b=y\r\n";
    let with = [&signed[..], MAIL].concat();
    assert!(survives(signed, &with, &with));
    assert!(!survives(signed, &with, MAIL));
    assert!(!survives(signed, MAIL, &with));
    assert!(!survives(b"DKIM-Signature: v=1\r\n", &with, &with));
    assert!(!survives(b"", &with, &with));
}
