//! Which files that are gone live on under another path: git's rename detection at its defaults for merges (`diffcore-rename.c`).
//!
//! Equal content first, then a name that is the only one of its kind on both sides, then the best pairs of at least half.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use gix::ObjectId;
use gix::objs::Kind;

use super::GitError;
use super::change::{Stop, clash};
use super::objects::Objects;
use super::trees::Entry;
use crate::diff::file_type;
use crate::diff::similarity::{MAX_SCORE, Pieces, RENAME_SCORE, may_be_alike};

/// A pair of files whose name is unique needs less comparing, but more likeness: three quarters.
const NAME_SCORE: u64 = RENAME_SCORE + (MAX_SCORE - RENAME_SCORE) / 2;
/// Candidates that are kept for each new file.
const CANDIDATES: usize = 4;
/// Largest product of gone and new files that is compared one by one (`merge.renameLimit`, 7,000 each).
const MAX_PAIRS: usize = 7_000 * 7_000;
/// Work of comparing one piece, where cutting one byte is 1.
const PIECE_WORK: u64 = 2;
/// And of looking at the sizes of a pair, and of listing a file.
const PAIR_WORK: u64 = 8;
/// Most pieces of gone files that are held at once (8 bytes each).
const MAX_HELD: usize = 16 << 20;

/// A path with what it holds.
pub(super) type Item = (Vec<u8>, Entry);

struct Search<'a> {
    objects: &'a Objects,
    gone: Vec<Item>,
    new: Vec<Item>,
    /// For each new file, the gone one that it was.
    origin: Vec<Option<usize>>,
    used: Vec<bool>,
    /// Of gone files, and how many pieces that is in sum.
    pieces: HashMap<ObjectId, Rc<Pieces>>,
    held: usize,
}

fn base_name(path: &[u8]) -> &[u8] {
    memchr::memrchr(b'/', path).map_or(path, |at| &path[at + 1..])
}

fn is_file(entry: &Entry) -> bool {
    file_type(entry.mode) == 0o100_000
}

/// Pairs each file of `gone` with the one of `new` that it became; returns (old path, new path).
///
/// A clash if that would be more work than one series may cause ([`Objects::spend`]): git would go on, for hours if need be.
pub(super) fn detect(
    objects: &Objects,
    mut gone: Vec<Item>,
    mut new: Vec<Item>,
) -> Result<HashMap<Vec<u8>, Vec<u8>>, Stop> {
    let empty = ObjectId::empty_blob(gix::hash::Kind::Sha1);
    gone.retain(|(_, e)| e.id != empty);
    new.retain(|(_, e)| e.id != empty);
    gone.sort_by(|a, b| a.0.cmp(&b.0));
    new.sort_by(|a, b| a.0.cmp(&b.0));
    if gone.is_empty() || new.is_empty() {
        return Ok(HashMap::new());
    }
    let mut search = Search {
        objects,
        origin: vec![None; new.len()],
        used: vec![false; gone.len()],
        gone,
        new,
        pieces: HashMap::new(),
        held: 0,
    };
    search.spend((search.gone.len() + search.new.len()) as u64 * PAIR_WORK, 0)?;
    search.equal();
    search.by_name()?;
    search.by_content()?;
    let pairs = search.origin.iter().enumerate();
    let pairs = pairs.filter_map(|(to, from)| {
        from.map(|from| (search.gone[from].0.clone(), search.new[to].0.clone()))
    });
    Ok(pairs.collect())
}

impl Search<'_> {
    fn take(&mut self, from: usize, to: usize) {
        self.used[from] = true;
        self.origin[to] = Some(from);
    }

    /// Files with the same content; of several, one with the same name.
    fn equal(&mut self) {
        let mut by_id: HashMap<ObjectId, Vec<usize>> = HashMap::new();
        for (at, (_, entry)) in self.gone.iter().enumerate() {
            by_id.entry(entry.id).or_default().push(at);
        }
        for to in 0..self.new.len() {
            let (path, entry) = &self.new[to];
            let Some(from) = by_id.get(&entry.id) else {
                continue;
            };
            let fits = |at: &&usize| {
                let other = &self.gone[**at].1;
                !self.used[**at] && ((is_file(entry) && is_file(other)) || entry.mode == other.mode)
            };
            let same_name = |at: &&usize| base_name(&self.gone[**at].0) == base_name(path);
            let open = from.iter().take(100).filter(fits);
            let best = open
                .clone()
                .find(same_name)
                .or_else(|| open.clone().next())
                .copied();
            if let Some(best) = best {
                self.take(best, to);
            }
        }
    }

    /// Whether two files can be alike at all, by type and size.
    fn comparable(&self, from: usize, to: usize) -> Result<bool, GitError> {
        let (a, b) = (self.gone[from].1, self.new[to].1);
        if !is_file(&a) || !is_file(&b) {
            return Ok(false);
        }
        let (a, b) = (self.objects.size(&a.id)?, self.objects.size(&b.id)?);
        Ok(may_be_alike(a, b, RENAME_SCORE))
    }

    /// The score of a pair whose new file is cut already.
    fn score(&mut self, from: usize, new: &Pieces) -> Result<u64, Stop> {
        let id = self.gone[from].1.id;
        let old = match self.pieces.get(&id) {
            Some(pieces) => Rc::clone(pieces),
            None => {
                let pieces = Rc::new(self.cut(id, from)?);
                self.held += pieces.len();
                if self.held > MAX_HELD {
                    return Err(self.too_much(from));
                }
                self.pieces.insert(id, Rc::clone(&pieces));
                pieces
            }
        };
        self.spend((old.len() + new.len()) as u64 * PIECE_WORK, from)?;
        Ok(old.score(new, RENAME_SCORE))
    }

    fn cut(&self, id: ObjectId, for_whom: usize) -> Result<Pieces, Stop> {
        self.spend(self.objects.size(&id)?, for_whom)?;
        Ok(Pieces::of(&self.objects.load(&id, Kind::Blob)?))
    }

    fn spend(&self, work: u64, for_whom: usize) -> Result<(), Stop> {
        match self.objects.spend(work) {
            true => Ok(()),
            false => Err(self.too_much(for_whom)),
        }
    }

    fn too_much(&self, from: usize) -> Stop {
        let detail = "it is not here, and to look for where it was moved would be too much work";
        clash(&self.gone[from].0, 0, detail)
    }

    fn open_gone(&self) -> Vec<usize> {
        (0..self.gone.len()).filter(|at| !self.used[*at]).collect()
    }

    fn open_new(&self) -> Vec<usize> {
        (0..self.new.len())
            .filter(|at| self.origin[*at].is_none())
            .collect()
    }

    /// Files whose last name only one gone and one new file has.
    fn by_name(&mut self) -> Result<(), Stop> {
        let unique = |items: &[Item], open: Vec<usize>| {
            let mut names: HashMap<Vec<u8>, Option<usize>> = HashMap::new();
            for at in open {
                let name = base_name(&items[at].0).to_vec();
                names
                    .entry(name)
                    .and_modify(|n| *n = None)
                    .or_insert(Some(at));
            }
            names
        };
        let gone = unique(&self.gone, self.open_gone());
        let new = unique(&self.new, self.open_new());
        let mut pairs: Vec<(usize, usize)> = gone
            .iter()
            .filter_map(|(name, from)| Some(((*from)?, (*new.get(name)?)?)))
            .collect();
        pairs.sort_unstable();
        for (from, to) in pairs {
            if !self.comparable(from, to)? {
                continue;
            }
            let pieces = self.cut(self.new[to].1.id, from)?;
            if self.score(from, &pieces)? >= NAME_SCORE {
                self.take(from, to);
            }
        }
        Ok(())
    }

    fn by_content(&mut self) -> Result<(), Stop> {
        let (gone, new) = (self.open_gone(), self.open_new());
        if gone.len() * new.len() > MAX_PAIRS {
            return Ok(());
        }
        let mut found: Vec<(u64, bool, usize, usize)> = Vec::new();
        for to in new {
            let mut best: Vec<(u64, bool, usize, usize)> = Vec::new();
            // Cut when the first that could be it is met, and held for this file only.
            let mut pieces = None;
            for from in &gone {
                self.spend(PAIR_WORK, *from)?;
                if !self.comparable(*from, to)? {
                    continue;
                }
                let pieces = match &pieces {
                    Some(pieces) => pieces,
                    None => pieces.insert(self.cut(self.new[to].1.id, *from)?),
                };
                let score = self.score(*from, pieces)?;
                let same = base_name(&self.gone[*from].0) == base_name(&self.new[to].0);
                if score > 0 {
                    keep(&mut best, (score, same, *from, to));
                }
            }
            found.extend(best);
        }
        // The sort is stable: of equal pairs the one that comes first in the tree counts.
        found.sort_by_key(|(score, same, _, _)| std::cmp::Reverse((*score, *same)));
        let mut taken: HashSet<usize> = HashSet::new();
        for (score, _, from, to) in found {
            if score >= RENAME_SCORE && !self.used[from] && taken.insert(to) {
                self.take(from, to);
            }
        }
        Ok(())
    }
}

/// Keeps the best few; the worst makes room.
fn keep(best: &mut Vec<(u64, bool, usize, usize)>, pair: (u64, bool, usize, usize)) {
    if best.len() < CANDIDATES {
        best.push(pair);
        return;
    }
    let worst = best
        .iter_mut()
        .min_by_key(|p| (p.0, p.1))
        .expect("there are some");
    if (worst.0, worst.1) < (pair.0, pair.1) {
        *worst = pair;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(objects: &mut Objects, path: &str, text: &str) -> Item {
        let id = objects.put(Kind::Blob, text.as_bytes().to_vec());
        let id = id.expect("an object in memory");
        let mode = 0o100_644;
        (path.as_bytes().to_vec(), Entry { mode, id })
    }

    /// Looks for ten files among 300 of like size with so much work to spend.
    fn look(work: u64) -> Result<usize, String> {
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::create_dir_all(dir.path().join("objects/pack")).expect("folders");
        let mut objects = Objects::open(dir.path()).expect("an empty store");
        objects.limit_work(work);
        let text = |n: usize, last: &str| {
            let lines = (0..40).map(|line| format!("line {line} of file {n}\n"));
            lines.collect::<String>() + last
        };
        let gone = (0..10).map(|n| item(&mut objects, &format!("old/{n}"), &text(n, "")));
        let gone: Vec<Item> = gone.collect();
        let new = (0..300).map(|n| item(&mut objects, &format!("new/x{n}"), &text(n, "more\n")));
        let new: Vec<Item> = new.collect();
        match detect(&objects, gone, new) {
            Ok(found) => Ok(found.len()),
            Err(Stop::Clash(clash)) => Err(clash.detail),
            Err(_) => panic!("neither found nor too much"),
        }
    }

    #[test]
    fn looking_for_renames_ends_where_the_work_of_a_series_does() {
        assert_eq!(look(10 << 20), Ok(10));
        let refused = look(50_000).expect_err("300 files are more than 50 KB");
        assert!(refused.contains("too much work"), "{refused}");
    }
}
