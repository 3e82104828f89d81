//! A small apiserver for tests: the Objects service over one shared store, served by any number of servers, each on a
//! runtime of its own so that a test can kill it like a process. It knows metadata, revisions and bindings, nothing else.

use std::{
    collections::BTreeMap,
    net::{SocketAddr, TcpListener},
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::{Stream, stream};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status as KubernetesStatus;
use kubelab_api::{
    Error,
    patch::{self, Schema, strategic},
    resource,
};
use kubelab_client::{Client, process::Connection};
use kubelab_proto::objects::{
    Cause, DeleteRequest, FetchRequest, Fetched, GetRequest, ListRequest, Object, ObjectList, PatchRequest, Target,
    WatchBatch, WatchEvent, WatchRequest, WriteRequest,
    objects_server::{Objects, ObjectsServer},
    watch_event::Type,
};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{runtime::Runtime, sync::watch};
use tonic::{
    Code, Request, Response, Status,
    transport::{Certificate, Identity, Server, ServerTlsConfig, server::TcpIncoming},
};

type Id = (String, String, String);

#[derive(Default)]
struct Data {
    revision: u64,
    objects: BTreeMap<Id, Value>,
    history: Vec<(u64, Type, String, Value)>,
    /// Events up to here are forgotten.
    floor: u64,
    /// Who wrote, and why.
    writes: Vec<(String, Cause)>,
}

#[derive(Clone)]
pub struct Fake {
    data: Arc<Mutex<Data>>,
    revision: watch::Sender<u64>,
    /// Watches send nothing any more.
    pub silent: watch::Sender<bool>,
    /// Writes are done but never answered.
    pub mute: Arc<AtomicBool>,
    pki: Arc<Pki>,
}

struct Pki {
    folder: TempDir,
    ca: String,
    server: (String, String),
}

/// Ends when killed or dropped, connections included.
pub struct FakeServer {
    pub address: SocketAddr,
    runtime: Option<Runtime>,
}

impl FakeServer {
    pub fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // On a thread of its own, since it waits for the server's tasks to be gone.
            let _ = std::thread::spawn(move || runtime.shutdown_timeout(Duration::from_secs(10))).join();
        }
    }
}

impl Drop for FakeServer {
    fn drop(&mut self) {
        self.end();
    }
}

impl Pki {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let ca = params.self_signed(&key).unwrap().pem();
        let issuer = Issuer::new(params, key);
        let leaf = || {
            let params = CertificateParams::new(vec!["localhost".into(), "127.0.0.1".into()]).unwrap();
            let key = KeyPair::generate().unwrap();
            (params.signed_by(&key, &issuer).unwrap().pem(), key.serialize_pem())
        };
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = leaf();
        for (name, pem) in [("ca.crt", &ca), ("client.crt", &certificate), ("client.key", &key)] {
            std::fs::write(folder.path().join(name), pem).unwrap();
        }
        let server = leaf();
        Self { folder, ca, server }
    }
}

impl Fake {
    pub fn new() -> Self {
        Self {
            data: Arc::default(),
            revision: watch::Sender::new(0),
            silent: watch::Sender::new(false),
            mute: Arc::default(),
            pki: Arc::new(Pki::new()),
        }
    }

    pub fn serve(&self) -> FakeServer {
        self.serve_at(SocketAddr::from(([127, 0, 0, 1], 0)))
    }

    /// On this address, which a killed server may have had.
    pub fn serve_at(&self, address: SocketAddr) -> FakeServer {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = loop {
            match TcpListener::bind(address) {
                Ok(listener) => break listener,
                Err(_) => std::thread::yield_now(),
            }
        };
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let (certificate, key) = &self.pki.server;
        let tls = ServerTlsConfig::new()
            .identity(Identity::from_pem(certificate, key))
            .client_ca_root(Certificate::from_pem(&self.pki.ca));
        let service = ObjectsServer::new(self.clone());
        runtime.spawn(async move {
            let incoming = TcpIncoming::from(tokio::net::TcpListener::from_std(listener).unwrap());
            // Fewer streams a connection than the real one takes.
            let server = Server::builder().max_concurrent_streams(100);
            server.tls_config(tls).unwrap().add_service(service).serve_with_incoming(incoming).await
        });
        FakeServer { address, runtime: Some(runtime) }
    }

    pub fn connection(&self, servers: &[&FakeServer]) -> Connection {
        let folder = self.pki.folder.path();
        Connection {
            apiservers: servers.iter().map(|server| format!("https://{}", server.address)).collect(),
            certificate_authority: folder.join("ca.crt"),
            client_certificate: folder.join("client.crt"),
            client_key: folder.join("client.key"),
        }
    }

    pub fn client(&self, servers: &[&FakeServer]) -> Client {
        Client::new(&self.connection(servers)).unwrap()
    }

    pub fn forget_history(&self) {
        let mut data = self.lock();
        data.floor = data.revision;
        data.history.clear();
    }

    pub fn writes(&self) -> Vec<(String, Cause)> {
        self.lock().writes.clone()
    }

    pub fn put(&self, resource: &str, object: Value) -> u64 {
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default().to_owned();
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        self.write((resource.to_owned(), namespace, name), Some(object))
    }

    /// An object as it is now.
    pub fn object(&self, resource: &str, namespace: &str, name: &str) -> Option<Value> {
        self.lock().objects.get(&(resource.to_owned(), namespace.to_owned(), name.to_owned())).cloned()
    }

    /// All objects of a resource as they are now.
    pub fn objects(&self, resource: &str) -> Vec<Value> {
        self.lock().objects.iter().filter(|(id, _)| id.0 == resource).map(|(_, object)| object.clone()).collect()
    }

    /// All versions that an object had.
    pub fn versions(&self, resource: &str, name: &str) -> Vec<Value> {
        let data = self.lock();
        let of = data.history.iter().filter(|(_, _, of, object)| of == resource && object["metadata"]["name"] == name);
        of.map(|(.., object)| object.clone()).collect()
    }

    /// Waits until the objects are as they should be.
    pub async fn until(&self, what: &str, reached: impl Fn(&Self) -> bool) {
        let mut revision = self.revision.subscribe();
        let changes = async {
            while !reached(self) {
                revision.changed().await.unwrap();
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(20), changes).await;
        assert!(waited.is_ok(), "not reached: {what}");
    }

    pub fn delete_now(&self, resource: &str, namespace: &str, name: &str) -> u64 {
        self.write((resource.to_owned(), namespace.to_owned(), name.to_owned()), None)
    }

    fn lock(&self) -> MutexGuard<'_, Data> {
        self.data.lock().unwrap()
    }

    fn write(&self, id: Id, object: Option<Value>) -> u64 {
        let revision = self.write_locked(&mut self.lock(), id, object);
        self.revision.send_replace(revision);
        revision
    }

    fn write_locked(&self, data: &mut Data, id: Id, object: Option<Value>) -> u64 {
        data.revision += 1;
        let revision = data.revision;
        let (kind, mut object) = match object {
            Some(object) if data.objects.contains_key(&id) => (Type::Modified, object),
            Some(object) => (Type::Added, object),
            None => (Type::Deleted, data.objects.remove(&id).unwrap()),
        };
        let meta = object["metadata"].as_object_mut().unwrap();
        meta.entry("uid").or_insert_with(|| json!(format!("uid-{revision}")));
        meta.insert("resourceVersion".into(), json!(revision.to_string()));
        data.history.push((revision, kind, id.0.clone(), object.clone()));
        if kind != Type::Deleted {
            data.objects.insert(id, object);
        }
        revision
    }

    async fn written(&self, object: Value) -> Result<Response<Object>, Status> {
        self.revision.send_replace(self.lock().revision);
        if self.mute.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        Ok(Response::new(to_object(&object)))
    }
}

fn to_object(object: &Value) -> Object {
    let revision = object["metadata"]["resourceVersion"].as_str().and_then(|v| v.parse().ok()).unwrap_or_default();
    Object { json: serde_json::to_vec(object).unwrap().into(), revision }
}

fn refuse(code: Code, error: Error) -> Status {
    let status: KubernetesStatus = error.to_status();
    Status::with_details(code, error.message, serde_json::to_vec(&status).unwrap().into())
}

fn id(target: &Option<Target>) -> Id {
    let target = target.clone().unwrap();
    (target.resource, target.namespace, target.name)
}

fn of(target: &Option<Target>) -> &'static kubelab_api::Resource {
    let target = target.as_ref().unwrap();
    resource::find(&target.group, &target.version, &target.resource).unwrap()
}

fn not_found(target: &Option<Target>) -> Status {
    refuse(Code::NotFound, Error::not_found(of(target), &id(target).2))
}

fn apply(object: Value, request: &PatchRequest) -> Value {
    let patch: Value = serde_json::from_slice(&request.patch).unwrap();
    if request.patch_type == "application/strategic-merge-patch+json" {
        return strategic::apply(object, patch, &Schema::of(of(&request.target)).unwrap()).unwrap();
    }
    let mut object = object;
    patch::merge(&mut object, &patch);
    object
}

fn remember<T>(data: &mut Data, request: &Request<T>, cause: &Option<Cause>) {
    let agent = request.metadata().get("user-agent").unwrap().to_str().unwrap().to_owned();
    data.writes.push((agent, cause.clone().unwrap_or_default()));
}

#[tonic::async_trait]
impl Objects for Fake {
    async fn get(&self, request: Request<GetRequest>) -> Result<Response<Object>, Status> {
        let target = &request.get_ref().target;
        let found = self.lock().objects.get(&id(target)).map(to_object);
        found.map(Response::new).ok_or_else(|| not_found(target))
    }

    async fn list(&self, request: Request<ListRequest>) -> Result<Response<ObjectList>, Status> {
        let request = request.into_inner();
        let (resource, namespace, _) = id(&request.target);
        let data = self.lock();
        let all = data.objects.iter().filter(|(id, _)| id.0 == resource && (namespace.is_empty() || id.1 == namespace));
        let start = request.r#continue.parse().unwrap_or(0);
        let limit = if request.limit == 0 { usize::MAX } else { request.limit as usize };
        let items: Vec<_> = all.skip(start).take(limit).map(|(_, object)| to_object(object).json).collect();
        let more = items.len() == limit;
        let r#continue = if more { (start + items.len()).to_string() } else { String::new() };
        Ok(Response::new(ObjectList { items, revision: data.revision, r#continue }))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<WatchBatch, Status>> + Send>>;

    async fn watch(&self, request: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let request = request.into_inner();
        let (resource, namespace, _) = id(&request.target);
        let matches = move |of: &str, object: &Value| {
            of == resource && (namespace.is_empty() || object["metadata"]["namespace"] == namespace)
        };
        let event = |kind: Type, revision, object: &Value| WatchEvent {
            r#type: kind.into(),
            json: to_object(object).json,
            revision,
            trace_id: format!("trace-{revision}"),
        };
        let changes = self.revision.subscribe();
        let (mut first, mut after) = (Vec::new(), request.after);
        {
            let data = self.lock();
            match after {
                Some(after) if after < data.floor => {
                    return Err(refuse(Code::OutOfRange, Error::expired("too old resource version")));
                }
                Some(_) => {}
                None => {
                    let present = data.objects.iter().filter(|(id, object)| matches(&id.0, object));
                    let events: Vec<_> =
                        present.map(|(_, object)| event(Type::Added, to_object(object).revision, object)).collect();
                    first.push(Ok(WatchBatch { events, revision: data.revision, synced: false }));
                    first.push(Ok(WatchBatch { events: Vec::new(), revision: data.revision, synced: true }));
                    after = Some(data.revision);
                }
            }
        }
        let fake = self.clone();
        let later = stream::unfold(after.unwrap(), move |after| {
            let (fake, matches, mut changes) = (fake.clone(), matches.clone(), changes.clone());
            async move {
                let _ = tokio::time::timeout(Duration::from_secs(1), changes.wait_for(|now| *now > after)).await;
                let _ = fake.silent.subscribe().wait_for(|silent| !silent).await;
                let data = fake.lock();
                let events = data.history.iter().filter(|(at, _, of, object)| *at > after && matches(of, object));
                let events = events.map(|(at, kind, _, object)| event(*kind, *at, object)).collect();
                Some((Ok(WatchBatch { events, revision: data.revision, synced: false }), data.revision))
            }
        });
        Ok(Response::new(Box::pin(futures::StreamExt::chain(stream::iter(first), later))))
    }

    async fn create(&self, request: Request<WriteRequest>) -> Result<Response<Object>, Status> {
        let message = request.get_ref();
        let mut object: Value = serde_json::from_slice(&message.json).unwrap();
        let target = message.target.clone().unwrap();
        if target.subresource == "token" {
            // Short-lived, so that somebody can see the next one.
            let token = format!("token-{}", self.lock().writes.len());
            remember(&mut self.lock(), &request, &message.cause);
            let ends = jiff::Timestamp::now() + Duration::from_secs(3);
            object["status"] =
                json!({"token": token, "expirationTimestamp": ends.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()});
            return self.written(object).await;
        }
        let created = {
            let mut data = self.lock();
            remember(&mut data, &request, &message.cause);
            let meta = &mut object["metadata"];
            if let (None, Some(prefix)) = (meta["name"].as_str(), meta["generateName"].as_str()) {
                meta["name"] = json!(format!("{prefix}{}", data.revision));
            }
            let name = meta["name"].as_str().unwrap().to_owned();
            let id = (target.resource.clone(), target.namespace.clone(), name.clone());
            match (target.subresource.as_str(), data.objects.get(&id).cloned()) {
                ("binding", None) => return Err(not_found(&message.target)),
                ("binding", Some(pod)) if pod["spec"]["nodeName"].is_string() => {
                    let error = Error::conflict(of(&message.target), &name, "pod is already assigned to a node");
                    return Err(refuse(Code::Aborted, error));
                }
                ("binding", Some(mut pod)) => {
                    pod["spec"]["nodeName"] = object["target"]["name"].clone();
                    object = pod;
                }
                (_, Some(_)) => {
                    let error = Error::already_exists(of(&message.target), &name);
                    return Err(refuse(Code::AlreadyExists, error));
                }
                (_, None) => {}
            }
            self.write_locked(&mut data, id.clone(), Some(object));
            data.objects[&id].clone()
        };
        self.written(created).await
    }

    async fn update(&self, request: Request<WriteRequest>) -> Result<Response<Object>, Status> {
        let message = request.get_ref();
        let object: Value = serde_json::from_slice(&message.json).unwrap();
        let updated = {
            let mut data = self.lock();
            remember(&mut data, &request, &message.cause);
            let id = id(&message.target);
            let Some(present) = data.objects.get(&id) else { return Err(not_found(&message.target)) };
            let version = &object["metadata"]["resourceVersion"];
            if version.is_string() && *version != present["metadata"]["resourceVersion"] {
                return Err(refuse(Code::Aborted, Error::stale(of(&message.target), &id.2)));
            }
            self.write_locked(&mut data, id.clone(), Some(object));
            data.objects[&id].clone()
        };
        self.written(updated).await
    }

    async fn patch(&self, request: Request<PatchRequest>) -> Result<Response<Object>, Status> {
        let message = request.get_ref();
        let patched = {
            let mut data = self.lock();
            remember(&mut data, &request, &message.cause);
            let id = id(&message.target);
            let Some(object) = data.objects.get(&id).cloned() else { return Err(not_found(&message.target)) };
            self.write_locked(&mut data, id.clone(), Some(apply(object, message)));
            data.objects[&id].clone()
        };
        self.written(patched).await
    }

    async fn delete(&self, request: Request<DeleteRequest>) -> Result<Response<Object>, Status> {
        let message = request.get_ref();
        let deleted = {
            let mut data = self.lock();
            remember(&mut data, &request, &message.cause);
            let id = id(&message.target);
            let Some(object) = data.objects.get(&id).cloned() else { return Err(not_found(&message.target)) };
            self.write_locked(&mut data, id, None);
            object
        };
        self.written(deleted).await
    }

    async fn fetch(&self, _: Request<FetchRequest>) -> Result<Response<Fetched>, Status> {
        Err(Status::unimplemented("there are no other servers"))
    }
}
