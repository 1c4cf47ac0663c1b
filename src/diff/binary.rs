//! `GIT binary patch`: base 85, zlib, and git's delta format (gitformat-pack(5), "Deltified representation").

use std::io::Read;

use super::hunk::line_length;

/// The new content of a file that is not text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Binary {
    /// The content itself.
    Literal(Vec<u8>),
    /// What makes it out of the content before.
    Delta(Vec<u8>),
}

const ALPHABET: &[u8; 85] =
    b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~";

const fn values() -> [u8; 256] {
    let mut table = [255; 256];
    let mut at = 0;
    while at < ALPHABET.len() {
        table[ALPHABET[at] as usize] = at as u8;
        at += 1;
    }
    table
}

const VALUES: [u8; 256] = values();

/// Why binary data cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Neither `literal` nor `delta` begins here.
    None,
    /// Lines, base 85 or zlib are broken.
    Corrupt,
    /// It would be longer than allowed.
    TooLong,
}

impl Binary {
    /// Reads the part that `text` begins with, at most `limit` bytes of content; returns it with its length in the text.
    pub(super) fn read(text: &[u8], limit: usize) -> Result<(Binary, usize), Trouble> {
        let head = line_length(text);
        let line = &text[..head];
        let (literal, number) = if let Some(number) = line.strip_prefix(b"literal ") {
            (true, number)
        } else if let Some(number) = line.strip_prefix(b"delta ") {
            (false, number)
        } else {
            return Err(Trouble::None);
        };
        let digits = number.iter().take_while(|b| b.is_ascii_digit()).count();
        let number = std::str::from_utf8(&number[..digits]).map_err(|_| Trouble::Corrupt)?;
        let size: usize = number.parse().map_err(|_| Trouble::Corrupt)?;
        if size > limit {
            return Err(Trouble::TooLong);
        }
        let (packed, length) = read_lines(&text[head..]).ok_or(Trouble::Corrupt)?;
        let data = inflate(&packed, size).ok_or(Trouble::Corrupt)?;
        let binary = if literal {
            Binary::Literal(data)
        } else {
            Binary::Delta(data)
        };
        Ok((binary, head + length))
    }
}

/// Lines of base 85 up to an empty one.
fn read_lines(text: &[u8]) -> Option<(Vec<u8>, usize)> {
    let mut out = Vec::new();
    let mut at = 0;
    loop {
        let length = line_length(&text[at..]);
        let line = &text[at..at + length];
        at += length;
        if line == b"\n" {
            return Some((out, at));
        }
        // A byte for the count, groups of five, the line end.
        if length < 7 || !(length - 2).is_multiple_of(5) {
            return None;
        }
        let count = match line[0] {
            b'A'..=b'Z' => line[0] - b'A' + 1,
            b'a'..=b'z' => line[0] - b'a' + 27,
            _ => return None,
        };
        let count = usize::from(count);
        let most = (length - 2) / 5 * 4;
        if count > most || count + 4 <= most {
            return None;
        }
        let start = out.len();
        for group in line[1..length - 1].chunks(5) {
            let number = group.iter().try_fold(0u64, |sum, byte| {
                let value = VALUES[usize::from(*byte)];
                (value < 85).then(|| sum * 85 + u64::from(value))
            })?;
            out.extend_from_slice(&u32::try_from(number).ok()?.to_be_bytes());
        }
        out.truncate(start + count);
    }
}

/// Inflates to exactly `size` bytes; never makes more than one above it.
fn inflate(packed: &[u8], size: usize) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut reader = flate2::read::ZlibDecoder::new(packed);
    let most = u64::try_from(size).ok()? + 1;
    reader.by_ref().take(most).read_to_end(&mut out).ok()?;
    (out.len() == size).then_some(out)
}

/// Why a delta makes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadDelta {
    /// It is not for this base, or its commands are not what it says.
    Broken,
    /// It would make more than is allowed.
    TooLong,
}

/// Applies a git delta to `base`; the result has at most `limit` bytes.
pub fn apply_delta(base: &[u8], delta: &[u8], limit: usize) -> Result<Vec<u8>, BadDelta> {
    let mut rest = delta;
    let sizes = read_size(&mut rest).zip(read_size(&mut rest));
    let (source, target) = sizes.ok_or(BadDelta::Broken)?;
    if source != base.len() {
        return Err(BadDelta::Broken);
    }
    if target > limit {
        return Err(BadDelta::TooLong);
    }
    run(base, rest, target).ok_or(BadDelta::Broken)
}

/// Runs a delta's commands, which make exactly `target` bytes.
fn run(base: &[u8], mut rest: &[u8], target: usize) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(target);
    while let Some((&command, after)) = rest.split_first() {
        rest = after;
        let piece = if command & 0x80 != 0 {
            let mut argument = |bit: u8, shift: u32| {
                if command & bit == 0 {
                    return Some(0);
                }
                let (&byte, after) = rest.split_first()?;
                rest = after;
                Some(usize::from(byte) << shift)
            };
            let offset = argument(1, 0)? | argument(2, 8)? | argument(4, 16)? | argument(8, 24)?;
            let size = argument(16, 0)? | argument(32, 8)? | argument(64, 16)?;
            let size = if size == 0 { 0x10000 } else { size };
            base.get(offset..offset.checked_add(size)?)?
        } else if command == 0 {
            return None;
        } else {
            let (piece, after) = rest.split_at_checked(usize::from(command))?;
            rest = after;
            piece
        };
        if out.len() + piece.len() > target {
            return None;
        }
        out.extend_from_slice(piece);
    }
    (out.len() == target).then_some(out)
}

fn read_size(delta: &mut &[u8]) -> Option<usize> {
    let mut size = 0usize;
    for shift in (0..64).step_by(7) {
        let (&byte, after) = delta.split_first()?;
        *delta = after;
        size |= usize::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some(size);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Written by `git diff --binary` for a file of the bytes 0 to 9.
    const LITERAL: &[u8] = b"literal 10\nRcmZQzWMXDvWn<^y1ONc904@Lk\n\nrest";

    #[test]
    fn literal_data_is_read_up_to_the_empty_line() {
        let (binary, length) = Binary::read(LITERAL, 100).expect("it is fine");
        assert_eq!(binary, Binary::Literal((0..10).collect()));
        assert_eq!(&LITERAL[length..], b"rest");
    }

    #[test]
    fn sizes_that_lie_and_bombs_are_refused() {
        let with = |old: &str, new: &str| {
            String::from_utf8_lossy(LITERAL)
                .replace(old, new)
                .into_bytes()
        };
        assert_eq!(Binary::read(&with("10", "9"), 100), Err(Trouble::Corrupt));
        assert_eq!(Binary::read(&with("10", "11"), 100), Err(Trouble::Corrupt));
        assert_eq!(
            Binary::read(&with("10", "1000"), 100),
            Err(Trouble::TooLong)
        );
        assert_eq!(Binary::read(&with("10", "x"), 100), Err(Trouble::Corrupt));
        assert_eq!(
            Binary::read(&with("Rcm", "zcm"), 100),
            Err(Trouble::Corrupt)
        );
        assert_eq!(
            Binary::read(&with("\n\n", "\n"), 100),
            Err(Trouble::Corrupt)
        );
        assert_eq!(
            Binary::read(b"Binary files differ\n", 100),
            Err(Trouble::None)
        );
    }

    #[track_caller]
    fn delta(delta: &[u8], expected: Result<&[u8], BadDelta>) {
        let made = apply_delta(b"0123456789", delta, 100);
        assert_eq!(
            made.as_deref().map_err(|e| *e),
            expected,
            "delta: {delta:?}"
        );
    }

    #[test]
    fn deltas_copy_and_insert_within_their_bounds() {
        let broken = Err(BadDelta::Broken);
        delta(&[10, 5, 0x91, 7, 3, 2, b'x', b'y'], Ok(b"789xy"));
        delta(&[10, 3, 0x90, 3], Ok(b"012"));
        delta(&[9, 3, 0x90, 3], broken);
        delta(&[10, 4, 0x90, 3], broken);
        delta(&[10, 3, 0x91, 8, 3], broken);
        delta(&[10, 2, 2, b'x'], broken);
        delta(&[10, 1, 0], broken);
        delta(&[10, 0x80 | 101, 0, 1, b'x'], Err(BadDelta::TooLong));
        delta(&[10], broken);
        delta(&[0xff; 12], broken);
    }
}
