//! What people ask of a list on its pages and by one click; [`super::command`] is the same by mail.

use std::net::IpAddr;

use super::command::{Errand, place, rendered, wrapped};
use super::{Ctx, PipelineError};
use crate::list::command::{Leave, Wish};
use crate::list::notice::{self, Answered, Done, Event};
use crate::list::token;
use crate::store::{Act, Acted, CappedLetter, ListRow, Owed};
use crate::types::{Address, ListId, RealmId, Timestamp};

/// How long a form may lie open, in seconds.
const FORM_HOLDS: i64 = 12 * 3_600;

/// How a page asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// What was done.
    Done(Acted),
    /// It was confirmed, and the mail that it is about is not here any more: nothing was done.
    Gone,
    /// The link is not ours, or too old.
    Unknown,
}

/// A confirmation as its page shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// The list.
    pub list: ListRow,
    /// The address.
    pub address: String,
    /// What it is to confirm: `join the list dev@x.org`.
    pub what: String,
    /// It was used.
    pub done: bool,
}

impl Ctx {
    /// A token for the form by which one joins a list.
    pub fn render_form(&self, list: &ListRow, ip: Option<IpAddr>, now: Timestamp) -> String {
        let source = notice::counted_source(ip);
        token::render_form(&self.token_key, list.id, now.secs(), &source).unwrap_or_default()
    }

    /// Whether a form was made here for this list and network, within the last hours.
    pub fn is_form(&self, list: &ListRow, ip: Option<IpAddr>, token: &str, now: Timestamp) -> bool {
        self.is_form_of(list.id, ip, token, now)
    }

    fn is_form_of(&self, list: ListId, ip: Option<IpAddr>, token: &str, now: Timestamp) -> bool {
        let source = notice::counted_source(ip);
        let shown = token::parse_form(&self.token_key, list, &source, token);
        shown.is_some_and(|secs| (0..=FORM_HOLDS).contains(&(now.secs() - secs)))
    }

    /// A token for a form of the site, which is of no list.
    pub fn render_site_form(&self, ip: Option<IpAddr>, now: Timestamp) -> String {
        let source = notice::counted_source(ip);
        token::render_form(&self.token_key, ListId(0), now.secs(), &source).unwrap_or_default()
    }

    /// Whether a form of the site was made here for this network, within the last hours.
    pub fn is_site_form(&self, ip: Option<IpAddr>, token: &str, now: Timestamp) -> bool {
        self.is_form_of(ListId(0), ip, token, now)
    }

    /// Whether an address is in a domain that says that it takes no mail (RFC 7505): no confirmation would arrive there.
    pub async fn takes_no_mail(&self, address: &Address) -> bool {
        match &self.checks {
            Some(checks) => checks.dns.takes_no_mail(address.domain()).await,
            None => false,
        }
    }

    /// Asks an address to confirm that it joins a public list. What is told says nothing of who is a member.
    pub async fn ask_to_join(
        &self,
        list: &ListRow,
        address: &Address,
        ip: Option<IpAddr>,
        now: Timestamp,
    ) -> Result<Owed, PipelineError> {
        let odd = !notice::is_plain(address) || list.realm != RealmId::PUBLIC;
        if odd || self.is_list_address(address).await? {
            return Ok(Owed::EnoughForAddress);
        }
        let wish = (Wish::Subscribe, "");
        let Some(act) = self.ask(list, address, wish, None, ip, now).await? else {
            return Ok(Owed::EnoughForAddress);
        };
        let place = place(list, "on the page");
        match self.store.act(place, None, act, |_| None, now).await? {
            Acted::Asked(owed) => Ok(owed),
            _ => Ok(Owed::EnoughForAddress),
        }
    }

    /// Tells who asks to join, and is a member with copies without doubt, that there is nothing to do; `false`: that is not so, and nothing was done.
    pub(super) async fn tell_member(
        &self,
        errand: &Errand<'_>,
        leave: &Leave,
    ) -> Result<bool, PipelineError> {
        // Anybody may send on what somebody signed for others: then only the address itself is asked, as seldom as ever.
        let Leave::AtOnce(address) = leave else {
            return Ok(false);
        };
        let (list, now) = (errand.list, errand.asking.now);
        let key = address.key();
        let found = self.store.find_member_by_address(list.id, &key).await?;
        let Some(member) = found.filter(|m| m.mail) else {
            return Ok(false);
        };
        let already = Acted::Holds {
            wish: Wish::Subscribe,
            address: member.address,
            member: member.id,
            new: false,
        };
        let letter = self.answer(list, &already, &errand.answered(), now);
        let once = errand.once(Wish::Subscribe.as_str());
        let act = Act::Answer;
        let answer = |_: &Acted| letter;
        self.store
            .act(errand.place(), Some(once), act, answer, now)
            .await?;
        Ok(true)
    }

    /// Asks two addresses to confirm that they are one person's; each is asked for itself, and the second yes links them.
    pub async fn ask_to_link(
        &self,
        list: &ListRow,
        addresses: [&Address; 2],
        ip: Option<IpAddr>,
        now: Timestamp,
    ) -> Result<Owed, PipelineError> {
        let [one, other] = addresses;
        let mut last = Owed::EnoughForAddress;
        for (asked, with) in [(one, other), (other, one)] {
            let odd = !notice::is_plain(asked) || list.realm != RealmId::PUBLIC;
            if odd || one.key() == other.key() || self.is_list_address(asked).await? {
                continue;
            }
            let wish = (Wish::Link, with.key());
            let Some(act) = self
                .ask(list, asked, (wish.0, &wish.1), None, ip, now)
                .await?
            else {
                continue;
            };
            let place = place(list, "on the page");
            if let Acted::Asked(owed) = self.store.act(place, None, act, |_| None, now).await? {
                last = owed;
            }
        }
        Ok(last)
    }

    /// Both addresses hear that they are one person's now, so that neither is linked unawares; `list`: where that was asked for, if at one.
    pub(super) fn linked_letters(
        &self,
        list: Option<&ListRow>,
        [one, other]: [&str; 2],
        answered: &Answered,
        now: Timestamp,
    ) -> Vec<CappedLetter> {
        let own = list.and_then(|list| list.address.parse::<Address>().ok());
        let owner = match &own {
            Some(own) => notice::with_suffix(own, "+owner").map(|o| o.to_string()),
            None => Some(format!("postmaster@{}", self.hostname)),
        };
        let letter = |to: &str, with: &str| {
            let text = wrapped(&format!(
                "{to} and {with} have both confirmed that they are one person's. What either may do here, the other may do, and mail \
                 to one of them spares the other a copy."
            ));
            let to: Address = to.parse().ok()?;
            let text = rendered(&Done {
                text: &text,
                next: "If that is wrong, have it undone by the people below.",
                owner: owner.as_deref().unwrap_or_default(),
            });
            let words = (Event::Done, "Two addresses of yours are linked", text);
            self.letter(list, &to, words, answered, now)
        };
        let both = [letter(one, other), letter(other, one)];
        both.into_iter().flatten().collect()
    }

    /// Whether a link was made here to confirm something, whenever that was.
    pub fn is_confirmation(&self, token: &str) -> bool {
        token::parse_confirm(&self.token_key, token).is_some()
    }

    /// What a link in a confirmation stands for; changes nothing.
    pub async fn find_pending(
        &self,
        token: &str,
        now: Timestamp,
    ) -> Result<Option<Pending>, PipelineError> {
        let Some(asked) = token::parse_confirm(&self.token_key, token) else {
            return Ok(None);
        };
        let Some(list) = self.store.find_list_by_id(asked.list).await? else {
            return Ok(None);
        };
        let found = self
            .store
            .find_confirmation(asked.list, asked.nonce, now)
            .await?;
        let Some(found) = found else {
            return Ok(None);
        };
        Ok(Some(Pending {
            what: match found.wish {
                Wish::Link => format!("be known here as one person with {}", found.other),
                Wish::Steer => self.meant_words(&list, &found.other).await?,
                wish => wish.words(&list.address),
            },
            list,
            address: found.address,
            done: found.done,
        }))
    }

    /// Carries out what a link in a confirmation stands for.
    pub async fn confirm(&self, token: &str, now: Timestamp) -> Result<Answer, PipelineError> {
        let Some(asked) = token::parse_confirm(&self.token_key, token) else {
            return Ok(Answer::Unknown);
        };
        let Some(list) = self.store.find_list_by_id(asked.list).await? else {
            return Ok(Answer::Unknown);
        };
        let meant = self.fulfil(&list, asked.nonce, now).await?;
        let gone = meant.is_none();
        let (ctx, place) = (self.clone(), place(&list, "on the page"));
        let letter = move |acted: &Acted| match acted {
            Acted::Meant { .. } => meant.flatten().into_iter().collect(),
            // What was done is on the page; a welcome is for keeping.
            Acted::Holds {
                wish: Wish::Subscribe,
                new: true,
                ..
            }
            // Both hear of it, so that neither is linked unawares.
            | Acted::Linked { .. } => ctx.answers(&list, acted, &Answered::default(), now),
            _ => Vec::new(),
        };
        let act = Act::Confirm(asked.nonce);
        match self.store.act(place, None, act, letter, now).await? {
            Acted::Unknown => Ok(Answer::Unknown),
            Acted::Meant { .. } if gone => Ok(Answer::Gone),
            acted => Ok(Answer::Done(acted)),
        }
    }

    /// The list and address that a link to leave is for; inner `None`: not, or not any more. Changes nothing.
    pub async fn find_subscription(
        &self,
        token: &str,
    ) -> Result<Option<Option<(ListRow, String)>>, PipelineError> {
        let Some(member) = token::parse_leave(&self.token_key, token) else {
            return Ok(None);
        };
        let Some((list, address)) = self.store.find_member(member).await? else {
            return Ok(Some(None));
        };
        let list = self.store.find_list_by_id(list).await?;
        Ok(Some(list.map(|list| (list, address))))
    }

    /// Ends the subscription that a link is for (RFC 8058), at once and as often as it is asked; nobody gets a mail about it.
    pub async fn leave(&self, token: &str, now: Timestamp) -> Result<Answer, PipelineError> {
        let Some(member) = token::parse_leave(&self.token_key, token) else {
            return Ok(Answer::Unknown);
        };
        let gone = Answer::Done(Acted::NoMember {
            address: String::new(),
        });
        let Some((list, _)) = self.store.find_member(member).await? else {
            return Ok(gone);
        };
        let Some(list) = self.store.find_list_by_id(list).await? else {
            return Ok(gone);
        };
        let (place, act) = (place(&list, "by one click"), Act::Leave(member));
        let acted = self.store.act(place, None, act, |_| None, now).await?;
        Ok(Answer::Done(acted))
    }
}
