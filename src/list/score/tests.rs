use proptest::prelude::*;

use super::*;

const START: Timestamp = Timestamp::from_secs(1_772_000_000);

fn at(days: i64) -> Timestamp {
    START.plus_secs(days * DAY)
}

/// A standing after bounces, each as its class and the day on which it came.
fn after(bounces: &[(Class, i64)]) -> Standing {
    let (mut standing, mut now) = (Standing::new(START), START);
    for (class, day) in bounces {
        // What is told late is told now.
        now = now.max(at(*day));
        standing = standing.bounced(*class, at(*day), now);
    }
    standing
}

/// What is due at the end of the last day.
#[track_caller]
fn check(bounces: &[(Class, i64)], expected: (i64, i64, Option<Step>)) {
    let standing = after(bounces);
    let last = bounces.iter().map(|b| b.1).max().unwrap_or(0);
    let due = standing.due(0, at(last));
    assert_eq!(
        (standing.halves, standing.days, due),
        expected,
        "{bounces:?}"
    );
}

use Class::{Expired, Failed, Full, Gone, Policy};

#[test]
fn points_by_class_and_at_most_once_a_day() {
    check(&[(Gone, 0)], (4, 1, None));
    check(&[(Failed, 0)], (2, 1, None));
    check(&[(Full, 0)], (1, 1, None));
    check(&[(Expired, 0)], (1, 1, None));
    check(&[(Policy, 0)], (0, 0, None));
    check(&[(Gone, 0), (Gone, 0), (Gone, 0)], (4, 1, None));
    // The gravest of a day, in whatever order they came.
    check(&[(Full, 0), (Gone, 0)], (4, 1, None));
    check(&[(Gone, 0), (Full, 0)], (4, 1, None));
    for class in [
        Class::Delayed,
        Class::AutoReply,
        Class::Complaint,
        Class::Other,
    ] {
        check(&[(class, 0), (class, 1)], (0, 0, None));
    }
}

#[test]
fn five_points_on_three_days_call_for_a_probe() {
    check(&[(Gone, 0), (Gone, 1)], (8, 2, None));
    check(&[(Gone, 0), (Gone, 1), (Full, 2)], (9, 3, None));
    check(
        &[(Gone, 0), (Gone, 1), (Failed, 2)],
        (10, 3, Some(Step::Probe)),
    );
    check(
        &[(Gone, 0), (Gone, 1), (Gone, 2)],
        (12, 3, Some(Step::Probe)),
    );
    let full: Vec<(Class, i64)> = (0..10).map(|d| (Full, d)).collect();
    check(&full[..9], (9, 9, None));
    check(&full, (10, 10, Some(Step::Probe)));
}

#[test]
fn a_late_bounce_makes_no_day_of_its_own() {
    check(&[(Gone, 5), (Gone, 3), (Gone, 1)], (4, 1, None));
}

#[test]
fn a_day_that_a_wrong_clock_noted_stops_no_count() {
    // The clock stood in another century for a moment.
    let ahead = Standing::new(START).bounced(Gone, at(40_000), at(40_000));
    let mut standing = ahead;
    for day in [1, 2, 3] {
        standing = standing.bounced(Gone, at(day), at(day));
    }
    assert_eq!((standing.halves, standing.days), (12, 3));
    assert_eq!(standing.last_day, day(at(3)));
    // And a bounce that such a clock noted is of today.
    let late = after(&[(Gone, 0)]).bounced(Gone, at(40_000), at(1));
    assert_eq!((late.days, late.last_day), (2, day(at(1))));
}

#[test]
fn a_storm_of_days_hides_no_address_that_is_gone() {
    let storm = Storm {
        domain: "y.org".to_owned(),
        code: "5.1.1".to_owned(),
        recipients: 9,
        span: (at(0), at(5)),
    };
    let covered =
        |class, day: i64| is_covered(std::slice::from_ref(&storm), "y.org", class, at(day));
    for day in [0, 2] {
        assert!(covered(Gone, day) && covered(Failed, day));
    }
    for day in [3, 5, 6] {
        assert!(!covered(Gone, day) && covered(Failed, day));
    }
    assert!(!covered(Failed, 7) && !is_covered(&[], "y.org", Gone, at(0)));
    // The operator hears of it when it begins to be old, and not each hour after it.
    let told_again: Vec<i64> = (1..6)
        .filter(|day| {
            let now = Storm {
                span: (at(0), at(*day)),
                ..storm.clone()
            };
            now.is_news_after(at(day - 1))
        })
        .collect();
    assert_eq!(told_again, [3]);
}

#[test]
fn seven_quiet_days_with_copies_forgive() {
    let standing = after(&[(Gone, 0), (Gone, 1)]);
    assert_eq!(standing.due(6, at(30)), None);
    assert_eq!(standing.due(7, at(30)), Some(Step::Forgive));
    let forgiven = standing.after(Step::Forgive, at(30));
    assert_eq!(forgiven, Standing::new(at(30)));
    // What was looked at in vain is looked at tomorrow.
    let looked = standing.looked_at(at(2));
    assert_eq!(looked.next, Some(at(3)));
    assert_eq!(looked.due(7, at(2)), None);
    assert_eq!(Standing::new(START).looked_at(START).next, None);
}

#[test]
fn a_probe_decides() {
    let probed = after(&[(Gone, 0), (Gone, 1), (Gone, 2)]).after(Step::Probe, at(2));
    assert_eq!(probed.state, State::Probed);
    // It is not back after a week: it arrived.
    assert_eq!(probed.due(0, at(8)), None);
    assert_eq!(probed.due(0, at(9)), Some(Step::Forgive));
    // Meanwhile no bounce adds to it.
    assert_eq!(probed.bounced(Gone, at(3), at(3)), probed);
    // A policy or a program that answers says nothing about the mailbox.
    for class in [Policy, Class::Delayed, Class::AutoReply, Class::Other] {
        assert_eq!(probed.probe_bounced(class, at(3)), probed);
    }
    for class in [Gone, Failed, Full, Expired] {
        let disabled = probed.probe_bounced(class, at(3));
        assert_eq!(disabled.state, State::Disabled);
        // A second bounce of the probe does not begin anew.
        assert_eq!(disabled.probe_bounced(class, at(20)), disabled);
    }
    // Without a probe on its way there is none to come back.
    let fine = after(&[(Gone, 0)]);
    assert_eq!(fine.probe_bounced(Gone, at(1)), fine);
}

#[test]
fn a_disabled_address_is_warned_three_times_and_leaves_on_day_30() {
    let probed = after(&[(Gone, 0), (Gone, 1), (Gone, 2)]).after(Step::Probe, at(2));
    let mut standing = probed.probe_bounced(Gone, at(3));
    let mut steps = Vec::new();
    for day in 3..40 {
        if let Some(step) = standing.due(0, at(day)) {
            steps.push((day - 3, step));
            if step == Step::Remove {
                break;
            }
            standing = standing.after(step, at(day));
        }
        assert_eq!(standing.due(0, at(day)), None, "one step at a time");
    }
    let expected = [
        (0, Step::Warn(0)),
        (7, Step::Warn(1)),
        (14, Step::Warn(2)),
        (30, Step::Remove),
    ];
    assert_eq!(steps, expected);
}

#[test]
fn warnings_that_come_late_keep_their_distance() {
    let probed = after(&[(Gone, 0), (Gone, 1), (Gone, 2)]).after(Step::Probe, at(2));
    let disabled = probed.probe_bounced(Gone, at(3));
    // The site was down for two months.
    assert_eq!(disabled.due(0, at(60)), Some(Step::Warn(0)));
    let warned = disabled.after(Step::Warn(0), at(60));
    assert_eq!(warned.due(0, at(66)), None);
    assert_eq!(warned.due(0, at(67)), Some(Step::Warn(1)));
}

fn seen(domain: &str, code: &str, who: usize, secs: i64) -> Seen {
    Seen {
        domain: domain.to_owned(),
        code: code.to_owned(),
        address: format!("m{who}@{domain}"),
        arrived: START.plus_secs(secs),
    }
}

/// Storms as `domain code recipients`.
#[track_caller]
fn check_storms(bounces: &[Seen], members: usize, expected: &[&str]) {
    let domains = bounces.iter().map(|b| (b.domain.clone(), members));
    let storms = find_storms(bounces, &domains.collect());
    let got = storms
        .iter()
        .map(|s| format!("{} {} {}", s.domain, s.code, s.recipients));
    assert_eq!(got.collect::<Vec<_>>(), expected);
}

#[test]
fn five_of_a_fifth_within_an_hour_are_a_storm() {
    let all: Vec<Seen> = (0..10)
        .map(|n| seen("x.org", "5.1.1", n, 60 * n as i64))
        .collect();
    check_storms(&all[..4], 4, &[]);
    check_storms(&all[..5], 5, &["x.org 5.1.1 5"]);
    check_storms(&all[..5], 25, &["x.org 5.1.1 5"]);
    check_storms(&all[..5], 26, &[]);
    check_storms(&all, 50, &["x.org 5.1.1 10"]);
    check_storms(&all, 51, &[]);
    // One member's many bounces are one recipient.
    let one: Vec<Seen> = (0..10).map(|n| seen("x.org", "5.1.1", 1, n)).collect();
    check_storms(&one, 5, &[]);
    // Different codes or destinations are no one storm.
    let codes: Vec<Seen> = (0..8)
        .map(|n| seen("x.org", ["5.1.1", "5.2.1"][n % 2], n, 0))
        .collect();
    check_storms(&codes, 8, &[]);
    let domains: Vec<Seen> = (0..8)
        .map(|n| seen(["x.org", "y.org"][n % 2], "5.1.1", n, 0))
        .collect();
    check_storms(&domains, 8, &[]);
    // Spread over more than an hour.
    let slow: Vec<Seen> = (0..10)
        .map(|n| seen("x.org", "5.1.1", n, 901 * n as i64))
        .collect();
    check_storms(&slow, 10, &[]);
}

#[test]
fn a_storm_covers_its_first_bounce_and_a_day_behind_its_last() {
    let all: Vec<Seen> = (0..6)
        .map(|n| seen("x.org", "5.1.1", n, 60 * n as i64))
        .collect();
    let storms = find_storms(&all, &[("x.org".to_owned(), 6)].into());
    assert_eq!(storms.len(), 1);
    let covers = |secs| storms[0].covers("x.org", START.plus_secs(secs));
    assert!(!covers(-1) && covers(0) && covers(300 + FREEZE_SECS) && !covers(301 + FREEZE_SECS));
    assert!(!storms[0].covers("y.org", START));
}

fn class() -> impl Strategy<Value = Class> {
    prop_oneof![
        Just(Gone),
        Just(Failed),
        Just(Full),
        Just(Expired),
        Just(Policy),
        Just(Class::Delayed),
        Just(Class::AutoReply),
        Just(Class::Other),
    ]
}

proptest! {
    /// No number of policy bounces, and nothing on fewer than three days, moves anybody.
    #[test]
    fn nobody_is_probed_for_policy_or_within_three_days(
        bounces in proptest::collection::vec((class(), 0i64..12), 0..60),
    ) {
        let mut sorted = bounces.clone();
        sorted.sort_by_key(|b| b.1);
        for bounces in [bounces, sorted] {
            let standing = after(&bounces);
            let counted: BTreeSet<i64> = bounces.iter().filter(|b| halves(b.0) > 0).map(|b| day(at(b.1))).collect();
            let due = standing.due(0, at(100));
            prop_assert_eq!(standing.state, State::Fine, "bounces of copies disable nobody by themselves");
            if counted.len() < 3 {
                prop_assert_eq!(due, None);
            }
            prop_assert!(standing.days <= counted.len() as i64);
            prop_assert!(standing.halves <= 4 * standing.days);
            if bounces.iter().all(|b| halves(b.0) == 0) {
                prop_assert_eq!(standing, Standing::new(START));
            }
        }
    }

    /// Only a probe that came back disables, and only a month of that removes: whatever is done in whatever order.
    #[test]
    fn nobody_leaves_without_probe_disabling_and_warnings(
        moves in proptest::collection::vec((0u8..4, class(), 0i64..4), 0..200),
    ) {
        let mut standing = Standing::new(START);
        let (mut now, mut probed, mut disabled_on, mut warned) = (0, false, None, 0);
        for (kind, class, pass) in moves {
            now += pass;
            match kind {
                0 => standing = standing.bounced(class, at(now), at(now)),
                1 => {
                    let next = standing.probe_bounced(class, at(now));
                    if next.state == State::Disabled && standing.state != State::Disabled {
                        prop_assert!(probed && halves(class) > 0);
                        disabled_on = Some(now);
                        warned = 0;
                    }
                    standing = next;
                }
                _ => match standing.due(i64::from(kind) * 3, at(now)) {
                    None => standing = standing.looked_at(at(now)),
                    Some(step) => {
                        match step {
                            Step::Probe => {
                                prop_assert!(standing.days >= LIMIT_DAYS && standing.halves >= LIMIT_HALVES);
                                probed = true;
                            }
                            Step::Warn(number) => {
                                prop_assert_eq!(number, warned);
                                warned += 1;
                            }
                            Step::Remove => {
                                prop_assert_eq!(warned, 3);
                                prop_assert!(disabled_on.is_some_and(|day| now - day >= REMOVE_DAY));
                            }
                            Step::Forgive => {}
                        }
                        if matches!(step, Step::Remove | Step::Forgive) {
                            probed = false;
                        }
                        standing = standing.after(step, at(now));
                    }
                },
            }
        }
    }

    /// A storm is found whatever the order, and what it covers is no accident of the order either.
    #[test]
    fn storms_do_not_depend_on_the_order(
        bounces in proptest::collection::vec((0usize..2, 0usize..2, 0usize..9, 0i64..9_000), 0..60).prop_shuffle(),
        members in 0usize..60,
    ) {
        let make = |(d, c, who, secs): &(usize, usize, usize, i64)| seen(["x.org", "y.org"][*d], ["5.1.1", "550"][*c], *who, *secs);
        let one: Vec<Seen> = bounces.iter().map(make).collect();
        let mut other = one.clone();
        other.reverse();
        let members: BTreeMap<String, usize> = [("x.org".to_owned(), members), ("y.org".to_owned(), 5)].into();
        prop_assert_eq!(find_storms(&one, &members), find_storms(&other, &members));
        for storm in find_storms(&one, &members) {
            prop_assert!(storm.recipients >= STORM_RECIPIENTS);
            prop_assert!(storm.recipients * STORM_SHARE >= members[&storm.domain]);
        }
    }
}
