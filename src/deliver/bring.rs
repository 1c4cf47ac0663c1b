//! One mail's way to the next hop: over the connection that is open, or over a new one, and watched, so that one that takes long holds
//! up nobody else.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::pin::pin;
use std::sync::PoisonError;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Relay;
use super::batch::{Outcomes, Ready, Sender};
use super::client::{Answer, Client, Mail, Trouble};
use super::owed::Owed;
use super::refusal::without_addresses;
use super::schedule::steady;

/// No mail takes longer, with the connection it needs: then the next hop is taken to be away.
pub(super) const COPY: Duration = Duration::from_secs(900);
/// A mail on its way gets this long when the program is to stop.
const GRACE: Duration = Duration::from_secs(5);
/// How often a mail on its way is looked at: one that takes too long makes its destination a slow one, and what else was claimed goes
/// by other connections.
const LOOK: Duration = Duration::from_millis(100);

/// A mail could not be brought to the next hop.
pub struct Lost {
    /// What is in the way.
    pub problem: String,
    /// Whether this mail was begun, or there was not even a connection.
    pub begun: bool,
    /// Whether it is this recipient's destination that is in the way.
    pub by_destination: bool,
}

/// Why a connection is of no more use.
enum Ended {
    Trouble(Trouble),
    Late,
    Stopped,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ended::Trouble(trouble) => trouble.fmt(f),
            Ended::Late => f.write_str("it took too long"),
            Ended::Stopped => f.write_str("patchpost was stopped"),
        }
    }
}

impl Ended {
    /// Whether an answer never came.
    fn is_late(&self) -> bool {
        match self {
            Ended::Trouble(Trouble::Broken(error)) => error.kind() == io::ErrorKind::TimedOut,
            Ended::Late => true,
            Ended::Trouble(_) | Ended::Stopped => false,
        }
    }
}

/// A connection ended over a mail.
struct Failed {
    ended: Ended,
    /// Whether the next hop answered others while it kept this mail waiting.
    hung: bool,
}

impl Sender {
    /// Brings one mail to the next hop. Returns the answer, and how long it took once there was a connection: connecting says nothing of
    /// the destination.
    pub(super) async fn bring(
        &mut self,
        relay: &Relay,
        (owed, ready): (&Owed, &Ready),
        queue: &mut VecDeque<Owed>,
        outcomes: &mut Outcomes,
    ) -> Result<(Answer, Duration), Lost> {
        let deadline = Instant::now() + COPY;
        let lost = |ended: &Ended| Lost {
            problem: format!("the next hop {} cannot be used: {ended}", relay.address),
            begun: false,
            by_destination: false,
        };
        loop {
            let fresh = self.open(relay, deadline).await.map_err(|e| lost(&e))?;
            let begun = Instant::now();
            let sent = self.send_watched((owed, ready), deadline, queue, outcomes);
            let Failed { ended, hung } = match sent.await {
                Ok(answer) => return Ok((answer, begun.elapsed())),
                Err(failed) => failed,
            };
            let client = self.client.take();
            let in_doubt = client.as_ref().is_some_and(Client::is_in_doubt);
            // Servers end a connection after a number of mails or a time, without a word: nothing was sent yet. Others say so.
            let stale = matches!(
                ended,
                Ended::Trouble(Trouble::Broken(_) | Trouble::HadEnough(_))
            );
            if stale && !fresh && !in_doubt && !hung {
                continue;
            }
            if in_doubt {
                // A log names nobody who gets mail.
                let problem = without_addresses(&ended.to_string());
                tracing::warn!(
                    delivery.id = owed.id(),
                    problem,
                    "the connection was lost after the mail was sent: {} may arrive twice",
                    owed.id()
                );
            }
            let refused = matches!(ended, Ended::Trouble(Trouble::Refused(_)));
            return Err(Lost {
                begun: true,
                by_destination: refused || hung,
                ..lost(&ended)
            });
        }
    }

    /// Sees that there is a connection; whether it is a new one.
    async fn open(&mut self, relay: &Relay, deadline: Instant) -> Result<bool, Ended> {
        if self.client.as_ref().is_some_and(Client::is_used_up) {
            self.close().await;
        }
        if self.client.is_some() {
            return Ok(false);
        }
        let opening = Client::connect(relay, &self.settings.hostname, self.waits);
        self.client = Some(within(&self.stop, deadline, opening).await?);
        Ok(true)
    }

    /// Sends one mail. Should it take long, its destination is a slow one: then what was claimed for others is handed back.
    async fn send_watched(
        &mut self,
        (owed, ready): (&Owed, &Ready),
        deadline: Instant,
        queue: &mut VecDeque<Owed>,
        outcomes: &mut Outcomes,
    ) -> Result<Answer, Failed> {
        let outgoing = &ready.outgoing;
        let mail = Mail {
            sender: &ready.sender,
            recipient: owed.recipient(),
            parts: [&ready.own, &outgoing.head, &outgoing.stuffed],
            size: ready.own.len() + outgoing.size(),
            eight_bit: outgoing.eight_bit,
        };
        let place = self.place.clone();
        let destinations = || {
            let destinations = &place.destinations;
            destinations.lock().unwrap_or_else(PoisonError::into_inner)
        };
        let Some(client) = self.client.as_mut() else {
            let none = io::Error::other("there is no connection");
            return Err(Failed {
                ended: Ended::Trouble(none.into()),
                hung: false,
            });
        };
        let mut sending = pin!(within(&self.stop, deadline, client.send(&mail)));
        let begun = Instant::now();
        loop {
            let failed = |ended| Failed { ended, hung: false };
            tokio::select! {
                done = &mut sending => return done.map_err(failed),
                () = tokio::time::sleep(LOOK) => {}
            }
            if begun.elapsed() >= destinations().patience() {
                break;
            }
        }
        let domain = owed.domain();
        destinations().record_slowness(&domain, place.number, steady());
        let answers = destinations().answers();
        for _ in 0..queue.len() {
            match queue.pop_front() {
                Some(other) if other.domain() == domain => queue.push_back(other),
                Some(other) => outcomes.push_blocked(other, "").await,
                None => break,
            }
        }
        sending.await.map_err(|ended| Failed {
            hung: ended.is_late() && destinations().answers() != answers,
            ended,
        })
    }
}

/// Waits for the next hop until it is too late, or shorter when the program is to stop.
async fn within<T>(
    stop: &CancellationToken,
    deadline: Instant,
    work: impl Future<Output = Result<T, Trouble>>,
) -> Result<T, Ended> {
    let stopped = async {
        stop.cancelled().await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        done = work => done.map_err(Ended::Trouble),
        () = tokio::time::sleep_until(deadline) => Err(Ended::Late),
        () = stopped => Err(Ended::Stopped),
    }
}
