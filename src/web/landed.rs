//! What came of a patchset in the project, for its page: commits by branch, and who did what when.

use std::collections::BTreeSet;

use super::page::{Problem, count};
use super::routes::App;
use crate::store::{LandedAs, state_name};
use crate::types::Timestamp;
use crate::view::text::visible;

/// Lines of history on a page; older ones are in the database.
const HISTORY: i64 = 50;

/// One thing that happened.
pub struct HistoryLine {
    pub when: Timestamp,
    pub what: String,
    pub who: String,
}

/// What came into the project: `Landed: 1 of 2 patches: 1 as 0123456789ab in main of tool.`
pub fn landed_note(landed: &[LandedAs], total: i64) -> Option<(&'static str, String)> {
    if landed.is_empty() {
        return None;
    }
    let place = |l: &LandedAs| format!("{} of {}", l.branch, l.repo);
    let in_one_branch = landed.chunk_by(|a, b| place(a) == place(b));
    let list = in_one_branch.map(|all| {
        let short = |l: &LandedAs| l.commit.chars().take(12).collect::<String>();
        let patches = all.iter().map(|l| format!("{} as {}", l.number, short(l)));
        let patches = patches.collect::<Vec<_>>().join(", ");
        format!("{patches} in {}", place(&all[0]))
    });
    let list = list.collect::<Vec<_>>().join("; ");
    let here: BTreeSet<i64> = landed.iter().map(|l| l.number).collect();
    let here = here.len() as i64;
    let tone = if here == total { "good" } else { "" };
    let text = format!("Landed: {here} of {}: {list}.", count(total, "patch"));
    Some((tone, text))
}

/// What happened to a patchset in branches and by decision, newest first.
pub async fn history_of(app: &App, patchset: i64) -> Result<Vec<HistoryLine>, Problem> {
    let history = app.store.load_history(patchset, HISTORY).await?;
    let line = |(when, kind, who, detail): (Timestamp, String, String, String)| HistoryLine {
        when,
        what: visible(&in_words(&kind, &detail)),
        who: visible(&who),
    };
    Ok(history.into_iter().map(line).collect())
}

fn in_words(kind: &str, detail: &str) -> String {
    let (label, rest) = detail.split_once(' ').unwrap_or((detail, ""));
    let (number, of_patch) = rest.split_once(' ').unwrap_or((rest, ""));
    match (kind, rest) {
        ("patch state", _) if of_patch == "0" => {
            format!("v{label}, patch {number}: its state is that of the series")
        }
        ("patch state", _) => {
            let state = state_name(of_patch.parse().unwrap_or(0));
            format!("v{label}, patch {number}: {state}")
        }
        ("landed", _) => format!("Landed: {detail}"),
        ("dropped", _) => format!("Dropped: {detail}"),
        ("delegate", "") => format!("v{label}: nobody in particular looks after it"),
        ("delegate", to) => format!("v{label}: {to} looks after it"),
        (_, "0") => format!("v{label}: its state is what the rules say"),
        (_, state) => format!("v{label}: {}", state_name(state.parse().unwrap_or(0))),
    }
}
