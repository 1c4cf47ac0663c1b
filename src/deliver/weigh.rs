//! What the next hop's answer to a mail comes to: for the mail, for its destination, for its sender, and for the next hop.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::batch::{Halt, Outcomes};
use super::client::Answer;
use super::destination::Destinations;
use super::owed::Owed;
use super::refusal::{Reach, Whose, passing_ground, whose};
use super::schedule::steady;
use crate::store::Outcome;

/// What an answer to a mail comes to.
#[derive(Debug, PartialEq, Eq)]
pub enum Weighed {
    /// The mail has its outcome.
    Done(Outcome),
    /// The next hop was not even asked: that says nothing of anybody.
    Unasked(Outcome),
    /// Refused for good, and nothing shows yet whether for the recipient's sake.
    Unclear(String),
    /// Refused for reasons of the sender or of the next hop; whom that holds up.
    NextHop(String, Reach),
}

/// What an answer that took so long comes to; notes what it says of the destination, of the sender's domain and of the next hop.
/// Whether more connections may serve the destination now than before.
pub fn weigh(
    destinations: &Mutex<Destinations>,
    (owed, sender): (&Owed, &str),
    answer: Answer,
    took: Duration,
) -> (Weighed, bool) {
    if let Answer::Unfit(why) = answer {
        return (Weighed::Unasked(Outcome::GaveUp(why)), false);
    }
    let mut destinations = destinations.lock().unwrap_or_else(PoisonError::into_inner);
    let freed = destinations.record_answer(&owed.domain(), took, steady());
    (judge(&mut destinations, (owed, sender), answer), freed)
}

fn judge(
    destinations: &mut Destinations,
    (owed, sender): (&Owed, &str),
    answer: Answer,
) -> Weighed {
    let domain = owed.domain();
    let now = steady();
    let (ground, said) = match answer {
        Answer::Taken => {
            destinations.refusals.record_taken(sender, now);
            destinations.record_success(&domain, now);
            return Weighed::Done(Outcome::Sent);
        }
        Answer::Unfit(why) => return Weighed::Unasked(Outcome::GaveUp(why)),
        Answer::Temporary(step, said) => match passing_ground(step, &said) {
            Some(ground) => (ground, said),
            None => {
                if said.contains("4.7.28") {
                    destinations.record_trouble(&domain, &said, now);
                }
                return Weighed::Done(owed.later(crate::store::now(), said));
            }
        },
        Answer::Permanent(step, said) => match whose(step, &said) {
            Whose::Recipients => return Weighed::Done(Outcome::GaveUp(said)),
            // It is not the member's doing: such words are not counted against anybody.
            Whose::Mails => {
                let why = format!("the next hop refuses it: {said}");
                return Weighed::Done(Outcome::GaveUp(why));
            }
            Whose::Unclear => {
                return match destinations.refusals.record_unclear(&said, &domain) {
                    true => Weighed::NextHop(said, Reach::All),
                    false => Weighed::Unclear(said),
                };
            }
            Whose::Ours(ground) => (ground, said),
        },
    };
    let refusals = &mut destinations.refusals;
    let reach = refusals.record((ground, &said), (sender, &domain), now);
    Weighed::NextHop(said, reach)
}

/// Mails that were refused while others are welcome are given up.
pub async fn settle(unclear: &mut Vec<(Owed, String)>, outcomes: &mut Outcomes) {
    for (owed, said) in unclear.drain(..) {
        outcomes.push(owed, Outcome::GaveUp(said)).await;
    }
}

/// Mails that were refused while no other was taken: not lost for what the next hop itself may mean, so asked about again, once.
pub async fn ask_again(unclear: Vec<(Owed, String)>, halt: &Option<Halt>, outcomes: &mut Outcomes) {
    let now = crate::store::now();
    for (owed, said) in unclear {
        let outcome = match halt {
            Some(Halt::Trouble(problem)) => owed.later(now, problem.clone()),
            _ if owed.was_refused() => Outcome::GaveUp(said),
            _ => owed.later(now, said),
        };
        outcomes.push(owed, outcome).await;
    }
}
