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
    current: Mutex<(TlsAcceptor, Option<Stamp>)>,
}

/// When both files were changed and how long they are. Not the newer time alone: a certificate that was made before
/// the key is older than it, and still another one.
type Stamp = [(SystemTime, u64); 2];

impl Tls {
    /// Reads both files; an error says which one is unfit and why.
    pub fn open(cert: &Path, key: &Path) -> Result<Tls, String> {
        // The stamp first: what changes while the files are read is then read again.
        let stamp = stamp(cert, key);
        let current = Mutex::new((load(cert, key)?, stamp));
        Ok(Tls {
            cert: cert.to_owned(),
            key: key.to_owned(),
            current,
        })
    }

    /// The acceptor for a new connection. Files that changed are read again; if they do not fit, the old pair stays.
    pub fn acceptor(&self) -> TlsAcceptor {
        let changed = {
            let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
            stamp(&self.cert, &self.key) != current.1
        };
        if changed {
            self.reload();
        }
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        current.0.clone()
    }

    /// Reads both files again now; if they do not fit, the old pair stays, and a log line says why.
    pub fn reload(&self) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        current.1 = stamp(&self.cert, &self.key);
        match load(&self.cert, &self.key) {
            Ok(acceptor) => {
                tracing::info!(tls.cert = %self.cert.display(), "the certificate was read again");
                current.0 = acceptor;
            }
            Err(error) => {
                tracing::error!(%error, "the new certificate is not used, the old one stays")
            }
        }
    }
}

/// `None` while a file is away; it is read again when it is back.
fn stamp(cert: &Path, key: &Path) -> Option<Stamp> {
    let of = |path: &Path| {
        // Unreadable and away are the same here: `load` says which.
        let file = std::fs::metadata(path).ok()?;
        Some((file.modified().ok()?, file.len()))
    };
    Some([of(cert)?, of(key)?])
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

#[cfg(test)]
pub(crate) mod tests;
