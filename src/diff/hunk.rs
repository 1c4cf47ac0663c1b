//! One hunk of a text diff: `@@ -1,4 +1,5 @@` and the lines below it.

/// A run of lines that change, with context around them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hunk<'a> {
    /// First line before, from 1; 0 for "nothing before".
    pub old_start: usize,
    /// Lines before.
    pub old_lines: usize,
    /// First line after.
    pub new_start: usize,
    /// Lines after.
    pub new_lines: usize,
    /// Context lines before the first change.
    pub leading: usize,
    /// Context lines after the last change.
    pub trailing: usize,
    /// Lines that are added.
    pub added: usize,
    /// Lines that are removed.
    pub removed: usize,
    /// Which line of the patch text it begins at, from 1.
    pub line: usize,
    text: &'a [u8],
}

/// One line of a hunk. The text has its line end, unless the file ends there without one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line<'a> {
    /// Stays.
    Context(&'a [u8]),
    /// Goes.
    Removed(&'a [u8]),
    /// Comes.
    Added(&'a [u8]),
}

/// Where the line that `text` begins with ends; its line end belongs to it.
pub(super) fn line_length(text: &[u8]) -> usize {
    memchr::memchr(b'\n', text).map_or(text.len(), |at| at + 1)
}

/// Numbers of a `@@` line: old start and lines, new start and lines.
pub(super) fn read_header(line: &[u8]) -> Option<[usize; 4]> {
    let rest = line.strip_prefix(b"@@ -")?;
    line.strip_suffix(b"\n")?;
    let (old_start, old_lines, rest) = read_range(rest)?;
    let (new_start, new_lines, rest) = read_range(rest.strip_prefix(b" +")?)?;
    rest.starts_with(b" @@")
        .then_some([old_start, old_lines, new_start, new_lines])
}

fn read_range(text: &[u8]) -> Option<(usize, usize, &[u8])> {
    let (start, rest) = read_number(text)?;
    match rest.strip_prefix(b",") {
        Some(rest) => read_number(rest).map(|(count, rest)| (start, count, rest)),
        None => Some((start, 1, rest)),
    }
}

fn read_number(text: &[u8]) -> Option<(usize, &[u8])> {
    let digits = text.iter().take_while(|b| b.is_ascii_digit()).count();
    // Nine digits are more lines than any file that is taken has.
    if digits > 9 {
        return None;
    }
    let number = std::str::from_utf8(&text[..digits]).ok()?.parse().ok()?;
    Some((number, &text[digits..]))
}

impl<'a> Hunk<'a> {
    /// Reads the hunk that `text` begins with; returns it with its length in bytes. `None` if its lines are not what its header says.
    pub(super) fn read(text: &'a [u8], line: usize) -> Option<(Hunk<'a>, usize)> {
        let head = line_length(text);
        let [old_start, old_lines, new_start, new_lines] = read_header(&text[..head])?;
        let mut hunk = Hunk {
            old_start,
            old_lines,
            new_start,
            new_lines,
            leading: 0,
            trailing: 0,
            added: 0,
            removed: 0,
            line,
            text: &[],
        };
        let length = hunk.count(&text[head..])?;
        let mut end = head + length;
        // Of an incomplete last line, the loop has not seen the remark.
        if text[end..].starts_with(b"\\ ") && text.len() - end > 12 {
            end += line_length(&text[end..]);
        }
        hunk.text = &text[head..end];
        Some((hunk, end))
    }

    fn count(&mut self, text: &[u8]) -> Option<usize> {
        let (mut old, mut new) = (self.old_lines, self.new_lines);
        let mut at = 0;
        while (old > 0 || new > 0) && at < text.len() {
            let line = &text[at..at + line_length(&text[at..])];
            line.strip_suffix(b"\n")?;
            match line[0] {
                // GNU diff may write an empty context line without its blank.
                b' ' | b'\n' => {
                    old = old.checked_sub(1)?;
                    new = new.checked_sub(1)?;
                    if self.added == 0 && self.removed == 0 {
                        self.leading += 1;
                    }
                    self.trailing += 1;
                }
                b'-' => {
                    old = old.checked_sub(1)?;
                    self.removed += 1;
                    self.trailing = 0;
                }
                b'+' => {
                    new = new.checked_sub(1)?;
                    self.added += 1;
                    self.trailing = 0;
                }
                // "\ No newline at end of file" in any language is at least that long.
                b'\\' if line.len() >= 12 && line.starts_with(b"\\ ") => {}
                _ => return None,
            }
            at += line.len();
        }
        let complete = old == 0 && new == 0 && (self.added > 0 || self.removed > 0);
        complete.then_some(at)
    }

    /// The lines in order.
    pub fn lines(&self) -> impl Iterator<Item = Line<'a>> + use<'a> {
        let mut rest = self.text;
        std::iter::from_fn(move || {
            loop {
                if rest.is_empty() {
                    return None;
                }
                let (line, after) = rest.split_at(line_length(rest));
                rest = after;
                let incomplete = rest.first() == Some(&b'\\');
                let content = |from: usize| {
                    let text = &line[from..];
                    if incomplete {
                        text.strip_suffix(b"\n").unwrap_or(text)
                    } else {
                        text
                    }
                };
                return Some(match line[0] {
                    b'\n' if incomplete => continue,
                    b'\n' => Line::Context(line),
                    b' ' => Line::Context(content(1)),
                    b'-' => Line::Removed(content(1)),
                    b'+' => Line::Added(content(1)),
                    _ => continue,
                });
            }
        })
    }

    /// The text before: context and what goes.
    pub fn before(&self) -> Vec<&'a [u8]> {
        let pick = |line| match line {
            Line::Context(text) | Line::Removed(text) => Some(text),
            Line::Added(_) => None,
        };
        self.lines().filter_map(pick).collect()
    }

    /// The text after: context and what comes.
    pub fn after(&self) -> Vec<&'a [u8]> {
        let pick = |line| match line {
            Line::Context(text) | Line::Added(text) => Some(text),
            Line::Removed(_) => None,
        };
        self.lines().filter_map(pick).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<&str>) {
        let read = Hunk::read(text.as_bytes(), 1);
        let shown = read.map(|(h, length)| {
            let (before, after) = (h.before().concat(), h.after().concat());
            format!(
                "{length} {:?} -> {:?} {}/{}",
                String::from_utf8_lossy(&before),
                String::from_utf8_lossy(&after),
                h.leading,
                h.trailing
            )
        });
        assert_eq!(shown.as_deref(), expected, "hunk: {text}");
    }

    #[test]
    fn lines_are_counted_as_the_header_says() {
        check(
            "@@ -1,2 +1,2 @@ f\n a\n-b\n+c\nrest\n",
            Some(r#"27 "a\nb\n" -> "a\nc\n" 1/0"#),
        );
        check("@@ -1 +1 @@\n-a\n+b\n", Some(r#"18 "a\n" -> "b\n" 0/0"#));
        check("@@ -0,0 +1 @@\n+b\n", Some(r#"17 "" -> "b\n" 0/0"#));
        check(
            "@@ -1,3 +1,2 @@\n a\n-b\n\n",
            Some(r#"23 "a\nb\n\n" -> "a\n\n" 1/1"#),
        );
    }

    #[test]
    fn files_may_end_without_a_line_end() {
        let text =
            "@@ -1 +1 @@\n-a\n\\ No newline at end of file\n+b\n\\ No newline at end of file\n";
        check(text, Some(r#"74 "a" -> "b" 0/0"#));
        check(
            "@@ -1 +1 @@\n-a\n+b\n\\ Kein Zeilenende\n-- \n",
            Some(r#"36 "a\n" -> "b" 0/0"#),
        );
    }

    #[test]
    fn wrong_counts_and_other_lines_make_no_hunk() {
        check("@@ -1,2 +1,2 @@\n a\n-b\n", None);
        check("@@ -1 +1 @@\n-a\n*b\n", None);
        check("@@ -1 +1 @@\n a\n", None);
        check("@@ -1,x +1 @@\n-a\n+b\n", None);
        check("@@ -1 +1\n-a\n+b\n", None);
        check("@@ -1 +1 @@\n-a\n\\x\n+b\n", None);
        check("@@ -9999999999 +1 @@\n-a\n+b\n", None);
        check("@@ -1 +0,0 @@\n a\n", None);
    }
}
