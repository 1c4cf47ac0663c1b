//! What is owed to one address: a member's copy of a posting, or a letter of our own. Both go the same way.

use super::schedule;
use crate::store::{Delivery, Letter, Outcome};
use crate::types::Timestamp;

/// The domain of an address in lower case; of the null sender it is empty.
pub fn domain_of(address: &str) -> String {
    let domain = address.rsplit_once('@').map_or(address, |(_, d)| d);
    domain.to_lowercase()
}

/// One claimed mail to one address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owed {
    /// A member's copy.
    Copy(Delivery),
    /// A mail of our own.
    Letter(Letter),
}

impl Owed {
    /// Where it goes.
    pub fn recipient(&self) -> &str {
        match self {
            Owed::Copy(copy) => &copy.address,
            Owed::Letter(letter) => &letter.recipient,
        }
    }

    /// The domain it goes to, in lower case: what trouble is noted by.
    pub fn domain(&self) -> String {
        domain_of(self.recipient())
    }

    /// What the queue calls it: `c12`.
    pub fn id(&self) -> String {
        match self {
            Owed::Copy(copy) => format!("c{}", copy.id.0),
            Owed::Letter(letter) => format!("l{}", letter.id.0),
        }
    }

    /// How often it was begun, this time included.
    pub fn attempts(&self) -> i64 {
        match self {
            Owed::Copy(copy) => copy.attempts,
            Owed::Letter(letter) => letter.attempts,
        }
    }

    /// Whether it was refused for good when it was tried last, by whom was not clear.
    pub fn was_refused(&self) -> bool {
        let refused = match self {
            Owed::Copy(copy) => copy.refused,
            Owed::Letter(letter) => letter.refused,
        };
        // One that an operator sends again has its tries anew.
        refused && self.attempts() > 1
    }

    /// From when the time to give up counts.
    pub fn started(&self) -> Timestamp {
        match self {
            Owed::Copy(copy) => copy.started,
            Owed::Letter(letter) => letter.made,
        }
    }

    /// Why it is not begun at all, if so.
    pub fn find_end(&self, now: Timestamp) -> Option<Outcome> {
        if let Owed::Copy(copy) = self
            && !copy.wanted
        {
            return Some(Outcome::Unwanted);
        }
        if let Owed::Letter(letter) = self
            && letter.lapses.is_some_and(|at| now > at)
        {
            return Some(Outcome::Unwanted);
        }
        let stuck = schedule::is_stuck(self.attempts(), self.started(), now);
        let text = "given up after five days: no try came to an end";
        stuck.then(|| Outcome::GaveUp(text.to_owned()))
    }

    /// Tried in vain: again some time, or given up.
    pub fn later(&self, now: Timestamp, problem: String) -> Outcome {
        let id = match self {
            Owed::Copy(copy) => copy.id.0,
            Owed::Letter(letter) => letter.id.0,
        };
        // Ids follow each other, so that their low octet spreads the copies of a posting evenly.
        let jitter = id.to_le_bytes()[0];
        match schedule::next_attempt(self.attempts(), self.started(), now, jitter) {
            Some(at) => Outcome::Later(at, problem),
            None => Outcome::GaveUp(format!("given up after five days: {problem}")),
        }
    }

    /// Not begun, as its sender is refused: not before then, unless its five days are over and it was tried in them.
    pub fn waits(&self, now: Timestamp, secs: i64, problem: &str) -> Outcome {
        match self.blocked(now, problem) {
            Outcome::Untried(problem) => Outcome::Waits(now.plus_secs(secs), problem),
            over => over,
        }
    }

    /// Not begun, as something is in the way: due as before, unless its five days are over and it was tried in them.
    pub fn blocked(&self, now: Timestamp, problem: &str) -> Outcome {
        let tried = self.attempts() > 1 && !problem.is_empty();
        match tried && schedule::is_over(self.started(), now) {
            true => Outcome::GaveUp(format!("given up after five days: {problem}")),
            false => Outcome::Untried(problem.to_owned()),
        }
    }
}
