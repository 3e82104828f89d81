//! The ways in: REST and gRPC on one TLS port. They translate, and decide nothing.
//!
//! ```text
//! listener ─► Doors::serve ─┬─ content-type application/grpc ─► grpc ─┐
//!                           └─ everything else ──────────────► rest ─┴─► corridor
//! ```

pub mod grpc;
pub mod health;
pub mod limits;
pub mod origin;
pub mod outline;
pub mod rest;

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderMap, header::CONTENT_TYPE};
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use kubelab_api::{Error, Reason};
use tokio_util::sync::CancellationToken;

use crate::{
    aggregation::Aggregator,
    audit::{self, Audit},
    authentication::{certificate::Holder, impersonation::Wanted},
    corridor::{Answer, Corridor, Request, User},
    fairness::Fairness,
    metrics::{Labels, Metrics},
    nodes::Nodes,
    openapi::OpenApi,
};
use health::Health;
use limits::Limits;

/// What goes wrong while a body is sent.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The body of an answer.
pub type Body = UnsyncBoxBody<Bytes, BoxError>;

/// What is known of a connection.
#[derive(Debug)]
pub struct Connection {
    /// Whom the client's certificate names, which TLS has verified.
    pub holder: Option<Holder>,
    /// The other end.
    pub peer: Option<IpAddr>,
}

/// Both doors, and what they show of the apiserver itself.
pub struct Doors {
    /// This apiserver's name: `apiserver-1`.
    pub name: String,
    /// Where clients find it: `127.0.0.1:6443`.
    pub address: String,
    /// Where requests go.
    pub corridor: Arc<Corridor>,
    /// What is recorded of requests, if anything is.
    pub audit: Option<Arc<Audit>>,
    /// Places for requests.
    pub limits: Limits,
    /// Whose request is served now.
    pub fairness: Fairness,
    /// What is counted.
    pub metrics: Metrics,
    /// Whether it can serve.
    pub health: Health,
    /// How objects look.
    pub openapi: OpenApi,
    /// Who answers for other groups.
    pub aggregator: Arc<Aggregator>,
    /// Connections to what is in pods.
    pub nodes: Arc<Nodes>,
    /// Ends watches when the server goes.
    pub shutdown: CancellationToken,
}

impl Doors {
    /// Answers one HTTP request, whichever door it is for.
    pub async fn serve(
        self: Arc<Self>,
        connection: Arc<Connection>,
        request: http::Request<Incoming>,
    ) -> http::Response<Body> {
        let content_type = request.headers().get(CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
        if content_type.starts_with(b"application/grpc") {
            grpc::serve(self, connection, request).await
        } else {
            rest::serve(self, connection, request).await
        }
    }

    /// Passes a finished request on: counted, within its limits, in time.
    async fn handle(&self, request: Request) -> Result<Answer, Error> {
        let begin = Instant::now();
        let labels = Labels::of(&request);
        let answered = async {
            let _place = if is_vital(&request) { None } else { self.limits.wait(request.verb).await? };
            within_time(TIMEOUT, self.corridor.handle(request)).await
        }
        .await;
        let code = match &answered {
            Ok(_) => 200,
            Err(error) => error.code(),
        };
        self.metrics.answered(labels, code, begin.elapsed());
        answered
    }

    /// Who asks, or whom the asker may act as.
    async fn authenticate(&self, connection: &Connection, headers: &HeaderMap) -> Result<User, Error> {
        let user = self.corridor.authenticate(connection.holder.as_ref(), bearer(headers)).await?;
        self.acting(user, headers)
    }

    /// Whom somebody acts as: himself, or another.
    fn acting(&self, user: User, headers: &HeaderMap) -> Result<User, Error> {
        let Some(wanted) = Wanted::from_headers(headers)? else { return Ok(user) };
        let other = self.corridor.impersonate(&user, wanted)?;
        if let Some(record) = audit::current() {
            record.acts_as(&other);
        }
        Ok(other)
    }
}

/// Who leads, and who lives, must be told in time however much there is to do. Source: the FlowSchemas
/// `system-leader-election` and `system-node-high`.
fn is_vital(request: &Request) -> bool {
    (&*request.resource.group, &*request.resource.plural) == ("coordination.k8s.io", "leases")
}

/// What a request may take; a watch may go on for longer once it has begun. Source: `--request-timeout`.
const TIMEOUT: Duration = Duration::from_secs(60);

async fn within_time<T>(limit: Duration, answer: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let late = |_| Error::new(Reason::Timeout, "Timeout: request did not complete within the allotted timeout");
    tokio::time::timeout(limit, answer).await.map_err(late)?
}

/// The bearer token of a request. The scheme's case does not matter (RFC 9110, 11.1).
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(http::header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim()).filter(|token| !token.is_empty())
}
