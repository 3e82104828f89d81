//! A node that can be killed and started again, as a process can.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use kubelab_client::{Client, process::Connection};
use kubelab_kubelet_sim::{
    node::{Config, Node},
    options::Capacity,
    runtime::{Runtime, Simulated},
    server::{About, Tls, serve},
    shell::{session::Session, streams::Output},
    volumes::place::Places,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;

use crate::fake::{Fake, FakeServer};

pub struct Rig {
    pub api: Fake,
    server: FakeServer,
    folder: TempDir,
    node: Option<tokio::runtime::Runtime>,
    pub runtime: Option<Arc<dyn Runtime>>,
}

impl Rig {
    /// A running node without a network.
    pub fn without_network() -> Self {
        let api = Fake::new();
        let server = api.serve();
        let mut rig = Self { api, server, folder: tempfile::tempdir().unwrap(), node: None, runtime: None };
        rig.start();
        rig
    }

    /// A running node that is ready.
    pub async fn new() -> Self {
        let rig = Self::without_network();
        rig.api.until("the node is registered", |api| api.object("nodes", "", "node-1").is_some()).await;
        rig.give_network();
        rig.api.until("the node is ready", |api| node_condition(api, "Ready").0 == "True").await;
        rig
    }

    /// What the node IPAM controller does.
    pub fn give_network(&self) {
        self.change("nodes", "", "node-1", |node| node["spec"]["podCIDR"] = json!("10.244.1.0/24"));
    }

    /// On a runtime of its own, so that killing it leaves nothing of it running.
    pub fn start(&mut self) {
        let config = Config {
            name: "node-1".into(),
            ip: "127.0.0.1".parse().unwrap(),
            port: 10250,
            capacity: "".parse::<Capacity>().unwrap().0,
            labels: Default::default(),
            manifests: Some(self.folder.path().join("manifests")),
            places: Places { host: self.folder.path().join("host"), shared: self.folder.path().join("shared") },
        };
        let executor = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let entered = executor.enter();
        let runtime: Arc<dyn Runtime> =
            Arc::new(Simulated::open("node-1", self.folder.path(), 0.0, Arc::default()).unwrap());
        let client = Client::new(&self.api.connection(&[&self.server])).unwrap();
        let node = Node::new(client, config, runtime.clone());
        drop(entered);
        executor.spawn(node.run());
        self.runtime = Some(runtime);
        self.node = Some(executor);
    }

    /// Serves the node's gRPC services; where, and with what one may come in.
    pub async fn serve(&self) -> (SocketAddr, Connection) {
        let connection = self.api.connection(&[&self.server]);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let tls = Tls::load(&connection, &connection.client_certificate, &connection.client_key).unwrap();
        let about = About { name: "node-1".into(), capacity: Default::default(), pods: Arc::new(Vec::new) };
        tokio::spawn(serve(listener, tls, self.runtime.clone().unwrap(), about));
        (address, connection)
    }

    /// Where the node's manifests are.
    pub fn manifests(&self) -> std::path::PathBuf {
        self.folder.path().join("manifests")
    }

    /// Forgets all containers, as a machine does that is started anew.
    pub fn lose_containers(&self) {
        std::fs::remove_file(self.folder.path().join("pods.jsonl")).unwrap();
    }

    /// What a command prints in the first container of a pod.
    pub async fn exec(&self, name: &str, container: &str, command: &[&str]) -> String {
        let pod = self.pod(name);
        let said = Arc::new(Mutex::new(Vec::new()));
        let output = || Output::Buffer(said.clone());
        let command = command.iter().map(|word| (*word).to_owned()).collect();
        let session = Session { command, tty: false, stdin: None, stdout: output(), stderr: output() };
        let uid = pod["metadata"]["uid"].as_str().unwrap();
        self.runtime.as_ref().unwrap().exec(uid, container, session).unwrap().await;
        let said = said.lock().unwrap();
        String::from_utf8_lossy(&said).into_owned()
    }

    /// As `kill -9`.
    pub fn kill(&mut self) {
        self.runtime = None;
        if let Some(executor) = self.node.take() {
            // On a thread of its own, since it waits for the node's tasks to be gone.
            std::thread::spawn(move || executor.shutdown_timeout(Duration::from_secs(10))).join().unwrap();
        }
    }

    pub fn change(&self, resource: &str, namespace: &str, name: &str, change: impl FnOnce(&mut Value)) {
        let mut object = self.api.object(resource, namespace, name).unwrap();
        change(&mut object);
        self.api.put(resource, object);
    }

    /// A pod that is bound to the node.
    pub fn run(&self, name: &str, annotations: Value, mut spec: Value) {
        spec["nodeName"] = json!("node-1");
        for container in spec["containers"].as_array_mut().unwrap() {
            if container["image"].is_null() {
                container["image"] = json!("nginx");
            }
        }
        let meta = json!({"name": name, "namespace": "default", "annotations": annotations});
        self.api.put("pods", json!({"metadata": meta, "spec": spec}));
    }

    /// What `kubectl delete` does.
    pub fn delete(&self, name: &str, grace: i64) {
        self.change("pods", "default", name, |pod| {
            pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
            pod["metadata"]["deletionGracePeriodSeconds"] = json!(grace);
        });
    }

    pub fn pod(&self, name: &str) -> Value {
        self.api.object("pods", "default", name).unwrap()
    }

    /// Waits until a pod's part says this.
    pub async fn until(&self, name: &str, pointer: &str, value: Value) -> Value {
        let is = |api: &Fake| {
            api.object("pods", "default", name).and_then(|pod| pod.pointer(pointer).cloned()) == Some(value.clone())
        };
        self.api.until(&format!("{name}: {pointer} is {value}"), is).await;
        self.pod(name)
    }

    pub async fn until_gone(&self, name: &str) {
        self.api.until(&format!("{name} is gone"), |api| api.object("pods", "default", name).is_none()).await;
    }

    pub async fn until_event(&self, reason: &str, message: &str) {
        let event = |api: &Fake| events(api).contains(&(reason.to_owned(), message.to_owned()));
        self.api.until(&format!("event {reason}: {message}"), event).await;
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Reason and message of each event.
pub fn events(api: &Fake) -> Vec<(String, String)> {
    let text = |event: &Value, field: &str| event[field].as_str().unwrap_or_default().to_owned();
    api.objects("events").iter().map(|event| (text(event, "reason"), text(event, "message"))).collect()
}

/// Status and reason of a condition of the node.
pub fn node_condition(api: &Fake, kind: &str) -> (String, String) {
    let node = api.object("nodes", "", "node-1").unwrap_or_default();
    let conditions = node["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let found = conditions.iter().find(|condition| condition["type"] == kind).cloned().unwrap_or_default();
    let text = |field: &str| found[field].as_str().unwrap_or_default().to_owned();
    (text("status"), text("reason"))
}

/// Status of a condition of a pod.
pub fn condition(pod: &Value, kind: &str) -> String {
    let conditions = pod["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let found = conditions.iter().find(|condition| condition["type"] == kind).cloned().unwrap_or_default();
    found["status"].as_str().unwrap_or_default().to_owned()
}
