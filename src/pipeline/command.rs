//! What people ask of a list by mail. What is said yes to is done and recorded in one commit, before
//! the answer `250`: a kill loses nothing, and the same mail again does nothing again.

use std::net::IpAddr;

use askama::Template;

use super::ask::Asked;
use super::notify::Notice;
use super::{Ctx, PipelineError};
use crate::list::command::{self, Asking, Command, Leave, Wish};
use crate::list::notice::{self, Answered, Confirm, Done, Event, Help, Welcome};
use crate::list::token::{self, Confirmation};
use crate::list::{header, policy};
use crate::mail::Message;
use crate::session::{Protocol, Reply};
use crate::store::{Act, Acted, CappedLetter, ListRow, NewConfirmation, Once, Place};
use crate::types::{Address, MemberId, RealmId, Timestamp};

/// A mail that asks, with the list it asks.
pub(super) struct Errand<'a> {
    pub list: &'a ListRow,
    pub asking: Asking<'a>,
    pub ip: Option<IpAddr>,
    /// As lists are asked about it.
    pub asked: &'a Asked<'a>,
    /// With LF line ends.
    pub bytes: &'a [u8],
}

/// What the sender is told.
pub(super) type Said = Result<(), Reply>;

fn no_such_address() -> (Reply, &'static str) {
    let text = "This address is not valid, or not any more";
    (Reply::new(550, "5.1.1", text), "unknown token")
}

impl Ctx {
    /// Carries a command out and says what the sender is told; `None`: people have to see to it.
    pub(super) async fn obey(
        &self,
        errand: &Errand<'_>,
        command: Command,
    ) -> Result<Option<Said>, PipelineError> {
        let Asking {
            message, sender, ..
        } = errand.asking;
        let author = message.author().address.parse::<Address>().ok();
        let mut ours = Vec::new();
        for address in [Some(sender), author.as_ref()].into_iter().flatten() {
            if self.is_list_address(address).await? {
                ours.push(address.key());
            }
        }
        let is_ours = |a: &Address| ours.contains(&a.key());
        // Before anybody is looked up: what went round is answered alike, whoever is who.
        let own_id = header::list_id(&errand.list.address);
        let looped = policy::has_looped(message, &own_id).then_some("loop");
        let machine = || notice::unanswerable(message, Some(sender), is_ours);
        if let Some(why) = looped.or_else(machine) {
            // Mail programs leave lists for their people, and some say so: the token is proof enough.
            if let Command::Leave(member) = command {
                let act = Act::Leave(member);
                let (once, now) = (errand.once("leave"), errand.asking.now);
                self.store
                    .act(errand.place(), Some(once), act, |_| None, now)
                    .await?;
                return Ok(Some(Ok(())));
            }
            return self.note_unheard(errand, why).await.map(Some);
        }
        match command {
            Command::Confirm(confirmation) => self.confirm_by_mail(errand, confirmation).await,
            Command::Leave(member) => self.leave_by_mail(errand, member).await,
            Command::Help | Command::Rehearse | Command::Remove | Command::Wish(_) => {
                let leave = match command::judge(&errand.asking) {
                    Ok(leave) => leave,
                    Err(refusal) => return self.refuse(errand, refusal).await.map(Some),
                };
                match command {
                    Command::Wish(wish) => self.grant(errand, wish, leave).await,
                    Command::Remove => self.remove_own(errand, leave).await.map(Some),
                    Command::Rehearse => self.take_rehearsal(errand, leave).await.map(Some),
                    _ => self.help(errand, leave).await,
                }
            }
        }
    }

    /// A machine's mail: nothing is done and nobody is told.
    async fn note_unheard(
        &self,
        errand: &Errand<'_>,
        why: &'static str,
    ) -> Result<Said, PipelineError> {
        let Asking {
            message,
            sender,
            now,
            ..
        } = errand.asking;
        let detail = format!("{why}: {}", message.message_id);
        self.store
            .insert_event(errand.list, "dropped", sender.to_string(), detail, now)
            .await?;
        Ok(Err(Reply::dropped(why)))
    }

    /// Behind another mail server a refusal becomes its bounce to a sender who may be forged: there it is noted and dropped.
    pub(super) async fn refuse(
        &self,
        errand: &Errand<'_>,
        (reply, why): (Reply, &'static str),
    ) -> Result<Said, PipelineError> {
        match errand.asking.protocol {
            Protocol::Smtp => Ok(Err(reply)),
            Protocol::Lmtp => self.note_unheard(errand, why).await,
        }
    }

    async fn confirm_by_mail(
        &self,
        errand: &Errand<'_>,
        confirmation: Confirmation,
    ) -> Result<Option<Said>, PipelineError> {
        let list = errand.list;
        if confirmation.list != list.id {
            return self.refuse(errand, no_such_address()).await.map(Some);
        }
        let now = errand.asking.now;
        let nonce = confirmation.nonce;
        let asked = self.store.find_confirmation(list.id, nonce, now).await?;
        if asked.is_some_and(|a| a.wish == Wish::Link) {
            // The mail does not name the other address, which whoever asked chose: who only asks back must link nothing.
            let text = "This is confirmed on the page that the mail names, where the other address stands; a reply does nothing";
            let refusal = (Reply::new(550, "5.7.1", text), "linking by mail");
            return self.refuse(errand, refusal).await.map(Some);
        }
        let meant = self.fulfil(list, nonce, now).await?;
        let (ctx, of, answered) = (self.clone(), list.clone(), errand.answered());
        let letter = move |acted: &Acted| match acted {
            Acted::Meant { .. } => meant.flatten().into_iter().collect(),
            acted => ctx.answers(&of, acted, &answered, now),
        };
        let once = errand.once("confirm");
        let act = Act::Confirm(nonce);
        match self
            .store
            .act(errand.place(), Some(once), act, letter, now)
            .await?
        {
            Acted::Unknown => self.refuse(errand, no_such_address()).await.map(Some),
            _ => Ok(Some(Ok(()))),
        }
    }

    async fn leave_by_mail(
        &self,
        errand: &Errand<'_>,
        member: MemberId,
    ) -> Result<Option<Said>, PipelineError> {
        let found = self.store.find_member(member).await?;
        if found.is_some_and(|(list, _)| list != errand.list.id) {
            return self.refuse(errand, no_such_address()).await.map(Some);
        }
        self.act_by_mail(errand, "leave", Act::Leave(member))
            .await?;
        Ok(Some(Ok(())))
    }

    async fn help(&self, errand: &Errand<'_>, leave: Leave) -> Result<Option<Said>, PipelineError> {
        let list = errand.list;
        let public = list.realm == RealmId::PUBLIC;
        // Who proves nothing must not learn from the answer whether the address he names is a member's.
        let heard = public || !matches!(leave, Leave::Ask(_));
        let key = leave.address().key();
        if !heard || !self.store.may_browse(list, &key).await? {
            return Ok(None);
        }
        if let Leave::Ask(_) = leave {
            let text = format!(
                "Help is sent to senders that are authenticated only (DKIM); it is also at {}/{}/_/text/help/",
                self.base_url, list.name
            );
            let reply = Reply::new(550, "5.7.1", text);
            return self
                .refuse(errand, (reply, "help for nobody known"))
                .await
                .map(Some);
        }
        let address: Address = list.address.parse()?;
        let page = format!("{}/{}/", self.base_url, list.name);
        let text = Help {
            list: &address,
            local: address.local(),
            domain: address.domain(),
            page: &page,
        };
        let subject = format!("Help for {address}");
        let letter = self.letter(
            Some(list),
            leave.address(),
            (Event::Help, &subject, rendered(&text)),
            &errand.answered(),
            errand.asking.now,
        );
        let once = errand.once("help");
        let place = errand.place();
        self.store
            .act(
                place,
                Some(once),
                Act::Answer,
                |_| letter,
                errand.asking.now,
            )
            .await?;
        Ok(Some(Ok(())))
    }

    async fn grant(
        &self,
        errand: &Errand<'_>,
        wish: Wish,
        leave: Leave,
    ) -> Result<Option<Said>, PipelineError> {
        let list = errand.list;
        let public = list.realm == RealmId::PUBLIC;
        let key = leave.address().key();
        // Who proves nothing must not learn from the answer who may read it, and nobody lets himself into a list that he may not read.
        let heard = public || !matches!(leave, Leave::Ask(_));
        if wish == Wish::Subscribe && (!heard || !self.store.may_browse(list, &key).await?) {
            return Ok(None);
        }
        if !notice::is_plain(leave.address()) {
            let text = "Your address needs quotes or letters beyond ASCII; write to the people who run the list";
            let reply = Reply::new(550, "5.1.7", text);
            return self.refuse(errand, (reply, "odd address")).await.map(Some);
        }
        if wish == Wish::Subscribe && self.takes_no_mail(leave.address()).await {
            let text = "The domain of your address says that it takes no mail (null MX): no copy would arrive there";
            let reply = Reply::new(550, "5.1.10", text);
            return self
                .refuse(errand, (reply, "takes no mail"))
                .await
                .map(Some);
        }
        if wish != Wish::Subscribe
            && let Leave::AtOnce(address) = &leave
        {
            let act = Act::Change(address.key(), wish);
            self.act_by_mail(errand, wish.as_str(), act).await?;
            return Ok(Some(Ok(())));
        }
        if wish == Wish::Subscribe && self.tell_member(errand, &leave).await? {
            return Ok(Some(Ok(())));
        }
        let member = wish == Wish::Subscribe || self.store.is_member(list.id, &key).await?;
        if member {
            let asked = errand.answered();
            let act = self.ask(
                list,
                leave.address(),
                (wish, ""),
                Some(&asked),
                errand.ip,
                errand.asking.now,
            );
            if let Some(act) = act.await? {
                let once = errand.once(wish.as_str());
                let place = errand.place();
                self.store
                    .act(place, Some(once), act, |_| None, errand.asking.now)
                    .await?;
            }
        } else if public && matches!(leave, Leave::Answer(_)) {
            // Perhaps somebody else sent his mail here: he is told as seldom as whom anybody may have asked for.
            let nobody = Acted::NoMember { address: key };
            let (answered, now) = (errand.answered(), errand.asking.now);
            let letter = self.answer(list, &nobody, &answered, now);
            let letter = letter.map(|letter| CappedLetter {
                cap: notice::ASK,
                source: notice::counted_source(errand.ip.and_then(crate::net::source)),
                ..letter
            });
            let (place, once) = (errand.place(), errand.once(wish.as_str()));
            self.store
                .act(place, Some(once), Act::Answer, |_| letter, now)
                .await?;
        }
        Ok(Some(Ok(())))
    }

    async fn act_by_mail(
        &self,
        errand: &Errand<'_>,
        word: &'static str,
        act: Act,
    ) -> Result<Acted, PipelineError> {
        let (ctx, list) = (self.clone(), errand.list.clone());
        let (answered, now) = (errand.answered(), errand.asking.now);
        let letter = move |acted: &Acted| ctx.answers(&list, acted, &answered, now);
        let once = errand.once(word);
        Ok(self
            .store
            .act(errand.place(), Some(once), act, letter, now)
            .await?)
    }

    /// What asks an address to confirm a wish, and the address that is to be linked, if it is that; `None` if nothing can be sent to it,
    /// or an archive would publish it: then the token would be anybody's.
    pub(super) async fn ask(
        &self,
        list: &ListRow,
        address: &Address,
        (wish, other): (Wish, &str),
        answered: Option<&Answered>,
        ip: Option<IpAddr>,
        now: Timestamp,
    ) -> Result<Option<Act>, PipelineError> {
        if self.store.is_archive(&address.key()).await? {
            return Ok(None);
        }
        let mut random = [0u8; 8];
        getrandom::fill(&mut random)
            .map_err(|e| PipelineError::Broken(format!("no random numbers: {e}")))?;
        let nonce = token::fresh_nonce(random);
        let confirmation = Confirmation {
            nonce,
            list: list.id,
        };
        let of = list.address.parse::<Address>()?;
        let Some(token) = token::render_confirm(&self.token_key, confirmation) else {
            return Ok(None);
        };
        // Of two addresses the other is told by the page only: whoever asks chose it. So a reply confirms nothing there.
        let by_reply = wish != Wish::Link;
        let reply_to = notice::with_suffix(&of, &format!("+confirm-{token}")).filter(|_| by_reply);
        let owner = notice::with_suffix(&of, "+owner").map(|o| o.to_string());
        let text = Confirm {
            what: &wish.words(&list.address),
            address,
            link: &format!("{}/-/confirm/{token}", self.base_url),
            reply: reply_to.is_some(),
            owner: &owner.unwrap_or_default(),
        };
        let letter = self.draft(
            &Notice {
                event: Event::Confirm,
                list: Some(list),
                to: address,
                subject: &format!("Please confirm: {}", wish.words(&list.address)),
                text: &rendered(&text),
                reply_to: reply_to.as_ref(),
                return_path: String::new(),
                answered,
                ip,
            },
            now,
        )?;
        let confirmation = NewConfirmation {
            nonce,
            address: address.key(),
            wish,
            other: other.to_owned(),
        };
        Ok(letter.map(|letter| Act::Ask(confirmation, Box::new(letter))))
    }

    /// The answers to what was done, for all whom it concerns.
    pub(super) fn answers(
        &self,
        list: &ListRow,
        acted: &Acted,
        answered: &Answered,
        now: Timestamp,
    ) -> Vec<CappedLetter> {
        match acted {
            Acted::Linked { address, other } => {
                self.linked_letters(Some(list), [address, other], answered, now)
            }
            acted => {
                let letter = self.answer(list, acted, answered, now);
                letter.into_iter().collect()
            }
        }
    }

    /// The answer to what was done, for whom it concerns.
    pub(super) fn answer(
        &self,
        list: &ListRow,
        acted: &Acted,
        answered: &Answered,
        now: Timestamp,
    ) -> Option<CappedLetter> {
        let of: Address = list.address.parse().ok()?;
        let to = |suffix: &str| format!("{}+{suffix}@{}", of.local(), of.domain());
        let done = |text: String, next: String| {
            rendered(&Done {
                text: &text,
                next: &next,
                owner: &to("owner"),
            })
        };
        let (address, event, subject, text) = match acted {
            Acted::Holds {
                wish: Wish::Subscribe,
                address,
                member,
                new: true,
            } => {
                let text = self.welcome(list, &of, &address.parse().ok()?, *member)?;
                (address, Event::Joined, format!("Welcome to {of}"), text)
            }
            Acted::Holds {
                wish,
                address,
                new: true,
                ..
            } => {
                let (subject, text, next) = outcome(*wish, address, &of, &to);
                (address, Event::Done, subject, done(text, next))
            }
            Acted::Holds {
                wish,
                address,
                new: false,
                ..
            } => {
                let text = match wish {
                    Wish::Nomail => format!(
                        "{address} is a member of the list {of} and gets no copies already."
                    ),
                    Wish::Spare(spare) => {
                        let so = spare.says(address, &of);
                        wrapped(&format!("It is so already: {so}"))
                    }
                    _ => format!("{address} is a member of the list {of} and gets copies already."),
                };
                (
                    address,
                    Event::Nothing,
                    format!("Nothing to do: {of}"),
                    done(text, String::new()),
                )
            }
            Acted::Used { address } => {
                let text = format!(
                    "{address} has confirmed this before. Nothing was done now: what it did then may have been changed since."
                );
                (
                    address,
                    Event::Nothing,
                    format!("Nothing to do: {of}"),
                    done(wrapped(&text), String::new()),
                )
            }
            Acted::NoMember { address } if !address.is_empty() && list.realm == RealmId::PUBLIC => {
                let text = format!(
                    "{address} is no member of the list {of}. If copies reach you, they go to another address of yours: write from that one, or press your mail program's Unsubscribe button at such a copy."
                );
                (
                    address,
                    Event::Nothing,
                    format!("Nothing to do: {of}"),
                    done(notice::wrap(&text, 76).join("\n"), String::new()),
                )
            }
            _ => return None,
        };
        let address: Address = address.parse().ok()?;
        let words = (event, subject.as_str(), text);
        self.letter(Some(list), &address, words, answered, now)
    }

    fn welcome(
        &self,
        list: &ListRow,
        of: &Address,
        address: &Address,
        member: MemberId,
    ) -> Option<String> {
        let token = token::render_leave(&self.token_key, member)?;
        Some(rendered(&Welcome {
            list: of,
            local: of.local(),
            domain: of.domain(),
            address,
            page: &format!("{}/{}/", self.base_url, list.name),
            leave: &format!("{}/u/{token}", self.base_url),
        }))
    }

    /// A letter of a list, or of the site, in these words; `None` if it cannot be sent to that address.
    pub(super) fn letter(
        &self,
        list: Option<&ListRow>,
        to: &Address,
        (event, subject, text): (Event, &str, String),
        answered: &Answered,
        now: Timestamp,
    ) -> Option<CappedLetter> {
        let notice = Notice {
            event,
            list,
            to,
            subject,
            text: &text,
            reply_to: None,
            return_path: String::new(),
            answered: Some(answered).filter(|a| !a.ids.is_empty()),
            ip: None,
        };
        self.draft(&notice, now).unwrap_or_else(|error| {
            tracing::error!(%error, "an answer could not be made");
            None
        })
    }
}

impl Errand<'_> {
    pub(super) fn answered(&self) -> Answered {
        Answered::from(self.asking.message)
    }

    pub(super) fn once(&self, word: &'static str) -> Once {
        let message: &Message = self.asking.message;
        let mut keys = super::steer::proofs(self.asking.verdict);
        if keys.is_empty() {
            keys.push(message.identity);
        }
        Once { word, keys }
    }

    pub(super) fn place(&self) -> Place {
        place(self.list, "by mail")
    }
}

pub(super) fn place(list: &ListRow, way: &'static str) -> Place {
    Place {
        list: list.id,
        realm: list.realm,
        way,
    }
}

/// Subject, text and what can be done next.
fn outcome(
    wish: Wish,
    address: &str,
    of: &Address,
    to: &impl Fn(&str) -> String,
) -> (String, String, String) {
    match wish {
        Wish::Unsubscribe => (
            format!("You left {of}"),
            format!("{address} left the list {of} and gets no more copies."),
            format!("To come back, write to {}.", to("subscribe")),
        ),
        Wish::Nomail => (
            format!("No more copies of {of} for now"),
            format!("{address} stays a member of the list {of} and gets no more copies."),
            format!("To get copies again, write to {}.", to("mail")),
        ),
        Wish::Spare(spare) => (
            format!("Which copies of {of} you get"),
            wrapped(&spare.says(address, of)),
            format!("To change that, write to {}.", to(spare.opposite())),
        ),
        Wish::Mail | Wish::Subscribe | Wish::Link | Wish::Steer => (
            format!("Copies of {of} again"),
            format!("{address} gets copies of the list {of} again."),
            format!(
                "To pause, write to {}; to leave, to {}.",
                to("nomail"),
                to("unsubscribe")
            ),
        ),
    }
}

pub(super) fn rendered(text: &impl Template) -> String {
    text.render()
        .expect("the templates write plain values into a string")
}

/// Lines of at most 76 characters.
pub(super) fn wrapped(text: &str) -> String {
    notice::wrap(text, 76).join("\n")
}
