//! The binary `scheduler`: see [`kubelab_scheduler`].

use clap::Parser;
use kubelab_scheduler::Options;

/// Decides on which node each pod runs
#[derive(Parser)]
#[command(name = "scheduler", version)]
struct Cli {
    #[command(flatten)]
    options: Options,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    kubelab_scheduler::run(Cli::parse().options).await
}
