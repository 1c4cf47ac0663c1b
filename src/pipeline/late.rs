//! A series that comes when its commits are in a branch already: old mail, or mail that was delayed.

use std::collections::HashSet;
use std::sync::Arc;

use super::land::{Applied, Known};
use super::{Ctx, PipelineError, think};
use crate::git::follows;
use crate::patchset::Landings;
use crate::store::{BranchOf, LandedAs, Pending, RepoRow, SeriesToApply};

/// A commit may be so many seconds older than a mail that came after it and still be its patch: whoever pushes first and
/// then mails is not held to the minute. What was reverted is mostly sent again later.
const BEFORE_MAIL: i64 = 24 * 3600;

impl Ctx {
    /// Looks for a series among the newest commits of all branches that are followed. Safe to repeat.
    ///
    /// These commits are read once a process and branch, so that the cost of a mail does not grow with them.
    /// `ends` are those of the series if it was applied just now.
    pub(super) async fn find_landed(
        &self,
        work: &SeriesToApply,
        ends: Option<Applied>,
    ) -> Result<(), PipelineError> {
        let known = self.store.load_landed(&[work.id.0]).await?;
        if !known.is_empty() {
            self.store.settle_series(work.realm, work.id.0).await?;
        }
        let pending = self.store.load_pending_of(work.id.0).await?;
        let mut pending = self.candidates(pending).await?;
        self.add_wholes(&mut pending, ends).await?;
        for repo in &work.repos {
            let others = match repo.follow.is_empty() {
                true => Vec::new(),
                false => self.store.load_branches(repo.id).await?,
            };
            let main = repo.tip.clone().map(|tip| (repo.branch.clone(), tip));
            let others = others.into_iter().filter(|b| follows(&repo.follow, &b.0));
            for (branch, tip) in main.into_iter().chain(others) {
                self.find_landed_in(repo, branch, tip, &pending, &known)
                    .await?;
            }
        }
        Ok(())
    }

    async fn find_landed_in(
        &self,
        repo: &RepoRow,
        branch: String,
        tip: String,
        pending: &[Known],
        known: &[LandedAs],
    ) -> Result<(), PipelineError> {
        let place = BranchOf {
            repo: repo.id,
            name: repo.name.clone(),
            branch,
        };
        let here = |l: &&LandedAs| l.repo == place.name && l.branch == place.branch;
        let here: HashSet<i64> = known.iter().filter(here).map(|l| l.number).collect();
        let main = repo.tip.as_deref().filter(|_| place.branch != repo.branch);
        let recent = self.recent(&place, &tip, main).await?;
        let rest = pending.iter().filter(|(p, _)| !here.contains(&p.number));
        let since = |p: &Pending| p.arrived.secs().saturating_sub(BEFORE_MAIL);
        let find = |(p, c): &Known| Some((p.clone(), recent.find(c, since(p))?.to_owned()));
        let found = rest.filter_map(find).collect();
        self.record(&place, found, crate::store::now()).await
    }

    /// The newest commits of a branch, but for those of the main one if it is another.
    pub(super) async fn recent(
        &self,
        place: &BranchOf,
        tip: &str,
        main: Option<&str>,
    ) -> Result<Arc<Landings>, PipelineError> {
        let (git, place, tip) = (self.repos.clone(), place.clone(), tip.to_owned());
        let main = main.map(str::to_owned);
        let read = move || git.recent(&place.name, &place.branch, &tip, main.as_deref());
        Ok(think(read).await??)
    }
}
