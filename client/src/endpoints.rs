//! The apiservers that a process may talk to, and the one that it talks to at present.

use std::{
    error::Error as StdError,
    fs, io,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use futures::future::BoxFuture;
use http::Uri;
use hyper_util::rt::TokioIo;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status as KubernetesStatus;
use kubelab_api::error::{Error, Reason};
use tokio::io::DuplexStream;
use tonic::{
    Code, ConnectError, Status,
    codegen::Service,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};

use crate::process::Connection;

/// A peer that does not answer a ping within [`PING_TIMEOUT`] is dead or paused: its requests fail and go elsewhere.
const PING_EVERY: Duration = Duration::from_secs(3);
const PING_TIMEOUT: Duration = Duration::from_secs(2);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// HTTP/2's default of 64 KiB stalls lists of a few megabytes at every round trip.
const STREAM_WINDOW: u32 = 1 << 20;

/// Servers take a hundred streams a connection or some more; watches never end, so they get connections of their own, each
/// filled to half of that, and requests never wait behind them.
const WATCHES_A_CONNECTION: usize = 50;

/// All requests of a process go to one healthy apiserver, at first to the first, which leads a new store (a follower would
/// pass each write on to it). So what the process reads comes from one replica; only when that one fails does it move on to
/// the next.
pub(crate) struct Endpoints {
    all: Vec<Server>,
    current: AtomicUsize,
    last_failure: Mutex<String>,
}

/// Connects to a server over another network than this machine's.
pub type Dial = Arc<dyn Fn(Uri) -> BoxFuture<'static, io::Result<DuplexStream>> + Send + Sync>;

struct Server {
    address: String,
    endpoint: Endpoint,
    dial: Option<Dial>,
    requests: Channel,
    watches: Mutex<Vec<(Channel, Arc<()>)>>,
}

/// A server chosen for one attempt.
pub(crate) struct Choice {
    pub(crate) channel: Channel,
    index: usize,
    /// A watch's place on its connection, counted by the references to it.
    _place: Option<Arc<()>>,
}

/// Channels that are connected as [`Dial`] does it.
#[derive(Clone)]
struct Dialing(Dial);

impl Service<Uri> for Dialing {
    type Response = TokioIo<DuplexStream>;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Self::Response>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let dialled = (self.0)(uri);
        Box::pin(async { dialled.await.map(TokioIo::new) })
    }
}

/// A channel that is connected when first used.
fn channel(endpoint: &Endpoint, dial: Option<&Dial>) -> Channel {
    match dial {
        Some(dial) => endpoint.connect_with_connector_lazy(Dialing(dial.clone())),
        None => endpoint.connect_lazy(),
    }
}

impl Endpoints {
    /// With this connection's certificate.
    pub(crate) fn new(connection: &Connection) -> Result<Self, Error> {
        let identity = Identity::from_pem(read(&connection.client_certificate)?, read(&connection.client_key)?);
        Self::of(connection, Some(identity), None)
    }

    /// Without a certificate, for those who show a token.
    pub(crate) fn anonymous(connection: &Connection, dial: Option<Dial>) -> Result<Self, Error> {
        Self::of(connection, None, dial)
    }

    fn of(connection: &Connection, identity: Option<Identity>, dial: Option<Dial>) -> Result<Self, Error> {
        let authority = Certificate::from_pem(read(&connection.certificate_authority)?);
        let mut tls = ClientTlsConfig::new().ca_certificate(authority).timeout(CONNECT_TIMEOUT);
        if let Some(identity) = identity {
            tls = tls.identity(identity);
        }
        let server = |address: &String| {
            let endpoint = Endpoint::from_shared(address.clone())
                .and_then(|endpoint| endpoint.tls_config(tls.clone()))
                .map_err(|error| configuration(format!("--apiservers: {address:?} cannot be used: {}", chain(&error))))?
                .connect_timeout(CONNECT_TIMEOUT)
                .http2_keep_alive_interval(PING_EVERY)
                .keep_alive_timeout(PING_TIMEOUT)
                .keep_alive_while_idle(true)
                .initial_stream_window_size(STREAM_WINDOW)
                .initial_connection_window_size(2 * STREAM_WINDOW);
            let (requests, dial) = (channel(&endpoint, dial.as_ref()), dial.clone());
            Ok(Server { address: address.clone(), endpoint, dial, requests, watches: Mutex::default() })
        };
        let all = connection.apiservers.iter().map(server).collect::<Result<Vec<_>, Error>>()?;
        if all.is_empty() {
            return Err(configuration("--apiservers: at least one address is needed"));
        }
        Ok(Self { all, current: AtomicUsize::new(0), last_failure: Mutex::default() })
    }

    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    /// The server to ask now.
    pub(crate) fn choose(&self) -> Choice {
        let index = self.current.load(Ordering::Relaxed);
        Choice { channel: self.all[index].requests.clone(), index, _place: None }
    }

    /// The server to watch now, on a connection that has room for it until the choice is dropped.
    pub(crate) fn choose_for_watch(&self) -> Choice {
        let index = self.current.load(Ordering::Relaxed);
        let server = &self.all[index];
        let mut connections = server.watches.lock().unwrap_or_else(PoisonError::into_inner);
        let has_room = |(_, place): &&(Channel, Arc<()>)| Arc::strong_count(place) <= WATCHES_A_CONNECTION;
        let (channel, place) = match connections.iter().find(has_room) {
            Some(connection) => connection.clone(),
            None => {
                let connection = (channel(&server.endpoint, server.dial.as_ref()), Arc::new(()));
                connections.push(connection.clone());
                connection
            }
        };
        Choice { channel, index, _place: Some(place) }
    }

    /// This server failed: the next attempt of anyone goes to another one.
    pub(crate) fn failed(&self, choice: &Choice, why: &str) {
        let next = (choice.index + 1) % self.all.len();
        let address = &self.all[choice.index].address;
        if self.current.compare_exchange(choice.index, next, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            tracing::debug!(%address, why, next = %self.all[next].address, "apiserver failed");
        }
        *self.last_failure.lock().unwrap_or_else(PoisonError::into_inner) = format!("{address}: {why}");
    }

    /// What to tell a caller whose request no server took in time.
    pub(crate) fn unreachable(&self) -> Error {
        let last = self.last_failure.lock().unwrap_or_else(PoisonError::into_inner);
        Error::unavailable(format!("no apiserver answered in time; the last failure was {last}"))
    }
}

/// How a request failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The server refused it.
    Refused(Error),
    /// It never reached the server.
    NotSent(String),
    /// It may have been done or not.
    Unknown(String),
}

impl Failure {
    /// Only a connection that could not be made, or a request dropped before it was written, surely had no effect.
    pub(crate) fn of(status: &Status) -> Self {
        if let Ok(body) = serde_json::from_slice::<KubernetesStatus>(status.details()) {
            return Self::Refused(Error::from_status(body));
        }
        if causes(status).any(never_sent) {
            return Self::NotSent(chain(status));
        }
        match status.code() {
            Code::NotFound | Code::Unimplemented => Self::Refused(Error::new(Reason::NotFound, status.message())),
            Code::InvalidArgument => Self::Refused(Error::bad_request(status.message())),
            Code::PermissionDenied => Self::Refused(Error::new(Reason::Forbidden, status.message())),
            Code::Unauthenticated => Self::Refused(Error::new(Reason::Unauthorized, status.message())),
            Code::ResourceExhausted => Self::Refused(Error::new(Reason::TooManyRequests, status.message())),
            Code::OutOfRange => Self::Refused(Error::expired(status.message())),
            _ => Self::Unknown(chain(status)),
        }
    }
}

/// Another server may do better: this one has no quorum, or none in time.
pub(crate) fn is_about_server(error: &Error) -> bool {
    matches!(error.reason, Reason::ServiceUnavailable | Reason::Timeout | Reason::ServerTimeout)
}

fn never_sent(error: &(dyn StdError + 'static)) -> bool {
    error.is::<ConnectError>() || error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_canceled)
}

fn causes<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error: &&'a (dyn StdError + 'static)| (*error).source())
}

/// An error with what lies below it, each thing said once.
fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut text = String::new();
    for cause in causes(error) {
        let cause = match cause.downcast_ref::<Status>() {
            Some(status) => status.message().to_owned(),
            None => cause.to_string(),
        };
        if !text.contains(&cause) {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&cause);
        }
    }
    text
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(|error| configuration(format!("cannot read {}: {error}", path.display())))
}

fn configuration(message: impl Into<String>) -> Error {
    Error::new(Reason::Unknown, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_told_apart() {
        let pods = kubelab_api::resource::find("", "v1", "pods").unwrap();
        let refusal = serde_json::to_vec(&Error::not_found(pods, "web").to_status()).unwrap();
        let refused = Status::with_details(Code::NotFound, "not found", refusal.into());
        assert!(matches!(Failure::of(&refused), Failure::Refused(error) if error.message == "pods \"web\" not found"));

        let unconnected = Status::from_error(Box::new(ConnectError("connection refused".into())));
        assert!(matches!(Failure::of(&unconnected), Failure::NotSent(why) if why.contains("connection refused")));

        assert!(matches!(Failure::of(&Status::unavailable("going away")), Failure::Unknown(_)));
        assert!(matches!(Failure::of(&Status::unauthenticated("who?")), Failure::Refused(_)));
    }
}
