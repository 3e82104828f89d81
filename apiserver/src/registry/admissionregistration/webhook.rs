//! What both kinds of webhooks have in common. Source: `pkg/apis/admissionregistration/v1/defaults.go`,
//! `pkg/apis/admissionregistration/validation/validation.go`.

use std::collections::BTreeSet;

use k8s_openapi::{
    api::admissionregistration::v1::{
        MatchCondition, MutatingWebhook, RuleWithOperations, ServiceReference, ValidatingWebhook, WebhookClientConfig,
    },
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};
use kubelab_api::{
    field::{Errors, Path},
    name,
    selector::label,
};

use crate::registry::{
    cells::{list, text},
    defaults::{each, missing},
    validation::{choice, json, required},
};

/// A webhook of either kind.
pub(super) struct Webhook<'a> {
    pub name: &'a str,
    pub client: &'a WebhookClientConfig,
    pub rules: &'a [RuleWithOperations],
    pub side_effects: &'a str,
    pub timeout_seconds: Option<i32>,
    pub review_versions: &'a [String],
    pub failure_policy: &'a Option<String>,
    pub match_policy: &'a Option<String>,
    pub conditions: &'a [MatchCondition],
    pub selectors: [(&'static str, Option<&'a LabelSelector>); 2],
}

macro_rules! webhook {
    ($kind:ident) => {
        impl<'a> From<&'a $kind> for Webhook<'a> {
            fn from(webhook: &'a $kind) -> Self {
                Webhook {
                    name: &webhook.name,
                    client: &webhook.client_config,
                    rules: list(&webhook.rules),
                    side_effects: &webhook.side_effects,
                    timeout_seconds: webhook.timeout_seconds,
                    review_versions: &webhook.admission_review_versions,
                    failure_policy: &webhook.failure_policy,
                    match_policy: &webhook.match_policy,
                    conditions: list(&webhook.match_conditions),
                    selectors: [
                        ("namespaceSelector", webhook.namespace_selector.as_ref()),
                        ("objectSelector", webhook.object_selector.as_ref()),
                    ],
                }
            }
        }

        impl Defaults for $kind {
            fn default(&mut self) {
                missing(&mut self.failure_policy, "Fail".into());
                missing(&mut self.match_policy, "Equivalent".into());
                missing(&mut self.namespace_selector, LabelSelector::default());
                missing(&mut self.object_selector, LabelSelector::default());
                missing(&mut self.timeout_seconds, 10);
                if let Some(service) = &mut self.client_config.service {
                    missing(&mut service.port, 443);
                }
                for rule in each(&mut self.rules) {
                    missing(&mut rule.scope, "*".into());
                }
            }
        }
    };
}
webhook!(MutatingWebhook);
webhook!(ValidatingWebhook);

/// Fills in what the user left out.
pub(super) trait Defaults {
    fn default(&mut self);
}

/// What is wrong with webhooks.
pub(super) fn validate<'a>(webhooks: impl Iterator<Item = Webhook<'a>>, errors: &mut Errors) {
    let mut names = BTreeSet::new();
    for (i, webhook) in webhooks.enumerate() {
        let path = Path::new("webhooks").index(i);
        validate_one(&webhook, &path, errors);
        if !webhook.name.is_empty() && !names.insert(webhook.name) {
            errors.duplicate(&path.child("name"), webhook.name);
        }
    }
}

fn validate_one(webhook: &Webhook<'_>, path: &Path, errors: &mut Errors) {
    let name_path = path.child("name");
    if webhook.name.is_empty() {
        errors.required(&name_path, "");
    } else {
        for wrong in name::dns1123_subdomain(webhook.name) {
            errors.invalid(&name_path, webhook.name, &wrong);
        }
        if webhook.name.split('.').count() < 3 {
            let detail = "should be a domain with at least three segments separated by dots";
            errors.invalid(&name_path, webhook.name, detail);
        }
    }
    validate_review_versions(webhook.review_versions, &path.child("admissionReviewVersions"), errors);
    for (i, rule) in webhook.rules.iter().enumerate() {
        validate_rule(rule, &path.child("rules").index(i), errors);
    }
    if let Some(policy) = webhook.failure_policy {
        choice(policy, &["Fail", "Ignore"], &path.child("failurePolicy"), errors);
    }
    if let Some(policy) = webhook.match_policy {
        choice(policy, &["Equivalent", "Exact"], &path.child("matchPolicy"), errors);
    }
    match webhook.side_effects {
        "" => errors.required(&path.child("sideEffects"), "must specify one of None, NoneOnDryRun"),
        effects => choice(effects, &["None", "NoneOnDryRun"], &path.child("sideEffects"), errors),
    }
    if let Some(seconds) = webhook.timeout_seconds.filter(|seconds| !(1..=30).contains(seconds)) {
        let detail = "the timeout value must be between 1 and 30 seconds";
        errors.invalid(&path.child("timeoutSeconds"), seconds, detail);
    }
    for (field, selector) in webhook.selectors {
        if let Some(selector) = selector {
            label::validate(selector, &path.child(field), errors);
        }
    }
    super::expressions::match_conditions(webhook.conditions, false, &path.child("matchConditions"), errors);
    let path = path.child("clientConfig");
    match (text(&webhook.client.url), &webhook.client.service) {
        ("", None) => errors.required(&path, "exactly one of url or service is required"),
        (url, None) => validate_url(url, &path.child("url"), errors),
        ("", Some(service)) => validate_service(service, &path.child("service"), errors),
        (_, Some(_)) => errors.required(&path, "exactly one of url or service is required"),
    }
}

const REVIEW_VERSIONS: [&str; 2] = ["v1", "v1beta1"];

/// Source: `validateAdmissionReviewVersions`.
fn validate_review_versions(versions: &[String], path: &Path, errors: &mut Errors) {
    if versions.is_empty() {
        return errors.required(path, "must specify one of v1, v1beta1");
    }
    let mut seen = BTreeSet::new();
    for (i, version) in versions.iter().enumerate() {
        if !seen.insert(version.as_str()) {
            errors.invalid(&path.index(i), version.as_str(), "duplicate version");
            continue;
        }
        for wrong in name::dns1035_label(version) {
            errors.invalid(&path.index(i), version.as_str(), &wrong);
        }
    }
    if !REVIEW_VERSIONS.iter().any(|version| seen.contains(version)) {
        errors.invalid(path, json(&versions), "must include at least one of v1, v1beta1");
    }
}

/// Source: `validateRuleWithOperations`.
pub(super) fn validate_rule(rule: &RuleWithOperations, path: &Path, errors: &mut Errors) {
    let lists = [
        ("operations", list(&rule.operations), "operations"),
        ("apiGroups", list(&rule.api_groups), "API groups"),
        ("apiVersions", list(&rule.api_versions), "API versions"),
    ];
    for (field, values, what) in lists {
        let path = path.child(field);
        if values.is_empty() {
            errors.required(&path, "");
        }
        if values.len() > 1 && values.iter().any(|value| value == "*") {
            errors.invalid(&path, json(&values), &format!("if '*' is present, must not specify other {what}"));
        }
        for (i, value) in values.iter().enumerate() {
            match field {
                "operations" => {
                    choice(value, &["*", "CONNECT", "CREATE", "DELETE", "UPDATE"], &path.index(i), errors);
                }
                "apiVersions" => required(value, &path.index(i), errors),
                _ => {}
            }
        }
    }
    validate_resources(list(&rule.resources), &path.child("resources"), errors);
    if let Some(scope) = &rule.scope {
        choice(scope, &["*", "Cluster", "Namespaced"], &path.child("scope"), errors);
    }
}

/// Source: `validateResources`.
fn validate_resources(resources: &[String], path: &Path, errors: &mut Errors) {
    if resources.is_empty() {
        errors.required(path, "");
    }
    let (mut of_any, mut any_of) = (BTreeSet::new(), BTreeSet::new());
    for (i, resource) in resources.iter().enumerate() {
        required(resource, &path.index(i), errors);
        let Some((whole, part)) = resource.split_once('/') else { continue };
        if any_of.contains(whole) {
            let detail = format!("if '{whole}/*' is present, must not specify {resource}");
            errors.invalid(&path.index(i), resource.as_str(), &detail);
        }
        if of_any.contains(part) {
            let detail = format!("if '*/{part}' is present, must not specify {resource}");
            errors.invalid(&path.index(i), resource.as_str(), &detail);
        }
        if part == "*" {
            any_of.insert(whole);
        }
        if whole == "*" {
            of_any.insert(part);
        }
    }
    let has = |wanted: &str| resources.iter().any(|resource| resource == wanted);
    if resources.len() > 1 && has("*/*") {
        errors.invalid(path, json(&resources), "if '*/*' is present, must not specify other resources");
    }
    if has("*") && resources.iter().any(|resource| resource != "*" && !resource.contains('/')) {
        let detail = "if '*' is present, must not specify other resources without subresources";
        errors.invalid(path, json(&resources), detail);
    }
}

/// Source: `ValidateWebhookURL`.
pub(in crate::registry) fn validate_url(url: &str, path: &Path, errors: &mut Errors) {
    const FORM: &str = "; desired format: https://host[/path]";
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let (rest, fragment) = rest.split_once('#').unwrap_or((rest, ""));
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let authority = if scheme.is_empty() { "" } else { rest.split('/').next().unwrap_or_default() };
    let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    if scheme != "https" {
        errors.invalid(path, scheme, &format!("'https' is the only allowed URL scheme{FORM}"));
    }
    if host.is_empty() {
        errors.invalid(path, host, &format!("host must be specified{FORM}"));
    }
    for (part, detail) in [
        (user, "user information is not permitted in the URL"),
        (fragment, "fragments are not permitted in the URL"),
        (query, "query parameters are not permitted in the URL"),
    ] {
        if !part.is_empty() {
            errors.invalid(path, part, detail);
        }
    }
}

/// Source: `ValidateWebhookService`.
pub(in crate::registry) fn validate_service(service: &ServiceReference, path: &Path, errors: &mut Errors) {
    required(&service.name, &path.child("name"), errors);
    required(&service.namespace, &path.child("namespace"), errors);
    let port = service.port.unwrap_or_default();
    let wrong = name::port_number(port.into());
    if !wrong.is_empty() {
        errors.invalid(&path.child("port"), port, &format!("port is not valid: {}", wrong.join(",")));
    }
    let (url, path) = (text(&service.path), path.child("path"));
    match url {
        "" | "/" => return,
        "//" => return errors.invalid(&path, url, "segment[0] may not be empty"),
        _ => {}
    }
    if !url.starts_with('/') {
        errors.invalid(&path, url, "must start with a '/'");
    }
    let inner = url.get(1..).unwrap_or_default();
    for (i, segment) in inner.strip_suffix('/').unwrap_or(inner).split('/').enumerate() {
        if segment.is_empty() {
            errors.invalid(&path, url, &format!("segment[{i}] may not be empty"));
            continue;
        }
        for wrong in name::dns1123_subdomain(segment) {
            errors.invalid(&path, url, &format!("segment[{i}]: {wrong}"));
        }
    }
}
