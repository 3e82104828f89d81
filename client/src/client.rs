//! Typed requests.

use std::sync::Arc;

use bytes::Bytes;
use k8s_openapi::{
    Metadata, Resource,
    api::{
        core::v1::{Binding, Pod},
        policy::v1::Eviction,
    },
    apimachinery::pkg::apis::meta::v1::{DeleteOptions, ObjectMeta},
};
use kubelab_api::error::{Error, Reason};
use kubelab_proto::objects::{
    self, DeleteRequest, GetRequest, ListRequest, PatchRequest, Target, WatchBatch, WatchRequest, WriteRequest,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use tonic::{Streaming, metadata::MetadataValue};

use crate::{
    Cause, Scope,
    endpoints::{Choice, Dial, Endpoints, Failure, is_about_server},
    process::{Connection, crash},
    request::{self, Failed, Headers, Objects, Repeat},
    token::Token,
};

/// A Kubernetes type that can be sent and received.
pub trait Object:
    Resource + Metadata<Ty = ObjectMeta> + Serialize + DeserializeOwned + Clone + Send + Sync + 'static
{
}
impl<T> Object for T where
    T: Resource + Metadata<Ty = ObjectMeta> + Serialize + DeserializeOwned + Clone + Send + Sync + 'static
{
}

/// A change to send instead of a whole object.
#[derive(Clone, Debug)]
pub enum Patch {
    /// RFC 7386.
    Merge(Value),
    /// Kubernetes' own: lists merge by key.
    Strategic(Value),
    /// RFC 6902.
    Json(Value),
}

impl Patch {
    fn media_type(&self) -> &'static str {
        match self {
            Self::Merge(_) => "application/merge-patch+json",
            Self::Strategic(_) => "application/strategic-merge-patch+json",
            Self::Json(_) => "application/json-patch+json",
        }
    }

    fn body(&self) -> &Value {
        match self {
            Self::Merge(body) | Self::Strategic(body) | Self::Json(body) => body,
        }
    }
}

/// Lists are read in pages of this size, so that neither side holds more than this at once.
const PAGE: u32 = 500;

/// A connection to the lab's apiservers. Cheap to clone. Every call fails over to another apiserver while that is safe (the
/// rule stands in `request.rs`), has a deadline (30 s), and sends the running task's [`crate::Cause`]. `namespace` is empty
/// for cluster-scoped kinds.
#[derive(Clone)]
pub struct Client {
    endpoints: Arc<Endpoints>,
    headers: Headers,
}

impl Client {
    /// A client for these apiservers with this identity. Connects when first used; must be made within a tokio runtime.
    pub fn new(connection: &Connection) -> Result<Self, Error> {
        Ok(Self {
            endpoints: Arc::new(Endpoints::new(connection)?),
            headers: Headers { agent: MetadataValue::from_static(env!("CARGO_PKG_NAME")), token: None },
        })
    }

    /// A client for these apiservers that shows a token instead of the connection's certificate: a pod's program. `dial`: how
    /// it connects, if not from this machine.
    pub fn with_token(connection: &Connection, token: Token, dial: Option<Dial>) -> Result<Self, Error> {
        Ok(Self {
            endpoints: Arc::new(Endpoints::anonymous(connection, dial)?),
            headers: Headers { agent: MetadataValue::from_static(env!("CARGO_PKG_NAME")), token: Some(token) },
        })
    }

    /// The same connections under the name that a component writes as (`kube-scheduler`, `deployment-controller`): the
    /// User-Agent, which a revision's origin keeps.
    #[must_use]
    pub fn with_agent(&self, name: &str) -> Self {
        let agent = MetadataValue::try_from(name).unwrap_or_else(|_| self.headers.agent.clone());
        Self { endpoints: self.endpoints.clone(), headers: Headers { agent, ..self.headers.clone() } }
    }

    /// The latest version of an object.
    pub async fn get<K: Object>(&self, namespace: &str, name: &str) -> Result<K, Error> {
        read(&self.get_target(target::<K>(namespace, name, "")).await?)
    }

    /// All objects of a kind; `namespace` empty for all namespaces.
    pub async fn list<K: Object>(&self, namespace: &str) -> Result<Vec<K>, Error> {
        self.list_scope(&Scope { namespace: namespace.to_owned(), ..Scope::default() }).await
    }

    /// The objects of a kind within this scope.
    pub async fn list_scope<K: Object>(&self, scope: &Scope) -> Result<Vec<K>, Error> {
        self.list_target(target::<K>(&scope.namespace, "", ""), scope).await
    }

    /// A new object.
    pub async fn create<K: Object>(&self, object: &K) -> Result<K, Error> {
        Ok(self.try_create(object).await?)
    }

    /// A new object; and if it was refused, whether an earlier attempt of the same request may have made it.
    pub async fn try_create<K: Object>(&self, object: &K) -> Result<K, Failed> {
        let meta = object.metadata();
        let target = target::<K>(meta.namespace.as_deref().unwrap_or_default(), "", "");
        Ok(read(&self.create_target(target, object, Repeat::of_create(meta)).await?)?)
    }

    /// Replaces an object; its resourceVersion, if set, must be current.
    pub async fn update<K: Object>(&self, object: &K) -> Result<K, Error> {
        self.update_subresource("", object).await
    }

    /// Replaces an object's status.
    pub async fn update_status<K: Object>(&self, object: &K) -> Result<K, Error> {
        self.update_subresource("status", object).await
    }

    /// Replaces a subresource by any body ("finalize", "approval", …).
    pub async fn update_subresource<K: Object>(&self, subresource: &str, object: &K) -> Result<K, Error> {
        let meta = object.metadata();
        let (namespace, name) = (meta.namespace.as_deref().unwrap_or_default(), meta.name.as_deref());
        let target = target::<K>(namespace, name.unwrap_or_default(), subresource);
        read(&self.update_target(target, meta, object).await?)
    }

    /// Posts a body to an object's subresource ("token") and returns the answer, a body of the same type.
    pub async fn create_subresource<K: Object, B: Serialize + DeserializeOwned>(
        &self,
        namespace: &str,
        name: &str,
        subresource: &str,
        body: &B,
    ) -> Result<B, Error> {
        read(&self.create_target(target::<K>(namespace, name, subresource), body, Repeat::Never).await?)
    }

    /// Changes an object.
    pub async fn patch<K: Object>(&self, namespace: &str, name: &str, patch: Patch) -> Result<K, Error> {
        read(&self.patch_target(target::<K>(namespace, name, ""), &patch).await?.json)
    }

    /// Changes an object's status.
    pub async fn patch_status<K: Object>(&self, namespace: &str, name: &str, patch: Patch) -> Result<K, Error> {
        read(&self.patch_target(target::<K>(namespace, name, "status"), &patch).await?.json)
    }

    /// Changes an object's status; its revision then, for a caller who knows what it has made of it and need not read it.
    pub async fn patch_status_unread<K: Object>(
        &self,
        namespace: &str,
        name: &str,
        patch: Patch,
    ) -> Result<u64, Error> {
        Ok(self.patch_target(target::<K>(namespace, name, "status"), &patch).await?.revision)
    }

    /// Deletes an object. `NotFound` is an error here too.
    pub async fn delete<K: Object>(&self, namespace: &str, name: &str, options: DeleteOptions) -> Result<(), Error> {
        self.delete_target(target::<K>(namespace, name, ""), &options).await
    }

    /// Binds a pod to a node.
    pub async fn bind(&self, binding: &Binding) -> Result<(), Error> {
        let meta = &binding.metadata;
        let (namespace, name) = (meta.namespace.as_deref().unwrap_or_default(), meta.name.as_deref());
        let target = target::<Pod>(namespace, name.unwrap_or_default(), "binding");
        self.create_target(target, binding, Repeat::of_binding(meta)).await?;
        Ok(())
    }

    /// Evicts a pod, respecting disruption budgets.
    pub async fn evict(&self, pod: &Pod, options: DeleteOptions) -> Result<(), Error> {
        let meta = ObjectMeta {
            namespace: pod.metadata.namespace.clone(),
            name: pod.metadata.name.clone(),
            ..ObjectMeta::default()
        };
        let (namespace, name) = (meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default());
        let repeat = Repeat::of_delete(&options);
        let eviction = Eviction { metadata: meta, delete_options: Some(options) };
        self.create_target(target::<Pod>(&namespace, &name, "eviction"), &eviction, repeat).await?;
        Ok(())
    }

    /// Deletes an object of a resource known only at run time.
    pub async fn delete_dynamic(
        &self,
        resource: &kubelab_api::Resource,
        namespace: &str,
        name: &str,
        options: DeleteOptions,
    ) -> Result<(), Error> {
        self.delete_target(dynamic_target(resource, namespace, name), &options).await
    }

    /// Changes an object of a resource known only at run time.
    pub async fn patch_dynamic(
        &self,
        resource: &kubelab_api::Resource,
        namespace: &str,
        name: &str,
        patch: Patch,
    ) -> Result<Value, Error> {
        read(&self.patch_target(dynamic_target(resource, namespace, name), &patch).await?.json)
    }

    /// A new object of a resource known only at run time.
    pub async fn create_dynamic(
        &self,
        resource: &kubelab_api::Resource,
        namespace: &str,
        object: &Value,
    ) -> Result<Value, Error> {
        let named = object["metadata"]["name"].as_str().is_some_and(|name| !name.is_empty());
        let repeat = if named { Repeat::Guarded } else { Repeat::Never };
        read(&self.create_target(dynamic_target(resource, namespace, ""), object, repeat).await?)
    }

    /// An object of a resource known only at run time.
    pub async fn get_dynamic(
        &self,
        resource: &kubelab_api::Resource,
        namespace: &str,
        name: &str,
    ) -> Result<Value, Error> {
        read(&self.get_target(dynamic_target(resource, namespace, name)).await?)
    }

    /// All objects of a resource known only at run time.
    pub async fn list_dynamic(&self, resource: &kubelab_api::Resource, namespace: &str) -> Result<Vec<Value>, Error> {
        self.list_target(dynamic_target(resource, namespace, ""), &Scope::default()).await
    }

    pub(crate) async fn get_target(&self, target: Target) -> Result<Bytes, Error> {
        let message = GetRequest { target: Some(target), revision: None };
        let send = |mut client: Objects, request| async move { client.get(request).await };
        Ok(request::send(&self.endpoints, &self.headers, message, Repeat::Read, send).await?.json)
    }

    /// Reads page by page. Where the pages' snapshot is forgotten on the way, the list starts again without pages.
    async fn list_target<T: DeserializeOwned>(&self, target: Target, scope: &Scope) -> Result<Vec<T>, Error> {
        let mut message = ListRequest {
            target: Some(target),
            label_selector: scope.labels.clone(),
            field_selector: scope.fields.clone(),
            revision: None,
            limit: PAGE,
            r#continue: String::new(),
        };
        let send = |mut client: Objects, request| async move { client.list(request).await };
        let mut items = Vec::new();
        loop {
            let page = request::send(&self.endpoints, &self.headers, message.clone(), Repeat::Read, send).await;
            match page.map_err(Error::from) {
                Ok(page) => {
                    for item in &page.items {
                        items.push(read(item)?);
                    }
                    if page.r#continue.is_empty() {
                        return Ok(items);
                    }
                    message.r#continue = page.r#continue;
                }
                Err(error) if error.reason == Reason::Expired && message.limit != 0 => {
                    items.clear();
                    message.limit = 0;
                    message.r#continue.clear();
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn create_target(&self, target: Target, body: &impl Serialize, repeat: Repeat) -> Result<Bytes, Failed> {
        let writing = crash::Write::to(&target);
        let message = WriteRequest { target: Some(target), json: write(body)?, cause: cause(), dry_run: false };
        let send = |mut client: Objects, request| async move { client.create(request).await };
        let reply = request::send(&self.endpoints, &self.headers, message, repeat, send).await?;
        writing.done();
        Ok(reply.json)
    }

    pub(crate) async fn update_target(
        &self,
        target: Target,
        meta: &ObjectMeta,
        body: &impl Serialize,
    ) -> Result<Bytes, Error> {
        let writing = crash::Write::to(&target);
        let message = WriteRequest { target: Some(target), json: write(body)?, cause: cause(), dry_run: false };
        let send = |mut client: Objects, request| async move { client.update(request).await };
        let reply = request::send(&self.endpoints, &self.headers, message, Repeat::of_update(meta), send).await?;
        writing.done();
        Ok(reply.json)
    }

    async fn patch_target(&self, target: Target, patch: &Patch) -> Result<objects::Object, Error> {
        let writing = crash::Write::to(&target);
        let message = PatchRequest {
            target: Some(target),
            patch_type: patch.media_type().to_owned(),
            patch: write(patch.body())?,
            cause: cause(),
            ..PatchRequest::default()
        };
        let send = |mut client: Objects, request| async move { client.patch(request).await };
        let reply = request::send(&self.endpoints, &self.headers, message, Repeat::of_patch(patch), send).await?;
        writing.done();
        Ok(reply)
    }

    async fn delete_target(&self, target: Target, options: &DeleteOptions) -> Result<(), Error> {
        let writing = crash::Write::to(&target);
        let message = DeleteRequest { target: Some(target), options: write(options)?, cause: cause() };
        let send = |mut client: Objects, request| async move { client.delete(request).await };
        request::send(&self.endpoints, &self.headers, message, Repeat::of_delete(options), send).await?;
        writing.done();
        Ok(())
    }

    pub(crate) fn endpoints(&self) -> &Endpoints {
        &self.endpoints
    }

    pub(crate) fn headers(&self) -> &Headers {
        &self.headers
    }

    /// Turns to another server, for a caller that cannot wait for this one to be found dead.
    pub(crate) fn leave_server(&self, why: &str) {
        self.endpoints.failed(&self.endpoints.choose(), why);
    }

    /// Opens a watch on the present server. One attempt: the cache decides what comes next.
    pub(crate) async fn watch(&self, message: WatchRequest) -> Result<Watch, Error> {
        let choice = self.endpoints.choose_for_watch();
        let request = request::with_headers(message, &self.headers);
        match request::objects(choice.channel.clone()).watch(request).await {
            Ok(response) => Ok(Watch { stream: response.into_inner(), choice, client: self.clone() }),
            Err(status) => Err(self.watch_failed(&choice, &status)),
        }
    }

    fn watch_failed(&self, choice: &Choice, status: &tonic::Status) -> Error {
        match Failure::of(status) {
            Failure::Refused(error) => {
                if is_about_server(&error) {
                    self.endpoints.failed(choice, &error.message);
                }
                error
            }
            Failure::NotSent(why) | Failure::Unknown(why) => {
                self.endpoints.failed(choice, &why);
                Error::unavailable(why)
            }
        }
    }
}

/// An open watch.
pub(crate) struct Watch {
    stream: Streaming<WatchBatch>,
    choice: Choice,
    client: Client,
}

impl Watch {
    /// The next batch; `None` when the server ended the stream in good order.
    pub(crate) async fn next(&mut self) -> Result<Option<WatchBatch>, Error> {
        self.stream.message().await.map_err(|status| self.client.watch_failed(&self.choice, &status))
    }

    /// Gives up a stream on which nothing comes: its server is not trusted for now.
    pub(crate) fn hung(self) {
        self.client.endpoints.failed(&self.choice, "the watch stream fell silent");
    }
}

/// What a typed request is about.
pub(crate) fn target<K: Object>(namespace: &str, name: &str, subresource: &str) -> Target {
    Target {
        group: K::GROUP.to_owned(),
        version: K::VERSION.to_owned(),
        resource: K::URL_PATH_SEGMENT.to_owned(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        subresource: subresource.to_owned(),
    }
}

/// What a request about a resource known at run time is about.
pub(crate) fn dynamic_target(resource: &kubelab_api::Resource, namespace: &str, name: &str) -> Target {
    Target {
        group: resource.group.to_string(),
        version: resource.version.to_string(),
        resource: resource.plural.to_string(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        subresource: String::new(),
    }
}

fn cause() -> Option<objects::Cause> {
    let Cause { revision, trace_id } = Cause::current();
    (revision != 0 || !trace_id.is_empty()).then_some(objects::Cause { revision, trace_id })
}

pub(crate) fn read<T: DeserializeOwned>(json: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(json).map_err(|error| {
        Error::internal(format!("the apiserver sent a {} that cannot be read: {error}", std::any::type_name::<T>()))
    })
}

fn write(body: &impl Serialize) -> Result<Bytes, Error> {
    serde_json::to_vec(body)
        .map(Bytes::from)
        .map_err(|error| Error::internal(format!("a request body cannot be written as JSON: {error}")))
}
