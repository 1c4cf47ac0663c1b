//! `/L/patches/…`: what is in flight, and which page or mbox an address below it means.

use askama::Template;

use super::list::PAGE;
use super::mbox::{Packing, patches};
use super::page::{
    Answer, Frame, Pill, Problem, Row, cached, count, html, person, short_pills, tagged,
};
use super::patchset::{find_version, page};
use super::routes::{App, Wish};
use crate::store::Shown;
use crate::store::patch_pages::{PatchFilter, SeriesFact};
use crate::view::text::visible;
use crate::view::url;

/// A choice of a form: value, words, chosen.
type Choice = (&'static str, &'static str, bool);

const STATES: [(&str, &str, &[i64]); 12] = [
    ("open", "open", &[1, 2, 5, 7]),
    ("any", "any", &[]),
    ("new", "new", &[1]),
    ("under-review", "under review", &[2]),
    ("changes-requested", "changes requested", &[7]),
    ("accepted", "accepted", &[3]),
    ("rejected", "rejected", &[4]),
    ("rfc", "RFC", &[5]),
    ("not-applicable", "not applicable", &[6]),
    ("awaiting-upstream", "awaiting upstream", &[8]),
    ("deferred", "deferred", &[10]),
    ("superseded", "superseded", &[9]),
];
const OUTCOMES: [(&str, &str); 6] = [
    ("", "any"),
    ("applied", "yes"),
    ("tip", "conflicts at the tip"),
    ("conflict", "conflicts"),
    ("waits", "waits for another"),
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
pub async fn index(app: &App, list: Shown, wish: &Wish) -> Answer {
    let chosen = if wish.get("state").is_empty() {
        "open"
    } else {
        wish.get("state")
    };
    let Some((_, _, states)) = STATES.iter().find(|s| s.0 == chosen) else {
        let known: Vec<&str> = STATES.iter().map(|s| s.0).collect();
        return Err(Problem::Bad(format!(
            "There is no state {}; there are: {}.",
            visible(chosen),
            known.join(", ")
        )));
    };
    let states = states.to_vec();
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
        list: list.name.clone(),
    }))
}

/// `GET /L/patches/N/`, `/vM/`, `…/mbox`
pub async fn one(app: &App, list: Shown, rest: &str, wish: &Wish) -> Answer {
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
    let no_version = || {
        let way = (
            format!("/{}/patches/{id}/", list.name),
            "Its newest version".to_owned(),
        );
        let text = format!(
            "Patchset {id} has no version v{}.",
            visible(wanted.unwrap_or_default())
        );
        Problem::Missing(text, vec![way])
    };
    if mbox.is_none() {
        let (realm, _) = app.store.find_list_version(&list).await?;
        let key = format!(
            "patchset {} {} {realm} {id} {wanted:?}",
            list.id, list.version
        );
        let make = async {
            let found = find_version(app, id, wanted)
                .await?
                .ok_or_else(no_version)?;
            let newest = found.1.arrived;
            Ok((page(app, &list, id, found, wish).await?, Some(newest)))
        };
        return cached(wish, &list, key, make).await;
    }
    // Before what it is the version of: an answer that is filed meanwhile then makes a tag that is too old, never one too new.
    let (realm, _) = app.store.find_list_version(&list).await?;
    let (_, fact, _) = find_version(app, id, wanted)
        .await?
        .ok_or_else(no_version)?;
    let packing = mbox.unwrap_or(Packing::Plain);
    let from = format!(
        "series {} {} {realm} {id} {} {packing:?}",
        list.id, list.created.0, fact.label
    );
    let make = async {
        let acked = app.store.load_acked_series(id, Some(&fact.label)).await?;
        let acked = acked.ok_or_else(missing)?;
        let name = format!("v{} {}", fact.label, fact.title);
        let turn = app.limits.download(acked.patches.len(), wish.from).await?;
        Ok(patches(app, acked, &name, packing, turn))
    };
    tagged(&wish.headers, &list, &from, make).await
}
