//! A component's life as a process: the flags all share, logs, the health and metrics port, shutdown.

pub(crate) mod crash;
mod health;

use std::{ffi::CString, io, net::SocketAddr, panic, path::PathBuf, sync::Arc};

use clap::Args;
use futures::{StreamExt, stream::FuturesUnordered};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};
use tracing_subscriber::EnvFilter;

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

/// Plain text for the paths that a component serves beside health and metrics.
pub type Pages = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// What every component process has.
#[derive(Args, Clone, Debug)]
pub struct Process {
    /// The process's name: scheduler-1, kubelet-node-1
    #[arg(long)]
    pub name: String,
    /// Where /healthz, /livez, /readyz and /metrics are served
    #[arg(long)]
    pub metrics_listen: SocketAddr,
    /// For tests: the process kills itself after so many writes, Leases and Events aside
    #[arg(long, hide = true, default_value_t = 0)]
    pub crash_after_writes: u32,
}

impl Process {
    /// Logs go to standard error (`RUST_LOG` filters, `info` by default); the process is named as itself in `ps`; a panic
    /// anywhere ends it. Call it on the main thread, first.
    pub fn start(&self) {
        crash::after(self.crash_after_writes);
        let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
        // Fails only where a subscriber is set already, as in a test with several components in one process.
        let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(false).try_init();

        // A task that died silently would leave a process that looks alive: better a crash, and a fresh start.
        let report = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            report(info);
            std::process::abort();
        }));

        // The kernel keeps 15 bytes of it.
        let named = CString::new(self.name.as_str()).map(|name| rustix::thread::set_name(&name));
        if !matches!(named, Ok(Ok(()))) {
            tracing::debug!(name = self.name, "the process cannot be named");
        }
        tracing::info!(name = self.name, pid = std::process::id(), "started");
    }

    /// Serves health and metrics until dropped; `ready` says whether /readyz is 200.
    pub async fn serve_health(&self, ready: watch::Receiver<bool>) -> io::Result<()> {
        health::serve(self.metrics_listen, ready, Arc::new(|_| None)).await
    }

    /// The same, with pages of the component's own.
    pub async fn serve_health_and(&self, ready: watch::Receiver<bool>, pages: Pages) -> io::Result<()> {
        health::serve(self.metrics_listen, ready, pages).await
    }

    /// Resolves on SIGTERM or SIGINT.
    pub async fn shutdown() {
        match (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) {
            (Ok(mut terminate), Ok(mut interrupt)) => {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
            }
            (Err(error), _) | (_, Err(error)) => {
                tracing::error!(%error, "cannot listen for signals: the process ends only by SIGKILL");
                std::future::pending().await
            }
        }
    }
}

/// Whether all parts of a process are ready, until one of them ends. Must be called within a tokio runtime.
pub fn all(mut parts: Vec<watch::Receiver<bool>>) -> watch::Receiver<bool> {
    let (sender, receiver) = watch::channel(false);
    tokio::spawn(async move {
        loop {
            for part in &mut parts {
                if part.wait_for(|ready| *ready).await.is_err() {
                    return;
                }
            }
            sender.send_replace(true);
            let lost =
                parts.iter().cloned().map(|mut part| async move { part.wait_for(|ready| !*ready).await.is_ok() });
            if lost.collect::<FuturesUnordered<_>>().next().await != Some(true) {
                return;
            }
            sender.send_replace(false);
        }
    });
    receiver
}
