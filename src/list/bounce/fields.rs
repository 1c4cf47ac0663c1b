//! Fields of delivery and feedback reports (RFC 3464 section 2.1, RFC 5965 section 3): groups of `Name: value` lines parted by blank lines.

use super::Code;

/// Groups of one report that are kept.
const GROUPS: usize = 100;
/// Fields of a group that are kept, and characters of each.
const FIELDS: usize = 50;
const VALUE: usize = 2_000;
/// The fields that say something about one recipient.
const NAMES: [&str; 7] = [
    "Action",
    "Status",
    "Diagnostic-Code",
    "Final-Recipient",
    "Original-Recipient",
    "Feedback-Type",
    "Remote-MTA",
];

/// Fields that stand together.
#[derive(Debug, Default)]
pub struct Group(Vec<(&'static str, String)>);

impl Group {
    /// The first field of that name.
    pub fn value(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(n, _)| *n == name);
        found.map(|(_, value)| value.trim())
    }

    /// RFC 3464 section 2.3.3: the first word, in lower case; empty if it is not there.
    pub fn action(&self) -> String {
        let value = self.value("Action").unwrap_or_default();
        let word = value.split(|c: char| !c.is_ascii_alphabetic()).next();
        word.unwrap_or_default().to_ascii_lowercase()
    }

    /// RFC 3464 section 2.3.4. Some write a comment behind it.
    pub fn status(&self) -> Option<Code> {
        super::judge::codes(self.value("Status")?).next()
    }

    /// RFC 3464 section 2.3.6, without the type before it.
    pub fn diagnostic(&self) -> String {
        let value = self.value("Diagnostic-Code").unwrap_or_default();
        match value.split_once(';') {
            Some((kind, rest)) if !kind.contains(' ') && kind.len() < 40 => rest.trim().to_owned(),
            _ => value.to_owned(),
        }
    }
}

/// The address of a recipient field, without its type and brackets.
pub fn address(value: &str) -> &str {
    let bare = value.split_once(';').map_or(value, |(_, rest)| rest);
    bare.trim().trim_matches(['<', '>'])
}

/// All groups that say what became of a recipient. Lines that are no known field are passed over.
pub fn groups(text: &str) -> Vec<Group> {
    let mut found = Vec::new();
    let mut group = Group::default();
    let mut end = |group: &mut Group| {
        let done = std::mem::take(group);
        let says = done.value("Action").is_some()
            || done.value("Final-Recipient").is_some() && done.status().is_some();
        if says && found.len() < GROUPS {
            found.push(done);
        }
    };
    let mut open = false;
    for line in text.lines() {
        if line.trim().is_empty() {
            end(&mut group);
            open = false;
            continue;
        }
        // A report that was pasted as text may lack the blank line between two recipients.
        let again = starts(line, "Final-Recipient") && group.value("Final-Recipient").is_some();
        if again {
            end(&mut group);
        }
        open = add(&mut group, line, open);
    }
    end(&mut group);
    found
}

/// All fields of a report as one group.
pub fn all(text: &str) -> Group {
    let mut group = Group::default();
    let mut open = false;
    for line in text.lines() {
        open = add(&mut group, line, open);
    }
    group
}

fn starts(line: &str, name: &str) -> bool {
    let given = line.split_once(':').map(|(given, _)| given.trim_end());
    given.is_some_and(|given| given.eq_ignore_ascii_case(name))
}

/// Adds a line to a group; `open` is whether a line that begins with a blank goes on with the last field. Returns whether the next may.
fn add(group: &mut Group, line: &str, open: bool) -> bool {
    if line.starts_with([' ', '\t']) {
        if let Some((_, value)) = group.0.last_mut().filter(|_| open)
            && value.len() < VALUE
        {
            value.push(' ');
            let more = line.trim();
            value.push_str(&more[..more.floor_char_boundary(VALUE)]);
        }
        return open;
    }
    let Some(name) = NAMES.iter().find(|name| starts(line, name)) else {
        return false;
    };
    let value = line.split_once(':').map_or("", |(_, value)| value.trim());
    if group.0.len() < FIELDS {
        let cut = value[..value.floor_char_boundary(VALUE)].to_owned();
        group.0.push((name, cut));
    }
    true
}
