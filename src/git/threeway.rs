//! What `git am -3` does where a patch does not fit: it is applied to the blobs that its `index` lines name, and the difference of
//! the two trees is merged into ours, with renames on either side followed (`merge-recursive.c`, without directory renames).
//!
//! The trees that are merged hold only the files of the patch, so the cost is the patch's, unless a file is gone from our tree: then
//! all of it is searched for where the file went.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use gix::ObjectId;
use gix::diff::blob::{Algorithm, Diff, InternedInput};
use gix::objs::Kind as ObjectKind;

use super::GitError;
use super::change::{LineEnds, Stop, clash, work_out};
use super::objects::Objects;
use super::renames::{Item, detect};
use super::trees::{Edit, Entry, Trees};
use crate::diff::merge::{self, Change};
use crate::diff::similarity::is_binary;
use crate::diff::{Body, FilePatch, GITLINK, Kind, file_type, recorded_mode};

type Files = BTreeMap<Vec<u8>, Entry>;

/// Work of comparing a byte's worth of lines, where reading it is 1.
const MERGE_WORK: u64 = 16;
/// Most lines of a text that is merged.
const MAX_LINES: usize = 2_000_000;
/// Work of comparing lines, for each of them and the root of their number.
const LINE_WORK: u64 = 4;
/// Largest text that is merged line by line (xdiff's own limit is 1 GB).
const MAX_TEXT: usize = 64 << 20;

/// Works out the edits for our tree, or says what stands against it.
pub(super) fn merge_patch(
    patches: &[FilePatch<'_>],
    ours: &Trees,
    objects: &mut Objects,
) -> Result<Vec<Edit>, Stop> {
    let base = ancestor(patches, ours, objects)?;
    let look = |_: &Objects, path: &[u8]| Ok(base.get(path).copied());
    let edits = work_out(patches, &look, objects, LineEnds::Exact)?;
    let mut theirs = base.clone();
    for edit in edits {
        match edit.entry {
            Some(entry) => theirs.insert(edit.path, entry),
            None => theirs.remove(&edit.path),
        };
    }
    if let Some(path) = overlap(&theirs) {
        return Err(clash(path, 0, "it is a file and a folder at once"));
    }
    Merge {
        base,
        theirs,
        ours,
        objects,
        our_names: Names::new(),
        their_names: Names::new(),
        met: BTreeSet::new(),
    }
    .run()
}

/// The files that the patch was made from, by the ids of its `index` lines.
fn ancestor(patches: &[FilePatch<'_>], ours: &Trees, objects: &Objects) -> Result<Files, Stop> {
    let mut files = Files::new();
    for patch in patches.iter().filter(|p| p.kind != Kind::Create) {
        let path = patch.path();
        let gitlink = patch.old_mode.is_some_and(|m| file_type(m) == GITLINK);
        let id = if gitlink {
            submodule_commit(patch)
        } else if let Some(id) = objects.find_blob(&patch.old_id)? {
            Some(id)
        } else if !patch.changes_lines() {
            // Mode and name alone change: any content will do, but a submodule has none.
            let there = ours.get(objects, path)?;
            there.filter(|e| e.mode != GITLINK).map(|e| e.id)
        } else {
            None
        };
        let Some(id) = id else {
            return Err(clash(
                path,
                0,
                "the content that it was made from is not in the repository",
            ));
        };
        let mode = recorded_mode(patch.old_mode.unwrap_or(0));
        files.insert(path.to_vec(), Entry { mode, id });
    }
    match overlap(&files) {
        Some(path) => Err(clash(path, 0, "it is a file and a folder at once")),
        None => Ok(files),
    }
}

fn submodule_commit(patch: &FilePatch<'_>) -> Option<ObjectId> {
    if let Body::Text(hunks) = &patch.body
        && let [hunk] = hunks.as_slice()
        && (hunk.old_start, hunk.old_lines) == (1, 1)
        && let Some(hex) = hunk.before().first()?.strip_prefix(b"Subproject commit ")
        && let Some(hex) = hex.strip_suffix(b"\n")
        && hex.starts_with(&patch.old_id)
        && let Ok(id) = ObjectId::from_hex(hex)
    {
        return Some(id);
    }
    ObjectId::from_hex(&patch.old_id).ok()
}

/// A path that lies below another one.
fn overlap(files: &Files) -> Option<&[u8]> {
    let below =
        |path: &[u8]| memchr::memchr_iter(b'/', path).any(|at| files.contains_key(&path[..at]));
    files.keys().map(Vec::as_slice).find(|path| below(path))
}

struct Merge<'a> {
    base: Files,
    theirs: Files,
    ours: &'a Trees,
    objects: &'a mut Objects,
    our_names: Names,
    their_names: Names,
    /// Paths at which two files met; what becomes of them is settled.
    met: BTreeSet<Vec<u8>>,
}

/// Old paths and the new ones of a side's renames.
type Names = HashMap<Vec<u8>, Vec<u8>>;

impl Merge<'_> {
    fn our(&self, path: &[u8]) -> Result<Option<Entry>, GitError> {
        self.ours.get(self.objects, path)
    }

    fn run(mut self) -> Result<Vec<Edit>, Stop> {
        let gone = self
            .base
            .iter()
            .filter(|(path, _)| !self.theirs.contains_key(*path));
        let gone: Vec<Item> = gone.map(|(p, e)| (p.clone(), *e)).collect();
        let new = self
            .theirs
            .iter()
            .filter(|(path, _)| !self.base.contains_key(*path));
        let new: Vec<Item> = new.map(|(p, e)| (p.clone(), *e)).collect();
        self.their_names = detect(self.objects, gone, new.clone())?;
        self.our_names = self.our_renames()?;
        let mut edits = Vec::new();
        let base = self.base.clone();
        for (path, before) in &base {
            let names = (self.our_names.get(path), self.their_names.get(path));
            let names = (names.0.cloned(), names.1.cloned());
            self.file(
                path,
                *before,
                (names.0.as_ref(), names.1.as_ref()),
                &mut edits,
            )?;
        }
        let renamed: HashSet<Vec<u8>> = self.their_names.values().cloned().collect();
        for (path, entry) in new {
            if self.met.contains(&path) || renamed.contains(&path) {
                continue;
            }
            match self.our(&path)? {
                None => edits.push(Edit {
                    path,
                    entry: Some(entry),
                }),
                Some(found) if found == entry => {}
                Some(found) => {
                    let id = self.added(&path, found, entry)?;
                    let entry = Some(Entry { id, ..found });
                    edits.push(Edit { path, entry });
                }
            }
        }
        edits.sort_by_key(|e| e.entry.is_some());
        Ok(edits)
    }

    /// Where the patch's files are in our tree, if not at their own path.
    fn our_renames(&self) -> Result<Names, Stop> {
        let mut gone = Vec::new();
        for (path, entry) in &self.base {
            if self.our(path)?.is_none() {
                gone.push((path.clone(), *entry));
            }
        }
        if gone.is_empty() {
            return Ok(Names::new());
        }
        let mut new = self.ours.all(self.objects)?;
        new.retain(|(path, _)| !self.base.contains_key(path));
        detect(self.objects, gone, new)
    }

    fn file(
        &mut self,
        path: &[u8],
        before: Entry,
        names: (Option<&Vec<u8>>, Option<&Vec<u8>>),
        edits: &mut Vec<Edit>,
    ) -> Result<(), Stop> {
        let (our_path, their_path) = match names {
            (Some(ours), Some(theirs)) if ours != theirs => {
                return Err(clash(
                    path,
                    0,
                    "both sides renamed this file, to different paths",
                ));
            }
            (ours, theirs) => (
                ours.map_or(path, Vec::as_slice),
                theirs.map_or(path, Vec::as_slice),
            ),
        };
        let ours = self.our(our_path)?;
        let theirs = self.theirs.get(their_path).copied();
        // Where the content ends up: a side that did not rename follows the other.
        let target = if names.1.is_some() {
            their_path
        } else {
            our_path
        };
        if self.met.contains(target) {
            return Ok(());
        }
        let other = match names {
            (Some(_), None) => self.theirs.get(target).copied(),
            (None, Some(_)) => self.our(target)?,
            _ => None,
        };
        if let Some(other) = other {
            let sides = (ours, theirs);
            return self.meet(
                path,
                before,
                sides,
                (target, names.0.is_some(), other),
                edits,
            );
        }
        let merged = match (ours, theirs) {
            (None, None) => return Ok(()),
            (None, Some(theirs)) if names.1.is_none() && theirs == before => return Ok(()),
            (Some(ours), None) if names.0.is_none() && ours == before => {
                edits.push(Edit {
                    path: path.to_vec(),
                    entry: None,
                });
                return Ok(());
            }
            (None, Some(_)) => {
                return Err(clash(
                    path,
                    0,
                    "the patch changes it, but it was removed here",
                ));
            }
            (Some(_), None) => {
                return Err(clash(
                    path,
                    0,
                    "the patch removes it, but it was changed here",
                ));
            }
            (Some(ours), Some(theirs)) if names.0.is_some() || names.1.is_some() => {
                self.renamed(target, before, ours, theirs)?
            }
            (Some(ours), Some(theirs)) => self.entries(target, before, ours, theirs)?,
        };
        if our_path != target {
            edits.push(Edit {
                path: our_path.to_vec(),
                entry: None,
            });
        }
        if our_path != target || Some(merged) != ours {
            edits.push(Edit {
                path: target.to_vec(),
                entry: Some(merged),
            });
        }
        Ok(())
    }

    /// Both sides of a file that one of them renamed: git compares types first then, whoever changed them.
    fn renamed(
        &mut self,
        path: &[u8],
        base: Entry,
        ours: Entry,
        theirs: Entry,
    ) -> Result<Entry, Stop> {
        if file_type(ours.mode) != file_type(theirs.mode) {
            return Err(clash(
                path,
                0,
                "it was renamed, and is of another type here",
            ));
        }
        self.entries(path, base, ours, theirs)
    }

    /// A renamed file meets one that the other side has at its new path, `other`: added there, or renamed as well.
    ///
    /// As in git, equal files are one; else the renamed file is merged first, and then both as if each side had added its own.
    fn meet(
        &mut self,
        path: &[u8],
        before: Entry,
        (ours, theirs): (Option<Entry>, Option<Entry>),
        (target, by_us, other): (&[u8], bool, Entry),
        edits: &mut Vec<Edit>,
    ) -> Result<(), Stop> {
        let (Some(ours), Some(theirs)) = (ours, theirs) else {
            let detail = "one side renamed it and the other removed it";
            return Err(clash(path, 0, detail));
        };
        self.met.insert(target.to_vec());
        let their_path = if by_us {
            &self.their_names
        } else {
            &self.our_names
        };
        let origin = their_path.iter().find(|(_, to)| *to == target);
        let origin = origin.map(|(from, _)| from.clone());
        let renamed = if by_us { ours } else { theirs };
        let mut gone = Vec::new();
        if !by_us {
            gone.push(path.to_vec());
        }
        let entry = if origin.is_none() && renamed == other {
            renamed
        } else {
            let first = self.renamed(target, before, ours, theirs)?;
            let second = match origin {
                None => other,
                Some(from) => {
                    let before = self.base.get(&from).copied();
                    let kept = if by_us {
                        self.our(&from)?
                    } else {
                        self.theirs.get(&from).copied()
                    };
                    let (Some(before), Some(kept)) = (before, kept) else {
                        let detail = "one side renamed it and the other removed it";
                        return Err(clash(&from, 0, detail));
                    };
                    let (ours, theirs) = if by_us { (kept, other) } else { (other, kept) };
                    if by_us {
                        gone.push(from);
                    }
                    self.renamed(target, before, ours, theirs)?
                }
            };
            if first == second {
                first
            } else {
                let id = match self.added(target, first, second) {
                    Err(Stop::Clash(_)) => {
                        let detail = "a renamed file would take the place of another one";
                        return Err(clash(target, 0, detail));
                    }
                    id => id?,
                };
                Entry { id, ..first }
            }
        };
        for path in gone {
            edits.push(Edit { path, entry: None });
        }
        let (path, entry) = (target.to_vec(), Some(entry));
        edits.push(Edit { path, entry });
        Ok(())
    }

    /// A file that both sides added: git merges them as changes of an empty one, so that an empty side gives way.
    fn added(&mut self, path: &[u8], ours: Entry, theirs: Entry) -> Result<ObjectId, Stop> {
        if ours.mode == theirs.mode && file_type(ours.mode) == 0o100_000 {
            return self.texts(path, None, ours, theirs);
        }
        Err(clash(
            path,
            0,
            "both sides added this file, with another mode or content",
        ))
    }

    fn entries(
        &mut self,
        path: &[u8],
        base: Entry,
        ours: Entry,
        theirs: Entry,
    ) -> Result<Entry, Stop> {
        if ours == base || ours == theirs {
            return Ok(theirs);
        }
        if theirs == base {
            return Ok(ours);
        }
        if file_type(ours.mode) != file_type(theirs.mode) {
            return Err(clash(
                path,
                0,
                "both sides changed its type: file, symbolic link or submodule",
            ));
        }
        let mode = if ours.mode == theirs.mode || ours.mode == base.mode {
            theirs.mode
        } else if theirs.mode == base.mode {
            ours.mode
        } else {
            return Err(clash(path, 0, "both sides changed its mode"));
        };
        let id = if ours.id == theirs.id || ours.id == base.id {
            theirs.id
        } else if theirs.id == base.id {
            ours.id
        } else if file_type(ours.mode) == 0o100_000 {
            self.texts(path, Some(base), ours, theirs)?
        } else {
            return Err(clash(path, 0, "both sides changed where it points"));
        };
        Ok(Entry { mode, id })
    }

    fn texts(
        &mut self,
        path: &[u8],
        base: Option<Entry>,
        ours: Entry,
        theirs: Entry,
    ) -> Result<ObjectId, Stop> {
        // What was a symbolic link or a submodule has no text to compare with.
        let base = match base.filter(|b| file_type(b.mode) == 0o100_000) {
            Some(base) => self.objects.load(&base.id, ObjectKind::Blob)?,
            None => std::rc::Rc::new(Vec::new()),
        };
        let ours = self.objects.load(&ours.id, ObjectKind::Blob)?;
        let theirs = self.objects.load(&theirs.id, ObjectKind::Blob)?;
        if [&base, &ours, &theirs]
            .iter()
            .any(|c| c.len() > MAX_TEXT || is_binary(c))
        {
            return Err(clash(path, 0, "both sides changed it, and it is not text"));
        }
        if !is_affordable(self.objects, [&base, &ours, &theirs]) {
            return Err(clash(
                path,
                0,
                "to merge it is more work than one series may cause",
            ));
        }
        let (ours, theirs) = (merge::lines(&ours), merge::lines(&theirs));
        let base = merge::lines(&base);
        let merged = merge::merge(
            &ours,
            &theirs,
            &changes(&base, &ours),
            &changes(&base, &theirs),
        );
        let merged = merged.map_err(|c| {
            let detail = format!(
                "around line {} the same lines were changed here in another way",
                c.line
            );
            clash(path, 0, &detail)
        })?;
        Ok(self.objects.put(ObjectKind::Blob, merged)?)
    }
}

/// Takes the work of merging these texts from what a series may cause; whether there was as much left.
///
/// Reading them costs what they are long; comparing lines costs more, the more of them differ.
fn is_affordable(objects: &Objects, texts: [&[u8]; 3]) -> bool {
    let size: usize = texts.iter().map(|t| t.len()).sum();
    let count = |text: &&[u8]| memchr::memchr_iter(b'\n', text).count();
    if texts.iter().map(count).any(|lines| lines > MAX_LINES)
        || !objects.spend(size as u64 * MERGE_WORK)
    {
        return false;
    }
    let [base, ours, theirs] = texts.map(merge::lines);
    objects.spend(line_work(&base, &ours).saturating_add(line_work(&base, &theirs)))
}

/// What it costs to compare two texts: only what stands between the first and the last line that differ is compared.
fn line_work(before: &[&[u8]], after: &[&[u8]]) -> u64 {
    let short = before.len().min(after.len());
    let ahead = before.iter().zip(after).take_while(|(a, b)| a == b).count();
    let pairs = before.iter().rev().zip(after.iter().rev());
    let behind = pairs
        .take(short - ahead)
        .take_while(|(a, b)| a == b)
        .count();
    let lines = (before.len() + after.len() - 2 * (ahead + behind)) as u64;
    lines
        .saturating_mul(lines.isqrt())
        .saturating_mul(LINE_WORK)
}

/// The changes from one text to another by the same algorithm as git's (Myers, groups moved down as far as they go).
fn changes(before: &[&[u8]], after: &[&[u8]]) -> Vec<Change> {
    let mut input = InternedInput::default();
    input.update_before(before.iter().copied());
    input.update_after(after.iter().copied());
    let mut diff = Diff::compute(Algorithm::Myers, &input);
    diff.postprocess_no_heuristic(&input);
    let wide = |r: &std::ops::Range<u32>| r.start as usize..r.end as usize;
    let hunks = diff.hunks();
    hunks
        .map(|h| Change {
            base: wide(&h.before),
            side: wide(&h.after),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_differ_cost_more_than_their_length() {
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::create_dir_all(dir.path().join("objects/pack")).expect("folders");
        let text = |count: u64, step: u64| {
            let line = |n: u64| format!("{}\n", n * step % count);
            (0..count).map(line).collect::<String>().into_bytes()
        };
        let fits = |base: &[u8], ours: &[u8], theirs: &[u8]| {
            let objects = Objects::open(dir.path()).expect("an empty store");
            is_affordable(&objects, [base, ours, theirs])
        };
        let many = text(1_000_003, 1);
        let shuffled = text(1_000_003, 7_919);
        let changed = [&many[..], b"one more\n"].concat();
        assert!(fits(&many, &changed, &many));
        assert!(!fits(&many, &shuffled, &many));
        assert!(!fits(&many, &many, &shuffled));
        assert!(fits(&text(10_007, 1), &text(10_007, 7_919), &many[..1_000]));
        // Empty lines are the most that a text can have.
        let empty = vec![b'\n'; MAX_LINES + 1];
        assert!(!fits(&empty, &empty, &empty));
    }
}
