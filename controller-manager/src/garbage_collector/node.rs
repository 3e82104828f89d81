//! What is kept of an object. Most objects own nothing, belong to nobody and hold nothing up, so most nodes are a name.

use std::{collections::HashSet, sync::Arc};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};
use kubelab_api::{
    Resource,
    well_known::finalizer::{FOREGROUND, ORPHAN},
};
use serde::Deserialize;
use uuid::Uuid;

/// What tells one object from all others, for ever.
pub type Uid = Uuid;

/// The uid that this text is; `None` if the apiserver never gives out such a one.
pub fn uid(text: &str) -> Option<Uid> {
    let uid = Uuid::try_parse(text).ok()?;
    (uid.hyphenated().encode_lower(&mut Uuid::encode_buffer()) == text).then_some(uid)
}

/// The part of an object's metadata that is read. Upstream asks for `PartialObjectMetadata`.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Slim {
    /// The object's metadata.
    pub metadata: SlimMeta,
}

/// The same of the metadata alone.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs)]
pub struct SlimMeta {
    pub uid: Option<String>,
    pub namespace: Option<String>,
    pub name: Option<String>,
    pub resource_version: Option<String>,
    pub owner_references: Option<Vec<OwnerReference>>,
    pub finalizers: Option<Vec<String>>,
    pub deletion_timestamp: Option<Time>,
}

/// What an event says of an object.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// Which object.
    pub uid: Uid,
    /// Empty for a cluster-scoped one.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
    /// When it was written.
    pub revision: u64,
    /// What it belongs to.
    pub owners: &'a [OwnerReference],
    /// What must happen before it goes.
    pub finalizers: &'a [String],
    /// It is to go.
    pub deleting: bool,
}

macro_rules! facts_of {
    ($of:ident, $meta:ty) => {
        /// What this metadata says; `None` if that is of no object that the apiserver made.
        pub fn $of(meta: &'a $meta) -> Option<Self> {
            Some(Self {
                uid: uid(meta.uid.as_deref()?)?,
                namespace: meta.namespace.as_deref().unwrap_or_default(),
                name: meta.name.as_deref().unwrap_or_default(),
                revision: meta.resource_version.as_deref().and_then(|version| version.parse().ok()).unwrap_or_default(),
                owners: meta.owner_references.as_deref().unwrap_or_default(),
                finalizers: meta.finalizers.as_deref().unwrap_or_default(),
                deleting: meta.deletion_timestamp.is_some(),
            })
        }
    };
}

impl<'a> Facts<'a> {
    facts_of!(of, ObjectMeta);
    facts_of!(of_slim, SlimMeta);

    /// It is being deleted, and stays until its dependents are gone.
    pub fn waits_for_dependents(&self) -> bool {
        self.deleting && self.finalizers.iter().any(|present| present == FOREGROUND)
    }
}

/// An object in the graph.
#[derive(Clone, Debug)]
pub struct Node {
    /// What it is an object of.
    pub resource: Arc<Resource>,
    namespace: Arc<str>,
    name: Box<str>,
    ties: Option<Box<Ties>>,
}

/// What few objects have.
#[derive(Clone, Debug)]
struct Ties {
    revision: u64,
    owners: Arc<[OwnerReference]>,
    finalizers: Arc<[String]>,
    deleting: bool,
}

impl Node {
    /// A node for this object. What it has in common with `sibling`, which has the same owner, is shared.
    pub fn new(
        resource: &Arc<Resource>,
        facts: &Facts<'_>,
        namespaces: &mut Namespaces,
        sibling: Option<&Node>,
    ) -> Self {
        let has_ties = facts.deleting || !facts.owners.is_empty() || !facts.finalizers.is_empty();
        let sibling = sibling.and_then(|sibling| sibling.ties.as_ref());
        let ties = || {
            let owners = sibling.map(|ties| &ties.owners).filter(|owners| ***owners == *facts.owners);
            let finalizers =
                sibling.map(|ties| &ties.finalizers).filter(|finalizers| ***finalizers == *facts.finalizers);
            Box::new(Ties {
                revision: facts.revision,
                owners: owners.map_or_else(|| facts.owners.into(), Arc::clone),
                finalizers: finalizers.map_or_else(|| facts.finalizers.into(), Arc::clone),
                deleting: facts.deleting,
            })
        };
        Self {
            resource: Arc::clone(resource),
            namespace: namespaces.take(facts.namespace),
            name: facts.name.into(),
            ties: has_ties.then(ties),
        }
    }

    /// All that matters is as it was; says so after taking over when that was written.
    pub fn is_still(&mut self, facts: &Facts<'_>) -> bool {
        let Some(ties) = &mut self.ties else {
            return !facts.deleting && facts.owners.is_empty() && facts.finalizers.is_empty();
        };
        let same =
            ties.deleting == facts.deleting && *ties.owners == *facts.owners && *ties.finalizers == *facts.finalizers;
        if same {
            ties.revision = facts.revision;
        }
        same
    }

    /// Its namespace; empty for a cluster-scoped object.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// When it was written, as far as that matters.
    pub fn resource_version(&self) -> Option<String> {
        self.ties.as_ref().map(|ties| ties.revision.to_string())
    }

    /// The objects that it belongs to.
    pub fn owners(&self) -> &[OwnerReference] {
        self.ties.as_ref().map_or(&[], |ties| &ties.owners)
    }

    /// What must happen before it goes.
    pub fn finalizers(&self) -> &[String] {
        self.ties.as_ref().map_or(&[], |ties| &ties.finalizers)
    }

    /// It has this finalizer.
    pub fn has_finalizer(&self, finalizer: &str) -> bool {
        self.finalizers().iter().any(|present| present == finalizer)
    }

    /// It is to go.
    pub fn is_deleting(&self) -> bool {
        self.ties.as_ref().is_some_and(|ties| ties.deleting)
    }

    /// It is being deleted, and stays until its dependents are gone.
    pub fn waits_for_dependents(&self) -> bool {
        self.is_deleting() && self.has_finalizer(FOREGROUND)
    }

    /// It is being deleted, and stays until its dependents are no longer its own.
    pub fn orphans_dependents(&self) -> bool {
        self.is_deleting() && self.has_finalizer(ORPHAN)
    }
}

/// The names of namespaces, each kept once for all that is in it.
#[derive(Default)]
pub struct Namespaces(HashSet<Arc<str>>);

impl Namespaces {
    fn take(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.0.get(name) {
            return Arc::clone(known);
        }
        let name: Arc<str> = name.into();
        self.0.insert(Arc::clone(&name));
        name
    }

    /// This node is no more; nor is its namespace's name, if it was the last there.
    pub fn give_back(&mut self, node: Node) {
        let namespace = node.namespace;
        if Arc::strong_count(&namespace) == 2 {
            self.0.remove(&namespace);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use kubelab_api::resource;
    use serde_json::{Value, json};

    use super::*;

    const UID: &str = "0f4e1a36-7a2f-4a51-8a3c-1c8f5c1d2e3f";

    fn slim(meta: Value) -> SlimMeta {
        let mut metadata = json!({"uid": UID, "namespace": "shop", "name": "web", "resourceVersion": "7"});
        metadata.as_object_mut().unwrap().extend(meta.as_object().unwrap().clone());
        serde_json::from_value::<Slim>(json!({"kind": "Pod", "metadata": metadata, "spec": {}})).unwrap().metadata
    }

    #[test]
    fn most_objects_are_a_name() {
        let (pods, mut namespaces) = (Arc::new(resource::named("po").unwrap().clone()), Namespaces::default());
        let plain = slim(json!({"labels": {"app": "web"}, "managedFields": [{"manager": "x"}]}));
        let plain = Node::new(&pods, &Facts::of_slim(&plain).unwrap(), &mut namespaces, None);
        assert!(plain.ties.is_none());
        assert!(size_of::<(Uid, Node)>() <= 64, "{}", size_of::<(Uid, Node)>());

        let owner = json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "rs", "uid": UID}]);
        let owned = slim(json!({"ownerReferences": owner}));
        let mut one = Node::new(&pods, &Facts::of_slim(&owned).unwrap(), &mut namespaces, None);
        let other = Node::new(&pods, &Facts::of_slim(&owned).unwrap(), &mut namespaces, Some(&one));
        assert!(std::ptr::eq(one.owners(), other.owners()), "those of one owner share what they know of it");
        assert!(std::ptr::eq(one.namespace(), other.namespace()));

        let later = slim(json!({"ownerReferences": owner, "resourceVersion": "9"}));
        assert!(one.is_still(&Facts::of_slim(&later).unwrap()));
        assert_eq!(one.resource_version().as_deref(), Some("9"));
        let ends = slim(json!({"ownerReferences": owner, "deletionTimestamp": "2026-11-20T12:00:00Z"}));
        assert!(!one.is_still(&Facts::of_slim(&ends).unwrap()));

        for node in [plain, one, other] {
            assert_eq!(namespaces.0.len(), 1);
            namespaces.give_back(node);
        }
        assert!(namespaces.0.is_empty());
    }

    #[test]
    fn a_uid_has_one_form() {
        assert!(uid(UID).is_some());
        for other in ["", "web", "0F4E1A36-7A2F-4A51-8A3C-1C8F5C1D2E3F", "0f4e1a367a2f4a518a3c1c8f5c1d2e3f"] {
            assert_eq!(uid(other), None, "{other}");
        }
    }
}
