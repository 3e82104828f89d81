//! The gRPC health service of servers in containers. Source: `test/images/agnhost/grpc-health-checking` of Kubernetes.

use std::sync::Arc;

use jiff::Timestamp;
use kubelab_client::clock;
use kubelab_proto::health::{
    HealthCheckRequest, HealthCheckResponse,
    health_check_response::ServingStatus,
    health_server::{Health as HealthService, HealthServer},
};
use tonic::{Request, Response, Status, async_trait};

use super::agnhost::Told;
use crate::behavior::Health;

/// Says how its container is.
pub struct Checker {
    /// The one service that it knows; all, where there is none.
    pub service: Option<String>,
    /// How the container is.
    pub health: Health,
    /// When it started.
    pub started_at: Timestamp,
    /// What it was told to say.
    pub told: Arc<Told>,
}

impl Checker {
    /// As a service of a gRPC server.
    pub fn into_service(self) -> HealthServer<Self> {
        HealthServer::new(self)
    }
}

#[async_trait]
impl HealthService for Checker {
    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        if self.service.as_ref().is_some_and(|service| *service != request.get_ref().service) {
            return Err(Status::not_found("unknown service"));
        }
        let uptime = clock::now_micro().0.duration_since(self.started_at).unsigned_abs();
        let is_late = self.health.status(uptime) != 200;
        let serves = self.told.serves() != Some(false) && !is_late;
        let status = if serves { ServingStatus::Serving } else { ServingStatus::NotServing };
        Ok(Response::new(HealthCheckResponse { status: status.into() }))
    }
}
