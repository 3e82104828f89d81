//! A refusal as a gRPC status: its details are the JSON of the `Status` that a REST client would see.

use kubelab_api::{Error, Reason};
use tonic::{Code, Status};

/// The status of a refusal.
pub fn of(error: &Error) -> Status {
    let details = serde_json::to_vec(&error.to_status()).unwrap_or_default();
    Status::with_details(code(error.reason), error.message.clone(), details.into())
}

fn code(reason: Reason) -> Code {
    match reason {
        Reason::BadRequest | Reason::Invalid | Reason::NotAcceptable | Reason::UnsupportedMediaType => {
            Code::InvalidArgument
        }
        Reason::Unauthorized => Code::Unauthenticated,
        Reason::Forbidden => Code::PermissionDenied,
        Reason::NotFound => Code::NotFound,
        Reason::AlreadyExists => Code::AlreadyExists,
        Reason::Conflict => Code::Aborted,
        Reason::Gone | Reason::Expired => Code::OutOfRange,
        Reason::MethodNotAllowed => Code::Unimplemented,
        Reason::RequestEntityTooLarge | Reason::TooManyRequests => Code::ResourceExhausted,
        Reason::Timeout => Code::DeadlineExceeded,
        Reason::ServerTimeout | Reason::ServiceUnavailable => Code::Unavailable,
        Reason::InternalError => Code::Internal,
        Reason::Code(400..500) => Code::InvalidArgument,
        Reason::Code(_) | Reason::Unknown => Code::Unknown,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_caller_sees_the_very_error_that_a_rest_client_would() {
        let status = of(&Error::unauthorized());
        assert_eq!(status.code(), Code::Unauthenticated);
        let error = Error::from_status(serde_json::from_slice(status.details()).unwrap());
        assert_eq!((error.reason, &*error.message), (Reason::Unauthorized, "Unauthorized"));
    }
}
