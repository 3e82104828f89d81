//! `kubelab`: start a lab, look inside it, break it.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`bench`] | measures any Kubernetes endpoint |
//! | [`commands`] | one command a file |
//! | [`lab`] | a lab on disk: what it consists of, its certificates, its processes' flags |
//! | [`supervisor`] | keeps a lab's processes as they should be |
//! | [`front_door`] | the lab's one stable address, balanced over the live apiservers |
//! | [`component`] | the processes themselves, which this binary runs as well |

#![allow(clippy::disallowed_methods)] // see clippy.toml

mod bench;
mod commands;
mod component;
mod front_door;
mod lab;
mod supervisor;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};

/// A Kubernetes cluster you can take apart
#[derive(Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// Which lab is meant.
#[derive(Args, Clone, Debug)]
struct Which {
    /// The lab's name
    #[arg(long, default_value = "lab", env = "KUBELAB_NAME")]
    name: String,
    /// The lab's folder [default: ~/.kubelab/NAME, or $KUBELAB_HOME/NAME]
    #[arg(long)]
    data_dir: Option<PathBuf>,
}

impl Which {
    fn layout(&self) -> anyhow::Result<lab::Layout> {
        lab::Layout::locate(&self.name, self.data_dir.as_deref())
    }
}

#[derive(Subcommand)]
enum Command {
    /// Start a lab, or resume one
    Up(commands::up::Up),
    /// Stop a lab; its data stays
    Down(commands::down::Down),
    /// Show a lab's processes and their roles
    Status(commands::status::Status),
    /// Show what a component says
    Logs(commands::logs::Logs),
    /// Print a lab's kubeconfig
    Kubeconfig(commands::kubeconfig::Kubeconfig),
    /// Kill a component at once (SIGKILL); it stays dead until `restart`
    Kill(commands::act::OnComponent),
    /// Make a component stand still (SIGSTOP)
    Pause(commands::act::OnComponent),
    /// Let a paused component go on
    Resume(commands::act::OnComponent),
    /// Stop a component if it runs, and start it
    Restart(commands::act::OnComponent),
    /// Add to a running lab
    #[command(subcommand)]
    Add(commands::act::Add),
    /// Take away from a running lab
    #[command(subcommand)]
    Remove(commands::act::Remove),
    /// Tell why an object is as it is, back to the command that began it
    Why(commands::why::Why),
    /// Tell why a pod goes to its node or to none: each node's verdicts and scores
    Explain(commands::explain::Explain),
    /// Print a node's service rules, as iptables-save, nft, or ipvsadm and ipset would print them there
    Rules(commands::rules::Rules),
    /// Measure any Kubernetes endpoint: create, get, update, list, watch, deployment
    Bench(bench::Bench),
    #[command(hide = true)]
    Certificates(commands::certificates::Certificates),
    #[command(hide = true)]
    FrontDoor(commands::front_door::FrontDoor),
    #[command(hide = true)]
    Healthy(commands::healthy::Healthy),
    #[command(flatten)]
    Component(Box<component::Component>),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Component(component) => component.run(),
        command => runtime().and_then(|runtime| runtime.block_on(run(command))),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if read_enough(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The reader of our output went away.
fn read_enough(error: &anyhow::Error) -> bool {
    let cause = error.downcast_ref::<std::io::Error>();
    cause.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

/// One thread: a process asks to die with the thread that started it, so that thread must be the main one.
fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

async fn run(command: Command) -> anyhow::Result<()> {
    use supervisor::control::Command as Call;
    match command {
        Command::Up(up) => up.run().await,
        Command::Down(down) => down.run().await,
        Command::Status(status) => status.run().await,
        Command::Logs(logs) => logs.run().await,
        Command::Kubeconfig(kubeconfig) => kubeconfig.run(),
        Command::Kill(on) => on.run(Call::Kill).await,
        Command::Pause(on) => on.run(Call::Pause).await,
        Command::Resume(on) => on.run(Call::Resume).await,
        Command::Restart(on) => on.run(Call::Restart).await,
        Command::Add(add) => add.run().await,
        Command::Remove(remove) => remove.run().await,
        Command::Why(why) => why.run().await,
        Command::Explain(explain) => explain.run().await,
        Command::Rules(rules) => rules.run().await,
        Command::Bench(bench) => bench.run().await,
        Command::Certificates(certificates) => certificates.run(),
        Command::FrontDoor(front_door) => front_door.run().await,
        Command::Healthy(healthy) => healthy.run().await,
        Command::Component(component) => component.run(),
    }
}
