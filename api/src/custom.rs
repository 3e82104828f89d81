//! The resources that a CustomResourceDefinition brings. Source: `customresource_discovery_controller.go`.

use std::cmp::Reverse;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, CustomResourceDefinitionVersion,
};

use crate::{
    Resource,
    resource::{Text, Verbs},
};

/// Where definitions are stored.
pub const TOPIC: &str = "apiextensions.k8s.io/customresourcedefinitions";

/// A condition of a definition is true.
pub fn has_condition(definition: &CustomResourceDefinition, name: &str) -> bool {
    let conditions = definition.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == name && condition.status == "True")
}

/// The resource in each version that is served, the preferred version first; none before its names are accepted.
pub fn resources(definition: &CustomResourceDefinition) -> Vec<Resource> {
    if !has_condition(definition, "Established") && !has_condition(definition, "NamesAccepted") {
        return Vec::new();
    }
    let spec = &definition.spec;
    let accepted = definition.status.as_ref().and_then(|status| status.accepted_names.as_ref());
    let names = accepted.unwrap_or(&spec.names);
    let texts = |list: &Option<Vec<String>>| list.iter().flatten().cloned().map(Text::Owned).collect();
    let mut versions: Vec<_> = spec.versions.iter().filter(|version| version.served).collect();
    versions.sort_by_key(|version| order(&version.name));
    let resource = |version: &&CustomResourceDefinitionVersion| {
        let parts = version.subresources.as_ref();
        let scale = parts.and_then(|parts| parts.scale.as_ref()).map(|_| Text::Borrowed("scale"));
        let status = parts.and_then(|parts| parts.status.as_ref()).map(|_| Text::Borrowed("status"));
        Resource {
            group: spec.group.clone().into(),
            version: version.name.clone().into(),
            kind: spec.names.kind.clone().into(),
            plural: spec.names.plural.clone().into(),
            singular: names.singular.clone().unwrap_or_default().into(),
            list_kind: spec.names.list_kind.clone().unwrap_or_default().into(),
            short_names: texts(&names.short_names),
            categories: texts(&names.categories),
            namespaced: spec.scope == "Namespaced",
            verbs: Verbs::All,
            subresources: status.into_iter().chain(scale).collect(),
        }
    };
    versions.iter().map(resource).collect()
}

/// How versions are ordered, the best first: v2, v1, v1beta2, v1beta1, v1alpha1, then all others by name.
/// Source: `k8s.io/apimachinery/pkg/version`, `CompareKubeAwareVersionStrings`.
pub fn order(version: &str) -> (Reverse<(u8, u64, u64)>, String) {
    let parse = || {
        let rest = version.strip_prefix('v')?;
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (major, rest) = rest.split_at(digits);
        let number = |text: &str| if text.starts_with('0') { None } else { text.parse::<u64>().ok() };
        let major = number(major)?;
        let stage = |name: &str, rank: u8| Some((rank, major, number(rest.strip_prefix(name)?)?));
        if rest.is_empty() { Some((3, major, 0)) } else { stage("beta", 2).or_else(|| stage("alpha", 1)) }
    };
    match parse() {
        Some(rank) => (Reverse(rank), String::new()),
        None => (Reverse((0, 0, 0)), version.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn versions_are_ordered_as_kubernetes_orders_them() {
        let mut versions = ["foo10", "v1alpha1", "v10", "v3beta1", "v1", "v2", "foo1", "v11beta2", "v12alpha1", "v01"];
        versions.sort_by_key(|version| order(version));
        assert_eq!(
            versions,
            ["v10", "v2", "v1", "v11beta2", "v3beta1", "v12alpha1", "v1alpha1", "foo1", "foo10", "v01"]
        );
    }

    fn definition(conditions: Value) -> CustomResourceDefinition {
        serde_json::from_value(json!({
            "metadata": {"name": "foos.example.com"},
            "spec": {
                "group": "example.com", "scope": "Namespaced",
                "names": {"plural": "foos", "singular": "foo", "kind": "Foo", "listKind": "FooSet", "shortNames": ["f"]},
                "versions": [
                    {"name": "v1beta1", "served": true, "storage": false},
                    {"name": "v1", "served": true, "storage": true, "subresources": {
                        "status": {}, "scale": {"specReplicasPath": ".spec.r", "statusReplicasPath": ".status.r"}}},
                    {"name": "v1alpha1", "served": false, "storage": false},
                ],
            },
            "status": {"conditions": conditions, "acceptedNames": {"plural": "foos", "kind": "Foo", "singular": "foo"}},
        }))
        .unwrap()
    }

    #[test]
    fn a_definition_brings_a_resource_in_each_served_version() {
        assert_eq!(resources(&definition(json!([]))), []);
        let found = resources(&definition(json!([{"type": "Established", "status": "True"}])));
        let versions: Vec<&str> = found.iter().map(|resource| &*resource.version).collect();
        assert_eq!(versions, ["v1", "v1beta1"]);
        assert_eq!(found[0].subresources, ["status", "scale"]);
        assert_eq!(found[0].list_kind(), "FooSet");
        // A short name that was not accepted is another resource's.
        assert!(found[0].short_names.is_empty());
    }
}
