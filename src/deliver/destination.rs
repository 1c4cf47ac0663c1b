//! Which recipient domains are in trouble, and how many connections may serve each meanwhile. Pure.
//!
//! Through one relay there is one next hop, but a relay may pass on what a destination says, or wait for it. A domain that was never in
//! trouble is not limited; one that refuses for now is paused, then served by one connection, by one more for each mail that it takes;
//! one that is slow keeps a quarter of the connections at most, so that the others' mail goes on.

use std::collections::{BTreeMap, BTreeSet};

use super::refusal::Run;
use super::schedule::Throttle;
use crate::types::Timestamp;

/// Domains in trouble that are kept apart; beyond them the one of the oldest trouble is forgotten.
const MOST: usize = 200;
/// Trouble of which nothing was heard for so many seconds is over.
const OVER: i64 = 3_600;

/// The domains in trouble.
#[derive(Debug)]
pub struct Destinations {
    connections: usize,
    troubled: BTreeMap<String, Destination>,
    /// Refusals that may be the next hop's own.
    run: Run,
    /// The connections with a claim whose mail does not take long.
    busy: BTreeSet<usize>,
}

#[derive(Debug)]
struct Destination {
    throttle: Throttle,
    problem: String,
    slow: bool,
    /// When there was trouble last.
    noted: Timestamp,
    /// The connections whose claims hold mail for it.
    holders: BTreeSet<usize>,
}

impl Destination {
    fn allowed(&self, connections: usize, now: Timestamp) -> usize {
        let most = match self.slow {
            true => connections.div_ceil(4),
            false => connections,
        };
        self.throttle.allowed(now).min(most)
    }
}

impl Destinations {
    /// No domain is in trouble; there are that many connections in all.
    pub fn new(connections: usize) -> Destinations {
        Destinations {
            connections: connections.max(1),
            troubled: BTreeMap::new(),
            run: Run::default(),
            busy: BTreeSet::new(),
        }
    }

    /// Whether connection `place` may begin with a claim, of which `allowed` may be under way at a time. One that waits long for an
    /// answer is not counted: else all mail would wait with it.
    pub fn begin(&mut self, place: usize, allowed: usize) -> bool {
        let free = self.busy.contains(&place) || self.busy.len() < allowed;
        if free && allowed > 0 {
            self.busy.insert(place);
        }
        free && allowed > 0
    }

    /// Domains for which nothing is to be claimed now.
    pub fn closed(&self, now: Timestamp) -> Vec<String> {
        let full = |d: &Destination| d.holders.len() >= d.allowed(self.connections, now);
        let closed = self.troubled.iter().filter(|(_, d)| full(d));
        closed.map(|(domain, _)| domain.clone()).collect()
    }

    /// Whether connection `place` may send to a domain now; the error says why not, or is empty while others are at it.
    pub fn enter(&mut self, domain: &str, place: usize, now: Timestamp) -> Result<(), String> {
        let connections = self.connections;
        let Some(found) = self.troubled.get_mut(domain) else {
            return Ok(());
        };
        match found.allowed(connections, now) {
            0 => Err(found.problem.clone()),
            _ if found.holders.contains(&place) => Ok(()),
            allowed if found.holders.len() < allowed => {
                found.holders.insert(place);
                Ok(())
            }
            _ => Err(String::new()),
        }
    }

    /// Connection `place` is done with its claim.
    pub fn leave(&mut self, place: usize) {
        self.busy.remove(&place);
        for found in self.troubled.values_mut() {
            found.holders.remove(&place);
        }
    }

    /// The domain took a mail in good time.
    pub fn record_success(&mut self, domain: &str, now: Timestamp) {
        let Some(found) = self.troubled.get_mut(domain) else {
            return;
        };
        found.slow = false;
        found.throttle.record_success(now);
        if found.throttle.allowed(now) >= self.connections {
            self.troubled.remove(domain);
        }
    }

    /// The next hop took a mail.
    pub fn record_taken(&mut self) {
        self.run.end();
    }

    /// A lasting refusal that may be the next hop's own; returns whether by now it is.
    pub fn record_refusal(&mut self, domain: &str, said: &str) -> bool {
        self.run.record(said, domain)
    }

    /// The domain refuses for now: nothing more goes there for ten minutes.
    pub fn record_trouble(&mut self, domain: &str, problem: &str, now: Timestamp) {
        let found = self.open(domain, now);
        found.throttle.pause_long(now);
        found.problem = problem.to_owned();
        found.holders.clear();
    }

    /// A mail to the domain has been under way for long on connection `place`.
    pub fn record_slowness(&mut self, domain: &str, place: usize, now: Timestamp) {
        self.busy.remove(&place);
        let found = self.open(domain, now);
        found.slow = true;
        found.holders.insert(place);
    }

    fn open(&mut self, domain: &str, now: Timestamp) -> &mut Destination {
        if !self.troubled.contains_key(domain) && self.troubled.len() >= MOST {
            self.make_room(now);
        }
        let connections = self.connections;
        let fresh = || Destination {
            throttle: Throttle::new(connections),
            problem: String::new(),
            slow: false,
            noted: now,
            holders: BTreeSet::new(),
        };
        let found = self.troubled.entry(domain.to_owned()).or_insert_with(fresh);
        found.noted = now;
        found
    }

    /// Forgets trouble that is over, or else the oldest.
    fn make_room(&mut self, now: Timestamp) {
        self.troubled
            .retain(|_, d| !d.holders.is_empty() || now < d.noted.plus_secs(OVER));
        if self.troubled.len() < MOST {
            return;
        }
        let all = self.troubled.iter();
        let oldest = all.min_by_key(|(_, d)| (!d.holders.is_empty(), d.noted));
        if let Some(domain) = oldest.map(|(domain, _)| domain.clone()) {
            self.troubled.remove(&domain);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_secs(secs)
    }

    #[test]
    fn a_domain_without_trouble_is_not_limited() {
        let mut all = Destinations::new(4);
        for place in 0..9 {
            assert_eq!(all.enter("y.org", place, at(0)), Ok(()));
        }
        assert!(all.closed(at(0)).is_empty());
    }

    #[test]
    fn a_refusing_domain_rests_ten_minutes_and_comes_back_by_one_connection_more_for_each_mail() {
        let mut all = Destinations::new(3);
        all.record_trouble("y.org", "421 4.7.28 slow down", at(0));
        assert_eq!(all.closed(at(599)), ["y.org"]);
        let refused = Err("421 4.7.28 slow down".to_owned());
        assert_eq!(all.enter("y.org", 0, at(599)), refused);
        assert_eq!(all.enter("z.org", 0, at(599)), Ok(()));
        assert!(all.closed(at(600)).is_empty());
        assert_eq!(all.enter("y.org", 0, at(600)), Ok(()));
        assert_eq!(all.enter("y.org", 1, at(600)), Err(String::new()));
        assert_eq!(all.closed(at(600)), ["y.org"]);
        all.record_success("y.org", at(601));
        assert_eq!(all.enter("y.org", 1, at(601)), Ok(()));
        assert_eq!(all.enter("y.org", 2, at(601)), Err(String::new()));
        all.record_success("y.org", at(602));
        assert_eq!(all.enter("y.org", 2, at(602)), Ok(()));
        assert!(all.troubled.is_empty());
    }

    #[test]
    fn what_was_under_way_when_trouble_came_does_not_end_the_pause() {
        let mut all = Destinations::new(2);
        all.record_trouble("y.org", "421", at(0));
        all.record_success("y.org", at(1));
        assert_eq!(all.closed(at(2)), ["y.org"]);
    }

    #[test]
    fn a_slow_domain_keeps_a_quarter_of_the_connections_until_it_is_quick() {
        let mut all = Destinations::new(8);
        all.record_slowness("y.org", 5, at(0));
        assert_eq!(all.enter("y.org", 5, at(0)), Ok(()));
        assert_eq!(all.enter("y.org", 6, at(0)), Ok(()));
        assert_eq!(all.enter("y.org", 7, at(0)), Err(String::new()));
        all.leave(5);
        assert_eq!(all.enter("y.org", 7, at(0)), Ok(()));
        assert_eq!(all.closed(at(0)), ["y.org"]);
        all.record_success("y.org", at(1));
        assert!(all.troubled.is_empty());
    }

    #[test]
    fn hostile_domains_do_not_fill_the_memory_and_leave_room_for_new_trouble() {
        let mut all = Destinations::new(4);
        all.record_slowness("held.org", 3, at(0));
        for n in 0..MOST * 2 {
            all.record_trouble(&format!("{n}.org"), "421", at(1));
        }
        assert_eq!(all.troubled.len(), MOST);
        all.record_trouble("y.org", "421", at(2));
        assert!(all.closed(at(2)).contains(&"y.org".to_owned()));
        assert!(all.troubled.contains_key("held.org"));
        // Pauses that are long over are not kept, though nothing went there since.
        all.record_trouble("z.org", "421", at(2 * OVER));
        let left: Vec<&String> = all.troubled.keys().collect();
        assert_eq!(left, ["held.org", "z.org"]);
    }

    #[test]
    fn a_connection_that_hangs_takes_nobodys_place() {
        let mut all = Destinations::new(4);
        assert!(all.begin(0, 2) && all.begin(1, 2) && !all.begin(2, 2));
        assert!(all.begin(1, 2));
        // After trouble one connection is left, and the first one hangs.
        assert!(!all.begin(2, 1));
        all.record_slowness("y.org", 0, at(0));
        all.leave(1);
        assert!(all.begin(2, 1) && !all.begin(1, 1));
        all.leave(2);
        assert!(!all.begin(2, 0));
    }
}
