//! Devices that a pod claims, and which of its containers use them. Source: `validatePodResourceClaims` and
//! `validateResourceClaimNames`.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{PodResourceClaim, PodSpec, ResourceClaim};
use kubelab_api::{
    field::{Errors, Path},
    name,
};

use crate::registry::{
    cells::{list, text},
    validation::{form, json},
};

/// The pod's claims.
pub(super) fn pod(claims: &[PodResourceClaim], path: &Path, errors: &mut Errors) {
    let mut names = BTreeSet::new();
    for (i, claim) in claims.iter().enumerate() {
        let path = path.index(i);
        match claim.name.as_str() {
            "" => errors.required(&path.child("name"), ""),
            name if !names.insert(name) => errors.duplicate(&path.child("name"), name),
            name => form(name, name::dns1123_label, &path.child("name"), errors),
        }
        match (&claim.resource_claim_name, &claim.resource_claim_template_name) {
            (Some(_), Some(_)) => {
                let detail = "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified";
                errors.invalid(&path, json(claim), detail);
            }
            (None, None) => {
                let detail = "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`";
                errors.invalid(&path, json(claim), detail);
            }
            _ => {}
        }
        for (field, value) in [
            ("resourceClaimName", &claim.resource_claim_name),
            ("resourceClaimTemplateName", &claim.resource_claim_template_name),
        ] {
            if let Some(value) = value {
                form(value, name::dns1123_subdomain, &path.child(field), errors);
            }
        }
    }
}

/// A container's claims: each is one of the pod's, or a request of one.
pub(super) fn validate(claims: &[ResourceClaim], spec: &PodSpec, path: &Path, errors: &mut Errors) {
    let known: BTreeSet<_> = list(&spec.resource_claims).iter().map(|claim| claim.name.as_str()).collect();
    let mut names: BTreeSet<String> = BTreeSet::new();
    for (i, claim) in claims.iter().enumerate() {
        let path = path.index(i);
        let name = claim.name.as_str();
        if name.is_empty() {
            errors.required(&path, "");
            continue;
        }
        let key = match text(&claim.request) {
            "" => name.to_owned(),
            request => {
                form(request, name::dns1123_label, &path.child("request"), errors);
                format!("{name}/{request}")
            }
        };
        let whole = text(&claim.request).is_empty();
        let overlaps = names.iter().any(|other| whole && other.split('/').next() == Some(name));
        if names.contains(name) || overlaps {
            errors.duplicate(&path, name);
        } else if !names.insert(key.clone()) {
            errors.duplicate(&path, key);
        }
        if !known.contains(name) {
            errors.not_found(&path, name);
            let among = match known.is_empty() {
                true => " which is empty".to_owned(),
                false => format!(": {}", known.iter().copied().collect::<Vec<_>>().join(", ")),
            };
            if let Some(error) = errors.0.last_mut() {
                error.message += &format!(": must be one of the names in pod.spec.resourceClaims{among}");
            }
        }
    }
}
