//! Atom feeds (RFC 4287).

use atom_syndication::{Content, Entry, Feed, FixedDateTime, Link, Person, Text};
use axum::response::Response;

use super::list::Place;
use super::page::{Answer, file, mail_href, person, since};
use super::routes::App;
use crate::store::pages::MailRow;
use crate::types::Timestamp;

/// Entries of the newest mails.
const ENTRIES: i64 = 25;

/// `GET /L/new.atom`
pub async fn newest(app: &App, place: Place) -> Answer {
    let mails = app.store.load_newest(place.scope, ENTRIES).await?;
    let title = place.name.clone();
    Ok(render(app, &place, &title, &mails))
}

/// Mails as a feed.
pub fn render(app: &App, place: &Place, title: &str, mails: &[MailRow]) -> Response {
    let newest = mails.iter().map(|m| m.arrived).max();
    let newest = newest.unwrap_or(place.created);
    let page = format!("{}/{}/", app.base_url, place.name);
    let list = if place.name == "all" {
        "r"
    } else {
        &place.name
    };
    let feed = Feed {
        title: Text::plain(clean(title)),
        id: page.clone(),
        updated: date(newest),
        links: vec![link(&page)],
        entries: mails
            .iter()
            .map(|m| entry(&app.base_url, list, m))
            .collect(),
        ..Feed::default()
    };
    let text = feed.to_string();
    since(
        file("application/atom+xml; charset=utf-8", None, text),
        newest,
    )
}

fn link(href: &str) -> Link {
    Link {
        href: href.to_owned(),
        rel: "alternate".to_owned(),
        ..Link::default()
    }
}

fn entry(base: &str, list: &str, mail: &MailRow) -> Entry {
    let href = format!("{base}{}", mail_href(list, &mail.message_id));
    let name = person(&mail.author, &mail.address);
    let content = Content {
        content_type: Some("text".to_owned()),
        value: (!mail.taken_back).then(|| clean(&mail.text)),
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
            name: clean(&name),
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
