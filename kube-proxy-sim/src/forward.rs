//! One connection: from a client's socket to a pod and back.

use std::net::{IpAddr, SocketAddr};

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use kubelab_client::clock;
use kubelab_proto::node::DialRequest;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::mpsc,
};

use crate::{
    balance::Affinity,
    dial::{Nodes, Pipe},
    metrics::METRICS,
    network::Replies,
    rules::{PortName, Rule},
};

/// Endpoints that are tried before a client is sent away.
const TRIES: usize = 5;
/// Bytes read at a time.
const CHUNK: usize = 16 << 10;

/// Serves a client of a node port.
pub async fn forward(
    client: TcpStream,
    from: IpAddr,
    name: &PortName,
    rule: &Rule,
    affinity: &Affinity,
    nodes: &Nodes,
) {
    let Some(pipe) = connect(from, name, rule, affinity, nodes).await else {
        // Closed without an answer, as by a pod that is gone.
        return;
    };
    METRICS.connections.inc();
    client.set_nodelay(true).ok();
    let (read, write) = client.into_split();
    let Pipe { send, receive } = pipe;
    // What the pod sends decides when the connection is over; a client may well be silent before.
    tokio::select! {
        () = bring(receive, write) => {}
        () = async { take(read, send).await; std::future::pending().await } => {}
    }
}

/// A connection to one of the rule's endpoints: if one does not answer, another is tried.
async fn connect(from: IpAddr, name: &PortName, rule: &Rule, affinity: &Affinity, nodes: &Nodes) -> Option<Pipe> {
    let mut tried: Vec<SocketAddr> = Vec::new();
    while tried.len() < TRIES {
        let endpoint = affinity.choose(name, rule, &rule.external, &tried, from, clock::instant())?;
        match nodes.dial(&endpoint.node, endpoint.address).await {
            Ok(pipe) => return Some(pipe),
            Err(error) => {
                METRICS.failed_dials.inc();
                tracing::debug!(service = %name, endpoint = %endpoint.address, %error, "will try another endpoint");
                tried.push(endpoint.address);
            }
        }
    }
    None
}

/// From the client to the pod, until the client has said all.
async fn take(mut read: OwnedReadHalf, send: mpsc::Sender<DialRequest>) {
    let mut buffer = BytesMut::with_capacity(CHUNK);
    loop {
        buffer.reserve(CHUNK);
        match read.read_buf(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {
                let data: Bytes = buffer.split().freeze();
                if send.send(DialRequest { data, ..Default::default() }).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// From the pod to the client, until the pod has said all.
async fn bring(mut receive: Replies, mut write: OwnedWriteHalf) {
    while let Some(Ok(reply)) = receive.next().await {
        if write.write_all(&reply.data).await.is_err() {
            return;
        }
    }
    write.shutdown().await.ok();
}
