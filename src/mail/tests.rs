use super::*;
use proptest::prelude::*;

fn check(mail: &str, view: impl Fn(&Message) -> String, expected: &str) {
    let crlf = mail.replace('\n', "\r\n");
    for bytes in [mail.as_bytes(), crlf.as_bytes()] {
        assert_eq!(view(&parse(bytes)), expected, "mail: {mail}");
    }
    assert_eq!(
        identity(mail.as_bytes()),
        identity(crlf.as_bytes()),
        "mail: {mail}"
    );
}

fn subject(m: &Message) -> String {
    m.subject.clone()
}

fn author(m: &Message) -> String {
    format!("{}|{}", m.author().name, m.author().address)
}

fn parents(m: &Message) -> String {
    m.parents
        .iter()
        .map(|p| p.as_str())
        .collect::<Vec<_>>()
        .join(" ")
}

#[test]
fn subjects_are_decoded_and_unfolded() {
    check("Subject: plain\n\n", subject, "plain");
    check("Subject: a\n  folded\n\tone\n\n", subject, "a folded one");
    check(
        "Subject: =?utf-8?q?na=C3=AFve?= fix\n\n",
        subject,
        "naïve fix",
    );
    check("Subject: raw naïve\n\n", subject, "raw naïve");
    check("X: y\n\nbody", subject, "");
}

#[test]
fn authors_are_found_in_what_people_write() {
    check(
        "From: Ana Lima <ana@example.org>\n\n",
        author,
        "Ana Lima|ana@example.org",
    );
    check(
        "From: \"Lima, Ana\" <ana@example.org>\n\n",
        author,
        "Lima, Ana|ana@example.org",
    );
    check("From: ana@example.org\n\n", author, "|ana@example.org");
    check(
        "From: =?utf-8?q?Jos=C3=A9?= <jose@example.org>\n\n",
        author,
        "José|jose@example.org",
    );
}

#[test]
fn the_nearest_ancestor_comes_first_and_slips_are_left_out() {
    check(
        "In-Reply-To: <b@x>\nReferences: <r@x> <a@x> <b@x>\n\n",
        parents,
        "b@x a@x r@x",
    );
    check(
        "To: dev@x\nIn-Reply-To: dev@x\nReferences: <a@x>\n\n",
        parents,
        "a@x",
    );
    check("In-Reply-To: y\n\n", parents, "");
    check(
        "Message-ID: <m@x>\nReferences: <m@x> <a@x>\n\n",
        parents,
        "a@x",
    );
    check(
        "In-Reply-To: Your message of Monday <a@x>\n\n",
        parents,
        "a@x",
    );
}

#[test]
fn wrong_charset_labels_are_read_leniently() {
    let text = |m: &Message| m.text.clone();
    check(
        "Content-Type: text/plain; charset=us-ascii\n\nnaïve\n",
        text,
        "naïve\n",
    );
    let latin = b"Content-Type: text/plain; charset=nonsense\n\nna\xefve\n";
    assert_eq!(parse(latin).text, "naïve\n");
    check(
        "Content-Type: text/html\n\n<p>one</p><script>x</script><p>two &amp; more</p>\n",
        |m| m.text.replace('\n', " ").trim().to_owned(),
        "one two & more",
    );
}

#[test]
fn a_mail_without_message_id_gets_a_stable_derived_one() {
    let one = parse(b"Subject: x\n\nbody\n");
    let two = parse(b"Received: by y; Mon, 1 Jan 2024 00:00:00 +0000\nSubject: x\n\nbody\n");
    assert_eq!(one.message_id, two.message_id);
    assert!(one.flaws.contains(&Flaw::NoMessageId));
}

#[test]
fn copies_by_other_ways_are_one_mail_and_edited_ones_are_not() {
    let mail = b"Received: a\nMessage-ID: <m@x>\nSubject: s\n\nbody\n".as_slice();
    let relayed =
        b"Received: b\nReceived: a\nMessage-ID:\n <m@x>\nSubject: s\nX-Spam: no\n\nbody\r\n\n"
            .as_slice();
    let edited = b"Message-ID: <m@x>\nSubject: s\n\nbody!\n".as_slice();
    assert_eq!(identity(mail), identity(relayed));
    assert_ne!(identity(mail), identity(edited));
}

#[test]
fn an_attached_patch_is_a_part_with_text() {
    let mail = "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain\n\nsee there\n--b\n\
        Content-Type: application/octet-stream; name=\"../0001-x.patch\"\nContent-Transfer-Encoding: base64\n\nLS0tIGEK\n--b--\n";
    let message = parse(mail.as_bytes());
    assert_eq!(message.parts.len(), 2);
    assert_eq!(message.parts[1].filename.as_deref(), Some("0001-x.patch"));
    assert_eq!(message.parts[1].text.as_deref(), Some("--- a\n"));
    assert_eq!(message.text, "see there");
}

#[test]
fn fields_can_be_taken_out_and_the_rest_is_untouched() {
    let mail = b"A: 1\nBcc: x\n y\nC: 2\n\nBcc: body\n";
    assert_eq!(
        header::without_fields(mail, |f| f.is("bcc")),
        b"A: 1\nC: 2\n\nBcc: body\n"
    );
}

#[test]
fn prose_that_begins_with_from_does_not_split_a_mail() {
    let mbox = b"From a@x Mon Jan  1 00:00:00 2024\nSubject: 1\n\ntext\n\nFrom here on it works\n\nFrom mboxrd@z Thu Jan  1 00:00:00 1970\nSubject: 2\n\n>From x\n";
    let mails: Vec<Vec<u8>> = mbox::Reader::new(mbox.as_slice())
        .map(|m| m.expect("reads"))
        .collect();
    assert_eq!(mails.len(), 2);
    assert_eq!(mails[0], b"Subject: 1\n\ntext\n\nFrom here on it works\n");
    assert_eq!(mails[1], b"Subject: 2\n\nFrom x\n");
}

proptest! {
    #[test]
    fn any_bytes_are_parsed(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        let message = parse(&bytes);
        prop_assert!(!message.message_id.as_str().is_empty());
    }

    #[test]
    fn pure_crlf_comes_back_exactly(lines in proptest::collection::vec("[^\r\n]{0,20}", 1..20)) {
        let crlf = lines.join("\r\n") + "\r\n";
        let (lf, pure) = header::to_lf(crlf.as_bytes());
        prop_assert!(pure);
        prop_assert_eq!(header::to_crlf(&lf), crlf.as_bytes());
    }

    #[test]
    fn mboxrd_gives_back_what_was_written(bodies in proptest::collection::vec("(>{0,2}From x|a|b c| ){1,3}(\n(>{0,2}From y 10:00:00 2024|z|)){0,4}", 1..5)) {
        let mails: Vec<Vec<u8>> = bodies.iter().map(|b| format!("Subject: s\n\n{}\n", b.trim_end()).into_bytes()).collect();
        let mut file = Vec::new();
        for mail in &mails {
            mbox::write(&mut file, mail).expect("a vector takes all");
        }
        let back: Vec<Vec<u8>> = mbox::Reader::new(file.as_slice()).map(|m| m.expect("reads")).collect();
        prop_assert_eq!(back, mails);
    }
}

#[test]
fn mails_nested_without_end_are_kept_as_one_text() {
    for word in ["message/rfc822", "message/global"] {
        for encoding in ["", "Content-Transfer-Encoding: quoted-printable\n"] {
            let mail = format!("Content-Type: {word}\n{encoding}\n").repeat(300_000);
            let message = parse(mail.as_bytes());
            assert!(
                message.flaws.contains(&Flaw::TooManyParts),
                "{word} {encoding}"
            );
            assert_eq!(message.parts.len(), 1);
        }
    }
    // The same, where nobody sees it before it is decoded.
    let hidden = "Content-Type: message/rfc822\n\n".repeat(300_000);
    let hidden = data_encoding::BASE64.encode(hidden.as_bytes());
    for kind in ["Content-Type: message/rfc822\n", ""] {
        let mail = format!(
            "Content-Type: multipart/digest; boundary=b\n\n--b\n{kind}Content-Transfer-Encoding: base64\n\n{hidden}\n--b--\n"
        );
        assert_eq!(parse(mail.as_bytes()).parts.len(), 1, "{kind}");
    }
    // As deep as is let through.
    let mail = "Content-Type: message/rfc822\n\n".repeat(1_000);
    assert!(parse(mail.as_bytes()).flaws.contains(&Flaw::TooManyParts));
}

#[test]
fn a_mail_in_an_encoded_mail_is_read() {
    let inner = "Subject: inner\nContent-Type: text/x-patch; name=rfc822.patch\n\nhello\n";
    let inner = data_encoding::BASE64.encode(inner.as_bytes());
    let mail = format!(
        "Content-Type: multipart/mixed; boundary=b\n\n--b\n\ntext about rfc822\n--b\nContent-Type: message/rfc822\n\
         Content-Transfer-Encoding: base64\n\n{inner}\n--b--\n"
    );
    let message = parse(mail.as_bytes());
    let names: Vec<_> = message
        .parts
        .iter()
        .map(|p| p.filename.as_deref())
        .collect();
    assert_eq!(names, [None, Some("rfc822.patch")]);
    assert_eq!(message.parts[1].text.as_deref(), Some("hello\n"));
    assert_eq!(message.text.trim(), "text about rfc822");
}

#[test]
fn a_mail_has_few_names_however_many_it_gives() {
    let many: String = (0..400_000).map(|n| format!("<{n}@x>")).collect();
    for own in ["", "Message-ID: <own@x>\n"] {
        let text = format!("{own}X-Microsoft-Original-Message-ID: {many}\n\nx\n");
        let message = parse(text.as_bytes());
        assert_eq!(message.aliases.len(), 8);
        assert_eq!(message.aliases[0].as_str(), "0@x");
    }
    let text = format!("References: {many}\nIn-Reply-To: {many}\n\nx\n");
    let parents = parse(text.as_bytes()).parents;
    assert_eq!((parents.len(), parents[0].as_str()), (64, "0@x"));
    let text = format!("References: {many}\n\nx\n");
    assert_eq!(parse(text.as_bytes()).parents[0].as_str(), "399999@x");
}
