//! Whose certificates are believed.

use std::sync::Arc;

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    crypto::{CryptoProvider, ring},
    server::ParsedCertificate,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject};

/// TLS towards a server with a certificate of one of these authorities (PEM), or of the system's where there are none.
pub fn client_config(authorities: &[u8], insecure: bool) -> Result<ClientConfig, String> {
    let provider = Arc::new(ring::default_provider());
    let verifier: Arc<dyn ServerCertVerifier> = if insecure {
        Arc::new(Verifier { inner: None, known: Vec::new(), provider: Arc::clone(&provider) })
    } else {
        let known = known(authorities)?;
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(known.iter().cloned());
        let inner = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build();
        let inner = inner.map_err(|_| "x509: certificate signed by unknown authority".to_owned())?;
        Arc::new(Verifier { inner: Some(inner), known, provider: Arc::clone(&provider) })
    };
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| error.to_string())?;
    let mut config = builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn known(authorities: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    if authorities.is_empty() {
        return Ok(rustls_native_certs::load_native_certs().certs);
    }
    let known: Vec<_> = CertificateDer::pem_slice_iter(authorities).filter_map(Result::ok).collect();
    if known.is_empty() { Err("unable to load root certificates: no valid certificate".into()) } else { Ok(known) }
}

/// Why these are no certificates of authorities. Source: `rootCertPool` in `k8s.io/client-go/transport`.
pub fn wrong_authorities(authorities: &[u8]) -> Option<String> {
    let mut parsed = CertificateDer::pem_slice_iter(authorities).filter_map(Result::ok).peekable();
    let why = match parsed.peek() {
        None => "unable to parse bytes as PEM block".to_owned(),
        Some(_) => {
            let mut roots = RootCertStore::empty();
            match roots.add_parsable_certificates(parsed) {
                (0, _) => "failed to parse certificate: x509: malformed certificate".to_owned(),
                _ => return None,
            }
        }
    };
    Some(format!("unable to load root certificates: {why}"))
}

/// As Go does, believes a server that shows one of the known certificates itself, though it is an authority's.
#[derive(Debug)]
struct Verifier {
    inner: Option<Arc<WebPkiServerVerifier>>,
    known: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(inner) = &self.inner else { return Ok(ServerCertVerified::assertion()) };
        match inner.verify_server_cert(end_entity, intermediates, name, ocsp, now) {
            Err(Error::InvalidCertificate(CertificateError::Expired | CertificateError::Revoked)) => {
                Err(Error::InvalidCertificate(CertificateError::Expired))
            }
            Err(_) if self.known.iter().any(|known| known.as_ref() == end_entity.as_ref()) => {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, name)?;
                Ok(ServerCertVerified::assertion())
            }
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
