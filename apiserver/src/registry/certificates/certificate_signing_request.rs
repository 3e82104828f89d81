//! CertificateSigningRequest. Source: `pkg/apis/certificates/validation/validation.go`,
//! `pkg/registry/certificates/certificates/strategy.go`.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::certificates::v1::{
    CertificateSigningRequest, CertificateSigningRequestCondition, CertificateSigningRequestStatus,
};
use kubelab_api::{
    field::{Errors, Path},
    name,
};
use serde_json::Value;

use crate::registry::{
    cells::{self, AGE, NAME, NONE, cells, list, text},
    kind::{Column, Kind, age, column, human_duration},
    validation::{json, required},
};

/// CertificateSigningRequest.
pub struct CertificateSigningRequestKind;

const USAGES: &[&str] = &[
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
];

/// The least time that a certificate may be asked for: 10 minutes.
const LEAST_SECONDS: i32 = 600;

type Conditions = [CertificateSigningRequestCondition];

fn conditions(request: &CertificateSigningRequest) -> &Conditions {
    request.status.as_ref().map_or(&[], |status| list(&status.conditions))
}

fn is_verdict(condition: &CertificateSigningRequestCondition) -> bool {
    matches!(condition.type_.as_str(), "Approved" | "Denied")
}

/// Conditions that this writer may not touch are as they were.
fn keep(new: &mut CertificateSigningRequest, old: &Conditions, mine: fn(&CertificateSigningRequestCondition) -> bool) {
    let said = conditions(new).iter().filter(|condition| mine(condition)).cloned();
    let kept = old.iter().filter(|condition| !mine(condition)).cloned();
    let all: Vec<_> = kept.chain(said).collect();
    new.status.get_or_insert_default().conditions = (!all.is_empty()).then_some(all);
}

impl Kind for CertificateSigningRequestKind {
    type Object = CertificateSigningRequest;

    fn prepare_create(request: &mut CertificateSigningRequest) {
        request.status = Some(CertificateSigningRequestStatus::default());
    }

    fn prepare_update(new: &mut CertificateSigningRequest, old: &CertificateSigningRequest) {
        new.spec.clone_from(&old.spec);
        new.status.clone_from(&old.status);
    }

    fn prepare_status_update(new: &mut CertificateSigningRequest, old: &CertificateSigningRequest) {
        new.spec.clone_from(&old.spec);
        keep(new, conditions(old), |condition| !is_verdict(condition));
    }

    fn prepare_part(_part: &str, new: &mut CertificateSigningRequest, old: &CertificateSigningRequest) {
        new.spec.clone_from(&old.spec);
        let certificate = old.status.as_ref().and_then(|status| status.certificate.clone());
        new.status.get_or_insert_default().certificate = certificate;
        keep(new, conditions(old), is_verdict);
    }

    fn validate(request: &CertificateSigningRequest, errors: &mut Errors) {
        let (spec, path) = (&request.spec, Path::new("spec"));
        let pem = String::from_utf8_lossy(&spec.request.0);
        if !pem.contains("-----BEGIN CERTIFICATE REQUEST-----") {
            let detail = "PEM block type must be CERTIFICATE REQUEST";
            errors.invalid(&path.child("request"), json(&spec.request), detail);
        }
        let usages = list(&spec.usages);
        if usages.is_empty() {
            errors.required(&path.child("usages"), "");
        }
        let mut seen = BTreeSet::new();
        for (i, usage) in usages.iter().enumerate() {
            if !USAGES.contains(&usage.as_str()) {
                errors.not_supported(&path.child("usages").index(i), usage, USAGES);
            }
            if !seen.insert(usage) {
                errors.duplicate(&path.child("usages").index(i), usage.as_str());
            }
        }
        let signer = &path.child("signerName");
        required(&spec.signer_name, signer, errors);
        if let Some((domain, rest)) = spec.signer_name.split_once('/') {
            for wrong in name::dns1123_subdomain(domain) {
                errors.invalid(signer, spec.signer_name.as_str(), &wrong);
            }
            required(rest, signer, errors);
        } else if !spec.signer_name.is_empty() {
            let detail = "must be a fully qualified domain and path of the form 'example.com/signer-name'";
            errors.invalid(signer, spec.signer_name.as_str(), detail);
        }
        if let Some(seconds) = spec.expiration_seconds.filter(|seconds| *seconds < LEAST_SECONDS) {
            let detail = format!("may not specify a duration less than {LEAST_SECONDS} seconds (10 minutes)");
            errors.invalid(&path.child("expirationSeconds"), seconds, &detail);
        }
    }

    const COLUMNS: &'static [Column] = &[
        NAME,
        AGE,
        column("SignerName", "string"),
        column("Requestor", "string"),
        column("RequestedDuration", "string"),
        column("Condition", "string"),
    ];

    fn cells(request: &CertificateSigningRequest, now: Timestamp) -> Vec<Value> {
        let spec = &request.spec;
        let duration = spec.expiration_seconds.map(|seconds| human_duration(SignedDuration::from_secs(seconds.into())));
        cells![
            cells::name(&request.metadata),
            age(&request.metadata, now),
            spec.signer_name.as_str(),
            text(&spec.username),
            duration.unwrap_or_else(|| NONE.into()),
            state(request),
        ]
    }

    fn fields(request: &CertificateSigningRequest) -> Vec<(&'static str, String)> {
        vec![("spec.signerName", request.spec.signer_name.clone())]
    }
}

fn state(request: &CertificateSigningRequest) -> String {
    let has = |kind: &str| conditions(request).iter().any(|condition| condition.type_ == kind);
    let verdict = match (has("Denied"), has("Approved")) {
        (true, _) => "Denied",
        (false, true) => "Approved",
        (false, false) => "Pending",
    };
    let failed = if has("Failed") { ",Failed" } else { "" };
    let certificate = request.status.as_ref().and_then(|status| status.certificate.as_ref());
    let issued = if certificate.is_some_and(|certificate| !certificate.0.is_empty()) { ",Issued" } else { "" };
    format!("{verdict}{failed}{issued}")
}
