//! ClusterRole. Source: `pkg/apis/rbac/validation/validation.go`, `pkg/registry/rbac/clusterrole/strategy.go`.

use jiff::Timestamp;
use k8s_openapi::api::rbac::v1::ClusterRole;
use kubelab_api::{
    field::{Errors, Path},
    selector::label,
};
use serde_json::Value;

use super::rules;
use crate::registry::{
    cells::{self, CREATED_AT, NAME, cells, count, created_at, list},
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
        let Some(rule) = &role.aggregation_rule else { return };
        let path = Path::new("aggregationRule").child("clusterRoleSelectors");
        if count(&rule.cluster_role_selectors) == 0 {
            errors.required(&path, "at least one clusterRoleSelector required if aggregationRule is non-nil");
        }
        for (i, selector) in list(&rule.cluster_role_selectors).iter().enumerate() {
            label::validate(selector, &path.index(i), errors);
        }
    }

    const COLUMNS: &'static [Column] = &[NAME, CREATED_AT];

    fn cells(role: &ClusterRole, _now: Timestamp) -> Vec<Value> {
        cells![cells::name(&role.metadata), created_at(&role.metadata)]
    }
}
