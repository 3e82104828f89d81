//! A certificate request says who made it, whatever its maker says. Upstream does this in the kind's strategy
//! (`pkg/registry/certificates/certificates/strategy.go`), where ours does not know who asks.

use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use kubelab_api::Error;

use super::{Attributes, Operation, Plugin};
use crate::registry::object::AnyObject;

/// See the module.
pub struct CertificateRequestor;

impl Plugin for CertificateRequestor {
    fn admit(
        &self,
        attributes: &Attributes,
        object: &mut dyn AnyObject,
        _old: Option<&dyn AnyObject>,
    ) -> Result<(), Error> {
        if attributes.operation != Operation::Create || !attributes.is_about::<CertificateSigningRequest>("") {
            return Ok(());
        }
        if let Some(csr) = object.downcast_mut::<CertificateSigningRequest>() {
            let user = &attributes.request.user;
            csr.spec.username = Some(user.name.clone()).filter(|name| !name.is_empty());
            csr.spec.uid = Some(user.uid.clone()).filter(|uid| !uid.is_empty());
            csr.spec.groups = Some(user.groups.clone()).filter(|groups| !groups.is_empty());
            csr.spec.extra = Some(user.extra.clone()).filter(|extra| !extra.is_empty());
        }
        Ok(())
    }
}
