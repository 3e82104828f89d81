//! "Pods with the same value of this label as mine": keys become requirements when the pod is made, and stay.
//! Source: `mutatePodAffinity` and `mutateTopologySpreadConstraints` in `pkg/registry/core/pod/strategy.go`,
//! KEP-3633 and KEP-3243.

use k8s_openapi::{
    api::core::v1::{Pod, PodAffinityTerm},
    apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement},
};

use crate::registry::{cells::list, defaults::each};

/// Turns the keys of the pod's affinity and spread constraints into requirements.
pub(super) fn resolve(pod: &mut Pod) {
    let labels = pod.metadata.labels.clone().unwrap_or_default();
    let Some(spec) = &mut pod.spec else { return };
    let require = |selector: &mut Option<LabelSelector>, keys: &[String], operator: &str| {
        let Some(selector) = selector else { return };
        for (key, value) in keys.iter().filter_map(|key| labels.get_key_value(key)) {
            selector.match_expressions.get_or_insert_default().push(LabelSelectorRequirement {
                key: key.clone(),
                operator: operator.into(),
                values: Some(vec![value.clone()]),
            });
        }
    };
    let resolve_term = |term: &mut PodAffinityTerm| {
        require(&mut term.label_selector, list(&term.match_label_keys), "In");
        require(&mut term.label_selector, list(&term.mismatch_label_keys), "NotIn");
    };
    if let Some(affinity) = &mut spec.affinity {
        if let Some(near) = &mut affinity.pod_affinity {
            each(&mut near.required_during_scheduling_ignored_during_execution).for_each(resolve_term);
            each(&mut near.preferred_during_scheduling_ignored_during_execution)
                .for_each(|weighted| resolve_term(&mut weighted.pod_affinity_term));
        }
        if let Some(far) = &mut affinity.pod_anti_affinity {
            each(&mut far.required_during_scheduling_ignored_during_execution).for_each(resolve_term);
            each(&mut far.preferred_during_scheduling_ignored_during_execution)
                .for_each(|weighted| resolve_term(&mut weighted.pod_affinity_term));
        }
    }
    for constraint in each(&mut spec.topology_spread_constraints) {
        require(&mut constraint.label_selector, list(&constraint.match_label_keys), "In");
    }
}
