//! The process's flags.

use std::{
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
};

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
    /// The node's name
    #[arg(long)]
    pub node: String,
    /// The node's address, where node ports are opened
    #[arg(long, default_value = "127.0.0.1")]
    pub node_ip: IpAddr,
    /// Where the node's kubelet brings its pods' connections (gRPC) [default: port 10266 of the node's address]
    #[arg(long)]
    pub dial_listen: Option<SocketAddr>,
    /// The certificate to serve with (PEM), valid for the name kube-proxy; the client certificate by default
    #[arg(long, requires = "tls_key")]
    pub tls_certificate: Option<PathBuf>,
    /// Its key (PEM)
    #[arg(long, requires = "tls_certificate")]
    pub tls_key: Option<PathBuf>,
}

impl Options {
    /// The proxy that these flags describe.
    pub fn config(&self) -> proxy::Config {
        proxy::Config { node: self.node.clone(), ip: self.node_ip }
    }

    /// Where the node's kubelet brings its pods' connections.
    pub fn dial_address(&self) -> SocketAddr {
        self.dial_listen.unwrap_or_else(|| SocketAddr::new(self.node_ip, door::PORT))
    }

    /// The certificate to serve with, and its key.
    pub fn serving_identity(&self) -> (&Path, &Path) {
        let certificate = self.tls_certificate.as_ref().unwrap_or(&self.connection.client_certificate);
        (certificate, self.tls_key.as_ref().unwrap_or(&self.connection.client_key))
    }
}
