//! The process's flags.

use std::{collections::BTreeMap, net::IpAddr, path::PathBuf, str::FromStr};

use clap::Args;
use kubelab_api::Quantity;
use kubelab_client::process::{Connection, Process};

use crate::{node, pod::admission::Allocatable, volumes::place::Places};

/// The flags of a kubelet-sim process.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// How to reach the apiservers.
    #[command(flatten)]
    pub connection: Connection,
    /// What every process has.
    #[command(flatten)]
    pub process: Process,
    /// A node and its address: node-1=127.0.0.1. May be given again: one process can be many nodes; in the paths of
    /// certificates, keys and --data-dir, `{node}` then stands for the node's name
    #[arg(long = "node", required = true, value_parser = place)]
    pub nodes: Vec<(String, IpAddr)>,
    /// Where each node is served to kube-proxies and apiservers (gRPC), on its address; 0 takes any free one
    #[arg(long, default_value_t = 10250)]
    pub port: u16,
    /// The certificate to serve with (PEM), valid for the node's name; the client certificate by default
    #[arg(long, requires = "tls_key")]
    pub tls_certificate: Option<PathBuf>,
    /// Its key (PEM)
    #[arg(long, requires = "tls_certificate")]
    pub tls_key: Option<PathBuf>,
    /// Where the kube-proxy of each node takes its pods' connections (gRPC), on the node's address
    #[arg(long, default_value_t = crate::network::proxy::PORT)]
    pub proxy_port: u16,
    /// Where the node keeps its containers' state
    #[arg(long)]
    pub data_dir: PathBuf,
    /// Where the content of persistent volumes is, the same for all nodes of a lab; a folder of the node's by default
    #[arg(long)]
    pub volumes_dir: Option<PathBuf>,
    /// What the node has: cpu=4,memory=8Gi,pods=110
    #[arg(long, default_value = "")]
    pub capacity: Capacity,
    /// Labels of the node: disk=ssd,topology.kubernetes.io/zone=a
    #[arg(long, value_delimiter = ',', value_parser = label)]
    pub node_labels: Vec<(String, String)>,
    /// Where manifests of static pods are: a folder or a file (YAML). `{node}` stands for the node's name
    #[arg(long, value_name = "PATH")]
    pub pod_manifest_path: Option<PathBuf>,
    /// What containers do, by their images and labels: a file of Behaviors of kubelab.dev/v1alpha1, or Stages of kwok (YAML)
    #[arg(long, value_name = "FILE")]
    pub behaviors: Option<PathBuf>,
    /// Multiplies the time that simulated pulls and starts take; 0 for none
    #[arg(long, default_value_t = 1.0, value_parser = factor)]
    pub delays: f64,
}

impl Options {
    /// The nodes that these flags describe.
    pub fn hosts(&self) -> Result<Vec<Host>, SharedPath> {
        let Self { connection, tls_certificate, tls_key, data_dir, .. } = self;
        if self.nodes.len() > 1 {
            for (flag, path) in [
                ("--client-certificate", &connection.client_certificate),
                ("--client-key", &connection.client_key),
                ("--data-dir", data_dir),
            ] {
                if !path.to_string_lossy().contains(NODE) {
                    return Err(SharedPath { flag, path: path.clone() });
                }
            }
        }
        let host = |(name, ip): &(String, IpAddr)| {
            let own = |path: &PathBuf| PathBuf::from(path.to_string_lossy().replace(NODE, name));
            let client_certificate = own(&connection.client_certificate);
            let client_key = own(&connection.client_key);
            Host {
                name: name.clone(),
                ip: *ip,
                tls_certificate: tls_certificate.as_ref().map_or_else(|| client_certificate.clone(), own),
                tls_key: tls_key.as_ref().map_or_else(|| client_key.clone(), own),
                connection: Connection { client_certificate, client_key, ..connection.clone() },
                data_dir: own(data_dir),
                manifests: self.pod_manifest_path.as_ref().map(own),
            }
        };
        Ok(self.nodes.iter().map(host).collect())
    }

    /// What this node is, served at a port.
    pub fn config(&self, host: &Host, port: u16) -> node::Config {
        node::Config {
            name: host.name.clone(),
            ip: host.ip,
            port,
            capacity: self.capacity.0.clone(),
            labels: self.node_labels.iter().cloned().collect(),
            manifests: host.manifests.clone(),
            places: Places {
                host: host.data_dir.join("host"),
                shared: self.volumes_dir.clone().unwrap_or_else(|| host.data_dir.join("volumes")),
            },
        }
    }
}

/// Stands for a node's name in paths.
const NODE: &str = "{node}";

/// One node of the process.
#[derive(Clone, Debug)]
pub struct Host {
    /// Its name.
    pub name: String,
    /// Its address.
    pub ip: IpAddr,
    /// How it reaches the apiservers, as itself.
    pub connection: Connection,
    /// The certificate that it serves with (PEM).
    pub tls_certificate: PathBuf,
    /// Its key (PEM).
    pub tls_key: PathBuf,
    /// Where it keeps its containers' state.
    pub data_dir: PathBuf,
    /// Where its manifests of static pods are.
    pub manifests: Option<PathBuf>,
}

/// Several nodes would share what each needs for itself.
#[derive(Debug, thiserror::Error)]
#[error("{flag} {} is one for several nodes: write {NODE} into it, where each node's name goes", path.display())]
pub struct SharedPath {
    /// Which flag.
    pub flag: &'static str,
    /// What it says.
    pub path: PathBuf,
}

/// What a node has, by resource.
#[derive(Clone, Debug, PartialEq)]
pub struct Capacity(pub Allocatable);

impl FromStr for Capacity {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let defaults = [("cpu", "4"), ("memory", "8Gi"), ("pods", "110"), ("ephemeral-storage", "64Gi")];
        let given = text.split(',').filter(|part| !part.is_empty()).map(|part| {
            part.split_once('=').ok_or_else(|| format!("{part:?} is not of the form resource=amount, such as cpu=4"))
        });
        let mut capacity = BTreeMap::new();
        for part in defaults.into_iter().map(Ok).chain(given) {
            let (resource, amount) = part?;
            let parsed: Quantity = amount.parse().map_err(|error| format!("{resource}={amount}: {error}"))?;
            if parsed.signum() < 0 {
                return Err(format!("{resource}={amount}: a node cannot have less than nothing"));
            }
            capacity.insert(resource.to_owned(), parsed);
        }
        Ok(Self(capacity))
    }
}

fn place(text: &str) -> Result<(String, IpAddr), String> {
    let (name, ip) = text.split_once('=').ok_or_else(|| format!("{text:?} is not of the form NAME=ADDRESS"))?;
    let ip = ip.parse().map_err(|_| format!("{ip:?} is no IP address"))?;
    Ok((name.to_owned(), ip))
}

fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or_else(|| format!("{text:?} is not of the form key=value"))?;
    Ok((key.to_owned(), value.to_owned()))
}

fn factor(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(factor) if (0.0..=1000.0).contains(&factor) => Ok(factor),
        _ => Err(format!("{text:?} is not a number from 0 to 1000")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn capacity_is_completed_and_checked() {
        let cpu =
            |text: &str| text.parse::<Capacity>().map(|capacity| (capacity.0["cpu"].to_string(), capacity.0.len()));
        assert_eq!(cpu(""), Ok(("4".to_owned(), 4)));
        assert_eq!(cpu("cpu=500m,example.com/gpu=1"), Ok(("500m".to_owned(), 5)));
        for bad in ["cpu", "cpu=lots", "cpu=-1"] {
            assert!(cpu(bad).is_err(), "{bad}");
        }
    }

    #[derive(clap::Parser)]
    struct Program {
        #[command(flatten)]
        options: Options,
    }

    fn hosts(flags: &[&str]) -> Result<Vec<Host>, String> {
        let usual = ["kubelet-sim", "--name=k", "--metrics-listen=127.0.0.1:0", "--apiservers=https://a"];
        let usual = usual.into_iter().chain(["--certificate-authority=ca.crt"]);
        let program = <Program as clap::Parser>::try_parse_from(usual.chain(flags.iter().copied()));
        let hosts = program.map_err(|error| error.to_string())?.options.hosts();
        hosts.map_err(|error| error.to_string())
    }

    #[test]
    fn one_process_can_be_many_nodes() {
        let own = ["--client-certificate={node}.crt", "--client-key={node}.key", "--data-dir=/lab/{node}"];
        let many = hosts(&[&["--node=a=127.0.0.1", "--node=b=127.0.0.2"], &own[..]].concat()).unwrap();
        let seen: Vec<_> = many.iter().map(|host| (host.ip.to_string(), host.tls_key.to_str().unwrap())).collect();
        assert_eq!(seen, [("127.0.0.1".to_owned(), "a.key"), ("127.0.0.2".to_owned(), "b.key")]);
        assert_eq!(many[1].data_dir, PathBuf::from("/lab/b"));

        let shared = ["--client-certificate=x.crt", "--client-key=x.key", "--data-dir=/lab"];
        assert!(hosts(&[&["--node=a=127.0.0.1"], &shared[..]].concat()).is_ok(), "one node needs no placeholder");
        let error = hosts(&[&["--node=a=127.0.0.1", "--node=b=127.0.0.2"], &shared[..]].concat()).unwrap_err();
        assert!(error.contains("write {node} into it"), "{error}");
        assert!(hosts(&[&["--node=a"], &shared[..]].concat()).unwrap_err().contains("NAME=ADDRESS"));
    }

    #[test]
    fn labels_and_factors_are_checked() {
        assert_eq!(label("disk=ssd"), Ok(("disk".to_owned(), "ssd".to_owned())));
        assert!(label("disk").is_err());
        assert_eq!(factor("0.5"), Ok(0.5));
        assert!(factor("-1").is_err() && factor("NaN").is_err() && factor("fast").is_err());
    }
}
