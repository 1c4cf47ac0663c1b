//! A tree that is edited path by path: only the folders on the way are read, and only those that changed are written.

use std::cell::RefCell;
use std::cmp::Ordering;
use std::collections::HashMap;

use gix::ObjectId;
use gix::objs::Kind;

use super::GitError;
use super::objects::Objects;

const FOLDER: u32 = 0o040_000;

/// What a path holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    pub mode: u32,
    pub id: ObjectId,
}

/// A path that gets another content, or none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Edit {
    pub path: Vec<u8>,
    pub entry: Option<Entry>,
}

#[derive(Debug, Clone)]
struct Named {
    name: Box<[u8]>,
    entry: Entry,
}

#[derive(Debug, Default, Clone)]
struct Folder {
    entries: Vec<Named>,
    changed: bool,
}

/// A tree in memory. Folders are kept by their path; the root's is empty.
pub(super) struct Trees {
    folders: RefCell<HashMap<Vec<u8>, Folder>>,
}

/// A file stands where a folder would have to be, or the other way round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct InTheWay;

/// git sorts a folder as if its name ended in a slash.
fn order(a: &[u8], a_mode: u32, b: &[u8], b_mode: u32) -> Ordering {
    let common = a.len().min(b.len());
    let end = |name: &[u8], mode: u32| match name.get(common) {
        Some(byte) => *byte,
        None if mode == FOLDER => b'/',
        None => 0,
    };
    let start = a[..common].cmp(&b[..common]);
    start.then_with(|| end(a, a_mode).cmp(&end(b, b_mode)))
}

impl Folder {
    fn read(data: &[u8]) -> Option<Folder> {
        let mut entries = Vec::new();
        let mut rest = data;
        while !rest.is_empty() {
            let blank = memchr::memchr(b' ', rest)?;
            let mode = u32::from_str_radix(std::str::from_utf8(&rest[..blank]).ok()?, 8).ok()?;
            let end = blank + memchr::memchr(0, &rest[blank..])?;
            let id = rest.get(end + 1..end + 21)?;
            entries.push(Named {
                name: rest[blank + 1..end].into(),
                entry: Entry {
                    mode,
                    id: ObjectId::from_bytes_or_panic(id),
                },
            });
            rest = &rest[end + 21..];
        }
        Some(Folder {
            entries,
            changed: false,
        })
    }

    fn write(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.entries.len() * 40);
        for named in &self.entries {
            out.extend_from_slice(format!("{:o} ", named.entry.mode).as_bytes());
            out.extend_from_slice(&named.name);
            out.push(0);
            out.extend_from_slice(named.entry.id.as_bytes());
        }
        out
    }

    /// Where a name stands, or where it would.
    fn place(&self, name: &[u8], mode: u32) -> Result<usize, usize> {
        self.entries
            .binary_search_by(|n| order(&n.name, n.entry.mode, name, mode))
    }

    /// The entry of a name, whatever it is.
    fn find(&self, name: &[u8]) -> Option<usize> {
        self.place(name, 0)
            .or_else(|_| self.place(name, FOLDER))
            .ok()
    }

    fn set(&mut self, name: &[u8], entry: Entry) {
        self.remove(name);
        let at = self.place(name, entry.mode).unwrap_or_else(|at| at);
        let name = name.into();
        self.entries.insert(at, Named { name, entry });
        self.changed = true;
    }

    fn remove(&mut self, name: &[u8]) {
        if let Some(at) = self.find(name) {
            self.entries.remove(at);
            self.changed = true;
        }
    }
}

/// The path of the folder that a path is in, and the last name.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memrchr(b'/', path) {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (b"", path),
    }
}

/// The paths of all folders above a path, outermost first, without the root.
fn parents(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    memchr::memchr_iter(b'/', path).map(|at| &path[..at])
}

impl Trees {
    /// Begins with a tree of the repository.
    pub fn new(objects: &Objects, root: &ObjectId) -> Result<Trees, GitError> {
        let trees = Trees {
            folders: RefCell::default(),
        };
        trees.load(objects, b"", root)?;
        Ok(trees)
    }

    fn load(&self, objects: &Objects, path: &[u8], id: &ObjectId) -> Result<(), GitError> {
        let data = objects.load(id, Kind::Tree)?;
        let folder = Folder::read(&data)
            .ok_or_else(|| GitError::Refused(format!("the tree {id} is broken")))?;
        self.folders.borrow_mut().insert(path.to_vec(), folder);
        Ok(())
    }

    /// Reads the folders on the way; whether the whole way is there.
    fn open(&self, objects: &Objects, folder: &[u8]) -> Result<bool, GitError> {
        if self.folders.borrow().contains_key(folder) {
            return Ok(true);
        }
        let way = parents(folder).chain((!folder.is_empty()).then_some(folder));
        for path in way {
            if self.folders.borrow().contains_key(path) {
                continue;
            }
            match self.look(path) {
                Some(entry) if entry.mode == FOLDER => self.load(objects, path, &entry.id)?,
                _ => return Ok(false),
            }
        }
        Ok(true)
    }

    /// The entry of a path whose folder is open.
    fn look(&self, path: &[u8]) -> Option<Entry> {
        let (folder, name) = split(path);
        let folders = self.folders.borrow();
        let folder = folders.get(folder)?;
        folder.find(name).map(|at| folder.entries[at].entry)
    }

    /// The file, symbolic link or gitlink at a path; `None` for nothing and for folders.
    pub fn get(&self, objects: &Objects, path: &[u8]) -> Result<Option<Entry>, GitError> {
        let there = self.open(objects, split(path).0)?;
        Ok(self.look(path).filter(|e| there && e.mode != FOLDER))
    }

    /// Makes edits: first what goes, then what comes. Where something is in the way, the tree stays as it is.
    pub fn edit(
        &mut self,
        objects: &Objects,
        edits: &[Edit],
    ) -> Result<Result<(), InTheWay>, GitError> {
        let mut before = Vec::with_capacity(edits.len());
        for edit in edits {
            before.push(self.get(objects, &edit.path)?);
        }
        let done = self.try_edit(objects, edits)?;
        if done.is_err() {
            for edit in edits {
                self.remove(objects, &edit.path)?;
            }
            for (edit, entry) in edits.iter().zip(before) {
                if let Some(entry) = entry {
                    // These files stood beside each other before.
                    let _fits = self.set(objects, &edit.path, entry)?;
                }
            }
        }
        Ok(done)
    }

    fn try_edit(
        &mut self,
        objects: &Objects,
        edits: &[Edit],
    ) -> Result<Result<(), InTheWay>, GitError> {
        for edit in edits.iter().filter(|e| e.entry.is_none()) {
            self.remove(objects, &edit.path)?;
        }
        for edit in edits {
            if let Some(entry) = edit.entry
                && let Err(problem) = self.set(objects, &edit.path, entry)?
            {
                return Ok(Err(problem));
            }
        }
        Ok(Ok(()))
    }

    fn remove(&mut self, objects: &Objects, path: &[u8]) -> Result<(), GitError> {
        if self.get(objects, path)?.is_none() {
            return Ok(());
        }
        let folders = self.folders.get_mut();
        let mut path = path;
        // A folder that holds nothing is not there.
        loop {
            let (above, name) = split(path);
            let Some(folder) = folders.get_mut(above) else {
                return Ok(());
            };
            folder.remove(name);
            if !folder.entries.is_empty() || above.is_empty() {
                break;
            }
            folders.remove(above);
            path = above;
        }
        self.mark(path);
        Ok(())
    }

    fn set(
        &mut self,
        objects: &Objects,
        path: &[u8],
        entry: Entry,
    ) -> Result<Result<(), InTheWay>, GitError> {
        for folder in parents(path) {
            self.open(objects, split(folder).0)?;
            match self.look(folder) {
                Some(found) if found.mode != FOLDER => return Ok(Err(InTheWay)),
                Some(_) => {
                    self.open(objects, folder)?;
                }
                None => {
                    let (above, name) = split(folder);
                    let folders = self.folders.get_mut();
                    let id = ObjectId::empty_tree(gix::hash::Kind::Sha1);
                    if let Some(above) = folders.get_mut(above) {
                        above.set(name, Entry { mode: FOLDER, id });
                    }
                    folders.insert(folder.to_vec(), Folder::default());
                }
            }
        }
        if self.look(path).is_some_and(|e| e.mode == FOLDER) {
            return Ok(Err(InTheWay));
        }
        let (folder, name) = split(path);
        if let Some(folder) = self.folders.get_mut().get_mut(folder) {
            folder.set(name, entry);
        }
        self.mark(path);
        Ok(Ok(()))
    }

    /// All folders above a path have to be written anew.
    fn mark(&mut self, path: &[u8]) {
        let folders = self.folders.get_mut();
        for folder in parents(path).chain([&b""[..]]) {
            if let Some(folder) = folders.get_mut(folder) {
                folder.changed = true;
            }
        }
    }

    /// Puts the folders that changed into the store, innermost first; returns the root's id.
    pub fn write(&mut self, objects: &mut Objects) -> Result<ObjectId, GitError> {
        let folders = self.folders.get_mut();
        let changed = folders.iter().filter(|(_, f)| f.changed);
        let mut paths: Vec<Vec<u8>> = changed.map(|(path, _)| path.clone()).collect();
        paths.sort_by_key(|p| std::cmp::Reverse((memchr::memchr_iter(b'/', p).count(), p.len())));
        for path in paths {
            let Some(folder) = folders.get_mut(&path) else {
                continue;
            };
            folder.changed = path.is_empty();
            let id = objects.put(Kind::Tree, folder.write())?;
            if path.is_empty() {
                folder.changed = false;
                return Ok(id);
            }
            let (above, name) = split(&path);
            if let Some(above) = folders.get_mut(above)
                && let Some(at) = above.find(name)
            {
                above.entries[at].entry.id = id;
            }
        }
        let root = folders.get(&b""[..]).map(Folder::write).unwrap_or_default();
        objects.hash(Kind::Tree, &root)
    }

    /// Every path of the tree that is no folder, in no order. Costs as much as the tree has folders.
    pub fn all(&self, objects: &Objects) -> Result<Vec<(Vec<u8>, Entry)>, GitError> {
        let mut out = Vec::new();
        let mut waiting = vec![Vec::new()];
        while let Some(folder) = waiting.pop() {
            self.open(objects, &folder)?;
            let folders = self.folders.borrow();
            let Some(entries) = folders.get(&folder).map(|f| &f.entries) else {
                continue;
            };
            for named in entries {
                let slash: &[u8] = if folder.is_empty() { b"" } else { b"/" };
                let path = [&folder[..], slash, &named.name].concat();
                if named.entry.mode == FOLDER {
                    waiting.push(path);
                } else {
                    out.push((path, named.entry));
                }
            }
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_sort_as_if_they_ended_in_a_slash() {
        let is = |a: &str, am: u32, b: &str, bm: u32| order(a.as_bytes(), am, b.as_bytes(), bm);
        assert_eq!(is("a", 0, "a.c", 0), Ordering::Less);
        assert_eq!(is("a", FOLDER, "a.c", 0), Ordering::Greater);
        assert_eq!(is("a", FOLDER, "a0", 0), Ordering::Less);
        assert_eq!(is("a", FOLDER, "a", FOLDER), Ordering::Equal);
    }

    #[test]
    fn edits_make_the_tree_that_git_would_make() {
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::create_dir_all(dir.path().join("objects/pack")).expect("folders");
        let mut objects = Objects::open(dir.path()).expect("an empty store");
        let empty = objects.put(Kind::Tree, Vec::new()).expect("put");
        let blob = objects.put(Kind::Blob, b"x\n".to_vec()).expect("put");
        let mut trees = Trees::new(&objects, &empty).expect("open");
        let put = |path: &str| Edit {
            path: path.into(),
            entry: Some(Entry {
                mode: 0o100_644,
                id: blob,
            }),
        };
        let gone = |path: &str| Edit {
            path: path.into(),
            entry: None,
        };
        let edits = [put("d/e/f"), put("d.c"), put("d/a"), put("z")];
        assert_eq!(trees.edit(&objects, &edits).expect("fine"), Ok(()));
        let root = trees.write(&mut objects).expect("write");
        // As `git write-tree` says for the same files.
        assert_eq!(root.to_string(), "59351b864bbe6c70674bf820c2448ecda0cd624f");
        assert_eq!(
            trees.edit(&objects, &[put("z/a")]).expect("fine"),
            Err(InTheWay)
        );
        assert_eq!(
            trees.edit(&objects, &[put("d/e")]).expect("fine"),
            Err(InTheWay)
        );
        assert_eq!(
            trees
                .edit(&objects, &[gone("d/e/f"), put("d/e")])
                .expect("fine"),
            Ok(())
        );
        let all = [
            gone("d/e"),
            gone("d/a"),
            gone("d.c"),
            gone("z"),
            gone("absent/x"),
        ];
        assert_eq!(trees.edit(&objects, &all).expect("fine"), Ok(()));
        assert_eq!(trees.write(&mut objects).expect("write"), empty);
    }
}
