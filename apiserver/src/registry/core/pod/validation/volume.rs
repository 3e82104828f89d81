//! Volumes of a pod.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{
    ClusterTrustBundleProjection, DownwardAPIVolumeFile, HostPathVolumeSource, KeyToPath, ProjectedVolumeSource, Volume,
};
use kubelab_api::{
    field::{Errors, Path},
    name,
};

use serde_json::Value;

use super::{container, env, source};
use crate::registry::{
    cells::{list, text},
    core::resources,
    validation::{choice, form, json, required, required_choice},
};

/// The sound volumes of a pod by name.
pub(super) type Volumes = BTreeMap<String, Volume>;

const DOWNWARD_FIELDS: &[&str] =
    &["metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"];

/// `pod` is the pod's name, if it is known: it says how claims will be called that are made for the pod.
pub(super) fn volumes(volumes: &[Volume], pod: Option<&str>, path: &Path, errors: &mut Errors) -> Volumes {
    let mut sound = Volumes::new();
    let made: BTreeSet<String> = match pod {
        Some(pod) => {
            let ephemeral = volumes.iter().filter(|volume| volume.ephemeral.is_some());
            ephemeral.map(|volume| format!("{pod}-{}", volume.name)).collect()
        }
        None => BTreeSet::new(),
    };
    for (i, volume) in volumes.iter().enumerate() {
        let path = path.index(i);
        let before = errors.0.len();
        source(volume, pod, &path, errors);
        let name_path = path.child("name");
        match volume.name.as_str() {
            "" => errors.required(&name_path, ""),
            name => form(name, name::dns1123_label, &name_path, errors),
        }
        if sound.contains_key(&volume.name) {
            errors.duplicate(&name_path, volume.name.as_str());
        }
        if errors.0.len() == before {
            sound.insert(volume.name.clone(), volume.clone());
        }
        if let Some(claim) = volume.persistent_volume_claim.as_ref().filter(|claim| made.contains(&claim.claim_name)) {
            let path = path.child("persistentVolumeClaim").child("claimName");
            let detail = "must not reference a PVC that gets created for an ephemeral volume";
            errors.invalid(&path, claim.claim_name.as_str(), detail);
        }
    }
    sound
}

fn source(volume: &Volume, pod: Option<&str>, path: &Path, errors: &mut Errors) {
    let Value::Object(fields) = json(volume) else { return };
    let given = source::given(&fields);
    let Some(&first) = given.first() else {
        return errors.required(path, "must specify a volume type");
    };
    source::validate(first, &fields, path, errors);
    source::too_many(&given, path, errors);
    let volume_path = path;
    let path = path.child(first);
    match first {
        "emptyDir" => {
            let limit = volume.empty_dir.as_ref().and_then(|source| source.size_limit.as_ref());
            if limit.is_some_and(|limit| limit.0.starts_with('-')) {
                errors.forbidden(&path.child("sizeLimit"), "SizeLimit field must be a valid resource quantity");
            } else if let Some(limit) = limit {
                resources::quantity(limit, &path.child("sizeLimit"), errors);
            }
        }
        "hostPath" => volume.host_path.iter().for_each(|source| host_path(source, &path, errors)),
        "secret" => {
            let Some(source) = &volume.secret else { return };
            required(text(&source.secret_name), &path.child("secretName"), errors);
            mode(source.default_mode, &path.child("defaultMode"), errors);
            items(list(&source.items), &path.child("items"), errors);
        }
        "configMap" => {
            let Some(source) = &volume.config_map else { return };
            required(&source.name, &path.child("name"), errors);
            mode(source.default_mode, &path.child("defaultMode"), errors);
            items(list(&source.items), &path.child("items"), errors);
        }
        "downwardAPI" => {
            let Some(source) = &volume.downward_api else { return };
            mode(source.default_mode, &path.child("defaultMode"), errors);
            list(&source.items).iter().for_each(|file| downward_file(file, &path, errors));
        }
        "projected" => volume.projected.iter().for_each(|source| projected(source, &path, errors)),
        "persistentVolumeClaim" => {
            let Some(source) = &volume.persistent_volume_claim else { return };
            required(&source.claim_name, &path.child("claimName"), errors);
        }
        "csi" => {
            let Some(secret) = volume.csi.as_ref().and_then(|source| source.node_publish_secret_ref.as_ref()) else {
                return;
            };
            match secret.name.as_str() {
                "" => errors.required(&path.child("nodePublishSecretRef").child("name"), ""),
                secret => form(secret, name::dns1123_subdomain, &path.child("name"), errors),
            }
        }
        "ephemeral" => {
            let Some(source) = &volume.ephemeral else { return };
            match &source.volume_claim_template {
                None => errors.required(&path.child("volumeClaimTemplate"), ""),
                Some(template) => {
                    let path = path.child("volumeClaimTemplate").child("spec");
                    crate::registry::core::persistent_volume_claim::validate_spec(&template.spec, &path, errors);
                }
            }
            if let Some(pod) = pod.filter(|_| !volume.name.is_empty()) {
                let claim = format!("{pod}-{}", volume.name);
                for wrong in name::dns1123_subdomain(&claim) {
                    let detail = format!("PVC name {claim:?}: {wrong}");
                    errors.invalid(&volume_path.child("name"), volume.name.as_str(), &detail);
                }
            }
        }
        "image" => {
            let Some(source) = &volume.image else { return };
            if pod.is_some() {
                required(text(&source.reference), &path.child("reference"), errors);
            }
            let policies = ["Always", "IfNotPresent", "Never"];
            required_choice(text(&source.pull_policy), &policies, &path.child("pullPolicy"), errors);
        }
        _ => {}
    }
}

/// A path on the node.
pub fn host_path(source: &HostPathVolumeSource, path: &Path, errors: &mut Errors) {
    if source.path.is_empty() {
        return errors.required(&path.child("path"), "");
    }
    container::no_back_steps(&source.path, &path.child("path"), errors);
    let types = ["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];
    choice(text(&source.type_), &types, &path.child("type"), errors);
}

fn mode(mode: Option<i32>, path: &Path, errors: &mut Errors) {
    if let Some(mode) = mode.filter(|mode| !(0..=0o777).contains(mode)) {
        errors.invalid(path, mode, "must be a number between 0 and 0777 (octal), both inclusive");
    }
}

fn items(items: &[KeyToPath], path: &Path, errors: &mut Errors) {
    for (i, item) in items.iter().enumerate() {
        let path = path.index(i);
        required(&item.key, &path.child("key"), errors);
        required(&item.path, &path.child("path"), errors);
        file_name(&item.path, &path.child("path"), errors);
        mode(item.mode, &path.child("mode"), errors);
    }
}

/// Names that begin with `..` are the kubelet's own: it swaps a volume's content by them.
fn file_name(value: &str, path: &Path, errors: &mut Errors) {
    container::local_path(value, path, errors);
    if value.starts_with("..") && !value.starts_with("../") {
        errors.invalid(path, value, "must not start with '..'");
    }
}

fn downward_file(file: &DownwardAPIVolumeFile, path: &Path, errors: &mut Errors) {
    required(&file.path, &path.child("path"), errors);
    file_name(&file.path, &path.child("path"), errors);
    match (&file.field_ref, &file.resource_field_ref) {
        (Some(field), other) => {
            env::field_ref(field, DOWNWARD_FIELDS, &path.child("fieldRef"), errors);
            if other.is_some() {
                let detail = "fieldRef and resourceFieldRef can not be specified simultaneously";
                errors.invalid(path, "resource", detail);
            }
        }
        (None, Some(resource)) => env::resource_ref(resource, true, &path.child("resourceFieldRef"), errors),
        (None, None) => errors.required(path, "one of fieldRef and resourceFieldRef is required"),
    }
    mode(file.mode, &path.child("mode"), errors);
}

fn projected(source: &ProjectedVolumeSource, path: &Path, errors: &mut Errors) {
    mode(source.default_mode, &path.child("defaultMode"), errors);
    let whole = path;
    let mut used = BTreeSet::new();
    let mut unique = |file: &str, shown: &str, errors: &mut Errors| {
        if !file.is_empty() && !used.insert(file.to_owned()) {
            errors.invalid(whole, shown, "conflicting duplicate paths");
        }
    };
    for (i, source) in list(&source.sources).iter().enumerate() {
        let path = path.child("sources").index(i);
        let mut kinds = 0;
        if let Some(secret) = &source.secret {
            kinds += 1;
            required(&secret.name, &path.child("secret").child("name"), errors);
            items(list(&secret.items), &path.child("secret").child("items"), errors);
            list(&secret.items).iter().for_each(|item| unique(&item.path, &secret.name, errors));
        }
        if let Some(map) = &source.config_map {
            kinds += 1;
            required(&map.name, &path.child("configMap").child("name"), errors);
            items(list(&map.items), &path.child("configMap").child("items"), errors);
            list(&map.items).iter().for_each(|item| unique(&item.path, &map.name, errors));
        }
        if let Some(downward) = &source.downward_api {
            kinds += 1;
            for file in list(&downward.items) {
                downward_file(file, &path.child("downwardAPI"), errors);
                unique(&file.path, &file.path, errors);
            }
        }
        if let Some(bundle) = &source.cluster_trust_bundle {
            kinds += 1;
            trust_bundle(bundle, &path.child("clusterTrustBundle"), errors);
            unique(&bundle.path, &bundle.path, errors);
        }
        if kinds + usize::from(source.service_account_token.is_some()) > 1 {
            errors.forbidden(&path, "may not specify more than 1 volume type per source");
        }
        if let Some(token) = &source.service_account_token {
            let path = path.child("serviceAccountToken");
            let seconds = token.expiration_seconds.unwrap_or_default();
            if seconds < 10 * 60 {
                let detail = "may not specify a duration less than 10 minutes";
                errors.invalid(&path.child("expirationSeconds"), seconds, detail);
            } else if seconds > 1 << 32 {
                let detail = "may not specify a duration larger than 2^32 seconds";
                errors.invalid(&path.child("expirationSeconds"), seconds, detail);
            }
            // Upstream reports the path on the volume, not on its source.
            match token.path.as_str() {
                "" => errors.required(&whole.child("path"), ""),
                file => file_name(file, &whole.child("path"), errors),
            }
        }
    }
}

fn trust_bundle(bundle: &ClusterTrustBundleProjection, path: &Path, errors: &mut Errors) {
    match (&bundle.name, &bundle.signer_name) {
        (Some(_), Some(_)) => {
            errors.invalid(path, json(bundle), "only one of name and signerName may be used");
        }
        (None, None) => errors.required(path, "either name or signerName must be specified"),
        (Some(name), None) => {
            if name.is_empty() {
                errors.required(&path.child("name"), "must be a valid object name");
            }
            if let Some(selector) = &bundle.label_selector {
                let detail = "labelSelector must be unset if name is specified";
                errors.invalid(&path.child("labelSelector"), json(selector), detail);
            }
        }
        (None, Some(signer)) => {
            if signer.is_empty() {
                errors.required(&path.child("signerName"), "must be a valid signer name");
            }
            if let Some(selector) = &bundle.label_selector {
                kubelab_api::selector::label::validate(selector, &path.child("labelSelector"), errors);
            }
        }
    }
    required(&bundle.path, &path.child("path"), errors);
    file_name(&bundle.path, &path.child("path"), errors);
}
