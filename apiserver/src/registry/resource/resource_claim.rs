//! ResourceClaim. Source: `pkg/apis/resource/validation/validation.go`, `pkg/registry/resource/resourceclaim/strategy.go`,
//! `printResourceClaim`.

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::api::resource::v1::{DeviceClaim, ResourceClaim};
use kubelab_api::{
    field::{Errors, Path},
    name,
};
use serde_json::Value;

use super::devices::{self, Names};
use crate::registry::{
    cells::{self, AGE, NAME, cells, list},
    core::pod::validation::{scheduling::node_selector, source::csi_driver},
    kind::{Column, Kind, age, column},
    status::spec_and_status,
    validation::{form, immutable},
};

/// So many may use a claim.
const CONSUMERS: usize = 256;
/// So many devices may be allocated.
const RESULTS: usize = 32;

/// ResourceClaim.
pub struct ResourceClaimKind;

impl Kind for ResourceClaimKind {
    type Object = ResourceClaim;

    fn default(claim: &mut ResourceClaim) {
        devices::default(claim.spec.get_or_insert_default());
    }

    spec_and_status!();

    fn validate_create(claim: &ResourceClaim, errors: &mut Errors) {
        let spec = claim.spec.clone().unwrap_or_default();
        devices::validate(&spec, &Path::new("spec"), errors);
    }

    fn validate_update(new: &ResourceClaim, old: &ResourceClaim, errors: &mut Errors) {
        immutable(&new.spec, &old.spec, &Path::new("spec"), errors);
    }

    fn validate_status_update(new: &ResourceClaim, old: &ResourceClaim, errors: &mut Errors) {
        let status = |claim: &ResourceClaim| claim.status.clone().unwrap_or_default();
        let (now, before, path) = (status(new), status(old), Path::new("status"));
        let reserved = list(&now.reserved_for);
        if reserved.len() > CONSUMERS {
            errors.too_many(&path.child("reservedFor"), reserved.len(), CONSUMERS);
        }
        let mut seen = BTreeSet::new();
        for (i, consumer) in reserved.iter().enumerate() {
            let path = path.child("reservedFor").index(i);
            devices::validate_consumer(&consumer.resource, &consumer.name, &consumer.uid, &path, errors);
            if !seen.insert(&consumer.uid) {
                errors.duplicate(&path.child("uid"), consumer.uid.as_str());
            }
        }
        let is_new = |consumer: &_| !list(&before.reserved_for).contains(consumer);
        if !reserved.is_empty() && now.allocation.is_none() {
            errors.forbidden(&path.child("reservedFor"), "may not be specified when `allocated` is not set");
        } else if new.metadata.deletion_timestamp.is_some() && reserved.iter().any(is_new) {
            let detail = "new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set";
            errors.forbidden(&path.child("reservedFor"), detail);
        }
        match (&now.allocation, &before.allocation) {
            (Some(now), Some(before)) => immutable(now, before, &path.child("allocation"), errors),
            (Some(_), None) => validate_allocation(new, &path.child("allocation"), errors),
            (None, _) => {}
        }
    }

    const COLUMNS: &'static [Column] = &[NAME, column("State", "string"), AGE];

    fn cells(claim: &ResourceClaim, now: Timestamp) -> Vec<Value> {
        cells![cells::name(&claim.metadata), state(claim), age(&claim.metadata, now)]
    }
}

fn validate_allocation(claim: &ResourceClaim, path: &Path, errors: &mut Errors) {
    let Some(allocation) = claim.status.as_ref().and_then(|status| status.allocation.as_ref()) else { return };
    let nothing = DeviceClaim::default();
    let wanted = claim.spec.as_ref().and_then(|spec| spec.devices.as_ref());
    let names = Names::of(wanted.unwrap_or(&nothing));
    let results = allocation.devices.as_ref().map_or(&[][..], |devices| list(&devices.results));
    let at = path.child("devices").child("results");
    if results.len() > RESULTS {
        errors.too_many(&at, results.len(), RESULTS);
    }
    for (i, result) in results.iter().enumerate() {
        let path = at.index(i);
        names.reference(&result.request, &path.child("request"), errors);
        csi_driver(&result.driver, &path.child("driver"), errors);
        super::resource_slice::pool_name(&result.pool, &path.child("pool"), errors);
        form(&result.device, name::dns1123_label, &path.child("device"), errors);
    }
    if let Some(selector) = &allocation.node_selector {
        node_selector(selector, &path.child("nodeSelector"), errors);
    }
}

fn state(claim: &ResourceClaim) -> String {
    let status = claim.status.as_ref();
    let deleted = claim.metadata.deletion_timestamp.is_some();
    let mut states = Vec::new();
    if deleted {
        states.push("deleted");
    }
    match status.and_then(|status| status.allocation.as_ref()) {
        None if deleted => {}
        None => states.push("pending"),
        Some(_) => {
            states.push("allocated");
            if status.is_some_and(|status| !list(&status.reserved_for).is_empty()) {
                states.push("reserved");
            }
        }
    }
    states.join(",")
}
