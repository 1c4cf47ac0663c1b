//! Taking posted mail back.

use super::{Ctx, PipelineError};
use crate::store::job::Held;
use crate::store::{Done, PostedMail, RecallWish, Recalled};
use crate::types::{Job, ListId, MailId, MessageId, PatchsetId, RealmId, Timestamp};

/// Mails that are grouped anew at once.
const AT_ONCE: usize = 200;

impl Ctx {
    /// The mails of that name, of one list if that is given.
    pub async fn find_posted(
        &self,
        id: &MessageId,
        list: Option<ListId>,
    ) -> Result<Vec<PostedMail>, PipelineError> {
        let found = self.store.find_mails_named(id, list).await?;
        let mails: Vec<MailId> = found.into_iter().map(|(mail, _)| mail).collect();
        if mails.is_empty() {
            return Ok(Vec::new());
        }
        Ok(self.store.load_posted(&mails).await?)
    }

    /// Takes a mail out of the archive and all its lists and holds it, stops the copies that were not sent, and bans its author if that is
    /// wished, all in one commit. Refs go and groups are made anew by a job of its own. `None` if it is not there any more.
    pub async fn recall(
        &self,
        mail: MailId,
        wish: RecallWish,
        now: Timestamp,
    ) -> Result<Option<Recalled>, PipelineError> {
        Ok(self.store.recall(mail, wish, now).await?)
    }

    /// The end of a purge, when the aftermath is cleared: writes the database's files anew. Writers wait meanwhile.
    pub async fn scrub(&self, realm: RealmId) -> Result<(), PipelineError> {
        Ok(self.store.scrub_realm(realm).await?)
    }

    /// What recalls left to do in a realm: refs that hold what is gone, and groups that it was in.
    pub async fn clear_aftermath(&self, realm: RealmId, job: Held) -> Result<(), PipelineError> {
        let left = self.store.load_aftermath(realm).await?;
        let patchsets = left
            .versions
            .iter()
            .map(|(patchset, _)| *patchset)
            .collect();
        let (mut patchsets, kept) = self
            .store
            .load_kept_versions(patchsets, &left.versions)
            .await?;
        if !left.versions.is_empty() {
            self.forget_refs(realm, &patchsets, &kept).await?;
            if realm != RealmId::PUBLIC {
                // There the companion went as a whole.
                let all = self.store.load_patchsets_of(realm).await?;
                patchsets = all.into_iter().map(|PatchsetId(id)| id).collect();
            }
        }
        for seeds in left.near.chunks(AT_ONCE) {
            self.regroup(realm, seeds, Done::default()).await?;
        }
        let again = self.store.load_complete_series(&patchsets).await?;
        let jobs = again.into_iter().map(|s| (Job::Apply(s), 4)).collect();
        let now = self.store.time().await?;
        self.store.insert_jobs(jobs, now).await?;
        Ok(self.store.finish_aftermath(realm, left, job).await?)
    }
}
