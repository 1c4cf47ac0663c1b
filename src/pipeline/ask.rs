//! What a list says of a mail: who speaks for it, what is known of its sender, and the policy.

use std::sync::Arc;

use super::screen::NewMail;
use super::{Ctx, PipelineError};
use crate::dns::Client;
use crate::list::address::Target;
use crate::list::header as list_header;
use crate::list::held::SeriesKey;
use crate::list::order::{self, Known, Outcome, Question, Spam};
use crate::list::policy::{self, Decision};
use crate::mail::{self, Message};
use crate::session::Protocol;
use crate::store::{Asking, ListRow, NewHeld, NewReceipt};
use crate::types::{Address, Timestamp};
use crate::verdict::{self, Facts, Verdict};

/// A mail as it was read, once for all its lists.
pub(super) struct Read {
    pub size: usize,
    pub message: Message,
    pub bytes: Vec<u8>,
    pub crlf: bool,
    pub verdict: Verdict,
    pub spam: Spam,
}

/// What is asked of every list that a mail is for.
pub(super) struct Asked<'a> {
    pub message: &'a Message,
    pub verdict: &'a Verdict,
    /// As received.
    pub size: usize,
    pub null_sender: bool,
    /// The envelope sender; empty is the null one.
    pub sender: &'a str,
    pub protocol: Protocol,
    pub spam: Spam,
}

/// A list that takes a mail, at once or after a person looked at it.
pub(super) struct Taken {
    pub list: ListRow,
    pub outcome: Outcome,
}

impl Taken {
    /// What is kept of it for the list.
    pub fn receipt(&self, asked: &Asked<'_>, now: Timestamp) -> NewReceipt {
        let held = match &self.outcome.decision {
            Ok(Decision::Hold(reason)) => Some(Box::new(held(asked, &self.list, reason))),
            _ => None,
        };
        let send_at = match self.outcome.delay {
            0 => Timestamp(0),
            delay => now.plus_secs(delay),
        };
        NewReceipt {
            list: self.list.id,
            realm: self.list.realm,
            sender: asked.sender.to_owned(),
            arrived: now,
            source: match asked.protocol {
                Protocol::Lmtp => "lmtp",
                Protocol::Smtp => "smtp",
            },
            stranger: self.outcome.stranger,
            send_at,
            held,
        }
    }
}

/// What a moderator reads about a mail before its text.
fn held(asked: &Asked<'_>, list: &ListRow, reason: &str) -> NewHeld {
    let message = asked.message;
    let who = order::who(message, asked.verdict, list.policy.proof);
    let recognised = crate::patchset::recognise(message);
    NewHeld {
        message_id: message.message_id.to_string(),
        subject: message.subject.clone(),
        author: message.author().name,
        address: who.address,
        reason: reason.to_owned(),
        verdict: asked.verdict.words(),
        series: SeriesKey::of(&recognised, &message.message_id, &message.parents),
        letter: None,
    }
}

impl Ctx {
    /// Takes the bytes out of a mail, parses them and looks at who speaks for it.
    pub(super) async fn read(&self, new: &mut NewMail) -> Result<Read, PipelineError> {
        let size = new.bytes.len();
        let received = Arc::new(std::mem::take(&mut new.bytes));
        let wire = Arc::clone(&received);
        let parsed = super::think_of(size, move || {
            let (lf, crlf) = mail::header::to_lf(&wire);
            let message = mail::parse(&lf);
            (message, lf.into_owned(), crlf)
        });
        let filter = self.ask_filter(new, &received);
        let facts = self.find_facts(new, Arc::clone(&received));
        let (parsed, facts, spam) = tokio::join!(parsed, facts, filter);
        let (message, bytes, crlf) = parsed?;
        let spam = self.spam_word(&message, new.protocol, spam);
        let facts = self.with_policy(&message, new.protocol, facts).await;
        let verdict = self.judge(&message, new.protocol, facts);
        Ok(Read {
            size,
            message,
            bytes,
            crlf,
            verdict,
            spam,
        })
    }

    /// What would become of a mail to a list, step by step; nothing is stored.
    pub async fn explain(
        &self,
        list: &ListRow,
        mut new: NewMail,
    ) -> Result<Outcome, PipelineError> {
        let now = self.store.time().await?;
        let read = self.read(&mut new).await?;
        let sender = new.sender.as_ref().map(Address::to_string);
        let asked = Asked {
            message: &read.message,
            verdict: &read.verdict,
            size: read.size,
            null_sender: sender.is_none(),
            sender: &sender.unwrap_or_default(),
            protocol: new.protocol,
            spam: read.spam,
        };
        self.decide(list, &Target::Post, &asked, now).await
    }

    /// What a list says of a mail to one of its addresses.
    pub(super) async fn decide(
        &self,
        list: &ListRow,
        target: &Target,
        asked: &Asked<'_>,
        now: Timestamp,
    ) -> Result<Outcome, PipelineError> {
        let known = match target {
            Target::Post => {
                let who = order::who(asked.message, asked.verdict, list.policy.proof);
                let asking = Asking {
                    address: &who.address,
                    sender: &asked.sender.to_lowercase(),
                    parents: &asked.message.parents,
                    identity: asked.message.identity,
                };
                self.store.load_sender(list, &asking, now).await?
            }
            _ => Known::default(),
        };
        let question = Question {
            message: asked.message,
            size: asked.size,
            null_sender: asked.null_sender,
            protocol: asked.protocol,
            verdict: asked.verdict,
            policy: &list.policy,
            list_id: &list_header::list_id(&list.address),
            help_url: &self.base_url,
            known: &known,
            spam: &asked.spam,
        };
        let mut outcome = policy::decide(target, &question);
        // What was removed comes back by no way.
        if !known.removed {
            outcome.decision = super::postmaster::take_all(list, outcome.decision);
        }
        Ok(outcome)
    }

    /// What DNS says about the sender; `None` if nobody looks.
    async fn find_facts(&self, new: &NewMail, bytes: Arc<Vec<u8>>) -> Option<Facts> {
        let checks = self.checks.as_ref()?;
        let client = new.ip.zip(new.sender.as_ref());
        let client = client.map(|(ip, sender)| Client {
            ip,
            helo: new.helo.clone(),
            sender: sender.to_string(),
            hostname: checks.hostname.clone(),
        });
        Some(checks.dns.facts(bytes, client).await)
    }

    /// The domain's policy also for mail without a signature that the server in front handed over: who believes its word takes
    /// its silence for a no. Without such a word nobody knows whether SPF spoke for the mail, and no policy is looked up.
    async fn with_policy(
        &self,
        message: &Message,
        protocol: Protocol,
        facts: Option<Facts>,
    ) -> Option<Facts> {
        let (checks, mut facts) = (self.checks.as_ref()?, facts?);
        let silent = facts.signatures.is_empty() && facts.spf.is_none() && facts.policy.is_none();
        let believes = protocol == Protocol::Lmtp && !checks.trusted_authserv_id.is_empty();
        if silent
            && believes
            && let Some(domain) = verdict::from_domain(message)
        {
            facts.policy = checks.dns.find_policy(&domain).await;
        }
        Some(facts)
    }

    fn judge(&self, message: &Message, protocol: Protocol, facts: Option<Facts>) -> Verdict {
        let Some((checks, mut facts)) = self.checks.as_ref().zip(facts) else {
            return Verdict::default();
        };
        // By SMTP comes whoever likes: only what the server in front hands over carries its word.
        if let Some(from) = verdict::from_domain(message).filter(|_| protocol == Protocol::Lmtp) {
            let id = &checks.trusted_authserv_id;
            facts.vouched = verdict::trusted_results(message, id, &from);
        }
        verdict::judge(message, facts)
    }
}
