//! DeviceTaintRule: a taint on all devices that a selector matches. Source: `pkg/apis/resource/validation/validation.go`,
//! `pkg/registry/resource/devicetaintrule/strategy.go`.

use k8s_openapi::api::resource::v1::{DeviceTaintRule, DeviceTaintRuleStatus};
use kubelab_api::{
    field::{Errors, Path},
    name,
};

use super::{resource_slice::pool_name, slice_devices::validate_taint};
use crate::registry::{
    cells::list, conditions, core::pod::validation::source::csi_driver, kind::Kind, validation::form,
};

/// So many conditions its status may have. Source: `DeviceTaintRuleStatusMaxConditions`.
const CONDITIONS: usize = 8;

/// DeviceTaintRule.
pub struct DeviceTaintRuleKind;

/// A new taint is there since its rule is, if nothing else is said. (Upstream's default is the time of each request.)
fn since_now(rule: &mut DeviceTaintRule) {
    if rule.spec.taint.time_added.is_none() {
        rule.spec.taint.time_added.clone_from(&rule.metadata.creation_timestamp);
    }
}

impl Kind for DeviceTaintRuleKind {
    type Object = DeviceTaintRule;

    const GENERATION: bool = true;
    const RETURNS_DELETED: bool = true;

    fn spec_changed(new: &DeviceTaintRule, old: &DeviceTaintRule) -> bool {
        new.spec != old.spec
    }

    fn prepare_create(rule: &mut DeviceTaintRule) {
        rule.status = Some(DeviceTaintRuleStatus::default());
        since_now(rule);
    }

    fn prepare_update(new: &mut DeviceTaintRule, old: &DeviceTaintRule) {
        new.status.clone_from(&old.status);
        if new.spec.taint.time_added.is_none() {
            new.spec.taint.time_added.clone_from(&old.spec.taint.time_added);
        }
    }

    fn prepare_status_update(new: &mut DeviceTaintRule, old: &DeviceTaintRule) {
        new.spec.clone_from(&old.spec);
    }

    fn validate(rule: &DeviceTaintRule, errors: &mut Errors) {
        let path = Path::new("spec");
        if let Some(selector) = &rule.spec.device_selector {
            let path = path.child("deviceSelector");
            if let Some(driver) = &selector.driver {
                csi_driver(driver, &path.child("driver"), errors);
            }
            if let Some(pool) = &selector.pool {
                pool_name(pool, &path.child("pool"), errors);
            }
            if let Some(device) = &selector.device {
                form(device, name::dns1123_label, &path.child("device"), errors);
            }
        }
        validate_taint(&rule.spec.taint, &path.child("taint"), errors);
    }

    fn validate_status_update(new: &DeviceTaintRule, _old: &DeviceTaintRule, errors: &mut Errors) {
        let path = Path::new("status").child("conditions");
        let said = new.status.as_ref().map_or(&[][..], |status| list(&status.conditions));
        conditions::validate(said, &path, errors);
        if said.len() > CONDITIONS {
            errors.too_many(&path, said.len(), CONDITIONS);
        }
    }
}
