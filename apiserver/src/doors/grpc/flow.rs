//! The service `Flow`: what passes through this apiserver, and why.

use std::sync::Arc;

use kubelab_proto::flow::{MemberReply, MemberRequest, WhyReply, WhyRequest, flow_server};
use tonic::{Request, Response, Status};

use super::status;
use crate::doors::{Connection, Doors};

/// The service.
pub struct Flow(pub Arc<Doors>);

impl Flow {
    /// Only those may look behind the scenes who may read the path of this service.
    fn authorize<T>(&self, request: &Request<T>) -> Result<(), Status> {
        let connection = request.extensions().get::<Arc<Connection>>();
        let connection = connection.ok_or_else(|| Status::internal("the connection is unknown"))?;
        self.0
            .authenticate(connection, request.metadata().as_ref())
            .and_then(|user| self.0.corridor.authorize_path(&user, "get", "/flow"))
            .map_err(|error| status::of(&error))
    }
}

#[tonic::async_trait]
impl flow_server::Flow for Flow {
    async fn why(&self, request: Request<WhyRequest>) -> Result<Response<WhyReply>, Status> {
        self.authorize(&request)?;
        let _ = request;
        Err(Status::unimplemented("why"))
    }

    async fn member(&self, request: Request<MemberRequest>) -> Result<Response<MemberReply>, Status> {
        self.authorize(&request)?;
        let member = self.0.store.member().borrow().clone();
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
