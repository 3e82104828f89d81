//! The configuration that every cluster has. The mandatory objects are always as they are here; the suggested ones while
//! their annotation says so. Source: `k8s.io/apiserver/pkg/apis/flowcontrol/bootstrap/default.go`.

use k8s_openapi::api::flowcontrol::v1::{FlowSchema, PriorityLevelConfiguration};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::bootstrap::Object;

/// An object with this annotation is kept as it is here.
pub const AUTO_UPDATE: &str = "apf.kubernetes.io/autoupdate-spec";

const GROUP: &str = "flowcontrol.apiserver.k8s.io";

/// Name, shares, lendable percent, and queues, hand size and length of a queue.
const LEVELS: &[(&str, i32, i32, [i32; 3])] = &[
    ("system", 30, 33, [64, 6, 50]),
    ("node-high", 40, 25, [64, 6, 50]),
    ("leader-election", 10, 0, [16, 4, 50]),
    ("workload-high", 40, 50, [128, 6, 50]),
    ("workload-low", 100, 90, [128, 6, 50]),
    ("global-default", 20, 50, [128, 6, 50]),
];

/// These have no annotation to obey.
pub const MANDATORY: [&str; 2] = ["exempt", "catch-all"];

/// All priority levels.
pub fn levels() -> Vec<Object> {
    let level = |name: &str, spec: Value| {
        let metadata = json!({ "name": name, "generation": 1, "annotations": { AUTO_UPDATE: "true" } });
        let value = json!({ "metadata": metadata, "spec": spec, "status": {} });
        Object::new(value, GROUP, "v1", "prioritylevelconfigurations")
    };
    let exempt = json!({ "type": "Exempt", "exempt": { "nominalConcurrencyShares": 0, "lendablePercent": 0 } });
    let rejecting =
        json!({ "nominalConcurrencyShares": 5, "lendablePercent": 0, "limitResponse": { "type": "Reject" } });
    let mut all = vec![level("exempt", exempt), level("catch-all", json!({ "type": "Limited", "limited": rejecting }))];
    all.extend(LEVELS.iter().map(|(name, shares, lendable, [queues, hand, length])| {
        let queuing = json!({ "queues": queues, "handSize": hand, "queueLengthLimit": length });
        let limited = json!({
            "nominalConcurrencyShares": shares,
            "lendablePercent": lendable,
            "limitResponse": { "type": "Queue", "queuing": queuing },
        });
        level(name, json!({ "type": "Limited", "limited": limited }))
    }));
    all
}

/// All flow schemas.
pub fn schemas() -> Vec<Object> {
    let groups = |names: &[&str]| -> Value {
        names.iter().map(|name| json!({ "kind": "Group", "group": { "name": name } })).collect()
    };
    let user = |name: &str| json!({ "kind": "User", "user": { "name": name } });
    let account = || json!({ "kind": "ServiceAccount", "serviceAccount": { "name": "*", "namespace": "kube-system" } });
    let resources = |verbs: &[&str], groups: &[&str], resources: &[&str], cluster: bool| {
        let mut rule = json!({ "verbs": verbs, "apiGroups": groups, "resources": resources, "namespaces": ["*"] });
        if cluster {
            rule["clusterScope"] = true.into();
        }
        rule
    };
    let everything = |subjects: Value| {
        json!([{
            "subjects": subjects,
            "resourceRules": [resources(&["*"], &["*"], &["*"], true)],
            "nonResourceRules": [{ "verbs": ["*"], "nonResourceURLs": ["*"] }],
        }])
    };
    let everybody = || groups(&["system:unauthenticated", "system:authenticated"]);
    let leases = |verbs| resources(verbs, &["coordination.k8s.io"], &["leases"], false);
    let probes = json!([{
        "subjects": everybody(),
        "nonResourceRules": [{ "verbs": ["get"], "nonResourceURLs": ["/healthz", "/readyz", "/livez"] }],
    }]);
    let elections = json!([{
        "subjects": [user("system:kube-controller-manager"), user("system:kube-scheduler"), account()],
        "resourceRules": [leases(&["get", "create", "update"])],
    }]);
    let nodes = json!([{
        "subjects": groups(&["system:nodes"]),
        "resourceRules": [resources(&["*"], &[""], &["nodes", "nodes/status"], true), leases(&["*"])],
    }]);
    let manager = everything(json!([user("system:kube-controller-manager")]));
    let scheduler = everything(json!([user("system:kube-scheduler")]));
    let schema = |name: &str, level: &str, precedence: i32, method: &str, rules: Value| {
        let mut spec = json!({
            "matchingPrecedence": precedence,
            "priorityLevelConfiguration": { "name": level },
            "rules": rules,
        });
        if !method.is_empty() {
            spec["distinguisherMethod"] = json!({ "type": method });
        }
        let metadata = json!({ "name": name, "generation": 1, "annotations": { AUTO_UPDATE: "true" } });
        Object::new(json!({ "metadata": metadata, "spec": spec, "status": {} }), GROUP, "v1", "flowschemas")
    };
    vec![
        schema("exempt", "exempt", 1, "", everything(groups(&["system:masters"]))),
        schema("probes", "exempt", 2, "", probes),
        schema("system-leader-election", "leader-election", 100, "ByUser", elections),
        schema("system-node-high", "node-high", 400, "ByUser", nodes),
        schema("system-nodes", "system", 500, "ByUser", everything(groups(&["system:nodes"]))),
        schema("kube-controller-manager", "workload-high", 800, "ByNamespace", manager),
        schema("kube-scheduler", "workload-high", 800, "ByNamespace", scheduler),
        schema("kube-system-service-accounts", "workload-high", 900, "ByNamespace", everything(json!([account()]))),
        schema("service-accounts", "workload-low", 9000, "ByUser", everything(groups(&["system:serviceaccounts"]))),
        schema("global-default", "global-default", 9900, "ByUser", everything(everybody())),
        schema("catch-all", "catch-all", 10_000, "ByUser", everything(everybody())),
    ]
}

/// The schema with this name that nobody may change, if there is one.
pub fn mandatory_schema(name: &str) -> Option<FlowSchema> {
    mandatory(schemas(), name)
}

/// The priority level with this name that nobody may change, if there is one.
pub fn mandatory_level(name: &str) -> Option<PriorityLevelConfiguration> {
    mandatory(levels(), name)
}

fn mandatory<T: DeserializeOwned>(objects: Vec<Object>, name: &str) -> Option<T> {
    let found = objects.into_iter().find(|object| object.name() == name && MANDATORY.contains(&name))?;
    serde_json::from_value(found.value).ok()
}

/// The same, decoded.
pub fn typed() -> (Vec<FlowSchema>, Vec<PriorityLevelConfiguration>) {
    let schemas = schemas().into_iter().filter_map(|object| serde_json::from_value(object.value).ok());
    let levels = levels().into_iter().filter_map(|object| serde_json::from_value(object.value).ok());
    (schemas.collect(), levels.collect())
}
