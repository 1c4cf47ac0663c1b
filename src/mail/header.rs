//! Header blocks as bytes: splitting, fields, removal, line ends. Nothing is decoded here.

use std::borrow::Cow;

/// Splits a mail behind the blank line that ends its header; a mail without one is all header.
///
/// A `From ` line of an mbox at the very top counts as part of the header block.
pub fn split(bytes: &[u8]) -> (&[u8], &[u8]) {
    if bytes.starts_with(b"\n") || bytes.starts_with(b"\r\n") {
        return (&[], &bytes[line_end(bytes)..]);
    }
    let mut at = 0;
    while at < bytes.len() {
        let next = at + line_end(&bytes[at..]);
        let rest = &bytes[next..];
        if rest.starts_with(b"\n") || rest.starts_with(b"\r\n") {
            return (&bytes[..next], &rest[line_end(rest)..]);
        }
        at = next;
    }
    (bytes, &[])
}

/// Length of the first line with its line end.
fn line_end(bytes: &[u8]) -> usize {
    memchr::memchr(b'\n', bytes).map_or(bytes.len(), |at| at + 1)
}

/// A header field as it stands in the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawField<'a> {
    /// Name as written, without the colon.
    pub name: &'a [u8],
    /// Everything behind the colon, folding and last line end included.
    pub value: &'a [u8],
    /// The whole field.
    pub whole: &'a [u8],
}

impl RawField<'_> {
    /// Whether the field has this name, in any case.
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }

    /// The value with folding undone: every run of line end and blanks becomes one blank, ends trimmed.
    pub fn unfolded(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.value.len());
        for byte in self.value.trim_ascii() {
            match byte {
                b'\r' | b'\n' | b'\t' | b' ' if out.last() == Some(&b' ') => {}
                b'\r' | b'\n' | b'\t' | b' ' => out.push(b' '),
                _ => out.push(*byte),
            }
        }
        out
    }
}

/// The fields of a header block, in order; lines that are no field are passed over.
pub fn fields(header: &[u8]) -> impl Iterator<Item = RawField<'_>> {
    let mut rest = header;
    std::iter::from_fn(move || {
        while !rest.is_empty() {
            let mut end = line_end(rest);
            while matches!(rest.get(end), Some(b' ' | b'\t')) {
                end += line_end(&rest[end..]);
            }
            let (whole, after) = rest.split_at(end);
            rest = after;
            let Some(colon) = memchr::memchr(b':', whole) else {
                continue;
            };
            let name = whole[..colon].trim_ascii_end();
            // RFC 5322 section 2.2: printable ASCII but colon; an mbox `From ` line has a blank in its name.
            if !name.is_empty() && name.iter().all(|b| (33..127).contains(b)) {
                return Some(RawField {
                    name,
                    value: &whole[colon + 1..],
                    whole,
                });
            }
        }
        None
    })
}

/// The mail without the top-level fields that `drop` picks; all other bytes as they are.
pub fn without_fields(bytes: &[u8], drop: impl Fn(&RawField<'_>) -> bool) -> Vec<u8> {
    let (header, _) = split(bytes);
    let mut out = Vec::with_capacity(bytes.len());
    let mut copied = 0;
    for field in fields(header).filter(|f| drop(f)) {
        let start = field.whole.as_ptr() as usize - bytes.as_ptr() as usize;
        out.extend_from_slice(&bytes[copied..start]);
        copied = start + field.whole.len();
    }
    out.extend_from_slice(&bytes[copied..]);
    out
}

/// LF line ends, if every line ends in CRLF and no CR stands elsewhere (then `true`); else the bytes as they are.
pub fn to_lf(bytes: &[u8]) -> (Cow<'_, [u8]>, bool) {
    let lines = memchr::memchr_iter(b'\n', bytes).count();
    let pure = lines > 0
        && memchr::memchr_iter(b'\r', bytes).count() == lines
        && memchr::memchr_iter(b'\n', bytes).all(|at| at > 0 && bytes[at - 1] == b'\r');
    if !pure {
        return (Cow::Borrowed(bytes), false);
    }
    (
        Cow::Owned(bytes.iter().copied().filter(|b| *b != b'\r').collect()),
        true,
    )
}

/// CRLF line ends: the inverse of [`to_lf`]. A LF that follows a CR stays as it is.
pub fn to_crlf(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + bytes.len() / 32);
    let mut from = 0;
    for at in memchr::memchr_iter(b'\n', bytes) {
        if at == 0 || bytes[at - 1] != b'\r' {
            out.extend_from_slice(&bytes[from..at]);
            out.extend_from_slice(b"\r\n");
            from = at + 1;
        }
    }
    out.extend_from_slice(&bytes[from..]);
    out
}
