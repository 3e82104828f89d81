//! PersistentVolume. Source: `pkg/apis/core/v1/defaults.go`, `pkg/apis/core/validation/validation.go`,
//! `pkg/registry/core/persistentvolume/strategy.go`.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeSpec, PersistentVolumeStatus};
use kubelab_api::{
    Quantity,
    field::{Errors, Path},
    name,
};
use serde_json::{Map, Value};

use crate::registry::{
    cells::{self, AGE, NAME, UNSET, cells, list, text, text_or},
    core::{
        persistent_volume_claim::{ACCESS_MODES, short_modes},
        pod::{
            validation::{host_path, node_selector, source},
            warnings::{OLD_SOURCES, node_selector_term},
        },
        resources::{self, Amounts},
    },
    defaults::{self, missing},
    kind::{Column, Kind, age, column, wide},
    validation::{IMMUTABLE, choice, difference, form, immutable, json, required},
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

fn source_of(spec: &PersistentVolumeSpec) -> Map<String, Value> {
    let Value::Object(mut fields) = json(spec) else { return Map::new() };
    fields.retain(|field, _| !NO_SOURCES.contains(&field.as_str()));
    fields
}

/// What is wrong with a volume's spec; `inline` where it stands in another object. Source:
/// `ValidatePersistentVolumeSpec`.
pub fn validate_spec(spec: &PersistentVolumeSpec, name: &str, inline: bool, path: &Path, errors: &mut Errors) {
    const INLINE: &str = "may not be specified in the context of inline volumes";
    if inline {
        if spec.claim_ref.is_some() {
            errors.forbidden(&path.child("claimRef"), INLINE);
        }
        if spec.capacity.as_ref().is_some_and(|capacity| !capacity.is_empty()) {
            errors.forbidden(&path.child("capacity"), INLINE);
        }
        if spec.csi.is_none() {
            errors.required(&path.child("csi"), "has to be specified in the context of inline volumes");
        }
    }
    let modes = list(&spec.access_modes);
    if modes.is_empty() {
        errors.required(&path.child("accessModes"), "");
    }
    let mut allowed: Vec<_> = ACCESS_MODES.iter().map(|(mode, _)| *mode).collect();
    allowed.sort_unstable();
    modes.iter().for_each(|mode| choice(mode, &allowed, &path.child("accessModes"), errors));
    let others = modes.iter().any(|mode| mode != "ReadWriteOncePod" && allowed.contains(&mode.as_str()));
    if others && modes.iter().any(|mode| mode == "ReadWriteOncePod") {
        errors.forbidden(&path.child("accessModes"), "may not use ReadWriteOncePod with other access modes");
    }
    if !inline {
        capacity(spec, &path.child("capacity"), errors);
    }
    let policy = text(&spec.persistent_volume_reclaim_policy);
    let at = path.child("persistentVolumeReclaimPolicy");
    match policy {
        "Retain" | "" => {}
        _ if inline => errors.forbidden(&at, "may only be Retain in the context of inline volumes"),
        _ => choice(policy, &["Delete", "Recycle", "Retain"], &at, errors),
    }
    if let Some(affinity) = &spec.node_affinity {
        let path = path.child("nodeAffinity");
        match &affinity.required {
            _ if inline => errors.forbidden(&path, INLINE),
            Some(selector) => node_selector(selector, &path.child("required"), errors),
            None => errors.required(&path.child("required"), "must specify required node constraints"),
        }
    }
    sources(spec, name, path, errors);
    if spec.host_path.as_ref().is_some_and(|source| source.path.trim_end_matches('/').is_empty()) && policy == "Recycle"
    {
        errors.forbidden(&at, "may not be 'recycle' for a hostPath mount of '/'");
    }
    if let Some(class) = spec.storage_class_name.as_ref().filter(|class| !class.is_empty()) {
        let path = path.child("storageClassName");
        match inline {
            true => errors.forbidden(&path, INLINE),
            false => form(class, name::dns1123_subdomain, &path, errors),
        }
    }
    if let Some(mode) = &spec.volume_mode {
        let path = path.child("volumeMode");
        match inline {
            true if mode != "Filesystem" => {
                let detail = "may not specify volumeMode other than Filesystem in the context of inline volumes";
                errors.forbidden(&path, detail);
            }
            true => {}
            false => choice(mode, &["Block", "Filesystem"], &path, errors),
        }
    }
    if let Some(class) = &spec.volume_attributes_class_name {
        let at = path.child("volumeAttributesClassName");
        match class.as_str() {
            "" => errors.required(&at, "an empty string is disallowed"),
            class => form(class, name::dns1123_subdomain, &at, errors),
        }
        if spec.csi.is_none() {
            errors.required(&path.child("csi"), "has to be specified when using volumeAttributesClassName");
        }
    }
}

fn capacity(spec: &PersistentVolumeSpec, path: &Path, errors: &mut Errors) {
    let none = Amounts::new();
    let said = spec.capacity.as_ref().unwrap_or(&none);
    if said.is_empty() {
        errors.required(path, "");
    }
    if !said.contains_key("storage") || said.len() > 1 {
        errors.not_among(path, json(&spec.capacity), &["storage"]);
    }
    for (name, amount) in said {
        let Ok(amount) = amount.0.parse::<Quantity>() else { continue };
        if amount.value() < 0 {
            errors.invalid(&path.key(name), amount.value(), "must be a valid resource quantity");
        }
        if amount.signum() <= 0 {
            errors.invalid(&path.key(name), amount.to_string(), "must be greater than zero");
        }
    }
}

fn sources(spec: &PersistentVolumeSpec, name: &str, path: &Path, errors: &mut Errors) {
    let fields = source_of(spec);
    let given = source::given(&fields);
    let Some(&first) = given.first() else { return errors.required(path, "must specify a volume type") };
    source::validate(first, &fields, path, errors);
    source::too_many(&given, path, errors);
    let said = &fields[first];
    let path_of_source = path.child(first);
    match first {
        "hostPath" => spec.host_path.iter().for_each(|source| host_path(source, &path_of_source, errors)),
        "local" => {
            let at = path_of_source.child("path");
            match spec.local.as_ref().map_or("", |source| source.path.as_str()) {
                "" => errors.required(&at, ""),
                path if path.split('/').any(|part| part == "..") => errors.invalid(&at, path, "must not contain '..'"),
                _ => {}
            }
            if spec.node_affinity.is_none() {
                errors.required(&path.child("nodeAffinity"), "Local volume requires node affinity");
            }
        }
        "csi" => {
            let secrets = [
                "controllerPublishSecretRef",
                "controllerExpandSecretRef",
                "nodePublishSecretRef",
                "nodeExpandSecretRef",
            ];
            for field in secrets.into_iter().filter(|field| said.get(*field).is_some()) {
                source::secret_reference(&said[field], &path_of_source.child(field), errors);
            }
        }
        "cinder" | "storageos" | "iscsi" => {
            let secret = said.get("secretRef");
            let fields = if first == "iscsi" { &["name"][..] } else { &["name", "namespace"] };
            for field in fields.iter().filter(|_| secret.is_some()) {
                required(
                    said["secretRef"][*field].as_str().unwrap_or_default(),
                    &path_of_source.child("secretRef").child(field),
                    errors,
                );
            }
            let portal = said["targetPortal"].as_str().unwrap_or_default();
            if said.get("initiatorName").is_some() && name.len() + 1 + portal.len() > 64 {
                let detail = "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if \
                              iscsi.initiatorName is specified.";
                errors.invalid(&path_of_source.child("targetportal"), portal, detail);
            }
        }
        "azureFile" if said["secretNamespace"] == "" => errors.required(&path_of_source.child("secretNamespace"), ""),
        _ => {}
    }
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
        if let Some(spec) = &volume.spec {
            validate_spec(spec, cells::name(&volume.metadata), false, &Path::new("spec"), errors);
        }
    }

    fn validate_update(new: &PersistentVolume, old: &PersistentVolume, errors: &mut Errors) {
        let (Some(new), Some(old)) = (&new.spec, &old.spec) else { return };
        let mut now = new.clone();
        // A secret for growing the volume may come later.
        if let (Some(now), Some(old)) = (&mut now.csi, &old.csi)
            && old.controller_expand_secret_ref.is_none()
        {
            now.controller_expand_secret_ref = None;
        }
        let (now, before) = (Value::Object(source_of(&now)), Value::Object(source_of(old)));
        if now != before {
            let difference = difference("core.PersistentVolumeSource", &before, &now);
            let detail = format!("spec.persistentvolumesource is immutable after creation\n{difference}");
            errors.forbidden(&Path::new("spec").child("persistentvolumesource"), &detail);
        }
        immutable(&new.volume_mode, &old.volume_mode, &Path::new("volumeMode"), errors);
        if old.node_affinity.is_some() && new.node_affinity != old.node_affinity {
            let detail = format!("{IMMUTABLE}, except for updating from beta label to GA");
            errors.invalid(&Path::new("nodeAffinity"), json(&new.node_affinity), &detail);
        }
        if old.volume_attributes_class_name.is_some() && new.volume_attributes_class_name.is_none() {
            let path = Path::new("spec").child("volumeAttributesClassName");
            errors.forbidden(&path, "update from non-nil value to nil is forbidden");
        }
    }

    // Source: `pkg/api/persistentvolume/util.go`.
    fn warnings(volume: &PersistentVolume) -> Vec<String> {
        let mut warnings = Vec::new();
        let Some(spec) = &volume.spec else { return warnings };
        let path = Path::new("spec");
        let key = "volume.beta.kubernetes.io/storage-class";
        if kubelab_api::meta::annotation(&volume.metadata, key).is_some() {
            warnings.push(format!(
                "metadata.annotations[{key}]: deprecated since v1.8; use \"storageClassName\" attribute instead"
            ));
        }
        if text(&spec.persistent_volume_reclaim_policy) == "Recycle" {
            warnings.push(
                "spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the recommended \
                 approach is to use dynamic provisioning."
                    .into(),
            );
        }
        let required = spec.node_affinity.as_ref().and_then(|affinity| affinity.required.as_ref());
        let at = path.child("nodeAffinity").child("required").child("nodeSelectorTerms");
        for (i, term) in required.into_iter().flat_map(|required| &required.node_selector_terms).enumerate() {
            node_selector_term(term, &at.index(i), &mut warnings);
        }
        let said = source_of(spec);
        for (field, words) in OLD_SOURCES.iter().filter(|(field, _)| said.contains_key(*field)) {
            warnings.push(format!("{}: {words}", path.child(field)));
        }
        warnings
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
