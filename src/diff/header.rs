//! The lines between `diff --git` and the first hunk.

use super::Kind;
use super::hunk::line_length;
use super::name::{self, End};

/// What a file's header says.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Header {
    pub old: Option<Vec<u8>>,
    pub new: Option<Vec<u8>>,
    /// Whether the file is made; `None` if a header of the old kind cannot tell.
    pub creates: Option<bool>,
    /// Whether it is removed; `None` as above.
    pub deletes: Option<bool>,
    pub renames: bool,
    pub copies: bool,
    pub old_mode: Option<u32>,
    pub new_mode: Option<u32>,
    pub old_id: Vec<u8>,
    pub new_id: Vec<u8>,
}

impl Header {
    /// Whether the header alone is a change.
    pub fn changes_something(&self) -> bool {
        let modes =
            self.old_mode.is_some() && self.new_mode.is_some() && self.old_mode != self.new_mode;
        self.renames
            || self.copies
            || self.creates == Some(true)
            || self.deletes != Some(false)
            || modes
    }

    pub fn kind(&self) -> Kind {
        match (self.creates, self.deletes) {
            _ if self.renames => Kind::Rename,
            _ if self.copies => Kind::Copy,
            (Some(true), _) => Kind::Create,
            (_, Some(true)) => Kind::Delete,
            (None, _) => Kind::ModifyOrCreate,
            _ => Kind::Modify,
        }
    }
}

/// Reads the header that `text` begins with (at its `diff --git` line); returns it with its length in bytes. A length of one line
/// means that nothing follows which belongs to it.
///
/// `cut` is such a header that was read right before: as in git its names go on to count, so that a patch of which a line was broken on
/// its way is refused instead of done in part.
pub(super) fn read_git(
    text: &[u8],
    strip: usize,
    cut: Option<Header>,
) -> Result<(Header, usize), String> {
    let mut at = line_length(text);
    let default = name::from_git_header(&text[b"diff --git ".len()..at], strip);
    let mut header = Header {
        creates: Some(false),
        deletes: Some(false),
        old: cut.as_ref().and_then(|c| c.old.clone()),
        new: cut.and_then(|c| c.new),
        ..Header::default()
    };
    while at < text.len() {
        let line = &text[at..at + line_length(&text[at..])];
        if line.last() != Some(&b'\n') || !read_line(&mut header, line, strip, default.as_ref())? {
            break;
        }
        let kinds = [
            header.creates == Some(true),
            header.deletes == Some(true),
            header.renames,
            header.copies,
        ];
        if kinds.iter().filter(|k| **k).count() > 1 {
            return Err("its header says two kinds of change at once".to_owned());
        }
        at += line.len();
    }
    if header.old.is_none() && header.new.is_none() {
        header.old.clone_from(&default);
        header.new = default;
    }
    let lacks_new = header.new.is_none() && header.deletes != Some(true);
    let lacks_old = header.old.is_none() && header.creates != Some(true);
    if lacks_new || lacks_old {
        return Err("its header lacks a file name".to_owned());
    }
    Ok((header, at))
}

/// Takes one line; whether it belongs to the header.
fn read_line(
    header: &mut Header,
    line: &[u8],
    strip: usize,
    default: Option<&Vec<u8>>,
) -> Result<bool, String> {
    let starts = |word: &str| line.strip_prefix(word.as_bytes());
    // Names in these lines have no a/ or b/ in front.
    let bare = |rest: &[u8]| name::find(rest, strip.saturating_sub(1), End::Line);
    if starts("@@ -").is_some() {
        return Ok(false);
    } else if let Some(rest) = starts("--- ") {
        verify(&mut header.old, header.creates == Some(true), rest, strip)?;
    } else if let Some(rest) = starts("+++ ") {
        verify(&mut header.new, header.deletes == Some(true), rest, strip)?;
    } else if let Some(rest) = starts("old mode ") {
        header.old_mode = Some(read_mode(rest)?);
    } else if let Some(rest) = starts("new mode ") {
        header.new_mode = Some(read_mode(rest)?);
    } else if let Some(rest) = starts("deleted file mode ") {
        header.deletes = Some(true);
        header.old = default.cloned();
        header.old_mode = Some(read_mode(rest)?);
    } else if let Some(rest) = starts("new file mode ") {
        header.creates = Some(true);
        header.new = default.cloned();
        header.new_mode = Some(read_mode(rest)?);
    } else if let Some(rest) = starts("copy from ") {
        header.copies = true;
        header.old = bare(rest);
    } else if let Some(rest) = starts("copy to ") {
        header.copies = true;
        header.new = bare(rest);
    } else if let Some(rest) = starts("rename from ").or_else(|| starts("rename old ")) {
        header.renames = true;
        header.old = bare(rest);
    } else if let Some(rest) = starts("rename to ").or_else(|| starts("rename new ")) {
        header.renames = true;
        header.new = bare(rest);
    } else if let Some(rest) = starts("index ") {
        read_index(header, rest)?;
    } else if starts("similarity index ").is_none() && starts("dissimilarity index ").is_none() {
        return Ok(false);
    }
    Ok(true)
}

/// A `---` or `+++` name must be the one that is known, or `/dev/null` where there is no file.
fn verify(
    known: &mut Option<Vec<u8>>,
    nothing: bool,
    rest: &[u8],
    strip: usize,
) -> Result<(), String> {
    match known {
        None if !nothing => *known = name::find(rest, strip, End::Tab),
        None if !name::is_dev_null(rest) => {
            return Err("its header should say /dev/null".to_owned());
        }
        None => {}
        Some(_) if nothing => return Err("its header should say /dev/null".to_owned()),
        Some(path) if name::find(rest, strip, End::Tab).as_ref() != Some(path) => {
            return Err("its header gives a file two names".to_owned());
        }
        Some(_) => {}
    }
    Ok(())
}

fn read_mode(rest: &[u8]) -> Result<u32, String> {
    let digits = rest
        .iter()
        .take_while(|b| (b'0'..=b'7').contains(*b))
        .count();
    let ended = rest.get(digits).is_some_and(u8::is_ascii_whitespace);
    let number = std::str::from_utf8(&rest[..digits]).ok();
    let mode = number.and_then(|n| u32::from_str_radix(n, 8).ok());
    mode.filter(|_| ended)
        .ok_or_else(|| "its header says a mode that is none".to_owned())
}

/// `index 83db48f..bf2a5d6 100644`
fn read_index(header: &mut Header, rest: &[u8]) -> Result<(), String> {
    let rest = name::content(rest);
    let Some(dot) = rest.iter().position(|b| *b == b'.') else {
        return Ok(());
    };
    if rest.get(dot + 1) != Some(&b'.') || dot > 40 {
        return Ok(());
    }
    header.old_id = rest[..dot].to_vec();
    let after = &rest[dot + 2..];
    let blank = after.iter().position(|b| *b == b' ');
    let end = blank.unwrap_or(after.len());
    if end > 40 {
        return Ok(());
    }
    header.new_id = after[..end].to_vec();
    if let Some(blank) = blank {
        let mut mode = after[blank + 1..].to_vec();
        mode.push(b'\n');
        header.old_mode = Some(read_mode(&mode)?);
    }
    Ok(())
}

/// Reads a `---` and a `+++` line that stand alone.
pub(super) fn read_traditional(first: &[u8], second: &[u8], strip: usize) -> Option<Header> {
    let (first, second) = (&first[4..], &second[4..]);
    let mut header = Header::default();
    if name::is_dev_null(first) {
        (header.creates, header.deletes) = (Some(true), Some(false));
        header.new = Some(name::find_traditional(second, strip, None)?);
    } else if name::is_dev_null(second) {
        (header.creates, header.deletes) = (Some(false), Some(true));
        header.old = Some(name::find_traditional(first, strip, None)?);
    } else {
        let before = name::find_traditional(first, strip, None);
        let path = name::find_traditional(second, strip, before.as_deref())?;
        if name::has_epoch(first) {
            (header.creates, header.deletes) = (Some(true), Some(false));
            header.new = Some(path);
        } else if name::has_epoch(second) {
            (header.creates, header.deletes) = (Some(false), Some(true));
            header.old = Some(path);
        } else {
            header.old = Some(path.clone());
            header.new = Some(path);
        }
    }
    Some(header)
}

/// Whether a `+++` line that stands alone has a bare name, so that nothing is to be taken off its front.
pub(super) fn is_bare(second: &[u8]) -> bool {
    let name = &second[4..];
    !name::is_dev_null(name)
        && name::find_traditional(name, 0, None).is_some_and(|path| !path.contains(&b'/'))
}

/// Whether each `diff --git` line gives its names without `a/` and `b/`, as `git diff --no-prefix` writes them: the same name twice, or
/// the two of the `rename` or `copy` lines that follow.
pub fn is_without_prefix(text: &[u8]) -> bool {
    let mut any = false;
    let mut lines = text.split_inclusive(|b| *b == b'\n').peekable();
    while let Some(line) = lines.next() {
        let Some(names) = line.strip_prefix(b"diff --git ") else {
            continue;
        };
        let mut pair: Vec<&[u8]> = Vec::new();
        while let Some(next) = lines.peek()
            && !next.starts_with(b"diff --git ")
            && !next.starts_with(b"@@ -")
        {
            let words: [&[u8]; 4] = [b"rename from ", b"rename to ", b"copy from ", b"copy to "];
            let name = words.iter().find_map(|word| next.strip_prefix(*word));
            pair.extend(name.map(name::content));
            lines.next();
        }
        let moved = pair.len() == 2 && pair.join(&b' ') == name::content(names);
        if !moved && name::from_git_header(names, 0).is_none() {
            return false;
        }
        any = true;
    }
    any
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn diffs_without_prefix_are_known_by_their_header_lines() {
        for (text, expected) in [
            ("diff --git a/x b/x\n", false),
            ("diff --git d/x d/x\n", true),
            ("diff --git i/x w/x\n", false),
            ("diff --git \"a/\\303\\244\" \"b/\\303\\244\"\n", false),
            (
                "diff --git x y\nsimilarity index 9%\nrename from x\nrename to y\n",
                true,
            ),
            ("diff --git a/x b/y\nrename from x\nrename to y\n", false),
            ("--- a/x\n+++ b/x\n", false),
            (
                "diff --git d/x d/x\n@@ -1 +1 @@\n-a\n+b\ndiff --git a/y b/y\n",
                false,
            ),
        ] {
            assert_eq!(is_without_prefix(text.as_bytes()), expected, "{text}");
        }
    }
}
