//! The certificates that hosts are served with.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use k8s_openapi::api::core::v1::Secret;
use kubelab_client::Cache;
use rustls::{
    ServerConfig,
    crypto::ring,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

use super::routes::Table;

/// What is served to those who ask for a host that has no certificate. Source: ingress-nginx.
const FAKE_ORGANIZATION: &str = "Acme Co";
const FAKE_NAME: &str = "Kubernetes Ingress Controller Fake Certificate";

/// Certificates that are kept parsed.
const MAX_KEYS: usize = 1024;

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The Secret has no such part.
    #[error("has no {0}")]
    Missing(&'static str),
    /// It is no PEM.
    #[error("{0} is no PEM: {1}")]
    Pem(&'static str, #[source] rustls_pki_types::pem::Error),
    /// The key cannot be used, or is that of another certificate.
    #[error("the key cannot be used: {0}")]
    Key(#[from] rustls::Error),
    /// A certificate could not be made.
    #[error("no certificate can be made: {0}")]
    Make(#[from] rcgen::Error),
}

/// Chooses a certificate by the name that a client asks for.
pub struct Certificates {
    table: Arc<RwLock<Arc<Table>>>,
    secrets: Cache<Secret>,
    fake: Arc<CertifiedKey>,
    /// By namespace and name, with the revision that they are of.
    keys: Mutex<HashMap<(String, String), (String, Option<Arc<CertifiedKey>>)>>,
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Certificates")
    }
}

impl Certificates {
    /// The certificates that this table names, from these Secrets.
    pub fn new(table: Arc<RwLock<Arc<Table>>>, secrets: Cache<Secret>) -> Result<Self, Error> {
        Ok(Self { table, secrets, fake: Arc::new(fake()?), keys: Mutex::default() })
    }

    /// How connections are served with them.
    pub fn config(self: Arc<Self>) -> Result<ServerConfig, rustls::Error> {
        let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions()?;
        let mut config = builder.with_no_client_auth().with_cert_resolver(self);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }

    fn find(&self, host: &str) -> Option<Arc<CertifiedKey>> {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner).clone();
        let certificate = table.certificate(host)?;
        let secret = self.secrets.get(&certificate.namespace, &certificate.secret)?;
        let revision = secret.metadata.resource_version.clone().unwrap_or_default();
        let place = (certificate.namespace.clone(), certificate.secret.clone());
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, key)) = keys.get(&place).filter(|(known, _)| *known == revision) {
            return key.clone();
        }
        let key = parse(&secret).map(Arc::new);
        if let Err(error) = &key {
            tracing::debug!(secret = %certificate.secret, %error, "a certificate cannot be used");
        }
        if keys.len() >= MAX_KEYS {
            keys.clear();
        }
        let key = key.ok();
        keys.insert(place, (revision, key.clone()));
        key
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let found = hello.server_name().and_then(|host| self.find(host));
        Some(found.unwrap_or_else(|| self.fake.clone()))
    }
}

fn parse(secret: &Secret) -> Result<CertifiedKey, Error> {
    let part = |name: &'static str| {
        secret.data.as_ref().and_then(|data| data.get(name)).map(|bytes| bytes.0.as_slice()).ok_or(Error::Missing(name))
    };
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(part("tls.crt")?).collect();
    let chain = chain.map_err(|error| Error::Pem("tls.crt", error))?;
    let key = PrivateKeyDer::from_pem_slice(part("tls.key")?).map_err(|error| Error::Pem("tls.key", error))?;
    Ok(CertifiedKey::from_der(chain, key, &ring::default_provider())?)
}

fn fake() -> Result<CertifiedKey, Error> {
    let pair = rcgen::KeyPair::generate()?;
    let mut params = rcgen::CertificateParams::new(vec!["ingress.local".to_owned()])?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::OrganizationName, FAKE_ORGANIZATION);
    params.distinguished_name.push(rcgen::DnType::CommonName, FAKE_NAME);
    let certificate = params.self_signed(&pair)?;
    let key = PrivateKeyDer::try_from(pair.serialize_der()).map_err(|why| rustls::Error::General(why.to_owned()))?;
    Ok(CertifiedKey::from_der(vec![certificate.der().clone()], key, &ring::default_provider())?)
}
