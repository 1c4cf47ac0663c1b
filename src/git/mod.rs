//! Repositories: our clones, their companions with what strangers sent, and the `git` processes that work on them.
//!
//! Edge, and the only module that starts processes. Mail only makes the project's repository be read: series are applied into a
//! companion `<repo>.patches.git` that borrows the clone's objects. Only a maintainer's command pushes ([`Landing`]). Nothing is
//! ever checked out.

mod apply;
mod base;
mod branches;
mod change;
mod demo;
mod epoch;
mod forget;
mod history;
mod land;
mod landed;
mod objects;
mod pack;
mod refs;
mod renames;
mod repos;
mod run;
mod series;
mod threeway;
mod trees;
mod upkeep;
mod upload;

pub use apply::{AmRequest, Conflict, Outcome, Request, am, try_am};
pub use base::Base;
pub use branches::{check_pattern, follows};
pub use demo::write_demo;
pub use epoch::{Change, Epoch, write_epoch};
pub use land::{Landing, MadeCommit, Prepared, Pushed};
pub use landed::Ends;
pub use repos::{Adding, Fetched, Repos, Source};
pub use run::version;
pub use series::{Committer, Fallback};
pub use upload::{Service, UploadPack};

use std::path::PathBuf;

/// What went wrong on our side; a patch that does not apply is an [`Outcome`], not an error.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// The program could not be started, or a file not be written.
    #[error("cannot run git in {repo}")]
    Start {
        /// Where.
        repo: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The program said no.
    #[error("git {command} failed in {repo}: {message}")]
    Failed {
        /// Its first words.
        command: String,
        /// Where.
        repo: PathBuf,
        /// What it said, shortened.
        message: String,
    },
    /// A ref that is published already names another commit.
    #[error("{0} is published already and never moves")]
    Published(String),
    /// A wish that cannot be met as put.
    #[error("{0}")]
    Refused(String),
}
