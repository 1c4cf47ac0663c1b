//! Which series are versions of one change.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::authority::is_as_sure;
use super::correct::{Correction, home as home_of};
use super::grow::{Growing, Leaders};
use super::keys::SAME_TITLE;
use super::recognise::Kind;
use super::tag::Version;
use super::world::World;
use crate::types::MessageId;
use crate::verdict::Level;

/// Why two series are versions of one change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    ChangeId,
    Answer,
    Supersedes,
    Slug,
    Title,
    /// It carries the other's signature, or says to be the same.
    Copy,
    Hand,
}

/// Series tied to patchsets; indices name series.
pub(super) struct Ties {
    pub(super) leader: Leaders,
    /// For a series, the older one that it belongs to and why: the first rule that fits.
    pub(super) why: HashMap<usize, (usize, Why)>,
    /// Series that a later one says it supersedes.
    pub(super) superseded: BTreeSet<usize>,
    /// For a series without the authority to join, the one that it claims to be a version of, and by what.
    pub(super) claims: HashMap<usize, (usize, Why)>,
}

/// Two series that may be versions of one change.
#[derive(Clone, Copy)]
struct Pair {
    older: usize,
    newer: usize,
    why: Why,
    /// Which of them says so.
    actor: usize,
}

/// What the rules find, before it is asked who may.
#[derive(Default)]
struct Found {
    /// In the order of the rules.
    pairs: Vec<Pair>,
    /// (superseded, by which)
    superseded: Vec<(usize, usize)>,
}

/// Series of the same title that one is compared with, in each direction of time.
const MAX_COMPARED: usize = 200;

/// Ties series by, in order: a signature that another mail has, change-id, an answer to an older version, `Supersedes:`, b4's Message-IDs, sender and title;
/// then as people said. Ties without authority become claims.
pub(super) fn find_ties(world: &World<'_>, all: &[Growing], corrections: &[Correction]) -> Ties {
    let home: HashMap<usize, usize> = all
        .iter()
        .enumerate()
        .flat_map(|(i, one)| one.members.iter().map(move |at| (*at, i)))
        .collect();
    let mut found = Found::default();
    let sure: Vec<bool> = all.iter().map(|one| is_sure(world, one)).collect();
    by_copy(world, all, &home, &sure, &mut found);
    by_change_id(world, all, &mut found);
    by_answer(world, all, &home, &mut found);
    by_supersedes(world, all, &home, &mut found);
    by_slug(world, all, &sure, &mut found);
    by_title(world, all, &sure, &mut found);
    for (at, correction) in corrections.iter().enumerate() {
        if let Correction::Merge(a, b) = correction
            && let Some((a, b)) = world.find_mail(*a).zip(world.find_mail(*b))
            && let Some((a, b)) = home_of(all, a).zip(home_of(all, b))
            && !is_split_off(world, &home, &corrections[at + 1..], [a, b])
        {
            found.join(all, a, b, Why::Hand);
        }
    }
    settle(world, all, &sure, &found)
}

/// Whether any of these series was split off by what people said later.
fn is_split_off(
    world: &World<'_>,
    home: &HashMap<usize, usize>,
    later: &[Correction],
    series: [usize; 2],
) -> bool {
    let splits = later.iter().filter_map(|c| match c {
        Correction::Split(mails) => Some(mails),
        _ => None,
    });
    let homes = splits.flatten().filter_map(|m| world.find_mail(*m));
    let mut homes = homes.filter_map(|at| home.get(&at));
    homes.any(|home| series.contains(home))
}

impl Found {
    /// `actor` says that it belongs with `other`.
    fn tie(&mut self, all: &[Growing], actor: usize, other: usize, why: Why) {
        if !all[actor].apart && !all[other].apart {
            self.join(all, actor, other, why);
        }
    }

    fn join(&mut self, all: &[Growing], actor: usize, other: usize, why: Why) {
        if actor == other {
            return;
        }
        let order = |i: &usize| (all[*i].version, *i);
        let (older, newer) = if order(&actor) < order(&other) {
            (actor, other)
        } else {
            (other, actor)
        };
        self.pairs.push(Pair {
            older,
            newer,
            why,
            actor,
        });
    }
}

/// Lets those ties stand whose newer series has the authority. An older one that is less sure belongs to it only if it was there
/// first and the newer one says so: whoever writes a low version into a mail comes later, or speaks for himself.
///
/// Ties lead on to others, so a set may still hold a version that is less sure than an older one: it is put out, and its
/// ties to those inside become claims. What is put out is no longer tied to anything sure, so once is enough.
fn settle(world: &World<'_>, all: &[Growing], sure: &[bool], found: &Found) -> Ties {
    let by_hand: HashSet<usize> = found
        .pairs
        .iter()
        .filter(|p| p.why == Why::Hand)
        .flat_map(|p| [p.older, p.newer])
        .collect();
    let may_follow = |newer: usize, older: usize| may_follow(world, all, sure, newer, older);
    let precedes =
        |p: &Pair| p.actor == p.newer && all[p.older].members[0] < all[p.newer].members[0];
    let has_place = |p: &Pair| sure[p.older] || !sure[p.newer] || precedes(p);
    let allowed = |p: &Pair| p.why == Why::Hand || (may_follow(p.newer, p.older) && has_place(p));
    let mut leader = Leaders::new(all.len());
    for pair in found.pairs.iter().filter(|p| allowed(p)) {
        leader.join(pair.older, pair.newer);
    }
    // The lowest version of each set that is sure.
    let mut floor: HashMap<usize, Version> = HashMap::new();
    for i in (0..all.len()).filter(|i| sure[*i]) {
        let lowest = floor.entry(leader.find(i)).or_insert(all[i].version);
        *lowest = (*lowest).min(all[i].version);
    }
    let mut out = |i: usize| {
        let floor = floor.get(&leader.find(i));
        !sure[i] && !by_hand.contains(&i) && floor.is_some_and(|f| *f <= all[i].version)
    };
    let out: Vec<bool> = (0..all.len()).map(&mut out).collect();
    let mut ties = Ties {
        leader: Leaders::new(all.len()),
        why: HashMap::new(),
        superseded: BTreeSet::new(),
        claims: HashMap::new(),
    };
    let mut claims = Vec::new();
    for pair in &found.pairs {
        let Pair {
            older,
            newer,
            why,
            actor,
        } = *pair;
        if allowed(pair) && (out[older] == out[newer] || why == Why::Hand) {
            ties.why.entry(newer).or_insert((older, why));
            ties.leader.join(older, newer);
            continue;
        }
        let posing = submitter(world, &all[older]) == submitter(world, &all[newer]);
        let unsure = match (out[older] || !sure[older], out[newer] || !sure[newer]) {
            (true, false) if posing => older,
            (false, true) if posing => newer,
            _ if posing && out[older] != out[newer] => [newer, older][usize::from(out[older])],
            _ => actor,
        };
        claims.push((unsure, older + newer - unsure, why));
    }
    for (claimant, claimed, why) in claims {
        if ties.leader.find(claimant) != ties.leader.find(claimed) {
            ties.claims.entry(claimant).or_insert((claimed, why));
        }
    }
    for (old, by) in &found.superseded {
        if ties.leader.find(*old) == ties.leader.find(*by) && may_follow(*by, *old) {
            ties.superseded.insert(*old);
        }
    }
    ties
}

/// Whether the domain of its sender speaks for all of it; mails of others are never in it but by a person's hand.
fn is_sure(world: &World<'_>, one: &Growing) -> bool {
    one.members.iter().all(|at| world.is_sure(*at))
}

/// The same address, authenticated at least as well. In an archive that was taken over nobody is authenticated, and nobody
/// cheats: there other people's versions count as well.
fn may_follow(
    world: &World<'_>,
    all: &[Growing],
    sure: &[bool],
    newer: usize,
    older: usize,
) -> bool {
    let unchecked = |i: usize| {
        let mut members = all[i].members.iter();
        members.all(|at| world.mail(*at).standing.level == Level::Unchecked)
    };
    let same = submitter(world, &all[newer]) == submitter(world, &all[older]);
    (same || (unchecked(newer) && unchecked(older))) && is_as_sure(sure[newer], sure[older])
}

fn by_change_id(world: &World<'_>, all: &[Growing], found: &mut Found) {
    let mut first: HashMap<&str, usize> = HashMap::new();
    for (i, one) in all.iter().enumerate() {
        for at in &one.members {
            if let Some(change) = world
                .facts(*at)
                .change_id
                .as_deref()
                .filter(|_| world.is_candidate(*at))
            {
                let older = *first.entry(change).or_insert(i);
                found.tie(all, i, older, Why::ChangeId);
            }
        }
    }
}

/// A higher version, or the same change again, in reply to another series.
fn by_answer(world: &World<'_>, all: &[Growing], home: &HashMap<usize, usize>, found: &mut Found) {
    for (i, one) in all.iter().enumerate() {
        for at in one.members.iter().filter(|at| world.is_candidate(**at)) {
            let mut above = world.ancestors(*at).filter_map(|a| home.get(&a).copied());
            let Some(older) = above.find(|other| *other != i) else {
                continue;
            };
            let other = &all[older];
            let person = submitter(world, one) == submitter(world, other);
            let title = same_title(world, one, other);
            let newer = one.version > other.version;
            // Who only claims to be the sender wants to belong to it, whatever it says.
            let posing = person && is_sure(world, one) != is_sure(world, other);
            if (newer && (person || title)) || (person && title) || posing {
                found.tie(all, i, older, Why::Answer);
            }
        }
    }
}

fn by_supersedes(
    world: &World<'_>,
    all: &[Growing],
    home: &HashMap<usize, usize>,
    found: &mut Found,
) {
    // Only patches and covers carry the key by which a distant mail is found.
    let candidate = |at: &usize| world.is_candidate(*at);
    let known = |id: &MessageId| {
        let named = world.find_id(id).filter(candidate);
        named.and_then(|at| home.get(&at).copied())
    };
    for (i, one) in all.iter().enumerate() {
        for at in one.members.iter().filter(|at| world.is_candidate(**at)) {
            for older in world.facts(*at).supersedes.iter().filter_map(known) {
                if older != i && !one.apart && !all[older].apart {
                    found.tie(all, i, older, Why::Supersedes);
                    // Two that supersede each other: the later one stands.
                    found.superseded.extend((older < i).then_some((older, i)));
                }
            }
        }
    }
}

/// Who sends a signed mail again under another name, or without its signature, wants to be taken for its author: what the true mail
/// belongs to is what the copy claims.
fn by_copy(
    world: &World<'_>,
    all: &[Growing],
    home: &HashMap<usize, usize>,
    sure: &[bool],
    found: &mut Found,
) {
    for (i, one) in all.iter().enumerate() {
        let true_ones = one.members.iter().filter_map(|at| world.copied(*at));
        for other in true_ones.filter_map(|at| home.get(&at).copied()) {
            if !sure[i] && sure[other] {
                found.tie(all, i, other, Why::Copy);
            }
        }
    }
}

/// The same slug of b4 by the same person, each within the time that a title counts. Those that are sure are compared with each
/// other first, then with the nearest before them that is not: what is forged comes between no two.
fn by_slug(world: &World<'_>, all: &[Growing], sure: &[bool], found: &mut Found) {
    let mut uses: BTreeMap<(&str, &str), Vec<(usize, usize)>> = BTreeMap::new();
    for (i, one) in all.iter().enumerate() {
        for at in one.members.iter().filter(|at| world.is_candidate(**at)) {
            if let Some(stem) = world
                .facts(*at)
                .stem
                .as_ref()
                .filter(|s| s.version.is_some())
            {
                let name = (world.submitter(*at), stem.stem.as_str());
                uses.entry(name).or_default().push((*at, i));
            }
        }
    }
    for mut uses in uses.into_values() {
        uses.sort_unstable();
        let mut tie = |(earlier, i): (usize, usize), (later, j): (usize, usize)| {
            if world.secs(later).saturating_sub(world.secs(earlier)) <= SAME_TITLE {
                found.tie(all, j, i, Why::Slug);
            }
        };
        let of_sure: Vec<_> = uses.iter().filter(|(_, i)| sure[*i]).copied().collect();
        of_sure.windows(2).for_each(|pair| tie(pair[0], pair[1]));
        let mut older: BTreeMap<Version, (usize, usize)> = BTreeMap::new();
        for one in &uses {
            match sure[one.1] {
                true => {
                    let below = older.range(..all[one.1].version);
                    let nearest = below.map(|(_, other)| *other).max();
                    nearest.into_iter().for_each(|other| tie(other, *one));
                }
                false => drop(older.insert(all[one.1].version, *one)),
            }
        }
        uses.windows(2).for_each(|pair| tie(pair[0], pair[1]));
    }
}

/// Same submitter, same title, same prefix words, a higher version (or said to be sent again), within 180 days: with the nearest
/// that is sure, then with the nearest that is not.
fn by_title(world: &World<'_>, all: &[Growing], sure: &[bool], found: &mut Found) {
    let mut uses: BTreeMap<(&str, &str), Vec<(usize, usize)>> = BTreeMap::new();
    for (i, one) in all.iter().enumerate() {
        for at in titled(world, one) {
            let title = world.facts(at).normal_title.as_str();
            uses.entry((world.submitter(at), title))
                .or_default()
                .push((at, i));
        }
    }
    for mut uses in uses.into_values().filter(|uses| uses.len() > 1) {
        uses.sort_unstable();
        for (n, (at, i)) in uses.iter().enumerate() {
            let before = uses[..n].iter().rev().take(MAX_COMPARED);
            let after = uses[n + 1..].iter().take(MAX_COMPARED);
            let gap = |other: &usize| world.secs(*other).abs_diff(world.secs(*at));
            let older = before.chain(after).filter(|(other, j)| {
                gap(other) <= SAME_TITLE.unsigned_abs()
                    && is_newer(world, &all[*i], &all[*j], other < at)
                    && comparable(world, &all[*i], &all[*j], *at, *other)
            });
            let mut nearest: [Option<(u64, usize)>; 2] = [None; 2];
            for (other, j) in older {
                let near = &mut nearest[usize::from(!sure[*j])];
                let this = (gap(other), *j);
                *near = Some(near.map_or(this, |known| known.min(this)));
            }
            for (_, j) in nearest.into_iter().flatten() {
                found.tie(all, *i, j, Why::Title);
            }
            if sure[*i] {
                continue;
            }
            let before = uses[..n].iter().rev().take(MAX_COMPARED);
            let after = uses[n + 1..].iter().take(MAX_COMPARED);
            let same = before.chain(after).filter(|(other, j)| {
                sure[*j]
                    && gap(other) <= SAME_TITLE.unsigned_abs()
                    && all[*i].version == all[*j].version
                    && prefixes(world, &all[*i]) == prefixes(world, &all[*j])
                    && says_the_same(world, *at, *other)
            });
            if let Some((_, j)) = same.min_by_key(|(other, j)| (gap(other), *j)) {
                found.tie(all, *i, *j, Why::Copy);
            }
        }
    }
}

/// Whether two mails of one title are one patch, or the cover letters of series of one length.
fn says_the_same(world: &World<'_>, one: usize, other: usize) -> bool {
    let (a, b) = (world.facts(one), world.facts(other));
    (a.kind, &a.files, &a.blobs, a.stat) == (b.kind, &b.files, &b.blobs, b.stat)
        && world.number(one) == world.number(other)
        && world.total(one) == world.total(other)
}

fn is_newer(world: &World<'_>, one: &Growing, other: &Growing, later: bool) -> bool {
    let resend = world.facts(one.head()).tag.resend;
    let higher = one.version > other.version || (resend && later && one.version == other.version);
    higher && prefixes(world, one) == prefixes(world, other)
}

/// A cover's title is compared with a cover's; patch 1's counts where one of them has no cover.
fn comparable(world: &World<'_>, one: &Growing, other: &Growing, at: usize, with: usize) -> bool {
    let cover = |s: &Growing| s.cover.is_some_and(|c| world.facts(c).kind == Kind::Cover);
    let (a, b) = (world.number(at) == 0, world.number(with) == 0);
    (a && b) || !(cover(one) && cover(other))
}

/// The mails whose titles a series is known by, and found by: its cover letter and patch 1.
fn titled(world: &World<'_>, one: &Growing) -> Vec<usize> {
    let first = one.slots.get(&1).copied();
    let both = one.cover.into_iter().chain(first);
    both.filter(|at| world.is_candidate(*at) && !world.facts(*at).normal_title.is_empty())
        .collect()
}

fn submitter<'a>(world: &World<'a>, one: &Growing) -> &'a str {
    world.submitter(one.head())
}

fn same_title(world: &World<'_>, one: &Growing, other: &Growing) -> bool {
    let title = |at: usize| world.facts(at).normal_title.as_str();
    let first = |s: &Growing| s.slots.get(&1).map(|at| title(*at));
    let bare = one.cover.is_none() || other.cover.is_none();
    title(one.head()) == title(other.head())
        || (bare && first(one).is_some() && first(one) == first(other))
}

fn prefixes(world: &World<'_>, one: &Growing) -> BTreeSet<String> {
    let words = world.facts(one.head()).tag.prefixes.iter();
    let branch = one.branch.map(|v| format!("v{v}"));
    words.map(|w| w.to_lowercase()).chain(branch).collect()
}

/// Kernel lists write branches as `v5.10`: it is a version only beside a v5 of the same change.
pub(super) fn settle_branches(world: &World<'_>, all: &mut [Growing]) {
    if all.iter().all(|one| one.version.minor == 0) {
        return;
    }
    let mut names: HashSet<(u32, String)> = HashSet::new();
    for one in all.iter().filter(|one| one.version.minor == 0) {
        names.extend(known_as(world, one).map(|name| (one.version.major, name)));
    }
    for one in all.iter_mut().filter(|one| one.version.minor > 0) {
        let whole = Version {
            major: one.version.major,
            minor: 0,
        };
        let answers = one.members.iter().any(|at| {
            let mut above = world.ancestors(*at);
            above.any(|a| world.version(a) == whole && world.person(a) == world.person(*at))
        });
        let named = || known_as(world, one).any(|name| names.contains(&(whole.major, name)));
        if !answers && !named() {
            one.branch = Some(one.version);
            one.version = Version::FIRST;
        }
    }
}

/// What versions of one change share: title by sender and time, change-id, slug.
fn known_as(world: &World<'_>, one: &Growing) -> impl Iterator<Item = String> {
    let mut names = Vec::new();
    for at in titled(world, one) {
        let span = world.secs(at).div_euclid(SAME_TITLE);
        let facts = world.facts(at);
        // Neighbouring spans meet, as in `link_keys`.
        for span in [span, span.saturating_add(1)] {
            names.push(format!(
                "t:{:?}:{span}:{}",
                world.person(at),
                facts.normal_title
            ));
        }
        let ids = facts.change_id.iter();
        names.extend(ids.map(|id| format!("c:{:?}:{id}", world.person(at))));
    }
    names.into_iter()
}
