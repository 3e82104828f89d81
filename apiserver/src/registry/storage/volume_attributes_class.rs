//! VolumeAttributesClass. Source: `pkg/apis/storage/validation/validation.go`, `printVolumeAttributesClass`.

use jiff::Timestamp;
use k8s_openapi::api::storage::v1::VolumeAttributesClass;
use kubelab_api::field::{Errors, Path};
use serde_json::Value;

use super::storage_class::{parameters, provisioner};
use crate::registry::{
    cells::{self, AGE, NAME, cells},
    kind::{Column, Kind, age, column},
};

/// VolumeAttributesClass.
pub struct VolumeAttributesClassKind;

impl Kind for VolumeAttributesClassKind {
    type Object = VolumeAttributesClass;

    fn validate(class: &VolumeAttributesClass, errors: &mut Errors) {
        provisioner(&class.driver_name, &Path::new("driverName"), errors);
        let given = class.parameters.clone().unwrap_or_default();
        parameters(&given, &Path::new("parameters"), errors);
        if given.is_empty() {
            errors.required(&Path::new("parameters"), "must contain at least one key/value pair");
        }
    }

    fn validate_update(new: &VolumeAttributesClass, old: &VolumeAttributesClass, errors: &mut Errors) {
        if new.driver_name != old.driver_name {
            errors.forbidden(&Path::new("driverName"), "updates to driverName are forbidden.");
        }
        if new.parameters != old.parameters {
            errors.forbidden(&Path::new("parameters"), "updates to parameters are forbidden.");
        }
    }

    const COLUMNS: &'static [Column] = &[NAME, column("DriverName", "string"), AGE];

    fn cells(class: &VolumeAttributesClass, now: Timestamp) -> Vec<Value> {
        cells![cells::name(&class.metadata), class.driver_name.as_str(), age(&class.metadata, now)]
    }
}
