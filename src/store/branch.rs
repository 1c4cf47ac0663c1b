//! Branches that are followed beside a repository's main one, and how far they were looked at.

use super::{Store, StoreError};
use crate::types::RepoId;

impl Store {
    /// Says which branches of a repository are followed beside its main one, replacing what was said before.
    pub async fn update_follow(&self, repo: RepoId, patterns: &[String]) -> Result<(), StoreError> {
        let text = "update repo set follow = $1 where id = $2";
        let binds = vec![patterns.join(" ").into(), repo.0.into()];
        self.write(move |tx| Box::pin(async move { tx.execute(text, binds).await.map(drop) }))
            .await
    }

    /// The branches of a repository that were looked at beside its main one: (branch, its commit then).
    ///
    /// Those that are followed no longer stay, so that nothing is passed over if they are followed again.
    pub async fn load_branches(&self, repo: i64) -> Result<Vec<(String, String)>, StoreError> {
        let text = "select name, tip from repo_branch where repo = $1 order by name";
        self.fetch(text, vec![repo.into()]).await
    }

    /// Notes that all commits of a branch up to this one were looked at.
    pub async fn record_branch(
        &self,
        repo: i64,
        branch: String,
        tip: String,
    ) -> Result<(), StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                let row = vec![repo.into(), branch.into(), tip.into()];
                let tail = "on conflict (repo, name) do update set tip = excluded.tip";
                tx.insert("repo_branch (repo, name, tip)", vec![row], tail)
                    .await
                    .map(drop)
            })
        })
        .await
    }
}
