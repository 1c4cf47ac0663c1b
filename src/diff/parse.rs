//! Patch text → what it does to each file.

use super::binary::{Binary, Trouble};
use super::header::{self, Header};
use super::hunk::{self, Hunk, line_length};
use super::{Body, FilePatch, Kind};

/// What a patch may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of patch text.
    pub bytes: usize,
    /// Files.
    pub files: usize,
    /// Hunks in all files together.
    pub hunks: usize,
    /// Bytes that its binary parts come to when unpacked, all together.
    pub unpacked: usize,
}

impl Default for Limits {
    /// More than any patch that people review, and less than what hurts.
    fn default() -> Limits {
        Limits {
            bytes: 32 << 20,
            files: 20_000,
            hunks: 200_000,
            unpacked: 64 << 20,
        }
    }
}

/// Why patch text cannot be read, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of the patch: {reason}")]
pub struct ParseError {
    /// Line of the patch text, from 1.
    pub line: usize,
    /// In words.
    pub reason: String,
}

/// Reads patch text as `git apply -p<strip>` does: anything between file parts is skipped, such as a mail's signature.
///
/// Returns the changes in their order, at least one. Paths are taken as they stand: see [`super::path::check`].
pub fn parse<'a>(
    text: &'a [u8],
    strip: usize,
    limits: &Limits,
) -> Result<Vec<FilePatch<'a>>, ParseError> {
    if text.len() > limits.bytes {
        let reason = format!("it has more than {} bytes", limits.bytes);
        return Err(ParseError { line: 1, reason });
    }
    let mut reader = Reader {
        text,
        at: 0,
        line: 1,
        strip,
        guess: strip == 1,
        hunks: limits.hunks,
        unpacked: limits.unpacked,
    };
    let mut patches = Vec::new();
    while let Some(patch) = reader.next()? {
        if patches.len() == limits.files {
            return Err(reader.error(format!("it changes more than {} files", limits.files)));
        }
        patches.push(patch);
    }
    if patches.is_empty() {
        return Err(ParseError {
            line: 1,
            reason: "there is no diff in it".to_owned(),
        });
    }
    Ok(patches)
}

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
    line: usize,
    strip: usize,
    /// Whether bare names may say that nothing is to be stripped.
    guess: bool,
    hunks: usize,
    unpacked: usize,
}

impl<'a> Reader<'a> {
    fn error(&self, reason: impl Into<String>) -> ParseError {
        ParseError {
            line: self.line,
            reason: reason.into(),
        }
    }

    fn rest(&self) -> &'a [u8] {
        &self.text[self.at..]
    }

    fn current(&self) -> &'a [u8] {
        &self.rest()[..line_length(self.rest())]
    }

    /// Goes on by some whole lines.
    fn skip(&mut self, bytes: usize) {
        let end = self.at + bytes;
        self.line += memchr::memchr_iter(b'\n', &self.text[self.at..end]).count();
        self.at = end;
    }

    fn next(&mut self) -> Result<Option<FilePatch<'a>>, ParseError> {
        let Some(mut header) = self.find_header()? else {
            return Ok(None);
        };
        let hunks = self.read_hunks(&mut header)?;
        let body = if hunks.is_empty() {
            self.read_other_body()?
        } else {
            Body::Text(hunks)
        };
        if matches!(&body, Body::Text(hunks) if hunks.is_empty()) && !header.changes_something() {
            return Err(self.error("a file is named, but nothing changes"));
        }
        let kind = header.kind();
        // A side that is not there keeps no name.
        let old = header.old.filter(|_| kind != Kind::Create);
        let new = header.new.filter(|_| kind != Kind::Delete);
        Ok(Some(FilePatch {
            kind,
            old,
            new,
            old_mode: header.old_mode,
            new_mode: header.new_mode,
            old_id: header.old_id,
            new_id: header.new_id,
            body,
        }))
    }

    /// Skips to the next file's header and reads it.
    fn find_header(&mut self) -> Result<Option<Header>, ParseError> {
        let mut cut = None;
        while !self.rest().is_empty() {
            let line = self.current();
            if line.len() < 6 {
                self.skip(line.len());
                continue;
            }
            if line.starts_with(b"@@ -") && hunk::read_header(line).is_some() {
                return Err(self.error("a hunk that belongs to no file"));
            }
            let after = &self.rest()[line.len()..];
            if after.len() < 6 {
                return Ok(None);
            }
            if line.starts_with(b"diff --git ") {
                let read = header::read_git(self.rest(), self.strip, cut.take());
                let (header, length) = read.map_err(|e| self.error(e))?;
                let alone = length <= line.len();
                self.skip(length);
                if alone {
                    cut = Some(header);
                    continue;
                }
                return Ok(Some(header));
            }
            if line.starts_with(b"--- ") && after.starts_with(b"+++ ") {
                let second = &after[..line_length(after)];
                // The shortest hunk header has 14 bytes.
                if after.len() >= second.len() + 14 && after[second.len()..].starts_with(b"@@ -") {
                    return self.read_traditional(line, second).map(Some);
                }
            }
            self.skip(line.len());
        }
        Ok(None)
    }

    fn read_traditional(&mut self, first: &[u8], second: &[u8]) -> Result<Header, ParseError> {
        if self.guess && header::is_bare(second) {
            (self.strip, self.guess) = (0, false);
        }
        let header = header::read_traditional(first, second, self.strip);
        let header = header.ok_or_else(|| self.error("there is no file name here"))?;
        self.skip(first.len() + second.len());
        Ok(header)
    }

    fn read_hunks(&mut self, header: &mut Header) -> Result<Vec<Hunk<'a>>, ParseError> {
        let mut hunks = Vec::new();
        while self.rest().len() > 4 && self.rest().starts_with(b"@@ -") {
            let Some((hunk, length)) = Hunk::read(self.rest(), self.line) else {
                return Err(
                    self.error("this hunk is broken: its lines are not what its header says")
                );
            };
            let Some(left) = self.hunks.checked_sub(1) else {
                return Err(self.error("it has too many hunks"));
            };
            self.hunks = left;
            if header.creates == Some(true) && hunk.old_lines > 0 {
                return Err(self.error("a new file cannot have lines before"));
            }
            if header.deletes == Some(true) && hunk.new_lines > 0 {
                return Err(self.error("a removed file cannot have lines after"));
            }
            hunks.push(hunk);
            self.skip(length);
        }
        // Without git's header: what has lines before is not new, what has lines after is not removed.
        let several = hunks.len() > 1;
        if header.creates.is_none() && (several || hunks.iter().any(|h| h.old_lines > 0)) {
            header.creates = Some(false);
        }
        if header.deletes.is_none() && (several || hunks.iter().any(|h| h.new_lines > 0)) {
            header.deletes = Some(false);
        }
        Ok(hunks)
    }

    fn read_other_body(&mut self) -> Result<Body<'a>, ParseError> {
        let line = self.current();
        if line == b"GIT binary patch\n" {
            self.skip(line.len());
            return self.read_binary();
        }
        let differ = line.ends_with(b" differ\n")
            && (line.starts_with(b"Binary files ") || line.starts_with(b"Files "));
        if differ {
            self.skip(line.len());
            return Ok(Body::Missing);
        }
        Ok(Body::Text(Vec::new()))
    }

    fn read_binary(&mut self) -> Result<Body<'a>, ParseError> {
        let Some(forward) = self.read_binary_part()? else {
            return Err(self.error("binary data of an unknown kind"));
        };
        // The way back may be there; it is read only to be skipped.
        self.read_binary_part()?;
        Ok(Body::Binary(forward))
    }

    fn read_binary_part(&mut self) -> Result<Option<Binary>, ParseError> {
        match Binary::read(self.rest(), self.unpacked) {
            Ok((binary, length)) => {
                let (Binary::Literal(data) | Binary::Delta(data)) = &binary;
                self.unpacked -= data.len();
                self.skip(length);
                Ok(Some(binary))
            }
            Err(Trouble::None) => Ok(None),
            Err(Trouble::Corrupt) => Err(self.error("its binary data is broken")),
            Err(Trouble::TooLong) => Err(self.error("its binary data is too long")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str, strip: usize) -> String {
        let patches = match parse(text.as_bytes(), strip, &Limits::default()) {
            Ok(patches) => patches,
            Err(error) => return error.to_string(),
        };
        let name = |n: &Option<Vec<u8>>| {
            n.as_ref()
                .map_or("-".into(), |n| String::from_utf8_lossy(n).into_owned())
        };
        let mode = |m: Option<u32>| m.map_or(String::new(), |m| format!(" {m:o}"));
        let one = |p: &FilePatch| {
            let body = match &p.body {
                Body::Text(hunks) => hunks.len().to_string(),
                Body::Binary(Binary::Literal(d)) => format!("literal {}", d.len()),
                Body::Binary(Binary::Delta(d)) => format!("delta {}", d.len()),
                Body::Missing => "missing".to_owned(),
            };
            format!(
                "{:?} {}{} {}{} {body}",
                p.kind,
                name(&p.old),
                mode(p.old_mode),
                name(&p.new),
                mode(p.new_mode)
            )
        };
        patches.iter().map(one).collect::<Vec<_>>().join("; ")
    }

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(shown(text, 1), expected, "text:\n{text}");
    }

    const HUNK: &str = "@@ -1 +1 @@\n-a\n+b\n";

    #[test]
    fn a_usual_patch_with_its_mail_around_it() {
        check(
            &format!(
                "---\n x | 2 +-\n\ndiff --git a/x b/x\nindex 1..2 100644\n--- a/x\n+++ b/x\n{HUNK}-- \n2.47.3\n\n"
            ),
            "Modify x 100644 x 1",
        );
    }

    #[test]
    fn new_removed_renamed_copied_and_mode_only() {
        check(
            "diff --git a/x b/x\nnew file mode 100755\nindex 0..1\n--- /dev/null\n+++ b/x\n@@ -0,0 +1 @@\n+b\n",
            "Create - x 100755 1",
        );
        check(
            "diff --git a/x b/x\ndeleted file mode 100644\nindex 1..0\n--- a/x\n+++ /dev/null\n@@ -1 +0,0 @@\n-b\n",
            "Delete x 100644 - 1",
        );
        check(
            "diff --git a/x b/d/y\nsimilarity index 100%\nrename from x\nrename to d/y\nxxxxxx\n",
            "Rename x d/y 0",
        );
        check(
            "diff --git a/x b/y\nsimilarity index 90%\ncopy from x\ncopy to y\nindex 1..2 100644\n--- a/x\n+++ b/y\n@@ -1 +1 @@\n-a\n+b\n",
            "Copy x 100644 y 1",
        );
        check(
            "diff --git a/x b/x\nold mode 100644\nnew mode 100755\n",
            "Modify x 100644 x 100755 0",
        );
        check(
            "diff --git a/e b/e\nnew file mode 100644\nindex 000..e69\n",
            "Create - e 100644 0",
        );
    }

    #[test]
    fn diffs_without_a_git_header() {
        check(
            &format!("--- a/x\t2020-01-01 10:00:00 +0000\n+++ b/x\n{HUNK}"),
            "Modify x x 1",
        );
        check(&format!("--- x.orig\n+++ x\n{HUNK}"), "Modify x x 1");
        check(
            "--- /dev/null\n+++ b/x\n@@ -0,0 +1 @@\n+b\n",
            "Create - x 1",
        );
        check(
            "--- a/x\n+++ b/x\n@@ -0,0 +1 @@\n+b\n",
            "ModifyOrCreate x x 1",
        );
        check(
            "--- a/x\n+++ b/x\t1970-01-01 00:00:00 +0000\n@@ -1 +0,0 @@\n-b\n",
            "Delete x - 1",
        );
    }

    #[test]
    fn binary_parts() {
        let literal = "GIT binary patch\nliteral 10\nRcmZQzWMXDvWn<^y1ONc904@Lk\n\nliteral 0\nHcmV?d00001\n\n";
        check(
            &format!("diff --git a/x b/x\nnew file mode 100644\nindex 0..1\n{literal}"),
            "Create - x 100644 literal 10",
        );
        check(
            "diff --git a/x b/x\nindex 1..2 100644\nBinary files a/x and b/x differ\n",
            "Modify x 100644 x missing",
        );
        check(
            "diff --git a/x b/x\nindex 1..2 100644\nGIT binary patch\nother 3\n",
            "line 4 of the patch: binary data of an unknown kind",
        );
    }

    #[test]
    fn names_without_prefix() {
        let text = format!("diff --git d/x d/x\nindex 1..2 100644\n--- d/x\n+++ d/x\n{HUNK}");
        assert_eq!(shown(&text, 1), "Modify x 100644 x 1");
        assert_eq!(shown(&text, 0), "Modify d/x 100644 d/x 1");
    }

    #[test]
    fn broken_patches_say_what_is_wrong_and_where() {
        check("hello\n", "line 1 of the patch: there is no diff in it");
        check(
            &format!("xxxxxx\n{HUNK}"),
            "line 2 of the patch: a hunk that belongs to no file",
        );
        check(
            "diff --git a/x b/x\nindex 1..2 100644\n",
            "line 3 of the patch: a file is named, but nothing changes",
        );
        check(
            "diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1,2 +1 @@\n-a\n+b\n",
            "line 4 of the patch: this hunk is broken: its lines are not what its header says",
        );
        check(
            &format!("diff --git a/x b/x\nnew file mode 100644\n--- /dev/null\n+++ b/x\n{HUNK}"),
            "line 5 of the patch: a new file cannot have lines before",
        );
        check(
            "diff --git a/x b/x\nnew file mode 100644\ndeleted file mode 100644\n",
            "line 1 of the patch: its header says two kinds of change at once",
        );
        check(
            "diff --git a/x b/x\nnew file mode 100644\n--- /dev/null\n+++ b/y\n@@ -0,0 +1 @@\n+b\n",
            "line 1 of the patch: its header gives a file two names",
        );
    }

    #[test]
    fn limits_hold() {
        let tight = Limits {
            bytes: 1_000,
            files: 2,
            hunks: 3,
            unpacked: 9,
        };
        let reason = |text: &str| {
            parse(text.as_bytes(), 1, &tight)
                .expect_err("over the limit")
                .reason
        };
        let file = format!("--- a/x\n+++ b/x\n{HUNK}");
        assert_eq!(reason(&"x".repeat(1_001)), "it has more than 1000 bytes");
        assert_eq!(reason(&file.repeat(3)), "it changes more than 2 files");
        assert_eq!(
            reason(&format!("{file}{}", HUNK.repeat(3))),
            "it has too many hunks"
        );
        let literal = "diff --git a/x b/x\nindex 0..1\nGIT binary patch\nliteral 10\nRcmZQzWMXDvWn<^y1ONc904@Lk\n\n";
        assert_eq!(reason(literal), "its binary data is too long");
    }
}
