//! A posting made ready to be copied: all that its copies share is made once. A letter is one copy of itself. Nothing waits here.

use std::borrow::Cow;

use bytes::Bytes;

use crate::list::dkim::Draft;
use crate::list::header::{self, CopyHead, Optional};
use crate::list::token::{self, Bounce};
use crate::list::treatment::Treatment;
use crate::mail;
use crate::store::{Delivery, PostingToSend};
use crate::types::MemberId;
use crate::view::url;

/// What all copies of one posting share.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// List name, for file names and log lines.
    pub list: String,
    /// The generated header block with CRLF.
    pub head: Bytes,
    /// What arrived, with CRLF line ends, without the fields that are not passed on.
    pub body: Bytes,
    /// `body` as SMTP carries it: dots doubled, and a line end at its end.
    pub stuffed: Bytes,
    /// Octets beyond ASCII, for which a next hop must offer 8BITMIME.
    pub eight_bit: bool,
    /// Why it cannot be sent by SMTP.
    pub flaw: Option<&'static str>,
    address: String,
    base_url: String,
    /// What all copies share of our signature.
    pub draft: Draft,
    /// Whose keys sign it.
    pub domain: String,
    local: String,
}

impl Outgoing {
    /// Makes a posting ready; `base_url` ends without a slash; `feedback_id` may be empty.
    pub fn new(posting: &PostingToSend, base_url: &str, feedback_id: &str) -> Outgoing {
        let page = format!("{base_url}/{}/", posting.list);
        let permalink = format!("{page}{}/", url::message_id(&posting.message_id));
        let (stored, _) = mail::header::to_lf(&posting.bytes);
        let flaw = find_flaw(&stored);
        let treatment = Treatment::from_stored(&posting.treatment);
        let stored = treatment.apply(&stored, &posting.list, &posting.address);
        let body = header::body_of_copy(&stored);
        let head = CopyHead {
            address: &posting.address,
            description: &posting.description,
            page: &page,
            permalink: &permalink,
        };
        let mut head = header::render(&head, &body, treatment.optional());
        if treatment.optional() == Optional::Added {
            head.extend(header::render_feedback(
                &posting.address,
                feedback_id,
                &body,
            ));
        }
        let (body, stuffed) = for_wire(&body);
        let draft = Draft::new(&head, &body);
        let (local, domain) = posting
            .address
            .split_once('@')
            .unwrap_or((&posting.address, "localhost"));
        Outgoing {
            list: posting.list.clone(),
            eight_bit: !head.is_ascii() || !body.is_ascii(),
            head: head.into(),
            body,
            stuffed,
            flaw,
            address: posting.address.clone(),
            base_url: base_url.to_owned(),
            draft,
            domain: domain.to_lowercase(),
            local: local.to_owned(),
        }
    }

    /// Makes a letter ready, which is a whole mail with LF line ends.
    pub fn of_letter(data: &[u8]) -> Outgoing {
        let (body, stuffed) = for_wire(data);
        Outgoing {
            list: String::new(),
            head: Bytes::new(),
            eight_bit: !body.is_ascii(),
            draft: Draft::new(&[], &body),
            domain: from_domain(&body),
            body,
            stuffed,
            flaw: find_flaw(data),
            address: String::new(),
            base_url: String::new(),
            local: String::new(),
        }
    }

    /// Octets that a next hop counts (RFC 1870 section 5: without the doubled dots).
    pub fn size(&self) -> usize {
        self.head.len() + self.body.len()
    }

    /// The fields that only this copy has, with CRLF: how to leave. What others may read, or who is no member gets, holds no token.
    pub fn own_fields(&self, key: &[u8], member: Option<MemberId>) -> Vec<u8> {
        let token = member.and_then(|member| token::render_leave(key, member));
        header::render_leave(&self.address, &self.base_url, token.as_deref())
    }

    /// The opaque envelope sender of one member's copy; `None` when an id is too large for a token.
    pub fn return_path(&self, key: &[u8], delivery: &Delivery) -> Option<String> {
        let bounce = Bounce {
            list: delivery.list,
            number: delivery.number,
            member: delivery.member,
        };
        let token = token::render_bounce(key, bounce)?;
        Some(format!("{}+b-{token}@{}", self.local, self.domain))
    }
}

/// What must never leave (RFC 5321 section 2.3.8). Ingress refuses it; imported mail may hold it.
///
/// `stored` has LF line ends where that was possible: a CR that is left stood alone, or beside bare LF.
fn find_flaw(stored: &[u8]) -> Option<&'static str> {
    if memchr::memchr(b'\r', stored).is_some() {
        return Some("the mail holds bare CR, or both CRLF and bare LF, which SMTP does not allow");
    }
    memchr::memchr(0, stored).map(|_| "the mail holds NUL, which SMTP does not allow")
}

/// The domain in From of a mail that we wrote.
fn from_domain(mail: &[u8]) -> String {
    let (block, _) = mail::header::split(mail);
    let from = mail::header::fields(block).find(|field| field.is("From"));
    let value = from.map(|field| field.unfolded()).unwrap_or_default();
    let value = String::from_utf8_lossy(&value);
    let domain = value.rsplit_once('@').map_or("", |(_, domain)| domain);
    domain.trim_end_matches(['>', ' ']).to_lowercase()
}

/// Bytes with CRLF, and as SMTP carries them.
fn for_wire(bytes: &[u8]) -> (Bytes, Bytes) {
    let body = Bytes::from(mail::header::to_crlf(bytes));
    let stuffed = match stuff(&body) {
        Cow::Borrowed(_) => body.clone(),
        Cow::Owned(stuffed) => stuffed.into(),
    };
    (body, stuffed)
}

/// Doubles dots at line starts (RFC 5321 section 4.5.2) and ends the last line.
pub(super) fn stuff(body: &[u8]) -> Cow<'_, [u8]> {
    let ended = body.is_empty() || body.ends_with(b"\r\n");
    if ended && !body.starts_with(b".") && memchr::memmem::find(body, b"\n.").is_none() {
        return body.into();
    }
    let mut out = Vec::with_capacity(body.len() + body.len() / 32 + 2);
    for line in body.split_inclusive(|b| *b == b'\n') {
        if line.starts_with(b".") {
            out.push(b'.');
        }
        out.extend_from_slice(line);
    }
    if !ended {
        out.extend_from_slice(b"\r\n");
    }
    out.into()
}

#[cfg(test)]
mod tests;
