//! All addresses in one place. Fixed words come before Message-IDs; an id may hold slashes, so the longest one before a known
//! ending is tried.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use percent_encoding::percent_decode_str;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{DefaultPredicate, NotForContentType, Predicate};
use tower_http::limit::RequestBodyLimitLayer;

use super::page::{Answer, Problem, etag, file, has};
use super::{feed, git, list, message, patches};
use crate::git::Repos;
use crate::store::{ListRow, Store};
use crate::types::MessageId;

/// What handlers share.
#[derive(Clone)]
pub struct App {
    /// Read only.
    pub store: Store,
    /// The repositories, for cloning.
    pub repos: Repos,
    /// The site's name.
    pub site: Arc<str>,
    /// How readers reach the pages, without a slash at the end.
    pub base_url: Arc<str>,
}

/// A request in pieces.
pub struct Wish {
    /// Query keys and values, decoded.
    pub query: Vec<(String, String)>,
    /// `POST`.
    pub post: bool,
    /// Git-Protocol.
    pub protocol: Option<String>,
    /// Content-Encoding of the body.
    pub gzip: bool,
    /// Its body.
    pub body: bytes::Bytes,
}

impl Wish {
    /// A query value, or empty.
    pub fn get(&self, key: &str) -> &str {
        self.query
            .iter()
            .find(|(k, _)| k == key)
            .map_or("", |(_, v)| v)
    }
}

/// Larger requests than this are none of ours: git's negotiation stays far below.
const MAX_BODY: usize = 8 << 20;
/// Answers up to this size get a tag.
const MAX_TAGGED: u64 = 4 << 20;

const STYLE: &str = include_str!("../../templates/assets/style.css");
const SCRIPT: &str = include_str!("../../templates/assets/app.js");
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
        ));
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
        .with_state(app)
}

async fn dispatch(State(app): State<App>, request: Request) -> Response {
    let method = request.method().clone();
    if !matches!(method, Method::GET | Method::HEAD | Method::POST) {
        return (
            StatusCode::METHOD_NOT_ALLOWED,
            [(header::ALLOW, "GET, HEAD, POST")],
        )
            .into_response();
    }
    let path = request.uri().path().to_owned();
    let query = request.uri().query().unwrap_or_default().to_owned();
    let headers = request.headers().clone();
    let text = |name: &str| {
        headers
            .get(name)
            .and_then(|v| v.to_str().ok())
            .map(str::to_owned)
    };
    let (protocol, encoding) = (text("git-protocol"), text("content-encoding"));
    let Ok(body) = to_bytes(request.into_body(), MAX_BODY).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    let post = method == Method::POST;
    let wish = Wish {
        query: parse_query(&query),
        post,
        protocol,
        gzip: encoding.as_deref() == Some("gzip"),
        body,
    };
    let site = Arc::clone(&app.site);
    route(&app, &path, wish)
        .await
        .unwrap_or_else(|problem| problem.answer(&site))
}

fn parse_query(query: &str) -> Vec<(String, String)> {
    let decode = |t: &str| {
        percent_decode_str(&t.replace('+', " "))
            .decode_utf8_lossy()
            .into_owned()
    };
    let pairs = query.split(['&', ';']).filter(|p| !p.is_empty()).take(50);
    pairs
        .map(|p| p.split_once('=').unwrap_or((p, "")))
        .map(|(k, v)| (decode(k), decode(v)))
        .collect()
}

async fn route(app: &App, path: &str, wish: Wish) -> Answer {
    match path {
        "/" => return list::index(app).await,
        "/-/style.css" => return Ok(file("text/css; charset=utf-8", None, STYLE)),
        "/-/app.js" => return Ok(file("text/javascript; charset=utf-8", None, SCRIPT)),
        "/-/style" => return message::style(app),
        "/robots.txt" => {
            return Ok(file(
                "text/plain",
                None,
                "User-agent: *\nDisallow: /*?q=\nDisallow: /*/raw\n",
            ));
        }
        "/favicon.ico" => return Ok(StatusCode::NOT_FOUND.into_response()),
        "/help/plain-text" => return Ok(file("text/plain; charset=utf-8", None, list::PLAIN_TEXT)),
        _ => {}
    }
    let rest = path.strip_prefix('/').unwrap_or(path);
    let (first, rest) = rest
        .split_once('/')
        .map_or((rest, None), |(f, r)| (f, Some(r)));
    let first = percent_decode_str(first).decode_utf8_lossy().into_owned();
    if first.ends_with(".git") {
        return git::serve(app, &first, rest.unwrap_or_default(), wish).await;
    }
    if first == "all" || first == "r" {
        return message::anywhere(app, rest.unwrap_or_default()).await;
    }
    let list = app
        .store
        .find_list(&first)
        .await?
        .filter(|l| l.visibility == "public");
    let Some(list) = list else {
        return message::anywhere(app, path.trim_start_matches('/')).await;
    };
    let Some(rest) = rest else {
        return Err(Problem::Moved(
            StatusCode::MOVED_PERMANENTLY,
            format!("/{first}/"),
        ));
    };
    in_list(app, list, rest, wish).await
}

async fn in_list(app: &App, list: ListRow, rest: &str, wish: Wish) -> Answer {
    match rest {
        "" | "index.html" if !wish.get("q").is_empty() => {
            return list::search(app, list, wish).await;
        }
        "" | "index.html" => return list::home(app, list, wish).await,
        "new.atom" | "atom.xml" => return feed::newest(app, list).await,
        "description" => {
            return Ok(file(
                "text/plain; charset=utf-8",
                None,
                format!("{}\n", list.description),
            ));
        }
        "_/text/help/" => return Ok(file("text/plain; charset=utf-8", None, list::SEARCH_HELP)),
        "patches" => {
            return Err(Problem::Moved(
                StatusCode::MOVED_PERMANENTLY,
                format!("/{}/patches/", list.name),
            ));
        }
        "patches/" => return patches::index(app, list, wish).await,
        _ => {}
    }
    if let Some(rest) = rest.strip_prefix("patches/") {
        return patches::one(app, list, rest).await;
    }
    let decode = |t: &str| MessageId::parse(&percent_decode_str(t).decode_utf8_lossy());
    for (ending, what) in message::ENDINGS {
        if let Some(id) = rest.strip_suffix(ending).and_then(decode) {
            return message::show(app, list, id, what).await;
        }
    }
    if let Some((id, name)) = rest.rsplit_once('/')
        && let Some((number, _)) = name.split_once('-')
        && let (Some(id), Ok(number)) = (decode(id), number.parse())
    {
        return message::attachment(app, list, id, number).await;
    }
    match decode(rest) {
        Some(_) => Err(Problem::Moved(
            StatusCode::MOVED_PERMANENTLY,
            format!("{}/{}/{rest}/", app.base_url, list.name),
        )),
        None => Err(Problem::Missing(
            "There is no such page.".to_owned(),
            vec![],
        )),
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
    if parts.status == StatusCode::OK && small {
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
    if head {
        body = Body::empty();
    }
    Response::from_parts(parts, body)
}
