//! The group `authorization.k8s.io`: questions that are answered and never stored.
//! Source: `pkg/apis/authorization/validation/validation.go`.

use k8s_openapi::api::authorization::v1::{
    LocalSubjectAccessReview, NonResourceAttributes, ResourceAttributes, SelfSubjectAccessReview,
    SelfSubjectRulesReview, SubjectAccessReview, SubjectAccessReviewSpec,
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
        subject(&review.spec, errors);
        attributes(review.spec.resource_attributes.as_ref(), review.spec.non_resource_attributes.as_ref(), errors);
    }
}

/// SelfSubjectAccessReview: may I do that?
pub struct SelfSubjectAccessReviewKind;

impl Kind for SelfSubjectAccessReviewKind {
    type Object = SelfSubjectAccessReview;

    fn validate(review: &SelfSubjectAccessReview, errors: &mut Errors) {
        attributes(review.spec.resource_attributes.as_ref(), review.spec.non_resource_attributes.as_ref(), errors);
    }
}

/// LocalSubjectAccessReview: may this user do that in this namespace?
pub struct LocalSubjectAccessReviewKind;

impl Kind for LocalSubjectAccessReviewKind {
    type Object = LocalSubjectAccessReview;

    fn validate(review: &LocalSubjectAccessReview, errors: &mut Errors) {
        subject(&review.spec, errors);
        let path = Path::new("spec");
        if review.spec.non_resource_attributes.is_some() {
            let detail = "disallowed on this kind of request";
            let attributes = json(&review.spec.non_resource_attributes);
            errors.invalid(&path.child("nonResourceAttributes"), attributes, detail);
        }
        let asked = review.spec.resource_attributes.as_ref().map_or("", |attributes| text(&attributes.namespace));
        if review.metadata.namespace.as_deref().unwrap_or_default() != asked {
            let detail = "must match metadata.namespace";
            errors.invalid(&path.child("resourceAttributes").child("namespace"), asked, detail);
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

fn attributes(of_resource: Option<&ResourceAttributes>, others: Option<&NonResourceAttributes>, errors: &mut Errors) {
    match (of_resource, others) {
        (Some(_), Some(others)) => {
            let detail = "cannot be specified in combination with resourceAttributes";
            errors.invalid(&Path::new("spec").child("nonResourceAttributes"), json(others), detail);
        }
        (None, None) => {
            let detail = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
            errors.invalid(&Path::new("spec").child("resourceAttributes"), json(&of_resource), detail);
        }
        _ => {}
    }
}
