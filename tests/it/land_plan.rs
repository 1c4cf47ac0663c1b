//! Before a series lands: what its plan warns of, and what a person put aside in it.

use serde_json::json;

use super::authority::{self, ANA};
use super::harness::{Database, change, git, send_email};
use super::land::{COMMITTER, KIM, Story, by_git_am};

#[test]
fn a_patch_that_a_person_put_aside_keeps_its_series_from_landing() {
    let story = Story::begin(Database::Sqlite);
    story.send_two();
    let state = |word: &str| {
        let wish = ["series", "state", "1", word, "--patch", "2"];
        story.server.cli(&wish)
    };
    let apply = ["series", "apply", "1"];
    let dry = ["series", "apply", "1", "--dry-run"];
    let named = ["series", "apply", "1", "--version", "1", "--dry-run"];
    for word in [
        "rejected",
        "not-applicable",
        "awaiting-upstream",
        "deferred",
    ] {
        state(word);
        let part = format!(
            "patch 2 of v1 is {}, as a person said",
            word.replace('-', " ")
        );
        for wish in [&apply[..], &dry, &named] {
            let said = story.refused(wish);
            assert!(said.contains(&part), "{part} in {said}");
            let how = "`patchpost series state 1 auto --patch 2` takes that back";
            assert!(said.contains(how), "{said}");
        }
    }
    state("superseded");
    for wish in [&apply[..], &dry] {
        let said = story.refused(wish);
        assert!(said.contains("patch 2 of v1 is superseded"), "{said}");
        assert!(said.contains("say with --version"), "{said}");
    }
    story.server.cli(&named);
    for word in ["accepted", "under-review", "auto"] {
        state(word);
        let text = story.server.cli(&dry);
        assert!(text.contains("2/2 "), "{word}: {text}");
    }
}

#[test]
fn the_plan_says_what_is_not_authenticated_only_claimed_or_built_on_what_is_not_there() {
    let site = authority::story(&COMMITTER);
    let check = |patchset: &str, claims: Option<i64>, warnings: &[&str]| {
        let wish = ["series", "apply", patchset, "--dry-run"];
        let plan = site.server.json(&wish);
        assert_eq!(plan["warnings"], json!(warnings), "{plan:#}");
        assert_eq!(plan["claims"], json!(claims), "{plan:#}");
        let sure = !warnings.iter().any(|w| w.starts_with("not auth"));
        assert_eq!(plan["patches"][0]["authenticated"], sure, "{plan:#}");
        let text = site.server.cli(&wish);
        let shown: Vec<&str> = text
            .lines()
            .filter_map(|l| l.strip_prefix("  warning    "))
            .collect();
        assert_eq!(shown, warnings, "{text}");
    };
    check("1", None, &[]);
    let nobody = "not authenticated: nothing shows that ana@example.org wrote it";
    let forged = authority::patch("f9@x", ANA, "[PATCH v9] other", "p1@x", 25);
    site.send(forged.as_bytes());
    let claim = "only a claim: it says, without authority, that it is v9 of patchset 1";
    check("2", Some(1), &[nobody, claim]);
    let built = authority::patch("d1@x", ANA, "[PATCH] built on it", "", 25);
    let names = "Text.\n\nDepends-on: <p2@x>\nDepends-on: <nowhere@x>\n";
    site.send(&site.sign(&built.replace("Text.\n", names)));
    let missing = [
        "depends on patchset 1 v2, which has not landed",
        "depends on <nowhere@x>, which is not here",
    ];
    check("3", None, &missing);
    // What landed is no matter any more.
    let project = site.server.dir.path().join("project");
    git(&project, &["config", "receive.denyCurrentBranch", "ignore"]);
    site.server
        .cli(&["series", "apply", "1", "--branch", "main"]);
    check("3", None, &missing[1..]);
}

/// A message with lines that mboxes quote lands as `git am` has it.
#[test]
fn lines_that_an_mbox_quotes_land_as_they_are() {
    let story = Story::begin(Database::Sqlite);
    let message = "Change five\n\nFrom here\n>From there\n>>From elsewhere";
    change(&story.mine, "src/a.c", "line 5\n", "line five\n", message);
    send_email(&story.server, &story.mine, "dev@x.org", &["-1"]);
    story.server.drain();
    let expected = by_git_am(&story);
    let wish = ["series", "apply", "1", "--signoff", KIM, "--dry-run"];
    assert_eq!(story.server.json(&wish)["new"], expected.as_str());
}

#[test]
fn links_lead_to_the_address_listened_on() {
    let story = Story::begin(Database::Sqlite);
    story.send_two();
    let link = |name: &str, value: &str| {
        let mut command = story.server.command();
        command.args(["series", "mbox", "1", "--link"]);
        let out = command.env(name, value).output().unwrap();
        let text = String::from_utf8(out.stdout).unwrap();
        let line = text.lines().find(|l| l.starts_with("Link: "));
        line.unwrap_or_else(|| panic!("{text}")).to_owned()
    };
    for (name, value, start) in [
        (
            "PATCHPOST_HTTP_LISTEN",
            "127.0.0.1:48080",
            "http://127.0.0.1:48080/dev/",
        ),
        (
            "PATCHPOST_HTTP_LISTEN",
            "0.0.0.0:48081,[::1]:48082",
            "http://127.0.0.1:48081/dev/",
        ),
        (
            "PATCHPOST_HTTP_BASE_URL",
            "https://lists.example.org",
            "https://lists.example.org/dev/",
        ),
    ] {
        let line = link(name, value);
        assert!(line.starts_with(&format!("Link: {start}")), "{line}");
    }
}
