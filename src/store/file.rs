//! Filing, first half: a mail gets its place: message, node, thread, posting number, index entries.
//!
//! One transaction a batch; doing it twice changes nothing. Threads are the connected components of
//! References and In-Reply-To within a realm: a name that was only referred to is a node without a mail (a ghost), and a
//! mail that names two threads joins them. The smaller thread is relabelled and leaves an alias.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::sql::{self, Bind};
use super::{Dialect, Store, StoreError, Tx, index, marks};
use crate::types::{BlobHash, Identity, Job, ListId, MailId, MessageId, RealmId, Timestamp};
use crate::verdict::{Level, Verdict};

/// A mail as the pipeline understood it, ready to be filed for one list.
#[derive(Debug, Clone)]
pub struct NewMail {
    /// The list it was accepted for.
    pub list: ListId,
    /// Arrival.
    pub arrived: Timestamp,
    /// Imported: nobody gets a copy.
    pub import: bool,
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
}

impl Store {
    /// Files mails of one realm; returns the row of each, in order. Safe to repeat.
    pub async fn file_mails(
        &self,
        realm: RealmId,
        mails: Vec<NewMail>,
    ) -> Result<Vec<MailId>, StoreError> {
        let rows = self
            .write(move |tx| Box::pin(file(tx, realm, mails)))
            .await?;
        self.jobs.ring("fan-out");
        Ok(rows)
    }
}

async fn file(tx: &mut Tx, realm: RealmId, mails: Vec<NewMail>) -> Result<Vec<MailId>, StoreError> {
    lock_realm(tx, realm).await?;
    let nodes = place(tx, realm, &mails).await?;
    let (rows, new) = insert_mails(tx, realm, &mails, &nodes).await?;
    describe(tx, realm, &mails, &rows, &new, &nodes).await?;
    insert_postings(tx, &mails, &rows, &nodes).await?;
    let threads: BTreeSet<i64> = mails.iter().map(|m| nodes[&m.message_id].1).collect();
    let threads: Vec<i64> = threads.into_iter().collect();
    refresh_list_threads(tx, &threads).await?;
    raise(tx, realm, &threads).await?;
    Ok(rows)
}

/// Nodes by name: (row, thread).
type Nodes = HashMap<MessageId, (i64, i64)>;

/// Makes the nodes that the mails name and decides their threads.
async fn place(tx: &mut Tx, realm: RealmId, mails: &[NewMail]) -> Result<Nodes, StoreError> {
    let names: BTreeSet<&MessageId> = mails.iter().flat_map(names_of).collect();
    let rows = names
        .iter()
        .map(|n| vec![realm.0.into(), n.as_str().into(), 0.into()])
        .collect();
    tx.insert(
        "node (realm, message_id, thread)",
        rows,
        "on conflict (realm, message_id) do nothing",
    )
    .await?;
    let mut nodes = Nodes::new();
    let names: Vec<&MessageId> = names.into_iter().collect();
    for chunk in names.chunks(400) {
        let text = format!(
            "select id, message_id, thread from node where realm = ? and message_id in ({})",
            marks(chunk.len())
        );
        let mut binds = vec![Bind::from(realm.0)];
        binds.extend(chunk.iter().map(|n| Bind::from(n.as_str())));
        for (id, name, thread) in tx.fetch::<(i64, String, i64)>(text, binds).await? {
            if let Some(name) = MessageId::parse(&name) {
                nodes.insert(name, (id, thread));
            }
        }
    }
    let groups = group(mails, &nodes);
    settle(tx, realm, groups, &mut nodes).await?;
    Ok(nodes)
}

fn names_of(mail: &NewMail) -> impl Iterator<Item = &MessageId> {
    std::iter::once(&mail.message_id)
        .chain(&mail.aliases)
        .chain(&mail.parents)
}

/// Names that the mails tie together, as groups.
fn group(mails: &[NewMail], nodes: &Nodes) -> Vec<Vec<MessageId>> {
    let mut leader: HashMap<&MessageId, &MessageId> = HashMap::new();
    // Names of one existing thread belong together already.
    let mut by_thread: HashMap<i64, &MessageId> = HashMap::new();
    fn find<'a>(
        leader: &HashMap<&'a MessageId, &'a MessageId>,
        mut name: &'a MessageId,
    ) -> &'a MessageId {
        while let Some(next) = leader.get(name) {
            name = next;
        }
        name
    }
    let mut join = |a, b| {
        let (a, b) = (find(&leader, a), find(&leader, b));
        if a != b {
            leader.insert(a, b);
        }
    };
    for (name, (_, thread)) in nodes {
        if *thread != 0 {
            join(name, by_thread.entry(*thread).or_insert(name));
        }
    }
    for mail in mails {
        for name in names_of(mail).skip(1) {
            join(name, &mail.message_id);
        }
    }
    let mut groups: HashMap<&MessageId, Vec<MessageId>> = HashMap::new();
    for name in nodes.keys() {
        groups
            .entry(find(&leader, name))
            .or_default()
            .push(name.clone());
    }
    groups.into_values().collect()
}

/// Gives every group one thread: a new one, the one it has, or the largest of those that it joins.
async fn settle(
    tx: &mut Tx,
    realm: RealmId,
    groups: Vec<Vec<MessageId>>,
    nodes: &mut Nodes,
) -> Result<(), StoreError> {
    let mut fresh = Vec::new();
    let mut moved = Vec::new();
    for names in groups {
        let known: BTreeSet<i64> = names
            .iter()
            .map(|n| nodes[n].1)
            .filter(|t| *t != 0)
            .collect();
        match known.len() {
            0 => fresh.push(names),
            1 => moved.push((names, known.into_iter().next().unwrap_or_default())),
            _ => moved.push((names, join_threads(tx, known).await?)),
        }
    }
    let rows = vec![vec![realm.0.into(), 0.into()]; fresh.len()];
    let made = tx
        .insert("thread (realm, version)", rows, "returning id")
        .await?;
    for (names, row) in fresh.into_iter().zip(&made) {
        moved.push((names, sql::id(row)?));
    }
    let mut rows = Vec::new();
    for (names, thread) in moved {
        for name in names {
            if let Some(node) = nodes.get_mut(&name)
                && node.1 != thread
            {
                node.1 = thread;
                rows.push(vec![
                    node.0.into(),
                    realm.0.into(),
                    name.as_str().into(),
                    thread.into(),
                ]);
            }
        }
    }
    let tail = "on conflict (id) do update set thread = excluded.thread";
    tx.insert("node (id, realm, message_id, thread)", rows, tail)
        .await?;
    Ok(())
}

/// Relabels all but the largest of these threads and leaves aliases, so that old addresses live.
async fn join_threads(tx: &mut Tx, threads: BTreeSet<i64>) -> Result<i64, StoreError> {
    let text = format!(
        "select thread, count(*) from node where thread in ({}) group by thread",
        marks(threads.len())
    );
    let sizes: Vec<(i64, i64)> = tx
        .fetch(text, threads.iter().map(|t| Bind::from(*t)).collect())
        .await?;
    let largest = sizes
        .iter()
        .max_by_key(|(thread, size)| (*size, -thread))
        .map(|(thread, _)| *thread);
    let keep = largest
        .or_else(|| threads.first().copied())
        .unwrap_or_default();
    for thread in threads.into_iter().filter(|t| *t != keep) {
        let both = || vec![keep.into(), thread.into()];
        tx.execute("update node set thread = $1 where thread = $2", both())
            .await?;
        tx.execute(
            "update thread_alias set thread = $1 where thread = $2",
            both(),
        )
        .await?;
        let tail = "on conflict (old) do update set thread = excluded.thread";
        tx.insert("thread_alias (thread, old)", vec![both()], tail)
            .await?;
        tx.execute(
            "delete from list_thread where thread = $1",
            vec![thread.into()],
        )
        .await?;
    }
    Ok(keep)
}

/// Of each mail the copy whose sender is authenticated best, else the first.
fn best_copies(mails: &[NewMail]) -> HashMap<Identity, &NewMail> {
    let mut best: HashMap<Identity, &NewMail> = HashMap::new();
    for mail in mails {
        let known = best.entry(mail.identity).or_insert(mail);
        if known.verdict.level < mail.verdict.level {
            *known = mail;
        }
    }
    best
}

/// Inserts the messages that are not there yet or that came better authenticated; returns all rows and which are of these.
async fn insert_mails(
    tx: &mut Tx,
    realm: RealmId,
    mails: &[NewMail],
    nodes: &Nodes,
) -> Result<(Vec<MailId>, HashSet<MailId>), StoreError> {
    let first = best_copies(mails);
    let identities: Vec<Identity> = first.keys().copied().collect();
    let best = super::copy::load_best(tx, realm, &identities).await?;
    let mut rows = Vec::new();
    for mail in mails
        .iter()
        .filter(|m| std::ptr::eq(first[&m.identity], *m))
    {
        let node = nodes[&mail.message_id].0;
        let hash = best.get(&mail.identity).map_or(mail.hash, |b| b.hash);
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
            mail.arrived.0.into(),
            mail.size.into(),
            mail.flaws.as_str().into(),
            mail.kind.as_str().into(),
            mail.recognised.as_str().into(),
            mail.verdict.to_stored().into(),
            mail.verdict.level.number().into(),
            0.into(),
        ]);
    }
    let head = "mail (realm, identity, hash, node, message_id, subject, author, address, date, arrived, size, flaws, kind, \
                recognised, verdict, level, state)";
    // A better authenticated copy takes the place of the one before, in all that is shown of the mail.
    let tail = "on conflict (realm, identity) do update set hash = excluded.hash, size = excluded.size, \
                subject = excluded.subject, author = excluded.author, address = excluded.address, date = excluded.date, \
                flaws = excluded.flaws, kind = excluded.kind, recognised = excluded.recognised, \
                verdict = excluded.verdict, level = excluded.level where excluded.level > mail.level returning id";
    let made = tx.insert(head, rows, tail).await?;
    let new: HashSet<MailId> = made
        .iter()
        .map(|r| sql::id(r).map(MailId))
        .collect::<Result<_, _>>()?;
    let mut by_identity = HashMap::new();
    for chunk in mails.chunks(400) {
        let text = format!(
            "select id, identity from mail where realm = ? and identity in ({})",
            marks(chunk.len())
        );
        let mut binds = vec![Bind::from(realm.0)];
        binds.extend(chunk.iter().map(|m| Bind::from(m.identity.0)));
        by_identity.extend(
            tx.fetch::<(i64, Vec<u8>)>(text, binds)
                .await?
                .into_iter()
                .map(|(id, i)| (i, MailId(id))),
        );
    }
    let rows = mails
        .iter()
        .filter_map(|m| by_identity.get(m.identity.0.as_slice()).copied())
        .collect::<Vec<_>>();
    if rows.len() != mails.len() {
        return Err(StoreError::Unusable(
            "a message vanished while it was filed".to_owned(),
        ));
    }
    Ok((rows, new))
}

/// Removes what was said of messages of which a better copy came: it is written anew. Returns when these arrived first, by
/// which their entries are found.
async fn forget(tx: &mut Tx, mails: Vec<i64>) -> Result<HashMap<MailId, Timestamp>, StoreError> {
    let mut arrived = HashMap::new();
    for chunk in mails.chunks(400) {
        let list = marks(chunk.len());
        let binds = || chunk.iter().map(|m| Bind::from(*m)).collect::<Vec<_>>();
        let text = format!(
            "select m.id, m.arrived from mail m join body b on b.mail = m.id where m.id in ({list})"
        );
        let known: Vec<(i64, i64)> = tx.fetch(text, binds()).await?;
        if known.is_empty() {
            continue;
        }
        let known: Vec<(MailId, Timestamp)> = known
            .into_iter()
            .map(|(mail, time)| (MailId(mail), Timestamp(time)))
            .collect();
        for table in ["body", "alias", "link_key", "edge"] {
            let text = format!("delete from {table} where mail in ({list})");
            tx.execute(text, binds()).await?;
        }
        let place = |(mail, time): &(MailId, Timestamp)| index::position(*time, *mail);
        let places: Vec<i64> = known.iter().map(place).collect();
        index::remove(tx, &places).await?;
        arrived.extend(known);
    }
    Ok(arrived)
}

/// Edges, texts, further names, keys and index entries of the new messages.
async fn describe(
    tx: &mut Tx,
    realm: RealmId,
    mails: &[NewMail],
    rows: &[MailId],
    new: &HashSet<MailId>,
    nodes: &Nodes,
) -> Result<(), StoreError> {
    let best = best_copies(mails);
    let better = |(mail, row): (&NewMail, &MailId)| {
        // An import is never better than what is there.
        (mail.verdict.level > Level::Unchecked && new.contains(row)).then_some(row.0)
    };
    let better: BTreeSet<i64> = mails.iter().zip(rows).filter_map(better).collect();
    let arrived = forget(tx, better.into_iter().collect()).await?;
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
        let time = arrived.get(row).copied().unwrap_or(mail.arrived);
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
    rows: &[MailId],
    nodes: &Nodes,
) -> Result<(), StoreError> {
    let mut wanted: BTreeMap<ListId, Vec<(usize, MailId)>> = BTreeMap::new();
    for (at, (mail, row)) in mails.iter().zip(rows).enumerate() {
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
        let (mut postings, mut copies, mut jobs) = (vec![], vec![], vec![]);
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
                    mail.arrived.0.into(),
                ]);
                jobs.push((Job::FanOut(list, number), 0));
            }
        }
        tx.insert("posting (list, number, mail, node, arrived)", postings, "")
            .await?;
        let head = "fan_out (list, number, cursor, made, sent, failed, started)";
        tx.insert(head, copies, "on conflict do nothing").await?;
        super::job::insert(tx, &jobs, Timestamp(0)).await?;
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
