//! Rendered pages by what they were made from, the least recently asked for dropped first, bounded in bytes.
//!
//! A key names the versions of all that a page shows, so that nothing is ever stale and nothing needs to be thrown out by hand.

use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;

use super::page::{etag, has};
use crate::types::Timestamp;

/// Pages kept, in bytes: some hundred threads.
const LIMIT: usize = 48 << 20;
/// What an entry costs beside its body.
const OVERHEAD: usize = 512;

/// A rendered page, in the encodings that were asked for so far.
pub struct Page {
    body: Bytes,
    etag: String,
    modified: Option<Timestamp>,
    gzip: OnceLock<Bytes>,
    zstd: OnceLock<Bytes>,
}

impl Page {
    /// Keeps a page; `modified` is the arrival of the newest mail on it.
    pub fn new(text: String, modified: Option<Timestamp>) -> Page {
        Page {
            etag: etag(text.as_bytes()),
            body: text.into(),
            modified,
            gzip: OnceLock::new(),
            zstd: OnceLock::new(),
        }
    }

    /// The page in an encoding that the client takes, or 304 if the client has it.
    pub fn answer(&self, asked: &HeaderMap) -> Response {
        let (encoding, body) = match has(asked, &self.etag) {
            true => ("", Bytes::new()),
            false => self.encoded(asked),
        };
        let mut response = Response::new(Body::from(body));
        if has(asked, &self.etag) {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        }
        let modified = self.modified.map(Timestamp::http_date);
        let fields = [
            (header::CONTENT_TYPE, "text/html; charset=utf-8"),
            (header::ETAG, &self.etag),
            (header::CACHE_CONTROL, "no-cache"),
            (header::VARY, "Accept-Encoding, Cookie"),
            (header::CONTENT_ENCODING, encoding),
            (
                header::LAST_MODIFIED,
                modified.as_deref().unwrap_or_default(),
            ),
        ];
        for (name, value) in fields.into_iter().filter(|f| !f.1.is_empty()) {
            let value = HeaderValue::from_str(value).expect("tags, dates and names are ASCII");
            response.headers_mut().insert(name, value);
        }
        response
    }

    fn encoded(&self, asked: &HeaderMap) -> (&'static str, Bytes) {
        let accepted = asked
            .get(header::ACCEPT_ENCODING)
            .and_then(|v| v.to_str().ok());
        let takes = |name: &str| {
            let mut parts = accepted.unwrap_or_default().split(',').map(str::trim);
            parts.any(|p| p.split(';').next() == Some(name) && !p.ends_with("q=0"))
        };
        // A vector takes all that is written: packing cannot fail, and if it did the plain body serves.
        if takes("zstd") {
            let pack =
                || zstd::bulk::compress(&self.body, 6).map_or_else(|_| Bytes::new(), Bytes::from);
            let packed = self.zstd.get_or_init(pack);
            if !packed.is_empty() {
                return ("zstd", packed.clone());
            }
        }
        if takes("gzip") {
            let pack = || {
                let mut out =
                    flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
                out.write_all(&self.body)
                    .and_then(|()| out.finish())
                    .map_or_else(|_| Bytes::new(), Bytes::from)
            };
            let packed = self.gzip.get_or_init(pack);
            if !packed.is_empty() {
                return ("gzip", packed.clone());
            }
        }
        ("", self.body.clone())
    }
}

/// The pages that are kept.
#[derive(Default)]
pub struct Cache {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    pages: HashMap<String, (u64, Arc<Page>)>,
    order: BTreeMap<u64, String>,
    clock: u64,
    bytes: usize,
}

impl Cache {
    /// The page of that key.
    pub fn find(&self, key: &str) -> Option<Arc<Page>> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let inner = &mut *inner;
        let (used, page) = inner.pages.get_mut(key)?;
        inner.clock += 1;
        if let Some(name) = inner.order.remove(used) {
            inner.order.insert(inner.clock, name);
        }
        *used = inner.clock;
        Some(Arc::clone(page))
    }

    /// Keeps a page, unless it alone would take an eighth of the room.
    pub fn insert(&self, key: String, page: Arc<Page>) {
        let size = cost(&key, &page);
        if size > LIMIT / 8 {
            return;
        }
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.remove(&key);
        inner.clock += 1;
        let clock = inner.clock;
        inner.order.insert(clock, key.clone());
        inner.pages.insert(key, (clock, page));
        inner.bytes += size;
        while inner.bytes > LIMIT {
            let Some((_, oldest)) = inner.order.first_key_value() else {
                return;
            };
            let oldest = oldest.clone();
            inner.remove(&oldest);
        }
    }
}

impl Inner {
    fn remove(&mut self, key: &str) {
        if let Some((used, page)) = self.pages.remove(key) {
            self.order.remove(&used);
            self.bytes -= cost(key, &page);
        }
    }
}

/// Body, and room for its packed forms: text packs to less than a third.
fn cost(key: &str, page: &Page) -> usize {
    page.body.len() / 2 * 3 + 2 * key.len() + OVERHEAD
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(size: usize) -> Arc<Page> {
        Arc::new(Page::new("x".repeat(size), None))
    }

    #[test]
    fn what_was_not_asked_for_longest_goes_first_and_the_sum_stays_bounded() {
        let cache = Cache::default();
        for n in 0..20 {
            cache.insert(n.to_string(), page(3 << 20));
            assert!(cache.find("0").is_some(), "asked for all the time");
        }
        assert!(cache.find("1").is_none());
        assert!(cache.find("19").is_some());
        assert!(cache.inner.lock().expect("sound").bytes <= LIMIT);
    }

    #[test]
    fn the_same_key_twice_counts_once_and_a_giant_is_not_kept() {
        let cache = Cache::default();
        cache.insert("a".to_owned(), page(100));
        let before = cache.inner.lock().expect("sound").bytes;
        cache.insert("a".to_owned(), page(100));
        assert_eq!(cache.inner.lock().expect("sound").bytes, before);
        cache.insert("b".to_owned(), page(20 << 20));
        assert!(cache.find("b").is_none());
    }

    #[test]
    fn a_client_gets_the_encoding_it_takes_and_304_for_what_it_has() {
        let page = page(5000);
        let ask = |name: header::HeaderName, value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_str(value).expect("a value"));
            page.answer(&headers)
        };
        let encoding = |r: &Response| {
            r.headers()
                .get(header::CONTENT_ENCODING)
                .map(|v| v.to_str().expect("ASCII").to_owned())
        };
        assert_eq!(
            encoding(&ask(header::ACCEPT_ENCODING, "gzip, zstd")).as_deref(),
            Some("zstd")
        );
        assert_eq!(
            encoding(&ask(header::ACCEPT_ENCODING, "gzip;q=1.0, zstd;q=0")).as_deref(),
            Some("gzip")
        );
        assert_eq!(encoding(&ask(header::ACCEPT_ENCODING, "br")), None);
        assert_eq!(
            ask(header::IF_NONE_MATCH, &page.etag).status(),
            StatusCode::NOT_MODIFIED
        );
        assert_eq!(
            ask(header::IF_NONE_MATCH, "\"other\"").status(),
            StatusCode::OK
        );
    }
}
