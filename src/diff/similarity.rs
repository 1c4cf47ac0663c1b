//! How alike two contents are, by git's measure for renames (`diffcore-delta.c`): both are cut into lines of at most 64 bytes,
//! and the bytes of equal pieces are counted.

/// The score of equal contents.
pub const MAX_SCORE: u64 = 60_000;
/// Half alike: what makes a rename.
pub const RENAME_SCORE: u64 = MAX_SCORE / 2;

const PIECE: u32 = 64;
const HASH_BASE: u32 = 107_927;

/// So many uncounted pieces at most are held while a content is cut.
const UNCOUNTED: usize = 1 << 18;

/// A content's pieces: (hash, bytes) by hash, each hash once; at most 107,927 of them.
#[derive(Debug, Clone)]
pub struct Pieces {
    counts: Vec<(u32, u32)>,
    size: u64,
}

/// Whether git takes a content for binary: a NUL within its first 8,000 bytes.
pub fn is_binary(content: &[u8]) -> bool {
    memchr::memchr(0, &content[..content.len().min(8_000)]).is_some()
}

/// Whether contents of these sizes can be alike by `least` at all.
pub fn may_be_alike(size: u64, other: u64, least: u64) -> bool {
    other > 0 && size.max(other) * (MAX_SCORE - least) >= size.abs_diff(other) * MAX_SCORE
}

impl Pieces {
    /// Cuts a content.
    pub fn of(content: &[u8]) -> Pieces {
        let text = !is_binary(content);
        let mut counts: Vec<(u32, u32)> = Vec::new();
        let (mut first, mut second, mut length) = (0u32, 0u32, 0u32);
        let mut counted = 0;
        let mut add = |first: u32, second: u32, length: u32| {
            let hash = first.wrapping_add(second.wrapping_mul(0x61)) % HASH_BASE;
            counts.push((hash, length));
            if counts.len() - counted >= UNCOUNTED {
                count(&mut counts);
                counted = counts.len();
            }
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
        count(&mut counts);
        counts.shrink_to_fit();
        Pieces {
            counts,
            size: content.len() as u64,
        }
    }

    /// How many different pieces there are: what comparing costs.
    pub fn len(&self) -> usize {
        self.counts.len()
    }

    /// Whether the content was empty.
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// The score of going from this content to `other`: 0 to [`MAX_SCORE`]; 0 as well where sizes alone say less than `least`.
    pub fn score(&self, other: &Pieces, least: u64) -> u64 {
        if !may_be_alike(self.size, other.size, least) {
            return 0;
        }
        let mut others = other.counts.iter().peekable();
        let mut copied = 0;
        for (hash, bytes) in &self.counts {
            while others.next_if(|(h, _)| h < hash).is_some() {}
            if let Some((_, theirs)) = others.next_if(|(h, _)| h == hash) {
                copied += u64::from(*bytes.min(theirs));
            }
        }
        copied * MAX_SCORE / self.size.max(other.size)
    }
}

/// Adds up what has the same hash.
fn count(counts: &mut Vec<(u32, u32)>) {
    counts.sort_unstable_by_key(|(hash, _)| *hash);
    counts.dedup_by(|next, kept| {
        let same = next.0 == kept.0;
        if same {
            kept.1 = kept.1.saturating_add(next.1);
        }
        same
    });
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
