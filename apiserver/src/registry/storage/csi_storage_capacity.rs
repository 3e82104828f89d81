//! CSIStorageCapacity. Source: `pkg/apis/storage/validation/validation.go`, `printCSIStorageCapacity`.

use jiff::Timestamp;
use k8s_openapi::api::storage::v1::CSIStorageCapacity;
use kubelab_api::{
    field::{Errors, Path},
    name,
    selector::label,
};
use serde_json::Value;

use crate::registry::{
    cells::{self, NAME, cells},
    core::resources,
    kind::{Column, Kind, column},
    validation::{form, immutable},
};

/// CSIStorageCapacity.
pub struct CSIStorageCapacityKind;

impl Kind for CSIStorageCapacityKind {
    type Object = CSIStorageCapacity;

    const UNCONDITIONAL_UPDATE: bool = false;

    fn default(capacity: &mut CSIStorageCapacity) {
        let amounts = [&mut capacity.capacity, &mut capacity.maximum_volume_size];
        amounts.into_iter().flatten().for_each(resources::canonical_amount);
    }

    fn validate(capacity: &CSIStorageCapacity, errors: &mut Errors) {
        form(&capacity.storage_class_name, name::dns1123_subdomain, &Path::new("storageClassName"), errors);
        if let Some(topology) = &capacity.node_topology {
            label::validate(topology, &Path::new("nodeTopology"), errors);
        }
        for (field, amount) in [("capacity", &capacity.capacity), ("maximumVolumeSize", &capacity.maximum_volume_size)]
        {
            if let Some(amount) = amount {
                resources::quantity(amount, &Path::new(field), errors);
            }
        }
    }

    fn validate_update(new: &CSIStorageCapacity, old: &CSIStorageCapacity, errors: &mut Errors) {
        immutable(&new.storage_class_name, &old.storage_class_name, &Path::new("storageClassName"), errors);
        immutable(&new.node_topology, &old.node_topology, &Path::new("nodeTopology"), errors);
    }

    const COLUMNS: &'static [Column] = &[NAME, column("StorageClassName", "string"), column("Capacity", "string")];

    fn cells(capacity: &CSIStorageCapacity, _now: Timestamp) -> Vec<Value> {
        let amount = capacity.capacity.as_ref().map_or("<unset>", |amount| amount.0.as_str());
        cells![cells::name(&capacity.metadata), capacity.storage_class_name.as_str(), amount]
    }
}
