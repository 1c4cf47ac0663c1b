//! Header fields as `git mailinfo` reads them: encoded words, author, subject.

use super::text::{is_space, single_blanks, trim};
use crate::mail::charset;

/// The value of a field line, if it is the field `name` (any case): behind the colon and blanks.
pub(super) fn value_of<'a>(line: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let (head, rest) = line.split_at_checked(name.len())?;
    let value = rest.strip_prefix(b":")?;
    let blanks = value.iter().take_while(|b| is_space(**b)).count();
    head.eq_ignore_ascii_case(name.as_bytes())
        .then(|| &value[blanks..])
}

/// The value of an attribute like `charset=`, wherever it stands in a field's value; quotes taken off.
pub(super) fn attribute<'a>(value: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let at = value
        .windows(name.len())
        .position(|w| w.eq_ignore_ascii_case(name.as_bytes()))?;
    let rest = &value[at + name.len()..];
    let (rest, ends): (&[u8], &[u8]) = match rest.strip_prefix(b"\"") {
        Some(quoted) => (quoted, b"\""),
        None => (rest, b"; \t"),
    };
    let end = rest.iter().position(|b| ends.contains(b));
    Some(&rest[..end.unwrap_or(rest.len())])
}

/// Text in a charset → UTF-8; what does not fit its label stays as it is, to be judged when the commit is made.
pub fn recode(bytes: Vec<u8>, label: &[u8]) -> Vec<u8> {
    if bytes.is_ascii()
        && !bytes.contains(&0x1b)
        && !label.to_ascii_lowercase().starts_with(b"utf-")
    {
        return bytes;
    }
    let label = String::from_utf8_lossy(label);
    charset::decode(&label, &bytes).map_or(bytes, String::into_bytes)
}

/// RFC 2047 encoded words → UTF-8. A broken one leaves the whole value as it was.
pub(super) fn decode_words(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len());
    let mut rest = value;
    while let Some(at) = memchr::memmem::find(rest, b"=?") {
        let before = &rest[..at];
        // RFC 2047 section 6.2: white space between two encoded words is no part of the text.
        if rest.len() == value.len() || before.iter().any(|b| !is_space(*b)) {
            out.extend_from_slice(before);
        }
        let Some((word, after)) = decode_word(&rest[at + 2..]) else {
            return value.to_vec();
        };
        out.extend_from_slice(&word);
        rest = after;
    }
    out.extend_from_slice(rest);
    out
}

/// One encoded word, given from behind its `=?`; with what follows it.
fn decode_word(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mark = memchr::memchr(b'?', text)?;
    let (encoding, rest) = text[mark + 1..].split_first()?;
    let rest = rest.strip_prefix(b"?")?;
    let end = memchr::memmem::find(rest, b"?=")?;
    let decoded = match encoding.to_ascii_lowercase() {
        b'b' => base64(&rest[..end]),
        b'q' => quoted_printable(&rest[..end], Blank::Underscore),
        _ => return None,
    };
    Some((recode(decoded, &text[..mark]), &rest[end + 2..]))
}

/// How a blank may be written in quoted-printable.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Blank {
    /// As itself: bodies, RFC 2045 section 6.7.
    Plain,
    /// As `_` too: encoded words, RFC 2047 section 4.2.
    Underscore,
}

/// Quoted-printable text → bytes; a `=` that is no code stays, one before the line end joins lines.
pub(super) fn quoted_printable(text: &[u8], blank: Blank) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        at += 1;
        match byte {
            b'=' if matches!(text.get(at), None | Some(b'\n')) => break,
            b'=' => match hex_pair(&text[at..]) {
                Some(code) => {
                    out.push(code);
                    at += 2;
                }
                None => out.push(b'='),
            },
            b'_' if blank == Blank::Underscore => out.push(b' '),
            other => out.push(*other),
        }
    }
    out
}

fn hex_pair(text: &[u8]) -> Option<u8> {
    let digit = |at: usize| char::from(*text.get(at)?).to_digit(16);
    u8::try_from(digit(0)? * 16 + digit(1)?).ok()
}

/// Base64 → bytes; whatever is not of the alphabet is passed over, a rest of less than a byte is dropped.
pub(super) fn base64(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut held) = (0u32, 0);
    for byte in text {
        let six = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => continue,
        };
        bits = (bits << 6 | u32::from(six)) & 0xfff;
        held += 6;
        if held >= 8 {
            held -= 8;
            out.push((bits >> held & 0xff) as u8);
        }
    }
    out
}

/// Author's name and address out of a From value, as git-mailinfo(1) guesses them.
pub(super) fn author(from: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let from = single_blanks(from);
    let mut text = unquoted(&from);
    let Some(mut start) = memchr::memchr(b'@', &text) else {
        return author_without_domain(&from);
    };
    while start > 0 && !is_space(text[start - 1]) {
        if text[start - 1] == b'<' {
            text[start - 1] = b' ';
            break;
        }
        start -= 1;
    }
    let ends = b" \n\t\r\x0b\x0c>";
    let length = text[start..].iter().position(|b| ends.contains(b));
    let end = length.map_or(text.len(), |n| start + n);
    let email = text[start..end].to_vec();
    text.drain(start..(end + 1).min(text.len()));
    let name = single_blanks(&text);
    let name = trim(&name);
    let inner = name.strip_prefix(b"(").and_then(|n| n.strip_suffix(b")"));
    (sane_name(inner.unwrap_or(name), &email), email)
}

/// `John Doe <johndoe>`: nothing with an `@`.
fn author_without_domain(from: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let found = memchr::memchr(b'<', from).and_then(|open| {
        let close = memchr::memchr(b'>', &from[open..])?;
        Some((&from[..open], &from[open + 1..open + close]))
    });
    found.map_or_else(Default::default, |(name, email)| {
        (sane_name(trim(name), email), email.to_vec())
    })
}

/// The address stands for a name that is none: empty, longer than 60 bytes, or with an address in it.
fn sane_name(name: &[u8], email: &[u8]) -> Vec<u8> {
    let odd = name.is_empty() || name.len() > 60 || name.iter().any(|b| b"@<>".contains(b));
    if odd { email } else { name }.to_vec()
}

/// Quotes and backslashes undone, comments kept with their parentheses (RFC 5322 sections 3.2.1, 3.2.2, 3.2.4).
fn unquoted(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let (mut quoted, mut depth, mut literal) = (false, 0usize, false);
    for byte in text {
        let inside = quoted || depth > 0;
        if literal || !(inside || matches!(byte, b'"' | b'(')) {
            literal = false;
            out.push(*byte);
            continue;
        }
        match byte {
            b'\\' => literal = true,
            b'"' if quoted => quoted = false,
            b'"' if depth == 0 => quoted = true,
            b'(' if !quoted => {
                depth += 1;
                out.push(b'(');
            }
            b')' if !quoted => {
                depth -= 1;
                out.push(b')');
            }
            other => out.push(*other),
        }
    }
    out
}

/// The subject without leading `Re:`, colons, blanks and brackets, runs of white space as one blank.
pub(super) fn clean_subject(subject: &[u8]) -> Vec<u8> {
    let mut rest = subject;
    loop {
        rest = match rest {
            [b'r' | b'R', b'e' | b'E', b':', _, ..] => &rest[3..],
            [b' ' | b'\t' | b':', after @ ..] => after,
            [b'[', ..] => match memchr::memchr(b']', rest) {
                Some(close) => &rest[close + 1..],
                None => break,
            },
            _ => break,
        };
    }
    single_blanks(trim(rest))
}
