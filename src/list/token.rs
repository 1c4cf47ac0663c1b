//! Keyed tokens in addresses: opaque, bound to a purpose, decoded without a look-up.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::types::{ListId, MemberId};

/// Whose copy of which posting bounced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounce {
    /// The list.
    pub list: ListId,
    /// The posting's number.
    pub number: i64,
    /// The subscription.
    pub member: MemberId,
}

/// Octets of the code: 64 bits cannot be guessed over SMTP.
const CODE: usize = 8;

/// The token for a copy's return path: lower-case base32, at most 40 characters.
///
/// With `list+b-` and a name of 20 characters it fits the 64 octets of a local part (RFC 5321 section 4.5.3.1.1).
pub fn render_bounce(key: &[u8], bounce: Bounce) -> String {
    let mut plain = Vec::with_capacity(24);
    // 5 bytes a number: a million million lists, postings or members.
    for number in [bounce.list.0, bounce.number, bounce.member.0] {
        let bytes = number.to_be_bytes();
        plain.extend_from_slice(&bytes[bytes.len() - 5..]);
    }
    let code = code(key, &plain);
    let mut out = mask(&code, &plain);
    out.extend_from_slice(&code);
    data_encoding::BASE32_NOPAD.encode(&out).to_lowercase()
}

/// Reads a token; `None` for any that was not made with this key.
pub fn parse_bounce(key: &[u8], token: &str) -> Option<Bounce> {
    let bytes = data_encoding::BASE32_NOPAD
        .decode(token.to_uppercase().as_bytes())
        .ok()?;
    if bytes.len() != 15 + CODE {
        return None;
    }
    let (hidden, given) = bytes.split_at(15);
    let plain = mask(given, hidden);
    // All octets are compared whatever the first ones say: no timing tells how much of a guess was right.
    let differs = code(key, &plain)
        .iter()
        .zip(given)
        .fold(0, |sum, (a, b)| sum | (a ^ b));
    if differs != 0 {
        return None;
    }
    let number = |at: usize| {
        plain[at..at + 5]
            .iter()
            .fold(0i64, |n, b| n << 8 | i64::from(*b))
    };
    Some(Bounce {
        list: ListId(number(0)),
        number: number(5),
        member: MemberId(number(10)),
    })
}

fn code(key: &[u8], plain: &[u8]) -> [u8; CODE] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(b"bounce v1");
    mac.update(plain);
    let full = mac.finalize().into_bytes();
    let mut out = [0; CODE];
    out.copy_from_slice(&full[..CODE]);
    out
}

/// Makes ids unreadable at a glance; the code is what keeps tokens from being made.
fn mask(code: &[u8], bytes: &[u8]) -> Vec<u8> {
    bytes
        .iter()
        .enumerate()
        .map(|(i, b)| b ^ code[i % code.len()])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LARGE: i64 = (1 << 40) - 1;

    #[test]
    fn a_token_comes_back_and_fits_an_address() {
        for (list, number, member) in [(1, 1, 1), (3, 70_000, 12), (LARGE, LARGE, LARGE)] {
            let bounce = Bounce {
                list: ListId(list),
                number,
                member: MemberId(member),
            };
            let token = render_bounce(b"key", bounce);
            assert_eq!(parse_bounce(b"key", &token), Some(bounce));
            assert!(20 + "+b-".len() + token.len() <= 64);
        }
    }

    #[test]
    fn no_changed_token_and_no_other_key_is_taken() {
        let token = render_bounce(
            b"key",
            Bounce {
                list: ListId(1),
                number: 2,
                member: MemberId(3),
            },
        );
        assert_eq!(parse_bounce(b"other", &token), None);
        for at in 0..token.len() {
            let mut changed = token.clone().into_bytes();
            changed[at] = if changed[at] == b'a' { b'b' } else { b'a' };
            let changed = String::from_utf8(changed).expect("ASCII");
            let parsed = parse_bounce(b"key", &changed);
            assert!(
                parsed.is_none() || changed == token || at == token.len() - 1,
                "{changed}"
            );
        }
        assert_eq!(parse_bounce(b"key", ""), None);
    }
}
