//! Repositories and old series in order: nothing that anybody sees changes.

use super::{Ctx, PipelineError, think};
use crate::store::job::Held;
use crate::types::{Job, RepoId};

/// Days after which a series that is closed is archived: its state is settled, and nobody looks at it again.
const CLOSED_DAYS: i64 = 90;
/// Days after which an open one is.
const OPEN_DAYS: i64 = 365;
/// Series that waited for long enough and are tried in one go.
const AT_ONCE: i64 = 1_000;

impl Ctx {
    /// Joins packs, packs refs, and archives old series of a repository: these are not tried again when a branch moves.
    /// Series that waited for long enough are owed a try.
    pub async fn upkeep(&self, id: RepoId, job: Held) -> Result<(), PipelineError> {
        let repos = self.store.load_repos().await?;
        if let Some(repo) = repos.into_iter().find(|r| r.id == id.0) {
            let git = self.repos.clone();
            for (folder, done) in think(move || git.tidy(&repo.name)).await?? {
                tracing::info!(folder = %folder.display(), ?done, "put a repository in order");
            }
            let now = crate::store::now();
            let before = |days: i64| now.plus_secs(-days * 24 * 3600);
            let (closed, open) = (before(CLOSED_DAYS), before(OPEN_DAYS));
            let archived = self.store.archive_series(id, closed, open).await?;
            // What they name did not come in time: they are applied without it.
            let waited = now.plus_secs(-super::base::PATIENCE);
            let waiting = self.store.load_waiting(id, waited, AT_ONCE).await?;
            let jobs = waiting.into_iter().map(|s| (Job::Apply(s), 5)).collect();
            self.store.insert_jobs(jobs, now).await?;
            if archived > 0 {
                tracing::info!(repo.id = id.0, archived, "archived old series");
            }
        }
        Ok(self.store.finish_jobs(vec![job]).await?)
    }
}
