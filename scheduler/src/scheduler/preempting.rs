//! Making room for a pod: its node is nominated, and the victims are evicted. Source: `prepareCandidate`.

use std::sync::Arc;

use futures::{StreamExt, stream};
use k8s_openapi::{
    api::core::v1::Pod,
    apimachinery::pkg::apis::meta::v1::{DeleteOptions, Preconditions},
};
use kubelab_api::{Error, Reason, pod};
use kubelab_client::{Patch, clock, recorder::Kind};
use serde_json::{Value, json};

use super::Work;
use crate::{
    cycle::Failure,
    framework::{Nomination, PodInfo, Preemption},
    metrics::METRICS,
    plugins::BY_SCHEDULER,
};

/// How many victims are evicted at the same time.
const AT_ONCE: usize = 16;

impl Work {
    /// The next cycle is to know of it.
    pub(super) fn nominate(&self, info: &Arc<PodInfo>, failure: &Failure) {
        let Failure::Unfit(_, nomination) = failure else { return };
        let mut state = self.shared.lock();
        match nomination {
            Nomination::Keep => {}
            Nomination::Clear => state.cluster.withdraw(info.uid()),
            Nomination::Node(preemption) => {
                state.cluster.nominate(info.clone(), Some(&preemption.node));
                for other in &preemption.displaced {
                    state.cluster.withdraw(other.uid());
                }
            }
        }
    }

    /// Evicts the victims; says whether all of them go.
    pub(super) async fn preempt(&self, info: &PodInfo, preemption: &Preemption) -> bool {
        METRICS.preemptions.inc();
        METRICS.victims.observe(preemption.victims.len() as f64);
        let evictions = preemption.victims.iter().map(|victim| self.evict(info, victim, &preemption.node));
        let all: Vec<bool> = stream::iter(evictions.collect::<Vec<_>>()).buffer_unordered(AT_ONCE).collect().await;
        for other in &preemption.displaced {
            let patch = json!({ "metadata": { "uid": other.uid() }, "status": { "nominatedNodeName": Value::Null } });
            let (namespace, name) = (other.namespace(), other.name());
            let written = self.handle.client.patch_status::<Pod>(namespace, name, Patch::Strategic(patch)).await;
            if let Err(error) = written {
                tracing::debug!(pod = name, %error, "cannot clear the pod's nominated node");
            }
        }
        all.into_iter().all(|gone| gone)
    }

    async fn evict(&self, preemptor: &PodInfo, victim: &PodInfo, node: &str) -> bool {
        match self.try_evict(preemptor, victim).await {
            Ok(()) => {
                tracing::info!(victim = victim.name(), preemptor = preemptor.name(), node, "preempted");
                if let Some(recorder) = self.recorder(preemptor) {
                    let message = format!("Preempted by pod {} on node {node}", preemptor.uid());
                    recorder.event(&*victim.pod, Kind::Normal, "Preempted", message);
                }
                true
            }
            Err(error) if error.reason == Reason::NotFound => true,
            Err(error) => {
                tracing::warn!(victim = victim.name(), %error, "cannot preempt");
                false
            }
        }
    }

    async fn try_evict(&self, preemptor: &PodInfo, victim: &PodInfo) -> Result<(), Error> {
        let client = &self.handle.client;
        let condition = json!({
            "type": pod::condition::DISRUPTION_TARGET,
            "status": "True",
            "reason": BY_SCHEDULER,
            "message": format!("{}: preempting to accommodate a higher priority pod", preemptor.scheduler_name()),
            "lastTransitionTime": clock::now(),
        });
        let patch = json!({ "metadata": { "uid": victim.uid() }, "status": { "conditions": [condition] } });
        client.patch_status::<Pod>(victim.namespace(), victim.name(), Patch::Strategic(patch)).await?;
        let uid = Some(victim.uid().to_owned());
        let options = DeleteOptions {
            preconditions: Some(Preconditions { uid, resource_version: None }),
            ..DeleteOptions::default()
        };
        client.delete::<Pod>(victim.namespace(), victim.name(), options).await
    }
}
