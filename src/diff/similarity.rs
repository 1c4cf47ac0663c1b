//! How alike two contents are, by git's measure for renames (`diffcore-delta.c`): both are cut into lines of at most 64 bytes,
//! and the bytes of equal pieces are counted.

use std::collections::HashMap;

/// The score of equal contents.
pub const MAX_SCORE: u64 = 60_000;
/// Half alike: what makes a rename.
pub const RENAME_SCORE: u64 = MAX_SCORE / 2;

const PIECE: u32 = 64;
const HASH_BASE: u32 = 107_927;

/// A content's pieces: hash → bytes.
#[derive(Debug, Clone)]
pub struct Pieces {
    counts: HashMap<u32, u64>,
    size: u64,
}

/// Whether git takes a content for binary: a NUL within its first 8,000 bytes.
pub fn is_binary(content: &[u8]) -> bool {
    memchr::memchr(0, &content[..content.len().min(8_000)]).is_some()
}

impl Pieces {
    /// Cuts a content.
    pub fn of(content: &[u8]) -> Pieces {
        let text = !is_binary(content);
        let mut counts = HashMap::new();
        let (mut first, mut second, mut length) = (0u32, 0u32, 0u32);
        let mut add = |first: u32, second: u32, length: u32| {
            let hash = first.wrapping_add(second.wrapping_mul(0x61)) % HASH_BASE;
            *counts.entry(hash).or_insert(0) += u64::from(length);
        };
        for (at, byte) in content.iter().enumerate() {
            if text && *byte == b'\r' && content.get(at + 1) == Some(&b'\n') {
                continue;
            }
            let old = first;
            first = (first << 7) ^ (second >> 25);
            second = (second << 7) ^ (old >> 25);
            first = first.wrapping_add(u32::from(*byte));
            length += 1;
            if length == PIECE || *byte == b'\n' {
                add(first, second, length);
                (first, second, length) = (0, 0, 0);
            }
        }
        if length > 0 {
            add(first, second, length);
        }
        Pieces {
            counts,
            size: content.len() as u64,
        }
    }

    /// The score of going from this content to `other`: 0 to [`MAX_SCORE`]; 0 as well where sizes alone say less than `least`.
    pub fn score(&self, other: &Pieces, least: u64) -> u64 {
        let most = self.size.max(other.size);
        let difference = self.size.abs_diff(other.size);
        if other.size == 0 || most * (MAX_SCORE - least) < difference * MAX_SCORE {
            return 0;
        }
        let common =
            |(hash, count): (&u32, &u64)| other.counts.get(hash).map_or(0, |c| *c.min(count));
        let copied: u64 = self.counts.iter().map(common).sum();
        copied * MAX_SCORE / most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(from: &str, to: &str, expected: u64) {
        let score = Pieces::of(from.as_bytes()).score(&Pieces::of(to.as_bytes()), RENAME_SCORE);
        assert_eq!(score * 100 / MAX_SCORE, expected, "{from:?} {to:?}");
    }

    /// The percentages are those of `git diff -M` for the same contents.
    #[test]
    fn scores_are_those_of_git() {
        check("a\nb\nc\nd\n", "a\nb\nc\nd\n", 100);
        check("a\nb\nc\nd\n", "a\nb\nc\nx\n", 75);
        check("a\nb\nc\nd\n", "d\nc\nb\na\n", 100);
        check("a\nb\nc\nd\n", "a\nb\nx\ny\n", 50);
        check("a\r\nb\r\n", "a\nb\n", 66);
        check("a\n", "", 0);
        check("a\nb\nc\nd\n", "a\n", 0);
    }
}
