//! Replies: code, enhanced code, one plain sentence (RFC 5321 section 4.2, RFC 2034).

use std::fmt::Write;

/// What a server says to a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// `250`, `451`, `550` …
    pub code: u16,
    /// `5.7.1`; empty where none belongs (greeting, EHLO, 354).
    pub enhanced: &'static str,
    /// One line each; plain words, no internals.
    pub lines: Vec<String>,
}

/// A reply line has at most 512 octets with its line end (RFC 5321 section 4.5.3.1.5).
const MAX_LINE: usize = 512;

impl Reply {
    /// A reply of one line.
    pub fn new(code: u16, enhanced: &'static str, text: impl Into<String>) -> Reply {
        Reply {
            code,
            enhanced,
            lines: vec![text.into()],
        }
    }

    /// Whether the client may succeed later.
    pub fn is_temporary(&self) -> bool {
        (400..500).contains(&self.code)
    }

    /// Whether it is a 4xx or 5xx.
    pub fn is_error(&self) -> bool {
        self.code >= 400
    }

    /// The bytes on the wire.
    pub fn render(&self) -> Vec<u8> {
        let mut out = String::new();
        for (at, line) in self.lines.iter().enumerate() {
            let mark = if at + 1 == self.lines.len() { ' ' } else { '-' };
            let start = out.len();
            // Writing to a String cannot fail.
            let _infallible = write!(out, "{}{mark}", self.code);
            if !self.enhanced.is_empty() {
                let _infallible = write!(out, "{} ", self.enhanced);
            }
            out.extend(line.chars().map(|c| {
                if c.is_ascii_graphic() || c == ' ' {
                    c
                } else {
                    '?'
                }
            }));
            out.truncate(start + (out.len() - start).min(MAX_LINE - 2));
            out.push_str("\r\n");
        }
        out.into_bytes()
    }
}
