//! StorageClass. Source: `pkg/apis/storage/v1/defaults.go`, `pkg/apis/storage/validation/validation.go`.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use k8s_openapi::api::{core::v1::TopologySelectorTerm, storage::v1::StorageClass};
use kubelab_api::{
    field::{Errors, Path},
    meta::annotation,
    name,
    well_known::annotation::DEFAULT_STORAGE_CLASS,
};
use serde_json::Value;

use crate::registry::{
    cells::{self, AGE, NAME, cells, list, text},
    core::pod::warnings::old_label,
    defaults::missing,
    kind::{Column, Kind, age, column},
    validation::{choice, immutable, label_key},
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
        provisioner(&class.provisioner, &Path::new("provisioner"), errors);
        parameters(&class.parameters.clone().unwrap_or_default(), &Path::new("parameters"), errors);
        if let Some(policy) = &class.reclaim_policy {
            choice(policy, &["Delete", "Retain"], &Path::new("reclaimPolicy"), errors);
        }
        if let Some(mode) = &class.volume_binding_mode {
            choice(mode, &["Immediate", "WaitForFirstConsumer"], &Path::new("volumeBindingMode"), errors);
        }
        topologies(list(&class.allowed_topologies), &Path::new("allowedTopologies"), errors);
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

    fn warnings(class: &StorageClass) -> Vec<String> {
        let mut warnings = Vec::new();
        for (i, term) in list(&class.allowed_topologies).iter().enumerate() {
            for (j, expression) in list(&term.match_label_expressions).iter().enumerate() {
                let path = Path::new("allowedTopologies").index(i).child("matchLabelExpressions").index(j).child("key");
                warnings.extend(old_label(&expression.key).map(|use_instead| format!("{path}: {use_instead}")));
            }
        }
        warnings
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

/// Who makes the volumes. Source: `validateProvisioner`.
pub(super) fn provisioner(provisioner: &str, path: &Path, errors: &mut Errors) {
    if provisioner.is_empty() {
        return errors.required(path, "");
    }
    let lower = provisioner.to_lowercase();
    for wrong in name::label_key(&lower) {
        errors.invalid(path, lower.as_str(), &wrong);
    }
}

/// What the maker of the volumes is told. Source: `validateParameters`.
pub(super) fn parameters(parameters: &BTreeMap<String, String>, path: &Path, errors: &mut Errors) {
    const MOST: usize = 512;
    const LARGEST: usize = 256 * 1024;
    if parameters.len() > MOST {
        return errors.too_long(path, MOST);
    }
    if parameters.contains_key("") {
        errors.invalid(path, "", "field can not be empty.");
    }
    if parameters.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>() > LARGEST {
        errors.too_long(path, LARGEST);
    }
}

/// Source: `validateAllowedTopologies`.
fn topologies(terms: &[TopologySelectorTerm], path: &Path, errors: &mut Errors) {
    let mut seen: Vec<BTreeMap<&str, BTreeSet<&str>>> = Vec::new();
    for (i, term) in terms.iter().enumerate() {
        let path = path.index(i).child("matchLabelExpressions");
        let mut requirements = BTreeMap::new();
        for (i, requirement) in list(&term.match_label_expressions).iter().enumerate() {
            let path = path.index(i);
            let mut values = BTreeSet::new();
            if requirement.values.is_empty() {
                errors.required(&path.child("values"), "");
            }
            for (i, value) in requirement.values.iter().enumerate() {
                if !values.insert(value.as_str()) {
                    errors.duplicate(&path.child("values").index(i), value.as_str());
                }
            }
            label_key(&requirement.key, &path.child("key"), errors);
            if requirements.insert(requirement.key.as_str(), values).is_some() {
                errors.duplicate(&path.child("key"), requirement.key.as_str());
            }
        }
        if seen.contains(&requirements) {
            errors.duplicate(&path, "");
        }
        seen.push(requirements);
    }
}
