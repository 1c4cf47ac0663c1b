//! Branches of a clone that are followed: by name, or by a pattern.

use super::{GitError, Repos, run};

/// Branches that are followed in one repository at most, beside the main one.
const MAX_BRANCHES: usize = 100;

impl Repos {
    /// The branches of a clone that fit one of the patterns, with their commits, by name; those beyond a limit are left out.
    pub fn branches(
        &self,
        name: &str,
        patterns: &[String],
    ) -> Result<Vec<(String, String)>, GitError> {
        if patterns.is_empty() {
            return Ok(Vec::new());
        }
        let format = "--format=%(refname:lstrip=2) %(objectname)";
        let arguments = ["for-each-ref", format, "refs/heads/"];
        let out = run::run(&self.clone_dir(name), &arguments, None)?;
        let text = String::from_utf8_lossy(&out);
        let all = text.lines().filter_map(|line| line.rsplit_once(' '));
        let mut fitting: Vec<(String, String)> = all
            .filter(|(branch, _)| follows(patterns, branch))
            .map(|(branch, tip)| (branch.to_owned(), tip.to_owned()))
            .collect();
        if fitting.len() > MAX_BRANCHES {
            tracing::warn!(
                repo.name = name,
                "{} branches of {name} fit what is followed; only {MAX_BRANCHES} are looked at",
                fitting.len()
            );
            fitting.truncate(MAX_BRANCHES);
        }
        Ok(fitting)
    }
}

/// Whether a branch fits one of the patterns.
pub fn follows(patterns: &[String], branch: &str) -> bool {
    patterns.iter().any(|pattern| fits(pattern, branch))
}

/// Refuses a pattern that no branch can fit, or that git could take for something else.
pub fn check_pattern(pattern: &str) -> Result<(), GitError> {
    let filled = pattern.replace('*', "x");
    super::repos::check_branch(&filled).map_err(|_| {
        GitError::Refused(format!(
            "{pattern:?} is neither a branch nor a pattern such as 'stable/*'"
        ))
    })
}

/// Whether a branch fits a pattern in which `*` stands for any text.
fn fits(pattern: &str, branch: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else {
        return pattern == branch;
    };
    let Some(branch) = branch.strip_prefix(head) else {
        return false;
    };
    let mut ends = (0..=branch.len()).filter(|at| branch.is_char_boundary(*at));
    ends.any(|at| fits(rest, &branch[at..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, branch: &str, expected: bool) {
        assert_eq!(fits(pattern, branch), expected, "{pattern} {branch}");
    }

    #[test]
    fn a_star_stands_for_any_text() {
        check("next", "next", true);
        check("next", "next2", false);
        check("stable/*", "stable/6.1", true);
        check("stable/*", "stable/a/b", true);
        check("stable/*", "unstable/6.1", false);
        check("*", "é", true);
        check("linux-*.y", "linux-6.1.y", true);
        check("linux-*.y", "linux-6.1", false);
        check("v*-*", "v1-rc", true);
        check("v*-*", "v1", false);
    }

    #[test]
    fn what_is_no_branch_is_no_pattern() {
        for fine in ["next", "stable/*", "*", "linux-*.y"] {
            check_pattern(fine).expect(fine);
        }
        for bad in ["", "-x", "a b", "a..b", "/x", "stable/", "a:b"] {
            assert!(check_pattern(bad).is_err(), "{bad}");
        }
    }
}
