use super::*;

fn letter(mail: &str) -> String {
    match mailinfo(mail.as_bytes()) {
        Ok(l) => {
            let date = l.date.map_or("none".to_owned(), |d| d.to_string());
            let patch = String::from_utf8_lossy(&l.patch);
            let patch = patch.lines().next().unwrap_or_default();
            let message = l.message.trim_end().replace('\n', "|");
            format!("{} <{}> {date}: {message} ; {patch}", l.name, l.email)
        }
        Err(error) => error.to_string(),
    }
}

#[track_caller]
fn check(mail: &str, expected: &str) {
    let crlf = mail.replace('\n', "\r\n");
    for mail in [mail, &crlf] {
        assert_eq!(letter(mail), expected, "mail: {mail}");
    }
}

const HEAD: &str = "From: Ana <a@x.org>\nDate: Tue, 14 Nov 2023 23:13:20 +0100\nSubject: ";

#[test]
fn a_plain_patch() {
    let mail = format!(
        "{HEAD}[PATCH v2 1/2] lib: fix\n\nWhy.\n\nS: A\n---\nnotes\n\ndiff --git a/x b/x\n"
    );
    check(
        &mail,
        "Ana <a@x.org> 1700000000 +0100: lib: fix||Why.||S: A ; ---",
    );
}

#[test]
fn subjects() {
    let subject = |s: &str, expected: &str| {
        check(
            &format!("{HEAD}{s}\n\ndiff -u\n"),
            &format!("Ana <a@x.org> 1700000000 +0100: {expected} ; diff -u"),
        );
    };
    subject("Re: [PATCH] [foo] a: b", "a: b");
    subject("RE:  : [x]re: y", "y");
    subject("regex: fix", "regex: fix");
    subject("[PATCH] open [ bracket", "open [ bracket");
    subject("[PATCH no end", "[PATCH no end");
    subject("[PATCH] a\n  folded\tone", "a folded one");
    subject("=?utf-8?q?na=C3=AFve_?= =?utf-8?b?Zml4?=", "naïve fix");
    subject("=?iso-8859-1?q?na=EFve?= fix", "naïve fix");
    subject(
        "=?utf-8?q?na=EFve?= in the wrong charset",
        "naïve in the wrong charset",
    );
    subject("=?nowhere?q?naive?= fix", "naive fix");
    subject("broken =?utf-8?q?word", "broken =?utf-8?q?word");
}

#[test]
fn authors() {
    let from = |value: &str, expected: &str| {
        check(
            &format!("From: {value}\nSubject: s\n\ndiff -u\n"),
            &format!("{expected} none: s ; diff -u"),
        );
    };
    from("ana@x.org (Ana Lima)", "Ana Lima <ana@x.org>");
    from("\"Lima, Ana\" <ana@x.org>", "Lima, Ana <ana@x.org>");
    from(
        "Ana (QA) Lima <ana@x.org> (work)",
        "Ana (QA) Lima (work) <ana@x.org>",
    );
    from("ana@x.org", "ana@x.org <ana@x.org>");
    from("Ana <ana>", "Ana <ana>");
    from(
        &format!("{} <ana@x.org>", "A".repeat(61)),
        "ana@x.org <ana@x.org>",
    );
    from(
        "\"Ana \\\"A\\\" Lima\" <ana@x.org>",
        "Ana \"A\" Lima <ana@x.org>",
    );
    check(
        "From: nobody\nSubject: s\n\ndiff -u\n",
        &MailinfoError::NoAuthor.to_string(),
    );
    check(
        "Subject: s\n\ndiff -u\n",
        &MailinfoError::NoAuthor.to_string(),
    );
}

#[test]
fn fields_at_the_start_of_the_text_win() {
    let mail = format!(
        "{HEAD}[PATCH] outer\n\nFrom: Ben\n <b@x.org>\nSubject: inner\nDate: 2024-01-02T03:04:05Z\n\nWhy.\n---\n"
    );
    check(&mail, "Ben <b@x.org> 1704164645 +0000: inner||Why. ; ---");
    let mail = format!("{HEAD}[PATCH] outer\n\nWhy.\nFrom: Ben <b@x.org>\n---\n");
    check(
        &mail,
        "Ana <a@x.org> 1700000000 +0100: outer||Why.|From: Ben <b@x.org> ; ---",
    );
    let mail = format!("{HEAD}outer\n\n[PATCH] inner\n\nWhy.\n---\n");
    check(&mail, "Ana <a@x.org> 1700000000 +0100: inner||Why. ; ---");
}

#[test]
fn transfer_encodings_and_parts() {
    let mail = format!(
        "{HEAD}s\nContent-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: quoted-printable\n\nna=EFve=\n text\n---\n+=3D\n"
    );
    check(&mail, "Ana <a@x.org> 1700000000 +0100: s||naïve text ; ---");
    let mail =
        format!("{HEAD}s\nContent-Transfer-Encoding: base64\n\nV2h5LgotLS0KZGlm\nZiAtLWdpdAo=\n");
    check(&mail, "Ana <a@x.org> 1700000000 +0100: s||Why. ; ---");
    let mail = format!(
        "{HEAD}s\nContent-Type: multipart/mixed; boundary=\"b\"\n\nno text\n--b\nContent-Type: text/plain\n\nWhy.\n--b\nContent-Type: text/x-patch\nContent-Transfer-Encoding: base64\n\nZGlmZiAtLWdpdAo=\n--b--\nover\n"
    );
    check(
        &mail,
        "Ana <a@x.org> 1700000000 +0100: s||Why. ; diff --git",
    );
    let mail = format!(
        "{HEAD}s\nContent-Type: text/plain; format=flowed\n\nIt goes \non.\n-- \nme\n---\n"
    );
    check(
        &mail,
        "Ana <a@x.org> 1700000000 +0100: s||It goes on.|--|me ; ---",
    );
}

#[test]
fn what_is_no_patch() {
    check(
        &format!("{HEAD}s\n\nno patch\n--- nothing\n"),
        "Ana <a@x.org> 1700000000 +0100: s||no patch ; --- nothing",
    );
    check(
        &format!("{HEAD}s\n\nno patch\n----\n"),
        &MailinfoError::NoPatch.to_string(),
    );
    check("", &MailinfoError::NoPatch.to_string());
    check(
        &format!("{HEAD}s\n\na\0b\n---\n"),
        &MailinfoError::Nul.to_string(),
    );
}

#[test]
fn deep_parts_and_long_lines_end() {
    let mut mail = String::from("From: a@b.c\nSubject: s\n");
    for n in 0..20_000 {
        mail += &format!("Content-Type: multipart/mixed; boundary=b{n}\n\n--b{n}\n");
    }
    assert_eq!(mailinfo(mail.as_bytes()), Err(MailinfoError::NoPatch));
    let long = format!(
        "{HEAD}s\nContent-Transfer-Encoding: base64\n\n{}",
        "QUFB\n".repeat(200_000)
    );
    assert_eq!(mailinfo(long.as_bytes()), Err(MailinfoError::NoPatch));
}
