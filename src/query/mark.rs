//! What is found by a prefix alone, never by a bare word: recipients, List-Id, blobs and patch ids of changes.
//!
//! Such words are indexed with their mark in front (`t:ana`). Words of texts hold letters and digits only, so that neither ever
//! finds the other, in one index, on both databases.

use crate::diff::patch_id::patch_id;
use crate::mail::{Mailbox, Message};

/// What a marked word says of a mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// Somebody in To.
    To,
    /// Somebody in Cc.
    Cc,
    /// List-Id.
    List,
    /// A blob before a change.
    Before,
    /// A blob after a change.
    After,
    /// The patch id of a change.
    Patch,
}

impl Mark {
    /// Its letter in the index.
    pub fn letter(self) -> char {
        match self {
            Mark::To => 't',
            Mark::Cc => 'c',
            Mark::List => 'l',
            Mark::Before => 'o',
            Mark::After => 'n',
            Mark::Patch => 'p',
        }
    }
}

/// More blobs of one mail are not indexed: a change of the whole tree is looked for by its words.
const MAX_BLOBS: usize = 2_000;
/// Recipients beyond this many bytes are not indexed.
const MAX_PEOPLE: usize = 32 << 10;

/// The marked texts of a mail; `patch` is the text that holds its change.
pub fn marks(message: &Message, patch: Option<&str>) -> Vec<(Mark, String)> {
    let mut out = Vec::new();
    for (mark, people) in [(Mark::To, &message.to), (Mark::Cc, &message.cc)] {
        if !people.is_empty() {
            out.push((mark, names(people)));
        }
    }
    out.extend(
        message
            .header("list-id")
            .map(|id| (Mark::List, id.to_owned())),
    );
    let id = patch.and_then(|p| patch_id(p.as_bytes()));
    out.extend(id.map(|id| (Mark::Patch, id.to_string())));
    let blobs = patch.into_iter().flat_map(str::lines).filter_map(blobs);
    for (before, after) in blobs.take(MAX_BLOBS) {
        out.push((Mark::Before, before.to_owned()));
        out.push((Mark::After, after.to_owned()));
    }
    out
}

fn names(people: &[Mailbox]) -> String {
    let mut out = String::new();
    for person in people {
        if out.len() + person.name.len() + person.address.len() > MAX_PEOPLE {
            break;
        }
        out.push_str(&person.name);
        out.push(' ');
        out.push_str(&person.address);
        out.push(' ');
    }
    out
}

/// `index 4f2a91c..b0befda 100644` as (before, after).
fn blobs(line: &str) -> Option<(&str, &str)> {
    let ids = line.strip_prefix("index ")?.split_whitespace().next()?;
    let (before, after) = ids.split_once("..")?;
    (is_id(before) && is_id(after)).then_some((before, after))
}

/// Whether it may be an object's id or a beginning of one that is long enough to look for.
pub(super) fn is_id(text: &str) -> bool {
    (7..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recipients_lists_and_blobs_are_marked() {
        let mail = b"From: a@x\nTo: Ana <ana@x.org>, ben@x.org\nCc: Chen <chen@y.org>\nList-Id: Dev <dev.x.org>\nSubject: s\n\nindex 1111111..2222222\n";
        let message = crate::mail::parse(mail);
        let patch =
            "index 4f2a91c..b0befda 100644\nindex zz..yy\nindex 1..2\n+index 3333333..4444444\n";
        let text = |patch| {
            let marks = marks(&message, patch);
            let one = |(mark, text): &(Mark, String)| format!("{} {}", mark.letter(), text.trim());
            marks.iter().map(one).collect::<Vec<_>>()
        };
        let people = [
            "t Ana ana@x.org  ben@x.org",
            "c Chen chen@y.org",
            "l Dev <dev.x.org>",
        ];
        assert_eq!(text(None), people);
        assert_eq!(text(Some(patch))[3..], ["o 4f2a91c", "n b0befda"]);
    }
}
