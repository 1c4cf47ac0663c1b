//! What a person says about groups holds over what the rules make.

use super::assemble_tests::{Mail, check_corrected, inputs, mail_at, series};
use super::*;
use crate::types::MailId;

#[test]
fn people_can_correct_the_grouping() {
    let alone = [
        mail_at("1", "[PATCH 1/2] a", "", 0),
        mail_at("2", "[PATCH 2/2] b", "", 5_000),
    ];
    check_corrected(
        &alone,
        &[Correction::Move(MailId(2), MailId(1))],
        &["v1 1,2 of 2"],
    );
    check_corrected(
        &alone,
        &[Correction::Merge(MailId(2), MailId(1))],
        &["v1 1 of 2 incomplete", "v1-2 2 of 2 incomplete"],
    );
    let mut versions = series("", "a", "", 0);
    versions.extend(series(" v2", "b", "a0", 100));
    check_corrected(
        &versions,
        &[Correction::Split(vec![MailId(4), MailId(5), MailId(6)])],
        &["v1 1,2+0 of 2", "--", "v2 1,2+0 of 2"],
    );
    check_corrected(
        &versions,
        &[Correction::SetVersion(
            MailId(5),
            Version { major: 3, minor: 0 },
        )],
        &["v1 1,2+0 of 2 superseded", "v3 1,2+0 of 2"],
    );
    let comment = [
        mail_at("1", "[PATCH] a", "", 0),
        mail_at("r", "Re: [PATCH] a", "1", 1),
    ];
    check_corrected(
        &comment,
        &[Correction::CutEdge(MailId(2), MailId(1))],
        &["v1 1 of 1"],
    );
    check_corrected(
        &comment,
        &[Correction::Move(MailId(7), MailId(1))],
        &["v1 1 of 1 c1"],
    );
}

#[test]
fn what_is_split_is_whole_with_what_it_was_given() {
    let of = |total: u32, numbers: &[u32]| -> Vec<Mail> {
        let one = |n: &u32| {
            let parent = if *n == 1 { "" } else { "1" };
            mail_at(
                &n.to_string(),
                &format!("[PATCH {n}/{total}] p{n}"),
                parent,
                i64::from(*n),
            )
        };
        numbers.iter().map(one).collect()
    };
    let split = |mails: &[i64]| Correction::Split(mails.iter().copied().map(MailId).collect());
    let three = of(3, &[1, 2, 3]);
    check_corrected(
        &three,
        &[split(&[2, 3])],
        &["v1 1 of 1", "--", "v1 2,3 of 2"],
    );
    check_corrected(&three, &[split(&[1])], &["v1 1 of 1", "--", "v1 2,3 of 2"]);
    let each = ["v1 1 of 1", "--", "v1 2 of 1", "--", "v1 3 of 1"];
    check_corrected(&three, &[split(&[2, 3]), split(&[3])], &each);
    // What is put back is wanted again, and what never came still is.
    let back = Correction::Move(MailId(3), MailId(1));
    check_corrected(&three, &[split(&[3]), back], &["v1 1,2,3 of 3"]);
    let one_back = [split(&[2, 3]), Correction::Move(MailId(3), MailId(1))];
    check_corrected(&three, &one_back, &["v1 1,3 of 2", "--", "v1 2 of 1"]);
    let gaps = of(4, &[1, 3]);
    check_corrected(
        &gaps,
        &[split(&[2])],
        &["v1 1 of 3 incomplete", "--", "v1 3 of 1"],
    );
    let cover = series("", "a", "", 0);
    check_corrected(
        &cover,
        &[split(&[2, 3])],
        &["v1 +0 of 1 incomplete", "--", "v1 1,2 of 2"],
    );
    // A partial reroll of what stayed.
    let mut rerolled = three.clone();
    rerolled.push(mail_at("r", "[PATCH v2 1/3] p1", "1", 100));
    check_corrected(
        &rerolled,
        &[split(&[3])],
        &[
            "v1 1,2 of 2 superseded",
            "v2-r1 1,2* of 2",
            "--",
            "v1 3 of 1",
        ],
    );
}

#[test]
fn a_moved_mail_takes_its_number_and_later_corrections_win() {
    let m = [
        mail_at("1", "[PATCH 1/2] a", "", 0),
        mail_at("2", "[PATCH 2/2] b", "1", 1),
        mail_at("3", "[PATCH 2/2] c", "", 9_000),
    ];
    let to = |to| Correction::Move(MailId(3), MailId(to));
    check_corrected(&m, &[to(1)], &["v1 1,2 of 2", "--", "v1 2 of 2 incomplete"]);
    let sets = assemble_corrected(&inputs(&m), &[to(1)]);
    assert_eq!(sets[0].series[0].patches[1].mail, MailId(3));
}

#[test]
fn stored_corrections_are_read() {
    let check = |kind: &str, detail: &str, expected: Option<Correction>| {
        assert_eq!(
            Correction::parse(kind, MailId(1), detail),
            expected,
            "{kind} {detail}"
        );
    };
    check("move", "7", Some(Correction::Move(MailId(1), MailId(7))));
    check("merge", "7", Some(Correction::Merge(MailId(1), MailId(7))));
    check(
        "cut",
        " 7 ",
        Some(Correction::CutEdge(MailId(1), MailId(7))),
    );
    check("split", "", Some(Correction::Split(vec![MailId(1)])));
    check(
        "split",
        "2 3",
        Some(Correction::Split(vec![MailId(1), MailId(2), MailId(3)])),
    );
    let version = Version { major: 5, minor: 1 };
    check(
        "version",
        "5.1",
        Some(Correction::SetVersion(MailId(1), version)),
    );
    check("version", "x", None);
    check("move", "x", None);
    check("state", "accepted", None);
    assert_eq!(
        Correction::Split(vec![MailId(1), MailId(2)]).mails().len(),
        2
    );
}
