//! A maintainer lands a series: applied on the tip of a branch with the trailers that it was given, shown, pushed, recorded.

use std::collections::HashMap;

use super::caution::check_patch_states;
use super::{Ctx, PipelineError, think};
use crate::git::{self, Landing, MadeCommit, Prepared, Pushed};
use crate::mail::{self, mbox};
use crate::patchset::{Ack, FoldOptions, Recognised, has_hidden_diff};
use crate::store::{
    AckedPatch, AckedSeries, BranchOf, NewCorrection, Pending, RepoRow, SeriesToApply, SeriesToLand,
};
use crate::types::{MailId, PatchsetId, RepoId};
use crate::verdict::Level;

/// What a maintainer wants to land.
#[derive(Debug, Clone)]
pub struct LandWish {
    /// The patchset's number.
    pub patchset: PatchsetId,
    /// Label of the version; `None`: the newest, which must not be superseded then.
    pub version: Option<String>,
    /// Name of the repository; `None`: the one that the series is for.
    pub repo: Option<String>,
    /// The branch; `None`: the repository's main one.
    pub branch: Option<String>,
    /// What is folded in.
    pub options: FoldOptions,
}

/// What would be pushed; nothing is changed anywhere before [`Ctx::land_series`].
#[derive(Debug)]
pub struct Plan {
    /// The version.
    pub series: SeriesToLand,
    /// The repository.
    pub repo: RepoRow,
    /// The branch.
    pub branch: String,
    /// By number.
    pub patches: Vec<PlannedPatch>,
    /// The branch's commit, and the one it will have.
    pub tips: (String, String),
    /// `Name <address>`
    pub committer: String,
    /// What a maintainer should know before it is pushed, a sentence each.
    pub warnings: Vec<String>,
    /// For a series without the authority to join, the patchset that it claims to be a version of.
    pub claims: Option<i64>,
    landing: Landing,
}

/// A patch as it will be.
#[derive(Debug, Clone)]
pub struct PlannedPatch {
    /// From 1.
    pub number: i64,
    /// Its mail.
    pub mail: MailId,
    /// Its commit; `None`: its change is in the branch already.
    pub commit: Option<MadeCommit>,
    /// What replies gave to it: folded in if it is its sender's to give, else left out.
    pub acks: Vec<Ack>,
    /// Another part of its mail holds a diff that is no part of the commit.
    pub hidden_diff: bool,
    /// The domain in From speaks for its mail.
    pub authenticated: bool,
}

impl Plan {
    /// Which files would be changed, and by how many lines, as `git diff --stat` writes it.
    pub fn stat(&self) -> &str {
        &self.landing.stat
    }
}

impl Ctx {
    /// Fetches the repository and applies the series on the tip of the branch, apart from everything.
    ///
    /// What stands in the way is refused in words for the person who wants it.
    pub async fn plan_landing(&self, wish: &LandWish) -> Result<Plan, PipelineError> {
        let series = self.find_wanted(wish).await?;
        let summary = self.summary_of(&series).await?;
        check_patch_states(&series, &summary, wish.version.is_some())?;
        let work = self.store.load_series_to_apply(series.id).await?;
        let work = work.ok_or_else(|| {
            PipelineError::Refused(format!("v{} stands in no list any more", series.label))
        })?;
        let repo = self.repo_for(&series, &work, wish.repo.as_deref()).await?;
        let branch = wish.branch.clone().unwrap_or_else(|| repo.branch.clone());
        self.fetch_now(RepoId(repo.id)).await?;
        let acked = self
            .store
            .load_acked_series(series.patchset.0, Some(&series.label))
            .await?;
        let acked = acked.ok_or_else(|| PipelineError::Refused("the series is gone".to_owned()))?;
        let warnings = self.warnings_of(&work, &summary, &acked).await?;
        let folded = self.folded_mails(&acked, &wish.options).await?;
        let (mails, hidden): (Vec<Vec<u8>>, Vec<bool>) = folded.into_iter().unzip();
        let (git, name, on) = (self.repos.clone(), repo.name.clone(), branch.clone());
        let prepared = think(move || git.prepare_landing(&name, &on, &mails)).await??;
        let landing = ready(prepared, &repo, &branch)?;
        if landing.commits.iter().all(Option::is_none) {
            let text = format!(
                "all that v{} changes is in {branch} of {} already",
                series.label, repo.name
            );
            return Err(PipelineError::Refused(text));
        }
        let commits = landing.commits.iter().cloned().zip(hidden);
        let patch = |(p, (commit, hidden_diff)): (AckedPatch, _)| PlannedPatch {
            number: p.number,
            mail: p.mail,
            commit,
            acks: p.acks,
            hidden_diff,
            authenticated: p.level == Level::Aligned,
        };
        Ok(Plan {
            series,
            repo,
            branch,
            patches: acked.patches.into_iter().zip(commits).map(patch).collect(),
            tips: (landing.old.clone(), landing.new.clone()),
            committer: landing.committer.clone(),
            warnings,
            claims: summary.claims,
            landing,
        })
    }

    /// Pushes what was planned, and records it: patches landed, state, who did it.
    ///
    /// Refused where the branch moved meanwhile and where the repository takes no push; then nothing is changed.
    pub async fn land_series(&self, plan: Plan, user: &str) -> Result<(), PipelineError> {
        let Plan {
            series,
            repo,
            branch,
            patches,
            landing,
            tips,
            committer,
            ..
        } = plan;
        let (pushed, landing) = think(move || (landing.push(), landing)).await?;
        match pushed? {
            Pushed::Done => {}
            Pushed::Moved => {
                return Err(PipelineError::Refused(format!(
                    "{branch} of {} is at {} no more: nothing was pushed; look at it again and run the command once more",
                    repo.name, tips.0
                )));
            }
            Pushed::Refused(words) => {
                return Err(PipelineError::Refused(format!(
                    "the repository of {} does not take the push; nothing was changed: {words}",
                    repo.name
                )));
            }
        }
        // The clone gets its objects by fetching, not from there.
        drop(landing);
        tracing::info!(
            patchset.id = series.patchset.0,
            repo.name = repo.name,
            "{user} pushed v{} of patchset {} to {branch} of {}",
            series.label,
            series.patchset,
            repo.name
        );
        let commits = patches.into_iter();
        let commits = commits.filter_map(|p| Some((p.number, p.commit?.id)));
        let unrecorded = unrecorded(&series, &repo, &branch);
        let broken = |what: &str, error: PipelineError| {
            PipelineError::Broken(format!("the commits are pushed, {what}: {error}"))
        };
        let place = BranchOf {
            repo: repo.id,
            name: repo.name.clone(),
            branch,
        };
        let actor = format!("{user}, as {committer}");
        let recorded = self.record_landing(&series, place, commits.collect(), &actor);
        recorded.await.map_err(|e| broken(&unrecorded, e))?;
        self.accept_landed(&series, actor).await.map_err(|e| {
            let state = format!("`patchpost series state {} accepted`", series.patchset);
            broken(
                &format!("and recorded, but the state is not set; {state} sets it"),
                e,
            )
        })?;
        let fetched = self.fetch_now(RepoId(repo.id)).await;
        fetched.map(|_tip| ()).map_err(|e| {
            let fetch = format!("`patchpost repo fetch {}`", repo.name);
            broken(
                &format!("and recorded, but not fetched yet; {fetch} does that"),
                e,
            )
        })
    }

    /// Notes which commits became of a series by whom.
    async fn record_landing(
        &self,
        series: &SeriesToLand,
        place: BranchOf,
        commits: HashMap<i64, String>,
        actor: &str,
    ) -> Result<(), PipelineError> {
        let pending = self.store.load_pending_of(series.id.0).await?;
        let with_commit = |p: Pending| Some((commits.get(&p.number)?.clone(), p));
        let landed = pending.into_iter().filter_map(with_commit);
        let landed = landed.map(|(commit, p)| (p, commit)).collect();
        let (by, now) = (Some(actor.to_owned()), crate::store::now());
        self.store.record_landed(place, landed, by, now).await?;
        Ok(())
    }

    /// Sets the state of a series that was pushed, where no rule has done so.
    async fn accept_landed(
        &self,
        series: &SeriesToLand,
        actor: String,
    ) -> Result<(), PipelineError> {
        let (patchset, label) = (series.patchset, Some(series.label.as_str()));
        let after = self.store.find_series_to_land(patchset, label).await?;
        // A state that a person had set, or a patch that was in the branch before under a commit that nobody knows.
        if let Some(after) = after.filter(|a| !a.is_accepted()) {
            self.accept(&after, actor).await?;
        }
        Ok(())
    }

    /// Says so by a person's word, which nothing but another one changes.
    async fn accept(&self, series: &SeriesToLand, actor: String) -> Result<(), PipelineError> {
        let correction = NewCorrection {
            kind: "state",
            mail: series.anchor,
            others: vec![],
            detail: crate::store::ACCEPTED.to_string(),
            actor,
        };
        self.correct(series.realm, correction).await?;
        Ok(())
    }

    /// The version that is wanted, if nothing about it forbids to land it.
    async fn find_wanted(&self, wish: &LandWish) -> Result<SeriesToLand, PipelineError> {
        let number = wish.patchset;
        let found = self
            .store
            .find_series_to_land(number, wish.version.as_deref())
            .await?;
        let Some(series) = found else {
            let what = match &wish.version {
                Some(label) => format!("there is no version {label} of patchset {number}"),
                None => format!("there is no patchset {number}"),
            };
            return Err(PipelineError::Refused(format!(
                "{what}; `patchpost series ls` shows all"
            )));
        };
        let label = &series.label;
        let problem = if series.is_rejected() {
            format!("v{label} was rejected; `patchpost series state {number} auto` takes that back")
        } else if series.is_superseded() && wish.version.is_none() {
            format!("v{label} is superseded; say with --version which version is meant")
        } else if !series.complete {
            format!(
                "v{label} is incomplete: {} of {} patches are here",
                series.received, series.total
            )
        } else {
            return Ok(series);
        };
        Err(PipelineError::Refused(problem))
    }

    /// The repository that is named, else the one where the series was tried, else the one that it is for.
    async fn repo_for(
        &self,
        series: &SeriesToLand,
        work: &SeriesToApply,
        named: Option<&str>,
    ) -> Result<RepoRow, PipelineError> {
        let facts: Vec<Recognised> = work
            .recognised
            .iter()
            .filter_map(|json| serde_json::from_str(json).ok())
            .collect();
        if let Some(pull) = facts.iter().find_map(|f| f.pull.as_ref()) {
            return Err(PipelineError::Refused(format!(
                "a pull request carries no patches; pull it: git pull {} {}",
                pull.url, pull.reference
            )));
        }
        let tried = |r: &&RepoRow| match named {
            Some(name) => r.name == name,
            None => series.repo == Some(r.id),
        };
        if let Some(repo) = work.repos.iter().find(tried) {
            return Ok(repo.clone());
        }
        if let Some(name) = named {
            let text = format!("{name} is no repository of the list; `patchpost list set` adds it");
            return Err(PipelineError::Refused(text));
        }
        self.route(work, &facts).await?.ok_or_else(|| {
            let text = "none of the files that it changes is in a repository of its list; name one with --repo";
            PipelineError::Refused(text.to_owned())
        })
    }

    /// The patches as mails, with trailers folded in, and whether another part of each holds a diff that is left out.
    async fn folded_mails(
        &self,
        acked: &AckedSeries,
        options: &FoldOptions,
    ) -> Result<Vec<(Vec<u8>, bool)>, PipelineError> {
        let mails: Vec<MailId> = acked.patches.iter().map(|p| p.mail).collect();
        let found = self.store.load_bytes_of(&mails).await?;
        let bytes: HashMap<MailId, Vec<u8>> = found.into_iter().map(|f| (f.0, f.1)).collect();
        let (acked, options) = (acked.clone(), options.clone());
        think(move || {
            let fold = |patch| {
                let patch: &AckedPatch = patch;
                let bytes = bytes.get(&patch.mail).ok_or_else(|| {
                    PipelineError::Refused(format!("patch {} was taken back", patch.number))
                })?;
                let folded = acked.render(patch, bytes, &options);
                // As `git am` reads it.
                let mail = mbox::Reader::keeping_quotes(folded.as_slice()).next_mail();
                // Reading from memory does not fail, and `render` writes one mail.
                let mail = mail.ok().flatten().unwrap_or_default();
                Ok((mail, has_hidden_diff(&mail::parse(bytes))))
            };
            acked.patches.iter().map(fold).collect()
        })
        .await?
    }
}

/// What is to be done when nothing is known here of what was pushed: only in branches that are followed commits are looked for.
fn unrecorded(series: &SeriesToLand, repo: &RepoRow, branch: &str) -> String {
    let name = &repo.name;
    if repo.branch == branch || git::follows(&repo.follow, branch) {
        return format!("but that is not recorded yet; `patchpost repo fetch {name}` finds them");
    }
    format!(
        "but that is not recorded, and {branch} of {name} is not followed: `patchpost series state {} accepted` says so",
        series.patchset
    )
}

/// What stands in the way of a series that does not fit, with patch, file and hunk.
fn ready(prepared: Prepared, repo: &RepoRow, branch: &str) -> Result<Landing, PipelineError> {
    let text = match prepared {
        Prepared::Ready(landing) => return Ok(landing),
        Prepared::Bad { patch, reason } => format!("patch {patch} cannot be used: {reason}"),
        Prepared::Conflict(git::Conflict {
            patch,
            file,
            hunk,
            detail,
        }) => {
            let hunk = match hunk {
                0 => String::new(),
                hunk => format!(" hunk {hunk}"),
            };
            format!(
                "patch {patch} does not apply to {branch} of {}: {file}{hunk}: {detail}",
                repo.name
            )
        }
    };
    Err(PipelineError::Refused(text))
}
