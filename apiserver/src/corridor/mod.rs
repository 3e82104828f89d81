//! What every request passes, whichever door it came through.

mod bootstrap;
mod connect;
pub mod request;

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use k8s_openapi::api::{authentication::v1::TokenRequest, core::v1::ServiceAccount};
use kubelab_api::{Error, Reason, resource::Verbs};
use kubelab_store::Store;

use crate::{
    admission::Chain,
    audit,
    authentication::{self, Authenticator, certificate::Holder, impersonation::Wanted},
    authorization::{self, Attributes, Authorizer, Decider, Decision},
    registry::{
        Registry,
        decode::{Expected, Validation, decode_body},
        list::unavailable,
        table::Table,
    },
};

pub use connect::Connect;
pub use request::{Answer, Body, List, ListOptions, Options, Request, Response, User, Verb};

/// authentication → authorization → admission → registry → store.
pub struct Corridor {
    authenticator: Authenticator,
    authorizer: Arc<Authorizer>,
    registry: Registry,
}

impl Corridor {
    /// The corridor that ends in this store.
    pub fn new(store: Store, authenticator: Authenticator, authorizer: Authorizer, now: fn() -> Timestamp) -> Self {
        let authorizer = Arc::new(authorizer);
        let decider = Arc::clone(&authorizer) as Arc<dyn Decider>;
        let registry = Registry::new(Table::built_in(), store, Chain::with(&decider), now).with_decider(decider);
        Self { authenticator, authorizer, registry }
    }

    /// Answers one request for a resource.
    pub async fn handle(&self, request: Request) -> Result<Answer, Error> {
        self.authorize(&Attributes::of(&request)).await?;
        let resource = Arc::clone(&request.resource);
        match (&*resource.group, &*resource.plural, request.subresource.as_str()) {
            _ if resource.verbs == Verbs::Create && request.verb != Verb::Create => Err(Error::method_not_allowed()),
            ("authorization.k8s.io" | "authentication.k8s.io", ..) => self.review(&request),
            ("", "serviceaccounts", "token") => self.token(&request).await,
            _ => {
                let may = |verb: Verb| {
                    let also = Attributes { verb: verb.name(), ..Attributes::of(&request) };
                    self.authorizer.authorize(&also)
                };
                self.registry.handle(&request, &may).await
            }
        }
    }

    /// Who asks, from a verified client certificate or a bearer token; `system:anonymous` with neither.
    /// A token is checked against the local store: its "no" counts once that is not behind, since the token may have been
    /// issued by another apiserver a moment ago.
    pub async fn authenticate(&self, holder: Option<&Holder>, bearer: Option<&str>) -> Result<User, Error> {
        match self.authenticator.authenticate(holder, bearer) {
            Err(refusal) if bearer.is_some() => match self.store().latest().await {
                Ok(_) => self.authenticator.authenticate(holder, bearer),
                Err(_) => Err(refusal),
            },
            decision => decision,
        }
    }

    /// Whom `user` acts as, where that is allowed.
    pub fn impersonate(&self, user: &User, wanted: Wanted) -> Result<User, Error> {
        wanted.grant(user, &*self.authorizer)
    }

    /// Refuses a path that is no resource.
    pub fn authorize_path(&self, user: &User, verb: &str, path: &str) -> Result<(), Error> {
        let attributes = Attributes::path(user, verb, path);
        self.note_decision(&attributes);
        self.authorizer.authorize(&attributes)
    }

    /// The keys of service accounts' tokens.
    pub fn token_keys(&self) -> &authentication::token::Keys {
        self.authenticator.keys()
    }

    /// What is served.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The store at its end.
    pub fn store(&self) -> &Store {
        self.registry.store()
    }

    /// The authorizer reads the local store: its "no" counts once that is not behind.
    pub(crate) async fn authorize(&self, attributes: &Attributes<'_>) -> Result<(), Error> {
        let decision = match self.authorizer.authorize(attributes) {
            Err(error) if error.reason == Reason::Forbidden => {
                self.store().latest().await.map_err(unavailable)?;
                self.authorizer.authorize(attributes)
            }
            decision => decision,
        };
        self.note_decision(attributes);
        decision
    }

    /// Source: `k8s.io/apiserver/pkg/endpoints/filters/authorization.go`.
    fn note_decision(&self, attributes: &Attributes<'_>) {
        if let Some(record) = audit::current() {
            let Decision { allowed, reason } = self.authorizer.decide(attributes);
            let decision = if allowed { "allow" } else { "forbid" };
            record.annotate("authorization.k8s.io/decision", decision.into());
            record.annotate("authorization.k8s.io/reason", reason);
        }
    }

    fn review(&self, request: &Request) -> Result<Answer, Error> {
        let (resource, json) = (&*request.resource, body(request)?);
        let (user, namespace) = (&request.user, request.namespace.as_str());
        let validation = Validation::parse(&request.options.field_validation)?;
        let (json, warnings) = if resource.group == "authentication.k8s.io" {
            authentication::review::answer(&self.authenticator, user, resource, json, validation)?
        } else {
            authorization::review::answer(&*self.authorizer, user, resource, namespace, json, validation)?
        };
        Ok(Answer { warnings, ..created(json) })
    }

    async fn token(&self, request: &Request) -> Result<Answer, Error> {
        if request.verb != Verb::Create {
            return Err(Error::method_not_allowed());
        }
        let expected = Expected { group: "authentication.k8s.io", version: "v1", kind: "TokenRequest" };
        let validation = Validation::parse(&request.options.field_validation)?;
        let (wanted, warnings) = decode_body::<TokenRequest>(&expected, body(request)?, validation)?;
        self.store().latest().await.map_err(unavailable)?;
        let lookup = self.authenticator.lookup();
        let name = format!("{}/{}", request.namespace, request.name);
        let account = lookup.get("core/serviceaccounts", &name);
        let account = account.ok_or_else(|| Error::not_found(&request.resource, &request.name))?;
        let account: ServiceAccount = serde_json::from_slice(&account).map_err(Error::internal)?;
        let keys = self.authenticator.keys();
        let node = authorization::node::name_of(&request.user);
        let issued = authentication::request::issue(keys, lookup, self.authenticator.now(), &account, wanted, node)?;
        Ok(Answer { warnings, ..created(serde_json::to_vec(&issued).map_err(Error::internal)?) })
    }
}

fn body(request: &Request) -> Result<&Bytes, Error> {
    match &request.body {
        Body::Json(json) => Ok(json),
        Body::None | Body::Patch { .. } => Err(Error::bad_request("the request has no object in its body")),
    }
}

fn created(json: Vec<u8>) -> Answer {
    Answer { response: Response::Object { json: json.into(), created: true }, warnings: Vec::new() }
}
