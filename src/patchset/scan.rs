//! A tolerant look through a mail's text: is there a diff, what does it touch, which trailers stand in it.

/// What a diff touches.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// Paths, each once.
    pub files: Vec<String>,
    /// Pre-image blobs: (path, abbreviated id).
    pub blobs: Vec<(String, String)>,
    /// Added and removed lines.
    pub stat: (u32, u32),
}

const MAX_FILES: usize = 1_000;

/// Whether the text holds a diff that stands at the margin (a quoted one does not count).
pub fn has_diff(text: &str) -> bool {
    let mut lines = text.lines().peekable();
    let mut git = 0;
    while let Some(line) = lines.next() {
        if line.starts_with("diff --git ") || line.starts_with("diff -") {
            git = 8;
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
        if line.starts_with("--- ") && lines.peek().is_some_and(|l| l.starts_with("+++ ")) {
            lines.next();
            if lines.peek().is_some_and(|l| l.starts_with("@@ -")) {
                return true;
            }
        }
        // CVS and Subversion: `Index: path`, a ruler, then a plain diff that the rule above sees.
    }
    false
}

/// Looks through a diff for paths, blobs and line counts.
pub fn scan(text: &str) -> Found {
    let mut found = Found::default();
    let mut path = String::new();
    let mut left = (0u32, 0u32);
    for line in text.lines() {
        if left != (0, 0) {
            count(line, &mut left, &mut found.stat);
            continue;
        }
        if let Some(rest) = line.strip_prefix("diff --git ") {
            path = rest
                .rsplit_once(" b/")
                .map_or(rest, |(_, b)| b)
                .trim_end()
                .to_owned();
            add_file(&mut found, &path);
        } else if let Some(rest) = line.strip_prefix("index ")
            && let Some((old, _)) = rest.split_once("..")
            && old.len() >= 7
            && old.bytes().all(|b| b.is_ascii_hexdigit())
        {
            if old.bytes().any(|b| b != b'0') && found.blobs.len() < MAX_FILES && !path.is_empty() {
                found.blobs.push((path.clone(), old.to_owned()));
            }
        } else if let Some(rest) = line.strip_prefix("rename from ") {
            // The pre-image of a rename lies under the old name.
            path = rest.trim_end().to_owned();
            add_file(&mut found, &path);
        } else if let Some(rest) = line.strip_prefix("--- ") {
            take_path(&mut found, rest);
        } else if let Some(rest) = line.strip_prefix("+++ ") {
            take_path(&mut found, rest);
        } else if let Some(hunk) = line.strip_prefix("@@ -") {
            left = hunk_counts(hunk).unwrap_or((0, 0));
        }
    }
    found
}

fn count(line: &str, left: &mut (u32, u32), stat: &mut (u32, u32)) {
    match line.as_bytes().first() {
        Some(b'+') => (left.1, stat.0) = (left.1.saturating_sub(1), stat.0 + 1),
        Some(b'-') => (left.0, stat.1) = (left.0.saturating_sub(1), stat.1 + 1),
        Some(b' ') | None => {
            (left.0, left.1) = (left.0.saturating_sub(1), left.1.saturating_sub(1))
        }
        Some(b'\\') => {}
        _ => *left = (0, 0),
    }
}

fn hunk_counts(hunk: &str) -> Option<(u32, u32)> {
    let (old, rest) = hunk.split_once(" +")?;
    let new = rest.split(" @@").next()?;
    let size = |range: &str| {
        range
            .split_once(',')
            .map_or(Some(1), |(_, n)| n.trim().parse().ok())
    };
    Some((size(old)?, size(new)?))
}

fn take_path(found: &mut Found, rest: &str) {
    let path = rest.split('\t').next().unwrap_or(rest).trim_end();
    if path == "/dev/null" || path.is_empty() {
        return;
    }
    let path = path
        .strip_prefix("a/")
        .or_else(|| path.strip_prefix("b/"))
        .unwrap_or(path);
    add_file(found, path);
}

fn add_file(found: &mut Found, path: &str) {
    if found.files.len() < MAX_FILES
        && !found.files.iter().rev().take(4).any(|f| f == path)
        && !path.is_empty()
    {
        found.files.push(path.to_owned());
    }
}

/// `Name: value` lines at the margin whose name is one word, in order; at most 200.
pub fn trailers(text: &str) -> Vec<(&str, &str)> {
    let lines = text.lines().filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        let word = name.len() <= 40
            && !name.is_empty()
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        (word && value.starts_with(' ')).then(|| (name, value.trim()))
    });
    lines.take(200).collect()
}

/// `git request-pull` writes both sentences.
pub fn is_pull_request(text: &str) -> bool {
    text.contains("The following changes since commit")
        && text.to_lowercase().contains("in the git repository at")
}

/// At least two quoted lines.
pub fn is_quoting(text: &str) -> bool {
    text.lines().filter(|l| l.starts_with('>')).take(2).count() == 2
}

/// Whether quoted lines stand before any diff: an answer that shows a change of its own.
pub fn quotes_first(text: &str) -> bool {
    let head = text
        .lines()
        .take_while(|l| !l.starts_with("diff --git ") && !l.starts_with("--- a/"));
    head.filter(|l| l.starts_with("> ")).take(2).count() == 2
}
