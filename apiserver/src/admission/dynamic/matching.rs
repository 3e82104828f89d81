//! Which requests a policy is about. Source: `k8s.io/apiserver/pkg/admission/plugin/webhook/predicates` and
//! `plugin/policy/matching/matching.go`.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::admissionregistration::v1::{MatchResources, NamedRuleWithOperations, RuleWithOperations},
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};
use kubelab_api::{Error, selector::label::Selector};

use crate::admission::Operation;

/// A resource in one version, or a part of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Target<'a> {
    pub group: &'a str,
    pub version: &'a str,
    pub plural: &'a str,
    pub subresource: &'a str,
}

/// What a request is to a rule.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct Facts<'a> {
    pub operation: Operation,
    pub target: Target<'a>,
    /// Empty for cluster scope. A namespace is in itself.
    pub namespace: &'a str,
    pub name: &'a str,
}

/// One rule.
#[derive(Clone, Debug)]
struct Rule {
    operations: Vec<String>,
    groups: Vec<String>,
    versions: Vec<String>,
    resources: Vec<String>,
    scope: String,
    names: Vec<String>,
}

/// Rules and selectors of a webhook, a policy or a binding.
#[derive(Debug)]
pub struct Matching {
    rules: Vec<Rule>,
    excluded: Vec<Rule>,
    /// Without rules all requests match: for bindings.
    open: bool,
    equivalent: bool,
    namespaces: Result<Selector, String>,
    objects: Result<Selector, String>,
}

/// The labels that selectors look at.
pub trait Labels {
    /// Those of the namespace, or why they are not known.
    fn namespace(&self) -> Result<Option<BTreeMap<String, String>>, Error>;
    /// Any of the objects, new and old, has labels that are selected.
    fn objects(&self, selector: &Selector) -> bool;
}

fn owned(list: Option<Vec<String>>) -> Vec<String> {
    list.unwrap_or_default()
}

impl From<RuleWithOperations> for Rule {
    fn from(rule: RuleWithOperations) -> Self {
        Self {
            operations: owned(rule.operations),
            groups: owned(rule.api_groups),
            versions: owned(rule.api_versions),
            resources: owned(rule.resources),
            scope: rule.scope.unwrap_or_else(|| "*".into()),
            names: Vec::new(),
        }
    }
}

impl From<NamedRuleWithOperations> for Rule {
    fn from(rule: NamedRuleWithOperations) -> Self {
        Self {
            operations: owned(rule.operations),
            groups: owned(rule.api_groups),
            versions: owned(rule.api_versions),
            resources: owned(rule.resources),
            scope: rule.scope.unwrap_or_else(|| "*".into()),
            names: owned(rule.resource_names),
        }
    }
}

impl Rule {
    fn matches(&self, facts: &Facts<'_>) -> bool {
        let any = |items: &[String], wanted: &str| items.iter().any(|item| item == "*" || item == wanted);
        let target = &facts.target;
        let is_namespace = target.group.is_empty() && target.version == "v1" && target.plural == "namespaces";
        let cluster = is_namespace || facts.namespace.is_empty();
        let scope = match self.scope.as_str() {
            "Namespaced" => !cluster,
            "Cluster" => cluster,
            _ => true,
        };
        let resource = self.resources.iter().any(|resource| {
            let (plural, part) = resource.split_once('/').unwrap_or((resource, ""));
            (plural == "*" || plural == target.plural) && (part == "*" || part == target.subresource)
        });
        scope
            && any(&self.operations, facts.operation.name())
            && any(&self.groups, target.group)
            && any(&self.versions, target.version)
            && resource
            && (self.names.is_empty() || self.names.iter().any(|name| name == facts.name))
    }
}

fn selector(typed: Option<&LabelSelector>) -> Result<Selector, String> {
    Selector::from_typed(Some(typed.unwrap_or(&LabelSelector::default()))).map_err(|error| error.to_string())
}

impl Matching {
    /// A webhook's.
    pub fn of_webhook(
        rules: Option<Vec<RuleWithOperations>>,
        policy: Option<&str>,
        namespaces: Option<&LabelSelector>,
        objects: Option<&LabelSelector>,
    ) -> Self {
        Self {
            rules: rules.unwrap_or_default().into_iter().map(Into::into).collect(),
            excluded: Vec::new(),
            open: false,
            equivalent: policy != Some("Exact"),
            namespaces: selector(namespaces),
            objects: selector(objects),
        }
    }

    /// A policy's or a binding's; a binding may leave out what its policy says.
    pub fn of(resources: Option<MatchResources>) -> Self {
        let resources = resources.unwrap_or_default();
        let rules = |rules: Option<Vec<NamedRuleWithOperations>>| rules.unwrap_or_default().into_iter().map(Into::into);
        Self {
            rules: rules(resources.resource_rules).collect(),
            excluded: rules(resources.exclude_resource_rules).collect(),
            open: true,
            equivalent: resources.match_policy.as_deref() != Some("Exact"),
            namespaces: selector(resources.namespace_selector.as_ref()),
            objects: selector(resources.object_selector.as_ref()),
        }
    }

    /// The target by which a request matches: its own, or else one of the other versions of the resource.
    pub fn matches<'a>(
        &self,
        facts: &Facts<'a>,
        others: &[Target<'a>],
        labels: &dyn Labels,
    ) -> Result<Option<Target<'a>>, Error> {
        let namespaces = self.in_namespace(facts, labels);
        if matches!(namespaces, Ok(false)) {
            return Ok(None);
        }
        let objects = match &self.objects {
            Err(error) => Err(Error::internal(error)),
            Ok(selector) => Ok(selector.is_everything() || labels.objects(selector)),
        };
        if matches!(objects, Ok(false)) {
            return Ok(None);
        }
        if self.by_rules(&self.excluded, facts, others).is_some() {
            return Ok(None);
        }
        let found = match self.rules.is_empty() && self.open {
            true => Some(facts.target),
            false => self.by_rules(&self.rules, facts, others),
        };
        // What went wrong counts only for a request that the policy is about.
        match found {
            Some(target) => namespaces.and(objects).map(|_| Some(target)),
            None => Ok(None),
        }
    }

    fn in_namespace(&self, facts: &Facts<'_>, labels: &dyn Labels) -> Result<bool, Error> {
        if facts.namespace.is_empty() && facts.target.plural != "namespaces" {
            return Ok(true);
        }
        match &self.namespaces {
            Err(error) => Err(Error::internal(error)),
            Ok(selector) if selector.is_everything() => Ok(true),
            Ok(selector) => labels.namespace().map(|labels| selector.matches(labels.as_ref())),
        }
    }

    fn by_rules<'a>(&self, rules: &[Rule], facts: &Facts<'a>, others: &[Target<'a>]) -> Option<Target<'a>> {
        if rules.iter().any(|rule| rule.matches(facts)) {
            return Some(facts.target);
        }
        if !self.equivalent {
            return None;
        }
        rules
            .iter()
            .find_map(|rule| others.iter().find(|target| rule.matches(&Facts { target: **target, ..*facts })).copied())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::{Value, json};

    use super::*;

    struct Fixed(Result<Value, Error>, Value);

    impl Labels for Fixed {
        fn namespace(&self) -> Result<Option<BTreeMap<String, String>>, Error> {
            self.0.clone().map(|labels| serde_json::from_value(labels).unwrap())
        }
        fn objects(&self, selector: &Selector) -> bool {
            selector.matches(Some(&serde_json::from_value(self.1.clone()).unwrap()))
        }
    }

    fn target(text: &'static str) -> Target<'static> {
        let mut parts = text.split('/');
        let mut next = || parts.next().unwrap_or_default();
        Target { group: next(), version: next(), plural: next(), subresource: next() }
    }

    fn check(resources: Value, operation: Operation, at: &'static str, namespace: &str) -> Option<String> {
        let matching = Matching::of(Some(serde_json::from_value(resources).unwrap()));
        let facts = Facts { operation, target: target(at), namespace, name: "web" };
        let others = if at.starts_with("apps/v1/") { vec![target("apps/v1beta1/deployments")] } else { Vec::new() };
        let labels = Fixed(Ok(json!({"team": "a"})), json!({"app": "web"}));
        let found = matching.matches(&facts, &others, &labels).unwrap();
        found.map(|target| format!("{}/{}/{}", target.group, target.version, target.plural))
    }

    fn rule(groups: Value, versions: Value, resources: Value) -> Value {
        json!({"operations": ["CREATE", "UPDATE"], "apiGroups": groups, "apiVersions": versions, "resources": resources})
    }

    #[test]
    fn rules_select_requests() {
        let deployments = |more: Value| {
            let mut rule = rule(json!(["apps"]), json!(["v1"]), json!(["deployments"]));
            rule.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            json!({"resourceRules": [rule]})
        };
        let any = |resource: &str| json!({"resourceRules": [rule(json!(["*"]), json!(["*"]), json!([resource]))]});
        let (create, delete) = (Operation::Create, Operation::Delete);
        for (resources, operation, at, namespace, matches) in [
            (deployments(json!({})), create, "apps/v1/deployments", "a", true),
            (deployments(json!({})), delete, "apps/v1/deployments", "a", false),
            (deployments(json!({"operations": ["*"]})), delete, "apps/v1/deployments", "a", true),
            (deployments(json!({"operations": ["CONNECT"]})), Operation::Connect, "apps/v1/deployments", "a", true),
            (deployments(json!({})), create, "apps/v1/deployments/status", "a", false),
            (
                deployments(json!({"resources": ["deployments/status"]})),
                create,
                "apps/v1/deployments/status",
                "a",
                true,
            ),
            (deployments(json!({"resources": ["deployments/*"]})), create, "apps/v1/deployments/scale", "a", true),
            (deployments(json!({"resources": ["*/scale"]})), create, "apps/v1/deployments/scale", "a", true),
            (deployments(json!({"resources": ["deployments/*"]})), create, "apps/v1/deployments", "a", true),
            (deployments(json!({})), create, "/v1/pods", "a", false),
            (any("*"), create, "/v1/pods", "a", true),
            (any("*"), create, "/v1/pods/eviction", "a", false),
            (any("*/*"), create, "/v1/pods/eviction", "a", true),
            (deployments(json!({"scope": "Cluster"})), create, "apps/v1/deployments", "a", false),
            (deployments(json!({"scope": "Namespaced"})), create, "apps/v1/deployments", "a", true),
            (
                json!({"resourceRules": [{"operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"],
                "resources": ["namespaces"], "scope": "Cluster"}]}),
                create,
                "/v1/namespaces",
                "a",
                true,
            ),
            (deployments(json!({"resourceNames": ["web"]})), create, "apps/v1/deployments", "a", true),
            (deployments(json!({"resourceNames": ["db"]})), create, "apps/v1/deployments", "a", false),
            (json!({}), create, "/v1/pods", "a", true),
        ] {
            let shown = resources.to_string();
            assert_eq!(check(resources, operation, at, namespace).is_some(), matches, "{shown} {operation:?} {at}");
        }
    }

    #[test]
    fn other_versions_match_where_the_policy_wants_it() {
        let beta = |policy: &str| {
            let rule = rule(json!(["apps"]), json!(["v1beta1"]), json!(["deployments"]));
            json!({"matchPolicy": policy, "resourceRules": [rule]})
        };
        let at = "apps/v1/deployments";
        let found = check(beta("Equivalent"), Operation::Create, at, "a");
        assert_eq!(found.as_deref(), Some("apps/v1beta1/deployments"));
        assert_eq!(check(beta("Exact"), Operation::Create, at, "a"), None);
    }

    #[test]
    fn selectors_and_exclusions_narrow() {
        let at = "/v1/pods";
        for (resources, matches) in [
            (json!({"namespaceSelector": {"matchLabels": {"team": "a"}}}), true),
            (json!({"namespaceSelector": {"matchLabels": {"team": "b"}}}), false),
            (json!({"objectSelector": {"matchLabels": {"app": "web"}}}), true),
            (json!({"objectSelector": {"matchLabels": {"app": "db"}}}), false),
            (json!({"excludeResourceRules": [rule(json!([""]), json!(["v1"]), json!(["pods"]))]}), false),
            (json!({"excludeResourceRules": [rule(json!([""]), json!(["v1"]), json!(["services"]))]}), true),
        ] {
            let shown = resources.to_string();
            assert_eq!(check(resources, Operation::Create, at, "a").is_some(), matches, "{shown}");
        }
        // Cluster scope has no namespace whose labels could count.
        let resources = json!({"namespaceSelector": {"matchLabels": {"team": "b"}}});
        assert!(check(resources, Operation::Create, "/v1/nodes", "").is_some());
    }

    #[test]
    fn a_missing_namespace_counts_only_where_the_rules_match() {
        let selecting = json!({"namespaceSelector": {"matchLabels": {"team": "a"}},
                               "resourceRules": [rule(json!([""]), json!(["v1"]), json!(["pods"]))]});
        let matching = Matching::of(Some(serde_json::from_value(selecting).unwrap()));
        let labels = Fixed(Err(Error::internal("gone")), json!({}));
        let facts = |at| Facts { operation: Operation::Create, target: target(at), namespace: "a", name: "" };
        assert!(matching.matches(&facts("/v1/pods"), &[], &labels).is_err());
        assert!(matching.matches(&facts("/v1/services"), &[], &labels).unwrap().is_none());
    }
}
