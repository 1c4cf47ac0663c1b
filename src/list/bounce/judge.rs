//! Codes and words of one refusal → a class.
//!
//! A code that says something goes before words, but for words that blame the sender: a server that tells a spammer "no such user"
//! knows its members better than we do. Codes whose last number is 0 say nothing: there words decide.

use super::{Blame, Class, Code};

/// Characters of a refusal that are looked at.
const LOOKED_AT: usize = 4_000;

/// A verdict on one refusal.
#[derive(Debug, Clone, Copy)]
pub struct Judged {
    /// What it means.
    pub class: Class,
    /// The code that it rests on.
    pub code: Option<Code>,
    /// The reply code that was found.
    pub reply: Option<u16>,
    /// Whether a code or a word said so, and not only that it failed.
    pub sure: bool,
}

/// Judges a refusal by the status of its report, if there is one, and by what the server said.
pub fn judge(status: Option<Code>, said: &str) -> Judged {
    let said = &said[..said.floor_char_boundary(LOOKED_AT)];
    let lower = said.to_lowercase();
    let words = without_names(&lower);
    let reply = replies(said).next();
    let found: Vec<Code> = codes(said).filter(|c| c.0 != 2).collect();
    // The words of the server that refused know more than the report of the one that was refused.
    let specific = found.iter().copied().find(says_something);
    let code = specific
        .or(status.filter(says_something))
        .or(found.first().copied())
        .or(status);
    let sure = |class| Judged {
        class,
        code,
        reply,
        sure: true,
    };
    if code.is_some_and(is_about_the_sender) || blames_the_sender(&lower, &words) {
        return sure(Class::Policy);
    }
    let full = FULL.iter().any(|w| words.contains(w));
    match code.filter(says_something) {
        Some(Code(_, 2, 2)) => return sure(Class::Full),
        Some(Code(_, 2 | 3, _)) if full => return sure(Class::Full),
        Some(Code(4, ..)) => return sure(Class::Expired),
        Some(Code(_, 1, detail)) => return sure(address_class(detail)),
        Some(Code(_, 2, 1)) => return sure(Class::Gone),
        Some(_) => return sure(Class::Failed),
        None => {}
    }
    judge_words(&lower, &words, code, reply)
}

/// Whom a refusal of a recipient blames, if not the recipient.
pub fn find_blame(said: &str) -> Option<Blame> {
    let said = &said[..said.floor_char_boundary(LOOKED_AT)];
    let words = without_names(&said.to_lowercase());
    let has = |list: &[&str]| list.iter().any(|w| words.contains(w));
    let of_the_sender = codes(said).any(|c| matches!(c, Code(_, 1, 7 | 8)));
    // Which mail is authentic is the destinations' to judge.
    let login = words.contains("authenticat") && !has(&["spf", "dkim", "dmarc", "domain"]);
    match () {
        () if words.contains("relay") => Some(Blame::Relaying),
        () if of_the_sender || login || has(&SENDERS) => Some(Blame::Sender),
        () => None,
    }
}

/// RFC 3463 section 3.2; 351 is Exchange Online's "the remote server does not know the recipient".
fn address_class(detail: u16) -> Class {
    match detail {
        1 | 2 | 3 | 6 | 10 | 351 => Class::Gone,
        _ => Class::Failed,
    }
}

fn judge_words(lower: &str, words: &str, code: Option<Code>, reply: Option<u16>) -> Judged {
    let has = |list: &[&str]| list.iter().any(|w| words.contains(w));
    let temporary = match reply {
        Some(reply) => reply < 500,
        None => code.is_some_and(|c| c.0 == 4),
    };
    let early = EARLY.iter().any(|w| lower.contains(w));
    let late = LATE.iter().any(|w| lower.contains(w)) && !temporary;
    let answer = |class, sure| Judged {
        class,
        code,
        reply,
        sure,
    };
    match () {
        // Whoever is sent away before a recipient was named is not refused for the recipient's sake.
        () if early && reply.is_some_and(|r| r >= 500) => answer(Class::Policy, true),
        () if has(&WEAKLY_POLICY) && !temporary => answer(Class::Policy, true),
        () if has(&FULL) => answer(Class::Full, true),
        // Whoever refuses behind the text names a domain of the sender, unless it speaks of a user.
        () if late && !has(&USERS) => answer(Class::Failed, reply.is_some_and(|r| r >= 500)),
        () if has(&GONE) && reply.is_none_or(|r| r >= 500) && !is_deferred(words, reply) => {
            answer(Class::Gone, true)
        }
        () if temporary => answer(Class::Expired, true),
        () if has(&EXPIRED) && reply.is_none() => answer(Class::Expired, true),
        // "Other address status" (5.1.0), and nothing that blames the sender.
        () if matches!(code, Some(Code(5, 1, 0))) => answer(Class::Gone, true),
        () => answer(Class::Failed, false),
    }
}

/// An old sendmail puts "Host unknown" beside "Deferred": the latter is what happened.
fn is_deferred(words: &str, reply: Option<u16>) -> bool {
    reply.is_none() && words.contains("deferred")
}

/// Whether the code tells more than "something failed".
fn says_something(code: &Code) -> bool {
    matches!(code.1, 6 | 7) || code.1 != 0 && code.2 != 0
}

/// Content and security (RFC 3463 sections 3.7 and 3.8), and addresses of the sender (5.1.7, 5.1.8).
fn is_about_the_sender(code: Code) -> bool {
    matches!(code.1, 6 | 7) || matches!(code, Code(_, 1, 7 | 8))
}

fn blames_the_sender(lower: &str, words: &str) -> bool {
    LISTS.iter().any(|w| lower.contains(w)) || POLICY.iter().any(|w| words.contains(w))
}

/// The words alone: names of hosts, addresses and URLs are left out, so that `spam-filter.example.org said: no such user` is
/// no word about spam.
fn without_names(lower: &str) -> String {
    let mut out = String::with_capacity(lower.len());
    for word in lower.split_whitespace() {
        let inner = word.trim_matches(|c: char| !c.is_alphanumeric());
        let dotted = inner
            .split_once('.')
            .is_some_and(|(a, b)| !a.is_empty() && !b.is_empty());
        if inner.contains('@') || inner.contains("://") || dotted {
            continue;
        }
        out.push_str(word);
        out.push(' ');
    }
    out
}

/// Enhanced codes in the order in which they stand. Parts of IP addresses and version numbers are none.
pub fn codes(text: &str) -> impl Iterator<Item = Code> {
    let bytes = text.as_bytes();
    (0..bytes.len()).filter_map(move |at| {
        let free = match at.checked_sub(1).map(|before| bytes[before]) {
            None => true,
            // `550-5.7.1`: only behind a reply code.
            Some(b'-') => at >= 4 && bytes[at - 4..at - 1].iter().all(u8::is_ascii_digit),
            Some(before) => !before.is_ascii_alphanumeric() && !matches!(before, b'.' | b'_'),
        };
        if !free || !matches!(bytes[at], b'2' | b'4' | b'5') {
            return None;
        }
        let rest = &bytes[at + 1..bytes.len().min(at + 10)];
        let (subject, rest) = number(rest.strip_prefix(b".")?)?;
        let (detail, rest) = number(rest.strip_prefix(b".")?)?;
        let goes_on = match rest {
            [b'.', next, ..] => next.is_ascii_digit(),
            [next, ..] => next.is_ascii_alphanumeric(),
            [] => false,
        };
        (!goes_on).then(|| Code(u16::from(bytes[at] - b'0'), subject, detail))
    })
}

/// One to three digits.
fn number(bytes: &[u8]) -> Option<(u16, &[u8])> {
    let length = bytes.iter().take_while(|b| b.is_ascii_digit()).count();
    if !(1..=3).contains(&length) {
        return None;
    }
    let digits = bytes[..length].iter();
    let value = digits.fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0'));
    Some((value, &bytes[length..]))
}

/// Reply codes 4yz and 5yz (RFC 5321 section 4.2.1) in the order in which they stand.
pub fn replies(text: &str) -> impl Iterator<Item = u16> {
    let bytes = text.as_bytes();
    (0..bytes.len().saturating_sub(2)).filter_map(move |at| {
        let free = match at.checked_sub(1).map(|before| bytes[before]) {
            None => true,
            Some(before) => {
                before.is_ascii_whitespace() || matches!(before, b':' | b'(' | b'\'' | b'"' | b'[')
            }
        };
        let [first @ (b'4' | b'5'), second, third] = bytes[at..at + 3] else {
            return None;
        };
        let after = bytes.get(at + 3).copied().unwrap_or(b' ');
        let ends = after.is_ascii_whitespace() || matches!(after, b'-' | b',' | b':' | b';' | b')');
        let digits = matches!(second, b'0'..=b'7') && third.is_ascii_digit();
        let value = |b: u8| u16::from(b - b'0');
        (free && ends && digits).then(|| value(first) * 100 + value(second) * 10 + value(third))
    })
}

/// The reply code that a text begins with.
pub fn reply_at_start(text: &str) -> Option<u16> {
    let start = text.get(..4).unwrap_or(text);
    replies(start).next().filter(|_| !text.starts_with(' '))
}

/// Services that list bad senders, by what stands in the URLs that they are named with.
const LISTS: [&str; 8] = [
    "spamhaus.org",
    "spamcop.net",
    "dnsbl",
    "senderbase.org",
    "barracudacentral.org",
    "uribl.com",
    "abuseat.org",
    "sorbs.net",
];

/// Words that blame what was sent or who sent it, whatever the code says.
const POLICY: [&str; 47] = [
    "spam",
    "blacklist",
    "black list",
    "blocklist",
    "block list",
    "blocked using",
    "blocked for abuse",
    "(bl)",
    "spf",
    "dmarc",
    "dkim",
    "reputation",
    "polic",
    "reverse dns",
    "rdns",
    "ptr record",
    "sender rejected",
    "sender address rejected",
    "sender domain",
    "sender address",
    "not allowed to send",
    "valid from",
    "is not verified",
    "unauthenticated",
    "authentication",
    "too many recipients",
    "at a rate that",
    "frequency limited",
    "relay quota",
    "sending quota",
    "sending limit",
    "unwanted messages",
    "unsolicited",
    "bulk email",
    "banned",
    "prohibited",
    "client host",
    "client ip",
    "network not allowed",
    "sending ip",
    "virus",
    "content rejected",
    "message filtered",
    "recipient preferences",
    "smtp server of your isp",
    "line limit exceeded",
    "duplicate header",
];

/// The same where no code says anything else: Exchange Online says "Access denied" of mailboxes that do not exist, with 5.4.1.
const WEAKLY_POLICY: [&str; 7] = [
    "access denied",
    "blocked",
    "not authorized",
    "relaying denied",
    "relay access",
    "relay not permitted",
    "unable to relay",
];

/// Whom a refusal of a recipient speaks of that is meant for the sender, or for the host that brings the mail.
const SENDERS: [&str; 18] = [
    "sender address",
    "sender domain",
    "sender rejected",
    "sender denied",
    "sender verify",
    "not owned",
    "not allowed to send",
    "not permitted to send",
    "not authorized to send",
    "permissions to send",
    "must log in",
    "client host",
    "helo command",
    "address is not verified",
    "your account",
    "sending suspended",
    "sending paused",
    "not authorized to perform",
];

/// Steps of the dialogue before any recipient.
const EARLY: [&str; 12] = [
    "after mail from",
    "after initial connection",
    "after ehlo",
    "after helo",
    "in reply to mail from",
    "in reply to ehlo",
    "in reply to helo",
    "refused to talk to me",
    "sender was rejected",
    "my name was rejected",
    "[mail_from]",
    "my mail from",
];

/// The last step of the dialogue.
const LATE: [&str; 2] = ["after end of data", "in reply to end of data"];

/// Whom a refusal speaks of that is meant for the member.
const USERS: [&str; 4] = ["user", "recipient", "mailbox", "account"];

const FULL: [&str; 16] = [
    "mailbox full",
    "mailbox is full",
    "mailbox for user is full",
    "mailfolder is full",
    "mail box full",
    "inbox is full",
    "over quota",
    "overquota",
    "over its quota",
    "quota exceeded",
    "exceeded quota",
    "exceeded the local limit",
    "mailbox exceeds allowed size",
    "out of storage",
    "too much mail data",
    "storage limit",
];

const GONE: [&str; 56] = [
    "user unknown",
    "unknown user",
    "user is unknown",
    "no such user",
    "no such mailbox",
    "no such recipient",
    "no such address",
    "no such domain",
    "no such account",
    "no mailbox here by that name",
    "no user",
    "no account",
    "no valid recipients",
    "no mx record",
    "user not found",
    "user not exist",
    "unknown recipient",
    "unknown address",
    "unknown or illegal",
    "unknown host",
    "host unknown",
    "host not found",
    "domain name not found",
    "domain not found",
    "recipient not found",
    "recipient name is not recognized",
    "recipient no longer",
    "recipient unknown",
    "recipnotfound",
    "recipientnotfound",
    "mailbox not found",
    "mailbox unavailable",
    "mailbox does not exist",
    "mailbox is frozen",
    "mailbox disabled",
    "mailbox is disabled",
    "address not found",
    "invalid recipient",
    "invalid address",
    "invalid user",
    "invalid mailbox",
    "invalid final delivery userid",
    "does not exist",
    "doesn't exist",
    "doesn't have a",
    "couldn't be found",
    "wasn't found at the destination",
    "account has been disabled",
    "account is disabled",
    "registered gateway user",
    "not our user",
    "doesn't receive email",
    "no relevant answers",
    "nxdomain",
    // Domino, in Japanese: is not found.
    "見つかりません",
    "not listed in",
];

const EXPIRED: [&str; 22] = [
    "timed out",
    "timeout exceeded",
    "time out",
    "message expired",
    "envelope expired",
    "failing for a long time",
    "could not deliver for the last",
    "not responding",
    "not reachable",
    "no route to host",
    "connection refused",
    "did not accept our requests to connect",
    "socket error",
    "network error",
    "name lookup failure",
    "deferred",
    "try again later",
    "temporarily",
    "temporary failure",
    " attempts",
    "was aborted after",
    "was not delivered within",
];
