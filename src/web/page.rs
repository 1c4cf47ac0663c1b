//! What pages are made of: frame, pills, rows, posts; and how answers are sent.

use askama::Template;
use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use sha2::Digest;

use crate::store::StoreError;
use crate::store::pages::{MailRow, SeriesFact};
use crate::store::summary::state_name;
use crate::thread::effective_date;
use crate::types::{MessageId, Timestamp};
use crate::view::text::{Block, blocks, tile, visible};
use crate::view::url;

/// Around every page.
pub struct Frame {
    /// The site's name.
    pub site: String,
    /// The list that the page is of.
    pub list: Option<String>,
    /// What was searched for.
    pub q: String,
}

/// A small fact.
pub struct Pill {
    /// `good`, `caution`, `bad` or empty.
    pub tone: &'static str,
    /// Words: colour never carries meaning alone.
    pub text: String,
    /// A dot in front: states have one.
    pub dot: bool,
}

/// A line of a listing.
pub struct Row {
    /// Where it leads.
    pub href: String,
    /// Its title.
    pub subject: String,
    /// Who.
    pub author: String,
    /// How many mails or answers.
    pub count: String,
    /// When.
    pub when: Timestamp,
    /// Facts.
    pub pills: Vec<Pill>,
}

/// A mail on a page.
pub struct Post {
    /// Fragment.
    pub anchor: String,
    /// Its page.
    pub href: String,
    /// Depth in the thread, at most 6.
    pub depth: u32,
    /// Letters and colour.
    pub tile: (String, u8),
    /// Display name, or the address.
    pub author: String,
    /// Address.
    pub address: String,
    /// When.
    pub date: Timestamp,
    /// Subject.
    pub subject: String,
    /// Its name.
    pub message_id: String,
    /// Posting address of the list.
    pub list_address: String,
    /// Link that opens a mail client.
    pub mailto: String,
    /// Its text.
    pub blocks: Vec<Block>,
    /// Attachments: link, name, size.
    pub files: Vec<(String, String, String)>,
}

impl Post {
    /// A mail of a list, at a depth of its thread.
    pub fn new(list: &str, list_address: &str, mail: &MailRow, depth: u32) -> Post {
        let id = MessageId::parse(&mail.message_id);
        let piece = id.as_ref().map(url::message_id).unwrap_or_default();
        let subject = if mail.subject.is_empty() {
            "(no subject)".to_owned()
        } else {
            visible(&mail.subject)
        };
        let name = if mail.author.trim().is_empty() {
            mail.address.clone()
        } else {
            mail.author.clone()
        };
        let about = if subject.to_lowercase().starts_with("re:") {
            subject.clone()
        } else {
            format!("Re: {subject}")
        };
        let (cc, about, parent) = (
            url::query(&mail.address),
            url::query(&about),
            url::query(&format!("<{}>", mail.message_id)),
        );
        Post {
            anchor: format!("m{}", mail.number),
            href: format!("/{list}/{piece}/"),
            depth: depth.min(6),
            tile: tile(&mail.author, &mail.address),
            author: visible(&name),
            address: if mail.author.trim().is_empty() {
                String::new()
            } else {
                visible(&mail.address)
            },
            date: effective_date(mail.date, mail.arrived),
            subject,
            message_id: mail.message_id.clone(),
            list_address: list_address.to_owned(),
            mailto: format!("mailto:{list_address}?cc={cc}&subject={about}&in-reply-to={parent}"),
            blocks: blocks(&mail.text),
            files: Vec::new(),
        }
    }
}

/// The pills of a series: state, applies, completeness, answers; always in this order.
pub fn pills(fact: &SeriesFact, with_state: bool) -> Vec<Pill> {
    let mut out = Vec::new();
    let pill = |tone, text: String| Pill {
        tone,
        text,
        dot: false,
    };
    if with_state {
        let tone = match fact.state {
            3 => "good",
            4 | 7 => "bad",
            9 | 10 => "",
            _ => "caution",
        };
        out.push(Pill {
            tone,
            text: state_name(fact.state).to_owned(),
            dot: true,
        });
    }
    out.push(pill("", format!("v{}", fact.label)));
    let complete = fact.received >= fact.total;
    out.push(pill(
        if complete { "" } else { "caution" },
        format!("{}/{}", fact.received, fact.total),
    ));
    match fact.outcome.as_deref() {
        Some("applied") => out.push(pill("good", "applies".to_owned())),
        Some("conflict") => out.push(pill("bad", "conflicts".to_owned())),
        Some("bad") => out.push(pill("bad", "not usable".to_owned())),
        Some("elsewhere") => out.push(pill("", "not for a repository here".to_owned())),
        _ => {}
    }
    out
}

/// `3 mails`, `1 mail`.
pub fn count(number: i64, one: &str) -> String {
    format!("{number} {one}{}", if number == 1 { "" } else { "s" })
}

/// What a handler can end in other than a page.
pub enum Problem {
    /// Nothing there; the text says what was looked for, the ways lead on.
    Missing(String, Vec<(String, String)>),
    /// Somewhere else now.
    Moved(StatusCode, String),
    /// Our trouble.
    Store(StoreError),
    /// Their mistake.
    Bad(String),
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        Problem::Store(error)
    }
}

/// What handlers return.
pub type Answer = Result<Response, Problem>;

#[derive(Template)]
#[template(path = "message.html")]
struct MessagePage {
    frame: Frame,
    heading: String,
    text: String,
    ways: Vec<(String, String)>,
}

impl Problem {
    /// The page, the redirect or the error.
    pub fn answer(self, site: &str) -> Response {
        let frame = || Frame {
            site: site.to_owned(),
            list: None,
            q: String::new(),
        };
        let (status, heading, text, ways) = match self {
            Problem::Moved(status, to) => {
                return (status, [(header::LOCATION, to)]).into_response();
            }
            Problem::Missing(text, mut ways) => {
                ways.push(("/".to_owned(), "All lists".to_owned()));
                (StatusCode::NOT_FOUND, "Not found", text, ways)
            }
            Problem::Bad(text) => (
                StatusCode::BAD_REQUEST,
                "That does not work",
                text,
                Vec::new(),
            ),
            Problem::Store(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "a page could not be made: {error}"
                );
                let text =
                    "The archive does not answer just now. Nothing is lost; try again in a moment."
                        .to_owned();
                (
                    StatusCode::SERVICE_UNAVAILABLE,
                    "In a moment",
                    text,
                    Vec::new(),
                )
            }
        };
        let page = MessagePage {
            frame: frame(),
            heading: heading.to_owned(),
            text,
            ways,
        };
        (status, html(&page)).into_response()
    }
}

/// Renders a template. The templates are checked at build time; what is left to fail is memory.
pub fn html(page: &impl Template) -> Response {
    match page.render() {
        Ok(text) => ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "a template failed");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// A file of that type.
pub fn file(
    content_type: &'static str,
    disposition: Option<String>,
    bytes: impl Into<Body>,
) -> Response {
    let mut response = Response::new(bytes.into());
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static(content_type),
    );
    if let Some(value) = disposition.and_then(|d| header::HeaderValue::from_str(&d).ok()) {
        headers.insert(header::CONTENT_DISPOSITION, value);
    }
    response
}

/// A file name made of a subject, as public-inbox makes it: letters and digits, the rest hyphens.
pub fn file_name(subject: &str, extension: &str) -> String {
    let words: Vec<&str> = subject
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|w| !w.is_empty())
        .collect();
    let mut name = words.join("-");
    name.truncate(80);
    format!(
        "inline; filename={}.{extension}",
        if name.is_empty() { "mail" } else { &name }
    )
}

/// The tag of a body: the same bytes, the same tag, also after a restart.
pub fn etag(bytes: &[u8]) -> String {
    format!(
        "\"{}\"",
        data_encoding::HEXLOWER.encode(&sha2::Sha256::digest(bytes)[..12])
    )
}

/// Whether the client has that version already.
pub fn has(headers: &HeaderMap, tag: &str) -> bool {
    let given = headers
        .get(header::IF_NONE_MATCH)
        .and_then(|v| v.to_str().ok())
        .unwrap_or_default();
    given
        .split(',')
        .any(|t| t.trim().trim_start_matches("W/") == tag || t.trim() == "*")
}
