//! Trailers of a commit message or of a reply: `Reviewed-by: …`, `Fixes: …`, `Link: …`.
//!
//! What counts as a trailer follows what b4 takes (b4's manual, "b4 am"; git-interpret-trailers(1)).

use std::fmt;

use serde::{Deserialize, Serialize};

/// One trailer line, continuation joined.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trailer {
    /// As written: `Reviewed-by`.
    pub name: String,
    /// What stands behind the colon, without the note.
    pub value: String,
    /// As written: the next line `[for the parts that are mine]`, or what follows a value: `  # a remark`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// Trailers of one mail that are kept; real mails stay below 100.
const MAX_TRAILERS: usize = 200;
/// Longest name and longest value, in bytes.
const MAX_NAME: usize = 40;
const MAX_VALUE: usize = 1_000;

/// Names beside `…-by` that name a person; with those of nobody they are all that are trailers: other `Word: text` lines are prose.
const OF_PEOPLE: [&str; 2] = ["cc", "reported-and-tested"];

/// Names of trailers that say something of the change and speak for nobody. All others name a person.
const OF_NOBODY: [&str; 14] = [
    "fixes",
    "link",
    "closes",
    "bug",
    "buglink",
    "bug-link",
    "references",
    "message-id",
    "change-id",
    "depends-on",
    "based-on",
    "supersedes",
    "obsoletes",
    "see-also",
];

impl Trailer {
    /// A trailer without note.
    pub fn new(name: &str, value: &str) -> Trailer {
        Trailer {
            name: name.to_owned(),
            value: plain_value(value),
            note: None,
        }
    }

    /// Reads one line of the form `Name: value`, indented or not.
    pub fn read(line: &str) -> Option<Trailer> {
        let (name, value) = line.trim_start().split_once(':')?;
        let word = (2..=MAX_NAME).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        let rest = value.trim();
        if !word || rest.is_empty() || rest.len() > MAX_VALUE || !value.starts_with([' ', '\t']) {
            return None;
        }
        // Commits are named by their hash; `Fixes: the crash` is prose.
        let hash = || rest.bytes().take_while(u8::is_ascii_hexdigit).count() >= 6;
        if name.eq_ignore_ascii_case("fixes") && !hash() {
            return None;
        }
        let (value, note) = split_remark(rest);
        Some(Trailer {
            note: note.map(str::to_owned),
            ..Trailer::new(name, value)
        })
    }

    /// Whether both say the same of the same: name and value in any case; links by the Message-ID in them.
    pub fn same(&self, other: &Trailer) -> bool {
        let lower = |text: &str| text.to_lowercase();
        if !self.name.eq_ignore_ascii_case(&other.name) {
            return false;
        }
        let linked = || {
            let id = linked_id(&self.value);
            self.is("link") && id.is_some() && id == linked_id(&other.value)
        };
        lower(&self.value) == lower(&other.value) || linked()
    }

    /// Whether that is its name, given in lower case.
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }

    /// Whether it speaks for nobody: commits, links and the like.
    pub fn is_of_nobody(&self) -> bool {
        OF_NOBODY.iter().any(|name| self.is(name))
    }

    /// All addresses that stand in it, wherever and however they are written.
    pub fn addresses(&self) -> impl Iterator<Item = &str> {
        let apart = |c: char| c.is_whitespace() || "<>()[]{},;:\"'`|".contains(c);
        let words = self.value.split(apart);
        let words = words.map(|word| word.trim_end_matches(['.', '!', '?']));
        words.filter(|word| {
            let parts = word.rsplit_once('@');
            parts.is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty())
        })
    }

    /// Name and address of the person it names, whatever stands behind; `None` for commits, links and the like.
    pub fn person(&self) -> Option<(&str, &str)> {
        if self.is_of_nobody() {
            return None;
        }
        match self.value.rsplit_once('<') {
            Some((name, rest)) => {
                let (address, _) = rest.split_once('>')?;
                address.contains('@').then(|| (name.trim(), address.trim()))
            }
            None => {
                let bare = !self.value.contains(' ') && self.value.contains('@');
                bare.then_some(("", self.value.as_str()))
            }
        }
    }
}

impl fmt::Display for Trailer {
    /// As it stands in a commit message, note included, without a line end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.value)?;
        match &self.note {
            Some(note) if note.trim_start().starts_with('#') => write!(f, "{note}"),
            Some(note) => write!(f, "\n{note}"),
            None => Ok(()),
        }
    }
}

/// A mail client made `<a@b<mailto:a@b>>` out of HTML: the inner part goes.
fn plain_value(value: &str) -> String {
    match value.split_once("<mailto:") {
        Some((head, tail)) => {
            let rest = tail.split_once('>').map_or("", |(_, rest)| rest);
            format!("{head}{rest}")
        }
        None => value.to_owned(),
    }
}

/// `value  # remark`: the remark with the blanks before it.
fn split_remark(value: &str) -> (&str, Option<&str>) {
    match value.rfind('#') {
        Some(at) if value[..at].ends_with([' ', '\t']) && at + 1 < value.len() => {
            let head = value[..at].trim_end();
            (
                head,
                Some(&value[head.len()..]).filter(|_| !head.is_empty()),
            )
        }
        _ => (value, None),
    }
}

/// The Message-ID at the end of an archive's URL, lower case.
pub(super) fn linked_id(url: &str) -> Option<String> {
    let (_, path) = url.split_once("://")?;
    let (_, last) = path.trim_end_matches('/').rsplit_once('/')?;
    let last = last.replace("%40", "@").to_lowercase();
    last.contains('@').then_some(last)
}

/// Reads the trailers of a mail's text: unquoted, above the `---` of a patch, its diff or the signature. At most 200.
pub fn parse_trailers(text: &str) -> Vec<Trailer> {
    let known = |t: &Trailer| {
        let lower = t.name.to_ascii_lowercase();
        lower.ends_with("-by")
            || OF_PEOPLE.contains(&lower.as_str())
            || OF_NOBODY.contains(&lower.as_str())
    };
    let lines = text.lines().take_while(|l| !ends_message(l));
    read_lines(lines, known).0
}

/// Splits a commit message: what is no trailer, and the trailers of its last paragraph.
pub(super) fn split_message(message: &str) -> (String, Vec<Trailer>) {
    let message = message.trim_matches('\n');
    let start = message.rfind("\n\n").map_or(0, |at| at + 2);
    let (trailers, prose) = read_lines(message[start..].lines(), |_| true);
    let mut text = message[..start].trim_end_matches('\n').to_owned();
    if !prose.is_empty() {
        text.push_str(if text.is_empty() { "" } else { "\n\n" });
        text.push_str(&prose.join("\n"));
    }
    (text, trailers)
}

/// Trailers, and the lines that are none.
fn read_lines<'a>(
    lines: impl Iterator<Item = &'a str>,
    wanted: impl Fn(&Trailer) -> bool,
) -> (Vec<Trailer>, Vec<&'a str>) {
    let mut found: Vec<Trailer> = Vec::new();
    let mut prose = Vec::new();
    let mut open = false;
    for line in lines {
        if let Some(trailer) =
            Trailer::read(line).filter(|t| found.len() < MAX_TRAILERS && wanted(t))
        {
            found.push(trailer);
            open = true;
            continue;
        }
        open = match found.last_mut().filter(|_| open) {
            Some(last) => continue_with(last, line),
            None => false,
        };
        if !open {
            prose.push(line);
        }
    }
    (found, prose)
}

fn ends_message(line: &str) -> bool {
    let plain = line.trim_end();
    plain == "---"
        || plain == "--"
        || line.starts_with("diff --git ")
        || line.starts_with("Index: ")
}

/// A line below a trailer: its note in brackets, the address or the rest of a title that was wrapped. Whether it was one.
fn continue_with(last: &mut Trailer, line: &str) -> bool {
    let plain = line.trim();
    if plain.len() > 2 && plain.starts_with('[') && plain.ends_with(']') && last.note.is_none() {
        last.note = Some(line.trim_end().to_owned());
        return true;
    }
    let address = plain.starts_with('<') && plain.ends_with('>') && plain.contains('@');
    let opened = last.is("fixes") && last.value.contains('(') && !last.value.contains(')');
    if (address && !last.value.contains('@')) || (opened && plain.ends_with(')')) {
        last.value = format!("{} {plain}", last.value);
        return true;
    }
    false
}
