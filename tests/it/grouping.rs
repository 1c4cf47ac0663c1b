//! Grouping over a real list: no order of the mails changes anything.

use patchpost::patchset::{Input, assemble};

use super::harness::{report, size};
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
    let seed: u64 = seed.unwrap_or(0x005e_ed0f_9a7c_4905);
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
