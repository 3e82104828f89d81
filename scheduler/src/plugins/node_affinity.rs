//! `nodeSelector` and `affinity.nodeAffinity`, and what the configuration adds to them for all pods.

use k8s_openapi::api::core::v1::{Node, NodeAffinity as Affinity, PreferredSchedulingTerm};
use kubelab_api::selector::node::{Required, Term, Terms};

use crate::framework::{
    ClusterEvent, CycleState, Events, Filter, NodeInfo, Plugin, PodInfo, PreFilter, PreFiltered, PreScore, Rejection,
    Score, Snapshot, Verdict, normalize,
};

/// Upstream: `NodeAffinity`.
#[derive(Clone, Debug, Default)]
pub struct NodeAffinity {
    added: Option<Terms>,
    added_preferred: Vec<(Term, i64)>,
}

const NO_MATCH: &str = "node(s) didn't match Pod's node affinity/selector";
const NO_MATCH_ADDED: &str = "node(s) didn't match scheduler-enforced node affinity";
const CONFLICT: &str = "pod affinity terms conflict";

/// What the pod prefers, with weights.
struct Preferred(Vec<(Term, i64)>);

fn weighted(terms: &[PreferredSchedulingTerm]) -> impl Iterator<Item = (Term, i64)> {
    let counts = terms.iter().filter(|term| term.weight != 0);
    counts.map(|term| (Term::new(&term.preference), i64::from(term.weight)))
}

impl NodeAffinity {
    /// With this affinity for all pods besides their own. Upstream: `addedAffinity`.
    pub fn with_added(affinity: &Affinity) -> Self {
        let preferred = affinity.preferred_during_scheduling_ignored_during_execution.as_deref();
        Self {
            added: affinity.required_during_scheduling_ignored_during_execution.as_ref().map(Terms::new),
            added_preferred: weighted(preferred.unwrap_or_default()).collect(),
        }
    }

    fn added_matches_node(&self, node: &Node) -> bool {
        let name = node.metadata.name.as_deref().unwrap_or_default();
        self.added.as_ref().is_none_or(|added| added.matches(name, node.metadata.labels.as_ref()))
    }
}

impl Plugin for NodeAffinity {
    fn name(&self) -> &'static str {
        "NodeAffinity"
    }

    fn events(&self) -> Events {
        Events::NODE_ADDED | Events::NODE_LABELS
    }

    fn wakes(&self, pod: &PodInfo, event: &ClusterEvent) -> bool {
        let required = pod.spec().and_then(Required::of);
        let matches = |node: &Node| {
            required.as_ref().is_none_or(|required| required.matches_node(node)) && self.added_matches_node(node)
        };
        match event {
            ClusterEvent::NodeAdded(node) => matches(node),
            ClusterEvent::NodeUpdated { old, new } => !matches(old) && matches(new),
            _ => true,
        }
    }
}

impl PreFilter for NodeAffinity {
    /// Where every term names its nodes, as a DaemonSet's pods do, no other node is looked at.
    fn pre_filter(&self, state: &mut CycleState, pod: &PodInfo, _: &Snapshot) -> Result<PreFiltered, Rejection> {
        let Some(required) = pod.spec().and_then(Required::of) else {
            return Ok(if self.added.is_none() { PreFiltered::Skip } else { PreFiltered::All });
        };
        let names = required.names();
        state.put(required);
        match names {
            None => Ok(PreFiltered::All),
            Some(names) if names.is_empty() => Err(Rejection::unresolvable(self.name(), CONFLICT)),
            Some(names) => Ok(PreFiltered::Only(names)),
        }
    }
}

impl Filter for NodeAffinity {
    fn filter(&self, state: &CycleState, _: &PodInfo, node: &NodeInfo) -> Verdict {
        if self.added.as_ref().is_some_and(|added| !added.matches(node.name(), node.labels())) {
            return Err(Rejection::unresolvable(self.name(), NO_MATCH_ADDED));
        }
        match state.get::<Required>() {
            Some(required) if !required.matches(node.name(), node.labels()) => {
                Err(Rejection::unresolvable(self.name(), NO_MATCH))
            }
            _ => Ok(()),
        }
    }
}

impl PreScore for NodeAffinity {
    fn pre_score(&self, state: &mut CycleState, pod: &PodInfo, _: &[&NodeInfo], _: &Snapshot) -> bool {
        let affinity = pod.spec().and_then(|spec| spec.affinity.as_ref()?.node_affinity.as_ref());
        let preferred =
            affinity.and_then(|affinity| affinity.preferred_during_scheduling_ignored_during_execution.as_deref());
        let preferred: Vec<_> = weighted(preferred.unwrap_or_default()).chain(self.added_preferred.clone()).collect();
        let any = !preferred.is_empty();
        state.put(Preferred(preferred));
        any
    }
}

impl Score for NodeAffinity {
    /// The weights of the terms that match.
    fn score(&self, state: &CycleState, _: &PodInfo, node: &NodeInfo) -> i64 {
        let preferred = state.get::<Preferred>().map_or(&[][..], |preferred| &preferred.0);
        let matching = preferred.iter().filter(|(term, _)| term.matches(node.name(), node.labels()));
        matching.map(|(_, weight)| weight).sum()
    }

    fn normalize(&self, _: &CycleState, _: &[&NodeInfo], scores: &mut [i64]) {
        normalize(scores, false);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::testing::{node, pod, said};

    fn requiring(terms: Value) -> Value {
        json!({ "affinity": { "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": { "nodeSelectorTerms": terms },
        } } })
    }

    fn expression(key: &str, operator: &str, values: &[&str]) -> Value {
        json!({ "matchExpressions": [{ "key": key, "operator": operator, "values": values }] })
    }

    fn filtered(spec: Value, node: &NodeInfo) -> String {
        let (pod, mut state) = (pod(spec), CycleState::default());
        match NodeAffinity::default().pre_filter(&mut state, &pod, &Snapshot::default()) {
            Err(rejection) => said(Err(rejection)),
            Ok(PreFiltered::Skip) => "skip".into(),
            Ok(PreFiltered::Only(names)) if !names.contains(node.name()) => format!("only {names:?}"),
            Ok(_) => said(NodeAffinity::default().filter(&state, &pod, node)),
        }
    }

    #[test]
    fn selectors_and_terms_decide() {
        let node = node("node-1", json!({ "zone": "a", "cores": "8" }), json!({}), json!({}));
        let no = format!("{NO_MATCH}!");
        for (spec, expected) in [
            (json!({}), "skip"),
            (json!({ "nodeSelector": { "zone": "a" } }), "fits"),
            (json!({ "nodeSelector": { "zone": "b" } }), &no),
            (requiring(json!([expression("zone", "In", &["a", "b"])])), "fits"),
            (requiring(json!([expression("zone", "NotIn", &["a"])])), &no),
            (requiring(json!([expression("disk", "NotIn", &["ssd"])])), "fits"),
            (requiring(json!([expression("disk", "Exists", &[])])), &no),
            (requiring(json!([expression("disk", "DoesNotExist", &[])])), "fits"),
            (requiring(json!([expression("cores", "Gt", &["4"])])), "fits"),
            (requiring(json!([expression("cores", "Lt", &["4"])])), &no),
            (requiring(json!([expression("zone", "In", &["b"]), expression("cores", "Exists", &[])])), "fits"),
            (requiring(json!([{}])), &no),
            (requiring(json!([])), &no),
            (requiring(json!([expression("zone", "Like", &["a"])])), &no),
        ] {
            assert_eq!(filtered(spec.clone(), &node), expected, "{spec}");
        }
    }

    #[test]
    fn terms_may_name_nodes() {
        let named =
            |names: &[&str]| json!({ "matchFields": [{ "key": "metadata.name", "operator": "In", "values": names }] });
        let both = json!({ "matchFields": [
            { "key": "metadata.name", "operator": "In", "values": ["node-1"] },
            { "key": "metadata.name", "operator": "In", "values": ["node-2"] },
        ] });
        let node = node("node-1", json!({}), json!({}), json!({}));
        for (terms, expected) in [
            (json!([named(&["node-1"])]), "fits".to_owned()),
            (json!([named(&["node-2"]), named(&["node-3"])]), r#"only {"node-2", "node-3"}"#.to_owned()),
            (json!([both]), format!("{CONFLICT}!")),
            (json!([named(&["node-2"]), expression("zone", "DoesNotExist", &[])]), "fits".to_owned()),
        ] {
            assert_eq!(filtered(requiring(terms.clone()), &node), expected, "{terms}");
        }
    }

    #[test]
    fn preferred_terms_add_their_weights() {
        let preferring = json!({ "affinity": { "nodeAffinity": {
            "preferredDuringSchedulingIgnoredDuringExecution": [
                { "weight": 10, "preference": expression("zone", "In", &["a"]) },
                { "weight": 30, "preference": expression("disk", "In", &["ssd"]) },
            ],
        } } });
        let nodes = [json!({ "zone": "a" }), json!({ "zone": "a", "disk": "ssd" }), json!({})]
            .map(|labels| node("n", labels, json!({}), json!({})));
        let (pod, mut state) = (pod(preferring), CycleState::default());
        assert!(NodeAffinity::default().pre_score(&mut state, &pod, &[], &Snapshot::default()));
        let mut scores = nodes.map(|node| NodeAffinity::default().score(&state, &pod, &node));
        NodeAffinity::default().normalize(&state, &[], &mut scores);
        assert_eq!(scores, [25, 100, 0]);
    }

    #[test]
    fn the_configuration_may_add_to_all_pods() {
        let added: k8s_openapi::api::core::v1::NodeAffinity = serde_json::from_value(json!({
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [expression("zone", "In", &["a"])],
            },
            "preferredDuringSchedulingIgnoredDuringExecution": [
                { "weight": 5, "preference": expression("disk", "In", &["ssd"]) },
            ],
        }))
        .unwrap();
        let plugin = NodeAffinity::with_added(&added);
        let (pod, mut state) = (pod(json!({ "nodeSelector": { "disk": "ssd" } })), CycleState::default());
        assert_eq!(plugin.pre_filter(&mut state, &pod, &Snapshot::default()), Ok(PreFiltered::All));
        for (labels, expected) in [
            (json!({ "zone": "a", "disk": "ssd" }), "fits".to_owned()),
            (json!({ "zone": "a" }), format!("{NO_MATCH}!")),
            (json!({ "zone": "b", "disk": "ssd" }), format!("{NO_MATCH_ADDED}!")),
        ] {
            let node = node("n", labels.clone(), json!({}), json!({}));
            assert_eq!(said(plugin.filter(&state, &pod, &node)), expected, "{labels}");
        }
        assert!(plugin.pre_score(&mut state, &pod, &[], &Snapshot::default()));
        let ssd = node("n", json!({ "disk": "ssd" }), json!({}), json!({}));
        assert_eq!(plugin.score(&state, &pod, &ssd), 5);
    }
}
