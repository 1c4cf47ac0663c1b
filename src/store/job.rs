//! Work that is owed: rows unique by kind and key, claimed under a lease, kept until done.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use super::sql::Bind;
use super::{Dialect, Reader, Store, StoreError, Tx, marks};
use crate::types::{Job, JobId, Timestamp};

/// Wakes who waits for work: a bell a kind, so that nobody looks for work of others.
#[derive(Default)]
pub struct Bells(Mutex<HashMap<&'static str, Arc<Notify>>>);

impl Bells {
    /// The bell of a kind of job. It remembers one ring that nobody waited for.
    pub fn of(&self, kind: &'static str) -> Arc<Notify> {
        // A map of plain values is sound whatever the thread that panicked was doing.
        let mut bells = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(bells.entry(kind).or_default())
    }

    /// Says that there may be work of any kind.
    fn ring_all(&self) {
        let bells = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        bells.values().for_each(|bell| bell.notify_one());
    }

    /// Says that there may be work of this kind.
    pub fn ring(&self, kind: &'static str) {
        self.of(kind).notify_one();
    }
}

/// A claimed job.
#[derive(Debug, Clone, Copy)]
pub struct Claim {
    /// Its row.
    pub id: JobId,
    /// What is to be done.
    pub job: Job,
    /// How often it was begun, this time included.
    pub attempts: i64,
    /// Names this claim: whoever comes back after the lease ran out changes nothing of the claim that followed.
    pub lease: i64,
}

impl Claim {
    /// What strikes it off.
    pub fn held(self) -> Held {
        Held {
            id: self.id,
            lease: self.lease,
        }
    }
}

/// A job under one claim. Who comes back late strikes off nothing of a claim that followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// Its row.
    pub id: JobId,
    /// [`Claim::lease`].
    pub lease: i64,
}

/// A job as `patchpost jobs` shows it.
#[derive(Debug, Clone, serde::Serialize)]
pub struct JobRow {
    /// Its row.
    pub id: i64,
    /// `file`, `apply`, `fan-out`, `fetch`, `learn`, `upkeep`, `recheck`, `steer`, `hold`, `rehearse`, `report`, `news`, `aftermath`, `bounces`, `verify`.
    pub kind: String,
    /// What it is about: ids.
    pub key: String,
    /// `waiting`, `running` or `parked`.
    pub state: &'static str,
    /// How often it was begun.
    pub attempts: i64,
    /// When it may run next (RFC 3339).
    pub run_at: String,
    /// What went wrong last; empty if nothing.
    pub problem: String,
}

/// How long a claim holds without a sign of life, in seconds.
pub const LEASE: i64 = 30;
/// A job that failed so often is parked, to be seen by `doctor` and `patchpost jobs`.
pub const MAX_ATTEMPTS: i64 = 5;

/// Adds jobs as (job, priority); one that is already there runs once more after the present run.
pub(crate) async fn insert(
    tx: &mut Tx,
    jobs: &[(Job, i64)],
    run_at: Timestamp,
) -> Result<(), StoreError> {
    let then = "run_at = excluded.run_at, \
         priority = case when excluded.priority < job.priority then excluded.priority else job.priority end";
    add(tx, jobs, run_at, then).await
}

/// Adds jobs that may wait for company: one that waits already keeps its time, so that what comes in a stream is not put off for ever.
pub(crate) async fn insert_soonest(
    tx: &mut Tx,
    jobs: &[(Job, i64)],
    run_at: Timestamp,
) -> Result<(), StoreError> {
    let then =
        "run_at = case when excluded.run_at < job.run_at then excluded.run_at else job.run_at end";
    add(tx, jobs, run_at, then).await
}

/// Adds jobs; `then` says what else becomes of one that is already there.
async fn add(
    tx: &mut Tx,
    jobs: &[(Job, i64)],
    run_at: Timestamp,
    then: &str,
) -> Result<(), StoreError> {
    let zero = || Bind::from(0);
    let row = |(job, priority): &(Job, i64)| {
        vec![
            job.kind().into(),
            job.key().into(),
            (*priority).into(),
            run_at.0.into(),
            zero(),
            zero(),
            zero(),
            zero(),
            zero(),
            "".into(),
        ]
    };
    let head =
        "job (kind, key, priority, run_at, attempts, leased_until, lease, again, state, problem)";
    let tail =
        format!("on conflict (kind, key) do update set again = 1, state = 0, attempts = 0, {then}");
    tx.insert(head, jobs.iter().map(row).collect(), &tail)
        .await?;
    Ok(())
}

/// Strikes finished jobs off; one that was wanted again meanwhile stays and is due at once.
pub(crate) async fn finish(tx: &mut Tx, held: &[Held]) -> Result<(), StoreError> {
    for chunk in held.chunks(200) {
        let ids = chunk.iter().map(|h| Bind::from(h.id.0));
        let leases = chunk.iter().map(|h| Bind::from(h.lease));
        let binds: Vec<Bind> = ids.chain(leases).collect();
        let list = marks(chunk.len());
        let mine = format!("id in ({list}) and lease in ({list})");
        let done = format!("delete from job where again = 0 and {mine}");
        tx.execute(done, binds.clone()).await?;
        let again =
            format!("update job set again = 0, leased_until = 0, attempts = 0 where {mine}");
        tx.execute(again, binds).await?;
    }
    Ok(())
}

/// Puts a job off that did what it could for now, with what it waits for; one that was wanted again meanwhile is due at once.
pub(crate) async fn put_off(
    tx: &mut Tx,
    held: Held,
    run_at: Timestamp,
    problem: String,
) -> Result<(), StoreError> {
    let text = "update job set run_at = case when again = 0 then $3 else run_at end, again = 0, leased_until = 0, attempts = 0, \
         problem = $4 where id = $1 and lease = $2";
    let binds = vec![
        held.id.0.into(),
        held.lease.into(),
        run_at.0.into(),
        problem.into(),
    ];
    tx.execute(text, binds).await.map(|_| ())
}

fn claim((id, kind, key, attempts): (i64, String, String, i64), lease: i64) -> Option<Claim> {
    Job::from_row(&kind, &key).map(|job| Claim {
        id: JobId(id),
        job,
        attempts,
        lease,
    })
}

fn fresh_lease() -> Result<i64, StoreError> {
    let mut bytes = [0u8; 8];
    getrandom::fill(&mut bytes)
        .map_err(|e| StoreError::Unusable(format!("no random numbers: {e}")))?;
    Ok(i64::from_le_bytes(bytes))
}

impl Reader {
    /// All owed work, the most urgent first; at most `limit` rows.
    pub async fn load_jobs(&self, limit: i64, now: Timestamp) -> Result<Vec<JobRow>, StoreError> {
        type Row = (i64, String, String, i64, i64, i64, i64, String);
        let text = "select id, kind, key, state, attempts, leased_until, run_at, problem from job \
             order by state desc, priority, run_at, id limit $1";
        let rows: Vec<Row> = self.fetch(text, vec![limit.into()]).await?;
        let show = |(id, kind, key, state, attempts, until, run_at, problem): Row| {
            let state = if state == 1 {
                "parked"
            } else if until > now.0 {
                "running"
            } else {
                "waiting"
            };
            JobRow {
                id,
                kind,
                key,
                state,
                attempts,
                run_at: Timestamp(run_at).rfc3339(),
                problem,
            }
        };
        Ok(rows.into_iter().map(show).collect())
    }

    /// The newest job there is; 0 if there is none.
    pub async fn newest_job(&self) -> Result<JobId, StoreError> {
        let row: Option<(i64,)> = self
            .fetch_one("select coalesce(max(id), 0) from job", vec![])
            .await?;
        Ok(JobId(row.map_or(0, |r| r.0)))
    }

    /// Whether a job of that kind up to `last` is still to be done, by whomever.
    pub async fn is_owed(&self, kind: &'static str, last: JobId) -> Result<bool, StoreError> {
        let text = "select id from job where kind = $1 and id <= $2 and state = 0 limit 1";
        let row: Option<(i64,)> = self
            .fetch_one(text, vec![kind.into(), last.0.into()])
            .await?;
        Ok(row.is_some())
    }

    /// A job of that kind that failed for good, and why.
    pub async fn find_parked(
        &self,
        kind: &'static str,
    ) -> Result<Option<(i64, String)>, StoreError> {
        let text = "select id, problem from job where kind = $1 and state = 1 order by id limit 1";
        self.fetch_one(text, vec![kind.into()]).await
    }

    /// How many jobs are owed and how many of them are parked.
    pub async fn count_jobs(&self) -> Result<(i64, i64), StoreError> {
        let text = "select count(*), cast(coalesce(sum(state), 0) as bigint) from job";
        Ok(self.fetch_one(text, vec![]).await?.unwrap_or((0, 0)))
    }

    /// When the next waiting job is due, if there is one.
    pub async fn next_job_at(&self) -> Result<Option<Timestamp>, StoreError> {
        let text = "select min(case when leased_until > run_at then leased_until else run_at end) from job where state = 0";
        let row: Option<(Option<i64>,)> = self.fetch_one(text, vec![]).await?;
        Ok(row.and_then(|r| r.0).map(Timestamp))
    }
}

impl Store {
    /// Adds jobs at a priority (0 first, then 1 …).
    pub async fn insert_jobs(
        &self,
        jobs: Vec<(Job, i64)>,
        run_at: Timestamp,
    ) -> Result<(), StoreError> {
        let kinds: BTreeSet<&'static str> = jobs.iter().map(|(job, _)| job.kind()).collect();
        self.write(move |tx| Box::pin(async move { insert(tx, &jobs, run_at).await }))
            .await?;
        kinds.into_iter().for_each(|kind| self.jobs.ring(kind));
        Ok(())
    }

    /// Claims up to `limit` due jobs of one kind, the most urgent first; the claim is committed on return.
    pub async fn claim_jobs(
        &self,
        kind: &'static str,
        limit: i64,
        now: Timestamp,
    ) -> Result<Vec<Claim>, StoreError> {
        let due: Option<(i64,)> = self
            .fetch_one(
                "select id from job where kind = $1 and state = 0 and run_at <= $2 and leased_until <= $2 limit 1",
                vec![kind.into(), now.0.into()],
            )
            .await?;
        if due.is_none() {
            return Ok(Vec::new());
        }
        let skip = if self.dialect == Dialect::Postgres {
            "for update skip locked"
        } else {
            ""
        };
        let text = format!(
            "update job set leased_until = ?, lease = ?, attempts = attempts + 1, again = 0 where id in (\
             select id from job where kind = ? and state = 0 and run_at <= ? and leased_until <= ? \
             order by priority, run_at, id limit ? {skip}) returning id, kind, key, attempts"
        );
        let (until, lease) = (now.plus_secs(LEASE).0, fresh_lease()?);
        let binds = vec![
            until.into(),
            lease.into(),
            kind.into(),
            now.0.into(),
            now.0.into(),
            limit.into(),
        ];
        let rows: Vec<(i64, String, String, i64)> = self
            .write(move |tx| Box::pin(async move { tx.fetch(text, binds).await }))
            .await?;
        let claims = rows.into_iter().filter_map(|row| claim(row, lease));
        let mut claims: Vec<Claim> = claims.collect();
        claims.sort_by_key(|c| c.id);
        Ok(claims)
    }

    /// Claims those of these jobs, all of one kind, that nobody has claimed and that were wanted once; the claim is committed
    /// on return.
    pub async fn claim_these(
        &self,
        jobs: Vec<Job>,
        now: Timestamp,
    ) -> Result<Vec<Claim>, StoreError> {
        let Some(kind) = jobs.first().map(|job| job.kind()) else {
            return Ok(Vec::new());
        };
        let text = format!(
            "update job set leased_until = ?, lease = ?, attempts = attempts + 1 where kind = ? and state = 0 and again = 0 \
             and leased_until <= ? and key in ({}) returning id, kind, key, attempts",
            marks(jobs.len())
        );
        let (until, lease) = (now.plus_secs(LEASE).0, fresh_lease()?);
        let mut binds = vec![until.into(), lease.into(), kind.into(), now.0.into()];
        binds.extend(jobs.iter().map(|job| Bind::from(job.key())));
        let rows: Vec<(i64, String, String, i64)> = self
            .write(move |tx| Box::pin(async move { tx.fetch(text, binds).await }))
            .await?;
        let claims = rows.into_iter().filter_map(|row| claim(row, lease));
        Ok(claims.collect())
    }

    /// Frees what a server that was killed had claimed: on SQLite only one serves a folder, so no claim can be alive.
    /// On PostgreSQL leases run out by themselves.
    pub async fn free_claims(&self) -> Result<(), StoreError> {
        if self.dialect == Dialect::Postgres {
            return Ok(());
        }
        self.write(move |tx| {
            Box::pin(async move {
                tx.execute(
                    "update job set leased_until = 0 where leased_until > 0",
                    vec![],
                )
                .await?;
                let text = "update delivery set claimed_until = 0 where claimed_until > 0";
                tx.execute(text, vec![]).await?;
                let text = "update letter set claimed_until = 0 where claimed_until > 0";
                tx.execute(text, vec![]).await.map(|_| ())
            })
        })
        .await
    }

    /// Strikes jobs off whose results are recorded already.
    pub async fn finish_jobs(&self, held: Vec<Held>) -> Result<(), StoreError> {
        self.write(move |tx| Box::pin(async move { finish(tx, &held).await }))
            .await
    }

    /// Keeps running jobs from being claimed by others; those that were claimed by others already stay theirs.
    pub async fn extend_leases(&self, claims: &[Claim], now: Timestamp) -> Result<(), StoreError> {
        let (rows, leases) = (marks(claims.len()), marks(claims.len()));
        let text =
            format!("update job set leased_until = ? where id in ({rows}) and lease in ({leases})");
        let mut binds = vec![Bind::from(now.plus_secs(LEASE).0)];
        binds.extend(claims.iter().map(|c| Bind::from(c.id.0)));
        binds.extend(claims.iter().map(|c| Bind::from(c.lease)));
        self.write(move |tx| Box::pin(async move { tx.execute(text, binds).await.map(|_| ()) }))
            .await
    }

    /// Puts a failed job off until `run_at`, or parks it for a person to look at.
    pub async fn fail_job(
        &self,
        claim: Claim,
        problem: String,
        run_at: Timestamp,
    ) -> Result<(), StoreError> {
        let parked = i64::from(claim.attempts >= MAX_ATTEMPTS);
        // One that was wanted again meanwhile has other work to do than what failed.
        let text = "update job set leased_until = 0, run_at = $1, problem = $2, state = case when again = 1 then 0 else $3 end, \
             attempts = case when again = 1 then 0 else attempts end where id = $4 and lease = $5";
        let binds = vec![
            run_at.0.into(),
            problem.into(),
            parked.into(),
            claim.id.0.into(),
            claim.lease.into(),
        ];
        self.write(move |tx| Box::pin(async move { tx.execute(text, binds).await.map(|_| ()) }))
            .await
    }

    /// Leaves a job for `run_at`, as there is nothing to be done yet; one that was wanted again meanwhile is due at once.
    pub async fn put_off_job(&self, held: Held, run_at: Timestamp) -> Result<(), StoreError> {
        let text = "update job set run_at = case when again = 1 then run_at else $1 end, again = 0, leased_until = 0, attempts = 0 \
             where id = $2 and lease = $3";
        let binds = vec![run_at.0.into(), held.id.0.into(), held.lease.into()];
        self.write(move |tx| Box::pin(async move { tx.execute(text, binds).await }))
            .await?;
        Ok(())
    }

    /// Puts a job off until `run_at` for a reason that is not its own and passes; the try does not count.
    pub async fn defer_job(
        &self,
        claim: Claim,
        problem: String,
        run_at: Timestamp,
    ) -> Result<(), StoreError> {
        let text = "update job set leased_until = 0, run_at = $1, problem = $2, \
             attempts = case when attempts > 0 then attempts - 1 else 0 end where id = $3 and lease = $4";
        let (id, lease) = (claim.id.0.into(), claim.lease.into());
        let binds = vec![run_at.0.into(), problem.into(), id, lease];
        self.write(move |tx| Box::pin(async move { tx.execute(text, binds).await.map(|_| ()) }))
            .await
    }

    /// Makes parked work due again, as if it had never failed, and what waits for an answer of DNS; returns how many rows of either.
    pub async fn retry_jobs(&self, now: Timestamp) -> Result<(u64, u64), StoreError> {
        let parked = "update job set state = 0, attempts = 0, run_at = $1 where state = 1";
        let waiting = "update job set run_at = $1 where kind = 'verify' and run_at > $1";
        let counts = self
            .write(move |tx| {
                Box::pin(async move {
                    let waiting = tx.execute(waiting, vec![now.0.into()]).await?;
                    Ok((tx.execute(parked, vec![now.0.into()]).await?, waiting))
                })
            })
            .await?;
        self.jobs.ring_all();
        Ok(counts)
    }
}
