//! Two versions of a patchset, out of the store, beside each other. Reads only.

use super::{PipelineError, think};
use crate::diff::mailinfo::mailinfo;
use crate::mail;
use crate::patchset::range_diff::{Commit, Pair, range_diff};
use crate::patchset::{patch_text, shown_alone};
use crate::store::Reader;
use crate::types::MailId;

/// Letters of a commit id that are shown.
const ID: usize = 12;

/// Compares two versions by their labels (`2`, `3-r1`); `None` if the patchset has no such version.
///
/// A pair of versions that would cost too much is [`PipelineError::Refused`] with the reason.
pub async fn compare(
    store: &Reader,
    patchset: i64,
    labels: [&str; 2],
) -> Result<Option<Vec<Pair>>, PipelineError> {
    let (Some(old), Some(new)) = (
        load(store, patchset, labels[0]).await?,
        load(store, patchset, labels[1]).await?,
    ) else {
        return Ok(None);
    };
    let compared = think(move || range_diff(&read(old), &read(new))).await?;
    compared
        .map(Some)
        .map_err(|too_large| PipelineError::Refused(too_large.to_string()))
}

/// What a patchset has instead of two wanted versions, of which at least one is not among the `known`: `no v7, only v1, v2`.
pub fn missing_versions(known: &[&str], wanted: [&str; 2]) -> String {
    let mut gone: Vec<String> = wanted
        .iter()
        .filter(|label| !known.contains(label))
        .map(|label| format!("no v{label}"))
        .collect();
    gone.dedup();
    let known: Vec<String> = known.iter().map(|label| format!("v{label}")).collect();
    format!("{}, only {}", gone.join(" and "), known.join(", "))
}

/// Bytes and commit id of each patch; mails that were taken back are left out.
type Patches = Vec<(Vec<u8>, Option<String>)>;

async fn load(
    store: &Reader,
    patchset: i64,
    label: &str,
) -> Result<Option<Patches>, PipelineError> {
    let Some(version) = store.load_version(patchset, label).await? else {
        return Ok(None);
    };
    let application = store.find_application(version.series).await?;
    let commits = application.map_or_else(Vec::new, |a| a.commits);
    let mails: Vec<MailId> = version.patches.iter().map(|p| p.1).collect();
    if mails.is_empty() {
        return Ok(Some(Vec::new()));
    }
    let place = |mail: &MailId| mails.iter().position(|m| m == mail);
    let mut found = store.load_bytes_of(&mails).await?;
    found.sort_by_key(|(mail, ..)| place(mail));
    let id = |mail: &MailId| {
        commits
            .get(place(mail)?)
            .map(|c| c.chars().take(ID).collect())
    };
    Ok(Some(
        found
            .into_iter()
            .map(|(mail, bytes, _)| (bytes, id(&mail)))
            .collect(),
    ))
}

fn read(patches: Patches) -> Vec<Commit> {
    patches
        .into_iter()
        .map(|(bytes, id)| commit(&bytes, id))
        .collect()
}

/// As the commit is made of the mail; one that `git am` would refuse still has a subject, an author and a text.
fn commit(bytes: &[u8], id: Option<String>) -> Commit {
    let message = mail::parse(bytes);
    match mailinfo(&shown_alone(bytes, &message)) {
        Ok(letter) => Commit {
            id,
            author: format!("{} <{}>", letter.name, letter.email),
            message: letter.message,
            patch: letter.patch,
        },
        Err(_) => {
            let author = message.author();
            Commit {
                id,
                author: format!("{} <{}>", author.name, author.address),
                patch: patch_text(&message).unwrap_or_default().as_bytes().to_vec(),
                message: crate::patchset::parse_tag(&message.subject).title,
            }
        }
    }
}
