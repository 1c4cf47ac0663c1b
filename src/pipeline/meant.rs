//! States by mail for people whose mail nothing signs: who would have the right is asked, by a mail to that address, whether the wish is his.
//!
//! The link and the reply address in it work once, for three days, and for this one mail's wishes. Whether the person has the right still is looked at
//! when it is used.

use super::command::rendered;
use super::notify::Notice;
use super::steer::{names, refusal};
use super::{Ctx, PipelineError, parse};
use crate::list::command::Wish as Asked;
use crate::list::notice::{self, Confirm, Event};
use crate::list::order;
use crate::list::token::{self, Confirmation};
use crate::mail::Message;
use crate::patchset::steer::{Wish, wishes};
use crate::store::{CappedLetter, ListRow, NewConfirmation, WishedFor, Wishing, state_name};
use crate::types::{Address, ListId, MailId, Timestamp};
use crate::verdict::Verdict;

/// What asks, and under which number.
type Asking = (Option<CappedLetter>, Option<NewConfirmation>);

impl Ctx {
    /// Asks the address in From, if it has the right to what an unauthenticated mail wishes and nothing speaks against asking.
    pub(super) async fn ask_author(
        &self,
        list: &ListRow,
        mail: MailId,
        wishing: &Wishing,
        message: &Message,
        now: Timestamp,
    ) -> Result<Asking, PipelineError> {
        let who = order::who(message, &wishing.verdict, list.policy.proof);
        let (Ok(author), Some(series)) = (who.address.parse::<Address>(), &wishing.series) else {
            return Ok((None, None));
        };
        // RFC 3834 section 4: only who sent it is answered. A domain that wants unsigned mail refused has a way to sign.
        let sent_by = wishing.sender.parse::<Address>().ok();
        let silent = notice::unanswerable(message, sent_by.as_ref(), |_| false).is_some();
        let other = sent_by.is_none_or(|s| s.key() != author.key());
        let odd = !notice::is_plain(&author) || self.is_list_address(&author).await?;
        if silent || other || odd || self.is_for_signers(&author, &wishing.verdict).await {
            return Ok((None, None));
        }
        if !series.lists.contains(&list.id) {
            return Ok((None, None));
        }
        let standing = self.standing(&author.key(), &[list], series).await?;
        let all = wishes(message, |_| true);
        if all
            .iter()
            .any(|wish| refusal(wish, standing, series).is_some())
        {
            return Ok((None, None));
        }
        let Some(what) = words(list, series, &all) else {
            return Ok((None, None));
        };
        let asked = NewConfirmation {
            nonce: token::fresh_nonce(random()?),
            address: author.key(),
            wish: Asked::Steer,
            other: mail.0.to_string(),
        };
        let letter = self.meant_letter(list, &author, &what, asked.nonce, message, now)?;
        Ok((letter, Some(asked)))
    }

    /// Whether the domain of an address wants mail refused that nothing speaks for: who writes from there can sign.
    async fn is_for_signers(&self, author: &Address, verdict: &Verdict) -> bool {
        if notice::is_forbidden(verdict) {
            return true;
        }
        match (&verdict.policy, &self.checks) {
            // Nobody looked when it came.
            (None, Some(checks)) => {
                let policy = checks.dns.find_policy(author.domain()).await;
                matches!(policy.as_deref(), Some("reject" | "quarantine"))
            }
            _ => false,
        }
    }

    fn meant_letter(
        &self,
        list: &ListRow,
        author: &Address,
        what: &str,
        nonce: i64,
        message: &Message,
        now: Timestamp,
    ) -> Result<Option<CappedLetter>, PipelineError> {
        let of: Address = list.address.parse()?;
        let confirmation = Confirmation {
            nonce,
            list: list.id,
        };
        let Some(token) = token::render_confirm(&self.token_key, confirmation) else {
            return Ok(None);
        };
        let reply_to = notice::with_suffix(&of, &format!("+confirm-{token}"));
        let owner = notice::with_suffix(&of, "+owner").map(|o| o.to_string());
        let text = Confirm {
            what,
            address: author,
            link: &format!("{}/-/confirm/{token}", self.base_url),
            reply: reply_to.is_some(),
            owner: &owner.unwrap_or_default(),
        };
        let notice = Notice {
            event: Event::Confirm,
            list: Some(list),
            to: author,
            subject: &format!("Please confirm: {}", Asked::Steer.words(&list.address)),
            text: &rendered(&text),
            reply_to: reply_to.as_ref(),
            return_path: String::new(),
            answered: Some(&message.into()),
            ip: None,
        };
        self.draft(&notice, now)
    }

    /// What a confirmation of a mail's wishes stands for, in words.
    pub(super) async fn meant_words(
        &self,
        list: &ListRow,
        other: &str,
    ) -> Result<String, PipelineError> {
        let general = || Asked::Steer.words(&list.address);
        let Some(mut wishing) = self.find_meant(list.id, other).await? else {
            return Ok(general());
        };
        let all = wishes(&parse(std::mem::take(&mut wishing.bytes)).await?, |_| true);
        let series = wishing.series.as_ref();
        let said = series.and_then(|series| words(list, series, &all));
        Ok(said.unwrap_or_else(general))
    }

    /// Does what was asked under a number, if it is a mail's wishes and was not done before. Safe to repeat. Returns the answer by mail, if
    /// one may be given; `None` if the mail is not here any more.
    pub(super) async fn fulfil(
        &self,
        list: &ListRow,
        nonce: i64,
        now: Timestamp,
    ) -> Result<Option<Option<CappedLetter>>, PipelineError> {
        let asked = self.store.find_confirmation(list.id, nonce, now).await?;
        let Some(asked) = asked.filter(|a| a.wish == Asked::Steer && !a.done) else {
            return Ok(None);
        };
        let Some(mut wishing) = self.find_meant(list.id, &asked.other).await? else {
            return Ok(None);
        };
        let message = parse(std::mem::take(&mut wishing.bytes)).await?;
        let lines = match &wishing.series {
            Some(series) if names(&message, &list.address) && series.lists.contains(&list.id) => {
                let all = wishes(&message, |_| true);
                self.grant_wishes(&wishing, &all, &[list], series, &asked.address)
                    .await?
            }
            _ => vec!["Nothing was done: the mail answers no patch series.".to_owned()],
        };
        let to: Address = asked.address.parse()?;
        let letter = self.steered_letter(list, &to, &message, &wishing, &lines);
        Ok(Some(letter.await?))
    }

    async fn find_meant(
        &self,
        list: ListId,
        other: &str,
    ) -> Result<Option<Wishing>, PipelineError> {
        let Ok(mail) = other.parse::<i64>() else {
            return Ok(None);
        };
        let found = self.store.load_wishing(MailId(mail)).await?;
        Ok(found.filter(|w| w.lists.contains(&list)))
    }
}

/// `give patchset 12 v2 of dev the state accepted`; `None` for what holds words of whoever wrote it: he is not known.
fn words(list: &ListRow, series: &WishedFor, wishes: &[Wish]) -> Option<String> {
    let one = |wish: &Wish| match wish {
        Wish::State(0) => Some("the state that the rules say".to_owned()),
        Wish::State(state) => Some(format!("the state {}", state_name(*state))),
        Wish::Delegate(None) => Some("no delegate".to_owned()),
        Wish::Delegate(Some(_)) | Wish::Unclear(_) => None,
    };
    let all: Option<Vec<String>> = wishes.iter().map(one).collect();
    let all = all.filter(|all| !all.is_empty())?.join(" and ");
    // What goes over TLS only has no numbers in plain mail.
    Some(match list.policy.tls_only {
        true => format!("give a patchset of {} {all}", list.name),
        false => format!(
            "give patchset {} v{} of {} {all}",
            series.patchset, series.label, list.name
        ),
    })
}

fn random() -> Result<[u8; 8], PipelineError> {
    let mut bytes = [0u8; 8];
    getrandom::fill(&mut bytes)
        .map_err(|e| PipelineError::Broken(format!("no random numbers: {e}")))?;
    Ok(bytes)
}
