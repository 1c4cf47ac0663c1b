//! Author, date, message and patch of a mail, compared with real `git mailinfo`, `git stripspace` and `git commit-tree`,
//! and for whole series with real `git am`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use patchpost::diff::mailinfo::{Letter, MailinfoError, mailinfo};

use super::harness::{corpus_for, report, size};
use super::real_mail::{
    RealMail, feed, files_mails, folder_mails, list_mails, objects, plain_git, unbundle,
};

/// What git makes of a mail.
enum Git {
    /// The commit, and the patch text.
    Commit { id: String, patch: Vec<u8> },
    /// No patch in it.
    NoPatch,
    /// It stops, and says why.
    Stops(String),
}

struct Oracle {
    dir: tempfile::TempDir,
    repo: PathBuf,
    tree: String,
}

impl Oracle {
    fn new() -> Oracle {
        let dir = tempfile::tempdir().unwrap();
        let repo = dir.path().join("oracle.git");
        std::fs::create_dir(&repo).unwrap();
        let (fine, _, said) = feed(plain_git(&repo).args(["init", "-q", "--bare", "."]), b"");
        assert!(fine, "{said}");
        let (_, tree, _) = feed(
            plain_git(&repo).args(["hash-object", "-t", "tree", "-w", "--stdin"]),
            b"",
        );
        let tree = String::from_utf8(tree).unwrap().trim().to_owned();
        Oracle { dir, repo, tree }
    }

    /// The steps of `git am` up to the commit: CR taken off, mailinfo, message put together and cleaned, commit.
    fn ask(&self, number: usize, mail: &[u8]) -> Git {
        let file = |kind: &str| self.dir.path().join(format!("{number}.{kind}"));
        let mail = without_cr(mail);
        let mut command = plain_git(&self.repo);
        command
            .arg("mailinfo")
            .args([file("message"), file("patch")]);
        let (fine, info, said) = feed(&mut command, &mail);
        let patch = std::fs::read(file("patch")).unwrap_or_default();
        let body = std::fs::read(file("message")).unwrap_or_default();
        for kind in ["message", "patch"] {
            // An empty mail makes no files.
            drop(std::fs::remove_file(file(kind)));
        }
        if !fine && !said.contains("empty patch:") {
            return Git::Stops(said);
        }
        if patch.is_empty() {
            return Git::NoPatch;
        }
        let fields = Fields::read(&info);
        let message = [&fields.subject[..], b"\n\n", &body].concat();
        let (_, message, _) = feed(plain_git(&self.repo).arg("stripspace"), &message);
        let mut command = plain_git(&self.repo);
        command
            .arg("commit-tree")
            .arg(&self.tree)
            .env("GIT_COMMITTER_NAME", "C")
            .env("GIT_COMMITTER_EMAIL", "c@x.org")
            .env("GIT_COMMITTER_DATE", "@1 +0000")
            .env("GIT_AUTHOR_NAME", os(&fields.name))
            .env("GIT_AUTHOR_EMAIL", os(&fields.email))
            // Without a Date git takes the clock: a mark stands for that.
            .env(
                "GIT_AUTHOR_DATE",
                os(if fields.date.is_empty() {
                    b"@7 +0007"
                } else {
                    &fields.date
                }),
            );
        match feed(&mut command, &message) {
            (true, id, _) => Git::Commit {
                id: String::from_utf8(id).unwrap().trim().to_owned(),
                patch,
            },
            (false, _, said) => Git::Stops(said),
        }
    }
}

fn os(bytes: &[u8]) -> std::ffi::OsString {
    std::os::unix::ffi::OsStringExt::from_vec(bytes.to_vec())
}

fn without_cr(mail: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for line in mail.split_inclusive(|b| *b == b'\n') {
        match line.strip_suffix(b"\r\n") {
            Some(text) => out.extend([text, b"\n"].concat()),
            None => out.extend(line),
        }
    }
    out
}

/// What `git mailinfo` prints.
#[derive(Default)]
struct Fields {
    name: Vec<u8>,
    email: Vec<u8>,
    date: Vec<u8>,
    subject: Vec<u8>,
}

impl Fields {
    fn read(info: &[u8]) -> Fields {
        let mut fields = Fields::default();
        for line in info.split(|b| *b == b'\n') {
            for (name, slot) in [
                ("Author: ", &mut fields.name),
                ("Email: ", &mut fields.email),
                ("Date: ", &mut fields.date),
                ("Subject: ", &mut fields.subject),
            ] {
                if let Some(value) = line.strip_prefix(name.as_bytes()) {
                    *slot = value.to_vec();
                }
            }
        }
        fields
    }
}

/// A letter as the commit object that it becomes, committer left out.
fn as_commit(letter: &Letter) -> Vec<u8> {
    let date = letter.date.map_or("7 +0007".to_owned(), |d| d.to_string());
    let Letter {
        name,
        email,
        message,
        ..
    } = letter;
    format!("author {name} <{email}> {date}\n\n{message}").into_bytes()
}

/// A commit object without tree, parents and committer.
fn bare_commit(object: &[u8]) -> Vec<u8> {
    let at = object.windows(2).position(|w| w == b"\n\n").unwrap();
    let mut lines = object[..at].split(|b| *b == b'\n');
    let author = lines.find(|l| l.starts_with(b"author ")).unwrap();
    [author, &object[at..]].concat()
}

/// Compares every mail; what differs, in words.
fn compare(mails: &[RealMail], counts: &mut BTreeMap<String, usize>) -> Vec<String> {
    let oracle = Oracle::new();
    let next = AtomicUsize::new(0);
    let work = || {
        let mut found = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(mail) = mails.get(at) else {
                return found;
            };
            found.push((at, mailinfo(&mail.bytes), oracle.ask(at, &mail.bytes)));
        }
    };
    let mut all: Vec<_> = std::thread::scope(|scope| {
        let other = scope.spawn(work);
        let mut all = work();
        all.extend(other.join().unwrap());
        all
    });
    all.sort_by_key(|(at, ..)| *at);
    let ids = all.iter().filter_map(|(.., git)| match git {
        Git::Commit { id, .. } => Some(id.clone()),
        _ => None,
    });
    let mut commits = objects(&oracle.repo, &ids.collect::<Vec<_>>()).into_iter();
    let mut wrong = Vec::new();
    for (at, ours, git) in all {
        let verdict = match (&ours, &git) {
            (Ok(letter), Git::Commit { patch, .. }) => {
                let commit = bare_commit(&commits.next().unwrap().unwrap());
                differences(letter, &commit, patch)
            }
            (Err(MailinfoError::NoPatch), Git::NoPatch) => Ok("no patch".to_owned()),
            (_, Git::Stops(said)) => reason_to_go_on(&ours, said),
            (ours, Git::Commit { .. }) => {
                commits.next();
                Err(format!("git makes a commit, we say {ours:?}"))
            }
            (ours, Git::NoPatch) => Err(format!("git finds no patch, we say {ours:?}")),
        };
        match verdict {
            Ok(kind) => *counts.entry(kind).or_default() += 1,
            Err(why) => wrong.push(format!("{}: {why}", mails[at].name)),
        }
    }
    wrong
}

fn differences(letter: &Letter, commit: &[u8], patch: &[u8]) -> Result<String, String> {
    let ours = as_commit(letter);
    if ours != commit {
        let (ours, git) = (
            String::from_utf8_lossy(&ours),
            String::from_utf8_lossy(commit),
        );
        let line = ours.lines().zip(git.lines()).find(|(a, b)| a != b);
        return Err(format!("the commit differs, we and git: {line:?}"));
    }
    if letter.patch != patch {
        let (ours, git) = (letter.patch.len(), patch.len());
        return Err(format!("the patch differs: {ours} bytes, git has {git}"));
    }
    Ok("equal".to_owned())
}

/// Where git stops, we may go on for one of these reasons, and for no other.
fn reason_to_go_on(ours: &Result<Letter, MailinfoError>, said: &str) -> Result<String, String> {
    let known = [
        ("cannot convert from", "git stops at a wrong charset label"),
        ("invalid date format", "git stops at a Date it cannot read"),
        ("Too many boundaries", "git stops at deep multiparts"),
    ];
    if let Some((_, why)) = known.iter().find(|(words, _)| said.contains(words)) {
        return Ok((*why).to_owned());
    }
    // A broken encoded word makes git stop without a word.
    if said.is_empty() && !matches!(ours, Err(MailinfoError::Nul)) {
        return Ok("git stops at a broken encoded word".to_owned());
    }
    let no_author = said.contains("empty ident name") || said.contains("name consists only of");
    match ours {
        Err(MailinfoError::NoAuthor) if no_author => Ok("no author".to_owned()),
        Err(MailinfoError::Nul) if said.contains("NUL byte") => Ok("NUL byte".to_owned()),
        _ => Err(format!("git says {said:?}, we say {ours:?}")),
    }
}

#[track_caller]
fn check(what: &str, mails: &[RealMail]) {
    let mut counts = BTreeMap::new();
    let wrong = compare(mails, &mut counts);
    report(&format!(
        "mailinfo, {what}: {} mails, {counts:?}, {} differ",
        mails.len(),
        wrong.len()
    ));
    assert!(wrong.is_empty(), "{what}:\n{}", wrong.join("\n"));
    assert!(
        counts.contains_key("equal"),
        "{what}: no mail with a patch: {counts:?}"
    );
}

/// At small size every n-th.
fn sample(mails: Vec<RealMail>, step: usize) -> Vec<RealMail> {
    let step = if size() == 1 { step } else { 1 };
    mails.into_iter().step_by(step).collect()
}

#[test]
fn mails_of_a_kernel_list_are_read_as_git_reads_them() {
    if corpus_for("mailinfo of a kernel list").is_none() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    check("kernel list", &sample(list_mails(dir.path()), 25));
}

#[test]
fn odd_and_hostile_mails_are_read_as_git_reads_them() {
    check(
        "fixtures",
        &files_mails(&Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/mailinfo")),
    );
    if corpus_for("mailinfo of odd and hostile mails").is_none() {
        return;
    }
    for (folder, step) in [("patchwork", 3), ("b4", 1), ("torture", 10)] {
        check(folder, &sample(folder_mails(folder), step));
    }
}

/// Dates as people, tools and broken clocks write them; git has its own opinion on each.
#[test]
fn dates_are_read_as_git_reads_them() {
    let zones = "IDLW NT CAT HST HDT YST YDT PST PDT MST MDT CST CDT EST EDT AST ADT WAT GMT UTC Z WET BST CET MET MEWT \
                 MEST CEST MESZ FWT FST EET EEST WAST WADT CCT JST EAST EADT GST NZT NZST NZDT IDLE XYZ";
    let mut dates: Vec<String> = zones
        .split(' ')
        .map(|z| format!("3 Feb 2021 04:05:06 {z}"))
        .collect();
    let odd = [
        "Thu, 7 Apr 2005 15:14:13 -0700",
        "Thu Apr 7 15:14:13 2005",
        "2005-04-07T22:13:13Z",
        "2005.04.07 22:13",
        "04/07/2005 22:13:13",
        "07.04.2005 22:13:13",
        "7/4/05 1:2:3",
        "13/4/2005 10:11",
        "4/13/2005 10:11",
        "20050407T221313+0200",
        "20050407T2213",
        "2005-04-07 22:13:13.123 +0100",
        "1112911993",
        "@1112911993 +0130",
        "@1112911993",
        "1112911993 +0200",
        "Thu, 7 Apr 2005 3:14 PM",
        "7 Apr 2005 12:14 AM +02:00",
        "7 Apr 05 1:02:03 +1",
        "7 Apr 99 1:02:03 EST",
        "7 Apr 1969 1:02:03",
        "7 Apr 2100 1:02:03",
        "1 Jan 1970 00:00:01 +0100",
        "Apr 2005 10:11:12",
        "32 Apr 2005 10:11:12",
        "7 Apr 2005 24:00:00",
        "7 Apr 2005 25:00:00",
        "7 Apr 2005 10:60",
        "7 Apr 2005 10:11:60",
        "7 Apr 2005 10:11:61",
        "Tue, 31 Feb 2023 10:11:12 +9999",
        "7 Apr 2005 10:11:12 +2500",
        "7 Apr 2005 10:11:12 (Central European Time)",
        "nonsense",
        "12",
        "2005",
        "10:11:12",
        "7 April 2005, 10:11:12",
        "Donnerstag, 7. Apr 2005 10:11:12",
        "7 Apr 2005 10:11:12 0200",
        "29 Feb 2024 10:11:12 -0000",
        "29 Feb 2023 10:11:12",
        "99999999999999999999999 1",
        "7 Apr 2005 101112",
        "7 Apr 2005 101112.5 +0100",
        "20050407101112",
        "7 Apr 2005 10:11:12 GMT+2",
        "7-Apr-2005 10:11:12",
        "2005-13-07 10:11:12",
        "Maybe 7 2005 10:11:12",
        "Sept 7 2005 10:11:12",
        "7 Apr 2005 10.11.12",
        "7 Apr 0005 10:11:12 +0100",
        "7 Apr 2005\t10:11:12",
        "pm 7 Apr 2005",
    ];
    dates.extend(odd.iter().map(|d| (*d).to_owned()));
    let mail = |date: &String| RealMail {
        name: date.clone(),
        bytes: format!("From: A <a@b.c>\nDate: {date}\nSubject: s\n\nx\n---\n").into_bytes(),
    };
    check("dates", &dates.iter().map(mail).collect::<Vec<_>>());
}

/// Whole series through real `git am`: what it commits is what we read.
#[test]
fn series_are_read_as_git_am_commits_them() {
    let Some(corpus) = corpus_for("real series, read as git am commits them") else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let mails = list_mails(dir.path());
    let code = unbundle(&corpus.join("selinux-code.bundle"), dir.path());
    let work = dir.path().join("work");
    let mut clone = plain_git(dir.path());
    clone
        .args(["clone", "-q", "--shared", "--no-checkout"])
        .arg(&code)
        .arg(&work);
    assert!(feed(&mut clone, b"").0);
    let by_id: BTreeMap<String, &RealMail> = mails
        .iter()
        .map(|m| (patchpost::mail::parse(&m.bytes).message_id.to_string(), m))
        .collect();
    let table = std::fs::read_to_string(corpus.join("selinux-git-am.tsv")).unwrap();
    let step = if size() == 1 { 40 } else { 4 };
    let mut compared = 0;
    // Single patches: root, version, total, date, base, am.
    let rows = table.lines().map(|l| l.split('\t').collect::<Vec<_>>());
    for row in rows.filter(|r| r[2] == "1" && r[5] == "1").step_by(step) {
        let Some(mail) = by_id.get(row[0].trim_matches(['<', '>'])) else {
            continue;
        };
        let run = |arguments: &[&str], input: &[u8]| {
            let mut command = plain_git(&work);
            command
                .env("GIT_COMMITTER_NAME", "C")
                .env("GIT_COMMITTER_EMAIL", "c@x.org");
            let (fine, out, said) = feed(command.args(arguments), input);
            assert!(fine, "{arguments:?} for {}: {said}", row[0]);
            out
        };
        run(&["checkout", "-q", "-f", row[4]], b"");
        run(
            &["am", "-q"],
            &[b"From x Thu Jan  1 00:00:00 1970\n", &mail.bytes[..]].concat(),
        );
        let commit = run(&["cat-file", "commit", "HEAD"], b"");
        let letter = mailinfo(&mail.bytes).unwrap();
        let (ours, git) = (as_commit(&letter), bare_commit(&commit));
        assert_eq!(
            String::from_utf8_lossy(&ours),
            String::from_utf8_lossy(&git),
            "{}",
            row[0]
        );
        compared += 1;
    }
    report(&format!(
        "mailinfo against git am: {compared} commits equal"
    ));
    assert!(compared > 0);
}
