//! A refusal, neutral to the door it leaves through. REST turns it into a `Status` body, gRPC into a status' details.
//! Source of reasons, codes and wording: `k8s.io/apimachinery/pkg/api/errors`.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ListMeta, Status, StatusCause, StatusDetails};

use crate::{Resource, field};

/// Why a request was refused, as clients match on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Reason {
    BadRequest,
    Unauthorized,
    Forbidden,
    NotFound,
    AlreadyExists,
    Conflict,
    Gone,
    Expired,
    Invalid,
    MethodNotAllowed,
    NotAcceptable,
    UnsupportedMediaType,
    RequestEntityTooLarge,
    TooManyRequests,
    Timeout,
    ServerTimeout,
    InternalError,
    ServiceUnavailable,
    /// A reason this version does not know.
    Unknown,
}

impl Reason {
    const TABLE: &[(Reason, &str, u16)] = &[
        (Reason::BadRequest, "BadRequest", 400),
        (Reason::Unauthorized, "Unauthorized", 401),
        (Reason::Forbidden, "Forbidden", 403),
        (Reason::NotFound, "NotFound", 404),
        (Reason::AlreadyExists, "AlreadyExists", 409),
        (Reason::Conflict, "Conflict", 409),
        (Reason::Gone, "Gone", 410),
        (Reason::Expired, "Expired", 410),
        (Reason::Invalid, "Invalid", 422),
        (Reason::MethodNotAllowed, "MethodNotAllowed", 405),
        (Reason::NotAcceptable, "NotAcceptable", 406),
        (Reason::UnsupportedMediaType, "UnsupportedMediaType", 415),
        (Reason::RequestEntityTooLarge, "RequestEntityTooLarge", 413),
        (Reason::TooManyRequests, "TooManyRequests", 429),
        (Reason::Timeout, "Timeout", 504),
        (Reason::ServerTimeout, "ServerTimeout", 500),
        (Reason::InternalError, "InternalError", 500),
        (Reason::ServiceUnavailable, "ServiceUnavailable", 503),
        (Reason::Unknown, "", 500),
    ];

    /// The `reason` of a Status.
    pub fn name(self) -> &'static str {
        Self::TABLE.iter().find(|row| row.0 == self).map_or("", |row| row.1)
    }

    /// The HTTP status code that goes with it.
    pub fn code(self) -> u16 {
        Self::TABLE.iter().find(|row| row.0 == self).map_or(500, |row| row.2)
    }

    /// The reason with this name.
    pub fn from_name(name: &str) -> Self {
        Self::TABLE.iter().find(|row| row.1 == name).map_or(Reason::Unknown, |row| row.0)
    }
}

/// A refused request.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// Why.
    pub reason: Reason,
    /// Why, in words.
    pub message: String,
    /// What it is about.
    pub details: Option<Box<StatusDetails>>,
    /// Where a list that cannot go on as it began may go on all the same.
    pub continue_token: Option<Box<str>>,
}

impl Error {
    /// A refusal that names no object.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), details: None, continue_token: None }
    }

    fn about(reason: Reason, resource: &Resource, name: &str, message: String) -> Self {
        let details = StatusDetails {
            group: (!resource.group.is_empty()).then(|| resource.group.to_string()),
            kind: Some(resource.plural.to_string()),
            name: (!name.is_empty()).then(|| name.to_owned()),
            ..Default::default()
        };
        Self { details: Some(Box::new(details)), ..Self::new(reason, message) }
    }

    /// 400: the request makes no sense.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(Reason::BadRequest, message)
    }

    /// 401: who are you?
    pub fn unauthorized() -> Self {
        Self::new(Reason::Unauthorized, "Unauthorized")
    }

    /// 403: `message` says who may not do what.
    pub fn forbidden(resource: &Resource, name: &str, message: &str) -> Self {
        let subject = if name.is_empty() {
            format!("{} is forbidden: {message}", resource.group_resource())
        } else {
            format!("{} {name:?} is forbidden: {message}", resource.group_resource())
        };
        Self::about(Reason::Forbidden, resource, name, subject)
    }

    /// 404: no such object.
    pub fn not_found(resource: &Resource, name: &str) -> Self {
        let message = format!("{} {name:?} not found", resource.group_resource());
        Self::about(Reason::NotFound, resource, name, message)
    }

    /// 404: no such path.
    pub fn no_such_page() -> Self {
        Self::new(Reason::NotFound, "the server could not find the requested resource")
    }

    /// 409: the name is taken.
    pub fn already_exists(resource: &Resource, name: &str) -> Self {
        let message = format!("{} {name:?} already exists", resource.group_resource());
        Self::about(Reason::AlreadyExists, resource, name, message)
    }

    /// 409: the object is not what the caller thinks it is.
    pub fn conflict(resource: &Resource, name: &str, message: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {} {name:?}: {message}", resource.group_resource());
        Self::about(Reason::Conflict, resource, name, message)
    }

    /// 409: the object was written since the caller read it.
    pub fn stale(resource: &Resource, name: &str) -> Self {
        let message = "the object has been modified; please apply your changes to the latest version and try again";
        Self::conflict(resource, name, message)
    }

    /// 410: what the caller asks to go on from is forgotten.
    pub fn expired(message: impl Into<String>) -> Self {
        Self::new(Reason::Expired, message)
    }

    /// 422: the object is not valid.
    pub fn invalid(resource: &Resource, name: &str, errors: &field::Errors) -> Self {
        let kind = match &*resource.group {
            "" => resource.kind.to_string(),
            group => format!("{}.{group}", resource.kind),
        };
        let causes = errors.0.iter().map(|error| StatusCause {
            field: Some(error.path.to_string()),
            message: Some(error.message.clone()),
            reason: Some(error.kind.reason().to_owned()),
        });
        let details = StatusDetails {
            group: (!resource.group.is_empty()).then(|| resource.group.to_string()),
            kind: Some(resource.kind.to_string()),
            name: (!name.is_empty()).then(|| name.to_owned()),
            causes: Some(causes.collect()),
            ..Default::default()
        };
        let message = format!("{kind} {name:?} is invalid: {errors}");
        Self { details: Some(Box::new(details)), ..Self::new(Reason::Invalid, message) }
    }

    /// 405: the resource does not do that.
    pub fn method_not_allowed() -> Self {
        Self::new(Reason::MethodNotAllowed, "the server does not allow this method on the requested resource")
    }

    /// 429: come back later.
    pub fn too_many_requests(message: impl Into<String>, retry_after_seconds: i32) -> Self {
        let details = StatusDetails { retry_after_seconds: Some(retry_after_seconds), ..Default::default() };
        Self { details: Some(Box::new(details)), ..Self::new(Reason::TooManyRequests, message) }
    }

    /// 413: the body or the object is too large.
    pub fn too_large(message: impl Into<String>) -> Self {
        Self::new(Reason::RequestEntityTooLarge, message)
    }

    /// 500: our fault.
    pub fn internal(cause: impl std::fmt::Display) -> Self {
        Self::new(Reason::InternalError, format!("Internal error occurred: {cause}"))
    }

    /// 503: the store has no quorum.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(Reason::ServiceUnavailable, message)
    }

    /// The HTTP status code.
    pub fn code(&self) -> u16 {
        self.reason.code()
    }

    /// The body that REST clients get.
    pub fn to_status(&self) -> Status {
        Status {
            status: Some("Failure".into()),
            message: Some(self.message.clone()),
            reason: Some(self.reason.name().into()).filter(|reason: &String| !reason.is_empty()),
            code: Some(self.code().into()),
            details: self.details.as_deref().cloned(),
            metadata: ListMeta { continue_: self.continue_token.as_deref().map(str::to_owned), ..Default::default() },
        }
    }

    /// The refusal that a server's Status tells of.
    pub fn from_status(status: Status) -> Self {
        Self {
            reason: status.reason.as_deref().map_or(Reason::Unknown, Reason::from_name),
            message: status.message.unwrap_or_default(),
            details: status.details.map(Box::new),
            continue_token: status.metadata.continue_.map(Into::into),
        }
    }
}
