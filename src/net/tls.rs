//! TLS for listeners: certificate files, swapped when they change if chain and key fit.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

/// A certificate and key by their files.
pub struct Tls {
    cert: PathBuf,
    key: PathBuf,
    current: Mutex<(TlsAcceptor, Option<SystemTime>)>,
}

impl Tls {
    /// Reads both files; an error says which one is unfit and why.
    pub fn open(cert: &Path, key: &Path) -> Result<Tls, String> {
        let acceptor = load(cert, key)?;
        let current = Mutex::new((acceptor, changed(cert, key)));
        Ok(Tls {
            cert: cert.to_owned(),
            key: key.to_owned(),
            current,
        })
    }

    /// The acceptor for a new connection. Files that changed are read again; if they do not fit, the old pair stays.
    pub fn acceptor(&self) -> TlsAcceptor {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let now = changed(&self.cert, &self.key);
        if now != current.1 {
            current.1 = now;
            match load(&self.cert, &self.key) {
                Ok(acceptor) => {
                    tracing::info!(tls.cert = %self.cert.display(), "the certificate was replaced");
                    current.0 = acceptor;
                }
                Err(error) => {
                    tracing::error!(%error, "the new certificate is not used, the old one stays")
                }
            }
        }
        current.0.clone()
    }
}

fn changed(cert: &Path, key: &Path) -> Option<SystemTime> {
    // A file that is away for a moment counts as unchanged-to-nothing and is read again when it is back.
    let time = |path: &Path| std::fs::metadata(path).and_then(|m| m.modified()).ok();
    Some(time(cert)?.max(time(key)?))
}

fn load(cert: &Path, key: &Path) -> Result<TlsAcceptor, String> {
    let chain = CertificateDer::pem_file_iter(cert)
        .and_then(|certs| certs.collect::<Result<Vec<_>, _>>())
        .map_err(|e| format!("cannot read the certificate {}: {e}", cert.display()))?;
    let private = PrivateKeyDer::from_pem_file(key)
        .map_err(|e| format!("cannot read the key {}: {e}", key.display()))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| format!("cannot set up TLS: {e}"))?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(|e| {
            format!(
                "certificate {} and key {} do not fit: {e}",
                cert.display(),
                key.display()
            )
        })?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}
