//! Where containers live: what the kubelet asks of a container runtime. It is shaped after the Container Runtime
//! Interface, so the kubelet's logic does not know that its containers are simulated.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`simulated`] | the default: containers that only behave |
//! | [`checkpoint`] | the files that let them outlive a kubelet |
//! | [`http`], [`agnhost`], [`health`], [`redis`] | what a container that listens answers |
//! | [`tls`] | its certificate |
//! | [`mount`] | what a container's file system shows of the node's |
//! | [`site`] | the files that it serves, if it has any |
//! | [`console`], [`log`] | what a container's program is connected to, and what is kept of what it wrote |

pub mod agnhost;
pub mod checkpoint;
pub mod console;
pub mod health;
pub mod http;
pub mod log;
pub mod mount;
pub mod redis;
pub mod simulated;
pub mod site;
pub mod tls;

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use futures::future::BoxFuture;
use k8s_openapi::{
    api::core::v1::{Container as ContainerSpec, Pod},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use serde::{Deserialize, Serialize};
use tokio::{
    io::DuplexStream,
    sync::{broadcast, mpsc},
};

pub use mount::Mount;
pub use simulated::Simulated;

use crate::{
    network::{Dialer, Protocol},
    probe::{Answer, Check},
    shell::{session::Session, streams::Chunk},
};

/// Which pod. A name can come again, a uid cannot.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PodRef {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
}

impl PodRef {
    /// A pod's.
    pub fn of(pod: &Pod) -> Self {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let meta = &pod.metadata;
        Self { namespace: text(&meta.namespace), name: text(&meta.name), uid: text(&meta.uid) }
    }
}

impl std::fmt::Display for PodRef {
    /// As upstream's messages write it: `web_default(4f6a…)`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}_{}({})", self.name, self.namespace, self.uid)
    }
}

/// What the runtime has of a pod: its network and its containers, dead ones too.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Sandbox {
    /// Whose.
    pub pod: PodRef,
    /// The pod's address.
    pub address: IpAddr,
    /// It has given its address up: all is over.
    pub released: bool,
    /// Oldest first. Of each name, the latest and the one before are kept.
    pub containers: Vec<Container>,
}

impl Sandbox {
    /// The latest container with this name.
    pub fn latest(&self, name: &str) -> Option<&Container> {
        self.containers.iter().rfind(|container| container.name == name)
    }

    /// The same, unless all containers have been started anew since.
    pub fn current(&self, name: &str) -> Option<&Container> {
        self.latest(name).filter(|container| !container.retired)
    }

    /// How the one before the latest with this name ended.
    pub fn previous(&self, name: &str) -> Option<&Container> {
        self.containers.iter().filter(|container| container.name == name).rev().nth(1)
    }

    /// Whether any container runs.
    pub fn is_running(&self) -> bool {
        self.containers.iter().any(Container::is_running)
    }
}

/// One run of a container.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Container {
    /// 64 hexadecimal digits.
    pub id: String,
    /// As in the pod's spec.
    pub name: String,
    /// How many runs were before.
    pub attempt: u32,
    /// The image as the spec names it.
    pub image: String,
    /// The image as a runtime names it.
    pub full_image: String,
    /// The image by its content.
    pub image_id: String,
    /// When it was started.
    pub started_at: MicroTime,
    /// How it ended, if it has.
    pub exit: Option<Exit>,
    /// All containers of its pod are started anew; it is remembered only for its successor's sake.
    #[serde(default)]
    pub retired: bool,
}

impl Container {
    /// Whether it has not ended.
    pub fn is_running(&self) -> bool {
        self.exit.is_none()
    }
}

/// How a container ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// 0 is well.
    pub code: i32,
    /// When.
    pub finished_at: MicroTime,
    /// The reason, where the code alone does not tell it: `OOMKilled`, `StartError`.
    #[serde(default)]
    pub reason: Option<String>,
    /// What there is to say of it.
    #[serde(default)]
    pub message: Option<String>,
}

impl Exit {
    /// The reason that container runtimes give. Source: containerd's CRI plugin.
    pub fn reason(&self) -> &str {
        self.reason.as_deref().unwrap_or(if self.code == 0 { "Completed" } else { "Error" })
    }
}

/// An image that is on the node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// As a runtime names it.
    pub name: String,
    /// By its content.
    pub id: String,
    /// How large, in bytes.
    pub size: u64,
}

/// What a container uses of its node now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Billionths of a CPU.
    pub cpu_nanocores: u64,
    /// Bytes of memory.
    pub memory_bytes: u64,
}

/// What a container is started from.
#[derive(Clone, Debug)]
pub struct Launch {
    /// Its pod.
    pub pod: Arc<Pod>,
    /// Its part of the pod's spec.
    pub container: ContainerSpec,
    /// How many runs were before.
    pub attempt: u32,
    /// Its environment, resolved.
    pub env: Vec<(String, String)>,
    /// Its volumes.
    pub mounts: Vec<Mount>,
}

/// A connection that somebody makes to what listens in a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dial {
    /// Where to.
    pub to: SocketAddr,
    /// Where from, as far as that is known.
    pub from: Option<IpAddr>,
    /// What is spoken.
    pub protocol: Protocol,
}

impl From<SocketAddr> for Dial {
    /// TCP, from somewhere.
    fn from(to: SocketAddr) -> Self {
        Self { to, from: None, protocol: Protocol::Tcp }
    }
}

/// Why nothing answers at an address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DialError {
    /// The pod is here, but listens elsewhere.
    #[error("dial tcp {0}: connect: connection refused")]
    Refused(SocketAddr),
    /// No such pod here.
    #[error("dial tcp {0}: connect: no route to host")]
    NoRoute(SocketAddr),
}

/// There is no such container, or it does not run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("container not found ({0:?})")]
pub struct NoContainer(pub String);

/// Why a container does not run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// Its program could not be started: the container is there, and has ended.
    #[error("{0}")]
    Program(String),
    /// The pod was removed meanwhile.
    #[error("the pod's sandbox is gone")]
    NoSandbox,
}

/// What somebody who is attached to a container's own program sees of it.
pub struct Attached {
    /// What it writes from now on; ends with it.
    pub output: broadcast::Receiver<Chunk>,
    /// What it reads, if it has an input that is open.
    pub stdin: Option<mpsc::Sender<Bytes>>,
}

/// A container runtime. Nothing here blocks; what takes time is a future, or is told to the listener when it happens.
pub trait Runtime: Send + Sync + 'static {
    /// Calls `listener` whenever a container of a pod ended by itself or because it was stopped.
    fn on_change(&self, listener: Box<dyn Fn(&PodRef) + Send + Sync>);
    /// Calls `refresh` before a program looks into a volume that says so, and waits for it.
    fn on_look(&self, refresh: mount::Refresh);

    /// What makes no sense in what a pod asks of this runtime, for its owner to read.
    fn check(&self, pod: &Pod) -> Vec<String>;

    /// All pods here.
    fn pods(&self) -> Vec<PodRef>;
    /// What is here of a pod.
    fn sandbox(&self, uid: &str) -> Option<Arc<Sandbox>>;
    /// Makes room for a pod.
    fn create(&self, pod: PodRef, address: IpAddr);
    /// Takes in what has changed about a pod that is here.
    fn update(&self, pod: &Pod);
    /// Takes in what is known of a run that nothing is left of here.
    fn remember(&self, uid: &str, run: Container);
    /// Begins anew: what these containers of a pod have run until now does not count any more.
    fn retire(&self, uid: &str, names: &[String]);
    /// Takes a pod's address from it: nothing will run there any more.
    fn release(&self, uid: &str);
    /// Forgets a pod; what still runs is killed.
    fn remove(&self, uid: &str);

    /// The images on the node, the largest first.
    fn images(&self) -> Vec<Image>;
    /// An image, if it is here.
    fn image(&self, name: &str) -> Option<Image>;
    /// Fetches an image for a container; or the registry's error.
    fn pull<'a>(&'a self, pod: &'a Pod, container: &'a ContainerSpec) -> BoxFuture<'a, Result<Image, String>>;

    /// Starts a container in a pod that was created. Dropped, it has not started.
    fn start(&self, launch: Launch) -> BoxFuture<'_, Result<(), StartError>>;
    /// Asks a container to end (SIGTERM) and kills it after `grace`. Asked again with less, it ends sooner.
    fn stop(&self, uid: &str, id: &str, grace: Duration);
    /// Asks a container how it is.
    fn probe<'a>(&'a self, uid: &'a str, id: &'a str, check: &'a Check) -> BoxFuture<'a, Answer>;
    /// What a pod's container uses now; `None` if it does not run.
    fn usage(&self, uid: &str, container: &str) -> Option<Usage>;
    /// What one run of a container has written; with `follow` until it ends. `None` if nothing is kept of that run.
    fn logs(&self, uid: &str, id: &str, wanted: log::Wanted, follow: bool) -> Option<mpsc::Receiver<Bytes>>;
    /// Runs a program beside a container's own, to its exit status. Dropped, it is killed.
    fn exec(&self, uid: &str, name: &str, session: Session) -> Result<BoxFuture<'static, i32>, NoContainer>;
    /// Where a pod's volumes are on the node.
    fn volumes(&self, uid: &str) -> PathBuf;
    /// Connects to a container's own program.
    fn attach(&self, uid: &str, name: &str) -> Result<Attached, NoContainer>;
    /// Somebody who was attached, and could type, has left.
    fn detach(&self, uid: &str, name: &str);
    /// The network as the node itself sees it.
    fn network(&self) -> Arc<dyn Dialer>;
    /// A connection to what listens at an address.
    fn dial(&self, dial: Dial) -> Result<DuplexStream, DialError>;
}

#[cfg(test)]
mod tests;
