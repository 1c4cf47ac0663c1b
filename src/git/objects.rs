//! Objects: those of a repository and of what it borrows, and those that a series makes, which stay in memory until they are published.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use gix::ObjectId;
use gix::objs::{Exists, Find, Kind};
use gix::odb::Header;

use super::GitError;

/// Largest object that is read: what a patch is applied to stays in memory some times over.
const MAX_OBJECT: usize = 128 << 20;
/// Most bytes that one series may make.
const MAX_NEW: usize = 512 << 20;
/// Most work of placing hunks, merging and looking for renamed files that one series may cause, about in bytes read: some seconds.
const MAX_WORK: u64 = 4 << 30;

/// An object's bytes, shared by all who look at them.
pub(super) type Content = Rc<Vec<u8>>;

fn open_odb(repo: &Path) -> Result<gix::odb::Handle, GitError> {
    let options = gix::odb::store::init::Options {
        alloc_limit_bytes: Some(MAX_OBJECT),
        ..Default::default()
    };
    let odb = gix::odb::at_opts(repo.join("objects"), gix::hash::Kind::Sha1, None, options);
    let mut odb = odb.map_err(|source| GitError::Start {
        repo: repo.to_owned(),
        source,
    })?;
    // Each object that is not there would else make the folders be read anew.
    odb.refresh_never();
    Ok(odb)
}

/// The object store of one run.
pub(super) struct Objects {
    repo: PathBuf,
    odb: gix::odb::Handle,
    /// The project's own objects, where `odb` has those of strangers, too.
    project: Option<gix::odb::Handle>,
    /// In order: ids that are cut short are looked up among many.
    new: BTreeMap<ObjectId, (Kind, Content)>,
    order: Vec<ObjectId>,
    bytes: usize,
    sizes: RefCell<HashMap<ObjectId, u64>>,
    work: Cell<u64>,
}

impl Objects {
    /// Opens the objects of a repository, given its git folder.
    pub fn open(repo: &Path) -> Result<Objects, GitError> {
        Ok(Objects {
            repo: repo.to_owned(),
            odb: open_odb(repo)?,
            project: None,
            new: BTreeMap::new(),
            order: Vec::new(),
            bytes: 0,
            sizes: RefCell::default(),
            work: Cell::new(MAX_WORK),
        })
    }

    /// Opens a companion, which borrows the objects of `project`. What a patch names by its first digits is looked for in the
    /// project only: no stranger's blob has a say, nor the order in which series were applied.
    pub fn open_beside(companion: &Path, project: &Path) -> Result<Objects, GitError> {
        let project = Some(open_odb(project)?);
        let objects = Objects::open(companion)?;
        Ok(Objects { project, ..objects })
    }

    fn broken(&self, what: impl std::fmt::Display) -> GitError {
        GitError::Failed {
            command: "object".to_owned(),
            repo: self.repo.clone(),
            message: what.to_string(),
        }
    }

    /// Kind and content; `None` if there is no such object.
    pub fn find(&self, id: &ObjectId) -> Result<Option<(Kind, Content)>, GitError> {
        self.find_in(&self.odb, id)
    }

    /// The same among what the project has and what this series made: what other series brought has no say, nor has their order.
    pub fn find_own(&self, id: &ObjectId) -> Result<Option<(Kind, Content)>, GitError> {
        self.find_in(self.project.as_ref().unwrap_or(&self.odb), id)
    }

    fn find_in(
        &self,
        odb: &gix::odb::Handle,
        id: &ObjectId,
    ) -> Result<Option<(Kind, Content)>, GitError> {
        if let Some((kind, data)) = self.new.get(id) {
            return Ok(Some((*kind, Rc::clone(data))));
        }
        let mut buffer = Vec::new();
        let found = odb.try_find(id, &mut buffer);
        let kind = match found {
            Ok(Some(data)) => data.kind,
            Ok(None) => return Ok(None),
            Err(error) => return Err(self.broken(error)),
        };
        Ok(Some((kind, Rc::new(buffer))))
    }

    /// The content of an object that must be there and of this kind.
    pub fn load(&self, id: &ObjectId, kind: Kind) -> Result<Content, GitError> {
        match self.find(id)? {
            Some((found, data)) if found == kind => Ok(data),
            Some((found, _)) => Err(self.broken(format!("{id} is a {found} and no {kind}"))),
            None => Err(self.broken(format!("{id} is missing"))),
        }
    }

    /// The length of an object that must be there, in bytes; its content is not read.
    pub fn size(&self, id: &ObjectId) -> Result<u64, GitError> {
        if let Some((_, data)) = self.new.get(id) {
            return Ok(data.len() as u64);
        }
        if let Some(size) = self.sizes.borrow().get(id) {
            return Ok(*size);
        }
        let header = self.odb.try_header(id).map_err(|e| self.broken(e))?;
        let header = header.ok_or_else(|| self.broken(format!("{id} is missing")))?;
        self.sizes.borrow_mut().insert(*id, header.size());
        Ok(header.size())
    }

    /// Takes from the work that a series may cause; `false` once there is none left.
    ///
    /// Counted and not timed, so that a repeated run comes out the same.
    pub fn spend(&self, work: u64) -> bool {
        let left = self.work.get().checked_sub(work);
        self.work.set(left.unwrap_or(0));
        left.is_some()
    }

    /// The work that is left.
    pub fn left(&self) -> u64 {
        self.work.get()
    }

    /// Leaves so much work.
    #[cfg(test)]
    pub fn limit_work(&self, work: u64) {
        self.work.set(work);
    }

    /// The one blob whose id begins with these hexadecimal digits; `None` if none does, or several.
    pub fn find_blob(&self, digits: &[u8]) -> Result<Option<ObjectId>, GitError> {
        // git takes no shorter ones.
        if !(4..=40).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_hexdigit) {
            return Ok(None);
        }
        let digits = String::from_utf8_lossy(digits).to_lowercase();
        let odb = self.project.as_ref().unwrap_or(&self.odb);
        let mut candidates: HashSet<ObjectId> = HashSet::new();
        if let Ok(id) = ObjectId::from_hex(digits.as_bytes()) {
            candidates.extend((self.new.contains_key(&id) || odb.exists(&id)).then_some(id));
        } else {
            let prefix = gix::hash::Prefix::from_hex(&digits).map_err(|e| self.broken(e))?;
            let looked = odb.lookup_prefix(prefix, Some(&mut candidates));
            looked.map_err(|e| self.broken(e))?;
            let lowest = ObjectId::from_hex(format!("{digits:0<40}").as_bytes());
            let from = self.new.range(lowest.map_err(|e| self.broken(e))?..);
            let new = from.map(|(id, _)| *id);
            candidates.extend(new.take_while(|id| id.to_string().starts_with(&digits)));
        }
        let mut found = None;
        for id in candidates {
            if self.find(&id)?.is_some_and(|(kind, _)| kind == Kind::Blob)
                && found.replace(id).is_some()
            {
                return Ok(None);
            }
        }
        Ok(found)
    }

    /// The id that content would have.
    pub fn hash(&self, kind: Kind, data: &[u8]) -> Result<ObjectId, GitError> {
        gix::objs::compute_hash(gix::hash::Kind::Sha1, kind, data).map_err(|e| self.broken(e))
    }

    /// Keeps an object until it is published; returns its id.
    pub fn put(&mut self, kind: Kind, data: impl Into<Content>) -> Result<ObjectId, GitError> {
        let data = data.into();
        let id = self.hash(kind, &data)?;
        if !self.new.contains_key(&id) {
            self.bytes += data.len();
            if self.bytes > MAX_NEW {
                let text = format!("a series may make objects of {} MiB at most", MAX_NEW >> 20);
                return Err(GitError::Refused(text));
            }
            self.new.insert(id, (kind, data));
            self.order.push(id);
        }
        Ok(id)
    }

    /// What was made and is not in the repository yet, in order of making.
    pub fn unpublished(&self) -> impl Iterator<Item = (ObjectId, Kind, &[u8])> {
        let own = self.order.iter().filter(|id| !self.odb.exists(id));
        own.filter_map(|id| {
            let (kind, data) = self.new.get(id)?;
            Some((*id, *kind, data.as_slice()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::pack;

    /// A store of its own with these blobs in it.
    fn store(blobs: &[String]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::create_dir_all(dir.path().join("objects/pack")).expect("folders");
        let mut objects = Objects::open(dir.path()).expect("an empty store");
        for blob in blobs {
            objects
                .put(Kind::Blob, blob.clone().into_bytes())
                .expect("an object in memory");
        }
        pack::write(&objects, dir.path()).expect("it is written");
        dir
    }

    #[test]
    fn what_strangers_sent_is_never_meant_by_the_first_digits_of_a_blob() {
        let empty = store(&[]);
        let names = Objects::open(empty.path()).expect("an empty store");
        let digits = |text: &str| {
            let id = names.hash(Kind::Blob, text.as_bytes()).expect("a hash");
            id.to_string()[..4].to_owned()
        };
        let ours = "the project's".to_owned();
        let mut others = (0..1_000_000).map(|n| format!("a stranger's {n}"));
        let same = others.find(|text| digits(text) == digits(&ours));
        let same = same.expect("one of a million has these four digits");
        let (project, companion) = (
            store(std::slice::from_ref(&ours)),
            store(&[same, "alone".to_owned()]),
        );
        let mut objects = Objects::open_beside(companion.path(), project.path()).expect("both");
        let find = |objects: &Objects, text: &str| {
            let found = objects.find_blob(digits(text).as_bytes());
            found.expect("it can be looked for")
        };
        assert_eq!(find(&objects, "alone"), None);
        let whole = names
            .hash(Kind::Blob, b"alone")
            .expect("a hash")
            .to_string();
        assert_eq!(objects.find_blob(whole.as_bytes()).expect("looked"), None);
        // Nor is it content that a patch leaves out.
        let id = ObjectId::from_hex(whole.as_bytes()).expect("an id");
        assert!(objects.find(&id).expect("looked").is_some());
        assert!(objects.find_own(&id).expect("looked").is_none());
        // What this series itself made counts.
        let own = objects.put(Kind::Blob, b"alone".to_vec()).expect("put");
        assert_eq!(find(&objects, "alone"), Some(own));
        assert!(objects.find_own(&own).expect("looked").is_some());
        // The project's blob has to be readable through the companion; here it is borrowed by hand.
        std::fs::create_dir_all(companion.path().join("objects/info")).expect("folders");
        let line = format!("{}\n", project.path().join("objects").display());
        std::fs::write(companion.path().join("objects/info/alternates"), line).expect("written");
        let objects = Objects::open_beside(companion.path(), project.path()).expect("both");
        let found = find(&objects, &ours).expect("the project's only");
        assert_eq!(
            found,
            names.hash(Kind::Blob, ours.as_bytes()).expect("a hash")
        );
    }
}
