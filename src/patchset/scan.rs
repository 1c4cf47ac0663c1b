//! A tolerant look through a mail's text: is there a diff, what does it touch, which fields stand at the margin.
//!
//! Module `diff` parses patches in earnest; here a wrong guess costs a wrong kind, never a wrong tree.

/// What a diff touches.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// Paths, each once.
    pub(super) files: Vec<String>,
    /// Pre-image blobs: (path, abbreviated id).
    pub(super) blobs: Vec<(String, String)>,
    /// Added and removed lines.
    pub(super) stat: (u32, u32),
}

const MAX_FILES: usize = 1_000;
/// Longest path that is kept, in bytes (Linux's PATH_MAX).
const MAX_PATH: usize = 4_096;
/// Lines between `diff --git` and what says what it does: modes, similarity, names.
const GIT_HEADER: usize = 8;

/// Whether the text holds a diff that stands at the margin (a quoted one does not count).
pub(super) fn has_diff(text: &str) -> bool {
    let mut lines = text.lines().peekable();
    let mut git = 0;
    while let Some(line) = lines.next() {
        if line.starts_with("diff --git ") || line.starts_with("diff -") {
            git = GIT_HEADER;
            continue;
        }
        if git > 0 {
            git -= 1;
            let only = [
                "old mode ",
                "new file mode ",
                "deleted file mode ",
                "rename from ",
                "copy from ",
                "GIT binary patch",
                "Binary files ",
            ];
            if only.iter().any(|w| line.starts_with(w)) {
                return true;
            }
        }
        if line.starts_with("--- ") && next_is_new_path(&mut lines) {
            // Likewise.
            if lines.peek().is_some_and(|l| is_rest_of_path(l)) {
                lines.next();
            }
            // `@@@` begins a hunk of a combined diff, or of one that a tool made up.
            if lines
                .peek()
                .is_some_and(|l| hunk_counts(l).is_some() || l.starts_with("@@@ -"))
            {
                return true;
            }
        }
        // CVS and Subversion: `Index: path`, a ruler, then a plain diff that the rule above sees.
    }
    false
}

/// Takes the line `+++ path` that follows a line `--- path`, if it is there.
fn next_is_new_path<'a>(lines: &mut std::iter::Peekable<impl Iterator<Item = &'a str>>) -> bool {
    // A client wrapped the line: then the patch is damaged, and is to be refused with words rather than overlooked.
    if lines.peek().is_some_and(|l| is_rest_of_path(l)) {
        lines.next();
    }
    lines.next_if(|l| l.starts_with("+++ ")).is_some()
}

/// The time zone that ends a path's line of a plain diff: `+0200`.
fn is_rest_of_path(line: &str) -> bool {
    let zone = line.trim_end().strip_prefix(['+', '-']);
    zone.is_some_and(|z| z.len() == 4 && z.bytes().all(|b| b.is_ascii_digit()))
}

/// Looks through a diff for paths, blobs and line counts.
pub(super) fn scan(text: &str) -> Found {
    let mut found = Found::default();
    let mut known = std::collections::HashSet::new();
    // The pre-image's path while in a file that begins with `diff --git`; else the plain headers name the file.
    let mut old_path: Option<String> = None;
    let mut plain_old = String::new();
    let mut left = (0u32, 0u32);
    for line in text.lines() {
        if left != (0, 0) {
            count(line, &mut left, &mut found.stat);
            continue;
        }
        let mut add = |path: &str| {
            if !path.is_empty()
                && path.len() <= MAX_PATH
                && found.files.len() < MAX_FILES
                && known.insert(path.to_owned())
            {
                found.files.push(path.to_owned());
            }
        };
        if let Some(rest) = line.strip_prefix("diff --git ") {
            let path = git_path(rest.trim_end());
            add(&path);
            old_path = Some(path);
        } else if let Some(rest) = line
            .strip_prefix("rename from ")
            .or_else(|| line.strip_prefix("copy from "))
        {
            // The pre-image of a rename lies under the old name.
            let path = unquote(rest.trim_end());
            if line.starts_with("rename") {
                add(&path);
            }
            old_path = Some(path);
        } else if let Some(id) = line.strip_prefix("index ").and_then(old_blob) {
            if let Some(path) = old_path.as_ref().filter(|p| !p.is_empty())
                && found.blobs.len() < MAX_FILES
            {
                found.blobs.push((path.clone(), id.to_owned()));
            }
        } else if let Some(rest) = line.strip_prefix("--- ") {
            plain_old = plain_path(rest);
        } else if let Some(rest) = line.strip_prefix("+++ ") {
            if old_path.is_none() {
                add(&plain_name(&plain_old, &plain_path(rest)));
            }
        } else if let Some(counts) = hunk_counts(line) {
            left = counts;
        }
    }
    found
}

fn count(line: &str, left: &mut (u32, u32), stat: &mut (u32, u32)) {
    match line.as_bytes().first() {
        Some(b'+') => {
            left.1 = left.1.saturating_sub(1);
            stat.0 = stat.0.saturating_add(1);
        }
        Some(b'-') => {
            left.0 = left.0.saturating_sub(1);
            stat.1 = stat.1.saturating_add(1);
        }
        Some(b' ') | None => {
            (left.0, left.1) = (left.0.saturating_sub(1), left.1.saturating_sub(1))
        }
        Some(b'\\') => {}
        _ => *left = (0, 0),
    }
}

/// The line counts of `@@ -a,b +c,d @@`; `None` if it is no hunk header.
fn hunk_counts(line: &str) -> Option<(u32, u32)> {
    let (old, rest) = line.strip_prefix("@@ -")?.split_once(" +")?;
    let (new, _) = rest.split_once(" @@")?;
    let number = |t: &str| {
        (t.bytes().all(|b| b.is_ascii_digit()))
            .then(|| t.parse().ok())
            .flatten()
    };
    let size = |range: &str| match range.split_once(',') {
        Some((start, size)) => number(start).and_then(|_: u32| number(size)),
        None => number(range).map(|_: u32| 1),
    };
    Some((size(old)?, size(new)?))
}

/// The pre-image of `index 257cc56..5716ca1 100644`; `None` for a new file.
fn old_blob(rest: &str) -> Option<&str> {
    let (old, _) = rest.split_once("..")?;
    let hex = (7..=64).contains(&old.len()) && old.bytes().all(|b| b.is_ascii_hexdigit());
    (hex && old.bytes().any(|b| b != b'0')).then_some(old)
}

/// The new path of `diff --git a/x b/x`: with quotes, with other prefixes, or without any (`--no-prefix`).
fn git_path(rest: &str) -> String {
    if let Some(quoted) = rest.strip_suffix('"')
        && let Some(start) = quoted.rfind(" \"")
    {
        return strip_prefix(&unquote(&rest[start + 1..])).to_owned();
    }
    // Both names are the same but for the prefix: then the middle blank parts them.
    if let Some((old, new)) = rest.split_at_checked(rest.len() / 2)
        && let Some(new) = new.strip_prefix(' ')
    {
        if old == new {
            return new.to_owned();
        }
        if strip_prefix(old) == strip_prefix(new) {
            return strip_prefix(new).to_owned();
        }
    }
    let new = rest.rsplit_once(" b/").map(|(_, new)| new);
    new.or_else(|| rest.rsplit_once(' ').map(|(_, new)| new))
        .unwrap_or(rest)
        .to_owned()
}

/// Takes git's one-letter prefix off: `a/`, `b/`, and `i/ w/ c/ o/` of `diff.mnemonicPrefix`.
fn strip_prefix(path: &str) -> &str {
    match path.split_once('/') {
        Some(("a" | "b" | "i" | "w" | "c" | "o", rest)) if !rest.is_empty() => rest,
        _ => path,
    }
}

fn plain_path(rest: &str) -> String {
    let path = rest.split('\t').next().unwrap_or(rest).trim_end();
    unquote(path)
}

/// The path of a plain diff: as `patch -p1` sees it if the two names differ in their first folder only.
fn plain_name(old: &str, new: &str) -> String {
    let name = if new == "/dev/null" { old } else { new };
    let tail = |path: &str| path.split_once('/').map(|(_, t)| t.to_owned());
    match (tail(old), tail(new)) {
        (Some(a), Some(b)) if a == b && !a.is_empty() && old != new => a,
        _ => strip_prefix(name).to_owned(),
    }
}

/// Undoes git's C-style quoting (`"f\303\266o"`); other text is left alone.
fn unquote(path: &str) -> String {
    let Some(inner) = path.strip_prefix('"').and_then(|p| p.strip_suffix('"')) else {
        return path.to_owned();
    };
    let bytes = inner.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        at += 1;
        if *byte != b'\\' {
            out.push(*byte);
            continue;
        }
        let octal = bytes
            .get(at..at + 3)
            .and_then(|d| std::str::from_utf8(d).ok());
        if let Some(code) = octal.and_then(|d| u8::from_str_radix(d, 8).ok()) {
            out.push(code);
            at += 3;
            continue;
        }
        match bytes.get(at) {
            Some(b'n') => out.push(b'\n'),
            Some(b't') => out.push(b'\t'),
            Some(other) => out.push(*other),
            None => {}
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Values of `name: value` lines at the margin, for names in lower case; at most `max`.
pub(super) fn fields<'a>(text: &'a str, names: &[&str], max: usize) -> Vec<&'a str> {
    let value = |line: &'a str| {
        let (name, value) = line.split_once(':')?;
        let named = name.len() <= 40 && names.iter().any(|n| name.eq_ignore_ascii_case(n));
        (named && value.starts_with([' ', '\t'])).then(|| value.trim())
    };
    text.lines().filter_map(value).take(max).collect()
}

/// Quoted lines at the margin, as a reply has them; counts up to two.
fn quotes<'a>(lines: impl Iterator<Item = &'a str>) -> usize {
    lines.filter(|l| l.starts_with('>')).take(2).count()
}

/// At least two quoted lines.
pub(super) fn is_quoting(text: &str) -> bool {
    quotes(text.lines()) == 2
}

/// Whether quoted lines stand before any diff or diffstat: an answer, perhaps with a change of its own.
pub(super) fn quotes_first(text: &str) -> bool {
    let starts = |l: &&str| {
        l.starts_with("diff --git ")
            || l.starts_with("--- a/")
            || l.starts_with("Index: ")
            || (l.starts_with(' ') && l.contains(" | ") && l.trim_end().ends_with(['+', '-']))
    };
    quotes(text.lines().take_while(|l| !starts(l))) == 2
}

/// Whether a message, `---`, and a diff follow each other at the margin, as git-format-patch(1) writes them.
pub(super) fn is_formatted(text: &str) -> bool {
    let mut lines = text.lines().map(str::trim_end);
    lines.any(|l| l == "---")
        && lines.any(|l| l.starts_with("diff --git ") || l.starts_with("--- "))
}

/// Whether the last line of `git diff --stat` stands in it.
pub(super) fn has_diffstat(text: &str) -> bool {
    text.lines().any(|l| {
        l.starts_with(' ') && (l.contains(" file changed, ") || l.contains(" files changed, "))
    })
}
