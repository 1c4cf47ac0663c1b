//! Which patch of a later version a patch of an earlier one became.

use std::collections::HashMap;

use crate::diff::patch_id::{PatchId, patch_id};

/// A patch, as far as versions are compared by it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pairable<'a> {
    /// From 1.
    pub number: i64,
    /// How many patches its version has.
    pub total: i64,
    /// Title as versions are compared by.
    pub title: &'a str,
    /// Its text with the diff.
    pub text: &'a str,
}

/// For each old patch the place of what it became among the new ones: the same change, else the same title if only one
/// has it, else the same number where both versions have as many patches. `None`: it was dropped.
///
/// The old patches may be of several versions; several may become one.
pub fn pair(old: &[Pairable<'_>], new: &[Pairable<'_>]) -> Vec<Option<usize>> {
    let mut by_change: HashMap<PatchId, usize> = HashMap::new();
    let mut by_title: HashMap<&str, Vec<usize>> = HashMap::new();
    for (at, patch) in new.iter().enumerate() {
        if let Some(id) = patch_id(patch.text.as_bytes()) {
            by_change.entry(id).or_insert(at);
        }
        by_title.entry(patch.title).or_default().push(at);
    }
    let became = |patch: &Pairable<'_>| {
        let same = patch_id(patch.text.as_bytes()).and_then(|id| by_change.get(&id).copied());
        let titled = || match by_title.get(patch.title).map(Vec::as_slice) {
            Some([one]) => Some(*one),
            _ => None,
        };
        let numbered = || {
            let place = |n: &Pairable<'_>| (n.number, n.total) == (patch.number, patch.total);
            // Its title is another's now: then the numbers moved.
            let free = |at: &usize| {
                !old.iter()
                    .any(|o| o.total == patch.total && o.title == new[*at].title)
            };
            new.iter().position(place).filter(free)
        };
        same.or_else(titled).or_else(numbered)
    };
    old.iter().map(became).collect()
}
