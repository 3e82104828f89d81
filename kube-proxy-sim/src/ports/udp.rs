//! Datagrams from outside: each client has a flow to one endpoint, as the kernel's conntrack keeps it. A flow is a task of its
//! own, so that an endpoint that takes long to answer keeps nobody else waiting.

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use kubelab_client::clock::{self, Instant};
use kubelab_proto::node::DialRequest;
use kubelab_wire::datagram::{LONGEST, frame, unframe};
use tokio::{net::UdpSocket, sync::mpsc, task::AbortHandle};

use super::Shared;
use crate::{
    balance::Call,
    forward::connect,
    metrics::METRICS,
    network::Replies,
    rules::{PortName, Rule, Target, Via},
};

/// How long a flow is kept that nobody uses. Source: `nf_conntrack_udp_timeout_stream` in Linux.
const IDLE: Duration = Duration::from_secs(120);
/// Flows at a time for each port; the oldest goes first.
const MAX_FLOWS: usize = 1024;
/// Datagrams on their way to an endpoint, or that wait for one; more are lost, as in a network.
const WAITING: usize = 8;

/// What a client's datagrams go through.
struct Flow {
    /// Where to, once that is known.
    endpoint: Arc<OnceLock<SocketAddr>>,
    send: mpsc::Sender<Bytes>,
    task: AbortHandle,
    last: Instant,
}

impl Drop for Flow {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Flow {
    /// Its endpoint is still one, or not chosen yet. Another would lead nowhere for as long as the client goes on.
    fn stays(&self, rule: &Rule, now: Instant) -> bool {
        now.duration_since(self.last) < IDLE
            && !self.send.is_closed()
            && self.endpoint.get().is_none_or(|endpoint| rule.leads_to(*endpoint))
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

/// A port that datagrams come to.
struct Port {
    socket: UdpSocket,
    at: SocketAddr,
    name: PortName,
    via: Via,
    shared: Arc<Shared>,
}

/// Takes a port's datagrams to the pods and theirs back, until it is aborted.
pub async fn serve(socket: UdpSocket, at: SocketAddr, name: PortName, via: Via, shared: Arc<Shared>) {
    let port = Arc::new(Port { socket, at, name, via, shared });
    let mut flows: HashMap<SocketAddr, Flow> = HashMap::new();
    let mut buffer = vec![0; LONGEST];
    loop {
        let Ok((length, client)) = port.socket.recv_from(&mut buffer).await else { continue };
        let (now, table) = (clock::instant(), port.shared.table.borrow().clone());
        let Some(rule) = table.get(&port.name) else { continue };
        if via == Via::LoadBalancer && !rule.admits(client.ip()) {
            continue;
        }
        if flows.get(&client).is_some_and(|flow| !flow.stays(rule, now)) {
            flows.remove(&client);
        }
        if flows.len() >= MAX_FLOWS && !flows.contains_key(&client) {
            make_room(&mut flows, rule, now);
        }
        let flow = flows.entry(client).or_insert_with(|| port.open(client, now));
        flow.last = now;
        let _ = flow.send.try_send(frame(&buffer[..length]));
    }
}

fn make_room(flows: &mut HashMap<SocketAddr, Flow>, rule: &Rule, now: Instant) {
    flows.retain(|_, flow| flow.stays(rule, now));
    if flows.len() >= MAX_FLOWS
        && let Some(oldest) = flows.iter().min_by_key(|(_, flow)| flow.last).map(|(client, _)| *client)
    {
        flows.remove(&oldest);
    }
}

impl Port {
    fn open(self: &Arc<Self>, client: SocketAddr, now: Instant) -> Flow {
        let (send, waiting) = mpsc::channel(WAITING);
        let endpoint = Arc::new(OnceLock::new());
        let task = tokio::spawn(self.clone().carry(client, endpoint.clone(), waiting)).abort_handle();
        Flow { endpoint, send, task, last: now }
    }

    /// One flow: finds an endpoint, and is there until either side ends. Without one, the client's next datagram begins anew.
    async fn carry(
        self: Arc<Self>,
        client: SocketAddr,
        endpoint: Arc<OnceLock<SocketAddr>>,
        mut waiting: mpsc::Receiver<Bytes>,
    ) {
        let table = self.shared.table.borrow().clone();
        let Some(rule) = table.get(&self.name) else { return };
        let target = Target { name: &self.name, rule, via: self.via };
        let call = Call { target, to: self.at, client: client.ip(), from_pod: false };
        let Some(connected) = connect(&call, &self.shared.balancer, &self.shared.nodes).await else { return };
        drop(table);
        let _ = endpoint.set(connected.endpoint);
        METRICS.connections.inc();
        let (towards, receive, _counted) = (connected.pipe.send, connected.pipe.receive, connected.connection);
        let pass = async {
            while let Some(data) = waiting.recv().await {
                if towards.send(DialRequest { data, ..Default::default() }).await.is_err() {
                    return;
                }
            }
        };
        // A pod that is gone ends its flow at once, so that the next datagram finds another.
        tokio::select! {
            () = pass => {}
            () = bring(receive, client, &self.socket) => {}
        }
    }
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
