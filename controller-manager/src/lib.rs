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
//! | [`job`] | Job → Pods that run to completion |
//! | [`cron_job`] | CronJob → Jobs |
//! | [`ttl_after_finished`] | finished Jobs whose time is over |
//! | [`disruption`] | PodDisruptionBudget → how many pods may be evicted now |
//! | [`pod_autoscaler`] | HorizontalPodAutoscaler → how many replicas there are to be |
//! | [`endpoints`], [`endpoint_slice`] | Service and Pods → Endpoints, EndpointSlices |
//! | [`endpoint_slice_mirroring`] | Endpoints that people keep → EndpointSlices |
//! | [`load_balancer`] | Service → the address of its load balancer |
//! | [`node_lifecycle`] | silent Nodes → conditions, taints |
//! | [`taint_eviction`] | taints → Pods that must go |
//! | [`node_ttl`] | how long Nodes may keep what they fetched |
//! | [`node_ipam`] | Node → its range of pod addresses |
//! | [`pod_gc`] | Pods that nobody else removes |
//! | [`garbage_collector`] | whatever belongs to objects that are gone |
//! | [`custom_resource_definition`] | definitions that are being deleted, and all their objects |
//! | [`namespace`] | Namespaces that are being deleted, and all in them |
//! | [`resource_quota`] | what is used of each ResourceQuota |
//! | [`persistent_volume`] | claims and volumes come together; released volumes |
//! | [`volume_provisioner`] | claims → new volumes; released volumes → none |
//! | [`volume_expansion`] | claims that ask for more → larger volumes |
//! | [`ephemeral_volume`] | Pods → claims that go with them |
//! | [`attach_detach`] | volumes → VolumeAttachments at their Pods' Nodes |
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
//! | [`scalable`] | which resource a kind is, where only the kind is named |
//! | [`claims`] | what claims, volumes, classes and pods say of each other |
//! | [`relation`] | which objects name which |
//! | [`service_pods`] | which pods stand behind a service |
//!
//! What holds for every loop: it is level-triggered (a reconcile looks at what is, never at what happened) and idempotent,
//! so the process may be killed between any two writes; it decides in pure functions, which are tested in tables; it reads
//! caches, and reads the apiserver only where a stale answer would do harm.

pub mod attach_detach;
pub mod bootstrap_token;
pub mod certificates;
pub mod claims;
pub mod cluster_role_aggregation;
pub mod context;
pub mod cron_job;
pub mod custom_resource_definition;
pub mod daemon_set;
pub mod deployment;
pub mod disruption;
pub mod endpoint_slice;
pub mod endpoint_slice_mirroring;
pub mod endpoints;
pub mod ephemeral_volume;
pub mod expectations;
pub mod garbage_collector;
pub mod history;
pub mod job;
pub mod load_balancer;
pub mod loops;
pub mod namespace;
pub mod node_ipam;
pub mod node_lifecycle;
pub mod node_ttl;
pub mod owned_pods;
pub mod ownership;
pub mod persistent_volume;
pub mod pod_autoscaler;
pub mod pod_gc;
pub mod pods;
pub mod relation;
pub mod replica_set;
pub mod resource_quota;
pub mod root_ca_publisher;
pub mod scalable;
pub mod service_account;
pub mod service_pods;
pub mod stateful_set;
pub mod storage_protection;
pub mod taint_eviction;
pub mod token;
pub mod ttl_after_finished;
pub mod volume_expansion;
pub mod volume_provisioner;

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
    #[arg(long, default_value = "50s", value_parser = duration)]
    pub node_monitor_grace_period: Duration,
    /// The same for a node that never spoke
    #[arg(long, default_value = "60s", value_parser = duration)]
    pub node_startup_grace_period: Duration,
    /// From how many nodes a second pods are evicted
    #[arg(long, default_value_t = 0.1)]
    pub node_eviction_rate: f64,
    /// The same in a large zone of which most nodes do not work
    #[arg(long, default_value_t = 0.01)]
    pub secondary_node_eviction_rate: f64,
    /// Which part of a zone's nodes must not work so that evictions slow down, or stop where the zone is small
    #[arg(long, default_value_t = 0.55)]
    pub unhealthy_zone_threshold: f64,
    /// How many nodes a small zone has at most
    #[arg(long, default_value_t = 50)]
    pub large_cluster_size_threshold: usize,
    /// How many pods that have ended are kept; 0 for all
    #[arg(long, default_value_t = 12_500)]
    pub terminated_pod_gc_threshold: usize,
    /// Where nodes keep the content of persistent volumes; it is not deleted with them where this is not given
    #[arg(long)]
    pub volumes_dir: Option<PathBuf>,
    /// The addresses that services of type LoadBalancer get; none do without it
    #[arg(long)]
    pub load_balancer_pool: Option<Ipv4Net>,
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
    if let Some(pool) = options.load_balancer_pool {
        ensure!(pool.prefix_len() <= 30, "--load-balancer-pool {pool} has no addresses: it must be a /30 or larger");
    }
    loops::check(&options.controllers).map_err(|why| anyhow::anyhow!("--controllers: {why}"))
}
