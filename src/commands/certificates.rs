//! `kubelab certificates`: what `up` does for itself, for labs that are started by other means (containers).

use std::{net::IpAddr, path::PathBuf};

use anyhow::Context;
use clap::Args;

use super::say;
use crate::lab::{kubeconfig, pki::Pki, plan};

/// Make a lab's certificates and its kubeconfig, and keep those that are there
#[derive(Args)]
pub struct Certificates {
    /// Where they go
    #[arg(long)]
    folder: PathBuf,
    /// How many apiservers
    #[arg(long, default_value_t = 3)]
    apiservers: u16,
    /// A node and its address: node-1=172.30.0.21; may be given again
    #[arg(long = "node", value_parser = node)]
    nodes: Vec<(String, IpAddr)>,
    /// The address that the kubeconfig names
    #[arg(long, default_value = "https://127.0.0.1:6443")]
    server: String,
    /// The lab's name
    #[arg(long, default_value = "lab")]
    name: String,
}

fn node(text: &str) -> anyhow::Result<(String, IpAddr)> {
    let (name, address) = text.split_once('=').context("write it as NAME=ADDRESS")?;
    Ok((name.to_owned(), address.parse()?))
}

impl Certificates {
    pub fn run(self) -> anyhow::Result<()> {
        std::fs::create_dir_all(&self.folder).with_context(|| format!("cannot create {}", self.folder.display()))?;
        let pki = Pki::open(&self.folder)?;
        plan::issue_control_plane_certificates(self.apiservers, |_| Vec::new(), &pki)?;
        for (node, address) in &self.nodes {
            plan::issue_node_certificate(&pki, node, *address)?;
        }
        let path = self.folder.join("kubeconfig");
        kubeconfig::save(&path, &self.name, &self.server, &pki)?;
        Ok(say(format_args!("{} is ready", path.display()))?)
    }
}
