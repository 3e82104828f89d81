//! A node: its object, its Lease, and the workers that keep its pods as they should be.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`registration`] | keeps the Node object registered and its status posted |
//! | [`object`] | what the Node object says (pure) |
//! | [`lease`] | the heartbeat |
//! | [`sync`] | one look at one pod: decide, act, report |
//! | [`start`] | starting containers: volumes, image, environment, events |
//! | [`pressure`] | how much memory is left, and evictions |
//! | [`static_pods`] | pods from manifests on the node |
//! | [`mount`] | volumes: where they are, and their files when somebody looks |
//! | [`attach`] | the volumes that pods claim, and tokens |
//! | [`hooks`] | what containers do after their start and before their end |
//! | [`end`] | the end of a pod |
//! | [`report`] | writing a pod's status |
//! | [`worker`] | what is kept of a pod between two looks |
//! | [`address`] | which pod addresses are taken (pure) |

pub mod address;
mod attach;
mod end;
mod hooks;
mod lease;
mod mount;
pub mod object;
mod pressure;
mod registration;
mod report;
mod start;
mod static_pods;
mod sync;
mod worker;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use ipnet::Ipv4Net;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node as NodeObject, Pod, Service};
use kubelab_client::{Cache, Client, Recorder, Scope, queue::Queue};
use tokio::{
    sync::{Notify, Semaphore, watch},
    task::JoinSet,
};

use self::{address::Pool, worker::Worker};
use crate::{
    pod::admission::Allocatable,
    runtime::{PodRef, Runtime},
    server::About,
    volumes::place::Places,
};

/// Pods worked on at the same time. Nothing that takes simulated time is waited for here, only the apiserver.
const WORKERS: usize = 16;

/// How soon a pod whose status could not be written is looked at again. Without an apiserver each try already takes the
/// client's deadline.
const RETRY: Duration = Duration::from_secs(1);

/// What a node is.
#[derive(Clone, Debug)]
pub struct Config {
    /// Its name.
    pub name: String,
    /// Its address.
    pub ip: IpAddr,
    /// Where it is served.
    pub port: u16,
    /// What it has.
    pub capacity: Allocatable,
    /// Its labels beside those that every node has.
    pub labels: BTreeMap<String, String>,
    /// Where manifests of static pods are: a folder or a file.
    pub manifests: Option<PathBuf>,
    /// Where volumes are that do not end with their pods.
    pub places: Places,
}

/// A mirror of all services, started when it is first asked for.
#[derive(Clone, Default)]
pub struct Services(Arc<OnceLock<Cache<Service>>>);

impl Services {
    /// The mirror, once it knows all.
    async fn known(&self, client: &Client) -> Vec<Arc<Service>> {
        let cache = self.0.get_or_init(|| Cache::start(client, Scope::default()));
        cache.synced().await;
        cache.list()
    }
}

/// A node. Several may live in one process.
pub struct Node {
    config: Config,
    client: Client,
    recorder: Recorder,
    runtime: Arc<dyn Runtime>,
    pods: Cache<Pod>,
    object: Cache<NodeObject>,
    object_changed: Arc<Notify>,
    /// Something happened to a static pod.
    static_changed: Arc<Notify>,
    /// Counts the changes of the object.
    changes: watch::Sender<u64>,
    services: Services,
    /// The attached volumes that are used here, and the uids of the pods that use them.
    in_use: Mutex<BTreeMap<String, BTreeSet<String>>>,
    queue: Queue<PodRef>,
    addresses: Mutex<Option<Pool>>,
    /// Held while a pod is let in.
    admitting: Mutex<()>,
    /// When the node was last seen to be short of memory.
    short_since: Mutex<Option<Timestamp>>,
    /// By the pod's uid.
    workers: Mutex<HashMap<String, Arc<Worker>>>,
    ready: watch::Sender<bool>,
}

impl Node {
    /// A node with this runtime; it does nothing until it is run.
    pub fn new(client: Client, config: Config, runtime: Arc<dyn Runtime>) -> Arc<Self> {
        Self::beside(&Services::default(), client, config, runtime)
    }

    /// A node that shares its mirror of services with others of its process.
    pub fn beside(services: &Services, client: Client, config: Config, runtime: Arc<dyn Runtime>) -> Arc<Self> {
        let client = client.with_agent("kubelet");
        let fields = |fields: String| Scope { fields, ..Scope::default() };
        Arc::new(Self {
            recorder: Recorder::new(&client, "kubelet", &config.name),
            pods: Cache::start(&client, fields(format!("spec.nodeName={}", config.name))),
            object: Cache::start(&client, fields(format!("metadata.name={}", config.name))),
            object_changed: Arc::new(Notify::new()),
            static_changed: Arc::new(Notify::new()),
            changes: watch::Sender::new(0),
            services: services.clone(),
            in_use: Mutex::default(),
            queue: Queue::new("pods"),
            addresses: Mutex::new(None),
            admitting: Mutex::default(),
            short_since: Mutex::default(),
            workers: Mutex::default(),
            ready: watch::Sender::new(false),
            config,
            client,
            runtime,
        })
    }

    /// Whether the node is registered and ready.
    pub fn ready(&self) -> watch::Receiver<bool> {
        self.ready.subscribe()
    }

    /// What others may know of the node.
    pub fn about(self: &Arc<Self>) -> About {
        let node = Arc::downgrade(self);
        About {
            name: self.config.name.clone(),
            capacity: self.config.capacity.clone(),
            pods: Arc::new(move || node.upgrade().map(|node| node.pods.list()).unwrap_or_default()),
        }
    }

    /// Runs the node until dropped.
    pub async fn run(self: Arc<Self>) {
        let queue = self.queue.clone();
        self.runtime.on_change(Box::new(move |pod| queue.add(pod.clone())));
        let node = Arc::downgrade(&self);
        self.runtime.on_look(Arc::new(move |pod, volume| {
            let node = node.upgrade();
            Box::pin(async move {
                if let Some(node) = node {
                    node.refresh(&pod, &volume).await;
                }
            })
        }));
        let (changed, changes) = (self.object_changed.clone(), self.changes.clone());
        self.object.on_change(move |_| {
            changed.notify_one();
            changes.send_modify(|count| *count += 1);
        });
        tokio::join!(
            self.keep_registered(),
            self.keep_lease(),
            self.keep_pods(),
            self.keep_memory(),
            self.keep_static_pods()
        );
    }

    /// Looks at each pod whenever something about it changes.
    async fn keep_pods(self: &Arc<Self>) {
        // A pod that the cache does not know is gone, but only once the cache knows all: containers from before a restart
        // must not be taken for orphans.
        self.pods.synced().await;
        let queue = self.queue.clone();
        self.pods.on_change(move |change| queue.add(PodRef::of(change.object())));
        self.runtime.pods().into_iter().for_each(|pod| self.queue.add(pod));
        // A task a pod rather than workers that wait, since most of many nodes have nothing to do at a time.
        let places = Arc::new(Semaphore::new(WORKERS));
        let mut looks = JoinSet::new();
        loop {
            let (pod, cause) = self.queue.next().await;
            let Ok(place) = places.clone().acquire_owned().await else { return };
            let node = self.clone();
            looks.spawn(async move {
                if let Err(error) = cause.scope(node.sync(&pod)).await {
                    tracing::debug!(%pod, %error, "will look at the pod again");
                    node.queue.add_after(pod.clone(), RETRY);
                }
                node.queue.done(&pod);
                drop(place);
            });
            while looks.try_join_next().is_some() {}
        }
    }

    /// Takes in the CIDR that the node was given for its pods. Says whether the node has a network.
    fn set_network(&self, cidr: Option<&str>) -> bool {
        let mut addresses = lock(&self.addresses);
        let network: Option<Ipv4Net> = cidr.and_then(|cidr| cidr.parse().ok());
        let Some(network) = network else {
            if let Some(cidr) = cidr {
                tracing::warn!(cidr, "the node's podCIDR is no IPv4 network: pods get no address");
            }
            return addresses.is_some();
        };
        if addresses.as_ref().is_none_or(|pool| pool.network() != network) {
            let sandboxes = self.runtime.pods().into_iter().filter_map(|pod| self.runtime.sandbox(&pod.uid));
            let taken = sandboxes.filter(|sandbox| !sandbox.released).map(|sandbox| sandbox.address);
            *addresses = Some(Pool::new(network, taken));
            drop(addresses);
            self.pods.list().iter().for_each(|pod| self.queue.add(PodRef::of(pod)));
        }
        true
    }

    fn worker(&self, uid: &str) -> Arc<Worker> {
        lock(&self.workers).entry(uid.to_owned()).or_default().clone()
    }
}

/// A panic ends the process, so no lock stays poisoned for long.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
