//! The service `Flow`: what passes through this apiserver, and why.

use std::sync::Arc;

use kubelab_proto::flow::{Hop, MemberReply, MemberRequest, WhyReply, WhyRequest, flow_server};
use kubelab_store::{Door, Key};
use tonic::{Request, Response, Status};

use super::status;
use crate::{
    doors::{Connection, Doors},
    why,
};

/// The path that RBAC knows this service by.
const PATH: &str = "/flow";

/// The service.
pub struct Flow(pub Arc<Doors>);

impl Flow {
    /// Only those may look behind the scenes who may get this service's path.
    async fn authorize<T: Sync>(&self, request: &Request<T>) -> Result<(), Status> {
        let connection = request.extensions().get::<Arc<Connection>>();
        let connection = connection.ok_or_else(|| Status::internal("the connection is unknown"))?;
        let user = self.0.authenticate(connection, request.metadata().as_ref()).await;
        user.and_then(|user| self.0.corridor.authorize_path(&user, "get", PATH)).map_err(|error| status::of(&error))
    }
}

#[tonic::async_trait]
impl flow_server::Flow for Flow {
    async fn why(&self, request: Request<WhyRequest>) -> Result<Response<WhyReply>, Status> {
        self.authorize(&request).await?;
        let WhyRequest { group, resource, namespace, name } = request.into_inner();
        let group = if group.is_empty() { CORE } else { &group };
        let name = if namespace.is_empty() { name } else { format!("{namespace}/{name}") };
        let chain = why::chain(&self.0.corridor.store().journal(), &Key::new(format!("{group}/{resource}"), name));
        let hops = chain.hops.into_iter().map(hop).collect();
        Ok(Response::new(WhyReply { hops, truncated: chain.truncated }))
    }

    async fn member(&self, request: Request<MemberRequest>) -> Result<Response<MemberReply>, Status> {
        self.authorize(&request).await?;
        let member = self.0.corridor.store().member().borrow().clone();
        Ok(Response::new(MemberReply {
            name: self.0.name.clone(),
            id: member.id,
            leader: member.leader,
            term: member.term,
            revision: member.revision,
            voters: member.voters,
        }))
    }
}

/// What stands for the core group in the store's topics.
const CORE: &str = "core";

fn hop(hop: why::Hop) -> Hop {
    let why::Hop { key, record } = hop;
    let (group, resource) = key.topic.split_once('/').unwrap_or((CORE, &key.topic));
    let (namespace, name) = key.name.split_once('/').unwrap_or(("", &key.name));
    let origin = &record.origin;
    Hop {
        revision: record.revision,
        group: if group == CORE { String::new() } else { group.to_owned() },
        resource: resource.to_owned(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        verb: origin.verb.to_string(),
        user: origin.user.to_string(),
        agent: origin.agent.to_string(),
        door: match origin.door {
            Door::Rest => "rest",
            Door::Grpc => "grpc",
            Door::Internal => "internal",
        }
        .to_owned(),
        time_us: origin.time_us,
        trace_id: origin.trace_id.to_string(),
        cause: origin.cause,
        note: origin.note.to_string(),
    }
}
