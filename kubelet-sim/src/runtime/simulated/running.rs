//! What runs in simulated containers: their own programs, and those that `exec` starts beside them.

use std::{
    net::IpAddr,
    path::PathBuf,
    sync::{Arc, Weak},
    time::Duration,
};

use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::{Container as ContainerSpec, Pod, PodSpec};
use kubelab_client::{Cause, clock};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::{Process, Room, Shared, ending::Timer};
use crate::{
    behavior::{Listener, OnTerminate, Run, command, foreign::Foreign, greeting, images, pi, plain},
    network,
    pod::identity::Identity,
    runtime::{Container, Mount, PodRef, console::Console, log::Log},
    shell::{
        files::Files,
        session::{self, Session},
        streams::{Fd, Output},
        traps::Signals,
        world::{Past, Signal, World},
    },
};

/// What every image has.
const FOLDERS: [&str; 10] = ["/bin", "/dev", "/etc", "/home", "/proc", "/root", "/sys", "/tmp", "/usr", "/var"];

/// How long a program that has ended may still take to say its last words.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// What is kept of a container's spec for as long as it runs.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Setup {
    hostname: String,
    working_dir: String,
    #[serde(default)]
    volumes: Vec<Mount>,
    #[serde(default)]
    read_only: bool,
    /// What it runs; empty for what the image does by itself.
    command: Vec<String>,
    /// The shell runs it.
    #[serde(default)]
    is_played: bool,
    #[serde(default)]
    pub(super) foreign: Foreign,
    stdin: bool,
    pub(super) stdin_once: bool,
    /// Where it may say why it ends.
    #[serde(default)]
    pub(super) message_path: String,
    /// Otherwise the end of its log says so.
    #[serde(default)]
    pub(super) message_from_log: bool,
    tty: bool,
    /// `/etc/hosts` and `/etc/resolv.conf`.
    #[serde(default)]
    hosts: String,
    #[serde(default)]
    resolv_conf: String,
    #[serde(default)]
    identity: Identity,
    #[serde(default)]
    pub(super) service_account: String,
    /// What its own program is told.
    #[serde(default)]
    pub(super) arguments: Vec<String>,
}

impl Setup {
    pub(super) fn of(pod: &Pod, spec: &ContainerSpec, address: IpAddr, volumes: Vec<Mount>) -> Self {
        let pod_spec = pod.spec.as_ref();
        let hostname = pod_spec.and_then(|spec| spec.hostname.clone()).or_else(|| pod.metadata.name.clone());
        let security = spec.security_context.as_ref();
        let command = command::words(spec);
        let stdin = spec.stdin == Some(true);
        let hostname = hostname.unwrap_or_default();
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let default_spec = PodSpec::default();
        let whole = pod_spec.unwrap_or(&default_spec);
        Self {
            hosts: network::files::hosts(whole, &address.to_string(), &hostname, namespace),
            resolv_conf: network::files::resolv_conf(whole, namespace),
            identity: Identity::of(pod, spec),
            service_account: whole.service_account_name.clone().unwrap_or_else(|| "default".to_owned()),
            arguments: spec.args.clone().unwrap_or_default(),
            hostname,
            working_dir: spec.working_dir.clone().filter(|folder| !folder.is_empty()).unwrap_or_else(|| "/".to_owned()),
            volumes,
            read_only: security.and_then(|security| security.read_only_root_filesystem) == Some(true),
            is_played: command::is_played(&command) && (stdin || plain::run(&command).is_none()),
            command,
            foreign: Foreign::of(pod, spec),
            message_path: spec.termination_message_path.clone().unwrap_or_else(|| "/dev/termination-log".to_owned()),
            message_from_log: spec.termination_message_policy.as_deref() == Some("FallbackToLogsOnError"),
            stdin,
            stdin_once: spec.stdin_once == Some(true),
            tty: spec.tty == Some(true),
        }
    }
}

/// A container's own program, while it runs. Dropped, it is gone.
#[derive(Default)]
pub(super) struct Program {
    /// Ends with it.
    _task: Timer,
    done: Option<watch::Receiver<bool>>,
    world: Weak<World>,
}

impl Program {
    /// SIGTERM.
    pub(super) fn terminate(&self) {
        if let Some(world) = self.world.upgrade() {
            world.signals.terminate();
        }
    }

    /// Nobody waits for its last words: it is killed.
    pub(super) fn silence(&mut self) {
        self.done = None;
    }

    /// Tells when it has said all it has to say.
    pub(super) fn last_words(&self) -> Option<impl Future<Output = ()> + Send + 'static> {
        let mut done = self.done.clone()?;
        Some(async move {
            tokio::select! {
                _ = done.wait_for(|done| *done) => {}
                () = clock::sleep(LAST_WORDS) => {}
            }
        })
    }
}

impl Room {
    /// The running container with this name, and its process.
    pub(super) fn running(&self, name: &str) -> Option<(&Container, &Process)> {
        let container = self.sandbox.latest(name)?;
        Some((container, self.processes.get(&container.id)?))
    }
}

impl Shared {
    /// Where a run's log is, laid out as the kubelet does below `/var/log/pods`.
    pub(super) fn log_path(&self, pod: &PodRef, container: &Container) -> PathBuf {
        let attempt = format!("{}.log", container.attempt);
        self.log_folder(pod).join(&container.name).join(attempt)
    }

    pub(super) fn log_folder(&self, pod: &PodRef) -> PathBuf {
        self.folder.join("logs").join(format!(
            "{}_{}_{}",
            plain_name(&pod.namespace),
            plain_name(&pod.name),
            plain_name(&pod.uid)
        ))
    }

    /// Where a container's own files are.
    pub(super) fn container_folder(&self, uid: &str, name: &str) -> PathBuf {
        self.files_folder(uid).join("containers").join(plain_name(name))
    }

    /// Why a container whose program is not in its image cannot be started, in the words of runc and containerd.
    pub(super) fn cannot_start(
        self: &Arc<Self>,
        pod: &PodRef,
        address: IpAddr,
        container: &Container,
        process: &Process,
    ) -> Option<String> {
        let program = process.setup.command.first()?;
        let why = if program.contains('/') {
            let world = self.world(pod, address, container, process, true, Arc::default());
            let path = crate::shell::files::normalize(&world.working_dir, program);
            match world.files.about(&path) {
                Ok(about) if about.is_dir() => "is a directory: permission denied".to_owned(),
                Ok(_) => return None,
                Err(_) => format!("stat {program}: no such file or directory"),
            }
        } else {
            "executable file not found in $PATH".to_owned()
        };
        Some(format!(
            "failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: \
             unable to start container process: error during container init: exec: {program:?}: {why}"
        ))
    }

    /// Where a pod's files are.
    pub(super) fn files_folder(&self, uid: &str) -> PathBuf {
        self.folder.join("files").join(plain_name(uid))
    }

    /// Opens a container's console, and lets it do what it does. `past` is how long it has run before.
    pub(super) fn begin(self: &Arc<Self>, pod: &PodRef, address: IpAddr, container: &Container, process: &mut Process) {
        let console = Arc::new(Console::new(Log::open(self.log_path(pod, container))));
        process.console = Some(console.clone());
        self.begin_add_on(pod, address, container, process);
        let past = clock::now_micro().0.duration_since(container.started_at.0).unsigned_abs();
        let is_new = past < Duration::from_secs(1);
        let setup = process.setup.clone();
        let decides = process.behavior.run == Run::Program;
        if !setup.is_played && !decides {
            if is_new && setup.command.is_empty() {
                for line in greeting::lines(&container.image, container.started_at.0) {
                    console.write(Fd::Stdout, format!("{line}\n").as_bytes());
                }
            } else if let Some(text) = pi::printed(&setup.command).filter(|_| is_new) {
                console.write(Fd::Stdout, text.as_bytes());
            }
            return;
        }
        // Who typed to it is gone.
        let past = if is_new || setup.stdin { Past::default() } else { Past::new(past) };
        let world = Arc::new(self.world(pod, address, container, process, true, Arc::new(past)));
        let signals = Arc::downgrade(&world);
        let stdin = setup.stdin.then(|| console.open_stdin());
        let output = |fd| Output::Console(console.clone(), fd, world.past.clone());
        let session = Session {
            command: setup.command.clone(),
            tty: setup.tty,
            stdin,
            stdout: output(Fd::Stdout),
            stderr: output(Fd::Stderr),
        };
        drop(console);
        let (tell, done) = watch::channel(false);
        let shared = Arc::downgrade(self);
        let (pod, id) = (pod.clone(), container.id.clone());
        let cause = Cause::current();
        let task = tokio::spawn(async move {
            let status = session::run(world, session).await;
            tell.send_replace(true);
            if decides && let Some(shared) = shared.upgrade() {
                cause.sync_scope(|| shared.exit(&pod, &id, status));
            }
        });
        process.program = Program { _task: Timer(Some(task.abort_handle())), done: Some(done), world: signals };
    }

    /// A container's program has ended by itself.
    fn exit(self: &Arc<Self>, pod: &PodRef, id: &str, status: i32) {
        let mut state = self.lock();
        let Some(room) = state.pods.get_mut(&pod.uid) else { return };
        if let Some(process) = room.processes.get_mut(id) {
            process.end_at(self, pod, id, clock::now_micro().0, status);
        }
    }

    /// A container's files.
    pub(super) fn files(self: &Arc<Self>, pod: &PodRef, container: &str, setup: &Setup) -> Files {
        let (shared, of) = (Arc::downgrade(self), pod.clone());
        let refresh = move |volume| -> BoxFuture<'static, ()> {
            match shared.upgrade().and_then(|shared| shared.refresh.get().cloned()) {
                Some(refresh) => refresh(of.clone(), volume),
                None => Box::pin(std::future::ready(())),
            }
        };
        let root = self.container_folder(&pod.uid, container);
        Files::with_mounts(root, setup.volumes.clone(), setup.read_only, Box::new(refresh))
    }

    /// What programs in a container see.
    pub(super) fn world(
        self: &Arc<Self>,
        pod: &PodRef,
        address: IpAddr,
        container: &Container,
        process: &Process,
        is_own: bool,
        past: Arc<Past>,
    ) -> World {
        let setup = &process.setup;
        let files = self.files(pod, &container.name, setup);
        let hostname = &setup.hostname;
        let about = [
            ("/etc/hostname", format!("{hostname}\n")),
            ("/etc/hosts", setup.hosts.clone()),
            ("/etc/resolv.conf", setup.resolv_conf.clone()),
            ("/etc/passwd", "root:x:0:0:root:/root:/bin/sh\n".to_owned()),
        ];
        if let Err(error) = files.prepare(&FOLDERS, &about) {
            tracing::warn!(%pod, %error, "cannot make a container's files");
        }
        let (shared, target, id) = (Arc::downgrade(self), pod.clone(), container.id.clone());
        let signal = move |signal| {
            if let Some(shared) = shared.upgrade() {
                shared.signal(&target, &id, signal);
            }
        };
        let (shared, target, id) = (Arc::downgrade(self), pod.clone(), container.id.clone());
        let listen = move |ports: &[Listener]| {
            if let Some(shared) = shared.upgrade()
                && let Some(room) = shared.lock().pods.get_mut(&target.uid)
                && let Some(process) = room.processes.get_mut(&id)
            {
                process.behavior.listens = ports.to_vec();
            }
        };
        let (shared, target) = (Arc::downgrade(self), pod.uid.clone());
        let accept = move |port| shared.upgrade()?.lock().pods.get_mut(&target)?.listen(port);
        let command = if setup.command.is_empty() { container.image.clone() } else { setup.command.join(" ") };
        World {
            files,
            hostname: hostname.clone(),
            address: address.to_string(),
            network: self.network(pod, address),
            identity: setup.identity.clone(),
            env: process.env.clone(),
            working_dir: setup.working_dir.clone(),
            userland: images::userland(&container.image),
            command,
            signal: Box::new(signal),
            foreign: setup.foreign.clone(),
            is_own,
            signals: Signals::default(),
            listen: Box::new(listen),
            accept: Box::new(accept),
            past,
        }
    }

    /// A signal to a container's first process from within: without a handler it does nothing.
    fn signal(self: &Arc<Self>, pod: &PodRef, id: &str, signal: Signal) {
        let mut state = self.lock();
        let Some(room) = state.pods.get_mut(&pod.uid) else { return };
        let Some(process) = room.processes.get_mut(id) else { return };
        if signal == Signal::Term {
            process.program.terminate();
        }
        if let (Signal::Term, OnTerminate::Exit { after, code }) = (signal, process.behavior.on_terminate) {
            process.end_at(self, pod, id, clock::now_micro().0 + after, code);
        }
    }
}

/// A name that leads to no other folder.
fn plain_name(name: &str) -> String {
    name.chars().filter(|c| c.is_ascii_alphanumeric() || "-.".contains(*c)).collect::<String>().replace("..", "")
}
