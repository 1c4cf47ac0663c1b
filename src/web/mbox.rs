//! Mails as bytes: mboxrd, plain or packed, streamed so that a large archive needs little memory.

use std::collections::{HashMap, HashSet};
use std::io::Write;

use axum::body::Body;
use axum::response::Response;
use tokio::io::AsyncWriteExt;
use tokio_util::io::ReaderStream;

use super::limits::Turn;
use super::page::{file, file_name};
use super::routes::App;
use crate::mail::mbox;
use crate::patchset::FoldOptions;
use crate::store::{AckedSeries, Store, StoreError};
use crate::types::MailId;

/// Mails read at once.
const CHUNK: usize = 16;

/// How the mbox is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// As it is.
    Plain,
    /// A gzip stream as the file itself, not as an encoding of the transfer: b4 unpacks it on its own.
    Gzip,
}

/// These mails as one mboxrd: each Message-ID once, the first given, as b4 takes the first of a name.
pub fn download(
    app: &App,
    mails: Vec<(MailId, String)>,
    name: &str,
    packing: Packing,
    turn: Option<Turn>,
) -> Response {
    let mut seen = HashSet::new();
    let mails: Vec<MailId> = mails
        .into_iter()
        .filter(|(_, id)| seen.insert(id.clone()))
        .map(|(mail, _)| mail)
        .collect();
    stream(app, mails, name, packing, turn)
}

/// The patches of a version for `git am`, trailers folded in.
pub fn patches(
    app: &App,
    series: AckedSeries,
    name: &str,
    packing: Packing,
    turn: Option<Turn>,
) -> Response {
    let mails = series.patches.iter().map(|p| p.mail).collect();
    let options = FoldOptions::default();
    let render = move |mail: MailId, bytes: &[u8]| {
        let patch = series.patches.iter().find(|p| p.mail == mail);
        patch.map_or(Vec::new(), |p| series.render(p, bytes, &options))
    };
    pack(app, mails, render, name, packing, turn)
}

/// These mails as one mboxrd, all of them.
fn stream(
    app: &App,
    mails: Vec<MailId>,
    name: &str,
    packing: Packing,
    turn: Option<Turn>,
) -> Response {
    let render = |_, bytes: &[u8]| {
        let mut out = Vec::new();
        mbox::write(&mut out, bytes).expect("a vector takes all");
        out
    };
    pack(app, mails, render, name, packing, turn)
}

fn pack(
    app: &App,
    mails: Vec<MailId>,
    render: impl Fn(MailId, &[u8]) -> Vec<u8> + Send + Sync + 'static,
    name: &str,
    packing: Packing,
    turn: Option<Turn>,
) -> Response {
    let (reader, writer) = tokio::io::duplex(128 << 10);
    let store = app.store.clone();
    tokio::spawn(async move {
        // The answer has begun: all that can be done is to end it early, which clients notice by the gzip's end.
        if let Err(error) = pour(&store, &mails, render, writer, packing).await {
            tracing::warn!(%error, "an mbox was not sent to its end");
        }
        drop(turn);
    });
    let (kind, extension) = match packing {
        Packing::Plain => ("text/plain; charset=utf-8", "mbox"),
        Packing::Gzip => ("application/gzip", "mbox.gz"),
    };
    let body = Body::from_stream(ReaderStream::with_capacity(reader, 32 << 10));
    file(kind, Some(file_name(name, extension)), body)
}

#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The reader went away, most often.
    #[error("the connection ended")]
    Reader(#[from] std::io::Error),
}

async fn pour(
    store: &Store,
    mails: &[MailId],
    render: impl Fn(MailId, &[u8]) -> Vec<u8>,
    mut out: tokio::io::DuplexStream,
    packing: Packing,
) -> Result<(), Broken> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    for chunk in mails.chunks(CHUNK) {
        let bytes = store.load_bytes_of(chunk).await?;
        let bytes: HashMap<MailId, Vec<u8>> = bytes.into_iter().map(|(m, b, _)| (m, b)).collect();
        let mut plain = Vec::new();
        for (mail, bytes) in chunk.iter().filter_map(|m| bytes.get_key_value(m)) {
            plain.extend(render(*mail, bytes));
        }
        if packing == Packing::Gzip {
            gzip.write_all(&plain)?;
            plain = std::mem::take(gzip.get_mut());
        }
        out.write_all(&plain).await?;
    }
    if packing == Packing::Gzip {
        out.write_all(&gzip.finish()?).await?;
    }
    Ok(out.shutdown().await?)
}
