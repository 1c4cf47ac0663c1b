//! The id of a patch's content: the same for two mails, or a mail and a commit, that make the same change.
//!
//! Equal to `git patch-id --stable` (git-patch-id(1)): white space, line numbers, hunk headings and the order of files do not
//! count. It is what `prerequisite-patch-id:` trailers (git-format-patch(1), "BASE TREE INFORMATION") name.

use std::fmt;
use std::str::FromStr;

use sha1::{Digest, Sha1};

/// 20 bytes, written as 40 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PatchId(pub [u8; 20]);

impl fmt::Display for PatchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for PatchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for PatchId {
    type Err = data_encoding::DecodeError;

    /// Reads 40 hexadecimal digits of either case.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes = data_encoding::HEXLOWER_PERMISSIVE.decode(text.as_bytes())?;
        let kind = data_encoding::DecodeKind::Length;
        let position = bytes.len();
        let wrong = |_| data_encoding::DecodeError { position, kind };
        bytes.try_into().map(PatchId).map_err(wrong)
    }
}

/// The id of the first patch in a text (a mail's patch part, or one commit of `git log -p`); `None` if there is no `diff` line.
pub fn patch_id(text: &[u8]) -> Option<PatchId> {
    let mut reader = Reader::default();
    for line in text.split_inclusive(|b| *b == b'\n') {
        if !reader.take(line) {
            break;
        }
    }
    reader.flush();
    reader.any.then_some(PatchId(reader.sum))
}

/// Where a line stands.
#[derive(Default, Clone, Copy, PartialEq)]
enum Place {
    /// Before the first `@@` of a file.
    #[default]
    Header,
    /// In a file's hunks: lines that are still to come on both sides.
    Hunks { before: i64, after: i64 },
    /// In binary data, which the blob ids stand for.
    Binary,
}

#[derive(Default)]
struct Reader {
    hash: Sha1,
    sum: [u8; 20],
    any: bool,
    place: Place,
    /// The `index` line's two ids.
    blobs: (Vec<u8>, Vec<u8>),
}

impl Reader {
    /// Takes the next line; `false` at the end of the patch.
    fn take(&mut self, line: &[u8]) -> bool {
        // "\ No newline at end of file", in any language.
        if line.starts_with(b"\\ ") && line.len() > 12 {
            return true;
        }
        if names_commit(line) {
            // Of the text before a patch nothing counts; behind it another commit's begins.
            return !self.any;
        }
        if !self.any && !line.starts_with(b"diff ") {
            return true;
        }
        match self.place {
            // In patches whose blanks were damaged the counts run below zero, and git then looks for a header again.
            Place::Header | Place::Hunks { before: -1, .. } => return self.header_line(line),
            Place::Binary => {
                if line.starts_with(b"diff ") {
                    self.place = Place::Header;
                }
                return true;
            }
            Place::Hunks {
                before: 0,
                after: 0,
            } => {
                if line.starts_with(b"@@ -") {
                    let (before, after) = hunk_sizes(line).unwrap_or((0, 0));
                    self.place = Place::Hunks { before, after };
                    return true;
                }
                if !line.starts_with(b"diff ") {
                    return false;
                }
                self.flush();
                self.place = Place::Header;
            }
            Place::Hunks { before, after } => {
                let (old, new) = match line.first() {
                    Some(b'-') => (1, 0),
                    Some(b'+') => (0, 1),
                    Some(b' ') => (1, 1),
                    _ => (0, 0),
                };
                self.place = Place::Hunks {
                    before: before - old,
                    after: after - new,
                };
            }
        }
        self.count(line);
        true
    }

    fn header_line(&mut self, line: &[u8]) -> bool {
        if line.starts_with(b"GIT binary patch") || line.starts_with(b"Binary files") {
            self.place = Place::Binary;
            self.hash.update(&self.blobs.0);
            self.hash.update(&self.blobs.1);
            self.flush();
            return true;
        }
        if let Some(rest) = line.strip_prefix(b"index ") {
            if let Some(at) = memchr::memmem::find(rest, b"..") {
                let second = &rest[at + 2..];
                let end = memchr::memchr2(b' ', b'\n', second).unwrap_or(second.len());
                self.blobs = (rest[..at].to_vec(), second[..end].to_vec());
            }
            return true;
        }
        if line.starts_with(b"--- ") {
            // This line and the `+++` one take the place of a first hunk.
            self.place = Place::Hunks {
                before: 0,
                after: 1,
            };
        } else if !line.first().is_some_and(u8::is_ascii_alphabetic) {
            return false;
        }
        self.count(line);
        true
    }

    fn count(&mut self, line: &[u8]) {
        let white = |b: &u8| matches!(b, b' ' | b'\t' | b'\n' | b'\r');
        let text: Vec<u8> = line.iter().copied().filter(|b| !white(b)).collect();
        self.any |= !text.is_empty();
        self.hash.update(&text);
    }

    /// Adds what has been hashed to the sum, as one little-endian number: that makes the order of files irrelevant.
    fn flush(&mut self) {
        let hash = std::mem::take(&mut self.hash).finalize();
        let mut carry = 0u16;
        for (sum, byte) in self.sum.iter_mut().zip(hash) {
            carry += u16::from(*sum) + u16::from(byte);
            *sum = carry.to_le_bytes()[0];
            carry >>= 8;
        }
    }
}

/// `commit <id>`, `From <id>` or an id alone: what stands before each patch in git's output.
fn names_commit(line: &[u8]) -> bool {
    let rest = line
        .strip_prefix(b"commit ")
        .or(line.strip_prefix(b"From "))
        .unwrap_or(line);
    rest.len() >= 40 && rest[..40].iter().all(u8::is_ascii_hexdigit)
}

/// Lines before and after of `@@ -1,2 +3,4 @@`.
fn hunk_sizes(line: &[u8]) -> Option<(i64, i64)> {
    let side = |text: &[u8]| -> Option<i64> {
        match text.iter().position(|b| *b == b',') {
            None => text.iter().all(u8::is_ascii_digit).then_some(1),
            Some(at) => std::str::from_utf8(&text[at + 1..]).ok()?.parse().ok(),
        }
    };
    let mut words = line.strip_prefix(b"@@ -")?.split(|b| *b == b' ');
    let (old, new) = (words.next()?, words.next()?.strip_prefix(b"+")?);
    Some((side(old)?, side(new)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "Words.\n---\n x | 2 +-\n\ndiff --git a/x b/x\nindex 1..2 100644\n--- a/x\n+++ b/x\n@@ -1,2 +1,2 @@ head\n one\n-two\n+three\n-- \n2.47\n";

    #[test]
    fn blanks_places_and_words_around_do_not_count() {
        let id = patch_id(TEXT.as_bytes());
        assert!(id.is_some());
        let other = TEXT
            .replace("@@ -1,2 +1,2 @@ head", "@@ -9,2 +8,2 @@")
            .replace("+three", "+ th\tree")
            .replace("Words.", "x");
        assert_eq!(patch_id(other.as_bytes()), id);
        assert_ne!(patch_id(TEXT.replace("three", "four").as_bytes()), id);
        assert_eq!(patch_id(b"no patch"), None);
    }

    #[test]
    fn ids_are_read_as_they_are_written() {
        let id = patch_id(TEXT.as_bytes()).expect("a patch");
        assert_eq!(id.to_string().parse(), Ok(id));
        assert!("abcd".parse::<PatchId>().is_err());
        assert!("x".repeat(40).parse::<PatchId>().is_err());
    }

    #[test]
    fn broken_hunk_heads_end_quietly() {
        for head in [
            "@@ -1,99999999999999999999 +1 @@",
            "@@ -x +y @@",
            "@@ -1",
            "@@ -1,-5 +1,-5 @@",
        ] {
            let text = TEXT.replace("@@ -1,2 +1,2 @@ head", head);
            assert!(patch_id(text.as_bytes()).is_some(), "{head}");
        }
    }
}
