//! Applying series: what is to be applied, and what came of it.

use super::purge::ids_of;
use super::sql::Bind;
use super::{
    NewTip, Reader, RepoRow, Store, StoreError, Tx, dependency, file, job, marks, recall, tip,
};
use crate::types::{Job, ListId, MailId, PatchsetId, RealmId, RepoId, SeriesId, Timestamp};

/// Series archived in one transaction.
const AT_ONCE: u64 = 256;

/// Priority of series that are tried again because one that they name was applied: behind what came in just now.
const AGAIN: i64 = 2;

/// Where a series that is published was applied: it stays there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// The repository.
    pub repo: i64,
    /// The commit.
    pub base: String,
    /// Why that one.
    pub why: String,
    /// The series that the commit is of, if it is not the project's.
    pub on_series: Option<SeriesId>,
}

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
    /// The same of its cover letter.
    pub cover: Option<String>,
    /// Names of its mails: cover letter and patches.
    pub message_ids: Vec<String>,
    /// It is neither superseded, archived nor in a state that ends it.
    pub open: bool,
    /// Where it was applied, if it is published already.
    pub published: Option<Published>,
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
    /// `applied`, `conflict`, `elsewhere`, `waits` or `bad`.
    pub outcome: &'static str,
    repo: Option<i64>,
    on_series: Option<i64>,
    base: Option<String>,
    why: String,
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

    /// It waits for what it names; in words for what.
    pub fn waits(repo: Option<i64>, why: &str) -> NewApplication {
        NewApplication {
            outcome: "waits",
            repo,
            detail: why.to_owned(),
            ..NewApplication::default()
        }
    }

    /// The repository's row, the commit on which it was applied, and its last.
    pub fn ends(&self) -> Option<(i64, (String, String))> {
        Some((self.repo?, (self.base.clone()?, self.head.clone()?)))
    }

    /// The commit it was tried on is of that series.
    pub fn built_on(self, series: Option<SeriesId>) -> NewApplication {
        let on_series = series.map(|s| s.0);
        NewApplication { on_series, ..self }
    }

    /// The tip of its repository's branch, as it says of it by itself: where it was tried there.
    pub fn at_tip(&self, tip: &str) -> Option<NewTip> {
        let here = self.base.as_deref() == Some(tip);
        let outcome = match self.outcome {
            "applied" => "applies",
            "conflict" => "conflict",
            "bad" => "bad",
            _ => return None,
        };
        Some(NewTip {
            repo: self.repo.filter(|_| here)?,
            tip: tip.to_owned(),
            outcome,
            patch: self.patch,
            file: self.file.clone(),
            hunk: self.hunk,
            detail: self.detail.clone(),
        })
    }

    /// It applies.
    pub fn applied(self, ref_name: String, head: String, commits: Vec<String>) -> NewApplication {
        NewApplication {
            outcome: "applied",
            ref_name: Some(ref_name),
            head: Some(head),
            commits,
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

/// What came of trying a series, with what it is known by.
#[derive(Debug, Clone)]
pub struct Tried {
    /// The outcome.
    pub application: NewApplication,
    /// Ids of its own patches: others may name them.
    pub patch_ids: Vec<String>,
    /// Whether it applies at the tip, if that was looked at.
    pub tip: Option<NewTip>,
}

impl Reader {
    /// What applying a series needs; `None` if it is gone or no longer complete.
    pub async fn load_series_to_apply(
        &self,
        id: SeriesId,
    ) -> Result<Option<SeriesToApply>, StoreError> {
        type Row = (
            i64,
            i64,
            String,
            Option<String>,
            String,
            i64,
            Option<i64>,
            Option<String>,
            Option<String>,
            i64,
        );
        let text = format!(
            "select s.patchset, s.realm, s.label, s.base_commit, p.prefixes, s.arrived, p.newest, c.message_id, c.recognised, \
             case when {} then 1 else 0 end from series s join patchset p on p.id = s.patchset left join mail c on c.id = s.cover \
             where s.id = ? and s.complete = 1",
            tip::open()
        );
        let row: Option<Row> = self.fetch_one(text, vec![id.0.into()]).await?;
        let Some(row) = row else {
            return Ok(None);
        };
        let (patchset, realm, label, base_commit, prefixes, arrived, newest, cover_id, cover, open) =
            row;
        let text = "select m.id, m.message_id, m.recognised from patch p join mail m on m.id = p.mail where p.series = $1 order by p.number";
        let patches: Vec<(i64, String, String)> = self.fetch(text, vec![id.0.into()]).await?;
        let published = self.find_published(id).await?;
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
            message_ids: cover_id
                .into_iter()
                .chain(patches.iter().map(|p| p.1.clone()))
                .collect(),
            recognised: patches.into_iter().map(|p| p.2).collect(),
            cover,
            open: open == 1,
            published,
            list_name,
            list_address,
            repos,
        }))
    }

    async fn find_published(&self, id: SeriesId) -> Result<Option<Published>, StoreError> {
        type Row = (Option<i64>, Option<String>, String, Option<i64>);
        let text = "select repo, base, why, on_series from application where series = $1 and outcome = 'applied'";
        let row: Option<Row> = self.fetch_one(text, vec![id.0.into()]).await?;
        Ok(row.and_then(|(repo, base, why, on_series)| {
            Some(Published {
                repo: repo?,
                base: base?,
                why,
                on_series: on_series.map(SeriesId),
            })
        }))
    }

    /// Open complete series of a repository's lists, the newest first: what a moved branch makes worth another look.
    pub async fn load_open_series(
        &self,
        repo: i64,
        limit: i64,
    ) -> Result<Vec<SeriesId>, StoreError> {
        let open = tip::open();
        // What is for another project comes last: there may be much of it.
        let text = format!(
            "select s.id from series s left join application a on a.series = s.id where s.complete = 1 and {open} \
             and s.patchset in (select pl.patchset from patchset_list pl join list_repo lr on lr.list = pl.list where lr.repo = $1) \
             and (a.outcome is null or a.outcome <> 'applied') \
             order by case when a.outcome = 'elsewhere' then 1 else 0 end, s.id desc limit $2"
        );
        let rows: Vec<(i64,)> = self.fetch(text, vec![repo.into(), limit.into()]).await?;
        Ok(rows.into_iter().map(|r| SeriesId(r.0)).collect())
    }

    /// Series of a repository's lists that wait and arrived before that, at most `limit`: what they name will hardly come.
    pub async fn load_waiting(
        &self,
        repo: RepoId,
        before: Timestamp,
        limit: i64,
    ) -> Result<Vec<SeriesId>, StoreError> {
        let text = "select distinct s.id from application a join series s on s.id = a.series join patchset_list pl on pl.patchset = s.patchset \
             join list_repo lr on lr.list = pl.list where lr.repo = $1 and a.outcome = 'waits' and s.arrived < $2 order by s.id limit $3";
        let binds = vec![repo.0.into(), before.0.into(), limit.into()];
        let rows: Vec<(i64,)> = self.fetch(text, binds).await?;
        Ok(rows.into_iter().map(|r| SeriesId(r.0)).collect())
    }
}

impl Store {
    /// Records what came of a series and strikes the job off. If that is something new, those that name it and are not
    /// applied are tried again.
    pub async fn record_application(
        &self,
        work: &SeriesToApply,
        tried: Tried,
        job: job::Held,
    ) -> Result<(), StoreError> {
        let (series, realm, anchors) = (work.id, work.realm, work.mails.clone());
        let (newest, patchset, label) = (work.newest, work.patchset, work.label.clone());
        let known_as: Vec<String> = work
            .message_ids
            .iter()
            .cloned()
            .chain(tried.patch_ids)
            .collect();
        let now = super::now();
        self.write(move |tx| {
            Box::pin(async move {
                file::lock_realm(tx, realm).await?;
                if is_taken_back(tx, realm, &anchors).await? {
                    let versions = match tried.application.outcome {
                        "applied" => vec![(patchset.0, label)],
                        _ => Vec::new(),
                    };
                    recall::owe_aftermath(tx, realm, versions, Vec::new(), now).await?;
                    return job::finish(tx, &[job]).await;
                }
                let text = "select outcome from application where series = $1";
                let before: Option<(String,)> = tx.fetch_one(text, vec![series.0.into()]).await?;
                let outcome = tried.application.outcome;
                record(tx, series, tried.application, now).await?;
                if let Some(check) = tried.tip {
                    tip::record(tx, vec![(series, check)], now).await?;
                }
                if before.is_none_or(|(old,)| old != outcome) {
                    dependency::wake(tx, realm, series, &known_as, AGAIN).await?;
                }
                // Its cover may stand in a thread of its own.
                let text = "select cover from series where id = $1 and cover is not null";
                let cover: Option<(i64,)> = tx.fetch_one(text, vec![series.0.into()]).await?;
                let mut shown_beside = anchors;
                shown_beside.extend(cover.map(|c| MailId(c.0)));
                let threads = threads(tx, &shown_beside).await?;
                file::raise(tx, realm, &threads).await?;
                if newest {
                    restore_head(tx, patchset, series).await?;
                }
                // Whoever waits to tell its author looks now.
                let text = "update job set again = 1, run_at = $1 where kind = 'report' and key = $2 and state = 0";
                let binds = vec![now.0.into(), series.to_string().into()];
                tx.execute(text, binds).await?;
                job::finish(tx, &[job]).await
            })
        })
        .await?;
        for kind in ["apply", "report", "aftermath"] {
            self.jobs.ring(kind);
        }
        Ok(())
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
}

/// Whether a mail of a series was taken back while it was applied: what was published of it must go once more. Of a realm that is gone
/// nothing is left.
async fn is_taken_back(tx: &mut Tx, realm: RealmId, mails: &[MailId]) -> Result<bool, StoreError> {
    let ids: Vec<i64> = mails.iter().map(|m| m.0).collect();
    let mut there = 0;
    for chunk in ids.chunks(400) {
        let text = "select id from mail where state = 0 and id in (..)";
        there += ids_of(tx, text, chunk).await?.len();
    }
    let text = "select count(*) from realm where id = $1";
    let realm: Option<(i64,)> = tx.fetch_one(text, vec![realm.0.into()]).await?;
    Ok(there < ids.len() && realm.is_some_and(|r| r.0 == 1))
}

/// While a version was applied as the newest, a newer one may have been: its `head` is set once more.
async fn restore_head(
    tx: &mut Tx,
    patchset: PatchsetId,
    applied: SeriesId,
) -> Result<(), StoreError> {
    let text = "select s.id from patchset p join series s on s.id = p.newest where p.id = $1 and s.complete = 1 and s.id <> $2";
    let binds = vec![patchset.0.into(), applied.0.into()];
    let newer: Option<(i64,)> = tx.fetch_one(text, binds).await?;
    let jobs: Vec<_> = newer
        .into_iter()
        .map(|(id,)| (Job::Apply(SeriesId(id)), 1))
        .collect();
    job::insert(tx, &jobs, Timestamp(0)).await
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
        new.ref_name.into(),
        new.head.into(),
        new.patch.into(),
        new.file.into(),
        new.hunk.into(),
        new.detail.into(),
        now.0.into(),
        new.on_series.into(),
    ];
    let head = "application (series, repo, outcome, base, why, ref_name, head, patch, file, hunk, detail, made, on_series)";
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
