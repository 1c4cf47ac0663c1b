//! Addresses of pages.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::types::MessageId;

/// What public-inbox leaves as it is in a Message-ID: everything else is percent-encoded, `/` too.
const KEPT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'!')
    .remove(b'$')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b'+')
    .remove(b',')
    .remove(b';')
    .remove(b'=')
    .remove(b':')
    .remove(b'@');

/// A Message-ID as one piece of a path.
pub fn message_id(id: &MessageId) -> String {
    utf8_percent_encode(id.as_str(), KEPT).to_string()
}

/// A value of a query string.
pub fn query(value: &str) -> String {
    utf8_percent_encode(value, NON_ALPHANUMERIC).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_ids_become_one_piece_of_a_path() {
        let check = |id: &str, expected: &str| {
            assert_eq!(message_id(&MessageId::parse(id).expect("an id")), expected);
        };
        check("a+b=c@x.org", "a+b=c@x.org");
        check("a/b%c@x", "a%2Fb%25c@x");
        check("\"onclick=\"@x", "%22onclick=%22@x");
        check("../..@x", "..%2F..@x");
        check("<script>'&?#", "script%3E%27%26%3F%23");
    }
}
