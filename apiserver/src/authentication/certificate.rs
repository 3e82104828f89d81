//! Client certificates. Source: `CommonNameUserConversion` in `k8s.io/apiserver/pkg/authentication/request/x509`.

use rustls_pki_types::CertificateDer;
use x509_parser::parse_x509_certificate;

use crate::corridor::User;

/// Why a certificate names nobody.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is no certificate.
    #[error("the client certificate cannot be read: {0}")]
    Malformed(String),
    /// Its subject has no common name.
    #[error("the client certificate's subject has no common name; issue it with CN=<user>")]
    NoCommonName,
}

/// Whom a connection's certificate names: read once for all its requests.
pub type Holder = Result<User, Error>;

/// The user whom a verified certificate stands for: its common name, in the groups that its organizations name.
pub fn user_of(certificate: &CertificateDer<'_>) -> Holder {
    let (_, parsed) = parse_x509_certificate(certificate).map_err(|error| Error::Malformed(error.to_string()))?;
    let subject = parsed.subject();
    let name = subject.iter_common_name().find_map(|name| name.as_str().ok()).filter(|name| !name.is_empty());
    let groups = subject.iter_organization().filter_map(|group| group.as_str().ok()).map(str::to_owned);
    Ok(User { name: name.ok_or(Error::NoCommonName)?.to_owned(), groups: groups.collect(), ..User::default() })
}
