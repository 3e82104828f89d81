//! Which requests are recorded, and how much of them: a `Policy` of `audit.k8s.io/v1`. Pure.
//! Source: `k8s.io/apiserver/pkg/audit/policy`, `pkg/apis/audit/validation/validation.go`.

use kubelab_api::{
    field::{Errors, Path},
    name,
};
use serde::{Deserialize, Serialize};

use super::event::Stage;
use crate::{
    authorization::{Attributes, rules::url_matches},
    corridor::User,
};

/// How much of a request is recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Level {
    /// Nothing.
    #[default]
    None,
    /// Who, what, when, and the answer's code.
    Metadata,
    /// What was sent, too.
    Request,
    /// What was answered, too.
    RequestResponse,
}

const LEVELS: [(&str, Level); 4] = [
    ("Metadata", Level::Metadata),
    ("None", Level::None),
    ("Request", Level::Request),
    ("RequestResponse", Level::RequestResponse),
];

/// Why there is no policy.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is no YAML, or not of this form.
    #[error("failed decoding: {0}")]
    Malformed(String),
    /// It says to be something else.
    #[error("unknown group version field {0:?} in policy; write apiVersion: audit.k8s.io/v1 and kind: Policy")]
    Version(String),
    /// It breaks a rule.
    #[error("{0}")]
    Invalid(String),
    /// It says nothing.
    #[error("loaded illegal policy with 0 rules")]
    Empty,
}

/// Which requests are recorded, and how.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    rules: Vec<Rule>,
}

/// What the policy says about a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// How much is recorded.
    pub level: Level,
    /// When not.
    pub omit_stages: Vec<Stage>,
    /// Objects are recorded without their `managedFields`.
    pub omit_managed_fields: bool,
}

#[derive(Clone, Debug)]
struct Rule {
    written: Written,
    verdict: Verdict,
}

/// A rule as it is written.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Written {
    level: String,
    users: Vec<String>,
    user_groups: Vec<String>,
    verbs: Vec<String>,
    resources: Vec<GroupResources>,
    namespaces: Vec<String>,
    #[serde(rename = "nonResourceURLs")]
    non_resource_urls: Vec<String>,
    omit_stages: Vec<String>,
    omit_managed_fields: Option<bool>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct GroupResources {
    group: String,
    resources: Vec<String>,
    resource_names: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Document {
    api_version: String,
    kind: String,
    rules: Vec<Written>,
    omit_stages: Vec<String>,
    omit_managed_fields: bool,
}

impl Policy {
    /// Reads a policy in YAML.
    pub fn parse(yaml: &str) -> Result<Self, Error> {
        let document: Document = serde_saphyr::from_str(yaml).map_err(|error| Error::Malformed(error.to_string()))?;
        if (document.api_version.as_str(), document.kind.as_str()) != ("audit.k8s.io/v1", "Policy") {
            return Err(Error::Version(format!("{}, Kind={}", document.api_version, document.kind)));
        }
        let mut errors = Errors::default();
        stages(&document.omit_stages, &Path::new("omitStages"), &mut errors);
        for (i, rule) in document.rules.iter().enumerate() {
            validate(rule, &Path::new("rules").index(i), &mut errors);
        }
        if !errors.is_empty() {
            return Err(Error::Invalid(errors.to_string()));
        }
        if document.rules.is_empty() {
            return Err(Error::Empty);
        }
        let rules = document.rules.into_iter().map(|written| {
            let omitted = document.omit_stages.iter().chain(&written.omit_stages);
            let verdict = Verdict {
                level: level(&written.level).unwrap_or_default(),
                omit_stages: omitted.filter_map(|stage| Stage::named(stage)).collect(),
                omit_managed_fields: written.omit_managed_fields.unwrap_or(document.omit_managed_fields),
            };
            Rule { written, verdict }
        });
        Ok(Self { rules: rules.collect() })
    }

    /// What the first rule that fits says; a request that none fits is not recorded. `user` is `None` where nobody knows.
    pub fn evaluate(&self, user: Option<&User>, request: &Attributes<'_>) -> Verdict {
        let first = self.rules.iter().find(|rule| rule.written.matches(user, request));
        first.map(|rule| rule.verdict.clone()).unwrap_or_default()
    }
}

fn level(text: &str) -> Option<Level> {
    LEVELS.iter().find(|(name, _)| *name == text).map(|(_, level)| *level)
}

fn has(values: &[String], value: &str) -> bool {
    values.iter().any(|candidate| candidate == value)
}

impl Written {
    fn matches(&self, user: Option<&User>, request: &Attributes<'_>) -> bool {
        let named = user.is_some_and(|user| has(&self.users, &user.name));
        let member = user.is_some_and(|user| user.groups.iter().any(|group| has(&self.user_groups, group)));
        if (!self.users.is_empty() && !named)
            || (!self.user_groups.is_empty() && !member)
            || (!self.verbs.is_empty() && !has(&self.verbs, request.verb))
        {
            return false;
        }
        if !self.namespaces.is_empty() || !self.resources.is_empty() {
            return request.is_resource() && self.covers(request);
        }
        self.non_resource_urls.is_empty()
            || (!request.is_resource() && self.non_resource_urls.iter().any(|url| url_matches(url, request.path)))
    }

    fn covers(&self, request: &Attributes<'_>) -> bool {
        if !self.namespaces.is_empty() && !has(&self.namespaces, request.namespace) {
            return false;
        }
        let whole = request.full_resource();
        self.resources.is_empty()
            || self.resources.iter().filter(|group| group.group == "*" || group.group == request.group).any(|group| {
                let named = group.resource_names.is_empty() || has(&group.resource_names, request.name);
                let fits = |written: &String| {
                    written == "*"
                        || *written == *whole
                        || (!request.subresource.is_empty() && written.strip_prefix("*/") == Some(request.subresource))
                        || written.strip_suffix("/*") == Some(request.resource)
                };
                group.resources.is_empty() || (named && group.resources.iter().any(fits))
            })
    }
}

fn validate(rule: &Written, path: &Path, errors: &mut Errors) {
    if rule.level.is_empty() {
        errors.required(&path.child("level"), "");
    } else if level(&rule.level).is_none() {
        errors.not_supported(&path.child("level"), &rule.level, &LEVELS.map(|(name, _)| name));
    }
    let urls = path.child("nonResourceURLs");
    for (i, url) in rule.non_resource_urls.iter().enumerate().filter(|(_, url)| *url != "*") {
        if !url.starts_with('/') {
            let detail = "non-resource URL rules must begin with a '/' character";
            errors.invalid(&urls.index(i), url.as_str(), detail);
        }
        if url.strip_suffix('*').unwrap_or(url).contains('*') {
            let detail = "non-resource URL wildcards '*' must be the final character of the rule";
            errors.invalid(&urls.index(i), url.as_str(), detail);
        }
    }
    let resources = path.child("resources");
    for group in &rule.resources {
        let wrong = name::dns1123_subdomain(&group.group);
        if !group.group.is_empty() && group.group != "*" && !wrong.is_empty() {
            errors.invalid(&resources.child("group"), group.group.as_str(), &wrong.join(","));
        }
        if !group.resource_names.is_empty() && group.resources.is_empty() {
            let names = serde_json::to_value(&group.resource_names).unwrap_or_default();
            let detail = "using resourceNames requires at least one resource";
            errors.invalid(&resources.child("resourceNames"), names, detail);
        }
    }
    stages(&rule.omit_stages, &path.child("omitStages"), errors);
    let of_resources = !rule.resources.is_empty() || !rule.namespaces.is_empty();
    if of_resources && !rule.non_resource_urls.is_empty() {
        let given = serde_json::to_value(&rule.non_resource_urls).unwrap_or_default();
        errors.invalid(&urls, given, "rules cannot apply to both regular resources and non-resource URLs");
    }
}

fn stages(given: &[String], path: &Path, errors: &mut Errors) {
    for (i, stage) in given.iter().enumerate().filter(|(_, stage)| Stage::named(stage).is_none()) {
        let allowed: Vec<&str> = Stage::ALL.iter().map(|stage| stage.name()).collect();
        errors.invalid(&path.index(i), stage.as_str(), &format!("allowed stages are {}", allowed.join(",")));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn policy(rules: &str) -> Result<Policy, String> {
        Policy::parse(&format!("apiVersion: audit.k8s.io/v1\nkind: Policy\n{rules}")).map_err(|error| error.to_string())
    }

    const RULES: &str = "
omitStages: [RequestReceived]
omitManagedFields: true
rules:
- {level: None, users: ['system:kube-proxy'], verbs: [watch]}
- {level: None, userGroups: ['system:nodes']}
- {level: None, nonResourceURLs: ['/healthz*', /version]}
- {level: Request, omitStages: [ResponseStarted], resources: [{group: '', resources: [configmaps], resourceNames: [leader]}]}
- {level: RequestResponse, omitManagedFields: false, resources: [{group: '', resources: [pods, 'services/*', '*/scale']}, {group: apps}]}
- {level: Metadata, namespaces: [kube-system, '']}
- {level: Metadata, nonResourceURLs: ['*']}
";

    #[test]
    fn the_first_rule_that_fits_counts() {
        let policy = policy(RULES).unwrap();
        let user = |name: &str, group: &str| User { name: name.into(), groups: vec![group.into()], ..User::default() };
        let (jane, proxy, kubelet) = (user("jane", ""), user("system:kube-proxy", ""), user("n", "system:nodes"));
        let level = |user: &User, verb: &str, what: &str| {
            let request = match what.strip_prefix("path ") {
                Some(path) => Attributes::path(user, verb, path),
                None => {
                    let parts: Vec<&str> = what.split('|').collect();
                    let [group, resource, subresource, namespace, name] = parts[..] else { panic!("{what}") };
                    Attributes { subresource, namespace, name, ..Attributes::resource(user, verb, group, resource) }
                }
            };
            policy.evaluate(Some(user), &request).level
        };
        for (user, verb, what, expected) in [
            (&proxy, "watch", "|services|||", Level::None),
            (&proxy, "list", "|endpoints||kube-system|", Level::Metadata),
            (&kubelet, "get", "|pods||dev|web", Level::None),
            (&jane, "get", "path /healthz/etcd", Level::None),
            (&jane, "get", "path /version", Level::None),
            (&jane, "get", "path /versions", Level::Metadata),
            (&jane, "get", "|configmaps||dev|leader", Level::Request),
            (&jane, "get", "|configmaps||dev|other", Level::None),
            (&jane, "get", "|pods||dev|web", Level::RequestResponse),
            (&jane, "get", "|pods|log|dev|web", Level::None),
            (&jane, "get", "|pods|log|kube-system|web", Level::Metadata),
            (&jane, "get", "|services|proxy|dev|web", Level::RequestResponse),
            (&jane, "get", "|services||dev|web", Level::RequestResponse),
            (&jane, "get", "|replicationcontrollers|scale|dev|web", Level::RequestResponse),
            (&jane, "get", "apps|deployments|status|dev|web", Level::RequestResponse),
            (&jane, "list", "|nodes|||", Level::Metadata),
            (&jane, "list", "batch|jobs||dev|", Level::None),
        ] {
            assert_eq!(level(user, verb, what), expected, "{} {verb} {what}", user.name);
        }
    }

    #[test]
    fn verdicts_join_what_policy_and_rule_say() {
        let policy = policy(RULES).unwrap();
        let jane = User { name: "jane".into(), ..User::default() };
        let leader = Attributes { name: "leader", ..Attributes::resource(&jane, "get", "", "configmaps") };
        let verdict = policy.evaluate(Some(&jane), &leader);
        assert_eq!(verdict.omit_stages, [Stage::RequestReceived, Stage::ResponseStarted]);
        assert!(verdict.omit_managed_fields);
        let pods = Attributes::resource(&jane, "get", "", "pods");
        assert!(!policy.evaluate(Some(&jane), &pods).omit_managed_fields);
        let health = Attributes::path(&jane, "get", "/x");
        assert_eq!(policy.evaluate(None, &health).level, Level::Metadata, "nobody matches rules that name nobody");
    }

    #[test]
    fn wrong_policies_are_refused_in_upstreams_words() {
        for (rules, message) in [
            ("rules: []", "loaded illegal policy with 0 rules"),
            ("rules: [{}]", "rules[0].level: Required value"),
            (
                "rules: [{level: All}]",
                "rules[0].level: Unsupported value: \"All\": supported values: \"Metadata\", \"None\", \"Request\", \
                 \"RequestResponse\"",
            ),
            (
                "rules: [{level: None, nonResourceURLs: [x]}]",
                "rules[0].nonResourceURLs[0]: Invalid value: \"x\": non-resource URL rules must begin with a '/' character",
            ),
            (
                "rules: [{level: None, nonResourceURLs: ['/a*b']}]",
                "rules[0].nonResourceURLs[0]: Invalid value: \"/a*b\": non-resource URL wildcards '*' must be the final \
                 character of the rule",
            ),
            (
                "rules: [{level: None, resources: [{group: a/v1}]}]",
                "rules[0].resources.group: Invalid value: \"a/v1\": a lowercase RFC 1123 subdomain must consist of lower \
                 case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. \
                 'example.com', regex used for validation is \
                 '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
            ),
            (
                "rules: [{level: None, resources: [{resourceNames: [a]}]}]",
                "rules[0].resources.resourceNames: Invalid value: [\"a\"]: using resourceNames requires at least one \
                 resource",
            ),
            (
                "rules: [{level: None, nonResourceURLs: [/a], namespaces: [b]}]",
                "rules[0].nonResourceURLs: Invalid value: [\"/a\"]: rules cannot apply to both regular resources and \
                 non-resource URLs",
            ),
            (
                "omitStages: [Later]\nrules: [{level: None}]",
                "omitStages[0]: Invalid value: \"Later\": allowed stages are \
                 RequestReceived,ResponseStarted,ResponseComplete,Panic",
            ),
        ] {
            assert_eq!(policy(rules).map(|_| ()), Err(message.to_owned()), "{rules}");
        }
        let other = Policy::parse("apiVersion: v1\nkind: Pod\nrules: [{level: None}]").unwrap_err().to_string();
        assert!(other.starts_with("unknown group version field \"v1, Kind=Pod\" in policy"), "{other}");
        assert!(Policy::parse("rules: [").unwrap_err().to_string().starts_with("failed decoding: "));
    }
}
