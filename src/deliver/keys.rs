//! The keys that sign our mail: made, kept in the data folder, read, and used.
//!
//! `dkim/<domain>/<selector>.pem` (mode 0600) holds an RSA key of 2048 bits (PKCS #1) and an Ed25519 key (PKCS #8). All RSA keys of a
//! domain sign, so that nothing is lost while the DNS record of a new one spreads; of the Ed25519 keys, which few receivers
//! read, only the newest does.
//!
//! ring signs but makes no RSA keys. The `rsa` crate would, at the price of its open advisory (RUSTSEC-2023-0071, timing of
//! private operations); so only the primes come from `crypto-primes`, which is what `rsa` itself uses, and ring checks and uses
//! what was made of them.

use std::collections::HashMap;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crypto_bigint::{Odd, U1024, U2048};
use crypto_primes::hazmat::{SetBits, SmallFactorsSieveFactory};
use crypto_primes::{Flavor, is_prime, sieve_and_find};
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use sys_random::SysRng;
use sys_random::rand_core::UnwrapErr;

use crate::list::dkim::{self, Algorithm, Draft};
use crate::types::Timestamp;

/// One selector's keys.
pub struct Pair {
    /// Name in DNS of the RSA key; the Ed25519 key's ends in `-ed`.
    pub selector: String,
    rsa: RsaKeyPair,
    ed25519: Ed25519KeyPair,
}

/// A TXT record that has to stand in DNS.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Record {
    /// The selector that it belongs to.
    pub selector: String,
    /// `rsa` or `ed25519`.
    pub algorithm: &'static str,
    /// Where it stands, without a dot at the end.
    pub name: String,
    /// Its text, in strings of at most 255 octets.
    pub strings: Vec<String>,
}

impl Pair {
    /// The records that let receivers check this pair's signatures.
    pub fn records(&self, domain: &str) -> Vec<Record> {
        let rsa = dkim::record(Algorithm::Rsa, &spki(self.rsa.public_key().as_ref()));
        let public = self.ed25519.public_key().as_ref();
        let ed25519 = dkim::record(Algorithm::Ed25519, public);
        let make = |selector: String, algorithm, strings: Vec<String>| {
            let name = format!("{selector}._domainkey.{domain}");
            Record {
                selector: self.selector.clone(),
                algorithm,
                name,
                strings,
            }
        };
        vec![
            make(self.selector.clone(), "rsa", rsa),
            make(self.second(), "ed25519", ed25519),
        ]
    }

    fn second(&self) -> String {
        format!("{}-ed", self.selector)
    }

    /// Octets signed with RSA.
    fn sign_rsa(&self, octets: &[u8]) -> io::Result<Vec<u8>> {
        let mut signature = vec![0; self.rsa.public().modulus_len()];
        let random = SystemRandom::new();
        let signed = self
            .rsa
            .sign(&RSA_PKCS1_SHA256, &random, octets, &mut signature);
        signed.map_err(|_| io::Error::other("the RSA key does not sign"))?;
        Ok(signature)
    }
}

/// The keys of one domain, the oldest first.
#[derive(Default)]
pub struct Keys {
    /// The domain.
    pub domain: String,
    /// All that sign.
    pub pairs: Vec<Pair>,
}

impl Keys {
    /// The signature fields for a mail whose own fields are `own`; empty without keys.
    pub fn sign(&self, draft: &Draft, own: &[u8], now: Timestamp) -> io::Result<String> {
        let mut out = String::new();
        for pair in self.pairs.iter().rev() {
            let unsigned = draft.unsigned(&self.domain, &pair.selector, Algorithm::Rsa, own, now);
            let signature = pair.sign_rsa(&unsigned.octets)?;
            out.push_str(&unsigned.with(&signature));
        }
        if let Some(newest) = self.pairs.last() {
            let selector = newest.second();
            let unsigned = draft.unsigned(&self.domain, &selector, Algorithm::Ed25519, own, now);
            let signature = newest.ed25519.sign(&unsigned.octets);
            out.push_str(&unsigned.with(signature.as_ref()));
        }
        Ok(out)
    }
}

/// Reads the keys of a domain; none is no error.
pub fn load(data: &Path, domain: &str) -> io::Result<Keys> {
    match load_some(data, domain)? {
        (keys, None) => Ok(keys),
        (_, Some(error)) => Err(error),
    }
}

/// Reads those keys of a domain that can be read, and says what is wrong with the first of the others.
fn load_some(data: &Path, domain: &str) -> io::Result<(Keys, Option<io::Error>)> {
    let folder = folder(data, domain)?;
    let (mut pairs, mut wrong) = (Vec::new(), None);
    for selector in selectors(&folder)? {
        let path = folder.join(format!("{selector}.pem"));
        match fs::read_to_string(&path).and_then(|text| read(&selector, &text)) {
            Ok(pair) => pairs.push(pair),
            Err(error) if wrong.is_none() => {
                let text = format!("{}: {error}", path.display());
                wrong = Some(io::Error::new(error.kind(), text));
            }
            Err(_) => {}
        }
    }
    let domain = domain.to_owned();
    Ok((Keys { domain, pairs }, wrong))
}

/// Makes a pair for a domain and keeps it beside those that are there; takes a second or so. Returns its selector.
pub fn make(data: &Path, domain: &str, now: Timestamp) -> io::Result<String> {
    let folder = folder(data, domain)?;
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true).mode(0o700).create(&folder)?;
    let selector = free_name(&selectors(&folder)?, now);
    let text = generate()?;
    read(&selector, &text)?;
    let path = folder.join(format!("{selector}.pem"));
    let draft = folder.join(format!(".{selector}.draft"));
    let mut options = fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&draft)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&draft, &path)?;
    fs::File::open(&folder)?.sync_all()?;
    Ok(selector)
}

/// A name for a new key: by day and time, so that it is never that of a key that was dropped or is not in a restored folder. Who
/// looked that one up keeps its record for a while, and would take the new key's signatures for forged.
fn free_name(known: &[String], now: Timestamp) -> String {
    let mut at = now;
    loop {
        let (date, time) = (&at.rfc3339()[..10], &at.rfc3339()[11..19]);
        let name = format!("p{}-{}", date.replace('-', ""), time.replace(':', ""));
        if !known.contains(&name) {
            return name;
        }
        at = at.plus_secs(1);
    }
}

/// Deletes a pair for ever.
pub fn remove(data: &Path, domain: &str, selector: &str) -> io::Result<()> {
    let folder = folder(data, domain)?;
    if !selectors(&folder)?.iter().any(|s| s == selector) {
        let text = format!("{domain} has no key {selector}");
        return Err(io::Error::new(io::ErrorKind::NotFound, text));
    }
    fs::remove_file(folder.join(format!("{selector}.pem")))?;
    fs::File::open(&folder)?.sync_all()
}

/// The domains that have keys, in order.
pub fn domains(data: &Path) -> io::Result<Vec<String>> {
    let mut found = names(&data.join("dkim"))?;
    found.sort();
    Ok(found)
}

/// Only a plain domain is a folder's name.
fn folder(data: &Path, domain: &str) -> io::Result<PathBuf> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let labels = domain
        .split('.')
        .all(|label| !label.is_empty() && label.chars().all(plain));
    match labels && domain.len() <= 253 {
        true => Ok(data.join("dkim").join(domain)),
        false => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{domain:?} is not a domain that can have a key: a-z, 0-9, hyphens and dots"),
        )),
    }
}

/// The selectors in a folder, the oldest first: they begin with the day, and those of the same day have the time, or had a number once.
fn selectors(folder: &Path) -> io::Result<Vec<String>> {
    let names = names(folder)?.into_iter();
    let pems = names.filter_map(|n| n.strip_suffix(".pem").map(str::to_owned));
    let mut found: Vec<String> = pems.filter(|n| !n.starts_with('.')).collect();
    found.sort_by_key(|name| {
        let (day, number) = name.split_once('-').unwrap_or((name, "1"));
        let is_time = number.len() == 6;
        let number = number.parse::<u64>().unwrap_or(0);
        (day.to_owned(), is_time, number)
    });
    Ok(found)
}

fn names(folder: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries {
        found.extend(entry?.file_name().into_string());
    }
    Ok(found)
}

const RSA: &str = "RSA PRIVATE KEY";
const ED25519: &str = "PRIVATE KEY";

fn read(selector: &str, text: &str) -> io::Result<Pair> {
    let damaged = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let rsa = unpem(text, RSA).ok_or_else(|| damaged("it holds no RSA key"))?;
    let ed25519 = unpem(text, ED25519).ok_or_else(|| damaged("it holds no Ed25519 key"))?;
    Ok(Pair {
        selector: selector.to_owned(),
        rsa: RsaKeyPair::from_der(&rsa)
            .map_err(|e| damaged(&format!("its RSA key cannot be used: {e}")))?,
        ed25519: Ed25519KeyPair::from_pkcs8(&ed25519)
            .map_err(|e| damaged(&format!("its Ed25519 key cannot be used: {e}")))?,
    })
}

/// A fresh pair as the text of its file.
fn generate() -> io::Result<String> {
    let random = SystemRandom::new();
    let ed25519 = Ed25519KeyPair::generate_pkcs8(&random)
        .map_err(|_| io::Error::other("no random numbers"))?;
    loop {
        // Seldom, two primes have no exponents for each other; then others do.
        if let Some(rsa) = join(prime(), prime()) {
            let rsa = pem(RSA, &rsa);
            return Ok(rsa + &pem(ED25519, ed25519.as_ref()));
        }
    }
}

/// The public exponent that everybody uses.
const EXPONENT: u32 = 65_537;

/// A prime of 1024 bits whose two upper bits are set, so that two of them make 2048.
fn prime() -> U1024 {
    let mut random = UnwrapErr(SysRng);
    let bits = 1_024;
    let factory = SmallFactorsSieveFactory::new(Flavor::Any, bits, SetBits::TwoMsb)
        .expect("1024 bits are enough for a prime");
    sieve_and_find(&mut random, factory, |_, candidate: &U1024| {
        is_prime(Flavor::Any, candidate)
    })
    .expect("the operating system gives random numbers")
    .expect("the sieve has no end")
}

/// The RSA key of two primes as PKCS #1 (RFC 8017 appendix A.1.2); `None` if there is none.
fn join(p: U1024, q: U1024) -> Option<Vec<u8>> {
    // `qInv` asks for the larger one first.
    let (p, q) = if p > q { (p, q) } else { (q, p) };
    let one = U1024::ONE;
    let (p_less, q_less) = (p.wrapping_sub(&one), q.wrapping_sub(&one));
    let n: U2048 = p.concatenating_mul(&q);
    let phi: U2048 = p_less.concatenating_mul(&q_less);
    let e = U2048::from(EXPONENT);
    let d = Option::<U2048>::from(e.invert_mod(&Option::from(phi.to_nz())?))?;
    let exponent = |less: U1024| -> Option<U1024> {
        Option::from(U1024::from(EXPONENT).invert_mod(&Option::from(less.to_nz())?))
    };
    let odd: Odd<U1024> = Option::from(p.to_odd())?;
    let inverse = Option::<U1024>::from(q.invert_odd_mod(&odd))?;
    let numbers: [Vec<u8>; 8] = [
        n.to_be_bytes().as_ref().to_vec(),
        EXPONENT.to_be_bytes().to_vec(),
        d.to_be_bytes().as_ref().to_vec(),
        p.to_be_bytes().as_ref().to_vec(),
        q.to_be_bytes().as_ref().to_vec(),
        exponent(p_less)?.to_be_bytes().as_ref().to_vec(),
        exponent(q_less)?.to_be_bytes().as_ref().to_vec(),
        inverse.to_be_bytes().as_ref().to_vec(),
    ];
    let mut inner = der(0x02, &[0]);
    for number in numbers {
        inner.extend(der_number(&number));
    }
    Some(der(0x30, &inner))
}

/// A positive INTEGER: no zeros in front but one where the first bit would be a sign.
fn der_number(bytes: &[u8]) -> Vec<u8> {
    let start = bytes.iter().position(|b| *b != 0).unwrap_or(0);
    let digits = &bytes[start..];
    match digits.first() {
        Some(first) if *first >= 0x80 => der(0x02, &[&[0], digits].concat()),
        _ => der(0x02, digits),
    }
}

fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let mut out = vec![tag];
    match content.len() {
        small @ 0..0x80 => out.push(small as u8),
        _ => {
            let start = length.iter().position(|b| *b != 0).unwrap_or(0);
            out.push(0x80 | (length.len() - start) as u8);
            out.extend_from_slice(&length[start..]);
        }
    }
    out.extend_from_slice(content);
    out
}

/// An RSA public key as DNS has it: with the name of its algorithm in front.
fn spki(public: &[u8]) -> Vec<u8> {
    // rsaEncryption (RFC 3279 section 2.3.1), without parameters.
    let name = [
        0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00,
    ];
    let bits = der(0x03, &[&[0], public].concat());
    der(0x30, &[&name[..], &bits].concat())
}

fn pem(label: &str, der: &[u8]) -> String {
    let base64 = data_encoding::BASE64.encode(der);
    let lines = base64.as_bytes().chunks(64).map(String::from_utf8_lossy);
    let lines: Vec<_> = lines.collect();
    format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        lines.join("\n")
    )
}

fn unpem(text: &str, label: &str) -> Option<Vec<u8>> {
    let begin = format!("-----BEGIN {label}-----");
    let inner = text.split_once(&begin)?.1;
    let inner = inner.split_once(&format!("-----END {label}-----"))?.0;
    let base64: String = inner.split_whitespace().collect();
    data_encoding::BASE64.decode(base64.as_bytes()).ok()
}

/// How long keys are used before the folder is looked at again: a new one signs within that time.
const FRESH: Duration = Duration::from_secs(30);

/// The keys of all domains as they are used.
pub struct Keyring {
    data: PathBuf,
    known: Mutex<HashMap<String, Known>>,
    /// What the log was told of a domain's keys within the last hour: domain and trouble.
    told: Mutex<HashMap<(String, String), Instant>>,
}

/// The log is told of one trouble with a domain's keys once within that time, however many mails wait for them.
const TOLD_FOR: Duration = Duration::from_secs(3_600);

/// What was found when the keys of a domain were read last.
struct Known {
    read: Instant,
    /// Those that sign: the last that could be read.
    keys: Option<Arc<Keys>>,
    problem: String,
}

impl Keyring {
    /// Reads from a data folder when first asked.
    pub fn new(data: &Path) -> Keyring {
        Keyring {
            data: data.to_owned(),
            known: Mutex::default(),
            told: Mutex::default(),
        }
    }

    /// Whether the log has to be told of a trouble with a domain's keys now, an empty one being none.
    pub(super) fn is_news(&self, domain: &str, problem: &str, now: Instant) -> bool {
        if problem.is_empty() {
            return false;
        }
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.retain(|_, at| now.saturating_duration_since(*at) < TOLD_FOR);
        let trouble = (domain.to_owned(), problem.to_owned());
        match told.contains_key(&trouble) {
            true => false,
            false => told.insert(trouble, now).is_none(),
        }
    }

    /// The keys of a domain; a domain that cannot have any has none. What cannot be read now is left out, and where nothing can,
    /// the keys of before go on signing: an error is only that there never were any.
    pub fn of(&self, domain: &str) -> io::Result<Arc<Keys>> {
        // Whatever a panic left is a whole entry.
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let before = known.remove(domain);
        let found = match before {
            Some(found) if found.read.elapsed() < FRESH => found,
            before => self.read(domain, before.and_then(|found| found.keys)),
        };
        let keys = match &found.keys {
            Some(keys) => Ok(Arc::clone(keys)),
            None => Err(io::Error::other(found.problem.clone())),
        };
        known.insert(domain.to_owned(), found);
        keys
    }

    /// Whether there is a place for the domain's keys: where the last one was dropped, it stays.
    pub fn has_folder(&self, domain: &str) -> bool {
        folder(&self.data, domain).is_ok_and(|folder| folder.is_dir())
    }

    fn read(&self, domain: &str, before: Option<Arc<Keys>>) -> Known {
        let (keys, problem) = match load_some(&self.data, domain) {
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                (Some(Arc::default()), String::new())
            }
            Err(error) => (before, error.to_string()),
            Ok((keys, None))
                if keys.pairs.is_empty()
                    && before.as_ref().is_some_and(|b| !b.pairs.is_empty())
                    && !self.has_folder(domain) =>
            {
                (before, "its folder is gone".to_owned())
            }
            Ok((keys, None)) => (Some(Arc::new(keys)), String::new()),
            Ok((keys, Some(error))) if keys.pairs.is_empty() => (before, error.to_string()),
            Ok((keys, Some(error))) => (Some(Arc::new(keys)), error.to_string()),
        };
        if self.is_news(domain, &problem, Instant::now()) {
            tracing::error!("a key of {domain} cannot be used: {problem}");
        }
        Known {
            read: Instant::now(),
            keys,
            problem,
        }
    }
}

impl std::fmt::Debug for Keyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the keys in {}", self.data.display())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    const DAY: Timestamp = Timestamp::from_secs(1_800_000_000);

    #[test]
    fn a_trouble_with_keys_is_logged_once_an_hour() {
        let ring = Keyring::new(Path::new("/nowhere"));
        let start = Instant::now();
        let news = |domain, problem, secs| {
            ring.is_news(domain, problem, start + Duration::from_secs(secs))
        };
        assert!(news("x.org", "gone", 0));
        assert!(!news("x.org", "gone", 1));
        assert!(!news("x.org", "", 2));
        // Each by itself, also in turns.
        assert!(news("x.org", "garbled", 3) && news("y.org", "gone", 3));
        assert!(!news("x.org", "gone", 4) && !news("x.org", "garbled", 5));
        assert!(!news("x.org", "gone", 3_599));
        assert!(news("x.org", "gone", 3_600));
        assert!(!news("x.org", "gone", 3_700));
    }

    #[test]
    fn keys_are_made_kept_read_and_removed() {
        let data = tempfile::tempdir().expect("a folder");
        let data = data.path();
        assert!(load(data, "x.org").expect("none").pairs.is_empty());
        let names = ["p20270115-080000", "p20270115-080001", "p20270115-080002"];
        for expected in names {
            assert_eq!(make(data, "x.org", DAY).expect("made"), expected);
        }
        let file = data.join("dkim/x.org/p20270115-080000.pem");
        let mode = fs::metadata(&file).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let folder = fs::metadata(data.join("dkim/x.org")).expect("a folder");
        assert_eq!(folder.permissions().mode() & 0o777, 0o700);
        let keys = load(data, "x.org").expect("read");
        let selectors: Vec<_> = keys.pairs.iter().map(|p| &*p.selector).collect();
        assert_eq!(selectors, names);
        assert_eq!(keys.pairs[0].rsa.public().modulus_len(), 256);
        let records = keys.pairs[0].records("x.org");
        assert_eq!(records[0].name, "p20270115-080000._domainkey.x.org");
        assert_eq!(records[1].name, "p20270115-080000-ed._domainkey.x.org");
        remove(data, "x.org", names[0]).expect("removed");
        assert!(remove(data, "x.org", names[0]).is_err());
        assert_eq!(load(data, "x.org").expect("read").pairs.len(), 2);
        assert_eq!(domains(data).expect("read"), ["x.org"]);
    }

    #[test]
    fn the_name_of_a_key_that_was_dropped_is_never_used_again() {
        let data = tempfile::tempdir().expect("a folder");
        let data = data.path();
        let dropped = make(data, "x.org", DAY).expect("made");
        remove(data, "x.org", &dropped).expect("removed");
        let later = make(data, "x.org", DAY.plus_secs(60)).expect("made");
        assert_ne!(later, dropped);
        // Keys of before, whose names were the day and a number, are the older ones of their day.
        let names = ["p20270115-2", "p20270115", "p20270116", "p20270115-000001"];
        let folder = data.join("dkim/y.org");
        fs::create_dir_all(&folder).expect("made");
        for name in names {
            fs::write(folder.join(format!("{name}.pem")), "x").expect("written");
        }
        let sorted = ["p20270115", "p20270115-2", "p20270115-000001", "p20270116"];
        assert_eq!(selectors(&folder).expect("read"), sorted);
    }

    #[test]
    fn a_domain_is_never_a_way_out_of_the_folder() {
        let data = tempfile::tempdir().expect("a folder");
        for domain in [
            "", "..", ".", "a/b", "../x", "a..b", "A.org", "x.org/", "\0",
        ] {
            assert!(make(data.path(), domain, DAY).is_err(), "{domain:?}");
            let keyring = Keyring::new(data.path());
            assert!(keyring.of(domain).expect("none").pairs.is_empty());
        }
        assert!(!data.path().join("dkim").exists());
    }

    #[test]
    fn a_damaged_key_is_an_error_and_not_an_unsigned_mail() {
        let data = tempfile::tempdir().expect("a folder");
        let folder = data.path().join("dkim/x.org");
        fs::create_dir_all(&folder).expect("made");
        fs::write(folder.join("p20270115.pem"), "x").expect("written");
        let error = Keyring::new(data.path()).of("x.org").map(|_| ());
        let error = error.expect_err("damaged").to_string();
        assert!(
            error.ends_with("p20270115.pem: it holds no RSA key"),
            "{error}"
        );
    }

    #[test]
    fn a_key_that_cannot_be_read_leaves_the_others_signing() {
        let data = tempfile::tempdir().expect("a folder");
        let data = data.path();
        let first = [make(data, "x.org", DAY).expect("made")];
        let keyring = Keyring::new(data);
        let signing = |keyring: &Keyring| -> Vec<String> {
            let keys = keyring.of("x.org").expect("keys");
            keys.pairs.iter().map(|p| p.selector.clone()).collect()
        };
        let damaged = data.join("dkim/x.org/p20270116.pem");
        fs::write(&damaged, "x").expect("written");
        assert!(load(data, "x.org").is_err());
        assert_eq!(signing(&keyring), first);
        // Those of before, where none is left.
        let only = data.join(format!("dkim/x.org/{}.pem", first[0]));
        fs::write(only, "x").expect("written");
        let again = |keyring: &Keyring| {
            let mut known = keyring.known.lock().expect("sound");
            let found = known.remove("x.org").expect("known");
            let new = keyring.read("x.org", found.keys);
            known.insert("x.org".to_owned(), new);
        };
        again(&keyring);
        assert_eq!(signing(&keyring), first);
        assert!(Keyring::new(data).of("x.org").is_err());
    }

    #[test]
    fn numbers_are_written_as_der_wants_them() {
        assert_eq!(der_number(&[0, 0, 1, 0, 1]), [2, 3, 1, 0, 1]);
        assert_eq!(der_number(&[0x80]), [2, 2, 0, 0x80]);
        assert_eq!(der(0x30, &[0; 200])[..3], [0x30, 0x81, 200]);
        assert_eq!(der(0x30, &[0; 300])[..4], [0x30, 0x82, 1, 44]);
    }
}
