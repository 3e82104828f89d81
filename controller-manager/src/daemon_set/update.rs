//! The steps of a DaemonSet's rolling update. Source: `rollingUpdate` in `pkg/controller/daemon/update.go` in Kubernetes.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use kubelab_api::meta::is_deleting;

use super::{limits::Limits, manage::Changes, nodes::View};

/// The pods of a node that are not being deleted: at most one of each kind.
struct OnNode {
    new: Option<Arc<Pod>>,
    old: Option<Arc<Pod>>,
}

impl View<'_> {
    /// `None` if there are several of a kind: then the other part of the loop clears up first.
    fn kinds(&self, node: &str) -> Option<OnNode> {
        let mut kinds = OnNode { new: None, old: None };
        for pod in self.on(node).iter().filter(|pod| !is_deleting(&pod.metadata)) {
            let place = if self.is_updated(pod) { &mut kinds.new } else { &mut kinds.old };
            if place.replace(Arc::clone(pod)).is_some() {
                return None;
            }
        }
        Some(kinds)
    }

    /// The nodes that the set runs on or is to run on.
    fn concerned(&self) -> impl Iterator<Item = &String> {
        let wanted = self.placements.iter().filter(|(_, placement)| placement.run).map(|(node, _)| node);
        let others = self.pods.keys().filter(|node| !self.placements.get(*node).is_some_and(|place| place.run));
        wanted.chain(others)
    }

    fn is_wanted(&self, node: &str) -> bool {
        self.placements.get(node).is_some_and(|placement| placement.run)
    }
}

/// What the update does now.
pub fn changes(view: &View<'_>) -> Changes {
    let limits = Limits::of(view.set, view.desired());
    if limits.max_surge == 0 { replace(view, limits.max_unavailable) } else { surge(view, limits.max_surge) }
}

/// Deletes old pods, so that no more than `max_unavailable` nodes are without an available pod; new ones are made as any
/// missing pod is.
fn replace(view: &View<'_>, max_unavailable: usize) -> Changes {
    let (mut unavailable, mut broken, mut sound) = (0, Vec::new(), Vec::new());
    for node in view.concerned() {
        match view.kinds(node) {
            None | Some(OnNode { new: None, old: None } | OnNode { new: Some(_), old: Some(_) }) => unavailable += 1,
            Some(OnNode { new: Some(new), .. }) => unavailable += usize::from(!view.is_available(&new)),
            Some(OnNode { old: Some(old), .. }) if !view.is_available(&old) => {
                unavailable += 1;
                broken.push(old);
            }
            Some(OnNode { old: Some(old), .. }) => sound.push(old),
        }
    }
    // What is not available anyway costs nothing.
    sound.truncate(max_unavailable.saturating_sub(unavailable));
    broken.extend(sound);
    Changes { delete: broken, ..Changes::default() }
}

/// Makes new pods beside old ones, on no more than `max_surge` nodes at a time, and deletes an old one when the new one
/// beside it is available.
fn surge(view: &View<'_>, max_surge: usize) -> Changes {
    let (mut surging, mut available) = (0, 0_usize);
    let (mut delete, mut unwanted, mut broken, mut candidates) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for node in view.concerned() {
        let Some(kinds) = view.kinds(node) else {
            surging += 1;
            continue;
        };
        let counts = kinds.old.as_ref().or(kinds.new.as_ref());
        available += usize::from(counts.is_some_and(|pod| view.is_available(pod)));
        match kinds {
            OnNode { old: None, .. } => {}
            OnNode { old: Some(old), new: Some(new) } => {
                if view.is_available(&new) {
                    delete.push(old);
                } else {
                    surging += 1;
                }
            }
            OnNode { old: Some(old), new: None } => match (view.is_available(&old), view.is_wanted(node)) {
                (false, false) => delete.push(old),
                (true, false) => unwanted.push(old),
                (false, true) => broken.push(node.clone()),
                (true, true) => candidates.push(node.clone()),
            },
        }
    }
    // Where the set is no longer to run, its pods go only as there are enough elsewhere.
    unwanted.truncate(available.saturating_sub(view.desired()));
    delete.extend(unwanted);
    candidates.truncate(max_surge.saturating_sub(surging));
    broken.extend(candidates);
    Changes { create: broken, delete, ..Changes::default() }
}
