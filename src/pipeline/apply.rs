//! A complete series → commits in the companion of the repository it is for.

use super::{Ctx, PipelineError, think};
use crate::git::{self, Outcome};
use crate::patchset::{Recognised, first_blobs};
use crate::store::job::Held;
use crate::store::{NewApplication, RepoRow, SeriesToApply};
use crate::types::{RealmId, SeriesId};

impl Ctx {
    /// Applies a series and records what came of it. Safe to repeat.
    pub async fn apply(&self, series: SeriesId, job: Held) -> Result<(), PipelineError> {
        let Some(work) = self.store.load_series_to_apply(series).await? else {
            return Ok(self.store.finish_jobs(vec![job]).await?);
        };
        self.find_landed(&work).await?;
        let application = self.try_apply(&work).await?;
        tracing::info!(
            series.id = series.0,
            patchset.id = work.patchset.0,
            outcome = application.outcome,
            "series {} v{}: {}",
            work.patchset,
            work.label,
            application.outcome
        );
        metrics::counter!("patchpost_series_applied", "outcome" => application.outcome)
            .increment(1);
        Ok(self
            .store
            .record_application(&work, application, job)
            .await?)
    }

    async fn try_apply(&self, work: &SeriesToApply) -> Result<NewApplication, PipelineError> {
        if work.repos.is_empty() {
            return Ok(NewApplication::elsewhere("the list has no repository"));
        }
        let mut mails = Vec::new();
        for mail in &work.mails {
            let Some((bytes, _)) = self.store.load_bytes(*mail).await? else {
                return Err(PipelineError::Broken(format!("mail {mail} has no bytes")));
            };
            mails.push(bytes);
        }
        let facts: Vec<Recognised> = work
            .recognised
            .iter()
            .filter_map(|json| serde_json::from_str(json).ok())
            .collect();
        if let Some(pull) = facts.iter().find_map(|f| f.pull.as_ref()) {
            // What it holds is in a repository of its sender's choice, which is never fetched by itself.
            let wish = format!("git pull {} {}", pull.url, pull.reference);
            let why = format!("a pull request carries no patches: {}", wish.trim());
            return Ok(NewApplication::elsewhere(&why));
        }
        let (repos, ctx, work) = (work.repos.clone(), self.clone(), work.clone());
        think(move || ctx.apply_now(&work, &repos, mails, &facts)).await?
    }

    fn apply_now(
        &self,
        work: &SeriesToApply,
        repos: &[RepoRow],
        mails: Vec<Vec<u8>>,
        facts: &[Recognised],
    ) -> Result<NewApplication, PipelineError> {
        let blobs = first_blobs(facts);
        let files: Vec<String> = facts.iter().flat_map(|f| f.files.iter().cloned()).collect();
        let Some(repo) = self.route(work, repos, &files)? else {
            return Ok(NewApplication::elsewhere(
                "none of the files that it changes is in a repository of this list",
            ));
        };
        let Some(base) = self.repos.find_base(
            &repo.name,
            &repo.branch,
            work.base_commit.as_deref(),
            &blobs,
        )?
        else {
            return Ok(NewApplication::elsewhere(
                "the repository has no commit yet",
            ));
        };
        let tip = self.repos.tip(&repo.name, &repo.branch)?;
        let ref_name = format!("refs/patches/{}/v{}", work.patchset, work.label);
        let private_realm = (work.realm != RealmId::PUBLIC).then_some(work.realm.0);
        let newest = || format!("refs/patches/{}/head", work.patchset);
        let request = git::Request {
            repo: repo.name.clone(),
            private_realm,
            ref_name: ref_name.clone(),
            head: work.newest.then(newest),
            base: base.clone(),
            mails,
            committer: git::Committer {
                name: work.list_name.clone(),
                email: work.list_address.clone(),
                date: work.arrived,
                zone: 0,
                with_author_date: false,
            },
        };
        let found = NewApplication::on(repo.id, &base.commit, &base.why);
        Ok(match self.repos.apply(&request)? {
            Outcome::Applied { commits, .. } => {
                let head = commits.last().cloned().unwrap_or_default();
                let on_tip = tip.as_deref() == Some(base.commit.as_str());
                found.applied(ref_name, head, commits, on_tip)
            }
            Outcome::Conflict(c) => found.conflict(c.patch, c.file, c.hunk, c.detail),
            Outcome::Bad { patch, reason } => found.bad(patch, reason),
        })
    }

    /// The repository a series is for: by a word of its tag, by its base commit, by its files.
    pub(super) fn route<'a>(
        &self,
        work: &SeriesToApply,
        repos: &'a [RepoRow],
        files: &[String],
    ) -> Result<Option<&'a RepoRow>, PipelineError> {
        let named = |r: &&RepoRow| {
            work.prefixes
                .split(' ')
                .any(|p| p.eq_ignore_ascii_case(&r.name))
        };
        if let Some(repo) = repos.iter().find(named) {
            return Ok(Some(repo));
        }
        if let Some(base) = &work.base_commit {
            for repo in repos {
                if self.repos.find_commit(&repo.name, base)?.is_some() {
                    return Ok(Some(repo));
                }
            }
        }
        let mut best: Option<(usize, &RepoRow)> = None;
        for repo in repos {
            let count = self.repos.count_paths(&repo.name, &repo.branch, files)?;
            if count > best.map_or(0, |b| b.0) {
                best = Some((count, repo));
            }
        }
        // Nothing but new files: they may be for the list's one repository.
        let only_new = !files.is_empty()
            && work
                .recognised
                .iter()
                .all(|json| json.contains("\"blobs\":[]"));
        Ok(best
            .map(|b| b.1)
            .or_else(|| (only_new && repos.len() == 1).then(|| &repos[0])))
    }
}
