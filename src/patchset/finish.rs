//! Patchsets out of tied series: their order, labels, what partial rerolls take over, what is superseded.

use std::collections::{BTreeMap, HashMap};

use super::assemble::{Patchset, Series, Slot};
use super::authority::is_as_sure;
use super::describe::{self, describe, link_reason};
use super::grow::Growing;
use super::link::Ties;
use super::recognise::Kind;
use super::tag::Version;
use super::world::World;
use crate::types::MailId;

/// Patches of one partial reroll follow each other within this many seconds; later ones are the next reroll, as an
/// assembled version never changes afterwards.
const ONE_REROLL: i64 = 20 * 60;

/// Cuts series that look like partial rerolls into those of one time or one run.
pub(super) fn split_rerolls(world: &World<'_>, all: Vec<Growing>) -> Vec<Growing> {
    let mut out = Vec::new();
    for one in all {
        if one.members.len() < 2 || answered(world, &one).is_none() {
            out.push(one);
            continue;
        }
        let mut last: Option<usize> = None;
        for at in &one.members {
            if last.is_none_or(|last| !one_reroll(world, last, *at)) {
                out.push(Growing {
                    members: Vec::new(),
                    slots: BTreeMap::new(),
                    ..one.clone()
                });
            }
            if let Some(part) = out.last_mut() {
                part.add(world, *at);
            }
            last = Some(*at);
        }
    }
    out.sort_by_key(|s| s.members[0]);
    out
}

fn one_reroll(world: &World<'_>, last: usize, at: usize) -> bool {
    let run = |at: usize| world.facts(at).stem.as_ref().map(|s| &s.sending);
    let near = world.secs(at).saturating_sub(world.secs(last)) <= ONE_REROLL;
    near || (run(at).is_some() && run(at) == run(last))
}

/// For a series without cover whose patches all answer patches of the same person right away, each that of its own
/// number: number, and the patch answered.
fn answered(world: &World<'_>, one: &Growing) -> Option<Vec<(u32, usize)>> {
    if one.cover.is_some() || one.apart || one.slots.is_empty() {
        return None;
    }
    let answer = |(number, at): (&u32, &usize)| {
        let above = world.ancestors(*at).next()?;
        let single = world.facts(*at).tag.number.is_none();
        let fits = one.members.binary_search(&above).is_err()
            && world.facts(above).kind == Kind::Patch
            && world.submitter(above) == world.submitter(*at)
            && is_as_sure(world.is_sure(*at), world.is_sure(above))
            && world.version(above) <= one.version
            && (single || world.number(above) == *number);
        fits.then_some((*number, above))
    };
    one.slots.iter().map(answer).collect()
}

/// Makes the patchsets, in order of their earliest mail.
pub(super) fn assemble_patchsets(world: &World<'_>, all: &[Growing], ties: &Ties) -> Vec<Patchset> {
    let comments = comments(world, all);
    let mut leader = ties.leader.clone();
    let mut sets: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for i in 0..all.len() {
        sets.entry(leader.find(i)).or_default().push(i);
    }
    let finish = |set: Vec<usize>| Set::default().finish(world, all, ties, &comments, set);
    sets.into_values().map(finish).collect()
}

/// For each series the mails that answer it: the nearest patch or cover above counts.
fn comments(world: &World<'_>, all: &[Growing]) -> Vec<Vec<(usize, usize)>> {
    let mut home: Vec<Option<usize>> = vec![None; world.len()];
    for (i, one) in all.iter().enumerate() {
        one.members.iter().for_each(|at| home[*at] = Some(i));
    }
    let mut out = vec![Vec::new(); all.len()];
    let targets = world.nearest(|at| home[at].map(|_| at));
    for (at, target) in targets.into_iter().enumerate() {
        if let (None, Some(target)) = (home[at], target)
            && let Some(i) = home[target]
        {
            out[i].push((at, target));
        }
    }
    out
}

/// A patchset while its versions are laid in order.
#[derive(Default)]
struct Set {
    out: Vec<Series>,
    /// For each of `out`, the index of its series, and whether it is a partial reroll.
    made: Vec<(usize, bool)>,
    labels: HashMap<usize, String>,
}

impl Set {
    fn finish(
        mut self,
        world: &World<'_>,
        all: &[Growing],
        ties: &Ties,
        comments: &[Vec<(usize, usize)>],
        mut set: Vec<usize>,
    ) -> Patchset {
        set.sort_by_key(|i| (all[*i].version, *i));
        for i in &set {
            let mut one = describe(world, &all[*i], &comments[*i]);
            let base = self.find_base(world, all, &all[*i]);
            let reroll = base.is_some();
            if let Some((base, numbers)) = base {
                take_over(&mut one, &self.out[base], &numbers);
            }
            one.label = self.label(&all[*i], reroll);
            if let Some((claimed, why)) = ties.claims.get(i) {
                let claimed = &all[*claimed];
                one.claims = Some(describe::anchor(world, claimed));
                one.reason.push_str(&describe::claim_reason(claimed, *why));
            }
            if let Some((older, why)) = ties.why.get(i)
                && let Some(older) = self.labels.get(older)
            {
                one.reason.push_str(&link_reason(older, *why));
            }
            self.labels.insert(*i, one.label.clone());
            self.out.push(one);
            self.made.push((*i, reroll));
        }
        self.mark_superseded(ties);
        // Series are numbered by arrival.
        let first = (0..self.out.len()).min_by_key(|n| self.made[*n].0);
        let anchor = first.map_or(MailId(0), |n| self.out[n].anchor);
        let newest = self.out.last();
        Patchset {
            anchor,
            title: newest.map(|s| s.title.clone()).unwrap_or_default(),
            prefixes: newest.map(|s| s.prefixes.clone()).unwrap_or_default(),
            series: self.out,
        }
    }

    /// The version that a partial reroll builds on: the newest that holds all patches which it answers; and for
    /// each number of the reroll the number there.
    fn find_base(
        &self,
        world: &World<'_>,
        all: &[Growing],
        one: &Growing,
    ) -> Option<(usize, Vec<(u32, u32)>)> {
        let single = one.total == 1 && one.slots.len() == 1;
        if one.is_complete() && !single {
            return None;
        }
        let answered = answered(world, one)?;
        (0..self.out.len()).rev().find_map(|n| {
            let base = &self.out[n];
            let older =
                base.version < one.version || (base.version == one.version && self.made[n].1);
            let slot = |(number, at): &(u32, usize)| {
                let mail = world.mail(*at).mail;
                let slot = base.patches.iter().find(|s| s.mail == mail)?;
                // Of what a person split, the mails say another total.
                let said = all[self.made[n].0].total;
                let numbered = !single && [base.total, said].contains(&one.total);
                // `[PATCH v2] title` in reply to `[PATCH 2/3] title`.
                let named = single
                    && base.total > 1
                    && world.facts(*at).normal_title == world.facts(one.members[0]).normal_title;
                let place = if numbered { *number } else { slot.number };
                (numbered || named).then_some((*number, place))
            };
            let numbers: Option<Vec<_>> = answered.iter().map(slot).collect();
            // A single patch is one by itself if there is nothing to take over: the others never came.
            let alone = |numbers: &Vec<(u32, u32)>| {
                let answered = |s: &Slot| numbers.iter().any(|(_, place)| *place == s.number);
                single && base.patches.iter().all(answered)
            };
            let numbers = numbers.filter(|numbers| older && !alone(numbers));
            numbers.map(|numbers| (n, numbers))
        })
    }

    /// `2`, `2-2` for another series of that version, `3-r1` for partial rerolls; `5.1` is a reroll by its name.
    fn label(&self, one: &Growing, reroll: bool) -> String {
        // `5.1` is of both kinds.
        let like = |(n, (_, r)): (usize, &(usize, bool))| {
            (*r == reroll || one.version.minor > 0) && self.out[n].version == one.version
        };
        let count = self.made.iter().enumerate().filter(|m| like(*m)).count() + 1;
        let version = one.version;
        match (reroll, count) {
            (false, 1) => version.to_string(),
            (false, count) => format!("{version}-{count}"),
            (true, 1) if version.minor > 0 => version.to_string(),
            (true, count) => format!("{version}-r{count}"),
        }
    }

    /// A newer version replaces older ones; one of the same version does if it was sent again on purpose, or if
    /// what it follows was partial.
    fn mark_superseded(&mut self, ties: &Ties) {
        let top = self.out.last().map(|s| s.version);
        let mut later: Option<(Version, bool)> = None;
        for n in (0..self.out.len()).rev() {
            let (i, reroll) = self.made[n];
            let named = ties.superseded.contains(&i);
            let one = &mut self.out[n];
            let same = later.filter(|(version, _)| *version == one.version);
            let followed = same.is_some_and(|(_, again)| again || reroll);
            one.superseded = top > Some(one.version) || followed || named;
            let again = reroll || one.flags.contains(&"resend");
            later = Some((one.version, again || same.is_some_and(|(_, again)| again)));
        }
    }
}

fn take_over(one: &mut Series, base: &Series, numbers: &[(u32, u32)]) {
    let old = |slot: &Slot| Slot {
        taken_over: true,
        ..slot.clone()
    };
    let mut slots: BTreeMap<u32, Slot> = base.patches.iter().map(|s| (s.number, old(s))).collect();
    for slot in &one.patches {
        let place = numbers.iter().find(|(own, _)| *own == slot.number);
        let number = place.map_or(slot.number, |(_, place)| *place);
        slots.insert(
            number,
            Slot {
                number,
                ..slot.clone()
            },
        );
    }
    one.total = base.total;
    // It has a place for each number of the base, and for no other.
    one.patches = slots.into_values().collect();
    one.complete = base.complete;
    one.title = base.title.clone();
    one.base_commit = one.base_commit.take().or_else(|| base.base_commit.clone());
    one.reason.push_str(&format!(
        " A partial reroll: the other patches are taken over from v{}.",
        base.label
    ));
}
