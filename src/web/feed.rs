//! Atom feeds (RFC 4287).

use atom_syndication::{Content, Entry, Feed, FixedDateTime, Link, Person, Text};
use axum::response::Response;

use super::page::{Answer, file};
use super::routes::App;
use crate::store::ListRow;
use crate::store::pages::MailRow;
use crate::types::{MessageId, Timestamp};
use crate::view::url;

/// Entries of the newest mails.
const ENTRIES: i64 = 25;

/// `GET /L/new.atom`
pub async fn newest(app: &App, list: ListRow) -> Answer {
    let mails = app.store.load_newest(list.id, ENTRIES).await?;
    let title = list.name.clone();
    Ok(render(app, &list, &title, &mails))
}

/// Mails as a feed.
pub fn render(app: &App, list: &ListRow, title: &str, mails: &[MailRow]) -> Response {
    let newest = mails
        .iter()
        .map(|m| m.arrived)
        .max()
        .unwrap_or(list.created);
    let page = format!("{}/{}/", app.base_url, list.name);
    let feed = Feed {
        title: Text::plain(clean(title)),
        id: page.clone(),
        updated: date(newest),
        links: vec![link(&page)],
        entries: mails.iter().map(|m| entry(&page, m)).collect(),
        ..Feed::default()
    };
    file(
        "application/atom+xml; charset=utf-8",
        None,
        feed.to_string(),
    )
}

fn link(href: &str) -> Link {
    Link {
        href: href.to_owned(),
        rel: "alternate".to_owned(),
        ..Link::default()
    }
}

fn entry(page: &str, mail: &MailRow) -> Entry {
    let id = MessageId::parse(&mail.message_id);
    let href = format!(
        "{page}{}/",
        id.as_ref().map(url::message_id).unwrap_or_default()
    );
    let name = if mail.author.is_empty() {
        &mail.address
    } else {
        &mail.author
    };
    let content = Content {
        content_type: Some("text".to_owned()),
        value: Some(clean(&mail.text)),
        ..Content::default()
    };
    Entry {
        title: Text::plain(clean(if mail.subject.is_empty() {
            "(no subject)"
        } else {
            &mail.subject
        })),
        id: href.clone(),
        updated: date(mail.arrived),
        authors: vec![Person {
            name: clean(name),
            ..Person::default()
        }],
        links: vec![link(&href)],
        content: Some(content),
        ..Entry::default()
    }
}

/// Text without what XML 1.0 forbids.
fn clean(text: &str) -> String {
    let allowed = |c: &char| {
        matches!(c, '\t' | '\n' | '\r')
            || (*c >= ' ' && !matches!(c, '\u{fffe}' | '\u{ffff}' | '\u{7f}'))
    };
    text.chars()
        .map(|c| if allowed(&c) { c } else { '\u{fffd}' })
        .collect()
}

fn date(time: Timestamp) -> FixedDateTime {
    // What the calendar cannot hold is shown as its beginning.
    time.rfc3339().parse().unwrap_or_default()
}
