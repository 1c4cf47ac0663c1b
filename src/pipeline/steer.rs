//! States and delegates by mail: who may have his wish gets it, and everybody who is known to have written hears what came of it.
//!
//! Who has the right and no signature is asked by a mail with a link that works once; what it confirms counts as if it had been signed.
//!
//! A From field is no authority: a wish counts if the mail is authenticated as that of a moderator of a list that has the series, or of
//! who sent it, if it is signed that the mail is for that list, if it is of these days, and once for each signature: whoever has a signed
//! mail can send it again under another name and with fields of his own. What is recorded is a correction on the mail that was
//! answered, so that it holds for that version, and survives every recomputation.

use askama::Template;
use sha2::Digest;

use super::notify::Notice;
use super::{Ctx, PipelineError, parse};
use crate::list::notice::{self, Answered, Event, Steered};
use crate::list::settings::{Bits, Proof};
use crate::list::{command, order};
use crate::mail::Message;
use crate::patchset::steer::{Wish, own_refusal, wishes};
use crate::store::job::Held;
use crate::store::{CappedLetter, ListRow, NewCorrection, WishedFor, Wishing, state_name};
use crate::types::{Address, Identity, MailId, RealmId};
use crate::verdict::Verdict;

/// Characters of a line of an answer.
const WIDTH: usize = 72;
/// Characters of a series' title in the subject of an answer.
const TITLE: usize = 80;

/// What a person is to a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    Moderator,
    Submitter,
    Nobody,
}

/// Who is answered (nobody where nothing proves who wrote), about which list, and a line for each wish.
struct Answer {
    actor: String,
    list: Option<ListRow>,
    lines: Vec<String>,
    /// It was obeyed or refused for what it is: it is not looked at again.
    counts: bool,
    /// Nothing proves who wishes it.
    unproven: bool,
}

impl Answer {
    fn nothing(actor: &str, list: Option<&ListRow>, why: &str) -> Answer {
        Answer {
            actor: actor.to_owned(),
            list: list.cloned(),
            lines: vec![format!("Nothing was done: {why}.")],
            counts: !actor.is_empty(),
            unproven: false,
        }
    }
}

impl Ctx {
    /// Answers the wishes of a mail. Safe to repeat.
    pub async fn steer(&self, mail: MailId, job: Held) -> Result<(), PipelineError> {
        let found = self.store.load_wishing(mail).await?;
        let Some(mut wishing) = found.filter(|w| !w.done) else {
            return Ok(self.store.finish_jobs(vec![job]).await?);
        };
        let message = parse(std::mem::take(&mut wishing.bytes)).await?;
        let proofs = proofs(&wishing.verdict);
        let answer = self.answer_wishes(&wishing, &message, &proofs).await?;
        let now = crate::store::now();
        let mut about = answer.list.as_ref().map(|l| l.id);
        let (letter, asked) = match (&answer.list, answer.actor.parse::<Address>()) {
            (Some(list), Ok(to)) => {
                let letter = self.steered_letter(list, &to, &message, &wishing, &answer.lines);
                (letter.await?, None)
            }
            _ if answer.unproven => {
                let lists = self.store.load_lists().await?;
                let named =
                    |l: &&ListRow| wishing.lists.contains(&l.id) && names(&message, &l.address);
                let mut owed = (None, None);
                for list in lists.iter().filter(named) {
                    owed = self.ask_author(list, mail, &wishing, &message, now).await?;
                    if owed.1.is_some() {
                        // The question is this list's: its link is looked for there.
                        about = Some(list.id);
                        break;
                    }
                }
                owed
            }
            _ => (None, None),
        };
        let about = (
            wishing.realm,
            about.or(wishing.lists.first().copied()),
            mail,
        );
        let detail = format!("{}: {}", message.message_id, answer.lines.join("; "));
        let proofs = if answer.counts { proofs } else { Vec::new() };
        let owed = (letter, asked, proofs);
        let recorded = self
            .store
            .record_wish(about, answer.actor, detail, owed, job, now);
        Ok(recorded.await?)
    }

    /// Does what may be done.
    async fn answer_wishes(
        &self,
        wishing: &Wishing,
        message: &Message,
        proofs: &[Identity],
    ) -> Result<Answer, PipelineError> {
        let verdict = &wishing.verdict;
        let lists = self.store.load_lists().await?;
        let proven = |l: &&ListRow| order::who(message, verdict, l.policy.proof).proven;
        let has_it = |l: &&ListRow| wishing.lists.contains(&l.id);
        let lists: Vec<&ListRow> = lists.iter().filter(has_it).filter(proven).collect();
        if lists.is_empty() {
            let nothing = Answer::nothing("", None, "nothing proves who sent the mail");
            return Ok(Answer {
                unproven: true,
                ..nothing
            });
        }
        let is_named = |l: &&ListRow| {
            let is_it = |address: &str| address.eq_ignore_ascii_case(&l.address);
            order::names(message, verdict, l.policy.proof, is_it)
        };
        let lists: Vec<&ListRow> = lists.into_iter().filter(is_named).collect();
        let Some(first) = lists.first() else {
            let why = "the mail does not name the list in To or Cc, or nobody signed that it does";
            return Ok(Answer {
                // Who asks for it is asked, where the mail names a list.
                unproven: true,
                ..Answer::nothing("", None, why)
            });
        };
        // Where one of them wants proof, its moderators' rights are at stake.
        let open = lists.iter().all(|l| l.policy.proof == Proof::From);
        if !open && !command::is_fresh(message, wishing.arrived) {
            let why = "its Date is not of these days, so anybody may have sent it again";
            return Ok(Answer::nothing("", None, why));
        }
        if self.store.was_obeyed(wishing.realm, proofs).await? {
            let why = "a mail with the same signature was obeyed before";
            return Ok(Answer::nothing("", None, why));
        }
        let who = order::who(message, verdict, first.policy.proof).address;
        let sender = who.parse::<Address>().ok();
        if notice::unanswerable(message, sender.as_ref(), |_| false).is_some() {
            return Ok(Answer::nothing("", None, "a machine wrote the mail"));
        }
        let nothing = |why| Ok(Answer::nothing(&who, Some(first), why));
        let Some(series) = &wishing.series else {
            return nothing("the mail answers no patch series");
        };
        let own = lists.iter().filter(|l| series.lists.contains(&l.id));
        let own: Vec<&ListRow> = own.copied().collect();
        if own.is_empty() {
            return nothing("the series is not on a list that the mail names");
        }
        let holds = |name: &str| open || verdict.holds(name);
        let all = wishes(message, holds);
        let lines = self.grant_wishes(wishing, &all, &own, series, &who).await?;
        Ok(Answer {
            actor: who,
            list: Some((*first).clone()),
            lines,
            counts: true,
            unproven: false,
        })
    }

    /// What is so now, in words, or why nothing was done.
    async fn answer_wish(
        &self,
        wishing: &Wishing,
        series: &WishedFor,
        wish: &Wish,
        who: &str,
        standing: Standing,
    ) -> Result<String, PipelineError> {
        let mut refused = refusal(wish, standing, series);
        // Told by a try that broke off: it is so by his own word.
        if refused.is_some()
            && standing == Standing::Submitter
            && self.is_granted(wishing, series, wish, who).await?
        {
            refused = None;
        }
        match refused {
            Some(why) => Ok(format!("Nothing was done: {why}.")),
            None => self.grant_wish(wishing, series, wish, who).await,
        }
    }

    /// Whether an earlier try recorded a wish. The mail's arrival is the decision's moment.
    async fn is_granted(
        &self,
        wishing: &Wishing,
        series: &WishedFor,
        wish: &Wish,
        actor: &str,
    ) -> Result<bool, PipelineError> {
        let kind = match wish {
            Wish::State(_) => "state",
            Wish::Delegate(_) => "delegate",
            Wish::Unclear(_) => return Ok(false),
        };
        let noted = (kind, series.mail);
        Ok(self.store.is_noted(noted, actor, wishing.arrived).await?)
    }

    /// Does those of the wishes that this person may have, who is known to have them; a line for each.
    pub(super) async fn grant_wishes(
        &self,
        wishing: &Wishing,
        all: &[Wish],
        lists: &[&ListRow],
        series: &WishedFor,
        actor: &str,
    ) -> Result<Vec<String>, PipelineError> {
        let standing = self.standing(actor, lists, series).await?;
        let mut lines = Vec::new();
        for wish in all {
            lines.push(
                self.answer_wish(wishing, series, wish, actor, standing)
                    .await?,
            );
        }
        Ok(lines)
    }

    pub(super) async fn standing(
        &self,
        address: &str,
        lists: &[&ListRow],
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
        if !self.is_granted(wishing, series, wish, actor).await? {
            let correction = NewCorrection {
                kind,
                mail: series.mail,
                others: Vec::new(),
                detail,
                actor: actor.to_owned(),
            };
            let at = wishing.arrived;
            self.correct_at(wishing.realm, correction, at).await?;
        }
        Ok(said)
    }

    /// Whether somebody may hear what is on a list: of one that is not public, only its members and who has a right there.
    pub(super) async fn may_know(
        &self,
        list: &ListRow,
        who: &Address,
    ) -> Result<bool, PipelineError> {
        if list.realm == RealmId::PUBLIC || self.store.is_member(list.id, &who.key()).await? {
            return Ok(true);
        }
        let access = self.store.load_access(list.id).await?;
        let mut own = access.iter().filter(|a| a.address == who.key());
        Ok(own.any(|a| a.rights != Bits(0)))
    }

    pub(super) async fn steered_letter(
        &self,
        list: &ListRow,
        to: &Address,
        message: &Message,
        wishing: &Wishing,
        lines: &[String],
    ) -> Result<Option<CappedLetter>, PipelineError> {
        if self.is_list_address(to).await? || !self.may_know(list, to).await? {
            return Ok(None);
        }
        let mut subject = None;
        let mut about = Vec::new();
        if let Some(s) = wishing.series.as_ref().filter(|_| !list.policy.tls_only) {
            let title = notice::one_line(&s.title, TITLE);
            subject = Some(format!("About \"{title}\", v{} of {}", s.label, list.name));
            let traces = self.store.find_traces(s.mail).await?;
            about.extend(traces.into_iter().flat_map(|t| t.about()));
        }
        let (what, page) = match &wishing.series {
            // What goes over TLS only has no numbers in plain mail.
            Some(_) if list.policy.tls_only => {
                (format!("a patchset of {}", list.name), String::new())
            }
            Some(s) => (
                format!("patchset {} v{} of {}", s.patchset, s.label, list.name),
                format!(
                    "{}/{}/patches/{}/v{}/",
                    self.base_url, list.name, s.patchset, s.label
                ),
            ),
            None => (format!("a mail to {}", list.name), String::new()),
        };
        let lines: Vec<String> = lines
            .iter()
            .map(|line| notice::wrap(line, WIDTH).join("\n"))
            .collect();
        let own: Option<Address> = list.address.parse().ok();
        let owner = own.and_then(|a| notice::with_suffix(&a, "+owner"));
        let text = Steered {
            what: &what,
            lines: &lines,
            page: &page,
            owner: &owner.map_or_else(String::new, |o| o.to_string()),
        };
        let text = text.render()?;
        let notice = Notice {
            event: Event::Steered,
            list: Some(list),
            to,
            subject: &subject.unwrap_or_else(|| format!("About {what}")),
            text: &text,
            reply_to: None,
            return_path: String::new(),
            answered: Some(&Answered::from(message)),
            ip: None,
        };
        let letter = self.draft(&notice, crate::store::now())?;
        Ok(letter.map(|letter| letter.about(about)))
    }
}

/// What a mail was signed with, as it is remembered.
pub(super) fn proofs(verdict: &Verdict) -> Vec<Identity> {
    let hash = |proof: &str| Identity(sha2::Sha256::digest(proof.as_bytes()).into());
    verdict.proofs().map(hash).collect()
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
