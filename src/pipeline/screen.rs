//! Before `250`: may this mail come in, and for which of its recipients?

use std::collections::BTreeSet;
use std::net::IpAddr;

use sha2::Digest;

use super::ask::{Asked, Read, Taken};
use super::command::Errand;
use super::{Ctx, PipelineError};
use crate::list::address::{self, Target};
use crate::list::command::{self, Asking};
use crate::list::policy::Decision;
use crate::list::token;
use crate::mail::{self, Message};
use crate::session::{Protocol, Reply};
use crate::store::{ListRow, NewReceipt, Packer, Prepared, StoreError};
use crate::types::{Address, BlobHash, Identity, RealmId, Timestamp};
use crate::verdict::Verdict;

/// A mail as a session received it.
#[derive(Debug)]
pub struct NewMail {
    /// The bytes with CRLF, dot-stuffing undone.
    pub bytes: Vec<u8>,
    /// Envelope sender; `None` is the null sender.
    pub sender: Option<Address>,
    /// Envelope recipients, each of which was said to be taken.
    pub recipients: Vec<Address>,
    /// How it came.
    pub protocol: Protocol,
    /// The client that brought it to us, or to a trusted mail server in front of us; `None` where nobody knows.
    pub ip: Option<IpAddr>,
    /// What that client called itself, or empty.
    pub helo: String,
}

fn trouble() -> Reply {
    Reply::new(451, "4.3.0", "Trouble here, nothing was taken; come again")
}

impl Ctx {
    /// Whether an address takes mail at all.
    pub async fn check_recipient(&self, address: &Address) -> Result<(), Reply> {
        let found = self.find_target(address).await;
        let lapsed = match &found {
            Ok(Some((_, Target::Echo(Some(token))))) => {
                !self.knows_echo(token, crate::store::now())
            }
            _ => false,
        };
        match found {
            Ok(Some(_)) if !lapsed => Ok(()),
            Ok(_) => Err(self.no_such(address).await.unwrap_or_else(|_| trouble())),
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "could not look an address up"
                );
                Err(trouble())
            }
        }
    }

    /// What is said of an address that nothing reads; where the list is here, what it has instead.
    async fn no_such(&self, address: &Address) -> Result<Reply, PipelineError> {
        for (list, word) in address::beginnings(address) {
            if let Some(list) = self.store.find_list_by_address(&list).await? {
                let text = format!(
                    "{} has no address {word}; there are +subscribe, +unsubscribe, +nomail, +mail, +nodupes, +dupes, +noown, +own, +check, +remove, +help and +owner",
                    list.address
                );
                return Ok(Reply::new(550, "5.1.1", text));
            }
        }
        Ok(Reply::new(550, "5.1.1", "There is no such list here"))
    }

    pub(super) async fn find_target(
        &self,
        address: &Address,
    ) -> Result<Option<(ListRow, Target)>, PipelineError> {
        for (base, target) in address::readings(address) {
            if let Some(list) = self.store.find_list_by_address(&base).await? {
                return Ok(Some((list, target)));
            }
        }
        if let Some(list) = self.find_postmaster(address).await? {
            return Ok(Some((list, Target::Post)));
        }
        // `name@localhost` is what one types on the machine itself.
        match address.domain() {
            "localhost" => Ok(self
                .store
                .find_list(&address.local().to_lowercase())
                .await?
                .map(|l| (l, Target::Post))),
            _ => Ok(None),
        }
    }

    /// Decides for each recipient and stores the mail for those that take it, in one commit.
    ///
    /// The answers are in the order of the recipients, `Err` being any reply but "taken"; trouble with the store is 4xx for all, and nothing was taken.
    pub async fn screen(&self, new: NewMail) -> Vec<Result<(), Reply>> {
        let count = new.recipients.len();
        let now = crate::store::now();
        match self.try_screen(new, now).await {
            Ok(answers) => answers,
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "a mail was put off: {error}"
                );
                vec![Err(trouble()); count]
            }
        }
    }

    async fn try_screen(
        &self,
        mut new: NewMail,
        now: Timestamp,
    ) -> Result<Vec<Result<(), Reply>>, PipelineError> {
        let Read {
            size,
            message,
            bytes,
            crlf,
            verdict,
            spam,
        } = self.read(&mut new).await?;
        let sender = new
            .sender
            .as_ref()
            .map_or_else(String::new, Address::to_string);
        let mut answers = Vec::new();
        let mut taken: Vec<Taken> = Vec::new();
        let mut refused: Vec<(ListRow, Reply)> = Vec::new();
        let asked = Asked {
            message: &message,
            verdict: &verdict,
            size,
            null_sender: new.sender.is_none(),
            sender: &sender,
            protocol: new.protocol,
            spam,
        };
        for recipient in &new.recipients {
            let Some((mut list, target)) = self.find_target(recipient).await? else {
                answers.push(Err(self.no_such(recipient).await?));
                continue;
            };
            if self
                .take_echo(&target, &message, &bytes, &sender, now)
                .await?
            {
                answers.push(Ok(()));
                continue;
            }
            if let Some(said) = self
                .try_command(&list, &target, recipient, &new, (&asked, &bytes), now)
                .await?
            {
                answers.push(said);
                continue;
            }
            let mut outcome = self
                .decide(&list, &self.checked(target), &asked, now)
                .await?;
            if let Ok(Decision::Request(_)) = outcome.decision {
                let meant = std::mem::replace(&mut list, self.postmaster_list().await?);
                outcome = self.decide(&list, &Target::Post, &asked, now).await?;
                if let Ok(Decision::Accept) = outcome.decision {
                    self.pass_on(&meant, recipient, &asked, &bytes, now).await?;
                }
            }
            self.log(&list, &message, &new, &verdict, &outcome.decision);
            match outcome.decision.clone() {
                Ok(Decision::Accept | Decision::Hold(_)) => {
                    if taken.iter().all(|t| t.list.id != list.id) {
                        taken.push(Taken { list, outcome });
                    }
                    answers.push(Ok(()));
                }
                Ok(Decision::Moderate(token)) => {
                    self.moderate(&list, &token, &asked, now).await?;
                    answers.push(Ok(()));
                }
                Ok(other) => {
                    let reply = match &other {
                        Decision::Drop(why) => Err(Reply::dropped(why)),
                        _ => Ok(()),
                    };
                    let mail = (&message, bytes.as_slice(), &verdict);
                    self.note(&list, mail, &sender, other, now).await?;
                    answers.push(reply);
                }
                Err(reply) => {
                    refused.push((list, reply.clone()));
                    answers.push(Err(reply));
                }
            }
        }
        // A complaint may come to a person: to the postmaster, or to who runs a list.
        if answers.iter().any(Result::is_ok) {
            let mail = (&message, bytes.as_slice(), &verdict);
            self.take_complaint(mail, now).await?;
        }
        if !taken.is_empty() {
            let receipts = self.receipts(&taken, &asked, now).await?;
            let lists: Vec<ListRow> = taken.into_iter().map(|t| t.list).collect();
            let wire = (message.identity, bytes, crlf);
            self.keep(&lists, wire, verdict.clone(), receipts).await?;
            metrics::counter!("patchpost_mails_accepted").increment(1);
            self.note_refusals(&refused, &asked, now).await?;
        }
        Ok(answers)
    }

    /// Carries out what is asked of a list by the address it was asked at; `None` where that is no command, or one for people.
    async fn try_command(
        &self,
        list: &ListRow,
        target: &Target,
        recipient: &Address,
        new: &NewMail,
        (asked, bytes): (&Asked<'_>, &[u8]),
        now: Timestamp,
    ) -> Result<Option<Result<(), Reply>>, PipelineError> {
        let (message, verdict) = (asked.message, asked.verdict);
        let (Some(sender), Some(command)) = (
            &new.sender,
            command::read(target, &message.subject, &self.token_key),
        ) else {
            return Ok(None);
        };
        let asking = Asking {
            message,
            verdict,
            sender,
            recipient,
            protocol: new.protocol,
            now,
        };
        let errand = Errand {
            list,
            asking,
            ip: new.ip,
            asked,
            bytes,
        };
        let said = self.obey(&errand, command).await?;
        if said.is_some() {
            let decision = Ok(Decision::Request(command.word()));
            self.log(list, message, new, verdict, &decision);
        }
        Ok(said)
    }

    /// Stores a mail, given as (identity, bytes, came with CRLF), for the lists that take it. On return it is safe.
    async fn keep(
        &self,
        lists: &[ListRow],
        wire: (Identity, Vec<u8>, bool),
        verdict: Verdict,
        receipts: Vec<NewReceipt>,
    ) -> Result<(), PipelineError> {
        let packers = self.packers(lists).await?;
        let size = wire.1.len();
        let prepared = super::think_of(size, move || prepare(&packers, &[wire])).await??;
        let mut prepared = prepared.into_iter().next().expect("one mail in, one out");
        prepared.verdict = verdict;
        self.store.accept(prepared, receipts).await?;
        Ok(())
    }

    /// Notes a mail that no list wants and that nobody must be told of; one answer for each recipient.
    ///
    /// For what a mail server before us hands over: a refusal would become its bounce to a sender who may be forged.
    pub async fn drop_mail(&self, new: NewMail, why: &'static str) -> Vec<Result<(), Reply>> {
        let count = new.recipients.len();
        let noted = self.try_drop(new, why).await;
        let answer = noted.map_or_else(
            |error| {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "a mail was put off: {error}"
                );
                trouble()
            },
            |()| Reply::dropped(why),
        );
        vec![Err(answer); count]
    }

    async fn try_drop(&self, new: NewMail, why: &'static str) -> Result<(), PipelineError> {
        let (size, bytes) = (new.bytes.len(), new.bytes);
        let id = super::think_of(size, move || {
            mail::parse(&mail::header::to_lf(&bytes).0).message_id
        })
        .await?;
        let sender = new.sender.map_or_else(String::new, |s| s.to_string());
        let now = crate::store::now();
        for recipient in &new.recipients {
            if let Some((list, _)) = self.find_target(recipient).await? {
                tracing::info!(list.name = list.name, "mail for {}: drop: {why}", list.name);
                let detail = format!("{why}: {id}");
                self.store
                    .insert_event(&list, "dropped", sender.clone(), detail, now)
                    .await?;
            }
        }
        Ok(())
    }

    /// An address whose token is not one of ours takes nothing.
    fn checked(&self, target: Target) -> Target {
        match target {
            Target::Bounce(token) if !self.knows_return(&token) => Target::Answer("bounce", token),
            Target::Answer("mod", token)
                if token::parse_moderate(&self.token_key, &token).is_none() =>
            {
                Target::Answer("unknown", token)
            }
            other => other,
        }
    }

    /// One line a mail. Logs travel: of a list that is not public they say neither who wrote nor what the mail is called.
    fn log(
        &self,
        list: &ListRow,
        message: &Message,
        new: &NewMail,
        verdict: &Verdict,
        decision: &Result<Decision, Reply>,
    ) {
        let hash = data_encoding::HEXLOWER.encode(&message.identity.0[..8]);
        let sender = new.sender.as_ref().map(Address::to_string);
        let (id, sender, verdict) = match list.realm {
            RealmId::PUBLIC => (message.message_id.to_string(), sender, verdict.words()),
            _ => (hash, None, String::new()),
        };
        let decision = match decision {
            Ok(Decision::Accept) => "accept".to_owned(),
            Ok(Decision::Hold(_)) => "hold".to_owned(),
            Ok(Decision::Request(what)) => format!("request: {what}"),
            Ok(Decision::Bounce(_)) => "bounce".to_owned(),
            Ok(Decision::Moderate(_)) => "moderate".to_owned(),
            Ok(Decision::Drop(why)) => format!("drop: {why}"),
            Err(reply) => format!("refuse: {}", reply.code),
        };
        tracing::info!(
            list.name = list.name,
            message.id = id,
            mail.sender = sender.unwrap_or_default(),
            mail.verdict = verdict,
            client.ip = ?new.ip,
            decision = decision,
            "mail for {}: {id}",
            list.name
        );
    }

    /// What compresses mails for the realms of `lists`.
    pub(super) async fn packers(
        &self,
        lists: &[ListRow],
    ) -> Result<Vec<(RealmId, Packer)>, PipelineError> {
        let realms: BTreeSet<RealmId> = lists.iter().map(|l| l.realm).collect();
        let mut packers = Vec::with_capacity(realms.len());
        for realm in realms {
            packers.push((realm, self.store.packer(realm).await?));
        }
        Ok(packers)
    }

    /// Notes what is neither archived nor refused, for the people who run the list.
    async fn note(
        &self,
        list: &ListRow,
        mail: (&Message, &[u8], &Verdict),
        sender: &str,
        decision: Decision,
        now: Timestamp,
    ) -> Result<(), PipelineError> {
        let (kind, detail) = match decision {
            Decision::Bounce(token) => return self.take_bounce(&token, mail, now).await,
            Decision::Drop(why) => ("dropped", format!("{why}: {}", mail.0.message_id)),
            // These are stored whole.
            Decision::Accept | Decision::Hold(_) | Decision::Request(_) | Decision::Moderate(_) => {
                return Ok(());
            }
        };
        Ok(self
            .store
            .insert_event(list, kind, sender.to_owned(), detail, now)
            .await?)
    }
}

/// Hashes and compresses mails, given as (identity, bytes, came with CRLF), for the realms of `packers`. Their senders are
/// not judged yet.
pub(super) fn prepare<B: AsRef<[u8]>>(
    packers: &[(RealmId, Packer)],
    mails: &[(Identity, B, bool)],
) -> Result<Vec<Prepared>, StoreError> {
    let ready = |(identity, bytes, crlf): &(Identity, B, bool)| Prepared {
        identity: *identity,
        hash: BlobHash(sha2::Sha256::digest(bytes).into()),
        size: i64::try_from(bytes.as_ref().len()).unwrap_or(i64::MAX),
        crlf: *crlf,
        verdict: Verdict::default(),
        frames: Vec::new(),
    };
    let mut prepared: Vec<Prepared> = mails.iter().map(ready).collect();
    for (realm, packer) in packers {
        let frames = packer.pack(mails.iter().map(|m| m.1.as_ref()))?;
        for (mail, (dictionary, frame)) in prepared.iter_mut().zip(frames) {
            mail.frames.push((*realm, dictionary, frame));
        }
    }
    Ok(prepared)
}
