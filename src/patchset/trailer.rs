//! Trailers of a commit message or of a reply: `Reviewed-by: …`, `Fixes: …`, `Link: …`.

use serde::{Deserialize, Serialize};

/// One trailer line, continuation joined.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trailer {
    /// As written: `Reviewed-by`.
    pub name: String,
    /// What stands behind the colon, without the note.
    pub value: String,
    /// `[for the parts that are mine]` on the next line, or `# a remark` behind a link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// Trailers of one mail that are kept; real mails stay below 100.
const MAX_TRAILERS: usize = 200;

/// Names beside `…-by` that are trailers; other `Word: text` lines are prose.
const NAMES: [&str; 16] = [
    "cc",
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
    "reported-and-tested",
];

/// Reads the trailers of a mail's text: unquoted, at the margin, above the `---` of a patch, its diff or the signature.
/// At most 200.
pub fn parse_trailers(text: &str) -> Vec<Trailer> {
    let mut found: Vec<Trailer> = Vec::new();
    let mut open = false;
    for line in text.lines().take_while(|l| !ends_message(l)) {
        if let Some(trailer) = read(line) {
            if found.len() == MAX_TRAILERS {
                break;
            }
            found.push(trailer);
            open = true;
        } else if let Some(last) = found.last_mut().filter(|_| open) {
            open = continue_with(last, line.trim());
        }
    }
    found
}

fn ends_message(line: &str) -> bool {
    let plain = line.trim_end();
    plain == "---"
        || plain == "--"
        || line.starts_with("diff --git ")
        || line.starts_with("Index: ")
}

fn read(line: &str) -> Option<Trailer> {
    let (name, value) = line.split_once(':')?;
    let value = value.trim();
    let word = (2..=40).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let lower = name.to_ascii_lowercase();
    if !word || value.is_empty() || !(lower.ends_with("-by") || NAMES.contains(&lower.as_str())) {
        return None;
    }
    let (value, note) = match value.split_once(" # ") {
        Some((value, note)) if lower == "link" || lower == "closes" => {
            (value.trim(), Some(format!("# {}", note.trim())))
        }
        _ => (value, None),
    };
    Some(Trailer {
        name: name.to_owned(),
        value: value.to_owned(),
        note,
    })
}

/// A line below a trailer: its note in brackets, or the address that a mail client wrapped. Whether more may follow.
fn continue_with(last: &mut Trailer, line: &str) -> bool {
    if line.starts_with('[') && line.ends_with(']') && last.note.is_none() {
        last.note = Some(line.to_owned());
        return true;
    }
    let wrapped = line.starts_with('<') && line.ends_with('>') && line.contains('@');
    if wrapped && !last.value.contains('@') {
        last.value = format!("{} {line}", last.value);
        return true;
    }
    false
}
