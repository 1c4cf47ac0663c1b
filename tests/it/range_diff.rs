//! Versions of real series compared with each other, here and by real `git range-diff`.

use std::collections::BTreeMap;
use std::path::Path;

use patchpost::diff::mailinfo::mailinfo;
use patchpost::patchset::range_diff::{Commit, Fate, range_diff, render};

use super::am::random::Dice;
use super::harness::{TestServer, change, corpus, git, project, send_email, size};
use super::real_mail::{Entry, RealMail, entries, feed, list_mails, plain_git, unbundle};

/// A version of a series that `git am` applies.
struct Version {
    number: u32,
    base: String,
    /// Commits, oldest first.
    commits: Vec<String>,
    patches: Vec<Commit>,
}

fn run(work: &Path, arguments: &[&str], input: &[u8]) -> Result<String, String> {
    let mut command = plain_git(work);
    command
        .env("GIT_AUTHOR_NAME", "C")
        .env("GIT_AUTHOR_EMAIL", "c@x.org")
        .env("GIT_COMMITTER_NAME", "C")
        .env("GIT_COMMITTER_EMAIL", "c@x.org");
    match feed(command.args(arguments), input) {
        (true, out, _) => Ok(String::from_utf8_lossy(&out).into_owned()),
        (false, _, said) => Err(format!("{arguments:?}: {said}")),
    }
}

/// Applies a version with the real `git am`, on the base that the table names.
fn apply(work: &Path, base: &str, number: u32, mails: &[&RealMail]) -> Version {
    let _none_to_end = run(work, &["am", "--abort"], b"");
    run(work, &["checkout", "-q", "-f", base], b"").unwrap();
    let mbox: Vec<u8> = mails.iter().fold(Vec::new(), |mut all, mail| {
        all.extend(b"From x Thu Jan  1 00:00:00 1970\n");
        all.extend(&mail.bytes);
        all.extend(b"\n");
        all
    });
    run(work, &["am", "-q", "-3"], &mbox).unwrap();
    let range = format!("{base}..HEAD");
    let out = run(work, &["rev-list", "--reverse", &range], b"").unwrap();
    let commits: Vec<String> = out.lines().map(str::to_owned).collect();
    let patch = |(mail, id): (&&RealMail, &String)| {
        let letter = mailinfo(&mail.bytes).unwrap();
        let short = run(work, &["rev-parse", "--short", id], b"").unwrap();
        Commit {
            id: Some(short.trim().to_owned()),
            author: format!("{} <{}>", letter.name, letter.email),
            message: letter.message,
            patch: letter.patch,
        }
    };
    Version {
        number,
        base: base.to_owned(),
        patches: mails.iter().zip(&commits).map(patch).collect(),
        commits,
    }
}

fn git_range_diff(work: &Path, old: &Version, new: &Version) -> String {
    let range = |v: &Version| format!("{}..{}", v.base, v.commits.last().unwrap());
    let (a, b) = (range(old), range(new));
    let arguments = [
        "-c",
        "log.mailmap=false",
        "range-diff",
        "--no-color",
        &a,
        &b,
    ];
    run(work, &arguments, b"").unwrap()
}

/// Who became whom, out of the text: `1: 2:`.
fn pairing(text: &str) -> Vec<String> {
    let heads = text.lines().filter(|l| !l.starts_with("    "));
    heads
        .map(|l| {
            let words: Vec<&str> = l.split_whitespace().collect();
            format!("{} {}", words[0], words[3])
        })
        .collect()
}

/// Versions of one change first, then series of one author that have nothing to do with each other.
fn pairs(entries: &[Entry]) -> Vec<(usize, usize)> {
    let same_author: Vec<(usize, usize)> = (0..entries.len())
        .flat_map(|j| (0..j).map(move |i| (i, j)))
        .filter(|(i, j)| entries[*i].author == entries[*j].author)
        .collect();
    let related = |(i, j): &(usize, usize)| {
        entries[*i]
            .titles
            .iter()
            .any(|t| entries[*j].titles.contains(t))
    };
    let (mut versions, others): (Vec<_>, Vec<_>) = same_author.into_iter().partition(related);
    versions.extend(others.into_iter().filter(|(i, j)| j - i < 3));
    versions
}

#[test]
fn versions_are_compared_as_git_compares_them() {
    let Some(corpus) = corpus() else {
        println!("the corpus is not here; the tests of the module stand in");
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let mails = list_mails(dir.path());
    let code = unbundle(&corpus.join("selinux-code.bundle"), dir.path());
    let work = dir.path().join("work");
    let (from, to) = (code.display().to_string(), work.display().to_string());
    run(
        dir.path(),
        &["clone", "-q", "--shared", "--no-checkout", &from, &to],
        b"",
    )
    .unwrap();
    let mut entries = entries(&corpus, &mails);
    entries.retain(|e| e.three_way);
    let wanted = [15, 80, 200][size() - 1];
    let step = if size() == 1 { 8 } else { 1 };
    let mut versions: BTreeMap<usize, Version> = BTreeMap::new();
    let (mut count, mut same_text, mut wrong) = (0, 0, Vec::new());
    for (i, j) in pairs(&entries).into_iter().step_by(step).take(wanted) {
        for at in [i, j] {
            versions.entry(at).or_insert_with(|| {
                let mails: Vec<&RealMail> =
                    entries[at].mails.iter().map(|at| &mails[*at]).collect();
                apply(&work, &entries[at].base, entries[at].version, &mails)
            });
        }
        let (old, new) = (&versions[&i], &versions[&j]);
        let git = git_range_diff(&work, old, new);
        let what = format!("{} v{}..v{}", entries[j].titles[0], old.number, new.number);
        let ours = render(&range_diff(&old.patches, &new.patches).unwrap());
        count += 1;
        if pairing(&ours) != pairing(&git) {
            wrong.push(format!(
                "{what}: {:?}, git has {:?}",
                pairing(&ours),
                pairing(&git)
            ));
        } else if ours == git {
            same_text += 1;
        } else {
            let line = ours.lines().zip(git.lines()).find(|(a, b)| a != b);
            println!("mails give another text than commits: {what}: {line:?}");
        }
        // A mail's diff may have been made by other rules than git's defaults: made of the commits' own, the text is the same.
        let ours =
            render(&range_diff(&as_git_diffs(&work, old), &as_git_diffs(&work, new)).unwrap());
        if ours != git {
            let line = ours.lines().zip(git.lines()).find(|(a, b)| a != b);
            wrong.push(format!(
                "{what}: the text of the commits differs, we and git: {line:?}"
            ));
        }
    }
    println!(
        "range-diff: {count} pairs of versions, {} differ in pairing or text; made of mails, {same_text} have the same text",
        wrong.len()
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(
        count == wanted && same_text * 10 >= count * 8,
        "{same_text} of {count}"
    );
}

/// The version's patches with the diffs that git makes of the commits.
fn as_git_diffs(work: &Path, version: &Version) -> Vec<Commit> {
    let patches = version.patches.iter().zip(&version.commits);
    patches
        .map(|(patch, id)| {
            let diff = feed(
                plain_git(work).args(["diff-tree", "-p", "-M", "--full-index", id]),
                b"",
            )
            .1;
            Commit {
                patch: diff,
                ..patch.clone()
            }
        })
        .collect()
}

/// Series of tiny patches: many pairings cost the same, and git's is wanted.
#[test]
fn ties_are_decided_as_git_decides_them() {
    let dir = tempfile::tempdir().unwrap();
    let work = dir.path();
    run(work, &["init", "-q"], b"").unwrap();
    let wanted = [15, 60, 200][size() - 1];
    let mut wrong = Vec::new();
    for seed in 1..=wanted {
        let mut dice = Dice::new(seed);
        let (old, new) = (tiny(work, &mut dice, 1), tiny(work, &mut dice, 2));
        let git = git_range_diff(work, &old, &new);
        let ours = range_diff(&as_git_diffs(work, &old), &as_git_diffs(work, &new)).unwrap();
        if render(&ours) != git {
            wrong.push(format!("seed {seed}: {}\ngit:\n{git}", render(&ours)));
        }
    }
    println!("range-diff: {wanted} pairs of tiny series");
    assert!(
        wrong.is_empty(),
        "{} differ\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

/// Up to five commits, each of which puts one of few words at the end of one of few files.
fn tiny(work: &Path, dice: &mut Dice, number: u32) -> Version {
    let mut files = ["a\n", "a\nb\n", "a\nb\nc\nd\n"].map(str::to_owned);
    let write = |at: usize, text: &str| std::fs::write(work.join(format!("f{at}")), text).unwrap();
    run(work, &["checkout", "-q", "--orphan", "next"], b"").unwrap();
    for (at, text) in files.iter().enumerate() {
        write(at, text);
    }
    let commit = |message: &str| -> String {
        run(work, &["add", "."], b"").unwrap();
        run(work, &["commit", "-q", "-m", message], b"").unwrap();
        let id = run(work, &["rev-parse", "HEAD"], b"").unwrap();
        id.trim().to_owned()
    };
    let base = commit("base");
    let mut version = Version {
        number,
        base,
        commits: Vec::new(),
        patches: Vec::new(),
    };
    for _ in 0..1 + dice.roll(5) {
        let at = dice.roll(files.len());
        let word = ["noon", "noon!", "night", "night!", "evening"][dice.roll(5)];
        files[at].push_str(&format!("{word}\n"));
        write(at, &files[at]);
        let id = commit(word);
        version.patches.push(Commit {
            id: Some(id[..7].to_owned()),
            author: "C <c@x.org>".to_owned(),
            message: format!("{word}\n"),
            patch: Vec::new(),
        });
        version.commits.push(id);
    }
    run(work, &["checkout", "-q", "--detach"], b"").unwrap();
    run(work, &["branch", "-q", "-D", "next"], b"").unwrap();
    version
}

#[test]
fn what_changed_is_told_for_versions_that_are_no_commits() {
    let commit = |message: &str| Commit {
        id: None,
        author: "A <a@b.c>".to_owned(),
        message: message.to_owned(),
        patch: b"diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n".to_vec(),
    };
    let pairs = range_diff(&[commit("one\n")], &[commit("two\n")]).unwrap();
    assert_eq!(pairs[0].fate, Fate::Changed);
    assert_eq!(pairs[0].hunks[0].heading, "Metadata");
}

/// Two versions sent with `git send-email`: command and page say which patch changed, and how.
#[test]
fn two_versions_are_compared_by_command_and_on_a_page() {
    let server = TestServer::start();
    let work = project(server.dir.path());
    server.cli(&["repo", "add", "tool", "--path", &work.display().to_string()]);
    server.cli(&[
        "list",
        "create",
        "dev",
        "--address",
        "dev@x.org",
        "--repo",
        "tool",
    ]);
    change(&work, "src/a.c", "line 5\n", "line five\n", "Change five");
    change(
        &work,
        "src/a.c",
        "line 30\n",
        "line thirty\n",
        "Change thirty",
    );
    git(
        &work,
        &["format-patch", "-q", "-2", "-o", "out", "--thread=shallow"],
    );
    send_email(
        &server,
        &work,
        "dev@x.org",
        &["out/0001-Change-five.patch", "out/0002-Change-thirty.patch"],
    );
    server.drain();
    let all = server.json(&["series", "ls"]);
    let patchset = all[0]["patchset"].as_i64().unwrap();
    let first = all[0]["patches"][0]["message_id"]
        .as_str()
        .unwrap()
        .to_owned();
    std::fs::remove_dir_all(work.join("out")).unwrap();
    let text = std::fs::read_to_string(work.join("src/a.c")).unwrap();
    std::fs::write(
        work.join("src/a.c"),
        text.replace("line thirty\n", "line 30 & more\n"),
    )
    .unwrap();
    git(
        &work,
        &["commit", "-q", "-a", "--amend", "-m", "Change thirty"],
    );
    git(&work, &["format-patch", "-q", "-2", "-v2", "-o", "out"]);
    let reply = format!("--in-reply-to=<{first}>");
    send_email(
        &server,
        &work,
        "dev@x.org",
        &[
            &reply,
            "out/v2-0001-Change-five.patch",
            "out/v2-0002-Change-thirty.patch",
        ],
    );
    server.drain();
    let number = patchset.to_string();
    let text = server.cli(&["series", "range-diff", &number, "v1", "v2"]);
    let heads: Vec<&str> = text.lines().filter(|l| !l.starts_with("    ")).collect();
    assert_eq!(pairing(&text), ["1: 1:", "2: 2:"], "{text}");
    assert!(
        heads[0].contains(" = ") && heads[1].contains(" ! "),
        "{text}"
    );
    assert!(
        text.contains("\n    -+line thirty\n    ++line 30 & more\n"),
        "{text}"
    );
    let json = server.json(&["series", "range-diff", &number, "1", "2"]);
    assert_eq!(
        (&json[0]["fate"], &json[1]["fate"]),
        (&"same".into(), &"changed".into())
    );
    let page = server.page(&format!("/dev/patches/{patchset}/v1..v2"));
    assert!(page.contains("1 patch changed, 1 same"), "{page}");
    assert!(page.contains("++line 30 &#38; more\n"), "{page}");
    assert!(
        server
            .page(&format!("/dev/patches/{patchset}/"))
            .contains("v1..v2\">Changes v1 → v2</a>")
    );
    assert_eq!(
        server
            .get(&format!("/dev/patches/{patchset}/v1..v7"))
            .status,
        404
    );
    let said = server.cli_fails(&["series", "range-diff", &number, "1", "7"]);
    assert!(said.contains("has no v7, only v1, v2"), "{said}");
    let said = server.cli_fails(&["series", "range-diff", "99", "1", "7"]);
    assert!(said.contains("there is no patchset 99"), "{said}");
}
