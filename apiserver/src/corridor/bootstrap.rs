//! Bootstrap objects whose kinds claim something, such as an address: they take the path that all objects take.

use std::sync::Arc;

use kubelab_api::{Error, Reason};
use kubelab_store::Door;

use super::{Body, Corridor, Options, Request, User, Verb};
use crate::{authorization::MASTERS, bootstrap::Object};

impl Corridor {
    /// Creates an object unless it is there. Looking first matters: what the object claims is taken, by itself.
    pub async fn ensure(&self, object: &Object) -> Result<(), Error> {
        let request = |verb, name: &str, body| Request {
            user: User { name: "system:apiserver".into(), groups: vec![MASTERS.into()], ..User::default() },
            agent: "kube-apiserver".into(),
            door: Door::Internal,
            trace_id: "".into(),
            cause: 0,
            verb,
            resource: Arc::new(object.resource.clone()),
            namespace: object.namespace().to_owned(),
            name: name.to_owned(),
            subresource: String::new(),
            body,
            options: Options { field_validation: "Ignore".into(), ..Options::default() },
        };
        match self.registry().handle(&request(Verb::Get, object.name(), Body::None), &|_| Ok(())).await {
            Err(error) if error.reason == Reason::NotFound => {}
            found => return found.map(drop),
        }
        let creation = request(Verb::Create, "", Body::Json(object.value.to_string().into()));
        match self.registry().handle(&creation, &|_| Ok(())).await {
            Err(error) if error.reason == Reason::AlreadyExists => Ok(()),
            outcome => outcome.map(drop),
        }
    }
}
