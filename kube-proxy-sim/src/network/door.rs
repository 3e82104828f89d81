//! `Proxy.Dial`: connections from the node's pods. Only the node's own kubelet is let in, for it alone knows which pod
//! dials.

use std::{
    net::{IpAddr, SocketAddr},
    path::Path,
};

use anyhow::Context;
use kubelab_client::process::Connection;
use kubelab_proto::node::{
    DialRequest,
    proxy_server::{Proxy, ProxyServer},
};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{
    Request, Response, Status, Streaming,
    transport::{Certificate, Identity, Server, ServerTlsConfig},
};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{Call, Network, Protocol, Replies, wire};
use crate::dial::read;

/// The port that a node's proxy is served on; upstream has nothing there.
pub const PORT: u16 = 10266;

/// The name in the certificates of all proxies.
pub const NAME: &str = "kube-proxy";

/// Connections under way at a time.
const MAX_STREAMS: u32 = 10_000;

/// Listens at a node's address.
pub async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let listening = TcpListener::bind(address).await;
    listening
        .with_context(|| format!("cannot listen on {address} for the node's pods: give a free port with --dial-port"))
}

/// How the doors of a process's nodes are served.
pub struct Doors(ServerTlsConfig);

impl Doors {
    /// With this certificate and key (PEM files); for kubelets that the connection's authority knows.
    pub fn new(connection: &Connection, identity: (&Path, &Path)) -> anyhow::Result<Self> {
        let (certificate, key) = identity;
        let tls = ServerTlsConfig::new()
            .identity(Identity::from_pem(read(certificate)?, read(key)?))
            .client_ca_root(Certificate::from_pem(read(&connection.certificate_authority)?));
        Ok(Self(tls))
    }

    /// Serves a node's pods until dropped.
    pub fn serve(
        &self,
        listener: TcpListener,
        node: &str,
        network: Network,
    ) -> impl Future<Output = anyhow::Result<()>> + use<> {
        let tls = self.0.clone();
        let service = Door { caller: format!("system:node:{node}"), network };
        async move {
            Server::builder()
                .tls_config(tls)
                .context("the certificate to serve with cannot be used")?
                .max_concurrent_streams(Some(MAX_STREAMS))
                .tcp_nodelay(true)
                .add_service(ProxyServer::new(service))
                .serve_with_incoming(TcpListenerStream::new(listener))
                .await?;
            Ok(())
        }
    }
}

struct Door {
    caller: String,
    network: Network,
}

#[tonic::async_trait]
impl Proxy for Door {
    type DialStream = Replies;

    async fn dial(&self, request: Request<Streaming<DialRequest>>) -> Result<Response<Replies>, Status> {
        let caller = caller(&request).unwrap_or_default();
        if caller != self.caller {
            return Err(Status::permission_denied(format!("{caller:?} is not the kubelet of this node")));
        }
        let mut sent = request.into_inner();
        let first = sent.message().await?.ok_or_else(|| Status::invalid_argument("the first message says where to"))?;
        let call = call(&first).map_err(Status::invalid_argument)?;
        let pipe = self.network.dial(&call).await.map_err(|failure| failure.status())?;
        tokio::spawn(wire::pass(sent, pipe.send));
        Ok(Response::new(pipe.receive))
    }
}

/// What a first message asks for.
fn call(first: &DialRequest) -> Result<Call, String> {
    let to = first.address.parse().map_err(|_| format!("{:?} is not an address with a port", first.address))?;
    let from: IpAddr = first.source.parse().map_err(|_| format!("{:?} is not a pod's address", first.source))?;
    let protocol = match first.protocol.as_str() {
        "" | "TCP" => Protocol::Tcp,
        "UDP" => Protocol::Udp,
        other => return Err(format!("{other:?} is not carried by the lab's network: TCP and UDP are")),
    };
    let pod = first.source_pod.split_once('/').map(|(namespace, name)| (namespace.to_owned(), name.to_owned()));
    Ok(Call { from, pod, to, protocol })
}

fn caller<T>(request: &Request<T>) -> Option<String> {
    let certificates = request.peer_certs()?;
    let (_, certificate) = X509Certificate::from_der(certificates.first()?).ok()?;
    let name = certificate.subject().iter_common_name().next()?.as_str().ok()?.to_owned();
    Some(name)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn first_messages_say_who_dials_where() {
        let message = |protocol: &str| DialRequest {
            address: "10.96.0.10:53".to_owned(),
            source: "10.244.1.7".to_owned(),
            source_pod: "shop/web".to_owned(),
            protocol: protocol.to_owned(),
            ..Default::default()
        };
        for (protocol, expected) in [("", Protocol::Tcp), ("TCP", Protocol::Tcp), ("UDP", Protocol::Udp)] {
            let call = call(&message(protocol)).unwrap();
            assert_eq!((call.protocol, call.pod), (expected, Some(("shop".to_owned(), "web".to_owned()))));
        }
        assert_eq!(
            call(&message("SCTP")).unwrap_err(),
            "\"SCTP\" is not carried by the lab's network: TCP and UDP are"
        );
        assert!(call(&DialRequest { source: String::new(), ..message("") }).is_err(), "nobody dials");
    }
}
