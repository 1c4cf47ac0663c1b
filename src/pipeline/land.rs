//! A branch moved: which patches came in with it.

use std::collections::BTreeMap;

use super::{Ctx, PipelineError, think};
use crate::diff::mailinfo::mailinfo;
use crate::diff::patch_id::patch_id;
use crate::patchset::{Candidate, Recognised, match_landed};
use crate::store::{BranchOf, Pending, RepoRow};
use crate::types::{MailId, MessageId, Timestamp};

/// Series that are looked at when a branch moves, the newest.
const SERIES: i64 = 500;
/// Mails that are read at a time.
const BATCH: usize = 200;

impl Ctx {
    /// Finds the patches that landed between two commits of a branch, and records them. Safe to repeat.
    pub(super) async fn land(
        &self,
        repo: &RepoRow,
        old: &str,
        new: &str,
        now: Timestamp,
    ) -> Result<(), PipelineError> {
        let pending = self.store.load_pending(repo.id, SERIES).await?;
        if pending.is_empty() {
            return Ok(());
        }
        let (git, name, old, new) = (
            self.repos.clone(),
            repo.name.clone(),
            old.to_owned(),
            new.to_owned(),
        );
        let commits = think(move || git.arrivals(&name, &old, &new)).await??;
        if commits.is_empty() {
            return Ok(());
        }
        let candidates = self.candidates(&pending).await?;
        let found = match_landed(&candidates, &commits);
        let mut by_series: BTreeMap<i64, Vec<(Pending, String)>> = BTreeMap::new();
        for (patch, commit) in pending.into_iter().zip(found) {
            if let Some(commit) = commit {
                by_series
                    .entry(patch.series)
                    .or_default()
                    .push((patch, commit.to_owned()));
            }
        }
        let place = BranchOf {
            repo: repo.id,
            name: repo.name.clone(),
            branch: repo.branch.clone(),
        };
        for landed in by_series.into_values().rev() {
            let patchset = landed[0].0.patchset;
            let new = self.store.record_landed(place.clone(), landed, None, now);
            match new.await? {
                0 => {}
                count => tracing::info!(
                    patchset.id = patchset,
                    repo.name = repo.name,
                    "{count} patches of patchset {patchset} landed in {place}"
                ),
            }
        }
        Ok(())
    }

    async fn candidates(&self, pending: &[Pending]) -> Result<Vec<Candidate>, PipelineError> {
        let mut candidates = Vec::with_capacity(pending.len());
        for batch in pending.chunks(BATCH) {
            let mails: Vec<MailId> = batch.iter().map(|p| p.mail).collect();
            let found = self.store.load_bytes_of(&mails).await?;
            let batch = batch.to_vec();
            let read = think(move || {
                let bytes: BTreeMap<i64, Vec<u8>> = found
                    .into_iter()
                    .map(|(mail, bytes, _)| (mail.0, bytes))
                    .collect();
                let all = batch.iter();
                all.map(|p| candidate(p, bytes.get(&p.mail.0)))
                    .collect::<Vec<_>>()
            });
            candidates.extend(read.await?);
        }
        Ok(candidates)
    }
}

fn candidate(patch: &Pending, bytes: Option<&Vec<u8>>) -> Candidate {
    // What another version of this program wrote is read again by `reclassify`; until then the title is unknown.
    let facts: Option<Recognised> = serde_json::from_str(&patch.recognised).ok();
    let letter = bytes.and_then(|b| mailinfo(b).ok());
    let nameless = || MessageId::parse("nameless@derived.invalid").expect("it is an id");
    Candidate {
        message_id: MessageId::parse(&patch.message_id).unwrap_or_else(nameless),
        title: facts.map(|f| f.normal_title).unwrap_or_default(),
        patch_id: letter.and_then(|l| patch_id(&l.patch)),
    }
}
