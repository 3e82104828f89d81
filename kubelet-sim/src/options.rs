//! The process's flags.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    str::FromStr,
};

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
    /// The node's name
    #[arg(long)]
    pub node: String,
    /// The node's address
    #[arg(long, default_value = "127.0.0.1")]
    pub node_ip: IpAddr,
    /// Where the node is served to kube-proxies and apiservers (gRPC); port 0 takes any free one
    #[arg(long, default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
    /// The certificate to serve with (PEM), valid for the node's name; the client certificate by default
    #[arg(long, requires = "tls_key")]
    pub tls_certificate: Option<PathBuf>,
    /// Its key (PEM)
    #[arg(long, requires = "tls_certificate")]
    pub tls_key: Option<PathBuf>,
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
    /// Multiplies the time that simulated pulls and starts take; 0 for none
    #[arg(long, default_value_t = 1.0, value_parser = factor)]
    pub delays: f64,
}

impl Options {
    /// The certificate to serve with, and its key.
    pub fn serving_identity(&self) -> (&Path, &Path) {
        let certificate = self.tls_certificate.as_ref().unwrap_or(&self.connection.client_certificate);
        (certificate, self.tls_key.as_ref().unwrap_or(&self.connection.client_key))
    }

    /// The node that these flags describe.
    pub fn config(&self, port: u16) -> node::Config {
        node::Config {
            name: self.node.clone(),
            ip: self.node_ip,
            port,
            capacity: self.capacity.0.clone(),
            labels: self.node_labels.iter().cloned().collect(),
            places: Places {
                host: self.data_dir.join("host"),
                shared: self.volumes_dir.clone().unwrap_or_else(|| self.data_dir.join("volumes")),
            },
        }
    }
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

    #[test]
    fn labels_and_factors_are_checked() {
        assert_eq!(label("disk=ssd"), Ok(("disk".to_owned(), "ssd".to_owned())));
        assert!(label("disk").is_err());
        assert_eq!(factor("0.5"), Ok(0.5));
        assert!(factor("-1").is_err() && factor("NaN").is_err() && factor("fast").is_err());
    }
}
