//! The default roles.
//!
//! A role is a line with its name, and an indented line for each rule:
//!
//! ```text
//! system:some-role  into=edit                      the role's rules become part of `edit`, too
//!   read,delete  core,apps: pods deployments       verbs, API groups, resources
//!   get,update  coordination.k8s.io: leases [me]   … by name
//!   get  /healthz /livez/*                         verbs, paths
//!   events                                         what everyone needs who writes events
//! ```
//!
//! `read` is get, list, watch; `write` is create, update, patch, delete, deletecollection; `all` is both. `core` is the
//! group without a name. `aggregates=edit` makes a role the sum of all that have `into=edit`; `in=` names a namespace.

use std::collections::BTreeMap;

use k8s_openapi::api::rbac::v1::PolicyRule;
use kubelab_api::well_known::{annotation, label};
use serde_json::{Value, json};

use super::{
    Object,
    bindings::{
        BINDINGS, CLUSTER_BINDINGS, JOINING,
        Subject::{self, Account, User},
    },
};

pub(super) const GROUP: &str = "rbac.authorization.k8s.io";
const CONTROLLER_PREFIX: &str = "system:controller:";
/// Who runs the control loops.
pub(super) const CONTROLLER_MANAGER: &str = "system:kube-controller-manager";

const READ: &[&str] = &["get", "list", "watch"];
const WRITE: &[&str] = &["create", "update", "patch", "delete", "deletecollection"];

/// One role of a file.
#[derive(Debug, Default)]
struct Role {
    name: &'static str,
    aggregates: Option<&'static str>,
    into: Option<&'static str>,
    namespace: Option<&'static str>,
    rules: Vec<PolicyRule>,
}

fn cluster_roles() -> Vec<Role> {
    parse(include_str!("cluster_roles.txt"))
}

fn controller_roles() -> Vec<Role> {
    parse(include_str!("controller_roles.txt"))
}

fn namespace_roles() -> Vec<Role> {
    parse(include_str!("namespace_roles.txt"))
}

/// The rules of a cluster role as the cluster has it from the start; none for a role that it has not.
pub fn rules_of(name: &str) -> Vec<PolicyRule> {
    cluster_roles().into_iter().find(|role| role.name == name).map(|role| role.rules).unwrap_or_default()
}

/// All roles, then all bindings.
pub(super) fn objects() -> Vec<Object> {
    let (cluster, controllers, namespaced) = (cluster_roles(), controller_roles(), namespace_roles());
    let mut objects = Vec::new();
    for role in &cluster {
        let rules = match role.aggregates {
            Some(target) => aggregated(&cluster, target),
            None => role.rules.clone(),
        };
        objects.push(cluster_role(role.name, role, &rules));
    }
    for role in &controllers {
        objects.push(cluster_role(&format!("{CONTROLLER_PREFIX}{}", role.name), role, &role.rules));
    }
    for role in &namespaced {
        let value = json!({"metadata": metadata(role.name, role.namespace, None), "rules": role.rules});
        objects.push(Object::new(value, GROUP, "v1", "roles"));
    }
    for (role, subjects) in CLUSTER_BINDINGS {
        objects.push(cluster_binding(role, subjects));
    }
    for role in &controllers {
        let name = format!("{CONTROLLER_PREFIX}{}", role.name);
        objects.push(cluster_binding(&name, &[Account(role.name), User(CONTROLLER_MANAGER)]));
    }
    for (name, role, subjects) in JOINING {
        let value = binding(json!({"name": name}), "ClusterRole", role, subjects);
        objects.push(Object::new(value, GROUP, "v1", "clusterrolebindings"));
    }
    for (namespace, name, role, subjects) in BINDINGS {
        let value = binding(metadata(name, Some(namespace), None), "Role", role, subjects);
        objects.push(Object::new(value, GROUP, "v1", "rolebindings"));
    }
    objects
}

fn cluster_role(name: &str, role: &Role, rules: &[PolicyRule]) -> Object {
    let mut value = json!({"metadata": metadata(name, None, role.into), "rules": rules});
    if let Some(target) = role.aggregates {
        let labels = BTreeMap::from([(aggregation_label(target), "true")]);
        value["aggregationRule"] = json!({"clusterRoleSelectors": [{"matchLabels": labels}]});
    }
    Object::new(value, GROUP, "v1", "clusterroles")
}

fn cluster_binding(role: &str, subjects: &[Subject]) -> Object {
    let value = binding(metadata(role, None, None), "ClusterRole", role, subjects);
    Object::new(value, GROUP, "v1", "clusterrolebindings")
}

fn binding(metadata: Value, kind: &str, role: &str, subjects: &[Subject]) -> Value {
    let mut value = json!({"metadata": metadata, "roleRef": {"apiGroup": GROUP, "kind": kind, "name": role}});
    if !subjects.is_empty() {
        value["subjects"] = subjects.iter().map(|subject| subject.value()).collect();
    }
    value
}

fn metadata(name: &str, namespace: Option<&str>, into: Option<&str>) -> Value {
    let mut value = json!({
        "name": name,
        "annotations": {annotation::AUTOUPDATE: "true"},
        "labels": {label::BOOTSTRAPPING: "rbac-defaults"},
    });
    if let Some(namespace) = namespace {
        value["namespace"] = namespace.into();
    }
    if let Some(target) = into {
        value["labels"][aggregation_label(target)] = "true".into();
    }
    value
}

fn aggregation_label(target: &str) -> String {
    format!("{GROUP}/aggregate-to-{target}")
}

/// The sum of the roles that go into `target`, as the aggregation controller would make it: by name, each rule once.
fn aggregated(roles: &[Role], target: &str) -> Vec<PolicyRule> {
    let mut parts: Vec<&Role> = roles.iter().filter(|role| role.into == Some(target)).collect();
    parts.sort_by_key(|role| role.name);
    let mut sum: Vec<PolicyRule> = Vec::new();
    for role in parts {
        let rules = match role.aggregates {
            Some(target) => aggregated(roles, target),
            None => role.rules.clone(),
        };
        for rule in rules {
            if !sum.contains(&rule) {
                sum.push(rule);
            }
        }
    }
    sum
}

fn parse(text: &'static str) -> Vec<Role> {
    let mut roles: Vec<Role> = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        match line.strip_prefix("  ") {
            Some(line) => roles.last_mut().into_iter().for_each(|role| role.rules.push(rule(line))),
            None => roles.push(role(line)),
        }
    }
    roles
}

fn role(line: &'static str) -> Role {
    let mut words = line.split_whitespace();
    let mut role = Role { name: words.next().unwrap_or_default(), ..Role::default() };
    for (key, value) in words.filter_map(|word| word.split_once('=')) {
        match key {
            "aggregates" => role.aggregates = Some(value),
            "into" => role.into = Some(value),
            "in" => role.namespace = Some(value),
            _ => unreachable!("{line}: there is no {key}"),
        }
    }
    role
}

fn rule(line: &str) -> PolicyRule {
    if line == "events" {
        return rule("create,update,patch  core,events.k8s.io: events");
    }
    let (verbs, target) = line.split_once("  ").unwrap_or((line, ""));
    let verbs = sorted(verbs.split(',').flat_map(|verb| match verb {
        "read" => READ.to_vec(),
        "write" => WRITE.to_vec(),
        "all" => [READ, WRITE].concat(),
        verb => vec![verb],
    }));
    let Some((groups, resources)) = target.split_once(": ") else {
        return PolicyRule { verbs, non_resource_urls: Some(sorted(target.split(' '))), ..PolicyRule::default() };
    };
    let (resources, names) = resources.split_once(" [").unwrap_or((resources, ""));
    let names = names.trim_end_matches(']');
    PolicyRule {
        verbs,
        api_groups: Some(sorted(groups.split(',').map(|group| if group == "core" { "" } else { group }))),
        resources: Some(sorted(resources.split(' '))),
        resource_names: (!names.is_empty()).then(|| sorted(names.split(' '))),
        non_resource_urls: None,
    }
}

fn sorted<'a>(values: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut values: Vec<String> = values.map(str::to_owned).collect();
    values.sort();
    values
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        authorization::{
            Attributes,
            rules::{Policy, Rules},
        },
        corridor,
    };

    fn strings(values: &[&str]) -> Vec<String> {
        values.iter().map(|value| (*value).to_owned()).collect()
    }

    #[test]
    fn lines_become_rules() {
        assert_eq!(
            rule("read,delete  core,apps: pods deployments [a b]"),
            PolicyRule {
                verbs: strings(&["delete", "get", "list", "watch"]),
                api_groups: Some(strings(&["", "apps"])),
                resources: Some(strings(&["deployments", "pods"])),
                resource_names: Some(strings(&["a", "b"])),
                non_resource_urls: None,
            }
        );
        assert_eq!(
            rule("get  /healthz /livez/*"),
            PolicyRule {
                verbs: strings(&["get"]),
                non_resource_urls: Some(strings(&["/healthz", "/livez/*"])),
                ..PolicyRule::default()
            }
        );
        assert_eq!(rule("events"), rule("create,update,patch  core,events.k8s.io: events"));
        assert_eq!(rule("*  *").non_resource_urls, Some(strings(&["*"])));
    }

    #[test]
    fn bindings_refer_to_roles_that_exist() {
        let (cluster, controllers, namespaced) = (cluster_roles(), controller_roles(), namespace_roles());
        for (role, _) in CLUSTER_BINDINGS {
            assert!(cluster.iter().any(|known| known.name == *role), "{role}");
        }
        for (_, role, _) in JOINING {
            assert!(cluster.iter().any(|known| known.name == *role), "{role}");
        }
        for (namespace, _, role, _) in BINDINGS {
            assert!(namespaced.iter().any(|known| known.name == *role && known.namespace == Some(namespace)), "{role}");
        }
        assert_eq!((cluster.len(), controllers.len(), namespaced.len()), (32, 38, 8));
        for role in cluster.iter().chain(&controllers).chain(&namespaced) {
            assert!(role.aggregates.is_some() || !role.rules.is_empty(), "{} can do nothing", role.name);
        }
    }

    fn policy() -> Rules {
        let mut policy = Policy::default();
        for Object { resource, value } in objects() {
            match &*resource.plural {
                "clusterroles" => policy.cluster_roles.extend(serde_json::from_value(value)),
                "clusterrolebindings" => policy.cluster_role_bindings.extend(serde_json::from_value(value)),
                "roles" => policy.roles.extend(serde_json::from_value(value)),
                _ => policy.role_bindings.extend(serde_json::from_value(value)),
            }
        }
        Rules::new(policy)
    }

    #[test]
    fn components_may_do_their_work_and_no_more() {
        let rules = policy();
        let user = |name: &str, group: &str| corridor::User {
            name: name.into(),
            groups: vec![group.into(), "system:authenticated".into()],
            ..corridor::User::default()
        };
        let manager = user(CONTROLLER_MANAGER, "");
        let scheduler = user("system:kube-scheduler", "");
        let proxy = user("system:kube-proxy", "system:node-proxier");
        let anyone = user("jane", "");
        for (user, verb, group, resource, subresource, place, allowed) in [
            (&manager, "create", "apps", "replicasets", "", "default/web", true),
            (&manager, "list", "example.com", "widgets", "", "", true),
            (&proxy, "watch", "networking.k8s.io", "networkpolicies", "", "", true),
            (&manager, "update", "", "namespaces", "finalize", "default/default", true),
            (&manager, "create", "", "serviceaccounts", "token", "default/x", true),
            (&manager, "create", "", "nodes", "", "", false),
            (&manager, "update", "coordination.k8s.io", "leases", "", "kube-system/kube-controller-manager", true),
            (&scheduler, "create", "", "pods", "binding", "default/web", true),
            (&scheduler, "patch", "", "pods", "status", "default/web", true),
            (&scheduler, "create", "", "pods", "", "default/web", false),
            (&scheduler, "update", "coordination.k8s.io", "leases", "", "kube-system/kube-scheduler", true),
            (&scheduler, "update", "coordination.k8s.io", "leases", "", "default/other", false),
            (&scheduler, "create", "events.k8s.io", "events", "", "default/x", true),
            (&proxy, "watch", "discovery.k8s.io", "endpointslices", "", "", true),
            (&proxy, "list", "", "secrets", "", "", false),
            (&anyone, "create", "authorization.k8s.io", "selfsubjectaccessreviews", "", "", true),
            (&anyone, "list", "", "pods", "", "default/", false),
        ] {
            let (namespace, name) = place.split_once('/').unwrap_or_default();
            let request =
                Attributes { subresource, namespace, name, ..Attributes::resource(user, verb, group, resource) };
            assert_eq!(rules.allow(&request), allowed, "{} {verb} {resource}/{subresource} {place}", user.name);
        }
        let anonymous = user("system:anonymous", "system:unauthenticated");
        assert!(rules.allow(&Attributes::path(&anyone, "get", "/openapi/v3")));
        assert!(rules.allow(&Attributes::path(&anonymous, "get", "/healthz")));
        assert!(!rules.allow(&Attributes::path(&anyone, "get", "/metrics")));
    }

    #[test]
    fn admin_is_edit_is_view_and_more() {
        let objects = objects();
        let rules = |name: &str| {
            let found = objects.iter().find(|object| object.name() == name && object.resource.plural == "clusterroles");
            let rules = found.and_then(|object| serde_json::from_value(object.value["rules"].clone()).ok());
            rules.unwrap_or_default()
        };
        let (admin, edit, view): (Vec<PolicyRule>, Vec<PolicyRule>, Vec<PolicyRule>) =
            (rules("admin"), rules("edit"), rules("view"));
        assert!(!view.is_empty() && view.iter().all(|rule| edit.contains(rule)));
        assert!(edit.iter().all(|rule| admin.contains(rule)) && admin.len() > edit.len());
        let secrets =
            |rules: &[PolicyRule]| rules.iter().any(|rule| rule.resources.iter().flatten().any(|r| r == "secrets"));
        assert!(!secrets(&view) && secrets(&edit));
    }
}
