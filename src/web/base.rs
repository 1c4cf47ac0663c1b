//! On what a version is built and whether it applies at the tip, in words for its page.

use std::collections::HashSet;

use super::page::Problem;
use super::routes::App;
use crate::patchset::depend::{Dependencies, Link, NAMED_COMMIT};
use crate::store::patch_pages::{ApplicationRow, SeriesFact};
use crate::store::{Eyes, ListRow, Needing, Shown, TipRow};
use crate::types::{ListId, SeriesId};
use crate::view::text::visible;

/// Letters of a commit id that are shown.
const ID: usize = 12;
/// Series that are named as built on one.
const NEEDING: i64 = 20;

/// A sentence with its tone, and the page that it leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// `caution` or nothing.
    pub tone: &'static str,
    /// In words.
    pub text: String,
    /// Link and its text.
    pub link: Option<(String, String)>,
}

/// What a version names as that on which it is built, a line each.
pub async fn depends_lines(
    app: &App,
    list: &ListRow,
    series: SeriesId,
    application: Option<&ApplicationRow>,
) -> Result<Vec<Line>, Problem> {
    let names = app.store.load_named(series).await?;
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let named = app
        .store
        .load_dependencies(list.realm, series, names)
        .await?;
    let links = named.links(series);
    let patchsets: Vec<i64> = links
        .iter()
        .filter_map(|l| l.series.map(|(_, t)| t.patchset.0))
        .collect();
    let here = app.store.find_in_list(list.id, &patchsets).await?;
    let mut lines: Vec<Line> = circle_line(&named, series).into_iter().collect();
    let built = Built::new(application, &named, !lines.is_empty());
    lines.extend(links.iter().map(|link| built.line(link, list, &here)));
    Ok(lines)
}

/// The other versions that are built on a version, a line each, as far as a list that everybody may see has them.
pub async fn needing_lines(
    app: &App,
    list: &ListRow,
    series: SeriesId,
) -> Result<Vec<Line>, Problem> {
    let needing = app.store.load_needing(list.realm, series, NEEDING).await?;
    if needing.is_empty() {
        return Ok(Vec::new());
    }
    let patchsets: Vec<i64> = needing.iter().map(|n| n.patchset).collect();
    let places = app.store.find_lists_of(&patchsets).await?;
    let lists = app.store.load_shown(Eyes::Anybody).await?;
    let open = |id: &ListId| lists.iter().map(|(l, _)| l).find(|l| l.id == *id);
    let line = |n: Needing| {
        let there = places.iter().filter(|p| p.0 == n.patchset);
        let there: Vec<&Shown> = there.filter_map(|p| open(&p.1)).collect();
        let here = there.iter().find(|l| l.id == list.id).or(there.first())?;
        let href = format!("/{}/patches/{}/v{}/", here.name, n.patchset, n.version);
        let text = format!(
            "Needed by patchset {} v{}: {}.",
            n.patchset, n.version, n.title
        );
        Some(Line {
            tone: "",
            text: visible(&text),
            link: Some((href, format!("Show v{}", n.version))),
        })
    };
    Ok(needing.into_iter().filter_map(line).collect())
}

fn circle_line(named: &Dependencies, series: SeriesId) -> Option<Line> {
    let target = named.circle(series)?;
    let text = format!(
        "Circular: it depends on {}, which depends on it in turn. Both are applied as if they named nothing.",
        target.title()
    );
    Some(Line {
        tone: "caution",
        text: visible(&text),
        link: None,
    })
}

/// What is known of a version's base.
struct Built {
    applied: bool,
    waits: bool,
    circular: bool,
    on: Option<SeriesId>,
    /// Series below that one.
    below: HashSet<SeriesId>,
    by_commit: bool,
}

impl Built {
    fn new(application: Option<&ApplicationRow>, named: &Dependencies, circular: bool) -> Built {
        let outcome = application.map(|a| a.outcome.as_str());
        let on = application.and_then(|a| a.on_series.as_ref()).map(|o| o.0);
        Built {
            applied: outcome == Some("applied"),
            waits: outcome == Some("waits"),
            circular,
            on,
            below: on
                .map(|on| named.reach(on).into_iter().collect())
                .unwrap_or_default(),
            by_commit: application.is_some_and(|a| a.why.starts_with(NAMED_COMMIT)),
        }
    }

    fn line(&self, link: &Link<'_>, list: &ListRow, here: &HashSet<i64>) -> Line {
        let waits = self.waits && link.is_open();
        let verb = if waits { "waits for" } else { "depends on" };
        let newer = link.series.and_then(|(_, t)| t.newer.as_ref());
        let newer = newer.map_or_else(String::new, |label| format!("; v{label} is there"));
        let text = format!("It {verb} {}{newer}.{}", link.words(), self.outcome(link));
        let there = link
            .series
            .filter(|(_, t)| here.contains(&t.patchset.0))
            .map(|(_, t)| {
                let href = format!("/{}/patches/{}/v{}/", list.name, t.patchset, t.label);
                (href, format!("Show v{}", t.label))
            });
        Line {
            tone: if waits { "caution" } else { "" },
            // Names are what a mail says they are.
            text: visible(&text),
            link: there,
        }
    }

    fn outcome(&self, link: &Link<'_>) -> &'static str {
        let Some((series, target)) = link.series.filter(|_| !self.circular) else {
            return "";
        };
        if self.on == Some(series) {
            return " It is applied on top of that.";
        }
        match self.applied && target.is_applied() && !self.below.contains(&series) {
            false => "",
            true if self.by_commit => " It is applied on the base-commit that it names.",
            true => " It was applied on another base before; what is published does not move.",
        }
    }
}

/// Whether a version was applied at the very tip.
pub fn is_base(tip: &TipRow, application: Option<&ApplicationRow>) -> bool {
    application.is_some_and(|a| {
        let same = a.outcome == "applied" && a.base.as_ref() == Some(&tip.tip);
        same && tip.outcome == "applies"
    })
}

/// What a version would come to at the tip; nothing for one that is closed.
pub fn tip_line(
    fact: &SeriesFact,
    tip: &TipRow,
    application: Option<&ApplicationRow>,
) -> Option<Line> {
    if !matches!(fact.state, 1 | 2 | 5 | 7) {
        return None;
    }
    let commit: String = tip.tip.chars().take(ID).collect();
    // Said where the base is.
    if is_base(tip, application) && !tip.moved {
        return None;
    }
    let place = || {
        let file = tip.file.as_deref().unwrap_or_default();
        let patch = tip.patch.unwrap_or(1);
        let place = match tip.hunk.filter(|h| *h > 0) {
            Some(hunk) => format!("{file} (patch {patch}, hunk {hunk})"),
            None => format!("{file} (patch {patch})"),
        };
        let detail = tip.detail.trim_end_matches('.');
        // What is the matter with its own base is said already.
        let said = application.is_some_and(|a| a.detail.trim_end_matches('.') == detail);
        match without_place(detail, file, tip.hunk) {
            why if said || why.is_empty() => place,
            why => format!("{place}: {why}"),
        }
    };
    let (tone, words) = match tip.outcome.as_str() {
        "applies" if is_base(tip, application) => ("", "that is the base itself".to_owned()),
        "applies" if tip.detail.is_empty() => ("", "applies".to_owned()),
        "applies" => ("", tip.detail.clone()),
        "conflict" => ("caution", format!("conflicts in {}", place())),
        // The page says already why.
        _ if application.is_some_and(|a| a.outcome == "bad") => return None,
        _ => ("caution", format!("cannot be used: {}", tip.detail)),
    };
    let moved = if tip.moved {
        " The branch has moved since."
    } else {
        ""
    };
    let (repo, branch) = &tip.repo;
    Some(Line {
        tone,
        // Paths and what is the matter with them are out of a mail.
        text: visible(&format!(
            "At the tip, {repo} {branch}@{commit}: {words}.{moved}"
        )),
        link: None,
    })
}

/// Why a patch does not fit, without file and hunk, which are said already.
pub fn without_place(detail: &str, file: &str, hunk: Option<i64>) -> String {
    let detail = detail.replace(&format!(" of {file}"), "");
    match hunk.filter(|h| *h > 0) {
        Some(hunk) => detail.replacen(&format!("hunk {hunk}, "), "", 1),
        None => detail,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{RealmId, Timestamp};

    #[test]
    fn a_path_cannot_turn_its_line_round() {
        let fact = SeriesFact {
            patchset: 1,
            label: "1".to_owned(),
            total: 1,
            received: 1,
            state: 1,
            apart: 0,
            outcome: None,
            title: String::new(),
            submitter: String::new(),
            submitter_name: String::new(),
            arrived: Timestamp(0),
            versions: 1,
            comments: 0,
            claims: None,
            tip: None,
            mail: None,
        };
        let tip = TipRow {
            repo: ("tool".to_owned(), "main".to_owned()),
            tip: "0123456789abcdef".to_owned(),
            moved: false,
            outcome: "conflict".to_owned(),
            patch: Some(2),
            file: Some("a\u{202e}b".to_owned()),
            hunk: Some(3),
            detail: "hunk 3, made for line 7, finds other text there".to_owned(),
        };
        let line = tip_line(&fact, &tip, None).expect("it is open");
        let words = "At the tip, tool main@0123456789ab: conflicts in a\u{fffd}b (patch 2, hunk 3): \
             made for line 7, finds other text there.";
        assert_eq!(line.text, words);
    }

    #[test]
    fn a_name_cannot_turn_its_line_round() {
        let link = Link {
            names: vec!["a\u{202e}b@x"],
            series: None,
            here: false,
            number: 0,
        };
        let built = Built {
            applied: false,
            waits: false,
            circular: false,
            on: None,
            below: HashSet::new(),
            by_commit: false,
        };
        let list = ListRow {
            id: ListId(1),
            name: "dev".to_owned(),
            address: String::new(),
            description: String::new(),
            style: String::new(),
            visibility: String::new(),
            realm: RealmId::PUBLIC,
            version: 0,
            created: Timestamp(0),
            policy: Default::default(),
        };
        let line = built.line(&link, &list, &HashSet::new());
        let words = "It depends on <a\u{fffd}b@x>, which is not here.";
        assert!(line.text.starts_with(words), "{}", line.text);
    }
}
