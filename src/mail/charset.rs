//! Text in a named charset → UTF-8, strictly: what does not fit its label is for the caller to judge.

use mail_parser::decoders::charsets::map::charset_decoder;

/// The bytes as text, if `label` is a charset that is known here and all of the bytes fit it.
///
/// Names and aliases are those of the IANA registry, in any case. ISO-8859-1 is taken at its word (0x80 to 0x9f are
/// control characters, as iconv has them), not as windows-1252.
pub fn decode(label: &str, bytes: &[u8]) -> Option<String> {
    let label = label.trim().to_ascii_lowercase();
    match label.as_str() {
        "utf-8" | "utf8" => std::str::from_utf8(bytes).ok().map(str::to_owned),
        "us-ascii" | "ascii" | "ansi_x3.4-1968" => bytes
            .is_ascii()
            .then(|| String::from_utf8_lossy(bytes).into_owned()),
        "iso-8859-1" | "iso8859-1" | "latin1" | "latin-1" => {
            Some(bytes.iter().map(|b| char::from(*b)).collect())
        }
        _ => charset_decoder(label.as_bytes())
            .map(|decode| decode(bytes))
            .filter(|text| !text.contains('\u{fffd}')),
    }
}

#[cfg(test)]
mod tests {
    use super::decode;

    #[track_caller]
    fn check(label: &str, bytes: &[u8], expected: Option<&str>) {
        assert_eq!(decode(label, bytes).as_deref(), expected, "{label}");
    }

    #[test]
    fn text_that_fits_its_label_is_decoded() {
        check("UTF-8", "né".as_bytes(), Some("né"));
        check("iso-8859-1", b"n\xe9", Some("né"));
        check("ISO-8859-15", b"\xa4", Some("€"));
        check("windows-1252", b"\x80", Some("€"));
        check("koi8-r", b"\xd0", Some("п"));
        check("iso-2022-jp", b"\x1b$B$\"\x1b(B", Some("あ"));
    }

    #[test]
    fn what_does_not_fit_is_nothing() {
        check("utf-8", b"n\xe9", None);
        check("us-ascii", b"n\xe9", None);
        check("gb2312", b"\xff\xff", None);
        check("x-nonsense", b"abc", None);
        check("", b"abc", None);
    }
}
