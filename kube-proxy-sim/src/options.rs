//! The process's flags.

use std::net::IpAddr;

use clap::Args;
use kubelab_client::process::{Connection, Process};

use crate::proxy;

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
}

impl Options {
    /// The proxy that these flags describe.
    pub fn config(&self) -> proxy::Config {
        proxy::Config { node: self.node.clone(), ip: self.node_ip }
    }
}
