//! Looks at the running lab from outside, as a user could: health ports, raft roles, Leases, Nodes.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::{Duration, Instant},
};

use k8s_openapi::api::{coordination::v1::Lease, core::v1::Node};
use kubelab_client::{Cache, Client, Scope};
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
    /// When looking began: it shows nothing of a process that was started later.
    pub begun: Option<Instant>,
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
    let leases = Cache::<Lease>::start(&client, Scope { namespace: "kube-system".into(), ..Scope::default() });
    let nodes = Cache::<Node>::start(&client, Scope::default());
    let mut pause = EVERY_AT_FIRST;
    loop {
        let begun = Some(Instant::now());
        let ports = ports.borrow().clone();
        let probes = ports.into_iter().map(|(name, address)| async move { healthy(address).await.then_some(name) });
        let ready = futures::future::join_all(probes).await;
        let next = Sight {
            begun,
            members: backends.members(),
            ready: ready.into_iter().flatten().collect(),
            leaders: leases.list().iter().filter_map(|lease| leader(lease)).collect(),
            nodes: nodes.list().iter().map(|node| is_ready(node)).collect(),
        };
        if sight.send(next).is_err() {
            return;
        }
        pause = if *settled.borrow() { EVERY } else { pause.mul_f32(1.05).min(EVERY) };
        time::sleep(pause).await;
    }
}

fn leader(lease: &Lease) -> Option<(String, String)> {
    let spec = lease.spec.as_ref()?;
    let seconds = spec.lease_duration_seconds.unwrap_or_default();
    let age = jiff::Timestamp::now().duration_since(spec.renew_time.as_ref()?.0);
    let holder = spec.holder_identity.clone().filter(|holder| !holder.is_empty())?;
    (age <= jiff::SignedDuration::from_secs(seconds.into())).then_some((lease.metadata.name.clone()?, holder))
}

fn is_ready(node: &Node) -> (String, bool) {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
    let ready = conditions.is_some_and(|all| all.iter().any(|c| c.type_ == "Ready" && c.status == "True"));
    (node.metadata.name.clone().unwrap_or_default(), ready)
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
