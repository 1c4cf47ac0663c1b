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
const BOUNCE: &[u8] = b"bounce v1";
const PROBE: &[u8] = b"probe v1";
const ENABLE: &[u8] = b"enable v1";
const LEAVE: &[u8] = b"leave v1";
const CONFIRM: &[u8] = b"confirm v1";
const FORM: &[u8] = b"form v1";
const MODERATE: &[u8] = b"moderate v1";
const ECHO: &[u8] = b"echo v1";

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

/// The token with which one subscription can be ended and nothing else done (RFC 8058): 24 characters. It holds as long as the
/// subscription, whose number is never given again, and so belongs to its list only.
///
/// With `list+unsubscribe-` and a name of 20 characters it fits a local part.
pub fn render_leave(key: &[u8], member: MemberId) -> Option<String> {
    seal(key, LEAVE, [member.0])
}

/// Reads what [`render_leave`] made, in any case.
pub fn parse_leave(key: &[u8], token: &str) -> Option<MemberId> {
    let [member] = open(key, LEAVE, token)?;
    Some(MemberId(member))
}

/// What an address was asked to confirm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Confirmation {
    /// A number that nobody can guess, below [`NONCES`].
    pub nonce: i64,
    /// For which list.
    pub list: ListId,
}

/// How many nonces there are.
pub const NONCES: i64 = 1 << (8 * ID);

/// A nonce out of random octets.
pub fn fresh_nonce(random: [u8; 8]) -> i64 {
    i64::from_be_bytes(random).rem_euclid(NONCES)
}

/// The token that goes to the address alone: who has it, reads its mail. 32 characters; with `list+confirm-` and a name of 20 characters
/// it fits a local part.
pub fn render_confirm(key: &[u8], confirmation: Confirmation) -> Option<String> {
    seal(key, CONFIRM, [confirmation.nonce, confirmation.list.0])
}

/// Reads what [`render_confirm`] made, in any case.
pub fn parse_confirm(key: &[u8], token: &str) -> Option<Confirmation> {
    let [nonce, list] = open(key, CONFIRM, token)?;
    Some(Confirmation {
        nonce,
        list: ListId(list),
    })
}

/// The token in the address where one moderator answers about one held mail: 32 characters. It holds as long as the mail is
/// held; a mail that is taken back is held for another `turn`.
pub fn render_moderate(key: &[u8], held: i64, turn: i64, moderator: &str) -> Option<String> {
    seal(key, MODERATE, [held, short(key, &of(turn, moderator))])
}

/// Which held mail a token is about, whosever it is and of whatever turn; in any case.
pub fn parse_moderate(key: &[u8], token: &str) -> Option<i64> {
    let [held, _] = open(key, MODERATE, token)?;
    Some(held)
}

/// Whether it was made for this moderator and for this turn.
pub fn is_moderators(key: &[u8], token: &str, turn: i64, moderator: &str) -> bool {
    open(key, MODERATE, token)
        .is_some_and(|[_, to]: [i64; 2]| to == short(key, &of(turn, moderator)))
}

fn of(turn: i64, moderator: &str) -> String {
    format!("{turn} {moderator}")
}

/// A form as it was shown: for which list, when (seconds since 1970), and to which network (`list::notice::counted_source`).
pub fn render_form(key: &[u8], list: ListId, secs: i64, source: &str) -> Option<String> {
    seal(key, FORM, [list.0, secs, short(key, source)])
}

/// When a form was shown, if it was for this list and to this network.
pub fn parse_form(key: &[u8], list: ListId, source: &str, token: &str) -> Option<i64> {
    let [of, secs, shown_to] = open(key, FORM, token)?;
    (of == list.0 && shown_to == short(key, source)).then_some(secs)
}

/// A text as a number that fits a token.
fn short(key: &[u8], text: &str) -> i64 {
    let full = mac(key, b"text v1", 0, text.as_bytes()).finalize();
    number(&full.into_bytes()[..ID])
}

fn number(octets: &[u8]) -> i64 {
    let add = |number, octet: &u8| number << 8 | i64::from(*octet);
    octets.iter().fold(0, add)
}

/// How an address stands since when: what a probe and an enabling link speak of. Once it stands otherwise they are void.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// The row of the address's standing.
    pub id: i64,
    /// Since when it stands so, in seconds since 1970.
    pub since: i64,
}

/// The token of a probe's return path. 32 characters; with `list+probe-` and a name of 20 characters it fits a local part.
pub fn render_probe(key: &[u8], standing: Standing) -> Option<String> {
    seal(key, PROBE, [standing.id, standing.since])
}

/// Reads what [`render_probe`] made, in any case.
pub fn parse_probe(key: &[u8], token: &str) -> Option<Standing> {
    let [id, since] = open(key, PROBE, token)?;
    Some(Standing { id, since })
}

/// The token of the page on which an address that was disabled by bounces is enabled again, and nothing else can be done.
pub fn render_enable(key: &[u8], standing: Standing) -> Option<String> {
    seal(key, ENABLE, [standing.id, standing.since])
}

/// Reads what [`render_enable`] made, in any case.
pub fn parse_enable(key: &[u8], token: &str) -> Option<Standing> {
    let [id, since] = open(key, ENABLE, token)?;
    Some(Standing { id, since })
}

/// A probe of the way out: when it was sent (seconds since 1970), and a number that keeps two of one second apart. 32 characters; with
/// `list+echo-` and a name of 20 characters it fits a local part.
pub fn render_echo(key: &[u8], secs: i64, number: i64) -> Option<String> {
    seal(key, ECHO, [secs, number])
}

/// When a probe was sent, if the token was made with this key.
pub fn parse_echo(key: &[u8], token: &str) -> Option<i64> {
    let [secs, _] = open(key, ECHO, token)?;
    Some(secs)
}

fn seal<const N: usize>(key: &[u8], purpose: &[u8], ids: [i64; N]) -> Option<String> {
    let mut plain = Vec::with_capacity(N * ID);
    for id in ids {
        let bytes = id.to_be_bytes();
        let (high, low) = bytes.split_at(bytes.len() - ID);
        if high.iter().any(|b| *b != 0) {
            return None;
        }
        plain.extend_from_slice(low);
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

fn open<const N: usize>(key: &[u8], purpose: &[u8], token: &str) -> Option<[i64; N]> {
    let upper = token.to_ascii_uppercase();
    // Whatever is no base32 is no token of ours.
    let bytes = data_encoding::BASE32_NOPAD.decode(upper.as_bytes()).ok()?;
    let (code, hidden) = bytes.split_at_checked(CODE)?;
    if hidden.len() != N * ID {
        return None;
    }
    let plain = masked(key, purpose, code, hidden);
    // Takes the same time wherever a guess goes wrong.
    mac(key, purpose, 0, &plain)
        .verify_truncated_left(code)
        .ok()?;
    let mut ids = [0; N];
    for (id, octets) in ids.iter_mut().zip(plain.chunks_exact(ID)) {
        *id = number(octets);
    }
    Some(ids)
}

/// Masks and unmasks; ids have at most the 32 octets of the stream.
fn masked(key: &[u8], purpose: &[u8], code: &[u8], ids: &[u8]) -> Vec<u8> {
    let stream = mac(key, purpose, 1, code).finalize().into_bytes();
    ids.iter()
        .zip(stream)
        .map(|(id, noise)| id ^ noise)
        .collect()
}

/// `use_` keeps the code and the mask apart; no purpose ends in an octet below 2.
pub(super) fn mac(key: &[u8], purpose: &[u8], use_: u8, data: &[u8]) -> Hmac<Sha256> {
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
        let leave = render_leave(b"key", MemberId(7)).expect("in range");
        let confirmation = Confirmation {
            nonce: NONCES - 1,
            list: ListId(2),
        };
        let confirm = render_confirm(b"key", confirmation).expect("in range");
        assert_eq!(parse_leave(b"key", &leave), Some(MemberId(7)));
        assert_eq!(parse_confirm(b"key", &confirm), Some(confirmation));
        assert_eq!(parse_leave(b"key", &confirm), None);
        assert_eq!(parse_confirm(b"key", &leave), None);
        assert_eq!(parse_leave(b"other", &leave), None);
        assert_eq!(parse_bounce(b"key", &confirm), None);
    }

    #[test]
    fn every_token_fits_the_address_of_a_list_with_a_long_name() {
        let list = "a".repeat(20);
        let confirmation = Confirmation {
            nonce: 1,
            list: ListId(1),
        };
        let confirm = render_confirm(b"key", confirmation).expect("in range");
        let leave = render_leave(b"key", MemberId(1)).expect("in range");
        for word in [format!("confirm-{confirm}"), format!("unsubscribe-{leave}")] {
            let address = format!("{list}+{word}@x.org");
            address
                .parse::<crate::types::Address>()
                .expect("a local part of at most 64 octets");
        }
    }

    #[test]
    fn a_form_is_for_one_list_and_one_network() {
        let token =
            render_form(b"key", ListId(3), 1_774_000_000, "192.0.2.0/24").expect("in range");
        let parse = |list, source| parse_form(b"key", ListId(list), source, &token);
        assert_eq!(parse(3, "192.0.2.0/24"), Some(1_774_000_000));
        assert_eq!(parse(4, "192.0.2.0/24"), None);
        assert_eq!(parse(3, "192.0.3.0/24"), None);
        assert_eq!(
            parse_form(b"other", ListId(3), "192.0.2.0/24", &token),
            None
        );
    }

    #[test]
    fn an_answer_is_of_one_moderator_about_one_mail() {
        let token = render_moderate(b"key", 7, 1, "ben@x.org").expect("in range");
        assert_eq!(parse_moderate(b"key", &token.to_uppercase()), Some(7));
        assert_eq!(parse_moderate(b"other", &token), None);
        let is_his = |turn, who| is_moderators(b"key", &token.to_uppercase(), turn, who);
        assert!(is_his(1, "ben@x.org"));
        assert!(!is_his(2, "ben@x.org"), "it was taken back since");
        assert!(!is_his(1, "eve@x.org"));
        assert_eq!(parse_confirm(b"key", &token), None);
        let address = format!("{}+mod-{token}@x.org", "a".repeat(20));
        address
            .parse::<crate::types::Address>()
            .expect("it fits a local part");
    }

    #[test]
    fn neighbours_have_nothing_in_common() {
        let first = render_bounce(b"key", bounce(1, 2, 3)).expect("ids in range");
        let second = render_bounce(b"key", bounce(1, 2, 4)).expect("ids in range");
        let same = first.bytes().zip(second.bytes()).filter(|(a, b)| a == b);
        assert!(same.count() < 12, "{first} {second}");
    }

    #[test]
    fn probes_and_enabling_links_are_no_bounces_and_no_each_others() {
        let standing = Standing {
            id: 7,
            since: 1_774_000_000,
        };
        let probe = render_probe(b"key", standing).expect("ids in range");
        let enable = render_enable(b"key", standing).expect("ids in range");
        assert_eq!(parse_probe(b"key", &probe.to_uppercase()), Some(standing));
        assert_eq!(parse_enable(b"key", &enable), Some(standing));
        assert_eq!(parse_probe(b"key", &enable), None);
        assert_eq!(parse_enable(b"key", &probe), None);
        assert_eq!(parse_probe(b"other", &probe), None);
        assert_eq!(parse_bounce(b"key", &probe), None);
        let copy = render_bounce(b"key", bounce(1, 2, 3)).expect("ids in range");
        assert_eq!(parse_probe(b"key", &copy), None);
        let address = format!("{}+probe-{probe}@x.org", "a".repeat(20));
        address
            .parse::<crate::types::Address>()
            .expect("a local part of at most 64 octets");
    }
}
