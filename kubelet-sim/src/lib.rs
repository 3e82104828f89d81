//! One simulated Kubernetes node: the real kubelet's behaviour on containers that only behave.
//!
//! ```text
//!  apiserver ──watch──► pods ──► queue ──► node::sync ──► pod::plan ──► runtime      the cache wakes the queue, and so
//!      ▲                                       │              (pure)       │          does the runtime when a container
//!      └───────── patch status, events ◄── pod::status ◄───────────────────┘          ends, a probe answers, a wait is over
//!                                            (pure)
//!  kube-proxy ──Node.Dial──► server ──► runtime ──► what listens in the pod
//!      ▲
//!      └──Proxy.Dial── network ◄── what a program in a pod dials
//! ```
//!
//! | module | what it is |
//! | --- | --- |
//! | [`node`] | a node: its object, its Lease, the workers that keep its pods as they should be |
//! | [`pod`] | what a pod needs next and how it looks (pure) |
//! | [`probe`] | what is asked of containers, and what the answers amount to |
//! | [`behavior`] | what a simulated container does (pure) |
//! | [`volumes`] | what of the node's and the API's they see as files |
//! | [`runtime`] | where containers live |
//! | [`shell`] | the programs in them |
//! | [`network`] | the network that those see |
//! | [`server`] | what the node serves to the lab |
//! | [`duration`] | durations as Go writes them |
//!
//! Invariants: decisions are pure functions of the pod, the runtime's state and a little memory, made anew each time;
//! only [`runtime`] knows that containers are simulated; a kubelet can be killed at any instant, and its successor goes on
//! with the same containers.

pub mod behavior;
pub mod duration;
pub mod network;
pub mod node;
pub mod options;
pub mod pod;
pub mod probe;
pub mod runtime;
pub mod server;
pub mod shell;
pub mod volumes;

use std::{net::SocketAddr, sync::Arc};

use anyhow::Context;
use futures::{StreamExt, stream::FuturesUnordered};
use kubelab_client::{
    Client,
    process::{self, Process},
};
use tokio::net::TcpListener;

pub use options::Options;

use crate::{
    behavior::file::Rules,
    network::proxy::Proxy,
    node::{Node, Services},
    options::Host,
    runtime::{Runtime, Simulated, simulated::Outside},
};

/// Runs one node, or many, until SIGTERM. Their containers stay, for the next run to go on with.
pub async fn run(options: Options) -> anyhow::Result<()> {
    options.process.start();
    let rules = options.behaviors.as_deref().map(Rules::read).transpose()?.unwrap_or_default();
    for what in &rules.passed_over {
        tracing::warn!("the behaviour file: {what}");
    }
    let rules = Arc::new(rules);
    let mut nodes = FuturesUnordered::new();
    let mut ready = Vec::new();
    let services = Services::default();
    for host in options.hosts()? {
        let (node, serving) =
            start(&options, &host, rules.clone(), &services).await.with_context(|| host.name.clone())?;
        ready.push(node.ready());
        nodes.push(async move {
            tokio::select! {
                () = node.run() => Ok(()),
                served = serving => served,
            }
        });
    }
    tokio::select! {
        Some(ended) = nodes.next() => ended,
        served = options.process.serve_health(process::all(ready)) => Ok(served?),
        () = Process::shutdown() => Ok(()),
    }
}

/// A node, and what it serves, each of which runs as long as it is awaited.
async fn start(
    options: &Options,
    host: &Host,
    rules: Arc<Rules>,
    services: &Services,
) -> anyhow::Result<(Arc<Node>, impl Future<Output = anyhow::Result<()>> + use<>)> {
    let client = Client::new(&host.connection)?;
    let folder = host.data_dir.display();
    let outside = Outside {
        client: client.with_agent("kubelet"),
        connection: host.connection.clone(),
        proxy: Proxy::new(SocketAddr::new(host.ip, options.proxy_port), &host.connection)?,
        address: host.ip,
    };
    let runtime = Simulated::open_with(&host.name, &host.data_dir, options.delays, rules, Some(outside))
        .with_context(|| format!("cannot use {folder} for the node's state: give another --data-dir"))?;
    let runtime: Arc<dyn Runtime> = Arc::new(runtime);
    let listen = SocketAddr::new(host.ip, options.port);
    let listener = TcpListener::bind(listen)
        .await
        .with_context(|| format!("cannot listen on {listen}: give a free port with --port"))?;
    let tls = server::Tls::load(&host.connection, &host.tls_certificate, &host.tls_key)?;
    let config = options.config(host, listener.local_addr()?.port());
    let node = Node::beside(services, client, config, runtime.clone());
    let about = node.about();
    Ok((node, server::serve(listener, tls, runtime, about)))
}
