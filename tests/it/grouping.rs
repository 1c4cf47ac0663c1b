//! Grouping over a real list: complete series are found whole, and no order of the mails changes anything.

use std::collections::HashMap;

use patchpost::patchset::{Input, Series, assemble};

use super::harness::{corpus, report, size};
use super::manifest::story::Story;
use super::real_mail::list_mails;

fn inputs() -> Vec<Input> {
    let dir = tempfile::tempdir().unwrap();
    let mails: Vec<Vec<u8>> = list_mails(dir.path())
        .into_iter()
        .map(|m| m.bytes)
        .collect();
    Story::inputs_of(&mails)
}

/// Series of the table that come out otherwise, each with its reason.
const OTHERWISE: [(&str, &str); 0] = [];

/// 600 series of a kernel list are known to be complete: root mail, version, count.
#[test]
fn complete_series_of_a_real_list_are_found_whole() {
    let Some(corpus) = corpus() else {
        println!("the corpus is not here; the tables beside the code stand in");
        return;
    };
    let inputs = inputs();
    let sets = assemble(&inputs);
    let mut known: HashMap<&str, Vec<&Series>> = HashMap::new();
    for one in sets.iter().flat_map(|s| &s.series) {
        let own = one.patches.iter().filter(|p| !p.taken_over).map(|p| p.mail);
        for mail in own.chain(one.cover) {
            let id = inputs[mail.0 as usize - 1].message_id.as_str();
            known.entry(id).or_default().push(one);
        }
    }
    let table = std::fs::read_to_string(corpus.join("selinux-git-am.tsv")).unwrap();
    let (mut rows, mut wrong) = (0, Vec::new());
    for row in table.lines().skip(1) {
        let cells: Vec<&str> = row.split('\t').collect();
        let (root, version, total) = (cells[0].trim_matches(['<', '>']), cells[1], cells[2]);
        rows += 1;
        let fits = |s: &&Series| {
            s.complete && s.total.to_string() == total && s.version.to_string() == version
        };
        let found = known.get(root).map_or(&[][..], Vec::as_slice);
        if !found.iter().any(|s| fits(s)) && OTHERWISE.iter().all(|(known, _)| *known != root) {
            let words: Vec<String> = found
                .iter()
                .map(|s| {
                    format!(
                        "v{} {} of {}: {}",
                        s.label,
                        s.patches.len(),
                        s.total,
                        s.reason
                    )
                })
                .collect();
            wrong.push(format!(
                "{root}: v{version} of {total} expected, got {words:?}"
            ));
        }
    }
    report(&format!(
        "series of a real list: {} of {rows} as expected, {} otherwise for a reason",
        rows - wrong.len() - OTHERWISE.len(),
        OTHERWISE.len()
    ));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A small generator of numbers (Marsaglia's xorshift64): the same seed gives the same test.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}

/// Windows of 300 mails, some of them twice, in random orders, give what they give in order.
#[test]
fn no_order_of_real_mails_and_no_duplicate_changes_the_outcome() {
    let inputs = inputs();
    if inputs.is_empty() {
        println!("the corpus is not here; the property tests beside the code stand in");
        return;
    }
    let (windows, orders) = [(4, 3), (20, 10), (100, 20)][size() - 1];
    let seed = std::env::var("PATCHPOST_SEED")
        .ok()
        .and_then(|s| s.parse().ok());
    let seed: u64 = seed.unwrap_or(0x5eed_0f_9a7c_4905);
    report(&format!(
        "{windows} windows of 300 mails in {orders} orders each, PATCHPOST_SEED={seed}"
    ));
    let mut random = Random(seed.max(1));
    for _ in 0..windows {
        let start = random.below(inputs.len() - 300);
        let window = &inputs[start..start + 300];
        let expected = assemble(window);
        for _ in 0..orders {
            let mut mails = window.to_vec();
            for _ in 0..30 {
                mails.push(window[random.below(300)].clone());
            }
            for at in (1..mails.len()).rev() {
                mails.swap(at, random.below(at + 1));
            }
            assert!(
                assemble(&mails) == expected,
                "window at {start}, seed {seed}"
            );
        }
    }
}
