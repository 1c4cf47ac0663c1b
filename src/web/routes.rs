//! All addresses in one place. Fixed words come before Message-IDs; an id may hold slashes, so the longest one before a known
//! ending is tried.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{Extensions, HeaderMap, Method, StatusCode, Version, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use percent_encoding::percent_decode_str;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{DefaultPredicate, NotForContentType, Predicate};
use tower_http::limit::RequestBodyLimitLayer;

use super::cache::Cache;
use super::limits::Limits;
use super::list::Place;
use super::page::{Answer, Frame, Problem, Theme, etag, file, has};
use super::server::Client;
use super::session::{find_shown, is_personal, private, sign_in_way};
use super::{
    assets, enable, feed, git, join, list, me, message, patches, queue, search, settings, sign_in,
    style,
};
use crate::net::source;
use crate::pipeline::{Ctx, Repos};
use crate::store::{Reader, Shown};
use crate::types::MessageId;

/// What handlers share.
#[derive(Clone)]
pub struct App {
    /// Read only, on the connections for pages.
    pub store: Reader,
    /// What changes anything, as its own functions allow.
    pub ctx: Ctx,
    /// The repositories, for cloning.
    pub repos: Repos,
    /// The site's name.
    pub site: Arc<str>,
    /// How readers reach the pages, without a slash at the end.
    pub base_url: Arc<str>,
    /// How much of what is dear is done at once.
    pub limits: Limits,
    /// Where mail is taken by SMTP on this machine, `host:port`; empty: nowhere.
    pub smtp: Arc<str>,
}

/// A request in pieces.
pub struct Wish {
    /// Its path, as it was sent.
    pub path: String,
    /// It is about a list that is not public.
    pub private: bool,
    /// Query keys and values, decoded.
    pub query: Vec<(String, String)>,
    /// `POST`.
    pub post: bool,
    /// Git-Protocol.
    pub protocol: Option<String>,
    /// The body is packed.
    pub gzip: bool,
    /// Its body.
    pub body: bytes::Bytes,
    /// The colours the reader chose.
    pub theme: Theme,
    /// What the client is counted by; `None`: it speaks for many.
    pub from: Option<IpAddr>,
    /// Its header fields.
    pub headers: HeaderMap,
    /// Rendered pages.
    pub cache: Arc<Cache>,
}

impl Wish {
    /// A query value, or empty.
    pub fn get(&self, key: &str) -> &str {
        self.query
            .iter()
            .find(|(k, _)| k == key)
            .map_or("", |(_, v)| v)
    }

    /// Two numbers `A.B` of a query value: where a listing goes on.
    pub fn pair(&self, key: &str) -> Option<(i64, i64)> {
        let (a, b) = self.get(key).split_once('.')?;
        Some((a.parse().ok()?, b.parse().ok()?))
    }

    /// Whether mails are wanted as an mbox: `POST` with `x=m`.
    pub fn wants_mbox(&self) -> bool {
        self.post && self.get("x") == "m"
    }

    /// The frame of a page of a list.
    pub fn frame(&self, app: &App, list: Option<&str>, here: &'static str) -> Frame {
        let mut frame = Frame::new(&app.site, list, here, self.theme);
        frame.private = self.private && list.is_some();
        frame
    }

    /// The frame of a page that says why there is no other.
    fn problem_frame(&self, app: &App, list: Option<&str>) -> Frame {
        let mut frame = self.frame(app, list, "");
        frame.q = self.get("q").to_owned();
        frame.sign_in = sign_in_way(app, self);
        frame
    }
}

/// Larger requests than this are none of ours: git's negotiation stays far below.
const MAX_BODY: usize = 8 << 20;
/// A request that is not here whole by then is given up.
const BODY_TIME: Duration = Duration::from_secs(60);
/// Answers up to this size get a tag.
const MAX_TAGGED: u64 = 4 << 20;

/// No script but ours, no style but ours, nothing from elsewhere.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; form-action 'self'; \
     base-uri 'none'; frame-ancestors 'none'";

/// The router of the web pages.
pub fn router(app: App) -> Router {
    // What is packed already, and git's stream, which must not wait for a compressor's block to fill.
    let worth = DefaultPredicate::new()
        .and(NotForContentType::const_new("application/gzip"))
        .and(NotForContentType::const_new(
            "application/x-git-upload-pack",
        ))
        .and(is_for_all);
    Router::new()
        .fallback(dispatch)
        .layer(middleware::from_fn(finish))
        .layer(
            CompressionLayer::new()
                .gzip(true)
                .zstd(true)
                .compress_when(worth),
        )
        .layer(RequestBodyLimitLayer::new(MAX_BODY))
        .layer(CatchPanicLayer::new())
        .with_state((app, Arc::<Cache>::default()))
}

/// Pages for one reader go as they are: they hold secrets beside what a link may have put there, and a packed length tells of both.
fn is_for_all(_: StatusCode, _: Version, headers: &HeaderMap, _: &Extensions) -> bool {
    let kept = headers
        .get(header::CACHE_CONTROL)
        .and_then(|v| v.to_str().ok());
    !kept.is_some_and(|v| v.contains("no-store"))
}

async fn dispatch(State((app, cache)): State<(App, Arc<Cache>)>, request: Request) -> Response {
    let method = request.method().clone();
    if !matches!(method, Method::GET | Method::HEAD | Method::POST) {
        return refused();
    }
    let path = request.uri().path().to_owned();
    let query = parse_query(request.uri().query().unwrap_or_default());
    let headers = request.headers().clone();
    let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok());
    let from = request.extensions().get::<Client>().and_then(|c| c.0);
    // A proxy on this machine puts the address that it saw last; what stands before it is what the client says of itself.
    let last = |names: &str| names.rsplit(',').next()?.trim().parse().ok();
    let from = from.or_else(|| source(text("x-forwarded-for").and_then(last)?));
    let cookie = text("cookie").unwrap_or_default().split(';');
    let theme = cookie
        .filter_map(|c| c.trim().strip_prefix("theme="))
        .next()
        .unwrap_or_default();
    let body = tokio::time::timeout(BODY_TIME, to_bytes(request.into_body(), MAX_BODY)).await;
    let body = match body {
        Ok(Ok(body)) => body,
        Ok(Err(_)) => return StatusCode::PAYLOAD_TOO_LARGE.into_response(),
        // The rest may still come: the connection ends, so that it is not read as a request.
        Err(_) => {
            return (StatusCode::REQUEST_TIMEOUT, [(header::CONNECTION, "close")]).into_response();
        }
    };
    let mut wish = Wish {
        theme: Theme::parse(theme),
        path: path.clone(),
        private: false,
        post: method == Method::POST,
        protocol: text("git-protocol").map(str::to_owned),
        gzip: text("content-encoding") == Some("gzip"),
        query,
        body,
        from,
        headers: headers.clone(),
        cache,
    };
    if !wish.get("theme").is_empty() {
        wish.theme = Theme::parse(wish.get("theme"));
    }
    let takes_post = path == "/-/theme"
        || path.starts_with(ENABLE)
        || path.ends_with("/git-upload-pack")
        || wish.wants_mbox()
        || is_personal(&path)
        || is_form(&path);
    if wish.post && !takes_post {
        return refused();
    }
    let frame = wish.problem_frame(&app, None);
    let answer = route(&app, &path, wish).await;
    let answer = answer.unwrap_or_else(|problem| problem.answer(frame));
    match is_personal(&path) {
        true => private(answer),
        false => answer,
    }
}

/// Pages with a form of their own.
fn is_form(path: &str) -> bool {
    path.starts_with("/u/") || path.starts_with("/-/confirm/") || path.ends_with("/join/")
}

fn refused() -> Response {
    let allowed = [(header::ALLOW, "GET, HEAD, POST")];
    (StatusCode::METHOD_NOT_ALLOWED, allowed).into_response()
}

/// Keeps the colours a reader chose, and leads back to where that was.
fn choose_theme(wish: &Wish) -> Response {
    let chosen =
        percent_decode_str(std::str::from_utf8(&wish.body).unwrap_or_default()).decode_utf8_lossy();
    let theme = Theme::parse(chosen.strip_prefix("to=").unwrap_or_default());
    let back = wish
        .headers
        .get(header::REFERER)
        .and_then(|v| v.to_str().ok());
    let back = back
        .and_then(|url| url.split_once("://"))
        .and_then(|(_, rest)| rest.find('/').map(|at| &rest[at..]));
    // Never to another site, whatever the field says.
    let back = back.filter(|path| !path.starts_with("//")).unwrap_or("/");
    let cookie = format!(
        "theme={}; Path=/; Max-Age=31536000; SameSite=Lax; HttpOnly",
        theme.as_str()
    );
    let fields = [
        (header::LOCATION, back.to_owned()),
        (header::SET_COOKIE, cookie),
    ];
    (StatusCode::SEE_OTHER, fields).into_response()
}

/// Pairs of a query string.
fn parse_query(query: &str) -> Vec<(String, String)> {
    parse_pairs(query, 50)
}

/// The first pairs of a query string or of a form's body.
pub fn parse_pairs(query: &str, most: usize) -> Vec<(String, String)> {
    let decode = |t: &str| {
        percent_decode_str(&t.replace('+', " "))
            .decode_utf8_lossy()
            .into_owned()
    };
    let pairs = query.split(['&', ';']).filter(|p| !p.is_empty()).take(most);
    pairs
        .map(|p| p.split_once('=').unwrap_or((p, "")))
        .map(|(k, v)| (decode(k), decode(v)))
        .collect()
}

async fn route(app: &App, path: &str, wish: Wish) -> Answer {
    if let Some(asset) = assets::find(path, !wish.get("v").is_empty()) {
        return Ok(asset);
    }
    match path {
        "/" => return list::index(app, &wish).await,
        "/-/style" => return style::show(app, &wish),
        "/-/queue" => return queue::serve(app, &wish).await,
        "/-/theme" if wish.post => return Ok(choose_theme(&wish)),
        "/robots.txt" => return Ok(file("text/plain", None, ROBOTS)),
        "/help/plain-text" => return list::plain_text(app, &wish),
        _ => {}
    }
    if let Some(token) = join::token_of(path, "/u/") {
        return join::leave(app, token, &wish).await;
    }
    if let Some(token) = join::token_of(path, "/-/confirm/") {
        return join::confirm(app, token, &wish).await;
    }
    if path.starts_with("/u/") || path.starts_with("/-/confirm/") {
        return Err(join::broken());
    }
    if let Some(token) = path.strip_prefix(ENABLE) {
        return enable::show(app, token, &wish).await;
    }
    let rest = path.strip_prefix('/').unwrap_or(path);
    match rest.split_once('/').unwrap_or((rest, "")) {
        ("sign-in", below) => return sign_in::serve(app, below, &wish).await,
        ("me", below) => return me::serve(app, below, &wish).await,
        _ => {}
    }
    let (first, rest) = rest
        .split_once('/')
        .map_or((rest, None), |(f, r)| (f, Some(r)));
    let first = percent_decode_str(first).decode_utf8_lossy().into_owned();
    if first.ends_with(".git") {
        return git::serve(app, &first, rest.unwrap_or_default(), wish).await;
    }
    if first == "all" || first == "r" {
        return everywhere(app, rest.unwrap_or_default(), &wish).await;
    }
    if let Some(below) = rest.and_then(settings::below)
        && let Some(page) = settings::serve(app, &first, below, &wish).await?
    {
        return Ok(page);
    }
    let Some(list) = find_shown(app, &first, &wish).await? else {
        return message::anywhere(app, path.trim_start_matches('/'), &wish).await;
    };
    if list.is_private() {
        return Ok(for_members(app, list, rest, wish).await);
    }
    let Some(rest) = rest else {
        return moved(format!("/{first}/"));
    };
    let name = list.name.clone();
    let answer = in_list(app, list, rest, wish).await;
    answer.map_err(|problem| Problem::In(name, Box::new(problem)))
}

/// What stands before an enabling token.
const ENABLE: &str = "/-/enable/";

const ROBOTS: &str = "User-agent: *\nDisallow: /*?\nDisallow: /*/raw$\nDisallow: /*/eml$\nDisallow: /*.mbox.gz$\nDisallow: /*/t/$\nDisallow: /me/\n";

fn moved(to: String) -> Answer {
    Err(Problem::Moved(StatusCode::MOVED_PERMANENTLY, to))
}

/// `/all/…`: search and feed over all public lists; a mail's pages are those of the list that has it.
async fn everywhere(app: &App, rest: &str, wish: &Wish) -> Answer {
    match rest {
        "" | "index.html" if !wish.get("q").is_empty() => {
            search::show(app, Place::all(app), wish).await
        }
        "" | "index.html" => Err(Problem::Moved(StatusCode::FOUND, "/".to_owned())),
        "new.atom" | "atom.xml" => feed::newest(app, Place::all(app)).await,
        "_/text/help/" => list::help(app, Place::all(app), wish).await,
        _ => message::anywhere(app, rest, wish).await,
    }
}

/// A page of a list that is not public, to who may read it: kept by no cache, known by no tag, found by no search engine.
async fn for_members(app: &App, list: Shown, rest: Option<&str>, mut wish: Wish) -> Response {
    wish.private = true;
    let frame = wish.problem_frame(app, Some(&list.name));
    let answer = match rest {
        Some(rest) => in_list(app, list, rest, wish).await,
        None => moved(format!("/{}/", list.name)),
    };
    let mut page = private(answer.unwrap_or_else(|problem| problem.answer(frame)));
    for name in [header::ETAG, header::LAST_MODIFIED] {
        page.headers_mut().remove(name);
    }
    page
}

async fn in_list(app: &App, list: Shown, rest: &str, wish: Wish) -> Answer {
    match rest {
        "" | "index.html" if !wish.get("q").is_empty() => {
            return search::show(app, Place::of(&list), &wish).await;
        }
        "" | "index.html" | "new.html" => return list::home(app, list, &wish).await,
        "new.atom" | "atom.xml" => return feed::newest(app, Place::of(&list)).await,
        "description" => {
            let text = format!("{}\n", list.description);
            return Ok(file("text/plain; charset=utf-8", None, text));
        }
        "_/text/help" => return moved(format!("/{}/_/text/help/", list.name)),
        "topics_new.html" | "topics_active.html" => return moved(format!("/{}/", list.name)),
        "topics_new.atom" | "topics_active.atom" => {
            return moved(format!("/{}/new.atom", list.name));
        }
        "_/text/help/" => return list::help(app, Place::of(&list), &wish).await,
        "patches" => return moved(format!("/{}/patches/", list.name)),
        "patches/" => return patches::index(app, list, &wish).await,
        // Nobody joins another one by a form.
        "join" if !list.is_private() => return moved(format!("/{}/join/", list.name)),
        "join/" if !list.is_private() => return join::join(app, &list, &wish).await,
        _ => {}
    }
    if wish.post && is_form(rest) {
        return Err(Problem::Bad("Nothing here takes a form.".to_owned()));
    }
    if let Some(rest) = rest.strip_prefix("patches/") {
        return patches::one(app, list, rest, &wish).await;
    }
    let decode = |t: &str| MessageId::parse(&percent_decode_str(t).decode_utf8_lossy());
    for (ending, what) in message::ENDINGS {
        if let Some(id) = rest.strip_suffix(ending).and_then(decode) {
            return message::show(app, list, id, what, &wish).await;
        }
    }
    for ending in ["/T", "/t"] {
        if rest.ends_with(ending) {
            return moved(format!("/{}/{rest}/", list.name));
        }
    }
    // Forms of older public-inbox pages.
    let old = rest
        .strip_prefix("m/")
        .and_then(|r| r.strip_suffix(".html"));
    if let Some(id) = old.or_else(|| rest.strip_suffix("/R")) {
        return moved(format!("/{}/{id}/", list.name));
    }
    if let Some((id, name)) = rest.rsplit_once('/')
        && let Some((number, _)) = name.split_once('-')
        && let (Some(id), Ok(number)) = (decode(id), number.parse())
    {
        return message::attachment(app, list, id, number).await;
    }
    match decode(rest) {
        Some(_) => moved(format!("{}/{}/{rest}/", app.base_url, list.name)),
        None => Err(Problem::Missing(
            "There is no such page.".to_owned(),
            vec![],
        )),
    }
}

/// Whether the client has the answer since its Last-Modified. Pages are known by their tags alone: a state may change without
/// any new mail.
fn known_since(asked: &HeaderMap, answer: &HeaderMap) -> bool {
    let page = answer.get(header::CONTENT_TYPE).is_some_and(is_page);
    let since = asked.get(header::IF_MODIFIED_SINCE);
    !page
        && since.is_some()
        && !asked.contains_key(header::IF_NONE_MATCH)
        && since == answer.get(header::LAST_MODIFIED)
}

fn is_page(content_type: &header::HeaderValue) -> bool {
    content_type.as_bytes().starts_with(b"text/html")
}

/// What answers HEAD: the length that GET would have, where it is known before packing (RFC 9110 section 9.3.2), and no body.
fn without_body(asked: &HeaderMap, answer: &mut HeaderMap, body: Body) -> Body {
    let packed = answer.contains_key(header::CONTENT_ENCODING);
    match hyper::body::Body::size_hint(&body).exact() {
        Some(size) if packed || !asked.contains_key(header::ACCEPT_ENCODING) => {
            answer.insert(header::CONTENT_LENGTH, size.into());
            Body::empty()
        }
        // A stream without an end that is known: nothing is said of its length.
        _ => Body::from_stream(tokio_util::io::ReaderStream::new(tokio::io::empty())),
    }
}

/// Headers that every answer has, and tags for what can be cached.
async fn finish(request: Request, next: Next) -> Response {
    let (headers, head) = (request.headers().clone(), request.method() == Method::HEAD);
    let response = next.run(request).await;
    let (mut parts, mut body) = response.into_parts();
    let small = hyper::body::Body::size_hint(&body)
        .exact()
        .is_some_and(|size| size <= MAX_TAGGED);
    // Pages out of the cache have a tag of their own; what is marked as kept for ever needs none.
    if parts.status == StatusCode::OK && known_since(&headers, &parts.headers) {
        parts.status = StatusCode::NOT_MODIFIED;
        body = Body::empty();
    }
    let plain = !parts.headers.contains_key(header::ETAG)
        && !parts.headers.contains_key(header::CACHE_CONTROL);
    if parts.status == StatusCode::OK && small && plain {
        match to_bytes(body, MAX_BODY).await {
            Ok(bytes) => {
                let tag = etag(&bytes);
                let same = has(&headers, &tag);
                if let Ok(value) = header::HeaderValue::from_str(&tag) {
                    parts.headers.insert(header::ETAG, value);
                }
                parts
                    .headers
                    .entry(header::CACHE_CONTROL)
                    .or_insert(header::HeaderValue::from_static("no-cache"));
                parts.status = if same {
                    StatusCode::NOT_MODIFIED
                } else {
                    parts.status
                };
                body = if same {
                    Body::empty()
                } else {
                    Body::from(bytes)
                };
            }
            Err(error) => {
                tracing::error!(%error, "an answer could not be read");
                return StatusCode::INTERNAL_SERVER_ERROR.into_response();
            }
        }
    }
    let fixed = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
    ];
    for (name, value) in fixed {
        parts
            .headers
            .entry(name)
            .or_insert(header::HeaderValue::from_static(value));
    }
    if parts.headers.get(header::CONTENT_TYPE).is_some_and(is_page)
        && !parts.headers.contains_key(header::VARY)
    {
        // The colours are in the page.
        let vary = header::HeaderValue::from_static("Cookie");
        parts.headers.insert(header::VARY, vary);
    }
    if head {
        body = without_body(&headers, &mut parts.headers, body);
    }
    Response::from_parts(parts, body)
}
