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
/// What other programs call the column of addresses.
const ADDRESS: [&str; 5] = [
    "address",
    "email",
    "e-mail",
    "email address",
    "e-mail address",
];
/// Columns of other programs that say nothing of a subscription.
const IGNORED: [&str; 5] = ["", "name", "display name", "display_name", "full name"];
/// What parts the fields: a comma, what table programs write where a comma is in numbers, and what they copy.
const SEPARATORS: [char; 3] = [',', ';', '\t'];

/// Reads a CSV file (RFC 4180) whose first line names the columns, or lines with an address each: plain, or `Name <address>`, as
/// Mailman 2's `list_members`, Mailman 3's `mailman members` and mlmmj's files have them. The error says what is wrong in which lines.
pub fn parse(text: &str) -> Result<Vec<Entry>, String> {
    let text = text.trim_start_matches('\u{feff}');
    // Tables have rows of nothing but separators at their end.
    let is_empty = |line: &str| {
        line.chars()
            .all(|c| c.is_whitespace() || SEPARATORS.contains(&c))
    };
    let said = |line: &&str| !is_empty(line) && !line.starts_with('#');
    let lines = text.lines().enumerate();
    let mut lines = lines.filter(|(_, line)| said(line)).peekable();
    let header = match lines.peek() {
        Some((at, first)) => find_header(first).map_err(|why| in_line(*at, &why))?,
        None => None,
    };
    if header.is_some() {
        lines.next();
    }
    let entry = |(at, line): (usize, &str)| {
        let read = match &header {
            Some(header) => parse_row(header, line),
            None => parse_line(line.trim()),
        };
        read.map_err(|why| in_line(at, &why))
    };
    let (mut entries, mut wrong) = (Vec::new(), Vec::new());
    for line in lines {
        // A table without names of columns: each of its lines would say the same.
        let nameless = header.is_none() && entries.is_empty() && line.1.contains(SEPARATORS);
        match entry(line) {
            Ok(entry) => entries.push(entry),
            Err(why) if nameless && wrong.is_empty() => return Err(why),
            Err(why) => wrong.push(why),
        }
    }
    match wrong.as_slice() {
        [] => Ok(entries),
        [one] => Err(one.clone()),
        several => Err(listed(several)),
    }
}

/// Lines that are named one by one.
const NAMED: usize = 20;

fn listed(wrong: &[String]) -> String {
    let mut text = format!("has {} lines that cannot be read:", wrong.len());
    for why in wrong.iter().take(NAMED) {
        text.push_str(&format!("\n  {why}"));
    }
    if wrong.len() > NAMED {
        text.push_str(&format!("\n  and {} more", wrong.len() - NAMED));
    }
    text
}

fn in_line(at: usize, why: &str) -> String {
    format!("line {}: {why}", at + 1)
}

/// What the first line of a table says: how fields are parted, and which they are.
struct Header {
    separator: char,
    names: Vec<String>,
}

fn find_header(line: &str) -> Result<Option<Header>, String> {
    for separator in SEPARATORS {
        let names = fields(line, separator).unwrap_or_default();
        let names: Vec<String> = names.iter().map(|f| f.trim().to_lowercase()).collect();
        if !names.iter().any(|n| ADDRESS.contains(&n.as_str())) {
            continue;
        }
        let known = |n: &str| {
            [&COLUMNS[..], &ADDRESS[..], &IGNORED[..]]
                .concat()
                .contains(&n)
        };
        if let Some(odd) = names.iter().find(|n| !known(n)) {
            let known = COLUMNS.join(", ");
            return Err(format!(
                "there is no column {odd:?}, and what it says would be lost: take it out of the file, or give it one of these names: {known}"
            ));
        }
        return Ok(Some(Header { separator, names }));
    }
    Ok(None)
}

fn parse_row(header: &Header, line: &str) -> Result<Entry, String> {
    let values = fields(line, header.separator)?;
    let mut entry = Entry::default();
    if let Some(odd) = values
        .iter()
        .skip(header.names.len())
        .find(|v| !v.is_empty())
    {
        return Err(format!("no column has a name for the field {odd:?}"));
    }
    for (name, value) in header.names.iter().zip(values) {
        match (ADDRESS.contains(&name.as_str()), value.trim()) {
            (true, "") => {}
            (true, value) => set(&mut entry, "address", inner(value))?,
            (false, value) if !IGNORED.contains(&name.as_str()) => set(&mut entry, name, value)?,
            (false, _) => {}
        }
    }
    match entry.address.is_empty() {
        true => Err("no address".to_owned()),
        false => Ok(entry),
    }
}

/// A line of a file without a header: it holds an address and nothing else.
fn parse_line(line: &str) -> Result<Entry, String> {
    let whole = match line.starts_with('"') && line.ends_with('"') {
        true => fields(line, ',')?.concat(),
        false => line.to_owned(),
    };
    let mut entry = Entry::default();
    let read = set(&mut entry, "address", inner(whole.trim()));
    match read {
        Err(why) if line.contains(SEPARATORS) => Err(format!(
            "{why}; if these are the columns of a table, its first line has to name them, and one of them address"
        )),
        read => read.map(|()| entry),
    }
}

/// The address in `Name <address>`, or all of it.
fn inner(text: &str) -> &str {
    let named = text.strip_suffix('>').and_then(|t| t.rsplit_once('<'));
    named.map_or(text, |(_, address)| address.trim())
}

/// The key of an address as people write it, with or without a name.
pub fn key_of(text: &str) -> Result<String, String> {
    let mut entry = Entry::default();
    set(&mut entry, "address", inner(text.trim()))?;
    Ok(entry.address)
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
fn fields(line: &str, separator: char) -> Result<Vec<String>, String> {
    let (mut out, mut field, mut quoted) = (Vec::new(), String::new(), false);
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                field.push('"');
            }
            '"' => quoted = !quoted,
            c if c == separator && !quoted => out.push(std::mem::take(&mut field)),
            c => field.push(c),
        }
    }
    out.push(field);
    match quoted {
        true => Err("a quote is not closed".to_owned()),
        false => Ok(out),
    }
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
        check(
            "y@@x.org\n",
            "line 1: \"y@@x.org\" is not an e-mail address: it has two @",
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
            "line 1: there is no column \"colour\", and what it says would be lost: take it out of the file, or give it one of these names: \
             address, mail, nodupes, own, kind",
        );
        check("address,mail\n,yes\n", "line 2: no address");
    }

    #[test]
    fn tables_of_other_programs_are_read_or_refused_with_the_line() {
        let ana = "\"ana@x.org\",,,,\n";
        check("\u{feff}Email;Name\r\nana@x.org;Lima, Ana\r\n", ana);
        check("\n# ours\nname\te-mail\nAna\tana@x.org\n", ana);
        check("address\n\"\"\"Lima, Ana\"\" <ana@x.org>\"\n", ana);
        check("\"ana@x.org\"\n", ana);
        check(
            "address;mail;\nana@x.org;no;;\n;;\n",
            "\"ana@x.org\",no,,,\n",
        );
        check(
            "address,mail\nana@x.org,no,x\n",
            "line 2: no column has a name for the field \"x\"",
        );
        check("address\n\"ana@x.org\n", "line 2: a quote is not closed");
        for text in [
            "ana@x.org,Ana\n",
            "ana@x.org;yes\n",
            "Adresse;Name\nana@x.org;Ana\n",
        ] {
            let why = parse(text).expect_err("no header");
            assert!(
                why.starts_with("line 1: ") && why.contains("its first line has to name them"),
                "{why}"
            );
        }
        check(
            "Adresse\nana@x.org\n",
            "line 1: \"Adresse\" is not an e-mail address: no @",
        );
        check("", "");
    }
}
