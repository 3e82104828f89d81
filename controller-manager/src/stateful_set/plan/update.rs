//! Which pods are to be made anew of the next revision.

use std::sync::Arc;

use k8s_openapi::api::{apps::v1::StatefulSet, core::v1::Pod};
use kubelab_api::{
    intstr::{Round, scaled},
    meta::is_deleting,
};

use super::{View, is_parallel};
use crate::stateful_set::identity;

impl View<'_> {
    /// The pods to delete now, highest ordinal first, so that no more than allowed are unavailable. A parallel set deletes
    /// those that are not available anyway besides: they may never be, as what they are made of may be at fault.
    /// Source: KEP-961, kubernetes/kubernetes#137666.
    pub(super) fn outdated(&self, replicas: &[Option<Arc<Pod>>]) -> Vec<Arc<Pod>> {
        if on_delete(self.set) {
            return Vec::new();
        }
        let unavailable = replicas.iter().filter(|pod| pod.as_ref().is_none_or(|pod| self.is_unavailable(pod))).count();
        let budget = max_unavailable(self.set).saturating_sub(unavailable);
        let outdated: Vec<&Arc<Pod>> = replicas
            .iter()
            .skip(partition(self.set))
            .rev()
            .flatten()
            .filter(|pod| identity::revision(pod) != self.update && !is_deleting(&pod.metadata))
            .collect();
        let broken = outdated.iter().filter(|pod| is_parallel(self.set) && !self.is_available(pod));
        let sound = outdated.iter().filter(|pod| !is_parallel(self.set) || self.is_available(pod)).take(budget);
        broken.chain(sound).map(|pod| Arc::clone(pod)).collect()
    }
}

/// Pods are only updated as somebody deletes them.
pub fn on_delete(set: &StatefulSet) -> bool {
    set.spec.update_strategy.as_ref().and_then(|strategy| strategy.type_.as_deref()) == Some("OnDelete")
}

/// How many pods with the lowest ordinals stay as they are.
pub fn partition(set: &StatefulSet) -> usize {
    let rolling = set.spec.update_strategy.as_ref().and_then(|strategy| strategy.rolling_update.as_ref());
    rolling.and_then(|rolling| rolling.partition).and_then(|partition| usize::try_from(partition).ok()).unwrap_or(0)
}

/// At least 1. Source: `getStatefulSetMaxUnavailable`.
fn max_unavailable(set: &StatefulSet) -> usize {
    let rolling = set.spec.update_strategy.as_ref().and_then(|strategy| strategy.rolling_update.as_ref());
    let most = rolling.and_then(|rolling| rolling.max_unavailable.as_ref());
    let most = most.and_then(|most| scaled(most, identity::replicas(set), Round::Down).ok());
    most.and_then(|most| usize::try_from(most).ok()).unwrap_or(1).max(1)
}
