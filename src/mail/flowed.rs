//! `format=flowed` (RFC 3676): lines that end in a blank go on in the next one, and a blank before a line was put there.
//!
//! Who shows a text knows the marks of quotes, each depth of which has paragraphs of its own. git does not, and what becomes a commit has to be
//! what git reads, bit by bit: where a paragraph ends without an end of a line, git adds none.

/// What the marks of quotes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quotes {
    /// Text, as for git-mailinfo(1).
    Text,
    /// Marks (RFC 3676 section 4.5): a paragraph goes on in its own depth only, a line of blanks is empty, and every line has an end.
    Marks,
}

/// How lines are joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flow {
    /// `DelSp=yes`: the blank at the end goes.
    pub delsp: bool,
    /// What the marks of quotes are.
    pub quotes: Quotes,
}

/// The paragraph that goes on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Paragraph {
    /// What it holds so far; empty: there is none.
    pub held: Vec<u8>,
    depth: usize,
}

impl From<Vec<u8>> for Paragraph {
    fn from(held: Vec<u8>) -> Paragraph {
        Paragraph { held, depth: 0 }
    }
}

/// Takes the next line, which may have an end, and gives those that are whole.
pub fn join(line: &[u8], flow: Flow, open: &mut Paragraph, mut out: impl FnMut(Vec<u8>)) {
    let marks = flow.quotes == Quotes::Marks;
    let (body, end) = parted(line);
    let end = if marks { b"\n" } else { end };
    let quoted = body.iter().take_while(|b| **b == b'>').count();
    let depth = if marks { quoted } else { 0 };
    let (mark, rest) = body.split_at(depth);
    let text = rest.strip_prefix(b" ").unwrap_or(rest);
    // Section 4.3; git knows it by how the line begins.
    let signature = if marks { text } else { body } == b"-- ";
    if !open.held.is_empty() && (signature || depth != open.depth) {
        if marks {
            open.held.extend_from_slice(end);
        }
        out(std::mem::take(&mut open.held));
    }
    open.depth = depth;
    if open.held.is_empty() && depth > 0 {
        open.held.extend_from_slice(mark);
        open.held.push(b' ');
    }
    let text = if signature { b"-- " } else { text };
    let flows = !signature && text.ends_with(b" ") && !(marks && is_blank(text));
    let kept = match flows && flow.delsp {
        true => &text[..text.len() - 1],
        false => text,
    };
    open.held.extend_from_slice(kept);
    if !flows {
        open.held.extend_from_slice(end);
        out(std::mem::take(&mut open.held));
    }
}

/// A text with its paragraphs whole.
pub fn unflow(text: &[u8], flow: Flow) -> Vec<u8> {
    let (mut out, mut open) = (Vec::with_capacity(text.len()), Paragraph::default());
    for line in text.split_inclusive(|b| *b == b'\n') {
        join(line, flow, &mut open, |line| out.extend(line));
    }
    if flow.quotes == Quotes::Marks && !open.held.is_empty() {
        open.held.push(b'\n');
    }
    out.extend(open.held);
    out
}

/// A line and its end, LF or CRLF, which it may lack.
fn parted(line: &[u8]) -> (&[u8], &[u8]) {
    let Some(body) = line.strip_suffix(b"\n") else {
        return (line, b"");
    };
    let body = body.strip_suffix(b"\r").unwrap_or(body);
    (body, &line[body.len()..])
}

fn is_blank(text: &[u8]) -> bool {
    match std::str::from_utf8(text) {
        Ok(text) => text.trim().is_empty(),
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, delsp: bool, git: &str, shown: &str) {
        for (quotes, expected) in [(Quotes::Text, git), (Quotes::Marks, shown)] {
            let read = unflow(text.as_bytes(), Flow { delsp, quotes });
            let read = String::from_utf8(read).expect("text");
            assert_eq!(read, expected, "{text:?}, {quotes:?}");
        }
    }

    #[test]
    fn what_git_reads_and_what_is_shown() {
        let both = |text: &str, delsp, expected: &str| check(text, delsp, expected, expected);
        both(
            "It goes \non and \non.\nNext\n",
            false,
            "It goes on and on.\nNext\n",
        );
        both("It go \nes on.\n", true, "It goes on.\n");
        both("  indented\n >no quote\n", false, " indented\n>no quote\n");
        both("", false, "");
        both("\n\na\n", true, "\n\na\n");
        // The end of the last line, and of a paragraph that ends without one.
        check("ends open ", false, "ends open ", "ends open \n");
        check("no end", false, "no end", "no end\n");
        check("a \nb\r\nc\r\n", false, "a b\r\nc\r\n", "a b\nc\n");
        check("a \n-- \n c \n", false, "a -- \nc ", "a \n-- \nc \n");
        // Marks of quotes.
        check(
            "> He said \n> that.\n>> Deeper \n> Not the same.\nNo.\n",
            false,
            "> He said > that.\n>> Deeper > Not the same.\nNo.\n",
            "> He said that.\n>> Deeper \n> Not the same.\nNo.\n",
        );
        check("> -- \n> Ben\n", false, "> -- > Ben\n", "> -- \n> Ben\n");
        check(
            "> +a\n>  \n> +b\n",
            false,
            "> +a\n>  > +b\n",
            "> +a\n>  \n> +b\n",
        );
        // A signature that has a blank put before it.
        check(" -- \nAna\n", false, "-- Ana\n", "-- \nAna\n");
    }
}
