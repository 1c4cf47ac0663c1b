//! What an author hears of his own patches: when, and in which words. It holds his own words: he alone gets it, and his mail was authenticated.

use askama::Template;

use super::Event;
use crate::types::Timestamp;

/// When an author hears that patches came.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Arrived {
    /// The first time that patches of his come.
    #[default]
    First,
    /// Each time.
    Always,
    /// Never.
    Never,
}

impl Arrived {
    /// All there are.
    pub const ALL: [Arrived; 3] = [Arrived::First, Arrived::Always, Arrived::Never];

    /// As it is stored and sent by forms.
    pub fn as_str(self) -> &'static str {
        match self {
            Arrived::First => "first",
            Arrived::Always => "always",
            Arrived::Never => "never",
        }
    }

    /// Reads [`as_str`](Arrived::as_str) back.
    pub fn parse(word: &str) -> Option<Arrived> {
        Arrived::ALL.into_iter().find(|a| a.as_str() == word)
    }
}

/// What somebody wants to hear of his own patches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReportWish {
    /// That they came.
    pub arrived: Arrived,
    /// That they did not apply when they came.
    pub conflict: bool,
    /// That somebody set their state, or that they landed.
    pub states: bool,
}

impl Default for ReportWish {
    fn default() -> Self {
        ReportWish {
            arrived: Arrived::First,
            conflict: true,
            states: false,
        }
    }
}

/// A version of which its author may hear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Case<'a> {
    /// All its patches are there.
    pub complete: bool,
    /// When the newest of its own mails came.
    pub arrived: Timestamp,
    /// What came of applying it: `applied`, `conflict`, `bad`, …; `None`: it was not tried.
    pub outcome: Option<&'a str>,
    /// It is still to be tried.
    pub owed: bool,
    /// Its author was told that it is incomplete.
    pub told_incomplete: bool,
    /// He was told what became of it.
    pub told: bool,
    /// Patches of his came before it.
    pub known: bool,
    /// What he wants.
    pub wish: ReportWish,
}

/// What is to be done about a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Look again then.
    Look(Timestamp),
    /// Tell its author.
    Tell(Event),
    /// It needs no words.
    Nothing,
}

/// Missing mails may come for so many seconds: a server that greylists makes the sender try again.
pub const PATIENCE: i64 = 900;
/// Who has applied it says so; if that is lost, so many seconds pass between two looks.
const GLANCE: i64 = 60;

/// What is to be done about a version now.
pub fn next(case: &Case<'_>, now: Timestamp) -> Next {
    let wanted = match case.wish.arrived {
        Arrived::First => !case.known,
        Arrived::Always => true,
        Arrived::Never => false,
    };
    if case.told || !(wanted || case.wish.conflict) {
        return Next::Nothing;
    }
    if !case.complete {
        let later = case.arrived.plus_secs(PATIENCE);
        return match wanted && !case.told_incomplete {
            false => Next::Nothing,
            true if now < later => Next::Look(later),
            true => Next::Tell(Event::Reported),
        };
    }
    match case.outcome {
        None if case.owed => Next::Look(now.plus_secs(GLANCE)),
        _ if wanted => Next::Tell(Event::Reported),
        Some("conflict" | "bad") if case.wish.conflict => Next::Tell(Event::Unfit),
        _ => Next::Nothing,
    }
}

/// `templates/mail/report.txt`; all lines are wrapped.
#[derive(Debug, Clone, PartialEq, Eq, Template)]
#[template(path = "mail/report.txt", escape = "none")]
pub struct Report {
    /// Posting address.
    pub list: String,
    /// It tells that patches came; else that they do not apply.
    pub came: bool,
    /// Title, version, how many patches.
    pub title: Vec<String>,
    /// What became of it.
    pub said: Vec<String>,
    /// Its page; empty: there is none to be seen.
    pub page: String,
    /// What `git format-patch` is given for the next version: `-v2`.
    pub next: String,
    /// Its patch came as a file.
    pub attached: bool,
    /// Where such mail is chosen.
    pub choose: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAME: Timestamp = Timestamp(1_000_000_000);
    const CASE: Case<'static> = Case {
        complete: true,
        arrived: CAME,
        outcome: Some("applied"),
        owed: false,
        told_incomplete: false,
        told: false,
        known: false,
        wish: ReportWish {
            arrived: Arrived::First,
            conflict: true,
            states: false,
        },
    };

    #[test]
    fn a_first_series_is_answered_once() {
        assert_eq!(next(&CASE, CAME), Next::Tell(Event::Reported));
        assert_eq!(next(&Case { told: true, ..CASE }, CAME), Next::Nothing);
        let known = Case {
            known: true,
            ..CASE
        };
        assert_eq!(next(&known, CAME), Next::Nothing);
        for outcome in ["conflict", "bad"] {
            let outcome = Some(outcome);
            let first = Case { outcome, ..CASE };
            assert_eq!(next(&first, CAME), Next::Tell(Event::Reported));
            let later = Case { outcome, ..known };
            assert_eq!(next(&later, CAME), Next::Tell(Event::Unfit));
        }
        let elsewhere = Case {
            outcome: Some("elsewhere"),
            ..known
        };
        assert_eq!(next(&elsewhere, CAME), Next::Nothing);
    }

    #[test]
    fn what_is_not_tried_yet_is_looked_at_again() {
        let owed = Case {
            outcome: None,
            owed: true,
            ..CASE
        };
        assert_eq!(next(&owed, CAME), Next::Look(CAME.plus_secs(GLANCE)));
        // Trying it failed for good: that it came is told.
        let parked = Case {
            outcome: None,
            ..CASE
        };
        assert_eq!(next(&parked, CAME), Next::Tell(Event::Reported));
    }

    #[test]
    fn an_incomplete_series_is_told_of_when_its_mails_had_time_to_come() {
        let part = Case {
            complete: false,
            outcome: None,
            ..CASE
        };
        let later = CAME.plus_secs(PATIENCE);
        assert_eq!(next(&part, CAME), Next::Look(later));
        assert_eq!(next(&part, later), Next::Tell(Event::Reported));
        let known = Case {
            known: true,
            ..part
        };
        assert_eq!(next(&known, later), Next::Nothing);
        let again = Case {
            told_incomplete: true,
            ..part
        };
        assert_eq!(next(&again, later), Next::Nothing);
        // The rest came after all.
        let whole = Case {
            told_incomplete: true,
            ..CASE
        };
        assert_eq!(next(&whole, later), Next::Tell(Event::Reported));
    }

    #[test]
    fn what_somebody_wants_counts() {
        let wish = |arrived, conflict| ReportWish {
            arrived,
            conflict,
            states: false,
        };
        let fits = |known, wish| {
            next(
                &Case {
                    known,
                    wish,
                    ..CASE
                },
                CAME,
            )
        };
        let unfit = |known, wish| {
            let outcome = Some("conflict");
            next(
                &Case {
                    known,
                    wish,
                    outcome,
                    ..CASE
                },
                CAME,
            )
        };
        let always = wish(Arrived::Always, false);
        assert_eq!(fits(true, always), Next::Tell(Event::Reported));
        assert_eq!(unfit(true, always), Next::Tell(Event::Reported));
        let never = wish(Arrived::Never, true);
        assert_eq!(fits(false, never), Next::Nothing);
        assert_eq!(unfit(false, never), Next::Tell(Event::Unfit));
        let nothing = wish(Arrived::Never, false);
        assert_eq!(unfit(false, nothing), Next::Nothing);
        for arrived in Arrived::ALL {
            assert_eq!(Arrived::parse(arrived.as_str()), Some(arrived));
        }
    }
}
