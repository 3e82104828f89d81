//! The default runtime: containers that do nothing but behave. A container that runs until it is stopped costs an entry
//! in a table; one that will end costs a timer.

pub mod add_on;
mod dial;
mod ending;
mod network;
mod probing;
mod running;
mod starting;

use std::{
    collections::{BTreeMap, HashMap},
    io,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::{Container as ContainerSpec, Pod};
use kubelab_client::clock;
use serde::{Deserialize, Serialize};
use tokio::{io::DuplexStream, sync::mpsc, task::JoinSet};

pub use self::add_on::Outside;
use self::{
    ending::{End, KILLED, Timer},
    running::{Program, Setup},
};
use super::{
    Attached, Container, Dial, DialError, Image, Launch, NoContainer, PodRef, Runtime, Sandbox, StartError, Usage,
    agnhost::Told, checkpoint::Checkpoint, console::Console, log, mount::Refresh,
};
use crate::{
    behavior::{Behavior, OnTerminate, Protocol, annotations, file::Rules, images},
    network::Dialer,
    probe::{Answer, Check},
    shell::{
        session::{self, Session},
        world::Past,
    },
};

/// Connections that wait for a program of a shell to take them.
const BACKLOG: usize = 16;

type Listener = Box<dyn Fn(&PodRef) + Send + Sync>;

/// The simulated runtime. Cheap to clone.
#[derive(Clone)]
pub struct Simulated {
    shared: Arc<Shared>,
}

struct Shared {
    node: String,
    /// Multiplies the time that pulls and starts take.
    delays: f64,
    /// What the behaviour file says.
    rules: Arc<Rules>,
    checkpoint: Checkpoint,
    /// What the node gives of the world outside; nothing in tests.
    outside: Option<Outside>,
    /// Where logs and files of containers are.
    folder: PathBuf,
    listener: OnceLock<Listener>,
    refresh: OnceLock<Refresh>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    pods: HashMap<String, Room>,
    images: BTreeMap<String, Image>,
}

/// A pod's containers. This is also what is kept in its file.
#[derive(Serialize, Deserialize)]
struct Room {
    sandbox: Arc<Sandbox>,
    /// What runs, by container id.
    processes: BTreeMap<String, Process>,
    /// The ports that programs of shells listen on.
    #[serde(skip)]
    ears: Ears,
}

/// Who takes the connections to a port; gone once the program does not listen any more.
type Ears = HashMap<u16, mpsc::Sender<DuplexStream>>;

#[derive(Serialize, Deserialize)]
struct Process {
    behavior: Behavior,
    env: Vec<(String, String)>,
    #[serde(default)]
    setup: Setup,
    end: Option<End>,
    #[serde(skip)]
    timer: Timer,
    /// Ends it when it needs more memory than it may have.
    #[serde(skip)]
    out_of_memory: Timer,
    #[serde(skip)]
    console: Option<Arc<Console>>,
    #[serde(skip)]
    program: Program,
    #[serde(skip)]
    add_on: add_on::Running,
    #[serde(skip)]
    connections: JoinSet<()>,
    /// What somebody has told it to say of its health.
    #[serde(skip)]
    told: Arc<Told>,
}

impl Simulated {
    /// A runtime for a node, with the containers that it had before it was restarted. `delays` multiplies the time that
    /// pulls and starts take; `rules` are those of the behaviour file.
    pub fn open(node: &str, folder: &Path, delays: f64, rules: Arc<Rules>) -> io::Result<Self> {
        Self::open_with(node, folder, delays, rules, None)
    }

    /// The same, with a world outside: the API for add-ons, and the pod network.
    pub fn open_with(
        node: &str,
        folder: &Path,
        delays: f64,
        rules: Arc<Rules>,
        outside: Option<Outside>,
    ) -> io::Result<Self> {
        let checkpoint = Checkpoint::open(folder)?;
        let mut state = State { images: checkpoint.images().unwrap_or_default(), ..State::default() };
        for room in checkpoint.pods::<Room>()? {
            state.pods.insert(room.sandbox.pod.uid.clone(), room);
        }
        let node = node.to_owned();
        let folder = folder.to_owned();
        let (listener, refresh, state) = (OnceLock::new(), OnceLock::new(), Mutex::new(state));
        let shared = Shared { node, delays, rules, checkpoint, outside, folder, listener, refresh, state };
        let runtime = Self { shared: Arc::new(shared) };
        runtime.adopt();
        Ok(runtime)
    }

    /// Goes on with containers from before the restart; those whose time has come meanwhile have ended then.
    fn adopt(&self) {
        let mut state = self.shared.lock();
        for room in state.pods.values_mut() {
            let Room { sandbox, processes, .. } = room;
            let address = sandbox.address;
            for (id, process) in processes.iter_mut() {
                if let Some(container) = sandbox.containers.iter().find(|container| container.id == *id) {
                    self.shared.begin(&sandbox.pod, address, container, process);
                }
                if let Some(end) = process.end.clone() {
                    process.timer = self.shared.timer(&sandbox.pod, id, end.at.0, &process.program);
                }
                if let Some(container) = sandbox.containers.iter().find(|container| container.id == *id) {
                    process.watch_memory(&self.shared, &sandbox.pod, container);
                }
            }
        }
    }

    fn delay(&self, time: Duration) -> Duration {
        time.mul_f64(self.shared.delays)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is consistent between any two of its changes, so a panic elsewhere does not spoil it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Process {
    /// Whether its own program is one that talks to the API.
    fn is_add_on(&self) -> bool {
        self.behavior.listens.iter().any(|listener| listener.protocol == Protocol::AddOn)
    }

    fn listens(&self, port: u16) -> Option<Protocol> {
        self.behavior.listens.iter().find(|listener| listener.port == port).map(|listener| listener.protocol)
    }
}

impl Room {
    /// The process that listens on a port, and its container: a pod's containers share its network.
    fn listener(&mut self, port: u16) -> Option<(&Container, &mut Process, Protocol)> {
        let (id, process) = self.processes.iter_mut().find(|(_, process)| process.listens(port).is_some())?;
        let protocol = process.listens(port)?;
        let container = self.sandbox.containers.iter().find(|container| container.id == *id)?;
        Some((container, process, protocol))
    }

    /// Listens on a port, unless somebody does.
    fn listen(&mut self, port: u16) -> Option<mpsc::Receiver<DuplexStream>> {
        self.ears.retain(|_, ear| !ear.is_closed());
        if self.ears.contains_key(&port) || self.listener(port).is_some() {
            return None;
        }
        let (ear, connections) = mpsc::channel(BACKLOG);
        self.ears.insert(port, ear);
        Some(connections)
    }

    /// Keeps, of each name, the latest run and the one before.
    fn forget_old_runs(&mut self, shared: &Shared) {
        let latest: HashMap<String, u32> =
            self.sandbox.containers.iter().map(|container| (container.name.clone(), container.attempt)).collect();
        let pod = self.sandbox.pod.clone();
        Arc::make_mut(&mut self.sandbox).containers.retain(|container| {
            let stays = container.attempt + 1 >= latest[&container.name];
            if !stays {
                let log = shared.log_path(&pod, container);
                for file in [log.with_extension("log.1"), log] {
                    std::fs::remove_file(file).ok();
                }
            }
            stays
        });
    }
}

impl Runtime for Simulated {
    fn on_change(&self, listener: Listener) {
        if self.shared.listener.set(listener).is_err() {
            tracing::warn!("a runtime has one listener; a second one was dropped");
        }
    }

    fn on_look(&self, refresh: Refresh) {
        if self.shared.refresh.set(refresh).is_err() {
            tracing::warn!("a runtime has one that brings volumes up to date; a second one was dropped");
        }
    }

    fn volumes(&self, uid: &str) -> PathBuf {
        self.shared.files_folder(uid).join("volumes")
    }

    fn check(&self, pod: &Pod) -> Vec<String> {
        annotations::check(pod).iter().map(ToString::to_string).collect()
    }

    fn pods(&self) -> Vec<PodRef> {
        self.shared.lock().pods.values().map(|room| room.sandbox.pod.clone()).collect()
    }

    fn sandbox(&self, uid: &str) -> Option<Arc<Sandbox>> {
        self.shared.lock().pods.get(uid).map(|room| room.sandbox.clone())
    }

    fn create(&self, pod: PodRef, address: IpAddr) {
        let uid = pod.uid.clone();
        let room = Room {
            sandbox: Arc::new(Sandbox { pod, address, released: false, containers: Vec::new() }),
            processes: BTreeMap::new(),
            ears: Ears::new(),
        };
        self.shared.checkpoint.save_pod(&uid, &room);
        self.shared.lock().pods.insert(uid, room);
    }

    fn update(&self, pod: &Pod) {
        let uid = pod.metadata.uid.as_deref().unwrap_or_default();
        let mut state = self.shared.lock();
        let Some(room) = state.pods.get_mut(uid) else { return };
        let mut changed = false;
        let specs =
            pod.spec.iter().flat_map(|spec| spec.containers.iter().chain(spec.init_containers.iter().flatten()));
        for spec in specs {
            let Some(id) = room.sandbox.latest(&spec.name).map(|container| &container.id) else { continue };
            if let Some(process) = room.processes.get_mut(id) {
                let Behavior { health, usage, .. } = Behavior::of(pod, spec, &self.shared.rules);
                changed |= process.behavior.health != health || process.behavior.usage != usage;
                process.behavior.health = health;
                if process.behavior.usage != usage {
                    process.behavior.usage = usage;
                    if let Some(container) = room.sandbox.containers.iter().find(|container| container.id == *id) {
                        process.watch_memory(&self.shared, &room.sandbox.pod, container);
                    }
                }
            }
        }
        if changed {
            self.shared.checkpoint.save_pod(uid, room);
        }
    }

    fn remember(&self, uid: &str, run: Container) {
        let mut state = self.shared.lock();
        if let Some(room) = state.pods.get_mut(uid) {
            Arc::make_mut(&mut room.sandbox).containers.push(run);
            self.shared.checkpoint.save_pod(uid, room);
        }
    }

    fn retire(&self, uid: &str, names: &[String]) {
        let mut state = self.shared.lock();
        if let Some(room) = state.pods.get_mut(uid) {
            let runs = Arc::make_mut(&mut room.sandbox).containers.iter_mut();
            runs.filter(|run| !run.is_running() && names.contains(&run.name)).for_each(|run| run.retired = true);
            self.shared.checkpoint.save_pod(uid, room);
        }
    }

    fn release(&self, uid: &str) {
        let mut state = self.shared.lock();
        if let Some(room) = state.pods.get_mut(uid).filter(|room| !room.sandbox.released) {
            Arc::make_mut(&mut room.sandbox).released = true;
            self.shared.checkpoint.save_pod(uid, room);
        }
    }

    fn remove(&self, uid: &str) {
        let room = self.shared.lock().pods.remove(uid);
        self.shared.checkpoint.remove_pod(uid);
        if let Some(room) = room {
            for folder in [self.shared.log_folder(&room.sandbox.pod), self.shared.files_folder(uid)] {
                std::fs::remove_dir_all(folder).ok();
            }
        }
    }

    fn images(&self) -> Vec<Image> {
        let mut images: Vec<Image> = self.shared.lock().images.values().cloned().collect();
        images.sort_by(|a, b| b.size.cmp(&a.size).then_with(|| a.name.cmp(&b.name)));
        images
    }

    fn image(&self, name: &str) -> Option<Image> {
        self.shared.lock().images.get(&images::normalized(name)).cloned()
    }

    fn pull<'a>(&'a self, pod: &'a Pod, container: &'a ContainerSpec) -> BoxFuture<'a, Result<Image, String>> {
        Box::pin(self.pull_image(pod, container))
    }

    fn start(&self, launch: Launch) -> BoxFuture<'_, Result<(), StartError>> {
        Box::pin(self.start_container(launch))
    }

    fn stop(&self, uid: &str, id: &str, grace: Duration) {
        let mut state = self.shared.lock();
        let Some(room) = state.pods.get_mut(uid) else { return };
        let Some(process) = room.processes.get_mut(id) else { return };
        let (after, code) = match process.behavior.on_terminate {
            OnTerminate::Exit { after, code } if after <= grace => (after, code),
            OnTerminate::Exit { .. } | OnTerminate::Ignore => (grace, KILLED),
        };
        // Without any time it is killed outright.
        if !grace.is_zero() {
            process.program.terminate();
        }
        process.program.silence();
        let at = clock::now_micro().0 + after;
        process.end_at(&self.shared, &room.sandbox.pod, id, at, code);
        self.shared.checkpoint.save_pod(uid, room);
    }

    fn probe<'a>(&'a self, uid: &'a str, id: &'a str, check: &'a Check) -> BoxFuture<'a, Answer> {
        Box::pin(self.answer(uid, id, check))
    }

    fn usage(&self, uid: &str, container: &str) -> Option<Usage> {
        let state = self.shared.lock();
        let (container, process) = state.pods.get(uid)?.running(container)?;
        let uptime = clock::now_micro().0.duration_since(container.started_at.0).unsigned_abs();
        let (cpu_nanocores, memory_bytes) = process.behavior.usage.at(uptime);
        Some(Usage { cpu_nanocores, memory_bytes })
    }

    fn logs(&self, uid: &str, id: &str, wanted: log::Wanted, follow: bool) -> Option<mpsc::Receiver<Bytes>> {
        let state = self.shared.lock();
        let room = state.pods.get(uid)?;
        let container = room.sandbox.containers.iter().find(|container| container.id == id)?;
        let console = room.processes.get(id).and_then(|process| process.console.as_ref());
        if let Some(console) = console {
            console.log().flush();
        }
        let changes = console.filter(|_| follow).map(|console| console.log().follow());
        Some(log::read(self.shared.log_path(&room.sandbox.pod, container), wanted, changes))
    }

    fn exec(&self, uid: &str, name: &str, session: Session) -> Result<BoxFuture<'static, i32>, NoContainer> {
        let state = self.shared.lock();
        let room = state.pods.get(uid).ok_or_else(|| NoContainer(name.to_owned()))?;
        let (container, process) = room.running(name).ok_or_else(|| NoContainer(name.to_owned()))?;
        let past = Arc::new(Past::default());
        let world = self.shared.world(&room.sandbox.pod, room.sandbox.address, container, process, false, past);
        Ok(Box::pin(session::run(Arc::new(world), session)))
    }

    fn attach(&self, uid: &str, name: &str) -> Result<Attached, NoContainer> {
        let state = self.shared.lock();
        let running = state.pods.get(uid).and_then(|room| room.running(name));
        let console = running.and_then(|(_, process)| process.console.as_ref());
        let console = console.ok_or_else(|| NoContainer(name.to_owned()))?;
        Ok(Attached { output: console.attach(), stdin: console.stdin() })
    }

    fn detach(&self, uid: &str, name: &str) {
        let state = self.shared.lock();
        if let Some((_, process)) = state.pods.get(uid).and_then(|room| room.running(name))
            && process.setup.stdin_once
            && let Some(console) = &process.console
        {
            console.close_stdin();
        }
    }

    fn network(&self) -> Arc<dyn Dialer> {
        self.shared.node_network()
    }

    fn dial(&self, dial: Dial) -> Result<DuplexStream, DialError> {
        self.shared.dial(dial)
    }
}
