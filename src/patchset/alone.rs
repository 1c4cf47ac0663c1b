//! The mail that a commit is made of: what pages show of a patch, and nothing else.
//!
//! git-mailinfo(1) joins all leaves of a mail, whatever their type and whatever shows them. A commit for a list is made of one of
//! them: the text, else one attachment ([`Place`]), so that nobody fetches what nobody saw. A mail that git reads so anyway stays as
//! it is.

use std::borrow::Cow;

use super::recognise::{Place, part_text, place};
use super::scan;
use crate::diff::mailinfo::{Letter, begins_patch, is_format_patch_line, mailinfo, recode, unflow};
use crate::mail::{self, Message, Part, header};

/// Fields that become part of a commit.
const FIELDS: [&str; 3] = ["From", "Subject", "Date"];
/// Bytes a line of base64.
const LINE: usize = 57;
/// Bytes of a file's subject that are read.
const MAX_SUBJECT: usize = 4_000;

/// The mail as it came if git makes of it what is shown, else its author, subject and date over what is shown.
///
/// An attachment that git-format-patch(1) wrote has its own; the text before any other attachment is the message.
pub fn shown_alone<'a>(mail: &'a [u8], message: &Message) -> Cow<'a, [u8]> {
    let Some(place) = place(message) else {
        return Cow::Borrowed(mail);
    };
    let formatted = match place {
        Place::Part(at) => message.parts.get(at).filter(|p| is_formatted(&p.bytes)),
        Place::Text => None,
    };
    match formatted {
        Some(part) => Cow::Owned(of_attachment(mail, part)),
        None if is_read_so(mail, message, place) => Cow::Borrowed(mail),
        None => Cow::Owned(of_parts(mail, message, place)),
    }
}

/// Whether the mail holds a diff that is not shown.
pub fn has_hidden_diff(message: &Message) -> bool {
    hidden_diffs(message).next().is_some()
}

/// Whether the mail holds a second patch: one that is not shown, and is not the text once more as HTML.
pub fn has_second_patch(message: &Message) -> bool {
    hidden_diffs(message).any(|part| part.content_type != "text/html")
}

fn hidden_diffs(message: &Message) -> impl Iterator<Item = &Part> {
    let shown = place(message);
    let parts =
        message.parts.iter().enumerate().filter(move |(at, part)| {
            shown.is_some_and(|place| !is_shown(message, place, *at, part))
        });
    let has_diff = |part: &&Part| part_text(part).is_some_and(scan::has_diff);
    let parts = parts.map(|(_, part)| part).filter(has_diff);
    parts.filter(|part| !is_twin(message, part))
}

/// Whether HTML holds no other diff than the text beside it.
fn is_twin(message: &Message, part: &Part) -> bool {
    if part.content_type != "text/html" || part.attachment {
        return false;
    }
    let ink = |text: &str| text.split_whitespace().collect::<String>();
    let html = ink(&mail::text_of_html(part_text(part).unwrap_or_default()));
    let diff = html.find("diff--git").and_then(|at| html.get(at..));
    diff.is_some_and(|diff| ink(&message.text).contains(diff))
}

/// The subject, decoded, of an attached file that git-format-patch(1) wrote.
pub(super) fn subject_of_file(part: &Part) -> Option<String> {
    if !is_formatted(&part.bytes) {
        return None;
    }
    let (head, _) = header::split(&part.bytes);
    let field = header::fields(head).find(|f| f.is("Subject"))?;
    if field.whole.len() > MAX_SUBJECT {
        return None;
    }
    Some(mail::parse(&[field.whole, b"\n"].concat()).subject)
}

fn is_inline(part: &Part) -> bool {
    part.content_type == "text/plain" && !part.attachment
}

/// Whether a leaf is, or is part of, the text that carries the diff.
fn is_shown(message: &Message, place: Place, at: usize, part: &Part) -> bool {
    match place {
        Place::Part(shown) => at == shown,
        Place::Text if message.parts.iter().any(is_inline) => is_inline(part),
        Place::Text => part.content_type.starts_with("text/") && !part.attachment,
    }
}

/// Whether git takes the patch out of what is shown, and the message out of that and the text before it: what stands between
/// the fields of a header, or in those of a part, is shown by no page.
fn is_read_so(mail: &[u8], message: &Message, place: Place) -> bool {
    let mut shown: Vec<&Part> = Vec::new();
    for (at, part) in message.parts.iter().enumerate() {
        match is_shown(message, place, at, part) {
            true => shown.push(part),
            false if is_inline(part) && shown.is_empty() => {}
            false => return false,
        }
    }
    let Ok(letter) = mailinfo(mail) else {
        return true;
    };
    // Blanks and line ends are read in more than one way; nothing else may be.
    let ink = |b: &&u8| !b.is_ascii_whitespace();
    let all = shown.iter().rev().flat_map(|p| p.bytes.iter().rev());
    let mut all = all.filter(ink);
    let mut patch = letter.patch.iter().rev().filter(ink);
    if !patch.all(|byte| all.next() == Some(byte)) {
        return false;
    }
    let Ok(made) = mailinfo(&of_parts(mail, message, place)) else {
        return false;
    };
    let ink = |text: &str| text.split_whitespace().collect::<String>();
    let author = |l: &Letter| (l.name.clone(), l.email.clone(), l.date);
    author(&made) == author(&letter) && ink(&made.message) == ink(&letter.message)
}

/// Whether these are the bytes of a file that git-format-patch(1) wrote.
fn is_formatted(bytes: &[u8]) -> bool {
    let line = bytes.split(|b| *b == b'\n').next().unwrap_or_default();
    let line = [line.trim_ascii_end(), b"\n"].concat();
    let (head, _) = header::split(bytes);
    is_format_patch_line(&line) && header::fields(head).any(|f| f.is("From") || f.is("Subject"))
}

fn of_attachment(mail: &[u8], part: &Part) -> Vec<u8> {
    let (bytes, _) = header::to_lf(&part.bytes);
    let (head, body) = header::split(&bytes);
    let has = |name: &str| header::fields(head).any(|f| f.is(name));
    let mut out = fields(mail, |name| !has(name));
    out.extend(fields(&bytes, |_| true));
    let charset = match std::str::from_utf8(body) {
        Ok(_) => "utf-8",
        Err(_) => part.charset.as_deref().unwrap_or("us-ascii"),
    };
    finish(out, &format!("charset=\"{charset}\""), body)
}

fn of_parts(mail: &[u8], message: &Message, place: Place) -> Vec<u8> {
    let mut body = Vec::new();
    let mut patch = false;
    for (at, part) in message.parts.iter().enumerate() {
        let shown = is_shown(message, place, at, part);
        if !shown && (patch || !is_inline(part)) {
            continue;
        }
        // Each part has a form of its own.
        let bytes = match part.flowed {
            Some(delsp) => Cow::Owned(unflow(&part.bytes, delsp)),
            None => Cow::Borrowed(part.bytes.as_slice()),
        };
        // The message is text; what is changed are bytes, and only those of what is shown.
        let (said, changed) = if patch {
            (&[][..], &*bytes)
        } else {
            split(&bytes)
        };
        let charset = part.charset.as_deref().unwrap_or_default();
        for line in said.split_inclusive(|b| *b == b'\n') {
            body.extend(recode(line.to_vec(), charset.as_bytes()));
        }
        if shown && !changed.is_empty() {
            patch = true;
            body.extend_from_slice(changed);
        }
        if !body.ends_with(b"\n") {
            body.push(b'\n');
        }
        if shown && place != Place::Text {
            break;
        }
    }
    finish(fields(mail, |_| true), "charset=\"utf-8\"", &body)
}

/// Message and patch.
fn split(bytes: &[u8]) -> (&[u8], &[u8]) {
    let mut at = 0;
    for line in bytes.split_inclusive(|b| *b == b'\n') {
        if begins_patch(line) {
            break;
        }
        at += line.len();
    }
    bytes.split_at(at)
}

/// Those fields of a mail that become part of a commit, the first of each name: that is the one that is shown.
fn fields(mail: &[u8], wanted: impl Fn(&str) -> bool) -> Vec<u8> {
    let (mail, _) = header::to_lf(mail);
    let (head, _) = header::split(&mail);
    let mut out = Vec::new();
    for name in FIELDS.iter().filter(|name| wanted(name)) {
        if let Some(field) = header::fields(head).find(|f| f.is(name)) {
            // Git knows no field with a blank before its colon.
            out.extend_from_slice(format!("{name}:").as_bytes());
            out.extend_from_slice(field.value);
            if !out.ends_with(b"\n") {
                out.push(b'\n');
            }
        }
    }
    out
}

/// A mail of one text, every byte of which is kept.
fn finish(mut fields: Vec<u8>, parameters: &str, body: &[u8]) -> Vec<u8> {
    let rest = format!(
        "MIME-Version: 1.0\nContent-Type: text/plain; {parameters}\nContent-Transfer-Encoding: base64\n\n"
    );
    fields.extend_from_slice(rest.as_bytes());
    for line in body.chunks(LINE) {
        fields.extend_from_slice(data_encoding::BASE64.encode(line).as_bytes());
        fields.push(b'\n');
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A diff that changes one line of a file, with a message before it.
    fn diff(file: &str, text: &str) -> String {
        format!(
            "{text}\n---\n {file} | 2 +-\n\ndiff --git a/{file} b/{file}\n--- a/{file}\n+++ b/{file}\n@@ -1 +1 @@\n-x\n+{file}\n"
        )
    }

    fn letter(body: &str) -> String {
        format!(
            "From: Ana <ana@x.org>\nDate: Mon, 1 Jan 2024 10:00:00 +0000\nSubject: [PATCH] title\nMIME-Version: 1.0\n{body}"
        )
    }

    /// A mail of these parts: fields, and what stands below them.
    fn parts(kind: &str, parts: &[(&str, &str)]) -> String {
        let part = |(fields, body): &(&str, &str)| format!("--b\n{fields}\n\n{body}\n");
        let parts: String = parts.iter().map(part).collect();
        letter(&format!(
            "Content-Type: multipart/{kind}; boundary=b\n\n{parts}--b--\n"
        ))
    }

    const TEXT: &str = "Content-Type: text/plain; charset=utf-8";
    const HTML: &str = "Content-Type: text/html";
    const FILE: &str =
        "Content-Type: text/x-patch\nContent-Disposition: attachment; filename=a.patch";

    /// Author, message, and the files that the commit would change.
    #[track_caller]
    fn check(mail: &str, author: &str, message: &str, files: &[&str], hidden: bool) {
        let parsed = mail::parse(mail.as_bytes());
        let alone = shown_alone(mail.as_bytes(), &parsed);
        let letter = mailinfo(&alone).expect("a patch");
        assert_eq!(
            (letter.name.as_str(), letter.message.as_str()),
            (author, message)
        );
        let patch = String::from_utf8(letter.patch).expect("text");
        let of = |line: &str| line.strip_prefix("+++ b/").map(str::to_owned);
        let found: Vec<String> = patch.lines().filter_map(of).collect();
        assert_eq!(found, files, "{patch}");
        assert_eq!(has_hidden_diff(&parsed), hidden);
        let html = mail.contains("text/html");
        assert_eq!(has_second_patch(&parsed), hidden && !html);
        let again = mail::parse(&alone);
        assert_eq!(shown_alone(&alone, &again), alone, "once is enough");
    }

    #[test]
    fn a_commit_is_made_of_what_is_shown() {
        let (one, two) = (diff("one", "Text."), diff("two", "Other."));
        let title = "title\n\nText.\n";
        // As it is.
        check(&letter(&format!("\n{one}")), "Ana", title, &["one"], false);
        check(
            &parts("mixed", &[(TEXT, &one)]),
            "Ana",
            title,
            &["one"],
            false,
        );
        // HTML beside the text, with a diff of its own.
        let both = parts("alternative", &[(TEXT, &one), (HTML, &two)]);
        check(&both, "Ana", title, &["one"], true);
        // The same diff as HTML.
        let lines: String = one.lines().map(|l| format!("{l}<br>\n")).collect();
        let twin = parts(
            "alternative",
            &[(TEXT, &one), (HTML, &format!("<div>{lines}</div>"))],
        );
        check(&twin, "Ana", title, &["one"], false);
        let plain = parts("alternative", &[(TEXT, &one), (HTML, "<p>Text.</p>")]);
        check(&plain, "Ana", title, &["one"], false);
        // Two attachments: the first.
        let bare = &two[two.find("diff").expect("a diff")..];
        let files = [
            (TEXT, "Text."),
            (FILE, &one[one.find("diff").expect("a diff")..]),
            (FILE, bare),
        ];
        check(&parts("mixed", &files), "Ana", title, &["one"], true);
        // One, beside text in two forms, or before a footer.
        let alternative = format!("--c\n{TEXT}\n\nText.\n--c\n{HTML}\n\n<p>Text.</p>\n--c--");
        let inner = (
            "Content-Type: multipart/alternative; boundary=c",
            alternative.as_str(),
        );
        check(
            &parts("mixed", &[inner, (FILE, bare)]),
            "Ana",
            title,
            &["two"],
            false,
        );
        let footer = [(TEXT, "Text."), (FILE, bare), (TEXT, "_______\nA list")];
        check(&parts("mixed", &footer), "Ana", title, &["two"], false);
        // A signature before the attachment begins no patch.
        let signed = [(TEXT, "Text.\n---\nAna"), (FILE, bare)];
        check(&parts("mixed", &signed), "Ana", title, &["two"], false);
    }

    #[test]
    fn a_file_of_git_format_patch_has_its_own_author_and_message() {
        let id = "0123456789abcdef0123456789abcdef01234567";
        let text = diff("two", "Why.");
        let file = format!(
            "From {id} Mon Sep 17 00:00:00 2001\nFrom: Ben Ode <ben@x.org>\nSubject: [PATCH 1/2] inner\n\n{text}"
        );
        let mail = parts("mixed", &[(TEXT, "Please take this."), (FILE, &file)]);
        check(&mail, "Ben Ode", "inner\n\nWhy.\n", &["two"], false);
        let encoded = data_encoding::BASE64.encode(file.replace('\n', "\r\n").as_bytes());
        let fields = format!("{FILE}\nContent-Transfer-Encoding: base64");
        let mail = parts("mixed", &[(TEXT, "Please take this."), (&fields, &encoded)]);
        check(&mail, "Ben Ode", "inner\n\nWhy.\n", &["two"], false);
    }

    /// As git-am(1) has it: no page shows the header of an attached mail, so nothing of a commit comes out of it.
    #[test]
    fn a_mail_that_is_forwarded_as_an_attachment_is_who_forwards_its() {
        let one = diff("one", "Text.");
        let inner = format!("From: Ben Ode <ben@x.org>\nSubject: [PATCH] inner\n\n{one}");
        let attached = ("Content-Type: message/rfc822", inner.as_str());
        let mail = parts("mixed", &[(TEXT, "Please take this."), attached]);
        let message = "title\n\nPlease take this.\nText.\n";
        check(&mail, "Ana", message, &["one"], false);
        check(
            &parts("mixed", &[attached]),
            "Ana",
            "title\n\nText.\n",
            &["one"],
            false,
        );
        // Who forwards can say whose it is.
        let said = (TEXT, "From: Ben Ode <ben@x.org>\n");
        let mail = parts("mixed", &[said, attached]);
        check(&mail, "Ben Ode", "title\n\nText.\n", &["one"], false);
    }

    /// What one program takes for the header and another for the text, or for a boundary.
    #[test]
    fn what_programs_read_in_two_ways_is_read_as_it_is_shown() {
        let (one, two) = (diff("one", "Text."), diff("two", "Other."));
        let bare = &two[two.find("diff").expect("a diff")..];
        let split = letter(&format!("Nothing here\n{bare}X: y\n\n{one}"));
        check(&split, "Ana", "title\n\nText.\n", &["one"], false);
        let body = format!("{one}-- \n--b\n\n{bare}--b--\n");
        let kind = letter(&format!("Content-Type: text/plain; boundary=b\n\n{body}"));
        let parsed = mail::parse(kind.as_bytes());
        let alone = mailinfo(&shown_alone(kind.as_bytes(), &parsed)).expect("a patch");
        let found = String::from_utf8(alone.patch).expect("text");
        assert!(parsed.text.ends_with(&found), "{found}");
    }

    #[test]
    fn what_no_page_shows_is_in_no_message() {
        let one = diff("one", "Text.");
        let title = "title\n\nText.\n";
        let junk = "[PATCH] other title\nReviewed-by: Eve <eve@x.org>\n";
        let head =
            |lines: &str| format!("From: Ana <ana@x.org>\nSubject: [PATCH] title\n{lines}\n{one}");
        for lines in [
            junk,
            "no field\nReviewed-by: Eve <eve@x.org>\n",
            "Subject: [PATCH] other title\n",
            "Subject : x\n\tReviewed-by: Eve <eve@x.org>\n",
        ] {
            check(&head(lines), "Ana", title, &["one"], false);
        }
        let blank = head("").replace("Subject:", "Subject :");
        check(&blank, "Ana", title, &["one"], false);
        check(
            &head("From: Eve <eve@x.org>\n"),
            "Ana",
            title,
            &["one"],
            false,
        );
        // In a part's header.
        let fields = format!("{TEXT}\n{junk}X: y");
        check(
            &parts("mixed", &[(&fields, &one)]),
            "Ana",
            title,
            &["one"],
            false,
        );
        let dates =
            head("Date: Mon, 1 Jan 2024 10:00:00 +0000\nDate: Tue, 2 Jan 2024 10:00:00 +0000\n");
        let parsed = mail::parse(dates.as_bytes());
        let date = |mail: &[u8]| mailinfo(mail).expect("a patch").date;
        let alone = shown_alone(dates.as_bytes(), &parsed);
        let first = head("Date: Mon, 1 Jan 2024 10:00:00 +0000\n");
        assert_eq!(date(&alone), date(first.as_bytes()));
        // What git reads as it is shown stays as it came, whatever its charset is said to be.
        for (charset, message) in [("utf-8", "T\u{e9}xt."), ("us-ascii", "T\u{e9}xt.")] {
            let mut mail =
                letter(&format!("Content-Type: text/plain; charset={charset}\n\n")).into_bytes();
            mail.extend(diff("one", message).bytes());
            mail.extend(b"+\xe9\n");
            let parsed = mail::parse(&mail);
            assert!(
                matches!(shown_alone(&mail, &parsed), Cow::Borrowed(_)),
                "{charset}"
            );
        }
    }

    #[test]
    fn each_part_is_flowed_or_not() {
        let flowed = "Content-Type: text/plain; charset=utf-8; format=flowed";
        let text = "Why, at \nlength.\n---\n one | 2 +-";
        let changes = diff("one", "");
        let bare = &changes[changes.find("diff").expect("a diff")..];
        let bare = bare.replace("@@ -1 +1 @@\n", "@@ -1,2 +1,2 @@\n same\n");
        let signature = (
            "Content-Type: application/pgp-signature",
            "-----BEGIN PGP SIGNATURE-----",
        );
        let title = "title\n\nWhy, at length.\n";
        for kept in [TEXT, FILE] {
            let text = if kept == FILE {
                "Why, at \nlength."
            } else {
                text
            };
            let mail = parts("mixed", &[(flowed, text), (kept, &bare), signature]);
            check(&mail, "Ana", title, &["one"], false);
            let parsed = mail::parse(mail.as_bytes());
            let found = mailinfo(&shown_alone(mail.as_bytes(), &parsed)).expect("a patch");
            assert!(found.patch.windows(6).any(|w| w == b"\n same"), "{kept}");
        }
        // A list's footer changes nothing.
        let footer = (TEXT, "_______\nA list");
        let mail = parts(
            "mixed",
            &[(flowed, "Why, at \nlength."), (FILE, &bare), footer],
        );
        check(&mail, "Ana", title, &["one"], false);
        // A patch that is flowed itself.
        let stuffed = bare.replace("\n same", "\n  same");
        let text = format!("Why, at \nlength.\n---\n{stuffed}");
        let mail = parts("alternative", &[(flowed, &text), (HTML, "<p>x")]);
        check(&mail, "Ana", title, &["one"], false);
        let parsed = mail::parse(mail.as_bytes());
        let found = mailinfo(&shown_alone(mail.as_bytes(), &parsed)).expect("a patch");
        assert!(found.patch.windows(6).any(|w| w == b"\n same"));
    }

    #[test]
    fn bytes_of_any_charset_and_line_ends_are_kept() {
        let text = diff("one", "T\u{e9}xt.").replace("+one", "+\u{e9}\r");
        let latin: Vec<u8> = text
            .chars()
            .map(|c| u8::try_from(u32::from(c)).expect("latin"))
            .collect();
        let fields =
            "Content-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: base64";
        let encoded = data_encoding::BASE64.encode(&latin);
        let mail = parts("alternative", &[(fields, &encoded), (HTML, "<p>x")]);
        let parsed = mail::parse(mail.as_bytes());
        let found = mailinfo(&shown_alone(mail.as_bytes(), &parsed)).expect("a patch");
        assert_eq!(found.message, "title\n\nT\u{e9}xt.\n");
        let line = b"+\xe9\r\n";
        assert!(found.patch.windows(line.len()).any(|w| w == line));
    }
}
