//! Approves the requests of kubelets for client certificates: their first ones, if whoever asks may get one for a node, and
//! later ones for the node itself.
//!
//! Watches CertificateSigningRequests; asks SubjectAccessReviews. Writes the approval.
//! Source: `pkg/controller/certificates/approver/sarapprove.go` in Kubernetes.

use std::sync::Arc;

use k8s_openapi::api::{
    authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec},
    certificates::v1::CertificateSigningRequest,
};
use kubelab_api::{Error, Reason};
use kubelab_client::{Action, Cache, Change, Client, Controller, clock, controller::Key, queue::Queue};

use super::{has, is_issued, request::Request, signer_name, usages, with_condition};
use crate::Context;

const NAME: &str = "certificatesigningrequest-approving-controller";
/// Source: the number that upstream starts it with.
const WORKERS: usize = 5;

/// A kind of request that may be approved: what it takes to ask for it, and what is then said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Recognized {
    subresource: &'static str,
    message: &'static str,
}

const SELF: Recognized = Recognized {
    subresource: "selfnodeclient",
    message: "Auto approving self kubelet client certificate after SubjectAccessReview.",
};
const FIRST: Recognized = Recognized {
    subresource: "nodeclient",
    message: "Auto approving kubelet client certificate after SubjectAccessReview.",
};

/// Runs the loop.
pub async fn run(context: Context) {
    let this =
        Arc::new(Loop { client: context.client.clone(), requests: context.caches.of(), queue: Queue::new(NAME) });
    this.requests.synced().await;
    let queue = this.queue.clone();
    this.requests.on_change(move |change| {
        if !matches!(change, Change::Deleted(..)) {
            queue.add(Key::of(&**change.object()));
        }
    });
    Controller::new(NAME, this.queue.clone())
        .run_on(WORKERS, this, |this, key| async move { this.reconcile(key).await })
        .await;
}

struct Loop {
    client: Client,
    requests: Cache<CertificateSigningRequest>,
    queue: Queue<Key>,
}

impl Loop {
    async fn reconcile(&self, key: Key) -> Result<Action, Error> {
        let Some(csr) = self.requests.get("", &key.name) else { return Ok(Action::Done) };
        if is_issued(&csr) || has(&csr, "Approved") || has(&csr, "Denied") {
            return Ok(Action::Done);
        }
        let candidates = recognize(&csr);
        for candidate in &candidates {
            let review = self.client.create(&review(&csr, candidate.subresource)).await?;
            if review.status.is_some_and(|status| status.allowed) {
                let approved = with_condition(&csr, "Approved", "AutoApproved", candidate.message, clock::now());
                return match self.client.update_subresource("approval", &approved).await {
                    Err(error) if error.reason != Reason::NotFound => Err(error),
                    _ => Ok(Action::Done),
                };
            }
        }
        if candidates.is_empty() {
            return Ok(Action::Done);
        }
        // The rights may come later, with a binding that is still to be made.
        let tried: Vec<&str> = candidates.iter().map(|candidate| candidate.subresource).collect();
        Err(Error::internal(format!(
            "recognized csr {:?} as [{}] but subject access review was not approved",
            key.name,
            tried.join(" ")
        )))
    }
}

fn recognize(csr: &CertificateSigningRequest) -> Vec<Recognized> {
    if csr.spec.signer_name != signer_name::KUBELET_CLIENT {
        return Vec::new();
    }
    match Request::parse(&csr.spec.request.0) {
        Ok(request) if request.check_kubelet_client(usages(csr)).is_ok() => {
            let own = csr.spec.username.as_deref() == Some(&request.common_name);
            if own { vec![SELF, FIRST] } else { vec![FIRST] }
        }
        _ => Vec::new(),
    }
}

fn review(csr: &CertificateSigningRequest, subresource: &str) -> SubjectAccessReview {
    let spec = &csr.spec;
    SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user: spec.username.clone(),
            uid: spec.uid.clone(),
            groups: spec.groups.clone(),
            extra: spec.extra.clone(),
            resource_attributes: Some(ResourceAttributes {
                group: Some("certificates.k8s.io".to_owned()),
                resource: Some("certificatesigningrequests".to_owned()),
                subresource: Some(subresource.to_owned()),
                verb: Some("create".to_owned()),
                version: Some("*".to_owned()),
                ..ResourceAttributes::default()
            }),
            ..SubjectAccessReviewSpec::default()
        },
        ..SubjectAccessReview::default()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use k8s_openapi::ByteString;

    use super::{super::request::tests::pem, *};

    #[test]
    fn kubelets_are_recognized() {
        for (user, asker, signer, expected) in [
            ("system:node:n1", "system:node:n1", signer_name::KUBELET_CLIENT, vec![SELF, FIRST]),
            ("system:node:n1", "system:bootstrap:abcdef", signer_name::KUBELET_CLIENT, vec![FIRST]),
            ("jane", "jane", signer_name::KUBELET_CLIENT, vec![]),
            ("system:node:n1", "system:node:n1", signer_name::CLIENT, vec![]),
        ] {
            let mut csr = CertificateSigningRequest::default();
            csr.spec.request = ByteString(pem(user, "system:nodes", &[]).into_bytes());
            csr.spec.username = Some(asker.to_owned());
            csr.spec.signer_name = signer.to_owned();
            csr.spec.usages = Some(["digital signature", "client auth"].map(str::to_owned).into());
            assert_eq!(recognize(&csr), expected, "{user} {asker} {signer}");
        }
    }
}
