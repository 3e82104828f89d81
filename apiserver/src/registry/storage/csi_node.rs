//! CSINode. Source: `pkg/apis/storage/validation/validation.go`, `printCSINode`.

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::api::storage::v1::{CSINode, CSINodeDriver};
use kubelab_api::{
    field::{Errors, Path},
    name,
};
use serde_json::Value;

use crate::registry::{
    cells::{self, AGE, NAME, cells, list},
    core::pod::validation::source::csi_driver,
    kind::{Column, Kind, age, column},
    validation::{IMMUTABLE, json, nonnegative, required},
};

/// What a driver calls a node is no longer.
const LONGEST_ID: usize = 256;

/// CSINode.
pub struct CSINodeKind;

impl Kind for CSINodeKind {
    type Object = CSINode;

    const RETURNS_DELETED: bool = true;
    const UNCONDITIONAL_UPDATE: bool = false;

    fn validate(node: &CSINode, errors: &mut Errors) {
        let mut names = BTreeSet::new();
        for (i, driver) in node.spec.drivers.iter().enumerate() {
            let path = Path::new("spec").child("drivers").index(i);
            csi_driver(&driver.name, &path.child("name"), errors);
            required(&driver.node_id, &path.child("nodeID"), errors);
            if driver.node_id.len() > LONGEST_ID {
                let detail = format!("must be {LONGEST_ID} characters or less");
                errors.invalid(&path.child("nodeID"), driver.node_id.as_str(), &detail);
            }
            let count = driver.allocatable.as_ref().and_then(|allocatable| allocatable.count);
            nonnegative(count, &path.child("allocatable").child("count"), errors);
            if !names.insert(&driver.name) {
                errors.duplicate(&path.child("name"), driver.name.as_str());
            }
            let mut keys = BTreeSet::new();
            for key in list(&driver.topology_keys) {
                if key.is_empty() {
                    errors.required(&path, "");
                }
                if !keys.insert(key) {
                    errors.duplicate(&path, key.as_str());
                }
                for wrong in name::label_key(key) {
                    errors.invalid(&path, json(&driver.topology_keys), &wrong);
                }
            }
        }
    }

    fn validate_update(new: &CSINode, old: &CSINode, errors: &mut Errors) {
        for driver in &old.spec.drivers {
            // How many volumes fit may change.
            let same = |other: &CSINodeDriver| {
                *driver == CSINodeDriver { allocatable: driver.allocatable.clone(), ..other.clone() }
            };
            for changed in new.spec.drivers.iter().filter(|other| other.name == driver.name && !same(other)) {
                errors.invalid(&Path::new("CSINodeDriver"), json(changed), IMMUTABLE);
            }
        }
    }

    const COLUMNS: &'static [Column] = &[NAME, column("Drivers", "integer"), AGE];

    fn cells(node: &CSINode, now: Timestamp) -> Vec<Value> {
        cells![cells::name(&node.metadata), node.spec.drivers.len(), age(&node.metadata, now)]
    }
}
