//! Real bounces of many servers, each with the class that a person read out of it (`fixtures/manifest/README.md` says how).

use std::collections::BTreeMap;

use patchpost::list::bounce;

use super::harness::{corpus_for, report};

const TABLE: &str = include_str!("../../fixtures/manifest/bounces.txt");

/// Of 100 bounces so many must be read as a person reads them.
const GOAL: usize = 95;

#[test]
fn bounces_of_many_servers_are_read_as_a_person_reads_them() {
    let Some(corpus) = corpus_for("bounces of many servers") else {
        return;
    };
    let folder = corpus.join("torture/sisimai-bounces");
    let (mut right, mut wrong) = (0, Vec::new());
    let mut sums: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for line in TABLE.lines() {
        let (expected, name) = line.split_once(' ').expect("a class and a file");
        let bytes = std::fs::read(folder.join(name)).unwrap();
        let got = bounce::parse(&bytes);
        let sum = sums.entry(expected).or_default();
        sum.1 += 1;
        if got.class.word() == expected {
            right += 1;
            sum.0 += 1;
        } else {
            let text: String = got.text.chars().take(100).collect();
            let got = got.class.word();
            wrong.push(format!("{name}: expected {expected}, got {got}: {text}"));
        }
    }
    let all = right + wrong.len();
    report(&format!(
        "bounces: {right} of {all} right; by class {sums:?}"
    ));
    wrong.iter().for_each(|w| report(w));
    assert_eq!(all, 519);
    assert!(right * 100 >= all * GOAL, "{right} of {all}");
}
