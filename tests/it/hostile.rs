//! Series that mean harm, from mail to commit: the project's repository and our clone of it stay as they are, and both sides stay sound.

use std::path::{Path, PathBuf};

use super::am::snapshot;
use super::harness::{TestServer, git, project, report, size};

/// Patches on the project's files, and beside them.
const PATCHES: [&str; 10] = [
    "diff --git a/../../evil b/../../evil\nnew file mode 100644\nindex 0000000..1234567\n--- /dev/null\n+++ b/../../evil\n@@ -0,0 +1 @@\n+x\n",
    "diff --git a/.git/hooks/post-update b/.git/hooks/post-update\nnew file mode 100755\n--- /dev/null\n+++ b/.git/hooks/post-update\n@@ -0,0 +1 @@\n+#!/bin/sh\n",
    "diff --git a/.GIT/config b/.GIT/config\nnew file mode 100644\n--- /dev/null\n+++ b/.GIT/config\n@@ -0,0 +1 @@\n+[core]\n",
    "diff --git a/link b/link\nnew file mode 120000\n--- /dev/null\n+++ b/link\n@@ -0,0 +1 @@\n+/etc/passwd\n\\ No newline at end of file\n\
     diff --git a/link/x b/link/x\nnew file mode 100644\n--- /dev/null\n+++ b/link/x\n@@ -0,0 +1 @@\n+x\n",
    "diff --git a/src/a.c b/src/a.c\nindex ffffffffffffffffffffffffffffffffffffffff..0000000000000000000000000000000000000000 100644\n--- a/src/a.c\n+++ b/src/a.c\n@@ -1,3 +1,3 @@\n line 1\n-line 2\n+line two\n line 3\n",
    "diff --git a/src/a.c b/src/a.c\n--- a/src/a.c\n+++ b/src/a.c\n@@ -4294967295,4294967295 +1,99999999999999999999 @@\n line 1\n",
    "diff --git a/bin b/bin\nnew file mode 100644\nindex 0000000..1234567\nGIT binary patch\nliteral 4000000000\nzcmV-;5Q*>lc$@\n\n",
    "diff --git a/src/a.c b/src/b.c\nsimilarity index 100%\nrename from src/a.c\nrename to src/a.c/b.c\n",
    "diff --git a/sub b/sub\nnew file mode 160000\nindex 0000000..1111111111111111111111111111111111111111\n--- /dev/null\n+++ b/sub\n@@ -0,0 +1 @@\n+Subproject commit ../../canary\n",
    "diff --git a/src/a.c b/src/a.c\n--- a/src/a.c\n+++ b/src/a.c\n@@ -1,3 +1,4 @@\n line 1\n line 2\n+--upload-pack=touch canary\n line 3\n",
];

fn random(seed: &mut u64) -> usize {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    (*seed % 1_000_003) as usize
}

/// A patch, every second one damaged somewhere.
fn mail(n: usize, seed: &mut u64) -> String {
    let mut patch = PATCHES[n % PATCHES.len()].to_owned();
    if n >= PATCHES.len() && n.is_multiple_of(2) {
        let at = random(seed) % patch.len();
        let end = (at + random(seed) % 12).min(patch.len());
        let with = ["", "\t", "..", "@@", "/", "\"", "\r", "-", "0"][random(seed) % 9];
        patch.replace_range(at..end, with);
    }
    let from = [
        "Eve <eve@x.org>",
        "\"; rm -rf /\" <a@b.c>",
        "--force <-x@y.org>",
    ][n % 3];
    format!(
        "From mboxrd@z Thu Jan  1 00:00:00 1970\nFrom: {from}\nMessage-ID: <{n}@hostile>\nSubject: [PATCH] --exec=evil {n}\n\
         Date: Mon, 01 Jan 2024 10:00:00 +0000\n\nbase-commit: refs/heads/main\n---\n{patch}-- \n2.47\n\n"
    )
}

/// Refs and objects of a repository by git's word, and every byte of the files in it and beside it.
fn state(repo: &Path) -> (String, String, Vec<(PathBuf, u64)>) {
    let all = ["cat-file", "--batch-all-objects", "--batch-check"];
    (
        git(repo, &["for-each-ref"]),
        git(repo, &all),
        snapshot(repo),
    )
}

/// What stands in a folder, by name.
fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let names = entries.map(|e| e.unwrap().file_name().to_string_lossy().into_owned());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

/// The most memory that a process has had, in MiB.
fn peak_mib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
    let kib = line.and_then(|l| l.trim().strip_suffix(" kB")).unwrap();
    kib.trim().parse::<u64>().unwrap() / 1024
}

/// Far more than series of a few lines need, and far less than what runs away takes.
const MOST_MIB: u64 = 250;

#[test]
fn hostile_series_change_nothing_of_the_project() {
    let count = [60, 300, 1_000][size() - 1];
    let mut seed = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_nanos() as u64
        | 1;
    report(&format!("hostile: {count} series, seed {seed}"));
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
    let path = server.dir.path().join("hostile.mbox");
    let mails: String = (0..count).map(|n| mail(n, &mut seed)).collect();
    std::fs::write(&path, mails).unwrap();
    let clone = server.data().join("repos/tool.git");
    let companion = server.data().join("repos/tool.patches.git");
    // A canary beside each of them.
    for beside in [
        server.dir.path(),
        &server.data(),
        &server.data().join("repos"),
    ] {
        std::fs::write(beside.join("canary"), "alive\n").unwrap();
    }
    // Patches name files up to two folders above their repository.
    let around = || [server.dir.path(), &server.data()].map(names);
    let before = (state(&work), state(&clone));
    assert!(!before.0.0.is_empty() && !before.1.1.is_empty());
    let beside = around();
    server.cli(&["import", "dev", &path.display().to_string()]);
    server.drain();
    assert!(
        (state(&work), state(&clone)) == before,
        "source or clone changed"
    );
    for beside in [
        server.dir.path(),
        &server.data(),
        &server.data().join("repos"),
    ] {
        let canary = std::fs::read_to_string(beside.join("canary"));
        assert_eq!(canary.unwrap(), "alive\n");
    }
    assert_eq!(around(), beside, "a file stands beside the repositories");
    let repos = names(&server.data().join("repos"));
    assert_eq!(repos, ["canary", "tool.git", "tool.patches.git"]);
    let peak = peak_mib(server.pid());
    report(&format!("hostile: the server had {peak} MiB at most"));
    assert!(peak < MOST_MIB, "{peak} MiB");
    // All were looked at: they became series that were tried, or no patches at all.
    let all = server.json(&["series", "ls", "dev"]);
    let all = all.as_array().unwrap();
    let tried = |applies: bool| all.iter().filter(|s| s["applies"] == applies).count();
    let (fit, unfit) = (tried(true), tried(false));
    report(&format!(
        "hostile: {} series recognised, {fit} apply, {unfit} do not",
        all.len()
    ));
    assert!(fit > 0 && unfit * 3 > count && fit + unfit <= all.len());
    for repo in [&work, &clone, &companion] {
        git(repo, &["fsck", "--strict"]);
    }
    let trees = git(
        &companion,
        &["for-each-ref", "--format=%(objectname)", "refs/patches"],
    );
    assert!(!trees.is_empty(), "some of them apply");
    for commit in trees.lines() {
        let paths = git(&companion, &["ls-tree", "-r", "--name-only", "-z", commit]);
        for path in paths.split('\0').filter(|p| !p.is_empty()) {
            let parts: Vec<&str> = path.split('/').collect();
            let evil = |p: &&str| matches!(*p, ".." | "." | "") || p.eq_ignore_ascii_case(".git");
            assert!(!parts.iter().any(evil), "{path}");
        }
    }
    let owed = server.json(&["jobs"]);
    assert_eq!(
        owed.as_array().unwrap().len(),
        0,
        "nothing is stuck: {owed}"
    );
    assert_eq!(server.get("/dev/patches/").status, 200);
}
