//! `/` and `/L/`: lists, newest threads, search.

use std::collections::HashMap;

use askama::Template;

use super::page::{Answer, Frame, Problem, Row, count, html, pills};
use super::routes::{App, Wish};
use crate::store::ListRow;
use crate::store::pages::{MailRow, SeriesFact};
use crate::store::search::phrases;
use crate::thread::effective_date;
use crate::types::{MailId, MessageId};
use crate::view::text::visible;
use crate::view::url;

/// Rows on a page.
const PAGE: i64 = 50;

/// What refusals of HTML mail link to.
pub const PLAIN_TEXT: &str = "This list takes plain text.\n\n\
Mail that has only HTML cannot be quoted, searched or applied as a patch. Most mail programs send a plain text part when\n\
asked to:\n\n\
  Gmail         three dots in the compose window, then Plain text mode\n\
  Outlook       Format text, then Plain text\n\
  Thunderbird   Account settings, Composition: untick Compose messages in HTML format\n\
  Apple Mail    Format, then Make plain text\n\
  patches       git send-email does it right by itself\n\n\
HTML beside a text part is fine: the text part counts.\n";

/// How to search.
pub const SEARCH_HELP: &str = "Searching\n\nWrite words: mails that hold all of them are shown, newest first.\n\
Words in \"quotes\" must stand behind each other.\nUpper and lower case are the same; punctuation separates words.\n";

#[derive(Template)]
#[template(path = "index.html")]
struct IndexPage {
    frame: Frame,
    lists: Vec<ListRow>,
}

#[derive(Template)]
#[template(path = "list.html")]
struct ListPage {
    frame: Frame,
    heading: String,
    list: String,
    description: String,
    address: String,
    members: i64,
    postings: i64,
    rows: Vec<Row>,
    older: Option<String>,
}

/// `GET /`
pub async fn index(app: &App) -> Answer {
    let mut lists = app.store.load_lists().await?;
    lists.retain(|l| l.visibility == "public");
    Ok(html(&IndexPage {
        frame: Frame {
            site: app.site.to_string(),
            list: None,
            q: String::new(),
        },
        lists,
    }))
}

/// `GET /L/`: newest threads; `before=ARRIVAL.THREAD` pages on.
pub async fn home(app: &App, list: ListRow, wish: Wish) -> Answer {
    let before = wish
        .get("before")
        .split_once('.')
        .and_then(|(a, t)| Some((a.parse().ok()?, t.parse().ok()?)));
    let threads = app
        .store
        .load_threads(list.id, before.unwrap_or((i64::MAX, 0)), PAGE)
        .await?;
    let roots: Vec<MailId> = threads.iter().map(|t| t.root).collect();
    let facts = newest_facts(app.store.load_facts(&roots).await?);
    let (postings, _, _, members) = app.store.count_list(list.id).await?;
    let older = threads.last().filter(|_| threads.len() as i64 == PAGE);
    let older = older.map(|t| format!("/{}/?before={}.{}", list.name, t.last.0, t.thread));
    let row = |t: &crate::store::pages::ThreadRow| {
        let id = MessageId::parse(&t.message_id);
        let piece = id.as_ref().map(url::message_id).unwrap_or_default();
        let ending = if t.postings > 1 { "T/" } else { "" };
        let fact = facts.get(&t.root);
        Row {
            href: fact.map_or(format!("/{}/{piece}/{ending}", list.name), |f| {
                format!("/{}/patches/{}/", list.name, f.patchset)
            }),
            subject: title(&t.subject),
            author: visible(if t.author.is_empty() {
                &t.address
            } else {
                &t.author
            }),
            count: count(t.postings, "mail"),
            when: t.last,
            pills: fact.map(|f| pills(f, false)).unwrap_or_default(),
        }
    };
    let rows = threads.iter().map(row).collect();
    Ok(html(&ListPage {
        frame: Frame {
            site: app.site.to_string(),
            list: Some(list.name.clone()),
            q: String::new(),
        },
        heading: list.name.clone(),
        list: list.name,
        description: list.description,
        address: list.address,
        members,
        postings,
        rows,
        older,
    }))
}

/// `GET /L/?q=WORDS`
pub async fn search(app: &App, list: ListRow, wish: Wish) -> Answer {
    let q = wish.get("q").to_owned();
    let before = wish.get("before").parse().unwrap_or(i64::MAX);
    let found = app
        .store
        .search(list.id, &phrases(&q), before, PAGE)
        .await?;
    let mut mails = app.store.load_mails(list.id, &found).await?;
    mails.sort_by_key(|m| std::cmp::Reverse(m.mail));
    if wish.get("x") == "A" {
        return Ok(super::feed::render(
            app,
            &list,
            &format!("search: {q}"),
            &mails,
        ));
    }
    if wish.get("x") == "m" && wish.post {
        return super::message::gzip_mbox(app, &mails, &format!("results-{q}")).await;
    }
    let older = found.last().filter(|_| found.len() as i64 == PAGE);
    let older = older.map(|m| format!("/{}/?q={}&before={}", list.name, url::query(&q), m.0));
    let row = |m: &MailRow| Row {
        href: format!(
            "/{}/{}/",
            list.name,
            MessageId::parse(&m.message_id)
                .as_ref()
                .map(url::message_id)
                .unwrap_or_default()
        ),
        subject: title(&m.subject),
        author: visible(if m.author.is_empty() {
            &m.address
        } else {
            &m.author
        }),
        count: String::new(),
        when: effective_date(m.date, m.arrived),
        pills: Vec::new(),
    };
    let rows = mails.iter().map(row).collect();
    let frame = Frame {
        site: app.site.to_string(),
        list: Some(list.name.clone()),
        q: q.clone(),
    };
    if phrases(&q).is_empty() {
        return Err(Problem::Bad(
            "A search needs a word: letters or digits.".to_owned(),
        ));
    }
    Ok(html(&ListPage {
        frame,
        heading: format!("Mails with {q}"),
        list: list.name,
        description: list.description,
        address: list.address,
        members: 0,
        postings: 0,
        rows,
        older,
    }))
}

fn title(subject: &str) -> String {
    if subject.trim().is_empty() {
        "(no subject)".to_owned()
    } else {
        visible(subject)
    }
}

/// One fact a mail: a patch taken over stands in several versions, the newest counts.
fn newest_facts(facts: Vec<SeriesFact>) -> HashMap<MailId, SeriesFact> {
    facts
        .into_iter()
        .filter_map(|f| f.mail.map(|m| (m, f)))
        .collect()
}
