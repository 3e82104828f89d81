//! RoleBinding. Source: `pkg/apis/rbac/validation/validation.go`, `pkg/registry/rbac/rolebinding/strategy.go`.

use jiff::Timestamp;
use k8s_openapi::api::rbac::v1::RoleBinding;
use kubelab_api::field::Errors;
use serde_json::Value;

use super::binding;
use crate::registry::kind::{Column, Kind, NameRule};

/// RoleBinding.
pub struct RoleBindingKind;

impl Kind for RoleBindingKind {
    type Object = RoleBinding;

    const NAME: NameRule = NameRule::PathSegment;
    const CREATE_ON_UPDATE: bool = true;

    fn default(object: &mut RoleBinding) {
        binding::default(&mut object.role_ref, &mut object.subjects);
    }

    fn validate(object: &RoleBinding, errors: &mut Errors) {
        binding::validate(&object.role_ref, &object.subjects, &["Role", "ClusterRole"], errors);
    }

    fn validate_update(new: &RoleBinding, old: &RoleBinding, errors: &mut Errors) {
        binding::validate_update(&new.role_ref, &old.role_ref, errors);
    }

    const COLUMNS: &'static [Column] = binding::COLUMNS;

    fn cells(object: &RoleBinding, now: Timestamp) -> Vec<Value> {
        binding::cells(&object.metadata, &object.role_ref, &object.subjects, now)
    }
}
