//! XFORWARD: what a mail server in front says of the client that brought it a mail (Postfix's XFORWARD_README).
//!
//! Pure. Whose word is taken is for the edge to know: to others the command is not known at all. What it says holds for the next mail only.

use std::net::IpAddr;

/// As EHLO offers it. Of what may be said, the address and the name in HELO are used.
pub const OFFER: &str = "XFORWARD NAME ADDR PORT PROTO HELO IDENT SOURCE";
/// A value with this is one that the server in front does not know.
const UNAVAILABLE: &str = "[UNAVAILABLE]";
/// Octets of a value, as Postfix has it.
const MAX_VALUE: usize = 255;

/// The client of the mail server in front.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Forwarded {
    /// Its address, if the server in front knows it.
    pub ip: Option<IpAddr>,
    /// What it called itself, or empty.
    pub helo: String,
}

/// One thing that is said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attribute {
    /// The client's address.
    Addr(Option<IpAddr>),
    /// Its name in HELO; empty: unknown, or none that a host may have.
    Helo(String),
    /// Anything else that was offered.
    Other,
}

impl Forwarded {
    /// Adds what one command says: Postfix needs two for all of it.
    pub fn add(&mut self, attributes: Vec<Attribute>) {
        for attribute in attributes {
            match attribute {
                Attribute::Addr(ip) => self.ip = ip,
                Attribute::Helo(name) => self.helo = name,
                Attribute::Other => {}
            }
        }
    }
}

/// Reads what stands behind the verb; the error says what is wrong with it.
pub fn parse(rest: &str) -> Result<Vec<Attribute>, &'static str> {
    let attributes: Result<Vec<Attribute>, &'static str> =
        rest.split_ascii_whitespace().map(parse_one).collect();
    match attributes {
        Ok(found) if found.is_empty() => Err("XFORWARD takes NAME=value"),
        found => found,
    }
}

fn parse_one(word: &str) -> Result<Attribute, &'static str> {
    let (name, value) = word.split_once('=').ok_or("XFORWARD takes NAME=value")?;
    let value = decode(value).ok_or("the value is no xtext (RFC 3461 section 4)")?;
    let known = Some(value.as_str()).filter(|v| !v.eq_ignore_ascii_case(UNAVAILABLE));
    match name.to_ascii_uppercase().as_str() {
        "ADDR" => match known.map(address) {
            Some(None) => Err("ADDR is an IP address"),
            Some(ip) => Ok(Attribute::Addr(ip)),
            None => Ok(Attribute::Addr(None)),
        },
        "HELO" => {
            // Whoever stands before that server may call himself anything.
            let plain = |v: &&str| !v.is_empty() && v.bytes().all(|b| b.is_ascii_graphic());
            let name = known.filter(plain).unwrap_or_default();
            Ok(Attribute::Helo(name.to_owned()))
        }
        "NAME" | "PORT" | "PROTO" | "IDENT" | "SOURCE" => Ok(Attribute::Other),
        _ => Err("XFORWARD has no such attribute"),
    }
}

/// `192.0.2.1`, or `IPV6:2001:db8::1`.
fn address(text: &str) -> Option<IpAddr> {
    let prefix = text
        .get(..5)
        .filter(|start| start.eq_ignore_ascii_case("ipv6:"));
    let ip: IpAddr = match prefix {
        Some(prefix) => IpAddr::V6(text[prefix.len()..].parse().ok()?),
        None => IpAddr::V4(text.parse().ok()?),
    };
    Some(ip.to_canonical())
}

/// RFC 3461 section 4: what is not plain stands as `+` and two upper-case hexadecimal digits. Control characters are nobody's name.
fn decode(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'+' => hex(bytes.next()?)? << 4 | hex(bytes.next()?)?,
            b'!'..=b'~' if byte != b'=' => byte,
            _ => return None,
        });
    }
    let sane = !out.is_empty() && out.len() <= MAX_VALUE && !out.iter().any(u8::is_ascii_control);
    String::from_utf8(out).ok().filter(|_| sane)
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(rest: &str, expected: Result<(Option<&str>, &str), &str>) {
        let got = parse(rest).map(|attributes| {
            let mut all = Forwarded::default();
            all.add(attributes);
            (all.ip.map(|ip| ip.to_string()), all.helo)
        });
        let expected = expected.map(|(ip, helo)| (ip.map(str::to_owned), helo.to_owned()));
        assert_eq!(got.map_err(str::to_owned), expected.map_err(str::to_owned));
    }

    #[test]
    fn what_postfix_says_is_understood() {
        check(
            "NAME=mx.example.org ADDR=192.0.2.1 PORT=40000",
            Ok((Some("192.0.2.1"), "")),
        );
        check(
            "PROTO=ESMTP HELO=mx.example.org IDENT=4Xy SOURCE=REMOTE",
            Ok((None, "mx.example.org")),
        );
        check(
            "addr=IPv6:2001:db8::1 helo=[2001:db8::1]",
            Ok((Some("2001:db8::1"), "[2001:db8::1]")),
        );
        check(
            "NAME=[UNAVAILABLE] ADDR=[UNAVAILABLE] HELO=[unavailable]",
            Ok((None, "")),
        );
        check("ADDR=IPV6:::ffff:192.0.2.1", Ok((Some("192.0.2.1"), "")));
        check("HELO=a+2Bb+3Dc", Ok((None, "a+b=c")));
    }

    #[test]
    fn what_is_no_attribute_is_refused_and_a_name_that_is_none_is_nobodys() {
        let no_pair = Err("XFORWARD takes NAME=value");
        check("", no_pair);
        check("ADDR", no_pair);
        check("COLOUR=red", Err("XFORWARD has no such attribute"));
        for odd in [
            "x",
            "2001:db8::1",
            "IPV6:192.0.2.1",
            "192.0.2.1.",
            "192.0.2",
        ] {
            check(&format!("ADDR={odd}"), Err("ADDR is an IP address"));
        }
        let odd = Err("the value is no xtext (RFC 3461 section 4)");
        for value in ["", "a+2", "a+2b", "a+", "a=b", "+0D+0A", "+00", "a+FF", "é"] {
            check(&format!("HELO={value}"), odd);
        }
        check(&format!("HELO={}", "x".repeat(256)), odd);
        check("HELO=two+20words", Ok((None, "")));
        check("HELO=+C3+A9", Ok((None, "")));
    }

    proptest! {
        #[test]
        fn no_bytes_make_a_name_with_blanks_or_controls(rest in "(ADDR|HELO|NAME)=[ -~é+0-9A-F]{0,40}") {
            if let Ok(attributes) = parse(&rest) {
                let mut all = Forwarded::default();
                all.add(attributes);
                prop_assert!(all.helo.bytes().all(|b| b.is_ascii_graphic()));
            }
        }
    }
}
