//! One claim's way out: every mail of it gets an outcome.

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::client::{Answer, Client, Mail, Trouble, Waits};
use super::destination::Destinations;
use super::outbox::{self, File};
use super::outgoing::Outgoing;
use super::owed::Owed;
use super::schedule::steady;
use super::weigh::{Weighed, ask_again, settle, weigh};
use super::{Relay, Route, Settings};
use crate::store::{CLAIM_SECS, Outcome, Store, StoreError};
use crate::types::{ListId, Timestamp};

/// No mail is begun later than this after the claim.
const BUDGET: Duration = Duration::from_secs(300);
/// No mail takes longer, with the connection it needs: then the next hop is taken to be away.
const COPY: Duration = Duration::from_secs(900);
/// A claim must outlive both, and the recording.
const _: () = assert!(BUDGET.as_secs() + COPY.as_secs() + 300 <= CLAIM_SECS as u64);
/// A mail on its way gets this long when the program is to stop.
const GRACE: Duration = Duration::from_secs(5);
/// What waits for the operator is looked at again after so many seconds.
const OPERATOR_WAIT: i64 = 300;
/// How often a mail on its way is looked at: one that takes too long makes its destination a slow one, and what else was claimed goes
/// by other connections.
const LOOK: Duration = Duration::from_millis(100);
/// Refusals of different mails in a row that are no longer taken for the destinations' but for the next hop's own.
const REFUSALS: u32 = 3;

/// What came of a claim, in sum.
#[derive(Debug, Default)]
pub struct Summary {
    /// Taken by the next hop.
    pub sent: u64,
    /// Tried in vain.
    pub delayed: u64,
    /// Never tried again.
    pub given_up: u64,
    /// What is wrong with the next hop, if it cannot be used now.
    pub trouble: Option<String>,
    /// Whether the store did not give what was to be sent.
    pub store_is_away: bool,
}

/// Where outcomes go as they come, to be recorded while sending goes on.
///
/// Bounded: when they cannot be recorded, sending waits.
pub struct Outcomes {
    queue: mpsc::Sender<(Owed, Outcome)>,
    summary: Summary,
}

impl Outcomes {
    /// Sums up from nothing.
    pub fn new(queue: mpsc::Sender<(Owed, Outcome)>) -> Outcomes {
        Outcomes {
            queue,
            summary: Summary::default(),
        }
    }

    /// Has an outcome recorded.
    pub async fn push(&mut self, owed: Owed, outcome: Outcome) {
        match &outcome {
            Outcome::Sent => self.summary.sent += 1,
            Outcome::Later(..) => self.summary.delayed += 1,
            Outcome::GaveUp(_) => self.summary.given_up += 1,
            Outcome::Untried(_) | Outcome::Waits(..) | Outcome::Unwanted => {}
        }
        if self.queue.send((owed, outcome)).await.is_err() {
            tracing::error!("nobody records what becomes of copies");
        }
    }

    async fn push_blocked(&mut self, owed: Owed, problem: &str) {
        let outcome = owed.blocked(crate::store::now(), problem);
        self.push(owed, outcome).await;
    }
}

/// Why the rest of a claim is not begun.
pub enum Halt {
    /// The next hop is away.
    Trouble(String),
    /// The store does not answer.
    Store(String),
    /// Time is up: no fault of the next hop.
    Later(String),
}

/// A mail made ready for its recipient.
struct Ready {
    /// Envelope sender.
    sender: String,
    /// The fields that only this mail has, with CRLF.
    own: Vec<u8>,
    /// The rest.
    outgoing: Arc<Outgoing>,
}

/// Why a mail cannot be made ready.
enum NotReady {
    /// It has its outcome.
    Done(Outcome),
    /// Nothing can be had of the store now.
    Store(String),
}

/// Why a posting's copies cannot be made.
#[derive(Debug, Clone)]
enum Hindrance {
    /// The operator has to do something; however long it takes, they wait.
    Waits(String),
    /// It may pass.
    Later(String),
}

impl Hindrance {
    fn outcome(self, owed: &Owed, now: Timestamp) -> Outcome {
        match self {
            Hindrance::Waits(why) => Outcome::Waits(now.plus_secs(OPERATOR_WAIT), why),
            Hindrance::Later(why) => owed.later(now, why),
        }
    }
}

/// One of the connections, and what it shares with the others.
#[derive(Debug, Clone)]
pub struct Place {
    /// Which, from 0.
    pub number: usize,
    /// Where trouble is.
    pub destinations: Arc<Mutex<Destinations>>,
}

/// The posting that was loaded last, as it goes out, or why it does not.
type Loaded = ((ListId, i64), Result<Arc<Outgoing>, Hindrance>);

/// Sends claims over a connection that it keeps from one to the next.
pub struct Sender {
    store: Store,
    settings: Settings,
    stop: CancellationToken,
    place: Place,
    client: Option<Client>,
    loaded: Option<Loaded>,
}

impl Sender {
    /// Opens nothing yet.
    pub fn new(store: Store, settings: Settings, stop: CancellationToken, place: Place) -> Sender {
        Sender {
            store,
            settings,
            stop,
            place,
            client: None,
            loaded: None,
        }
    }

    /// Ends the connection, if there is one: an idle one would be cut off by the next hop.
    pub async fn close(&mut self) {
        if let Some(client) = self.client.take() {
            client.quit().await;
        }
    }

    /// Sends what was claimed just now.
    pub async fn send(&mut self, claimed: Vec<Owed>, mut outcomes: Outcomes) -> Summary {
        // A posting may have been taken back since.
        self.loaded = None;
        let queue = VecDeque::from(claimed);
        let halt = match self.settings.route.clone() {
            Route::Directory(folder) => self.write(folder, queue, &mut outcomes).await,
            Route::Relay(relay, _) => self.relay(&relay, queue, &mut outcomes).await,
        };
        self.destinations().leave(self.place.number);
        match halt {
            Some(Halt::Trouble(problem)) => outcomes.summary.trouble = Some(problem),
            Some(Halt::Store(_)) => outcomes.summary.store_is_away = true,
            Some(Halt::Later(_)) | None => {}
        }
        outcomes.summary
    }

    fn destinations(&self) -> MutexGuard<'_, Destinations> {
        // Plain numbers are sound whatever the thread that panicked was doing.
        let destinations = &self.place.destinations;
        destinations.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a mail ready, or says what becomes of it.
    async fn prepare(&mut self, owed: &Owed) -> Result<Ready, NotReady> {
        let now = crate::store::now();
        if let Some(outcome) = owed.find_end(now) {
            return Err(NotReady::Done(outcome));
        }
        let outgoing = match owed {
            Owed::Letter(letter) => Arc::new(Outgoing::of_letter(&letter.data)),
            Owed::Copy(copy) => match self.load((copy.list, copy.number)).await? {
                Ok(outgoing) => outgoing,
                Err(why) => return Err(NotReady::Done(why.outcome(owed, now))),
            },
        };
        if let (Route::Relay(..), Some(flaw)) = (&self.settings.route, outgoing.flaw) {
            return Err(NotReady::Done(Outcome::GaveUp(flaw.to_owned())));
        }
        let sender = match owed {
            Owed::Letter(letter) => Some(letter.return_path.clone()),
            Owed::Copy(copy) => outgoing.return_path(&self.settings.token_key, copy),
        };
        let text = "its numbers are too large for a token";
        let sender = sender.ok_or_else(|| NotReady::Done(Outcome::GaveUp(text.to_owned())))?;
        let own = match owed {
            Owed::Letter(_) => Vec::new(),
            Owed::Copy(copy) => outgoing.own_fields(&self.settings.token_key, copy),
        };
        let signed = self.sign(&outgoing, &own);
        let signature = signed.map_err(|error| {
            let why = format!(
                "it cannot be signed for {}: {error}; `patchpost doctor` says how to mend it",
                outgoing.domain
            );
            NotReady::Done(Hindrance::Waits(why).outcome(owed, now))
        })?;
        let own = [signature.as_bytes(), &own].concat();
        Ok(Ready {
            sender,
            own,
            outgoing,
        })
    }

    /// Our signatures; none where the domain has no key.
    fn sign(&self, outgoing: &Outgoing, own: &[u8]) -> io::Result<String> {
        let keys = self.settings.keys.of(&outgoing.domain)?;
        keys.sign(&outgoing.draft, own, crate::store::now())
    }

    /// The posting as its copies share it; the inner error is why its copies wait.
    async fn load(
        &mut self,
        posting: (ListId, i64),
    ) -> Result<Result<Arc<Outgoing>, Hindrance>, NotReady> {
        if let Some((loaded, outgoing)) = &self.loaded
            && *loaded == posting
        {
            return Ok(outgoing.clone());
        }
        let (list, number) = posting;
        let found = self.store.load_posting_to_send(list, number).await;
        if let Err(error) = &found {
            tracing::error!(
                error = error as &dyn std::error::Error,
                list.id = list.0,
                posting.number = number,
                "could not load a posting to send: {error}"
            );
        }
        let outgoing = match found {
            Ok(Some(found)) if found.tls_only && self.settings.route.is_open() => {
                let why = "the list's copies go over TLS only, and the way to the relay has none; set delivery.relay_tls, \
                     or let a mail server on this machine relay them";
                Err(Hindrance::Waits(why.to_owned()))
            }
            Ok(Some(found)) => Ok(Arc::new(Outgoing::new(&found, &self.settings.base_url))),
            Ok(None) => {
                let gone = Outcome::GaveUp("the posting is gone".to_owned());
                return Err(NotReady::Done(gone));
            }
            Err(StoreError::Unusable(why)) => Err(Hindrance::Later(why)),
            Err(error) => return Err(NotReady::Store(error.to_string())),
        };
        self.loaded = Some((posting, outgoing.clone()));
        Ok(outgoing)
    }

    /// Sends a claim to the next hop.
    async fn relay(
        &mut self,
        relay: &Relay,
        mut queue: VecDeque<Owed>,
        outcomes: &mut Outcomes,
    ) -> Option<Halt> {
        let began = Instant::now();
        let mut refusals = 0;
        let mut unclear = Vec::new();
        // Mails in a row that wait for others.
        let mut turned = 0;
        let mut halt = None;
        while halt.is_none()
            && let Some(owed) = queue.pop_front()
        {
            halt = self.time_is_up(began);
            if halt.is_some() {
                queue.push_front(owed);
                break;
            }
            let domain = owed.domain();
            let place = self.place.number;
            let entered = self.destinations().enter(&domain, place, steady());
            match entered {
                Ok(()) => {}
                // Others are at it: first what goes elsewhere, if there is any.
                Err(problem) if problem.is_empty() => {
                    queue.push_back(owed);
                    turned += 1;
                    if turned >= queue.len() {
                        break;
                    }
                    continue;
                }
                Err(problem) => {
                    outcomes.push_blocked(owed, &problem).await;
                    continue;
                }
            }
            turned = 0;
            let ready = match self.prepare(&owed).await {
                Ok(ready) => ready,
                Err(NotReady::Done(outcome)) => {
                    outcomes.push(owed, outcome).await;
                    continue;
                }
                Err(NotReady::Store(why)) => {
                    halt = Some(Halt::Store(why));
                    queue.push_front(owed);
                    break;
                }
            };
            let begun = Instant::now();
            let tried = self
                .send_watched(relay, &owed, &ready, &mut queue, outcomes)
                .await;
            let now = crate::store::now();
            let (outcome, refused) = match tried {
                Ok(answer) => match self.weigh(&owed, answer, begun.elapsed()) {
                    Weighed::Done(outcome) => {
                        if outcome == Outcome::Sent {
                            settle(&mut unclear, outcomes).await;
                        }
                        (outcome, false)
                    }
                    Weighed::Unclear(said) => {
                        unclear.push((owed, said));
                        continue;
                    }
                    Weighed::NextHop(said, sure) => {
                        let problem = format!("the next hop {} refuses: {said}", relay.address);
                        if sure || refusals + 1 >= REFUSALS {
                            halt = Some(Halt::Trouble(problem.clone()));
                        }
                        (owed.later(now, problem), true)
                    }
                },
                Err(lost) => {
                    self.client = None;
                    let outcome = match lost.begun {
                        true => owed.later(now, lost.problem.clone()),
                        false => owed.blocked(now, &lost.problem),
                    };
                    if lost.by_destination && refusals + 1 < REFUSALS {
                        let mut destinations = self.destinations();
                        destinations.record_trouble(&domain, &lost.problem, steady());
                    } else {
                        halt = Some(Halt::Trouble(lost.problem));
                    }
                    (outcome, true)
                }
            };
            refusals = if refused { refusals + 1 } else { 0 };
            outcomes.push(owed, outcome).await;
        }
        ask_again(unclear, &halt, outcomes).await;
        hand_back(queue, &halt, outcomes).await;
        halt
    }

    /// Nothing is begun when the program is to stop, or late in a claim.
    fn time_is_up(&self, began: Instant) -> Option<Halt> {
        if self.stop.is_cancelled() {
            return Some(Halt::Later(String::new()));
        }
        let slow = began.elapsed() > BUDGET;
        slow.then(|| Halt::Later("the next hop is slow".to_owned()))
    }

    /// What an answer comes to. Where its destination may be served by more connections now, others are told.
    fn weigh(&self, owed: &Owed, answer: Answer, took: Duration) -> Weighed {
        let (weighed, freed) = weigh(&self.place.destinations, owed, answer, took);
        if freed {
            self.store.deliveries.notify_one();
        }
        weighed
    }

    /// Sends one mail. Should it take long, its destination is a slow one: then what was claimed for others is handed back.
    async fn send_watched(
        &mut self,
        relay: &Relay,
        owed: &Owed,
        ready: &Ready,
        queue: &mut VecDeque<Owed>,
        outcomes: &mut Outcomes,
    ) -> Result<Answer, Lost> {
        let outgoing = &ready.outgoing;
        let mail = Mail {
            sender: &ready.sender,
            recipient: owed.recipient(),
            parts: [&ready.own, &outgoing.head, &outgoing.stuffed],
            size: ready.own.len() + outgoing.size(),
            eight_bit: outgoing.eight_bit,
        };
        let place = self.place.clone();
        let mut sending = pin!(self.send_one(relay, &mail));
        let destinations = || {
            let destinations = &place.destinations;
            destinations.lock().unwrap_or_else(PoisonError::into_inner)
        };
        let begun = Instant::now();
        loop {
            tokio::select! {
                done = &mut sending => return done,
                () = tokio::time::sleep(LOOK) => {}
            }
            if begun.elapsed() >= destinations().patience() {
                break;
            }
        }
        let domain = owed.domain();
        destinations().record_slowness(&domain, place.number, steady());
        for _ in 0..queue.len() {
            match queue.pop_front() {
                Some(other) if other.domain() == domain => queue.push_back(other),
                Some(other) => outcomes.push_blocked(other, "").await,
                None => break,
            }
        }
        sending.await
    }

    /// Sends one mail within its time, or less when the program is to stop.
    async fn send_one(&mut self, relay: &Relay, mail: &Mail<'_>) -> Result<Answer, Lost> {
        let stop = self.stop.clone();
        let stopped = async {
            stop.cancelled().await;
            tokio::time::sleep(GRACE).await;
        };
        let mut by_destination = false;
        let problem = tokio::select! {
            done = self.try_send(relay, mail) => match done {
                Ok(answer) => return Ok(answer),
                Err(trouble) => {
                    by_destination = matches!(trouble, Trouble::Refused(_));
                    trouble.to_string()
                }
            },
            () = tokio::time::sleep(COPY) => "it took too long".to_owned(),
            () = stopped => "patchpost was stopped".to_owned(),
        };
        let in_doubt = self.client.as_ref().is_some_and(Client::is_in_doubt);
        if in_doubt {
            tracing::warn!(
                mail.recipient = mail.recipient,
                mail.sender = mail.sender,
                problem,
                "the connection was lost after the mail was sent: {} may get it twice",
                mail.recipient
            );
        }
        let begun = self.client.as_ref().is_some_and(Client::is_used);
        let problem = format!("the next hop {} cannot be used: {problem}", relay.address);
        Err(Lost {
            problem,
            begun,
            by_destination,
        })
    }

    async fn try_send(&mut self, relay: &Relay, mail: &Mail<'_>) -> Result<Answer, Trouble> {
        if self.client.as_ref().is_some_and(Client::is_used_up) {
            self.close().await;
        }
        if let Some(open) = self.client.as_mut() {
            match open.send(mail).await {
                // Servers end a connection after a number of mails or a time, without a word: nothing was sent yet.
                // Others say so.
                Err(Trouble::Broken(_) | Trouble::HadEnough(_)) if !open.is_in_doubt() => {
                    self.client = None;
                }
                done => return done,
            }
        }
        let opened = Client::connect(relay, &self.settings.hostname, Waits::USUAL).await?;
        self.client.insert(opened).send(mail).await
    }

    /// Writes a claim as files.
    async fn write(
        &mut self,
        folder: std::path::PathBuf,
        mut queue: VecDeque<Owed>,
        outcomes: &mut Outcomes,
    ) -> Option<Halt> {
        let mut halt = None;
        let mut due = Vec::with_capacity(queue.len());
        while let Some(owed) = queue.pop_front() {
            match self.prepare(&owed).await {
                Ok(ready) => due.push((owed, ready)),
                Err(NotReady::Done(outcome)) => outcomes.push(owed, outcome).await,
                Err(NotReady::Store(why)) => {
                    halt = Some(Halt::Store(why));
                    queue.push_front(owed);
                    break;
                }
            }
        }
        hand_back(queue, &halt, outcomes).await;
        let shown = folder.display().to_string();
        let work = move || {
            let written = write_all(&folder, &due);
            (due, written)
        };
        let (due, problem) = match tokio::task::spawn_blocking(work).await {
            Ok((due, Ok(()))) => {
                for (owed, _) in due {
                    outcomes.push(owed, Outcome::Sent).await;
                }
                return halt;
            }
            Ok((due, Err(error))) => (due, format!("cannot write to {shown}: {error}")),
            // Their leases run out.
            Err(error) => (Vec::new(), format!("writing broke off: {error}")),
        };
        // A copy that is written again replaces the first: none of them counts as tried.
        let due = due.into_iter().map(|(owed, _)| owed).collect();
        let halt = Some(Halt::Trouble(problem));
        hand_back(due, &halt, outcomes).await;
        halt
    }
}

/// A mail could not be brought to the next hop.
struct Lost {
    problem: String,
    /// Whether this mail was begun, or there was not even a connection.
    begun: bool,
    /// Whether the next hop speaks of this recipient only.
    by_destination: bool,
}

fn write_all(folder: &Path, due: &[(Owed, Ready)]) -> io::Result<()> {
    if due.is_empty() {
        return Ok(());
    }
    for (owed, ready) in due {
        let outgoing = &ready.outgoing;
        let name = match owed {
            Owed::Copy(copy) => format!("{}-{}-{}", outgoing.list, copy.number, copy.member),
            Owed::Letter(letter) => format!("letter-{}", letter.id),
        };
        let file = File {
            name: &name,
            sender: &ready.sender,
            recipient: owed.recipient(),
            parts: [&ready.own, &outgoing.head, &outgoing.body],
        };
        outbox::write(folder, &file)?;
    }
    outbox::sync(folder)
}

/// What is not begun is due as before. Only trouble with the next hop ends what is too old.
async fn hand_back(queue: VecDeque<Owed>, halt: &Option<Halt>, outcomes: &mut Outcomes) {
    for owed in queue {
        match halt {
            Some(Halt::Trouble(problem)) => outcomes.push_blocked(owed, problem).await,
            Some(Halt::Store(problem) | Halt::Later(problem)) => {
                outcomes.push(owed, Outcome::Untried(problem.clone())).await;
            }
            None => outcomes.push(owed, Outcome::Untried(String::new())).await,
        }
    }
}
