//! Requests over the pod network.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response, body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;

use super::{
    Dialer, Failure, Protocol, connect,
    resolver::{self, Resolver},
};

/// Where a request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// Over TLS.
    pub secure: bool,
    /// The host's name or address.
    pub host: String,
    /// The port.
    pub port: u16,
    /// `user:password`
    pub user: Option<String>,
    /// With its query; `/` where there is none.
    pub path: String,
}

impl Url {
    /// Reads `http://web:8080/path?query`; without a scheme it is HTTP.
    pub fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
        let secure = match scheme.to_ascii_lowercase().as_str() {
            "http" => false,
            "https" => true,
            _ => return None,
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let (authority, path) = match rest.find(['/', '?']) {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        let (user, authority) = match authority.rsplit_once('@') {
            Some((user, authority)) => (Some(user.to_owned()), authority),
            None => (None, authority),
        };
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, port.parse().ok()?),
            _ => (authority, if secure { 443 } else { 80 }),
        };
        let host = host.trim_matches(['[', ']']).to_owned();
        (!host.is_empty()).then_some(Self { secure, host, port, user, path })
    }

    /// What this answer's `Location` means, seen from here.
    pub fn join(&self, location: &str) -> Option<Self> {
        if location.contains("://") {
            return Self::parse(location);
        }
        let path = if location.starts_with('/') {
            location.to_owned()
        } else {
            let folder = self.path.rsplit_once('/').map_or("", |(folder, _)| folder);
            format!("{folder}/{location}")
        };
        Some(Self { path, ..self.clone() })
    }

    /// As the `Host` header has it.
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        if self.port == if self.secure { 443 } else { 80 } { host } else { format!("{host}:{}", self.port) }
    }
}

impl std::fmt::Display for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}://{}{}", if self.secure { "https" } else { "http" }, self.authority(), self.path)
    }
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The host has no address.
    Name(resolver::Error),
    /// There is no connection.
    Connect(IpAddr, Failure),
    /// The certificate is not one to trust, or the other side speaks no TLS.
    Tls(String),
    /// Something else than HTTP came back, or nothing.
    Broken,
}

/// Whom to trust.
#[derive(Clone, Debug)]
pub enum Trust {
    /// Anybody.
    Anybody,
    /// Who has a certificate of these authorities (PEM); nobody where it is empty.
    Authorities(Vec<u8>),
}

/// How requests are sent.
pub struct Sender<'a> {
    /// The network.
    pub network: &'a dyn Dialer,
    /// Names.
    pub resolver: &'a Resolver<'a>,
    /// Whom to trust.
    pub trust: Trust,
    /// How long a connection may take.
    pub patience: Option<Duration>,
}

/// An answer, and who gave it.
pub struct Answer {
    /// The answer.
    pub response: Response<Incoming>,
    /// Where it came from.
    pub from: SocketAddr,
}

impl Sender<'_> {
    /// The address that a request to a URL goes to.
    pub async fn resolve(&self, url: &Url) -> Result<SocketAddr, Error> {
        let addresses = self.resolver.addresses(&url.host).await.map_err(Error::Name)?;
        let first = addresses.first().ok_or(Error::Name(resolver::Error::NoSuchName))?;
        Ok(SocketAddr::new(*first, url.port))
    }

    /// Sends a request to an address.
    pub async fn send(&self, url: &Url, to: SocketAddr, request: Request<Full<Bytes>>) -> Result<Answer, Error> {
        send(self.network, &self.trust, self.patience, url, to, request).await
    }
}

/// Sends a request to an address; `patience` is how long the connection may take.
pub async fn send(
    network: &dyn Dialer,
    trust: &Trust,
    patience: Option<Duration>,
    url: &Url,
    to: SocketAddr,
    request: Request<Full<Bytes>>,
) -> Result<Answer, Error> {
    let dialled = connect(network, to, Protocol::Tcp, patience).await;
    let stream = dialled.map_err(|failure| Error::Connect(to.ip(), failure))?;
    let response = if url.secure {
        let name = ServerName::try_from(url.host.clone()).map_err(|error| Error::Tls(error.to_string()))?;
        let connector = TlsConnector::from(Arc::new(client_config(trust)?));
        let stream = connector.connect(name, stream).await.map_err(|error| Error::Tls(tls_error(&error)))?;
        exchange(stream, request).await
    } else {
        exchange(stream, request).await
    };
    Ok(Answer { response: response.map_err(|_| Error::Broken)?, from: to })
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Full<Bytes>>,
) -> Result<Response<Incoming>, hyper::Error> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // It ends with the answer's body.
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection of a pod's program broke");
        }
    });
    sender.send_request(request).await
}

/// What OpenSSL says where rustls says something else.
fn tls_error(error: &std::io::Error) -> String {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner {
        Some(rustls::Error::InvalidCertificate(why)) => match why {
            rustls::CertificateError::UnknownIssuer => "unable to get local issuer certificate".to_owned(),
            rustls::CertificateError::Expired | rustls::CertificateError::ExpiredContext { .. } => {
                "certificate has expired".to_owned()
            }
            rustls::CertificateError::NotValidForName | rustls::CertificateError::NotValidForNameContext { .. } => {
                "no alternative certificate subject name matches target host name".to_owned()
            }
            other => other.to_string(),
        },
        _ => "wrong version number".to_owned(),
    }
}

fn client_config(trust: &Trust) -> Result<ClientConfig, Error> {
    let provider = Arc::new(ring::default_provider());
    let wrong = |error: rustls::Error| Error::Tls(error.to_string());
    let builder = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
    let builder = builder.map_err(wrong)?;
    Ok(match trust {
        Trust::Anybody => {
            let verifier = Arc::new(Trusting(provider));
            builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth()
        }
        Trust::Authorities(pem) => {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(CertificateDer::pem_slice_iter(pem).filter_map(Result::ok));
            builder.with_root_certificates(roots).with_no_client_auth()
        }
    })
}

/// Takes any certificate, as `curl --insecure` does.
#[derive(Debug)]
struct Trusting(Arc<CryptoProvider>);

impl ServerCertVerifier for Trusting {
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
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn urls_are_read_as_curl_reads_them() {
        for (text, expected) in [
            ("web", "http://web/"),
            ("http://web:8080", "http://web:8080/"),
            ("https://web:443/a?b=c#d", "https://web/a?b=c"),
            ("web?x", "http://web/?x"),
            ("http://[fd00::1]:80/", "http://[fd00::1]/"),
            ("10.96.0.1:443", "http://10.96.0.1:443/"),
        ] {
            assert_eq!(Url::parse(text).unwrap().to_string(), expected, "{text}");
        }
        assert_eq!(Url::parse("http://a:b@web/").unwrap().user.as_deref(), Some("a:b"));
        for bad in ["ftp://web", "http://", "http://web:port/"] {
            assert_eq!(Url::parse(bad), None, "{bad}");
        }
        let here = Url::parse("http://web/a/b").unwrap();
        for (location, expected) in [("/c", "http://web/c"), ("c", "http://web/a/c"), ("https://x/", "https://x/")] {
            assert_eq!(here.join(location).unwrap().to_string(), expected, "{location}");
        }
    }
}
