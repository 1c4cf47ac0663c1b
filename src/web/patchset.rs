//! `/L/patches/N/`, `/vM/`: one patchset, one of its versions: state, patches with the remarks on them, discussion.

use std::collections::HashMap;

use askama::Template;

use super::authority::{AckLink, claim_line, claims_of, people_of, verdict_of};
use super::base::{Line, depends_lines, is_base, needing_lines, tip_line, without_place};
use super::landed::{HistoryLine, history_of, landed_note};
use super::message::add_attachments;
use super::page::{Frame, Pill, Post, Problem, count, mail_href, person, pills, shell};
use super::remarks::{Mails, Remarks, add_remarks};
use super::routes::{App, Wish};
use crate::mail;
use crate::patchset::depend::UNKNOWN_COMMIT;
use crate::patchset::{
    CRLF, damage, goes_on_words, has_crlf, has_second_patch, parse_tag, recognise, text_goes_on,
};
use crate::store::ListRow;
use crate::store::pages::Scope;
use crate::store::patch_pages::{ApplicationRow, SeriesFact, Version};
use crate::types::{MailId, MessageId, SeriesId, Timestamp};
use crate::view::text::visible;

/// All versions, the wanted one, and its mails.
pub(super) type Found = (Vec<SeriesFact>, SeriesFact, Version);

/// All versions, and the wanted one, or the newest.
pub(super) async fn find_version(
    app: &App,
    id: i64,
    wanted: Option<&str>,
) -> Result<Option<Found>, Problem> {
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

/// Patches of a version whose mails are looked at for what is left away of them.
const LOOKED_AT: usize = 20;

struct VersionLink {
    label: String,
    href: String,
    day: String,
    facts: String,
    current: bool,
}

struct PatchLine {
    number: i64,
    /// Numbers right before it that are not here; may be empty.
    gap: String,
    title: String,
    anchor: String,
    added: usize,
    removed: usize,
    taken_over: bool,
    /// Its own, where a person set one.
    state: Option<Pill>,
    answers: usize,
    remarks: usize,
    /// Fragment of the first remark.
    first_remark: String,
    commit: Option<String>,
}

#[derive(Template)]
#[template(path = "patchset.html")]
pub(super) struct PatchsetPage {
    frame: Frame,
    list: String,
    heading: String,
    canonical: String,
    label: String,
    submitter: String,
    /// Empty where it stands in for the name.
    address: String,
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
    /// It is the tip of the branch.
    at_tip: bool,
    base_why: String,
    /// What it is built on, what on it, and whether it applies at the tip.
    bases: Vec<Line>,
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
    /// What a b4 that cannot fetch is given instead: the thread as a file, and the command.
    old_b4: Option<(String, String)>,
    reason: String,
    /// Numbers at the end that are not here; may be empty.
    end_gap: String,
    patches: Vec<PatchLine>,
    acks: Vec<AckLink>,
    claimed_acks: Vec<AckLink>,
    mails: Vec<Post>,
    comments: Vec<Post>,
    history: Vec<HistoryLine>,
    /// Who looks after this version; may be empty.
    delegate: String,
    remarks: Remarks,
    /// Repositories that patches are for, where everybody may fetch them.
    sources: Vec<String>,
}

/// Makes the page of one version.
pub(super) async fn page(
    app: &App,
    list: &ListRow,
    id: i64,
    found: Found,
    wish: &Wish,
) -> Result<PatchsetPage, Problem> {
    let (versions, fact, version) = found;
    let application = app.store.find_application(version.series).await?;
    let (bases, at_tip) = bases(app, list, &version, &fact, application.as_ref()).await?;
    let damage = damage_of(app, &fact, &version, application.as_ref()).await?;
    let scope = Scope::List(list.id);
    let wanted = version.patches.iter().map(|p| p.1);
    let wanted: Vec<MailId> = version.cover.into_iter().chain(wanted).collect();
    let mut mails = posts(app, list, scope, &wanted).await?;
    let comments = comments_of(app, list, scope, &version).await?;
    let shown = (&version, fact.label.as_str());
    let remarks = add_remarks(app, list, shown, &mut mails, &comments).await?;
    let anchor = mails.first().map(|(row, _)| row.message_id.clone());
    let mails: Vec<(MailId, Post)> = mails.into_iter().map(|(m, p)| (m.mail, p)).collect();
    let first = mails
        .first()
        .map(|(_, p)| (p.href.clone(), p.mailto()))
        .unwrap_or_default();
    let (patches, end_gap) = patch_lines(&fact, &version, &mails, application.as_ref());
    let people = people_of(app, list, id, &fact.label).await?;
    let mut pills = pills(&fact, true);
    pills.extend(people.words.map(|words| Pill::fact("", words)));
    let stats: Vec<_> = mails.iter().map(|(_, p)| p.stat()).collect();
    let paths: std::collections::BTreeSet<&str> =
        stats.iter().flat_map(|s| s.2.iter().copied()).collect();
    let home = format!("{}/{}/patches/{id}/", app.base_url, list.name);
    let newest = versions.last().filter(|v| v.label != fact.label);
    let delegates = app.store.load_delegates(id).await?;
    let delegate = delegates.into_iter().find(|d| d.0 == fact.label);
    Ok(PatchsetPage {
        frame: wish.frame(app, Some(&list.name), "patches"),
        heading: visible(&fact.title),
        canonical: format!("{home}v{}/", fact.label),
        label: fact.label.clone(),
        submitter: person(&fact.submitter_name, &fact.submitter),
        address: address(&fact),
        verdict: verdict_of(&mails, people.by_field),
        claims: claims_of(app, list, &fact).await?,
        claimed_by: claimed_by(app, list, id).await?,
        patch_count: count(fact.total, "patch"),
        file_count: count(paths.len() as i64, "file"),
        added: stats.iter().map(|s| s.0).sum(),
        removed: stats.iter().map(|s| s.1).sum(),
        when: fact.arrived,
        base: application.as_ref().and_then(base_words),
        at_tip,
        base_why: application.as_ref().map_or_else(String::new, why_words),
        bases,
        thread: format!("{}T/", first.0),
        reply: first.1,
        discussion: match comments.len() {
            0 => String::new(),
            n => count(n as i64, "answer"),
        },
        mbox: format!("/{}/patches/{id}/v{}/mbox", list.name, fact.label),
        changes: super::range_diff::link_to(&home, &versions, &fact.label),
        pills,
        acks: people.acks,
        claimed_acks: people.claims,
        versions: versions
            .iter()
            .map(|v| version_link(list, id, v, &fact))
            .collect(),
        newer: newest.map(|v| (format!("/{}/patches/{id}/", list.name), v.label.clone())),
        note: landed_note(&app.store.load_landed(&[version.series]).await?, fact.total)
            .or_else(|| note(&fact, &version, application.as_ref(), &damage))
            .map(|(tone, text)| (tone, visible(&text))),
        commands: match wish.private {
            // None of these programs is signed in.
            true => Vec::new(),
            false => commands(
                app,
                list,
                &home,
                &fact,
                application.as_ref(),
                anchor.as_deref(),
            ),
        },
        old_b4: old_b4(list, anchor.as_deref()).filter(|_| !wish.private),
        reason: version.reason.clone(),
        end_gap,
        patches,
        mails: mails.into_iter().map(|m| m.1).collect(),
        comments: comments.into_iter().map(|c| c.1).collect(),
        remarks,
        history: history_of(app, id).await?,
        delegate: delegate.map_or_else(String::new, |d| visible(&d.1)),
        list: list.name.clone(),
        sources: super::list::sources(app, list.id, wish.private).await?,
    })
}

/// The submitter's, where it does not stand in for the name.
fn address(fact: &SeriesFact) -> String {
    match fact.submitter_name.trim() {
        "" => String::new(),
        _ => visible(&fact.submitter),
    }
}

/// Series that claim to belong to a patchset: link and words.
async fn claimed_by(app: &App, list: &ListRow, id: i64) -> Result<Vec<(String, String)>, Problem> {
    let claims = app.store.load_claims(list.id, id).await?.into_iter();
    Ok(claims.map(|claim| claim_line(list, claim)).collect())
}

/// What answers a version, oldest first.
async fn comments_of(
    app: &App,
    list: &ListRow,
    scope: Scope,
    version: &Version,
) -> Result<Mails, Problem> {
    let answers: Vec<MailId> = version.comments.iter().map(|c| c.0).collect();
    let mut comments = posts(app, list, scope, &answers).await?;
    comments.sort_by_key(|(_, p)| p.date);
    let number_of: HashMap<MailId, i64> = version.patches.iter().map(|p| (p.1, p.0)).collect();
    let target_of: HashMap<MailId, MailId> = version.comments.iter().copied().collect();
    for (row, post) in &mut comments {
        let number = target_of.get(&row.mail).and_then(|t| number_of.get(t));
        post.role = number.map_or_else(String::new, |n| format!("on patch {n}"));
        post.same = number.is_some() && post.tag.starts_with("Re:");
    }
    Ok(comments)
}

/// These mails as posts, in this order, with what is attached.
async fn posts(
    app: &App,
    list: &ListRow,
    scope: Scope,
    wanted: &[MailId],
) -> Result<Mails, Problem> {
    let place: HashMap<MailId, usize> = wanted.iter().copied().zip(0..).collect();
    let mut rows = app.store.load_mails(scope, wanted).await?;
    rows.sort_by_key(|m| place.get(&m.mail).copied());
    let ids: Vec<MailId> = rows.iter().map(|m| m.mail).collect();
    let mut posts: Vec<Post> = rows.iter().map(|m| Post::of(list, m, 0)).collect();
    add_attachments(app, &ids, &mut posts).await?;
    Ok(rows.into_iter().zip(posts).collect())
}

/// The patches that are here, and the numbers that are awaited behind them.
fn patch_lines(
    fact: &SeriesFact,
    version: &Version,
    mails: &[(MailId, Post)],
    application: Option<&ApplicationRow>,
) -> (Vec<PatchLine>, String) {
    // Where all are here, the numbers between are those that a person split off.
    let gap = |before, after| match fact.received < fact.total {
        true => gap(before, after),
        false => String::new(),
    };
    let posts: HashMap<MailId, &Post> = mails.iter().map(|(m, p)| (*m, p)).collect();
    let commits = application.map_or(&[][..], |a| &a.commits);
    let line = |(at, (number, mail, taken_over)): (usize, &(i64, MailId, bool))| {
        let post = posts.get(mail)?;
        let (added, removed, _) = post.stat();
        let subject = format!("{} {}", post.tag, post.subject);
        let (remarks, first_remark) = post.remark_stat();
        let state = version.states.iter().find(|(n, _)| n == number);
        let before = at.checked_sub(1).map_or(0, |at| version.patches[at].0);
        Some(PatchLine {
            number: *number,
            gap: gap(before, *number),
            title: visible(&parse_tag(subject.trim()).title),
            anchor: post.anchor.clone(),
            added,
            removed,
            taken_over: *taken_over,
            state: state.map(|(_, state)| Pill::state(*state)),
            answers: version.comments.iter().filter(|c| c.1 == *mail).count(),
            remarks,
            first_remark: first_remark.to_owned(),
            commit: commits.get(at).map(|c| c.chars().take(12).collect()),
        })
    };
    let lines = version.patches.iter().enumerate();
    let lines = lines.filter_map(line).collect();
    let last = version.patches.last().map_or(0, |p| p.0);
    (lines, gap(last, fact.total + 1))
}

/// The numbers between two: `2`, `2–4`, or empty.
fn gap(before: i64, after: i64) -> String {
    match (before + 1, after - 1) {
        (first, last) if first > last => String::new(),
        (first, last) if first == last => first.to_string(),
        (first, last) => format!("{first}–{last}"),
    }
}

fn version_link(list: &ListRow, id: i64, v: &SeriesFact, shown: &SeriesFact) -> VersionLink {
    let outcome = match v.outcome.as_deref() {
        _ if v.received < v.total => "incomplete",
        Some("applied") if v.tip.as_deref() == Some("conflict") => "conflicts at the tip",
        Some("applied") => "applies",
        Some("conflict") => "conflicts",
        Some("bad") => "not usable",
        Some("waits") => "waits",
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

/// What a version is built on and what is built on it, then what it would come to at the tip; and whether that is its base, so that
/// nothing is left to say.
async fn bases(
    app: &App,
    list: &ListRow,
    version: &Version,
    fact: &SeriesFact,
    application: Option<&ApplicationRow>,
) -> Result<(Vec<Line>, bool), Problem> {
    let series = SeriesId(version.series);
    let mut lines = depends_lines(app, list, series, application).await?;
    lines.extend(needing_lines(app, list, series).await?);
    let tips = app.store.load_tips(&[version.series]).await?;
    let tip = tips.get(&version.series);
    lines.extend(tip.and_then(|tip| tip_line(fact, tip, application)));
    let at_tip = tip.is_some_and(|tip| is_base(tip, application) && !tip.moved);
    Ok((lines, at_tip))
}

fn base_words(a: &ApplicationRow) -> Option<String> {
    let (repo, branch) = a.repo.as_ref()?;
    if let Some((_, patchset, label)) = &a.on_series {
        let commit = short(a.base.as_ref()?);
        return Some(format!("{repo} patchset {patchset} v{label}@{commit}"));
    }
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
        // Names are what a mail says they are.
        None if a.outcome == "waits" => {
            let words = format!("No base is chosen yet: it {}.", a.detail);
            visible(&words)
        }
        _ => String::new(),
    }
}

/// What a mail holds beside what is used of it: a further patch, where some are awaited; or what is perhaps the end of a line.
async fn left_away(app: &App, version: &Version, awaited: bool) -> Result<Vec<String>, Problem> {
    let mut said = Vec::new();
    for (number, mail, _) in version.patches.iter().take(LOOKED_AT) {
        let Some((bytes, _)) = app.store.load_bytes(*mail).await? else {
            continue;
        };
        let message = mail::parse(&bytes);
        match text_goes_on(&message).filter(|_| !awaited) {
            _ if awaited && has_second_patch(&message) => said.push(format!(
                "The mail of patch {number} holds a further patch, which is not taken: send each file as a new mail of its own, not as an answer, within a day."
            )),
            Some(rest) => said.push(format!("Patch {number}: {}", goes_on_words(rest))),
            None => {}
        }
    }
    Ok(said)
}

/// What mail programs did to a patch that cannot be used or does not fit, as far as its mail shows it, a sentence each;
/// and what is [`left_away`] of others.
async fn damage_of(
    app: &App,
    fact: &SeriesFact,
    version: &Version,
    application: Option<&ApplicationRow>,
) -> Result<Vec<String>, Problem> {
    let awaited = fact.received < fact.total;
    if awaited || application.is_some_and(|a| a.outcome == "applied") {
        return left_away(app, version, awaited).await;
    }
    let Some(a) = application.filter(|a| matches!(a.outcome.as_str(), "bad" | "conflict")) else {
        return Ok(Vec::new());
    };
    let number = a.patch.unwrap_or(1);
    let Some((_, mail, _)) = version.patches.iter().find(|p| p.0 == number) else {
        return Ok(Vec::new());
    };
    let found = app.store.load_bytes(*mail).await?;
    Ok(found.map_or_else(Vec::new, |(bytes, _)| {
        let message = mail::parse(&bytes);
        match a.outcome.as_str() {
            "bad" => damage(&message, &recognise(&message)),
            _ if has_crlf(&message) => vec![CRLF.to_owned()],
            _ => Vec::new(),
        }
    }))
}

/// What stands in the way, in words, and what to do next.
fn note(
    fact: &SeriesFact,
    version: &Version,
    application: Option<&ApplicationRow>,
    damage: &[String],
) -> Option<(&'static str, String)> {
    if fact.received < fact.total {
        let text = format!(
            "{} of {} patches are here; {} did not arrive yet. It is applied when all are. {}",
            fact.received,
            fact.total,
            missing(fact, version),
            damage.join(" ")
        );
        let text = text.trim_end().to_owned();
        return Some(("caution", text));
    }
    let Some(a) = application else {
        return Some(("", "It will be applied in a moment.".to_owned()));
    };
    match a.outcome.as_str() {
        "conflict" => Some(("bad", conflict(a, damage))),
        "bad" => {
            let why = match damage {
                [] => format!(": {}.", a.detail.trim_end_matches('.')),
                words => format!(". {}", words.join(" ")),
            };
            let number = a.patch.unwrap_or(1);
            let next = "Mend that and send a new version in reply to this one.";
            Some(("bad", format!("Patch {number} cannot be used{why} {next}")))
        }
        "applied" if !damage.is_empty() => Some(("caution", damage.join(" "))),
        "elsewhere" => Some(("", format!("Not for a repository here: {}.", a.detail))),
        "waits" => Some((
            "caution",
            "It is not applied yet: what it is built on comes first.".to_owned(),
        )),
        _ => None,
    }
}

/// `patch 2`, or `patches 2, 4` and so on: those that are not here.
fn missing(fact: &SeriesFact, version: &Version) -> String {
    let here: Vec<i64> = version.patches.iter().map(|p| p.0).collect();
    let gone = (1..=fact.total).filter(|number| !here.contains(number));
    let gone: Vec<String> = gone.map(|number| number.to_string()).collect();
    if here.iter().any(|number| *number > fact.total) {
        // Of what a person split it is not known here which numbers it is to have.
        return count(fact.total - fact.received, "patch");
    }
    match gone.as_slice() {
        [one] => format!("patch {one}"),
        few if few.len() <= 12 => format!("patches {}", few.join(", ")),
        many => count(many.len() as i64, "patch"),
    }
}

/// Patch, file and hunk that do not fit, what was found there, and what to do.
fn conflict(a: &ApplicationRow, damage: &[String]) -> String {
    let mut detail = a.detail.trim_end_matches('.').to_owned();
    let place = match (a.patch, a.file.as_deref()) {
        (Some(patch), Some(file)) => {
            detail = without_place(&detail, file, a.hunk);
            match a.hunk.filter(|h| *h > 0) {
                Some(hunk) => format!("Patch {patch} does not fit in {file}, hunk {hunk}"),
                None => format!("Patch {patch} does not fit in {file}"),
            }
        }
        _ => "It does not fit".to_owned(),
    };
    let next = match &a.repo {
        _ if !damage.is_empty() => damage.join(" "),
        Some((_, branch)) if a.why.contains(UNKNOWN_COMMIT) => format!(
            "Its base is not known here: send it with --base=origin/{branch}, or name the series that it is built on with Depends-on:."
        ),
        _ => "Rebase it and send a new version in reply to this one.".to_owned(),
    };
    format!("{place}: {detail}. {next}")
}

/// For a b4 older than 0.13, which takes no options of its own: the thread as a file, and the command.
fn old_b4(list: &ListRow, anchor: Option<&str>) -> Option<(String, String)> {
    let id = anchor.and_then(MessageId::parse)?;
    let mbox = format!("{}t.mbox.gz", mail_href(&list.name, id.as_str()));
    Some((mbox, format!("b4 am -m thread.mbox {}", shell(id.as_str()))))
}

/// Lines to copy: what for, and the command.
fn commands(
    app: &App,
    list: &ListRow,
    page: &str,
    fact: &SeriesFact,
    application: Option<&ApplicationRow>,
    anchor: Option<&str>,
) -> Vec<(&'static str, String)> {
    let mut out = Vec::new();
    // No program can use it.
    if application.is_some_and(|a| a.outcome == "bad") {
        return out;
    }
    if let Some((name, _)) = application.and_then(|a| a.repo.as_ref())
        && let Some(ref_name) = application.and_then(|a| a.ref_name.as_ref())
    {
        let line = format!(
            "git fetch --no-tags {}/{name}.patches.git {ref_name}",
            app.base_url
        );
        out.push(("as commits", line));
    }
    if let Some(id) = anchor.and_then(MessageId::parse) {
        let line = format!(
            "b4 -c b4.midmask={}/{}/%s am {}",
            app.base_url,
            list.name,
            shell(id.as_str())
        );
        out.push(("with b4", line));
    }
    // With a patch missing, git am would take the others without a word.
    if fact.received >= fact.total {
        out.push((
            "with git am",
            format!("curl -sf {page}v{}/mbox | git am -3", fact.label),
        ));
    }
    out
}
