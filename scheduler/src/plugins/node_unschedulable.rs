//! A cordoned node takes no pods but those that tolerate it.

use k8s_openapi::api::core::v1::Taint;
use kubelab_api::{pod::any_tolerates, well_known::taint};

use crate::framework::{ClusterEvent, CycleState, Events, Filter, NodeInfo, Plugin, PodInfo, Rejection, Verdict};

/// Upstream: `NodeUnschedulable`.
pub struct NodeUnschedulable;

fn tolerates(pod: &PodInfo) -> bool {
    let cordon =
        Taint { key: taint::UNSCHEDULABLE.into(), effect: taint::NO_SCHEDULE.into(), value: None, time_added: None };
    any_tolerates(pod.tolerations(), &cordon)
}

impl Plugin for NodeUnschedulable {
    fn name(&self) -> &'static str {
        "NodeUnschedulable"
    }

    fn events(&self) -> Events {
        Events::NODE_ADDED | Events::NODE_TAINTS
    }

    fn wakes(&self, pod: &PodInfo, event: &ClusterEvent) -> bool {
        let open = event
            .node()
            .is_some_and(|node| !node.spec.as_ref().and_then(|spec| spec.unschedulable).unwrap_or_default());
        open || event.node().is_some() && tolerates(pod)
    }
}

impl Filter for NodeUnschedulable {
    fn filter(&self, _: &CycleState, pod: &PodInfo, node: &NodeInfo) -> Verdict {
        if !node.unschedulable() || tolerates(pod) {
            return Ok(());
        }
        Err(Rejection::unresolvable(self.name(), "node(s) were unschedulable"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::{node, pod, said};

    #[test]
    fn cordons_hold_unless_tolerated() {
        let tolerating = json!([{ "key": "node.kubernetes.io/unschedulable", "operator": "Exists" }]);
        for (cordoned, tolerations, expected) in [
            (false, json!(null), "fits"),
            (true, json!(null), "node(s) were unschedulable!"),
            (true, tolerating, "fits"),
        ] {
            let node = node("node-1", json!({}), json!({ "unschedulable": cordoned }), json!({}));
            let pod = pod(json!({ "tolerations": tolerations }));
            assert_eq!(said(NodeUnschedulable.filter(&CycleState::default(), &pod, &node)), expected);
        }
    }
}
