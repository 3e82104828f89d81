//! Keeps the Node object registered and its status posted. Source of the timing: the kubelet's `nodeStatusUpdateFrequency`
//! (10 s) and `nodeStatusReportFrequency` (5 min).

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::{Node as NodeObject, NodeStatus};
use kubelab_api::error::Reason;
use kubelab_client::{
    Error, Patch,
    clock::{self, Instant},
    recorder::Kind,
};
use serde_json::json;

use super::{Node, object};

const LOOK: Duration = Duration::from_secs(10);
const REPORT: Duration = Duration::from_secs(5 * 60);
const RETRY: Duration = Duration::from_millis(200);

/// A status as it was posted.
struct Report {
    at: Instant,
    status: NodeStatus,
}

impl Report {
    /// Nothing needs to have changed to post again.
    fn is_due(&self) -> bool {
        self.at.elapsed() >= REPORT
    }

    /// The same was posted just now: if the API shows something else, posting it again and again will not help.
    fn is_fresh(&self, status: &NodeStatus) -> bool {
        self.at.elapsed() < LOOK && object::says_the_same(&self.status, status)
    }
}

impl Node {
    /// Registers the node, again should it be deleted, and posts its status when it changes and every five minutes.
    pub(super) async fn keep_registered(&self) {
        let mut reported: Option<Report> = None;
        let mut announced = false;
        loop {
            let wait = match self.register(&mut reported).await {
                Ok(node) => {
                    if !announced {
                        self.announce(&node);
                        announced = true;
                    }
                    LOOK
                }
                Err(error) => {
                    tracing::warn!(node = self.config.name, %error, "cannot register the node; will try again");
                    RETRY
                }
            };
            tokio::select! {
                () = clock::sleep(wait) => {}
                () = self.object_changed.notified() => {}
            }
        }
    }

    /// Makes the API's object as it should be, where it is not.
    async fn register(&self, reported: &mut Option<Report>) -> Result<Arc<NodeObject>, Error> {
        let name = &self.config.name;
        let node = match self.object.get("", name) {
            Some(node) => node,
            None => Arc::new(self.create().await?),
        };
        let node = self.complete(node).await?;
        let has_network = self.set_network(node.spec.as_ref().and_then(|spec| spec.pod_cidr.as_deref()));
        let now = clock::now();
        let health = self.health(has_network);
        let mut status = object::status(&self.config, &self.runtime.images(), health, node.status.as_ref(), &now);
        status.volumes_in_use = Some(self.volumes_in_use());
        let is_news = !node.status.as_ref().is_some_and(|posted| object::says_the_same(posted, &status));
        let is_due = reported.as_ref().is_none_or(Report::is_due);
        if is_news && reported.as_ref().is_none_or(|report| !report.is_fresh(&status)) || is_due {
            self.post(&node, status.clone()).await?;
            *reported = Some(Report { at: clock::instant(), status });
        }
        self.ready.send_if_modified(|ready| std::mem::replace(ready, has_network) != has_network);
        Ok(node)
    }

    /// A new Node object, or the one that is there from before a restart.
    async fn create(&self) -> Result<NodeObject, Error> {
        let has_network = super::lock(&self.addresses).is_some();
        let status =
            object::status(&self.config, &self.runtime.images(), self.health(has_network), None, &clock::now());
        match self.client.create(&object::node(&self.config, status)).await {
            Err(error) if error.reason == Reason::AlreadyExists => self.client.get("", &self.config.name).await,
            created => created.inspect(|_| tracing::info!(node = self.config.name, "registered")),
        }
    }

    fn health(&self, has_network: bool) -> object::Health {
        object::Health { has_network, is_short_of_memory: self.has_memory_pressure() }
    }

    /// Gives an object from before a restart the labels that it lacks.
    async fn complete(&self, node: Arc<NodeObject>) -> Result<Arc<NodeObject>, Error> {
        let has = node.metadata.labels.clone().unwrap_or_default();
        let lacks: serde_json::Map<String, serde_json::Value> = object::labels(&self.config)
            .into_iter()
            .filter(|(key, value)| has.get(key) != Some(value))
            .map(|(key, value)| (key, value.into()))
            .collect();
        if lacks.is_empty() {
            return Ok(node);
        }
        let patch = Patch::Merge(json!({"metadata": {"labels": lacks}}));
        self.client.patch("", &self.config.name, patch).await.map(Arc::new)
    }

    async fn post(&self, node: &NodeObject, status: NodeStatus) -> Result<(), Error> {
        let is_ready = |status: &NodeStatus| {
            status.conditions.iter().flatten().any(|condition| condition.type_ == "Ready" && condition.status == "True")
        };
        let became_ready = is_ready(&status) && !node.status.as_ref().is_some_and(is_ready);
        // Conditions merge by type, so those that the node life-cycle controller owns stay.
        let patch = Patch::Strategic(json!({"status": status}));
        self.client.patch_status::<NodeObject>("", &self.config.name, patch).await?;
        if became_ready {
            self.announce_status(node, "NodeReady");
        }
        Ok(())
    }

    fn announce(&self, node: &NodeObject) {
        self.recorder.event(node, Kind::Normal, "Starting", "Starting kubelet.");
        for reason in ["NodeHasSufficientMemory", "NodeHasNoDiskPressure", "NodeHasSufficientPID"] {
            self.announce_status(node, reason);
        }
    }

    fn announce_status(&self, node: &NodeObject, reason: &str) {
        let message = format!("Node {} status is now: {reason}", self.config.name);
        self.recorder.event(node, Kind::Normal, reason, message);
    }
}
