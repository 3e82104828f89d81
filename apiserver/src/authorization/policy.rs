//! Writes of roles and bindings: whoever gives rights away must have them, or be allowed to `escalate` or to `bind`.
//! Source: `pkg/registry/rbac/*/policybased/storage.go`.

use k8s_openapi::{
    api::rbac::v1::{AggregationRule, PolicyRule, RoleRef},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kubelab_api::{Error, Resource, resource};
use serde::Deserialize;

use super::{Attributes, Decider, MASTERS, escalation};
use crate::corridor::User;

const GROUP: &str = "rbac.authorization.k8s.io";

/// As much of a role or a binding as matters.
#[derive(Default, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase")]
struct Granting {
    #[serde(default)]
    metadata: ObjectMeta,
    #[serde(default)]
    rules: Vec<PolicyRule>,
    aggregation_rule: Option<AggregationRule>,
    role_ref: Option<RoleRef>,
    #[serde(default)]
    subjects: Vec<k8s_openapi::api::rbac::v1::Subject>,
}

/// Refuses the write of `new` (JSON), over `old` if there is one, where it gives away rights that the user does not
/// have. Other resources than RBAC's pass.
pub fn check_write(
    decider: &dyn Decider,
    user: &User,
    resource: &Resource,
    new: &[u8],
    old: Option<&[u8]>,
) -> Result<(), Error> {
    if resource.group != GROUP || user.groups.iter().any(|group| group == MASTERS) {
        return Ok(());
    }
    let new: Granting = serde_json::from_slice(new).map_err(Error::internal)?;
    let old: Option<Granting> = old.map(serde_json::from_slice).transpose().map_err(Error::internal)?;
    let name = new.metadata.name.as_deref().unwrap_or_default();
    let namespace = new.metadata.namespace.as_deref().unwrap_or_default();
    // Who only touches metadata gives nothing away.
    let same = |old: &Granting| {
        (&old.rules, &old.aggregation_rule, &old.role_ref, &old.subjects)
            == (&new.rules, &new.aggregation_rule, &new.role_ref, &new.subjects)
    };
    if old.as_ref().is_some_and(same) {
        return Ok(());
    }
    let may = |verb: &str, plural: &str, name: &str| {
        let attributes = Attributes { namespace, name, ..Attributes::resource(user, verb, GROUP, plural) };
        decider.decide(&attributes).allowed
    };
    let wanted = match &new.role_ref {
        Some(role) => {
            let plural = if role.kind == "ClusterRole" { "clusterroles" } else { "roles" };
            if may("bind", plural, &role.name) {
                return Ok(());
            }
            let rules = decider.rules_of_role(role, namespace);
            rules.ok_or_else(|| match resource::find(GROUP, "v1", plural) {
                Some(resource) => Error::not_found(resource, &role.name),
                None => Error::internal("roles are not served"),
            })?
        }
        None if may("escalate", &resource.plural, name) => return Ok(()),
        None if new.aggregation_rule.is_some() => full_authority(),
        None => new.rules,
    };
    match escalation::refuse(user, &decider.rules_of(user, namespace), &wanted) {
        Some(refusal) => Err(Error::forbidden(resource, name, &refusal)),
        None => Ok(()),
    }
}

/// An aggregated role may come to hold anything.
fn full_authority() -> Vec<PolicyRule> {
    let star = || vec!["*".to_owned()];
    vec![
        PolicyRule { verbs: star(), api_groups: Some(star()), resources: Some(star()), ..PolicyRule::default() },
        PolicyRule { verbs: star(), non_resource_urls: Some(star()), ..PolicyRule::default() },
    ]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::{Value, json};

    use super::*;
    use crate::authorization::rules::{Policy, Rules};

    fn cluster(verbs: &[&str], names: &[&str]) -> Rules {
        Rules::new(
            serde_json::from_value::<Vec<Value>>(json!([
                {"metadata": {"name": "view"}, "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]},
                {"metadata": {"name": "admin"}, "rules": [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]},
                {"metadata": {"name": "writer"}, "rules": [
                    {"apiGroups": [GROUP], "resources": ["clusterroles", "roles"], "resourceNames": names, "verbs": verbs},
                ]},
            ]))
            .map(|roles| Policy {
                cluster_roles: roles.into_iter().map(|role| serde_json::from_value(role).unwrap()).collect(),
                cluster_role_bindings: ["view", "writer"]
                    .map(|role| {
                        serde_json::from_value(json!({
                            "metadata": {"name": role},
                            "roleRef": {"apiGroup": GROUP, "kind": "ClusterRole", "name": role},
                            "subjects": [{"kind": "User", "name": "jane"}],
                        }))
                        .unwrap()
                    })
                    .into(),
                ..Policy::default()
            })
            .unwrap(),
        )
    }

    fn check(rules: &Rules, user: &User, plural: &str, new: &Value, old: Option<&Value>) -> Result<(), String> {
        let resource = resource::find(GROUP, "v1", plural).unwrap();
        let old = old.map(|old| old.to_string().into_bytes());
        check_write(rules, user, resource, new.to_string().as_bytes(), old.as_deref()).map_err(|error| error.message)
    }

    #[test]
    fn nobody_grants_what_he_lacks() {
        let jane = User { name: "jane".into(), groups: vec!["dev".into()], ..User::default() };
        let master = User { groups: vec![MASTERS.into()], ..jane.clone() };
        let role = |verb: &str| json!({"metadata": {"name": "r"}, "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": [verb]}]});
        let binding = |name: &str| {
            json!({
                "metadata": {"name": "b", "namespace": "dev"},
                "roleRef": {"apiGroup": GROUP, "kind": "ClusterRole", "name": name},
                "subjects": [{"kind": "User", "name": "joe"}],
            })
        };
        let plain = cluster(&["create"], &[]);
        assert_eq!(check(&plain, &jane, "clusterroles", &role("get"), None), Ok(()));
        assert_eq!(check(&plain, &master, "clusterroles", &role("delete"), None), Ok(()));
        assert_eq!(
            check(&plain, &jane, "clusterroles", &role("delete"), None),
            Err("clusterroles.rbac.authorization.k8s.io \"r\" is forbidden: user \"jane\" (groups=[\"dev\"]) is \
                 attempting to grant RBAC permissions not currently held:\n{APIGroups:[\"\"], Resources:[\"pods\"], \
                 Verbs:[\"delete\"]}"
                .into())
        );
        assert_eq!(check(&plain, &jane, "clusterroles", &role("delete"), Some(&role("delete"))), Ok(()), "unchanged");
        let aggregated = json!({"metadata": {"name": "r"}, "aggregationRule": {"clusterRoleSelectors": []}});
        assert!(check(&plain, &jane, "clusterroles", &aggregated, None).is_err());
        assert_eq!(check(&plain, &jane, "rolebindings", &binding("view"), None), Ok(()));
        assert!(check(&plain, &jane, "rolebindings", &binding("admin"), None).is_err());
        assert_eq!(
            check(&plain, &jane, "rolebindings", &binding("gone"), None),
            Err("clusterroles.rbac.authorization.k8s.io \"gone\" not found".into())
        );
        assert_eq!(check(&cluster(&["escalate"], &["r"]), &jane, "clusterroles", &role("delete"), None), Ok(()));
        assert_eq!(check(&cluster(&["bind"], &["admin"]), &jane, "rolebindings", &binding("admin"), None), Ok(()));
    }
}
