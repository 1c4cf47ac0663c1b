//! The header block that a copy gets on top; everything below it stays as it arrived.

use crate::mail::header::{self, RawField};

/// What the block is made of.
#[derive(Debug, Clone)]
pub struct CopyHead<'a> {
    /// Posting address.
    pub address: &'a str,
    /// One line on what the list is; may be empty.
    pub description: &'a str,
    /// The list's page, with a slash at its end.
    pub page: &'a str,
    /// The posting's page.
    pub permalink: &'a str,
}

/// `dev.lists.example.org` for `dev@lists.example.org` (RFC 2919).
pub fn list_id(address: &str) -> String {
    address.replacen('@', ".", 1)
}

/// The generated fields with CRLF line ends, in a fixed order.
pub fn render(head: &CopyHead<'_>) -> Vec<u8> {
    let (local, domain) = head.address.split_once('@').unwrap_or((head.address, ""));
    let id = list_id(head.address);
    let name = phrase(head.description);
    let mailto = |word: &str| format!("<mailto:{local}+{word}@{domain}>");
    let fields = [
        (
            "List-Id",
            if name.is_empty() {
                format!("<{id}>")
            } else {
                format!("{name} <{id}>")
            },
        ),
        ("List-Post", format!("<mailto:{}>", head.address)),
        ("List-Help", mailto("help")),
        ("List-Subscribe", mailto("subscribe")),
        ("List-Unsubscribe", mailto("unsubscribe")),
        ("List-Owner", mailto("owner")),
        ("List-Archive", format!("<{}>", head.page)),
        ("Archived-At", format!("<{}>", head.permalink)),
        ("Precedence", "list".to_owned()),
        ("X-Mailing-List", head.address.to_owned()),
    ];
    let mut out = String::new();
    for (name, value) in fields {
        // A value comes from settings and addresses: no control character can make a second field of it.
        let value: String = value.chars().filter(|c| !c.is_control()).collect();
        out.push_str(&format!("{name}: {value}\r\n"));
    }
    out.into_bytes()
}

/// A display name: plain where it can be, quoted or encoded where it must (RFC 5322 section 3.2.5, RFC 2047).
fn phrase(text: &str) -> String {
    let text: String = text.chars().filter(|c| !c.is_control()).take(100).collect();
    if text.is_ascii() {
        let safe = text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || " !#$%&'*+-/=?^_`{|}~".contains(c));
        return if safe {
            text
        } else {
            format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
        };
    }
    // Encoded words hold at most 75 characters: 30 octets of text make 40 of base64.
    let mut words = Vec::new();
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (word, after) = rest.split_at(rest.floor_char_boundary(30));
        words.push(format!(
            "=?utf-8?b?{}?=",
            data_encoding::BASE64.encode(word.as_bytes())
        ));
        rest = after;
    }
    words.join("\r\n ").replace("\r\n ", " ")
}

/// The stored mail as a copy carries it: fields that a relay must not pass on are gone, unless the author signed them.
///
/// Gone are Return-Path, Bcc, receipts requests, and another list's fields, which ours replace.
pub fn body_of_copy(bytes: &[u8]) -> Vec<u8> {
    let (head, _) = header::split(bytes);
    let signed = signed_names(head);
    let dropped = |field: &RawField<'_>| {
        let name = String::from_utf8_lossy(field.name).to_lowercase();
        let ours = name.starts_with("list-")
            || matches!(
                name.as_str(),
                "precedence" | "x-mailing-list" | "archived-at"
            );
        let private = matches!(
            name.as_str(),
            "return-path" | "bcc" | "disposition-notification-to" | "return-receipt-to"
        );
        name == "return-path" || ((ours || private) && !signed.contains(&name))
    };
    let cut = header::without_fields(bytes, dropped);
    let from_line = cut.starts_with(b"From ") || cut.starts_with(b">From ");
    let start = if from_line {
        memchr::memchr(b'\n', &cut).map_or(0, |at| at + 1)
    } else {
        0
    };
    cut[start..].to_vec()
}

/// Names in `h=` of the DKIM signatures, in lower case.
fn signed_names(head: &[u8]) -> Vec<String> {
    let mut names = Vec::new();
    for field in header::fields(head).filter(|f| f.is("DKIM-Signature")) {
        let value = String::from_utf8_lossy(&field.unfolded()).into_owned();
        for tag in value.split(';') {
            if let Some(list) = tag.trim().strip_prefix("h=") {
                names.extend(list.split(':').map(|n| n.trim().to_lowercase()));
            }
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(description: &str) -> String {
        let head = CopyHead {
            address: "dev@x.org",
            description,
            page: "https://x.org/dev/",
            permalink: "https://x.org/dev/m@y/",
        };
        String::from_utf8(render(&head)).expect("ASCII")
    }

    #[test]
    fn the_block_names_the_list_and_the_ways_to_it() {
        let block = block("Development");
        assert!(
            block.starts_with(
                "List-Id: Development <dev.x.org>\r\nList-Post: <mailto:dev@x.org>\r\n"
            )
        );
        assert!(block.contains("List-Unsubscribe: <mailto:dev+unsubscribe@x.org>\r\n"));
        assert!(block.contains("Archived-At: <https://x.org/dev/m@y/>\r\n"));
    }

    #[test]
    fn no_description_makes_a_field_of_its_own() {
        let block = block("a\r\nBcc: x@y\u{e9}");
        assert_eq!(block.lines().count(), 10);
        assert!(block.is_ascii());
        assert!(self::block("Lima, Ana").starts_with("List-Id: \"Lima, Ana\" <dev.x.org>"));
    }

    #[test]
    fn private_and_foreign_fields_go_unless_they_are_signed() {
        let mail = b"Return-Path: <a@b>\nList-Id: <other>\nSubject: s\nBcc: x\n\nList-Id: body\n";
        assert_eq!(body_of_copy(mail), b"Subject: s\n\nList-Id: body\n");
        let signed = b"DKIM-Signature: v=1; h=From:List-Id :Subject;\n b=x\nList-Id: <other>\nSubject: s\n\nb\n";
        assert_eq!(body_of_copy(signed), signed);
    }
}
