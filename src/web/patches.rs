//! `/L/patches/…`: what is in flight, and one patchset in all its versions.

use std::collections::HashMap;

use askama::Template;

use super::authority::{AckLink, acks_of, claim_line, claims_of, verdict_of};
use super::landed::{HistoryLine, history_of, landed_note};
use super::list::PAGE;
use super::mbox::{Packing, patches};
use super::message::add_attachments;
use super::page::{
    Answer, Frame, Pill, Post, Problem, Row, cached, count, html, person, pills, shell,
    short_pills, tagged,
};
use super::routes::{App, Wish};
use crate::patchset::parse_tag;
use crate::store::ListRow;
use crate::store::pages::{MailRow, Scope};
use crate::store::patch_pages::{ApplicationRow, PatchFilter, SeriesFact, Version};
use crate::types::{MailId, MessageId, Timestamp};
use crate::view::text::visible;
use crate::view::url;

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
    filtered: bool,
    submitter: String,
    words: String,
    rows: Vec<Row>,
    older: Option<String>,
}

/// `GET /L/patches/`
pub async fn index(app: &App, list: ListRow, wish: &Wish) -> Answer {
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
    let before = wish.pair("before");
    let facts = app
        .store
        .load_patchsets(list.id, &filter, before.unwrap_or((i64::MAX, 0)), PAGE)
        .await?;
    let row = |f: &SeriesFact| {
        let href = format!("/{}/patches/{}/", list.name, f.patchset);
        let mut row = Row::new(href, &f.title, f.arrived);
        row.who = person(&f.submitter_name, &f.submitter);
        if f.comments > 0 {
            row.count = count(f.comments, "answer");
        }
        row.state = Some(Pill::state(f.state));
        row.pills = short_pills(f, false);
        row
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
        frame: wish.frame(app, Some(&list.name), "patches"),
        states: STATES.iter().map(|s| (s.0, s.1, s.0 == chosen)).collect(),
        outcomes: OUTCOMES
            .iter()
            .map(|o| (o.0, o.1, o.0 == outcome))
            .collect(),
        filtered: chosen != "open"
            || !(outcome.is_empty() && submitter.is_empty() && words.is_empty()),
        submitter,
        words,
        rows: facts.iter().map(row).collect(),
        older,
        list: list.name,
    }))
}

/// `GET /L/patches/N/`, `/vM/`, `…/mbox`
pub async fn one(app: &App, list: ListRow, rest: &str, wish: &Wish) -> Answer {
    let missing = || {
        let way = (
            format!("/{}/patches/?state=any", list.name),
            format!("Patches of {}", list.name),
        );
        Problem::Missing(
            format!("There is no such patchset in {}.", list.name),
            vec![way],
        )
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
    let (wanted, mbox) = match tail.as_slice() {
        [] | [""] if id != number || tail.is_empty() => {
            let to = format!("/{}/patches/{id}/", list.name);
            return Err(Problem::Moved(
                axum::http::StatusCode::MOVED_PERMANENTLY,
                to,
            ));
        }
        [""] => (None, None),
        ["mbox"] => (None, Some(Packing::Plain)),
        ["mbox.gz"] => (None, Some(Packing::Gzip)),
        [pair] if let Some(pair) = super::range_diff::labels(pair) => {
            return super::range_diff::show(app, &list, id, pair, wish).await;
        }
        [label, ""] => (label.strip_prefix('v'), None),
        [label, "mbox"] => (label.strip_prefix('v'), Some(Packing::Plain)),
        [label, "mbox.gz"] => (label.strip_prefix('v'), Some(Packing::Gzip)),
        _ => return Err(missing()),
    };
    if mbox.is_none() {
        let (realm, _) = app.store.find_list_version(&list).await?;
        let key = format!(
            "patchset {} {} {realm} {id} {wanted:?}",
            list.id, list.version
        );
        let make = async {
            let found = find_version(app, id, wanted).await?.ok_or_else(missing)?;
            let newest = found.1.arrived;
            Ok((page(app, &list, id, found, wish).await?, Some(newest)))
        };
        return cached(wish, key, make).await;
    }
    let (_, fact, _) = find_version(app, id, wanted).await?.ok_or_else(missing)?;
    let acked = app.store.load_acked_series(id, Some(&fact.label)).await?;
    let name = format!("v{} {}", fact.label, fact.title);
    let (realm, _) = app.store.find_list_version(&list).await?;
    let packing = mbox.unwrap_or(Packing::Plain);
    let from = format!(
        "series {} {} {realm} {id} {} {packing:?}",
        list.id, list.created.0, fact.label
    );
    let acked = acked.ok_or_else(missing)?;
    let make = || patches(app, acked, &name, packing);
    Ok(tagged(&wish.headers, &from, make))
}

type Found = (Vec<SeriesFact>, SeriesFact, Version);

/// All versions, and the wanted one, or the newest.
async fn find_version(app: &App, id: i64, wanted: Option<&str>) -> Result<Option<Found>, Problem> {
    let versions = app.store.load_versions(id).await?;
    let fact = match wanted {
        Some(label) => versions.iter().find(|v| v.label == label),
        None => versions.last(),
    };
    let Some(fact) = fact.cloned() else {
        return Ok(None);
    };
    let version = app.store.load_version(id, &fact.label).await?;
    Ok(version.map(|version| (versions, fact, version)))
}

struct VersionLink {
    label: String,
    href: String,
    day: String,
    facts: String,
    current: bool,
}

struct PatchLine {
    number: i64,
    title: String,
    anchor: String,
    added: usize,
    removed: usize,
    taken_over: bool,
    answers: usize,
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
    verdict: String,
    /// Link, words before it, its text.
    claims: Option<(String, String, String)>,
    claimed_by: Vec<(String, String)>,
    patch_count: String,
    file_count: String,
    added: usize,
    removed: usize,
    when: Timestamp,
    base: Option<String>,
    base_why: String,
    thread: String,
    reply: String,
    discussion: String,
    mbox: String,
    changes: Option<(String, String)>,
    pills: Vec<Pill>,
    versions: Vec<VersionLink>,
    newer: Option<(String, String)>,
    note: Option<(&'static str, String)>,
    commands: Vec<(&'static str, String)>,
    reason: String,
    patches: Vec<PatchLine>,
    acks: Vec<AckLink>,
    claimed_acks: Vec<AckLink>,
    mails: Vec<Post>,
    comments: Vec<Post>,
    history: Vec<HistoryLine>,
}

async fn page(
    app: &App,
    list: &ListRow,
    id: i64,
    found: Found,
    wish: &Wish,
) -> Result<PatchsetPage, Problem> {
    let (versions, fact, version) = found;
    let application = app.store.find_application(version.series).await?;
    let scope = Scope::List(list.id);
    let wanted: Vec<MailId> = version
        .cover
        .into_iter()
        .chain(version.patches.iter().map(|p| p.1))
        .collect();
    let mails = posts(app, list, scope, &wanted).await?;
    let answers: Vec<MailId> = version.comments.iter().map(|c| c.0).collect();
    let mut comments = posts(app, list, scope, &answers).await?;
    comments.sort_by_key(|(_, p)| p.date);
    let number_of: HashMap<MailId, i64> = version.patches.iter().map(|p| (p.1, p.0)).collect();
    let target_of: HashMap<MailId, MailId> = version.comments.iter().copied().collect();
    for (mail, post) in &mut comments {
        let number = target_of.get(mail).and_then(|t| number_of.get(t));
        post.role = number.map_or_else(String::new, |n| format!("on patch {n}"));
        post.same = number.is_some() && post.tag.starts_with("Re:");
    }
    let first = mails
        .first()
        .map(|(_, p)| (p.href.clone(), p.mailto.clone()))
        .unwrap_or_default();
    let patches = patch_lines(&version, &mails, application.as_ref());
    let (acks, claimed_acks, ack_words) = acks_of(app, list, id, &fact.label).await?;
    let mut pills = pills(&fact, true);
    pills.extend(ack_words.map(|words| Pill::fact("", words)));
    let stats: Vec<_> = mails.iter().map(|(_, p)| p.stat()).collect();
    let paths: std::collections::BTreeSet<&str> =
        stats.iter().flat_map(|s| s.2.iter().copied()).collect();
    let home = format!("{}/{}/patches/{id}/", app.base_url, list.name);
    let newest = versions.last().filter(|v| v.label != fact.label);
    let anchor = app
        .store
        .load_mails(scope, &wanted[..wanted.len().min(1)])
        .await?;
    Ok(PatchsetPage {
        frame: wish.frame(app, Some(&list.name), "patches"),
        heading: visible(&fact.title),
        canonical: format!("{home}v{}/", fact.label),
        label: fact.label.clone(),
        submitter: person(&fact.submitter_name, &fact.submitter),
        verdict: verdict_of(&mails),
        claims: claims_of(app, list, &fact).await?,
        claimed_by: app
            .store
            .load_claims(list.id, id)
            .await?
            .into_iter()
            .map(|claim| claim_line(list, claim))
            .collect(),
        patch_count: count(fact.total, "patch"),
        file_count: count(paths.len() as i64, "file"),
        added: stats.iter().map(|s| s.0).sum(),
        removed: stats.iter().map(|s| s.1).sum(),
        when: fact.arrived,
        base: application.as_ref().and_then(base_words),
        base_why: application.as_ref().map_or_else(String::new, why_words),
        thread: format!("{}T/", first.0),
        reply: first.1,
        discussion: match comments.len() {
            0 => String::new(),
            n => count(n as i64, "answer"),
        },
        mbox: format!("/{}/patches/{id}/v{}/mbox", list.name, fact.label),
        changes: super::range_diff::link_to(&home, &versions, &fact.label),
        pills,
        acks,
        claimed_acks,
        versions: versions
            .iter()
            .map(|v| version_link(list, id, v, &fact))
            .collect(),
        newer: newest.map(|v| (format!("/{}/patches/{id}/", list.name), v.label.clone())),
        note: landed_note(&app.store.load_landed(&[version.series]).await?, fact.total)
            .or_else(|| note(&fact, application.as_ref())),
        commands: commands(
            app,
            list,
            &home,
            &fact,
            application.as_ref(),
            anchor.first(),
        ),
        reason: version.reason.clone(),
        patches,
        mails: mails.into_iter().map(|m| m.1).collect(),
        comments: comments.into_iter().map(|c| c.1).collect(),
        history: history_of(app, id).await?,
        list: list.name.clone(),
    })
}

/// These mails as posts, in this order, with what is attached.
async fn posts(
    app: &App,
    list: &ListRow,
    scope: Scope,
    wanted: &[MailId],
) -> Result<Vec<(MailId, Post)>, Problem> {
    let place: HashMap<MailId, usize> = wanted.iter().copied().zip(0..).collect();
    let mut rows = app.store.load_mails(scope, wanted).await?;
    rows.sort_by_key(|m| place.get(&m.mail).copied());
    let ids: Vec<MailId> = rows.iter().map(|m| m.mail).collect();
    let mut posts: Vec<Post> = rows
        .iter()
        .map(|m| Post::new(&list.name, &list.address, m, 0))
        .collect();
    add_attachments(app, &ids, &mut posts).await?;
    Ok(ids.into_iter().zip(posts).collect())
}

fn patch_lines(
    version: &Version,
    mails: &[(MailId, Post)],
    application: Option<&ApplicationRow>,
) -> Vec<PatchLine> {
    let posts: HashMap<MailId, &Post> = mails.iter().map(|(m, p)| (*m, p)).collect();
    let commits = application.map_or(&[][..], |a| &a.commits);
    let line = |(at, (number, mail, taken_over)): (usize, &(i64, MailId, bool))| {
        let post = posts.get(mail)?;
        let (added, removed, _) = post.stat();
        let subject = format!("{} {}", post.tag, post.subject);
        Some(PatchLine {
            number: *number,
            title: visible(&parse_tag(subject.trim()).title),
            anchor: post.anchor.clone(),
            added,
            removed,
            taken_over: *taken_over,
            answers: version.comments.iter().filter(|c| c.1 == *mail).count(),
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

fn version_link(list: &ListRow, id: i64, v: &SeriesFact, shown: &SeriesFact) -> VersionLink {
    let outcome = match v.outcome.as_deref() {
        _ if v.received < v.total => "incomplete",
        Some("applied") => "applies",
        Some("conflict") => "conflicts",
        Some("bad") => "not usable",
        _ => "",
    };
    let facts = match (v.comments, outcome) {
        (0, outcome) => outcome.to_owned(),
        (n, "") => count(n, "answer"),
        (n, outcome) => format!("{outcome}, {}", count(n, "answer")),
    };
    VersionLink {
        label: v.label.clone(),
        href: format!("/{}/patches/{id}/v{}/", list.name, v.label),
        day: v.arrived.human().chars().take(10).collect(),
        facts,
        current: v.label == shown.label,
    }
}

fn base_words(a: &ApplicationRow) -> Option<String> {
    let (repo, branch) = a.repo.as_ref()?;
    Some(format!("{repo} {branch}@{}", short(a.base.as_ref()?)))
}

fn short(commit: &str) -> String {
    commit.chars().take(12).collect()
}

fn why_words(a: &ApplicationRow) -> String {
    match &a.base {
        Some(base) if !a.why.is_empty() => {
            format!("Tried on {}: {}.", short(base), a.why.trim_end_matches('.'))
        }
        _ => String::new(),
    }
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
        "conflict" => Some(("bad", conflict(a))),
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

/// Patch, file and hunk that do not fit, what was found there, and what to do.
fn conflict(a: &ApplicationRow) -> String {
    let mut detail = a.detail.trim_end_matches('.').to_owned();
    let place = match (a.patch, a.file.as_deref()) {
        (Some(patch), Some(file)) => {
            // The place is said once.
            detail = detail.replace(&format!(" of {file}"), "");
            match a.hunk.filter(|h| *h > 0) {
                Some(hunk) => {
                    detail = detail.replacen(&format!("hunk {hunk}, "), "", 1);
                    format!("Patch {patch} does not fit in {file}, hunk {hunk}")
                }
                None => format!("Patch {patch} does not fit in {file}"),
            }
        }
        _ => "It does not fit".to_owned(),
    };
    format!("{place}: {detail}. Rebase it and send a new version in reply to this one.")
}

/// Lines to copy: what for, and the command.
fn commands(
    app: &App,
    list: &ListRow,
    page: &str,
    fact: &SeriesFact,
    application: Option<&ApplicationRow>,
    anchor: Option<&MailRow>,
) -> Vec<(&'static str, String)> {
    let mut out = Vec::new();
    if let Some((name, _)) = application.and_then(|a| a.repo.as_ref())
        && let Some(ref_name) = application.and_then(|a| a.ref_name.as_ref())
    {
        let line = format!(
            "git fetch --no-tags {}/{name}.patches.git {ref_name}",
            app.base_url
        );
        out.push(("as commits", line));
    }
    if let Some(id) = anchor.and_then(|m| MessageId::parse(&m.message_id)) {
        let line = format!(
            "b4 -c b4.midmask={}/{}/%s am {}",
            app.base_url,
            list.name,
            shell(id.as_str())
        );
        out.push(("with b4", line));
    }
    out.push((
        "with git am",
        format!("curl -sf {page}v{}/mbox | git am -3", fact.label),
    ));
    out
}
