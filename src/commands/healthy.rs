//! `kubelab healthy`: a container's health check.

use std::{net::SocketAddr, path::PathBuf};

use anyhow::bail;
use clap::Args;
use kubelab_proto::flow::{MemberRequest, flow_client::FlowClient};

use crate::{front_door::Credentials, lab::pki::Pki, supervisor::observer::healthy};

/// Succeed if a component serves: an apiserver that knows the raft leader, another that says it is ready
#[derive(Args)]
pub struct Healthy {
    /// Where it answers /readyz; for an apiserver, its API
    address: SocketAddr,
    /// The certificates, for an apiserver
    #[arg(long)]
    pki: Option<PathBuf>,
}

impl Healthy {
    pub async fn run(self) -> anyhow::Result<()> {
        let Some(folder) = self.pki else {
            if !healthy(self.address).await {
                bail!("{} is not ready", self.address);
            }
            return Ok(());
        };
        let pki = Pki::open(&folder)?;
        let credentials = Credentials::read(&pki.authority(), &pki.certificate("admin"), &pki.key("admin"))?;
        let channel = credentials.channel(&self.address.to_string())?;
        let member = FlowClient::new(channel).member(MemberRequest {}).await?.into_inner();
        if member.leader == 0 {
            bail!("{} knows no raft leader", member.name);
        }
        Ok(())
    }
}
