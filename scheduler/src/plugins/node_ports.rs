//! A port of a node belongs to one pod.

use crate::framework::{
    ClusterEvent, CycleState, Events, Filter, NodeInfo, Plugin, PodInfo, PreFilter, PreFiltered, Rejection, Snapshot,
    Verdict,
};

/// Upstream: `NodePorts`.
pub struct NodePorts;

impl Plugin for NodePorts {
    fn name(&self) -> &'static str {
        "NodePorts"
    }

    fn events(&self) -> Events {
        Events::NODE_ADDED | Events::POD_REMOVED
    }

    fn wakes(&self, pod: &PodInfo, event: &ClusterEvent) -> bool {
        match event {
            ClusterEvent::PodRemoved(gone) => {
                gone.host_ports.iter().any(|port| pod.host_ports.iter().any(|wanted| wanted.conflicts(port)))
            }
            _ => true,
        }
    }
}

impl PreFilter for NodePorts {
    fn pre_filter(&self, _: &mut CycleState, pod: &PodInfo, _: &Snapshot) -> Result<PreFiltered, Rejection> {
        Ok(if pod.host_ports.is_empty() { PreFiltered::Skip } else { PreFiltered::All })
    }
}

impl Filter for NodePorts {
    fn filter(&self, _: &CycleState, pod: &PodInfo, node: &NodeInfo) -> Verdict {
        if pod.host_ports.iter().any(|wanted| node.used_ports.iter().any(|used| wanted.conflicts(used))) {
            let reason = "node(s) didn't have free ports for the requested pod ports";
            return Err(Rejection::unschedulable(self.name(), reason));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::*;
    use crate::testing::{plain, pod, said};

    fn wanting(port: Value) -> PodInfo {
        pod(json!({ "containers": [{ "name": "web", "ports": [port] }] }))
    }

    #[test]
    fn taken_ports_are_taken() {
        let taken = "node(s) didn't have free ports for the requested pod ports";
        let mut node = plain("node-1");
        let used = json!({ "containerPort": 80, "hostPort": 8080, "hostIP": "10.0.0.1" });
        node.add_pod(Arc::new(wanting(used)));
        for (port, expected) in [
            (json!({ "containerPort": 80, "hostPort": 8080 }), taken),
            (json!({ "containerPort": 80, "hostPort": 8080, "hostIP": "10.0.0.1" }), taken),
            (json!({ "containerPort": 80, "hostPort": 8080, "hostIP": "10.0.0.2" }), "fits"),
            (json!({ "containerPort": 80, "hostPort": 8080, "protocol": "UDP" }), "fits"),
            (json!({ "containerPort": 80, "hostPort": 8081 }), "fits"),
            (json!({ "containerPort": 8080 }), "fits"),
        ] {
            let pod = wanting(port.clone());
            assert_eq!(said(NodePorts.filter(&CycleState::default(), &pod, &node)), expected, "{port}");
        }
        assert!(node.remove_pod("web") && node.used_ports.is_empty());
    }
}
