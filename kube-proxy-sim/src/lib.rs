//! One node's service proxy: Services and EndpointSlices become rules, as kube-proxy makes them in its iptables or IPVS mode,
//! and the rules are really followed for connections to node ports and load balancers.
//!
//! ```text
//!  apiserver ──watch──► cluster: services, slices, nodes ──► rules: what they mean on a node ──► ports: what to listen on
//!                       (shared by a process's proxies)       (pure)                               │
//!                                                                                                  ▼
//!  client ──TCP, UDP──► listener ──► forward ──► balance: which endpoint ──► dial: its kubelet, Node.Dial ──► container
//!  a pod ──► its kubelet ──Proxy.Dial──► network ──► balance, policy ──► dial
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
//! | [`network`] | connections from pods: where they go, and whether they may |
//! | [`proxy`] | one node: all of these together |
//!
//! Invariant: a port is open exactly while a connection to it can go somewhere, or should be left without an answer.
//!
//! Invariant: what a Service means is worked out anew only when it changes, and what is the same on all nodes is held once.

pub mod balance;
pub mod cluster;
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
    cluster::Cluster,
    network::{
        Wires,
        door::{self, Doors},
    },
    proxy::Proxy,
};

/// Runs the proxies of one node, or of many, until SIGTERM.
pub async fn run(options: Options) -> anyhow::Result<()> {
    options.process.start();
    let client = Client::new(&options.connection)?.with_agent("kube-proxy");
    let cluster = Arc::new(Cluster::new(&client, &options.connection)?);
    let new = |config| Arc::new(Proxy::new(&client, config, cluster.clone()));
    let proxies: Vec<_> = options.configs().into_iter().map(new).collect();
    let wires = Arc::new(Wires::new(cluster.nodes().clone()));
    let doors = Doors::new(&options.connection, options.serving_identity())?;
    let mut serving = FuturesUnordered::new();
    for proxy in &proxies {
        let listener = door::listen(SocketAddr::new(proxy.ip(), options.dial_port)).await?;
        serving.push(doors.serve(listener, proxy.node(), proxy.network(&wires)));
    }
    let ready = process::all(proxies.iter().map(|proxy| proxy.ready()).collect());
    let mut running: FuturesUnordered<_> = proxies.iter().map(|proxy| proxy.clone().run()).collect();
    tokio::select! {
        () = cluster.run() => Ok(()),
        Some(()) = running.next() => Ok(()),
        Some(served) = serving.next() => served,
        served = options.process.serve_health_and(ready, pages(proxies)) => Ok(served?),
        () = Process::shutdown() => Ok(()),
    }
}

/// `/rules/NODE`: a node's rules; `/rules`: those of the only node, or of the first. `/proxyMode` is upstream's.
fn pages(proxies: Vec<Arc<Proxy>>) -> Pages {
    Arc::new(move |path| {
        if path == "/proxyMode" {
            return proxies.first().map(|proxy| proxy.mode().to_string());
        }
        let node = path.strip_prefix("/rules")?;
        let proxy = match node.strip_prefix('/') {
            None if node.is_empty() => proxies.first(),
            name => proxies.iter().find(|proxy| Some(proxy.node()) == name),
        };
        proxy.map(|proxy| proxy.rules())
    })
}
