//! Patches that landed: what may have, what did, as which commits of which branches, and what was dropped again.
//!
//! `landed` knows it for each mail and branch; the commits of patches and the states of series follow from it ([`settle`]).

use std::collections::HashMap;

use super::application::threads;
use super::regroup::OPEN_STATES;
use super::sql::Bind;
use super::{Reader, Store, StoreError, Tx, file, marks, news};
use crate::types::{MailId, RealmId, Timestamp};

/// A patch that may have landed in a repository.
#[derive(Debug, Clone)]
pub struct Pending {
    /// Its series.
    pub series: i64,
    /// The series' patchset.
    pub patchset: i64,
    /// `2`, `3-r1`.
    pub label: String,
    /// Whose.
    pub realm: RealmId,
    /// Place in the series, from 1.
    pub number: i64,
    /// Its mail.
    pub mail: MailId,
    /// Its mail's name.
    pub message_id: String,
    /// JSON of what was recognised.
    pub recognised: String,
    /// When it came. Its Date is anybody's word: a stranger who sends again what landed long ago would have landed it.
    pub arrived: Timestamp,
}

/// A branch of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BranchOf {
    /// The repository's row.
    pub repo: i64,
    /// Its name.
    pub name: String,
    /// The branch.
    pub branch: String,
}

impl std::fmt::Display for BranchOf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of {}", self.branch, self.name)
    }
}

/// A commit that a patch landed as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LandedAs {
    /// The series.
    pub series: i64,
    /// Place of the patch, from 1.
    pub number: i64,
    /// The repository's name.
    pub repo: String,
    /// The branch.
    pub branch: String,
    /// The commit.
    pub commit: String,
}

/// Patchwork's number for `accepted`.
pub const ACCEPTED: i64 = 3;
/// Patchwork's number for `rejected`.
pub(super) const REJECTED: i64 = 4;

/// The mails of a patchset's versions, each with the label of the one that it came with; binds the patchset twice.
pub(super) const OWN_MAILS: &str = "(select s.label as label, p.mail as mail from series s \
     join patch p on p.series = s.id and p.taken_over = 0 where s.patchset = ? \
     union select s.label, s.cover from series s where s.patchset = ? and s.cover is not null)";

const PENDING: &str = "select p.series, s.patchset, s.label, s.realm, p.number, p.mail, m.message_id, m.recognised, m.arrived \
     from patch p join series s on s.id = p.series join mail m on m.id = p.mail";

type Row = (i64, i64, String, i64, i64, i64, String, String, i64);

fn pending(row: Row) -> Pending {
    let (series, patchset, label, realm, number, mail, message_id, recognised, arrived) = row;
    Pending {
        series,
        patchset,
        label,
        realm: RealmId(realm),
        number,
        mail: MailId(mail),
        message_id,
        recognised,
        arrived: Timestamp(arrived),
    }
}

impl Reader {
    /// The patches of complete series of a repository's lists that were not rejected or archived: open ones first, then the
    /// newest.
    pub async fn load_pending(&self, repo: i64, series: i64) -> Result<Vec<Pending>, StoreError> {
        let text = format!(
            "{PENDING} where p.series in (select s.id from series s where s.patchset in \
             (select pl.patchset from patchset_list pl join list_repo lr on lr.list = pl.list where lr.repo = ?) and s.complete = 1 and s.archived = 0 and s.state <> ? \
             order by case when s.state in ({OPEN_STATES}) then 0 else 1 end, s.id desc limit ?) \
             order by p.series, p.number"
        );
        let binds = vec![repo.into(), REJECTED.into(), series.into()];
        let rows: Vec<Row> = self.fetch(text, binds).await?;
        Ok(rows.into_iter().map(pending).collect())
    }

    /// The patches of one complete series, unless it was rejected.
    pub async fn load_pending_of(&self, series: i64) -> Result<Vec<Pending>, StoreError> {
        let text = format!(
            "{PENDING} where p.series = ? and s.complete = 1 and s.state <> ? order by p.number"
        );
        let rows: Vec<Row> = self
            .fetch(text, vec![series.into(), REJECTED.into()])
            .await?;
        Ok(rows.into_iter().map(pending).collect())
    }

    /// Of these series those that were applied: series, repository, realm, and the commits before the first and of the last patch.
    pub async fn load_applied_ends(
        &self,
        series: &[i64],
    ) -> Result<Vec<(i64, String, RealmId, (String, String))>, StoreError> {
        let mut all = Vec::new();
        for chunk in series.chunks(400) {
            let text = format!(
                "select a.series, r.name, s.realm, a.base, a.head from application a join series s on s.id = a.series join repo r on r.id = a.repo \
                 where a.outcome = 'applied' and a.base is not null and a.head is not null and a.series in ({})",
                marks(chunk.len())
            );
            let binds = chunk.iter().map(|s| Bind::from(*s)).collect();
            type Row = (i64, String, i64, String, String);
            let rows: Vec<Row> = self.fetch(text, binds).await?;
            let row = |(series, repo, realm, base, head): Row| {
                (series, repo, RealmId(realm), (base, head))
            };
            all.extend(rows.into_iter().map(row));
        }
        Ok(all)
    }

    /// The patches that landed in a branch as one of these commits, whatever became of their series since, with the commit.
    pub async fn load_landed_in(
        &self,
        place: &BranchOf,
        commits: &[String],
    ) -> Result<Vec<(Pending, String)>, StoreError> {
        let mut rows: Vec<(i64, String)> = Vec::new();
        for chunk in commits.chunks(400) {
            let text = format!(
                "select mail, commit_id from landed where repo = ? and branch = ? and commit_id in ({})",
                marks(chunk.len())
            );
            let mut binds = vec![Bind::from(place.repo), place.branch.as_str().into()];
            binds.extend(chunk.iter().map(Bind::from));
            rows.extend(self.fetch::<(i64, String)>(text, binds).await?);
        }
        let commit_of: HashMap<i64, String> = rows.into_iter().collect();
        let mails: Vec<i64> = commit_of.keys().copied().collect();
        let mut all = Vec::new();
        for chunk in mails.chunks(400) {
            let text = format!("{PENDING} where p.mail in ({})", marks(chunk.len()));
            let binds = chunk.iter().map(|m| Bind::from(*m)).collect();
            let found: Vec<Row> = self.fetch(text, binds).await?;
            all.extend(found.into_iter().map(pending));
        }
        let with_commit = |p: Pending| {
            let commit = commit_of.get(&p.mail.0)?.clone();
            Some((p, commit))
        };
        Ok(all.into_iter().filter_map(with_commit).collect())
    }

    /// The commits that patches of these series landed as, those of main branches first.
    pub async fn load_landed(&self, series: &[i64]) -> Result<Vec<LandedAs>, StoreError> {
        let mut all = Vec::new();
        for chunk in series.chunks(400) {
            let text = format!(
                "select p.series, p.number, r.name, l.branch, l.commit_id from patch p join landed l on l.mail = p.mail \
                 join repo r on r.id = l.repo where p.series in ({}) \
                 order by p.series, case when l.branch = r.branch then 0 else 1 end, l.repo, l.branch, p.number",
                marks(chunk.len())
            );
            let binds = chunk.iter().map(|s| Bind::from(*s)).collect();
            let rows: Vec<(i64, i64, String, String, String)> = self.fetch(text, binds).await?;
            let row = |(series, number, repo, branch, commit)| LandedAs {
                series,
                number,
                repo,
                branch,
                commit,
            };
            all.extend(rows.into_iter().map(row));
        }
        Ok(all)
    }

    /// What happened to a patchset in branches and by decision, newest first: (when, kind, who, what). Kinds: `landed` and
    /// `dropped`; `state` and `delegate` with the version's label, a blank, and Patchwork's number or an address; `patch state` with
    /// the label, a blank, the patch's number, a blank, and Patchwork's number.
    pub async fn load_history(
        &self,
        patchset: i64,
        limit: i64,
    ) -> Result<Vec<(Timestamp, String, String, String)>, StoreError> {
        let text = format!(
            "select happened, kind, actor, detail from \
             (select id, happened, kind, actor, detail from event where patchset = ? and kind in ('landed', 'dropped') union all \
             select e.id, e.happened, e.kind, e.actor, t.label || ' ' || e.detail from {OWN_MAILS} t \
             join event e on e.mail = t.mail and e.kind in ('state', 'delegate') union all \
             select e.id, e.happened, e.kind, e.actor, s.label || ' ' || p.number || ' ' || e.detail from series s \
             join patch p on p.series = s.id and p.taken_over = 0 join event e on e.mail = p.mail and e.kind = 'patch state' \
             where s.patchset = ?) h order by id desc limit ?"
        );
        let binds = vec![
            patchset.into(),
            patchset.into(),
            patchset.into(),
            patchset.into(),
            limit.into(),
        ];
        let rows: Vec<(i64, String, String, String)> = self.fetch(text, binds).await?;
        let row = |(when, kind, actor, detail)| (Timestamp(when), kind, actor, detail);
        Ok(rows.into_iter().map(row).collect())
    }
}

impl Store {
    /// Records that patches of one series landed in a branch as these commits, by that person or found by us; what is known
    /// already is passed over. Returns how many were new.
    ///
    /// Once all patches of a series have landed, it and its patchset are accepted, unless a person set its state.
    pub async fn record_landed(
        &self,
        place: BranchOf,
        landed: Vec<(Pending, String)>,
        actor: Option<String>,
        now: Timestamp,
    ) -> Result<usize, StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                let Some((first, _)) = landed.first() else {
                    return Ok(0);
                };
                // Before anything else, as filing and purging do: else they and this could wait for each other.
                file::lock_realm(tx, first.realm).await?;
                let mails: Vec<MailId> = landed.iter().map(|(p, _)| p.mail).collect();
                let known = load_known(tx, &place, &mails).await?;
                let new = |(p, c): &&(Pending, String)| !known.contains(&(p.mail.0, c.clone()));
                let fresh: Vec<&(Pending, String)> = landed.iter().filter(new).collect();
                if actor.is_none() && fresh.is_empty() {
                    return Ok(0);
                }
                let row = |(p, c): &(Pending, String)| {
                    let (branch, commit) = (place.branch.as_str(), c.as_str());
                    vec![
                        p.mail.0.into(),
                        place.repo.into(),
                        branch.into(),
                        commit.into(),
                        now.0.into(),
                    ]
                };
                let rows = landed.iter().map(row).collect();
                let tail = "on conflict (mail, repo, branch) do update set commit_id = excluded.commit_id, found = excluded.found";
                tx.insert("landed (mail, repo, branch, commit_id, found)", rows, tail)
                    .await?;
                let said: Vec<&(Pending, String)> = match actor {
                    Some(_) => landed.iter().collect(),
                    None => fresh.clone(),
                };
                let words = said
                    .iter()
                    .map(|(p, c)| format!("patch {} as {c}", p.number));
                let words = words.collect::<Vec<_>>().join(", ");
                let detail = format!("v{}: {words} in {place}", first.label);
                let actor = actor.unwrap_or_else(|| format!("repository {}", place.name));
                note(tx, "landed", first, &actor, &detail, now).await?;
                news::owe(tx, &[first.series]).await?;
                finish(tx, first.realm, &mails).await?;
                Ok(fresh.len())
            })
        })
        .await
    }

    /// Records that patches of one series are in a branch no more: a series that was accepted because they were there has the
    /// state of before again, unless a person set it.
    pub async fn record_dropped(
        &self,
        place: BranchOf,
        dropped: Vec<Pending>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                let Some(any) = dropped.first() else {
                    return Ok(());
                };
                file::lock_realm(tx, any.realm).await?;
                let mails: Vec<MailId> = dropped.iter().map(|p| p.mail).collect();
                let known = load_known(tx, &place, &mails).await?;
                let there = |p: &&Pending| known.iter().any(|k| k.0 == p.mail.0);
                let Some(first) = dropped.iter().find(there) else {
                    return Ok(());
                };
                for chunk in mails.chunks(400) {
                    let text = format!(
                        "delete from landed where repo = ? and branch = ? and mail in ({})",
                        marks(chunk.len())
                    );
                    let mut binds = vec![Bind::from(place.repo), place.branch.as_str().into()];
                    binds.extend(chunk.iter().map(|m| Bind::from(m.0)));
                    tx.execute(text, binds).await?;
                }
                let words = dropped.iter().map(|p| format!("patch {}", p.number));
                let words = words.collect::<Vec<_>>().join(", ");
                let detail = format!("v{}: {words} left {place}", first.label);
                let actor = format!("repository {}", place.name);
                note(tx, "dropped", first, &actor, &detail, now).await?;
                finish(tx, first.realm, &mails).await
            })
        })
        .await
    }

    /// Brings a series in line with what landed of its mails when they stood in another series.
    pub async fn settle_series(&self, realm: RealmId, series: i64) -> Result<(), StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                file::lock_realm(tx, realm).await?;
                settle(tx, &[series]).await
            })
        })
        .await
    }
}

/// What is known of mails in a branch: (mail, commit).
async fn load_known(
    tx: &mut Tx,
    place: &BranchOf,
    mails: &[MailId],
) -> Result<Vec<(i64, String)>, StoreError> {
    let mut all = Vec::new();
    for chunk in mails.chunks(400) {
        let text = format!(
            "select mail, commit_id from landed where repo = ? and branch = ? and mail in ({})",
            marks(chunk.len())
        );
        let mut binds = vec![Bind::from(place.repo), place.branch.as_str().into()];
        binds.extend(chunk.iter().map(|m| Bind::from(m.0)));
        all.extend(tx.fetch::<(i64, String)>(text, binds).await?);
    }
    Ok(all)
}

async fn note(
    tx: &mut Tx,
    kind: &'static str,
    of: &Pending,
    actor: &str,
    detail: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    let row = vec![
        of.realm.0.into(),
        kind.into(),
        of.patchset.into(),
        actor.into(),
        now.0.into(),
        detail.into(),
    ];
    let head = "event (realm, kind, patchset, actor, happened, detail)";
    tx.insert(head, vec![row], "").await?;
    Ok(())
}

/// Brings all series that hold these mails in line with what landed, and pages up to date.
async fn finish(tx: &mut Tx, realm: RealmId, mails: &[MailId]) -> Result<(), StoreError> {
    let mut series = Vec::new();
    for chunk in mails.chunks(400) {
        let text = format!(
            "select distinct series from patch where mail in ({})",
            marks(chunk.len())
        );
        let binds = chunk.iter().map(|m| Bind::from(m.0)).collect();
        series.extend(tx.fetch::<(i64,)>(text, binds).await?.iter().map(|r| r.0));
    }
    settle(tx, &series).await?;
    let threads = threads(tx, mails).await?;
    file::raise(tx, realm, &threads).await
}

/// The same for the series of patchsets that were grouped anew.
pub(super) async fn settle_patchsets(tx: &mut Tx, patchsets: &[i64]) -> Result<(), StoreError> {
    let mut series = Vec::new();
    for chunk in patchsets.chunks(400) {
        let text = format!(
            "select distinct s.id from series s join patch p on p.series = s.id join landed l on l.mail = p.mail \
             where s.patchset in ({})",
            marks(chunk.len())
        );
        let binds = chunk.iter().map(|p| Bind::from(*p)).collect();
        series.extend(tx.fetch::<(i64,)>(text, binds).await?.iter().map(|r| r.0));
    }
    settle(tx, &series).await
}

/// Derives from `landed` what stands in these series: commits of patches, and states that no person set.
async fn settle(tx: &mut Tx, series: &[i64]) -> Result<(), StoreError> {
    let commit = "select l.commit_id from landed l join repo r on r.id = l.repo where l.mail = patch.mail \
         order by case when l.branch = r.branch then 0 else 1 end, l.repo, l.branch limit 1";
    let missing = "(select 1 from patch p where p.series = series.id and p.commit_ref is null)";
    for chunk in series.chunks(400) {
        let list = marks(chunk.len());
        for text in [
            format!("update patch set commit_ref = ({commit}) where series in ({list})"),
            format!(
                "update patch set state = case when commit_ref is not null then {ACCEPTED} end where series in ({list}) and hand = 0"
            ),
            format!(
                "update series set before_landed = state, state = {ACCEPTED} where id in ({list}) and hand = 0 and complete = 1 \
                 and state not in ({ACCEPTED}, {REJECTED}) and not exists {missing}"
            ),
            // What a newer version would have done to it meanwhile, or does no more.
            format!(
                "update series set state = case when superseded = 1 and before_landed in ({OPEN_STATES}) then 9 \
                 when superseded = 0 and before_landed = 9 then 1 else before_landed end, before_landed = null \
                 where id in ({list}) and hand = 0 and state = {ACCEPTED} and before_landed is not null and exists {missing}"
            ),
            format!(
                "update patchset set state = coalesce((select s.state from series s where s.id = patchset.newest), state) \
                 where id in (select patchset from series where id in ({list}))"
            ),
        ] {
            let binds = chunk.iter().map(|s| Bind::from(*s)).collect();
            tx.execute(text, binds).await?;
        }
    }
    Ok(())
}
