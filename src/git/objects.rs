//! Objects: those of a repository and of what it borrows, and those that a series makes, which stay in memory until they are published.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
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
/// Most work of looking for renamed files that one series may cause, about in bytes read: some seconds.
const MAX_WORK: u64 = 4 << 30;

/// An object's bytes, shared by all who look at them.
pub(super) type Content = Rc<Vec<u8>>;

/// The object store of one run.
pub(super) struct Objects {
    repo: PathBuf,
    odb: gix::odb::Handle,
    new: HashMap<ObjectId, (Kind, Content)>,
    order: Vec<ObjectId>,
    bytes: usize,
    sizes: RefCell<HashMap<ObjectId, u64>>,
    work: Cell<u64>,
}

impl Objects {
    /// Opens the objects of a repository, given its git folder.
    pub fn open(repo: &Path) -> Result<Objects, GitError> {
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
        Ok(Objects {
            repo: repo.to_owned(),
            odb,
            new: HashMap::new(),
            order: Vec::new(),
            bytes: 0,
            sizes: RefCell::default(),
            work: Cell::new(MAX_WORK),
        })
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
        if let Some((kind, data)) = self.new.get(id) {
            return Ok(Some((*kind, Rc::clone(data))));
        }
        let mut buffer = Vec::new();
        let found = self.odb.try_find(id, &mut buffer);
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
        let mut candidates: HashSet<ObjectId> = HashSet::new();
        if let Ok(id) = ObjectId::from_hex(digits.as_bytes()) {
            candidates.insert(id);
        } else {
            let prefix = gix::hash::Prefix::from_hex(&digits).map_err(|e| self.broken(e))?;
            let looked = self.odb.lookup_prefix(prefix, Some(&mut candidates));
            looked.map_err(|e| self.broken(e))?;
            let new = self
                .new
                .keys()
                .filter(|id| id.to_string().starts_with(&digits));
            candidates.extend(new);
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
