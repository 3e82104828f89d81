//! Default roles and bindings that are there already get what they lack, unless somebody has switched that off with the
//! annotation `rbac.authorization.kubernetes.io/autoupdate`. What somebody has added stays. Pure.
//! Source: `pkg/registry/rbac/reconciliation`, with `RemoveExtraPermissions` and `RemoveExtraSubjects` off, as
//! `pkg/registry/rbac/rest/storage_rbac.go` has it.

use k8s_openapi::api::rbac::v1::PolicyRule;
use kubelab_api::well_known::annotation;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::{authorization::escalation, corridor::User};

/// `existing` with what it lacks of `expected`; `None` where it lacks nothing, or is to be left alone.
pub fn reconcile(expected: &Value, existing: &Value) -> Option<Value> {
    if existing["metadata"]["annotations"][annotation::AUTOUPDATE] == "false" {
        return None;
    }
    let mut merged = existing.clone();
    if expected.get("roleRef").is_some() {
        if expected["roleRef"] != existing["roleRef"] {
            // Another role cannot be put in its place: this is a binding of that name which is not ours.
            return None;
        }
        add(&mut merged, "subjects", lacking(&existing["subjects"], &expected["subjects"], |a, b| a == b));
    } else if expected.get("aggregationRule").is_some() {
        let path = |role: &Value| role["aggregationRule"]["clusterRoleSelectors"].clone();
        let missing = lacking(&path(existing), &path(expected), |a, b| a == b);
        if !missing.is_empty() {
            let rule = merged.get_mut("aggregationRule").filter(|rule| rule.is_object());
            match rule {
                Some(rule) => add(rule, "clusterRoleSelectors", missing),
                None => merged["aggregationRule"] = expected["aggregationRule"].clone(),
            }
        }
    } else {
        let owned: Vec<PolicyRule> = typed(&existing["rules"]);
        let is_covered = |rule: &Value| {
            let wanted: Option<PolicyRule> = serde_json::from_value(rule.clone()).ok();
            wanted.is_none_or(|rule| escalation::refuse(&User::default(), &owned, &[rule]).is_none())
        };
        let missing = expected["rules"].as_array().into_iter().flatten().filter(|rule| !is_covered(rule));
        let missing = missing.cloned().collect();
        add(&mut merged, "rules", missing);
    }
    for part in ["labels", "annotations"] {
        let lacks = |key: &String, value: &Value| existing["metadata"][part].get(key) != Some(value);
        let wanted =
            expected["metadata"][part].as_object().into_iter().flatten().filter(|(key, value)| lacks(key, value));
        let wanted: Map<String, Value> = wanted.map(|(key, value)| (key.clone(), value.clone())).collect();
        if !wanted.is_empty() && merged["metadata"].is_object() {
            match merged["metadata"][part].as_object_mut() {
                Some(present) => present.extend(wanted),
                None => merged["metadata"][part] = wanted.into(),
            }
        }
    }
    (merged != *existing).then_some(merged)
}

fn typed<T: DeserializeOwned + Default>(value: &Value) -> T {
    serde_json::from_value(value.clone()).unwrap_or_default()
}

fn lacking(existing: &Value, expected: &Value, same: fn(&Value, &Value) -> bool) -> Vec<Value> {
    let present = existing.as_array().map(Vec::as_slice).unwrap_or_default();
    let wanted = expected.as_array().into_iter().flatten();
    wanted.filter(|one| !present.iter().any(|other| same(one, other))).cloned().collect()
}

fn add(object: &mut Value, field: &str, more: Vec<Value>) {
    if more.is_empty() {
        return;
    }
    match object[field].as_array_mut() {
        Some(present) => present.extend(more),
        None => object[field] = more.into(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn role(rules: Value, annotations: Value) -> Value {
        json!({"metadata": {"name": "r", "uid": "u", "annotations": annotations}, "rules": rules})
    }

    #[test]
    fn roles_get_what_they_lack_and_keep_what_they_have() {
        let auto = || json!({"rbac.authorization.kubernetes.io/autoupdate": "true"});
        let rule = |resource: &str, verbs: Value| json!({"apiGroups": [""], "resources": [resource], "verbs": verbs});
        let expected = role(json!([rule("pods", json!(["get"])), rule("nodes", json!(["get"]))]), auto());
        let changed = role(json!([rule("pods", json!(["get", "delete"]))]), auto());
        let merged = reconcile(&expected, &changed).unwrap_or_default();
        assert_eq!(merged["rules"], json!([rule("pods", json!(["get", "delete"])), rule("nodes", json!(["get"]))]));
        assert_eq!(merged["metadata"]["uid"], "u");
        assert_eq!(reconcile(&expected, &merged), None, "it lacks nothing any more");
        let off = role(json!([]), json!({"rbac.authorization.kubernetes.io/autoupdate": "false"}));
        assert_eq!(reconcile(&expected, &off), None, "somebody does not want that");
        let bare = json!({"metadata": {"name": "r"}});
        assert_eq!(reconcile(&expected, &bare).unwrap_or_default()["metadata"]["annotations"], auto());
    }

    #[test]
    fn bindings_get_subjects_and_aggregated_roles_selectors() {
        let binding = |role: &str, subjects: Value| json!({"metadata": {"name": "b"}, "roleRef": {"kind": "ClusterRole", "name": role}, "subjects": subjects});
        let group = |name: &str| json!({"kind": "Group", "name": name});
        let expected = binding("view", json!([group("a")]));
        let merged = reconcile(&expected, &binding("view", json!([group("b")]))).unwrap_or_default();
        assert_eq!(merged["subjects"], json!([group("b"), group("a")]));
        assert_eq!(reconcile(&expected, &binding("edit", json!([]))), None, "it is another binding of that name");
        let sum = |labels: &[&str]| {
            let selectors: Vec<Value> = labels.iter().map(|label| json!({"matchLabels": {*label: "true"}})).collect();
            json!({"metadata": {"name": "r"}, "aggregationRule": {"clusterRoleSelectors": selectors}, "rules": []})
        };
        let merged = reconcile(&sum(&["a"]), &sum(&["b"])).unwrap_or_default();
        assert_eq!(merged["aggregationRule"], sum(&["b", "a"])["aggregationRule"]);
    }
}
