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

    /// The answer to a mail that is noted and goes no further, as a refusal would bother an innocent third party.
    pub fn dropped(why: &str) -> Reply {
        Reply::new(
            250,
            "2.0.0",
            format!("Noted and dropped, not archived: {why}"),
        )
    }

    /// Whether the client may succeed later.
    pub fn is_temporary(&self) -> bool {
        (400..500).contains(&self.code)
    }

    /// Whether it is a 4xx or 5xx.
    pub fn is_error(&self) -> bool {
        self.code >= 400
    }

    /// The bytes on the wire: printable ASCII, other characters as `?`; a line that would be too long goes on in the
    /// next one, broken at a blank where there is one.
    pub fn render(&self) -> Vec<u8> {
        let enhanced = match self.enhanced {
            "" => String::new(),
            code => format!("{code} "),
        };
        let room = MAX_LINE - "250-".len() - enhanced.len() - "\r\n".len();
        let texts: Vec<String> = self.lines.iter().map(|line| printable(line)).collect();
        let lines: Vec<&str> = texts.iter().flat_map(|line| wrap(line, room)).collect();
        let mut out = String::new();
        for (at, line) in lines.iter().enumerate() {
            let mark = if at + 1 == lines.len() { ' ' } else { '-' };
            // Writing to a String cannot fail.
            let _infallible = write!(out, "{}{mark}{enhanced}{line}\r\n", self.code);
        }
        out.into_bytes()
    }
}

impl std::fmt::Display for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} {} {}",
            self.code,
            self.enhanced,
            self.lines.join(" ")
        )
    }
}

fn printable(line: &str) -> String {
    let shown = |c: char| {
        if c.is_ascii_graphic() || c == ' ' {
            c
        } else {
            '?'
        }
    };
    line.chars().map(shown).collect()
}

/// Cuts ASCII text into pieces of at most `room` octets; an empty text is one empty piece.
fn wrap(text: &str, room: usize) -> Vec<&str> {
    let (mut pieces, mut rest) = (Vec::new(), text);
    while rest.len() > room {
        let cut = rest[..room].rfind(' ').filter(|&at| at > 0).unwrap_or(room);
        pieces.push(&rest[..cut]);
        rest = rest[cut..].trim_start();
    }
    pieces.push(rest);
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(reply: &Reply, expected: &str) {
        assert_eq!(String::from_utf8_lossy(&reply.render()), expected);
    }

    #[test]
    fn one_line_with_and_without_enhanced_code() {
        check(
            &Reply::new(550, "5.1.1", "No such list"),
            "550 5.1.1 No such list\r\n",
        );
        check(&Reply::new(354, "", "Go ahead"), "354 Go ahead\r\n");
    }

    #[test]
    fn every_line_of_several_has_the_codes() {
        let lines = vec!["first".to_owned(), "second".to_owned()];
        let reply = Reply {
            code: 451,
            enhanced: "4.3.0",
            lines,
        };
        check(&reply, "451-4.3.0 first\r\n451 4.3.0 second\r\n");
    }

    #[test]
    fn a_reply_cannot_carry_line_ends_or_foreign_letters() {
        check(
            &Reply::new(550, "", "a\r\n250 b\u{e4}"),
            "550 a??250 b?\r\n",
        );
    }

    #[test]
    fn a_long_reply_is_broken_at_blanks_and_loses_no_word() {
        for text in ["word ".repeat(300), "x".repeat(2000)] {
            let rendered =
                String::from_utf8(Reply::new(550, "5.6.1", text.clone()).render()).expect("ASCII");
            assert!(
                rendered
                    .split_inclusive("\r\n")
                    .all(|l| l.len() <= MAX_LINE),
                "{rendered}"
            );
            let said: String = rendered.lines().map(|l| &l["550 5.6.1 ".len()..]).collect();
            assert_eq!(said.replace(' ', ""), text.replace(' ', ""));
        }
    }
}
