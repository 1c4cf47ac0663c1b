//! Patch ids, compared with real `git patch-id --stable`.

use std::path::Path;

use patchpost::diff::mailinfo::mailinfo;
use patchpost::diff::patch_id::patch_id;

use super::harness::{corpus_for, report, size};
use super::real_mail::{RealMail, feed, files_mails, folder_mails, list_mails, plain_git};

/// Compares the id of every patch; how many there are.
#[track_caller]
fn check(what: &str, dir: &Path, mails: Vec<RealMail>, step: usize) {
    let step = if size() == 1 { step } else { 1 };
    let mut equal = 0;
    let mut wrong = Vec::new();
    for mail in mails.iter().step_by(step) {
        let Ok(letter) = mailinfo(&mail.bytes) else {
            continue;
        };
        let (_, out, _) = feed(plain_git(dir).args(["patch-id", "--stable"]), &letter.patch);
        let out = String::from_utf8(out).unwrap();
        let git = out
            .split(' ')
            .next()
            .filter(|id| !id.is_empty())
            .map(str::to_owned);
        let ours = patch_id(&letter.patch).map(|id| id.to_string());
        if ours == git {
            equal += usize::from(ours.is_some());
        } else {
            wrong.push(format!("{}: {ours:?}, git has {git:?}", mail.name));
        }
    }
    report(&format!(
        "patch ids, {what}: {equal} equal, {} differ",
        wrong.len()
    ));
    assert!(wrong.is_empty(), "{what}:\n{}", wrong.join("\n"));
    assert!(equal > 0, "{what}: no patch at all");
}

#[test]
fn patch_ids_are_those_of_git() {
    let dir = tempfile::tempdir().unwrap();
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/mailinfo");
    check("fixtures", dir.path(), files_mails(&fixtures), 1);
    if corpus_for("patch ids of real mail").is_some() {
        check("kernel list", dir.path(), list_mails(dir.path()), 25);
        check("patchwork", dir.path(), folder_mails("patchwork"), 2);
        check("b4", dir.path(), folder_mails("b4"), 1);
        check("torture", dir.path(), folder_mails("torture"), 1);
    }
}
