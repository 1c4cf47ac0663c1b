//! Who gave which trailer to which patch: what stands in replies, sorted by b4's rules.
//!
//! A reply gives its trailers to the patch that it answers; one to a cover letter gives them to every patch. A trailer counts
//! if it names the sender of the mail that holds it; others are listed as claims. Of one person each kind of trailer counts
//! once, however often it was given, with or without `+detail` in the address. A patch that a later version sends again
//! unchanged keeps what it was given.

use super::trailer::Trailer;
use crate::types::{MailId, MessageId};

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
    /// What stands unquoted in it.
    pub trailers: Vec<Trailer>,
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
    /// Whether it names that sender.
    pub matches: bool,
    /// Label of the earlier version that it was given on, if the patch is unchanged since.
    pub given_on: Option<String>,
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

/// What `answers`, oldest first, give to a patch: replies to itself first, then those to `covers`. What the patch carries
/// already (`own`) and what was given twice is left out.
pub fn acks_for(patch: MailId, own: &[Trailer], covers: &[MailId], answers: &[Answer]) -> Vec<Ack> {
    let direct = answers.iter().filter(|a| a.target == patch);
    let general = answers
        .iter()
        .filter(|a| a.target != patch && covers.contains(&a.target));
    let mut given: Vec<Ack> = Vec::new();
    for answer in direct.chain(general) {
        for trailer in &answer.trailers {
            let kept = !NOT_GIVEN.iter().any(|name| trailer.is(name));
            if !kept || own.iter().any(|t| says_same(t, trailer)) {
                continue;
            }
            let matches = names_sender(trailer, &answer.name, &answer.address);
            let ack = Ack {
                trailer: trailer.clone(),
                mail: answer.mail,
                message_id: answer.message_id.clone(),
                name: answer.name.clone(),
                sender: answer.address.clone(),
                matches,
                given_on: None,
            };
            match given.iter_mut().find(|g| says_same(&g.trailer, trailer)) {
                // Its own words count more than what somebody else said before.
                Some(known) if matches && !known.matches => *known = ack,
                Some(_) => {}
                None => given.push(ack),
            }
        }
    }
    given
}

/// Adds what earlier versions of the patch, oldest first, were given to what this one was: behind it, the newest first. What the patch carries (`own`) or was given again is left out.
pub fn carry_acks(acks: Vec<Ack>, own: &[Trailer], earlier: Vec<Carried>) -> Vec<Ack> {
    let mut all = acks;
    for version in earlier.into_iter().rev() {
        for mut ack in version.acks {
            let same = |a: &Ack| says_same(&a.trailer, &ack.trailer);
            let known = all.iter().any(|a| same(a) && (a.matches || !ack.matches));
            if known || own.iter().any(|t| says_same(t, &ack.trailer)) {
                continue;
            }
            // A claim counts less than the person's own word of before.
            all.retain(|a| !same(a));
            ack.given_on = Some(version.label.clone());
            all.push(ack);
        }
    }
    all
}

/// Whether two trailers are one: the same text, or of one kind and one person. Who calls himself otherwise says it once
/// more: so it is in b4.
fn says_same(one: &Trailer, other: &Trailer) -> bool {
    let one_kind = one.name.eq_ignore_ascii_case(&other.name);
    let one_person = || {
        let ((a_name, a), (b_name, b)) = one.person().zip(other.person())?;
        let named = a_name.is_empty() || b_name.is_empty();
        let same_name = named || a_name.to_lowercase() == b_name.to_lowercase();
        Some(same_name && same_address(a, b))
    };
    one.same(other) || (one_kind && one_person().unwrap_or(false))
}

/// Whether a trailer is the sender's own to give: it names no person, or that address, or exactly that name.
fn names_sender(trailer: &Trailer, name: &str, address: &str) -> bool {
    let Some((their_name, their_address)) = trailer.person() else {
        return true;
    };
    let (one, other) = (their_name.to_lowercase(), name.trim().to_lowercase());
    // `Last, First` in From and `First Last` in the trailer are one name.
    let turned = || {
        let mut parts = other.split(',').map(str::trim);
        other.contains(',') && parts.all(|part| one.contains(part))
    };
    same_address(their_address, address) || (!one.is_empty() && (one == other || turned()))
}

/// Whether two addresses are one person's: in any case, with or without `+detail`, and in a domain or the one above it
/// (`ana@linux.example.org` and `ana@example.org`).
pub fn same_address(one: &str, other: &str) -> bool {
    let (one, other) = (one.to_lowercase(), other.to_lowercase());
    if one == other {
        return !one.is_empty();
    }
    let split = |address: &str| {
        let (local, domain) = address.rsplit_once('@')?;
        let local = local.split('+').next().unwrap_or(local);
        (!local.is_empty()).then(|| (local.to_owned(), domain.to_owned()))
    };
    let (Some((a, a_domain)), Some((b, b_domain))) = (split(&one), split(&other)) else {
        return false;
    };
    let above = |long: &str, short: &str| {
        let head = long.strip_suffix(short).and_then(|h| h.strip_suffix('.'));
        // A top-level domain is above everybody.
        head.is_some_and(|h| !h.is_empty() && !h.contains('.')) && short.contains('.')
    };
    a == b && (a_domain == b_domain || above(&a_domain, &b_domain) || above(&b_domain, &a_domain))
}
