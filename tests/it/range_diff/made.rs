//! A base for patches whose project is not here: files that hold what their hunks say to find, at the lines that they name, and
//! lines that mean nothing elsewhere.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;

use patchpost::diff::mailinfo::mailinfo;
use patchpost::diff::{Body, FilePatch, Hunk, Kind, Limits, Line, parse};

use crate::real_mail::{RealMail, feed, plain_git};

/// A line of the base: what it says, once a hunk has said so. Wherever it moves to, it is the same one.
type Known = Rc<RefCell<Option<Vec<u8>>>>;

/// Longer files are not made.
const MOST_LINES: usize = 50_000;

struct File {
    base: Vec<Known>,
    now: Vec<Known>,
    /// Whether a hunk has said where it ends.
    closed: bool,
    mode: u32,
}

/// What the base has, by the path there; and the files as they are after the patches so far, by their path now.
#[derive(Default)]
struct Tree {
    files: Vec<File>,
    base: BTreeMap<String, usize>,
    now: BTreeMap<String, usize>,
}

/// Commits the base of a series in a repository; `None` if its patches contradict themselves, or are not text.
pub fn base(repo: &Path, mails: &[&RealMail]) -> Option<String> {
    let mut tree = Tree::default();
    for mail in mails {
        let letter = mailinfo(&mail.bytes).ok()?;
        let patches = parse(&letter.patch, 1, &Limits::default()).ok()?;
        for patch in &patches {
            tree.change(patch)?;
        }
    }
    Some(tree.commit(repo))
}

impl Tree {
    fn change(&mut self, patch: &FilePatch<'_>) -> Option<()> {
        let Body::Text(hunks) = &patch.body else {
            return None;
        };
        let name = |path: &Option<Vec<u8>>| path.clone().and_then(|p| String::from_utf8(p).ok());
        let (old, new) = (name(&patch.old), name(&patch.new));
        let at = match &old {
            None => self.add(Vec::new(), true),
            Some(path) => match self.now.get(path) {
                Some(at) => *at,
                None => {
                    let at = self.add(Vec::new(), false);
                    self.files[at].mode = patch.old_mode.unwrap_or(0o100_644);
                    // What an earlier patch took away is not in the base.
                    if self.base.insert(path.clone(), at).is_some() {
                        return None;
                    }
                    self.now.insert(path.clone(), at);
                    at
                }
            },
        };
        let at = match patch.kind {
            Kind::Copy => {
                // A copy has its own future, and the same past.
                let file = &self.files[at];
                let (now, closed) = (file.now.clone(), file.closed);
                self.add(now, closed)
            }
            _ => at,
        };
        if matches!(patch.kind, Kind::Rename | Kind::Delete) {
            self.now.remove(&old?);
        }
        for hunk in hunks {
            self.files[at].hunk(hunk)?;
        }
        if let Some(new) = new {
            self.now.insert(new, at);
        }
        Some(())
    }

    fn add(&mut self, now: Vec<Known>, closed: bool) -> usize {
        self.files.push(File {
            base: Vec::new(),
            now,
            closed,
            mode: 0o100_644,
        });
        self.files.len() - 1
    }

    fn commit(&self, repo: &Path) -> String {
        let mut script =
            b"commit refs/heads/base\ncommitter C <c@x.org> 1 +0000\ndata 4\nbase\n".to_vec();
        script.extend(b"deleteall\n");
        for (path, at) in &self.base {
            let file = &self.files[*at];
            let mut content = Vec::new();
            for (n, line) in file.base.iter().enumerate() {
                match &*line.borrow() {
                    Some(text) => content.extend(text),
                    None => content.extend(format!("line {n} of {path}\n").bytes()),
                }
            }
            let head = format!(
                "M {:o} inline \"{path}\"\ndata {}\n",
                file.mode,
                content.len()
            );
            script.extend(head.bytes());
            script.extend(content);
            script.push(b'\n');
        }
        let mut import = plain_git(repo);
        let (fine, _, said) = feed(import.args(["fast-import", "--quiet", "--force"]), &script);
        assert!(fine, "{said}");
        let (_, out, _) = feed(plain_git(repo).args(["rev-parse", "refs/heads/base"]), b"");
        String::from_utf8(out).unwrap().trim().to_owned()
    }
}

impl File {
    /// Puts a hunk where it says; `None` if other text is there already.
    fn hunk(&mut self, hunk: &Hunk<'_>) -> Option<()> {
        let start = hunk
            .new_start
            .saturating_sub(usize::from(hunk.new_lines > 0));
        let end = start + hunk.old_lines;
        // Less context below than above: the file ends there. Else it goes on.
        let ends = hunk.trailing < hunk.leading.min(3);
        self.grow(if ends { end } else { end + 3 })?;
        if ends {
            self.closed = true;
            if self.now.len() != end {
                return None;
            }
        }
        let mut put = Vec::new();
        let mut at = start;
        for line in hunk.lines() {
            match line {
                Line::Added(text) => put.push(Rc::new(RefCell::new(Some(text.to_vec())))),
                Line::Context(text) | Line::Removed(text) => {
                    let there = Rc::clone(self.now.get(at)?);
                    let known = there.borrow().clone();
                    if known.as_ref().is_some_and(|known| known != text) {
                        return None;
                    }
                    *there.borrow_mut() = Some(text.to_vec());
                    if matches!(line, Line::Context(_)) {
                        put.push(there);
                    }
                    at += 1;
                }
            }
        }
        self.now.splice(start..at, put);
        Some(())
    }

    fn grow(&mut self, lines: usize) -> Option<()> {
        if lines > MOST_LINES {
            return None;
        }
        while !self.closed && self.now.len() < lines {
            let line: Known = Rc::default();
            self.base.push(Rc::clone(&line));
            self.now.push(line);
        }
        Some(())
    }
}
