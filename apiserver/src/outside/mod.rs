//! Calls to servers that users run: admission webhooks, conversion webhooks, extension servers.
//!
//! A plan is a pure function and may be made again, so it makes no call. It asks for an answer; where none is known yet, it
//! stops, and [`Registry::write`](crate::registry::Registry) makes the call and then the plan again. Answers are kept for
//! the request, by all that was sent:
//!
//! ```text
//! plan ─► Aside::ask(Call) ─► known: the answer
//!                        └──► unknown: the plan ends with an error that nobody sees
//!                                  │
//! write: Aside::wanted ◄───────────┘ ─► Outside::answer ─► HTTPS, all that are wanted at once ─► plan again
//! ```
//!
//! What must be converted by a webhook takes the same way, many objects in one call; see
//! [`conversion`](crate::registry::custom::conversion).
//!
//! | module | what it is |
//! | --- | --- |
//! | [`aside`] | what a plan asks, and what it says beside its outcome |
//! | [`caller`] | HTTPS with connections that are used again |
//! | [`service`] | where a Service's endpoints are |
//! | [`trust`] | whose certificates are believed |
//!
//! Invariants: the same question is asked once a request. Every call has a time limit, and every answer a size limit.

pub mod aside;
pub mod caller;
pub mod service;
pub mod trust;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use k8s_openapi::api::admissionregistration::v1::WebhookClientConfig;

pub use aside::Aside;
pub use caller::Outside;

/// Where a server is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// A URL: `https://HOST[:PORT][/PATH]`.
    Url(String),
    /// A Service of the cluster.
    #[allow(missing_docs)]
    Service { namespace: String, name: String, port: u16, path: String },
}

/// Where a server is, and whose certificates it may show.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Destination {
    /// Where it is.
    pub address: Address,
    /// Certificate authorities, PEM; empty for those of the system.
    pub authorities: Bytes,
    /// Any certificate will do: `insecureSkipTLSVerify` of an APIService.
    pub insecure: bool,
}

impl Destination {
    /// Where a webhook's configuration says.
    pub fn of(client: &WebhookClientConfig) -> Self {
        let authorities = client.ca_bundle.as_ref().map(|bundle| Bytes::copy_from_slice(&bundle.0)).unwrap_or_default();
        let address = match (&client.url, &client.service) {
            (None, Some(service)) => Address::Service {
                namespace: service.namespace.clone(),
                name: service.name.clone(),
                port: service.port.and_then(|port| u16::try_from(port).ok()).unwrap_or(443),
                path: service.path.clone().unwrap_or_default(),
            },
            (url, _) => Address::Url(url.clone().unwrap_or_default()),
        };
        Self { address, authorities, insecure: false }
    }

    /// The URL that is asked for, as errors show it.
    pub fn url(&self) -> String {
        match &self.address {
            Address::Url(url) => url.clone(),
            Address::Service { namespace, name, port, path } => {
                format!("https://{name}.{namespace}.svc:{port}/{}", path.trim_start_matches('/'))
            }
        }
    }
}

/// One POST of JSON.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Call {
    /// To whom.
    pub destination: Destination,
    /// What is sent.
    pub body: Bytes,
    /// How long the answer may take.
    pub timeout: Duration,
}

/// What came back: the body of a success, or what went wrong in the words of Go's HTTP client.
pub type Reply = Arc<Result<Bytes, String>>;
