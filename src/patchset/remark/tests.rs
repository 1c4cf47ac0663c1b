use super::find::{MAX_REMARKS, PatchLines, Remark, Said};
use super::follow::{Fate, Follower};
use super::place::{MAX_NOTE, MAX_NOTES};
use super::*;
use crate::types::MailId;

const PATCH: &str = "Fix it.\n---\ndiff --git a/a b/a\n--- a/a\n+++ b/a\n@@ -1,4 +1,5 @@\n one\n-two\n+TWO\n+three\n four\n\
    diff --git a/b b/b\n--- a/b\n+++ b/b\n@@ -1,2 +1,3 @@\n one\n+TWO\n two\n-- \n2.47.3\n";

fn find_in(patch: &str, reply: &str) -> Vec<Remark> {
    PatchLines::new(patch).find_remarks(reply, &Said::default())
}

/// What is said, and the line that it follows.
#[track_caller]
fn check(reply: &str, expected: &[(&str, Option<&str>)]) {
    let lines: Vec<&str> = PATCH.lines().collect();
    let found = find_in(PATCH, reply);
    let found: Vec<_> = found
        .iter()
        .map(|r| (r.text.as_str(), r.line.map(|at| lines[at])))
        .collect();
    assert_eq!(found, expected, "{reply}");
}

#[test]
fn a_remark_stands_below_the_line_that_it_follows() {
    check(
        "On Monday, Ana wrote:\n> -two\n> +TWO\n\nWhy?\n\n> +three\nNo.\n-- \nBen\n",
        &[("Why?", Some("+TWO")), ("No.", Some("+three"))],
    );
    check("Thanks.\n", &[("Thanks.", None)]);
    check("> Fix it.\nHow?\n", &[("How?", Some("Fix it."))]);
    check("> nothing of it\nHm.\n", &[("Hm.", None)]);
    // An answer to an answer is about the line that both are about.
    check("> > +three\n> No.\nYes.\n", &[("Yes.", Some("+three"))]);
    // Two remarks in one run, with an empty line between.
    check("> +three\na\n\nb\n", &[("a\n\nb", Some("+three"))]);
    // The signature of git is no line of the patch.
    check("> -- \n> 2.47.3\nNice.\n", &[("Nice.", None)]);
}

#[test]
fn what_says_nothing_about_the_patch_is_left_out() {
    // Gmail wraps the line that says who wrote; a greeting may stand above.
    check(
        "Hi Ana,\n\nOn Mon, Mar 18, 2024 at 10:11 AM Ana Lima\n<ana@example.org> wrote:\n>\n> +three\nNo.\n\nThanks,\nBen\n",
        &[("No.\n\nThanks,\nBen", Some("+three"))],
    );
    check(
        "Good work, some nits.\n\nAm 18.03.24 um 10:11 schrieb Ana Lima:\n> +three\nNo.\n> four\nThanks,\nBen\n",
        &[("Good work, some nits.", None), ("No.", Some("+three"))],
    );
    check(
        "One thing:\n> +three\nNo.\n",
        &[("One thing:", None), ("No.", Some("+three"))],
    );
    check(
        "> +three\nNo.\n\n/state changes-requested\n",
        &[("No.", Some("+three"))],
    );
    // A mail that is quoted whole, without marks.
    check(
        "No.\n\n________________________________\nFrom: Ana <ana@x.org>\n\n+three\n",
        &[("No.", None)],
    );
    check(
        "> +three\n[...]\n> +TWO\n\n<snip>\n\nNo.\n",
        &[("No.", Some("+TWO"))],
    );
    check(
        "> +three\nReviewed-by: Ben <ben@x.y>\nTested-by: Ben <ben@x.y>\n",
        &[],
    );
    check(
        "Applied.\n-----Original Message-----\nFrom: Ana\nSubject: x\n\nFix it.\n",
        &[("Applied.", None)],
    );
    check("> +three\nNo.\n--\nBen\n", &[("No.", Some("+three"))]);
}

#[test]
fn quotes_are_known_again_though_clients_changed_them() {
    // No blank behind the mark, blanks at the end, tabs as blanks.
    check(">+three  \nNo.\n", &[("No.", Some("+three"))]);
    check("> four\nNo.\n", &[("No.", Some(" four"))]);
    check(">> +three\nNo.\n", &[("No.", Some("+three"))]);
    let long =
        "+\tif (the_first_condition_of_many(argument) && the_second_condition(argument) && more) {";
    let patch = PATCH.replace("+three", long);
    let wanted = patch.lines().position(|l| l == long);
    for reply in [
        // Wrapped with and without a mark, twice, and flowed (RFC 3676).
        "> +       if (the_first_condition_of_many(argument) &&\n> the_second_condition(argument) && more) {\nNo.\n",
        "> +       if (the_first_condition_of_many(argument) &&\nthe_second_condition(argument) && more) {\n\nNo.\n",
        "> +       if (the_first_condition_of_many(argument) &&\nthe_second_condition(argument)\n&& more) {\nNo.\n",
        "> +\tif (the_first_condition_of_many(argument) && \n> the_second_condition(argument) && more) {\nNo.\n",
    ] {
        let found = find_in(&patch, reply);
        let one = Remark {
            text: "No.".to_owned(),
            line: wanted,
        };
        assert_eq!(found, [one], "{reply}");
    }
}

#[test]
fn a_lone_bracket_says_nothing_about_where_it_stands() {
    let patch = "diff --git a/a b/a\n@@ -1,9 +1,9 @@\n a()\n }\n b()\n }\n+c()\n }\n";
    let line = |reply: &str| find_in(patch, reply)[0].line;
    assert_eq!(line("> }\nx\n"), None);
    assert_eq!(line("> b()\n> }\nx\n"), Some(5));
    assert_eq!(
        line("> +c()\n> [...]\n> }\nx\n"),
        Some(6),
        "the nearest line that tells"
    );
}

#[test]
fn equal_lines_are_told_apart_by_what_stands_before_them() {
    let at = |reply: &str| find_in(PATCH, reply)[0].line;
    assert_eq!(at("> -two\n> +TWO\nx\n"), Some(8));
    assert_eq!(at(">  one\n> +TWO\nx\n"), Some(16));
    let found = find_in(PATCH, "> +three\na\n> +TWO\nb\n");
    assert_eq!(found[1].line, Some(16), "replies go down");
}

#[test]
fn an_answer_that_quotes_only_the_answer_is_about_the_same_line() {
    let lines = PatchLines::new(PATCH);
    let first = lines.find_remarks(
        "> +three\nShould this not be four?\nI think so.\n",
        &Said::default(),
    );
    let said = Said::new(&first);
    let second = lines.find_remarks("> I think so.\nIt should.\n", &said);
    assert_eq!(second[0].line, first[0].line);
    assert_eq!(second[0].line, Some(9));
    let other = lines.find_remarks("> Somebody else's words.\nIt should.\n", &said);
    assert_eq!(other[0].line, None);
}

#[test]
fn a_line_is_followed_into_the_next_version() {
    let at = |text: &str| PATCH.lines().position(|l| l == text).expect("a line of it");
    let check = |text: &str, new: &str, expected: Fate| {
        let found = Follower::new(PATCH, new).fate(at(text));
        assert_eq!(found, expected, "{text}\n{new}");
    };
    check("+three", PATCH, Fate::Unchanged(9));
    check(
        "+three",
        &PATCH.replace("+three", " three"),
        Fate::Unchanged(9),
    );
    check(
        "+three",
        &PATCH.replace("+three", "+drei"),
        Fate::Changed(8),
    );
    let without =
        "Fix it.\n---\ndiff --git a/b b/b\n--- a/b\n+++ b/b\n@@ -1,2 +1,3 @@\n one\n+TWO\n two\n";
    check("+three", without, Fate::Gone);
    check("-two", &PATCH.replace("-two\n", ""), Fate::Changed(6));
    check("Fix it.", PATCH, Fate::Unchanged(0));
    assert_eq!(Follower::new(PATCH, PATCH).fate(999), Fate::Gone);
}

#[test]
fn floods_of_equal_lines_are_taken_in_their_stride() {
    let patch = "+x\n".repeat(50_000);
    let reply = "> +x\ny\n".repeat(20_000);
    assert_eq!(find_in(&patch, &reply).len(), MAX_REMARKS);
    assert!(matches!(
        Follower::new(&patch, &patch).fate(40_000),
        Fate::Unchanged(_)
    ));
    let wrapped = format!("> {}\nrest\n", "long ".repeat(20)).repeat(10_000);
    assert_eq!(find_in(&patch, &wrapped).len(), MAX_REMARKS);
}

#[test]
fn a_patch_becomes_the_one_that_changes_the_same_or_is_called_the_same() {
    fn one(number: i64, total: i64, title: &str, line: u32) -> (i64, i64, String, String) {
        let diff = format!("diff --git a/a b/a\n--- a/a\n+++ b/a\n@@ -1 +1 @@\n-x\n+line {line}\n");
        (number, total, title.to_owned(), diff)
    }
    let check = |old: &[(i64, i64, String, String)],
                 new: &[(i64, i64, String, String)],
                 expected: &[Option<usize>]| {
        let side = |all: &'_ [(i64, i64, String, String)]| -> Vec<Pairable<'static>> {
            all.iter()
                .map(|(number, total, title, text)| Pairable {
                    number: *number,
                    total: *total,
                    title: String::leak(title.clone()),
                    text: String::leak(text.clone()),
                })
                .collect()
        };
        assert_eq!(pair(&side(old), &side(new)), expected, "{old:?} {new:?}");
    };
    // The same change under another title and number.
    check(
        &[one(1, 2, "a", 1)],
        &[one(1, 3, "x", 2), one(2, 3, "y", 1)],
        &[Some(1)],
    );
    // The same title, moved.
    check(
        &[one(1, 2, "a", 1)],
        &[one(1, 3, "x", 2), one(2, 3, "a", 3)],
        &[Some(1)],
    );
    // The same number of as many, under a new title.
    check(
        &[one(2, 2, "a", 1)],
        &[one(1, 2, "x", 2), one(2, 2, "b", 3)],
        &[Some(1)],
    );
    // Dropped: the number is now that of another.
    check(
        &[one(1, 2, "a", 1), one(2, 2, "b", 2)],
        &[one(1, 2, "b", 2), one(2, 2, "c", 3)],
        &[None, Some(0)],
    );
    check(&[one(3, 3, "a", 1)], &[one(1, 1, "b", 2)], &[None]);
    // Of two with one title neither is meant.
    check(
        &[one(1, 3, "a", 1)],
        &[one(1, 2, "a", 2), one(2, 2, "a", 3)],
        &[None],
    );
}

fn reply(mail: i64, target: i64, parent: i64, text: &str) -> Reply<'_> {
    Reply {
        mail: MailId(mail),
        target: MailId(target),
        parent: Some(MailId(parent)),
        text,
    }
}

/// Patch 2 of the second version, which was patch 1 in the first.
fn laid(second: &str, replies: &[Reply<'_>]) -> Vec<String> {
    let shown = [Shown {
        mail: MailId(2),
        text: second,
        earlier: vec![(MailId(1), PATCH)],
    }];
    let laid = place_remarks(&shown, replies);
    let notes = laid.notes.get(&MailId(2)).cloned().unwrap_or_default();
    let lines: Vec<&str> = second.lines().collect();
    let show = |place: &str, n: &Note| {
        let mark = n.mark.map_or(String::new(), |m| format!(" {m:?}"));
        format!("{place}: {}{}{mark}", "> ".repeat(n.depth as usize), n.text)
    };
    let at = notes
        .at
        .iter()
        .flat_map(|(at, all)| all.iter().map(|n| show(lines[*at], n)));
    let gone = notes
        .gone
        .iter()
        .map(|n| show(&format!("gone {}", n.about), n));
    let loose = notes.loose.iter().map(|n| show("loose", n));
    at.chain(gone).chain(loose).collect()
}

#[test]
fn remarks_on_the_version_before_are_shown_with_what_became_of_the_line() {
    let second = PATCH.replace("+three", "+drei").replace(
        "diff --git a/b b/b\n--- a/b\n+++ b/b\n@@ -1,2 +1,3 @@\n one\n+TWO\n two\n",
        "",
    );
    let first =
        "> -two\n> +TWO\nWhy?\n> +three\nNo.\n>  one\n> +TWO\n>  two\nSure?\n> no line\nGeneral.\n";
    let replies = [
        reply(10, 1, 1, first),
        reply(11, 1, 10, "> > +TWO\n> Why?\nBecause.\n"),
        reply(
            12,
            2,
            2,
            "> +TWO\nStill.\n> nowhere\nAnd so on.\n> not here\nMore of it.\n",
        ),
        reply(13, 99, 99, "> +TWO\nOn another patch.\n"),
    ];
    let expected = [
        "+TWO: Why? Unchanged",
        "+TWO: > Because. Unchanged",
        "+TWO: No. Changed",
        "+TWO: Still.",
        "gone  two: Sure? Gone",
        "loose: And so on.",
    ];
    assert_eq!(laid(&second, &replies), expected);
}

#[test]
fn answers_stand_behind_what_they_answer() {
    let replies = [
        reply(10, 2, 2, "> +TWO\nWhy?\n"),
        reply(11, 2, 2, "> +TWO\nMe too.\n"),
        reply(12, 2, 10, "> > +TWO\n> Why?\nBecause.\n"),
        reply(13, 2, 12, "> Because.\nOh.\n"),
    ];
    let expected = [
        "+TWO: Why?",
        "+TWO: > Because.",
        "+TWO: > > Oh.",
        "+TWO: Me too.",
    ];
    assert_eq!(laid(PATCH, &replies), expected);
}

#[test]
fn no_flood_of_remarks_makes_a_page_without_end() {
    let flood = format!("> +three\n{}\n", "é".repeat(9_000)).repeat(150);
    let replies: Vec<Reply<'_>> = (10..20).map(|mail| reply(mail, 2, 2, &flood)).collect();
    let shown = [Shown {
        mail: MailId(2),
        text: PATCH,
        earlier: Vec::new(),
    }];
    let found = place_remarks(&shown, &replies);
    let notes = &found.notes[&MailId(2)];
    assert!(found.more);
    assert_eq!(notes.at[&9].len(), MAX_NOTES);
    assert!(
        notes.at[&9]
            .iter()
            .all(|n| n.cut && n.text.len() <= MAX_NOTE.1)
    );
}

/// Each reply is read once, whatever many others quote of it.
#[test]
fn answers_that_quote_what_stands_nowhere_cost_no_more_than_their_length() {
    let long = format!("> +three\n{}", "said\tonce\n".repeat(19_000));
    let quotes = "> no line\nNo.\n".repeat(150) + "> said once\nSo it is.\n";
    let mut replies = vec![reply(10, 2, 2, &long)];
    replies.extend((11..510).map(|mail| reply(mail, 2, 10, &quotes)));
    let shown = [Shown {
        mail: MailId(2),
        text: PATCH,
        earlier: Vec::new(),
    }];
    let before = std::time::Instant::now();
    let notes = &place_remarks(&shown, &replies).notes[&MailId(2)];
    // Line by line it would be 1.4 billion comparisons.
    assert!(before.elapsed().as_secs() < 10, "{:?}", before.elapsed());
    let found = &notes.at[&9];
    assert!(found.len() > 1 && found[1].text == "So it is.");
}
