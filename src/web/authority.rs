//! Who stands behind a series, for its page: how its sender is authenticated, what it only claims, who acked it.

use super::page::{Post, Problem};
use super::routes::App;
use crate::patchset::Ack;
use crate::store::ListRow;
use crate::store::patch_pages::SeriesFact;
use crate::types::MailId;
use crate::view::acks::{AckLine, ack_count, ack_lines};
use crate::view::text::visible;
use crate::view::url;

/// Address of the reply, and what it gave.
pub(super) type AckLink = (String, AckLine);

/// What people have to do with the patches of a version.
#[derive(Default)]
pub(super) struct People {
    /// What replies gave.
    pub acks: Vec<AckLink>,
    /// What they only claim.
    pub claims: Vec<AckLink>,
    /// The count of those who gave.
    pub words: Option<String>,
    /// A field alone names the submitter of a patch.
    pub by_field: bool,
}

pub(super) async fn people_of(
    app: &App,
    list: &ListRow,
    id: i64,
    label: &str,
) -> Result<People, Problem> {
    let acked = app.store.load_acked_series(id, Some(label)).await?;
    let patches = || acked.iter().flat_map(|s| &s.patches);
    let given: Vec<(i64, &[Ack])> = patches().map(|p| (p.number, p.acks.as_slice())).collect();
    let href = |l: AckLine| {
        let id = url::message_id(&l.message_id);
        (format!("/{}/{id}/", list.name), l)
    };
    let lines = ack_lines(&given).into_iter().map(href);
    let (claims, acks) = lines.partition(|(_, l)| l.claim.is_some());
    Ok(People {
        acks,
        claims,
        words: ack_count(&given),
        by_field: patches().any(|p| p.by_field),
    })
}

/// What is known of the sender; where mails differ, what is known of the least sure one. Of whom only a field names nothing is.
pub(super) fn verdict_of(mails: &[(MailId, Post)], by_field: bool) -> String {
    if by_field {
        return "named by a field only, not by From: not authenticated".to_owned();
    }
    let sure = |post: &&Post| post.verdict.starts_with("authenticated");
    let mut posts = mails.iter().map(|(_, post)| post);
    let worst = posts.clone().find(|p| !sure(p)).or_else(|| posts.next());
    worst.map(|p| p.verdict.clone()).unwrap_or_default()
}

/// For a series without authority: link, words, title of what it claims to belong to.
pub(super) async fn claims_of(
    app: &App,
    list: &ListRow,
    fact: &SeriesFact,
) -> Result<Option<(String, String, String)>, Problem> {
    let Some(anchor) = fact.claims else {
        return Ok(None);
    };
    let words = format!("This claims to be v{}, without authority, of", fact.label);
    let found = app.store.find_claimed(list.id, anchor).await?;
    Ok(found.map(|(patchset, _, title)| {
        let href = format!("/{}/patches/{patchset}/", list.name);
        (href, words, visible(&title))
    }))
}

pub(super) fn claim_line(list: &ListRow, claim: (i64, String, String, String)) -> (String, String) {
    let (patchset, label, title, submitter) = claim;
    let href = format!("/{}/patches/{patchset}/v{label}/", list.name);
    let words = format!(
        "{} (claims to be v{label}) by {}",
        visible(&title),
        visible(&submitter)
    );
    (href, words)
}
