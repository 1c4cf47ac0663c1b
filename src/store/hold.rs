//! Mail that a person looks at first: accepted and stored like any other, but without a number and a place until it is released.

use super::sql::Bind;
use super::traces::{self, Leaving};
use super::writer::Tx;
use super::{CappedLetter, Owed, Reader, Store, StoreError, job, marks};
use crate::list::held::SeriesKey;
use crate::list::settings::Bits;
use crate::types::{BlobHash, Identity, Job, ListId, RealmId, ReceiptId, Timestamp};

/// `receipt.state` of held mail.
pub(super) const HELD: i64 = 3;
/// `receipt.state` of mail that was rejected or dropped after it was held.
pub(super) const REFUSED: i64 = 4;

/// What is kept of a held mail beside its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewHeld {
    /// Its name.
    pub message_id: String,
    /// Decoded Subject.
    pub subject: String,
    /// Author's display name.
    pub author: String,
    /// Author's address in lower case; empty if there is none or more than one.
    pub address: String,
    /// Why it is held, in words.
    pub reason: String,
    /// The verdict in words.
    pub verdict: String,
    /// Which others are the same series.
    pub series: SeriesKey,
    /// What its author is told, if he is: it goes out once, within its limits.
    pub letter: Option<CappedLetter>,
}

/// A held mail as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct HeldRow {
    /// The number by which commands name it.
    pub id: i64,
    /// The list.
    #[serde(skip)]
    pub list_id: ListId,
    /// The list's realm.
    #[serde(skip)]
    pub realm: RealmId,
    /// The list's name.
    pub list: String,
    /// Its name.
    pub message_id: String,
    /// Decoded Subject.
    pub subject: String,
    /// Author's display name.
    pub author: String,
    /// Author's address in lower case.
    pub address: String,
    /// Length of the stored bytes.
    pub size: i64,
    /// Arrival, in microseconds since 1970.
    pub arrived: i64,
    /// Why it is held, in words.
    pub reason: String,
    /// The verdict in words.
    pub verdict: String,
    /// Whether the domain in From speaks for it.
    pub authenticated: bool,
    /// Which others are the same series.
    #[serde(skip)]
    pub series: SeriesKey,
}

/// What goes with a decision.
#[derive(Debug, Clone, Default)]
pub struct Also {
    /// Rights for the authors.
    pub rights: Option<Bits>,
    /// Letters, each with the held mail that it is about.
    pub letters: Vec<(i64, CappedLetter)>,
}

impl Also {
    /// What of it goes with some of the mails.
    fn of(&self, held: &[HeldRow]) -> Also {
        let ids: std::collections::HashSet<i64> = held.iter().map(|h| h.id).collect();
        let letters = self.letters.iter().filter(|(id, _)| ids.contains(id));
        Also {
            rights: self.rights,
            letters: letters.cloned().collect(),
        }
    }
}

/// Mails of one commit: others write meanwhile.
const AT_ONCE: usize = 256;

/// What a person decides about held mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It is filed now; copies go out.
    Accept,
    /// It is dropped; a mail with these words may go to its author.
    Reject(String),
    /// It is dropped.
    Discard,
    /// It is dropped, and what notes and letters say of it; the files are to be written anew ([`Store::scrub_realm`]).
    Purge,
    /// It is dropped: nobody decided in time.
    Expire,
}

impl Fate {
    /// The kind of the event that notes it.
    fn kind(&self) -> &'static str {
        match self {
            Fate::Accept => "accepted",
            Fate::Reject(_) => "rejected",
            Fate::Discard | Fate::Purge => "discarded",
            Fate::Expire => "expired",
        }
    }
}

const COLUMNS: &str = "select h.receipt, h.list, h.realm, l.name, h.message_id, h.subject, h.author, h.address, h.size, h.arrived, \
     h.reason, h.verdict, h.level, h.shape, h.root, h.sending from held h join list l on l.id = h.list";

type Row = (
    i64,
    i64,
    i64,
    String,
    String,
    String,
    String,
    String,
    i64,
    i64,
    String,
    String,
    i64,
    String,
    String,
    String,
);

fn held_row(row: Row) -> HeldRow {
    let (id, list_id, realm, list, message_id, subject, author, address, size, arrived, ..) = row;
    let (.., reason, verdict, level, shape, root, sending) = row;
    HeldRow {
        id,
        list_id: ListId(list_id),
        realm: RealmId(realm),
        list,
        message_id,
        subject,
        author,
        address,
        size,
        arrived,
        reason,
        verdict,
        authenticated: level == 1,
        series: SeriesKey {
            shape,
            root,
            sending,
        },
    }
}

impl Reader {
    /// Held mail by the order of arrival here, of one list if that is given, above `after`.
    pub async fn load_held(
        &self,
        list: Option<ListId>,
        after: i64,
        limit: i64,
    ) -> Result<Vec<HeldRow>, StoreError> {
        let mut text = format!("{COLUMNS} where h.receipt > ?");
        let mut binds: Vec<Bind> = vec![after.into()];
        if let Some(list) = list {
            text.push_str(" and h.list = ?");
            binds.push(list.0.into());
        }
        text.push_str(" order by h.receipt limit ?");
        binds.push(limit.into());
        let rows: Vec<Row> = self.fetch(text, binds).await?;
        Ok(rows.into_iter().map(held_row).collect())
    }

    /// A held mail, if it is held still.
    pub async fn find_held(&self, id: i64) -> Result<Option<HeldRow>, StoreError> {
        let text = format!("{COLUMNS} where h.receipt = ?");
        let row: Option<Row> = self.fetch_one(text, vec![id.into()]).await?;
        Ok(row.map(held_row))
    }

    /// Held mails of a list from one address that are authenticated alike: among them are those of its series.
    pub async fn load_held_beside(&self, held: &HeldRow) -> Result<Vec<HeldRow>, StoreError> {
        let text = format!(
            "{COLUMNS} where h.list = ? and h.address = ? and h.level = ? order by h.receipt"
        );
        let level = i64::from(held.authenticated);
        let binds = vec![
            held.list_id.0.into(),
            held.address.as_str().into(),
            level.into(),
        ];
        let rows: Vec<Row> = self.fetch(text, binds).await?;
        Ok(rows.into_iter().map(held_row).collect())
    }

    /// Mails of a list that are held since before a moment.
    pub async fn load_held_before(
        &self,
        list: ListId,
        before: Timestamp,
        limit: i64,
    ) -> Result<Vec<HeldRow>, StoreError> {
        let text = format!("{COLUMNS} where h.list = ? and h.since < ? order by h.receipt limit ?");
        let binds = vec![list.0.into(), before.0.into(), limit.into()];
        let rows: Vec<Row> = self.fetch(text, binds).await?;
        Ok(rows.into_iter().map(held_row).collect())
    }

    /// Held mails of a list that its moderators were not told of, at most some thousands.
    pub async fn load_untold(&self, list: ListId) -> Result<Vec<HeldRow>, StoreError> {
        let text =
            format!("{COLUMNS} where h.list = ? and h.told = 0 order by h.receipt limit 10000");
        let rows: Vec<Row> = self.fetch(text, vec![list.0.into()]).await?;
        Ok(rows.into_iter().map(held_row).collect())
    }

    /// How many mails of a list are held since before a moment, and since when the first of them.
    pub async fn count_held_before(
        &self,
        list: ListId,
        before: Timestamp,
    ) -> Result<(i64, Option<Timestamp>), StoreError> {
        let text = "select count(*), min(since) from held where list = $1 and since < $2";
        let binds = vec![list.0.into(), before.0.into()];
        let row: Option<(i64, Option<i64>)> = self.fetch_one(text, binds).await?;
        let (count, oldest) = row.unwrap_or((0, None));
        Ok((count, oldest.map(Timestamp)))
    }

    /// How often these mails were taken back.
    pub async fn load_turns(
        &self,
        ids: &[ReceiptId],
    ) -> Result<std::collections::HashMap<i64, i64>, StoreError> {
        let text = format!(
            "select id, turn from receipt where id in ({})",
            marks(ids.len())
        );
        let binds = ids.iter().map(|id| Bind::from(id.0)).collect();
        let rows: Vec<(i64, i64)> = self.fetch(text, binds).await?;
        Ok(rows.into_iter().collect())
    }

    /// How many seconds each of the last mails of a list was held that somebody let through or rejected.
    pub async fn load_held_times(&self, list: ListId) -> Result<Vec<i64>, StoreError> {
        // What expired or was discarded says nothing of how long mail waits that is wanted.
        let text = "select e.happened - r.arrived from (select id, kind, receipt, happened from event where list = $1 order by id desc limit 2000) e \
             join receipt r on r.id = e.receipt where e.kind in ('accepted', 'rejected') order by e.id desc limit 20";
        let rows: Vec<(i64,)> = self.fetch(text, vec![list.0.into()]).await?;
        Ok(rows.into_iter().map(|r| r.0 / 1_000_000).collect())
    }

    /// How many mails are held, and since when the oldest of them.
    pub async fn count_held(&self) -> Result<(i64, Option<Timestamp>), StoreError> {
        let text = "select count(*), min(since) from held";
        let row: Option<(i64, Option<i64>)> = self.fetch_one(text, vec![]).await?;
        let (count, oldest) = row.unwrap_or((0, None));
        Ok((count, oldest.map(Timestamp)))
    }
}

impl Store {
    /// Owes letters to moderators as far as their limits allow, and notes of the mails that one which goes out is about that they
    /// know of them; of the others they do not.
    pub async fn record_told(
        &self,
        letters: Vec<(Vec<i64>, CappedLetter)>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                for (told, letter) in letters {
                    if super::notice::insert(tx, letter, now).await? != Owed::Yes {
                        continue;
                    }
                    for chunk in told.chunks(400) {
                        let text = "update held set told = 1 where receipt in (..)";
                        super::purge::on(tx, text, chunk).await?;
                    }
                }
                Ok(())
            })
        })
        .await?;
        self.deliveries.notify_one();
        Ok(())
    }

    /// Owes a look at every list that holds mail.
    pub async fn owe_held(&self, now: Timestamp) -> Result<(), StoreError> {
        let lists: Vec<(i64,)> = self.fetch("select distinct list from held", vec![]).await?;
        let jobs: Vec<(Job, i64)> = lists.iter().map(|l| (Job::Hold(ListId(l.0)), 6)).collect();
        if jobs.is_empty() {
            return Ok(());
        }
        self.insert_jobs(jobs, now).await
    }

    /// Does with held mails what was decided, some hundred a commit, with a note for each; those that are held no longer are left
    /// alone. With `rights`, the authors get them; letters go out about those that it was done with. Returns the mails that it was done with.
    pub async fn decide_held(
        &self,
        held: Vec<HeldRow>,
        fate: Fate,
        also: Also,
        (actor, now): (String, Timestamp),
    ) -> Result<Vec<HeldRow>, StoreError> {
        let mut done = Vec::new();
        for chunk in held.chunks(AT_ONCE) {
            let (chunk, fate, also) = (chunk.to_vec(), fate.clone(), also.of(chunk));
            let actor = actor.clone();
            let some = self
                .write(move |tx| Box::pin(decide(tx, (chunk, fate, also), (actor, now))))
                .await?;
            done.extend(some);
        }
        self.jobs.ring("file");
        self.deliveries.notify_one();
        Ok(done)
    }
}

/// As [`Store::decide_held`], in one commit.
pub(super) async fn decide(
    tx: &mut Tx,
    (held, fate, also): (Vec<HeldRow>, Fate, Also),
    (actor, now): (String, Timestamp),
) -> Result<Vec<HeldRow>, StoreError> {
    let mut done = Vec::new();
    for chunk in held.chunks(200) {
        let text = format!(
            "delete from held where receipt in ({}) returning receipt",
            marks(chunk.len())
        );
        let binds = chunk.iter().map(|h| Bind::from(h.id)).collect();
        let gone: Vec<(i64,)> = tx.fetch(text, binds).await?;
        done.extend(chunk.iter().filter(|h| gone.contains(&(h.id,))).cloned());
    }
    let ids: Vec<i64> = done.iter().map(|h| h.id).collect();
    match fate {
        Fate::Accept => release(tx, &ids, now).await?,
        _ => refuse(tx, &done, &ids).await?,
    }
    if fate == Fate::Purge {
        forget_words(tx, &done, now).await?;
    }
    if let Some(bits) = also.rights {
        let row = |h: &HeldRow| (h.list_id, h.address.clone());
        let mut people: Vec<(ListId, String)> = done.iter().map(row).collect();
        people.sort();
        people.dedup();
        people.retain(|(_, address)| !address.is_empty());
        super::access::give(tx, people, bits, now).await?;
    }
    let note = |h: &HeldRow| {
        let detail = match &fate {
            Fate::Reject(words) => format!("{}, from {}: {words}", h.message_id, h.address),
            Fate::Purge => "a mail, for ever".to_owned(),
            _ => format!("{}, from {}; held as {}", h.message_id, h.address, h.reason),
        };
        super::event::Note {
            realm: h.realm,
            list: h.list_id,
            kind: fate.kind(),
            actor: actor.clone(),
            detail,
            receipt: Some(h.id),
        }
    };
    super::event::insert(tx, done.iter().map(note).collect(), now).await?;
    for (id, letter) in also.letters {
        if ids.contains(&id) {
            super::notice::insert(tx, letter, now).await?;
        }
    }
    Ok(done)
}

/// Deletes what their lists say of held mails, and owes that the files are written anew.
async fn forget_words(tx: &mut Tx, held: &[HeldRow], now: Timestamp) -> Result<(), StoreError> {
    let mut lists: std::collections::BTreeMap<(RealmId, ListId), Vec<Leaving<'_>>> =
        Default::default();
    for one in held {
        let text = "select identity from receipt where id = $1";
        let row: Option<(Vec<u8>,)> = tx.fetch_one(text, vec![one.id.into()]).await?;
        let leaving = row.map(|(identity,)| Leaving {
            identity,
            message_id: &one.message_id,
            receipts: vec![one.id],
        });
        let all = lists.entry((one.realm, one.list_id)).or_default();
        all.extend(leaving);
    }
    for ((realm, list), mails) in lists {
        traces::forget(tx, realm, Some(list), &mails).await?;
        super::scrub::owe(tx, realm, now).await?;
    }
    Ok(())
}

/// From here on they are mails like any other.
async fn release(tx: &mut Tx, ids: &[i64], now: Timestamp) -> Result<(), StoreError> {
    for chunk in ids.chunks(400) {
        let text = format!(
            "update receipt set state = 0, send_at = ? where id in ({})",
            marks(chunk.len())
        );
        let ids = chunk.iter().map(|id| Bind::from(*id));
        let binds = std::iter::once(Bind::from(now.0)).chain(ids).collect();
        tx.execute(text, binds).await?;
    }
    let jobs: Vec<(Job, i64)> = ids
        .iter()
        .map(|id| (Job::File(ReceiptId(*id)), 0))
        .collect();
    job::insert(tx, &jobs, Timestamp(0)).await
}

/// Of these only what tells a resend stays.
async fn refuse(tx: &mut Tx, held: &[HeldRow], ids: &[i64]) -> Result<(), StoreError> {
    for chunk in ids.chunks(400) {
        let text = format!(
            "update receipt set state = {REFUSED}, sender = '', verdict = '' where id in ({})",
            marks(chunk.len())
        );
        let binds = chunk.iter().map(|id| Bind::from(*id)).collect();
        tx.execute(text, binds).await?;
    }
    let mut realms: std::collections::BTreeMap<RealmId, Vec<i64>> = Default::default();
    for one in held {
        realms.entry(one.realm).or_default().push(one.id);
    }
    for (realm, ids) in realms {
        for chunk in ids.chunks(400) {
            let text = format!(
                "select identity from receipt where id in ({})",
                marks(chunk.len())
            );
            let binds = chunk.iter().map(|id| Bind::from(*id)).collect();
            let rows: Vec<(Vec<u8>,)> = tx.fetch(text, binds).await?;
            forget(tx, realm, rows.into_iter().map(|r| r.0).collect()).await?;
        }
    }
    Ok(())
}

/// Drops the bytes of mails that every list which had them refused: a resend brought them again.
pub(super) async fn forget_refused(
    tx: &mut Tx,
    realm: RealmId,
    identities: &[Identity],
) -> Result<(), StoreError> {
    let all: Vec<Vec<u8>> = identities.iter().map(|i| i.0.to_vec()).collect();
    for chunk in all.chunks(400) {
        forget(tx, realm, chunk.to_vec()).await?;
    }
    Ok(())
}

/// Deletes blobs and copies of those of these mails for which no list has a use.
async fn forget(tx: &mut Tx, realm: RealmId, identities: Vec<Vec<u8>>) -> Result<(), StoreError> {
    let rows = marks(identities.len());
    let text = format!(
        "select identity from receipt where realm = ? and identity in ({rows}) and not exists \
         (select 1 from mail m where m.realm = receipt.realm and m.identity = receipt.identity and m.state = 0) \
         group by identity having min(state) >= {REFUSED}"
    );
    let binds = |identities: Vec<Vec<u8>>| {
        let all = identities.into_iter().map(Bind::from);
        std::iter::once(Bind::from(realm.0)).chain(all).collect()
    };
    let dead: Vec<(Vec<u8>,)> = tx.fetch(text, binds(identities)).await?;
    let dead: Vec<Vec<u8>> = dead.into_iter().map(|r| r.0).collect();
    if dead.is_empty() {
        return Ok(());
    }
    let rows = marks(dead.len());
    let text = format!(
        "delete from blob where (realm, hash) in (select realm, hash from copy where realm = ? and identity in ({rows}))"
    );
    tx.execute(text, binds(dead.clone())).await?;
    let text = format!("delete from copy where realm = ? and identity in ({rows})");
    tx.execute(text, binds(dead)).await.map(|_| ())
}

/// The row of a receipt that is held, out of the mails of its commit, and the letter to its author.
pub(super) fn row_of(
    id: ReceiptId,
    list: i64,
    identity: &[u8],
    mails: &[super::accept::Share],
) -> Option<(Vec<Bind>, Option<CappedLetter>)> {
    let copies = mails.iter().filter(|share| share.0.identity.0 == identity);
    let copies = copies.filter_map(|share| {
        let (mail, receipts) = &**share;
        let receipt = receipts.iter().find(|r| r.list.0 == list)?;
        Some((mail, receipt, receipt.held.as_ref()?))
    });
    // Of two copies in one commit the first of the best authenticated ones, as for the receipt.
    let best = copies.min_by_key(|c| std::cmp::Reverse(c.0.verdict.level.rank()));
    best.map(|(mail, receipt, held)| {
        let BlobHash(hash) = mail.hash;
        let letter = held.letter.clone().map(|l| l.about(vec![id.0]));
        let row = vec![
            id.0.into(),
            list.into(),
            receipt.realm.0.into(),
            identity.to_vec().into(),
            hash.into(),
            held.message_id.as_str().into(),
            held.subject.as_str().into(),
            held.author.as_str().into(),
            held.address.as_str().into(),
            mail.size.into(),
            receipt.arrived.0.into(),
            receipt.arrived.0.into(),
            held.reason.as_str().into(),
            held.verdict.as_str().into(),
            mail.verdict.level.rank().into(),
            held.series.shape.as_str().into(),
            held.series.root.as_str().into(),
            held.series.sending.as_str().into(),
            0.into(),
        ];
        (row, letter)
    })
}

/// The copies that were held of these receipts are held no longer; better ones came.
pub(super) async fn free(tx: &mut Tx, receipts: &[i64]) -> Result<(), StoreError> {
    for chunk in receipts.chunks(400) {
        super::purge::on(tx, "delete from held where receipt in (..)", chunk).await?;
    }
    Ok(())
}

/// Mails that are held within so many seconds are told of together.
const COMPANY: i64 = 5;

/// Holds mails, given with their lists, and owes word of it to the moderators and to authors.
pub(super) async fn insert(
    tx: &mut Tx,
    lists: Vec<ListId>,
    held: Vec<(Vec<Bind>, Option<CappedLetter>)>,
    arrived: Timestamp,
) -> Result<(), StoreError> {
    let (rows, letters): (Vec<_>, Vec<_>) = held.into_iter().unzip();
    if rows.is_empty() {
        return Ok(());
    }
    let lists: std::collections::BTreeSet<ListId> = lists.into_iter().collect();
    let jobs: Vec<(Job, i64)> = lists.into_iter().map(|l| (Job::Hold(l), 2)).collect();
    job::insert_soonest(tx, &jobs, arrived.plus_secs(COMPANY)).await?;
    insert_rows(tx, rows).await?;
    for letter in letters.into_iter().flatten() {
        super::notice::insert(tx, letter, arrived).await?;
    }
    Ok(())
}

/// Holds mails, in the order of the table's columns.
pub(super) async fn insert_rows(tx: &mut Tx, rows: Vec<Vec<Bind>>) -> Result<(), StoreError> {
    let head = "held (receipt, list, realm, identity, hash, message_id, subject, author, address, size, arrived, since, reason, \
                verdict, level, shape, root, sending, told)";
    tx.insert(head, rows, "on conflict do nothing").await?;
    Ok(())
}
