//! A proxy, and a node whose pods say their address and end.

use std::{
    collections::BTreeSet,
    fs, io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::{Stream, StreamExt, stream};
use kubelab_client::{Client, process::Connection};
use kubelab_kube_proxy_sim::{
    balance::Mode,
    cluster::Cluster,
    dial::Nodes,
    network::{Network, Wires},
    proxy::{Config, Proxy},
};
use kubelab_proto::node::{
    DialReply, DialRequest, ExecReply, ExecRequest, LogsReply, LogsRequest, PageReply, PageRequest,
    node_server::{Node, NodeServer},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{
    Request, Response, Status, Streaming,
    transport::{Certificate, Identity, Server, ServerTlsConfig},
};

use crate::fake::{Fake, FakeServer};

/// Nodes are known by the name in their certificate; the test's certificate is for this one.
pub const NODE: &str = "localhost";

/// A pod answers with its address and what it was sent, once that is all.
#[derive(Clone, Default)]
struct Pods {
    dead: Arc<Mutex<BTreeSet<String>>>,
    hung: Arc<Mutex<BTreeSet<String>>>,
}

type Streamed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// A proxy asks for connections and nothing else.
fn never<T>() -> Result<T, Status> {
    Err(Status::unimplemented("no proxy asks for this"))
}

#[tonic::async_trait]
impl Node for Pods {
    type DialStream = Streamed<DialReply>;
    type LogsStream = Streamed<LogsReply>;
    type ExecStream = Streamed<ExecReply>;
    type AttachStream = Streamed<ExecReply>;

    async fn logs(&self, _: Request<LogsRequest>) -> Result<Response<Self::LogsStream>, Status> {
        never()
    }

    async fn exec(&self, _: Request<Streaming<ExecRequest>>) -> Result<Response<Self::ExecStream>, Status> {
        never()
    }

    async fn attach(&self, _: Request<Streaming<ExecRequest>>) -> Result<Response<Self::AttachStream>, Status> {
        never()
    }

    async fn page(&self, _: Request<PageRequest>) -> Result<Response<PageReply>, Status> {
        never()
    }

    async fn dial(&self, request: Request<Streaming<DialRequest>>) -> Result<Response<Self::DialStream>, Status> {
        let mut sent = request.into_inner();
        let first = sent.message().await?.unwrap();
        let address = first.address;
        if self.dead.lock().unwrap().contains(&address) {
            return Err(Status::failed_precondition("connection refused"));
        }
        if self.hung.lock().unwrap().contains(&address) {
            return std::future::pending().await;
        }
        if first.protocol == "UDP" {
            let answer = sent.map(move |message| {
                let datagram = [format!("{address} got ").as_bytes(), &message?.data[2..]].concat();
                let length = u16::try_from(datagram.len()).unwrap().to_be_bytes();
                Ok(DialReply { data: [&length[..], &datagram].concat().into() })
            });
            return Ok(Response::new(answer.boxed()));
        }
        let answer = stream::once(async move {
            let mut all = format!("{address} got ").into_bytes();
            while let Some(message) = sent.message().await? {
                all.extend_from_slice(&message.data);
            }
            Ok(DialReply { data: all.into() })
        });
        Ok(Response::new(answer.boxed()))
    }
}

pub struct Rig {
    pub api: Fake,
    _server: FakeServer,
    pods: Pods,
    pub proxy: Arc<Proxy>,
    nodes: Arc<Nodes>,
    pub ip: IpAddr,
}

impl Rig {
    /// `ip`: a loopback address of the test's own, so that tests do not fight for ports.
    pub async fn new(ip: [u8; 4]) -> Self {
        Self::with(ip, Mode::Iptables).await
    }

    /// The same with a proxy that balances so.
    pub async fn with(ip: [u8; 4], mode: Mode) -> Self {
        let api = Fake::new();
        let server = api.serve();
        let connection = api.connection(&[&server]);
        let pods = Pods::default();
        let kubelet = serve_node(&connection, pods.clone()).await;
        let status = json!({"addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": kubelet.port()}}});
        api.put("nodes", json!({"metadata": {"name": NODE}, "spec": {"podCIDR": "10.244.1.0/24"}, "status": status}));
        let client = Client::new(&connection).unwrap();
        let cluster = Arc::new(Cluster::new(&client, &connection).unwrap());
        let ip = IpAddr::from(ip);
        let config = Config { node: NODE.into(), ip, mode, cluster_cidr: "10.244.0.0/16".parse().unwrap() };
        let proxy = Arc::new(Proxy::new(&client, config, cluster.clone()));
        let (mut ready, nodes) = (proxy.ready(), cluster.nodes().clone());
        tokio::spawn(async move { cluster.run().await });
        tokio::spawn(proxy.clone().run());
        ready.wait_for(|ready| *ready).await.unwrap();
        Self { api, _server: server, pods, proxy, nodes, ip }
    }

    /// The network as the node's pods see it.
    pub fn network(&self) -> Network {
        self.proxy.network(&Arc::new(Wires::new(self.nodes.clone())))
    }

    pub fn service(&self, name: &str, node_port: u16) {
        self.service_of(name, node_port, "TCP");
    }

    pub fn service_of(&self, name: &str, node_port: u16, protocol: &str) {
        let ports = json!([{"port": 80, "nodePort": node_port, "protocol": protocol}]);
        let spec = json!({"type": "NodePort", "clusterIP": "10.96.0.10", "ports": ports});
        self.api.put("services", json!({"metadata": {"name": name, "namespace": "default"}, "spec": spec}));
    }

    /// The pods behind a service, by the last part of their addresses.
    pub fn endpoints(&self, service: &str, parts: &[u8]) {
        self.endpoints_of(service, parts, "TCP");
    }

    pub fn endpoints_of(&self, service: &str, parts: &[u8], protocol: &str) {
        let endpoint = |part| json!({"addresses": [format!("10.244.1.{part}")], "nodeName": NODE});
        let endpoints: Vec<Value> = parts.iter().map(endpoint).collect();
        let meta = json!({"name": service, "namespace": "default", "labels": {"kubernetes.io/service-name": service}});
        let slice = json!({"metadata": meta, "addressType": "IPv4", "ports": [{"name": "", "port": 80, "protocol": protocol}],
            "endpoints": endpoints});
        self.api.put("endpointslices", slice);
    }

    /// A pod whose node refuses connections to it.
    pub fn kill(&self, part: u8) {
        self.pods.dead.lock().unwrap().insert(format!("10.244.1.{part}:80"));
    }

    /// A pod whose node does not answer.
    pub fn hang(&self, part: u8) {
        self.pods.hung.lock().unwrap().insert(format!("10.244.1.{part}:80"));
    }

    /// What a client hears at a node port.
    pub async fn ask(&self, port: u16, words: &str) -> io::Result<String> {
        let mut stream = TcpStream::connect(SocketAddr::new(self.ip, port)).await?;
        stream.write_all(words.as_bytes()).await?;
        stream.shutdown().await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok(answer)
    }

    /// Waits until a node port is open, or closed.
    pub async fn until_open(&self, port: u16, open: bool) {
        let address = SocketAddr::new(self.ip, port);
        let wait = async {
            while TcpStream::connect(address).await.is_ok() != open {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), wait).await.unwrap_or_else(|_| panic!("{port} open: {open}"));
    }

    /// Waits until the rules hold this text.
    pub async fn until_rule(&self, text: &str, there: bool) {
        let wait = async {
            while self.proxy.rules().contains(text) != there {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), wait).await.unwrap_or_else(|_| panic!("{text}: {there}"));
    }
}

async fn serve_node(connection: &Connection, pods: Pods) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let read = |path| fs::read(path).unwrap();
    let identity = Identity::from_pem(read(&connection.client_certificate), read(&connection.client_key));
    let authority = Certificate::from_pem(read(&connection.certificate_authority));
    let tls = ServerTlsConfig::new().identity(identity).client_ca_root(authority);
    let mut server = Server::builder().tls_config(tls).unwrap();
    let serving = server.add_service(NodeServer::new(pods)).serve_with_incoming(TcpListenerStream::new(listener));
    tokio::spawn(serving);
    address
}
