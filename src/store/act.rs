//! What members change about themselves, in words: what is to be done, and what came of it.

use super::RecallWish;
use super::notice::{CappedLetter, Owed};
use crate::list::command::Wish;
use crate::types::{Identity, ListId, MailId, MemberId, RealmId};

/// A command by mail, so that it is carried out once.
#[derive(Debug, Clone)]
pub struct Once {
    /// What was asked, in a word.
    pub word: &'static str,
    /// What the mail is known by: the signatures that speak for it, else what makes copies the same mail.
    pub keys: Vec<Identity>,
}

/// The list that is meant, and how the wish came: `by mail`, `on the page`, `by one click`.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// The list.
    pub list: ListId,
    /// Its realm.
    pub realm: RealmId,
    /// For the note about it.
    pub way: &'static str,
}

/// What is to be done.
#[derive(Debug)]
pub enum Act {
    /// Ask an address to confirm; nothing is kept if its letter is one too many.
    Ask(NewConfirmation, Box<CappedLetter>),
    /// Carry out what is proved: for this address, or else for those that are linked with it.
    Change(String, Wish),
    /// Carry out for this address alone what its owner wishes on a page, or who looks after the list.
    Exactly(String, Wish, By),
    /// Carry out what was asked under this number.
    Confirm(i64),
    /// End this subscription.
    Leave(MemberId),
    /// Nothing but to answer.
    Answer,
    /// Take a mail back, as its author wishes.
    TakeBack(MailId, RecallWish),
    /// Tell others of it.
    Tell(Box<Tell>),
}

/// Letters to owe, and the note why.
#[derive(Debug)]
pub struct Tell {
    /// To whom it is told.
    pub letters: Vec<CappedLetter>,
    /// The note's kind.
    pub kind: &'static str,
    /// Who wishes it.
    pub actor: String,
    /// What it is.
    pub detail: String,
    /// The receipt of the mail that it is about.
    pub receipt: Option<i64>,
    /// It is told once, however many mails ask for it.
    pub once: Once,
}

/// Who wishes something for an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// Who reads its mail.
    Owner,
    /// Somebody with a right at the list: that says nothing of whether mail arrives.
    Moderator,
}

/// What an address is asked to confirm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewConfirmation {
    /// A number nobody can guess.
    pub nonce: i64,
    /// Which address, in lower case.
    pub address: String,
    /// To what.
    pub wish: Wish,
    /// The address that is to be linked with it, or the mail whose wishes are meant; else empty.
    pub other: String,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Acted {
    /// The same mail did it before.
    Before,
    /// The address is asked, or has been asked enough.
    Asked(Owed),
    /// The wish holds for this member now; `new` says whether it did not before.
    Holds {
        /// What was wished.
        wish: Wish,
        /// For which address.
        address: String,
        /// The subscription; gone after [`Wish::Unsubscribe`].
        member: MemberId,
        /// Whether it is so only now.
        new: bool,
    },
    /// There is no such member.
    NoMember {
        /// The address that was looked for; empty if only a token named it.
        address: String,
    },
    /// Linking waits for the other address, which has to confirm as well.
    Waits,
    /// The addresses are one person now.
    Linked {
        /// The one that confirmed last.
        address: String,
        /// The other.
        other: String,
    },
    /// This was confirmed before; nothing was done now.
    Used {
        /// Which address has confirmed.
        address: String,
    },
    /// What the address wished for a series is its own wish.
    Meant {
        /// The address.
        address: String,
    },
    /// Nothing was asked under that number, or too long ago.
    Unknown,
    /// Answered, nothing else.
    Answered,
    /// Others were told, by so many letters; `None`: they had been told before.
    Told(Option<usize>),
    /// The mail is taken back; it was sent to so many.
    TakenBack(i64),
    /// It was not there any more.
    Gone,
}

/// A pending confirmation, as its page shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Which address.
    pub address: String,
    /// To what.
    pub wish: Wish,
    /// The address that is to be linked with it, or the mail whose wishes are meant; else empty.
    pub other: String,
    /// It was used.
    pub done: bool,
}
