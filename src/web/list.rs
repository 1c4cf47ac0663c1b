//! `/` and `/L/`: lists, newest threads, help.

use std::collections::HashMap;

use askama::Template;

use super::page::{
    Answer, Frame, Pill, Problem, Row, cached, count, html, mail_href, person, pills, short_pills,
};
use super::routes::{App, Wish};
use super::session::{eyes, find, private};
use crate::list::settings::{Moderation, Policy};
use crate::query::PREFIXES;
use crate::store::pages::{Scope, ThreadRow};
use crate::store::patch_pages::SeriesFact;
use crate::store::{Eyes, Shown};
use crate::types::{ListId, MailId, Timestamp};

/// Rows on a page.
pub const PAGE: i64 = 50;

/// How mail programs are told to send plain text.
const PLAIN_TEXT: [(&str, &str); 5] = [
    (
        "Gmail",
        "three dots in the compose window, then Plain text mode",
    ),
    ("Outlook", "Format text, then Plain text"),
    (
        "Thunderbird",
        "Account settings, Composition: untick Compose messages in HTML format",
    ),
    ("Apple Mail", "Format, then Make plain text"),
    (
        "patches",
        "git send-email does it right by itself; in a web mailer attach the file that git format-patch made, one a mail",
    ),
];

/// What pages that are not about one mail are of: a list, or all public lists.
#[derive(Clone)]
pub struct Place {
    /// First piece of its addresses.
    pub name: String,
    /// Whose mails.
    pub scope: Scope,
    /// Posting address; empty for all lists.
    pub address: String,
    /// When it began.
    pub created: Timestamp,
    /// Whose mail waits, and how large one may be; empty for all lists.
    pub terms: String,
}

/// Whose mail waits, and how large one may be, in sentences.
fn terms(policy: &Policy) -> String {
    let waits = match policy.moderation {
        Moderation::None => "",
        Moderation::Strangers => {
            "The first mail of people whom the list does not know waits until a moderator has seen it. "
        }
        Moderation::All => "Every mail waits until a moderator has seen it. ",
    };
    let size = policy.max_size;
    let size = match size >= 1 << 20 {
        true => format!("{} MiB", size >> 20),
        false => format!("{} KiB", size >> 10),
    };
    format!("{waits}A mail may have {size}; put what is larger on the web and send its address.")
}

impl Place {
    /// A list.
    pub fn of(list: &Shown) -> Place {
        Place {
            name: list.name.clone(),
            scope: Scope::List(list.id),
            address: list.address.clone(),
            created: list.created,
            terms: terms(&list.policy),
        }
    }

    /// All public lists.
    pub fn all(_: &App) -> Place {
        Place {
            name: "all".to_owned(),
            scope: Scope::Public,
            address: String::new(),
            created: Timestamp(0),
            terms: String::new(),
        }
    }
}

struct ListCard {
    name: String,
    address: String,
    description: String,
    newest: Option<Timestamp>,
    /// Only members see it.
    private: bool,
}

#[derive(Template)]
#[template(path = "index.html")]
struct IndexPage {
    frame: Frame,
    lists: Vec<ListCard>,
}

/// A page of rows: newest threads, or what a search found.
#[derive(Template)]
#[template(path = "list.html")]
pub struct ListPage {
    /// Around it.
    pub frame: Frame,
    /// Title.
    pub heading: String,
    /// First piece of addresses.
    pub list: String,
    /// What the list is.
    pub description: String,
    /// Posting address.
    pub address: String,
    /// Whose mail waits, and how large one may be.
    pub terms: String,
    /// The line that sends a patch.
    pub send: String,
    /// `12 members · `, or empty.
    pub members: String,
    /// `2,300 mails`
    pub postings: String,
    /// It shows what a search found.
    pub search: bool,
    /// The query as it stands in an address.
    pub query: String,
    /// Its own address, if it is one for search engines.
    pub canonical: Option<String>,
    /// How many were found, in words.
    pub found: String,
    /// What was not understood as it may be meant; may be empty.
    pub odd: String,
    /// Repositories that patches are for, where everybody may fetch them.
    pub sources: Vec<String>,
    /// The rows.
    pub rows: Vec<Row>,
    /// Where older ones are.
    pub older: Option<String>,
}

#[derive(Template)]
#[template(path = "help.html")]
struct HelpPage {
    frame: Frame,
    list: String,
    address: String,
    terms: String,
    base: String,
    prefixes: &'static [(&'static str, &'static str)],
    commands: Vec<(String, &'static str)>,
    /// Repositories that patches are for, where everybody may fetch them.
    sources: Vec<String>,
}

/// What mail to an address beside the list's own does.
const COMMANDS: [(&str, &str); 10] = [
    (
        "subscribe",
        "you get a copy of every mail, once you confirmed",
    ),
    ("unsubscribe", "you leave the list"),
    ("nomail", "you stay a member and get no copies"),
    ("mail", "you get copies again"),
    (
        "nodupes",
        "you get no copy of mail that names you in To or Cc; dupes undoes it",
    ),
    ("noown", "you get no copies of your own mail; own undoes it"),
    (
        "check",
        "you alone hear what would become of a mail or patch, if your mail is signed",
    ),
    (
        "remove",
        "answer your own mail to this address to have it taken off the pages; some lists ask a moderator first",
    ),
    ("help", "you get these words by mail"),
    (
        "owner",
        "the operator of this site reads it, and the list's moderators, if your mail is signed",
    ),
];

#[derive(Template)]
#[template(path = "plain_text.html")]
struct PlainTextPage {
    frame: Frame,
    programs: &'static [(&'static str, &'static str)],
}

/// `GET /help/plain-text`: what refusals of HTML mail link to.
pub fn plain_text(app: &App, wish: &Wish) -> Answer {
    Ok(html(&PlainTextPage {
        frame: wish.frame(app, None, ""),
        programs: &PLAIN_TEXT,
    }))
}

/// `GET /`
pub async fn index(app: &App, wish: &Wish) -> Answer {
    let viewer = find(app, wish).await?;
    let eyes = viewer.as_ref().map_or(Eyes::Anybody, |v| eyes(app, v));
    let lists = app.store.load_shown(eyes).await?;
    let card = |(l, newest): &(Shown, Option<Timestamp>)| ListCard {
        name: l.name.clone(),
        address: l.address.clone(),
        description: l.description.clone(),
        newest: *newest,
        private: l.is_private(),
    };
    let page = html(&IndexPage {
        frame: wish.frame(app, None, ""),
        lists: lists.iter().map(card).collect(),
    });
    Ok(match lists.iter().any(|(l, _)| l.is_private()) {
        true => private(page),
        false => page,
    })
}

/// `GET /L/_/text/help/`
pub async fn help(app: &App, place: Place, wish: &Wish) -> Answer {
    let sources = match &place.scope {
        Scope::List(list) => sources(app, *list, wish.private).await?,
        _ => Vec::new(),
    };
    let (local, domain) = place.address.split_once('@').unwrap_or_default();
    let command = |(word, what): &(&str, &'static str)| (format!("{local}+{word}@{domain}"), *what);
    Ok(html(&HelpPage {
        commands: COMMANDS.iter().map(command).collect(),
        frame: wish.frame(app, Some(&place.name), ""),
        list: place.name,
        address: place.address,
        terms: place.terms,
        base: app.base_url.to_string(),
        prefixes: &PREFIXES,
        sources,
    }))
}

/// Repositories of a public list, the most important first: each has a page with the line that clones it. None for one that is private.
pub async fn sources(app: &App, list: ListId, private: bool) -> Result<Vec<String>, Problem> {
    if private {
        return Ok(Vec::new());
    }
    let repos = app.store.load_list_repos(list).await?;
    Ok(repos.into_iter().map(|r| r.name).collect())
}

/// Where an older page begins: what arrived at `at` or earlier, without the first `skip`. It names no row, whose number
/// would count what is private, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Older {
    /// An arrival, in the unit of the page's order.
    pub at: i64,
    /// How many of these were shown already.
    pub skip: i64,
}

impl Older {
    /// Reads `before=AT.SKIP`; the newest page without it.
    pub fn read(wish: &Wish) -> Older {
        let (at, skip) = wish.pair("before").unwrap_or((i64::MAX, 0));
        // More in one moment than any mail system takes.
        let skip = skip.clamp(0, 10_000);
        Older { at, skip }
    }

    /// What was not shown already, of what arrived at `at` or earlier.
    pub fn rest<T>(self, mut all: Vec<T>) -> Vec<T> {
        let skip = usize::try_from(self.skip).unwrap_or(0).min(all.len());
        all.drain(..skip);
        all
    }

    /// The `before` of the page after one that shows `arrivals`, the last of which is `last`.
    pub fn next(self, last: i64, arrivals: impl Iterator<Item = i64>) -> String {
        let shown = arrivals.filter(|a| *a == last).count() as i64;
        let skip = if last == self.at { self.skip } else { 0 };
        format!("{last}.{}", shown + skip)
    }
}

/// `GET /L/`: newest threads; `before=ARRIVAL.SKIP` pages on (see [`Older`]).
pub async fn home(app: &App, list: Shown, wish: &Wish) -> Answer {
    let (realm, members) = app.store.find_list_version(&list).await?;
    let before = Older::read(wish);
    let key = format!(
        "list {} {} {realm} {members} {before:?}",
        list.id, list.version
    );
    let make = async {
        let page = home_page(app, &list, wish, before, members).await?;
        let newest = page.rows.iter().map(|r| r.when).max();
        Ok((page, newest))
    };
    cached(wish, &list, key, make).await
}

async fn home_page(
    app: &App,
    list: &Shown,
    wish: &Wish,
    before: Older,
    members: i64,
) -> Result<ListPage, Problem> {
    let limit = PAGE + before.skip;
    let threads = app.store.load_threads(list.id, before.at, limit).await?;
    let threads = before.rest(threads);
    let roots: Vec<MailId> = threads.iter().map(|t| t.root).collect();
    let facts = newest_facts(app.store.load_newest_facts(&roots).await?);
    let ids: Vec<i64> = threads.iter().map(|t| t.thread).collect();
    let begun = |t: &&ThreadRow| !facts.contains_key(&t.root) && t.postings > 1;
    let talks: Vec<i64> = threads.iter().filter(begun).map(|t| t.thread).collect();
    let inside = series_inside(app, list, &talks).await?;
    let mut voices: HashMap<i64, Vec<(String, String)>> = HashMap::new();
    for (thread, name, address) in app.store.load_people(list.id, &ids).await? {
        voices.entry(thread).or_default().push((name, address));
    }
    let (postings, ..) = app.store.count_list(list.id).await?;
    let older = threads.last().filter(|_| threads.len() as i64 == PAGE);
    let older = older.map(|t| {
        let next = before.next(t.last.0, threads.iter().map(|t| t.last.0));
        format!("/{}/?before={next}", list.name)
    });
    let row = |t: &ThreadRow| {
        let fact = facts.get(&t.root);
        let mail = mail_href(&list.name, &t.message_id);
        let href = match fact {
            Some(f) => format!("/{}/patches/{}/", list.name, f.patchset),
            None if t.postings > 1 => format!("{mail}T/"),
            None => mail,
        };
        let mut row = Row::new(href, &t.subject, t.last);
        row.who = people(t, voices.get(&t.thread).map_or(&[], Vec::as_slice));
        row.count = count(t.postings, "mail");
        row.pills = match (fact, inside.get(&t.thread)) {
            (Some(fact), _) => thread_pills(fact),
            (None, Some(fact)) => pills(fact, fact.state != 1),
            (None, None) => Vec::new(),
        };
        row
    };
    Ok(ListPage {
        frame: wish.frame(app, Some(&list.name), "threads"),
        heading: list.name.clone(),
        list: list.name.clone(),
        description: list.description.clone(),
        address: list.address.clone(),
        terms: terms(&list.policy),
        send: send_line(&list.address, &app.smtp),
        members: match members {
            0 => String::new(),
            n => format!("{} · ", count(n, "member")),
        },
        postings: count(postings, "mail"),
        search: false,
        query: String::new(),
        canonical: (before.at == i64::MAX).then(|| format!("{}/{}/", app.base_url, list.name)),
        found: String::new(),
        odd: String::new(),
        sources: sources(app, list.id, list.is_private()).await?,
        rows: threads.iter().map(row).collect(),
        older,
    })
}

/// How git sends a patch to a list. One in a domain of this machine alone is found by no other mail server: git is told
/// where mail is taken.
fn send_line(address: &str, smtp: &str) -> String {
    let local = address.ends_with("@localhost") || address.ends_with(".localhost");
    match smtp.rsplit_once(':').filter(|_| local) {
        Some((host, port)) => format!(
            "git send-email --smtp-server={host} --smtp-server-port={port} --smtp-encryption=none --smtp-auth=none --annotate -1"
        ),
        None => "git send-email --annotate -1".to_owned(),
    }
}

/// What came of the series that came last in threads that began otherwise, by thread.
async fn series_inside(
    app: &App,
    list: &Shown,
    threads: &[i64],
) -> Result<HashMap<i64, SeriesFact>, Problem> {
    let patches = app.store.load_patches_in(list.id, threads).await?;
    let mails: Vec<MailId> = patches.iter().map(|(_, mail)| *mail).collect();
    let facts = newest_facts(app.store.load_newest_facts(&mails).await?);
    let fact = |(thread, mail): &(i64, MailId)| Some((*thread, facts.get(mail)?.clone()));
    Ok(patches.iter().filter_map(fact).collect())
}

/// Among threads the state is said once somebody has set one.
fn thread_pills(fact: &SeriesFact) -> Vec<Pill> {
    short_pills(fact, fact.state != 1)
}

/// Who began, who wrote last, and how many more: `Ana Lima, Ben +3`.
fn people(thread: &ThreadRow, voices: &[(String, String)]) -> String {
    let mut others: Vec<&(String, String)> = Vec::new();
    for voice in voices {
        let known = |a: &str| a.eq_ignore_ascii_case(&voice.1);
        if !known(&thread.address) && !others.iter().any(|o| known(&o.1)) {
            others.push(voice);
        }
    }
    let mut out = person(&thread.author, &thread.address);
    if let Some((name, address)) = others.first() {
        let name = person(name, address);
        out.push_str(", ");
        out.push_str(
            name.split_whitespace()
                .next()
                .unwrap_or(&name)
                .trim_end_matches(','),
        );
    }
    if others.len() > 1 {
        out.push_str(&format!(" +{}", others.len() - 1));
    }
    out
}

/// For each mail the facts of the newest series that it begins.
fn newest_facts(facts: Vec<SeriesFact>) -> HashMap<MailId, SeriesFact> {
    let mut newest: HashMap<MailId, SeriesFact> = HashMap::new();
    for fact in facts {
        let Some(mail) = fact.mail else { continue };
        match newest.get(&mail) {
            Some(old) if old.arrived >= fact.arrived => {}
            _ => {
                newest.insert(mail, fact);
            }
        }
    }
    newest
}
