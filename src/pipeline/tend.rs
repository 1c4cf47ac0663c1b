//! What people who look after a list do on its pages: those with the right `moderate` there, and the operator.

use super::command::place;
use super::{Ctx, PipelineError, Viewer, think_of};
use crate::list::command::Wish;
use crate::list::notice::{self, ASK};
use crate::list::settings::{Bits, Policy};
use crate::mail::{self, Message};
use crate::store::{Act, Acted, By, HeldRow, ListChange, ListRow, Owed};
use crate::types::{Address, NameError, ReceiptId, Timestamp};

/// What becomes of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberWish {
    /// Gets no copies for now.
    Pause,
    /// Gets copies again.
    Resume,
    /// Is a member no more.
    Remove,
}

/// What became of invitations.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Invited {
    /// So many mails are on their way.
    pub asked: usize,
    /// So many were asked enough, or who invites has invited enough within the hour.
    pub enough: usize,
    /// So many are members already.
    pub members: usize,
}

impl MemberWish {
    fn wish(self) -> (Wish, &'static str) {
        match self {
            MemberWish::Pause => (Wish::Nomail, "paused"),
            MemberWish::Resume => (Wish::Mail, "resumed"),
            MemberWish::Remove => (Wish::Unsubscribe, "removed"),
        }
    }
}

impl Ctx {
    /// Whether an address, in lower case, has the right to moderate a list, or is the operator's.
    pub async fn is_moderator(&self, list: &ListRow, key: &str) -> Result<bool, PipelineError> {
        let access = self.store.load_access(list.id).await?;
        let mut own = access.iter().filter(|a| a.address == key);
        Ok(own.any(|a| a.rights.has(Bits::MODERATE)) || self.is_operator(key))
    }

    /// Changes what a member gets, with a note of who did it; `false`: there is no such member.
    pub async fn tend_member(
        &self,
        viewer: &Viewer,
        list: &ListRow,
        address: &str,
        wish: MemberWish,
        now: Timestamp,
    ) -> Result<bool, PipelineError> {
        let member = self.store.find_member_by_address(list.id, address).await?;
        if member.is_none() {
            return Ok(false);
        }
        let (wish, word) = wish.wish();
        let act = Act::Exactly(address.to_owned(), wish, By::Moderator);
        let acted = self
            .store
            .act(place(list, "by a moderator"), None, act, |_| None, now)
            .await?;
        let done = matches!(acted, Acted::Holds { new: true, .. });
        if done {
            let detail = format!("{address} was {word}");
            self.note_tended(viewer, list, "members", vec![detail], now)
                .await?;
        }
        Ok(matches!(acted, Acted::Holds { .. }))
    }

    /// The operator adds members without asking them; returns how many are new, or what is wrong with them.
    pub async fn add_tended(
        &self,
        viewer: &Viewer,
        list: &ListRow,
        given: &str,
        now: Timestamp,
    ) -> Result<Result<u64, String>, PipelineError> {
        let keys: Vec<String> = match read_addresses(given) {
            Ok(all) => all.iter().map(Address::key).collect(),
            Err(problem) => return Ok(Err(problem)),
        };
        if let Some((own, why)) = self.find_own(list, &keys).await? {
            return Ok(Err(format!("{own} {why}")));
        }
        let new = self.add_members(list.id, keys).await?;
        let note = |key: &String| format!("{key} was added by the operator");
        let details = new.iter().map(note).collect();
        self.note_tended(viewer, list, "members", details, now)
            .await?;
        Ok(Ok(new.len() as u64))
    }

    /// Who looks after a list invites people: each is asked by the mail that asks who wants to join, and is a member once he
    /// confirms. What is wrong with an address is told before any is asked. Members are not asked.
    pub async fn invite_tended(
        &self,
        viewer: &Viewer,
        list: &ListRow,
        given: &str,
        now: Timestamp,
    ) -> Result<Result<Invited, String>, PipelineError> {
        let all = match read_addresses(given) {
            Ok(all) => all,
            Err(problem) => return Ok(Err(problem)),
        };
        if all.len() as i64 > ASK.per_source {
            let text = format!("{} addresses at once are the most", ASK.per_source);
            return Ok(Err(text));
        }
        let keys: Vec<String> = all.iter().map(Address::key).collect();
        if let Some((own, why)) = self.find_own(list, &keys).await? {
            return Ok(Err(format!("{own} {why}")));
        }
        // Before DNS is asked about any of them.
        let source = &viewer.address;
        if self.store.has_caused_enough(source, &ASK, now).await? {
            return Ok(Ok(Invited {
                enough: all.len(),
                ..Invited::default()
            }));
        }
        for address in &all {
            if let Some(why) = self.find_hindrance(list, address).await? {
                return Ok(Err(format!("{address} {why}")));
            }
        }
        let mut invited = Invited::default();
        let mut asked = Vec::new();
        for address in &all {
            let key = address.key();
            let member = self.store.find_member_by_address(list.id, &key).await?;
            match member.is_some() {
                true => invited.members += 1,
                false if self.invite(viewer, list, address, now).await? => {
                    asked.push(format!("{key} was invited"));
                }
                false => invited.enough += 1,
            }
        }
        invited.asked = asked.len();
        if !asked.is_empty() {
            self.note_tended(viewer, list, "members", asked, now)
                .await?;
        }
        Ok(Ok(invited))
    }

    /// Why an address cannot be invited, if so.
    async fn find_hindrance(
        &self,
        list: &ListRow,
        address: &Address,
    ) -> Result<Option<&'static str>, PipelineError> {
        if !notice::is_plain(address) || self.takes_no_mail(address).await {
            return Ok(Some("takes no mail that could ask"));
        }
        // Who is let into a list that is not public is for the operator to say.
        let may = self.store.may_browse(list, &address.key()).await?;
        Ok((!may).then_some("may not read this list; the operator gives the right"))
    }

    /// Asks an address within the limits, the one for networks being that of who invites; whether it was asked.
    async fn invite(
        &self,
        viewer: &Viewer,
        list: &ListRow,
        address: &Address,
        now: Timestamp,
    ) -> Result<bool, PipelineError> {
        let wish = (Wish::Subscribe, "");
        let Some(Act::Ask(what, mut letter)) =
            self.ask(list, address, wish, None, None, now).await?
        else {
            return Ok(false);
        };
        letter.source.clone_from(&viewer.address);
        let act = Act::Ask(what, letter);
        let place = place(list, "by a moderator");
        let acted = self.store.act(place, None, act, |_| None, now).await?;
        Ok(acted == Acted::Asked(Owed::Yes))
    }

    /// Sets what can be set on the page, with a note of what changed; an error in words if a value is none.
    pub async fn tend_policy(
        &self,
        viewer: &Viewer,
        list: &ListRow,
        (policy, description): (Policy, String),
        now: Timestamp,
    ) -> Result<Result<(), String>, PipelineError> {
        if let Err(why) = policy.check() {
            return Ok(Err(why));
        }
        if description.chars().count() > 200 || description.chars().any(char::is_control) {
            return Ok(Err(
                "a description is one line of at most 200 characters".to_owned()
            ));
        }
        let detail = changes(list, &policy, &description);
        if detail.is_empty() {
            return Ok(Ok(()));
        }
        let change = ListChange {
            policy: Some(policy),
            description: Some(description),
            ..ListChange::default()
        };
        self.change_list(list.id, change).await?;
        self.note_tended(viewer, list, "settings", vec![detail], now)
            .await?;
        Ok(Ok(()))
    }

    /// A note on each member begins with the address: who erases it is named in none.
    async fn note_tended(
        &self,
        viewer: &Viewer,
        list: &ListRow,
        kind: &'static str,
        details: Vec<String>,
        now: Timestamp,
    ) -> Result<(), PipelineError> {
        let actor = &viewer.address;
        Ok(self
            .store
            .insert_events(list, kind, actor, details, now)
            .await?)
    }

    /// A held mail as it can be read; `None`: it is held no longer.
    pub async fn read_held(
        &self,
        held: &HeldRow,
    ) -> Result<Option<(Message, Vec<u8>)>, PipelineError> {
        let receipts = self.store.load_receipts(&[ReceiptId(held.id)]).await?;
        let Some(receipt) = receipts.into_iter().next() else {
            return Ok(None);
        };
        let bytes = receipt.bytes;
        let read = think_of(bytes.len(), move || (mail::parse(&bytes), bytes)).await?;
        Ok(Some(read))
    }
}

/// Addresses between blanks, commas or semicolons, each once.
fn read_addresses(given: &str) -> Result<Vec<Address>, String> {
    let words = given.split(|c: char| c.is_whitespace() || c == ',' || c == ';');
    let mut all: Vec<Address> = Vec::new();
    for word in words.filter(|word| !word.is_empty()) {
        let address: Address = word.parse().map_err(|e: NameError| e.to_string())?;
        if !all.iter().any(|a| a.key() == address.key()) {
            all.push(address);
        }
    }
    match all.is_empty() {
        true => Err("no address is given".to_owned()),
        false => Ok(all),
    }
}

/// `emergency off to on, delay 60 to 0`
fn changes(list: &ListRow, new: &Policy, description: &str) -> String {
    let old = &list.policy;
    let pairs = [
        (
            "moderation",
            old.moderation.as_str().to_owned(),
            new.moderation.as_str().to_owned(),
        ),
        (
            "emergency",
            old.emergency.to_string(),
            new.emergency.to_string(),
        ),
        (
            "max-size",
            old.max_size.to_string(),
            new.max_size.to_string(),
        ),
        (
            "strangers-per-hour",
            old.strangers_per_hour.to_string(),
            new.strangers_per_hour.to_string(),
        ),
        ("delay", old.delay.to_string(), new.delay.to_string()),
        (
            "hold-days",
            old.hold_days.to_string(),
            new.hold_days.to_string(),
        ),
        (
            "description",
            list.description.clone(),
            description.to_owned(),
        ),
    ];
    let changed = pairs.into_iter().filter(|(_, old, new)| old != new);
    let words: Vec<String> = changed
        .map(|(name, old, new)| format!("{name} {old:?} to {new:?}"))
        .collect();
    words.join(", ").replace('"', "")
}
