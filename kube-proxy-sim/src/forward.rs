//! One connection: from a client's socket to a pod and back.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

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
    balance::{Balancer, Call, Connection},
    dial::{Dial, Nodes, Pipe},
    metrics::METRICS,
    network::{Replies, policy::Peer},
    ports::Shared,
    rules::{PortName, Protocol, Target, Via},
};

/// Endpoints that are tried before a client is sent away.
const TRIES: usize = 5;
/// Bytes read at a time.
const CHUNK: usize = 16 << 10;
/// How long a client is left without an answer whose packets a real node would drop. Clients give up earlier.
const SILENCE: Duration = Duration::from_secs(120);

/// Serves a client that came to an address of a Service, from outside of the cluster.
pub async fn forward(client: TcpStream, from: IpAddr, to: SocketAddr, name: &PortName, via: Via, shared: &Shared) {
    let table = shared.table.borrow().clone();
    // Between its arrival and now, the Service may have gone.
    let Some(rule) = table.get(name) else { return };
    let refused = via == Via::LoadBalancer && !rule.admits(from);
    if refused || rule.drops(via) {
        return keep_silent(client).await;
    }
    let call = Call { target: Target { name, rule, via }, to, client: from, from_pod: false };
    let connected = connect(&call, &shared.balancer, &shared.nodes).await;
    // The rules may change meanwhile; this connection goes on as it began.
    drop(table);
    // Without an endpoint it is closed without an answer, as by a pod that is gone.
    let Some((pipe, connection)) = connected else { return };
    METRICS.connections.inc();
    client.set_nodelay(true).ok();
    let (read, write) = client.into_split();
    let Pipe { send, receive } = pipe;
    // What the pod sends decides when the connection is over; a client may well be silent before.
    tokio::select! {
        () = bring(receive, write) => {}
        () = async { take(read, send).await; std::future::pending().await } => {}
    }
    drop(connection);
}

/// A connection to one of the call's endpoints: if one does not answer, another is tried.
pub async fn connect(call: &Call<'_>, balancer: &Balancer, nodes: &Nodes) -> Option<(Pipe, Option<Connection>)> {
    let mut tried: Vec<SocketAddr> = Vec::new();
    while tried.len() < TRIES {
        let chosen = balancer.choose(call, &tried, clock::instant())?;
        let endpoint = chosen.endpoint;
        // What a policy forbids is dropped, and no other endpoint is asked.
        let peer = Peer { ip: call.client, pod: None };
        if !nodes.policies().allow(peer, endpoint.address, Protocol::Tcp).await {
            clock::sleep(SILENCE).await;
            return None;
        }
        let dial = Dial { to: endpoint.address, source: Some(call.client), protocol: Protocol::Tcp };
        match nodes.dial(&endpoint.node, dial).await {
            Ok(pipe) => return Some((pipe, chosen.connection)),
            Err(error) => {
                METRICS.failed_dials.inc();
                tracing::debug!(service = %call.target.name, endpoint = %endpoint.address, %error, "will try another endpoint");
                tried.push(endpoint.address);
            }
        }
    }
    None
}

/// Hears what the client says until it gives up, and says nothing.
async fn keep_silent(mut client: TcpStream) {
    let mut heard = [0; 1024];
    let listen = async { while client.read(&mut heard).await.is_ok_and(|count| count > 0) {} };
    let _ = tokio::time::timeout(SILENCE, listen).await;
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
