//! PersistentVolumeClaim. Source: `pkg/apis/core/v1/defaults.go`, `pkg/apis/core/validation/validation.go`,
//! `pkg/registry/core/persistentvolumeclaim/strategy.go`.

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{
        PersistentVolumeClaim, PersistentVolumeClaimSpec, PersistentVolumeClaimStatus, TypedLocalObjectReference,
        TypedObjectReference,
    },
    apimachinery::pkg::api::resource::Quantity as Amount,
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
    validation::{IMMUTABLE, choice, difference, form, immutable, json, required},
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
    let legacy = kubelab_api::meta::annotation(&claim.metadata, BETA_CLASS);
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
    } else if let (None, Some(source)) = (&spec.data_source, &spec.data_source_ref)
        && text(&source.namespace).is_empty()
    {
        spec.data_source = Some(TypedLocalObjectReference {
            api_group: source.api_group.clone(),
            kind: source.kind.clone(),
            name: source.name.clone(),
        });
    }
    let status = claim.status.get_or_insert_default();
    defaults::text(&mut status.phase, "Pending");
}

/// What is wrong with a claim's spec.
pub fn validate_spec(spec: &PersistentVolumeClaimSpec, path: &Path, errors: &mut Errors) {
    let modes = list(&spec.access_modes);
    if modes.is_empty() {
        errors.required(&path.child("accessModes"), "at least 1 access mode is required");
    }
    if let Some(selector) = &spec.selector {
        label::validate(selector, &path.child("selector"), errors);
    }
    let mut allowed: Vec<_> = ACCESS_MODES.iter().map(|(mode, _)| *mode).collect();
    allowed.sort_unstable();
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
            if let Ok(amount) = amount.0.parse::<Quantity>()
                && amount.signum() <= 0
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
    if let Some(source) = &spec.data_source {
        let source = (source.name.as_str(), source.kind.as_str(), text(&source.api_group));
        data_source(source, &path.child("dataSource"), errors);
    }
    if let Some(source) = &spec.data_source_ref {
        let path = path.child("dataSourceRef");
        data_source((&source.name, &source.kind, text(&source.api_group)), &path, errors);
        if let Some(namespace) = source.namespace.as_ref().filter(|namespace| !namespace.is_empty()) {
            form(namespace, name::dns1123_label, &path.child("namespace"), errors);
        }
    }
    if let (Some(source), Some(reference)) = (&spec.data_source, &spec.data_source_ref) {
        // Upstream shows the path as the value.
        let shown = path.child("dataSource").to_string();
        let same =
            (&source.api_group, &source.kind, &source.name) == (&reference.api_group, &reference.kind, &reference.name);
        if !text(&reference.namespace).is_empty() {
            errors.invalid(path, shown, "may not be specified when dataSourceRef.namespace is specified");
        } else if !same {
            errors.invalid(path, shown, "must match dataSourceRef");
        }
    }
    if let Some(class) = spec.volume_attributes_class_name.as_ref().filter(|class| !class.is_empty()) {
        form(class, name::dns1123_subdomain, &path.child("volumeAttributesClassName"), errors);
    }
}

fn data_source((of, kind, group): (&str, &str, &str), path: &Path, errors: &mut Errors) {
    required(of, &path.child("name"), errors);
    required(kind, &path.child("kind"), errors);
    if group.is_empty() && kind != "PersistentVolumeClaim" {
        errors.invalid(path, kind, "must be 'PersistentVolumeClaim' when referencing the default apiGroup");
    }
    if !group.is_empty() {
        form(group, name::dns1123_subdomain, &path.child("apiGroup"), errors);
    }
}

/// The class that a claim asked for before there was a field for it.
const BETA_CLASS: &str = "volume.beta.kubernetes.io/storage-class";

/// Source: `ValidatePersistentVolumeClaimUpdate`.
fn validate_change(new: &PersistentVolumeClaim, old: &PersistentVolumeClaim, errors: &mut Errors) {
    let (Some(spec), Some(before)) = (&new.spec, &old.spec) else { return };
    let path = Path::new("spec");
    let bound = new.status.as_ref().is_some_and(|status| text(&status.phase) == "Bound");
    let mut rest = spec.clone();
    let mut fixed = before.clone();
    // The binder names the volume, once.
    if text(&before.volume_name).is_empty() {
        fixed.volume_name.clone_from(&rest.volume_name);
    }
    let legacy =
        |claim: &PersistentVolumeClaim| kubelab_api::meta::annotation(&claim.metadata, BETA_CLASS).map(str::to_owned);
    let (legacy_now, legacy_before) = (legacy(new), legacy(old));
    let upgraded = before.storage_class_name.is_none()
        && legacy_before.is_some()
        && spec.storage_class_name == legacy_before
        && (legacy_now.is_none() || legacy_now == legacy_before);
    if upgraded {
        rest.storage_class_name = None;
    } else {
        if legacy_now != legacy_before {
            let path = Path::new("metadata").child("annotations").child(BETA_CLASS);
            errors.invalid(&path, legacy_now.unwrap_or_default(), IMMUTABLE);
        }
        let given = before.storage_class_name.is_none() && spec.storage_class_name.is_some();
        if given && legacy_before.is_none_or(|legacy| Some(legacy) == spec.storage_class_name) {
            rest.storage_class_name = None;
        }
    }
    let storage = |spec: &PersistentVolumeClaimSpec| {
        spec.resources.as_ref().and_then(|wanted| wanted.requests.as_ref()?.get("storage").cloned())
    };
    if bound {
        let requests = rest.resources.as_mut().and_then(|wanted| wanted.requests.as_mut());
        if let (Some(requests), Some(amount)) = (requests, storage(before)) {
            requests.insert("storage".into(), amount);
        }
        if rest.volume_attributes_class_name.is_some() {
            rest.volume_attributes_class_name.clone_from(&before.volume_attributes_class_name);
        }
    }
    if rest != fixed {
        let difference = difference("core.PersistentVolumeClaimSpec", &json(&fixed), &json(&rest));
        let detail = "spec is immutable after creation except resources.requests and volumeAttributesClassName for \
                      bound claims";
        errors.forbidden(&path, &format!("{detail}\n{difference}"));
    }
    let size =
        |amount: Option<Amount>| amount.and_then(|amount| amount.0.parse::<Quantity>().ok()).unwrap_or(Quantity::ZERO);
    let capacity = old.status.as_ref().and_then(|status| status.capacity.as_ref()?.get("storage").cloned());
    let wanted = size(storage(spec));
    if wanted < size(storage(before)) && wanted <= size(capacity) {
        let path = path.child("resources").child("requests").child("storage");
        errors.forbidden(&path, "field can not be less than status.capacity");
    }
    immutable(&spec.volume_mode, &before.volume_mode, &Path::new("volumeMode"), errors);
    let path = path.child("volumeAttributesClassName");
    match (&before.volume_attributes_class_name, &spec.volume_attributes_class_name) {
        (Some(_), None) => errors.forbidden(&path, "update from non-nil value to nil is forbidden"),
        (Some(before), Some(now)) if now.is_empty() && !before.is_empty() => {
            errors.forbidden(&path, "update from non-nil value to an empty string is forbidden");
        }
        _ => {}
    }
}

/// Warnings about a claim's spec. Source: `GetWarningsForPersistentVolumeClaimSpec`.
pub fn spec_warnings(spec: &PersistentVolumeClaimSpec, path: &Path, warnings: &mut Vec<String>) {
    let wanted = spec.resources.as_ref().and_then(|wanted| wanted.requests.as_ref()?.get("storage"));
    let Some(Ok(amount)) = wanted.map(|amount| amount.0.parse::<Quantity>()) else { return };
    if !amount.is_integer() {
        let path = path.child("resources").child("requests").key("storage");
        let amount = amount.to_string();
        warnings.push(format!("{path}: fractional byte value {amount:?} is invalid, must be an integer"));
    }
}

/// Of Kubernetes' own resources a claim has only storage. Source: `validatePersistentVolumeClaimResourceKey`.
fn resource_key(name: &str, path: &Path, errors: &mut Errors) {
    let wrong = name::label_key(name);
    wrong.iter().for_each(|wrong| errors.invalid(path, name, wrong));
    if wrong.is_empty() && resources::is_native(name) && name != "storage" {
        errors.not_supported(path, name, &["storage"]);
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
        validate_change(new, old, errors);
    }

    fn validate_status_update(new: &PersistentVolumeClaim, _old: &PersistentVolumeClaim, errors: &mut Errors) {
        let Some(status) = &new.status else { return };
        let path = Path::new("status");
        for (name, amount) in status.capacity.iter().flatten() {
            let amount = amount.0.parse::<Quantity>().map_or(0, Quantity::value);
            if amount < 0 {
                errors.invalid(&path.child("capacity").key(name), amount, "must be a valid resource quantity");
            }
        }
        let states = [
            "ControllerResizeInProgress",
            "ControllerResizeInfeasible",
            "NodeResizeInProgress",
            "NodeResizeInfeasible",
            "NodeResizePending",
        ];
        let at = path.child("allocatedResourceStatus");
        for (name, state) in status.allocated_resource_statuses.iter().flatten() {
            resource_key(name, &at, errors);
            if !states.contains(&state.as_str()) {
                errors.not_supported(&at, name, &states);
            }
        }
        for (name, amount) in status.allocated_resources.iter().flatten() {
            let at = path.child("allocatedResources");
            resource_key(name, &at, errors);
            resources::quantity(amount, &at.key(name), errors);
        }
    }

    fn warnings(claim: &PersistentVolumeClaim) -> Vec<String> {
        let mut warnings = Vec::new();
        claim.spec.iter().for_each(|spec| spec_warnings(spec, &Path::new("spec"), &mut warnings));
        warnings
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
