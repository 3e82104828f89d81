//! Role-based access control, as data: who may do what, indexed by who. Pure.
//! Source: `pkg/apis/rbac/v1/evaluation_helpers.go`, `pkg/registry/rbac/validation/rule.go`.

use std::{collections::HashMap, fmt, sync::Arc};

use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject};

use super::Attributes;
use crate::corridor::User;

/// What somebody was given, and by which binding.
#[derive(Clone, Debug)]
struct Grant {
    rules: Arc<[PolicyRule]>,
    /// The role is gone or never was.
    dangling: bool,
    source: Arc<Source>,
}

#[derive(Debug)]
struct Source {
    /// `ClusterRoleBinding "x"`, `RoleBinding "x/default"`
    binding: String,
    role_kind: String,
    role: String,
    /// `User "jane"`, `Group "admins"`, `ServiceAccount "robot/default"`
    subject: String,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} {:?} to {}", self.binding, self.role_kind, self.role, self.subject)
    }
}

/// The grants of one scope, by the name of whom they are for.
#[derive(Clone, Debug, Default)]
struct Grants {
    users: HashMap<String, Vec<Grant>>,
    groups: HashMap<String, Vec<Grant>>,
}

impl Grants {
    fn of<'a>(&'a self, user: &User) -> impl Iterator<Item = &'a Grant> {
        let own = self.users.get(&user.name).into_iter().flatten();
        own.chain(user.groups.iter().flat_map(|group| self.groups.get(group).into_iter().flatten()))
    }

    fn add(
        &mut self,
        binding: &str,
        role: &RoleRef,
        subjects: &[Subject],
        namespace: &str,
        rules: Option<&Arc<[PolicyRule]>>,
    ) {
        for subject in subjects {
            let (name, is_group, described) = match subject.kind.as_str() {
                "User" => (subject.name.clone(), false, format!("User {:?}", subject.name)),
                "Group" => (subject.name.clone(), true, format!("Group {:?}", subject.name)),
                "ServiceAccount" => {
                    let namespace = subject.namespace.as_deref().unwrap_or(namespace);
                    let described = format!("ServiceAccount {:?}", format!("{}/{namespace}", subject.name));
                    (format!("system:serviceaccount:{namespace}:{}", subject.name), false, described)
                }
                _ => continue,
            };
            let source = Arc::new(Source {
                binding: binding.to_owned(),
                role_kind: role.kind.clone(),
                role: role.name.clone(),
                subject: described,
            });
            let rules_of_role = rules.cloned().unwrap_or_else(|| Arc::from([]));
            let grant = Grant { rules: rules_of_role, dangling: rules.is_none(), source };
            let grants = if is_group { &mut self.groups } else { &mut self.users };
            grants.entry(name).or_default().push(grant);
        }
    }
}

/// The roles and bindings of a cluster.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// Rules for everywhere.
    pub cluster_roles: Vec<ClusterRole>,
    /// Who has them everywhere.
    pub cluster_role_bindings: Vec<ClusterRoleBinding>,
    /// Rules for a namespace.
    pub roles: Vec<Role>,
    /// Who has them, or a cluster role, in a namespace.
    pub role_bindings: Vec<RoleBinding>,
}

/// Who may do what.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    cluster: Grants,
    namespaces: HashMap<String, Grants>,
    cluster_roles: HashMap<String, Arc<[PolicyRule]>>,
    roles: HashMap<(String, String), Arc<[PolicyRule]>>,
}

/// What the rules say about a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// This binding allows it.
    Allowed(String),
    /// No binding does; roles that could not be found, if any.
    NoOpinion(String),
}

impl Rules {
    /// Indexes a cluster's roles and bindings.
    pub fn new(policy: Policy) -> Self {
        let mut rules = Self::default();
        for role in policy.cluster_roles {
            rules.cluster_roles.insert(role.metadata.name.unwrap_or_default(), role.rules.unwrap_or_default().into());
        }
        for role in policy.roles {
            let key = (role.metadata.namespace.unwrap_or_default(), role.metadata.name.unwrap_or_default());
            rules.roles.insert(key, role.rules.unwrap_or_default().into());
        }
        for binding in policy.cluster_role_bindings {
            let described = format!("ClusterRoleBinding {:?}", binding.metadata.name.unwrap_or_default());
            let granted = rules.cluster_roles.get(&binding.role_ref.name);
            rules.cluster.add(&described, &binding.role_ref, &binding.subjects.unwrap_or_default(), "", granted);
        }
        for binding in policy.role_bindings {
            let namespace = binding.metadata.namespace.unwrap_or_default();
            let name = format!("{}/{namespace}", binding.metadata.name.unwrap_or_default());
            let described = format!("RoleBinding {name:?}");
            let role = &binding.role_ref;
            let granted = match role.kind.as_str() {
                "ClusterRole" => rules.cluster_roles.get(&role.name),
                _ => rules.roles.get(&(namespace.clone(), role.name.clone())),
            };
            let subjects = binding.subjects.unwrap_or_default();
            let grants = rules.namespaces.entry(namespace.clone()).or_default();
            grants.add(&described, role, &subjects, &namespace, granted);
        }
        rules
    }

    fn grants<'a>(&'a self, user: &User, namespace: &str) -> impl Iterator<Item = &'a Grant> {
        let local = self.namespaces.get(namespace).filter(|_| !namespace.is_empty());
        self.cluster.of(user).chain(local.into_iter().flat_map(|grants| grants.of(user)))
    }

    /// Whether a request is allowed: the quick question.
    pub fn allow(&self, request: &Attributes<'_>) -> bool {
        self.allowing(request).is_some()
    }

    fn allowing(&self, request: &Attributes<'_>) -> Option<&Source> {
        let full_resource = request.full_resource();
        let grants = self.grants(request.user, request.namespace);
        let mut allowing = grants.filter(|grant| grant.rules.iter().any(|rule| allows(rule, request, &full_resource)));
        allowing.next().map(|grant| &*grant.source)
    }

    /// Whether a request is allowed, and why.
    pub fn verdict(&self, request: &Attributes<'_>) -> Verdict {
        if let Some(source) = self.allowing(request) {
            return Verdict::Allowed(format!("RBAC: allowed by {source}"));
        }
        let dangling = self.grants(request.user, request.namespace).filter(|grant| grant.dangling);
        let mut missing: Vec<String> = dangling
            .map(|grant| {
                let resource = if grant.source.role_kind == "ClusterRole" { "clusterrole" } else { "role" };
                format!("{resource}.rbac.authorization.k8s.io {:?} not found", grant.source.role)
            })
            .collect();
        missing.dedup();
        Verdict::NoOpinion(match missing.as_slice() {
            [] => String::new(),
            [one] => format!("RBAC: {one}"),
            many => format!("RBAC: [{}]", many.join(", ")),
        })
    }

    /// Every rule that a user has in a namespace, or in the cluster.
    pub fn of(&self, user: &User, namespace: &str) -> Vec<PolicyRule> {
        self.grants(user, namespace).flat_map(|grant| grant.rules.iter().cloned()).collect()
    }

    /// The rules of a role that a binding refers to.
    pub fn of_role(&self, role: &RoleRef, namespace: &str) -> Option<&[PolicyRule]> {
        match role.kind.as_str() {
            "ClusterRole" => self.cluster_roles.get(&role.name),
            _ => self.roles.get(&(namespace.to_owned(), role.name.clone())),
        }
        .map(|rules| &**rules)
    }
}

fn contains(values: Option<&Vec<String>>, value: &str) -> bool {
    values.is_some_and(|values| values.iter().any(|candidate| candidate == value))
}

fn contains_or_star(values: Option<&Vec<String>>, value: &str) -> bool {
    values.is_some_and(|values| values.iter().any(|candidate| candidate == "*" || candidate == value))
}

/// One rule allows the request. `full_resource` is [`Attributes::full_resource`].
pub fn allows(rule: &PolicyRule, request: &Attributes<'_>, full_resource: &str) -> bool {
    if !contains_or_star(Some(&rule.verbs), request.verb) {
        return false;
    }
    if !request.is_resource() {
        let urls = rule.non_resource_urls.iter().flatten();
        return urls.into_iter().any(|url| url_matches(url, request.path));
    }
    contains_or_star(rule.api_groups.as_ref(), request.group)
        && rule
            .resources
            .iter()
            .flatten()
            .any(|resource| resource_matches(resource, full_resource, request.subresource))
        && (rule.resource_names.as_ref().is_none_or(Vec::is_empty)
            || contains(rule.resource_names.as_ref(), request.name))
}

/// `*`, `pods`, `pods/log`, `*/scale`.
pub(super) fn resource_matches(rule: &str, full_resource: &str, subresource: &str) -> bool {
    rule == "*"
        || rule == full_resource
        || (!subresource.is_empty() && rule.strip_prefix("*/").is_some_and(|part| part == subresource))
}

/// `*`, `/healthz`, `/apis/*`.
pub(crate) fn url_matches(rule: &str, path: &str) -> bool {
    rule == "*" || rule == path || (rule.ends_with('*') && path.starts_with(rule.trim_end_matches('*')))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::{Value, json};

    use super::*;

    fn rules(objects: Vec<Value>) -> Rules {
        let mut policy = Policy::default();
        for object in objects {
            match object["kind"].as_str().unwrap() {
                "ClusterRole" => policy.cluster_roles.push(serde_json::from_value(object).unwrap()),
                "ClusterRoleBinding" => policy.cluster_role_bindings.push(serde_json::from_value(object).unwrap()),
                "Role" => policy.roles.push(serde_json::from_value(object).unwrap()),
                _ => policy.role_bindings.push(serde_json::from_value(object).unwrap()),
            }
        }
        Rules::new(policy)
    }

    fn binding(kind: &str, name: &str, namespace: &str, role: (&str, &str), subject: Value) -> Value {
        json!({
            "kind": kind,
            "metadata": {"name": name, "namespace": namespace},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": role.0, "name": role.1},
            "subjects": [subject],
        })
    }

    fn cluster() -> Rules {
        let user = |name: &str| json!({"kind": "User", "name": name, "apiGroup": "rbac.authorization.k8s.io"});
        rules(vec![
            json!({"kind": "ClusterRole", "metadata": {"name": "reader"}, "rules": [
                {"apiGroups": [""], "resources": ["pods", "pods/log"], "verbs": ["get", "list"]},
                {"apiGroups": ["*"], "resources": ["*/scale"], "verbs": ["get"]},
                {"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["tls"], "verbs": ["get"]},
                {"nonResourceURLs": ["/metrics", "/apis/*"], "verbs": ["get"]},
            ]}),
            json!({"kind": "ClusterRole", "metadata": {"name": "all"}, "rules": [
                {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]},
                {"nonResourceURLs": ["*"], "verbs": ["*"]},
            ]}),
            json!({"kind": "Role", "metadata": {"name": "writer", "namespace": "dev"}, "rules": [
                {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["create"]},
            ]}),
            binding("ClusterRoleBinding", "readers", "", ("ClusterRole", "reader"), user("jane")),
            binding(
                "ClusterRoleBinding",
                "admins",
                "",
                ("ClusterRole", "all"),
                json!({"kind": "Group", "name": "admins"}),
            ),
            binding("RoleBinding", "writers", "dev", ("Role", "writer"), user("jane")),
            binding(
                "RoleBinding",
                "robots",
                "dev",
                ("ClusterRole", "all"),
                json!({"kind": "ServiceAccount", "name": "robot", "namespace": "ci"}),
            ),
            binding("RoleBinding", "gone", "dev", ("Role", "gone"), user("joe")),
        ])
    }

    fn user(name: &str, group: &str) -> User {
        User { name: name.into(), groups: vec![group.into()], ..User::default() }
    }

    #[test]
    fn requests_are_allowed_by_rules() {
        let rules = cluster();
        let jane = user("jane", "");
        let admin = user("x", "admins");
        let robot = user("system:serviceaccount:ci:robot", "");
        for (user, verb, resource, place, allowed) in [
            (&jane, "get", "/pods", "dev/web", true),
            (&jane, "list", "/pods", "/", true),
            (&jane, "delete", "/pods", "dev/web", false),
            (&jane, "get", "/pods/log", "dev/web", true),
            (&jane, "get", "/pods/exec", "dev/web", false),
            (&jane, "get", "apps/pods", "dev/web", false),
            (&jane, "get", "apps/deployments/scale", "dev/web", true),
            (&jane, "get", "apps/deployments", "dev/web", false),
            (&jane, "get", "/secrets", "dev/tls", true),
            (&jane, "get", "/secrets", "dev/other", false),
            (&jane, "list", "/secrets", "dev/", false),
            (&jane, "create", "apps/deployments", "dev/", true),
            (&jane, "create", "apps/deployments", "prod/", false),
            (&jane, "create", "apps/deployments", "/", false),
            (&admin, "impersonate", "/users", "/jane", true),
            (&robot, "delete", "/pods", "dev/web", true),
            (&robot, "delete", "/pods", "ci/web", false),
            (&user("nobody", "nothing"), "get", "/pods", "dev/web", false),
        ] {
            let mut parts = resource.split('/');
            let (namespace, name) = place.split_once('/').unwrap();
            let (group, plural) = (parts.next().unwrap(), parts.next().unwrap());
            let subresource = parts.next().unwrap_or_default();
            let request =
                Attributes { subresource, namespace, name, ..Attributes::resource(user, verb, group, plural) };
            assert_eq!(rules.allow(&request), allowed, "{} {verb} {resource} {place}", user.name);
        }
        for (path, allowed) in
            [("/metrics", true), ("/metrics/x", false), ("/apis/apps", true), ("/apis", false), ("/apis/", true)]
        {
            assert_eq!(rules.allow(&Attributes::path(&jane, "get", path)), allowed, "{path}");
            assert!(rules.allow(&Attributes::path(&admin, "post", path)));
        }
    }

    #[test]
    fn verdicts_name_the_binding_or_what_is_missing() {
        let rules = cluster();
        let jane = user("jane", "");
        let pods = Attributes::resource(&jane, "list", "", "pods");
        assert_eq!(
            rules.verdict(&pods),
            Verdict::Allowed(
                "RBAC: allowed by ClusterRoleBinding \"readers\" of ClusterRole \"reader\" to User \"jane\"".into()
            )
        );
        let robot = user("system:serviceaccount:ci:robot", "");
        assert_eq!(
            rules.verdict(&Attributes { user: &robot, namespace: "dev", ..pods }),
            Verdict::Allowed(
                "RBAC: allowed by RoleBinding \"robots/dev\" of ClusterRole \"all\" to ServiceAccount \"robot/ci\""
                    .into()
            )
        );
        let joe = user("joe", "");
        assert_eq!(
            rules.verdict(&Attributes { user: &joe, namespace: "dev", ..pods }),
            Verdict::NoOpinion("RBAC: role.rbac.authorization.k8s.io \"gone\" not found".into())
        );
        assert_eq!(rules.verdict(&Attributes { user: &joe, ..pods }), Verdict::NoOpinion(String::new()));
        assert_eq!(rules.of(&jane, "dev").len(), 5);
    }
}
