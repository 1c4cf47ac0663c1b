//! What a series is built on, as its mails name it: which of the named series gives the base, and what is said of the others.
//!
//! `Depends-on:` and `Based-on:` name mails or pages of patchsets here, `prerequisite-patch-id:` names changes. Nothing depends on the order in which the
//! series came: one that is named and not here is waited for, and series that name each other in a circle are applied as if
//! they named nothing.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::recognise::Recognised;
use crate::types::{MessageId, PatchsetId, RepoId, SeriesId, Timestamp};

/// Names of one series that count.
const MAX_NAMES: usize = 100;
/// Pages among them.
const MAX_PAGES: usize = 20;
/// Series in a chain of dependencies; a longer one counts as circular.
pub const MAX_CHAIN: usize = 32;
/// What is said of a commit that a series names where it is not.
pub const UNKNOWN_COMMIT: &str = "the base-commit that the series names is not in this repository";
/// Why a base was chosen that the series names as a commit.
pub const NAMED_COMMIT: &str = "the base-commit that the series names";

/// A series that is named, or names others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Its patchset.
    pub patchset: PatchsetId,
    /// Its version's label.
    pub label: String,
    /// Label of the patchset's newest version, if that is another.
    pub newer: Option<String>,
    /// Arrival of its newest patch.
    pub arrived: Timestamp,
    /// All of its patches are here.
    pub complete: bool,
    /// What came of applying it; `None` while it was not tried.
    pub outcome: Option<String>,
    /// The repository that it was tried in.
    pub repo: Option<RepoId>,
    /// All of its patches came into the project.
    pub landed: bool,
    /// It is about to be tried for the first time.
    pub due: bool,
}

/// What some series name, and what of that is here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dependencies {
    /// What each series names, in order: Message-IDs hold an `@`, ids of patches hold none; a page stands for itself where nothing
    /// of ours is there.
    pub names: BTreeMap<SeriesId, Vec<String>>,
    /// The series that a name leads to, the best authenticated mail first, with the number of the patch there (0: its cover
    /// letter). A name that leads to a mail of no series is there with nothing.
    pub hits: BTreeMap<String, Vec<(SeriesId, u32)>>,
    /// All series that are named or name.
    pub targets: BTreeMap<SeriesId, Target>,
    /// More than [`MAX_CHAIN`] follow each other: the rest was not read.
    pub cut: bool,
}

/// One thing that a series names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link<'a> {
    /// How it is named.
    pub names: Vec<&'a str>,
    /// A mail of that name is here.
    pub here: bool,
    /// The series, if it is one.
    pub series: Option<(SeriesId, &'a Target)>,
    /// The last of its patches that counts; 0: all of them.
    pub number: u32,
}

/// Whether what is not here may still come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// It is waited for.
    Waits,
    /// It was waited for long enough.
    Over,
}

/// Where a series begins, as far as what it names decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// The branch decides; in words why nothing that is named does, empty if nothing is named.
    Branch(String),
    /// On the commit of that patch of a series, 0 for its last.
    On {
        /// The series.
        series: SeriesId,
        /// The patch.
        number: u32,
        /// In words.
        why: String,
    },
    /// It waits; in words for what.
    Wait(String),
}

/// What the mails of a series, its cover first, name as that on which it is built; never its own mails. Pages stand there by
/// their addresses: the caller puts the mails that stand for them in their place.
pub fn named<'a>(own: &[MessageId], mails: impl Iterator<Item = &'a Recognised>) -> Vec<String> {
    let (mut ids, mut pages, mut patches) = (Vec::new(), Vec::new(), Vec::new());
    for mail in mails {
        let others = mail.depends_on.iter().filter(|id| !own.contains(id));
        ids.extend(others.map(|id| id.as_str().to_owned()));
        pages.extend(mail.depends_on_pages.iter().cloned());
        patches.extend(mail.prerequisites.iter().map(|p| p.to_ascii_lowercase()));
    }
    let mut seen = BTreeSet::new();
    for (names, most) in [
        (&mut ids, MAX_NAMES),
        (&mut pages, MAX_PAGES),
        (&mut patches, MAX_NAMES),
    ] {
        names.retain(|name| seen.insert(name.clone()));
        names.truncate(most);
    }
    ids.into_iter().chain(pages).chain(patches).collect()
}

/// Whether it is the id of a patch that is named, and neither a mail nor a page.
pub fn is_patch(name: &str) -> bool {
    !name.contains('@') && !is_page(name)
}

/// Whether it is a page that is named.
pub fn is_page(name: &str) -> bool {
    name.contains("://") && !name.contains('@')
}

impl Dependencies {
    /// What a series names: each series once, and what leads to none.
    pub fn links(&self, series: SeriesId) -> Vec<Link<'_>> {
        let (Some(names), Some(own)) = (self.names.get(&series), self.targets.get(&series)) else {
            return Vec::new();
        };
        let mut links: Vec<Link<'_>> = Vec::new();
        for name in names.iter().filter(|n| !is_patch(n)) {
            let all = self.hits.get(name).map_or(&[][..], Vec::as_slice);
            match all.iter().find(|hit| self.is_other(own, hit.0)) {
                Some((found, _)) => self.link(&mut links, name, *found, 0),
                // A version of the same change is no base for it.
                None if !all.is_empty() => {}
                None => links.push(Link {
                    names: vec![name],
                    here: self.hits.contains_key(name),
                    series: None,
                    number: 0,
                }),
            }
        }
        let patches: Vec<&str> = names
            .iter()
            .map(String::as_str)
            .filter(|n| is_patch(n))
            .collect();
        self.link_patches(own, &patches, &mut links);
        links
    }

    fn is_other(&self, own: &Target, series: SeriesId) -> bool {
        let target = self.targets.get(&series);
        target.is_some_and(|t| t.patchset != own.patchset)
    }

    fn link<'a>(&'a self, links: &mut Vec<Link<'a>>, name: &'a str, series: SeriesId, number: u32) {
        let same = |l: &&mut Link<'_>| l.series.is_some_and(|(s, _)| s == series);
        if let Some(link) = links.iter_mut().find(same) {
            link.names.push(name);
            link.number = number;
        } else if let Some(target) = self.targets.get(&series) {
            links.push(Link {
                names: vec![name],
                here: true,
                series: Some((series, target)),
                number,
            });
        }
    }

    /// git names all patches between the base-commit and the series, the oldest first: the last is the one it stands on.
    fn link_patches<'a>(&'a self, own: &Target, patches: &[&'a str], links: &mut Vec<Link<'a>>) {
        let mut found: BTreeMap<SeriesId, BTreeMap<u32, usize>> = BTreeMap::new();
        let mut missing: Vec<&str> = Vec::new();
        let mut last_is_here = false;
        for (place, name) in patches.iter().enumerate() {
            let hits = self.hits.get(*name).into_iter().flatten();
            let mut others = hits.filter(|hit| self.is_other(own, hit.0)).peekable();
            last_is_here = others.peek().is_some();
            if !last_is_here {
                missing.push(name);
            }
            for (series, number) in others {
                found.entry(*series).or_default().insert(*number, place);
            }
        }
        // Of several with these patches the one that holds least besides them, then the first that came: whoever posts somebody's
        // patches again makes no base of them.
        let rank = |(series, numbers): &(&SeriesId, &BTreeMap<u32, usize>)| {
            let last = numbers.values().max().copied();
            let highest = numbers.keys().max().copied().unwrap_or(0) as usize;
            let extra = highest.saturating_sub(numbers.len());
            let arrived = self.targets.get(*series).map_or(0, |t| t.arrived.0);
            (
                last,
                Reverse(extra),
                numbers.len(),
                Reverse(arrived),
                Reverse(**series),
            )
        };
        if let Some((series, numbers)) = found.iter().max_by_key(rank) {
            let number = numbers.keys().max().copied().unwrap_or(0);
            let place = numbers.values().max().copied().unwrap_or(0);
            self.link(links, patches[place], *series, number);
        }
        if !last_is_here && !missing.is_empty() {
            links.push(Link {
                names: missing,
                here: false,
                series: None,
                number: 0,
            });
        }
    }

    /// What each series names, for all that follow from `from`; links are found once for each.
    fn graph(&self, from: SeriesId) -> Graph {
        let mut graph = Graph::default();
        let mut todo = vec![from];
        while let Some(one) = todo.pop() {
            if graph.named.contains_key(&one) {
                continue;
            }
            let links = self.links(one).into_iter().filter_map(|l| l.series);
            let named: Vec<SeriesId> = links.map(|(series, _)| series).collect();
            for other in &named {
                graph.naming.entry(*other).or_default().push(one);
            }
            todo.extend(&named);
            graph.named.insert(one, named);
        }
        graph
    }

    /// All series that follow from `from` by what each names, itself included.
    pub fn reach(&self, from: SeriesId) -> BTreeSet<SeriesId> {
        self.graph(from).named.into_keys().collect()
    }

    /// The series that this one names and that is built on it in turn.
    pub fn circle(&self, series: SeriesId) -> Option<&Target> {
        self.circle_in(&self.graph(series), series)
    }

    fn circle_in(&self, graph: &Graph, series: SeriesId) -> Option<&Target> {
        let above = follow(&graph.naming, series, BTreeSet::new());
        let mut named = graph.named.get(&series).into_iter().flatten();
        named
            .find(|named| above.contains(named))
            .and_then(|named| self.targets.get(named))
    }

    /// Where a series begins. `repo` is the one that it is for, if that is certain without what it names.
    pub fn choose(&self, series: SeriesId, repo: Option<RepoId>, patience: Patience) -> Choice {
        let links = self.links(series);
        if self.cut && !links.is_empty() {
            return Choice::Branch(format!(
                "what it depends on is a chain of more than {MAX_CHAIN} series"
            ));
        }
        let graph = self.graph(series);
        if let Some(target) = self.circle_in(&graph, series) {
            return Choice::Branch(format!(
                "circular: {} depends on it in turn",
                target.title()
            ));
        }
        let waits = |l: &&Link<'_>| match patience {
            Patience::Waits => l.is_open(),
            // Of a whole archive that comes at once, the order of work is not to decide.
            Patience::Over => l.is_due(),
        };
        let open: Vec<String> = links.iter().filter(waits).map(Link::words).collect();
        if !open.is_empty() {
            return Choice::Wait(format!("waits for {}", open.join(", and for ")));
        }
        let fits = |link: &&Link<'_>| {
            let target = link.series.map(|(_, target)| target);
            target.is_some_and(|t| t.is_applied() && (repo.is_none() || repo == t.repo))
        };
        let usable: Vec<&Link<'_>> = links.iter().filter(fits).collect();
        let ids: Vec<SeriesId> = usable.iter().filter_map(|l| Some(l.series?.0)).collect();
        let top = graph.top(&ids).or_else(|| ids.last().copied());
        let top = usable
            .iter()
            .find(|l| l.series.map(|(s, _)| s) == top)
            .copied();
        match top.and_then(|link| Some((link, link.series?))) {
            Some((link, (series, target))) => Choice::On {
                series,
                number: link.number,
                why: on_words(link, target, usable.len()),
            },
            None => {
                let words: Vec<String> = links.iter().map(Link::words).collect();
                let what = words.join(", and on ");
                let depends = if what.is_empty() {
                    ""
                } else {
                    "it depends on "
                };
                Choice::Branch(format!("{depends}{what}"))
            }
        }
    }
}

/// Which series name which, both ways.
#[derive(Debug, Default)]
struct Graph {
    named: BTreeMap<SeriesId, Vec<SeriesId>>,
    naming: BTreeMap<SeriesId, Vec<SeriesId>>,
}

impl Graph {
    /// The last of some series from which all of them follow.
    fn top(&self, all: &[SeriesId]) -> Option<SeriesId> {
        // If there is one, the last that does not follow from those before it is one.
        let mut seen = BTreeSet::new();
        let mut top = None;
        for one in all {
            if !seen.contains(one) {
                seen = follow(&self.named, *one, seen);
                top = Some(*one);
            }
        }
        let top = top?;
        let below = follow(&self.named, top, BTreeSet::new());
        if !all.iter().all(|one| below.contains(one)) {
            return None;
        }
        // Those in a circle with it are so, too.
        let above = follow(&self.naming, top, BTreeSet::new());
        all.iter().rev().find(|one| above.contains(one)).copied()
    }
}

/// All that follows from a series, itself included, and what was seen before.
fn follow(
    next: &BTreeMap<SeriesId, Vec<SeriesId>>,
    from: SeriesId,
    seen: BTreeSet<SeriesId>,
) -> BTreeSet<SeriesId> {
    let mut seen = seen;
    seen.insert(from);
    let mut todo = vec![from];
    while let Some(one) = todo.pop() {
        let others = next.get(&one).into_iter().flatten();
        todo.extend(others.filter(|other| seen.insert(**other)));
    }
    seen
}

fn on_words(link: &Link<'_>, target: &Target, of: usize) -> String {
    let what = match link.number {
        0 => target.title(),
        number => format!("patch {number} of {}", target.title()),
    };
    let how = match link.names.iter().any(|n| !is_patch(n)) {
        true => "which the series names",
        false => "which the series names by its patch id",
    };
    let rest = if of > 1 {
        ", the last of those that it names"
    } else {
        ""
    };
    format!("{what}, {how}{rest}")
}

impl Target {
    /// `patchset 7 v1`
    pub fn title(&self) -> String {
        format!("patchset {} v{}", self.patchset, self.label)
    }

    /// Its commits are there to build on.
    pub fn is_applied(&self) -> bool {
        self.complete && self.outcome.as_deref() == Some("applied")
    }
}

impl Link<'_> {
    /// Whether a base may still come of it: it is not here, or not applied yet.
    pub fn is_open(&self) -> bool {
        let Some((_, target)) = self.series else {
            return true;
        };
        let hopeless = target.outcome.as_deref() == Some("elsewhere");
        !target.is_applied() && !target.landed && !hopeless
    }

    /// Whether it is here and will be tried soon, whatever comes or not.
    fn is_due(&self) -> bool {
        let target = self.series.map(|(_, target)| target);
        target.is_some_and(|t| t.due && t.complete && !t.landed && t.outcome.is_none())
    }

    /// What it is and what is the matter with it: `a@b, which is not here`.
    pub fn words(&self) -> String {
        let Some((_, target)) = self.series else {
            return match (self.names.as_slice(), self.here) {
                ([name], true) => format!("<{name}>, which is here but no part of a patchset"),
                ([name], false) if !is_patch(name) => format!("<{name}>, which is not here"),
                ([name], false) => format!("the patch with id {name}, which is not here"),
                (names, _) => format!(
                    "{} patches, which are not here (the last with id {})",
                    names.len(),
                    names.last().copied().unwrap_or_default()
                ),
            };
        };
        let matter = match target.outcome.as_deref() {
            _ if !target.complete => ", of which not all patches are here",
            Some("applied") => "",
            _ if target.landed => ", which came into the project",
            None => ", which is not applied yet",
            Some("waits") => ", which waits itself",
            Some("elsewhere") => ", which is not for a repository here",
            Some(_) => ", which does not apply itself",
        };
        format!("{}{matter}", target.title())
    }
}
