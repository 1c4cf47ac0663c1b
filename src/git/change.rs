//! One mail's patch → which paths get which content: what `git apply --index` does, without a work tree.
//!
//! All of a patch fits, or nothing of it. Objects go into memory; the tree is the caller's, asked by path.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use gix::ObjectId;
use gix::objs::Kind as ObjectKind;

use super::GitError;
use super::objects::{Content, Objects};
use super::trees::{Edit, Entry};
use crate::diff::{
    self, BadDelta, Binary, Body, FILE, FilePatch, GITLINK, Hunk, Kind, Misfit, SYMLINK, file_type,
    recorded_mode,
};

/// Largest content that a binary delta may make.
const MAX_CONTENT: usize = 64 << 20;

/// Work of comparing a line, where reading a byte is 1 ([`Objects::spend`]).
const LINE_WORK: u64 = 8;

/// Why a patch has no place in a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Clash {
    /// The file.
    pub file: Vec<u8>,
    /// The hunk of its part of the patch, from 1; 0 if the whole file is in the way.
    pub hunk: usize,
    /// In words, without the file's name.
    pub detail: String,
}

/// What ends the work on one patch early.
#[derive(Debug)]
pub(super) enum Stop {
    /// It does not fit here.
    Clash(Clash),
    /// It fits nowhere: it names what no tree may hold, or its data is broken.
    Bad(String),
    /// Our own trouble.
    Git(GitError),
}

impl From<GitError> for Stop {
    fn from(error: GitError) -> Stop {
        Stop::Git(error)
    }
}

/// How line ends of patch and file are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LineEnds {
    /// As they stand.
    Exact,
    /// A file whose lines all end in CRLF takes a patch that came without the CRs, which mail and `git am` take away.
    OfTheFile,
}

/// Where a patch looks for what it changes.
pub(super) type Lookup<'a> = dyn Fn(&Objects, &[u8]) -> Result<Option<Entry>, GitError> + 'a;

/// What earlier parts of the same patch did, or later ones will do, to a path.
#[derive(Clone)]
enum Seen {
    Goes,
    Gone,
    Patched(u32, Content),
}

/// A patch at work.
struct Work<'a> {
    objects: &'a mut Objects,
    at: &'a Lookup<'a>,
    seen: HashMap<Vec<u8>, Seen>,
    links_gone: HashSet<Vec<u8>>,
    links_made: HashSet<Vec<u8>>,
    line_ends: LineEnds,
}

/// A file's part of the patch with what the tree says filled in.
struct Target<'a> {
    patch: &'a FilePatch<'a>,
    kind: Kind,
    old: Option<&'a [u8]>,
    new: Option<&'a [u8]>,
    new_mode: u32,
    content: Content,
}

/// Refuses a patch that names what no tree may hold, before anything is read for it.
pub(super) fn check_paths(patches: &[FilePatch<'_>]) -> Result<(), String> {
    for patch in patches {
        let old = patch.old.as_ref().map(|p| (p, patch.old_mode));
        let new = patch
            .new
            .as_ref()
            .map(|p| (p, patch.new_mode.or(patch.old_mode)));
        for (path, mode) in [old, new].into_iter().flatten() {
            if let Err(reason) = diff::path::check(path, mode.unwrap_or(FILE)) {
                return Err(format!(
                    "the path {:?} is refused: {reason}",
                    String::from_utf8_lossy(path)
                ));
            }
        }
    }
    Ok(())
}

/// Works out the edits that a patch means for the tree that `at` shows.
pub(super) fn work_out(
    patches: &[FilePatch<'_>],
    at: &Lookup<'_>,
    objects: &mut Objects,
    line_ends: LineEnds,
) -> Result<Vec<Edit>, Stop> {
    let mut work = Work {
        objects,
        at,
        seen: HashMap::new(),
        links_gone: HashSet::new(),
        links_made: HashSet::new(),
        line_ends,
    };
    work.look_ahead(patches);
    let mut edits = Vec::new();
    for patch in patches {
        work.file(patch, &mut edits)?;
    }
    // As in git, all that goes goes before anything comes: names may be swapped.
    edits.sort_by_key(|e| e.entry.is_some());
    Ok(edits)
}

impl Work<'_> {
    fn look_ahead(&mut self, patches: &[FilePatch<'_>]) {
        let is_link = |mode: Option<u32>| mode.is_some_and(|m| file_type(m) == SYMLINK);
        for patch in patches {
            let leaves = matches!(patch.kind, Kind::Delete | Kind::Rename);
            if let (true, Some(old)) = (leaves, &patch.old) {
                self.seen.insert(old.clone(), Seen::Goes);
                if is_link(patch.old_mode) {
                    self.links_gone.insert(old.clone());
                }
            }
            if let Some(new) = &patch.new
                && is_link(patch.new_mode)
            {
                self.links_made.insert(new.clone());
            }
        }
    }

    fn file(&mut self, patch: &FilePatch<'_>, edits: &mut Vec<Edit>) -> Result<(), Stop> {
        let target = self.target(patch)?;
        let content = self.content(&target)?;
        if let Some(new) = target.new {
            self.seen.insert(
                new.to_vec(),
                Seen::Patched(target.new_mode, Rc::clone(&content)),
            );
        }
        if let (Kind::Delete | Kind::Rename, Some(old)) = (target.kind, target.old) {
            self.seen.insert(old.to_vec(), Seen::Gone);
        }
        let removes = !matches!(target.kind, Kind::Create | Kind::Copy);
        if let (true, Some(old)) = (removes, target.old)
            && target.new != Some(old)
        {
            edits.push(Edit {
                path: old.to_vec(),
                entry: None,
            });
        }
        if let Some(new) = target.new {
            let entry = Some(self.entry(&target, &content)?);
            edits.push(Edit {
                path: new.to_vec(),
                entry,
            });
        }
        Ok(())
    }

    fn entry(&mut self, target: &Target<'_>, content: &Content) -> Result<Entry, Stop> {
        let mode = recorded_mode(target.new_mode);
        if mode != GITLINK {
            let id = self.objects.put(ObjectKind::Blob, Rc::clone(content))?;
            return Ok(Entry { mode, id });
        }
        let id = content
            .strip_prefix(b"Subproject commit ")
            .and_then(|rest| rest.get(..40));
        let id = id.and_then(|hex| ObjectId::from_hex(hex).ok());
        let id = id.ok_or_else(|| {
            clash(
                target.patch.path(),
                0,
                "the new commit of the submodule is not named",
            )
        })?;
        Ok(Entry { mode, id })
    }

    /// The path's state before, and all that decides whether the change may go there.
    fn target<'p>(&self, patch: &'p FilePatch<'p>) -> Result<Target<'p>, Stop> {
        let (mut kind, mut old) = (patch.kind, patch.old.as_deref());
        let (mut mode_there, mut content) = (0, Rc::new(Vec::new()));
        if let Some(path) = old {
            match self.there(patch, path)? {
                Some((mode, found)) => (mode_there, content) = (mode, found),
                None if kind == Kind::ModifyOrCreate => (kind, old) = (Kind::Create, None),
                None => return Err(clash(path, 0, "this file is not there")),
            }
        }
        let old_mode = patch.old_mode.unwrap_or(mode_there);
        if let Some(path) = old
            && file_type(old_mode) != file_type(mode_there)
        {
            return Err(clash(
                path,
                0,
                "it is of another type there: file, symbolic link or submodule",
            ));
        }
        let new = patch.new.as_deref().filter(|_| kind != Kind::Delete);
        let stays = matches!(
            kind,
            Kind::Modify | Kind::ModifyOrCreate | Kind::Rename | Kind::Copy
        );
        let new_mode = match patch.new_mode {
            Some(mode) => mode,
            None if stays => mode_there,
            None => FILE,
        };
        if let Some(path) = new {
            self.check_new(patch, kind, path)?;
            if old.is_some() && file_type(old_mode) != file_type(new_mode) {
                return Err(clash(
                    path,
                    0,
                    "its type changes without the old file being removed",
                ));
            }
            if let Err(reason) = diff::path::check(path, new_mode) {
                let name = String::from_utf8_lossy(path);
                return Err(Stop::Bad(format!("the path {name:?} is refused: {reason}")));
            }
            self.check_links(path)?;
        }
        Ok(Target {
            patch,
            kind,
            old,
            new,
            new_mode,
            content,
        })
    }

    /// Mode and content of the path that a change starts from.
    fn there(&self, patch: &FilePatch<'_>, path: &[u8]) -> Result<Option<(u32, Content)>, Stop> {
        // Renames and copies mean the tree before the whole patch, other changes build on each other.
        if !matches!(patch.kind, Kind::Rename | Kind::Copy) {
            match self.seen.get(path) {
                Some(Seen::Gone) => {
                    return Err(clash(
                        path,
                        0,
                        "an earlier part of the patch removed or renamed it",
                    ));
                }
                Some(Seen::Patched(mode, content)) => return Ok(Some((*mode, Rc::clone(content)))),
                Some(Seen::Goes) | None => {}
            }
        }
        let Some(entry) = (self.at)(self.objects, path)? else {
            return Ok(None);
        };
        let content = if entry.mode == GITLINK {
            Rc::new(format!("Subproject commit {}\n", entry.id).into_bytes())
        } else {
            self.objects.load(&entry.id, ObjectKind::Blob)?
        };
        Ok(Some((entry.mode, content)))
    }

    fn check_new(&self, patch: &FilePatch<'_>, kind: Kind, path: &[u8]) -> Result<(), Stop> {
        let makes = matches!(kind, Kind::Create | Kind::Rename | Kind::Copy);
        let freed = matches!(self.seen.get(path), Some(Seen::Goes | Seen::Gone));
        if makes && !freed && (self.at)(self.objects, path)?.is_some() {
            let what = if patch.kind == Kind::Create {
                "new"
            } else {
                "renamed or copied"
            };
            return Err(clash(path, 0, &format!("the {what} file is there already")));
        }
        Ok(())
    }

    /// No change goes through a symbolic link, whether it is there or made by the same patch.
    fn check_links(&self, path: &[u8]) -> Result<(), Stop> {
        for at in memchr::memrchr_iter(b'/', path) {
            let folder = &path[..at];
            let through = if self.links_made.contains(folder) {
                true
            } else if self.links_gone.contains(folder) {
                false
            } else {
                (self.at)(self.objects, folder)?.is_some_and(|e| e.mode == SYMLINK)
            };
            if through {
                return Err(clash(path, 0, "it lies behind a symbolic link"));
            }
        }
        Ok(())
    }

    /// The content after the change.
    fn content(&mut self, target: &Target<'_>) -> Result<Content, Stop> {
        let name = target.patch.path();
        let content = match &target.patch.body {
            Body::Text(hunks) if hunks.is_empty() => Rc::clone(&target.content),
            Body::Text(hunks) => match self.apply_hunks(&target.content, hunks) {
                Ok(content) => Rc::new(content),
                Err(Misfit::TooCostly) => {
                    return Err(clash(name, 0, "looking for the lines takes too long"));
                }
                Err(Misfit::NoPlace(at)) => {
                    let line = hunks[at].old_start;
                    let detail = format!(
                        "hunk {}, made for line {line}, finds other text there",
                        at + 1
                    );
                    return Err(clash(name, at + 1, &detail));
                }
            },
            Body::Binary(binary) => self.binary(target, Some(binary))?,
            Body::Missing => self.binary(target, None)?,
        };
        if target.kind == Kind::Delete && !content.is_empty() {
            return Err(clash(
                name,
                0,
                "the file is removed, but not all of its lines are",
            ));
        }
        Ok(content)
    }

    fn apply_hunks(&self, content: &[u8], hunks: &[Hunk<'_>]) -> Result<Vec<u8>, Misfit> {
        let lf = (self.line_ends == LineEnds::OfTheFile)
            .then(|| without_cr(content))
            .flatten();
        let most = self.objects.left() / LINE_WORK;
        let (placed, cost) = diff::apply_hunks(lf.as_deref().unwrap_or(content), hunks, most);
        if !self.objects.spend(cost * LINE_WORK) {
            return Err(Misfit::TooCostly);
        }
        placed.map(|text| if lf.is_some() { with_cr(&text) } else { text })
    }

    fn binary(&mut self, target: &Target<'_>, data: Option<&Binary>) -> Result<Content, Stop> {
        let patch = target.patch;
        let name = patch.path();
        let ids = (
            ObjectId::from_hex(&patch.old_id),
            ObjectId::from_hex(&patch.new_id),
        );
        let (Ok(before), Ok(after)) = ids else {
            return Err(clash(
                name,
                0,
                "its binary change does not name the full ids of the file before and after",
            ));
        };
        let here = self.objects.hash(ObjectKind::Blob, &target.content)?;
        if target.old.is_some() && here != before {
            return Err(clash(
                name,
                0,
                "its binary change is for another content than the one that is there",
            ));
        }
        if target.old.is_none() && !target.content.is_empty() {
            return Err(clash(
                name,
                0,
                "its binary change makes a file that is there already",
            ));
        }
        if after.is_null() {
            return Ok(Rc::new(Vec::new()));
        }
        if let Some((ObjectKind::Blob, content)) = self.objects.find_own(&after)? {
            return Ok(content);
        }
        let content = match data {
            None => return Err(clash(name, 0, "the patch leaves out its binary content")),
            Some(Binary::Literal(content)) => content.clone(),
            Some(Binary::Delta(delta)) => make_of_delta(&target.content, delta)?,
        };
        if self.objects.hash(ObjectKind::Blob, &content)? != after {
            return Err(Stop::Bad(
                "its binary data makes another content than it says".to_owned(),
            ));
        }
        Ok(Rc::new(content))
    }
}

fn make_of_delta(before: &[u8], delta: &[u8]) -> Result<Vec<u8>, Stop> {
    diff::apply_delta(before, delta, MAX_CONTENT).map_err(|bad| {
        Stop::Bad(match bad {
            BadDelta::Broken => "its binary delta is broken".to_owned(),
            BadDelta::TooLong => {
                let most = MAX_CONTENT >> 20;
                format!("its binary delta makes more than {most} MiB")
            }
        })
    })
}

/// A text whose lines all end in CRLF, with LF instead; `None` for other texts.
fn without_cr(content: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(content.len());
    for line in content.split_inclusive(|b| *b == b'\n') {
        match line.strip_suffix(b"\r\n") {
            Some(text) => {
                out.extend_from_slice(text);
                out.push(b'\n');
            }
            None if line.ends_with(b"\n") => return None,
            None => out.extend_from_slice(line),
        }
    }
    (out.len() < content.len()).then_some(out)
}

fn with_cr(content: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(content.len() + content.len() / 16);
    for line in content.split_inclusive(|b| *b == b'\n') {
        match line.strip_suffix(b"\n") {
            Some(text) => {
                out.extend_from_slice(text);
                out.extend_from_slice(b"\r\n");
            }
            None => out.extend_from_slice(line),
        }
    }
    out
}

pub(super) fn clash(file: &[u8], hunk: usize, detail: &str) -> Stop {
    Stop::Clash(Clash {
        file: file.to_vec(),
        hunk,
        detail: detail.to_owned(),
    })
}
