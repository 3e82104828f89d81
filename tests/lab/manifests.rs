//! Objects as tests want them: small, named after what they run.

use serde_json::{Value, json};

/// A workload of `apps/v1` with one container `main` of this image, whose pods have the label `app` with its name and end at
/// once. What `spec` says is added, and counts.
pub fn workload(kind: &str, name: &str, image: &str, spec: Value) -> Value {
    labelled(kind, name, &json!({"app": name}), image, spec)
}

/// The same with these labels in the place of `app`.
pub fn labelled(kind: &str, name: &str, labels: &Value, image: &str, spec: Value) -> Value {
    let pod = json!({"terminationGracePeriodSeconds": 1, "containers": [{"name": "main", "image": image}]});
    let template = json!({"metadata": {"labels": labels}, "spec": pod});
    let mut whole = json!({
        "apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name},
        "spec": {"selector": {"matchLabels": labels}, "template": template},
    });
    merge(&mut whole["spec"], spec);
    whole
}

/// A StatefulSet, and the Service that names its pods.
pub fn stateful_set(name: &str, image: &str, spec: Value) -> String {
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
        "spec": {"clusterIP": "None", "selector": {"app": name}, "ports": [{"port": 80}]},
    });
    let mut set = workload("StatefulSet", name, image, spec);
    set["spec"]["serviceName"] = json!(name);
    list([service, set])
}

/// A template of claims for a gibibyte.
pub fn claim_template(name: &str) -> Value {
    json!({"metadata": {"name": name},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}})
}

/// Several objects in one.
pub fn list<const N: usize>(items: [Value; N]) -> String {
    json!({"apiVersion": "v1", "kind": "List", "items": items.to_vec()}).to_string()
}

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            from.into_iter().for_each(|(key, value)| merge(into.entry(key).or_insert(Value::Null), value));
        }
        (into, from) => *into = from,
    }
}
