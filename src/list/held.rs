//! Which held mails are one series, before they have a place. Pure.

use crate::patchset::Recognised;
use crate::types::MessageId;

/// What makes held mails one series: who sends it, which version of how many, and where it hangs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SeriesKey {
    /// Version and number of mails; empty if the mail is none of several.
    pub shape: String,
    /// The mail at the top of its thread, as far as the mail itself says.
    pub root: String,
    /// The run of the tool that sent it, if its Message-ID tells.
    pub sending: String,
}

impl SeriesKey {
    /// Whether both are mails of one series, sent by one person.
    pub fn is_same(&self, other: &SeriesKey) -> bool {
        let sending = !self.sending.is_empty() && self.sending == other.sending;
        !self.shape.is_empty() && self.shape == other.shape && (self.root == other.root || sending)
    }

    /// Of a mail: `root` is its farthest ancestor, else itself.
    pub fn of(recognised: &Recognised, id: &MessageId, parents: &[MessageId]) -> SeriesKey {
        let tag = &recognised.tag;
        let total = tag.total.filter(|_| recognised.kind.is_tracked());
        let Some(total) = total.filter(|t| *t > 1 || tag.number == Some(0)) else {
            return SeriesKey::default();
        };
        SeriesKey {
            shape: format!("{:?}/{total}", tag.version),
            root: parents.last().unwrap_or(id).to_string(),
            sending: recognised
                .stem
                .as_ref()
                .map_or_else(String::new, |s| s.sending.clone()),
        }
    }
}

/// What a moderator answers to a notice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The mail goes through; with `person`, its author may write from now on.
    Accept {
        /// See there.
        person: bool,
    },
    /// It is dropped, and an authenticated author reads these words.
    Reject(String),
    /// It is dropped.
    Discard,
}

/// Longest words for an author, in bytes.
pub const MAX_WORDS: usize = 2_000;

/// Reads the first line that is not empty: `accept`, `accept person`, `reject: words` (they may go on up to an empty or quoted
/// line) or `discard`, in any case. `None` for whatever else: nobody's mail goes through because of a slip.
pub fn parse_answer(text: &str) -> Option<Answer> {
    let mut lines = text.lines().map(str::trim).skip_while(|l| l.is_empty());
    let first = lines.next()?;
    let words = first.trim_end_matches(['.', '!']).to_lowercase();
    match words.split_whitespace().collect::<Vec<_>>().as_slice() {
        ["accept"] => return Some(Answer::Accept { person: false }),
        ["accept", "person"] => return Some(Answer::Accept { person: true }),
        ["discard"] => return Some(Answer::Discard),
        _ => {}
    }
    let (verb, start) = first.split_once(':')?;
    if !verb.trim().eq_ignore_ascii_case("reject") {
        return None;
    }
    let more = lines.take_while(|l| !l.is_empty() && !l.starts_with('>'));
    let all: Vec<&str> = std::iter::once(start.trim()).chain(more).collect();
    let all = all.join("\n");
    let words = all[..all.floor_char_boundary(MAX_WORDS)].trim();
    (!words.is_empty()).then(|| Answer::Reject(words.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{mail, patchset};

    fn key(mail: &str) -> SeriesKey {
        let message = mail::parse(format!("From: a@b.c\n{mail}\n\ntext\n").as_bytes());
        let recognised = patchset::recognise(&message);
        SeriesKey::of(&recognised, &message.message_id, &message.parents)
    }

    #[track_caller]
    fn check(one: &str, other: &str, expected: bool) {
        assert_eq!(key(one).is_same(&key(other)), expected, "{one} {other}");
    }

    #[test]
    fn a_series_is_what_hangs_together() {
        let cover = "Subject: [PATCH 0/2] a\nMessage-ID: <0@x>";
        let second = "Subject: [PATCH 2/2] b\nMessage-ID: <2@x>\nIn-Reply-To: <0@x>\nReferences: <0@x>\n\ndiff --git a/a b/a\n--- a/a\n+++ b/a\n@@ -1 +1 @@\n-a\n+b";
        check(cover, second, true);
        check(cover, &second.replace("0@x", "9@x"), false);
        check(
            cover,
            &second.replace("[PATCH 2/2]", "[PATCH v2 2/2]"),
            false,
        );
        check(cover, &second.replace("2/2", "2/3"), false);
        check(
            cover,
            "Subject: Re: [PATCH 0/2] a\nMessage-ID: <3@x>\nIn-Reply-To: <0@x>",
            false,
        );
        let plain = "Subject: hello\nMessage-ID: <5@x>";
        check(plain, plain, false);
    }

    #[track_caller]
    fn check_answer(text: &str, expected: Option<Answer>) {
        assert_eq!(parse_answer(text), expected, "{text:?}");
    }

    #[test]
    fn an_answer_is_its_first_line() {
        let accept = |person| Some(Answer::Accept { person });
        let reject = |words: &str| Some(Answer::Reject(words.to_owned()));
        check_answer("accept", accept(false));
        check_answer("\n\n Accept.\n\n> discard\n", accept(false));
        check_answer("ACCEPT  person\n-- \nBen", accept(true));
        check_answer("discard\n", Some(Answer::Discard));
        check_answer(
            "Reject: Not here.\nAsk the users list.\n\nBen",
            reject("Not here.\nAsk the users list."),
        );
        check_answer("reject: no\n> From: eve", reject("no"));
        for text in [
            "",
            "reject",
            "reject:",
            "acceptable",
            "accept all",
            "> accept",
            "I accept",
            "Ben wrote:\naccept",
            "don't accept",
        ] {
            check_answer(text, None);
        }
    }

    #[test]
    fn mails_of_one_run_are_a_series_without_a_thread() {
        let patch = |n: u32, run: &str| {
            format!(
                "Subject: [PATCH {n}/2] a\nMessage-ID: <{run}-{n}-a@b.c>\n\ndiff --git a/a b/a\n--- a/a\n+++ b/a\n@@ -1 +1 @@\n-a\n+b"
            )
        };
        let run = "20240315173105.636749";
        check(&patch(1, run), &patch(2, run), true);
        check(&patch(1, run), &patch(2, "20240315173105.636750"), false);
    }
}
