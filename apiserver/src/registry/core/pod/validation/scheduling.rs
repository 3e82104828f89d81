//! Where a pod may run: affinity, tolerations, spread, gates.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{
    Affinity, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, PodAffinityTerm, PodSchedulingGate, Toleration,
    TopologySpreadConstraint, WeightedPodAffinityTerm,
};
use kubelab_api::{
    field::{Errors, Path},
    name,
    selector::label,
};
use serde_json::json;

use crate::registry::{
    cells::{list, text},
    validation::{choice, form, label_key, required_choice},
};

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

pub(super) fn affinity(affinity: &Affinity, path: &Path, errors: &mut Errors) {
    if let Some(node) = &affinity.node_affinity {
        let path = path.child("nodeAffinity");
        if let Some(selector) = &node.required_during_scheduling_ignored_during_execution {
            node_selector(selector, &path.child(REQUIRED), errors);
        }
        let terms = list(&node.preferred_during_scheduling_ignored_during_execution);
        for (i, term) in terms.iter().enumerate() {
            let path = path.child(PREFERRED).index(i);
            weight(term.weight, &path, errors);
            node_selector_term(&term.preference, &path.child("preference"), errors);
        }
    }
    if let Some(pods) = &affinity.pod_affinity {
        let required = list(&pods.required_during_scheduling_ignored_during_execution);
        let preferred = list(&pods.preferred_during_scheduling_ignored_during_execution);
        pod_affinity(required, preferred, &path.child("podAffinity"), errors);
    }
    if let Some(pods) = &affinity.pod_anti_affinity {
        let required = list(&pods.required_during_scheduling_ignored_during_execution);
        let preferred = list(&pods.preferred_during_scheduling_ignored_during_execution);
        pod_affinity(required, preferred, &path.child("podAntiAffinity"), errors);
    }
}

fn weight(weight: i32, path: &Path, errors: &mut Errors) {
    if !(1..=100).contains(&weight) {
        errors.invalid(&path.child("weight"), weight, "must be in the range 1-100");
    }
}

fn pod_affinity(required: &[PodAffinityTerm], preferred: &[WeightedPodAffinityTerm], path: &Path, errors: &mut Errors) {
    for (i, term) in required.iter().enumerate() {
        pod_affinity_term(term, &path.child(REQUIRED).index(i), errors);
    }
    for (i, term) in preferred.iter().enumerate() {
        let path = path.child(PREFERRED).index(i);
        weight(term.weight, &path, errors);
        pod_affinity_term(&term.pod_affinity_term, &path.child("podAffinityTerm"), errors);
    }
}

fn pod_affinity_term(term: &PodAffinityTerm, path: &Path, errors: &mut Errors) {
    if let Some(selector) = &term.label_selector {
        label::validate(selector, &path.child("labelSelector"), errors);
    }
    if let Some(selector) = &term.namespace_selector {
        label::validate(selector, &path.child("namespaceSelector"), errors);
    }
    for namespace in list(&term.namespaces) {
        form(namespace, name::dns1123_label, &path.child("namespace"), errors);
    }
    label_keys(term, path, errors);
    let path = path.child("topologyKey");
    if term.topology_key.is_empty() {
        errors.required(&path, "can not be empty");
    }
    label_key(&term.topology_key, &path, errors);
}

/// Source: `validateMatchLabelKeysAndMismatchLabelKeys`, KEP-3633.
fn label_keys(term: &PodAffinityTerm, path: &Path, errors: &mut Errors) {
    let (same, other) = (list(&term.match_label_keys), list(&term.mismatch_label_keys));
    for (field, keys) in [("matchLabelKeys", same), ("mismatchLabelKeys", other)] {
        let path = path.child(field);
        if !keys.is_empty() && term.label_selector.is_none() {
            errors.forbidden(&path, "must not be specified when labelSelector is not set");
            continue;
        }
        keys.iter().enumerate().for_each(|(i, key)| label_key(key, &path.index(i), errors));
    }
    if let Some(selector) = &term.label_selector {
        // The keys became requirements when the pod was made: a second one for the same key was the user's.
        let mut seen: BTreeSet<&str> = selector.match_labels.iter().flatten().map(|(key, _)| key.as_str()).collect();
        for requirement in list(&selector.match_expressions) {
            let key = requirement.key.as_str();
            let place = same.iter().rposition(|same| same == key);
            if let Some(i) = place.filter(|_| seen.contains(key)) {
                errors.invalid(&path.index(i), key, "exists in both matchLabelKeys and labelSelector");
            }
            seen.insert(key);
        }
    }
    for (i, key) in same.iter().enumerate().filter(|(_, key)| other.contains(key)) {
        let path = path.child("matchLabelKeys").index(i);
        errors.invalid(&path, key.as_str(), "exists in both matchLabelKeys and mismatchLabelKeys");
    }
}

/// What is wrong with a choice of nodes.
pub fn node_selector(selector: &NodeSelector, path: &Path, errors: &mut Errors) {
    let path = path.child("nodeSelectorTerms");
    if selector.node_selector_terms.is_empty() {
        errors.required(&path, "must have at least one node selector term");
    }
    for (i, term) in selector.node_selector_terms.iter().enumerate() {
        node_selector_term(term, &path.index(i), errors);
    }
}

fn node_selector_term(term: &NodeSelectorTerm, path: &Path, errors: &mut Errors) {
    for (i, requirement) in list(&term.match_expressions).iter().enumerate() {
        by_label(requirement, &path.child("matchExpressions").index(i), errors);
    }
    for (i, requirement) in list(&term.match_fields).iter().enumerate() {
        by_field(requirement, &path.child("matchFields").index(i), errors);
    }
}

fn by_label(requirement: &NodeSelectorRequirement, path: &Path, errors: &mut Errors) {
    let values = list(&requirement.values);
    let values_path = path.child("values");
    match requirement.operator.as_str() {
        "In" | "NotIn" if values.is_empty() => {
            errors.required(&values_path, "must be specified when `operator` is 'In' or 'NotIn'");
        }
        "Exists" | "DoesNotExist" if !values.is_empty() => {
            errors.forbidden(&values_path, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
        }
        "Gt" | "Lt" if values.len() != 1 => {
            errors.required(&values_path, "must be specified single value when `operator` is 'Lt' or 'Gt'");
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => {}
        other => errors.invalid(&path.child("operator"), other, "not a valid selector operator"),
    }
    label_key(&requirement.key, &path.child("key"), errors);
    for (i, value) in values.iter().enumerate() {
        form(value, name::label_value, &values_path.index(i), errors);
    }
}

fn by_field(requirement: &NodeSelectorRequirement, path: &Path, errors: &mut Errors) {
    let values = list(&requirement.values);
    match requirement.operator.as_str() {
        "In" | "NotIn" if values.len() != 1 => {
            let detail = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector";
            errors.required(&path.child("values"), detail);
        }
        "In" | "NotIn" => {}
        other => errors.invalid(&path.child("operator"), other, "not a valid selector operator"),
    }
    if requirement.key != "metadata.name" {
        return errors.invalid(&path.child("key"), requirement.key.as_str(), "not a valid field selector key");
    }
    for (i, value) in values.iter().enumerate() {
        form(value, name::dns1123_subdomain, &path.child("values").index(i), errors);
    }
}

/// What is wrong with tolerations.
pub fn tolerations(tolerations: &[Toleration], path: &Path, errors: &mut Errors) {
    for (i, toleration) in tolerations.iter().enumerate() {
        let path = path.index(i);
        let (key, operator, effect) = (text(&toleration.key), text(&toleration.operator), text(&toleration.effect));
        if !key.is_empty() {
            label_key(key, &path.child("key"), errors);
        } else if operator != "Exists" {
            let detail = "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
            errors.invalid(&path.child("operator"), operator, detail);
        }
        if toleration.toleration_seconds.is_some() && effect != "NoExecute" {
            let detail = "effect must be 'NoExecute' when `tolerationSeconds` is set";
            errors.invalid(&path.child("effect"), effect, detail);
        }
        match operator {
            "Equal" | "" => {
                let wrong = name::label_value(text(&toleration.value));
                if !wrong.is_empty() {
                    errors.invalid(&path.child("operator"), text(&toleration.value), &wrong.join(";"));
                }
            }
            "Exists" => {
                if !text(&toleration.value).is_empty() {
                    let detail = "value must be empty when `operator` is 'Exists'";
                    errors.invalid(&path.child("operator"), text(&toleration.value), detail);
                }
            }
            other => errors.not_supported(&path.child("operator"), other, &["Equal", "Exists"]),
        }
        if !effect.is_empty() {
            taint_effect(effect, &path.child("effect"), errors);
        }
    }
}

/// What a taint does to pods that do not tolerate it.
pub fn taint_effect(effect: &str, path: &Path, errors: &mut Errors) {
    required_choice(effect, &["NoSchedule", "PreferNoSchedule", "NoExecute"], path, errors);
}

pub(super) fn gates(gates: &[PodSchedulingGate], path: &Path, errors: &mut Errors) {
    let mut names = BTreeSet::new();
    for (i, gate) in gates.iter().enumerate() {
        let path = path.index(i);
        form(&gate.name, name::label_key, &path, errors);
        if !names.insert(&gate.name) {
            errors.duplicate(&path, gate.name.as_str());
        }
    }
}

pub(super) fn spread(constraints: &[TopologySpreadConstraint], path: &Path, errors: &mut Errors) {
    for (i, constraint) in constraints.iter().enumerate() {
        let path = path.index(i);
        let positive = "must be greater than zero";
        if constraint.max_skew <= 0 {
            errors.invalid(&path.child("maxSkew"), constraint.max_skew, positive);
        }
        if constraint.topology_key.is_empty() {
            errors.required(&path.child("topologyKey"), "can not be empty");
        }
        let action = constraint.when_unsatisfiable.as_str();
        choice(action, &["DoNotSchedule", "ScheduleAnyway"], &path.child("whenUnsatisfiable"), errors);
        let same = |other: &TopologySpreadConstraint| {
            other.topology_key == constraint.topology_key && other.when_unsatisfiable == constraint.when_unsatisfiable
        };
        if constraints[i + 1..].iter().any(same) {
            let pair = format!("{{{}, {action}}}", constraint.topology_key);
            errors.duplicate(&path.child("{topologyKey, whenUnsatisfiable}"), json!(pair));
        }
        if let Some(domains) = constraint.min_domains {
            let path = path.child("minDomains");
            if domains <= 0 {
                errors.invalid(&path, domains, positive);
            }
            if action != "DoNotSchedule" {
                let detail = format!("can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {action}");
                errors.invalid(&path, domains, &detail);
            }
        }
        let policies = ["Honor", "Ignore"];
        if let Some(policy) = &constraint.node_affinity_policy {
            choice(policy, &policies, &path.child("nodeAffinityPolicy"), errors);
        }
        if let Some(policy) = &constraint.node_taints_policy {
            choice(policy, &policies, &path.child("nodeTaintsPolicy"), errors);
        }
        spread_keys(constraint, &path.child("matchLabelKeys"), errors);
        if let Some(selector) = &constraint.label_selector {
            label::validate(selector, &path.child("labelSelector"), errors);
        }
    }
}

/// Source: `validateMatchLabelKeysInTopologySpread`, KEP-3243. With the selector's merge (KEP-3243, v1.34) the keys are
/// requirements of the selector by now: a second one for the same key was the user's.
fn spread_keys(constraint: &TopologySpreadConstraint, path: &Path, errors: &mut Errors) {
    let keys = list(&constraint.match_label_keys);
    let Some(selector) = &constraint.label_selector else {
        if !keys.is_empty() {
            errors.forbidden(path, "must not be specified when labelSelector is not set");
        }
        return;
    };
    for (i, key) in keys.iter().enumerate() {
        label_key(key, &path.index(i), errors);
        let said = list(&selector.match_expressions).iter().filter(|requirement| requirement.key == *key).count();
        if said > 1 || selector.match_labels.as_ref().is_some_and(|labels| labels.contains_key(key)) {
            errors.invalid(&path.index(i), key.as_str(), "exists in both matchLabelKeys and labelSelector");
        }
    }
}
