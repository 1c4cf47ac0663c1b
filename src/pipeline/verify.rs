//! A mail about whose signatures DNS gave no answer: it is asked again for a day, so that an hour without DNS leaves no patch a
//! claim for good.

use std::sync::Arc;

use super::ask::Asked;
use super::{Ctx, PipelineError};
use crate::list::address::Target;
use crate::list::order::Spam;
use crate::list::policy::Decision;
use crate::mail::Message;
use crate::mail::header::to_crlf;
use crate::session::Protocol;
use crate::store::job::Held;
use crate::store::{HeldRow, Unanswered, UnansweredCopy};
use crate::types::{ReceiptId, Timestamp};
use crate::verdict::{self, Facts, Level, Verdict};

/// Seconds: each time DNS is asked again after as long as the mail is there, within these bounds.
const PAUSE: std::ops::RangeInclusive<i64> = 300..=4 * 3_600;
/// Seconds from its arrival after which no answer is waited for.
const LONGEST: i64 = 24 * 3_600;

/// When DNS is to be asked again about a mail that arrived then; `None` if it had its time.
fn next_look(arrived: Timestamp, now: Timestamp) -> Option<Timestamp> {
    let age = (now.0 - arrived.0) / 1_000_000;
    (age < LONGEST).then(|| now.plus_secs(age.clamp(*PAUSE.start(), *PAUSE.end())))
}

impl Ctx {
    /// Asks once more who speaks for a mail. Safe to repeat.
    pub async fn verify(&self, receipt: ReceiptId, job: Held) -> Result<(), PipelineError> {
        let found = self.store.load_unanswered(receipt).await?;
        let (Some(mail), Some(_)) = (found, &self.checks) else {
            return Ok(self.store.finish_jobs(vec![job]).await?);
        };
        let now = self.store.time().await?;
        let mut answers = Vec::new();
        let mut next: Option<Timestamp> = None;
        let mut release = None;
        for copy in &mail.copies {
            let asked = self.ask_dns(copy.bytes.clone(), copy.crlf, &copy.verdict);
            let (message, verdict) = asked.await?;
            if verdict.is_owed() {
                next = next.max(next_look(copy.arrived, now));
                continue;
            }
            if verdict.level == Level::Aligned && release.is_none() {
                release = self
                    .is_free_now(&mail, copy, &message, &verdict, now)
                    .await?;
            }
            answers.push((copy.hash, verdict));
        }
        let settled = answers.iter().any(|(_, v)| v.level == Level::Aligned);
        let next = next.filter(|_| !settled);
        let next = next.map(|at| (at, "DNS gave no answer about its signatures".to_owned()));
        let which = (mail.realm, mail.identity);
        let recorded =
            self.store
                .record_answers(which, answers, release.map(|held| (held, now)), next, job);
        Ok(recorded.await?)
    }

    /// A mail as stored (with `crlf`, its line ends are put back), and what DNS lets be said of it now. What SPF said stays, as the client
    /// is gone.
    pub(super) async fn ask_dns(
        &self,
        stored: Vec<u8>,
        crlf: bool,
        before: &Verdict,
    ) -> Result<(Message, Verdict), PipelineError> {
        let wire = match crlf {
            true => to_crlf(&stored),
            false => stored.clone(),
        };
        let message = super::parse(stored).await?;
        let Some(checks) = &self.checks else {
            return Ok((message, before.clone()));
        };
        let facts = checks.dns.facts(Arc::new(wire), None).await;
        let facts = Facts {
            spf: before.spf.clone(),
            policy: facts.policy.or_else(|| before.policy.clone()),
            ..facts
        };
        let verdict = verdict::judge(&message, facts);
        Ok((message, verdict))
    }

    /// The held mail, if it is held only as nothing spoke for its sender then: its list would take it now.
    async fn is_free_now(
        &self,
        mail: &Unanswered,
        copy: &UnansweredCopy,
        message: &Message,
        verdict: &Verdict,
        now: Timestamp,
    ) -> Result<Option<HeldRow>, PipelineError> {
        let Some(held) = &mail.held else {
            return Ok(None);
        };
        let Some(list) = self.store.find_list_by_id(mail.list).await? else {
            return Ok(None);
        };
        let protocol = match mail.lmtp {
            true => Protocol::Lmtp,
            false => Protocol::Smtp,
        };
        let asked = |verdict| Asked {
            message,
            verdict,
            size: copy.bytes.len(),
            null_sender: mail.sender.is_empty(),
            sender: &mail.sender,
            protocol,
            // What a filter said is known no more: a mail that is held for that has another reason now than then, and stays.
            spam: Spam::Unknown,
        };
        let post = Target::Post;
        let (before, after) = (asked(&copy.verdict), asked(verdict));
        let then = self.decide(&list, &post, &before, now).await?;
        let with = self.decide(&list, &post, &after, now).await?;
        let alone = matches!(&then.decision, Ok(Decision::Hold(reason)) if *reason == held.reason);
        let taken = matches!(with.decision, Ok(Decision::Accept));
        Ok((alone && taken).then(|| held.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(age: i64, next: Option<i64>) {
        let arrived = Timestamp(5_000_000);
        let now = arrived.plus_secs(age);
        let expected = next.map(|after| now.plus_secs(after));
        assert_eq!(next_look(arrived, now), expected);
    }

    #[test]
    fn dns_is_asked_less_often_the_older_a_mail_is_and_not_after_a_day() {
        check(0, Some(300));
        check(300, Some(300));
        check(1_200, Some(1_200));
        check(50_000, Some(14_400));
        check(86_400, None);
        // A clock that was set back.
        check(-60, Some(300));
    }
}
