//! Only who may `sign` for a signer gives its requests a certificate, or says that they failed.
//! Source: `plugin/pkg/admission/certificates/signing/admission.go`.

use std::sync::Arc;

use k8s_openapi::api::certificates::v1::{CertificateSigningRequest, PodCertificateRequest};
use kubelab_api::{
    Error,
    field::{Errors, Path},
};

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
        if attributes.operation != Operation::Update {
            return Ok(());
        }
        if attributes.is_about::<PodCertificateRequest>("status") {
            return self.for_pod(attributes, object, old);
        }
        if !attributes.is_about::<CertificateSigningRequest>("status") {
            return Ok(());
        }
        let (Some(new), Some(old)) = (downcast(object), downcast::<CertificateSigningRequest>(old)) else {
            return Ok(());
        };
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

impl CertificateSigning {
    /// Source: `ValidateUpdate` of the status in `pkg/registry/certificates/podcertificaterequest/strategy.go`.
    fn for_pod(
        &self,
        attributes: &Attributes,
        object: Option<&dyn AnyObject>,
        old: Option<&dyn AnyObject>,
    ) -> Result<(), Error> {
        let (Some(new), Some(old)) =
            (downcast::<PodCertificateRequest>(object), downcast::<PodCertificateRequest>(old))
        else {
            return Ok(());
        };
        let (user, signer) = (&attributes.request.user, &old.spec.signer_name);
        if new.status == old.status || may(&*self.0, user, "sign", signer) {
            return Ok(());
        }
        let mut errors = Errors::default();
        let detail = format!("User {:?} is not permitted to \"sign\" for signer {signer:?}", user.name);
        errors.forbidden(&Path::new("spec").child("signerName"), &detail);
        let name = old.metadata.name.as_deref().unwrap_or_default();
        Err(Error::invalid(&attributes.request.resource, name, &errors))
    }
}

fn downcast<T: 'static>(object: Option<&dyn AnyObject>) -> Option<&T> {
    object?.downcast_ref()
}
