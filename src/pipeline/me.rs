//! What people change about themselves on their page: they are signed in with an address, and act for it and those that are linked with it.

use super::command::place;
use super::{Ctx, PipelineError, Viewer};
use crate::list::command::Wish;
use crate::list::notice::Answered;
use crate::list::roster::Entry;
use crate::store::{Act, Acted, By, ListRow};
use crate::types::{RealmId, Timestamp};

/// What somebody wants of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// To be a member.
    Join,
    /// Other settings; the address in them counts for nothing.
    Settings(Entry),
    /// To be a member no more.
    Leave,
}

impl Ctx {
    /// Whether an address, in lower case, is the viewer's or linked with it.
    pub async fn is_own(&self, viewer: &Viewer, address: &str) -> Result<bool, PipelineError> {
        let own = self.store.load_linked(&viewer.address).await?;
        Ok(own.iter().any(|a| a == address))
    }

    /// Does for one of the viewer's addresses what is wanted of a list; `false`: there is no such list or member, as far as they may know.
    pub async fn change_own(
        &self,
        viewer: &Viewer,
        (list, address): (&str, &str),
        wanted: Wanted,
        now: Timestamp,
    ) -> Result<bool, PipelineError> {
        let Some(list) = self.store.find_list(list).await? else {
            return Ok(false);
        };
        if !self.is_own(viewer, address).await? {
            return Ok(false);
        }
        let member = self.store.find_member_by_address(list.id, address).await?;
        let act = |wish| Act::Exactly(address.to_owned(), wish, By::Owner);
        let at = place(&list, "on the page");
        match (wanted, member) {
            (Wanted::Join, None) if list.realm == RealmId::PUBLIC => {
                self.join_at_once(list, act(Wish::Subscribe), now).await
            }
            (Wanted::Join, _) | (_, None) => Ok(false),
            (Wanted::Leave, Some(_)) => {
                let act = act(Wish::Unsubscribe);
                self.store.act(at, None, act, |_| None, now).await?;
                Ok(true)
            }
            (Wanted::Settings(entry), Some(member)) => {
                let wish = match entry.mail {
                    Some(mail) if mail != member.mail => Some(match mail {
                        true => Wish::Mail,
                        false => Wish::Nomail,
                    }),
                    _ => None,
                };
                if let Some(wish) = wish {
                    self.store.act(at, None, act(wish), |_| None, now).await?;
                }
                let entry = Entry {
                    address: address.to_owned(),
                    mail: None,
                    kind: None,
                    ..entry
                };
                Ok(self.store.update_member(list.id, entry).await?)
            }
        }
    }

    /// Being signed in proves the address as a confirmation does.
    async fn join_at_once(
        &self,
        list: ListRow,
        act: Act,
        now: Timestamp,
    ) -> Result<bool, PipelineError> {
        let (ctx, at) = (self.clone(), place(&list, "on the page"));
        let letter = move |acted: &Acted| ctx.answer(&list, acted, &Answered::default(), now);
        let acted = self.store.act(at, None, act, letter, now).await?;
        Ok(matches!(acted, Acted::Holds { .. }))
    }

    /// Gives one of the viewer's addresses its copies again; `false`: it is not theirs.
    pub async fn enable_own(
        &self,
        viewer: &Viewer,
        address: &str,
        now: Timestamp,
    ) -> Result<bool, PipelineError> {
        let own = self.is_own(viewer, address).await?;
        if own {
            self.enable_address(address, now).await?;
        }
        Ok(own)
    }

    /// Takes the link between the viewer's addresses and one of them away; `false`: it is not theirs.
    pub async fn unlink_own(&self, viewer: &Viewer, address: &str) -> Result<bool, PipelineError> {
        let own = self.is_own(viewer, address).await?;
        if own {
            self.store.unlink_address(address.to_owned()).await?;
        }
        Ok(own)
    }

    /// Deletes what is kept of the address that the viewer is signed in with; addresses that are linked with it stay.
    pub async fn erase_own(&self, viewer: &Viewer, now: Timestamp) -> Result<(), PipelineError> {
        let address = viewer.address.clone();
        Ok(self.store.erase_address(address, now).await?)
    }
}
