//! Connections to what containers listen on.

use std::sync::Arc;

use kubelab_add_ons::Connection as Incoming;
use tokio::io::{AsyncReadExt, DuplexStream, copy, duplex, sink};

use super::Shared;
use crate::{
    behavior::Protocol,
    network,
    runtime::{Dial, DialError, datagrams, http::Server, redis, site::Site},
};

/// Connections that a container takes at a time.
const MAX_CONNECTIONS: usize = 1024;

/// What fits into a connection in each direction before the sender waits.
const CONNECTION_BUFFER: usize = 16 << 10;

impl Shared {
    /// Connects to what listens at a pod's port.
    pub(super) fn dial(self: &Arc<Self>, dial: Dial) -> Result<DuplexStream, DialError> {
        let address = dial.to;
        let mut state = self.lock();
        let mut rooms = state
            .pods
            .values_mut()
            .filter(|room| room.sandbox.address == address.ip() && !room.sandbox.released)
            .peekable();
        if rooms.peek().is_none() {
            return Err(DialError::NoRoute(address));
        }
        for room in rooms {
            if let Some(ear) = room.ears.get(&address.port()).filter(|_| dial.protocol == network::Protocol::Tcp) {
                let (ours, theirs) = duplex(CONNECTION_BUFFER);
                if ear.try_send(theirs).is_ok() {
                    return Ok(ours);
                }
            }
            let pod = room.sandbox.pod.clone();
            let name = pod.name.clone();
            let Some((container, process, protocol)) = room.listener(address.port()) else { continue };
            let is_spoken = match protocol {
                Protocol::AddOn => true,
                Protocol::Udp => dial.protocol == network::Protocol::Udp,
                Protocol::Http | Protocol::Https | Protocol::Grpc | Protocol::Redis | Protocol::Tcp => {
                    dial.protocol == network::Protocol::Tcp
                }
            };
            if !is_spoken {
                continue;
            }
            while process.connections.try_join_next().is_some() {}
            if process.connections.len() >= MAX_CONNECTIONS {
                continue;
            }
            let (ours, mut theirs) = duplex(CONNECTION_BUFFER);
            let root = Site::root(&container.image).filter(|_| matches!(protocol, Protocol::Http | Protocol::Https));
            let files = root.map(|root| (self.files(&pod, &container.name, &process.setup), root));
            let server = Server {
                address,
                name,
                node: self.node.clone(),
                started_at: container.started_at.0,
                health: process.behavior.health.clone(),
                page: process.behavior.page.clone(),
                from: dial.from,
                console: process.console.clone(),
                site: files.map(|(files, root)| Arc::new(Site::new(files, root))),
                told: process.told.clone(),
            };
            match protocol {
                Protocol::AddOn => {
                    let from = dial.from;
                    let incoming = Incoming { stream: theirs, protocol: dial.protocol, port: address.port(), from };
                    let Some(serving) = process.add_on.serve(incoming) else { continue };
                    process.connections.spawn(serving)
                }
                Protocol::Http | Protocol::Https | Protocol::Grpc => {
                    process.connections.spawn(server.serve(protocol, theirs))
                }
                Protocol::Redis => process.connections.spawn(redis::serve(theirs)),
                Protocol::Udp => {
                    let datagrams = datagrams::Server { name: server.name, from: dial.from };
                    process.connections.spawn(datagrams.serve(theirs))
                }
                Protocol::Tcp => process.connections.spawn(async move {
                    copy(&mut (&mut theirs).take(u64::MAX), &mut sink()).await.ok();
                }),
            };
            return Ok(ours);
        }
        Err(DialError::Refused(address))
    }
}
