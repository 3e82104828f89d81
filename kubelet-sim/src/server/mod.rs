//! What a node serves to the lab: connections to what listens in its pods, its containers' logs and programs, and its own
//! pages.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`callers`] | who may do what (pure) |
//! | [`streams`] | logs, exec, attach |
//! | [`pages`] | `/healthz`, `/metrics`, `/pods`, … |
//! | [`stats`] | what containers use |

mod callers;
mod pages;
mod stats;
mod streams;

use std::{fs, io, net::SocketAddr, path::Path, pin::Pin, sync::Arc};

use anyhow::Context;
use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::Pod;
use kubelab_client::process::Connection;
use kubelab_proto::node::{
    DialReply, DialRequest, ExecRequest, LogsRequest, PageReply, PageRequest,
    node_server::{Node, NodeServer},
};
use tokio::{
    io::{AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf, split},
    net::TcpListener,
};
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::io::ReaderStream;
use tonic::{
    Request, Response, Status, Streaming,
    transport::{Certificate, Identity, Server, ServerTlsConfig},
};

use self::stats::Counters;
use crate::{
    network::Protocol,
    pod::admission::Allocatable,
    runtime::{Dial, DialError, Runtime},
};

/// Dials under way over one connection.
const MAX_STREAMS: u32 = 10_000;

/// Who the node is and whom it lets in: clients with a certificate of the lab's authority.
pub struct Tls(ServerTlsConfig);

impl Tls {
    /// Serves with this certificate and key (PEM files); lets in whom the connection's authority knows.
    pub fn load(connection: &Connection, certificate: &Path, key: &Path) -> anyhow::Result<Self> {
        let (certificate, key) = (read(certificate)?, read(key)?);
        let authority = Certificate::from_pem(read(&connection.certificate_authority)?);
        let identity = Identity::from_pem(certificate, key);
        Ok(Self(ServerTlsConfig::new().identity(identity).client_ca_root(authority)))
    }
}

fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    fs::read(file).with_context(|| format!("cannot read {}", file.display()))
}

/// Serves until dropped.
pub async fn serve(listener: TcpListener, tls: Tls, runtime: Arc<dyn Runtime>, about: About) -> anyhow::Result<()> {
    let address = listener.local_addr()?;
    tracing::info!(%address, "serving the node");
    let service = Service { runtime, about, counters: Counters::default() };
    let mut server = Server::builder()
        .tls_config(tls.0)
        .context("the certificate to serve with cannot be used")?
        .max_concurrent_streams(Some(MAX_STREAMS))
        .tcp_nodelay(true);
    server.add_service(NodeServer::new(service)).serve_with_incoming(TcpListenerStream::new(listener)).await?;
    Ok(())
}

/// The pods that the node should have.
pub type Pods = Arc<dyn Fn() -> Vec<Arc<Pod>> + Send + Sync>;

/// What the node's pages tell of it.
pub struct About {
    /// Its name.
    pub name: String,
    /// What it has.
    pub capacity: Allocatable,
    /// The pods that it should have.
    pub pods: Pods,
}

struct Service {
    runtime: Arc<dyn Runtime>,
    about: About,
    counters: Counters,
}

type Replies = Pin<Box<dyn Stream<Item = Result<DialReply, Status>> + Send>>;

#[tonic::async_trait]
impl Node for Service {
    type DialStream = Replies;

    async fn dial(&self, request: Request<Streaming<DialRequest>>) -> Result<Response<Replies>, Status> {
        let mut sent = request.into_inner();
        let first =
            sent.message().await?.ok_or_else(|| Status::invalid_argument("the first message names an address"))?;
        let address: SocketAddr = first
            .address
            .parse()
            .map_err(|_| Status::invalid_argument(format!("{:?} is not an address with a port", first.address)))?;
        let protocol = if first.protocol == "UDP" { Protocol::Udp } else { Protocol::Tcp };
        let dial = Dial { to: address, from: first.source.parse().ok(), protocol };
        let connection = self.runtime.dial(dial).map_err(refusal)?;
        let (read, write) = split(connection);
        tokio::spawn(send(write, first.data, sent));
        Ok(Response::new(replies(read)))
    }

    type LogsStream = streams::Logs;

    async fn logs(&self, request: Request<LogsRequest>) -> Result<Response<streams::Logs>, Status> {
        callers::check(&request, "get", "log")?;
        streams::logs(&*self.runtime, request.into_inner()).map(Response::new)
    }

    type ExecStream = streams::Replies;

    async fn exec(&self, request: Request<Streaming<ExecRequest>>) -> Result<Response<streams::Replies>, Status> {
        callers::check(&request, "create", "proxy")?;
        let (start, sent) = streams::first(request.into_inner()).await?;
        streams::exec(&*self.runtime, start, sent).map(Response::new)
    }

    type AttachStream = streams::Replies;

    async fn attach(&self, request: Request<Streaming<ExecRequest>>) -> Result<Response<streams::Replies>, Status> {
        callers::check(&request, "create", "proxy")?;
        let (start, sent) = streams::first(request.into_inner()).await?;
        streams::attach(&self.runtime, start, sent).map(Response::new)
    }

    async fn page(&self, request: Request<PageRequest>) -> Result<Response<PageReply>, Status> {
        callers::check(&request, "get", "proxy")?;
        Ok(Response::new(pages::answer(&*self.runtime, &self.about, &self.counters, &request.into_inner())))
    }
}

/// `FAILED_PRECONDITION`: the pod is here but does not listen; `NOT_FOUND`: the pod is not here.
fn refusal(error: DialError) -> Status {
    match error {
        DialError::Refused(_) => Status::failed_precondition(error.to_string()),
        DialError::NoRoute(_) => Status::not_found(error.to_string()),
    }
}

/// Brings what the dialler sends to the container, until either ends.
async fn send(mut write: WriteHalf<DuplexStream>, first: bytes::Bytes, mut sent: Streaming<DialRequest>) {
    let mut copy = async || -> io::Result<()> {
        write.write_all(&first).await?;
        while let Ok(Some(message)) = sent.message().await {
            write.write_all(&message.data).await?;
        }
        write.shutdown().await
    };
    if let Err(error) = copy().await {
        tracing::debug!(%error, "the container closed a connection");
    }
}

fn replies(read: ReadHalf<DuplexStream>) -> Replies {
    let chunks = ReaderStream::new(read);
    Box::pin(chunks.map(|chunk| match chunk {
        Ok(data) => Ok(DialReply { data }),
        Err(error) => Err(Status::aborted(error.to_string())),
    }))
}
