//! The lab's certificate authority and a certificate for each component, as kubeadm would lay them out.
//! Identities: <https://kubernetes.io/docs/setup/best-practices/certificates/>.

use std::{
    fs, io,
    net::IpAddr,
    path::{Path, PathBuf},
};

use anyhow::Context;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType,
};

use super::write;

/// Ten years, as kubeadm's authorities live; a lab's certificates live as long as it does.
const DAYS: u64 = 3650;

/// A folder of certificates. Files that exist are kept, so a lab that is resumed keeps its identities.
pub struct Pki {
    folder: PathBuf,
    authority: Issuer<'static, KeyPair>,
}

/// Whom a certificate names.
pub struct Identity<'a> {
    /// The file's name, without its ending.
    pub file: &'a str,
    /// The user.
    pub user: &'a str,
    /// The user's group.
    pub group: Option<&'a str>,
    /// The names it may serve under; empty for clients.
    pub names: &'a [String],
    /// The addresses it may serve on.
    pub addresses: &'a [IpAddr],
}

impl Pki {
    /// Opens the folder; makes the authority and the service accounts' key if they are not there.
    pub fn open(folder: &Path) -> anyhow::Result<Self> {
        let (certificate, key) = (folder.join("ca.crt"), folder.join("ca.key"));
        if !certificate.exists() {
            make_authority("kubelab-ca", &certificate, &key)?;
            write(&folder.join("sa.key"), KeyPair::generate()?.serialize_pem().as_bytes(), 0o600)?;
        }
        let authority = Issuer::from_ca_cert_pem(&read(&certificate)?, KeyPair::from_pem(&read(&key)?)?)
            .with_context(|| format!("{} is damaged; remove the lab with `kubelab down --delete`", folder.display()))?;
        Ok(Self { folder: folder.to_owned(), authority })
    }

    /// Makes the certificate with which the apiservers pass requests on to other servers. It comes from an authority of
    /// its own: whom that one names may speak for anybody.
    pub fn issue_front_proxy(&self) -> anyhow::Result<()> {
        let (certificate, key) = (self.certificate("front-proxy-ca"), self.key("front-proxy-ca"));
        if !certificate.exists() {
            make_authority("front-proxy-ca", &certificate, &key)?;
        }
        let authority = Issuer::from_ca_cert_pem(&read(&certificate)?, KeyPair::from_pem(&read(&key)?)?)?;
        let proxies = Self { folder: self.folder.clone(), authority };
        let user = "front-proxy-client";
        proxies.issue(&Identity { file: user, user, group: None, names: &[], addresses: &[] })
    }

    /// Makes a certificate and its key, unless they are there.
    pub fn issue(&self, identity: &Identity<'_>) -> anyhow::Result<()> {
        let (certificate, key) = (self.certificate(identity.file), self.key(identity.file));
        if certificate.exists() {
            return Ok(());
        }
        let pair = KeyPair::generate()?;
        let mut params = params(identity.user, identity.group);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        if !identity.names.is_empty() || !identity.addresses.is_empty() {
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
        }
        for name in identity.names {
            params.subject_alt_names.push(SanType::DnsName(name.as_str().try_into()?));
        }
        params.subject_alt_names.extend(identity.addresses.iter().copied().map(SanType::IpAddress));
        write(&key, pair.serialize_pem().as_bytes(), 0o600)?;
        write(&certificate, params.signed_by(&pair, &self.authority)?.pem().as_bytes(), 0o644)
    }

    /// Removes a certificate and its key, if they are there.
    pub fn remove(&self, file: &str) -> anyhow::Result<()> {
        for path in [self.certificate(file), self.key(file)] {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("cannot remove {}", path.display()));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The authority's certificate.
    pub fn authority(&self) -> PathBuf {
        self.folder.join("ca.crt")
    }

    /// The authority's key.
    pub fn authority_key(&self) -> PathBuf {
        self.folder.join("ca.key")
    }

    /// The key that signs service accounts' tokens.
    pub fn service_account_key(&self) -> PathBuf {
        self.folder.join("sa.key")
    }

    /// A certificate by its file's name.
    pub fn certificate(&self, file: &str) -> PathBuf {
        self.folder.join(format!("{file}.crt"))
    }

    /// A certificate's key.
    pub fn key(&self, file: &str) -> PathBuf {
        self.folder.join(format!("{file}.key"))
    }
}

fn make_authority(name: &str, certificate: &Path, key: &Path) -> anyhow::Result<()> {
    let pair = KeyPair::generate()?;
    let mut params = params(name, None);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    write(key, pair.serialize_pem().as_bytes(), 0o600)?;
    write(certificate, params.self_signed(&pair)?.pem().as_bytes(), 0o644)
}

fn params(user: &str, group: Option<&str>) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    if let Some(group) = group {
        params.distinguished_name.push(DnType::OrganizationName, group);
    }
    params.distinguished_name.push(DnType::CommonName, user);
    let now = std::time::SystemTime::now();
    // An hour back, for containers whose clocks differ a little.
    params.not_before = (now - std::time::Duration::from_secs(3600)).into();
    params.not_after = (now + std::time::Duration::from_secs(DAYS * 24 * 3600)).into();
    params
}

fn read(path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}
