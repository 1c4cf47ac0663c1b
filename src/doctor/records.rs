//! The DNS records that a site needs: what `init` prints and `doctor` compares.

use std::fmt;
use std::net::IpAddr;

use crate::dns::{RecordKind, reverse_name};

/// Seconds that resolvers may keep a record: short enough to mend a slip within the hour.
const TIME_TO_LIVE: u32 = 3600;

/// One record. Zone files have it as one line, which [`fmt::Display`] writes; forms of DNS providers ask for its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its name, without a dot at the end.
    pub name: String,
    /// Its type.
    pub kind: RecordKind,
    /// Its value: names without a dot at the end, texts in one piece.
    pub value: String,
}

impl Record {
    fn new(name: impl Into<String>, kind: RecordKind, value: impl Into<String>) -> Record {
        Record {
            name: name.into(),
            kind,
            value: value.into(),
        }
    }
}

/// As a line of a zone file (RFC 1035 section 5.1).
impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, kind) = (&self.name, self.kind);
        let value = match kind {
            RecordKind::A | RecordKind::Aaaa => self.value.clone(),
            RecordKind::Mx | RecordKind::Ptr => format!("{}.", self.value),
            RecordKind::Txt => quoted(&self.value),
        };
        write!(f, "{name}. {TIME_TO_LIVE} IN {kind} {value}")
    }
}

/// A text in pieces of at most 255 octets (RFC 1035 section 3.3.14); receivers join them.
fn quoted(text: &str) -> String {
    let escaped = |c: char| match c {
        '"' | '\\' => format!("\\{c}"),
        c => c.to_string(),
    };
    let mut pieces = vec![(0, String::new())];
    for c in text.chars() {
        let full = pieces
            .last()
            .is_none_or(|(size, _)| size + c.len_utf8() > 255);
        if full {
            pieces.push((0, String::new()));
        }
        if let Some((size, piece)) = pieces.last_mut() {
            *size += c.len_utf8();
            piece.push_str(&escaped(c));
        }
    }
    let pieces: Vec<String> = pieces.iter().map(|(_, p)| format!("\"{p}\"")).collect();
    pieces.join(" ")
}

/// What decides which records a site needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// Name of the machine in the mail system.
    pub hostname: String,
    /// Its public addresses, if they are known.
    pub addresses: Vec<IpAddr>,
    /// Domains of lists, each once.
    pub domains: Vec<String>,
    /// The mail server elsewhere that copies go out by, if they do.
    pub relay: Option<String>,
    /// What signs for the domains.
    pub keys: Vec<SigningKey>,
}

/// The public half of a DKIM key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigningKey {
    /// The domain that it signs for.
    pub domain: String,
    /// Where its record stands.
    pub name: String,
    /// The text of its record (RFC 6376 section 3.6.1).
    pub record: String,
    /// How much it matters.
    pub weight: Weight,
}

/// How much a key matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// RSA: receivers look for it.
    Needed,
    /// Ed25519, a second signature that few receivers read (RFC 8463).
    Spare,
}

impl Site {
    /// The machine's own addresses, their names, which are set by whoever gave the addresses, and who may call himself by its name.
    pub fn of_machine(&self) -> Vec<Record> {
        let address = |ip: &IpAddr| address(&self.hostname, *ip);
        let name = |ip: &IpAddr| name_of(*ip, &self.hostname);
        let addresses = self.addresses.iter().map(address);
        let names = self.addresses.iter().map(name);
        addresses.chain(names).chain(self.spf_of_helo()).collect()
    }

    /// Mail with an empty return path, such as letters and bounces, is looked up by the name that the sending server gives in HELO (RFC
    /// 7208 section 2.4). Where another machine sends, that is its name, and a domain of lists has a record already.
    pub fn spf_of_helo(&self) -> Option<Record> {
        let ours = self.relay.is_none() && !self.domains.contains(&self.hostname);
        ours.then(|| text(&self.hostname, "v=spf1 a -all"))
    }

    /// What a list's domain needs to take mail and to be believed.
    pub fn of_domain(&self, domain: &str) -> Vec<Record> {
        let mut records = vec![self.mx(domain), self.spf(domain)];
        records.extend(self.keys_of(domain, Weight::Needed));
        records.push(dmarc(domain));
        records
    }

    /// The records of keys that sign for the domain.
    pub fn keys_of(&self, domain: &str, weight: Weight) -> impl Iterator<Item = Record> {
        let keys = self.keys.iter();
        let keys = keys.filter(move |k| k.domain == domain && k.weight == weight);
        keys.map(SigningKey::as_record)
    }

    /// Where mail for the domain goes.
    pub fn mx(&self, domain: &str) -> Record {
        Record::new(domain, RecordKind::Mx, format!("10 {}", self.hostname))
    }

    /// Who may send for it: those who take its mail, and the relay if it is another machine whose address is known. A provider's
    /// machines that send are others than the one that takes mail: only its own record says which, so that nobody is shut out before.
    pub fn spf(&self, domain: &str) -> Record {
        let text = match self.relay.as_deref().map(str::parse::<IpAddr>) {
            None => "v=spf1 mx -all".to_owned(),
            Some(Ok(IpAddr::V4(ip))) => format!("v=spf1 mx ip4:{ip} -all"),
            Some(Ok(IpAddr::V6(ip))) => format!("v=spf1 mx ip6:{ip} -all"),
            Some(Err(_)) => "v=spf1 mx ~all".to_owned(),
        };
        self::text(domain, &text)
    }

    /// The provider's host that copies go out by, if SPF needs to name what the provider says.
    pub fn provider(&self) -> Option<&str> {
        let relay = self.relay.as_deref();
        relay.filter(|host| host.parse::<IpAddr>().is_err())
    }
}

impl SigningKey {
    /// Where receivers find the key.
    pub fn as_record(&self) -> Record {
        text(&self.name, &self.record)
    }
}

/// A text at a name.
pub fn text(name: &str, text: &str) -> Record {
    Record::new(name, RecordKind::Txt, text)
}

/// An address of a name.
pub fn address(name: &str, ip: IpAddr) -> Record {
    let kind = match ip {
        IpAddr::V4(_) => RecordKind::A,
        IpAddr::V6(_) => RecordKind::Aaaa,
    };
    Record::new(name, kind, ip.to_string())
}

/// The name of an address.
pub fn name_of(ip: IpAddr, name: &str) -> Record {
    Record::new(reverse_name(ip), RecordKind::Ptr, name)
}

/// What receivers shall do with mail that names the domain and does not prove it: at first nothing, but to tell the postmaster.
pub fn dmarc(domain: &str) -> Record {
    let text = format!("v=DMARC1; p=none; rua=mailto:postmaster@{domain}");
    self::text(&format!("_dmarc.{domain}"), &text)
}

/// Whom to tell when mail could not be handed over by TLS (RFC 8460 section 3). Nothing depends on it.
pub fn tls_reports(domain: &str) -> Record {
    let text = format!("v=TLSRPTv1; rua=mailto:postmaster@{domain}");
    self::text(&format!("_smtp._tls.{domain}"), &text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_lines_of_a_zone() {
        let site = Site {
            hostname: "mx.example.org".to_owned(),
            addresses: vec!["192.0.2.10".parse().expect("an address")],
            domains: vec!["lists.example.org".to_owned()],
            relay: Some("smtp.example.net".to_owned()),
            keys: vec![SigningKey {
                domain: "lists.example.org".to_owned(),
                name: "p1._domainkey.lists.example.org".to_owned(),
                weight: Weight::Needed,
                record: "v=DKIM1; p=\"x\\".to_owned(),
            }],
        };
        let all = [site.of_machine(), site.of_domain("lists.example.org")].concat();
        let lines: Vec<String> = all.iter().map(ToString::to_string).collect();
        let expected = [
            "mx.example.org. 3600 IN A 192.0.2.10",
            "10.2.0.192.in-addr.arpa. 3600 IN PTR mx.example.org.",
            "lists.example.org. 3600 IN MX 10 mx.example.org.",
            "lists.example.org. 3600 IN TXT \"v=spf1 mx ~all\"",
            "p1._domainkey.lists.example.org. 3600 IN TXT \"v=DKIM1; p=\\\"x\\\\\"",
            "_dmarc.lists.example.org. 3600 IN TXT \"v=DMARC1; p=none; rua=mailto:postmaster@lists.example.org\"",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn the_name_in_helo_has_a_record_if_we_send_by_a_name_that_no_list_has() {
        let check = |relay: Option<&str>, domain: &str, expected: Option<&str>| {
            let site = Site {
                hostname: "mx.example.org".to_owned(),
                addresses: vec![],
                domains: vec![domain.to_owned()],
                relay: relay.map(str::to_owned),
                keys: vec![],
            };
            let records = site.of_machine();
            let lines: Vec<String> = records.iter().map(ToString::to_string).collect();
            assert_eq!(lines, expected.into_iter().collect::<Vec<_>>());
        };
        let line = "mx.example.org. 3600 IN TXT \"v=spf1 a -all\"";
        check(None, "lists.example.org", Some(line));
        check(None, "mx.example.org", None);
        check(Some("smtp.example.net"), "lists.example.org", None);
    }

    #[test]
    fn who_may_send_is_named_in_a_way_that_receivers_understand() {
        let check = |relay: Option<&str>, expected: &str| {
            let site = Site {
                hostname: "mx.example.org".to_owned(),
                addresses: vec![],
                domains: vec![],
                relay: relay.map(str::to_owned),
                keys: vec![],
            };
            assert_eq!(site.spf("example.org").value, expected);
        };
        check(None, "v=spf1 mx -all");
        check(Some("192.0.2.25"), "v=spf1 mx ip4:192.0.2.25 -all");
        check(Some("2001:db8::25"), "v=spf1 mx ip6:2001:db8::25 -all");
        check(Some("smtp.example.net"), "v=spf1 mx ~all");
    }

    #[test]
    fn long_texts_are_cut_into_pieces_that_resolvers_take() {
        let text = quoted(&"x".repeat(600));
        let sizes: Vec<usize> = text.split(' ').map(|p| p.len() - 2).collect();
        assert_eq!(sizes, [255, 255, 90]);
        assert_eq!(quoted(""), "\"\"");
    }
}
