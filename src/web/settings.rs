//! `/L/settings/`: what a list is set to, in numbers and words, for those who look after it.
//!
//! A list that is not public is, for everybody else, not there.

use askama::Template;
use axum::http::StatusCode;
use axum::response::Response;

use super::page::{Answer, Frame, Problem, count, html};
use super::routes::{App, Wish};
use super::session::{check_form, eyes, find};
use super::{held, members};
use crate::list::rules::Rule;
use crate::list::settings::{Moderation, Policy};
use crate::pipeline::Viewer;
use crate::store::{ListNumbers, ListRow};
use crate::types::RealmId;
use crate::view::url;

/// A list with who looks after it.
pub struct Tending<'a> {
    /// Who.
    pub viewer: Viewer,
    /// The list.
    pub list: &'a ListRow,
    /// Mails that it holds.
    pub held: i64,
    /// Its pages are shown to them.
    pub reads: bool,
}

/// What stands on top of each of these pages.
pub struct Top {
    /// The list's name.
    pub list: String,
    /// Which page this is.
    pub here: &'static str,
    /// Mails that are held.
    pub held: i64,
    /// What forms carry.
    pub guard: String,
    /// What was just done; may be empty.
    pub done: String,
}

impl Tending<'_> {
    /// The frame of a page; navigation only where it leads somewhere.
    pub fn frame(&self, app: &App, wish: &Wish) -> Frame {
        let name = self.reads.then_some(self.list.name.as_str());
        let mut frame = wish.frame(app, name, "settings");
        frame.private = self.reads && !self.list.is_open();
        frame
    }

    /// The top of a page.
    pub fn top(&self, here: &'static str, done: String) -> Top {
        Top {
            list: self.list.name.clone(),
            here,
            held: self.held,
            guard: self.viewer.guard.clone(),
            done,
        }
    }

    /// Leads to a page of these settings that says what was done.
    pub fn back(&self, page: &str, done: &str) -> Answer {
        let to = format!(
            "/{}/settings/{page}?done={}",
            self.list.name,
            url::query(done)
        );
        Err(Problem::Moved(StatusCode::SEE_OTHER, to))
    }
}

/// A setting that a command changes: name, value, command.
struct ByCommand(&'static str, String, String);

#[derive(Template)]
#[template(path = "settings.html")]
struct SettingsPage {
    frame: Frame,
    top: Top,
    problem: String,
    address: String,
    description: String,
    kind: String,
    policy: Policy,
    /// Raised by every change: a form that is older than the last one is not taken.
    version: i64,
    moderations: Vec<(&'static str, &'static str, bool)>,
    numbers: Vec<(&'static str, String)>,
    commands: Vec<ByCommand>,
}

/// What of a path within a list is below its settings.
pub fn below(rest: &str) -> Option<&str> {
    rest.strip_prefix("settings/")
        .or_else(|| (rest == "settings").then_some(""))
}

/// A page below `/L/settings/`; `None`: to whoever asks, there is no such list.
pub async fn serve(
    app: &App,
    name: &str,
    rest: &str,
    wish: &Wish,
) -> Result<Option<Response>, Problem> {
    let (list, viewer) = (app.store.find_list(name).await?, find(app, wish).await?);
    let Some(list) = &list else {
        return Ok(None);
    };
    let path = format!("/{}/settings/{rest}", list.name);
    let viewer = match viewer {
        Some(viewer) if tends(app, list, &viewer).await? => viewer,
        _ if list.realm != RealmId::PUBLIC => return Ok(None),
        None => {
            let to = format!("/sign-in?to={}", url::query(&path));
            return Err(Problem::Moved(StatusCode::SEE_OTHER, to));
        }
        Some(viewer) => {
            let text = format!(
                "{} does not look after {}. Whoever does can give the right: `patchpost policy set {} --person {}=reply,post,moderate`.",
                viewer.address, list.name, list.name, viewer.address
            );
            return Err(Problem::Refused(text));
        }
    };
    check_form(app, wish, &viewer)?;
    let shown = app.store.find_shown(name, eyes(app, &viewer)).await?;
    let tending = Tending {
        reads: shown.is_some(),
        held: app.store.count_held_of(list.id).await?,
        viewer,
        list,
    };
    let answer = match rest {
        "" if wish.post => change(app, &tending, wish).await,
        "" => show(app, &tending, wish, "").await,
        "members/" => members::serve(app, &tending, wish).await,
        rest => match rest.strip_prefix("held/") {
            Some(rest) => held::serve(app, &tending, rest, wish).await,
            None => Err(Problem::Missing(
                "There is no such page.".to_owned(),
                vec![],
            )),
        },
    };
    answer.map(Some)
}

async fn tends(app: &App, list: &ListRow, viewer: &Viewer) -> Result<bool, Problem> {
    // What it is set to comes from the settings of the site.
    let own = list.name != "postmaster";
    Ok(own && app.ctx.is_moderator(list, &viewer.address).await?)
}

async fn show(app: &App, tending: &Tending<'_>, wish: &Wish, problem: &str) -> Answer {
    let (list, now) = (tending.list, crate::store::now());
    let numbers = app.store.load_numbers(list.id, now).await?;
    let policy = list.policy.clone();
    let done = match wish.get("done") {
        "saved" => "Saved: it holds from the next mail on.",
        _ => "",
    };
    let moderation = |m: Moderation, words| (m.as_str(), words, m == policy.moderation);
    Ok(html(&SettingsPage {
        frame: tending.frame(app, wish),
        top: tending.top("settings", done.to_owned()),
        problem: problem.to_owned(),
        address: list.address.clone(),
        description: list.description.clone(),
        kind: format!("{}, {}", list.style, list.visibility),
        moderations: vec![
            moderation(
                Moderation::Strangers,
                "of people whom the list does not know",
            ),
            moderation(Moderation::All, "of everybody but moderators"),
            moderation(Moderation::None, "of nobody"),
        ],
        numbers: in_words(&numbers),
        commands: by_command(app, list).await?,
        version: list.version,
        policy,
    }))
}

fn in_words(n: &ListNumbers) -> Vec<(&'static str, String)> {
    let mut members = format!("{}; {} get copies", count(n.members, "member"), n.copies);
    if n.paused > 0 {
        members.push_str(&format!(", {} paused", n.paused));
    }
    if n.disabled > 0 {
        members.push_str(&format!(", {} get none as mail came back", n.disabled));
    }
    let archive = format!(
        "{} in {}, {}",
        count(n.postings, "mail"),
        count(n.threads, "thread"),
        count(n.patchsets, "patchset")
    );
    let held = match n.oldest_held {
        Some(oldest) => format!(
            "{}, the oldest since {}",
            count(n.held, "mail"),
            oldest.human()
        ),
        None => "nothing".to_owned(),
    };
    let decided: Vec<String> = n
        .decided
        .iter()
        .map(|(kind, times)| format!("{times} {kind}"))
        .collect();
    let decided = match decided.is_empty() {
        true => "nothing".to_owned(),
        false => decided.join(", "),
    };
    let mut owed = count(n.owed, "copy").replace("copys", "copies");
    if n.given_up > 0 {
        owed.push_str(&format!(", {} given up", n.given_up));
    }
    vec![
        ("Members", members),
        ("Archive", archive),
        (
            "New mail",
            format!("{} in 7 days, {} in 30 days", n.week, n.month),
        ),
        ("Held now", held),
        ("Decided in 30 days", decided),
        ("Owed", owed),
    ]
}

/// What is not set here, with the command that sets it.
async fn by_command(app: &App, list: &ListRow) -> Result<Vec<ByCommand>, Problem> {
    let p = &list.policy;
    let people = app.store.load_access(list.id).await?;
    let bans = app.store.load_bans(list.id).await?;
    let set = |option: &str| format!("patchpost policy set {} {option}", list.name);
    let switch = |on: bool| if on { "on" } else { "off" }.to_owned();
    let lines = |all: Vec<String>| match all.is_empty() {
        true => "none".to_owned(),
        false => all.join("\n"),
    };
    let people = people.iter().map(|p| format!("{}={}", p.address, p.rights));
    let bans = bans.iter().map(|b| match b.everywhere {
        true => format!("{} (everywhere)", b.name),
        false => b.name.clone(),
    });
    Ok(vec![
        ByCommand(
            "anybody",
            p.anybody.to_string(),
            set("--anybody browse,reply,post"),
        ),
        ByCommand(
            "subscribers",
            p.subscribers.to_string(),
            set("--subscribers browse,reply,post"),
        ),
        ByCommand(
            "person",
            lines(people.collect()),
            set("--person ana@example.org=reply,post,moderate"),
        ),
        ByCommand("ban", lines(bans.collect()), set("--ban example.org")),
        ByCommand(
            "rule",
            lines(p.rules.iter().map(Rule::to_string).collect()),
            set("--rule 'Subject *lottery* hold'"),
        ),
        ByCommand(
            "proof",
            p.proof.as_str().to_owned(),
            set("--proof authenticated"),
        ),
        ByCommand(
            "outsiders",
            p.outsiders.as_str().to_owned(),
            set("--outsiders hold"),
        ),
        ByCommand("any-list", switch(p.any_list), set("--any-list on")),
        ByCommand("web", on_pages(list), set("--web on")),
        ByCommand(
            "own-removal",
            p.own_removal.as_str().to_owned(),
            set("--own-removal ask"),
        ),
        ByCommand("html", switch(p.html), set("--html on")),
        ByCommand("tls-only", switch(p.tls_only), set("--tls-only on")),
        ByCommand(
            "refuse-type",
            lines(p.refused_types.clone()),
            set("--refuse-type 'image/*'"),
        ),
        ByCommand(
            "address",
            list.address.clone(),
            format!("patchpost list set {} --address ADDRESS", list.name),
        ),
    ])
}

/// Who reads the archive on the pages.
fn on_pages(list: &ListRow) -> String {
    match (list.is_open(), list.policy.web) {
        (true, _) => "everybody reads it",
        (false, true) if list.policy.tls_only => "who may browse reads it, over TLS",
        (false, true) => "who may browse reads it",
        (false, false) => "off: nobody reads it on the pages",
    }
    .to_owned()
}

async fn change(app: &App, tending: &Tending<'_>, wish: &Wish) -> Answer {
    let version = wish.field("version");
    if !version.is_empty() && version != tending.list.version.to_string() {
        let text =
            "somebody changed these settings since the page was opened; here is what holds now";
        return show(app, tending, wish, text).await;
    }
    let wanted = match wished(&tending.list.policy, wish) {
        Ok(policy) => policy,
        Err(problem) => return show(app, tending, wish, &problem).await,
    };
    let description = wish.field("description").trim().to_owned();
    let (list, now) = (tending.list, crate::store::now());
    let wanted = (wanted, description);
    let done = app
        .ctx
        .tend_policy(&tending.viewer, list, wanted, now)
        .await?;
    match done {
        Ok(()) => tending.back("", "saved"),
        Err(problem) => show(app, tending, wish, &problem).await,
    }
}

/// The policy with what the form says; a field that is not there leaves its setting as it is.
fn wished(old: &Policy, wish: &Wish) -> Result<Policy, String> {
    let number = |name: &str, old: i64| match wish.field(name).trim() {
        "" => Ok(old),
        text => text
            .parse::<i64>()
            .map_err(|_| format!("{name} is a whole number, not {text:?}")),
    };
    let moderation = match wish.field("moderation").as_str() {
        "none" => Moderation::None,
        "all" => Moderation::All,
        "strangers" => Moderation::Strangers,
        _ => old.moderation,
    };
    let mut new = match moderation == old.moderation {
        true => old.clone(),
        false => old.clone().moderated(moderation),
    };
    new.strangers_per_hour = number("strangers-per-hour", new.strangers_per_hour)?;
    new.delay = number("delay", new.delay)?;
    if moderation == Moderation::None {
        // A browser sends the numbers of before along, and nobody's mail is held now.
        new = new.moderated(moderation);
    }
    new.hold_days = number("hold-days", new.hold_days)?;
    new.max_size = number("max-size", new.max_size)?;
    new.emergency = match wish.field("emergency").as_str() {
        "on" => true,
        "off" => false,
        _ => old.emergency,
    };
    Ok(new)
}
