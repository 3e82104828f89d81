//! How far the update of a DaemonSet may stray from one pod a node. Source: `UnavailableCount`, `SurgeCount` and
//! `updatedDesiredNodeCounts` in `pkg/controller/daemon` in Kubernetes.

use k8s_openapi::{api::apps::v1::DaemonSet, apimachinery::pkg::util::intstr::IntOrString};
use kubelab_api::intstr::{Round, scaled};

/// How many pods there may be too many, or too few.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// On how many nodes there may be a second pod.
    pub max_surge: usize,
    /// On how many nodes the pod may be missing.
    pub max_unavailable: usize,
}

impl Limits {
    /// A set's limits when it runs on this many nodes. Both round up, and when both come to nothing one pod may be missing,
    /// as otherwise nothing could ever move.
    pub fn of(set: &DaemonSet, nodes: usize) -> Self {
        let rolling = set.spec.update_strategy.as_ref().filter(|_| is_rolling(set));
        let rolling = rolling.and_then(|strategy| strategy.rolling_update.as_ref());
        let nodes = i32::try_from(nodes).unwrap_or(i32::MAX);
        let share = |value: Option<&IntOrString>| {
            let share = value.and_then(|value| scaled(value, nodes, Round::Up).ok());
            share.and_then(|share| usize::try_from(share).ok()).unwrap_or(0)
        };
        let max_surge = share(rolling.and_then(|rolling| rolling.max_surge.as_ref()));
        let unavailable = share(rolling.and_then(|rolling| rolling.max_unavailable.as_ref()));
        let max_unavailable = if nodes > 0 && unavailable == 0 && max_surge == 0 { 1 } else { unavailable };
        Self { max_surge, max_unavailable }
    }
}

/// The set replaces pods by itself.
pub fn is_rolling(set: &DaemonSet) -> bool {
    let strategy = set.spec.update_strategy.as_ref().and_then(|strategy| strategy.type_.as_deref());
    strategy.is_none_or(|strategy| strategy == "RollingUpdate")
}

/// There may be two pods on a node while the set is updated.
pub fn allows_surge(set: &DaemonSet) -> bool {
    Limits::of(set, 1).max_surge > 0
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    #[test]
    fn shares_are_of_the_nodes() {
        let rolling = |surge, unavailable| json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}});
        for (strategy, nodes, expected) in [
            (rolling(json!(0), json!(1)), 5, (0, 1)),
            (rolling(json!(0), json!("30%")), 5, (0, 2)),
            (rolling(json!("10%"), json!(0)), 5, (1, 0)),
            (rolling(json!(0), json!("0%")), 5, (0, 1)),
            (rolling(json!(0), json!("0%")), 0, (0, 0)),
            (json!({"type": "OnDelete"}), 5, (0, 1)),
        ] {
            let set: DaemonSet = serde_json::from_value(json!({
                "metadata": {}, "spec": {"updateStrategy": strategy, "selector": {}, "template": {}},
            }))
            .unwrap();
            let limits = Limits::of(&set, nodes);
            assert_eq!((limits.max_surge, limits.max_unavailable), expected, "{strategy} on {nodes}");
            assert_eq!(allows_surge(&set), expected.0 > 0, "{strategy}");
        }
    }
}
