//! Old mail into a list: the same acceptance and filing as live mail, but nobody gets a copy.

use std::collections::HashMap;

use super::file::{Owed, understand};
use super::screen::prepare;
use super::{Ctx, PipelineError};
use crate::mail;
use crate::store::job::Held;
use crate::store::{Accepted, ListRow, NewMail, NewReceipt, Packer, Prepared, StoreError};
use crate::types::{Identity, Job, RealmId, ReceiptId, Timestamp};
use crate::verdict::Verdict;

/// What an import has done so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Imported {
    /// Mails read.
    pub read: u64,
    /// Mails that are new in the list.
    pub new: u64,
    /// Mails that were there already.
    pub known: u64,
    /// Mails that were removed here and do not come back.
    pub removed: u64,
}

/// An import into one list that goes batch by batch: while one is read, the one before it is filed.
pub struct Import<'a> {
    ctx: &'a Ctx,
    list: ListRow,
    batch: Vec<(Vec<u8>, Option<Timestamp>)>,
    /// Stored, with jobs to file them; understood already.
    stored: Vec<(ReceiptId, NewMail)>,
    /// What was done.
    pub done: Imported,
}

/// Mails of one commit: short enough to let live mail through.
const BATCH: usize = 256;

impl<'a> Import<'a> {
    /// Begins an import.
    pub fn new(ctx: &'a Ctx, list: ListRow) -> Import<'a> {
        Import {
            ctx,
            list,
            batch: Vec::new(),
            stored: Vec::new(),
            done: Imported::default(),
        }
    }

    /// Adds a mail; `commit` is when an epoch took it in.
    pub async fn add(
        &mut self,
        bytes: Vec<u8>,
        commit: Option<Timestamp>,
    ) -> Result<(), PipelineError> {
        self.batch.push((bytes, commit));
        if self.batch.len() >= BATCH {
            self.flush().await
        } else {
            Ok(())
        }
    }

    /// Stores what is waiting; when this returns it is safe, and the batch before it is filed.
    pub async fn flush(&mut self) -> Result<(), PipelineError> {
        let batch = std::mem::take(&mut self.batch);
        let before = std::mem::take(&mut self.stored);
        let packers = self.ctx.packers(std::slice::from_ref(&self.list)).await?;
        let (list, now) = (self.list.clone(), crate::store::now());
        let reading = super::think(move || read(batch, &packers, &list, now));
        let (ready, ()) = tokio::join!(reading, self.file(before));
        let mut ready = ready??;
        let all: Vec<Identity> = ready.iter().map(|r| r.0.0.identity).collect();
        let barred = self.ctx.store.find_barred(self.list.realm, &all).await?;
        let count = ready.len();
        ready.retain(|r| !barred.contains(&r.0.0.identity));
        let removed = (count - ready.len()) as u64;
        self.done.read += removed;
        self.done.removed += removed;
        let (mails, understood): (Vec<_>, Vec<_>) = ready.into_iter().unzip();
        let answers = self.ctx.store.accept_all(mails).await?;
        for (accepted, mail) in answers.into_iter().zip(understood) {
            self.done.read += 1;
            match accepted {
                Accepted::New(id) => {
                    self.done.new += 1;
                    self.stored.push((id, mail));
                }
                Accepted::Known => self.done.known += 1,
            }
        }
        Ok(())
    }

    /// Stores and files all that is left.
    pub async fn finish(&mut self) -> Result<(), PipelineError> {
        self.flush().await?;
        let last = std::mem::take(&mut self.stored);
        self.file(last).await;
        Ok(())
    }

    /// Files what was stored, as far as nobody else has begun to. What fails is left to the worker, which tries mail by mail.
    async fn file(&self, stored: Vec<(ReceiptId, NewMail)>) {
        if let Err(error) = self.try_file(stored).await {
            tracing::warn!(%error, "imported mails could not be filed together; they are owed");
        }
    }

    async fn try_file(&self, stored: Vec<(ReceiptId, NewMail)>) -> Result<(), PipelineError> {
        let receipts: Vec<ReceiptId> = stored.iter().map(|(id, _)| *id).collect();
        let wanted = receipts.iter().map(|id| Job::File(*id)).collect();
        let claims = self
            .ctx
            .store
            .claim_these(wanted, self.ctx.store.time().await?)
            .await?;
        let jobs: HashMap<ReceiptId, Held> = claims
            .iter()
            .filter_map(|claim| match claim.job {
                Job::File(receipt) => Some((receipt, claim.held())),
                _ => None,
            })
            .collect();
        let ours = stored.into_iter().filter(|(id, _)| jobs.contains_key(id));
        let (ids, mails): (Vec<ReceiptId>, Vec<NewMail>) = ours.unzip();
        let jobs = jobs.into_values().collect();
        let realm = self.list.realm;
        let filed = self
            .ctx
            .file_understood(realm, ids, mails, jobs, true)
            .await;
        if filed.is_err() {
            for claim in claims {
                let now = crate::store::now();
                self.ctx.store.fail_job(claim, String::new(), now).await?;
            }
        }
        filed?;
        self.learn(realm).await
    }

    /// Trains the realm's dictionary if that is owed now: what follows is stored with it.
    async fn learn(&self, realm: RealmId) -> Result<(), PipelineError> {
        let (owed, now) = (vec![Job::Learn(realm)], self.ctx.store.time().await?);
        for claim in self.ctx.store.claim_these(owed, now).await? {
            self.ctx.learn(realm, claim.held()).await?;
        }
        Ok(())
    }
}

/// What is stored first, and what is filed then.
type Ready = ((Prepared, NewReceipt), NewMail);

/// The thinking of a batch: parsed, hashed, compressed and understood.
fn read(
    batch: Vec<(Vec<u8>, Option<Timestamp>)>,
    packers: &[(RealmId, Packer)],
    list: &ListRow,
    now: Timestamp,
) -> Result<Vec<Ready>, StoreError> {
    let mut messages = Vec::with_capacity(batch.len());
    let mut mails = Vec::with_capacity(batch.len());
    for (bytes, commit) in batch {
        let (lf, crlf) = mail::header::to_lf(&bytes);
        let message = mail::parse(&lf);
        let arrived = arrival(&message, commit, now);
        mails.push((message.identity, lf.into_owned(), crlf));
        messages.push((message, arrived));
    }
    let prepared = prepare(packers, &mails)?;
    let mut ready = Vec::with_capacity(mails.len());
    for ((prepared, (message, arrived)), (_, bytes, _)) in
        prepared.into_iter().zip(messages).zip(&mails)
    {
        let owed = Owed {
            list: list.id,
            arrived,
            import: true,
            send_at: Timestamp(0),
            hash: prepared.hash,
            // Keys of old mail are gone, and who brings it is trusted: nobody looks.
            verdict: Verdict::default(),
        };
        let receipt = NewReceipt {
            list: list.id,
            realm: list.realm,
            sender: String::new(),
            arrived,
            source: "import",
            stranger: false,
            send_at: Timestamp(0),
            held: None,
        };
        let understood = understand(message, bytes.len(), &owed, false);
        ready.push(((prepared, receipt), understood));
    }
    Ok(ready)
}

/// When an old mail arrived: its topmost Received, else the epoch's commit, else its Date, else now. Whatever says a time
/// before 1980 or after now is passed over.
pub fn arrival(message: &mail::Message, commit: Option<Timestamp>, now: Timestamp) -> Timestamp {
    let sane = |t: &Timestamp| *t >= Timestamp::from_secs(315_532_800) && *t <= now;
    message
        .received
        .filter(sane)
        .or(commit.filter(sane))
        .or(message.date.filter(sane))
        .unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(mail: &str, commit: Option<i64>, expected: i64) {
        let message = mail::parse(mail.as_bytes());
        let now = Timestamp::from_secs(1_800_000_000);
        let arrived = arrival(&message, commit.map(Timestamp::from_secs), now);
        assert_eq!(
            arrived,
            Timestamp::from_secs(expected),
            "{mail:?} {commit:?}"
        );
    }

    #[test]
    fn no_clock_of_others_puts_a_mail_before_1980_or_behind_now() {
        let received = "Received: by a; Mon, 15 Jan 2024 08:00:00 +0000\n\n";
        let date = "Date: Mon, 15 Jan 2024 08:00:00 +0000\n\n";
        let (then, now) = (1_705_305_600, 1_800_000_000);
        check(received, Some(1_600_000_000), then);
        check("\n", Some(1_600_000_000), 1_600_000_000);
        for commit in [0, -1, 4_070_908_800, 17_179_869_184, i64::MAX / 2_000_000] {
            check(date, Some(commit), then);
            check("\n", Some(commit), now);
        }
        check("Date: Thu, 1 Jan 2099 00:00:00 +0000\n\n", None, now);
        check("Date: Thu, 1 Jan 1970 00:00:00 +0000\n\n", None, now);
    }
}
