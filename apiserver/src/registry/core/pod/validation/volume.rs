//! Volumes of a pod.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    DownwardAPIVolumeFile, HostPathVolumeSource, KeyToPath, ProjectedVolumeSource, Volume,
};
use kubelab_api::{
    field::{Errors, Path},
    name,
};

use serde_json::Value;

use super::{container, env};
use crate::registry::{
    cells::{list, text},
    core::resources,
    validation::{choice, form, json, required},
};

/// The sound volumes of a pod by name.
pub(super) type Volumes = BTreeMap<String, Volume>;

const DOWNWARD_FIELDS: &[&str] =
    &["metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"];

pub(super) fn volumes(volumes: &[Volume], path: &Path, errors: &mut Errors) -> Volumes {
    let mut sound = Volumes::new();
    for (i, volume) in volumes.iter().enumerate() {
        let path = path.index(i);
        let before = errors.0.len();
        source(volume, &path, errors);
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
    }
    sound
}

fn source(volume: &Volume, path: &Path, errors: &mut Errors) {
    // Sources as they are named in JSON: the first is checked, the others may not be there.
    let Value::Object(fields) = json(volume) else { return };
    let mut given = fields.keys().filter(|field| *field != "name");
    let Some(first) = given.next() else {
        return errors.required(path, "must specify a volume type");
    };
    for field in given {
        errors.forbidden(&path.child(field), "may not specify more than 1 volume type");
    }
    let path = path.child(first);
    match first.as_str() {
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
        "nfs" => {
            let Some(source) = &volume.nfs else { return };
            required(&source.server, &path.child("server"), errors);
            required(&source.path, &path.child("path"), errors);
            if !source.path.starts_with('/') {
                errors.invalid(&path.child("path"), source.path.as_str(), "must be an absolute path");
            }
        }
        "csi" => {
            let Some(source) = &volume.csi else { return };
            required(&source.driver, &path.child("driver"), errors);
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
        }
        "image" => {
            let Some(source) = &volume.image else { return };
            let policies = ["Always", "IfNotPresent", "Never"];
            choice(text(&source.pull_policy), &policies, &path.child("pullPolicy"), errors);
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
    for (i, source) in list(&source.sources).iter().enumerate() {
        let path = path.child("sources").index(i);
        if let Some(secret) = &source.secret {
            required(&secret.name, &path.child("secret").child("name"), errors);
            items(list(&secret.items), &path.child("secret").child("items"), errors);
        }
        if let Some(map) = &source.config_map {
            required(&map.name, &path.child("configMap").child("name"), errors);
            items(list(&map.items), &path.child("configMap").child("items"), errors);
        }
        if let Some(downward) = &source.downward_api {
            list(&downward.items).iter().for_each(|file| downward_file(file, &path.child("downwardAPI"), errors));
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
            required(&token.path, &path.child("path"), errors);
        }
    }
}
