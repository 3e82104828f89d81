//! The cluster's DNS server, in the place of CoreDNS: names of Services and pods, as the Kubernetes DNS specification has
//! them (<https://github.com/kubernetes/dns/blob/master/docs/specification.md>, version 1.1.0), and what else its Corefile
//! says.
//!
//! ```text
//!  a query ──► chain: which server ──► its plugins, in CoreDNS' order ──► the answer
//!                       ▲                  kubernetes ──► answer ◄── zone ◄── watch
//!  Corefile ──► corefile: servers
//! ```
//!
//! | module | what it is |
//! | --- | --- |
//! | [`corefile`] | the Corefile (pure) |
//! | [`plugins`] | what server blocks do with questions |
//! | [`chain`] | a question's way through the plugins |
//! | [`name`] | what a name asks for (pure) |
//! | [`answer`] | the records that answer a question (pure) |
//! | [`zone`] | the objects that records are made from |
//! | [`message`] | records on the wire (pure) |
//!
//! The lab has no other DNS server: names outside of the cluster's domain exist where a Corefile says so.

pub mod answer;
pub mod chain;
pub mod corefile;
pub mod message;
pub mod name;
pub mod plugins;
pub mod zone;

use std::{
    collections::HashMap,
    net::IpAddr,
    path::Path,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use futures::future::BoxFuture;
use kubelab_client::clock;
use kubelab_wire::datagram;
use tokio::time::timeout;

use self::{
    chain::Asker,
    corefile::{Corefile, Error},
    plugins::kubernetes::Pods,
    zone::{Watched, Zone},
};
use crate::{Connection, Container, Program, Protocol};

/// How long a query may wait for the server to know the cluster, after its start.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long a connection may be silent. Source: the `idle_timeout` of CoreDNS.
const IDLE: Duration = Duration::from_secs(10);

/// How soon a Corefile that cannot be used is looked at again, while there is no other.
const RETRY: Duration = Duration::from_secs(2);

/// Files that a Corefile may name, and that are read with it.
const FILES: [&str; 2] = ["/etc/resolv.conf", "/etc/hosts"];

/// The DNS server.
pub struct Server {
    container: Container,
    zone: Watched,
    corefile: RwLock<Option<Arc<Corefile>>>,
}

impl Server {
    /// A server that begins to watch the cluster.
    pub fn new(container: Container) -> Self {
        let zone = Watched::start(&container.client.with_agent("coredns"));
        Self { container, zone, corefile: RwLock::default() }
    }

    fn corefile(&self) -> Option<Arc<Corefile>> {
        self.corefile.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The text of the Corefile, and the files that it may name.
    async fn read(&self) -> (String, HashMap<&'static str, String>) {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let mut files = HashMap::new();
        for file in FILES {
            // A container without such a file has one that says nothing.
            files.insert(file, (self.container.read)(file).await.map(text).unwrap_or_default());
        }
        (self.container.read)(self.place()).await.map(|bytes| (text(bytes), files)).unwrap_or_default()
    }

    fn place(&self) -> &str {
        let arguments = &self.container.arguments;
        let given = arguments.iter().position(|argument| argument == "-conf").and_then(|at| arguments.get(at + 1));
        given.map_or("Corefile", String::as_str)
    }

    fn load(&self, text: &str, files: &HashMap<&'static str, String>) -> Result<(), Error> {
        let read = |path: &Path| files.get(path.to_str()?).cloned();
        let corefile = Corefile::parse(self.place(), text, &read)?;
        for server in corefile.servers() {
            let plugins = &server.plugins;
            if plugins.kubernetes.as_ref().is_some_and(|kubernetes| kubernetes.pods == Pods::Verified) {
                self.zone.watch_pods();
            }
            for name in &plugins.not_played {
                self.log(&format!("[WARNING] plugin/{name}: kubelab does not play this plugin"));
            }
        }
        *self.corefile.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(corefile));
        Ok(())
    }

    fn log(&self, line: &str) {
        (self.container.log)(line);
    }

    /// How soon the Corefile is looked at again; never, if it does not say so.
    fn interval(&self) -> Option<Duration> {
        let corefile = self.corefile();
        match &corefile {
            Some(corefile) => corefile.servers().iter().filter_map(|server| server.plugins.reload).min(),
            None => Some(RETRY),
        }
    }

    /// Takes up what the Corefile says when it changes. One that is wrong is told of, and the one before stays.
    async fn follow(&self, mut known: String) {
        loop {
            let Some(interval) = self.interval() else { return std::future::pending().await };
            clock::sleep(interval).await;
            let (text, files) = self.read().await;
            if text == known {
                continue;
            }
            self.log("[INFO] Reloading");
            match self.load(&text, &files) {
                Ok(()) => self.log("[INFO] Reloading complete"),
                Err(error) => {
                    self.log("[ERROR] Restart failed: Corefile could not be used; the one before stays");
                    self.log(&format!("[ERROR] plugin/reload: Corefile changed but reload failed: {error}"));
                }
            }
            known = text;
        }
    }

    async fn answer_all(&self, connection: Connection) -> std::io::Result<()> {
        let Connection { mut stream, protocol, port, from } = connection;
        loop {
            let Ok(query) = timeout(IDLE, datagram::read(&mut stream)).await else { return Ok(()) };
            let response = self.respond(&query?, from, protocol, port).await;
            let Some(response) = response.filter(|bytes| bytes.len() <= datagram::LONGEST) else { return Ok(()) };
            datagram::write(&mut stream, &response).await?;
        }
    }

    async fn respond(&self, query: &[u8], from: Option<IpAddr>, protocol: Protocol, port: u16) -> Option<Vec<u8>> {
        let knows = timeout(PATIENCE, self.zone.synced()).await.is_ok();
        let (corefile, log) = (self.corefile(), |line: &str| self.log(line));
        let asker = Asker {
            corefile: corefile.as_deref(),
            zone: knows.then_some(&self.zone as &(dyn Zone + Sync)),
            network: &*self.container.network,
            log: &log,
            from,
            protocol: if protocol == Protocol::Udp { "udp" } else { "tcp" },
            port,
        };
        chain::respond(&asker, query).await
    }
}

impl Program for Server {
    fn run(self: Arc<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let version = self.container.version.trim_start_matches('v').to_owned();
            let (text, files) = self.read().await;
            if let Err(error) = self.load(&text, &files) {
                self.log(&error.to_string());
            }
            self.log(".:53");
            self.zone.synced().await;
            self.log(&format!("CoreDNS-{version}"));
            self.follow(text).await;
        })
    }

    fn serve(self: Arc<Self>, connection: Connection) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            // Whoever leaves in the middle of a question needs no answer.
            let _ = self.answer_all(connection).await;
        })
    }
}
