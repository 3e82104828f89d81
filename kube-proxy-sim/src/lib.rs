//! One node's service proxy: Services and EndpointSlices become rules, as kube-proxy's iptables mode makes them, and the
//! rules are really followed for connections to node ports.
//!
//! ```text
//!  apiserver ──watch──► services, slices ──► rules::table ──► ports: a listener for each node port
//!                                              (pure)            │
//!                                                                ▼
//!  client ──TCP──► listener ──► balance: which endpoint ──► dial: the endpoint's kubelet, Node.Dial ──► container
//!  a pod ──► its kubelet ──Proxy.Dial──► network ──► balance, policy ──► dial
//! ```
//!
//! | module | what it is |
//! | --- | --- |
//! | [`rules`] | what Services and EndpointSlices mean on this node, and how iptables would write it (pure) |
//! | [`balance`] | which endpoint a connection goes to (pure but for chance) |
//! | [`ports`] | the listeners of node ports |
//! | [`forward`] | one connection |
//! | [`dial`] | connections to pods, through their nodes |
//! | [`network`] | connections from pods: where they go, and whether they may |
//!
//! Invariant: a port is open exactly while a connection to it can go somewhere.

pub mod balance;
pub mod dial;
pub mod forward;
mod metrics;
pub mod network;
pub mod options;
pub mod ports;
pub mod proxy;
pub mod rules;

use std::sync::Arc;

use kubelab_client::{Client, process::Process};

pub use options::Options;

use crate::{
    dial::Nodes,
    network::{Network, door, services::Services},
    proxy::Proxy,
};

/// Runs a proxy until SIGTERM.
pub async fn run(options: Options) -> anyhow::Result<()> {
    options.process.start();
    let client = Client::new(&options.connection)?.with_agent("kube-proxy");
    let nodes = Arc::new(Nodes::new(&client, &options.connection)?);
    let proxy = Arc::new(Proxy::new(client.clone(), options.config(), nodes.clone()));
    let (ready, pages) = (proxy.ready(), proxy.pages());
    let network = Arc::new(Network::new(&client, Services::new(proxy.table()), nodes));
    let door =
        door::serve(options.dial_address(), &options.node, &options.connection, options.serving_identity(), network);
    tokio::select! {
        () = proxy.run() => Ok(()),
        served = door => served,
        served = options.process.serve_health_and(ready, pages) => Ok(served?),
        () = Process::shutdown() => Ok(()),
    }
}
