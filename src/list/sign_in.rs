//! Signing in without a password: how long what holds, and how its secrets look. Pure; chance is an argument.
//!
//! Who signs in shows that mail to an address reaches them: by the link in it, or by its code, typed into the browser that asked.
//! Of every secret only a hash is stored.

use sha2::{Digest, Sha256};

use super::token::mac;

/// A link and its code hold so long.
pub const HOLDS_SECS: i64 = 15 * 60;
/// Wrong codes that one mail stands.
pub const TRIES: i64 = 5;
/// Wrong codes that one address stands in 24 hours: then its links alone sign in. One in 60,000 guesses its way in with all of them.
pub const TRIES_A_DAY: i64 = 15;
/// Wrong codes that the site stands in 24 hours, of all addresses together: then links alone sign in. Who tries codes of thousands of
/// addresses gets no further than that.
pub const TRIES_OF_ALL: i64 = 200;
/// A browser that was not here for so long is signed out.
pub const IDLE_SECS: i64 = 14 * 86_400;
/// A browser is signed out after so long, however often it was here.
pub const LIFE_SECS: i64 = 60 * 86_400;
/// That a browser was here is noted at most once in so long.
pub const SEEN_SECS: i64 = 3_600;
/// A question to link two addresses holds so long, as its mail says.
pub const LINK_SECS: i64 = 3 * 86_400;

/// Octets of a secret: 160 bits.
pub const SECRET: usize = 20;

/// A hash as it is stored.
pub type Hash = [u8; 32];

/// A secret as links and cookies carry it: 32 characters of lower-case base32.
pub fn render_secret(chance: [u8; SECRET]) -> String {
    data_encoding::BASE32_NOPAD
        .encode(&chance)
        .to_ascii_lowercase()
}

/// What is stored of a secret: nobody can guess one, so that a plain hash tells nothing.
pub fn hash(secret: &str) -> Hash {
    Sha256::digest(secret.as_bytes()).into()
}

/// A code of six digits.
pub fn render_code(chance: u64) -> String {
    format!("{:06}", chance % 1_000_000)
}

/// What is stored of a code: bound to the browser that asked, and keyed, as six digits are soon tried.
pub fn hash_code(key: &[u8], browser: &Hash, code: &str) -> Hash {
    let digits: String = code.chars().filter(|c| !c.is_whitespace()).collect();
    let mut mac = mac(key, b"code v1", 0, browser);
    hmac::Mac::update(&mut mac, digits.as_bytes());
    hmac::Mac::finalize(mac).into_bytes().into()
}

/// What every form of a signed-in browser carries: only the pages themselves know it.
pub fn render_guard(key: &[u8], session: &Hash) -> String {
    render(key, b"guard v1", session)
}

/// Whether a form is one of this browser's; takes the same time wherever a guess goes wrong.
pub fn is_guard(key: &[u8], session: &Hash, text: &str) -> bool {
    is(key, b"guard v1", session, text)
}

/// What a browser keeps that was signed in with an address: others who ask for mails to it do not use up what this browser may ask for.
pub fn render_mark(key: &[u8], address: &str) -> String {
    render(key, b"mark v1", address.as_bytes())
}

/// Whether a browser was signed in with an address before.
pub fn is_mark(key: &[u8], address: &str, text: &str) -> bool {
    is(key, b"mark v1", address.as_bytes(), text)
}

fn render(key: &[u8], what: &[u8], of: &[u8]) -> String {
    let full = hmac::Mac::finalize(mac(key, what, 0, of)).into_bytes();
    data_encoding::BASE32_NOPAD
        .encode(&full[..SECRET])
        .to_ascii_lowercase()
}

fn is(key: &[u8], what: &[u8], of: &[u8], text: &str) -> bool {
    let upper = text.to_ascii_uppercase();
    let Ok(given) = data_encoding::BASE32_NOPAD.decode(upper.as_bytes()) else {
        return false;
    };
    given.len() == SECRET && hmac::Mac::verify_truncated_left(mac(key, what, 0, of), &given).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_of_one_browser_and_blanks_do_not_count() {
        let (one, other) = (hash("one"), hash("other"));
        let code = render_code(7_000_042);
        assert_eq!(code, "000042");
        assert_eq!(
            hash_code(b"key", &one, &code),
            hash_code(b"key", &one, " 000 042\n")
        );
        assert_ne!(
            hash_code(b"key", &one, &code),
            hash_code(b"key", &other, &code)
        );
        assert_ne!(
            hash_code(b"key", &one, &code),
            hash_code(b"else", &one, &code)
        );
        assert_ne!(
            hash_code(b"key", &one, &code),
            hash_code(b"key", &one, "42")
        );
    }

    #[test]
    fn a_form_is_of_one_browser() {
        let (one, other) = (hash("one"), hash("other"));
        let guard = render_guard(b"key", &one);
        assert!(is_guard(b"key", &one, &guard));
        assert!(!is_guard(b"key", &other, &guard) && !is_guard(b"else", &one, &guard));
        for text in ["", "aa", "=", &guard[..30], &format!("{guard}aaaaaaaa")] {
            assert!(!is_guard(b"key", &one, text), "{text}");
        }
    }

    #[test]
    fn a_secret_fits_a_link_and_a_cookie() {
        let secret = render_secret([255; SECRET]);
        assert_eq!(secret.len(), 32);
        assert!(secret.bytes().all(|b| b.is_ascii_alphanumeric()));
        assert_ne!(hash(&secret), hash(&render_secret([0; SECRET])));
    }
}
