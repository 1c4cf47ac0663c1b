//! Whether open series apply at the tip of their branch: a fact on their pages. Nothing of it is published or sent.

use std::collections::BTreeMap;

use super::apply::request;
use super::{Ctx, PipelineError, think};
use crate::git::{Base, GitError, Outcome};
use crate::store::job::Held;
use crate::store::{NewTip, RepoRow, SeriesToApply};
use crate::types::{Job, MailId, RealmId, RepoId, SeriesId};

/// Open series that are looked at when a branch moved, the newest.
const OPEN: i64 = 200;
/// Series of one run: others get their turn between two, and a stop is not held up.
const BATCH: i64 = 20;

/// What was found in one realm: mails whose pages show it, and what it is.
#[derive(Default)]
struct Found {
    mails: Vec<MailId>,
    tips: Vec<(SeriesId, NewTip)>,
}

impl Ctx {
    /// Tries applied series at the present tip of a repository's branch, some at a time, until the newest open ones are done.
    /// Safe to repeat.
    pub async fn recheck(&self, id: RepoId, job: Held) -> Result<(), PipelineError> {
        let repos = self.store.load_repos().await?;
        if let Some(repo) = repos.into_iter().find(|r| r.id == id.0)
            && self.recheck_some(&repo).await?
        {
            let again = vec![(Job::Recheck(id), 6)];
            self.store.insert_jobs(again, crate::store::now()).await?;
        }
        Ok(self.store.finish_jobs(vec![job]).await?)
    }

    /// Returns whether there may be more to do.
    async fn recheck_some(&self, repo: &RepoRow) -> Result<bool, PipelineError> {
        let (git, name, branch) = (self.repos.clone(), repo.name.clone(), repo.branch.clone());
        let Some(tip) = think(move || git.tip(&name, &branch)).await?? else {
            return Ok(false);
        };
        let id = RepoId(repo.id);
        let batch = self.store.load_unchecked(id, &tip, OPEN, BATCH).await?;
        let full = batch.len() as i64 == BATCH;
        let mut realms: BTreeMap<RealmId, Found> = BTreeMap::new();
        for series in batch {
            let Some(work) = self.store.load_series_to_apply(series).await? else {
                continue;
            };
            let mails = self.load_patches(&work).await?;
            let found = realms.entry(work.realm).or_default();
            found.mails.extend(&work.mails);
            let (ctx, on, commit) = (self.clone(), repo.clone(), tip.clone());
            let tried = think(move || ctx.at_tip(&work, &on, &commit, mails)).await;
            let tip = match tried.and_then(|done| done) {
                Err(error) if error.passes() => return Err(error),
                // One series on which the program breaks off keeps no other from its turn.
                Err(error) => NewTip::bad(repo.id, &tip, format!("it could not be tried: {error}")),
                Ok(tip) => tip,
            };
            found.tips.push((series, tip));
        }
        let any = realms.values().any(|found| !found.tips.is_empty());
        for (realm, Found { mails, tips }) in realms {
            self.store.record_tips(realm, mails, tips).await?;
        }
        Ok(full && any)
    }

    /// What a series would come to at the present tip; `None` if the branch has no commit.
    pub(super) fn at_present_tip(
        &self,
        work: &SeriesToApply,
        repo: &RepoRow,
        mails: Vec<Vec<u8>>,
    ) -> Result<Option<NewTip>, PipelineError> {
        let tip = self.repos.tip(&repo.name, &repo.branch)?;
        tip.map(|tip| self.at_tip(work, repo, &tip, mails))
            .transpose()
    }

    /// What a series would come to at the tip of the repository's branch, given as a commit.
    pub(super) fn at_tip(
        &self,
        work: &SeriesToApply,
        repo: &RepoRow,
        tip: &str,
        mails: Vec<Vec<u8>>,
    ) -> Result<NewTip, PipelineError> {
        let base = Base {
            commit: tip.to_owned(),
            why: String::new(),
        };
        let new = NewTip {
            repo: repo.id,
            tip: tip.to_owned(),
            outcome: "applies",
            patch: None,
            file: None,
            hunk: None,
            detail: String::new(),
        };
        let number = |patch: usize| i64::try_from(patch).ok();
        let bad = |patch: Option<i64>, detail: String| NewTip {
            outcome: "bad",
            patch,
            detail,
            ..new.clone()
        };
        Ok(
            match self.repos.try_apply(&request(work, repo, base, mails)) {
                Ok(Outcome::Applied { commits, .. }) if commits.iter().all(|c| *c == tip) => {
                    let detail = "all that it changes is there already".to_owned();
                    NewTip { detail, ..new }
                }
                Ok(Outcome::Applied { .. }) => new,
                Ok(Outcome::Conflict(c)) => NewTip {
                    outcome: "conflict",
                    patch: number(c.patch),
                    file: Some(c.file),
                    hunk: Some(c.hunk),
                    detail: c.detail,
                    ..new
                },
                Ok(Outcome::Bad { patch, reason }) => bad(number(patch), reason),
                // A limit of ours that it goes beyond there: trying again changes nothing.
                Err(GitError::Refused(reason)) => bad(None, reason),
                Err(error) => return Err(error.into()),
            },
        )
    }
}
