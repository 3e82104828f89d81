//! What other servers answer that APIServices name, such as the metrics APIs.

use bytes::Bytes;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use kubelab_api::error::{Error, Reason};
use kubelab_proto::objects::{FetchRequest, Fetched};
use serde::de::DeserializeOwned;

use crate::{
    Client,
    client::read,
    request::{self, Objects, Repeat},
};

impl Client {
    /// What the server of an aggregated group answers to a GET of `path` (with its query, escaped as in any URL).
    /// `NotFound` where no APIService names a server for the group.
    pub async fn fetch<T: DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        read(&self.fetch_bytes(path).await?)
    }

    /// The page of a kubelet at `/api/v1/nodes/NODE/proxy/PAGE`, as text.
    pub async fn fetch_text(&self, path: &str) -> Result<String, Error> {
        Ok(String::from_utf8_lossy(&self.fetch_bytes(path).await?).into_owned())
    }

    async fn fetch_bytes(&self, path: &str) -> Result<Bytes, Error> {
        let message = FetchRequest { path: path.to_owned() };
        let send = |mut client: Objects, request| async move { client.fetch(request).await };
        let Fetched { code, body } =
            request::send(self.endpoints(), self.headers(), message, Repeat::Read, send).await?;
        if (200..300).contains(&code) { Ok(body) } else { Err(refusal(code, &body)) }
    }
}

/// What a server meant that is not one of the lab's own, and may not answer as an apiserver does.
fn refusal(code: u32, body: &[u8]) -> Error {
    if let Ok(status) = serde_json::from_slice::<Status>(body)
        && status.status.as_deref() == Some("Failure")
    {
        return Error::from_status(status);
    }
    match u16::try_from(code).unwrap_or(500) {
        404 => Error::no_such_page(),
        // In client-go's words.
        503 => Error::new(Reason::ServiceUnavailable, "the server is currently unable to handle the request"),
        code => Error::new(Reason::Code(code), String::from_utf8_lossy(body).trim()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_read_in_any_form() {
        let status = br#"{"kind":"Status","status":"Failure","message":"no","reason":"Forbidden","code":403}"#;
        assert_eq!(refusal(403, status).reason, Reason::Forbidden);
        assert_eq!(refusal(404, b"404 page not found").reason, Reason::NotFound);
        assert_eq!(refusal(503, b"service unavailable\n").reason, Reason::ServiceUnavailable);
        let error = refusal(418, b"a teapot\n");
        assert_eq!((error.code(), error.message.as_str()), (418, "a teapot"));
    }
}
