//! Series out of threads: one submitter, version and total; a number that is taken starts another series.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::recognise::Kind;
use super::tag::Version;
use super::world::{Key, World};
use crate::types::MessageId;

/// A series while it grows; members are indices into the world, in order.
#[derive(Debug, Clone)]
pub(super) struct Growing {
    pub(super) members: Vec<usize>,
    pub(super) cover: Option<usize>,
    pub(super) slots: BTreeMap<u32, usize>,
    pub(super) version: Version,
    pub(super) total: u32,
    pub(super) how: How,
    pub(super) ambiguous: bool,
    /// `v5.10` where that turned out to be a branch.
    pub(super) branch: Option<Version>,
    /// Split off by a person: no rule links it.
    pub(super) apart: bool,
    /// What of `total` a person gave to it or took from it.
    pub(super) share: Share,
}

/// The numbers that a series is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Share {
    /// All from 1 to the total but these, which were split off.
    AllBut(BTreeSet<u32>),
    /// These, which were split off together.
    Only(BTreeSet<u32>),
}

impl Share {
    /// A person gives it that number.
    pub(super) fn give(&mut self, number: u32) {
        match self {
            Share::AllBut(gone) => drop(gone.remove(&number)),
            Share::Only(own) => drop(own.insert(number)),
        }
    }

    /// A person takes that number from it.
    pub(super) fn take(&mut self, number: u32) {
        match self {
            Share::AllBut(gone) => drop(gone.insert(number)),
            Share::Only(own) => drop(own.remove(&number)),
        }
    }

    fn holds(&self, number: u32) -> bool {
        match self {
            Share::AllBut(gone) => !gone.contains(&number),
            Share::Only(own) => own.contains(&number),
        }
    }
}

/// Why mails are one series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    /// A patch by itself.
    Alone,
    /// They answer each other, or the same mail.
    Thread,
    /// One run of a tool, by their Message-IDs.
    Sending,
    /// No thread; arrived within minutes.
    Near,
    /// No thread; within a day, and no other series had room.
    Far,
    /// A person said so.
    Hand,
}

/// Mails of one thread that do not answer each other are one sending within this many seconds.
const SAME_TIME: u64 = 24 * 3600;
/// Series of one group that a mail is offered to: the newest ones.
const MAX_OFFERS: usize = 64;

impl Growing {
    pub(super) fn new(world: &World<'_>, at: usize) -> Growing {
        Growing {
            members: Vec::new(),
            cover: None,
            slots: BTreeMap::new(),
            version: world.version(at),
            total: world.total(at),
            how: How::Alone,
            ambiguous: false,
            branch: None,
            apart: false,
            share: Share::AllBut(BTreeSet::new()),
        }
    }

    /// Whether the number of that mail is free here.
    pub(super) fn fits(&self, world: &World<'_>, at: usize) -> bool {
        match world.number(at) {
            0 => self.cover.is_none(),
            number => !self.slots.contains_key(&number),
        }
    }

    pub(super) fn add(&mut self, world: &World<'_>, at: usize) {
        match world.number(at) {
            0 => self.cover = Some(at),
            number => drop(self.slots.insert(number, at)),
        }
        self.insert_member(at);
    }

    pub(super) fn insert_member(&mut self, at: usize) {
        let place = self.members.partition_point(|m| *m < at);
        if self.members.get(place) != Some(&at) {
            self.members.insert(place, at);
        }
    }

    pub(super) fn remove(&mut self, at: usize) {
        self.members.retain(|m| *m != at);
        self.slots.retain(|_, m| *m != at);
        self.cover = self.cover.filter(|c| *c != at);
    }

    /// Whether no number is taken in both.
    pub(super) fn is_apart_from(&self, other: &Growing) -> bool {
        let (few, many) = if self.slots.len() < other.slots.len() {
            (self, other)
        } else {
            (other, self)
        };
        (few.cover.is_none() || many.cover.is_none())
            && few.slots.keys().all(|n| !many.slots.contains_key(n))
    }

    /// How many patches it is to have: all that it says, unless a person split it.
    pub(super) fn wanted(&self) -> u32 {
        let counted = |numbers: &BTreeSet<u32>| {
            let count = numbers.iter().filter(|n| (1..=self.total).contains(*n));
            u32::try_from(count.count()).unwrap_or(u32::MAX)
        };
        match &self.share {
            Share::AllBut(gone) => self.total.saturating_sub(counted(gone)),
            Share::Only(own) => counted(own),
        }
    }

    /// Whether all patches that it is to have are there.
    pub(super) fn is_complete(&self) -> bool {
        let own = self.slots.range(1..=self.total);
        let have = own.filter(|(number, _)| self.share.holds(**number)).count();
        have > 0 && u32::try_from(have).is_ok_and(|have| have >= self.wanted())
    }

    /// The mail that speaks for it: the cover, else patch 1, else its lowest patch.
    pub(super) fn head(&self) -> usize {
        let first = self.cover.or_else(|| self.slots.values().next().copied());
        first.unwrap_or(self.members[0])
    }
}

/// Makes series of all patches and covers by their threads; mails without one stay alone.
pub(super) fn assemble_threads(world: &World<'_>) -> Vec<Growing> {
    let mut all = Vec::new();
    for group in groups(world) {
        all.extend(split(world, group));
    }
    all.sort_by_key(|s| s.members[0]);
    all
}

/// Mails of one key that may be one series: under an ancestor of that key, or below the same mail, known or not.
fn groups(world: &World<'_>) -> Vec<Vec<usize>> {
    let mut leader = Leaders::new(world.len());
    let mut beside: HashMap<(&MessageId, Key<'_>), usize> = HashMap::new();
    let candidates = || (0..world.len()).filter(|at| world.is_candidate(*at));
    for at in candidates().filter(|at| world.is_numbered(*at)) {
        if let Some(ancestor) = same_key(world, at) {
            leader.join(at, ancestor);
        }
        // Those next to it share the mail right above, or the thread's root as they name it.
        let answers = world.answers(at);
        for id in answers.first().into_iter().chain(answers.last()) {
            let other = *beside.entry((id, world.key(at))).or_insert(at);
            leader.join(at, other);
        }
    }
    let mut groups: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for at in candidates() {
        groups.entry(leader.find(at)).or_default().push(at);
    }
    groups.into_values().collect()
}

/// The nearest ancestor that may be of the same series.
fn same_key(world: &World<'_>, at: usize) -> Option<usize> {
    let mut above = world.ancestors(at);
    above.find(|a| world.is_numbered(*a) && world.key(*a) == world.key(at))
}

/// Series out of one group.
fn split(world: &World<'_>, group: Vec<usize>) -> Vec<Growing> {
    let mut all: Vec<Growing> = Vec::new();
    let mut home: HashMap<usize, usize> = HashMap::new();
    let alone = group.len() == 1;
    for block in blocks(world, group) {
        let place = find_place(world, &all, &home, &block);
        let place = place.unwrap_or_else(|| {
            all.push(Growing::new(world, block[0]));
            all.len() - 1
        });
        for at in block {
            all[place].add(world, at);
            home.insert(at, place);
        }
    }
    if !alone {
        let many = all.iter_mut().filter(|s| s.members.len() > 1);
        many.for_each(|s| s.how = How::Thread);
    }
    all
}

/// What was sent by one run of a tool stays together; all other mails are blocks by themselves. Answered mails first.
fn blocks(world: &World<'_>, group: Vec<usize>) -> Vec<Vec<usize>> {
    let mut runs: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    let mut blocks = Vec::new();
    for at in group {
        match &world.facts(at).stem {
            Some(stem) => runs.entry(&stem.sending).or_default().push(at),
            None => blocks.push(vec![at]),
        }
    }
    for mut run in runs.into_values() {
        let place = |at: &usize| world.facts(*at).stem.as_ref().map_or(0, |s| s.sequence);
        run.sort_by_key(|at| (place(at), *at));
        // `git send-email one/*.patch two/*.patch` sends two series in one run: a number that comes again begins the next.
        let mut series = Growing::new(world, run[0]);
        for at in run {
            if !series.fits(world, at) {
                blocks.push(std::mem::take(&mut series.members));
                series = Growing::new(world, at);
            }
            series.add(world, at);
        }
        blocks.push(series.members);
    }
    let order = |block: &Vec<usize>| {
        let depth = block.iter().map(|at| world.depth(*at)).min();
        (depth, block[0])
    };
    blocks.sort_by_key(order);
    blocks
}

/// The series of the group that takes a block: that of its nearest ancestor, else one below the same unknown mail,
/// else one that arrived on the same day.
fn find_place(
    world: &World<'_>,
    all: &[Growing],
    home: &HashMap<usize, usize>,
    block: &[usize],
) -> Option<usize> {
    let fits = |i: &usize| block.iter().all(|at| all[*i].fits(world, *at));
    let above: Vec<usize> = block
        .iter()
        .filter_map(|at| same_key(world, *at).and_then(|a| home.get(&a).copied()))
        .collect();
    let newest = all.len().saturating_sub(MAX_OFFERS)..all.len();
    let mut best = None;
    for i in above.iter().copied().chain(newest).filter(fits) {
        let gap = distance(world, &all[i], block);
        let tie = if above.contains(&i) {
            0
        } else if share_unknown(world, &all[i], block) {
            1
        } else if gap <= SAME_TIME {
            2
        } else {
            continue;
        };
        let rank = (tie, gap, i);
        best = Some(best.map_or(rank, |b: (u8, u64, usize)| b.min(rank)));
    }
    best.map(|(_, _, i)| i)
}

/// Seconds between the nearest two mails; members of a series are in order of arrival.
pub(super) fn distance(world: &World<'_>, series: &Growing, block: &[usize]) -> u64 {
    let gap = |at: &usize| {
        let next = series.members.partition_point(|m| m < at);
        let near = series.members.get(next).into_iter();
        let near = near.chain(next.checked_sub(1).and_then(|i| series.members.get(i)));
        near.map(|m| world.secs(*m).abs_diff(world.secs(*at))).min()
    };
    block.iter().filter_map(gap).min().unwrap_or(u64::MAX)
}

/// Whether both answer one mail that never came.
fn share_unknown(world: &World<'_>, series: &Growing, block: &[usize]) -> bool {
    let unknown = |at: usize| {
        let answers = world.answers(at);
        let ends = answers.first().into_iter().chain(answers.last());
        ends.filter(|id| world.find_id(id).is_none())
    };
    let first = series.members.first().copied();
    block
        .iter()
        .any(|at| first.is_some_and(|m| unknown(*at).any(|id| unknown(m).any(|other| other == id))))
}

/// A series without cover takes the plain mail that began its thread and that it answers right away, if the same
/// person sent it within the day before.
pub(super) fn find_covers(world: &World<'_>, all: &mut [Growing]) {
    let mut taken = std::collections::HashSet::new();
    let mut order: Vec<usize> = (0..all.len()).filter(|i| all[*i].cover.is_none()).collect();
    order.sort_by_key(|i| (all[*i].version, *i));
    for i in order {
        let Some(first) = all[i].slots.values().next().copied() else {
            continue;
        };
        let Some(root) = world.parent(first).filter(|root| {
            world.facts(*root).kind == Kind::Plain
                && world.answers(*root).is_empty()
                && world.person(*root) == world.person(first)
                && *root < first
                && world.secs(first).abs_diff(world.secs(*root)) <= SAME_TIME
        }) else {
            continue;
        };
        if taken.insert(root) {
            all[i].cover = Some(root);
            all[i].insert_member(root);
            all[i].how = How::Thread;
        }
    }
}

/// Disjoint sets; the lower index leads, so that the outcome does not depend on the order of joining.
#[derive(Debug, Clone)]
pub(super) struct Leaders(Vec<usize>);

impl Leaders {
    pub(super) fn new(count: usize) -> Leaders {
        Leaders((0..count).collect())
    }

    pub(super) fn find(&mut self, mut at: usize) -> usize {
        while self.0[at] != at {
            // Halves the path: later look-ups are short.
            self.0[at] = self.0[self.0[at]];
            at = self.0[at];
        }
        at
    }

    pub(super) fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.find(a), self.find(b));
        self.0[a.max(b)] = a.min(b);
    }
}
