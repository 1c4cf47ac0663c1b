//! Mails → commits on a base, in memory: what `git am` and `git am -3` do, without work tree, index or processes.

use gix::ObjectId;
use gix::objs::Kind;

use super::change::{Clash, LineEnds, Stop, check_paths, clash, work_out};
use super::objects::Objects;
use super::threeway::merge_patch;
use super::trees::{Edit, Trees};
use super::{Conflict, GitError};
use crate::diff::mailinfo::{AuthorDate, Letter, mailinfo};
use crate::diff::{self, FilePatch, Limits, parse};
use crate::types::Timestamp;

/// Who commits, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committer {
    /// Name.
    pub name: String,
    /// Address.
    pub email: String,
    /// When, unless the author's date is taken; also the author's date where a mail has none.
    pub date: Timestamp,
    /// The zone, in minutes ahead of UTC.
    pub zone: i32,
    /// `git am --committer-date-is-author-date`
    pub with_author_date: bool,
}

/// What happens to a patch that fits nowhere as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fallback {
    /// It is merged three-way, as by `git am -3`.
    ThreeWay,
    /// The series stops there, as by `git am`.
    None,
}

/// A series that fits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Done {
    /// One commit a patch; a patch whose change is there already has the commit before it.
    pub commits: Vec<ObjectId>,
    pub tree: ObjectId,
}

/// Where a series ends early.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    Conflict(Conflict),
    Bad { patch: usize, reason: String },
}

/// A series at work.
struct Series<'a> {
    objects: &'a mut Objects,
    trees: Trees,
    tree: ObjectId,
    parent: ObjectId,
    committer: &'a Committer,
    fallback: Fallback,
}

/// Applies mails in order. Objects stay in `objects`; nothing is published.
pub(super) fn apply_mails(
    objects: &mut Objects,
    base: ObjectId,
    mails: &[Vec<u8>],
    committer: &Committer,
    fallback: Fallback,
) -> Result<Result<Done, Failure>, GitError> {
    let tree = tree_of(objects, &base)?;
    let trees = Trees::new(objects, &tree)?;
    let mut series = Series {
        objects,
        trees,
        tree,
        parent: base,
        committer,
        fallback,
    };
    let mut commits = Vec::new();
    for (at, mail) in mails.iter().enumerate() {
        let patch = at + 1;
        let done = match mailinfo(mail) {
            Ok(letter) => series.patch(&letter),
            Err(error) => Err(Stop::Bad(error.to_string())),
        };
        match done {
            Ok(commit) => commits.push(commit),
            Err(Stop::Clash(clash)) => {
                return Ok(Err(Failure::Conflict(conflict(patch, clash))));
            }
            Err(Stop::Bad(reason)) => return Ok(Err(Failure::Bad { patch, reason })),
            Err(Stop::Git(error)) => return Err(error),
        }
    }
    let tree = series.tree;
    Ok(Ok(Done { commits, tree }))
}

fn conflict(patch: usize, clash: Clash) -> Conflict {
    Conflict {
        patch,
        file: String::from_utf8_lossy(&clash.file).into_owned(),
        hunk: i64::try_from(clash.hunk).unwrap_or(i64::MAX),
        detail: clash.detail,
    }
}

/// The tree of a commit.
fn tree_of(objects: &Objects, commit: &ObjectId) -> Result<ObjectId, GitError> {
    let data = objects.load(commit, Kind::Commit)?;
    let hex = data.strip_prefix(b"tree ").and_then(|rest| rest.get(..40));
    let tree = hex.and_then(|hex| ObjectId::from_hex(hex).ok());
    tree.ok_or_else(|| GitError::Refused(format!("the commit {commit} is broken")))
}

impl Series<'_> {
    /// Applies one patch and commits it.
    fn patch(&mut self, letter: &Letter) -> Result<ObjectId, Stop> {
        let merged = match self.place(&letter.patch, 1) {
            Err(Stop::Git(error)) => return Err(Stop::Git(error)),
            // What git refuses gets two more tries; if they fail, git's reading is what is reported.
            Err(refused) => self.place_otherwise(&letter.patch)?.ok_or(refused)?,
            Ok(merged) => merged,
        };
        let tree = self.trees.write(self.objects)?;
        if merged && tree == self.tree {
            // git am: "No changes -- Patch already applied."
            return Ok(self.parent);
        }
        self.tree = tree;
        self.parent = self.commit(letter)?;
        Ok(self.parent)
    }

    /// A patch without `a/` and `b/`, which git reads one folder too high, and one that lost the CRs of a file's line ends.
    fn place_otherwise(&mut self, text: &[u8]) -> Result<Option<bool>, GitError> {
        if diff::is_without_prefix(text) {
            match self.place(text, 0) {
                Ok(merged) => return Ok(Some(merged)),
                Err(Stop::Git(error)) => return Err(error),
                Err(Stop::Clash(_) | Stop::Bad(_)) => {}
            }
        }
        let Ok(patches) = parse(text, 1, &Limits::default()) else {
            return Ok(None);
        };
        if check_paths(&patches).is_err() {
            return Ok(None);
        }
        let edits = self.plain(&patches, LineEnds::OfTheFile);
        match edits.and_then(|edits| self.edit(&patches, &edits)) {
            Ok(()) => Ok(Some(false)),
            Err(Stop::Git(error)) => Err(error),
            Err(Stop::Clash(_) | Stop::Bad(_)) => Ok(None),
        }
    }

    fn plain(&mut self, patches: &[FilePatch<'_>], line_ends: LineEnds) -> Result<Vec<Edit>, Stop> {
        let trees = &self.trees;
        let look = |objects: &Objects, path: &[u8]| trees.get(objects, path);
        work_out(patches, &look, self.objects, line_ends)
    }

    /// Edits the tree; whether it took a merge.
    fn place(&mut self, text: &[u8], strip: usize) -> Result<bool, Stop> {
        let patches =
            parse(text, strip, &Limits::default()).map_err(|e| Stop::Bad(e.to_string()))?;
        check_paths(&patches).map_err(Stop::Bad)?;
        let plain = self
            .plain(&patches, LineEnds::Exact)
            .and_then(|edits| self.edit(&patches, &edits));
        let problem = match plain {
            Ok(()) => return Ok(false),
            Err(Stop::Clash(problem)) if self.fallback == Fallback::ThreeWay => problem,
            Err(stop) => return Err(stop),
        };
        let merged = merge_patch(&patches, &self.trees, self.objects)
            .and_then(|edits| self.edit(&patches, &edits));
        match merged {
            Ok(()) => Ok(true),
            Err(Stop::Clash(second)) => Err(Stop::Clash(both(problem, &second))),
            Err(stop) => Err(stop),
        }
    }

    fn edit(&mut self, patches: &[FilePatch<'_>], edits: &[Edit]) -> Result<(), Stop> {
        if self.trees.edit(self.objects, edits)?.is_ok() {
            return Ok(());
        }
        let file = edits.last().map_or_else(|| patches[0].path(), |e| &e.path);
        Err(clash(
            file,
            0,
            "a file stands where the patch has a folder, or a folder where it has a file",
        ))
    }

    fn commit(&mut self, letter: &Letter) -> Result<ObjectId, GitError> {
        let now = AuthorDate {
            secs: self.committer.date.secs().max(0),
            zone: self.committer.zone,
        };
        let date = letter.date.unwrap_or(now);
        let when = if self.committer.with_author_date {
            date
        } else {
            now
        };
        let text = format!(
            "tree {}\nparent {}\nauthor {} <{}> {date}\ncommitter {} <{}> {when}\n\n{}",
            self.tree,
            self.parent,
            letter.name,
            letter.email,
            plain(&self.committer.name),
            plain(&self.committer.email),
            letter.message
        );
        self.objects.put(Kind::Commit, text.into_bytes())
    }
}

/// A name or address without what a commit's line is made of.
fn plain(text: &str) -> String {
    let kept = text
        .chars()
        .filter(|c| !matches!(c, '<' | '>') && !c.is_control());
    kept.collect::<String>().trim().to_owned()
}

/// The reason of the plain try counts; what the merge found is added, as it is what a person has to look at.
fn both(mut plain: Clash, merge: &Clash) -> Clash {
    let file = String::from_utf8_lossy(&merge.file);
    plain.detail = if plain.file == merge.file {
        format!("{}; nor does it merge: {}", plain.detail, merge.detail)
    } else {
        format!(
            "{}; nor does it merge: {file}: {}",
            plain.detail, merge.detail
        )
    };
    plain
}
