//! The lab's one stable address: it accepts connections and hands them over to a live apiserver
//! ([`kubelab_apiserver::handoff`]), so that no byte passes through it: clients see an apiserver's own certificate, and
//! apiservers see the client.
//!
//! Each apiserver is asked for its place in the raft group twice a second. Connections go to the one that leads, where a
//! write needs one hop less than on the others, and a read half of its messages. One that does not answer within a second
//! (dead, paused, cut off) gets no new connections, and those it has are closed, so that clients reconnect elsewhere.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    net::{Shutdown, SocketAddr, TcpStream},
    os::fd::AsFd,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::Context;
use kubelab_apiserver::handoff::Line;
use kubelab_proto::flow::{MemberReply, MemberRequest, flow_client::FlowClient};
use tokio::{
    net::TcpListener,
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time,
};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

const PROBE_TIMEOUT: Duration = Duration::from_secs(1);
const PROBE_EVERY: Duration = Duration::from_millis(500);
/// While an apiserver is not there yet, so that a lab starts fast.
const PROBE_EVERY_AT_FIRST: Duration = Duration::from_millis(15);
const CONNECTIONS: usize = 4096;

/// What an apiserver last said of itself; `None` while it does not answer.
pub type Membership = Option<MemberReply>;

/// Where an apiserver is.
#[derive(Clone, Debug)]
pub struct Place {
    /// Where it answers: `host:port`.
    pub address: String,
    /// Where it takes connections over.
    pub handoff: PathBuf,
}

/// The apiservers behind the door and what is known of each. Cheap to clone.
#[derive(Clone)]
pub struct Backends(Arc<[Arc<Backend>]>);

struct Backend {
    name: String,
    member: watch::Sender<Membership>,
    line: watch::Sender<Option<Arc<Line>>>,
    given: Mutex<HashMap<u64, Given>>,
    numbers: AtomicU64,
}

/// A connection that an apiserver has, until it says that it has ended.
struct Given {
    stream: TcpStream,
    _place: OwnedSemaphorePermit,
}

impl Backend {
    fn lives(&self) -> bool {
        self.member.borrow().is_some()
    }

    fn leads(&self) -> bool {
        self.member.borrow().as_ref().is_some_and(|member| member.leader == member.id)
    }

    fn given(&self) -> MutexGuard<'_, HashMap<u64, Given>> {
        self.given.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands a connection over, or gives it back.
    async fn take(&self, connection: Given) -> Result<(), Given> {
        let Some(line) = self.line.borrow().clone() else { return Err(connection) };
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let Ok(descriptor) = connection.stream.as_fd().try_clone_to_owned() else { return Err(connection) };
        // It may have ended before the line says that it was given.
        self.given().insert(number, connection);
        match time::timeout(PROBE_TIMEOUT, line.give(number, descriptor.as_fd())).await {
            Ok(Ok(())) => Ok(()),
            _ => self.given().remove(&number).map_or(Ok(()), Err),
        }
    }

    fn close_all(&self) {
        for (_, connection) in self.given().drain() {
            let _ = connection.stream.shutdown(Shutdown::Both);
        }
    }

    /// Keeps the line to the apiserver, and ends the connections of one that is gone or hangs.
    async fn keep_line(self: Arc<Self>, path: PathBuf) {
        loop {
            if let Ok(line) = Line::connect(&path).await {
                let line = Arc::new(line);
                self.line.send_replace(Some(line.clone()));
                while let Ok(Some(number)) = line.ended().await {
                    self.given().remove(&number);
                }
                self.line.send_replace(None);
                self.close_all();
            }
            time::sleep(PROBE_EVERY_AT_FIRST).await;
        }
    }

    async fn close_when_lost(self: Arc<Self>) {
        let mut member = self.member.subscribe();
        while member.changed().await.is_ok() {
            if !self.lives() {
                self.close_all();
            }
        }
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
    /// Begins to watch these apiservers, by name.
    pub fn watch(apiservers: BTreeMap<String, Place>, credentials: &Credentials) -> anyhow::Result<Self> {
        let mut backends = Vec::new();
        for (name, place) in apiservers {
            let channel = credentials.channel(&place.address)?;
            let backend = Arc::new(Backend {
                name,
                member: watch::Sender::new(None),
                line: watch::Sender::new(None),
                given: Mutex::default(),
                numbers: AtomicU64::new(0),
            });
            tokio::spawn(probe(FlowClient::new(channel), backend.member.clone()));
            tokio::spawn(backend.clone().keep_line(place.handoff));
            tokio::spawn(backend.clone().close_when_lost());
            backends.push(backend);
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

/// Accepts connections until dropped.
pub async fn serve(listener: TcpListener, backends: Backends) {
    let turn = Arc::new(AtomicUsize::new(0));
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        match listener.accept().await.and_then(|(client, _)| client.into_std()) {
            Ok(stream) => {
                let given = Given { stream, _place: place };
                tokio::spawn(hand_over(given, backends.clone(), turn.fetch_add(1, Ordering::Relaxed)));
            }
            // Out of file descriptors: those in use will come free.
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Gives a connection to the apiserver that leads; to the others in turn while none does, or it cannot take it. Where there
/// is none, it is closed.
async fn hand_over(mut connection: Given, backends: Backends, turn: usize) {
    let count = backends.0.len();
    let in_turn = (0..count).map(|i| &backends.0[(turn + i) % count]);
    let mut live: Vec<_> = in_turn.filter(|backend| backend.lives()).collect();
    live.sort_by_key(|backend| !backend.leads());
    for backend in live {
        match backend.take(connection).await {
            Ok(()) => return,
            Err(back) => connection = back,
        }
    }
}
