//! Looks at the running lab from outside, as a user could: health ports, raft roles, Leases, Nodes.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::Duration,
};

use k8s_openapi::api::{coordination::v1::Lease, core::v1::Node};
use kubelab_client::Client;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::watch,
    time,
};

use crate::front_door::{Backends, Membership};

const EVERY: Duration = Duration::from_millis(500);
/// At first, while the lab is not Ready; each look that finds it so makes the next one come later.
const EVERY_AT_FIRST: Duration = Duration::from_millis(15);
const PATIENCE: Duration = Duration::from_secs(1);

/// What was seen.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sight {
    /// Each apiserver's own view of the raft group.
    pub members: BTreeMap<String, Membership>,
    /// The other components that say they are ready.
    pub ready: BTreeSet<String>,
    /// Lease → who holds it.
    pub leaders: BTreeMap<String, String>,
    /// Node → is it Ready.
    pub nodes: BTreeMap<String, bool>,
}

/// Looks until the receiver is gone. `ports`: component → where it answers /readyz. `settled` tells whether the last
/// sight shows a lab that is Ready, so that looking can be slower.
pub async fn observe(
    backends: Backends,
    client: Client,
    ports: watch::Receiver<BTreeMap<String, SocketAddr>>,
    sight: watch::Sender<Sight>,
    settled: watch::Receiver<bool>,
) {
    let mut pause = EVERY_AT_FIRST;
    loop {
        let ports = ports.borrow().clone();
        let probes = ports.into_iter().map(|(name, address)| async move { healthy(address).await.then_some(name) });
        let (ready, leaders, nodes) = tokio::join!(futures::future::join_all(probes), leaders(&client), nodes(&client));
        let last = sight.borrow().clone();
        let next = Sight {
            members: backends.members(),
            ready: ready.into_iter().flatten().collect(),
            leaders: leaders.unwrap_or(last.leaders),
            nodes: nodes.unwrap_or(last.nodes),
        };
        if sight.send(next).is_err() {
            return;
        }
        pause = if *settled.borrow() { EVERY } else { pause.mul_f32(1.05).min(EVERY) };
        time::sleep(pause).await;
    }
}

async fn leaders(client: &Client) -> Option<BTreeMap<String, String>> {
    let leases = time::timeout(PATIENCE, client.list::<Lease>("kube-system")).await.ok()?.ok()?;
    let now = jiff::Timestamp::now();
    let held = leases.into_iter().filter_map(|lease| {
        let spec = lease.spec?;
        let seconds = spec.lease_duration_seconds.unwrap_or_default();
        let fresh = now.duration_since(spec.renew_time?.0) <= jiff::SignedDuration::from_secs(seconds.into());
        Some((lease.metadata.name?, spec.holder_identity.filter(|holder| fresh && !holder.is_empty())?))
    });
    Some(held.collect())
}

async fn nodes(client: &Client) -> Option<BTreeMap<String, bool>> {
    let nodes = time::timeout(PATIENCE, client.list::<Node>("")).await.ok()?.ok()?;
    let ready = |node: &Node| {
        let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
        conditions.is_some_and(|all| all.iter().any(|c| c.type_ == "Ready" && c.status == "True"))
    };
    Some(nodes.into_iter().map(|node| (node.metadata.name.clone().unwrap_or_default(), ready(&node))).collect())
}

/// A component answers /readyz with 200.
pub async fn healthy(address: SocketAddr) -> bool {
    let ask = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await?;
        let mut head = [0; 12];
        stream.read_exact(&mut head).await?;
        std::io::Result::Ok(head.ends_with(b" 200"))
    };
    matches!(time::timeout(PATIENCE, ask).await, Ok(Ok(true)))
}
