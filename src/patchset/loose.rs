//! Mails without a thread: they join by git's own Message-IDs, else by sender, version, count and time.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::grow::{Growing, How, Leaders};
use super::tag::Version;
use super::world::{Key, World};
use crate::types::ListId;

/// Unthreaded mails of one sending arrive within this many seconds …
pub(super) const NEAR: i64 = 20 * 60;
/// … or within this many, if only one series can take them.
pub(super) const FAR: i64 = 24 * 3600;
/// Neighbours in time that a mail is compared with.
pub(super) const MAX_NEIGHBOURS: usize = 200;

/// Whether mails of these lists may be taken together because of when they came: a mail that was sent to both belongs with both.
pub(super) fn have_common(some: &[ListId], others: &[ListId]) -> bool {
    some.is_empty() || others.is_empty() || some.iter().any(|list| others.contains(list))
}

/// The version that a numbered mail stands for by itself; unthreaded mails have no ancestor to take another from.
pub(super) fn own_version(said: Option<Version>) -> Version {
    said.unwrap_or(Version::FIRST)
}

/// Joins series of one key that no thread ties together.
pub(super) fn join(world: &World<'_>, all: &mut Vec<Growing>) {
    let mut buckets: BTreeMap<Key<'_>, Vec<Growing>> = BTreeMap::new();
    let mut done = Vec::new();
    for one in all.drain(..) {
        let first = one.members[0];
        if world.is_numbered(first) {
            buckets.entry(world.key(first)).or_default().push(one);
        } else {
            done.push(one);
        }
    }
    for bucket in buckets.into_values() {
        if bucket.len() == 1 {
            done.extend(bucket);
            continue;
        }
        let mut pool = Pool::new(world, bucket);
        pool.join_sendings();
        pool.join_in_turn();
        pool.join_near();
        pool.join_far();
        done.extend(pool.series.into_iter().flatten());
    }
    done.sort_by_key(|s| s.members[0]);
    *all = done;
}

/// The series of one key while they join.
struct Pool<'w, 'a> {
    world: &'w World<'a>,
    series: Vec<Option<Growing>>,
    leader: Leaders,
    /// No mail of it answers anything.
    loose: Vec<bool>,
    /// For each series the lists of its mails: those of one mail, those of another …
    lists: Vec<BTreeSet<&'a [ListId]>>,
    /// (seconds, series) of the mails that say or mean the version by themselves, in order of arrival.
    times: Vec<(i64, usize)>,
    /// For each series its places in `times`.
    places: Vec<Vec<usize>>,
}

impl<'w, 'a> Pool<'w, 'a> {
    fn new(world: &'w World<'a>, bucket: Vec<Growing>) -> Pool<'w, 'a> {
        let loose = |s: &Growing| s.members.iter().all(|at| world.answers(*at).is_empty());
        let lists = |s: &Growing| s.members.iter().map(|at| world.lists(*at)).collect();
        let mut times = Vec::new();
        for (i, one) in bucket.iter().enumerate() {
            // Only what says the version by itself: `link_keys` sees one mail at a time and must find them all.
            let says = |at: &&usize| {
                let tag = &world.facts(**at).tag;
                tag.total.is_some() && own_version(tag.version) == one.version
            };
            times.extend(one.members.iter().filter(says).map(|at| (*at, i)));
        }
        times.sort_unstable();
        let mut places = vec![Vec::new(); bucket.len()];
        for (n, (_, i)) in times.iter().enumerate() {
            places[*i].push(n);
        }
        Pool {
            places,
            world,
            loose: bucket.iter().map(loose).collect(),
            lists: bucket.iter().map(lists).collect(),
            leader: Leaders::new(bucket.len()),
            times: times.iter().map(|(at, i)| (world.secs(*at), *i)).collect(),
            series: bucket.into_iter().map(Some).collect(),
        }
    }

    fn one(&self, i: usize) -> Option<&Growing> {
        self.series[i].as_ref()
    }

    /// Whether each mail of the one came to a list to which each of the other came, too.
    fn share_lists(&self, a: usize, b: usize) -> bool {
        let (some, others) = (&self.lists[a], &self.lists[b]);
        let common = |lists: &&[ListId]| others.iter().all(|other| have_common(lists, other));
        some.iter().all(common)
    }

    /// Joins two series if all their numbers differ; whether it did. By time alone only mails of common lists join.
    fn try_join(&mut self, a: usize, b: usize, how: How) -> bool {
        let (a, b) = (self.leader.find(a), self.leader.find(b));
        let (Some(one), Some(other)) = (self.one(a), self.one(b)) else {
            return false;
        };
        if a == b || !one.is_apart_from(other) {
            return false;
        }
        let by_time = matches!(how, How::Near | How::Far);
        if by_time && !self.share_lists(a, b) {
            return false;
        }
        // By time alone no cover comes to a thread that began with its first patch: that was sent without one.
        let lone = |s: &Growing| s.slots.is_empty();
        let begun = |s: &Growing| {
            let first = s.slots.get(&1).filter(|_| s.members.len() > 1);
            first.is_some_and(|first| {
                let others = s.members.iter().filter(|at| *at != first);
                let mut others = others.map(|at| self.world.answers(*at));
                let id = &self.world.mail(*first).message_id;
                self.world.answers(*first).is_empty() && others.all(|above| above.contains(id))
            })
        };
        if by_time && (lone(one) && begun(other) || lone(other) && begun(one)) {
            return false;
        }
        let (keep, gone) = (a.min(b), a.max(b));
        self.leader.join(keep, gone);
        self.loose[keep] &= self.loose[gone];
        let moved = std::mem::take(&mut self.places[gone]);
        self.places[keep].extend(moved);
        let moved = std::mem::take(&mut self.lists[gone]);
        self.lists[keep].extend(moved);
        if let (Some(gone), Some(kept)) = (self.series[gone].take(), self.series[keep].as_mut()) {
            gone.members.iter().for_each(|at| kept.add(self.world, *at));
            kept.how = how;
            kept.ambiguous |= gone.ambiguous;
        }
        true
    }

    fn join_sendings(&mut self) {
        let mut runs: HashMap<&'a str, Vec<usize>> = HashMap::new();
        let mut order = Vec::new();
        for (i, one) in self.series.iter().enumerate() {
            for run in one.iter().flat_map(|one| sendings(self.world, one)) {
                let place = runs.entry(run).or_insert_with(|| {
                    order.push(run);
                    Vec::new()
                });
                place.push(i);
            }
        }
        for run in order {
            let Some(parts) = runs.remove(run) else {
                continue;
            };
            for (n, part) in parts.iter().enumerate() {
                // A run that holds several series of one shape: the first with room takes the part.
                let earlier: Vec<usize> = parts[n.saturating_sub(MAX_NEIGHBOURS)..n].to_vec();
                if earlier
                    .into_iter()
                    .any(|other| self.try_join(other, *part, How::Sending))
                {
                    continue;
                }
            }
        }
    }

    /// Several whole series of one shape at the same time, mails one by one and without Message-IDs that help:
    /// the first 1/2 goes with the first 2/2, the second with the second. If they overlap, that is a guess.
    fn join_in_turn(&mut self) {
        for cluster in self.clusters() {
            let mut by_number: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
            for i in &cluster {
                let plain = self.one(*i).filter(|s| {
                    self.loose[*i] && s.members.len() == 1 && sendings(self.world, s).is_empty()
                });
                let Some(one) = plain else {
                    by_number.clear();
                    break;
                };
                let number = self.world.number(one.members[0]);
                by_number.entry(number).or_default().push(*i);
            }
            let Some(total) = cluster.first().and_then(|i| self.one(*i)).map(|s| s.total) else {
                continue;
            };
            let count = by_number.get(&1).map_or(0, Vec::len);
            let even = by_number.values().all(|v| v.len() == count);
            let whole = (1..=total).all(|n| by_number.contains_key(&n));
            if count < 2 || !even || !whole || by_number.keys().any(|n| *n > total) {
                continue;
            }
            let mut ends = Vec::new();
            for turn in 0..count {
                let parts: Vec<usize> = by_number.values().map(|v| v[turn]).collect();
                for part in &parts[1..] {
                    self.try_join(parts[0], *part, How::Near);
                }
                let first = self.leader.find(parts[0]);
                let members = self
                    .one(first)
                    .map(|s| (s.members[0], s.members[s.members.len() - 1]));
                ends.extend(members.map(|(from, to)| (first, from, to)));
            }
            let overlap = ends.windows(2).any(|pair| pair[1].1 < pair[0].2);
            for (i, _, _) in ends.iter().filter(|_| overlap) {
                if let Some(one) = self.series[*i].as_mut() {
                    one.ambiguous = true;
                }
            }
        }
    }

    /// Series of the same lists whose mails follow each other within [`NEAR`], each series once.
    fn clusters(&mut self) -> Vec<Vec<usize>> {
        let mut out: Vec<Vec<usize>> = Vec::new();
        // For lists, when the last mail came to them and its cluster.
        let mut open: BTreeMap<&BTreeSet<&[ListId]>, (i64, usize)> = BTreeMap::new();
        let times = std::mem::take(&mut self.times);
        for (secs, i) in &times {
            let i = self.leader.find(*i);
            let last = open.get(&self.lists[i]).copied();
            let cluster = match last {
                Some((last, cluster)) if secs.saturating_sub(last) <= NEAR => cluster,
                _ => {
                    out.push(Vec::new());
                    out.len() - 1
                }
            };
            open.insert(&self.lists[i], (*secs, cluster));
            if out[cluster].last() != Some(&i) {
                out[cluster].push(i);
            }
        }
        self.times = times;
        out
    }

    /// Pairs within [`NEAR`], the closest first.
    fn join_near(&mut self) {
        let mut pairs = Vec::new();
        for (n, (secs, i)) in self.times.iter().enumerate() {
            for (later, j) in self.times[n + 1..].iter().take(MAX_NEIGHBOURS) {
                let gap = later.saturating_sub(*secs);
                if gap > NEAR {
                    break;
                }
                if i != j && (self.loose[*i] || self.loose[*j]) {
                    pairs.push((gap, *i.min(j), *i.max(j)));
                }
            }
        }
        pairs.sort_unstable();
        for (_, i, j) in pairs {
            let (i, j) = (self.leader.find(i), self.leader.find(j));
            if (self.loose[i] || self.loose[j]) && !self.two_runs(i, j) {
                self.try_join(i, j, How::Near);
            }
        }
    }

    /// Within [`FAR`], if all that has room for the one is one series, and all that has room for the other, too.
    fn join_far(&mut self) {
        for i in 0..self.series.len() {
            if !self.loose[i] || self.one(i).is_none_or(Growing::is_complete) {
                continue;
            }
            let rooms = self.rooms(i);
            let Some(nearest) = rooms.first().copied().filter(|_| self.are_one(&rooms)) else {
                continue;
            };
            let back = self.rooms(nearest);
            if self.are_one(&back) {
                self.try_join(i, nearest, How::Far);
            }
        }
    }

    /// Whether no number is taken twice in these series, and all came to the same lists.
    fn are_one(&self, series: &[usize]) -> bool {
        let lists = series.iter().flat_map(|i| self.lists[*i].iter().copied());
        let lists: BTreeSet<&[ListId]> = lists.collect();
        let common = |one: &&[ListId]| lists.iter().all(|other| have_common(one, other));
        if series.len() > 1 && !lists.iter().all(common) {
            return false;
        }
        let mut sum: Option<Growing> = None;
        for other in series.iter().filter_map(|i| self.one(*i)) {
            match sum.as_mut() {
                Some(sum) if !sum.is_apart_from(other) => return false,
                Some(sum) => other.members.iter().for_each(|at| sum.add(self.world, *at)),
                None => sum = Some(other.clone()),
            }
        }
        true
    }

    /// Series within [`FAR`] that have room for series `i`, the nearest first, each once.
    fn rooms(&mut self, i: usize) -> Vec<usize> {
        let mut found: BTreeMap<usize, i64> = BTreeMap::new();
        let times = std::mem::take(&mut self.times);
        for n in self.places[i].clone() {
            let secs = times[n].0;
            let before = times[..n].iter().rev().take(MAX_NEIGHBOURS);
            let after = times[n + 1..].iter().take(MAX_NEIGHBOURS);
            for (other, j) in before.chain(after) {
                let gap = i64::try_from(other.abs_diff(secs)).unwrap_or(i64::MAX);
                let j = self.leader.find(*j);
                if gap <= FAR && j != i {
                    let least = found.entry(j).or_insert(gap);
                    *least = gap.min(*least);
                }
            }
        }
        self.times = times;
        let room = |j: &usize| {
            let (Some(one), Some(other)) = (self.one(i), self.one(*j)) else {
                return false;
            };
            one.is_apart_from(other) && !self.two_runs(i, *j) && self.share_lists(i, *j)
        };
        let found = found.into_iter().filter(|(j, _)| room(j));
        let mut found: Vec<(i64, usize)> = found.map(|(j, gap)| (gap, j)).collect();
        found.sort_unstable();
        found.into_iter().map(|(_, j)| j).collect()
    }

    /// Whether a tool sent them in two runs, one of which sent several mails: then they are two series.
    fn two_runs(&self, i: usize, j: usize) -> bool {
        let (Some(one), Some(other)) = (self.one(i), self.one(j)) else {
            return false;
        };
        let (a, b) = (sendings(self.world, one), sendings(self.world, other));
        let several = |s: &Growing| {
            s.members.iter().any(|at| {
                let stem = self.world.facts(*at).stem.as_ref();
                stem.is_some_and(|s| s.sequence != 1)
            })
        };
        !a.is_empty() && !b.is_empty() && a.is_disjoint(&b) && (several(one) || several(other))
    }
}

fn sendings<'a>(world: &World<'a>, series: &Growing) -> BTreeSet<&'a str> {
    let run = |at: &usize| world.facts(*at).stem.as_ref().map(|s| s.sending.as_str());
    series.members.iter().filter_map(run).collect()
}

#[cfg(test)]
mod tests {
    use super::super::assemble;
    use super::super::assemble_tests::{Mail, check_corrected, inputs, mail_at};

    #[track_caller]
    fn check(mails: &[Mail], expected: &[&str]) {
        check_corrected(mails, &[], expected);
    }

    /// Two series of one shape without threads, sent in the same minutes, each mail of them to these lists.
    fn two_series(first: &[i64], second: &[i64]) -> Vec<Mail> {
        vec![
            mail_at("a1@x", "[PATCH 1/2] kiwi", "", 0).to(first),
            mail_at("b1@x", "[PATCH 1/2] lime", "", 1).to(second),
            mail_at("b2@x", "[PATCH 2/2] more lime", "", 1).to(second),
            mail_at("a2@x", "[PATCH 2/2] more kiwi", "", 2).to(first),
        ]
    }

    #[test]
    fn mails_of_two_lists_are_not_taken_together_by_time() {
        let found = assemble(&inputs(&two_series(&[1], &[2])));
        let mails = |n: usize| -> Vec<i64> {
            let patches = found[n].series[0].patches.iter();
            patches.map(|p| p.mail.0).collect()
        };
        assert_eq!(
            (found.len(), mails(0), mails(1)),
            (2, vec![1, 4], vec![2, 3])
        );
        assert!(found.iter().all(|set| !set.series[0].ambiguous));
        let words = "the same sender, list, version and count within 20 minutes";
        assert!(found[0].series[0].reason.contains(words));
        // Half of one each.
        let half = |lists: [&'static [i64]; 2]| {
            vec![
                mail_at("a1@x", "[PATCH 1/2] kiwi", "", 0).to(lists[0]),
                mail_at("a2@x", "[PATCH 2/2] more kiwi", "", 1).to(lists[1]),
                mail_at("b1@x", "[PATCH v2 1/2] lime", "", 2).to(lists[0]),
                mail_at("b2@x", "[PATCH v2 2/2] more lime", "", 300).to(lists[1]),
            ]
        };
        let lone = |version: &str, n: u32| format!("{version} {n} of 2 incomplete");
        check(
            &half([&[1], &[2]]),
            &[
                &lone("v1", 1),
                "--",
                &lone("v1", 2),
                "--",
                &lone("v2", 1),
                "--",
                &lone("v2", 2),
            ],
        );
        // One that was sent to both belongs with both.
        for lists in [[&[1, 2][..], &[2]], [&[1], &[1, 2]], [&[2], &[2]]] {
            check(&half(lists), &["v1 1,2 of 2", "--", "v2 1,2 of 2"]);
        }
    }

    #[test]
    fn a_cover_to_both_lists_goes_with_one_series_only() {
        let mut mails = two_series(&[1], &[2]);
        mails.push(mail_at("a0@x", "[PATCH 0/2] kiwis", "", -1).to(&[1, 2]));
        check(&mails, &["v1 1,2+0 of 2", "--", "v1 1,2 of 2"]);
        // Its patches here and there are not taken together for it.
        let mails = [
            mail_at("0@x", "[PATCH 0/2] t", "", 0).to(&[1, 2]),
            mail_at("1@x", "[PATCH 1/2] a", "", 1).to(&[1]),
            mail_at("2@x", "[PATCH 2/2] b", "", 2).to(&[2]),
        ];
        check(
            &mails,
            &["v1 1+0 of 2 incomplete", "--", "v1 2 of 2 incomplete"],
        );
    }

    #[test]
    fn what_mails_say_of_each_other_counts_across_lists() {
        let id = |n: u32| format!("20240315173105.636749-{n}-ana@example.org");
        let stems = [
            mail_at(&id(1), "[PATCH 1/2] a", "", 0).to(&[1]),
            mail_at(&id(2), "[PATCH 2/2] b", "", 1).to(&[2]),
        ];
        check(&stems, &["v1 1,2 of 2"]);
        let thread = [
            mail_at("1@x", "[PATCH 1/2] a", "", 0).to(&[1]),
            mail_at("2@x", "[PATCH 2/2] b", "1@x", 1).to(&[2]),
        ];
        check(&thread, &["v1 1,2 of 2"]);
        let versions = [
            mail_at("1@x", "[PATCH] a", "", 0).to(&[1]),
            mail_at("2@x", "[PATCH v2] b", "", 1)
                .to(&[2])
                .says("Supersedes: <1@x>"),
            mail_at("3@x", "[PATCH v3] b", "", 2).to(&[1]),
        ];
        check(
            &versions,
            &["v1 1 of 1 superseded", "v2 1 of 1 superseded", "v3 1 of 1"],
        );
        // A cover that says no version takes its patches', whatever came without a thread to another list meanwhile.
        let mut cover = vec![
            mail_at("c@x", "[PATCH 0/2] t", "", 0).to(&[1]),
            mail_at("p@x", "[PATCH v2 1/2] a", "c@x", 0).to(&[1]),
            mail_at("q@x", "[PATCH v2 2/2] b", "c@x", 0).to(&[1]),
        ];
        cover.extend([
            mail_at("o1@x", "[PATCH 1/2] else", "", 1).to(&[2]),
            mail_at("o2@x", "[PATCH 2/2] other", "", 2).to(&[2]),
        ]);
        check(&cover, &["v2 1,2+0 of 2", "--", "v1 1,2 of 2"]);
    }

    #[test]
    fn no_cover_comes_by_time_to_a_thread_that_began_without_one() {
        let kiwi = || {
            vec![
                mail_at("k1@x", "[PATCH 1/2] kiwi", "", 0),
                mail_at("k2@x", "[PATCH 2/2] more kiwi", "k1@x", 1),
            ]
        };
        let mut mails = kiwi();
        mails.push(mail_at("l0@x", "[PATCH 0/2] lime", "", 5));
        check(&mails, &["v1 1,2 of 2", "--", "v1 +0 of 2 incomplete"]);
        mails.push(mail_at("l1@x", "[PATCH 1/2] one lime", "l0@x", 6));
        mails.push(mail_at("l2@x", "[PATCH 2/2] two limes", "l0@x", 7));
        check(&mails, &["v1 1,2 of 2", "--", "v1 1,2+0 of 2"]);
        // One that answers it is its own, however late.
        let mut mails = kiwi();
        mails.push(mail_at("k0@x", "[PATCH 0/2] kiwi", "k1@x", 60));
        check(&mails, &["v1 1,2+0 of 2"]);
    }

    #[test]
    fn a_cover_stays_with_its_patches_where_a_later_version_answers_it() {
        let mails = vec![
            mail_at("c@x", "[PATCH 0/2] series", "", 0),
            mail_at("p1@x", "[PATCH 1/2] one", "", 1),
            mail_at("p2@x", "[PATCH 2/2] two", "", 2),
            mail_at("v1@x", "[PATCH v2 1/2] one", "c@x", 600),
            mail_at("v2@x", "[PATCH v2 2/2] two", "c@x", 601),
        ];
        check(&mails, &["v1 1,2+0 of 2 superseded", "v2 1,2 of 2"]);
    }
}
