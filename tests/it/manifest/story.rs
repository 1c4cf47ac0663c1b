//! The mails of one mailbox, grouped, and in words that can be compared with a manifest's.

use std::fmt::Write;

use patchpost::mail::{self, Message};
use patchpost::patchset::{self, Input, Patchset, Series};
use patchpost::types::{MailId, MessageId, Timestamp};

/// Mails of a file in its order, each by itself and all together.
pub struct Story {
    pub messages: Vec<Message>,
    pub inputs: Vec<Input>,
    pub sets: Vec<Patchset>,
}

/// 2027: mails without any sane date arrive then.
const NOW: i64 = 1_800_000_000;

impl Story {
    /// The story of an mbox, or of a file that is one mail.
    pub fn of(mbox: &[u8]) -> Story {
        let reader = mail::mbox::Reader::new(mbox);
        let mails: Vec<Vec<u8>> = reader.map(|m| m.unwrap()).collect();
        Story::of_mails(&mails)
    }

    /// These mails as the grouping sees them; rows are numbered from 1.
    pub fn inputs_of(mails: &[Vec<u8>]) -> Vec<Input> {
        messages(mails).iter().enumerate().map(input).collect()
    }

    /// The story of these mails.
    pub fn of_mails(mails: &[Vec<u8>]) -> Story {
        let messages = messages(mails);
        let inputs: Vec<Input> = messages.iter().enumerate().map(input).collect();
        let sets = patchset::assemble(&inputs);
        Story {
            messages,
            inputs,
            sets,
        }
    }

    /// What came out, in lines: the mails by kind, then each patchset with its versions.
    ///
    /// `v2 2 of 2: 0=m4 1=m5 2=m6 "A sample series"` is version 2 with two patches of two; its cover is the fourth mail
    /// of the file. `1*=m2` was taken over by a partial reroll. `m7>m5` is a comment on the fifth mail.
    pub fn render(&self) -> String {
        let kinds = self.inputs.iter().map(|i| i.recognised.kind.as_str());
        let mut out = kinds.collect::<Vec<_>>().join(" ");
        for (n, set) in self.sets.iter().enumerate() {
            out.push_str(if n > 0 { "\n--" } else { "" });
            for series in &set.series {
                out.push('\n');
                out.push_str(&line(series));
            }
        }
        out
    }

    /// What the mails hold: message, diff, what it touches, what is to be pulled, what it depends on.
    pub fn render_contents(&self) -> String {
        let mut out = String::new();
        for (n, (message, input)) in self.messages.iter().zip(&self.inputs).enumerate() {
            let facts = &input.recognised;
            write!(out, "\nm{} by {}", n + 1, facts.submitter).unwrap();
            if input.arrived == Timestamp::from_secs(NOW) {
                out.push_str(", has no sane date");
            }
            let text = patchset::patch_text(message).unwrap_or(&message.text);
            // Where the diff is attached, the message stands beside it.
            out.push_str(&format!("\n  {}", message_words(&message.text)));
            if patchset::patch_text(message).is_some() {
                write!(out, "\n  {}", diff_words(text)).unwrap();
            }
            if !facts.files.is_empty() {
                write!(out, "\n  files {}", facts.files.join(" ")).unwrap();
            }
            if let Some(pull) = &facts.pull {
                write!(out, "\n  pull {} {}", pull.url, pull.reference).unwrap();
            }
        }
        out
    }

    /// Which series depends on which, each by its title, in order of appearance.
    pub fn render_dependencies(&self) -> String {
        let all = || self.sets.iter().flat_map(|s| &s.series);
        let holder = |id: &MessageId| {
            let at = self.messages.iter().position(|m| m.message_id == *id)?;
            all().find(|s| holds(s, MailId(at as i64 + 1)))
        };
        let mut out = String::new();
        for one in all() {
            for id in &one.depends_on {
                let on = holder(id).map_or("a mail that is not here", |s| &s.title);
                write!(out, "\n\"{}\" depends on \"{on}\"", one.title).unwrap();
            }
        }
        out
    }
}

fn holds(series: &Series, mail: MailId) -> bool {
    series.cover == Some(mail) || series.patches.iter().any(|p| p.mail == mail)
}

fn messages(mails: &[Vec<u8>]) -> Vec<Message> {
    let read = |bytes: &Vec<u8>| mail::parse(&mail::header::to_lf(bytes).0);
    mails.iter().map(read).collect()
}

fn input((n, message): (usize, &Message)) -> Input {
    Input {
        mail: MailId(n as i64 + 1),
        identity: message.identity,
        message_id: message.message_id.clone(),
        parents: message.parents.clone(),
        lists: vec![],
        standing: Default::default(),
        arrived: patchpost::pipeline::arrival(message, None, Timestamp::from_secs(NOW)),
        person: patchset::recognise(message).submitter,
        recognised: patchset::recognise(message),
    }
}

fn line(s: &Series) -> String {
    let patch = |p: &patchset::Slot| {
        let mark = if p.taken_over { "*" } else { "" };
        format!("{}{mark}=m{}", p.number, p.mail.0)
    };
    let cover = s.cover.map(|c| format!("0=m{}", c.0));
    let slots: Vec<String> = cover
        .into_iter()
        .chain(s.patches.iter().map(patch))
        .collect();
    let mut out = format!("v{} {} of {}", s.label, s.patches.len(), s.total);
    for (set, word) in [
        (!s.complete, " incomplete"),
        (s.superseded, " superseded"),
        (s.ambiguous, " ambiguous"),
    ] {
        out.push_str(if set { word } else { "" });
    }
    for word in s
        .prefixes
        .iter()
        .map(String::as_str)
        .chain(s.flags.iter().copied())
    {
        write!(out, " [{word}]").unwrap();
    }
    write!(out, ": {} \"{}\"", slots.join(" "), s.title).unwrap();
    for (comment, target) in &s.comments {
        write!(out, " m{}>m{}", comment.0, target.0).unwrap();
    }
    out
}

fn begins_diff(line: &&str) -> bool {
    let starts = ["diff ", "Index: ", "--- "];
    starts.iter().any(|s| line.starts_with(s))
}

/// The lines above what is no message: how many, and the first and the last.
fn message_words(text: &str) -> String {
    let lines = text.lines().take_while(|l| *l != "---" && !begins_diff(l));
    let lines: Vec<&str> = lines.filter(|l| !l.trim().is_empty()).collect();
    match &lines[..] {
        [] => "no message".to_owned(),
        [only] => format!("1 line of message: {only:?}"),
        [first, .., last] => format!("{} lines of message: {first:?} to {last:?}", lines.len()),
    }
}

/// How a diff begins and what kinds of lines it has.
fn diff_words(text: &str) -> String {
    let first = text.lines().find(begins_diff).unwrap_or("no diff line");
    let mut out = format!("diff from {first:?}");
    for (name, start) in [
        ("hunks", "@@ -"),
        ("renames from", "rename from "),
        ("renames to", "rename to "),
        ("new modes", "new mode "),
        ("binary", "GIT binary patch"),
        ("literal 142", "literal 142"),
        ("literal 0", "literal 0"),
        ("without newline at end", "\\ No newline"),
    ] {
        let count = text.lines().filter(|l| l.starts_with(start)).count();
        if count > 0 {
            write!(out, ", {count} {name}").unwrap();
        }
    }
    out.push_str(if text.contains('\r') { ", CR" } else { "" });
    out
}
