//! A patch → the text that range-diff compares: author, message and diff, without what changes with the place.
//!
//! The form is that of git-range-diff(1): `## … ##` sections, hunk headings with the file's name instead of line numbers,
//! binary data and diffstat left out.

/// The text of one patch, line by line.
pub(super) struct Reduced {
    pub(super) text: Vec<u8>,
    /// Where the diff begins in the text.
    pub(super) diff: usize,
    /// Lines of the diff, as git counts them for the price of a new patch.
    pub(super) size: i64,
}

impl Reduced {
    pub(super) fn diff(&self) -> &[u8] {
        &self.text[self.diff..]
    }

    fn line(&mut self, pieces: &[&[u8]]) {
        for piece in pieces {
            self.text.extend_from_slice(piece);
        }
        self.text.push(b'\n');
        self.size += 1;
    }
}

/// Makes the text out of author (`Name <address>`), commit message and patch text.
pub(super) fn reduce(author: &str, message: &str, patch: &[u8]) -> Reduced {
    let mut text = format!(" ## Metadata ##\nAuthor: {author}\n\n ## Commit message ##\n");
    for line in message.trim_end().lines() {
        let line = expand_tabs(line.trim_end());
        if !line.is_empty() {
            text.push_str("    ");
        }
        text.push_str(&line);
        text.push('\n');
    }
    let mut reduced = Reduced {
        text: text.into_bytes(),
        diff: 0,
        size: 0,
    };
    let lines: Vec<&[u8]> = patch
        .split_inclusive(|b| *b == b'\n')
        .map(|l| l.strip_suffix(b"\n").unwrap_or(l))
        .collect();
    let mut at = 0;
    while at < lines.len() {
        at += match Header::read(&lines[at..]) {
            Some((header, length)) => {
                let body = header.write(&mut reduced, &lines[at + length..]);
                length + body
            }
            None => 1,
        };
    }
    reduced
}

/// `git log` shows messages with tabs as blanks, eight columns each.
fn expand_tabs(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut column = 0;
    for c in line.chars() {
        if c == '\t' {
            let blanks = 8 - column % 8;
            out.extend(std::iter::repeat_n(' ', blanks));
            column += blanks;
        } else {
            out.push(c);
            column += 1;
        }
    }
    out
}

/// What the lines before the hunks say of a file.
#[derive(Default)]
struct Header {
    old: Option<Vec<u8>>,
    new: Option<Vec<u8>>,
    created: bool,
    deleted: bool,
    renamed: bool,
    modes: [Vec<u8>; 2],
    binary: bool,
}

impl Header {
    /// Reads the header that begins at the first line, if one does; with the number of its lines.
    fn read(lines: &[&[u8]]) -> Option<(Header, usize)> {
        let first = lines.first()?;
        let mut header = Header::default();
        let mut at = 0;
        if let Some(names) = first.strip_prefix(b"diff --git ") {
            (header.old, header.new) = both_names(names);
            at = 1;
        } else if !(first.starts_with(b"--- ")
            && lines.get(1)?.starts_with(b"+++ ")
            && lines.get(2)?.starts_with(b"@@ -"))
        {
            return None;
        }
        while let Some(line) = lines.get(at)
            && header.take(line)
        {
            at += 1;
        }
        Some((header, at))
    }

    /// Whether the line is one of the header.
    fn take(&mut self, line: &[u8]) -> bool {
        let ends = |start: &str| line.strip_prefix(start.as_bytes());
        if let Some(name) = ends("--- ") {
            self.old = side_name(name).or(self.old.take());
            self.created |= name.starts_with(b"/dev/null");
        } else if let Some(name) = ends("+++ ") {
            self.new = side_name(name).or(self.new.take());
            self.deleted |= name.starts_with(b"/dev/null");
        } else if let Some(name) = ends("rename from ") {
            (self.old, self.renamed) = (Some(unquoted(name)), true);
        } else if let Some(name) = ends("copy from ") {
            self.old = Some(unquoted(name));
        } else if let Some(name) = ends("rename to ").or(ends("copy to ")) {
            self.new = Some(unquoted(name));
        } else if let Some(mode) = ends("old mode ") {
            self.modes[0] = mode.to_vec();
        } else if let Some(mode) = ends("new mode ") {
            self.modes[1] = mode.to_vec();
        } else if line.starts_with(b"new file mode ") {
            self.created = true;
        } else if line.starts_with(b"deleted file mode ") {
            self.deleted = true;
        } else if line.starts_with(b"Binary files ") || line.starts_with(b"GIT binary patch") {
            self.binary = true;
        } else {
            let others = ["index ", "similarity index ", "dissimilarity index "];
            return others.iter().any(|o| line.starts_with(o.as_bytes()));
        }
        true
    }

    /// Writes the file's section; how many lines behind the header belong to it.
    fn write(&self, out: &mut Reduced, rest: &[&[u8]]) -> usize {
        out.text.push(b'\n');
        if out.diff == 0 {
            out.diff = out.text.len();
        }
        let empty = Vec::new();
        let (old, new) = (
            self.old.as_ref().unwrap_or(&empty),
            self.new.as_ref().unwrap_or(&empty),
        );
        let name = if self.deleted { old } else { new };
        let mode = if self.modes.iter().all(|m| !m.is_empty()) && self.modes[0] != self.modes[1] {
            [
                b" (mode change ",
                &self.modes[0][..],
                b" => ",
                &self.modes[1],
                b")",
            ]
            .concat()
        } else {
            Vec::new()
        };
        let what: &[&[u8]] = match (self.created, self.deleted, self.renamed) {
            (true, ..) => &[new, b" (new)"],
            (_, true, _) => &[old, b" (deleted)"],
            (.., true) => &[old, b" => ", new],
            _ => &[new],
        };
        out.line(&[b" ## ", &what.concat(), &mode, b" ##"]);
        if self.binary {
            let none = b"/dev/null".to_vec();
            let before = if self.created { &none } else { old };
            let after = if self.deleted { &none } else { new };
            out.line(&[b" Binary files ", before, b" and ", after, b" differ"]);
            return 0;
        }
        let mut at = 0;
        while let Some(length) = write_hunk(out, name, &rest[at..]) {
            at += length;
        }
        at
    }
}

/// Writes the hunk that begins at the first line; its length in lines.
fn write_hunk(out: &mut Reduced, name: &[u8], lines: &[&[u8]]) -> Option<usize> {
    let head = lines.first()?.strip_prefix(b"@@ ")?;
    let end = memchr::memmem::find(head, b"@@")?;
    let (mut old, mut new) = sizes(&head[..end])?;
    let heading = &head[end + 2..];
    if heading.is_empty() {
        out.line(&[b"@@"]);
    } else {
        out.line(&[b"@@ ", name, b":", heading]);
    }
    let mut at = 1;
    while let Some(line) = lines.get(at) {
        match line.first() {
            Some(b'\\') => out.line(&[b" ", line]),
            _ if old <= 0 && new <= 0 => break,
            Some(b'+') => {
                new -= 1;
                out.line(&[line]);
            }
            Some(b'-') => {
                old -= 1;
                out.line(&[line]);
            }
            // Some mailers take the blank of empty context lines away.
            Some(b' ') | None => {
                (old, new) = (old - 1, new - 1);
                out.line(&[b" ", line.get(1..).unwrap_or_default()]);
            }
            Some(_) => break,
        }
        at += 1;
    }
    Some(at)
}

/// Lines of `-1,2 +3,4`.
fn sizes(text: &[u8]) -> Option<(i64, i64)> {
    let text = std::str::from_utf8(text).ok()?;
    let side = |word: &str| {
        word.split_once(',')
            .map_or(Some(1), |(_, n)| n.parse().ok())
    };
    let mut words = text.split(' ');
    let (old, new) = (
        words.next()?.strip_prefix('-')?,
        words.next()?.strip_prefix('+')?,
    );
    Some((side(old)?, side(new)?))
}

/// A name of a `---` or `+++` line without its first folder; `None` for `/dev/null`.
fn side_name(text: &[u8]) -> Option<Vec<u8>> {
    // GNU diff writes a date behind a tab.
    let text = if text.starts_with(b"\"") {
        text
    } else {
        text.split(|b| *b == b'\t').next().unwrap_or(text)
    };
    (text != b"/dev/null").then(|| without_folder(unquoted(text)))
}

fn without_folder(name: Vec<u8>) -> Vec<u8> {
    match name.iter().position(|b| *b == b'/') {
        Some(at) => name[at + 1..].to_vec(),
        None => name,
    }
}

/// `a/x b/x`: both are the same name, or quoted; git writes renames on lines of their own.
fn both_names(text: &[u8]) -> (Option<Vec<u8>>, Option<Vec<u8>>) {
    if text.starts_with(b"\"") {
        let name = without_folder(unquoted(text));
        return (Some(name.clone()), Some(name));
    }
    let blanks = text.iter().enumerate().filter(|(_, b)| **b == b' ');
    for (at, _) in blanks {
        let (old, new) = (
            without_folder(text[..at].to_vec()),
            without_folder(text[at + 1..].to_vec()),
        );
        if old == new {
            return (Some(old), Some(new));
        }
    }
    (None, None)
}

/// Undoes the C quoting of a path (git-config(1), `core.quotePath`), up to its closing quote.
fn unquoted(text: &[u8]) -> Vec<u8> {
    let Some(inner) = text.strip_prefix(b"\"") else {
        return text.to_vec();
    };
    let mut out = Vec::with_capacity(inner.len());
    let mut rest = inner;
    loop {
        rest = match rest {
            [] | [b'"', ..] => return out,
            [
                b'\\',
                a @ b'0'..=b'3',
                b @ b'0'..=b'7',
                c @ b'0'..=b'7',
                after @ ..,
            ] => {
                out.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                after
            }
            [b'\\', code, after @ ..] => {
                out.push(match code {
                    b'a' => 7,
                    b'b' => 8,
                    b't' => b'\t',
                    b'n' => b'\n',
                    b'v' => 11,
                    b'f' => 12,
                    b'r' => b'\r',
                    other => *other,
                });
                after
            }
            [byte, after @ ..] => {
                out.push(*byte);
                after
            }
        };
    }
}
