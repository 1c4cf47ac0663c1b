//! How recipient domains behave, and how many connections may serve each. Pure.
//!
//! Through one relay there is one next hop, but a relay may pass on what a destination says, or wait for it. A domain that answers
//! quickly is not limited; one that refuses for now is paused, then served by one connection, by one more for each mail that it takes;
//! one that is slow, or of which nothing is known yet, keeps a quarter of the connections at most, so that the others' mail goes on.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::refusal::Refusals;
use super::schedule::Throttle;
use crate::types::Timestamp;

/// Watched domains that are kept apart; beyond them the one of which nothing was heard for the longest is forgotten.
const MOST: usize = 200;
/// Trouble of which nothing was heard for so many seconds is over.
const OVER: i64 = 3_600;
/// Domains that are remembered as quick ones.
const MOST_QUICK: usize = 10_000;
/// How long in seconds a domain passes for a quick one after it was one.
const QUICK_FOR: i64 = 600;
/// An answer that takes so many times longer than is usual is a slow one …
const PATIENCE: u32 = 10;
/// … but never one that comes sooner than this, as disks and networks hesitate now and then,
const LEAST_PATIENCE: Duration = Duration::from_millis(250);
/// and always one that takes longer than this.
const MOST_PATIENCE: Duration = Duration::from_secs(3);

/// The domains of which something is known.
#[derive(Debug)]
pub struct Destinations {
    connections: usize,
    watched: BTreeMap<String, Destination>,
    /// When domains last answered quickly.
    quick: BTreeMap<String, Timestamp>,
    /// What an answer takes: about the median.
    usual: Duration,
    /// How many there were.
    answers: u64,
    /// Refusals that may be the sender's or the next hop's own.
    pub refusals: Refusals,
    /// The connections with a claim whose mail does not take long.
    busy: BTreeSet<usize>,
    /// Those whose mail does.
    hanging: BTreeSet<usize>,
}

/// How fast a domain takes mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pace {
    /// Nothing was answered yet.
    Unknown,
    Quick,
    Slow,
}

#[derive(Debug)]
struct Destination {
    throttle: Throttle,
    problem: String,
    pace: Pace,
    /// When something was heard of it last.
    noted: Timestamp,
    /// The connections whose claims hold mail for it.
    holders: BTreeSet<usize>,
}

impl Destination {
    fn allowed(&self, connections: usize, now: Timestamp) -> usize {
        let most = match self.pace {
            Pace::Quick => connections,
            Pace::Slow | Pace::Unknown => connections.div_ceil(4),
        };
        self.throttle.allowed(now).min(most)
    }

    /// Whether a connection holds it now, or may begin to.
    fn admit(&mut self, place: usize, allowed: usize) -> bool {
        let admitted = self.holders.contains(&place) || self.holders.len() < allowed;
        if admitted {
            self.holders.insert(place);
        }
        admitted
    }
}

impl Destinations {
    /// Nothing is known; there are that many connections in all.
    pub fn new(connections: usize) -> Destinations {
        Destinations {
            connections: connections.max(1),
            watched: BTreeMap::new(),
            quick: BTreeMap::new(),
            usual: MOST_PATIENCE / PATIENCE,
            answers: 0,
            refusals: Refusals::default(),
            busy: BTreeSet::new(),
            hanging: BTreeSet::new(),
        }
    }

    /// Whether connection `place` may begin with a claim, of which `allowed` may be under way at a time. One that waits long for an
    /// answer is not counted, up to as many: else all mail would wait with it.
    pub fn begin(&mut self, place: usize, allowed: usize) -> bool {
        let all = self.busy.len() + self.hanging.len();
        let room = self.busy.len() < allowed && all < 2 * allowed;
        let free = self.busy.contains(&place) || room;
        if free && allowed > 0 {
            self.busy.insert(place);
        }
        free && allowed > 0
    }

    /// Somebody wants all mail to be tried now.
    pub fn end_pauses(&mut self) {
        self.watched
            .values_mut()
            .for_each(|d| d.throttle.end_pause());
        self.refusals.end_pauses();
    }

    /// Domains for which nothing is to be claimed now.
    pub fn closed(&self, now: Timestamp) -> Vec<String> {
        let full = |d: &Destination| d.holders.len() >= d.allowed(self.connections, now);
        let closed = self.watched.iter().filter(|(_, d)| full(d));
        closed.map(|(domain, _)| domain.clone()).collect()
    }

    /// Whether connection `place` may send to a domain now; the error says why not, or is empty while others are at it.
    pub fn enter(&mut self, domain: &str, place: usize, now: Timestamp) -> Result<(), String> {
        let connections = self.connections;
        if !self.watched.contains_key(domain) && self.is_quick(domain, now) {
            return Ok(());
        }
        let found = self.open(domain, Pace::Unknown, now);
        match found.allowed(connections, now) {
            0 => Err(found.problem.clone()),
            allowed if found.admit(place, allowed) => Ok(()),
            _ => Err(String::new()),
        }
    }

    /// Connection `place` is done with its claim.
    pub fn leave(&mut self, place: usize) {
        self.busy.remove(&place);
        self.hanging.remove(&place);
        for found in self.watched.values_mut() {
            found.holders.remove(&place);
        }
        let forgotten = |d: &Destination| d.pace == Pace::Unknown && d.problem.is_empty();
        self.watched
            .retain(|_, d| !d.holders.is_empty() || !forgotten(d));
    }

    /// From when on an answer that does not come is a slow one.
    pub fn patience(&self) -> Duration {
        let patience = self.usual * PATIENCE;
        patience.clamp(LEAST_PATIENCE, MOST_PATIENCE)
    }

    /// How many mails were answered so far, whatever their domain.
    pub fn answers(&self) -> u64 {
        self.answers
    }

    /// Mail for the domain was answered, well or not, after `took`. Whether more connections may serve it now than before.
    pub fn record_answer(&mut self, domain: &str, took: Duration, now: Timestamp) -> bool {
        self.answers += 1;
        let quick = took < self.patience();
        // One slow domain moves it little, a relay that is slow for all soon is the usual.
        self.usual = match took > self.usual {
            true => (self.usual * 11 / 10).min(MOST_PATIENCE),
            false => (self.usual * 10 / 11).max(Duration::from_millis(1)),
        };
        if !quick {
            return false;
        }
        self.remember(domain, now);
        let Some(found) = self.watched.get_mut(domain) else {
            return false;
        };
        let freed = found.pace != Pace::Quick;
        found.pace = Pace::Quick;
        self.forget_if_sound(domain, now);
        freed
    }

    /// The domain took a mail.
    pub fn record_success(&mut self, domain: &str, now: Timestamp) {
        if let Some(found) = self.watched.get_mut(domain) {
            found.throttle.record_success(now);
            self.forget_if_sound(domain, now);
        }
    }

    /// The domain refuses for now: nothing more goes there for ten minutes.
    pub fn record_trouble(&mut self, domain: &str, problem: &str, now: Timestamp) {
        self.quick.remove(domain);
        let found = self.open(domain, Pace::Quick, now);
        found.throttle.pause_long(now);
        found.problem = problem.to_owned();
        found.holders.clear();
    }

    /// A mail to the domain has been under way for long on connection `place`. Where others are at it already, this one is its last.
    pub fn record_slowness(&mut self, domain: &str, place: usize, now: Timestamp) {
        let connections = self.connections;
        if self.busy.remove(&place) {
            self.hanging.insert(place);
        }
        self.quick.remove(domain);
        let found = self.open(domain, Pace::Slow, now);
        found.pace = Pace::Slow;
        let allowed = found.allowed(connections, now);
        found.admit(place, allowed);
    }

    fn is_quick(&self, domain: &str, now: Timestamp) -> bool {
        let last = self.quick.get(domain);
        last.is_some_and(|last| now < last.plus_secs(QUICK_FOR))
    }

    fn remember(&mut self, domain: &str, now: Timestamp) {
        if let Some(last) = self.quick.get_mut(domain) {
            *last = now;
            return;
        }
        if self.quick.len() >= MOST_QUICK {
            self.quick.retain(|_, last| now < last.plus_secs(QUICK_FOR));
        }
        if self.quick.len() >= MOST_QUICK {
            self.quick.clear();
        }
        self.quick.insert(domain.to_owned(), now);
    }

    fn forget_if_sound(&mut self, domain: &str, now: Timestamp) {
        let connections = self.connections;
        let sound = |d: &Destination| d.allowed(connections, now) >= connections;
        if self.watched.get(domain).is_some_and(sound) {
            self.watched.remove(domain);
        }
    }

    /// What is known of a domain; of a new one its pace.
    fn open(&mut self, domain: &str, pace: Pace, now: Timestamp) -> &mut Destination {
        if !self.watched.contains_key(domain) && self.watched.len() >= MOST {
            self.make_room(now);
        }
        let connections = self.connections;
        let fresh = || Destination {
            throttle: Throttle::new(connections),
            problem: String::new(),
            pace,
            noted: now,
            holders: BTreeSet::new(),
        };
        let found = self.watched.entry(domain.to_owned()).or_insert_with(fresh);
        found.noted = now;
        found
    }

    /// Forgets what is over, or else the oldest of what matters least: a slow domain at which somebody is matters most, then a pause.
    fn make_room(&mut self, now: Timestamp) {
        self.watched
            .retain(|_, d| !d.holders.is_empty() || now < d.noted.plus_secs(OVER));
        if self.watched.len() < MOST {
            return;
        }
        let all = self.watched.iter();
        let rank = |d: &Destination| match d.holders.is_empty() {
            false if d.pace == Pace::Slow => 3,
            _ if d.throttle.allowed(now) == 0 => 2,
            false => 1,
            true => 0,
        };
        let oldest = all.min_by_key(|(_, d)| (rank(d), d.noted));
        if let Some(domain) = oldest.map(|(domain, _)| domain.clone()) {
            self.watched.remove(&domain);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_millis(5);

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_secs(secs)
    }

    /// Where `domain` answered a mail quickly just now.
    fn knowing(connections: usize, domain: &str) -> Destinations {
        let mut all = Destinations::new(connections);
        assert_eq!(all.enter(domain, 0, at(0)), Ok(()));
        all.record_answer(domain, SOON, at(0));
        all.leave(0);
        all
    }

    #[test]
    fn a_quick_domain_is_not_limited() {
        let mut all = knowing(4, "y.org");
        for place in 0..9 {
            assert_eq!(all.enter("y.org", place, at(9)), Ok(()));
        }
        assert!(all.closed(at(9)).is_empty());
    }

    #[test]
    fn an_unknown_domain_keeps_a_quarter_of_the_connections_until_it_answered_quickly() {
        let mut all = Destinations::new(4);
        assert_eq!(all.enter("y.org", 0, at(0)), Ok(()));
        assert_eq!(all.enter("y.org", 0, at(0)), Ok(()));
        assert_eq!(all.enter("y.org", 1, at(0)), Err(String::new()));
        assert_eq!(all.enter("z.org", 1, at(0)), Ok(()));
        assert_eq!(all.closed(at(0)), ["y.org", "z.org"]);
        assert!(all.record_answer("y.org", SOON, at(0)), "others may go on");
        assert!(!all.record_answer("y.org", SOON, at(0)));
        assert_eq!(all.enter("y.org", 1, at(0)), Ok(()));
        // Who never got to an answer keeps nobody out.
        all.leave(1);
        assert!(all.watched.is_empty());
        // After a while nothing is known any more.
        assert_eq!(all.enter("y.org", 0, at(600)), Ok(()));
        assert_eq!(all.enter("y.org", 1, at(600)), Err(String::new()));
    }

    #[test]
    fn a_refusing_domain_rests_ten_minutes_and_comes_back_by_one_connection_more_for_each_mail() {
        let mut all = knowing(3, "z.org");
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
        all.record_answer("y.org", SOON, at(602));
        assert_eq!(all.enter("y.org", 2, at(602)), Ok(()));
        assert!(all.watched.is_empty());
    }

    #[test]
    fn what_was_under_way_when_trouble_came_does_not_end_the_pause() {
        let mut all = Destinations::new(2);
        all.record_trouble("y.org", "421", at(0));
        all.record_success("y.org", at(1));
        all.leave(0);
        assert_eq!(all.closed(at(2)), ["y.org"]);
    }

    #[test]
    fn a_slow_domain_keeps_a_quarter_of_the_connections_until_it_is_quick() {
        let mut all = knowing(8, "y.org");
        all.record_slowness("y.org", 5, at(0));
        assert_eq!(all.enter("y.org", 5, at(0)), Ok(()));
        assert_eq!(all.enter("y.org", 6, at(0)), Ok(()));
        assert_eq!(all.enter("y.org", 7, at(0)), Err(String::new()));
        // One that was at it already and is one too many ends with this mail.
        all.record_slowness("y.org", 4, at(0));
        assert_eq!(all.enter("y.org", 4, at(0)), Err(String::new()));
        all.leave(5);
        assert_eq!(all.enter("y.org", 7, at(0)), Ok(()));
        assert_eq!(all.closed(at(0)), ["y.org"]);
        assert!(!all.record_answer("y.org", MOST_PATIENCE, at(1)));
        assert_eq!(all.closed(at(1)), ["y.org"]);
        assert!(all.record_answer("y.org", SOON, at(2)));
        assert!(all.watched.is_empty());
    }

    #[test]
    fn patience_follows_what_is_usual_and_not_a_slow_domain_among_many() {
        let mut all = Destinations::new(4);
        assert_eq!(all.patience(), MOST_PATIENCE);
        for n in 0..2_000 {
            let took = if n % 20 == 0 { 5_000 } else { 2 };
            all.record_answer("y.org", Duration::from_millis(took), at(0));
        }
        assert_eq!(all.patience(), LEAST_PATIENCE);
        // A relay that takes a second for each mail is slow for nobody.
        for _ in 0..100 {
            all.record_answer("y.org", Duration::from_secs(1), at(0));
        }
        assert_eq!(all.patience(), MOST_PATIENCE);
        assert_eq!(all.enter("y.org", 9, at(0)), Ok(()));
    }

    #[test]
    fn hostile_domains_do_not_fill_the_memory_and_leave_room_for_new_trouble() {
        let mut all = Destinations::new(4);
        all.record_slowness("held.org", 3, at(0));
        for n in 0..MOST * 2 {
            all.record_trouble(&format!("{n}.org"), "421", at(1));
        }
        assert_eq!(all.watched.len(), MOST);
        all.record_trouble("y.org", "421", at(2));
        assert!(all.closed(at(2)).contains(&"y.org".to_owned()));
        assert!(all.watched.contains_key("held.org"));
        for n in 0..MOST_QUICK * 2 {
            all.record_answer(&format!("{n}.net"), SOON, at(2));
        }
        assert!(all.quick.len() <= MOST_QUICK);
        // Pauses that are long over are not kept, though nothing went there since.
        all.record_trouble("z.org", "421", at(2 * OVER));
        let left: Vec<&String> = all.watched.keys().collect();
        assert_eq!(left, ["held.org", "z.org"]);
    }

    #[test]
    fn a_pause_is_kept_however_many_domains_are_served_meanwhile() {
        let mut all = knowing(4, "y.org");
        all.record_trouble("y.org", "421 4.7.28", at(1));
        for n in 0..MOST * 2 {
            assert_eq!(all.enter(&format!("{n}.org"), 0, at(2)), Ok(()));
        }
        assert!(all.closed(at(2)).contains(&"y.org".to_owned()));
        assert!(all.enter("y.org", 1, at(2)).is_err());
        // Forgotten for worse trouble, it is at least no quick one.
        for n in 0..MOST * 2 {
            all.record_trouble(&format!("{n}.net"), "421", at(3));
        }
        assert_eq!(all.enter("y.org", 2, at(3)), Ok(()));
        assert_eq!(all.enter("y.org", 3, at(3)), Err(String::new()));
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
