//! `/L/settings/members/`: who gets copies, and how their addresses stand.

use askama::Template;

use super::came_back::{self, CameBack};
use super::me::standing_words;
use super::page::{Answer, Frame, Pill, count, html};
use super::routes::{App, Wish};
use super::settings::{Tending, Top};
use crate::list::roster::Kind;
use crate::pipeline::MemberWish;
use crate::store::{MemberFilter, MemberRow, MemberStanding};
use crate::view::url;

/// Members on one page.
const PAGE: usize = 50;

struct Line {
    row: MemberRow,
    pill: Pill,
    words: String,
    came_back: Vec<CameBack>,
    archive: bool,
}

#[derive(Template)]
#[template(path = "members.html")]
struct MembersPage {
    frame: Frame,
    top: Top,
    problem: String,
    words: String,
    standing: &'static str,
    found: String,
    lines: Vec<Line>,
    /// Where the listing goes on.
    next: Option<String>,
    /// Addresses can be added.
    operator: bool,
    public: bool,
}

/// `GET` and `POST /L/settings/members/`
pub async fn serve(app: &App, tending: &Tending<'_>, wish: &Wish) -> Answer {
    match wish.post {
        true => change(app, tending, wish).await,
        false => show(app, tending, wish, "").await,
    }
}

async fn show(app: &App, tending: &Tending<'_>, wish: &Wish, problem: &str) -> Answer {
    let (standing, word) = match wish.get("standing") {
        "paused" => (MemberStanding::Paused, "paused"),
        "bounces" => (MemberStanding::Bounces, "bounces"),
        _ => (MemberStanding::Any, ""),
    };
    let words = wish.get("words").trim().to_lowercase();
    let filter = MemberFilter {
        words: words.chars().take(254).collect(),
        standing,
        after: wish.get("after").to_owned(),
    };
    let limit = i64::try_from(PAGE + 1).unwrap_or(i64::MAX);
    let mut rows = app
        .store
        .find_members(tending.list.id, &filter, limit)
        .await?;
    let more = rows.len() > PAGE;
    rows.truncate(PAGE);
    let query = format!("words={}&standing={word}", url::query(&filter.words));
    let next = rows
        .last()
        .filter(|_| more)
        .map(|(m, _)| format!("?{query}&after={}", url::query(&m.address)));
    let found = match (rows.len(), more || !filter.after.is_empty()) {
        (n, true) => format!("{n} on this page"),
        (n, false) => count(n as i64, "member"),
    };
    let addresses: Vec<String> = rows.iter().map(|(row, _)| row.address.clone()).collect();
    let bounced = app.store.find_bounced(tending.list.id, &addresses);
    let bounced = bounced.await?;
    let mut lines = Vec::new();
    for (row, state) in rows {
        let bounced = bounced.contains(&row.address);
        lines.push(line(app, tending, row, (state, bounced)).await?);
    }
    let done = match wish.get("done") {
        "paused" => "Paused: no copies for now.",
        "resumed" => "Copies again, from the next mail on.",
        "removed" => "Removed. The person was not told.",
        "added" => "Added. They were not asked; the next copy tells how to leave.",
        "nothing" => "Nothing was done: this is no member any more.",
        _ => "",
    };
    let done = match wish.get("done").strip_prefix("invited ") {
        Some(numbers) => invited_words(numbers),
        None => done.to_owned(),
    };
    Ok(html(&MembersPage {
        frame: tending.frame(app, wish),
        top: tending.top("members", done),
        problem: problem.to_owned(),
        words: filter.words,
        standing: word,
        found,
        lines,
        next,
        operator: tending.viewer.operator,
        public: tending.list.visibility == "public",
    }))
}

/// `2 1 0`: how many were asked, were asked enough, are members.
fn invited_words(numbers: &str) -> String {
    let mut numbers = numbers.split(' ').map(|n| n.parse::<i64>().unwrap_or(0));
    let mut next = || numbers.next().unwrap_or(0);
    let mut words = format!(
        "Invited: {}. Who confirms is a member.",
        count(next(), "address")
    );
    match next() {
        0 => {}
        n => words.push_str(&format!(" Not asked, as they had enough such mails today or you sent as many as go within an hour: {n}.")),
    }
    match next() {
        0 => {}
        n => words.push_str(&format!(" Members already: {n}.")),
    }
    words
}

async fn line(
    app: &App,
    tending: &Tending<'_>,
    row: MemberRow,
    (state, bounced): (Option<String>, bool),
) -> Result<Line, super::page::Problem> {
    let standing = match state.as_deref() {
        None | Some("fine") => None,
        // Few of a page have one.
        Some(_) => app.store.find_standing(&row.address).await?,
    };
    let (pill, words) = match (&standing, row.mail) {
        (None, true) => (Pill::fact("good", "gets copies"), String::new()),
        (None, false) => (Pill::fact("caution", "paused"), String::new()),
        (Some(_), _) => standing_words(standing.as_ref()),
    };
    let list = (tending.list.id, tending.list.name.as_str());
    let came_back = match bounced {
        true => came_back::load(app, list, &row.address).await?,
        false => Vec::new(),
    };
    Ok(Line {
        came_back,
        archive: row.kind == Kind::Archive,
        row,
        pill,
        words,
    })
}

async fn change(app: &App, tending: &Tending<'_>, wish: &Wish) -> Answer {
    let now = crate::store::now();
    let (viewer, list) = (&tending.viewer, tending.list);
    let address = wish.field("address");
    let (member, word) = match wish.field("do").as_str() {
        "pause" => (MemberWish::Pause, "paused"),
        "resume" => (MemberWish::Resume, "resumed"),
        "remove" => (MemberWish::Remove, "removed"),
        "invite" => {
            let invited = app.ctx.invite_tended(viewer, list, &address, now).await?;
            return match invited {
                Ok(i) => {
                    let done = format!("invited {} {} {}", i.asked, i.enough, i.members);
                    tending.back("members/", &done)
                }
                Err(problem) => {
                    let text = format!("Nobody was invited: {problem}.");
                    show(app, tending, wish, &text).await
                }
            };
        }
        "add" if viewer.operator => {
            let added = app.ctx.add_tended(viewer, list, &address, now).await?;
            return match added {
                Ok(_) => tending.back("members/", "added"),
                Err(problem) => {
                    let text = format!("Nobody was added: {problem}.");
                    show(app, tending, wish, &text).await
                }
            };
        }
        _ => return tending.back("members/", "nothing"),
    };
    let done = app
        .ctx
        .tend_member(viewer, list, &address, member, now)
        .await?;
    tending.back("members/", if done { word } else { "nothing" })
}
