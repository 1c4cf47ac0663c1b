//! Whose refusal it is: the recipient's, or the next hop's own, which meets everybody. Pure.
//!
//! A relay that is out of quota or lets nobody relay says 5xx to each copy. Were each of these the member's, all copies were lost and all
//! members blamed. So a lasting refusal counts for the recipient only where something shows that others are welcome.

use std::collections::BTreeSet;

use crate::list::bounce::{self, Class};

/// How far a mail got before it was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// MAIL: only the sender was named.
    Sender,
    /// RCPT.
    Recipient,
    /// DATA: the recipient was taken, and nothing of the mail was seen.
    Data,
    /// The final dot.
    Mail,
}

/// The same answer for recipients of so many domains, with no mail taken in between, is the next hop's.
pub const DOMAINS: usize = 3;

/// Whether a refusal, as it was said, may be the next hop's own.
pub fn may_be_the_next_hops(step: Step, said: &str) -> bool {
    let names_its_limit = || {
        let lower = said.to_lowercase();
        let mut words = ["5.4.5", "sending quota", "sending limit"].into_iter();
        words.any(|word| lower.contains(word))
    };
    match step {
        Step::Sender | Step::Data => !is_about_size(said),
        Step::Recipient => !is_about_the_mailbox(said),
        // What was sent is known by then: others of the same posting meet the same.
        Step::Mail => names_its_limit(),
    }
}

fn is_about_size(said: &str) -> bool {
    said.starts_with("552") && !said.contains("5.2.") || said.contains("5.3.4")
}

fn is_about_the_mailbox(said: &str) -> bool {
    let read = bounce::read_answer(said);
    read.is_some_and(|report| matches!(report.class, Class::Gone | Class::Full))
}

/// The refusals since the next hop took a mail last, as far as they are alike.
#[derive(Debug, Default)]
pub struct Run {
    code: String,
    domains: BTreeSet<String>,
}

impl Run {
    /// Counts a refusal; returns whether by now it is the next hop's.
    pub fn record(&mut self, said: &str, domain: &str) -> bool {
        let code = bounce::read_answer(said).map_or_else(String::new, |report| report.code);
        if code != self.code {
            (self.code, self.domains) = (code, BTreeSet::new());
        }
        if self.domains.len() < DOMAINS {
            self.domains.insert(domain.to_owned());
        }
        self.domains.len() >= DOMAINS
    }

    /// A mail was taken.
    pub fn end(&mut self) {
        self.domains.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_names_a_mailbox_or_a_mail_is_not_the_next_hops() {
        let check = |step, said: &str, expected| {
            assert_eq!(may_be_the_next_hops(step, said), expected, "{said}");
        };
        let quota = "550 5.4.5 Daily user sending quota exceeded";
        for step in [Step::Sender, Step::Recipient, Step::Data, Step::Mail] {
            check(step, quota, true);
        }
        check(
            Step::Recipient,
            "554 5.7.1 <a@b.c>: Relay access denied",
            true,
        );
        check(Step::Recipient, "550 administrative prohibition", true);
        check(Step::Recipient, "550 5.1.1 no such user", false);
        check(Step::Recipient, "550 user unknown", false);
        check(Step::Recipient, "552 5.2.2 mailbox full", false);
        check(Step::Sender, "552 5.3.4 too large", false);
        check(Step::Sender, "552 message size exceeds fixed limit", false);
        check(Step::Sender, "553 5.7.1 sender not owned by user", true);
        check(Step::Mail, "554 5.7.1 this looks like spam", false);
    }

    #[test]
    fn the_same_answer_for_three_domains_in_a_row_is_the_next_hops() {
        let mut run = Run::default();
        let denied = |n: usize| format!("554 5.7.1 <x@{n}.org>: Relay access denied");
        assert!(!run.record(&denied(1), "1.org"));
        assert!(!run.record(&denied(1), "1.org"));
        assert!(!run.record(&denied(2), "2.org"));
        assert!(run.record(&denied(3), "3.org"));
        assert!(run.record(&denied(1), "1.org"), "until a mail is taken");
        run.end();
        assert!(!run.record(&denied(4), "4.org"));
        assert!(!run.record("550 5.7.27 no", "5.org"));
        assert!(!run.record(&denied(6), "6.org"));
    }
}
