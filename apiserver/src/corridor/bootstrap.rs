//! Bootstrap objects whose kinds claim something, such as an address: they take the path that all objects take.

use std::sync::Arc;

use kubelab_api::{Error, Reason};
use kubelab_store::Door;

use super::{Body, Corridor, Options, Request, User, Verb};
use crate::{authorization::MASTERS, bootstrap::Object};

impl Corridor {
    /// Creates an object unless it is there.
    pub async fn ensure(&self, object: Object) -> Result<(), Error> {
        let request = Request {
            user: User { name: "system:apiserver".into(), groups: vec![MASTERS.into()], ..User::default() },
            agent: "kube-apiserver".into(),
            door: Door::Internal,
            trace_id: "".into(),
            cause: 0,
            verb: Verb::Create,
            resource: Arc::new(object.resource.clone()),
            namespace: object.namespace().to_owned(),
            name: String::new(),
            subresource: String::new(),
            body: Body::Json(object.value.to_string().into()),
            options: Options { field_validation: "Ignore".into(), ..Options::default() },
        };
        match self.registry().handle(&request, &|_| Ok(())).await {
            Err(error) if error.reason == Reason::AlreadyExists => Ok(()),
            outcome => outcome.map(drop),
        }
    }
}
