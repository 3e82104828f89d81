//! The certificate that servers in containers show where they speak TLS. They made it themselves, so whoever checks it has
//! to be told not to.

use std::sync::{Arc, LazyLock};

use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use tokio_rustls::TlsAcceptor;

/// Why no certificate can be made.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Make(#[from] rcgen::Error),
    #[error(transparent)]
    Use(#[from] rustls::Error),
}

static ACCEPTOR: LazyLock<Option<TlsAcceptor>> = LazyLock::new(|| match make() {
    Ok(acceptor) => Some(acceptor),
    Err(error) => {
        tracing::error!(%error, "containers cannot speak TLS");
        None
    }
});

/// Takes connections with TLS; one certificate does for all servers of a process.
pub fn acceptor() -> Option<&'static TlsAcceptor> {
    ACCEPTOR.as_ref()
}

fn make() -> Result<TlsAcceptor, Error> {
    let key = rcgen::KeyPair::generate()?;
    let certificate = rcgen::CertificateParams::new(["localhost".to_owned()])?.self_signed(&key)?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions()?.with_no_client_auth();
    Ok(TlsAcceptor::from(Arc::new(builder.with_single_cert(vec![certificate.der().clone()], key)?)))
}
