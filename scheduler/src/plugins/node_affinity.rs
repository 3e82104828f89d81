//! `nodeSelector` and `affinity.nodeAffinity`.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{Node, NodeSelectorTerm};
use kubelab_api::selector::label::{Operator, Requirement};

use crate::framework::{
    ClusterEvent, CycleState, Filter, NodeInfo, Plugin, PodInfo, PreFilter, PreFiltered, PreScore, Rejection, Score,
    Snapshot, Verdict, normalize,
};

/// Upstream: `NodeAffinity`.
pub struct NodeAffinity;

const NO_MATCH: &str = "node(s) didn't match Pod's node affinity/selector";
const CONFLICT: &str = "pod affinity terms conflict";
/// The only field that terms may name.
const NAME_FIELD: &str = "metadata.name";

/// What the pod requires, read once a cycle.
struct Required {
    labels: BTreeMap<String, String>,
    /// Any one of them; unset if there is no affinity.
    terms: Option<Vec<Term>>,
}

/// What the pod prefers, with weights.
struct Preferred(Vec<(Term, i64)>);

/// All of these; nothing matches an empty or malformed term.
struct Term {
    labels: Vec<Requirement>,
    fields: Vec<Requirement>,
    well_formed: bool,
}

impl Term {
    fn new(term: &NodeSelectorTerm) -> Self {
        let (mut labels, mut fields) = (Vec::new(), Vec::new());
        let mut well_formed = true;
        for (expressions, into) in [(&term.match_expressions, &mut labels), (&term.match_fields, &mut fields)] {
            for expression in expressions.iter().flatten() {
                let operator = operator(&expression.operator);
                let values = expression.values.clone().unwrap_or_default();
                match operator.and_then(|operator| Requirement::new(&expression.key, operator, values).ok()) {
                    Some(requirement) => into.push(requirement),
                    None => well_formed = false,
                }
            }
        }
        well_formed &= !(labels.is_empty() && fields.is_empty());
        Self { labels, fields, well_formed }
    }

    fn matches(&self, name: &str, labels: Option<&BTreeMap<String, String>>) -> bool {
        let field = || BTreeMap::from([(NAME_FIELD.to_owned(), name.to_owned())]);
        self.well_formed
            && self.labels.iter().all(|requirement| requirement.matches(labels))
            && (self.fields.is_empty() || {
                let field = field();
                self.fields.iter().all(|requirement| requirement.matches(Some(&field)))
            })
    }

    /// The names of the only nodes that can match, if the term names them.
    fn names(&self) -> Option<BTreeSet<String>> {
        let mut names: Option<BTreeSet<String>> = None;
        let naming =
            |requirement: &&Requirement| requirement.key() == NAME_FIELD && requirement.operator() == Operator::In;
        for requirement in self.fields.iter().filter(naming) {
            let these: BTreeSet<String> = requirement.values().iter().cloned().collect();
            names = Some(match names {
                Some(before) => before.intersection(&these).cloned().collect(),
                None => these,
            });
        }
        names
    }
}

fn operator(name: &str) -> Option<Operator> {
    Some(match name {
        "In" => Operator::In,
        "NotIn" => Operator::NotIn,
        "Exists" => Operator::Exists,
        "DoesNotExist" => Operator::DoesNotExist,
        "Gt" => Operator::GreaterThan,
        "Lt" => Operator::LessThan,
        _ => return None,
    })
}

impl Required {
    /// Unset if the pod requires nothing.
    fn of(pod: &PodInfo) -> Option<Self> {
        let spec = pod.spec()?;
        let labels = spec.node_selector.clone().unwrap_or_default();
        let affinity = spec.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref());
        let required =
            affinity.and_then(|affinity| affinity.required_during_scheduling_ignored_during_execution.as_ref());
        let terms = required.map(|selector| selector.node_selector_terms.iter().map(Term::new).collect::<Vec<_>>());
        (!labels.is_empty() || terms.is_some()).then_some(Self { labels, terms })
    }

    fn matches(&self, name: &str, labels: Option<&BTreeMap<String, String>>) -> bool {
        let has = |(key, value): (&String, &String)| labels.and_then(|labels| labels.get(key)) == Some(value);
        self.labels.iter().all(has)
            && self.terms.as_ref().is_none_or(|terms| terms.iter().any(|term| term.matches(name, labels)))
    }

    fn matches_node(&self, node: &Node) -> bool {
        self.matches(node.metadata.name.as_deref().unwrap_or_default(), node.metadata.labels.as_ref())
    }
}

impl Plugin for NodeAffinity {
    fn name(&self) -> &'static str {
        "NodeAffinity"
    }

    fn wakes(&self, pod: &PodInfo, event: &ClusterEvent) -> bool {
        let matches = |node: &Node| Required::of(pod).is_none_or(|required| required.matches_node(node));
        match event {
            ClusterEvent::NodeAdded(node) => matches(node),
            ClusterEvent::NodeUpdated { old, new } => !matches(old) && matches(new),
            ClusterEvent::PodAssigned(_) | ClusterEvent::PodRemoved(_) => false,
        }
    }
}

impl PreFilter for NodeAffinity {
    /// Where every term names its nodes, as a DaemonSet's pods do, no other node is looked at.
    fn pre_filter(&self, state: &mut CycleState, pod: &PodInfo, _: &Snapshot) -> Result<PreFiltered, Rejection> {
        let Some(required) = Required::of(pod) else { return Ok(PreFiltered::Skip) };
        let names: Option<Vec<_>> = required.terms.as_ref().and_then(|terms| terms.iter().map(Term::names).collect());
        state.put(required);
        match names.filter(|names| !names.is_empty()) {
            None => Ok(PreFiltered::All),
            Some(names) => {
                let names: BTreeSet<String> = names.into_iter().flatten().collect();
                if names.is_empty() {
                    return Err(Rejection::unresolvable(self.name(), CONFLICT));
                }
                Ok(PreFiltered::Only(names))
            }
        }
    }
}

impl Filter for NodeAffinity {
    fn filter(&self, state: &CycleState, _: &PodInfo, node: &NodeInfo) -> Verdict {
        match state.get::<Required>() {
            Some(required) if !required.matches(node.name(), node.labels()) => {
                Err(Rejection::unresolvable(self.name(), NO_MATCH))
            }
            _ => Ok(()),
        }
    }
}

impl PreScore for NodeAffinity {
    fn pre_score(&self, state: &mut CycleState, pod: &PodInfo, _: &[&NodeInfo]) -> bool {
        let affinity = pod.spec().and_then(|spec| spec.affinity.as_ref()?.node_affinity.as_ref());
        let preferred =
            affinity.and_then(|affinity| affinity.preferred_during_scheduling_ignored_during_execution.as_ref());
        let preferred: Vec<_> = preferred
            .into_iter()
            .flatten()
            .filter(|term| term.weight != 0)
            .map(|term| (Term::new(&term.preference), i64::from(term.weight)))
            .collect();
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

    fn normalize(&self, scores: &mut [i64]) {
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
        match NodeAffinity.pre_filter(&mut state, &pod, &Snapshot::default()) {
            Err(rejection) => said(Err(rejection)),
            Ok(PreFiltered::Skip) => "skip".into(),
            Ok(PreFiltered::Only(names)) if !names.contains(node.name()) => format!("only {names:?}"),
            Ok(_) => said(NodeAffinity.filter(&state, &pod, node)),
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
        assert!(NodeAffinity.pre_score(&mut state, &pod, &[]));
        let mut scores = nodes.map(|node| NodeAffinity.score(&state, &pod, &node));
        NodeAffinity.normalize(&mut scores);
        assert_eq!(scores, [25, 100, 0]);
    }
}
