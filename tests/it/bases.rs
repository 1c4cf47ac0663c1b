//! On what a series is applied that names others, in whatever order they come; and whether it applies at the tip.

use serde_json::Value;

use super::harness::{Database, change, git, on_both, send_email};

mod pages;
mod routing;
mod site;

use site::{LIST, Site, assert_says, named, path, text};

on_both! {
    a_series_is_applied_on_the_one_that_it_depends_on,
    a_late_dependency_is_waited_for,
    a_dependency_that_was_rerolled_is_the_version_that_was_named,
    series_that_depend_on_each_other_are_applied_on_the_branch,
    prerequisites_of_format_patch_are_found_by_what_they_change,
    a_commit_that_was_fetched_from_here_is_a_base,
    a_chain_that_comes_in_reverse_is_applied_in_order,
    every_order_gives_the_same,
    a_cover_letter_that_comes_last_may_name_the_base,
    what_was_published_stays_where_it_is,
    a_private_dependency_is_not_known_in_public,
    a_series_that_conflicts_at_the_new_tip_says_so,
    a_base_that_comes_by_a_fetch_is_found,
    what_stood_on_a_purged_series_stands_without_it,
    an_archive_that_comes_at_once_is_applied_in_its_order,
}

fn a_series_is_applied_on_the_one_that_it_depends_on(database: Database) {
    let site = Site::new(database);
    let first = site.patch("line 5", "line five", "First");
    let second = site.patch("line five", "line V", "Second");
    site.send(&named("first@x", &first, ""));
    site.send(&named("second@x", &second, "Depends-on: <first@x>\n"));
    let (first, second) = (site.series("First", "1"), site.series("Second", "1"));
    assert_eq!(site.commits(&first)[1], site.tip());
    site.assert_on(&second, &first);
    let page = site.page(&second);
    assert_says(
        &page,
        &format!(
            "It depends on patchset {} v1. It is applied on top of that.",
            first["patchset"]
        ),
    );
    // On the tip, which lacks the first one, it does not fit.
    assert_eq!(second["tip"]["applies"], false, "{second:#}");
    assert_eq!(second["applies"], true);
    // The page leads there, and the base is named by what it is.
    assert!(
        page.contains(&format!("href=\"/dev/patches/{}/v1/\"", first["patchset"])),
        "{page}"
    );
    assert!(
        page.contains(&format!("tool patchset {} v1@", first["patchset"])),
        "{page}"
    );
}

fn a_late_dependency_is_waited_for(database: Database) {
    let site = Site::new(database);
    let first = site.patch("line 5", "line five", "First");
    site.back();
    // It fits on the branch as well: what counts is what it names.
    let second = site.patch("line 30", "line thirty", "Second");
    site.send(&named("second@x", &second, "Based-on: <first@x>\n"));
    let one = site.series("Second", "1");
    assert!(one["ref"].is_null() && one["applies"].is_null(), "{one:#}");
    assert_eq!(one["detail"], "waits for <first@x>, which is not here");
    assert_eq!(one["tip"]["applies"], true);
    let page = site.page(&one);
    assert_says(&page, "It waits for <first@x>, which is not here.");
    assert_says(&page, "At the tip, tool main@");
    let (_, why) = page.split_once("why this base</summary>").unwrap();
    let (why, _) = why.split_once("</details>").unwrap();
    assert_says(
        why,
        "No base is chosen yet: it waits for <first@x>, which is not here.",
    );
    assert!(
        site.server
            .page("/dev/patches/?applies=waits")
            .contains("Second")
    );
    site.send(&named("first@x", &first, ""));
    site.assert_on(&site.series("Second", "1"), &site.series("First", "1"));
    assert!(!site.page(&one).contains("waits for"));
}

fn a_dependency_that_was_rerolled_is_the_version_that_was_named(database: Database) {
    let site = Site::new(database);
    let first = site.patch("line 5", "line five", "First");
    let second = site.patch("line 30", "line thirty", "Second");
    site.back();
    let again = site
        .patch("line 5", "line Five", "First")
        .replace("[PATCH]", "[PATCH v2]");
    let again = named("first2@x", &again, "").replacen("To:", "In-Reply-To: <first@x>\nTo:", 1);
    site.send(&named(
        "second@x",
        &second,
        "Depends-on: https://lore.example.org/all/first@x/\n",
    ));
    site.send(&again);
    let one = site.series("Second", "1");
    assert!(
        one["ref"].is_null(),
        "the version that it names is not here: {one:#}"
    );
    site.send(&named("first@x", &first, ""));
    let (one, first) = (site.series("Second", "1"), site.series("First", "1"));
    assert_eq!(site.series("First", "2")["patchset"], first["patchset"]);
    site.assert_on(&one, &first);
    let words = format!(
        "It depends on patchset {} v1; v2 is there. It is applied on top of that.",
        first["patchset"]
    );
    assert_says(&site.page(&one), &words);
}

fn series_that_depend_on_each_other_are_applied_on_the_branch(database: Database) {
    for order in [[0, 1], [1, 0]] {
        let site = Site::new(database);
        let first = site.patch("line 5", "line five", "First");
        site.back();
        let second = site.patch("line 30", "line thirty", "Second");
        let mails = [
            named("first@x", &first, "Depends-on: <second@x>\n"),
            named("second@x", &second, "Depends-on: <first@x>\n"),
        ];
        order.iter().for_each(|at| site.send(&mails[*at]));
        for (title, other) in [("First", "Second"), ("Second", "First")] {
            let one = site.series(title, "1");
            assert_eq!(one["base"], site.tip().as_str(), "{one:#}");
            let other = &site.series(other, "1")["patchset"];
            let words = format!(
                "Circular: it depends on patchset {other} v1, which depends on it in turn."
            );
            assert_says(&site.page(&one), &words);
        }
    }
}

fn prerequisites_of_format_patch_are_found_by_what_they_change(database: Database) {
    let site = Site::new(database);
    let (server, mine) = (&site.server, &site.mine);
    change(mine, "src/a.c", "line 5\n", "line five\n", "First");
    change(mine, "src/a.c", "line five\n", "line V\n", "Second");
    change(mine, "src/a.c", "line V\n", "line 5.0\n", "Third");
    git(
        mine,
        &[
            "format-patch",
            "-q",
            "-1",
            "--base=origin/main",
            "-o",
            "out",
        ],
    );
    let third = std::fs::read_to_string(mine.join("out/0001-Third.patch")).unwrap();
    assert_eq!(
        third.matches("prerequisite-patch-id: ").count(),
        2,
        "{third}"
    );
    assert!(third.contains(&format!("base-commit: {}", site.tip())));
    send_email(server, mine, LIST, &["out/0001-Third.patch"]);
    server.drain();
    let one = site.series("Third", "1");
    assert_eq!(one["applies"], Value::Null, "it fits nowhere yet: {one:#}");
    assert_says(
        &site.page(&one),
        "It waits for 2 patches, which are not here",
    );
    git(
        mine,
        &[
            "format-patch",
            "-q",
            "-2",
            "HEAD~1",
            "--cover-letter",
            "-o",
            "below",
        ],
    );
    let cover = mine.join("below/0000-cover-letter.patch");
    let text = std::fs::read_to_string(&cover).unwrap();
    std::fs::write(&cover, text.replace("*** SUBJECT HERE ***", "Both")).unwrap();
    send_email(server, mine, LIST, &["below"]);
    server.drain();
    let both = site.series("Both", "1");
    site.assert_on(&site.series("Third", "1"), &both);
    // One that was made on the first of the two stands on that.
    git(mine, &["reset", "-q", "--hard", "HEAD~2"]);
    change(mine, "src/a.c", "line 30\n", "line thirty\n", "Aside");
    let base = [
        "format-patch",
        "-q",
        "-1",
        "--base=origin/main",
        "-o",
        "aside",
    ];
    git(mine, &base);
    send_email(server, mine, LIST, &["aside/0001-Aside.patch"]);
    server.drain();
    let aside = site.series("Aside", "1");
    assert_eq!(aside["base"], site.commits(&both)[1].as_str(), "{aside:#}");
    let words = format!(
        "patch 1 of patchset {} v1, which the series names by its patch id",
        both["patchset"]
    );
    assert_says(&site.page(&aside), &words);
}

fn a_commit_that_was_fetched_from_here_is_a_base(database: Database) {
    let site = Site::new(database);
    let first = site.patch("line 5", "line five", "First");
    site.send(&named("first@x", &first, ""));
    let first = site.series("First", "1");
    let url = format!("{}/tool.patches.git", site.server.base());
    git(
        &site.mine,
        &["fetch", "-q", "--no-tags", &url, text(&first["ref"])],
    );
    git(&site.mine, &["reset", "-q", "--hard", "FETCH_HEAD"]);
    change(&site.mine, "src/a.c", "line five\n", "line V\n", "Second");
    let mail = git(
        &site.mine,
        &["format-patch", "-1", "--stdout", "--base=HEAD~1"],
    );
    site.send(&named("second@x", mail.split_once('\n').unwrap().1, ""));
    site.assert_on(&site.series("Second", "1"), &first);
}

fn a_chain_that_comes_in_reverse_is_applied_in_order(database: Database) {
    let site = Site::new(database);
    let mut mails = Vec::new();
    for n in 1..=5 {
        let (from, to) = (format!("line {n}"), format!("line {n} of the chain"));
        let mail = site.patch(&from, &to, &format!("Link {n}"));
        let on = format!("Depends-on: <l{}@x>\n", n - 1);
        mails.push(named(
            &format!("l{n}@x"),
            &mail,
            if n == 1 { "" } else { &on },
        ));
    }
    mails.iter().rev().for_each(|mail| site.send(mail));
    for n in 2..=5 {
        let (one, below) = (format!("Link {n}"), format!("Link {}", n - 1));
        site.assert_on(&site.series(&one, "1"), &site.series(&below, "1"));
    }
}

/// A chain of three, and one that names its first and its second.
fn every_order_gives_the_same(database: Database) {
    let site = Site::new(database);
    let orders = [
        [0, 1, 2, 3],
        [3, 2, 1, 0],
        [1, 3, 0, 2],
        [2, 0, 3, 1],
        [3, 0, 2, 1],
    ];
    let mut trees = Vec::new();
    for (n, order) in orders.iter().enumerate() {
        site.back();
        let names = [vec![], vec![0], vec![1], vec![0, 1]];
        let mut mails = Vec::new();
        for (at, named_ones) in names.iter().enumerate() {
            if at == 3 {
                git(&site.mine, &["reset", "-q", "--hard", "HEAD~1"]);
            }
            let (from, to) = (format!("line {}", at + 5), format!("line {at} new"));
            let mail = site.patch(&from, &to, &format!("Change {at} of {n}"));
            let line = |m: &usize| format!("Depends-on: <m{m}-{n}@x>\n");
            let lines: String = named_ones.iter().map(line).collect();
            mails.push(named(&format!("m{at}-{n}@x"), &mail, &lines));
        }
        order.iter().for_each(|at| site.send(&mails[*at]));
        let all: Vec<Value> = (0..4)
            .map(|at| site.series(&format!("Change {at} of {n}"), "1"))
            .collect();
        for (upper, lower) in [(1, 0), (2, 1), (3, 1)] {
            site.assert_on(&all[upper], &all[lower]);
        }
        let companion = site.server.data().join("repos/tool.patches.git");
        let tree = |one: &Value| {
            git(
                &companion,
                &["rev-parse", &format!("{}^{{tree}}", text(&one["ref"]))],
            )
        };
        trees.push(all.iter().map(tree).collect::<Vec<_>>());
    }
    assert!(trees.iter().all(|t| *t == trees[0]), "{trees:#?}");
}

fn a_cover_letter_that_comes_last_may_name_the_base(database: Database) {
    let site = Site::new(database);
    let first = site.patch("line 5", "line five", "First");
    let second = site
        .patch("line five", "line V", "Second")
        .replace("[PATCH]", "[PATCH 1/1]");
    site.send(&named("first@x", &first, ""));
    let answer = named("second@x", &second, "").replacen("To:", "In-Reply-To: <cover@x>\nTo:", 1);
    site.send(&answer);
    let one = site.series("Second", "1");
    assert_eq!(one["applies"], false, "{one:#}");
    let cover = "From: Ana Lima <ana@example.org>\nMessage-ID: <cover@x>\nTo: dev@x.org\nSubject: [PATCH 0/1] Cover\n\
         Date: Tue, 14 Nov 2023 22:13:20 +0000\n\nWords.\n\nDepends-on: <first@x>\n\n 1 file changed, 1 insertion(+)\n";
    site.send(cover);
    site.assert_on(&site.series("Cover", "1"), &site.series("First", "1"));
}

fn what_was_published_stays_where_it_is(database: Database) {
    let site = Site::new(database);
    let first = site.patch("line 5", "line five", "First");
    site.back();
    let second = site.patch("line 30", "line thirty", "Second");
    // It arrived long ago, and what it names did not come in time.
    let old = named("second@x", &second, "Depends-on: <first@x>\n");
    let mbox = site.server.dir.path().join("old.mbox");
    let received = "Received: from a by b; Tue, 14 Nov 2023 22:13:20 +0000\n";
    std::fs::write(
        &mbox,
        format!("From ana@example.org Tue Nov 14 22:13:20 2023\n{received}{old}\n"),
    )
    .unwrap();
    site.server
        .cli(&["import", "dev", &path(&mbox), "--format", "mbox"]);
    site.server.drain();
    let before = site.series("Second", "1");
    assert_eq!(before["base"], site.tip().as_str(), "{before:#}");
    let commits = site.commits(&before);
    assert_says(
        &site.page(&before),
        "It depends on <first@x>, which is not here.",
    );
    site.send(&named("first@x", &first, ""));
    let after = site.series("Second", "1");
    assert_eq!(site.commits(&after), commits);
    assert_eq!(after["base"], before["base"]);
    let number = &site.series("First", "1")["patchset"];
    let words = format!(
        "It depends on patchset {number} v1. It was applied on another base before; what is published does not move."
    );
    assert_says(&site.page(&after), &words);
}

fn a_private_dependency_is_not_known_in_public(database: Database) {
    let site = Site::new(database);
    site.server.cli(&[
        "list",
        "create",
        "inner",
        "--address",
        "inner@x.org",
        "--repo",
        "tool",
        "--private",
    ]);
    let first = site.patch("line 5", "line five", "First");
    let second = site.patch("line five", "line V", "Second");
    let inner = named("first@x", &first, "");
    assert!(
        site.server
            .send(&["inner@x.org"], inner.as_bytes())
            .starts_with("250")
    );
    site.server.drain();
    site.send(&named("second@x", &second, "Depends-on: <first@x>\n"));
    let one = site.series("Second", "1");
    assert_eq!(one["detail"], "waits for <first@x>, which is not here");
    assert_says(
        &site.page(&one),
        "It waits for <first@x>, which is not here.",
    );
    // Within the list it is a base, in a companion that is never served.
    let third = named("third@x", &second, "Depends-on: <first@x>\n").replace("Second", "Third");
    assert!(
        site.server
            .send(&["inner@x.org"], third.as_bytes())
            .starts_with("250")
    );
    site.server.drain();
    let third = site.series("Third", "1");
    assert_eq!(third["applies"], true, "{third:#}");
    let companion = site.server.data().join("repos/tool.patches.git");
    assert_eq!(git(&companion, &["for-each-ref", "refs/patches"]), "");
}

fn a_series_that_conflicts_at_the_new_tip_says_so(database: Database) {
    let site = Site::new(database);
    let first = site.patch("line 5", "line five", "First");
    site.back();
    let second = site.patch("line 30", "line thirty", "Second");
    site.send(&named("first@x", &first, ""));
    site.send(&named("second@x", &second, ""));
    let before = site.series("First", "1");
    assert_eq!(before["tip"]["applies"], true, "{before:#}");
    assert!(site.page(&before).contains("</code>, the tip"));
    let commits = site.commits(&before);
    change(
        &site.work,
        "src/a.c",
        "line 5\n",
        "line FIVE\n",
        "Something else",
    );
    site.fetch();
    let after = site.series("First", "1");
    assert_eq!(after["tip"]["commit"], site.tip().as_str());
    assert_eq!(after["tip"]["applies"], false, "{after:#}");
    assert_eq!(
        (&after["tip"]["file"], &after["tip"]["patch"]),
        (&"src/a.c".into(), &1.into())
    );
    // What is known of its own base is as it was, and nothing was published.
    assert_eq!(
        (&after["applies"], &after["base"]),
        (&true.into(), &before["base"])
    );
    assert_eq!(site.commits(&after), commits);
    let short = &site.tip()[..12];
    let words = format!(
        "At the tip, tool main@{short}: conflicts in src/a.c (patch 1, hunk 1): made for line 2, finds other text there; nor does it \
         merge: around line 5 the same lines"
    );
    assert_says(&site.page(&after), &words);
    // Wherever it is listed, too; and what applies still is what is found by that word.
    let listed = |what: &str| site.server.page(&format!("/dev/patches/?applies={what}"));
    for page in [
        site.page(&after),
        site.server.page("/dev/"),
        listed(""),
        listed("tip"),
    ] {
        assert!(page.contains("conflicts at the tip</span>"), "{page}");
    }
    let number = after["patchset"].to_string();
    let shown = site.server.cli(&["series", "show", &number]);
    let commit = &text(&after["base"])[..12];
    for words in [
        format!("v1: applies on {commit}\n"),
        format!("at the tip, {short}: does not apply in src/a.c (patch 1, hunk 1): "),
        "  one series: ".to_owned(),
        "  1  [PATCH] First <first@x>\n".to_owned(),
    ] {
        assert!(shown.contains(&words), "{words}: {shown}");
    }
    assert!(listed("tip").contains("First") && !listed("tip").contains("Second"));
    assert!(listed("applied").contains("Second") && !listed("applied").contains("First"));
    let second = site.series("Second", "1");
    assert_eq!(second["tip"]["applies"], true, "{second:#}");
    assert_says(
        &site.page(&second),
        &format!("At the tip, tool main@{short}: applies."),
    );
    // A branch that goes back is looked at as it is then.
    git(&site.work, &["reset", "-q", "--hard", "HEAD~1"]);
    site.fetch();
    assert!(site.page(&after).contains("</code>, the tip"));
    assert!(!site.server.page("/dev/").contains("conflicts at the tip"));
}

fn a_base_that_comes_by_a_fetch_is_found(database: Database) {
    let site = Site::new(database);
    change(
        &site.mine,
        "src/a.c",
        "line 5\n",
        "line five\n",
        "Not here yet",
    );
    change(&site.mine, "src/a.c", "line five\n", "line V\n", "On it");
    let mail = git(
        &site.mine,
        &["format-patch", "-1", "--stdout", "--base=HEAD~1"],
    );
    site.send(&named("on@x", mail.split_once('\n').unwrap().1, ""));
    let one = site.series("On it", "1");
    assert_eq!(one["applies"], false, "{one:#}");
    // It comes on a branch that nobody follows.
    git(
        &site.mine,
        &["push", "-q", "origin", "HEAD~1:refs/heads/side"],
    );
    site.fetch();
    let one = site.series("On it", "1");
    assert_eq!(one["applies"], true, "{one:#}");
    assert_eq!(
        one["base"],
        git(&site.mine, &["rev-parse", "HEAD~1"]).as_str()
    );
}

fn what_stood_on_a_purged_series_stands_without_it(database: Database) {
    let site = Site::new(database);
    site.server.cli(&[
        "list",
        "create",
        "ops",
        "--address",
        "ops@x.org",
        "--repo",
        "tool",
    ]);
    let first = named("first@x", &site.patch("line 5", "line five", "First"), "");
    let second = site.patch("line 30", "line thirty", "Second");
    assert!(
        site.server
            .send(&["ops@x.org"], first.as_bytes())
            .starts_with("250")
    );
    site.server.drain();
    site.send(&named("second@x", &second, "Depends-on: <first@x>\n"));
    let third = site.patch("line 20", "line twenty", "Third");
    site.send(&named("third@x", &third, "Depends-on: <second@x>\n"));
    site.assert_on(&site.series("Second", "1"), &site.series("First", "1"));
    site.assert_on(&site.series("Third", "1"), &site.series("Second", "1"));
    let gone = site.commits(&site.series("First", "1"))[0].clone();
    site.server.cli(&["list", "rm", "ops", "--purge"]);
    site.server.drain();
    let companion = site.server.data().join("repos/tool.patches.git");
    let objects = git(
        &companion,
        &["cat-file", "--batch-all-objects", "--batch-check"],
    );
    assert!(!objects.contains(&gone), "a purged commit is left");
    let second = site.series("Second", "1");
    assert_eq!(second["detail"], "waits for <first@x>, which is not here");
    assert!(site.series("Third", "1")["ref"].is_null());
}

/// Nobody waits a day for what an old mail names; what the same import brought is waited for all the same.
fn an_archive_that_comes_at_once_is_applied_in_its_order(database: Database) {
    let site = Site::new(database);
    let first = site.patch("line 5", "line five", "First");
    site.back();
    let second = site.patch("line 30", "line thirty", "Second");
    site.back();
    let third = site.patch("line 35", "line 035", "Third");
    let mails = [
        named("third@x", &third, "Depends-on: <never@x>\n"),
        named("second@x", &second, "Depends-on: <first@x>\n"),
        named("first@x", &first, ""),
    ];
    let old = |mail: &String| -> String {
        let lines = mail.lines().map(|line| match line.starts_with("Date: ") {
            true => "Date: Mon, 3 Mar 2025 10:00:00 +0000\n".to_owned(),
            false => format!("{line}\n"),
        });
        format!(
            "From x@y Mon Mar  3 10:00:00 2025\n{}\n",
            lines.collect::<String>()
        )
    };
    let mbox = site.server.dir.path().join("old.mbox");
    std::fs::write(&mbox, mails.iter().map(old).collect::<String>()).unwrap();
    let import = ["import", "dev", &path(&mbox), "--format", "mbox"];
    site.server.cli(&import);
    site.server.drain();
    site.assert_on(&site.series("Second", "1"), &site.series("First", "1"));
    let third = site.series("Third", "1");
    assert_eq!(third["base"], site.tip().as_str(), "{third:#}");
}
