//! Sends due copies: into a directory, or to the next hop by SMTP.
//!
//! Edge. A copy is a generated header block and below it the stored bytes; a claim is committed before anything is sent.

mod client;
pub mod schedule;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::list::header::{self, CopyHead};
use crate::list::token::{self, Bounce};
use crate::mail;
use crate::store::{Delivery, Outcome, PostingToSend, Store, StoreError};
use crate::types::{ListId, Timestamp};
use crate::view::url;
use client::{Answer, Client};

/// Where copies go.
#[derive(Debug, Clone)]
pub enum Route {
    /// A file a copy: nothing leaves the machine.
    Directory(PathBuf),
    /// `host:port`, over that many connections.
    Relay(String, usize),
}

/// What sending needs to know.
#[derive(Clone)]
pub struct Settings {
    /// Where copies go.
    pub route: Route,
    /// Our name in EHLO.
    pub hostname: String,
    /// How readers reach the pages, without a slash at the end.
    pub base_url: Arc<str>,
    /// Key of the tokens in return paths.
    pub token_key: Arc<[u8]>,
}

/// One posting's copies share all but the envelope.
struct Ready {
    list_local: String,
    list_domain: String,
    head: Vec<u8>,
    body: Vec<u8>,
    flawed: bool,
}

/// Copies claimed at once for each connection.
const CLAIM: i64 = 100;
/// A look even if nobody calls.
const PAUSE: Duration = Duration::from_secs(5);

/// Sends what is due until told to stop; what was claimed by then is finished.
pub async fn run(store: Store, settings: Settings, stop: CancellationToken) {
    let connections = match &settings.route {
        Route::Directory(_) => 1,
        Route::Relay(_, connections) => *connections,
    };
    let mut workers = tokio::task::JoinSet::new();
    for _ in 0..connections {
        workers.spawn(work(store.clone(), settings.clone(), stop.clone()));
    }
    while workers.join_next().await.is_some() {}
}

async fn work(store: Store, settings: Settings, stop: CancellationToken) {
    let mut postings = Postings {
        ready: HashMap::new(),
    };
    while !stop.is_cancelled() {
        let now = crate::store::now();
        let claimed = store.claim_deliveries(CLAIM, now).await;
        let done = match claimed {
            Ok(claimed) if !claimed.is_empty() => {
                batch(&store, &settings, &mut postings, claimed).await
            }
            Ok(_) => {
                tokio::select! {
                    () = store.deliveries.notified() => {}
                    () = tokio::time::sleep(PAUSE) => {}
                    () = stop.cancelled() => {}
                }
                Ok(())
            }
            Err(error) => Err(error),
        };
        if let Err(error) = done {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "sending pauses: {error}"
            );
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                () = stop.cancelled() => {}
            }
        }
    }
}

async fn batch(
    store: &Store,
    settings: &Settings,
    postings: &mut Postings,
    claimed: Vec<Delivery>,
) -> Result<(), StoreError> {
    // Others may work on what is left.
    store.deliveries.notify_one();
    let mut client = None;
    let mut broken: Option<String> = None;
    let mut outcomes = Vec::with_capacity(claimed.len());
    for delivery in claimed {
        let now = crate::store::now();
        let Some(ready) = postings
            .find(store, settings, delivery.list, delivery.number)
            .await?
        else {
            outcomes.push((delivery, Outcome::GaveUp("the posting is gone".to_owned())));
            continue;
        };
        let result = match (&broken, &settings.route) {
            (Some(why), _) => Err(why.clone()),
            (None, Route::Directory(folder)) => {
                write_copy(folder, settings, &ready, &delivery).map(|()| Answer::Taken)
            }
            (None, Route::Relay(relay, _)) => {
                send_copy(&mut client, relay, settings, &ready, &delivery).await
            }
        };
        let outcome = match result {
            Ok(Answer::Taken) => Outcome::Sent,
            Ok(Answer::Permanent(text)) => Outcome::GaveUp(text),
            Ok(Answer::Temporary(text)) => later(&delivery, now, text),
            Err(text) => {
                // The way is broken, not this copy: the rest of the batch waits too, without trying each.
                broken = Some(text.clone());
                client = None;
                later(&delivery, now, text)
            }
        };
        outcomes.push((delivery, outcome));
    }
    if let Some(client) = client {
        client.quit().await;
    }
    let sent = outcomes
        .iter()
        .filter(|(_, o)| matches!(o, Outcome::Sent))
        .count();
    metrics::counter!("patchpost_copies_sent").increment(sent as u64);
    match broken {
        Some(problem) => tracing::warn!(
            copies.sent = sent,
            problem,
            "copies wait for the next hop: {problem}"
        ),
        None => tracing::info!(copies.sent = sent, "sent {sent} copies"),
    }
    store.record_deliveries(outcomes).await
}

fn later(delivery: &Delivery, now: Timestamp, problem: String) -> Outcome {
    let jitter = delivery.id.0.to_le_bytes()[0];
    match schedule::next_attempt(delivery.attempts, delivery.started, now, jitter) {
        Some(at) => Outcome::Later(at, problem),
        None => Outcome::GaveUp(format!("given up after five days: {problem}")),
    }
}

/// Postings made ready, the few newest.
struct Postings {
    ready: HashMap<(ListId, i64), Arc<Ready>>,
}

impl Postings {
    async fn find(
        &mut self,
        store: &Store,
        settings: &Settings,
        list: ListId,
        number: i64,
    ) -> Result<Option<Arc<Ready>>, StoreError> {
        if let Some(ready) = self.ready.get(&(list, number)) {
            return Ok(Some(Arc::clone(ready)));
        }
        let Some(posting) = store.load_posting_to_send(list, number).await? else {
            return Ok(None);
        };
        if self.ready.len() >= 8 {
            self.ready.clear();
        }
        let ready = Arc::new(make_ready(&posting, &settings.base_url));
        self.ready.insert((list, number), Arc::clone(&ready));
        Ok(Some(ready))
    }
}

fn make_ready(posting: &PostingToSend, base_url: &str) -> Ready {
    let page = format!("{base_url}/{}/", posting.list);
    let permalink = format!("{page}{}/", url::message_id(&posting.message_id));
    let head = header::render(&CopyHead {
        address: &posting.address,
        description: &posting.description,
        page: &page,
        permalink: &permalink,
    });
    let mut body = mail::header::to_crlf(&header::body_of_copy(&posting.bytes));
    if !body.ends_with(b"\r\n") {
        body.extend_from_slice(b"\r\n");
    }
    // Imported mail may hold bytes that must never leave (RFC 5321 section 2.3.8).
    let bare = memchr::memchr_iter(b'\r', &body).any(|at| body.get(at + 1) != Some(&b'\n'));
    let flawed = bare || memchr::memchr(0, &body).is_some();
    let (local, domain) = posting
        .address
        .split_once('@')
        .unwrap_or((&posting.address, "localhost"));
    Ready {
        list_local: local.to_owned(),
        list_domain: domain.to_owned(),
        head,
        body,
        flawed,
    }
}

fn return_path(settings: &Settings, ready: &Ready, delivery: &Delivery) -> String {
    let bounce = Bounce {
        list: delivery.list,
        number: delivery.number,
        member: delivery.member,
    };
    let token = token::render_bounce(&settings.token_key, bounce);
    format!("{}+b-{token}@{}", ready.list_local, ready.list_domain)
}

/// `<list>-<number>-<member>.eml`: `Return-Path` and `Delivered-To` on top say the envelope, then the copy as it would be sent.
fn write_copy(
    folder: &Path,
    settings: &Settings,
    ready: &Ready,
    delivery: &Delivery,
) -> Result<(), String> {
    use std::io::Write;
    let sender = return_path(settings, ready, delivery);
    let name = format!(
        "{}-{}-{}.eml",
        ready.list_local.replace('/', "_"),
        delivery.number,
        delivery.member
    );
    let write = || {
        std::fs::create_dir_all(folder)?;
        let (draft, path) = (folder.join(format!(".{name}.draft")), folder.join(&name));
        let mut file = std::fs::File::create(&draft)?;
        write!(
            file,
            "Return-Path: <{sender}>\r\nDelivered-To: {}\r\n",
            delivery.address
        )?;
        file.write_all(&ready.head)?;
        file.write_all(&ready.body)?;
        file.sync_all()?;
        std::fs::rename(&draft, &path)?;
        std::fs::File::open(folder)?.sync_all()
    };
    write().map_err(|e: std::io::Error| format!("cannot write to {}: {e}", folder.display()))
}

async fn send_copy(
    client: &mut Option<Client>,
    relay: &str,
    settings: &Settings,
    ready: &Ready,
    delivery: &Delivery,
) -> Result<Answer, String> {
    if ready.flawed {
        return Ok(Answer::Permanent(
            "the mail holds bare CR or NUL and cannot be sent".to_owned(),
        ));
    }
    if client.as_ref().is_none_or(Client::is_used_up) {
        if let Some(old) = client.take() {
            old.quit().await;
        }
        let opened = Client::connect(relay, &settings.hostname).await;
        *client = Some(opened.map_err(|e| format!("cannot use the relay {relay}: {e}"))?);
    }
    let Some(open) = client.as_mut() else {
        return Err("no connection".to_owned());
    };
    let sender = return_path(settings, ready, delivery);
    let parts = [ready.head.as_slice(), ready.body.as_slice()];
    open.send(&sender, &delivery.address, parts)
        .await
        .map_err(|e| format!("the connection to {relay} broke: {e}"))
}
