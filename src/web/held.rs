//! `/L/settings/held/`: mail that a person looks at first. What a stranger wrote is shown as text and nothing else.

use askama::Template;
use axum::http::{HeaderValue, header};

use super::page::{Answer, Frame, Pill, Problem, count, file, html, person};
use super::routes::{App, Wish};
use super::settings::{Tending, Top};
use crate::list::held::MAX_WORDS;
use crate::list::notice::one_line;
use crate::mail::Part;
use crate::store::{Fate, HeldRow};
use crate::types::Timestamp;
use crate::view::text::{Block, MAX_LINES, blocks, visible};

/// Mails that are looked at for one page.
const PAGE: i64 = 100;
/// Attachments of a mail whose text is laid out.
const LAID_OUT: usize = 5;

/// A series, or a mail by itself.
struct Group {
    /// Its first mail.
    id: i64,
    /// Numbers of all.
    ids: String,
    subject: String,
    who: String,
    address: String,
    count: String,
    arrived: Timestamp,
    reason: String,
    proof: Pill,
}

#[derive(Template)]
#[template(path = "held.html")]
struct HeldPage {
    frame: Frame,
    top: Top,
    groups: Vec<Group>,
    more: bool,
    days: i64,
}

/// What is attached to a mail; text is laid out, as it may be the patch that is to be decided on.
struct Attached {
    name: String,
    what: String,
    blocks: Vec<Block>,
    cut: bool,
}

#[derive(Template)]
#[template(path = "held_mail.html")]
struct HeldMailPage {
    frame: Frame,
    top: Top,
    id: i64,
    subject: String,
    who: String,
    address: String,
    message_id: String,
    arrived: Timestamp,
    size: String,
    reason: String,
    verdict: String,
    proof: Pill,
    authenticated: bool,
    /// Others of its series: number and subject.
    series: Vec<(i64, String)>,
    /// It may be read here.
    open: bool,
    blocks: Vec<Block>,
    cut: bool,
    files: Vec<Attached>,
    problem: String,
    words: String,
}

/// `/L/settings/held/` and what is below it.
pub async fn serve(app: &App, tending: &Tending<'_>, rest: &str, wish: &Wish) -> Answer {
    if rest.is_empty() {
        return match wish.post {
            true => decide_all(app, tending, wish).await,
            false => show_all(app, tending, wish).await,
        };
    }
    let (number, below) = rest.split_once('/').unwrap_or((rest, ""));
    let found = match number.parse() {
        Ok(id) => app.store.find_held(id).await?,
        Err(_) => None,
    };
    // A mail of another list is not there, whatever right one has here.
    let Some(held) = found.filter(|h| h.list_id == tending.list.id) else {
        if wish.post {
            return tending.back("held/", "before");
        }
        let ways = vec![(
            format!("/{}/settings/held/", tending.list.name),
            "What is held".to_owned(),
        )];
        let text =
            "No such mail is held here, or not any more: somebody decided, or its time is over.";
        return Err(Problem::Missing(text.to_owned(), ways));
    };
    match (below, wish.post) {
        ("", false) => show(app, tending, held, wish, "").await,
        ("", true) => decide(app, tending, held, wish).await,
        ("raw", false) => raw(app, tending, &held).await,
        _ => Err(Problem::Missing(
            "There is no such page.".to_owned(),
            vec![],
        )),
    }
}

async fn show_all(app: &App, tending: &Tending<'_>, wish: &Wish) -> Answer {
    let all = app.store.load_held(Some(tending.list.id), 0, PAGE).await?;
    Ok(html(&HeldPage {
        frame: tending.frame(app, wish),
        top: tending.top("held", done_words(wish.get("done"))),
        groups: groups(&all, is_open(app, tending)),
        more: tending.held > all.len() as i64,
        days: tending.list.policy.hold_days,
    }))
}

/// `accepted 3` and its kin, which this page was called with.
fn done_words(done: &str) -> String {
    let (word, number) = done.split_once(' ').unwrap_or((done, ""));
    let mails = count(number.parse().unwrap_or(1), "mail");
    match word {
        "accepted" => format!("Accepted: {mails}. They are filed, and copies go out."),
        "rejected" => format!("Rejected: {mails}. Authors whose mail is authenticated are told."),
        "discarded" => format!("Discarded: {mails}."),
        "before" => "Nothing was done: it was decided before, or its time is over.".to_owned(),
        "none" => "Nothing was done: no mail was ticked.".to_owned(),
        _ => String::new(),
    }
}

/// Held mails by their series, the oldest first; each mail in one.
fn groups(all: &[HeldRow], open: bool) -> Vec<Group> {
    let mut left: Vec<&HeldRow> = all.iter().collect();
    let mut groups = Vec::new();
    while !left.is_empty() {
        let first = left.remove(0);
        let same = |h: &&HeldRow| {
            !h.address.is_empty()
                && h.address == first.address
                && h.authenticated == first.authenticated
                && h.series.is_same(&first.series)
        };
        let (mut group, rest): (Vec<&HeldRow>, Vec<&HeldRow>) = left.into_iter().partition(same);
        left = rest;
        group.insert(0, first);
        groups.push(group_of(&group, open));
    }
    groups
}

fn group_of(group: &[&HeldRow], open: bool) -> Group {
    let first = group[0];
    let ids: Vec<String> = group.iter().map(|h| h.id.to_string()).collect();
    Group {
        id: first.id,
        ids: ids.join(" "),
        subject: if open {
            subject(first)
        } else {
            HIDDEN.to_owned()
        },
        who: shown(open, person(&first.author, &first.address)),
        address: shown(open, visible(&first.address)),
        count: match group.len() {
            1 => String::new(),
            n => format!("{n} mails of a series"),
        },
        arrived: Timestamp(first.arrived),
        reason: shown(open, visible(&first.reason)),
        proof: proof(first),
    }
}

/// In place of what goes over TLS only.
const HIDDEN: &str = "(a mail of this list is shown over TLS only)";

fn shown_subject(open: bool, held: &HeldRow) -> String {
    if open {
        subject(held)
    } else {
        HIDDEN.to_owned()
    }
}

fn shown(open: bool, text: String) -> String {
    if open { text } else { String::new() }
}

fn subject(held: &HeldRow) -> String {
    match one_line(&held.subject, 300) {
        text if text.trim().is_empty() => "(no subject)".to_owned(),
        text => text,
    }
}

fn proof(held: &HeldRow) -> Pill {
    match held.authenticated {
        true => Pill::fact("good", "authenticated"),
        false => Pill::fact("caution", "not authenticated"),
    }
}

async fn show(
    app: &App,
    tending: &Tending<'_>,
    held: HeldRow,
    wish: &Wish,
    problem: &str,
) -> Answer {
    let open = is_open(app, tending);
    let read = match open {
        true => app.ctx.read_held(&held).await?,
        false => None,
    };
    let message = read.map(|(message, _)| message);
    let text = message.as_ref().map_or("", |m| m.text.as_str());
    let files = message.iter().flat_map(|m| &m.parts);
    let files = files.filter(|p| p.attachment || p.filename.is_some());
    let files = files.enumerate().map(|(at, part)| attached(part, at));
    let series = app.ctx.with_series(vec![held.clone()]).await?;
    let others = series.iter().filter(|h| h.id != held.id);
    Ok(html(&HeldMailPage {
        frame: tending.frame(app, wish),
        top: tending.top("held", String::new()),
        id: held.id,
        subject: if open {
            subject(&held)
        } else {
            HIDDEN.to_owned()
        },
        who: shown(open, person(&held.author, &held.address)),
        address: shown(open, visible(&held.address)),
        message_id: shown(open, one_line(&held.message_id, 300)),
        arrived: Timestamp(held.arrived),
        size: count(held.size, "byte"),
        reason: shown(open, visible(&held.reason)),
        verdict: shown(open, visible(&held.verdict)),
        proof: proof(&held),
        authenticated: held.authenticated,
        series: others.map(|h| (h.id, shown_subject(open, h))).collect(),
        open,
        blocks: blocks(text),
        cut: text.lines().nth(MAX_LINES).is_some(),
        files: files.collect(),
        problem: problem.to_owned(),
        words: wish.field("words"),
    }))
}

fn attached(part: &Part, at: usize) -> Attached {
    let text = match at < LAID_OUT && part.content_type != "text/html" {
        true => readable(part),
        false => "",
    };
    Attached {
        name: one_line(part.filename.as_deref().unwrap_or("attachment"), 100),
        what: format!(
            "{}, {}",
            one_line(&part.content_type, 60),
            count(part.bytes.len() as i64, "byte")
        ),
        blocks: match text.trim().is_empty() {
            true => Vec::new(),
            false => blocks(text),
        },
        cut: text.lines().nth(MAX_LINES).is_some(),
    }
}

/// The text of a part, whatever its type says; empty if it is none.
fn readable(part: &Part) -> &str {
    let text = part.text.as_deref();
    let text = text.or_else(|| std::str::from_utf8(&part.bytes).ok());
    text.filter(|text| !text.contains('\0')).unwrap_or_default()
}

/// What goes over TLS only is not shown by a page without it.
fn is_open(app: &App, tending: &Tending<'_>) -> bool {
    !tending.list.policy.tls_only || app.base_url.starts_with("https://")
}

/// The whole mail as text, for who wants to see its header.
async fn raw(app: &App, tending: &Tending<'_>, held: &HeldRow) -> Answer {
    let read = match is_open(app, tending) {
        true => app.ctx.read_held(held).await?,
        false => None,
    };
    let Some((_, bytes)) = read else {
        return Err(Problem::Missing(
            "There is no such page.".to_owned(),
            vec![],
        ));
    };
    let mut response = file("text/plain; charset=utf-8", None, bytes);
    let alone = HeaderValue::from_static("sandbox; default-src 'none'");
    response
        .headers_mut()
        .insert(header::CONTENT_SECURITY_POLICY, alone);
    Ok(response)
}

async fn decide(app: &App, tending: &Tending<'_>, held: HeldRow, wish: &Wish) -> Answer {
    let series = wish.field("series") == "yes";
    let all = match (wish.field("do").as_str(), series) {
        // What is accepted takes its series along in any case.
        ("reject" | "discard", true) => app.ctx.with_series(vec![held.clone()]).await?,
        _ => vec![held.clone()],
    };
    if wish.field("do") == "reject" && words(wish).is_none() {
        let text = format!("Say in 1 to {MAX_WORDS} characters what the author is to read.");
        return show(app, tending, held, wish, &text).await;
    }
    carry_out(app, tending, all, wish).await
}

/// What the author is to read.
fn words(wish: &Wish) -> Option<String> {
    let words = wish
        .field("words")
        .replace("\r\n", "\n")
        .replace('\r', "\n");
    let kept = words.chars().filter(|c| !c.is_control() || *c == '\n');
    let words = kept.collect::<String>().trim().to_owned();
    (!words.is_empty() && words.chars().count() <= MAX_WORDS).then_some(words)
}

async fn decide_all(app: &App, tending: &Tending<'_>, wish: &Wish) -> Answer {
    let mut all = Vec::new();
    let ticked = wish.fields("id").join(" ");
    let ids = ticked.split(' ').filter_map(|id| id.parse().ok());
    for id in ids.take(PAGE as usize) {
        let held = app.store.find_held(id).await?;
        all.extend(held.filter(|h| h.list_id == tending.list.id));
    }
    match wish.field("do").as_str() {
        _ if all.is_empty() => tending.back("held/", "none"),
        "accept" | "discard" => carry_out(app, tending, all, wish).await,
        _ => tending.back("held/", "none"),
    }
}

async fn carry_out(app: &App, tending: &Tending<'_>, all: Vec<HeldRow>, wish: &Wish) -> Answer {
    let (actor, now) = (tending.viewer.address.as_str(), crate::store::now());
    let ctx = &app.ctx;
    let (done, word) = match (wish.field("do").as_str(), words(wish)) {
        ("accept", _) => {
            let person = wish.field("person") == "yes";
            let done = ctx.accept_held(all, person, actor, now).await?;
            (done, "accepted")
        }
        ("reject", Some(words)) => {
            let fate = Fate::Reject(words);
            (ctx.refuse_held(all, fate, actor, now).await?, "rejected")
        }
        ("discard", _) => {
            let fate = Fate::Discard;
            (ctx.refuse_held(all, fate, actor, now).await?, "discarded")
        }
        _ => (Vec::new(), ""),
    };
    match done.len() {
        0 => tending.back("held/", "before"),
        n => tending.back("held/", &format!("{word} {n}")),
    }
}
