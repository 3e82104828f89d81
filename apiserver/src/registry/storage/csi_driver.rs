//! CSIDriver. Source: `pkg/apis/storage/v1/defaults.go`, `printCSIDriver`.

use jiff::Timestamp;
use k8s_openapi::api::storage::v1::CSIDriver;
use serde_json::Value;

use crate::registry::{
    cells::{self, AGE, NAME, UNSET, cells, list},
    defaults::missing,
    kind::{Column, Kind, age, column},
};

/// CSIDriver.
pub struct CSIDriverKind;

impl Kind for CSIDriverKind {
    type Object = CSIDriver;

    const RETURNS_DELETED: bool = true;
    const UNCONDITIONAL_UPDATE: bool = false;

    fn default(driver: &mut CSIDriver) {
        let spec = &mut driver.spec;
        missing(&mut spec.attach_required, true);
        missing(&mut spec.pod_info_on_mount, false);
        missing(&mut spec.storage_capacity, false);
        missing(&mut spec.fs_group_policy, "ReadWriteOnceWithFSType".into());
        missing(&mut spec.requires_republish, false);
        missing(&mut spec.se_linux_mount, false);
        if list(&spec.volume_lifecycle_modes).is_empty() {
            spec.volume_lifecycle_modes = Some(vec!["Persistent".into()]);
        }
    }

    const GENERATION: bool = true;

    fn spec_changed(new: &CSIDriver, old: &CSIDriver) -> bool {
        new.spec != old.spec
    }

    const COLUMNS: &'static [Column] = &[
        NAME,
        column("AttachRequired", "boolean"),
        column("PodInfoOnMount", "boolean"),
        column("StorageCapacity", "boolean"),
        column("TokenRequests", "string"),
        column("RequiresRepublish", "boolean"),
        column("Modes", "string"),
        AGE,
    ];

    fn cells(driver: &CSIDriver, now: Timestamp) -> Vec<Value> {
        let spec = &driver.spec;
        let audiences: Vec<_> = list(&spec.token_requests).iter().map(|token| token.audience.as_str()).collect();
        cells![
            cells::name(&driver.metadata),
            spec.attach_required.unwrap_or(true),
            spec.pod_info_on_mount.unwrap_or_default(),
            spec.storage_capacity.unwrap_or_default(),
            if spec.token_requests.is_some() { audiences.join(",") } else { UNSET.to_owned() },
            spec.requires_republish.unwrap_or_default(),
            list(&spec.volume_lifecycle_modes).join(","),
            age(&driver.metadata, now),
        ]
    }
}
