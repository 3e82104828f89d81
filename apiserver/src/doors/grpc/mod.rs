//! kubelab's gRPC services, for its own components and for `kubelab why`.

mod audit;
mod flow;
mod objects;
mod status;

use std::sync::Arc;

use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use kubelab_proto::{
    flow::flow_server::{FlowServer, SERVICE_NAME as FLOW},
    objects::objects_server::ObjectsServer,
};
use tonic::body::Body as GrpcBody;
use tower::Service;

use super::{Body, Connection, Doors, rest::body::LIMIT};
use flow::Flow;
use objects::Objects;

/// Answers one gRPC request.
pub(super) async fn serve(
    doors: Arc<Doors>,
    connection: Arc<Connection>,
    mut request: Request<Incoming>,
) -> Response<Body> {
    request.extensions_mut().insert(connection);
    let request = request.map(GrpcBody::new);
    let service = request.uri().path().split('/').nth(1).unwrap_or_default();
    let answered = if service == FLOW {
        FlowServer::new(Flow(doors)).call(request).await
    } else {
        // Unknown services get UNIMPLEMENTED from this one.
        ObjectsServer::new(Objects(doors)).max_decoding_message_size(LIMIT + 64 * 1024).call(request).await
    };
    match answered {
        Ok(response) => response.map(|body| body.map_err(Into::into).boxed_unsync()),
        Err(never) => match never {},
    }
}
