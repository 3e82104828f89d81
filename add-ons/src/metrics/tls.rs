//! The server's own certificate, and whom it believes: the apiservers' aggregation layer alone, by the certificate that its
//! authority has signed. The authority is in the ConfigMap by which every cluster tells servers like this one of it.

use std::sync::Arc;

use k8s_openapi::api::core::v1::ConfigMap;
use kubelab_client::Client;
use rcgen::{CertificateParams, KeyPair};
use rustls::{
    RootCertStore, ServerConfig,
    crypto::ring,
    server::{VerifierBuilderError, WebPkiClientVerifier},
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject};
use tokio_rustls::TlsAcceptor;

const TRUST: &str = "extension-apiserver-authentication";
const AUTHORITY: &str = "requestheader-client-ca-file";

/// Why nothing can be served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The ConfigMap cannot be read.
    #[error("configmap {TRUST:?}: {0}")]
    Trust(String),
    /// The authority in it cannot be used.
    #[error("{AUTHORITY}: {0}")]
    Authority(#[from] VerifierBuilderError),
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] rustls::Error),
    /// No certificate can be made.
    #[error("no certificate can be made: {0}")]
    Make(#[from] rcgen::Error),
}

/// Takes connections with TLS. Clients show a certificate of the aggregation layer, or none.
pub async fn acceptor(client: &Client) -> Result<TlsAcceptor, Error> {
    let trust: ConfigMap =
        client.get("kube-system", TRUST).await.map_err(|error: kubelab_api::Error| Error::Trust(error.message))?;
    let authority = trust.data.as_ref().and_then(|data| data.get(AUTHORITY)).map(String::as_str).unwrap_or_default();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(CertificateDer::pem_slice_iter(authority.as_bytes()).filter_map(Result::ok));
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).allow_unauthenticated();
    let key = KeyPair::generate()?;
    // Nobody checks it: the APIService says so, as upstream's does.
    let certificate = CertificateParams::new(["metrics-server".to_owned()])?.self_signed(&key)?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let chain = vec![certificate.der().clone()];
    let mut config = builder.with_client_cert_verifier(verifier.build()?).with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Whether these certificates, which were checked, make their holder one that is believed.
pub fn is_proxy(certificates: &[CertificateDer<'_>]) -> bool {
    !certificates.is_empty()
}
