//! Who belongs to whom, and what follows from that. No I/O.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kubelab_api::{
    Resource,
    resource::BUILT_IN,
    well_known::finalizer::{FOREGROUND, ORPHAN},
};

use super::node::{Facts, Namespaces, Node, Uid, uid};

/// All objects, and the edges from owners to dependents. An edge may begin at an owner that is not (yet, or no longer)
/// known: that is what the search for garbage is about.
pub struct Graph {
    /// Every resource that a reference may mean.
    resources: Vec<Arc<Resource>>,
    nodes: HashMap<Uid, Node>,
    dependents: HashMap<Uid, HashSet<Uid>>,
    namespaces: Namespaces,
}

impl Default for Graph {
    fn default() -> Self {
        let resources = BUILT_IN.iter().cloned().map(Arc::new).collect();
        let (nodes, dependents) = (HashMap::new(), HashMap::new());
        Self { resources, nodes, dependents, namespaces: Namespaces::default() }
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
    /// An object is now like this; says which objects are to be looked at because of it.
    pub fn put(&mut self, resource: &Arc<Resource>, facts: &Facts<'_>) -> Vec<Uid> {
        let mut affected = Vec::new();
        if let Some(node) = self.nodes.get_mut(&facts.uid) {
            if node.is_still(facts) {
                return affected;
            }
            // An owner that waits may wait for a reference that is no longer there.
            affected = self.take_out(facts.uid);
        }
        let owners = || facts.owners.iter().filter_map(|owner| uid(&owner.uid));
        let siblings = owners().filter_map(|owner| self.dependents.get(&owner)?.iter().next());
        let sibling = siblings.filter_map(|uid| self.nodes.get(uid)).next();
        let node = Node::new(resource, facts, &mut self.namespaces, sibling);
        self.nodes.insert(facts.uid, node);
        for owner in owners() {
            self.dependents.entry(owner).or_default().insert(facts.uid);
        }
        if facts.deleting || !facts.owners.is_empty() {
            affected.push(facts.uid);
        }
        affected
    }

    /// An object is gone; says which objects are to be looked at because of it.
    pub fn remove(&mut self, gone: Uid) -> Vec<Uid> {
        let mut affected = self.take_out(gone);
        affected.extend(self.dependents.get(&gone).into_iter().flatten());
        affected
    }

    /// Takes an object out of the graph, and says which of its owners are waiting.
    fn take_out(&mut self, gone: Uid) -> Vec<Uid> {
        let Some(node) = self.nodes.remove(&gone) else { return Vec::new() };
        let owners: Vec<Uid> = node.owners().iter().filter_map(|owner| uid(&owner.uid)).collect();
        for owner in &owners {
            if let Some(dependents) = self.dependents.get_mut(owner) {
                dependents.remove(&gone);
                if dependents.is_empty() {
                    self.dependents.remove(owner);
                }
            }
        }
        self.namespaces.give_back(node);
        let waits = |owner: &Uid| self.nodes.get(owner).is_some_and(Node::is_deleting);
        owners.into_iter().filter(waits).collect()
    }

    /// Removes all objects of a resource but those that are there.
    pub fn keep(&mut self, resource: &Resource, there: &HashSet<Uid>) -> Vec<Uid> {
        let topic = resource.topic();
        let is_gone = |(uid, node): &(&Uid, &Node)| !there.contains(*uid) && node.resource.topic() == topic;
        let gone: Vec<Uid> = self.nodes.iter().filter(is_gone).map(|(uid, _)| *uid).collect();
        gone.into_iter().flat_map(|uid| self.remove(uid)).collect()
    }

    /// Knows these custom resources beside the built-in ones, and says which objects are to be looked at because their
    /// owners are of a kind that was not known before.
    pub fn know(&mut self, custom: Vec<Arc<Resource>>) -> Vec<Uid> {
        let before = std::mem::replace(&mut self.resources, BUILT_IN.iter().cloned().map(Arc::new).collect());
        self.resources.extend(custom);
        let is_new = |reference: &OwnerReference| {
            resource_of(&before, reference).is_none() && resource_of(&self.resources, reference).is_some()
        };
        self.nodes.iter().filter(|(_, node)| node.owners().iter().any(is_new)).map(|(uid, _)| *uid).collect()
    }

    /// The object with this uid.
    pub fn get(&self, uid: Uid) -> Option<&Node> {
        self.nodes.get(&uid)
    }

    /// The objects that belong to this one.
    pub fn dependents(&self, uid: Uid) -> impl Iterator<Item = (Uid, &Node)> {
        self.dependents.get(&uid).into_iter().flatten().filter_map(|uid| Some((*uid, self.nodes.get(uid)?)))
    }

    /// Some dependent forbids this object to go before it.
    pub fn is_blocked(&self, owner: Uid) -> bool {
        let blocks = |reference: &OwnerReference| {
            reference.block_owner_deletion == Some(true) && uid(&reference.uid) == Some(owner)
        };
        self.dependents(owner).any(|(_, dependent)| dependent.owners().iter().any(blocks))
    }

    /// What a reference of `dependent` leads to, as far as the graph knows.
    pub fn owner(&self, dependent: &Node, reference: &OwnerReference) -> Owner {
        let Some(resource) = resource_of(&self.resources, reference) else {
            // What cannot be looked up cannot be known to be gone.
            tracing::debug!(kind = reference.kind, api_version = reference.api_version, "an owner of an unknown kind");
            return Owner::Solid;
        };
        let namespace = dependent.namespace();
        if resource.namespaced && namespace.is_empty() {
            // A cluster-scoped object cannot belong to one in a namespace: nobody knows in which. Upstream leaves it be.
            return Owner::Solid;
        }
        let found = uid(&reference.uid).and_then(|uid| self.nodes.get(&uid));
        match found.filter(|owner| fits(owner, &resource, reference, namespace)) {
            Some(owner) if owner.waits_for_dependents() => Owner::Waiting,
            Some(_) => Owner::Solid,
            None => Owner::Unknown(resource),
        }
    }

    /// What is to be done with an object whose owners turned out to be these.
    pub fn verdict(&self, uid: Uid, node: &Node, owners: &[Owner]) -> Verdict {
        let references = node.owners();
        if references.is_empty() || node.is_deleting() {
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
        let has_dependents = self.dependents(uid).next().is_some();
        if owners.contains(&Owner::Waiting) && has_dependents {
            // The owner waits for all that belongs to it, and so for what belongs to this.
            return Verdict::Delete("Foreground");
        }
        Verdict::Delete(if node.has_finalizer(ORPHAN) {
            "Orphan"
        } else if node.has_finalizer(FOREGROUND) {
            "Foreground"
        } else {
            "Background"
        })
    }

    /// Some dependent waits for its own dependents, so this object and that one may wait for each other in a circle.
    pub fn may_be_in_a_circle(&self, uid: Uid) -> bool {
        self.dependents(uid).any(|(_, dependent)| dependent.waits_for_dependents())
    }
}

/// The resource that a reference means, in whatever version.
fn resource_of(resources: &[Arc<Resource>], reference: &OwnerReference) -> Option<Arc<Resource>> {
    let group = reference.api_version.rsplit_once('/').map_or("", |(group, _)| group);
    resources.iter().find(|resource| resource.group == group && resource.kind == reference.kind).cloned()
}

/// A reference means an object only if its kind, its name and its namespace are right, too: a uid alone can be made up.
fn fits(owner: &Node, resource: &Resource, reference: &OwnerReference, namespace: &str) -> bool {
    owner.resource.group == resource.group
        && owner.resource.kind == resource.kind
        && owner.name() == reference.name
        && (!resource.namespaced || owner.namespace() == namespace)
}
