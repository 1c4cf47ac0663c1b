//! Who gave which trailer to which patch: what stands in replies, sorted by b4's rules.
//!
//! A reply gives its trailers to the patch that it answers; one to a cover letter gives them to every patch. A trailer counts
//! if it names the sender of the mail that holds it; others are listed as claims. Of one person each kind of trailer counts
//! once, however often it was given, with or without `+detail` in the address. A patch that a later version sends again
//! unchanged keeps what it was given.

use std::collections::HashMap;

use super::authority::may_add_trailers;
use super::same::{Said, same_address};
use super::trailer::Trailer;
use crate::types::{MailId, MessageId};
use crate::verdict::Level;

/// A mail that answers a patch or a cover letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Its row.
    pub mail: MailId,
    /// The patch or cover that it answers.
    pub target: MailId,
    /// Its Message-ID.
    pub message_id: MessageId,
    /// Display name of its sender.
    pub name: String,
    /// Address of its sender.
    pub address: String,
    /// How well that sender is authenticated.
    pub level: Level,
    /// What stands unquoted in it.
    pub trailers: Vec<Trailer>,
}

/// Why a trailer that was given does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// It names somebody else than its mail's sender.
    OtherPerson,
    /// No address can be read in it.
    NoAddress,
    /// Its mail's sender is not authenticated as well as the patch's.
    NotAuthenticated,
}

/// A trailer given to a patch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ack {
    /// What was given.
    pub trailer: Trailer,
    /// The mail that holds it.
    pub mail: MailId,
    /// Message-ID of that mail.
    pub message_id: MessageId,
    /// Name of that mail's sender.
    pub name: String,
    /// Address of that mail's sender.
    pub sender: String,
    /// What stands against it; `None`: it names that sender, and he is authenticated as well as the patch is.
    pub claim: Option<Claim>,
    /// Label of the earlier version that it was given on, if the patch is unchanged since.
    pub given_on: Option<String>,
}

impl Ack {
    /// Whether it counts; else it is only a claim.
    pub fn matches(&self) -> bool {
        self.claim.is_none()
    }
}

/// What an earlier version of an unchanged patch was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Carried {
    /// Label of that version.
    pub label: String,
    /// By the rules of [`acks_for`].
    pub acks: Vec<Ack>,
}

/// Fields of patches and mails that people paste into replies: never given to a patch.
const NOT_GIVEN: [&str; 12] = [
    "from",
    "author",
    "cc",
    "to",
    "date",
    "subject",
    "base-commit",
    "change-id",
    "message-id",
    "depends-on",
    "based-on",
    "supersedes",
];

/// Acks of one patch that are kept, and as many claims.
pub(super) const MAX_ACKS: usize = 500;
/// Of one sender; nobody means more, and nobody takes all the places.
pub(super) const MAX_OF_ONE: usize = 20;

/// What `answers`, oldest first, give to a patch: replies to itself first, then those to `covers`. What the patch carries
/// already (`own`) and what was given twice is left out.
///
/// A stranger's From names whom he likes: who gives must be authenticated as well as all of `patches` are, else it is a
/// claim. Claims take nobody's place, whichever came first. At most 500 acks, 20 of them by one sender, and as many claims.
pub fn acks_for(
    patch: MailId,
    patches: &[Level],
    own: &[Trailer],
    covers: &[MailId],
    answers: &[Answer],
) -> Vec<Ack> {
    let direct = answers.iter().filter(|a| a.target == patch);
    let general = answers
        .iter()
        .filter(|a| a.target != patch && covers.contains(&a.target));
    let mut given = Gathered::new(own);
    for answer in direct.chain(general) {
        if given.is_full() {
            break;
        }
        let mut patches = patches.iter();
        let may_give = patches.all(|level| may_add_trailers(answer.level, *level));
        for trailer in &answer.trailers {
            if NOT_GIVEN.iter().any(|name| trailer.is(name)) {
                continue;
            }
            let weak = (!may_give).then_some(Claim::NotAuthenticated);
            let claim = other_person(trailer, answer).or(weak);
            given.add(trailer, &answer.address, claim.is_none(), || Ack {
                trailer: trailer.clone(),
                mail: answer.mail,
                message_id: answer.message_id.clone(),
                name: answer.name.clone(),
                sender: answer.address.clone(),
                claim,
                given_on: None,
            });
        }
    }
    given.finish()
}

/// Adds what earlier versions of the patch, oldest first, were given to what this one was: behind it, the newest first. What
/// the patch carries (`own`) or was given again is left out.
pub fn carry_acks(acks: Vec<Ack>, own: &[Trailer], earlier: Vec<Carried>) -> Vec<Ack> {
    let mut all = Gathered::new(own);
    for ack in acks {
        let (trailer, sender) = (ack.trailer.clone(), ack.sender.clone());
        all.add(&trailer, &sender, ack.matches(), || ack);
    }
    for version in earlier.into_iter().rev() {
        for ack in version.acks {
            let (trailer, sender) = (ack.trailer.clone(), ack.sender.clone());
            all.add(&trailer, &sender, ack.matches(), || Ack {
                given_on: Some(version.label.clone()),
                ..ack
            });
        }
    }
    all.finish()
}

/// What a patch was given, each thing once.
struct Gathered {
    /// What it carries itself.
    own: Said,
    /// What people gave who may, and what is only claimed.
    given: Said,
    claimed: Said,
    /// How many of each.
    counts: (usize, usize),
    /// How many of each by sender, in lower case.
    by_sender: HashMap<(String, bool), usize>,
    acks: Vec<Ack>,
}

impl Gathered {
    fn new(own: &[Trailer]) -> Gathered {
        let mut carried = Said::default();
        own.iter().for_each(|t| carried.insert(t));
        Gathered {
            own: carried,
            given: Said::default(),
            claimed: Said::default(),
            counts: (0, 0),
            by_sender: HashMap::new(),
            acks: Vec::new(),
        }
    }

    fn is_full(&self) -> bool {
        self.counts.0 >= MAX_ACKS && self.counts.1 >= MAX_ACKS
    }

    fn add(&mut self, trailer: &Trailer, sender: &str, matches: bool, ack: impl FnOnce() -> Ack) {
        let (said, count) = match matches {
            true => (&mut self.given, &mut self.counts.0),
            false => (&mut self.claimed, &mut self.counts.1),
        };
        if *count >= MAX_ACKS || self.own.contains(trailer) || said.contains(trailer) {
            return;
        }
        let of_one = self.by_sender.entry((sender.to_lowercase(), matches));
        let of_one = of_one.or_default();
        if *of_one >= MAX_OF_ONE {
            return;
        }
        said.insert(trailer);
        *of_one += 1;
        *count += 1;
        self.acks.push(ack());
    }

    /// A person's own word stands for what others claim it said.
    fn finish(mut self) -> Vec<Ack> {
        let given = &self.given;
        self.acks
            .retain(|a| a.matches() || !given.contains(&a.trailer));
        self.acks
    }
}

/// Why a trailer is not the sender's own to give; `None` if it speaks for nobody, or names that address and no other, or exactly
/// that name. Where the address is authenticated a name is not enough: anybody writes any name beside an address of his own.
fn other_person(trailer: &Trailer, answer: &Answer) -> Option<Claim> {
    if trailer.is_of_nobody() {
        return None;
    }
    let mut addresses = trailer.addresses().peekable();
    if addresses.peek().is_none() {
        return Some(Claim::NoAddress);
    }
    if addresses.all(|address| same_address(address, &answer.address)) {
        return None;
    }
    // What is no address in form, as a link in brackets, cannot be said to be anybody's.
    let Some((their_name, _)) = trailer.person() else {
        return Some(Claim::NoAddress);
    };
    let same = answer.level != Level::Aligned && same_name(their_name, answer);
    (!same).then_some(Claim::OtherPerson)
}

fn same_name(their_name: &str, answer: &Answer) -> bool {
    let (one, other) = (their_name.to_lowercase(), answer.name.trim().to_lowercase());
    // `Last, First` in From and `First Last` in the trailer are one name.
    let turned = || {
        let mut parts = other.split(',').map(str::trim);
        other.contains(',') && parts.all(|part| one.contains(part))
    };
    !one.is_empty() && (one == other || turned())
}
