//! The flags of an apiserver.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

use clap::Args;

/// How one apiserver is set up.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// The process's name
    #[arg(long, default_value = "apiserver-1")]
    pub name: String,
    /// This member's id in the store's raft group, from 1; never used again after its disk was lost
    #[arg(long, default_value_t = 1)]
    pub id: u64,
    /// Where the API is served, over TLS
    #[arg(long, default_value = "127.0.0.1:6444")]
    pub listen: SocketAddr,
    /// A Unix socket at which the lab's front door hands connections over [default: none does]
    #[arg(long)]
    pub handoff: Option<PathBuf>,
    /// Where the other apiservers reach this one's store
    #[arg(long, default_value = "127.0.0.1:7001")]
    pub peer_listen: SocketAddr,
    /// Every member of the store, this one too: 1=127.0.0.1:7001,2=127.0.0.1:7002 [default: this one alone]
    #[arg(long, value_delimiter = ',', value_parser = peer)]
    pub peers: Vec<(u64, String)>,
    /// Where the store keeps its log and snapshots
    #[arg(long)]
    pub data_dir: PathBuf,
    /// The certificate authority that signed the certificates of clients and members (PEM)
    #[arg(long)]
    pub certificate_authority: PathBuf,
    /// This apiserver's certificate, for clients and for its peers (PEM)
    #[arg(long)]
    pub tls_certificate: PathBuf,
    /// The certificate's key (PEM)
    #[arg(long)]
    pub tls_key: PathBuf,
    /// The key that signs and verifies service accounts' tokens (PEM)
    #[arg(long)]
    pub service_account_key: PathBuf,
    /// Who issues service accounts' tokens
    #[arg(long, default_value = "https://kubernetes.default.svc.cluster.local")]
    pub service_account_issuer: String,
    /// The certificate that other servers see when requests are passed on to them (PEM)
    #[arg(long, requires = "proxy_client_key")]
    pub proxy_client_certificate: Option<PathBuf>,
    /// That certificate's key (PEM)
    #[arg(long)]
    pub proxy_client_key: Option<PathBuf>,
    /// The certificate authority that signed that certificate, for other servers to check it with (PEM)
    #[arg(long)]
    pub requestheader_client_ca: Option<PathBuf>,
    /// Whether the tokens that kubelets get for pods last a year instead of an hour
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set)]
    pub service_account_extend_token_expiration: bool,
    /// The address under which the cluster knows this apiserver [default: that of --listen]
    #[arg(long)]
    pub advertise_address: Option<IpAddr>,
    /// Where clients reach the cluster, for the ConfigMap cluster-info in kube-public [default: no such ConfigMap]
    #[arg(long, value_name = "URL")]
    pub cluster_info_server: Option<String>,
    /// Tokens that stand in a file: token,user,uid,"group1,group2" a line
    #[arg(long)]
    pub token_auth_file: Option<PathBuf>,
    /// Whether those who show neither a certificate nor a token are let in as system:anonymous
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set)]
    pub anonymous_auth: bool,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub audit: crate::audit::flags::Flags,
}

fn peer(text: &str) -> Result<(u64, String), String> {
    let (id, address) = text.split_once('=').ok_or("write ID=HOST:PORT, such as 1=127.0.0.1:7001")?;
    let id = id.parse().ok().filter(|id| *id > 0).ok_or_else(|| format!("{id:?} is no id: ids count from 1"))?;
    match address.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => Ok((id, address.to_owned())),
        _ => Err(format!("{address:?} is no HOST:PORT")),
    }
}

impl Options {
    /// The members of the store.
    pub fn members(&self) -> anyhow::Result<BTreeMap<u64, String>> {
        let mut members = BTreeMap::new();
        for (id, address) in &self.peers {
            if members.insert(*id, address.clone()).is_some() {
                anyhow::bail!("--peers names the id {id} twice");
            }
        }
        if members.is_empty() {
            members.insert(self.id, self.peer_listen.to_string());
        }
        if !members.contains_key(&self.id) {
            anyhow::bail!("--peers does not name this member: add {}={}", self.id, self.peer_listen);
        }
        Ok(members)
    }

    /// The address under which the cluster knows this apiserver.
    pub fn advertised(&self) -> IpAddr {
        self.advertise_address.unwrap_or_else(|| self.listen.ip())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        options: Options,
    }

    fn parse(flags: &[&str]) -> Result<Options, String> {
        let files = ["data-dir", "certificate-authority", "tls-certificate", "tls-key", "service-account-key"];
        let needed = files.map(|flag| format!("--{flag}=x"));
        let all = ["apiserver".to_owned()].into_iter().chain(needed).chain(flags.iter().map(|flag| (*flag).to_owned()));
        Cli::try_parse_from(all).map(|cli| cli.options).map_err(|error| error.to_string())
    }

    #[test]
    fn members_are_named() {
        let three = parse(&["--id=2", "--peers=1=127.0.0.1:7001,2=127.0.0.1:7002,3=apiserver-3:7000"]).unwrap();
        assert_eq!(three.members().unwrap()[&3], "apiserver-3:7000");
        assert_eq!(parse(&["--peer-listen=127.0.0.1:9"]).unwrap().members().unwrap()[&1], "127.0.0.1:9");
        let absent = parse(&["--id=4", "--peers=1=127.0.0.1:7001"]).unwrap().members().unwrap_err();
        assert!(absent.to_string().contains("add 4="), "{absent}");
    }

    #[test]
    fn wrong_flags_are_explained() {
        for (flag, hint) in [
            ("--peers=127.0.0.1:7001", "write ID=HOST:PORT"),
            ("--peers=0=127.0.0.1:7001", "ids count from 1"),
            ("--peers=1=localhost", "is no HOST:PORT"),
        ] {
            let error = parse(&[flag]).unwrap_err();
            assert!(error.contains(hint), "{error}");
        }
    }
}
