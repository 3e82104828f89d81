//! PersistentVolumeClaim. Source: `pkg/apis/core/v1/defaults.go`, `pkg/apis/core/validation/validation.go`,
//! `pkg/registry/core/persistentvolumeclaim/strategy.go`.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, PersistentVolumeClaimSpec, PersistentVolumeClaimStatus, TypedObjectReference,
};
use kubelab_api::{
    Quantity,
    field::{Errors, Path},
    name,
    selector::label,
};
use serde_json::Value;

use crate::registry::{
    cells::{self, AGE, NAME, UNSET, cells, list, text, text_or},
    core::resources,
    defaults,
    kind::{Column, Kind, age, column, wide},
    validation::{choice, form},
};

/// PersistentVolumeClaim.
pub struct PersistentVolumeClaimKind;

/// How volumes may be mounted, and how tables call it.
pub const ACCESS_MODES: &[(&str, &str)] =
    &[("ReadWriteOnce", "RWO"), ("ReadOnlyMany", "ROX"), ("ReadWriteMany", "RWX"), ("ReadWriteOncePod", "RWOP")];

/// Access modes in their short form.
pub fn short_modes(modes: &[String]) -> String {
    let short = ACCESS_MODES.iter().filter(|(mode, _)| modes.iter().any(|given| given == mode));
    short.map(|(_, short)| *short).collect::<Vec<_>>().join(",")
}

/// The legacy annotation, or the class's own field.
pub fn storage_class(claim: &PersistentVolumeClaim) -> &str {
    let legacy = kubelab_api::meta::annotation(&claim.metadata, "volume.beta.kubernetes.io/storage-class");
    legacy.unwrap_or_else(|| claim.spec.as_ref().map_or("", |spec| text(&spec.storage_class_name)))
}

/// Defaults of a claim's spec, in a claim or in a StatefulSet's template.
pub fn default_claim(claim: &mut PersistentVolumeClaim) {
    let spec = claim.spec.get_or_insert_default();
    defaults::missing(&mut spec.volume_mode, "Filesystem".into());
    if let Some(wanted) = &mut spec.resources {
        [&mut wanted.limits, &mut wanted.requests].into_iter().flatten().for_each(resources::canonical);
    }
    // The older field and the newer one say the same of local sources.
    if let (Some(source), None) = (&spec.data_source, &spec.data_source_ref) {
        spec.data_source_ref = Some(TypedObjectReference {
            api_group: source.api_group.clone(),
            kind: source.kind.clone(),
            name: source.name.clone(),
            namespace: None,
        });
    }
    let status = claim.status.get_or_insert_default();
    defaults::text(&mut status.phase, "Pending");
}

/// What is wrong with a claim's spec.
pub fn validate_spec(spec: &PersistentVolumeClaimSpec, path: &Path, errors: &mut Errors) {
    if let Some(selector) = &spec.selector {
        label::validate(selector, &path.child("selector"), errors);
    }
    let modes = list(&spec.access_modes);
    if modes.is_empty() {
        errors.required(&path.child("accessModes"), "at least 1 access mode is required");
    }
    let allowed: Vec<_> = ACCESS_MODES.iter().map(|(mode, _)| *mode).collect();
    for mode in modes {
        choice(mode, &allowed, &path.child("accessModes"), errors);
    }
    if modes.len() > 1 && modes.iter().any(|mode| mode == "ReadWriteOncePod") {
        let detail = "may not use ReadWriteOncePod with other access modes";
        errors.forbidden(&path.child("accessModes"), detail);
    }
    let resources_path = path.child("resources");
    match spec.resources.as_ref().and_then(|wanted| wanted.requests.as_ref()?.get("storage")) {
        None => errors.required(&resources_path.key("storage"), ""),
        Some(amount) => {
            let path = resources_path.key("storage");
            if let Some(amount) = resources::quantity(amount, &path, errors)
                && amount.is_zero()
            {
                errors.invalid(&path, amount.to_string(), "must be greater than zero");
            }
        }
    }
    if let Some(class) = spec.storage_class_name.as_ref().filter(|class| !class.is_empty()) {
        form(class, name::dns1123_subdomain, &path.child("storageClassName"), errors);
    }
    if let Some(mode) = &spec.volume_mode {
        choice(mode, &["Block", "Filesystem"], &path.child("volumeMode"), errors);
    }
}

impl Kind for PersistentVolumeClaimKind {
    type Object = PersistentVolumeClaim;

    const RETURNS_DELETED: bool = true;

    fn default(claim: &mut PersistentVolumeClaim) {
        default_claim(claim);
    }

    fn prepare_create(claim: &mut PersistentVolumeClaim) {
        claim.status = Some(PersistentVolumeClaimStatus { phase: Some("Pending".into()), ..Default::default() });
    }

    fn prepare_update(new: &mut PersistentVolumeClaim, old: &PersistentVolumeClaim) {
        new.status.clone_from(&old.status);
    }

    fn prepare_status_update(new: &mut PersistentVolumeClaim, old: &PersistentVolumeClaim) {
        new.spec.clone_from(&old.spec);
    }

    fn validate(claim: &PersistentVolumeClaim, errors: &mut Errors) {
        if let Some(spec) = &claim.spec {
            validate_spec(spec, &Path::new("spec"), errors);
        }
    }

    fn validate_update(new: &PersistentVolumeClaim, old: &PersistentVolumeClaim, errors: &mut Errors) {
        let (Some(new), Some(before)) = (&new.spec, &old.spec) else { return };
        let path = Path::new("spec");
        let bound = old.status.as_ref().is_some_and(|status| text(&status.phase) == "Bound");
        let wanted = |spec: &PersistentVolumeClaimSpec| -> Option<Quantity> {
            spec.resources.as_ref()?.requests.as_ref()?.get("storage")?.0.parse().ok()
        };
        // The binder names the volume; a bound claim may grow; a class may be given later.
        let mut rest = new.clone();
        if text(&before.volume_name).is_empty() {
            rest.volume_name.clone_from(&before.volume_name);
        }
        if bound {
            rest.resources.clone_from(&before.resources);
        }
        if before.storage_class_name.is_none() {
            rest.storage_class_name = None;
        }
        rest.volume_attributes_class_name.clone_from(&before.volume_attributes_class_name);
        if rest != *before {
            let detail = "spec is immutable after creation except resources.requests and volumeAttributesClassName \
                          for bound claims";
            errors.forbidden(&path, detail);
        } else if bound && wanted(new) < wanted(before) {
            let path = path.child("resources").child("requests").child("storage");
            errors.forbidden(&path, "field can not be less than status.capacity");
        }
    }

    const COLUMNS: &'static [Column] = &[
        NAME,
        column("Status", "string"),
        column("Volume", "string"),
        column("Capacity", "string"),
        column("Access Modes", "string"),
        column("StorageClass", "string"),
        column("VolumeAttributesClass", "string"),
        AGE,
        wide("VolumeMode", "string"),
    ];

    fn cells(claim: &PersistentVolumeClaim, now: Timestamp) -> Vec<Value> {
        let (no_spec, no_status) = Default::default();
        let spec = claim.spec.as_ref().unwrap_or(&no_spec);
        let status = claim.status.as_ref().unwrap_or(&no_status);
        let deleted = claim.metadata.deletion_timestamp.is_some();
        let bound = !text(&spec.volume_name).is_empty();
        let capacity = status.capacity.as_ref().and_then(|capacity| capacity.get("storage"));
        cells![
            cells::name(&claim.metadata),
            if deleted { "Terminating" } else { text(&status.phase) },
            text(&spec.volume_name),
            capacity.filter(|_| bound).map_or("", |capacity| capacity.0.as_str()),
            if bound { short_modes(list(&status.access_modes)) } else { String::new() },
            storage_class(claim),
            text_or(&spec.volume_attributes_class_name, UNSET),
            age(&claim.metadata, now),
            text_or(&spec.volume_mode, UNSET),
        ]
    }

    fn fields(claim: &PersistentVolumeClaim) -> Vec<(&'static str, String)> {
        vec![("name", cells::name(&claim.metadata).to_owned())]
    }

    fn note(new: &PersistentVolumeClaim, old: Option<&PersistentVolumeClaim>) -> String {
        let phase = |claim: &PersistentVolumeClaim| {
            claim.status.as_ref().map(|status| text(&status.phase).to_owned()).unwrap_or_default()
        };
        match old.map(phase) {
            Some(before) if before != phase(new) => format!("{before} → {}", phase(new)),
            _ => String::new(),
        }
    }
}
