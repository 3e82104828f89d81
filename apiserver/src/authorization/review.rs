//! The questions that clients may ask: SubjectAccessReview and its kin. They are answered and never stored.
//! Source: `pkg/registry/authorization`, `pkg/apis/authorization/validation`.

use k8s_openapi::api::authorization::v1::{
    LocalSubjectAccessReview, NonResourceAttributes, NonResourceRule, ResourceAttributes, ResourceRule,
    SelfSubjectAccessReview, SelfSubjectRulesReview, SubjectAccessReview, SubjectAccessReviewSpec,
    SubjectAccessReviewStatus, SubjectRulesReviewStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kubelab_api::{
    Error, Resource,
    field::{Errors, Path},
};
use serde::{Serialize, de::DeserializeOwned};

use super::{Attributes, Decider, node};
use crate::corridor::User;

/// Answers a review of `authorization.k8s.io` that was created in `namespace` with the body `json`.
pub fn answer(
    decider: &dyn Decider,
    user: &User,
    resource: &Resource,
    namespace: &str,
    json: &[u8],
) -> Result<Vec<u8>, Error> {
    match &*resource.kind {
        "SelfSubjectAccessReview" => {
            let mut review: SelfSubjectAccessReview = decode(json)?;
            let spec = SubjectAccessReviewSpec {
                resource_attributes: review.spec.resource_attributes.clone(),
                non_resource_attributes: review.spec.non_resource_attributes.clone(),
                ..of_user(user)
            };
            validate(resource, &review.metadata, &spec, true)?;
            review.status = Some(access(decider, &spec));
            encode(&review)
        }
        "SubjectAccessReview" => {
            let mut review: SubjectAccessReview = decode(json)?;
            validate(resource, &review.metadata, &review.spec, false)?;
            review.status = Some(access(decider, &review.spec));
            encode(&review)
        }
        "LocalSubjectAccessReview" => {
            let mut review: LocalSubjectAccessReview = decode(json)?;
            validate_local(resource, &review, namespace)?;
            review.status = Some(access(decider, &review.spec));
            encode(&review)
        }
        "SelfSubjectRulesReview" => {
            let mut review: SelfSubjectRulesReview = decode(json)?;
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
            encode(&review)
        }
        _ => Err(Error::method_not_allowed()),
    }
}

fn decode<T: DeserializeOwned>(json: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(json).map_err(|error| Error::bad_request(error.to_string()))
}

fn encode(review: &impl Serialize) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(review).map_err(Error::internal)
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

fn validate(
    resource: &Resource,
    metadata: &ObjectMeta,
    spec: &SubjectAccessReviewSpec,
    own: bool,
) -> Result<(), Error> {
    let mut errors = Errors::default();
    check_spec(spec, own, &mut errors);
    check_metadata(metadata, &mut errors);
    finish(resource, &errors)
}

fn check_spec(spec: &SubjectAccessReviewSpec, own: bool, errors: &mut Errors) {
    let path = Path::new("spec");
    if let Some(attributes) = &spec.resource_attributes {
        check_selectors(attributes, errors);
    }
    match (&spec.resource_attributes, &spec.non_resource_attributes) {
        (Some(_), Some(given)) => {
            let value = serde_json::to_value(given).unwrap_or_default();
            let detail = "cannot be specified in combination with resourceAttributes";
            errors.invalid(&path.child("nonResourceAttributes"), value, detail);
        }
        (None, None) => {
            let detail = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
            errors.invalid(&path.child("resourceAttributes"), serde_json::Value::Null, detail);
        }
        _ => {}
    }
    let nobody = spec.user.as_ref().is_none_or(String::is_empty) && spec.groups.as_ref().is_none_or(Vec::is_empty);
    if nobody && !own {
        errors.invalid(&path.child("user"), "", "at least one of user or group must be specified");
    }
}

fn validate_local(resource: &Resource, review: &LocalSubjectAccessReview, namespace: &str) -> Result<(), Error> {
    let mut errors = Errors::default();
    let path = Path::new("spec");
    check_spec(&review.spec, false, &mut errors);
    let rest = ObjectMeta { managed_fields: None, namespace: None, ..review.metadata.clone() };
    if rest != ObjectMeta::default() {
        let value = serde_json::to_value(&review.metadata).unwrap_or_default();
        errors.invalid(&Path::new("metadata"), value, "must be empty except for namespace");
    }
    if let Some(attributes) = &review.spec.resource_attributes {
        let asked = attributes.namespace.as_deref().unwrap_or_default();
        if asked != namespace {
            let path = path.child("resourceAttributes").child("namespace");
            errors.invalid(&path, asked, "must match metadata.namespace");
        }
    }
    if let Some(given) = &review.spec.non_resource_attributes {
        let value = serde_json::to_value(given).unwrap_or_default();
        errors.invalid(&path.child("nonResourceAttributes"), value, "disallowed on this kind of request");
    }
    finish(resource, &errors)
}

/// A question is no object. Source: `ValidateSubjectAccessReview` and its kin.
fn check_metadata(metadata: &ObjectMeta, errors: &mut Errors) {
    let rest = ObjectMeta { managed_fields: None, ..metadata.clone() };
    if rest != ObjectMeta::default() {
        let value = serde_json::to_value(metadata).unwrap_or_default();
        errors.invalid(&Path::new("metadata"), value, "must be empty");
    }
}

/// Fields and labels alike: a selector as text, or its requirements.
fn check_selectors(attributes: &ResourceAttributes, errors: &mut Errors) {
    let path = Path::new("spec").child("resourceAttributes");
    let parts = |key: &str, operator: &str, values: &Option<Vec<String>>| {
        (key.to_owned(), operator.to_owned(), values.clone().unwrap_or_default())
    };
    if let Some(selector) = &attributes.field_selector {
        let requirements = selector.requirements.iter().flatten();
        let requirements = requirements.map(|one| parts(&one.key, &one.operator, &one.values)).collect();
        check_selector(&path.child("fieldSelector"), selector.raw_selector.as_deref(), requirements, errors);
    }
    if let Some(selector) = &attributes.label_selector {
        let requirements = selector.requirements.iter().flatten();
        let requirements = requirements.map(|one| parts(&one.key, &one.operator, &one.values)).collect();
        check_selector(&path.child("labelSelector"), selector.raw_selector.as_deref(), requirements, errors);
    }
}

fn check_selector(
    path: &Path,
    raw: Option<&str>,
    requirements: Vec<(String, String, Vec<String>)>,
    errors: &mut Errors,
) {
    match (raw.unwrap_or_default(), requirements.is_empty()) {
        ("", true) => {
            let detail = format!("when {path} is specified, requirements or rawSelector is required");
            errors.required(&path.child("requirements"), &detail);
        }
        ("", false) | (_, true) => {}
        (raw, false) => {
            errors.invalid(&path.child("rawSelector"), raw, "may not specified at the same time as requirements");
        }
    }
    for (i, (key, operator, values)) in requirements.iter().enumerate() {
        let path = path.child("requirements").index(i);
        if key.is_empty() {
            errors.required(&path.child("key"), "must be specified");
        }
        match operator.as_str() {
            "In" | "NotIn" if values.is_empty() => {
                errors.required(&path.child("values"), "must be specified when `operator` is 'In' or 'NotIn'");
            }
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                let detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
                errors.forbidden(&path.child("values"), detail);
            }
            _ => {}
        }
    }
}

fn finish(resource: &Resource, errors: &Errors) -> Result<(), Error> {
    if errors.is_empty() { Ok(()) } else { Err(Error::invalid(resource, "", errors)) }
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
        let answer = answer(&cluster(), &jane, resource, namespace, body.as_bytes()).map_err(|error| error.message)?;
        Ok(serde_json::from_slice::<Value>(&answer).unwrap()["status"].clone())
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
        let answer = answer(&cluster(), &node, resource, "", body.as_bytes()).unwrap();
        let status = &serde_json::from_slice::<Value>(&answer).unwrap()["status"];
        assert_eq!(status["incomplete"], true);
        assert_eq!(status["evaluationError"], "node authorizer does not support user rule resolution");
    }

    #[test]
    fn malformed_reviews_are_refused() {
        let both = json!({"user": "x", "resourceAttributes": {}, "nonResourceAttributes": {"path": "/x"}});
        for (kind, spec, why) in [
            (
                "SelfSubjectAccessReview",
                json!({}),
                "SelfSubjectAccessReview.authorization.k8s.io \"\" is invalid: spec.resourceAttributes: Invalid value: \
                 \"null\": exactly one of nonResourceAttributes or resourceAttributes must be specified",
            ),
            (
                "SubjectAccessReview",
                both,
                "SubjectAccessReview.authorization.k8s.io \"\" is invalid: spec.nonResourceAttributes: Invalid value: \
                 {\"path\":\"/x\"}: cannot be specified in combination with resourceAttributes",
            ),
            (
                "SubjectAccessReview",
                json!({"resourceAttributes": {}}),
                "SubjectAccessReview.authorization.k8s.io \"\" is invalid: spec.user: Invalid value: \"\": at least \
                 one of user or group must be specified",
            ),
            (
                "LocalSubjectAccessReview",
                json!({"user": "x", "resourceAttributes": {"namespace": "prod"}}),
                "LocalSubjectAccessReview.authorization.k8s.io \"\" is invalid: spec.resourceAttributes.namespace: \
                 Invalid value: \"prod\": must match metadata.namespace",
            ),
        ] {
            assert_eq!(ask(kind, "dev", &spec), Err(why.to_owned()));
        }
    }

    #[test]
    fn selectors_are_text_or_requirements() {
        let of = |part: &str, selector: Value| {
            let mut attributes = json!({"verb": "list", "resource": "pods"});
            attributes[part] = selector;
            let asked = ask("SelfSubjectAccessReview", "", &json!({"resourceAttributes": attributes}));
            asked.map(|status| status["allowed"] == true)
        };
        let refused = |why: &str| {
            let subject = "SelfSubjectAccessReview.authorization.k8s.io \"\" is invalid: spec.resourceAttributes.";
            Err(format!("{subject}{why}"))
        };
        let requirement =
            |operator: &str, values: &[&str]| json!([{"key": "a", "operator": operator, "values": values}]);
        assert_eq!(of("fieldSelector", json!({"rawSelector": "a=b"})), Ok(false));
        assert_eq!(of("labelSelector", json!({"requirements": requirement("Exists", &[])})), Ok(false));
        for (part, selector, why) in [
            (
                "fieldSelector",
                json!({}),
                "fieldSelector.requirements: Required value: when spec.resourceAttributes.fieldSelector is specified, \
                 requirements or rawSelector is required",
            ),
            (
                "labelSelector",
                json!({"rawSelector": "a=b", "requirements": requirement("In", &["b"])}),
                "labelSelector.rawSelector: Invalid value: \"a=b\": may not specified at the same time as requirements",
            ),
            (
                "labelSelector",
                json!({"requirements": requirement("In", &[])}),
                "labelSelector.requirements[0].values: Required value: must be specified when `operator` is 'In' or \
                 'NotIn'",
            ),
            (
                "fieldSelector",
                json!({"requirements": requirement("Exists", &["b"])}),
                "fieldSelector.requirements[0].values: Forbidden: may not be specified when `operator` is 'Exists' or \
                 'DoesNotExist'",
            ),
            (
                "fieldSelector",
                json!({"requirements": [{"key": "", "operator": "Exists"}]}),
                "fieldSelector.requirements[0].key: Required value: must be specified",
            ),
        ] {
            assert_eq!(of(part, selector), refused(why));
        }
    }

    #[test]
    fn questions_have_no_metadata() {
        let jane = User { name: "jane".into(), ..User::default() };
        let body = json!({"metadata": {"name": "x"}, "spec": {"resourceAttributes": {}}}).to_string();
        let resource = resource::named("SelfSubjectAccessReview").unwrap();
        let error = answer(&cluster(), &jane, resource, "", body.as_bytes()).unwrap_err();
        assert!(error.message.ends_with("metadata: Invalid value: {\"name\":\"x\"}: must be empty"), "{error}");
    }
}
