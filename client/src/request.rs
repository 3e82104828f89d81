//! One request to the apiservers: attempts, failover, deadline.
//!
//! **What is tried again.** A request that surely was not sent goes to the next apiserver, whatever it is. One whose fate is
//! unknown (the connection broke after it was sent) is tried again if it reads, or if doing it twice has the effect of doing
//! it once because the second try is refused: a create with a fixed name (`AlreadyExists`), an update or patch with a
//! resourceVersion (`Conflict`), a delete or eviction with a uid or resourceVersion (`NotFound`, `Conflict`), a binding with
//! a uid (`Conflict`). Control loops take those refusals for what they are: look again. Any other write ends in an error
//! that says so.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, ObjectMeta};
use kubelab_api::error::{Error, Reason};
use kubelab_proto::objects::objects_client::ObjectsClient;
use serde_json::Value;
use tonic::{
    Request, Response, Status,
    metadata::{Ascii, MetadataValue},
    transport::Channel,
};

use crate::{
    Patch,
    backoff::Backoff,
    clock,
    endpoints::{Endpoints, Failure, is_about_server},
    token::Token,
};

/// How long a request may take, all attempts together.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);
/// Lists are paged, but an object may be 1.5 MiB large and events come in batches.
const MAX_MESSAGE: usize = 64 << 20;

/// What may be done with a request whose fate is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// It reads: any number of times.
    Read,
    /// The second time is refused if the first was done.
    Guarded,
    /// Never: it could be done twice.
    Never,
}

impl Repeat {
    fn guarded(guard: bool) -> Self {
        if guard { Self::Guarded } else { Self::Never }
    }

    pub(crate) fn of_create(meta: &ObjectMeta) -> Self {
        Self::guarded(meta.name.as_deref().is_some_and(|name| !name.is_empty()))
    }

    pub(crate) fn of_update(meta: &ObjectMeta) -> Self {
        Self::guarded(meta.resource_version.as_deref().is_some_and(|version| !version.is_empty()))
    }

    pub(crate) fn of_patch(patch: &Patch) -> Self {
        Self::guarded(match patch {
            Patch::Merge(body) | Patch::Strategic(body) => {
                body.pointer("/metadata/resourceVersion").is_some_and(Value::is_string)
            }
            Patch::Json(body) => body.as_array().is_some_and(|operations| {
                operations
                    .iter()
                    .any(|operation| operation["op"] == "test" && operation["path"] == "/metadata/resourceVersion")
            }),
        })
    }

    pub(crate) fn of_delete(options: &DeleteOptions) -> Self {
        Self::guarded(
            options.preconditions.as_ref().is_some_and(|guard| guard.uid.is_some() || guard.resource_version.is_some()),
        )
    }

    pub(crate) fn of_binding(meta: &ObjectMeta) -> Self {
        Self::guarded(meta.uid.is_some())
    }
}

/// A gRPC client.
pub(crate) type Objects = ObjectsClient<Channel>;

/// A gRPC client on this channel.
pub(crate) fn objects(channel: Channel) -> Objects {
    ObjectsClient::new(channel).max_decoding_message_size(MAX_MESSAGE)
}

/// The headers that every request carries.
#[derive(Clone)]
pub(crate) struct Headers {
    /// The User-Agent.
    pub(crate) agent: MetadataValue<Ascii>,
    /// Who asks, where no certificate says it.
    pub(crate) token: Option<Token>,
}

/// A message with these headers.
pub(crate) fn with_headers<T>(message: T, headers: &Headers) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("user-agent", headers.agent.clone());
    if let Some(token) = &headers.token {
        request.metadata_mut().insert("authorization", token.header());
    }
    request
}

/// Sends `message` until it is answered, it must not be sent again, or the deadline has passed.
pub(crate) async fn send<T, R, F, Fut>(
    endpoints: &Endpoints,
    headers: &Headers,
    message: T,
    repeat: Repeat,
    attempt: F,
) -> Result<R, Error>
where
    T: Clone,
    F: Fn(Objects, Request<T>) -> Fut,
    Fut: Future<Output = Result<Response<R>, Status>>,
{
    let deadline = clock::instant() + DEADLINE;
    let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(1));
    let mut failures = 0;
    loop {
        let choice = endpoints.choose();
        let mut request = with_headers(message.clone(), headers);
        request.set_timeout(deadline - clock::instant());
        let Ok(outcome) = tokio::time::timeout_at(deadline, attempt(objects(choice.channel.clone()), request)).await
        else {
            return Err(match repeat {
                Repeat::Read => endpoints.unreachable(),
                Repeat::Guarded | Repeat::Never => unknown_fate("no answer within 30 s"),
            });
        };
        let status = match outcome {
            Ok(response) => return Ok(response.into_inner()),
            Err(status) => status,
        };
        match Failure::of(&status) {
            Failure::Refused(error) => match wait_asked_for(&error) {
                Some(wait) if clock::instant() + wait < deadline => {
                    clock::sleep(wait).await;
                    continue;
                }
                _ if is_about_server(&error) => {
                    endpoints.failed(&choice, &error.message);
                    if repeat != Repeat::Read {
                        return Err(error);
                    }
                }
                _ => return Err(error),
            },
            Failure::NotSent(why) => endpoints.failed(&choice, &why),
            Failure::Unknown(why) => {
                endpoints.failed(&choice, &why);
                if repeat == Repeat::Never {
                    return Err(unknown_fate(&why));
                }
            }
        }
        failures += 1;
        // Every server gets its chance at once; after a round in which all failed they get time to recover.
        if failures % endpoints.len() == 0 {
            let wait = backoff.step();
            if clock::instant() + wait >= deadline {
                return Err(endpoints.unreachable());
            }
            clock::sleep(wait).await;
        }
    }
}

/// The server is busy and says when it will take the request, which it has not begun.
fn wait_asked_for(error: &Error) -> Option<Duration> {
    let seconds = error.details.as_ref()?.retry_after_seconds?;
    let wait = Duration::from_secs(u64::try_from(seconds).ok()?);
    (error.reason == Reason::TooManyRequests && !wait.is_zero()).then_some(wait)
}

fn unknown_fate(why: &str) -> Error {
    let message = format!("the apiserver may or may not have done this, look before trying again: {why}");
    Error::new(Reason::Timeout, message)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Preconditions;
    use serde_json::json;

    use super::*;

    #[test]
    fn only_guarded_writes_are_repeated() {
        let meta = |name: Option<&str>, version: Option<&str>| ObjectMeta {
            name: name.map(Into::into),
            resource_version: version.map(Into::into),
            generate_name: Some("web-".into()),
            ..Default::default()
        };
        assert_eq!(Repeat::of_create(&meta(Some("web"), None)), Repeat::Guarded);
        assert_eq!(Repeat::of_create(&meta(None, None)), Repeat::Never);
        assert_eq!(Repeat::of_update(&meta(Some("web"), Some("7"))), Repeat::Guarded);
        assert_eq!(Repeat::of_update(&meta(Some("web"), None)), Repeat::Never);

        for (patch, expected) in [
            (Patch::Merge(json!({"spec": {"replicas": 1}})), Repeat::Never),
            (Patch::Strategic(json!({"metadata": {"resourceVersion": "7"}})), Repeat::Guarded),
            (Patch::Json(json!([{"op": "add", "path": "/spec/replicas", "value": 1}])), Repeat::Never),
            (Patch::Json(json!([{"op": "test", "path": "/metadata/resourceVersion", "value": "7"}])), Repeat::Guarded),
        ] {
            assert_eq!(Repeat::of_patch(&patch), expected, "{patch:?}");
        }

        let guarded = Preconditions { uid: Some("u".into()), resource_version: None };
        let options = DeleteOptions { preconditions: Some(guarded), ..Default::default() };
        assert_eq!(Repeat::of_delete(&options), Repeat::Guarded);
        assert_eq!(Repeat::of_delete(&DeleteOptions::default()), Repeat::Never);
    }
}
