//! Which of the named series gives the base: made worlds, as tables.

use super::depend::{Choice, Dependencies, MAX_CHAIN, Patience, Target, named};
use super::recognise::{Recognised, recognise};
use crate::types::{MessageId, PatchsetId, RepoId, SeriesId, Timestamp};

/// Series by number; series 1 is the one that is asked about.
#[derive(Default)]
struct World(Dependencies);

impl World {
    /// A series of a patchset of the same number, and what it names.
    fn series(self, id: i64, outcome: &str, names: &[&str]) -> World {
        self.version(id, id, "1", outcome, names)
    }

    fn version(mut self, id: i64, set: i64, label: &str, outcome: &str, names: &[&str]) -> World {
        let target = Target {
            patchset: PatchsetId(set),
            label: label.to_owned(),
            newer: None,
            arrived: Timestamp(100 * id),
            complete: outcome != "incomplete",
            outcome: ["applied", "conflict", "elsewhere", "waits"]
                .contains(&outcome)
                .then(|| outcome.to_owned()),
            repo: Some(RepoId(1)),
            landed: outcome == "landed",
            due: outcome == "due",
        };
        self.0.targets.insert(SeriesId(id), target);
        let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
        if !names.is_empty() {
            self.0.names.insert(SeriesId(id), names);
        }
        // `2@` is a mail of series 2.
        self.hit(&format!("{id}@"), id, 0)
    }

    /// A name that leads to a patch of a series.
    fn hit(mut self, name: &str, series: i64, number: u32) -> World {
        let hits = self.0.hits.entry(name.to_owned()).or_default();
        hits.push((SeriesId(series), number));
        self
    }

    fn with(mut self, change: impl FnOnce(&mut Dependencies)) -> World {
        change(&mut self.0);
        self
    }

    #[track_caller]
    fn check(&self, expected: &str) {
        self.check_in(None, Patience::Waits, expected);
    }

    #[track_caller]
    fn check_in(&self, repo: Option<i64>, patience: Patience, expected: &str) {
        let choice = self.0.choose(SeriesId(1), repo.map(RepoId), patience);
        let words = match choice {
            Choice::Branch(why) if why.is_empty() => "branch".to_owned(),
            Choice::Branch(why) => format!("branch: {why}"),
            Choice::On {
                series,
                number,
                why,
            } => format!("{series}/{number}: {why}"),
            Choice::Wait(why) => why,
        };
        assert_eq!(words, expected);
    }
}

fn one(names: &[&str]) -> World {
    World::default().series(1, "", names)
}

#[test]
fn a_named_series_that_is_applied_is_the_base() {
    one(&[]).check("branch");
    one(&["2@"])
        .series(2, "applied", &[])
        .check("2/0: patchset 2 v1, which the series names");
    let all = one(&["2@", "3@"]).series(2, "applied", &[]);
    all.series(3, "applied", &["2@"])
        .check("3/0: patchset 3 v1, which the series names, the last of those that it names");
    // The one that is built on the other, in whatever order they are named.
    one(&["3@", "2@"])
        .series(2, "applied", &[])
        .series(3, "applied", &["2@"])
        .check("3/0: patchset 3 v1, which the series names, the last of those that it names");
}

#[test]
fn what_is_not_here_or_not_applied_is_waited_for() {
    one(&["x@y"]).check("waits for <x@y>, which is not here");
    one(&["x@y"])
        .with(|d| drop(d.hits.insert("x@y".to_owned(), vec![])))
        .check("waits for <x@y>, which is here but no part of a patchset");
    for (outcome, words) in [
        ("", "which is not applied yet"),
        ("incomplete", "of which not all patches are here"),
        ("conflict", "which does not apply itself"),
        ("waits", "which waits itself"),
    ] {
        let world = one(&["2@", "3@"])
            .series(2, outcome, &[])
            .series(3, "applied", &[]);
        world.check(&format!("waits for patchset 2 v1, {words}"));
        world.check_in(
            None,
            Patience::Over,
            "3/0: patchset 3 v1, which the series names",
        );
        let alone = one(&["2@"]).series(2, outcome, &[]);
        let expected = format!("branch: it depends on patchset 2 v1, {words}");
        alone.check_in(None, Patience::Over, &expected);
    }
    one(&["2@", "x@y", "z@y"])
        .series(2, "applied", &[])
        .check("waits for <x@y>, which is not here, and for <z@y>, which is not here");
}

#[test]
fn what_is_tried_soon_is_waited_for_however_old_the_series_is() {
    let world = one(&["2@"]).series(2, "due", &[]);
    let expected = "waits for patchset 2 v1, which is not applied yet";
    world.check(expected);
    world.check_in(None, Patience::Over, expected);
    // What is not here is not, then.
    let world = one(&["2@", "x@y"]).series(2, "due", &[]);
    world.check_in(None, Patience::Over, expected);
    // In a circle nobody waits.
    one(&["2@"])
        .series(2, "due", &["1@"])
        .check("branch: circular: patchset 2 v1 depends on it in turn");
}

#[test]
fn what_cannot_be_a_base_is_not_waited_for() {
    one(&["2@"])
        .series(2, "elsewhere", &[])
        .check("branch: it depends on patchset 2 v1, which is not for a repository here");
    one(&["2@"])
        .series(2, "landed", &[])
        .check("branch: it depends on patchset 2 v1, which came into the project");
    one(&["2@"]).series(2, "applied", &[]).check_in(
        Some(7),
        Patience::Waits,
        "branch: it depends on patchset 2 v1",
    );
    // An earlier version of the same change.
    World::default()
        .version(1, 1, "2", "", &["2@"])
        .version(2, 1, "1", "applied", &[])
        .check("branch");
}

#[test]
fn circles_are_applied_on_the_branch_whatever_is_applied_already() {
    for outcome in ["", "applied", "waits"] {
        one(&["2@"])
            .series(2, outcome, &["1@"])
            .check("branch: circular: patchset 2 v1 depends on it in turn");
        one(&["2@"])
            .series(2, outcome, &["3@"])
            .series(3, outcome, &["x@y", "1@"])
            .check("branch: circular: patchset 2 v1 depends on it in turn");
    }
    // A circle that it is not in.
    one(&["2@"])
        .series(2, "applied", &["3@"])
        .series(3, "applied", &["2@"])
        .check("2/0: patchset 2 v1, which the series names");
    one(&["2@"])
        .series(2, "applied", &[])
        .with(|d| d.cut = true)
        .check(&format!(
            "branch: what it depends on is a chain of more than {MAX_CHAIN} series"
        ));
}

/// Many series that name all before them: what each names is found once, not once for each path.
#[test]
fn a_thick_web_of_series_is_walked_once() {
    let name = |id: i64| format!("{id}@");
    let web = |circular: bool| {
        let mut world = World::default();
        for id in 1..=500 {
            let mut names: Vec<String> = (id + 1..=500).take(100).map(name).collect();
            names.extend((circular && id == 500).then(|| name(1)));
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            world = world.series(id, "applied", &names);
        }
        world
    };
    let before = std::time::Instant::now();
    web(false).check("2/0: patchset 2 v1, which the series names, the last of those that it names");
    web(true).check("branch: circular: patchset 2 v1 depends on it in turn");
    assert!(before.elapsed().as_secs() < 10, "{:?}", before.elapsed());
}

#[test]
fn of_several_in_a_circle_the_last_that_is_named_is_on_top() {
    let world = |names: &[&str]| {
        let world = one(names).series(2, "applied", &["4@"]);
        world.series(3, "applied", &["2@"])
    };
    let on = |n: i64| {
        format!("{n}/0: patchset {n} v1, which the series names, the last of those that it names")
    };
    let circle = |names: &[&str]| world(names).series(4, "applied", &["3@"]);
    circle(&["2@", "3@", "4@"]).check(&on(4));
    circle(&["4@", "3@", "2@"]).check(&on(2));
    // Beside one that none of them is built on: the last.
    let beside = |names: &[&str]| world(names).series(4, "applied", &[]);
    let apart = beside(&["3@", "5@", "2@", "4@"]).series(5, "applied", &[]);
    apart.check(&on(4));
    beside(&["4@", "2@", "3@"]).check(&on(3));
    beside(&["3@", "2@", "4@"]).check(&on(3));
}

#[test]
fn the_last_prerequisite_leads_to_the_patch_that_it_stands_on() {
    let world = || one(&["aa", "bb"]).series(2, "applied", &[]);
    world()
        .hit("aa", 2, 1)
        .hit("bb", 2, 2)
        .check("2/2: patch 2 of patchset 2 v1, which the series names by its patch id");
    // Two series on top of each other: the upper one.
    world()
        .series(3, "applied", &["2@"])
        .hit("aa", 2, 1)
        .hit("bb", 3, 1)
        .check("3/1: patch 1 of patchset 3 v1, which the series names by its patch id");
    world()
        .hit("aa", 2, 1)
        .check("waits for the patch with id bb, which is not here");
    one(&["aa", "bb"]).check("waits for 2 patches, which are not here (the last with id bb)");
}

#[test]
fn of_several_with_the_same_patches_the_purest_and_then_the_first_counts() {
    // Series 9 is asked about here. Whoever posts the same patches after somebody makes no base of them.
    let world = |hits: &[(&str, i64, u32)]| {
        let mut world = World::default();
        for id in [2, 3, 12] {
            world = world.series(id, "applied", &[]);
        }
        world = world.series(9, "", &["aa", "bb"]);
        for (name, series, number) in hits {
            world = world.hit(name, *series, *number);
        }
        world.0.choose(SeriesId(9), None, Patience::Waits)
    };
    #[track_caller]
    fn check(choice: Choice, expected: (i64, u32)) {
        let Choice::On { series, number, .. } = choice else {
            panic!("{choice:?}");
        };
        assert_eq!((series.0, number), expected);
    }
    let all = |series| [("aa", series, 1), ("bb", series, 2)];
    check(world(&[all(12), all(3), all(2)].concat()), (2, 2));
    check(world(&[all(3), all(12)].concat()), (3, 2));
    check(world(&all(12)), (12, 2));
    // A patch that is not named stands before them: somebody else's series.
    let more = [("aa", 3, 2), ("bb", 3, 3)];
    check(world(&[&all(2)[..], &more[..]].concat()), (2, 2));
    check(world(&more), (3, 3));
}

#[test]
fn names_come_in_order_and_never_lead_to_own_mails() {
    let read = |body: &str| -> Recognised {
        let text = format!("From: a@b.c\nMessage-ID: <own@x>\nSubject: [PATCH] x\n\n{body}\n");
        recognise(&crate::mail::parse(text.as_bytes()))
    };
    let id = "0123456789ABCDEF0123456789abcdef01234567";
    let cover = read(&format!("Depends-on: <two@x>\nprerequisite-patch-id: {id}"));
    let patch = read(
        "Based-on: https://lore.example.org/r/one@x/\nDepends-on: <other@x>\nDepends-on: <two@x>\n\
         Depends-on: http://x.org/dev/patches/12/v2\nDepends-on: https://x.org/dev/patches/12/v2/#m1",
    );
    let own = ["own@x", "other@x"].map(|id| MessageId::parse(id).expect("an id"));
    let names = named(&own, [&cover, &patch].into_iter());
    let page = "https://x.org/dev/patches/12/v2/";
    assert_eq!(names, ["two@x", "one@x", page, &id.to_lowercase()]);
}

#[test]
fn a_page_on_which_nothing_is_here_is_waited_for() {
    let page = "https://x.org/dev/patches/12/v2/";
    one(&[page]).check(&format!("waits for <{page}>, which is not here"));
}
