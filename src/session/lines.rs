//! Cutting what a client sends into command lines (RFC 5321 section 2.3.8): only CRLF ends one.
//!
//! Pure. Holds no bytes itself, so that a line without end costs no memory.

/// Longest command line that is read, without its CRLF: 512 octets, and room for the parameters of extensions
/// (RFC 5321 section 4.5.3.1.4; Postfix takes 2048).
pub const MAX_LINE: usize = 2048;
/// So much of one line may be thrown away before the client counts as hostile.
const MAX_DROPPED: usize = 1 << 20;

/// What stands at the front of the input; the number is how many octets of it are used up.
#[derive(Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// No line end yet. What is used up belongs to a line that is too long anyway.
    Partial(usize),
    /// A line, without its CRLF.
    Full(&'a [u8], usize),
    /// The end of a line that is too long; the next line is clean again.
    TooLong(usize),
    /// A line that does not end.
    Endless,
}

/// Finds lines at the front of a growing input.
#[derive(Debug, Default)]
pub struct Lines {
    dropped: usize,
}

impl Lines {
    /// Looks at `input`, which begins with what the last look left over.
    pub fn next<'a>(&mut self, input: &'a [u8]) -> Line<'a> {
        if let Some(at) = memchr::memmem::find(input, b"\r\n") {
            let long = std::mem::take(&mut self.dropped) > 0 || at > MAX_LINE;
            return if long {
                Line::TooLong(at + 2)
            } else {
                Line::Full(&input[..at], at + 2)
            };
        }
        if input.len() <= MAX_LINE + 1 {
            return Line::Partial(0);
        }
        // The last octet stays: it may be the CR of the line's end.
        let used = input.len() - 1;
        self.dropped = self.dropped.saturating_add(used);
        if self.dropped > MAX_DROPPED {
            return Line::Endless;
        }
        Line::Partial(used)
    }
}
