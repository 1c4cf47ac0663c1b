//! Patch text: what a mail that carries one says, reading it, placing its hunks, merging where they do not fit, and what of it
//! could do harm.
//!
//! Pure: bytes in, values out. Git does the same things in its commands; each part names the documentation that it follows, and the
//! behaviour is the one of git 2.47.

mod binary;
mod header;
mod hunk;
pub mod mailinfo;
pub mod merge;
mod name;
mod parse;
pub mod patch_id;
pub mod path;
mod place;
pub mod similarity;

pub use binary::{BadDelta, Binary, apply_delta};
pub use header::is_without_prefix;
pub use hunk::{Hunk, Line};
pub use name::plain as plain_name;
pub use parse::{Limits, ParseError, parse};
pub use place::{Misfit, apply_hunks};

/// What a patch does to one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilePatch<'a> {
    /// What kind of change.
    pub kind: Kind,
    /// The path before; `None` if it makes the file.
    pub old: Option<Vec<u8>>,
    /// The path after; `None` if it removes the file.
    pub new: Option<Vec<u8>>,
    /// The mode before, if the patch says it.
    pub old_mode: Option<u32>,
    /// The mode after, if the patch says it.
    pub new_mode: Option<u32>,
    /// The abbreviated id of the blob before, from the `index` line; empty if there is none.
    pub old_id: Vec<u8>,
    /// The abbreviated id of the blob after.
    pub new_id: Vec<u8>,
    /// How the content changes.
    pub body: Body<'a>,
}

/// The kind of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The file is there and stays.
    Modify,
    /// As `Modify`, but a file that is not there is made: a diff without git's header cannot say which.
    ModifyOrCreate,
    /// The file is made.
    Create,
    /// The file goes.
    Delete,
    /// The file gets another path, and maybe another content.
    Rename,
    /// The file is made out of another one.
    Copy,
}

/// How a file's content changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body<'a> {
    /// By lines; no hunk means that the content stays.
    Text(Vec<Hunk<'a>>),
    /// By `GIT binary patch` data.
    Binary(Binary),
    /// `Binary files differ`: the patch does not hold the content.
    Missing,
}

impl FilePatch<'_> {
    /// The path that people know the file by: where it is, else where it will be.
    pub fn path(&self) -> &[u8] {
        let path = self.old.as_deref().or(self.new.as_deref());
        path.expect("a change has a path before or after: the parser refuses others")
    }

    /// Whether any line is added or removed.
    pub fn changes_lines(&self) -> bool {
        match &self.body {
            Body::Text(hunks) => !hunks.is_empty(),
            Body::Binary(_) | Body::Missing => false,
        }
    }
}

/// Mode of a symbolic link.
pub const SYMLINK: u32 = 0o120_000;
/// Mode of a commit of another repository.
pub const GITLINK: u32 = 0o160_000;
/// Mode of a usual file.
pub const FILE: u32 = 0o100_644;
/// Mode of a program.
pub const PROGRAM: u32 = 0o100_755;

/// The bits of a mode that say file, symbolic link or gitlink.
pub fn file_type(mode: u32) -> u32 {
    mode & 0o170_000
}

/// The mode that git records for one that a patch names: permissions other than the owner's execute bit do not count.
pub fn recorded_mode(mode: u32) -> u32 {
    match file_type(mode) {
        SYMLINK => SYMLINK,
        GITLINK | 0o040_000 => GITLINK,
        _ if mode & 0o100 != 0 => PROGRAM,
        _ => FILE,
    }
}
