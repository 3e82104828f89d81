//! The lab's one stable address: a TCP balancer over the live apiservers. TLS passes through it untouched, so clients
//! still see an apiserver's own certificate and apiservers still see the client's.
//!
//! Each apiserver is asked for its place in the raft group twice a second. New connections go to the one that leads, where
//! a write needs one hop less than on the others, and a read half of its messages; so they see each other's writes at once,
//! too. One that does not answer within a second (dead, paused, cut off) gets no new connections, and those it has are
//! closed, so that clients reconnect elsewhere.

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::Context;
use kubelab_proto::flow::{MemberReply, MemberRequest, flow_client::FlowClient};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    time,
};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

const PROBE_TIMEOUT: Duration = Duration::from_secs(1);
const PROBE_EVERY: Duration = Duration::from_millis(500);
/// While an apiserver is not there yet, so that a lab starts fast.
const PROBE_EVERY_AT_FIRST: Duration = Duration::from_millis(15);
const CONNECTIONS: usize = 4096;
/// What is carried at a time: requests are short, lists and watches are long.
const REQUEST_BYTES: usize = 8 * 1024;
const ANSWER_BYTES: usize = 32 * 1024;

/// What an apiserver last said of itself; `None` while it does not answer.
pub type Membership = Option<MemberReply>;

/// The apiservers behind the door and what is known of each. Cheap to clone.
#[derive(Clone)]
pub struct Backends(Arc<[Backend]>);

struct Backend {
    name: String,
    address: String,
    member: watch::Sender<Membership>,
}

impl Backend {
    fn leads(&self) -> bool {
        self.member.borrow().as_ref().is_some_and(|member| member.leader == member.id)
    }
}

/// The files that prove to apiservers who asks.
pub struct Credentials {
    tls: ClientTlsConfig,
}

impl Credentials {
    /// Reads the authority's certificate, the client's own and its key.
    pub fn read(authority: &Path, certificate: &Path, key: &Path) -> anyhow::Result<Self> {
        let read = |path: &Path| std::fs::read(path).with_context(|| format!("cannot read {}", path.display()));
        let tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(read(authority)?))
            .identity(Identity::from_pem(read(certificate)?, read(key)?));
        Ok(Self { tls })
    }

    /// A channel to one apiserver (`host:port`), connected when first used.
    pub fn channel(&self, address: &str) -> anyhow::Result<Channel> {
        let endpoint = Endpoint::from_shared(format!("https://{address}"))?.tls_config(self.tls.clone())?;
        Ok(endpoint.connect_timeout(PROBE_TIMEOUT).tcp_nodelay(true).connect_lazy())
    }
}

impl Backends {
    /// Begins to watch these apiservers (name → `host:port`).
    pub fn watch(apiservers: BTreeMap<String, String>, credentials: &Credentials) -> anyhow::Result<Self> {
        let mut backends = Vec::new();
        for (name, address) in apiservers {
            let channel = credentials.channel(&address)?;
            let (member, _) = watch::channel(None);
            tokio::spawn(probe(FlowClient::new(channel), member.clone()));
            backends.push(Backend { name, address, member });
        }
        Ok(Self(backends.into()))
    }

    /// What is known of each apiserver.
    pub fn members(&self) -> BTreeMap<String, Membership> {
        self.0.iter().map(|backend| (backend.name.clone(), backend.member.borrow().clone())).collect()
    }
}

async fn probe(mut client: FlowClient<Channel>, member: watch::Sender<Membership>) {
    loop {
        let answer = time::timeout(PROBE_TIMEOUT, client.member(MemberRequest {})).await;
        let answer = answer.ok().and_then(Result::ok).map(tonic::Response::into_inner);
        let settled = answer.as_ref().is_some_and(|member| member.leader != 0);
        member.send_if_modified(|known| std::mem::replace(known, answer.clone()) != answer);
        time::sleep(if settled { PROBE_EVERY } else { PROBE_EVERY_AT_FIRST }).await;
    }
}

/// Listens at the door. An address that is taken is an error that says what to do.
pub async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => anyhow::anyhow!(
            "port {} is taken, perhaps by another lab; choose another with --port, or stop what listens there",
            address.port()
        ),
        _ => anyhow::Error::new(error).context(format!("cannot listen on {address}")),
    })
}

/// Carries connections until dropped.
pub async fn serve(listener: TcpListener, backends: Backends) {
    let turn = Arc::new(AtomicUsize::new(0));
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((client, _)) => {
                let (backends, turn) = (backends.clone(), turn.clone());
                tokio::spawn(async move {
                    carry(client, &backends, &turn).await;
                    drop(place);
                });
            }
            // Out of file descriptors: those in use will come free.
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn carry(mut client: TcpStream, backends: &Backends, turn: &AtomicUsize) {
    let Some((mut server, mut member)) = connect(backends, turn).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    tokio::select! {
        _ = tokio::io::copy_bidirectional_with_sizes(&mut client, &mut server, REQUEST_BYTES, ANSWER_BYTES) => {}
        _ = member.wait_for(Option::is_none) => {}
    }
}

/// A connection to the apiserver that leads; to the others in turn while none does, or it refuses.
async fn connect(backends: &Backends, turn: &AtomicUsize) -> Option<(TcpStream, watch::Receiver<Membership>)> {
    let first = turn.fetch_add(1, Ordering::Relaxed);
    let count = backends.0.len();
    let in_turn = (0..count).map(|i| &backends.0[(first + i) % count]);
    let mut live: Vec<_> = in_turn.filter(|backend| backend.member.borrow().is_some()).collect();
    live.sort_by_key(|backend| !backend.leads());
    for live in live {
        if let Ok(Ok(stream)) = time::timeout(PROBE_TIMEOUT, TcpStream::connect(&live.address)).await {
            return Some((stream, live.member.subscribe()));
        }
    }
    None
}
