//! Where a series is tried: the repository and the commits, by what it names and by its files.

use super::{Ctx, PipelineError, think};
use crate::git::{Base, GitError};
use crate::patchset::depend::{Choice, NAMED_COMMIT, Patience, is_patch};
use crate::patchset::{Recognised, first_blobs};
use crate::store::{RepoRow, SeriesToApply};
use crate::types::{RepoId, SeriesId};

/// How long what a series names is waited for, in seconds: as long as unthreaded mails may find each other.
pub(super) const PATIENCE: i64 = 24 * 3600;

/// A commit to begin on.
#[derive(Debug, Clone)]
pub(super) struct Start {
    /// The commit, and why that one.
    pub base: Base,
    /// The series whose commit it is, if it is not the project's.
    pub series: Option<SeriesId>,
}

/// Where a series is tried.
pub(super) enum Place {
    /// Not here; in words why.
    Nowhere(&'static str),
    /// Not yet; in words for what it waits.
    Waits(Option<RepoRow>, String),
    /// There; the first commit that it applies on counts.
    On(RepoRow, Vec<Start>),
}

/// What is certain of a series' place without looking at what it is built on.
struct Certain {
    repo: Option<RepoRow>,
    /// The base-commit that it names, if the project has it.
    commit: Option<String>,
}

impl Ctx {
    /// Decides where a series is tried. `facts` are those of its patches, `names` what it is built on.
    pub(super) async fn find_place(
        &self,
        work: &SeriesToApply,
        facts: &[Recognised],
        names: &[String],
    ) -> Result<Place, PipelineError> {
        if let Some(place) = published(work) {
            return Ok(place);
        }
        let certain = self.find_certain(work).await?;
        if certain.commit.is_none()
            && let Some(place) = self.find_base_of_others(work).await?
        {
            return Ok(place);
        }
        let Certain { repo, commit } = certain;
        let (choice, on) = self.choose(work, repo.as_ref(), names).await?;
        // Patches that stand between the base-commit and the series are named by their ids.
        let between = names.iter().any(|name| is_patch(name));
        if let (Some(repo), Some(commit), false) = (&repo, commit, between) {
            let why = NAMED_COMMIT.to_owned();
            let base = Base { commit, why };
            let named = Start { base, series: None };
            let on = on
                .filter(|(at, _)| at.id == repo.id)
                .map(|(_, start)| start);
            let starts = std::iter::once(named).chain(on).collect();
            return Ok(Place::On(repo.clone(), starts));
        }
        if let Some((repo, start)) = on {
            return Ok(Place::On(repo, vec![start]));
        }
        let repo = match repo {
            Some(repo) => Some(repo),
            None => self.route_by_files(work, facts).await?,
        };
        match (choice, repo) {
            (Choice::Wait(why), repo) => Ok(Place::Waits(repo, why)),
            (_, None) => Ok(Place::Nowhere(
                "none of the files that it changes is in a repository of this list",
            )),
            (Choice::Branch(words), Some(repo)) => self.on_branch(work, facts, repo, &words).await,
            (Choice::On { .. }, Some(repo)) => self.on_branch(work, facts, repo, "").await,
        }
    }

    /// What it is built on decides, as far as that is here and in a repository of its lists.
    async fn choose(
        &self,
        work: &SeriesToApply,
        repo: Option<&RepoRow>,
        names: &[String],
    ) -> Result<(Choice, Option<(RepoRow, Start)>), PipelineError> {
        let named = self
            .store
            .load_dependencies(work.realm, work.id, names.to_vec())
            .await?;
        let waited = work.arrived.plus_secs(PATIENCE) < crate::store::now();
        let patience = match waited {
            true => Patience::Over,
            false => Patience::Waits,
        };
        let id = work.id;
        let certain = repo.map(|r| RepoId(r.id));
        let choice = think(move || named.choose(id, certain, patience)).await?;
        let Choice::On {
            series,
            number,
            why,
        } = &choice
        else {
            return Ok((choice, None));
        };
        let applied = self.store.find_applied(*series, *number).await?;
        let on = applied.and_then(|applied| {
            let repo = work.repos.iter().find(|r| r.id == applied.repo.0)?;
            let (commit, why) = (applied.commit, why.clone());
            let base = Base { commit, why };
            let series = Some(applied.series);
            Some((repo.clone(), Start { base, series }))
        });
        Ok((choice, on))
    }

    /// By a word of its tag, or by its base-commit.
    async fn find_certain(&self, work: &SeriesToApply) -> Result<Certain, PipelineError> {
        let named = work.repos.iter().find(|r| {
            work.prefixes
                .split(' ')
                .any(|p| p.eq_ignore_ascii_case(&r.name))
        });
        let Some(wanted) = work.base_commit.clone() else {
            let (repo, commit) = (named.cloned(), None);
            return Ok(Certain { repo, commit });
        };
        let candidates = match named {
            Some(repo) => vec![repo.clone()],
            None => work.repos.clone(),
        };
        let (git, named) = (self.repos.clone(), named.cloned());
        think(move || {
            for repo in candidates {
                if let Some(commit) = git.find_commit(&repo.name, &wanted)? {
                    let (repo, commit) = (Some(repo), Some(commit));
                    return Ok(Certain { repo, commit });
                }
            }
            let (repo, commit) = (named, None);
            Ok(Certain { repo, commit })
        })
        .await?
    }

    /// Its base-commit may be what another series was applied as: somebody fetched that and went on.
    async fn find_base_of_others(
        &self,
        work: &SeriesToApply,
    ) -> Result<Option<Place>, PipelineError> {
        let Some(wanted) = &work.base_commit else {
            return Ok(None);
        };
        let found = self.store.find_applied_as(work.realm, wanted).await?;
        Ok(found
            .filter(|applied| applied.series != work.id)
            .and_then(|applied| {
                let repo = work.repos.iter().find(|r| r.id == applied.repo.0)?;
                let why = format!("{NAMED_COMMIT}: it is of {}", applied.title);
                let commit = applied.commit;
                let base = Base { commit, why };
                let series = Some(applied.series);
                Some(Place::On(repo.clone(), vec![Start { base, series }]))
            }))
    }

    /// The repository a series is for: by a word of its tag, by its base-commit, by its files.
    pub(super) async fn route(
        &self,
        work: &SeriesToApply,
        facts: &[Recognised],
    ) -> Result<Option<RepoRow>, PipelineError> {
        match self.find_certain(work).await?.repo {
            Some(repo) => Ok(Some(repo)),
            None => self.route_by_files(work, facts).await,
        }
    }

    /// The repository that has the blobs its diffs were made from, else the most of its files; for new files alone, of their folders.
    async fn route_by_files(
        &self,
        work: &SeriesToApply,
        facts: &[Recognised],
    ) -> Result<Option<RepoRow>, PipelineError> {
        let files: Vec<String> = facts.iter().flat_map(|f| f.files.iter().cloned()).collect();
        let blobs = first_blobs(facts);
        // Nothing but new files: they may be for the list's one repository.
        let only_new = !files.is_empty() && facts.iter().all(|f| f.blobs.is_empty());
        let (git, repos) = (self.repos.clone(), work.repos.clone());
        think(move || {
            if repos.len() > 1 {
                for repo in &repos {
                    if git.has_blobs(&repo.name, &repo.branch, &blobs)? {
                        return Ok(Some(repo.clone()));
                    }
                }
            }
            let count = |repo: &RepoRow| git.count_paths(&repo.name, &repo.branch, &files);
            let mut best = the_most(&repos, count)?;
            if best.is_none() && only_new && repos.len() > 1 {
                let count = |repo: &RepoRow| git.count_folders(&repo.name, &repo.branch, &files);
                best = the_most(&repos, count)?;
            }
            let only = || (only_new && repos.len() == 1).then(|| &repos[0]);
            Ok(best.or_else(only).cloned())
        })
        .await?
    }

    /// On the branch, where its blobs are; `words` say why nothing that it names decides.
    async fn on_branch(
        &self,
        work: &SeriesToApply,
        facts: &[Recognised],
        repo: RepoRow,
        words: &str,
    ) -> Result<Place, PipelineError> {
        let (git, blobs) = (self.repos.clone(), first_blobs(facts));
        let (name, branch) = (repo.name.clone(), repo.branch.clone());
        let named = work.base_commit.clone();
        let base = think(move || git.find_base(&name, &branch, named.as_deref(), &blobs)).await??;
        let Some(mut base) = base else {
            return Ok(Place::Nowhere("the repository has no commit yet"));
        };
        if !words.is_empty() {
            base.why = format!("{}; {words}", base.why);
        }
        Ok(Place::On(repo, vec![Start { base, series: None }]))
    }
}

/// A ref never moves once it is published, whatever came since.
fn published(work: &SeriesToApply) -> Option<Place> {
    let old = work.published.as_ref()?;
    let repo = work.repos.iter().find(|r| r.id == old.repo)?;
    let (commit, why) = (old.base.clone(), old.why.clone());
    let base = Base { commit, why };
    let series = old.on_series;
    Some(Place::On(repo.clone(), vec![Start { base, series }]))
}

/// The first repository of which the most is counted, if it is anything.
fn the_most(
    repos: &[RepoRow],
    count: impl Fn(&RepoRow) -> Result<usize, GitError>,
) -> Result<Option<&RepoRow>, PipelineError> {
    let mut best: Option<(usize, &RepoRow)> = None;
    for repo in repos {
        let count = count(repo)?;
        if count > best.map_or(0, |b| b.0) {
            best = Some((count, repo));
        }
    }
    Ok(best.map(|b| b.1))
}
