//! Records out of a file in the place of DNS, for tests and closed networks.
//!
//! A line is `name TYPE value`; types are TXT, A, AAAA, MX (`10 mail.example.org`) and PTR. `name FAIL` is a name for which no
//! answer comes. `#` and `;` begin a comment line. Names that the file does not hold do not exist. Lines of a zone, with a time
//! to live and `IN` before the type, are understood.

use std::borrow::Borrow;
use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::time::Instant;

use mail_auth::common::parse::TxtRecordParser;
use mail_auth::common::verify::DomainKey;
use mail_auth::dmarc::Dmarc;
use mail_auth::hickory_resolver::proto::op::ResponseCode;
use mail_auth::spf::Spf;
use mail_auth::{DnsError as Trouble, Error, MX, RecordSet, ResolverCache, Txt};

use super::{DnsError, RecordKind};

/// Answers of one type by name, which ends in a dot, and what is said of all other names.
pub(super) struct Table<K, V> {
    known: HashMap<K, V>,
    other: V,
}

/// All that the file says.
pub(super) struct Zone {
    pub(super) txt: Table<Box<str>, Txt>,
    pub(super) mx: Table<Box<str>, RecordSet<MX>>,
    pub(super) ipv4: Table<Box<str>, RecordSet<Ipv4Addr>>,
    pub(super) ipv6: Table<Box<str>, RecordSet<Ipv6Addr>>,
    pub(super) ptr: Table<IpAddr, RecordSet<Box<str>>>,
    /// All of it as text, by name and type.
    texts: HashMap<(Box<str>, &'static str), Vec<String>>,
    /// Names for which no answer comes.
    failing: HashSet<Box<str>>,
}

impl<K: Hash + Eq, V: Clone> ResolverCache<K, V> for Table<K, V> {
    fn get<Q>(&self, name: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        Some(self.known.get(name).unwrap_or(&self.other).clone())
    }

    fn remove<Q>(&self, _: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        None
    }

    fn insert(&self, _: K, _: V, _: Instant) {}
}

fn set<T>(records: Vec<T>) -> RecordSet<T> {
    RecordSet {
        rrset: records.into(),
        dnssec_status: Default::default(),
    }
}

/// Records of one type by name, while the file is read.
type Found<T> = HashMap<Box<str>, Vec<T>>;

fn table<T>(found: Found<T>) -> Table<Box<str>, RecordSet<T>> {
    Table {
        known: found.into_iter().map(|(n, r)| (n, set(r))).collect(),
        other: set(Vec::new()),
    }
}

impl Zone {
    pub(super) fn open(path: &Path) -> Result<Zone, DnsError> {
        let text = std::fs::read_to_string(path).map_err(|source| DnsError::File {
            path: path.to_owned(),
            source,
        })?;
        Zone::parse(&text).map_err(|(line, problem)| DnsError::Line {
            path: path.to_owned(),
            line,
            problem,
        })
    }

    /// The records of a name as text.
    pub(super) fn find(&self, name: &str, kind: RecordKind) -> Result<Vec<String>, String> {
        let name: Box<str> = dotted(name);
        if self.failing.contains(&name) {
            return Err("the zone file says so".to_owned());
        }
        let found = self.texts.get(&(name, kind.as_str()));
        let mut all = found.cloned().unwrap_or_default();
        all.sort();
        Ok(all)
    }

    /// The error is a line and what is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Zone, (usize, String)> {
        let mut txt = HashMap::new();
        let (mut mx, mut ipv4, mut ipv6) = (Found::new(), Found::new(), Found::new());
        let (mut texts, mut failing) = (HashMap::new(), HashSet::new());
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with(['#', ';']) {
                continue;
            }
            let wrong = |problem: &str| (number + 1, problem.to_owned());
            let (name, kind, value) =
                fields(line).ok_or_else(|| wrong("a name, a type and a value are wanted"))?;
            let name = dotted(name);
            let value = value.trim_matches('"').replace("\" \"", "");
            let mut note = |kind: RecordKind, value: String| {
                let key = (name.clone(), kind.as_str());
                texts.entry(key).or_insert_with(Vec::new).push(value);
            };
            match kind {
                "TXT" => {
                    let parsed = parse_txt(&name, &value);
                    note(RecordKind::Txt, value);
                    // Other texts of a name, such as a proof of ownership, are nobody's concern here.
                    if let Some(parsed) = parsed.map_err(|e| wrong(&e.to_string()))? {
                        txt.insert(name, parsed);
                    }
                }
                "FAIL" => {
                    let trouble = Trouble::Resolver("the zone file says so".to_owned());
                    failing.insert(name.clone());
                    txt.insert(name, Txt::Error(Error::Dns(trouble)));
                }
                "A" => {
                    let address = value
                        .parse()
                        .map_err(|_| wrong("that is no IPv4 address"))?;
                    note(RecordKind::A, format!("{address}"));
                    ipv4.entry(name).or_default().push(address);
                }
                "AAAA" => {
                    let address = value
                        .parse()
                        .map_err(|_| wrong("that is no IPv6 address"))?;
                    note(RecordKind::Aaaa, format!("{address}"));
                    ipv6.entry(name).or_default().push(address);
                }
                "MX" => {
                    let parts = value.split_once(char::is_whitespace);
                    let parts = parts.and_then(|(n, host)| Some((n.parse().ok()?, host.trim())));
                    let (preference, host): (u16, _) =
                        parts.ok_or_else(|| wrong("wanted is: 10 mail.example.org"))?;
                    note(RecordKind::Mx, format!("{preference} {}", plain(host)));
                    mx.entry(name).or_default().push(MX {
                        exchanges: [Box::from(host)].into(),
                        preference,
                    });
                }
                "PTR" => note(RecordKind::Ptr, plain(&value)),
                _ => return Err(wrong("the type is TXT, A, AAAA, MX, PTR or FAIL")),
            }
        }
        let missing = Trouble::RecordNotFound(ResponseCode::NXDomain);
        Ok(Zone {
            txt: Table {
                known: txt,
                other: Txt::Error(Error::Dns(missing)),
            },
            mx: table(mx),
            ipv4: table(ipv4),
            ipv6: table(ipv6),
            ptr: Table {
                known: HashMap::new(),
                other: set(Vec::new()),
            },
            texts,
            failing,
        })
    }
}

/// Name, type and value of a line; a time to live and the class are left out.
fn fields(line: &str) -> Option<(&str, &str, &str)> {
    let (name, mut rest) = line.split_once(char::is_whitespace)?;
    loop {
        rest = rest.trim_start();
        let (word, after) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        if word != "IN" && !word.bytes().all(|b| b.is_ascii_digit()) {
            return Some((name, word, after.trim()));
        }
        if after.is_empty() {
            return None;
        }
        rest = after;
    }
}

/// A host name as it is compared.
fn plain(host: &str) -> String {
    host.trim_end_matches('.').to_lowercase()
}

fn dotted(name: &str) -> Box<str> {
    format!("{}.", plain(name)).into()
}

/// What a text record is, is known by its name (RFC 6376 section 3.6.2.1, RFC 7489 section 6.1).
fn parse_txt(name: &str, value: &str) -> Result<Option<Txt>, Error> {
    let bytes = value.as_bytes();
    if name.contains("._domainkey.") {
        DomainKey::parse(bytes).map(Txt::from).map(Some)
    } else if name.starts_with("_dmarc.") {
        Dmarc::parse(bytes).map(Txt::from).map(Some)
    } else if name.starts_with('_') {
        Ok(None)
    } else {
        Spf::parse(bytes).map(Txt::from).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_lines_are_named() {
        let check = |text: &str, expected: &str| match Zone::parse(text) {
            Ok(_) => panic!("{text} was taken"),
            Err((line, problem)) => assert_eq!(format!("{line}: {problem}"), expected),
        };
        check(
            "# fine\n\nalone",
            "3: a name, a type and a value are wanted",
        );
        check(
            "a.example CNAME b",
            "1: the type is TXT, A, AAAA, MX, PTR or FAIL",
        );
        check("a.example A 1.2.3", "1: that is no IPv4 address");
        check("a.example AAAA x", "1: that is no IPv6 address");
        check("a.example MX mail", "1: wanted is: 10 mail.example.org");
    }

    #[test]
    fn lines_of_a_zone_are_understood_and_kept_as_text() {
        let zone = "; a comment\nA.example. 3600 IN TXT \"v=spf1 \" \"-all\"\na.example. MX 10 Mail.example.\n\
                    10.2.0.192.in-addr.arpa. IN PTR a.example.\n_smtp._tls.a.example. TXT \"v=TLSRPTv1; rua=mailto:x@a.example\"\nb.example FAIL";
        let zone = Zone::parse(zone).expect("as written above");
        let check = |name: &str, kind, expected: &[&str]| {
            let found = zone.find(name, kind).expect("an answer");
            assert_eq!(found, expected, "{name}");
        };
        check("a.EXAMPLE", RecordKind::Txt, &["v=spf1 -all"]);
        check("a.example.", RecordKind::Mx, &["10 mail.example"]);
        check("10.2.0.192.in-addr.arpa", RecordKind::Ptr, &["a.example"]);
        check("a.example", RecordKind::A, &[]);
        assert!(zone.find("b.example", RecordKind::A).is_err());
    }

    #[test]
    fn names_are_found_in_any_case_and_others_do_not_exist() {
        let zone = Zone::parse("A.Example A 192.0.2.1\nb.example FAIL\nb.example. MX 10 m.example")
            .expect("as written above");
        let found = ResolverCache::get::<str>(&zone.ipv4, "a.example.").expect("as written above");
        assert_eq!(found.rrset.len(), 1);
        let text = |name: &str| match ResolverCache::get::<str>(&zone.txt, name) {
            Some(Txt::Error(Error::Dns(Trouble::Resolver(_)))) => "trouble",
            Some(Txt::Error(Error::Dns(Trouble::RecordNotFound(_)))) => "missing",
            _ => "found",
        };
        assert_eq!(
            (text("b.example."), text("c.example.")),
            ("trouble", "missing")
        );
    }
}
