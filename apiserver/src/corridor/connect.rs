//! Connections through objects: exec, attach, port-forward, proxy, and logs. They pass the corridor like every request, but
//! what they come to is a stream, which the door carries.

use std::sync::Arc;

use bytes::Bytes;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kubelab_api::{Error, Resource, resource};
use kubelab_store::Door;
use serde::de::DeserializeOwned;

use super::{Answer, Body, Corridor, ListOptions, Options, Request, Response, User, Verb};
use crate::{authorization::Attributes, registry::list::unavailable};

/// A connection that somebody wants.
#[derive(Clone, Debug)]
pub struct Connect {
    /// Who asks.
    pub user: User,
    /// The program, from its User-Agent.
    pub agent: Arc<str>,
    /// RBAC's name of what is asked.
    pub verb: &'static str,
    /// Through an object of this type,
    pub resource: Arc<Resource>,
    /// in this namespace,
    pub namespace: String,
    /// with this name.
    pub name: String,
    /// `exec`, `log`, `proxy`, ….
    pub subresource: String,
}

/// Parts that a GET of needs the right to create, too. Source: the gate `AuthorizePodWebsocketUpgradeCreatePermission`, on
/// since v1.35.
const CREATED: [&str; 3] = ["exec", "attach", "portforward"];

impl Corridor {
    /// Authorizes a connection.
    pub async fn connect(&self, connect: &Connect) -> Result<(), Error> {
        let attributes = Attributes {
            subresource: &connect.subresource,
            namespace: &connect.namespace,
            name: &connect.name,
            ..Attributes::resource(&connect.user, connect.verb, &connect.resource.group, &connect.resource.plural)
        };
        self.authorize(&attributes).await?;
        if connect.verb == "get" && CREATED.contains(&connect.subresource.as_str()) {
            self.authorize(&Attributes { verb: "create", ..attributes }).await?;
        }
        Ok(())
    }

    /// The object that a connection was authorized for.
    pub async fn target<T: DeserializeOwned>(&self, connect: &Connect, name: &str) -> Result<T, Error> {
        self.read(connect, Arc::clone(&connect.resource), name).await
    }

    /// The node that a connection leads to.
    pub async fn node<T: DeserializeOwned>(&self, connect: &Connect, name: &str) -> Result<T, Error> {
        let nodes = resource::find("", "v1", "nodes").ok_or_else(Error::no_such_page)?;
        let connect = Connect { namespace: String::new(), ..connect.clone() };
        self.read(&connect, Arc::new(nodes.clone()), name).await
    }

    /// The endpoints of a Service that a connection goes to.
    pub async fn endpoints(&self, connect: &Connect, service: &str) -> Result<Vec<EndpointSlice>, Error> {
        let slices = resource::find("discovery.k8s.io", "v1", "endpointslices").ok_or_else(Error::no_such_page)?;
        let mut request = request(connect, Arc::new(slices.clone()), Verb::List, "");
        request.options.list =
            ListOptions { label_selector: format!("kubernetes.io/service-name={service}"), ..ListOptions::default() };
        match self.registry.handle(&request, &|_| Ok(())).await?.response {
            Response::List(list) => list.items.iter().map(decode).collect(),
            _ => Err(Error::no_such_page()),
        }
    }

    async fn read<T: DeserializeOwned>(
        &self,
        connect: &Connect,
        resource: Arc<Resource>,
        name: &str,
    ) -> Result<T, Error> {
        // What was created a moment ago through another apiserver is there.
        self.store().latest().await.map_err(unavailable)?;
        let request = request(connect, resource, Verb::Get, name);
        let Answer { response, .. } = self.registry.handle(&request, &|_| Ok(())).await?;
        match response {
            Response::Object { json, .. } => decode(&json),
            _ => Err(Error::no_such_page()),
        }
    }
}

fn decode<T: DeserializeOwned>(json: &Bytes) -> Result<T, Error> {
    serde_json::from_slice(json).map_err(Error::internal)
}

fn request(connect: &Connect, resource: Arc<Resource>, verb: Verb, name: &str) -> Request {
    Request {
        user: connect.user.clone(),
        agent: Arc::clone(&connect.agent),
        door: Door::Rest,
        trace_id: "".into(),
        cause: 0,
        verb,
        resource,
        namespace: connect.namespace.clone(),
        name: name.to_owned(),
        subresource: String::new(),
        body: Body::None,
        options: Options::default(),
    }
}
