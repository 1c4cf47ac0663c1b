//! What a mail says that came back to a return path: what failed, and why.
//!
//! Pure. Delivery reports by RFC 3464 are read field by field; servers that write prose are read by their codes and words. Whose copy
//! came back is never read here: that is what the token of the return path says ([`super::token`]).
//! Everything in such a mail is a stranger's: what is looked at is bounded, and what is kept is one clean line.

mod fields;
mod judge;
mod prose;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;

use crate::mail::{self, Message, Part};
use crate::verdict::{self, Level, Verdict};

/// What came back, by what it means for a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// There is no such mailbox or domain, or it takes no mail any more.
    Gone,
    /// Another lasting failure, or one whose reason cannot be read.
    Failed,
    /// The mailbox is full.
    Full,
    /// Given up after a time of passing trouble.
    Expired,
    /// Refused for what was sent or for who sent it: no fault of the member.
    Policy,
    /// Not delivered yet; the server goes on trying.
    Delayed,
    /// A program answers in a person's absence (RFC 3834).
    AutoReply,
    /// The member called it spam (RFC 5965).
    Complaint,
    /// None of these: no bounce.
    Other,
}

const CLASSES: [(Class, &str); 9] = [
    (Class::Gone, "gone"),
    (Class::Failed, "failed"),
    (Class::Full, "full"),
    (Class::Expired, "expired"),
    (Class::Policy, "policy"),
    (Class::Delayed, "delayed"),
    (Class::AutoReply, "auto-reply"),
    (Class::Complaint, "complaint"),
    (Class::Other, "other"),
];

impl Class {
    /// The class as it is stored and shown.
    pub fn word(self) -> &'static str {
        let found = CLASSES.iter().find(|(class, _)| *class == self);
        found.map_or("other", |(_, word)| word)
    }

    /// Reads [`Class::word`].
    pub fn parse(word: &str) -> Option<Class> {
        let found = CLASSES.iter().find(|(_, known)| *known == word);
        found.map(|(class, _)| *class)
    }

    /// Whether a copy did not arrive, for whatever reason.
    pub fn is_failure(self) -> bool {
        use Class::{Expired, Failed, Full, Gone, Policy};
        matches!(self, Gone | Failed | Full | Expired | Policy)
    }

    /// How much it says against a mailbox. Of several verdicts on one copy the mildest counts: an address may stand for many.
    fn severity(self) -> u8 {
        match self {
            Class::Gone => 4,
            Class::Failed => 3,
            Class::Full => 2,
            Class::Expired => 1,
            _ => 0,
        }
    }
}

/// An enhanced status code (RFC 3463): class, subject, detail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Code(pub u16, pub u16, pub u16);

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

/// What a returned mail says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// What it means.
    pub class: Class,
    /// The code that was found: `5.1.1`, else `550`, else the class's word.
    pub code: String,
    /// The remote server's words: one line of at most 400 characters without control characters; may be empty.
    pub text: String,
    /// Whom the report names as the last recipient, if it does. Not trusted.
    pub recipient: Option<String>,
    /// Whom it names as the first one. Not trusted.
    pub original: Option<String>,
}

/// Characters of remote text that are kept.
const KEPT: usize = 400;
/// Bytes of a part that are looked at; the copy of our own mail stands behind what matters.
const LOOKED_AT: usize = 64 << 10;
/// Parts that are looked at.
const PARTS: usize = 20;

/// Reads a returned mail from its bytes, whatever their line ends.
pub fn parse(bytes: &[u8]) -> Report {
    // Files of old Macs end lines with CR alone. By SMTP such a mail is refused.
    if !bytes.contains(&b'\n') {
        let lines: Vec<u8> = bytes
            .iter()
            .map(|b| if *b == b'\r' { b'\n' } else { *b })
            .collect();
        return read(&mail::parse(&lines), &lines);
    }
    read(&mail::parse(bytes), bytes)
}

/// Reads a returned mail, parsed and as it came.
pub fn read(message: &Message, bytes: &[u8]) -> Report {
    if let Some(complaint) = read_complaint(message) {
        return complaint;
    }
    let text = text(message, bytes);
    let mut groups = report_groups(message);
    if groups.is_empty() {
        groups = fields::groups(&text);
    }
    if let Some(report) = read_groups(&groups, message, &text) {
        return report;
    }
    if prose::is_away_subject(&message.subject) {
        return bare(Class::AutoReply, &message.subject);
    }
    if prose::is_from_a_server(message) {
        return prose::read(message, &text);
    }
    if is_automatic(message) {
        return bare(Class::AutoReply, &message.subject);
    }
    match prose::says_it_failed(&text) {
        true => prose::read(message, &text),
        false => bare(Class::Other, &message.subject),
    }
}

/// What the next hop's answer to a copy means, given as it was said: `550 5.1.1 No such user`. `None` if it is no server's answer:
/// then the trouble is ours.
pub fn read_answer(answer: &str) -> Option<Report> {
    let answer = answer
        .strip_prefix("given up after five days: ")
        .unwrap_or(answer);
    judge::reply_at_start(answer)?;
    let judged = judge::judge(None, answer);
    Some(Report {
        class: judged.class,
        code: judged.code(),
        text: clean(answer),
        recipient: None,
        original: None,
    })
}

/// Of whom a refusal of a recipient speaks, if not of the recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// Of the sender, or of the host that brings the mail.
    Sender,
    /// Of relaying, to wherever it may be.
    Relaying,
}

/// Whom a server blames that refuses a recipient, by its words; `None` where it may be the recipient.
pub fn find_blame(answer: &str) -> Option<Blame> {
    judge::find_blame(answer)
}

/// One line without control characters or marks that turn text around, cut to what is kept.
fn clean(text: &str) -> String {
    let hidden = |c: char| {
        c.is_control()
            || c.is_whitespace()
            || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}')
    };
    let mut out = String::new();
    let words = text.split(hidden).filter(|w| !w.is_empty());
    for word in words.take(KEPT) {
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(word);
        if out.len() > 4 * KEPT {
            break;
        }
    }
    match out.char_indices().nth(KEPT) {
        Some((at, _)) => {
            out.truncate(at);
            out
        }
        None => out,
    }
}

fn bare(class: Class, text: &str) -> Report {
    Report {
        class,
        code: class.word().to_owned(),
        text: clean(text),
        recipient: None,
        original: None,
    }
}

/// The parts of the mail itself: what stands in attached mails is our own, and says nothing.
fn own_parts(message: &Message) -> impl Iterator<Item = &Part> {
    message.parts.iter().filter(|p| p.within == 0).take(PARTS)
}

/// As much of a part as is looked at.
fn lossy(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(&bytes[..bytes.len().min(LOOKED_AT)])
}

fn head(text: &str) -> &str {
    &text[..text.floor_char_boundary(LOOKED_AT)]
}

/// What a person would read: the plain text, else the HTML without its marks, else, where the parts are broken, whatever there is.
fn text(message: &Message, bytes: &[u8]) -> String {
    let of = |kind: &'static str| {
        let parts = own_parts(message).filter(move |p| p.content_type == kind);
        parts.filter_map(|p| p.text.as_deref().map(head))
    };
    let plain: Vec<&str> = of("text/plain").collect();
    if plain.iter().any(|t| !t.trim().is_empty()) {
        return plain.join("\n");
    }
    let html: Vec<&str> = of("text/html").collect();
    if !html.is_empty() {
        return mail::text_of_html(&html.join("\n"));
    }
    let (_, body) = mail::header::split(bytes);
    lossy(body).into_owned()
}

/// A complaint in the form of RFC 5965, or in the one that Hotmail used before there was any.
pub fn read_complaint(message: &Message) -> Option<Report> {
    let mut reports = own_parts(message).filter(|p| p.content_type == "message/feedback-report");
    if let Some(part) = reports.next() {
        let group = fields::all(&lossy(&part.bytes));
        // RFC 5965 section 7.3 and RFC 6591: these report no displeasure of a reader.
        let quiet = ["auth-failure", "not-spam", "dkim", "dmarc"];
        let kind = group.value("Feedback-Type").unwrap_or("abuse");
        let class = match quiet.iter().any(|q| kind.eq_ignore_ascii_case(q)) {
            true => Class::Other,
            false => Class::Complaint,
        };
        return Some(bare(class, &format!("feedback report: {kind}")));
    }
    let old = message
        .subject
        .trim_start()
        .to_lowercase()
        .starts_with("complaint about message from ");
    let attached = message.parts.iter().any(|p| p.within > 0);
    (old && attached).then(|| bare(Class::Complaint, &message.subject))
}

/// Names at which a mail system itself reports, and no user of it can.
const REPORTERS: [&str; 8] = [
    "abuse",
    "arf",
    "fbl",
    "feedback",
    "feedbackloop",
    "mailer-daemon",
    "postmaster",
    "staff",
];

/// Whether a complaint is believed to be about mail to `member`: it is authenticated, and comes from that address, or from the mail system
/// that it belongs to.
pub fn may_complain(member: &str, message: &Message, verdict: &Verdict) -> bool {
    let (Some(from), [author]) = (verdict::from_domain(message), &message.from[..]) else {
        return false;
    };
    let home = member.rsplit_once('@').map_or(member, |(_, domain)| domain);
    let below = |inner: &str, outer: &str| {
        let rest = inner.strip_suffix(outer);
        rest.is_some_and(|rest| rest.ends_with('.')) && outer.contains('.')
    };
    let local = author.address.rsplit_once('@').map_or("", |(l, _)| l);
    let reports = REPORTERS
        .iter()
        .any(|name| local.eq_ignore_ascii_case(name));
    let same = author.address.eq_ignore_ascii_case(member);
    let kin = from.eq_ignore_ascii_case(home) || below(home, &from);
    verdict.level == Level::Aligned && (same || below(&from, home) || kin && reports)
}

fn report_groups(message: &Message) -> Vec<fields::Group> {
    let is_report = |p: &&Part| {
        matches!(
            p.content_type.as_str(),
            "message/delivery-status" | "message/global-delivery-status"
        )
    };
    let texts = own_parts(message).filter(is_report);
    texts
        .flat_map(|p| fields::groups(&lossy(&p.bytes)))
        .collect()
}

/// The verdict of the groups of a delivery report (RFC 3464 section 2.3); `None` if none of them says what happened.
fn read_groups(groups: &[fields::Group], message: &Message, text: &str) -> Option<Report> {
    let mut failed = Vec::new();
    let (mut delayed, mut arrived) = (None, None);
    for group in groups {
        match group.action().as_str() {
            "delayed" => delayed = Some(group),
            "delivered" | "relayed" | "expanded" => arrived = Some(group),
            _ => failed.push(group),
        }
    }
    let Some(first) = failed.first() else {
        let (class, group) = match (delayed, arrived) {
            (Some(group), _) => (Class::Delayed, group),
            (None, Some(group)) => (Class::Other, group),
            (None, None) => return None,
        };
        return Some(named(group, class, group.status().map(|c| c.to_string())));
    };
    let judge = |group: &&fields::Group| {
        let expired = group.action() == "expired";
        let judged = judge::judge(group.status(), &group.diagnostic());
        let class = match expired {
            true if !judged.sure => Class::Expired,
            _ => judged.class,
        };
        (judge::Judged { class, ..judged }, expired)
    };
    let all: Vec<(judge::Judged, bool)> = failed.iter().map(judge).collect();
    let sure = all.iter().zip(&failed).filter(|((j, e), _)| j.sure || *e);
    if let Some(((judged, _), group)) = sure.min_by_key(|((j, _), _)| j.class.severity()) {
        return Some(named(group, judged.class, Some(judged.code())));
    }
    // The fields say that it failed and not why: the words beside them may.
    let (judged, line) = prose::judge(&message.subject, text);
    if judged.sure {
        let mut report = named(first, judged.class, Some(judged.code()));
        if report.text.is_empty() {
            report.text = clean(&line);
        }
        return Some(report);
    }
    let (judged, _) = &all[0];
    Some(named(first, judged.class, Some(judged.code())))
}

fn named(group: &fields::Group, class: Class, code: Option<String>) -> Report {
    let recipient = |name| group.value(name).map(fields::address).map(clean);
    Report {
        class,
        code: code.unwrap_or_else(|| class.word().to_owned()),
        text: clean(&group.diagnostic()),
        recipient: recipient("Final-Recipient").filter(|r| !r.is_empty()),
        original: recipient("Original-Recipient").filter(|r| !r.is_empty()),
    }
}

impl judge::Judged {
    fn code(&self) -> String {
        match (self.code, self.reply) {
            (Some(code), _) => code.to_string(),
            (None, Some(reply)) => reply.to_string(),
            (None, None) => self.class.word().to_owned(),
        }
    }
}

/// RFC 3834 section 5, and what programs wrote before it.
fn is_automatic(message: &Message) -> bool {
    let given = |name: &str| message.header(name).map(|v| v.trim().to_lowercase());
    given("Auto-Submitted").is_some_and(|v| !v.starts_with("no") && !v.is_empty())
        || ["X-Autoreply", "X-Autorespond", "X-Autogenerated"]
            .iter()
            .any(|name| given(name).is_some())
        || given("Precedence").is_some_and(|v| v == "auto_reply")
}
