#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};

use super::{cluster_role::ClusterRoleKind, role::RoleKind, role_binding::RoleBindingKind};
use crate::registry::{
    kind::Kind,
    validation::tests::{merged, new_errors, object, update_errors},
};

fn binding() -> Value {
    json!({"metadata": {"name": "b"}, "roleRef": {"kind": "Role", "name": "reader"}, "subjects": [
        {"kind": "User", "name": "jane"}, {"kind": "Group", "name": "dev"},
        {"kind": "ServiceAccount", "name": "default", "namespace": "kube-system"}]})
}

#[test]
fn references_get_their_group() {
    let json = serde_json::to_value(object::<RoleBindingKind>(binding())).unwrap();
    assert_eq!(json["roleRef"]["apiGroup"], "rbac.authorization.k8s.io");
    assert_eq!(json["subjects"][0]["apiGroup"], "rbac.authorization.k8s.io");
    assert_eq!(json["subjects"][2].get("apiGroup"), None);
}

#[test]
fn bad_rules_and_bindings_are_refused_in_upstreams_words() {
    let rule = json!({"rules": [{"verbs": [], "nonResourceURLs": ["/x"]}, {"verbs": ["get"]}]});
    assert_eq!(
        new_errors::<RoleKind>(rule.clone()),
        [
            "rules[0].verbs: Required value: verbs must contain at least one value",
            "rules[0].nonResourceURLs: Invalid value: [\"/x\"]: namespaced rules cannot apply to non-resource URLs",
            "rules[1].apiGroups: Required value: resource rules must supply at least one api group",
            "rules[1].resources: Required value: resource rules must supply at least one resource",
        ]
    );
    assert_eq!(new_errors::<ClusterRoleKind>(rule).len(), 3);
    assert_eq!(new_errors::<RoleBindingKind>(binding()), Vec::<String>::new());
    assert_eq!(
        new_errors::<RoleBindingKind>(json!({"roleRef": {"kind": "X", "name": ""},
            "subjects": [{"kind": "ServiceAccount", "name": "a"}, {"kind": "Robot", "name": "r"}]})),
        [
            "roleRef.kind: Unsupported value: \"X\": supported values: \"Role\", \"ClusterRole\"",
            "roleRef.name: Required value",
            "subjects[0].namespace: Required value",
            "subjects[1].kind: Unsupported value: \"Robot\": supported values: \"ServiceAccount\", \"User\", \"Group\"",
        ]
    );
    assert_eq!(
        update_errors::<RoleBindingKind>(binding(), merged(&binding(), json!({"roleRef": {"name": "writer"}}))),
        [
            "roleRef: Invalid value: {\"apiGroup\":\"rbac.authorization.k8s.io\",\"kind\":\"Role\",\"name\":\"writer\"}: \
          cannot change roleRef"
        ]
    );
}

#[test]
fn columns_tell_what_upstreams_tell() {
    let now = "2026-01-01T00:00:10Z".parse().unwrap();
    let made = json!({"metadata": {"creationTimestamp": "2026-01-01T00:00:00Z"}});
    let cells = RoleBindingKind::cells(&object::<RoleBindingKind>(merged(&binding(), made.clone())), now);
    assert_eq!(cells, ["b", "Role/reader", "10s", "jane", "dev", "kube-system/default"]);
    let role = object::<RoleKind>(merged(&json!({"metadata": {"name": "r"}}), made));
    assert_eq!(RoleKind::cells(&role, now), ["r", "2026-01-01T00:00:00Z"]);
}
