//! Who may do what. Any component of the lab may dial a pod, for pods are on one network; what is inside containers is
//! for the apiservers alone. Source: the kubelet's webhook authorizer, which lets the apiserver's own user do everything.

use tonic::{Request, Status};
use x509_parser::prelude::{FromDer, X509Certificate};

/// The users that apiservers call nodes as. Sources: kubelab's and kubeadm's certificates.
const APISERVERS: [&str; 2] = ["kube-apiserver", "kube-apiserver-kubelet-client"];

/// Refuses callers that are no apiserver.
pub fn check<T>(request: &Request<T>, verb: &str, subresource: &str) -> Result<(), Status> {
    let certificates = request.peer_certs().unwrap_or_default();
    let user = certificates.first().and_then(|certificate| user(certificate)).unwrap_or_default();
    if APISERVERS.contains(&user.as_str()) {
        return Ok(());
    }
    let message = format!("Forbidden (user={user}, verb={verb}, resource=nodes, subresource={subresource})");
    Err(Status::permission_denied(message))
}

fn user(certificate: &[u8]) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let name = certificate.subject().iter_common_name().next()?.as_str().ok()?.to_owned();
    Some(name)
}
