//! The next hop: where it is, how its connection is kept from others' eyes, and who we are there.

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::config::{self, RelayTls};

/// A connection, with TLS or without.
pub trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// Where Debian and most others keep the certificates of authorities.
const SYSTEM_CA: &str = "/etc/ssl/certs/ca-certificates.crt";

/// The mail server that takes all our mail.
#[derive(Debug, Clone)]
pub struct Relay {
    /// `host:port`
    pub address: String,
    /// How TLS begins, if it does.
    pub tls: Option<Security>,
    /// Who we are.
    pub login: Option<Login>,
}

/// TLS with a server whose certificate has to be good.
#[derive(Clone)]
pub struct Security {
    /// Whether it begins by STARTTLS, or with the first octet.
    pub starttls: bool,
    /// The name that the certificate has to hold.
    pub name: ServerName<'static>,
    /// Whom to trust.
    pub config: Arc<ClientConfig>,
}

impl fmt::Debug for Security {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TLS to {:?}, STARTTLS: {}", self.name, self.starttls)
    }
}

/// A user and a password.
#[derive(Clone)]
pub struct Login {
    /// The user.
    pub user: String,
    /// The password.
    pub password: String,
}

impl fmt::Debug for Login {
    /// Without the password: this may stand in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "login as {:?}", self.user)
    }
}

impl From<String> for Relay {
    /// A relay that wants neither TLS nor a login.
    fn from(address: String) -> Relay {
        Relay {
            address,
            tls: None,
            login: None,
        }
    }
}

impl Relay {
    /// The relay of the configuration; reads the files that it names. The error says which is unfit and why.
    pub fn open(delivery: &config::Delivery) -> Result<Relay, String> {
        let mut relay = Relay::from(delivery.relay.clone());
        let starttls = match delivery.relay_tls {
            RelayTls::None => None,
            RelayTls::Starttls => Some(true),
            RelayTls::Tls => Some(false),
        };
        if let Some(starttls) = starttls {
            let host = host_of(&relay.address);
            let name = ServerName::try_from(host.to_owned())
                .map_err(|_| format!("delivery.relay: no certificate can be made out to {host}"))?;
            let ca = match delivery.relay_ca.as_str() {
                "" => SYSTEM_CA,
                path => path,
            };
            relay.tls = Some(Security {
                starttls,
                name,
                config: trust(Path::new(ca))?,
            });
        }
        if !delivery.relay_user.is_empty() {
            let password = match delivery.relay_password_file.as_str() {
                "" => delivery.relay_password.clone(),
                path => std::fs::read_to_string(path)
                    .map_err(|e| format!("delivery.relay_password_file: cannot read {path}: {e}"))?
                    .trim_end_matches(['\r', '\n'])
                    .to_owned(),
            };
            relay.login = Some(Login {
                user: delivery.relay_user.clone(),
                password,
            });
        }
        Ok(relay)
    }

    /// Whether mail goes there over the network without TLS.
    pub fn is_open(&self) -> bool {
        let host = host_of(&self.address);
        let here = host.parse::<std::net::IpAddr>().map(|ip| ip.is_loopback());
        self.tls.is_none() && !here.unwrap_or(host.eq_ignore_ascii_case("localhost"))
    }

    /// Whether a password may be told over a connection to that peer: over TLS, or where nobody else listens.
    pub fn may_log_in(&self, peer: Option<SocketAddr>) -> bool {
        self.tls.is_some() || peer.is_some_and(|peer| peer.ip().is_loopback())
    }
}

/// The host of `host:port`, without the brackets of an IPv6 address.
pub(super) fn host_of(address: &str) -> &str {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']')
}

/// Trust in the authorities of a PEM file.
pub fn trust(ca: &Path) -> Result<Arc<ClientConfig>, String> {
    let hint = "set delivery.relay_ca to a PEM file of the authorities to trust";
    let cannot = |e: &dyn fmt::Display| format!("cannot read {}: {e}; {hint}", ca.display());
    let mut roots = RootCertStore::empty();
    for found in CertificateDer::pem_file_iter(ca).map_err(|e| cannot(&e))? {
        // An old authority that this library does not know is left out.
        let _known = roots.add(found.map_err(|e| cannot(&e))?);
    }
    if roots.is_empty() {
        return Err(format!("{} holds no certificate; {hint}", ca.display()));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| format!("cannot set up TLS: {e}"))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}
