//! The network of a node's pods: where a connection that a pod makes goes, and whether it may.
//!
//! ```text
//!  a program in a pod ──► kubelet ──Proxy.Dial──► door ──► a Service's address?  balance: one of its endpoints
//!                                                              │
//!                                                              ▼
//!                                                         policy: do egress of the one and ingress of the other allow it?
//!                                                              │
//!                                                              ▼
//!                                                         places ──► a pod: Node.Dial of the node whose podCIDR has it
//!                                                                    a node, an apiserver: a real connection
//!                                                                    anything else: no route
//! ```
//!
//! | module | what it is |
//! | --- | --- |
//! | [`door`] | the gRPC service |
//! | [`places`] | whose address is whose (pure) |
//! | [`services`] | a Service's address and the endpoint behind it |
//! | [`policy`] | NetworkPolicies |
//! | [`wire`] | bytes from one connection to the other |
//!
//! Invariant: a real connection is made to a node's address or an apiserver's, and to nothing else.

pub mod door;
pub mod places;
pub mod policy;
pub mod services;
pub mod wire;

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use kubelab_proto::node::{DialReply, DialRequest};
use tokio::{
    net::{TcpStream, UdpSocket},
    sync::mpsc,
    time::timeout,
};
use tonic::{Code, Status};

use self::{
    places::{Place, Routes},
    policy::Peer,
    services::{Found, Services},
};
use crate::dial::{Dial, Error as DialError, Nodes, Pipe};
pub use crate::rules::Protocol;

/// How long a node or an apiserver may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(2);

/// Endpoints of a Service that are tried before the client is refused.
const TRIES: usize = 5;

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Nobody listens.
    #[error("dial {protocol} {to}: connect: connection refused", protocol = .protocol.lower())]
    Refused {
        /// Where.
        to: SocketAddr,
        /// What.
        protocol: Protocol,
    },
    /// Nobody has the address.
    #[error("dial {0}: connect: no route to host")]
    NoRoute(SocketAddr),
    /// Nothing comes back: a policy forbids it, or the node does not answer.
    #[error("dial {0}: i/o timeout")]
    Dropped(SocketAddr),
}

impl Failure {
    /// As `Proxy.Dial` tells it.
    fn status(&self) -> Status {
        let code = match self {
            Self::Refused { .. } => Code::FailedPrecondition,
            Self::NoRoute(_) => Code::NotFound,
            Self::Dropped(_) => Code::DeadlineExceeded,
        };
        Status::new(code, self.to_string())
    }
}

/// Who dials where.
#[derive(Clone, Debug)]
pub struct Call {
    /// The address of the pod that dials.
    pub from: IpAddr,
    /// Its namespace and name, where they are known.
    pub pod: Option<(String, String)>,
    /// The address that it dials.
    pub to: SocketAddr,
    /// What it speaks.
    pub protocol: Protocol,
}

/// What all nodes of a process share: the way to pods and nodes.
pub struct Wires {
    routes: Routes,
    nodes: Arc<Nodes>,
}

impl Wires {
    /// The wires between these nodes.
    pub fn new(nodes: Arc<Nodes>) -> Self {
        Self { routes: Routes::follow(nodes.cache()), nodes }
    }
}

/// The network as one node's pods see it.
pub struct Network {
    services: Services,
    wires: Arc<Wires>,
}

impl Network {
    /// The network of a node with these rules.
    pub fn new(services: Services, wires: Arc<Wires>) -> Self {
        Self { services, wires }
    }

    /// Connects.
    pub async fn dial(&self, call: &Call) -> Result<Pipe, Failure> {
        let refused = Failure::Refused { to: call.to, protocol: call.protocol };
        if !self.services.has(call.to, call.protocol) {
            return self.reach(call, call.to, false).await;
        }
        if self.services.drops(call) {
            return Err(Failure::Dropped(call.to));
        }
        let mut tried = Vec::new();
        while tried.len() < TRIES {
            let Some(Found { address, is_apiserver, connection }) = self.services.choose(call, &tried) else { break };
            match self.reach(call, address, is_apiserver).await {
                // A packet that is dropped is never tried elsewhere: the rules have sent it where they sent it.
                Err(Failure::Refused { .. } | Failure::NoRoute(_)) => tried.push(address),
                Ok(pipe) => return Ok(wire::holding(pipe, connection)),
                dropped => return dropped,
            }
        }
        Err(refused)
    }

    /// Connects to an address that is no Service's.
    async fn reach(&self, call: &Call, to: SocketAddr, is_apiserver: bool) -> Result<Pipe, Failure> {
        let from = Peer { ip: call.from, pod: call.pod.clone() };
        if !self.wires.nodes.policies().allow(from, to, call.protocol).await {
            return Err(Failure::Dropped(to));
        }
        match self.wires.routes.place(to.ip()) {
            Place::Pod(node) => self.dial_pod(call, &node, to).await,
            Place::Node(node) => match self.dial_pod(call, &node, to).await {
                // No pod on the node's own network listens there: perhaps the node itself does, or another node's proxy.
                Err(_) => connect(to, call.protocol).await,
                dialled => dialled,
            },
            Place::Unknown if is_apiserver || self.services.is_apiserver(to) => connect(to, call.protocol).await,
            Place::Unknown => Err(Failure::NoRoute(to)),
        }
    }

    async fn dial_pod(&self, call: &Call, node: &str, to: SocketAddr) -> Result<Pipe, Failure> {
        let dial = Dial { to, source: Some(call.from), protocol: call.protocol };
        self.wires.nodes.dial(node, dial).await.map_err(|error| match error {
            DialError::Refused(status) if status.code() == Code::FailedPrecondition => {
                Failure::Refused { to, protocol: call.protocol }
            }
            DialError::Refused(status) if status.code() == Code::NotFound => Failure::NoRoute(to),
            // A node that does not answer swallows packets.
            _ => Failure::Dropped(to),
        })
    }
}

/// A real connection, to a node or an apiserver of this lab.
async fn connect(to: SocketAddr, protocol: Protocol) -> Result<Pipe, Failure> {
    let refused = Failure::Refused { to, protocol };
    match protocol {
        Protocol::Tcp => connect_stream(to).await,
        Protocol::Udp => connect_datagrams(to).await.map(wire::join_datagrams).map_err(|_| refused),
        Protocol::Sctp => Err(refused),
    }
}

async fn connect_datagrams(to: SocketAddr) -> io::Result<UdpSocket> {
    let any: IpAddr = if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(to).await?;
    Ok(socket)
}

async fn connect_stream(to: SocketAddr) -> Result<Pipe, Failure> {
    match timeout(CONNECT, TcpStream::connect(to)).await {
        Ok(Ok(stream)) => {
            stream.set_nodelay(true).ok();
            Ok(wire::join(stream))
        }
        Ok(Err(_)) => Err(Failure::Refused { to, protocol: Protocol::Tcp }),
        Err(_) => Err(Failure::Dropped(to)),
    }
}

/// What a connection's two directions are on this side.
type Sender = mpsc::Sender<DialRequest>;
/// What a connection brings.
pub type Replies = futures::stream::BoxStream<'static, Result<DialReply, Status>>;
