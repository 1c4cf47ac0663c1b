//! Single look-ups of a site's own records, for `doctor`.

use std::fmt;
use std::net::IpAddr;

use mail_auth::SpfResult;
use mail_auth::hickory_resolver::net::{DnsError as Answer, NetError};
use mail_auth::hickory_resolver::proto::op::ResponseCode;
use mail_auth::hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use mail_auth::spf::verify::SpfParameters;

use super::Dns;

/// The types of records that mail needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RecordKind {
    /// An IPv4 address.
    A,
    /// An IPv6 address.
    Aaaa,
    /// Who takes a domain's mail.
    Mx,
    /// Text: SPF, DKIM, DMARC.
    Txt,
    /// The name of an address.
    Ptr,
}

impl RecordKind {
    /// As zone files write it.
    pub fn as_str(self) -> &'static str {
        match self {
            RecordKind::A => "A",
            RecordKind::Aaaa => "AAAA",
            RecordKind::Mx => "MX",
            RecordKind::Txt => "TXT",
            RecordKind::Ptr => "PTR",
        }
    }

    fn wire(self) -> RecordType {
        match self {
            RecordKind::A => RecordType::A,
            RecordKind::Aaaa => RecordType::AAAA,
            RecordKind::Mx => RecordType::MX,
            RecordKind::Txt => RecordType::TXT,
            RecordKind::Ptr => RecordType::PTR,
        }
    }
}

impl fmt::Display for RecordKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The name under which DNS keeps the name of an address (RFC 1035 section 3.5, RFC 3596 section 2.5).
pub fn reverse_name(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, c, d] = ip.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        IpAddr::V6(ip) => {
            let octets = ip.octets().into_iter().rev();
            let nibbles: String = octets
                .map(|o| format!("{:x}.{:x}.", o & 15, o >> 4))
                .collect();
            format!("{nibbles}ip6.arpa")
        }
    }
}

impl Dns {
    /// The records of a name as text, in order: an address, `10 mail.example.org`, a text with its pieces joined. None is no
    /// error; an error says why nothing is known.
    pub async fn find_records(&self, name: &str, kind: RecordKind) -> Result<Vec<String>, String> {
        if let Some(zone) = &self.zone {
            return zone.find(name, kind);
        }
        let full = format!("{}.", name.trim_end_matches('.'));
        let full = Name::from_str_relaxed(&full).map_err(|e| format!("{name}: {e}"))?;
        let asked = self.authenticator.resolver().lookup(full, kind.wire());
        let found = match tokio::time::timeout(self.timeout, asked).await {
            Err(_) => return Err(format!("no answer within {} s", self.timeout.as_secs())),
            Ok(Err(NetError::Dns(Answer::NoRecordsFound(none)))) => match none.response_code {
                ResponseCode::NoError | ResponseCode::NXDomain => return Ok(Vec::new()),
                code => return Err(format!("the DNS server says: {code}")),
            },
            Ok(Err(error)) => return Err(error.to_string()),
            Ok(Ok(found)) => found,
        };
        let mut all: Vec<String> = found
            .answers()
            .iter()
            .filter_map(|r| text(r, kind))
            .collect();
        all.sort();
        Ok(all)
    }

    /// Whether a domain says that it takes no mail. Without an answer nobody knows, and mail is tried.
    pub async fn takes_no_mail(&self, domain: &str) -> bool {
        let found = self.find_records(domain, RecordKind::Mx).await;
        found.is_ok_and(|records| is_null_mx(&records))
    }

    /// Whether SPF lets `ip` send mail with this domain in the envelope (RFC 7208). An error if DNS does not say.
    pub async fn spf_allows(&self, ip: IpAddr, domain: &str) -> Result<bool, String> {
        let sender = format!("postmaster@{domain}");
        let wish = SpfParameters::verify_mail_from(ip, domain, domain, &sender);
        let asked = self.authenticator.verify_spf(self.with(wish));
        match tokio::time::timeout(self.timeout, asked).await {
            Err(_) => Err(format!("no answer within {} s", self.timeout.as_secs())),
            Ok(output) if output.result() == SpfResult::TempError => {
                Err("DNS gave no answer for a name in it".to_owned())
            }
            Ok(output) => Ok(output.result() == SpfResult::Pass),
        }
    }
}

/// Whether these MX records say that a domain takes no mail at all (RFC 7505): one, whose host is the root.
fn is_null_mx(records: &[String]) -> bool {
    let host = |record: &str| {
        record
            .split_once(' ')
            .map_or("", |(_, host)| host)
            .trim_matches(['.', ' '])
            .to_owned()
    };
    matches!(records, [one] if host(one).is_empty())
}

/// A record of that type as text; others, such as the alias before it, are left out.
fn text(record: &Record, kind: RecordKind) -> Option<String> {
    let host = |name: &Name| name.to_utf8().trim_end_matches('.').to_lowercase();
    match (&record.data, kind) {
        (RData::A(ip), RecordKind::A) => Some(ip.0.to_string()),
        (RData::AAAA(ip), RecordKind::Aaaa) => Some(ip.0.to_string()),
        (RData::MX(mx), RecordKind::Mx) => {
            Some(format!("{} {}", mx.preference, host(&mx.exchange)))
        }
        (RData::PTR(name), RecordKind::Ptr) => Some(host(&name.0)),
        (RData::TXT(txt), RecordKind::Txt) => {
            let bytes = txt.txt_data.concat();
            Some(String::from_utf8_lossy(&bytes).into_owned())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_null_mx_is_told_from_a_host() {
        let check = |records: &[&str], expected| {
            let records: Vec<String> = records.iter().map(|r| (*r).to_owned()).collect();
            assert_eq!(is_null_mx(&records), expected, "{records:?}");
        };
        check(&["0 "], true);
        check(&["0 ."], true);
        check(&["10 mail.example.org"], false);
        check(&["0 ", "10 mail.example.org"], false);
        check(&[], false);
    }

    #[test]
    fn addresses_have_their_reverse_names() {
        let check = |ip: &str, expected: &str| {
            assert_eq!(reverse_name(ip.parse().expect("an address")), expected);
        };
        check("192.0.2.10", "10.2.0.192.in-addr.arpa");
        check(
            "2001:db8::12",
            "2.1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa",
        );
    }
}
