//! What a certificate says of itself: how long it holds, for which names, who signed it (RFC 5280 section 4.1).

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chrono::NaiveDateTime;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::types::Timestamp;

/// A certificate that was looked at.
#[derive(Debug, Clone)]
pub struct Certificate {
    der: CertificateDer<'static>,
    /// It holds until then.
    pub until: Timestamp,
    /// Nobody but its owner vouches for it.
    pub own: bool,
}

impl Certificate {
    /// The first one of a PEM file: the server's own.
    pub fn read(file: &Path) -> Result<Certificate, String> {
        let der = CertificateDer::from_pem_file(file);
        let der =
            der.map_err(|e| format!("cannot read the certificate {}: {e}", file.display()))?;
        Certificate::parse(der)
    }

    /// The one that a server shows at `address` to who asks for `name`; nothing is trusted and nothing is sent.
    pub async fn shown_by(address: &str, name: &str) -> Result<Certificate, String> {
        let limit = Duration::from_secs(10);
        let seen = tokio::time::timeout(limit, shown_by(address, name)).await;
        seen.map_err(|_| format!("{address} says nothing within {} s", limit.as_secs()))?
    }

    fn parse(der: CertificateDer<'static>) -> Result<Certificate, String> {
        let (until, own) = dates(&der).ok_or("that is no certificate of a known form")?;
        Ok(Certificate { der, until, own })
    }

    /// Whether it is for that host name.
    pub fn is_for(&self, name: &str) -> bool {
        let Ok(server) = ServerName::try_from(name.to_owned()) else {
            return false;
        };
        let parsed = ParsedCertificate::try_from(&self.der);
        parsed.is_ok_and(|c| rustls::client::verify_server_name(&c, &server).is_ok())
    }
}

async fn shown_by(address: &str, name: &str) -> Result<Certificate, String> {
    let stream = TcpStream::connect(address).await;
    let stream = stream.map_err(|e| format!("cannot connect to {address}: {e}"))?;
    let provider = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|e| format!("cannot set up TLS: {e}"))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Onlooker(provider)))
        .with_no_client_auth();
    let server = ServerName::try_from(name.to_owned());
    let server = server.map_err(|_| format!("{name} is no host name"))?;
    let connected = TlsConnector::from(Arc::new(config))
        .connect(server, stream)
        .await;
    let connected = connected.map_err(|e| format!("no TLS with {address}: {e}"))?;
    let chain = connected.get_ref().1.peer_certificates();
    let first = chain.and_then(<[_]>::first);
    let first = first.ok_or_else(|| format!("{address} shows no certificate"))?;
    Certificate::parse(first.clone().into_owned())
}

/// Takes any certificate: it is looked at, and nothing is sent to its owner.
#[derive(Debug)]
struct Onlooker(Arc<CryptoProvider>);

impl ServerCertVerifier for Onlooker {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            cert,
            signed,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            cert,
            signed,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Until when a certificate holds, and whether issuer and subject are the same.
fn dates(der: &[u8]) -> Option<(Timestamp, bool)> {
    let (_, whole, _) = element(der)?;
    let (_, inner, _) = element(whole)?;
    let (tag, _, after) = element(inner)?;
    // The version is left out of the oldest form; then this was the serial number.
    let rest = if tag == 0xa0 {
        element(after)?.2
    } else {
        after
    };
    let (_, _, rest) = element(rest)?;
    let (_, issuer, rest) = element(rest)?;
    let (_, validity, rest) = element(rest)?;
    let (_, subject, _) = element(rest)?;
    let (_, _, end) = element(validity)?;
    let (tag, end, _) = element(end)?;
    let text = std::str::from_utf8(end).ok()?;
    // RFC 5280 section 4.1.2.5.1: years of two digits are those of 1950 to 2049.
    let text = match (tag, text.get(..2)?) {
        (0x17, year) if year < "50" => format!("20{text}"),
        (0x17, _) => format!("19{text}"),
        _ => text.to_owned(),
    };
    let until = NaiveDateTime::parse_from_str(&text, "%Y%m%d%H%M%SZ").ok()?;
    Some((
        Timestamp(until.and_utc().timestamp_micros()),
        issuer == subject,
    ))
}

/// The first DER element: its tag, its content, and what follows (X.690 section 8.1).
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, first], mut rest) = bytes.split_first_chunk::<2>()?;
    let mut length = usize::from(first);
    if first & 0x80 != 0 {
        let count = usize::from(first & 0x7f);
        if count > 4 {
            return None;
        }
        let (digits, after) = rest.split_at_checked(count)?;
        length = digits.iter().fold(0, |n, d| (n << 8) | usize::from(*d));
        rest = after;
    }
    let (content, after) = rest.split_at_checked(length)?;
    Some((tag, content, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_tells_its_names_and_its_end() {
        let mut wish = rcgen::CertificateParams::new(vec!["lists.example.org".to_owned()])
            .expect("a host name");
        for (year, expected) in [(2031, "2031-05-06"), (2061, "2061-05-06")] {
            wish.not_after = rcgen::date_time_ymd(year, 5, 6);
            let key = rcgen::KeyPair::generate().expect("a key");
            let made = wish.self_signed(&key).expect("a certificate");
            let folder = tempfile::tempdir().expect("a folder");
            let file = folder.path().join("cert.pem");
            std::fs::write(&file, made.pem()).expect("written");
            let read = Certificate::read(&file).expect("a certificate");
            let until = chrono::DateTime::from_timestamp(read.until.secs(), 0);
            let until = until.expect("in range").format("%Y-%m-%d");
            assert_eq!(until.to_string(), expected);
            assert!(read.own && read.is_for("lists.example.org"));
            assert!(!read.is_for("example.org") && !read.is_for("no name"));
        }
    }

    #[test]
    fn bytes_that_are_cut_off_are_no_certificate() {
        let made = rcgen::generate_simple_self_signed(vec!["a.example".to_owned()]);
        let made = made.expect("a certificate");
        let der = made.cert.der();
        assert!(dates(der).is_some());
        for end in 0..der.len() {
            assert!(dates(&der[..end]).is_none(), "{end}");
        }
    }
}
