//! ClusterRole. Source: `pkg/apis/rbac/validation/validation.go`, `pkg/registry/rbac/clusterrole/strategy.go`.

use jiff::Timestamp;
use k8s_openapi::api::rbac::v1::ClusterRole;
use kubelab_api::field::Errors;
use serde_json::Value;

use super::rules;
use crate::registry::{
    cells::{self, CREATED_AT, NAME, cells, created_at, list},
    kind::{Column, Kind, NameRule},
};

/// ClusterRole.
pub struct ClusterRoleKind;

impl Kind for ClusterRoleKind {
    type Object = ClusterRole;

    const NAME: NameRule = NameRule::PathSegment;
    const CREATE_ON_UPDATE: bool = true;

    fn validate(role: &ClusterRole, errors: &mut Errors) {
        rules::validate(list(&role.rules), false, errors);
    }

    const COLUMNS: &'static [Column] = &[NAME, CREATED_AT];

    fn cells(role: &ClusterRole, _now: Timestamp) -> Vec<Value> {
        cells![cells::name(&role.metadata), created_at(&role.metadata)]
    }
}
