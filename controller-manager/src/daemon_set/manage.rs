//! Which pods a DaemonSet lacks and which it has too many of, apart from updates.
//! Source: `manage` and `podsShouldBeOnNode` in `pkg/controller/daemon/daemon_controller.go` in Kubernetes.

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::Pod;
use kubelab_api::{
    meta::{is_deleting, label},
    pod::{is_ready, node_name, phase},
    well_known::label::CONTROLLER_REVISION_HASH,
};

use super::{limits::allows_surge, nodes::View, placement::Placement};

/// What is to be done about a set's pods.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Changes {
    /// The nodes that get a pod.
    pub create: Vec<String>,
    /// The pods that go.
    pub delete: Vec<Arc<Pod>>,
    /// Those of them that have ended, with the nodes they are on: it is told of them.
    pub ended: Vec<(Arc<Pod>, String)>,
    /// When to look at failed pods again that are kept for a while.
    pub again: Option<Duration>,
}

/// What is missing and what is too much. `keep_failed` says how long a pod that failed on a node is to be kept yet.
pub fn changes(view: &View<'_>, keep_failed: &dyn Fn(&str) -> Option<Duration>) -> Changes {
    let mut changes = Changes::default();
    for (node, placement) in &view.placements {
        on_node(view, node, *placement, keep_failed, &mut changes);
    }
    // A pod that is not bound and whose node is gone will never be: nobody else would remove it.
    let nowhere = view.pods.iter().filter(|(node, _)| !view.placements.contains_key(*node));
    let unbound = nowhere.flat_map(|(_, pods)| pods).filter(|pod| node_name(pod).is_none());
    changes.delete.extend(unbound.filter(|pod| !is_deleting(&pod.metadata)).cloned());
    changes
}

fn on_node(
    view: &View<'_>,
    node: &str,
    placement: Placement,
    keep_failed: &dyn Fn(&str) -> Option<Duration>,
    changes: &mut Changes,
) {
    let pods = view.on(node);
    if pods.is_empty() {
        changes.create.extend(placement.run.then(|| node.to_owned()));
        return;
    }
    let present = pods.iter().filter(|pod| !is_deleting(&pod.metadata));
    if !placement.stay {
        changes.delete.extend(present.cloned());
        return;
    }
    let mut running: Vec<&Arc<Pod>> = Vec::new();
    for pod in present {
        match phase(pod) {
            "Failed" => match keep_failed(node) {
                Some(wait) => changes.again = Some(changes.again.map_or(wait, |again| again.min(wait))),
                None => changes.end(pod, node),
            },
            "Succeeded" => changes.end(pod, node),
            _ => running.push(pod),
        }
    }
    if !allows_surge(view.set) {
        changes.delete.extend(running.into_iter().skip(1).cloned());
        return;
    }
    if running.is_empty() && placement.run {
        changes.create.push(node.to_owned());
    }
    if running.len() > 1 {
        keep_one_or_two(view, &running, changes);
    }
}

/// While a set surges there may be two pods on a node: an old one that is ready, and a new one that is not available yet.
fn keep_one_or_two(view: &View<'_>, running: &[&Arc<Pod>], changes: &mut Changes) {
    let is_new = |pod: &Pod| label(&pod.metadata, CONTROLLER_REVISION_HASH) == Some(view.hash);
    let (new, old): (Vec<_>, Vec<_>) = running.iter().copied().partition(|pod| is_new(pod));
    changes.delete.extend(new.iter().skip(1).chain(old.iter().skip(1)).copied().cloned());
    if let (Some(new), Some(old)) = (new.first(), old.first())
        && (!is_ready(old) || view.is_available(new))
    {
        changes.delete.push(Arc::clone(old));
    }
}

impl Changes {
    fn end(&mut self, pod: &Arc<Pod>, node: &str) {
        self.delete.push(Arc::clone(pod));
        self.ended.push((Arc::clone(pod), node.to_owned()));
    }

    /// There is nothing to do now.
    pub fn is_empty(&self) -> bool {
        self.create.is_empty() && self.delete.is_empty()
    }
}
