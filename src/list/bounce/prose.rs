//! Bounces without fields: what servers wrote before RFC 1894, and what many write still.
//!
//! What they have in common: a subject or a From that says so, lines with the refusing server's codes, and a copy of our mail behind.

use super::judge::{Judged, codes, judge as judge_refusal, replies};
use super::{Class, Report, bare, clean};
use crate::mail::Message;

/// Lines that are looked at.
const LINES: usize = 1_000;
/// Refusals of one mail that are judged.
const REFUSALS: usize = 50;
/// Lines before a refusal that belong to it ("SMTP error from remote mail server after MAIL FROM"), and behind it.
const BEFORE: usize = 3;
const BEHIND: usize = 3;

/// Subjects of programs that answer for people who are away.
const AWAY: [&str; 11] = [
    "automatic reply",
    "auto reply",
    "auto-reply",
    "autoreply",
    "auto response",
    "automatische antwort",
    "abwesenheit",
    "réponse automatique",
    "respuesta automática",
    "out of office",
    "out of the office",
];

/// Subjects of returned mail.
const SUBJECTS: [&str; 26] = [
    "undeliver",
    "returned mail",
    "mail returned",
    "returned to sender",
    "returning message",
    "delivery status",
    "delivery failure",
    "delivery failed",
    "delivery has failed",
    "delivery notification",
    "delivery report",
    "delivery problem",
    "delivery error",
    "failure delivery",
    "failed delivery",
    "failure notice",
    "mail failure",
    "mail system error",
    "could not be delivered",
    "could not send",
    "not be delivered",
    "non-delivery",
    "non delivery",
    "non remis",
    "error sending your mail",
    "недостав",
];

/// Local parts of servers, without their hyphens.
const SERVERS: [&str; 6] = [
    "mailerdaemon",
    "postmaster",
    "mdaemon",
    "maildaemon",
    "maildeliverysystem",
    "poostmaster",
];

/// What servers say in the first lines.
const PHRASES: [&str; 12] = [
    "could not be delivered",
    "couldn't be delivered",
    "was not delivered",
    "wasn't delivered",
    "not able to deliver",
    "unable to deliver",
    "error delivering your mail",
    "delivery to the following",
    "delivery has failed",
    "permanent fatal errors",
    "did not reach the following recipient",
    "this is a permanent error",
];

/// What they say while they still try.
const STILL_TRYING: [&str; 12] = [
    "this is a warning message only",
    "you do not need to resend",
    "no need to resend",
    "only a temporary failure report",
    "has been delayed",
    "still being retried",
    "will be retried",
    "will keep trying",
    "will continue trying",
    "could not send message for past",
    "could not send mail for past",
    "delivery attempts will continue",
];

/// Where the copy of our mail begins, in small letters.
const COPY: [&str; 14] = [
    "this is a copy of the message",
    "a copy of the message",
    "below this line",
    "original message -----",
    "original message---",
    "original message follows",
    "original message:",
    "unsent message follows",
    "returned message -----",
    "message headers follow",
    "message header follows",
    "copy of the original message",
    "copy of your message",
    "undelivered message follows",
];

/// Fields that no server writes in its own words.
const COPIED_FIELDS: [&str; 5] = [
    "Received:",
    "Return-Path:",
    "DKIM-Signature:",
    "X-Received:",
    "X-Google-Smtp-Source:",
];

/// Whether a program answers for somebody who is away, by the subject alone.
pub fn is_away_subject(subject: &str) -> bool {
    let subject = subject.trim_start().to_lowercase();
    AWAY.iter().any(|a| subject.starts_with(a))
}

/// Whether header fields say that a mail server wrote it. A person who forwards such a mail is none.
pub fn is_from_a_server(message: &Message) -> bool {
    if message.header("X-Failed-Recipients").is_some() {
        return true;
    }
    let author = message.author();
    let local = author.address.split('@').next().unwrap_or_default();
    let plain = |text: &str| -> String {
        let letters = text.chars().filter(|c| c.is_alphanumeric());
        letters.collect::<String>().to_lowercase()
    };
    let (local, name) = (plain(local), plain(&author.name));
    if SERVERS.iter().any(|s| local == *s || name.contains(s)) || name.contains("maildeliver") {
        return true;
    }
    let subject = message.subject.trim_start().to_lowercase();
    let forwarded = ["fwd:", "fw:"].iter().any(|f| subject.starts_with(f));
    !forwarded && SUBJECTS.iter().any(|s| subject.contains(s))
}

/// Whether the first lines say that a mail did not arrive.
pub fn says_it_failed(text: &str) -> bool {
    let start = text[..text.floor_char_boundary(2_000)].to_lowercase();
    let start = start.split_whitespace().collect::<Vec<_>>().join(" ");
    !start.starts_with("begin forwarded message") && PHRASES.iter().any(|p| start.contains(p))
}

/// Reads a mail that says that another did not arrive.
pub fn read(message: &Message, text: &str) -> Report {
    let own = before_the_copy(text);
    let lower = squeezed(own).to_lowercase();
    let subject = message.subject.to_lowercase();
    let waits = subject.contains("delay") || subject.starts_with("warning");
    if waits || STILL_TRYING.iter().any(|s| lower.contains(s)) {
        return bare(Class::Delayed, &squeezed(own));
    }
    let (judged, line) = judge(&message.subject, text);
    Report {
        class: judged.class,
        code: judged.code(),
        text: clean(&line),
        recipient: message.header("X-Failed-Recipients").map(clean),
        original: None,
    }
}

/// The mildest of the refusals that say why, with their words; else what the whole text says.
pub fn judge(subject: &str, text: &str) -> (Judged, String) {
    let own = before_the_copy(text);
    let refusals = refusals(own);
    let judged = refusals.iter().map(|r| judge_refusal(None, r));
    let all: Vec<(Judged, &String)> = judged.zip(&refusals).collect();
    let sure = all.iter().filter(|(judged, _)| judged.sure);
    if let Some((judged, line)) = sure.min_by_key(|(judged, _)| judged.class.severity()) {
        return (*judged, (*line).clone());
    }
    let whole = squeezed(own);
    let judged = judge_refusal(None, &format!("{subject} {whole}"));
    match (judged.sure, all.first()) {
        (false, Some((first, line))) => (*first, (*line).clone()),
        _ => (judged, whole),
    }
}

/// What the server itself says.
fn before_the_copy(text: &str) -> &str {
    let mut at = 0;
    for line in text.split_inclusive('\n').take(LINES) {
        let trimmed = line.trim_start();
        let copied = COPIED_FIELDS.iter().any(|f| {
            let start = trimmed.get(..f.len());
            start.is_some_and(|start| start.eq_ignore_ascii_case(f))
        });
        let marked = || {
            let lower = trimmed.to_lowercase();
            line.len() < 200 && COPY.iter().any(|c| lower.contains(c))
        };
        if copied || marked() {
            break;
        }
        at += line.len();
    }
    match text[..at].trim().is_empty() {
        true => text,
        false => &text[..at],
    }
}

/// The lines with codes, each with those around it that belong to it. Lines of one reply are one refusal.
fn refusals(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().take(LINES).map(str::trim).collect();
    let code = |line: &str| {
        let line = &line[..line.floor_char_boundary(1_000)];
        let reply = replies(line).next();
        reply.or_else(|| codes(line).find(|c| c.0 != 2).map(|c| 100 * c.0))
    };
    let mut out = Vec::new();
    let (mut at, mut last) = (0, 0);
    while at < lines.len() && out.len() < REFUSALS {
        let Some(first) = code(lines[at]) else {
            at += 1;
            continue;
        };
        let mut from = at;
        while from > last && at - from < BEFORE && !lines[from - 1].is_empty() {
            from -= 1;
        }
        let mut to = at + 1;
        while to < lines.len() && !lines[to].is_empty() {
            let same = code(lines[to]).map(|c| c == first);
            if same == Some(false) || same.is_none() && to - at > BEHIND {
                break;
            }
            if same.is_some() {
                at = to;
            }
            to += 1;
        }
        out.push(squeezed(&lines[from..to].join(" ")));
        last = to;
        at = to;
    }
    out
}

/// One line, bounded.
fn squeezed(text: &str) -> String {
    let text = &text[..text.floor_char_boundary(16 << 10)];
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
