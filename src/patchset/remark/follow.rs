//! A line of a patch, found again in the same patch of a later version.

use std::collections::HashMap;

use super::{AROUND, MAX_PLACES, before_signature};

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

/// A patch's text beside that of a later version.
pub struct Follower<'a> {
    old: Vec<Row<'a>>,
    new: Vec<Row<'a>>,
    /// Where each line of the new text stands.
    places: HashMap<(&'a str, &'a str), Vec<usize>>,
}

impl<'a> Follower<'a> {
    /// Reads both texts.
    pub fn new(old: &'a str, new: &'a str) -> Follower<'a> {
        let (old, new) = (rows(old), rows(new));
        let mut places: HashMap<(&str, &str), Vec<usize>> = HashMap::new();
        let said = new.iter().enumerate();
        for (n, row) in said.filter(|(_, r)| !r.text.trim().is_empty()) {
            let found = places.entry((row.file, row.text)).or_default();
            if found.len() < MAX_PLACES {
                found.push(n);
            }
        }
        Follower { old, new, places }
    }

    /// What became of line `at` of the old text.
    pub fn fate(&self, at: usize) -> Fate {
        let Some(wanted) = self.old.get(at) else {
            return Fate::Gone;
        };
        let same = self.places_of(wanted).iter().copied();
        let same = same.filter(|n| self.new[*n].gone == wanted.gone);
        let rank = |n: &usize| (self.alike(at, *n), std::cmp::Reverse(n.abs_diff(at)));
        if let Some(n) = same.max_by_key(rank) {
            return Fate::Unchanged(n);
        }
        // The nearest neighbour that is still there, the one above first: the remark stands below it.
        let near = (1..=AROUND).flat_map(|d| [at.checked_sub(d), at.checked_add(d)]);
        let near = near.flatten().filter_map(|i| self.old.get(i));
        let places = near
            .filter(|r| r.file == wanted.file)
            .map(|r| self.places_of(r));
        let lone = places.filter_map(|found| match found {
            [n] => Some(*n),
            _ => None,
        });
        lone.map(Fate::Changed).next().unwrap_or(Fate::Gone)
    }

    /// How many lines around two places agree.
    fn alike(&self, at: usize, n: usize) -> usize {
        let equal = |a: Option<usize>, b: Option<usize>| {
            let (a, b) = (
                a.and_then(|i| self.old.get(i)),
                b.and_then(|i| self.new.get(i)),
            );
            a.zip(b)
                .is_some_and(|(a, b)| (a.file, a.text) == (b.file, b.text))
        };
        let up = (1..=AROUND).filter(|d| equal(at.checked_sub(*d), n.checked_sub(*d)));
        let down = (1..=AROUND).filter(|d| equal(at.checked_add(*d), n.checked_add(*d)));
        up.count() + down.count()
    }

    fn places_of(&self, row: &Row<'a>) -> &[usize] {
        let found = self.places.get(&(row.file, row.text));
        found.map_or(&[], Vec::as_slice)
    }
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
    let mut lines: Vec<&str> = patch.lines().collect();
    lines.truncate(before_signature(&lines));
    let mut out = Vec::with_capacity(lines.len());
    for line in lines {
        let text = line.trim_end();
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
                text.get(1..).unwrap_or("")
            } else {
                text
            },
            gone: inside && line.starts_with('-'),
        });
    }
    out
}
