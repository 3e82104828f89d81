//! The binary `controller-manager`: see [`kubelab_controller_manager`].

use clap::Parser;
use kubelab_controller_manager::Options;

#[derive(Parser)]
#[command(name = "controller-manager", version, about = "Runs the control loops of a kubelab cluster")]
struct Cli {
    #[command(flatten)]
    options: Options,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    kubelab_controller_manager::run(Cli::parse().options).await
}
