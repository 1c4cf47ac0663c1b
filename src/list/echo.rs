//! A mail of all the shapes that relays are tempted to touch, and what became of it on its way through one.
//!
//! Pure. `patchpost doctor --probe` sends it and gets it back; what was changed says which promise does not hold behind that relay.

use std::collections::BTreeMap;

use super::dkim;
use super::header::list_id;
use crate::mail::header::{self, RawField};
use crate::types::Timestamp;

/// What a probe is made of.
#[derive(Debug, Clone, Copy)]
pub struct Probe<'a> {
    /// The list in whose name it goes.
    pub list: &'a str,
    /// Whom it is for.
    pub to: &'a str,
    /// By which it is known again.
    pub token: &'a str,
    /// When it is sent.
    pub now: Timestamp,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// What it is.
    pub what: &'static str,
    /// What became of it; `Err` if it was changed.
    pub found: Result<String, String>,
    /// What does not hold then.
    pub void: &'static str,
}

/// A mail as it was sent or came.
#[derive(Debug, Clone, Copy)]
pub struct Carried<'a> {
    /// Envelope sender.
    pub sender: &'a str,
    /// The bytes with CRLF.
    pub bytes: &'a [u8],
}

/// The word before the token in the subject: a mail that a forwarder brought back is known by it.
pub const MARK: &str = "echo-";

/// The probe, with CRLF and without our signatures.
pub fn render(probe: &Probe<'_>) -> Vec<u8> {
    let Probe {
        list,
        to,
        token,
        now,
    } = probe;
    let (local, domain) = list.split_once('@').unwrap_or((list, "localhost"));
    let text = format!(
        "List-Id: Probe <{id}>\n\
         List-Unsubscribe: <mailto:{local}+unsubscribe@{domain}>\n\
         Precedence: list\n\
         From: \"An author, perhaps\" <{list}>\n\
         To: <{to}>\n\
         Cc: Ana  Lima  <{list}>,\n\t\"O'Neill, Pat\" <{list}>\n\
         Subject: [PATCH] =?utf-8?q?sent_to_see_what_a_relay_changes=3A?=\n {MARK}{token}\n\
         Date: {date}\n\
         Message-ID: <{MARK}{token}@{domain}>\n\
         MIME-Version: 1.0\n\
         Content-Type: text/plain; charset=utf-8\n\
         Content-Transfer-Encoding: 8bit\n\
         X-Patchpost-Blanks:   two   blanks \t \n\
         X-Patchpost-Long: {long}\n\n{BODY}",
        id = list_id(list),
        date = now.rfc5322(),
        long = "word ".repeat(180),
    );
    let text = text.replace("LONG", &"x".repeat(1_500));
    header::to_crlf(text.as_bytes())
}

/// Everything that a relay has been seen to touch in a patch.
const BODY: &str = "patchpost doctor --probe sent this mail; whoever finds it may delete it.\n\
\n\
From the start of a line, Zażółć gęślą jaźń, https://example.org/?q=a&b=c\n\
.\n\
..\n\
---\n\
diff --git a/f.c b/f.c\n\
--- a/f.c\n\
+++ b/f.c\n\
@@ -1,2 +1,3 @@\n\
-int  a;\t\n\
+int  b;   \n\
+LONG\n \
context  \n\
-- \n\
2.43.0\n\
\n\
\n";

/// The token of a probe that came back, by its subject.
pub fn token_of(subject: &str) -> Option<&str> {
    let (_, rest) = subject.rsplit_once(MARK)?;
    let end = rest.find(|c: char| !c.is_ascii_alphanumeric());
    Some(&rest[..end.unwrap_or(rest.len())]).filter(|token| !token.is_empty())
}

/// Fields that stand above a mail after any journey, and say nothing of its author.
const TRACE: [&str; 12] = [
    "received",
    "return-path",
    "delivered-to",
    "x-original-to",
    "dkim-signature",
    "authentication-results",
    "received-spf",
    "arc-seal",
    "arc-message-signature",
    "arc-authentication-results",
    "x-google-dkim-signature",
    "x-gm-message-state",
];
/// Fields whose presence changes what a mail means, or breaks the signature of an author who signed that they are absent.
const WEIGHTY: [&str; 8] = [
    "sender",
    "reply-to",
    "resent-from",
    "errors-to",
    "list-post",
    "list-help",
    "disposition-notification-to",
    "bcc",
];

/// What became of a probe.
pub fn compare(sent: Carried<'_>, came: Carried<'_>) -> Vec<Seen> {
    let came_bytes = header::to_crlf(&header::to_lf(came.bytes).0);
    let (head, body) = header::split(&came_bytes);
    let (sent_head, sent_body) = header::split(sent.bytes);
    let mut seen = vec![return_path(sent.sender, came.sender)];
    seen.extend(fields(sent_head, head));
    seen.push(Seen {
        what: "body",
        found: compare_bodies(sent_body, body, encoding(head)),
        void: "git am and the archive see another text than the author sent",
    });
    seen.extend(signatures(sent.bytes, &came_bytes));
    seen
}

fn return_path(sent: &str, came: &str) -> Seen {
    let found = match sent.eq_ignore_ascii_case(came) {
        true => Ok("came through".to_owned()),
        false => Err(format!("it was {sent} and is {}", or_null(came))),
    };
    Seen {
        what: "return path",
        found,
        void: "bounces do not come back to the list: members that are gone are not noticed",
    }
}

fn or_null(sender: &str) -> &str {
    if sender.is_empty() {
        "the null sender"
    } else {
        sender
    }
}

type ByName<'a> = BTreeMap<String, Vec<RawField<'a>>>;

fn by_name(head: &[u8]) -> ByName<'_> {
    let mut found = ByName::new();
    for field in header::fields(head) {
        let name = String::from_utf8_lossy(field.name).to_ascii_lowercase();
        found.entry(name).or_default().push(field);
    }
    found
}

/// The fields that promises hang on, one by one; then all others together.
fn fields(sent: &[u8], came: &[u8]) -> Vec<Seen> {
    let (sent, came) = (by_name(sent), by_name(came));
    let one = |what: &'static str, void| Seen {
        what,
        found: compare_field(&sent, &came, &what.to_ascii_lowercase()),
        void,
    };
    let mut seen = vec![
        one(
            "Message-ID",
            "replies name an id that the archive has never seen: threads fall apart",
        ),
        one(
            "Date",
            "the date of commits, and the author's signature, which covers it as a rule",
        ),
        one(
            "From",
            "git am credits somebody else, and the author's signature is broken",
        ),
        one(
            "Subject",
            "series are not recognised by their subjects, and signatures are broken",
        ),
    ];
    let known: Vec<String> = seen.iter().map(|s| s.what.to_ascii_lowercase()).collect();
    let rest = sent
        .keys()
        .filter(|n| !known.contains(n) && !TRACE.contains(&n.as_str()));
    let problems: Vec<String> = rest
        .filter_map(|name| {
            let why = compare_field(&sent, &came, name).err()?;
            Some(format!("{name} {why}"))
        })
        .collect();
    let is_new = |name: &&String| !sent.contains_key(*name);
    let added = came
        .keys()
        .filter(is_new)
        .filter(|n| !TRACE.contains(&n.as_str()));
    let (weighty, light): (Vec<&str>, Vec<&str>) = added
        .map(String::as_str)
        .partition(|name| WEIGHTY.contains(name));
    seen.push(Seen {
        what: "other fields",
        found: match problems.is_empty() {
            true => Ok("came through".to_owned()),
            false => Err(problems.join("; ")),
        },
        void: "signatures that cover them, and readers who go by them",
    });
    seen.push(Seen {
        what: "added fields",
        found: match (weighty.is_empty(), light.is_empty()) {
            (false, _) => Err(weighty.join(", ")),
            (true, true) => Ok("traces of the way only".to_owned()),
            (true, false) => Ok(format!("harmless ones only: {}", light.join(", "))),
        },
        void: "signatures of authors who signed that there are none, and where replies go",
    });
    seen
}

fn compare_field(sent: &ByName<'_>, came: &ByName<'_>, name: &str) -> Result<String, String> {
    let Some(own) = sent.get(name).and_then(|all| all.first()) else {
        return Ok("none was sent".to_owned());
    };
    let Some(found) = came.get(name) else {
        return Err("was taken away".to_owned());
    };
    if found.iter().any(|f| f.whole == own.whole) {
        return match found.len() {
            1 => Ok("came through".to_owned()),
            _ => Err("stands there twice".to_owned()),
        };
    }
    let relaxed = dkim::relaxed_field(own);
    if found.iter().any(|f| dkim::relaxed_field(f) == relaxed) {
        return Err("was folded or spaced anew".to_owned());
    }
    let shown = |f: &RawField<'_>| {
        let text = f.unfolded();
        let text = String::from_utf8_lossy(&text);
        super::notice::one_line(text.trim(), 80)
    };
    let now = found.first().map(shown).unwrap_or_default();
    Err(format!("was {} and is {now}", shown(own)))
}

/// The transfer encoding of a mail, in lower case.
fn encoding(head: &[u8]) -> String {
    let field = header::fields(head).find(|f| f.is("Content-Transfer-Encoding"));
    let value = field.map(|f| f.unfolded()).unwrap_or_default();
    String::from_utf8_lossy(&value).trim().to_ascii_lowercase()
}

/// What became of a body, both with CRLF.
fn compare_bodies(sent: &[u8], came: &[u8], encoding: String) -> Result<String, String> {
    if sent == came {
        return Ok("came through, every byte".to_owned());
    }
    let decoded = match encoding.as_str() {
        "base64" | "quoted-printable" => {
            let head = format!(
                "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n"
            );
            let whole = [head.as_bytes(), came].concat();
            let text = crate::mail::parse(&header::to_lf(&whole).0).text;
            Some(header::to_crlf(text.as_bytes()))
        }
        _ => None,
    };
    let text = decoded.as_deref().unwrap_or(came);
    let prefix = match &decoded {
        Some(_) => format!("it was turned into {encoding}"),
        None => String::new(),
    };
    if trimmed(text) == trimmed(sent) && decoded.is_some() {
        return Err(prefix);
    }
    let why = describe(sent, text);
    Err(match prefix.is_empty() {
        true => why,
        false => format!("{prefix}, and {why}"),
    })
}

/// In words how one text differs from the other.
fn describe(sent: &[u8], came: &[u8]) -> String {
    if dkim::relaxed_body(sent) == dkim::relaxed_body(came) {
        return "blanks or empty lines at the ends were changed".to_owned();
    }
    let joined = |text: &[u8]| -> Vec<u8> {
        let plain = text
            .iter()
            .filter(|b| !matches!(b, b'\r' | b'\n' | b' ' | b'\t'));
        plain.copied().collect()
    };
    if joined(sent) == joined(came) {
        return "lines were folded anew".to_owned();
    }
    if came.starts_with(trimmed(sent)) {
        let added = String::from_utf8_lossy(&came[trimmed(sent).len()..]).into_owned();
        let added = super::notice::one_line(added.trim(), 80);
        return format!("text was added at its end: {added}");
    }
    let (sent, came) = (String::from_utf8_lossy(sent), String::from_utf8_lossy(came));
    let mut lines = sent.lines().zip(came.lines()).enumerate();
    match lines.find(|(_, (own, now))| own != now) {
        Some((n, (own, now))) => format!(
            "line {} was {:?} and is {:?}",
            n + 1,
            super::notice::one_line(own, 60),
            super::notice::one_line(now, 60)
        ),
        None => "its end was cut off".to_owned(),
    }
}

fn trimmed(text: &[u8]) -> &[u8] {
    text.trim_ascii_end()
}

/// What authors' mail servers sign as a rule.
const USUAL: &str =
    "from:to:cc:subject:date:message-id:mime-version:content-type:content-transfer-encoding";

/// Whether what signatures cover is still the same.
fn signatures(sent: &[u8], came: &[u8]) -> Vec<Seen> {
    let said = |holds: bool| match holds {
        true => Ok("holds".to_owned()),
        false => Err("is broken".to_owned()),
    };
    let usual = |form: &str| {
        let tags = format!("DKIM-Signature: v=1; c={form}/{form}; h={USUAL}; b=\r\n");
        said(dkim::covers_the_same(tags.as_bytes(), sent, came))
    };
    let mut seen = vec![
        Seen {
            what: "an author's signature, relaxed",
            found: usual("relaxed"),
            void: "authors' signatures: their mail fails DMARC where their domain asks for it",
        },
        Seen {
            what: "an author's signature, simple",
            found: usual("simple"),
            void: "signatures of authors whose mail servers sign in simple form",
        },
    ];
    let own = header::fields(header::split(sent).0).filter(|f| f.is("DKIM-Signature"));
    let own: Vec<bool> = own.map(|f| dkim::survives(f.whole, sent, came)).collect();
    seen.push(Seen {
        what: "our signature",
        found: match own.is_empty() {
            true => Ok("there is none: the list's domain has no key".to_owned()),
            false => said(own.iter().all(|holds| *holds)),
        },
        void: "copies pass DMARC by their authors' signatures only",
    });
    seen
}

#[cfg(test)]
#[path = "echo_tests.rs"]
mod tests;
