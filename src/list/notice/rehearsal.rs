//! The text of the answer to a rehearsal. It holds its reader's own words: he alone gets it, and his mail was authenticated.

use askama::Template;

/// `templates/mail/rehearsal.txt`; all lines are wrapped.
#[derive(Debug, Clone, Default, PartialEq, Eq, Template)]
#[template(path = "mail/rehearsal.txt", escape = "none")]
pub struct Rehearsal {
    /// Posting address.
    pub list: String,
    /// Subjects of the mails that it is about.
    pub mails: Vec<String>,
    /// What the list would do.
    pub decision: Vec<String>,
    /// What each step of the policy found.
    pub steps: Vec<String>,
    /// How they would be grouped.
    pub series: Vec<String>,
    /// Whether and on what the series applies; empty: it is no series.
    pub applies: Vec<String>,
    /// What a mail program broke.
    pub damage: Vec<String>,
    /// Trailers by patch.
    pub trailers: Vec<String>,
}

/// Lines of at most `width` characters, of the words of a text.
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut used = usize::MAX;
    for word in text.split_whitespace() {
        let length = word.chars().count();
        match lines.last_mut() {
            Some(line) if used.saturating_add(1 + length) <= width => {
                line.push(' ');
                line.push_str(word);
                used += 1 + length;
            }
            _ => {
                lines.push(word.to_owned());
                used = length;
            }
        }
    }
    lines
}

/// A name, and a text beside it that is wrapped there.
pub fn beside(name: &str, text: &str) -> Vec<String> {
    const COLUMN: usize = 12;
    let lines = wrap(text, 72 - COLUMN);
    let first = |at: usize| if at == 0 { name } else { "" };
    let line = |(at, text): (usize, &String)| format!("{:<COLUMN$}{text}", first(at));
    lines.iter().enumerate().map(line).collect()
}
