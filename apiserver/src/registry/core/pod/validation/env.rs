//! Environment variables, and what of the pod and its cluster they may take their values from.

use k8s_openapi::api::core::v1::{EnvFromSource, EnvVar, ObjectFieldSelector, ResourceFieldSelector};
use kubelab_api::{
    Quantity,
    field::{Errors, Path},
    name,
};

use crate::registry::{
    cells::text,
    validation::{form, required, required_form},
};

const FIELDS: &[&str] = &[
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];

/// Fields that have a name in the downward API at all, whether or not they may be used in this place.
const KNOWN_FIELDS: &[&str] =
    &["metadata.annotations", "metadata.labels", "spec.restartPolicy", "spec.schedulerName", "status.phase"];

const RESOURCES: &[&str] = &[
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];

pub(super) fn variables(variables: &[EnvVar], path: &Path, errors: &mut Errors) {
    for (i, variable) in variables.iter().enumerate() {
        let path = path.index(i);
        required_form(&variable.name, name::env_var, &path.child("name"), errors);
        value_from(variable, &path.child("valueFrom"), errors);
    }
}

fn value_from(variable: &EnvVar, path: &Path, errors: &mut Errors) {
    let Some(source) = &variable.value_from else { return };
    let mut sources = 0;
    if let Some(field) = &source.field_ref {
        sources += 1;
        field_ref(field, FIELDS, &path.child("fieldRef"), errors);
    }
    if let Some(resource) = &source.resource_field_ref {
        sources += 1;
        resource_ref(resource, false, &path.child("resourceFieldRef"), errors);
    }
    if let Some(key) = &source.config_map_key_ref {
        sources += 1;
        let path = path.child("configMapKeyRef");
        form(&key.name, name::dns1123_subdomain, &path.child("name"), errors);
        required_form(&key.key, name::config_map_key, &path.child("key"), errors);
    }
    if let Some(key) = &source.secret_key_ref {
        sources += 1;
        let path = path.child("secretKeyRef");
        form(&key.name, name::dns1123_subdomain, &path.child("name"), errors);
        required_form(&key.key, name::config_map_key, &path.child("key"), errors);
    }
    if let Some(key) = &source.file_key_ref {
        sources += 1;
        required(&key.key, &path.child("fileKeyRef").child("key"), errors);
        required(&key.path, &path.child("fileKeyRef").child("path"), errors);
        required(&key.volume_name, &path.child("fileKeyRef").child("volumeName"), errors);
    }
    if sources == 0 {
        let detail = "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`";
        errors.invalid(path, "", detail);
    } else if !text(&variable.value).is_empty() {
        errors.invalid(path, "", "may not be specified when `value` is not empty");
    } else if sources > 1 {
        errors.invalid(path, "", "may not have more than one field specified at a time");
    }
}

pub(super) fn sources(sources: &[EnvFromSource], list_path: &Path, errors: &mut Errors) {
    for (i, source) in sources.iter().enumerate() {
        let path = list_path.index(i);
        if !text(&source.prefix).is_empty() {
            form(text(&source.prefix), name::env_var, &path.child("prefix"), errors);
        }
        let mut given = 0;
        if let Some(map) = &source.config_map_ref {
            given += 1;
            required_form(&map.name, name::dns1123_subdomain, &path.child("configMapRef").child("name"), errors);
        }
        if let Some(secret) = &source.secret_ref {
            given += 1;
            required_form(&secret.name, name::dns1123_subdomain, &path.child("secretRef").child("name"), errors);
        }
        // Upstream reports both on the list.
        match given {
            0 => errors.invalid(list_path, "", "must specify one of: `configMapRef` or `secretRef`"),
            1 => {}
            _ => errors.invalid(list_path, "", "may not have more than one field specified at a time"),
        }
    }
}

/// A reference to one of the pod's own fields.
pub(super) fn field_ref(field: &ObjectFieldSelector, allowed: &[&str], path: &Path, errors: &mut Errors) {
    if text(&field.api_version).is_empty() {
        return errors.required(&path.child("apiVersion"), "");
    }
    if field.field_path.is_empty() {
        return errors.required(&path.child("fieldPath"), "");
    }
    let field_path = path.child("fieldPath");
    let said = field.field_path.as_str();
    if text(&field.api_version) != "v1" {
        let detail = format!("error converting fieldPath: unsupported pod version: {}", text(&field.api_version));
        return errors.invalid(&field_path, said, &detail);
    }
    // `metadata.labels['key']` asks for one of many.
    if let Some((of, key)) = said.strip_suffix("']").and_then(|said| said.split_once("['")) {
        match of {
            "metadata.annotations" => form(&key.to_lowercase(), name::label_key, path, errors),
            "metadata.labels" => form(key, name::label_key, path, errors),
            _ => errors.invalid(path, of, "does not support subscript"),
        }
    } else if !allowed.contains(&said) {
        if FIELDS.contains(&said) || KNOWN_FIELDS.contains(&said) {
            errors.not_supported(&field_path, said, allowed);
        } else {
            let detail = format!("error converting fieldPath: field label not supported: {said}");
            errors.invalid(&field_path, said, &detail);
        }
    }
}

/// A reference to what a container asks for.
pub(super) fn resource_ref(resource: &ResourceFieldSelector, in_volume: bool, path: &Path, errors: &mut Errors) {
    let said = resource.resource.as_str();
    let huge_page = ["limits.hugepages-", "requests.hugepages-"].iter().any(|prefix| said.starts_with(prefix));
    if in_volume && text(&resource.container_name).is_empty() {
        errors.required(&path.child("containerName"), "");
    } else if said.is_empty() {
        errors.required(&path.child("resource"), "");
    } else if !RESOURCES.contains(&said) && !huge_page {
        errors.not_supported(&path.child("resource"), said, RESOURCES);
    }
    if let Some(divisor) = &resource.divisor {
        self::divisor(said, &divisor.0, &path.child("divisor"), errors);
    }
}

/// In which units an amount may be told. Source: `validateContainerResourceDivisor`.
fn divisor(resource: &str, divisor: &str, path: &Path, errors: &mut Errors) {
    const SIZES: &[&str] = &["1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"];
    let Ok(amount) = divisor.parse::<Quantity>() else { return };
    let amount = amount.to_string();
    if amount == "0" {
        return;
    }
    let kind = match resource.split_once('.').map_or(resource, |(_, kind)| kind) {
        "cpu" => {
            if !matches!(amount.as_str(), "1m" | "1") {
                let detail = "only divisor's values 1m and 1 are supported with the cpu resource";
                errors.invalid(path, resource, detail);
            }
            return;
        }
        "memory" => "memory",
        "ephemeral-storage" => "local ephemeral storage",
        kind if kind.starts_with("hugepages-") => "hugepages",
        _ => return,
    };
    if !SIZES.contains(&amount.as_str()) {
        let detail = format!("only divisor's values {} are supported with the {kind} resource", SIZES.join(", "));
        errors.invalid(path, resource, &detail);
    }
}
