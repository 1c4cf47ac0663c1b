//! A remark as a page shows it, below the line that it is about.

use super::text::{Span, link_text, tile, visible};
use crate::patchset::{Mark, Note};
use crate::types::Timestamp;

/// One remark of one mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// Fragment.
    pub anchor: String,
    /// The mail's page.
    pub href: String,
    /// Letters and colour.
    pub tile: (String, u8),
    /// Who said it.
    pub author: String,
    /// How well its sender is authenticated, in words.
    pub verdict: String,
    /// When.
    pub date: Timestamp,
    /// `on v1`, or empty if it was made on the version that is shown.
    pub on: String,
    /// What became of the line since, in words; empty if the version is the same.
    pub mark: &'static str,
    /// Tone of the pill that says so.
    pub tone: &'static str,
    /// 0, or more for an answer to another remark.
    pub depth: u32,
    /// The line that is gone, as written.
    pub about: String,
    /// What it says.
    pub spans: Vec<Span>,
    /// The mail says more.
    pub cut: bool,
}

/// More remarks on earlier versions at one place than these are folded: what is said of this version is not to drown.
const SHOWN: usize = 3;

/// The remarks of one place: those that are folded, and those that are shown.
pub fn split_folded(all: &[Remark]) -> (&[Remark], &[Remark]) {
    let earlier = all.iter().take_while(|r| !r.on.is_empty()).count();
    all.split_at(if earlier > SHOWN { earlier } else { 0 })
}

/// What is to be known of the mail that a remark stands in.
#[derive(Debug, Clone)]
pub struct Source<'a> {
    /// Its number in the list.
    pub number: i64,
    /// Its page.
    pub href: String,
    /// Its author's name and address.
    pub author: (&'a str, &'a str),
    /// How well its sender is authenticated.
    pub verdict: String,
    /// When it was written.
    pub date: Timestamp,
    /// The version that it answers, if that is not the one shown.
    pub version: Option<&'a str>,
}

impl Remark {
    /// What a page shows of a note.
    pub fn new(note: &Note, source: &Source<'_>) -> Remark {
        let (name, address) = source.author;
        let (mark, tone) = match note.mark {
            None => ("", ""),
            Some(Mark::Unchanged) => ("line unchanged", ""),
            Some(Mark::Changed) => ("line changed", "caution"),
            Some(Mark::Gone) => ("gone", ""),
        };
        let named = [name.trim(), address, "somebody"];
        let named = named.into_iter().find(|n| !n.is_empty());
        let version = source.version.map(|v| format!("on v{v}"));
        Remark {
            anchor: format!("r{}-{}", source.number, note.number),
            href: source.href.clone(),
            tile: tile(name, address),
            author: visible(named.unwrap_or_default()),
            verdict: source.verdict.clone(),
            date: source.date,
            on: version.unwrap_or_default(),
            mark,
            tone,
            depth: note.depth,
            about: visible(&note.about),
            spans: link_text(&note.text),
            cut: note.cut,
        }
    }

    /// The remark as that on a line which is not shown.
    pub fn lost(self, line: &str) -> Remark {
        Remark {
            mark: "gone",
            about: visible(line),
            ..self
        }
    }
}
