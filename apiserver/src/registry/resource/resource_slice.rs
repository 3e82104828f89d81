//! ResourceSlice. Source: `pkg/apis/resource/validation/validation.go`, `pkg/registry/resource/resourceslice/strategy.go`,
//! `printResourceSlice`.

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::api::resource::v1::ResourceSlice;
use kubelab_api::{
    field::{Errors, Path},
    name,
};
use serde_json::Value;

use super::slice_devices;
use crate::registry::{
    cells::{self, AGE, NAME, UNSET, cells, list, text},
    core::pod::validation::{scheduling::node_selector, source::csi_driver},
    kind::{Column, Kind, age, column},
    validation::{form, immutable},
};

/// A pool's name may be so long.
const LONGEST: usize = 253;
/// A slice has no more devices.
const DEVICES: usize = 128;

/// ResourceSlice.
pub struct ResourceSliceKind;

/// The name of a pool: subdomains with slashes between them.
pub(super) fn pool_name(given: &str, path: &Path, errors: &mut Errors) {
    if given.is_empty() {
        return errors.required(path, "");
    }
    if given.len() > LONGEST {
        errors.too_long(path, LONGEST);
    }
    for part in given.split('/') {
        form(part, name::dns1123_subdomain, path, errors);
    }
}

impl Kind for ResourceSliceKind {
    type Object = ResourceSlice;

    const GENERATION: bool = true;

    fn spec_changed(new: &ResourceSlice, old: &ResourceSlice) -> bool {
        new.spec != old.spec
    }

    fn validate(slice: &ResourceSlice, errors: &mut Errors) {
        let (spec, path) = (&slice.spec, Path::new("spec"));
        csi_driver(&spec.driver, &path.child("driver"), errors);
        let pool = path.child("pool");
        pool_name(&spec.pool.name, &pool.child("name"), errors);
        if spec.pool.resource_slice_count <= 0 {
            let detail = "must be greater than zero";
            errors.invalid(&pool.child("resourceSliceCount"), spec.pool.resource_slice_count, detail);
        }
        if spec.pool.generation < 0 {
            let detail = "must be greater than or equal to zero";
            errors.invalid(&pool.child("generation"), spec.pool.generation, detail);
        }
        let given: Vec<&str> = [
            ("nodeName", spec.node_name.is_some()),
            ("nodeSelector", spec.node_selector.is_some()),
            ("allNodes", spec.all_nodes == Some(true)),
            ("perDeviceNodeSelection", spec.per_device_node_selection == Some(true)),
        ]
        .into_iter()
        .filter_map(|(field, given)| given.then_some(field))
        .collect();
        let one = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required";
        // Shared counters stand in a slice of their own, which belongs to no node.
        let needs_place = list(&spec.shared_counters).is_empty();
        match given.as_slice() {
            [] if needs_place => errors.required(&path, one),
            [] | [_] => {}
            several => {
                let detail = format!("{one}, but multiple fields are set");
                errors.invalid(&path, format!("{{{}}}", several.join(", ")), &detail);
            }
        }
        if let Some(node) = &spec.node_name {
            form(node, name::dns1123_subdomain, &path.child("nodeName"), errors);
        }
        if let Some(selector) = &spec.node_selector {
            node_selector(selector, &path.child("nodeSelector"), errors);
        }
        let (devices, path) = (list(&spec.devices), path.child("devices"));
        if devices.len() > DEVICES {
            errors.too_many(&path, devices.len(), DEVICES);
        }
        let mut seen = BTreeSet::new();
        let each = spec.per_device_node_selection == Some(true);
        for (i, device) in devices.iter().enumerate() {
            slice_devices::validate(device, each, &path.index(i), errors);
            if !seen.insert(&device.name) {
                errors.duplicate(&path.index(i).child("name"), device.name.as_str());
            }
        }
    }

    fn validate_update(new: &ResourceSlice, old: &ResourceSlice, errors: &mut Errors) {
        let path = Path::new("spec");
        immutable(&new.spec.driver, &old.spec.driver, &path.child("driver"), errors);
        immutable(&new.spec.pool.name, &old.spec.pool.name, &path.child("pool").child("name"), errors);
        immutable(&new.spec.node_name, &old.spec.node_name, &path.child("nodeName"), errors);
    }

    const COLUMNS: &'static [Column] =
        &[NAME, column("Node", "string"), column("Driver", "string"), column("Pool", "string"), AGE];

    fn cells(slice: &ResourceSlice, now: Timestamp) -> Vec<Value> {
        let spec = &slice.spec;
        cells![
            cells::name(&slice.metadata),
            spec.node_name.as_deref().unwrap_or(UNSET),
            spec.driver.as_str(),
            spec.pool.name.as_str(),
            age(&slice.metadata, now),
        ]
    }

    fn fields(slice: &ResourceSlice) -> Vec<(&'static str, String)> {
        let spec = &slice.spec;
        vec![
            ("spec.driver", spec.driver.clone()),
            ("spec.nodeName", text(&spec.node_name).to_owned()),
            ("spec.pool.name", spec.pool.name.clone()),
        ]
    }
}
