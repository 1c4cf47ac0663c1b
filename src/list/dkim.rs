//! DKIM signatures (RFC 6376; Ed25519 by RFC 8463) that we put on copies and letters: what is signed, and how the field and its DNS
//! record are written.
//!
//! Pure: whoever has a key signs the octets that [`Draft::unsigned`] gives. All is relaxed/relaxed, and no `l=`: a part of a body that
//! nobody signed can be replaced. The body is hashed once for all copies of a posting.

use std::collections::HashMap;

use sha2::{Digest, Sha256};

use crate::mail::header::{self, RawField};
use crate::types::Timestamp;

/// Fields that are signed where they stand. Both List-Unsubscribe fields have to be (RFC 8058 section 4).
const SIGNED: [&str; 15] = [
    "from",
    "subject",
    "date",
    "message-id",
    "to",
    "cc",
    "in-reply-to",
    "references",
    "mime-version",
    "content-type",
    "content-transfer-encoding",
    "list-id",
    "list-unsubscribe",
    "list-unsubscribe-post",
    "feedback-id",
];
/// Characters of `b=` and `h=` in a line.
const WIDTH: usize = 70;
/// Octets of one string in a TXT record (RFC 1035 section 3.3).
const MAX_STRING: usize = 255;

/// How a key signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// RSA with PKCS #1 v1.5 and SHA-256.
    Rsa,
    /// Ed25519 over a SHA-256.
    Ed25519,
}

impl Algorithm {
    fn tag(self) -> &'static str {
        match self {
            Algorithm::Rsa => "rsa-sha256",
            Algorithm::Ed25519 => "ed25519-sha256",
        }
    }
}

/// What all copies of one mail share of a signature.
#[derive(Debug, Clone)]
pub struct Draft {
    body_hash: String,
    names: Vec<&'static str>,
    canonical: Vec<u8>,
}

/// A signature field that lacks its signature.
#[derive(Debug, Clone)]
pub struct Unsigned {
    field: String,
    /// What the key signs.
    pub octets: Vec<u8>,
}

impl Draft {
    /// Prepares the signature of a mail with CRLF line ends: `head` is a part of its header block, `rest` begins with the fields that
    /// follow, or with the blank line.
    pub fn new(head: &[u8], rest: &[u8]) -> Draft {
        let whole = [head, rest].concat();
        let (block, body) = header::split(&whole);
        let mut draft = Draft {
            body_hash: data_encoding::BASE64.encode(&Sha256::digest(relaxed_body(body))),
            names: Vec::new(),
            canonical: Vec::new(),
        };
        draft.add(block);
        draft
    }

    /// Adds the signed fields of a header block. Of several fields of a name the last comes first (RFC 6376 section 5.4.2).
    fn add(&mut self, block: &[u8]) {
        let mut by_name: HashMap<&str, Vec<RawField<'_>>> = HashMap::new();
        for field in header::fields(block) {
            if let Some(name) = SIGNED.iter().find(|name| field.is(name)) {
                by_name.entry(name).or_default().push(field);
            }
        }
        for name in SIGNED {
            for field in by_name.remove(name).into_iter().flatten().rev() {
                self.names.push(name);
                self.canonical.extend(relaxed_field(&field));
            }
        }
    }

    /// The signature for one copy, whose own fields (with CRLF) stand above all that is shared.
    ///
    /// From is named once more than it is there, so that nobody can add another one.
    pub fn unsigned(
        &self,
        domain: &str,
        selector: &str,
        algorithm: Algorithm,
        own: &[u8],
        now: Timestamp,
    ) -> Unsigned {
        let mut all = self.clone();
        all.add(own);
        all.names.push("from");
        let field = format!(
            "DKIM-Signature: v=1; a={}; c=relaxed/relaxed; d={domain};\r\n\ts={selector}; t={};\r\n\tbh={};\r\n\th={};\r\n\tb=",
            algorithm.tag(),
            now.secs(),
            all.body_hash,
            folded_names(&all.names),
        );
        let mut octets = all.canonical;
        octets.extend(relaxed("dkim-signature", field_value(&field)));
        // RFC 6376 section 3.7: without the line end.
        octets.truncate(octets.len() - 2);
        if algorithm == Algorithm::Ed25519 {
            octets = Sha256::digest(&octets).to_vec();
        }
        Unsigned { field, octets }
    }
}

impl Unsigned {
    /// The whole field with CRLF.
    pub fn with(self, signature: &[u8]) -> String {
        let mut out = self.field;
        let base64 = data_encoding::BASE64.encode(signature);
        for (at, c) in base64.chars().enumerate() {
            if at > 0 && at % WIDTH == 0 {
                out.push_str("\r\n\t ");
            }
            out.push(c);
        }
        out.push_str("\r\n");
        out
    }
}

fn field_value(field: &str) -> &[u8] {
    field
        .split_once(':')
        .map_or(b"", |(_, value)| value.as_bytes())
}

fn folded_names(names: &[&str]) -> String {
    let mut out = String::new();
    let mut width = 0;
    for (at, name) in names.iter().enumerate() {
        if at > 0 {
            out.push(':');
        }
        if width + name.len() > WIDTH {
            out.push_str("\r\n\t ");
            width = 0;
        }
        out.push_str(name);
        width += name.len() + 1;
    }
    out
}

/// RFC 6376 section 3.4.2: the name in lower case, every run of blanks one blank, none at the ends.
pub fn relaxed_field(field: &RawField<'_>) -> Vec<u8> {
    let name = String::from_utf8_lossy(field.name).to_ascii_lowercase();
    relaxed(&name, field.value)
}

fn relaxed(name: &str, value: &[u8]) -> Vec<u8> {
    let mut out = format!("{name}:").into_bytes();
    let start = out.len();
    let mut blank = false;
    for byte in value {
        match byte {
            b'\r' | b'\n' => {}
            b' ' | b'\t' => blank = true,
            byte => {
                if std::mem::take(&mut blank) && out.len() > start {
                    out.push(b' ');
                }
                out.push(*byte);
            }
        }
    }
    out.extend_from_slice(b"\r\n");
    out
}

/// RFC 6376 section 3.4.4: runs of blanks are one, none at the end of a line, and no empty lines at the end.
pub fn relaxed_body(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len() + 2);
    // Line ends that count only if something follows them.
    let mut empty = 0;
    for line in body.split_inclusive(|b| *b == b'\n') {
        let text = line.strip_suffix(b"\n").unwrap_or(line);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        let start = out.len();
        let mut blank = false;
        for byte in text {
            if matches!(byte, b' ' | b'\t') {
                blank = true;
                continue;
            }
            if out.len() == start {
                out.extend(b"\r\n".repeat(std::mem::take(&mut empty)));
            }
            if std::mem::take(&mut blank) {
                out.push(b' ');
            }
            out.push(*byte);
        }
        match out.len() == start {
            true => empty += 1,
            false => out.extend_from_slice(b"\r\n"),
        }
    }
    out
}

/// RFC 6376 section 3.4.3: as it is, with one line end at the end.
fn simple_body(body: &[u8]) -> Vec<u8> {
    let mut end = body.len();
    while body[..end].ends_with(b"\r\n") {
        end -= 2;
    }
    [&body[..end], b"\r\n"].concat()
}

/// What a signature covers of a mail with CRLF line ends: the fields and the body, canonicalised as it says; `None` when it
/// cannot be read. `signature` is the whole field as it stands in the mail.
///
/// Two mails of which a signature covers the same have the same fate before it, so that no key is needed to know that a
/// verified one still verifies.
fn covered(signature: &RawField<'_>, mail: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let value = signature.unfolded();
    let value = String::from_utf8_lossy(&value);
    let tags = value.split(';').filter_map(|tag| tag.split_once('='));
    let tags: HashMap<&str, &str> = tags.map(|(name, v)| (name.trim(), v.trim())).collect();
    let how = tags.get("c").copied().unwrap_or("simple/simple");
    let (of_head, of_body) = how.split_once('/').unwrap_or((how, "simple"));
    let (block, body) = header::split(mail);
    let mut fields: Vec<RawField<'_>> = header::fields(block).collect();
    let mut out = Vec::new();
    for name in tags.get("h")?.split(':') {
        let at = fields.iter().rposition(|f| f.is(name.trim()));
        let Some(at) = at else { continue };
        let field = fields.remove(at);
        match of_head {
            "relaxed" => out.extend(relaxed_field(&field)),
            _ => out.extend_from_slice(field.whole),
        }
    }
    let mut body = match of_body {
        "relaxed" => relaxed_body(body),
        _ => simple_body(body),
    };
    if let Some(length) = tags.get("l") {
        body.truncate(length.parse().ok()?);
    }
    Some((out, body))
}

/// Whether a signature that held over `before` holds over `after`, both with CRLF line ends; no if it does not stand in both.
pub fn survives(signature: &[u8], before: &[u8], after: &[u8]) -> bool {
    let stands = |mail: &[u8]| {
        let fields = header::fields(header::split(mail).0).map(|f| f.whole == signature);
        fields.filter(|same| *same).count() > 0
    };
    stands(before) && stands(after) && covers_the_same(signature, before, after)
}

/// Whether a signature field, which need not stand in them, covers the same of both mails with CRLF line ends.
pub fn covers_the_same(signature: &[u8], before: &[u8], after: &[u8]) -> bool {
    let Some(field) = header::fields(signature).next() else {
        return false;
    };
    let was = covered(&field, before);
    was.is_some() && was == covered(&field, after)
}

/// The text of a key's TXT record, in strings of at most 255 octets. `public` is the SubjectPublicKeyInfo of an RSA key
/// (RFC 6376 section 3.6.1), or the 32 octets of an Ed25519 key (RFC 8463 section 4).
pub fn record(algorithm: Algorithm, public: &[u8]) -> Vec<String> {
    let kind = match algorithm {
        Algorithm::Rsa => "rsa",
        Algorithm::Ed25519 => "ed25519",
    };
    let text = format!(
        "v=DKIM1; k={kind}; p={}",
        data_encoding::BASE64.encode(public)
    );
    let strings = text.as_bytes().chunks(MAX_STRING);
    strings
        .map(|s| String::from_utf8_lossy(s).into_owned())
        .collect()
}

#[cfg(test)]
mod tests;
