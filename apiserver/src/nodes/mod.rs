//! Connections to nodes: what a client asks of a pod's inside goes through the kubelet of its node, with this apiserver's own
//! certificate.

use std::{
    collections::HashMap,
    fs,
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::Context;
use futures::stream;
use k8s_openapi::api::core::v1::Node;
use kubelab_api::Error;
use kubelab_proto::node::{DialRequest, node_client::NodeClient};
use kubelab_wire::pipe;
use tokio::{
    io::DuplexStream,
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::timeout,
};
use tonic::{
    Status,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};

/// How long a node may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(5);

/// What fits into a connection in each direction before the sender waits, in bytes.
const BUFFER: usize = 64 << 10;

/// Streams through this apiserver at a time: logs that are followed, programs, forwarded ports, proxied requests.
const STREAMS: usize = 1024;

/// The nodes' kubelets.
pub struct Nodes {
    tls: ClientTlsConfig,
    /// By node: where its kubelet is, and the connection that all requests share.
    channels: Mutex<HashMap<String, (String, Channel)>>,
    places: Arc<Semaphore>,
}

impl Nodes {
    /// Connects to nodes with this identity (PEM files).
    pub fn new(authority: &Path, certificate: &Path, key: &Path) -> anyhow::Result<Self> {
        let read = |file: &Path| fs::read(file).with_context(|| format!("cannot read {}", file.display()));
        let identity = Identity::from_pem(read(certificate)?, read(key)?);
        let authority = Certificate::from_pem(read(authority)?);
        let tls = ClientTlsConfig::new().identity(identity).ca_certificate(authority);
        Ok(Self { tls, channels: Mutex::default(), places: Arc::new(Semaphore::new(STREAMS)) })
    }

    /// A place for one stream, for as long as it lasts.
    pub fn enter(&self) -> Result<OwnedSemaphorePermit, Error> {
        let place = Arc::clone(&self.places).try_acquire_owned();
        place.map_err(|_| Error::too_many_requests("Too many requests, please try again later.", 1))
    }

    /// The client of a node's kubelet, connected when first used.
    pub fn client(&self, node: &Node) -> Result<NodeClient<Channel>, Error> {
        let name = node.metadata.name.as_deref().unwrap_or_default();
        // Source: `GetPreferredNodeAddress` in `pkg/util/node`.
        let address = kubelet_address(node).ok_or_else(|| {
            Error::internal(format!("no preferred addresses found; known addresses: [] for node {name}"))
        })?;
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, channel)) = channels.get(name)
            && *known == address
        {
            return Ok(NodeClient::new(channel.clone()));
        }
        // A node's certificate is for its name, wherever it lives.
        let channel = Endpoint::from_shared(format!("https://{address}"))
            .and_then(|endpoint| endpoint.tls_config(self.tls.clone().domain_name(name)))
            .map_err(Error::internal)?
            .connect_timeout(CONNECT)
            .tcp_nodelay(true)
            .connect_lazy();
        // A cluster that changes its nodes for ever must not fill this table for ever.
        if channels.len() >= STREAMS {
            channels.clear();
        }
        channels.insert(name.to_owned(), (address, channel.clone()));
        Ok(NodeClient::new(channel))
    }

    /// A connection to an address in a pod of a node; or why there is none, in the words of Go's net package.
    pub async fn dial(&self, node: &Node, address: SocketAddr) -> Result<DuplexStream, String> {
        let mut client = self.client(node).map_err(|error| error.message)?;
        let (send, requests) = mpsc::channel(8);
        // The channel is empty and the receiver is here.
        let _ = send.try_send(DialRequest { address: address.to_string(), ..Default::default() });
        let requests =
            stream::unfold(requests, async |mut requests: mpsc::Receiver<_>| Some((requests.recv().await?, requests)));
        let dialled = timeout(CONNECT, client.dial(Box::pin(requests))).await;
        let dialled = dialled.map_err(|_| format!("dial tcp {address}: i/o timeout"))?;
        let receive = dialled.map_err(|status| unreachable(&status))?.into_inner();
        Ok(pipe::join(send, receive, BUFFER))
    }
}

/// What a node that cannot be asked says.
pub fn unreachable(status: &Status) -> String {
    match std::error::Error::source(status) {
        Some(source) => format!("{}: {source}", status.message()),
        None => status.message().to_owned(),
    }
}

/// Where a node says that its kubelet is.
fn kubelet_address(node: &Node) -> Option<String> {
    let status = node.status.as_ref()?;
    let address = status.addresses.iter().flatten().find(|address| address.type_ == "InternalIP")?;
    let port = status.daemon_endpoints.as_ref()?.kubelet_endpoint.as_ref()?.port;
    let ip = address.address.parse().ok()?;
    Some(SocketAddr::new(ip, u16::try_from(port).ok().filter(|port| *port != 0)?).to_string())
}
