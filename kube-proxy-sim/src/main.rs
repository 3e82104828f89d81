//! The `kube-proxy-sim` binary.

use clap::Parser;
use kubelab_kube_proxy_sim::Options;

/// One node's service proxy
#[derive(Parser)]
#[command(name = "kube-proxy-sim", version)]
struct Cli {
    #[command(flatten)]
    options: Options,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    kubelab_kube_proxy_sim::run(Cli::parse().options).await
}
