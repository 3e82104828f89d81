//! Who still gives signs of life. Source: `tryUpdateNodeHealth` in Kubernetes' `node_lifecycle_controller.go`.

use std::time::Duration;

use k8s_openapi::{
    api::{
        coordination::v1::Lease,
        core::v1::{Node, NodeCondition},
    },
    apimachinery::pkg::apis::meta::v1::{MicroTime, Time},
};
use kubelab_client::clock::Instant;

/// The condition that the node works.
pub const READY: &str = "Ready";
/// The conditions that nobody can know once a kubelet is silent.
const REPORTED: [&str; 4] = [READY, "MemoryPressure", "DiskPressure", "PIDPressure"];

/// How long nodes may be silent.
#[derive(Clone, Copy, Debug)]
pub struct Grace {
    /// Source: `--node-monitor-grace-period`.
    pub usual: Duration,
    /// One that never reported may take longer to begin. Source: `--node-startup-grace-period`.
    pub startup: Duration,
}

/// What was seen of a node, and when by this process' own clock: times that nodes write are only compared with each other.
#[derive(Clone, Debug, PartialEq)]
pub struct Heartbeat {
    sign: (Option<MicroTime>, Option<Time>),
    seen: Instant,
    has_reported: bool,
}

impl Heartbeat {
    /// What is to be remembered after another look.
    pub fn observe(before: Option<&Self>, node: &Node, lease: Option<&Lease>, now: Instant) -> Self {
        let renewed = lease.and_then(|lease| lease.spec.as_ref()?.renew_time.clone());
        let ready = condition(node, READY);
        let sign = (renewed, ready.and_then(|condition| condition.last_heartbeat_time.clone()));
        match before.filter(|before| before.sign == sign) {
            Some(before) => before.clone(),
            None => Self { sign, seen: now, has_reported: ready.is_some() },
        }
    }

    /// Counts from now on: this process itself was not there to look.
    pub fn forgive(&mut self, now: Instant) {
        self.seen = now;
    }

    /// The node was silent for too long.
    pub fn is_overdue(&self, grace: Grace, now: Instant) -> bool {
        let grace = if self.has_reported { grace.usual } else { grace.startup };
        now.saturating_duration_since(self.seen) > grace
    }
}

/// The conditions that a silent node gets: what it said last is no longer known to hold. Nothing where they say so already.
pub fn unknown_conditions(node: &Node, now: &Time) -> Vec<NodeCondition> {
    let unknown = |type_: &str| match condition(node, type_) {
        Some(current) if current.status == "Unknown" => None,
        Some(current) => Some(NodeCondition {
            type_: type_.to_owned(),
            status: "Unknown".to_owned(),
            reason: Some("NodeStatusUnknown".to_owned()),
            message: Some("Kubelet stopped posting node status.".to_owned()),
            last_heartbeat_time: current.last_heartbeat_time.clone(),
            last_transition_time: Some(now.clone()),
        }),
        None => Some(NodeCondition {
            type_: type_.to_owned(),
            status: "Unknown".to_owned(),
            reason: Some("NodeStatusNeverUpdated".to_owned()),
            message: Some("Kubelet never posted node status.".to_owned()),
            last_heartbeat_time: node.metadata.creation_timestamp.clone(),
            last_transition_time: Some(now.clone()),
        }),
    };
    REPORTED.iter().filter_map(|type_| unknown(type_)).collect()
}

/// A node's condition of this type.
pub fn condition<'a>(node: &'a Node, type_: &str) -> Option<&'a NodeCondition> {
    node.status.as_ref()?.conditions.iter().flatten().find(|condition| condition.type_ == type_)
}

/// The node says that it is ready.
pub fn is_ready(node: &Node) -> bool {
    condition(node, READY).is_some_and(|condition| condition.status == "True")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use kubelab_client::clock;
    use serde_json::json;

    use super::*;

    const GRACE: Grace = Grace { usual: Duration::from_secs(40), startup: Duration::from_secs(60) };

    fn node(heartbeat: Option<&str>) -> Node {
        let ready = heartbeat.map(|time| json!([{"type": READY, "status": "True", "lastHeartbeatTime": time}]));
        serde_json::from_value(json!({"metadata": {"name": "node-1"}, "status": {"conditions": ready}})).unwrap()
    }

    fn lease(renewed: &str) -> Lease {
        serde_json::from_value(json!({"metadata": {}, "spec": {"renewTime": renewed}})).unwrap()
    }

    #[test]
    fn any_change_of_lease_or_status_is_a_sign_of_life() {
        let start = clock::instant();
        let at = |seconds| start + Duration::from_secs(seconds);
        let first = lease("2026-11-20T12:00:00.000000Z");
        let status = node(Some("2026-11-20T12:00:00Z"));
        let seen = Heartbeat::observe(None, &status, Some(&first), at(0));
        assert!(!seen.is_overdue(GRACE, at(40)) && seen.is_overdue(GRACE, at(41)));

        let same = Heartbeat::observe(Some(&seen), &status, Some(&first), at(30));
        assert!(same.is_overdue(GRACE, at(41)), "nothing new was seen");
        // A node whose clock runs backwards is alive all the same.
        let renewed = Heartbeat::observe(Some(&same), &status, Some(&lease("2026-11-19T12:00:00.000000Z")), at(30));
        assert!(!renewed.is_overdue(GRACE, at(70)));
        let reported = Heartbeat::observe(Some(&renewed), &node(Some("2026-11-20T12:05:00Z")), Some(&first), at(60));
        assert!(!reported.is_overdue(GRACE, at(100)));

        let mut forgiven = same;
        forgiven.forgive(at(100));
        assert!(!forgiven.is_overdue(GRACE, at(140)));
    }

    #[test]
    fn a_new_node_has_longer() {
        let start = clock::instant();
        let seen = Heartbeat::observe(None, &node(None), None, start);
        assert!(!seen.is_overdue(GRACE, start + Duration::from_secs(60)));
        assert!(seen.is_overdue(GRACE, start + Duration::from_secs(61)));
    }

    #[test]
    fn a_silent_node_is_said_to_be_unknown_once() {
        let now = Time("2026-11-20T12:00:40Z".parse().unwrap());
        let mut node = node(Some("2026-11-20T12:00:00Z"));
        let conditions = unknown_conditions(&node, &now);
        let reasons: Vec<_> = conditions.iter().map(|condition| condition.reason.as_deref().unwrap()).collect();
        assert_eq!(reasons[0], "NodeStatusUnknown");
        assert!(reasons[1..].iter().all(|reason| *reason == "NodeStatusNeverUpdated") && reasons.len() == 4);
        node.status.get_or_insert_default().conditions = Some(conditions);
        assert_eq!(unknown_conditions(&node, &now), []);
    }
}
