//! Connections through the node's kube-proxy.

use std::{fs, net::IpAddr, net::SocketAddr, path::Path, time::Duration};

use anyhow::Context;
use kubelab_client::process::Connection;
use kubelab_proto::node::{DialReply, DialRequest, proxy_client::ProxyClient};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex, split},
    sync::mpsc,
    time::timeout,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Code, Streaming,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};

use super::{Failure, Protocol};
use crate::runtime::PodRef;

/// The port that kube-proxies take their nodes' connections on.
pub const PORT: u16 = 10266;

/// The name in the certificates of all kube-proxies.
const NAME: &str = "kube-proxy";

/// How long the proxy may take, with all that it tries.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long until the proxy must have taken the connection of the node.
const CONNECT: Duration = Duration::from_secs(1);

/// What fits into a connection in each direction before the sender waits.
const BUFFER: usize = 16 << 10;
/// Messages on their way before the sender waits.
const WAITING: usize = 8;

/// The node's kube-proxy. Cheap to clone.
#[derive(Clone)]
pub struct Proxy(Channel);

impl Proxy {
    /// The proxy at this address, asked with this identity. Connects when first used.
    pub fn new(address: SocketAddr, connection: &Connection) -> anyhow::Result<Self> {
        let identity = Identity::from_pem(read(&connection.client_certificate)?, read(&connection.client_key)?);
        let authority = Certificate::from_pem(read(&connection.certificate_authority)?);
        let tls = ClientTlsConfig::new().identity(identity).ca_certificate(authority).domain_name(NAME);
        let endpoint = Endpoint::from_shared(format!("https://{address}"))?
            .tls_config(tls)?
            .connect_timeout(CONNECT)
            .tcp_nodelay(true);
        Ok(Self(endpoint.connect_lazy()))
    }

    /// A connection of a pod, or of the node itself.
    pub async fn dial(
        &self,
        pod: Option<&PodRef>,
        from: IpAddr,
        to: SocketAddr,
        protocol: Protocol,
    ) -> Result<DuplexStream, Failure> {
        let (send, requests) = mpsc::channel(WAITING);
        let first = DialRequest {
            address: to.to_string(),
            source: from.to_string(),
            source_pod: pod.map(|pod| format!("{}/{}", pod.namespace, pod.name)).unwrap_or_default(),
            protocol: protocol.name().to_owned(),
            ..Default::default()
        };
        // The channel is empty and the receiver is here.
        let _ = send.try_send(first);
        let mut client = ProxyClient::new(self.0.clone());
        match timeout(PATIENCE, client.dial(ReceiverStream::new(requests))).await {
            Ok(Ok(response)) => Ok(join(send, response.into_inner())),
            Ok(Err(status)) => Err(match status.code() {
                Code::FailedPrecondition => Failure::Refused,
                Code::NotFound => Failure::NoRoute,
                Code::DeadlineExceeded => Failure::Dropped,
                _ => {
                    tracing::debug!(%to, %status, "the node's kube-proxy did not connect a pod");
                    Failure::Unreachable
                }
            }),
            Err(_) => Err(Failure::Dropped),
        }
    }
}

fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    fs::read(file).with_context(|| format!("cannot read {}", file.display()))
}

/// Joins the two halves of a dial. Each side's end is passed on to the other.
fn join(send: mpsc::Sender<DialRequest>, mut receive: Streaming<DialReply>) -> DuplexStream {
    let (ours, theirs) = duplex(BUFFER);
    let (mut read, mut write) = split(theirs);
    tokio::spawn(async move {
        loop {
            let mut data = bytes::BytesMut::with_capacity(BUFFER);
            match read.read_buf(&mut data).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
            if send.send(DialRequest { data: data.freeze(), ..Default::default() }).await.is_err() {
                return;
            }
        }
    });
    tokio::spawn(async move {
        while let Ok(Some(reply)) = receive.message().await {
            if write.write_all(&reply.data).await.is_err() {
                return;
            }
        }
        write.shutdown().await.ok();
    });
    ours
}
