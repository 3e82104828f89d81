//! Where a volume's content comes from: what the sources that pods and PersistentVolumes share must name.
//! Source: the `validate…VolumeSource` functions in `pkg/apis/core/validation/validation.go`.

use kubelab_api::{
    field::{Errors, Path},
    name,
};
use serde_json::{Map, Value};

use crate::registry::validation::form;

/// A source, how messages call it, and what it must name.
struct Source {
    field: &'static str,
    path: &'static str,
    required: &'static [&'static str],
}

const fn source(field: &'static str, path: &'static str, required: &'static [&'static str]) -> Source {
    Source { field, path, required }
}

const SOURCES: &[Source] = &[
    source("awsElasticBlockStore", "awsElasticBlockStore", &["volumeID"]),
    source("azureDisk", "azureDisk", &["diskName", "diskURI"]),
    source("azureFile", "azureFile", &["secretName", "shareName"]),
    source("cephfs", "cephfs", &["monitors"]),
    source("cinder", "cinder", &["volumeID"]),
    source("csi", "csi", &[]),
    source("fc", "fc", &[]),
    source("flexVolume", "flexVolume", &["driver"]),
    source("flocker", "flocker", &[]),
    source("gcePersistentDisk", "persistentDisk", &["pdName"]),
    source("gitRepo", "gitRepo", &["repository"]),
    source("glusterfs", "glusterfs", &["endpoints", "path"]),
    source("iscsi", "iscsi", &["targetPortal", "iqn"]),
    source("nfs", "nfs", &["server", "path"]),
    source("photonPersistentDisk", "photonPersistentDisk", &["pdID"]),
    source("portworxVolume", "portworxVolume", &["volumeID"]),
    source("quobyte", "quobyte", &["volume"]),
    source("rbd", "rbd", &["monitors", "image"]),
    source("scaleIO", "scaleIO", &["gateway", "system", "volumeName"]),
    source("storageos", "storageos", &["volumeName"]),
    source("vsphereVolume", "vsphereVolume", &["volumePath"]),
];

/// The order in which upstream looks at sources: the first that is given counts.
pub const ORDER: &[&str] = &[
    "emptyDir",
    "hostPath",
    "gitRepo",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "secret",
    "nfs",
    "iscsi",
    "glusterfs",
    "flocker",
    "persistentVolumeClaim",
    "rbd",
    "quobyte",
    "cinder",
    "cephfs",
    "downwardAPI",
    "fc",
    "flexVolume",
    "configMap",
    "azureFile",
    "vsphereVolume",
    "photonPersistentDisk",
    "portworxVolume",
    "azureDisk",
    "storageos",
    "projected",
    "scaleIO",
    "local",
    "csi",
    "ephemeral",
    "image",
];

/// The sources that these fields give, in [`ORDER`].
pub fn given(fields: &Map<String, Value>) -> Vec<&'static str> {
    ORDER.iter().copied().filter(|field| fields.contains_key(*field)).collect()
}

fn is_empty(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null) => true,
        Some(Value::String(text)) => text.is_empty(),
        Some(Value::Array(elements)) => elements.is_empty(),
        Some(_) => false,
    }
}

/// What is wrong with a source; `fields` hold it, `path` is where they stand.
pub fn validate(field: &str, fields: &Map<String, Value>, path: &Path, errors: &mut Errors) {
    let Some(source) = SOURCES.iter().find(|source| source.field == field) else { return };
    let said = &fields[field];
    let path = path.child(source.path);
    for required in source.required.iter().filter(|required| is_empty(said.get(**required))) {
        errors.required(&path.child(required), "");
    }
    let text = |field: &str| said[field].as_str().unwrap_or_default();
    match field {
        "awsElasticBlockStore" | "gcePersistentDisk" => {
            let partition = said["partition"].as_i64().unwrap_or_default();
            if !(0..=255).contains(&partition) {
                errors.invalid(&path.child("partition"), partition, "must be between 1 and 255, inclusive");
            }
        }
        "azureDisk" => azure_disk(said, &path, errors),
        "csi" => {
            csi_driver(text("driver"), &path.child("driver"), errors);
            if said.get("volumeHandle").is_some_and(|handle| is_empty(Some(handle))) {
                errors.required(&path.child("volumeHandle"), "");
            }
        }
        "fc" => fibre_channel(said, &path, errors),
        "flocker" => match (text("datasetName"), text("datasetUUID")) {
            ("", "") => errors.required(&path, "one of datasetName and datasetUUID is required"),
            (name, uuid) => {
                if !name.is_empty() && !uuid.is_empty() {
                    let detail = "datasetName and datasetUUID can not be specified simultaneously";
                    errors.invalid(&path, "resource", detail);
                }
                if name.contains('/') {
                    errors.invalid(&path.child("datasetName"), name, "must not contain '/'");
                }
            }
        },
        "gitRepo" => super::container::local_path(text("directory"), &path.child("directory"), errors),
        "iscsi" => {
            let iqn = text("iqn");
            if !iqn.is_empty() && !["iqn", "eui", "naa"].iter().any(|prefix| iqn.starts_with(prefix)) {
                let detail = "must be valid format starting with iqn, eui, or naa";
                errors.invalid(&path.child("iqn"), iqn, detail);
            }
            lun(&said["lun"], &path.child("lun"), errors);
        }
        "nfs" if !text("path").starts_with('/') => {
            errors.invalid(&path.child("path"), text("path"), "must be an absolute path");
        }
        "quobyte" => {
            let detail = "must be a host:port pair or multiple pairs separated by commas";
            match text("registry") {
                "" => errors.required(&path.child("registry"), detail),
                registry => {
                    for _ in registry.split(',').filter(|pair| !pair.contains(':')) {
                        errors.invalid(&path.child("registry"), registry, detail);
                    }
                }
            }
        }
        _ => {}
    }
}

fn lun(lun: &Value, path: &Path, errors: &mut Errors) {
    let lun = lun.as_i64().unwrap_or_default();
    for wrong in name::in_range(lun, 0, 255) {
        errors.invalid(path, lun, &wrong);
    }
}

fn fibre_channel(said: &Value, path: &Path, errors: &mut Errors) {
    let (names, ids) = (!is_empty(said.get("targetWWNs")), !is_empty(said.get("wwids")));
    let at = path.child("targetWWNs");
    match (names, ids) {
        (false, false) => errors.required(&at, "must specify either targetWWNs or wwids, but not both"),
        (true, true) => {
            let detail = "targetWWNs and wwids can not be specified simultaneously";
            errors.invalid(&at, said["targetWWNs"].clone(), detail);
        }
        _ => {}
    }
    match said.get("lun") {
        None if names => errors.required(&path.child("lun"), "lun is required if targetWWNs is specified"),
        Some(number) if names => lun(number, &path.child("lun"), errors),
        _ => {}
    }
}

fn azure_disk(said: &Value, path: &Path, errors: &mut Errors) {
    for (field, allowed) in
        [("cachingMode", &["None", "ReadOnly", "ReadWrite"]), ("kind", &["Dedicated", "Managed", "Shared"])]
    {
        if let Some(value) = said[field].as_str().filter(|value| !allowed.contains(value)) {
            errors.not_supported(&path.child(field), value, allowed);
        }
    }
    let uri = said["diskURI"].as_str().unwrap_or_default();
    let (prefix, form) = match said["kind"].as_str() {
        None => return,
        Some("Managed") => (
            "/subscriptions/",
            "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}",
        ),
        Some(_) => ("https://", "https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd"),
    };
    if !uri.starts_with(prefix) {
        errors.not_supported(&path.child("diskURI"), uri, &[form]);
    }
}

/// The name of a CSI driver. Source: `ValidateCSIDriverName`.
pub fn csi_driver(driver: &str, path: &Path, errors: &mut Errors) {
    const MAX: usize = 63;
    if driver.is_empty() {
        errors.required(path, "");
    }
    if driver.len() > MAX {
        errors.too_long(path, MAX);
    }
    for wrong in name::dns1123_subdomain(&driver.to_lowercase()) {
        errors.invalid(path, driver, &wrong);
    }
}

/// A Secret somewhere in the cluster. Source: `validatePVSecretReference`.
pub fn secret_reference(reference: &Value, path: &Path, errors: &mut Errors) {
    for (field, rule) in
        [("name", name::dns1123_subdomain as fn(&str) -> Vec<String>), ("namespace", name::dns1123_label)]
    {
        match reference[field].as_str().unwrap_or_default() {
            "" => errors.required(&path.child(field), ""),
            value => form(value, rule, &path.child(field), errors),
        }
    }
}

/// Says that these sources are too many. Upstream spells some of them in ways of its own.
pub fn too_many(given: &[&str], path: &Path, errors: &mut Errors) {
    for field in given.iter().skip(1) {
        let field = match *field {
            "cephfs" => "cephFS",
            "downwardAPI" => "downwarAPI",
            field => field,
        };
        errors.forbidden(&path.child(field), "may not specify more than 1 volume type");
    }
}
