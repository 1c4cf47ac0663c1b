//! For which of a list's repositories a series is.

use super::site::{LIST, Site, named, path};
use crate::harness::{Database, change, git, on_both};

on_both! {
    a_series_goes_to_the_repository_that_has_its_blobs,
    a_word_of_the_tag_names_the_repository_where_several_fit,
}

/// Two repositories of one list with files of the same names: the index lines tell for which a series is; of new files, their folder.
fn a_series_goes_to_the_repository_that_has_its_blobs(database: Database) {
    let site = Site::new(database);
    let server = &site.server;
    let other = server.dir.path().join("other");
    git(
        server.dir.path(),
        &["clone", "-q", &path(&site.work), &path(&other)],
    );
    for (key, value) in [("user.name", "Ana"), ("user.email", "ana@example.org")] {
        git(&other, &["config", key, value]);
    }
    change(&other, "src/a.c", "line 7\n", "line seven\n", "Seven");
    std::fs::create_dir(other.join("extra")).unwrap();
    std::fs::write(other.join("extra/one"), "1\n").unwrap();
    git(&other, &["add", "extra"]);
    git(&other, &["commit", "-qm", "Extra"]);
    server.cli(&["repo", "add", "other", "--path", &path(&other)]);
    server.cli(&["list", "set", "dev", "--repo", "tool", "--repo", "other"]);
    let mail = |commit: &str| {
        let text = git(&other, &["format-patch", "-1", "--stdout", commit]);
        text.split_once('\n').unwrap().1.to_owned() + "\n"
    };
    git(&other, &["checkout", "-q", "-b", "topic"]);
    change(&other, "src/a.c", "line 9\n", "line nine\n", "Nine");
    let on_blobs = mail("HEAD");
    std::fs::write(other.join("extra/two"), "2\n").unwrap();
    git(&other, &["add", "extra"]);
    git(&other, &["commit", "-qm", "Two"]);
    for mail in [on_blobs, mail("HEAD")] {
        assert!(server.send(&[LIST], mail.as_bytes()).starts_with("250"));
    }
    for name in ["Nine", "Two"] {
        server.wait_for(name, || {
            let all = server.json(&["series", "ls"]);
            let all = all.as_array().unwrap();
            let found = all.iter().find(|s| s["title"] == name)?;
            (found["applies"] == true).then_some(())
        });
    }
    let refs = |repo: &str| {
        let companion = server.data().join(format!("repos/{repo}.patches.git"));
        git(&companion, &["for-each-ref", "refs/patches/*/v1"])
    };
    assert_eq!(
        (refs("tool").lines().count(), refs("other").lines().count()),
        (0, 2)
    );
}

/// Two repositories of one list that are the same: blobs and files fit both, the word decides.
fn a_word_of_the_tag_names_the_repository_where_several_fit(database: Database) {
    let site = Site::new(database);
    let server = &site.server;
    let source = path(&site.work);
    server.cli(&["repo", "add", "other", "--path", &source]);
    server.cli(&["list", "set", "dev", "--repo", "tool", "--repo", "other"]);
    let mail = site.patch("line 5", "line five", "Five");
    for (id, tag) in [
        ("plain@x", "[PATCH]"),
        ("other@x", "[PATCH Other v2]"),
        ("tool@x", "[tool PATCH v3]"),
        ("based@x", "[PATCH other v4]"),
    ] {
        let mut mail = mail.replace("[PATCH]", tag).replace("Five", id);
        if id == "based@x" {
            mail = mail.replacen(
                "\n-- \n",
                &format!("\nbase-commit: {}\n-- \n", site.tip()),
                1,
            );
        }
        site.send(&named(id, &mail, ""));
    }
    let refs = |repo: &str| {
        let companion = server.data().join(format!("repos/{repo}.patches.git"));
        let format = "--format=%(contents:subject)";
        let mut found: Vec<String> =
            git(&companion, &["for-each-ref", format, "refs/patches/*/v*"])
                .lines()
                .map(str::to_owned)
                .collect();
        found.sort();
        found
    };
    assert_eq!(refs("tool"), ["plain@x", "tool@x"]);
    assert_eq!(refs("other"), ["based@x", "other@x"]);
    assert!(
        site.page(&site.series("other@x", "2"))
            .contains("base <code>other main@")
    );
}
