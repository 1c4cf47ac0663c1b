//! One claim's way out: every mail of it gets an outcome.

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::bring::{COPY, Lost};
use super::client::{Answer, Client, Waits};
use super::destination::Destinations;
use super::outbox::{self, File};
use super::outgoing::Outgoing;
use super::owed::{Owed, domain_of};
use super::refusal::{Reach, without_addresses};
use super::schedule::steady;
use super::weigh::{Weighed, ask_again, settle, weigh};
use super::{Relay, Route, Settings};
use crate::store::{CLAIM_SECS, Outcome, Store, StoreError};
use crate::types::{ListId, Timestamp};

/// No mail is begun later than this after the claim.
const BUDGET: Duration = Duration::from_secs(300);
/// A claim must outlive that and one mail more, and the recording.
const _: () = assert!(BUDGET.as_secs() + COPY.as_secs() + 300 <= CLAIM_SECS as u64);
/// What waits for the operator is looked at again after so many seconds.
const OPERATOR_WAIT: i64 = 300;
/// What waits because its sender is refused, at the soonest: limits often count by the minute.
const SENDER_WAIT: i64 = 60;
/// What was loaded may have been taken back after this long: an author's recall stops what is not begun.
pub(super) const LOADED_FOR: Duration = Duration::from_secs(1);
/// Mails in a row over which the next hop closes that are no longer taken for the destinations' fault but for its own.
const PARTINGS: u32 = 3;

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
    /// What the next hop refused first for no fault of a recipient, where that held up nothing else.
    pub refused: Option<String>,
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

    /// Has a mail recorded that was not begun.
    pub(super) async fn push_blocked(&mut self, owed: Owed, problem: &str) {
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
pub struct Ready {
    /// Envelope sender.
    pub sender: String,
    /// The fields that only this mail has, with CRLF.
    pub own: Vec<u8>,
    /// The rest.
    pub outgoing: Arc<Outgoing>,
}

/// Why a mail cannot be made ready.
enum NotReady {
    /// It has its outcome.
    Done(Outcome),
    /// Nothing can be had of the store now.
    Store(String),
    /// As many connections as may be are at its destination.
    Turn,
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

/// When a posting was loaded last, and which, as it goes out, or why it does not.
type Loaded = (Instant, (ListId, i64), Result<Arc<Outgoing>, Hindrance>);

/// Sends claims over a connection that it keeps from one to the next.
pub struct Sender {
    pub(super) store: Store,
    pub(super) settings: Settings,
    pub(super) stop: CancellationToken,
    pub(super) place: Place,
    pub(super) client: Option<Client>,
    pub(super) waits: Waits,
    loaded: Option<Loaded>,
    /// When it was looked last whether a domain lost its keys, and what came of it.
    pub(super) signing: Option<(Instant, String, Option<String>)>,
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
            waits: Waits::USUAL,
            loaded: None,
            signing: None,
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

    /// What goes out, or what becomes of the mail if nothing does.
    async fn look(&mut self, owed: &Owed) -> Result<Arc<Outgoing>, NotReady> {
        let now = crate::store::now();
        if let Some(outcome) = owed.find_end(now) {
            return Err(NotReady::Done(outcome));
        }
        let outgoing = match owed {
            Owed::Letter(letter) => match letter.list.zip(letter.copy.as_ref()) {
                Some((list, copy)) => self.load((list, copy.number), &copy.treatment).await?,
                None => Ok(Arc::new(Outgoing::of_letter(&letter.data))),
            },
            Owed::Copy(copy) => self.load((copy.list, copy.number), "").await?,
        };
        let outgoing = match outgoing {
            Ok(outgoing) => outgoing,
            Err(why) => return Err(NotReady::Done(why.outcome(owed, now))),
        };
        if let (Route::Relay(..), Some(flaw)) = (&self.settings.route, outgoing.flaw) {
            return Err(NotReady::Done(Outcome::GaveUp(flaw.to_owned())));
        }
        match self.find_lost_keys(&outgoing.domain).await {
            Ok(None) => Ok(outgoing),
            Ok(Some(why)) => Err(NotReady::Done(Hindrance::Waits(why).outcome(owed, now))),
            Err(error) => Err(NotReady::Store(error.to_string())),
        }
    }

    /// Makes a mail ready for its recipient, or says what becomes of it.
    fn make(&self, owed: &Owed, outgoing: Arc<Outgoing>) -> Result<Ready, NotReady> {
        let now = crate::store::now();
        let sender = match owed {
            Owed::Letter(letter) => Some(letter.return_path.clone()),
            Owed::Copy(copy) => outgoing.return_path(&self.settings.token_key, copy),
        };
        let text = "its numbers are too large for a token";
        let sender = sender.ok_or_else(|| NotReady::Done(Outcome::GaveUp(text.to_owned())))?;
        let key = &self.settings.token_key;
        let own = match owed {
            Owed::Letter(letter) => match &letter.copy {
                Some(copy) => outgoing.own_fields(key, copy.member),
                None => Vec::new(),
            },
            Owed::Copy(copy) => {
                outgoing.own_fields(key, Some(copy.member).filter(|_| !copy.archive))
            }
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

    /// The posting as its copies share it; the inner error is why its copies wait. `treatment` counts where none was decided for all.
    async fn load(
        &mut self,
        posting: (ListId, i64),
        treatment: &str,
    ) -> Result<Result<Arc<Outgoing>, Hindrance>, NotReady> {
        if let Some((at, loaded, outgoing)) = &self.loaded
            && *loaded == posting
            && at.elapsed() < LOADED_FOR
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
            Ok(Some(mut found)) => {
                if found.treatment.is_empty() {
                    found.treatment = treatment.to_owned();
                }
                let settings = &self.settings;
                let made = Outgoing::new(&found, &settings.base_url, &settings.feedback_id);
                Ok(Arc::new(made))
            }
            Ok(None) => {
                let gone = Outcome::GaveUp("the posting is gone".to_owned());
                return Err(NotReady::Done(gone));
            }
            Err(StoreError::Unusable(why)) => Err(Hindrance::Later(why)),
            Err(error) => return Err(NotReady::Store(error.to_string())),
        };
        self.loaded = Some((Instant::now(), posting, outgoing.clone()));
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
        let mut met = Met::default();
        // Mails in a row that wait for others.
        let mut turned = 0;
        while met.halt.is_none()
            && let Some(owed) = queue.pop_front()
        {
            met.halt = self.time_is_up(began);
            if met.halt.is_some() {
                queue.push_front(owed);
                break;
            }
            let ready = match self.admit(&owed).await {
                Ok(ready) => ready,
                Err(NotReady::Done(outcome)) => {
                    outcomes.push(owed, outcome).await;
                    continue;
                }
                Err(NotReady::Store(why)) => {
                    met.halt = Some(Halt::Store(why));
                    queue.push_front(owed);
                    break;
                }
                // Others are at it: first what goes elsewhere, if there is any.
                Err(NotReady::Turn) => {
                    queue.push_back(owed);
                    turned += 1;
                    if turned >= queue.len() {
                        break;
                    }
                    continue;
                }
            };
            turned = 0;
            let tried = self
                .bring(relay, (&owed, &ready), &mut queue, outcomes)
                .await;
            match tried {
                Ok(answered) => {
                    let sender = domain_of(&ready.sender);
                    self.conclude(relay, (owed, &sender), answered, &mut met, outcomes)
                        .await;
                }
                Err(lost) => self.note_lost(owed, lost, &mut met, outcomes).await,
            }
        }
        ask_again(met.unclear, &met.halt, outcomes).await;
        hand_back(queue, &met.halt, outcomes).await;
        met.halt
    }

    /// Makes a mail ready whose sender and destination are served now.
    async fn admit(&mut self, owed: &Owed) -> Result<Ready, NotReady> {
        // First what is not sent at all: it says nothing of its destination.
        let outgoing = self.look(owed).await?;
        let now = crate::store::now();
        let sender = match owed {
            Owed::Letter(letter) => domain_of(&letter.return_path),
            Owed::Copy(_) => outgoing.domain.clone(),
        };
        let place = self.place.number;
        let entered = {
            let mut destinations = self.destinations();
            if let Some((rest, said)) = destinations.refusals.find_pause(&sender, steady()) {
                let why = format!("the next hop refuses mail from {sender}: {said}");
                let outcome = owed.waits(now, rest.max(SENDER_WAIT), &why);
                return Err(NotReady::Done(outcome));
            }
            destinations.enter(&owed.domain(), place, steady())
        };
        match entered {
            Ok(()) => self.make(owed, outgoing),
            Err(problem) if problem.is_empty() => Err(NotReady::Turn),
            Err(problem) => Err(NotReady::Done(owed.blocked(now, &problem))),
        }
    }

    /// What becomes of a mail that was answered.
    async fn conclude(
        &mut self,
        relay: &Relay,
        (owed, sender): (Owed, &str),
        (answer, took): (Answer, Duration),
        met: &mut Met,
        outcomes: &mut Outcomes,
    ) {
        let outcome = match self.weigh((&owed, sender), answer, took) {
            Weighed::Unasked(outcome) => {
                outcomes.push(owed, outcome).await;
                return;
            }
            Weighed::Unclear(said) => {
                met.unclear.push((owed, said));
                return;
            }
            Weighed::Done(outcome) => outcome,
            Weighed::NextHop(said, reach) => {
                let problem = format!("the next hop {} refuses: {said}", relay.address);
                let shown = without_addresses(&problem);
                let whom = match sender {
                    "" => "the null sender",
                    domain => domain,
                };
                match reach {
                    Reach::Mail => {
                        outcomes.summary.refused.get_or_insert(shown);
                    }
                    Reach::Sender(pause_secs) => tracing::warn!(
                        sender.domain = sender,
                        pause_secs,
                        problem = shown,
                        "mail from {whom} waits {pause_secs} s: {shown}"
                    ),
                    Reach::All => met.halt = Some(Halt::Trouble(shown)),
                }
                owed.later(crate::store::now(), problem)
            }
        };
        if outcome == Outcome::Sent {
            settle(&mut met.unclear, outcomes).await;
        }
        met.partings = 0;
        outcomes.push(owed, outcome).await;
    }

    /// What becomes of a mail over which the connection ended.
    async fn note_lost(&mut self, owed: Owed, lost: Lost, met: &mut Met, outcomes: &mut Outcomes) {
        let now = crate::store::now();
        met.partings += 1;
        // Others' copies and the log get to know it.
        let problem = without_addresses(&lost.problem);
        if lost.by_destination && met.partings < PARTINGS {
            let mut destinations = self.destinations();
            destinations.record_trouble(&owed.domain(), &problem, steady());
        } else {
            met.halt = Some(Halt::Trouble(problem));
        }
        let outcome = match lost.begun {
            true => owed.later(now, lost.problem),
            false => owed.blocked(now, &lost.problem),
        };
        outcomes.push(owed, outcome).await;
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
    fn weigh(&self, mail: (&Owed, &str), answer: Answer, took: Duration) -> Weighed {
        let (weighed, freed) = weigh(&self.place.destinations, mail, answer, took);
        if freed {
            self.store.deliveries.notify_one();
        }
        weighed
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
            let looked = self.look(&owed).await;
            match looked.and_then(|outgoing| self.make(&owed, outgoing)) {
                Ok(ready) => due.push((owed, ready)),
                Err(NotReady::Done(outcome)) => outcomes.push(owed, outcome).await,
                Err(NotReady::Store(why)) => {
                    halt = Some(Halt::Store(why));
                    queue.push_front(owed);
                    break;
                }
                // Files have no destination.
                Err(NotReady::Turn) => queue.push_back(owed),
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

/// What a claim met so far.
#[derive(Default)]
struct Met {
    /// Mails in a row over which the connection ended.
    partings: u32,
    /// Mails of which it is not clear yet whose refusal they met.
    unclear: Vec<(Owed, String)>,
    halt: Option<Halt>,
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
