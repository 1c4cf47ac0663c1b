//! Claims owed work and does it; one loop for each kind, so that slow work never holds up filing.

use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::pipeline::{Ctx, Filing, PipelineError};
use crate::store::StoreError;
use crate::store::job::Claim;
use crate::types::{Job, RepoId};

/// Mails filed together: they share transactions and thinking.
const FILE_BATCH: i64 = 200;
/// Postings whose fan-out is claimed in one commit; each makes its deliveries in commits of its own.
const FAN_OUT_BATCH: i64 = 10;
/// Mails about which DNS is asked again at the same time: each may wait for its answer as long as is set.
const VERIFY_BATCH: i64 = 30;
/// After some mails were filed, others may gather for as long as that took, within these bounds: filing in company costs
/// a tenth of filing alone, and meanwhile the machine is there for mail that comes in. A mail that comes alone is filed at once.
const GATHER: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_millis(500);
/// A look even if nobody calls: another process may have added work.
const PAUSE: Duration = Duration::from_millis(500);
/// Often enough that a lease outlives two that went wrong.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// Tries after which a mail is filed as a plain one.
const PLAIN_AFTER: i64 = 5;
/// Often enough that packs and loose refs stay few; there is seldom anything to do.
const UPKEEP_MINUTES: u64 = 30;
/// Held mail is dropped after days: an hour more or less is nothing.
const HOLD_MINUTES: u64 = 60;
/// Bounces count an hour after they came; steps about addresses are due on days.
const BOUNCE_MINUTES: u64 = 10;
/// Seconds until the second try; later ones wait longer.
const TRY_AGAIN: i64 = 5;

/// Works until told to stop; what was begun is finished.
pub async fn run(ctx: Ctx, fetch_minutes: u64, stop: CancellationToken) {
    tokio::join!(
        each("file", FILE_BATCH, &ctx, &stop),
        each("apply", 1, &ctx, &stop),
        each("fan-out", FAN_OUT_BATCH, &ctx, &stop),
        each("fetch", 1, &ctx, &stop),
        each("learn", 1, &ctx, &stop),
        each("upkeep", 1, &ctx, &stop),
        each("recheck", 1, &ctx, &stop),
        each("steer", 1, &ctx, &stop),
        each("hold", 10, &ctx, &stop),
        each("rehearse", 1, &ctx, &stop),
        each("report", 10, &ctx, &stop),
        each("news", 10, &ctx, &stop),
        each("aftermath", 1, &ctx, &stop),
        each("verify", VERIFY_BATCH, &ctx, &stop),
        schedule(fetch_minutes, &stop, || owe_fetches(&ctx)),
        schedule(UPKEEP_MINUTES, &stop, || owe_upkeep(&ctx)),
        schedule(HOLD_MINUTES, &stop, || ctx
            .store
            .owe_held(crate::store::now())),
        each("bounces", 1, &ctx, &stop),
        owe_bounces_now_and_then(&ctx, &stop),
    );
}

/// Does all work of these kinds that is owed now, for commands; returns when it is done, be it by a server that runs on
/// the same data, or after the lease of one that was killed.
pub async fn drain(ctx: &Ctx, kinds: &[&'static str]) -> Result<(), PipelineError> {
    let last = ctx.store.newest_job().await?;
    loop {
        let mut any = false;
        let mut owed = false;
        for kind in kinds {
            let claims = claim(ctx, kind, FILE_BATCH).await?;
            any |= !claims.is_empty();
            perform(ctx, claims).await;
            owed |= ctx.store.is_owed(kind, last).await?;
        }
        if !owed {
            return Ok(());
        }
        if !any {
            tokio::time::sleep(PAUSE).await;
        }
    }
}

async fn claim(ctx: &Ctx, kind: &'static str, batch: i64) -> Result<Vec<Claim>, StoreError> {
    let now = ctx.store.time().await?;
    ctx.store.claim_jobs(kind, batch, now).await
}

async fn each(kind: &'static str, batch: i64, ctx: &Ctx, stop: &CancellationToken) {
    let bell = ctx.store.jobs.of(kind);
    while !stop.is_cancelled() {
        let begun = Instant::now();
        match claim(ctx, kind, batch).await {
            Ok(claims) if !claims.is_empty() => {
                perform(ctx, claims).await;
                if kind == "file" {
                    rest(begun.elapsed().clamp(*GATHER.start(), *GATHER.end()), stop).await;
                }
            }
            Ok(_) => wait(&bell, stop, PAUSE).await,
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    job.kind = kind,
                    "could not look for work: {error}"
                );
                wait(&bell, stop, 4 * PAUSE).await;
            }
        }
    }
}

async fn rest(pause: Duration, stop: &CancellationToken) {
    tokio::select! {
        () = tokio::time::sleep(pause) => {}
        () = stop.cancelled() => {}
    }
}

async fn wait(bell: &Notify, stop: &CancellationToken, pause: Duration) {
    tokio::select! {
        () = bell.notified() => {}
        () = tokio::time::sleep(pause) => {}
        () = stop.cancelled() => {}
    }
}

async fn perform(ctx: &Ctx, claims: Vec<Claim>) {
    let filing = |c: &Claim| match c.job {
        Job::File(receipt) => Some(Filing {
            job: c.held(),
            receipt,
        }),
        _ => None,
    };
    let filings: Vec<Filing> = claims.iter().filter_map(filing).collect();
    if filings.len() > 1 && claims.iter().all(|c| c.attempts < PLAIN_AFTER) {
        match guarded(ctx, &claims, async { ctx.file(&filings, false).await }).await {
            Ok(()) => return,
            Err(error) if error.passes() => {
                tracing::warn!(%error, "filing {} mails waits", filings.len());
                return defer(ctx, claims, &error).await;
            }
            Err(error) => {
                tracing::warn!(%error, "filing {} mails together failed, now one by one", filings.len())
            }
        }
    }
    if claims.iter().all(|c| matches!(c.job, Job::Verify(_))) {
        // They wait for others' servers, and nothing of one is another's.
        let mut all = tokio::task::JoinSet::new();
        for claim in claims {
            let ctx = ctx.clone();
            all.spawn(async move { by_itself(&ctx, claim, &[claim]).await });
        }
        while let Some(done) = all.join_next().await {
            if let Err(error) = done {
                tracing::error!(%error, "a look at DNS broke off; its lease will run out");
            }
        }
        return;
    }
    for (at, claim) in claims.iter().copied().enumerate() {
        // Those that wait for their turn are not to be taken by others meanwhile.
        by_itself(ctx, claim, &claims[at..]).await;
    }
}

/// Does one job while keeping these claims, its own among them; what fails is tried again.
async fn by_itself(ctx: &Ctx, claim: Claim, kept: &[Claim]) {
    let done = guarded(ctx, kept, one(ctx, claim)).await;
    if let Err(error) = &done
        && error.passes()
    {
        tracing::warn!(%error, job.id = claim.id.0, "{} {} waits: {error}", claim.job.kind(), claim.job.key());
        defer(ctx, vec![claim], error).await;
    } else if let Err(error) = done {
        // Without the database's clock the lease simply runs out.
        let now = ctx
            .store
            .time()
            .await
            .unwrap_or_else(|_| crate::store::now());
        let text = format!("{error}");
        tracing::error!(
            error = &error as &dyn std::error::Error,
            job.id = claim.id.0,
            job.kind = claim.job.kind(),
            job.key = claim.job.key(),
            job.attempts = claim.attempts,
            "{} {} failed: {error}",
            claim.job.kind(),
            claim.job.key()
        );
        let later = now.plus_secs(TRY_AGAIN * claim.attempts * claim.attempts);
        if let Err(error) = ctx.store.fail_job(claim, text, later).await {
            tracing::error!(%error, "could not note a failed job; its lease will run out");
        }
    }
}

/// Puts work off that failed for a reason not its own, without counting the try: no mail is filed as a plain one because a disk
/// was full for an hour.
async fn defer(ctx: &Ctx, claims: Vec<Claim>, error: &PipelineError) {
    for claim in claims {
        let now = ctx.store.time().await;
        let later = now
            .unwrap_or_else(|_| crate::store::now())
            .plus_secs(TRY_AGAIN);
        // What cannot even be put off is claimed again when its lease runs out.
        if let Err(error) = ctx.store.defer_job(claim, error.to_string(), later).await {
            tracing::warn!(%error, "could not put a job off; its lease will run out");
            return;
        }
    }
}

/// Does work while keeping its leases alive.
async fn guarded(
    ctx: &Ctx,
    claims: &[Claim],
    work: impl Future<Output = Result<(), PipelineError>>,
) -> Result<(), PipelineError> {
    let heartbeat = async {
        loop {
            tokio::time::sleep(HEARTBEAT).await;
            let extended = match ctx.store.time().await {
                Ok(now) => ctx.store.extend_leases(claims, now).await,
                Err(error) => Err(error),
            };
            if let Err(error) = extended {
                tracing::warn!(%error, "could not keep a job's lease");
            }
        }
    };
    // The work itself only waits for tasks of its own, so that nothing is cut when the heartbeat is dropped.
    tokio::select! {
        done = work => done,
        () = heartbeat => Ok(()),
    }
}

async fn one(ctx: &Ctx, claim: Claim) -> Result<(), PipelineError> {
    match claim.job {
        Job::File(receipt) => {
            let plain = claim.attempts >= PLAIN_AFTER;
            ctx.file(
                &[Filing {
                    job: claim.held(),
                    receipt,
                }],
                plain,
            )
            .await
        }
        Job::Apply(series) => ctx.apply(series, claim.held()).await,
        Job::FanOut(list, number) => ctx.fan_out(list, number, claim.held()).await,
        Job::Fetch(repo) => ctx.fetch(repo, claim.held()).await,
        Job::Learn(realm) => ctx.learn(realm, claim.held()).await,
        Job::Upkeep(repo) => ctx.upkeep(repo, claim.held()).await,
        Job::Recheck(repo) => ctx.recheck(repo, claim.held()).await,
        Job::Aftermath(realm) => ctx.clear_aftermath(realm, claim.held()).await,
        Job::Steer(mail) => ctx.steer(mail, claim.held()).await,
        Job::Hold(list) => ctx.tend_held(list, claim.held(), crate::store::now()).await,
        Job::Rehearse(list) => ctx.rehearse(list, claim.held(), claim.attempts).await,
        Job::Report(series) => ctx.report(series, claim.held()).await,
        Job::News(series) => ctx.news(series, claim.held()).await,
        Job::Bounces => ctx.bounces(claim.held()).await,
        Job::Verify(receipt) => ctx.verify(receipt, claim.held()).await,
    }
}

/// Owes work again and again; 0 minutes: never.
async fn schedule<F: Future<Output = Result<(), StoreError>>>(
    minutes: u64,
    stop: &CancellationToken,
    owe: impl Fn() -> F,
) {
    if minutes == 0 {
        return;
    }
    while !stop.is_cancelled() {
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(minutes * 60)) => {}
            () = stop.cancelled() => return,
        }
        if let Err(error) = owe().await {
            tracing::warn!(%error, "could not schedule work that comes again");
        }
    }
}

async fn owe_fetches(ctx: &Ctx) -> Result<(), StoreError> {
    let repos = ctx.store.load_repos().await?;
    let jobs = repos
        .iter()
        .filter(|r| r.source_kind != "init")
        .map(|r| (Job::Fetch(RepoId(r.id)), 3))
        .collect();
    ctx.store.insert_jobs(jobs, crate::store::now()).await
}

async fn owe_upkeep(ctx: &Ctx) -> Result<(), StoreError> {
    let repos = ctx.store.load_repos().await?;
    let jobs = repos.iter().map(|r| (Job::Upkeep(RepoId(r.id)), 6));
    ctx.store
        .insert_jobs(jobs.collect(), crate::store::now())
        .await
}

/// What came due while the program stood still is done at its start.
async fn owe_bounces_now_and_then(ctx: &Ctx, stop: &CancellationToken) {
    if let Err(error) = owe_bounces(ctx).await {
        tracing::warn!(%error, "could not schedule the count of bounces");
    }
    schedule(BOUNCE_MINUTES, stop, || owe_bounces(ctx)).await;
}

async fn owe_bounces(ctx: &Ctx) -> Result<(), StoreError> {
    let jobs = vec![(Job::Bounces, 6)];
    ctx.store.insert_jobs(jobs, crate::store::now()).await
}
