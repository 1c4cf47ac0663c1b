//! Remarks on the patches of a version's page: read in a few statements, laid out by `patchset`, put into the posts.

use std::collections::{BTreeMap, HashMap};

use super::page::{Post, Problem, mail_href};
use super::routes::App;
use crate::patchset::{
    Note, Notes, Pairable, Reply, Shown, normalise_title, pair, parse_tag, place_remarks,
};
use crate::pipeline::think;
use crate::store::pages::{MailRow, Scope};
use crate::store::patch_pages::Version;
use crate::store::remark::{AnswerRow, EarlierPatch};
use crate::store::{ListRow, StoreError};
use crate::thread::effective_date;
use crate::types::MailId;
use crate::view::remark::{Remark, Source};
use crate::view::text::{blocks_with, visible};

/// Answers that are read for one page, the newest.
const MAX_ANSWERS: i64 = 500;

/// What a page shows of remarks beside those in its posts.
#[derive(Default)]
pub(super) struct Remarks {
    /// Patches of earlier versions that are not in this one, in words, with the remarks on them.
    pub(super) dropped: Vec<(String, Vec<Remark>)>,
    /// There are more.
    pub(super) more: bool,
}

/// The mails of a version with their posts.
pub(super) type Mails = Vec<(MailRow, Post)>;

/// Puts the remarks of a version, and of those before it, below the lines of its patches.
///
/// `comments` are the answers to the version itself, which the page has read already.
pub(super) async fn add_remarks(
    app: &App,
    list: &ListRow,
    version: (&Version, &str),
    mails: &mut Mails,
    comments: &Mails,
) -> Result<Remarks, Problem> {
    let (version, label) = version;
    let answers = app
        .store
        .load_answers_until(version.series, MAX_ANSWERS)
        .await?;
    if answers.is_empty() {
        return Ok(Remarks::default());
    }
    let ids: Vec<MailId> = answers.iter().map(|a| a.mail).collect();
    let own = comments.iter().map(|(row, _)| (row.mail, row.clone()));
    let mut sources: HashMap<MailId, MailRow> = own.collect();
    let mut missing = ids.clone();
    missing.retain(|mail| !sources.contains_key(mail));
    let rows = app.store.load_mails(Scope::List(list.id), &missing).await?;
    sources.extend(rows.into_iter().map(|row| (row.mail, row)));
    let material = Material {
        list: list.clone(),
        label: label.to_owned(),
        parents: app.store.load_parents_of(&ids).await?,
        earlier: earlier_patches(app, version, &answers).await?,
        sources,
        answers,
    };
    let (version, mut taken) = (version.clone(), std::mem::take(mails));
    let laid = think(move || {
        let remarks = material.put(&version, &mut taken);
        (remarks, taken)
    });
    let laid = laid.await.map_err(|e| StoreError::Unusable(e.to_string()));
    let (remarks, taken) = laid?;
    *mails = taken;
    Ok(remarks)
}

/// All that the remarks of a page are made from.
struct Material {
    list: ListRow,
    /// Of the version that is shown.
    label: String,
    answers: Vec<AnswerRow>,
    /// The mails of the answers.
    sources: HashMap<MailId, MailRow>,
    /// What each of them answers.
    parents: HashMap<MailId, MailId>,
    /// Patches of earlier versions that were answered, with their texts.
    earlier: Vec<(EarlierPatch, String)>,
}

/// The patches of earlier versions that were answered, with their texts.
async fn earlier_patches(
    app: &App,
    version: &Version,
    answers: &[AnswerRow],
) -> Result<Vec<(EarlierPatch, String)>, Problem> {
    let own =
        |mail: MailId| version.cover == Some(mail) || version.patches.iter().any(|p| p.1 == mail);
    if answers.iter().all(|a| own(a.target)) {
        return Ok(Vec::new());
    }
    let mut all = app.store.load_earlier_patches(version.series).await?;
    all.retain(|p| !own(p.mail) && answers.iter().any(|a| a.target == p.mail));
    let ids: Vec<MailId> = all.iter().map(|p| p.mail).collect();
    let mut texts = app.store.load_patch_texts(&ids).await?;
    let with_text = all.into_iter().filter_map(|p| {
        let text = texts.remove(&p.mail)?;
        Some((p, text))
    });
    Ok(with_text.collect())
}

/// The text whose lines a post's blocks were made from.
fn shown_text(row: &MailRow, post: &Post) -> String {
    let mut text = row.text.clone();
    if let Some(patch) = &post.attached {
        text.push_str(if text.is_empty() || text.ends_with('\n') {
            ""
        } else {
            "\n"
        });
        text.push_str(patch);
    }
    text
}

/// The patches that are shown, each with what it was before; and the earlier ones that none of them was.
fn lay_out<'a>(
    version: &Version,
    mails: &Mails,
    texts: &'a [(MailId, String)],
    earlier: &'a [(EarlierPatch, String)],
) -> (Vec<Shown<'a>>, Vec<Shown<'a>>) {
    let title = |subject: &str| normalise_title(&parse_tag(subject).title);
    let subject = |mail: MailId| {
        let row = mails.iter().find(|(row, _)| row.mail == mail);
        row.map_or("", |(row, _)| row.subject.as_str())
    };
    let number = |mail: MailId| {
        version
            .patches
            .iter()
            .find(|p| p.1 == mail)
            .map_or(0, |p| p.0)
    };
    let titles: Vec<String> = texts
        .iter()
        .map(|(mail, _)| title(subject(*mail)))
        .collect();
    let total = version.patches.len() as i64;
    let new: Vec<Pairable<'_>> = texts
        .iter()
        .zip(&titles)
        .map(|((mail, text), title)| Pairable {
            number: number(*mail),
            total,
            title,
            text,
        })
        .collect();
    let old_titles: Vec<String> = earlier.iter().map(|(p, _)| title(&p.subject)).collect();
    let old: Vec<Pairable<'_>> = earlier
        .iter()
        .zip(&old_titles)
        .map(|((p, text), title)| Pairable {
            number: p.number,
            total: p.total,
            title,
            text,
        })
        .collect();
    let one = |mail: MailId, text: &'a str| Shown {
        mail,
        text,
        earlier: Vec::new(),
    };
    let mut shown: Vec<Shown<'a>> = texts.iter().map(|(mail, text)| one(*mail, text)).collect();
    let mut gone = Vec::new();
    for ((patch, text), place) in earlier.iter().zip(pair(&old, &new)) {
        match place {
            Some(at) => shown[at].earlier.push((patch.mail, text)),
            None => gone.push(one(patch.mail, text)),
        }
    }
    (shown, gone)
}

/// `patch 2 of v1: count from one`
fn dropped_words(patch: &EarlierPatch) -> String {
    let title = visible(&parse_tag(&patch.subject).title);
    format!("patch {} of v{}: {title}", patch.number, patch.label)
}

impl Material {
    /// Puts the remarks into the posts; what has no place in them is handed back.
    fn put(&self, version: &Version, mails: &mut Mails) -> Remarks {
        let patches = mails
            .iter()
            .filter(|(row, _)| version.patches.iter().any(|p| p.1 == row.mail));
        let texts: Vec<(MailId, String)> = patches
            .map(|(row, post)| (row.mail, shown_text(row, post)))
            .collect();
        let replies: Vec<Reply<'_>> = self.answers.iter().filter_map(|a| self.reply(a)).collect();
        let (shown, gone) = lay_out(version, mails, &texts, &self.earlier);
        let mut laid = place_remarks(&shown, &replies);
        let texts: HashMap<MailId, &str> = texts.iter().map(|(m, t)| (*m, t.as_str())).collect();
        for (row, post) in mails.iter_mut() {
            let text = texts.get(&row.mail);
            if let Some((notes, text)) = laid.notes.remove(&row.mail).zip(text) {
                self.put_into(post, text, &notes);
            }
        }
        let lost = place_remarks(&gone, &replies);
        let dropped = self.earlier.iter().filter_map(|(patch, text)| {
            let notes = lost.notes.get(&patch.mail)?;
            Some((dropped_words(patch), self.list_lost(text, notes)))
        });
        Remarks {
            dropped: dropped.collect(),
            more: laid.more || lost.more || self.answers.len() as i64 == MAX_ANSWERS,
        }
    }

    fn reply(&self, answer: &AnswerRow) -> Option<Reply<'_>> {
        let row = self.sources.get(&answer.mail).filter(|r| !r.taken_back)?;
        Some(Reply {
            mail: answer.mail,
            target: answer.target,
            parent: self.parents.get(&answer.mail).copied(),
            text: &row.text,
        })
    }

    fn remark(&self, note: &Note) -> Option<Remark> {
        let row = self.sources.get(&note.mail)?;
        let answer = self.answers.iter().find(|a| a.mail == note.mail)?;
        let source = Source {
            number: row.number,
            href: mail_href(&self.list.name, &row.message_id),
            author: (&row.author, &row.address),
            verdict: visible(&row.verdict.words()),
            date: effective_date(row.date, row.arrived),
            version: Some(answer.label.as_str()).filter(|l| *l != self.label),
        };
        Some(Remark::new(note, &source))
    }

    fn remarks<'n>(&self, notes: impl IntoIterator<Item = &'n Note>) -> Vec<Remark> {
        notes.into_iter().filter_map(|n| self.remark(n)).collect()
    }

    /// Lays a post's text out anew, with the remarks in it.
    fn put_into(&self, post: &mut Post, text: &str, notes: &Notes) {
        let lines = notes.at.iter();
        let by_line: BTreeMap<usize, Vec<Remark>> = lines
            .map(|(line, notes)| (*line, self.remarks(notes)))
            .collect();
        if !by_line.is_empty() {
            post.blocks = blocks_with(text, by_line);
            post.name_files();
        }
        post.gone = self.remarks(&notes.gone);
        post.loose = self.remarks(&notes.loose);
    }

    /// The remarks on a patch that is not shown, each with the line that it is about.
    fn list_lost(&self, text: &str, notes: &Notes) -> Vec<Remark> {
        let lines: Vec<&str> = text.lines().collect();
        let mut all = Vec::new();
        for (line, notes) in &notes.at {
            let about = lines.get(*line).copied().unwrap_or_default();
            all.extend(self.remarks(notes).into_iter().map(|r| r.lost(about)));
        }
        all.extend(self.remarks(&notes.loose));
        all
    }
}
