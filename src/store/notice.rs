//! Automatic mails within their limits: counted and owed in one transaction, so that no number of requests at once gets past one.

use super::letter::{self, NewLetter};
use super::writer::Tx;
use super::{Bind, Dialect, Reader, Store, StoreError, bounce};
use crate::list::notice::{ASK, Cap};
use crate::list::score;
use crate::types::Timestamp;

/// A letter that is only owed while its limits allow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CappedLetter {
    /// The letter.
    pub letter: NewLetter,
    /// The limits.
    pub cap: Cap,
    /// The recipient as it is counted (`list::notice::counted`).
    pub counted: String,
    /// The network that caused it, as it is counted (`list::notice::counted_source`); may be empty.
    pub source: String,
}

impl CappedLetter {
    /// Says of which mails, by their receipts, it has words: it goes with them.
    pub fn about(mut self, receipts: Vec<i64>) -> CappedLetter {
        self.letter.about = receipts;
        self
    }
}

/// What became of a [`CappedLetter`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owed {
    /// It goes out.
    Yes,
    /// The address has had enough.
    EnoughForAddress,
    /// The network has caused enough.
    EnoughFromSource,
}

const HOUR: i64 = 3_600;
const DAY: i64 = 24 * HOUR;

/// Letters of a kind that a source caused since a moment.
const CAUSED: &str = "select count(*) from notice where source = $1 and made > $2 and cap = $3";

fn caused_binds(source: &str, cap: &Cap, now: Timestamp) -> Vec<Bind> {
    vec![
        source.into(),
        now.plus_secs(-HOUR).0.into(),
        cap.name.into(),
    ]
}

impl Reader {
    /// Whether a source has caused as many letters of a kind as it may for now.
    pub async fn has_caused_enough(
        &self,
        source: &str,
        cap: &Cap,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let count: Option<(i64,)> = self
            .fetch_one(CAUSED, caused_binds(source, cap, now))
            .await?;
        Ok(count.is_some_and(|c| c.0 >= cap.per_source))
    }
}

impl Store {
    /// Owes a letter if its limits allow it, and counts it.
    pub async fn insert_capped_letter(
        &self,
        letter: CappedLetter,
        now: Timestamp,
    ) -> Result<Owed, StoreError> {
        let owed = self
            .write(move |tx| Box::pin(async move { insert(tx, letter, now).await }))
            .await?;
        if owed == Owed::Yes {
            self.deliveries.notify_one();
        }
        Ok(owed)
    }
}

/// As [`Store::insert_capped_letter`], in a transaction that has more to do: who calls rings `deliveries` after it.
pub(super) async fn insert(
    tx: &mut Tx,
    letter: CappedLetter,
    now: Timestamp,
) -> Result<Owed, StoreError> {
    let owed = count(tx, &letter, now).await?;
    if owed == Owed::Yes {
        letter::insert(tx, vec![letter.letter], now).await?;
    }
    Ok(owed)
}

/// Counts a letter as if it went out.
pub(super) async fn count(
    tx: &mut Tx,
    letter: &CappedLetter,
    now: Timestamp,
) -> Result<Owed, StoreError> {
    let full = look(tx, letter, now).await?;
    if full != Owed::Yes {
        return Ok(full);
    }
    if tx.dialect == Dialect::Postgres {
        // Several processes may write: they take turns here, so that each counts what the others owed.
        let turn = "insert into meta (key, value) values ('notices', '') on conflict (key) do update set value = excluded.value";
        tx.execute(turn, vec![]).await?;
        let full = look(tx, letter, now).await?;
        if full != Owed::Yes {
            return Ok(full);
        }
    }
    let old = now.plus_secs(-2 * DAY).0;
    tx.execute("delete from notice where made < $1", vec![old.into()])
        .await?;
    let row = vec![
        letter.cap.name.into(),
        letter.counted.as_str().into(),
        letter.letter.list.map_or(0, |l| l.0).into(),
        letter.source.as_str().into(),
        now.0.into(),
    ];
    let head = "notice (cap, address, list, source, made)";
    tx.insert(head, vec![row], "").await?;
    Ok(Owed::Yes)
}

async fn look(tx: &mut Tx, letter: &CappedLetter, now: Timestamp) -> Result<Owed, StoreError> {
    // Who called a copy spam is asked nothing for a while.
    let since = now.plus_secs(-score::COMPLAINT_DAYS * DAY);
    if letter.cap == ASK && bounce::has_complained(tx, &letter.counted, since).await? {
        return Ok(Owed::EnoughForAddress);
    }
    let text = "select count(*), cast(coalesce(sum(case when list = $1 then 1 else 0 end), 0) as bigint) \
         from notice where address = $2 and cap = $3 and made > $4";
    let binds = vec![
        letter.letter.list.map_or(0, |l| l.0).into(),
        letter.counted.as_str().into(),
        letter.cap.name.into(),
        now.plus_secs(-DAY).0.into(),
    ];
    let counts: Option<(i64, i64)> = tx.fetch_one(text, binds).await?;
    let (all, here) = counts.unwrap_or((0, 0));
    if here >= letter.cap.per_list || all >= letter.cap.per_address {
        return Ok(Owed::EnoughForAddress);
    }
    if letter.source.is_empty() {
        return Ok(Owed::Yes);
    }
    let binds = caused_binds(&letter.source, &letter.cap, now);
    let count: Option<(i64,)> = tx.fetch_one(CAUSED, binds).await?;
    match count.is_some_and(|c| c.0 >= letter.cap.per_source) {
        true => Ok(Owed::EnoughFromSource),
        false => Ok(Owed::Yes),
    }
}
