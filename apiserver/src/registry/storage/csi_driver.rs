//! CSIDriver. Source: `pkg/apis/storage/v1/defaults.go`, `pkg/apis/storage/validation/validation.go`, `printCSIDriver`.

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::api::storage::v1::CSIDriver;
use kubelab_api::field::{Errors, Path};
use serde_json::Value;

use crate::registry::{
    cells::{self, AGE, NAME, UNSET, cells, list},
    core::pod::validation::source::csi_driver,
    defaults::missing,
    kind::{Column, Kind, age, column},
    validation::{choice, immutable},
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

    fn validate(driver: &CSIDriver, errors: &mut Errors) {
        const SHORTEST: i64 = 10 * 60;
        const LONGEST: i64 = 1 << 32;
        let (spec, path) = (&driver.spec, Path::new("spec"));
        csi_driver(driver.metadata.name.as_deref().unwrap_or_default(), &Path::new("name"), errors);
        if let Some(policy) = &spec.fs_group_policy {
            choice(policy, &["File", "None", "ReadWriteOnceWithFSType"], &path.child("fsGroupPolicy"), errors);
        }
        let mut audiences = BTreeSet::new();
        for (i, request) in list(&spec.token_requests).iter().enumerate() {
            let path = path.child("tokenRequests").index(i);
            if !audiences.insert(&request.audience) {
                errors.duplicate(&path.child("audience"), request.audience.as_str());
                continue;
            }
            let (at, seconds) = (path.child("expirationSeconds"), request.expiration_seconds);
            if let Some(seconds) = seconds.filter(|seconds| *seconds < SHORTEST) {
                errors.invalid(&at, seconds, "may not specify a duration less than 10 minutes");
            }
            if let Some(seconds) = seconds.filter(|seconds| *seconds > LONGEST) {
                errors.invalid(&at, seconds, "may not specify a duration larger than 2^32 seconds");
            }
        }
        for mode in list(&spec.volume_lifecycle_modes) {
            choice(mode, &["Persistent", "Ephemeral"], &path.child("volumeLifecycleModes"), errors);
        }
        if let Some(seconds) = spec.node_allocatable_update_period_seconds.filter(|seconds| *seconds < 10) {
            let detail = "must be greater than or equal to 10 seconds";
            errors.invalid(&path.child("nodeAllocatableUpdatePeriodSeconds"), seconds, detail);
        }
    }

    fn validate_update(new: &CSIDriver, old: &CSIDriver, errors: &mut Errors) {
        let path = Path::new("spec");
        // Upstream's name for it.
        immutable(&new.spec.attach_required, &old.spec.attach_required, &path.child("attachedRequired"), errors);
        let modes = path.child("volumeLifecycleModes");
        immutable(&new.spec.volume_lifecycle_modes, &old.spec.volume_lifecycle_modes, &modes, errors);
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
