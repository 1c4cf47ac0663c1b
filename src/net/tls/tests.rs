use super::*;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;

/// A certificate for `mx.example.org` that signs itself, as PEM and as what a client trusts.
pub(crate) struct Pair {
    pub(crate) cert: String,
    pub(crate) key: String,
    der: CertificateDer<'static>,
}

pub(crate) fn make_pair() -> Pair {
    let made = rcgen::generate_simple_self_signed(["mx.example.org".to_owned()]).expect("made");
    Pair {
        cert: made.cert.pem(),
        key: made.signing_key.serialize_pem(),
        der: made.cert.der().clone(),
    }
}

/// A client that trusts this certificate and no other.
pub(crate) fn client(pair: &Pair) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(pair.der.clone()).expect("a certificate");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}

pub(crate) fn name() -> ServerName<'static> {
    ServerName::try_from("mx.example.org").expect("a name")
}

struct Files {
    _folder: tempfile::TempDir,
    cert: PathBuf,
    key: PathBuf,
}

impl Files {
    fn with(pair: &Pair) -> Files {
        let folder = tempfile::tempdir().expect("a folder");
        let files = Files {
            cert: folder.path().join("chain.pem"),
            key: folder.path().join("key.pem"),
            _folder: folder,
        };
        files.write(&pair.cert, &pair.key);
        files
    }

    fn write(&self, cert: &str, key: &str) {
        std::fs::write(&self.cert, cert).expect("writes");
        std::fs::write(&self.key, key).expect("writes");
    }
}

/// Whether a client that trusts only `pair` gets through to what `tls` serves now.
async fn serves(tls: &Tls, pair: &Pair) -> bool {
    let (near, far) = tokio::io::duplex(1 << 16);
    let server = tls.acceptor().accept(far);
    let (client, _) = tokio::join!(client(pair).connect(name(), near), server);
    client.is_ok()
}

#[tokio::test]
async fn a_new_pair_is_served_without_a_restart() {
    let (old, new) = (make_pair(), make_pair());
    let files = Files::with(&old);
    let tls = Tls::open(&files.cert, &files.key).expect("fits");
    assert!(serves(&tls, &old).await);
    assert!(!serves(&tls, &new).await);
    files.write(&new.cert, &new.key);
    assert!(serves(&tls, &new).await);
}

#[tokio::test]
async fn a_pair_that_does_not_fit_is_not_served_until_it_does() {
    let (old, new) = (make_pair(), make_pair());
    let files = Files::with(&old);
    let tls = Tls::open(&files.cert, &files.key).expect("fits");
    files.write(&new.cert, &old.key);
    assert!(serves(&tls, &old).await);
    std::fs::remove_file(&files.key).expect("removes");
    assert!(serves(&tls, &old).await);
    files.write(&new.cert, &new.key);
    assert!(serves(&tls, &new).await);
}

#[test]
fn files_that_cannot_be_used_are_named() {
    let (one, two) = (make_pair(), make_pair());
    let files = Files::with(&one);
    files.write(&one.cert, &two.key);
    let error = Tls::open(&files.cert, &files.key).err().expect("unfit");
    assert!(error.contains("do not fit"), "{error}");
    let error = Tls::open(Path::new("/nowhere/chain.pem"), &files.key)
        .err()
        .expect("away");
    assert!(error.contains("/nowhere/chain.pem"), "{error}");
    files.write("no certificate", &one.key);
    assert!(Tls::open(&files.cert, &files.key).is_err());
}
