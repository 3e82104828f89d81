//! The group `authentication.k8s.io`: questions that are answered and never stored.

use k8s_openapi::api::authentication::v1::{SelfSubjectReview, TokenReview};

use super::kind::Kind;

/// SelfSubjectReview: who am I?
pub struct SelfSubjectReviewKind;

impl Kind for SelfSubjectReviewKind {
    type Object = SelfSubjectReview;
}

/// TokenReview: whose token is this? One without a token is no question: `authentication::review` says so.
pub struct TokenReviewKind;

impl Kind for TokenReviewKind {
    type Object = TokenReview;
}
