//! Role. Source: `pkg/apis/rbac/validation/validation.go`, `pkg/registry/rbac/role/strategy.go`.

use jiff::Timestamp;
use k8s_openapi::api::rbac::v1::Role;
use kubelab_api::field::Errors;
use serde_json::Value;

use super::rules;
use crate::registry::{
    cells::{self, CREATED_AT, NAME, cells, created_at, list},
    kind::{Column, Kind, NameRule},
};

/// Role.
pub struct RoleKind;

impl Kind for RoleKind {
    type Object = Role;

    const NAME: NameRule = NameRule::PathSegment;
    const CREATE_ON_UPDATE: bool = true;

    fn validate(role: &Role, errors: &mut Errors) {
        rules::validate(list(&role.rules), true, errors);
    }

    const COLUMNS: &'static [Column] = &[NAME, CREATED_AT];

    fn cells(role: &Role, _now: Timestamp) -> Vec<Value> {
        cells![cells::name(&role.metadata), created_at(&role.metadata)]
    }
}
