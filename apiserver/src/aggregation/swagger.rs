//! The Swagger 2.0 documents of other servers, within the one that is served here. Source:
//! `pkg/controllers/openapi/aggregator` of kube-aggregator, `k8s.io/kube-openapi/pkg/aggregator`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

/// What documents share by name.
const SHARED: [&str; 2] = ["definitions", "parameters"];
const KINDS: &str = "x-kubernetes-group-version-kind";
/// Documents nest less deep than this; what is deeper is not looked into.
const DEPTH: usize = 100;

/// The part of a server's document that counts here: the paths of one group and version, and what they refer to.
pub fn part(mut document: Value, group: &str, version: &str) -> Value {
    let (group, version) = (format!("/apis/{group}/"), format!("/apis/{group}/{version}/"));
    if let Some(paths) = document.get_mut("paths").and_then(Value::as_object_mut) {
        paths.retain(|path, _| *path == group || path.starts_with(&version));
    }
    let mut part = Map::new();
    let mut used = BTreeSet::new();
    references(&document["paths"], &mut used, 0);
    let mut known = BTreeSet::new();
    while let Some(reference) = used.pop_first() {
        if let Some(target) = reference.strip_prefix('#').and_then(|pointer| document.pointer(pointer)) {
            let mut more = BTreeSet::new();
            references(target, &mut more, 0);
            used.extend(more.into_iter().filter(|more| *more != reference && !known.contains(more)));
        }
        known.insert(reference);
    }
    for shared in SHARED {
        let kept = |(name, _): &(&String, &Value)| known.contains(&format!("#/{shared}/{name}"));
        let entries = document[shared].as_object().into_iter().flatten().filter(kept);
        part.insert(shared.into(), entries.map(|(name, value)| (name.clone(), value.clone())).collect());
    }
    part.insert("paths".into(), document["paths"].take());
    Value::Object(part)
}

/// Adds a [`part`]. A path that is there already stays as it is; a name that means something else here gets another one.
pub fn merge(document: &mut Value, part: &Value) {
    let mut renamed = BTreeMap::new();
    for shared in SHARED {
        for (name, value) in part[shared].as_object().into_iter().flatten() {
            let mut free = name.clone();
            let mut number = 1;
            let taken = |free: &String| {
                document[shared].get(free).is_some_and(|there| !is_same(there, value))
                    || free != name && part[shared].get(free).is_some()
            };
            while taken(&free) {
                number += 1;
                free = format!("{name}_v{number}");
            }
            if free != *name {
                renamed.insert(format!("#/{shared}/{name}"), format!("#/{shared}/{free}"));
            }
        }
    }
    let mut part = part.clone();
    rename(&mut part, &renamed, 0);
    for shared in SHARED {
        for (name, value) in part[shared].as_object_mut().into_iter().flatten() {
            let old = format!("#/{shared}/{name}");
            let name = renamed.get(&old).and_then(|new| new.rsplit('/').next()).unwrap_or(name);
            match document[shared].get_mut(name) {
                Some(there) => add_kinds(there, value),
                None => document[shared][name] = value.take(),
            }
        }
    }
    for (path, value) in part["paths"].as_object_mut().into_iter().flatten() {
        if document["paths"].get(path).is_none() {
            document["paths"][path] = value.take();
        }
    }
}

/// The same, but for the kinds that the schema is used for.
fn is_same(one: &Value, other: &Value) -> bool {
    let bare = |value: &Value| {
        let mut bare = value.clone();
        bare.as_object_mut().map(|fields| fields.remove(KINDS));
        bare
    };
    bare(one) == bare(other)
}

fn add_kinds(there: &mut Value, other: &Value) {
    let Some(kinds) = other[KINDS].as_array() else { return };
    match there.get_mut(KINDS).and_then(Value::as_array_mut) {
        Some(known) => {
            for kind in kinds {
                if !known.contains(kind) {
                    known.push(kind.clone());
                }
            }
        }
        None => there[KINDS] = other[KINDS].clone(),
    }
}

fn references(value: &Value, found: &mut BTreeSet<String>, depth: usize) {
    match value {
        _ if depth > DEPTH => {}
        Value::Array(values) => values.iter().for_each(|value| references(value, found, depth + 1)),
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(to) if name == "$ref" => drop(found.insert(to.clone())),
                    value => references(value, found, depth + 1),
                }
            }
        }
        _ => {}
    }
}

fn rename(value: &mut Value, names: &BTreeMap<String, String>, depth: usize) {
    match value {
        _ if depth > DEPTH || names.is_empty() => {}
        Value::Array(values) => values.iter_mut().for_each(|value| rename(value, names, depth + 1)),
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(to) if name == "$ref" => {
                        if let Some(new) = names.get(to) {
                            to.clone_from(new);
                        }
                    }
                    value => rename(value, names, depth + 1),
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn another_servers_paths_bring_what_they_refer_to() {
        let to = |name: &str| json!({ "get": { "schema": { "$ref": format!("#/definitions/{name}") } } });
        let kind = |name: &str| json!([{ "group": "g", "version": "v1", "kind": name }]);
        let mut here = json!({
            "paths": { "/apis/apps/v1/": {} },
            "definitions": {
                "Options": { "type": "object", KINDS: kind("A") },
                "Status": { "type": "object", "description": "ours" },
            },
            "parameters": {},
        });
        let theirs = json!({
            "paths": { "/healthz": to("Unused"), "/apis/m/v1/": to("Metrics"), "/apis/apps/v1/": to("Metrics") },
            "definitions": {
                "Metrics": { "properties": {
                    "a": { "$ref": "#/definitions/Options" }, "b": { "$ref": "#/definitions/Status" },
                    "c": { "$ref": "#/definitions/Metrics" },
                } },
                "Options": { "type": "object", KINDS: kind("B") },
                "Status": { "type": "object", "description": "theirs" },
                "Unused": {},
            },
        });
        let part = part(theirs, "m", "v1");
        assert!(part["definitions"].get("Unused").is_none());
        merge(&mut here, &part);
        assert_eq!(here["paths"], json!({ "/apis/apps/v1/": {}, "/apis/m/v1/": to("Metrics") }));
        assert_eq!(here["definitions"]["Options"][KINDS], json!([kind("A")[0], kind("B")[0]]));
        assert_eq!(here["definitions"]["Status"]["description"], "ours");
        assert_eq!(here["definitions"]["Status_v2"]["description"], "theirs");
        assert_eq!(
            here["definitions"]["Metrics"]["properties"],
            json!({
                "a": { "$ref": "#/definitions/Options" }, "b": { "$ref": "#/definitions/Status_v2" },
                "c": { "$ref": "#/definitions/Metrics" },
            })
        );
    }
}
