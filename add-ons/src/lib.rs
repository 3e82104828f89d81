//! Programs that run in a lab's own pods, as a cluster's add-ons do: each knows what its container tells it, talks to the
//! API as its pod's service account, and serves connections that come over the pod network.
//!
//! ```text
//!  kubelet ──starts──► AddOn::start(Container) ──► Program: run, serve ◄── connections to its ports
//!                            │   client: the API, as the pod's service account
//!                            └── network: connections to others
//! ```
//!
//! | module | what it is |
//! | --- | --- |
//! | [`container`] | what a program finds in its container |
//! | [`dns`] | `coredns`: the cluster's DNS server |
//! | [`ingress`] | `ingress-nginx`: the ingress controller |
//! | [`metrics`] | `metrics-server`: the metrics API |
//!
//! Invariant: a program has no way to the world but its container's client and network, so RBAC and NetworkPolicies bind
//! it as they would the real one.

pub mod container;
pub mod dns;
pub mod ingress;
pub mod metrics;

use std::sync::Arc;

use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};

pub use container::{Connection, Container, Dialer, Failure, Protocol};

/// A program in a container.
pub trait Program: Send + Sync {
    /// Does what it does by itself, until it is dropped.
    fn run(self: Arc<Self>) -> BoxFuture<'static, ()>;
    /// Serves one connection to its end.
    fn serve(self: Arc<Self>, connection: Connection) -> BoxFuture<'static, ()>;
}

/// The programs that there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AddOn {
    /// The cluster's DNS server.
    Dns,
    /// The ingress controller.
    Ingress,
    /// The metrics API.
    Metrics,
}

impl AddOn {
    /// The program of an image, by its repository: `registry.k8s.io/ingress-nginx/controller`.
    pub fn of_repository(repository: &str) -> Option<Self> {
        match repository.rsplit('/').next()? {
            "coredns" => Some(Self::Dns),
            "controller" if repository.ends_with("ingress-nginx/controller") => Some(Self::Ingress),
            "ingress-nginx-controller" => Some(Self::Ingress),
            "metrics-server" => Some(Self::Metrics),
            _ => None,
        }
    }

    /// Makes the program ready to run in this container.
    pub fn start(self, container: Container) -> Arc<dyn Program> {
        match self {
            Self::Dns => Arc::new(dns::Server::new(container)),
            Self::Ingress => Arc::new(ingress::Controller::new(container)),
            Self::Metrics => Arc::new(metrics::Server::new(container)),
        }
    }
}
