use super::*;

fn head(description: &str) -> CopyHead<'_> {
    CopyHead {
        address: "dev@x.org",
        description,
        page: "https://x.org/dev/",
        permalink: "https://x.org/dev/m@y/",
    }
}

fn block(description: &str) -> String {
    String::from_utf8(render(&head(description), b"", Optional::Added)).expect("UTF-8")
}

/// The first field, with `|` for line ends.
#[track_caller]
fn check_id(description: &str, expected: &str) {
    let block = block(description);
    let end = block.find("\r\nList-Post:").expect("the second field");
    assert_eq!(block[..end].replace("\r\n", "|"), expected, "{description}");
}

#[test]
fn the_block_names_the_list_and_the_ways_to_it() {
    let expected = "List-Id: Development <dev.x.org>\r\n\
         List-Post: <mailto:dev@x.org>\r\n\
         List-Help: <mailto:dev+help@x.org>\r\n\
         List-Subscribe: <mailto:dev+subscribe@x.org>\r\n\
         List-Owner: <mailto:dev+owner@x.org>\r\n\
         List-Archive: <https://x.org/dev/>\r\n\
         Archived-At: <https://x.org/dev/m@y/>\r\n\
         Precedence: list\r\n\
         X-Mailing-List: dev@x.org\r\n";
    assert_eq!(block("Development"), expected);
}

#[test]
fn descriptions_are_written_as_mail_demands() {
    check_id("", "List-Id: <dev.x.org>");
    check_id("  ", "List-Id: <dev.x.org>");
    check_id(
        "git-send-email & co",
        "List-Id: git-send-email & co <dev.x.org>",
    );
    check_id("Lima, Ana", "List-Id: \"Lima, Ana\" <dev.x.org>");
    check_id(
        "say \"hi\" \\",
        "List-Id: \"say \\\"hi\\\" \\\\\" <dev.x.org>",
    );
    check_id("<evil.org>", "List-Id: \"<evil.org>\" <dev.x.org>");
    check_id(
        "=?utf-8?q?x?=",
        "List-Id: =?utf-8?b?PT91dGYtOD9xP3g/PQ==?= <dev.x.org>",
    );
    check_id(
        "Gr\u{fc}\u{df}e",
        "List-Id: =?utf-8?b?R3LDvMOfZQ==?= <dev.x.org>",
    );
}

#[test]
fn long_descriptions_are_folded() {
    let words = "patches and plans for the frobnication engine and for all of its many drivers";
    check_id(
        words,
        "List-Id: patches and plans for the frobnication engine and for all of its many| drivers <dev.x.org>",
    );
    for description in [
        "\u{1f41a}".repeat(200),
        "word ".repeat(100),
        "a".repeat(300),
    ] {
        let block = block(&description);
        assert!(
            block.is_ascii() && block.lines().all(|line| line.len() <= 120),
            "{block}"
        );
        assert!(block.contains("<dev.x.org>\r\nList-Post:"));
    }
}

#[test]
fn no_description_makes_a_field_of_its_own() {
    for evil in [
        "a\r\nBcc: x@y",
        "a\rBcc: x@y",
        "a\nBcc: x@y",
        "\u{e9}\r\n\r\nbody",
        "a\0b",
    ] {
        let block = block(evil);
        let names: Vec<&str> = block
            .lines()
            .filter_map(|line| line.split_once(':').map(|f| f.0))
            .collect();
        assert_eq!(names.len(), 9, "{block}");
        assert!(!names.contains(&"Bcc") && block.is_ascii());
        assert!(
            block
                .chars()
                .all(|c| !c.is_control() || matches!(c, '\r' | '\n'))
        );
    }
}

#[test]
fn addresses_are_encoded_in_uris() {
    let mut head = head("");
    head.address = "a%b&c@x.org";
    head.page = "https://x.org/a b>\u{e9}/";
    let block = String::from_utf8(render(&head, b"", Optional::Added)).expect("UTF-8");
    assert!(
        block.contains("List-Post: <mailto:a%25b%26c@x.org>\r\n"),
        "{block}"
    );
    assert!(
        block.contains("List-Archive: <https://x.org/a%20b%3E%C3%A9/>\r\n"),
        "{block}"
    );
}

#[test]
fn a_field_too_long_for_smtp_is_left_out() {
    let long = format!("https://x.org/{}/", "a".repeat(1_000));
    let mut head = head("");
    head.permalink = &long;
    let block = String::from_utf8(render(&head, b"", Optional::Added)).expect("UTF-8");
    assert!(!block.contains("Archived-At") && block.contains("Precedence: list\r\n"));
}

#[track_caller]
fn check_body(mail: &str, expected: &str) {
    let got = body_of_copy(mail.as_bytes());
    assert_eq!(String::from_utf8_lossy(&got), expected, "{mail}");
}

#[test]
fn private_and_foreign_fields_go() {
    check_body(
        "Return-Path: <a@b>\nList-Id: <other>\n (folded)\nSubject: s\nBCC: x\n\nList-Id: body\n",
        "Subject: s\n\nList-Id: body\n",
    );
    check_body(
        "Precedence: bulk\nX-Mailing-List: o\nDisposition-Notification-To: x\nReturn-Receipt-To: x\nTo: y\n\n",
        "To: y\n\n",
    );
}

#[test]
fn what_is_no_business_of_ours_stays() {
    let mail = "Received: by x\nDKIM-Signature: v=1; h=from; b=x\nARC-Seal: x\nSender: a\nReply-To: b\n\
         Archived-At: <x>\nX-List-Id: x\nSubject:  two  blanks \n\tand a tab\n\nbody\n.\n";
    check_body(mail, mail);
}

#[test]
fn signed_fields_stay_but_for_the_return_path() {
    let signed = "DKIM-Signature: v=1; h=From:List-Id :Subject:\n Bcc;\n b=x\nList-Id: <other>\nBcc: x\n\nb\n";
    check_body(signed, signed);
    let spaced = "DKIM-Signature: v=1; h = list-post ; b=x\nList-Post: <other>\n\nb\n";
    check_body(spaced, spaced);
    check_body(
        "Return-Path: <a@b>\nDKIM-Signature: h=return-path:from\nDKIM-Signature: bh=list-id\nList-Id: x\n\nb\n",
        "DKIM-Signature: h=return-path:from\nDKIM-Signature: bh=list-id\n\nb\n",
    );
}

#[test]
fn the_mbox_line_is_cut_off() {
    check_body(
        "From a@b Mon Jan  1\nSubject: s\n\nb\n",
        "Subject: s\n\nb\n",
    );
    check_body(
        "Return-Path: <a>\n>From a@b\nSubject: s\n\nb\n",
        "Subject: s\n\nb\n",
    );
    check_body("From: a@b\n\nFrom here\n", "From: a@b\n\nFrom here\n");
}

#[test]
fn no_mail_reaches_into_our_block() {
    check_body(" evil\nSubject: s\n\nb\n", "\n evil\nSubject: s\n\nb\n");
    check_body("\tevil\n\nb\n", "\n\tevil\n\nb\n");
    check_body("List-Id: x\n\n folded?\n", "\n folded?\n");
    check_body("hello there\n", "\nhello there\n");
    check_body("From x\n  y\n\nb\n", "\n  y\n\nb\n");
    check_body(" \nb\n", "\n \nb\n");
}

#[test]
fn mails_without_header_or_body_are_copied() {
    check_body("", "");
    check_body("\nbody\n", "\nbody\n");
    check_body("Subject: s\n", "Subject: s\n");
    check_body("Subject: s", "Subject: s");
    check_body("Bcc: s", "");
}

#[test]
fn many_fields_and_signatures_take_linear_time() {
    let signature = format!("DKIM-Signature: h={}\n", "a:".repeat(100));
    let mail = format!(
        "{}{}\nb\n",
        signature.repeat(2_000),
        "List-Id: x\n".repeat(20_000)
    );
    let expected = format!("{}\nb\n", signature.repeat(2_000));
    check_body(&mail, &expected);
}

#[track_caller]
fn check_left_out(mail: &str, expected: &[&str]) {
    let block =
        String::from_utf8(render(&head("D"), mail.as_bytes(), Optional::Added)).expect("UTF-8");
    let all = fields(&head("D")).into_iter().map(|(name, _)| name);
    let missing: Vec<&str> = all
        .filter(|name| !block.contains(&format!("{name}: ")))
        .collect();
    assert_eq!(missing, expected, "{mail}");
}

#[test]
fn what_an_author_signed_as_absent_is_not_added() {
    check_left_out("Precedence: bulk\nSubject: x\n\nbody\n", &[]);
    check_left_out(
        "DKIM-Signature: v=1; h=From:Precedence:\n\tlist-post : List-Id; b=x\nSubject: x\n\nbody\n",
        &["List-Post", "Precedence"],
    );
    let signed = "DKIM-Signature: h=from:precedence; b=x\nPrecedence: bulk\n\nbody\n";
    check_left_out(signed, &[]);
    check_left_out(
        &signed.replace("from:", "from:precedence:"),
        &["Precedence"],
    );
    check_left_out("Subject: x\n\nDKIM-Signature: h=list-post; b=x\n", &[]);
}

#[test]
fn each_copy_has_fields_of_its_own_to_leave_by() {
    let check = |address: &str, token: Option<&str>, expected: &str| {
        let lines = render_leave(address, "https://x.org", token);
        let lines = String::from_utf8(lines).expect("UTF-8");
        assert_eq!(lines, expected.replace('\n', "\r\n"), "{address}");
    };
    check(
        "dev@x.org",
        Some("abc"),
        "List-Unsubscribe: <https://x.org/u/abc>, <mailto:dev+unsubscribe-abc@x.org>\n\
         List-Unsubscribe-Post: List-Unsubscribe=One-Click\n",
    );
    check(
        "dev@x.org",
        None,
        "List-Unsubscribe: <mailto:dev+unsubscribe@x.org>\n",
    );
    // The token does not fit this address: the page has it all the same, and the address says who writes.
    let long = format!("{}@x.org", "a".repeat(60));
    let lines = leave_fields(&long, "https://x.org", Some("abc"));
    assert_eq!(lines[0].1[0], "<https://x.org/u/abc>,");
    assert!(lines[0].1[1].ends_with("aaa+unsubscribe@x.org>"));
}

#[test]
fn feedback_names_list_and_site_where_the_author_leaves_room() {
    let check = |address: &str, sender: &str, body: &str, expected: &str| {
        let made = render_feedback(address, sender, body.as_bytes());
        assert_eq!(String::from_utf8(made).expect("UTF-8"), expected, "{body}");
    };
    let field = "Feedback-ID: dev:post::Lists12345\r\n";
    check("dev@x.org", "Lists12345", "", field);
    check("dev@x.org", "", "", "");
    check("d:ev@x.org", "Lists12345", "", field);
    let signed = "DKIM-Signature: v=1; d=x.org; h=From:Feedback-ID; b=x\nFrom: a@x.org\n\nx\n";
    check("dev@x.org", "Lists12345", signed, "");
    let present = signed.replace("\nFrom: ", "\nFeedback-ID: a:b:c:d\nFrom: ");
    check("dev@x.org", "Lists12345", &present, field);
}
