//! The devices of a slice. Source: `validateDevice` in `pkg/apis/resource/validation/validation.go`.

use k8s_openapi::api::resource::v1::{Device, DeviceAttribute, DeviceTaint};
use kubelab_api::{
    field::{Errors, Path},
    name,
};

use super::devices::qualified;
use crate::registry::{
    cells::{list, text},
    core::pod::validation::scheduling::node_selector,
    validation::{choice, form, json, required_form},
};

/// So many attributes and capacities together a device may have.
const VALUES: usize = 32;
/// The text of an attribute may be so long.
const LONGEST: usize = 64;
/// So many taints a device may have.
const TAINTS: usize = 16;

/// What is wrong with a device. `placed` says that each device tells its own nodes.
pub(super) fn validate(device: &Device, placed: bool, path: &Path, errors: &mut Errors) {
    form(&device.name, name::dns1123_label, &path.child("name"), errors);
    let (attributes, capacity) = (device.attributes.iter().flatten(), device.capacity.iter().flatten());
    let count = attributes.clone().count() + capacity.clone().count();
    if count > VALUES {
        let detail = format!("the total number of attributes and capacities must not exceed {VALUES}");
        errors.invalid(path, count, &detail);
    }
    for (key, attribute) in attributes {
        let path = path.child("attributes").key(key);
        qualified(key, false, &path, errors);
        validate_attribute(attribute, &path, errors);
    }
    for (key, _) in capacity {
        qualified(key, false, &path.child("capacity").key(key), errors);
    }
    let places = [device.node_name.is_some(), device.node_selector.is_some(), device.all_nodes == Some(true)];
    match (placed, places.iter().filter(|given| **given).count()) {
        (true, 0) => {
            let detail = "exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when \
                          `perDeviceNodeSelection` is set to true in the ResourceSlice spec";
            errors.required(path, detail);
        }
        (true, 1) | (false, 0) => {}
        (true, _) => {
            let detail = "exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when \
                          `perDeviceNodeSelection` is set to true in the ResourceSlice spec";
            errors.invalid(path, json(device), detail);
        }
        (false, _) => {
            for (field, given) in [("nodeName", places[0]), ("nodeSelector", places[1]), ("allNodes", places[2])] {
                if given {
                    let detail = "field is only allowed when `perDeviceNodeSelection` is set to true in the \
                                  ResourceSlice spec";
                    errors.invalid(&path.child(field), json(device), detail);
                }
            }
        }
    }
    if let Some(selector) = &device.node_selector {
        node_selector(selector, &path.child("nodeSelector"), errors);
    }
    let taints = list(&device.taints);
    if taints.len() > TAINTS {
        errors.too_many(&path.child("taints"), taints.len(), TAINTS);
    }
    for (i, taint) in taints.iter().enumerate() {
        validate_taint(taint, &path.child("taints").index(i), errors);
    }
}

fn validate_attribute(attribute: &DeviceAttribute, path: &Path, errors: &mut Errors) {
    let given = [
        attribute.int.is_some(),
        attribute.bool.is_some(),
        attribute.string.is_some(),
        attribute.version.is_some(),
        attribute.ints.is_some(),
        attribute.bools.is_some(),
        attribute.strings.is_some(),
        attribute.versions.is_some(),
    ];
    match given.iter().filter(|given| **given).count() {
        0 => errors.required(path, "exactly one value must be specified"),
        1 => {}
        _ => errors.invalid(path, json(attribute), "exactly one value must be specified"),
    }
    for (field, value) in [("string", &attribute.string), ("version", &attribute.version)] {
        if text(value).len() > LONGEST {
            errors.too_long(&path.child(field), LONGEST);
        }
    }
}

pub(super) fn validate_taint(taint: &DeviceTaint, path: &Path, errors: &mut Errors) {
    required_form(&taint.key, name::label_key, &path.child("key"), errors);
    let value = text(&taint.value);
    if !value.is_empty() {
        form(value, name::label_value, &path.child("value"), errors);
    }
    match taint.effect.as_str() {
        "" => errors.required(&path.child("effect"), ""),
        effect => choice(effect, &["NoExecute", "NoSchedule", "None"], &path.child("effect"), errors),
    }
}
