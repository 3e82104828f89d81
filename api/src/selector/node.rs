//! Choosing nodes, as `nodeSelector` and `affinity.nodeAffinity` do. Source: `k8s.io/component-helpers/scheduling/corev1/
//! nodeaffinity`.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{Node, NodeSelector, NodeSelectorTerm, PodSpec};

use super::label::{Operator, Requirement};

/// The only field that terms may name.
pub const NAME_FIELD: &str = "metadata.name";

/// A pod of this kind may run on the node as far as its `nodeSelector` and its required node affinity go.
pub fn allows(spec: &PodSpec, node: &Node) -> bool {
    Required::of(spec).is_none_or(|required| required.matches_node(node))
}

type Labels = BTreeMap<String, String>;

/// Any one of these terms; no node matches none.
#[derive(Clone, Debug)]
pub struct Terms(pub Vec<Term>);

impl Terms {
    /// Reads a selector.
    pub fn new(selector: &NodeSelector) -> Self {
        Self(selector.node_selector_terms.iter().map(Term::new).collect())
    }

    /// It means this node.
    pub fn matches(&self, name: &str, labels: Option<&Labels>) -> bool {
        self.0.iter().any(|term| term.matches(name, labels))
    }
}

/// What a pod requires of its node.
#[derive(Clone, Debug)]
pub struct Required {
    labels: Labels,
    /// Unset if there is no affinity.
    terms: Option<Terms>,
}

/// All of these; nothing matches an empty or malformed term.
#[derive(Clone, Debug)]
pub struct Term {
    labels: Vec<Requirement>,
    fields: Vec<Requirement>,
    well_formed: bool,
}

impl Term {
    /// Reads a term.
    pub fn new(term: &NodeSelectorTerm) -> Self {
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

    /// It means this node.
    pub fn matches(&self, name: &str, labels: Option<&Labels>) -> bool {
        let field = || BTreeMap::from([(NAME_FIELD.to_owned(), name.to_owned())]);
        self.well_formed
            && self.labels.iter().all(|requirement| requirement.matches(labels))
            && (self.fields.is_empty() || {
                let field = field();
                self.fields.iter().all(|requirement| requirement.matches(Some(&field)))
            })
    }

    /// The names of the only nodes that can match, if the term names them.
    pub fn names(&self) -> Option<BTreeSet<String>> {
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
    pub fn of(spec: &PodSpec) -> Option<Self> {
        let labels = spec.node_selector.clone().unwrap_or_default();
        let affinity = spec.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref());
        let required =
            affinity.and_then(|affinity| affinity.required_during_scheduling_ignored_during_execution.as_ref());
        let terms = required.map(Terms::new);
        (!labels.is_empty() || terms.is_some()).then_some(Self { labels, terms })
    }

    /// It means this node.
    pub fn matches(&self, name: &str, labels: Option<&Labels>) -> bool {
        let has = |(key, value): (&String, &String)| labels.and_then(|labels| labels.get(key)) == Some(value);
        self.labels.iter().all(has) && self.terms.as_ref().is_none_or(|terms| terms.matches(name, labels))
    }

    /// It means this node.
    pub fn matches_node(&self, node: &Node) -> bool {
        self.matches(node.metadata.name.as_deref().unwrap_or_default(), node.metadata.labels.as_ref())
    }

    /// The names of the only nodes that can match, if every term names them, as a DaemonSet's pods do.
    pub fn names(&self) -> Option<BTreeSet<String>> {
        let terms = self.terms.as_ref().filter(|terms| !terms.0.is_empty())?;
        let names: Option<Vec<_>> = terms.0.iter().map(Term::names).collect();
        Some(names?.into_iter().flatten().collect())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::{Value, json};

    use super::*;

    fn requiring(terms: Value) -> Value {
        json!({ "containers": [], "affinity": { "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": { "nodeSelectorTerms": terms },
        } } })
    }

    #[test]
    fn selectors_and_terms_decide() {
        let node = json!({"metadata": {"name": "node-1", "labels": {"zone": "a", "cores": "8"}}});
        let node: Node = serde_json::from_value(node).unwrap();
        let label =
            |key: &str, operator: &str, values: &[&str]| json!({"key": key, "operator": operator, "values": values});
        let of = |requirement: Value| requiring(json!([{ "matchExpressions": [requirement] }]));
        let named = |names: &[&str]| requiring(json!([{ "matchFields": [label("metadata.name", "In", names)] }]));
        for (spec, expected) in [
            (json!({"containers": []}), true),
            (json!({"containers": [], "nodeSelector": {"zone": "a"}}), true),
            (json!({"containers": [], "nodeSelector": {"zone": "a", "disk": "ssd"}}), false),
            (of(label("zone", "In", &["a", "b"])), true),
            (of(label("zone", "NotIn", &["a"])), false),
            (of(label("disk", "DoesNotExist", &[])), true),
            (of(label("cores", "Gt", &["4"])), true),
            (of(label("cores", "Lt", &["4"])), false),
            (of(label("zone", "Like", &["a"])), false),
            (named(&["node-1"]), true),
            (named(&["node-2"]), false),
            (requiring(json!([])), false),
            (requiring(json!([{}])), false),
            (requiring(json!([{}, { "matchExpressions": [label("zone", "Exists", &[])] }])), true),
        ] {
            let typed: PodSpec = serde_json::from_value(spec.clone()).unwrap();
            assert_eq!(allows(&typed, &node), expected, "{spec}");
        }
    }
}
