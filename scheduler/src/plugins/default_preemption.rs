//! Would removing less important pods make room? Source: upstream's `framework/preemption`.
//!
//! For each node whose rejection could be resolved: all pods of lower priority are taken away; if the pod fits then, as
//! many as possible come back, the most important first. What is left are the node's victims.

use std::{cmp::Reverse, sync::Arc};

use jiff::Timestamp;

use crate::framework::{Diagnosis, FitError, NodeInfo, Plugin, PodInfo, PostFilter, Rejection, Unfit};

/// Upstream: `DefaultPreemption`. It explains; it does not evict yet.
pub struct DefaultPreemption;

const NOT_HELPFUL: &str = "Preemption is not helpful for scheduling";
const NO_VICTIMS: &str = "No preemption victims found for incoming pod";
const NEVER: &str = "not eligible due to preemptionPolicy=Never.";

impl Plugin for DefaultPreemption {
    fn name(&self) -> &'static str {
        "DefaultPreemption"
    }
}

impl PostFilter for DefaultPreemption {
    /// Why preemption cannot help; nothing where it could.
    fn post_filter(&self, unfit: &Unfit<'_>) -> String {
        if unfit.pod.spec().and_then(|spec| spec.preemption_policy.as_deref()) == Some("Never") {
            return format!("preemption: {NEVER}");
        }
        let mut diagnosis = Diagnosis::default();
        for (place, node) in unfit.snapshot.nodes().iter().enumerate() {
            let resolvable = unfit.error.of_node(place).is_some_and(|rejection| rejection.resolvable);
            let outcome = if resolvable {
                self.victims(unfit, node)
            } else {
                Err(Rejection::unresolvable(self.name(), NOT_HELPFUL))
            };
            match outcome {
                Ok(_) => return String::new(),
                Err(rejection) => diagnosis.reject(place, rejection),
            }
        }
        format!("preemption: {}", FitError { total: unfit.error.total, diagnosis })
    }
}

impl DefaultPreemption {
    /// The pods that would have to go from a node, or why that does not help. Source: `SelectVictimsOnNode`.
    fn victims(&self, unfit: &Unfit<'_>, node: &NodeInfo) -> Result<Vec<Arc<PodInfo>>, Rejection> {
        let less_important = |pod: &&Arc<PodInfo>| pod.priority < unfit.pod.priority;
        let mut potential: Vec<Arc<PodInfo>> = node.pods.iter().filter(less_important).cloned().collect();
        if potential.is_empty() {
            return Err(Rejection::unresolvable(self.name(), NO_VICTIMS));
        }
        let mut emptied = node.clone();
        for pod in &potential {
            emptied.remove_pod(pod.uid());
        }
        unfit.filter(&emptied)?;
        potential.sort_by_key(|pod| (Reverse(pod.priority), started(pod)));
        let mut victims = Vec::new();
        for pod in potential {
            emptied.add_pod(pod.clone());
            if unfit.filter(&emptied).is_err() {
                emptied.remove_pod(pod.uid());
                victims.push(pod);
            }
        }
        Ok(victims)
    }
}

/// Of two pods of one priority, the one that started earlier is more important.
fn started(pod: &PodInfo) -> Timestamp {
    let start = pod.pod.status.as_ref().and_then(|status| status.start_time.as_ref());
    start.map_or(Timestamp::MAX, |start| start.0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        cycle::{Cycle, Failure},
        framework::{Profile, Snapshot},
        testing::{asking, node, plain, pod},
    };

    fn with_pod(mut node: NodeInfo, cpu: &str, priority: i32) -> Arc<NodeInfo> {
        let requests = json!({ "requests": { "cpu": cpu } });
        let containers = json!([{ "name": "c", "resources": requests }]);
        node.add_pod(Arc::new(pod(json!({ "name": cpu, "priority": priority, "containers": containers }))));
        Arc::new(node)
    }

    fn message(nodes: Vec<Arc<NodeInfo>>, pod: &PodInfo) -> String {
        match Cycle::default().place(&Profile::default(), &Snapshot::new(nodes), pod) {
            Err(Failure::Unfit(error)) => error.to_string(),
            Err(Failure::NoNodes) => "no nodes".into(),
            Ok(placement) => placement.node,
        }
    }

    #[test]
    fn says_why_it_cannot_help() {
        let tainted = node("t", json!({}), json!({ "taints": [{ "key": "a", "effect": "NoSchedule" }] }), json!({}));
        let nodes = vec![Arc::new(tainted), with_pod(plain("a"), "3", 0), with_pod(plain("b"), "3", 0)];
        assert_eq!(
            message(nodes, &asking(json!({ "cpu": "2" }))),
            "0/3 nodes are available: 1 node(s) had untolerated taint(s), 2 Insufficient cpu. preemption: 0/3 nodes are \
             available: 1 Preemption is not helpful for scheduling, 2 No preemption victims found for incoming pod.",
        );
        assert_eq!(
            message(vec![Arc::new(plain("a"))], &asking(json!({ "cpu": "9" }))),
            "0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: 1 Preemption is not \
             helpful for scheduling.",
        );
    }

    #[test]
    fn says_nothing_where_it_could_help() {
        let important = |policy: &str| {
            let requests = json!({ "requests": { "cpu": "2" } });
            let containers = json!([{ "name": "c", "resources": requests }]);
            pod(json!({ "priority": 10, "preemptionPolicy": policy, "containers": containers }))
        };
        let nodes = || vec![with_pod(plain("a"), "3", 0)];
        assert_eq!(
            message(nodes(), &important("PreemptLowerPriority")),
            "0/1 nodes are available: 1 Insufficient cpu.",
        );
        assert_eq!(
            message(nodes(), &important("Never")),
            "0/1 nodes are available: 1 Insufficient cpu. preemption: not eligible due to preemptionPolicy=Never.",
        );
    }

    #[test]
    fn the_most_important_pods_stay() {
        let mut crowded = plain("a");
        for (name, priority) in [("low", 1), ("lower", 0), ("high", 5)] {
            let requests = json!({ "requests": { "cpu": "1" } });
            let containers = json!([{ "name": "c", "resources": requests }]);
            crowded.add_pod(Arc::new(pod(json!({ "name": name, "priority": priority, "containers": containers }))));
        }
        let requests = json!({ "requests": { "cpu": "3" } });
        let containers = json!([{ "name": "c", "resources": requests }]);
        let preemptor = pod(json!({ "name": "p", "priority": 5, "containers": containers }));
        let (profile, snapshot) = (Profile::default(), Snapshot::new(vec![Arc::new(crowded)]));
        let Err(Failure::Unfit(error)) = Cycle::default().place(&profile, &snapshot, &preemptor) else {
            panic!("there is no room");
        };
        let unfit = Unfit::of(&profile, &preemptor, &snapshot, &error);
        let victims = DefaultPreemption.victims(&unfit, &snapshot.nodes()[0]).unwrap();
        let names: Vec<&str> = victims.iter().map(|pod| pod.name()).collect();
        assert_eq!(names, ["low", "lower"]);
    }
}
