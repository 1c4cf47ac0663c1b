//! Which mails are one series, and which series are versions of one patchset.
//!
//! A pure function of the mails: the order in which they are given changes nothing. It thinks in steps: versions of single
//! mails, groups by thread, series out of groups by free numbers, unthreaded leftovers, comments, then versions.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::link;
use super::recognise::{Kind, Recognised};
use super::tag::Version;
use crate::types::{Identity, MailId, MessageId, Timestamp};

/// One mail as the grouping sees it.
#[derive(Debug, Clone)]
pub struct Input {
    /// Its row.
    pub mail: MailId,
    /// Breaks ties the same way on every machine.
    pub identity: Identity,
    /// Its name.
    pub message_id: MessageId,
    /// Nearest ancestor first.
    pub parents: Vec<MessageId>,
    /// Arrival: data of the archive, not the moment of filing.
    pub arrived: Timestamp,
    /// What it is by itself.
    pub recognised: Recognised,
}

/// One patch of a series.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// Its number, from 1.
    pub number: u32,
    /// Its mail.
    pub mail: MailId,
    /// Taken over from the version before by a partial reroll.
    pub taken_over: bool,
}

/// One version of a patchset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Series {
    /// The mail that stands for it: the cover, else its earliest patch.
    pub anchor: MailId,
    /// `1`, `2`, `2-2`, `3-r1`, `5.1`.
    pub label: String,
    /// The version its mails claim.
    pub version: Version,
    /// How many patches it says it has.
    pub total: u32,
    /// Number 0.
    pub cover: Option<MailId>,
    /// By number.
    pub patches: Vec<Slot>,
    /// Replies: comment and what it answers.
    pub comments: Vec<(MailId, MailId)>,
    /// As many patches as it says.
    pub complete: bool,
    /// A newer version stands in its place.
    pub superseded: bool,
    /// Lower-case address.
    pub submitter: String,
    /// Display name.
    pub submitter_name: String,
    /// Title without tags.
    pub title: String,
    /// `base-commit:` of any of its mails.
    pub base_commit: Option<String>,
    /// Words of the tag: a repository's name.
    pub prefixes: Vec<String>,
    /// RFC, RESEND, WIP.
    pub flags: Vec<&'static str>,
    /// Why these mails are one series and this version.
    pub reason: String,
    /// Arrival of its first mail.
    pub first_arrived: Timestamp,
    /// Arrival of its newest patch.
    pub arrived: Timestamp,
}

/// All versions of one change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patchset {
    /// Anchor of its first version.
    pub anchor: MailId,
    /// Title of its newest version.
    pub title: String,
    /// Prefix words of its newest version.
    pub prefixes: Vec<String>,
    /// Oldest first.
    pub series: Vec<Series>,
}

/// Unthreaded mails of one sending arrive within this many seconds …
const NEAR: i64 = 20 * 60;
/// … or within this many, if only one series can take them.
const FAR: i64 = 24 * 3600;
/// Steps up a thread when an ancestor is looked for.
const MAX_CLIMB: usize = 300;

/// Groups the mails. Mails that no rule connects do not influence each other.
pub fn assemble(inputs: &[Input]) -> Vec<Patchset> {
    let mut mails: Vec<&Input> = inputs.iter().collect();
    mails.sort_by_key(|m| (m.arrived, m.identity, m.mail));
    let world = World::new(&mails);
    let groups = world.groups();
    let mut series = Vec::new();
    for group in groups {
        series.extend(world.split(group));
    }
    world.join_unthreaded(&mut series);
    series.sort_by_key(|s| s.members[0]);
    let comments = world.comments(&series);
    let built: Vec<Series> = series
        .iter()
        .zip(comments)
        .map(|(s, c)| world.describe(s, c))
        .collect();
    link::link(&world, &series, built)
}

/// A series while it grows; members are indices into the sorted mails.
#[derive(Debug, Clone)]
pub(super) struct Growing {
    pub(super) members: Vec<usize>,
    pub(super) cover: Option<usize>,
    pub(super) slots: BTreeMap<u32, usize>,
    pub(super) version: Version,
    pub(super) total: u32,
    how: &'static str,
}

/// The sorted mails with what is looked up again and again.
pub(super) struct World<'a> {
    pub(super) mails: &'a [&'a Input],
    by_id: HashMap<&'a MessageId, usize>,
    pub(super) versions: Vec<Version>,
    depth: Vec<usize>,
}

/// What the mails of one series have in common.
type Key<'a> = (&'a str, Version, u32);

impl<'a> World<'a> {
    fn new(mails: &'a [&'a Input]) -> World<'a> {
        let mut by_id = HashMap::new();
        for (at, mail) in mails.iter().enumerate() {
            by_id.entry(&mail.message_id).or_insert(at);
        }
        let mut world = World {
            mails,
            by_id,
            versions: Vec::new(),
            depth: Vec::new(),
        };
        world.depth = (0..mails.len())
            .map(|at| world.ancestors(at).len())
            .collect();
        world.versions = world.settle_versions();
        world
    }

    pub(super) fn is_candidate(&self, at: usize) -> bool {
        matches!(self.mails[at].recognised.kind, Kind::Patch | Kind::Cover)
    }

    fn total(&self, at: usize) -> u32 {
        self.mails[at].recognised.tag.total.unwrap_or(1)
    }

    fn number(&self, at: usize) -> u32 {
        let tag = &self.mails[at].recognised.tag;
        tag.number
            .unwrap_or(if self.mails[at].recognised.kind == Kind::Cover {
                0
            } else {
                1
            })
    }

    pub(super) fn submitter(&self, at: usize) -> &'a str {
        &self.mails[at].recognised.submitter
    }

    fn key(&self, at: usize) -> Key<'a> {
        (self.submitter(at), self.versions[at], self.total(at))
    }

    /// Known ancestors, nearest first: what the mail names, then what those name.
    pub(super) fn ancestors(&self, at: usize) -> Vec<usize> {
        let mut out = Vec::new();
        let mut seen = HashSet::from([at]);
        let mut queue = std::collections::VecDeque::from([at]);
        while let Some(next) = queue.pop_front() {
            for parent in self.mails[next]
                .parents
                .iter()
                .filter_map(|p| self.by_id.get(p))
            {
                if seen.insert(*parent) && out.len() < MAX_CLIMB {
                    out.push(*parent);
                    queue.push_back(*parent);
                }
            }
        }
        out
    }

    /// Said versions; else that of the nearest ancestor of the same submitter and total; a cover without one takes its patches'.
    fn settle_versions(&self) -> Vec<Version> {
        let first = Version { major: 1, minor: 0 };
        let said = |at: usize| {
            self.mails[at]
                .recognised
                .tag
                .version
                .filter(|v| v.minor == 0 || self.beside(at, v.major))
        };
        let same = |a: usize, b: usize| {
            self.submitter(a) == self.submitter(b) && self.total(a) == self.total(b)
        };
        let mut of_children: HashMap<usize, HashSet<Version>> = HashMap::new();
        for at in (0..self.mails.len()).filter(|at| self.is_candidate(*at) && self.number(*at) > 0)
        {
            let parent = self.mails[at]
                .parents
                .iter()
                .find_map(|p| self.by_id.get(p));
            if let (Some(parent), Some(version)) = (parent, said(at))
                && same(at, *parent)
            {
                of_children.entry(*parent).or_default().insert(version);
            }
        }
        let one = |at: usize| {
            if !self.is_candidate(at) || said(at).is_some() {
                return said(at).unwrap_or(first);
            }
            if self.number(at) == 0
                && let Some(versions) = of_children.get(&at)
                && versions.len() == 1
                && !self.has_unsaid_child(at)
            {
                return versions.iter().next().copied().unwrap_or(first);
            }
            if self.mails[at].recognised.tag.number.is_none() {
                return first;
            }
            let nearest = self
                .ancestors(at)
                .into_iter()
                .find(|a| self.is_candidate(*a) && same(at, *a) && said(*a).is_some());
            nearest.and_then(said).unwrap_or(first)
        };
        (0..self.mails.len()).map(one).collect()
    }

    /// Kernel lists write branches as `v5.10`: it is a version only beside a `v5` of the same change.
    fn beside(&self, at: usize, major: u32) -> bool {
        let whole = Some(Version { major, minor: 0 });
        let fits = |other: usize| {
            let tag = &self.mails[other].recognised.tag;
            self.is_candidate(other)
                && tag.version == whole
                && self.submitter(other) == self.submitter(at)
        };
        let title = &self.mails[at].recognised.normal_title;
        let same_title = |other: &usize| {
            let r = &self.mails[*other].recognised;
            !title.is_empty() && r.normal_title == *title && r.tag.number.unwrap_or(1) <= 1
        };
        let head = self.mails[at].recognised.tag.number.unwrap_or(1) <= 1;
        self.ancestors(at).into_iter().any(fits)
            || (head && (0..self.mails.len()).filter(same_title).any(fits))
    }

    fn has_unsaid_child(&self, cover: usize) -> bool {
        let name = &self.mails[cover].message_id;
        let child =
            |at: usize| self.mails[at].parents.first() == Some(name) && self.is_candidate(at);
        (0..self.mails.len()).any(|at| child(at) && self.mails[at].recognised.tag.version.is_none())
    }

    /// Candidates that their thread ties together: to an ancestor of the same key, or beside each other under one parent.
    fn groups(&self) -> Vec<Vec<usize>> {
        let candidates: Vec<usize> = (0..self.mails.len())
            .filter(|at| self.is_candidate(*at))
            .collect();
        let mut leader: HashMap<usize, usize> = candidates.iter().map(|at| (*at, *at)).collect();
        let mut beside: HashMap<(&MessageId, Key<'a>), usize> = HashMap::new();
        for at in candidates
            .iter()
            .copied()
            .filter(|at| self.mails[*at].recognised.tag.number.is_some())
        {
            let tied = |a: &usize| {
                self.is_candidate(*a)
                    && self.key(*a) == self.key(at)
                    && self.mails[*a].recognised.tag.number.is_some()
            };
            if let Some(ancestor) = self.ancestors(at).into_iter().find(tied) {
                union(&mut leader, at, ancestor);
            }
            // The thread's root as this mail names it, known or not: siblings share it even if it never came.
            for parent in self.mails[at]
                .parents
                .first()
                .into_iter()
                .chain(self.mails[at].parents.last())
            {
                let other = *beside.entry((parent, self.key(at))).or_insert(at);
                union(&mut leader, at, other);
            }
        }
        let mut groups: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for at in candidates {
            groups.entry(find(&leader, at)).or_default().push(at);
        }
        groups.into_values().collect()
    }

    /// Series out of one group: a number that is taken starts another; the nearest ancestor's series comes first.
    fn split(&self, mut group: Vec<usize>) -> Vec<Growing> {
        group.sort_by_key(|at| (self.depth[*at], *at));
        let mut all: Vec<Growing> = Vec::new();
        let mut home: HashMap<usize, usize> = HashMap::new();
        for at in group {
            let near = self
                .ancestors(at)
                .into_iter()
                .find_map(|a| home.get(&a).copied());
            // A further series sent as answers to the first: its own members stand nearer in time.
            let mut order: Vec<usize> = near.into_iter().collect();
            let mut others: Vec<usize> = (0..all.len()).filter(|i| Some(*i) != near).collect();
            others.sort_by_key(|i| (self.distance(&all[*i], at), *i));
            order.extend(others);
            let place = order.into_iter().find(|i| self.fits(&all[*i], at));
            let place = place.unwrap_or_else(|| {
                all.push(self.start(at));
                all.len() - 1
            });
            self.add(&mut all[place], at);
            home.insert(at, place);
        }
        all
    }

    fn start(&self, at: usize) -> Growing {
        let how = if self.total(at) == 1 {
            "a patch by itself"
        } else {
            "one thread"
        };
        let (version, total) = (self.versions[at], self.total(at));
        Growing {
            members: Vec::new(),
            cover: None,
            slots: BTreeMap::new(),
            version,
            total,
            how,
        }
    }

    fn fits(&self, series: &Growing, at: usize) -> bool {
        match self.number(at) {
            0 => series.cover.is_none(),
            number => !series.slots.contains_key(&number),
        }
    }

    fn add(&self, series: &mut Growing, at: usize) {
        match self.number(at) {
            0 => series.cover = Some(at),
            number => drop(series.slots.insert(number, at)),
        }
        let place = series.members.partition_point(|m| *m < at);
        series.members.insert(place, at);
    }

    fn distance(&self, series: &Growing, at: usize) -> i64 {
        let gap = |m: &usize| (self.mails[*m].arrived.secs() - self.mails[at].arrived.secs()).abs();
        series.members.iter().map(gap).min().unwrap_or(i64::MAX)
    }

    /// Mails without any thread join by git's own Message-ID, else by time.
    fn join_unthreaded(&self, series: &mut Vec<Growing>) {
        let loose = |s: &Growing| {
            s.total > 1 && s.members.iter().all(|m| self.mails[*m].parents.is_empty())
        };
        let open =
            |s: &Growing| s.total > 1 && (s.slots.len() < s.total as usize || s.cover.is_none());
        series.sort_by_key(|s| s.members[0]);
        let stem = |s: &Growing| {
            self.mails[s.members[0]]
                .recognised
                .stem
                .as_ref()
                .map(|s| s.stem.as_str())
        };
        for (rule, how) in [
            (Rule::Stem, "one sending, by its Message-IDs"),
            (
                Rule::Near,
                "no thread, but the same sender, version and count within 20 minutes",
            ),
            (
                Rule::Far,
                "no thread, but the only series of that sender, version and count within a day",
            ),
        ] {
            let mut at = 0;
            while at < series.len() {
                if !loose(&series[at]) || !open(&series[at]) {
                    at += 1;
                    continue;
                }
                let key = |s: &Growing| (self.submitter(s.members[0]), s.version, s.total);
                let joins = |other: &Growing| {
                    let apart = other
                        .slots
                        .keys()
                        .all(|n| !series[at].slots.contains_key(n))
                        && (other.cover.is_none() || series[at].cover.is_none());
                    // Two different sendings that git itself names are never one.
                    let stems = (stem(other), stem(&series[at]));
                    let differ = matches!(stems, (Some(a), Some(b)) if a != b);
                    let gap = other
                        .members
                        .iter()
                        .map(|m| self.distance(&series[at], *m))
                        .min()
                        .unwrap_or(i64::MAX);
                    let close = match rule {
                        Rule::Stem => matches!(stems, (Some(a), Some(b)) if a == b),
                        Rule::Near => gap <= NEAR && !differ,
                        Rule::Far => gap <= FAR && !differ,
                    };
                    key(other) == key(&series[at]) && apart && open(other) && close
                };
                let fitting: Vec<usize> = (0..series.len())
                    .filter(|i| *i != at && joins(&series[*i]))
                    .collect();
                let nearest = fitting
                    .iter()
                    .copied()
                    .min_by_key(|i| (self.distance(&series[at], series[*i].members[0]), *i));
                match nearest.filter(|_| rule != Rule::Far || fitting.len() == 1) {
                    Some(other) => {
                        let (keep, gone) = (at.min(other), at.max(other));
                        let gone = series.remove(gone);
                        gone.members
                            .iter()
                            .for_each(|m| self.add(&mut series[keep], *m));
                        series[keep].how = how;
                        at = 0;
                    }
                    None => at += 1,
                }
            }
        }
    }

    /// For each series the mails that answer it: the nearest ancestor that is a patch or cover counts.
    fn comments(&self, series: &[Growing]) -> Vec<Vec<(usize, usize)>> {
        let mut home = HashMap::new();
        for (at, one) in series.iter().enumerate() {
            one.members.iter().for_each(|m| {
                home.insert(*m, at);
            });
        }
        let mut out = vec![Vec::new(); series.len()];
        for at in (0..self.mails.len()).filter(|at| !self.is_candidate(*at)) {
            if let Some(target) = self
                .ancestors(at)
                .into_iter()
                .find(|a| home.contains_key(a))
            {
                out[home[&target]].push((at, target));
            }
        }
        out
    }

    fn describe(&self, series: &Growing, comments: Vec<(usize, usize)>) -> Series {
        let row = |at: usize| self.mails[at].mail;
        let first = series
            .cover
            .or(series.slots.values().next().copied())
            .unwrap_or(series.members[0]);
        let head = &self.mails[first].recognised;
        let said = |at: &usize| self.mails[*at].recognised.base_commit.clone();
        let have = series.slots.keys().filter(|n| **n <= series.total).count();
        let flag = |set: bool, name| set.then_some(name);
        let tag = &head.tag;
        let (major, minor) = (series.version.major, series.version.minor);
        let label = if minor == 0 {
            major.to_string()
        } else {
            format!("{major}.{minor}")
        };
        Series {
            anchor: row(series.cover.unwrap_or(series.members[0])),
            label,
            version: series.version,
            total: series.total,
            cover: series.cover.map(row),
            patches: series
                .slots
                .iter()
                .map(|(number, at)| Slot {
                    number: *number,
                    mail: row(*at),
                    taken_over: false,
                })
                .collect(),
            comments: comments.iter().map(|(c, t)| (row(*c), row(*t))).collect(),
            complete: have >= series.total as usize,
            superseded: false,
            submitter: head.submitter.clone(),
            submitter_name: head.submitter_name.clone(),
            title: tag.title.clone(),
            base_commit: series.members.iter().find_map(said),
            prefixes: tag.prefixes.clone(),
            flags: [
                flag(tag.rfc, "rfc"),
                flag(tag.resend, "resend"),
                flag(tag.wip, "wip"),
            ]
            .into_iter()
            .flatten()
            .collect(),
            reason: format!("Grouped as {}.", series.how),
            first_arrived: self.mails[series.members[0]].arrived,
            arrived: self.mails[series.members[series.members.len() - 1]].arrived,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Rule {
    Stem,
    Near,
    Far,
}

pub(super) fn find(leader: &HashMap<usize, usize>, mut at: usize) -> usize {
    while leader[&at] != at {
        at = leader[&at];
    }
    at
}

/// Joins two sets; the lower index leads, so that the outcome does not depend on the order of joining.
pub(super) fn union(leader: &mut HashMap<usize, usize>, a: usize, b: usize) {
    let (a, b) = (find(leader, a), find(leader, b));
    leader.insert(a.max(b), a.min(b));
}
