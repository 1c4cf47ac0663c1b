//! Sends due copies and letters: into a directory, or to the next hop by SMTP.
//!
//! Edge. A copy is a generated header block and below it the stored bytes; a letter is a mail of our own. A claim is committed before anything is sent, and
//! whatever happens on the way, the outcome of each claimed copy is recorded: an outcome that got lost would be a copy sent twice.

mod batch;
mod bring;
mod client;
mod destination;
mod greet;
pub mod keys;
mod offers;
mod outbox;
mod outgoing;
mod owed;
mod refusal;
mod relay;
pub mod schedule;
mod signed;
mod weigh;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::store::queue::RETRIED;
use crate::store::{Outcome, Store, StoreError, Turn};
use crate::types::{ListId, Timestamp};
use batch::{Outcomes, Place, Sender, Summary};
use destination::Destinations;
pub use greet::{greet, hand_over};
use owed::Owed;
pub use relay::Relay;
use schedule::Throttle;

/// Where copies go.
#[derive(Debug, Clone)]
pub enum Route {
    /// Two files a copy: nothing leaves the machine.
    Directory(PathBuf),
    /// The next hop, over that many connections.
    Relay(Relay, usize),
}

impl Route {
    /// Whether copies leave this machine without TLS.
    fn is_open(&self) -> bool {
        match self {
            Route::Directory(_) => false,
            Route::Relay(relay, _) => relay.is_open(),
        }
    }
}

/// What sending needs to know.
#[derive(Clone)]
pub struct Settings {
    /// Where copies go.
    pub route: Route,
    /// Our name in EHLO.
    pub hostname: String,
    /// How readers reach the pages, without a slash at the end.
    pub base_url: Arc<str>,
    /// What Gmail knows this site by in Feedback-ID; empty: copies have no such field.
    pub feedback_id: Arc<str>,
    /// Key of the tokens in return paths.
    pub token_key: Arc<[u8]>,
    /// What signs copies and letters.
    pub keys: Arc<keys::Keyring>,
}

/// Copies claimed at once for each connection: two commits for all of them.
const CLAIM: i64 = 200;
/// Letters claimed at once: somebody waits for each, and they are few.
const CLAIM_LETTERS: i64 = 20;
/// A look even if nobody calls: another process may have made copies, or a retry is due.
const PAUSE: Duration = Duration::from_secs(1);
/// After trouble with the store.
const STORE_PAUSE: Duration = Duration::from_secs(5);
/// Outcomes of a connection that may wait for the next record. As many again may be in one that is under way: with the copy on its way,
/// at most 17 members a connection get a copy twice after a kill. Measured with four connections and 10,000 members
/// (debug build, kill -9 eight times): 26 to 39 a kill, 3,100 copies/s; with 200 here, 57 to 153 a kill and 4,300 copies/s.
const UNRECORDED: usize = 8;
/// Tries to record outcomes once the program is to stop.
const LAST_TRIES: u32 = 2;

/// Sends what is due until told to stop. What is on its way then gets a few seconds; the rest stays due.
pub async fn run(store: Store, settings: Settings, stop: CancellationToken) {
    let connections = match &settings.route {
        Route::Directory(_) => 1,
        Route::Relay(_, connections) => (*connections).max(1),
    };
    // A place whose mail hangs at its destination is not counted: then another one has its turn, of as many more.
    let spare = match &settings.route {
        Route::Directory(_) => 0,
        Route::Relay(..) => connections,
    };
    let shared = Arc::new(Shared {
        store,
        settings,
        stop,
        throttle: Mutex::new(Throttle::new(connections)),
        destinations: Arc::new(Mutex::new(Destinations::new(connections))),
        served: Mutex::new(None),
        retried: Mutex::new(crate::store::now()),
        looked: Mutex::new(schedule::steady()),
    });
    let mut workers = tokio::task::JoinSet::new();
    let mut places = std::collections::HashMap::new();
    for place in 0..connections + spare {
        let id = workers.spawn(Arc::clone(&shared).work(place)).id();
        places.insert(id, place);
    }
    while let Some(ended) = workers.join_next_with_id().await {
        let Err(error) = ended else { continue };
        tracing::error!(%error, "a sender broke off; its copies are due again when their lease runs out");
        if let Some(place) = places.remove(&error.id())
            && !shared.stop.is_cancelled()
        {
            shared.rest(STORE_PAUSE).await;
            let id = workers.spawn(Arc::clone(&shared).work(place)).id();
            places.insert(id, place);
        }
    }
}

/// What the senders of one route share.
struct Shared {
    store: Store,
    settings: Settings,
    stop: CancellationToken,
    throttle: Mutex<Throttle>,
    destinations: Arc<Mutex<Destinations>>,
    /// The list whose copies were claimed last.
    served: Mutex<Option<ListId>>,
    /// The last wish for another try that was met, and when it was looked for.
    retried: Mutex<Timestamp>,
    looked: Mutex<Timestamp>,
}

/// Plain values are sound whatever the thread that panicked was doing.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// Works while the throttle has a connection for this place.
    async fn work(self: Arc<Self>, place: usize) {
        let (queue, outcomes) = mpsc::channel(UNRECORDED);
        // A task of its own: should sending break off, what was sent is recorded all the same.
        let recorder = tokio::spawn(Arc::clone(&self).record_all(outcomes));
        self.send_all(place, queue).await;
        if let Err(error) = recorder.await {
            tracing::error!(%error, "recording broke off; some copies may be sent again");
        }
    }

    async fn send_all(&self, place: usize, queue: mpsc::Sender<(Owed, Outcome)>) {
        let (store, settings) = (self.store.clone(), self.settings.clone());
        let at = Place {
            number: place,
            destinations: Arc::clone(&self.destinations),
        };
        let mut sender = Sender::new(store, settings, self.stop.clone(), at);
        while !self.stop.is_cancelled() {
            // A claim gave its place back by then, also one that broke off.
            lock(&self.destinations).leave(place);
            self.look_for_wish().await;
            let allowed = self.throttle().allowed(schedule::steady());
            if !lock(&self.destinations).begin(place, allowed) {
                sender.close().await;
                self.rest(PAUSE).await;
                continue;
            }
            match self.claim().await {
                Ok(claimed) if claimed.is_empty() => {
                    lock(&self.destinations).leave(place);
                    sender.close().await;
                    self.wait().await;
                }
                Ok(claimed) => {
                    // Others may work on what is left.
                    self.store.deliveries.notify_one();
                    let summary = sender.send(claimed, Outcomes::new(queue.clone())).await;
                    self.judge(&summary);
                    if summary.store_is_away {
                        self.rest(STORE_PAUSE).await;
                    }
                }
                Err(error) => {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        "could not look for copies to send: {error}"
                    );
                    lock(&self.destinations).leave(place);
                    self.rest(STORE_PAUSE).await;
                }
            }
        }
        sender.close().await;
    }

    /// Letters first, then copies of the list whose turn it is; nothing for destinations in trouble.
    async fn claim(&self) -> Result<Vec<Owed>, StoreError> {
        // Claims count by the clock that all machines share.
        let now = self.store.time().await?;
        let closed = lock(&self.destinations).closed(schedule::steady());
        let letters = self.store.claim_letters(CLAIM_LETTERS, &closed, now);
        let letters = letters.await?;
        if !letters.is_empty() {
            return Ok(letters.into_iter().map(Owed::Letter).collect());
        }
        let after = *lock(&self.served);
        let turn = Turn { after, closed };
        let copies = self.store.claim_deliveries(CLAIM, &turn, now).await?;
        if let Some(first) = copies.first() {
            *lock(&self.served) = Some(first.list);
        }
        Ok(copies.into_iter().map(Owed::Copy).collect())
    }

    /// Ends all pauses if somebody wished since the last time that mail is tried now. Looks once a second, whoever comes by.
    async fn look_for_wish(&self) {
        let now = schedule::steady();
        let due = |last: &mut Timestamp| {
            let due = now >= last.plus_secs(1);
            *last = if due { now } else { *last };
            due
        };
        if !due(&mut lock(&self.looked)) {
            return;
        }
        // That it cannot be read is told where copies are looked for.
        let Ok(Some(wished)) = self.store.find_moment(RETRIED).await else {
            return;
        };
        if wished > std::mem::replace(&mut *lock(&self.retried), wished) {
            self.throttle().end_pause();
            lock(&self.destinations).end_pauses();
        }
    }

    fn throttle(&self) -> std::sync::MutexGuard<'_, Throttle> {
        lock(&self.throttle)
    }

    /// Learns from a batch how the next hop is, and says what came of it.
    fn judge(&self, summary: &Summary) {
        let now = schedule::steady();
        let Summary {
            sent,
            delayed,
            given_up,
            trouble,
            refused,
            ..
        } = summary;
        metrics::counter!("patchpost_copies_sent").increment(*sent);
        metrics::counter!("patchpost_copies_delayed").increment(*delayed);
        metrics::counter!("patchpost_copies_given_up").increment(*given_up);
        match (trouble, refused) {
            (Some(problem), _) => {
                let pause_secs = self.throttle().record_trouble(now, problem);
                tracing::warn!(
                    copies.sent = sent,
                    copies.delayed = delayed,
                    copies.given_up = given_up,
                    pause_secs,
                    problem,
                    "copies wait {pause_secs} s for the next hop: {problem}"
                );
            }
            (None, refused) => {
                // A claim of which nothing was sent shows nothing.
                if *sent > 0 {
                    self.throttle().record_success(now);
                }
                if let Some(problem) = refused {
                    tracing::warn!(problem, "copies wait: {problem}");
                }
                tracing::info!(
                    copies.sent = sent,
                    copies.delayed = delayed,
                    copies.given_up = given_up,
                    "sent {sent} copies, put off {delayed}, gave up {given_up}"
                );
            }
        }
    }

    /// Records outcomes as they come: all that came during one commit share the next.
    ///
    /// Only what was sent since the last commit is sent again after a kill.
    async fn record_all(self: Arc<Self>, mut outcomes: mpsc::Receiver<(Owed, Outcome)>) {
        let mut some = Vec::with_capacity(UNRECORDED);
        while outcomes.recv_many(&mut some, UNRECORDED).await > 0 {
            self.record(std::mem::take(&mut some)).await;
        }
    }

    async fn record(&self, outcomes: Vec<(Owed, Outcome)>) {
        let handed_back = |(_, outcome): &(Owed, Outcome)| matches!(outcome, Outcome::Untried(_));
        let again = outcomes.iter().any(handed_back);
        let mut tries_left = LAST_TRIES;
        loop {
            let Err(error) = record_once(&self.store, outcomes.clone()).await else {
                if again {
                    self.store.deliveries.notify_one();
                }
                return;
            };
            if self.stop.is_cancelled() {
                tries_left -= 1;
            }
            if tries_left == 0 {
                tracing::error!(
                    copies.unrecorded = outcomes.len(),
                    error = &error as &dyn std::error::Error,
                    "what became of {} copies was not recorded: they may be sent again: {error}",
                    outcomes.len()
                );
                return;
            }
            tracing::error!(
                copies.unrecorded = outcomes.len(),
                error = &error as &dyn std::error::Error,
                "sending pauses, as its results cannot be recorded: {error}"
            );
            let pause = if self.stop.is_cancelled() {
                PAUSE
            } else {
                STORE_PAUSE
            };
            tokio::time::sleep(pause).await;
        }
    }

    async fn wait(&self) {
        tokio::select! {
            () = self.store.deliveries.notified() => {}
            () = tokio::time::sleep(PAUSE) => {}
            () = self.stop.cancelled() => {}
        }
    }

    async fn rest(&self, pause: Duration) {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = self.stop.cancelled() => {}
        }
    }
}

/// Records copies and letters: all or nothing. Safe to repeat.
async fn record_once(store: &Store, outcomes: Vec<(Owed, Outcome)>) -> Result<(), StoreError> {
    let (mut copies, mut letters) = (vec![], vec![]);
    for (owed, outcome) in outcomes {
        match owed {
            Owed::Copy(copy) => copies.push((copy, outcome)),
            Owed::Letter(letter) => letters.push((letter, outcome)),
        }
    }
    store.record_outcomes(copies, letters).await
}

#[cfg(test)]
mod tests;
