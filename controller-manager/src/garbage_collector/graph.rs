//! Who belongs to whom, and what follows from that. No I/O.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kubelab_api::{
    Resource,
    meta::{has_finalizer, is_deleting},
    resource::BUILT_IN,
    well_known::finalizer::{FOREGROUND, ORPHAN},
};
use kubelab_client::{Change, Partial};

/// What tells one object from all others, for ever.
pub type Uid = String;

/// An object in the graph.
#[derive(Clone)]
pub struct Node {
    /// What it is an object of.
    pub resource: Arc<Resource>,
    /// What is known of it.
    pub object: Arc<Partial>,
}

impl Node {
    /// Its metadata.
    pub fn meta(&self) -> &ObjectMeta {
        &self.object.metadata
    }

    /// The objects that it belongs to.
    pub fn owners(&self) -> &[OwnerReference] {
        self.object.metadata.owner_references.as_deref().unwrap_or_default()
    }

    /// It is being deleted, and stays until its dependents are gone.
    pub fn waits_for_dependents(&self) -> bool {
        is_deleting(self.meta()) && has_finalizer(self.meta(), FOREGROUND)
    }

    /// It is being deleted, and stays until its dependents are no longer its own.
    pub fn orphans_dependents(&self) -> bool {
        is_deleting(self.meta()) && has_finalizer(self.meta(), ORPHAN)
    }
}

/// All objects, and the edges from owners to dependents. An edge may begin at an owner that is not (yet, or no longer)
/// known: that is what the search for garbage is about.
pub struct Graph {
    /// Every resource that a reference may mean.
    resources: Vec<Arc<Resource>>,
    nodes: HashMap<Uid, Node>,
    dependents: HashMap<Uid, HashSet<Uid>>,
}

impl Default for Graph {
    fn default() -> Self {
        let resources = BUILT_IN.iter().cloned().map(Arc::new).collect();
        Self { resources, nodes: HashMap::new(), dependents: HashMap::new() }
    }
}

/// What an owner reference leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// An object that is to stay.
    Solid,
    /// An object that is being deleted and waits for its dependents to go first.
    Waiting,
    /// Nothing: the owner is gone.
    Dangling,
    /// Nobody here knows; the apiserver must be asked.
    Unknown(Arc<Resource>),
}

/// What is to be done with an object, given what its owners are.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// Leave it.
    Keep,
    /// Some owner keeps it, others do not: only these references stay.
    Reduce(Vec<OwnerReference>),
    /// Delete it, with this propagation policy.
    Delete(&'static str),
}

impl Graph {
    /// Takes a change in, and says which objects are to be looked at because of it.
    pub fn apply(&mut self, resource: &Arc<Resource>, change: &Change<Partial>) -> Vec<Uid> {
        match change {
            Change::Added(object) => self.insert(resource, object),
            Change::Modified { old, new } if old.metadata.uid != new.metadata.uid => {
                let mut affected = self.remove(&old.metadata);
                affected.extend(self.insert(resource, new));
                affected
            }
            Change::Modified { old, new } => {
                let facts = |object: &Partial| {
                    let meta = &object.metadata;
                    (meta.owner_references.clone(), meta.finalizers.clone(), is_deleting(meta))
                };
                if facts(old) == facts(new) {
                    self.refresh(resource, new);
                    return Vec::new();
                }
                // An owner that waits may wait for a reference that is no longer there.
                let mut affected = self.waiting_owners(&old.metadata);
                self.disconnect(&old.metadata);
                affected.extend(self.insert(resource, new));
                affected
            }
            Change::Deleted(object) => self.remove(&object.metadata),
        }
    }

    fn insert(&mut self, resource: &Arc<Resource>, object: &Arc<Partial>) -> Vec<Uid> {
        let uid = uid_of(&object.metadata);
        self.refresh(resource, object);
        for owner in object.metadata.owner_references.iter().flatten() {
            self.dependents.entry(owner.uid.clone()).or_default().insert(uid.clone());
        }
        let concerns = object.metadata.owner_references.is_some() || is_deleting(&object.metadata);
        if concerns { vec![uid] } else { Vec::new() }
    }

    fn refresh(&mut self, resource: &Arc<Resource>, object: &Arc<Partial>) {
        let node = Node { resource: Arc::clone(resource), object: Arc::clone(object) };
        self.nodes.insert(uid_of(&object.metadata), node);
    }

    /// Knows these custom resources beside the built-in ones, and says which objects are to be looked at because their
    /// owners are of a kind that was not known before.
    pub fn know(&mut self, custom: Vec<Arc<Resource>>) -> Vec<Uid> {
        let before = std::mem::replace(&mut self.resources, BUILT_IN.iter().cloned().map(Arc::new).collect());
        self.resources.extend(custom);
        let is_new = |reference: &OwnerReference| {
            resource_of(&before, reference).is_none() && resource_of(&self.resources, reference).is_some()
        };
        self.nodes.iter().filter(|(_, node)| node.owners().iter().any(is_new)).map(|(uid, _)| uid.clone()).collect()
    }

    /// Forgets all objects of a resource that is no longer served, and says which others are to be looked at.
    pub fn forget(&mut self, topic: &str) -> Vec<Uid> {
        let gone: Vec<Arc<Partial>> = self
            .nodes
            .values()
            .filter(|node| node.resource.topic() == topic)
            .map(|node| Arc::clone(&node.object))
            .collect();
        gone.iter().flat_map(|object| self.remove(&object.metadata)).collect()
    }

    fn remove(&mut self, meta: &ObjectMeta) -> Vec<Uid> {
        let uid = uid_of(meta);
        self.nodes.remove(&uid);
        self.disconnect(meta);
        let mut affected = self.waiting_owners(meta);
        affected.extend(self.dependents.get(&uid).into_iter().flatten().cloned());
        affected
    }

    fn disconnect(&mut self, meta: &ObjectMeta) {
        let uid = uid_of(meta);
        for owner in meta.owner_references.iter().flatten() {
            if let Some(dependents) = self.dependents.get_mut(&owner.uid) {
                dependents.remove(&uid);
                if dependents.is_empty() {
                    self.dependents.remove(&owner.uid);
                }
            }
        }
    }

    fn waiting_owners(&self, meta: &ObjectMeta) -> Vec<Uid> {
        let owners = meta.owner_references.iter().flatten().map(|owner| &owner.uid);
        owners.filter(|uid| self.nodes.get(*uid).is_some_and(|owner| is_deleting(owner.meta()))).cloned().collect()
    }

    /// The object with this uid.
    pub fn get(&self, uid: &str) -> Option<&Node> {
        self.nodes.get(uid)
    }

    /// The objects that belong to this one.
    pub fn dependents(&self, uid: &str) -> impl Iterator<Item = &Node> {
        self.dependents.get(uid).into_iter().flatten().filter_map(|uid| self.nodes.get(uid))
    }

    /// Some dependent forbids this object to go before it.
    pub fn is_blocked(&self, uid: &str) -> bool {
        let blocks = |owner: &OwnerReference| owner.uid == uid && owner.block_owner_deletion == Some(true);
        self.dependents(uid).any(|dependent| dependent.owners().iter().any(blocks))
    }

    /// What a reference of `dependent` leads to, as far as the graph knows.
    pub fn owner(&self, dependent: &Node, reference: &OwnerReference) -> Owner {
        let Some(resource) = resource_of(&self.resources, reference) else {
            // What cannot be looked up cannot be known to be gone.
            tracing::debug!(kind = reference.kind, api_version = reference.api_version, "an owner of an unknown kind");
            return Owner::Solid;
        };
        let namespace = dependent.meta().namespace.as_deref().unwrap_or_default();
        if resource.namespaced && namespace.is_empty() {
            // A cluster-scoped object cannot belong to one in a namespace: nobody knows in which. Upstream leaves it be.
            return Owner::Solid;
        }
        match self.nodes.get(&reference.uid).filter(|owner| fits(owner, &resource, reference, namespace)) {
            Some(owner) if owner.waits_for_dependents() => Owner::Waiting,
            Some(_) => Owner::Solid,
            None => Owner::Unknown(resource),
        }
    }

    /// What is to be done with an object whose owners turned out to be these.
    pub fn verdict(&self, node: &Node, owners: &[Owner]) -> Verdict {
        let references = node.owners();
        if references.is_empty() || is_deleting(node.meta()) {
            return Verdict::Keep;
        }
        let solid: Vec<OwnerReference> = references
            .iter()
            .zip(owners)
            .filter(|(_, owner)| **owner == Owner::Solid)
            .map(|(reference, _)| reference.clone())
            .collect();
        if solid.len() == references.len() {
            return Verdict::Keep;
        }
        if !solid.is_empty() {
            return Verdict::Reduce(solid);
        }
        let has_dependents = self.dependents(&uid_of(node.meta())).next().is_some();
        if owners.contains(&Owner::Waiting) && has_dependents {
            // The owner waits for all that belongs to it, and so for what belongs to this.
            return Verdict::Delete("Foreground");
        }
        Verdict::Delete(if has_finalizer(node.meta(), ORPHAN) {
            "Orphan"
        } else if has_finalizer(node.meta(), FOREGROUND) {
            "Foreground"
        } else {
            "Background"
        })
    }

    /// Some dependent waits for its own dependents, so this object and that one may wait for each other in a circle.
    pub fn may_be_in_a_circle(&self, uid: &str) -> bool {
        self.dependents(uid).any(Node::waits_for_dependents)
    }
}

/// An object's uid.
pub fn uid_of(meta: &ObjectMeta) -> Uid {
    meta.uid.clone().unwrap_or_default()
}

/// The resource that a reference means, in whatever version.
fn resource_of(resources: &[Arc<Resource>], reference: &OwnerReference) -> Option<Arc<Resource>> {
    let group = reference.api_version.rsplit_once('/').map_or("", |(group, _)| group);
    resources.iter().find(|resource| resource.group == group && resource.kind == reference.kind).cloned()
}

/// A reference means an object only if its kind, its name and its namespace are right, too: a uid alone can be made up.
fn fits(owner: &Node, resource: &Resource, reference: &OwnerReference, namespace: &str) -> bool {
    let meta = owner.meta();
    owner.resource.group == resource.group
        && owner.resource.kind == resource.kind
        && meta.name.as_deref() == Some(&reference.name)
        && (!resource.namespaced || meta.namespace.as_deref() == Some(namespace))
}
