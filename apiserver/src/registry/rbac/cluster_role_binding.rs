//! ClusterRoleBinding. Source: `pkg/apis/rbac/validation/validation.go`, `pkg/registry/rbac/clusterrolebinding/strategy.go`.

use jiff::Timestamp;
use k8s_openapi::api::rbac::v1::ClusterRoleBinding;
use kubelab_api::field::Errors;
use serde_json::Value;

use super::binding;
use crate::registry::kind::{Column, Kind, NameRule};

/// ClusterRoleBinding.
pub struct ClusterRoleBindingKind;

impl Kind for ClusterRoleBindingKind {
    type Object = ClusterRoleBinding;

    const NAME: NameRule = NameRule::PathSegment;
    const CREATE_ON_UPDATE: bool = true;

    fn default(object: &mut ClusterRoleBinding) {
        binding::default(&mut object.role_ref, &mut object.subjects);
    }

    fn validate(object: &ClusterRoleBinding, errors: &mut Errors) {
        binding::validate(&object.role_ref, &object.subjects, &["ClusterRole"], errors);
    }

    fn validate_update(new: &ClusterRoleBinding, old: &ClusterRoleBinding, errors: &mut Errors) {
        binding::validate_update(&new.role_ref, &old.role_ref, errors);
    }

    const COLUMNS: &'static [Column] = binding::COLUMNS;

    fn cells(object: &ClusterRoleBinding, now: Timestamp) -> Vec<Value> {
        binding::cells(&object.metadata, &object.role_ref, &object.subjects, now)
    }
}
