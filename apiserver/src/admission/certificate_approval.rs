//! Only who may `approve` for a signer approves or denies its requests.
//! Source: `plugin/pkg/admission/certificates/approval/admission.go`, `pkg/certauthorization`.

use std::sync::Arc;

use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use kubelab_api::Error;

use super::{Attributes, Operation, Plugin};
use crate::{
    authorization::{Attributes as Question, Decider},
    corridor::User,
    registry::object::AnyObject,
};

/// See the module.
pub struct CertificateApproval(pub Arc<dyn Decider>);

impl Plugin for CertificateApproval {
    fn validate(
        &self,
        attributes: &Attributes,
        object: Option<&dyn AnyObject>,
        old: Option<&dyn AnyObject>,
    ) -> Result<(), Error> {
        if attributes.operation != Operation::Update || !attributes.is_about::<CertificateSigningRequest>("approval") {
            return Ok(());
        }
        let request = old.and_then(|old| old.downcast_ref::<CertificateSigningRequest>());
        let Some(signer) = request.map(|request| request.spec.signer_name.as_str()) else { return Ok(()) };
        if may(&*self.0, &attributes.request.user, "approve", signer) {
            return Ok(());
        }
        let message = format!("user not permitted to approve requests with signerName {signer:?}");
        Err(attributes.forbidden(object, &message))
    }
}

/// Somebody may do this for a signer, or for all signers of its domain.
pub(super) fn may(decider: &dyn Decider, user: &User, verb: &str, signer: &str) -> bool {
    let domain = signer.split_once('/').map_or(signer, |(domain, _)| domain);
    [signer.to_owned(), format!("{domain}/*")].iter().any(|name| {
        let question = Question { name, ..Question::resource(user, verb, "certificates.k8s.io", "signers") };
        decider.decide(&question).allowed
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;
    use crate::authorization::rules::{Policy, Rules};

    #[test]
    fn a_signer_or_its_domain_may_be_granted() {
        let rule = |name: &str| json!({"apiGroups": ["certificates.k8s.io"], "resources": ["signers"], "verbs": ["approve"], "resourceNames": [name]});
        for (granted, signer, allowed) in [
            ("example.com/web", "example.com/web", true),
            ("example.com/*", "example.com/web", true),
            ("example.com/db", "example.com/web", false),
            ("kubernetes.io/*", "example.com/web", false),
        ] {
            let mut policy = Policy::default();
            let role = json!({"metadata": {"name": "r"}, "rules": [rule(granted)]});
            policy.cluster_roles.push(serde_json::from_value(role).unwrap());
            let binding = json!({"metadata": {"name": "r"}, "subjects": [{"kind": "User", "name": "jane"}],
                                 "roleRef": {"kind": "ClusterRole", "name": "r"}});
            policy.cluster_role_bindings.push(serde_json::from_value(binding).unwrap());
            let user = User { name: "jane".into(), ..Default::default() };
            assert_eq!(may(&Rules::new(policy), &user, "approve", signer), allowed, "{granted} {signer}");
        }
    }
}
