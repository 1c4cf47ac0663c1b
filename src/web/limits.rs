//! How much of what is dear is done at once. Reading is never limited; what is limited says so and when to come again.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use super::page::Problem;

/// Comparisons of versions: each may take a processor for a second.
const COMPARISONS: usize = 2;
/// Downloads of more mails than are read at once.
const DOWNLOADS: usize = 16;
/// Files of all that is stored of a person.
const EXPORTS: usize = 4;
/// Processes that pack objects for who clones or fetches.
const FETCHES: usize = 16;
/// So long one waits for a turn before it is told to come again.
const PATIENCE: Duration = Duration::from_secs(2);
/// git gives up at once when it is told so, and many come together when a build starts.
const PATIENCE_OF_GIT: Duration = Duration::from_secs(8);

/// A kind of work that is dear.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dear {
    /// Two versions of a patchset beside each other.
    Comparison,
    /// Many mails as one file.
    Download,
    /// A clone or fetch by git.
    Fetch,
    /// All that is stored of a person.
    Export,
}

/// By an address of the net, or of a person who is signed in.
type Shares = HashMap<(Dear, String), Weak<Semaphore>>;

/// What is left of each kind.
#[derive(Clone)]
pub struct Limits {
    comparisons: Arc<Semaphore>,
    downloads: Arc<Semaphore>,
    fetches: Arc<Semaphore>,
    exports: Arc<Semaphore>,
    /// What is left of a client's own share, as long as it has or waits for a turn.
    shares: Arc<Mutex<Shares>>,
}

impl Default for Limits {
    fn default() -> Limits {
        let turns = |count| Arc::new(Semaphore::new(count));
        Limits {
            comparisons: turns(COMPARISONS),
            downloads: turns(DOWNLOADS),
            fetches: turns(FETCHES),
            exports: turns(EXPORTS),
            shares: Arc::default(),
        }
    }
}

/// A turn; given back when dropped.
#[derive(Debug)]
pub struct Turn {
    #[expect(dead_code, reason = "given back when dropped")]
    of_all: OwnedSemaphorePermit,
    #[expect(dead_code, reason = "given back when dropped")]
    of_its_share: Option<OwnedSemaphorePermit>,
}

/// Mails that are sent without a turn: as many as are read at once.
const FEW: usize = 16;

impl Limits {
    /// A turn for that many mails as one file; a few need none.
    pub async fn download(
        &self,
        mails: usize,
        from: Option<IpAddr>,
    ) -> Result<Option<Turn>, Problem> {
        match mails {
            0..=FEW => Ok(None),
            _ => self.turn(Dear::Download, from).await.map(Some),
        }
    }

    /// Waits a little for a turn; [`Problem::Busy`] if there is none.
    pub async fn turn(&self, of: Dear, from: Option<IpAddr>) -> Result<Turn, Problem> {
        self.take(of, from.map(|ip| ip.to_string())).await
    }

    /// A turn for all that is stored of a person, one at a time.
    pub async fn export(&self, person: &str) -> Result<Turn, Problem> {
        self.take(Dear::Export, Some(person.to_owned())).await
    }

    async fn take(&self, of: Dear, whose: Option<String>) -> Result<Turn, Problem> {
        let (turns, what, patience) = match of {
            Dear::Comparison => (&self.comparisons, "comparisons", PATIENCE),
            Dear::Download => (&self.downloads, "large downloads", PATIENCE),
            Dear::Fetch => (&self.fetches, "clones and fetches", PATIENCE_OF_GIT),
            Dear::Export => (&self.exports, "exports", PATIENCE),
        };
        let share = whose.and_then(|whose| self.share(of, whose));
        let busy = |whose: &str| {
            Problem::Busy(format!(
                "Too many {what} run {whose} just now. Try again in some seconds."
            ))
        };
        let until = Instant::now() + patience;
        let of_its_share = match share {
            None => None,
            Some(share) => {
                let own = timeout_at(until, share.acquire_owned()).await;
                Some(
                    own.ok()
                        .and_then(Result::ok)
                        .ok_or_else(|| busy("here for your address"))?,
                )
            }
        };
        let of_all = timeout_at(until, Arc::clone(turns).acquire_owned()).await;
        let of_all = of_all
            .ok()
            .and_then(Result::ok)
            .ok_or_else(|| busy("here"))?;
        Ok(Turn {
            of_all,
            of_its_share,
        })
    }

    /// The share of one client, a quarter of all: who reads slowly keeps its turns for as long, and leaves the rest to others.
    fn share(&self, of: Dear, whose: String) -> Option<Arc<Semaphore>> {
        let count = match of {
            // It ends by itself, however its answer is read.
            Dear::Comparison => return None,
            Dear::Download => DOWNLOADS / 4,
            Dear::Fetch => FETCHES / 4,
            Dear::Export => EXPORTS / 4,
        };
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(share) = shares.get(&(of, whose.clone())).and_then(Weak::upgrade) {
            return Some(share);
        }
        shares.retain(|_, share| share.strong_count() > 0);
        let share = Arc::new(Semaphore::new(count));
        shares.insert((of, whose), Arc::downgrade(&share));
        Some(share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_person_has_one_export_at_a_time_and_all_have_four() {
        let limits = Limits::default();
        let turn = async |person| limits.export(person).await.ok();
        let first = turn("ana@x").await.expect("a turn");
        let told = limits.export("ana@x").await;
        assert!(matches!(told, Err(Problem::Busy(words)) if words.contains("Too many exports")));
        let mut others = Vec::new();
        for person in ["b@x", "c@x", "d@x"] {
            others.push(turn(person).await.expect("a turn"));
        }
        assert!(turn("e@x").await.is_none());
        drop(first);
        assert!(turn("ana@x").await.is_some());
    }

    #[tokio::test]
    async fn one_client_has_a_quarter_at_most_and_a_proxy_all() {
        let limits = Limits::default();
        let ip = |last: u8| Some(IpAddr::from([192, 0, 2, last]));
        let turn = async |of, from| limits.turn(of, from).await.ok();
        let mut turns = Vec::new();
        for _ in 0..4 {
            turns.push(turn(Dear::Download, ip(1)).await.expect("a turn"));
        }
        let told = limits.turn(Dear::Download, ip(1)).await;
        assert!(matches!(told, Err(Problem::Busy(words)) if words.contains("your address")));
        assert!(turn(Dear::Fetch, ip(1)).await.is_some());
        assert!(turn(Dear::Download, ip(2)).await.is_some());
        turns.pop();
        turns.push(turn(Dear::Download, ip(1)).await.expect("a turn"));
        for _ in 4..16 {
            turns.push(turn(Dear::Download, None).await.expect("a turn"));
        }
        assert!(turn(Dear::Download, None).await.is_none());
        drop(turns);
        assert!(turn(Dear::Download, ip(3)).await.is_some());
        // What nobody has any more is forgotten.
        assert_eq!(limits.shares.lock().expect("no panic").len(), 1);
    }
}
