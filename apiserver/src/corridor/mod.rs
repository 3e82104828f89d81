//! What every request passes, whichever door it came through.
//!
//! ```text
//! authentication ─► authorization ─┬─► reviews, tokens: answered here, never stored
//!                                  └─► registry (admission, kinds) ─► store
//! ```

pub mod request;

use std::sync::Arc;

use bytes::Bytes;
use k8s_openapi::api::{authentication::v1::TokenRequest, core::v1::ServiceAccount};
use kubelab_api::Error;
use kubelab_store::Key;
use rustls_pki_types::CertificateDer;

use crate::{
    authentication::{self, Authenticator, impersonation::Wanted},
    authorization::{self, Attributes, Authorizer},
    registry::Registry,
};

pub use request::{Answer, Body, List, ListOptions, Options, Request, Response, User, Verb};

/// authentication → authorization → admission → registry → store.
pub struct Corridor {
    registry: Arc<Registry>,
    authenticator: Authenticator,
    authorizer: Arc<Authorizer>,
}

impl Corridor {
    /// The corridor to this registry.
    pub fn new(registry: Arc<Registry>, authenticator: Authenticator, authorizer: Arc<Authorizer>) -> Self {
        Self { registry, authenticator, authorizer }
    }

    /// Answers one request for a resource.
    pub async fn handle(&self, request: Request) -> Result<Answer, Error> {
        let attributes = Attributes::of(&request);
        self.authorize(&attributes).await?;
        let answer = match (&*request.resource.group, &*request.resource.plural, request.verb, &*request.subresource) {
            ("authorization.k8s.io", _, Verb::Create, "") => authorization::review::answer(
                &*self.authorizer,
                &request.user,
                &request.resource,
                &request.namespace,
                json(&request)?,
            )?,
            ("authentication.k8s.io", _, Verb::Create, "") => {
                authentication::review::answer(&self.authenticator, &request.user, &request.resource, json(&request)?)?
            }
            ("", "serviceaccounts", Verb::Create, "token") => self.issue_token(&request).await?,
            _ => {
                let may = |verb: Verb| self.authorizer.authorize(&Attributes { verb: verb.name(), ..attributes });
                return self.registry.handle(&request, &may).await;
            }
        };
        Ok(Answer { response: Response::Object { json: answer.into(), created: true }, warnings: Vec::new() })
    }

    /// Nobody is refused because of a state that is behind the store's latest.
    async fn authorize(&self, attributes: &Attributes<'_>) -> Result<(), Error> {
        match self.authorizer.authorize(attributes) {
            Ok(()) => Ok(()),
            Err(refusal) => match self.registry.store().latest().await {
                Ok(_) => self.authorizer.authorize(attributes),
                Err(_) => Err(refusal),
            },
        }
    }

    async fn issue_token(&self, request: &Request) -> Result<Vec<u8>, Error> {
        let asked: TokenRequest =
            serde_json::from_slice(json(request)?).map_err(|error| Error::bad_request(error.to_string()))?;
        let unavailable = |error: kubelab_store::Error| Error::unavailable(error.to_string());
        let state = self.registry.store().latest().await.map_err(unavailable)?;
        let key = Key::new(request.resource.topic(), format!("{}/{}", request.namespace, request.name));
        let stored = state.get(&key).ok_or_else(|| Error::not_found(&request.resource, &request.name))?;
        let account: ServiceAccount = serde_json::from_slice(&stored.value).map_err(Error::internal)?;
        let issued = authentication::request::issue(
            self.authenticator.keys(),
            self.authenticator.lookup(),
            self.authenticator.now(),
            &account,
            asked,
            authorization::node::name_of(&request.user),
        )?;
        serde_json::to_vec(&issued).map_err(Error::internal)
    }

    /// Who asks, from a verified client certificate or a bearer token; `system:anonymous` with neither.
    pub fn authenticate(&self, certificate: Option<&CertificateDer<'_>>, bearer: Option<&str>) -> Result<User, Error> {
        self.authenticator.authenticate(certificate, bearer)
    }

    /// The user as whom this one wants to act, where that is allowed.
    pub fn impersonate(&self, user: &User, wanted: Wanted) -> Result<User, Error> {
        wanted.grant(user, &*self.authorizer)
    }

    /// Refuses a path that is no resource.
    pub fn authorize_path(&self, user: &User, verb: &str, path: &str) -> Result<(), Error> {
        self.authorizer.authorize(&Attributes::path(user, verb, path))
    }

    /// What is served.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }
}

fn json(request: &Request) -> Result<&Bytes, Error> {
    match &request.body {
        Body::Json(json) => Ok(json),
        Body::None | Body::Patch { .. } => Err(Error::bad_request("the request has no object in its body")),
    }
}
