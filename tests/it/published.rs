//! What applying leaves in a companion: one pack with its index for each series, and refs that are set together or not at all.

use std::path::{Path, PathBuf};

use patchpost::git::{Base, Committer, GitError, Outcome, Repos, Request, Source};
use patchpost::types::Timestamp;

use super::harness::{Database, TestServer, change, git, on_both, project, send_email};

on_both! {
    each_series_is_one_pack_with_its_index,
}

/// Packs with their indices, and what else lies among the objects.
fn objects(companion: &Path) -> (Vec<String>, Vec<String>) {
    let all = super::am::snapshot(&companion.join("objects"));
    let names = all.iter().map(|(path, _)| {
        let path = path.strip_prefix(companion.join("objects")).unwrap();
        path.display().to_string()
    });
    let (packs, others): (Vec<String>, Vec<String>) = names.partition(|n| n.starts_with("pack/"));
    let others = others.into_iter().filter(|n| !n.starts_with("info/"));
    (packs, others.collect())
}

fn each_series_is_one_pack_with_its_index(database: Database) {
    let server = TestServer::start_on(database);
    let dir = server.dir.path().to_owned();
    let work = project(&dir);
    server.cli(&["repo", "add", "tool", "--path", &work.display().to_string()]);
    let create = ["list", "create", "dev", "--address", "dev@x.org"];
    server.cli(&[&create[..], &["--repo", "tool"]].concat());
    let mine = dir.join("mine");
    git(&dir, &["clone", "-q", "project", "mine"]);
    let companion = server.data().join("repos/tool.patches.git");
    let mut before: Vec<String> = Vec::new();
    for n in 1..=3 {
        git(&mine, &["reset", "-q", "--hard", "origin/main"]);
        for line in [5, 20, 35] {
            let to = format!("line {line}, {n}\n");
            let title = format!("Change {line} of {n}");
            change(&mine, "src/a.c", &format!("line {line}\n"), &to, &title);
        }
        send_email(&server, &mine, "dev@x.org", &["-3"]);
        server.drain();
        let all = server.json(&["series", "ls", "dev"]);
        assert_eq!(all[0]["applies"], true, "{all}");
        let (packs, others) = objects(&companion);
        assert_eq!(others, Vec::<String>::new(), "no loose objects");
        let new: Vec<&String> = packs.iter().filter(|p| !before.contains(p)).collect();
        let stem = new[0].strip_suffix(".idx").unwrap();
        let both = [format!("{stem}.idx"), format!("{stem}.pack")];
        assert_eq!(new, both.iter().collect::<Vec<_>>(), "{packs:?}");
        assert_eq!(
            packs.len(),
            before.len() + 2,
            "those before are as they were"
        );
        // What it made, all of it, and nothing of what is borrowed: three commits, and their trees and blobs.
        let pack = format!("objects/{}", both[0]);
        let listed = git(&companion, &["verify-pack", "-v", &pack]);
        let count = |kind: &str| {
            let lines = listed.lines();
            lines.filter(|l| l.split(' ').nth(1) == Some(kind)).count()
        };
        assert_eq!(
            (count("commit"), count("tree"), count("blob")),
            (3, 6, 3),
            "{listed}"
        );
        git(&companion, &["fsck", "--strict", "--no-dangling"]);
        before = packs;
    }
}

/// A companion's repositories, and a series for them.
struct Yard {
    _dir: tempfile::TempDir,
    repos: Repos,
    request: Request,
    companion: PathBuf,
}

fn yard() -> Yard {
    let dir = tempfile::tempdir().unwrap();
    let work = project(dir.path());
    let repos = Repos::new(&dir.path().join("data"));
    let (_, tip) = repos
        .create("tool", &Source::Path(work.clone()), None)
        .unwrap();
    change(&work, "src/a.c", "line 5\n", "line five\n", "Change five");
    let mail = git(&work, &["format-patch", "-1", "--stdout"]) + "\n";
    let request = Request {
        repo: "tool".to_owned(),
        private_realm: None,
        ref_name: "refs/patches/1/v1".to_owned(),
        head: Some("refs/patches/1/head".to_owned()),
        base: Base {
            commit: tip.unwrap(),
            why: String::new(),
        },
        mails: vec![mail.into_bytes()],
        committer: Committer {
            name: "C".to_owned(),
            email: "c@x.org".to_owned(),
            date: Timestamp::from_secs(1_700_000_000),
            zone: 0,
            with_author_date: false,
        },
    };
    Yard {
        companion: repos.companion_dir("tool"),
        repos,
        request,
        _dir: dir,
    }
}

fn refs(companion: &Path) -> String {
    let names = "--format=%(refname)";
    git(companion, &["for-each-ref", names, "refs/patches"])
}

/// One of the two refs cannot be set: then the other is not set either. Once it can be, both are.
#[track_caller]
fn neither_moves(break_it: impl Fn(&Path), mend_it: impl Fn(&Path)) {
    let yard = yard();
    let nothing = Request {
        mails: vec![],
        ..yard.request.clone()
    };
    // Makes the companion.
    drop(yard.repos.apply(&nothing));
    let patches = yard.companion.join("refs/patches/1");
    std::fs::create_dir_all(&patches).unwrap();
    break_it(&patches);
    let before = refs(&yard.companion);
    let outcome = yard.repos.apply(&yard.request);
    assert!(
        matches!(outcome, Err(GitError::Failed { .. })),
        "{outcome:?}"
    );
    assert_eq!(refs(&yard.companion), before);
    assert!(
        !patches.join("v1").exists(),
        "not set behind git's back either"
    );
    mend_it(&patches);
    let outcome = yard.repos.apply(&yard.request).unwrap();
    let Outcome::Applied { commits, .. } = outcome else {
        panic!("{outcome:?}");
    };
    for name in ["refs/patches/1/v1", "refs/patches/1/head"] {
        assert_eq!(git(&yard.companion, &["rev-parse", name]), commits[0]);
    }
    assert_eq!(
        refs(&yard.companion),
        "refs/patches/1/head\nrefs/patches/1/v1"
    );
    git(&yard.companion, &["fsck", "--strict", "--no-dangling"]);
}

#[test]
fn a_ref_that_is_locked_keeps_the_other_where_it_is() {
    for name in ["head.lock", "v1.lock"] {
        neither_moves(
            |patches| std::fs::write(patches.join(name), "").unwrap(),
            |patches| std::fs::remove_file(patches.join(name)).unwrap(),
        );
    }
}

#[test]
fn a_folder_in_the_way_of_a_ref_keeps_the_other_where_it_is() {
    let inside = |patches: &Path| patches.join("head/inside");
    neither_moves(
        |patches| {
            let companion = patches.ancestors().nth(3).unwrap();
            let base = git(companion, &["rev-parse", "HEAD"]);
            git(
                companion,
                &["update-ref", "refs/patches/1/head/inside", &base],
            );
            assert!(inside(patches).exists());
        },
        |patches| std::fs::remove_dir_all(patches.join("head")).unwrap(),
    );
}
