//! ConfigMap. Source: `pkg/apis/core/validation/validation.go`, `pkg/registry/core/configmap/strategy.go`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use kubelab_api::{
    field::{Errors, Path},
    name,
};
use serde_json::Value;

use crate::registry::{
    cells::{self, AGE, NAME, cells},
    kind::{Column, Kind, age, column},
    validation::form,
};

/// ConfigMap.
pub struct ConfigMapKind;

/// How much a ConfigMap or a Secret may hold.
pub const MAX_SIZE: usize = 1024 * 1024;

/// What is said of the content of one that was made immutable.
pub const SEALED: &str = "field is immutable when `immutable` is set";

impl Kind for ConfigMapKind {
    type Object = ConfigMap;

    fn validate(map: &ConfigMap, errors: &mut Errors) {
        let none = BTreeMap::new();
        let (data, binary) = (map.data.iter().flatten(), map.binary_data.as_ref().unwrap_or(&none));
        let mut size = 0;
        for (key, value) in data {
            let path = Path::new("data").key(key);
            form(key, name::config_map_key, &path, errors);
            if binary.contains_key(key) {
                errors.invalid(&path, key.as_str(), "duplicate of key present in binaryData");
            }
            size += value.len();
        }
        for (key, value) in binary {
            let path = Path::new("binaryData").key(key);
            form(key, name::config_map_key, &path, errors);
            size += value.0.len();
        }
        if size > MAX_SIZE {
            errors.too_long(&Path::new("[]"), MAX_SIZE);
        }
    }

    fn validate_update(new: &ConfigMap, old: &ConfigMap, errors: &mut Errors) {
        if old.immutable != Some(true) {
            return;
        }
        for (field, changed) in [
            ("immutable", new.immutable != Some(true)),
            ("data", new.data != old.data),
            ("binaryData", new.binary_data != old.binary_data),
        ] {
            if changed {
                errors.forbidden(&Path::new(field), SEALED);
            }
        }
    }

    const COLUMNS: &'static [Column] = &[NAME, column("Data", "string"), AGE];

    fn cells(map: &ConfigMap, now: Timestamp) -> Vec<Value> {
        let entries =
            map.data.as_ref().map_or(0, |data| data.len()) + map.binary_data.as_ref().map_or(0, |data| data.len());
        cells![cells::name(&map.metadata), entries, age(&map.metadata, now)]
    }
}
