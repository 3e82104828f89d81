//! PodCertificateRequest: what a kubelet asks of a signer for a pod's `podCertificate` volume.
//! Source: `pkg/apis/certificates/validation/validation.go`, `pkg/registry/certificates/podcertificaterequest/strategy.go`.

mod issued;

use k8s_openapi::api::certificates::v1::{PodCertificateRequest, PodCertificateRequestStatus};
use kubelab_api::{
    field::{Errors, Path},
    name,
};
use x509_parser::{
    certification_request::X509CertificationRequest, prelude::FromDer, public_key::PublicKey,
    x509::SubjectPublicKeyInfo,
};

use super::signer;
use crate::registry::{
    cells::list,
    conditions,
    kind::Kind,
    status::spec_and_status,
    validation::{IMMUTABLE, form, json},
};

/// For so many seconds a certificate is asked when nothing else is said: a day. The project's own signers give no longer.
const DAY: i32 = 24 * 3600;
/// The least and the most seconds that may be asked for: an hour, 91 days.
const SECONDS: (i32, i32) = (3600, 91 * DAY);
/// A UID may be so long.
const UID_BYTES: usize = 128;
/// A request may be so large. Source: `MaxStubPKCS10RequestSize`.
const REQUEST_BYTES: usize = 10 * 1024;

/// What ends a request; at most one of them is said.
const ENDS: [&str; 3] = ["Issued", "Denied", "Failed"];

/// PodCertificateRequest.
pub struct PodCertificateRequestKind;

fn status(request: &PodCertificateRequest) -> PodCertificateRequestStatus {
    request.status.clone().unwrap_or_default()
}

fn is(status: &PodCertificateRequestStatus, end: &str) -> bool {
    list(&status.conditions).iter().any(|condition| condition.type_ == end && condition.status == "True")
}

fn uid(given: &str, path: &Path, errors: &mut Errors) {
    if given.is_empty() {
        errors.invalid(path, given, "must not be empty");
    }
    if given.len() > UID_BYTES {
        errors.too_long(path, UID_BYTES);
    }
}

/// Why a public key is none that may be certified.
fn wrong_key(key: &SubjectPublicKeyInfo) -> Option<&'static str> {
    match key.parsed() {
        Ok(PublicKey::RSA(key)) if !matches!(key.key_size(), 3072 | 4096) => {
            Some("RSA keys must have modulus size 3072 or 4096")
        }
        Ok(PublicKey::EC(point)) if !matches!(point.key_size(), 256 | 384 | 521 | 528) => {
            Some("elliptic public keys must use curve P256, P384, or P521")
        }
        Ok(PublicKey::RSA(_) | PublicKey::EC(_)) => None,
        // x509-parser has no name for it.
        _ if key.algorithm.algorithm.to_id_string() == "1.3.101.112" => None,
        _ => Some("unknown public key type; supported types are Ed25519, ECDSA, and RSA"),
    }
}

fn csr(der: &[u8], path: &Path, errors: &mut Errors) {
    if der.len() > REQUEST_BYTES {
        return errors.too_long(path, REQUEST_BYTES);
    }
    let Ok((_, request)) = X509CertificationRequest::from_der(der) else {
        return errors.invalid_unshown(path, "must be a valid PKCS#10 certificate signing request");
    };
    let key = &request.certification_request_info.subject_pki;
    if let Some(wrong) = wrong_key(key) {
        return errors.invalid_unshown(path, wrong);
    }
    // ring knows no P521, so such a request is believed.
    let known = !matches!(key.parsed(), Ok(PublicKey::EC(point)) if point.key_size() > 384);
    if known && request.verify_signature().is_err() {
        errors.invalid_unshown(path, "could not verify the signature of the certificate signing request");
    }
}

impl Kind for PodCertificateRequestKind {
    type Object = PodCertificateRequest;

    const UNCONDITIONAL_UPDATE: bool = false;

    spec_and_status!();

    fn default(request: &mut PodCertificateRequest) {
        request.spec.max_expiration_seconds.get_or_insert(DAY);
    }

    fn validate_create(request: &PodCertificateRequest, errors: &mut Errors) {
        let (spec, path) = (&request.spec, Path::new("spec"));
        signer::validate(&spec.signer_name, &path.child("signerName"), errors);
        for key in spec.unverified_user_annotations.iter().flatten().map(|(key, _)| key) {
            let path = path.child("unverifiedUserAnnotations");
            form(&key.to_lowercase(), name::label_key, &path, errors);
            if !key.contains('/') {
                errors.invalid(&path, key.as_str(), "must be a domain-prefixed key (such as \"acme.io/foo\")");
            }
        }
        form(&spec.pod_name, name::dns1123_subdomain, &path.child("podName"), errors);
        uid(&spec.pod_uid, &path.child("podUID"), errors);
        form(&spec.service_account_name, name::dns1123_subdomain, &path.child("serviceAccountName"), errors);
        uid(&spec.service_account_uid, &path.child("serviceAccountUID"), errors);
        form(&spec.node_name, name::dns1123_subdomain, &path.child("nodeName"), errors);
        uid(&spec.node_uid, &path.child("nodeUID"), errors);
        let most = if signer::is_kubernetes(&spec.signer_name) { DAY } else { SECONDS.1 };
        let seconds = spec.max_expiration_seconds.unwrap_or(DAY);
        if !(SECONDS.0..=most).contains(&seconds) {
            let detail = format!("must be in the range [{}, {most}]", SECONDS.0);
            errors.invalid(&path.child("maxExpirationSeconds"), seconds, &detail);
        }
        csr(&spec.stub_pkc_s10_request.0, &path.child("stubPKCS10Request"), errors);
    }

    fn validate_update(new: &PodCertificateRequest, old: &PodCertificateRequest, errors: &mut Errors) {
        if new.spec != old.spec {
            errors.invalid(&Path::new("spec"), json(&new.spec), IMMUTABLE);
        }
    }

    fn validate_status_update(new: &PodCertificateRequest, old: &PodCertificateRequest, errors: &mut Errors) {
        let (now, before, path) = (status(new), status(old), Path::new("status"));
        let said = list(&now.conditions);
        for (i, condition) in said.iter().enumerate() {
            let (kind, path) = (condition.type_.as_str(), path.child("conditions").index(i));
            if !ENDS.contains(&kind) {
                errors.not_supported(&path.child("type"), kind, &ENDS);
                continue;
            }
            if said[..i].iter().any(|earlier| ENDS.contains(&earlier.type_.as_str())) {
                let detail = r#"There may be at most one condition with type "Issued", "Denied", or "Failed""#;
                errors.invalid(&path.child("type"), kind, detail);
            }
            if condition.status != "True" {
                errors.not_supported(&path.child("status"), &condition.status, &["True"]);
            }
        }
        conditions::validate(said, &path.child("conditions"), errors);
        if !errors.is_empty() {
            return;
        }
        let only_conditions = PodCertificateRequestStatus { conditions: now.conditions.clone(), ..Default::default() };
        if ENDS.iter().any(|end| is(&before, end)) {
            if now != before {
                errors.invalid_unshown(&path, "immutable after PodCertificateRequest is issued, denied, or failed");
            }
        } else if is(&now, "Denied") || is(&now, "Failed") {
            if now != only_conditions {
                let detail = "non-condition status fields must be empty when denying or failing the \
                              PodCertificateRequest";
                errors.invalid_unshown(&path, detail);
            }
        } else if is(&now, "Issued") {
            issued::validate(&now, &old.spec, errors);
        } else if now != before {
            let detail = r#"status is immutable unless transitioning to "Issued", "Denied", or "Failed""#;
            errors.invalid_unshown(&path, detail);
        }
    }

    fn fields(request: &PodCertificateRequest) -> Vec<(&'static str, String)> {
        vec![
            ("spec.signerName", request.spec.signer_name.clone()),
            ("spec.podName", request.spec.pod_name.clone()),
            ("spec.nodeName", request.spec.node_name.clone()),
        ]
    }
}
