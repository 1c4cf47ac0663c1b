use std::collections::{BTreeMap, HashMap, HashSet};

use proptest::prelude::*;

use super::assemble_tests::{Mail, input, inputs, mail_at};
use super::*;

const SUBJECTS: [&str; 16] = [
    "[PATCH 0/2] t",
    "[PATCH 1/2] a",
    "[PATCH 2/2] b",
    "[PATCH v2 0/2] t",
    "[PATCH v2 1/2] a",
    "[PATCH v2 2/2] b",
    "Re: [PATCH 1/2] a",
    "[PATCH] single",
    "[PATCH v2] single",
    "[PATCH RESEND] single",
    "[PATCH v3 2/2] b",
    "[PATCH v5.1 1/2] a",
    "[PATCH v5 1/2] a",
    "plain words",
    "[PATCH 0/1] lone",
    "[PATCH 1/1] lone",
];
const SENDERS: [&str; 2] = ["ana@example.org", "ben@example.org"];

/// What proptest draws for one mail.
type Shape = (usize, usize, usize, usize, u8, i64);

/// Mails of up to two people, in any threads, at times from minutes to years apart, some with ids that git or b4 make.
fn story(shapes: &[Shape]) -> Vec<Mail> {
    let name = |n: usize| match shapes.get(n % shapes.len().max(1)).map_or(0, |s| s.4 % 8) {
        0 => format!("2024031517310{}.63674-{n}-ana@example.org", n % 2),
        1 => format!("20240101-slug-v{}-{n}-0123456789ab@example.org", n % 2 + 1),
        _ => format!("i{n}@x"),
    };
    let one = |(n, (subject, parent, far, who, extra, time)): (usize, &Shape)| {
        let mut parents = Vec::new();
        parents.extend((*far < 8).then(|| name(*far)));
        parents.extend((*parent < 8).then(|| name(*parent)));
        parents.extend((*parent == 8).then(|| "ghost@x".to_owned()));
        let step = [1, 15, 30, 600, 2_000, 100_000, 300_000][(*time % 7) as usize];
        let mut mail = mail_at(
            &name(n),
            SUBJECTS[*subject],
            &parents.join(" "),
            time / 7 * step,
        );
        mail.from = SENDERS[*who].to_owned();
        mail.lists = [&[1][..], &[2], &[1, 2]][far % 3].to_vec();
        mail = match extra % 5 {
            0 | 1 => mail.signed(),
            2 => mail.unsigned(),
            _ => mail,
        };
        // A signature that was seen before.
        if extra % 32 == 0 {
            mail.standing.proofs = vec!["again".to_owned()];
        }
        match extra / 8 {
            0 => mail.says("change-id: 20240101-x-1"),
            1 => mail.says(&format!("Supersedes: <{}>", name(*time as usize % 8))),
            _ => mail,
        }
    };
    shapes.iter().enumerate().map(one).collect()
}

fn shapes(max: usize) -> impl Strategy<Value = Vec<Shape>> {
    let shape = (
        0..SUBJECTS.len(),
        0usize..12,
        4usize..24,
        0usize..2,
        any::<u8>(),
        0i64..70,
    );
    proptest::collection::vec(shape, 1..=max)
}

/// The components of threads and keys, as the store makes them: indices into `inputs`.
pub(super) fn components(inputs: &[Input]) -> Vec<Vec<usize>> {
    let mut leader: Vec<usize> = (0..inputs.len()).collect();
    fn find(leader: &mut [usize], mut at: usize) -> usize {
        while leader[at] != at {
            leader[at] = leader[leader[at]];
            at = leader[at];
        }
        at
    }
    let mut first: HashMap<String, usize> = HashMap::new();
    for (at, one) in inputs.iter().enumerate() {
        let nodes = std::iter::once(&one.message_id).chain(&one.parents);
        let names = nodes.map(|id| format!("thread {id}"));
        for name in names.chain(link_keys(one).into_iter().map(|k| format!("key {k}"))) {
            let other = *first.entry(name).or_insert(at);
            let (a, b) = (find(&mut leader, at), find(&mut leader, other));
            leader[a.max(b)] = a.min(b);
        }
    }
    let mut sets: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for at in 0..inputs.len() {
        sets.entry(find(&mut leader, at)).or_default().push(at);
    }
    sets.into_values().collect()
}

fn sorted(mut sets: Vec<Patchset>) -> Vec<Patchset> {
    sets.sort_by_key(|s| s.anchor);
    sets
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 1_500 } else { 20_000 }))]

    /// Any mails in any threads, some of them twice, give the same outcome in any order.
    #[test]
    fn the_order_of_mails_changes_nothing(
        shapes in shapes(8),
        order in proptest::collection::vec(any::<u32>(), 16),
        twice in 0usize..8,
    ) {
        let inputs = inputs(&story(&shapes));
        let expected = assemble(&inputs);
        let mut shuffled: Vec<(u32, Input)> = order.iter().copied().zip(inputs.clone()).collect();
        let again = inputs[twice % inputs.len()].clone();
        shuffled.push((order[15], again));
        shuffled.sort_by_key(|(k, _)| *k);
        let shuffled: Vec<Input> = shuffled.into_iter().map(|(_, i)| i).collect();
        prop_assert_eq!(assemble(&shuffled), expected);
    }

    /// What people said of them neither, whatever it is; and what is complete has all patches that it is to have.
    #[test]
    fn corrections_hold_in_any_order_of_mails(
        shapes in shapes(8),
        order in proptest::collection::vec(any::<u32>(), 8),
        said in proptest::collection::vec((0usize..5, 0usize..8, 0usize..8), 1..5),
    ) {
        let inputs = inputs(&story(&shapes));
        let row = |n: usize| inputs[n % inputs.len()].mail;
        let correction = |(kind, a, b): &(usize, usize, usize)| match kind {
            0 => Correction::Move(row(*a), row(*b)),
            1 => Correction::Split(vec![row(*a), row(*b)]),
            2 => Correction::Merge(row(*a), row(*b)),
            3 => Correction::CutEdge(row(*a), row(*b)),
            _ => Correction::SetVersion(row(*a), Version { major: 1 + *b as u32, minor: 0 }),
        };
        let said: Vec<Correction> = said.iter().map(correction).collect();
        let expected = assemble_corrected(&inputs, &said);
        let mut shuffled: Vec<(u32, Input)> = order.iter().copied().zip(inputs.clone()).collect();
        shuffled.sort_by_key(|(k, _)| *k);
        let shuffled: Vec<Input> = shuffled.into_iter().map(|(_, i)| i).collect();
        prop_assert_eq!(assemble_corrected(&shuffled, &said), expected.clone());
        let mut seen = HashSet::new();
        for series in expected.iter().flat_map(|s| &s.series) {
            prop_assert!(!series.complete || series.patches.len() >= series.total as usize);
            let own = series.patches.iter().filter(|p| !p.taken_over).map(|p| p.mail);
            for mail in own.chain(series.cover) {
                prop_assert!(seen.insert(mail), "{} stands twice", mail);
            }
        }
        for one in &inputs {
            let held = one.recognised.kind.is_tracked();
            prop_assert!(!held || seen.contains(&one.mail), "{} is lost", one.message_id);
        }
    }

    /// Rows are numbered in the order in which mails are filed: that must not matter either.
    #[test]
    fn the_numbers_of_rows_change_nothing(shapes in shapes(8)) {
        let mails = story(&shapes);
        let there = assemble(&inputs(&mails));
        let turned: Vec<Input> = mails.iter().enumerate().map(|(i, m)| input(1_000 - i, m)).collect();
        let back = |set: &mut Patchset| {
            let row = |m: &mut crate::types::MailId| m.0 = 1_002 - m.0;
            row(&mut set.anchor);
            for s in &mut set.series {
                row(&mut s.anchor);
                s.cover.iter_mut().for_each(row);
                s.claims.iter_mut().for_each(row);
                s.patches.iter_mut().for_each(|p| row(&mut p.mail));
                for (comment, target) in &mut s.comments {
                    row(comment);
                    row(target);
                }
            }
        };
        let mut found = assemble(&turned);
        found.iter_mut().for_each(back);
        // Two mails of one identity at one moment are only told apart by their rows.
        let distinct: HashSet<_> = inputs(&mails).iter().map(|i| (i.identity, i.arrived)).collect();
        if distinct.len() == mails.len() {
            prop_assert_eq!(found, there);
        }
    }

    /// What the store reads together gives what the whole archive gives.
    #[test]
    fn a_component_by_itself_gives_what_the_whole_gives(shapes in shapes(12)) {
        let inputs = inputs(&story(&shapes));
        let mut parts = Vec::new();
        for component in components(&inputs) {
            let some: Vec<Input> = component.iter().map(|at| inputs[*at].clone()).collect();
            parts.extend(assemble(&some));
        }
        prop_assert_eq!(sorted(parts), sorted(assemble(&inputs)));
    }

    /// Every patch and cover is in exactly one place, and every comment at most once.
    #[test]
    fn no_mail_is_lost_and_none_is_in_two_series(shapes in shapes(12)) {
        let inputs = inputs(&story(&shapes));
        let mut seen = HashSet::new();
        for series in assemble(&inputs).iter().flat_map(|s| &s.series) {
            let own = series.patches.iter().filter(|p| !p.taken_over).map(|p| p.mail);
            for mail in own.chain(series.cover).chain(series.comments.iter().map(|c| c.0)) {
                prop_assert!(seen.insert(mail), "{} stands twice", mail);
            }
        }
        for one in &inputs {
            let held = one.recognised.kind.is_tracked();
            prop_assert!(!held || seen.contains(&one.mail), "{} is lost", one.message_id);
        }
    }
}

/// Threads as deep, and runs as long, as a stranger likes.
#[test]
fn deep_threads_and_floods_are_taken_in_their_stride() {
    let deep: Vec<Input> = (0..20_000)
        .map(|n| {
            input(
                n,
                &mail_at(&format!("d{n}"), "[PATCH 1/2] a", &format!("d{}", n + 1), 1),
            )
        })
        .collect();
    let found = assemble(&deep);
    let patches: usize = found
        .iter()
        .flat_map(|s| &s.series)
        .map(|s| s.patches.len())
        .sum();
    assert_eq!(patches, 20_000);
    let flood: Vec<Input> = (0..5_000)
        .map(|n| input(n, &mail_at(&format!("f{n}"), "[PATCH 1/2] a", "", 1)))
        .collect();
    assert_eq!(assemble(&flood).len(), 5_000);
}
