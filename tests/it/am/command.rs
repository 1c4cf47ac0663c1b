//! `patchpost am` as people call it.

use std::path::Path;
use std::process::Command;

use super::{Pair, bare_beside, mails_of, snapshot};

fn run(arguments: &[&str], input: &[u8]) -> (bool, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_patchpost"));
    command
        .args(arguments)
        .env("GIT_COMMITTER_NAME", "C")
        .env("GIT_COMMITTER_EMAIL", "c@x.org")
        .env("GIT_COMMITTER_DATE", "@1700000000 +0000");
    let (fine, out, said) = crate::real_mail::feed(&mut command, input);
    (fine, String::from_utf8(out).unwrap(), said)
}

/// A repository with two commits on top of a base, as mails, and a bare one without them.
struct Set {
    pair: Pair,
    bare: tempfile::TempDir,
    base: String,
    tip: String,
    mails: Vec<Vec<u8>>,
}

fn set() -> Set {
    let pair = Pair::new(None);
    pair.write("a.txt", "1\n2\n3\n4\n5\n6\n7\n8\n");
    let base = pair.commit("base");
    pair.write("a.txt", "1\n2\n3\nfour\n5\n6\n7\n8\n");
    pair.commit("First");
    pair.write("b/c.txt", "new\n");
    let tip = pair.commit("Second");
    let mails = mails_of(&pair, &base, &tip, &[]);
    let bare = tempfile::tempdir().unwrap();
    bare_beside(bare.path(), &pair.checkout.join(".git/objects"));
    Set {
        pair,
        bare,
        base,
        tip,
        mails,
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn files_mboxes_maildirs_and_standard_input_give_the_same_commits() {
    let set = set();
    let tree = set
        .pair
        .git(&["rev-parse", &format!("{}^{{tree}}", set.tip)]);
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        path.to_string_lossy().into_owned()
    };
    let singles = [file("1.eml", &set.mails[0]), file("2.eml", &set.mails[1])];
    let mbox: Vec<u8> = set
        .mails
        .iter()
        .flat_map(|m| [m, &b"\n"[..]].concat())
        .collect();
    let mbox_file = file("both.mbox", &mbox);
    file("box/cur/9.x", &set.mails[0]);
    file("box/new/10.x", &set.mails[1]);
    let maildir = dir.path().join("box").to_string_lossy().into_owned();
    let start = ["am", "--repo", text(set.bare.path()), "--base", &set.base];
    let mut seen = Vec::new();
    for files in [
        vec![singles[0].as_str(), &singles[1]],
        vec![&mbox_file],
        vec![&maildir],
        vec!["-"],
    ] {
        let (fine, out, said) = run(&[&start[..], &files].concat(), &mbox);
        assert!(fine, "{files:?}: {said}{out}");
        assert!(out.ends_with(&format!("\ntree {tree}\n")), "{out}");
        seen.push(out);
    }
    seen.dedup();
    assert_eq!(seen.len(), 1, "{seen:?}");
    let commit = seen[0]
        .lines()
        .next()
        .unwrap()
        .strip_prefix("commit ")
        .unwrap();
    assert_eq!(
        set.pair
            .theirs(&set.base, &set.mails, patchpost::git::Fallback::None)
            .as_deref(),
        Ok(commit)
    );
}

#[test]
fn a_dry_run_says_the_same_and_leaves_the_repository_alone() {
    let set = set();
    let both: Vec<u8> = set
        .mails
        .iter()
        .flat_map(|m| [m, &b"\n"[..]].concat())
        .collect();
    let repo = text(set.bare.path());
    let words = ["am", "--repo", repo, "--base", &set.base, "-"];
    let to_ref = ["--ref", "refs/heads/topic", "--dry-run"];
    let before = snapshot(set.bare.path());
    let tried = run(&[&words[..], &to_ref].concat(), &both);
    assert_eq!(snapshot(set.bare.path()), before);
    let done = run(&[&words[..], &to_ref[..2]].concat(), &both);
    assert!(done.0 && done == tried, "{tried:?} {done:?}");
    assert_ne!(snapshot(set.bare.path()), before);
}

#[test]
fn the_ref_is_made_or_moved_from_the_base_and_never_elsewhere() {
    let set = set();
    let mbox: Vec<u8> = set
        .mails
        .iter()
        .flat_map(|m| [m, &b"\n"[..]].concat())
        .collect();
    let repo = text(set.bare.path());
    let to = |name: &str, base: &str| {
        run(
            &[
                "am", "--repo", repo, "--base", base, "--ref", name, "--json", "-",
            ],
            &mbox,
        )
    };
    let (fine, out, said) = to("refs/heads/topic", &set.base);
    assert!(fine, "{said}{out}");
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(json["commits"].as_array().unwrap().len(), 2);
    let reference = std::fs::read_to_string(set.bare.path().join("refs/heads/topic")).unwrap();
    assert_eq!(reference.trim(), json["commit"].as_str().unwrap());
    assert!(to("refs/heads/topic", &set.base).0, "again is fine");
    std::fs::write(
        set.bare.path().join("refs/heads/main"),
        format!("{}\n", set.base),
    )
    .unwrap();
    assert!(
        to("refs/heads/main", "main").0,
        "a branch at the base moves on"
    );
    std::fs::write(
        set.bare.path().join("refs/heads/other"),
        format!(
            "{}\n",
            set.pair.git(&["rev-parse", &format!("{}~1", set.tip)])
        ),
    )
    .unwrap();
    let (fine, _, said) = to("refs/heads/other", &set.base);
    assert!(!fine && said.contains("never moves"), "{said}");
    for name in ["topic", "refs/heads/../x", "refs/heads/a..b", "-x"] {
        let (fine, _, said) = run(
            &[
                "am",
                "--repo",
                repo,
                "--base",
                &set.base,
                &format!("--ref={name}"),
                "-",
            ],
            &mbox,
        );
        assert!(!fine, "{name}: {said}");
    }
}

#[test]
fn the_first_patch_that_fails_is_named_and_nothing_is_left_behind() {
    let set = set();
    set.pair
        .git(&["checkout", "-q", "-f", "--detach", &set.base]);
    set.pair.write("b/c.txt", "in the way\n");
    let base = set.pair.commit("in the way");
    let mbox: Vec<u8> = set
        .mails
        .iter()
        .flat_map(|m| [m, &b"\n"[..]].concat())
        .collect();
    let before = snapshot(set.bare.path());
    let start = [
        "am",
        "--repo",
        text(set.bare.path()),
        "--base",
        &base,
        "--ref",
        "refs/heads/x",
    ];
    let (fine, out, _) = run(&[&start[..], &["--no-3way", "-"]].concat(), &mbox);
    assert!(!fine);
    assert_eq!(
        out,
        "patch 2 does not apply: b/c.txt: the new file is there already\n"
    );
    let (fine, out, _) = run(&[&start[..], &["--3way", "--json", "-"]].concat(), &mbox);
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert!(!fine);
    assert_eq!(
        (json["patch"].as_u64(), json["file"].as_str()),
        (Some(2), Some("b/c.txt"))
    );
    set.pair.write("a.txt", "1\n2\n3\nvier\n5\n6\n7\n8\n");
    let base = set.pair.commit("other change");
    let (fine, out, _) = run(
        &["am", "--repo", text(set.bare.path()), "--base", &base, "-"],
        &mbox,
    );
    assert!(!fine);
    assert!(
        out.starts_with(
            "patch 1 does not apply: a.txt hunk 1: hunk 1, made for line 1, finds other text there"
        ),
        "{out}"
    );
    assert_eq!(snapshot(set.bare.path()), before);
}

#[test]
fn the_committer_date_can_be_the_authors() {
    let set = set();
    let repo = text(set.bare.path());
    let (fine, out, _) = run(
        &[
            "am",
            "--repo",
            repo,
            "--base",
            &set.base,
            "--committer-date-is-author-date",
            "-",
        ],
        &set.mails[0],
    );
    assert!(fine, "{out}");
    let commit = out.lines().next().unwrap().strip_prefix("commit ").unwrap();
    let (_, dates, _) = crate::real_mail::feed(
        crate::real_mail::plain_git(set.bare.path()).args([
            "log",
            "-1",
            "--format=%ad%n%cd",
            "--date=raw",
            commit,
        ]),
        b"",
    );
    let dates = String::from_utf8(dates).unwrap();
    let mut lines = dates.lines();
    assert_eq!(lines.next(), lines.next());
}
