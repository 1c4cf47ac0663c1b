//! `/L/?q=…`: words and more, the last arrived first; as a page, a feed or an mbox.

use axum::http::StatusCode;
use axum::response::IntoResponse;

use super::list::{ListPage, Older, PAGE, Place};
use super::mbox::{Packing, download};
use super::page::{Answer, Problem, Row, count, html, mail_href, person};
use super::routes::{App, Wish};
use crate::query::{self, Query};
use crate::store::index::{place_after, position};
use crate::store::pages::MailRow;
use crate::types::MailId;
use crate::view::text::{snippet, visible};
use crate::view::url;

/// Hits that an mbox is made of: b4 and lei ask for few, and narrow by date.
const MAX_MBOX: i64 = 2_000;
/// Mails of an mbox of whole threads.
const MAX_THREADED: usize = 10_000;

/// `GET /L/?q=`, with `x=A` as Atom; `POST` with `x=m` as an mbox.
pub async fn show(app: &App, place: Place, wish: &Wish) -> Answer {
    let q = wish.get("q");
    let query = match query::parse(q, crate::store::now()) {
        Ok(query) => query,
        Err(error) if wish.post => {
            return Ok((StatusCode::NOT_FOUND, format!("{error}\n")).into_response());
        }
        Err(error) => {
            return Err(Problem::Bad(format!(
                "This search cannot be answered: {error}."
            )));
        }
    };
    if wish.wants_mbox() {
        return results_mbox(app, &place, &query, None, wish).await;
    }
    let before = Older::read(wish);
    let found = app
        .store
        .search(
            place.scope,
            &query,
            None,
            place_after(before.at),
            PAGE + before.skip,
        )
        .await?;
    let found = before.rest(found);
    let mut mails = app.store.load_mails(place.scope, &found).await?;
    mails.sort_by_key(|m| std::cmp::Reverse(position(m.arrived, m.mail)));
    if wish.get("x") == "A" {
        let title = format!("{}: {q}", place.name);
        return Ok(super::feed::render(app, &place, &title, &mails));
    }
    let more = found.len() as i64 == PAGE;
    let older = mails.last().filter(|_| more);
    let older = older.map(|m| {
        let second = |m: &MailRow| m.arrived.0 / 1_000_000;
        let next = before.next(second(m), mails.iter().map(second));
        format!("/{}/?q={}&before={next}", place.name, url::query(q))
    });
    let words = query.shown_words();
    let row = |m: &MailRow| {
        let mut row = Row::new(href(&place, m), &m.subject, m.arrived);
        row.who = person(&m.author, &m.address);
        row.snippet = snippet(&m.text, &words);
        row
    };
    let mut frame = wish.frame(app, Some(&place.name), "");
    frame.q = q.to_owned();
    Ok(html(&ListPage {
        sources: Vec::new(),
        frame,
        heading: format!("Found: {}", visible(q)),
        description: String::new(),
        address: place.address.clone(),
        terms: String::new(),
        send: String::new(),
        members: String::new(),
        postings: String::new(),
        search: true,
        query: url::query(q),
        canonical: None,
        found: match (more, before.at == i64::MAX) {
            (true, true) => format!("{PAGE}+ mails."),
            (false, true) => format!("{}.", count(found.len() as i64, "mail")),
            _ => String::new(),
        },
        odd: match query.unknown.as_slice() {
            [] => String::new(),
            names => format!(
                "Looked for as a word, as there is no such prefix: {}:",
                names.join(":, ")
            ),
        },
        rows: mails.iter().map(row).collect(),
        older,
        list: place.name,
    }))
}

fn href(place: &Place, mail: &MailRow) -> String {
    match place.name.as_str() {
        "all" => mail_href("r", &mail.message_id),
        name => mail_href(name, &mail.message_id),
    }
}

/// What was found, as gzipped mboxrd, the newest first; with `t=1` or a body `x=…` whole threads. Nothing is 404.
pub async fn results_mbox(
    app: &App,
    place: &Place,
    query: &Query,
    thread: Option<i64>,
    wish: &Wish,
) -> Answer {
    let found = app
        .store
        .search(place.scope, query, thread, i64::MAX, MAX_MBOX)
        .await?;
    if found.is_empty() {
        return Ok((StatusCode::NOT_FOUND, "No results found\n").into_response());
    }
    // liblore says so in the body, and without `t`.
    let body = wish.body.strip_prefix(b"x=").and_then(<[u8]>::first);
    let threads = wish.get("t") == "1" || body.is_some_and(|b| *b != b'0');
    let mails: Vec<(MailId, String)> = if threads && thread.is_none() {
        let threads = app.store.load_threads_of(&found).await?;
        let mut mails = app.store.load_thread_ids(place.scope, &threads).await?;
        mails.truncate(MAX_THREADED);
        mails
    } else {
        let mut mails = app.store.load_mails(place.scope, &found).await?;
        mails.sort_by_key(|m| std::cmp::Reverse(position(m.arrived, m.mail)));
        mails.into_iter().map(|m| (m.mail, m.message_id)).collect()
    };
    let name = format!("results-{}", wish.get("q"));
    let turn = app.limits.download(mails.len(), wish.from).await?;
    Ok(download(app, mails, &name, Packing::Gzip, turn))
}
