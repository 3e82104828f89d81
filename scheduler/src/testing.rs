//! Pods and nodes for the plugins' tables, written as a person would write them.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::framework::{NodeInfo, PodInfo, Rejection};

/// A pod with this spec, and a container if it has none.
pub fn pod(mut spec: Value) -> PodInfo {
    if spec.get("containers").is_none() {
        spec["containers"] = json!([{ "name": "web" }]);
    }
    let name = spec["name"].as_str().unwrap_or("web").to_owned();
    let metadata = json!({ "namespace": "shop", "name": name, "uid": name });
    PodInfo::new(Arc::new(serde_json::from_value(json!({ "metadata": metadata, "spec": spec })).unwrap()))
}

/// A pod that asks for this.
pub fn asking(requests: Value) -> PodInfo {
    pod(json!({ "containers": [{ "name": "web", "resources": { "requests": requests } }] }))
}

/// A node.
pub fn node(name: &str, labels: Value, spec: Value, allocatable: Value) -> NodeInfo {
    let node = json!({
        "metadata": { "name": name, "labels": labels },
        "spec": spec,
        "status": { "allocatable": allocatable },
    });
    NodeInfo::new(Arc::new(serde_json::from_value(node).unwrap()))
}

/// A node of 4 CPUs, 8 GiB and 110 pods.
pub fn plain(name: &str) -> NodeInfo {
    node(name, json!({}), json!({}), json!({ "cpu": "4", "memory": "8Gi", "pods": "110" }))
}

/// What a verdict says: the reasons, with `!` if removing pods would not help.
pub fn said(verdict: Result<(), Rejection>) -> String {
    match verdict {
        Ok(()) => "fits".into(),
        Err(rejection) if rejection.resolvable => rejection.message(),
        Err(rejection) => format!("{}!", rejection.message()),
    }
}

/// A pod with labels.
pub fn labelled(namespace: &str, name: &str, labels: Value, mut spec: Value) -> PodInfo {
    if spec.get("containers").is_none() {
        spec["containers"] = json!([{ "name": "web" }]);
    }
    let metadata = json!({ "namespace": namespace, "name": name, "uid": name, "labels": labels });
    PodInfo::new(object(json!({ "metadata": metadata, "spec": spec })))
}

/// Any object.
pub fn object<K: serde::de::DeserializeOwned>(value: Value) -> Arc<K> {
    Arc::new(serde_json::from_value(value).unwrap())
}
