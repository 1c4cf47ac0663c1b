//! What people ask of a list by mail, and what proves that they may.
//!
//! Pure. A command is told by the address it was sent to; nothing is read out of the mail's text, so that no mail that was meant
//! otherwise does anything. Only `list-request@`, as Mailman and Majordomo have it, takes its word from the subject.

use super::address::Target;
use super::notice::is_forbidden;
use super::token::{self, Confirmation};
use crate::mail::Message;
use crate::session::{Protocol, Reply};
use crate::types::{Address, MemberId, Timestamp};
use crate::verdict::{Level, Verdict, from_domain};

/// A change of a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// To be a member and get copies.
    Subscribe,
    /// To be no member any more.
    Unsubscribe,
    /// To get no copies for the time being.
    Nomail,
    /// To get copies again.
    Mail,
    /// To get no copies of some posts, or of all again.
    Spare(Spare),
    /// That an address is the same person as another.
    Link,
    /// What an unauthenticated mail wishes for a patch series: it is its author's.
    Steer,
}

/// Of which posts a member gets a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spare {
    /// None of those that name the member in To or Cc.
    NoDupes,
    /// Of those as well.
    Dupes,
    /// None of the member's own.
    NoOwn,
    /// Of those as well.
    Own,
}

impl Spare {
    /// The word that undoes it.
    pub fn opposite(self) -> &'static str {
        let other = match self {
            Spare::NoDupes => Spare::Dupes,
            Spare::Dupes => Spare::NoDupes,
            Spare::NoOwn => Spare::Own,
            Spare::Own => Spare::NoOwn,
        };
        Wish::Spare(other).as_str()
    }

    /// What it means for a member of a list.
    pub fn says(self, address: &str, list: &Address) -> String {
        match self {
            Spare::NoDupes => {
                format!("{address} gets no copy of a mail to {list} that names it in To or Cc.")
            }
            Spare::Dupes => format!(
                "{address} gets a copy of each mail to {list}, also if that names it in To or Cc."
            ),
            Spare::NoOwn => format!("{address} gets no copies of its own mail to {list}."),
            Spare::Own => format!("{address} gets copies of its own mail to {list}, too."),
        }
    }
}

impl Wish {
    /// As it stands in addresses, and as it is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Wish::Subscribe => "subscribe",
            Wish::Unsubscribe => "unsubscribe",
            Wish::Nomail => "nomail",
            Wish::Mail => "mail",
            Wish::Spare(Spare::NoDupes) => "nodupes",
            Wish::Spare(Spare::Dupes) => "dupes",
            Wish::Spare(Spare::NoOwn) => "noown",
            Wish::Spare(Spare::Own) => "own",
            Wish::Link => "link",
            Wish::Steer => "steer",
        }
    }

    /// Reads what [`Wish::as_str`] gives.
    pub fn parse(text: &str) -> Option<Wish> {
        let all = [
            Wish::Subscribe,
            Wish::Unsubscribe,
            Wish::Nomail,
            Wish::Mail,
            Wish::Spare(Spare::NoDupes),
            Wish::Spare(Spare::Dupes),
            Wish::Spare(Spare::NoOwn),
            Wish::Spare(Spare::Own),
            Wish::Link,
            Wish::Steer,
        ];
        all.into_iter().find(|wish| wish.as_str() == text)
    }

    /// What an address is asked to confirm: `join the list dev@x.org`.
    pub fn words(self, list: &str) -> String {
        match self {
            Wish::Subscribe => format!("join the list {list}"),
            Wish::Unsubscribe => format!("leave the list {list}"),
            Wish::Nomail => format!("get no more copies of {list} for now"),
            Wish::Mail => format!("get copies of {list} again"),
            Wish::Spare(Spare::NoDupes) => {
                format!("get no copy of mail to {list} that goes to this address anyway")
            }
            Wish::Spare(Spare::Dupes) => {
                format!("get a copy of mail to {list} also where it goes to this address anyway")
            }
            Wish::Spare(Spare::NoOwn) => format!("get no copies of own mail to {list}"),
            Wish::Spare(Spare::Own) => format!("get copies of own mail to {list}, too"),
            Wish::Link => "be known here as one person with another address".to_owned(),
            Wish::Steer => format!("change the state of a patch series of {list}"),
        }
    }
}

/// What a mail asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// A change for the author's address.
    Wish(Wish),
    /// A text about the list.
    Help,
    /// What was asked with a token is confirmed.
    Confirm(Confirmation),
    /// The subscription that the token names ends.
    Leave(MemberId),
    /// The mail that is answered is to be removed, as its author wishes.
    Remove,
    /// What would become of the mail itself is said, and nothing done with it.
    Rehearse,
}

impl Command {
    /// In a word: what it is remembered by.
    pub fn word(self) -> &'static str {
        match self {
            Command::Wish(wish) => wish.as_str(),
            Command::Help => "help",
            Command::Confirm(_) => "confirm",
            Command::Leave(_) => "leave",
            Command::Remove => "remove",
            Command::Rehearse => "rehearse",
        }
    }
}

/// The command that an address asks for, or the subject at `list-request@`; `None` where none is asked for, or with a token that is not ours.
pub fn read(target: &Target, subject: &str, key: &[u8]) -> Option<Command> {
    match target {
        Target::Request("request") => Some(by_subject(subject)),
        Target::Request("help") => Some(Command::Help),
        Target::Request("remove") => Some(Command::Remove),
        Target::Check => Some(Command::Rehearse),
        // Two of the words stand in no address.
        Target::Request("link" | "steer") => None,
        Target::Request(word) => Wish::parse(word).map(Command::Wish),
        Target::Answer("confirm", text) => token::parse_confirm(key, text).map(Command::Confirm),
        Target::Answer("unsubscribe", text) => token::parse_leave(key, text).map(Command::Leave),
        _ => None,
    }
}

/// Words in the subject that mean a command; `set delivery off` and the like of other programs get help.
const SUBJECTS: [(&str, Wish); 10] = [
    ("subscribe", Wish::Subscribe),
    ("join", Wish::Subscribe),
    ("unsubscribe", Wish::Unsubscribe),
    ("leave", Wish::Unsubscribe),
    ("nomail", Wish::Nomail),
    ("mail", Wish::Mail),
    ("nodupes", Wish::Spare(Spare::NoDupes)),
    ("dupes", Wish::Spare(Spare::Dupes)),
    ("noown", Wish::Spare(Spare::NoOwn)),
    ("own", Wish::Spare(Spare::Own)),
];

/// By the first word; whatever is no command asks for help.
fn by_subject(subject: &str) -> Command {
    let word = subject.split_whitespace().next().unwrap_or_default();
    let known = SUBJECTS
        .iter()
        .find(|(name, _)| word.eq_ignore_ascii_case(name));
    known.map_or(Command::Help, |(_, wish)| Command::Wish(*wish))
}

/// A mail that asks.
#[derive(Debug, Clone, Copy)]
pub struct Asking<'a> {
    /// The mail.
    pub message: &'a Message,
    /// Who speaks for it.
    pub verdict: &'a Verdict,
    /// Envelope sender.
    pub sender: &'a Address,
    /// The address that it was sent to.
    pub recipient: &'a Address,
    /// How it came.
    pub protocol: Protocol,
    /// When.
    pub now: Timestamp,
}

/// What may be done for who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leave {
    /// It is the author, without doubt: what he asks of his own address is done at once.
    AtOnce(Address),
    /// It is the author, but perhaps the mail was meant for somebody else: he may be answered.
    Answer(Address),
    /// Nobody knows: only the address itself may be asked.
    Ask(Address),
}

impl Leave {
    /// The author.
    pub fn address(&self) -> &Address {
        match self {
            Leave::AtOnce(address) | Leave::Answer(address) | Leave::Ask(address) => address,
        }
    }
}

/// A signed mail that is older commands nothing: whoever has it could send it again. Records of what was done are kept for longer.
const FRESH: i64 = 7 * 86_400;
/// Clocks that go ahead.
const AHEAD: i64 = 2 * 86_400;

/// Who asks and how surely; the error is the reply for SMTP and a word for the log.
pub fn judge(asking: &Asking<'_>) -> Result<Leave, (Reply, &'static str)> {
    let refuse = |enhanced, text: &str, why| Err((Reply::new(550, enhanced, text), why));
    let message = asking.message;
    if is_forbidden(asking.verdict) {
        let text = "Nothing proves that this mail is by the author in From, and that domain asks to refuse such mail (DMARC)";
        return refuse("5.7.26", text, "fails DMARC");
    }
    let author = message.author().address.parse::<Address>();
    let (Ok(author), true) = (author, from_domain(message).is_some()) else {
        let text = "The From field of such a mail has one address: the one that it is about";
        return refuse("5.6.0", text, "no author");
    };
    if asking.verdict.level == Level::Aligned {
        return Ok(match is_for(asking) {
            true => Leave::AtOnce(author),
            false => Leave::Answer(author),
        });
    }
    if author.key() != asking.sender.key() {
        let text = "The address in From is not the envelope sender, and nothing proves that they are the same person; write from your own address";
        return refuse("5.7.1", text, "sender and author differ");
    }
    Ok(Leave::Ask(author))
}

/// Whether the author signed that this mail is for this address, and lately. The envelope is nobody's word: any mail that
/// he ever signed can be sent here again by others.
fn is_for(asking: &Asking<'_>) -> bool {
    names_this(asking, |name| asking.verdict.signs(asking.message, name))
}

/// Whether nobody but the author can have sent this mail to this address: he signed that, and lately, or it names the address and
/// came from his domain's own server.
pub fn is_sent_here(asking: &Asking<'_>) -> bool {
    names_this(asking, |name| asking.verdict.holds(name))
}

/// Whether a mail of these days names this address in a field that is the author's own word, as `is_own` says of its name.
fn names_this(asking: &Asking<'_>, is_own: impl Fn(&str) -> bool) -> bool {
    let message = asking.message;
    let key = asking.recipient.key();
    let named = |boxes: &[crate::mail::Mailbox]| {
        let mut addresses = boxes
            .iter()
            .filter_map(|m| m.address.parse::<Address>().ok());
        addresses.any(|a| a.key() == key)
    };
    let own = |name, boxes| named(boxes) && is_own(name);
    is_fresh(message, asking.now) && (own("to", &message.to) || own("cc", &message.cc))
}

/// Whether a mail that comes now was written lately: an older one is obeyed no more.
pub fn is_fresh(message: &Message, now: Timestamp) -> bool {
    message
        .date
        .is_some_and(|date| date >= now.plus_secs(-FRESH) && date <= now.plus_secs(AHEAD))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail;
    use crate::verdict::{Outcome, Signature};

    const NOW: Timestamp = Timestamp::from_secs(1_774_000_000);

    #[test]
    fn addresses_say_what_is_asked() {
        let check =
            |target: Target, expected| assert_eq!(read(&target, "unsubscribe", b"key"), expected);
        let wish = |word| Target::Request(word);
        check(wish("subscribe"), Some(Command::Wish(Wish::Subscribe)));
        check(wish("unsubscribe"), Some(Command::Wish(Wish::Unsubscribe)));
        check(wish("nomail"), Some(Command::Wish(Wish::Nomail)));
        check(wish("mail"), Some(Command::Wish(Wish::Mail)));
        for spare in [Spare::NoDupes, Spare::Dupes, Spare::NoOwn, Spare::Own] {
            let asked = Wish::Spare(spare);
            assert_eq!(Wish::parse(asked.as_str()), Some(asked));
            check(wish(asked.as_str()), Some(Command::Wish(asked)));
        }
        check(wish("help"), Some(Command::Help));
        check(wish("remove"), Some(Command::Remove));
        check(Target::Owner, None);
        check(Target::Post, None);
        check(Target::Check, Some(Command::Rehearse));
        let leave = token::render_leave(b"key", MemberId(3)).expect("in range");
        check(
            Target::Answer("unsubscribe", leave.clone()),
            Some(Command::Leave(MemberId(3))),
        );
        check(Target::Answer("confirm", leave.clone()), None);
        check(Target::Answer("mod", leave), None);
    }

    #[test]
    fn the_subject_counts_at_the_address_for_requests_alone() {
        let check = |subject: &str, expected| {
            let target = Target::Request("request");
            assert_eq!(read(&target, subject, b"key"), Some(expected), "{subject}");
        };
        check("subscribe", Command::Wish(Wish::Subscribe));
        check("  Join dev ", Command::Wish(Wish::Subscribe));
        check(
            "UNSUBSCRIBE address=eve@x.org",
            Command::Wish(Wish::Unsubscribe),
        );
        check("leave", Command::Wish(Wish::Unsubscribe));
        check("nomail", Command::Wish(Wish::Nomail));
        check("mail", Command::Wish(Wish::Mail));
        check("nodupes", Command::Wish(Wish::Spare(Spare::NoDupes)));
        check("own", Command::Wish(Wish::Spare(Spare::Own)));
        for other in [
            "",
            "help",
            "Re: subscribe",
            "unsubscribed?",
            "link",
            "steer",
            "set delivery off",
        ] {
            check(other, Command::Help);
        }
    }

    /// Judges a mail of `head` by `sender` to `dev+nomail@x.org`; signed fields: `h`, or nothing passes.
    #[track_caller]
    fn check(head: &str, sender: &str, h: Option<&str>, expected: &str) {
        let text = format!("Date: {}\n{head}\n\nx\n", NOW.rfc5322());
        let message = mail::parse(text.as_bytes());
        let mut verdict = Verdict {
            level: Level::None,
            ..Verdict::default()
        };
        if let Some(h) = h {
            verdict.level = Level::Aligned;
            verdict.signatures.push(Signature {
                domain: "y.org".to_owned(),
                selector: "s".to_owned(),
                outcome: Outcome::Pass,
                detail: String::new(),
                fields: h.split(' ').map(str::to_owned).collect(),
                partial: false,
                aligned: true,
                proof: String::new(),
            });
        }
        let asking = Asking {
            message: &message,
            verdict: &verdict,
            sender: &sender.parse().expect("an address"),
            recipient: &"dev+nomail@x.org".parse().expect("an address"),
            protocol: Protocol::Smtp,
            now: NOW,
        };
        let got = match judge(&asking) {
            Ok(Leave::AtOnce(a)) => format!("at once {a}"),
            Ok(Leave::Answer(a)) => format!("answer {a}"),
            Ok(Leave::Ask(a)) => format!("ask {a}"),
            Err((reply, _)) => format!("{} {}", reply.code, reply.enhanced),
        };
        assert_eq!(got, expected, "{head} from {sender} signed {h:?}");
    }

    const ALL: Option<&str> = Some("from subject date to cc in-reply-to references");

    #[test]
    fn only_what_the_author_signed_for_this_address_is_done_at_once() {
        let to = "From: ana@y.org\nTo: Dev+Nomail@x.org";
        check(to, "ana@y.org", ALL, "at once ana@y.org");
        check(to, "bounces@z.org", ALL, "at once ana@y.org");
        check(
            "From: ana@y.org\nCc: b@c.d, dev+nomail@x.org",
            "ana@y.org",
            ALL,
            "at once ana@y.org",
        );
        check(
            "From: ana@y.org\nTo: dev@x.org",
            "ana@y.org",
            ALL,
            "answer ana@y.org",
        );
        check("From: ana@y.org", "ana@y.org", ALL, "answer ana@y.org");
        check(
            to,
            "ana@y.org",
            Some("from date subject"),
            "answer ana@y.org",
        );
        let two = "To: dev+nomail@x.org\nFrom: ana@y.org\nTo: friend@y.org";
        check(
            two,
            "ana@y.org",
            Some("from date subject to"),
            "answer ana@y.org",
        );
        check(to, "ana@y.org", None, "ask ana@y.org");
        check(to, "Ana@Y.org", None, "ask ana@y.org");
    }

    #[test]
    fn an_old_signature_does_nothing_at_once() {
        for (days, expected) in [(6, true), (8, false), (-1, true), (-3, false)] {
            let date = NOW.plus_secs(-days * 86_400).rfc5322();
            let text = format!("Date: {date}\nFrom: a@y.org\nTo: dev+nomail@x.org\n\nx\n");
            let message = mail::parse(text.as_bytes());
            let signature = Signature {
                domain: "y.org".to_owned(),
                selector: "s".to_owned(),
                outcome: Outcome::Pass,
                detail: String::new(),
                fields: ["from", "date", "subject", "to"]
                    .map(str::to_owned)
                    .to_vec(),
                partial: false,
                aligned: true,
                proof: String::new(),
            };
            let verdict = Verdict {
                level: Level::Aligned,
                signatures: vec![signature],
                ..Verdict::default()
            };
            let address: Address = "dev+nomail@x.org".parse().expect("an address");
            let asking = Asking {
                message: &message,
                verdict: &verdict,
                sender: &address,
                recipient: &address,
                protocol: Protocol::Smtp,
                now: NOW,
            };
            let judged = judge(&asking).expect("it is taken");
            assert_eq!(matches!(judged, Leave::AtOnce(_)), expected, "{days} days");
        }
    }

    #[test]
    fn who_asks_in_anothers_name_is_refused() {
        check("From: victim@y.org", "eve@z.org", None, "550 5.7.1");
        check("From: a@y.org, b@y.org", "a@y.org", None, "550 5.6.0");
        check("From: a@y.org\nFrom: b@y.org", "a@y.org", None, "550 5.6.0");
        check("Subject: x", "a@y.org", None, "550 5.6.0");
    }
}
