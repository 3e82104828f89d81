//! The `kubelet-sim` binary.

use clap::Parser;
use kubelab_kubelet_sim::Options;

/// One simulated Kubernetes node
#[derive(Parser)]
#[command(name = "kubelet-sim", version)]
struct Cli {
    #[command(flatten)]
    options: Options,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    kubelab_kubelet_sim::run(Cli::parse().options).await
}
