//! Tells the operator when something turns bad, and when it is well again.

use std::collections::BTreeMap;

use askama::Template;
use serde::{Deserialize, Serialize};

use super::notify::Notice;
use super::{Ctx, PipelineError};
use crate::list::notice::{Event, Trouble};
use crate::store::Owed;
use crate::types::Timestamp;

/// Under this name stands what the operator was told last.
const TOLD: &str = "troubles";
/// Mails about one thing are at least so far apart, however often it changes.
const PAUSE: i64 = 86_400;

/// One thing that is watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watched {
    /// What it is, in a few words; it is known by them.
    pub what: String,
    /// Whether it is bad.
    pub bad: bool,
    /// What was seen.
    pub detail: String,
    /// What mends it, if it is bad.
    pub mend: String,
}

/// What was last told of a thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Told {
    bad: bool,
    at: Timestamp,
}

/// Who was told what, by what it is about.
type AllTold = BTreeMap<String, Told>;

/// What is to be told now, worse and better, and what will have been told then. A thing nothing was told of counts as well.
fn turn<'a>(told: &AllTold, seen: &'a [Watched], now: Timestamp) -> (Vec<&'a Watched>, AllTold) {
    let mut next = told.clone();
    let news = seen.iter().filter(|one| {
        let last = told.get(&one.what);
        let changed = last.is_some_and(|t| t.bad) != one.bad;
        let may = last.is_none_or(|t| now >= t.at.plus_secs(PAUSE));
        changed && may
    });
    let news: Vec<&Watched> = news.collect();
    for one in &news {
        let told = Told {
            bad: one.bad,
            at: now,
        };
        next.insert(one.what.clone(), told);
    }
    (news, next)
}

impl Ctx {
    /// Tells the operator by one mail what turned bad since it was last told, and what is well again: each thing at most once a
    /// day. Where the settings name no operator, the log has to do; where a mail may not go out, it is tried again. Returns how many
    /// things were told.
    pub async fn tell_operator(
        &self,
        seen: &[Watched],
        now: Timestamp,
    ) -> Result<usize, PipelineError> {
        let stored = self.store.find_meta(TOLD).await?;
        // What cannot be read was never told.
        let told = stored.and_then(|text| serde_json::from_str(&text).ok());
        let (news, next) = turn(&told.unwrap_or_default(), seen, now);
        if news.is_empty() {
            return Ok(0);
        }
        for one in &news {
            match one.bad {
                true => tracing::error!(what = one.what, "{}: {}", one.what, one.detail),
                false => tracing::info!(
                    what = one.what,
                    "{} is well again: {}",
                    one.what,
                    one.detail
                ),
            }
        }
        if let Some(operator) = &self.operator {
            let lines = |bad: bool| {
                let chosen = news.iter().filter(move |one| one.bad == bad);
                chosen.map(|one| (one.what.clone(), one.detail.clone(), one.mend.clone()))
            };
            let worse: Vec<_> = lines(true).collect();
            let better: Vec<_> = lines(false).collect();
            let subject = subject(&self.hostname, &news);
            let text = Trouble {
                hostname: &self.hostname,
                worse: &worse,
                better: &better,
                command: &crate::cli::command_anywhere("doctor"),
            };
            let text = text.render()?;
            let notice = Notice {
                event: Event::Trouble,
                list: None,
                to: operator,
                subject: &subject,
                text: &text,
                reply_to: None,
                return_path: String::new(),
                answered: None,
                ip: None,
            };
            // The mail first: who is told twice after a crash is better off than who is not told.
            if self.notify(&notice, now).await? != Owed::Yes {
                tracing::warn!(
                    "site.operator gets no mail of it, being a list here or having had too many today; it is tried again"
                );
                return Ok(0);
            }
        }
        let text = serde_json::to_string(&next);
        let text = text.map_err(|e| PipelineError::Broken(format!("what was told: {e}")))?;
        self.store.record_meta(TOLD.to_owned(), text).await?;
        Ok(news.len())
    }

    /// Notes that the running server looked at itself.
    pub async fn note_watch(&self, now: Timestamp) -> Result<(), PipelineError> {
        let at = now.0.to_string();
        Ok(self
            .store
            .record_meta(super::LAST_WATCH.to_owned(), at)
            .await?)
    }
}

fn subject(hostname: &str, news: &[&Watched]) -> String {
    let names: Vec<&str> = news.iter().map(|one| one.what.as_str()).collect();
    let names = names.join(", ");
    match news.iter().any(|one| one.bad) {
        true => format!("Trouble at {hostname}: {names}"),
        false => format!("Well again at {hostname}: {names}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3600;

    /// `states` are hours and what is seen then; `expected` are the hours at which a mail goes out, with a minus where it says well.
    #[track_caller]
    fn check(states: &[(i64, bool)], expected: &[&str]) {
        let mut told = AllTold::new();
        let mut mails = Vec::new();
        for (hour, bad) in states {
            let seen = [Watched {
                what: "disk".to_owned(),
                bad: *bad,
                detail: String::new(),
                mend: String::new(),
            }];
            let (news, next) = turn(&told, &seen, Timestamp::from_secs(hour * HOUR));
            mails.extend(news.iter().map(|n| match n.bad {
                true => format!("{hour} bad"),
                false => format!("{hour} well"),
            }));
            told = next;
        }
        assert_eq!(mails, expected, "{states:?}");
    }

    #[test]
    fn a_thing_is_told_when_it_turns_and_at_most_once_a_day() {
        check(&[(0, false), (1, false)], &[]);
        check(&[(0, true), (1, true), (30, true), (60, true)], &["0 bad"]);
        check(
            &[(0, true), (30, false), (31, false)],
            &["0 bad", "30 well"],
        );
        // Well again too soon: told when the day is over, if it still is.
        check(
            &[(0, true), (2, false), (23, false), (24, false)],
            &["0 bad", "24 well"],
        );
        check(&[(0, true), (2, false), (3, true), (25, true)], &["0 bad"]);
        let flapping: Vec<(i64, bool)> = (0..96).map(|h| (h, h % 2 == 0)).collect();
        check(&flapping, &["0 bad", "25 well", "50 bad", "75 well"]);
    }

    #[test]
    fn things_are_told_apart() {
        let one = |what: &str, bad| Watched {
            what: what.to_owned(),
            bad,
            detail: String::new(),
            mend: String::new(),
        };
        let first = [one("disk", true), one("queue age", false)];
        let (news, told) = turn(&AllTold::new(), &first, Timestamp(0));
        assert_eq!(news, [&first[0]]);
        let second = [one("disk", true), one("queue age", true)];
        let (news, _) = turn(&told, &second, Timestamp(1));
        assert_eq!(news, [&second[1]]);
    }
}
