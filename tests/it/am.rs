//! Applying mails: every outcome compared with real `git am` and `git am -3` in a checkout of the same base.

mod bounds;
mod cases;
mod command;
mod hostile;
pub mod random;
mod real_series;

use std::path::{Path, PathBuf};

use patchpost::git::{AmRequest, Committer, Fallback, Outcome, am};
use patchpost::types::Timestamp;

use super::harness::size;
use super::real_mail::{feed, plain_git};

/// The committer's date on both sides, so that equal commits have equal ids.
const DATE: i64 = 1_700_000_000;

/// A checkout in which git works, and a bare repository that borrows its objects, in which we do.
pub struct Pair {
    dir: tempfile::TempDir,
    pub checkout: PathBuf,
}

/// What git says when it ends by an assertion.
const ASSERTION: &str = "Assertion `";

/// What became of a series: the last commit, or why there is none.
pub type Became = Result<String, String>;

impl Pair {
    /// Begins with a clone, or with an empty repository.
    pub fn new(source: Option<&Path>) -> Pair {
        let dir = tempfile::tempdir().unwrap();
        let checkout = dir.path().join("checkout");
        let mut command = plain_git(dir.path());
        match source {
            Some(source) => command
                .args(["clone", "-q", "--no-checkout", "--shared"])
                .arg(source),
            None => command.args(["init", "-q", "-b", "main"]),
        };
        let (fine, _, said) = feed(command.arg(&checkout), b"");
        assert!(fine, "{said}");
        Pair { dir, checkout }
    }

    fn git_with(&self, arguments: &[&str], input: &[u8]) -> Result<String, String> {
        let mut command = plain_git(&self.checkout);
        command
            .args([
                "-c",
                "advice.mergeConflict=false",
                "-c",
                "core.autocrlf=false",
            ])
            .args(arguments)
            .env("GIT_COMMITTER_NAME", "C")
            .env("GIT_COMMITTER_EMAIL", "c@x.org")
            .env("GIT_COMMITTER_DATE", format!("@{DATE} +0000"))
            .env("GIT_AUTHOR_NAME", "A")
            .env("GIT_AUTHOR_EMAIL", "a@x.org");
        let (fine, out, said) = feed(&mut command, input);
        let out = String::from_utf8_lossy(&out).trim_end().to_owned();
        if fine {
            Ok(out)
        } else {
            Err(format!("{out}{said}"))
        }
    }

    #[track_caller]
    pub fn git(&self, arguments: &[&str]) -> String {
        self.git_with(arguments, b"")
            .unwrap_or_else(|said| panic!("git {arguments:?}: {said}"))
    }

    pub fn try_git(&self, arguments: &[&str]) -> Result<String, String> {
        self.git_with(arguments, b"")
    }

    pub fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.checkout.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    /// Commits all that is in the checkout; its id.
    pub fn commit(&self, message: &str) -> String {
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "--allow-empty", "-m", message]);
        self.git(&["rev-parse", "HEAD"])
    }

    /// Applies mails in a bare repository of its own, which is as before if they do not fit, and sound if they do.
    pub fn ours(
        &self,
        base: &str,
        mails: &[Vec<u8>],
        fallback: Fallback,
    ) -> (Became, tempfile::TempDir) {
        let bare = tempfile::tempdir_in(self.dir.path()).unwrap();
        bare_beside(bare.path(), &self.checkout.join(".git/objects"));
        let before = snapshot(bare.path());
        let request = AmRequest {
            repo: bare.path().to_owned(),
            base: base.to_owned(),
            ref_name: Some("refs/heads/result".to_owned()),
            fallback,
            mails: mails.to_vec(),
            committer: Some(committer()),
            with_author_date: false,
        };
        let outcome = match am(&request) {
            Ok(outcome) => outcome,
            Err(error) => return (Err(format!("error: {error}")), bare),
        };
        let Outcome::Applied { commits, .. } = outcome else {
            assert_eq!(
                snapshot(bare.path()),
                before,
                "a failed run leaves nothing behind"
            );
            return (Err(format!("{outcome:?}")), bare);
        };
        let head = commits.last().unwrap().clone();
        let set = std::fs::read_to_string(bare.path().join("refs/heads/result")).unwrap();
        assert_eq!(set.trim(), head);
        // Small runs look into some of the repositories only.
        if size() > 1 || head.starts_with(['0', '1']) {
            let options = ["fsck", "--strict", "--no-dangling", "--connectivity-only"];
            let (fine, _, said) = feed(plain_git(bare.path()).args(options), b"");
            assert!(fine, "{said}");
        }
        (Ok(head), bare)
    }

    /// Applies mails with real git.
    pub fn theirs(&self, base: &str, mails: &[Vec<u8>], fallback: Fallback) -> Became {
        self.theirs_with(base, mails, fallback, &[])
    }

    /// The same, with options.
    pub fn theirs_with(
        &self,
        base: &str,
        mails: &[Vec<u8>],
        fallback: Fallback,
        options: &[&str],
    ) -> Became {
        // A git that broke off on an odd mail leaves its lock behind.
        drop(std::fs::remove_file(self.checkout.join(".git/index.lock")));
        drop(self.try_git(&["am", "--abort"]));
        self.git(&["checkout", "-q", "-f", "--detach", base]);
        self.git(&["reset", "-q", "--hard", base]);
        self.git(&["clean", "-ffdxq"]);
        // What `git format-patch` writes has its separator already.
        let separator = |mail: &[u8]| match mail.starts_with(b"From ") {
            true => &b""[..],
            false => b"From mboxrd@z Thu Jan  1 00:00:00 1970\n",
        };
        let mbox: Vec<u8> = mails
            .iter()
            .flat_map(|m| [separator(m), m, b"\n"].concat())
            .collect();
        let mut arguments = vec!["am", "-q", "--no-gpg-sign"];
        if fallback == Fallback::ThreeWay {
            arguments.push("-3");
        }
        arguments.extend(options);
        self.git_with(&arguments, &mbox)?;
        Ok(self.git(&["rev-parse", "HEAD"]))
    }

    /// Both, and they must agree: the same commit, or both refuse. Ours runs first, so that it finds no object that git made.
    pub fn agree(
        &self,
        base: &str,
        mails: &[Vec<u8>],
        fallback: Fallback,
    ) -> Result<Became, String> {
        let (ours, bare) = self.ours(base, mails, fallback);
        let theirs = self.theirs(base, mails, fallback);
        match (&ours, &theirs) {
            // A failure of our own is no refusal.
            (Err(why), _) if why.starts_with("error: ") => {
                Err(format!("we: {why}\ngit: {theirs:?}"))
            }
            (Ok(a), Ok(b)) if a == b => Ok(ours),
            // Some damaged headers make git end by an assertion of its own (`check_preimage`): it says nothing then.
            (_, Err(said)) if said.contains(ASSERTION) => Err(format!("git: {said}")),
            (Err(_), Err(_)) => Ok(ours),
            (Ok(a), Ok(b)) => {
                let bare = bare.path().to_string_lossy();
                self.git(&["fetch", "-q", "--no-tags", &bare, "refs/heads/result"]);
                let differs = self.git(&["diff", "--stat", a, b]);
                let show = |c: &str| self.git(&["cat-file", "commit", c]);
                Err(format!(
                    "other commits:\n{}\n{}\n{differs}",
                    show(a),
                    show(b)
                ))
            }
            _ => Err(format!("we: {ours:?}\ngit: {theirs:?}")),
        }
    }
}

fn committer() -> Committer {
    Committer {
        name: "C".to_owned(),
        email: "c@x.org".to_owned(),
        date: Timestamp::from_secs(DATE),
        zone: 0,
        with_author_date: false,
    }
}

/// Makes a bare repository that borrows objects.
pub fn bare_beside(dir: &Path, objects: &Path) {
    for folder in ["objects/info", "objects/pack", "refs/heads"] {
        std::fs::create_dir_all(dir.join(folder)).unwrap();
    }
    std::fs::write(dir.join("HEAD"), "ref: refs/heads/main\n").unwrap();
    let config = "[core]\n\trepositoryformatversion = 0\n\tbare = true\n";
    std::fs::write(dir.join("config"), config).unwrap();
    let objects = format!("{}\n", objects.display());
    std::fs::write(dir.join("objects/info/alternates"), objects).unwrap();
}

/// Every file below a folder with its content's hash.
pub fn snapshot(folder: &Path) -> Vec<(PathBuf, u64)> {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut waiting = vec![folder.to_owned()];
    let mut found = Vec::new();
    while let Some(next) = waiting.pop() {
        for entry in std::fs::read_dir(next).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() && !path.is_symlink() {
                waiting.push(path);
                continue;
            }
            let mut hasher = DefaultHasher::new();
            let content = std::fs::read_link(&path).map_or_else(
                |_| std::fs::read(&path).unwrap(),
                |to| to.to_string_lossy().into_owned().into_bytes(),
            );
            content.hash(&mut hasher);
            found.push((path, hasher.finish()));
        }
    }
    found.sort();
    found
}

/// The commits after `base` as mails.
pub fn mails_of(pair: &Pair, base: &str, tip: &str, options: &[&str]) -> Vec<Vec<u8>> {
    let out = tempfile::tempdir().unwrap();
    let folder = out.path().to_string_lossy().into_owned();
    let range = format!("{base}..{tip}");
    let mut arguments = vec!["format-patch", "-q", "-o", &folder];
    arguments.extend(options);
    arguments.push(&range);
    pair.git(&arguments);
    let mut files: Vec<PathBuf> = std::fs::read_dir(out.path())
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    files.sort();
    files.iter().map(|f| std::fs::read(f).unwrap()).collect()
}
