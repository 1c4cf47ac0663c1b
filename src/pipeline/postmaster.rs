//! Mail for the postmaster: taken at every domain of ours (RFC 5321 section 4.5.1) and given to the operator, as is mail to `abuse@`
//! (RFC 2142) and `root@`, to which machines write. So is mail to
//! the people who run a list (`dev+owner@`; signed mail goes to its moderators, too), and what they have to see to, such as who wants to join a list that is not public.
//!
//! It goes the way of all mail, into a list `postmaster` that is not public and that the first such mail makes: so it is as
//! durable as any, and `export postmaster` shows it even where no operator is named.

use super::ask::Asked;
use super::{Ctx, PipelineError};
use crate::list::command::{Asking, is_sent_here};
use crate::list::policy::Decision;
use crate::list::settings::{Policy, Proof};
use crate::list::{header, notice, order};
use crate::session::Reply;
use crate::store::{CappedLetter, ListRow, NewLetter, NewList, StoreError, mark_of};
use crate::types::{Address, Timestamp};

/// The list's name.
const NAME: &str = "postmaster";
/// Addresses whose mail goes there.
const NAMES: [&str; 3] = [NAME, "abuse", "root"];

impl Ctx {
    /// The postmaster's list, if the address is his at our host name or at the domain of a list.
    pub(super) async fn find_postmaster(
        &self,
        address: &Address,
    ) -> Result<Option<ListRow>, PipelineError> {
        let mut names = NAMES.iter();
        if !names.any(|name| address.local().eq_ignore_ascii_case(name)) {
            return Ok(None);
        }
        let lists = self.store.load_lists().await?;
        let served = |l: &ListRow| {
            l.address
                .rsplit_once('@')
                .map(|(_, domain)| domain.to_owned())
        };
        let ours = address.domain().eq_ignore_ascii_case(&self.hostname)
            || lists
                .iter()
                .any(|l| served(l).as_deref() == Some(address.domain()));
        if !ours {
            return Ok(None);
        }
        self.postmaster_list().await.map(Some)
    }

    /// The postmaster's list, made if there is none yet.
    pub(super) async fn postmaster_list(&self) -> Result<ListRow, PipelineError> {
        match self.store.find_list(NAME).await? {
            Some(list) => Ok(list),
            None => self.make_postmaster().await,
        }
    }

    /// Passes a mail for the people who run a list on to its moderators as it is: one that its author is known to have sent there, so
    /// that nobody reaches them in another's name. The operator gets all of it by the postmaster's list.
    pub(super) async fn pass_on(
        &self,
        list: &ListRow,
        recipient: &Address,
        asked: &Asked<'_>,
        bytes: &[u8],
        now: Timestamp,
    ) -> Result<(), PipelineError> {
        let (message, Ok(sender)) = (asked.message, asked.sender.parse::<Address>()) else {
            return Ok(());
        };
        let asking = Asking {
            message,
            verdict: asked.verdict,
            sender: &sender,
            recipient,
            protocol: asked.protocol,
            now,
        };
        let proven = order::who(message, asked.verdict, Proof::Authenticated).proven;
        if list.policy.tls_only || !proven || !is_sent_here(&asking) {
            return Ok(());
        }
        // What comes back here has gone round.
        let own = header::list_id(&self.postmaster_list().await?.address);
        let mut data = format!("List-Id: <{own}>\n").into_bytes();
        data.extend_from_slice(bytes);
        for to in self.find_moderators(list).await? {
            if self.is_operator(&to.key()) {
                continue;
            }
            let letter = CappedLetter {
                letter: NewLetter {
                    list: Some(list.id),
                    purpose: "mail to the moderators",
                    recipient: to.to_string(),
                    return_path: String::new(),
                    data: data.clone(),
                    about: vec![mark_of(&message.identity)],
                },
                cap: notice::MODERATORS,
                counted: notice::counted(&to),
                source: String::new(),
            };
            self.store.insert_capped_letter(letter, now).await?;
        }
        Ok(())
    }

    async fn make_postmaster(&self) -> Result<ListRow, PipelineError> {
        let new = NewList {
            name: NAME.to_owned(),
            address: format!("{NAME}@{}", self.hostname),
            description: "Mail for the operator of this site".to_owned(),
            style: "discuss".to_owned(),
            visibility: "private".to_owned(),
            repos: Vec::new(),
            policy: Policy::open(),
        };
        match self.store.insert_list(new, crate::store::now()).await {
            // Refused: another connection was faster.
            Ok(_) | Err(StoreError::Refused(_)) => {}
            Err(error) => return Err(error.into()),
        }
        self.name_operator().await?;
        let list = self.store.find_list(NAME).await?;
        list.ok_or_else(|| PipelineError::Broken("the postmaster's list vanished".to_owned()))
    }

    /// Makes the operator that the configuration names the one member of the postmaster's list, if there is that list.
    pub async fn name_operator(&self) -> Result<(), PipelineError> {
        let (Some(operator), Some(list)) = (&self.operator, self.store.find_list(NAME).await?)
        else {
            return Ok(());
        };
        let key = operator.key();
        let members = self.store.load_members(list.id, "", 1_000).await?;
        let others = members.into_iter().map(|m| m.address);
        let others: Vec<String> = others.filter(|a| *a != key).collect();
        if !others.is_empty() {
            self.store.delete_members(list.id, others).await?;
        }
        let now = crate::store::now();
        self.store.insert_members(list.id, vec![key], now).await?;
        Ok(())
    }
}

/// What policy said of a mail to a list, as it holds for the postmaster: everything is taken, bounces and HTML too, but a
/// mail that went round (and what was removed here, of which it is not asked).
pub(super) fn take_all(
    list: &ListRow,
    decided: Result<Decision, Reply>,
) -> Result<Decision, Reply> {
    match decided {
        Err(reply) if list.name == NAME && reply.enhanced != "5.4.6" => Ok(Decision::Accept),
        Ok(Decision::Drop(why)) if list.name == NAME && why != "loop" => Ok(Decision::Accept),
        Ok(Decision::Hold(_)) if list.name == NAME => Ok(Decision::Accept),
        decided => decided,
    }
}
