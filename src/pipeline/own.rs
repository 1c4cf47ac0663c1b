//! `list+remove@`: an author asks, by an answer to his own mail, that it is removed.
//!
//! He is who he says only if his domain's signature covers that the mail is for this address, and if it is fresh: whatever he signed for
//! others does nothing here. Each such mail is obeyed once.

use super::command::{Errand, Said, rendered};
use super::notify::Notice;
use super::{Ctx, PipelineError};
use crate::list::command::Leave;
use crate::list::notice::{self, Done, Event, Removal};
use crate::list::settings::OwnRemoval;
use crate::session::Reply;
use crate::store::{Act, Acted, CappedLetter, ListRow, Once, PostedMail, RecallWish, Tell, Traces};
use crate::types::{Address, Identity, ListId, MailId, MessageId};

/// What it is remembered by.
const WORD: &str = "remove";
/// What it is remembered by that moderators were told about a mail.
const TOLD: &str = "removal";

impl Ctx {
    /// Does what the list lets authors do with their own mail, and answers once.
    pub(super) async fn remove_own(
        &self,
        errand: &Errand<'_>,
        leave: Leave,
    ) -> Result<Said, PipelineError> {
        let list = errand.list;
        let author = match &leave {
            Leave::Ask(_) => {
                let text = "Nothing proves that this mail is by the author in From: your domain's signature (DKIM) would. Write to the people who run the list";
                let refusal = (
                    Reply::new(550, "5.7.1", text),
                    "removal asked by nobody known",
                );
                return self.refuse(errand, refusal).await;
            }
            Leave::Answer(author) => {
                let text = "it has to name that address in To or Cc, and your domain's signature (DKIM) has to cover that and be less than a week old";
                return self
                    .answer_own(errand, author, Act::Answer, text, None)
                    .await;
            }
            Leave::AtOnce(author) => author,
        };
        let addresses = self.store.load_linked(&author.key()).await?;
        let answered = errand.asking.message.parents.first();
        let found = match answered {
            Some(id) => self.store.find_own_mail(list.id, id, &addresses).await?,
            None => None,
        };
        let Some((mail, lists)) = found else {
            let text = self.not_posted(list, answered, &addresses).await?;
            return self
                .answer_own(errand, author, Act::Answer, &text, None)
                .await;
        };
        let traces = self.store.find_traces(mail.mail).await?;
        match self.own_removal(list, &lists).await? {
            OwnRemoval::Off => {
                let text = "this list leaves that to the people who run it; write to them";
                self.answer_own(errand, author, Act::Answer, text, traces)
                    .await
            }
            OwnRemoval::Hide => {
                let wish = RecallWish {
                    why: "as its author wishes".to_owned(),
                    actor: author.key(),
                    ..RecallWish::default()
                };
                let act = Act::TakeBack(mail.mail, wish);
                let text = "somebody else was faster: it is not there any more";
                self.answer_own(errand, author, act, text, traces).await
            }
            OwnRemoval::Ask => {
                let letters = self.removal_letters(list, author, &mail, errand).await?;
                let about = traces.as_ref().map_or_else(Vec::new, Traces::about);
                let letters = letters.into_iter().map(|l| l.about(about.clone()));
                let receipts = traces.iter().flat_map(|t| &t.receipts);
                let mut here = receipts.filter(|(of, _)| *of == list.id);
                let tell = Tell {
                    letters: letters.collect(),
                    kind: "removal wished",
                    actor: author.key(),
                    detail: format!("its author wishes that it is removed: {}", mail.message_id),
                    receipt: here.next().map(|r| r.1),
                    once: Once {
                        word: TOLD,
                        keys: vec![key_of(mail.mail)],
                    },
                };
                let act = Act::Tell(Box::new(tell));
                self.answer_own(errand, author, act, "", traces).await
            }
        }
    }

    /// Why an answer to `answered`, which is no posted mail of these addresses, removes nothing, and how it is done.
    async fn not_posted(
        &self,
        list: &ListRow,
        answered: Option<&MessageId>,
        own: &[String],
    ) -> Result<String, PipelineError> {
        for address in own {
            let held = self.store.load_own_held(address).await?;
            let mut here = held.iter().filter(|h| h.list == list.name);
            if here.any(|h| answered.is_some_and(|id| id.as_str() == h.message_id)) {
                let text = "that mail is held, and nobody but the moderators sees it; they decide about it";
                return Ok(text.to_owned());
            }
        }
        let of: Address = list.address.parse()?;
        let remove = notice::with_suffix(&of, "+remove");
        Ok(format!(
            "it answers no mail of yours that the list has. Open the mail in your Sent folder, press Reply, and put {} into To",
            remove.map_or_else(|| "the same address".to_owned(), |a| a.to_string())
        ))
    }

    /// What holds for a mail that several lists have: it goes at once only if all of them let it.
    async fn own_removal(
        &self,
        list: &ListRow,
        having: &[ListId],
    ) -> Result<OwnRemoval, PipelineError> {
        let own = list.policy.own_removal;
        if own != OwnRemoval::Hide {
            return Ok(own);
        }
        let lists = self.store.load_lists().await?;
        let mut others = lists.iter().filter(|l| having.contains(&l.id));
        Ok(
            match others.all(|l| l.policy.own_removal == OwnRemoval::Hide) {
                true => OwnRemoval::Hide,
                false => OwnRemoval::Ask,
            },
        )
    }

    /// Acts and answers, the first time that this mail comes; `nothing` says why nothing is done, `traces` are the meant mail's.
    async fn answer_own(
        &self,
        errand: &Errand<'_>,
        author: &Address,
        act: Act,
        nothing: &str,
        traces: Option<Traces>,
    ) -> Result<Said, PipelineError> {
        let about = traces.map_or_else(Vec::new, |t| t.about());
        let of: Address = errand.list.address.parse()?;
        let owner = notice::with_suffix(&of, "+owner").map_or_else(String::new, |o| o.to_string());
        let (message, tls_only) = (errand.asking.message, errand.list.policy.tls_only);
        let which = notice::which_mail(message, tls_only);
        let which = which.iter().map(|line| format!("\n    {line}"));
        let which = format!(
            "\n\nYour wish was this mail:\n{}",
            which.collect::<String>()
        );
        let letter = |text: &str| {
            let text = notice::wrap(text, 76).join("\n") + &which;
            let text = rendered(&Done {
                text: &text,
                next: "",
                owner: &owner,
            });
            let subject = format!("Your mail at {of}");
            let words = (Event::OwnRemoval, subject.as_str(), text);
            let (answered, now) = (errand.answered(), errand.asking.now);
            let letter = self.letter(Some(errand.list), author, words, &answered, now);
            letter.map(|letter| letter.about(about.clone()))
        };
        let refused = letter(&format!("Nothing was done at {of}: {nothing}."));
        let asked = letter(&format!(
            "The moderators of {of} were asked to remove your mail. They decide."
        ));
        let before = letter(&format!(
            "The removal of your mail was wished for before. The people who run {of} decide; write to them if that takes long."
        ));
        let nobody = letter(&format!(
            "Nothing was done at {of}: no moderator could be told. Write to the people who run the list."
        ));
        let taken = letter(&format!(
            "Your mail is taken back: {of} shows it no more, and copies that were not sent yet are stopped. What was sent or fetched before is with others."
        ));
        let choose = move |acted: &Acted| match acted {
            Acted::TakenBack(_) => taken,
            Acted::Told(None) => before,
            Acted::Told(Some(0)) => nobody,
            Acted::Told(Some(_)) => asked,
            _ => refused,
        };
        let (once, now) = (errand.once(WORD), errand.asking.now);
        self.store
            .act(errand.place(), Some(once), act, choose, now)
            .await?;
        Ok(Ok(()))
    }

    async fn removal_letters(
        &self,
        list: &ListRow,
        author: &Address,
        mail: &PostedMail,
        errand: &Errand<'_>,
    ) -> Result<Vec<CappedLetter>, PipelineError> {
        let id = mail.message_id.as_str();
        // What goes over TLS only does not travel in a notice: neither what the mail is nor whose.
        let secret = list.policy.tls_only;
        let page = match MessageId::parse(id).filter(|_| list.is_open() && !secret) {
            Some(id) => format!(
                "{}/{}/{}/",
                self.base_url,
                list.name,
                crate::view::url::message_id(&id)
            ),
            None => String::new(),
        };
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"@.-_+=".contains(&b);
        let safe = id.bytes().all(plain) && !id.starts_with('-');
        let (author, subject) = match secret {
            true => (String::new(), String::new()),
            false => (author.to_string(), notice::one_line(&mail.subject, 150)),
        };
        let text = rendered(&Removal {
            list: &list.address,
            name: &list.name,
            author: &author,
            subject: &subject,
            page: &page,
            id: if safe && !secret { id } else { "" },
        });
        let mut letters = Vec::new();
        for to in self.find_moderators(list).await? {
            let notice = Notice {
                event: Event::RemovalWished,
                list: Some(list),
                to: &to,
                subject: &format!("An author wishes the removal of a mail at {}", list.address),
                text: &text,
                reply_to: None,
                return_path: String::new(),
                answered: None,
                ip: None,
            };
            letters.extend(self.draft(&notice, errand.asking.now)?);
        }
        Ok(letters)
    }
}

/// A mail, as what was done about it is remembered.
fn key_of(mail: MailId) -> Identity {
    let mut key = [0u8; 32];
    key[..8].copy_from_slice(&mail.0.to_be_bytes());
    Identity(key)
}
