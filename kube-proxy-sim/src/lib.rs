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

use std::{net::SocketAddr, sync::Arc};

use futures::{StreamExt, stream::FuturesUnordered};
use kubelab_client::{
    Client,
    process::{self, Pages, Process},
};

pub use options::Options;

use crate::{
    dial::Nodes,
    network::{
        Network, Wires,
        door::{self, Doors},
        services::Services,
    },
    proxy::{Mirrors, Proxy},
};

/// Runs the proxies of one node, or of many, until SIGTERM.
pub async fn run(options: Options) -> anyhow::Result<()> {
    options.process.start();
    let client = Client::new(&options.connection)?.with_agent("kube-proxy");
    let nodes = Arc::new(Nodes::new(&client, &options.connection)?);
    let mirrors = Mirrors::start(&client);
    let new = |config: &proxy::Config| Arc::new(Proxy::new(&client, config.clone(), &mirrors, nodes.clone()));
    let proxies: Vec<_> = options.nodes.iter().map(new).collect();
    let wires = Arc::new(Wires::new(&client, nodes.clone()));
    let doors = Doors::new(&options.connection, options.serving_identity())?;
    let mut serving = FuturesUnordered::new();
    for proxy in &proxies {
        let proxy::Config { node, ip } = proxy.config();
        let network = Network::new(Services::new(proxy.table()), wires.clone());
        let listener = door::listen(SocketAddr::new(*ip, options.dial_port)).await?;
        serving.push(doors.serve(listener, node, network));
    }
    let ready = process::all(proxies.iter().map(|proxy| proxy.ready()).collect());
    let mut running: FuturesUnordered<_> = proxies.iter().map(|proxy| proxy.clone().run()).collect();
    tokio::select! {
        Some(()) = running.next() => Ok(()),
        Some(served) = serving.next() => served,
        served = options.process.serve_health_and(ready, pages(proxies)) => Ok(served?),
        () = Process::shutdown() => Ok(()),
    }
}

/// `/rules/NODE`: a node's rules; `/rules`: those of the only node, or of the first.
fn pages(proxies: Vec<Arc<Proxy>>) -> Pages {
    Arc::new(move |path| {
        let node = path.strip_prefix("/rules")?;
        let proxy = match node.strip_prefix('/') {
            None if node.is_empty() => proxies.first(),
            name => proxies.iter().find(|proxy| Some(proxy.node()) == name),
        };
        proxy.map(|proxy| proxy.rules())
    })
}
