//! What an operator decides about lists, members and repositories.

use std::collections::HashSet;

use super::{Ctx, PipelineError, think};
use crate::git::Source;
use crate::list::address::Target;
use crate::list::roster::Entry;
use crate::list::settings::{Bits, Policy};
use crate::store::{AccessChange, ListChange, ListRow, NewList, NewRepo, RepoRow};
use crate::types::{Address, ListId, RepoId, Timestamp};

/// The name of the moment of the last backup.
pub const LAST_BACKUP: &str = "last-backup";
/// The name of the moment at which the running server last looked at itself.
pub const LAST_WATCH: &str = "last-watch";

impl Ctx {
    /// Makes a list. [`crate::store::StoreError::Refused`] if its name or address is taken, or a repository is not there.
    pub async fn create_list(&self, new: NewList) -> Result<ListId, PipelineError> {
        check_eyes(&new.name, &new.visibility, &new.policy)?;
        Ok(self.store.insert_list(new, crate::store::now()).await?)
    }

    /// Changes settings of a list; what is cached of it is made anew.
    pub async fn change_list(&self, list: ListId, change: ListChange) -> Result<(), PipelineError> {
        if let Some(policy) = &change.policy
            && let Some(row) = self.store.find_list_by_id(list).await?
            && policy.anybody.has(Bits::BROWSE) != row.policy.anybody.has(Bits::BROWSE)
        {
            check_eyes(&row.name, &row.visibility, policy)?;
        }
        let repos = change.repos.is_some();
        self.store.update_list(list, change).await?;
        if repos {
            // What had no place before may have one now.
            for repo in self.store.load_list_repos(list).await? {
                self.look_again(RepoId(repo.id), false).await?;
            }
        }
        Ok(())
    }

    /// Notes what a command of the operator changed at a list.
    pub async fn note_command(
        &self,
        list: &ListRow,
        kind: &'static str,
        details: Vec<String>,
    ) -> Result<(), PipelineError> {
        let now = crate::store::now();
        for detail in details {
            let actor = "the operator".to_owned();
            let noted = self.store.insert_event(list, kind, actor, detail, now);
            noted.await?;
        }
        Ok(())
    }

    /// Changes who may do what at a list, and whom it bans; `why` is kept with the bans.
    pub async fn change_access(
        &self,
        list: ListId,
        change: AccessChange,
        why: &str,
    ) -> Result<(), PipelineError> {
        let (why, now) = (why.to_owned(), crate::store::now());
        Ok(self.store.update_access(list, change, why, now).await?)
    }

    /// Deletes a list that has no mail, neither filed nor owed.
    pub async fn remove_empty_list(&self, list: &ListRow) -> Result<(), PipelineError> {
        self.check_empty(list).await?;
        // From here on no mail is taken for it; what was taken in between keeps it.
        self.store.close_list(list).await?;
        if let Err(error) = self.check_empty(list).await {
            let open = ListChange {
                address: Some(list.address.clone()),
                ..ListChange::default()
            };
            self.store.update_list(list.id, open).await?;
            return Err(error);
        }
        self.purge_list(list).await
    }

    /// An error if deleting the list would delete mail.
    async fn check_empty(&self, list: &ListRow) -> Result<(), PipelineError> {
        let (postings, ..) = self.store.count_list(list.id).await?;
        let name = &list.name;
        let refused = |text: String| Err(PipelineError::Refused(text));
        if postings > 0 {
            return refused(format!(
                "list {name} has an archive of {}; export it, then say --purge to delete it for ever",
                mails(postings)
            ));
        }
        match self.store.count_unfiled(list.id).await? {
            0 => Ok(()),
            owed => refused(format!(
                "list {name} owes a place to {} that it took (`patchpost jobs` says why); say --purge to delete all for ever",
                mails(owed)
            )),
        }
    }

    /// Adds members by address; returns how many are new.
    pub async fn add_members(
        &self,
        list: ListId,
        addresses: Vec<String>,
    ) -> Result<Vec<String>, PipelineError> {
        let now = crate::store::now();
        Ok(self.store.insert_members(list, addresses, now).await?)
    }

    /// Subscribes members with their settings, all or none; returns how many are new.
    pub async fn import_members(
        &self,
        list: ListId,
        entries: Vec<Entry>,
    ) -> Result<u64, PipelineError> {
        let now = crate::store::now();
        Ok(self.store.import_members(list, entries, now).await?)
    }

    /// Changes what a member gets; `false` if there is no such member.
    pub async fn set_member(&self, list: ListId, entry: Entry) -> Result<bool, PipelineError> {
        Ok(self.store.update_member(list, entry).await?)
    }

    /// Makes two addresses one person's, as the operator says.
    pub async fn link(&self, addresses: &[Address; 2]) -> Result<(), PipelineError> {
        let keys = addresses.each_ref().map(Address::key);
        Ok(self.store.link_addresses(keys, crate::store::now()).await?)
    }

    /// The first of these addresses, given in lower case, that cannot be a member of a list, and why: it is the list itself, or takes
    /// commands. Another list may be a member.
    pub async fn find_own(
        &self,
        list: &ListRow,
        keys: &[String],
    ) -> Result<Option<(String, &'static str)>, PipelineError> {
        let lists = self.store.load_lists().await?;
        let ours = lists.iter().filter_map(|l| l.address.rsplit_once('@'));
        let mut domains: HashSet<&str> = ours.map(|(_, domain)| domain).collect();
        domains.extend(["localhost", &*self.hostname]);
        for key in keys {
            let address: Address = key.parse()?;
            if !domains.contains(address.domain()) {
                continue;
            }
            // Few people have an address in a domain of lists.
            match self.find_target(&address).await? {
                Some((own, _)) if own.id == list.id => {
                    return Ok(Some((key.clone(), "is the list itself")));
                }
                Some((_, Target::Post)) | None => {}
                Some(_) => {
                    return Ok(Some((key.clone(), "takes commands for a list here")));
                }
            }
        }
        Ok(None)
    }

    /// Removes members; returns those that were there.
    pub async fn remove_members(
        &self,
        list: ListId,
        addresses: Vec<String>,
    ) -> Result<Vec<String>, PipelineError> {
        Ok(self.store.delete_members(list, addresses).await?)
    }

    /// Makes a repository's clone, its companion and its row; `kind` and `text` are how the source is shown. Returns the branch that
    /// is followed. A run that is killed leaves nothing that stands in the way of the next.
    pub async fn add_repo(
        &self,
        name: &str,
        source: Source,
        (kind, text): (&str, String),
        branch: Option<String>,
    ) -> Result<String, PipelineError> {
        let known = self.store.load_repos().await?;
        if known.iter().any(|r| r.name == name) {
            let text = format!("repository {name} exists already");
            return Err(PipelineError::Refused(text));
        }
        let (repos, owned) = (self.repos.clone(), name.to_owned());
        let made = think(move || {
            let adding = repos.begin(&owned)?;
            match repos.create(&owned, &source, branch.as_deref()) {
                Ok((branch, tip)) => Ok((branch, tip, adding)),
                Err(error) => {
                    adding.finish();
                    Err(error)
                }
            }
        });
        let (branch, tip, adding) = made.await??;
        let new = NewRepo {
            name: name.to_owned(),
            source_kind: kind.to_owned(),
            source: text,
            branch: branch.clone(),
            tip,
        };
        self.store.insert_repo(new, crate::store::now()).await?;
        adding.finish();
        Ok(branch)
    }

    /// Forgets a repository, its clone and its companion; refused while a list has it.
    pub async fn remove_repo(&self, repo: &RepoRow) -> Result<(), PipelineError> {
        let (id, name) = (RepoId(repo.id), repo.name.clone());
        self.store.delete_repo(id, name.clone()).await?;
        let repos = self.repos.clone();
        Ok(think(move || repos.remove(&name)).await??)
    }

    /// Notes how far a source was imported.
    pub async fn note_import(
        &self,
        list: ListId,
        source: String,
        last: String,
    ) -> Result<(), PipelineError> {
        Ok(self.store.record_import(list, source, last).await?)
    }

    /// Notes that a backup was made.
    pub async fn note_backup(&self, now: Timestamp) -> Result<(), PipelineError> {
        Ok(self
            .store
            .record_meta(LAST_BACKUP.to_owned(), now.0.to_string())
            .await?)
    }

    /// Parked jobs are tried again, and DNS is asked at once about what it gave no answer; returns how many of either.
    pub async fn try_jobs_again(&self) -> Result<(u64, u64), PipelineError> {
        Ok(self.store.retry_jobs(crate::store::now()).await?)
    }
}

/// Everybody's right to read and a list's being public are one thing: whatever shows a list goes by the latter.
fn check_eyes(name: &str, visibility: &str, policy: &Policy) -> Result<(), PipelineError> {
    let refused = |text: String| Err(PipelineError::Refused(text));
    match (visibility == "public", policy.anybody.has(Bits::BROWSE)) {
        (true, false) => refused(format!(
            "list {name} is public: everybody may browse; what not all may read wants a list that is made with --private"
        )),
        (false, true) => refused(format!(
            "list {name} is not public: it cannot be opened to everybody's eyes"
        )),
        _ => Ok(()),
    }
}

fn mails(count: i64) -> String {
    match count {
        1 => "1 mail".to_owned(),
        n => format!("{n} mails"),
    }
}
