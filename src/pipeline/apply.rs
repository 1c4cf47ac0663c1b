//! A complete series → commits in the companion of the repository it is for.

use super::base::{Place, Start};
use super::land::Applied;
use super::{Ctx, PipelineError, think};
use crate::diff::mailinfo::mailinfo;
use crate::diff::patch_id::patch_id;
use crate::git::{self, Base, GitError, Outcome};
use crate::mail;
use crate::patchset::page::Page;
use crate::patchset::{Recognised, depend, shown_alone};
use crate::store::job::Held;
use crate::store::{NewApplication, NewTip, RepoRow, SeriesToApply, Tried};
use crate::types::{MessageId, RealmId, SeriesId};

/// Where a series of several patches begins and ends, if the tip seems to have its changes: somebody made one commit of them, perhaps.
fn ends_if_in_tip(work: &SeriesToApply, tried: &Tried) -> Option<Applied> {
    let tip = tried.tip.as_ref()?;
    if work.mails.len() < 2 || (tip.outcome == "applies" && tip.detail.is_empty()) {
        return None;
    }
    let (repo, ends) = tried.application.ends()?;
    let repo = work.repos.iter().find(|r| r.id == repo)?;
    Some((work.id.0, repo.name.clone(), work.realm, ends))
}

/// Refs of one version of a patchset: one each time a person corrected which patches it has.
const MOST_REFS: usize = 50;

impl Ctx {
    /// Applies a series and records what came of it. Safe to repeat.
    pub async fn apply(&self, series: SeriesId, job: Held) -> Result<(), PipelineError> {
        let Some(work) = self.store.load_series_to_apply(series).await? else {
            return Ok(self.store.finish_jobs(vec![job]).await?);
        };
        self.find_landed(&work, None).await?;
        let tried = self.try_apply(&work).await?;
        if let Some(ends) = ends_if_in_tip(&work, &tried) {
            self.find_landed(&work, Some(ends)).await?;
        }
        let outcome = tried.application.outcome;
        tracing::info!(
            series.id = series.0,
            patchset.id = work.patchset.0,
            outcome,
            "series {} v{}: {outcome}",
            work.patchset,
            work.label,
        );
        metrics::counter!("patchpost_series_applied", "outcome" => outcome).increment(1);
        Ok(self.store.record_application(&work, tried, job).await?)
    }

    async fn try_apply(&self, work: &SeriesToApply) -> Result<Tried, PipelineError> {
        let facts = facts(&work.recognised);
        let names = self.names(work, &facts).await?;
        self.store
            .record_names(work.realm, work.id, names.clone())
            .await?;
        let nothing = |why: &str| Tried {
            application: NewApplication::elsewhere(why),
            patch_ids: Vec::new(),
            tip: None,
        };
        if work.repos.is_empty() {
            return Ok(nothing("the list has no repository"));
        }
        if let Some(pull) = facts.iter().find_map(|f| f.pull.as_ref()) {
            // What it holds is in a repository of its sender's choice, which is never fetched by itself.
            let wish = format!("git pull {} {}", pull.url, pull.reference);
            let why = format!("a pull request carries no patches: {}", wish.trim());
            return Ok(nothing(&why));
        }
        let place = self.find_place(work, &facts, &names).await?;
        let (repo, starts, waits) = match place {
            Place::Nowhere(why) => return Ok(nothing(why)),
            Place::Waits(repo, why) => (repo, Vec::new(), Some(why)),
            Place::On(repo, starts) => (Some(repo), starts, None),
        };
        let mails = self.load_patches(work).await?;
        let (ctx, work) = (self.clone(), work.clone());
        think(move || {
            let patch_ids = patch_ids(&mails);
            let (application, tip) = match (&repo, waits) {
                (Some(repo), None) => ctx.apply_there(&work, repo, starts, mails)?,
                (repo, waits) => {
                    let why = waits.unwrap_or_default();
                    let waiting = NewApplication::waits(repo.as_ref().map(|r| r.id), &why);
                    let tip = match repo {
                        Some(repo) if work.open => ctx.at_present_tip(&work, repo, mails)?,
                        _ => None,
                    };
                    (waiting, tip)
                }
            };
            Ok(Tried {
                application,
                patch_ids,
                tip,
            })
        })
        .await?
    }

    /// What a series names as that on which it is built, its cover letter first. Pages of ours are the mails that stand for what
    /// they show today, or stay as they are if nothing is there; those of other sites are left out.
    pub(super) async fn names(
        &self,
        work: &SeriesToApply,
        patches: &[Recognised],
    ) -> Result<Vec<String>, PipelineError> {
        let own: Vec<MessageId> = work
            .message_ids
            .iter()
            .filter_map(|id| MessageId::parse(id))
            .collect();
        let cover = facts(work.cover.as_slice());
        let mut names = Vec::new();
        for name in depend::named(&own, cover.iter().chain(patches)) {
            let name = match Page::parse(&name) {
                Some(page) if !page.is_of(&self.base_url) => continue,
                Some(page) => {
                    let found = self.store.find_by_page(work.realm, &page).await?;
                    found.unwrap_or(name)
                }
                None => name,
            };
            if !names.contains(&name) && !work.message_ids.contains(&name) {
                names.push(name);
            }
        }
        Ok(names)
    }

    /// The patches' mails in order, each as far as it is shown.
    pub(super) async fn load_patches(
        &self,
        work: &SeriesToApply,
    ) -> Result<Vec<Vec<u8>>, PipelineError> {
        let mut mails = Vec::with_capacity(work.mails.len());
        for mail in &work.mails {
            let Some((bytes, _)) = self.store.load_bytes(*mail).await? else {
                let words = format!("mail {mail} has no bytes");
                return Err(PipelineError::Broken(words));
            };
            mails.push(shown_alone(&bytes, &mail::parse(&bytes)).into_owned());
        }
        Ok(mails)
    }

    /// Applies on the first of these commits that it fits on; the first try is what is told if it fits on none.
    fn apply_there(
        &self,
        work: &SeriesToApply,
        repo: &RepoRow,
        starts: Vec<Start>,
        mails: Vec<Vec<u8>>,
    ) -> Result<(NewApplication, Option<NewTip>), PipelineError> {
        let tip = self.repos.tip(&repo.name, &repo.branch)?;
        let mut told: Option<NewApplication> = None;
        for start in starts {
            let request = request(work, repo, start.base, mails.clone());
            let (request, outcome) = match self.publish(request.clone()) {
                // A limit of ours that it goes beyond: trying again changes nothing.
                Err(PipelineError::Git(GitError::Refused(reason))) => {
                    (request, Outcome::Bad { patch: 1, reason })
                }
                published => published?,
            };
            let base = &request.base;
            let found = NewApplication::on(repo.id, &base.commit, &base.why).built_on(start.series);
            let application = match outcome {
                Outcome::Applied { commits, .. } => {
                    let head = commits.last().cloned().unwrap_or_default();
                    found.applied(request.ref_name.clone(), head, commits)
                }
                Outcome::Conflict(c) => found.conflict(c.patch, c.file, c.hunk, c.detail),
                Outcome::Bad { patch, reason } => found.bad(patch, reason),
            };
            let applied = application.outcome == "applied";
            if applied || told.is_none() {
                told = Some(application);
            }
            if applied {
                break;
            }
        }
        let application = told.unwrap_or_else(|| NewApplication::elsewhere("there is no base"));
        let tip = match tip.filter(|_| work.open) {
            None => None,
            Some(tip) => match application.at_tip(&tip) {
                Some(known) => Some(known),
                None => Some(self.at_tip(work, repo, &tip, mails)?),
            },
        };
        Ok((application, tip))
    }

    /// Applies and publishes; returns how it was done in the end.
    fn publish(&self, mut request: git::Request) -> Result<(git::Request, Outcome), PipelineError> {
        match self.repos.apply(&request) {
            Err(GitError::Published(_)) => {}
            outcome => return Ok((request, outcome?)),
        }
        // What is published already keeps its base: a run before this one may have been cut off before it could say so.
        if let Some(commit) = self.repos.find_published_base(&request)? {
            let why = "where it was published at first".to_owned();
            let base = Base { commit, why };
            let again = git::Request {
                base,
                ..request.clone()
            };
            match self.repos.apply(&again) {
                Err(GitError::Published(_)) => {}
                Err(error) => return Err(error.into()),
                Ok(outcome @ Outcome::Applied { .. }) => return Ok((again, outcome)),
                Ok(_) => {}
            }
        }
        // A person corrected what it consists of. A ref that was published never moves: it gets one more.
        let name = request.ref_name.clone();
        for n in 2..=MOST_REFS {
            request.ref_name = format!("{name}+{n}");
            match self.repos.apply(&request) {
                Err(GitError::Published(_)) => {}
                outcome => return Ok((request, outcome?)),
            }
        }
        Err(GitError::Published(name).into())
    }
}

/// What was recognised of mails; what another version of this program wrote is read again by `reclassify`.
pub(super) fn facts(recognised: &[String]) -> Vec<Recognised> {
    let read = |json: &String| serde_json::from_str(json).ok();
    recognised.iter().filter_map(read).collect()
}

fn patch_ids(mails: &[Vec<u8>]) -> Vec<String> {
    let letters = mails.iter().filter_map(|bytes| mailinfo(bytes).ok());
    let ids = letters.filter_map(|letter| patch_id(&letter.patch));
    ids.map(|id| id.to_string()).collect()
}

fn ref_name(work: &SeriesToApply) -> String {
    format!("refs/patches/{}/v{}", work.patchset, work.label)
}

/// A series on a commit, in its realm's companion.
pub(super) fn request(
    work: &SeriesToApply,
    repo: &RepoRow,
    base: Base,
    mails: Vec<Vec<u8>>,
) -> git::Request {
    let newest = || format!("refs/patches/{}/head", work.patchset);
    git::Request {
        repo: repo.name.clone(),
        private_realm: (work.realm != RealmId::PUBLIC).then_some(work.realm.0),
        ref_name: ref_name(work),
        head: work.newest.then(newest),
        base,
        mails,
        committer: git::Committer {
            name: work.list_name.clone(),
            email: work.list_address.clone(),
            date: work.arrived,
            zone: 0,
            with_author_date: false,
        },
    }
}
