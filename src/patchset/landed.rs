//! Which patches came into a branch, and as which commits.
//!
//! A commit is a patch's if it makes the same change (patch id), or if a trailer of its message names the patch's mail and
//! the titles agree: maintainers add `Link:` or `Message-ID:` when they apply (git-am(1), `--message-id`).

use std::collections::HashMap;

use super::tag::normalise_title;
use crate::diff::patch_id::PatchId;
use crate::types::MessageId;

/// A patch that may have landed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Its mail.
    pub message_id: MessageId,
    /// Title as versions are compared by.
    pub title: String,
    /// What it changes; `None` if its diff cannot be read.
    pub patch_id: Option<PatchId>,
}

/// A commit that came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival {
    /// Its id.
    pub commit: String,
    /// Its message.
    pub message: String,
    /// What it changes; `None` if nothing, or if it is a merge.
    pub patch_id: Option<PatchId>,
}

/// For each candidate the commit that it landed as, if it did; of several the last. `commits` come oldest first.
pub fn match_landed<'a>(candidates: &[Candidate], commits: &'a [Arrival]) -> Vec<Option<&'a str>> {
    let mut by_change: HashMap<PatchId, &str> = HashMap::new();
    let mut by_name: HashMap<(String, String), &str> = HashMap::new();
    for arrival in commits {
        if let Some(id) = arrival.patch_id {
            by_change.insert(id, &arrival.commit);
        }
        let title = normalise_title(arrival.message.lines().next().unwrap_or_default());
        for name in named_mails(&arrival.message) {
            by_name.insert((name, title.clone()), &arrival.commit);
        }
    }
    let find = |c: &Candidate| {
        let by_change = c.patch_id.and_then(|id| by_change.get(&id));
        let name = || (c.message_id.as_str().to_owned(), c.title.clone());
        by_change.or_else(|| by_name.get(&name())).copied()
    };
    candidates.iter().map(find).collect()
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
            message_id: MessageId::parse(id).expect("an id"),
            title: normalise_title(title),
            patch_id: Some(PatchId([change; 20])),
        }
    }

    fn arrival(commit: &str, message: &str, change: u8) -> Arrival {
        Arrival {
            commit: commit.to_owned(),
            message: message.to_owned(),
            patch_id: Some(PatchId([change; 20])),
        }
    }

    #[track_caller]
    fn check(message: &str, change: u8, expected: Option<&str>) {
        let candidates = [candidate("1@x.org", "lib: fix it", 1)];
        let commits = [arrival("c1", message, change)];
        assert_eq!(match_landed(&candidates, &commits), [expected], "{message}");
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
    fn of_several_commits_the_last_counts() {
        let candidates = [candidate("1@x.org", "a", 1), candidate("2@x.org", "b", 2)];
        let commits = [arrival("c1", "a", 1), arrival("c2", "a", 1)];
        assert_eq!(match_landed(&candidates, &commits), [Some("c2"), None]);
    }
}
