//! What bounces do to an address: points, probe, disabling, removal, and the breaker that keeps a storm from harming anybody.
//!
//! Pure; the clock is an argument. An address stands the same for all lists of the site. The numbers are those of `docs/bounces.md`.
//! Nothing moves without a sound token, and a token moves one address only: whoever forges text moves nothing.

use std::collections::{BTreeMap, BTreeSet};

use super::bounce::Class;
use crate::types::Timestamp;

/// Points are counted in halves.
pub const LIMIT_HALVES: i64 = 10;
/// On so many different days there must have been points before anything is done.
pub const LIMIT_DAYS: i64 = 3;
/// So many days with copies and without a bounce forgive everything.
pub const QUIET_DAYS: i64 = 7;
/// A probe that is not back after so many days arrived: servers try for five.
pub const PROBE_DAYS: i64 = 7;
/// Days behind the disabling on which the member is warned.
pub const WARN_DAYS: [i64; 3] = [0, 7, 14];
/// The day on which the address leaves the lists.
pub const REMOVE_DAY: i64 = 30;
/// No confirmation goes to who complained for so many days.
pub const COMPLAINT_DAYS: i64 = 30;
/// Bounces wait so long before they count, so that a storm is seen whole.
pub const WAIT_SECS: i64 = 3_600;
/// The breaker: so many recipients of one destination…
pub const STORM_RECIPIENTS: usize = 5;
/// …and one of so many of its members, with one code, within [`WAIT_SECS`].
pub const STORM_SHARE: usize = 5;
/// A destination stays frozen for so long after the last bounce of a storm.
pub const FREEZE_SECS: i64 = 86_400;

/// A storm that lasts longer says nothing any more of an address that is gone: it counts again, and the operator is told once more.
pub const STORM_DAYS: i64 = 3;

const DAY: i64 = 86_400;

/// The day of a moment, counted from 1970 in UTC.
pub fn day(at: Timestamp) -> i64 {
    at.secs().div_euclid(DAY)
}

/// Points of one bounce, in halves.
pub fn halves(class: Class) -> i64 {
    match class {
        Class::Gone => 4,
        Class::Failed => 2,
        Class::Full | Class::Expired => 1,
        Class::Policy | Class::Delayed | Class::AutoReply | Class::Complaint | Class::Other => 0,
    }
}

/// How an address stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// It gets its copies.
    Fine,
    /// A probe is on its way; copies go on.
    Probed,
    /// Disabled by bounces: it gets no copies.
    Disabled,
}

/// What is known of an address that bounced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// How it stands.
    pub state: State,
    /// Points, in halves.
    pub halves: i64,
    /// Days on which it got points.
    pub days: i64,
    /// The last of them.
    pub last_day: i64,
    /// What that day gave, in halves.
    pub day_halves: i64,
    /// When the state began.
    pub since: Timestamp,
    /// Letters that were sent in this state.
    pub told: i64,
    /// When something is to be done again; `None`: nothing.
    pub next: Option<Timestamp>,
}

/// What is to be done about an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Send a probe.
    Probe,
    /// Send the warning with this number, from 0.
    Warn(i64),
    /// Take the address off all lists.
    Remove,
    /// All is forgiven.
    Forgive,
}

impl Standing {
    /// An address that never bounced.
    pub fn new(now: Timestamp) -> Standing {
        Standing {
            state: State::Fine,
            halves: 0,
            days: 0,
            last_day: 0,
            day_halves: 0,
            since: now,
            told: 0,
            next: None,
        }
    }

    /// Counts a bounce that arrived at `at`: at most the day's gravest counts, and nothing once a probe is on its way.
    pub fn bounced(self, class: Class, at: Timestamp, now: Timestamp) -> Standing {
        let points = halves(class);
        if points == 0 || self.state != State::Fine {
            return self;
        }
        // A day that lies ahead was noted by a clock that was wrong.
        let last_day = self.last_day.min(day(now));
        // A bounce that is told late is of the last day: it makes no day of its own.
        let today = day(at).min(day(now)).max(last_day);
        let mut new = Standing { last_day, ..self };
        if self.days == 0 || today > last_day {
            (new.days, new.last_day) = (self.days + 1, today);
            (new.halves, new.day_halves) = (self.halves + points, points);
        } else if points > self.day_halves {
            new.halves += points - self.day_halves;
            new.day_halves = points;
        }
        new.next = Some(now);
        new
    }

    fn is_over_the_limit(&self) -> bool {
        self.halves >= LIMIT_HALVES && self.days >= LIMIT_DAYS
    }

    /// What is due now; `quiet` is on how many days since its last points copies went out to it without a bounce.
    pub fn due(&self, quiet: i64, now: Timestamp) -> Option<Step> {
        if self.next.is_none_or(|next| next > now) {
            return None;
        }
        match self.state {
            State::Fine if self.is_over_the_limit() => Some(Step::Probe),
            State::Fine if self.halves > 0 && quiet >= QUIET_DAYS => Some(Step::Forgive),
            State::Fine => None,
            State::Probed => Some(Step::Forgive),
            State::Disabled => match usize::try_from(self.told) {
                Ok(told) if told < WARN_DAYS.len() => Some(Step::Warn(self.told)),
                _ => Some(Step::Remove),
            },
        }
    }

    /// How it stands when nothing is due although it was looked at: looked at again tomorrow.
    pub fn looked_at(self, now: Timestamp) -> Standing {
        let again = self.state != State::Fine || self.halves > 0;
        let next = self.next.filter(|next| *next > now);
        Standing {
            next: next.or(again.then(|| now.plus_secs(DAY))),
            ..self
        }
    }

    /// How it stands when a step was taken. Steps that come late keep their distance to the next one.
    pub fn after(self, step: Step, now: Timestamp) -> Standing {
        let in_days = |days: i64| Some(now.plus_secs(days * DAY));
        match step {
            Step::Probe => Standing {
                state: State::Probed,
                since: now,
                told: 1,
                next: in_days(PROBE_DAYS),
                ..self
            },
            Step::Warn(number) => {
                let at = |n: i64| {
                    usize::try_from(n)
                        .ok()
                        .and_then(|n| WARN_DAYS.get(n).copied())
                };
                let here = at(number).unwrap_or(0);
                Standing {
                    told: number + 1,
                    next: in_days(at(number + 1).unwrap_or(REMOVE_DAY) - here),
                    ..self
                }
            }
            Step::Remove | Step::Forgive => Standing::new(now),
        }
    }

    /// The probe came back: the address is disabled, unless what came is no failure of its own.
    pub fn probe_bounced(self, class: Class, now: Timestamp) -> Standing {
        if self.state != State::Probed || halves(class) == 0 {
            return self;
        }
        Standing {
            state: State::Disabled,
            since: now,
            told: 0,
            next: Some(now),
            ..self
        }
    }
}

/// A bounce as the breaker sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The destination: the domain of the member.
    pub domain: String,
    /// What the server said, as a code.
    pub code: String,
    /// Whose copy it was.
    pub address: String,
    /// When it arrived.
    pub arrived: Timestamp,
}

/// A storm: too many of one destination at once for it to be the members' fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Storm {
    /// The destination.
    pub domain: String,
    /// The code that they all came with.
    pub code: String,
    /// How many different members.
    pub recipients: usize,
    /// Arrival of its first and last bounce.
    pub span: (Timestamp, Timestamp),
}

impl Storm {
    /// Whether a bounce of that destination, whatever its code, counts nothing.
    pub fn covers(&self, domain: &str, arrived: Timestamp) -> bool {
        let until = self.span.1.plus_secs(FREEZE_SECS);
        domain == self.domain && (self.span.0..=until).contains(&arrived)
    }

    /// Whether it went on for so long by then that no outage explains it.
    pub fn is_old(&self, at: Timestamp) -> bool {
        at >= self.span.0.plus_secs(STORM_DAYS * DAY)
    }
}

/// Whether a bounce counts nothing because of the storms at its destination. In an old one only those of addresses that are gone
/// count: it takes three days of them, and a probe that comes back, before anything happens to a member.
pub fn is_covered(storms: &[Storm], domain: &str, class: Class, arrived: Timestamp) -> bool {
    let covering = || storms.iter().filter(|s| s.covers(domain, arrived));
    let old = covering().any(|s| s.is_old(arrived));
    covering().next().is_some() && !(old && class == Class::Gone)
}

impl Storm {
    /// Whether the operator has to be told (again) of a storm that goes on from one that ended at `before`.
    pub fn is_news_after(&self, before: Timestamp) -> bool {
        self.is_old(self.span.1) && !self.is_old(before)
    }
}

/// The storms among bounces; `members` says how many members a destination has. The order of the bounces does not matter.
pub fn find_storms(seen: &[Seen], members: &BTreeMap<String, usize>) -> Vec<Storm> {
    let mut kinds: BTreeMap<(&str, &str), Vec<&Seen>> = BTreeMap::new();
    for bounce in seen {
        let kind = (bounce.domain.as_str(), bounce.code.as_str());
        kinds.entry(kind).or_default().push(bounce);
    }
    let mut storms = Vec::new();
    for ((domain, code), mut bounces) in kinds {
        bounces.sort_by(|a, b| (a.arrived, &a.address).cmp(&(b.arrived, &b.address)));
        let all = members.get(domain).copied().unwrap_or(0);
        storms.extend(storms_of(domain, code, &bounces, all));
    }
    storms
}

/// The storms of one destination and code, its bounces given by arrival: stretches in which an hour holds enough different members.
fn storms_of(domain: &str, code: &str, bounces: &[&Seen], members: usize) -> Vec<Storm> {
    let needed = STORM_RECIPIENTS.max(members.div_ceil(STORM_SHARE));
    let mut storms: Vec<Storm> = Vec::new();
    let mut within: BTreeMap<&str, usize> = BTreeMap::new();
    let mut from = 0;
    for (at, bounce) in bounces.iter().enumerate() {
        *within.entry(&bounce.address).or_default() += 1;
        while bounces[from].arrived.plus_secs(WAIT_SECS) < bounce.arrived {
            let old = bounces[from].address.as_str();
            if let Some(count) = within.get_mut(old) {
                *count -= 1;
                if *count == 0 {
                    within.remove(old);
                }
            }
            from += 1;
        }
        if within.len() < needed {
            continue;
        }
        let start = bounces[from].arrived;
        match storms.last_mut() {
            Some(last) if start <= last.span.1 => last.span.1 = bounces[at].arrived,
            _ => storms.push(Storm {
                domain: domain.to_owned(),
                code: code.to_owned(),
                recipients: 0,
                span: (start, bounce.arrived),
            }),
        }
    }
    for storm in &mut storms {
        let inside = bounces
            .iter()
            .filter(|b| (storm.span.0..=storm.span.1).contains(&b.arrived));
        let addresses: BTreeSet<&str> = inside.map(|b| b.address.as_str()).collect();
        storm.recipients = addresses.len();
    }
    storms
}

#[cfg(test)]
mod tests;
