//! Threads: the connected components of References and In-Reply-To within a realm.
//!
//! A name that was only referred to is a node without a mail (a ghost), and a mail that names two threads joins them. The
//! smaller thread is relabelled and leaves an alias.

use std::collections::{BTreeSet, HashMap};

use super::file::NewMail;
use super::sql::{self, Bind};
use super::{StoreError, Tx, marks};
use crate::types::{MessageId, RealmId};

/// Nodes by name: (row, thread).
pub(super) type Nodes = HashMap<MessageId, (i64, i64)>;

/// Makes the nodes that the mails name and decides their threads.
pub(super) async fn place(
    tx: &mut Tx,
    realm: RealmId,
    mails: &[NewMail],
) -> Result<Nodes, StoreError> {
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
    if let Some(missing) = names.iter().find(|n| !nodes.contains_key(**n)) {
        return Err(StoreError::Unusable(format!(
            "the name {missing} is not read back as it was written"
        )));
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
