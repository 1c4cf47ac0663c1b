//! Versions of real series compared with each other, here and by real `git range-diff`.

mod made;
mod story;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use patchpost::diff::mailinfo::mailinfo;
use patchpost::patchset::range_diff::{Commit, Fate, range_diff, render};
use patchpost::patchset::{Recognised, Series, assemble, first_blobs, recognise};

use super::am::random::Dice;
use super::base::Project;
use super::harness::{corpus_for, report, size};
use super::manifest::story::Story;
use super::real_mail::{RealMail, entries, feed, list_mails, plain_git};

/// A version of a series that `git am` applies.
struct Version {
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

/// Applies a version with the real `git am`, on this base, if it does.
fn apply(work: &Path, base: &str, mails: &[&RealMail]) -> Option<Version> {
    let _none_to_end = run(work, &["am", "--abort"], b"");
    run(work, &["checkout", "-q", "-f", base], b"").unwrap();
    let mbox: Vec<u8> = mails.iter().fold(Vec::new(), |mut all, mail| {
        all.extend(b"From x Thu Jan  1 00:00:00 1970\n");
        all.extend(&mail.bytes);
        all.extend(b"\n");
        all
    });
    if run(work, &["am", "-q", "-3"], &mbox).is_err() {
        let _none_to_end = run(work, &["am", "--abort"], b"");
        run(work, &["reset", "-q", "--hard"], b"").unwrap();
        return None;
    }
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
    // A change that is there already makes no commit.
    (commits.len() == mails.len()).then(|| Version {
        base: base.to_owned(),
        patches: mails.iter().zip(&commits).map(patch).collect(),
        commits,
    })
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

/// A version as the grouping found it.
struct Sent {
    label: String,
    title: String,
    /// Places among the mails, in order.
    mails: Vec<usize>,
}

/// Two versions of one patchset, and how many others lie between them.
struct Two {
    old: Sent,
    new: Sent,
    between: usize,
}

/// Every two complete versions of one patchset, as these mails are grouped here: neighbours first.
fn pairs(mails: &[RealMail]) -> Vec<Two> {
    let bytes: Vec<Vec<u8>> = mails.iter().map(|m| m.bytes.clone()).collect();
    let sets = assemble(&Story::inputs_of(&bytes));
    let sent = |series: &Series| Sent {
        label: series.label.clone(),
        title: series.title.clone(),
        // Rows are numbered from 1.
        mails: series
            .patches
            .iter()
            .map(|p| usize::try_from(p.mail.0).unwrap() - 1)
            .collect(),
    };
    let mut all = Vec::new();
    for set in sets {
        let whole: Vec<&Series> = set.series.iter().filter(|s| s.complete).collect();
        for new in 1..whole.len() {
            for old in 0..new {
                all.push(Two {
                    old: sent(whole[old]),
                    new: sent(whole[new]),
                    between: new - old - 1,
                });
            }
        }
    }
    all.sort_by_key(|two| two.between);
    all
}

/// Versions as commits, each made once by real git.
struct Workshop<'a> {
    project: Project,
    /// A repository for patches whose project is not here.
    elsewhere: PathBuf,
    mails: &'a [RealMail],
    /// Bases on which the table says that `git am -3` applies these mails.
    known: HashMap<Vec<usize>, String>,
    made: HashMap<(bool, Vec<usize>), Option<Version>>,
}

impl Workshop<'_> {
    /// Both versions in one repository, which is the project's if they apply there; and that repository.
    fn make(&mut self, two: &Two) -> Option<(PathBuf, &Version, &Version)> {
        let there = [true, false]
            .into_iter()
            .find(|there| self.make_one(*there, &two.old) && self.make_one(*there, &two.new))?;
        let work = if there {
            self.project.work.clone()
        } else {
            self.elsewhere.clone()
        };
        let made = |sent: &Sent| self.made[&(there, sent.mails.clone())].as_ref();
        Some((work, made(&two.old)?, made(&two.new)?))
    }

    fn make_one(&mut self, there: bool, sent: &Sent) -> bool {
        let key = (there, sent.mails.clone());
        if !self.made.contains_key(&key) {
            let mails: Vec<&RealMail> = sent.mails.iter().map(|at| &self.mails[*at]).collect();
            let version = if there {
                apply(&self.project.work, &self.base(sent, &mails), &mails)
            } else {
                let base = made::base(&self.elsewhere, &mails);
                base.and_then(|base| apply(&self.elsewhere, &base, &mails))
            };
            self.made.insert(key.clone(), version);
        }
        self.made[&key].is_some()
    }

    /// The base that the table of the corpus names, or the one that is found here.
    fn base(&self, sent: &Sent, mails: &[&RealMail]) -> String {
        if let Some(base) = self.known.get(&sent.mails) {
            return base.clone();
        }
        let facts: Vec<Recognised> = mails
            .iter()
            .map(|m| recognise(&patchpost::mail::parse(&m.bytes)))
            .collect();
        let named = facts.iter().find_map(|f| f.base_commit.clone());
        self.project
            .base(named.as_deref(), &first_blobs(&facts))
            .commit
    }
}

#[test]
fn versions_are_compared_as_git_compares_them() {
    let Some(corpus) = corpus_for("range-diff of real versions, against git's") else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let mails = list_mails(dir.path());
    let elsewhere = dir.path().join("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    run(&elsewhere, &["init", "-q", "-b", "main"], b"").unwrap();
    let entries = entries(&corpus, &mails).into_iter().filter(|e| e.three_way);
    let mut workshop = Workshop {
        project: Project::new(&corpus, dir.path()),
        elsewhere: elsewhere.clone(),
        mails: &mails,
        known: entries.map(|e| (e.mails, e.base)).collect(),
        made: HashMap::new(),
    };
    let wanted = [15, 80, 200][size() - 1];
    let all = pairs(&mails);
    let step = if size() == 1 { 8 } else { 1 };
    let mut judged = Judged::default();
    let mut no_commits = 0;
    // At least as many as are wanted; where all is looked at, all.
    for two in all.iter().step_by(step) {
        if judged.count == wanted && size() < 3 {
            break;
        }
        let Some((work, old, new)) = workshop.make(two) else {
            no_commits += 1;
            continue;
        };
        judged.compare((&work, work == elsewhere), two, old, new);
    }
    report(&format!(
        "range-diff: {} pairs of versions of one patchset, {} of them neighbours, {} on the project's own history and {} on bases made of what their hunks say (kernel patches, whose history is not in the corpus): {} differ from git in pairing or text; {no_commits} more became no commits, as git applies one of the two on neither",
        judged.count,
        judged.neighbours,
        judged.count - judged.made,
        judged.made,
        judged.wrong.len()
    ));
    report(&format!(
        "range-diff: made of the mails and not of the commits, {} have the same text, {} another one for the reasons listed, {} another pairing, as hunks of made bases have no functions in their headings: without headings they are paired as the commits are",
        judged.same_text,
        judged.explained.len(),
        judged.otherwise.len()
    ));
    for line in &judged.otherwise {
        report(&format!("range-diff, paired otherwise of mails: {line}"));
    }
    let mut explained = judged.explained.clone();
    explained.sort();
    explained.iter().for_each(|line| report(line));
    assert!(judged.wrong.is_empty(), "{}", judged.wrong.join("\n"));
    assert!(judged.count >= wanted, "{} pairs are commits", judged.count);
    let known = judged.explained.len() + judged.otherwise.len();
    assert_eq!(judged.same_text + known, judged.count);
    // What is paired otherwise is the exception.
    assert!(
        judged.otherwise.len() * 10 <= judged.count,
        "{:#?}",
        judged.otherwise
    );
}

/// What came of the comparisons.
#[derive(Default)]
struct Judged {
    count: usize,
    neighbours: usize,
    /// On made bases.
    made: usize,
    same_text: usize,
    /// Pairs whose text is another one when it is made of the mails, and why.
    explained: Vec<String>,
    /// Pairs on made bases that are paired in another way when they are made of the mails.
    otherwise: Vec<String>,
    wrong: Vec<String>,
}

impl Judged {
    /// Compares two versions of which both are commits, on a base that `is_made` or the project's.
    fn compare(&mut self, (work, is_made): (&Path, bool), two: &Two, old: &Version, new: &Version) {
        self.count += 1;
        self.made += usize::from(is_made);
        self.neighbours += usize::from(two.between == 0);
        let git = git_range_diff(work, old, new);
        let what = format!("{} v{}..v{}", two.new.title, two.old.label, two.new.label);
        let ours = render(&range_diff(&old.patches, &new.patches).unwrap());
        if pairing(&ours) != pairing(&git) {
            let only = |a: &str, b: &str| -> Vec<String> {
                let other = pairing(b);
                pairing(a)
                    .into_iter()
                    .filter(|p| !other.contains(p))
                    .collect()
            };
            let differs = format!(
                "{what}: {:?}, git has {:?}",
                only(&ours, &git),
                only(&git, &ours)
            );
            // A made base has no functions for the headings of hunks, and what they say has a part in what a pair costs. Without
            // them on both sides the pairs are those of the commits.
            let same = bare_pairing(&old.patches, &new.patches)
                == bare_pairing(&as_git_diffs(work, old), &as_git_diffs(work, new));
            match is_made && same {
                true => self.otherwise.push(differs),
                false => self.wrong.push(differs),
            }
        } else if ours == git {
            self.same_text += 1;
        } else {
            let line = ours.lines().zip(git.lines()).find(|(a, b)| a != b);
            match reason(work, old).or_else(|| reason(work, new)) {
                Some(why) => self
                    .explained
                    .push(format!("range-diff of mails, {what}: {why}")),
                None => self.wrong.push(format!("{what}: {line:?}, for no reason")),
            }
        }
        // Made of the commits' own diffs, the text is the same.
        let ours = render(&range_diff(&as_git_diffs(work, old), &as_git_diffs(work, new)).unwrap());
        if ours != git {
            let line = ours.lines().zip(git.lines()).find(|(a, b)| a != b);
            self.wrong.push(format!(
                "{what}: the text of the commits differs, we and git: {line:?}"
            ));
        }
    }
}

/// Who becomes whom where no hunk has anything behind its line numbers.
fn bare_pairing(old: &[Commit], new: &[Commit]) -> Vec<String> {
    let bare =
        |commits: &[Commit]| -> Vec<Commit> { commits.iter().map(without_headings).collect() };
    pairing(&render(&range_diff(&bare(old), &bare(new)).unwrap()))
}

fn without_headings(commit: &Commit) -> Commit {
    let cut = |line: &[u8]| -> Vec<u8> {
        let end = line.windows(3).skip(3).position(|w| w == b" @@");
        match end.filter(|_| line.starts_with(b"@@ -")) {
            Some(at) => [&line[..at + 6], b"\n"].concat(),
            None => line.to_vec(),
        }
    };
    let lines = commit.patch.split_inclusive(|b| *b == b'\n');
    Commit {
        patch: lines.flat_map(cut).collect(),
        ..commit.clone()
    }
}

/// Why a mail's diff is not the commit's: its sender's git made it by other rules, or the change stands elsewhere in the base.
fn reason(work: &Path, version: &Version) -> Option<String> {
    let commits = as_git_diffs(work, version);
    let mut pairs = version.patches.iter().zip(&commits).enumerate();
    pairs.find_map(|(at, (mail, commit))| {
        let (sent, made) = (lines_of(&mail.patch), lines_of(&commit.patch));
        let (one, two) = sent.iter().zip(&made).find(|(a, b)| a != b)?;
        let (changes, made_changes) = (changed(&sent), changed(&made));
        let what = if changes == made_changes {
            "the mail's diff has other context around the same changes"
        } else {
            "the mail's diff names the same change by other lines"
        };
        let number = at + 1;
        Some(format!(
            "{what} (patch {number}: {one:?}, the commit has {two:?})"
        ))
    })
}

/// The lines of a diff, without ids and line numbers.
fn lines_of(patch: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(patch).into_owned();
    let from = text.lines().skip_while(|l| !l.starts_with("diff --git "));
    let kept = from.filter(|l| !l.starts_with("index ") && !l.starts_with("-- "));
    kept.map(
        |l| match l.strip_prefix("@@ ").and_then(|l| l.split_once(" @@")) {
            Some((_, function)) => format!("@@{function}"),
            None => l.to_owned(),
        },
    )
    .collect()
}

fn changed(lines: &[String]) -> Vec<&String> {
    lines.iter().filter(|l| l.starts_with(['+', '-'])).collect()
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
        let (old, new) = (tiny(work, &mut dice), tiny(work, &mut dice));
        let git = git_range_diff(work, &old, &new);
        let ours = range_diff(&as_git_diffs(work, &old), &as_git_diffs(work, &new)).unwrap();
        if render(&ours) != git {
            wrong.push(format!("seed {seed}: {}\ngit:\n{git}", render(&ours)));
        }
    }
    report(&format!("range-diff: {wanted} pairs of tiny series"));
    assert!(
        wrong.is_empty(),
        "{} differ\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

/// Up to five commits, each of which puts one of few words at the end of one of few files.
fn tiny(work: &Path, dice: &mut Dice) -> Version {
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
