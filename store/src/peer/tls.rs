//! Certificates for both sides of a peer connection.

use std::{io, path::PathBuf};

use tonic::transport::{Certificate, ClientTlsConfig, Identity, ServerTlsConfig};

/// PEM files for mutual TLS between members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerTls {
    /// Who signs the members' certificates.
    pub ca: PathBuf,
    /// This member's certificate, valid for its peer address, for both client and server use.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// The files, read.
#[derive(Clone)]
pub(crate) struct Tls {
    ca: Certificate,
    identity: Identity,
}

impl Tls {
    pub(crate) fn read(files: &PeerTls) -> io::Result<Self> {
        let read = |path: &PathBuf| {
            std::fs::read(path).map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
        };
        Ok(Self {
            ca: Certificate::from_pem(read(&files.ca)?),
            identity: Identity::from_pem(read(&files.cert)?, read(&files.key)?),
        })
    }

    pub(super) fn client(&self) -> ClientTlsConfig {
        ClientTlsConfig::new().ca_certificate(self.ca.clone()).identity(self.identity.clone())
    }

    pub(super) fn server(&self) -> ServerTlsConfig {
        ServerTlsConfig::new().client_ca_root(self.ca.clone()).identity(self.identity.clone())
    }
}
