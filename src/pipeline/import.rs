//! Old mail into a list: the same acceptance and filing as live mail, but nobody gets a copy.

use super::screen::prepare;
use super::{Ctx, PipelineError};
use crate::mail;
use crate::store::{Accepted, ListRow, NewReceipt};
use crate::types::Timestamp;

/// What an import has done so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Imported {
    /// Mails read.
    pub read: u64,
    /// Mails that are new in the list.
    pub new: u64,
    /// Mails that were there already.
    pub known: u64,
}

/// An import into one list that goes batch by batch.
pub struct Import<'a> {
    ctx: &'a Ctx,
    list: ListRow,
    batch: Vec<(Vec<u8>, Option<Timestamp>)>,
    /// What was done.
    pub done: Imported,
}

/// Mails of one commit: short enough to let live mail through.
const BATCH: usize = 200;

impl<'a> Import<'a> {
    /// Begins an import.
    pub fn new(ctx: &'a Ctx, list: ListRow) -> Import<'a> {
        Import {
            ctx,
            list,
            batch: Vec::new(),
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

    /// Stores what is waiting; when this returns it is safe.
    pub async fn flush(&mut self) -> Result<(), PipelineError> {
        let batch = std::mem::take(&mut self.batch);
        let now = crate::store::now();
        let packers = self.ctx.packers(std::slice::from_ref(&self.list)).await?;
        let (prepared, arrivals) = super::think(move || {
            let read = |(bytes, commit): (Vec<u8>, Option<Timestamp>)| {
                let (lf, crlf) = mail::header::to_lf(&bytes);
                let message = mail::parse(&lf);
                let arrived = arrival(&message, commit, now);
                ((message.identity, lf.into_owned(), crlf), arrived)
            };
            let (mails, arrivals): (Vec<_>, Vec<_>) = batch.into_iter().map(read).unzip();
            prepare(&packers, &mails).map(|prepared| (prepared, arrivals))
        })
        .await??;
        let receipt = |arrived| NewReceipt {
            list: self.list.id,
            realm: self.list.realm,
            sender: String::new(),
            arrived,
            source: "import",
        };
        let mails = prepared
            .into_iter()
            .zip(arrivals.into_iter().map(receipt))
            .collect();
        for accepted in self.ctx.store.accept_all(mails).await? {
            self.done.read += 1;
            match accepted {
                Accepted::New(_) => self.done.new += 1,
                Accepted::Known => self.done.known += 1,
            }
        }
        Ok(())
    }
}

/// When an old mail arrived: its topmost Received, else the epoch's commit, else a sane Date, else now.
pub fn arrival(message: &mail::Message, commit: Option<Timestamp>, now: Timestamp) -> Timestamp {
    let sane = |t: &Timestamp| *t >= Timestamp::from_secs(315_532_800) && *t <= now;
    message
        .received
        .filter(sane)
        .or(commit)
        .or(message.date.filter(sane))
        .unwrap_or(now)
}
