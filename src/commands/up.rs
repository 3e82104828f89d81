//! `kubelab up`

use std::{
    io::IsTerminal,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use kubelab_apiserver::audit::policy::Policy;
use kubelab_scheduler::config::Configuration;
use tokio::{sync::watch, time};

use super::{say, status::table};
use crate::{
    Which,
    lab::{Layout, Spec, add_ons::AddOn, spec::Wish, write},
    supervisor::{
        Supervisor,
        child::{open_log, own_executable},
        control::{self, Command, Reply},
        status::Status,
    },
};

/// How long a lab may take to become Ready before `--detach` gives up.
const PATIENCE: Duration = Duration::from_secs(60);

/// Start a lab, or resume one
#[derive(Args)]
pub struct Up {
    #[command(flatten)]
    which: Which,
    /// How many apiservers, each a member of the replicated store: 1, 3, 5 or 7 [default: 3]
    #[arg(long)]
    apiservers: Option<u16>,
    /// How many schedulers; one leads, the others stand by [default: 1]
    #[arg(long)]
    schedulers: Option<u16>,
    /// How many controller-managers; one leads, the others stand by [default: 1]
    #[arg(long)]
    controller_managers: Option<u16>,
    /// How many nodes [default: 3]
    #[arg(long)]
    nodes: Option<u16>,
    /// How many nodes share a kubelet's process, and a kube-proxy's: more of them make a large lab cheap [default: 1]
    #[arg(long)]
    nodes_per_process: Option<u16>,
    /// Where the front door listens on 127.0.0.1 [default: 6443]
    #[arg(long)]
    port: Option<u16>,
    /// What the apiservers record in their audit logs (logs/apiserver-N-audit.log): a Policy of audit.k8s.io/v1 (YAML).
    /// It is kept for later starts; an empty value ends the recording
    #[arg(long, value_name = "FILE")]
    audit_policy: Option<PathBuf>,
    /// One more flag for a process of the control plane or the nodes' kube-proxies: COMPONENT.FLAG=VALUE, such as
    /// controller-manager.node-monitor-grace-period=10s or kube-proxy.proxy-mode=ipvs. It is kept for later starts, until
    /// others are given
    #[arg(long, value_name = "COMPONENT.FLAG=VALUE")]
    extra_config: Vec<String>,
    /// How pods are scheduled: a KubeSchedulerConfiguration of kubescheduler.config.k8s.io/v1 (YAML). It is kept for later
    /// starts; an empty value ends that
    #[arg(long, value_name = "FILE")]
    scheduler_config: Option<PathBuf>,
    /// What a new cluster is given besides: dns, ingress; none for nothing [default: dns,ingress]. For a lab that is there:
    /// what it is given now
    #[arg(long, value_name = "ADD-ON", value_delimiter = ',', value_parser = add_on)]
    add_ons: Option<Vec<Choice>>,
    /// Return once all is Ready and leave the lab running
    #[arg(long)]
    detach: bool,
    /// The lab's own process, behind --detach
    #[arg(long, hide = true, conflicts_with = "detach")]
    background: bool,
}

/// An add-on, or `none`.
#[derive(Clone, Copy, Debug)]
struct Choice(Option<AddOn>);

fn add_on(text: &str) -> Result<Choice, String> {
    if text == "none" {
        return Ok(Choice(None));
    }
    AddOn::from_str(text, false).map(|add_on| Choice(Some(add_on))).map_err(|_| {
        let known: Vec<_> = AddOn::value_variants().iter().filter_map(ValueEnum::to_possible_value).collect();
        let known: Vec<&str> = known.iter().map(clap::builder::PossibleValue::get_name).collect();
        format!("there are: {}, none", known.join(", "))
    })
}

impl Up {
    pub async fn run(self) -> anyhow::Result<()> {
        let layout = self.which.layout()?;
        layout.create()?;
        if self.background {
            // A session of its own, so that closing the terminal does not end the lab.
            rustix::process::setsid()?;
        }
        if self.detach { self.detached(&layout).await } else { self.foreground(layout).await }
    }

    fn wish(&self) -> Wish {
        Wish {
            port: self.port,
            apiservers: self.apiservers,
            schedulers: self.schedulers,
            controller_managers: self.controller_managers,
            nodes: self.nodes,
            nodes_per_process: self.nodes_per_process,
        }
    }

    fn spec(&self, layout: &Layout) -> anyhow::Result<Spec> {
        let mut spec = match layout.load()? {
            Some(spec) => self.wish().resume(spec)?,
            None => self.wish().create(&self.which.name)?,
        };
        if !self.extra_config.is_empty() {
            spec.configure(&self.extra_config)?;
        }
        if let Some(chosen) = &self.add_ons {
            spec.add_ons_to_install = chosen.iter().filter_map(|Choice(add_on)| *add_on).collect();
        }
        Ok(spec)
    }

    /// Keeps the audit policy and the scheduler's configuration in the lab's folder, where its processes find them.
    fn keep_files(&self, layout: &Layout) -> anyhow::Result<()> {
        keep("--audit-policy", self.audit_policy.as_deref(), &layout.audit_policy(), |yaml| {
            Ok(Policy::parse(yaml).map(drop)?)
        })?;
        keep("--scheduler-config", self.scheduler_config.as_deref(), &layout.scheduler_config(), |yaml| {
            Ok(Configuration::parse(yaml).map(drop)?)
        })
    }

    async fn foreground(self, layout: Layout) -> anyhow::Result<()> {
        let _lock = layout.lock()?;
        self.keep_files(&layout)?;
        // Started through /proc/self/exe, it would be called `exe`. The name is for people alone.
        let _ = rustix::thread::set_name(c"kubelab");
        let spec = self.spec(&layout)?;
        init_logging();
        let begun = Instant::now();
        let supervisor = Supervisor::start(layout.clone(), spec).await?;
        let status = supervisor.status();
        let view = async {
            if !self.background {
                show(layout, status, begun).await;
            }
            std::future::pending::<()>().await;
        };
        let stop = async {
            tokio::select! {
                () = kubelab_client::process::Process::shutdown() => {}
                () = view => {}
            }
        };
        supervisor.run(stop).await
    }

    async fn detached(self, layout: &Layout) -> anyhow::Result<()> {
        let begun = Instant::now();
        // Refuse here, where the words reach the user, what the background process would refuse.
        drop(layout.lock()?);
        self.keep_files(layout)?;
        let spec = self.spec(layout)?;
        drop(crate::front_door::listen((std::net::Ipv4Addr::LOCALHOST, spec.port).into()).await?);

        let log_path = layout.log_of("supervisor");
        let log = open_log(&log_path)?;
        let mut command = std::process::Command::new(own_executable()?);
        command.arg0("kubelab").args(["up", "--background"]);
        command.args(std::env::args_os().skip(2).filter(|argument| argument != "--detach"));
        let mut child = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?;

        let mut waiting = String::new();
        loop {
            if let Some(status) = child.try_wait()? {
                bail!("the lab ended while it started ({status}); {} says why", log_path.display());
            }
            if let Ok(Reply::Status(status)) = control::call(layout, &Command::Status).await {
                if status.ready() {
                    say(format_args!("Ready after {:.2} s.", begun.elapsed().as_secs_f64()))?;
                    return Ok(say(greeting(layout, &status))?);
                }
                waiting = status.waiting_for();
            }
            if begun.elapsed() > PATIENCE {
                bail!(
                    "not all of the lab is Ready after {} s: it waits for {waiting}. It goes on trying; \
                     `kubelab status` shows how it is, `kubelab logs COMPONENT` why, `kubelab down` stops it",
                    PATIENCE.as_secs()
                );
            }
            time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// Keeps a copy of a file that was given, once it has been checked; an empty path takes the copy away.
fn keep(
    flag: &str,
    given: Option<&Path>,
    kept: &Path,
    check: impl Fn(&str) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let Some(given) = given else { return Ok(()) };
    if given.as_os_str().is_empty() {
        return match std::fs::remove_file(kept) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        };
    }
    let about = || format!("{flag} {}", given.display());
    let yaml = std::fs::read_to_string(given).with_context(about)?;
    check(&yaml).with_context(about)?;
    write(kept, yaml.as_bytes(), 0o644)
}

fn init_logging() {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "warn".into());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false).init();
}

fn greeting(layout: &Layout, status: &Status) -> String {
    format!(
        "The API is at {}. To use it:\n  export KUBECONFIG={}\n  kubectl get nodes",
        status.server,
        layout.kubeconfig().display()
    )
}

/// Shows what the lab waits for until it is Ready, then a table that follows it: redrawn in place on a terminal, as
/// lines of what changed elsewhere.
async fn show(layout: Layout, mut status: watch::Receiver<Status>, begun: Instant) {
    let terminal = std::io::stdout().is_terminal();
    let mut greeted = false;
    let mut drawn = 0;
    let mut said = String::new();
    loop {
        let now = status.borrow_and_update().clone();
        if !greeted && now.ready() {
            println!("Ready after {:.2} s. Ctrl-C stops the lab; its data stays.", begun.elapsed().as_secs_f64());
            println!("{}", greeting(&layout, &now));
            greeted = true;
        }
        let text = if greeted { table(&now) } else { format!("waiting for {}", now.waiting_for()) };
        if terminal && greeted {
            if drawn > 0 {
                print!("\x1b[{drawn}A\x1b[J");
            }
            println!("{text}");
            drawn = text.lines().count();
        } else if text != said {
            println!("{text}");
        }
        said = text;
        if status.changed().await.is_err() {
            return;
        }
        // Several processes change at once; one redraw is enough.
        time::sleep(Duration::from_millis(50)).await;
    }
}
