//! A mail's lines → its header fields, those repeated in the text, the log message and the patch.
//!
//! Works line by line as `git mailinfo` does: all leaves of the MIME tree are one text, whatever their type, because patches
//! come as attachments too; the first line that begins a patch ends the message.

use super::header::{Blank, attribute, base64, decode_words, quoted_printable, recode, value_of};
use super::text::{is_space, trim_end};
use crate::mail::flowed::{self, Flow, Paragraph, Quotes};

/// Multiparts within multiparts that are followed (git stops there with an error; deeper ones are read as text here).
const MAX_BOUNDARIES: usize = 4;

/// The three fields that become part of a commit, encoded words decoded.
#[derive(Default)]
pub(super) struct Fields {
    pub(super) from: Option<Vec<u8>>,
    pub(super) subject: Option<Vec<u8>>,
    pub(super) date: Option<Vec<u8>>,
}

impl Fields {
    fn slots(&mut self) -> [(&'static str, &mut Option<Vec<u8>>); 3] {
        [
            ("From", &mut self.from),
            ("Subject", &mut self.subject),
            ("Date", &mut self.date),
        ]
    }

    /// Takes a field line; whether it was one that is wanted (and, without `again`, not there yet).
    fn take(&mut self, line: &[u8], again: bool) -> bool {
        for (name, slot) in self.slots() {
            if let Some(value) = value_of(line, name).filter(|_| again || slot.is_none()) {
                *slot = Some(decode_words(value));
                return true;
            }
        }
        false
    }
}

/// What a mail comes apart into.
#[derive(Default)]
pub(super) struct Parts {
    /// Of the mail's header; what it lacks may come from a part's header.
    pub(super) top: Fields,
    /// Of lines at the start of the text, which win.
    pub(super) inside: Fields,
    pub(super) log: Vec<u8>,
    pub(super) patch: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq)]
enum Transfer {
    Plain,
    Base64,
    QuotedPrintable,
}

/// How far the text is read.
#[derive(Clone, Copy, PartialEq)]
enum Stage {
    /// Blank lines and in-body fields.
    Head,
    Log,
    Patch,
}

struct Reader<'a> {
    rest: &'a [u8],
    boundaries: Vec<Vec<u8>>,
    transfer: Transfer,
    charset: Vec<u8>,
    flowed: bool,
    delsp: bool,
    stage: Stage,
    /// An in-body field that may go on in the next line.
    field: Vec<u8>,
    parts: Parts,
}

/// Reads a mail whose line ends are LF.
pub(super) fn read(mail: &[u8]) -> Parts {
    let blanks = mail.iter().take_while(|b| is_space(**b)).count();
    let mut reader = Reader {
        rest: &mail[blanks..],
        boundaries: Vec::new(),
        transfer: Transfer::Plain,
        charset: Vec::new(),
        flowed: false,
        delsp: false,
        stage: Stage::Head,
        field: Vec::new(),
        parts: Parts::default(),
    };
    let first = loop {
        match reader.header_line() {
            Ok(line) => reader.take_field(&line, true),
            Err(line) => break line,
        }
    };
    reader.body(first);
    reader.parts
}

impl<'a> Reader<'a> {
    /// The next line with its LF, which the last one may lack.
    fn line(&mut self) -> Option<&'a [u8]> {
        if self.rest.is_empty() {
            return None;
        }
        let end = memchr::memchr(b'\n', self.rest).map_or(self.rest.len(), |at| at + 1);
        let (line, rest) = self.rest.split_at(end);
        self.rest = rest;
        Some(line)
    }

    /// The next field, unfolded; or the line that ends the header block.
    fn header_line(&mut self) -> Result<Vec<u8>, Vec<u8>> {
        let Some(line) = self.line() else {
            return Err(Vec::new());
        };
        let mut field = trim_end(line).to_vec();
        if field.is_empty() || !is_field(&field) {
            field.push(b'\n');
            return Err(field);
        }
        while matches!(self.rest.first(), Some(b' ' | b'\t')) {
            let Some(line) = self.line() else { break };
            // The first blank of a continuation counts as one blank, even if the line has nothing else.
            let text = trim_end(&line[1..]);
            if !text.is_empty() {
                field.push(b' ');
            }
            field.extend_from_slice(text);
        }
        Ok(field)
    }

    fn take_field(&mut self, line: &[u8], again: bool) {
        if self.parts.top.take(line, again) {
            return;
        }
        if let Some(value) = value_of(line, "Content-Type") {
            self.content_type(&decode_words(value));
        } else if let Some(value) = value_of(line, "Content-Transfer-Encoding") {
            let has = |word: &str| {
                let mut words = value.windows(word.len());
                words.any(|w| w.eq_ignore_ascii_case(word.as_bytes()))
            };
            self.transfer = if has("base64") {
                Transfer::Base64
            } else if has("quoted-printable") {
                Transfer::QuotedPrintable
            } else {
                Transfer::Plain
            };
        }
    }

    fn content_type(&mut self, value: &[u8]) {
        let is = |name: &str, wanted: &[u8]| {
            attribute(value, name).is_some_and(|v| v.eq_ignore_ascii_case(wanted))
        };
        self.flowed = is("format=", b"flowed");
        self.delsp = is("delsp=", b"yes");
        if let Some(boundary) = attribute(value, "boundary=")
            && self.boundaries.len() < MAX_BOUNDARIES
        {
            self.boundaries.push([b"--", boundary].concat());
        }
        if let Some(charset) = attribute(value, "charset=") {
            self.charset = charset.to_vec();
        }
    }

    fn at_boundary(&self, line: &[u8]) -> bool {
        self.boundaries.last().is_some_and(|b| line.starts_with(b))
    }

    /// Lines up to the next boundary are no text.
    fn find_boundary(&mut self) -> Option<&'a [u8]> {
        loop {
            let line = self.line()?;
            if self.at_boundary(line) {
                return Some(line);
            }
        }
    }

    fn body(&mut self, first: Vec<u8>) {
        let mut line = first;
        if !self.boundaries.is_empty() {
            match self.find_boundary() {
                Some(found) => line = found.to_vec(),
                None => return,
            }
        }
        let mut held = Vec::new();
        loop {
            if self.at_boundary(&line) {
                if !held.is_empty() {
                    self.text(std::mem::take(&mut held));
                }
                match self.next_part(&line) {
                    Some(next) => line = next,
                    None => return,
                }
            }
            self.decoded(&line, &mut held);
            match self.line() {
                Some(next) => line = next.to_vec(),
                None => break,
            }
        }
        if !held.is_empty() {
            self.text(held);
        }
        self.end_field();
    }

    /// From a boundary to the first line of the next part's text; `None` at the end of the mail.
    fn next_part(&mut self, boundary: &[u8]) -> Option<Vec<u8>> {
        let mut line = boundary;
        // Git puts one LF for all the multiparts that end here.
        let mut newline = b"\n".to_vec();
        while let Some(open) = self.boundaries.last()
            && line[open.len()..].starts_with(b"--")
        {
            self.boundaries.pop();
            self.text(std::mem::take(&mut newline));
            line = self.find_boundary()?;
        }
        self.transfer = Transfer::Plain;
        self.charset.clear();
        while let Ok(field) = self.header_line() {
            self.take_field(&field, false);
        }
        let mut first = self.line()?.to_vec();
        if !first.ends_with(b"\n") {
            first.push(b'\n');
        }
        Some(first)
    }

    /// Undoes the transfer encoding of one line; what has no line end yet is held.
    fn decoded(&mut self, line: &[u8], held: &mut Vec<u8>) {
        let decoded = match self.transfer {
            Transfer::Plain => return self.unflowed(line.to_vec(), held),
            Transfer::Base64 => base64(line),
            Transfer::QuotedPrintable => quoted_printable(line, Blank::Plain),
        };
        // Nothing that is held has a line end: without a new one there is nothing to pass on.
        if !decoded.contains(&b'\n') {
            held.extend_from_slice(&decoded);
            return;
        }
        let mut all = std::mem::take(held);
        all.extend_from_slice(&decoded);
        for line in all.split_inclusive(|b| *b == b'\n') {
            if line.ends_with(b"\n") {
                self.unflowed(line.to_vec(), held);
            } else {
                held.extend_from_slice(line);
            }
        }
    }

    fn unflowed(&mut self, line: Vec<u8>, held: &mut Vec<u8>) {
        match self.flowed {
            true => {
                let mut open = Paragraph::from(std::mem::take(held));
                flowed::join(&line, as_git(self.delsp), &mut open, |line| self.text(line));
                *held = open.held;
            }
            false => self.text(line),
        }
    }

    /// One line of the text, decoded.
    fn text(&mut self, line: Vec<u8>) {
        if self.stage == Stage::Head {
            if line.is_empty() || line == b"\n" {
                if !self.field.is_empty() {
                    self.end_field();
                    self.stage = Stage::Log;
                }
                return;
            }
            if self.in_body_field(&line) {
                return;
            }
            self.stage = Stage::Log;
        }
        if self.stage == Stage::Patch {
            return self.parts.patch.extend_from_slice(&line);
        }
        let recoded = recode(line, &self.charset);
        if begins_patch(&recoded) {
            self.stage = Stage::Patch;
            self.parts.patch.extend_from_slice(&recoded);
        } else {
            self.parts.log.extend_from_slice(&recoded);
        }
    }

    /// Whether a line at the start of the text is a field, or goes on with one.
    fn in_body_field(&mut self, line: &[u8]) -> bool {
        if !self.field.is_empty() && matches!(line.first(), Some(b' ' | b'\t')) {
            if self.field.ends_with(b"\n") {
                self.field.pop();
            }
            self.field.extend_from_slice(line);
            return true;
        }
        self.end_field();
        if let Some(rest) = line.strip_prefix(b">From")
            && rest.first().is_some_and(|b| is_space(*b))
        {
            return is_format_patch_line(&line[1..]);
        }
        if let Some(rest) = line.strip_prefix(b"[PATCH]")
            && rest.first().is_some_and(|b| is_space(*b))
        {
            self.parts.inside.subject = Some(line.to_vec());
            return true;
        }
        let mut slots = self.parts.inside.slots().into_iter();
        if slots.any(|(name, slot)| slot.is_none() && value_of(line, name).is_some()) {
            self.field.extend_from_slice(line);
            return true;
        }
        false
    }

    fn end_field(&mut self) {
        let field = std::mem::take(&mut self.field);
        self.parts.inside.take(&field, false);
    }
}

/// A part's bytes as its author wrote them, if it is `format=flowed` (and `delsp=yes`): as git reads them.
pub fn unflow(bytes: &[u8], delsp: bool) -> Vec<u8> {
    flowed::unflow(bytes, as_git(delsp))
}

fn as_git(delsp: bool) -> Flow {
    let quotes = Quotes::Text;
    Flow { delsp, quotes }
}

/// RFC 5322 section 3.6.8, as loosely as git takes it; `From ` lines of mboxes count.
fn is_field(line: &[u8]) -> bool {
    if line.starts_with(b"From ") || line.starts_with(b">From ") {
        return true;
    }
    let name = line.iter().take_while(|b| matches!(b, 33..=57 | 59..=126));
    line.get(name.count()) == Some(&b':')
}

/// Whether it is the first line of a file that git-format-patch(1) writes.
pub fn is_format_patch_line(line: &[u8]) -> bool {
    let Some(rest) = line.strip_prefix(b"From ") else {
        return false;
    };
    let Some((id, date)) = rest.split_at_checked(40) else {
        return false;
    };
    let hex = |b: &u8| b.is_ascii_digit() || (b'a'..=b'f').contains(b);
    id.iter().all(hex) && date == b" Mon Sep 17 00:00:00 2001\n"
}

/// Whether a line, its line end included, ends the message and begins the patch. git-am(1), "DISCUSSION": `diff -`, `Index: `, or three dashes alone or before a file name.
pub fn begins_patch(line: &[u8]) -> bool {
    if line.starts_with(b"diff -") || line.starts_with(b"Index: ") {
        return true;
    }
    let Some(rest) = line.strip_prefix(b"---").filter(|r| !r.is_empty()) else {
        return false;
    };
    if let [b' ', name, ..] = rest
        && !is_space(*name)
    {
        return true;
    }
    let blanks = rest.iter().take_while(|b| is_space(**b)).count();
    rest[..blanks].contains(&b'\n')
}
