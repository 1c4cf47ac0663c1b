//! The order of the steps a mail takes; all writes of meaning go through here.

mod apply;
mod ask;
mod base;
mod bounce;
mod caution;
mod command;
mod copy;
mod echo;
mod fan_out;
mod fetch;
mod file;
mod hold;
mod import;
mod join;
mod land;
mod landing;
mod late;
mod me;
mod meant;
mod moderate;
mod news;
mod not_taken;
mod notify;
mod own;
mod own_held;
mod postmaster;
mod queue;
mod range_diff;
mod recall;
mod reclassify;
mod rehearse;
mod report;
mod screen;
mod sign_in;
mod site;
mod spam;
mod steer;
mod tend;
mod tip;
mod treat;
mod trouble;
mod upkeep;
mod verify;

pub use copy::Copied;
pub use file::Filing;
pub use hold::HeldFilter;
pub use import::{Import, Imported, arrival};
pub use join::{Answer, Pending};
pub use landing::{LandWish, Plan, PlannedPatch};
pub use me::Wanted;
pub use notify::Notice;
pub use range_diff::{compare, missing_versions};
pub use reclassify::Reclassify;
pub use screen::NewMail;
pub use sign_in::{SignedIn, Viewer};
pub use site::{LAST_BACKUP, LAST_WATCH};
pub use tend::{Invited, MemberWish};
pub use trouble::Watched;

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::Semaphore;

// All that the web needs of git, to serve fetches: it reaches nothing else of it.
use crate::dns::Dns;
pub use crate::git::{Repos, Service, UploadPack};
use crate::net::Rspamd;
use crate::session::Reply;
use crate::store::{DAMAGED, Store, StoreError};
use crate::types::Address;

/// What the steps need.
#[derive(Clone)]
pub struct Ctx {
    /// Everything stored.
    pub store: Store,
    /// The repositories.
    pub repos: Repos,
    /// How readers reach the pages, without a slash at the end.
    pub base_url: Arc<str>,
    /// Free megabytes below which no mail is taken.
    pub free_disk_mb: u64,
    /// Key of the tokens in return paths.
    pub token_key: Arc<[u8]>,
    /// Name of this machine in the mail system; `postmaster@` it is the operator's.
    pub hostname: Arc<str>,
    /// Who gets the postmaster's mail, if anybody is named.
    pub operator: Option<Address>,
    /// How senders are authenticated; without it nobody looks.
    pub checks: Option<Arc<Checks>>,
}

/// What authentication of senders needs.
pub struct Checks {
    /// Who answers about names.
    pub dns: Dns,
    /// The name of this machine.
    pub hostname: String,
    /// Whose Authentication-Results are believed; empty: nobody's.
    pub trusted_authserv_id: String,
    /// The field by which the mail server in front marks spam; empty: none.
    pub spam_header: String,
    /// Who is asked about spam.
    pub rspamd: Option<Rspamd>,
}

/// What a step can fail with.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// The store did not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// git did not do it.
    #[error(transparent)]
    Git(#[from] crate::git::GitError),
    /// A file could not be read or written.
    #[error("cannot read {path}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// An address that is stored is none.
    #[error(transparent)]
    Address(#[from] crate::types::NameError),
    /// A wish that cannot be met as put.
    #[error("{0}")]
    Refused(String),
    /// A step broke off; it is tried again.
    #[error("a step of the work broke off: {0}")]
    Broken(String),
}

/// A text of ours that could not be made.
impl From<askama::Error> for PipelineError {
    fn from(error: askama::Error) -> PipelineError {
        PipelineError::Broken(format!("a template: {error}"))
    }
}

impl PipelineError {
    /// Whether the reason is not the work's own and passes ([`StoreError::passes`]).
    pub fn passes(&self) -> bool {
        let full = |e: &std::io::Error| {
            matches!(
                e.kind(),
                std::io::ErrorKind::StorageFull
                    | std::io::ErrorKind::QuotaExceeded
                    | std::io::ErrorKind::OutOfMemory
            )
        };
        match self {
            PipelineError::Store(error) => error.passes(),
            PipelineError::Git(crate::git::GitError::Start { source, .. }) => full(source),
            PipelineError::File { source, .. } => full(source),
            PipelineError::Git(_)
            | PipelineError::Address(_)
            | PipelineError::Refused(_)
            | PipelineError::Broken(_) => false,
        }
    }
}

/// What the site's token key is stored as.
pub const TOKEN_KEY: &str = "token-key";
/// Octets of it.
const TOKEN_KEY_LEN: usize = 32;
/// What is said where it cannot be read.
pub const TOKEN_KEY_DAMAGED: &str =
    "the site's token key, by which links in mails are known, is damaged in the database";

/// The site's token key as it was stored; `None` if it is damaged.
pub fn token_key_of(stored: &str) -> Option<Vec<u8>> {
    let key = data_encoding::HEXLOWER.decode(stored.as_bytes()).ok();
    key.filter(|key| key.len() == TOKEN_KEY_LEN)
}

impl Ctx {
    /// Makes the context, with the site's token key, which is made at the first start.
    pub async fn open(
        store: Store,
        repos: Repos,
        base_url: String,
        free_disk_mb: u64,
    ) -> Result<Ctx, PipelineError> {
        let mut fresh = [0u8; TOKEN_KEY_LEN];
        getrandom::fill(&mut fresh)
            .map_err(|e| PipelineError::Broken(format!("no random numbers: {e}")))?;
        let key = store
            .insert_meta(TOKEN_KEY, data_encoding::HEXLOWER.encode(&fresh))
            .await?;
        let damaged = || StoreError::Damaged(format!("{TOKEN_KEY_DAMAGED}; {DAMAGED}"));
        let key = token_key_of(&key).ok_or_else(damaged)?;
        store.load_dictionaries().await?;
        Ok(Ctx {
            store,
            repos,
            base_url: base_url.into(),
            free_disk_mb,
            token_key: key.into(),
            hostname: "localhost".into(),
            operator: None,
            checks: None,
        })
    }

    /// The same for a site of that name and operator.
    pub fn named(mut self, site: &crate::config::Site) -> Ctx {
        self.hostname = site.hostname.as_str().into();
        // It was checked when the configuration was read; empty is nobody.
        self.operator = site.operator.parse().ok();
        self
    }

    /// Whether there is room for a mail: refused before anything is taken, and recovering by itself.
    pub fn check_room(&self) -> Result<(), Reply> {
        match crate::net::free_disk_mb(self.store.data()) {
            Some(free) if free < self.free_disk_mb => {
                tracing::error!(
                    disk.free_mb = free,
                    "the disk is nearly full: mail is refused until there is room"
                );
                Err(Reply::new(
                    452,
                    "4.3.1",
                    "The disk is nearly full; come again later",
                ))
            }
            _ => Ok(()),
        }
    }
}

/// A mail up to this size is read, hashed and compressed (0.1 ms) about as soon as another thread would wake for it.
const SMALL: usize = 16 << 10;

/// Mails beyond this size wait for each other: what a parsed mail holds can be fifty times as large.
const LARGE: usize = 1 << 20;
/// As many of them are read at once; all others pass by.
static LARGE_ONES: Semaphore = Semaphore::const_new(2);

/// [`think`]s about a mail of that size; a small one right here, and only a few large ones at a time.
pub(crate) async fn think_of<T: Send + 'static>(
    size: usize,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, PipelineError> {
    if size <= SMALL {
        return Ok(work());
    }
    let turn = match size > LARGE {
        true => Some(LARGE_ONES.acquire().await),
        false => None,
    };
    let thought = think(work).await;
    drop(turn);
    thought
}

/// Parses a mail by [`think_of`].
pub(crate) async fn parse(bytes: Vec<u8>) -> Result<crate::mail::Message, PipelineError> {
    think_of(bytes.len(), move || crate::mail::parse(&bytes)).await
}

/// Runs thinking that takes time off the threads that serve sockets. A panic in it is an error, not an end.
pub(crate) async fn think<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, PipelineError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|e| PipelineError::Broken(e.to_string()))
}
