//! On which commit a series is applied: looked up in a real history, and compared with the tip by real `git am -3`.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use patchpost::git::{Base, Repos, Source};
use patchpost::mail;
use patchpost::patchset::{Recognised, first_blobs, recognise};

use super::harness::{corpus, corpus_for, git, project, report, size};
use super::real_mail::{Entry, RealMail, entries, feed, list_mails, objects, plain_git, unbundle};

fn run(dir: &Path, arguments: &[&str], input: &[u8]) -> Result<String, String> {
    let mut command = plain_git(dir);
    command
        .env("GIT_COMMITTER_NAME", "C")
        .env("GIT_COMMITTER_EMAIL", "c@x.org");
    match feed(command.args(arguments), input) {
        (true, out, _) => Ok(String::from_utf8_lossy(&out).trim().to_owned()),
        (false, _, said) => Err(format!("{arguments:?}: {said}")),
    }
}

/// The real project as one of our repositories, and a work tree that borrows its objects.
pub struct Project {
    repos: Repos,
    branch: String,
    clone: PathBuf,
    pub work: PathBuf,
}

impl Project {
    pub fn new(corpus: &Path, dir: &Path) -> Project {
        let code = unbundle(&corpus.join("selinux-code.bundle"), dir);
        // The bundle names a commit and no branch.
        run(&code, &["update-ref", "refs/heads/main", "HEAD"], b"").unwrap();
        run(&code, &["symbolic-ref", "HEAD", "refs/heads/main"], b"").unwrap();
        Project::of(&code, dir)
    }

    /// A repository that is followed here.
    fn of(code: &Path, dir: &Path) -> Project {
        let repos = Repos::new(dir);
        let (branch, _) = repos
            .create("code", &Source::Path(code.to_owned()), None)
            .unwrap();
        let work = dir.join("work");
        let (from, to) = (code.display().to_string(), work.display().to_string());
        run(
            dir,
            &["clone", "-q", "--shared", "--no-checkout", &from, &to],
            b"",
        )
        .unwrap();
        Project {
            clone: repos.clone_dir("code"),
            repos,
            branch,
            work,
        }
    }

    pub fn base(&self, named: Option<&str>, blobs: &[(String, String)]) -> Base {
        self.repos
            .find_base("code", &self.branch, named, blobs)
            .unwrap()
            .unwrap()
    }

    fn move_branch(&self, commit: &str) {
        run(
            &self.clone,
            &["update-ref", &format!("refs/heads/{}", self.branch), commit],
            b"",
        )
        .unwrap();
    }

    /// Whether real `git am -3` applies the mails there.
    fn applies(&self, base: &str, mails: &[&RealMail]) -> bool {
        let mbox: Vec<u8> = mails.iter().fold(Vec::new(), |mut all, mail| {
            all.extend(b"From x Thu Jan  1 00:00:00 1970\n");
            all.extend(&mail.bytes);
            all.extend(b"\n");
            all
        });
        run(&self.work, &["checkout", "-q", "-f", base], b"").unwrap();
        let applied = run(&self.work, &["am", "-q", "-3"], &mbox).is_ok();
        if !applied {
            let _none_to_end = run(&self.work, &["am", "--abort"], b"");
            run(&self.work, &["reset", "-q", "--hard"], b"").unwrap();
        }
        applied
    }
}

/// The blobs of some commit are found in the newest commit that has them all, as a look at every commit says.
#[test]
fn blobs_lead_to_the_newest_commit_that_has_them() {
    let Some(corpus) = corpus() else {
        return small_history();
    };
    let dir = tempfile::tempdir().unwrap();
    let project = Project::new(&corpus, dir.path());
    let line = run(
        &project.clone,
        &["rev-list", "--first-parent", &project.branch],
        b"",
    )
    .unwrap();
    let line: Vec<&str> = line.lines().collect();
    let count = [15, 60, 150][size() - 1];
    let step = line.len() / count;
    for at in (1..line.len() - 1).step_by(step) {
        let changed = run(
            &project.clone,
            &[
                "diff",
                "--name-only",
                "--no-renames",
                "--diff-filter=M",
                line[at + 1],
                line[at],
            ],
            b"",
        )
        .unwrap();
        let paths: Vec<&str> = changed.lines().take(3).collect();
        let names = |commit: &str| {
            paths
                .iter()
                .map(|p| format!("{commit}:{p}"))
                .collect::<Vec<_>>()
        };
        let ids = run(
            &project.clone,
            &[vec!["rev-parse".to_owned()], names(line[at])]
                .concat()
                .iter()
                .map(String::as_str)
                .collect::<Vec<_>>(),
            b"",
        );
        if paths.is_empty() {
            continue;
        }
        let ids = ids.unwrap();
        let blobs: Vec<(String, String)> = paths
            .iter()
            .zip(ids.lines())
            .map(|(p, id)| ((*p).to_owned(), id[..8].to_owned()))
            .collect();
        let all: Vec<String> = line.iter().flat_map(|c| names(c)).collect();
        let input = all.join("\n") + "\n";
        let out = run(
            &project.clone,
            &["cat-file", "--batch-check=%(objectname)"],
            input.as_bytes(),
        )
        .unwrap();
        let found: Vec<&str> = out.lines().collect();
        let fits = |at: &usize| {
            found[at * paths.len()..][..paths.len()]
                .iter()
                .zip(&blobs)
                .all(|(id, (_, b))| id.starts_with(b.as_str()))
        };
        let newest = (0..line.len()).find(fits).unwrap();
        let base = project.base(None, &blobs);
        assert_eq!(base.commit, line[newest], "{blobs:?}: {}", base.why);
        assert!(
            base.why.contains("where the index blobs match"),
            "{}",
            base.why
        );
    }
}

fn small_history() {
    println!("the corpus is not here: a small history stands in");
    let dir = tempfile::tempdir().unwrap();
    let work = project(dir.path());
    let repos = Repos::new(dir.path());
    let mut expected = Vec::new();
    for n in 1..6 {
        std::fs::write(work.join("README"), format!("{n}\n")).unwrap();
        git(&work, &["commit", "-qam", &n.to_string()]);
        expected.push((
            git(&work, &["rev-parse", "HEAD:README"]),
            git(&work, &["rev-parse", "HEAD"]),
        ));
    }
    let (branch, _) = repos.create("tool", &Source::Path(work), None).unwrap();
    for (blob, commit) in expected {
        let base = repos
            .find_base("tool", &branch, None, &[("README".to_owned(), blob)])
            .unwrap();
        assert_eq!(base.unwrap().commit, commit);
    }
}

/// The newest 20,000 commits of a longer history are looked through, and no others.
#[test]
fn of_a_long_history_the_newest_part_is_searched() {
    let dir = tempfile::tempdir().unwrap();
    let long = dir.path().join("long.git");
    let to = long.display().to_string();
    let init = ["init", "-q", "--bare", "-b", "main", &to];
    run(dir.path(), &init, b"").unwrap();
    let commit = |n: usize| {
        let text = format!("{n}\n");
        let size = text.len();
        format!(
            "commit refs/heads/main\ncommitter C <c@x.org> {n} +0000\ndata 1\nm\nM 644 inline f\ndata {size}\n{text}\n"
        )
    };
    let script: String = (1..=25_000).map(commit).collect();
    run(&long, &["fast-import", "--quiet"], script.as_bytes()).unwrap();
    let repos = Repos::new(dir.path());
    let source = Source::Path(long.clone());
    let (branch, tip) = repos.create("long", &source, None).unwrap();
    let base = |back: usize| {
        let names = [format!("main~{back}"), format!("main~{back}:f")];
        let ids = run(&long, &["rev-parse", &names[0], &names[1]], b"").unwrap();
        let (commit, blob) = ids.split_once('\n').unwrap();
        let blobs = [("f".to_owned(), blob.to_owned())];
        let base = repos.find_base("long", &branch, None, &blobs);
        (base.unwrap().unwrap(), commit.to_owned())
    };
    for back in [0, 1, 10_000, 19_999] {
        let (base, commit) = base(back);
        assert_eq!(base.commit, commit, "{back} back: {}", base.why);
    }
    for back in [20_000, 24_999] {
        let (base, _) = base(back);
        assert_eq!(Some(base.commit), tip, "{back} back");
        assert!(
            base.why.contains("no commit has these index blobs"),
            "{}",
            base.why
        );
    }
}

/// A branch that moves on, or back and elsewhere, is looked at as it is now.
#[test]
fn a_branch_that_moves_is_looked_at_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let work = project(dir.path());
    let repos = Repos::new(dir.path());
    let write = |text: &str| {
        std::fs::write(work.join("README"), text).unwrap();
        git(&work, &["commit", "-qam", text]);
        (
            git(&work, &["rev-parse", "HEAD:README"]),
            git(&work, &["rev-parse", "HEAD"]),
        )
    };
    let (one, _two) = (write("one"), write("two"));
    let (branch, _) = repos
        .create("tool", &Source::Path(work.clone()), None)
        .unwrap();
    let base = |blob: &str| {
        repos
            .find_base(
                "tool",
                &branch,
                None,
                &[("README".to_owned(), blob.to_owned())],
            )
            .unwrap()
            .unwrap()
    };
    assert_eq!(base(&one.0).commit, one.1);
    let three = write("three");
    write("four");
    repos.fetch("tool", &branch).unwrap();
    assert_eq!(
        (base(&one.0).commit, base(&three.0).commit),
        (one.1.clone(), three.1.clone())
    );
    git(&work, &["reset", "-q", "--hard", &one.1]);
    let five = write("five");
    write("six");
    repos.fetch("tool", &branch).unwrap();
    assert_eq!((base(&one.0).commit, base(&five.0).commit), (one.1, five.1));
    let gone = base(&three.0);
    assert!(
        gone.why.contains("no commit has these index blobs"),
        "{}",
        gone.why
    );
}

/// Of some series, how many `git am -3` applies at the tip of their time, and how many on the base that is chosen.
#[derive(Default)]
struct Shares {
    count: usize,
    at_tip: usize,
    chosen: usize,
    reasons: BTreeMap<String, usize>,
    lost: Vec<String>,
}

impl Shares {
    /// Judges a series; `at_tip` says whether it applies at the tip of its time, which is the branch's now.
    fn judge(
        &mut self,
        project: &Project,
        entry: &Entry,
        mails: &[RealMail],
        at_tip: Option<bool>,
    ) {
        let series: Vec<&RealMail> = entry.mails.iter().map(|at| &mails[*at]).collect();
        let facts: Vec<Recognised> = series
            .iter()
            .map(|m| recognise(&mail::parse(&m.bytes)))
            .collect();
        let files: Vec<String> = facts.iter().flat_map(|f| f.files.iter().cloned()).collect();
        let paths = project.repos.count_paths("code", &project.branch, &files);
        if paths.unwrap() == 0 {
            return;
        }
        self.count += 1;
        let at_tip = at_tip.unwrap_or_else(|| project.applies(&entry.base, &series));
        self.at_tip += usize::from(at_tip);
        let named = facts.iter().find_map(|f| f.base_commit.clone());
        let base = project.base(named.as_deref(), &first_blobs(&facts));
        let why = base.why.replace(&project.branch, "the branch");
        *self.reasons.entry(why).or_default() += 1;
        let applies = match base.commit == entry.base {
            true => at_tip,
            false => project.applies(&base.commit, &series),
        };
        self.chosen += usize::from(applies);
        if at_tip && !applies {
            self.lost.push(describe(entry, &base));
        }
    }

    fn check(&self, what: &str) {
        let share = |n: usize| format!("{n} ({:.1} %)", 100.0 * n as f64 / self.count as f64);
        report(&format!(
            "bases, {what}: of {} series whose files are in the repository, git am -3 applies {} at the tip of their time, {} on the base chosen here",
            self.count,
            share(self.at_tip),
            share(self.chosen)
        ));
        println!("bases, {what}: {:#?}", self.reasons);
        let lost = &self.lost;
        assert!(lost.is_empty(), "a better tip was passed over: {lost:#?}");
        let (chosen, at_tip) = (self.chosen, self.at_tip);
        // Of a few series all may apply at the tip.
        let more = match size() {
            1 => chosen >= at_tip,
            _ => chosen > at_tip,
        };
        assert!(more, "{what}: {chosen} against {at_tip} of {}", self.count);
    }
}

/// All series, or a few: of those that apply at the tip and of the others as many as there are of each in all.
fn sample(entries: Vec<Entry>) -> Vec<Entry> {
    let step = [8, 3, 1][size() - 1];
    let (apply, others): (Vec<Entry>, Vec<Entry>) = entries.into_iter().partition(|e| e.three_way);
    let apply = apply.into_iter().step_by(step);
    apply.chain(others.into_iter().step_by(step)).collect()
}

/// Series of a real list whose files are in the project: how many apply on the base that is chosen, and how many at the tip.
#[test]
fn more_series_apply_on_the_chosen_base_than_at_the_tip() {
    let Some(corpus) = corpus_for("bases of real series") else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let mails = list_mails(dir.path());
    let project = Project::new(&corpus, dir.path());
    let mut shares = Shares::default();
    for entry in &sample(entries(&corpus, &mails)) {
        project.move_branch(&entry.base);
        shares.judge(&project, entry, &mails, Some(entry.three_way));
    }
    shares.check("with all of the history there");
}

/// The same where nothing of the repository is younger than the series: no commit, no blob that `git am -3` could merge with.
#[test]
fn more_series_apply_on_the_chosen_base_than_at_the_tip_with_the_history_of_their_time() {
    let Some(corpus) = corpus_for("bases of real series, with the history of their time") else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let mails = list_mails(dir.path());
    let code = unbundle(&corpus.join("selinux-code.bundle"), dir.path());
    let order = run(
        &code,
        &["rev-list", "--topo-order", "--reverse", "HEAD"],
        b"",
    )
    .unwrap();
    let place: HashMap<&str, usize> = order.lines().zip(0..).collect();
    let mut entries = sample(entries(&corpus, &mails));
    entries.sort_by_key(|e| place[e.base.as_str()]);
    let past = dir.path().join("past.git");
    let (from, to) = (code.display().to_string(), past.display().to_string());
    run(
        dir.path(),
        &["init", "-q", "--bare", "-b", "main", &to],
        b"",
    )
    .unwrap();
    let go_to = |commit: &str| {
        run(&code, &["update-ref", "refs/heads/then", commit], b"").unwrap();
        let wish = "+refs/heads/then:refs/heads/main";
        run(&past, &["fetch", "-q", "--no-tags", &from, wish], b"").unwrap();
    };
    go_to(&entries[0].base);
    let project = Project::of(&past, dir.path());
    let mut shares = Shares::default();
    for entry in &entries {
        go_to(&entry.base);
        project.repos.fetch("code", &project.branch).unwrap();
        let newest = run(&past, &["rev-list", "--all", "--max-count=1"], b"").unwrap();
        assert_eq!(newest, entry.base, "the repository ends there");
        shares.judge(&project, entry, &mails, None);
    }
    shares.check("with the history of their time");
}

fn describe(entry: &Entry, base: &Base) -> String {
    format!(
        "{} v{} on {}: {}",
        entry.titles[0], entry.version, base.commit, base.why
    )
}

/// What is read of a history stays true to what git says of the commit that is named.
#[test]
fn a_named_commit_that_is_not_there_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let work = project(dir.path());
    let repos = Repos::new(dir.path());
    let (branch, tip) = repos.create("tool", &Source::Path(work), None).unwrap();
    let base = repos.find_base(
        "tool",
        &branch,
        Some("1234567890123456789012345678901234567890"),
        &[],
    );
    let base = base.unwrap().unwrap();
    assert_eq!(Some(base.commit.clone()), tip);
    assert!(
        base.why.contains("is not in this repository"),
        "{}",
        base.why
    );
    let found = objects(&repos.clone_dir("tool"), &[base.commit]);
    assert!(found[0].is_some());
}
