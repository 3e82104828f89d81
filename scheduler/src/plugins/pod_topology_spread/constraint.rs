//! A constraint with its selector read, and which nodes and pods count for it.

use std::{collections::BTreeMap, fmt::Write, sync::Arc};

use k8s_openapi::{
    api::core::v1::{Toleration, TopologySpreadConstraint},
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};
use kubelab_api::selector::{
    label::{Operator, Requirement, Selector},
    node::Required,
};

use super::super::taint_toleration;
use crate::framework::{Adjusted, NodeInfo, Objects, PodInfo, Snapshot};

/// What happens where a constraint cannot be kept.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// The pod waits.
    Must,
    /// Other nodes are better.
    Rather,
}

impl Wish {
    /// The constraint is of this kind.
    pub fn is(self, constraint: &TopologySpreadConstraint) -> bool {
        (constraint.when_unsatisfiable == "ScheduleAnyway") == (self == Self::Rather)
    }
}

/// A constraint.
#[derive(Clone, Debug)]
pub struct Constraint {
    /// Nodes with the same value of this label are one domain.
    pub key: Arc<str>,
    /// How uneven it may be.
    pub max_skew: i64,
    /// With fewer domains than this, the least is taken to be 0.
    pub min_domains: usize,
    /// The pods that count.
    pub selector: Selector,
    /// Nodes count only if the pod's node affinity lets it go there.
    honor_affinity: bool,
    /// Nodes count only if the pod tolerates their taints.
    honor_taints: bool,
}

impl Constraint {
    /// A pod's own constraint. Values of the pod's labels under `matchLabelKeys` are added to the selector (KEP-3243).
    pub fn of_pod(constraint: &TopologySpreadConstraint, pod: &PodInfo) -> Self {
        let selector = Selector::from_typed(constraint.label_selector.as_ref()).unwrap_or(Selector::Nothing);
        let keys = constraint.match_label_keys.iter().flatten();
        let same = keys.filter_map(|key| {
            let value = pod.labels()?.get(key)?;
            Requirement::new(key, Operator::In, vec![value.clone()]).ok()
        });
        let selector = match selector {
            Selector::All(requirements) => Selector::new(requirements.into_iter().chain(same).collect()),
            Selector::Nothing => Selector::Nothing,
        };
        Self::with_selector(constraint, selector)
    }

    /// A constraint on the pods that a selector means.
    pub fn with_selector(constraint: &TopologySpreadConstraint, selector: Selector) -> Self {
        Self {
            key: constraint.topology_key.as_str().into(),
            max_skew: i64::from(constraint.max_skew),
            min_domains: usize::try_from(constraint.min_domains.unwrap_or(1)).unwrap_or(1),
            selector,
            honor_affinity: constraint.node_affinity_policy.as_deref() != Some("Ignore"),
            honor_taints: constraint.node_taints_policy.as_deref() == Some("Honor"),
        }
    }

    /// The pod counts for a pod of this namespace.
    pub fn counts(&self, other: &PodInfo, namespace: &str) -> bool {
        other.namespace() == namespace && !other.is_terminating() && self.selector.matches(other.labels())
    }
}

/// Which nodes count for a pod's constraints.
pub struct Eligible {
    /// The labels that a node must have, if it must have all.
    keys: Vec<Arc<str>>,
    required: Option<Required>,
    tolerations: Vec<Toleration>,
    namespace: String,
    identity: String,
}

impl Eligible {
    /// For this pod.
    pub fn new(pod: &PodInfo, constraints: &[Constraint], all_keys: bool) -> Self {
        let keys: Vec<Arc<str>> =
            if all_keys { constraints.iter().map(|constraint| constraint.key.clone()).collect() } else { Vec::new() };
        let affinity = constraints.iter().any(|constraint| constraint.honor_affinity);
        let taints = constraints.iter().any(|constraint| constraint.honor_taints);
        let required = pod.spec().filter(|_| affinity).and_then(Required::of);
        let tolerations = if taints { pod.tolerations().to_vec() } else { Vec::new() };
        let namespace = pod.namespace().to_owned();
        let identity = format!("{namespace} {keys:?} {required:?} {tolerations:?}");
        Self { keys, required, tolerations, namespace, identity }
    }

    /// Nodes without one of these labels do not count.
    pub fn keys(&self) -> &[Arc<str>] {
        &self.keys
    }

    /// The node counts for this constraint.
    pub fn node(&self, constraint: &Constraint, node: &NodeInfo) -> bool {
        let labels = node.labels();
        self.keys.iter().all(|key| labels.is_some_and(|labels| labels.contains_key(&**key)))
            && (!constraint.honor_affinity
                || self.required.as_ref().is_none_or(|required| required.matches(node.name(), labels)))
            && (!constraint.honor_taints || !taint_toleration::any_keeps_away(node.taints(), &self.tolerations))
    }

    /// The pods that count, by domain; eligible nodes without such pods count too, with 0.
    pub fn tally(&self, constraint: &Constraint, snapshot: &Snapshot) -> Adjusted {
        let mut key = format!("spread {} {:?} {}", constraint.key, constraint.selector, self.identity);
        // Writing to a string cannot fail.
        let _ = write!(key, " {} {}", constraint.honor_affinity, constraint.honor_taints);
        Adjusted::new(snapshot.tally(&key, &|node, emit| {
            if self.node(constraint, node) {
                let counts = |other: &&Arc<PodInfo>| constraint.counts(other, &self.namespace);
                emit(&constraint.key, node.pods.iter().filter(counts).count() as i64);
            }
        }))
    }
}

/// The pods that are spread together where nobody has said: those that the pod's Services and its controller select.
/// Source: `helper.DefaultSelector`.
pub fn default_selector(pod: &PodInfo, objects: &Objects) -> Selector {
    let (namespace, labels) = (pod.namespace(), pod.labels());
    let mut wanted: BTreeMap<String, String> = BTreeMap::new();
    objects.services.each(|service| {
        let selector = service.spec.as_ref().and_then(|spec| spec.selector.as_ref());
        let Some(selector) = selector.filter(|selector| !selector.is_empty()) else { return };
        if service.metadata.namespace.as_deref() == Some(namespace) && Selector::from_labels(selector).matches(labels) {
            wanted.extend(selector.clone());
        }
    });
    let owners = pod.pod.metadata.owner_references.iter().flatten();
    let Some(owner) = owners.into_iter().find(|owner| owner.controller == Some(true)) else {
        return Selector::from_labels(&wanted);
    };
    let mut more = Selector::everything();
    let typed = |selector: &LabelSelector| Selector::from_typed(Some(selector)).unwrap_or_default();
    match (owner.api_version.as_str(), owner.kind.as_str()) {
        ("v1", "ReplicationController") => {
            let controller = objects.replication_controllers.get(namespace, &owner.name);
            wanted.extend(controller.and_then(|it| it.spec.as_ref()?.selector.clone()).unwrap_or_default());
        }
        ("apps/v1", "ReplicaSet") => {
            let controller = objects.replica_sets.get(namespace, &owner.name);
            more = controller.map(|it| typed(&it.spec.selector)).unwrap_or_default();
        }
        ("apps/v1", "StatefulSet") => {
            let controller = objects.stateful_sets.get(namespace, &owner.name);
            more = controller.map(|it| typed(&it.spec.selector)).unwrap_or_default();
        }
        _ => {}
    }
    match (Selector::from_labels(&wanted), more) {
        (Selector::All(wanted), Selector::All(more)) => Selector::new(wanted.into_iter().chain(more).collect()),
        _ => Selector::Nothing,
    }
}
