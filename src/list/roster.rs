//! Lists of members as files: our own CSV, and what other list servers print or keep.
//!
//! Pure: text in, members out, and back.

use crate::types::Address;

/// A member as a file tells of it; `None` leaves a setting as it is, or at its default for a new member.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entry {
    /// The address in lower case.
    pub address: String,
    /// Whether copies are sent.
    pub mail: Option<bool>,
    /// No copy of what names the member in To or Cc; inner `None`: as the list's style has it.
    pub nodupes: Option<Option<bool>>,
    /// A copy of the member's own posts.
    pub own: Option<bool>,
    /// `person` or `archive`.
    pub kind: Option<Kind>,
}

/// What a member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Somebody who reads.
    Person,
    /// An archive, which shows its copies to others: they hold no token to leave by.
    Archive,
}

impl Kind {
    /// As stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Person => "person",
            Kind::Archive => "archive",
        }
    }

    /// Reads a stored word; what is not known is a person.
    pub fn parse(text: &str) -> Kind {
        match text {
            "archive" => Kind::Archive,
            _ => Kind::Person,
        }
    }
}

/// The columns of our files; all but the first may be missing, in any order.
const COLUMNS: [&str; 5] = ["address", "mail", "nodupes", "own", "kind"];

/// Reads a CSV file (RFC 4180) whose first line names the columns, or lines with an address each: plain, or `Name <address>`, as
/// Mailman 2's `list_members`, Mailman 3's `mailman members` and mlmmj's files have them. The error says what is wrong in which line.
pub fn parse(text: &str) -> Result<Vec<Entry>, String> {
    let text = text.trim_start_matches('\u{feff}');
    let first = text.lines().next().unwrap_or_default();
    let names: Vec<String> = fields(first)
        .iter()
        .map(|f| f.trim().to_lowercase())
        .collect();
    if !names.iter().any(|n| n == "address") {
        return parse_lines(text);
    }
    if let Some(odd) = names.iter().find(|n| !COLUMNS.contains(&n.as_str())) {
        return Err(format!(
            "line 1: there is no column {odd:?}; there are {}",
            COLUMNS.join(", ")
        ));
    }
    let mut out = Vec::new();
    for (at, line) in text.lines().enumerate().skip(1) {
        if line.trim().is_empty() {
            continue;
        }
        let mut entry = Entry::default();
        for (name, value) in names.iter().zip(fields(line)) {
            set(&mut entry, name, value.trim()).map_err(|why| format!("line {}: {why}", at + 1))?;
        }
        if entry.address.is_empty() {
            return Err(format!("line {}: no address", at + 1));
        }
        out.push(entry);
    }
    Ok(out)
}

fn parse_lines(text: &str) -> Result<Vec<Entry>, String> {
    let mut out = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let inner = line
            .rsplit_once('<')
            .map_or(line, |(_, rest)| rest.trim_end_matches('>'));
        let mut entry = Entry::default();
        set(&mut entry, "address", inner).map_err(|why| format!("line {}: {why}", at + 1))?;
        out.push(entry);
    }
    Ok(out)
}

fn set(entry: &mut Entry, column: &str, value: &str) -> Result<(), String> {
    let flag = |value: &str| match value.to_lowercase().as_str() {
        "yes" | "1" | "true" | "on" => Ok(true),
        "no" | "0" | "false" | "off" => Ok(false),
        _ => Err(format!("{column} is yes or no, not {value:?}")),
    };
    match (column, value) {
        ("address", _) => {
            let address = value.parse::<Address>().map_err(|e| e.to_string())?;
            entry.address = address.key();
        }
        ("nodupes", "default") => entry.nodupes = Some(None),
        (_, "") => {}
        ("mail", _) => entry.mail = Some(flag(value)?),
        ("nodupes", _) => entry.nodupes = Some(Some(flag(value)?)),
        ("own", _) => entry.own = Some(flag(value)?),
        ("kind", "person") => entry.kind = Some(Kind::Person),
        ("kind", "archive") => entry.kind = Some(Kind::Archive),
        _ => return Err(format!("{column} is not {value:?}")),
    }
    Ok(())
}

/// One line in its fields; a quote stands for itself when doubled.
fn fields(line: &str) -> Vec<String> {
    let (mut out, mut field, mut quoted) = (Vec::new(), String::new(), false);
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                field.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => out.push(std::mem::take(&mut field)),
            c => field.push(c),
        }
    }
    out.push(field);
    out
}

/// Members as CSV; [`parse`] reads it.
pub fn render(entries: &[Entry]) -> String {
    let mut out = format!("{}\n", COLUMNS.join(","));
    let word = |flag: Option<bool>| match flag {
        Some(true) => "yes",
        Some(false) => "no",
        None => "",
    };
    for entry in entries {
        // An address may have commas and quotes in it; these are doubled. What begins with `=` table programs take for a formula all
        // the same: whoever opens the file in one imports the column as text.
        let address = format!("\"{}\"", entry.address.replace('"', "\"\""));
        let nodupes = match entry.nodupes {
            Some(None) => "default",
            Some(flag) => word(flag),
            None => "",
        };
        let kind = entry.kind.map_or("", Kind::as_str);
        let line = [
            address.as_str(),
            word(entry.mail),
            nodupes,
            word(entry.own),
            kind,
        ];
        out.push_str(&line.join(","));
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let got = match parse(text) {
            Ok(entries) => render(&entries),
            Err(why) => why,
        };
        assert_eq!(
            got.trim_start_matches("address,mail,nodupes,own,kind\n"),
            expected,
            "{text}"
        );
    }

    #[test]
    fn files_of_other_servers_are_read() {
        check(
            "ana@x.org\nBen@X.org\n",
            "\"ana@x.org\",,,,\n\"ben@x.org\",,,,\n",
        );
        check(
            "Ana Lima <ana@x.org>\n\n# note\n\"B, C\" <b@x.org>\r\n",
            "\"ana@x.org\",,,,\n\"b@x.org\",,,,\n",
        );
        check(
            "dev has no members\n",
            "line 1: \"dev has no members\" is not an e-mail address: no @",
        );
    }

    #[test]
    fn our_own_files_come_back() {
        let text = "address,mail,nodupes,own,kind\n\"a\"\"b@x.org\",no,default,yes,archive\n\"c@x.org\",yes,no,no,person\n";
        assert_eq!(render(&parse(text).expect("it is sound")), text);
        check("mail,address\nno,a@x.org\n\n", "\"a@x.org\",no,,,\n");
        check(
            "address,mail\na@x.org,perhaps\n",
            "line 2: mail is yes or no, not \"perhaps\"",
        );
        check(
            "address,colour\na@x.org,red\n",
            "line 1: there is no column \"colour\"; there are address, mail, nodupes, own, kind",
        );
        check(
            "address,mail\n,yes\n",
            "line 2: \"\" is not an e-mail address: no @",
        );
    }
}
