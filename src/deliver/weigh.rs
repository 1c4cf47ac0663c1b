//! What the next hop's answer to a mail comes to: for the mail, for its destination, and for the next hop.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::batch::{Halt, Outcomes};
use super::client::Answer;
use super::destination::Destinations;
use super::owed::Owed;
use super::refusal::{Step, may_be_the_next_hops};
use super::schedule::steady;
use crate::store::Outcome;

/// What an answer to a mail comes to.
pub enum Weighed {
    /// The mail has its outcome.
    Done(Outcome),
    /// Refused for good, and nothing shows yet whether for the recipient's sake.
    Unclear(String),
    /// The next hop refuses for its own reasons; whether that is sure already.
    NextHop(String, bool),
}

/// What an answer that took so long comes to; notes what it says of the destination and of the next hop. Whether more connections
/// may serve the destination now than before.
pub fn weigh(
    destinations: &Mutex<Destinations>,
    owed: &Owed,
    answer: Answer,
    took: Duration,
) -> (Weighed, bool) {
    let mut destinations = destinations.lock().unwrap_or_else(PoisonError::into_inner);
    let freed = destinations.record_answer(&owed.domain(), took, steady());
    (judge(&mut destinations, owed, answer), freed)
}

fn judge(destinations: &mut Destinations, owed: &Owed, answer: Answer) -> Weighed {
    let domain = owed.domain();
    match answer {
        Answer::Taken => {
            destinations.record_taken();
            destinations.record_success(&domain, steady());
            Weighed::Done(Outcome::Sent)
        }
        Answer::Temporary(text) => {
            if text.contains("4.7.28") {
                destinations.record_trouble(&domain, &text, steady());
            }
            Weighed::Done(owed.later(crate::store::now(), text))
        }
        Answer::Unfit(why) => Weighed::Done(Outcome::GaveUp(why)),
        Answer::Permanent(step, said) => {
            let early = matches!(step, Step::Sender | Step::Data);
            match may_be_the_next_hops(step, &said) {
                // It is not the member's doing: such words are not counted against anybody.
                false if early => {
                    Weighed::Done(Outcome::GaveUp(format!("the next hop refuses it: {said}")))
                }
                false => Weighed::Done(Outcome::GaveUp(said)),
                true if early => Weighed::NextHop(said, false),
                true if destinations.record_refusal(&domain, &said) => Weighed::NextHop(said, true),
                true => Weighed::Unclear(said),
            }
        }
    }
}

/// Mails that were refused while others are welcome are given up.
pub async fn settle(unclear: &mut Vec<(Owed, String)>, outcomes: &mut Outcomes) {
    for (owed, said) in unclear.drain(..) {
        outcomes.push(owed, Outcome::GaveUp(said)).await;
    }
}

/// Mails that were refused while no other was taken: not lost for what the next hop itself may mean, so tried again, once at least.
pub async fn ask_again(unclear: Vec<(Owed, String)>, halt: &Option<Halt>, outcomes: &mut Outcomes) {
    let now = crate::store::now();
    for (owed, said) in unclear {
        let outcome = match halt {
            Some(Halt::Trouble(problem)) => owed.later(now, problem.clone()),
            _ if owed.attempts() == 1 => owed.later(now, said),
            _ => Outcome::GaveUp(said),
        };
        outcomes.push(owed, outcome).await;
    }
}
