//! The two kinds that keep a number of pods: ReplicaSet, and ReplicationController, its elder.

use k8s_openapi::{
    api::{
        apps::v1::{ReplicaSet, ReplicaSetCondition, ReplicaSetStatus},
        core::v1::{
            PodTemplateSpec, ReplicationController, ReplicationControllerCondition, ReplicationControllerStatus,
        },
    },
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};
use kubelab_client::Object;

/// A kind that keeps a number of pods. Its status is spoken of as a ReplicaSet's.
pub trait Replicated: Object {
    /// The source of its events.
    const COMPONENT: &'static str;
    /// The name of its work queue in metrics.
    const QUEUE: &'static str;
    /// What of a status this kind has a place for.
    fn kept(status: ReplicaSetStatus) -> ReplicaSetStatus {
        status
    }
    /// How many pods it wants.
    fn replicas(&self) -> i32;
    /// How long a pod must be ready to count as available.
    fn min_ready_seconds(&self) -> i32;
    /// Which pods are its own; `None` when it says nothing, and so has none.
    fn selector(&self) -> Option<LabelSelector>;
    /// What its pods look like.
    fn template(&self) -> Option<&PodTemplateSpec>;
    /// What was last said of it.
    fn status(&self) -> ReplicaSetStatus;
    /// The same object with another status.
    fn with_status(&self, status: ReplicaSetStatus) -> Self;
}

impl Replicated for ReplicaSet {
    const COMPONENT: &'static str = "replicaset-controller";
    const QUEUE: &'static str = "replicaset";

    fn replicas(&self) -> i32 {
        self.spec.replicas.unwrap_or(1)
    }
    fn min_ready_seconds(&self) -> i32 {
        self.spec.min_ready_seconds.unwrap_or(0)
    }
    fn selector(&self) -> Option<LabelSelector> {
        Some(self.spec.selector.clone())
    }
    fn template(&self) -> Option<&PodTemplateSpec> {
        self.spec.template.as_ref()
    }
    fn status(&self) -> ReplicaSetStatus {
        self.status.clone().unwrap_or_default()
    }
    fn with_status(&self, status: ReplicaSetStatus) -> Self {
        Self { metadata: self.metadata.clone(), spec: self.spec.clone(), status: Some(status) }
    }
}

impl Replicated for ReplicationController {
    const COMPONENT: &'static str = "replication-controller";
    const QUEUE: &'static str = "replicationmanager";

    fn kept(status: ReplicaSetStatus) -> ReplicaSetStatus {
        ReplicaSetStatus { terminating_replicas: None, ..status }
    }

    fn replicas(&self) -> i32 {
        self.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
    }
    fn min_ready_seconds(&self) -> i32 {
        self.spec.as_ref().and_then(|spec| spec.min_ready_seconds).unwrap_or(0)
    }
    fn selector(&self) -> Option<LabelSelector> {
        let labels = self.spec.as_ref()?.selector.clone()?;
        Some(LabelSelector { match_labels: Some(labels), match_expressions: None })
    }
    fn template(&self) -> Option<&PodTemplateSpec> {
        self.spec.as_ref()?.template.as_ref()
    }
    fn status(&self) -> ReplicaSetStatus {
        let status = self.status.clone().unwrap_or_default();
        let conditions = status.conditions.map(|conditions| {
            let same = |condition: ReplicationControllerCondition| ReplicaSetCondition {
                last_transition_time: condition.last_transition_time,
                message: condition.message,
                reason: condition.reason,
                status: Some(condition.status),
                type_: Some(condition.type_),
            };
            conditions.into_iter().map(same).collect()
        });
        ReplicaSetStatus {
            available_replicas: status.available_replicas,
            conditions,
            fully_labeled_replicas: status.fully_labeled_replicas,
            observed_generation: status.observed_generation,
            ready_replicas: status.ready_replicas,
            replicas: status.replicas,
            terminating_replicas: None,
        }
    }
    fn with_status(&self, status: ReplicaSetStatus) -> Self {
        let conditions = status.conditions.map(|conditions| {
            let same = |condition: ReplicaSetCondition| ReplicationControllerCondition {
                last_transition_time: condition.last_transition_time,
                message: condition.message,
                reason: condition.reason,
                status: condition.status.unwrap_or_default(),
                type_: condition.type_.unwrap_or_default(),
            };
            conditions.into_iter().map(same).collect()
        });
        let status = ReplicationControllerStatus {
            available_replicas: status.available_replicas,
            conditions,
            fully_labeled_replicas: status.fully_labeled_replicas,
            observed_generation: status.observed_generation,
            ready_replicas: status.ready_replicas,
            replicas: status.replicas,
        };
        Self { metadata: self.metadata.clone(), spec: self.spec.clone(), status: Some(status) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A status that is never as it was written would be written for ever.
    #[test]
    fn what_is_kept_is_read_again() {
        fn again<S: Replicated + Default>(status: &ReplicaSetStatus) -> (ReplicaSetStatus, ReplicaSetStatus) {
            let kept = S::kept(status.clone());
            (S::default().with_status(kept.clone()).status(), kept)
        }
        let condition = ReplicaSetCondition {
            type_: Some("ReplicaFailure".into()),
            status: Some("True".into()),
            ..Default::default()
        };
        let status = ReplicaSetStatus {
            replicas: 3,
            ready_replicas: Some(2),
            available_replicas: Some(1),
            fully_labeled_replicas: Some(3),
            terminating_replicas: Some(1),
            observed_generation: Some(7),
            conditions: Some(vec![condition]),
        };
        let (read, kept) = again::<ReplicaSet>(&status);
        assert_eq!(read, kept);
        let (read, kept) = again::<ReplicationController>(&status);
        assert_eq!(read, kept);
    }
}
