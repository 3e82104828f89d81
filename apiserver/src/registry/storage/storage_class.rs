//! StorageClass. Source: `pkg/apis/storage/v1/defaults.go`, `pkg/apis/storage/validation/validation.go`.

use jiff::Timestamp;
use k8s_openapi::api::storage::v1::StorageClass;
use kubelab_api::{
    field::{Errors, Path},
    meta::annotation,
    name,
    well_known::annotation::DEFAULT_STORAGE_CLASS,
};
use serde_json::Value;

use crate::registry::{
    cells::{self, AGE, NAME, cells, text},
    defaults::missing,
    kind::{Column, Kind, age, column},
    validation::{choice, immutable, required_form},
};

/// StorageClass.
pub struct StorageClassKind;

impl Kind for StorageClassKind {
    type Object = StorageClass;

    const RETURNS_DELETED: bool = true;

    fn default(class: &mut StorageClass) {
        missing(&mut class.reclaim_policy, "Delete".into());
        missing(&mut class.volume_binding_mode, "Immediate".into());
    }

    fn validate(class: &StorageClass, errors: &mut Errors) {
        let lower = |text: &str| name::label_key(&text.to_lowercase());
        required_form(&class.provisioner, lower, &Path::new("provisioner"), errors);
        if let Some(policy) = &class.reclaim_policy {
            choice(policy, &["Delete", "Retain"], &Path::new("reclaimPolicy"), errors);
        }
        if let Some(mode) = &class.volume_binding_mode {
            choice(mode, &["Immediate", "WaitForFirstConsumer"], &Path::new("volumeBindingMode"), errors);
        }
    }

    fn validate_update(new: &StorageClass, old: &StorageClass, errors: &mut Errors) {
        for (field, changed) in [
            ("parameters", new.parameters != old.parameters),
            ("provisioner", new.provisioner != old.provisioner),
            ("reclaimPolicy", new.reclaim_policy != old.reclaim_policy),
        ] {
            if changed {
                errors.forbidden(&Path::new(field), &format!("updates to {field} are forbidden."));
            }
        }
        immutable(&new.volume_binding_mode, &old.volume_binding_mode, &Path::new("volumeBindingMode"), errors);
    }

    const COLUMNS: &'static [Column] = &[
        NAME,
        column("Provisioner", "string"),
        column("ReclaimPolicy", "string"),
        column("VolumeBindingMode", "string"),
        column("AllowVolumeExpansion", "string"),
        AGE,
    ];

    fn cells(class: &StorageClass, now: Timestamp) -> Vec<Value> {
        const LEGACY: &str = "storageclass.beta.kubernetes.io/is-default-class";
        let is_default =
            [DEFAULT_STORAGE_CLASS, LEGACY].into_iter().any(|key| annotation(&class.metadata, key) == Some("true"));
        let suffix = if is_default { " (default)" } else { "" };
        cells![
            format!("{}{suffix}", cells::name(&class.metadata)),
            class.provisioner.as_str(),
            text(&class.reclaim_policy),
            text(&class.volume_binding_mode),
            class.allow_volume_expansion.unwrap_or_default(),
            age(&class.metadata, now),
        ]
    }
}
