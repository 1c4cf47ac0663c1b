//! Under which names a mail can be found by others that may belong to its patchset.

use super::assemble::Input;
use super::loose::{FAR, own_version};

/// The same title, or b4's slug, counts as a new version for this long, in seconds.
pub(super) const SAME_TITLE: i64 = 180 * 24 * 3600;
/// Longest key, in bytes.
const MAX_KEY: usize = 500;

/// Keys such that any two mails which a rule may connect outside their threads share one.
///
/// `assemble` over the closure of threads and these keys gives what `assemble` over the whole archive gives. Times are
/// cut into spans; a mail stands in its own and the next, so that neighbours meet and years do not.
pub fn link_keys(input: &Input) -> Vec<String> {
    let r = &input.recognised;
    let mut keys = Vec::new();
    // The same signature on another mail is a copy of this one, wherever it was put.
    let proofs = input.standing.proofs.iter();
    keys.extend(proofs.map(|proof| format!("d:{proof}")));
    if !r.kind.is_tracked() {
        return keys;
    }
    let who = &r.submitter;
    let spans = |length: i64| {
        let span = input.arrived.secs().div_euclid(length);
        [span, span.saturating_add(1)]
    };
    keys.push(format!("m:{}", input.message_id));
    keys.extend(r.supersedes.iter().map(|id| format!("m:{id}")));
    keys.extend(r.change_id.iter().map(|id| format!("c:{id}")));
    if let Some(stem) = &r.stem {
        keys.push(format!("s:{who}:{}", stem.sending));
        if stem.version.is_some() {
            let slug = |span| format!("b:{who}:{span}:{}", stem.stem);
            keys.extend(spans(SAME_TITLE).map(slug));
        }
    }
    if r.tag.number.unwrap_or(1) <= 1 && !r.normal_title.is_empty() {
        let title = |span| format!("t:{who}:{span}:{}", r.normal_title);
        keys.extend(spans(SAME_TITLE).map(title));
    }
    if let Some(total) = r.tag.total {
        let version = own_version(r.tag.version);
        let shape = |span| format!("u:{who}:{version}:{total}:{span}");
        keys.extend(spans(FAR).map(shape));
    }
    for key in &mut keys {
        key.truncate(key.floor_char_boundary(MAX_KEY));
    }
    keys.sort();
    keys.dedup();
    keys
}
