//! The header block that a copy gets on top; everything below it stays as it arrived.
//!
//! Pure. The block is data first ([`fields`]) and bytes last ([`render`]). No value can begin a field of its own.

use std::collections::{HashMap, HashSet};

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::mail::header::{self, RawField};

/// What the block is made of.
#[derive(Debug, Clone)]
pub struct CopyHead<'a> {
    /// Posting address.
    pub address: &'a str,
    /// One line on what the list is; may be empty.
    pub description: &'a str,
    /// The list's page, with a slash at its end.
    pub page: &'a str,
    /// The posting's page.
    pub permalink: &'a str,
}

/// What becomes of the fields that readers can do without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Optional {
    /// They are added, but those that the author signed as absent.
    Added,
    /// None is: else the author's signature would break.
    LeftOut,
}

/// A line holds at most this many octets (RFC 5322 section 2.1.1).
const MAX_LINE: usize = 998;
/// And should not hold more than this many.
const FOLD_AT: usize = 78;
/// Octets of the part of an address before its `@` (RFC 5321 section 4.5.3.1.1).
const MAX_LOCAL: usize = 64;
/// Characters of a description that are shown.
const MAX_DESCRIPTION: usize = 100;

/// The field that every block has; those of [`leave_fields`] are in every copy, too.
const NEEDED: [&str; 1] = ["List-Id"];

/// What no URI holds as it is (RFC 3986 appendix A); `%` stays, as pages come encoded.
const URI: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'<')
    .add(b'>')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');
/// In an address of a `mailto:` these are encoded, too (RFC 6068 section 2).
const MAILTO: &AsciiSet = &URI
    .add(b'%')
    .add(b'/')
    .add(b'?')
    .add(b'#')
    .add(b'[')
    .add(b']')
    .add(b'&')
    .add(b';')
    .add(b'=');

/// `dev.lists.example.org` for `dev@lists.example.org` (RFC 2919).
pub fn list_id(address: &str) -> String {
    address.replacen('@', ".", 1)
}

/// The generated fields that all copies of a posting share, in a fixed order, as name and the pieces between which the value may be folded.
pub fn fields(head: &CopyHead<'_>) -> Vec<(&'static str, Vec<String>)> {
    let mailto = |suffix: &str| vec![mailto(head.address, suffix)];
    let uri = |text: &str| vec![format!("<{}>", utf8_percent_encode(text, URI))];
    let mut id = phrase(head.description);
    id.push(format!("<{}>", list_id(head.address)));
    vec![
        ("List-Id", id),
        ("List-Post", mailto("")),
        ("List-Help", mailto("+help")),
        ("List-Subscribe", mailto("+subscribe")),
        ("List-Owner", mailto("+owner")),
        ("List-Archive", uri(head.page)),
        ("Archived-At", uri(head.permalink)),
        ("Precedence", vec!["list".to_owned()]),
        ("X-Mailing-List", vec![head.address.to_owned()]),
    ]
}

/// The fields by which a member leaves (RFC 8058), for this one copy, beside [`fields`]: with the subscription's token (`token::render_leave`), or without it
/// for a member that is an archive, which others read. `base_url` ends without a slash.
///
/// What is quoted or forwarded of a copy must not end other subscriptions: the token does nothing else, and the archive never has it.
pub fn leave_fields(
    address: &str,
    base_url: &str,
    token: Option<&str>,
) -> Vec<(&'static str, Vec<String>)> {
    let plain = mailto(address, "+unsubscribe");
    let Some(token) = token else {
        return vec![("List-Unsubscribe", vec![plain])];
    };
    let with_token = format!("+unsubscribe-{token}");
    let fits = address.find('@').unwrap_or(address.len()) + with_token.len() <= MAX_LOCAL;
    let mail = match fits {
        true => mailto(address, &with_token),
        false => plain,
    };
    let page = format!("<{}/u/{token}>,", utf8_percent_encode(base_url, URI));
    vec![
        ("List-Unsubscribe", vec![page, mail]),
        (
            "List-Unsubscribe-Post",
            vec!["List-Unsubscribe=One-Click".to_owned()],
        ),
    ]
}

/// [`leave_fields`] as bytes with CRLF line ends: they stand above the block.
pub fn render_leave(address: &str, base_url: &str, token: Option<&str>) -> Vec<u8> {
    let fields = leave_fields(address, base_url, token);
    let lines = fields.iter().map(|(name, pieces)| folded(name, pieces));
    lines.collect::<String>().into_bytes()
}

/// `Feedback-ID: dev:post::SENDER`, by which Gmail counts complaints, for a copy that goes on with `body`: empty without a sender's id,
/// and where the author signed the field as absent. Our signature covers it, as Gmail asks.
pub fn render_feedback(address: &str, sender: &str, body: &[u8]) -> Vec<u8> {
    let absent = signed_as_absent(header::split(body).0);
    if sender.is_empty() || absent.contains("feedback-id") {
        return Vec::new();
    }
    let local = address.split('@').next().unwrap_or(address);
    let local: String = local.chars().filter(|c| *c != ':').collect();
    let value = format!("{local}:post::{sender}");
    folded("Feedback-ID", &[value]).into_bytes()
}

/// `<mailto:dev+help@x.org>`
fn mailto(address: &str, suffix: &str) -> String {
    let (local, domain) = address.split_once('@').unwrap_or((address, ""));
    let local = format!("{local}{suffix}");
    let local = utf8_percent_encode(&local, MAILTO);
    format!("<mailto:{local}@{}>", utf8_percent_encode(domain, MAILTO))
}

/// The generated fields as bytes with CRLF line ends, for a copy that goes on with `body`.
///
/// Left out is a field whose line would be too long for SMTP, and one that an author signed as absent: adding it
/// would break the signature (RFC 6376 section 5.4.2; Exim signs so by default). What readers sort and leave by stays.
pub fn render(head: &CopyHead<'_>, body: &[u8], optional: Optional) -> Vec<u8> {
    let absent = signed_as_absent(header::split(body).0);
    let mut out = String::new();
    for (name, pieces) in fields(head) {
        let signed_absent = absent.contains(&name.to_ascii_lowercase());
        if (signed_absent || optional == Optional::LeftOut) && !NEEDED.contains(&name) {
            continue;
        }
        let field = folded(name, &pieces);
        if field.lines().all(|line| line.len() <= MAX_LINE) {
            out.push_str(&field);
        }
    }
    out.into_bytes()
}

/// One field, folded between pieces.
pub(super) fn folded(name: &str, pieces: &[String]) -> String {
    let mut out = format!("{name}:");
    let mut width = out.len();
    for (at, piece) in pieces.iter().enumerate() {
        // Values come from settings: no control character of theirs reaches the wire.
        let piece: String = piece.chars().filter(|c| !c.is_control()).collect();
        if at > 0 && width + 1 + piece.len() > FOLD_AT {
            out.push_str("\r\n");
            width = 0;
        }
        out.push(' ');
        out.push_str(&piece);
        width += 1 + piece.len();
    }
    out.push_str("\r\n");
    out
}

/// A display name in pieces: plain where it can be, quoted or encoded where it must (RFC 5322 section 3.2.5, RFC 2047).
pub(super) fn phrase(text: &str) -> Vec<String> {
    let text: String = text
        .chars()
        .filter(|c| !c.is_control())
        .take(MAX_DESCRIPTION)
        .collect();
    let text = text.trim();
    // Text that looks like an encoded word would be decoded by readers, quoted or not.
    if !text.is_ascii() || text.contains("=?") {
        return encoded_words(text);
    }
    let atom = |c: char| c.is_ascii_alphanumeric() || " !#$%&'*+-/=?^_`{|}~".contains(c);
    if text.chars().all(atom) {
        return text.split_whitespace().map(str::to_owned).collect();
    }
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"");
    vec![format!("\"{escaped}\"")]
}

/// An encoded word holds at most 75 characters (RFC 2047 section 2): 30 octets of text make 40 of base64, and 12 stand around them.
pub(super) fn encoded_words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (word, after) = rest.split_at(rest.floor_char_boundary(30));
        let base64 = data_encoding::BASE64.encode(word.as_bytes());
        words.push(format!("=?utf-8?b?{base64}?="));
        rest = after;
    }
    words
}

/// The stored mail as a copy carries it: fields that a relay must not pass on are gone, unless the author signed them.
///
/// Gone are Return-Path (the next hop writes its own), Bcc, requests for receipts, and another list's fields, which ours replace.
/// An mbox `From ` line at the top is cut off, and a mail that begins with no field keeps all its bytes below a blank
/// line: under our block its first line would else become part of our last field.
pub fn body_of_copy(bytes: &[u8]) -> Vec<u8> {
    let (head, _) = header::split(bytes);
    let signed = signed_names(head);
    let dropped = |field: &RawField<'_>| {
        let name = String::from_utf8_lossy(field.name).to_ascii_lowercase();
        name == "return-path" || (is_unwanted(&name) && !signed.contains(&name))
    };
    let cut = header::without_fields(bytes, dropped);
    let start = if cut.starts_with(b"From ") || cut.starts_with(b">From ") {
        line_end(&cut)
    } else {
        0
    };
    let rest = &cut[start..];
    if begins_with_field(rest) {
        return rest.to_vec();
    }
    [b"\n", rest].concat()
}

fn is_unwanted(name: &str) -> bool {
    name.starts_with("list-")
        || matches!(
            name,
            "precedence"
                | "x-mailing-list"
                | "bcc"
                | "disposition-notification-to"
                | "return-receipt-to"
        )
}

/// Whether nothing has to stand between our block and these bytes: a field, the blank line, or nothing at all.
fn begins_with_field(bytes: &[u8]) -> bool {
    let line = &bytes[..line_end(bytes)];
    line.trim_ascii_end().is_empty() && !line.starts_with(b" ") && !line.starts_with(b"\t")
        || header::fields(line).next().is_some()
}

/// Length of the first line with its line end.
fn line_end(bytes: &[u8]) -> usize {
    memchr::memchr(b'\n', bytes).map_or(bytes.len(), |at| at + 1)
}

/// Names in `h=` of the DKIM signatures, in lower case (RFC 6376 section 3.5).
fn signed_names(head: &[u8]) -> HashSet<String> {
    signatures(head).into_iter().flatten().collect()
}

/// Fields of which a signature covers more than there are.
fn signed_as_absent(head: &[u8]) -> HashSet<String> {
    let mut present: HashMap<String, usize> = HashMap::new();
    for field in header::fields(head) {
        let name = String::from_utf8_lossy(field.name).to_ascii_lowercase();
        *present.entry(name).or_default() += 1;
    }
    let mut absent = HashSet::new();
    for names in signatures(head) {
        let mut signed: HashMap<String, usize> = HashMap::new();
        for name in names {
            let count = signed.entry(name.clone()).or_default();
            *count += 1;
            if *count > present.get(&name).copied().unwrap_or_default() {
                absent.insert(name);
            }
        }
    }
    absent
}

/// The names in `h=` of each DKIM signature, in lower case and as often as they stand there.
fn signatures(head: &[u8]) -> Vec<Vec<String>> {
    let signatures = header::fields(head).filter(|f| f.is("DKIM-Signature"));
    signatures
        .map(|field| {
            let value = field.unfolded();
            let value = String::from_utf8_lossy(&value);
            let tags = value.split(';').filter_map(|tag| tag.split_once('='));
            let lists = tags.filter(|(tag, _)| tag.trim() == "h");
            lists
                .flat_map(|(_, list)| list.split(':'))
                .map(|name| name.trim().to_ascii_lowercase())
                .collect()
        })
        .collect()
}

#[cfg(test)]
mod tests;
