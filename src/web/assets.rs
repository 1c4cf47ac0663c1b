//! Style, script and icon, which are in the binary.

use std::sync::LazyLock;

use axum::http::{HeaderValue, header};
use axum::response::Response;
use sha2::Digest;

use super::page::file;

const STYLE: &str = include_str!("../../templates/assets/style.css");
const SCRIPT: &str = include_str!("../../templates/assets/app.js");
const ICON: &str = include_str!("../../templates/assets/icon.svg");

/// A word that changes whenever style or script do: pages name it, so that browsers may keep both for ever.
pub fn version() -> &'static str {
    static VERSION: LazyLock<String> = LazyLock::new(|| {
        let hash = sha2::Sha256::new_with_prefix(STYLE).chain_update(SCRIPT);
        data_encoding::HEXLOWER.encode(&hash.finalize()[..6])
    });
    &VERSION
}

/// The asset of that path.
pub fn find(path: &str, versioned: bool) -> Option<Response> {
    let mut response = match path {
        "/-/style.css" => file("text/css; charset=utf-8", None, STYLE),
        "/-/app.js" => file("text/javascript; charset=utf-8", None, SCRIPT),
        "/-/icon.svg" | "/favicon.ico" => file("image/svg+xml", None, ICON),
        _ => return None,
    };
    if versioned {
        let ever = HeaderValue::from_static("public, max-age=31536000, immutable");
        response.headers_mut().insert(header::CACHE_CONTROL, ever);
    }
    Some(response)
}
