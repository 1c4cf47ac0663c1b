//! The remarks of one reply.

use std::collections::{BTreeMap, HashMap};

use super::quiet::{
    cut_attribution, is_command, is_courtesy, is_cut_mark, is_only_trailers, is_salutation,
};
use super::{AROUND, MAX_PLACES, before_signature};
use crate::patchset::answer::own_words;

/// An unquoted run of a reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// What it says, without empty lines around.
    pub text: String,
    /// The line of the patch's text that it follows, from 0; `None` if no quoted line stands in the patch.
    pub line: Option<usize>,
}

/// Remarks of one reply that are kept.
pub(super) const MAX_REMARKS: usize = 200;
/// Lines of one reply that are read.
const MAX_LINES: usize = 20_000;
/// Lines that one line may have been wrapped into.
const MAX_WRAPPED: usize = 3;

/// Shorter lines are not wrapped by anybody.
const MIN_WRAPPED: usize = 60;

/// The remarks of one mail, made ready to find the one that an answer quotes.
#[derive(Debug, Default)]
pub struct Said {
    /// Each line with its blanks made alike: the line of the patch that the first remark which holds it is about.
    lines: HashMap<String, Option<usize>>,
}

impl Said {
    /// Reads the remarks once, for all mails that answer them.
    pub fn new(remarks: &[Remark]) -> Said {
        let mut lines = HashMap::new();
        for remark in remarks {
            for line in remark.text.lines() {
                lines.entry(key(line)).or_insert(remark.line);
            }
        }
        Said { lines }
    }
}

/// The text of a patch, made ready to find in it what replies quote.
pub struct PatchLines {
    /// Its lines with blanks made alike.
    keys: Vec<String>,
    /// Where each of them stands, but for empty ones and the signature. In order, so that beginnings are found, too.
    index: BTreeMap<String, Vec<usize>>,
}

impl PatchLines {
    /// Reads a patch's text: the message and the diff.
    pub fn new(patch: &str) -> PatchLines {
        let lines: Vec<&str> = patch.lines().collect();
        let keys: Vec<String> = lines.iter().map(|l| key(l)).collect();
        let mut index: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        let said = keys.iter().take(before_signature(&lines)).enumerate();
        for (at, key) in said.filter(|(_, key)| !key.is_empty()) {
            let places = index.entry(key.clone()).or_default();
            if places.len() < MAX_PLACES {
                places.push(at);
            }
        }
        PatchLines { keys, index }
    }

    /// The unquoted runs of `reply` in order, each with the line that it follows. At most 200.
    ///
    /// `earlier` is what the mail said that it answers: what follows a quoted piece of one of them is about the
    /// same line. Left out is what says nothing about a patch: salutations, who wrote what when, `[...]`, thanks below
    /// remarks, and bare trailers, which pages list by themselves.
    pub fn find_remarks(&self, reply: &str, earlier: &Said) -> Vec<Remark> {
        let own = own_words(reply, "");
        let mut lines: Vec<&str> = own.lines().take(MAX_LINES).collect();
        lines.truncate(before_signature(&lines));
        lines.retain(|line| !is_command(line));
        let mut reader = Reader {
            patch: self,
            earlier,
            quote: Vec::new(),
            after: 0,
            out: Vec::new(),
        };
        let mut run: Vec<&str> = Vec::new();
        for line in lines {
            if line.starts_with('>') {
                reader.end_run(&mut run, true);
                reader.quote.push(key(unquoted(line)));
            } else if !(run.is_empty() && reader.continues(line)) {
                run.push(line);
            }
        }
        reader.end_run(&mut run, false);
        reader.out
    }

    /// The line where a quote ends: its last line that stands in the patch, told apart by those before it.
    fn place(&self, quote: &[String], after: usize) -> Option<usize> {
        (0..quote.len()).rev().find_map(|at| {
            let (start, places) = (1..=MAX_WRAPPED.min(at + 1)).find_map(|n| {
                let start = at + 1 - n;
                Some((start, self.index.get(&joined(&quote[start..=at])?)?))
            })?;
            let alike = |place: usize| {
                let before = quote[..start].iter().rev();
                let before = before.zip(self.keys[..place].iter().rev()).take(AROUND);
                before.take_while(|(a, b)| a == b).count()
            };
            // Among equals the first that follows the remark before it, as replies go down the patch.
            let rank = |place: &usize| (alike(*place), *place >= after, std::cmp::Reverse(*place));
            let best = places.iter().copied().max_by_key(rank)?;
            // A lone bracket stands everywhere: it counts only beside the line above it.
            let telling = quote[at].contains(char::is_alphanumeric) || alike(best) > 0;
            telling.then_some(best)
        })
    }
}

struct Reader<'a> {
    patch: &'a PatchLines,
    earlier: &'a Said,
    /// What was quoted since the last remark.
    quote: Vec<String>,
    after: usize,
    out: Vec<Remark>,
}

impl Reader<'_> {
    /// Whether an unquoted line right below a quote is the rest of the quoted line: some clients wrap without a mark.
    fn continues(&mut self, line: &str) -> bool {
        let rest = key(line);
        let Some(last) = self.quote.len().checked_sub(1).filter(|_| !rest.is_empty()) else {
            return false;
        };
        let whole = |n: usize| {
            let start = (last + 1).checked_sub(n)?;
            let head = joined(&self.quote[start..=last])?;
            Some(format!("{head} {rest}"))
        };
        let known = |text: &str| self.patch.index.contains_key(text);
        // The line may be wrapped more than once: then the patch has one that only begins so.
        let begins = |text: &str| {
            let from = (std::ops::Bound::Included(text), std::ops::Bound::Unbounded);
            let next = self.patch.index.range::<str, _>(from).next();
            text.len() > MIN_WRAPPED && next.is_some_and(|(k, _)| k.starts_with(text))
        };
        let wrapped = !known(&self.quote[last])
            && (1..MAX_WRAPPED)
                .filter_map(whole)
                .any(|text| known(&text) || begins(&text));
        if wrapped {
            self.quote.push(rest);
        }
        wrapped
    }

    fn end_run(&mut self, run: &mut Vec<&str>, before_quote: bool) {
        let Some(text) = self
            .said(run, before_quote)
            .filter(|_| self.out.len() < MAX_REMARKS)
        else {
            run.clear();
            return;
        };
        run.clear();
        let line = self.patch.place(&self.quote, self.after);
        let line = line.or_else(|| self.answered());
        self.after = line.unwrap_or(self.after);
        self.quote.clear();
        self.out.push(Remark { text, line });
    }

    /// What a run says, if it says something.
    fn said(&self, run: &[&str], before_quote: bool) -> Option<String> {
        let mut run = run;
        let loud = |l: &&str| !(l.trim().is_empty() || is_cut_mark(l));
        let first = run.iter().position(loud)?;
        let last = run.iter().rposition(loud)?;
        run = &run[first..=last];
        if before_quote && self.out.is_empty() && self.quote.is_empty() {
            run = cut_attribution(run);
            if is_salutation(run) {
                return None;
            }
        }
        let below = !self.out.is_empty() || !self.quote.is_empty();
        let quiet = run.is_empty() || is_only_trailers(run) || (below && is_courtesy(run));
        (!quiet).then(|| run.join("\n").trim_end().to_owned())
    }

    /// The line that the remark is about which the end of the quote repeats.
    fn answered(&self) -> Option<usize> {
        let last = self.quote.iter().rev().find(|k| !k.is_empty())?;
        self.earlier.lines.get(last).copied().flatten()
    }
}

/// A line with its blanks made alike: clients turn tabs into blanks and drop those at the end.
fn key(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Lines that were one before they were wrapped; `None` where an empty line parts them.
fn joined(lines: &[String]) -> Option<String> {
    match lines {
        [one] => (!one.is_empty()).then(|| one.clone()),
        _ => lines.iter().all(|l| !l.is_empty()).then(|| lines.join(" ")),
    }
}

/// A quoted line as it was before it was quoted, however often.
fn unquoted(line: &str) -> &str {
    let mut rest = line;
    while let Some(next) = rest.strip_prefix('>') {
        // `> > x`: the blank belongs to the mark; a blank of the patch itself stands behind it.
        rest = next.strip_prefix(' ').unwrap_or(next);
    }
    rest
}
