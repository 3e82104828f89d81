//! What a certificate request says, and what a kubelet's must say. Pure.
//! Source: `pkg/apis/certificates/helpers.go`.

use std::collections::BTreeSet;

use rustls_pki_types::{CertificateSigningRequestDer, pem::PemObject};
use x509_parser::{
    certification_request::X509CertificationRequest,
    extensions::{GeneralName, ParsedExtension},
    oid_registry::OID_X509_EXT_SUBJECT_ALT_NAME,
    prelude::FromDer,
};

/// A request, as far as it matters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// The subject's first common name.
    pub common_name: String,
    /// The subject's organizations.
    pub organizations: Vec<String>,
    /// How many names of hosts it asks for.
    pub dns_names: usize,
    /// How many addresses.
    pub ip_addresses: usize,
    /// How many mail addresses.
    pub emails: usize,
    /// How many URIs.
    pub uris: usize,
    /// The subject, as it stands there.
    pub subject: Vec<u8>,
    /// The public key, as it stands there.
    pub public_key: Vec<u8>,
    /// The subject's alternative names, as they stand there: critical or not, and what they are.
    pub alternatives: Option<(bool, Vec<u8>)>,
}

impl Request {
    /// Reads a request in PEM, and checks that whoever made it has the key.
    pub fn parse(pem: &[u8]) -> Result<Self, String> {
        let der = CertificateSigningRequestDer::from_pem_slice(pem);
        let der = der.map_err(|_| "PEM block type must be CERTIFICATE REQUEST".to_owned())?;
        let (_, csr) = X509CertificationRequest::from_der(&der).map_err(|error| error.to_string())?;
        let signed = csr.verify_signature();
        signed.map_err(|error| format!("unable to verify certificate request signature: {error}"))?;
        let info = &csr.certification_request_info;
        let text = |value: &str| value.to_owned();
        let mut request = Self {
            common_name: info
                .subject
                .iter_common_name()
                .find_map(|name| name.as_str().ok())
                .map(text)
                .unwrap_or_default(),
            organizations: info.subject.iter_organization().filter_map(|o| o.as_str().ok()).map(text).collect(),
            subject: info.subject.as_raw().to_vec(),
            public_key: info.subject_pki.raw.to_vec(),
            ..Self::default()
        };
        let asked = info.iter_attributes().filter_map(|attribute| match attribute.parsed_attribute() {
            x509_parser::cri_attributes::ParsedCriAttribute::ExtensionRequest(asked) => Some(&asked.extensions),
            _ => None,
        });
        for extension in asked.flatten().filter(|extension| extension.oid == OID_X509_EXT_SUBJECT_ALT_NAME) {
            let ParsedExtension::SubjectAlternativeName(names) = extension.parsed_extension() else { continue };
            request.alternatives = Some((extension.critical, extension.value.to_vec()));
            for name in &names.general_names {
                match name {
                    GeneralName::DNSName(_) => request.dns_names += 1,
                    GeneralName::IPAddress(_) => request.ip_addresses += 1,
                    GeneralName::RFC822Name(_) => request.emails += 1,
                    GeneralName::URI(_) => request.uris += 1,
                    _ => {}
                }
            }
        }
        Ok(request)
    }

    /// What keeps it from being a kubelet's request for a client certificate, if anything.
    pub fn check_kubelet_client(&self, usages: &[String]) -> Result<(), String> {
        self.check_organization()?;
        for (count, what) in
            [(self.dns_names, "DNS"), (self.emails, "Email"), (self.ip_addresses, "IP"), (self.uris, "URI")]
        {
            if count > 0 {
                return Err(format!("{what} subjectAltNames are not allowed"));
            }
        }
        self.check_common_name()?;
        check_usages(usages, "client auth")
    }

    /// What keeps it from being a kubelet's request for a serving certificate, if anything.
    pub fn check_kubelet_serving(&self, usages: &[String]) -> Result<(), String> {
        self.check_organization()?;
        if self.dns_names == 0 && self.ip_addresses == 0 {
            return Err("DNS or IP subjectAltName is required".to_owned());
        }
        for (count, what) in [(self.emails, "Email"), (self.uris, "URI")] {
            if count > 0 {
                return Err(format!("{what} subjectAltNames are not allowed"));
            }
        }
        check_usages(usages, "server auth")?;
        self.check_common_name()
    }

    fn check_organization(&self) -> Result<(), String> {
        match self.organizations.as_slice() {
            [one] if one == "system:nodes" => Ok(()),
            _ => Err("subject organization is not system:nodes".to_owned()),
        }
    }

    fn check_common_name(&self) -> Result<(), String> {
        match self.common_name.starts_with("system:node:") {
            true => Ok(()),
            false => Err("subject common name does not begin with system:node:".to_owned()),
        }
    }
}

/// `key encipherment` is for RSA keys, which others do without.
fn check_usages(usages: &[String], purpose: &str) -> Result<(), String> {
    let given: BTreeSet<&str> = usages.iter().map(String::as_str).collect();
    let least = BTreeSet::from(["digital signature", purpose]);
    let mut most = least.clone();
    most.insert("key encipherment");
    if given == least || given == most {
        return Ok(());
    }
    let mut sorted: Vec<&str> = most.into_iter().collect();
    sorted.sort_unstable();
    Err(format!("usages did not match [{}]", sorted.join(" ")))
}

/// What is wrong with the usages of a client certificate, if anything.
/// Source: `validAPIServerClientUsages` in `pkg/controller/certificates/signer/signer.go`.
pub fn check_client_usages(usages: &[String]) -> Result<(), String> {
    let known = ["digital signature", "key encipherment", "client auth"];
    if let Some(other) = usages.iter().find(|usage| !known.contains(&usage.as_str())) {
        return Err(format!("invalid usage for client certificate: {other}"));
    }
    match usages.iter().any(|usage| usage == "client auth") {
        true => Ok(()),
        false => Err("missing required usage for client certificate: client auth".to_owned()),
    }
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used)]

    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType};

    use super::*;

    /// A request for this user in these groups, for these names.
    pub fn pem(user: &str, group: &str, names: &[SanType]) -> String {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, user);
        params.distinguished_name.push(DnType::OrganizationName, group);
        params.subject_alt_names = names.to_vec();
        params.serialize_request(&KeyPair::generate().unwrap()).unwrap().pem().unwrap()
    }

    fn usages(list: &[&str]) -> Vec<String> {
        list.iter().map(|usage| (*usage).to_owned()).collect()
    }

    #[test]
    fn requests_are_read() {
        let names = [SanType::DnsName("n1".try_into().unwrap()), SanType::IpAddress([127, 0, 0, 1].into())];
        let request = Request::parse(pem("system:node:n1", "system:nodes", &names).as_bytes()).unwrap();
        assert_eq!(
            (request.common_name.as_str(), request.organizations.join(",")),
            ("system:node:n1", "system:nodes".into())
        );
        assert_eq!((request.dns_names, request.ip_addresses, request.emails), (1, 1, 0));
        assert!(request.alternatives.is_some());
        for wrong in ["", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            assert_eq!(Request::parse(wrong.as_bytes()).unwrap_err(), "PEM block type must be CERTIFICATE REQUEST");
        }
    }

    #[test]
    fn kubelets_ask_in_a_form_of_their_own() {
        let client = &["digital signature", "client auth"][..];
        let dns = SanType::DnsName("n1".try_into().unwrap());
        let mail = SanType::Rfc822Name("a@b".try_into().unwrap());
        for (user, group, names, usage, expected) in [
            ("system:node:n1", "system:nodes", vec![], client, Ok(())),
            (
                "system:node:n1",
                "system:nodes",
                vec![],
                &["digital signature", "key encipherment", "client auth"],
                Ok(()),
            ),
            ("system:node:n1", "nodes", vec![], client, Err("subject organization is not system:nodes")),
            ("n1", "system:nodes", vec![], client, Err("subject common name does not begin with system:node:")),
            ("system:node:n1", "system:nodes", vec![dns.clone()], client, Err("DNS subjectAltNames are not allowed")),
            (
                "system:node:n1",
                "system:nodes",
                vec![mail.clone()],
                client,
                Err("Email subjectAltNames are not allowed"),
            ),
            (
                "system:node:n1",
                "system:nodes",
                vec![],
                &["client auth"],
                Err("usages did not match [client auth digital signature key encipherment]"),
            ),
        ] {
            let request = Request::parse(pem(user, group, &names).as_bytes()).unwrap();
            assert_eq!(
                request.check_kubelet_client(&usages(usage)),
                expected.map_err(str::to_owned),
                "{user} {names:?}"
            );
        }
        let serving = usages(&["digital signature", "server auth"]);
        for (names, usage, expected) in [
            (vec![dns.clone()], &serving, Ok(())),
            (vec![], &serving, Err("DNS or IP subjectAltName is required")),
            (vec![dns.clone(), mail], &serving, Err("Email subjectAltNames are not allowed")),
            (
                vec![dns],
                &usages(&["server auth"]),
                Err("usages did not match [digital signature key encipherment server auth]"),
            ),
        ] {
            let request = Request::parse(pem("system:node:n1", "system:nodes", &names).as_bytes()).unwrap();
            assert_eq!(request.check_kubelet_serving(usage), expected.map_err(str::to_owned), "{names:?}");
        }
    }

    #[test]
    fn client_certificates_are_for_clients() {
        for (given, expected) in [
            (&["client auth", "digital signature"][..], Ok(())),
            (&["client auth", "server auth"], Err("invalid usage for client certificate: server auth")),
            (&["digital signature"], Err("missing required usage for client certificate: client auth")),
        ] {
            assert_eq!(check_client_usages(&usages(given)), expected.map_err(str::to_owned));
        }
    }
}
