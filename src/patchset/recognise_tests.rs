use super::*;
use crate::mail;

const DIFF: &str = "diff --git a/a b/a\nindex 1111111..2222222 100644\n--- a/a\n+++ b/a\n@@ -1 +1 @@\n-x\n+y\n-- \n2.40\n";
const STAT: &str = " a | 2 +-\n 1 file changed, 1 insertion(+), 1 deletion(-)\n\n";

/// A mail that answers another one, unless it has no parent.
fn kind(subject: &str, parent: &str, body: &str) -> Kind {
    let parent = match parent {
        "" => String::new(),
        parent => format!("In-Reply-To: <{parent}>\n"),
    };
    let text =
        format!("From: <ana@example.org>\nMessage-ID: <m@x>\nSubject: {subject}\n{parent}\n{body}");
    recognise(&mail::parse(text.as_bytes())).kind
}

#[test]
fn a_patch_may_quote_in_its_message_and_a_reply_may_suggest_a_diff() {
    let check = |subject: &str, body: &str, expected: Kind| {
        assert_eq!(kind(subject, "p@x", body), expected, "{subject}\n{body}");
    };
    let quote =
        "From the manual page:\n\n> RETURN VALUE\n>       The converted value or 0 on error.\n\n";
    let signed = "Signed-off-by: Ana <ana@example.org>\n";
    // atoi(3) quoted in the message of `[PATCH v2]`, a real mail.
    let formatted = format!("{quote}{signed}---\n{STAT}{DIFF}");
    check("[PATCH v2] a", &formatted, Kind::Patch);
    check("[PATCH v2] a", &format!("{quote}---\n{DIFF}"), Kind::Patch);
    // Without `---` it is what a reviewer writes below a quote, also if the subject lost its `Re:`.
    check("[PATCH v2] a", &format!("{quote}{DIFF}"), Kind::Comment);
    check("Re: [PATCH v2] a", &formatted, Kind::Comment);
    check("Re: [PATCH v2] a", &format!("{quote}{DIFF}"), Kind::Comment);
    check("a", &formatted, Kind::Comment);
    // All of the patch is quoted, `---` too.
    let quoted: String = formatted.lines().map(|l| format!("> {l}\n")).collect();
    check("[PATCH v2] a", &format!("{quoted}\nNo.\n"), Kind::Comment);
    check("[PATCH v2] a", &format!("Text.\n---\n{DIFF}"), Kind::Patch);
    check("[PATCH v2 0/2] a", &format!("{quote}{STAT}"), Kind::Cover);
    check("[PATCH v2 0/2] a", quote, Kind::Comment);
}

#[test]
fn a_patch_whose_header_was_wrapped_is_a_patch_all_the_same() {
    let check = |body: &str, expected: Kind| {
        assert_eq!(kind("[PATCH] a", "", body), expected, "{body}");
    };
    let wrapped = "--- a/a\t2024-08-25 22:19:37.556414928\n+0200\n+++ b/a\t2024-08-25 22:20:02.860415642\n+0200\n@@ -1 +1 @@\n-x\n+y\n";
    check(wrapped, Kind::Patch);
    check(&wrapped.replace("\n+0200", " +0200"), Kind::Patch);
    check(&wrapped.replace("@@ -1 +1 @@\n", ""), Kind::Plain);
    check(&wrapped.replace("+0200\n+++", "words\n+++"), Kind::Plain);
    check(&wrapped.replace("--- a", " --- a"), Kind::Plain);
}

#[test]
fn what_a_series_is_built_on_is_named_by_id_or_address() {
    let check = |value: &str, ids: &[&str]| {
        let text = format!(
            "From: <ana@example.org>\nMessage-ID: <m@x>\nSubject: [PATCH] a\n\nDepends-on: {value}\n---\n{STAT}{DIFF}"
        );
        let found = recognise(&mail::parse(text.as_bytes()));
        let found: Vec<&str> = found.depends_on.iter().map(|id| id.as_str()).collect();
        assert_eq!(found, ids, "{value}");
    };
    check("<p@x>", &["p@x"]);
    check("p@x (the first one)", &["p@x"]);
    check(
        "https://lore.kernel.org/r/20240101.1-2-p@x",
        &["20240101.1-2-p@x"],
    );
    check("https://patch.msgid.link/p@x", &["p@x"]);
    check("https://lore.kernel.org/all/p@x/T/#u", &["p@x"]);
    check("<https://lore.kernel.org/all/p%40x/>", &["p@x"]);
    check("https://lists.example.org/dev/a%2Fb%25c@x/", &["a/b%c@x"]);
    check("https://lists.example.org/r/p@x/#m0123", &["p@x"]);
    check("https://lists.example.org/r/p@x#m0123", &["p@x"]);
    check("https://lists.example.org/dev/?q=p@x", &[]);
    check("https://ana@lists.example.org/dev/", &[]);
    check("https://lists.example.org/dev/patches/12/v2/", &[]);
    check("version two", &[]);
}

#[test]
fn an_attached_file_of_git_says_what_the_mail_does_not() {
    let check = |subject: &str, of_file: &str, expected: Kind, title: &str| {
        let text = format!(
            "From: <ana@example.org>\nMessage-ID: <m@x>\nSubject: {subject}\nIn-Reply-To: <p@x>\nMIME-Version: 1.0\n\
             Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain\n\nOn Monday Ben wrote:\n> No.\n\n--b\n\
             Content-Type: text/x-patch\nContent-Disposition: attachment; filename=a.patch\n\n\
             From 0123456789abcdef0123456789abcdef01234567 Mon Sep 17 00:00:00 2001\nFrom: Ana <ana@example.org>\n\
             Subject: {of_file}\n\nWhy.\n---\n{STAT}{DIFF}\n--b--\n"
        );
        let found = recognise(&mail::parse(text.as_bytes()));
        assert_eq!(found.kind, expected, "{subject} / {of_file}");
        assert_eq!(found.tag.title, title, "{subject} / {of_file}");
        found.tag
    };
    // What web mailers send: an answer, with the new version attached.
    let tag = check(
        "Re: [PATCH] a",
        "[PATCH v2 1/2] =?utf-8?q?b=C3=A9?=",
        Kind::Patch,
        "b\u{e9}",
    );
    assert_eq!((tag.number, tag.total), (Some(1), Some(2)));
    assert_eq!(tag.version.map(|v| v.major), Some(2));
    check("Division v4", "[PATCH v4] b", Kind::Patch, "b");
    // The mail's own tag says enough.
    check("[PATCH v2] a", "[PATCH v3] b", Kind::Patch, "a");
    // An answer that carries what it answers.
    check("Re: [PATCH v2] a", "[PATCH v2] a", Kind::Comment, "a");
    // What reviewers suggest has no version.
    check("Re: [PATCH] a", "[PATCH] b", Kind::Comment, "a");
    check("Re: a", "Re: [PATCH v2] b", Kind::Comment, "a");
    check("Re: a", "b", Kind::Comment, "a");
}
