//! One command line → what it asks for (RFC 5321 section 4.1.1, RFC 2033).

use super::forward::{self, Attribute};
use crate::types::Address;

/// Whose address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// In `MAIL`.
    Sender,
    /// In `RCPT`.
    Recipient,
}

/// A command as parsed; what is wrong with it is a variant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// `HELO name`
    Helo(String),
    /// `EHLO name`
    Ehlo(String),
    /// `LHLO name`
    Lhlo(String),
    /// `MAIL FROM:<…>` with its parameters; `None` is the null sender.
    Mail {
        sender: Option<Address>,
        size: Option<u64>,
    },
    /// `RCPT TO:<…>`
    Rcpt(Address),
    /// `DATA`
    Data,
    /// `RSET`
    Rset,
    /// `NOOP`
    Noop,
    /// `QUIT`
    Quit,
    /// `STARTTLS`
    StartTls,
    /// `XFORWARD NAME=value …`, from whom it is taken.
    Forward(Result<Vec<Attribute>, &'static str>),
    /// `HELP`
    Help,
    /// `VRFY`
    Vrfy,
    /// `RCPT TO:<postmaster>`, the one recipient that needs no domain.
    Postmaster,
    /// Known, and never done here: EXPN, TURN, ETRN, AUTH …
    NotDone,
    /// `BDAT` or `BURL`: not offered, and what follows is content that must not be read as commands.
    Chunk,
    /// The first line of an HTTP request, for example from a browser that was sent here by a hostile page.
    Http,
    /// Not a command.
    Unknown,
    /// A command whose words are malformed; says which.
    Malformed(&'static str),
    /// An address that cannot be one; the field says whose.
    BadAddress(Side),
    /// `MAIL` or `RCPT` with a parameter that was not offered.
    Parameter(String),
    /// `SIZE=` with something that is no number of octets.
    BadSize,
    /// A mailbox that is not ASCII: SMTPUTF8 is not offered.
    NotAscii,
}

/// Parses a line without its CRLF. A bare LF or CR inside makes it [`Command::Malformed`], never two commands.
pub fn parse(line: &[u8]) -> Command {
    if line.iter().any(|b| matches!(b, b'\r' | b'\n' | 0)) {
        return Command::Malformed("the line holds a bare CR, LF or NUL");
    }
    let Ok(text) = std::str::from_utf8(line) else {
        return Command::Malformed("the line is not ASCII");
    };
    let text = text.trim_end();
    let (verb, rest) = text.split_once(' ').unwrap_or((text, ""));
    let rest = rest.trim();
    match verb.to_ascii_uppercase().as_str() {
        "HELO" => name(rest).map_or(
            Command::Malformed("HELO takes your host name"),
            Command::Helo,
        ),
        "EHLO" => name(rest).map_or(
            Command::Malformed("EHLO takes your host name"),
            Command::Ehlo,
        ),
        "LHLO" => name(rest).map_or(
            Command::Malformed("LHLO takes your host name"),
            Command::Lhlo,
        ),
        "MAIL" => mail(rest),
        "RCPT" => rcpt(rest),
        "DATA" if rest.is_empty() => Command::Data,
        "RSET" if rest.is_empty() => Command::Rset,
        "QUIT" if rest.is_empty() => Command::Quit,
        "STARTTLS" if rest.is_empty() => Command::StartTls,
        "DATA" | "RSET" | "QUIT" | "STARTTLS" => {
            Command::Malformed("the command takes no argument")
        }
        "NOOP" => Command::Noop,
        "HELP" => Command::Help,
        "VRFY" => Command::Vrfy,
        "EXPN" | "TURN" | "ETRN" | "AUTH" | "SEND" | "SOML" | "SAML" => Command::NotDone,
        "BDAT" | "BURL" => Command::Chunk,
        "XFORWARD" => Command::Forward(forward::parse(rest)),
        "GET" | "POST" | "PUT" | "HEAD" | "OPTIONS" | "CONNECT" => Command::Http,
        _ => Command::Unknown,
    }
}

fn name(rest: &str) -> Option<String> {
    let sane = !rest.is_empty() && rest.len() <= 255 && rest.bytes().all(|b| b.is_ascii_graphic());
    sane.then(|| rest.to_owned())
}

/// Cuts `FROM:<path>` or `TO:<path>` off; a blank behind the colon is common and tolerated.
fn path<'a>(rest: &'a str, word: &str) -> Option<(&'a str, &'a str)> {
    let head = rest.get(..word.len())?;
    if !head.eq_ignore_ascii_case(word) {
        return None;
    }
    let rest = rest[word.len()..].trim_start().strip_prefix('<')?;
    // A quoted local part may hold a `>`.
    let mut quoted = false;
    let mut escaped = false;
    for (at, c) in rest.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '>' if !quoted => return Some((&rest[..at], rest[at + 1..].trim())),
            _ => {}
        }
    }
    None
}

/// RFC 5321 section 4.1.1.3: a source route before the mailbox is ignored.
fn mailbox(path: &str, side: Side) -> Option<Address> {
    let path = match path.strip_prefix('@') {
        Some(route) => route.split_once(':')?.1,
        None => path,
    };
    match side {
        Side::Sender => Address::parse_sender(path).ok(),
        Side::Recipient => path.parse().ok(),
    }
}

fn mail(rest: &str) -> Command {
    let Some((path, parameters)) = path(rest, "FROM:") else {
        return Command::Malformed("write MAIL FROM:<address>");
    };
    let mut size = None;
    for parameter in parameters.split_ascii_whitespace() {
        let (key, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        match key.to_ascii_uppercase().as_str() {
            "SIZE" => match value.parse() {
                Ok(octets) if value.bytes().all(|b| b.is_ascii_digit()) => size = Some(octets),
                _ => return Command::BadSize,
            },
            "BODY" if matches!(value.to_ascii_uppercase().as_str(), "7BIT" | "8BITMIME") => {}
            _ => {
                return Command::Parameter(
                    key.chars()
                        .filter(char::is_ascii_graphic)
                        .take(40)
                        .collect(),
                );
            }
        }
    }
    if path.is_empty() {
        return Command::Mail { sender: None, size };
    }
    if !path.is_ascii() {
        return Command::NotAscii;
    }
    match mailbox(path, Side::Sender) {
        Some(address) => Command::Mail {
            sender: Some(address),
            size,
        },
        None => Command::BadAddress(Side::Sender),
    }
}

fn rcpt(rest: &str) -> Command {
    let Some((path, parameters)) = path(rest, "TO:") else {
        return Command::Malformed("write RCPT TO:<address>");
    };
    if let Some(parameter) = parameters.split_ascii_whitespace().next() {
        let key = parameter.split('=').next().unwrap_or_default();
        return Command::Parameter(
            key.chars()
                .filter(char::is_ascii_graphic)
                .take(40)
                .collect(),
        );
    }
    if !path.is_ascii() {
        return Command::NotAscii;
    }
    // RFC 5321 section 4.5.1: `<postmaster>` without a domain is always a recipient.
    if path.eq_ignore_ascii_case("postmaster") {
        return Command::Postmaster;
    }
    mailbox(path, Side::Recipient).map_or(Command::BadAddress(Side::Recipient), Command::Rcpt)
}

#[cfg(test)]
mod tests;
