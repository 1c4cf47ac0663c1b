//! The one change of a mail that a list makes: From becomes the list's, where the author's domain would have every copy refused.
//!
//! Pure. The author stays in the displayed name, in Reply-To, in X-Original-From, and in a patch as the first line of the body, by which
//! `git am` credits it. A mail that is signed by OpenPGP or S/MIME is never changed.

use super::header::{folded, phrase};
use crate::mail::header::{self, RawField};

/// Boundaries that are followed into a mail.
const MAX_DEPTH: usize = 5;
/// Octets of a quoted-printable line (RFC 2045 section 6.7).
const QP_WIDTH: usize = 72;

/// Whether a mail may be changed.
pub fn can_munge(mail: &[u8]) -> bool {
    let (block, _) = header::split(mail);
    field(block, "From").is_some() && !is_sealed(&media_type(block)) && !holds_sealed(mail)
}

/// Whether an entity of that kind is signed or encrypted (RFC 1847, RFC 8551).
fn is_sealed(kind: &str) -> bool {
    let kind = kind.split(';').next().unwrap_or(kind).trim_end();
    SEALED.contains(&kind)
}

/// Whether an entity in the mail is: others may have wrapped it into one of their own.
fn holds_sealed(mail: &[u8]) -> bool {
    let parsed = crate::mail::parse(mail);
    let mut own = parsed.parts.iter().filter(|part| part.within == 0);
    own.any(|part| is_sealed(&part.content_type))
}

/// Entities, and the parts that such entities end in.
const SEALED: [&str; 8] = [
    "multipart/signed",
    "multipart/encrypted",
    "application/pgp-signature",
    "application/pgp-encrypted",
    "application/pkcs7-signature",
    "application/x-pkcs7-signature",
    "application/pkcs7-mime",
    "application/x-pkcs7-mime",
];

/// A mail with LF line ends under the list's name: `list` is its name, `address` where it takes mail.
///
/// `author` is the decoded display name and the address out of From.
pub fn munge(mail: &[u8], list: &str, address: &str, author: (&str, &str)) -> Vec<u8> {
    let (name, mailbox) = author;
    let (block, _) = header::split(mail);
    let Some(from) = field(block, "From") else {
        return mail.to_vec();
    };
    let original = from.unfolded();
    let shown = if name.is_empty() { mailbox } else { name };
    let mut pieces = phrase(&format!("{shown} via {list}"));
    pieces.push(format!("<{address}>"));
    let mut top = folded("From", &pieces);
    let author = author_line(&original, name, mailbox);
    let reply_to = match field(block, "Reply-To") {
        Some(field) => {
            let known = field.unfolded();
            vec![
                String::from_utf8_lossy(&known).into_owned() + ",",
                author.clone(),
            ]
        }
        None => vec![author.clone()],
    };
    top += &folded("Reply-To", &reply_to);
    let mut top = top.replace("\r\n", "\n").into_bytes();
    top.extend_from_slice(b"X-Original-From:");
    top.extend_from_slice(from.value);
    if !top.ends_with(b"\n") {
        top.push(b'\n');
    }
    let replaced = |f: &RawField<'_>| f.is("From") || f.is("Reply-To") || f.is("X-Original-From");
    let rest = header::without_fields(mail, replaced);
    let rest = credit(&rest, &author);
    [top, rest].concat()
}

fn field<'a>(block: &'a [u8], name: &str) -> Option<RawField<'a>> {
    header::fields(block).find(|f| f.is(name))
}

/// The author as one line of ASCII: as written, or encoded where it was written raw.
fn author_line(original: &[u8], name: &str, mailbox: &str) -> String {
    if original.is_ascii() && !original.iter().any(u8::is_ascii_control) {
        return String::from_utf8_lossy(original).into_owned();
    }
    let mut pieces = phrase(name);
    pieces.push(format!("<{mailbox}>"));
    pieces.join(" ")
}

/// The lower-case media type with its parameters as written behind it.
fn media_type(block: &[u8]) -> String {
    let value = field(block, "Content-Type").map(|f| f.unfolded());
    let value = value.unwrap_or_else(|| b"text/plain".to_vec());
    let value = String::from_utf8_lossy(&value).into_owned();
    match value.split_once(';') {
        Some((kind, rest)) => format!("{};{rest}", kind.trim().to_lowercase()),
        None => value.trim().to_lowercase(),
    }
}

/// The mail with the author's line on top of its first text, if that is a patch without one.
fn credit(mail: &[u8], author: &str) -> Vec<u8> {
    match find_text(mail, 0) {
        Some((at, encoding)) => {
            let line = format!("From: {author}");
            let text = &mail[at..];
            let known = decoded_start(text, encoding);
            if known.starts_with(b"From: ") || !looks_like_patch(mail) {
                return mail.to_vec();
            }
            [&mail[..at], &encoded(&line, encoding), text].concat()
        }
        None => mail.to_vec(),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Plain,
    QuotedPrintable,
    Base64,
}

/// Where the first text/plain part begins in the bytes, and how it is encoded; `None` if another kind of part comes first.
fn find_text(entity: &[u8], depth: usize) -> Option<(usize, Encoding)> {
    let (block, body) = header::split(entity);
    let start = entity.len() - body.len();
    let kind = media_type(block);
    if kind.starts_with("text/plain") {
        let encoding = field(block, "Content-Transfer-Encoding").map(|f| f.unfolded());
        let encoding = encoding.unwrap_or_default().to_ascii_lowercase();
        return match encoding.as_slice() {
            b"" | b"7bit" | b"8bit" | b"binary" => Some((start, Encoding::Plain)),
            b"quoted-printable" => Some((start, Encoding::QuotedPrintable)),
            b"base64" => Some((start, Encoding::Base64)),
            _ => None,
        };
    }
    if !kind.starts_with("multipart/") || is_sealed(&kind) || depth >= MAX_DEPTH {
        return None;
    }
    let delimiter = [b"--", boundary(&kind)?.as_bytes()].concat();
    let mut at = 0;
    for line in body.split_inclusive(|b| *b == b'\n') {
        at += line.len();
        if line.trim_ascii_end() == delimiter {
            let (inner, encoding) = find_text(&body[at..], depth + 1)?;
            return Some((start + at + inner, encoding));
        }
    }
    None
}

/// `boundary=` of a media type (RFC 2046 section 5.1.1).
fn boundary(kind: &str) -> Option<String> {
    let lower = kind.to_ascii_lowercase();
    let at = lower.find("boundary=")? + "boundary=".len();
    let value = &kind[at..];
    let value = match value.strip_prefix('"') {
        Some(quoted) => quoted.split_once('"')?.0,
        None => value.split([';', ' ']).next()?,
    };
    (!value.is_empty()).then(|| value.to_owned())
}

/// The first octets of an encoded text.
fn decoded_start(text: &[u8], encoding: Encoding) -> Vec<u8> {
    let skip = text.trim_ascii_start();
    let start = &skip[..skip.len().min(16)];
    match encoding {
        Encoding::Plain | Encoding::QuotedPrintable => start.to_vec(),
        Encoding::Base64 => {
            let whole = start.len() / 4 * 4;
            data_encoding::BASE64
                .decode(&start[..whole])
                .unwrap_or_default()
        }
    }
}

/// Whether `git am` would take a mail. Encoded text counts as a patch if its subject says so and is no answer's.
fn looks_like_patch(mail: &[u8]) -> bool {
    let (block, body) = header::split(mail);
    let subject = field(block, "Subject").map(|f| f.unfolded());
    let subject = String::from_utf8_lossy(&subject.unwrap_or_default()).to_lowercase();
    let lines = |start: &str| memchr::memmem::find(body, start.as_bytes()).is_some();
    let answers = is_answer(&subject);
    subject.contains("patch") && !answers || lines("\ndiff --git ") || lines("\n+++ ")
}

/// Whether a subject (lower case) begins as that of a reply does, in the languages that mail programs speak.
fn is_answer(subject: &str) -> bool {
    let (word, _) = subject.split_once(':').unwrap_or(("", subject));
    let word = word.split_once('[').map_or(word, |(before, _)| before);
    ANSWERS.contains(&word.trim())
}

const ANSWERS: [&str; 12] = [
    "re", "aw", "sv", "vs", "antw", "odp", "ynt", "r", "rif", "res", "回复", "答复",
];

/// The line and an empty one behind it, as the part is encoded.
fn encoded(line: &str, encoding: Encoding) -> Vec<u8> {
    match encoding {
        Encoding::Plain => format!("{line}\n\n").into_bytes(),
        Encoding::QuotedPrintable => {
            let mut out = String::new();
            let mut width = 0;
            for c in line.chars() {
                let piece = match c {
                    '=' => "=3D".to_owned(),
                    c => c.to_string(),
                };
                if width + piece.len() > QP_WIDTH {
                    out.push_str("=\n");
                    width = 0;
                }
                width += piece.len();
                out.push_str(&piece);
            }
            format!("{out}\n\n").into_bytes()
        }
        // Groups of three octets need no padding, so that what follows stays as it is.
        Encoding::Base64 => {
            let blanks = (3 - (line.len() + 2) % 3) % 3;
            let text = format!("{line}{}\n\n", " ".repeat(blanks));
            let base64 = data_encoding::BASE64.encode(text.as_bytes());
            let lines = base64.as_bytes().chunks(76).map(|l| [l, b"\n"].concat());
            lines.collect::<Vec<_>>().concat()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATCH: &str = "Mend it\n\n---\ndiff --git a/f b/f\n--- a/f\n+++ b/f\n";

    fn munged(mail: &str) -> String {
        let made = munge(
            mail.as_bytes(),
            "dev",
            "dev@x.org",
            ("Ana Lima", "ana@y.org"),
        );
        String::from_utf8(made).expect("text")
    }

    #[test]
    fn the_author_stays_in_name_reply_to_original_and_body() {
        let mail = format!("Received: x\nFrom: Ana Lima\n <ana@y.org>\nSubject: s\n\n{PATCH}");
        let expected = format!(
            "From: Ana Lima via dev <dev@x.org>\nReply-To: Ana Lima <ana@y.org>\nX-Original-From: Ana Lima\n <ana@y.org>\n\
             Received: x\nSubject: s\n\nFrom: Ana Lima <ana@y.org>\n\n{PATCH}"
        );
        assert_eq!(munged(&mail), expected);
    }

    #[test]
    fn answers_still_go_where_the_author_wants_them_and_to_the_author() {
        let mail =
            "From: ana@y.org\nReply-To: team@y.org\nX-Original-From: e@z\nSubject: s\n\ntalk\n";
        let made = munged(mail);
        assert!(made.contains("Reply-To: team@y.org, ana@y.org\n"), "{made}");
        assert!(
            !made.contains("e@z") && made.ends_with("\n\ntalk\n"),
            "{made}"
        );
    }

    #[test]
    fn a_line_that_is_there_is_not_doubled_and_talk_gets_none() {
        let mail = format!("From: ana@y.org\n\nFrom: Ben <ben@y.org>\n\n{PATCH}");
        assert!(munged(&mail).ends_with(&format!("\n\nFrom: Ben <ben@y.org>\n\n{PATCH}")));
        assert!(munged("From: ana@y.org\n\ntalk\n").ends_with("\n\ntalk\n"));
    }

    #[test]
    fn an_answer_without_a_diff_gets_no_line() {
        for subject in ["Re: [PATCH] s", "AW: [PATCH] s", "Re[2]: [PATCH] s"] {
            let mail = format!("From: ana@y.org\nSubject: {subject}\n\nLooks good.\n");
            let made = munged(&mail);
            assert!(made.ends_with("\n\nLooks good.\n"), "{made}");
            let patch = format!("From: ana@y.org\nSubject: {subject}\n\n{PATCH}");
            let credited = format!("\n\nFrom: ana@y.org\n\n{PATCH}");
            assert!(munged(&patch).ends_with(&credited), "{subject}");
        }
        let cover = munged("From: ana@y.org\nSubject: [PATCH 0/2] re: s\n\nBoth.\n");
        assert!(cover.ends_with("\n\nFrom: ana@y.org\n\nBoth.\n"), "{cover}");
    }

    #[test]
    fn the_line_is_encoded_as_the_part_is() {
        let head = "From: =?utf-8?q?Ana_Lim=C3=A1?= <ana@y.org>\nSubject: [PATCH] s\nContent-Transfer-Encoding:";
        let quoted = munged(&format!("{head} quoted-printable\n\nx=3D\n"));
        assert!(
            quoted.ends_with("\n\nFrom: =3D?utf-8?q?Ana_Lim=3DC3=3DA1?=3D <ana@y.org>\n\nx=3D\n"),
            "{quoted}"
        );
        let plain = "Mend it\n";
        let base64 = data_encoding::BASE64.encode(plain.as_bytes());
        let made = munged(&format!("{head} base64\n\n{base64}\n"));
        let body = made.split_once("\n\n").expect("a body").1.replace('\n', "");
        let body = data_encoding::BASE64
            .decode(body.as_bytes())
            .expect("base64");
        let body = String::from_utf8(body).expect("text");
        assert!(
            body.starts_with("From: =?utf-8?q?Ana_Lim=C3=A1?= <ana@y.org>"),
            "{body}"
        );
        assert!(body.ends_with("\n\nMend it\n"), "{body}");
    }

    #[test]
    fn the_first_text_of_a_multipart_gets_the_line() {
        let mail = format!(
            "From: ana@y.org\nSubject: [PATCH] s\nContent-Type: Multipart/Mixed; boundary=\"B 1\"\n\npreamble\n--B 1\n\
             Content-Type: text/plain\n\n{PATCH}\n--B 1--\n"
        );
        let made = munged(&mail);
        let expected = format!("Content-Type: text/plain\n\nFrom: ana@y.org\n\n{PATCH}");
        assert!(made.contains(&expected), "{made}");
        let other = mail.replace("text/plain", "text/html");
        assert!(
            !munged(&other).contains("\n\nFrom: ana"),
            "HTML was changed"
        );
    }

    #[test]
    fn signed_and_encrypted_mails_are_not_touched() {
        for (kind, expected) in [
            ("multipart/signed; boundary=s", false),
            ("Multipart/Encrypted; boundary=s", false),
            ("multipart/mixed; boundary=s", true),
            ("text/plain", true),
        ] {
            let mail = format!("From: a@y.org\nContent-Type: {kind}\n\nx\n");
            assert_eq!(can_munge(mail.as_bytes()), expected, "{kind}");
        }
        assert!(!can_munge(b"Subject: s\n\nx\n"));
        // A list on the way put its footer around what the author signed.
        let inner = format!(
            "Content-Type: multipart/signed; protocol=\"application/pgp-signature\"; boundary=s\n\n\
             --s\nContent-Type: text/plain\n\n{PATCH}\n--s\nContent-Type: application/pgp-signature\n\nx\n--s--\n"
        );
        let mail = format!(
            "From: a@y.org\nSubject: [PATCH] s\nContent-Type: multipart/mixed; boundary=m\n\n--m\n{inner}\n--m\n\
             Content-Type: text/plain\n\nfooter\n--m--\n"
        );
        assert!(!can_munge(mail.as_bytes()));
        assert!(munged(&mail).contains(&inner), "what is signed was changed");
    }

    #[test]
    fn no_name_begins_a_field_of_its_own() {
        let names = ["Ana\r\nBcc: e@z", "Ana\nBcc: e@z", "\u{202e}x", "a\0b"];
        for name in names {
            let mail = b"From: a@y.org\nSubject: s\n\nx\n";
            let made = munge(mail, "dev", "dev@x.org", (name, "a@y.org"));
            let made = String::from_utf8_lossy(&made).to_lowercase();
            assert!(!made.contains("\nbcc:") && !made.contains('\r'), "{made}");
        }
    }
}
