//! The order in which mails are processed changes nothing: through the real store, incremental equals full.

use std::collections::{BTreeMap, BTreeSet};

use patchpost::pipeline::{Import, Reclassify};
use patchpost::store::{ListRow, NewReceipt, Prepared};
use patchpost::types::{RealmId, Timestamp};
use patchpost::verdict::{Level, Verdict};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRng, TestRunner};

use super::site::{START, Site, answers, patch};
use super::{groups, reclassify};
use crate::harness::size;

/// A mail of a story: to which lists, what, when, and what speaks for its sender; `None` for old mail that is taken over.
type Step = (Vec<usize>, String, Timestamp, Option<Verdict>);

/// Everything of one story and order lives at `@N.x`, as do its senders: stories meet nowhere.
fn at(text: &str, place: usize) -> String {
    text.replace("@x", &format!("@{place}.x"))
        .replace("@example.org", &format!("@{place}.example.org"))
}

/// Files steps in this order, a few at a time.
async fn file(site: &Site, lists: &[ListRow], steps: &[Step], place: usize, at_once: usize) {
    for chunk in steps.chunks(at_once) {
        for (wanted, text, arrived, verdict) in chunk {
            let text = at(text, place);
            for list in wanted.iter().map(|list| &lists[*list]) {
                match verdict {
                    None => {
                        let mut import = Import::new(&site.ctx, list.clone());
                        let bytes = text.clone().into_bytes();
                        import.add(bytes, Some(*arrived)).await.unwrap();
                        import.flush().await.unwrap();
                    }
                    Some(verdict) => {
                        let proof = at(&verdict.proof, place);
                        let verdict = Verdict {
                            proof,
                            ..verdict.clone()
                        };
                        accept(site, list, &text, *arrived, verdict).await;
                    }
                }
            }
        }
        site.drain().await;
    }
}

/// Takes in a mail whose sender was looked at.
async fn accept(site: &Site, list: &ListRow, text: &str, arrived: Timestamp, verdict: Verdict) {
    let mail = Prepared {
        verdict,
        ..site.prepare(list.realm, text).await
    };
    let receipt = NewReceipt {
        list: list.id,
        realm: list.realm,
        sender: String::new(),
        arrived,
        source: "smtp",
        stranger: false,
        send_at: Timestamp(0),
        held: None,
    };
    site.ctx.store.accept(mail, vec![receipt]).await.unwrap();
}

/// What became of the mails of each place, with the place's own name taken out: threads and patchsets by their anchors.
async fn outcomes(site: &Site) -> BTreeMap<usize, BTreeSet<String>> {
    let place = |text: &str| -> usize {
        let (_, rest) = text.split_once('@').unwrap();
        rest.split_once('.').unwrap().0.parse().unwrap()
    };
    let mut all: BTreeMap<usize, BTreeSet<String>> = BTreeMap::new();
    let mut threads: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for row in site.rows("select thread, message_id from node").await {
        threads
            .entry(row[0].clone())
            .or_default()
            .insert(row[1].clone());
    }
    for names in threads.into_values() {
        let place = place(names.first().unwrap());
        let line = format!("thread {names:?}").replace(&format!("@{place}."), "@");
        all.entry(place).or_default().insert(line);
    }
    for (anchor, series) in groups(site).await {
        let place = place(&anchor);
        let line = format!("{anchor} {series:?}").replace(&format!("@{place}."), "@");
        all.entry(place).or_default().insert(line);
    }
    for row in site
        .rows("select message_id, arrived, subject from mail")
        .await
    {
        let place = place(&row[0]);
        let line = format!("{} arrived {}", row[0], row[1]);
        let line = line.replace(&format!("@{place}."), "@");
        all.entry(place).or_default().insert(line);
    }
    let lists = "select n.message_id, p.list, count(*) from posting p join node n on n.id = p.node group by n.message_id, p.list";
    for row in site.rows(lists).await {
        let place = place(&row[0]);
        let line = format!("{} stands {} times in {}", row[0], row[2], row[1]);
        let line = line.replace(&format!("@{place}."), "@");
        all.entry(place).or_default().insert(line);
    }
    all
}

fn orders(count: usize) -> Vec<Vec<usize>> {
    match count {
        0 => vec![vec![]],
        _ => orders(count - 1)
            .into_iter()
            .flat_map(|order| {
                (0..count).map(move |at| {
                    let mut order = order.clone();
                    order.insert(at, count - 1);
                    order
                })
            })
            .collect(),
    }
}

pub async fn all_orders_of_a_series_give_the_same(site: Site) {
    let lists = [site.list("dev", "public").await];
    let cover = super::mail("0@x", "[PATCH 0/3] all", "", "what for");
    let one = |n: usize| {
        patch(
            &format!("{n}@x"),
            &format!("[PATCH {n}/3] p{n}"),
            &answers("0@x"),
        )
    };
    let mails = [cover, one(1), one(2), one(3)];
    let orders = orders(4);
    assert_eq!(orders.len(), 24);
    for (place, order) in orders.iter().enumerate() {
        let step = |n: &usize| {
            let arrived = START.plus_secs(*n as i64);
            (vec![0], mails[*n].clone(), arrived, None)
        };
        let steps: Vec<Step> = order.iter().map(step).collect();
        file(&site, &lists, &steps, place, 1 + place % 4).await;
    }
    let all = outcomes(&site).await;
    assert_eq!(all.len(), 24);
    let first = &all[&0];
    let line = "0@x [\"v1 1:1@x,2:2@x,3:3@x/3 complete cover=0@x";
    assert!(first.iter().any(|l| l.starts_with(line)), "{first:#?}");
    for (place, outcome) in &all {
        assert_eq!(outcome, first, "order {:?}", orders[*place]);
    }
    let full = reclassify(&site, RealmId::PUBLIC, Reclassify::Write).await;
    assert_eq!(full, Vec::<String>::new());
}

const SUBJECTS: [&str; 12] = [
    "[PATCH 0/2] set",
    "[PATCH 1/2] a",
    "[PATCH 2/2] b",
    "[PATCH v2 0/2] set",
    "[PATCH v2 1/2] a",
    "[PATCH v2 2/2] b",
    "Re: [PATCH 1/2] a",
    "[PATCH] single",
    "[PATCH v2] single",
    "[PATCH v3 2/2] b",
    "[PATCH RESEND] single",
    "words",
];

/// What speaks for a mail: a signature of its own, that of the first mail, or nothing.
fn verdict(n: usize, kind: usize) -> Verdict {
    let signed = |of: usize| Verdict {
        level: Level::Aligned,
        by: "DKIM".to_owned(),
        domain: "example.org".to_owned(),
        proof: format!("b of {of}@x"),
        ..Verdict::default()
    };
    match kind {
        0..=4 => signed(n),
        5 => signed(0),
        _ => Verdict {
            level: Level::None,
            ..Verdict::default()
        },
    }
}

/// Up to 8 mails of one or two people: answers, replies, ghosts, some twice by another way, some to both lists; in half of the
/// stories senders are looked at.
fn story() -> impl Strategy<Value = Vec<Step>> {
    let shape = (
        0..SUBJECTS.len(),
        0usize..12,
        0usize..6,
        0i64..40,
        0usize..4,
        0usize..8,
    );
    let shapes = proptest::collection::vec(shape, 2..=8);
    shapes.prop_map(|shapes| {
        let mut steps = Vec::new();
        let old = shapes.first().is_none_or(|first| first.5 % 2 == 0);
        for (n, (subject, parent, extra, time, lists, kind)) in shapes.iter().enumerate() {
            let verdict = (!old).then(|| verdict(n, *kind));
            let more = match parent {
                p if *p < shapes.len() && *p != n => answers(&format!("{p}@x")),
                9 => answers("ghost@x"),
                _ => String::new(),
            };
            let id = format!("{n}@x");
            let subject = SUBJECTS[*subject];
            let mut text = match subject.contains("0/2") || !subject.contains("PATCH") {
                true => super::mail(&id, subject, &more, "words"),
                false => patch(&id, subject, &more),
            };
            if *extra == 0 {
                text = text.replace("ana@", "ben@");
            }
            let lists = [vec![0], vec![1], vec![0, 1], vec![0]][*lists].clone();
            // No two mails arrive in one second: only then would what breaks ties be seen.
            let arrived = START.plus_secs(time * 4_000 + n as i64);
            if *extra == 1 {
                // Another relay: other bytes, the same mail.
                let by = format!("X-Relay: b\n{text}");
                // Slower or faster by hours, and to another list perhaps.
                let late = arrived.plus_secs((time % 3 - 1) * 7_000 + 100);
                let lists = if time % 2 == 0 {
                    lists.clone()
                } else {
                    vec![1]
                };
                steps.push((lists, by, late, verdict.clone()));
            }
            if *extra == 2 {
                steps.push((lists.clone(), text.clone(), arrived, verdict.clone()));
            }
            steps.push((lists, text, arrived, verdict));
        }
        steps
    })
}

pub async fn any_order_of_any_mails_gives_what_reclassify_gives(site: Site) {
    let lists = [
        site.list("dev", "public").await,
        site.list("too", "public").await,
    ];
    let (stories, turns) = ([8, 40, 400][size() - 1], 3);
    let seed = std::env::var("PATCHPOST_TEST_SEED")
        .ok()
        .and_then(|s| s.parse().ok());
    let seed = seed.unwrap_or_else(|| patchpost::store::now().0 as u64);
    println!("PATCHPOST_TEST_SEED={seed}");
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(proptest::test_runner::RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let mut told = Vec::new();
    for n in 0..stories {
        let steps = story().new_tree(&mut runner).unwrap().current();
        for turn in 0..turns {
            let mut order = steps.clone();
            let keys = proptest::collection::vec(any::<u64>(), order.len());
            let keys = keys.new_tree(&mut runner).unwrap().current();
            let mut keyed: Vec<(u64, Step)> = keys.into_iter().zip(order).collect();
            keyed.sort_by_key(|k| k.0);
            order = keyed.into_iter().map(|k| k.1).collect();
            file(&site, &lists, &order, n * turns + turn, 1 + (n + turn) % 4).await;
        }
        told.push(steps);
    }
    let all = outcomes(&site).await;
    let claims = all.values().flatten().filter(|l| l.contains("\"claims "));
    println!("{} patchsets with claims", claims.count());
    for (n, steps) in told.iter().enumerate() {
        let first = &all[&(n * turns)];
        for turn in 1..turns {
            assert_eq!(first, &all[&(n * turns + turn)], "{steps:#?}");
        }
    }
    let full = reclassify(&site, RealmId::PUBLIC, Reclassify::Write).await;
    assert_eq!(full, Vec::<String>::new(), "incremental is full");
    assert_eq!(outcomes(&site).await, all);
}
