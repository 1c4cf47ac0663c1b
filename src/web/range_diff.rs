//! `/L/patches/N/v1..v2`: what changed between two versions of a patchset.

use std::collections::HashSet;

use askama::Template;

use super::limits::Dear;
use super::page::{Answer, Frame, Problem, cached, count};
use super::routes::{App, Wish};
use crate::patchset::range_diff::{Fate, Pair, Sign};
use crate::pipeline::{PipelineError, compare, missing_versions};
use crate::store::patch_pages::SeriesFact;
use crate::store::{Shown, StoreError};
use crate::view::text::visible;

/// The two labels of `v1..v2`.
pub fn labels(text: &str) -> Option<(&str, &str)> {
    let (old, new) = text.split_once("..")?;
    Some((old.strip_prefix('v')?, new.strip_prefix('v')?))
}

/// The versions that are worth comparing with one: each neighbour, and the oldest with the newest. (label, label)
pub fn offered(versions: &[SeriesFact]) -> Vec<(String, String)> {
    let label = |v: &SeriesFact| v.label.clone();
    let mut pairs: Vec<(String, String)> = versions
        .windows(2)
        .map(|w| (label(&w[0]), label(&w[1])))
        .collect();
    if let [first, _, .., last] = versions {
        pairs.push((label(first), label(last)));
    }
    pairs
}

/// From the version before the shown one: where the comparison is, and in words.
pub fn link_to(home: &str, versions: &[SeriesFact], shown: &str) -> Option<(String, String)> {
    let at = versions.iter().position(|v| v.label == shown)?;
    let old = &versions[at.checked_sub(1)?].label;
    Some((
        format!("{home}v{old}..v{shown}"),
        format!("Changes v{old} → v{shown}"),
    ))
}

/// What is said of a patch that was paired by its title or number.
const REWRITTEN: &str = ", changed so much that git range-diff pairs it with nothing";

struct Line {
    anchor: String,
    sign: char,
    word: &'static str,
    tone: &'static str,
    numbers: String,
    title: String,
    /// Behind the numbers; may be empty.
    note: &'static str,
    hunks: Vec<Block>,
}

struct Block {
    heading: String,
    /// Class in the style sheet, and the line with its sign.
    rows: Vec<(&'static str, String)>,
}

#[derive(Template)]
#[template(path = "range_diff.html")]
struct RangeDiffPage {
    frame: Frame,
    list: String,
    heading: String,
    canonical: String,
    home: String,
    old: String,
    new: String,
    summary: String,
    others: Vec<(String, String, bool)>,
    command: String,
    problem: String,
    lines: Vec<Line>,
}

/// `GET /L/patches/N/v1..v2`
pub async fn show(app: &App, list: &Shown, id: i64, pair: (&str, &str), wish: &Wish) -> Answer {
    let (old, new) = pair;
    let (realm, _) = app.store.find_list_version(list).await?;
    let key = format!(
        "range-diff {} {} {realm} {id} {old}..{new}",
        list.id, list.version
    );
    let make = async {
        let versions = app.store.load_versions(id).await?;
        let newest = versions.iter().map(|v| v.arrived).max();
        Ok((page(app, list, id, pair, &versions, wish).await?, newest))
    };
    cached(wish, list, key, make).await
}

async fn page(
    app: &App,
    list: &Shown,
    id: i64,
    (old, new): (&str, &str),
    versions: &[SeriesFact],
    wish: &Wish,
) -> Result<RangeDiffPage, Problem> {
    let home = format!("/{}/patches/{id}/", list.name);
    let missing = || {
        let way = (home.clone(), "Show the patchset".to_owned());
        let known: Vec<&str> = versions.iter().map(|v| v.label.as_str()).collect();
        let text = missing_versions(&known, [old, new]);
        Problem::Missing(format!("Patchset {id} has {}.", visible(&text)), vec![way])
    };
    let turn = app.limits.turn(Dear::Comparison, wish.from).await?;
    let (store, labels) = (app.store.clone(), [old.to_owned(), new.to_owned()]);
    // A task of its own: the turn lasts as long as the work, also if the reader goes away.
    let compared = tokio::spawn(async move {
        let compared = compare(&store, id, [&labels[0], &labels[1]]).await;
        drop(turn);
        compared
    });
    let compared = compared
        .await
        .unwrap_or_else(|e| Err(PipelineError::Broken(e.to_string())));
    let (pairs, problem) = match compared {
        Ok(pairs) => (pairs.ok_or_else(missing)?, String::new()),
        Err(PipelineError::Refused(why)) => (Vec::new(), why),
        Err(PipelineError::Store(error)) => return Err(error.into()),
        Err(error) => return Err(StoreError::Unusable(error.to_string()).into()),
    };
    let title = versions
        .iter()
        .find(|v| v.label == new)
        .map_or("", |v| &v.title);
    let others = offered(versions).into_iter();
    Ok(RangeDiffPage {
        frame: wish.frame(app, Some(&list.name), "patches"),
        heading: visible(title),
        canonical: format!("{}{home}v{old}..v{new}", app.base_url),
        summary: summary(&pairs),
        others: others
            .map(|(a, b)| {
                (
                    format!("v{a}..v{b}"),
                    format!("v{a} → v{b}"),
                    a == old && b == new,
                )
            })
            .collect(),
        command: format!("patchpost series range-diff {id} {old} {new}"),
        lines: shown(&pairs).map(line).collect(),
        list: list.name.clone(),
        old: old.to_owned(),
        new: new.to_owned(),
        home,
        problem,
    })
}

/// The pairs that have a line: a patch that was rewritten has one.
fn shown(pairs: &[Pair]) -> impl Iterator<Item = &Pair> {
    let rewritten = pairs.iter().filter_map(|p| p.rewritten.as_ref());
    let rewritten: HashSet<usize> = rewritten.map(|r| r.0).collect();
    let has_line = move |p: &&Pair| {
        p.fate != Fate::Dropped || p.old.is_none_or(|old| !rewritten.contains(&old))
    };
    pairs.iter().filter(has_line)
}

/// As the page has it: what was rewritten is changed.
fn fate(pair: &Pair) -> Fate {
    match pair.rewritten {
        Some(_) => Fate::Changed,
        None => pair.fate,
    }
}

/// `2 patches changed, 1 new, 2 same`
fn summary(pairs: &[Pair]) -> String {
    let number = |wanted: Fate| shown(pairs).filter(|p| fate(p) == wanted).count();
    let words = [
        (Fate::Changed, "changed"),
        (Fate::Added, "new"),
        (Fate::Dropped, "dropped"),
        (Fate::Same, "same"),
    ];
    let mut parts: Vec<String> = Vec::new();
    for (fate, word) in words {
        match number(fate) {
            0 => {}
            n if parts.is_empty() => parts.push(format!("{} {word}", count(n as i64, "patch"))),
            n => parts.push(format!("{n} {word}")),
        }
    }
    parts.join(", ")
}

fn line(pair: &Pair) -> Line {
    let (word, tone) = match fate(pair) {
        Fate::Same => ("same", ""),
        Fate::Changed => ("changed", "caution"),
        Fate::Added => ("new", "good"),
        Fate::Dropped => ("dropped", "bad"),
    };
    let side = |n: Option<usize>| n.map_or("–".to_owned(), |n| n.to_string());
    let row = |row: &crate::patchset::range_diff::Row| {
        let (class, sign) = match row.0 {
            Sign::Old => ("del", '-'),
            Sign::New => ("add", '+'),
            Sign::Both => ("ctx", ' '),
        };
        (class, format!("{sign}{}", visible(&row.1)))
    };
    let (old, hunks, note) = match &pair.rewritten {
        Some((old, hunks)) => (Some(*old), hunks, REWRITTEN),
        None => (pair.old, &pair.hunks, ""),
    };
    let hunks = hunks.iter().map(|h| Block {
        heading: visible(&h.heading),
        rows: h.rows.iter().map(row).collect(),
    });
    Line {
        anchor: format!("p{}-{}", old.unwrap_or(0), pair.new.unwrap_or(0)),
        sign: fate(pair).sign(),
        word,
        tone,
        numbers: format!("{} → {}", side(old), side(pair.new)),
        title: visible(&pair.title),
        note,
        hunks: hunks.collect(),
    }
}
