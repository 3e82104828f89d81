//! Deletes requests that are done with, or that nobody has looked at for a day.
//!
//! Watches CertificateSigningRequests; deletes them. Source: `pkg/controller/certificates/cleaner/cleaner.go` in Kubernetes.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    api::certificates::v1::CertificateSigningRequest,
    apimachinery::pkg::apis::meta::v1::{DeleteOptions, Preconditions, Time},
};
use kubelab_api::Reason;
use kubelab_client::clock;
use rustls_pki_types::{CertificateDer, pem::PemObject};
use x509_parser::parse_x509_certificate;

use super::{conditions, has};
use crate::Context;

/// How often it looks.
const EVERY: std::time::Duration = std::time::Duration::from_secs(3600);
/// How long what was decided stays.
const DECIDED: SignedDuration = SignedDuration::from_hours(1);
/// How long what was not decided stays.
const PENDING: SignedDuration = SignedDuration::from_hours(24);

/// Runs the loop.
pub async fn run(context: Context) {
    let requests = context.caches.of::<CertificateSigningRequest>();
    requests.synced().await;
    loop {
        let now = clock::now();
        for csr in requests.list().iter().filter(|csr| is_over(csr, now.0)) {
            let name = csr.metadata.name.clone().unwrap_or_default();
            let uid = csr.metadata.uid.clone();
            let preconditions = Some(Preconditions { uid, resource_version: None });
            let options = DeleteOptions { preconditions, ..DeleteOptions::default() };
            match context.client.delete::<CertificateSigningRequest>("", &name, options).await {
                Err(error) if error.reason != Reason::NotFound => {
                    tracing::warn!(%error, name, "cannot delete an old certificate request");
                }
                _ => {}
            }
        }
        clock::sleep(EVERY).await;
    }
}

/// It is done with, or too old.
fn is_over(csr: &CertificateSigningRequest, now: Timestamp) -> bool {
    let older = |time: Option<&Time>, than: SignedDuration| time.is_some_and(|time| now.duration_since(time.0) > than);
    let decided = |kind: &str| {
        let mut all = conditions(csr).iter().filter(|condition| condition.type_ == kind);
        all.any(|condition| older(condition.last_update_time.as_ref(), DECIDED))
    };
    let certificate = csr.status.as_ref().and_then(|status| status.certificate.as_ref());
    if decided("Denied") || decided("Failed") {
        return true;
    }
    match certificate {
        Some(pem) => decided("Approved") || has(csr, "Approved") && has_ended(&pem.0, now),
        None => {
            let pending = !has(csr, "Approved") && !has(csr, "Denied");
            (pending || has(csr, "Approved")) && older(csr.metadata.creation_timestamp.as_ref(), PENDING)
        }
    }
}

fn has_ended(pem: &[u8], now: Timestamp) -> bool {
    let Ok(der) = CertificateDer::from_pem_slice(pem) else { return false };
    parse_x509_certificate(&der).is_ok_and(|(_, parsed)| parsed.validity().not_after.timestamp() < now.as_second())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::{Value, json};

    use super::{
        super::{authority, request},
        *,
    };

    #[test]
    fn old_requests_go() {
        let now: Timestamp = "2026-11-27T12:00:00Z".parse().unwrap();
        let (recent, old, ancient) = ("2026-11-27T11:30:00Z", "2026-11-27T10:30:00Z", "2026-11-26T10:00:00Z");
        let (authority, _) = authority::tests::authority();
        let request = request::Request::parse(request::tests::pem("jane", "dev", &[]).as_bytes()).unwrap();
        let ended = now - SignedDuration::from_hours(1);
        let ended = authority.sign(&request, &[], SignedDuration::from_mins(20), ended).unwrap();
        let condition = |kind: &str, time: &str| json!([{"type": kind, "status": "True", "lastUpdateTime": time}]);
        for (why, created, conditions, certificate, over) in [
            ("it waits", old, Value::Null, "", false),
            ("it waited for too long", ancient, Value::Null, "", true),
            ("just denied", ancient, condition("Denied", recent), "", false),
            ("denied long ago", ancient, condition("Denied", old), "", true),
            ("failed long ago", ancient, condition("Failed", old), "", true),
            ("approved, not signed yet", old, condition("Approved", old), "", false),
            ("just issued", old, condition("Approved", recent), "x", false),
            ("issued long ago", ancient, condition("Approved", old), "x", true),
            ("its certificate has ended", old, condition("Approved", recent), &ended, true),
        ] {
            let mut csr: CertificateSigningRequest = serde_json::from_value(json!({
                "metadata": {"creationTimestamp": created},
                "spec": {"request": "", "signerName": ""},
                "status": {"conditions": conditions},
            }))
            .unwrap();
            if !certificate.is_empty() {
                let pem = k8s_openapi::ByteString(certificate.as_bytes().to_vec());
                csr.status.get_or_insert_default().certificate = Some(pem);
            }
            assert_eq!(is_over(&csr, now), over, "{why}");
        }
    }
}
