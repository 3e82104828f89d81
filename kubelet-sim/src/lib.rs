//! One simulated Kubernetes node: the real kubelet's behaviour on containers that only behave.
//!
//! ```text
//!  apiserver ──watch──► pods ──► queue ──► node::sync ──► pod::plan ──► runtime      the cache wakes the queue, and so
//!      ▲                                       │              (pure)       │          does the runtime when a container
//!      └───────── patch status, events ◄── pod::status ◄───────────────────┘          ends, a probe answers, a wait is over
//!                                            (pure)
//!  kube-proxy ──Node.Dial──► server ──► runtime ──► what listens in the pod
//! ```
//!
//! | module | what it is |
//! | --- | --- |
//! | [`node`] | a node: its object, its Lease, the workers that keep its pods as they should be |
//! | [`pod`] | what a pod needs next and how it looks (pure) |
//! | [`probe`] | what is asked of containers, and what the answers amount to (pure) |
//! | [`behavior`] | what a simulated container does (pure) |
//! | [`volumes`] | what of the node's and the API's they see as files |
//! | [`runtime`] | where containers live |
//! | [`shell`] | the programs in them |
//! | [`server`] | what the node serves to the lab |
//! | [`duration`] | durations as Go writes them |
//!
//! Invariants: decisions are pure functions of the pod, the runtime's state and a little memory, made anew each time;
//! only [`runtime`] knows that containers are simulated; a kubelet can be killed at any instant, and its successor goes on
//! with the same containers.

pub mod behavior;
pub mod duration;
pub mod node;
pub mod options;
pub mod pod;
pub mod probe;
pub mod runtime;
pub mod server;
pub mod shell;
pub mod volumes;

use std::sync::Arc;

use anyhow::Context;
use kubelab_client::{Client, process::Process};
use tokio::net::TcpListener;

pub use options::Options;

use crate::{
    node::Node,
    runtime::{Runtime, Simulated},
};

/// Runs a node until SIGTERM. Its containers stay, for the next run to go on with.
pub async fn run(options: Options) -> anyhow::Result<()> {
    options.process.start();
    let client = Client::new(&options.connection)?;
    let folder = options.data_dir.display();
    let runtime = Simulated::open(&options.node, &options.data_dir, options.delays)
        .with_context(|| format!("cannot use {folder} for the node's state: give another --data-dir"))?;
    let runtime: Arc<dyn Runtime> = Arc::new(runtime);
    let listener = TcpListener::bind(options.listen)
        .await
        .with_context(|| format!("cannot listen on {}: give a free port with --listen", options.listen))?;
    let (certificate, key) = options.serving_identity();
    let tls = server::Tls::load(&options.connection, certificate, key)?;
    let node = Node::new(client, options.config(listener.local_addr()?.port()), runtime.clone());
    let ready = node.ready();
    let pods = node.pods();
    tokio::select! {
        () = node.run() => Ok(()),
        served = server::serve(listener, tls, runtime, pods) => served,
        served = options.process.serve_health(ready) => Ok(served?),
        () = Process::shutdown() => Ok(()),
    }
}
