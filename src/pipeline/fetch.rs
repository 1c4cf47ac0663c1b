//! A repository's source → our clone; what is open on it is then worth another look.

use super::{Ctx, PipelineError, think};
use crate::store::job::Held;
use crate::types::{Job, RepoId};

/// Open series that are looked at again when a branch moved.
const AGAIN: i64 = 200;

impl Ctx {
    /// Fetches a repository and, if its branch moved, applies anew what did not apply before.
    pub async fn fetch(&self, id: RepoId, job: Held) -> Result<(), PipelineError> {
        self.fetch_now(id).await?;
        Ok(self.store.finish_jobs(vec![job]).await?)
    }

    /// The same without a job; returns the branch's commit.
    pub async fn fetch_now(&self, id: RepoId) -> Result<Option<String>, PipelineError> {
        let repos = self.store.load_repos().await?;
        let Some(repo) = repos.into_iter().find(|r| r.id == id.0) else {
            return Ok(None);
        };
        let (git, name, branch) = (self.repos.clone(), repo.name.clone(), repo.branch.clone());
        let fetched = think(move || git.fetch(&name, &branch)).await?;
        let now = crate::store::now();
        match fetched {
            Ok(fetched) => {
                // The tip that is noted is the last one whose commits were looked at, so that nothing is passed over.
                self.land(&repo, fetched.tip.as_ref(), now).await?;
                let moved = repo.tip != fetched.tip;
                if moved || fetched.news {
                    tracing::info!(repo.name = repo.name, repo.tip = ?fetched.tip, "{} has news", repo.name);
                    self.look_again(RepoId(repo.id), moved).await?;
                }
                self.store
                    .record_fetch(id, fetched.tip.clone(), None, now)
                    .await?;
                Ok(fetched.tip)
            }
            Err(error) => {
                self.store
                    .record_fetch(id, None, Some(error.to_string()), now)
                    .await?;
                Err(error.into())
            }
        }
    }

    /// Owes another look at what is open: what is not applied is tried as a whole, as a commit that it names may have come;
    /// what is applied is tried at a tip that `moved`.
    pub(super) async fn look_again(&self, repo: RepoId, moved: bool) -> Result<(), PipelineError> {
        let open = self.store.load_open_series(repo.0, AGAIN).await?;
        let applies = open.into_iter().map(|s| (Job::Apply(s), 4));
        let recheck = moved.then_some((Job::Recheck(repo), 6));
        let jobs = applies.chain(recheck).collect();
        Ok(self.store.insert_jobs(jobs, crate::store::now()).await?)
    }
}
