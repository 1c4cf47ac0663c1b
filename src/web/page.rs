//! What pages are made of: frame, pills, rows, posts; and how answers are sent.

use std::sync::Arc;

use askama::Template;
use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use sha2::Digest;

use super::cache::Page;
pub use super::problem::{Answer, Problem};
use crate::store::pages::MailRow;
use crate::store::patch_pages::SeriesFact;
use crate::store::summary::state_name;
use crate::store::{ListRow, Shown};
use crate::thread::effective_date;
use crate::types::{MessageId, Timestamp};
use crate::view::remark::Remark;
use crate::view::text::{Block, MAX_LINES, Piece, blocks, split_subject, tile, visible};
use crate::view::url;

/// The colours a reader chose; the system decides where none were.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Theme {
    /// As the system says.
    #[default]
    Auto,
    /// Dark on light.
    Light,
    /// Light on dark.
    Dark,
}

impl Theme {
    /// As in the cookie and in pages; empty for [`Theme::Auto`].
    pub fn as_str(self) -> &'static str {
        match self {
            Theme::Auto => "",
            Theme::Light => "light",
            Theme::Dark => "dark",
        }
    }

    /// Reads a choice; anything unknown is [`Theme::Auto`].
    pub fn parse(text: &str) -> Theme {
        match text {
            "light" => Theme::Light,
            "dark" => Theme::Dark,
            _ => Theme::Auto,
        }
    }
}

/// Around every page.
pub struct Frame {
    /// The site's name.
    pub site: String,
    /// The list that the page is of.
    pub list: Option<String>,
    /// Which part of it: `threads`, `patches` or empty.
    pub here: &'static str,
    /// What was searched for.
    pub q: String,
    /// `light`, `dark` or empty.
    pub theme: &'static str,
    /// Only members see the list.
    pub private: bool,
    /// Where one signs in, on pages that find nothing: link and words.
    pub sign_in: Option<(String, String)>,
    /// Changes whenever style or script do.
    pub assets: &'static str,
}

impl Frame {
    /// The frame of a page of a list, or of the site.
    pub fn new(site: &str, list: Option<&str>, here: &'static str, theme: Theme) -> Frame {
        Frame {
            site: site.to_owned(),
            list: list.map(str::to_owned),
            here,
            q: String::new(),
            theme: theme.as_str(),
            private: false,
            sign_in: None,
            assets: super::assets::version(),
        }
    }
}

/// A small fact.
#[derive(Debug, Clone)]
pub struct Pill {
    /// `good`, `caution`, `bad`, `open` (somebody has to look at it) or empty.
    pub tone: &'static str,
    /// Words: colour never carries meaning alone.
    pub text: String,
    /// A dot in front: states have one.
    pub dot: bool,
}

impl Pill {
    /// A fact.
    pub fn fact(tone: &'static str, text: impl Into<String>) -> Pill {
        Pill {
            tone,
            text: text.into(),
            dot: false,
        }
    }

    /// A state, by Patchwork's number.
    pub fn state(state: i64) -> Pill {
        let tone = match state {
            3 => "good",
            4 => "bad",
            7 => "caution",
            1 | 2 | 5 | 8 => "open",
            _ => "",
        };
        Pill {
            tone,
            text: state_name(state).to_owned(),
            dot: true,
        }
    }
}

/// A line of a listing.
pub struct Row {
    /// Where it stands, in a column of its own.
    pub state: Option<Pill>,
    /// Where it leads.
    pub href: String,
    /// `[PATCH v3 1/5]`, quiet.
    pub tag: String,
    /// Its title.
    pub title: String,
    /// Who.
    pub who: String,
    /// How many mails or answers.
    pub count: String,
    /// When.
    pub when: Timestamp,
    /// Facts.
    pub pills: Vec<Pill>,
    /// A piece of its text; may be empty.
    pub snippet: Vec<Piece>,
}

impl Row {
    /// A row about that subject.
    pub fn new(href: String, subject: &str, when: Timestamp) -> Row {
        let (tag, title) = split_subject(or_else(subject, "(no subject)"));
        Row {
            state: None,
            href,
            tag,
            title,
            who: String::new(),
            count: String::new(),
            when,
            pills: Vec::new(),
            snippet: Vec::new(),
        }
    }
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
    /// Address; empty where it stands in for the name.
    pub address: String,
    /// What it is to the page: `patch 2`, `on patch 2`; may be empty.
    pub role: String,
    /// When.
    pub date: Timestamp,
    /// `[PATCH v3 1/5]`
    pub tag: String,
    /// Subject without it.
    pub subject: String,
    /// The subject says nothing that the page has not said already.
    pub same: bool,
    /// Posting address of the list.
    pub list_address: String,
    /// Its Message-ID as a word that a shell takes.
    pub shell_id: String,
    /// Who gets an answer beside the list, the author first.
    pub people: Vec<String>,
    /// Subject and In-Reply-To of an answer, as a `mailto:` has them.
    pub answer: String,
    /// Where one has it sent to oneself; empty where that cannot be.
    pub copy: String,
    /// `authenticated: DKIM example.org`, `not authenticated`, or nothing where nobody looked.
    pub verdict: String,
    /// Taken back: a tombstone without text.
    pub taken_back: bool,
    /// Its text.
    pub blocks: Vec<Block>,
    /// It is longer than what is shown.
    pub cut: bool,
    /// Attachments: link, name, size.
    pub files: Vec<(String, String, String)>,
    /// A patch that was attached, as its blocks show it.
    pub attached: Option<String>,
    /// Another diff stands in the mail, which is not shown.
    pub hidden_diff: bool,
    /// A file of it holds a patch that is not taken: its name, and why.
    pub untaken: Option<(String, &'static str)>,
    /// Remarks on lines of earlier versions that are gone.
    pub gone: Vec<Remark>,
    /// Remarks on the patch that are on no line of it.
    pub loose: Vec<Remark>,
}

/// People that an answer goes to by a link, beside the author.
const MAX_PEOPLE: usize = 30;

impl Post {
    /// A mail of a list, at a depth of its thread.
    pub fn new(list: &str, list_address: &str, mail: &MailRow, depth: u32) -> Post {
        let named = !mail.author.trim().is_empty();
        let (tag, subject) = split_subject(or_else(&mail.subject, "(no subject)"));
        let about = match mail.subject.get(..3).map(str::to_lowercase).as_deref() {
            Some("re:") => mail.subject.clone(),
            _ => format!("Re: {}", mail.subject),
        };
        let (about, parent) = (
            url::query(&about),
            url::query(&format!("<{}>", mail.message_id)),
        );
        Post {
            anchor: format!("m{}", mail.number),
            href: mail_href(list, &mail.message_id),
            depth: depth.min(6),
            tile: tile(&mail.author, &mail.address),
            author: person(&mail.author, &mail.address),
            address: if named {
                visible(&mail.address)
            } else {
                String::new()
            },
            role: String::new(),
            date: effective_date(mail.date, mail.arrived),
            tag,
            subject,
            same: false,
            list_address: list_address.to_owned(),
            shell_id: shell(&mail.message_id),
            people: vec![mail.address.clone()],
            answer: format!("subject={about}&in-reply-to={parent}"),
            copy: String::new(),
            verdict: visible(&mail.verdict.words()),
            taken_back: mail.taken_back,
            blocks: if mail.taken_back {
                Vec::new()
            } else {
                blocks(&mail.text)
            },
            cut: mail.text.lines().nth(MAX_LINES).is_some(),
            files: Vec::new(),
            attached: None,
            hidden_diff: false,
            untaken: None,
            gone: Vec::new(),
            loose: Vec::new(),
        }
    }

    /// A mail of a list: what everybody may read is sent to who asks for it.
    pub fn of(list: &ListRow, mail: &MailRow, depth: u32) -> Post {
        let copy = match list.is_open() {
            true => format!("/me/copy/{}/{}/", list.name, mail.number),
            false => String::new(),
        };
        Post {
            copy,
            ..Post::new(&list.name, &list.address, mail, depth)
        }
    }

    /// Whoever else the mail went to gets the answer, too.
    pub fn answer_all(&mut self, others: impl Iterator<Item = String>) {
        for address in others.take(MAX_PEOPLE) {
            let known = |a: &String| a.eq_ignore_ascii_case(&address);
            if !known(&self.list_address) && !self.people.iter().any(known) {
                self.people.push(address);
            }
        }
    }

    /// Link that opens a mail client.
    pub fn mailto(&self) -> String {
        let people: Vec<String> = self.people.iter().map(|a| url::query(a)).collect();
        let (list, cc) = (&self.list_address, people.join(","));
        format!("mailto:{list}?cc={cc}&{}", self.answer)
    }

    /// Who gets an answer, as options of git send-email.
    pub fn shell_people(&self) -> String {
        let people = self.people.iter().filter(|a| !a.is_empty());
        people.map(|a| format!(" --cc={}", shell(a))).collect()
    }

    /// Gives each file of its diffs a fragment.
    pub fn name_files(&mut self) {
        let diffs = self.blocks.iter_mut().filter_map(|b| match b {
            Block::Diff(files) => Some(files),
            _ => None,
        });
        for (number, file) in diffs.flatten().enumerate() {
            file.anchor = format!("{}f{}", self.anchor, number + 1);
        }
    }

    /// Lines added and removed, and files changed, by its diffs.
    pub fn stat(&self) -> (usize, usize, Vec<&str>) {
        let diffs = self.blocks.iter().filter_map(|b| match b {
            Block::Diff(files) => Some(files),
            _ => None,
        });
        let (mut added, mut removed, mut paths) = (0, 0, Vec::new());
        for file in diffs.flatten() {
            added += file.added;
            removed += file.removed;
            paths.push(file.path.as_str());
        }
        (added, removed, paths)
    }

    /// How many remarks stand in it, and the fragment of the first; an empty one if there is none.
    pub fn remark_stat(&self) -> (usize, &str) {
        let in_blocks = self.blocks.iter().flat_map(Block::remarks);
        let all = in_blocks.chain(&self.gone).chain(&self.loose);
        let first = all.clone().next().map_or("", |r| r.anchor.as_str());
        (all.count(), first)
    }
}

/// The page of a mail in a list.
pub fn mail_href(list: &str, message_id: &str) -> String {
    let id = MessageId::parse(message_id);
    format!(
        "/{list}/{}/",
        id.as_ref().map(url::message_id).unwrap_or_default()
    )
}

/// A display name, or the address where there is none.
pub fn person(name: &str, address: &str) -> String {
    visible(or_else(or_else(name.trim(), address), "somebody"))
}

fn or_else<'a>(text: &'a str, other: &'a str) -> &'a str {
    if text.is_empty() { other } else { text }
}

/// A word that a shell takes as it is; whatever is in it. Control characters are left out.
pub fn shell(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "@.-_+=%".contains(c);
    if word.chars().all(plain) {
        return word.to_owned();
    }
    let word: String = word.chars().filter(|c| !c.is_control()).collect();
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// The pills of a series: state, version, completeness, applies; always in this order.
pub fn pills(fact: &SeriesFact, with_state: bool) -> Vec<Pill> {
    let mut out = Vec::new();
    if with_state {
        out.push(Pill::state(fact.state));
    }
    if fact.apart > 0 {
        out.push(Pill::fact(
            "",
            format!("{} otherwise", count(fact.apart, "patch")),
        ));
    }
    out.push(match fact.claims {
        Some(_) => Pill::fact("caution", format!("claims to be v{}", fact.label)),
        None => Pill::fact("", format!("v{}", fact.label)),
    });
    let complete = if fact.received >= fact.total {
        ""
    } else {
        "caution"
    };
    out.push(Pill::fact(
        complete,
        format!("{}/{}", fact.received, fact.total),
    ));
    match fact.outcome.as_deref() {
        Some("applied") => out.push(match fact.tip.as_deref() {
            Some("conflict") => Pill::fact("caution", "conflicts at the tip"),
            Some("bad") => Pill::fact("caution", "not usable at the tip"),
            _ => Pill::fact("good", "applies"),
        }),
        Some("conflict") => out.push(Pill::fact("bad", "conflicts")),
        Some("bad") => out.push(Pill::fact("bad", "not usable")),
        Some("elsewhere") => out.push(Pill::fact("", "other project")),
        Some("waits") => out.push(Pill::fact("caution", "waits")),
        _ => {}
    }
    out
}

/// `3,000 mails`, `1 mail`.
pub fn count(number: i64, one: &str) -> String {
    let plural = match (number, one) {
        (1, _) => one.to_owned(),
        (_, "patch" | "address") => format!("{one}es"),
        _ => format!("{one}s"),
    };
    format!("{} {plural}", thousands(number))
}

/// `1,234,567`
fn thousands(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut out = String::new();
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// What is not said by the row already: a first version of one patch says so by saying nothing.
pub fn short_pills(fact: &SeriesFact, with_state: bool) -> Vec<Pill> {
    let mut out = pills(fact, with_state);
    out.retain(|p| p.text != "v1" && p.text != "1/1");
    out
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

/// A page of a list out of the cache, or made now. The key names the versions of all that it shows. Of a list that is not public
/// each is made for who asks, and kept nowhere.
pub async fn cached<T: Template>(
    wish: &super::routes::Wish,
    list: &Shown,
    key: String,
    make: impl Future<Output = Result<(T, Option<Timestamp>), Problem>>,
) -> Answer {
    if list.is_private() {
        return Ok(html(&make.await?.0));
    }
    let key = format!("{} {key}", wish.theme.as_str());
    if let Some(page) = wish.cache.find(&key) {
        return Ok(page.answer(&wish.headers));
    }
    let (template, modified) = make.await?;
    let text = match template.render() {
        Ok(text) => text,
        Err(error) => {
            tracing::error!(%error, "a template failed");
            return Ok(StatusCode::INTERNAL_SERVER_ERROR.into_response());
        }
    };
    let page = Arc::new(Page::new(text, modified));
    wish.cache.insert(key, Arc::clone(&page));
    Ok(page.answer(&wish.headers))
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

/// Gives an answer the moment since which it is the same: with it, `finish` answers those who have it already.
pub fn since(mut response: Response, modified: Timestamp) -> Response {
    if let Ok(value) = header::HeaderValue::from_str(&modified.http_date()) {
        response.headers_mut().insert(header::LAST_MODIFIED, value);
    }
    response
}

/// An answer of a list that is known by what it is made from: 304 for who has it, else what `make` gives, with the tag. Of a list
/// that is not public nothing has a tag.
pub async fn tagged(
    headers: &HeaderMap,
    list: &Shown,
    made_from: &str,
    make: impl Future<Output = Answer>,
) -> Answer {
    if list.is_private() {
        return make.await;
    }
    let tag = etag(made_from.as_bytes());
    let mut response = if has(headers, &tag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        make.await?
    };
    let value = header::HeaderValue::from_str(&tag).expect("a tag is ASCII");
    response.headers_mut().insert(header::ETAG, value);
    let ask = header::HeaderValue::from_static("no-cache");
    response.headers_mut().insert(header::CACHE_CONTROL, ask);
    Ok(response)
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

/// The tag of a body: the same bytes, the same tag, also after a restart. Weak, as the body is sent in several encodings.
pub fn etag(bytes: &[u8]) -> String {
    format!(
        "W/\"{}\"",
        data_encoding::HEXLOWER.encode(&sha2::Sha256::digest(bytes)[..12])
    )
}

/// Whether the client has that version already.
pub fn has(headers: &HeaderMap, tag: &str) -> bool {
    let given = headers
        .get(header::IF_NONE_MATCH)
        .and_then(|v| v.to_str().ok())
        .unwrap_or_default();
    given.split(',').any(|t| {
        t.trim().trim_start_matches("W/") == tag.trim_start_matches("W/") || t.trim() == "*"
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read_at_a_glance() {
        let all = [0, 1, 999, 1000, 1_234_567].map(|n| count(n, "mail"));
        assert_eq!(
            all,
            [
                "0 mails",
                "1 mail",
                "999 mails",
                "1,000 mails",
                "1,234,567 mails"
            ]
        );
        assert_eq!(count(2, "patch"), "2 patches");
    }

    #[test]
    fn a_word_for_the_shell_is_one_word_whatever_it_holds() {
        assert_eq!(shell("a+b@x.org"), "a+b@x.org");
        assert_eq!(shell("it's $(x)\n"), "'it'\\''s $(x)'");
    }
}
