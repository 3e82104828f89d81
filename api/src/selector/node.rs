//! Choosing nodes, as `nodeSelector` and `affinity.nodeAffinity` do. Source: `k8s.io/component-helpers/scheduling/corev1/
//! nodeaffinity`.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Node, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, PodSpec};

use super::label::{Operator, Requirement};

/// The only field that terms may name.
pub const NAME_FIELD: &str = "metadata.name";

/// A pod of this kind may run on the node as far as its `nodeSelector` and its required node affinity go.
pub fn allows(spec: &PodSpec, node: &Node) -> bool {
    let labels = node.metadata.labels.as_ref();
    let has = |(key, value): (&String, &String)| labels.and_then(|labels| labels.get(key)) == Some(value);
    let affinity = spec.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref());
    let required = affinity.and_then(|affinity| affinity.required_during_scheduling_ignored_during_execution.as_ref());
    spec.node_selector.iter().flatten().all(has) && required.is_none_or(|selector| matches(selector, node))
}

/// Any of the selector's terms matches.
pub fn matches(selector: &NodeSelector, node: &Node) -> bool {
    selector.node_selector_terms.iter().any(|term| matches_term(term, node))
}

/// All that the term says is true of the node; nothing matches an empty or malformed term.
fn matches_term(term: &NodeSelectorTerm, node: &Node) -> bool {
    let name = node.metadata.name.clone().unwrap_or_default();
    let fields = BTreeMap::from([(NAME_FIELD.to_owned(), name)]);
    let (mut expressions, mut named) = (term.match_expressions.iter().flatten(), term.match_fields.iter().flatten());
    let is_empty = term.match_expressions.iter().flatten().chain(term.match_fields.iter().flatten()).next().is_none();
    !is_empty
        && expressions.all(|requirement| is_met(requirement, node.metadata.labels.as_ref()))
        && named.all(|requirement| is_met(requirement, Some(&fields)))
}

fn is_met(requirement: &NodeSelectorRequirement, labels: Option<&BTreeMap<String, String>>) -> bool {
    let operator = match requirement.operator.as_str() {
        "In" => Operator::In,
        "NotIn" => Operator::NotIn,
        "Exists" => Operator::Exists,
        "DoesNotExist" => Operator::DoesNotExist,
        "Gt" => Operator::GreaterThan,
        "Lt" => Operator::LessThan,
        _ => return false,
    };
    let values = requirement.values.clone().unwrap_or_default();
    Requirement::new(&requirement.key, operator, values).is_ok_and(|requirement| requirement.matches(labels))
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
