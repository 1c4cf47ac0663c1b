//! A DNS server on loopback that says what a zone's text says, and nothing else. The text is that of `patchpost print dns`.

use std::collections::HashMap;
use std::net::{IpAddr, UdpSocket};
use std::sync::{Arc, Mutex};

/// Lines of a zone by name and type.
type Records = HashMap<(String, u16), Vec<Vec<u8>>>;

pub struct Zone {
    pub address: String,
    records: Arc<Mutex<Records>>,
}

impl Zone {
    pub fn start() -> Zone {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap().to_string();
        let records = Arc::new(Mutex::new(Records::new()));
        let known = Arc::clone(&records);
        std::thread::spawn(move || {
            let mut query = [0; 1500];
            while let Ok((size, client)) = socket.recv_from(&mut query) {
                let reply = answer(&query[..size], &known.lock().unwrap());
                let _client_gone = socket.send_to(&reply, client);
            }
        });
        Zone { address, records }
    }

    /// From now on it says exactly what these lines say; comments begin with a semicolon.
    pub fn set(&self, text: &str) {
        let mut records = Records::new();
        for line in text
            .lines()
            .filter(|l| !l.starts_with(';') && !l.is_empty())
        {
            let (name, kind, data) = parse(line);
            records.entry((name, kind)).or_default().push(data);
        }
        *self.records.lock().unwrap() = records;
    }
}

/// `NAME. TTL IN TYPE VALUE`, as RFC 1035 section 5.1 has it.
fn parse(line: &str) -> (String, u16, Vec<u8>) {
    let mut words = line.splitn(5, ' ');
    let mut next = || words.next().unwrap_or_else(|| panic!("cut off: {line}"));
    let (name, ttl, class, kind, value) = (next(), next(), next(), next(), next());
    assert!(
        name.ends_with('.') && ttl.parse::<u32>().is_ok() && class == "IN",
        "{line}"
    );
    let (kind, data) = match kind {
        "A" | "AAAA" => match value.parse().unwrap_or_else(|e| panic!("{line}: {e}")) {
            IpAddr::V4(ip) => (1, ip.octets().to_vec()),
            IpAddr::V6(ip) => (28, ip.octets().to_vec()),
        },
        "PTR" => (12, labels(value)),
        "MX" => {
            let (preference, host) = value.split_once(' ').unwrap();
            let preference: u16 = preference.parse().unwrap();
            (
                15,
                [preference.to_be_bytes().to_vec(), labels(host)].concat(),
            )
        }
        "TXT" => (16, strings(value)),
        other => panic!("{other} in {line}"),
    };
    (name.to_lowercase(), kind, data)
}

/// A name on the wire (RFC 1035 section 3.1).
fn labels(name: &str) -> Vec<u8> {
    assert!(name.ends_with('.'), "{name} is not whole");
    let mut wire = Vec::new();
    for label in name.split('.') {
        wire.push(u8::try_from(label.len()).unwrap());
        wire.extend_from_slice(label.as_bytes());
    }
    wire
}

/// `"one" "two"` as character strings.
fn strings(value: &str) -> Vec<u8> {
    let inner = value.strip_prefix('"').and_then(|v| v.strip_suffix('"'));
    let mut wire = Vec::new();
    for piece in inner
        .unwrap_or_else(|| panic!("not quoted: {value}"))
        .split("\" \"")
    {
        wire.push(u8::try_from(piece.len()).expect("a piece of at most 255 octets"));
        wire.extend_from_slice(piece.as_bytes());
    }
    wire
}

/// The answer to one question; a name that is not known does not exist.
fn answer(query: &[u8], records: &Records) -> Vec<u8> {
    let mut at = 12;
    let mut name = String::new();
    while query[at] != 0 {
        let end = at + 1 + usize::from(query[at]);
        name.push_str(&String::from_utf8_lossy(&query[at + 1..end]).to_lowercase());
        name.push('.');
        at = end;
    }
    let kind = u16::from_be_bytes([query[at + 1], query[at + 2]]);
    let question = &query[12..at + 5];
    let found = records
        .get(&(name.clone(), kind))
        .cloned()
        .unwrap_or_default();
    let exists = records.keys().any(|(n, _)| *n == name);
    let mut reply = query[..2].to_vec();
    reply.extend([0x84, if exists { 0 } else { 3 }]);
    for count in [1, u16::try_from(found.len()).unwrap(), 0, 0] {
        reply.extend(count.to_be_bytes());
    }
    reply.extend_from_slice(question);
    for data in found {
        reply.extend([0xc0, 12]);
        reply.extend(kind.to_be_bytes());
        reply.extend([0, 1, 0, 0, 0, 60]);
        reply.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
        reply.extend(data);
    }
    reply
}
