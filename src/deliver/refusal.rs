//! Whose refusal it is: the recipient's, the sender's, or the next hop's own, which meets everybody. Pure.
//!
//! A relay that is out of quota or lets nobody relay says 5xx to each copy. Were each of these the member's, all copies were lost and all
//! members blamed. So words that speak of the sender or of relaying count against nobody, and of the others a lasting refusal counts for
//! the recipient only where something shows that others are welcome.

use std::collections::{BTreeMap, BTreeSet};

use super::schedule::Throttle;
use crate::list::bounce::{self, Blame, Class};
use crate::types::Timestamp;

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

/// Whose a lasting refusal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// The recipient's.
    Recipients,
    /// The mail's: it is too large.
    Mails,
    /// The sender's or the next hop's own.
    Ours(Ground),
    /// It may be anybody's: what other mails meet shows it.
    Unclear,
}

/// Why a mail is refused that nobody is to be blamed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ground {
    /// The sender, before anything else was named, or a limit of what a sender may send.
    Sender,
    /// Nothing is relayed to there.
    Relaying,
    /// The sender or the system, as it seems; one destination's trouble may look the same.
    Unknown,
}

/// Whose a lasting refusal is, by what was said.
pub fn whose(step: Step, said: &str) -> Whose {
    match step {
        Step::Sender | Step::Data | Step::Mail if is_about_size(step, said) => Whose::Mails,
        Step::Sender => Whose::Ours(Ground::Sender),
        _ if names_a_limit(said) => Whose::Ours(Ground::Sender),
        Step::Data => Whose::Ours(Ground::Unknown),
        Step::Recipient | Step::Mail if is_about_the_mailbox(said) => Whose::Recipients,
        Step::Recipient => match bounce::find_blame(said) {
            Some(Blame::Sender) => Whose::Ours(Ground::Unknown),
            Some(Blame::Relaying) => Whose::Ours(Ground::Relaying),
            None => Whose::Unclear,
        },
        // A relay that judges the sender only now says the same to every copy.
        Step::Mail if bounce::find_blame(said).is_some() => Whose::Ours(Ground::Unknown),
        // What was sent is known by then: others of the same posting meet the same.
        Step::Mail => Whose::Recipients,
    }
}

/// Why a mail is refused for now, if the recipient has no part in it.
pub fn passing_ground(step: Step, said: &str) -> Option<Ground> {
    // x.3.x is about the system (RFC 3463 section 3.4): a full disk, a shutdown.
    let of_the_system = || said.get(4..).is_some_and(|words| words.starts_with("4.3."));
    match step {
        Step::Sender => Some(Ground::Sender),
        _ if names_a_limit(said) => Some(Ground::Sender),
        Step::Data => Some(Ground::Unknown),
        Step::Mail if of_the_system() => Some(Ground::Unknown),
        Step::Mail | Step::Recipient => None,
    }
}

/// The words of a refusal without addresses, for what others get to see: a log, and what is noted of their mail.
pub fn without_addresses(said: &str) -> String {
    let words = said.split(' ');
    let words = words.map(|word| if word.contains('@') { "…" } else { word });
    words.collect::<Vec<_>>().join(" ")
}

fn names_a_limit(said: &str) -> bool {
    // x.4.5 is what some say whose sender sent too much (RFC 3463 section 3.5: congestion). Behind the reply code it is one; elsewhere
    // it may be a piece of an address.
    let code = said.get(4..).and_then(|rest| rest.split(' ').next());
    if code.is_some_and(|code| ["4.4.5", "5.4.5"].contains(&code)) {
        return true;
    }
    let lower = said.to_lowercase();
    let words = [
        "sending quota",
        "sending limit",
        "sending rate",
        "daily message quota",
    ];
    words.into_iter().any(|word| lower.contains(word))
}

fn is_about_size(step: Step, said: &str) -> bool {
    let lower = said.to_lowercase();
    let mut words = ["size", "too large", "too big", "too long"].into_iter();
    // Behind the mail a 552 may be about a mailbox as well.
    let of_the_mail = step != Step::Mail || words.any(|word| lower.contains(word));
    let bare = said.starts_with("552") && !said.contains("5.2.") && of_the_mail;
    said.contains("5.3.4") || bare && !is_about_the_mailbox(said)
}

fn is_about_the_mailbox(said: &str) -> bool {
    let read = bounce::read_answer(said);
    read.is_some_and(|report| matches!(report.class, Class::Gone | Class::Full))
}

/// The same answer for recipients of so many domains, with no mail taken in between, is the next hop's.
const DOMAINS: usize = 3;
/// So many refusals with no mail taken in between are no single mail's.
const REFUSALS: u32 = 3;
/// A next hop that took a mail so many seconds ago still takes some: that it relays nothing to elsewhere is no reason to leave it alone.
const TOOK_SOME: i64 = 600;

/// Whom a refusal holds up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// This mail.
    Mail,
    /// All mail of its sender's domain, which waits for so many seconds.
    Sender(i64),
    /// All mail.
    All,
}

/// Senders' domains that are counted.
const MOST_NAMED: usize = 1_000;

/// The refusals since the next hop took a mail last, and the senders' domains that wait for it.
#[derive(Debug, Default)]
pub struct Refusals {
    /// Of recipients.
    run: Run,
    /// Of senders, or whose ground is unknown.
    count: u32,
    senders: BTreeSet<String>,
    /// Of those that are refused by name, how often since a mail of theirs was taken: others' mail shows nothing of it.
    named: BTreeMap<String, u32>,
    domains: BTreeSet<String>,
    /// When a mail was taken last.
    taken: Option<Timestamp>,
    /// Senders' domains that are refused, the null sender's being empty, and with what words.
    paused: BTreeMap<String, (Throttle, String)>,
}

impl Refusals {
    /// No sender waits any more.
    pub fn end_pauses(&mut self) {
        self.paused.clear();
    }

    /// The next hop took a mail of a sender's domain.
    pub fn record_taken(&mut self, sender: &str, now: Timestamp) {
        self.run.domains.clear();
        self.count = 0;
        self.senders.clear();
        self.named.remove(sender);
        self.domains.clear();
        self.taken = Some(now);
        // What was under way when the trouble came says nothing about its end.
        if self.find_pause(sender, now).is_none() {
            self.paused.remove(sender);
        }
    }

    /// A refusal that may be anybody's; returns whether by now it is the next hop's.
    pub fn record_unclear(&mut self, said: &str, domain: &str) -> bool {
        self.run.record(said, domain)
    }

    /// A refusal on some ground of a mail from `sender` to `domain`.
    pub fn record(
        &mut self,
        (ground, said): (Ground, &str),
        (sender, domain): (&str, &str),
        now: Timestamp,
    ) -> Reach {
        if ground == Ground::Relaying {
            let took_some = self.taken.is_some_and(|t| now < t.plus_secs(TOOK_SOME));
            return match self.run.record(said, domain) && !took_some {
                true => Reach::All,
                false => Reach::Mail,
            };
        }
        self.count = self.count.saturating_add(1);
        note(&mut self.senders, sender);
        note(&mut self.domains, domain);
        let by_name = ground == Ground::Sender && self.count_named(sender) >= REFUSALS;
        let enough = self.count >= REFUSALS || by_name;
        let by_sender =
            ground == Ground::Sender || self.domains.len() >= DOMAINS || self.senders.len() > 1;
        if !(enough && by_sender) {
            return Reach::Mail;
        }
        // However many senders are refused, each waits by itself: what another one's mail meets is known once it is tried, and
        // letters, which come first in the queue, would be what is tried each time.
        let fresh = || (Throttle::new(1), String::new());
        let paused = self.paused.entry(sender.to_owned()).or_insert_with(fresh);
        paused.1 = without_addresses(said);
        Reach::Sender(paused.0.record_trouble(now, said))
    }

    /// How often a sender was refused by name by now.
    fn count_named(&mut self, sender: &str) -> u32 {
        if self.named.len() >= MOST_NAMED && !self.named.contains_key(sender) {
            self.named.clear();
        }
        let count = self.named.entry(sender.to_owned()).or_default();
        *count = count.saturating_add(1);
        *count
    }

    /// For how many seconds mail of a sender's domain waits still, and what was said to it.
    pub fn find_pause(&self, sender: &str, now: Timestamp) -> Option<(i64, &str)> {
        let (throttle, said) = self.paused.get(sender)?;
        let rest = throttle.rest(now);
        (rest > 0).then_some((rest, said))
    }
}

/// Keeps no more than what is asked for.
fn note(names: &mut BTreeSet<String>, name: &str) {
    if names.len() < DOMAINS && !names.contains(name) {
        names.insert(name.to_owned());
    }
}

/// Refusals of recipients, as far as they are alike.
#[derive(Debug, Default)]
struct Run {
    code: String,
    domains: BTreeSet<String>,
}

impl Run {
    /// Counts a refusal; returns whether by now it is the next hop's.
    fn record(&mut self, said: &str, domain: &str) -> bool {
        let code = bounce::read_answer(said).map_or_else(String::new, |report| report.code);
        if code != self.code {
            (self.code, self.domains) = (code, BTreeSet::new());
        }
        note(&mut self.domains, domain);
        self.domains.len() >= DOMAINS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_secs(secs)
    }

    #[track_caller]
    fn check(step: Step, said: &str, expected: Whose) {
        assert_eq!(whose(step, said), expected, "{step:?}: {said}");
    }

    const SENDERS: Whose = Whose::Ours(Ground::Sender);
    const RELAYING: Whose = Whose::Ours(Ground::Relaying);

    #[test]
    fn what_names_a_mailbox_or_a_mail_is_not_the_next_hops() {
        let quota = "550 5.4.5 Daily user sending quota exceeded";
        for step in [Step::Sender, Step::Recipient, Step::Data, Step::Mail] {
            check(step, quota, SENDERS);
        }
        let odd = "550 administrative prohibition";
        check(Step::Recipient, odd, Whose::Unclear);
        check(Step::Data, odd, Whose::Ours(Ground::Unknown));
        check(Step::Recipient, "550 5.1.1 no such user", Whose::Recipients);
        check(Step::Recipient, "550 user unknown", Whose::Recipients);
        check(Step::Recipient, "552 5.2.2 mailbox full", Whose::Recipients);
        let spam = "554 5.7.1 this looks like spam";
        check(Step::Mail, spam, Whose::Recipients);
    }

    #[test]
    fn a_relay_that_judges_the_sender_behind_the_mail_loses_no_copies() {
        for said in [
            "554 Message rejected: Email address is not verified. The following identities failed the check in region EU-WEST-1: dev@x.org",
            "554 Message rejected: Sending suspended for this account.",
            "550 5.7.1 Your account has been suspended",
            "553 5.7.1 Sender address rejected: not owned by user ana",
            "554 5.7.1 Relay access denied",
        ] {
            check(Step::Mail, said, Whose::Ours(Ground::Unknown));
        }
        for limit in [
            "454 Throttling failure: Daily message quota exceeded.",
            "454 Throttling failure: Maximum sending rate exceeded.",
        ] {
            assert_eq!(passing_ground(Step::Mail, limit), Some(Ground::Sender));
        }
        let theirs = "550 5.2.1 The account of this user is suspended, relay says";
        check(Step::Mail, theirs, Whose::Recipients);
    }

    #[test]
    fn who_refuses_to_relay_or_the_sender_speaks_of_no_recipient() {
        for said in [
            "554 5.7.1 <a@b.c>: Relay access denied",
            "550 relay not permitted",
            "550 5.7.1 Unable to relay for a@b.c",
            "550 5.7.1 Relaying denied. Proper authentication required.",
        ] {
            check(Step::Recipient, said, RELAYING);
        }
        for said in [
            "553 5.7.1 <dev@x.org>: Sender address rejected: not owned by user ana",
            "550 5.7.1 Authentication required",
            "554 5.7.1 <x.org[192.0.2.1]>: Client host rejected: Access denied",
            "550 Sender verify failed",
        ] {
            check(Step::Recipient, said, Whose::Ours(Ground::Unknown));
        }
        // Names of hosts are no words, and a mailbox that is named is the recipient's.
        let named = "550 5.1.1 relay.example.org: user unknown in relay recipient table";
        check(Step::Recipient, named, Whose::Recipients);
        let elsewhere = "550 5.7.1 relay.example.org says no";
        check(Step::Recipient, elsewhere, Whose::Unclear);
        check(Step::Sender, "553 5.7.1 sender not owned by user", SENDERS);
    }

    #[test]
    fn a_mail_that_is_too_large_is_nobodys_fault() {
        for step in [Step::Sender, Step::Data, Step::Mail] {
            check(step, "552 5.3.4 too large", Whose::Mails);
            let qmail = "552 sorry, that message size exceeds my databytes limit (#5.3.4)";
            check(step, qmail, Whose::Mails);
            check(step, "552 message size exceeds fixed limit", Whose::Mails);
        }
        for said in [
            "552 Requested mail action aborted: exceeded storage allocation",
            "552 mailbox full",
            "552 5.2.2 over quota",
            "554 5.6.0 no",
        ] {
            check(Step::Mail, said, Whose::Recipients);
        }
    }

    #[test]
    fn what_is_refused_for_now_before_the_recipient_or_by_the_system_is_not_the_recipients() {
        let check = |step, said, expected| assert_eq!(passing_ground(step, said), expected);
        let rate = "450 4.7.1 Error: too much mail from 192.0.2.1";
        check(Step::Sender, rate, Some(Ground::Sender));
        check(Step::Data, rate, Some(Ground::Unknown));
        check(Step::Recipient, "450 4.2.0 greylisted", None);
        let client = "450 4.2.0 Client host 65.4.51.7: greylisted";
        check(Step::Recipient, client, None);
        let congested = "451 4.4.5 try later";
        check(Step::Recipient, congested, Some(Ground::Sender));
        check(Step::Mail, "451 4.7.1 greylisted", None);
        check(Step::Mail, "452 4.3.1 full", Some(Ground::Unknown));
    }

    #[test]
    fn what_others_see_names_no_address() {
        let said = "421 4.7.0 <Ana.B@y.org>: Relay access denied, ana@y.org";
        let shown = "421 4.7.0 … Relay access denied, …";
        assert_eq!(without_addresses(said), shown);
    }

    #[test]
    fn the_same_answer_for_three_domains_in_a_row_is_the_next_hops() {
        let mut all = Refusals::default();
        let denied = |n: usize| format!("554 5.7.1 <x@{n}.org>: no");
        assert!(!all.record_unclear(&denied(1), "1.org"));
        assert!(!all.record_unclear(&denied(1), "1.org"));
        assert!(!all.record_unclear(&denied(2), "2.org"));
        assert!(all.record_unclear(&denied(3), "3.org"));
        assert!(
            all.record_unclear(&denied(1), "1.org"),
            "until a mail is taken"
        );
        all.record_taken("x.org", at(0));
        assert!(!all.record_unclear(&denied(4), "4.org"));
        assert!(!all.record_unclear("550 5.7.27 no", "5.org"));
        assert!(!all.record_unclear(&denied(6), "6.org"));
    }

    #[test]
    fn a_next_hop_that_relays_to_some_is_not_left_alone() {
        let mut all = Refusals::default();
        let denied = |all: &mut Refusals, n: usize, secs| {
            let why = (Ground::Relaying, "554 5.7.1 Relay access denied");
            all.record(why, ("x.org", &format!("{n}.org")), at(secs))
        };
        assert_eq!(denied(&mut all, 1, 0), Reach::Mail);
        assert_eq!(denied(&mut all, 2, 0), Reach::Mail);
        assert_eq!(denied(&mut all, 3, 0), Reach::All);
        all.record_taken("x.org", at(1));
        for n in 1..9 {
            assert_eq!(denied(&mut all, n, 600), Reach::Mail);
        }
        assert_eq!(denied(&mut all, 1, 601), Reach::All);
    }

    #[test]
    fn each_sender_that_is_refused_waits_by_itself() {
        let mut all = Refusals::default();
        let refuse = |all: &mut Refusals, sender: &str, secs| {
            let why = (Ground::Sender, "553 5.7.1 not owned");
            all.record(why, (sender, "y.org"), at(secs))
        };
        assert_eq!(refuse(&mut all, "a.org", 0), Reach::Mail);
        assert_eq!(refuse(&mut all, "a.org", 0), Reach::Mail);
        assert_eq!(refuse(&mut all, "a.org", 0), Reach::Sender(15));
        assert_eq!(all.find_pause("a.org", at(5)).expect("a pause").0, 10);
        assert_eq!(all.find_pause("b.org", at(5)), None);
        // What is taken of others, or was under way, does not end it.
        all.record_taken("b.org", at(6));
        all.record_taken("a.org", at(6));
        assert!(all.find_pause("a.org", at(6)).is_some());
        for secs in [15, 15] {
            assert_eq!(refuse(&mut all, "a.org", secs), Reach::Mail);
        }
        assert_eq!(refuse(&mut all, "a.org", 15), Reach::Sender(30));
        assert_eq!(refuse(&mut all, "a.org", 45), Reach::Sender(60));
        // A letter of the null sender.
        assert_eq!(refuse(&mut all, "", 46), Reach::Sender(15));
        assert_eq!(refuse(&mut all, "", 61), Reach::Sender(30));
        assert_eq!(all.find_pause("b.org", at(61)), None);
        all.record_taken("a.org", at(200));
        assert_eq!(all.find_pause("a.org", at(200)), None);
        assert_eq!(refuse(&mut all, "a.org", 200), Reach::Mail);
    }

    #[test]
    fn trouble_of_one_destination_behind_the_next_hop_holds_up_no_sender() {
        let mut all = Refusals::default();
        let why = (Ground::Unknown, "452 4.3.1 disk full");
        for _ in 0..9 {
            let reach = all.record(why, ("x.org", "y.org"), at(0));
            assert_eq!(reach, Reach::Mail);
        }
        let reach = all.record(why, ("x.org", "z.org"), at(0));
        assert_eq!(reach, Reach::Mail);
        let reach = all.record(why, ("x.org", "w.org"), at(0));
        assert_eq!(reach, Reach::Sender(15));
    }
}
