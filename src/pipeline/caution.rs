//! What keeps a series from landing though it fits, and what a maintainer should know before it is pushed.

use super::apply::facts;
use super::{Ctx, PipelineError};
use crate::store::summary::{PatchSummary, SeriesSummary};
use crate::store::{AckedSeries, SeriesToApply, SeriesToLand};
use crate::verdict::Level;

/// States of a patch by itself in which it is not wanted, `superseded` apart.
const PUT_ASIDE: [&str; 4] = [
    "rejected",
    "not applicable",
    "awaiting upstream",
    "deferred",
];
const SUPERSEDED: &str = "superseded";

impl Ctx {
    /// The version as its listings have it.
    pub(super) async fn summary_of(
        &self,
        series: &SeriesToLand,
    ) -> Result<SeriesSummary, PipelineError> {
        let all = self.store.load_patchset_summaries(series.patchset).await?;
        let found = all.into_iter().find(|s| s.version == series.label);
        found.ok_or_else(|| PipelineError::Refused("the series is gone".to_owned()))
    }

    /// Whose mails nothing speaks for, what is only claimed, and what it is built on that the project does not have.
    pub(super) async fn warnings_of(
        &self,
        work: &SeriesToApply,
        summary: &SeriesSummary,
        acked: &AckedSeries,
    ) -> Result<Vec<String>, PipelineError> {
        let mut warnings: Vec<String> = authors(summary, acked).into_iter().collect();
        if let Some(claimed) = summary.claims {
            warnings.push(format!(
                "only a claim: it says, without authority, that it is v{} of patchset {claimed}",
                summary.version
            ));
        }
        let names = self.names(work, &facts(&work.recognised)).await?;
        let named = self
            .store
            .load_dependencies(work.realm, work.id, names)
            .await?;
        let missing = named
            .links(work.id)
            .into_iter()
            .filter_map(|link| match link.series {
                Some((_, target)) if target.landed => None,
                Some((_, target)) => Some(format!(
                    "depends on {}, which has not landed",
                    target.title()
                )),
                None => Some(format!("depends on {}", link.words())),
            });
        warnings.extend(missing);
        Ok(warnings)
    }
}

/// Refuses what holds a patch that a person put aside.
pub(super) fn check_patch_states(
    series: &SeriesToLand,
    summary: &SeriesSummary,
    version_is_named: bool,
) -> Result<(), PipelineError> {
    let aside = |p: &&PatchSummary| {
        let superseded = p.state == SUPERSEDED && !version_is_named;
        p.own_state && (PUT_ASIDE.contains(&p.state) || superseded)
    };
    let Some(patch) = summary.patches.iter().find(aside) else {
        return Ok(());
    };
    let (label, patchset, number) = (&series.label, series.patchset, patch.number);
    let auto = match *label == series.newest {
        true => format!("`patchpost series state {patchset} auto --patch {number}`"),
        false => format!(
            "`patchpost series state {} auto --patch {number}`",
            patch.message_id
        ),
    };
    let how = match patch.state {
        SUPERSEDED => {
            format!("say with --version which version is meant, or {auto} takes that back")
        }
        _ => format!("{auto} takes that back"),
    };
    Err(PipelineError::Refused(format!(
        "patch {number} of v{label} is {}, as a person said; {how}",
        patch.state
    )))
}

/// In words of whom nothing shows that he wrote it.
fn authors(summary: &SeriesSummary, acked: &AckedSeries) -> Option<String> {
    let unsure = acked.patches.iter().filter(|p| p.level != Level::Aligned);
    let unsure: Vec<String> = unsure.map(|p| p.number.to_string()).collect();
    let what = match unsure.len() {
        0 => return None,
        all if all == acked.patches.len() => "it".to_owned(),
        1 => format!("patch {}", unsure[0]),
        _ => format!("patches {}", unsure.join(", ")),
    };
    Some(format!(
        "not authenticated: nothing shows that {} wrote {what}",
        summary.submitter
    ))
}
