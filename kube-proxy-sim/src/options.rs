//! The process's flags.

use std::path::{Path, PathBuf};

use clap::Args;
use kubelab_client::process::{Connection, Process};

use crate::{network::door, proxy};

/// The flags of a kube-proxy-sim process.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// How to reach the apiservers.
    #[command(flatten)]
    pub connection: Connection,
    /// What every process has.
    #[command(flatten)]
    pub process: Process,
    /// A node and its address, where node ports are opened: node-1=127.0.0.1. May be given again: one process can serve
    /// many nodes
    #[arg(long = "node", required = true, value_parser = config)]
    pub nodes: Vec<proxy::Config>,
    /// Where the kubelet of each node brings its pods' connections (gRPC), on the node's address
    #[arg(long, default_value_t = door::PORT)]
    pub dial_port: u16,
    /// The certificate to serve with (PEM), valid for the name kube-proxy; the client certificate by default
    #[arg(long, requires = "tls_key")]
    pub tls_certificate: Option<PathBuf>,
    /// Its key (PEM)
    #[arg(long, requires = "tls_certificate")]
    pub tls_key: Option<PathBuf>,
}

impl Options {
    /// The certificate to serve with, and its key.
    pub fn serving_identity(&self) -> (&Path, &Path) {
        let certificate = self.tls_certificate.as_ref().unwrap_or(&self.connection.client_certificate);
        (certificate, self.tls_key.as_ref().unwrap_or(&self.connection.client_key))
    }
}

fn config(text: &str) -> Result<proxy::Config, String> {
    let (node, ip) = text.split_once('=').ok_or_else(|| format!("{text:?} is not of the form NAME=ADDRESS"))?;
    let ip = ip.parse().map_err(|_| format!("{ip:?} is no IP address"))?;
    Ok(proxy::Config { node: node.to_owned(), ip })
}
