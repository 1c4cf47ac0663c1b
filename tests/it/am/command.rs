//! `patchpost am` as people call it.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use super::{Pair, bare_beside, mails_of, snapshot};

fn run(arguments: &[&str], input: &[u8]) -> (bool, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_patchpost"));
    command
        .args(arguments)
        .env("GIT_COMMITTER_NAME", "C")
        .env("GIT_COMMITTER_EMAIL", "c@x.org")
        .env("GIT_COMMITTER_DATE", "@1700000000 +0000");
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pipe = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writing = std::thread::spawn(move || {
        // A program that refuses its arguments reads nothing.
        drop(pipe.write_all(&input));
    });
    let out = child.wait_with_output().unwrap();
    writing.join().unwrap();
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    // Applied, or not and then 1: never a signal, nor the 2 of a command line that is not understood.
    let status = out.status.code();
    assert!(
        matches!(status, Some(0 | 1)),
        "{arguments:?}: {status:?} {said}"
    );
    let text = String::from_utf8(out.stdout).unwrap();
    (status == Some(0), text, said)
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

/// The second hunk of the second file of the second patch is the one that does not fit.
#[test]
fn patch_file_and_hunk_that_fail_are_named_by_number_and_nothing_changes() {
    let pair = Pair::new(None);
    let lines: Vec<String> = (1..=40).map(|n| format!("{n}\n")).collect();
    for file in ["a.txt", "b.txt"] {
        pair.write(file, lines.concat());
    }
    let base = pair.commit("base");
    let put = |file: &str, at: &[usize]| {
        let mut lines = lines.clone();
        at.iter().for_each(|n| lines[*n].insert_str(0, "new "));
        pair.write(file, lines.concat());
    };
    put("a.txt", &[3]);
    pair.commit("First");
    put("a.txt", &[3, 35]);
    put("b.txt", &[3, 35]);
    let tip = pair.commit("Second");
    let mails = mails_of(&pair, &base, &tip, &[]);
    pair.git(&["checkout", "-q", "-f", "--detach", &base]);
    pair.write("b.txt", lines.concat().replace("36\n", "thirty-six\n"));
    let here = pair.commit("here");
    let bare = tempfile::tempdir().unwrap();
    bare_beside(bare.path(), &pair.checkout.join(".git/objects"));
    let before = snapshot(bare.path());
    let mbox: Vec<u8> = mails
        .iter()
        .flat_map(|m| [m, &b"\n"[..]].concat())
        .collect();
    let to = ["--ref", "refs/heads/x"];
    let start = ["am", "--repo", text(bare.path()), "--base", &here];
    for more in [&["--no-3way"][..], &["--3way"]] {
        let words = [&start[..], &to, more, &["-"]].concat();
        let (fine, out, _) = run(&words, &mbox);
        assert!(
            !fine && out.starts_with("patch 2 does not apply: b.txt hunk 2: "),
            "{out}"
        );
        let (fine, out, _) = run(&[&words[..], &["--json"]].concat(), &mbox);
        let json: serde_json::Value = serde_json::from_str(&out).unwrap();
        let named = (&json["patch"], &json["file"], &json["hunk"]);
        assert_eq!(named, (&2.into(), &"b.txt".into(), &2.into()), "{out}");
        assert!(!fine && json["applies"] == false);
        assert_eq!(snapshot(bare.path()), before, "byte for byte");
    }
    let theirs = pair.theirs(&here, &mails, patchpost::git::Fallback::ThreeWay);
    assert!(theirs.is_err(), "{theirs:?}");
}

/// What is made reaches the repository as one pack with its index, and a second run adds nothing.
#[test]
fn a_series_is_one_pack_with_its_index_and_no_loose_object() {
    let set = set();
    let mbox: Vec<u8> = set
        .mails
        .iter()
        .flat_map(|m| [m, &b"\n"[..]].concat())
        .collect();
    let repo = text(set.bare.path());
    let words = [
        "am",
        "--repo",
        repo,
        "--base",
        &set.base,
        "--ref",
        "refs/heads/x",
        "-",
    ];
    let files = |folder: &str| -> Vec<String> {
        let all = snapshot(&set.bare.path().join(folder));
        all.iter()
            .map(|(path, _)| path.display().to_string())
            .collect()
    };
    let git = |words: &[&str]| {
        let (fine, out, said) = crate::real_mail::feed(
            crate::real_mail::plain_git(set.bare.path()).args(words),
            b"",
        );
        assert!(fine, "{words:?}: {said}");
        String::from_utf8(out).unwrap()
    };
    // Of its own: what the contributor made is not within reach.
    let checkout = set.pair.checkout.display().to_string();
    let info = set.bare.path().join("objects/info/alternates");
    std::fs::remove_file(info).unwrap();
    set.pair.git(&["branch", "base", &set.base]);
    git(&[
        "-c",
        "fetch.unpackLimit=1",
        "fetch",
        "-q",
        &checkout,
        "base",
    ]);
    let old = files("objects");
    let (fine, out, said) = run(&words, &mbox);
    assert!(fine, "{said}");
    let new = |old: &[String]| -> Vec<String> {
        files("objects")
            .into_iter()
            .filter(|f| !old.contains(f))
            .collect()
    };
    let packs = new(&old);
    let stem = packs[0].strip_suffix(".idx").unwrap();
    assert_eq!(packs, [format!("{stem}.idx"), format!("{stem}.pack")]);
    // Two commits, three trees and two blobs: all that is new, and nothing else.
    let listed = git(&["verify-pack", "-v", &packs[0]]);
    let kinds = ["commit", "tree", "blob"].map(|k| {
        listed
            .lines()
            .filter(|l| l.split(' ').nth(1) == Some(k))
            .count()
    });
    assert_eq!(kinds, [2, 3, 2], "{listed}");
    git(&["fsck", "--strict", "--no-dangling"]);
    let before = snapshot(set.bare.path());
    let again = run(&words, &mbox);
    assert!(again.0 && again.1 == out);
    assert!(
        snapshot(set.bare.path()) == before,
        "the same again adds nothing"
    );
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

/// Nothing is written before the ref is known to take it.
#[test]
fn a_ref_that_is_refused_leaves_the_repository_as_it_was() {
    let set = set();
    let repo = text(set.bare.path());
    std::fs::write(
        set.bare.path().join("refs/heads/other"),
        set.tip.clone() + "\n",
    )
    .unwrap();
    std::fs::create_dir(set.bare.path().join("refs/heads/dir")).unwrap();
    std::fs::write(
        set.bare.path().join("refs/heads/dir/a"),
        set.base.clone() + "\n",
    )
    .unwrap();
    let before = snapshot(set.bare.path());
    for name in [
        "topic",
        "refs/heads/../x",
        "HEAD",
        "refs/heads/other",
        "refs/heads/dir",
    ] {
        let words = [
            "am", "--repo", repo, "--base", &set.base, "--ref", name, "-",
        ];
        for more in [&[][..], &["--dry-run"]] {
            let (fine, out, said) = run(&[&words[..], more].concat(), &set.mails[0]);
            assert!(!fine && !said.is_empty(), "{name}: {out}{said}");
            assert_eq!(snapshot(set.bare.path()), before, "{name}: {said}");
        }
    }
}

/// `>From ` is the sender's own in what `git format-patch` writes; mboxrd has it for `From `.
#[test]
fn quoted_lines_stay_as_in_git_and_are_undone_where_the_mbox_is_mboxrd() {
    let set = set();
    set.pair
        .git(&["checkout", "-q", "-f", "--detach", &set.base]);
    set.pair.write("b/c.txt", "new\n");
    let tip = set
        .pair
        .commit("Third\n\nFrom here\n>From there\n>>From elsewhere");
    let mails = mails_of(&set.pair, &set.base, &tip, &[]);
    let repo = text(set.bare.path());
    for (ours, theirs) in [
        (&[][..], &[][..]),
        (&["--mboxrd"], &["--patch-format=mboxrd"]),
    ] {
        let words = ["am", "--repo", repo, "--base", &set.base, "-"];
        let (fine, out, said) = run(&[&words[..], ours].concat(), &mails[0]);
        assert!(fine, "{said}{out}");
        let fallback = patchpost::git::Fallback::None;
        let git = set.pair.theirs_with(&set.base, &mails, fallback, theirs);
        let commit = out.lines().next().and_then(|l| l.strip_prefix("commit "));
        assert_eq!(commit, git.as_deref().ok(), "{ours:?}");
    }
}

/// `cur` comes before `new`, whatever the names are.
#[test]
fn a_maildir_is_read_as_git_reads_it() {
    let set = set();
    let dir = tempfile::tempdir().unwrap();
    for (name, mail) in [("cur/10.x", &set.mails[0]), ("new/9.x", &set.mails[1])] {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, mail).unwrap();
    }
    let words = ["am", "--repo", text(set.bare.path()), "--base", &set.base];
    let (fine, out, said) = run(&[&words[..], &[text(dir.path())]].concat(), b"");
    assert!(fine, "{said}{out}");
    let fallback = patchpost::git::Fallback::None;
    let git = set.pair.theirs(&set.base, &set.mails, fallback);
    let commit = out.lines().next().and_then(|l| l.strip_prefix("commit "));
    assert_eq!(commit, git.as_deref().ok());
}
