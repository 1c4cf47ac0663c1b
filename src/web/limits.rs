//! How much of what is dear is done at once. Reading is never limited; what is limited says so and when to come again.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::page::Problem;

/// Comparisons of versions: each may take a processor for a second.
const COMPARISONS: usize = 2;
/// Downloads of more mails than are read at once.
const DOWNLOADS: usize = 16;
/// Processes that pack objects for who clones or fetches.
const FETCHES: usize = 8;
/// So long one waits for a turn before it is told to come again.
const PATIENCE: Duration = Duration::from_secs(2);

/// A kind of work that is dear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dear {
    /// Two versions of a patchset beside each other.
    Comparison,
    /// Many mails as one file.
    Download,
    /// A clone or fetch by git.
    Fetch,
}

/// What is left of each kind.
#[derive(Clone)]
pub struct Limits {
    comparisons: Arc<Semaphore>,
    downloads: Arc<Semaphore>,
    fetches: Arc<Semaphore>,
}

impl Default for Limits {
    fn default() -> Limits {
        let turns = |count| Arc::new(Semaphore::new(count));
        Limits {
            comparisons: turns(COMPARISONS),
            downloads: turns(DOWNLOADS),
            fetches: turns(FETCHES),
        }
    }
}

/// A turn; given back when dropped.
pub type Turn = OwnedSemaphorePermit;

/// Mails that are sent without a turn: as many as are read at once.
const FEW: usize = 16;

impl Limits {
    /// A turn for that many mails as one file; a few need none.
    pub async fn download(&self, mails: usize) -> Result<Option<Turn>, Problem> {
        match mails {
            0..=FEW => Ok(None),
            _ => self.turn(Dear::Download).await.map(Some),
        }
    }

    /// Waits a little for a turn; [`Problem::Busy`] if there is none.
    pub async fn turn(&self, of: Dear) -> Result<Turn, Problem> {
        let (turns, what) = match of {
            Dear::Comparison => (&self.comparisons, "comparisons"),
            Dear::Download => (&self.downloads, "large downloads"),
            Dear::Fetch => (&self.fetches, "clones and fetches"),
        };
        let turn = tokio::time::timeout(PATIENCE, Arc::clone(turns).acquire_owned()).await;
        match turn {
            Ok(Ok(turn)) => Ok(turn),
            _ => Err(Problem::Busy(format!(
                "Too many {what} run here just now. Try again in some seconds."
            ))),
        }
    }
}
