//! The proxy: keeps the table and the ports as the cluster wants them.

use std::{net::IpAddr, sync::Arc, time::Duration};

use k8s_openapi::api::{core::v1::Service, discovery::v1::EndpointSlice};
use kubelab_client::{Cache, Client, Recorder, Scope, clock, recorder::Kind};
use tokio::sync::{Mutex, Notify, watch};

use crate::{
    dial::Nodes,
    metrics::METRICS,
    ports::{Ports, Taken},
    rules::{self, Table, iptables},
};

/// Changes that come close together make one new table. Upstream waits a second (`minSyncPeriod`), since its tables are
/// dear; here a change should be seen at once.
const SETTLE: Duration = Duration::from_millis(10);
/// How soon a port that was taken is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// Which node's proxy it is.
#[derive(Clone, Debug)]
pub struct Config {
    /// The node's name.
    pub node: String,
    /// The node's address.
    pub ip: IpAddr,
}

/// What is known of the cluster's services, once for all nodes of the process.
#[derive(Clone)]
pub struct Mirrors {
    services: Cache<Service>,
    slices: Cache<EndpointSlice>,
}

impl Mirrors {
    /// Begins to watch.
    pub fn start(client: &Client) -> Self {
        Self { services: Cache::start(client, Scope::default()), slices: Cache::start(client, Scope::default()) }
    }
}

/// A node's service proxy.
pub struct Proxy {
    config: Config,
    recorder: Recorder,
    mirrors: Mirrors,
    changed: Arc<Notify>,
    table: watch::Sender<Arc<Table>>,
    ports: Mutex<Ports>,
    ready: watch::Sender<bool>,
}

impl Proxy {
    /// A proxy that does nothing until it is run.
    pub fn new(client: &Client, config: Config, mirrors: &Mirrors, nodes: Arc<Nodes>) -> Self {
        let table = watch::Sender::new(Arc::new(Table::default()));
        Self {
            recorder: Recorder::new(client, "kube-proxy", &config.node),
            mirrors: mirrors.clone(),
            changed: Arc::new(Notify::new()),
            ports: Mutex::new(Ports::new(config.ip, table.subscribe(), nodes)),
            table,
            ready: watch::Sender::new(false),
            config,
        }
    }

    /// Whether the rules are those of the cluster.
    pub fn ready(&self) -> watch::Receiver<bool> {
        self.ready.subscribe()
    }

    /// Which node's proxy it is.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Whose proxy it is.
    pub fn node(&self) -> &str {
        &self.config.node
    }

    /// The rules, as they are now and will be.
    pub fn table(&self) -> watch::Receiver<Arc<Table>> {
        self.table.subscribe()
    }

    /// The rules, as `iptables-save` would print them.
    pub fn rules(&self) -> String {
        iptables::save(&self.table.borrow())
    }

    /// Runs until dropped.
    pub async fn run(self: Arc<Self>) {
        let mut ports = self.ports.lock().await;
        let Mirrors { services, slices } = &self.mirrors;
        tokio::join!(services.synced(), slices.synced(), ports.synced());
        let changed = self.changed.clone();
        services.on_change(move |_| changed.notify_one());
        let changed = self.changed.clone();
        slices.on_change(move |_| changed.notify_one());
        loop {
            let table = Arc::new(rules::table(&self.config.node, &services.list(), &slices.list()));
            METRICS.syncs.inc();
            METRICS.rules.set(i64::try_from(table.0.len()).unwrap_or(i64::MAX));
            self.table.send_replace(table.clone());
            let taken = ports.apply(&table).await;
            taken.iter().for_each(|taken| self.tell(taken));
            self.ready.send_replace(true);
            let retry =
                async { if taken.is_empty() { std::future::pending().await } else { clock::sleep(RETRY).await } };
            tokio::select! {
                () = self.changed.notified() => clock::sleep(SETTLE).await,
                () = retry => {}
            }
        }
    }

    fn tell(&self, taken: &Taken) {
        tracing::warn!(%taken, "a node port is not open");
        if let Some(service) = self.mirrors.services.get(&taken.name.namespace, &taken.name.service) {
            self.recorder.event(&*service, Kind::Warning, "FailedToOpenNodePort", taken.to_string());
        }
    }
}
