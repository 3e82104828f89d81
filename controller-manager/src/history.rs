//! The history of a StatefulSet or a DaemonSet: a ControllerRevision for each template that it had, numbered.
//! Source: `pkg/controller/history/controller_history.go` in Kubernetes.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::{
    api::{
        apps::v1::ControllerRevision,
        core::v1::{Container, PodTemplateSpec},
    },
    apimachinery::pkg::{
        apis::meta::v1::{DeleteOptions, ObjectMeta, Preconditions},
        runtime::RawExtension,
    },
};
use kubelab_api::{Error, Reason, meta::controller_reference, selector::label::Selector};
use kubelab_client::{Cache, Client, Object, controller::Key, queue::Queue};
use serde_json::{Value, json};

use crate::{
    Context,
    ownership::{self, Orphans, owner_key},
};

/// Source: `ControllerRevisionName`.
const NAME_PREFIX_MAX_LENGTH: usize = 223;

/// What a revision holds: a strategic merge patch that brings the template back. Keys are sorted, so that the same template
/// gives the same bytes.
pub fn data(template: &PodTemplateSpec) -> Result<Value, Error> {
    let mut template = serde_json::to_value(template).map_err(Error::internal)?;
    fill_in(&mut template);
    template["$patch"] = json!("replace");
    Ok(json!({"spec": {"template": template}}))
}

/// A container's resources are written even where there are none, as Go writes them: kubectl compares the patch with one
/// of its own to find out that there is nothing to undo.
fn fill_in(template: &mut Value) {
    for list in ["containers", "initContainers"] {
        let containers = template.get_mut("spec").and_then(|spec| spec.get_mut(list)).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten().filter_map(Value::as_object_mut) {
            container.entry("resources").or_insert_with(|| json!({}));
        }
    }
}

/// The template that a revision remembers.
pub fn template(revision: &ControllerRevision) -> Result<PodTemplateSpec, Error> {
    let mut template = revision.data.0.pointer("/spec/template").cloned().unwrap_or_default();
    if let Some(fields) = template.as_object_mut() {
        fields.remove("$patch");
    }
    serde_json::from_value(template).map_err(|error| {
        let name = revision.metadata.name.as_deref().unwrap_or_default();
        Error::internal(format!("ControllerRevision {name:?} holds no pod template: {error}"))
    })
}

/// The revision remembers this template. What differs only in how nothing is written counts as the same.
pub fn holds(revision: &ControllerRevision, wanted: &PodTemplateSpec) -> bool {
    let plain = |mut template: PodTemplateSpec| {
        let meta = template.metadata.get_or_insert_default();
        meta.creation_timestamp = None;
        if let Some(spec) = &mut template.spec {
            let containers = spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten());
            containers.for_each(|container: &mut Container| {
                container.resources.get_or_insert_default();
            });
        }
        template
    };
    template(revision).is_ok_and(|template| plain(template) == plain(wanted.clone()))
}

/// A new revision of an owner. It gets its name when it is known that nobody else has it: [`name`].
pub fn make<O: Object>(
    owner: &O,
    labels: BTreeMap<String, String>,
    annotations: Option<BTreeMap<String, String>>,
    data: Value,
    number: i64,
) -> ControllerRevision {
    ControllerRevision {
        metadata: ObjectMeta {
            namespace: owner.metadata().namespace.clone(),
            labels: Some(labels),
            annotations,
            owner_references: Some(vec![controller_reference(owner)]),
            ..Default::default()
        },
        data: RawExtension(data),
        revision: Some(number),
    }
}

/// The name of an owner's revision with this hash.
pub fn name(owner: &str, hash: &str) -> String {
    format!("{}-{hash}", owner.get(..NAME_PREFIX_MAX_LENGTH).unwrap_or(owner))
}

/// Oldest first: by number, then by age, then by name.
pub fn sort(revisions: &mut [Arc<ControllerRevision>]) {
    revisions.sort_by(|a, b| {
        let rank = |revision: &ControllerRevision| {
            (number(revision), revision.metadata.creation_timestamp.clone(), revision.metadata.name.clone())
        };
        rank(a).cmp(&rank(b))
    });
}

/// A revision's number.
pub fn number(revision: &ControllerRevision) -> i64 {
    revision.revision.unwrap_or(0)
}

/// The number after the highest of these.
pub fn next_number<'a>(revisions: impl IntoIterator<Item = &'a Arc<ControllerRevision>>) -> i64 {
    revisions.into_iter().map(|revision| number(revision)).max().unwrap_or(0) + 1
}

/// What became of an attempt to create a revision.
#[derive(Debug)]
pub enum Created {
    /// It is there: made now, or by an earlier attempt.
    Here(Arc<ControllerRevision>),
    /// Its name belongs to a revision with another template.
    Collision(Error),
}

/// The way to the revisions.
pub struct History {
    client: Client,
    cache: Cache<ControllerRevision>,
    orphans: Orphans<ControllerRevision>,
}

impl History {
    /// Follows the mirror of all revisions.
    pub fn of(context: &Context) -> Self {
        let cache = context.caches.of::<ControllerRevision>();
        Self { client: context.client.clone(), orphans: Orphans::of(&cache), cache }
    }

    /// Waits until the mirror is complete.
    pub async fn synced(&self) {
        self.cache.synced().await;
    }

    /// Adds an owner's key to its queue when one of its revisions changes.
    pub fn follow<O: Object>(&self, queue: &Queue<Key>) {
        let queue = queue.clone();
        self.cache.on_change(move |change| {
            if let Some(key) = owner_key::<O>(&change.object().metadata) {
                queue.add(key);
            }
        });
    }

    /// The revisions of an owner, oldest first, after adopting what nobody else has and releasing what is no longer its own.
    pub async fn claim<O: Object>(
        &self,
        owner: &O,
        selector: &Selector,
    ) -> Result<Vec<Arc<ControllerRevision>>, Error> {
        let candidates = self.orphans.and_controlled_by(owner.metadata());
        let mut revisions = ownership::claim(&self.client, owner, selector, candidates).await?;
        sort(&mut revisions);
        Ok(revisions)
    }

    /// Creates a revision, whose name must be set.
    pub async fn create(&self, revision: &ControllerRevision) -> Result<Created, Error> {
        match self.client.create(revision).await {
            Ok(created) => Ok(Created::Here(Arc::new(created))),
            Err(error) if error.reason == Reason::AlreadyExists => {
                let key = Key::of(revision);
                let present: ControllerRevision = self.client.get(&key.namespace, &key.name).await?;
                if present.data == revision.data {
                    Ok(Created::Here(Arc::new(present)))
                } else {
                    Ok(Created::Collision(error))
                }
            }
            Err(error) => Err(error),
        }
    }

    /// Gives a revision another number.
    pub async fn renumber(
        &self,
        revision: &Arc<ControllerRevision>,
        number: i64,
    ) -> Result<Arc<ControllerRevision>, Error> {
        if revision.revision == Some(number) {
            return Ok(Arc::clone(revision));
        }
        let mut next = ControllerRevision::clone(revision);
        next.revision = Some(number);
        Ok(Arc::new(self.client.update(&next).await?))
    }

    /// Deletes revisions; those that are gone already are no error.
    pub async fn delete(&self, revisions: impl IntoIterator<Item = &Arc<ControllerRevision>>) -> Result<(), Error> {
        for revision in revisions {
            let key = Key::of(&**revision);
            let preconditions = Preconditions { uid: revision.metadata.uid.clone(), resource_version: None };
            let options = DeleteOptions { preconditions: Some(preconditions), ..Default::default() };
            match self.client.delete::<ControllerRevision>(&key.namespace, &key.name, options).await {
                Err(error) if error.reason != Reason::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn web(image: &str) -> PodTemplateSpec {
        let containers = json!([{"name": "c", "image": image}]);
        let template = json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": containers}});
        serde_json::from_value(template).unwrap()
    }

    fn revision(name: &str, number: i64, data: Value) -> Arc<ControllerRevision> {
        let revision = json!({"metadata": {"name": name}, "revision": number, "data": data});
        Arc::new(serde_json::from_value(revision).unwrap())
    }

    #[test]
    fn a_template_is_found_again_in_its_revision() {
        let data = data(&web("a:1")).unwrap();
        let expected = r#"{"spec":{"template":{"$patch":"replace","metadata":{"labels":{"app":"web"}},"spec":{"containers":[{"image":"a:1","name":"c","resources":{}}]}}}}"#;
        assert_eq!(data.to_string(), expected);
        let revision = revision("web-1", 1, data);
        assert!(holds(&revision, &web("a:1")) && !holds(&revision, &web("a:2")));
        assert_eq!(template(&revision).unwrap().spec.unwrap().containers[0].image.as_deref(), Some("a:1"));
    }

    #[test]
    fn what_is_no_template_is_an_error_that_names_the_revision() {
        let error = template(&revision("web-1", 1, json!({"spec": 3}))).unwrap_err();
        assert!(error.message.contains("ControllerRevision \"web-1\" holds no pod template"), "{}", error.message);
    }

    #[test]
    fn revisions_are_in_order_of_their_numbers() {
        let mut revisions = vec![
            revision("c", 3, json!({})),
            revision("b", 1, json!({})),
            revision("a", 1, json!({})),
            revision("d", 2, json!({})),
        ];
        assert_eq!(next_number(&revisions), 4);
        assert_eq!(next_number([]), 1);
        sort(&mut revisions);
        let names: Vec<_> = revisions.iter().map(|revision| revision.metadata.name.clone().unwrap()).collect();
        assert_eq!(names, ["a", "b", "d", "c"]);
    }

    #[test]
    fn names_are_bounded() {
        assert_eq!(name("web", "abc"), "web-abc");
        assert_eq!(name(&"x".repeat(250), "abc").len(), 227);
    }
}
