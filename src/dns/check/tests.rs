use super::*;

#[test]
fn blank_lines_at_the_end_are_cut_only_if_one_holds_blanks() {
    let check = |body: &str, expected: Option<&str>| {
        let mail = format!("A: b\r\n\r\n{body}");
        let expected = expected.map(|body| format!("A: b\r\n\r\n{body}").into_bytes());
        assert_eq!(without_blank_end(mail.as_bytes()), expected, "{body:?}");
    };
    check("x\r\n", None);
    check("x\r\n\r\n\r\n", None);
    check("", None);
    check("x \r\n", None);
    check("x\r\n \r\n", Some("x\r\n"));
    check("x\r\n \r\n\r\n\t\r\n", Some("x\r\n"));
    check("x\r\n\r\n ", Some("x\r\n"));
    check(" ", Some(""));
    check(" \r\n", Some(""));
}

#[test]
fn a_flood_of_signatures_is_cut_and_the_rest_is_kept() {
    let few = format!("{}From: a\r\n\r\nx", "DKIM-Signature: x\r\n".repeat(8));
    assert_eq!(few_signatures(few.as_bytes()), few.as_bytes());
    let many = format!("DKIM-Signature: y\r\n{few}");
    let cut = few.replacen("DKIM-Signature: x", "DKIM-Signature: y", 1);
    assert_eq!(few_signatures(many.as_bytes()), cut.as_bytes());
}

#[test]
fn spf_is_not_asked_about_ones_own_network() {
    for inside in [
        "127.0.0.1",
        "10.1.2.3",
        "::1",
        "fd00::1",
        "::ffff:192.168.1.1",
        "fe80::1",
    ] {
        assert!(
            !is_outside(inside.parse().expect("as written above")),
            "{inside}"
        );
    }
    for outside in ["192.0.2.1", "2001:db8::1", "::ffff:192.0.2.1"] {
        assert!(
            is_outside(outside.parse().expect("as written above")),
            "{outside}"
        );
    }
}
