//! PersistentVolume. Source: `pkg/apis/core/v1/defaults.go`, `pkg/apis/core/validation/validation.go`,
//! `pkg/registry/core/persistentvolume/strategy.go`.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeSpec, PersistentVolumeStatus};
use kubelab_api::{
    field::{Errors, Path},
    name,
};
use serde_json::Value;

use crate::registry::{
    cells::{self, AGE, NAME, UNSET, cells, list, text, text_or},
    core::{
        persistent_volume_claim::{ACCESS_MODES, short_modes},
        pod::validation::{host_path, node_selector},
        resources,
    },
    defaults::{self, missing},
    kind::{Column, Kind, age, column, wide},
    validation::{IMMUTABLE, choice, form, json, required},
};

/// PersistentVolume.
pub struct PersistentVolumeKind;

/// Fields of the spec that say something else than where the volume is.
const NO_SOURCES: &[&str] = &[
    "accessModes",
    "capacity",
    "claimRef",
    "mountOptions",
    "nodeAffinity",
    "persistentVolumeReclaimPolicy",
    "storageClassName",
    "volumeAttributesClassName",
    "volumeMode",
];

fn source(spec: &PersistentVolumeSpec) -> Vec<(String, Value)> {
    let Value::Object(fields) = json(spec) else { return Vec::new() };
    fields.into_iter().filter(|(field, _)| !NO_SOURCES.contains(&field.as_str())).collect()
}

impl Kind for PersistentVolumeKind {
    type Object = PersistentVolume;

    const RETURNS_DELETED: bool = true;

    fn default(volume: &mut PersistentVolume) {
        let spec = volume.spec.get_or_insert_default();
        defaults::text(&mut spec.persistent_volume_reclaim_policy, "Retain");
        missing(&mut spec.volume_mode, "Filesystem".into());
        if let Some(source) = &mut spec.host_path {
            missing(&mut source.type_, String::new());
        }
        spec.capacity.iter_mut().for_each(resources::canonical);
        defaults::text(&mut volume.status.get_or_insert_default().phase, "Pending");
    }

    fn prepare_create(volume: &mut PersistentVolume) {
        volume.status = Some(PersistentVolumeStatus {
            phase: Some("Pending".into()),
            last_phase_transition_time: volume.metadata.creation_timestamp.clone(),
            ..Default::default()
        });
    }

    fn prepare_update(new: &mut PersistentVolume, old: &PersistentVolume) {
        new.status.clone_from(&old.status);
    }

    fn prepare_status_update(new: &mut PersistentVolume, old: &PersistentVolume) {
        new.spec.clone_from(&old.spec);
    }

    fn validate(volume: &PersistentVolume, errors: &mut Errors) {
        let Some(spec) = &volume.spec else { return };
        let path = Path::new("spec");
        let modes = list(&spec.access_modes);
        if modes.is_empty() {
            errors.required(&path.child("accessModes"), "");
        }
        let allowed: Vec<_> = ACCESS_MODES.iter().map(|(mode, _)| *mode).collect();
        modes.iter().for_each(|mode| choice(mode, &allowed, &path.child("accessModes"), errors));
        let at = path.child("capacity");
        match spec.capacity.as_ref().filter(|capacity| !capacity.is_empty()) {
            None => errors.required(&at, ""),
            Some(capacity) => {
                if !capacity.contains_key("storage") || capacity.len() > 1 {
                    let said = json(capacity).to_string();
                    errors.not_supported(&at, &said, &["storage"]);
                }
                for (name, amount) in capacity {
                    let amount = resources::quantity(amount, &at.key(name), errors);
                    if let Some(amount) = amount.filter(|amount| amount.is_zero()) {
                        errors.invalid(&at.key(name), amount.to_string(), "must be greater than zero");
                    }
                }
            }
        }
        let policy = text(&spec.persistent_volume_reclaim_policy);
        choice(policy, &["Delete", "Recycle", "Retain"], &path.child("persistentVolumeReclaimPolicy"), errors);
        if let Some(required) = spec.node_affinity.as_ref().map(|affinity| &affinity.required) {
            let path = path.child("nodeAffinity").child("required");
            match required {
                Some(selector) => node_selector(selector, &path, errors),
                None => errors.required(&path, "must specify required node constraints"),
            }
        }
        let sources = source(spec);
        if sources.is_empty() {
            errors.required(&path, "must specify a volume type");
        }
        for (field, _) in sources.iter().skip(1) {
            errors.forbidden(&path.child(field), "may not specify more than 1 volume type");
        }
        if let Some(source) = &spec.host_path {
            host_path(source, &path.child("hostPath"), errors);
            if source.path.trim_end_matches('/').is_empty() && policy == "Recycle" {
                let detail = "may not be 'recycle' for a hostPath mount of '/'";
                errors.forbidden(&path.child("persistentVolumeReclaimPolicy"), detail);
            }
        }
        if let Some(source) = &spec.local {
            required(&source.path, &path.child("local").child("path"), errors);
            if spec.node_affinity.is_none() {
                errors.required(&path.child("nodeAffinity"), "Local volume requires node affinity");
            }
        }
        if let Some(class) = spec.storage_class_name.as_ref().filter(|class| !class.is_empty()) {
            form(class, name::dns1123_subdomain, &path.child("storageClassName"), errors);
        }
        if let Some(mode) = &spec.volume_mode {
            choice(mode, &["Block", "Filesystem"], &path.child("volumeMode"), errors);
        }
    }

    fn validate_update(new: &PersistentVolume, old: &PersistentVolume, errors: &mut Errors) {
        let (Some(new), Some(old)) = (&new.spec, &old.spec) else { return };
        let path = Path::new("spec");
        if source(new) != source(old) {
            let detail = "spec.persistentvolumesource is immutable after creation";
            errors.forbidden(&path.child("persistentvolumesource"), detail);
        }
        if new.volume_mode != old.volume_mode {
            errors.invalid(&path.child("volumeMode"), json(&new.volume_mode), IMMUTABLE);
        }
        if old.node_affinity.is_some() && new.node_affinity != old.node_affinity {
            errors.invalid(&path.child("nodeAffinity"), json(&new.node_affinity), IMMUTABLE);
        }
    }

    const COLUMNS: &'static [Column] = &[
        NAME,
        column("Capacity", "string"),
        column("Access Modes", "string"),
        column("Reclaim Policy", "string"),
        column("Status", "string"),
        column("Claim", "string"),
        column("StorageClass", "string"),
        column("VolumeAttributesClass", "string"),
        column("Reason", "string"),
        AGE,
        wide("VolumeMode", "string"),
    ];

    fn cells(volume: &PersistentVolume, now: Timestamp) -> Vec<Value> {
        let (no_spec, no_status) = Default::default();
        let spec = volume.spec.as_ref().unwrap_or(&no_spec);
        let status = volume.status.as_ref().unwrap_or(&no_status);
        let capacity = spec.capacity.as_ref().and_then(|capacity| capacity.get("storage"));
        let claim = spec.claim_ref.as_ref().map(|claim| format!("{}/{}", text(&claim.namespace), text(&claim.name)));
        let deleted = volume.metadata.deletion_timestamp.is_some();
        cells![
            cells::name(&volume.metadata),
            capacity.map_or("", |capacity| capacity.0.as_str()),
            short_modes(list(&spec.access_modes)),
            text(&spec.persistent_volume_reclaim_policy),
            if deleted { "Terminating" } else { text(&status.phase) },
            claim.unwrap_or_default(),
            text(&spec.storage_class_name),
            text_or(&spec.volume_attributes_class_name, UNSET),
            text(&status.reason),
            age(&volume.metadata, now),
            text_or(&spec.volume_mode, UNSET),
        ]
    }

    fn fields(volume: &PersistentVolume) -> Vec<(&'static str, String)> {
        vec![("name", cells::name(&volume.metadata).to_owned())]
    }
}
