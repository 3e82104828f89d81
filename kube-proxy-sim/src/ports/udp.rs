//! Datagrams: each client has a flow to one endpoint, as the kernel's conntrack keeps it.

use std::{collections::HashMap, io, net::SocketAddr, sync::Arc, time::Duration};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures::StreamExt;
use kubelab_client::clock::{self, Instant};
use kubelab_proto::node::DialRequest;
use tokio::{net::UdpSocket, sync::mpsc, task::AbortHandle};

use super::Shared;
use crate::{
    balance::Call,
    forward::connect,
    metrics::METRICS,
    network::Replies,
    rules::{PortName, Target, Via},
};

/// How long a flow is kept that nobody uses. Source: `nf_conntrack_udp_timeout_stream` in Linux.
const IDLE: Duration = Duration::from_secs(120);
/// Flows at a time for each port; the oldest goes first.
const MAX_FLOWS: usize = 1024;
/// The longest datagram.
const LONGEST: usize = 65_535;
/// Datagrams on their way to an endpoint; more are lost.
const WAITING: usize = 8;

struct Flow {
    endpoint: SocketAddr,
    send: mpsc::Sender<DialRequest>,
    replies: AbortHandle,
    last: Instant,
}

impl Drop for Flow {
    fn drop(&mut self) {
        self.replies.abort();
    }
}

/// Listens. `shared`: other nodes do as well.
pub fn listen(address: SocketAddr, shared: bool) -> io::Result<UdpSocket> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with, sockopt};
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, SocketType::DGRAM, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)?;
    sockopt::set_socket_reuseport(&socket, shared)?;
    bind(&socket, &address)?;
    UdpSocket::from_std(socket.into())
}

/// Takes a port's datagrams to the pods and theirs back, until it is aborted.
pub async fn serve(socket: UdpSocket, at: SocketAddr, name: PortName, via: Via, shared: Arc<Shared>) {
    let socket = Arc::new(socket);
    let mut flows: HashMap<SocketAddr, Flow> = HashMap::new();
    let mut buffer = vec![0; LONGEST];
    loop {
        let Ok((length, client)) = socket.recv_from(&mut buffer).await else { continue };
        let (now, table) = (clock::instant(), shared.table.borrow().clone());
        let Some(rule) = table.get(&name) else { continue };
        if via == Via::LoadBalancer && !rule.admits(client.ip()) {
            continue;
        }
        // A flow whose endpoint is gone would lead nowhere for as long as the client goes on.
        let stays = |flow: &Flow| {
            now.duration_since(flow.last) < IDLE
                && !flow.send.is_closed()
                && rule.external().iter().any(|endpoint| endpoint.address == flow.endpoint)
        };
        if flows.get(&client).is_some_and(|flow| !stays(flow)) {
            flows.remove(&client);
        }
        if !flows.contains_key(&client) {
            if flows.len() >= MAX_FLOWS {
                flows.retain(|_, flow| stays(flow));
            }
            if flows.len() >= MAX_FLOWS
                && let Some(oldest) = flows.iter().min_by_key(|(_, flow)| flow.last).map(|(client, _)| *client)
            {
                flows.remove(&oldest);
            }
            let call = Call { target: Target { name: &name, rule, via }, to: at, client: client.ip(), from_pod: false };
            let Some(flow) = open(&call, client, &socket, &shared).await else { continue };
            flows.insert(client, flow);
        }
        if let Some(flow) = flows.get_mut(&client) {
            flow.last = now;
            // A queue that is full loses datagrams, as a network does.
            let _ = flow.send.try_send(DialRequest { data: frame(&buffer[..length]), ..Default::default() });
        }
    }
}

async fn open(call: &Call<'_>, client: SocketAddr, socket: &Arc<UdpSocket>, shared: &Shared) -> Option<Flow> {
    let connected = connect(call, &shared.balancer, &shared.nodes).await?;
    METRICS.connections.inc();
    let (send, mut waiting) = mpsc::channel::<DialRequest>(WAITING);
    let (towards, socket, connection) = (connected.pipe.send, socket.clone(), connected.connection);
    let receive = connected.pipe.receive;
    let replies = tokio::spawn(async move {
        let pass = async {
            while let Some(request) = waiting.recv().await {
                if towards.send(request).await.is_err() {
                    return;
                }
            }
        };
        tokio::join!(pass, bring(receive, client, &socket));
        drop(connection);
    });
    Some(Flow { endpoint: connected.endpoint, send, replies: replies.abort_handle(), last: clock::instant() })
}

/// From the pod to the client.
async fn bring(mut receive: Replies, client: SocketAddr, socket: &UdpSocket) {
    let mut heard = BytesMut::new();
    while let Some(Ok(reply)) = receive.next().await {
        heard.extend_from_slice(&reply.data);
        while let Some(datagram) = unframe(&mut heard) {
            let _ = socket.send_to(&datagram, client).await;
        }
    }
}

/// A datagram after its length, as `Node.Dial` carries it.
fn frame(datagram: &[u8]) -> Bytes {
    let mut framed = BytesMut::with_capacity(2 + datagram.len());
    framed.put_u16(u16::try_from(datagram.len()).unwrap_or(u16::MAX));
    framed.put_slice(&datagram[..datagram.len().min(LONGEST)]);
    framed.freeze()
}

/// The next datagram, if all of it is here.
fn unframe(heard: &mut BytesMut) -> Option<Bytes> {
    let length = usize::from(u16::from_be_bytes([*heard.first()?, *heard.get(1)?]));
    if heard.len() < 2 + length {
        return None;
    }
    heard.advance(2);
    Some(heard.split_to(length).freeze())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_apart_wherever_they_were_cut() {
        let sent = [frame(b"one"), frame(b""), frame(b"three")].concat();
        for cut in 0..=sent.len() {
            let (mut heard, mut datagrams) = (BytesMut::new(), Vec::new());
            for part in [&sent[..cut], &sent[cut..]] {
                heard.extend_from_slice(part);
                while let Some(datagram) = unframe(&mut heard) {
                    datagrams.push(datagram);
                }
            }
            assert_eq!(datagrams, ["one", "", "three"], "cut at {cut}");
        }
    }
}
