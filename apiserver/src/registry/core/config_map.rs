//! ConfigMap. Source: `pkg/apis/core/validation/validation.go`, `pkg/registry/core/configmap/strategy.go`.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::Value;

use crate::registry::{
    cells::{AGE, NAME, cells, name},
    kind::{Column, Kind, age, column},
};

/// ConfigMap.
pub struct ConfigMapKind;

impl Kind for ConfigMapKind {
    type Object = ConfigMap;

    const COLUMNS: &'static [Column] = &[NAME, column("Data", "string"), AGE];

    fn cells(map: &ConfigMap, now: Timestamp) -> Vec<Value> {
        let entries =
            map.data.as_ref().map_or(0, |data| data.len()) + map.binary_data.as_ref().map_or(0, |data| data.len());
        cells![name(&map.metadata), entries, age(&map.metadata, now)]
    }
}
