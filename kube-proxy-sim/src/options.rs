//! The process's flags.

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
    /// A node and its address, where node ports are opened: node-1=127.0.0.1. May be given again: one process can serve
    /// many nodes
    #[arg(long = "node", required = true, value_parser = config)]
    pub nodes: Vec<proxy::Config>,
}

fn config(text: &str) -> Result<proxy::Config, String> {
    let (node, ip) = text.split_once('=').ok_or_else(|| format!("{text:?} is not of the form NAME=ADDRESS"))?;
    let ip = ip.parse().map_err(|_| format!("{ip:?} is no IP address"))?;
    Ok(proxy::Config { node: node.to_owned(), ip })
}
