//! The network as the node's pods see it: connections to others, and names.
//!
//! ```text
//!  a program ──dial──► pod: its own ports? ──► the runtime
//!                        │ else
//!                        ▼
//!                      proxy ──Proxy.Dial──► the node's kube-proxy: rules, policies, routes
//! ```
//!
//! | module | what it is |
//! | --- | --- |
//! | [`proxy`] | connections through the node's kube-proxy |
//! | [`files`] | `/etc/hosts` and `/etc/resolv.conf` of a pod (pure) |
//! | [`resolver`] | names to addresses, as those files say |
//! | [`http`] | requests |
//! | [`outside`] | a little of the world outside the cluster |
//!
//! Invariant: a program of a pod reaches nothing but through [`Dialer`]; it never opens a socket of the machine.

pub mod files;
pub mod http;
pub mod outside;
pub mod proxy;
pub mod resolver;

use std::{net::SocketAddr, time::Duration};

use futures::future::BoxFuture;
pub use kubelab_add_ons::{Dialer, Failure, Protocol};
use kubelab_client::clock;
use tokio::io::DuplexStream;

/// How long a connection whose packets are dropped is tried for, where its program has no patience of its own. Linux
/// tries for some two minutes; nobody wants to wait that long to see it.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// A pod without a network.
pub struct Nowhere;

impl Dialer for Nowhere {
    fn dial(&self, _: SocketAddr, _: Protocol) -> BoxFuture<'_, Result<DuplexStream, Failure>> {
        Box::pin(async { Err(Failure::Unreachable) })
    }
}

/// Connects within a time. Dropped packets take all of it.
pub async fn connect(
    network: &dyn Dialer,
    to: SocketAddr,
    protocol: Protocol,
    patience: Option<Duration>,
) -> Result<DuplexStream, Failure> {
    let deadline = clock::instant() + patience.unwrap_or(PATIENCE).min(PATIENCE);
    match tokio::time::timeout_at(deadline, network.dial(to, protocol)).await {
        Ok(Err(Failure::Dropped)) => {
            clock::sleep(deadline.saturating_duration_since(clock::instant())).await;
            Err(Failure::Dropped)
        }
        Ok(dialled) => dialled,
        Err(_) => Err(Failure::Dropped),
    }
}
