//! DeviceClass. Source: `pkg/apis/resource/validation/validation.go`, `pkg/registry/resource/deviceclass/strategy.go`,
//! `printDeviceClass`.

use jiff::Timestamp;
use k8s_openapi::api::resource::v1::DeviceClass;
use kubelab_api::field::{Errors, Path};
use serde_json::Value;

use super::devices;
use crate::registry::{
    cells::{self, AGE, NAME, cells, list},
    kind::{Column, Kind, age},
};

/// So many configurations a class may have.
const CONFIGURATIONS: usize = 32;

/// DeviceClass.
pub struct DeviceClassKind;

impl Kind for DeviceClassKind {
    type Object = DeviceClass;

    fn default(class: &mut DeviceClass) {
        class.spec.get_or_insert_default();
    }

    const GENERATION: bool = true;

    fn spec_changed(new: &DeviceClass, old: &DeviceClass) -> bool {
        new.spec != old.spec
    }

    fn validate(class: &DeviceClass, errors: &mut Errors) {
        let (spec, path) = (class.spec.clone().unwrap_or_default(), Path::new("spec"));
        devices::validate_selectors(list(&spec.selectors), &path.child("selectors"), errors);
        let (configurations, path) = (list(&spec.config), path.child("config"));
        if configurations.len() > CONFIGURATIONS {
            errors.too_many(&path, configurations.len(), CONFIGURATIONS);
        }
        for (i, configuration) in configurations.iter().enumerate() {
            devices::validate_config(configuration.opaque.as_ref(), &path.index(i), errors);
        }
    }

    const COLUMNS: &'static [Column] = &[NAME, AGE];

    fn cells(class: &DeviceClass, now: Timestamp) -> Vec<Value> {
        cells![cells::name(&class.metadata), age(&class.metadata, now)]
    }
}
