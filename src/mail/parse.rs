//! Bytes → [`Message`]. The only file that calls the parser crate.

use mail_parser::decoders::base64::base64_decode;
use mail_parser::decoders::charsets::map::charset_decoder;
use mail_parser::decoders::html::html_to_text;
use mail_parser::decoders::quoted_printable::quoted_printable_decode;
use mail_parser::parsers::MessageStream;
use mail_parser::{
    Address, Encoding, HeaderValue, MessageParser, MessagePart, MimeHeaders, PartType,
};

use super::header::{self, RawField};
use super::identity::identity;
use super::nesting;
use super::{Flaw, Mailbox, Message, Part};
use crate::types::{Identity, MessageId, Timestamp};

/// Leaves beyond this are not looked at; real mail stays below 100.
const MAX_PARTS: usize = 1_000;
/// Mails in mails in mails: deeper ones are not looked at (Postfix's `mime_nesting_limit` is 100).
const MAX_DEPTH: usize = 100;
/// Mails in encoded mails: this many encodings are undone.
const MAX_ENCODED: usize = 3;
/// References that count; the nearest win.
const MAX_PARENTS: usize = 64;
/// Names of a mail beside its Message-ID.
const MAX_NAMES: usize = 8;
/// Mailboxes of one header field that are kept.
const MAX_MAILBOXES: usize = 1_000;

/// Parses a mail. Never fails: what is wrong is in [`Message::flaws`]. LF and CRLF give the same message.
pub fn parse(bytes: &[u8]) -> Message {
    let (bytes, _) = header::to_lf(bytes);
    let identity = identity(&bytes);
    let (head, _) = header::split(&bytes);
    let fields: Vec<RawField<'_>> = header::fields(head).collect();
    let mut flaws = Vec::new();
    if head.len() == bytes.len() {
        flaws.push(Flaw::NoSeparator);
    }
    if std::str::from_utf8(head).is_err() {
        flaws.push(Flaw::RawHeaderBytes);
    }
    let headers: Vec<(String, String)> = fields
        .iter()
        .map(|f| (lossy(f.name), text_value(f)))
        .collect();
    let (message_id, aliases) = names(&fields, identity, &mut flaws);
    let from = mailboxes(&fields, "From");
    let (to, cc) = (mailboxes(&fields, "To"), mailboxes(&fields, "Cc"));
    judge_from(&from, &fields, &mut flaws);
    let date = first(&fields, "Date").and_then(|f| date_value(f.value));
    if date.is_none() {
        flaws.push(Flaw::NoDate);
    }
    let subject = first(&fields, "Subject").map(text_value);
    if subject.is_none() {
        flaws.push(Flaw::NoSubject);
    }
    let received = first(&fields, "Received").and_then(|f| {
        let value = f.unfolded();
        let at = memchr::memrchr(b';', &value)?;
        date_value(&value[at + 1..])
    });
    let parents = parents(&fields, &message_id, &[&from, &to, &cc]);
    let parts = parts(&bytes, &mut flaws);
    let text = display_text(&parts, &mut flaws);
    let subject = subject.unwrap_or_default();
    Message {
        message_id,
        aliases,
        subject,
        from,
        to,
        cc,
        date,
        received,
        parents,
        text,
        parts,
        headers,
        flaws,
        identity,
    }
}

fn first<'a, 'b>(fields: &'b [RawField<'a>], name: &str) -> Option<&'b RawField<'a>> {
    fields.iter().find(|f| f.is(name))
}

fn lossy(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.replace('\0', "\u{fffd}"),
        Err(_) => decode_lenient(bytes),
    }
}

/// UTF-8 if it is, else windows-1252, which gives some text for any bytes.
fn decode_lenient(bytes: &[u8]) -> String {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => charset_decoder(b"windows-1252")
            .map_or_else(|| String::from_utf8_lossy(bytes).into_owned(), |f| f(bytes)),
    };
    if text.contains('\0') {
        text.replace('\0', "\u{fffd}")
    } else {
        text
    }
}

/// A field's value, encoded words decoded, folding undone.
fn text_value(field: &RawField<'_>) -> String {
    let mut value = field.unfolded();
    if std::str::from_utf8(&value).is_err() {
        value = decode_lenient(&value).into_bytes();
    }
    if memchr::memmem::find(&value, b"=?").is_none() {
        return lossy(&value);
    }
    value.push(b'\n');
    match MessageStream::new(&value).parse_unstructured() {
        HeaderValue::Text(text) => text.replace('\0', "\u{fffd}"),
        _ => lossy(value.trim_ascii()),
    }
}

/// Reads a date; years outside 1970 to 9999 and impossible days are none.
fn date_value(value: &[u8]) -> Option<Timestamp> {
    let mut value = value.trim_ascii().to_vec();
    value.push(b'\n');
    match MessageStream::new(&value).parse_date() {
        HeaderValue::DateTime(date) if date.is_valid() && (1970..=9999).contains(&date.year) => {
            Some(Timestamp::from_secs(date.to_timestamp()))
        }
        _ => None,
    }
}

fn names(
    fields: &[RawField<'_>],
    identity: Identity,
    flaws: &mut Vec<Flaw>,
) -> (MessageId, Vec<MessageId>) {
    let mut ids = Vec::new();
    for field in fields.iter().filter(|f| f.is("Message-ID")) {
        let value = lossy(&field.unfolded());
        ids.extend(
            first_ids(&value, 1)
                .into_iter()
                .next()
                .or_else(|| MessageId::parse(&value)),
        );
    }
    let extra = fields
        .iter()
        .filter(|f| f.is("X-Microsoft-Original-Message-ID"));
    ids.truncate(MAX_NAMES);
    let given = ids.len();
    ids.extend(
        extra
            .take(MAX_NAMES)
            .flat_map(|f| first_ids(&lossy(&f.unfolded()), MAX_NAMES)),
    );
    let mut seen = std::collections::HashSet::new();
    ids.retain(|id| seen.insert(id.clone()));
    ids.truncate(1 + MAX_NAMES);
    if given == 0 {
        flaws.push(Flaw::NoMessageId);
        let name = data_encoding::BASE32_NOPAD
            .encode(&identity.0[..20])
            .to_lowercase();
        let derived =
            MessageId::parse(&format!("{name}@derived.invalid")).expect("a base32 name is an id");
        ids.truncate(MAX_NAMES);
        return (derived, ids);
    }
    if given > 1 {
        flaws.push(Flaw::ManyMessageIds);
    }
    let first = ids.remove(0);
    (first, ids)
}

/// The first `<id>`s of a value, at most `limit`; without any, the words that hold an `@`.
fn first_ids(value: &str, limit: usize) -> Vec<MessageId> {
    let mut ids = Vec::new();
    let mut rest = value;
    while ids.len() < limit
        && let Some(open) = rest.find('<')
    {
        let after = &rest[open + 1..];
        let Some(close) = after.find('>') else { break };
        ids.extend(MessageId::parse(&after[..close]));
        rest = &after[close + 1..];
    }
    if ids.is_empty() {
        let words = value
            .split_whitespace()
            .filter(|w| w.contains('@') && !w.starts_with('('));
        ids.extend(words.filter_map(MessageId::parse).take(limit));
    }
    ids
}

/// The last `<id>`s of a value, at most `limit`, the last first.
fn last_ids(value: &str, limit: usize) -> Vec<MessageId> {
    let tail = value.rmatch_indices('<').nth(limit.saturating_sub(1));
    let tail = tail.map_or(value, |(at, _)| &value[at..]);
    let mut ids = first_ids(tail, limit);
    ids.reverse();
    ids
}

/// In-Reply-To, then References from the last: nearest first, each once, without slips.
fn parents(fields: &[RawField<'_>], own: &MessageId, people: &[&[Mailbox]]) -> Vec<MessageId> {
    let mut out: Vec<MessageId> = Vec::new();
    // `git send-email` asks for a Message-ID to reply to; people answer with an address, `y` or `n`.
    let slip = |id: &MessageId| {
        let addressed = people.iter().any(|list| {
            list.iter()
                .any(|m| m.address.eq_ignore_ascii_case(id.as_str()))
        });
        addressed || matches!(id.as_str(), "y" | "n" | "Y" | "N") || id == own
    };
    let mut seen = std::collections::HashSet::new();
    let mut take = |id: MessageId| {
        if out.len() < MAX_PARENTS && !slip(&id) && seen.insert(id.clone()) {
            out.push(id);
        }
    };
    for field in fields.iter().filter(|f| f.is("In-Reply-To")) {
        first_ids(&lossy(&field.unfolded()), 4 * MAX_PARENTS)
            .into_iter()
            .for_each(&mut take);
    }
    for field in fields.iter().filter(|f| f.is("References")) {
        last_ids(&lossy(&field.unfolded()), 4 * MAX_PARENTS)
            .into_iter()
            .for_each(&mut take);
    }
    out
}

fn mailboxes(fields: &[RawField<'_>], name: &str) -> Vec<Mailbox> {
    let mut out = Vec::new();
    for field in fields.iter().filter(|f| f.is(name)) {
        let mut value = field.unfolded();
        if std::str::from_utf8(&value).is_err() {
            value = decode_lenient(&value).into_bytes();
        }
        value.push(b'\n');
        let mut add = |a: &mail_parser::Addr<'_>| {
            if out.len() < MAX_MAILBOXES {
                let text = |v: &Option<std::borrow::Cow<'_, str>>| {
                    v.as_deref()
                        .unwrap_or_default()
                        .trim()
                        .replace('\0', "\u{fffd}")
                };
                out.push(Mailbox {
                    name: text(&a.name),
                    address: text(&a.address),
                });
            }
        };
        match MessageStream::new(&value).parse_address() {
            HeaderValue::Address(Address::List(list)) => list.iter().for_each(&mut add),
            HeaderValue::Address(Address::Group(groups)) => {
                groups.iter().flat_map(|g| &g.addresses).for_each(&mut add)
            }
            _ => {}
        }
    }
    out
}

fn judge_from(from: &[Mailbox], fields: &[RawField<'_>], flaws: &mut Vec<Flaw>) {
    let given = fields.iter().filter(|f| f.is("From")).count();
    if from.iter().all(|m| !m.address.contains('@')) {
        flaws.push(Flaw::NoFrom);
    }
    if from.len() > 1 || given > 1 {
        flaws.push(Flaw::ManyFrom);
    }
}

/// The leaves of the MIME tree in order, those of attached mails too.
fn parts(bytes: &[u8], flaws: &mut Vec<Flaw>) -> Vec<Part> {
    let mut out = Vec::new();
    add_parts(bytes, (0, 0), &mut out, flaws);
    out
}

/// The text of a page of HTML, as mail programs without HTML show it.
pub fn text_of_html(html: &str) -> String {
    html_to_text(html)
        .replace("\r\n", "\n")
        .replace('\0', "\u{fffd}")
}

/// Adds the leaves of a mail; `encoded` counts the encodings that it was taken out of, `within` the mails around it.
fn add_parts(
    bytes: &[u8],
    (encoded, within): (usize, usize),
    out: &mut Vec<Part>,
    flaws: &mut Vec<Flaw>,
) {
    let tamed = nesting::tame(bytes);
    // The parser breaks off on some wrong nestings (a multipart that ends twice): such a mail is one text, and is kept.
    let parsed = tamed.as_deref().and_then(|tamed| {
        std::panic::catch_unwind(|| MessageParser::default().parse(tamed)).unwrap_or_default()
    });
    let Some(message) = parsed else {
        flaws.push(Flaw::TooManyParts);
        let (_, body) = header::split(bytes);
        out.push(Part {
            content_type: "text/plain".to_owned(),
            filename: None,
            attachment: false,
            bytes: body.to_vec(),
            text: Some(decode_lenient(body)),
            charset: None,
            flowed: None,
            within,
        });
        return;
    };
    let mut stack: Vec<(&mail_parser::Message<'_>, usize, usize)> = vec![(&message, 0, 0)];
    while let Some((mail, at, depth)) = stack.pop() {
        let Some(part) = mail.parts.get(at) else {
            continue;
        };
        stack.push((mail, at + 1, depth));
        if out.len() >= MAX_PARTS {
            flaws.push(Flaw::TooManyParts);
            break;
        }
        match &part.body {
            PartType::Multipart(_) => {}
            PartType::Message(inner) if depth < MAX_DEPTH => stack.push((inner, 0, depth + 1)),
            PartType::Message(_) => flaws.push(Flaw::TooManyParts),
            _ => {
                let plain = part.encoding == Encoding::None;
                let leaf = leaf(bytes, (part, within + depth), flaws);
                let mail = matches!(&*leaf.content_type, "message/rfc822" | "message/global");
                match mail && !plain && encoded < MAX_ENCODED {
                    true => add_parts(&leaf.bytes, (encoded + 1, leaf.within + 1), out, flaws),
                    false => out.push(leaf),
                }
            }
        }
    }
}

/// A part, decoded out of the bytes of the mail that it stands in, which has `within` mails around it.
fn leaf(mail: &[u8], (part, within): (&MessagePart<'_>, usize), flaws: &mut Vec<Flaw>) -> Part {
    let kind = part.content_type();
    let content_type = kind.map_or_else(
        || "text/plain".to_owned(),
        |c| format!("{}/{}", c.c_type, c.c_subtype.as_deref().unwrap_or("plain")).to_lowercase(),
    );
    let content_type = nesting::unmask(&content_type).into_owned();
    let range = part.offset_body as usize..part.offset_end as usize;
    let raw = mail.get(range).unwrap_or_default();
    let decoded = match part.encoding {
        Encoding::None => None,
        Encoding::Base64 => base64_decode(raw),
        Encoding::QuotedPrintable => quoted_printable_decode(raw),
    };
    let parsed = || match &part.body {
        PartType::Text(t) | PartType::Html(t) => t.as_bytes().to_vec(),
        PartType::Binary(b) | PartType::InlineBinary(b) => b.to_vec(),
        _ => Vec::new(),
    };
    let plain = part.encoding == Encoding::None;
    let bytes = decoded.unwrap_or_else(|| if plain { raw.to_vec() } else { parsed() });
    let filename = part
        .attachment_name()
        .map(|name| file_name(&nesting::unmask(name)))
        .filter(|n| !n.is_empty());
    let patch_name = filename
        .as_deref()
        .is_some_and(|n| n.ends_with(".patch") || n.ends_with(".diff"));
    let is_text = content_type.starts_with("text/") || patch_name;
    let text =
        is_text.then(|| decode_text(&bytes, kind.and_then(|c| c.attribute("charset")), flaws));
    let declared = part
        .content_disposition()
        .is_some_and(|d| d.c_type.eq_ignore_ascii_case("attachment"));
    let attachment = declared || !is_text;
    let parameter = |name: &str| kind.and_then(|c| c.attribute(name));
    let says =
        |name: &str, value: &str| parameter(name).is_some_and(|v| v.eq_ignore_ascii_case(value));
    Part {
        charset: parameter("charset").map(str::to_owned),
        flowed: says("format", "flowed").then(|| says("delsp", "yes")),
        content_type,
        filename,
        attachment,
        bytes,
        text,
        within,
    }
}

/// A name only: no folder, no control characters, at most 200 bytes.
fn file_name(name: &str) -> String {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let mut name: String = last.chars().filter(|c| !c.is_control()).collect();
    name.truncate(name.floor_char_boundary(200));
    if name == "." || name == ".." {
        String::new()
    } else {
        name
    }
}

/// Text by its charset; what does not fit is read as UTF-8 or windows-1252, whichever it is.
fn decode_text(bytes: &[u8], charset: Option<&str>, flaws: &mut Vec<Flaw>) -> String {
    let charset = charset.unwrap_or("us-ascii").trim().to_ascii_lowercase();
    let text = match charset.as_str() {
        "us-ascii" | "ascii" | "utf-8" | "utf8" | "" => None,
        other => charset_decoder(other.as_bytes()).map(|decode| decode(bytes)),
    };
    let text = text.unwrap_or_else(|| {
        if std::str::from_utf8(bytes).is_err() {
            flaws.push(Flaw::Charset);
        }
        decode_lenient(bytes)
    });
    let text = if text.contains('\r') {
        text.replace("\r\n", "\n")
    } else {
        text
    };
    if text.contains('\0') {
        text.replace('\0', "\u{fffd}")
    } else {
        text
    }
}

fn display_text(parts: &[Part], flaws: &mut Vec<Flaw>) -> String {
    let plain = parts
        .iter()
        .filter(|p| p.content_type == "text/plain" && !p.attachment);
    let plain: Vec<&str> = plain.filter_map(|p| p.text.as_deref()).collect();
    if !plain.is_empty() {
        return plain.join("\n");
    }
    let html: Vec<&str> = parts
        .iter()
        .filter(|p| p.content_type == "text/html")
        .filter_map(|p| p.text.as_deref())
        .collect();
    if !html.is_empty() {
        flaws.push(Flaw::HtmlOnly);
        return text_of_html(&html.join("\n"));
    }
    let any = parts
        .iter()
        .filter(|p| p.content_type.starts_with("text/") && !p.attachment);
    any.filter_map(|p| p.text.as_deref())
        .collect::<Vec<_>>()
        .join("\n")
}
