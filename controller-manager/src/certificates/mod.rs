//! CertificateSigningRequests: approved where that needs nobody's judgement, signed, and forgotten in the end.
//!
//! | module | what it does |
//! | --- | --- |
//! | [`approver`] | approves what kubelets ask for themselves |
//! | [`signer`] | signs what is approved, for the four signers of `kubernetes.io` |
//! | [`cleaner`] | deletes what is old |
//! | [`request`] | what a request says, and what a kubelet's must say; pure |
//! | [`authority`] | the certificate authority; pure |
//!
//! Source: `pkg/controller/certificates` in Kubernetes.

pub mod approver;
pub mod authority;
pub mod cleaner;
pub mod request;
pub mod signer;

use k8s_openapi::{
    api::certificates::v1::{CertificateSigningRequest, CertificateSigningRequestCondition},
    apimachinery::pkg::apis::meta::v1::Time,
};

/// The signers, as `spec.signerName` names them. Source: `k8s.io/api/certificates/v1`.
#[allow(missing_docs)]
pub mod signer_name {
    pub const CLIENT: &str = "kubernetes.io/kube-apiserver-client";
    pub const KUBELET_CLIENT: &str = "kubernetes.io/kube-apiserver-client-kubelet";
    pub const KUBELET_SERVING: &str = "kubernetes.io/kubelet-serving";
    pub const LEGACY: &str = "kubernetes.io/legacy-unknown";
}

fn conditions(csr: &CertificateSigningRequest) -> &[CertificateSigningRequestCondition] {
    csr.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default()
}

/// It has this condition, and has not taken it back.
fn has(csr: &CertificateSigningRequest, condition: &str) -> bool {
    conditions(csr).iter().any(|one| one.type_ == condition && one.status != "False")
}

/// Approved and not denied as well. Source: `IsCertificateRequestApproved`.
fn is_approved(csr: &CertificateSigningRequest) -> bool {
    has(csr, "Approved") && !has(csr, "Denied")
}

fn is_issued(csr: &CertificateSigningRequest) -> bool {
    csr.status.as_ref().and_then(|status| status.certificate.as_ref()).is_some_and(|pem| !pem.0.is_empty())
}

fn usages(csr: &CertificateSigningRequest) -> &[String] {
    csr.spec.usages.as_deref().unwrap_or_default()
}

/// The request with one condition more.
fn with_condition(
    csr: &CertificateSigningRequest,
    kind: &str,
    reason: &str,
    message: &str,
    now: Time,
) -> CertificateSigningRequest {
    let mut csr = csr.clone();
    csr.status.get_or_insert_default().conditions.get_or_insert_default().push(CertificateSigningRequestCondition {
        type_: kind.to_owned(),
        status: "True".to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_update_time: Some(now),
        last_transition_time: None,
    });
    csr
}
