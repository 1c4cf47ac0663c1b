//! `/-/queue`: what is owed by mail, seen and steered by the operator. To all others there is no such page.

use std::collections::BTreeMap;

use askama::Template;
use axum::http::StatusCode;

use super::page::{Answer, Frame, Pill, Problem, count, html};
use super::routes::{App, Wish};
use super::session::require;
use crate::pipeline::Viewer;
use crate::store::queue::{Choice, QueueCount, QueueRow, STATES, Steer};
use crate::types::Timestamp;
use crate::view::text::visible;
use crate::view::url;

/// Mails of one destination that are shown one by one.
const SHOWN: i64 = 40;

/// What is owed of one list to one domain in one state.
struct Destination {
    row: QueueCount,
    next: Timestamp,
    pill: Pill,
    mails: String,
    problem: String,
    href: String,
}

struct Mail {
    row: QueueRow,
    since: Timestamp,
    next: Timestamp,
    pill: Pill,
}

#[derive(Template)]
#[template(path = "queue.html")]
struct QueuePage {
    frame: Frame,
    guard: String,
    done: String,
    totals: String,
    oldest: Option<Timestamp>,
    destinations: Vec<Destination>,
    /// The destination whose mails are shown; empty: all destinations.
    to: String,
    mails: Vec<Mail>,
    more: bool,
}

#[derive(Template)]
#[template(path = "queue_drop.html")]
struct DropPage {
    frame: Frame,
    guard: String,
    what: String,
    /// What the form said: name and value.
    fields: Vec<(&'static str, String)>,
}

/// `GET` and `POST /-/queue`
pub async fn serve(app: &App, wish: &Wish) -> Answer {
    let viewer = require(app, wish, "/-/queue").await?;
    if !viewer.operator {
        return Err(Problem::Missing(
            "There is no such page.".to_owned(),
            vec![],
        ));
    }
    match wish.post {
        true => steer(app, &viewer, wish).await,
        false => show(app, &viewer, wish).await,
    }
}

fn pill(state: &str) -> Pill {
    match state {
        "due" => Pill::fact("", "due"),
        "sending" => Pill::fact("open", "being sent"),
        "held" => Pill::fact("caution", "held back"),
        _ => Pill::fact("bad", "given up"),
    }
}

async fn show(app: &App, viewer: &Viewer, wish: &Wish) -> Answer {
    let to = wish.get("to").to_lowercase();
    let totals = app.store.total_queue().await?;
    let problems: BTreeMap<String, String> = app.store.load_queue_problems().await?;
    let mut destinations = app.store.count_queue().await?;
    let mut mails = Vec::new();
    if !to.is_empty() {
        destinations.retain(|c| c.domain == to);
        let choice = Choice {
            domain: Some(to.clone()),
            ..Choice::default()
        };
        mails = app.store.load_queue(&choice, SHOWN + 1).await?;
    }
    let more = mails.len() as i64 > SHOWN;
    mails.truncate(SHOWN as usize);
    let mut sums = vec![count(totals.owed, "mail") + " owed"];
    if totals.held > 0 {
        sums.push(format!("{} held back", totals.held));
    }
    if totals.given_up > 0 {
        sums.push(format!("{} given up", totals.given_up));
    }
    Ok(html(&QueuePage {
        frame: wish.frame(app, None, "me"),
        guard: viewer.guard.clone(),
        done: done_words(wish.get("done")),
        totals: sums.join(", "),
        oldest: totals.oldest,
        destinations: destinations
            .into_iter()
            .map(|row| destination(row, &problems))
            .collect(),
        mails: mails.into_iter().map(mail).collect(),
        to,
        more,
    }))
}

fn destination(row: QueueCount, problems: &BTreeMap<String, String>) -> Destination {
    let problem = problems.get(&row.domain).map(String::as_str);
    Destination {
        next: Timestamp(row.next),
        pill: pill(row.state),
        mails: count(row.mails, "mail"),
        problem: visible(problem.unwrap_or_default()),
        href: format!("/-/queue?to={}", url::query(&row.domain)),
        row,
    }
}

fn mail(row: QueueRow) -> Mail {
    Mail {
        since: Timestamp(row.since),
        next: Timestamp(row.next),
        pill: pill(row.state),
        row: QueueRow {
            problem: visible(&row.problem),
            ..row
        },
    }
}

/// `held back 3` and its kin, which this page was called with.
fn done_words(done: &str) -> String {
    let number = |text: &str| count(text.parse().unwrap_or(0), "mail");
    let words = [
        ("retry ", "tried again now"),
        ("hold ", "held back"),
        ("drop ", "dropped, and never sent"),
    ];
    let found = words
        .iter()
        .find_map(|(word, text)| Some((done.strip_prefix(word)?, text)));
    match found {
        Some(("0", _)) => {
            "Nothing was done: none of these is owed any more, or they are being sent just now."
                .to_owned()
        }
        Some((n, text)) => format!("{}: {text}.", number(n)),
        None => String::new(),
    }
}

/// What a form means: mails by number, or a list's to a domain in a state.
async fn choose(app: &App, wish: &Wish) -> Result<Option<(Choice, String)>, Problem> {
    let ids = wish.fields("id");
    if !ids.is_empty() {
        let choice = Choice {
            ids: Choice::parse_ids(&ids).ok(),
            ..Choice::default()
        };
        return Ok(choice.ids.is_some().then(|| (choice, ids.join(", "))));
    }
    let (domain, list, state) = (wish.field("to"), wish.field("list"), wish.field("state"));
    let known = STATES.iter().position(|s| *s == state);
    if domain.is_empty() || known.is_none() {
        return Ok(None);
    }
    let mut what = format!("those to {} that are {state}", visible(&domain));
    let of_site = list.is_empty();
    let list = match list.as_str() {
        "" => {
            what.push_str(", of the site itself");
            None
        }
        name => match app.store.find_list(name).await? {
            Some(list) => {
                what.push_str(&format!(", of list {name}"));
                Some(list.id)
            }
            None => return Ok(None),
        },
    };
    let choice = Choice {
        list,
        of_site,
        domain: Some(domain),
        state: known.and_then(|at| i64::try_from(at).ok()),
        ..Choice::default()
    };
    Ok(Some((choice, what)))
}

async fn steer(app: &App, viewer: &Viewer, wish: &Wish) -> Answer {
    let how = match wish.field("do").as_str() {
        "retry" => Steer::Retry,
        "hold" => Steer::Hold,
        "drop" => Steer::Drop,
        _ => {
            return Err(Problem::Bad(
                "Nothing was done: this asks for nothing.".to_owned(),
            ));
        }
    };
    let Some((choice, what)) = choose(app, wish).await? else {
        return Err(Problem::Bad(
            "Nothing was done: no mail is meant.".to_owned(),
        ));
    };
    if how == Steer::Drop && wish.field("sure") != "yes" {
        return Ok(html(&DropPage {
            frame: wish.frame(app, None, "me"),
            guard: viewer.guard.clone(),
            what,
            fields: ["id", "to", "list", "state"]
                .into_iter()
                .flat_map(|name| wish.fields(name).into_iter().map(move |v| (name, v)))
                .collect(),
        }));
    }
    let why = format!("{what}, on the page, by {}", viewer.address);
    let done = app.ctx.steer_queue(choice, how, why).await?;
    let word = wish.field("do");
    Err(Problem::Moved(
        StatusCode::SEE_OTHER,
        format!("/-/queue?done={word}%20{done}"),
    ))
}
