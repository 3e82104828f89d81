//! The cluster's DNS server, in the place of CoreDNS: names of Services and pods, as the Kubernetes DNS specification has
//! them (<https://github.com/kubernetes/dns/blob/master/docs/specification.md>, version 1.1.0).
//!
//! | module | what it is |
//! | --- | --- |
//! | [`name`] | what a name asks for (pure) |
//! | [`answer`] | the records that answer a question (pure) |
//! | [`zone`] | the objects that records are made from |
//! | [`message`] | a query's bytes to a response's (pure) |
//!
//! The lab has no other DNS server: names outside of the cluster's domain do not exist.

pub mod answer;
pub mod message;
pub mod name;
pub mod zone;

use std::{sync::Arc, time::Duration};

use futures::future::BoxFuture;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    time::timeout,
};

use self::zone::Watched;
use crate::{Connection, Container, Program};

/// How long a query may wait for the server to know the cluster, after its start.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long a connection may be silent. Source: the `idle_timeout` of CoreDNS.
const IDLE: Duration = Duration::from_secs(10);

/// The DNS server.
pub struct Server {
    container: Container,
    zone: Watched,
}

impl Server {
    /// A server that begins to watch the cluster.
    pub fn new(container: Container) -> Self {
        let zone = Watched::start(&container.client.with_agent("coredns"));
        Self { container, zone }
    }

    async fn answer_all(&self, mut stream: DuplexStream) -> std::io::Result<()> {
        loop {
            let Ok(length) = timeout(IDLE, stream.read_u16()).await else { return Ok(()) };
            let mut query = vec![0; usize::from(length?)];
            stream.read_exact(&mut query).await?;
            let knows = timeout(PATIENCE, self.zone.synced()).await.is_ok();
            let response = message::respond(knows.then_some(&self.zone), &query);
            let Some(length) = response.as_ref().and_then(|bytes| u16::try_from(bytes.len()).ok()) else {
                return Ok(());
            };
            stream.write_u16(length).await?;
            stream.write_all(&response.unwrap_or_default()).await?;
        }
    }
}

impl Program for Server {
    fn run(self: Arc<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let version = self.container.version.trim_start_matches('v');
            let log = &self.container.log;
            log(".:53");
            self.zone.synced().await;
            log(&format!("CoreDNS-{version}"));
            std::future::pending().await
        })
    }

    fn serve(self: Arc<Self>, connection: Connection) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            // Whoever leaves in the middle of a question needs no answer.
            let _ = self.answer_all(connection.stream).await;
        })
    }
}
