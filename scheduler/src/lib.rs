//! The scheduler: which node a pod goes to. Upstream: `kube-scheduler`.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`scheduler`] | the process's work: watch, pop, place, assume, bind |
//! | [`cycle`] | one pod and one snapshot of the nodes in, one node out |
//! | [`parallel`] | many nodes looked at by several threads |
//! | [`framework`] | what plugins are made of |
//! | [`plugins`] | the plugins, each a file named as upstream's |
//! | [`queue`] | the pods that wait |
//! | [`cluster`] | what the scheduler believes the cluster to be |
//! | [`config`] | `KubeSchedulerConfiguration`: which plugins run where, and what they are told |
//! | [`explain`] | every node's verdicts and scores for a pod |
//!
//! ```text
//! pods, nodes ──watch──▶ cluster ──snapshot──▶ cycle ──node──▶ assume ──▶ bind ──▶ apiserver
//!                 └────▶ queue ─────pod──────────┘                           (in parallel)
//! ```
//!
//! Invariant: `cycle`, `framework`, `queue` and `cluster` do no I/O and read no clock but to time themselves; of the plugins
//! those that write (`DefaultBinder`, `VolumeBinding` before binding) do it outside of the cycle.

pub mod cluster;
pub mod config;
pub mod cycle;
pub mod explain;
pub mod framework;
pub mod metrics;
pub mod parallel;
pub mod plugins;
pub mod queue;
pub mod scheduler;
#[cfg(test)]
mod testing;

use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Args;
use kubelab_api::Reason;
use kubelab_client::{
    Client, leader,
    process::{Connection, Process},
};
use tokio::sync::watch;

use self::{config::Configuration, scheduler::Scheduler};

/// The name that components' certificates, User-Agents and Leases know it by.
const COMPONENT: &str = "kube-scheduler";

/// How the scheduler runs.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Where the apiservers are
    #[command(flatten)]
    pub connection: Connection,
    /// This process
    #[command(flatten)]
    pub process: Process,
    /// How leadership is held
    #[command(flatten)]
    pub leader_election: leader::Timing,
    /// A KubeSchedulerConfiguration (kubescheduler.config.k8s.io/v1) in YAML
    #[arg(long)]
    pub config: Option<PathBuf>,
}

impl Options {
    fn configuration(&self) -> Result<Configuration, config::Error> {
        self.config.as_deref().map_or_else(|| Ok(Configuration::default()), Configuration::read)
    }
}

/// Runs the whole process until it is told to stop.
pub async fn run(options: Options) -> anyhow::Result<()> {
    options.process.start();
    // What is wrong is said before anything else is done.
    options.configuration()?;
    let (ready, readiness) = watch::channel(false);
    tokio::select! {
        served = options.process.serve_health(readiness) => served.context("the health port ended"),
        led = lead(&options, ready) => led,
    }
}

/// Stands by, leads, and stands by again. Upstream's process ends when it loses its leadership, for fear of work that goes
/// on; here all work ends with the future that does it.
async fn lead(options: &Options, ready: watch::Sender<bool>) -> anyhow::Result<()> {
    let client = Client::new(&options.connection)?.with_agent(COMPONENT);
    let election = leader::Options {
        lease: COMPONENT.to_owned(),
        identity: format!("{}_{:08x}", options.process.name, rand::random::<u32>()),
    };
    loop {
        // A standby fills its caches too, so that it can take over at once.
        let scheduler = Scheduler::new(&client, options.configuration()?);
        tokio::select! {
            () = scheduler.synced() => {}
            () = Process::shutdown() => return Ok(()),
        }
        ready.send_replace(true);
        let (election, timing) = (election.clone(), options.leader_election.clone());
        match leader::run_until(&client, election, timing, Process::shutdown(), || scheduler.run()).await {
            Ok(None) => return Ok(()),
            Ok(Some(())) => bail!("the scheduler ended without being asked to"),
            Err(error) if error.reason == Reason::Timeout => tracing::warn!(%error, "standing by again"),
            Err(error) => return Err(error.into()),
        }
    }
}
