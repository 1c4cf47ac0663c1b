//! The mails of the corpus as values, and the fixtures that stand in for it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use patchpost::diff::mailinfo::mailinfo;

use super::harness::corpus;

/// A mail and where it stands.
pub struct RealMail {
    pub name: String,
    pub bytes: Vec<u8>,
}

/// A git that reads no settings but its own defaults.
pub fn plain_git(dir: &Path) -> Command {
    let mut command = Command::new("git");
    command
        .current_dir(dir)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("HOME", dir)
        .env("TZ", "UTC")
        .env("LC_ALL", "C.UTF-8");
    command
}

/// Runs a command with something on its standard input: whether it succeeded, and both outputs.
pub fn feed(command: &mut Command, input: &[u8]) -> (bool, Vec<u8>, String) {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || {
        // A program that stops early closes its input.
        drop(stdin.write_all(&input));
    });
    let out = child.wait_with_output().unwrap();
    writer.join().unwrap();
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    (out.status.success(), out.stdout, said)
}

/// The objects that `names` say, in that order; absent ones are none.
pub fn objects(repo: &Path, names: &[String]) -> Vec<Option<Vec<u8>>> {
    let input = names.join("\n") + "\n";
    let (_, out, _) = feed(
        plain_git(repo).args(["cat-file", "--batch"]),
        input.as_bytes(),
    );
    let mut rest = &out[..];
    let mut found = Vec::new();
    while let Some(end) = rest.iter().position(|b| *b == b'\n') {
        let head = String::from_utf8_lossy(&rest[..end]).into_owned();
        rest = &rest[end + 1..];
        let Some(size) = head
            .rsplit(' ')
            .next()
            .and_then(|s| s.parse::<usize>().ok())
        else {
            found.push(None);
            continue;
        };
        found.push(Some(rest[..size].to_vec()));
        rest = &rest[size + 1..];
    }
    assert_eq!(found.len(), names.len(), "one answer a name");
    found
}

/// A bundle of the corpus as a bare repository in `dir`.
pub fn unbundle(bundle: &Path, dir: &Path) -> PathBuf {
    let target = dir.join(bundle.file_stem().unwrap()).with_extension("git");
    let mut command = plain_git(dir);
    command.args(["clone", "-q", "--bare"]).arg(bundle);
    let (fine, _, said) = feed(command.arg(&target), b"");
    assert!(fine, "clone of {}: {said}", bundle.display());
    target
}

/// The mails of the kernel list, oldest first; none without the corpus.
pub fn list_mails(dir: &Path) -> Vec<RealMail> {
    let Some(corpus) = corpus() else {
        return Vec::new();
    };
    let repo = unbundle(&corpus.join("selinux-list.bundle"), dir);
    let (_, out, _) = feed(
        plain_git(&repo).args(["rev-list", "--reverse", "master"]),
        b"",
    );
    let names: Vec<String> = String::from_utf8(out)
        .unwrap()
        .lines()
        .map(|commit| format!("{commit}:m"))
        .collect();
    let found = objects(&repo, &names);
    let mails = names.into_iter().zip(found);
    mails
        .filter_map(|(name, bytes)| bytes.map(|bytes| RealMail { name, bytes }))
        .collect()
}

/// The mails of all mbox and mail files below a folder of the corpus; none without the corpus.
pub fn folder_mails(folder: &str) -> Vec<RealMail> {
    corpus().map_or_else(Vec::new, |corpus| files_mails(&corpus.join(folder)))
}

/// The mails of all mbox and mail files below a folder.
pub fn files_mails(folder: &Path) -> Vec<RealMail> {
    let mut waiting = vec![folder.to_owned()];
    let mut files = Vec::new();
    while let Some(next) = waiting.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                waiting.push(path);
            } else {
                files.push(path);
            }
        }
    }
    files.sort();
    let mut mails = Vec::new();
    for file in files {
        let bytes = std::fs::read(&file).unwrap();
        let name = file.strip_prefix(folder).unwrap().display().to_string();
        if bytes.starts_with(b"From ") {
            let reader = patchpost::mail::mbox::Reader::new(&bytes[..]);
            for (at, mail) in reader.enumerate() {
                mails.push(RealMail {
                    name: format!("{name} mail {}", at + 1),
                    bytes: mail.unwrap(),
                });
            }
        } else if !name.ends_with(".md") && !name.ends_with(".tsv") {
            mails.push(RealMail { name, bytes });
        }
    }
    mails
}

/// A series of the table that says what `git am` does with it at the branch's tip of its time.
pub struct Entry {
    pub version: u32,
    pub base: String,
    /// Places among the mails, in order.
    pub mails: Vec<usize>,
    pub titles: Vec<String>,
    /// Whether `git am -3` applies it there.
    pub three_way: bool,
}

/// The series of the table that all mails of are among these.
pub fn entries(corpus: &Path, mails: &[RealMail]) -> Vec<Entry> {
    let mut in_thread: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    let mut facts = Vec::new();
    for (at, mail) in mails.iter().enumerate() {
        let message = patchpost::mail::parse(&mail.bytes);
        let tag = patchpost::patchset::parse_tag(&message.subject);
        let top = message.parents.last().unwrap_or(&message.message_id);
        for name in BTreeSet::from([top.to_string(), message.message_id.to_string()]) {
            in_thread.entry(name).or_default().push(at);
        }
        facts.push((message, tag));
    }
    let mut entries = Vec::new();
    let table = std::fs::read_to_string(corpus.join("selinux-git-am.tsv")).unwrap();
    let rows = table
        .lines()
        .skip(1)
        .map(|l| l.split('\t').collect::<Vec<_>>());
    for row in rows {
        let (root, version, total) = (row[0].trim_matches(['<', '>']), row[1], row[2]);
        let total: u32 = total.parse().unwrap();
        let mut slots = BTreeMap::new();
        for at in in_thread.get(root).into_iter().flatten() {
            let tag = &facts[*at].1;
            let said = tag
                .version
                .as_ref()
                .map_or("1".to_owned(), ToString::to_string);
            let fits = said == version && tag.total.unwrap_or(1) == total && !tag.reply;
            if fits && mailinfo(&mails[*at].bytes).is_ok() {
                slots.entry(tag.number.unwrap_or(1)).or_insert(*at);
            }
        }
        let all: Vec<usize> = slots.into_values().collect();
        if all.len() == total as usize {
            let title = |at: &usize| patchpost::patchset::normalise_title(&facts[*at].1.title);
            entries.push(Entry {
                version: version.parse().unwrap(),
                base: row[4].to_owned(),
                titles: all.iter().map(title).collect(),
                mails: all,
                three_way: row[6] == "1",
            });
        }
    }
    entries
}
