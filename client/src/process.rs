//! A component's life as a process: the flags all share, logs, the health and metrics port, shutdown.

use std::{net::SocketAddr, path::PathBuf};

use clap::Args;

/// How to reach the apiservers, and as whom.
#[derive(Args, Clone, Debug)]
pub struct Connection {
    /// The apiservers' addresses: https://127.0.0.1:6444,https://127.0.0.1:6445
    #[arg(long, value_delimiter = ',', required = true)]
    pub apiservers: Vec<String>,
    /// The certificate authority that signed the apiservers' certificates (PEM)
    #[arg(long)]
    pub certificate_authority: PathBuf,
    /// This component's certificate (PEM)
    #[arg(long)]
    pub client_certificate: PathBuf,
    /// The certificate's key (PEM)
    #[arg(long)]
    pub client_key: PathBuf,
}

/// What every component process has.
#[derive(Args, Clone, Debug)]
pub struct Process {
    /// The process's name: scheduler-1, kubelet-node-1
    #[arg(long)]
    pub name: String,
    /// Where /healthz, /readyz and /metrics are served
    #[arg(long)]
    pub metrics_listen: SocketAddr,
}

#[allow(unused_variables)]
impl Process {
    /// Logs go to standard error (`RUST_LOG` filters, `info` by default); the process is named as itself in `ps`.
    pub fn start(&self) {
        unimplemented!()
    }
    /// Serves health and metrics until dropped; `ready` says whether /readyz is 200.
    pub async fn serve_health(&self, ready: tokio::sync::watch::Receiver<bool>) -> std::io::Result<()> {
        unimplemented!()
    }
    /// Resolves on SIGTERM or SIGINT.
    pub async fn shutdown() {
        unimplemented!()
    }
}
