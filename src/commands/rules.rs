//! `kubelab rules`

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, bail};
use clap::Args;
use http_body_util::{BodyExt, Empty};
use hyper::{Request, StatusCode, body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::timeout};

use super::say;
use crate::{Which, lab::addresses::KUBE_PROXY_HEALTH_PORT};

/// How long a kube-proxy may take to print its rules.
const PATIENCE: Duration = Duration::from_secs(10);

/// Print a node's service rules, as iptables-save, nft, or ipvsadm and ipset would print them there
#[derive(Args)]
pub struct Rules {
    /// The node: node-1, or node/node-1 as kubectl names it
    node: String,
    #[command(flatten)]
    which: Which,
}

impl Rules {
    pub async fn run(self) -> anyhow::Result<()> {
        let layout = self.which.layout()?;
        let spec = layout.require()?;
        let name = self.node.strip_prefix("node/").unwrap_or(&self.node);
        let number = name.strip_prefix("node-").and_then(|number| number.parse().ok());
        let Some(number) = number.filter(|number| spec.nodes.contains(number)) else {
            let known: Vec<String> = spec.nodes.iter().map(|number| format!("node-{number}")).collect();
            bail!("there is no node {name:?} in this lab; there are: {}", known.join(", "));
        };
        // Nodes that share a kube-proxy's process are asked for at the first one's address.
        let first = spec.members(spec.group(number)).first().copied().unwrap_or(number);
        let address = SocketAddr::new(spec.subnet.node(first), KUBE_PROXY_HEALTH_PORT);
        let page = timeout(PATIENCE, page(address, &format!("/rules/{name}"))).await;
        let rules = page
            .map_err(anyhow::Error::from)
            .flatten()
            .with_context(|| format!("the kube-proxy of {name} does not tell; `kubelab status` shows how it is"))?;
        say(rules.trim_end())?;
        Ok(())
    }
}

async fn page(address: SocketAddr, path: &str) -> anyhow::Result<String> {
    let stream = TcpStream::connect(address).await.with_context(|| format!("nothing listens on {address}"))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let request = Request::get(path).header("Host", address.to_string()).body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    if status != StatusCode::OK {
        bail!("{address} answers {status}");
    }
    Ok(String::from_utf8_lossy(&body).into_owned())
}
