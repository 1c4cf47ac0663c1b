//! A patch as a mail for `git am`, with the trailers folded in that were given to it. The form is that of `b4 am`.

use std::fmt::Write;

use super::acks::Ack;
use super::alone::shown_alone;
use super::same::same_address;
use super::scan;
use super::tag::{Version, parse_tag};
use super::trailer::{Trailer, split_message};
use crate::diff::mailinfo::{AuthorDate, Letter, MailinfoError, mailinfo};
use crate::mail::{Mailbox, Message, mbox};
use crate::types::Timestamp;

/// What is folded in, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoldOptions {
    /// Nothing is folded in without it; the mail is only brought into form.
    pub trailers: bool,
    /// `Name <address>` whose Signed-off-by goes last.
    pub signoff: Option<String>,
    /// Adds `Cc:` for everybody in To and Cc who is not named yet.
    pub copy_cc: bool,
    /// Adds this trailer, name and value; `%s` stands for the Message-ID.
    pub source: Option<(String, String)>,
    /// Patterns of names, such as `Tested*`: the order of what is added. Empty: as it came.
    pub order: Vec<String>,
    /// Addresses whose trailers are left out.
    pub ignore: Vec<String>,
    /// Takes trailers that do not name the sender of their mail, too.
    pub sloppy: bool,
}

impl Default for FoldOptions {
    fn default() -> FoldOptions {
        FoldOptions {
            trailers: true,
            signoff: None,
            copy_cc: false,
            source: None,
            order: Vec::new(),
            ignore: Vec::new(),
            sloppy: false,
        }
    }
}

/// Makes the mail of an mbox, separator line and empty line at its end included.
///
/// `reroll` is the version that takes the patch over from an older one. It holds what pages show of the patch. Fails where `git am`
/// finds no patch either.
pub fn fold(
    bytes: &[u8],
    message: &Message,
    acks: &[Ack],
    reroll: Option<Version>,
    arrived: Timestamp,
    options: &FoldOptions,
) -> Result<Vec<u8>, MailinfoError> {
    let letter = mailinfo(&shown_alone(bytes, message))?;
    let (title, text) = letter
        .message
        .split_once("\n\n")
        .unwrap_or((&letter.message, ""));
    let author = author(&letter);
    let mut out = String::from("From git@z Thu Jan  1 00:00:00 1970\n");
    let title = one_line(title);
    let subject = format!("[{}] {title}", tag(&message.subject, reroll));
    let date = letter
        .date
        .and_then(rfc5322)
        .unwrap_or_else(|| arrived.rfc5322());
    let ascii = letter.message.is_ascii() && letter.patch.is_ascii();
    let _infallible = write!(
        out,
        "Subject: {subject}\nFrom: {author}\nDate: {date}\nMessage-Id: <{}>\nMIME-Version: 1.0\n\
         Content-Type: text/plain; charset=\"utf-8\"\nContent-Transfer-Encoding: {}\n\n",
        message.message_id,
        if ascii { "7bit" } else { "8bit" }
    );
    let mut body = String::new();
    if repeats_header(text) {
        // `git am` would take it for a field of the mail; one that is really said ends that.
        let _infallible = write!(body, "From: {author}\n\n");
    }
    let patch = trim_patch(&letter.patch);
    let mut ends = Vec::new();
    if options.trailers {
        let (prose, own) = split_message(text);
        let trailers = custody(own, acks, message, options);
        body.push_str(&prose);
        if !prose.is_empty() {
            body.push_str(if trailers.is_empty() { "\n" } else { "\n\n" });
        }
        trailers
            .iter()
            .for_each(|t| body.push_str(&format!("{t}\n")));
        ends.extend_from_slice(separator(patch, trailers.is_empty()).as_bytes());
        ends.extend_from_slice(without_dashes(patch));
    } else {
        body.push_str(text);
        ends.extend_from_slice(patch);
    }
    let mut bytes = out.into_bytes();
    push_quoted(&mut bytes, body.as_bytes());
    push_quoted(&mut bytes, &ends);
    if !bytes.ends_with(b"\n") {
        bytes.push(b'\n');
    }
    bytes.push(b'\n');
    Ok(bytes)
}

/// The trailers in order: those of the patch, what was given, what is added here, and one's own Signed-off-by last.
fn custody(
    mut own: Vec<Trailer>,
    acks: &[Ack],
    message: &Message,
    options: &FoldOptions,
) -> Vec<Trailer> {
    let signoff = options
        .signoff
        .as_ref()
        .map(|who| Trailer::new("Signed-off-by", who));
    let is_signoff = |t: &Trailer| signoff.as_ref().is_some_and(|s| s.same(t));
    own.retain(|t| !is_signoff(t));
    let mut new: Vec<Trailer> = given(acks, options).filter(|t| !is_signoff(t)).collect();
    if let Some((name, value)) = &options.source {
        let value = value.replacen("%s", message.message_id.as_str(), 1);
        new.push(Trailer::new(name, &value));
    }
    if options.copy_cc {
        let copies = copies(message, &own, &new);
        new.extend(copies);
    }
    if !options.order.is_empty() {
        // What stands below the last Signed-off-by was added by nobody before us: it is sorted with the rest.
        let last = own.iter().rposition(|t| t.is("signed-off-by"));
        let below = own.split_off(last.map_or(0, |at| at + 1));
        new.splice(0..0, below);
        let rank = |t: &Trailer| {
            let name = t.name.to_ascii_lowercase();
            let found = options
                .order
                .iter()
                .position(|p| fits(&name, &p.to_ascii_lowercase()));
            found.unwrap_or(options.order.len())
        };
        new.sort_by_key(rank);
    }
    for trailer in new {
        if !own.iter().any(|t| t.same(&trailer)) {
            own.push(trailer);
        }
    }
    own.extend(signoff);
    own
}

fn given<'a>(acks: &'a [Ack], options: &'a FoldOptions) -> impl Iterator<Item = Trailer> + 'a {
    let ignored = |ack: &Ack| {
        let person = ack.trailer.person().map(|(_, address)| address);
        let named = |a: &String| {
            a.eq_ignore_ascii_case(&ack.sender)
                || person.is_some_and(|address| a.eq_ignore_ascii_case(address))
        };
        options.ignore.iter().any(named)
    };
    let taken = acks.iter().filter(|a| a.matches() || options.sloppy);
    taken
        .filter(move |a| !ignored(a))
        .map(|a| a.trailer.clone())
}

/// `Cc:` for those in To and Cc whom no trailer names, by domain, then name.
fn copies(message: &Message, own: &[Trailer], new: &[Trailer]) -> Vec<Trailer> {
    let mut all: Vec<&Mailbox> = message.to.iter().chain(&message.cc).collect();
    let key = |m: &&Mailbox| match m.address.split_once('@') {
        Some((local, domain)) => format!("{domain}{local}"),
        None => m.address.clone(),
    };
    all.sort_by_key(key);
    let mut out: Vec<Trailer> = Vec::new();
    for one in all.into_iter().filter(|m| m.address.contains('@')) {
        let mut trailers = own.iter().chain(new).chain(&out);
        let named = trailers.any(|t| {
            t.person()
                .is_some_and(|(_, a)| same_address(a, &one.address))
        });
        if !named {
            out.push(Trailer::new(
                "Cc",
                &mailbox(&one_line(&one.name), &one_line(&one.address)),
            ));
        }
    }
    out
}

/// Whether a name fits a pattern in which one `*` at the end stands for anything.
fn fits(name: &str, pattern: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(head) => name.starts_with(head),
        None => name == pattern,
    }
}

fn tag(subject: &str, reroll: Option<Version>) -> String {
    let tag = parse_tag(subject);
    let mut out = String::from("PATCH");
    out.push_str(if tag.rfc { " RFC" } else { "" });
    if let Some(version) = reroll.or(tag.version) {
        out.push_str(&format!(" v{version}"));
    }
    if let (Some(number), Some(total)) = (tag.number, tag.total) {
        out.push_str(&format!(" {number}/{total}"));
    }
    out
}

fn author(letter: &Letter) -> String {
    let name = one_line(&letter.name);
    let special = name.contains([
        '(', ')', '<', '>', '[', ']', ':', ';', '@', '\\', ',', '"', '.',
    ]);
    let name = match special {
        true => format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\"")),
        false => name,
    };
    mailbox(&name, &one_line(&letter.email))
}

/// `Tue, 30 Aug 2022 11:19:07 -0400`, in the author's zone.
fn rfc5322(date: AuthorDate) -> Option<String> {
    let zone = chrono::FixedOffset::east_opt(date.zone.checked_mul(60)?)?;
    let moment = chrono::DateTime::from_timestamp(date.secs, 0)?.with_timezone(&zone);
    Some(moment.format("%a, %d %b %Y %H:%M:%S %z").to_string())
}

fn mailbox(name: &str, address: &str) -> String {
    match (name.is_empty(), address.is_empty()) {
        (true, _) => address.to_owned(),
        (false, true) => name.to_owned(),
        (false, false) => format!("{name} <{address}>"),
    }
}

/// Text that cannot begin another field of a header.
fn one_line(text: &str) -> String {
    let blank = |c: char| if c.is_control() { ' ' } else { c };
    text.chars()
        .map(blank)
        .collect::<String>()
        .trim()
        .to_owned()
}

/// Whether the first line would be read as a field of the mail by git-mailinfo(1).
fn repeats_header(text: &str) -> bool {
    let first = text
        .lines()
        .find(|l| !l.trim().is_empty())
        .unwrap_or_default();
    let lower = first.trim_start_matches('>').to_ascii_lowercase();
    let fields = ["from:", "from ", "date:", "subject:", "[patch"];
    fields.iter().any(|f| lower.starts_with(f))
}

/// What parts the trailers from the diff: `---` where notes follow, else an empty line.
fn separator(patch: &[u8], bare: bool) -> &'static str {
    let below = String::from_utf8_lossy(without_dashes(patch));
    let diff = below.starts_with("diff --git") || below.starts_with("--- ");
    match (diff && !scan::has_diffstat(&below), bare) {
        (true, false) => "\n",
        (true, true) => "\n\n",
        (false, _) => "---\n",
    }
}

/// A patch without the `---` that may begin it, and without the empty lines behind that.
fn without_dashes(patch: &[u8]) -> &[u8] {
    let line = patch.split(|b| *b == b'\n').next().unwrap_or_default();
    let rest = match line.trim_ascii_end() {
        b"---" => &patch[(line.len() + 1).min(patch.len())..],
        _ => patch,
    };
    let blank = rest.iter().take_while(|b| **b == b'\n').count();
    &rest[blank..]
}

/// Without empty lines behind a signature; elsewhere they may be context that lost its blank.
fn trim_patch(patch: &[u8]) -> &[u8] {
    let signature = memchr::memmem::rfind(patch, b"\n-- \n");
    match signature.map(|at| &patch[at + 5..]) {
        Some(end) if !end.windows(2).any(|w| w == b"\n@") => {
            let blank = patch.iter().rev().take_while(|b| **b == b'\n').count();
            &patch[..patch.len() - blank.saturating_sub(1)]
        }
        _ => patch,
    }
}

/// Quotes lines that would begin another mail.
fn push_quoted(out: &mut Vec<u8>, text: &[u8]) {
    for line in text.split_inclusive(|b| *b == b'\n') {
        if mbox::is_separator(line) {
            out.push(b'>');
        }
        out.extend_from_slice(line);
    }
}
