//! A patch text as files and rows to show. Tolerant: what it does not know stays text; what applies is decided elsewhere.
//!
//! Pure, one pass, no recursion. The path shown is the one that `git apply` would take: of `+++`, else `---`, else the
//! rename, else the `diff --git` line. Header lines that say no more than that path are not repeated.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::remark::Remark;
use super::text::visible;
use crate::diff::plain_name;

/// A change to one file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FileDiff {
    /// The path after the change (before it, if the file is deleted).
    pub path: String,
    /// In words: `new file`, `deleted`, `renamed from x`, `mode 100644 → 100755`, `binary`.
    pub notes: Vec<String>,
    /// `1111111..2222222`: the blobs before and after, as written; may be empty.
    pub blobs: String,
    /// Fragment on its page; given by whoever lays the page out.
    pub anchor: String,
    /// Lines added.
    pub added: usize,
    /// Lines removed.
    pub removed: usize,
    /// Remarks on its header.
    pub remarks: Vec<Remark>,
    /// What is shown below the header.
    pub rows: Vec<DiffRow>,
}

impl FileDiff {
    /// The remarks on it, from top to bottom.
    pub fn all_remarks(&self) -> impl Iterator<Item = &Remark> {
        let on_rows = self.rows.iter().flat_map(|r| &r.remarks);
        self.remarks.iter().chain(on_rows)
    }

    /// Takes the remarks on its lines, which are those from `start` to `end` of the text.
    pub(super) fn take_remarks(
        &mut self,
        start: usize,
        end: usize,
        remarks: &mut BTreeMap<usize, Vec<Remark>>,
    ) {
        if remarks.range(start..end).next().is_none() {
            return;
        }
        for row in &mut self.rows {
            if let Some(found) = row.line.and_then(|n| remarks.remove(&(start + n))) {
                row.remarks = found;
            }
        }
        // Lines that are not shown: those of the header, and binary data.
        let left: Vec<usize> = remarks.range(start..end).map(|(line, _)| *line).collect();
        let left = left.iter().filter_map(|line| remarks.remove(line));
        self.remarks = left.flatten().collect();
    }
}

/// What a row is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowKind {
    /// `@@ … @@`
    Hunk,
    /// Unchanged.
    Context,
    /// Added.
    Added,
    /// Removed.
    Removed,
    /// A line of the header, or `\ No newline`.
    Meta,
}

/// A line of a diff.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiffRow {
    /// What it is.
    pub kind: RowKind,
    /// Its number before the change.
    pub old: Option<u64>,
    /// Its number after it.
    pub new: Option<u64>,
    /// The line as written, sign first, in three pieces: the middle one is what changed within the line.
    pub pieces: [String; 3],
    /// Which line of the file's diff it is, from 0; `None` for what is said of the header.
    pub line: Option<usize>,
    /// Remarks on it.
    pub remarks: Vec<Remark>,
}

impl DiffRow {
    /// Its class in the style sheet.
    pub fn class(&self) -> &'static str {
        match self.kind {
            RowKind::Hunk => "hunk",
            RowKind::Context => "ctx",
            RowKind::Added => "add",
            RowKind::Removed => "del",
            RowKind::Meta => "head",
        }
    }

    fn new(kind: RowKind, old: Option<u64>, new: Option<u64>, line: &str) -> DiffRow {
        let pieces = [visible(line), String::new(), String::new()];
        DiffRow {
            kind,
            old,
            new,
            pieces,
            line: None,
            remarks: Vec::new(),
        }
    }

    fn at(self, line: usize) -> DiffRow {
        DiffRow {
            line: Some(line),
            ..self
        }
    }
}

/// Whether a file's diff begins at the first of these lines.
pub fn starts(lines: &[&str]) -> bool {
    let at = |n: usize, start: &str| lines.get(n).is_some_and(|l| l.starts_with(start));
    at(0, "diff --git ") || (at(0, "--- ") && at(1, "+++ ") && at(2, "@@ -"))
}

/// Reads the diff of one file; returns how many lines it took, at least one if [`starts`] says so.
pub fn parse_file(lines: &[&str]) -> (FileDiff, usize) {
    let mut file = FileDiff::default();
    let mut header = Header::default();
    let mut at = 0;
    while let Some(line) = lines.get(at).filter(|l| header.take(l, at)) {
        at += 1;
        if line.starts_with("GIT binary patch") || line.starts_with("Binary files ") {
            let data = binary_lines(&lines[at..]);
            header.binary = true;
            at += data;
            break;
        }
    }
    header.finish(&mut file);
    while let Some(counts) = lines.get(at).and_then(|l| hunk(l)) {
        let row = DiffRow::new(RowKind::Hunk, None, None, lines[at]);
        file.rows.push(row.at(at));
        at = hunk_body(lines, at + 1, counts, &mut file);
    }
    mark_changes(&mut file.rows);
    (file, at.max(1))
}

#[derive(Default)]
struct Header<'a> {
    git: &'a str,
    old: &'a str,
    new: &'a str,
    rename_from: Cow<'a, str>,
    rename_to: Cow<'a, str>,
    notes: Vec<String>,
    blobs: &'a str,
    old_mode: &'a str,
    binary: bool,
}

impl<'a> Header<'a> {
    /// Whether the line belongs to the header; if so, it is taken in.
    fn take(&mut self, line: &'a str, at: usize) -> bool {
        let fields = [
            "diff --git ",
            "--- ",
            "+++ ",
            "rename from ",
            "rename to ",
            "copy from ",
            "copy to ",
            "old mode ",
            "new mode ",
            "new file mode ",
            "deleted file mode ",
            "similarity index ",
            "dissimilarity index ",
            "index ",
            "GIT binary patch",
            "Binary files ",
        ];
        let Some(name) = fields.iter().find(|f| line.starts_with(**f)) else {
            return false;
        };
        let value = line[name.len()..].trim_end();
        match *name {
            "diff --git " if at > 0 => return false,
            "--- " if !self.old.is_empty() => return false,
            "diff --git " => self.git = value,
            "--- " => self.old = value,
            "+++ " => self.new = value,
            "rename from " => {
                self.rename_from = plain_name(value);
                let from = visible(&self.rename_from);
                self.notes.push(format!("renamed from {from}"));
            }
            "copy from " => {
                let from = visible(&plain_name(value));
                self.notes.push(format!("copied from {from}"));
            }
            "rename to " | "copy to " => self.rename_to = plain_name(value),
            "old mode " => self.old_mode = value,
            "new mode " => self.notes.push(format!(
                "mode {} → {}",
                visible(self.old_mode),
                visible(value)
            )),
            "new file mode " => self.notes.push(match value {
                "100644" => "new file".to_owned(),
                _ => format!("new file, mode {}", visible(value)),
            }),
            "deleted file mode " => self.notes.push("deleted".to_owned()),
            "index " => self.blobs = value,
            _ => {}
        }
        true
    }

    fn finish(mut self, file: &mut FileDiff) {
        let git = plain_name(self.git);
        let candidates = [stripped(self.new), stripped(self.old), self.rename_to];
        let path = candidates.into_iter().find(|p| !p.is_empty());
        let path = path.unwrap_or_else(|| of_git_line(&git).into());
        // Lines that name anything else are shown: a header must not say one path and mean another.
        for (sign, side) in [("--- ", self.old), ("+++ ", self.new)] {
            let other = stripped(side);
            if !other.is_empty() && other != path && other != self.rename_from {
                file.rows.push(DiffRow::new(
                    RowKind::Meta,
                    None,
                    None,
                    &format!("{sign}{side}"),
                ));
            }
        }
        if !git.is_empty() && !git.ends_with(&*path) {
            let line = format!("diff --git {}", self.git);
            file.rows
                .push(DiffRow::new(RowKind::Meta, None, None, &line));
        }
        if self.binary {
            self.notes.push("binary".to_owned());
        }
        // The mode behind the ids is the old one: what is new about it is said in words.
        file.blobs = visible(self.blobs.split(' ').next().unwrap_or_default());
        file.path = visible(&path);
        file.notes = self.notes;
    }
}

/// A path of a `---` or `+++` line without quotes, `a/` or `b/`, and time stamp; empty for `/dev/null`.
fn stripped(side: &str) -> Cow<'_, str> {
    if side.starts_with('"') {
        return without_prefix(&plain_name(side)).to_owned().into();
    }
    match side.split('\t').next().unwrap_or_default() {
        "/dev/null" => "".into(),
        side => without_prefix(side).into(),
    }
}

fn without_prefix(side: &str) -> &str {
    let prefixed = ["a/", "b/", "i/", "w/", "c/", "o/"]
        .iter()
        .find_map(|p| side.strip_prefix(p));
    prefixed.unwrap_or(side)
}

/// The second path of `a/x b/x`: both halves are equal unless the file is renamed, and that is said elsewhere.
fn of_git_line(git: &str) -> &str {
    let half = git.len() / 2;
    match git.get(half..half + 1) {
        Some(" ") => without_prefix(&git[half + 1..]),
        _ => git.rsplit_once(" b/").map_or(git, |(_, path)| path),
    }
}

/// `@@ -1,2 +3,4 @@` as (old start, old count, new start, new count).
fn hunk(line: &str) -> Option<[u64; 4]> {
    let (ranges, _) = line.strip_prefix("@@ -")?.split_once(" @@")?;
    let (old, new) = ranges.split_once(" +")?;
    let range = |text: &str| -> Option<(u64, u64)> {
        match text.split_once(',') {
            Some((start, count)) => Some((start.parse().ok()?, count.parse().ok()?)),
            None => Some((text.parse().ok()?, 1)),
        }
    };
    let ((a, b), (c, d)) = (range(old)?, range(new)?);
    Some([a, b, c, d])
}

/// Reads the rows of a hunk from a line on; returns the line behind them.
fn hunk_body(
    lines: &[&str],
    mut at: usize,
    [mut old, mut gone, mut new, mut come]: [u64; 4],
    file: &mut FileDiff,
) -> usize {
    while let Some(line) = lines.get(at) {
        let sign = line.as_bytes().first().copied();
        // `\ No newline` may follow the last line that the counts cover.
        if gone == 0 && come == 0 && sign != Some(b'\\') {
            break;
        }
        let (kind, has_old, has_new) = match sign {
            Some(b'+') if come > 0 => (RowKind::Added, 0, 1),
            Some(b'-') if gone > 0 => (RowKind::Removed, 1, 0),
            Some(b' ' | b'\t') | None if gone > 0 && come > 0 => (RowKind::Context, 1, 1),
            Some(b'\\') => (RowKind::Meta, 0, 0),
            _ => break,
        };
        let number = |has: u64, n: u64| (has > 0).then_some(n);
        let row = DiffRow::new(kind, number(has_old, old), number(has_new, new), line);
        file.rows.push(row.at(at));
        file.added += usize::from(kind == RowKind::Added);
        file.removed += usize::from(kind == RowKind::Removed);
        (old, new) = (old.saturating_add(has_old), new.saturating_add(has_new));
        (gone, come) = (gone - has_old, come - has_new);
        at += 1;
    }
    at
}

/// How many lines of binary data follow: nobody reads them, the raw mail has them.
fn binary_lines(lines: &[&str]) -> usize {
    let data = |line: &&&str| {
        line.is_empty()
            || line.starts_with("literal ")
            || line.starts_with("delta ")
            || (line.len() <= 66 && line.len() % 5 == 1 && !line.contains(' '))
    };
    let mut count = lines.iter().take_while(data).count();
    while count > 0 && lines[count - 1].is_empty() {
        count -= 1;
    }
    count
}

/// Lines longer than this are not compared within.
const MAX_COMPARED: usize = 500;

/// Marks what changed within a line, where lines were removed and others added in one place: the first of both, and so on.
fn mark_changes(rows: &mut [DiffRow]) {
    let mut at = 0;
    while at < rows.len() {
        let count = |from: usize, kind: RowKind, rows: &[DiffRow]| {
            rows[from..].iter().take_while(|r| r.kind == kind).count()
        };
        let gone = count(at, RowKind::Removed, rows);
        let come = count(at + gone, RowKind::Added, rows);
        if gone > 0 && come > 0 {
            let (olds, news) = rows[at..at + gone + come].split_at_mut(gone);
            for (old, new) in olds.iter_mut().zip(news) {
                mark_pair(old, new);
            }
        }
        at += (gone + come).max(1);
    }
}

fn mark_pair(old: &mut DiffRow, new: &mut DiffRow) {
    let (a, b) = (old.pieces[0].as_str(), new.pieces[0].as_str());
    if a.len() > MAX_COMPARED || b.len() > MAX_COMPARED || a.is_empty() || b.is_empty() {
        return;
    }
    let same = |(x, y): &(char, char)| x == y;
    let (a, b) = (&a[1..], &b[1..]);
    let head: usize = a
        .chars()
        .zip(b.chars())
        .take_while(same)
        .map(|(c, _)| c.len_utf8())
        .sum();
    let (rest_a, rest_b) = (&a[head..], &b[head..]);
    let pairs = rest_a.chars().rev().zip(rest_b.chars().rev());
    let tail: usize = pairs.take_while(same).map(|(c, _)| c.len_utf8()).sum();
    // Lines with little in common were replaced, not edited: marking nearly all of them says nothing.
    let kept = a[..head].trim_start().len() + a[a.len() - tail..].trim_start().len();
    if kept * 3 < a.trim().len().max(b.trim().len()) {
        return;
    }
    let cut = |line: &str| {
        let end = line.len() - tail;
        [
            line[..1 + head].to_owned(),
            line[1 + head..end].to_owned(),
            line[end..].to_owned(),
        ]
    };
    (old.pieces, new.pieces) = (cut(&old.pieces[0]), cut(&new.pieces[0]));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let lines: Vec<&str> = text.lines().collect();
        assert!(starts(&lines), "no diff: {text}");
        let (file, used) = parse_file(&lines);
        let number = |n: Option<u64>| n.map_or("-".to_owned(), |n| n.to_string());
        let row = |r: &DiffRow| {
            let [head, middle, tail] = &r.pieces;
            let text = if middle.is_empty() {
                format!("{head}{tail}")
            } else {
                format!("{head}[{middle}]{tail}")
            };
            format!("{}/{} {text}", number(r.old), number(r.new))
        };
        let mut out = vec![format!(
            "{} {:?} +{} -{} {}",
            file.path, file.notes, file.added, file.removed, file.blobs
        )];
        out.extend(file.rows.iter().map(row));
        out.push(format!("left: {:?}", &lines[used..]));
        assert_eq!(out.join("\n"), expected);
    }

    #[test]
    fn numbers_follow_both_sides_and_the_signature_is_left_over() {
        check(
            "diff --git a/x.c b/x.c\nindex 1..2 100644\n--- a/x.c\n+++ b/x.c\n@@ -7,2 +7,2 @@ main\n-int a = 1;\n+int a = 2;\n same\n-- \n2.40",
            "x.c [] +1 -1 1..2\n-/- @@ -7,2 +7,2 @@ main\n7/- -int a = [1];\n-/7 +int a = [2];\n8/8  same\nleft: [\"-- \", \"2.40\"]",
        );
    }

    #[test]
    fn renames_modes_and_new_files_are_said_in_words() {
        check(
            "diff --git a/old b/new\nsimilarity index 90%\nrename from old\nrename to new\n--- a/old\n+++ b/new\n@@ -1 +1 @@\n-a\n+b",
            "new [\"renamed from old\"] +1 -1 \n-/- @@ -1 +1 @@\n1/- -a\n-/1 +b\nleft: []",
        );
        check(
            "diff --git a/run b/run\nold mode 100644\nnew mode 100755",
            "run [\"mode 100644 → 100755\"] +0 -0 \nleft: []",
        );
        check(
            "diff --git a/n b/n\nnew file mode 100644\n--- /dev/null\n+++ b/n\n@@ -0,0 +1 @@\n+x\n\\ No newline at end of file",
            "n [\"new file\"] +1 -0 \n-/- @@ -0,0 +1 @@\n-/1 +x\n-/- \\ No newline at end of file\nleft: []",
        );
    }

    #[test]
    fn quoted_names_are_read() {
        check(
            "diff --git \"a/\\303\\274 x.c\" \"b/\\303\\274 x.c\"\n--- \"a/\\303\\274 x.c\"\n+++ \"b/\\303\\274 x.c\"\n@@ -1 +1 @@\n-a\n+b",
            "ü x.c [] +1 -1 \n-/- @@ -1 +1 @@\n1/- -a\n-/1 +b\nleft: []",
        );
        check(
            "diff --git a/old \"b/n\\303\\251w\"\nrename from old\nrename to \"n\\303\\251w\"",
            "néw [\"renamed from old\"] +0 -0 \nleft: []",
        );
    }

    #[test]
    fn a_header_that_names_two_paths_shows_both() {
        check(
            "diff --git a/README b/README\n--- a/README\n+++ b/.bashrc\n@@ -1 +1 @@\n-a\n+b",
            ".bashrc [] +1 -1 \n-/- --- a/README\n-/- diff --git a/README b/README\n-/- @@ -1 +1 @@\n1/- -a\n-/1 +b\nleft: []",
        );
    }

    #[test]
    fn binary_data_is_said_and_not_shown() {
        check(
            "diff --git a/i.png b/i.png\nindex 1..2\nGIT binary patch\nliteral 3\nKcmZQzWMT#Y01f~L\n\nliteral 0\nHcmV?d00001\n\n-- \n2",
            "i.png [\"binary\"] +0 -0 1..2\nleft: [\"\", \"-- \", \"2\"]",
        );
    }

    #[test]
    fn broken_counts_and_huge_numbers_end_quietly() {
        check(
            "diff --git a/x b/x\n@@ -1,9 +1,9 @@\n a\nprose",
            "x [] +0 -0 \n-/- @@ -1,9 +1,9 @@\n1/1  a\nleft: [\"prose\"]",
        );
        let huge = format!(
            "diff --git a/x b/x\n@@ -{0},{0} +{0},{0} @@\n a\n b",
            u64::MAX
        );
        let lines: Vec<&str> = huge.lines().collect();
        assert_eq!(parse_file(&lines).1, 4);
    }

    #[test]
    fn a_diff_without_git_line_is_known_too() {
        check(
            "--- x.c\t2020-01-01\n+++ x.c\t2020-01-02\n@@ -1 +1 @@\n-a\n+b",
            "x.c [] +1 -1 \n-/- @@ -1 +1 @@\n1/- -a\n-/1 +b\nleft: []",
        );
    }
}
