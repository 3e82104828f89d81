//! The process's flags.

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
};

use clap::Args;
use ipnet::IpNet;
use kubelab_client::process::{Connection, Process};

use crate::{
    balance::{Mode, ProxyMode, Scheduler},
    network::door,
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
    /// A node and its address, where node ports are opened: node-1=127.0.0.1. May be given again: one process can serve
    /// many nodes
    #[arg(long = "node", required = true, value_parser = node)]
    pub nodes: Vec<(String, IpAddr)>,
    /// The network that pods have their addresses from
    #[arg(long, default_value = "10.244.0.0/16")]
    pub cluster_cidr: IpNet,
    /// How connections are balanced: at random as by iptables' or nftables' rules, or by a scheduler of IPVS
    #[arg(long, value_enum, default_value_t = ProxyMode::Iptables)]
    pub proxy_mode: ProxyMode,
    /// The scheduler in IPVS mode
    #[arg(long, value_enum, default_value_t = Scheduler::Rr)]
    pub ipvs_scheduler: Scheduler,
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

    /// The proxies that these flags describe.
    pub fn configs(&self) -> Vec<proxy::Config> {
        let mode = Mode::of(self.proxy_mode, self.ipvs_scheduler);
        let config = |(node, ip): &(String, IpAddr)| proxy::Config {
            node: node.clone(),
            ip: *ip,
            cluster_cidr: self.cluster_cidr,
            mode,
        };
        self.nodes.iter().map(config).collect()
    }
}

fn node(text: &str) -> Result<(String, IpAddr), String> {
    let (node, ip) = text.split_once('=').ok_or_else(|| format!("{text:?} is not of the form NAME=ADDRESS"))?;
    let ip = ip.parse().map_err(|_| format!("{ip:?} is no IP address"))?;
    Ok((node.to_owned(), ip))
}
