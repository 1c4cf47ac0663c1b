//! Remarks: what a reply says between quoted lines, tied to the line of the patch that it follows, and what became of that
//! line in a later version.
//!
//! Quotes are compared as text: mail clients change blanks at the ends of lines, and quotes nest.

use std::collections::HashMap;

/// An unquoted run of a reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// What it says, without empty lines around.
    pub text: String,
    /// The line of the patch's text that it follows, from 0; `None` if no quoted line stands in the patch.
    pub line: Option<usize>,
}

/// What became of a line in a later version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It still says the same; where it stands now.
    Unchanged(usize),
    /// It says something else; the lines around it are still there, and this is the place.
    Changed(usize),
    /// Neither it nor what stood around it is there.
    Gone,
}

/// Remarks of one reply that are kept.
const MAX_REMARKS: usize = 200;
/// Places of one text that are compared.
const MAX_PLACES: usize = 100;
/// Lines before a place that are compared to tell equal lines apart, and around one to find it again.
const AROUND: usize = 4;

/// The unquoted runs of `reply` in order, each with the line of `patch` that it follows. At most 200.
pub fn find_remarks(reply: &str, patch: &str) -> Vec<Remark> {
    let lines: Vec<&str> = patch.lines().collect();
    let index = index(lines.iter().copied().map(str::trim_end));
    let mut out: Vec<Remark> = Vec::new();
    let mut quote: Vec<&str> = Vec::new();
    let mut run: Vec<&str> = Vec::new();
    let mut after = 0;
    let text = reply.lines().take_while(|l| *l != "-- ");
    for line in text.map(Some).chain([None]) {
        match line {
            Some(line) if !line.starts_with('>') => run.push(line),
            _ => {
                if let Some(text) = said(&run).filter(|_| out.len() < MAX_REMARKS) {
                    // What stands above the first quote is no remark on a line.
                    let found = place(&quote, &lines, &index, after);
                    after = found.unwrap_or(after);
                    out.push(Remark { text, line: found });
                    quote.clear();
                }
                run.clear();
                quote.extend(line.map(unquoted));
            }
        }
    }
    // "On Monday, Ana wrote:" leads to the first quote.
    if out
        .first()
        .is_some_and(|r| r.line.is_none() && leads_in(&r.text))
    {
        out.remove(0);
    }
    out
}

fn index<'a>(lines: impl Iterator<Item = &'a str>) -> HashMap<&'a str, Vec<usize>> {
    let mut found: HashMap<&str, Vec<usize>> = HashMap::new();
    for (at, line) in lines.enumerate().filter(|(_, l)| !l.trim().is_empty()) {
        let places = found.entry(line).or_default();
        if places.len() < MAX_PLACES {
            places.push(at);
        }
    }
    found
}

fn said(run: &[&str]) -> Option<String> {
    let text = run.join("\n");
    let text = text.trim_matches('\n').trim_end();
    (!text.trim().is_empty()).then(|| text.to_owned())
}

fn leads_in(text: &str) -> bool {
    text.lines().count() <= 3 && text.trim_end().ends_with(':')
}

/// A quoted line as it was before it was quoted, however often.
fn unquoted(line: &str) -> &str {
    let mut rest = line;
    while let Some(next) = rest.strip_prefix('>') {
        // `> > x`: the blank belongs to the mark; a blank of the patch itself stands behind it.
        let inner = next.strip_prefix(' ').unwrap_or(next);
        rest = inner;
    }
    rest.trim_end()
}

/// The line of the patch where a quote ends: its last line that stands there, told apart by those before it.
fn place(
    quote: &[&str],
    lines: &[&str],
    index: &HashMap<&str, Vec<usize>>,
    after: usize,
) -> Option<usize> {
    let (at, places) = (0..quote.len())
        .rev()
        .find_map(|at| Some((at, index.get(quote[at])?)))?;
    let alike = |place: usize| {
        let before = quote[..at].iter().rev().zip(lines[..place].iter().rev());
        before
            .take(AROUND)
            .take_while(|(a, b)| **a == b.trim_end())
            .count()
    };
    // Among equals the first that follows the remark before it, as replies go down the patch.
    let rank = |place: &usize| (alike(*place), *place >= after, std::cmp::Reverse(*place));
    places.iter().copied().max_by_key(rank)
}

/// What became of line `at` of a patch's text in the same patch of a later version.
pub fn follow(old: &str, at: usize, new: &str) -> Fate {
    let (old, new) = (rows(old), rows(new));
    let Some(wanted) = old.get(at) else {
        return Fate::Gone;
    };
    let mut places: HashMap<(&str, &str), Vec<usize>> = HashMap::new();
    for (n, row) in new
        .iter()
        .enumerate()
        .filter(|(_, r)| !r.text.trim().is_empty())
    {
        let found = places.entry((row.file, row.text)).or_default();
        if found.len() < MAX_PLACES {
            found.push(n);
        }
    }
    let same = places_of(&places, wanted)
        .iter()
        .copied()
        .filter(|n| new[*n].gone == wanted.gone);
    let alike = |n: &usize| {
        let equal = |a: Option<&Row<'_>>, b: Option<&Row<'_>>| {
            a.zip(b)
                .is_some_and(|(a, b)| (a.file, a.text) == (b.file, b.text))
        };
        let up = (1..=AROUND).filter(|d| {
            let (a, b) = (at.checked_sub(*d), n.checked_sub(*d));
            equal(a.and_then(|i| old.get(i)), b.and_then(|i| new.get(i)))
        });
        let down = (1..=AROUND).filter(|d| equal(old.get(at + d), new.get(n + d)));
        (up.count() + down.count(), std::cmp::Reverse(n.abs_diff(at)))
    };
    if let Some(n) = same.max_by_key(alike) {
        return Fate::Unchanged(n);
    }
    // The nearest neighbour that is still there, the one above first: the remark stands below it.
    let near = (1..=AROUND).flat_map(|d| [at.checked_sub(d), at.checked_add(d)]);
    for row in near
        .flatten()
        .filter_map(|i| old.get(i))
        .filter(|r| r.file == wanted.file)
    {
        if let [n] = places_of(&places, row) {
            return Fate::Changed(*n);
        }
    }
    Fate::Gone
}

fn places_of<'p, 't>(
    places: &'p HashMap<(&'t str, &'t str), Vec<usize>>,
    row: &Row<'t>,
) -> &'p [usize] {
    let found = places.get(&(row.file, row.text));
    found.map_or(&[], Vec::as_slice)
}

/// A line of a patch's text: in which file, what it says, whether it is taken out.
struct Row<'a> {
    file: &'a str,
    text: &'a str,
    gone: bool,
}

/// The rows of a patch's text; lines above the first file are those of the message.
fn rows(patch: &str) -> Vec<Row<'_>> {
    let mut file = "";
    let mut hunk = false;
    let row = |line: &'_ str| line.trim_end().len();
    let mut out = Vec::new();
    for line in patch.lines() {
        let text = &line[..row(line)];
        if let Some(rest) = line.strip_prefix("diff --git ") {
            (file, hunk) = (rest, false);
        } else if line.starts_with("@@ ") {
            hunk = true;
        }
        let inside = hunk && line.starts_with(['+', '-', ' ']);
        out.push(Row {
            file,
            // A line that was new in one version may be context in the next.
            text: if inside {
                &text[1.min(text.len())..]
            } else {
                text
            },
            gone: inside && line.starts_with('-'),
        });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATCH: &str = "Fix it.\n---\ndiff --git a/a b/a\n--- a/a\n+++ b/a\n@@ -1,4 +1,5 @@\n one\n-two\n+TWO\n+three\n four\n\
        diff --git a/b b/b\n--- a/b\n+++ b/b\n@@ -1,2 +1,3 @@\n one\n+TWO\n two\n";

    #[track_caller]
    fn check(reply: &str, expected: &[(&str, Option<&str>)]) {
        let lines: Vec<&str> = PATCH.lines().collect();
        let found = find_remarks(reply, PATCH);
        let found: Vec<_> = found
            .iter()
            .map(|r| (r.text.as_str(), r.line.map(|at| lines[at])))
            .collect();
        assert_eq!(found, expected, "{reply}");
    }

    #[test]
    fn a_remark_stands_below_the_line_that_it_follows() {
        check(
            "On Monday, Ana wrote:\n> -two\n> +TWO\n\nWhy?\n\n> +three\nNo.\n-- \nBen\n",
            &[("Why?", Some("+TWO")), ("No.", Some("+three"))],
        );
        check("Thanks.\n", &[("Thanks.", None)]);
        check("> Fix it.\nHow?\n", &[("How?", Some("Fix it."))]);
        check("> nothing of it\nHm.\n", &[("Hm.", None)]);
        // An answer to an answer is about the line that both are about.
        check("> > +three\n> No.\nYes.\n", &[("Yes.", Some("+three"))]);
        // Two remarks in one run, with an empty line between.
        check("> +three\na\n\nb\n", &[("a\n\nb", Some("+three"))]);
    }

    #[test]
    fn equal_lines_are_told_apart_by_what_stands_before_them() {
        let at = |reply: &str| find_remarks(reply, PATCH)[0].line;
        assert_eq!(at("> -two\n> +TWO\nx\n"), Some(8));
        assert_eq!(at(">  one\n> +TWO\nx\n"), Some(16));
        let found = find_remarks("> +three\na\n> +TWO\nb\n", PATCH);
        assert_eq!(found[1].line, Some(16), "replies go down");
    }

    #[test]
    fn a_line_is_followed_into_the_next_version() {
        let at = |text: &str| PATCH.lines().position(|l| l == text).expect("a line of it");
        let check = |text: &str, new: &str, expected: Fate| {
            assert_eq!(follow(PATCH, at(text), new), expected, "{text}\n{new}");
        };
        check("+three", PATCH, Fate::Unchanged(9));
        let later = PATCH.replace("+three", " three");
        check("+three", &later, Fate::Unchanged(9));
        let changed = PATCH.replace("+three", "+drei");
        check("+three", &changed, Fate::Changed(8));
        let without = "Fix it.\n---\ndiff --git a/b b/b\n--- a/b\n+++ b/b\n@@ -1,2 +1,3 @@\n one\n+TWO\n two\n";
        check("+three", without, Fate::Gone);
        check("-two", &PATCH.replace("-two\n", ""), Fate::Changed(6));
        check("Fix it.", PATCH, Fate::Unchanged(0));
        assert_eq!(follow(PATCH, 999, PATCH), Fate::Gone);
    }

    #[test]
    fn floods_of_equal_lines_are_taken_in_their_stride() {
        let patch = "+x\n".repeat(50_000);
        let reply = "> +x\ny\n".repeat(20_000);
        assert_eq!(find_remarks(&reply, &patch).len(), MAX_REMARKS);
        assert!(matches!(follow(&patch, 40_000, &patch), Fate::Unchanged(_)));
    }
}
