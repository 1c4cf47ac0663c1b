//! Patches that mean harm: nothing outside of trees is written, time and memory have an end, and a repository is as before.

use std::path::Path;

use patchpost::git::{AmRequest, Fallback, Outcome, am};

use super::{bare_beside, committer, snapshot};
use crate::harness::{report, size};
use crate::real_mail::{feed, plain_git};

/// A repository with one commit, and canary files all around it.
struct Yard {
    dir: tempfile::TempDir,
    base: String,
}

impl Yard {
    fn new() -> Yard {
        let dir = tempfile::tempdir().unwrap();
        let bare = dir.path().join("yard/repo.git");
        std::fs::create_dir_all(&bare).unwrap();
        bare_beside(&bare, &dir.path().join("yard"));
        for canary in [
            "canary",
            "yard/canary",
            "yard/repo.git/hooks/post-commit",
            "yard/repo.git/info/attributes",
            "abs/canary",
        ] {
            let path = dir.path().join(canary);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "alive\n").unwrap();
        }
        let script = "commit refs/heads/main\ncommitter C <c@x.org> 1 +0000\ndata 4\nbase\nM 100644 inline a.txt\ndata 4\n1\n2\n\n\
                      M 120000 inline link\ndata 8\n../../..\nM 100644 inline d/f\ndata 2\nx\n\n";
        let (fine, _, said) = feed(
            plain_git(&bare).args(["fast-import", "--quiet"]),
            script.as_bytes(),
        );
        assert!(fine, "{said}");
        let (_, base, _) = feed(plain_git(&bare).args(["rev-parse", "refs/heads/main"]), b"");
        Yard {
            dir,
            base: String::from_utf8(base).unwrap().trim().to_owned(),
        }
    }

    fn apply(&self, mails: &[Vec<u8>]) -> Outcome {
        let request = AmRequest {
            repo: self.dir.path().join("yard/repo.git"),
            base: self.base.clone(),
            ref_name: None,
            fallback: Fallback::ThreeWay,
            mails: mails.to_vec(),
            committer: Some(committer()),
            with_author_date: false,
        };
        am(&request).unwrap_or_else(|e| Outcome::Bad {
            patch: 0,
            reason: e.to_string(),
        })
    }

    /// The patches are refused, and not a byte anywhere has changed.
    #[track_caller]
    fn refuses(&self, what: &str, patches: &[&str]) {
        let before = snapshot(self.dir.path());
        let mails: Vec<Vec<u8>> = patches.iter().map(|p| mail(p.as_bytes())).collect();
        let outcome = self.apply(&mails);
        assert!(
            !matches!(outcome, Outcome::Applied { .. }),
            "{what}: {outcome:?}"
        );
        assert!(
            snapshot(self.dir.path()) == before,
            "{what}: something was written"
        );
    }
}

fn mail(patch: &[u8]) -> Vec<u8> {
    [
        &b"From: E <e@x.org>\nSubject: [PATCH] x\nDate: Mon, 1 Jan 2024 00:00:00 +0000\n\nx\n---\n"
            [..],
        patch,
    ]
    .concat()
}

fn new_file(path: &str) -> String {
    format!(
        "diff --git a/{path} b/{path}\nnew file mode 100644\n--- /dev/null\n+++ b/{path}\n@@ -0,0 +1 @@\n+x\n"
    )
}

fn new_link(path: &str, to: &str) -> String {
    let head = format!(
        "diff --git a/{path} b/{path}\nnew file mode 120000\n--- /dev/null\n+++ b/{path}\n"
    );
    format!("{head}@@ -0,0 +1 @@\n+{to}\n\\ No newline at end of file\n")
}

/// G01: paths that leave the tree or mean `.git`, in every place of a patch where a path can stand.
#[test]
fn paths_that_mean_harm_are_refused_wherever_they_stand() {
    let yard = Yard::new();
    let mut count = 0;
    for path in [
        "../x",
        "../../canary",
        "/abs/canary",
        "a/../../b",
        "a/..",
        ".",
        "./x",
        "a/./x",
        "a//x",
        ".git/config",
        ".git/hooks/post-commit",
        ".GIT/config",
        "a/.Git/x",
        ".git./x",
        ".git /x",
        "git~1/x",
        "GIT~1",
        ".git::$INDEX_ALLOCATION/x",
        ".g\u{200c}it/x",
        "\u{feff}.git/x",
        "..\\x",
        "\\abs",
        "a\\..\\x",
        ".git\\config",
    ] {
        let quoted = format!("\"b/{}\"", path.replace('\\', "\\\\"));
        let octal: String = path.bytes().map(|b| format!("\\{b:03o}")).collect();
        let hunk = "@@ -1,2 +1,2 @@\n-1\n+x\n 2\n";
        let forms = [
            new_file(path),
            format!("--- /dev/null\n+++ b/{path}\n@@ -0,0 +1 @@\n+x\n"),
            format!("--- a/{path}\n+++ b/{path}\n{hunk}"),
            format!(
                "diff --git a/a.txt b/a.txt\nnew file mode 100644\n--- /dev/null\n+++ {quoted}\n@@ -0,0 +1 @@\n+x\n"
            ),
            format!(
                "diff --git a/x b/x\nsimilarity index 100%\nrename from a.txt\nrename to {path}\n"
            ),
            format!(
                "diff --git a/x b/x\nsimilarity index 100%\ncopy from a.txt\ncopy to \"{octal}\"\n"
            ),
            format!(
                "diff --git a/x b/x\nsimilarity index 100%\nrename from {path}\nrename to ok\n"
            ),
            format!(
                "diff --git a/{path} b/{path}\ndeleted file mode 100644\n--- a/{path}\n+++ /dev/null\n@@ -1 +0,0 @@\n-x\n"
            ),
            format!("diff --git a/{path} b/{path}\nold mode 100644\nnew mode 100755\n"),
            new_link(path, "x"),
        ];
        for form in forms {
            // One slash for several: that path is fine by git's own reading.
            if path == "a//x" && !form.contains("old mode") {
                continue;
            }
            yard.refuses(path, &[&form]);
            count += 1;
        }
    }
    for name in ["nul\\000byte", ""] {
        yard.refuses(name, &[&format!("diff --git a/x b/x\nnew file mode 100644\n--- /dev/null\n+++ \"b/{name}\"\n@@ -0,0 +1 @@\n+x\n")]);
    }
    yard.refuses("long", &[&new_file(&"a".repeat(5_000))]);
    yard.refuses("deep", &[&new_file(&"a/".repeat(1_000))]);
    report(&format!(
        "am, hostile: {count} patches with paths of 24 kinds refused"
    ));
}

/// G01, the other half: what only looks odd becomes a tree entry, as with git, and nothing but that.
#[test]
fn odd_names_are_names() {
    let yard = Yard::new();
    for path in [
        "CON",
        "aux.c",
        "--exec=x",
        "-rf",
        "$(touch x)",
        "a b",
        ".gitignore",
        ".gitattributes",
        ".gitmodules",
        ".github/x",
        "latin\\351",
    ] {
        let quoted = format!(
            "diff --git \"a/{path}\" \"b/{path}\"\nnew file mode 100644\n--- /dev/null\n+++ \"b/{path}\"\n@@ -0,0 +1 @@\n+x\n"
        );
        let outcome = yard.apply(&[mail(quoted.as_bytes())]);
        assert!(
            matches!(outcome, Outcome::Applied { .. }),
            "{path}: {outcome:?}"
        );
    }
    let (fine, _, said) = feed(
        plain_git(&yard.dir.path().join("yard/repo.git")).args(["fsck", "--strict"]),
        b"",
    );
    assert!(fine, "{said}");
}

/// G02: symbolic links, there before, made by an earlier patch or by the same, on the way of a rename; `.gitmodules` as a link.
#[test]
fn nothing_goes_through_a_symbolic_link() {
    let yard = Yard::new();
    yard.refuses("through a link that is there", &[&new_file("link/x")]);
    yard.refuses(
        "in two patches",
        &[&new_link("l", "/tmp"), &new_file("l/x")],
    );
    yard.refuses(
        "in one patch",
        &[&format!("{}{}", new_link("l", ".."), new_file("l/x"))],
    );
    yard.refuses(
        "file first",
        &[&format!("{}{}", new_file("l/x"), new_link("l", ".."))],
    );
    yard.refuses(
        "rename through a link",
        &[&format!(
            "{}diff --git a/d/f b/l/f\nsimilarity index 100%\nrename from d/f\nrename to l/f\n",
            new_link("l", "..")
        )],
    );
    yard.refuses(
        "folder becomes a link",
        &[&format!(
            "diff --git a/d/f b/d/f\ndeleted file mode 100644\n--- a/d/f\n+++ /dev/null\n@@ -1 +0,0 @@\n-x\n{}{}",
            new_link("d", ".."),
            new_file("d/g")
        )],
    );
    for name in [".gitmodules", ".GITMODULES", "gitmod~1", ".gitmodules ."] {
        yard.refuses(name, &[&new_link(name, "x")]);
    }
    let before = snapshot(&yard.dir.path().join("abs"));
    let gitlink = "diff --git a/sub b/sub\nnew file mode 160000\n--- /dev/null\n+++ b/sub\n@@ -0,0 +1 @@\n+Subproject commit 1111111111111111111111111111111111111111\n";
    let outcome = yard.apply(&[
        mail(gitlink.as_bytes()),
        mail(new_link("fine", "/etc/passwd").as_bytes()),
        mail(new_file(".gitattributes").as_bytes()),
    ]);
    assert!(
        matches!(outcome, Outcome::Applied { .. }),
        "they are tree entries: {outcome:?}"
    );
    assert_eq!(snapshot(&yard.dir.path().join("abs")), before);
    yard.refuses(
        "a submodule at no commit",
        &[&gitlink.replace("1111111111111111111111111111111111111111", "../../canary")],
    );
}

/// G04: header fields cannot become options, other lines of the commit, or text formats.
#[test]
fn names_and_subjects_stay_inside_the_commit() {
    let yard = Yard::new();
    for (from, subject) in [
        ("--exec=touch <--upload-pack=x@x.org>", "--amend"),
        ("%s %n <a@x.org>", "%(trailers) ${x}"),
        (
            "=?utf-8?q?A=0Acommitter_X_<x>_1_+0000?= <a@x.org>",
            "=?utf-8?q?x=0Aparent_1111?=",
        ),
        ("\"a\\\"b\" <a@x.org>", "-"),
    ] {
        let text = format!(
            "From: {from}\nSubject: [PATCH] {subject}\nDate: Mon, 1 Jan 2024 00:00:00 +0000\n\nx\n---\n{}",
            new_file("n")
        );
        let outcome = yard.apply(&[text.into_bytes()]);
        let Outcome::Applied { commits, .. } = outcome else {
            panic!("{from}: {outcome:?}")
        };
        let (_, object, _) = feed(
            plain_git(&yard.dir.path().join("yard/repo.git")).args([
                "cat-file",
                "commit",
                &commits[0],
            ]),
            b"",
        );
        let object = String::from_utf8(object).unwrap();
        let head: Vec<&str> = object.split("\n\n").next().unwrap().lines().collect();
        assert_eq!(head.len(), 4, "{object}");
        let starts = ["tree ", "parent ", "author ", "committer C <c@x.org> "];
        assert!(
            head.iter()
                .zip(starts)
                .all(|(line, start)| line.starts_with(start)),
            "{object}"
        );
    }
    let nul = [
        &b"From: E <e@x.org>\nSubject: a\0b\n\nx\n---\n"[..],
        new_file("n").as_bytes(),
    ]
    .concat();
    assert!(!matches!(yard.apply(&[nul]), Outcome::Applied { .. }));
}

/// G06: what a patch claims of blobs is a hint: ids of other kinds of objects, or of nothing, lead nowhere.
#[test]
fn claimed_blobs_are_only_hints() {
    let yard = Yard::new();
    let (_, tree, _) = feed(
        plain_git(&yard.dir.path().join("yard/repo.git")).args(["rev-parse", "main^{tree}"]),
        b"",
    );
    let tree = String::from_utf8(tree).unwrap();
    for id in [
        tree.trim(),
        &yard.base,
        &"1".repeat(40),
        "",
        "zz",
        "main",
        "refs/heads/main",
        "-x",
        "HEAD",
    ] {
        let patch = format!(
            "diff --git a/a.txt b/a.txt\nindex {id}..{id} 100644\n--- a/a.txt\n+++ b/a.txt\n@@ -1,2 +1,2 @@\n-other\n+x\n 2\n"
        );
        yard.refuses(id, &[&patch]);
    }
}

/// A thousand series of random damage: the repository's refs and files are the same afterwards, and git finds it sound.
#[test]
fn damaged_patches_leave_a_repository_as_it_is() {
    let yard = Yard::new();
    let bare = yard.dir.path().join("yard/repo.git");
    let count = [100, 1_000, 5_000][size() - 1];
    let mut dice = super::random::Dice::new(7);
    let seeds = [
        new_file("d/n"), new_link("l", "x"),
        "diff --git a/a.txt b/b.txt\nsimilarity index 50%\nrename from a.txt\nrename to b.txt\nindex 1191247..2222222 100644\n--- a/a.txt\n+++ b/b.txt\n@@ -1,2 +1,2 @@\n-1\n+x\n 2\n".to_owned(),
        "diff --git a/d/f b/d/f\nold mode 100644\nnew mode 100755\n".to_owned(),
        "diff --git a/b b/b\nnew file mode 100644\nindex 0000000000000000000000000000000000000000..df93f5f3f72487244976c34e85525cf445016566\nGIT binary patch\nliteral 10\nRcmZQzWMXDvWn<^y1ONc904@Lk\n\n".to_owned(),
    ];
    let before = snapshot(yard.dir.path());
    let (mut refused, mut applied) = (0, 0);
    for _ in 0..count {
        let mut patch: Vec<u8> = (0..=dice.roll(2))
            .flat_map(|_| seeds[dice.roll(seeds.len())].clone().into_bytes())
            .collect();
        for _ in 0..=dice.roll(4) {
            if patch.is_empty() {
                break;
            }
            let at = dice.roll(patch.len());
            match dice.roll(4) {
                0 => drop(patch.remove(at)),
                1 => patch[at] = u8::try_from(dice.roll(256)).unwrap(),
                2 => patch.insert(at, b"/.\n\0-+@ "[dice.roll(8)]),
                _ => patch.truncate(at + 1),
            }
        }
        // The last patch never fits, so that nothing may stay of the ones before it.
        let last = mail(b"--- a/absent\n+++ b/absent\n@@ -1 +1 @@\n-x\n+y\n");
        match yard.apply(&[mail(&patch), last]) {
            Outcome::Applied { .. } => applied += 1,
            _ => refused += 1,
        }
    }
    report(&format!(
        "am, hostile: {count} damaged series, {refused} refused"
    ));
    assert_eq!((applied, refused), (0, count));
    assert!(snapshot(yard.dir.path()) == before, "something was written");
    check_sound(&bare);
}

fn check_sound(bare: &Path) {
    let (fine, _, said) = feed(plain_git(bare).args(["fsck", "--strict"]), b"");
    assert!(fine, "{said}");
}
