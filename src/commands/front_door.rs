//! `kubelab front-door`: the balancer of `up` as a process of its own, for labs in containers.

use std::{net::SocketAddr, path::PathBuf};

use anyhow::Context;
use clap::Args;

use crate::front_door::{self, Backends, Credentials, Place};

/// Balance one address over the live apiservers
#[derive(Args)]
pub struct FrontDoor {
    /// Where clients connect
    #[arg(long)]
    listen: SocketAddr,
    /// The apiservers: apiserver-1:6443,apiserver-2:6443
    #[arg(long, value_delimiter = ',', required = true)]
    apiservers: Vec<String>,
    /// Where the apiservers take connections over: a folder of Unix sockets, apiserver-1.sock and so on
    #[arg(long)]
    handoffs: PathBuf,
    /// The authority that signed the apiservers' certificates (PEM)
    #[arg(long)]
    certificate_authority: PathBuf,
    /// The certificate that asks the apiservers how they are (PEM)
    #[arg(long)]
    client_certificate: PathBuf,
    /// Its key (PEM)
    #[arg(long)]
    client_key: PathBuf,
}

impl FrontDoor {
    pub async fn run(self) -> anyhow::Result<()> {
        let credentials = Credentials::read(&self.certificate_authority, &self.client_certificate, &self.client_key)?;
        let apiservers = self.apiservers.into_iter().map(|address| {
            let name = address.rsplit_once(':').with_context(|| format!("{address} has no port"))?.0.to_owned();
            let handoff = self.handoffs.join(format!("{name}.sock"));
            anyhow::Ok((name, Place { address, handoff }))
        });
        let backends = Backends::watch(apiservers.collect::<Result<_, _>>()?, &credentials)?;
        let listener = front_door::listen(self.listen).await?;
        tokio::select! {
            () = front_door::serve(listener, backends) => {}
            () = kubelab_client::process::Process::shutdown() => {}
        }
        Ok(())
    }
}
