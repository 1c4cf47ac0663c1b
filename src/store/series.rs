//! Filing, second half: what belongs together is read for the thinking part, and its outcome is recorded.
//!
//! Ids are stable: a group keeps the lowest id whose anchor it holds; other ids become aliases and are never used
//! again. Writes go through only if the realm is unchanged since the reading; else the caller computes again.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::sql::{self, Bind};
use super::{Store, StoreError, Tx, file, job, marks};
use crate::types::{
    Identity, Job, JobId, MailId, MessageId, PatchsetId, RealmId, ReceiptId, SeriesId, Timestamp,
};

/// What is known of a message when patchsets are assembled.
#[derive(Debug, Clone)]
pub struct KnownMail {
    /// Its row.
    pub mail: MailId,
    /// Tie-breaker that does not depend on the order of filing.
    pub identity: Identity,
    /// Its name.
    pub message_id: MessageId,
    /// Nearest ancestor first.
    pub parents: Vec<MessageId>,
    /// The Date field.
    pub date: Option<Timestamp>,
    /// Arrival.
    pub arrived: Timestamp,
    /// JSON of what was recognised.
    pub recognised: String,
    /// Author's display name.
    pub author: String,
    /// Author's address as written.
    pub address: String,
}

/// All that may belong together with some mails, and the realm's version when it was read.
#[derive(Debug, Clone)]
pub struct Closure {
    /// What [`Store::record_patchsets`] compares.
    pub version: i64,
    /// The mails, whole threads.
    pub mails: Vec<KnownMail>,
    /// Corrections by people, in order: (kind, mail, detail).
    pub corrections: Vec<(String, MailId, String)>,
}

/// One version of a patchset as assembled.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NewSeries {
    /// The mail that stands for it.
    pub anchor: MailId,
    /// `1`, `2`, `2-2`, `3-r1`.
    pub label: String,
    /// The number that its mails claim.
    pub version: i64,
    /// How many patches it says it has.
    pub total: i64,
    /// Number, mail, and whether it was taken over from the version before.
    pub patches: Vec<(i64, MailId, bool)>,
    /// Replies: comment and what it answers.
    pub comments: Vec<(MailId, MailId)>,
    /// Cover letter.
    pub cover: Option<MailId>,
    /// All patches are there.
    pub complete: bool,
    /// A newer version stands in its place.
    pub superseded: bool,
    /// Address of who sent it, lower case.
    pub submitter: String,
    /// Name of who sent it.
    pub submitter_name: String,
    /// Title without tags.
    pub title: String,
    /// `base-commit:` trailer.
    pub base_commit: Option<String>,
    /// `rfc resend wip`, blank-separated.
    pub flags: String,
    /// Why these mails are one series, in words.
    pub reason: String,
    /// Arrival of its newest patch.
    pub arrived: Timestamp,
}

/// All versions of one change as assembled.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NewPatchset {
    /// The mail that stands for it.
    pub anchor: MailId,
    /// Title of its newest version.
    pub title: String,
    /// Words of the tag such as a repository's name, blank-separated.
    pub prefixes: String,
    /// Its versions, oldest first.
    pub series: Vec<NewSeries>,
}

impl NewPatchset {
    fn mails(&self) -> impl Iterator<Item = MailId> + '_ {
        self.series.iter().flat_map(NewSeries::mails)
    }
}

impl NewSeries {
    fn mails(&self) -> impl Iterator<Item = MailId> + '_ {
        let patches = self
            .patches
            .iter()
            .filter(|(_, _, taken_over)| !taken_over)
            .map(|(_, mail, _)| *mail);
        patches.chain(self.cover).chain([self.anchor])
    }
}

/// What was recorded.
#[derive(Debug, Clone, Default)]
pub struct Recorded {
    /// New or changed patchsets.
    pub changed: Vec<PatchsetId>,
    /// One line a difference, in words.
    pub differences: Vec<String>,
}

/// More than this many mails are never thought about together.
const MAX_CLOSURE: usize = 20_000;

impl Store {
    /// Reads all mails that may belong to the same patchsets as `seeds`: whole threads, joined by shared keys.
    pub async fn load_closure(
        &self,
        realm: RealmId,
        seeds: &[MailId],
    ) -> Result<Closure, StoreError> {
        let version: Option<(i64,)> = self
            .fetch_one(
                "select version from realm where id = $1",
                vec![realm.0.into()],
            )
            .await?;
        let mut seen: HashSet<i64> = HashSet::new();
        let mut wave: Vec<i64> = seeds.iter().map(|m| m.0).collect();
        while !wave.is_empty() && seen.len() < MAX_CLOSURE {
            let in_threads = self.expand(&wave, THREAD_MATES).await?;
            wave.extend(in_threads);
            wave.retain(|m| seen.insert(*m));
            let by_key = self.expand(&wave, KEY_MATES).await?;
            wave = by_key.into_iter().filter(|m| !seen.contains(m)).collect();
        }
        let mut ids: Vec<i64> = seen.into_iter().collect();
        ids.sort_unstable();
        let mails = self.load_known(&ids).await?;
        let corrections = self.load_corrections(&ids).await?;
        Ok(Closure {
            version: version.map_or(0, |v| v.0),
            mails,
            corrections,
        })
    }

    async fn expand(&self, from: &[i64], text: &str) -> Result<BTreeSet<i64>, StoreError> {
        let mut found = BTreeSet::new();
        for chunk in from.chunks(400) {
            let text = text.replace("(..)", &format!("({})", marks(chunk.len())));
            let rows: Vec<(i64,)> = self
                .fetch(text, chunk.iter().map(|m| Bind::from(*m)).collect())
                .await?;
            found.extend(rows.into_iter().map(|r| r.0));
        }
        Ok(found)
    }

    async fn load_known(&self, ids: &[i64]) -> Result<Vec<KnownMail>, StoreError> {
        type Row = (
            i64,
            Vec<u8>,
            String,
            Option<i64>,
            i64,
            String,
            String,
            String,
            i64,
        );
        let mut mails = Vec::with_capacity(ids.len());
        let mut by_node: HashMap<i64, Vec<usize>> = HashMap::new();
        for chunk in ids.chunks(400) {
            let list = marks(chunk.len());
            let binds = || chunk.iter().map(|m| Bind::from(*m)).collect::<Vec<_>>();
            let text = format!(
                "select id, identity, message_id, date, arrived, recognised, author, address, node from mail where id in ({list})"
            );
            for (id, identity, name, date, arrived, recognised, author, address, node) in
                self.fetch::<Row>(text, binds()).await?
            {
                let Some(message_id) = MessageId::parse(&name) else {
                    continue;
                };
                let identity = Identity(super::mail::hash_of(identity)?.0);
                by_node.entry(node).or_default().push(mails.len());
                let (mail, date, arrived) = (MailId(id), date.map(Timestamp), Timestamp(arrived));
                let parents = Vec::new();
                mails.push(KnownMail {
                    mail,
                    identity,
                    message_id,
                    parents,
                    date,
                    arrived,
                    recognised,
                    author,
                    address,
                });
            }
            let text = format!(
                "select e.child, n.message_id from edge e join node n on n.id = e.parent where e.child in \
                 (select node from mail where id in ({list})) order by e.child, e.position"
            );
            for (child, parent) in self.fetch::<(i64, String)>(text, binds()).await? {
                let Some(parent) = MessageId::parse(&parent) else {
                    continue;
                };
                for at in by_node.get(&child).into_iter().flatten() {
                    if !mails[*at].parents.contains(&parent) {
                        mails[*at].parents.push(parent.clone());
                    }
                }
            }
        }
        Ok(mails)
    }

    async fn load_corrections(
        &self,
        ids: &[i64],
    ) -> Result<Vec<(String, MailId, String)>, StoreError> {
        let mut all: Vec<(i64, String, i64, String)> = Vec::new();
        for chunk in ids.chunks(400) {
            let text = format!(
                "select id, kind, mail, detail from event where kind in ('move', 'split', 'merge', 'cut', 'version', 'state') \
                 and mail in ({})",
                marks(chunk.len())
            );
            all.extend(
                self.fetch(text, chunk.iter().map(|m| Bind::from(*m)).collect())
                    .await?,
            );
        }
        all.sort_unstable();
        Ok(all
            .into_iter()
            .map(|(_, kind, mail, detail)| (kind, MailId(mail), detail))
            .collect())
    }

    /// Records what was assembled out of `closure`, and strikes off the receipts and jobs that asked for it.
    ///
    /// [`StoreError::Stale`] when the realm has changed since the closure was read.
    pub async fn record_patchsets(
        &self,
        realm: RealmId,
        version: i64,
        mails: Vec<MailId>,
        patchsets: Vec<NewPatchset>,
        done: Done,
    ) -> Result<Recorded, StoreError> {
        let recorded = self
            .write(move |tx| {
                Box::pin(async move {
                    let recorded = record(tx, realm, version, &mails, patchsets, &done).await?;
                    finish(tx, done).await?;
                    Ok(recorded)
                })
            })
            .await?;
        self.jobs.notify_one();
        Ok(recorded)
    }

    /// What recording would change, in words; nothing is written.
    pub async fn compare_patchsets(
        &self,
        mails: &[MailId],
        patchsets: &[NewPatchset],
    ) -> Result<Vec<String>, StoreError> {
        let ids: Vec<i64> = mails.iter().map(|m| m.0).collect();
        let mut stored = BTreeMap::new();
        for chunk in ids.chunks(400) {
            let text = OWNERS.replace("(..)", &format!("({})", marks(chunk.len())));
            let mut binds: Vec<Bind> = chunk.iter().map(|m| Bind::from(*m)).collect();
            binds.extend(binds.clone());
            for (anchor, label, digest) in self.fetch::<(i64, String, String)>(text, binds).await? {
                stored.insert(anchor, (label, digest));
            }
        }
        let mut lines = Vec::new();
        for series in patchsets.iter().flat_map(|p| &p.series) {
            let what = format!(
                "v{} {:?} by {}",
                series.label, series.title, series.submitter
            );
            match stored.remove(&series.anchor.0) {
                None => lines.push(format!("new series: {what}")),
                Some((_, old)) if old != digest(series) => {
                    lines.push(format!("changed series: {what}"))
                }
                Some(_) => {}
            }
        }
        lines.extend(
            stored
                .into_values()
                .map(|(label, _)| format!("series dissolved: v{label}")),
        );
        Ok(lines)
    }

    /// Writes what was recognised anew: (mail, kind, JSON).
    pub async fn update_recognised(
        &self,
        changed: Vec<(MailId, String, String)>,
    ) -> Result<(), StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                for (mail, kind, json) in changed {
                    let text = "update mail set kind = $1, recognised = $2 where id = $3";
                    tx.execute(text, vec![kind.into(), json.into(), mail.0.into()])
                        .await?;
                }
                Ok(())
            })
        })
        .await
    }

    /// All mails of a realm that may belong to patchsets, by row; at most `limit` above `after`.
    pub async fn load_mail_ids(
        &self,
        realm: RealmId,
        after: MailId,
        limit: i64,
    ) -> Result<Vec<MailId>, StoreError> {
        let text = "select id from mail where realm = $1 and id > $2 order by id limit $3";
        let rows: Vec<(i64,)> = self
            .fetch(text, vec![realm.0.into(), after.0.into(), limit.into()])
            .await?;
        Ok(rows.into_iter().map(|r| MailId(r.0)).collect())
    }
}

const THREAD_MATES: &str = "select m.id from mail m join node n on n.id = m.node where n.thread in \
     (select n2.thread from mail m2 join node n2 on n2.id = m2.node where m2.id in (..))";
const KEY_MATES: &str = "select b.mail from link_key a join link_key b on b.realm = a.realm and b.key = a.key where a.mail in (..)";
const OWNERS: &str = "select s.anchor, s.label, s.digest from series s where s.id in \
     (select p.series from patch p where p.mail in (..)) or s.cover in (..)";

/// What is finished by a recording.
#[derive(Debug, Clone, Default)]
pub struct Done {
    /// Receipts that are filed now, with the message that each became.
    pub receipts: Vec<(ReceiptId, MailId)>,
    /// Jobs to strike off.
    pub jobs: Vec<JobId>,
    /// Imported or recomputed: applying waits behind live mail.
    pub quiet: bool,
}

async fn finish(tx: &mut Tx, done: Done) -> Result<(), StoreError> {
    for chunk in done.receipts.chunks(200) {
        let cases = "when ? then cast(? as bigint) ".repeat(chunk.len());
        let text = format!(
            "update receipt set state = 1, mail = case id {cases}end where id in ({})",
            marks(chunk.len())
        );
        let mut binds: Vec<Bind> = chunk
            .iter()
            .flat_map(|(r, m)| [Bind::from(r.0), Bind::from(m.0)])
            .collect();
        binds.extend(chunk.iter().map(|(r, _)| Bind::from(r.0)));
        tx.execute(text, binds).await?;
    }
    job::finish(tx, &done.jobs).await
}

/// What a series' stored rows were made from: if it is the same, nothing is written.
fn digest(series: &NewSeries) -> String {
    use sha2::Digest;
    let hash = sha2::Sha256::digest(format!("{series:?}"));
    data_encoding::HEXLOWER.encode(&hash[..16])
}

/// A stored series, as far as comparing needs it.
#[derive(Clone)]
struct Stored {
    id: i64,
    patchset: i64,
    anchor: i64,
    digest: String,
}

async fn record(
    tx: &mut Tx,
    realm: RealmId,
    version: i64,
    mails: &[MailId],
    patchsets: Vec<NewPatchset>,
    done: &Done,
) -> Result<Recorded, StoreError> {
    let current: Option<(i64,)> = tx
        .fetch_one(
            "select version from realm where id = $1",
            vec![realm.0.into()],
        )
        .await?;
    if current.map(|v| v.0) != Some(version) {
        return Err(StoreError::Stale);
    }
    let stored = load_stored(tx, mails).await?;
    let mut left: BTreeMap<i64, Stored> = stored.iter().map(|s| (s.id, s.clone())).collect();
    let mut recorded = Recorded::default();
    let mut taken = HashSet::new();
    for patchset in patchsets {
        let unchanged = same(&patchset, &stored);
        if unchanged {
            taken.insert(stored_patchset_of(&patchset, &stored));
            patchset
                .series
                .iter()
                .for_each(|s| left.retain(|_, old| old.anchor != s.anchor.0));
            continue;
        }
        let id = settle_patchset(tx, realm, &patchset, &stored, &mut taken).await?;
        recorded.differences.push(format!(
            "patchset {id}: {} version(s), {:?}",
            patchset.series.len(),
            patchset.title
        ));
        for (position, series) in (0i64..).zip(&patchset.series) {
            record_series(tx, realm, id, position, series, &mut left, done.quiet).await?;
        }
        finish_patchset(tx, id, &patchset).await?;
        recorded.changed.push(PatchsetId(id));
    }
    dissolve(tx, left).await?;
    if !recorded.changed.is_empty() {
        let threads = super::application::threads(tx, mails).await?;
        file::raise(tx, realm, &threads).await?;
    }
    Ok(recorded)
}

async fn load_stored(tx: &mut Tx, mails: &[MailId]) -> Result<Vec<Stored>, StoreError> {
    let mut found = BTreeMap::new();
    for chunk in mails.chunks(400) {
        let text = format!(
            "select id, patchset, anchor, digest from series where anchor in ({})",
            marks(chunk.len())
        );
        let binds = chunk.iter().map(|m| Bind::from(m.0)).collect();
        for (id, patchset, anchor, digest) in
            tx.fetch::<(i64, i64, i64, String)>(text, binds).await?
        {
            found.insert(
                id,
                Stored {
                    id,
                    patchset,
                    anchor,
                    digest,
                },
            );
        }
    }
    Ok(found.into_values().collect())
}

fn stored_patchset_of(patchset: &NewPatchset, stored: &[Stored]) -> i64 {
    stored
        .iter()
        .find(|s| s.anchor == patchset.anchor.0)
        .map_or(0, |s| s.patchset)
}

/// Whether exactly these series with these contents are stored as one patchset already.
fn same(patchset: &NewPatchset, stored: &[Stored]) -> bool {
    let owner = |s: &NewSeries| {
        stored
            .iter()
            .find(|o| o.anchor == s.anchor.0 && o.digest == digest(s))
            .map(|o| o.patchset)
    };
    let owners: HashSet<Option<i64>> = patchset.series.iter().map(owner).collect();
    let Some(Some(id)) = owners.iter().next() else {
        return false;
    };
    owners.len() == 1
        && stored.iter().filter(|o| o.patchset == *id).count() == patchset.series.len()
}

/// The lowest stored patchset whose anchor this group holds, else a new one; others become aliases.
async fn settle_patchset(
    tx: &mut Tx,
    realm: RealmId,
    patchset: &NewPatchset,
    stored: &[Stored],
    taken: &mut HashSet<i64>,
) -> Result<i64, StoreError> {
    let mails: HashSet<i64> = patchset.mails().map(|m| m.0).collect();
    let near: BTreeSet<i64> = stored
        .iter()
        .filter(|s| mails.contains(&s.anchor))
        .map(|s| s.patchset)
        .collect();
    let mut held = Vec::new();
    for id in near {
        let row: Option<(i64,)> = tx
            .fetch_one("select anchor from patchset where id = $1", vec![id.into()])
            .await?;
        if row.is_some_and(|r| mails.contains(&r.0)) && !taken.contains(&id) {
            held.push(id);
        }
    }
    let id = match held.first() {
        Some(id) => *id,
        None => {
            let row = vec![
                realm.0.into(),
                patchset.anchor.0.into(),
                patchset.title.as_str().into(),
                patchset.prefixes.as_str().into(),
                1.into(),
                0.into(),
                0.into(),
            ];
            let head = "patchset (realm, anchor, title, prefixes, state, updated, versions)";
            sql::id(&tx.insert(head, vec![row], "returning id").await?[0])?
        }
    };
    taken.insert(id);
    for old in held.into_iter().skip(1) {
        taken.insert(old);
        tx.execute(
            "update patchset_alias set patchset = $1 where patchset = $2",
            vec![id.into(), old.into()],
        )
        .await?;
        let tail = "on conflict (old) do update set patchset = excluded.patchset";
        tx.insert(
            "patchset_alias (old, patchset)",
            vec![vec![old.into(), id.into()]],
            tail,
        )
        .await?;
        tx.execute(
            "update series set patchset = $1 where patchset = $2",
            vec![id.into(), old.into()],
        )
        .await?;
        tx.execute(
            "update patchset set versions = 0 where id = $1",
            vec![old.into()],
        )
        .await?;
        tx.execute(
            "delete from patchset_list where patchset = $1",
            vec![old.into()],
        )
        .await?;
    }
    Ok(id)
}

/// States of Patchwork that a newer version replaces by `superseded`: new, under review, rfc, changes requested.
const OPEN_STATES: &str = "1, 2, 5, 7";

async fn record_series(
    tx: &mut Tx,
    realm: RealmId,
    patchset: i64,
    position: i64,
    series: &NewSeries,
    left: &mut BTreeMap<i64, Stored>,
    quiet: bool,
) -> Result<(), StoreError> {
    let mails: HashSet<i64> = series.mails().map(|m| m.0).collect();
    let held: Vec<Stored> = left
        .values()
        .filter(|s| mails.contains(&s.anchor))
        .cloned()
        .collect();
    let unchanged =
        held.len() == 1 && held[0].digest == digest(series) && held[0].patchset == patchset;
    held.iter().for_each(|s| drop(left.remove(&s.id)));
    let id = match held.first() {
        Some(first) => first.id,
        None => {
            let head = "series (patchset, realm, anchor, position, label, version, total, received, complete, superseded, \
                        state, archived, submitter, submitter_name, title, flags, reason, arrived, digest)";
            let zero = || Bind::from(0);
            let empty = || Bind::from("");
            let mut row: Vec<Bind> = vec![
                patchset.into(),
                realm.0.into(),
                series.anchor.0.into(),
                position.into(),
                empty(),
            ];
            row.extend((0..5).map(|_| zero()));
            row.extend([
                1.into(),
                zero(),
                empty(),
                empty(),
                empty(),
                empty(),
                empty(),
                zero(),
                empty(),
            ]);
            sql::id(&tx.insert(head, vec![row], "returning id").await?[0])?
        }
    };
    tx.execute(
        "update series set position = $1 where id = $2",
        vec![position.into(), id.into()],
    )
    .await?;
    for old in held.iter().skip(1) {
        merge_series(tx, old.id, id).await?;
    }
    if unchanged {
        return Ok(());
    }
    update_series(tx, patchset, id, series).await?;
    replace_patches(tx, id, series).await?;
    tx.execute("delete from comment where series = $1", vec![id.into()])
        .await?;
    let rows = series
        .comments
        .iter()
        .map(|(mail, target)| vec![id.into(), mail.0.into(), target.0.into()])
        .collect();
    tx.insert(
        "comment (series, mail, target)",
        rows,
        "on conflict do nothing",
    )
    .await?;
    if series.complete {
        job::insert(
            tx,
            &[(Job::Apply(SeriesId(id)), if quiet { 5 } else { 1 })],
            Timestamp(0),
        )
        .await?;
    }
    Ok(())
}

async fn merge_series(tx: &mut Tx, old: i64, id: i64) -> Result<(), StoreError> {
    tx.execute(
        "update series_alias set series = $1 where series = $2",
        vec![id.into(), old.into()],
    )
    .await?;
    let tail = "on conflict (old) do update set series = excluded.series";
    tx.insert(
        "series_alias (old, series)",
        vec![vec![old.into(), id.into()]],
        tail,
    )
    .await?;
    delete_series(tx, old).await
}

async fn delete_series(tx: &mut Tx, id: i64) -> Result<(), StoreError> {
    for text in [
        "delete from comment where series = $1",
        "delete from patch where series = $1",
        "delete from application_commit where series = $1",
        "delete from application where series = $1",
        "delete from series where id = $1",
    ] {
        tx.execute(text, vec![id.into()]).await?;
    }
    Ok(())
}

async fn update_series(
    tx: &mut Tx,
    patchset: i64,
    id: i64,
    series: &NewSeries,
) -> Result<(), StoreError> {
    let received = i64::try_from(series.patches.len()).unwrap_or(i64::MAX);
    let text = format!(
        "update series set patchset = ?, anchor = ?, label = ?, version = ?, total = ?, received = ?, complete = ?, \
         superseded = ?, state = case when ? = 1 and state in ({OPEN_STATES}) then 9 when ? = 0 and state = 9 then 1 else state end, \
         submitter = ?, submitter_name = ?, title = ?, cover = ?, base_commit = ?, flags = ?, reason = ?, arrived = ?, \
         digest = ? where id = ?"
    );
    let superseded = || Bind::from(series.superseded);
    let binds = vec![
        patchset.into(),
        series.anchor.0.into(),
        series.label.as_str().into(),
        series.version.into(),
        series.total.into(),
        received.into(),
        series.complete.into(),
        superseded(),
        superseded(),
        superseded(),
        series.submitter.as_str().into(),
        series.submitter_name.as_str().into(),
        series.title.as_str().into(),
        series.cover.map(|c| c.0).into(),
        series.base_commit.clone().into(),
        series.flags.as_str().into(),
        series.reason.as_str().into(),
        series.arrived.0.into(),
        digest(series).into(),
        id.into(),
    ];
    tx.execute(text, binds).await?;
    Ok(())
}

/// Patches keep their rows, and with them state and delegate, as long as the mail stays in the series.
async fn replace_patches(tx: &mut Tx, id: i64, series: &NewSeries) -> Result<(), StoreError> {
    type Row = (
        i64,
        i64,
        Option<i64>,
        i64,
        Option<i64>,
        Option<String>,
        Option<String>,
    );
    let text =
        "select id, mail, state, archived, delegate, commit_ref, hash from patch where series = $1";
    let kept: HashMap<i64, Row> = tx
        .fetch::<Row>(text, vec![id.into()])
        .await?
        .into_iter()
        .map(|r| (r.1, r))
        .collect();
    tx.execute("delete from patch where series = $1", vec![id.into()])
        .await?;
    let (mut old, mut new) = (Vec::new(), Vec::new());
    for (number, mail, taken_over) in &series.patches {
        let place = vec![
            Bind::from(id),
            (*number).into(),
            mail.0.into(),
            (*taken_over).into(),
        ];
        match kept.get(&mail.0).cloned() {
            Some((row, _, state, archived, delegate, commit_ref, hash)) => {
                let mut binds = vec![Bind::from(row)];
                binds.extend(place);
                binds.extend([
                    state.into(),
                    archived.into(),
                    delegate.into(),
                    commit_ref.into(),
                    hash.into(),
                ]);
                old.push(binds);
            }
            None => new.push(place.into_iter().chain([0.into()]).collect()),
        }
    }
    tx.insert(
        "patch (id, series, number, mail, taken_over, state, archived, delegate, commit_ref, hash)",
        old,
        "",
    )
    .await?;
    tx.insert(
        "patch (series, number, mail, taken_over, archived)",
        new,
        "",
    )
    .await?;
    Ok(())
}

/// A patchset shows its newest version's state, and stands in the lists where its mails were posted.
async fn finish_patchset(tx: &mut Tx, id: i64, patchset: &NewPatchset) -> Result<(), StoreError> {
    let text = "update patchset set anchor = $1, title = $2, prefixes = $3, versions = (select count(*) from series where patchset = $4), \
         newest = (select id from series where patchset = $4 order by position desc limit 1), \
         state = coalesce((select state from series where patchset = $4 order by position desc limit 1), 1), \
         updated = coalesce((select max(arrived) from series where patchset = $4), 0) where id = $4";
    let (anchor, title, prefixes) = (
        patchset.anchor.0,
        patchset.title.as_str(),
        patchset.prefixes.as_str(),
    );
    tx.execute(
        text,
        vec![anchor.into(), title.into(), prefixes.into(), id.into()],
    )
    .await?;
    tx.execute(
        "delete from patchset_list where patchset = $1",
        vec![id.into()],
    )
    .await?;
    let text = "insert into patchset_list (list, patchset, updated) select distinct po.list, s.patchset, p.updated \
         from series s join patchset p on p.id = s.patchset join patch pa on pa.series = s.id \
         join posting po on po.mail = pa.mail where s.patchset = $1 on conflict do nothing";
    tx.execute(text, vec![id.into()]).await?;
    let text = "insert into patchset_list (list, patchset, updated) select distinct po.list, s.patchset, p.updated \
         from series s join patchset p on p.id = s.patchset join posting po on po.mail = s.cover \
         where s.patchset = $1 on conflict do nothing";
    tx.execute(text, vec![id.into()]).await?;
    Ok(())
}

/// Series that no assembled group holds any more.
async fn dissolve(tx: &mut Tx, left: BTreeMap<i64, Stored>) -> Result<(), StoreError> {
    let owners: BTreeSet<i64> = left.values().map(|s| s.patchset).collect();
    for id in left.keys() {
        delete_series(tx, *id).await?;
    }
    for owner in owners {
        let text = "update patchset set versions = (select count(*) from series where patchset = $1) where id = $1";
        tx.execute(text, vec![owner.into()]).await?;
        let text = "delete from patchset_list where patchset = $1 and not exists (select 1 from series where patchset = $1)";
        tx.execute(text, vec![owner.into()]).await?;
    }
    Ok(())
}
