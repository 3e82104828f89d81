//! kube-controller-manager: the control loops that bring what is to what is wanted.
//!
//! ```text
//! apiserver ─▶ Caches (one mirror per resource) ─▶ a loop's handlers ─▶ its Queue ─▶ reconcile(key) ─▶ writes
//!                  ▲                                                                                   │
//!                  └──────────────────────────── the writes come back as changes ──────────────────────┘
//! ```
//!
//! | module | what it is |
//! | --- | --- |
//! | [`loops`] | the table of loops |
//! | [`context`] | what each loop is given |
//! | [`deployment`] | Deployment → ReplicaSets |
//! | [`replica_set`] | ReplicaSet, ReplicationController → Pods |
//! | [`daemon_set`] | DaemonSet, Nodes → Pods |
//! | [`stateful_set`] | StatefulSet → Pods and claims, in order |
//! | [`endpoints`], [`endpoint_slice`] | Service and Pods → Endpoints, EndpointSlices |
//! | [`node_lifecycle`] | silent Nodes → conditions, taints |
//! | [`taint_eviction`] | taints → Pods that must go |
//! | [`node_ipam`] | Node → its range of pod addresses |
//! | [`pod_gc`] | Pods that nobody else removes |
//! | [`garbage_collector`] | whatever belongs to objects that are gone |
//! | [`custom_resource_definition`] | definitions that are being deleted, and all their objects |
//! | [`namespace`] | Namespaces that are being deleted, and all in them |
//! | [`resource_quota`] | what is used of each ResourceQuota |
//! | [`storage_protection`] | claims and volumes that are being deleted and used no longer |
//! | [`service_account`] | Namespace → its ServiceAccount `default` |
//! | [`root_ca_publisher`] | Namespace → its ConfigMap `kube-root-ca.crt` |
//! | [`token`] | Secrets with tokens of service accounts |
//! | [`bootstrap_token`] | Secrets with which machines join |
//! | [`certificates`] | CertificateSigningRequest → a certificate |
//! | [`cluster_role_aggregation`] | ClusterRoles that are sums of others |
//! | [`history`] | the ControllerRevisions of StatefulSets and DaemonSets |
//! | [`ownership`] | who controls an object: adoption and release |
//! | [`expectations`] | what was asked for and is not seen yet |
//! | [`pods`] | making and removing pods |
//! | [`owned_pods`] | changes of pods → keys of their owners |
//! | [`service_pods`] | which pods stand behind a service |
//!
//! What holds for every loop: it is level-triggered (a reconcile looks at what is, never at what happened) and idempotent,
//! so the process may be killed between any two writes; it decides in pure functions, which are tested in tables; it reads
//! caches, and reads the apiserver only where a stale answer would do harm.

pub mod bootstrap_token;
pub mod certificates;
pub mod cluster_role_aggregation;
pub mod context;
pub mod custom_resource_definition;
pub mod daemon_set;
pub mod deployment;
pub mod endpoint_slice;
pub mod endpoints;
pub mod expectations;
pub mod garbage_collector;
pub mod history;
pub mod loops;
pub mod namespace;
pub mod node_ipam;
pub mod node_lifecycle;
pub mod owned_pods;
pub mod ownership;
pub mod pod_gc;
pub mod pods;
pub mod replica_set;
pub mod resource_quota;
pub mod root_ca_publisher;
pub mod service_account;
pub mod service_pods;
pub mod stateful_set;
pub mod storage_protection;
pub mod taint_eviction;
pub mod token;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use clap::Args;
use ipnet::Ipv4Net;
use jiff::SignedDuration;
use kubelab_client::{
    Client,
    leader::{self, Timing},
    process::{Connection, Process},
};
use tokio::sync::watch;

pub use self::context::Context;

/// The flags of the process.
#[derive(Args, Clone, Debug)]
pub struct Options {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub connection: Connection,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub process: Process,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub leader_election: Timing,
    /// The loops to run: "*" for all, "name" for one, "-name" for all but one
    #[arg(long, value_delimiter = ',', default_value = "*", allow_hyphen_values = true)]
    pub controllers: Vec<String>,
    /// The addresses of all pods
    #[arg(long, default_value = "10.244.0.0/16")]
    pub cluster_cidr: Ipv4Net,
    /// How large a part of them each node gets
    #[arg(long, default_value_t = 24)]
    pub node_cidr_mask_size: u8,
    /// How often nodes are looked at
    #[arg(long, default_value = "5s", value_parser = duration)]
    pub node_monitor_period: Duration,
    /// How long a node may be silent before it counts as unreachable
    #[arg(long, default_value = "40s", value_parser = duration)]
    pub node_monitor_grace_period: Duration,
    /// The certificates that pods are to trust the apiservers by (PEM); --certificate-authority where not given
    #[arg(long)]
    pub root_ca_file: Option<PathBuf>,
    /// The certificate authority that signs certificate requests (PEM); none are signed without it
    #[arg(long)]
    pub cluster_signing_cert_file: Option<PathBuf>,
    /// Its key (PEM)
    #[arg(long)]
    pub cluster_signing_key_file: Option<PathBuf>,
    /// The longest that a signed certificate lasts
    #[arg(long, default_value = "8760h", value_parser = duration)]
    pub cluster_signing_duration: Duration,
}

impl Options {
    /// Where the certificates are that pods are to trust the apiservers by.
    pub fn root_ca_file(&self) -> &Path {
        self.root_ca_file.as_deref().unwrap_or(&self.connection.certificate_authority)
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let span: SignedDuration = text.parse().map_err(|error| format!("{error}; write it like 40s or 700ms"))?;
    Duration::try_from(span).map_err(|_| "a duration cannot be negative".to_owned())
}

/// The whole process: takes part in the leader election, runs the loops while it leads, ends on SIGTERM.
pub async fn run(options: Options) -> anyhow::Result<()> {
    options.process.start();
    check(&options)?;
    let client = Client::new(&options.connection)?.with_agent("kube-controller-manager");
    let election =
        leader::Options { lease: "kube-controller-manager".to_owned(), identity: options.process.name.clone() };
    let (_ready, is_ready) = watch::channel(true);
    let timing = options.leader_election.clone();
    let process = options.process.clone();
    let lead = || loops::run(Context::new(client.clone(), options));
    tokio::select! {
        ended = process.serve_health(is_ready) => ended.context("serving health and metrics"),
        ended = leader::run_until(&client, election, timing, Process::shutdown(), lead) => match ended? {
            Some(result) => result,
            None => Ok(()),
        },
    }
}

fn check(options: &Options) -> anyhow::Result<()> {
    let (prefix, mask) = (options.cluster_cidr.prefix_len(), options.node_cidr_mask_size);
    ensure!(
        mask <= 30 && mask >= prefix && mask - prefix <= 16,
        "--node-cidr-mask-size {mask} does not divide --cluster-cidr {}: it must be at most 16 above {prefix}, and at most 30",
        options.cluster_cidr
    );
    loops::check(&options.controllers).map_err(|why| anyhow::anyhow!("--controllers: {why}"))
}
