//! Connections to pods: through the kubelet of the node that they are on, with mutual TLS.

use std::{
    collections::HashMap,
    fs, io,
    net::{IpAddr, SocketAddr},
    path::Path,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use anyhow::Context;
use futures::StreamExt;
use k8s_openapi::api::core::v1::Node;
use kubelab_client::{Cache, Client, Scope, process::Connection};
use kubelab_proto::node::{DialRequest, node_client::NodeClient};
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Status,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint as Target, Identity},
};

use crate::{
    network::{Replies, policy::Policies},
    rules::Protocol,
};

/// How long a pod's node may take to connect. A node that answers at all does so within milliseconds.
const CONNECT: Duration = Duration::from_secs(1);
/// Messages on their way to the pod before the sender waits.
const WAITING: usize = 8;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The node's object does not say where its kubelet is.
    #[error("node {0:?} is not known, or has no address and port of its kubelet yet")]
    UnknownNode(String),
    /// Its address cannot be used.
    #[error("node {0:?} cannot be dialled: {1}")]
    Target(String, #[source] tonic::transport::Error),
    /// It did not answer in time.
    #[error("node {0:?} did not answer within {CONNECT:?}")]
    Timeout(String),
    /// It refused.
    #[error("{}", .0.message())]
    Refused(#[from] Status),
}

/// An open connection to a pod.
pub struct Pipe {
    /// Towards the pod. Dropped, the pod sees the end of what is sent.
    pub send: mpsc::Sender<DialRequest>,
    /// From the pod.
    pub receive: Replies,
}

/// A connection that is wanted.
#[derive(Clone, Copy, Debug)]
pub struct Dial {
    /// Where to.
    pub to: SocketAddr,
    /// The pod's address that it comes from; nothing where it comes from outside the pods.
    pub source: Option<IpAddr>,
    /// What is spoken.
    pub protocol: Protocol,
}

impl From<SocketAddr> for Dial {
    /// TCP, from outside.
    fn from(to: SocketAddr) -> Self {
        Self { to, source: None, protocol: Protocol::Tcp }
    }
}

/// The nodes of the cluster, and connections to their kubelets.
pub struct Nodes {
    nodes: Cache<Node>,
    policies: Policies,
    tls: ClientTlsConfig,
    /// By node: where its kubelet is, and the connection that all dials share.
    channels: Mutex<HashMap<String, (String, Channel)>>,
}

impl Nodes {
    /// Watches the nodes; connects to them with this identity.
    pub fn new(client: &Client, connection: &Connection) -> anyhow::Result<Self> {
        let identity = Identity::from_pem(read(&connection.client_certificate)?, read(&connection.client_key)?);
        let authority = Certificate::from_pem(read(&connection.certificate_authority)?);
        let tls = ClientTlsConfig::new().identity(identity).ca_certificate(authority);
        let policies = Policies::new(client.clone(), Cache::start(client, Scope::default()));
        Ok(Self { nodes: Cache::start(client, Scope::default()), policies, tls, channels: Mutex::default() })
    }

    /// The mirror of the nodes.
    pub fn cache(&self) -> &Cache<Node> {
        &self.nodes
    }

    /// Waits until all nodes are known.
    pub async fn synced(&self) {
        self.nodes.synced().await;
    }

    /// Who may connect to whom.
    pub fn policies(&self) -> &Policies {
        &self.policies
    }

    /// Connects to an address in a pod of a node.
    pub async fn dial(&self, node: &str, dial: impl Into<Dial>) -> Result<Pipe, Error> {
        let dial = dial.into();
        let mut client = NodeClient::new(self.channel(node)?);
        let (send, requests) = mpsc::channel(WAITING);
        let first = DialRequest {
            address: dial.to.to_string(),
            source: dial.source.map(|source| source.to_string()).unwrap_or_default(),
            protocol: dial.protocol.to_string(),
            ..Default::default()
        };
        // The channel is empty and the receiver is here.
        let _ = send.try_send(first);
        let dialled = timeout(CONNECT, client.dial(ReceiverStream::new(requests))).await;
        let receive = dialled.map_err(|_| Error::Timeout(node.to_owned()))??.into_inner();
        Ok(Pipe { send, receive: receive.boxed() })
    }

    fn channel(&self, name: &str) -> Result<Channel, Error> {
        let node = self.nodes.get("", name);
        let address = node.as_deref().and_then(kubelet_address).ok_or_else(|| Error::UnknownNode(name.to_owned()))?;
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, channel)) = channels.get(name)
            && *known == address
        {
            return Ok(channel.clone());
        }
        // Nodes that are gone leave nothing behind.
        channels.retain(|name, _| self.nodes.get("", name).is_some());
        let wrong = |error| Error::Target(name.to_owned(), error);
        // A node's certificate is for its name, wherever it lives.
        let target = Target::from_shared(format!("https://{address}"))
            .map_err(wrong)?
            .tls_config(self.tls.clone().domain_name(name))
            .map_err(wrong)?
            .connect_timeout(CONNECT)
            .tcp_nodelay(true);
        let channel = target.connect_lazy();
        channels.insert(name.to_owned(), (address, channel.clone()));
        Ok(channel)
    }
}

/// A file's bytes, or an error that names it.
pub(crate) fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    let read: io::Result<Vec<u8>> = fs::read(file);
    read.with_context(|| format!("cannot read {}", file.display()))
}

/// Where a node says that its kubelet is.
fn kubelet_address(node: &Node) -> Option<String> {
    let status = node.status.as_ref()?;
    let address = status.addresses.iter().flatten().find(|address| address.type_ == "InternalIP")?;
    let port = status.daemon_endpoints.as_ref()?.kubelet_endpoint.as_ref()?.port;
    let ip = address.address.parse().ok()?;
    Some(SocketAddr::new(ip, u16::try_from(port).ok().filter(|port| *port != 0)?).to_string())
}
