//! `/me/`: somebody's lists, addresses and data, for who is signed in; everything by plain forms.

use askama::Template;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::came_back::{self, CameBack};
use super::page::{Answer, Frame, Pill, Problem, Row, count, file, html, short_pills};
use super::routes::{App, Wish};
use super::session::{SESSION, eyes, require, set_cookie};
use crate::list::notice::{self, Arrived, Audience, RULES, ReportWish};
use crate::list::roster::Entry;
use crate::list::score::{self, State};
use crate::list::settings::Bits;
use crate::pipeline::{Viewer, Wanted};
use crate::store::patch_pages::SeriesFact;
use crate::store::{ListLine, MembershipRow, Owed, OwnHeld, Shown, StandingRow, state_word};
use crate::types::{Address, Timestamp};
use crate::view::text::visible;

/// A subscription as the page shows it.
struct Subscription {
    row: MembershipRow,
    /// Its pages are shown to the viewer.
    reads: bool,
    pill: Pill,
    /// `yes`, `no` or `default`.
    nodupes: &'static str,
    /// What the list's style does where the member has not chosen.
    usual: &'static str,
}

/// One of the person's addresses.
struct OwnAddress {
    address: String,
    /// The one that is signed in.
    here: bool,
    pill: Pill,
    words: String,
    came_back: Vec<CameBack>,
    disabled: bool,
}

/// A list that the viewer looks after.
struct Tended {
    name: String,
    held: String,
}

#[derive(Template)]
#[template(path = "me.html")]
struct MePage {
    frame: Frame,
    address: String,
    guard: String,
    /// What was just done.
    done: &'static str,
    subscriptions: Vec<Subscription>,
    several: bool,
    /// Other lists that are not public and are shown to the viewer.
    readable: Vec<String>,
    others: Vec<(String, String)>,
    tended: Vec<Tended>,
    operator: bool,
    addresses: Vec<OwnAddress>,
    browsers: usize,
    notices: Vec<(&'static str, &'static str, &'static str)>,
    /// The viewer's newest patches, each with a list where it is shown.
    patches: Vec<Row>,
    /// Own mails that wait for a moderator: list, subject, arrival.
    held: Vec<(String, String, Timestamp)>,
    /// Own mails that were posted and taken back: list, subject, when.
    back: Vec<(String, String, Timestamp)>,
    /// When patches of the viewer's come: `first`, `always`, `never`.
    arrived: &'static str,
    /// Whether it is told that they do not apply.
    conflict: bool,
    /// Whether it is told that their state was set or that they landed.
    states: bool,
}

#[derive(Template)]
#[template(path = "erase.html")]
struct ErasePage {
    frame: Frame,
    address: String,
    guard: String,
    lists: Vec<String>,
    rights: Vec<String>,
    linked: Vec<String>,
    mails: String,
    operator: bool,
}

#[derive(Template)]
#[template(path = "message.html")]
struct ErasedPage {
    frame: Frame,
    heading: String,
    text: String,
    ways: Vec<(String, String)>,
}

/// Lists to join that are shown.
const OFFERED: usize = 100;
/// Own patchsets that are shown.
const OWN_PATCHES: i64 = 20;
/// Mails and notes in an export.
const EXPORTED: i64 = 10_000;

/// What was done, by the word that the page is called with.
const DONE: [(&str, &str); 11] = [
    ("saved", "Saved."),
    ("left", "You left the list and get no more copies."),
    (
        "joined",
        "You are a member, and get copies from the next mail on.",
    ),
    (
        "enabled",
        "The address gets copies again, from the next mail on.",
    ),
    (
        "asked",
        "If no such mail went there today, one is on its way: open the link in it, and the addresses are one person here.",
    ),
    (
        "same",
        "That is the address that you are signed in with: there is nothing to link.",
    ),
    ("unlinked", "The address is no longer linked with yours."),
    ("out", "All other browsers are signed out."),
    (
        "nothing",
        "Nothing was done: the list, address or subscription is not there any more.",
    ),
    (
        "odd",
        "This is no e-mail address to which a mail can be sent, such as ana@example.org.",
    ),
    (
        "enough",
        "Your network asked for too many mails within the last hour. Try again in an hour.",
    ),
];

/// `/me/` and what is below it.
pub async fn serve(app: &App, rest: &str, wish: &Wish) -> Answer {
    let below = rest.strip_prefix("copy/");
    let back = match below {
        Some(_) => format!("/me/{rest}"),
        None => "/me/".to_owned(),
    };
    let viewer = require(app, wish, &back).await?;
    if let Some(below) = below {
        return super::copy::serve(app, &viewer, below, wish).await;
    }
    match (rest, wish.post) {
        ("", false) => show(app, &viewer, wish).await,
        ("", true) => change(app, &viewer, wish).await,
        ("export.json", false) => {
            let _turn = app.limits.export(&viewer.address).await?;
            export(app, &viewer).await
        }
        ("erase", false) => ask_to_erase(app, &viewer, wish).await,
        ("erase", true) => erase(app, &viewer, wish).await,
        _ => Err(Problem::Missing(
            "There is no such page.".to_owned(),
            Vec::new(),
        )),
    }
}

async fn show(app: &App, viewer: &Viewer, wish: &Wish) -> Answer {
    let now = crate::store::now();
    let linked = app.store.load_linked(&viewer.address).await?;
    let rows = app.store.load_memberships(&linked).await?;
    let mut addresses = Vec::new();
    for address in &linked {
        let standing = app.store.find_standing(address).await?;
        let mut own = own_address(address, &viewer.address, standing.as_ref());
        for row in rows.iter().filter(|r| r.member.address == *address) {
            let list = (row.list, row.name.as_str());
            own.came_back
                .extend(came_back::load(app, list, address).await?);
        }
        own.came_back = came_back::newest(own.came_back);
        addresses.push(own);
    }
    let disabled: Vec<&str> = addresses
        .iter()
        .filter(|a| a.disabled)
        .map(|a| a.address.as_str())
        .collect();
    let shown = app.store.load_shown(eyes(app, viewer)).await?;
    let reads = |name: &str| shown.iter().any(|(l, _)| l.name == name);
    let is_joined = |name: &str| {
        let here = |r: &MembershipRow| r.name == name && r.member.address == viewer.address;
        rows.iter().any(here)
    };
    let others = shown.iter().map(|(list, _)| list);
    let others = others.filter(|l| !l.is_private() && !is_joined(&l.name));
    let others = others.take(OFFERED);
    let tended = tended(app, viewer).await?;
    let reports = app.store.load_report_wish(&viewer.address).await?;
    let held = app.store.load_own_held(&viewer.address).await?;
    let (back, held): (Vec<OwnHeld>, Vec<OwnHeld>) =
        held.into_iter().partition(|h| h.taken_back > 0);
    let held = held
        .into_iter()
        .map(|h| (h.list, visible(&h.subject), Timestamp(h.arrived)));
    let back = back
        .into_iter()
        .map(|h| (h.list, visible(&h.subject), Timestamp(h.taken_back)));
    let done = DONE.iter().find(|(word, _)| *word == wish.get("done"));
    let for_whom = |audience| match audience {
        Audience::Person => true,
        Audience::Moderator => !tended.is_empty(),
        Audience::Operator => viewer.operator,
    };
    let notices = RULES
        .iter()
        .filter(|r| for_whom(notice::audience(r.event)))
        .map(|r| (r.purpose, r.when, r.default));
    Ok(html(&MePage {
        frame: wish.frame(app, None, "me"),
        address: viewer.address.clone(),
        guard: viewer.guard.clone(),
        done: done.map_or("", |(_, text)| text),
        several: addresses.len() > 1,
        subscriptions: rows
            .iter()
            .map(|r| {
                let disabled = disabled.contains(&r.member.address.as_str());
                subscription(r.clone(), disabled, reads(&r.name))
            })
            .collect(),
        readable: shown
            .iter()
            .filter(|(l, _)| l.is_private() && !rows.iter().any(|r| r.name == l.name))
            .map(|(l, _)| l.name.clone())
            .collect(),
        others: others
            .map(|l| (l.name.clone(), l.description.clone()))
            .collect(),
        operator: viewer.operator,
        browsers: app.store.load_sessions(&viewer.address, now).await?.len(),
        notices: notices.collect(),
        patches: own_patches(app, &linked, &shown).await?,
        held: held.collect(),
        back: back.collect(),
        arrived: reports.arrived.as_str(),
        conflict: reports.conflict,
        states: reports.states,
        addresses,
        tended,
    }))
}

/// What these addresses sent, as far as its list is shown to who looks.
async fn own_patches(app: &App, own: &[String], shown: &[ListLine]) -> Result<Vec<Row>, Problem> {
    let all = app
        .store
        .load_own_patchsets(own, shown, OWN_PATCHES)
        .await?;
    let row = |(list, fact): &(&Shown, SeriesFact)| {
        let href = format!("/{}/patches/{}/", list.name, fact.patchset);
        let mut row = Row::new(href, &fact.title, fact.arrived);
        row.who = list.name.clone();
        row.state = Some(Pill::state(fact.state));
        row.pills = short_pills(fact, false);
        row
    };
    Ok(all.iter().map(row).collect())
}

/// The lists that somebody looks after: by right, or all for the operator.
async fn tended(app: &App, viewer: &Viewer) -> Result<Vec<Tended>, Problem> {
    let rights = app.store.load_rights(&viewer.address).await?;
    let moderates = |name: &str| {
        let mut own = rights.iter().filter(|(list, _)| list == name);
        own.any(|(_, bits)| bits.has(Bits::MODERATE))
    };
    let mut tended = Vec::new();
    for list in app.store.load_lists().await? {
        if moderates(&list.name) || (viewer.operator && list.name != "postmaster") {
            let held = match app.store.count_held_of(list.id).await? {
                0 => String::new(),
                n => format!("{} held", count(n, "mail")),
            };
            tended.push(Tended {
                name: list.name,
                held,
            });
        }
    }
    Ok(tended)
}

fn subscription(row: MembershipRow, disabled: bool, reads: bool) -> Subscription {
    let pill = match (row.member.mail, disabled) {
        (_, true) => Pill::fact("bad", "no copies: mail came back"),
        (true, _) => Pill::fact("good", "gets copies"),
        (false, _) => Pill::fact("caution", "paused"),
    };
    Subscription {
        pill,
        reads,
        nodupes: match row.member.nodupes {
            None => "default",
            Some(true) => "yes",
            Some(false) => "no",
        },
        usual: match row.style.as_str() {
            "discuss" => "no copy",
            _ => "a copy",
        },
        row,
    }
}

fn own_address(address: &str, here: &str, standing: Option<&StandingRow>) -> OwnAddress {
    let (pill, words) = standing_words(standing);
    OwnAddress {
        address: address.to_owned(),
        here: address == here,
        disabled: standing.is_some_and(|s| s.standing.state == State::Disabled),
        pill,
        words,
        came_back: Vec::new(),
    }
}

/// How an address stands, and what that means.
pub fn standing_words(row: Option<&StandingRow>) -> (Pill, String) {
    let Some(standing) = row.map(|r| r.standing) else {
        return (Pill::fact("good", "fine"), String::new());
    };
    let since = standing.since.human();
    match standing.state {
        State::Fine if standing.halves == 0 => (Pill::fact("good", "fine"), String::new()),
        State::Fine => (
            Pill::fact("", "some mail came back"),
            format!(
                "{} of {} points, on {} of {} days. {} days with copies and without a bounce forgive them.",
                points(standing.halves),
                points(score::LIMIT_HALVES),
                standing.days,
                score::LIMIT_DAYS,
                score::QUIET_DAYS
            ),
        ),
        State::Probed => (
            Pill::fact("caution", "being tried"),
            format!(
                "Copies came back on several days, so a mail was sent on {since} to see whether any arrives. Copies go on. If that mail does not come \
                 back within {} days, all is forgiven.",
                score::PROBE_DAYS
            ),
        ),
        State::Disabled => {
            let gone = standing.since.plus_secs(score::REMOVE_DAY * 86_400);
            let text = format!(
                "No copies since {since}: copies came back on several days, and so did the mail that tried once more. If nothing is done, the \
                 address leaves all lists on {}.",
                gone.human()
            );
            (Pill::fact("bad", "gets no copies"), text)
        }
    }
}

fn points(halves: i64) -> String {
    match halves % 2 {
        0 => (halves / 2).to_string(),
        _ => format!("{}.5", halves / 2),
    }
}

async fn change(app: &App, viewer: &Viewer, wish: &Wish) -> Answer {
    let now = crate::store::now();
    let (list, address) = (wish.field("list"), wish.field("address"));
    let of = (list.as_str(), address.as_str());
    let ctx = &app.ctx;
    let (done, word) = match wish.field("do").as_str() {
        "save" => {
            let wanted = Wanted::Settings(settings(wish));
            (ctx.change_own(viewer, of, wanted, now).await?, "saved")
        }
        "leave" => (
            ctx.change_own(viewer, of, Wanted::Leave, now).await?,
            "left",
        ),
        "join" => {
            let own = (list.as_str(), viewer.address.as_str());
            let done = ctx.change_own(viewer, own, Wanted::Join, now).await?;
            (done, "joined")
        }
        "reports" => {
            ctx.choose_reports(viewer, reports(wish), now).await?;
            (true, "saved")
        }
        "enable" => (ctx.enable_own(viewer, &address, now).await?, "enabled"),
        "unlink" => (ctx.unlink_own(viewer, &address).await?, "unlinked"),
        "link" => (true, link(app, viewer, &address, wish).await?),
        "sign-out" => {
            ctx.sign_out(viewer).await?;
            return Ok(leave(app, "/"));
        }
        "sign-out-everywhere" => {
            ctx.sign_out_everywhere(viewer).await?;
            return Ok(leave(app, "/sign-in"));
        }
        _ => (false, ""),
    };
    let word = if done { word } else { "nothing" };
    Err(Problem::Moved(
        StatusCode::SEE_OTHER,
        format!("/me/?done={word}"),
    ))
}

fn settings(wish: &Wish) -> Entry {
    let flag = |name: &str| match wish.field(name).as_str() {
        "yes" => Some(true),
        "no" => Some(false),
        _ => None,
    };
    Entry {
        mail: flag("mail"),
        own: flag("own"),
        nodupes: match wish.field("nodupes").as_str() {
            "default" => Some(None),
            _ => flag("nodupes").map(Some),
        },
        ..Entry::default()
    }
}

/// What somebody wants to hear of own patches; what is not understood is as usual.
fn reports(wish: &Wish) -> ReportWish {
    ReportWish {
        arrived: Arrived::parse(&wish.field("arrived")).unwrap_or_default(),
        conflict: wish.field("conflict") != "no",
        states: wish.field("states") == "yes",
    }
}

/// Asks the other address; what is told says nothing of it.
async fn link(
    app: &App,
    viewer: &Viewer,
    address: &str,
    wish: &Wish,
) -> Result<&'static str, Problem> {
    let address = address.trim().parse::<Address>().ok();
    let Some(address) = address.filter(notice::is_plain) else {
        return Ok("odd");
    };
    if address.key() == viewer.address {
        return Ok("same");
    }
    let now = crate::store::now();
    let owed = app.ctx.ask_to_link_with(viewer, &address, wish.from, now);
    Ok(match owed.await? {
        Owed::EnoughFromSource => "enough",
        Owed::Yes | Owed::EnoughForAddress => "asked",
    })
}

/// The browser forgets who it was.
fn leave(app: &App, to: &str) -> Response {
    let mut response = (StatusCode::SEE_OTHER, [(header::LOCATION, to)]).into_response();
    set_cookie(app, &mut response, SESSION, "");
    response
}

/// `GET /me/export.json`: what is stored of the person.
async fn export(app: &App, viewer: &Viewer) -> Answer {
    let (now, store, own) = (crate::store::now(), &app.store, viewer.address.as_str());
    let linked = store.load_linked(own).await?;
    let time = |micros: i64| Timestamp(micros).rfc3339();
    let mut addresses = Vec::new();
    for address in &linked {
        let row = store.find_standing(address).await?;
        addresses.push(serde_json::json!({
            "address": address,
            "state": state_word(row.as_ref().map_or(State::Fine, |r| r.standing.state)),
            "points": row.as_ref().map_or("0".to_owned(), |r| points(r.standing.halves)),
        }));
    }
    let rows = store.load_memberships(&linked).await?;
    let mut bounces = Vec::new();
    for row in rows.iter().filter(|r| r.member.address == own) {
        for b in store.load_bounces(row.list, own, 200).await? {
            bounces.push(serde_json::json!({"list": row.name, "posting": b.number, "class": b.class, "code": b.code, "said": b.text, "when": time(b.arrived)}));
        }
    }
    let member = |r: &MembershipRow| {
        let m = &r.member;
        serde_json::json!({
            "list": r.name, "address": m.address, "mail": m.mail, "own": m.own, "nodupes": m.nodupes, "since": m.created.rfc3339(),
        })
    };
    let rights = store.load_rights(own).await?;
    let notices = store.load_own_notices(own).await?;
    let notes = store.load_own_notes(own, EXPORTED).await?;
    let mails = store.load_own_mails(own, EXPORTED).await?;
    let sessions = store.load_sessions(own, now).await?;
    let held = store.load_own_held(own).await?;
    let reports = store.load_report_wish(own).await?;
    let all = serde_json::json!({
        "address": own,
        "made": now.rfc3339(),
        "addresses": addresses,
        "memberships": rows.iter().map(member).collect::<Vec<_>>(),
        "rights": rights.iter().map(|(list, bits)| serde_json::json!({"list": list, "rights": bits.to_string()})).collect::<Vec<_>>(),
        "bounces": bounces,
        "automatic_mail": notices.iter().map(|n| serde_json::json!({"kind": n.kind, "when": time(n.made), "network": n.network})).collect::<Vec<_>>(),
        "mail_about_own_patches": {"arrived": reports.arrived.as_str(), "conflict": reports.conflict, "states": reports.states},
        "browsers": sessions.iter().map(|s| serde_json::json!({"since": s.made.rfc3339(), "seen": s.seen.rfc3339()})).collect::<Vec<_>>(),
        "notes": notes.iter().map(|n| serde_json::json!({"list": n.list, "kind": n.kind, "when": time(n.happened), "detail": n.detail})).collect::<Vec<_>>(),
        "held": held.iter().map(|h| serde_json::json!({"list": h.list, "message_id": h.message_id, "subject": h.subject, "arrived": time(h.arrived)})).collect::<Vec<_>>(),
        "mails": mails.iter().map(|m| serde_json::json!({"list": m.list, "number": m.number, "message_id": m.message_id, "subject": m.subject, "arrived": time(m.arrived)})).collect::<Vec<_>>(),
    });
    let text = serde_json::to_string_pretty(&all).unwrap_or_default() + "\n";
    let name = "attachment; filename=patchpost-me.json".to_owned();
    Ok(file("application/json", Some(name), text))
}

async fn ask_to_erase(app: &App, viewer: &Viewer, wish: &Wish) -> Answer {
    let own = vec![viewer.address.clone()];
    let rows = app.store.load_memberships(&own).await?;
    let rights = app.store.load_rights(&viewer.address).await?;
    let mut linked = app.store.load_linked(&viewer.address).await?;
    linked.retain(|a| *a != viewer.address);
    let mails = app.store.load_own_mails(&viewer.address, EXPORTED).await?;
    let mails = match mails.len() {
        0 => String::new(),
        n if n as i64 == EXPORTED => format!("{}+ mails", EXPORTED),
        n => count(n as i64, "mail"),
    };
    Ok(html(&ErasePage {
        frame: wish.frame(app, None, "me"),
        address: viewer.address.clone(),
        guard: viewer.guard.clone(),
        lists: rows.into_iter().map(|r| r.name).collect(),
        rights: rights.into_iter().map(|(list, _)| list).collect(),
        linked,
        mails,
        operator: viewer.operator,
    }))
}

async fn erase(app: &App, viewer: &Viewer, wish: &Wish) -> Answer {
    if wish.field("sure") != "yes" {
        let text = "Nothing was erased: tick the box that says so.";
        return Err(Problem::Bad(text.to_owned()));
    }
    app.ctx.erase_own(viewer, crate::store::now()).await?;
    let mut page = html(&ErasedPage {
        frame: wish.frame(app, None, ""),
        heading: "Erased".to_owned(),
        text: format!(
            "What was stored of {} is erased, but for what the page before named.",
            viewer.address
        ),
        ways: vec![("/".to_owned(), "All lists".to_owned())],
    });
    set_cookie(app, &mut page, SESSION, "");
    Ok(page)
}
