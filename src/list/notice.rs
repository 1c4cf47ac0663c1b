//! Automatic mail: the one table of what we send by ourselves, to whom, and how often at most; and such a mail as bytes.
//!
//! Pure. The texts are templates in `templates/mail`. A mail of this kind follows RFC 3834: it says that it is automatic, it is
//! answered by nobody (null return path), and it holds no word of whoever caused it, so that nobody can send messages with it.

mod caps;
mod manual;
mod moderation;
mod news;
mod not_taken;
mod own_held;
mod rehearsal;
mod report;
mod text;

#[cfg(test)]
mod tests;

use std::net::IpAddr;

pub use caps::{
    ANSWER, ASK, BOUNCES, Cap, HELP, MODERATORS, ON_REQUEST, REHEARSED, REJECTED, REMOVALS,
    REPORTED, SIGN_IN, STEERED, TELL, WAVES,
};
pub use manual::{Audience, audience, manual};
pub use moderation::{
    Held, Moderated, REMINDERS, Rejected, Reminder, Removal, Steered, Waiting, excerpt, listed,
    mails, missing, one_line, which_mail,
};
pub use news::{Happened, News, What, untold};
pub use not_taken::{NOT_TAKEN, NotTaken};
pub use own_held::{OWN_HELD, OwnHeld, time_held, why_held};
pub use rehearsal::{Rehearsal, Untried, beside, wrap};
pub use report::{Arrived, Case, Next, Report, ReportWish, next};
pub use text::{Confirm, Disabled, Done, Help, Paused, Probe, SignIn, Storm, Trouble, Welcome};

use super::header;
use crate::mail::Message;
use crate::types::{Address, MessageId, Timestamp};
use crate::verdict::{Level, Verdict};

/// What an automatic mail is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Event {
    /// Somebody wants an address to join, leave, pause or go on.
    Confirm,
    /// A member joined.
    Joined,
    /// A command of a member was carried out.
    Done,
    /// A command had nothing to do.
    Nothing,
    /// Help was asked for.
    Help,
    /// Something at the site turned bad, or is well again.
    Trouble,
    /// A mail waits for a moderator.
    Held,
    /// Many do.
    Waiting,
    /// Some wait for a day or longer.
    Reminder,
    /// A moderator's answer was carried out, or was not.
    Moderated,
    /// Wishes for a series were answered.
    Steered,
    /// A mail waits for a moderator: its author hears it.
    OwnHeld,
    /// A list refused a mail that another one took: its author hears it.
    NotTaken,
    /// A held mail was rejected with words.
    Rejected,
    /// A list was tried out.
    Rehearsed,
    /// Patches came: what became of them.
    Reported,
    /// Patches came that do not apply.
    Unfit,
    /// The state of patches was set, or they landed: their author wants to hear it.
    News,
    /// An author wishes that a mail of his is removed: what came of it.
    OwnRemoval,
    /// The same: a moderator decides.
    RemovalWished,
    /// Too many copies for an address came back: does mail arrive there?
    Probe,
    /// An address gets no copies any more, as they came back.
    Disabled,
    /// A complaint that nobody vouches for stopped the copies of a list.
    Paused,
    /// Copies to a whole destination come back.
    Storm,
    /// Somebody wants to sign in.
    SignIn,
}

/// A row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    /// The event.
    pub event: Event,
    /// What it is for, in a word or two: shown where the queue is.
    pub purpose: &'static str,
    /// When it is sent.
    pub when: &'static str,
    /// Who gets it.
    pub who: &'static str,
    /// Whether it is sent unless somebody wished otherwise.
    pub default: &'static str,
    /// How often at most.
    pub cap: Cap,
    /// It answers one mail (`auto-replied`), else it tells (`auto-generated`; RFC 3834 section 5).
    pub answers: bool,
}

/// All automatic mail there is.
pub const RULES: [Rule; 25] = [
    Rule {
        event: Event::Confirm,
        purpose: "confirmation",
        when: "somebody asks, by mail or on the page, that an address joins, leaves, pauses or goes on, and nothing proves yet that it is the owner",
        who: "that address",
        default: "always",
        cap: ASK,
        answers: true,
    },
    Rule {
        event: Event::Joined,
        purpose: "welcome",
        when: "a confirmation made an address a member",
        who: "the new member",
        default: "always",
        cap: ANSWER,
        answers: true,
    },
    Rule {
        event: Event::Done,
        purpose: "command done",
        when: "a command by mail was carried out: left, paused, gone on; or two addresses were linked",
        who: "the member",
        default: "always",
        cap: ANSWER,
        answers: true,
    },
    Rule {
        event: Event::Nothing,
        purpose: "nothing to do",
        when: "a command came by mail and the address is no member",
        who: "the sender, if authenticated",
        default: "always",
        cap: ANSWER,
        answers: true,
    },
    Rule {
        event: Event::Help,
        purpose: "help",
        when: "a mail came to list+help",
        who: "the sender, if authenticated",
        default: "always",
        cap: HELP,
        answers: true,
    },
    Rule {
        event: Event::Trouble,
        purpose: "trouble",
        when: "the server sees that something turned bad, such as a full disk, a queue that does not move, an old certificate; and when it is well again. Each thing once a day",
        who: "the operator that the settings name",
        default: "always",
        cap: TELL,
        answers: false,
    },
    Rule {
        event: Event::Held,
        purpose: "held mail",
        when: "a mail or series is held; the first five of those that come within five seconds",
        who: "the list's moderators",
        default: "always",
        cap: MODERATORS,
        answers: false,
    },
    Rule {
        event: Event::Waiting,
        purpose: "held mails",
        when: "more are held at once than are told one by one",
        who: "the list's moderators",
        default: "always",
        cap: WAVES,
        answers: false,
    },
    Rule {
        event: Event::Reminder,
        purpose: "held mail reminder",
        when: "mail is held for a day or longer: once a day, with how much of it is dropped within three days",
        who: "the list's moderators",
        default: "always",
        cap: REMINDERS,
        answers: false,
    },
    Rule {
        event: Event::Moderated,
        purpose: "moderation done",
        when: "a moderator answered to a notice",
        who: "that moderator, authenticated",
        default: "always",
        cap: MODERATORS,
        answers: true,
    },
    Rule {
        event: Event::Steered,
        purpose: "wish answered",
        when: "an authenticated mail asks for a state or a delegate of a patch series",
        who: "its sender",
        default: "always",
        cap: STEERED,
        answers: true,
    },
    Rule {
        event: Event::OwnHeld,
        purpose: "own mail held",
        when: "a mail is held for another reason than a header rule or a spam filter, where the list tells that (`--tell-held`)",
        who: "its author, if authenticated, and if it names the list in To or Cc",
        default: "always",
        cap: OWN_HELD,
        answers: true,
    },
    Rule {
        event: Event::NotTaken,
        purpose: "own mail refused",
        when: "one SMTP transaction brings a mail to several lists, and this one refuses what another one takes: the client heard \"taken\"",
        who: "its author, if authenticated, and if it names the list in To or Cc",
        default: "always",
        cap: NOT_TAKEN,
        answers: true,
    },
    Rule {
        event: Event::Rejected,
        purpose: "rejection",
        when: "a moderator rejects a held mail with words",
        who: "its author, if authenticated",
        default: "always",
        cap: REJECTED,
        answers: true,
    },
    Rule {
        event: Event::Rehearsed,
        purpose: "rehearsal",
        when: "mail came to list+check: once for a series, as soon as it is complete or nothing more came of it for 20 seconds",
        who: "its author, authenticated",
        default: "always",
        cap: REHEARSED,
        answers: true,
    },
    Rule {
        event: Event::Reported,
        purpose: "patches came",
        when: "patches were filed: as soon as they were tried, or when some are missing for 15 minutes. It says whether they are complete and apply, and where they are shown",
        who: "their author, authenticated",
        default: "the first time; each time or never by choice",
        cap: REPORTED,
        answers: true,
    },
    Rule {
        event: Event::Unfit,
        purpose: "patches do not apply",
        when: "patches were filed and tried, and do not fit where they belong",
        who: "their author, authenticated",
        default: "always; never by choice",
        cap: REPORTED,
        answers: true,
    },
    Rule {
        event: Event::News,
        purpose: "patches decided",
        when: "somebody else sets the state of patches, or they land in a branch that is followed; what comes within some seconds is one mail",
        who: "their author, authenticated",
        default: "never; by choice",
        cap: REPORTED,
        answers: false,
    },
    Rule {
        event: Event::OwnRemoval,
        purpose: "own mail",
        when: "a mail came to list+remove",
        who: "its author, authenticated",
        default: "always",
        cap: ANSWER,
        answers: true,
    },
    Rule {
        event: Event::RemovalWished,
        purpose: "removal wished",
        when: "an author wishes that a mail of his is removed, and the list lets moderators decide",
        who: "the list's moderators",
        default: "always",
        cap: REMOVALS,
        answers: false,
    },
    Rule {
        event: Event::Probe,
        purpose: "probe",
        when: "copies for an address came back on three days or more, with five points or more",
        who: "that address",
        default: "always",
        cap: BOUNCES,
        answers: false,
    },
    Rule {
        event: Event::Disabled,
        purpose: "bounce warning",
        when: "the probe came back and the address gets no copies any more: at once, after 7 and after 14 days",
        who: "that address",
        default: "always",
        cap: BOUNCES,
        answers: false,
    },
    Rule {
        event: Event::Paused,
        purpose: "copies stopped",
        when: "a complaint came about a copy, and it is neither from the member nor from the member's own mail system: the copies of that list stop",
        who: "that member",
        default: "always",
        cap: BOUNCES,
        answers: false,
    },
    Rule {
        event: Event::Storm,
        purpose: "bounce storm",
        when: "copies for five members or more of one destination, and for a fifth of its members, come back within an hour with one code",
        who: "the operator",
        default: "if one is named",
        cap: BOUNCES,
        answers: false,
    },
    Rule {
        event: Event::SignIn,
        purpose: "sign-in",
        when: "somebody wants to sign in on the pages with an address that is known here: a member's, an author's, a moderator's, the operator's",
        who: "that address",
        default: "always",
        cap: SIGN_IN,
        answers: false,
    },
];

/// The row of an event.
pub fn rule(event: Event) -> &'static Rule {
    let found = RULES.iter().find(|r| r.event == event);
    found.expect("the table has every event, as a test shows")
}

/// The mail that is answered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answered {
    /// Its name, then its ancestors, the nearest first.
    pub ids: Vec<MessageId>,
}

impl From<&Message> for Answered {
    fn from(message: &Message) -> Answered {
        // A name that we derived is known to nobody.
        let own = Some(&message.message_id).filter(|id| !id.as_str().ends_with("@derived.invalid"));
        let parents = message.parents.iter().filter(|_| own.is_some());
        Answered {
            ids: own.into_iter().chain(parents).cloned().collect(),
        }
    }
}

/// An automatic mail in words.
#[derive(Debug, Clone)]
pub struct Draft<'a> {
    /// What it is about.
    pub event: Event,
    /// Posting address of the list that it speaks for; `None`: the site.
    pub list: Option<&'a Address>,
    /// Name of this machine in the mail system.
    pub hostname: &'a str,
    /// To whom.
    pub to: &'a Address,
    /// Our own words, and names that were checked when they were made: of whoever caused it nothing, unless he alone gets it.
    pub subject: &'a str,
    /// A rendered template.
    pub text: &'a str,
    /// Where an answer goes; `None`: to the people who run the list or site.
    pub reply_to: Option<&'a Address>,
    /// What it answers.
    pub answered: Option<&'a Answered>,
    /// When.
    pub now: Timestamp,
    /// What no other mail of ours has.
    pub unique: u128,
}

/// How many ancestors are named: more makes the field long and helps no reader.
const MAX_REFERENCES: usize = 10;
/// A line of a header holds no more (RFC 5322 section 2.1.1), less what stands around it.
const MAX_VALUE: usize = 900;

/// The mail with LF line ends; `None` if one of the addresses cannot stand in a header as it is.
pub fn render(draft: &Draft<'_>) -> Option<Vec<u8>> {
    let from = match draft.list {
        Some(list) => with_suffix(list, "+owner")?,
        None => format!("postmaster@{}", draft.hostname).parse().ok()?,
    };
    let addresses = [Some(draft.to), Some(&from), draft.reply_to];
    if !addresses.into_iter().flatten().all(is_plain) {
        return None;
    }
    let name = match draft.list {
        Some(list) => format!("{} list", list.local()),
        None => "Postmaster".to_owned(),
    };
    let rule = rule(draft.event);
    let auto = match rule.answers && draft.answered.is_some() {
        true => "auto-replied",
        false => "auto-generated",
    };
    let mut out = String::new();
    let mut field = |name: &str, value: &str| {
        let value: String = value.chars().filter(|c| !c.is_control()).collect();
        out.push_str(&format!("{name}: {value}\n"));
    };
    field("From", &format!("{name} <{from}>"));
    field("To", &draft.to.to_string());
    if let Some(to) = draft.reply_to {
        field("Reply-To", &to.to_string());
    }
    field("Subject", &unstructured(draft.subject));
    field("Date", &draft.now.rfc5322());
    field(
        "Message-ID",
        &format!("<{:032x}.auto@{}>", draft.unique, from.domain()),
    );
    let ids: Vec<&MessageId> = draft.answered.map_or(Vec::new(), |a| {
        let sound = a.ids.iter().filter(|id| is_sound(id));
        sound.take(MAX_REFERENCES).collect()
    });
    if let Some(first) = ids.first() {
        field("In-Reply-To", &format!("<{first}>"));
    }
    field("Auto-Submitted", auto);
    // Exchange and its kin answer mail that says this with no automatic mail of theirs.
    field("X-Auto-Response-Suppress", "All");
    if let Some(list) = draft.list {
        field("List-Id", &format!("<{}>", header::list_id(&list.key())));
    }
    field("MIME-Version", "1.0");
    field("Content-Type", "text/plain; charset=utf-8");
    let encoding = if draft.text.is_ascii() {
        "7bit"
    } else {
        "8bit"
    };
    field("Content-Transfer-Encoding", encoding);
    if !ids.is_empty() {
        let ids: Vec<String> = ids.iter().rev().map(|id| format!("<{id}>")).collect();
        out.push_str(&format!("References: {}\n", ids.join("\n ")));
    }
    out.push('\n');
    for line in draft.text.trim().lines() {
        let line: String = line.chars().filter(|c| !c.is_control()).collect();
        out.push_str(line.trim_end());
        out.push('\n');
    }
    Some(out.into_bytes())
}

/// `dev+owner@x.org` for `dev@x.org`; `None` where it does not fit an address.
pub fn with_suffix(list: &Address, suffix: &str) -> Option<Address> {
    format!("{}{suffix}@{}", list.local(), list.domain())
        .parse()
        .ok()
}

/// Whether an address is made of what needs no quotes and no extension (RFC 5321 section 4.1.2: a dot-string at a
/// domain). To others nothing automatic is sent.
pub fn is_plain(address: &Address) -> bool {
    let atom = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(c);
    let local = address.local();
    let dots = !local.starts_with('.') && !local.ends_with('.') && !local.contains("..");
    let host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    local.chars().all(atom) && dots && address.domain().chars().all(host)
}

/// Whether a foreign Message-ID can stand in our header: it may hold what it likes in theirs.
fn is_sound(id: &MessageId) -> bool {
    let id = id.as_str();
    id.contains('@')
        && id
            .bytes()
            .all(|b| (33..127).contains(&b) && !b"<>\\\"".contains(&b))
}

/// A Subject: as it is if it is short plain ASCII, else in encoded words (RFC 2047), folded.
fn unstructured(text: &str) -> String {
    let clean: String = text.chars().filter(|c| !c.is_control()).collect();
    let clean = &clean[..clean.floor_char_boundary(MAX_VALUE)];
    if clean.is_ascii() && !clean.contains("=?") {
        return clean.to_owned();
    }
    header::encoded_words(clean).join(" ")
}

/// Why a mail must not be answered by a machine; `None` if it may be (RFC 3834 section 2). `is_ours` knows the addresses of lists here.
///
/// The same mails carry out no command: a machine wrote them.
pub fn unanswerable(
    message: &Message,
    sender: Option<&Address>,
    is_ours: impl Fn(&Address) -> bool,
) -> Option<&'static str> {
    let Some(sender) = sender else {
        return Some("the null sender");
    };
    let says = |name: &str, words: &[&str]| {
        let values = message
            .headers
            .iter()
            .filter(|(n, _)| n.eq_ignore_ascii_case(name));
        let mut firsts = values.map(|(_, v)| {
            let first = v.split([';', '(', ',']).next().unwrap_or_default();
            first.trim().to_ascii_lowercase()
        });
        firsts.any(|v| words.contains(&v.as_str()))
    };
    let has = |start: &str| {
        let mut names = message.headers.iter().map(|(n, _)| n.to_ascii_lowercase());
        names.any(|n| n.starts_with(start))
    };
    if has("auto-submitted") && !says("auto-submitted", &["no"]) {
        return Some("an automatic mail");
    }
    if says("precedence", &["bulk", "junk", "list"]) || has("list-") {
        return Some("a mail to many");
    }
    if has("x-auto-response-suppress") {
        return Some("a mail that wants no automatic answer");
    }
    let author = message.author().address.parse::<Address>();
    let both = [Some(sender), author.as_ref().ok()];
    if both.into_iter().flatten().any(is_role) {
        return Some("a mail from a machine");
    }
    let mut both = both.into_iter().flatten();
    both.any(is_ours).then_some("a mail from a list of ours")
}

/// Names that machines send from (RFC 3834 section 2; RFC 2142).
fn is_role(address: &Address) -> bool {
    let local = address.local().to_ascii_lowercase();
    matches!(
        local.as_str(),
        "mailer-daemon" | "postmaster" | "noreply" | "no-reply"
    ) || local.starts_with("owner-")
        || local.ends_with("-request")
        || local.ends_with("-bounces")
        || local.ends_with("-owner")
}

/// Whether DMARC's owner of the From domain wants this mail refused, as nothing speaks for it: then it is answered by nobody
/// and commands nothing (class D of the transformation policy).
pub fn is_forbidden(verdict: &Verdict) -> bool {
    let strict = matches!(verdict.policy.as_deref(), Some("reject" | "quarantine"));
    strict && matches!(verdict.level, Level::None | Level::Unaligned)
}

/// An address as it is counted: lower case, without what a plus sign adds, and without the dots that Gmail ignores, so that
/// one mailbox is one address.
pub fn counted(address: &Address) -> String {
    let key = address.key();
    let (local, domain) = key.rsplit_once('@').unwrap_or((&key, ""));
    let base = match local.split_once('+') {
        Some((base, _)) if !base.is_empty() => base,
        _ => local,
    };
    match domain {
        "gmail.com" | "googlemail.com" => format!("{}@gmail.com", base.replace('.', "")),
        _ => format!("{base}@{domain}"),
    }
}

/// A network as it is counted: an IPv4 /24, an IPv6 /64; empty where nobody knows from where.
pub fn counted_source(ip: Option<IpAddr>) -> String {
    match ip.map(|ip| ip.to_canonical()) {
        None => String::new(),
        Some(IpAddr::V4(ip)) => {
            let [a, b, c, _] = ip.octets();
            format!("{a}.{b}.{c}.0/24")
        }
        Some(IpAddr::V6(ip)) => {
            let [a, b, c, d, ..] = ip.segments();
            format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
        }
    }
}
