//! Keyed tokens in addresses: opaque, bound to a purpose, decoded without a look-up.
//!
//! Pure; the site's key is an argument. A token is a code and the ids it vouches for. The code is an HMAC-SHA-256 of purpose and
//! ids; the ids are masked with a stream that key and code make, so that nobody else reads from them how many members or postings there are.

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

/// Octets of the code: 80 bits cannot be guessed over SMTP.
const CODE: usize = 10;
/// Octets an id: a million million lists, postings or members.
const ID: usize = 5;
const IDS: usize = 3 * ID;
const BOUNCE: &[u8] = b"bounce v1";

/// The token for a copy's return path: 40 characters of lower-case base32; `None` for ids that are negative or need more than 40 bits.
///
/// With `list+b-` and a name of 20 characters it fits the 64 octets of a local part (RFC 5321 section 4.5.3.1.1).
pub fn render_bounce(key: &[u8], bounce: Bounce) -> Option<String> {
    seal(key, BOUNCE, [bounce.list.0, bounce.number, bounce.member.0])
}

/// Reads a token in any case; `None` for any that was not made with this key for a return path.
pub fn parse_bounce(key: &[u8], token: &str) -> Option<Bounce> {
    let [list, number, member] = open(key, BOUNCE, token)?;
    Some(Bounce {
        list: ListId(list),
        number,
        member: MemberId(member),
    })
}

fn seal(key: &[u8], purpose: &[u8], ids: [i64; 3]) -> Option<String> {
    let mut plain = [0; IDS];
    for (place, id) in plain.chunks_exact_mut(ID).zip(ids) {
        let bytes = id.to_be_bytes();
        let (high, low) = bytes.split_at(bytes.len() - ID);
        if high.iter().any(|b| *b != 0) {
            return None;
        }
        place.copy_from_slice(low);
    }
    let full = mac(key, purpose, 0, &plain).finalize().into_bytes();
    let mut out = full[..CODE].to_vec();
    out.extend(masked(key, purpose, &full[..CODE], &plain));
    Some(
        data_encoding::BASE32_NOPAD
            .encode(&out)
            .to_ascii_lowercase(),
    )
}

fn open(key: &[u8], purpose: &[u8], token: &str) -> Option<[i64; 3]> {
    let upper = token.to_ascii_uppercase();
    // Whatever is no base32 is no token of ours.
    let bytes = data_encoding::BASE32_NOPAD.decode(upper.as_bytes()).ok()?;
    let (code, hidden) = bytes.split_at_checked(CODE)?;
    let hidden: &[u8; IDS] = hidden.try_into().ok()?;
    let plain = masked(key, purpose, code, hidden);
    // Takes the same time wherever a guess goes wrong.
    mac(key, purpose, 0, &plain)
        .verify_truncated_left(code)
        .ok()?;
    let id = |at: usize| {
        let octets = plain[at * ID..(at + 1) * ID].iter();
        octets.fold(0, |number, octet| number << 8 | i64::from(*octet))
    };
    Some([id(0), id(1), id(2)])
}

/// Masks and unmasks.
fn masked(key: &[u8], purpose: &[u8], code: &[u8], ids: &[u8; IDS]) -> [u8; IDS] {
    let stream = mac(key, purpose, 1, code).finalize().into_bytes();
    let mut out = *ids;
    for (octet, noise) in out.iter_mut().zip(stream) {
        *octet ^= noise;
    }
    out
}

/// `use_` keeps the code and the mask apart; no purpose ends in an octet below 2.
fn mac(key: &[u8], purpose: &[u8], use_: u8, data: &[u8]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(purpose);
    mac.update(&[use_]);
    mac.update(data);
    mac
}

#[cfg(test)]
mod tests {
    use super::*;

    const LARGE: i64 = (1 << 40) - 1;

    fn bounce(list: i64, number: i64, member: i64) -> Bounce {
        Bounce {
            list: ListId(list),
            number,
            member: MemberId(member),
        }
    }

    #[test]
    fn a_token_comes_back_and_fits_an_address() {
        for bounce in [
            bounce(1, 1, 1),
            bounce(3, 70_000, 12),
            bounce(LARGE, LARGE, LARGE),
        ] {
            let token = render_bounce(b"key", bounce).expect("ids in range");
            assert_eq!(parse_bounce(b"key", &token), Some(bounce));
            assert_eq!(
                parse_bounce(b"key", &token.to_ascii_uppercase()),
                Some(bounce)
            );
            assert!(
                token
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
            );
            let address = format!("{}+b-{token}@x.org", "a".repeat(20));
            address
                .parse::<crate::types::Address>()
                .expect("a local part of at most 64 octets");
        }
    }

    #[test]
    fn ids_that_do_not_fit_get_no_token_rather_than_anothers() {
        assert_eq!(render_bounce(b"key", bounce(1, LARGE + 1, 1)), None);
        assert_eq!(render_bounce(b"key", bounce(1, 1, -1)), None);
    }

    #[test]
    fn no_changed_token_and_no_other_key_is_taken() {
        let token = render_bounce(b"key", bounce(1, 2, 3)).expect("ids in range");
        assert_eq!(parse_bounce(b"other", &token), None);
        for at in 0..token.len() {
            for letter in "abcdefghijklmnopqrstuvwxyz234567".bytes() {
                let mut changed = token.clone().into_bytes();
                if changed[at] == letter {
                    continue;
                }
                changed[at] = letter;
                let changed = String::from_utf8(changed).expect("ASCII");
                assert_eq!(parse_bounce(b"key", &changed), None, "{changed}");
            }
        }
    }

    #[test]
    fn what_is_no_token_is_none() {
        let token = render_bounce(b"key", bounce(1, 2, 3)).expect("ids in range");
        let longer = format!("{token}aaaaaaaa");
        for text in [
            "",
            "a",
            "=",
            "\u{e9}\u{e9}",
            &token[..39],
            &token[1..],
            &longer,
        ] {
            assert_eq!(parse_bounce(b"key", text), None, "{text}");
        }
    }

    #[test]
    fn a_token_for_another_purpose_is_none() {
        let other = seal(b"key", b"confirm v1", [1, 2, 3]).expect("ids in range");
        assert_eq!(open(b"key", b"confirm v1", &other), Some([1, 2, 3]));
        assert_eq!(parse_bounce(b"key", &other), None);
    }

    #[test]
    fn neighbours_have_nothing_in_common() {
        let first = render_bounce(b"key", bounce(1, 2, 3)).expect("ids in range");
        let second = render_bounce(b"key", bounce(1, 2, 4)).expect("ids in range");
        let same = first.bytes().zip(second.bytes()).filter(|(a, b)| a == b);
        assert!(same.count() < 12, "{first} {second}");
    }
}
