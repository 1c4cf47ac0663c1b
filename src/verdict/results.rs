//! `Authentication-Results` (RFC 8601) of the mail server in front.

use crate::mail::Message;

/// Whether the topmost Authentication-Results field is that of `id` and says that DMARC passed for `from`.
///
/// Fields further down may be anybody's and are not read: the server in front puts its own on top.
pub fn trusted_results(message: &Message, id: &str, from: &str) -> bool {
    let Some(value) = message.header("Authentication-Results") else {
        return false;
    };
    let plain = without_comments(value);
    let mut pieces = plain.split(';');
    // RFC 8601 section 2.2: the id may be followed by a version.
    let server = pieces.next().and_then(|p| p.split_whitespace().next());
    if id.is_empty() || !server.is_some_and(|s| s.eq_ignore_ascii_case(id)) {
        return false;
    }
    pieces.any(|piece| {
        let mut words = piece.split_whitespace();
        let passed = words
            .next()
            .is_some_and(|w| w.eq_ignore_ascii_case("dmarc=pass"));
        let mut named = words.filter_map(|w| w.split_once('='));
        passed
            && named.any(|(name, domain)| {
                name.eq_ignore_ascii_case("header.from")
                    && domain.trim_matches('"').eq_ignore_ascii_case(from)
            })
    })
}

/// The value without what stands in brackets; quoted text stays.
fn without_comments(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    let (mut depth, mut quoted, mut escaped) = (0u32, false, false);
    for c in value.chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted || depth > 0 => {
                escaped = true;
                continue;
            }
            '"' if depth == 0 => quoted = !quoted,
            '(' if !quoted => {
                depth = depth.saturating_add(1);
                continue;
            }
            ')' if !quoted && depth > 0 => {
                depth -= 1;
                continue;
            }
            _ => {}
        }
        // A separator in a quoted text separates nothing.
        let shown = if quoted && c == ';' { ',' } else { c };
        out.extend((depth == 0).then_some(shown));
    }
    out
}
