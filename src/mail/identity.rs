//! What makes two copies the same mail, whatever way they came.

use sha2::{Digest, Sha256};

use super::header;
use crate::types::Identity;

/// Fields that count; trace fields and signatures differ from copy to copy and do not.
const FIELDS: [&str; 6] = [
    "Message-ID",
    "From",
    "Subject",
    "Date",
    "In-Reply-To",
    "References",
];

/// Hash of Message-ID, From, Subject, Date, In-Reply-To, References (unfolded) and the body with line ends normalised.
///
/// Works on bytes as they are: nothing is decoded, so that no decoder's change ever splits a mail in two.
pub fn identity(bytes: &[u8]) -> Identity {
    let (head, body) = header::split(bytes);
    let mut hash = Sha256::new();
    for name in FIELDS {
        for field in header::fields(head).filter(|f| f.is(name)) {
            let value = field.unfolded();
            hash.update(name.as_bytes());
            hash.update((value.len() as u64).to_be_bytes());
            hash.update(&value);
        }
    }
    let mut lines: Vec<u8> = Vec::with_capacity(body.len());
    let mut from = 0;
    for at in memchr::memchr_iter(b'\n', body) {
        let end = if at > from && body[at - 1] == b'\r' {
            at - 1
        } else {
            at
        };
        lines.extend_from_slice(&body[from..end]);
        lines.push(b'\n');
        from = at + 1;
    }
    lines.extend_from_slice(&body[from..]);
    // Gateways add or drop blank lines at the very end.
    while lines.last() == Some(&b'\n') {
        lines.pop();
    }
    hash.update(b"body");
    hash.update(&lines);
    Identity(hash.finalize().into())
}
