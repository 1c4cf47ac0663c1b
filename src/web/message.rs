//! `/L/MID/…`: one mail, its thread, its bytes, its attachments.

use std::collections::HashMap;

use askama::Template;
use axum::http::StatusCode;

use super::list::Place;
use super::mbox::{Packing, download};
use super::page::{
    Answer, Frame, Pill, Post, Problem, cached, count, file, file_name, pills, since, tagged,
};
use super::reading::{beside, in_order, parents_of};
use super::routes::{App, Wish};
use super::session::{eyes, find, private};
use crate::mail;
use crate::patchset::{Version, attached_patch, has_hidden_diff, parse_tag, recognise, untaken};
use crate::query;
use crate::store::pages::{MailRow, ThreadLine};
use crate::store::patch_pages::SeriesFact;
use crate::store::{ListRow, Shown};
use crate::types::{MailId, MessageId};
use crate::view::flowed::unflow;
use crate::view::text::{blocks, visible};
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
pub(super) const MAX_THREAD: i64 = 500;

/// A line of a thread's outline.
struct OutlineRow {
    depth: u32,
    anchor: String,
    who: String,
    what: String,
}

#[derive(Template)]
#[template(path = "thread.html")]
struct ThreadPage {
    frame: Frame,
    tag: String,
    heading: String,
    count: String,
    /// Of one mail: the page of the mail that it answers, of those before and after it.
    ways: Vec<(String, &'static str)>,
    whole: bool,
    list: String,
    canonical: String,
    feed: String,
    thread: String,
    mbox: String,
    patchset: Option<(String, String)>,
    pills: Vec<Pill>,
    warning: Option<String>,
    outline: Vec<OutlineRow>,
    /// There are changes to look at.
    diffs: bool,
    mails: Vec<Post>,
    next: Option<String>,
}

/// `GET /L/MID/` and its endings.
pub async fn show(app: &App, list: Shown, id: MessageId, what: What, wish: &Wish) -> Answer {
    let found = app.store.find_mail_version(&list, &id).await?;
    let Some((thread, version)) = found else {
        return Err(missing(&list, &id));
    };
    match what {
        What::Mail if wish.wants_mbox() => {
            let query = query::parse(wish.get("q"), crate::store::now());
            let query =
                query.map_err(|e| Problem::Bad(format!("This search cannot be answered: {e}.")))?;
            super::search::results_mbox(app, &Place::of(&list), &query, Some(thread), wish).await
        }
        What::Raw => {
            let found = app.store.find_mails(&list, &id).await?;
            let name = found.first().map(|m| m.subject.clone()).unwrap_or_default();
            // One mail a name, the best authenticated: b4 takes the first.
            let first = found.iter().find(|m| !m.taken_back);
            let first = first.ok_or_else(taken_back)?;
            raw(app, &[first.mail], &name).await
        }
        What::Eml => {
            let found = app.store.find_mails(&list, &id).await?;
            let first = found
                .iter()
                .find(|m| !m.taken_back)
                .ok_or_else(taken_back)?;
            eml(app, first).await
        }
        What::Mbox => {
            let from = format!("mbox {} {} {thread} {version}", list.id, list.created.0);
            let make = async {
                let found = app.store.find_mails(&list, &id).await?;
                let name = found
                    .first()
                    .map(|m| m.subject.as_str())
                    .unwrap_or_default();
                let mails = app
                    .store
                    .load_thread_ids(Place::of(&list).scope, &[thread])
                    .await?;
                let turn = app.limits.download(mails.len(), wish.from).await?;
                Ok(download(app, mails, name, Packing::Gzip, turn))
            };
            tagged(&wish.headers, &list, &from, make).await
        }
        What::Feed => {
            let mut mails = app
                .store
                .load_thread(list.id, thread, 0, MAX_THREAD)
                .await?;
            let title = mails.first().map(|m| m.subject.clone()).unwrap_or_default();
            mails.reverse();
            Ok(super::feed::render(app, &Place::of(&list), &title, &mails))
        }
        What::Mail | What::Thread => {
            let after = wish.get("after").parse().unwrap_or(0);
            let key = format!(
                "mail {} {} {thread} {version} {what:?} {after} {id}",
                list.id, list.version
            );
            let make = async {
                let mails = match what {
                    What::Thread => {
                        app.store
                            .load_thread(list.id, thread, after, MAX_THREAD)
                            .await?
                    }
                    _ => app.store.find_mails(&list, &id).await?,
                };
                let newest = mails.iter().map(|m| m.arrived).max();
                let page = page(app, &list, &id, mails, what == What::Thread, wish).await?;
                Ok((page, newest))
            };
            cached(wish, &list, key, make).await
        }
    }
}

fn missing(list: &ListRow, id: &MessageId) -> Problem {
    let ways = vec![
        (
            format!("/r/{}/", url::message_id(id)),
            "Look in all lists".to_owned(),
        ),
        (
            format!("/{}/", list.name),
            format!("Newest threads of {}", list.name),
        ),
        (
            format!("/{}/?q={}", list.name, url::query(id.as_str())),
            "Search for its words".to_owned(),
        ),
    ];
    let text = format!(
        "There is no mail <{}> in {}.",
        visible(id.as_str()),
        list.name
    );
    Problem::Missing(text, ways)
}

fn taken_back() -> Problem {
    Problem::Missing("This mail was taken back.".to_owned(), vec![])
}

async fn page(
    app: &App,
    list: &ListRow,
    id: &MessageId,
    mails: Vec<MailRow>,
    whole: bool,
    wish: &Wish,
) -> Result<ThreadPage, Problem> {
    let Some(first) = mails.first() else {
        let text = "There are no more mails in this thread.".to_owned();
        return Err(Problem::Missing(
            text,
            vec![(
                format!("/{}/{}/T/", list.name, url::message_id(id)),
                "The thread".to_owned(),
            )],
        ));
    };
    let ids: Vec<MailId> = mails.iter().map(|m| m.mail).collect();
    let facts = app.store.load_facts(&ids).await?;
    let order = if whole {
        let line = |m: &MailRow| ThreadLine {
            mail: m.mail,
            message_id: m.message_id.clone(),
            date: m.date,
            arrived: m.arrived,
            number: m.number,
        };
        let lines: Vec<ThreadLine> = mails.iter().map(line).collect();
        let parents = parents_of(app, first.thread).await?;
        in_order(&lines, &parents)
    } else {
        (0..mails.len()).map(|i| (i, 0)).collect()
    };
    let post = |(at, depth): (usize, u32)| Post::of(list, &mails[at], depth);
    let rows: Vec<usize> = order.iter().map(|(at, _)| *at).collect();
    let mut posts: Vec<Post> = order.into_iter().map(post).collect();
    let ids: Vec<MailId> = rows.iter().map(|at| ids[*at]).collect();
    add_attachments(app, &ids, &mut posts).await?;
    let (tag, heading, root) = posts
        .first()
        .map(|p| (p.tag.clone(), p.subject.clone(), p.href.clone()))
        .unwrap_or_default();
    for (at, post) in posts.iter_mut().enumerate() {
        let answer = post
            .tag
            .get(..3)
            .is_some_and(|re| re.eq_ignore_ascii_case("re:"));
        post.same = post.subject == heading && (at == 0 || answer);
    }
    let page = format!("/{}/{}/", list.name, url::message_id(id));
    let (among, ways) = match whole {
        true => (None, Vec::new()),
        false => beside(app, list, first).await?,
    };
    let place = if whole {
        String::new()
    } else {
        format!("#m{}", first.number)
    };
    let fact = facts.iter().max_by_key(|f| f.arrived);
    let outline = |p: &Post| OutlineRow {
        depth: p.depth,
        anchor: p.anchor.clone(),
        who: p.author.clone(),
        what: place_in_series(&p.tag).unwrap_or_else(|| p.date.human().chars().take(10).collect()),
    };
    let last = mails.iter().map(|m| m.number).max().unwrap_or(0);
    let more = whole && mails.len() as i64 == MAX_THREAD;
    Ok(ThreadPage {
        frame: wish.frame(app, Some(&list.name), "threads"),
        tag,
        heading,
        count: match among {
            Some(among) => among,
            None if more => format!("{MAX_THREAD}+ mails"),
            None => count(posts.len() as i64, "mail"),
        },
        ways,
        whole,
        canonical: format!("{}{}", app.base_url, if whole { format!("{root}T/") } else { page.clone() }),
        feed: format!("{page}t.atom"),
        thread: format!("{page}T/{place}"),
        diffs: posts.iter().any(|p| !p.stat().2.is_empty()),
        mbox: format!("{page}t.mbox.gz"),
        list: list.name.clone(),
        patchset: fact.map(|f| (format!("/{}/patches/{}/v{}/", list.name, f.patchset, f.label), f.label.clone())),
        pills: fact.map(state_pills).unwrap_or_default(),
        warning: (!whole && posts.len() > 1).then(|| {
            "Different mails carry this Message-ID; all of them are shown, the best authenticated first.".to_owned()
        }),
        outline: if whole { posts.iter().map(outline).collect() } else { Vec::new() },
        next: more.then(|| format!("{page}T/?after={last}")),
        mails: posts,
    })
}

/// `2/3` or `v2 2/3` of a patch's tag.
fn place_in_series(tag: &str) -> Option<String> {
    let tag = parse_tag(tag);
    let place = format!("{}/{}", tag.number?, tag.total?);
    let version = tag.version.filter(|v| *v != Version::FIRST);
    let words = match version {
        Some(version) => format!("v{version} {place}"),
        None => place,
    };
    (!tag.reply).then_some(words)
}

/// The pills beside a link that says the version.
fn state_pills(fact: &SeriesFact) -> Vec<Pill> {
    let mut out = pills(fact, true);
    out.retain(|p| p.text != format!("v{}", fact.label));
    out
}

/// Adds links to attachments, and patches that were attached: they are read like those in the text.
pub async fn add_attachments(
    app: &App,
    mails: &[MailId],
    posts: &mut [Post],
) -> Result<(), Problem> {
    let place: HashMap<MailId, usize> = mails.iter().copied().zip(0..).collect();
    for chunk in mails.chunks(64) {
        for (mail, bytes, _) in app.store.load_bytes_of(chunk).await? {
            let at = place.get(&mail).and_then(|at| posts.get_mut(*at));
            if let Some(post) = at {
                let end = memchr::memmem::find(&bytes, b"\n\n").map_or(bytes.len(), |end| end + 1);
                let head = mail::parse(&bytes[..end]);
                let others = head.to.iter().chain(&head.cc);
                post.answer_all(others.map(|m| m.address.clone()));
            }
            let post = place.get(&mail).and_then(|at| posts.get_mut(*at));
            if let Some(post) = post
                && let Some(text) = flowed_text(&bytes)
            {
                post.blocks = blocks(&text);
            }
            let post = place.get(&mail).and_then(|at| posts.get_mut(*at));
            let Some(post) = post.filter(|_| !is_one_text(&bytes)) else {
                continue;
            };
            let message = mail::parse(&bytes);
            post.hidden_diff = has_hidden_diff(&message);
            let file = untaken(&message, &recognise(&message));
            post.untaken = file.map(|u| (visible(&u.file), u.why));
            // Whatever the text looks like: this is what a commit is made of.
            if let Some(patch) = attached_patch(&message) {
                post.blocks.extend(blocks(patch));
                post.attached = Some(patch.to_owned());
            }
            let named = message
                .parts
                .iter()
                .enumerate()
                .filter(|(_, p)| p.attachment);
            post.files = named.map(|(at, part)| link(&post.href, at, part)).collect();
        }
    }
    posts.iter_mut().for_each(Post::name_files);
    Ok(())
}

/// The text of a mail whose paragraphs a mail program cut into lines (RFC 3676), whole again; `None` where none were.
fn flowed_text(mail: &[u8]) -> Option<String> {
    let says = memchr::memmem::find(&mail.to_ascii_lowercase(), b"flowed");
    let message = says.map(|_| mail::parse(mail))?;
    let shown = |p: &&mail::Part| p.content_type == "text/plain" && !p.attachment;
    let parts: Vec<&mail::Part> = message.parts.iter().filter(shown).collect();
    parts.iter().find(|p| p.flowed.is_some())?;
    let text = |part: &&mail::Part| {
        let text = part.text.as_deref().unwrap_or_default();
        match part.flowed {
            Some(delsp) => unflow(text, delsp),
            None => Some(text.to_owned()),
        }
    };
    let texts: Option<Vec<String>> = parts.iter().map(text).collect();
    texts.map(|texts| texts.join("\n"))
}

/// Whether a mail is one text for sure, as most are: then it needs no parsing.
fn is_one_text(mail: &[u8]) -> bool {
    let mail = mail.to_ascii_lowercase();
    let words = [
        "multipart",
        "message/",
        "application/",
        "disposition",
        "name=",
        "name*",
    ];
    let mut words = words.iter().map(|word| word.as_bytes());
    words.all(|word| memchr::memmem::find(&mail, word).is_none())
}

fn link(href: &str, at: usize, part: &mail::Part) -> (String, String, String) {
    let name = part
        .filename
        .clone()
        .unwrap_or_else(|| part.content_type.replace('/', "."));
    let path = format!("{href}{}-{}", at + 1, url::query(&name));
    (path, visible(&name), count(part.bytes.len() as i64, "byte"))
}

/// `GET /L/MID/<n>-name`: a download that no browser runs.
pub async fn attachment(app: &App, list: Shown, id: MessageId, number: usize) -> Answer {
    let found = app.store.find_mails(&list, &id).await?;
    let missing = || Problem::Missing("There is no such attachment.".to_owned(), vec![]);
    let first = found.iter().find(|m| !m.taken_back).ok_or_else(missing)?;
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

/// The mails of one name as mboxrd: few, so that they are read at once and have a tag.
async fn raw(app: &App, mails: &[MailId], name: &str) -> Answer {
    let mut out = Vec::new();
    let loaded = app.store.load_bytes_of(mails).await?;
    let bytes: HashMap<MailId, Vec<u8>> = loaded.into_iter().map(|(m, b, _)| (m, b)).collect();
    for bytes in mails.iter().filter_map(|m| bytes.get(m)) {
        mail::mbox::write(&mut out, bytes).expect("a vector takes all");
    }
    let name = file_name(name, "txt");
    Ok(file("text/plain; charset=utf-8", Some(name), out))
}

async fn eml(app: &App, mail: &MailRow) -> Answer {
    let (bytes, crlf) = app
        .store
        .load_bytes(mail.mail)
        .await?
        .ok_or_else(taken_back)?;
    let bytes = if crlf {
        mail::header::to_crlf(&bytes)
    } else {
        bytes
    };
    let name = "attachment; filename=mail.eml".to_owned();
    Ok(since(
        file("message/rfc822", Some(name), bytes),
        mail.arrived,
    ))
}

/// `/MID/`, `/all/MID/…`, `/r/MID`: the public list that has it, or one that is shown to who asks.
pub async fn anywhere(app: &App, rest: &str, wish: &Wish) -> Answer {
    let endings = ENDINGS.iter().map(|(e, _)| *e).chain([""]);
    let read = |ending: &'static str| {
        let piece = percent_encoding::percent_decode_str(rest.strip_suffix(ending)?);
        Some((MessageId::parse(&piece.decode_utf8_lossy())?, ending))
    };
    let names: Vec<(MessageId, &str)> = endings.filter_map(read).collect();
    let to = |list: &str, (id, ending): &(MessageId, &str)| {
        let ending = if ending.is_empty() { "/" } else { ending };
        let to = format!("{}/{list}/{}{ending}", app.base_url, url::message_id(id));
        Problem::Moved(StatusCode::FOUND, to)
    };
    for name in &names {
        if let Some(list) = app.store.find_public_list_of(&name.0).await? {
            return Err(to(&list, name));
        }
    }
    if let Some(viewer) = find(app, wish).await? {
        let lists = app.store.load_shown(eyes(app, &viewer)).await?;
        for name in &names {
            if let Some(list) = app.store.find_private_list_of(&name.0, &lists).await? {
                let frame = wish.frame(app, None, "");
                return Ok(private(to(&list.name, name).answer(frame)));
            }
        }
    }
    Err(Problem::Missing(
        "There is neither a list nor a mail of that name here.".to_owned(),
        vec![],
    ))
}
