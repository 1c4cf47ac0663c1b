//! States and delegates by mail: who may have his wish gets it, and everybody who is known to have written hears what came of it.
//!
//! Who has the right and no signature is asked by a mail with a link that works once; what it confirms counts as if it had been signed.
//!
//! A From field is no authority: a wish counts if the mail is authenticated as that of a moderator, or of who sent the series, and if it
//! names the list in To or Cc, so that no signed mail to others can be sent here. What is recorded is a correction on the mail that was
//! answered, so that it holds for that version, and survives every recomputation.

use askama::Template;

use super::notify::Notice;
use super::{Ctx, PipelineError};
use crate::list::notice::{self, Answered, Event, Steered};
use crate::list::order;
use crate::list::settings::Bits;
use crate::mail::{self, Message};
use crate::patchset::steer::{Wish, own_refusal, wishes};
use crate::store::job::Held;
use crate::store::{CappedLetter, ListRow, NewCorrection, WishedFor, Wishing, state_name};
use crate::types::{Address, MailId};

/// What a person is to a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    Moderator,
    Submitter,
    Nobody,
}

impl Ctx {
    /// Answers the wishes of a mail. Safe to repeat.
    pub async fn steer(&self, mail: MailId, job: Held) -> Result<(), PipelineError> {
        let found = self.store.load_wishing(mail).await?;
        let Some(wishing) = found.filter(|w| !w.done) else {
            return Ok(self.store.finish_jobs(vec![job]).await?);
        };
        let message = mail::parse(&wishing.bytes);
        let lists = self.store.load_lists().await?;
        let named = |l: &&ListRow| wishing.lists.contains(&l.id) && names(&message, &l.address);
        let lists: Vec<ListRow> = lists.iter().filter(named).cloned().collect();
        let (actor, lines) = self.answer_wishes(&wishing, &message, &lists).await?;
        let list = lists.first();
        let now = crate::store::now();
        let letter = match (list, actor.parse::<Address>()) {
            (Some(list), Ok(to)) => {
                let letter = self.steered_letter(list, &to, &message, &wishing, &lines);
                (letter.await?, None)
            }
            (Some(list), Err(_)) => self.ask_author(list, mail, &wishing, &message, now).await?,
            _ => (None, None),
        };
        let about = (wishing.realm, wishing.lists.first().copied(), mail);
        let detail = format!("{}: {}", message.message_id, lines.join("; "));
        let recorded = self
            .store
            .record_wish(about, actor, detail, letter, job, now);
        Ok(recorded.await?)
    }

    /// Does what may be done. Who is answered (nobody where nothing proves who wrote), and a line for each wish.
    async fn answer_wishes(
        &self,
        wishing: &Wishing,
        message: &Message,
        lists: &[ListRow],
    ) -> Result<(String, Vec<String>), PipelineError> {
        let nothing = |actor: &str, why: &str| {
            Ok((actor.to_owned(), vec![format!("Nothing was done: {why}.")]))
        };
        let who = |l: &ListRow| order::who(message, &wishing.verdict, l.policy.proof);
        let Some(who) = lists.iter().map(who).find(|w| w.proven) else {
            return match lists.is_empty() {
                true => nothing("", "the mail does not name the list in To or Cc"),
                false => nothing("", "nothing proves who sent the mail"),
            };
        };
        let sender = who.address.parse::<Address>().ok();
        if notice::unanswerable(message, sender.as_ref(), |_| false).is_some() {
            return nothing("", "a machine wrote the mail");
        }
        let Some(series) = &wishing.series else {
            return nothing(&who.address, "the mail answers no patch series");
        };
        let lines = self.grant_wishes(wishing, message, lists, series, &who.address);
        Ok((who.address.clone(), lines.await?))
    }

    /// Does those of the wishes that this person may have, who is known to have them; a line for each.
    pub(super) async fn grant_wishes(
        &self,
        wishing: &Wishing,
        message: &Message,
        lists: &[ListRow],
        series: &WishedFor,
        actor: &str,
    ) -> Result<Vec<String>, PipelineError> {
        let standing = self.standing(actor, lists, series).await?;
        let mut lines = Vec::new();
        for wish in wishes(message) {
            lines.push(match refusal(&wish, standing, series) {
                Some(why) => format!("Nothing was done: {why}."),
                None => self.grant_wish(wishing, series, &wish, actor).await?,
            });
        }
        Ok(lines)
    }

    pub(super) async fn standing(
        &self,
        address: &str,
        lists: &[ListRow],
        series: &WishedFor,
    ) -> Result<Standing, PipelineError> {
        for list in lists {
            let access = self.store.load_access(list.id).await?;
            let mut own = access.iter().filter(|a| a.address == address);
            if own.any(|a| a.rights.has(Bits::MODERATE)) {
                return Ok(Standing::Moderator);
            }
        }
        Ok(match series.submitter.eq_ignore_ascii_case(address) {
            true => Standing::Submitter,
            false => Standing::Nobody,
        })
    }

    /// Records one wish; what is so now, in words.
    async fn grant_wish(
        &self,
        wishing: &Wishing,
        series: &WishedFor,
        wish: &Wish,
        actor: &str,
    ) -> Result<String, PipelineError> {
        let (kind, detail, said) = match wish {
            Wish::State(0) => (
                "state",
                "0".to_owned(),
                "Its state is what the rules say.".to_owned(),
            ),
            Wish::State(state) => {
                let said = format!("Its state is: {}.", state_name(*state));
                ("state", state.to_string(), said)
            }
            Wish::Delegate(Some(to)) => ("delegate", to.clone(), format!("{to} looks after it.")),
            Wish::Delegate(None) => (
                "delegate",
                String::new(),
                "Nobody in particular looks after it.".to_owned(),
            ),
            Wish::Unclear(why) => return Ok(format!("Nothing was done: {why}.")),
        };
        // The mail's arrival is the decision's moment: a second try finds it.
        let at = wishing.arrived;
        if !self.store.is_noted((kind, series.mail), actor, at).await? {
            let correction = NewCorrection {
                kind,
                mail: series.mail,
                others: Vec::new(),
                detail,
                actor: actor.to_owned(),
            };
            self.correct_at(wishing.realm, correction, at).await?;
        }
        Ok(said)
    }

    pub(super) async fn steered_letter(
        &self,
        list: &ListRow,
        to: &Address,
        message: &Message,
        wishing: &Wishing,
        lines: &[String],
    ) -> Result<Option<CappedLetter>, PipelineError> {
        if self.is_list_address(to).await? {
            return Ok(None);
        }
        let (what, page) = match &wishing.series {
            Some(s) => (
                format!("patchset {} v{} of {}", s.patchset, s.label, list.name),
                format!(
                    "{}/{}/patches/{}/v{}/",
                    self.base_url, list.name, s.patchset, s.label
                ),
            ),
            None => (format!("a mail to {}", list.name), String::new()),
        };
        let text = Steered {
            what: &what,
            lines,
            page: &page,
        };
        let text = text.render()?;
        let notice = Notice {
            event: Event::Steered,
            list: Some(list),
            to,
            subject: &format!("About {what}"),
            text: &text,
            reply_to: None,
            return_path: String::new(),
            answered: Some(&Answered::from(message)),
            ip: None,
        };
        self.draft(&notice, crate::store::now())
    }
}

/// Why a person of this standing may not have a wish; `None` if he may.
pub(super) fn refusal(wish: &Wish, standing: Standing, series: &WishedFor) -> Option<&'static str> {
    match (wish, standing) {
        (Wish::Unclear(why), _) => Some(*why),
        (_, Standing::Moderator) => None,
        (_, Standing::Submitter) => own_refusal(wish, series.state),
        (_, Standing::Nobody) => {
            Some("only moderators of the list and who sent the series may say that")
        }
    }
}

/// Whether a mail names an address in To or Cc.
pub(super) fn names(message: &Message, address: &str) -> bool {
    let mut to = message.to.iter().chain(&message.cc);
    to.any(|m| m.address.eq_ignore_ascii_case(address))
}
