//! The process's flags.

use std::net::IpAddr;

use clap::Args;
use kubelab_client::process::{Connection, Process};

use crate::{
    balance::{Mode, ProxyMode, Scheduler},
    proxy,
};

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
    /// How connections are balanced: at random as by iptables' rules, or by a scheduler of IPVS
    #[arg(long, value_enum, default_value_t = ProxyMode::Iptables)]
    pub proxy_mode: ProxyMode,
    /// The scheduler in IPVS mode
    #[arg(long, value_enum, default_value_t = Scheduler::Rr)]
    pub ipvs_scheduler: Scheduler,
}

impl Options {
    /// The proxy that these flags describe.
    pub fn config(&self) -> proxy::Config {
        let mode = Mode::of(self.proxy_mode, self.ipvs_scheduler);
        proxy::Config { node: self.node.clone(), ip: self.node_ip, mode }
    }
}
