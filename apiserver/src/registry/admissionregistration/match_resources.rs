//! Which requests a policy looks at. Source: `pkg/apis/admissionregistration/v1/defaults.go`,
//! `validateNamedRuleWithOperations`.

use std::collections::BTreeSet;

use k8s_openapi::api::admissionregistration::v1::{MatchResources, RuleWithOperations};
use kubelab_api::{
    field::{Errors, Path},
    name,
    selector::label,
};

use super::webhook;
use crate::registry::{
    cells::list,
    defaults::{each, missing},
    validation::{choice, form},
};

pub(super) fn default(resources: &mut MatchResources) {
    missing(&mut resources.match_policy, "Equivalent".into());
    missing(&mut resources.namespace_selector, Default::default());
    missing(&mut resources.object_selector, Default::default());
    for rule in each(&mut resources.resource_rules).chain(each(&mut resources.exclude_resource_rules)) {
        missing(&mut rule.scope, "*".into());
    }
}

pub(super) fn validate(resources: &MatchResources, path: &Path, errors: &mut Errors) {
    if let Some(policy) = &resources.match_policy {
        choice(policy, &["Equivalent", "Exact"], &path.child("matchPolicy"), errors);
    }
    for (field, selector) in
        [("namespaceSelector", &resources.namespace_selector), ("objectSelector", &resources.object_selector)]
    {
        if let Some(selector) = selector {
            label::validate(selector, &path.child(field), errors);
        }
    }
    let rules = list(&resources.resource_rules).iter().enumerate();
    let rules = rules.map(|(i, rule)| (path.child("resourceRules").index(i), rule));
    let excluded = list(&resources.exclude_resource_rules).iter().enumerate();
    let excluded = excluded.map(|(i, rule)| (path.child("excludeResourceRules").index(i), rule));
    for (path, rule) in rules.chain(excluded) {
        let mut names = BTreeSet::new();
        for (i, given) in list(&rule.resource_names).iter().enumerate() {
            let path = path.child("resourceNames").index(i);
            form(given, name::path_segment, &path, errors);
            if !names.insert(given) {
                errors.duplicate(&path, given.as_str());
            }
        }
        let rule = RuleWithOperations {
            api_groups: rule.api_groups.clone(),
            api_versions: rule.api_versions.clone(),
            operations: rule.operations.clone(),
            resources: rule.resources.clone(),
            scope: rule.scope.clone(),
        };
        webhook::validate_rule(&rule, &path, errors);
    }
}
