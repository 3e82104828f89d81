//! CertificateSigningRequest. Source: `pkg/apis/certificates/validation/validation.go`,
//! `pkg/registry/certificates/certificates/strategy.go`.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::certificates::v1::{
    CertificateSigningRequest, CertificateSigningRequestCondition, CertificateSigningRequestStatus,
};
use kubelab_api::field::{Errors, Path};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use serde_json::Value;

use super::signer;
use crate::registry::{
    cells::{self, AGE, NAME, NONE, cells, list, text},
    kind::{Column, Kind, age, column, human_duration},
    validation::{json, required_choice},
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

/// What is decided about a request, through `approval` alone.
const VERDICTS: [&str; 2] = ["Approved", "Denied"];
/// What is true of a request, or not said of it; and once said, stays.
const FINAL: [&str; 3] = ["Approved", "Denied", "Failed"];

fn of_type<'a>(request: &'a CertificateSigningRequest, kind: &str) -> Vec<&'a CertificateSigningRequestCondition> {
    conditions(request).iter().filter(|condition| condition.type_ == kind).collect()
}

/// The verdicts that a status update repeats are as they were. Those that it adds or leaves out, it is refused for.
fn keep_verdicts(new: &mut CertificateSigningRequest, old: &CertificateSigningRequest) {
    for kind in VERDICTS {
        let mut before = of_type(old, kind).into_iter();
        if of_type(new, kind).len() != before.len() {
            continue;
        }
        let conditions = new.status.as_mut().and_then(|status| status.conditions.as_mut());
        for condition in conditions.into_iter().flatten().filter(|condition| condition.type_ == kind) {
            if let Some(before) = before.next() {
                condition.clone_from(before);
            }
        }
    }
}

/// What every condition must be. What was wrong already may stay so.
fn validate_conditions(new: &CertificateSigningRequest, old: &CertificateSigningRequest, errors: &mut Errors) {
    let path = Path::new("status").child("conditions");
    let undecided = VERDICTS.iter().any(|kind| of_type(old, kind).is_empty());
    let unique = |request: &CertificateSigningRequest| {
        let types: BTreeSet<_> = conditions(request).iter().map(|condition| &condition.type_).collect();
        types.len() == conditions(request).len()
    };
    let (was_unique, was_named) = (unique(old), of_type(old, "").is_empty());
    let mut seen = BTreeSet::new();
    for (i, condition) in conditions(new).iter().enumerate() {
        let (kind, path) = (condition.type_.as_str(), path.index(i));
        if kind.is_empty() && was_named {
            errors.required(&path.child("type"), "");
        }
        let allowed: &[&str] = if FINAL.contains(&kind) { &["True"] } else { &["False", "True", "Unknown"] };
        required_choice(&condition.status, allowed, &path.child("status"), errors);
        let other = VERDICTS.iter().any(|verdict| *verdict != kind && seen.contains(verdict));
        if VERDICTS.contains(&kind) && other && undecided {
            let detail = "Approved and Denied conditions are mutually exclusive";
            errors.invalid(&path.child("type"), kind, detail);
        }
        if !seen.insert(kind) && was_unique {
            errors.duplicate(&path.child("type"), kind);
        }
    }
    let path = Path::new("status").child("conditions");
    for kind in FINAL {
        if of_type(new, kind).len() < of_type(old, kind).len() {
            errors.forbidden(&path, &format!("updates may not remove a condition of type {kind:?}"));
        }
    }
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
        keep_verdicts(new, old);
    }

    fn prepare_part(_part: &str, new: &mut CertificateSigningRequest, old: &CertificateSigningRequest) {
        new.spec.clone_from(&old.spec);
        let certificate = old.status.as_ref().and_then(|status| status.certificate.clone());
        new.status.get_or_insert_default().certificate = certificate;
    }

    fn validate_status_update(new: &CertificateSigningRequest, old: &CertificateSigningRequest, errors: &mut Errors) {
        validate_conditions(new, old, errors);
        for kind in VERDICTS {
            if of_type(new, kind).len() > of_type(old, kind).len() {
                let path = Path::new("status").child("conditions");
                errors.forbidden(&path, &format!("updates may not add a condition of type {kind:?}"));
            }
        }
        let certificate = |request: &CertificateSigningRequest| {
            request.status.as_ref().and_then(|status| status.certificate.clone()).unwrap_or_default()
        };
        let (given, before, path) = (certificate(new), certificate(old), Path::new("status").child("certificate"));
        if given == before {
            return;
        }
        if !given.0.is_empty() && !CertificateDer::pem_slice_iter(&given.0).any(|block| block.is_ok()) {
            errors.invalid(&path, "<certificate data>", "must contain one or more CERTIFICATE PEM blocks");
        }
        if !before.0.is_empty() {
            errors.forbidden(&path, "updates may not modify existing certificate content");
        }
    }

    fn validate_part(
        _part: &str,
        new: &CertificateSigningRequest,
        old: &CertificateSigningRequest,
        errors: &mut Errors,
    ) {
        validate_conditions(new, old, errors);
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
        signer::validate(&spec.signer_name, &path.child("signerName"), errors);
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
