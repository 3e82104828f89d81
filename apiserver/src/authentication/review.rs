//! TokenReview and SelfSubjectReview. They are answered and never stored. Source: `pkg/registry/authentication`.

use k8s_openapi::api::authentication::v1::{SelfSubjectReviewStatus, TokenReview, TokenReviewStatus, UserInfo};
use kubelab_api::{Error, Resource};
use serde_json::{Map, Value};

use super::{AUTHENTICATED, Authenticator, in_group};
use crate::{
    corridor::User,
    registry::decode::{Validation, decode},
};

/// Answers a review of `authentication.k8s.io` that `user` created with the body `json`; and the warnings about it.
pub fn answer(
    authenticator: &Authenticator,
    user: &User,
    resource: &Resource,
    json: &[u8],
    validation: Validation,
) -> Result<(Vec<u8>, Vec<String>), Error> {
    let malformed = |error: serde_json::Error| Error::bad_request(error.to_string());
    match &*resource.kind {
        "SelfSubjectReview" => {
            // In each version the same but for its name.
            let mut review: Map<String, Value> = serde_json::from_slice(json).map_err(malformed)?;
            let status = SelfSubjectReviewStatus { user_info: Some(info(user)) };
            review.insert("apiVersion".into(), resource.api_version().into());
            review.insert("kind".into(), "SelfSubjectReview".into());
            review.entry("metadata").or_insert_with(|| Map::new().into());
            review.insert("status".into(), serde_json::to_value(status).map_err(Error::internal)?);
            Ok((serde_json::to_vec(&review).map_err(Error::internal)?, Vec::new()))
        }
        "TokenReview" => {
            let (mut review, warnings) = decode::<TokenReview>(resource, json, validation)?;
            let token = review.spec.token.as_str();
            if token.is_empty() {
                return Err(Error::bad_request("token is required for TokenReview in authentication"));
            }
            let audiences = review.spec.audiences.as_deref().unwrap_or_default();
            review.status = Some(match authenticator.user_of_token(token, audiences) {
                Ok((user, audiences)) => TokenReviewStatus {
                    authenticated: Some(true),
                    user: Some(info(&in_group(user, AUTHENTICATED))),
                    audiences: Some(audiences),
                    error: None,
                },
                Err(rejection) => TokenReviewStatus {
                    error: Some(rejection.to_string()),
                    user: Some(UserInfo::default()),
                    ..TokenReviewStatus::default()
                },
            });
            Ok((serde_json::to_vec(&review).map_err(Error::internal)?, warnings))
        }
        _ => Err(Error::method_not_allowed()),
    }
}

fn info(user: &User) -> UserInfo {
    UserInfo {
        username: Some(user.name.clone()),
        uid: Some(user.uid.clone()).filter(|uid| !uid.is_empty()),
        groups: Some(user.groups.clone()).filter(|groups| !groups.is_empty()),
        extra: Some(user.extra.clone()).filter(|extra| !extra.is_empty()),
    }
}
