//! The questions that clients may ask: SubjectAccessReview and its kin. They are answered and never stored.
//! Source: `pkg/registry/authorization`. What is wrong with a question: `registry::authorization`.

use k8s_openapi::api::authorization::v1::{
    LocalSubjectAccessReview, NonResourceAttributes, NonResourceRule, ResourceAttributes, ResourceRule,
    SelfSubjectAccessReview, SelfSubjectRulesReview, SubjectAccessReview, SubjectAccessReviewSpec,
    SubjectAccessReviewStatus, SubjectRulesReviewStatus,
};
use kubelab_api::{Error, Resource, field::Errors};
use serde::Serialize;

use super::{Attributes, Decider, node};
use crate::{
    corridor::User,
    registry::{
        authorization::{LocalSubjectAccessReviewKind, SelfSubjectAccessReviewKind, SubjectAccessReviewKind},
        decode::{Validation, decode},
        kind::Kind,
    },
};

/// Answers a review of `authorization.k8s.io` that was created in `namespace` with the body `json`; and the warnings about it.
pub fn answer(
    decider: &dyn Decider,
    user: &User,
    resource: &Resource,
    namespace: &str,
    json: &[u8],
    validation: Validation,
) -> Result<(Vec<u8>, Vec<String>), Error> {
    match &*resource.kind {
        "SelfSubjectAccessReview" => {
            let (mut review, warnings) = decode::<SelfSubjectAccessReview>(resource, json, validation)?;
            validate::<SelfSubjectAccessReviewKind>(resource, &review)?;
            let spec = SubjectAccessReviewSpec {
                resource_attributes: review.spec.resource_attributes.clone(),
                non_resource_attributes: review.spec.non_resource_attributes.clone(),
                ..of_user(user)
            };
            review.status = Some(access(decider, &spec));
            encode(&review, warnings)
        }
        "SubjectAccessReview" => {
            let (mut review, warnings) = decode::<SubjectAccessReview>(resource, json, validation)?;
            validate::<SubjectAccessReviewKind>(resource, &review)?;
            review.status = Some(access(decider, &review.spec));
            encode(&review, warnings)
        }
        "LocalSubjectAccessReview" => {
            let (mut review, warnings) = decode::<LocalSubjectAccessReview>(resource, json, validation)?;
            review.metadata.namespace = Some(namespace.to_owned());
            validate::<LocalSubjectAccessReviewKind>(resource, &review)?;
            review.status = Some(access(decider, &review.spec));
            encode(&review, warnings)
        }
        "SelfSubjectRulesReview" => {
            let (mut review, warnings) = decode::<SelfSubjectRulesReview>(resource, json, validation)?;
            let namespace = review.spec.namespace.as_deref().unwrap_or_default();
            if namespace.is_empty() {
                return Err(Error::bad_request("no namespace on request"));
            }
            let mut status = rules(decider, user, namespace);
            if node::name_of(user).is_some() {
                // Source: `RulesFor` in `plugin/pkg/auth/authorizer/node/node_authorizer.go`.
                status.incomplete = true;
                status.evaluation_error = Some("node authorizer does not support user rule resolution".into());
            }
            review.status = Some(status);
            encode(&review, warnings)
        }
        _ => Err(Error::method_not_allowed()),
    }
}

fn encode(review: &impl Serialize, warnings: Vec<String>) -> Result<(Vec<u8>, Vec<String>), Error> {
    Ok((serde_json::to_vec(review).map_err(Error::internal)?, warnings))
}

fn of_user(user: &User) -> SubjectAccessReviewSpec {
    SubjectAccessReviewSpec {
        user: Some(user.name.clone()),
        uid: Some(user.uid.clone()),
        groups: Some(user.groups.clone()),
        extra: Some(user.extra.clone()),
        ..SubjectAccessReviewSpec::default()
    }
}

fn access(decider: &dyn Decider, spec: &SubjectAccessReviewSpec) -> SubjectAccessReviewStatus {
    let user = User {
        name: spec.user.clone().unwrap_or_default(),
        uid: spec.uid.clone().unwrap_or_default(),
        groups: spec.groups.clone().unwrap_or_default(),
        extra: spec.extra.clone().unwrap_or_default(),
    };
    let decision = match (&spec.resource_attributes, &spec.non_resource_attributes) {
        (Some(attributes), _) => {
            let selector = field_selector(attributes);
            decider.decide(&of_resource(&user, attributes, &selector))
        }
        (None, Some(NonResourceAttributes { path, verb })) => decider.decide(&Attributes::path(
            &user,
            verb.as_deref().unwrap_or_default(),
            path.as_deref().unwrap_or_default(),
        )),
        (None, None) => return SubjectAccessReviewStatus::default(),
    };
    SubjectAccessReviewStatus {
        allowed: decision.allowed,
        reason: Some(decision.reason).filter(|reason| !reason.is_empty()),
        ..SubjectAccessReviewStatus::default()
    }
}

fn of_resource<'a>(user: &'a User, asked: &'a ResourceAttributes, field_selector: &'a str) -> Attributes<'a> {
    fn text(value: Option<&String>) -> &str {
        value.map_or("", String::as_str)
    }
    Attributes {
        subresource: text(asked.subresource.as_ref()),
        namespace: text(asked.namespace.as_ref()),
        name: text(asked.name.as_ref()),
        field_selector,
        ..Attributes::resource(
            user,
            text(asked.verb.as_ref()),
            text(asked.group.as_ref()),
            text(asked.resource.as_ref()),
        )
    }
}

/// The field selector as text: as it was given, or from those requirements that the text form can express.
fn field_selector(asked: &ResourceAttributes) -> String {
    let Some(selector) = &asked.field_selector else { return String::new() };
    if let Some(raw) = &selector.raw_selector {
        return raw.clone();
    }
    let equal = selector.requirements.iter().flatten().filter_map(|requirement| {
        match (requirement.operator.as_str(), requirement.values.as_deref()) {
            ("In", Some([value])) => {
                Some(kubelab_api::selector::field::Selector::equal(&requirement.key, value).to_string())
            }
            _ => None,
        }
    });
    equal.collect::<Vec<_>>().join(",")
}

fn rules(decider: &dyn Decider, user: &User, namespace: &str) -> SubjectRulesReviewStatus {
    let mut status = SubjectRulesReviewStatus::default();
    for rule in decider.rules_of(user, namespace) {
        if rule.resources.as_ref().is_some_and(|resources| !resources.is_empty()) {
            status.resource_rules.push(ResourceRule {
                verbs: rule.verbs.clone(),
                api_groups: rule.api_groups,
                resources: rule.resources,
                resource_names: rule.resource_names,
            });
        }
        if rule.non_resource_urls.as_ref().is_some_and(|urls| !urls.is_empty()) {
            status
                .non_resource_rules
                .push(NonResourceRule { verbs: rule.verbs, non_resource_urls: rule.non_resource_urls });
        }
    }
    status
}

/// Refuses a question that breaks its kind's rules.
fn validate<K: Kind>(resource: &Resource, review: &K::Object) -> Result<(), Error> {
    let mut errors = Errors::default();
    K::validate(review, &mut errors);
    if errors.is_empty() { Ok(()) } else { Err(Error::invalid(resource, "", &errors)) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use kubelab_api::resource;
    use serde_json::{Value, json};

    use super::*;
    use crate::authorization::rules::{Policy, Rules};

    fn cluster() -> Rules {
        Rules::new(Policy {
            cluster_roles: vec![
                serde_json::from_value(json!({"metadata": {"name": "r"}, "rules": [
                    {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]},
                    {"nonResourceURLs": ["/version"], "verbs": ["get"]},
                ]}))
                .unwrap(),
            ],
            cluster_role_bindings: vec![
                serde_json::from_value(json!({
                    "metadata": {"name": "b"},
                    "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "r"},
                    "subjects": [{"kind": "User", "name": "jane"}],
                }))
                .unwrap(),
            ],
            ..Policy::default()
        })
    }

    fn ask(kind: &str, namespace: &str, spec: &Value) -> Result<Value, String> {
        let jane = User { name: "jane".into(), ..User::default() };
        let resource = resource::named(kind).unwrap();
        let body = json!({"apiVersion": "authorization.k8s.io/v1", "kind": kind, "spec": spec}).to_string();
        let answer = answer(&cluster(), &jane, resource, namespace, body.as_bytes(), Validation::Strict)
            .map_err(|error| error.message)?;
        Ok(serde_json::from_slice::<Value>(&answer.0).unwrap()["status"].clone())
    }

    #[test]
    fn access_reviews_tell_the_decision() {
        let reason = "RBAC: allowed by ClusterRoleBinding \"b\" of ClusterRole \"r\" to User \"jane\"";
        for (kind, namespace, spec, allowed) in [
            ("SelfSubjectAccessReview", "", json!({"resourceAttributes": {"verb": "get", "resource": "pods"}}), true),
            ("SelfSubjectAccessReview", "", json!({"resourceAttributes": {"verb": "list", "resource": "pods"}}), false),
            (
                "SelfSubjectAccessReview",
                "",
                json!({"nonResourceAttributes": {"verb": "get", "path": "/version"}}),
                true,
            ),
            (
                "SubjectAccessReview",
                "",
                json!({"user": "joe", "resourceAttributes": {"verb": "get", "resource": "pods"}}),
                false,
            ),
            (
                "LocalSubjectAccessReview",
                "dev",
                json!({"user": "jane", "resourceAttributes": {"verb": "get", "resource": "pods", "namespace": "dev"}}),
                true,
            ),
        ] {
            let status = ask(kind, namespace, &spec).unwrap();
            let expected = if allowed { json!({"allowed": true, "reason": reason}) } else { json!({"allowed": false}) };
            assert_eq!(status, expected, "{kind} {spec}");
        }
    }

    #[test]
    fn rules_reviews_list_the_rules() {
        assert_eq!(
            ask("SelfSubjectRulesReview", "", &json!({"namespace": "dev"})),
            Ok(json!({
                "incomplete": false,
                "resourceRules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}],
                "nonResourceRules": [{"nonResourceURLs": ["/version"], "verbs": ["get"]}],
            }))
        );
        assert_eq!(ask("SelfSubjectRulesReview", "", &json!({})), Err("no namespace on request".into()));
    }

    #[test]
    fn what_nodes_may_do_is_not_all_in_rules() {
        let node = User { name: "system:node:n1".into(), groups: vec!["system:nodes".into()], ..User::default() };
        let body = json!({"spec": {"namespace": "dev"}}).to_string();
        let resource = resource::named("SelfSubjectRulesReview").unwrap();
        let (answer, _) = answer(&cluster(), &node, resource, "", body.as_bytes(), Validation::Strict).unwrap();
        let status = &serde_json::from_slice::<Value>(&answer).unwrap()["status"];
        assert_eq!(status["incomplete"], true);
        assert_eq!(status["evaluationError"], "node authorizer does not support user rule resolution");
    }

    #[test]
    fn questions_are_read_as_strictly_as_objects() {
        let spec = json!({"resourceAttributes": {"verb": "get", "resource": "pods", "sort": "x"}});
        let refused = ask("SelfSubjectAccessReview", "", &spec).unwrap_err();
        assert!(
            refused.ends_with(r#"strict decoding error: unknown field "spec.resourceAttributes.sort""#),
            "{refused}"
        );
    }

    #[test]
    fn questions_have_no_metadata() {
        let jane = User { name: "jane".into(), ..User::default() };
        let body = json!({"metadata": {"name": "x"}, "spec": {"resourceAttributes": {}}}).to_string();
        let resource = resource::named("SelfSubjectAccessReview").unwrap();
        let error = answer(&cluster(), &jane, resource, "", body.as_bytes(), Validation::Strict).unwrap_err();
        assert!(error.message.ends_with("metadata: Invalid value: {\"name\":\"x\"}: must be empty"), "{error}");
    }
}
