//! Which patches came into a branch, and as which commits.
//!
//! A commit is a patch's if it makes the same change (patch id), or that of the whole series at once, or if a trailer of its message
//! names the patch's mail and the titles agree: maintainers add `Link:` or `Message-ID:` when they apply (git-am(1),
//! `--message-id`). A message may be that of several commits, as git-rebase(1) puts them together.

use std::collections::{BTreeSet, HashMap};

use super::tag::normalise_title;
use crate::diff::patch_id::PatchId;
use crate::types::MessageId;

/// Titles that are read in one commit's message; a longer series is hardly made one commit.
const MAX_TITLES: usize = 100;

/// A patch that may have landed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Its mail's name; `None` if another mail is served under it, so that who names it means that one.
    pub message_id: Option<MessageId>,
    /// Title as versions are compared by.
    pub title: String,
    /// What it changes; `None` if its diff cannot be read.
    pub patch_id: Option<PatchId>,
    /// What all patches of its series change together; `None` if it is the only one, or if that is not known.
    pub whole: Option<PatchId>,
}

/// A commit that came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival {
    /// Its id.
    pub commit: String,
    /// When it was committed, in seconds since 1970.
    pub committed: i64,
    /// Its message.
    pub message: String,
    /// What it changes; `None` if nothing, or if it is a merge.
    pub patch_id: Option<PatchId>,
}

/// Commits of a branch by what patches are known by in them; of several with the same mark the one added last.
#[derive(Debug, Clone, Default)]
pub struct Landings {
    by_change: HashMap<PatchId, (String, i64)>,
    by_name: HashMap<(String, String), String>,
}

impl Landings {
    /// All these commits, oldest first.
    pub fn new(commits: &[Arrival]) -> Landings {
        let mut all = Landings::default();
        commits.iter().for_each(|c| all.add(c));
        all
    }

    /// Adds a commit that is newer than all that are here.
    pub fn add(&mut self, arrival: &Arrival) {
        if let Some(id) = arrival.patch_id {
            let commit = (arrival.commit.clone(), arrival.committed);
            self.by_change.insert(id, commit);
        }
        let names = named_mails(&arrival.message);
        if names.is_empty() {
            return;
        }
        for title in titles(&arrival.message) {
            for name in &names {
                let key = (name.clone(), title.clone());
                self.by_name.insert(key, arrival.commit.clone());
            }
        }
    }

    /// How many marks are here.
    pub fn len(&self) -> usize {
        self.by_change.len() + self.by_name.len()
    }

    /// Whether nothing can be found.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The commit that a patch landed as.
    ///
    /// A commit that makes the same change counts only if it was made after `since`, in seconds since 1970: what was
    /// taken back and is sent again has not landed.
    pub fn find(&self, patch: &Candidate, since: i64) -> Option<&str> {
        for id in [patch.patch_id, patch.whole].into_iter().flatten() {
            let same = self.by_change.get(&id);
            if let Some((commit, _)) = same.filter(|(_, committed)| *committed >= since) {
                return Some(commit);
            }
        }
        let name = patch.message_id.as_ref()?.as_str().to_owned();
        let named = self.by_name.get(&(name, patch.title.clone()));
        named.map(String::as_str)
    }
}

/// The lines of a message that may be titles: the first, and further ones that stand by themselves; each as versions are compared by.
fn titles(message: &str) -> BTreeSet<String> {
    let lines: Vec<&str> = message.lines().map(str::trim).collect();
    let is_blank = |at: Option<usize>| at.and_then(|at| lines.get(at)).is_none_or(|l| l.is_empty());
    let alone = |at: &usize| *at == 0 || (is_blank(at.checked_sub(1)) && is_blank(Some(at + 1)));
    let alone = (0..lines.len()).filter(alone).map(|at| lines[at]);
    let titles = alone.map(normalise_title).filter(|title| !title.is_empty());
    titles.take(MAX_TITLES).collect()
}

/// What `Link:` and `Message-ID:` lines name: every piece of their values that may be a Message-ID.
fn named_mails(message: &str) -> Vec<String> {
    let mut names = Vec::new();
    for line in message.lines() {
        let Some((name, value)) = line.split_once(':') else {
            continue;
        };
        let name = name.trim_start();
        if !name.eq_ignore_ascii_case("link") && !name.eq_ignore_ascii_case("message-id") {
            continue;
        }
        let decoded = percent_encoding::percent_decode_str(value.trim()).decode_utf8_lossy();
        let pieces = decoded.split(|c: char| c.is_whitespace() || matches!(c, '/' | '<' | '>'));
        names.extend(pieces.filter(|p| p.contains('@')).map(str::to_owned));
        // An id may hold a slash itself.
        if let Some(id) = decoded.strip_prefix('<').and_then(|d| d.strip_suffix('>')) {
            names.push(id.to_owned());
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(id: &str, title: &str, change: u8) -> Candidate {
        Candidate {
            message_id: Some(MessageId::parse(id).expect("an id")),
            title: normalise_title(title),
            patch_id: Some(PatchId([change; 20])),
            whole: None,
        }
    }

    fn arrival(commit: &str, message: &str, change: u8) -> Arrival {
        Arrival {
            commit: commit.to_owned(),
            committed: 1_000,
            message: message.to_owned(),
            patch_id: Some(PatchId([change; 20])),
        }
    }

    #[track_caller]
    fn check(message: &str, change: u8, expected: Option<&str>) {
        let patch = candidate("1@x.org", "lib: fix it", 1);
        let landings = Landings::new(&[arrival("c1", message, change)]);
        assert_eq!(landings.find(&patch, i64::MIN), expected, "{message}");
    }

    #[test]
    fn the_same_change_is_the_patch_whatever_its_message() {
        check("Another title", 1, Some("c1"));
        check("lib: fix it", 2, None);
    }

    #[test]
    fn a_named_mail_is_the_patch_if_the_title_agrees() {
        check(
            "lib: fix it\n\nLink: https://lore.kernel.org/r/1@x.org\n",
            2,
            Some("c1"),
        );
        check(
            "lib: fix it\n\nLink: https://lore.kernel.org/dev/1%40x.org/\n",
            2,
            Some("c1"),
        );
        check("lib: fix it\n\nMessage-Id: <1@x.org>\n", 2, Some("c1"));
        check("lib: fix more\n\nMessage-ID: <1@x.org>\n", 2, None);
        check("lib: fix it\n\nLink: https://x.org/r/21@x.org\n", 2, None);
        check("lib: fix it\n\nSee <1@x.org>\n", 2, None);
    }

    #[test]
    fn a_commit_of_several_patches_is_each_of_them_that_it_names() {
        // As git-rebase(1) leaves them: message by message.
        let squashed = "lib: begin\n\nWords.\n\nLink: https://x.org/r/0@x.org\n\nlib: fix it\n\nMore words.\n\nLink: https://x.org/r/1@x.org\n";
        check(squashed, 2, Some("c1"));
        check(&squashed.replace("1@x.org", "2@x.org"), 2, None);
        // As `git merge --squash` does.
        let listed = "Squashed commit of the following:\n\ncommit 1234\nAuthor: A\nDate:   Mon\n\n    lib: fix it\n    \n    Link: https://x.org/r/1@x.org\n";
        check(listed, 2, Some("c1"));
        // A title within a sentence is somebody's reference.
        let within = "lib: more\n\nThis goes further than\nlib: fix it\ndid.\n\nLink: https://x.org/r/1@x.org\n";
        check(within, 2, None);
    }

    #[test]
    fn a_commit_that_makes_the_change_of_a_whole_series_is_each_of_its_patches() {
        let patch = Candidate {
            whole: Some(PatchId([9; 20])),
            ..candidate("1@x.org", "lib: fix it", 1)
        };
        let whole = arrival("c9", "All of it", 9);
        let landings = Landings::new(std::slice::from_ref(&whole));
        assert_eq!(landings.find(&patch, 1_000), Some("c9"));
        assert_eq!(landings.find(&patch, 1_001), None);
        let both = Landings::new(&[whole, arrival("c1", "One", 1)]);
        assert_eq!(both.find(&patch, 0), Some("c1"), "its own commit is nearer");
    }

    #[test]
    fn who_took_the_name_of_anothers_mail_is_not_meant_by_it() {
        let landings = Landings::new(&[arrival("c1", "a\n\nMessage-ID: <1@x.org>", 1)]);
        let second = Candidate {
            message_id: None,
            ..candidate("1@x.org", "a", 2)
        };
        assert_eq!(landings.find(&second, i64::MIN), None);
    }

    #[test]
    fn of_several_commits_the_last_counts() {
        let landings = Landings::new(&[arrival("c1", "a", 1), arrival("c2", "a", 1)]);
        let find = |patch: Candidate| landings.find(&patch, i64::MIN);
        assert_eq!(find(candidate("1@x.org", "a", 1)), Some("c2"));
        assert_eq!(find(candidate("2@x.org", "b", 2)), None);
    }

    #[test]
    fn an_older_commit_of_the_same_change_is_another_one_unless_it_names_the_mail() {
        let patch = candidate("1@x.org", "a", 1);
        let plain = Landings::new(&[arrival("c1", "a", 1)]);
        assert_eq!(plain.find(&patch, 1_000), Some("c1"));
        assert_eq!(plain.find(&patch, 1_001), None);
        let named = Landings::new(&[arrival("c1", "a\n\nLink: https://x.org/1@x.org", 1)]);
        assert_eq!(named.find(&patch, 1_001), Some("c1"));
    }
}
