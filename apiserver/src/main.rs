//! The `apiserver` binary.

use clap::Parser;
use kubelab_apiserver::Options;

/// The Kubernetes API over a replicated store
#[derive(Parser)]
#[command(name = "apiserver", version)]
struct Cli {
    #[command(flatten)]
    options: Options,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    kubelab_apiserver::run(Cli::parse().options).await
}
