//! `pods/{name}/portforward`: over SPDY, over SPDY within a WebSocket (KEP-4006), and over a WebSocket with two channels a
//! port. Source: `k8s.io/kubelet/pkg/cri/streaming/portforward`.

use std::{collections::HashMap, net::SocketAddr, sync::Arc};

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use http::{Request, Response};
use hyper::{body::Incoming, upgrade::Upgraded};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::{Node, Pod};
use kubelab_api::Error;
use kubelab_spdy::{Connection, Receiver, Sender};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, duplex, split},
    sync::mpsc,
    task::JoinSet,
};
use tokio_tungstenite::tungstenite::Message;

use super::{
    super::query::Query,
    Stream, uid,
    upgrade::{self, Kind},
    websocket::{self, Format, Socket},
};
use crate::doors::{Body, Doors};

/// The one version of forwarded ports in SPDY.
const SPDY: [&str; 1] = ["portforward.k8s.io"];

/// SPDY within a WebSocket, and channels for clients without SPDY.
const TUNNEL: &str = "SPDY/3.1+portforward.k8s.io";
const WEBSOCKET: [&str; 4] = [TUNNEL, "v4.channel.k8s.io", "v4.base64.channel.k8s.io", ""];

/// The most ports of one request: a channel's number is one byte.
const MAX_PORTS: usize = 100;

/// Connections at a time through one request, and those that wait for their second stream.
const MAX_CONNECTIONS: usize = 256;

/// How much is read from a pod at once.
const BLOCK: usize = 32 << 10;

/// Where the forwarded connections of one request go.
struct Target {
    doors: Arc<Doors>,
    node: Node,
    pod: Pod,
}

impl Target {
    /// A connection to a port in the pod.
    async fn dial(&self, port: u16) -> Result<DuplexStream, String> {
        let name = self.pod.metadata.name.as_deref().unwrap_or_default();
        let address = self.pod.status.as_ref().and_then(|status| status.pod_ip.as_deref()?.parse().ok());
        let failed = |why: String| {
            let uid = uid(&self.pod);
            format!(
                "error forwarding port {port} to pod {name}, uid : failed to execute portforward in network namespace of pod {uid}: failed to connect to localhost:{port} inside namespace: {why}"
            )
        };
        let Some(address) = address else { return Err(failed("the pod has no address".to_owned())) };
        self.doors.nodes.dial(&self.node, SocketAddr::new(address, port)).await.map_err(failed)
    }
}

/// Answers by leaving HTTP.
pub async fn serve(stream: Stream, request: Request<Incoming>) -> Result<Response<Body>, Error> {
    let pod = stream.pod().await?;
    let node = stream.node_of(&pod).await?;
    let kind = upgrade::kind(request.headers())?;
    let place = stream.doors.nodes.enter()?;
    let served: &[&str] = if kind == Kind::Spdy { &SPDY } else { &WEBSOCKET };
    let upgrade = upgrade::accept(kind, request, served)?;
    let ports = match upgrade.protocol.as_str() {
        "portforward.k8s.io" | TUNNEL => Vec::new(),
        _ => ports(&stream.query)?,
    };
    let target = Arc::new(Target { doors: Arc::clone(&stream.doors), node, pod });
    tokio::spawn(async move {
        let Ok(upgraded) = upgrade.connection.await else { return };
        let shutdown = target.doors.shutdown.clone();
        let carrying = carry(upgraded, kind, &upgrade.protocol, &ports, target);
        tokio::select! {
            () = carrying => {}
            () = shutdown.cancelled() => {}
        }
        drop(place);
    });
    Ok(upgrade.response)
}

async fn carry(upgraded: Upgraded, kind: Kind, protocol: &str, ports: &[u16], target: Arc<Target>) {
    match kind {
        Kind::Spdy => by_spdy(TokioIo::new(upgraded), target).await,
        Kind::WebSocket if protocol == TUNNEL => {
            let (ours, theirs) = duplex(64 << 10);
            let socket = websocket::open(upgraded).await;
            tokio::join!(tunnel(socket, theirs), by_spdy(ours, target));
        }
        Kind::WebSocket => by_channels(websocket::open(upgraded).await, Format::of(protocol), ports, &target).await,
    }
}

/// The ports that a request names: `ports=80&ports=443` or `ports=80,443`.
fn ports(query: &Query) -> Result<Vec<u16>, Error> {
    let mut ports = Vec::new();
    for text in query.all("ports").into_iter().flat_map(|value| value.split(',')).filter(|text| !text.is_empty()) {
        match text.trim().parse::<u16>() {
            Ok(port) if port > 0 => ports.push(port),
            _ => return Err(Error::bad_request(format!("unable to parse {text:?} as a port"))),
        }
    }
    match ports.len() {
        0 => Err(Error::bad_request("query parameter \"port\" is required")),
        1..=MAX_PORTS => Ok(ports),
        _ => Err(Error::bad_request(format!("at most {MAX_PORTS} ports can be forwarded at once"))),
    }
}

/// Carries the bytes of a connection in the messages of a WebSocket.
async fn tunnel(socket: Socket, inner: DuplexStream) {
    let (mut send, mut receive) = socket.split();
    let (mut read, mut write) = split(inner);
    let incoming = async {
        while let Some(Ok(message)) = receive.next().await {
            match message {
                Message::Binary(data) => match write.write_all(&data).await {
                    Ok(()) => {}
                    Err(_) => return,
                },
                Message::Close(_) => return,
                _ => {}
            }
        }
    };
    let outgoing = async {
        loop {
            let mut data = bytes::BytesMut::with_capacity(BLOCK);
            match read.read_buf(&mut data).await {
                Ok(0) | Err(_) => break,
                Ok(_) => {}
            }
            if send.send(Message::Binary(data.freeze())).await.is_err() {
                return;
            }
        }
        let _ = send.send(websocket::goodbye()).await;
    };
    tokio::select! {
        () = incoming => {}
        () = outgoing => {}
    }
}

/// Streams come in pairs of the same request id: one for bytes, one for an error.
async fn by_spdy<T: AsyncRead + AsyncWrite + Send + 'static>(io: T, target: Arc<Target>) {
    let mut connection = Connection::new(io);
    let mut errors: HashMap<String, Sender> = HashMap::new();
    let mut carried = JoinSet::new();
    while let Some(stream) = connection.accept().await {
        while carried.try_join_next().is_some() {}
        let header = |name: &str| stream.headers.get(name).unwrap_or_default();
        let (kind, id, port) =
            (header("streamtype").to_owned(), header("requestid").to_owned(), header("port").parse());
        match kind.as_str() {
            "error" if errors.len() < MAX_CONNECTIONS => {
                errors.insert(id, stream.sender);
            }
            "data" if carried.len() < MAX_CONNECTIONS => {
                let Some(error) = errors.remove(&id) else { continue };
                let target = Arc::clone(&target);
                carried.spawn(async move {
                    let Ok(port) = port else { return error.finish().await };
                    if let Err(why) = forward(&target, port, stream.receiver, stream.sender).await {
                        let _ = error.send(Bytes::from(why)).await;
                    }
                    error.finish().await;
                });
            }
            // What is dropped here is finished, and the client sees that nobody answers.
            _ => {}
        }
    }
}

/// Carries one connection to its end.
async fn forward(target: &Target, port: u16, mut receiver: Receiver, sender: Sender) -> Result<(), String> {
    let (mut read, mut write) = split(target.dial(port).await?);
    let to_pod = async {
        while let Some(data) = receiver.receive().await {
            if write.write_all(&data).await.is_err() {
                break;
            }
        }
        let _ = write.shutdown().await;
        // The client may say all it has to say before it listens.
        std::future::pending::<()>().await;
    };
    let from_pod = async {
        loop {
            let mut data = bytes::BytesMut::with_capacity(BLOCK);
            match read.read_buf(&mut data).await {
                Ok(0) | Err(_) => break,
                Ok(_) => {}
            }
            if sender.send(data.freeze()).await.is_err() {
                break;
            }
        }
        sender.finish().await;
    };
    tokio::select! {
        () = to_pod => {}
        () = from_pod => {}
    }
    Ok(())
}

/// Two channels a port: bytes and errors. The first message of each names the port.
async fn by_channels(socket: Socket, format: Format, ports: &[u16], target: &Target) {
    let (mut send, mut receive) = socket.split();
    let (out, mut messages) = mpsc::channel::<Message>(16);
    let mut inputs = HashMap::new();
    let mut carried = JoinSet::new();
    for (at, port) in ports.iter().copied().enumerate() {
        let data = (2 * at) as u8;
        for channel in [data, data + 1] {
            if send.send(format.message(channel, &port.to_le_bytes())).await.is_err() {
                return;
            }
        }
        match target.dial(port).await {
            Ok(connection) => {
                let (mut read, write) = split(connection);
                inputs.insert(data, write);
                let out = out.clone();
                carried.spawn(async move {
                    let mut block = vec![0; BLOCK];
                    while let Ok(count @ 1..) = read.read(&mut block).await {
                        if out.send(format.message(data, &block[..count])).await.is_err() {
                            return;
                        }
                    }
                });
            }
            Err(why) => {
                let _ = send.send(format.message(data + 1, why.as_bytes())).await;
            }
        }
    }
    drop(out);
    let incoming = async {
        while let Some(Ok(message)) = receive.next().await {
            if matches!(message, Message::Close(_)) {
                return;
            }
            let Some((channel, data)) = format.split(message) else { continue };
            if let Some(write) = inputs.get_mut(&channel)
                && write.write_all(&data).await.is_err()
            {
                inputs.remove(&channel);
            }
        }
    };
    let outgoing = async {
        while let Some(message) = messages.recv().await {
            if send.send(message).await.is_err() {
                return;
            }
        }
        let _ = send.send(websocket::goodbye()).await;
    };
    tokio::select! {
        () = incoming => {}
        () = outgoing => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_named_in_two_ways() {
        let ports = |query: &str| ports(&Query::parse(Some(query))).map_err(|error| error.message);
        for query in ["ports=80&ports=443", "ports=80,443"] {
            assert_eq!(ports(query), Ok(vec![80, 443]));
        }
        assert_eq!(ports("").map_err(|e| e.to_string()), Err("query parameter \"port\" is required".to_owned()));
        assert_eq!(ports("ports=0"), Err("unable to parse \"0\" as a port".to_owned()));
        assert!(ports(&"ports=1&".repeat(101)).is_err());
    }
}
