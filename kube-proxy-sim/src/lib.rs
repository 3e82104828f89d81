//! One node's service proxy: Services and EndpointSlices become rules, as kube-proxy makes them in its iptables or IPVS mode,
//! and the rules are really followed for connections to node ports and load balancers.
//!
//! ```text
//!  apiserver ──watch──► cluster: services, slices, nodes ──► rules: what they mean on a node ──► ports: what to listen on
//!                       (shared by a process's proxies)       (pure)                               │
//!                                                                                                  ▼
//!  client ──TCP──► listener ──► forward ──► balance: which endpoint ──► dial: its kubelet, Node.Dial ──► container
//! ```
//!
//! | module | what it is |
//! | --- | --- |
//! | [`cluster`] | what the apiserver says, shared by all proxies of a process |
//! | [`rules`] | what Services and EndpointSlices mean on a node, and how the node's tools would write it (pure) |
//! | [`balance`] | which endpoint a connection goes to (pure but for chance) |
//! | [`ports`] | the listeners of node ports, load balancers and health checks |
//! | [`forward`] | one connection |
//! | [`dial`] | connections to pods, through their nodes |
//! | [`proxy`] | one node: all of these together |
//!
//! Invariant: a port is open exactly while a connection to it can go somewhere, or should be left without an answer.
//!
//! Invariant: a change of one Service costs what that Service costs, however many there are; and what is the same on all
//! nodes is held once.

pub mod balance;
pub mod cluster;
pub mod dial;
pub mod forward;
mod metrics;
pub mod options;
pub mod ports;
pub mod proxy;
pub mod rules;

use std::sync::Arc;

use kubelab_client::{Client, process::Process};

pub use options::Options;

use crate::{cluster::Cluster, proxy::Proxy};

/// Runs a proxy until SIGTERM.
pub async fn run(options: Options) -> anyhow::Result<()> {
    options.process.start();
    let client = Client::new(&options.connection)?.with_agent("kube-proxy");
    let cluster = Arc::new(Cluster::new(&client, &options.connection)?);
    let proxy = Arc::new(Proxy::new(&client, options.config(), cluster.clone()));
    let (ready, pages) = (proxy.ready(), proxy.pages());
    tokio::select! {
        () = cluster.run() => Ok(()),
        () = proxy.run() => Ok(()),
        served = options.process.serve_health_and(ready, pages) => Ok(served?),
        () = Process::shutdown() => Ok(()),
    }
}
