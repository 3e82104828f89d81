//! The objects that every cluster has from the start, by the path that all objects take.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use kubelab_api::{Error, Reason};
use kubelab_store::Door;

use super::{Body, Corridor, Options, Request, User, Verb};
use crate::{authorization::MASTERS, bootstrap::Object};

/// So many are created at a time: the store commits them in batches.
const AT_ONCE: usize = 64;

impl Corridor {
    /// Creates those of the objects that are missing: first those that others live in.
    pub async fn ensure(&self, objects: Vec<Object>) -> Result<(), Error> {
        let (namespaced, global): (Vec<_>, Vec<_>) =
            objects.into_iter().partition(|object| object.resource.namespaced);
        for wave in [global, namespaced] {
            let creations = stream::iter(wave).map(|object| self.create_missing(object));
            creations.buffer_unordered(AT_ONCE).try_collect::<()>().await?;
        }
        Ok(())
    }

    async fn create_missing(&self, object: Object) -> Result<(), Error> {
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
