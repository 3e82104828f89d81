//! The `apiserver` binary.

use clap::Parser;
use kubelab_apiserver::Options;

/// An apiserver allocates and frees for each request on several threads, which costs glibc a seventh of its time
/// (docs/performance.md).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

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
