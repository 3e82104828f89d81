//! The group `authentication.k8s.io`: questions that are answered and never stored.

use k8s_openapi::api::authentication::v1::{SelfSubjectReview, TokenReview};
use kubelab_api::field::{Errors, Path};

use super::{kind::Kind, validation::required};

/// SelfSubjectReview: who am I?
pub struct SelfSubjectReviewKind;

impl Kind for SelfSubjectReviewKind {
    type Object = SelfSubjectReview;
}

/// TokenReview: whose token is this?
pub struct TokenReviewKind;

impl Kind for TokenReviewKind {
    type Object = TokenReview;

    fn validate(review: &TokenReview, errors: &mut Errors) {
        required(&review.spec.token, &Path::new("spec").child("token"), errors);
    }
}
