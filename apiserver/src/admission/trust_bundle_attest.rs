//! Only who may `attest` for a signer makes and changes its ClusterTrustBundles.
//! Source: `plugin/pkg/admission/certificates/ctbattest/admission.go`.

use std::sync::Arc;

use k8s_openapi::api::certificates::v1::ClusterTrustBundle;
use kubelab_api::Error;

use super::{Attributes, Operation, Plugin, certificate_approval::may};
use crate::{authorization::Decider, registry::object::AnyObject};

/// See the module.
pub struct ClusterTrustBundleAttest(pub Arc<dyn Decider>);

impl Plugin for ClusterTrustBundleAttest {
    fn validate(
        &self,
        attributes: &Attributes,
        object: Option<&dyn AnyObject>,
        old: Option<&dyn AnyObject>,
    ) -> Result<(), Error> {
        let writes = matches!(attributes.operation, Operation::Create | Operation::Update);
        if !writes || !attributes.is_about::<ClusterTrustBundle>("") {
            return Ok(());
        }
        let Some(new) = bundle(object) else { return Ok(()) };
        let signer = new.spec.signer_name.as_deref().unwrap_or_default();
        // What the garbage collector does to a bundle is no statement about its signer.
        let same = bundle(old).is_some_and(|old| old.spec == new.spec && old.metadata.labels == new.metadata.labels);
        if signer.is_empty() || same || may(&*self.0, &attributes.request.user, "attest", signer) {
            return Ok(());
        }
        Err(attributes.forbidden(object, &format!("user not permitted to attest for signerName {signer:?}")))
    }
}

fn bundle(object: Option<&dyn AnyObject>) -> Option<&ClusterTrustBundle> {
    object?.downcast_ref()
}
