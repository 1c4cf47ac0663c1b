//! One claim's way out: every copy of it gets an outcome.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::client::{Answer, Client, Mail, Trouble, Waits};
use super::outbox::{self, Letter};
use super::outgoing::Outgoing;
use super::{Route, Settings, schedule};
use crate::store::{CLAIM_SECS, Delivery, Outcome, Store, StoreError};
use crate::types::Timestamp;

/// No copy is begun later than this after the claim.
const BUDGET: Duration = Duration::from_secs(300);
/// No copy takes longer, with the connection it needs: then the next hop is taken to be away.
const COPY: Duration = Duration::from_secs(900);
/// A claim must outlive both, and the recording.
const _: () = assert!(BUDGET.as_secs() + COPY.as_secs() + 300 <= CLAIM_SECS as u64);
/// A copy on its way gets this long when the program is to stop.
const GRACE: Duration = Duration::from_secs(5);

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
    queue: mpsc::Sender<(Delivery, Outcome)>,
    summary: Summary,
}

impl Outcomes {
    /// Sums up from nothing.
    pub fn new(queue: mpsc::Sender<(Delivery, Outcome)>) -> Outcomes {
        Outcomes {
            queue,
            summary: Summary::default(),
        }
    }

    async fn push(&mut self, delivery: Delivery, outcome: Outcome) {
        match &outcome {
            Outcome::Sent => self.summary.sent += 1,
            Outcome::Later(..) => self.summary.delayed += 1,
            Outcome::GaveUp(_) => self.summary.given_up += 1,
            Outcome::Untried(_) | Outcome::Unwanted => {}
        }
        if self.queue.send((delivery, outcome)).await.is_err() {
            tracing::error!("nobody records what becomes of copies");
        }
    }

    async fn push_all(&mut self, group: &[Delivery], outcome: impl Fn(&Delivery) -> Outcome) {
        for delivery in group {
            self.push(delivery.clone(), outcome(delivery)).await;
        }
    }
}

/// Why the rest of a claim is not begun.
enum Halt {
    /// The next hop is away.
    Trouble(String),
    /// The store does not answer.
    Store(String),
    /// Time is up: no fault of the next hop.
    Later(String),
}

/// Sends claims over a connection that it keeps from one to the next.
pub struct Sender {
    store: Store,
    settings: Settings,
    stop: CancellationToken,
    client: Option<Client>,
}

impl Sender {
    /// Opens nothing yet.
    pub fn new(store: Store, settings: Settings, stop: CancellationToken) -> Sender {
        Sender {
            store,
            settings,
            stop,
            client: None,
        }
    }

    /// Ends the connection, if there is one: an idle one would be cut off by the next hop.
    pub async fn close(&mut self) {
        if let Some(client) = self.client.take() {
            client.quit().await;
        }
    }

    /// Sends what was claimed just now.
    pub async fn send(&mut self, claimed: Vec<Delivery>, mut outcomes: Outcomes) -> Summary {
        let began = Instant::now();
        let mut halt = None;
        for group in claimed.chunk_by(|a, b| (a.list, a.number) == (b.list, b.number)) {
            let outgoing = match &halt {
                None => self.load(group).await,
                Some(_) => Ok(None),
            };
            match outgoing {
                Ok(Some(outgoing)) => {
                    halt = self
                        .send_group(group, Arc::new(outgoing), began, &mut outcomes)
                        .await;
                }
                Ok(None) if halt.is_none() => {
                    let gone = |_: &Delivery| Outcome::GaveUp("the posting is gone".to_owned());
                    outcomes.push_all(group, gone).await;
                }
                Ok(None) => outcomes.push_all(group, |d| rest(d, &halt)).await,
                Err(StoreError::Unusable(why)) => {
                    let now = crate::store::now();
                    outcomes
                        .push_all(group, |d| later(d, now, why.clone()))
                        .await;
                }
                Err(error) => {
                    halt = Some(Halt::Store(error.to_string()));
                    outcomes.push_all(group, |d| rest(d, &halt)).await;
                }
            }
        }
        outcomes.summary.store_is_away = matches!(halt, Some(Halt::Store(_)));
        if let Some(Halt::Trouble(problem)) = halt {
            outcomes.summary.trouble = Some(problem);
        }
        outcomes.summary
    }

    async fn load(&self, group: &[Delivery]) -> Result<Option<Outgoing>, StoreError> {
        let Some(Delivery { list, number, .. }) = group.first() else {
            return Ok(None);
        };
        let posting = self.store.load_posting_to_send(*list, *number).await;
        if let Err(error) = &posting {
            tracing::error!(
                error = error as &dyn std::error::Error,
                list.id = list.0,
                posting.number = number,
                "could not load a posting to send: {error}"
            );
        }
        Ok(posting?.map(|p| Outgoing::new(&p, &self.settings.base_url)))
    }

    /// Sends the copies of one posting.
    async fn send_group(
        &mut self,
        group: &[Delivery],
        outgoing: Arc<Outgoing>,
        began: Instant,
        outcomes: &mut Outcomes,
    ) -> Option<Halt> {
        let now = crate::store::now();
        let mut due = Vec::with_capacity(group.len());
        for delivery in group {
            match self.plan(delivery, &outgoing, now) {
                Ok(sender) => due.push((delivery.clone(), sender)),
                Err(outcome) => outcomes.push(delivery.clone(), outcome).await,
            }
        }
        match self.settings.route.clone() {
            Route::Directory(folder) => write_group(folder, due, outgoing, outcomes).await,
            Route::Relay(relay, _) => {
                self.relay_group(&relay, due, &outgoing, began, outcomes)
                    .await
            }
        }
    }

    /// The envelope sender of a copy, or why it is not to be sent.
    fn plan(
        &self,
        delivery: &Delivery,
        outgoing: &Outgoing,
        now: Timestamp,
    ) -> Result<String, Outcome> {
        if !delivery.wanted {
            return Err(Outcome::Unwanted);
        }
        if schedule::is_stuck(delivery.attempts, delivery.started, now) {
            let text = "given up after five days: no try came to an end";
            return Err(Outcome::GaveUp(text.to_owned()));
        }
        let flaw = outgoing.flaw.map(str::to_owned);
        match (&self.settings.route, flaw) {
            (Route::Relay(..), Some(flaw)) => Err(Outcome::GaveUp(flaw)),
            _ => outgoing
                .return_path(&self.settings.token_key, delivery)
                .ok_or_else(|| Outcome::GaveUp("its numbers are too large for a token".to_owned())),
        }
    }

    async fn relay_group(
        &mut self,
        relay: &str,
        due: Vec<(Delivery, String)>,
        outgoing: &Outgoing,
        began: Instant,
        outcomes: &mut Outcomes,
    ) -> Option<Halt> {
        let mut halt = None;
        for (delivery, sender) in due {
            if halt.is_none() && self.stop.is_cancelled() {
                halt = Some(Halt::Later(String::new()));
            }
            if halt.is_none() && began.elapsed() > BUDGET {
                halt = Some(Halt::Later("the next hop is slow".to_owned()));
            }
            if halt.is_some() {
                let outcome = rest(&delivery, &halt);
                outcomes.push(delivery, outcome).await;
                continue;
            }
            let mail = Mail {
                sender: &sender,
                recipient: &delivery.address,
                parts: [&outgoing.head, &outgoing.stuffed],
                size: outgoing.size(),
                eight_bit: outgoing.eight_bit,
            };
            let now = crate::store::now();
            let outcome = match self.send_one(relay, &mail).await {
                Ok(Answer::Taken) => Outcome::Sent,
                Ok(Answer::Permanent(text)) => Outcome::GaveUp(text),
                Ok(Answer::Temporary(text)) => later(&delivery, now, text),
                Err(lost) => {
                    self.client = None;
                    let halted = Some(Halt::Trouble(lost.problem.clone()));
                    let outcome = match lost.begun {
                        true => later(&delivery, now, lost.problem),
                        false => rest(&delivery, &halted),
                    };
                    halt = halted;
                    outcome
                }
            };
            outcomes.push(delivery, outcome).await;
        }
        halt
    }

    /// Sends one copy within its time, or less when the program is to stop.
    async fn send_one(&mut self, relay: &str, mail: &Mail<'_>) -> Result<Answer, Lost> {
        let stop = self.stop.clone();
        let stopped = async {
            stop.cancelled().await;
            tokio::time::sleep(GRACE).await;
        };
        let problem = tokio::select! {
            done = self.try_send(relay, mail) => match done {
                Ok(answer) => return Ok(answer),
                Err(trouble) => trouble.to_string(),
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
        let problem = format!("the next hop {relay} cannot be used: {problem}");
        Err(Lost { problem, begun })
    }

    async fn try_send(&mut self, relay: &str, mail: &Mail<'_>) -> Result<Answer, Trouble> {
        if self.client.as_ref().is_some_and(Client::is_used_up) {
            self.close().await;
        }
        if let Some(open) = self.client.as_mut() {
            match open.send(mail).await {
                // Servers end a connection after a number of mails or a time, without a word: nothing was sent yet.
                Err(Trouble::Broken(_)) if !open.is_in_doubt() => self.client = None,
                done => return done,
            }
        }
        let opened = Client::connect(relay, &self.settings.hostname, Waits::USUAL).await?;
        self.client.insert(opened).send(mail).await
    }
}

/// A copy could not be brought to the next hop.
struct Lost {
    problem: String,
    /// Whether this copy was begun, or there was not even a connection.
    begun: bool,
}

/// Writes the copies of one posting as files.
async fn write_group(
    folder: std::path::PathBuf,
    due: Vec<(Delivery, String)>,
    outgoing: Arc<Outgoing>,
    outcomes: &mut Outcomes,
) -> Option<Halt> {
    let copies = due.clone();
    let work = move || write_all(&folder, &copies, &outgoing).map_err(|e| (folder, e));
    let problem = match tokio::task::spawn_blocking(work).await {
        Ok(Ok(())) => {
            for (delivery, _) in due {
                outcomes.push(delivery, Outcome::Sent).await;
            }
            return None;
        }
        Ok(Err((folder, error))) => format!("cannot write to {}: {error}", folder.display()),
        Err(error) => format!("writing broke off: {error}"),
    };
    // A copy that is written again replaces the first: none of them counts as tried.
    let halt = Some(Halt::Trouble(problem));
    let due: Vec<Delivery> = due.into_iter().map(|(delivery, _)| delivery).collect();
    outcomes.push_all(&due, |d| rest(d, &halt)).await;
    halt
}

fn write_all(folder: &Path, copies: &[(Delivery, String)], outgoing: &Outgoing) -> io::Result<()> {
    if copies.is_empty() {
        return Ok(());
    }
    for (delivery, sender) in copies {
        let name = format!("{}-{}-{}", outgoing.list, delivery.number, delivery.member);
        let letter = Letter {
            name: &name,
            sender,
            recipient: &delivery.address,
            parts: [&outgoing.head, &outgoing.body],
        };
        outbox::write(folder, &letter)?;
    }
    outbox::sync(folder)
}

/// The outcome of a copy that is not begun: due as before, unless its five days are over.
fn rest(delivery: &Delivery, halt: &Option<Halt>) -> Outcome {
    let now = crate::store::now();
    match halt {
        Some(Halt::Trouble(problem)) if schedule::is_over(delivery.started, now) => {
            Outcome::GaveUp(format!("given up after five days: {problem}"))
        }
        Some(Halt::Trouble(problem) | Halt::Store(problem) | Halt::Later(problem)) => {
            Outcome::Untried(problem.clone())
        }
        None => Outcome::Untried(String::new()),
    }
}

fn later(delivery: &Delivery, now: Timestamp, problem: String) -> Outcome {
    // Ids follow each other, so that their low octet spreads the copies of a posting evenly.
    let jitter = delivery.id.0.to_le_bytes()[0];
    match schedule::next_attempt(delivery.attempts, delivery.started, now, jitter) {
        Some(at) => Outcome::Later(at, problem),
        None => Outcome::GaveUp(format!("given up after five days: {problem}")),
    }
}
