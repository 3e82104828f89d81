//! What both kinds of webhooks have in common. Source: `pkg/apis/admissionregistration/v1/defaults.go`,
//! `pkg/apis/admissionregistration/validation/validation.go`.

use std::collections::BTreeSet;

use k8s_openapi::{
    api::admissionregistration::v1::{
        MatchCondition, MutatingWebhook, RuleWithOperations, ValidatingWebhook, WebhookClientConfig,
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
    validation::{choice, required, required_choice},
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
    if webhook.review_versions.is_empty() {
        errors.required(&path.child("admissionReviewVersions"), "must specify one of v1, v1beta1");
    } else if !webhook.review_versions.iter().any(|version| matches!(version.as_str(), "v1" | "v1beta1")) {
        let detail = "must include at least one of v1, v1beta1";
        errors.invalid(&path.child("admissionReviewVersions"), serde_json::json!(webhook.review_versions), detail);
    }
    for (i, rule) in webhook.rules.iter().enumerate() {
        let path = path.child("rules").index(i);
        let lists = [
            ("operations", list(&rule.operations)),
            ("apiGroups", list(&rule.api_groups)),
            ("apiVersions", list(&rule.api_versions)),
            ("resources", list(&rule.resources)),
        ];
        for (field, _) in lists.iter().filter(|(_, values)| values.is_empty()) {
            errors.required(&path.child(field), "");
        }
        for (i, operation) in list(&rule.operations).iter().enumerate() {
            let operations = ["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];
            choice(operation, &operations, &path.child("operations").index(i), errors);
        }
        if let Some(scope) = &rule.scope {
            choice(scope, &["*", "Cluster", "Namespaced"], &path.child("scope"), errors);
        }
    }
    if let Some(policy) = webhook.failure_policy {
        choice(policy, &["Fail", "Ignore"], &path.child("failurePolicy"), errors);
    }
    if let Some(policy) = webhook.match_policy {
        choice(policy, &["Equivalent", "Exact"], &path.child("matchPolicy"), errors);
    }
    required_choice(webhook.side_effects, &["None", "NoneOnDryRun"], &path.child("sideEffects"), errors);
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
        (url, None) => {
            if !url.starts_with("https://") {
                let detail = "'https' is the only allowed URL scheme; desired format: https://host[/path]";
                errors.invalid(&path.child("url"), url, detail);
            }
        }
        ("", Some(service)) => {
            required(&service.name, &path.child("service").child("name"), errors);
            required(&service.namespace, &path.child("service").child("namespace"), errors);
        }
        (_, Some(_)) => errors.required(&path, "exactly one of url or service is required"),
    }
}
