//! Automatic mail: made by the one table ([`crate::list::notice`]) and owed within its limits.

use std::net::IpAddr;

use super::{Ctx, PipelineError};
use crate::list::notice::{self, Answered, Draft, Event};
use crate::net;
use crate::store::{CappedLetter, ListRow, NewLetter, Owed};
use crate::types::{Address, Timestamp};

/// An automatic mail that is wanted.
#[derive(Debug, Clone)]
pub struct Notice<'a> {
    /// What it is about: the row of the table.
    pub event: Event,
    /// The list that it speaks for; `None`: the site.
    pub list: Option<&'a ListRow>,
    /// To whom: somebody who is authenticated, or an address that is asked to confirm.
    pub to: &'a Address,
    /// Our own words, nothing of whoever caused it.
    pub subject: &'a str,
    /// A rendered template.
    pub text: &'a str,
    /// Where an answer goes; `None`: to the people who run the list or site.
    pub reply_to: Option<&'a Address>,
    /// Envelope sender; empty, the null sender, unless what comes back must be known.
    pub return_path: String,
    /// The mail that it answers.
    pub answered: Option<&'a Answered>,
    /// From where it was caused, if it was by a stranger.
    pub ip: Option<IpAddr>,
}

impl Ctx {
    /// Owes an automatic mail, if its limits allow; they are checked in the transaction that stores it.
    ///
    /// Addresses of lists here get none, nor such as cannot stand in a header as they are: then the answer is [`Owed::EnoughForAddress`].
    pub async fn notify(&self, notice: &Notice<'_>, now: Timestamp) -> Result<Owed, PipelineError> {
        if self.is_list_address(notice.to).await? {
            return Ok(Owed::EnoughForAddress);
        }
        match self.draft(notice, now)? {
            None => Ok(Owed::EnoughForAddress),
            Some(letter) => Ok(self.store.insert_capped_letter(letter, now).await?),
        }
    }

    /// The mail for a transaction that has more to do; `None` if it cannot be sent to that address. The caller sees that it is
    /// no list's.
    pub(crate) fn draft(
        &self,
        notice: &Notice<'_>,
        now: Timestamp,
    ) -> Result<Option<CappedLetter>, PipelineError> {
        let mut unique = [0u8; 16];
        getrandom::fill(&mut unique)
            .map_err(|e| PipelineError::Broken(format!("no random numbers: {e}")))?;
        // A list's address was read as one when it was made.
        let list = notice.list.and_then(|l| l.address.parse::<Address>().ok());
        let data = notice::render(&Draft {
            event: notice.event,
            list: list.as_ref(),
            hostname: &self.hostname,
            to: notice.to,
            subject: notice.subject,
            text: notice.text,
            reply_to: notice.reply_to,
            answered: notice.answered,
            now,
            unique: u128::from_be_bytes(unique),
        });
        let rule = notice::rule(notice.event);
        Ok(data.map(|data| CappedLetter {
            letter: NewLetter {
                list: notice.list.map(|l| l.id),
                purpose: rule.purpose,
                recipient: notice.to.to_string(),
                return_path: notice.return_path.clone(),
                data,
                about: Vec::new(),
            },
            cap: rule.cap,
            counted: notice::counted(notice.to),
            // A proxy or mail server before us speaks for many.
            source: notice::counted_source(notice.ip.and_then(net::source)),
        }))
    }

    /// Whether mail to an address comes to a list here, be it as a post or as anything else.
    pub(crate) async fn is_list_address(&self, address: &Address) -> Result<bool, PipelineError> {
        Ok(self.find_target(address).await?.is_some())
    }
}
