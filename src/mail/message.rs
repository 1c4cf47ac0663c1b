//! What a parsed mail is: plain values, no reference to the parser crate.

use crate::types::{Identity, MessageId, Timestamp};

/// A display name and an address as a header gave them; either may be empty, neither is trusted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mailbox {
    /// Decoded display name, without quotes; empty if none was given.
    pub name: String,
    /// `local@domain` as written; empty in broken mail.
    pub address: String,
}

/// Something wrong with a mail that is kept all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Flaw {
    /// No Message-ID: one was derived from the identity (`<hash>@derived.invalid`).
    NoMessageId,
    /// More than one Message-ID header field: the first counts, the others are aliases.
    ManyMessageIds,
    /// No From, or one without an address.
    NoFrom,
    /// More than one mailbox in From, or more than one From field.
    ManyFrom,
    /// No Date, or one that cannot be read.
    NoDate,
    /// A Date before 1990 or more than two days after arrival (judged where arrival is known).
    OddDate,
    /// No Subject field.
    NoSubject,
    /// Header bytes that are neither ASCII nor UTF-8.
    RawHeaderBytes,
    /// The text did not fit its declared charset and was decoded leniently.
    Charset,
    /// Text was made out of HTML, as there was no plain part.
    HtmlOnly,
    /// Parts beyond the depth or number limit were not looked at.
    TooManyParts,
    /// No blank line between header and body.
    NoSeparator,
}

/// A leaf of the MIME tree, decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// `type/subtype` in lower case; `text/plain` if absent or unreadable.
    pub content_type: String,
    /// File name from Content-Disposition or Content-Type, decoded; never a path.
    pub filename: Option<String>,
    /// Declared `Content-Disposition: attachment`, or named and not text.
    pub attachment: bool,
    /// Transfer encoding undone; the charset as sent.
    pub bytes: Vec<u8>,
    /// The bytes as text (LF line ends) if the type is `text/*` or a patch by its name, decoded leniently.
    pub text: Option<String>,
    /// The charset that it names.
    pub charset: Option<String>,
    /// It is sent as `format=flowed` (RFC 3676), and whether with `DelSp=yes`.
    pub flowed: Option<bool>,
    /// How many attached mails it stands in; 0 for a part of the mail itself.
    pub within: usize,
}

/// A mail, parsed: every field is a claim of a stranger. Parsing never fails; flaws are a field.
#[derive(Debug, Clone)]
pub struct Message {
    /// The first Message-ID, or the derived one.
    pub message_id: MessageId,
    /// Further names of the same mail: other Message-ID fields, `X-Microsoft-Original-Message-ID`.
    pub aliases: Vec<MessageId>,
    /// Decoded, unfolded Subject; empty if none.
    pub subject: String,
    /// The author's mailboxes, as given.
    pub from: Vec<Mailbox>,
    /// To, flattened.
    pub to: Vec<Mailbox>,
    /// Cc, flattened.
    pub cc: Vec<Mailbox>,
    /// The Date header field in UTC, unjudged.
    pub date: Option<Timestamp>,
    /// The date of the topmost Received field.
    pub received: Option<Timestamp>,
    /// In-Reply-To then References from the last to the first: nearest ancestor first, each once, at most 64,
    /// without slips (ids that equal an address of To, Cc or From; the words `y` and `n`).
    pub parents: Vec<MessageId>,
    /// What a reader sees, LF line ends: the text/plain parts joined, else text made out of HTML.
    pub text: String,
    /// All leaves in order, the text parts too.
    pub parts: Vec<Part>,
    /// All header fields in order, name as written, value unfolded and decoded.
    pub headers: Vec<(String, String)>,
    /// What is wrong with it.
    pub flaws: Vec<Flaw>,
    /// The same for two copies of one mail, whatever way they came.
    pub identity: Identity,
}

impl Message {
    /// The first header field of that name (any case), decoded and unfolded.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, v)| v.as_str())
    }

    /// The one author's mailbox: the first of From, or an empty one.
    pub fn author(&self) -> Mailbox {
        self.from.first().cloned().unwrap_or_default()
    }
}
