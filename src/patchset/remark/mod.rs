//! Remarks: what a reply says between quoted lines, tied to the line of the patch that it follows, and what became of that
//! line in a later version.
//!
//! [`find`] reads one reply, [`follow`] finds a line again, [`place`] lays all remarks out on the patches of one version,
//! [`pair`] says which patch of a later version an earlier one became. Quotes are compared as text: mail clients change
//! blanks, wrap lines, and quotes nest.

mod find;
mod follow;
mod pair;
mod place;
mod quiet;

#[cfg(test)]
mod tests;

pub use pair::{Pairable, pair};
pub use place::{Mark, Note, Notes, Reply, Shown, place_remarks};

/// Places of one text that are compared.
const MAX_PLACES: usize = 100;
/// Lines before a place that are compared to tell equal lines apart, and around one to find it again.
const AROUND: usize = 4;

/// How many lines of a mail's text count: the signature at its end is nobody's patch and nobody's remark.
fn before_signature(lines: &[&str]) -> usize {
    let diff = lines.iter().rposition(|l| l.starts_with("@@ -"));
    let sign = |l: &&str| *l == "-- " || *l == "--";
    let from = diff.map_or(0, |at| at + 1);
    match lines[from..].iter().rposition(sign) {
        // `--` may stand in prose; what ends a mail is short.
        Some(at) if lines[from + at] == "-- " || lines.len() - from - at < 12 => from + at,
        _ => lines.len(),
    }
}
