//! The corpus of b4: what `series mbox` writes is what `b4 am` writes, byte for byte; covers and trailers are found as it finds them.

use std::path::{Path, PathBuf};

use patchpost::patchset::parse_trailers;

use super::harness::{TestServer, corpus, report};

const OWN: &str = "--signoff=Test Override <test-override@example.com>";
const MASK: &str = "--link=https://patch.msgid.link/%s";

/// (mailbox, reference, options): both without `trailers-followup-` and their endings.
const FOLDED: [(&str, &str, &[&str]); 24] = [
    ("single", "single-ref-defaults", &[]),
    ("single", "single-ref-noadd", &["--no-trailers"]),
    ("single", "single-ref-addmysob", &[OWN]),
    ("single", "single-ref-copyccs", &[OWN, "--copy-cc"]),
    ("single", "single-ref-addlink", &[OWN, MASK]),
    ("single", "single-ref-addmsgid", &[OWN, "--message-id"]),
    (
        "single",
        "single-ref-ordered",
        &[OWN, "--copy-cc", "--order=Cc,Tested*,Reviewed*,*"],
    ),
    ("single", "single-ref-sloppy", &[OWN, "--sloppy"]),
    ("with-cover", "with-cover-ref-defaults", &[OWN]),
    ("with-cover", "with-cover-ref-addlink", &[OWN, MASK]),
    ("custody", "custody-ref-unordered", &[OWN, "--copy-cc"]),
    (
        "custody",
        "custody-ref-ordered",
        &[
            OWN,
            "--copy-cc",
            "--order=Cc,Fixes*,Link*,Suggested*,Reviewed*,Tested*,*",
        ],
    ),
    (
        "custody",
        "custody-ref-with-ignored",
        &[OWN, "--copy-cc", "--ignore=followup-reviewer1@example.com"],
    ),
    ("partial-reroll", "partial-reroll-ref-defaults", &[OWN]),
    ("nore", "nore-ref-defaults", &[]),
    ("non-git-patch", "non-git-patch-ref-defaults", &[]),
    (
        "non-git-patch-with-comments",
        "non-git-patch-with-comments-ref-defaults",
        &[],
    ),
    ("with-diffstat", "with-diffstat-ref-defaults", &[]),
    ("name-parens", "name-parens-ref-defaults", &[]),
    ("bare-address", "bare-address-ref-defaults", &[]),
    ("stripped-lines", "stripped-lines-ref-defaults", &[]),
    ("htmljunk", "htmljunk-ref-defaults", &[]),
    // In any number of runs the same.
    ("single", "single-ref-defaults", &["--version=1"]),
    (
        "partial-reroll",
        "partial-reroll-ref-defaults",
        &[OWN, "--version=3-r1"],
    ),
];

fn samples() -> Option<PathBuf> {
    let found = corpus().map(|c| c.join("b4/samples"));
    if found.is_none() {
        println!("the corpus is not here; the tables beside the code stand in");
    }
    found
}

/// Imports a mailbox into a list, and so a realm, of its own; its newest patchset.
fn import(server: &TestServer, list: &str, mbox: &Path) -> serde_json::Value {
    server.cli(&["list", "create", list, "--private"]);
    let path = mbox.display().to_string();
    server.cli(&["import", list, &path, "--format", "mbox"]);
    server.drain();
    let all = server.json(&["series", "ls", list]);
    let number = all[0]["patchset"]
        .as_i64()
        .unwrap_or_else(|| panic!("{path}: no series"));
    let shown = server.json(&["series", "show", &number.to_string()]);
    shown.as_array().unwrap().last().unwrap().clone()
}

#[test]
fn exported_patches_carry_trailers_byte_for_byte_as_b4_folds_them() {
    let Some(samples) = samples() else { return };
    let server = TestServer::start();
    let mut numbers = std::collections::HashMap::new();
    let mut wrong = Vec::new();
    for (mbox, reference, options) in FOLDED {
        let number = numbers.entry(mbox).or_insert_with(|| {
            let file = samples.join(format!("trailers-followup-{mbox}.mbox"));
            import(
                &server,
                &format!(
                    "l{}",
                    mbox.replace("with-", "w").replace("non-git-patch", "n")
                ),
                &file,
            )["patchset"]
                .to_string()
        });
        let mut arguments = vec!["series", "mbox", number.as_str()];
        arguments.extend(options);
        let got = server.cli(&arguments);
        let file = samples.join(format!("trailers-followup-{reference}.txt"));
        let wanted = std::fs::read_to_string(file).unwrap();
        if got != wanted {
            wrong.push(format!(
                "== {reference} {options:?}\nexpected\n{wanted}\ngot\n{got}\n"
            ));
        }
    }
    let right = FOLDED.len() - wrong.len();
    report(&format!(
        "b4, folded trailers: {right}/{} byte-equal",
        FOLDED.len()
    ));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What each patch was given: `number: Name value (claim)`.
fn given(series: &serde_json::Value) -> Vec<String> {
    let mut out = Vec::new();
    for patch in series["patches"].as_array().unwrap() {
        for t in patch["trailers"].as_array().unwrap() {
            if t["message_id"].is_null() {
                continue;
            }
            let claim = if t["matches"] == true { "" } else { " (claim)" };
            let (name, value) = (t["name"].as_str().unwrap(), t["value"].as_str().unwrap());
            out.push(format!("{}: {name}: {value}{claim}", patch["number"]));
        }
    }
    out
}

#[test]
fn replies_give_trailers_to_the_patch_or_to_all_and_strangers_only_claim() {
    let Some(samples) = samples() else { return };
    let server = TestServer::start();
    let check = |list: &str, file: &str, expected: &[&str]| {
        let series = import(&server, list, &samples.join(file));
        assert_eq!(given(&series), expected, "{file}");
        series
    };
    // The page says it, too: lists of their own are shown to nobody, so this one is public.
    server.cli(&["list", "create", "open"]);
    let file = samples.join("trailers-followup-with-cover.mbox");
    server.cli(&["import", "open", &file.display().to_string()]);
    server.drain();
    let number = &server.json(&["series", "ls", "open"])[0]["patchset"];
    let page = server.page(&format!("/open/patches/{number}/"));
    for words in [
        "1 ack<",
        "Reviewed-by <bdi>Followup Reviewer1</bdi></a> (patch 2)",
        "Reviewed-by <bdi>Coverletter Reviewer1</bdi></a> (all patches)",
    ] {
        assert!(page.contains(words), "{words}: {page}");
    }
    // Everything restated is in the patch already.
    check(
        "present",
        "trailers-followup-already-present.mbox",
        &["1: Tested-by: Someone Else <someone-else@example.com> (claim)"],
    );
    let one = check("one", "trailers-thread-with-followups.mbox", &ONE_REPLY);
    assert_eq!((&one["total"], &one["complete"]), (&4.into(), &true.into()));
    check(
        "cover",
        "trailers-thread-with-cover-followup.mbox",
        &COVER_REPLY,
    );
}

const ONE_REPLY: [&str; 1] = ["4: Reviewed-by: Follow Upper <follow.upper@example.org>"];
const COVER_REPLY: [&str; 7] = [
    "1: Reviewed-by: Cover Upper <cover.upper@example.org>",
    "2: Reviewed-by: Cover Upper <cover.upper@example.org>",
    "3: Reviewed-by: Cover Upper <cover.upper@example.org>",
    "4: Tested-by: Follow Upper <follow.upper@example.org>",
    "4: Link: https://example.org",
    "4: Closes: https://example.org/bug/1234",
    "4: Reviewed-by: Cover Upper <cover.upper@example.org>",
];

#[test]
fn covers_without_a_tag_are_found_as_b4_finds_them() {
    let Some(samples) = samples() else { return };
    let server = TestServer::start();
    let single = import(&server, "single", &samples.join("naked-cover-single.mbox"));
    assert!(single["cover"].is_string(), "{single}");
    assert_eq!(single["title"], "do a thing to the widget subsystem");
    let bug = import(&server, "bug", &samples.join("naked-cover-bugreport.mbox"));
    assert!(bug["cover"].is_null(), "{bug}");
    let shazam = import(
        &server,
        "git1",
        &samples.join("shazam-git1-just-series.mbox"),
    );
    assert_eq!(
        (&shazam["total"], &shazam["complete"]),
        (&4.into(), &true.into())
    );
    assert!(shazam["cover"].is_string(), "{shazam}");
    // Patches that carry the link already get no second one.
    let linked = import(&server, "git2", &samples.join("shazam-git1-with-link.mbox"));
    let number = linked["patchset"].to_string();
    for mask in [MASK, "--link=https://lore.kernel.org/r/%s"] {
        let out = server.cli(&["series", "mbox", &number, mask]);
        assert_eq!(out.matches("\nLink: ").count(), 4, "{out}");
    }
}

#[test]
fn trailers_are_read_as_b4_reads_them() {
    let Some(samples) = samples() else { return };
    let check = |file: &str, expected: &[&str]| {
        let bytes = std::fs::read(samples.join(file)).unwrap();
        let message = patchpost::mail::parse(&bytes);
        let found: Vec<String> = parse_trailers(&message.text)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(found, expected, "{file}");
    };
    check(
        "trailers-test-simple.txt",
        &[
            "Reported-by: \"Doe, Jane\" <jane@example.com>",
            "Reviewed-by: Bogus Bupkes <bogus@example.com>",
            "Fixes: abcdef01234567890",
            "Link: https://msgid.link/some@msgid.here",
        ],
    );
    check(
        "trailers-test-extinfo.txt",
        &[
            "Reported-by: Some, One <somewhere@example.com>",
            "Reviewed-by: Bogus Bupkes <bogus@example.com>\n[for the parts that are bogus]",
            "Fixes: abcdef01234567890",
            "Tested-by: Some Person <bogus2@example.com>\n           [this person visually indented theirs]",
            "Link: https://msgid.link/some@msgid.here  # initial submission",
            "Signed-off-by: Wrapped Persontrailer <broken@example.com>",
        ],
    );
}

#[test]
fn authors_beyond_ascii_are_written_in_plain_utf8() {
    let Some(samples) = samples() else { return };
    let server = TestServer::start();
    let diff = "---\n\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n";
    for (list, file) in [
        ("seven", "save-7bit-clean.txt"),
        ("eight", "save-8bit-clean.txt"),
    ] {
        let mail = std::fs::read_to_string(samples.join(file)).unwrap();
        let path = server.dir.path().join(file);
        std::fs::write(&path, format!("{}\n{diff}", mail.trim_end())).unwrap();
        let series = import(&server, list, &path);
        let out = server.cli(&["series", "mbox", &series["patchset"].to_string()]);
        assert!(out.contains("\nFrom: Unicôdé "), "{out}");
    }
}
