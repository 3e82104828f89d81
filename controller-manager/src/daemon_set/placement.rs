//! On which nodes a DaemonSet runs, and how its pods say so. Source: `NodeShouldRunDaemonPod` in
//! `pkg/controller/daemon/daemon_controller.go` and `pkg/controller/daemon/util/daemonset_util.go` in Kubernetes.

use k8s_openapi::api::{
    apps::v1::DaemonSet,
    core::v1::{
        Node, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, Pod, PodSpec, PodTemplateSpec, Toleration,
    },
};
use kubelab_api::{
    meta::annotation,
    pod::{any_tolerates, node_name},
    selector::node::{self, NAME_FIELD},
    well_known::{
        annotation::TEMPLATE_GENERATION,
        label::{CONTROLLER_REVISION_HASH, POD_TEMPLATE_GENERATION},
        taint::{
            DISK_PRESSURE, MEMORY_PRESSURE, NETWORK_UNAVAILABLE, NO_EXECUTE, NO_SCHEDULE, NOT_READY, PID_PRESSURE,
            UNREACHABLE, UNSCHEDULABLE,
        },
    },
};

/// What a set has to do with a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Placement {
    /// A pod of the set is to run there.
    pub run: bool,
    /// One that runs there already may stay.
    pub stay: bool,
}

/// What a set has to do with a node.
pub fn placement(set: &DaemonSet, node: &Node) -> Placement {
    let no_spec = PodSpec::default();
    let spec = set.spec.template.spec.as_ref().unwrap_or(&no_spec);
    let elsewhere = spec.node_name.as_deref().is_some_and(|name| !name.is_empty() && Some(name) != of(node));
    if elsewhere || !node::allows(spec, node) {
        return Placement::default();
    }
    let tolerations = tolerations(spec);
    let taints = || node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
    let is_kept_out_by = |effects: &[&str]| {
        taints().any(|taint| effects.contains(&taint.effect.as_str()) && !any_tolerates(&tolerations, taint))
    };
    Placement { run: !is_kept_out_by(&[NO_SCHEDULE, NO_EXECUTE]), stay: !is_kept_out_by(&[NO_EXECUTE]) }
}

fn of(node: &Node) -> Option<&str> {
    node.metadata.name.as_deref()
}

/// What the pods tolerate: what their template says, and whatever is wrong with a node, since it is there that they are
/// needed. Source: `AddOrUpdateDaemonPodTolerations`.
fn tolerations(spec: &PodSpec) -> Vec<Toleration> {
    let mut tolerations = spec.tolerations.clone().unwrap_or_default();
    let network = (spec.host_network == Some(true)).then_some((NETWORK_UNAVAILABLE, NO_SCHEDULE));
    let added = [
        (NOT_READY, NO_EXECUTE),
        (UNREACHABLE, NO_EXECUTE),
        (DISK_PRESSURE, NO_SCHEDULE),
        (MEMORY_PRESSURE, NO_SCHEDULE),
        (PID_PRESSURE, NO_SCHEDULE),
        (UNSCHEDULABLE, NO_SCHEDULE),
    ];
    for (key, effect) in added.into_iter().chain(network) {
        let added = Toleration {
            key: Some(key.to_owned()),
            operator: Some("Exists".to_owned()),
            effect: Some(effect.to_owned()),
            ..Default::default()
        };
        let is_same = |other: &&mut Toleration| {
            let plain = Toleration { toleration_seconds: None, ..Toleration::clone(other) };
            plain == added
        };
        match tolerations.iter_mut().find(is_same) {
            Some(same) => *same = added,
            None => tolerations.push(added),
        }
    }
    tolerations
}

/// The template of the pod for a node: the set's own, with the hash of its revision, the added tolerations, and an affinity
/// to that node alone.
pub fn template_for(set: &DaemonSet, hash: &str, node: &str) -> PodTemplateSpec {
    let mut template = set.spec.template.clone();
    let labels = template.metadata.get_or_insert_default().labels.get_or_insert_default();
    if let Some(generation) = generation(set) {
        labels.insert(POD_TEMPLATE_GENERATION.to_owned(), generation.to_string());
    }
    labels.insert(CONTROLLER_REVISION_HASH.to_owned(), hash.to_owned());

    let spec = template.spec.get_or_insert_default();
    spec.tolerations = Some(tolerations(spec));
    let name = NodeSelectorRequirement {
        key: NAME_FIELD.to_owned(),
        operator: "In".to_owned(),
        values: Some(vec![node.to_owned()]),
    };
    let term = NodeSelectorTerm { match_fields: Some(vec![name]), match_expressions: None };
    let affinity = spec.affinity.get_or_insert_default().node_affinity.get_or_insert_default();
    affinity.required_during_scheduling_ignored_during_execution =
        Some(NodeSelector { node_selector_terms: vec![term] });
    template
}

/// The node that a pod runs on or is meant for.
pub fn target(pod: &Pod) -> Option<&str> {
    node_name(pod).or_else(|| {
        let affinity = pod.spec.as_ref()?.affinity.as_ref()?.node_affinity.as_ref()?;
        let required = affinity.required_during_scheduling_ignored_during_execution.as_ref()?;
        let fields = required.node_selector_terms.iter().flat_map(|term| term.match_fields.iter().flatten());
        let mut names = fields.filter(|field| field.key == NAME_FIELD && field.operator == "In");
        match names.next()?.values.as_deref()? {
            [name] => Some(name),
            _ => None,
        }
    })
}

/// The pod is made of the set's present template.
pub fn is_updated(set: &DaemonSet, pod: &Pod, hash: &str) -> bool {
    let label = |name: &str| kubelab_api::meta::label(&pod.metadata, name);
    let same_generation = generation(set).is_some_and(|generation| {
        label(POD_TEMPLATE_GENERATION).and_then(|text| text.parse().ok()) == Some(generation)
    });
    same_generation || (!hash.is_empty() && label(CONTROLLER_REVISION_HASH) == Some(hash))
}

fn generation(set: &DaemonSet) -> Option<i64> {
    annotation(&set.metadata, TEMPLATE_GENERATION)?.parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::{Value, json};

    use super::*;

    fn set(spec: Value) -> DaemonSet {
        let mut spec = spec;
        spec["containers"] = json!([]);
        serde_json::from_value(json!({
            "metadata": {"name": "logs", "annotations": {TEMPLATE_GENERATION: "3"}},
            "spec": {"selector": {}, "template": {"metadata": {"labels": {"app": "logs"}}, "spec": spec}},
        }))
        .unwrap()
    }

    fn node(labels: Value, taints: Value) -> Node {
        let node = json!({"metadata": {"name": "node-1", "labels": labels}, "spec": {"taints": taints}});
        serde_json::from_value(node).unwrap()
    }

    #[test]
    fn a_set_runs_where_it_may() {
        let taint = |key: &str, effect: &str| json!([{"key": key, "effect": effect}]);
        let none = || json!([]);
        let affinity = json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [{"matchExpressions": [{"key": "disk", "operator": "Exists"}]}],
        }}}});
        for (why, spec, labels, taints, expected) in [
            ("everywhere", json!({}), json!({}), none(), (true, true)),
            ("by selector", json!({"nodeSelector": {"disk": "ssd"}}), json!({"disk": "ssd"}), none(), (true, true)),
            ("not by selector", json!({"nodeSelector": {"disk": "ssd"}}), json!({}), none(), (false, false)),
            ("by affinity", affinity.clone(), json!({"disk": "hdd"}), none(), (true, true)),
            ("not by affinity", affinity, json!({}), none(), (false, false)),
            ("by name", json!({"nodeName": "node-1"}), json!({}), none(), (true, true)),
            ("not by name", json!({"nodeName": "node-2"}), json!({}), none(), (false, false)),
            ("tainted", json!({}), json!({}), taint("gpu", "NoSchedule"), (false, true)),
            ("tainted softly", json!({}), json!({}), taint("gpu", "PreferNoSchedule"), (true, true)),
            ("driven out", json!({}), json!({}), taint("gpu", "NoExecute"), (false, false)),
            (
                "tolerated",
                json!({"tolerations": [{"key": "gpu", "operator": "Exists"}]}),
                json!({}),
                taint("gpu", "NoExecute"),
                (true, true),
            ),
            ("cordoned", json!({}), json!({}), taint(UNSCHEDULABLE, "NoSchedule"), (true, true)),
            ("unreachable", json!({}), json!({}), taint(UNREACHABLE, "NoExecute"), (true, true)),
            ("not ready", json!({}), json!({}), taint(NOT_READY, "NoSchedule"), (false, true)),
            ("no network", json!({}), json!({}), taint(NETWORK_UNAVAILABLE, "NoSchedule"), (false, true)),
            (
                "no network needed",
                json!({"hostNetwork": true}),
                json!({}),
                taint(NETWORK_UNAVAILABLE, "NoSchedule"),
                (true, true),
            ),
        ] {
            let placement = placement(&set(spec), &node(labels, taints));
            assert_eq!((placement.run, placement.stay), expected, "{why}");
        }
    }

    #[test]
    fn a_pod_is_meant_for_its_node() {
        let soft = json!([{"weight": 1, "preference": {"matchExpressions": [{"key": "a", "operator": "Exists"}]}}]);
        let set = set(json!({
            "tolerations": [
                {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5},
                {"key": "gpu", "operator": "Exists"},
            ],
            "affinity": {"nodeAffinity": {
                "preferredDuringSchedulingIgnoredDuringExecution": soft,
                "requiredDuringSchedulingIgnoredDuringExecution":
                    {"nodeSelectorTerms": [{"matchExpressions": [{"key": "a", "operator": "Exists"}]}]},
            }},
        }));
        let template = template_for(&set, "abc", "node-1");
        let labels = serde_json::to_value(&template.metadata.as_ref().unwrap().labels).unwrap();
        assert_eq!(labels, json!({"app": "logs", "controller-revision-hash": "abc", "pod-template-generation": "3"}));
        let spec = serde_json::to_value(template.spec.as_ref().unwrap()).unwrap();
        let affinity = json!({
            "preferredDuringSchedulingIgnoredDuringExecution": soft,
            "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
                {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["node-1"]}]},
            ]},
        });
        assert_eq!(spec["affinity"]["nodeAffinity"], affinity);
        let tolerations: Vec<_> = spec["tolerations"].as_array().unwrap().iter().collect();
        assert_eq!(tolerations.len(), 7);
        let forever = json!({"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute"});
        assert_eq!(*tolerations[0], forever, "the template's toleration of a while gives way");

        let pod = Pod { metadata: template.metadata.unwrap(), spec: template.spec, status: None };
        assert_eq!(target(&pod), Some("node-1"));
        assert!(is_updated(&set, &pod, "other") && is_updated(&set, &pod, "abc"));
        let mut bound = pod.clone();
        bound.spec.as_mut().unwrap().node_name = Some("node-2".to_owned());
        assert_eq!(target(&bound), Some("node-2"));
        let mut older = pod;
        older.metadata.labels.as_mut().unwrap().insert(POD_TEMPLATE_GENERATION.to_owned(), "2".to_owned());
        assert!(!is_updated(&set, &older, "other") && is_updated(&set, &older, "abc"));
        assert_eq!(target(&Pod::default()), None);
    }
}
