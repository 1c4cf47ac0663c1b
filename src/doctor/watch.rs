//! Looks at what may turn bad while the server runs, and has the operator told.

use std::path::PathBuf;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::report::{Report, State};
use super::{machine, reach, signing, stored};
use crate::config::Config;
use crate::pipeline::{Ctx, Watched};
use crate::store::StoreError;
use crate::types::Timestamp;

/// Between two looks.
const PAUSE: Duration = Duration::from_secs(600);
/// The certificate of the pages is asked for over the network: every so many looks.
const PAGES_EVERY: u32 = 36;

/// Looks at once and then every ten minutes, until told to stop.
pub async fn run(ctx: Ctx, data: PathBuf, config: Config, stop: CancellationToken) {
    let mut looks = 0u32;
    loop {
        let now = crate::store::now();
        let outside = looks.is_multiple_of(PAGES_EVERY);
        let told = async {
            let mut report = look(&ctx, &data, &config, now).await?;
            if outside {
                pages(&config, now, &mut report).await;
            }
            ctx.note_watch(now).await?;
            ctx.tell_operator(&watched(report), now).await
        };
        if let Err(error) = told.await {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "could not look whether all is well; it is tried again"
            );
        }
        looks = looks.wrapping_add(1);
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}

/// Room, what is owed and for how long, backups, the certificate for STARTTLS, and keys that sign.
async fn look(
    ctx: &Ctx,
    data: &std::path::Path,
    config: &Config,
    now: Timestamp,
) -> Result<Report, StoreError> {
    let mut report = Report::default();
    machine::disk(data, config.limits.free_disk_mb, &mut report);
    stored::owed(&ctx.store, now, &mut report).await?;
    stored::held(&ctx.store, now, &mut report).await?;
    stored::backup(&ctx.store, now, &mut report).await?;
    machine::starttls(config, now, &mut report);
    signing::keys(data, &mut report);
    let lists = ctx.store.load_lists().await?;
    stored::lost_keys(
        &ctx.store,
        data,
        &stored::domains(&lists, config),
        &mut report,
    )
    .await?;
    reach::tls_only(config, &lists, &mut report);
    Ok(report)
}

async fn pages(config: &Config, now: Timestamp, report: &mut Report) {
    // Nothing to look at on a site that is not reached by TLS, or whose names nobody tells.
    if config.http.base_url.starts_with("https://")
        && let Ok(dns) = crate::serve::open_dns(config)
    {
        reach::pages(config, &dns, now, report).await;
    }
}

fn watched(mut report: Report) -> Vec<Watched> {
    report.complete(crate::cli::pasteable_anywhere);
    let findings = report.findings.into_iter();
    let all = findings.map(|finding| Watched {
        bad: finding.state == State::Bad,
        what: finding.what,
        detail: finding.detail,
        mend: finding.mend,
    });
    all.collect()
}
