//! `/L/MID/…`: one mail, its thread, its bytes, its attachments.

use std::collections::HashMap;
use std::io::Write;

use askama::Template;
use axum::http::StatusCode;
use axum::response::Response;

use super::page::{Answer, Frame, Pill, Post, Problem, file, file_name, html};
use super::routes::App;
use crate::mail::{self, mbox};
use crate::store::ListRow;
use crate::store::pages::MailRow;
use crate::thread::{self, Row};
use crate::types::{MailId, MessageId, Timestamp};
use crate::view::text::visible;
use crate::view::url;

/// What is wanted of a mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// The mail.
    Mail,
    /// Its whole thread.
    Thread,
    /// The mail as mboxrd.
    Raw,
    /// Its exact bytes.
    Eml,
    /// The thread as gzipped mboxrd.
    Mbox,
    /// The thread as a feed.
    Feed,
}

/// Endings of addresses, the longest first.
pub const ENDINGS: [(&str, What); 8] = [
    ("/t.mbox.gz", What::Mbox),
    ("/t.atom", What::Feed),
    ("/t.mbox", What::Mbox),
    ("/raw", What::Raw),
    ("/eml", What::Eml),
    ("/T/", What::Thread),
    ("/t/", What::Thread),
    ("/", What::Mail),
];

/// Mails of a thread on one page.
const MAX_THREAD: i64 = 1_000;

#[derive(Template)]
#[template(path = "thread.html")]
struct ThreadPage {
    frame: Frame,
    heading: String,
    list: String,
    canonical: String,
    feed: String,
    thread: String,
    mbox: String,
    patchset: Option<String>,
    warning: Option<String>,
    outline: Vec<(u32, String, String)>,
    mails: Vec<Post>,
}

/// `GET /L/MID/` and its endings.
pub async fn show(app: &App, list: ListRow, id: MessageId, what: What) -> Answer {
    let found = app.store.find_mails(&list, &id).await?;
    let Some(first) = found.first() else {
        let ways = vec![
            (
                format!("/{}/", list.name),
                format!("Newest threads of {}", list.name),
            ),
            (
                format!("/{}/?q={}", list.name, url::query(id.as_str())),
                "Search for it".to_owned(),
            ),
        ];
        return Err(Problem::Missing(
            format!(
                "There is no mail <{}> in {}.",
                visible(id.as_str()),
                list.name
            ),
            ways,
        ));
    };
    match what {
        What::Raw => raw(app, &found).await,
        What::Eml => eml(app, first.mail).await,
        What::Mbox | What::Feed => {
            let mails = app
                .store
                .load_thread(list.id, first.thread, MAX_THREAD)
                .await?;
            match what {
                What::Mbox => gzip_mbox(app, &mails, &first.subject).await,
                _ => Ok(super::feed::render(app, &list, &first.subject, &mails)),
            }
        }
        What::Mail => page(app, list, &id, found, false).await,
        What::Thread => {
            let mails = app
                .store
                .load_thread(list.id, first.thread, MAX_THREAD)
                .await?;
            page(app, list, &id, mails, true).await
        }
    }
}

async fn page(
    app: &App,
    list: ListRow,
    id: &MessageId,
    mails: Vec<MailRow>,
    whole: bool,
) -> Answer {
    let Some(first) = mails.first() else {
        return Err(Problem::Missing(
            "There is no such thread.".to_owned(),
            vec![],
        ));
    };
    let facts = app
        .store
        .load_facts(&mails.iter().map(|m| m.mail).collect::<Vec<_>>())
        .await?;
    let patchset = facts
        .last()
        .map(|f| format!("/{}/patches/{}/", list.name, f.patchset));
    let order = if whole {
        in_order(app, first.thread, &mails).await?
    } else {
        (0..mails.len()).map(|i| (i, 0)).collect()
    };
    let mut posts = Vec::with_capacity(mails.len());
    for (at, depth) in order {
        let mut post = Post::new(&list.name, &list.address, &mails[at], depth);
        post.files = attachments(app, &post.href, &mails[at]).await?;
        posts.push(post);
    }
    let (heading, root) = posts
        .first()
        .map(|p| (p.subject.clone(), p.href.clone()))
        .unwrap_or_default();
    let page = format!("{}/{}/{}/", app.base_url, list.name, url::message_id(id));
    let warning = (!whole && posts.len() > 1)
        .then(|| "Different mails carry this Message-ID; all of them are shown, the first to arrive first.".to_owned());
    let outline = posts
        .iter()
        .map(|p| {
            (
                p.depth,
                format!("#{}", p.anchor),
                format!("{}: {}", p.author, p.subject),
            )
        })
        .collect();
    Ok(html(&ThreadPage {
        frame: Frame {
            site: app.site.to_string(),
            list: Some(list.name.clone()),
            q: String::new(),
        },
        heading,
        canonical: if whole {
            format!("{}{root}T/", app.base_url)
        } else {
            page.clone()
        },
        feed: format!("{page}t.atom"),
        thread: format!("/{}/{}/T/", list.name, url::message_id(id)),
        mbox: format!("{page}t.mbox.gz"),
        list: list.name,
        patchset,
        warning,
        outline: if whole { outline } else { Vec::new() },
        mails: posts,
    }))
}

/// Mails of a thread in reading order, with their depths.
async fn in_order(app: &App, thread: i64, mails: &[MailRow]) -> Result<Vec<(usize, u32)>, Problem> {
    let mut parents: HashMap<i64, Vec<MessageId>> = HashMap::new();
    for (child, parent) in app.store.load_parents(thread).await? {
        parents
            .entry(child)
            .or_default()
            .extend(MessageId::parse(&parent));
    }
    let row = |m: &MailRow| {
        let id = MessageId::parse(&m.message_id)?;
        let parents = parents.get(&m.node).cloned().unwrap_or_default();
        Some(Row {
            id,
            parents,
            date: m.date,
            arrived: m.arrived,
            number: m.number,
        })
    };
    let rows: Vec<Row> = mails.iter().filter_map(row).collect();
    Ok(thread::tree(&rows)
        .into_iter()
        .filter_map(|b| b.row.map(|r| (r, b.depth)))
        .collect())
}

/// Attachments as (link, name, size); the text that is shown is none.
async fn attachments(
    app: &App,
    href: &str,
    mail: &MailRow,
) -> Result<Vec<(String, String, String)>, Problem> {
    // Most mails are one text part: their bytes need not be read.
    let Some((bytes, _)) = app.store.load_bytes(mail.mail).await? else {
        return Ok(Vec::new());
    };
    if memchr::memmem::find(&bytes, b"ultipart/").is_none()
        && memchr::memmem::find(&bytes, b"ame=").is_none()
    {
        return Ok(Vec::new());
    }
    let message = mail::parse(&bytes);
    let named = message
        .parts
        .iter()
        .enumerate()
        .filter(|(_, p)| p.attachment);
    let link = |(at, p): (usize, &mail::Part)| {
        let name = p
            .filename
            .clone()
            .unwrap_or_else(|| p.content_type.replace('/', "."));
        (
            format!("{href}{}-{}", at + 1, url::query(&name)),
            visible(&name),
            format!("{} bytes", p.bytes.len()),
        )
    };
    Ok(named.map(link).collect())
}

/// `GET /L/MID/<n>-name`: a download that no browser runs.
pub async fn attachment(app: &App, list: ListRow, id: MessageId, number: usize) -> Answer {
    let found = app.store.find_mails(&list, &id).await?;
    let missing = || Problem::Missing("There is no such attachment.".to_owned(), vec![]);
    let first = found.first().ok_or_else(missing)?;
    let (bytes, _) = app
        .store
        .load_bytes(first.mail)
        .await?
        .ok_or_else(missing)?;
    let message = mail::parse(&bytes);
    let part = number
        .checked_sub(1)
        .and_then(|n| message.parts.get(n))
        .ok_or_else(missing)?;
    let name: String = part
        .filename
        .as_deref()
        .unwrap_or("part")
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || ".-_".contains(*c))
        .collect();
    let disposition = format!(
        "attachment; filename=\"{}\"",
        if name.is_empty() { "part" } else { &name }
    );
    let mut response = file(
        "application/octet-stream",
        Some(disposition),
        part.bytes.clone(),
    );
    let sandbox = axum::http::HeaderValue::from_static("default-src 'none'; sandbox");
    response
        .headers_mut()
        .insert(axum::http::header::CONTENT_SECURITY_POLICY, sandbox);
    Ok(response)
}

async fn bytes_of(app: &App, mail: MailId) -> Result<(Vec<u8>, bool), Problem> {
    let gone = || Problem::Missing("The bytes of this mail are gone.".to_owned(), vec![]);
    app.store.load_bytes(mail).await?.ok_or_else(gone)
}

async fn raw(app: &App, mails: &[MailRow]) -> Answer {
    let mut out = Vec::new();
    for mail in mails {
        let (bytes, _) = bytes_of(app, mail.mail).await?;
        // A vector takes all that is written.
        let _infallible = mbox::write(&mut out, &bytes);
    }
    let name = mails
        .first()
        .map(|m| m.subject.as_str())
        .unwrap_or_default();
    Ok(file(
        "text/plain; charset=utf-8",
        Some(file_name(name, "txt")),
        out,
    ))
}

async fn eml(app: &App, mail: MailId) -> Answer {
    let (bytes, crlf) = bytes_of(app, mail).await?;
    let bytes = if crlf {
        mail::header::to_crlf(&bytes)
    } else {
        bytes
    };
    Ok(file(
        "message/rfc822",
        Some("attachment; filename=mail.eml".to_owned()),
        bytes,
    ))
}

/// Mails as one gzipped mboxrd: each Message-ID once, as b4 takes the first of a name.
pub async fn gzip_mbox(app: &App, mails: &[MailRow], name: &str) -> Answer {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut seen = std::collections::HashSet::new();
    for mail in mails.iter().filter(|m| seen.insert(m.message_id.clone())) {
        let (bytes, _) = bytes_of(app, mail.mail).await?;
        // A vector takes all that is written.
        let _infallible = mbox::write(&mut out, &bytes);
    }
    out.flush().and_then(|()| out.finish()).map_or_else(
        |error| {
            Err(Problem::Bad(format!(
                "the mbox could not be packed: {error}"
            )))
        },
        |packed| {
            Ok(file(
                "application/gzip",
                Some(file_name(name, "mbox.gz")),
                packed,
            ))
        },
    )
}

/// `/MID/`, `/all/MID/…`, `/r/MID`: the public list that has it.
pub async fn anywhere(app: &App, rest: &str) -> Answer {
    let endings = ENDINGS.iter().map(|(e, _)| *e).chain([""]);
    for ending in endings {
        let Some(piece) = rest.strip_suffix(ending) else {
            continue;
        };
        let Some(id) =
            MessageId::parse(&percent_encoding::percent_decode_str(piece).decode_utf8_lossy())
        else {
            continue;
        };
        if let Some(list) = app.store.find_public_list_of(&id).await? {
            let ending = if ending.is_empty() { "/" } else { ending };
            let to = format!("{}/{list}/{}{ending}", app.base_url, url::message_id(&id));
            return Err(Problem::Moved(StatusCode::FOUND, to));
        }
    }
    Err(Problem::Missing(
        "There is neither a list nor a mail of that name here.".to_owned(),
        vec![],
    ))
}

#[derive(Template)]
#[template(path = "style.html")]
struct StylePage {
    frame: Frame,
    pills: Vec<Pill>,
    mails: Vec<Post>,
}

/// `GET /-/style`: every piece that pages are made of.
pub fn style(app: &App) -> Result<Response, Problem> {
    let pill = |tone, text: &str, dot| Pill {
        tone,
        text: text.to_owned(),
        dot,
    };
    let pills = vec![
        pill("caution", "new", true),
        pill("good", "accepted", true),
        pill("bad", "rejected", true),
        pill("", "superseded", true),
        pill("", "v3", false),
        pill("", "5/5", false),
        pill("good", "applies", false),
        pill("bad", "conflicts", false),
    ];
    let text = "See https://example.org/ for more.\n\n> one\n> two\n> three\n> four\n> five\n> six\n> seven\n\nYes.\n\n\
        diff --git a/x.c b/x.c\nindex 1111111..2222222 100644\n--- a/x.c\n+++ b/x.c\n@@ -1,2 +1,2 @@ main\n-old\n+new\n same\n-- \nAna\n";
    let mail = MailRow {
        mail: MailId(0),
        number: 1,
        message_id: "sample@example.org".to_owned(),
        subject: "[PATCH v3 1/2] A sample".to_owned(),
        author: "Ana Lima".to_owned(),
        address: "ana@example.org".to_owned(),
        date: None,
        arrived: Timestamp::from_secs(1_774_000_000),
        kind: "patch".to_owned(),
        flaws: String::new(),
        text: text.to_owned(),
        node: 0,
        thread: 0,
    };
    let reply = MailRow {
        number: 2,
        author: "Ben Ode".to_owned(),
        address: "ben@example.org".to_owned(),
        ..mail.clone()
    };
    let mails = vec![
        Post::new("dev", "dev@example.org", &mail, 0),
        Post::new("dev", "dev@example.org", &reply, 1),
    ];
    Ok(html(&StylePage {
        frame: Frame {
            site: app.site.to_string(),
            list: None,
            q: String::new(),
        },
        pills,
        mails,
    }))
}
