//! Watches how much memory is left on the node, and evicts pods when it is too little. Source of rules and timing:
//! `pkg/kubelet/eviction` of Kubernetes: a look every 10 s, one pod a look, and pressure lasts five minutes.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kubelab_api::pod as pods;
use kubelab_client::{clock, recorder::Kind};

use super::{Node, lock};
use crate::{
    pod::{
        eviction::{self, Candidate, THRESHOLD},
        memory::Ending,
    },
    runtime::PodRef,
};

const LOOK: Duration = Duration::from_secs(10);
/// Source: the kubelet's `evictionPressureTransitionPeriod`.
const LASTS: Duration = Duration::from_secs(5 * 60);
/// What an evicted pod's containers have to end in. Source: `immediateEvictionGracePeriodSeconds`.
const GRACE: Duration = Duration::from_secs(1);

impl Node {
    /// Looks for as long as the node runs.
    pub(super) async fn keep_memory(self: &Arc<Self>) {
        loop {
            clock::sleep(LOOK).await;
            self.relieve(clock::now_micro().0);
        }
    }

    /// Whether the node is short of memory, or was a while ago.
    pub(super) fn has_memory_pressure(&self) -> bool {
        lock(&self.short_since).is_some_and(|last| clock::now_micro().0 < last + LASTS)
    }

    fn relieve(&self, now: Timestamp) {
        let Some(capacity) = self.config.capacity.get("memory") else { return };
        let capacity = u64::try_from(capacity.value()).unwrap_or(0);
        let here = self.pods.list();
        let candidates: Vec<Candidate<'_>> = here.iter().filter_map(|pod| self.candidate(pod)).collect();
        let used: u64 = candidates.iter().flat_map(|candidate| &candidate.used).map(|(_, used)| used).sum();
        let available = capacity.saturating_sub(used);
        let had_pressure = self.has_memory_pressure();
        if available < THRESHOLD {
            *lock(&self.short_since) = Some(now);
        }
        if self.has_memory_pressure() != had_pressure {
            self.object_changed.notify_one();
        }
        if available >= THRESHOLD {
            return;
        }
        if let Some(node) = self.object.get("", &self.config.name) {
            let message = "Attempting to reclaim memory".to_owned();
            self.recorder.event(&*node, Kind::Warning, "EvictionThresholdMet", message);
        }
        let Some(chosen) = eviction::choose(&candidates) else {
            tracing::warn!(node = self.config.name, "the node is short of memory, and no pod can be evicted");
            return;
        };
        let message = eviction::message(chosen, available);
        self.recorder.event(chosen.pod, Kind::Warning, "Evicted", message.clone());
        let key = PodRef::of(chosen.pod);
        let ending = Ending { reason: "Evicted".to_owned(), message, rejected: false, grace: Some(GRACE) };
        self.worker(&key.uid).state().memory.ending = Some(ending);
        self.queue.add(key);
    }

    /// What a pod uses, if it runs and is not about to end.
    fn candidate<'a>(&self, pod: &'a Pod) -> Option<Candidate<'a>> {
        let uid = pod.metadata.uid.as_deref()?;
        if pods::is_terminal(pod) || self.worker(uid).state().memory.ending.is_some() {
            return None;
        }
        let used = pods::containers(pod).filter_map(|container| {
            Some((container.name.clone(), self.runtime.usage(uid, &container.name)?.memory_bytes))
        });
        Some(Candidate { pod, used: used.collect() })
    }
}
