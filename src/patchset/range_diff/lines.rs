//! Line by line: what differs between two reduced patches.

use gix_imara_diff::{Algorithm, Diff, InternedInput};

use super::{Hunk, Row, Sign};

/// Unchanged lines around a change.
const CONTEXT: usize = 3;

/// Changed runs of both sides, as line numbers from 0.
struct Run {
    old: std::ops::Range<usize>,
    new: std::ops::Range<usize>,
}

fn runs(diff: &Diff) -> Vec<Run> {
    let range = |r: std::ops::Range<u32>| r.start as usize..r.end as usize;
    let hunks = diff.hunks();
    hunks
        .map(|h| Run {
            old: range(h.before),
            new: range(h.after),
        })
        .collect()
}

/// Whether the two runs share a hunk: their contexts meet.
fn meet(a: &Run, b: &Run) -> bool {
    b.old.start - a.old.end <= 2 * CONTEXT
}

/// How many lines `git diff` would print, headings counted: what range-diff takes for the price of a pair.
pub(super) fn price(old: &[u8], new: &[u8]) -> i64 {
    let input = InternedInput::new(
        gix_imara_diff::sources::byte_lines(old),
        gix_imara_diff::sources::byte_lines(new),
    );
    let mut diff = Diff::compute(Algorithm::Myers, &input);
    diff.postprocess_no_heuristic(&input);
    let runs = runs(&diff);
    let mut price = 0;
    for hunk in runs.chunk_by(meet) {
        let (first, last) = (&hunk[0], &hunk[hunk.len() - 1]);
        let before = first.old.start.min(CONTEXT);
        let after = (input.before.len() - last.old.end).min(CONTEXT);
        let kept: usize = hunk.windows(2).map(|w| w[1].old.start - w[0].old.end).sum();
        let changed: usize = hunk.iter().map(|r| r.old.len() + r.new.len()).sum();
        price += 1 + before + after + kept + changed;
    }
    price as i64
}

/// The hunks that `git diff` would show, each under the last section or hunk heading before it.
pub(super) fn hunks(old: &[u8], new: &[u8]) -> Vec<Hunk> {
    let input = InternedInput::new(
        gix_imara_diff::sources::byte_lines(old),
        gix_imara_diff::sources::byte_lines(new),
    );
    let mut diff = Diff::compute(Algorithm::Myers, &input);
    diff.postprocess_lines(&input);
    let runs = runs(&diff);
    let line = |token| text(input.interner[token]);
    let mut heading = String::new();
    let mut searched = 0;
    let mut hunks = Vec::new();
    for group in runs.chunk_by(meet) {
        let start = group[0].old.start.saturating_sub(CONTEXT);
        let found = input.before[searched..start].iter().rev();
        if let Some(text) = found.filter_map(|t| section(input.interner[*t])).next() {
            heading = text;
        }
        searched = start;
        let mut rows = Vec::new();
        let mut at = start;
        for run in group {
            rows.extend(
                input.before[at..run.old.start]
                    .iter()
                    .map(|t| Row(Sign::Both, line(*t))),
            );
            rows.extend(
                input.before[run.old.clone()]
                    .iter()
                    .map(|t| Row(Sign::Old, line(*t))),
            );
            rows.extend(
                input.after[run.new.clone()]
                    .iter()
                    .map(|t| Row(Sign::New, line(*t))),
            );
            at = run.old.end;
        }
        let end = (at + CONTEXT).min(input.before.len());
        rows.extend(
            input.before[at..end]
                .iter()
                .map(|t| Row(Sign::Both, line(*t))),
        );
        hunks.push(Hunk {
            heading: heading.clone(),
            rows,
        });
    }
    hunks
}

fn text(line: &[u8]) -> String {
    String::from_utf8_lossy(line.strip_suffix(b"\n").unwrap_or(line)).into_owned()
}

/// The heading that a line gives: ` ## file ##`, or a hunk's `@@ file: function`.
fn section(line: &[u8]) -> Option<String> {
    let line = text(line);
    let found = line
        .strip_prefix(" ## ")
        .and_then(|l| l.strip_suffix(" ##"))
        .or_else(|| {
            let mut rest = line.chars();
            let second = {
                rest.next();
                rest.as_str()
            };
            line.strip_prefix("@@ ")
                .or_else(|| second.strip_prefix("@@ "))
        })?;
    // Git keeps 80 bytes.
    Some(found[..found.floor_char_boundary(80)].trim_end().to_owned())
}
