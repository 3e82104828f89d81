//! Keeps a lab's processes as they should be: starts them, starts them again when they die by themselves, and carries
//! out what `kubelab kill`, `pause`, `add node`, … ask for. It also holds the front door.
//!
//! One task owns all of it ([`Supervisor::run`]); commands and exits reach it through bounded channels, what was seen of
//! the lab through a watch channel.

pub mod child;
pub mod control;
pub mod observer;
pub mod status;

use std::{
    collections::BTreeMap,
    fs,
    net::{Ipv4Addr, SocketAddr},
    os::unix::fs::PermissionsExt,
    time::Duration,
};

use anyhow::{Context, bail};
use k8s_openapi::api::core::v1::Node;
use kubelab_client::{Client, process::Connection};
use rustix::process::Signal;
use tokio::{
    net::{TcpListener, UnixListener},
    sync::{mpsc, oneshot, watch},
    time,
};

use self::{
    child::{Child, Exit, Intent},
    control::{Call, Command, Reply},
    observer::Sight,
    status::{ComponentStatus, Status},
};
use crate::{
    front_door::{self, Backends, Credentials, Place},
    lab::{
        Layout, Spec, add_ons,
        addresses::{Addresses, Claim},
        kubeconfig,
        pki::Pki,
        plan::{self, Kind},
    },
};

/// How long processes may take to end in an orderly way.
const GRACE: Duration = Duration::from_secs(5);

/// A running lab.
pub struct Supervisor {
    layout: Layout,
    spec: Spec,
    pki: Pki,
    addresses: Addresses,
    _claim: Claim,
    children: BTreeMap<usize, Child>,
    client: Client,
    exits: (mpsc::Sender<Exit>, mpsc::Receiver<Exit>),
    restarts: (mpsc::Sender<String>, mpsc::Receiver<String>),
    calls: mpsc::Receiver<Call>,
    sight: watch::Receiver<Sight>,
    ports: watch::Sender<BTreeMap<String, SocketAddr>>,
    status: watch::Sender<Status>,
    settled: watch::Sender<bool>,
    installed: Option<oneshot::Receiver<()>>,
}

impl Supervisor {
    /// Prepares a lab: certificates, kubeconfig, addresses, the front door, and starts its processes.
    pub async fn start(layout: Layout, mut spec: Spec) -> anyhow::Result<Self> {
        let door = front_door::listen((Ipv4Addr::LOCALHOST, spec.port).into()).await?;
        let pki = Pki::open(&layout.pki())?;
        let (subnet, claim) = Claim::take(spec.subnet)?;
        if subnet != spec.subnet {
            plan::revoke_server_certificates(&spec, &pki)?;
            spec.subnet = subnet;
        }
        plan::issue_certificates(&spec, &pki)?;
        layout.save(&spec)?;
        kubeconfig::save(&layout.kubeconfig(), &spec.name, &server(&spec), &pki)?;
        let addresses = Addresses::choose(&spec)?;
        let components = plan::components(&spec, &layout, &pki, &addresses)?;

        let (calls_in, calls) = mpsc::channel(16);
        let _ = fs::remove_file(layout.control_socket());
        let socket = UnixListener::bind(layout.control_socket()).context("cannot listen for commands")?;
        fs::set_permissions(layout.control_socket(), fs::Permissions::from_mode(0o600))?;
        tokio::spawn(control::serve(socket, calls_in));

        let children: BTreeMap<_, _> = components.into_iter().map(Child::new).enumerate().collect();
        let (status, _) = watch::channel(Status {
            name: spec.name.clone(),
            server: server(&spec),
            components: Vec::new(),
            nodes: (0, spec.nodes.len()),
        });
        let connection = Connection {
            apiservers: addresses.apiservers.iter().map(|address| format!("https://{address}")).collect(),
            certificate_authority: pki.authority(),
            client_certificate: pki.certificate("admin"),
            client_key: pki.key("admin"),
        };
        let mut supervisor = Self {
            client: Client::new(&connection)?,
            children,
            exits: mpsc::channel(64),
            restarts: mpsc::channel(64),
            calls,
            sight: watch::channel(Sight::default()).1,
            ports: watch::channel(BTreeMap::new()).0,
            status,
            settled: watch::channel(false).0,
            installed: None,
            layout,
            spec,
            pki,
            addresses,
            _claim: claim,
        };
        for place in supervisor.children.keys().copied().collect::<Vec<_>>() {
            supervisor.launch(place)?;
        }
        supervisor.watch(door)?;
        supervisor.install();
        Ok(supervisor)
    }

    /// Gives the cluster what it is still to be given, while all else goes on.
    fn install(&mut self) {
        let (client, add_ons) = (self.client.clone(), self.spec.add_ons_to_install.clone());
        if add_ons.is_empty() {
            return;
        }
        let (tell, installed) = oneshot::channel();
        self.installed = Some(installed);
        tokio::spawn(async move {
            match add_ons::install(&client, &add_ons).await {
                Ok(()) => drop(tell.send(())),
                Err(error) => tracing::error!("an add-on cannot be installed: {error:#}"),
            }
        });
    }

    /// From now on what was installed is the users' to keep or to delete.
    fn forget_add_ons(&mut self) {
        self.spec.add_ons_to_install.clear();
        if let Err(error) = self.layout.save(&self.spec) {
            tracing::warn!("the add-ons will be installed once more at the next start: {error:#}");
        }
    }

    /// Begins to look at the processes, and opens the front door.
    fn watch(&mut self, door: TcpListener) -> anyhow::Result<()> {
        let (pki, addresses) = (&self.pki, &self.addresses);
        let credentials = Credentials::read(&pki.authority(), &pki.certificate("admin"), &pki.key("admin"))?;
        let apiservers = plan::apiservers_by_name(addresses).into_iter().map(|(name, at)| {
            let handoff = self.layout.handoff_of(&name);
            (name, Place { address: at.to_string(), handoff })
        });
        let backends = Backends::watch(apiservers.collect(), &credentials)?;
        let (sight_in, sight) = watch::channel(Sight::default());
        self.sight = sight;
        self.announce_ports();
        tokio::spawn(observer::observe(
            backends.clone(),
            self.client.clone(),
            self.ports.subscribe(),
            sight_in,
            self.settled.subscribe(),
        ));
        tokio::spawn(front_door::serve(door, backends));
        Ok(())
    }

    fn announce_ports(&self) {
        let others = self.children.values().filter(|child| child.component.kind != Kind::Apiserver);
        self.ports.send_replace(others.map(|c| (c.component.name.clone(), c.component.address)).collect());
    }

    /// Hears of every change of the lab's state.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }

    /// Keeps the lab until `stop` resolves or `kubelab down` asks; then ends all its processes.
    pub async fn run(mut self, stop: impl Future<Output = ()>) -> anyhow::Result<()> {
        tokio::pin!(stop);
        let mut farewell: Option<oneshot::Sender<Reply>> = None;
        loop {
            self.publish();
            tokio::select! {
                () = &mut stop => break,
                Some((command, reply)) = self.calls.recv() => {
                    if matches!(command, Command::Down) {
                        farewell = Some(reply);
                        break;
                    }
                    let answer = self.execute(command).await.unwrap_or_else(|why| Reply::Refused(format!("{why:#}")));
                    // The caller may have given up.
                    let _ = reply.send(answer);
                }
                Some(exit) = self.exits.1.recv() => self.bury(&exit),
                Some(name) = self.restarts.1.recv() => self.start_again(&name),
                Ok(()) = self.sight.changed() => {}
                Ok(()) = done(&mut self.installed) => self.forget_add_ons(),
            }
        }
        self.end().await;
        if let Some(reply) = farewell {
            let _ = reply.send(Reply::Done(format!(
                "lab {:?} has stopped; its data stays in {}",
                self.spec.name,
                self.layout.root().display()
            )));
            // The answer is written by another task; it needs a moment before this process ends.
            time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    fn launch(&mut self, place: usize) -> anyhow::Result<()> {
        let child = self.children.get_mut(&place).context("no such component")?;
        child.start(&self.layout.log_of(&child.component.name), self.exits.0.clone())
    }

    fn bury(&mut self, exit: &Exit) {
        let Some(child) = self.children.values_mut().find(|child| child.pid == Some(exit.pid)) else { return };
        if let Some(wait) = child.ended() {
            tracing::warn!(component = exit.name, status = %exit.status, "died; starting it again in {wait:?}");
            let (restarts, name) = (self.restarts.0.clone(), exit.name.clone());
            tokio::spawn(async move {
                time::sleep(wait).await;
                let _ = restarts.send(name).await;
            });
        }
    }

    fn start_again(&mut self, name: &str) {
        let Ok(place) = self.place(name) else { return };
        let child = &self.children[&place];
        if child.intent == Intent::Run
            && child.pid.is_none()
            && let Err(error) = self.launch(place)
        {
            tracing::error!(component = name, "cannot start it again: {error:#}");
        }
    }

    fn place(&self, name: &str) -> anyhow::Result<usize> {
        match self.children.iter().find(|(_, child)| child.component.name == name) {
            Some((place, _)) => Ok(*place),
            None => bail!(
                "there is no component {name:?} in this lab; there are: {}",
                self.children.values().map(|child| child.component.name.as_str()).collect::<Vec<_>>().join(", ")
            ),
        }
    }

    async fn execute(&mut self, command: Command) -> anyhow::Result<Reply> {
        let words = match command {
            Command::Status => return Ok(Reply::Status(self.status.borrow().clone())),
            Command::Kill(name) => {
                let place = self.place(&name)?;
                let child = self.child(&name)?;
                if child.pid.is_none() {
                    bail!("{name} has no process to kill; `kubelab restart {name}` starts it");
                }
                child.intent = Intent::Dead;
                child.signal(Signal::KILL);
                // Whoever is told that it is dead finds its ports closed.
                while self.children[&place].pid.is_some()
                    && let Some(exit) = self.exits.1.recv().await
                {
                    self.bury(&exit);
                }
                format!("{name} killed; `kubelab restart {name}` starts it again")
            }
            Command::Pause(name) => {
                let child = self.child(&name)?;
                if child.pid.is_none() {
                    bail!("{name} has no process to pause; `kubelab restart {name}` starts it");
                }
                child.intent = Intent::Pause;
                child.signal(Signal::STOP);
                format!("{name} paused; `kubelab resume {name}` lets it go on")
            }
            Command::Resume(name) => {
                let child = self.child(&name)?;
                if child.intent != Intent::Pause {
                    bail!("{name} is not paused");
                }
                child.intent = Intent::Run;
                child.signal(Signal::CONT);
                format!("{name} goes on")
            }
            Command::Restart(name) => {
                let place = self.place(&name)?;
                self.stop(&[place]).await;
                self.launch(place)?;
                format!("{name} restarted")
            }
            Command::AddNode => self.add_node().await?,
            Command::RemoveNode(name) => self.remove_node(&name).await?,
            Command::Down => bail!("down ends the supervisor and is handled by its loop"),
        };
        Ok(Reply::Done(words))
    }

    fn child(&mut self, name: &str) -> anyhow::Result<&mut Child> {
        let place = self.place(name)?;
        self.children.get_mut(&place).context("no such component")
    }

    async fn add_node(&mut self) -> anyhow::Result<String> {
        let mut spec = self.spec.clone();
        let number = spec.add_node()?;
        self.layout.save(&spec)?;
        self.spec = spec;
        self.regroup(self.spec.group(number)).await?;
        self.settled.send_replace(false);
        Ok(format!("node-{number} added"))
    }

    async fn remove_node(&mut self, name: &str) -> anyhow::Result<String> {
        let number = name.strip_prefix("node-").and_then(|number| number.parse().ok());
        let Some(number) = number.filter(|number| self.spec.nodes.contains(number)) else {
            let nodes: Vec<_> = self.spec.nodes.iter().map(|number| format!("node-{number}")).collect();
            bail!("there is no node {name:?} in this lab; there are: {}", nodes.join(", "));
        };
        self.spec.nodes.retain(|other| *other != number);
        self.layout.save(&self.spec)?;
        self.regroup(self.spec.group(number)).await?;
        // What the node remembers must not come back with a later node of the same number.
        let _ = fs::remove_dir_all(self.layout.state_of(name));
        match self.client.delete::<Node>("", name, Default::default()).await {
            Ok(()) => Ok(format!("{name} removed; its pods move to other nodes")),
            Err(error) if error.reason == kubelab_api::Reason::NotFound => Ok(format!("{name} removed")),
            Err(error) => bail!(
                "{name}'s processes are gone, but its Node object is not ({error}); \
                 `kubectl delete node {name}` once the apiservers answer"
            ),
        }
    }

    /// Starts the processes of a group of nodes anew, as its members are now. Kubelets find their containers running.
    async fn regroup(&mut self, group: u16) -> anyhow::Result<()> {
        let names = plan::node_processes(&self.spec, group);
        let old: Vec<_> = names.iter().filter_map(|name| self.place(name).ok()).collect();
        self.stop(&old).await;
        self.children.retain(|place, _| !old.contains(place));
        for component in plan::group(&self.spec, group, &self.layout, &self.pki, &self.addresses)? {
            let place = self.children.last_key_value().map_or(0, |(place, _)| place + 1);
            self.children.insert(place, Child::new(component));
            self.launch(place)?;
        }
        self.announce_ports();
        Ok(())
    }

    /// Ends processes in an orderly way, by force after [`GRACE`].
    async fn stop(&mut self, places: &[usize]) {
        for (_, child) in self.children.iter_mut().filter(|(place, _)| places.contains(place)) {
            child.intent = Intent::Dead;
            child.signal(Signal::TERM);
            // A paused process must go on to hear of its end.
            child.signal(Signal::CONT);
        }
        let patience = time::sleep(GRACE);
        tokio::pin!(patience);
        let mut forced = false;
        while places.iter().any(|place| self.children.get(place).is_some_and(|child| child.pid.is_some())) {
            tokio::select! {
                Some(exit) = self.exits.1.recv() => self.bury(&exit),
                () = &mut patience, if !forced => {
                    forced = true;
                    places.iter().filter_map(|place| self.children.get(place)).for_each(|child| child.signal(Signal::KILL));
                }
            }
        }
    }

    /// Ends everything: the clients of the API first, so that they can still say goodbye to it.
    async fn end(&mut self) {
        let (servers, clients): (Vec<usize>, Vec<usize>) =
            self.children.keys().partition(|place| self.children[place].component.kind == Kind::Apiserver);
        self.stop(&clients).await;
        self.stop(&servers).await;
        let _ = fs::remove_file(self.layout.control_socket());
    }

    fn publish(&self) {
        let sight = self.sight.borrow().clone();
        let components: Vec<_> = self
            .children
            .values()
            .map(|child| {
                let name = &child.component.name;
                ComponentStatus {
                    name: name.clone(),
                    kind: child.component.kind,
                    pid: child.pid,
                    state: child.state(serves(&sight, child)),
                    role: role(&sight, child),
                    restarts: child.restarts,
                }
            })
            .collect();
        let ready = self.spec.nodes.iter().filter(|number| sight.nodes.get(&format!("node-{number}")) == Some(&true));
        let nodes = (ready.count(), self.spec.nodes.len());
        let next = Status { name: self.spec.name.clone(), server: server(&self.spec), components, nodes };
        self.settled.send_if_modified(|settled| std::mem::replace(settled, next.ready()) != next.ready());
        self.status.send_if_modified(|status| std::mem::replace(status, next.clone()) != next);
    }
}

/// Resolves when what is waited for is done; never if nothing is.
async fn done(wait: &mut Option<oneshot::Receiver<()>>) -> Result<(), oneshot::error::RecvError> {
    match wait {
        Some(receiver) => {
            let result = receiver.await;
            // A receiver must not be asked again.
            *wait = None;
            result
        }
        None => std::future::pending().await,
    }
}

fn server(spec: &Spec) -> String {
    format!("https://127.0.0.1:{}", spec.port)
}

fn serves(sight: &Sight, child: &Child) -> bool {
    let name = &child.component.name;
    match child.component.kind {
        Kind::Apiserver => sight.members.get(name).and_then(Option::as_ref).is_some_and(|member| member.leader != 0),
        _ => sight.begun.is_some_and(|begun| begun > child.started) && sight.ready.contains(name),
    }
}

fn role(sight: &Sight, child: &Child) -> String {
    let name = child.component.name.as_str();
    let holds = |lease: &str| sight.leaders.get(lease).is_some_and(|holder| holder.split('_').next() == Some(name));
    match child.component.kind {
        _ if child.pid.is_none() => String::new(),
        Kind::Apiserver => match sight.members.get(name).and_then(Option::as_ref) {
            Some(member) if member.leader == member.id => format!("raft leader, term {}", member.term),
            Some(member) if member.leader != 0 => "raft follower".into(),
            Some(_) => "no quorum".into(),
            None => String::new(),
        },
        Kind::Scheduler if holds("kube-scheduler") => "elected leader".into(),
        Kind::ControllerManager if holds("kube-controller-manager") => "elected leader".into(),
        Kind::Scheduler | Kind::ControllerManager => "standby".into(),
        Kind::KubeletSim => {
            let states = child.component.nodes.iter().map(|number| {
                let node = format!("node-{number}");
                (sight.nodes.get(&node).copied(), node)
            });
            let states: Vec<_> = states.collect();
            match states.as_slice() {
                [(Some(true), node)] => format!("{node} Ready"),
                [(Some(false), node)] => format!("{node} NotReady"),
                [(None, _)] => String::new(),
                all => {
                    let ready = all.iter().filter(|(ready, _)| *ready == Some(true)).count();
                    format!("{ready} of {} nodes Ready", all.len())
                }
            }
        }
        Kind::KubeProxySim => String::new(),
    }
}
