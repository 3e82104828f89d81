//! Which FlowSchema a request falls under. Source: `k8s.io/apiserver/pkg/util/flowcontrol/rule.go`.

use std::sync::{Arc, atomic::AtomicU64};

use http::HeaderValue;
use k8s_openapi::api::flowcontrol::v1::{
    FlowSchema, NonResourcePolicyRule, PolicyRulesWithSubjects, ResourcePolicyRule, Subject,
};

use crate::corridor::User;

/// What of a request matters here.
#[derive(Clone, Copy, Debug)]
pub struct Digest<'a> {
    /// Who asks.
    pub user: &'a User,
    /// `get`, `list`, …; for paths the method in lower case.
    pub verb: &'a str,
    /// The API group.
    pub group: &'a str,
    /// The resource; empty for a path.
    pub resource: &'a str,
    /// Its part; empty for the object.
    pub subresource: &'a str,
    /// Where; empty for cluster scope.
    pub namespace: &'a str,
    /// The path; empty for a resource.
    pub path: &'a str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Distinguisher {
    None,
    User,
    Namespace,
}

/// How many requests of a schema got a seat, and how many did not, by reason.
#[derive(Debug, Default)]
pub struct Counts {
    /// Those that got a seat.
    pub dispatched: AtomicU64,
    /// Those that did not, in the order of [`Refused::ALL`](super::seats::Refused::ALL).
    pub refused: [AtomicU64; 3],
}

/// A FlowSchema in force.
pub struct Schema {
    /// Its name.
    pub name: String,
    /// The lower, the earlier it is asked.
    pub precedence: i32,
    /// Where its requests are seated.
    pub level: String,
    /// For answers' headers: its uid and its level's.
    pub uids: [Option<HeaderValue>; 2],
    /// What became of its requests.
    pub counts: Arc<Counts>,
    distinguisher: Distinguisher,
    rules: Vec<PolicyRulesWithSubjects>,
}

impl Schema {
    /// From its object; `None` where its level does not exist. `level` gives a level's uid.
    pub fn read(schema: &FlowSchema, level: impl Fn(&str) -> Option<String>, counts: Arc<Counts>) -> Option<Self> {
        let spec = &schema.spec;
        let name = &spec.priority_level_configuration.name;
        let method = spec.distinguisher_method.as_ref().map_or("", |method| method.type_.as_str());
        Some(Self {
            name: schema.metadata.name.clone().unwrap_or_default(),
            precedence: spec.matching_precedence.unwrap_or(1000),
            uids: [schema.metadata.uid.clone().unwrap_or_default(), level(name)?]
                .map(|uid| HeaderValue::from_str(&uid).ok().filter(|uid| !uid.is_empty())),
            level: name.clone(),
            counts,
            distinguisher: match method {
                "ByUser" => Distinguisher::User,
                "ByNamespace" => Distinguisher::Namespace,
                _ => Distinguisher::None,
            },
            rules: spec.rules.clone().unwrap_or_default(),
        })
    }

    /// The request falls under it.
    pub fn matches(&self, digest: &Digest<'_>) -> bool {
        self.rules.iter().any(|rule| {
            let allows = match digest.resource {
                "" => rule.non_resource_rules.iter().flatten().any(|rule| is_path(rule, digest)),
                _ => rule.resource_rules.iter().flatten().any(|rule| is_resource(rule, digest)),
            };
            allows && rule.subjects.iter().any(|subject| is_subject(subject, digest.user))
        })
    }

    /// What tells the request's flow from others of this schema.
    pub fn distinguish(&self, digest: &Digest<'_>) -> String {
        match self.distinguisher {
            Distinguisher::None => String::new(),
            Distinguisher::User => digest.user.name.clone(),
            Distinguisher::Namespace => digest.namespace.to_owned(),
        }
    }
}

fn is_subject(subject: &Subject, user: &User) -> bool {
    if let Some(wanted) = &subject.user {
        return wanted.name == "*" || wanted.name == user.name;
    }
    if let Some(wanted) = &subject.group {
        return wanted.name == "*" || user.groups.contains(&wanted.name);
    }
    let Some(wanted) = &subject.service_account else { return false };
    let account = user.name.strip_prefix("system:serviceaccount:").and_then(|rest| rest.split_once(':'));
    account
        .is_some_and(|(namespace, name)| namespace == wanted.namespace && (wanted.name == "*" || wanted.name == name))
}

fn holds(list: &[String], wanted: &str) -> bool {
    list.iter().any(|entry| entry == "*" || entry == wanted)
}

fn is_resource(rule: &ResourcePolicyRule, digest: &Digest<'_>) -> bool {
    let place = match digest.namespace {
        "" => rule.cluster_scope == Some(true),
        namespace => rule.namespaces.as_ref().is_some_and(|namespaces| holds(namespaces, namespace)),
    };
    let named = || match digest.subresource {
        "" => holds(&rule.resources, digest.resource),
        part => rule.resources.iter().any(|entry| {
            entry == "*" || entry.split_once('/').is_some_and(|(name, own)| name == digest.resource && own == part)
        }),
    };
    place && holds(&rule.verbs, digest.verb) && holds(&rule.api_groups, digest.group) && named()
}

fn is_path(rule: &NonResourcePolicyRule, digest: &Digest<'_>) -> bool {
    let path = || {
        rule.non_resource_urls.iter().any(|entry| {
            entry == "*"
                || entry == digest.path
                || entry
                    .strip_suffix("/*")
                    .is_some_and(|prefix| digest.path.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('/')))
        })
    };
    holds(&rule.verbs, digest.verb) && path()
}
