//! Filing, second half: what belongs together is read for the thinking part, and its outcome is recorded.
//!
//! Ids are stable: a group keeps the lowest id whose anchor it holds; other ids become aliases and are never used
//! again. Writes go through only if the realm is unchanged since the reading; else the caller computes again.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::correction::StoredCorrection;
use super::sql::Bind;
use super::{Reader, Store, StoreError, Tx, dependency, job, marks, now, regroup, report};
use crate::types::{
    Identity, Job, ListId, MailId, MessageId, PatchsetId, RealmId, ReceiptId, Timestamp,
};
use crate::verdict::Verdict;

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
    /// The lists that it was posted to, in order.
    pub lists: Vec<ListId>,
    /// JSON of what was recognised.
    pub recognised: String,
    /// What is known of its sender.
    pub verdict: Verdict,
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
    /// What people decided about any of them, in order.
    pub corrections: Vec<StoredCorrection>,
    /// For addresses that are linked with others, in lower case: the one that stands for all of them.
    pub people: HashMap<String, String>,
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
    /// Anchor of the series that it says to be a version of without having the authority.
    pub claims: Option<MailId>,
    /// Address of who sent it, lower case.
    pub submitter: String,
    /// Name of who sent it.
    pub submitter_name: String,
    /// Title without tags.
    pub title: String,
    /// `base-commit:` trailer.
    pub base_commit: Option<String>,
    /// `rfc resend wip pull`, blank-separated.
    pub flags: String,
    /// Patchwork's number of the state that a person set; it wins over every rule.
    pub state: Option<i64>,
    /// Why these mails are one series, in words.
    pub reason: String,
    /// Arrival of its newest patch.
    pub arrived: Timestamp,
    /// States that a person set for patches by themselves: mail, and Patchwork's number. The last field: see `regroup::digest`.
    pub states: Vec<(MailId, i64)>,
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

impl NewSeries {
    pub(super) fn mails(&self) -> impl Iterator<Item = MailId> + '_ {
        let patches = self
            .patches
            .iter()
            .filter(|(_, _, taken_over)| !taken_over)
            .map(|(_, mail, _)| *mail);
        patches.chain(self.cover).chain([self.anchor])
    }
}

/// What today's rules see in a stored mail, where that differs from what is stored.
#[derive(Debug, Clone)]
pub struct Reread {
    /// Its row.
    pub mail: MailId,
    /// `patch`, `cover` …
    pub kind: String,
    /// JSON of what was recognised.
    pub recognised: String,
    /// Keys by which mails of other threads may belong to the same patchset.
    pub keys: Vec<String>,
}

/// What was recorded.
#[derive(Debug, Clone, Default)]
pub struct Recorded {
    /// The mails that were thought about.
    pub mails: Vec<MailId>,
    /// New or changed patchsets.
    pub changed: Vec<PatchsetId>,
    /// One line a difference, in words.
    pub differences: Vec<String>,
}

impl Recorded {
    pub(super) fn add(&mut self, id: i64, patchset: &NewPatchset) {
        let (count, title) = (patchset.series.len(), &patchset.title);
        let versions = if count == 1 { "version" } else { "versions" };
        let line = format!("patchset {id}: {count} {versions}, {title:?}");
        self.differences.push(line);
        self.changed.push(PatchsetId(id));
    }
}

/// A mail to be read with today's rules: row, arrival, what was recognised, what is known of its sender, bytes.
pub type ToReread = (MailId, Timestamp, String, Verdict, Vec<u8>);

/// Once so many mails are together, keys and corrections lead to no further threads. A thread is always read whole, however long:
/// half of one would be grouped otherwise than the whole, and which half depended on where the reading began.
const MAX_CLOSURE: usize = 20_000;

impl Reader {
    /// Reads all mails that may belong to the same patchsets as `seeds`: whole threads, joined by shared keys and by
    /// what people said of them.
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
            let mut next = self.expand(&wave, KEY_MATES).await?;
            next.extend(self.expand(&wave, EVENT_MATES).await?);
            wave = next.into_iter().filter(|m| !seen.contains(m)).collect();
        }
        let mut ids: Vec<i64> = seen.into_iter().collect();
        ids.sort_unstable();
        let mails = self.load_known(&ids).await?;
        let corrections = self.load_corrections(&ids).await?;
        let addresses: BTreeSet<String> = mails.iter().map(|m| m.address.to_lowercase()).collect();
        let people = self.load_stand_ins(addresses.into_iter().collect()).await?;
        Ok(Closure {
            version: version.map_or(0, |v| v.0),
            mails,
            corrections,
            people,
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
            String,
        );
        let mut mails = Vec::with_capacity(ids.len());
        let mut places: HashMap<i64, usize> = HashMap::new();
        for chunk in ids.chunks(400) {
            let list = marks(chunk.len());
            let binds = || chunk.iter().map(|m| Bind::from(*m)).collect::<Vec<_>>();
            let text = format!(
                "select id, identity, message_id, date, arrived, recognised, author, address, verdict from mail where id in ({list})"
            );
            for (id, identity, name, date, arrived, recognised, author, address, verdict) in
                self.fetch::<Row>(text, binds()).await?
            {
                let Some(message_id) = MessageId::parse(&name) else {
                    continue;
                };
                let identity = Identity(super::mail::hash_of(identity)?.0);
                places.insert(id, mails.len());
                let (mail, date, arrived) = (MailId(id), date.map(Timestamp), Timestamp(arrived));
                let parents = Vec::new();
                mails.push(KnownMail {
                    mail,
                    identity,
                    message_id,
                    parents,
                    date,
                    arrived,
                    lists: Vec::new(),
                    recognised,
                    verdict: Verdict::from_stored(&verdict),
                    author,
                    address,
                });
            }
            let text = format!(
                "select e.mail, n.message_id from edge e join node n on n.id = e.parent where e.mail in ({list}) \
                 order by e.mail, e.position"
            );
            for (mail, parent) in self.fetch::<(i64, String)>(text, binds()).await? {
                if let (Some(parent), Some(at)) = (MessageId::parse(&parent), places.get(&mail)) {
                    mails[*at].parents.push(parent);
                }
            }
            let text = format!(
                "select mail, list from posting where mail in ({list}) order by mail, list"
            );
            for (mail, list) in self.fetch::<(i64, i64)>(text, binds()).await? {
                if let Some(at) = places.get(&mail) {
                    mails[*at].lists.push(ListId(list));
                }
            }
        }
        Ok(mails)
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
            type Row = (i64, String, String, i64);
            for (anchor, label, digest, patchset) in self.fetch::<Row>(text, binds).await? {
                stored.insert(anchor, (label, digest, patchset));
            }
        }
        Ok(differences(stored, patchsets))
    }

    /// Stored bytes of some mails with what was recognised of them: (mail, arrival, JSON, bytes).
    pub async fn load_to_reread(&self, mails: &[MailId]) -> Result<Vec<ToReread>, StoreError> {
        let text = format!(
            "select m.id, m.arrived, m.recognised, m.verdict, b.size, b.dictionary, b.data from mail m \
             join blob b on b.realm = m.realm and b.hash = m.hash where m.id in ({})",
            marks(mails.len())
        );
        type Row = (i64, i64, String, String, i64, i64, Vec<u8>);
        let binds = mails.iter().map(|m| Bind::from(m.0)).collect();
        let mut all = Vec::with_capacity(mails.len());
        for (id, arrived, json, verdict, size, dictionary, data) in
            self.fetch::<Row>(text, binds).await?
        {
            let bytes = self.inflate(dictionary, size, &data).await?;
            let verdict = Verdict::from_stored(&verdict);
            all.push((MailId(id), Timestamp(arrived), json, verdict, bytes));
        }
        Ok(all)
    }

    /// How many mails a realm has.
    pub async fn count_mails(&self, realm: RealmId) -> Result<u64, StoreError> {
        let text = "select count(*) from mail where realm = $1";
        let row: Option<(i64,)> = self.fetch_one(text, vec![realm.0.into()]).await?;
        Ok(row.map_or(0, |r| u64::try_from(r.0).unwrap_or(0)))
    }

    /// Whether any list holds a mail.
    pub async fn holds_mail(&self) -> Result<bool, StoreError> {
        let row: Option<(i64,)> = self
            .fetch_one("select list from posting limit 1", vec![])
            .await?;
        Ok(row.is_some())
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

impl Store {
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
                    let mut recorded =
                        regroup::record(tx, realm, version, &mails, patchsets, &done).await?;
                    recorded.mails = mails;
                    finish(tx, done).await?;
                    Ok(recorded)
                })
            })
            .await?;
        self.jobs.ring("apply");
        Ok(recorded)
    }

    /// Writes what was recognised anew.
    pub async fn update_recognised(
        &self,
        realm: RealmId,
        changed: Vec<Reread>,
    ) -> Result<(), StoreError> {
        if changed.is_empty() {
            return Ok(());
        }
        self.write(move |tx| {
            Box::pin(async move {
                for chunk in changed.chunks(200) {
                    let rows = marks(chunk.len());
                    let cases = "when ? then ? ".repeat(chunk.len());
                    let text = format!(
                        "update mail set kind = case id {cases}end, recognised = case id {cases}end where id in ({rows})"
                    );
                    let case = |m: MailId, value: &str| [m.0.into(), Bind::from(value)];
                    let kinds = chunk.iter().flat_map(|c| case(c.mail, &c.kind));
                    let all = chunk.iter().flat_map(|c| case(c.mail, &c.recognised));
                    let ids = || chunk.iter().map(|c| Bind::from(c.mail.0));
                    tx.execute(text, kinds.chain(all).chain(ids()).collect())
                        .await?;
                    let text = format!("delete from link_key where mail in ({rows})");
                    tx.execute(text, ids().collect()).await?;
                }
                let key = |c: &Reread, k: &String| vec![realm.0.into(), k.into(), c.mail.0.into()];
                let rows = changed
                    .iter()
                    .flat_map(|c| c.keys.iter().map(move |k| key(c, k)));
                let head = "link_key (realm, key, mail)";
                tx.insert(head, rows.collect(), "on conflict do nothing")
                    .await?;
                Ok(())
            })
        })
        .await
    }
}

const THREAD_MATES: &str = "select m.id from mail m join node n on n.id = m.node where n.thread in \
     (select n2.thread from mail m2 join node n2 on n2.id = m2.node where m2.id in (..))";
const KEY_MATES: &str = "select b.mail from link_key a join link_key b on b.realm = a.realm and b.key = a.key where a.mail in (..)";
const EVENT_MATES: &str = "select b.mail from correction_mail a join correction_mail b on b.event = a.event where a.mail in (..)";
const OWNERS: &str = "select s.anchor, s.label, s.digest, s.patchset from series s where s.id in \
     (select p.series from patch p where p.mail in (..)) or s.cover in (..)";

/// What is stored of series, by their anchors, against what was assembled: a line for each difference.
fn differences(
    mut stored: BTreeMap<i64, (String, String, i64)>,
    patchsets: &[NewPatchset],
) -> Vec<String> {
    let mut lines = Vec::new();
    let mut seen = BTreeSet::new();
    for patchset in patchsets {
        let old = patchset.series.iter();
        let old = old.filter_map(|s| Some(stored.get(&s.anchor.0)?.2));
        let old: BTreeSet<i64> = old.collect();
        if old.len() > 1 {
            let all: Vec<String> = old.iter().map(ToString::to_string).collect();
            lines.push(format!("patchsets become one: {}", all.join(", ")));
        }
        for id in old.into_iter().filter(|id| !seen.insert(*id)) {
            lines.push(format!("patchset {id} is parted: {:?}", patchset.title));
        }
        for series in &patchset.series {
            let what = format!(
                "v{} {:?} by {}",
                series.label, series.title, series.submitter
            );
            match stored.remove(&series.anchor.0) {
                None => lines.push(format!("new series: {what}")),
                Some((_, old, _)) if old != regroup::digest(series) => {
                    lines.push(format!("changed series: {what}"))
                }
                Some(_) => {}
            }
        }
    }
    let gone = stored.into_values();
    lines.extend(gone.map(|(label, ..)| format!("series dissolved: v{label}")));
    lines
}

/// What is finished by a recording.
#[derive(Debug, Clone, Default)]
pub struct Done {
    /// Receipts that are filed now, with the message that each became.
    pub receipts: Vec<(ReceiptId, MailId)>,
    /// Jobs to strike off.
    pub jobs: Vec<job::Held>,
    /// Imported or recomputed: applying waits behind live mail.
    pub quiet: bool,
    /// Mails among them that wish something for a series.
    pub wishing: Vec<MailId>,
    /// Mails among them that were sent here, and not imported: their authors may hear what became of them.
    pub live: Vec<MailId>,
    /// Base of all addresses: what waits for the page of a version is tried again. Empty: nothing names pages.
    pub base_url: String,
}

async fn finish(tx: &mut Tx, done: Done) -> Result<(), StoreError> {
    for chunk in done.receipts.chunks(200) {
        let cases = "when ? then cast(? as bigint) ".repeat(chunk.len());
        let text = format!(
            "update receipt set state = 1, mail = case id {cases}end where state < {} and id in ({})",
            super::hold::HELD,
            marks(chunk.len())
        );
        let mut binds: Vec<Bind> = chunk
            .iter()
            .flat_map(|(r, m)| [Bind::from(r.0), Bind::from(m.0)])
            .collect();
        binds.extend(chunk.iter().map(|(r, _)| Bind::from(r.0)));
        tx.execute(text, binds).await?;
    }
    let filed: Vec<MailId> = done.receipts.iter().map(|(_, mail)| *mail).collect();
    let priority = if done.quiet { 5 } else { 2 };
    dependency::wake_for(tx, &filed, priority).await?;
    dependency::wake_for_pages(tx, &filed, &done.base_url, priority).await?;
    let wishes: Vec<(Job, i64)> = done.wishing.iter().map(|m| (Job::Steer(*m), 1)).collect();
    job::insert(tx, &wishes, now()).await?;
    report::owe(tx, &done.live).await?;
    job::finish(tx, &done.jobs).await
}
