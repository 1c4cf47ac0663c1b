//! The mail that a commit is made of: what pages show of a patch, and nothing else.
//!
//! git-mailinfo(1) joins all leaves of a mail, whatever their type and whatever shows them. A commit for a list is made of one of
//! them: the text, else one attachment ([`Place`]), so that nobody fetches what nobody saw. A mail that git reads so anyway stays as
//! it is.

use std::borrow::Cow;

use super::recognise::{Place, part_text, place};
use super::scan;
use crate::diff::mailinfo::{begins_patch, is_format_patch_line, mailinfo};
use crate::mail::{Message, Part, header};

/// Fields that become part of a commit.
const FIELDS: [&str; 3] = ["From", "Subject", "Date"];
/// Bytes a line of base64.
const LINE: usize = 57;

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
    let Some(place) = place(message) else {
        return false;
    };
    let parts = message.parts.iter().enumerate();
    let mut hidden = parts.filter(|(at, part)| !is_shown(message, place, *at, part));
    hidden.any(|(_, part)| part_text(part).is_some_and(scan::has_diff))
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

/// Whether git takes the patch out of what is shown, and the message out of that and the text before it.
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
    patch.all(|byte| all.next() == Some(byte))
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
    let mut flowed = None;
    let mut patch = false;
    for (at, part) in message.parts.iter().enumerate() {
        let shown = is_shown(message, place, at, part);
        if !shown && (patch || !is_inline(part)) {
            continue;
        }
        if patch {
            body.extend_from_slice(&part.bytes);
        } else {
            // The message is text; what is changed are bytes, and only those of what is shown.
            let text = part_text(part).unwrap_or_default();
            body.extend_from_slice(split(text.as_bytes()).0);
            let (_, bytes) = split(&part.bytes);
            if shown && !bytes.is_empty() {
                (patch, flowed) = (true, part.flowed);
                body.extend_from_slice(bytes);
            }
        }
        if !body.ends_with(b"\n") {
            body.push(b'\n');
        }
        if shown && place != Place::Text {
            break;
        }
    }
    let flowed = match flowed {
        None => "",
        Some(false) => "; format=flowed",
        Some(true) => "; format=flowed; delsp=yes",
    };
    let kind = format!("charset=\"utf-8\"{flowed}");
    finish(fields(mail, |_| true), &kind, &body)
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

/// Those fields of a mail that become part of a commit, as they stand there.
fn fields(mail: &[u8], wanted: impl Fn(&str) -> bool) -> Vec<u8> {
    let (mail, _) = header::to_lf(mail);
    let (head, _) = header::split(&mail);
    let mut out = Vec::new();
    for field in header::fields(head) {
        if FIELDS.iter().any(|name| field.is(name) && wanted(name)) {
            out.extend_from_slice(field.whole);
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
    use crate::mail;

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
