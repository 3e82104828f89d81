//! The proxy of one node: keeps the table and the ports as the cluster wants them. Many of them can share a cluster.

use std::{net::IpAddr, sync::Arc, time::Duration};

use ipnet::IpNet;
use kubelab_client::{Client, Recorder, clock, recorder::Kind};
use tokio::sync::{Mutex, watch};

use crate::{
    balance::{Balancer, Mode},
    cluster::{Cluster, View},
    metrics::METRICS,
    network::{self, Network, Wires},
    ports::{
        Ports, Taken,
        wanted::{Purpose, wanted},
    },
    rules::{Place, Table, Via, ipset, iptables, ipvs, nftables},
};

/// How soon a port that was taken is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// Which node's proxy it is, and how it balances.
#[derive(Clone, Debug)]
pub struct Config {
    /// The node's name.
    pub node: String,
    /// The node's address.
    pub ip: IpAddr,
    /// The network that pods have their addresses from.
    pub cluster_cidr: IpNet,
    /// iptables, nftables or IPVS.
    pub mode: Mode,
}

/// A node's service proxy.
pub struct Proxy {
    config: Config,
    recorder: Recorder,
    cluster: Arc<Cluster>,
    balancer: Arc<Balancer>,
    table: watch::Sender<Arc<Table>>,
    ports: Mutex<Ports>,
    ready: watch::Sender<bool>,
}

impl Proxy {
    /// A proxy that does nothing until it is run. `client`: who writes its events.
    pub fn new(client: &Client, config: Config, cluster: Arc<Cluster>) -> Self {
        let table = watch::Sender::new(Arc::new(Table::default()));
        let balancer = Arc::new(Balancer::new(config.mode));
        let ports = Ports::new(table.subscribe(), balancer.clone(), cluster.nodes().clone());
        Self {
            recorder: Recorder::new(client, "kube-proxy", &config.node),
            cluster,
            balancer,
            ports: Mutex::new(ports),
            table,
            ready: watch::Sender::new(false),
            config,
        }
    }

    /// Whether the rules are those of the cluster.
    pub fn ready(&self) -> watch::Receiver<bool> {
        self.ready.subscribe()
    }

    /// The rules of this node.
    pub fn table(&self) -> watch::Receiver<Arc<Table>> {
        self.table.subscribe()
    }

    /// How this node chooses endpoints.
    pub fn balancer(&self) -> &Arc<Balancer> {
        &self.balancer
    }

    /// The network as the node's pods see it.
    pub fn network(&self, wires: &Arc<Wires>) -> Network {
        Network::new(network::services::Services::new(self.table(), self.balancer.clone()), wires.clone())
    }

    /// The node's address.
    pub fn ip(&self) -> IpAddr {
        self.config.ip
    }

    /// Whose proxy it is.
    pub fn node(&self) -> &str {
        &self.config.node
    }

    /// iptables, nftables or IPVS.
    pub fn mode(&self) -> Mode {
        self.config.mode
    }

    /// The rules, as the tools of the node would print them: `iptables-save`, `nft list ruleset`, or
    /// `ipvsadm -Ln` and `ipset list`.
    pub fn rules(&self) -> String {
        let table = self.table.borrow();
        match self.config.mode {
            Mode::Iptables => iptables::save(&table),
            Mode::Nftables => nftables::list(&table),
            Mode::Ipvs(scheduler) => {
                format!("{}\n{}", ipvs::list(&table, scheduler, self.balancer.servers()), ipset::list(&table))
            }
        }
    }

    /// Runs until dropped. The cluster has to run as well.
    pub async fn run(self: Arc<Self>) {
        let mut ports = self.ports.lock().await;
        let mut view = self.cluster.view();
        loop {
            let now = view.borrow_and_update().clone();
            let Some(now) = now else {
                // The sender lives in the cluster, which this holds.
                let _ = view.changed().await;
                continue;
            };
            let taken = self.sync(&now, &mut ports).await;
            self.ready.send_replace(true);
            let retry =
                async { if taken.is_empty() { std::future::pending().await } else { clock::sleep(RETRY).await } };
            tokio::select! {
                _ = view.changed() => {}
                () = retry => {}
            }
        }
    }

    async fn sync(&self, view: &View, ports: &mut Ports) -> Vec<Taken> {
        let begun = clock::instant();
        let place = Place {
            node: self.config.node.clone(),
            ip: Some(self.config.ip),
            zone: view.zone(&self.config.node),
            cluster_cidr: self.config.cluster_cidr,
        };
        let table = Arc::new(Table::new(place, view.services.clone()));
        self.table.send_replace(table.clone());
        let taken = ports.apply(wanted(&table, &view.balancers)).await;
        METRICS.synced(&table, self.config.mode, clock::instant().duration_since(begun));
        taken.iter().for_each(|taken| self.tell(taken));
        taken
    }

    fn tell(&self, taken: &Taken) {
        tracing::warn!(%taken, "a port is not open");
        let reason = match &taken.purpose {
            Purpose::Forward { via: Via::LoadBalancer, .. } => "FailedToOpenLoadBalancerPort",
            // Source: `service_health.go`.
            Purpose::Health(_) => "FailedToStartServiceHealthcheck",
            _ => "FailedToOpenNodePort",
        };
        let (namespace, name) = taken.purpose.service();
        if let Some(service) = self.cluster.service(namespace, name) {
            self.recorder.event(&*service, Kind::Warning, reason, taken.to_string());
        }
    }
}
