//! `/L/patches/…`: what is in flight, and one patchset in all its versions.

use std::collections::HashMap;

use askama::Template;

use super::message::gzip_mbox;
use super::page::{Answer, Frame, Pill, Post, Problem, Row, count, file, file_name, html, pills};
use super::routes::{App, Wish};
use crate::mail::mbox;
use crate::patchset::parse_tag;
use crate::store::ListRow;
use crate::store::pages::{ApplicationRow, MailRow, PatchFilter, SeriesFact, Version};
use crate::types::{MailId, MessageId, Timestamp};
use crate::view::text::visible;
use crate::view::url;

/// Rows on a page.
const PAGE: i64 = 50;

/// A choice of a form: value, words, chosen.
type Choice = (&'static str, &'static str, bool);

const STATES: [(&str, &str, &[i64]); 8] = [
    ("open", "open", &[1, 2, 5, 7]),
    ("any", "any", &[]),
    ("new", "new", &[1]),
    ("under-review", "under review", &[2]),
    ("changes-requested", "changes requested", &[7]),
    ("accepted", "accepted", &[3]),
    ("rejected", "rejected", &[4]),
    ("superseded", "superseded", &[9]),
];
const OUTCOMES: [(&str, &str); 4] = [
    ("", "any"),
    ("applied", "yes"),
    ("conflict", "conflicts"),
    ("elsewhere", "other project"),
];

#[derive(Template)]
#[template(path = "patches.html")]
struct PatchesPage {
    frame: Frame,
    list: String,
    states: Vec<Choice>,
    outcomes: Vec<Choice>,
    submitter: String,
    words: String,
    rows: Vec<Row>,
    older: Option<String>,
}

/// `GET /L/patches/`
pub async fn index(app: &App, list: ListRow, wish: Wish) -> Answer {
    let chosen = if wish.get("state").is_empty() {
        "open"
    } else {
        wish.get("state")
    };
    let states = STATES
        .iter()
        .find(|s| s.0 == chosen)
        .map(|s| s.2.to_vec())
        .unwrap_or_default();
    let outcome = OUTCOMES
        .iter()
        .find(|o| o.0 == wish.get("applies"))
        .map_or("", |o| o.0);
    let (submitter, words) = (
        wish.get("submitter").to_owned(),
        wish.get("words").to_owned(),
    );
    let filter = PatchFilter {
        states,
        submitter: submitter.clone(),
        outcome: outcome.to_owned(),
        words: words.clone(),
    };
    let before = wish
        .get("before")
        .split_once('.')
        .and_then(|(a, t)| Some((a.parse().ok()?, t.parse().ok()?)));
    let facts = app
        .store
        .load_patchsets(list.id, &filter, before.unwrap_or((i64::MAX, 0)), PAGE)
        .await?;
    let row = |f: &SeriesFact| Row {
        href: format!("/{}/patches/{}/", list.name, f.patchset),
        subject: visible(&f.title),
        author: visible(if f.submitter_name.is_empty() {
            &f.submitter
        } else {
            &f.submitter_name
        }),
        count: count(f.comments, "answer"),
        when: f.arrived,
        pills: pills(f, true),
    };
    let older = facts
        .last()
        .filter(|_| facts.len() as i64 == PAGE)
        .map(|f| {
            let (s, w) = (url::query(&submitter), url::query(&words));
            format!(
                "?state={chosen}&applies={outcome}&submitter={s}&words={w}&before={}.{}",
                f.arrived.0, f.patchset
            )
        });
    Ok(html(&PatchesPage {
        frame: Frame {
            site: app.site.to_string(),
            list: Some(list.name.clone()),
            q: String::new(),
        },
        states: STATES.iter().map(|s| (s.0, s.1, s.0 == chosen)).collect(),
        outcomes: OUTCOMES
            .iter()
            .map(|o| (o.0, o.1, o.0 == outcome))
            .collect(),
        submitter,
        words,
        rows: facts.iter().map(row).collect(),
        older,
        list: list.name,
    }))
}

/// `GET /L/patches/N/`, `/vM/`, `…/mbox`
pub async fn one(app: &App, list: ListRow, rest: &str) -> Answer {
    let missing = || {
        let ways = vec![(
            format!("/{}/patches/", list.name),
            format!("Patches of {}", list.name),
        )];
        Problem::Missing(format!("There is no such patchset in {}.", list.name), ways)
    };
    let mut pieces = rest.split('/');
    let number: i64 = pieces
        .next()
        .and_then(|n| n.parse().ok())
        .ok_or_else(missing)?;
    let tail: Vec<&str> = pieces.collect();
    let Some(id) = app.store.find_patchset(list.id, number).await? else {
        return Err(missing());
    };
    let versions = app.store.load_versions(id).await?;
    let (wanted, mbox) = match tail.as_slice() {
        [] => {
            let to = format!("/{}/patches/{number}/", list.name);
            return Err(Problem::Moved(
                axum::http::StatusCode::MOVED_PERMANENTLY,
                to,
            ));
        }
        [""] => (None, false),
        ["mbox" | "mbox.gz"] => (None, true),
        [label, ""] => (label.strip_prefix('v'), false),
        [label, "mbox" | "mbox.gz"] => (label.strip_prefix('v'), true),
        _ => return Err(missing()),
    };
    let fact = match wanted {
        Some(label) => versions.iter().find(|v| v.label == label),
        None => versions.last(),
    };
    let Some(fact) = fact.cloned() else {
        return Err(missing());
    };
    let Some(version) = app.store.load_version(id, &fact.label).await? else {
        return Err(missing());
    };
    if mbox {
        return series_mbox(app, &list, &version, &fact, rest.ends_with(".gz")).await;
    }
    show(app, list, id, &versions, fact, version).await
}

async fn series_mbox(
    app: &App,
    list: &ListRow,
    version: &Version,
    fact: &SeriesFact,
    packed: bool,
) -> Answer {
    let wanted: Vec<MailId> = version.patches.iter().map(|p| p.1).collect();
    let mut mails = app.store.load_mails(list.id, &wanted).await?;
    mails.sort_by_key(|m| wanted.iter().position(|w| *w == m.mail));
    if packed {
        return gzip_mbox(app, &mails, &fact.title).await;
    }
    let mut out = Vec::new();
    for mail in &mails {
        if let Some((bytes, _)) = app.store.load_bytes(mail.mail).await? {
            // A vector takes all that is written.
            let _infallible = mbox::write(&mut out, &bytes);
        }
    }
    Ok(file(
        "text/plain; charset=utf-8",
        Some(file_name(&fact.title, "mbox")),
        out,
    ))
}

struct VersionLink {
    label: String,
    href: String,
    day: String,
    current: bool,
}

struct PatchLine {
    number: i64,
    title: String,
    anchor: String,
    added: usize,
    removed: usize,
    taken_over: bool,
    commit: Option<String>,
}

#[derive(Template)]
#[template(path = "patchset.html")]
struct PatchsetPage {
    frame: Frame,
    list: String,
    heading: String,
    canonical: String,
    label: String,
    submitter: String,
    patch_count: String,
    when: Timestamp,
    base: Option<String>,
    base_why: String,
    pills: Vec<Pill>,
    versions: Vec<VersionLink>,
    note: Option<(&'static str, String)>,
    commands: Vec<String>,
    reason: String,
    patches: Vec<PatchLine>,
    mails: Vec<Post>,
    comments: Vec<Post>,
}

async fn show(
    app: &App,
    list: ListRow,
    id: i64,
    versions: &[SeriesFact],
    fact: SeriesFact,
    version: Version,
) -> Answer {
    let application = app.store.find_application(version.series).await?;
    let wanted: Vec<MailId> = version
        .cover
        .into_iter()
        .chain(version.patches.iter().map(|p| p.1))
        .collect();
    let mails = by_id(app.store.load_mails(list.id, &wanted).await?);
    let answers: Vec<MailId> = version.comments.iter().map(|c| c.0).collect();
    let mut comments = app.store.load_mails(list.id, &answers).await?;
    comments.sort_by_key(|m| m.number);
    let post = |m: &MailRow| Post::new(&list.name, &list.address, m, 0);
    let commits = application
        .as_ref()
        .map(|a| a.commits.clone())
        .unwrap_or_default();
    let patches = patch_lines(&version, &mails, &commits);
    let link = |v: &SeriesFact| VersionLink {
        label: v.label.clone(),
        href: format!("/{}/patches/{id}/v{}/", list.name, v.label),
        day: v.arrived.human().chars().take(10).collect(),
        current: v.label == fact.label,
    };
    let page = format!("{}/{}/patches/{id}/", app.base_url, list.name);
    let anchor = wanted
        .first()
        .and_then(|m| mails.get(m))
        .and_then(|m| MessageId::parse(&m.message_id));
    let base = application.as_ref().and_then(|a| {
        let (repo, branch) = a.repo.as_ref()?;
        Some(format!(
            "{repo} {branch}@{}",
            a.base.as_ref()?.chars().take(12).collect::<String>()
        ))
    });
    Ok(html(&PatchsetPage {
        frame: Frame {
            site: app.site.to_string(),
            list: Some(list.name.clone()),
            q: String::new(),
        },
        heading: visible(&fact.title),
        canonical: format!("{page}v{}/", fact.label),
        label: fact.label.clone(),
        submitter: visible(if fact.submitter_name.is_empty() {
            &fact.submitter
        } else {
            &fact.submitter_name
        }),
        patch_count: if fact.total == 1 {
            "1 patch".to_owned()
        } else {
            format!("{} patches", fact.total)
        },
        when: fact.arrived,
        base,
        base_why: application
            .as_ref()
            .map(|a| a.why.clone())
            .unwrap_or_default(),
        pills: pills(&fact, true),
        versions: versions.iter().map(link).collect(),
        note: note(&fact, application.as_ref()),
        commands: commands(
            app,
            &list,
            &page,
            &fact,
            application.as_ref(),
            anchor.as_ref(),
        ),
        reason: version.reason.clone(),
        patches,
        mails: wanted
            .iter()
            .filter_map(|m| mails.get(m))
            .map(post)
            .collect(),
        comments: comments.iter().map(post).collect(),
        list: list.name,
    }))
}

fn patch_lines(
    version: &Version,
    mails: &HashMap<MailId, MailRow>,
    commits: &[String],
) -> Vec<PatchLine> {
    let line = |(at, (number, mail, taken_over)): (usize, &(i64, MailId, bool))| {
        let mail = mails.get(mail)?;
        let (added, removed) = stat(&mail.text);
        Some(PatchLine {
            number: *number,
            title: visible(&parse_tag(&mail.subject).title),
            anchor: format!("m{}", mail.number),
            added,
            removed,
            taken_over: *taken_over,
            commit: commits.get(at).map(|c| c.chars().take(12).collect()),
        })
    };
    version
        .patches
        .iter()
        .enumerate()
        .filter_map(line)
        .collect()
}

fn by_id(mails: Vec<MailRow>) -> HashMap<MailId, MailRow> {
    mails.into_iter().map(|m| (m.mail, m)).collect()
}

/// Added and removed lines of the diff in a text.
fn stat(text: &str) -> (usize, usize) {
    let lines = crate::view::text::blocks(text)
        .into_iter()
        .flat_map(|b| b.lines);
    lines.fold((0, 0), |(a, r), l| {
        (
            a + usize::from(l.class == "add"),
            r + usize::from(l.class == "del"),
        )
    })
}

/// What stands in the way, in words, and what to do next.
fn note(fact: &SeriesFact, application: Option<&ApplicationRow>) -> Option<(&'static str, String)> {
    if fact.received < fact.total {
        let gone = fact.total - fact.received;
        let text = format!(
            "{} of {} patches are here; {gone} did not arrive yet. It is applied when all are.",
            fact.received, fact.total
        );
        return Some(("caution", text));
    }
    let Some(a) = application else {
        return Some(("", "It will be applied in a moment.".to_owned()));
    };
    match a.outcome.as_str() {
        "conflict" => {
            let place = match (a.patch, a.file.as_deref(), a.hunk) {
                (Some(patch), Some(file), Some(hunk)) if hunk > 0 => {
                    format!("Patch {patch} does not fit in {file}, hunk {hunk}")
                }
                (Some(patch), Some(file), _) => format!("Patch {patch} does not fit in {file}"),
                _ => "It does not fit".to_owned(),
            };
            Some((
                "bad",
                format!(
                    "{place}: {}. Rebase it and send a new version in reply to this one.",
                    a.detail
                ),
            ))
        }
        "bad" => Some((
            "bad",
            format!(
                "Patch {} cannot be used: {}",
                a.patch.unwrap_or(1),
                a.detail
            ),
        )),
        "elsewhere" => Some(("", format!("Not for a repository here: {}.", a.detail))),
        _ => None,
    }
}

fn commands(
    app: &App,
    list: &ListRow,
    page: &str,
    fact: &SeriesFact,
    application: Option<&ApplicationRow>,
    anchor: Option<&MessageId>,
) -> Vec<String> {
    let mut out = Vec::new();
    if let Some((name, _)) = application.and_then(|a| a.repo.as_ref())
        && let Some(ref_name) = application.and_then(|a| a.ref_name.as_ref())
    {
        out.push(format!(
            "git fetch --no-tags {}/{name}.patches.git {ref_name}",
            app.base_url
        ));
    }
    if let Some(id) = anchor {
        out.push(format!(
            "b4 -c b4.midmask={}/{}/%s am {}",
            app.base_url,
            list.name,
            shell(id.as_str())
        ));
    }
    out.push(format!("curl -sf {page}v{}/mbox | git am -3", fact.label));
    out
}

/// A word that a shell takes as it is; whatever is in it.
fn shell(word: &str) -> String {
    let plain = word
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || "@.-_+=%".contains(c));
    if plain {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}
