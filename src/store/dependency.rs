//! What series are built on: names as their mails give them, and what of that is here.

use std::collections::{BTreeMap, BTreeSet};

use super::copy::{Named, choose_named};
use super::sql::Bind;
use super::{Dialect, Reader, Store, StoreError, Tx, index, job, marks};
use crate::patchset::depend::{Dependencies, MAX_CHAIN, Target, is_patch};
use crate::patchset::page::Page;
use crate::query::Mark;
use crate::types::{Job, MailId, PatchsetId, RealmId, RepoId, SeriesId, Timestamp};

/// Series that are read at most for one: what strangers can tie together is bounded.
const MAX_SERIES: usize = 500;
/// Names that are looked for at most for one series.
const MAX_NAMES: usize = 2_000;
/// Series that are looked at for those that need one.
const MAX_NEEDING: i64 = 200;
/// Ids of patches that are looked for in one statement.
const AT_ONCE: usize = 50;
/// Series that are tried again when one that they name came or was applied.
const MAX_WOKEN: i64 = 2_000;

/// A series that is built on another.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Needing {
    /// Its patchset's number.
    pub patchset: i64,
    /// Its version's label.
    pub version: String,
    /// Title without tags.
    pub title: String,
}

/// A commit that a series was applied as, as that on which others are built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppliedCommit {
    /// The series.
    pub series: SeriesId,
    /// `patchset 7 v1`
    pub title: String,
    /// Its repository.
    pub repo: RepoId,
    /// The commit's full id.
    pub commit: String,
}

impl Reader {
    /// What a series names, what that names in turn, and what of all is here. `names` are those of the series itself.
    pub async fn load_dependencies(
        &self,
        realm: RealmId,
        series: SeriesId,
        names: Vec<String>,
    ) -> Result<Dependencies, StoreError> {
        let mut all = Dependencies::default();
        let mut wave = BTreeSet::from([series]);
        let mut fresh = BTreeMap::from([(series, names)]);
        for _ in 0..=MAX_CHAIN {
            fresh.retain(|_, names| !names.is_empty());
            if fresh.is_empty() {
                break;
            }
            let names: BTreeSet<String> = fresh.values().flatten().cloned().collect();
            if all.hits.len() + names.len() > MAX_NAMES {
                break;
            }
            all.names.append(&mut fresh);
            let new: Vec<String> = names
                .into_iter()
                .filter(|n| !all.hits.contains_key(n))
                .collect();
            let hits = self.find_named(realm, &new).await?;
            wave.extend(hits.values().flatten().map(|hit| hit.0));
            wave.retain(|s| !all.targets.contains_key(s));
            all.hits.extend(hits);
            all.targets.extend(self.load_targets(&wave).await?);
            fresh = self.load_names(&wave).await?;
            fresh.retain(|s, _| !all.names.contains_key(s));
            wave.clear();
            if all.targets.len() > MAX_SERIES {
                break;
            }
        }
        fresh.retain(|_, names| !names.is_empty());
        all.cut = !fresh.is_empty();
        Ok(all)
    }

    /// The name of the mail that stands for the version that a page shows, if its list is of that realm.
    pub async fn find_by_page(
        &self,
        realm: RealmId,
        page: &Page,
    ) -> Result<Option<String>, StoreError> {
        let text = "select m.message_id from list l join patchset_list pl on pl.list = l.id join patchset ps on ps.id = pl.patchset \
             join series s on s.patchset = ps.id join mail m on m.id = s.anchor where l.name = $1 and l.realm = $2 \
             and ps.id = coalesce((select patchset from patchset_alias where old = $3), $3) \
             and (s.label = $4 or ($4 = '' and s.id = ps.newest))";
        let binds = vec![
            page.list.as_str().into(),
            realm.0.into(),
            page.patchset.0.into(),
            page.label.as_str().into(),
        ];
        let row: Option<(String,)> = self.fetch_one(text, binds).await?;
        Ok(row.map(|r| r.0))
    }

    /// What a series names, as it was recorded when it was tried.
    pub async fn load_named(&self, series: SeriesId) -> Result<Vec<String>, StoreError> {
        let mut names = self.load_names(&BTreeSet::from([series])).await?;
        Ok(names.remove(&series).unwrap_or_default())
    }

    async fn load_names(
        &self,
        series: &BTreeSet<SeriesId>,
    ) -> Result<BTreeMap<SeriesId, Vec<String>>, StoreError> {
        let mut found: BTreeMap<SeriesId, Vec<String>> = BTreeMap::new();
        let ids: Vec<i64> = series.iter().map(|s| s.0).collect();
        for chunk in ids.chunks(400) {
            let text = format!(
                "select series, name from dependency where series in ({}) order by series, position",
                marks(chunk.len())
            );
            let binds = chunk.iter().map(|s| Bind::from(*s)).collect();
            for (series, name) in self.fetch::<(i64, String)>(text, binds).await? {
                found.entry(SeriesId(series)).or_default().push(name);
            }
        }
        Ok(found)
    }

    /// The series that names lead to: (series, number of the patch). A name that leads to no mail is left out.
    async fn find_named(
        &self,
        realm: RealmId,
        names: &[String],
    ) -> Result<BTreeMap<String, Vec<(SeriesId, u32)>>, StoreError> {
        let ids: Vec<&String> = names.iter().filter(|n| n.contains('@')).collect();
        let patches: Vec<&String> = names.iter().filter(|n| is_patch(n)).collect();
        let mut mails = self.find_by_names(realm, &ids).await?;
        mails.extend(self.find_by_patches(realm, &patches).await?);
        let wanted: Vec<i64> = mails.iter().map(|m| m.1).collect();
        let series = self.find_series_of(&wanted).await?;
        let mut found: BTreeMap<String, Vec<(SeriesId, u32)>> = BTreeMap::new();
        for (name, mail) in mails {
            let hits = found.entry(name).or_default();
            hits.extend(series.get(&mail).into_iter().flatten());
        }
        Ok(found)
    }

    /// Mails by their names, the one that is served under a name first (`copy::choose_named`), then the earliest.
    async fn find_by_names(
        &self,
        realm: RealmId,
        names: &[&String],
    ) -> Result<Vec<(String, i64)>, StoreError> {
        let mut found = Vec::new();
        for chunk in names.chunks(200) {
            let list = marks(chunk.len());
            let text = format!(
                "select x.name, m.id, x.own, m.level, m.address from (select n.message_id as name, m.id as mail, 1 as own from node n \
                 join mail m on m.node = n.id where n.realm = ? and n.message_id in ({list}) union all select a.message_id, a.mail, 0 \
                 from alias a where a.realm = ? and a.message_id in ({list})) x join mail m on m.id = x.mail where m.state = 0 \
                 order by x.own desc, m.arrived, m.message_id, m.identity"
            );
            let one = || {
                let names = chunk.iter().map(|n| Bind::from(n.as_str()));
                std::iter::once(Bind::from(realm.0)).chain(names)
            };
            type Row = (String, i64, i64, i64, String);
            let rows: Vec<Row> = self.fetch(text, one().chain(one()).collect()).await?;
            // Names that a mail gives itself besides its own are hints, and come last.
            let named = rows.iter().map(|(name, mail, _, rank, address)| Named {
                mail: MailId(*mail),
                name: name.clone(),
                address: address.to_lowercase(),
                rank: *rank,
            });
            let served = choose_named(named);
            let (first, rest): (Vec<Row>, Vec<Row>) = rows
                .into_iter()
                .partition(|row| served.contains(&MailId(row.1)));
            found.extend(first.into_iter().chain(rest).map(|row| (row.0, row.1)));
        }
        Ok(found)
    }

    /// Mails by the ids of their patches, as the full-text index has them.
    async fn find_by_patches(
        &self,
        realm: RealmId,
        ids: &[&String],
    ) -> Result<Vec<(String, i64)>, StoreError> {
        let position = index::POSITION;
        let one = match self.dialect {
            Dialect::Sqlite => format!(
                "select ? as name, m.id from search s join mail m on s.rowid = {position} where search match ?"
            ),
            Dialect::Postgres => format!(
                "select cast(? as text) as name, m.id from search s join mail m on s.position = {position} \
                 where s.tokens @@ (?)::tsquery"
            ),
        };
        let one = format!("{one} and m.realm = ? and m.state = 0");
        let mut found = Vec::new();
        for chunk in ids.chunks(AT_ONCE) {
            let text = vec![one.as_str(); chunk.len()].join(" union all ");
            let binds = chunk.iter().flat_map(|id| {
                let word = index::marked(Mark::Patch, &index::tokens(id)).concat();
                let word = match self.dialect {
                    Dialect::Sqlite => format!("\"{word}\""),
                    Dialect::Postgres => format!("'{word}'"),
                };
                [Bind::from(id.as_str()), word.into(), realm.0.into()]
            });
            found.extend(self.fetch::<(String, i64)>(text, binds.collect()).await?);
        }
        Ok(found)
    }

    /// The series that mails are patches of, or stand for, with the patch's number or 0.
    async fn find_series_of(
        &self,
        mails: &[i64],
    ) -> Result<BTreeMap<i64, Vec<(SeriesId, u32)>>, StoreError> {
        let mut found: BTreeMap<i64, Vec<(SeriesId, u32)>> = BTreeMap::new();
        for chunk in mails.chunks(200) {
            let list = marks(chunk.len());
            let text = format!(
                "select p.mail, p.series, p.number from patch p where p.taken_over = 0 and p.mail in ({list}) \
                 union select s.anchor, s.id, 0 from series s where s.anchor in ({list}) and s.anchor = s.cover"
            );
            let ids = || chunk.iter().map(|m| Bind::from(*m));
            let rows: Vec<(i64, i64, i64)> = self.fetch(text, ids().chain(ids()).collect()).await?;
            for (mail, series, number) in rows {
                let number = u32::try_from(number).unwrap_or(0);
                found
                    .entry(mail)
                    .or_default()
                    .push((SeriesId(series), number));
            }
        }
        Ok(found)
    }

    /// The series that name one as that on which they are built, or were applied on it: of each other patchset the newest version that
    /// no newer one stands in the place of, the newest patchset first, at most `limit`.
    pub async fn load_needing(
        &self,
        realm: RealmId,
        series: SeriesId,
        limit: i64,
    ) -> Result<Vec<Needing>, StoreError> {
        let text = "select d.series, d.name from mail m join dependency d on d.realm = m.realm and d.name = m.message_id \
             where m.realm = $2 and m.id in (select mail from patch where series = $1 and taken_over = 0 union \
             select cover from series where id = $1 and cover is not null) order by d.series desc limit $3";
        let binds = vec![series.0.into(), realm.0.into(), MAX_NEEDING.into()];
        let naming: Vec<(i64, String)> = self.fetch(text, binds).await?;
        let names: BTreeSet<String> = naming.iter().map(|n| n.1.clone()).collect();
        let names: Vec<String> = names.into_iter().collect();
        let hits = self.find_named(realm, &names).await?;
        // A name that several mails carry leads to one of them.
        let leads_here = |name: &String| hits.get(name).and_then(|h| h.first()).map(|h| h.0);
        let naming = naming.iter().filter(|n| leads_here(&n.1) == Some(series));
        let mut ids: BTreeSet<i64> = naming.map(|n| n.0).collect();
        let text =
            "select series from application where on_series = $1 order by series desc limit $2";
        let binds = vec![series.0.into(), MAX_NEEDING.into()];
        let built: Vec<(i64,)> = self.fetch(text, binds).await?;
        ids.extend(built.iter().map(|row| row.0));
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let text = format!(
            "select s.patchset, s.label, s.title from series s where s.id in ({}) and s.superseded = 0 and s.realm = ? \
             and s.patchset <> (select patchset from series where id = ?) order by s.patchset desc, s.position desc",
            marks(ids.len())
        );
        let binds = ids.into_iter().chain([realm.0, series.0]).map(Bind::from);
        let rows: Vec<(i64, String, String)> = self.fetch(text, binds.collect()).await?;
        let row = |(patchset, version, title)| Needing {
            patchset,
            version,
            title,
        };
        let mut all: Vec<Needing> = rows.into_iter().map(row).collect();
        all.dedup_by_key(|needing| needing.patchset);
        all.truncate(usize::try_from(limit).unwrap_or(0));
        Ok(all)
    }

    async fn load_targets(
        &self,
        series: &BTreeSet<SeriesId>,
    ) -> Result<BTreeMap<SeriesId, Target>, StoreError> {
        type Row = (
            i64,
            i64,
            String,
            Option<String>,
            i64,
            i64,
            Option<String>,
            Option<i64>,
            i64,
            i64,
        );
        let mut found = BTreeMap::new();
        let ids: Vec<i64> = series.iter().map(|s| s.0).collect();
        for chunk in ids.chunks(400) {
            let text = format!(
                "select s.id, s.patchset, s.label, (select n.label from series n where n.id = ps.newest and n.id <> s.id), s.arrived, \
                 s.complete, a.outcome, a.repo, (select count(*) from patch p where p.series = s.id and p.commit_ref is null), \
                 (select count(*) from job j where j.kind = 'apply' and j.key = cast(s.id as text) and j.state = 0) \
                 from series s join patchset ps on ps.id = s.patchset left join application a on a.series = s.id where s.id in ({})",
                marks(chunk.len())
            );
            let binds = chunk.iter().map(|s| Bind::from(*s)).collect();
            for (id, patchset, label, newer, arrived, complete, outcome, repo, left, due) in
                self.fetch::<Row>(text, binds).await?
            {
                let target = Target {
                    patchset: PatchsetId(patchset),
                    label,
                    newer,
                    arrived: Timestamp(arrived),
                    complete: complete == 1,
                    outcome,
                    repo: repo.map(RepoId),
                    landed: complete == 1 && left == 0,
                    due: due > 0,
                };
                found.insert(SeriesId(id), target);
            }
        }
        Ok(found)
    }

    /// The commit of a patch of an applied series, 0 for its last.
    pub async fn find_applied(
        &self,
        series: SeriesId,
        number: u32,
    ) -> Result<Option<AppliedCommit>, StoreError> {
        let text = "select a.series, s.patchset, s.label, a.repo, case when $2 = 0 then a.head else c.commit_id end from application a \
             join series s on s.id = a.series left join application_commit c on c.series = a.series and c.number = $2 \
             where a.series = $1 and a.outcome = 'applied'";
        let binds = vec![series.0.into(), i64::from(number).into()];
        Ok(self.fetch_one(text, binds).await?.and_then(applied))
    }

    /// The series of a realm that was applied as this commit, by its full id.
    pub async fn find_applied_as(
        &self,
        realm: RealmId,
        commit: &str,
    ) -> Result<Option<AppliedCommit>, StoreError> {
        let text = "select a.series, s.patchset, s.label, a.repo, c.commit_id from application_commit c join application a on a.series = c.series \
             join series s on s.id = a.series where c.commit_id = $1 and s.realm = $2 and a.outcome = 'applied' order by a.series limit 1";
        let binds = vec![commit.to_ascii_lowercase().into(), realm.0.into()];
        Ok(self.fetch_one(text, binds).await?.and_then(applied))
    }
}

impl Store {
    /// Writes what a series names, if that is not what is there.
    ///
    /// Done before anything is looked up: whoever is recorded afterwards finds it and wakes the series.
    pub async fn record_names(
        &self,
        realm: RealmId,
        series: SeriesId,
        names: Vec<String>,
    ) -> Result<(), StoreError> {
        if self.load_named(series).await? == names {
            return Ok(());
        }
        let row = move |(position, name): (i64, String)| {
            let (series, realm) = (series.0.into(), realm.0.into());
            vec![series, position.into(), realm, name.into()]
        };
        let rows = (0..).zip(names).map(row).collect();
        self.write(move |tx| {
            Box::pin(async move {
                let text = "delete from dependency where series = $1";
                tx.execute(text, vec![series.0.into()]).await?;
                let head = "dependency (series, position, realm, name)";
                // A series that is gone by now names nothing.
                let there: Option<(i64,)> = tx
                    .fetch_one("select id from series where id = $1", vec![series.0.into()])
                    .await?;
                if there.is_some() {
                    tx.insert(head, rows, "").await?;
                }
                Ok(())
            })
        })
        .await
    }
}

fn applied(row: (i64, i64, String, Option<i64>, Option<String>)) -> Option<AppliedCommit> {
    let (series, patchset, label, repo, commit) = row;
    Some(AppliedCommit {
        series: SeriesId(series),
        title: format!("patchset {patchset} v{label}"),
        repo: RepoId(repo?),
        commit: commit?,
    })
}

/// Owes another try of the series that name this one by one of `names` and are not applied.
pub(super) async fn wake(
    tx: &mut Tx,
    realm: RealmId,
    named: SeriesId,
    names: &[String],
    priority: i64,
) -> Result<(), StoreError> {
    for chunk in names.chunks(400) {
        let text = format!(
            "select distinct d.series from dependency d left join application a on a.series = d.series \
             where d.realm = ? and d.series <> ? and d.name in ({}) and (a.outcome is null or a.outcome <> 'applied') order by d.series desc limit ?",
            marks(chunk.len())
        );
        let mut binds = vec![Bind::from(realm.0), named.0.into()];
        binds.extend(chunk.iter().map(Bind::from));
        binds.push(MAX_WOKEN.into());
        let rows = tx.fetch(text, binds).await?;
        job::insert(tx, &applies(rows, priority), Timestamp(0)).await?;
    }
    Ok(())
}

/// The same for what names mails that were filed just now.
pub(super) async fn wake_for(
    tx: &mut Tx,
    mails: &[MailId],
    priority: i64,
) -> Result<(), StoreError> {
    for chunk in mails.chunks(400) {
        let text = format!(
            "select distinct d.series from mail m join dependency d on d.realm = m.realm and d.name = m.message_id \
             left join application a on a.series = d.series where m.id in ({}) and (a.outcome is null or a.outcome <> 'applied') \
             order by d.series desc limit ?",
            marks(chunk.len())
        );
        let ids = chunk.iter().map(|m| Bind::from(m.0));
        let binds = ids.chain([MAX_WOKEN.into()]).collect();
        let rows = tx.fetch(text, binds).await?;
        job::insert(tx, &applies(rows, priority), Timestamp(0)).await?;
    }
    Ok(())
}

/// The same for what names the page of a version that these mails are patches of; `base_url` is that of all addresses.
pub(super) async fn wake_for_pages(
    tx: &mut Tx,
    mails: &[MailId],
    base_url: &str,
    priority: i64,
) -> Result<(), StoreError> {
    let mut pages: BTreeMap<i64, BTreeSet<String>> = BTreeMap::new();
    for chunk in mails.chunks(400) {
        let text = format!(
            "select distinct l.realm, l.name, s.patchset, s.label from patch p join series s on s.id = p.series \
             join patchset_list pl on pl.patchset = s.patchset join list l on l.id = pl.list where p.mail in ({})",
            marks(chunk.len())
        );
        let binds = chunk.iter().map(|m| Bind::from(m.0)).collect();
        for (realm, list, patchset, label) in tx.fetch(text, binds).await? {
            let all = Page::both(base_url, list, PatchsetId(patchset), label);
            pages.entry(realm).or_default().extend(all);
        }
    }
    for (realm, names) in pages {
        let names: Vec<String> = names.into_iter().collect();
        // No version is left out: none names its own page.
        wake(tx, RealmId(realm), SeriesId(0), &names, priority).await?;
    }
    Ok(())
}

fn applies(rows: Vec<(i64,)>, priority: i64) -> Vec<(Job, i64)> {
    let job = |(series,): (i64,)| (Job::Apply(SeriesId(series)), priority);
    rows.into_iter().map(job).collect()
}
