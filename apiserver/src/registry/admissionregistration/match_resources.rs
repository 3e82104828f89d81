//! Which requests a policy looks at. Source: `pkg/apis/admissionregistration/v1/defaults.go`.

use k8s_openapi::api::admissionregistration::v1::MatchResources;
use kubelab_api::{
    field::{Errors, Path},
    selector::label,
};

use crate::registry::{
    cells::list,
    defaults::{each, missing},
    validation::choice,
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
        let lists = [
            ("operations", list(&rule.operations)),
            ("apiGroups", list(&rule.api_groups)),
            ("apiVersions", list(&rule.api_versions)),
            ("resources", list(&rule.resources)),
        ];
        for (field, _) in lists.iter().filter(|(_, values)| values.is_empty()) {
            errors.required(&path.child(field), "");
        }
        for (i, operation) in list(&rule.operations).iter().enumerate() {
            let operations = ["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];
            choice(operation, &operations, &path.child("operations").index(i), errors);
        }
        if let Some(scope) = &rule.scope {
            choice(scope, &["*", "Cluster", "Namespaced"], &path.child("scope"), errors);
        }
    }
}
