//! Applying series: what is to be applied, and what came of it.

use super::sql::Bind;
use super::{RepoRow, Store, StoreError, Tx, file, job, marks};
use crate::types::{ListId, MailId, PatchsetId, RealmId, RepoId, SeriesId, Timestamp};

/// Series archived in one transaction.
const AT_ONCE: u64 = 256;

/// A complete series with all that applying needs.
#[derive(Debug, Clone)]
pub struct SeriesToApply {
    /// Its row.
    pub id: SeriesId,
    /// Its patchset.
    pub patchset: PatchsetId,
    /// Its realm.
    pub realm: RealmId,
    /// `2`, `3-r1`.
    pub label: String,
    /// Whether it is the newest version.
    pub newest: bool,
    /// `base-commit:`
    pub base_commit: Option<String>,
    /// Words of the tag, blank-separated.
    pub prefixes: String,
    /// Arrival of its newest patch.
    pub arrived: Timestamp,
    /// Its patches in order.
    pub mails: Vec<MailId>,
    /// JSON of what was recognised of each.
    pub recognised: Vec<String>,
    /// The list that the commits are signed with: the first it was posted to.
    pub list_name: String,
    /// Its address.
    pub list_address: String,
    /// The repositories of its lists, the most important first.
    pub repos: Vec<RepoRow>,
}

/// What came of applying a series.
#[derive(Debug, Clone, Default)]
pub struct NewApplication {
    /// `applied`, `conflict`, `elsewhere` or `bad`.
    pub outcome: &'static str,
    repo: Option<i64>,
    base: Option<String>,
    why: String,
    tip_applies: Option<i64>,
    ref_name: Option<String>,
    head: Option<String>,
    patch: Option<i64>,
    file: Option<String>,
    hunk: Option<i64>,
    detail: String,
    commits: Vec<String>,
}

impl NewApplication {
    /// It is not for a repository of this list.
    pub fn elsewhere(why: &str) -> NewApplication {
        NewApplication {
            outcome: "elsewhere",
            detail: why.to_owned(),
            ..NewApplication::default()
        }
    }

    /// Tried on that commit, for that reason.
    pub fn on(repo: i64, base: &str, why: &str) -> NewApplication {
        NewApplication {
            repo: Some(repo),
            base: Some(base.to_owned()),
            why: why.to_owned(),
            ..NewApplication::default()
        }
    }

    /// It applies.
    pub fn applied(
        self,
        ref_name: String,
        head: String,
        commits: Vec<String>,
        on_tip: bool,
    ) -> NewApplication {
        let (ref_name, head, tip_applies) = (Some(ref_name), Some(head), on_tip.then_some(1));
        NewApplication {
            outcome: "applied",
            ref_name,
            head,
            commits,
            tip_applies,
            ..self
        }
    }

    /// A patch does not fit.
    pub fn conflict(self, patch: usize, file: String, hunk: i64, detail: String) -> NewApplication {
        let patch = i64::try_from(patch).ok();
        NewApplication {
            outcome: "conflict",
            patch,
            file: Some(file),
            hunk: Some(hunk),
            detail,
            ..self
        }
    }

    /// A mail is no usable patch.
    pub fn bad(self, patch: usize, reason: String) -> NewApplication {
        NewApplication {
            outcome: "bad",
            patch: i64::try_from(patch).ok(),
            detail: reason,
            ..self
        }
    }
}

impl Store {
    /// What applying a series needs; `None` if it is gone or no longer complete.
    pub async fn load_series_to_apply(
        &self,
        id: SeriesId,
    ) -> Result<Option<SeriesToApply>, StoreError> {
        type Row = (i64, i64, String, Option<String>, String, i64, Option<i64>);
        let text = "select s.patchset, s.realm, s.label, s.base_commit, p.prefixes, s.arrived, p.newest from series s \
             join patchset p on p.id = s.patchset where s.id = $1 and s.complete = 1";
        let row: Option<Row> = self.fetch_one(text, vec![id.0.into()]).await?;
        let Some((patchset, realm, label, base_commit, prefixes, arrived, newest)) = row else {
            return Ok(None);
        };
        let text = "select m.id, m.recognised from patch p join mail m on m.id = p.mail where p.series = $1 order by p.number";
        let patches: Vec<(i64, String)> = self.fetch(text, vec![id.0.into()]).await?;
        let text = "select l.id, l.name, l.address from list l join patchset_list pl on pl.list = l.id \
             where pl.patchset = $1 order by l.id";
        let lists: Vec<(i64, String, String)> = self.fetch(text, vec![patchset.into()]).await?;
        let Some((_, list_name, list_address)) = lists.first().cloned() else {
            return Ok(None);
        };
        let mut repos: Vec<RepoRow> = Vec::new();
        for (list, ..) in lists.iter().take(10) {
            for repo in self.load_list_repos(ListId(*list)).await? {
                if !repos.iter().any(|r| r.id == repo.id) {
                    repos.push(repo);
                }
            }
        }
        Ok(Some(SeriesToApply {
            id,
            patchset: PatchsetId(patchset),
            realm: RealmId(realm),
            label,
            newest: newest == Some(id.0),
            base_commit,
            prefixes,
            arrived: Timestamp(arrived),
            mails: patches.iter().map(|p| MailId(p.0)).collect(),
            recognised: patches.into_iter().map(|p| p.1).collect(),
            list_name,
            list_address,
            repos,
        }))
    }

    /// Records what came of a series and strikes the job off.
    pub async fn record_application(
        &self,
        work: &SeriesToApply,
        new: NewApplication,
        job: job::Held,
    ) -> Result<(), StoreError> {
        let (series, realm, anchors) = (work.id, work.realm, work.mails.clone());
        let now = super::now();
        self.write(move |tx| {
            Box::pin(async move {
                record(tx, series, new, now).await?;
                let threads = threads(tx, &anchors).await?;
                file::raise(tx, realm, &threads).await?;
                job::finish(tx, &[job]).await
            })
        })
        .await
    }

    /// Archives series of a repository's lists: closed ones that arrived before `closed`, others before `open`; takes back
    /// those that are open again. Returns how many were archived.
    pub async fn archive_series(
        &self,
        repo: RepoId,
        closed: Timestamp,
        open: Timestamp,
    ) -> Result<u64, StoreError> {
        let old = format!(
            "(case when s.state in ({}) then s.arrived < ? else s.arrived < ? end)",
            super::regroup::OPEN_STATES
        );
        let of_repo = "select s.id from list_repo lr join patchset_list pl on pl.list = lr.list \
             join series s on s.patchset = pl.patchset where lr.repo = ?";
        let mut count = 0;
        for (from, to, wanted) in [(0, 1, old.clone()), (1, 0, format!("not {old}"))] {
            loop {
                let text = format!(
                    "update series set archived = {to} where id in ({of_repo} and s.archived = {from} and {wanted} limit {AT_ONCE})"
                );
                let binds = vec![repo.0.into(), open.0.into(), closed.0.into()];
                let done = self
                    .write(move |tx| Box::pin(async move { tx.execute(text, binds).await }))
                    .await?;
                count += if to == 1 { done } else { 0 };
                if done < AT_ONCE {
                    break;
                }
            }
        }
        Ok(count)
    }

    /// Open complete series of a repository's lists, the newest first: what a moved branch makes worth another look.
    pub async fn load_open_series(
        &self,
        repo: i64,
        limit: i64,
    ) -> Result<Vec<SeriesId>, StoreError> {
        let text = "select distinct s.id from series s join patchset_list pl on pl.patchset = s.patchset \
             join list_repo lr on lr.list = pl.list left join application a on a.series = s.id \
             where lr.repo = $1 and s.complete = 1 and s.superseded = 0 and s.archived = 0 \
             and (a.outcome is null or a.outcome <> 'applied') order by s.id desc limit $2";
        let rows: Vec<(i64,)> = self.fetch(text, vec![repo.into(), limit.into()]).await?;
        Ok(rows.into_iter().map(|r| SeriesId(r.0)).collect())
    }
}

async fn record(
    tx: &mut Tx,
    series: SeriesId,
    new: NewApplication,
    now: Timestamp,
) -> Result<(), StoreError> {
    tx.execute(
        "delete from application_commit where series = $1",
        vec![series.0.into()],
    )
    .await?;
    tx.execute(
        "delete from application where series = $1",
        vec![series.0.into()],
    )
    .await?;
    let commits = (1i64..).zip(&new.commits);
    let rows = commits
        .map(|(n, c)| vec![series.0.into(), n.into(), Bind::from(c.as_str())])
        .collect();
    let row = vec![
        series.0.into(),
        new.repo.into(),
        new.outcome.into(),
        new.base.into(),
        new.why.into(),
        new.tip_applies.into(),
        new.ref_name.into(),
        new.head.into(),
        new.patch.into(),
        new.file.into(),
        new.hunk.into(),
        new.detail.into(),
        now.0.into(),
    ];
    let head = "application (series, repo, outcome, base, why, tip_applies, ref_name, head, patch, file, hunk, detail, made)";
    tx.insert(head, vec![row], "").await?;
    tx.insert("application_commit (series, number, commit_id)", rows, "")
        .await?;
    Ok(())
}

/// The threads of these mails.
pub(super) async fn threads(tx: &mut Tx, mails: &[MailId]) -> Result<Vec<i64>, StoreError> {
    let mut out = Vec::new();
    for chunk in mails.chunks(400) {
        let text = format!(
            "select distinct n.thread from mail m join node n on n.id = m.node where m.id in ({})",
            marks(chunk.len())
        );
        out.extend(
            tx.fetch::<(i64,)>(text, chunk.iter().map(|m| Bind::from(m.0)).collect())
                .await?
                .into_iter()
                .map(|r| r.0),
        );
    }
    Ok(out)
}
