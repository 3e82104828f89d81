//! Only who may `sign` for a signer gives its requests a certificate, or says that they failed.
//! Source: `plugin/pkg/admission/certificates/signing/admission.go`.

use std::sync::Arc;

use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use kubelab_api::Error;

use super::{Attributes, Operation, Plugin, certificate_approval::may};
use crate::{authorization::Decider, registry::object::AnyObject};

/// See the module.
pub struct CertificateSigning(pub Arc<dyn Decider>);

impl Plugin for CertificateSigning {
    fn validate(
        &self,
        attributes: &Attributes,
        object: Option<&dyn AnyObject>,
        old: Option<&dyn AnyObject>,
    ) -> Result<(), Error> {
        if attributes.operation != Operation::Update || !attributes.is_about::<CertificateSigningRequest>("status") {
            return Ok(());
        }
        let (Some(new), Some(old)) = (downcast(object), downcast(old)) else { return Ok(()) };
        let said = |request: &CertificateSigningRequest| {
            request.status.clone().map(|status| (status.certificate, status.conditions)).unwrap_or_default()
        };
        let signer = &old.spec.signer_name;
        if said(new) == said(old) || may(&*self.0, &attributes.request.user, "sign", signer) {
            return Ok(());
        }
        let message = format!("user not permitted to sign requests with signerName {signer:?}");
        Err(attributes.forbidden(object, &message))
    }
}

fn downcast(object: Option<&dyn AnyObject>) -> Option<&CertificateSigningRequest> {
    object?.downcast_ref()
}
