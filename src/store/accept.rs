//! Taking a mail in: blob, copy, receipts and the jobs that will file it, all in one commit.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::hold::{self, NewHeld};
use super::sql::{self, Bind};
use super::writer::{Tx, savepoint};
use super::{Store, StoreError};
use crate::types::{BlobHash, Identity, Job, ListId, RealmId, ReceiptId, Timestamp};
use crate::verdict::Verdict;

/// A mail made ready outside the writer: hashed and compressed.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// What makes copies the same mail.
    pub identity: Identity,
    /// SHA-256 of the stored bytes.
    pub hash: BlobHash,
    /// Length of the stored bytes.
    pub size: i64,
    /// Came with CRLF line ends throughout and is stored with LF.
    pub crlf: bool,
    /// What is known of its sender.
    pub verdict: Verdict,
    /// zstd frame per realm: (realm, dictionary id or 0, bytes).
    pub frames: Vec<(RealmId, i64, Vec<u8>)>,
}

/// One list's share of an accepted mail.
#[derive(Debug, Clone)]
pub struct NewReceipt {
    /// The list it is for.
    pub list: ListId,
    /// The list's realm.
    pub realm: RealmId,
    /// Envelope sender, empty for the null sender.
    pub sender: String,
    /// Arrival.
    pub arrived: Timestamp,
    /// `smtp`, `lmtp` or `import`.
    pub source: &'static str,
    /// The list does not know its sender.
    pub stranger: bool,
    /// When its copies may go; 0: at once.
    pub send_at: Timestamp,
    /// Set if a person looks at it first: then it is not filed until it is released.
    pub held: Option<Box<NewHeld>>,
}

/// What became of one receipt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepted {
    /// New, or better authenticated than the copies that came before: it will be filed.
    New(ReceiptId),
    /// The same mail was accepted for that list before; nothing new is owed.
    Known,
}

/// A mail and the receipts that are wanted for it.
pub(super) type Share = Arc<(Prepared, Vec<NewReceipt>)>;

/// An acceptance that waits for its commit.
pub(super) struct Pending {
    share: Share,
    result: Option<Result<Vec<Accepted>, StoreError>>,
    reply: oneshot::Sender<Result<Vec<Accepted>, StoreError>>,
}

impl Pending {
    pub(super) fn answer(self, commit: Result<(), StoreError>) {
        let answer = match (self.result, commit) {
            (Some(Ok(value)), Ok(())) => Ok(value),
            (Some(Err(error)), _) | (_, Err(error)) => Err(error),
            (None, Ok(())) => Err(StoreError::Temporary(sqlx::Error::WorkerCrashed)),
        };
        // The client may have hung up: the mail is kept all the same.
        let _gone = self.reply.send(answer);
    }
}

impl Store {
    /// Stores a mail for the lists that take it, with the jobs that will file it: all or nothing.
    ///
    /// Returns when the commit that carries it is flushed. A mail that is already there is not an error.
    /// The answers are in the order of `receipts`.
    pub async fn accept(
        &self,
        mail: Prepared,
        receipts: Vec<NewReceipt>,
    ) -> Result<Vec<Accepted>, StoreError> {
        let accepted = self
            .writer
            .accept(|reply| Pending {
                share: Arc::new((mail, receipts)),
                result: None,
                reply,
            })
            .await;
        self.answered(accepted).await
    }
}

impl Store {
    /// Stores many mails in the order given, as few commits as can be; the answers are in that order.
    pub async fn accept_all(
        &self,
        mails: Vec<(Prepared, NewReceipt)>,
    ) -> Result<Vec<Accepted>, StoreError> {
        let mut waiting = Vec::with_capacity(mails.len());
        for (mail, receipt) in mails {
            waiting.push(
                self.writer
                    .enqueue(|reply| Pending {
                        share: Arc::new((mail, vec![receipt])),
                        result: None,
                        reply,
                    })
                    .await?,
            );
        }
        let mut out = Ok(Vec::with_capacity(waiting.len()));
        for answer in waiting {
            let gone = Err(StoreError::Temporary(sqlx::Error::WorkerCrashed));
            match (&mut out, answer.await.unwrap_or(gone)) {
                (Ok(all), Ok(accepted)) => all.extend(accepted),
                (Ok(_), Err(error)) => out = Err(error),
                (Err(_), _) => {}
            }
        }
        self.answered(out).await
    }

    async fn answered(
        &self,
        accepted: Result<Vec<Accepted>, StoreError>,
    ) -> Result<Vec<Accepted>, StoreError> {
        self.jobs.ring("file");
        if accepted.is_err() {
            // A purge in another process may have put a new dictionary in the place of ours: the next try fits.
            self.load_dictionaries().await?;
        }
        accepted
    }
}

/// Runs all acceptances of a commit as multi-row statements; should those fail, each by itself.
/// Returns whether the connection is still sound.
///
/// `alone` is how to begin a transaction if nothing else is in this one: then it is the savepoint, and a mail that comes
/// alone is answered two steps of the database sooner.
pub(super) async fn run(tx: &mut Tx, mails: &mut [Pending], alone: Option<&'static str>) -> bool {
    let all: Vec<Share> = mails.iter().map(|p| Arc::clone(&p.share)).collect();
    let recorded = match alone {
        Some(begin) => match record(tx, all).await {
            Err(_) if tx.plain("rollback").await.is_err() || tx.plain(begin).await.is_err() => {
                return false;
            }
            result => result,
        },
        None => match savepoint(tx, |tx| Box::pin(record(tx, all))).await {
            Err(_) => return false,
            Ok(result) => result,
        },
    };
    if let Ok(results) = recorded {
        for (pending, result) in mails.iter_mut().zip(results) {
            pending.result = Some(Ok(result));
        }
        return true;
    }
    for pending in mails {
        let share = vec![Arc::clone(&pending.share)];
        match savepoint(tx, |tx| Box::pin(record(tx, share))).await {
            Err(_) => return false,
            Ok(result) => {
                pending.result = Some(result.map(|mut all| all.pop().unwrap_or_default()))
            }
        }
    }
    true
}

/// Files the receipt again if the new copy's sender is authenticated better than all before, with that copy, or if it
/// arrived earlier. Of a mail that is held, or was refused after that, only a copy that is authenticated better is decided on
/// anew, in the place of the one before: else whoever is faster with a forged copy would keep the true one out.
const AGAIN: &str = "on conflict (list, identity) do update set \
     hash = case when excluded.level > receipt.level then excluded.hash else receipt.hash end, \
     verdict = case when excluded.level > receipt.level then excluded.verdict else receipt.verdict end, \
     level = case when excluded.level > receipt.level then excluded.level else receipt.level end, \
     arrived = case when excluded.arrived < receipt.arrived then excluded.arrived else receipt.arrived end, \
     sender = case when receipt.state < 3 then receipt.sender else excluded.sender end, \
     stranger = case when receipt.state < 3 then receipt.stranger else excluded.stranger end, \
     send_at = case when receipt.state < 3 then receipt.send_at else excluded.send_at end, \
     state = case when receipt.state < 3 then 0 else excluded.state end, again = 1 \
     where excluded.level > receipt.level or (receipt.state < 3 and excluded.arrived < receipt.arrived) \
     returning id, list, identity, source, again, state";

/// Where the arrival stands in a receipt's row.
const ARRIVED: usize = 5;
/// And in that of a copy.
const ARRIVED_OF_COPY: usize = 3;

/// The rows that a batch makes, each once.
struct Rows {
    blobs: Vec<Vec<Bind>>,
    copies: Vec<Vec<Bind>>,
    receipts: Vec<Vec<Bind>>,
}

fn rows_of(mails: &[Share]) -> Rows {
    let mut blobs = Vec::new();
    // Of the same bytes: the earliest arrival, and what is known best of their sender.
    type Known = ((i64, std::cmp::Reverse<Timestamp>), Timestamp, Vec<Bind>);
    let mut copies: BTreeMap<(i64, Identity, BlobHash), Known> = BTreeMap::new();
    // Two copies of one mail in one commit are one row: the better one's, else the first's, with the earlier arrival.
    let mut receipts: BTreeMap<(i64, Identity), (usize, Vec<Bind>)> = BTreeMap::new();
    let mut earliest: BTreeMap<(i64, Identity), Timestamp> = BTreeMap::new();
    for (at, (mail, wanted)) in mails.iter().map(|share| &**share).enumerate() {
        for (realm, dictionary, frame) in &mail.frames {
            blobs.push(vec![
                realm.0.into(),
                mail.hash.0.into(),
                mail.size.into(),
                mail.crlf.into(),
                (*dictionary).into(),
                frame.clone().into(),
            ]);
        }
        let verdict = mail.verdict.to_stored();
        for r in wanted {
            let copy = vec![
                r.realm.0.into(),
                mail.identity.0.into(),
                mail.hash.0.into(),
                r.arrived.0.into(),
                verdict.as_str().into(),
                mail.verdict.level.rank().into(),
            ];
            let key = (r.realm.0, mail.identity, mail.hash);
            let this = (mail.verdict.level.rank(), std::cmp::Reverse(r.arrived));
            let (best, first, row) = copies
                .entry(key)
                .or_insert_with(|| (this, r.arrived, copy.clone()));
            *first = r.arrived.min(*first);
            if this > *best {
                (*best, *row) = (this, copy);
            }
            let key = (r.list.0, mail.identity);
            let first = earliest.entry(key).or_insert(r.arrived);
            *first = r.arrived.min(*first);
            let rank = mail.verdict.level.rank();
            let before = receipts.get(&key);
            if before.is_none_or(|(b, _)| mails[*b].0.verdict.level.rank() < rank) {
                receipts.insert(key, (at, receipt_row(mail, r, &verdict)));
            }
        }
    }
    for (key, (_, row)) in &mut receipts {
        if let Some(first) = earliest.get(key) {
            row[ARRIVED] = first.0.into();
        }
    }
    let mut receipts: Vec<(usize, Vec<Bind>)> = receipts.into_values().collect();
    receipts.sort_by_key(|(at, _)| *at);
    Rows {
        blobs,
        copies: copies
            .into_values()
            .map(|(_, first, mut row)| {
                row[ARRIVED_OF_COPY] = first.0.into();
                row
            })
            .collect(),
        receipts: receipts.into_iter().map(|(_, row)| row).collect(),
    }
}

fn receipt_row(mail: &Prepared, r: &NewReceipt, verdict: &str) -> Vec<Bind> {
    vec![
        r.realm.0.into(),
        r.list.0.into(),
        mail.identity.0.into(),
        mail.hash.0.into(),
        r.sender.as_str().into(),
        r.arrived.0.into(),
        r.source.into(),
        r.held.as_ref().map_or(0, |_| hold::HELD).into(),
        verdict.into(),
        mail.verdict.level.rank().into(),
        0.into(),
        r.stranger.into(),
        r.send_at.0.into(),
    ]
}

async fn record(tx: &mut Tx, mails: Vec<Share>) -> Result<Vec<Vec<Accepted>>, StoreError> {
    let Rows {
        blobs,
        copies,
        receipts,
    } = rows_of(&mails);
    let nothing = "on conflict do nothing";
    let head = "blob (realm, hash, size, crlf, dictionary, data)";
    tx.insert(head, blobs, nothing).await?;
    let head = "copy (realm, identity, hash, arrived, verdict, level)";
    let tail = "on conflict (realm, identity, hash) do update set \
         arrived = case when excluded.arrived < copy.arrived then excluded.arrived else copy.arrived end, \
         verdict = case when excluded.level > copy.level then excluded.verdict else copy.verdict end, \
         level = case when excluded.level > copy.level then excluded.level else copy.level end \
         where excluded.arrived < copy.arrived or excluded.level > copy.level";
    tx.insert(head, copies, tail).await?;
    let head = "receipt (realm, list, identity, hash, sender, arrived, source, state, verdict, level, again, stranger, send_at)";
    let rows = tx.insert(head, receipts, AGAIN).await?;
    let mut new = std::collections::HashMap::new();
    let (mut jobs, mut held, mut lists) = (Vec::new(), Vec::new(), Vec::new());
    let mut freed = Vec::new();
    for row in &rows {
        use sqlx::Row;
        let id = ReceiptId(sql::id(row)?);
        let (list, identity): (i64, Vec<u8>) = (row.try_get(1)?, row.try_get(2)?);
        let import = row.try_get::<String, _>(3)? == "import";
        match row.try_get::<i64, _>(5)? == hold::HELD {
            true => {
                lists.push(ListId(list));
                held.extend(hold::row_of(id, list, &identity, &mails));
            }
            false => jobs.push((Job::File(id), i64::from(import))),
        }
        match row.try_get::<i64, _>(4)? {
            0 => drop(new.insert((list, identity), id)),
            _ => freed.push(id.0),
        }
    }
    hold::free(tx, &freed).await?;
    super::job::insert(tx, &jobs, Timestamp(0)).await?;
    owe_another_look(tx, &mails).await?;
    let newest = mails.iter().flat_map(|m| &m.1).map(|r| r.arrived).max();
    hold::insert(tx, lists, held, newest.unwrap_or(Timestamp(0))).await?;
    // Two copies of one mail in one commit: the first gets the receipt, the second is known.
    let mut answers = Vec::new();
    let mut again: std::collections::BTreeMap<RealmId, Vec<Identity>> = Default::default();
    for (mail, wanted) in mails.iter().map(|share| &**share) {
        let mut one = |r: &NewReceipt| {
            let key = (r.list.0, mail.identity.0.to_vec());
            new.remove(&key).map_or(Accepted::Known, Accepted::New)
        };
        let all: Vec<Accepted> = wanted.iter().map(&mut one).collect();
        for (r, _) in wanted.iter().zip(&all).filter(|x| *x.1 == Accepted::Known) {
            again.entry(r.realm).or_default().push(mail.identity);
        }
        answers.push(all);
    }
    for (realm, identities) in again {
        super::copy::serve_best(tx, realm, &identities).await?;
        hold::forget_refused(tx, realm, &identities).await?;
    }
    Ok(answers)
}

/// Of mails about which DNS gave no answer more is asked later, also where another copy of them was there before.
async fn owe_another_look(tx: &mut Tx, mails: &[Share]) -> Result<(), StoreError> {
    for (mail, wanted) in mails.iter().map(|share| &**share) {
        if !mail.verdict.is_owed() {
            continue;
        }
        for r in wanted {
            let text = "select id from receipt where list = $1 and identity = $2 and level = 0";
            let binds = vec![r.list.0.into(), mail.identity.0.into()];
            let row: Option<(i64,)> = tx.fetch_one(text, binds).await?;
            let jobs: Vec<(Job, i64)> = row
                .into_iter()
                .map(|(id,)| (Job::Verify(ReceiptId(id)), 4))
                .collect();
            let at = r.arrived.plus_secs(super::verify::FIRST);
            super::job::insert_soonest(tx, &jobs, at).await?;
        }
    }
    Ok(())
}
