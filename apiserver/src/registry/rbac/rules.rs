//! What rules may say. Source: `ValidatePolicyRule` in `pkg/apis/rbac/validation/validation.go`.

use k8s_openapi::api::rbac::v1::PolicyRule;
use kubelab_api::field::{Errors, Path};

use crate::registry::{cells::list, validation::json};

/// What is wrong with rules, of a namespace or of the cluster.
pub(super) fn validate(rules: &[PolicyRule], namespaced: bool, errors: &mut Errors) {
    for (i, rule) in rules.iter().enumerate() {
        let path = Path::new("rules").index(i);
        let urls = list(&rule.non_resource_urls);
        let (groups, resources) = (list(&rule.api_groups), list(&rule.resources));
        if rule.verbs.is_empty() {
            errors.required(&path.child("verbs"), "verbs must contain at least one value");
        }
        if !urls.is_empty() {
            let path = path.child("nonResourceURLs");
            if namespaced {
                errors.invalid(&path, json(&urls), "namespaced rules cannot apply to non-resource URLs");
            }
            if !groups.is_empty() || !resources.is_empty() || !list(&rule.resource_names).is_empty() {
                let detail = "rules cannot apply to both regular resources and non-resource URLs";
                errors.invalid(&path, json(&urls), detail);
            }
            continue;
        }
        if groups.is_empty() {
            errors.required(&path.child("apiGroups"), "resource rules must supply at least one api group");
        }
        if resources.is_empty() {
            errors.required(&path.child("resources"), "resource rules must supply at least one resource");
        }
    }
}
