//! When a copy that could not be sent is tried again. Pure.

use crate::types::Timestamp;

/// Waits in seconds: greylisting lets go after five minutes, real trouble takes hours.
const WAITS: [i64; 6] = [300, 600, 1_200, 2_400, 3_600, 7_200];
/// From then on every four hours.
const LAST_WAIT: i64 = 14_400;
/// Given up after five days (RFC 5321 section 4.5.4.1 asks for four to five).
const GIVE_UP: i64 = 5 * 86_400;

/// The moment of the next try after `attempts` failed ones; `None` when it is time to give up.
///
/// `jitter` is 0 to 255 and spreads copies over a tenth of the wait.
pub fn next_attempt(
    attempts: i64,
    started: Timestamp,
    now: Timestamp,
    jitter: u8,
) -> Option<Timestamp> {
    if now >= started.plus_secs(GIVE_UP) {
        return None;
    }
    let at = usize::try_from(attempts - 1).unwrap_or(0);
    let wait = WAITS.get(at).copied().unwrap_or(LAST_WAIT);
    Some(now.plus_secs(wait + wait * i64::from(jitter) / 2_560))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_end_after_five_days() {
        let at = |secs| Timestamp::from_secs(secs);
        assert_eq!(next_attempt(1, at(0), at(10), 0), Some(at(310)));
        assert_eq!(next_attempt(6, at(0), at(0), 0), Some(at(7_200)));
        assert_eq!(
            next_attempt(30, at(0), at(0), 255),
            Some(at(14_400 + 1_434))
        );
        assert_eq!(next_attempt(2, at(0), at(5 * 86_400), 0), None);
    }
}
