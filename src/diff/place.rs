//! Where hunks go: exactly where they say, else at the nearest place that has their lines; never with less context.
//!
//! The order of tries and what binds a hunk to the file's begin and end are those of `git apply` without `--unidiff-zero`, so that of
//! several fitting places the same one is taken.

use super::hunk::{Hunk, line_length};

/// Comparisons of lines that one file may cost. Files of a million lines with a hundred hunks that moved stay below it.
const MAX_WORK: u64 = 200_000_000;

/// Why hunks do not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Misfit {
    /// No place has the lines of this hunk, counted from 0.
    NoPlace(usize),
    /// Looking for a place takes too long: the file or the patch repeats the same lines without end.
    TooCostly,
}

/// Applies hunks to a file's content, in their order; returns the new content and what it cost, in comparisons of lines.
///
/// `most` is how much it may cost, and a file never more than 200 million.
pub fn apply_hunks(
    content: &[u8],
    hunks: &[Hunk<'_>],
    most: u64,
) -> (Result<Vec<u8>, Misfit>, u64) {
    let mut image = Image::new(content);
    image.most = most.min(MAX_WORK);
    let mut hunks = hunks.iter().enumerate();
    let done = hunks.try_for_each(|(at, hunk)| image.apply(hunk, at));
    let content = done.map(|()| image.content(content.len()));
    (content, image.work)
}

#[derive(Clone, Copy)]
struct Slot<'a> {
    text: &'a [u8],
    /// Whether a hunk has put it here: what one hunk wrote is no context for another.
    patched: bool,
}

/// A file's lines with a gap where the last hunk went, so that hunks in order move few lines.
struct Image<'a> {
    before: Vec<Slot<'a>>,
    /// The lines behind the gap, last one first.
    behind: Vec<Slot<'a>>,
    work: u64,
    most: u64,
}

/// What a hunk wants to find.
struct Wanted<'a> {
    lines: Vec<&'a [u8]>,
    at_begin: bool,
    at_end: bool,
}

impl<'a> Image<'a> {
    fn new(content: &'a [u8]) -> Image<'a> {
        let mut behind = Vec::new();
        let mut rest = content;
        while !rest.is_empty() {
            let (text, after) = rest.split_at(line_length(rest));
            behind.push(Slot {
                text,
                patched: false,
            });
            rest = after;
        }
        behind.reverse();
        Image {
            before: Vec::new(),
            behind,
            work: 0,
            most: MAX_WORK,
        }
    }

    fn len(&self) -> usize {
        self.before.len() + self.behind.len()
    }

    fn slot(&self, line: usize) -> Slot<'a> {
        match line.checked_sub(self.before.len()) {
            None => self.before[line],
            Some(behind) => self.behind[self.behind.len() - 1 - behind],
        }
    }

    fn content(&self, guess: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(guess);
        let slots = self.before.iter().chain(self.behind.iter().rev());
        slots.for_each(|slot| out.extend_from_slice(slot.text));
        out
    }

    fn apply(&mut self, hunk: &Hunk<'a>, number: usize) -> Result<(), Misfit> {
        let wanted = Wanted {
            lines: hunk.before(),
            // "@@ -1" with or without context is about the file's begin, and a hunk without context below about its end.
            at_begin: hunk.old_start <= 1,
            at_end: hunk.trailing == 0,
        };
        let start = hunk.new_start.saturating_sub(1);
        let place = self.find(&wanted, start)?.ok_or(Misfit::NoPlace(number))?;
        self.move_gap(place);
        let kept = self.behind.len() - wanted.lines.len();
        self.behind.truncate(kept);
        let put = hunk.after().into_iter().map(|text| Slot {
            text,
            patched: true,
        });
        self.before.extend(put);
        Ok(())
    }

    fn move_gap(&mut self, place: usize) {
        let here = self.before.len();
        self.work += here.abs_diff(place) as u64;
        if place < here {
            self.behind.extend(self.before.drain(place..).rev());
        } else {
            let kept = self.behind.len() - (place - here);
            self.before.extend(self.behind.drain(kept..).rev());
        }
    }

    /// Looks at `start`, then one line below, one above, two below and so on.
    fn find(&mut self, wanted: &Wanted, start: usize) -> Result<Option<usize>, Misfit> {
        let count = self.len();
        let start = if wanted.at_begin {
            0
        } else if wanted.at_end {
            count.checked_sub(wanted.lines.len()).unwrap_or(count)
        } else {
            start.min(count)
        };
        if self.fits(wanted, start) {
            return Ok(Some(start));
        }
        // A bound hunk has no other place.
        if wanted.at_begin || wanted.at_end {
            return Ok(None);
        }
        for distance in 1..=count.max(1) {
            if start + distance <= count && self.fits(wanted, start + distance) {
                return Ok(Some(start + distance));
            }
            if distance <= start && self.fits(wanted, start - distance) {
                return Ok(Some(start - distance));
            }
            if self.work > self.most {
                return Err(Misfit::TooCostly);
            }
        }
        Ok(None)
    }

    fn fits(&mut self, wanted: &Wanted, place: usize) -> bool {
        self.work += 1;
        let count = self.len();
        let end = place + wanted.lines.len();
        let bound = (!wanted.at_begin || place == 0) && (!wanted.at_end || end == count);
        if end > count || !bound {
            return false;
        }
        for (at, line) in wanted.lines.iter().enumerate() {
            let slot = self.slot(place + at);
            self.work += 1;
            let last = at + 1 == wanted.lines.len();
            if slot.patched
                || !(slot.text == *line || (last && ends_early(slot.text, line, wanted.at_end)))
            {
                return false;
            }
        }
        true
    }
}

/// A wanted last line without line end is found in a line that goes on with nothing but white space: git compares no further.
fn ends_early(have: &[u8], wanted: &[u8], at_end: bool) -> bool {
    let blank = |rest: &[u8]| {
        rest.iter()
            .all(|b| matches!(b, b' ' | b'\t' | b'\n' | b'\r'))
    };
    !at_end && !wanted.ends_with(b"\n") && have.strip_prefix(wanted).is_some_and(blank)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diff::{Body, Limits, parse};

    #[track_caller]
    fn check(content: &str, hunks: &str, expected: Result<&str, Misfit>) {
        let text = format!("--- a/x\n+++ b/x\n{hunks}");
        let patches = parse(text.as_bytes(), 1, &Limits::default()).expect("a patch");
        let Body::Text(read) = &patches[0].body else {
            panic!("text")
        };
        let (result, _) = apply_hunks(content.as_bytes(), read, u64::MAX);
        let result = result.map(|r| String::from_utf8(r).expect("text"));
        assert_eq!(
            result.as_deref().map_err(|e| *e),
            expected,
            "content: {content:?}\n{hunks}"
        );
    }

    const HUNK: &str = "@@ -3,3 +3,3 @@\n a\n-b\n+B\n c\n";

    #[test]
    fn exact_then_nearest_below_before_above() {
        check("1\n2\na\nb\nc\n", HUNK, Ok("1\n2\na\nB\nc\n"));
        check("a\nb\nc\n1\n", HUNK, Ok("a\nB\nc\n1\n"));
        check("1\n2\n3\n4\na\nb\nc\n", HUNK, Ok("1\n2\n3\n4\na\nB\nc\n"));
        // One line above and one below: below wins.
        check(
            "1\na\nb\nc\na\nb\nc\n",
            "@@ -3,3 +4,3 @@\n a\n-b\n+B\n c\n",
            Ok("1\na\nb\nc\na\nB\nc\n"),
        );
        // Two above, and four below: above wins.
        check(
            "a\nb\nc\n4\n5\n6\na\nb\nc\n",
            HUNK,
            Ok("a\nB\nc\n4\n5\n6\na\nb\nc\n"),
        );
        check("1\n2\na\nx\nc\n", HUNK, Err(Misfit::NoPlace(0)));
    }

    #[test]
    fn hunks_at_begin_and_end_go_nowhere_else() {
        check(
            "1\na\nb\n",
            "@@ -1,2 +1,2 @@\n-a\n+A\n b\n",
            Err(Misfit::NoPlace(0)),
        );
        check(
            "a\nb\n1\n",
            "@@ -1,2 +1,2 @@\n-a\n+A\n b\n",
            Ok("A\nb\n1\n"),
        );
        check(
            "1\n2\na\nb\n3\n",
            "@@ -3,2 +3,2 @@\n a\n-b\n+B\n",
            Err(Misfit::NoPlace(0)),
        );
        check(
            "1\n2\n3\na\nb\n",
            "@@ -3,2 +3,2 @@\n a\n-b\n+B\n",
            Ok("1\n2\n3\na\nB\n"),
        );
        check("", "@@ -0,0 +1 @@\n+a\n", Ok("a\n"));
        check("1\n", "@@ -0,0 +1 @@\n+a\n", Err(Misfit::NoPlace(0)));
    }

    #[test]
    fn what_a_hunk_wrote_is_no_context_for_the_next() {
        let twice = "@@ -3,3 +3,3 @@\n a\n-b\n+B\n c\n@@ -5,2 +5,2 @@\n c\n-d\n+D\n e\n";
        let twice = twice.replace("@@ -5,2 +5,2 @@", "@@ -5,3 +5,3 @@");
        check("1\n2\na\nb\nc\nd\ne\n", &twice, Err(Misfit::NoPlace(1)));
        let backwards = "@@ -7,3 +7,3 @@\n x\n-y\n+Y\n z\n@@ -2,3 +2,3 @@\n a\n-b\n+B\n c\n";
        check(
            "1\na\nb\nc\nx\ny\nz\n",
            backwards,
            Ok("1\na\nB\nc\nx\nY\nz\n"),
        );
    }

    #[test]
    fn missing_line_ends() {
        let no_end = "@@ -2,2 +2,2 @@\n a\n-b\n\\ No newline at end of file\n+b\n";
        check("1\na\nb", no_end, Ok("1\na\nb\n"));
        check("1\na\nb\n", no_end, Err(Misfit::NoPlace(0)));
        let context = "@@ -2,2 +2,3 @@\n a\n+x\n b\n\\ No newline at end of file\n";
        check("1\na\nb", context, Ok("1\na\nx\nb"));
        // git takes this, too, and the line end is lost.
        check("1\na\nb\n", context, Ok("1\na\nx\nb"));
    }

    #[test]
    fn endless_repetition_is_given_up() {
        let content = "a\n".repeat(60_000);
        let hunk = format!(
            "@@ -3,20001 +3,20001 @@\n{}-b\n+B\n a\n",
            " a\n".repeat(19_999)
        );
        check(&content, &hunk, Err(Misfit::TooCostly));
    }
}
