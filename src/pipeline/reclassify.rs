//! Grouping a whole realm anew, and what people decide about groups.

use std::collections::{HashMap, HashSet};

use super::file::{group, to_json};
use super::{Ctx, PipelineError, think};
use crate::mail;
use crate::patchset::{self, Recognised};
use crate::store::{Closure, Done, ListRow, NewCorrection, Recorded, Reread, ToReread};
use crate::types::{Job, MailId, RealmId, SeriesId, Timestamp};
use crate::verdict::Standing;

/// Mails that are grouped at once: bounds memory, whatever the archive.
const BATCH: i64 = 200;
const AT_ONCE: usize = 200;

/// Whether what is found is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reclassify {
    /// Written.
    Write,
    /// Only said.
    DryRun,
}

impl Ctx {
    /// Reads and groups all mails of a realm with today's rules. `progress` hears how many mails are done so far, `said` each
    /// difference in words.
    pub async fn reclassify(
        &self,
        realm: RealmId,
        how: Reclassify,
        progress: impl Fn(u64),
        mut said: impl FnMut(String),
    ) -> Result<(), PipelineError> {
        let mut done = 0;
        if how == Reclassify::Write {
            // All are read before any is grouped: a new key may tie a mail to one that comes later.
            let mut after = MailId(0);
            loop {
                let ids = self.store.load_mail_ids(realm, after, BATCH).await?;
                let Some(last) = ids.last() else { break };
                after = *last;
                for batch in self.store.batches(&ids).await? {
                    let changed = self.reread(&batch).await?;
                    self.store.update_recognised(realm, changed).await?;
                }
                done += ids.len() as u64;
                progress(done);
            }
        }
        let mut seen: HashSet<MailId> = HashSet::new();
        let mut after = MailId(0);
        loop {
            let ids = self.store.load_mail_ids(realm, after, BATCH).await?;
            let Some(last) = ids.last() else {
                return Ok(());
            };
            after = *last;
            done += ids.len() as u64;
            let seeds: Vec<MailId> = ids.into_iter().filter(|id| !seen.remove(id)).collect();
            if !seeds.is_empty() {
                let (mails, lines) = self.group_again(realm, &seeds, how).await?;
                // Those before `after` never come up again.
                seen.extend(mails.into_iter().filter(|m| *m > after));
                lines.into_iter().for_each(&mut said);
            }
            progress(done);
        }
    }

    /// Groups what may belong together with `seeds`; returns the mails that were looked at, and the differences, which are said
    /// in the same words whether they are written or not.
    async fn group_again(
        &self,
        realm: RealmId,
        seeds: &[MailId],
        how: Reclassify,
    ) -> Result<(Vec<MailId>, Vec<String>), PipelineError> {
        let mut closure = self.store.load_closure(realm, seeds).await?;
        let mails: Vec<MailId> = closure.mails.iter().map(|m| m.mail).collect();
        if how == Reclassify::DryRun {
            self.read_again(&mut closure, &mails).await?;
        }
        let patchsets = think(move || group(closure)).await?;
        let lines = self.store.compare_patchsets(&mails, &patchsets).await?;
        // What is stored already need not be assembled a second time for the writing.
        if how == Reclassify::DryRun || lines.is_empty() {
            return Ok((mails, lines));
        }
        let done = Done {
            quiet: true,
            ..Done::default()
        };
        let recorded = self.regroup(realm, seeds, done).await?;
        Ok((recorded.mails, lines))
    }

    /// Puts what today's rules read of these mails in the place of what is stored.
    async fn read_again(
        &self,
        closure: &mut Closure,
        mails: &[MailId],
    ) -> Result<(), PipelineError> {
        let mut rest = closure.mails.iter_mut();
        for batch in self.store.batches(mails).await? {
            let fresh = self.reread(&batch).await?;
            let fresh: HashMap<MailId, Reread> = fresh.into_iter().map(|r| (r.mail, r)).collect();
            for mail in rest.by_ref().take(batch.len()) {
                if let Some(fresh) = fresh.get(&mail.mail) {
                    mail.recognised.clone_from(&fresh.recognised);
                }
            }
        }
        Ok(())
    }

    /// Reads mails again with today's rules; returns what differs from what is stored. A mail on which that breaks off
    /// stays as it is.
    async fn reread(&self, ids: &[MailId]) -> Result<Vec<Reread>, PipelineError> {
        let mails = self.store.load_to_reread(ids).await?;
        think(move || {
            let calm = |one| std::panic::catch_unwind(|| reread(one)).unwrap_or_default();
            mails.into_iter().filter_map(calm).collect()
        })
        .await
    }

    /// Notes what a person decided and groups the mails that it names anew.
    pub async fn correct(
        &self,
        realm: RealmId,
        correction: NewCorrection,
    ) -> Result<Recorded, PipelineError> {
        self.correct_at(realm, correction, crate::store::now())
            .await
    }

    /// As [`Ctx::correct`], noted as of that moment.
    pub(super) async fn correct_at(
        &self,
        realm: RealmId,
        correction: NewCorrection,
        now: Timestamp,
    ) -> Result<Recorded, PipelineError> {
        let mut seeds = correction.others.clone();
        seeds.push(correction.mail);
        self.store.insert_correction(realm, correction, now).await?;
        self.regroup(realm, &seeds, Done::default()).await
    }

    /// Deletes a list with its archive for ever, and groups anew what stood beside it in other lists.
    pub async fn purge_list(&self, list: &ListRow) -> Result<(), PipelineError> {
        let realm = list.realm;
        // While their rows are there, a purge that was killed finds out again which refs want to go.
        let mut series = self.store.close_list(list).await?;
        let built = self.store.load_built_on(list.id).await?;
        series.extend(
            built
                .iter()
                .map(|(_, patchset, label)| (*patchset, label.clone())),
        );
        let patchsets = series.iter().map(|(patchset, _)| *patchset).collect();
        let (patchsets, kept) = self.store.load_kept_versions(patchsets, &series).await?;
        self.forget_refs(realm, &patchsets, &kept).await?;
        let near = self.store.purge_list(list).await?;
        // Once more: a series that was being applied was published after the first look.
        self.forget_refs(realm, &patchsets, &kept).await?;
        self.store.delete_purged_list(list).await?;
        let near: Vec<MailId> = near.into_iter().collect();
        for seeds in near.chunks(AT_ONCE) {
            self.regroup(realm, seeds, Done::default()).await?;
        }
        // What stays of a patchset, because it was posted to other lists too, is published by its number of today, the newest as
        // its head.
        let mut left = self.store.load_complete_series(&patchsets).await?;
        // What was built on what is gone is tried without it.
        left.extend(built.into_iter().map(|(series, ..)| SeriesId(series)));
        left.sort_unstable();
        left.dedup();
        let jobs = left.into_iter().map(|s| (Job::Apply(s), 4)).collect();
        Ok(self.store.insert_jobs(jobs, crate::store::now()).await?)
    }

    /// Deletes the refs of patchsets but those of the versions in `kept`; of a realm that is not public all.
    pub(super) async fn forget_refs(
        &self,
        realm: RealmId,
        patchsets: &[i64],
        kept: &[(i64, String)],
    ) -> Result<(), PipelineError> {
        let (repos, patchsets, kept) = (self.repos.clone(), patchsets.to_vec(), kept.to_vec());
        let forget = move || match realm {
            RealmId::PUBLIC => repos.forget_patchsets(&patchsets, &kept),
            other => repos.remove_private(other.0),
        };
        Ok(think(forget).await??)
    }
}

/// `None` if the stored words are those of today's rules.
fn reread((mail, arrived, stored, verdict, bytes): ToReread) -> Option<Reread> {
    let message = mail::parse(&bytes);
    let recognised: Recognised = patchset::recognise(&message);
    let json = to_json(&recognised);
    if json == stored {
        return None;
    }
    let kind = recognised.kind.as_str().to_owned();
    let input = patchset::Input {
        mail,
        identity: message.identity,
        message_id: message.message_id,
        parents: message.parents,
        arrived,
        lists: Vec::new(),
        standing: Standing::from(&verdict),
        person: recognised.submitter.clone(),
        recognised,
    };
    let keys = patchset::link_keys(&input);
    Some(Reread {
        mail,
        kind,
        recognised: json,
        keys,
    })
}
