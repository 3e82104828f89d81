//! The listeners of node ports: one for each port that leads somewhere, opened and closed as rules come and go.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use tokio::{net::TcpListener, sync::watch, task::AbortHandle};

use crate::{
    balance::Affinity,
    dial::Nodes,
    forward::forward,
    rules::{PortName, Table},
};

/// Connections at a time, over all ports; more wait to be accepted.
const MAX_CONNECTIONS: usize = 4096;

/// The node ports that are open.
pub struct Ports {
    ip: IpAddr,
    shared: Arc<Shared>,
    open: HashMap<u16, Open>,
}

/// What listeners need.
struct Shared {
    table: watch::Receiver<Arc<Table>>,
    affinity: Affinity,
    nodes: Arc<Nodes>,
    places: Arc<tokio::sync::Semaphore>,
}

struct Open {
    name: PortName,
    task: AbortHandle,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A port that could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} for {name}: {error}; free the port, or it is tried again in a while")]
pub struct Taken {
    /// Where.
    pub address: SocketAddr,
    /// For whom.
    pub name: PortName,
    /// Why.
    pub error: io::Error,
}

impl Ports {
    /// No port is open yet.
    pub fn new(ip: IpAddr, table: watch::Receiver<Arc<Table>>, nodes: Arc<Nodes>) -> Self {
        let places = Arc::new(tokio::sync::Semaphore::new(MAX_CONNECTIONS));
        let shared = Shared { table, affinity: Affinity::default(), nodes, places };
        Self { ip, shared: Arc::new(shared), open: HashMap::new() }
    }

    /// Waits until the nodes are known.
    pub async fn synced(&self) {
        self.shared.nodes.synced().await;
    }

    /// Opens and closes ports as the table wants it. Returns those that could not be opened.
    pub async fn apply(&mut self, table: &Table) -> Vec<Taken> {
        let wanted = wanted(table);
        self.open.retain(|port, open| wanted.get(port) == Some(&&open.name));
        let mut taken = Vec::new();
        for (port, name) in wanted {
            if self.open.contains_key(&port) {
                continue;
            }
            let address = SocketAddr::new(self.ip, port);
            match TcpListener::bind(address).await {
                Ok(listener) => {
                    tracing::info!(%address, service = %name, "opened a node port");
                    let task = tokio::spawn(serve(listener, name.clone(), self.shared.clone())).abort_handle();
                    self.open.insert(port, Open { name: name.clone(), task });
                }
                Err(error) => taken.push(Taken { address, name: name.clone(), error }),
            }
        }
        taken
    }
}

/// The node ports that lead somewhere. One without endpoints is closed, so that clients are refused as by iptables' REJECT.
fn wanted(table: &Table) -> BTreeMap<u16, &PortName> {
    let tcp = table.0.iter().filter(|(_, rule)| rule.protocol == "TCP" && !rule.external.is_empty());
    tcp.filter_map(|(name, rule)| Some((rule.node_port?, name))).collect()
}

/// Accepts a port's connections. Those under way go on when the port is closed, as they do with iptables.
async fn serve(listener: TcpListener, name: PortName, shared: Arc<Shared>) {
    loop {
        let Ok(place) = shared.places.clone().acquire_owned().await else { return };
        let (client, from) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Reset before it was accepted, or no file descriptor left: neither is the listener's end.
                tracing::debug!(%error, "accept failed");
                kubelab_client::clock::sleep(std::time::Duration::from_millis(50)).await;
                continue;
            }
        };
        let (name, shared) = (name.clone(), shared.clone());
        tokio::spawn(async move {
            let table = shared.table.borrow().clone();
            if let Some(rule) = table.0.get(&name) {
                forward(client, from.ip(), &name, rule, &shared.affinity, &shared.nodes).await;
            }
            drop(place);
        });
    }
}
