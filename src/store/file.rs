//! Filing, first half: a mail gets its place: message, node, thread, posting number, index entries.
//!
//! One transaction a batch; doing it twice changes nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::copy::{Copies, load_best};
use super::place::{Nodes, place};
use super::sql::{self, Bind};
use super::{Dialect, Store, StoreError, Tx, index, marks};
use crate::types::{
    BlobHash, Identity, Job, ListId, MailId, MessageId, RealmId, ReceiptId, Timestamp,
};
use crate::verdict::Verdict;

/// A mail as the pipeline understood it, ready to be filed for one list.
#[derive(Debug, Clone)]
pub struct NewMail {
    /// The list it was accepted for.
    pub list: ListId,
    /// Arrival.
    pub arrived: Timestamp,
    /// Imported: nobody gets a copy.
    pub import: bool,
    /// When its copies may go; 0: at once.
    pub send_at: Timestamp,
    /// What makes copies the same mail.
    pub identity: Identity,
    /// The stored bytes.
    pub hash: BlobHash,
    /// Length of the stored bytes.
    pub size: i64,
    /// Its name.
    pub message_id: MessageId,
    /// Its further names.
    pub aliases: Vec<MessageId>,
    /// Nearest ancestor first.
    pub parents: Vec<MessageId>,
    /// Decoded Subject.
    pub subject: String,
    /// Author's display name.
    pub author: String,
    /// Author's address as written.
    pub address: String,
    /// The Date field.
    pub date: Option<Timestamp>,
    /// Names of flaws, blank-separated.
    pub flaws: String,
    /// `patch`, `cover`, `comment`, `pull-request` or `plain`.
    pub kind: String,
    /// JSON of what was recognised.
    pub recognised: String,
    /// What is known of its sender.
    pub verdict: Verdict,
    /// What a reader sees.
    pub text: String,
    /// What is indexed of it.
    pub entry: index::Entry,
    /// Keys by which mails of other threads may belong to the same patchset.
    pub keys: Vec<String>,
    /// It wishes something for a series (`patchset::steer`).
    pub wishing: bool,
}

impl Store {
    /// Files mails of one realm, each for the receipt beside it; returns the row of each, in order, `None` for those that are
    /// held or refused by now. Safe to repeat.
    pub async fn file_mails(
        &self,
        realm: RealmId,
        mails: Vec<(ReceiptId, NewMail)>,
    ) -> Result<Vec<Option<MailId>>, StoreError> {
        let rows = self
            .write(move |tx| Box::pin(file(tx, realm, mails)))
            .await?;
        self.jobs.ring("fan-out");
        Ok(rows)
    }
}

async fn file(
    tx: &mut Tx,
    realm: RealmId,
    mails: Vec<(ReceiptId, NewMail)>,
) -> Result<Vec<Option<MailId>>, StoreError> {
    lock_realm(tx, realm).await?;
    // Whoever took a mail back meanwhile had the realm before us.
    let all: Vec<ReceiptId> = mails.iter().map(|m| m.0).collect();
    let owed = owed(tx, &all).await?;
    let owed = mails.into_iter().filter(|m| owed.contains(&m.0)).collect();
    let (known, mails) = known_of(tx, realm, owed).await?;
    let (receipts, mails): (Vec<ReceiptId>, Vec<NewMail>) = mails.into_iter().unzip();
    if mails.is_empty() {
        return Ok(vec![None; all.len()]);
    }
    let nodes = place(tx, realm, &mails).await?;
    let filed = insert_mails(tx, realm, &mails, &nodes, known).await?;
    describe(tx, realm, &mails, &filed, &nodes).await?;
    insert_postings(tx, &mails, &filed, &nodes).await?;
    let threads: BTreeSet<i64> = mails.iter().map(|m| nodes[&m.message_id].1).collect();
    let threads: Vec<i64> = threads.into_iter().collect();
    refresh_list_threads(tx, &threads).await?;
    raise(tx, realm, &threads).await?;
    let rows: HashMap<ReceiptId, MailId> = receipts.into_iter().zip(filed.rows).collect();
    Ok(all.iter().map(|r| rows.get(r).copied()).collect())
}

/// Those of these receipts that are to be filed: not held, and not refused.
async fn owed(tx: &mut Tx, receipts: &[ReceiptId]) -> Result<HashSet<ReceiptId>, StoreError> {
    let mut owed = HashSet::new();
    for chunk in receipts.chunks(400) {
        let text = format!(
            "select id from receipt where state < {} and id in ({})",
            super::hold::HELD,
            marks(chunk.len())
        );
        let binds = chunk.iter().map(|r| Bind::from(r.0)).collect();
        let rows: Vec<(i64,)> = tx.fetch(text, binds).await?;
        owed.extend(rows.into_iter().map(|r| ReceiptId(r.0)));
    }
    Ok(owed)
}

/// What is stored of mails: their copies, and their rows.
struct Known {
    copies: HashMap<Identity, Copies>,
    rows: HashMap<Identity, Row>,
}

impl Known {
    /// Whether a mail was read from the copy that is to be served, or nothing of it changes.
    fn is_current(&self, mail: &NewMail) -> bool {
        let Some(Copies { best, first }) = self.copies.get(&mail.identity) else {
            return true;
        };
        let shown =
            |row: &Row| row.hash == best.hash && row.level >= best.rank && row.arrived <= *first;
        let own = mail.hash == best.hash && mail.verdict.level.rank() >= best.rank;
        own || self.rows.get(&mail.identity).is_some_and(shown)
    }
}

/// A stored mail.
struct Row {
    id: MailId,
    arrived: Timestamp,
    hash: BlobHash,
    level: i64,
}

/// What is known of these mails, and those of them that were read from the copy that is to be served. For the others that is owed
/// once more: a better copy came while they were thought about.
async fn known_of(
    tx: &mut Tx,
    realm: RealmId,
    mails: Vec<(ReceiptId, NewMail)>,
) -> Result<(Known, Vec<(ReceiptId, NewMail)>), StoreError> {
    let identities: BTreeSet<Identity> = mails.iter().map(|m| m.1.identity).collect();
    let identities: Vec<Identity> = identities.into_iter().collect();
    let copies = load_best(tx, realm, &identities).await?;
    let rows = load_rows(tx, realm, &identities).await?;
    let known = Known { copies, rows };
    let (current, late): (Vec<_>, Vec<_>) = mails.into_iter().partition(|m| known.is_current(&m.1));
    let jobs: Vec<(Job, i64)> = late.iter().map(|m| (Job::File(m.0), 0)).collect();
    super::job::insert(tx, &jobs, Timestamp(0)).await?;
    Ok((known, current))
}

/// Of each mail the copy whose sender is authenticated best, else the first.
fn best_copies(mails: &[NewMail]) -> HashMap<Identity, &NewMail> {
    let mut best: HashMap<Identity, &NewMail> = HashMap::new();
    for mail in mails {
        let known = best.entry(mail.identity).or_insert(mail);
        if known.verdict.level.rank() < mail.verdict.level.rank() {
            *known = mail;
        }
    }
    best
}

/// What became of a batch of mails.
struct Filed {
    /// The row of each.
    rows: Vec<MailId>,
    /// Those that were not there, or that came better authenticated, or that had arrived earlier than was known.
    new: HashSet<MailId>,
    /// Arrivals of those that were there before: by these their index entries are found.
    before: HashMap<MailId, Timestamp>,
    /// Arrivals as they are now, of each mail that is new.
    arrived: HashMap<MailId, Timestamp>,
}

/// What a better copy changes of a mail.
const SHOWN: [&str; 11] = [
    "hash",
    "size",
    "subject",
    "author",
    "address",
    "date",
    "flaws",
    "kind",
    "recognised",
    "verdict",
    "level",
];

/// Inserts the messages that are not there yet; a better copy, or one that is better authenticated now, takes the place of the one
/// before in all that is shown of the mail, and a mail has arrived when its first copy did, in whichever order they are filed.
async fn insert_mails(
    tx: &mut Tx,
    realm: RealmId,
    mails: &[NewMail],
    nodes: &Nodes,
    known: Known,
) -> Result<Filed, StoreError> {
    let first = best_copies(mails);
    let identities: Vec<Identity> = first.keys().copied().collect();
    let Known { copies, rows } = known;
    let before: HashMap<MailId, Timestamp> =
        rows.into_values().map(|r| (r.id, r.arrived)).collect();
    let mut rows = Vec::new();
    for mail in mails
        .iter()
        .filter(|m| std::ptr::eq(first[&m.identity], *m))
    {
        let node = nodes[&mail.message_id].0;
        let known = copies.get(&mail.identity);
        let hash = known.map_or(mail.hash, |b| b.best.hash);
        let arrived = known.map_or(mail.arrived, |b| b.first.min(mail.arrived));
        rows.push(vec![
            realm.0.into(),
            mail.identity.0.into(),
            hash.0.into(),
            node.into(),
            mail.message_id.as_str().into(),
            mail.subject.as_str().into(),
            mail.author.as_str().into(),
            mail.address.as_str().into(),
            mail.date.map(|d| d.0).into(),
            arrived.0.into(),
            mail.size.into(),
            mail.flaws.as_str().into(),
            mail.kind.as_str().into(),
            mail.recognised.as_str().into(),
            mail.verdict.to_stored().into(),
            mail.verdict.level.rank().into(),
            0.into(),
        ]);
    }
    let head = "mail (realm, identity, hash, node, message_id, subject, author, address, date, arrived, size, flaws, kind, \
                recognised, verdict, level, state)";
    let (better, earlier) = (
        "(excluded.hash <> mail.hash or excluded.level > mail.level)",
        "excluded.arrived < mail.arrived",
    );
    let set = |c: &&str| format!("{c} = case when {better} then excluded.{c} else mail.{c} end");
    let sets: Vec<String> = SHOWN.iter().map(set).collect();
    let tail = format!(
        "on conflict (realm, identity) do update set {}, arrived = case when {earlier} then excluded.arrived else mail.arrived end \
         where {better} or {earlier} returning id",
        sets.join(", ")
    );
    let made = tx.insert(head, rows, &tail).await?;
    let new: HashSet<MailId> = made
        .iter()
        .map(|r| sql::id(r).map(MailId))
        .collect::<Result<_, _>>()?;
    let now = load_rows(tx, realm, &identities).await?;
    let rows: Vec<MailId> = mails
        .iter()
        .filter_map(|m| now.get(&m.identity).map(|row| row.id))
        .collect();
    if rows.len() != mails.len() {
        return Err(StoreError::Unusable(
            "a message vanished while it was filed".to_owned(),
        ));
    }
    let arrived = now.into_values().map(|r| (r.id, r.arrived)).collect();
    Ok(Filed {
        rows,
        new,
        before,
        arrived,
    })
}

/// The rows of mails that are there.
async fn load_rows(
    tx: &mut Tx,
    realm: RealmId,
    identities: &[Identity],
) -> Result<HashMap<Identity, Row>, StoreError> {
    let mut found = HashMap::new();
    for chunk in identities.chunks(400) {
        let text = format!(
            "select id, identity, arrived, hash, level from mail where realm = ? and identity in ({})",
            marks(chunk.len())
        );
        let mut binds = vec![Bind::from(realm.0)];
        binds.extend(chunk.iter().map(|i| Bind::from(i.0)));
        type Stored = (i64, Vec<u8>, i64, Vec<u8>, i64);
        for (id, identity, arrived, hash, level) in tx.fetch::<Stored>(text, binds).await? {
            let identity = Identity(super::mail::hash_of(identity)?.0);
            let (id, arrived) = (MailId(id), Timestamp(arrived));
            let row = Row {
                id,
                arrived,
                hash: super::mail::hash_of(hash)?,
                level,
            };
            found.insert(identity, row);
        }
    }
    Ok(found)
}

/// Removes what was said of messages that are described anew, given with the arrival by which their entries are found.
async fn forget(tx: &mut Tx, mails: &[(MailId, Timestamp)]) -> Result<(), StoreError> {
    for chunk in mails.chunks(400) {
        let list = marks(chunk.len());
        for table in ["body", "alias", "link_key", "edge"] {
            let text = format!("delete from {table} where mail in ({list})");
            let binds = chunk.iter().map(|(m, _)| Bind::from(m.0)).collect();
            tx.execute(text, binds).await?;
        }
        let place = |(mail, time): &(MailId, Timestamp)| index::position(*time, *mail);
        let places: Vec<i64> = chunk.iter().map(place).collect();
        index::remove(tx, &places).await?;
    }
    Ok(())
}

/// Edges, texts, further names, keys and index entries of the new messages.
async fn describe(
    tx: &mut Tx,
    realm: RealmId,
    mails: &[NewMail],
    filed: &Filed,
    nodes: &Nodes,
) -> Result<(), StoreError> {
    let best = best_copies(mails);
    let (rows, new) = (&filed.rows, &filed.new);
    let again: Vec<(MailId, Timestamp)> = filed
        .before
        .iter()
        .filter(|(mail, _)| new.contains(mail))
        .map(|(mail, arrived)| (*mail, *arrived))
        .collect();
    forget(tx, &again).await?;
    let (mut edges, mut bodies, mut aliases, mut keys, mut entries) =
        (vec![], vec![], vec![], vec![], vec![]);
    for (mail, row) in mails.iter().zip(rows).filter(|(_, row)| new.contains(row)) {
        if !std::ptr::eq(best[&mail.identity], mail) {
            continue;
        }
        let child = nodes[&mail.message_id].0;
        for (position, parent) in (0i64..).zip(&mail.parents) {
            let parent = nodes[parent].0;
            if parent != child {
                edges.push(vec![
                    row.0.into(),
                    child.into(),
                    parent.into(),
                    position.into(),
                ]);
            }
        }
        bodies.push(vec![row.0.into(), mail.text.as_str().into()]);
        aliases.extend(
            mail.aliases
                .iter()
                .map(|a| vec![realm.0.into(), a.as_str().into(), row.0.into()]),
        );
        keys.extend(
            mail.keys
                .iter()
                .map(|k| vec![realm.0.into(), k.as_str().into(), row.0.into()]),
        );
        let time = filed.arrived.get(row).copied().unwrap_or(mail.arrived);
        entries.push((index::position(time, *row), mail.entry.clone()));
    }
    tx.insert(
        "edge (mail, child, parent, position)",
        edges,
        "on conflict do nothing",
    )
    .await?;
    tx.insert("body (mail, text)", bodies, "on conflict do nothing")
        .await?;
    tx.insert(
        "alias (realm, message_id, mail)",
        aliases,
        "on conflict do nothing",
    )
    .await?;
    tx.insert(
        "link_key (realm, key, mail)",
        keys,
        "on conflict do nothing",
    )
    .await?;
    index::insert(tx, entries).await
}

/// Gives each mail its number in its list, in the order of arrival here, and owes copies to the members.
async fn insert_postings(
    tx: &mut Tx,
    mails: &[NewMail],
    filed: &Filed,
    nodes: &Nodes,
) -> Result<(), StoreError> {
    let mut wanted: BTreeMap<ListId, Vec<(usize, MailId)>> = BTreeMap::new();
    for (at, (mail, row)) in mails.iter().zip(&filed.rows).enumerate() {
        wanted.entry(mail.list).or_default().push((at, *row));
    }
    for (list, mut share) in wanted {
        let mut there = HashSet::new();
        for chunk in share.chunks(400) {
            let text = format!(
                "select mail from posting where list = ? and mail in ({})",
                marks(chunk.len())
            );
            let mut binds = vec![Bind::from(list.0)];
            binds.extend(chunk.iter().map(|(_, m)| Bind::from(m.0)));
            there.extend(
                tx.fetch::<(i64,)>(text, binds)
                    .await?
                    .into_iter()
                    .map(|r| MailId(r.0)),
            );
        }
        for (at, mail) in share.iter().filter(|(_, m)| there.contains(m)) {
            // A copy that came earlier than what is there is rare: one statement each.
            if filed.new.contains(mail) {
                let text = "update posting set arrived = $1 where list = $2 and mail = $3 and arrived > $1";
                let binds = vec![mails[*at].arrived.0.into(), list.0.into(), mail.0.into()];
                tx.execute(text, binds).await?;
            }
        }
        share.retain(|(_, mail)| there.insert(*mail));
        if share.is_empty() {
            continue;
        }
        let count = i64::try_from(share.len()).unwrap_or(i64::MAX);
        let text =
            "update list set last_number = last_number + $1 where id = $2 returning last_number";
        let Some((last,)) = tx
            .fetch_one::<(i64,)>(text, vec![count.into(), list.0.into()])
            .await?
        else {
            return Err(StoreError::Refused(format!("list {list} is gone")));
        };
        // Whoever joins later gets no copy of what was posted before: where nobody is, none is owed.
        let text = "select id from member where list = $1 and mail = 1 limit 1";
        let live = share.iter().any(|(at, _)| !mails[*at].import);
        let owed = live
            && tx
                .fetch_one::<(i64,)>(text, vec![list.0.into()])
                .await?
                .is_some();
        let (mut postings, mut copies) = (vec![], vec![]);
        let mut jobs: BTreeMap<Timestamp, Vec<(Job, i64)>> = BTreeMap::new();
        for (number, (at, row)) in (last - count + 1..).zip(share) {
            let mail = &mails[at];
            let node = nodes[&mail.message_id].0;
            postings.push(vec![
                list.0.into(),
                number.into(),
                row.0.into(),
                node.into(),
                mail.arrived.0.into(),
            ]);
            if owed && !mail.import {
                let zero = || Bind::from(0);
                copies.push(vec![
                    list.0.into(),
                    number.into(),
                    zero(),
                    zero(),
                    zero(),
                    zero(),
                    // What was held begins when it was released.
                    mail.arrived.max(mail.send_at).0.into(),
                ]);
                let jobs = jobs.entry(mail.send_at).or_default();
                jobs.push((Job::FanOut(list, number), 0));
            }
        }
        tx.insert("posting (list, number, mail, node, arrived)", postings, "")
            .await?;
        let head = "fan_out (list, number, cursor, made, sent, failed, started)";
        tx.insert(head, copies, "on conflict do nothing").await?;
        // Those that go at once, and perhaps a few that wait.
        for (at, jobs) in jobs {
            super::job::insert(tx, &jobs, at).await?;
        }
    }
    Ok(())
}

/// Makes the lines of these threads on the front pages of all their lists anew.
pub(super) async fn refresh_list_threads(tx: &mut Tx, threads: &[i64]) -> Result<(), StoreError> {
    for chunk in threads.chunks(200) {
        let list = marks(chunk.len());
        let binds = || chunk.iter().map(|t| Bind::from(*t)).collect::<Vec<_>>();
        let text = format!(
            "select p.list, n.thread, p.mail from posting p join node n on n.id = p.node where n.thread in ({list}) \
             and not exists (select 1 from edge e join mail m on m.node = e.parent where e.child = p.node) \
             order by p.arrived desc, p.number desc"
        );
        let roots: Vec<(i64, i64, i64)> = tx.fetch(text, binds()).await?;
        // The last one seen is the earliest: it gives the thread its title.
        let roots: HashMap<(i64, i64), i64> = roots
            .into_iter()
            .map(|(list, thread, mail)| ((list, thread), mail))
            .collect();
        let text = format!(
            "select p.list, n.thread, min(p.number), max(p.number), max(p.arrived), count(*), min(p.mail) \
             from posting p join node n on n.id = p.node where n.thread in ({list}) group by p.list, n.thread"
        );
        let mut rows = Vec::new();
        for row in tx
            .fetch::<(i64, i64, i64, i64, i64, i64, i64)>(text, binds())
            .await?
        {
            let (list, thread, first, last, arrived, postings, any) = row;
            let root = roots.get(&(list, thread)).copied().unwrap_or(any);
            rows.push(
                [list, thread, first, last, arrived, postings, root]
                    .map(Bind::from)
                    .to_vec(),
            );
        }
        tx.execute(
            format!("delete from list_thread where thread in ({list})"),
            binds(),
        )
        .await?;
        let head = "list_thread (list, thread, first_number, last_number, last_arrived, postings, root_mail)";
        tx.insert(head, rows, "").await?;
    }
    Ok(())
}

/// The realm's version. Other writers of the realm wait from here until this transaction ends: threads that one joins
/// and another adds to, and groups that both read alike, would else be written over each other.
pub(super) async fn lock_realm(tx: &mut Tx, realm: RealmId) -> Result<Option<i64>, StoreError> {
    let text = match tx.dialect {
        // There is one writer at a time anyway.
        Dialect::Sqlite => "select version from realm where id = $1",
        Dialect::Postgres => "select version from realm where id = $1 for update",
    };
    let row: Option<(i64,)> = tx.fetch_one(text, vec![realm.0.into()]).await?;
    Ok(row.map(|r| r.0))
}

/// Raises what pages and computations are keyed by.
pub(super) async fn raise(tx: &mut Tx, realm: RealmId, threads: &[i64]) -> Result<(), StoreError> {
    for chunk in threads.chunks(400) {
        let text = format!(
            "update thread set version = version + 1 where id in ({})",
            marks(chunk.len())
        );
        tx.execute(text, chunk.iter().map(|t| Bind::from(*t)).collect())
            .await?;
    }
    tx.execute(
        "update realm set version = version + 1 where id = $1",
        vec![realm.0.into()],
    )
    .await?;
    Ok(())
}
