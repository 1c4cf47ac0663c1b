//! `/<repo>.git` and `/<repo>.patches.git`: cloning and fetching, read only (git's http-protocol document).

use std::io::Read;

use askama::Template;
use axum::body::Body;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use tokio_util::io::ReaderStream;

use super::limits::{Dear, Turn};
use super::page::{Answer, Frame, Problem, file, html};
use super::routes::{App, Wish};
use crate::pipeline::{Service, UploadPack};
use crate::types::RepoName;

/// An inflated negotiation is never larger than this.
const MAX_REQUEST: u64 = 32 << 20;

/// What git says to who pushes.
const READ_ONLY: &str = "This repository is read only; patches are sent by mail.\n";

/// Answers for one repository.
pub async fn serve(app: &App, first: &str, rest: &str, wish: Wish) -> Answer {
    let missing = || Problem::Missing(format!("There is no repository {first} here."), vec![]);
    let name = first.strip_suffix(".git").unwrap_or(first);
    let (name, companion) = name
        .strip_suffix(".patches")
        .map_or((name, false), |n| (n, true));
    let name: RepoName = name.parse().map_err(|_| missing())?;
    if !app
        .store
        .load_public_repos()
        .await?
        .iter()
        .any(|r| r == name.as_str())
    {
        return Err(missing());
    }
    let dir = if companion {
        app.repos.companion_dir(name.as_str())
    } else {
        app.repos.clone_dir(name.as_str())
    };
    let service = match (rest, wish.post) {
        ("info/refs", false) if wish.get("service") == "git-upload-pack" => Service::Advertise,
        ("git-upload-pack", true) => Service::Rpc,
        ("info/refs", false) if wish.get("service") == "git-receive-pack" => {
            return Ok((StatusCode::FORBIDDEN, READ_ONLY).into_response());
        }
        ("", false) => return Ok(page(app, first, companion, &wish)),
        ("info/refs", false) => {
            return Err(Problem::Bad(
                "Fetch with smart HTTP: any git since 1.6.6 does.".to_owned(),
            ));
        }
        _ => {
            let way = (format!("/{first}"), format!("How to fetch from {first}"));
            let text = "There is no such page of this repository.".to_owned();
            return Err(Problem::Missing(text, vec![way]));
        }
    };
    let body = if wish.gzip {
        inflate(&wish.body)?
    } else {
        wish.body.clone()
    };
    let turn = app.limits.turn(Dear::Fetch, wish.from).await?;
    let started = UploadPack::start(dir, service, wish.protocol.as_deref());
    let mut process = started.map_err(|error| {
        tracing::error!(%error, repo.name = %name, "could not serve a fetch");
        Problem::Bad("git cannot be started just now; try again in a moment".to_owned())
    })?;
    process.feed(body);
    let second = wish
        .protocol
        .as_deref()
        .is_some_and(|p| p.contains("version=2"));
    let preamble: &'static [u8] = if service == Service::Advertise && !second {
        b"001e# service=git-upload-pack\n0000"
    } else {
        b""
    };
    let kind = if service == Service::Advertise {
        "advertisement"
    } else {
        "result"
    };
    let stream = Stream {
        preamble: Some(preamble),
        inner: ReaderStream::with_capacity(ProcessOutput(process, turn), 64 << 10),
    };
    let mut response = file("application/octet-stream", None, Body::from_stream(stream));
    let value = header::HeaderValue::from_str(&format!("application/x-git-upload-pack-{kind}"));
    if let Ok(value) = value {
        response.headers_mut().insert(header::CONTENT_TYPE, value);
    }
    let never = header::HeaderValue::from_static("no-cache, max-age=0, must-revalidate");
    response.headers_mut().insert(header::CACHE_CONTROL, never);
    Ok(response)
}

#[derive(Template)]
#[template(path = "repo.html")]
struct RepoPage {
    frame: Frame,
    name: String,
    url: String,
    companion: bool,
}

/// What a browser gets at the address that git clones from.
fn page(app: &App, name: &str, companion: bool, wish: &Wish) -> Response {
    html(&RepoPage {
        frame: wish.frame(app, None, ""),
        name: name.to_owned(),
        url: format!("{}/{name}", app.base_url),
        companion,
    })
}

fn inflate(body: &[u8]) -> Result<bytes::Bytes, Problem> {
    let mut out = Vec::new();
    let read = flate2::read::GzDecoder::new(body)
        .take(MAX_REQUEST)
        .read_to_end(&mut out);
    read.map_err(|_| Problem::Bad("the request's gzip is damaged".to_owned()))?;
    Ok(out.into())
}

/// Output of a process that lives, and keeps its turn, as long as it is read.
struct ProcessOutput(
    UploadPack,
    #[expect(dead_code, reason = "given back when dropped")] Turn,
);

impl tokio::io::AsyncRead for ProcessOutput {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        buf: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::pin::Pin::new(&mut self.0.stdout).poll_read(cx, buf)
    }
}

/// The service line, then what git prints.
struct Stream {
    preamble: Option<&'static [u8]>,
    inner: ReaderStream<ProcessOutput>,
}

impl futures_core::Stream for Stream {
    type Item = std::io::Result<bytes::Bytes>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        match self.preamble.take().filter(|p| !p.is_empty()) {
            Some(preamble) => std::task::Poll::Ready(Some(Ok(bytes::Bytes::from_static(preamble)))),
            None => std::pin::Pin::new(&mut self.inner).poll_next(cx),
        }
    }
}
