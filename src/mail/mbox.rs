//! mbox as streams: reads mboxrd and tolerates mboxo; writes mboxrd as public-inbox does.

use std::io::{self, BufRead, Write};

use super::header;

/// The separator line that b4 and public-inbox write.
pub const FROM_LINE: &[u8] = b"From mboxrd@z Thu Jan  1 00:00:00 1970\n";

/// The mails of an mbox, one after another, `>From ` quoting undone unless it is to stay.
pub struct Reader<R> {
    source: R,
    started: bool,
    ended: bool,
    /// `>From ` stays as it is.
    keeps_quotes: bool,
    /// Bytes read from the source so far.
    pub position: u64,
}

impl<R: BufRead> Reader<R> {
    /// Reads mails from `source`, which must be at the start of an mbox or at a `From ` line.
    pub fn new(source: R) -> Self {
        Reader {
            source,
            started: false,
            ended: false,
            keeps_quotes: false,
            position: 0,
        }
    }

    /// The same, but lines with `>From ` stay as they are, as `git am` has it.
    pub fn keeping_quotes(source: R) -> Self {
        Reader {
            keeps_quotes: true,
            ..Reader::new(source)
        }
    }

    /// The next mail without its separator line, or `None` at the end.
    pub fn next_mail(&mut self) -> io::Result<Option<Vec<u8>>> {
        if self.ended {
            return Ok(None);
        }
        let mut mail = Vec::new();
        let mut line = Vec::new();
        let mut blank = !self.started;
        let mut any = self.started;
        loop {
            line.clear();
            let read = self.source.read_until(b'\n', &mut line)?;
            self.position += read as u64;
            if read == 0 {
                self.ended = true;
                break;
            }
            if blank && is_separator(&line) {
                if !any && mail.is_empty() {
                    (any, blank) = (true, false);
                    continue;
                }
                self.started = true;
                break;
            }
            blank = matches!(line.as_slice(), b"\n" | b"\r\n");
            any = true;
            mail.extend_from_slice(match self.keeps_quotes {
                true => &line,
                false => unquoted(&line),
            });
        }
        if !any && mail.is_empty() {
            return Ok(None);
        }
        // The blank line before the next separator belongs to the mbox, not to the mail.
        if mail.ends_with(b"\n\n") {
            mail.pop();
        } else if mail.ends_with(b"\r\n\r\n") {
            mail.truncate(mail.len() - 2);
        }
        Ok(Some(mail))
    }
}

impl<R: BufRead> Iterator for Reader<R> {
    type Item = io::Result<Vec<u8>>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_mail().transpose()
    }
}

/// Whether a line begins another mail: `From sender date`. A year and a clock time must stand in it, as prose may begin with "From ".
pub(crate) fn is_separator(line: &[u8]) -> bool {
    let Some(rest) = line.strip_prefix(b"From ") else {
        return false;
    };
    let rest = rest.trim_ascii_end();
    let clock = rest
        .windows(3)
        .any(|w| w[0].is_ascii_digit() && w[1] == b':' && w[2].is_ascii_digit());
    let year = rest
        .split(|b| *b == b' ')
        .any(|w| w.len() == 4 && w.iter().all(u8::is_ascii_digit));
    clock && year
}

fn unquoted(line: &[u8]) -> &[u8] {
    let quotes = line.iter().take_while(|b| **b == b'>').count();
    if quotes > 0 && line[quotes..].starts_with(b"From ") {
        &line[1..]
    } else {
        line
    }
}

/// Writes one mail as mboxrd: separator, `>From ` quoting, a blank line behind it.
///
/// Fields that describe a mailbox rather than the mail (Status, X-Status, Lines, Bytes, Content-Length) are left out.
pub fn write(out: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    let drop = ["Status", "X-Status", "Lines", "Bytes", "Content-Length"];
    let bytes = header::without_fields(bytes, |f| drop.iter().any(|name| f.is(name)));
    let bytes = if is_separator(&bytes) {
        &bytes[memchr::memchr(b'\n', &bytes).map_or(0, |at| at + 1)..]
    } else {
        &bytes
    };
    out.write_all(FROM_LINE)?;
    for line in bytes.split_inclusive(|b| *b == b'\n') {
        let quotes = line.iter().take_while(|b| **b == b'>').count();
        if line[quotes..].starts_with(b"From ") {
            out.write_all(b">")?;
        }
        out.write_all(line)?;
    }
    if !bytes.ends_with(b"\n") {
        out.write_all(b"\n")?;
    }
    out.write_all(b"\n")
}
