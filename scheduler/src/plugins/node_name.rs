//! A pod that names its node runs there or nowhere.

use crate::framework::{ClusterEvent, CycleState, Events, Filter, NodeInfo, Plugin, PodInfo, Rejection, Verdict};

/// Upstream: `NodeName`.
pub struct NodeName;

fn wanted(pod: &PodInfo) -> Option<&str> {
    pod.spec()?.node_name.as_deref().filter(|name| !name.is_empty())
}

impl Plugin for NodeName {
    fn name(&self) -> &'static str {
        "NodeName"
    }

    fn events(&self) -> Events {
        Events::NODE_ADDED
    }

    fn wakes(&self, pod: &PodInfo, event: &ClusterEvent) -> bool {
        matches!(event, ClusterEvent::NodeAdded(node) if node.metadata.name.as_deref() == wanted(pod))
    }
}

impl Filter for NodeName {
    fn filter(&self, _: &CycleState, pod: &PodInfo, node: &NodeInfo) -> Verdict {
        match wanted(pod) {
            Some(name) if name != node.name() => {
                Err(Rejection::unresolvable(self.name(), "node(s) didn't match the requested node name"))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::{plain, pod, said};

    #[test]
    fn the_name_decides() {
        for (wanted, expected) in [
            (json!(null), "fits"),
            (json!("node-1"), "fits"),
            (json!("node-2"), "node(s) didn't match the requested node name!"),
        ] {
            let pod = pod(json!({ "nodeName": wanted }));
            assert_eq!(said(NodeName.filter(&CycleState::default(), &pod, &plain("node-1"))), expected);
        }
    }
}
