//! What the next hop offers, as it says to EHLO. Pure.

/// What EHLO told.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Offers {
    /// RFC 2920.
    pub pipelining: bool,
    /// RFC 6152.
    pub eight_bit: bool,
    /// RFC 6531.
    pub utf8: bool,
    /// RFC 1870.
    pub size: bool,
    /// Its limit, if that is not 0.
    pub max_size: Option<usize>,
    /// RFC 3207.
    pub starttls: bool,
    /// RFC 4616.
    pub auth_plain: bool,
    /// What some old servers know only.
    pub auth_login: bool,
    /// RFC 3461.
    pub dsn: bool,
}

/// The first line greets; each other one is a keyword with parameters (RFC 5321 section 4.1.1.1).
pub fn parse_offers(text: &str) -> Offers {
    let mut offers = Offers::default();
    for line in text.split('\n').skip(1) {
        let mut words = line.split_ascii_whitespace();
        let keyword = words.next().unwrap_or_default().to_ascii_uppercase();
        match keyword.as_str() {
            "PIPELINING" => offers.pipelining = true,
            "8BITMIME" => offers.eight_bit = true,
            "SMTPUTF8" => offers.utf8 = true,
            "STARTTLS" => offers.starttls = true,
            "DSN" => offers.dsn = true,
            "AUTH" => {
                let known: Vec<String> = words.map(str::to_ascii_uppercase).collect();
                offers.auth_plain = known.iter().any(|word| word == "PLAIN");
                offers.auth_login = known.iter().any(|word| word == "LOGIN");
            }
            "SIZE" => {
                offers.size = true;
                // A limit that cannot be read is none: the next hop will say so itself.
                let limit = words.next().and_then(|word| word.parse().ok());
                offers.max_size = limit.filter(|limit| *limit > 0);
            }
            _ => {}
        }
    }
    offers
}

/// RFC 3461 section 4: what is not plain stands as `+` and two hexadecimal digits.
pub fn xtext(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'+' | b'=' => out.push_str(&format!("+{byte:02X}")),
            b'!'..=b'~' => out.push(char::from(byte)),
            other => out.push_str(&format!("+{other:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_plain_is_written_in_hexadecimal() {
        assert_eq!(xtext("dev+b-x=1"), "dev+2Bb-x+3D1");
        assert_eq!(xtext("a b\u{e9}"), "a+20b+C3+A9");
    }

    #[test]
    fn offers_are_read_from_the_second_line_on() {
        let all = Offers {
            pipelining: true,
            eight_bit: true,
            utf8: true,
            size: true,
            max_size: Some(100),
            starttls: true,
            auth_plain: true,
            auth_login: true,
            dsn: true,
        };
        assert_eq!(
            parse_offers(
                "mx\nPipelining\n8BITMIME\nSMTPUTF8\nSIZE 100\nSTARTTLS\nauth LOGIN plain X\nDSN"
            ),
            all
        );
        assert_eq!(parse_offers("PIPELINING"), Offers::default());
        assert_eq!(parse_offers("mx\nSIZE 0\nSIZE x").max_size, None);
        assert!(parse_offers("mx\nSIZE").size);
    }
}
