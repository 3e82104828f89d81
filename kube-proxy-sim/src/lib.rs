//! One node's service proxy: Services and EndpointSlices become rules, as kube-proxy's iptables mode makes them, and the
//! rules are really followed for connections to node ports.
//!
//! ```text
//!  apiserver ──watch──► services, slices ──► rules::table ──► ports: a listener for each node port
//!                                              (pure)            │
//!                                                                ▼
//!  client ──TCP──► listener ──► balance: which endpoint ──► dial: the endpoint's kubelet, Node.Dial ──► container
//! ```
//!
//! | module | what it is |
//! | --- | --- |
//! | [`rules`] | what Services and EndpointSlices mean on this node, and how iptables would write it (pure) |
//! | [`balance`] | which endpoint a connection goes to (pure but for chance) |
//! | [`ports`] | the listeners of node ports |
//! | [`forward`] | one connection |
//! | [`dial`] | connections to pods, through their nodes |
//!
//! Invariant: a port is open exactly while a connection to it can go somewhere.

pub mod balance;
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

use crate::{dial::Nodes, proxy::Proxy};

/// Runs a proxy until SIGTERM.
pub async fn run(options: Options) -> anyhow::Result<()> {
    options.process.start();
    let client = Client::new(&options.connection)?.with_agent("kube-proxy");
    let nodes = Nodes::new(&client, &options.connection)?;
    let proxy = Arc::new(Proxy::new(client, options.config(), nodes));
    let (ready, pages) = (proxy.ready(), proxy.pages());
    tokio::select! {
        () = proxy.run() => Ok(()),
        served = options.process.serve_health_and(ready, pages) => Ok(served?),
        () = Process::shutdown() => Ok(()),
    }
}
