//! The texts of automatic mail about held mail. Those to moderators hold a stranger's words: moderators are there to read them.

use std::collections::BTreeSet;

use askama::Template;

use super::Cap;
use crate::mail::Message;
use crate::types::Address;

/// A list's moderators are reminded once a day.
pub const REMINDERS: Cap = Cap {
    name: "reminders",
    per_list: 1,
    per_address: 50,
    per_source: i64::MAX,
};

/// `templates/mail/held.txt`
#[derive(Debug, Template)]
#[template(path = "mail/held.txt")]
pub struct Held<'a> {
    /// Posting address.
    pub list: &'a Address,
    /// Whom the mail says it is from.
    pub from: &'a str,
    /// Its subject.
    pub subject: &'a str,
    /// Its length.
    pub size: i64,
    /// Why it is held.
    pub reason: &'a str,
    /// Who speaks for it, in words.
    pub verdict: &'a str,
    /// How many mails its series has.
    pub count: usize,
    /// Their subjects, as [`listed`] lists them; empty if it is alone.
    pub series: &'a [String],
    /// Whether a reply decides.
    pub answer: bool,
    /// After how many days it is dropped.
    pub days: i64,
    /// What shows it on the server.
    pub command: &'a str,
    /// Where it is decided.
    pub page: &'a str,
    /// Its first lines.
    pub excerpt: &'a [String],
}

/// `templates/mail/waiting.txt`
#[derive(Debug, Template)]
#[template(path = "mail/waiting.txt")]
pub struct Waiting<'a> {
    /// Posting address.
    pub list: &'a Address,
    /// The list's name.
    pub name: &'a str,
    /// How many.
    pub count: i64,
    /// After how many days they are dropped.
    pub days: i64,
    /// Where they are decided.
    pub page: &'a str,
}

/// `templates/mail/reminder.txt`
#[derive(Debug, Template)]
#[template(path = "mail/reminder.txt")]
pub struct Reminder<'a> {
    /// Posting address.
    pub list: &'a Address,
    /// The list's name.
    pub name: &'a str,
    /// How many are held for a day or longer.
    pub count: i64,
    /// Since when the first of them is.
    pub since: &'a str,
    /// How many of them are dropped within three days.
    pub soon: i64,
    /// After how many days they are dropped.
    pub days: i64,
}

/// `templates/mail/rejected.txt`
#[derive(Debug, Template)]
#[template(path = "mail/rejected.txt")]
pub struct Rejected<'a> {
    /// Posting address.
    pub list: &'a Address,
    /// Which mail, as [`which_mail`] says it.
    pub which: &'a [String],
    /// What the moderator says, a line each.
    pub words: &'a [&'a str],
    /// The people who run the list.
    pub owner: &'a str,
}

/// Which mail an answer to its authenticated author is about, a line each; of what goes over TLS only the date alone.
pub fn which_mail(message: &Message, tls_only: bool) -> Vec<String> {
    let date = message
        .date
        .map(|date| format!("Date:     {}", date.rfc5322()));
    let subject = match tls_only {
        true => None,
        false => Some(format!("Subject:  {}", one_line(&message.subject, 150))),
    };
    subject.into_iter().chain(date).collect()
}

/// `templates/mail/moderated.txt`
#[derive(Debug, Template)]
#[template(path = "mail/moderated.txt")]
pub struct Moderated<'a> {
    /// What was done, in a sentence.
    pub text: &'a str,
    /// With which mails.
    pub mails: &'a [String],
}

/// `templates/mail/steered.txt`
#[derive(Debug, Template)]
#[template(path = "mail/steered.txt")]
pub struct Steered<'a> {
    /// `patchset 12 v2 of dev`
    pub what: &'a str,
    /// What came of each wish.
    pub lines: &'a [String],
    /// The version's page; may be empty.
    pub page: &'a str,
    /// The people who run the list.
    pub owner: &'a str,
}

/// `templates/mail/removal.txt`
#[derive(Debug, Template)]
#[template(path = "mail/removal.txt")]
pub struct Removal<'a> {
    /// Posting address.
    pub list: &'a str,
    /// The list's name.
    pub name: &'a str,
    /// Who wishes it; empty: that and what mail it is are shown on the server only.
    pub author: &'a str,
    /// Subject of his mail.
    pub subject: &'a str,
    /// Its page; empty if the list has none.
    pub page: &'a str,
    /// Its Message-ID if a shell reads it as it is, else empty.
    pub id: &'a str,
}

/// `1 mail`, `2 mails`, and what follows in either case.
pub fn mails(count: i64, one: &str, many: &str) -> String {
    match count {
        1 => format!("1 {one}"),
        n => format!("{n} {many}"),
    }
}

/// Numbers of missing patches that are named.
const NAMED: usize = 20;

/// Which patches of a series are missing, given those that are there; `None`: none is.
pub fn missing(total: i64, there: &[i64]) -> Option<String> {
    let there: BTreeSet<i64> = there
        .iter()
        .copied()
        .filter(|n| (1..=total).contains(n))
        .collect();
    let count = total - i64::try_from(there.len()).unwrap_or(total);
    let numbers = (1..=total).filter(|n| !there.contains(n)).take(NAMED);
    let numbers: Vec<String> = numbers.map(|n| n.to_string()).collect();
    let more = count - i64::try_from(numbers.len()).unwrap_or(count);
    let names = numbers.join(", ");
    match count {
        ..=0 => None,
        1 => Some(format!("patch {names} is missing")),
        _ if more > 0 => Some(format!("patches {names} and {more} more are missing")),
        _ => Some(format!("patches {names} are missing")),
    }
}

/// Mails that are listed one by one in a mail.
const LISTED: usize = 50;

/// As many lines of a list as a mail has room for, and how many more there are.
pub fn listed(lines: impl ExactSizeIterator<Item = String>) -> Vec<String> {
    let more = lines.len().saturating_sub(LISTED);
    let more = (more > 0).then(|| format!("and {more} more"));
    lines.take(LISTED).chain(more).collect()
}

/// Lines of a mail that moderators are shown, and characters of a line.
const EXCERPT: (usize, usize) = (20, 100);

/// The beginning of a text for people who decide about it: without control characters and signs that turn lines round.
pub fn excerpt(text: &str) -> Vec<String> {
    let (lines, width) = EXCERPT;
    let lines = text.lines().map(str::trim_end).take(lines);
    lines.map(|line| one_line(line, width)).collect()
}

/// A stranger's text as a part of a line.
pub fn one_line(text: &str, width: usize) -> String {
    let odd = |c: &char| {
        c.is_control()
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}')
    };
    text.chars().filter(|c| !odd(c)).take(width).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_mail_is_one_mail() {
        let list = "dev@x.org".parse::<Address>().expect("an address");
        let waiting = |count| Waiting {
            list: &list,
            name: "dev",
            count,
            days: 14,
            page: "",
        };
        let text = waiting(1).render().expect("it renders");
        assert!(
            text.starts_with("1 further mail to dev@x.org waits for"),
            "{text}"
        );
        let text = waiting(2).render().expect("it renders");
        assert!(
            text.starts_with("2 further mails to dev@x.org wait for"),
            "{text}"
        );
        let reminder = |count| Reminder {
            list: &list,
            name: "dev",
            count,
            since: "Monday",
            soon: 1,
            days: 14,
        };
        let text = reminder(1).render().expect("it renders");
        assert!(text.starts_with("1 mail to dev@x.org waits for"), "{text}");
        assert!(
            text.contains("after 14 days,\nwithin the next three."),
            "{text}"
        );
        let text = reminder(2).render().expect("it renders");
        assert!(
            text.contains("14 days, 1 of them\nwithin the next three."),
            "{text}"
        );
        assert_eq!(mails(1, "mail is", "mails are"), "1 mail is");
        assert_eq!(mails(0, "mail is", "mails are"), "0 mails are");
    }

    #[test]
    fn what_is_missing_is_named_or_counted() {
        assert_eq!(missing(2, &[2, 1]), None);
        let said = |total, there: &[i64]| missing(total, there).expect("some are missing");
        assert_eq!(said(3, &[0, 1, 3]), "patch 2 is missing");
        assert_eq!(said(3, &[1]), "patches 2, 3 are missing");
        let many = said(1_000_000_000, &[1]);
        assert!(many.starts_with("patches 2, 3, 4, "), "{many}");
        assert!(
            many.ends_with(", 21 and 999999979 more are missing"),
            "{many}"
        );
    }
}
