//! What is allowed and yet hardly meant. Source: `pkg/api/pod/warnings.go`, `pkg/api/node/util.go`.

mod containers;
mod volumes;

pub use volumes::OLD_SOURCES;

use k8s_openapi::{
    api::core::v1::{NodeSelectorTerm, PodAffinityTerm, PodSpec, WeightedPodAffinityTerm},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kubelab_api::{Quantity, field::Path};
use std::collections::BTreeSet;

use crate::registry::{cells::list, core::resources::Amounts};

const OLD_LABELS: &[(&str, &str)] = &[
    ("beta.kubernetes.io/arch", "deprecated since v1.14; use \"kubernetes.io/arch\" instead"),
    ("beta.kubernetes.io/os", "deprecated since v1.14; use \"kubernetes.io/os\" instead"),
    (
        "failure-domain.beta.kubernetes.io/region",
        "deprecated since v1.17; use \"topology.kubernetes.io/region\" instead",
    ),
    ("failure-domain.beta.kubernetes.io/zone", "deprecated since v1.17; use \"topology.kubernetes.io/zone\" instead"),
    ("beta.kubernetes.io/instance-type", "deprecated since v1.17; use \"node.kubernetes.io/instance-type\" instead"),
];

const OLD_ANNOTATIONS: &[(&str, &str)] = &[
    (
        "scheduler.alpha.kubernetes.io/critical-pod",
        "non-functional in v1.16+; use the \"priorityClassName\" field instead",
    ),
    ("security.alpha.kubernetes.io/sysctls", "non-functional in v1.11+; use the \"sysctls\" field instead"),
    ("security.alpha.kubernetes.io/unsafe-sysctls", "non-functional in v1.11+; use the \"sysctls\" field instead"),
];

/// What to use instead of an old label of nodes.
pub fn old_label(key: &str) -> Option<&'static str> {
    OLD_LABELS.iter().find(|(old, _)| *old == key).map(|(_, advice)| *advice)
}

/// Warnings about a choice of nodes. Source: `GetWarningsForNodeSelectorTerm`.
pub fn node_selector_term(term: &NodeSelectorTerm, path: &Path, warnings: &mut Vec<String>) {
    for (i, requirement) in list(&term.match_expressions).iter().enumerate() {
        if let Some(advice) = old_label(&requirement.key) {
            let path = path.child("matchExpressions").index(i).child("key");
            warnings.push(format!("{path}: {} is {advice}", requirement.key));
        }
    }
}

/// Warnings about a pod, or about a template: then `path` leads to it.
pub fn warnings(spec: &PodSpec, meta: Option<&ObjectMeta>, path: Option<&Path>) -> Vec<String> {
    let mut warnings = Vec::new();
    let root = path.cloned().unwrap_or_default();
    let path_of_spec = root.child("spec");
    scheduling(spec, &path_of_spec, &mut warnings);
    let annotations = meta.and_then(|meta| meta.annotations.as_ref());
    let said = |key: &str| annotations.is_some_and(|annotations| annotations.contains_key(key));
    let annotation = |key: &str| root.child("metadata").child("annotations").key(key);
    for (key, advice) in OLD_ANNOTATIONS.iter().filter(|(key, _)| said(key)) {
        warnings.push(format!("{}: {advice}", annotation(key)));
    }
    volumes::warnings(list(&spec.volumes), &path_of_spec.child("volumes"), &mut warnings);
    let mut twice = |field: &str, leaf: &str, what: &str, values: Vec<&str>| {
        let mut seen = BTreeSet::new();
        for (i, value) in values.into_iter().enumerate().filter(|(_, value)| !seen.insert(*value)) {
            let path = path_of_spec.child(field).index(i).child(leaf);
            warnings.push(format!("{path}: duplicate {what} {value:?}"));
        }
    };
    twice("hostAliases", "ip", "ip", list(&spec.host_aliases).iter().map(|alias| alias.ip.as_str()).collect());
    let secrets: Vec<_> = list(&spec.image_pull_secrets).iter().map(|secret| secret.name.as_str()).collect();
    twice("imagePullSecrets", "name", "name", secrets.clone());
    for (i, _) in secrets.iter().enumerate().filter(|(_, name)| name.is_empty()) {
        warnings.push(format!(
            "{}: invalid empty name \"\"",
            path_of_spec.child("imagePullSecrets").index(i).child("name")
        ));
    }
    fractions(spec.overhead.as_ref(), &path_of_spec.child("overhead"), &mut warnings);
    let profile = spec.security_context.as_ref().and_then(|context| context.seccomp_profile.as_ref());
    let key = "seccomp.security.alpha.kubernetes.io/pod";
    if profile.is_none() && said(key) {
        warnings
            .push(format!("{}: non-functional in v1.27+; use the \"seccompProfile\" field instead", annotation(key)));
    }
    containers::warnings(spec, &said, &annotation, path.is_some(), &path_of_spec, &mut warnings);
    if spec.termination_grace_period_seconds.is_some_and(|seconds| seconds < 0) {
        let path = path_of_spec.child("terminationGracePeriodSeconds");
        warnings.push(format!("{path}: must be >= 0; negative values are invalid and will be treated as 1"));
    }
    affinity(spec, &path_of_spec.child("affinity"), &mut warnings);
    warnings
}

fn scheduling(spec: &PodSpec, path: &Path, warnings: &mut Vec<String>) {
    for key in spec.node_selector.iter().flat_map(|selector| selector.keys()) {
        if let Some(advice) = old_label(key) {
            warnings.push(format!("{}: {advice}", path.child("nodeSelector").key(key)));
        }
    }
    let affinity = spec.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref());
    if let Some(affinity) = affinity {
        let path = path.child("affinity").child("nodeAffinity");
        let required = affinity.required_during_scheduling_ignored_during_execution.as_ref();
        let at = path.child("requiredDuringSchedulingIgnoredDuringExecution").child("nodeSelectorTerms");
        for (i, term) in required.into_iter().flat_map(|required| &required.node_selector_terms).enumerate() {
            node_selector_term(term, &at.index(i), warnings);
        }
        let at = path.child("preferredDuringSchedulingIgnoredDuringExecution");
        for (i, term) in list(&affinity.preferred_during_scheduling_ignored_during_execution).iter().enumerate() {
            node_selector_term(&term.preference, &at.index(i).child("preference"), warnings);
        }
    }
    for (i, constraint) in list(&spec.topology_spread_constraints).iter().enumerate() {
        let path = path.child("topologySpreadConstraints").index(i);
        if let Some(advice) = old_label(&constraint.topology_key) {
            warnings.push(format!("{}: {} is {advice}", path.child("topologyKey"), constraint.topology_key));
        }
        if constraint.label_selector.is_none() {
            warnings.push(format!("{}: a null labelSelector results in matching no pod", path.child("labelSelector")));
        }
    }
}

/// Bytes have no parts.
fn fractions(amounts: Option<&Amounts>, path: &Path, warnings: &mut Vec<String>) {
    for name in ["memory", "ephemeral-storage"] {
        let Some(amount) = amounts.and_then(|amounts| amounts.get(name)) else { continue };
        if amount.0.parse::<Quantity>().is_ok_and(|amount| !amount.is_integer()) {
            let path = path.key(name);
            warnings.push(format!("{path}: fractional byte value {:?} is invalid, must be an integer", amount.0));
        }
    }
}

fn affinity(spec: &PodSpec, path: &Path, warnings: &mut Vec<String>) {
    let Some(affinity) = &spec.affinity else { return };
    let (near, far) = (affinity.pod_affinity.as_ref(), affinity.pod_anti_affinity.as_ref());
    let terms: [(&str, &[PodAffinityTerm], &[WeightedPodAffinityTerm]); 2] = [
        (
            "podAffinity",
            near.map_or(&[], |near| list(&near.required_during_scheduling_ignored_during_execution)),
            near.map_or(&[], |near| list(&near.preferred_during_scheduling_ignored_during_execution)),
        ),
        (
            "podAntiAffinity",
            far.map_or(&[], |far| list(&far.required_during_scheduling_ignored_during_execution)),
            far.map_or(&[], |far| list(&far.preferred_during_scheduling_ignored_during_execution)),
        ),
    ];
    for (field, required, preferred) in terms {
        let (at, preferred_at) = (
            path.child(field).child("requiredDuringSchedulingIgnoredDuringExecution"),
            path.child(field).child("preferredDuringSchedulingIgnoredDuringExecution"),
        );
        for (i, _) in required.iter().enumerate().filter(|(_, term)| term.label_selector.is_none()) {
            let path = at.index(i).child("labelSelector");
            warnings.push(format!("{path}: a null labelSelector results in matching no pod"));
        }
        for (i, _) in preferred.iter().enumerate().filter(|(_, term)| term.pod_affinity_term.label_selector.is_none()) {
            let path = preferred_at.index(i).child("podAffinityTerm").child("labelSelector");
            warnings.push(format!("{path}: a null labelSelector results in matching no pod"));
        }
    }
}
