//! What other servers serve, among what is served here: discovery and OpenAPI.
//! Source: `pkg/apiserver/handler_apis.go`, `pkg/apiserver/handler_discovery.go` and `controllers/openapiv3` of
//! kube-aggregator.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use kubelab_api::Resource;
use serde_json::{Value, json};

use super::{View, priority, remote::Remote};

/// What one remote serves.
pub struct Documents {
    /// Its version's entry in the aggregated discovery document.
    discovery: Value,
    /// Where its OpenAPI v3 document is, if it has one.
    openapi: Option<String>,
    /// What all this was read from.
    pub sources: u64,
    /// What counts here of its OpenAPI v2 document, which is one for all groups of a server.
    pub swagger: Option<Arc<Value>>,
}

impl Documents {
    /// From the group's resource list and the index of OpenAPI documents.
    pub fn new(remote: &Remote, list: &Value, index: &Value, swagger: Option<Arc<Value>>) -> Self {
        let path = format!("apis/{}/{}", remote.group, remote.version);
        let url = index["paths"][&path]["serverRelativeURL"].as_str().map(str::to_owned);
        let openapi = url.filter(|url| url.starts_with("/openapi/v3/"));
        Self { discovery: version(remote, list), openapi, sources: sources(list, index), swagger }
    }
}

/// Tells documents apart from those of another time.
pub fn sources(list: &Value, index: &Value) -> u64 {
    let mut hasher = DefaultHasher::new();
    (list.to_string(), index.to_string()).hash(&mut hasher);
    hasher.finish()
}

/// A group's resource list in the form of the aggregated document.
/// Source: `endpoints/discovery/util.go` of `k8s.io/apiserver`.
fn version(remote: &Remote, list: &Value) -> Value {
    let text =
        |value: &Value, fallback: &str| value.as_str().filter(|text| !text.is_empty()).unwrap_or(fallback).to_owned();
    let kind = |entry: &Value| {
        json!({
            "group": text(&entry["group"], &remote.group),
            "version": text(&entry["version"], &remote.version),
            "kind": entry["kind"],
        })
    };
    let mut resources: Vec<Value> = Vec::new();
    for entry in list["resources"].as_array().into_iter().flatten() {
        let name = entry["name"].as_str().unwrap_or_default();
        if let Some((parent, part)) = name.split_once('/') {
            let part = json!({ "subresource": part, "responseKind": kind(entry), "verbs": entry["verbs"] });
            let parent = resources.iter_mut().find(|resource| resource["resource"] == parent);
            match parent.map(|parent| &mut parent["subresources"]) {
                Some(Value::Array(parts)) => parts.push(part),
                Some(parts) => *parts = json!([part]),
                None => {}
            }
            continue;
        }
        let mut resource = json!({
            "resource": name,
            "responseKind": kind(entry),
            "scope": if entry["namespaced"] == true { "Namespaced" } else { "Cluster" },
            "singularResource": text(&entry["singularName"], ""),
            "verbs": entry["verbs"],
        });
        for names in ["shortNames", "categories"] {
            if entry[names].is_array() {
                resource[names] = entry[names].clone();
            }
        }
        resources.push(resource);
    }
    json!({ "version": remote.version, "resources": resources, "freshness": "Current" })
}

impl Remote {
    /// Its version's entry in the aggregated document; stale where it does not answer.
    pub fn discovery(&self) -> Value {
        let known = self.documents.load();
        let mut entry =
            known.as_ref().map_or_else(|| json!({ "version": self.version }), |known| known.discovery.clone());
        if !self.is_available() {
            entry["freshness"] = "Stale".into();
        }
        entry
    }

    /// What counts here of its OpenAPI v2 document, and of which time it is.
    pub fn swagger(&self) -> Option<(u64, Arc<Value>)> {
        self.documents.load().as_ref().and_then(|known| Some((known.sources, known.swagger.clone()?)))
    }

    /// Where its OpenAPI v3 document is, if it has one.
    pub fn openapi(&self) -> Option<String> {
        self.documents.load().as_ref().and_then(|known| known.openapi.clone())
    }
}

/// A group with its versions, the preferred one first.
#[derive(Debug, PartialEq, Eq)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// Its versions.
    pub versions: Vec<String>,
    priority: i32,
}

/// The named groups that are served, here or elsewhere, in order.
pub fn groups(resources: &[Arc<Resource>], view: &View) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    let mut add = |name: &str, version: &str, priority: i32| match groups.iter_mut().find(|group| group.name == name) {
        Some(group) if group.versions.iter().any(|known| known == version) => {}
        Some(group) => group.versions.push(version.to_owned()),
        None => {
            let group = Group { name: name.to_owned(), versions: vec![version.to_owned()], priority };
            // The aggregator's own group comes first, whatever others claim.
            let at = groups.iter().skip(1).position(|other| other.priority < priority).map(|at| at + 1);
            groups.insert(at.unwrap_or(groups.len()), group);
        }
    };
    for resource in resources.iter().filter(|resource| !resource.group.is_empty()) {
        let known = priority::built_in(&resource.group, &resource.version);
        let own = if resource.group == "apiregistration.k8s.io" { i32::MAX } else { priority::CUSTOM.group };
        add(&resource.group, &resource.version, known.map_or(own, |known| known.group));
    }
    for remote in view.remotes() {
        add(&remote.group, &remote.version, remote.priority);
    }
    groups
}
