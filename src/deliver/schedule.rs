//! When a copy that could not be sent is tried again, and how many connections a next hop gets. Pure, but for the clock of pauses.

use std::sync::LazyLock;
use std::time::Instant;

use crate::types::Timestamp;

/// A clock for pauses that nobody sets: it begins with the process, so that a pause ends also when the day's clock goes back.
pub fn steady() -> Timestamp {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    let micros = START.elapsed().as_micros();
    Timestamp(i64::try_from(micros).unwrap_or(i64::MAX))
}

/// Waits in seconds: greylisting lets go after five minutes, real trouble takes hours.
const WAITS: [i64; 6] = [300, 600, 1_200, 2_400, 3_600, 7_200];
/// From then on every four hours.
const LAST_WAIT: i64 = 14_400;
/// Given up after five days (RFC 5321 section 4.5.4.1 asks for four to five).
const GIVE_UP: i64 = 5 * 86_400;
/// Tries of which none was recorded, behind which a copy that is old is stuck.
const FIRST_TRIES: i64 = 3;

/// The moment of the next try after `attempts` failed ones; `None` when it is time to give up, which it is not after a single one.
///
/// `jitter` is 0 to 255 and spreads copies over a tenth of the wait.
pub fn next_attempt(
    attempts: i64,
    started: Timestamp,
    now: Timestamp,
    jitter: u8,
) -> Option<Timestamp> {
    if attempts > 1 && is_over(started, now) {
        return None;
    }
    let at = usize::try_from(attempts - 1).unwrap_or(0);
    let wait = WAITS.get(at).copied().unwrap_or(LAST_WAIT);
    Some(now.plus_secs(wait + wait * i64::from(jitter) / 2_560))
}

/// Whether the five days for a copy are over.
pub fn is_over(started: Timestamp, now: Timestamp) -> bool {
    now >= started.plus_secs(GIVE_UP)
}

/// Whether a copy was begun again and again until long after its last try should have been recorded.
///
/// Such a copy is not sent once more: something keeps its outcome from being written. First tries are made
/// however late it is, as the machine or the next hop may have been away.
pub fn is_stuck(attempts: i64, started: Timestamp, now: Timestamp) -> bool {
    attempts > FIRST_TRIES && is_over(started.plus_secs(86_400), now)
}

/// The first pause in seconds after trouble with the next hop; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: i64 = 15;
/// Google asks for ten minutes after 4.7.28 (its sender guidelines of 2026-03).
const LONGEST_PAUSE: i64 = 600;

/// How many connections the next hop gets: none during a pause, then one, one more for each batch that went well.
#[derive(Debug, Clone)]
pub struct Throttle {
    most: usize,
    open: usize,
    pause: i64,
    until: Timestamp,
}

impl Throttle {
    /// Begins with all `most` connections.
    pub fn new(most: usize) -> Throttle {
        Throttle {
            most: most.max(1),
            open: most.max(1),
            pause: 0,
            until: Timestamp(i64::MIN),
        }
    }

    /// Connections that may be used now.
    pub fn allowed(&self, now: Timestamp) -> usize {
        if now < self.until { 0 } else { self.open }
    }

    /// Seconds until connections may be used again; 0: they may be now.
    pub fn rest(&self, now: Timestamp) -> i64 {
        let micros = self.until.0.saturating_sub(now.0).max(0);
        micros.saturating_add(999_999) / 1_000_000
    }

    /// A batch went well.
    pub fn record_success(&mut self, now: Timestamp) {
        // What was under way when the trouble came says nothing about its end.
        if now >= self.until {
            self.pause = 0;
            self.open = (self.open + 1).min(self.most);
        }
    }

    /// The next hop was away, or asked to be left alone; returns the seconds of pause.
    pub fn record_trouble(&mut self, now: Timestamp, problem: &str) -> i64 {
        self.open = 1;
        // Several connections break at one moment: that is one trouble.
        if now >= self.until {
            self.pause = (self.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
            self.until = now.plus_secs(self.pause);
        }
        if problem.contains("4.7.28") {
            self.pause_long(now);
        }
        self.pause
    }

    /// Somebody wants a try now; a further trouble pauses for twice as long.
    pub fn end_pause(&mut self) {
        self.until = Timestamp(i64::MIN);
    }

    /// Ten minutes of nothing, then one connection.
    pub fn pause_long(&mut self, now: Timestamp) {
        self.open = 1;
        self.pause = LONGEST_PAUSE;
        self.until = now.plus_secs(LONGEST_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_secs(secs)
    }

    #[test]
    fn waits_grow_and_end_after_five_days() {
        let waits = [300, 600, 1_200, 2_400, 3_600, 7_200, 14_400, 14_400, 14_400];
        for (attempts, wait) in (1..).zip(waits) {
            assert_eq!(
                next_attempt(attempts, at(0), at(10), 0),
                Some(at(10 + wait))
            );
        }
        assert_eq!(
            next_attempt(30, at(0), at(0), 255),
            Some(at(14_400 + 1_434))
        );
        assert!(next_attempt(2, at(0), at(5 * 86_400 - 1), 0).is_some());
        assert_eq!(next_attempt(2, at(0), at(5 * 86_400), 0), None);
        assert_eq!(next_attempt(0, at(0), at(0), 0), Some(at(300)));
        assert!(next_attempt(i64::MAX, at(0), at(0), 0).is_some());
    }

    #[test]
    fn only_a_copy_that_was_begun_before_is_stuck() {
        assert!(!is_stuck(1, at(0), at(90 * 86_400)));
        // A copy that was kept for long gets more than one try.
        assert!(next_attempt(1, at(0), at(90 * 86_400), 0).is_some());
        assert!(!is_stuck(2, at(0), at(90 * 86_400)));
        assert!(!is_stuck(40, at(0), at(5 * 86_400 + 14_400)));
        assert!(is_stuck(40, at(0), at(6 * 86_400)));
    }

    #[test]
    fn a_next_hop_that_is_away_is_left_alone_ever_longer() {
        let mut throttle = Throttle::new(4);
        let mut now = at(0);
        for pause in [15, 30, 60, 120, 240, 480, 600, 600] {
            assert_eq!(throttle.record_trouble(now, "refused"), pause);
            assert_eq!(throttle.allowed(now.plus_secs(pause - 1)), 0);
            assert_eq!(throttle.rest(now.plus_secs(1)), pause - 1);
            now = now.plus_secs(pause);
            assert_eq!(throttle.allowed(now), 1);
        }
    }

    #[test]
    fn a_pause_ends_when_somebody_wants_it_to() {
        let mut throttle = Throttle::new(4);
        assert_eq!(throttle.record_trouble(at(0), "away"), 15);
        throttle.end_pause();
        assert_eq!((throttle.allowed(at(1)), throttle.rest(at(1))), (1, 0));
        assert_eq!(throttle.record_trouble(at(1), "away"), 30);
    }

    #[test]
    fn connections_come_back_one_by_one() {
        let mut throttle = Throttle::new(3);
        assert_eq!((throttle.allowed(at(0)), throttle.rest(at(0))), (3, 0));
        throttle.record_trouble(at(0), "421 4.3.2");
        throttle.record_success(at(1));
        assert_eq!(throttle.allowed(at(1)), 0);
        for allowed in [1, 2, 3, 3] {
            assert_eq!(throttle.allowed(at(15)), allowed);
            throttle.record_success(at(15));
        }
        assert_eq!(throttle.record_trouble(at(16), "away"), 15);
    }

    #[test]
    fn trouble_on_all_connections_at_once_counts_once() {
        let mut throttle = Throttle::new(4);
        assert_eq!(throttle.record_trouble(at(0), "away"), 15);
        assert_eq!(throttle.record_trouble(at(1), "away"), 15);
        assert_eq!(throttle.allowed(at(15)), 1);
        assert_eq!(throttle.record_trouble(at(20), "421 4.7.28 quota"), 600);
        assert_eq!(throttle.allowed(at(619)), 0);
    }
}
