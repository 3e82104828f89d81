//! What a program finds in its container.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use futures::future::BoxFuture;
use kubelab_client::Client;
use tokio::io::DuplexStream;

/// What is spoken over a connection. Datagrams travel each after its length in two bytes, as RFC 7766 frames DNS over TCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// A stream of bytes.
    Tcp,
    /// Datagrams.
    Udp,
}

impl Protocol {
    /// As the API writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
        }
    }
}

/// Why there is no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Nobody listens there.
    #[error("Connection refused")]
    Refused,
    /// Nobody has the address.
    #[error("No route to host")]
    NoRoute,
    /// Nothing comes back: a policy forbids it, or whoever has the address is dead.
    #[error("Connection timed out")]
    Dropped,
    /// The pod has no network: its node's kube-proxy does not run.
    #[error("Network is unreachable")]
    Unreachable,
}

/// The network, as one pod sees it.
pub trait Dialer: Send + Sync {
    /// Connects to an address.
    fn dial(&self, to: SocketAddr, protocol: Protocol) -> BoxFuture<'_, Result<DuplexStream, Failure>>;
}

/// A connection that somebody made to a container.
pub struct Connection {
    /// What goes over it.
    pub stream: DuplexStream,
    /// What is spoken.
    pub protocol: Protocol,
    /// The port of the container.
    pub port: u16,
    /// Who made it, where that is known.
    pub from: Option<IpAddr>,
}

/// Gives what stands in a file of the container.
pub type Read = Arc<dyn Fn(&str) -> BoxFuture<'static, io::Result<Vec<u8>>> + Send + Sync>;

/// Where a program runs.
#[derive(Clone)]
pub struct Container {
    /// The API, as the pod's service account.
    pub client: Client,
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub pod: String,
    /// The tag of its image.
    pub version: String,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// The network.
    pub network: Arc<dyn Dialer>,
    /// Its files.
    pub read: Read,
    /// Where it writes to: a line of its log.
    pub log: Arc<dyn Fn(&str) + Send + Sync>,
}

impl Container {
    /// The value of an argument: `--publish-service=VALUE`.
    pub fn argument(&self, name: &str) -> Option<&str> {
        self.arguments.iter().find_map(|argument| argument.strip_prefix(name)?.strip_prefix('='))
    }
}
