//! What changed between two versions of a series: which patch became which, and how.
//!
//! The rules are those of git-range-diff(1): patches with the same diff belong together; the others are paired so that the
//! pairs' differences, and the patches left single, cost least (a linear assignment, a single patch costs 60 % of its
//! lines). Works on mails, so that versions that do not apply can be compared too; time and memory are bounded.

mod assign;
mod lines;
mod reduce;
mod render;

use std::collections::HashMap;

use super::scan::scan;
use reduce::{Reduced, reduce};

pub use render::render;

/// Per cent of a patch's lines that it costs to leave it single (`--creation-factor` of git-range-diff(1)).
const CREATION_FACTOR: i64 = 60;
/// What it costs to pair a patch whose equal was found with another one (`COST_MAX` of git-range-diff(1)).
const NEVER: i64 = 1 << 16;
/// Patches a side; the assignment takes cubic time.
const MAX_PATCHES: usize = 300;
/// Bytes that are compared line by line, all pairs together.
const MAX_WORK: usize = 512 << 20;

/// A patch as it takes part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// Its commit's abbreviated id, if it has become one; dashes stand for it if not.
    pub id: Option<String>,
    /// `Name <address>`
    pub author: String,
    /// Commit message.
    pub message: String,
    /// Patch text.
    pub patch: Vec<u8>,
}

impl Commit {
    /// The subject: the message's first paragraph in one line.
    fn title(&self) -> String {
        let lines = self.message.trim_start().lines();
        let first: Vec<&str> = lines
            .map(str::trim_end)
            .take_while(|l| !l.is_empty())
            .collect();
        first.join(" ")
    }
}

/// What became of a patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Fate {
    /// In both versions, nothing changed.
    Same,
    /// In both, with differences.
    Changed,
    /// In the old one only.
    Dropped,
    /// In the new one only.
    Added,
}

impl Fate {
    /// The sign that `git range-diff` prints.
    pub fn sign(self) -> char {
        match self {
            Fate::Same => '=',
            Fate::Changed => '!',
            Fate::Dropped => '<',
            Fate::Added => '>',
        }
    }
}

/// Which side a line of a difference is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Sign {
    /// The old version's patch only.
    Old,
    /// The new version's patch only.
    New,
    /// Both.
    Both,
}

/// A line of a patch (which may itself begin with `+` or `-`).
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Row(pub Sign, pub String);

/// A run of differences.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Hunk {
    /// Where in the patch: `Commit message`, a file, a file and function; may be empty.
    pub heading: String,
    /// The lines with three unchanged ones around.
    pub rows: Vec<Row>,
}

/// A patch of the old version and the one it became.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Pair {
    /// Place in the old version, from 1.
    pub old: Option<usize>,
    /// Place in the new version, from 1.
    pub new: Option<usize>,
    /// Commit ids as given.
    pub ids: [Option<String>; 2],
    /// Subject, the old one if there are two.
    pub title: String,
    /// What became of it.
    pub fate: Fate,
    /// How it changed; empty unless [`Fate::Changed`].
    pub hunks: Vec<Hunk>,
    /// Of a new patch: the dropped one that it may well have been, and how it changed. `git range-diff` says nothing of it.
    #[serde(skip)]
    pub rewritten: Option<(usize, Vec<Hunk>)>,
}

/// Two versions that are not compared because it would cost too much.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TooLarge {
    /// Too many patches on one side.
    #[error("versions of more than {MAX_PATCHES} patches are not compared")]
    Patches,
    /// Too much text.
    #[error("the patches are too large to be compared")]
    Text,
}

/// Compares two versions; pairs come in the order of the new one, dropped patches where they stood in the old one.
pub fn range_diff(old: &[Commit], new: &[Commit]) -> Result<Vec<Pair>, TooLarge> {
    if old.len().max(new.len()) > MAX_PATCHES {
        return Err(TooLarge::Patches);
    }
    let read = |side: &[Commit]| -> Vec<Reduced> {
        let all = side.iter();
        all.map(|c| reduce(&c.author, &c.message, &c.patch))
            .collect()
    };
    let (a, b) = (read(old), read(new));
    let became = pair_up(&a, &b)?;
    let rewritten = find_rewritten(old, new, &became);
    let pair = |i: Option<usize>, j: Option<usize>| {
        let (fate, hunks) = match (i, j) {
            (Some(i), Some(j)) if a[i].text == b[j].text => (Fate::Same, Vec::new()),
            (Some(i), Some(j)) => (Fate::Changed, lines::hunks(&a[i].text, &b[j].text)),
            (Some(_), None) => (Fate::Dropped, Vec::new()),
            (None, _) => (Fate::Added, Vec::new()),
        };
        let (from, to) = (i.map(|i| &old[i]), j.map(|j| &new[j]));
        Pair {
            old: i.map(|i| i + 1),
            new: j.map(|j| j + 1),
            ids: [from, to].map(|c| c.and_then(|c| c.id.clone())),
            title: from.or(to).map(Commit::title).unwrap_or_default(),
            fate,
            hunks,
            rewritten: j.filter(|_| i.is_none()).and_then(|j| {
                let i = *rewritten.get(&j)?;
                Some((i + 1, lines::hunks(&a[i].text, &b[j].text)))
            }),
        }
    };
    let order = order(&became, b.len());
    Ok(order.into_iter().map(|(i, j)| pair(i, j)).collect())
}

/// For new patches that are paired with nothing, the dropped ones of the same title, else of the same number in a version of as
/// many patches if both change one file.
fn find_rewritten(
    old: &[Commit],
    new: &[Commit],
    became: &[Option<usize>],
) -> HashMap<usize, usize> {
    let mut dropped: Vec<usize> = (0..old.len()).filter(|i| became[*i].is_none()).collect();
    let added = (0..new.len()).filter(|j| !became.contains(&Some(*j)));
    let added: Vec<usize> = added.collect();
    let files = |c: &Commit| scan(&String::from_utf8_lossy(&c.patch)).files;
    let share_file = |a: &Commit, b: &Commit| {
        let known = files(b);
        files(a).iter().any(|file| known.contains(file))
    };
    let mut found = HashMap::new();
    for by_title in [true, false] {
        for j in &added {
            let fits = |i: &usize| match by_title {
                true => old[*i].title() == new[*j].title(),
                false => i == j && old.len() == new.len() && share_file(&old[*i], &new[*j]),
            };
            if !found.contains_key(j)
                && let Some(at) = dropped.iter().position(fits)
            {
                found.insert(*j, dropped.remove(at));
            }
        }
    }
    found
}

/// For each old patch the new one that it became.
fn pair_up(a: &[Reduced], b: &[Reduced]) -> Result<Vec<Option<usize>>, TooLarge> {
    let mut same: HashMap<&[u8], Vec<usize>> = HashMap::new();
    for (i, patch) in a.iter().enumerate() {
        same.entry(patch.diff()).or_default().push(i);
    }
    let mut became = vec![None; a.len()];
    let mut taken = vec![false; b.len()];
    for (j, patch) in b.iter().enumerate() {
        // Of several equal ones git takes the last.
        if let Some(i) = same.get_mut(patch.diff()).and_then(Vec::pop) {
            became[i] = Some(j);
            taken[j] = true;
        }
    }
    let rest_a: Vec<usize> = (0..a.len()).filter(|i| became[*i].is_none()).collect();
    let rest_b: Vec<usize> = (0..b.len()).filter(|j| !taken[*j]).collect();
    let bytes = |all: &[Reduced], rest: &[usize]| -> usize {
        rest.iter().map(|i| all[*i].diff().len()).sum()
    };
    let work = bytes(a, &rest_a)
        .saturating_mul(rest_b.len())
        .saturating_add(bytes(b, &rest_b).saturating_mul(rest_a.len()));
    if work > MAX_WORK {
        return Err(TooLarge::Text);
    }
    if rest_a.is_empty() || rest_b.is_empty() {
        return Ok(became);
    }
    let rows = assign::assign(&costs(a, b, &became, &taken), a.len() + b.len());
    for (old, row) in became.iter_mut().zip(rows) {
        *old = old.or(row.filter(|j| taken.get(*j) == Some(&false)));
    }
    Ok(became)
}

/// What each assignment costs, row by row: new patches, then places for the dropped; across, old patches, then places for
/// the added. Pairs that are made already stand in it as well, as git has it: they decide ties among the others.
fn costs(a: &[Reduced], b: &[Reduced], became: &[Option<usize>], taken: &[bool]) -> Vec<i64> {
    let alone = |patch: &Reduced, paired: bool| match paired {
        true => NEVER,
        false => patch.size * CREATION_FACTOR / 100,
    };
    let size = a.len() + b.len();
    let mut costs = vec![0; size * size];
    for row in 0..size {
        for column in 0..size {
            let (i, j) = (column, row);
            costs[row * size + column] = match (a.get(i), b.get(j)) {
                (Some(_), Some(_)) if became[i] == Some(j) => 0,
                (Some(old), Some(new)) if became[i].is_none() && !taken[j] => {
                    lines::price(old.diff(), new.diff())
                }
                (Some(_), Some(_)) => NEVER,
                (Some(old), None) => alone(old, became[i].is_some()),
                (None, Some(new)) => alone(new, taken[j]),
                (None, None) => 0,
            };
        }
    }
    costs
}

/// The order of `git range-diff`: by the new version; a dropped patch once all before it in the old version were shown.
fn order(became: &[Option<usize>], new: usize) -> Vec<(Option<usize>, Option<usize>)> {
    let mut came_from = vec![None; new];
    for (i, j) in became.iter().enumerate() {
        if let Some(j) = j {
            came_from[*j] = Some(i);
        }
    }
    let mut shown = vec![false; became.len()];
    let mut out = Vec::new();
    let (mut i, mut j) = (0, 0);
    while i < became.len() || j < new {
        while i < became.len() && shown[i] {
            i += 1;
        }
        if i < became.len() && became[i].is_none() {
            out.push((Some(i), None));
            i += 1;
            continue;
        }
        while j < new && came_from[j].is_none() {
            out.push((None, Some(j)));
            j += 1;
        }
        if let Some(from) = came_from.get(j).copied().flatten() {
            out.push((Some(from), Some(j)));
            shown[from] = true;
            j += 1;
        }
    }
    out
}

#[cfg(test)]
mod tests;
