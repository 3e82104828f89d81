//! The group `authorization.k8s.io`: questions that are answered and never stored.
//! Source: `pkg/apis/authorization/validation/validation.go`.

use k8s_openapi::{
    api::authorization::v1::{
        LocalSubjectAccessReview, NonResourceAttributes, ResourceAttributes, SelfSubjectAccessReview,
        SelfSubjectRulesReview, SubjectAccessReview, SubjectAccessReviewSpec,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kubelab_api::field::{Errors, Path};

use super::{
    cells::{list, text},
    kind::Kind,
    validation::json,
};

/// SubjectAccessReview: may this user do that?
pub struct SubjectAccessReviewKind;

impl Kind for SubjectAccessReviewKind {
    type Object = SubjectAccessReview;

    fn validate(review: &SubjectAccessReview, errors: &mut Errors) {
        attributes(review.spec.resource_attributes.as_ref(), review.spec.non_resource_attributes.as_ref(), errors);
        subject(&review.spec, errors);
        no_metadata(&review.metadata, errors);
    }
}

/// SelfSubjectAccessReview: may I do that?
pub struct SelfSubjectAccessReviewKind;

impl Kind for SelfSubjectAccessReviewKind {
    type Object = SelfSubjectAccessReview;

    fn validate(review: &SelfSubjectAccessReview, errors: &mut Errors) {
        attributes(review.spec.resource_attributes.as_ref(), review.spec.non_resource_attributes.as_ref(), errors);
        no_metadata(&review.metadata, errors);
    }
}

/// LocalSubjectAccessReview: may this user do that in this namespace?
pub struct LocalSubjectAccessReviewKind;

impl Kind for LocalSubjectAccessReviewKind {
    type Object = LocalSubjectAccessReview;

    fn validate(review: &LocalSubjectAccessReview, errors: &mut Errors) {
        let path = Path::new("spec");
        attributes(review.spec.resource_attributes.as_ref(), review.spec.non_resource_attributes.as_ref(), errors);
        subject(&review.spec, errors);
        let metadata = ObjectMeta { managed_fields: None, namespace: None, ..review.metadata.clone() };
        if metadata != ObjectMeta::default() {
            errors.invalid(&Path::new("metadata"), json(&review.metadata), "must be empty except for namespace");
        }
        if let Some(attributes) = &review.spec.resource_attributes
            && text(&attributes.namespace) != text(&review.metadata.namespace)
        {
            let path = path.child("resourceAttributes").child("namespace");
            errors.invalid(&path, text(&attributes.namespace), "must match metadata.namespace");
        }
        if let Some(attributes) = &review.spec.non_resource_attributes {
            let detail = "disallowed on this kind of request";
            errors.invalid(&path.child("nonResourceAttributes"), json(attributes), detail);
        }
    }
}

/// SelfSubjectRulesReview: what may I do in this namespace?
pub struct SelfSubjectRulesReviewKind;

impl Kind for SelfSubjectRulesReviewKind {
    type Object = SelfSubjectRulesReview;
}

fn subject(spec: &SubjectAccessReviewSpec, errors: &mut Errors) {
    if text(&spec.user).is_empty() && list(&spec.groups).is_empty() {
        let detail = "at least one of user or group must be specified";
        errors.invalid(&Path::new("spec").child("user"), "", detail);
    }
}

/// A question is no object.
fn no_metadata(metadata: &ObjectMeta, errors: &mut Errors) {
    if (ObjectMeta { managed_fields: None, ..metadata.clone() }) != ObjectMeta::default() {
        errors.invalid(&Path::new("metadata"), json(metadata), "must be empty");
    }
}

fn attributes(of_resource: Option<&ResourceAttributes>, others: Option<&NonResourceAttributes>, errors: &mut Errors) {
    let path = Path::new("spec");
    if let Some(attributes) = of_resource {
        selectors(attributes, errors);
    }
    match (of_resource, others) {
        (Some(_), Some(others)) => {
            let detail = "cannot be specified in combination with resourceAttributes";
            errors.invalid(&path.child("nonResourceAttributes"), json(others), detail);
        }
        (None, None) => {
            let detail = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
            errors.invalid(&path.child("resourceAttributes"), json(&of_resource), detail);
        }
        _ => {}
    }
}

/// Fields and labels alike: a selector as text, or its requirements.
fn selectors(attributes: &ResourceAttributes, errors: &mut Errors) {
    let path = Path::new("spec").child("resourceAttributes");
    let parts = |key: &str, operator: &str, values: &Option<Vec<String>>| {
        (key.to_owned(), operator.to_owned(), values.clone().unwrap_or_default())
    };
    if let Some(selector) = &attributes.field_selector {
        let requirements = selector.requirements.iter().flatten();
        let requirements = requirements.map(|one| parts(&one.key, &one.operator, &one.values)).collect();
        one_selector(&path.child("fieldSelector"), selector.raw_selector.as_deref(), requirements, errors);
    }
    if let Some(selector) = &attributes.label_selector {
        let requirements = selector.requirements.iter().flatten();
        let requirements = requirements.map(|one| parts(&one.key, &one.operator, &one.values)).collect();
        one_selector(&path.child("labelSelector"), selector.raw_selector.as_deref(), requirements, errors);
    }
}

fn one_selector(path: &Path, raw: Option<&str>, requirements: Vec<(String, String, Vec<String>)>, errors: &mut Errors) {
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
