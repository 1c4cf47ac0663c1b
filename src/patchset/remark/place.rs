//! All remarks on the patches of one version, each at its place: its own, and those on earlier versions.

use std::collections::{BTreeMap, HashMap};

use super::find::{PatchLines, Remark, Said};
use super::follow::{Fate, Follower};
use crate::types::MailId;

/// A patch of the version that is shown.
#[derive(Debug, Clone)]
pub struct Shown<'a> {
    /// Its mail.
    pub mail: MailId,
    /// Its text with the diff.
    pub text: &'a str,
    /// What it was in earlier versions: mail and text.
    pub earlier: Vec<(MailId, &'a str)>,
}

/// A mail that answers a patch, or another such mail.
#[derive(Debug, Clone)]
pub struct Reply<'a> {
    /// Its row.
    pub mail: MailId,
    /// The patch that it is about.
    pub target: MailId,
    /// The mail that it answers right away, if that is known.
    pub parent: Option<MailId>,
    /// Its text.
    pub text: &'a str,
}

/// What became of the line since the version that the remark was made on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// It says the same.
    Unchanged,
    /// It says something else.
    Changed,
    /// It is not there any more.
    Gone,
}

/// A remark at its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// The mail that holds it.
    pub mail: MailId,
    /// Its place among the remarks of that mail, from 1.
    pub number: usize,
    /// What it says.
    pub text: String,
    /// It says more than `text` does.
    pub cut: bool,
    /// `None` if it was made on the patch as it is shown.
    pub mark: Option<Mark>,
    /// 0, or more if it answers another one at the same place.
    pub depth: u32,
    /// The line that is gone.
    pub about: String,
}

/// The remarks on one patch, oldest first at each place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Notes {
    /// Below which line of the patch's text, from 0.
    pub at: BTreeMap<usize, Vec<Note>>,
    /// On lines of earlier versions that are gone.
    pub gone: Vec<Note>,
    /// On the patch as it is, but on no line of it.
    pub loose: Vec<Note>,
}

/// What [`place_remarks`] gives.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Laid {
    /// By the mail of the shown patch; patches without remarks are left out.
    pub notes: HashMap<MailId, Notes>,
    /// There are more remarks than are kept.
    pub more: bool,
}

/// Remarks that are kept, all patches together.
pub(super) const MAX_NOTES: usize = 300;
/// Lines and bytes of one remark that are kept.
pub(super) const MAX_NOTE: (usize, usize) = (40, 4_000);
/// Bytes of texts that are read for one page, some of them twice: some hundred long mails.
const MAX_WORK: usize = 16 << 20;
/// How deep answers to answers are told apart.
const MAX_DEPTH: u32 = 3;

/// Lays the remarks of `replies`, oldest first, out on the patches. Replies to what is not among `shown` are left out.
///
/// A remark on an earlier version that is on no line says nothing about this one: it is left out, too.
pub fn place_remarks(shown: &[Shown<'_>], replies: &[Reply<'_>]) -> Laid {
    let mut laid = Laid::default();
    let (mut count, mut work) = (0, 0);
    for patch in shown {
        let mut notes = Notes::default();
        let own = std::iter::once((patch.mail, patch.text));
        for (mail, text) in patch.earlier.iter().copied().chain(own) {
            let mut answers: Vec<&Reply<'_>> =
                replies.iter().filter(|r| r.target == mail).collect();
            if answers.is_empty() {
                continue;
            }
            work += text.len();
            answers.retain(|reply| {
                work += reply.text.len();
                laid.more |= work > MAX_WORK;
                work <= MAX_WORK
            });
            let follower = (mail != patch.mail).then(|| Follower::new(text, patch.text));
            for (reply, remarks) in read(text, &answers) {
                for (number, remark) in remarks.iter().enumerate() {
                    if count == MAX_NOTES {
                        laid.more = true;
                        break;
                    }
                    let fate = fate(remark, follower.as_ref());
                    let note = note(reply.mail, number + 1, remark);
                    count += usize::from(notes.add(note, fate, remark, text));
                }
            }
        }
        notes.nest(replies);
        if notes != Notes::default() {
            laid.notes.insert(patch.mail, notes);
        }
    }
    laid
}

/// The remarks of each answer; those of the mail that one answers help to place its own.
fn read<'r, 'a>(text: &str, answers: &[&'r Reply<'a>]) -> Vec<(&'r Reply<'a>, Vec<Remark>)> {
    let lines = PatchLines::new(text);
    let mut found: Vec<(&Reply<'_>, Vec<Remark>)> = Vec::with_capacity(answers.len());
    let mut by_mail: HashMap<MailId, usize> = HashMap::new();
    let (nothing, mut said) = (Said::default(), HashMap::<usize, Said>::new());
    for reply in answers {
        let parent = reply.parent.and_then(|p| by_mail.get(&p));
        let earlier = match parent {
            Some(at) => said.entry(*at).or_insert_with(|| Said::new(&found[*at].1)),
            None => &nothing,
        };
        let remarks = lines.find_remarks(reply.text, earlier);
        by_mail.insert(reply.mail, found.len());
        found.push((reply, remarks));
    }
    found
}

/// Where a remark stands now, and what became of its line.
fn fate(remark: &Remark, follower: Option<&Follower<'_>>) -> (Option<usize>, Option<Mark>) {
    match (remark.line, follower) {
        (line, None) => (line, None),
        (None, Some(_)) => (None, Some(Mark::Gone)),
        (Some(line), Some(follower)) => match follower.fate(line) {
            Fate::Unchanged(at) => (Some(at), Some(Mark::Unchanged)),
            Fate::Changed(at) => (Some(at), Some(Mark::Changed)),
            Fate::Gone => (None, Some(Mark::Gone)),
        },
    }
}

fn note(mail: MailId, number: usize, remark: &Remark) -> Note {
    let (max_lines, max_bytes) = MAX_NOTE;
    let lines: Vec<&str> = remark.text.lines().take(max_lines).collect();
    let mut text = lines.join("\n");
    let mut end = text.len().min(max_bytes);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    Note {
        mail,
        number,
        cut: text.len() < remark.text.len(),
        text,
        mark: None,
        depth: 0,
        about: String::new(),
    }
}

impl Notes {
    /// Whether the remark has a place here.
    fn add(
        &mut self,
        mut note: Note,
        (at, mark): (Option<usize>, Option<Mark>),
        remark: &Remark,
        text: &str,
    ) -> bool {
        note.mark = mark;
        match (at, mark, remark.line) {
            (Some(at), ..) => self.at.entry(at).or_default().push(note),
            // Of one mail the first: the others are pieces of a text that is about no line.
            (None, None, _) => match self.loose.last_mut().filter(|l| l.mail == note.mail) {
                Some(first) => first.cut = true,
                None => self.loose.push(note),
            },
            (None, Some(_), Some(line)) => {
                note.about = text.lines().nth(line).unwrap_or_default().to_owned();
                self.gone.push(note);
            }
            (None, Some(_), None) => return false,
        }
        true
    }

    /// Puts answers behind what they answer, a step deeper.
    fn nest(&mut self, replies: &[Reply<'_>]) {
        let parents: HashMap<MailId, MailId> = replies
            .iter()
            .filter_map(|r| Some((r.mail, r.parent?)))
            .collect();
        let places = self
            .at
            .values_mut()
            .chain([&mut self.gone, &mut self.loose]);
        for place in places {
            let mut nested: Vec<Note> = Vec::with_capacity(place.len());
            for mut note in place.drain(..) {
                let parent = parents.get(&note.mail);
                let above = nested.iter().position(|n| Some(&n.mail) == parent);
                let mut at = nested.len();
                if let Some(above) = above {
                    let depth = nested[above].depth;
                    note.depth = (depth + 1).min(MAX_DEPTH);
                    let below = nested[above + 1..].iter().position(|n| n.depth <= depth);
                    at = below.map_or(at, |n| above + 1 + n);
                }
                nested.insert(at, note);
            }
            *place = nested;
        }
    }
}
