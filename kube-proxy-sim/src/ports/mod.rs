//! The listeners of a node: its node ports, the addresses of load balancers, and health checks; opened and closed as rules
//! come and go.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`wanted`] | what a node has to listen on (pure) |
//! | [`health`] | what health checks are told |
//! | `silence` | a port that nobody answers at |

pub mod health;
mod silence;
pub mod wanted;

use std::{
    collections::{BTreeMap, HashMap},
    io,
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use kubelab_client::clock;
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::AbortHandle,
};

use self::{
    health::Health,
    wanted::{Place, Purpose},
};
use crate::{
    balance::Balancer,
    dial::Nodes,
    forward::forward,
    rules::{PortName, Table, Via},
};

/// Connections at a time, over all ports; more wait to be accepted.
const MAX_CONNECTIONS: usize = 4096;
/// Connections that wait to be accepted at one port.
const BACKLOG: u32 = 1024;

/// The listeners that are open.
pub struct Ports {
    shared: Arc<Shared>,
    open: HashMap<Place, Open>,
}

/// What listeners need.
pub struct Shared {
    /// The rules now.
    pub table: watch::Receiver<Arc<Table>>,
    /// Who gets which endpoint.
    pub balancer: Arc<Balancer>,
    /// Ways to the pods.
    pub nodes: Arc<Nodes>,
    places: Arc<Semaphore>,
}

struct Open {
    purpose: Purpose,
    health: Option<watch::Sender<Health>>,
    task: AbortHandle,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A port that could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} for {}/{}: {error}; {}, it is tried again in a while", .purpose.service().0,
        .purpose.service().1, advice(error))]
pub struct Taken {
    /// Where.
    pub address: SocketAddr,
    /// What for.
    pub purpose: Purpose,
    /// Why.
    pub error: io::Error,
}

fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "ports below 1024 need a privilege (`sudo sysctl net.ipv4.ip_unprivileged_port_start=0` gives it to everybody) \
             unless the service takes another port"
        }
        _ => "free the port",
    }
}

impl Ports {
    /// No port is open yet.
    pub fn new(table: watch::Receiver<Arc<Table>>, balancer: Arc<Balancer>, nodes: Arc<Nodes>) -> Self {
        let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        Self { shared: Arc::new(Shared { table, balancer, nodes, places }), open: HashMap::new() }
    }

    /// Opens and closes listeners so that they are those that are wanted. Returns those that could not be opened.
    pub async fn apply(&mut self, wanted: BTreeMap<Place, Purpose>) -> Vec<Taken> {
        self.open.retain(|place, open| wanted.get(place).is_some_and(|purpose| purpose.is_same(&open.purpose)));
        let mut taken = Vec::new();
        for (place, purpose) in wanted {
            if let Some(open) = self.open.get(&place) {
                if let (Purpose::Health(now), Some(health)) = (purpose, &open.health) {
                    health.send_if_modified(|before| std::mem::replace(before, now.clone()) != now);
                }
                continue;
            }
            match self.open(place, &purpose).await {
                Ok(open) => {
                    let (address, (namespace, name)) = (place.address, purpose.service());
                    tracing::info!(%address, service = %format_args!("{namespace}/{name}"), "opened a port");
                    self.open.insert(place, open);
                }
                Err(error) => taken.push(Taken { address: place.address, purpose, error }),
            }
        }
        taken
    }

    async fn open(&self, place: Place, purpose: &Purpose) -> io::Result<Open> {
        let shared = self.shared.clone();
        let mut health = None;
        let task = match purpose {
            Purpose::Forward { name, via } => {
                let listener = listen(place.address, *via == Via::LoadBalancer)?;
                tokio::spawn(serve(listener, place.address, name.clone(), *via, shared))
            }
            Purpose::Silence { .. } => tokio::spawn(silence::hold(silence::open(place.address).await?)),
            Purpose::Health(now) => {
                let (sender, receiver) = watch::channel(now.clone());
                health = Some(sender);
                tokio::spawn(health::serve(listen(place.address, false)?, receiver, shared.places.clone()))
            }
        };
        Ok(Open { purpose: purpose.clone(), health, task: task.abort_handle() })
    }
}

/// `shared`: other nodes listen there as well, and the kernel spreads connections over them. What is open when one of
/// them dies goes on with the others.
fn listen(address: SocketAddr, shared: bool) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    if shared {
        socket.set_reuseport(true)?;
    }
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// The next connection, once there is a place for it.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> (TcpStream, SocketAddr, Option<OwnedSemaphorePermit>) {
    loop {
        // The semaphore is never closed.
        let place = places.clone().acquire_owned().await.ok();
        match listener.accept().await {
            Ok((client, from)) => return (client, from, place),
            Err(error) => {
                // Reset before it was accepted, or no file descriptor left: neither is the listener's end.
                tracing::debug!(%error, "accept failed");
                clock::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// Accepts a port's connections. Those under way go on when the port is closed, as they do with iptables.
async fn serve(listener: TcpListener, at: SocketAddr, name: PortName, via: Via, shared: Arc<Shared>) {
    loop {
        let (client, from, place) = accept(&listener, &shared.places).await;
        let (name, shared) = (name.clone(), shared.clone());
        tokio::spawn(async move {
            forward(client, from.ip(), at, &name, via, &shared).await;
            drop(place);
        });
    }
}
