//! CSINode. Source: `pkg/apis/storage/validation/validation.go`, `printCSINode`.

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::api::storage::v1::CSINode;
use kubelab_api::field::{Errors, Path};
use serde_json::Value;

use crate::registry::{
    cells::{self, AGE, NAME, cells},
    kind::{Column, Kind, age, column},
    validation::required,
};

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
            required(&driver.name, &path.child("name"), errors);
            required(&driver.node_id, &path.child("nodeID"), errors);
            if !names.insert(&driver.name) {
                errors.duplicate(&path.child("name"), driver.name.as_str());
            }
        }
    }

    const COLUMNS: &'static [Column] = &[NAME, column("Drivers", "integer"), AGE];

    fn cells(node: &CSINode, now: Timestamp) -> Vec<Value> {
        cells![cells::name(&node.metadata), node.spec.drivers.len(), age(&node.metadata, now)]
    }
}
