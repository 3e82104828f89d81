//! Nobody asks for a client certificate of the group that may do everything.
//! Source: `plugin/pkg/admission/certificates/subjectrestriction/admission.go`.

use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use kubelab_api::Error;
use x509_parser::{certification_request::X509CertificationRequest, pem::parse_x509_pem, prelude::FromDer};

use super::{Attributes, Operation, Plugin};
use crate::{authorization::MASTERS, registry::object::AnyObject};

const SIGNER: &str = "kubernetes.io/kube-apiserver-client";

/// See the module.
pub struct CertificateSubjectRestriction;

impl Plugin for CertificateSubjectRestriction {
    fn validate(
        &self,
        attributes: &Attributes,
        object: Option<&dyn AnyObject>,
        _old: Option<&dyn AnyObject>,
    ) -> Result<(), Error> {
        if attributes.operation != Operation::Create || !attributes.is_about::<CertificateSigningRequest>("") {
            return Ok(());
        }
        let request = object.and_then(|object| object.downcast_ref::<CertificateSigningRequest>());
        let Some(spec) = request.map(|request| &request.spec).filter(|spec| spec.signer_name == SIGNER) else {
            return Ok(());
        };
        let refusal = match organizations(&spec.request.0) {
            Ok(groups) if groups.iter().any(|group| group == MASTERS) => {
                format!("use of {SIGNER} signer with {MASTERS} group is not allowed")
            }
            Ok(_) => return Ok(()),
            Err(error) => format!("failed to parse CSR: {error}"),
        };
        Err(attributes.forbidden(object, &refusal))
    }
}

/// The groups that a request, in PEM, asks for.
fn organizations(pem: &[u8]) -> Result<Vec<String>, String> {
    let (_, pem) = parse_x509_pem(pem).map_err(|error| error.to_string())?;
    let (_, request) = X509CertificationRequest::from_der(&pem.contents).map_err(|error| error.to_string())?;
    let subject = &request.certification_request_info.subject;
    Ok(subject.iter_organization().filter_map(|group| group.as_str().ok()).map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};

    use super::*;

    #[test]
    fn the_groups_of_a_request_are_its_organizations() {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "jane");
        params.distinguished_name.push(DnType::OrganizationName, MASTERS);
        let request = params.serialize_request(&KeyPair::generate().unwrap()).unwrap();
        assert_eq!(organizations(request.pem().unwrap().as_bytes()).unwrap(), [MASTERS]);
        assert!(organizations(b"nothing").is_err());
    }
}
