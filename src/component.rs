//! The lab's processes. This binary links every component's library, so that one file is enough to install: it runs
//! itself again as `kubelab apiserver …`. Each component also has a small binary of its own in its folder.

use clap::{Args, Command, Subcommand};

use crate::supervisor::child::SUPERVISED;

/// One process of a lab, run by hand, by the supervisor or in a container.
#[derive(Subcommand)]
pub enum Component {
    /// The Kubernetes API over the replicated store
    #[command(hide = true)]
    Apiserver(kubelab_apiserver::Options),
    /// Which node a pod goes to
    #[command(hide = true)]
    Scheduler(kubelab_scheduler::Options),
    /// The control loops
    #[command(hide = true)]
    ControllerManager(kubelab_controller_manager::Options),
    /// A simulated node
    #[command(hide = true)]
    KubeletSim(kubelab_kubelet_sim::Options),
    /// A node's service proxy
    #[command(hide = true)]
    KubeProxySim(kubelab_kube_proxy_sim::Options),
}

impl Component {
    /// Runs the process to its end.
    pub fn run(self) -> anyhow::Result<()> {
        die_with_supervisor()?;
        let one_thread = || tokio::runtime::Builder::new_current_thread().enable_all().build();
        match self {
            Component::Apiserver(options) => {
                let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
                runtime.block_on(kubelab_apiserver::run(options))
            }
            Component::Scheduler(options) => one_thread()?.block_on(kubelab_scheduler::run(options)),
            Component::ControllerManager(options) => one_thread()?.block_on(kubelab_controller_manager::run(options)),
            Component::KubeletSim(options) => one_thread()?.block_on(kubelab_kubelet_sim::run(options)),
            Component::KubeProxySim(options) => one_thread()?.block_on(kubelab_kube_proxy_sim::run(options)),
        }
    }
}

/// What is wrong with flags that a process of this kind shall get besides its usual ones; nothing for kinds that are not
/// known.
pub fn check_flags(kind: &str, flags: impl Iterator<Item = String>) -> Result<(), String> {
    let name = Command::new("flags");
    let command = match kind {
        "apiserver" => kubelab_apiserver::Options::augment_args(name),
        "scheduler" => kubelab_scheduler::Options::augment_args(name),
        "controller-manager" => kubelab_controller_manager::Options::augment_args(name),
        "kube-proxy" => kubelab_kube_proxy_sim::Options::augment_args(name),
        _ => return Ok(()),
    };
    // The usual flags are not here.
    let command = command.mut_args(|argument| argument.required(false));
    let parsed = command.no_binary_name(true).try_get_matches_from(flags);
    parsed.map(drop).map_err(|error| {
        let text = error.render().to_string();
        let words = text.trim_start_matches("error: ").split("\n\n").next().unwrap_or_default();
        words.split_whitespace().collect::<Vec<_>>().join(" ")
    })
}

/// A supervised process is told to end when its supervisor dies, however that happens, so that no lab leaves processes.
fn die_with_supervisor() -> anyhow::Result<()> {
    if std::env::var_os(SUPERVISED).is_some() {
        rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::TERM))?;
    }
    Ok(())
}
