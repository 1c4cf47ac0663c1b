//! How deep the parser crate is let into mails within mails.
//!
//! Pure. The crate hands out nested mails as a tree that it copies and drops by recursion: a mail of 10 MB can nest
//! 300,000 deep, and where the stack ends so does the whole process. So the words are counted without which nothing
//! nests, and mails within that come encoded, whose words nobody sees, are kept from it: the caller decodes those itself.

use std::borrow::Cow;
use std::ops::Range;

/// Without one of these in a type no part is a mail (RFC 2046 sections 5.1.5 and 5.2.1, RFC 6532 section 3.7).
const WORDS: [&[u8]; 3] = [b"rfc822", b"global", b"digest"];
/// A stack of a megabyte holds several times as many; a digest or a bounce has some hundred.
const MAX_WORDS: usize = 1_000;
/// What the first letter of such a word becomes.
const MASK: u8 = b'~';

/// A mail as the parser may see it, byte for byte as long as `bytes`; `None` if it could nest too deeply.
///
/// In header blocks of parts that are encoded, the types of mails are masked (see [`unmask`]): such parts come out as files.
pub fn tame(bytes: &[u8]) -> Option<Cow<'_, [u8]>> {
    let lower = bytes.to_ascii_lowercase();
    let found: Vec<usize> = WORDS
        .iter()
        .flat_map(|word| memchr::memmem::find_iter(&lower, word))
        .collect();
    if found.is_empty() {
        return Some(Cow::Borrowed(bytes));
    }
    if found.len() > MAX_WORDS {
        return None;
    }
    let digest = memchr::memmem::find(&lower, b"digest").is_some();
    let mut tamed = Cow::Borrowed(bytes);
    for block in blocks(&lower) {
        let holds = |word: &[u8]| memchr::memmem::find(&lower[block.clone()], word);
        let Some(encoding) = holds(b"base64").or_else(|| holds(b"quoted-printable")) else {
            continue;
        };
        for at in found.iter().filter(|at| block.contains(at)) {
            tamed.to_mut()[*at] = MASK;
        }
        // In a digest a part without a type is a mail.
        if digest
            && holds(b"content-type").is_none()
            && holds(b"content-transfer-encoding").is_some()
        {
            tamed.to_mut()[block.start + encoding] = MASK;
        }
    }
    Some(tamed)
}

/// A type or name as it was before [`tame`].
pub fn unmask(text: &str) -> Cow<'_, str> {
    if !text.contains('~') {
        return Cow::Borrowed(text);
    }
    let whole = text
        .replace("~fc822", "rfc822")
        .replace("~lobal", "global")
        .replace("~igest", "digest");
    Cow::Owned(whole)
}

/// Runs of lines that are not blank. What the parser takes for one header block is never cut here.
fn blocks(bytes: &[u8]) -> Vec<Range<usize>> {
    let (mut blocks, mut start, mut at) = (Vec::new(), 0, 0);
    for line in bytes.split_inclusive(|b| *b == b'\n') {
        if matches!(line, b"\n" | b"\r\n") {
            blocks.push(start..at);
            start = at + line.len();
        }
        at += line.len();
    }
    blocks.push(start..at);
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(mail: &str, expected: &str) {
        let tamed = tame(mail.as_bytes()).expect("not too deep");
        assert_eq!(String::from_utf8_lossy(&tamed), expected);
        assert_eq!(unmask(expected), mail);
    }

    #[test]
    fn encoded_mails_within_are_masked_and_others_are_not() {
        let plain = "Content-Type: message/rfc822\n\nSubject: a digest\n\nx\n";
        check(plain, plain);
        check(
            "A: b\n\n--b\nContent-Type: message/rfc822\r\nContent-Transfer-Encoding: Base64\n\nrfc822\n",
            "A: b\n\n--b\nContent-Type: message/~fc822\r\nContent-Transfer-Encoding: Base64\n\nrfc822\n",
        );
        let digest =
            "Content-Type: multipart/digest\n\n--b\nContent-Transfer-Encoding: base64\n\nx\n";
        let tamed = tame(digest.as_bytes()).expect("not too deep");
        assert_eq!(
            String::from_utf8_lossy(&tamed),
            digest.replace("base64", "~ase64")
        );
    }

    #[test]
    fn too_many_words_are_too_deep() {
        let mail = |count| "Content-Type: message/global\n\n".repeat(count);
        assert!(tame(mail(MAX_WORDS).as_bytes()).is_some());
        assert!(tame(mail(MAX_WORDS + 1).as_bytes()).is_none());
    }
}
