//! Authors hear that a mail of theirs waits for a moderator: at most once a day, and only who is known to have sent it to the list.
//!
//! The letter goes into the commit that stores the mail: a copy of it that comes again stores nothing, and so tells nobody anything.

use super::ask::{Asked, Taken};
use super::command::rendered;
use super::{Ctx, PipelineError};
use crate::list::command::{Asking, is_sent_here};
use crate::list::notice::{self, Answered, Event, OwnHeld, time_held, why_held};
use crate::list::order;
use crate::list::settings::Proof;
use crate::store::{CappedLetter, ListRow, NewReceipt};
use crate::types::{Address, Timestamp};

impl Ctx {
    /// What lists keep of a mail that they take, with what its author is told of those that hold it.
    pub(super) async fn receipts(
        &self,
        taken: &[Taken],
        asked: &Asked<'_>,
        now: Timestamp,
    ) -> Result<Vec<NewReceipt>, PipelineError> {
        let mut receipts = Vec::with_capacity(taken.len());
        for one in taken {
            let mut receipt = one.receipt(asked, now);
            if let Some(held) = &mut receipt.held {
                let step = one.outcome.steps.last().map_or("", |step| step.name);
                held.letter = self.own_held_letter(&one.list, step, asked, now).await?;
            }
            receipts.push(receipt);
        }
        Ok(receipts)
    }

    /// What the author of a mail is told that a step of a list's order held; `None`: nothing.
    async fn own_held_letter(
        &self,
        list: &ListRow,
        step: &str,
        asked: &Asked<'_>,
        now: Timestamp,
    ) -> Result<Option<CappedLetter>, PipelineError> {
        let (message, policy) = (asked.message, &list.policy);
        if !policy.tell_held {
            return Ok(None);
        }
        let Some((own, to)) = self.author_to_tell(list, asked, now).await? else {
            return Ok(None);
        };
        // Rights of one's own hold for a member as well.
        let access = self.store.load_access(list.id).await?;
        let may_join = list.is_open() && !access.iter().any(|a| a.address == to.key());
        let Some(why) = why_held(step, policy, &own, may_join) else {
            return Ok(None);
        };
        let times = self.store.load_held_times(list.id).await?;
        let owner = notice::with_suffix(&own, "+owner");
        let text = OwnHeld {
            list: &own,
            which: &notice::which_mail(message, false),
            why: &why,
            time: &time_held(&times, policy.hold_days),
            owner: &owner.map_or_else(String::new, |o| o.to_string()),
        };
        let subject = format!("Held for a moderator: your mail to {own}");
        let words = (Event::OwnHeld, subject.as_str(), rendered(&text));
        Ok(self.letter(Some(list), &to, words, &Answered::from(message), now))
    }

    /// A list's address, and the author of a mail who may be told what that list did with it: he is known to have sent it there.
    pub(super) async fn author_to_tell(
        &self,
        list: &ListRow,
        asked: &Asked<'_>,
        now: Timestamp,
    ) -> Result<Option<(Address, Address)>, PipelineError> {
        let message = asked.message;
        // A list's address was read as one when it was made.
        let (Ok(own), Ok(sender)) = (list.address.parse(), asked.sender.parse::<Address>()) else {
            return Ok(None);
        };
        if list.policy.tls_only {
            return Ok(None);
        }
        let asking = Asking {
            message,
            verdict: asked.verdict,
            sender: &sender,
            recipient: &own,
            protocol: asked.protocol,
            now,
        };
        let who = order::who(message, asked.verdict, Proof::Authenticated);
        let to = who.address.parse::<Address>();
        // A signed mail can be sent on by anybody, to any list: its author hears of what he sent here.
        let Some(to) = to.ok().filter(|_| who.proven && is_sent_here(&asking)) else {
            return Ok(None);
        };
        let ours = self.is_list_address(&sender).await? || self.is_list_address(&to).await?;
        let silent = notice::unanswerable(message, Some(&sender), |_| ours).is_some();
        let may_know = !silent && self.may_know(list, &to).await?;
        Ok(may_know.then_some((own, to)))
    }
}
