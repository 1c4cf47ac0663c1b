//! Which series are versions of one patchset, in which order, and what partial rerolls take over.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::assemble::{Growing, Input, Patchset, Series, Slot, World, find, union};
use super::recognise::Kind;
use crate::types::MailId;

/// The same title counts as a new version for this long, in seconds.
const SAME_TITLE: i64 = 180 * 24 * 3600;
/// Buckets of the key that finds unthreaded mails of one sending again.
const DAY: i64 = 24 * 3600;

/// Keys such that any two mails which a rule may connect outside their threads share one.
///
/// `assemble` over the closure of threads and these keys gives what `assemble` over the whole archive gives.
pub fn link_keys(input: &Input) -> Vec<String> {
    let r = &input.recognised;
    let mut keys = Vec::new();
    if !matches!(r.kind, Kind::Patch | Kind::Cover) {
        return keys;
    }
    keys.push(format!("m:{}", input.message_id));
    keys.extend(r.supersedes.iter().map(|id| format!("m:{id}")));
    keys.extend(r.change_id.iter().map(|id| format!("c:{id}")));
    keys.extend(
        r.stem
            .iter()
            .map(|s| format!("s:{}:{}", r.submitter, s.stem)),
    );
    if r.tag.number.unwrap_or(1) <= 1 && !r.normal_title.is_empty() {
        keys.push(format!("t:{}:{}", r.submitter, r.normal_title));
    }
    if r.tag.total.unwrap_or(1) > 1 && input.parents.is_empty() {
        let day = input.arrived.secs().div_euclid(DAY);
        let total = r.tag.total.unwrap_or(1);
        keys.extend([day, day + 1].map(|d| format!("u:{}:{total}:{d}", r.submitter)));
    }
    for key in &mut keys {
        key.truncate(key.floor_char_boundary(500));
    }
    keys
}

/// Links series to patchsets.
pub(super) fn link(
    world: &World<'_>,
    growing: &[Growing],
    mut series: Vec<Series>,
) -> Vec<Patchset> {
    let mut home: HashMap<usize, usize> = HashMap::new();
    for (at, one) in growing.iter().enumerate() {
        one.members.iter().for_each(|m| {
            home.insert(*m, at);
        });
    }
    let mut leader: HashMap<usize, usize> = (0..series.len()).map(|at| (at, at)).collect();
    let mut why: HashMap<usize, &'static str> = HashMap::new();
    let mut tie = |a: usize, b: usize, reason: &'static str| {
        if a != b {
            why.entry(a).or_insert(reason);
            union(&mut leader, a, b);
        }
    };
    by_names(world, growing, &home, &mut tie);
    by_thread(world, growing, &home, &series, &mut tie);
    by_title(&series, growing, world, &mut tie);
    let mut sets: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for at in 0..series.len() {
        sets.entry(find(&leader, at)).or_default().push(at);
    }
    for (at, reason) in &why {
        series[*at].reason = format!("{} {reason}", series[*at].reason);
    }
    sets.into_values()
        .map(|set| finish(world, growing, &home, &series, set))
        .collect()
}

/// `change-id:`, `Supersedes:`, and b4's Message-IDs.
fn by_names(
    world: &World<'_>,
    growing: &[Growing],
    home: &HashMap<usize, usize>,
    tie: &mut impl FnMut(usize, usize, &'static str),
) {
    let mut by_change = HashMap::new();
    let mut by_slug = HashMap::new();
    let by_id: HashMap<_, _> = home
        .iter()
        .map(|(m, s)| (&world.mails[*m].message_id, *s))
        .collect();
    for (at, one) in growing.iter().enumerate() {
        for member in &one.members {
            let r = &world.mails[*member].recognised;
            if let Some(change) = &r.change_id {
                tie(
                    at,
                    *by_change.entry(change).or_insert(at),
                    "Version of the same change by its change-id.",
                );
            }
            if let Some(stem) = r.stem.as_ref().filter(|s| s.version.is_some()) {
                let first = *by_slug.entry((&stem.stem, &r.submitter)).or_insert(at);
                tie(at, first, "Version of the same change by b4's Message-IDs.");
            }
            for old in r.supersedes.iter().filter_map(|id| by_id.get(id)) {
                tie(
                    at,
                    *old,
                    "Version of the same change by its Supersedes line.",
                );
            }
        }
    }
}

/// A higher version in reply to an older one.
fn by_thread(
    world: &World<'_>,
    growing: &[Growing],
    home: &HashMap<usize, usize>,
    series: &[Series],
    tie: &mut impl FnMut(usize, usize, &'static str),
) {
    for (at, one) in growing.iter().enumerate() {
        for member in &one.members {
            let older = world
                .ancestors(*member)
                .into_iter()
                .filter_map(|a| home.get(&a))
                .find(|s| **s != at);
            let Some(older) = older else { continue };
            let same_person = series[at].submitter == series[*older].submitter;
            let same_title = super::tag::normalise_title(&series[at].title)
                == super::tag::normalise_title(&series[*older].title);
            let newer = series[at].version > series[*older].version;
            if (newer && (same_person || same_title)) || (same_person && same_title) {
                tie(at, *older, "Sent in reply to an older version.");
            }
        }
    }
}

/// Same submitter, same title, same prefix words, a higher version, within 180 days.
fn by_title(
    series: &[Series],
    growing: &[Growing],
    world: &World<'_>,
    tie: &mut impl FnMut(usize, usize, &'static str),
) {
    let mut by_title: HashMap<(&str, String), Vec<usize>> = HashMap::new();
    for (at, one) in series.iter().enumerate() {
        // A title counts only where a key carries it: that of the cover, or of patch 1.
        let head = growing[at].cover.or(growing[at].slots.get(&1).copied());
        let Some(head) = head else { continue };
        let title = &world.mails[head].recognised.normal_title;
        if !title.is_empty() {
            by_title
                .entry((&one.submitter, title.clone()))
                .or_default()
                .push(at);
        }
    }
    for group in by_title.into_values() {
        let mut group = group;
        group.sort_by_key(|at| (series[*at].first_arrived, *at));
        for (i, at) in group.iter().enumerate() {
            let fits = |older: &&usize| {
                let (new, old) = (&series[*at], &series[**older]);
                let gap = new.first_arrived.secs() - old.first_arrived.secs();
                let words = |s: &Series| {
                    s.prefixes
                        .iter()
                        .map(|p| p.to_lowercase())
                        .collect::<HashSet<_>>()
                };
                new.version > old.version && gap <= SAME_TITLE && words(new) == words(old)
            };
            if let Some(older) = group[..i].iter().rev().find(fits) {
                tie(
                    *at,
                    *older,
                    "Version of the same change by sender and title.",
                );
            }
        }
    }
}

/// Orders versions, lets partial rerolls take over what they do not send anew, and marks what is superseded.
fn finish(
    world: &World<'_>,
    growing: &[Growing],
    home: &HashMap<usize, usize>,
    series: &[Series],
    mut set: Vec<usize>,
) -> Patchset {
    set.sort_by_key(|at| (series[*at].version, series[*at].first_arrived, *at));
    let mut out: Vec<Series> = Vec::new();
    let mut seen: HashMap<String, usize> = HashMap::new();
    let mut rerolls: HashMap<usize, usize> = HashMap::new();
    let mut place: HashMap<usize, usize> = HashMap::new();
    for at in set {
        let mut one = series[at].clone();
        let base = reroll_base(world, &growing[at], home)
            .filter(|b| place.contains_key(b) && !one.complete);
        match base {
            Some(base) => {
                let count = rerolls.entry(base).or_insert(0);
                *count += 1;
                take_over(&mut one, &out[place[&base]], *count);
            }
            None => {
                let count = seen.entry(one.label.clone()).or_insert(0);
                *count += 1;
                if *count > 1 {
                    one.label = format!("{}-{count}", one.label);
                }
            }
        }
        place.insert(at, out.len());
        out.push(one);
    }
    let newest = out.len() - 1;
    for at in 0..newest {
        let replaced = out[at + 1..].iter().any(|later| {
            later.version > out[at].version
                || later.label.contains("-r")
                || later.flags.contains(&"resend")
        });
        out[at].superseded = replaced;
    }
    let anchor = out
        .iter()
        .min_by_key(|s| (s.first_arrived, s.anchor))
        .map_or(MailId(0), |s| s.anchor);
    Patchset {
        anchor,
        title: out[newest].title.clone(),
        prefixes: out[newest].prefixes.clone(),
        series: out,
    }
}

/// A few patches, each in reply to a patch of one older series of the same person, are a partial reroll of that series.
fn reroll_base(world: &World<'_>, one: &Growing, home: &HashMap<usize, usize>) -> Option<usize> {
    if one.cover.is_some() || one.slots.is_empty() {
        return None;
    }
    let mut base = None;
    for member in one.slots.values() {
        let answered = world
            .ancestors(*member)
            .into_iter()
            .find(|a| home.contains_key(a) && !one.members.contains(a))?;
        let same = world.submitter(answered) == world.submitter(*member)
            && world.versions[answered] < world.versions[*member];
        if !same
            || world.mails[answered].recognised.kind != Kind::Patch
            || base.is_some_and(|b| b != home[&answered])
        {
            return None;
        }
        base = Some(home[&answered]);
    }
    base
}

fn take_over(one: &mut Series, base: &Series, count: usize) {
    let mut slots: BTreeMap<u32, Slot> = base
        .patches
        .iter()
        .map(|s| {
            (
                s.number,
                Slot {
                    taken_over: true,
                    ..s.clone()
                },
            )
        })
        .collect();
    for slot in &one.patches {
        slots.insert(slot.number, slot.clone());
    }
    one.total = base.total;
    one.patches = slots.into_values().collect();
    one.complete = one
        .patches
        .iter()
        .filter(|s| s.number >= 1 && s.number <= one.total)
        .count()
        >= one.total as usize;
    one.label = format!(
        "{}-r{count}",
        base.label.split("-r").next().unwrap_or(&base.label)
    );
    one.title = base.title.clone();
    one.base_commit = one.base_commit.take().or_else(|| base.base_commit.clone());
    one.reason = format!(
        "{} A partial reroll: the other patches are taken over from v{}.",
        one.reason, base.label
    );
}
