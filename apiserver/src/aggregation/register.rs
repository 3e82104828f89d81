//! An APIService for each group and version that is served here. Source: `controllers/autoregister` of kube-aggregator.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kubelab_api::Resource;
use kubelab_store::{Entry, Key, Precondition, State, Transaction, Write};
use serde_json::{Value, json};

use super::{
    TOPIC,
    priority::{self, Priority},
};
use crate::{
    bootstrap::{
        Object,
        seed::{finished, origin},
    },
    registry::scan,
};

/// Says that the apiserver looks after an APIService: `onstart` for built-in groups, `true` for those that come and go.
const MANAGED: &str = "kube-aggregator.kubernetes.io/automanaged";
const ON_START: &str = "onstart";
const ALWAYS: &str = "true";

/// What is to be written on this state; nothing when all is well. Built-in groups are looked after only at the start.
pub fn plan<'a>(
    state: &State,
    served: impl IntoIterator<Item = &'a std::sync::Arc<Resource>>,
    now: Timestamp,
    at_start: bool,
) -> Option<Transaction> {
    let wanted = wanted(served);
    let (mut preconditions, mut writes) = (Vec::new(), Vec::new());
    for (name, (group, version, priority)) in &wanted {
        let existing = state.get(&Key::new(TOPIC, name.as_str()));
        let built_in = priority::built_in(group, version).is_some();
        let object = object(name, group, version, *priority, built_in, now);
        if built_in && !at_start || existing.is_some_and(|entry| !managed(entry) || says(entry, &object)) {
            continue;
        }
        let key = Key::new(TOPIC, name.as_str());
        preconditions.push(match existing {
            Some(entry) => Precondition::Modified(key.clone(), entry.modified),
            None => Precondition::Absent(key.clone()),
        });
        let value = finished(&object, existing, now);
        let stamp = scan::stamp_place(&value);
        writes.push(Write::Put { key, value, stamp, index: None, expires_ms: None });
    }
    for (key, entry) in state.range(TOPIC, "", None) {
        if label(entry).as_deref() == Some(ALWAYS) && !wanted.contains_key(&*key.name) {
            preconditions.push(Precondition::Modified(key.clone(), entry.modified));
            writes.push(Write::Delete { key: key.clone() });
        }
    }
    (!writes.is_empty()).then(|| Transaction {
        preconditions,
        writes,
        origin: origin("update", "the groups that are served", now),
    })
}

fn wanted<'a>(
    served: impl IntoIterator<Item = &'a std::sync::Arc<Resource>>,
) -> BTreeMap<String, (String, String, Priority)> {
    let mut wanted = BTreeMap::new();
    for resource in served {
        // The aggregator's own group needs nobody to point to it.
        if resource.group == "apiregistration.k8s.io" {
            continue;
        }
        let name = format!("{}.{}", resource.version, resource.group);
        let priority = priority::built_in(&resource.group, &resource.version).unwrap_or(priority::CUSTOM);
        wanted.entry(name).or_insert((resource.group.to_string(), resource.version.to_string(), priority));
    }
    wanted
}

fn object(name: &str, group: &str, version: &str, priority: Priority, built_in: bool, now: Timestamp) -> Object {
    let mut spec = json!({
        "groupPriorityMinimum": priority.group,
        "version": version,
        "versionPriority": priority.version,
    });
    if !group.is_empty() {
        spec["group"] = group.into();
    }
    let value = json!({
        "metadata": { "name": name, "labels": { MANAGED: if built_in { ON_START } else { ALWAYS } } },
        "spec": spec,
        "status": { "conditions": [{
            "lastTransitionTime": Time(now),
            "message": "Local APIServices are always available",
            "reason": "Local",
            "status": "True",
            "type": "Available",
        }] },
    });
    Object::new(value, "apiregistration.k8s.io", "v1", "apiservices")
}

fn label(entry: &Entry) -> Option<String> {
    let stored: Value = serde_json::from_slice(&entry.value).ok()?;
    stored["metadata"]["labels"][MANAGED].as_str().map(str::to_owned)
}

fn managed(entry: &Entry) -> bool {
    label(entry).is_some()
}

fn says(entry: &Entry, wanted: &Object) -> bool {
    let stored: Value = serde_json::from_slice(&entry.value).unwrap_or_default();
    stored["spec"] == wanted.value["spec"]
        && stored["metadata"]["labels"][MANAGED] == wanted.value["metadata"]["labels"][MANAGED]
}
